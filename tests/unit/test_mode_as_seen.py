"""The mode of an upgrade is the one in which the old daemon was seen; and what /opt alone tells of an earlier 8.x.

The table of SPEC "Which mode the configuration gets" has these rows beside those of test_decision_table.py.
"""

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
    # The next run, without the note, leaves it so.
    apply.converge(machine, transition.of(transition.START))
    assert machine.get(paths.CONF) == after


def test_a_mode_that_the_restart_changed_is_told_until_it_is_set_by_hand(machine, quick_pair):
    machine.put(paths.CONF, b"TLS_OFF\n")
    machine.capture(tree="yes", mode="tls", seen="process")
    apply.converge(machine, RPM)
    assert machine.get(paths.CAPTURE) is None
    again = apply.converge(machine, transition.of(transition.START))
    assert ids(again.findings) == ["mode-changed-by-restart"]
    asked = transition.of(transition.SET_MODE, request=transition.ModeRequest(mode="tcp"))
    assert ids(apply.converge(machine, asked).findings) == []


def test_our_own_daemon_that_was_seen_does_not_outweigh_the_stamp(machine, quick_pair):
    """A catcher.conf of 8.x that was removed by hand: the stamp has the mode, whatever ran."""
    machine.put(paths.STAMP, stamp.render(make_stamp(mode="tcp")))
    machine.capture(tree="no", ours="yes", mode="tls", seen="process")
    apply.converge(machine, transition.from_scriptlet("rpm", ["2"]))
    assert machine.get(paths.CONF) == b"TLS_OFF\n"


@pytest.mark.parametrize("mode", ["tls", "tcp", None])
def test_opt_was_kept_and_the_rest_of_the_system_is_new(machine, quick_pair, mode):
    """CSUTKEcat of ours in the old /opt, and key storage beside it: an upgrade of 8.x, in the stamp's mode or TLS."""
    machine.put(paths.KEY_STORAGE + "/key", b"x")
    machine.capture(tree="no", ours="yes")
    if mode:
        machine.put(paths.STAMP, stamp.render(make_stamp(mode=mode)))
    outcome = apply.converge(machine, RPM)
    assert outcome.plan.history == actions.KNOWN
    assert machine.get(paths.CONF) == (b"TLS_OFF\n" if mode == "tcp" else b"TLS_ON\n")


def test_key_storage_without_a_trace_of_ours_is_of_7(machine, quick_pair):
    machine.put(paths.KEY_STORAGE + "/key", b"x")
    machine.capture(tree="no", ours="no")
    assert apply.converge(machine, RPM).plan.history == actions.LEGACY
    assert machine.get(paths.CONF) == b"TLS_OFF\n"
