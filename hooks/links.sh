# Directories that an administrator has made links of. A package manager removes such a link with the package that owns
# the directory: dpkg with ours, rpm with CCA 7.x's. (With ours rpm does not, for there it owns none of them.)

csulcca_note_links() {
    # The note of a killed attempt knows links that are gone by now.
    [ ! -s @LINKS@ ] || return 0
    csulcca_found=""
    for csulcca_path in @MAY_BE_LINKS@; do
        if [ -h "$csulcca_path" ]; then
            csulcca_found="$csulcca_found$csulcca_path $(readlink "$csulcca_path")
"
        fi
    done
    [ -n "$csulcca_found" ] || return 0
    mkdir -p @STATE_DIR@
    rm -f @LINKS@.new
    set -C
    if printf '%s' "$csulcca_found" >@LINKS@.new; then
        sync @LINKS@.new || :
        mv -fT @LINKS@.new @LINKS@
    fi
}

csulcca_restore_links() {
    [ -f @LINKS@ ] && [ ! -h @LINKS@ ] || return 0
    while read -r csulcca_path csulcca_target; do
        [ -h "$csulcca_path" ] || rmdir "$csulcca_path" 2>/dev/null || :
        if [ ! -e "$csulcca_path" ] && [ ! -h "$csulcca_path" ]; then
            mkdir -p "${csulcca_path%/*}" || :
            ln -s "$csulcca_target" "$csulcca_path" || :
        fi
    done <@LINKS@
    rm -f @LINKS@ || :
}

