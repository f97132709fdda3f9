# csulcca_prerm FAMILY ARGUMENTS...: before our files go (deb prerm, rpm %preun).
#
# An upgrade stops nothing: the old daemon serves until the new package restarts it.

csulcca_prerm() {
    case "$1:${2-}" in
    deb:remove | rpm:0)
        if [ -d /run/systemd/system ]; then
            (csulcca_note_how_it_runs "$1") || :
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

# csulcca_note_how_it_runs FAMILY: for a removal that is cancelled, as dpkg can do, or killed. The note of a killed
# attempt counts until the service runs again.
csulcca_note_how_it_runs() {
    case $(systemctl is-active CSUTKEcat.service </dev/null 2>/dev/null) in
    active | activating | reloading) csulcca_ran=yes ;;
    inactive | failed | deactivating)
        csulcca_ran=no
        [ ! -f @RAN@ ] || [ -h @RAN@ ] || return 0
        ;;
    *) return 0 ;;
    esac
    if [ "$1" = rpm ]; then
        # The macro in %preun disables both next.
        ! csulcca_is_enabled CSUTKEcat.service || csulcca_ran="$csulcca_ran enabled"
        ! csulcca_is_enabled csulcca-check.timer || csulcca_ran="$csulcca_ran timer"
    fi
    rm -f @RAN@
    set -C
    # shellcheck disable=SC2086 # a line for each word, on purpose
    printf '%s\n' $csulcca_ran >@RAN@
}

csulcca_is_enabled() {
    [ "$(systemctl is-enabled "$1" </dev/null 2>/dev/null)" = enabled ]
}
