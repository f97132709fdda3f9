# csulcca_postinst FAMILY ARGUMENTS...: the new files are there (deb postinst after debhelper's part, rpm %posttrans).

csulcca_postinst() {
    # Compiled for another version of these files: times are the same in every reproducible package.
    find @LIBRARY@ -name __pycache__ -prune -exec rm -rf {} +
    # Here alone, and then on disk: a power failure during some later command would leave half a file that no package owns.
    @LIBRARY@/run compile </dev/null || :
    find @LIBRARY@ -name '*.pyc' -exec sync {} + || :
    # Of an earlier removal.
    rm -f @PURGE@ || :
    csulcca_status=0
    @LIBRARY@/run scriptlet "$@" </dev/null || csulcca_status=$?
    return "$csulcca_status"
}
