# Directories that an administrator has replaced by links. A package manager removes such a link with the package that
# owns the directory: dpkg with ours, rpm with CCA 7.x's. (Our rpm owns none of these directories.)

# Notes which of the directories are links now. Before that, it restores the links that a killed attempt has removed. A
# link that cannot be restored stays in the note.
csulcca_note_links() {
    csulcca_restore_links
    csulcca_found=$csulcca_lost
    for csulcca_path in @MAY_BE_LINKS@; do
        if [ -h "$csulcca_path" ] && csulcca_target=$(readlink "$csulcca_path"); then
            csulcca_found="$csulcca_found$csulcca_path $csulcca_target
"
        fi
    done
    [ -z "$csulcca_found" ] || csulcca_put_note @LINKS@ "$csulcca_found"
}

# Restores the noted links. Only an empty directory is replaced by a link; anything else stays. Sets csulcca_lost to the
# lines of the links that cannot be restored now; then the note stays.
csulcca_restore_links() {
    csulcca_lost=""
    csulcca_known=" @MAY_BE_LINKS@ "
    if csulcca_is_recent @LINKS@; then
        while read -r csulcca_path csulcca_target; do
            # If a target contains line ends, the note has lines that do not begin with a path of ours.
            case $csulcca_known in *" $csulcca_path "*) ;; *) continue ;; esac
            [ -n "$csulcca_target" ] || continue
            [ -h "$csulcca_path" ] || rmdir "$csulcca_path" 2>/dev/null || :
            if [ ! -e "$csulcca_path" ] && [ ! -h "$csulcca_path" ]; then
                mkdir -p "${csulcca_path%/*}" || :
                ln -s "$csulcca_target" "$csulcca_path" || csulcca_lost="$csulcca_lost$csulcca_path $csulcca_target
"
            fi
        done <@LINKS@ || return 0
    fi
    [ -n "$csulcca_lost" ] || rm -f @LINKS@ || :
}

