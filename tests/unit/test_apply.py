"""A whole converge: its order, and what it does if a step fails. tests/slow kills it at every call."""

import contextlib
import errno
import os

import pytest

from catcher_install import actions, apply, messages, pair, paths, plan, reference, report, stamp, transition
from catcher_install.errors import CatcherError

from .proc import ANY_4, LISTENS, line
from .support import fault, host_upgraded_by_rpm, ids, no_room_for_the_stamp, tree_of

FRESH = transition.from_scriptlet("rpm", ["1"])
LEGACY = transition.from_scriptlet("rpm", ["2"])
LEGACY_DEB = transition.from_scriptlet("deb", ["configure", "7.3.0-1"])
APPLY = transition.of(transition.APPLY)
START = transition.of(transition.START)


# A converge that does not finish a pair must not remove the proof that it is ours.
BYSTANDERS = {
    "triggered": transition.from_scriptlet("deb", ["triggered", "x"]),
    "abort-upgrade": transition.from_scriptlet("deb", ["abort-upgrade", "8.0.0-1"]),
    "abort-remove": transition.from_scriptlet("deb", ["abort-remove"]),
}


@pytest.mark.parametrize("name", sorted(BYSTANDERS))
def test_a_call_without_work_does_not_break_a_pair_that_is_half_placed(machine, quick_pair, name):
    pair.stage(machine, *quick_pair)
    machine.link(paths.STAGE + "/catcher.key", paths.KEY)
    machine.put(paths.CONF, b"TLS_ON\n")
    apply.converge(machine, BYSTANDERS[name])
    apply.converge(machine, FRESH)
    assert (machine.get(paths.KEY), machine.get(paths.CERTIFICATE)) == quick_pair


# -- the order ---------------------------------------------------------------------------------------------------------

def test_the_stamp_is_written_last_and_first_the_configuration(machine, quick_pair):
    with fault() as faults:
        outcome = apply.converge(machine, START)
    assert outcome.done == [actions.WRITE_CONFIG, actions.MAKE_PAIR, actions.WRITE_STAMP]
    named = [path for name, path in faults.log if name in ("rename", "link") and isinstance(path, str)]
    names = [os.path.basename(path) for path in named]
    # The draft also has a link to the key, with the name that says that we made it.
    assert names == [".catcher.conf.csulcca-new", "catcher.key", ".catcher-pair.draft", "catcher.key", "catcher.crt",
                     ".state.json.csulcca-new", ".catcher-pair"]


def test_actions_come_in_the_documented_order(tmp_path):
    machine = host_upgraded_by_rpm(tmp_path)
    machine.systemctl()
    outcome = apply.converge(machine, LEGACY)
    order = [actions.ORDER.index(kind) for kind in outcome.done]
    assert order == sorted(order)
    assert outcome.done == [actions.WRITE_CONFIG, actions.ENABLE, actions.WRITE_STAMP, actions.RETIRE_LEGACY_LINKS,
                            actions.RESTART, actions.FORGET_CAPTURE]


# -- steps that fail ---------------------------------------------------------------------------------------------------

def failing(machine, monkeypatch, step, error):
    def fail(*arguments, **more):
        raise error

    monkeypatch.setattr(step[0], step[1], fail)


def test_a_pair_that_cannot_be_made(machine, monkeypatch):
    from catcher_install.cert import generate

    failing(machine, monkeypatch, (generate, "generate"), CatcherError("no crypto here", "install some"))
    outcome = apply.converge(machine, FRESH)
    told, = outcome.findings
    assert (told["id"], told["reason"], told["hint"]) == ("pair-not-generated", "no crypto here", "install some")
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    assert pair.look(machine).state == pair.NONE
    assert stamp.parse(machine.get(paths.STAMP)) is not None


def test_a_pair_that_finds_no_room_is_told_and_made_later(machine, monkeypatch, quick_pair):
    failing(machine, monkeypatch, (pair, "stage"), OSError(errno.ENOSPC, "No space left on device"))
    outcome = apply.converge(machine, FRESH)
    assert outcome.findings == [{"id": "write-failed", "path": paths.KEY, "reason": "No space left on device"}]
    monkeypatch.undo()


@pytest.mark.parametrize("status,output,reason", [
    (1, b"warning\nUnit CSUTKEcat.service is odd.\n", "Unit CSUTKEcat.service is odd."),
    (5, b"", "exit status 5"),
])
def test_systemctl_fails(machine, quick_pair, status, output, reason):
    machine.systemctl((status, output))
    machine.enable()
    outcome = apply.converge(machine, FRESH)
    assert outcome.findings == [
        {"id": "service-failed", "verb": "start", "unit": paths.UNIT, "reason": reason}]
    assert stamp.parse(machine.get(paths.STAMP)).mode == "tls"


# -- what is over in a moment ------------------------------------------------------------------------------------------


class Once:
    """A method of a machine that fails the first time that it is given a path."""

    def __init__(self, machine, method, path, number):
        self.real, self.path, self.error = getattr(machine, method), path, OSError(number, os.strerror(number), path)
        setattr(machine, method, self)

    def __call__(self, path, *rest, **named):
        if path == self.path and self.error is not None:
            error, self.error = self.error, None
            raise error
        return self.real(path, *rest, **named)


def test_a_pair_that_could_not_be_read_once_is_judged_again(machine, quick_pair):
    """A verdict during the fault is not remembered. Otherwise the daemon would never start again."""
    apply.converge(machine, FRESH)
    machine.remove(paths.STAMP)
    real, reads = machine.read, []

    def second_fails(path, *rest, **named):
        reads.append(path)
        if path == paths.KEY and reads.count(path) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, *rest, **named)

    machine.read = second_fails
    told = apply.converge(machine, FRESH)
    assert "pair-unread" in ids(told.findings)
    again = apply.converge(machine, START)
    assert again.findings == [] and again.facts.verdict["problem"] == ""


def test_a_fault_of_the_pair_that_a_stamp_remembers_is_looked_for_again(machine, quick_pair):
    """The fault may have been on the disk, and may be over."""
    apply.converge(machine, FRESH)
    old = stamp.parse(machine.get(paths.STAMP))
    remembered = old.replace(checked_pair=dict(old.checked_pair, problem="they cannot be read (Input/output error)"))
    machine.put(paths.STAMP, stamp.render(remembered))
    again = apply.converge(machine, START)
    assert again.findings == [] and again.facts.verdict["problem"] == ""


def test_a_stamp_that_could_not_be_read_once_still_knows_whose_the_pair_is(machine, quick_pair):
    apply.converge(machine, FRESH)
    before = machine.get(paths.STAMP)
    Once(machine, "read_optional", paths.STAMP, errno.EIO)
    told = apply.converge(machine, FRESH)
    assert ids(told.findings) == ["write-failed"]
    assert machine.get(paths.STAMP) == before


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_a_note_of_the_upgrade_that_could_not_be_read_once_is_heard_the_next_time(tmp_path, quick_pair, number):
    """Without the note, a host with 7.3 in TCP would be taken for a new host, which gets TLS."""
    machine = host_upgraded_by_rpm(tmp_path)
    Once(machine, "read_optional", paths.CAPTURE, number)
    told = apply.converge(machine, LEGACY)
    assert "mode-undecided" in ids(told.findings) and machine.get(paths.CONF) is None
    apply.converge(machine, LEGACY)
    assert machine.get(paths.CONF) == b"TLS_OFF\n"


def test_an_openssl_that_could_not_be_asked_once_does_not_give_tcp_for_good(machine, quick_pair):
    answer = machine.programs[paths.OPENSSL]
    machine.programs[paths.OPENSSL] = OSError(errno.EMFILE, "Too many open files")
    assert "tls-unknown" in ids(apply.converge(machine, FRESH).findings)
    assert machine.get(paths.CONF) is None
    machine.programs[paths.OPENSSL] = answer
    apply.converge(machine, START)
    assert machine.get(paths.CONF) == b"TLS_ON\n"


def after_planning(monkeypatch, change):
    """Let another program change the host after a converge has read it and before it writes."""
    real = apply.planner.plan

    def planned(*arguments, **named):
        made = real(*arguments, **named)
        change()
        return made

    monkeypatch.setattr(apply.planner, "plan", planned)


@pytest.mark.parametrize("target", ["../passwd", "../nowhere"])
def test_a_link_that_comes_between_look_and_write_is_left_alone(machine, quick_pair, monkeypatch, target):
    """Meanwhile somebody made catcher.conf a link: nothing is written to its target."""
    machine.put("/etc/passwd", b"root:x:0:0::/:/bin/sh\n")
    after_planning(monkeypatch,
                   lambda: machine.lexists(paths.CONF) or machine.put_link(paths.CONF, target))
    found = apply.converge(machine, FRESH).findings
    assert machine.get("/etc/passwd") == b"root:x:0:0::/:/bin/sh\n"
    assert machine.read_link(paths.CONF) == target and not machine.lexists("/etc/nowhere")
    assert "conf-unusable" in ids(found)


# How somebody else's catcher.conf counts: the mode after the run, and whether a pair is made for it.
MEANWHILE = {b"TLS_OFF\n": ("tcp", False), b"# ours\r\nTLS_ON\r\n": ("tls", True), b"TLS_ON\nTLS_OFF\n": (None, False)}


@pytest.mark.parametrize("data", sorted(MEANWHILE))
@pytest.mark.parametrize("called", [FRESH, LEGACY_DEB], ids=["fresh", "legacy"])
def test_a_configuration_that_appears_meanwhile_stays_and_counts(machine, quick_pair, monkeypatch, data, called):
    """Configuration management may write the file while openssl is slow."""
    after_planning(monkeypatch, lambda: machine.lexists(paths.CONF) or machine.put(paths.CONF, data))
    outcome = apply.converge(machine, called)
    mode, pair_made = MEANWHILE[data]
    assert machine.get(paths.CONF) == data
    assert outcome.plan.mode == mode
    assert (machine.get(paths.KEY) is not None) == pair_made
    assert stamp.parse(machine.get(paths.STAMP)).mode == mode
    assert machine.names(paths.CONF_DIR) == ["catcher.conf"]


def test_a_configuration_that_is_edited_meanwhile_is_read_again(machine, quick_pair, monkeypatch):
    """The directive is added to the file as it is at that time."""
    machine.put(paths.CONF, b"# one\n")
    edits = iter([b"# one\n# two\n", b"# three\n"])
    after_planning(monkeypatch, lambda: [machine.put(paths.CONF, data) for data in [next(edits, None)] if data])
    apply.converge(machine, LEGACY_DEB)
    assert machine.get(paths.CONF) == b"# three\nTLS_OFF\n"


def test_a_configuration_that_never_stands_still_is_left_alone(machine, quick_pair, monkeypatch):
    machine.put(paths.CONF, b"#")
    after_planning(monkeypatch, lambda: machine.put(paths.CONF, machine.get(paths.CONF) + b"#"))
    outcome = apply.converge(machine, LEGACY_DEB)
    assert b"TLS" not in machine.get(paths.CONF)
    assert ids(outcome.findings)[-1] == "write-failed" and not outcome.recorded


def test_a_draft_of_the_configuration_that_a_crash_left_goes(machine, quick_pair):
    """The run was killed while the new file had two names."""
    apply.converge(machine, FRESH)
    machine.put(paths.CONF_DRAFT, b"TLS_ON\n")
    apply.converge(machine, START)
    assert machine.names(paths.CONF_DIR) == ["catcher.conf"]


def test_the_stage_is_proof_until_the_stamp_has_it(machine, quick_pair, monkeypatch):
    """If the stamp could not be written, our own pair still counts as ours."""
    no_room_for_the_stamp(machine, monkeypatch)
    apply.converge(machine, FRESH)
    monkeypatch.undo()
    apply.converge(machine, FRESH)
    assert stamp.parse(machine.get(paths.STAMP)).generated_pair is not None
    assert [name for name in machine.names(paths.BIN) if name.startswith(".")] == []


def test_a_systemctl_that_hangs_is_a_finding(machine, quick_pair):
    machine.systemctl(TimeoutError(errno.ETIMEDOUT, "no answer within 120 seconds"))
    machine.enable()
    assert ids(apply.converge(machine, FRESH).findings) == ["service-failed"]


def of_a_running_catcher(argv, stdin):
    return (0, b"MainPID=4711\n") if argv[1] == "show" else (0, b"")


REFUSED = {
    "an unusable configuration": (paths.CONF, b"TLS_ON\nTLS_OFF\n", "conf-unusable"),
    "half a pair": (paths.KEY, b"mine\n", "pair-half"),
    "unusable settings": (reference.CONF, b"backnd=x\n", "settings-unusable"),
}


@pytest.mark.parametrize("runs", [True, False])
@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("called", [LEGACY, transition.of(transition.UPGRADE)], ids=["rpm", "no note"])
def test_what_runs_is_not_stopped_if_it_would_not_come_back(machine, what, runs, called):
    """The finding names the file and what to type: systemctl restart."""
    path, content, id = REFUSED[what]
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(paths.CONF, b"TLS_ON\n" if "pair" in what else b"TLS_OFF\n")
    machine.put(path, content)
    machine.enable()
    machine.systemctl(of_a_running_catcher)
    if runs:
        machine.processes[4711] = [paths.CATCHER]
    if called == LEGACY:
        machine.capture(unit="enabled", active="yes")
    outcome = apply.converge(machine, called)
    asked = [words[0] for words in machine.systemctl_calls()]
    assert any(word in ("restart", "try-restart") for word in asked) != runs
    assert "daemon-reload" in asked and not machine.lexists(paths.CAPTURE)
    assert id in ids(outcome.findings)


def test_what_runs_is_restarted_if_its_start_makes_the_pair_or_may_succeed_later(machine, quick_pair):
    machine.put(paths.CONF, b"TLS_ON\n")
    machine.processes[4711] = [paths.CATCHER]
    machine.systemctl(of_a_running_catcher)
    machine.enable()
    machine.host_network = False
    machine.capture(unit="enabled", active="yes")
    assert "pair-deferred" in ids(apply.converge(machine, LEGACY).findings)
    assert "restart" in [words[0] for words in machine.systemctl_calls()]
    machine.spawned.clear()
    machine.remove(paths.STAMP)
    machine.programs[paths.OPENSSL] = (137, b"")
    machine.capture(unit="enabled", active="yes")
    apply.converge(machine, LEGACY)
    assert "restart" in [words[0] for words in machine.systemctl_calls()]


def test_without_systemctl_there_is_no_finding(machine, quick_pair):
    machine.enable()
    assert apply.converge(machine, FRESH).findings == []


def test_another_converge_at_work(machine, monkeypatch, quick_pair):
    monkeypatch.setattr(apply, "LOCK_SECONDS", 0)
    held = machine.lock(0)
    tree = tree_of(machine)
    outcome = apply.converge(machine, FRESH)
    assert ids(outcome.findings) == ["busy"]
    assert tree_of(machine) == tree
    held.free()


def test_the_lock_is_free_while_the_service_is_started(machine, quick_pair):
    """The start of the daemon is a converge, too."""
    machine.enable()

    def started(argv, stdin):
        machine.lock(0).free()
        return 0, b""

    machine.systemctl(started)
    assert apply.converge(machine, FRESH).done[-1] == actions.START


def test_a_start_with_nothing_to_do_takes_no_lock(machine, quick_pair):
    apply.converge(machine, FRESH)
    held = machine.lock(0)
    assert apply.converge(machine, START).plan.actions == []
    held.free()


def test_the_lock_is_free_after_a_fault_of_ours(machine, monkeypatch):
    failing(machine, monkeypatch, (plan, "plan"), ZeroDivisionError("x"))
    with pytest.raises(ZeroDivisionError):
        apply.converge(machine, FRESH)
    machine.lock(0).free()


# -- a removal that was killed or cancelled --------------------------------------------------------------------------

CONFIGURE = transition.of(transition.UPGRADE, "8.0.0-1")
AFTER_REMOVAL = [FRESH, CONFIGURE, transition.of(transition.UNKNOWN), transition.of(transition.ABORT),
                 transition.of(transition.NOTHING), APPLY]  # fmt: skip


def lock_is_taken(machine, monkeypatch):
    monkeypatch.setattr(apply, "LOCK_SECONDS", 0)
    held = machine.lock(0)
    return held.free


def systemd_refuses(machine, monkeypatch):
    machine.systemctl((1, b"Failed to connect to bus\n"))
    return machine.systemctl


def systemd_does_not_answer(machine, monkeypatch):
    machine.systemctl(TimeoutError(errno.ETIMEDOUT, "no answer within 120 seconds"))
    return machine.systemctl


def killed_in_the_restart(machine, monkeypatch):
    def killed(argv, stdin):
        raise KeyboardInterrupt

    machine.systemctl(killed)
    return machine.systemctl


@pytest.mark.parametrize("fault", [lock_is_taken, systemd_refuses, systemd_does_not_answer, killed_in_the_restart])
@pytest.mark.parametrize("called", AFTER_REMOVAL, ids=lambda one: one.kind)
def test_the_note_of_a_removal_is_there_until_its_work_is_done(machine, monkeypatch, quick_pair, called, fault):
    machine.systemctl()
    machine.put(paths.RAN, b"yes\n")
    over = fault(machine, monkeypatch)
    with contextlib.suppress(KeyboardInterrupt):
        apply.converge(machine, called)
    assert machine.get(paths.RAN) == b"yes\n"
    over()
    del machine.spawned[:]
    outcome = apply.converge(machine, called)
    assert {actions.START, actions.RESTART} & set(outcome.done)
    assert any(paths.UNIT in call for call in machine.systemctl_calls())
    assert machine.get(paths.RAN) is None
    assert not {actions.START, actions.RESTART} & set(apply.converge(machine, APPLY).done)


@pytest.mark.parametrize("arguments", [("rpm", "1"), ("rpm", "2"), ("deb", "configure", "8.0.0-1"),
                                       ("deb", "abort-remove")])
def test_a_scriptlet_that_gets_no_lock_leaves_the_note_of_a_removal(machine, monkeypatch, arguments):
    """The scriptlet succeeds, so the package manager does not call it again."""
    from catcher_install import host, scriptlet

    monkeypatch.setattr(host, "Host", lambda: machine)
    machine.put(paths.RAN, b"no\n")
    lock_is_taken(machine, monkeypatch)
    assert scriptlet.main(list(arguments)) == 0
    assert machine.get(paths.RAN) == b"no\n"


@pytest.mark.parametrize("booted", [True, False])
@pytest.mark.parametrize("there", [(paths.RAN, paths.ENABLED), (paths.ENABLED,), (paths.RAN,)])
def test_both_notes_of_a_removal_go(machine, quick_pair, booted, there):
    """If systemd does not run, /run may belong to another system."""
    machine.systemctl()
    machine.booted = booted
    for path in there:
        machine.put(path, b"no\n")
    apply.converge(machine, CONFIGURE)
    assert (machine.get(paths.RAN) is None) == (booted or paths.RAN not in there)
    assert machine.get(paths.ENABLED) is None


@pytest.mark.parametrize("verb", ["enable", "disable"])
def test_a_state_of_the_service_that_could_not_be_restored_stays_noted(machine, quick_pair, verb):
    """This includes the note of a killed removal: its part of preinst's note is still needed."""
    machine.capture(unit="enabled" if verb == "enable" else "disabled", active="yes")
    machine.put(paths.RAN, b"yes\n")
    if verb == "disable":
        machine.enable()
    machine.systemctl(lambda argv, stdin: (1, b"Failed\n") if verb in argv else (0, b""))
    apply.converge(machine, CONFIGURE)
    assert machine.get(paths.CAPTURE) and machine.get(paths.RAN)
    machine.systemctl()
    apply.converge(machine, APPLY)
    assert machine.get(paths.CAPTURE) is None and machine.get(paths.RAN) is None
    assert ["--quiet", verb, paths.UNIT] in machine.systemctl_calls()


# -- policy ------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("status,starts", [(101, False), (0, True), (104, True), (1, True)])
def test_policy_rc_d_can_forbid_the_start(machine, quick_pair, status, starts):
    machine.systemctl()
    machine.enable()
    machine.put("/usr/sbin/policy-rc.d", b"", 0o755)
    asked = []
    machine.programs["/bin/sh"] = lambda argv, stdin: (asked.append(argv[3:]), (status, b""))[1]
    apply.converge(machine, FRESH)
    assert asked[0] == ["/usr/sbin/policy-rc.d", "CSUTKEcat", "start"]
    assert (["start", paths.UNIT] in machine.systemctl_calls()) == starts


def test_policy_rc_d_may_name_the_unit_as_deb_systemd_invoke_does(machine, quick_pair):
    machine.systemctl()
    machine.enable()
    machine.put("/usr/sbin/policy-rc.d", b"", 0o755)
    machine.programs["/bin/sh"] = lambda argv, stdin: (101 if argv[4:] == [paths.UNIT, "start"] else 0, b"")
    apply.converge(machine, FRESH)
    assert ["start", paths.UNIT] not in machine.systemctl_calls()


def test_policy_rc_d_that_is_not_executable_is_none(machine, quick_pair):
    machine.systemctl()
    machine.enable()
    machine.put("/usr/sbin/policy-rc.d", b"", 0o644)
    apply.converge(machine, FRESH)
    assert ["start", paths.UNIT] in machine.systemctl_calls()


def test_nothing_is_started_where_systemd_does_not_run(tmp_path, quick_pair):
    machine = host_upgraded_by_rpm(tmp_path)
    machine.systemctl()
    machine.booted = False
    apply.converge(machine, LEGACY)
    assert machine.systemctl_calls() == [["--quiet", "enable", paths.UNIT]]


# -- where no key is made ----------------------------------------------------------------------------------------------

def test_a_chroot_gets_no_key(machine, quick_pair):
    machine.chroot = True
    for called in (FRESH, APPLY, START):
        outcome = apply.converge(machine, called)
        assert pair.look(machine).state == pair.NONE
        assert "pair-deferred" in ids(outcome.findings)
    assert machine.get(paths.CONF) == b"TLS_ON\n"


def test_an_image_build_gets_no_key(machine, quick_pair):
    machine.booted = False
    assert ids(apply.converge(machine, FRESH).findings) == ["pair-deferred"]
    assert pair.look(machine).state == pair.NONE


def test_the_first_start_makes_what_the_image_had_not(machine, quick_pair):
    machine.booted = False
    apply.converge(machine, FRESH)
    apply.converge(machine, START)
    assert (machine.get(paths.KEY), machine.get(paths.CERTIFICATE)) == quick_pair


# -- files of 7.x ------------------------------------------------------------------------------------------------------

def test_the_init_script_is_kept_beside_and_its_links_go(tmp_path):
    machine = host_upgraded_by_rpm(tmp_path)
    machine.put_link("/etc/rc2.d/S20other", "../init.d/other")
    apply.converge(machine, LEGACY)
    assert machine.names("/etc/init.d") == ["CSUTKEcat.dpkg-bak"]
    assert machine.get(paths.INIT_SCRIPT + ".dpkg-bak") == b"#!/bin/sh\n# edited\n"
    assert machine.names("/etc/rc2.d") == ["S20other"]
    assert machine.names("/etc/rc3.d") == []


def test_an_administrators_pair_is_never_touched(machine):
    machine.put(paths.KEY, b"theirs", 0o644)
    machine.put(paths.CERTIFICATE, b"theirs", 0o600)
    before = {path: what for path, what in tree_of(machine, times=True).items() if path.startswith(paths.BIN + "/")}
    for called in (FRESH, LEGACY, LEGACY_DEB, APPLY, START):
        outcome = apply.converge(machine, called)
        assert "pair-unusable" in ids(outcome.findings)
    after = {path: what for path, what in tree_of(machine, times=True).items() if path.startswith(paths.BIN + "/")}
    assert after == before


@pytest.mark.parametrize("there", [paths.KEY, paths.CERTIFICATE])
def test_half_a_pair_is_reported_and_left(machine, there):
    machine.put(there, b"theirs", 0o644)
    outcome = apply.converge(machine, FRESH)
    told, = outcome.findings
    assert told["id"] == "pair-half" and told["present"] == there
    assert sorted(machine.names(paths.BIN)) == sorted(["catcher.exe", os.path.basename(there)])


WITHOUT_WAITING = "--job-mode=ignore-dependencies"
SHOWN = ["show", "-p", "LoadState", "-p", "NeedDaemonReload", paths.UNIT]


@pytest.mark.parametrize("said,reloads", [
    (b"LoadState=loaded\nNeedDaemonReload=no\n", False),
    (b"NeedDaemonReload=no\nLoadState=loaded\n", False),
    (b"LoadState=loaded\nNeedDaemonReload=yes\n", True),
    (b"LoadState=not-found\nNeedDaemonReload=no\n", True),
    (b"", True),
])
def test_a_first_installation_reloads_systemd_only_where_it_must(machine, said, reloads):
    """Before version 242, systemd does not find a new unit until a reload."""
    machine.enable()
    machine.systemctl(lambda argv, stdin: (0, said if argv[1] == "show" else b""))
    apply.converge(machine, transition.of(transition.INSTALL))
    calls = [call for call in machine.systemctl_calls() if call[0] != "show" or call == SHOWN]
    assert calls == [SHOWN] + [["daemon-reload"]] * reloads + [["start", paths.UNIT]]


def test_an_upgrade_always_reloads_systemd(machine):
    """Two builds of one day have units of one time, and systemd tells them apart by that."""
    machine.enable()
    machine.systemctl((0, b"LoadState=loaded\nNeedDaemonReload=no\n"))
    apply.converge(machine, transition.of(transition.UPGRADE, "8.0.0"))
    assert machine.systemctl_calls() == [["daemon-reload"], ["try-restart", WITHOUT_WAITING, paths.UNIT]]


def test_a_restart_waits_for_nothing_that_the_unit_waits_for_at_boot(tmp_path, quick_pair):
    """If network-online.target is never reached, an upgrade still ends, and a service that ran runs again."""
    machine = host_upgraded_by_rpm(tmp_path)
    machine.systemctl()
    apply.converge(machine, LEGACY)
    assert ["restart", WITHOUT_WAITING, paths.UNIT] in machine.systemctl_calls()


def test_who_has_the_port_is_a_finding_of_the_installation(machine, proc, quick_pair):
    machine.enable()
    machine.systemctl((0, b"MainPID=0\nActiveState=activating\nSubState=auto-restart\n"))
    proc([line(ANY_4, paths.PORT, LISTENS, 9)], [], [(200, ["/usr/sbin/sshd"], [9])])
    outcome = apply.converge(machine, FRESH)
    assert ids(outcome.findings) == ["port-taken"] and actions.START not in outcome.done


# -- file systems that are not like others -----------------------------------------------------------------------------


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS], ids=lambda one: errno.errorcode[one])
def test_without_hard_links_there_is_no_pair_and_a_finding(machine, quick_pair, error):
    """vfat, or FUSE: no half pair and no readable key is left."""
    with fault(n=1, error=error, lasting=True, calls=("link",)):
        outcome = apply.converge(machine, FRESH)
    assert [one["reason"] for one in outcome.findings if one.get("path") == paths.KEY] == [
        "no hard link can be made there" + ", or a file is immutable (lsattr)" * (error == errno.EPERM)]
    assert [name for name in machine.names(paths.BIN) if "catcher-pair" in name or "key" in name] == []
    # The configuration does not need a pair, and is renamed in another way.
    assert machine.get(paths.CONF) == b"TLS_ON\n" and machine.names(paths.CONF_DIR) == ["catcher.conf"]
    apply.converge(machine, FRESH)
    assert (machine.get(paths.KEY), machine.get(paths.CERTIFICATE)) == quick_pair


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("mode", [0o755, 0o777, 0o444, 0o640, 0o604])
def test_where_others_could_read_the_key_none_is_written(machine, quick_pair, monkeypatch, mode, links):
    """Every file has the mode of the mount, and chmod reports success: not one byte of a key is written."""
    change, write = os.fchmod, os.write
    keys = []

    def note(fd, data):
        if bytes(data) == quick_pair[0]:
            keys.append(fd)
        return write(fd, data)

    monkeypatch.setattr(os, "fchmod", lambda fd, wanted: change(fd, mode))
    monkeypatch.setattr(os, "write", note)
    with fault(n=1, error=errno.EPERM, lasting=True, calls=() if links else ("link",)):
        outcome = apply.converge(machine, FRESH)
    assert [one["reason"] for one in outcome.findings if one.get("path") == paths.KEY] == [
        "on this file system others could read it"]
    assert keys == []
    assert [name for name in machine.names(paths.BIN) if "catcher-pair" in name or "key" in name] == []
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    monkeypatch.undo()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a directory away")
@pytest.mark.parametrize("mode", [0o2755, 0o2777, 0o3775])
def test_a_directory_with_setgid_gives_the_key_no_group(machine, quick_pair, mode):
    real = machine.on_disk(paths.BIN)
    os.chown(real, 0, 4321)
    os.chmod(real, mode)
    assert apply.converge(machine, FRESH).findings == []
    for path, wanted in ((paths.KEY, 0o600), (paths.CERTIFICATE, 0o644)):
        entry = os.stat(machine.on_disk(path))
        assert (entry.st_uid, entry.st_gid, entry.st_mode & 0o7777) == (0, 0, wanted)


# -- findings of actions that fail -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(apply._DO))
@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), CatcherError("no"), pair.NotReplaced("no")],
                         ids=["OSError", "CatcherError", "NotReplaced"])
def test_an_action_that_fails_is_a_failure(machine, monkeypatch, kind, error):
    """catcherctl apply then ends with 1, and a failure before the stamp is written is in it."""
    def fail(host, action, outcome):
        raise error

    monkeypatch.setitem(apply._DO, kind, (fail, ""))
    action = actions.Action(kind=kind, why="a test", data=None)
    planned = actions.Plan(actions=[action], findings=[], mode=None, history=actions.FRESH)
    monkeypatch.setattr(plan, "plan", lambda facts, transition, asked=True: planned)
    outcome = apply.converge(machine, transition.of(transition.APPLY))
    assert outcome.findings and outcome.done in ([], [actions.WRITE_STAMP])
    assert all(messages.is_marked(one, messages.FAILURE) for one in outcome.findings)
    assert report.exit_status(outcome.findings) == 1


def test_a_stamp_that_cannot_be_written_is_a_failure(machine, quick_pair, monkeypatch):
    def refuse(path, *rest, **named):
        if path == paths.STAMP:
            raise OSError(30, "Read-only file system")
        return real(path, *rest, **named)

    real = machine.replace
    monkeypatch.setattr(machine, "replace", refuse)
    outcome = apply.converge(machine, transition.of(transition.INSTALL))
    assert ids(outcome.findings) == ["write-failed"] and report.exit_status(outcome.findings) == 1
