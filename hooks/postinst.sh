# csulcca_postinst FAMILY ARGUMENTS...: after the new files are there (deb postinst after debhelper's part, rpm
# %posttrans).

csulcca_postinst() {
    # A .deb's postinst compiles beside debhelper's part.
    case $1 in
    deb) wait ;;
    *) csulcca_compile ;;
    esac
    # dpkg says that /usr/bin/python3 is another Python now: to compile is enough.
    [ "$1:${2-}" != deb:triggered ] || return 0
    csulcca_restore_links || :
    # Left by an earlier removal.
    rm -f @PURGE@ || :
    csulcca_status=0
    @LIBRARY@/run scriptlet "$@" </dev/null || csulcca_status=$?
    csulcca_prepare_image
    return "$csulcca_status"
}

# Compile only here, and then sync: a power failure during a later command could leave half a file that no package owns.
# Before that, remove bytecode of another version of these files: reproducible packages all have the same file times.
csulcca_compile() {
    find @LIBRARY@ -name __pycache__ -prune -exec rm -rf {} + || :
    @LIBRARY@/run compile </dev/null || :
    find @LIBRARY@ -name '*.pyc' -exec sync {} + || :
}

# csulcca_start_timer COMMAND [OLD]: starts the timer, which neither debhelper's part nor rpm's macro does. systemd is
# reloaded only if needed, because that takes longer than all else here. After an upgrade from OLD it is needed, even
# if nothing is started: systemd compares the times of unit files, and those of two builds can be equal.
csulcca_start_timer() {
    [ -d /run/systemd/system ] || return 0
    [ -z "${2-}" ] || systemctl daemon-reload </dev/null || :
    # An administrator's `disable` or `mask` stands.
    systemctl --quiet is-enabled csulcca-check.timer </dev/null 2>/dev/null || return 0
    case $(systemctl show -p LoadState -p NeedDaemonReload csulcca-check.timer </dev/null 2>/dev/null) in
    '' | *=yes* | *=not-found*) systemctl daemon-reload </dev/null || : ;;
    esac
    "$1" start csulcca-check.timer </dev/null >/dev/null 2>&1 || :
}

# An image for bootc, rpm-ostree or transactional-update is built here. /opt cannot be written when it runs, so the
# places of key and certificate become links; the first boot makes the pair where they lead. rpm-ostree itself moves
# /opt to /usr/lib/opt. What is in /var is not part of the image.
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

# Makes both links or none. With one link beside a file of an administrator, the first boot would make a key for that
# file. A link of ours that leads nowhere is from a build that was killed between the two links.
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
