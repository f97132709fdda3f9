# csulcca_prerm FAMILY ARGUMENTS...: before our files are removed (deb prerm, rpm %preun).
#
# An upgrade stops nothing: the old daemon serves until the new package restarts it.

csulcca_prerm() {
    case "$1:${2-}" in
    deb:remove | rpm:0)
        if [ -d /run/systemd/system ]; then
            (csulcca_note_whether_it_runs) || :
        fi
        # This comes second, because the function above reads the note of an earlier attempt.
        [ "$1" != rpm ] || (csulcca_note_enabled) || :
        if [ -d /run/systemd/system ]; then
            systemctl stop CSUTKEcat.service </dev/null || :
            systemctl stop csulcca-check.timer csulcca-check.service </dev/null >/dev/null 2>&1 || :
        fi
        (csulcca_note_links) || :
        # While our library still exists: finish an interrupted run, and note which keys are ours.
        if [ -x @LIBRARY@/run ]; then
            @LIBRARY@/run scriptlet-remove "$@" </dev/null || :
        fi
        ;;
    esac
    [ ! -d @LIBRARY@ ] || find @LIBRARY@ -name __pycache__ -prune -exec rm -rf {} + || :
}

# Notes whether the service runs, in case dpkg cancels the removal or the removal is killed. If the service does not run
# now, the note of an earlier killed attempt still counts.
csulcca_note_whether_it_runs() {
    case $(systemctl is-active CSUTKEcat.service </dev/null 2>/dev/null) in
    active | activating | reloading) csulcca_ran=yes ;;
    inactive | failed | deactivating)
        csulcca_ran=no
        ! csulcca_ran_before_removal || csulcca_ran=yes
        ;;
    *) return 0 ;;
    esac
    rm -f @RAN@
    set -C
    echo "$csulcca_ran" >@RAN@
}

# Notes which units are enabled, because the macro in rpm's %preun disables them next. A killed attempt may have
# disabled them already; then its note counts.
csulcca_note_enabled() {
    csulcca_found=""
    for csulcca_unit in CSUTKEcat.service csulcca-check.timer; do
        if csulcca_is_enabled "$csulcca_unit" || csulcca_was_enabled "$csulcca_unit"; then
            csulcca_found="$csulcca_found$csulcca_unit
"
        fi
    done
    [ -z "$csulcca_found" ] || csulcca_put_note @ENABLED@ "$csulcca_found"
}

csulcca_is_enabled() {
    [ "$(systemctl is-enabled "$1" </dev/null 2>/dev/null)" = enabled ]
}
