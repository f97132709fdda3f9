# Each of our scriptlets begins with this file: the notes that a scriptlet leaves for a later one.

# csulcca_is_recent NOTE: whether the note may be of this operation, or of a killed attempt at it. If its age cannot be
# found out, it counts as recent. catcher_install/capture.py judges by the same time.
csulcca_is_recent() {
    [ -f "$1" ] && [ ! -h "$1" ] || return 1
    csulcca_age=$(stat -c %Y "$1" 2>/dev/null) && csulcca_now=$(date +%s 2>/dev/null) || return 0
    csulcca_age=$((csulcca_now - csulcca_age))
    [ "$csulcca_age" -lt @NOTE_SECONDS@ ] && [ "$csulcca_age" -gt -@NOTE_SECONDS@ ]
}

# csulcca_put_note NOTE TEXT: writes the note to the disk, whole or not at all. To be called in a subshell.
csulcca_put_note() {
    mkdir -p @STATE_DIR@
    rm -f "$1.new"
    set -C
    if printf '%s' "$2" >"$1.new"; then
        sync "$1.new" || :
        mv -fT "$1.new" "$1"
    else
        rm -f "$1.new"
    fi
}

# csulcca_says NOTE LINE: whether the note is recent and has this line.
csulcca_says() {
    csulcca_is_recent "$1" || return 1
    while read -r csulcca_line; do
        [ "$csulcca_line" != "$2" ] || return 0
    done <"$1"
    return 1
}

# csulcca_noted NOTE NAME [VALUE]: sets csulcca_value to what the note says of NAME. Fails if that is nothing, or not
# VALUE. It runs no program: a program that cannot run would look like a note that says nothing.
csulcca_noted() {
    while read -r csulcca_line; do
        case $csulcca_line in
        "$2="*)
            csulcca_value=${csulcca_line#*=}
            [ "$csulcca_value" = "${3-$csulcca_value}" ]
            return
            ;;
        esac
    done <"$1"
    return 1
}

# csulcca_was_enabled UNIT: whether a killed removal by rpm has disabled a unit that was enabled.
csulcca_was_enabled() {
    csulcca_says @ENABLED@ "$1"
}

# Whether a killed removal has stopped a service that ran. If the host has booted since then, an enabled service counts,
# because the boot would have started it.
csulcca_ran_before_removal() {
    csulcca_says @RAN@ yes && return
    [ -d /run/systemd/system ] && ! csulcca_says @RAN@ no && csulcca_was_enabled CSUTKEcat.service
}

# Whether preinst has noted a host without a catcher.
csulcca_is_first_installation() {
    csulcca_is_recent @CAPTURE@ && csulcca_noted @CAPTURE@ tree no && csulcca_noted @CAPTURE@ unit none
}

# In rpm's %posttrans. %systemd_post presets on a first installation only, and takes the second attempt at one for an
# upgrade if the first attempt was killed before its preset.
csulcca_enable_service() {
    csulcca_is_first_installation && [ ! -h /etc/systemd/system/multi-user.target.wants/CSUTKEcat.service ] || return 0
    systemctl --no-reload preset CSUTKEcat.service </dev/null >/dev/null 2>&1 || :
}

# csulcca_note_timer UNITDIR: in rpm's %pre. %systemd_post presets on a first installation only. The timer is new to a
# host with CCA 7.x, too, and was enabled by a link of the package itself before it had an [Install] section. What a
# killed attempt has noted stays: its files may be there.
csulcca_note_timer() {
    if csulcca_was_enabled csulcca-check.timer; then
        (csulcca_put_note @NEW_TIMER@ "enable
")
    elif [ ! -e "$1/csulcca-check.timer" ] || [ -h "$1/timers.target.wants/csulcca-check.timer" ]; then
        (csulcca_put_note @NEW_TIMER@ "preset
")
    fi
}

# In rpm's %posttrans, whose count tells nothing: before rpm 4.18 it is 1 on an upgrade, too. On a first installation a
# preset repeats that of %systemd_post.
csulcca_enable_timer() {
    csulcca_verb=""
    if csulcca_says @NEW_TIMER@ enable; then
        csulcca_verb=enable
    elif csulcca_says @NEW_TIMER@ preset; then
        csulcca_verb=preset
    fi
    if [ -z "$csulcca_verb" ] || ! command -v systemctl >/dev/null 2>&1 ||
        systemctl --no-reload "$csulcca_verb" csulcca-check.timer </dev/null >/dev/null 2>&1; then
        rm -f @NEW_TIMER@ || :
    fi
}

