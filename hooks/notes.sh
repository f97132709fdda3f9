# What every scriptlet of ours has before its own text.

# csulcca_is_recent NOTE: whether it may be of this operation, or of a killed attempt at it. As long as nobody can tell
# its age, it is. catcher_install/capture.py judges by the same time.
csulcca_is_recent() {
    [ -f "$1" ] && [ ! -h "$1" ] || return 1
    csulcca_age=$(stat -c %Y "$1" 2>/dev/null) && csulcca_now=$(date +%s 2>/dev/null) || return 0
    csulcca_age=$((csulcca_now - csulcca_age))
    [ "$csulcca_age" -lt @NOTE_SECONDS@ ] && [ "$csulcca_age" -gt -@NOTE_SECONDS@ ]
}

