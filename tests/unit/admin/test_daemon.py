"""Who holds the port, seen in a machine's own /proc, and in a table of made-up ones."""

import os
import socket
import sys

import pytest

from catcher_install import paths, systemd
from catcher_install.admin import daemon
from catcher_install.host import Host
from catcher_install.probe import result

from ..support import make_facts

LITTLE = sys.byteorder == "little"
ANY_4 = "00000000"
LOOPBACK_4 = "0100007F" if LITTLE else "7F000001"
ANY_6 = "0" * 32
LOOPBACK_6 = "000000000000000000000000" + ("01000000" if LITTLE else "00000001")
LISTENS, CONNECTED, TIME_WAIT = "0A", "01", "06"


def line(address, port, state, inode):
    rest = "00000000:00000000 00:00000000 00000000     0        0 %d 1 0 100 0 0 10 0\n" % inode
    return "   0: %s:%04X 00000000:0000 %s " % (address, port, state) + rest


@pytest.fixture
def proc(machine):
    """Write a /proc: sockets, and processes with their words and what they have open."""

    def write(tcp=(), tcp6=(), processes=()):
        for name, lines in (("tcp", tcp), ("tcp6", tcp6)):
            machine.put("/proc/net/" + name, ("  sl  local_address ...\n" + "".join(lines)).encode("ascii"))
        for pid, words, inodes in processes:
            machine.processes[pid] = words
            machine.put("/proc/%d/comm" % pid, os.path.basename(words[0]).encode("ascii") + b"\n")
            for number, inode in enumerate(inodes):
                machine.put_link("/proc/%d/fd/%d" % (pid, number), "socket:[%d]" % inode)

    return write


CATCHER = (100, [paths.CATCHER, "-tls"], [7, 8])
SCRIPT = (100, ["/bin/sh", paths.CATCHER], [7, 8])
SSHD = (200, ["/usr/sbin/sshd"], [1, 9])
EDITOR = (50, ["/usr/bin/vim", paths.CATCHER], [1])
PORT = 50003

HOLDERS = {
    "nobody": (([], [], [CATCHER]), ("none", None, "", [], False)),
    "the catcher, both": (
        ([line(ANY_4, PORT, LISTENS, 7)], [line(ANY_6, PORT, LISTENS, 8)], [CATCHER, SSHD]),
        ("catcher", 100, "catcher.exe", ["0.0.0.0", "::"], True)),
    "the catcher, by its interpreter": (
        ([], [line(ANY_6, PORT, LISTENS, 8)], [SCRIPT]), ("catcher", 100, "sh", ["::"], True)),
    "the catcher with a client": (
        ([line(ANY_4, PORT, LISTENS, 7), line(LOOPBACK_4, PORT, CONNECTED, 8)], [], [CATCHER]),
        ("catcher", 100, "catcher.exe", ["0.0.0.0"], True)),
    "another program": (
        ([line(LOOPBACK_4, PORT, LISTENS, 9)], [], [CATCHER, SSHD]), ("other", 200, "sshd", ["127.0.0.1"], True)),
    "another program, IPv6": (
        ([], [line(LOOPBACK_6, PORT, LISTENS, 9)], [SSHD]), ("other", 200, "sshd", ["::1"], True)),
    "another program beside the catcher": (
        ([line(LOOPBACK_4, PORT, LISTENS, 9), line(ANY_4, PORT, LISTENS, 7)], [], [CATCHER, SSHD]),
        ("catcher", 100, "catcher.exe", ["0.0.0.0", "127.0.0.1"], True)),
    "an outgoing connection": (
        ([line(LOOPBACK_4, PORT, CONNECTED, 9)], [], [CATCHER, SSHD]), ("other", 200, "sshd", ["127.0.0.1"], False)),
    "a connection that only waits": (
        ([line(LOOPBACK_4, PORT, TIME_WAIT, 0)], [], [SSHD]), ("none", None, "", [], False)),
    "the last connections of a catcher": (
        ([line(LOOPBACK_4, PORT, CONNECTED, 7)], [], [CATCHER]), ("none", None, "", [], False)),
    "somebody else's, as no root": (
        ([line(ANY_4, PORT, LISTENS, 77)], [], [SSHD]), ("unknown", None, "", ["0.0.0.0"], True)),
    "another port": (([line(ANY_4, PORT + 1, LISTENS, 9)], [], [SSHD]), ("none", None, "", [], False)),
}


@pytest.mark.parametrize("name", sorted(HOLDERS))
def test_holder(machine, proc, name):
    (tcp, tcp6, processes), wanted = HOLDERS[name]
    proc(tcp, tcp6, processes)
    held = daemon.holder(machine)
    assert (held.state, held.pid, held.program, held.addresses, held.listens) == wanted


def test_an_editor_is_no_catcher(machine, proc):
    proc(processes=[EDITOR])
    assert systemd.catcher(machine) is None
    proc(processes=[CATCHER])
    assert systemd.catcher(machine) == 100


def test_without_a_proc(machine):
    assert daemon.holder(machine).state == daemon.NOBODY
    assert systemd.catcher(machine) is None


@pytest.mark.parametrize("family,address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")],
                         ids=["IPv4", "IPv6"])
def test_the_kernels_own_tables(monkeypatch, family, address):
    """This process is found by its real socket, whichever way round this machine's bytes are."""
    with socket.socket(family) as sock:
        try:
            sock.bind((address, 0))
        except OSError as error:
            pytest.skip("no %s here: %s" % (address, error.strerror))
        monkeypatch.setattr(paths, "PORT", sock.getsockname()[1])
        assert daemon.holder(Host()).state == daemon.NOBODY
        sock.listen(1)
        held = daemon.holder(Host())
        assert (held.state, held.pid, held.addresses, held.listens) == (daemon.OTHER, os.getpid(), [address], True)
        assert held.program == Host().program_name(os.getpid()) != ""
    assert daemon.holder(Host()).state == daemon.NOBODY


def test_an_outgoing_connection_of_the_kernels(monkeypatch):
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        client.bind(("127.0.0.1", 0))
        monkeypatch.setattr(paths, "PORT", client.getsockname()[1])
        client.connect(server.getsockname())
        held = daemon.holder(Host())
        assert (held.state, held.pid, held.listens) == (daemon.OTHER, os.getpid(), False)


@pytest.mark.parametrize("change,wanted", [
    ({}, ""),
    ({"booted": False}, "systemd does not run here"),
    ({"masked": True}, "the service is masked"),
    ({"enabled": False}, "the service is disabled and not running"),
    ({"enabled": False, "running": True}, ""),
])
def test_when_a_change_may_restart(machine, change, wanted):
    facts = make_facts(booted=change.get("booted", True))
    facts = facts.replace(unit=facts.unit.replace(
        enabled=change.get("enabled", True), masked=change.get("masked", False)))
    if change.get("running"):
        machine.processes[100] = [paths.CATCHER]
    assert daemon.may_restart(machine, facts) == wanted


def test_waiting_ends_where_systemd_has_given_up(machine, monkeypatch):
    """Not after 15 seconds without a link, while nobody tries any more."""
    machine.systemctl(lambda argv, stdin: (0 if argv[1] == "is-failed" else 1, b""))
    looks = []
    monkeypatch.setattr(machine, "wait_until", lambda condition, timeout: Host.wait_until(machine, condition, 10))
    monkeypatch.setattr(daemon, "look", lambda host: looks.append(1))
    assert daemon.wait_for(machine, lambda seen: "nothing listens") == "nothing listens"
    assert len(looks) == daemon.LOOKS_A_STATE
    assert machine.systemctl_calls() == [["is-failed", "--quiet", paths.UNIT]]


def found(state, address="127.0.0.1", version=""):
    """What a look saw."""
    return result.ProbeResult(
        host="127.0.0.1", port=50003, name="127.0.0.1", state=state, reason="it may hang", address=address, failed=[],
        version=version, cipher="", chain=[], chain_note="", matched="", anchor_problem=None, system_problem=None,
        findings=[])


@pytest.mark.parametrize("seen,words,wanted", [
    (found(result.TCP), [paths.CATCHER], ""),
    (found(result.TLS, version="TLSv1.3"), [paths.CATCHER], "it speaks TLS (TLSv1.3)"),
    (found(result.REFUSED, ""), [paths.CATCHER], "nothing listens on port 50003"),
    # A daemon that says nothing to a greeting that it does not know, told from one that hangs on its way to TLS.
    (found(result.TIMED_OUT), [paths.CATCHER], ""),
    (found(result.TIMED_OUT), [paths.CATCHER, "-tls"], "no connection came about: it may hang"),
    (found(result.TIMED_OUT), ["/usr/sbin/sshd"], "no connection came about: it may hang"),
    (found(result.TIMED_OUT, ""), [paths.CATCHER], "no connection came about: it may hang"),
])
def test_speaks_tcp(machine, proc, seen, words, wanted):
    proc([line(ANY_4, PORT, LISTENS, 7)], [], [(100, words, [7])])
    assert daemon.speaks_tcp(machine)(seen) == wanted
