# csulcca_postinst FAMILY ARGUMENTS...: the new files are there (deb postinst after debhelper's part, rpm %posttrans).

csulcca_postinst() {
    # Compiled for another version of these files: times are the same in every reproducible package.
    rm -rf /usr/lib/csulcca/catcher_install/__pycache__
    /usr/lib/csulcca/run scriptlet "$@" </dev/null
}
