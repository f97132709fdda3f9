# csulcca_postinst FAMILY ARGUMENTS...: the new files are there (deb postinst after debhelper's part, rpm %posttrans).

csulcca_postinst() {
    # Compiled for another version of these files: times are the same in every reproducible package.
    find /usr/lib/csulcca -name __pycache__ -prune -exec rm -rf {} +
    csulcca_status=0
    /usr/lib/csulcca/run scriptlet "$@" </dev/null || csulcca_status=$?
    return "$csulcca_status"
}
