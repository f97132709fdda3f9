"""When a change restarts the daemon, and what of it counts as verified afterwards."""

import os

import pytest

from catcher_install import paths, reference
from catcher_install.admin import daemon
from catcher_install.host import Host
from catcher_install.probe import probe, result
from tests.ports import free_port

from ..proc import ANY_4, ANY_6, CONNECTED, LISTENS, LITTLE, LOOPBACK_4, LOOPBACK_6, line
from ..support import make_facts

TEN_1_2_3 = "0302010A" if LITTLE else "0A010203"

PORT = 50003


@pytest.mark.parametrize("change,wanted", [
    ({}, ""),
    ({"booted": False}, "systemd does not run here"),
    ({"unmask": "systemctl unmask CSUTKEcat"}, "the service is masked"),
    ({"enabled": False}, "the service is disabled and does not run"),
    ({"enabled": False, "running": True}, ""),
])
def test_a_change_restarts_only_if_it_may(machine, change, wanted):
    facts = make_facts(booted=change.get("booted", True))
    facts = facts.replace(unit=facts.unit.replace(
        enabled=change.get("enabled", True), unmask=change.get("unmask", "")))
    if change.get("running"):
        machine.processes[100] = [paths.CATCHER]
    assert daemon.why_not_to_restart(machine, facts) == wanted


def test_waiting_ends_where_systemd_has_given_up(machine, monkeypatch):
    """Otherwise the wait would last 15 seconds, although nothing starts the daemon again."""
    machine.systemctl(lambda argv, stdin: (0 if argv[1] == "is-failed" else 1, b""))
    looks = []
    monkeypatch.setattr(machine, "wait_until", lambda condition, timeout: Host.wait_until(machine, condition, 10))
    monkeypatch.setattr(daemon, "look", lambda host: looks.append(1) or found(result.REFUSED, ""))
    said = daemon.verify(machine, daemon.speaks_tcp(machine))
    assert (said.state, said.reason) == (daemon.FAILED, "nothing listens on port 50003")
    assert len(looks) == daemon.LOOKS_A_STATE
    assert machine.systemctl_calls().count(["is-failed", "--quiet", paths.UNIT]) == 1


def found(state, address="127.0.0.1", version=""):
    """What one look at the service saw."""
    return result.ProbeResult(
        host="127.0.0.1", port=50003, name="127.0.0.1", state=state, reason="it may hang", address=address, failed=[],
        version=version, cipher="", chain=[], chain_note="", matched="", cafile=None, anchor_problem=None,
        system_problem=None, findings=[])


@pytest.mark.parametrize("seen,words,wanted", [
    (found(result.TCP), [paths.CATCHER], ""),
    (found(result.TLS, version="TLSv1.3"), [paths.CATCHER], "it speaks TLS (TLSv1.3)"),
    (found(result.REFUSED, ""), [paths.CATCHER], "nothing listens on port 50003"),
    # A daemon that ignores an unknown greeting is not a daemon that hangs before it speaks TLS.
    (found(result.TIMED_OUT), [paths.CATCHER], ""),
    (found(result.TIMED_OUT), [paths.CATCHER, "-tls"], "no connection: it may hang"),
    (found(result.TIMED_OUT), ["/usr/sbin/sshd"], "no connection: it may hang"),
    (found(result.TIMED_OUT, ""), [paths.CATCHER], "no connection: it may hang"),
    # If the daemon closes the connection at this greeting, it is not known either what it speaks.
    (found(result.CLOSED), [paths.CATCHER], ""),
    (found(result.CLOSED), [paths.CATCHER, "-tls"], "no connection: it may hang"),
    (found(result.CLOSED), ["/usr/sbin/sshd"], "no connection: it may hang"),
    # A reset right after accept(2), before the peer's address was read.
    (found(result.CLOSED, ""), [paths.CATCHER], ""),
    (found(result.CLOSED, ""), [paths.CATCHER, "-tls"], "no connection: it may hang"),
    (found(result.CLOSED, ""), ["/usr/sbin/sshd"], "no connection: it may hang"),
])
def test_what_was_seen_shows_whether_the_catcher_speaks_tcp(machine, proc, seen, words, wanted):
    proc([line(ANY_4, PORT, LISTENS, 7)], [], [(100, words, [7])])
    assert daemon.speaks_tcp(machine)(seen) == wanted


# -- verifying ---------------------------------------------------------------------------------------------------------

@pytest.fixture
def looked_at(machine, monkeypatch):
    """looked_at(what a look sees, ...): the addresses that were then connected to."""
    targets = []

    def set(*seen):
        def probed(target, timeout, host):
            targets.append(target)
            return seen[min(len(targets), len(seen)) - 1]

        monkeypatch.setattr(probe, "probe", probed)
        return targets

    return set


@pytest.mark.parametrize("tcp,tcp6,wanted", [
    ([line(ANY_4, PORT, LISTENS, 7)], [line(ANY_6, PORT, LISTENS, 8)], ["127.0.0.1:50003", "[::1]:50003"]),
    ([], [line(ANY_6, PORT, LISTENS, 8)], ["[::1]:50003"]),
    ([line(TEN_1_2_3, PORT, LISTENS, 7)], [], ["10.1.2.3:50003"]),
    ([], [line(LOOPBACK_6, PORT, LISTENS, 8)], ["[::1]:50003"]),
    ([], [], ["127.0.0.1:50003", "[::1]:50003"]),
])
def test_it_is_looked_at_where_it_listens(machine, proc, looked_at, tcp, tcp6, wanted):
    """listen= of the reference catcher, or whatever else a daemon does."""
    proc(tcp, tcp6, [(100, [paths.CATCHER], [7, 8])])
    targets = looked_at(found(result.REFUSED, ""))
    daemon.look(machine)
    assert targets == wanted


@pytest.mark.parametrize("listen", [b"a b", b"host.example", b"\xff", b"10.1.2.3\0", b"10.1.2.3,"])
def test_addresses_that_are_none_are_looked_for_nowhere(machine, proc, looked_at, listen):
    """The daemon refuses them, so that nobody listens there."""
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(reference.CONF, b"listen=" + listen)
    proc([], [], [])
    targets = looked_at(found(result.REFUSED, ""))
    assert daemon.look(machine).state == result.REFUSED
    assert targets == ["127.0.0.1:50003", "[::1]:50003"]
    assert Host().can_bind(free_port(), reference.addresses(machine))


UNREACHED = [result.REFUSED, result.UNREACHABLE, result.TIMED_OUT]


@pytest.mark.parametrize("state", UNREACHED)
@pytest.mark.parametrize("words,wanted", [
    ([paths.CATCHER], daemon.UNVERIFIED), ([paths.CATCHER, "-tls"], daemon.FAILED)])
def test_what_cannot_be_reached_from_here_is_not_verified(machine, proc, looked_at, state, words, wanted):
    """IPAddressDeny=, a firewall, a network namespace: the change stays if the daemon's arguments are right."""
    proc([line(TEN_1_2_3, PORT, LISTENS, 7)], [], [(100, words, [7])])
    looked_at(found(state, ""))
    said = daemon.verify(machine, daemon.speaks_tcp(machine))
    assert said.state == wanted
    if wanted == daemon.UNVERIFIED:
        assert said.reason == "it listens on 10.1.2.3, and cannot be reached there from this host: it may hang"
        assert [one["id"] for one in daemon.unverified(said)] == ["not-verified"]


@pytest.mark.parametrize("state", UNREACHED)
def test_what_does_not_listen_has_failed(machine, proc, looked_at, state):
    proc([], [], [(100, [paths.CATCHER], [7])])
    looked_at(found(state, ""))
    said = daemon.verify(machine, daemon.speaks_tcp(machine))
    assert said.state == daemon.FAILED and daemon.unverified(said) == []


@pytest.mark.parametrize("entry", [line(ANY_4, PORT, LISTENS, 9), line(LOOPBACK_4, PORT, CONNECTED, 9), ""])
def test_an_answer_of_another_program_does_not_verify_the_mode(machine, proc, looked_at, entry):
    """A user's program on the port may speak plain TCP as well as the catcher."""
    machine.systemctl((0, b"MainPID=100\n"))
    proc([entry] if entry else [], [], [(100, [paths.CATCHER], []), (200, [paths.CATCHER], [9])])
    looked_at(found(result.TCP))
    said = daemon.verify(machine, daemon.speaks_tcp(machine))
    assert said.state == daemon.FAILED
    assert ("catcher.exe (PID 200) has port" if entry else "is not the catcher") in said.reason


def test_what_answers_as_it_should_is_verified(machine, proc, looked_at):
    proc([line(ANY_4, PORT, LISTENS, 7)], [], [(100, [paths.CATCHER], [7])])
    looked_at(found(result.REFUSED, ""), found(result.TLS, version="TLSv1.3"), found(result.TCP))
    assert daemon.verify(machine, daemon.speaks_tcp(machine)).state in (daemon.VERIFIED, daemon.UNVERIFIED)
    looked_at(found(result.TCP))
    assert daemon.verify(machine, daemon.speaks_tcp(machine)).state == daemon.VERIFIED
