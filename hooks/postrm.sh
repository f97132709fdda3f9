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
            systemctl try-restart CSUTKEcat.service </dev/null || :
        fi
        return 0
        ;;
    esac
    rm -f /var/lib/csulcca/before-upgrade /var/lib/csulcca/before-upgrade.new /var/lib/csulcca/lock
    rm -f /var/lib/csulcca/.state.json.csulcca-new /etc/cca/.catcher.conf.csulcca-new
    rm -rf /opt/IBM/CCA/bin/.catcher-pair.draft
    # When the timer last ran (Persistent=).
    rm -f /var/lib/systemd/timers/stamp-csulcca-check.timer
    if [ "$1" = deb ] && [ "$2" = purge ] || ! csulcca_stamp_has_pair; then
        rm -f /var/lib/csulcca/state.json
    fi
    rmdir /var/lib/csulcca /usr/lib/csulcca/catcher_install /usr/lib/csulcca/hooks /usr/lib/csulcca 2>/dev/null || :
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
    # A pair whose placing was interrupted: what has the inode of its staged twin is ours.
    for csulcca_name in catcher.key catcher.crt; do
        csulcca_staged=$(stat -c %d:%i "$csulcca_bin/.catcher-pair/$csulcca_name" 2>/dev/null) || continue
        if [ "$csulcca_staged" = "$(stat -c %d:%i "$csulcca_bin/$csulcca_name" 2>/dev/null)" ]; then
            rm -f "$csulcca_bin/$csulcca_name"
        fi
    done
    rm -rf "$csulcca_bin/.catcher-pair"
    [ -f "$csulcca_bin/catcher.key" ] && [ -f "$csulcca_bin/catcher.crt" ] || return 0
    [ ! -h "$csulcca_bin/catcher.key" ] && [ ! -h "$csulcca_bin/catcher.crt" ] || return 0
    [ -f /var/lib/csulcca/state.json ] || return 0
    csulcca_made=$(sed -n 's/^ *"generated_pair": "\([0-9a-f]\{64\}\)",\{0,1\}$/\1/p' /var/lib/csulcca/state.json 2>/dev/null) || :
    csulcca_found=$(cat "$csulcca_bin/catcher.key" "$csulcca_bin/catcher.crt" | sha256sum | cut -d ' ' -f 1)
    if [ -n "$csulcca_made" ] && [ "$csulcca_made" = "$csulcca_found" ]; then
        rm -f "$csulcca_bin/catcher.key" "$csulcca_bin/catcher.crt"
    fi
}
