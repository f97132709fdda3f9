# The notes that a scriptlet leaves for a later one. Each of our scriptlets begins with this file.

# csulcca_is_recent NOTE: whether the note may be from this operation or from a killed attempt at it. If its age cannot
# be found out, it counts as recent. catcher_install/capture.py uses the same limit.
csulcca_is_recent() {
    [ -f "$1" ] && [ ! -h "$1" ] || return 1
    csulcca_age=$(stat -c %Y "$1" 2>/dev/null) && csulcca_now=$(date +%s 2>/dev/null) || return 0
    csulcca_age=$((csulcca_now - csulcca_age))
    [ "$csulcca_age" -lt @NOTE_SECONDS@ ] && [ "$csulcca_age" -gt -@NOTE_SECONDS@ ]
}

# csulcca_put_note NOTE TEXT: writes the complete note to disk, or nothing. To be called in a subshell.
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

# csulcca_noted NOTE NAME [VALUE]: sets csulcca_value to the value of NAME in the note. Fails if there is none, or if it
# is not VALUE. It runs no program: if a program could not run, the note would seem to say nothing.
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

# csulcca_was_enabled UNIT: whether the unit was enabled before a killed removal by rpm, which may have disabled it.
csulcca_was_enabled() {
    csulcca_says @ENABLED@ "$1"
}

# Whether the service ran before a killed removal, which may have stopped it. If the host has booted since, this is
# whether the service was enabled: the boot would have started it.
csulcca_ran_before_removal() {
    csulcca_says @RAN@ yes && return
    [ -d /run/systemd/system ] && ! csulcca_says @RAN@ no && csulcca_was_enabled CSUTKEcat.service
}

# Whether preinst has noted a host without a catcher.
csulcca_is_first_installation() {
    csulcca_is_recent @CAPTURE@ && csulcca_noted @CAPTURE@ tree no && csulcca_noted @CAPTURE@ unit none
}

# For rpm's %posttrans. Presets the service if %systemd_post has not: if the first attempt at a first installation was
# killed before its preset, rpm calls the second attempt an upgrade.
csulcca_enable_service() {
    csulcca_is_first_installation && [ ! -h /etc/systemd/system/multi-user.target.wants/CSUTKEcat.service ] || return 0
    systemctl --no-reload preset CSUTKEcat.service </dev/null >/dev/null 2>&1 || :
}

# csulcca_note_timer UNITDIR: for rpm's %pre. Notes whether %posttrans must preset or enable the timer: %systemd_post
# presets on a first installation only. A host with CCA 7.x does not have the timer, and in older versions of this
# package a link of the package enabled it. The note of a killed attempt stays, because its files may exist already.
csulcca_note_timer() {
    if csulcca_was_enabled csulcca-check.timer; then
        (csulcca_put_note @NEW_TIMER@ "enable
")
    elif [ ! -e "$1/csulcca-check.timer" ] || [ -h "$1/timers.target.wants/csulcca-check.timer" ]; then
        (csulcca_put_note @NEW_TIMER@ "preset
")
    fi
}

# For rpm's %posttrans. Presets or enables the timer as %pre has noted. The count of %posttrans does not help: before
# rpm 4.18 it is 1 on an upgrade, too. On a first installation this repeats the preset of %systemd_post.
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

