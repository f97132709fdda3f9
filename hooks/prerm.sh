# csulcca_prerm FAMILY ARGUMENTS...: before our files go (deb prerm, rpm %preun).
#
# On an upgrade nothing is stopped: the old daemon serves until the new package's converge restarts it.

csulcca_prerm() {
    find /usr/lib/csulcca -name __pycache__ -prune -exec rm -rf {} +
    case "$1:${2-}" in
    deb:remove | rpm:0) ;;
    *) return 0 ;;
    esac
    if [ -d /run/systemd/system ]; then
        systemctl stop CSUTKEcat.service </dev/null || :
        systemctl stop csulcca-check.timer csulcca-check.service </dev/null >/dev/null 2>&1 || :
    fi
}
