"""Which mode catcher.conf gets: the complete table of history x catcher.conf x TLS capability.

ROWS is the table. Each combination of HISTORIES, CONFIGURATIONS and CAPABILITIES must be decided by
exactly one row, and is tested twice: in plan(), which sees nothing but facts, and by a converge on a real tree.
"""

import pytest

from catcher_install import actions, apply, config, messages, openssl, paths, plan, stamp, transition
from catcher_install.openssl import TlsCapability
from catcher_install.unit import UnitFacts

from .support import ids, make_capture, make_facts, make_stamp, tree_of

KEPT = "byte-unchanged"
ADDED = "every byte kept, TLS_OFF added"

# What makes each history of the table: the scriptlet's arguments, and what the host shows.
HISTORIES = {
    "fresh (deb)": ("fresh", ("deb", "configure"), {}),
    "fresh (rpm)": ("fresh", ("rpm", "1"), {}),
    "fresh (first start, --noscripts)": ("fresh", None, {}),
    "legacy-upgrade (deb 7.3.0-1)": ("legacy-upgrade", ("deb", "configure", "7.3.0-1"), {}),
    "legacy-upgrade (deb 7.3.0-1 after a downgrade)": (
        "legacy-upgrade", ("deb", "configure", "7.3.0-1"), {"stamp": "tcp"}),
    "legacy-upgrade (rpm, tree seen before)": ("legacy-upgrade", ("rpm", "2"), {"tree": True}),
    "legacy-upgrade (rpm -e + rpm -i, groups left)": ("legacy-upgrade", ("rpm", "1"), {"trace": "groups"}),
    "legacy-upgrade (rpm -e + rpm -i, rc2.d link left)": ("legacy-upgrade", ("rpm", "1"), {"trace": "rc"}),
    "legacy-upgrade (first start, --noscripts)": ("legacy-upgrade", None, {"trace": "groups"}),
    "8.x-upgrade (deb, stamp says tls)": ("8.x-upgrade, tls", ("deb", "configure", "8.0.0-1"), {"stamp": "tls"}),
    "8.x-upgrade (rpm, stamp says tls)": ("8.x-upgrade, tls", ("rpm", "2"), {"stamp": "tls"}),
    "8.x-upgrade (rpm, stamp says tcp)": ("8.x-upgrade, tcp", ("rpm", "2"), {"stamp": "tcp"}),
    "8.x-upgrade (deb, stamp without mode)": ("8.x-upgrade, no mode", ("deb", "configure", "1:8.1.0-1"),
                                              {"stamp": "none"}),
    "8.x-upgrade (deb, no stamp)": ("8.x-upgrade, no mode", ("deb", "configure", "8.0.0-1"), {}),
    "8.x-upgrade (rpm, no stamp)": ("8.x-upgrade, no mode", ("rpm", "2"), {}),
}

RC_LINK = "/etc/rc2.d/S14CSUTKEcat"

# (kind in the table, bytes)
CONFIGURATIONS = {
    "absent": ("absent", None),
    "empty": ("no directive", b""),
    "comments only": ("no directive", b"# ours\n\n  # TLS_ON would be a directive\n"),
    "comments only, CRLF, no final newline": ("no directive", b"\xef\xbb\xbf# ours\r\n# and theirs"),
    "TLS_ON": ("TLS_ON", b"# TLS\nTLS_ON\n"),
    "TLS_ON, CRLF, BOM, blanks, twice": ("TLS_ON", b"\xef\xbb\xbf TLS_ON \r\n\r\n\tTLS_ON # again"),
    "TLS_OFF": ("TLS_OFF", b"# TCP\nTLS_OFF\n"),
    "TLS_OFF, no final newline": ("TLS_OFF", b"# TCP\n  TLS_OFF"),
    "both tokens": ("unusable", b"TLS_ON\nTLS_OFF\n"),
    "unknown token": ("unusable", b"TLS_MAYBE\n"),
    "binary": ("unusable", b"\x7fELF\0\0\1TLS_ON\n"),
    "huge": ("unusable", b"# " + b"x" * config.SIZE_LIMIT + b"\nTLS_ON\n"),
}

CAPABILITIES = {"tls possible": True, "tls not possible": False}

ANY = ("tls possible", "tls not possible")
YES = ("tls possible",)
NO = ("tls not possible",)
EIGHT = ("8.x-upgrade, tls", "8.x-upgrade, tcp", "8.x-upgrade, no mode")
EVERY = ("fresh", "legacy-upgrade") + EIGHT

# histories, catcher.conf, TLS -> result, findings of the table
ROWS = (
    (("fresh",), ("absent",), YES, b"TLS_ON\n", ()),
    (("fresh",), ("absent",), NO, b"TLS_OFF\n", ("tls-not-possible",)),
    (("fresh",), ("no directive",), ANY, KEPT, ("conf-no-directive",)),
    (("fresh",), ("TLS_ON",), YES, KEPT, ()),
    (("fresh",), ("TLS_ON",), NO, KEPT, ("tls-configured-tcp-running",)),
    (("fresh",), ("TLS_OFF",), ANY, KEPT, ()),
    (("legacy-upgrade",), ("absent",), ANY, b"TLS_OFF\n", ("upgraded-tcp-kept",)),
    (("legacy-upgrade",), ("no directive",), ANY, ADDED, ("upgraded-tcp-kept",)),
    (("legacy-upgrade",), ("TLS_ON",), YES, KEPT, ()),
    (("legacy-upgrade",), ("TLS_ON",), NO, KEPT, ("tls-configured-tcp-running",)),
    (("legacy-upgrade",), ("TLS_OFF",), ANY, KEPT, ("upgraded-tcp-kept",)),
    (("8.x-upgrade, tls",), ("absent",), YES, b"TLS_ON\n", ("conf-was-missing",)),
    (("8.x-upgrade, tls",), ("absent",), NO, b"TLS_ON\n", ("conf-was-missing", "tls-configured-tcp-running")),
    (("8.x-upgrade, tcp",), ("absent",), ANY, b"TLS_OFF\n", ("conf-was-missing",)),
    (("8.x-upgrade, no mode",), ("absent",), YES, b"TLS_ON\n", ("conf-was-missing",)),
    (("8.x-upgrade, no mode",), ("absent",), NO, b"TLS_OFF\n", ("conf-was-missing",)),
    (EIGHT, ("no directive",), ANY, KEPT, ("conf-no-directive",)),
    (EIGHT, ("TLS_ON",), YES, KEPT, ()),
    (EIGHT, ("TLS_ON",), NO, KEPT, ("tls-configured-tcp-running",)),
    (EIGHT, ("TLS_OFF",), ANY, KEPT, ()),
    (EVERY, ("unusable",), ANY, KEPT, ("conf-unusable",)),
)

# Findings that a second look does not repeat, since they tell of an event.
ONCE = ("conf-was-missing",)


def rows_for(history, conf, capability):
    kind, _, _ = HISTORIES[history]
    return [row for row in ROWS
            if kind in row[0] and CONFIGURATIONS[conf][0] in row[1] and capability in row[2]]


def wanted(history, conf, capability):
    """(bytes of catcher.conf afterwards, ids of findings, sorted)."""
    (_, _, _, result, found), = rows_for(history, conf, capability)
    data = CONFIGURATIONS[conf][1]
    if result == KEPT:
        result = data
    elif result == ADDED:
        end = b"\r\n" if b"\r\n" in data else b"\n"
        separator = b"" if data == b"" or data.endswith(b"\n") else end
        result = data + separator + b"TLS_OFF" + end
    return result, sorted(found)


def name_of(history, conf, capability):
    result = rows_for(history, conf, capability)[0][3]
    if isinstance(result, bytes):
        result = result.decode("ascii").strip()
    return "%s / %s / %s -> %s" % (history, conf, capability, result)


EVERYTHING = [(h, c, t) for h in HISTORIES for c in CONFIGURATIONS for t in CAPABILITIES]
TABLE = pytest.mark.parametrize("history,conf,capability", EVERYTHING, ids=[name_of(*one) for one in EVERYTHING])


def test_each_combination_is_decided_by_one_row():
    assert [(h, c, t) for h, c, t in EVERYTHING if len(rows_for(h, c, t)) != 1] == []


def test_each_row_decides_something():
    used = [id(row) for one in EVERYTHING for row in rows_for(*one)]
    assert [row for row in ROWS if id(row) not in used] == []


def called(arguments):
    """The transition of a scriptlet's arguments; of a first start for None."""
    return transition.from_scriptlet(arguments[0], arguments[1:]) if arguments else transition.of(transition.START)


def facts_of(history, conf, capability):
    """The facts that plan() sees, put together by hand."""
    _, _, shown = HISTORIES[history]
    data = CONFIGURATIONS[conf][1]
    possible = CAPABILITIES[capability]
    old = None
    if "stamp" in shown:
        old = make_stamp(mode=None if shown["stamp"] == "none" else shown["stamp"])
    return make_facts(
        config=config.absent() if data is None else config.parse(data),
        tls=TlsCapability(possible=possible, version="3.0.13" if possible else "1.0.2k",
                          library="/usr/lib64/libssl.so.3" if possible else None, reason="" if possible else "old",
                          identity=""),
        stamp=old,
        capture=make_capture(tree=True, unit="enabled") if shown.get("tree") else None,
        note_left=bool(shown.get("tree")),
        traces=["the groups cca_*"] if shown.get("trace") == "groups" else [],
        unit=UnitFacts(enabled=False, unmask="", forking=False, ran=None, was_enabled=False, noted=False,
                       legacy_links=[RC_LINK] if shown.get("trace") == "rc" else []),
    )


@TABLE
def test_the_plan_is_that_of_the_table(history, conf, capability):
    arguments = HISTORIES[history][1]
    facts = facts_of(history, conf, capability)
    planned = plan.plan(facts, called(arguments))
    data, found = wanted(history, conf, capability)
    writes = [action.data for action in planned.actions if action.kind == actions.WRITE_CONFIG]
    assert (writes[0] if writes else CONFIGURATIONS[conf][1]) == data
    assert len(writes) == (1 if data != CONFIGURATIONS[conf][1] else 0)
    assert ids(planned.findings) == found
    assert all(messages.text(one) and "{" not in messages.text(one) + messages.fix(one) for one in planned.findings)
    # The same facts always give the same plan, and planning changes nothing in them.
    assert facts == facts_of(history, conf, capability)
    assert plan.plan(facts, called(arguments)) == planned
    mode = {b"TLS_ON": config.TLS, b"TLS_OFF": config.TCP}
    state = config.parse(data).state
    if state == config.UNUSABLE:
        assert planned.mode is None
    elif state == config.UNSET:
        assert planned.mode == (config.TLS if CAPABILITIES[capability] else config.TCP)
    else:
        assert planned.mode == state
        assert state in mode.values()


@TABLE
def test_the_host_is_afterwards_as_the_table_says(history, conf, capability, machine, quick_pair):
    _, arguments, shown = HISTORIES[history]
    before = CONFIGURATIONS[conf][1]
    machine.tls_possible(CAPABILITIES[capability])
    machine.systemctl()
    if before is not None:
        machine.put(paths.CONF, before)
    if "stamp" in shown:
        old = make_stamp(mode=None if shown["stamp"] == "none" else shown["stamp"])
        machine.put(paths.STAMP, stamp.render(old), 0o600)
    if shown.get("tree"):
        machine.capture(tree="yes", unit="enabled")
    if shown.get("trace") == "groups":
        machine.put("/etc/group", b"root:x:0:\ncca_admin:x:990:\n")
    if shown.get("trace") == "rc":
        machine.put_link(RC_LINK, "../init.d/CSUTKEcat")

    outcome = apply.converge(machine, called(arguments))

    data, found = wanted(history, conf, capability)
    assert machine.get(paths.CONF) == data
    assert ids(outcome.findings) == found
    # In TLS, if it is possible, there is a pair now. TCP never gets one.
    speaks_tls = CAPABILITIES[capability] and config.parse(data).state in (config.TLS, config.UNSET)
    assert [machine.get(path) for path in (paths.KEY, paths.CERTIFICATE)] == (
        list(quick_pair) if speaks_tls else [None, None])
    written = stamp.parse(machine.get(paths.STAMP))
    assert ids(written.findings) == [one for one in found if one not in ONCE]

    # Each kind of run again: nothing is left to do, and no file is touched.
    tree = tree_of(machine, times=True)
    again = apply.converge(machine, transition.of(transition.APPLY))
    assert again.plan.actions == [] and again.done == []
    assert ids(again.findings) == [one for one in found if one not in ONCE]
    spawned = len(machine.systemctl_calls())
    repeated = apply.converge(machine, called(arguments))
    assert [one for one in repeated.plan.actions if one.kind not in actions.SERVICE_VERBS] == []
    assert ids(repeated.findings) == [one for one in found if one not in ONCE]
    # "show": whether the catcher runs, if it would not start again.
    asked = machine.systemctl_calls()[spawned:]
    assert all(call == ["daemon-reload"] or call[0] in ("try-restart", "show") for call in asked)
    assert tree_of(machine, times=True) == tree


@pytest.mark.parametrize("conf", [b"TLS_REQUIRED\n", b"# TLS only\nTLS_REQUIRED"], ids=["alone", "with a comment"])
def test_legacy_upgrade_never_makes_a_good_file_contradictory(machine, conf):
    """TLS_REQUIRED is not a mode, and TLS_OFF beside it is a contradiction, for which every start is refused."""
    machine.put(paths.CONF, conf)
    apply.converge(machine, transition.from_scriptlet("deb", ["configure", "7.3.0-1"]))
    assert config.parse(machine.get(paths.CONF)).state != config.UNUSABLE


def test_conf_that_is_a_dangling_link_stays(machine):
    machine.put_link(paths.CONF, "/nowhere/catcher.conf")
    outcome = apply.converge(machine, called(("rpm", "1")))
    assert ids(outcome.findings) == ["conf-unusable"]
    assert machine.read_link(paths.CONF) == "/nowhere/catcher.conf"
    assert not machine.lexists("/nowhere")


def test_conf_that_is_a_directory_stays(machine):
    machine.make_dir(paths.CONF, 0o755)
    assert ids(apply.converge(machine, called(("rpm", "1"))).findings) == ["conf-unusable"]
    assert machine.names(paths.CONF) == []


def test_an_edit_goes_through_a_link_and_keeps_it(machine):
    machine.put("/srv/conf/catcher.conf", b"# shared\n", 0o640)
    machine.put_link(paths.CONF, "/srv/conf/catcher.conf")
    apply.converge(machine, called(("deb", "configure", "7.3.0-1")))
    assert machine.read_link(paths.CONF) == "/srv/conf/catcher.conf"
    assert machine.get("/srv/conf/catcher.conf") == b"# shared\nTLS_OFF\n"
    assert machine.mode("/srv/conf/catcher.conf") == 0o640


def test_a_mode_changed_by_hand_between_two_upgrades_stays(machine, quick_pair):
    """An administrator sets a fresh TLS host to TCP. However often hooks run, it stays in TCP."""
    apply.converge(machine, called(("rpm", "1")))
    machine.put(paths.CONF, b"TLS_OFF\n")
    for arguments in (("rpm", "2"), ("deb", "configure", "8.0.0-1"), ("rpm", "1"), None):
        apply.converge(machine, called(arguments))
        assert machine.get(paths.CONF) == b"TLS_OFF\n"


def test_where_openssl_cannot_be_asked_a_fresh_host_is_left_undecided():
    planned = plan.plan(make_facts(tls=openssl.unknown("a test")), transition.of(transition.APPLY))
    assert ids(planned.findings) == ["tls-unknown"]
    assert planned.mode is None
    assert [action.kind for action in planned.actions] == [actions.WRITE_STAMP]


def test_where_openssl_cannot_be_asked_a_legacy_host_still_keeps_tcp():
    facts = make_facts(tls=openssl.unknown("a test"), traces=[paths.INIT_SCRIPT])
    planned = plan.plan(facts, transition.of(transition.APPLY))
    assert [action.data for action in planned.actions if action.kind == actions.WRITE_CONFIG] == [b"TLS_OFF\n"]
