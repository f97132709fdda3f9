# csulcca_preinst FAMILY ARGUMENTS...: before the new files are unpacked (deb preinst, rpm %pre).
#
# Notes the state of the service while the old package's unit still exists, because no later scriptlet can see it.
# Refuses two things: to replace IBM's host library by a payload without it, and to upgrade CCA 5. It is POSIX shell,
# because our Python may not be installed yet.

# CCA's groups if the payload is IBM's, else none.
CSULCCA_GROUPS="@PAYLOAD_GROUPS@"

csulcca_preinst() {
    csulcca_family=$1
    shift
    case "$csulcca_family:${1-}" in
    deb:install | deb:upgrade) ;;
    deb:*) return 0 ;;
    esac
    if ! csulcca_refuse_cca_5 "$csulcca_family" || ! csulcca_refuse_host_library "$csulcca_family" "${1-}"; then
        (csulcca_undo_old_prerm "$csulcca_family") || :
        return 1
    fi
    # In subshells, because a redirection that fails ends a POSIX shell, and with it the transaction.
    csulcca_look || :
    csulcca_note_look || :
    (csulcca_note_links) || :
    (csulcca_note_service "$csulcca_family" "${2-}") || :
    # After the note, which takes existing groups for a trace of CCA 7.x.
    (csulcca_make_groups) || :
    [ "$csulcca_family" != rpm ] || (csulcca_keep_edited_init_script) || :
}

# A reference payload must not replace an installed csulcca that carries libcsulcca.so.
csulcca_refuse_host_library() {
    csulcca_payload=@PAYLOAD_KIND@
    [ "$csulcca_payload" = reference ] || return 0
    case "$1:$2" in
    deb:upgrade) ;;
    deb:* | rpm:0 | rpm:1 | rpm:) return 0 ;;
    esac
    for csulcca_library in /usr/lib64/libcsulcca.so* /usr/lib/libcsulcca.so* /usr/lib/*/libcsulcca.so*; do
        if [ -e "$csulcca_library" ]; then
            echo "csulcca: this package has no CCA host library and would remove $csulcca_library;" \
                "no file was changed" >&2
            echo "csulcca:   build one with IBM's files: make packages PAYLOAD=csulcca-8.2.54.s390x.rpm" >&2
            return 1
        fi
    done
    return 0
}

# /opt/IBM/CEX3C contains the programs of CCA 5 and older, and is a link since CCA 6. It is not known how to upgrade the
# groups, libraries and key storage of CCA 5. And rpm would fail halfway if it found a directory in place of its link.
csulcca_refuse_cca_5() {
    [ -d /opt/IBM/CEX3C ] && [ ! -h /opt/IBM/CEX3C ] || return 0
    if [ ! -d /opt/IBM/CEX3C/bin ]; then
        [ "$1" = rpm ] || return 0
        echo "csulcca: the directory /opt/IBM/CEX3C is in the way of this package's link; no file was changed" >&2
        echo "csulcca:   move it away, with: mv /opt/IBM/CEX3C /opt/IBM/CEX3C.old" >&2
        return 1
    fi
    echo "csulcca: an upgrade from CCA 5 (the directory /opt/IBM/CEX3C) is not supported; no file was changed" >&2
    echo "csulcca:   remove its package, then: mv /opt/IBM/CEX3C /opt/IBM/CEX3C.old (it has the key storage)" >&2
    echo "csulcca:   then install this package, then: catcherctl mode tcp" >&2
    return 1
}

# dpkg has run the old prerm already. After a refusal, start and enable again what it has stopped and disabled.
csulcca_undo_old_prerm() {
    [ "$1" = deb ] && [ -d /run/systemd/system ] || return 0
    csulcca_start=no
    if ! csulcca_is_active && csulcca_was_stopped_by_this_transaction; then
        csulcca_start=yes
    fi
    csulcca_look_at_unit
    case $csulcca_unit in
    enabled | masked) ;;
    *)
        if csulcca_was_disabled_by_this_transaction; then
            systemctl --quiet enable CSUTKEcat.service </dev/null || :
            if ! csulcca_is_active && csulcca_has_no_journal; then
                csulcca_start=yes
            fi
        fi
        ;;
    esac
    [ "$csulcca_start" = no ] || systemctl start CSUTKEcat.service </dev/null || :
}

# Finds out what a shell can see almost without other programs, and without two at a time: this works even on a host
# that can hardly start another process. Sets csulcca_tree, _ours, _groups, _unit, _mode, _seen and _version.
csulcca_look() {
    csulcca_tree=no csulcca_ours=no
    if csulcca_has_our_control_script; then
        csulcca_ours=yes
    elif [ -e /opt/IBM/CCA/bin/catcher.exe ] && [ ! -e /usr/lib/csulcca/catcher_install ]; then
        csulcca_tree=yes
    fi
    # Only groups of this host count: a group in a directory service is no trace of CCA on this host.
    csulcca_groups=no
    if [ -r /etc/group ] && [ ! -e @MADE_GROUPS@ ]; then
        while IFS=: read -r csulcca_line _; do
            for csulcca_group in @LEGACY_GROUPS@; do
                [ "$csulcca_line" != "$csulcca_group" ] || csulcca_groups=yes
            done
        done </etc/group
    fi
    csulcca_look_at_unit
    csulcca_mode=unknown csulcca_seen=no csulcca_version=""
    # Without systemd no catcher runs. But if the service is enabled, it is not known how it would run after a boot.
    [ -d /run/systemd/system ] || [ "$csulcca_unit" = enabled ] || csulcca_mode=none
    csulcca_see_processes /system.slice/CSUTKEcat.service || :
}

# Writes a complete note of what csulcca_look has found, in case the rest of this scriptlet fails. The note of a killed
# attempt says more and is kept. If it was not seen whether the service runs, an enabled service counts as running.
csulcca_note_look() {
    csulcca_state=@STATE_DIR@
    csulcca_note=@CAPTURE@
    csulcca_earlier=$csulcca_note
    [ ! -s "$csulcca_note" ] || return 0
    csulcca_earlier=""
    case $csulcca_unit:$csulcca_mode:$csulcca_seen in
    enabled:unknown:* | *:process) csulcca_active=yes ;;
    none:* | *:none:*) csulcca_active=no ;;
    *) csulcca_active=unknown ;;
    esac
    [ -d /run/systemd/system ] || csulcca_active=no
    csulcca_write_note
}

# Writes or replaces the note. The note is synced before it gets its name, and so before the files of 7.x are removed:
# after a power failure it may be the only trace of 7.x.
csulcca_write_note() {
    if [ ! -d "$csulcca_state" ]; then
        mkdir -p "$csulcca_state" || return 1
        # Sync the directory first, or the note in it can be lost.
        sync "${csulcca_state%/*}" || :
    fi
    # Never write through a link that another user made: `set -C` below makes a new file, and `mv -T` never moves it
    # into a directory.
    rm -f "$csulcca_note.new" || return 1
    # On a full disk the note could be cut short and so be wrong: then it is removed. A note with the last line (active)
    # is complete.
    set -C
    if ! printf 'tree=%s\nours=%s\ngroups=%s\nversion=%s\nunit=%s\nmode=%s\nseen=%s\nactive=%s\n' "$csulcca_tree" \
        "$csulcca_ours" "$csulcca_groups" "$csulcca_version" "$csulcca_unit" "$csulcca_mode" "$csulcca_seen" \
        "$csulcca_active" >"$csulcca_note.new"; then
        set +C
        rm -f "$csulcca_note.new"
        return 1
    fi
    set +C
    sync "$csulcca_note.new" || :
    mv -fT "$csulcca_note.new" "$csulcca_note"
    sync "$csulcca_state" || :
}

csulcca_note_service() {
    # The note of a killed attempt, if it is complete. One that a power failure has cut short is ignored.
    { csulcca_is_recent "$csulcca_note" && csulcca_noted "$csulcca_note" active; } || csulcca_earlier=""
    csulcca_look_whether_active
    # The killed attempt was a first installation: the files here are from it, and nothing has started the service yet.
    [ -z "$csulcca_earlier" ] || [ "$csulcca_tree$csulcca_active" != nono ] || ! csulcca_is_first_installation ||
        return 0
    csulcca_see_mode
    csulcca_see_version "$1" "${2-}"
    # An interrupted upgrade from 7.x has noted the true state. 7.x's scriptlets may have stopped and disabled the
    # service since. So the note counts, unless the service runs again. rpm runs them only when our files are in place.
    if [ "$csulcca_active" = no ] && [ -n "$csulcca_earlier" ] &&
        csulcca_noted "$csulcca_note" tree yes && [ "$1$csulcca_tree" != rpmyes ]; then
        # Only the mode is taken from now, if the note does not have one.
        [ "$csulcca_mode" != unknown ] && csulcca_noted "$csulcca_note" mode unknown || return 0
        csulcca_noted "$csulcca_note" unit && csulcca_unit=$csulcca_value
        csulcca_noted "$csulcca_note" active && csulcca_active=$csulcca_value
    fi
    # dpkg has run the prerm of 7.x already.
    if [ "$1$csulcca_tree$csulcca_active" = debyesno ] && csulcca_was_stopped_by_this_transaction; then
        csulcca_active=yes
    fi
    if [ "$1$csulcca_tree$csulcca_unit" = debyesdisabled ] && csulcca_was_disabled_by_this_transaction; then
        csulcca_unit=enabled
        # Without a journal it is not known whether the service ran. If it was enabled, assume that it did.
        if [ "$csulcca_active" = no ] && csulcca_has_no_journal; then
            csulcca_active=yes
        fi
    fi
    case $1$csulcca_tree$csulcca_active$csulcca_unit in
    debyesnoenabled | debyesnodisabled)
        # systemd forgets a disabled unit when it stops. So it is not known whether it ran, and a finding says so.
        if [ -d /run/systemd/system ] && csulcca_has_no_journal && csulcca_never_stopped; then
            csulcca_active=unknown
        fi
        ;;
    esac
    # Our files here are from the killed attempt. Its note tells what the host was before, even if it is old by now.
    if { [ -n "$csulcca_earlier" ] || { [ "$csulcca_ours" = yes ] && [ ! -e @STAMP@ ] && [ -f "$csulcca_note" ] &&
        csulcca_noted "$csulcca_note" active; }; } && csulcca_noted "$csulcca_note" tree yes; then
        csulcca_tree=yes csulcca_ours=no
        ! csulcca_noted "$csulcca_note" version || [ -z "$csulcca_value" ] || csulcca_version=$csulcca_value
    fi
    # If the service ran, or would start at the next boot, and its mode was not seen, the mode is unknown, not none.
    case $csulcca_active:$csulcca_mode:$csulcca_unit in
    yes:none:* | unknown:none:* | *:none:enabled) csulcca_mode=unknown ;;
    esac
    csulcca_write_note
}

# Makes CCA's groups. If groupadd is missing, systemd-sysusers makes them at the next boot.
csulcca_make_groups() {
    for csulcca_group in $CSULCCA_GROUPS; do
        if ! getent group "$csulcca_group" >/dev/null 2>&1; then
            [ "$csulcca_groups" = yes ] || [ -e @MADE_GROUPS@ ] || (csulcca_put_note @MADE_GROUPS@ "") || :
            groupadd --system "$csulcca_group" </dev/null || :
        fi
    done
}

# Whether CSUTKEcat is ours: a link to our starter, a copy of it, or a file that calls it. Then /opt is from a host with
# this package, even if the rest of the system is new.
csulcca_has_our_control_script() {
    csulcca_control=/opt/IBM/CCA/bin/CSUTKEcat
    if [ -h "$csulcca_control" ]; then
        [ "$(readlink "$csulcca_control")" = /usr/lib/csulcca/run ]
        return
    fi
    [ -f "$csulcca_control" ] && [ -r "$csulcca_control" ] || return 1
    while read -r csulcca_line || [ -n "$csulcca_line" ]; do
        case $csulcca_line in
        */usr/lib/csulcca/run* | */usr/lib/csulcca/hooks/entry.py*) return 0 ;;
        esac
    done <"$csulcca_control"
    return 1
}

# Sets csulcca_unit to enabled, disabled, masked (by /dev/null or an empty file) or none. Works without systemd.
csulcca_look_at_unit() {
    csulcca_unit=enabled
    csulcca_file=@UNIT_ADMIN@
    if [ -e /opt/IBM/CCA/bin/catcher.exe ] &&
        { [ "$(readlink "$csulcca_file")" = /dev/null ] || [ -f "$csulcca_file" ] && [ ! -s "$csulcca_file" ]; }; then
        csulcca_unit=masked
        return
    fi
    # The unit was enabled before a killed removal by rpm, which may have disabled it.
    ! csulcca_was_enabled CSUTKEcat.service || return 0
    # Nothing is installed. Leftovers of an earlier removal do not count.
    if [ ! -e /opt/IBM/CCA/bin/catcher.exe ]; then
        csulcca_unit=none
        return
    fi
    csulcca_is_there /etc/systemd/system/*.wants/CSUTKEcat.service \
        /etc/systemd/system/*.requires/CSUTKEcat.service && return
    if csulcca_has_unit; then
        csulcca_unit=disabled
        return
    fi
    # No native unit: systemd's generator makes one from the init script, and enables it if there is an S link.
    csulcca_is_there /etc/rc[2345].d/S[0-9][0-9]CSUTKEcat /etc/rc.d/rc[2345].d/S[0-9][0-9]CSUTKEcat && return
    csulcca_unit=none
    [ ! -e /etc/init.d/CSUTKEcat ] || csulcca_unit=disabled
}

csulcca_is_there() {
    for csulcca_link in "$@"; do
        [ ! -h "$csulcca_link" ] && [ ! -e "$csulcca_link" ] || return 0
    done
    return 1
}

csulcca_has_unit() {
    csulcca_is_there @UNIT_PLACES@
}

csulcca_is_active() {
    [ -d /run/systemd/system ] && systemctl --quiet is-active CSUTKEcat.service 2>/dev/null
}

# Sets csulcca_active to yes, no or unknown. If systemd does not answer, an enabled service counts as running.
csulcca_look_whether_active() {
    csulcca_active=no
    # The process was seen, or ran before a killed removal, which may have stopped it.
    if [ "$csulcca_seen" = process ] || csulcca_ran_before_removal; then
        csulcca_active=yes
    elif [ -d /run/systemd/system ]; then
        csulcca_status=0
        csulcca_value=$(systemctl is-active CSUTKEcat.service 2>/dev/null) || csulcca_status=$?
        # 3 is not active, 4 is no such unit: systemctl(1). A service that is being started counts as running.
        case $csulcca_status:$csulcca_unit:$csulcca_value in
        0:* | [!034]*:enabled:* | 3:*:activating) csulcca_active=yes ;;
        3:* | 4:*) ;;
        *) csulcca_active=unknown ;;
        esac
    fi
}

# Sets csulcca_mode to the mode in which the daemon was seen (tls, tcp), and csulcca_seen to the evidence. Without
# evidence csulcca_seen is no, and the mode is none if the daemon did not run, else unknown. The command in a unit is no
# evidence. Nor is what any user can write: names of processes, or fields of the journal that do not begin with "_".
csulcca_see_mode() {
    [ -d /run/systemd/system ] && [ "$csulcca_seen" = no ] || return 0
    csulcca_shown=$(systemctl show -p MainPID -p ControlGroup -p ExecStart -p ExecMainPID CSUTKEcat.service \
        2>/dev/null) || return 0
    csulcca_shown_property ExecMainPID || return 0
    csulcca_ran=$csulcca_value
    csulcca_shown_property MainPID || return 0
    [ "$csulcca_value" = 0 ] || ! csulcca_see_process "$csulcca_value" || return 0
    csulcca_shown_property ControlGroup || return 0
    csulcca_see_processes "$csulcca_value" && return 0
    # shellcheck disable=SC3013 # An administrator's unit or script may have started it: look at each process's program.
    for csulcca_place in /proc/[0-9]*; do
        [ "$csulcca_place/exe" -ef /opt/IBM/CCA/bin/catcher.exe ] && csulcca_see_process "${csulcca_place#/proc/}" &&
            return 0
    done
    # dpkg has run the old prerm, which has stopped it. systemd remembers the last process with its command, unless the
    # command in the unit has changed since.
    csulcca_shown_property ExecStart || csulcca_value=""
    case $csulcca_value in
    "{ path="*" ; argv[]="*" ; ignore_errors="*" ; pid=$csulcca_ran ; "*)
        csulcca_value=${csulcca_value#*" ; argv[]="}
        [ "$csulcca_ran" = 0 ] || ! csulcca_tell_mode "${csulcca_value%%" ; ignore_errors="*}" last-run || return 0
        ;;
    esac
    # If a process has logged something, journald itself has noted its unit, user and command line.
    csulcca_logged=$(journalctl -q -b -r -n 200 --no-pager -o export --output-fields=_CMDLINE \
        _SYSTEMD_UNIT=CSUTKEcat.service _UID=0 2>/dev/null) || return 0
    csulcca_value=$(printf '%s\n' "$csulcca_logged" | sed -n '/^_CMDLINE=.*catcher\.exe/{s/^_CMDLINE=//;p;q;}') ||
        return 0
    csulcca_tell_mode "$csulcca_value" journal && return 0
    [ "$csulcca_ran" != 0 ] || csulcca_mode=none
}

# csulcca_see_version FAMILY OLD: sets csulcca_version if the old package is not ours. rpm gives the version to no
# scriptlet, but can be asked.
csulcca_see_version() {
    [ "$1$csulcca_tree" != debyes ] || csulcca_version=$2
    # A killed upgrade leaves two packages in rpm's database; the first one is the older. If there is a key and not our
    # library, /opt was kept on a new system: then rpm may name a package that was installed after ours.
    [ "$1$csulcca_tree" = rpmyes ] || { [ "$1$csulcca_ours" = rpmyes ] && [ ! -e @STAMP@ ] &&
        { [ -e /usr/lib/csulcca/catcher_install ] || [ ! -e @KEY@ ]; }; } || return 0
    csulcca_version=$(LC_ALL=C timeout 30 rpm -qi csulcca 2>/dev/null </dev/null | sed -n '/^Version *: */{s///p;q;}')
}

# csulcca_tell_mode COMMAND SEEN: sets csulcca_mode from the daemon's command line, and csulcca_seen to SEEN. Fails for
# the command line of another program.
csulcca_tell_mode() {
    case " $1 " in
    # The command line of a shell does not prove that the command ran.
    *' -c '*) return 1 ;;
    *[/\ ]catcher.exe\ *) ;;
    *) return 1 ;;
    esac
    csulcca_seen=$2
    case " $1 " in
    *' -tls '*) csulcca_mode=tls ;;
    *) csulcca_mode=tcp ;;
    esac
}

# csulcca_shown_property NAME: sets csulcca_value to the property of that name in csulcca_shown.
csulcca_shown_property() {
    csulcca_line_end="
"
    csulcca_value=$csulcca_line_end$csulcca_shown$csulcca_line_end
    case $csulcca_value in
    *"$csulcca_line_end$1="*) ;;
    *) return 1 ;;
    esac
    csulcca_value=${csulcca_value#*"$csulcca_line_end$1="}
    csulcca_value=${csulcca_value%%"$csulcca_line_end"*}
}

# csulcca_see_processes GROUP: looks for the daemon in the unit's control group, because a service with an init script
# has no main process. Only root can put a process there.
csulcca_see_processes() {
    [ -n "$1" ] || return 1
    for csulcca_place in /sys/fs/cgroup /sys/fs/cgroup/systemd /sys/fs/cgroup/unified; do
        [ -r "$csulcca_place$1/cgroup.procs" ] || continue
        while read -r csulcca_pid; do
            csulcca_see_process "$csulcca_pid" && return 0
        done <"$csulcca_place$1/cgroup.procs"
    done
    return 1
}

csulcca_see_process() {
    csulcca_is_of_root "$1" || return 1
    # In a chroot /proc shows the processes of the host. Only in that of transactional-update these are the right ones.
    # shellcheck disable=SC3013 # dash and bash know -ef
    [ -n "${TRANSACTIONAL_UPDATE-}" ] || [ ! -e "/proc/$1/root" ] || [ "/proc/$1/root" -ef / ] || return 1
    csulcca_words=$(tr '\0' ' ' 2>/dev/null <"/proc/$1/cmdline") || return 1
    csulcca_tell_mode "$csulcca_words" process
}

csulcca_is_of_root() {
    [ -r "/proc/$1/status" ] || return 1
    while read -r csulcca_name csulcca_ids; do
        [ "$csulcca_name" != Uid: ] || break
    done <"/proc/$1/status"
    case $csulcca_name$csulcca_ids in
    Uid:*[!0[:blank:]]*) return 1 ;;
    Uid:*0*) ;;
    *) return 1 ;;
    esac
}

# Whether journald stores nothing. For a test, PID 1 logs about a unit that does nothing. Older lines in the journal
# prove nothing: journald may have been set to store none since then.
csulcca_has_no_journal() {
    csulcca_heard=csulcca-journal-$$.service
    timeout 10 systemd-run --quiet --collect --unit="$csulcca_heard" /bin/true </dev/null >/dev/null 2>&1 || :
    timeout 10 journalctl --sync >/dev/null 2>&1 || :
    [ -z "$(journalctl -q -b -n 1 --no-pager -o cat _PID=1 _UID=0 UNIT="$csulcca_heard" 2>/dev/null)" ]
}

csulcca_never_stopped() {
    ! systemctl show -p InactiveEnterTimestampMonotonic CSUTKEcat.service 2>/dev/null | grep -q '=[1-9]'
}

# dpkg runs the old prerm before us. If the service stopped after the package manager began, it was running before.
# systemd knows when it stopped, but after "systemctl disable --now" it has forgotten the unit; then the journal knows.
# The id is that of the message "unit stopped" (SD_MESSAGE_UNIT_STOPPED, sd-messages.h). Any user can send this message,
# but not as PID 1.
csulcca_was_stopped_by_this_transaction() {
    [ -d /run/systemd/system ] || return 1
    csulcca_began=$(csulcca_transaction_start) || return 1
    csulcca_stopped=$(systemctl show -p InactiveEnterTimestampMonotonic CSUTKEcat.service 2>/dev/null)
    csulcca_stopped=${csulcca_stopped#*=}
    case $csulcca_stopped in
    '' | 0 | *[!0-9]*)
        timeout 10 journalctl --sync >/dev/null 2>&1 || :
        csulcca_stopped=$(journalctl -q -b --no-pager -o short-monotonic -n 1 _PID=1 _UID=0 \
            UNIT=CSUTKEcat.service MESSAGE_ID=9d1aaa27d60140bd96365438aad20286 2>/dev/null |
            sed -n 's/^\[ *\([0-9]*\)\.\([0-9][0-9]\).*/\1\2/p')
        ;;
    *) csulcca_stopped=$((csulcca_stopped / 10000)) ;;
    esac
    [ -n "$csulcca_stopped" ] && [ "$csulcca_stopped" -gt "$csulcca_began" ]
}

# Whether the old prerm seems to have disabled the service: it contains that word, and a directory for the service's
# links was changed after the package manager began. Without a native unit, these are the directories rcN.d.
csulcca_was_disabled_by_this_transaction() {
    grep -q disable "$(dpkg-query --control-path csulcca prerm 2>/dev/null)" 2>/dev/null || return 1
    csulcca_began=$(csulcca_transaction_start) && csulcca_boot=$(csulcca_boot_time) || return 1
    csulcca_began=$((csulcca_boot + csulcca_began))
    csulcca_fraction=$((csulcca_began % 100 + 100))
    csulcca_places=/etc/systemd/system
    csulcca_has_unit || csulcca_places=$(echo /etc/rc[2345].d /etc/rc.d/rc[2345].d)
    # shellcheck disable=SC2086 # several directories, on purpose
    csulcca_changed=$(find $csulcca_places -maxdepth 1 \
        -newerct "@$((csulcca_began / 100)).${csulcca_fraction#1}" 2>/dev/null)
    [ -n "$csulcca_changed" ]
}

# Prints when the package manager, our parent, was started: hundredths of a second since boot. If a killed upgrade came
# before it, prints the start of that one.
csulcca_transaction_start() {
    csulcca_killed_upgrade_start || csulcca_process_start "$PPID"
}

# Prints when a process was started: hundredths of a second since boot (proc(5), stat, field 22).
csulcca_process_start() {
    sed -n 's/^.*) \([^ ]* \)\{19\}\([0-9]*\) .*/\2/p' "/proc/$1/stat" 2>/dev/null | grep .
}

# Prints when the host booted: hundredths of a second since the epoch. In a container /proc/uptime may differ (lxcfs).
csulcca_boot_time() {
    csulcca_now=$(date +%s%N) && csulcca_passed=$(csulcca_process_start self) || return 1
    echo $((csulcca_now / 10000000 - csulcca_passed))
}

# Prints when an upgrade began that was killed in the last day, from dpkg's log: as the function above. If it was
# killed between the old prerm and this script, the service was stopped without a note, and no prerm runs again.
csulcca_killed_upgrade_start() {
    [ -r /var/log/dpkg.log ] || return 1
    csulcca_line=$(awk '
        $3 == "status" && $4 == "installed" && $5 ~ /^csulcca(:|$)/ { first = ""; count = 0 }
        $3 ~ /^(install|upgrade)$/ && $4 ~ /^csulcca(:|$)/ { count++; if (first == "") first = $1 " " $2 }
        END { if (count > 1) print first }' /var/log/dpkg.log)
    [ -n "$csulcca_line" ] || return 1
    csulcca_killed_at=$(date -d "$csulcca_line" +%s 2>/dev/null) || return 1
    [ $(($(date +%s) - csulcca_killed_at)) -lt @NOTE_SECONDS@ ] || return 1
    csulcca_boot=$(csulcca_boot_time) && echo $((csulcca_killed_at * 100 - csulcca_boot))
}

# Keeps a copy of CCA 7.x's init script if it was edited, or if rpm does not answer whether it was. In 7.x's rpm the
# script is a plain file, which rpm removes even if it was edited.
csulcca_keep_edited_init_script() {
    csulcca_script=/etc/init.d/CSUTKEcat
    [ -f "$csulcca_script" ] || return 0
    ! csulcca_verified=$(timeout 30 rpm -Vf "$csulcca_script" 2>/dev/null) || return 0
    case $csulcca_verified in
    *"$csulcca_script"* | '')
        cp -pT --remove-destination "$csulcca_script" "$csulcca_script.rpmsave"
        # rpm removes the original, and may do so before the copy is on disk.
        sync "$csulcca_script.rpmsave" "${csulcca_script%/*}" || :
        ;;
    esac
}
