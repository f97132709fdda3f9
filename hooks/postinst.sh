# csulcca_postinst FAMILY ARGUMENTS...: when the new files are in place (deb postinst after debhelper's part, rpm
# %posttrans).

csulcca_postinst() {
    # The postinst of a .deb has started the compilation, which runs at the same time as debhelper's part.
    case $1 in
    deb) wait ;;
    *) csulcca_compile ;;
    esac
    # The trigger says that /usr/bin/python3 has changed. Then only the compilation is needed.
    [ "$1:${2-}" != deb:triggered ] || return 0
    csulcca_restore_links || :
    # The note of an earlier removal.
    rm -f @PURGE@ || :
    csulcca_status=0
    @LIBRARY@/run scriptlet "$@" </dev/null || csulcca_status=$?
    csulcca_prepare_image
    return "$csulcca_status"
}

# Compiles our Python, only here, and syncs the result: after a power failure, half a file that no package owns could
# be left. Removes old bytecode first: in reproducible packages all versions of a file have the same time.
csulcca_compile() {
    find @LIBRARY@ -name __pycache__ -prune -exec rm -rf {} + || :
    @LIBRARY@/run compile </dev/null || :
    find @LIBRARY@ -name '*.pyc' -exec sync {} + || :
}

# csulcca_start_timer COMMAND [OLD]: starts the timer with COMMAND, which neither debhelper's part nor rpm's macro does.
# systemd is reloaded only if needed, because that takes longer than everything else here. After an upgrade from OLD it
# is always needed: systemd compares the times of unit files, and those of two builds can be equal.
csulcca_start_timer() {
    [ -d /run/systemd/system ] || return 0
    [ -z "${2-}" ] || systemctl daemon-reload </dev/null || :
    # An administrator may have disabled or masked it.
    systemctl --quiet is-enabled csulcca-check.timer </dev/null 2>/dev/null || return 0
    case $(systemctl show -p LoadState -p NeedDaemonReload csulcca-check.timer </dev/null 2>/dev/null) in
    '' | *=yes* | *=not-found*) systemctl daemon-reload </dev/null || : ;;
    esac
    "$1" start csulcca-check.timer </dev/null >/dev/null 2>&1 || :
}

# Prepares an image for bootc, rpm-ostree or transactional-update, if one is built here. When the image runs, /opt
# cannot be written, so key and certificate become links, and the first boot makes the pair at their targets.
# rpm-ostree itself moves /opt to /usr/lib/opt. The image does not contain /var.
csulcca_prepare_image() {
    [ ! -d /run/systemd/system ] || return 0
    [ -e /run/ostree-booted ] || [ -n "${TRANSACTIONAL_UPDATE-}" ] || command -v bootc >/dev/null 2>&1 ||
        command -v rpm-ostree >/dev/null 2>&1 || return 0
    rm -f @STAMP@ @LOCK@ || :
    for csulcca_bin in @BIN@ /usr/lib@BIN@; do
        [ -e "$csulcca_bin/catcher.exe" ] || continue
        csulcca_link_pair "$csulcca_bin"
    done
}

# Makes both links or none: with one link beside an administrator's file, the host would have half a pair. A dangling
# link of ours is left from a build that was killed between the two links.
csulcca_link_pair() {
    for csulcca_name in catcher.key catcher.crt; do
        csulcca_target=$(readlink "$1/$csulcca_name") || csulcca_target=@IMAGE_PAIR@/$csulcca_name
        if [ -e "$1/$csulcca_name" ] || [ "$csulcca_target" != "@IMAGE_PAIR@/$csulcca_name" ]; then
            return 0
        fi
    done
    for csulcca_name in catcher.key catcher.crt; do
        [ -h "$1/$csulcca_name" ] || ln -s "@IMAGE_PAIR@/$csulcca_name" "$1/$csulcca_name" || :
    done
}
