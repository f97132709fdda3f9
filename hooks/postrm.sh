# csulcca_postrm FAMILY ARGUMENTS...: our files are gone (deb postrm, rpm %postun). POSIX shell: our Python went too.
#
# Kept, as the vendor documents: /etc/cca/catcher.conf. Kept by removal: the pair and the stamp that proves whose it is.
# Purge removes the pair only where the stamp proves that we made it and it is unchanged.

csulcca_postrm() {
    case "$1:${2-}" in
    deb:purge) csulcca_remove_own_pair ;;
    deb:remove | rpm:0) ;;
    deb:abort-install | deb:abort-upgrade)
        rm -f /var/lib/csulcca/before-upgrade
        return 0
        ;;
    *)
        if csulcca_is_downgrade_to_7 "$1" "${3-}" && [ -d /run/systemd/system ]; then
            # A daemon of ours would go on in its mode; 7.x only starts what does not run.
            systemctl stop csulcca-check.timer </dev/null >/dev/null 2>&1 || :
            systemctl daemon-reload </dev/null || :
            systemctl try-restart --job-mode=ignore-dependencies CSUTKEcat.service </dev/null || :
        fi
        return 0
        ;;
    esac
    rm -f /var/lib/csulcca/before-upgrade /var/lib/csulcca/before-upgrade.new /var/lib/csulcca/lock
    rm -f /var/lib/csulcca/.state.json.csulcca-new @CONF_DRAFT@
    rm -rf @STAGE_DRAFT@
    # When the timer last ran (Persistent=).
    rm -f /var/lib/systemd/timers/stamp-csulcca-check.timer
    if [ "$1" = deb ] && [ "$2" = purge ] || ! csulcca_stamp_has_pair; then
        rm -f /var/lib/csulcca/state.json
    fi
    rmdir /var/lib/csulcca 2>/dev/null || :
    find /usr/lib/csulcca -depth -type d -exec rmdir {} + 2>/dev/null || :
    rmdir /etc/cca /opt/IBM/CCA/bin /opt/IBM/CCA /opt/IBM 2>/dev/null || :
}

# dpkg says which version comes; with rpm our files have gone and the catcher is still there.
csulcca_is_downgrade_to_7() {
    case "$1:$2" in
    deb:[0-7].* | deb:[0-9]*:[0-7].*) return 0 ;;
    rpm:*) [ ! -e /usr/lib/csulcca/run ] && [ -e /opt/IBM/CCA/bin/catcher.exe ] ;;
    *) return 1 ;;
    esac
}

csulcca_stamp_has_pair() {
    [ -f /var/lib/csulcca/state.json ] && grep -q '"generated_pair": "' /var/lib/csulcca/state.json 2>/dev/null && [ -e /opt/IBM/CCA/bin/catcher.key ]
}

csulcca_remove_own_pair() {
    csulcca_bin=/opt/IBM/CCA/bin
    csulcca_made=""
    if [ -f /var/lib/csulcca/state.json ]; then
        csulcca_made=$(sed -n 's/^ *"generated_pair": "\([0-9a-f]\{64\}\)",\{0,1\}$/\1/p' /var/lib/csulcca/state.json 2>/dev/null) || :
    fi
    csulcca_finish_replacement
    csulcca_drop_stage
    csulcca_remove_if_made "" "$csulcca_made"
}

# The pair whose names end in $1 goes where its fingerprint is $2.
csulcca_remove_if_made() {
    csulcca_found=$(csulcca_fingerprint "$csulcca_bin/catcher.key$1" "$csulcca_bin/catcher.crt$1")
    if [ -n "$2" ] && [ "$2" = "$csulcca_found" ]; then
        rm -f "$csulcca_bin/catcher.key$1" "$csulcca_bin/catcher.crt$1"
    fi
}

# SHA-256 of two files, key first; nothing where one is missing or a link.
csulcca_fingerprint() {
    if [ -f "$1" ] && [ -f "$2" ] && [ ! -h "$1" ] && [ ! -h "$2" ]; then
        cat "$1" "$2" | sha256sum | cut -d ' ' -f 1
    fi
}

# Whether both names are of one file.
csulcca_is_same() {
    csulcca_inode=$(stat -c %d:%i "$1" 2>/dev/null) && [ "$csulcca_inode" = "$(stat -c %d:%i "$2" 2>/dev/null)" ]
}

# A pair whose placing was interrupted is ours, unless somebody has written into it or has put a file of his own there.
csulcca_drop_stage() {
    csulcca_stage=$csulcca_bin/.catcher-pair
    [ -d "$csulcca_stage" ] && [ ! -h "$csulcca_stage" ] || return 0
    csulcca_ours=no
    csulcca_found=$(csulcca_fingerprint "$csulcca_stage/catcher.key" "$csulcca_stage/catcher.crt")
    if [ -n "$csulcca_found" ] && [ -e "$csulcca_stage/generated.$csulcca_found" ]; then
        csulcca_ours=yes
    fi
    for csulcca_name in catcher.key catcher.crt; do
        if [ -e "$csulcca_bin/$csulcca_name" ] || [ -h "$csulcca_bin/$csulcca_name" ]; then
            csulcca_is_same "$csulcca_stage/$csulcca_name" "$csulcca_bin/$csulcca_name" || csulcca_ours=no
        fi
    done
    if [ "$csulcca_ours" = yes ]; then
        rm -f "$csulcca_bin/catcher.key" "$csulcca_bin/catcher.crt"
    fi
    rm -rf "$csulcca_stage"
}

# A replacement that was interrupted is finished, as catcher_install/pair.py does it; then what we made of it goes.
csulcca_finish_replacement() {
    csulcca_stage=$csulcca_bin/.catcher-pair.replace
    [ -d "$csulcca_stage" ] && [ ! -h "$csulcca_stage" ] || return 0
    for csulcca_name in catcher.key catcher.crt; do
        csulcca_mine=no
        if [ ! -e "$csulcca_bin/$csulcca_name" ] && [ ! -h "$csulcca_bin/$csulcca_name" ]; then
            csulcca_mine=yes
        fi
        for csulcca_old in "$csulcca_stage/keep.$csulcca_name."* "$csulcca_stage/drop.$csulcca_name"; do
            if csulcca_is_same "$csulcca_old" "$csulcca_bin/$csulcca_name"; then
                csulcca_mine=yes
            fi
        done
        if [ "$csulcca_mine" = yes ] && [ -e "$csulcca_stage/$csulcca_name" ]; then
            mv -fT "$csulcca_stage/$csulcca_name" "$csulcca_bin/$csulcca_name"
        fi
        for csulcca_old in "$csulcca_stage/keep.$csulcca_name."*; do
            [ -e "$csulcca_old" ] || [ -h "$csulcca_old" ] || continue
            csulcca_suffix=${csulcca_old##*/keep."$csulcca_name"}
            csulcca_is_same "$csulcca_old" "$csulcca_bin/$csulcca_name" ||
                csulcca_is_same "$csulcca_old" "$csulcca_bin/$csulcca_name$csulcca_suffix" ||
                mv -T --backup=numbered "$csulcca_old" "$csulcca_bin/$csulcca_name$csulcca_suffix"
        done
        # What came back is no longer kept.
        for csulcca_old in "$csulcca_bin/$csulcca_name".*; do
            if [ -e "$csulcca_stage/drop.$csulcca_name" ] && csulcca_is_same "$csulcca_old" "$csulcca_bin/$csulcca_name"; then
                rm -f "$csulcca_old"
            fi
        done
    done
    for csulcca_old in "$csulcca_stage"/generated.*; do
        csulcca_remove_if_made "" "${csulcca_old##*.}"
    done
    if [ -n "${csulcca_suffix-}" ]; then
        csulcca_remove_if_made "$csulcca_suffix" "$csulcca_made"
    fi
    rm -rf "$csulcca_stage"
}
