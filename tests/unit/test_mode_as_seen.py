"""An upgrade keeps the mode in which the old daemon was seen; and what /opt alone says about an earlier 8.x.

These rows belong to the table of test_decision_table.py; they need more of the host than its columns have.
"""

import os

import pytest

from catcher_install import actions, apply, messages, paths, stamp, transition

from .support import ids, make_stamp

DEB = transition.from_scriptlet("deb", ["configure", "7.6.10-1"])
DEB_8 = transition.from_scriptlet("deb", ["configure", "8.0.0~1"])
RPM = transition.from_scriptlet("rpm", ["1"])

# what preinst saw, the transition, catcher.conf before -> catcher.conf after, findings of the mode
SEEN = {
    "7.6 by dpkg, TLS": ("tls", DEB, None, b"TLS_ON\n", ["mode-as-seen"]),
    "7.6 by rpm, TLS": ("tls", RPM, None, b"TLS_ON\n", ["mode-as-seen"]),
    "vendor 8.0 by dpkg, TLS": ("tls", DEB_8, None, b"TLS_ON\n", ["mode-as-seen"]),
    "vendor 8.0 by dpkg, TCP": ("tcp", DEB_8, None, b"TLS_OFF\n", []),
    "7.3, TCP": ("tcp", DEB, None, b"TLS_OFF\n", ["upgraded-tcp-kept"]),
    "nobody ran": (None, DEB, None, b"TLS_OFF\n", ["upgraded-tcp-kept"]),
    "TLS, a file without a directive": ("tls", RPM, b"# ours\r\n", b"# ours\r\nTLS_ON\r\n", ["mode-as-seen"]),
    "TLS, a file that says so": ("tls", RPM, b"TLS_ON # 7.6\n", b"TLS_ON # 7.6\n", ["mode-as-seen"]),
    "TLS, a file that says TCP": ("tls", RPM, b"TLS_OFF\n", b"TLS_OFF\n", ["mode-changed-by-restart"]),
    "TCP, a file that says TLS": ("tcp", DEB, b"TLS_ON\n", b"TLS_ON\n", ["mode-changed-by-restart"]),
}


def about_mode(outcome):
    told = ("mode-as-seen", "mode-changed-by-restart", "upgraded-tcp-kept")
    return [id for id in ids(outcome.findings) if id in told]


@pytest.mark.parametrize("name", sorted(SEEN))
def test_the_mode_is_the_one_that_was_seen(machine, quick_pair, name):
    mode, called, before, after, told = SEEN[name]
    if before is not None:
        machine.put(paths.CONF, before)
    machine.capture(tree="yes", mode=mode or "none", seen="process" if mode else "no")
    outcome = apply.converge(machine, called)
    assert machine.get(paths.CONF) == after
    assert about_mode(outcome) == told
    texts = [messages.text(one) for one in outcome.findings if one["id"] == "mode-as-seen"]
    assert texts == ["the old catcher ran in TLS mode (seen in the list of processes), so the mode is TLS"] * len(texts)
    assert outcome.plan.mode == ("tls" if b"ON" in after else "tcp")
    # The next run, without the note, changes nothing.
    apply.converge(machine, transition.of(transition.START))
    assert machine.get(paths.CONF) == after


def test_a_mode_that_the_restart_changed_is_told_until_it_is_set_by_hand(machine, quick_pair):
    machine.put(paths.CONF, b"TLS_OFF\n")
    machine.capture(tree="yes", mode="tls", seen="process")
    apply.converge(machine, RPM)
    assert machine.get(paths.CAPTURE) is None
    again = apply.converge(machine, transition.of(transition.START))
    assert ids(again.findings) == ["mode-changed-by-restart"]
    # A policy of the administrator may forbid that restart.
    assert messages.text(again.findings[0]).endswith("the old catcher ran in TLS mode: a restart changes the mode")
    asked = transition.of(transition.SET_MODE, request=transition.ModeRequest(mode="tcp"))
    assert ids(apply.converge(machine, asked).findings) == []


@pytest.mark.parametrize("possible,told", [(True, ["mode-changed-by-restart"]),
                                           (False, ["tls-configured-tcp-running"])])
@pytest.mark.parametrize("whose", [{"tree": "yes"}, {"tree": "no", "ours": "yes"}], ids=["7.6", "8.x"])
def test_a_restart_that_changes_nothing_is_not_said_to_change_the_mode(machine, quick_pair, whose, possible, told):
    """With TLS_ON the daemon runs in TCP as long as TLS is not possible."""
    machine.put(paths.CONF, b"TLS_ON\n")
    machine.tls_possible(possible)
    machine.capture(mode="tcp", seen="process", **whose)
    assert ids(apply.converge(machine, RPM).findings) == told


@pytest.mark.parametrize("seen,told", [("process", ["mode-changed-by-restart"]), ("journal", []), ("last-run", [])])
def test_an_upgrade_of_8_x_after_catcher_conf_was_edited(machine, quick_pair, seen, told):
    """The daemon was not restarted since. What ran earlier in this boot may have run before a change by catcherctl."""
    machine.put(paths.CONF, b"TLS_OFF\n")
    machine.put(paths.STAMP, stamp.render(make_stamp(mode="tls")))
    machine.capture(tree="no", ours="yes", mode="tls", seen=seen)
    outcome = apply.converge(machine, transition.from_scriptlet("deb", ["configure", "8.0.0-1"]))
    assert ids(outcome.findings) == told
    assert machine.get(paths.CONF) == b"TLS_OFF\n"


def test_our_own_daemon_that_was_seen_does_not_outweigh_the_stamp(machine, quick_pair):
    """The catcher.conf of 8.x was removed by hand: the mode is that of the stamp, whatever ran."""
    machine.put(paths.STAMP, stamp.render(make_stamp(mode="tcp")))
    machine.capture(tree="no", ours="yes", mode="tls", seen="process")
    apply.converge(machine, transition.from_scriptlet("rpm", ["2"]))
    assert machine.get(paths.CONF) == b"TLS_OFF\n"


@pytest.mark.parametrize("mode", ["tls", "tcp", None])
def test_opt_was_kept_and_the_rest_of_the_system_is_new(machine, quick_pair, mode):
    """The old /opt has our CSUTKEcat, and key storage beside it: an upgrade of 8.x, in the stamp's mode or in TLS."""
    machine.put(paths.KEY_STORAGE + "/key", b"x")
    machine.capture(tree="no", ours="yes")
    if mode:
        machine.put(paths.STAMP, stamp.render(make_stamp(mode=mode)))
    outcome = apply.converge(machine, RPM)
    assert outcome.plan.history == actions.KNOWN
    assert machine.get(paths.CONF) == (b"TLS_OFF\n" if mode == "tcp" else b"TLS_ON\n")


def test_an_init_script_without_a_trace_of_ours_is_of_7(machine, quick_pair):
    machine.put(paths.INIT_SCRIPT, b"x")
    machine.capture(tree="no", ours="no")
    assert apply.converge(machine, RPM).plan.history == actions.LEGACY
    assert machine.get(paths.CONF) == b"TLS_OFF\n"


# Nobody looked: what preinst left, the old version where dpkg says it, which files of a pair there are, and the mode in
# which the daemon still runs -> catcher.conf, findings of the mode
NOT_LOOKED = {"no note": None, "no process": {"mode": "unknown"}, "an old note": "expired", "half a note": "cut"}
UNSEEN = {
    "7.3 by dpkg": (("deb", "configure", "7.3.0-1"), "both", None, b"TLS_OFF\n", ["upgraded-tcp-kept"]),
    "6.2 by dpkg": (("deb", "configure", "1:6.2-1"), "both", None, b"TLS_OFF\n", ["upgraded-tcp-kept"]),
    "7.6 by dpkg, with a pair": (("deb", "configure", "7.6.10-1"), "both", None, b"TLS_ON\n", ["mode-not-seen"]),
    "7.4 by dpkg, with a pair": (("deb", "configure", "7.4z-1"), "both", None, b"TLS_ON\n", ["mode-not-seen"]),
    "7.6 by dpkg, with a key": (("deb", "configure", "7.6.10-1"), "key", None, b"TLS_ON\n", ["mode-not-seen"]),
    "7.6 by dpkg, no pair": (("deb", "configure", "7.6.10-1"), "none", None, b"TLS_OFF\n", ["upgraded-tcp-kept"]),
    "7.6 by dpkg, runs in TCP": (("deb", "configure", "7.6.10-1"), "both", "tcp", b"TLS_OFF\n", ["upgraded-tcp-kept"]),
    "vendor 8 by dpkg, runs in TCP": (("deb", "configure", "8.2.0-1"), "both", "tcp", b"TLS_OFF\n", []),
    "vendor 8 by dpkg": (("deb", "configure", "8.2.0-1"), "both", None, b"TLS_ON\n", []),
    "by rpm, with a pair": (("rpm", "2"), "both", None, b"TLS_ON\n", ["mode-not-seen"]),
    "by rpm, no pair": (("rpm", "2"), "none", None, b"TLS_OFF\n", ["upgraded-tcp-kept"]),
    "by rpm, runs in TLS": (("rpm", "1"), "both", "tls", b"TLS_ON\n", []),
    "by rpm, runs in TLS without a pair": (("rpm", "1"), "none", "tls", b"TLS_ON\n", []),
    "first start, with a pair": (None, "both", None, b"TLS_ON\n", ["mode-not-seen"]),
    "first start, no pair": (None, "none", None, b"TLS_OFF\n", ["upgraded-tcp-kept"]),
}


@pytest.mark.parametrize("group,uid,after", [
    ("/system.slice/CSUTKEcat.service", 0, b"TLS_OFF\n"), ("/system.slice/CSUTKEcat.service", 1000, b"TLS_ON\n"),
    ("/system.slice/other.service", 0, b"TLS_ON\n"),
])
def test_a_daemon_that_an_init_script_has_started_still_runs(machine, a_pair, quick_pair, group, uid, after):
    """The daemon is in the service's control group, and systemd knows no main process. There is no note."""
    machine.put("/etc/group", b"root:x:0:\ncca_admin:x:990:\n")
    machine.put(paths.KEY, a_pair[0], 0o600)
    machine.put(paths.CERTIFICATE, a_pair[1])
    machine.processes[4711] = [paths.CATCHER]
    if uid:
        machine.users.add(4711)
    machine.put("/proc/4711/cgroup", b"0::" + group.encode("ascii") + b"\n")
    machine.systemctl(lambda argv, stdin: (0, b"MainPID=0\nControlGroup=/system.slice/CSUTKEcat.service\n"))
    apply.converge(machine, transition.from_scriptlet("rpm", ["2"]))
    assert machine.get(paths.CONF) == after


# The version that preinst was told by rpm, the mode in its note, whether there is a pair -> history, catcher.conf
OF_RPM = [
    ("7.3.43", "none", False, actions.LEGACY, b"TLS_OFF\n"), ("7.3.43", "unknown", True, actions.LEGACY, b"TLS_OFF\n"),
    ("7.6.10", "none", True, actions.LEGACY, b"TLS_OFF\n"), ("7.6.10", "unknown", True, actions.LEGACY, b"TLS_ON\n"),
    ("8.2.54", "none", True, actions.KNOWN, b"TLS_ON\n"), ("8.2.54", "none", False, actions.KNOWN, b"TLS_ON\n"),
    ("", "none", True, actions.LEGACY, b"TLS_OFF\n"), ("", "unknown", True, actions.LEGACY, b"TLS_ON\n"),
    ("x.y", "none", True, actions.LEGACY, b"TLS_OFF\n"),
]


@pytest.mark.parametrize("version,noted,whole,history,after", OF_RPM)
def test_the_version_that_rpm_said_counts(machine, a_pair, quick_pair, version, noted, whole, history, after):
    machine.capture(tree="yes", unit="enabled", mode=noted, version=version)
    if whole:
        machine.put(paths.KEY, a_pair[0], 0o600)
        machine.put(paths.CERTIFICATE, a_pair[1])
    outcome = apply.converge(machine, transition.from_scriptlet("rpm", ["2"]))
    assert (outcome.plan.history, machine.get(paths.CONF)) == (history, after)


@pytest.mark.parametrize("note", sorted(NOT_LOOKED))
@pytest.mark.parametrize("name", sorted(UNSEEN))
def test_what_nobody_could_look_at_is_not_taken_for_tcp(machine, a_pair, quick_pair, name, note):
    """The evidence that remains decides, and the finding stays until somebody sets the mode."""
    arguments, files, running, after, told = UNSEEN[name]
    left = NOT_LOOKED[note]
    machine.put("/etc/group", b"root:x:0:\ncca_admin:x:990:\n")
    if left is not None:
        machine.capture(tree="yes", groups="yes", unit="enabled", active="yes", mode="unknown")
    if left == "expired":
        os.utime(machine.on_disk(paths.CAPTURE), (1, 1))
    if left == "cut":
        machine.put(paths.CAPTURE, machine.get(paths.CAPTURE)[:-5])
    for path, data, kinds in ((paths.KEY, a_pair[0], ("both", "key")), (paths.CERTIFICATE, a_pair[1], ("both",))):
        if files in kinds:
            machine.put(path, data, 0o600)
    if running:
        machine.processes[4711] = [paths.CATCHER] + ["-tls"] * (running == "tls")
        machine.systemctl(lambda argv, stdin: (0, b"MainPID=4711\nActiveState=active\n"))
    called = transition.from_scriptlet(arguments[0], arguments[1:]) if arguments else transition.of(transition.START)
    outcome = apply.converge(machine, called)
    assert machine.get(paths.CONF) == after
    assert [id for id in ids(outcome.findings) if id in ("mode-not-seen", "upgraded-tcp-kept")] == told
    kept = ids(apply.converge(machine, transition.of(transition.START)).findings)
    assert machine.get(paths.CONF) == after
    assert ("mode-not-seen" in kept) == ("mode-not-seen" in told)
    if files == "both":
        asked = transition.of(transition.SET_MODE, request=transition.ModeRequest(mode="tls"))
        assert "mode-not-seen" not in ids(apply.converge(machine, asked).findings)


@pytest.mark.parametrize("count", ["1", "2"])
def test_the_count_of_rpm_does_not_decide_whether_the_running_daemon_is_asked(machine, a_pair, quick_pair, count):
    """Before rpm 4.18 (RHEL 8 and 9, SLES 15), %posttrans gets 1 for an upgrade, too."""
    machine.put(paths.KEY, a_pair[0], 0o600)
    machine.put(paths.CERTIFICATE, a_pair[1])
    machine.capture(tree="yes", unit="enabled", active="yes", mode="unknown", version="8.2.54")
    machine.processes[4711] = [paths.CATCHER]
    machine.systemctl(lambda argv, stdin: (0, b"MainPID=4711\nActiveState=active\n"))
    outcome = apply.converge(machine, transition.from_scriptlet("rpm", [count]))
    assert (outcome.plan.history, machine.get(paths.CONF)) == (actions.KNOWN, b"TLS_OFF\n")


def test_a_daemon_of_7_that_logged_before_its_erasure_is_seen(machine, quick_pair):
    machine.put(paths.INIT_SCRIPT, b"x")
    machine.capture(tree="no", mode="tls", seen="journal")
    apply.converge(machine, RPM)
    assert machine.get(paths.CONF) == b"TLS_ON\n"


@pytest.mark.parametrize("files,conf,told", [
    ((paths.KEY, paths.CERTIFICATE), b"TLS_ON\n", "mode-not-seen"), ((), b"TLS_OFF\n", "upgraded-tcp-kept")])
def test_what_ran_before_its_erasure_could_not_be_looked_at(machine, a_pair, files, conf, told):
    """The removal of CCA 7.6 in TLS leaves a pair and no trace of the daemon. The removal of 7.3 leaves no pair."""
    machine.put(paths.INIT_SCRIPT, b"x")
    machine.capture(tree="no", mode="none")
    for path, data in zip(files, a_pair):
        machine.put(path, data, 0o600)
    assert told in ids(apply.converge(machine, RPM).findings)
    assert machine.get(paths.CONF) == conf
