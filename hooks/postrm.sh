# csulcca_postrm FAMILY ARGUMENTS...: when our files are gone (deb postrm, rpm %postun). It is POSIX shell, because our
# Python is gone, too.
#
# catcher.conf always stays, as the vendor documents. A removal also keeps the pair, and the stamp that proves who made
# it. A purge removes the pairs that prerm has noted as ours (catcher_install/pair.py, ours()), if they are unchanged.

csulcca_postrm() {
    csulcca_proof=needless
    case "$1:${2-}" in
    deb:purge | deb:remove | rpm:0) csulcca_restore_links || : ;;
    esac
    case "$1:${2-}" in
    deb:purge) csulcca_remove_ours || csulcca_proof=needed ;;
    deb:remove | rpm:0)
        # dpkg removes a package that it could not configure without a call of prerm.
        [ ! -d /run/systemd/system ] || systemctl stop CSUTKEcat.service csulcca-check.timer csulcca-check.service \
            </dev/null >/dev/null 2>&1 || :
        ;;
    deb:abort-install | deb:abort-upgrade)
        csulcca_restore_links || :
        return 0
        ;;
    *)
        if csulcca_is_downgrade_to_7 "$@" && [ -d /run/systemd/system ]; then
            # CCA 7.x does not restart a running daemon, so ours would run on in its mode.
            systemctl stop csulcca-check.timer </dev/null >/dev/null 2>&1 || :
            systemctl daemon-reload </dev/null || :
            systemctl try-restart CSUTKEcat.service </dev/null || :
        fi
        return 0
        ;;
    esac
    for csulcca_draft in @DRAFTS@; do
        rm -rf "$csulcca_draft" @IMAGE_PAIR@/"${csulcca_draft##*/}" || :
    done
    # Remove links of an image build that lead nowhere. On a running host they lead to a pair, and stay.
    for csulcca_name in catcher.key catcher.crt; do
        if [ -h @BIN@/"$csulcca_name" ] && [ ! -e @BIN@/"$csulcca_name" ] &&
            [ "$(readlink @BIN@/"$csulcca_name")" = @IMAGE_PAIR@/"$csulcca_name" ]; then
            rm -f @BIN@/"$csulcca_name" || :
        fi
    done
    # In the last of these files, systemd records when the timer ran (Persistent=).
    rm -f @CAPTURE@ @CAPTURE@.new @LINKS@.new @LOCK@ @STAMP_DRAFT@ @PURGE_DRAFT@ @RAN@ @ENABLED@ @ENABLED@.new \
        @NEW_TIMER@ @NEW_TIMER@.new @MADE_GROUPS@.new \
        /var/lib/systemd/timers/stamp-csulcca-check.timer || :
    # Remove the stamp if nothing of ours is left. If something is left, or if that is not known because there is no
    # note, the stamp stays to prove what is ours.
    if [ "$1:$2:$csulcca_proof" = deb:purge:needless ] || { [ -e @PURGE@ ] && [ ! -s @PURGE@ ]; }; then
        rm -f @STAMP@ @PURGE@ || :
    fi
    [ "$1:$2" != deb:purge ] || rm -f @MADE_GROUPS@ || :
    if [ "$1" = rpm ]; then
        # rpm has no purge.
        rm -f @PURGE@ || :
    fi
    if [ "$1:$2" = deb:purge ] && { [ -h @OPT_DIR@ ] || [ -h @IBM_DIR@ ] || [ -h @CCA_DIR@ ]; } && [ -d @BIN@ ]; then
        # After this script dpkg tries again to remove empty directories, and then also a link above them.
        (echo "This file keeps dpkg from removing a link above it. You may delete it." >@BIN@/.keep) || :
    fi
    rmdir @STATE_DIR@ 2>/dev/null || :
    find @LIBRARY@ -depth -type d -exec rmdir {} + 2>/dev/null || :
    rmdir @CONF_DIR@ @BIN@ @CCA_DIR@ @IBM_DIR@ @IBM_ALIAS_DIR@ 2>/dev/null || :
}

# csulcca_taken_back FAMILY ARGUMENTS...: after dpkg has cancelled an installation or upgrade. For the end of deb
# postrm, after debhelper's part, which restores the init script of CCA 7.x.
csulcca_taken_back() {
    case "$1:${2-}" in
    deb:abort-install | deb:abort-upgrade) ;;
    *) return 0 ;;
    esac
    if csulcca_undo_prerm_of_7; then
        rm -f @CAPTURE@ || :
    fi
    rmdir @STATE_DIR@ 2>/dev/null || :
}

# Starts and enables the service again after a cancelled upgrade from CCA 7.x: 7.x's prerm may have stopped and disabled
# it, and 7.x's postinst, which comes next, may not undo that. Fails as long as preinst's note is needed.
csulcca_undo_prerm_of_7() {
    csulcca_is_recent @CAPTURE@ || return 0
    csulcca_noted @CAPTURE@ tree yes || return 0
    # Our files are from an earlier attempt, which was killed. The next attempt needs the note.
    [ ! -e @LIBRARY@/run ] || return 1
    [ -d /run/systemd/system ] || return 0
    systemctl daemon-reload </dev/null || :
    csulcca_resume_service
}

# Enables and starts the service again if preinst has noted it as enabled and running.
csulcca_resume_service() {
    csulcca_status=0
    if csulcca_noted @CAPTURE@ unit enabled; then
        [ "$(systemctl is-enabled CSUTKEcat.service </dev/null 2>/dev/null)" = enabled ] ||
            systemctl --quiet enable CSUTKEcat.service </dev/null || csulcca_status=1
    fi
    if csulcca_noted @CAPTURE@ active yes; then
        systemctl --quiet is-active CSUTKEcat.service </dev/null ||
            systemctl start CSUTKEcat.service </dev/null || csulcca_status=1
    fi
    return "$csulcca_status"
}

# csulcca_after_old_package: in rpm's %triggerpostun, after the scriptlets of the package that is replaced. It does what
# cannot wait for %posttrans, which zypper leaves out if another package of the same command fails.
csulcca_after_old_package() {
    [ -e @LIBRARY@/run ] || return 0
    # Links stay noted, because a second old package may go next.
    (csulcca_note_links) || :
    [ -d /run/systemd/system ] && csulcca_is_recent @CAPTURE@ || return 0
    # systemd may still have the old unit.
    systemctl --quiet is-active CSUTKEcat.service </dev/null || systemctl daemon-reload </dev/null || :
    csulcca_resume_service || :
}

# csulcca_is_downgrade_to_7 FAMILY ARGUMENTS...: whether CCA 7.x or older replaces this package. dpkg gives the new
# version to the postrm of the old package, with the argument "upgrade". It also calls the postrm of the new package,
# with other arguments and the old version (Policy 6.6). With rpm, our files are gone and the catcher still exists.
csulcca_is_downgrade_to_7() {
    csulcca_comes=${3-}
    case "$1:${2-}:${csulcca_comes#*:}" in
    deb:upgrade:[0-7] | deb:upgrade:[0-7][!0-9]*) return 0 ;;
    rpm:*) [ ! -e @LIBRARY@/run ] && [ -e @CATCHER@ ] ;;
    *) return 1 ;;
    esac
}

# Removes what is noted as ours. Succeeds if nothing of it is left.
csulcca_remove_ours() {
    csulcca_left=0
    csulcca_key=@KEY@
    # On a host that boots an image, the pair and the files beside it are where the links lead.
    if [ "$(readlink @KEY@)" = @IMAGE_PAIR@/catcher.key ] &&
        [ "$(readlink @CERTIFICATE@)" = @IMAGE_PAIR@/catcher.crt ]; then
        csulcca_key=@IMAGE_PAIR@/catcher.key
    fi
    csulcca_pairs=${csulcca_key%/*}
    csulcca_certificate=$csulcca_pairs/catcher.crt
    csulcca_stage=@STAGE@
    csulcca_stage=$csulcca_pairs/${csulcca_stage##*/}
    csulcca_draft=@STAGE_DRAFT@
    csulcca_draft=$csulcca_pairs/${csulcca_draft##*/}
    if [ ! -f @PURGE@ ] || [ -h @PURGE@ ]; then
        csulcca_proves_nothing
        return
    fi
    while read -r csulcca_made csulcca_suffix; do
        case $csulcca_suffix in */*) continue ;; esac
        if ! csulcca_remove_noted "$csulcca_made" "$csulcca_suffix"; then
            csulcca_left=1
            echo "csulcca: $csulcca_key$csulcca_suffix cannot be removed, and was left as it was" >&2
        fi
    done <@PURGE@ || csulcca_left=1
    return "$csulcca_left"
}

# If the removal could not write a note (the disk was full, Python did not run), no pair is removed. This reports the
# keys that the stamp proves to be ours. Succeeds if there are none, because then the stamp is no longer needed. In the
# stamp, each item is on a line of its own (text.json_text()).
csulcca_proves_nothing() {
    [ -f @STAMP@ ] && [ ! -h @STAMP@ ] || return 0
    for csulcca_there in "$csulcca_key"*; do
        csulcca_suffix=${csulcca_there#"$csulcca_key"}
        csulcca_beside=$csulcca_certificate$csulcca_suffix
        # Only the key of a request has no certificate (catcher_install/pair.py, ours()).
        [ "$csulcca_suffix" = .request ] || [ -e "$csulcca_beside" ] || continue
        # A pair that cannot be read may be ours.
        if csulcca_made=$(csulcca_fingerprint "$csulcca_there" "$csulcca_beside"); then
            [ -n "$csulcca_made" ] || continue
            csulcca_status=0
            grep -q -e "^  \"generated_pair\": \"$csulcca_made\"" -e "^    \"$csulcca_made\",\{0,1\}\$" @STAMP@ ||
                csulcca_status=$?
            [ "$csulcca_status" != 1 ] || continue
        fi
        csulcca_left=1
        echo "csulcca: $csulcca_there, which this package made, was left as it was: its removal could not note that" >&2
    done
    return "$csulcca_left"
}

# csulcca_remove_noted FINGERPRINT SUFFIX: removes a noted pair, unless somebody has changed it since.
csulcca_remove_noted() {
    csulcca_finish_purge "$1" "$2" || return 1
    csulcca_there=$(csulcca_fingerprint "$csulcca_key$2" "$csulcca_certificate$2") || return 1
    [ "$csulcca_there" != "$1" ] || csulcca_remove_pair "$1" "$2"
}

# csulcca_fingerprint KEY CERTIFICATE: prints SHA-256 over both files, or over the key if there is no certificate.
# Prints nothing if one of them is not a regular file. Fails if one cannot be read.
csulcca_fingerprint() {
    [ -f "$1" ] && [ ! -h "$1" ] && [ ! -h "$2" ] || return 0
    if [ -f "$2" ]; then
        cat "$1" "$2" >/dev/null && cat "$1" "$2" | sha256sum | cut -d ' ' -f 1
    elif [ ! -e "$2" ]; then
        sha256sum <"$1" | cut -d ' ' -f 1
    fi
}

# csulcca_remove_pair FINGERPRINT SUFFIX: removes both files or none. It links them into a draft first: a file that
# cannot be removed, for example because it is immutable, cannot be linked either. The draft of the pair in place
# becomes a staged pair. So after a kill between the two files, the next purge goes on, or the next installation
# restores the complete pair.
csulcca_remove_pair() {
    if [ ! -e "$csulcca_certificate$2" ]; then
        rm -f "$csulcca_key$2"
        return
    fi
    rm -rf "$csulcca_draft" && mkdir -m 700 "$csulcca_draft" || return 1
    if csulcca_has_no_links; then
        # The key stays in the draft until the certificate is removed. After a kill between the two, the next purge goes
        # on, or the next installation restores the key (catcher_install/pair.py, clear()).
        mv -T "$csulcca_key$2" "$csulcca_draft/@PURGED_KEY@$2" || return 1
        if ! rm -f "$csulcca_certificate$2"; then
            mv -T "$csulcca_draft/@PURGED_KEY@$2" "$csulcca_key$2"
            return 1
        fi
        rm -rf "$csulcca_draft"
        return
    fi
    if ! ln "$csulcca_key$2" "$csulcca_draft/catcher.key" ||
        ! ln "$csulcca_certificate$2" "$csulcca_draft/catcher.crt" ||
        ! ln "$csulcca_draft/catcher.key" "$csulcca_draft/@GENERATED@$1"; then
        rm -rf "$csulcca_draft"
        return 1
    fi
    if [ -n "$2" ]; then
        if ! rm -f "$csulcca_key$2" || ! rm -f "$csulcca_certificate$2"; then
            [ -e "$csulcca_key$2" ] || ln "$csulcca_draft/catcher.key" "$csulcca_key$2" || :
            rm -rf "$csulcca_draft"
            return 1
        fi
        rm -rf "$csulcca_draft"
        return
    fi
    sync "$csulcca_draft" || :
    if ! mv -T "$csulcca_draft" "$csulcca_stage"; then
        rm -rf "$csulcca_draft"
        return 1
    fi
    csulcca_finish_purge "$1" "$2"
}

# Whether the file system has no hard links, like vfat and some FUSE file systems.
csulcca_has_no_links() {
    # In a subshell: a redirection of ":" that fails ends a POSIX shell.
    (: >"$csulcca_draft/one") 2>/dev/null && ! ln "$csulcca_draft/one" "$csulcca_draft/two" 2>/dev/null
}

# csulcca_finish_purge FINGERPRINT SUFFIX: finishes the removal of a pair that was interrupted; both files, or none.
csulcca_finish_purge() {
    if [ "$(csulcca_fingerprint "$csulcca_draft/@PURGED_KEY@$2" "$csulcca_certificate$2")" = "$1" ]; then
        rm -f "$csulcca_certificate$2" && rm -rf "$csulcca_draft" || return 1
    fi
    [ -d "$csulcca_stage" ] && [ ! -h "$csulcca_stage" ] || return 0
    [ "$(csulcca_fingerprint "$csulcca_stage/catcher.key" "$csulcca_stage/catcher.crt")" = "$1" ] || return 0
    csulcca_status=0
    for csulcca_name in catcher.key catcher.crt; do
        if cmp -s "$csulcca_stage/$csulcca_name" "$csulcca_pairs/$csulcca_name"; then
            rm -f "$csulcca_pairs/$csulcca_name" || csulcca_status=1
        fi
        [ "$csulcca_status" = 0 ] || break
    done
    if [ "$csulcca_status" != 0 ] && [ ! -e "$csulcca_key" ]; then
        ln "$csulcca_stage/catcher.key" "$csulcca_key" || return 1
    fi
    rm -rf "$csulcca_draft"
    mv -T "$csulcca_stage" "$csulcca_draft" && rm -rf "$csulcca_draft" || return 1
    return "$csulcca_status"
}
