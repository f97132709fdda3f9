# csulcca_prerm FAMILY ARGUMENTS...: before our files go (deb prerm, rpm %preun).
#
# An upgrade stops nothing: the old daemon serves until the new package restarts it.

csulcca_prerm() {
    case "$1:${2-}" in
    deb:remove | rpm:0)
        if [ -d /run/systemd/system ]; then
            [ "$1" = rpm ] || (csulcca_note_whether_it_runs) || :
            systemctl stop CSUTKEcat.service </dev/null || :
            systemctl stop csulcca-check.timer csulcca-check.service </dev/null >/dev/null 2>&1 || :
        fi
        (csulcca_note_links) || :
        # Finish what was interrupted, and note what is ours, while our library still exists.
        if [ -x @LIBRARY@/run ]; then
            @LIBRARY@/run scriptlet-remove "$@" </dev/null || :
        fi
        ;;
    esac
    [ ! -d @LIBRARY@ ] || find @LIBRARY@ -name __pycache__ -prune -exec rm -rf {} + || :
}

# For a removal that is cancelled; rpm cancels none after this. The note of an attempt that was killed counts until the
# service runs again.
csulcca_note_whether_it_runs() {
    case $(systemctl is-active CSUTKEcat.service </dev/null 2>/dev/null) in
    active | activating | reloading) csulcca_ran=yes ;;
    inactive | failed | deactivating)
        csulcca_ran=no
        [ ! -f @RAN@ ] || [ -h @RAN@ ] || return 0
        ;;
    *) return 0 ;;
    esac
    rm -f @RAN@
    set -C
    echo "$csulcca_ran" >@RAN@
}
