# csulcca_postinst FAMILY ARGUMENTS...: the new files are there (deb postinst after debhelper's part, rpm %posttrans).

csulcca_postinst() {
    # Compiled for another version of these files: times are the same in every reproducible package.
    find /usr/lib/csulcca -name __pycache__ -prune -exec rm -rf {} +
    csulcca_status=0
    /usr/lib/csulcca/run scriptlet "$@" </dev/null || csulcca_status=$?
    csulcca_start_timer "$1:${2-}"
    return "$csulcca_status"
}

# timers.target wants it, which counts from the next boot on. A masked timer stays off.
csulcca_start_timer() {
    case $1 in
    deb:configure | rpm:*) ;;
    *) return 0 ;;
    esac
    [ -d /run/systemd/system ] || return 0
    # A reload takes longer than all else here, and the converge has mostly seen to it.
    case $(systemctl show -p LoadState -p NeedDaemonReload csulcca-check.timer </dev/null 2>/dev/null) in
    '' | *=yes* | *=not-found*) systemctl daemon-reload </dev/null || : ;;
    esac
    # deb-systemd-invoke starts no static unit, so Debian's policy is asked here. 101: not to be started.
    if [ "${1%%:*}" = deb ] && command -v policy-rc.d >/dev/null 2>&1; then
        csulcca_policy=0
        policy-rc.d csulcca-check.timer start </dev/null >/dev/null 2>&1 || csulcca_policy=$?
        [ "$csulcca_policy" -ne 101 ] || return 0
    fi
    systemctl start csulcca-check.timer </dev/null >/dev/null 2>&1 || :
}
