# csulcca_prerm FAMILY ARGUMENTS...: before our files go (deb prerm, rpm %preun).
#
# On an upgrade nothing is stopped: the old daemon serves until the new package's converge restarts it.

csulcca_prerm() {
    case "$1:${2-}" in
    deb:remove | rpm:0)
        if [ -d /run/systemd/system ]; then
            systemctl stop CSUTKEcat.service </dev/null || :
            systemctl stop csulcca-check.timer csulcca-check.service </dev/null >/dev/null 2>&1 || :
        fi
        (csulcca_note_links) || :
        # What was interrupted is finished, and what is ours is noted, while the library is there that can tell.
        if [ -x @LIBRARY@/run ]; then
            @LIBRARY@/run scriptlet-remove "$@" </dev/null || :
        fi
        ;;
    esac
    [ ! -d @LIBRARY@ ] || find @LIBRARY@ -name __pycache__ -prune -exec rm -rf {} +
}
