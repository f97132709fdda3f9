"""What was installed before: as dpkg's version, preinst's note, our stamp or traces of CCA 7.x say."""

import os

import pytest

from catcher_install import actions, facts, paths, plan, stamp, transition

from .support import make_capture, make_facts, make_stamp

INSTALL = transition.of(transition.INSTALL)
UPGRADE = transition.of(transition.UPGRADE)
START = transition.of(transition.START)
APPLY = transition.of(transition.APPLY)
UNKNOWN = transition.of(transition.UNKNOWN)


def from_dpkg(version):
    return transition.from_scriptlet("deb", ["configure", version])


TREE = make_capture(tree=True)
NO_TREE = make_capture()
STAMP = make_stamp()
TRACE = [paths.INIT_SCRIPT]

# transition, capture, stamp, traces -> history
CASES = {
    "fresh, nothing there": (INSTALL, None, None, [], actions.FRESH),
    "fresh, preinst saw nothing": (INSTALL, NO_TREE, None, [], actions.FRESH),
    "first start, nothing there": (START, None, None, [], actions.FRESH),
    "apply by hand, nothing there": (APPLY, None, None, [], actions.FRESH),
    "unknown call, nothing there": (UNKNOWN, None, None, [], actions.FRESH),
    "rpm upgrade of something, nothing there": (UPGRADE, None, None, [], actions.KNOWN),
    "dpkg says 7.3": (from_dpkg("7.3.0-1"), None, None, [], actions.LEGACY),
    "dpkg says 7.3, our stamp is there": (from_dpkg("7.3.0-1"), None, STAMP, [], actions.LEGACY),
    "dpkg says 8.0": (from_dpkg("8.0.0-1"), None, None, [], actions.KNOWN),
    "dpkg says 8.0, traces are there": (from_dpkg("8.0.0-1"), None, None, TRACE, actions.KNOWN),
    "dpkg says 8.0, preinst saw a tree": (from_dpkg("8.0.0-1"), TREE, None, [], actions.KNOWN),
    "dpkg says nothing useful, traces": (from_dpkg("<unknown>"), None, None, TRACE, actions.LEGACY),
    "dpkg says nothing useful, stamp": (from_dpkg("<unknown>"), None, STAMP, [], actions.KNOWN),
    "dpkg says nothing useful, nothing there": (from_dpkg("<unknown>"), None, None, [], actions.KNOWN),
    "rpm upgrade, preinst saw a tree": (UPGRADE, TREE, None, [], actions.LEGACY),
    "rpm upgrade after a downgrade, stamp": (UPGRADE, TREE, STAMP, [], actions.LEGACY),
    "rpm upgrade, our files, rpm says 7.3": (
        UPGRADE, make_capture(ours=True, version="7.3.0"), None, [], actions.LEGACY),
    "rpm upgrade, stamp": (UPGRADE, NO_TREE, STAMP, [], actions.KNOWN),
    "rpm upgrade, stamp and traces": (UPGRADE, NO_TREE, STAMP, TRACE, actions.KNOWN),
    "rpm -e then rpm -i": (INSTALL, NO_TREE, None, TRACE, actions.LEGACY),
    "rpm upgrade with --noscripts, first start": (START, None, None, TRACE, actions.LEGACY),
    "reinstall, stamp": (INSTALL, None, STAMP, [], actions.KNOWN),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_history_follows_from_what_is_known(name):
    called, capture, old, traces, past = CASES[name]
    assert plan.history(make_facts(capture=capture, stamp=old, traces=traces), called) == past


@pytest.mark.parametrize("link", ["/etc/rc2.d/S14CSUTKEcat", "/etc/rc3.d/S14CSUTKEcat", "/etc/rc.d/rc5.d/S14CSUTKEcat",
                                  "/etc/rc0.d/K86CSUTKEcat"])
def test_a_sysv_link_alone_is_a_trace(machine, link):
    machine.put_link(link, "../init.d/CSUTKEcat")
    seen = facts.collect(machine)
    assert seen.unit.legacy_links == [link]
    assert plan.history(seen, INSTALL) == actions.LEGACY


@pytest.mark.parametrize("name", ["S14CSUTKEcat2", "CSUTKEcat", "SXXCSUTKEcat", "X14CSUTKEcat", "S14csutkecat"])
def test_other_links_are_no_trace(machine, name):
    machine.put_link("/etc/rc2.d/" + name, "../init.d/other")
    assert plan.history(facts.collect(machine), INSTALL) == actions.FRESH


def test_an_init_script_alone_is_a_trace(machine):
    machine.put(paths.INIT_SCRIPT, b"#!/bin/sh\n", 0o755)
    assert plan.history(facts.collect(machine), INSTALL) == actions.LEGACY


@pytest.mark.parametrize("files", [[], ["/pkadata.dat"]], ids=["empty", "restored"])
def test_key_storage_alone_is_none(machine, files):
    """Key storage stays after a removal, and may be restored on a new host. The new host gets TLS."""
    machine.ensure_dir(paths.KEY_STORAGE)
    for name in files:
        machine.put(paths.KEY_STORAGE + name, b"")
    seen = facts.collect(machine)
    assert plan.history(seen, INSTALL) == actions.FRESH
    assert plan.plan(seen, INSTALL).mode == "tls"


@pytest.mark.parametrize("leads_to", ["keys", "/nowhere"])
def test_key_storage_that_cannot_be_listed_stops_nothing(machine, leads_to):
    machine.put_link(paths.KEY_STORAGE, leads_to)
    assert plan.history(facts.collect(machine), INSTALL) == actions.FRESH


@pytest.mark.parametrize("group", paths.LEGACY_GROUPS)
def test_a_group_of_7x_is_a_trace(machine, group):
    machine.put("/etc/group", ("root:x:0:\n%s:x:990:\n" % group).encode("ascii"))
    assert plan.history(facts.collect(machine), INSTALL) == actions.LEGACY


@pytest.mark.parametrize("line", ["xcca_admin:x:1:", "cca_administrators:x:1:", "other:x:1:cca_admin", "#cca_admin:"])
def test_other_groups_are_none(machine, line):
    machine.put("/etc/group", ("root:x:0:\n%s\n" % line).encode("ascii"))
    assert plan.history(facts.collect(machine), INSTALL) == actions.FRESH


def test_what_preinst_saw_of_groups_counts_for_more_than_groups_now(machine):
    """This package, or its payload, may have made the groups between preinst and postinst."""
    machine.put("/etc/group", b"cca_admin:x:990:\n")
    machine.capture(groups="no")
    assert plan.history(facts.collect(machine), INSTALL) == actions.FRESH
    machine.put("/etc/group", b"root:x:0:\n")
    machine.capture(groups="yes")
    assert plan.history(facts.collect(machine), INSTALL) == actions.LEGACY


@pytest.mark.parametrize("sign", [paths.SYSUSERS, paths.MADE_GROUPS])
@pytest.mark.parametrize("called", [INSTALL, START, APPLY, UNKNOWN])
def test_groups_that_this_package_makes_are_no_trace_of_7x(machine, called, sign):
    """Installed without scriptlets, or preinst could not write its note, then booted: a fresh host gets TLS."""
    machine.put("/etc/group", b"root:x:0:\ncca_admin:x:990:\n")
    machine.put(sign, b"")
    assert plan.history(facts.collect(machine), called) == actions.FRESH
    machine.capture(groups="yes")
    assert plan.history(facts.collect(machine), called) == actions.LEGACY


def test_a_host_without_etc_group_is_fresh(machine):
    machine.remove("/etc/group")
    assert plan.history(facts.collect(machine), INSTALL) == actions.FRESH


def days_later(machine, seconds=-paths.NOTE_SECONDS - 60):
    """The note of preinst is more than a day old."""
    when = machine.now() + seconds
    os.utime(machine.on_disk(paths.CAPTURE), (when, when))


def test_what_preinst_saw_of_the_service_is_of_this_day_only(machine):
    machine.capture(tree="yes", unit="disabled", active="unknown")
    machine.enable()
    seen = facts.collect(machine)
    assert seen.capture.recent and seen.capture.unsure
    assert actions.DISABLE in [one.kind for one in plan.plan(seen, UPGRADE).actions]
    for shift in (-paths.NOTE_SECONDS - 60, paths.NOTE_SECONDS + 60):
        days_later(machine, shift)
        seen = facts.collect(machine)
        assert not seen.capture.recent and not seen.capture.unsure
        kinds = [one.kind for one in plan.plan(seen, UPGRADE).actions]
        assert actions.DISABLE not in kinds and actions.FORGET_CAPTURE in kinds


# What the note says, whether a pair is there -> the mode, whatever the note's age.
CUT = {
    "7.3": (dict(version="7.3.0", mode="unknown"), True, "tcp"),
    "7.6 in TCP": (dict(version="7.6.10", mode="tcp", seen="process"), True, "tcp"),
    "7.6 in TLS": (dict(version="7.6.10", mode="tls", seen="process"), False, "tls"),
    "8.x of the vendor's own": (dict(version="8.2.54"), False, "tls"),
    "nobody knows": ({}, False, "tcp"),
}


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("name", sorted(CUT))
def test_a_note_tells_the_same_of_the_old_catcher_days_later(machine, a_pair, quick_pair, name, later):
    noted, pair_there, mode = CUT[name]
    if pair_there:
        machine.put(paths.KEY, a_pair[0], 0o600)
        machine.put(paths.CERTIFICATE, a_pair[1])
    machine.capture(tree="yes", unit="disabled", **noted)
    if later:
        days_later(machine)
    assert plan.plan(facts.collect(machine), START).mode == mode


def test_a_note_that_no_longer_counts_goes_too(machine, quick_pair):
    """Otherwise the note would say CCA 7.x if stamp and catcher.conf are lost later."""
    machine.capture(tree="yes", version="7.3.0")
    days_later(machine)
    machine.put(paths.STAMP, stamp.render(make_stamp()))
    for called in (from_dpkg("7.3.0-1"), APPLY):
        assert actions.FORGET_CAPTURE in [one.kind for one in plan.plan(facts.collect(machine), called).actions]


@pytest.mark.parametrize("called", [START, UNKNOWN])
@pytest.mark.parametrize("tree,past", [("yes", actions.LEGACY), ("no", actions.FRESH)])
def test_a_host_that_was_switched_off_in_an_upgrade_is_of_7x_also_days_later(machine, called, tree, past):
    """No package manager tells the first start what was there, and systemd-sysusers may have made groups by then."""
    machine.put("/etc/group", b"cca_admin:x:990:\n")
    machine.put(paths.SYSUSERS)
    machine.capture(tree=tree, active="yes", unit="enabled")
    days_later(machine)
    seen = facts.collect(machine)
    assert plan.history(seen, called) == past
    assert plan.plan(seen, called).mode == ("tcp" if tree == "yes" else "tls")
    # When the stamp says what the host is, the note no longer counts.
    machine.put(paths.STAMP, stamp.render(make_stamp()))
    assert plan.history(facts.collect(machine), called) == actions.KNOWN


@pytest.mark.parametrize("data", [b"", b"\0\xff\n", b"tree\n", b"x" * 5000, b"tree=maybe\nunit=\n"])
def test_a_torn_note_of_preinst_means_nothing(machine, data):
    machine.put(paths.CAPTURE, data)
    assert plan.history(facts.collect(machine), INSTALL) == actions.FRESH


NOTE = b"tree=no\ngroups=no\nunit=none\nactive=no\n"


@pytest.mark.parametrize("data", [NOTE[:cut] for cut in range(len(NOTE) - 1)] + [b"\0" * len(NOTE)])
def test_a_note_that_a_power_failure_has_cut_does_not_hide_7x(machine, data):
    """A truncated note would say that there were no groups, and a host of 7.x would be set to TLS."""
    machine.put("/etc/group", b"cca_admin:x:990:\n")
    machine.put(paths.CAPTURE, data)
    assert plan.history(facts.collect(machine), INSTALL) == actions.LEGACY
    machine.put(paths.CAPTURE, NOTE)
    assert plan.history(facts.collect(machine), INSTALL) == actions.FRESH


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b'{"format_version": 2}', b"\xff\xfe", b"x" * 300000,
                                  b"[" * 100000])
def test_a_stamp_that_is_not_ours_is_none(machine, data):
    machine.put(paths.STAMP, data)
    machine.put(paths.INIT_SCRIPT, b"")
    assert plan.history(facts.collect(machine), INSTALL) == actions.LEGACY


def test_any_stamp_of_ours_is_one(machine):
    machine.put(paths.STAMP, stamp.render(make_stamp(mode=None)))
    machine.put(paths.INIT_SCRIPT, b"")
    assert plan.history(facts.collect(machine), INSTALL) == actions.KNOWN
