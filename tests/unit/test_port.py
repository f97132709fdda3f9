"""Which process has the port, in the machine's own /proc and in invented tables; and waiting for the port."""

import os
import socket

import pytest

from catcher_install import messages, paths, port, reference, systemd
from catcher_install.errors import CatcherError
from catcher_install.host import Host
from tests.ports import free_port

from .proc import ANY_4, ANY_6, CONNECTED, LISTENS, LITTLE, LOOPBACK_4, LOOPBACK_6, TIME_WAIT, line

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
        ("catcher", 100, "catcher.exe", ["0.0.0.0"], True)),
    "an outgoing connection": (
        ([line(LOOPBACK_4, PORT, CONNECTED, 9)], [], [CATCHER, SSHD]), ("other", 200, "sshd", ["127.0.0.1"], False)),
    "a connection that only waits": (
        ([line(LOOPBACK_4, PORT, TIME_WAIT, 0)], [], [SSHD]), ("closing", None, "", ["127.0.0.1"], False)),
    "the last connections of a catcher": (
        ([line(LOOPBACK_4, PORT, CONNECTED, 7)], [], [CATCHER]), ("none", None, "", [], False)),
    "somebody else's, as no root": (
        ([line(ANY_4, PORT, LISTENS, 77)], [], [SSHD]), ("unknown", None, "", ["0.0.0.0"], True)),
    "another port": (([line(ANY_4, PORT + 1, LISTENS, 9)], [], [SSHD]), ("none", None, "", [], False)),
}


@pytest.mark.parametrize("name", sorted(HOLDERS))
def test_the_holder_of_the_port_is_found(machine, proc, name):
    (tcp, tcp6, processes), wanted = HOLDERS[name]
    proc(tcp, tcp6, processes)
    held = port.holder(machine)
    assert (held.state, held.pid, held.program, held.addresses, held.listens) == wanted


OWN_4 = "0201000A" if LITTLE else "0A000102"
TO_US = line(OWN_4, PORT, CONNECTED, 9)
# listen= of the reference catcher, the tables, processes -> who has the port
ELSEWHERE = {
    "another address": ("10.0.1.2", [line(LOOPBACK_4, PORT, LISTENS, 9)], [], [SSHD], "none"),
    "another address, outgoing": ("10.0.1.2", [line(LOOPBACK_4, PORT, CONNECTED, 9)], [], [SSHD], "none"),
    "another address, closing": ("10.0.1.2", [line(LOOPBACK_4, PORT, TIME_WAIT, 0)], [], [], "none"),
    "the same, outgoing": ("10.0.1.2", [line(LOOPBACK_4, PORT, LISTENS, 1), TO_US], [], [SSHD], "other"),
    "all of IPv4": ("10.0.1.2", [line(ANY_4, PORT, LISTENS, 9)], [], [SSHD], "other"),
    "all of IPv6": ("::1", [], [line(ANY_6, PORT, LISTENS, 9)], [SSHD], "other"),
    "the other family": ("0.0.0.0", [], [line(LOOPBACK_6, PORT, LISTENS, 9)], [SSHD], "none"),
    "all of both families": ("10.0.1.2", [], [line(ANY_6, PORT, LISTENS, 9)], [SSHD], "taken"),
    "all of IPv6 only": ("10.0.1.2", [], [line(ANY_6, PORT, LISTENS, 9)], [SSHD], "none"),
    "one of two": ("10.0.1.2,127.0.0.1", [line(LOOPBACK_4, PORT, LISTENS, 9)], [], [SSHD], "other"),
    "in other letters": ("0:0::0001", [], [line(LOOPBACK_6, PORT, LISTENS, 9)], [SSHD], "other"),
    "beside it": ("10.0.1.2", [line(LOOPBACK_4, PORT, LISTENS, 9), line(OWN_4, PORT, LISTENS, 7)], [],
                  [CATCHER, SSHD], "catcher"),
    "the catcher, before its settings changed": ("10.0.1.2", [line(LOOPBACK_4, PORT, LISTENS, 7)], [], [CATCHER],
                                                 "catcher"),
    "no address": ("nonsense", [line(LOOPBACK_4, PORT, LISTENS, 9)], [], [SSHD], "other"),
}


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_who_has_the_port_on_an_address_that_is_not_the_catchers_is_not_in_its_way(machine, proc, name):
    listen, tcp, tcp6, processes, wanted = ELSEWHERE[name]
    proc(tcp, tcp6, processes)
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(reference.CONF, b"listen=" + listen.encode("ascii"))
    machine.can_bind = lambda port, addresses: wanted != "taken"
    held = port.holder(machine)
    assert held.state == (port.OTHER if wanted == "taken" else wanted)
    assert held.beside == ""
    # Without the settings it has all addresses.
    os.rmdir(machine.on_disk(reference.PROGRAM))
    assert port.holder(machine).state == (port.CATCHER if wanted == "catcher" else port.CLOSING if processes == []
                                          else port.OTHER)


@pytest.mark.parametrize("listen,own", [("10.0.1.2", OWN_4), ("127.0.0.1,10.0.1.2", OWN_4), ("0.0.0.0", ANY_4),
                                        ("10.0.1.2", ANY_4)])
def test_who_has_only_ipv6_is_not_beside_a_catcher_that_has_only_ipv4(machine, proc, listen, own):
    """A second bind to the catcher's own address fails, too, and so it says nothing about the other program."""
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(reference.CONF, b"listen=" + listen.encode("ascii"))
    mine = [line(own, PORT, LISTENS, 7)] + [line(LOOPBACK_4, PORT, LISTENS, 8)] * ("127" in listen)
    proc(mine, [line(ANY_6, PORT, LISTENS, 9)], [CATCHER, SSHD])
    machine.can_bind = lambda port, addresses: False
    held = port.holder(machine)
    assert (held.state, held.beside) == (port.CATCHER, "")


def test_a_start_is_waited_for_while_another_program_listens_elsewhere(machine, proc):
    """If this fails, the change is undone."""
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(reference.CONF, b"listen=10.0.1.2\n")
    machine.systemctl(shows(ActiveState="active", SubState="running", MainPID=100))
    others = [line(LOOPBACK_4, PORT, LISTENS, 9)]
    proc(others, [], [SSHD])
    looks = []

    def wait(condition, timeout):
        looks.extend(condition() for _ in range(3 * port.LOOKS_A_STATE))
        proc(others + [line(OWN_4, PORT, LISTENS, 7)], [], [CATCHER])
        looks.append(condition())
        return looks[-1]

    machine.wait_until = wait
    port.wait_for_catcher(machine)
    assert looks == [False] * 3 * port.LOOKS_A_STATE + [True]


def test_an_editor_is_no_catcher(machine, proc):
    proc(processes=[EDITOR])
    assert systemd.catcher(machine) is None
    proc(processes=[CATCHER])
    assert systemd.catcher(machine) == 100


def test_without_proc_nobody_holds_the_port(machine):
    assert port.holder(machine).state == port.NOBODY
    assert systemd.catcher(machine) is None


@pytest.mark.parametrize("family,address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")],
                         ids=["IPv4", "IPv6"])
def test_this_process_is_found_in_the_kernels_own_tables(monkeypatch, family, address):
    """This process is found by its real socket, whichever way round this machine's bytes are."""
    with socket.socket(family) as sock:
        monkeypatch.setattr(paths, "PORT", free_port())
        try:
            sock.bind((address, paths.PORT))
        except OSError as error:
            pytest.skip("no %s here: %s" % (address, error.strerror))
        assert port.holder(Host()).state == port.NOBODY
        sock.listen(1)
        held = port.holder(Host())
        assert (held.state, held.pid, held.addresses, held.listens) == (port.OTHER, os.getpid(), [address], True)
        assert held.program == Host().program_name(os.getpid()) != ""
    assert port.holder(Host()).state == port.NOBODY


def test_an_outgoing_connection_is_found_in_the_kernels_own_tables(monkeypatch):
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        monkeypatch.setattr(paths, "PORT", free_port())
        client.bind(("127.0.0.1", paths.PORT))
        client.connect(server.getsockname())
        held = port.holder(Host())
        assert (held.state, held.pid, held.listens) == (port.OTHER, os.getpid(), False)


def shows(**properties):
    """A systemctl that shows these properties of the unit."""
    lines = "".join("%s=%s\n" % pair for pair in properties.items()).encode("ascii")
    return lambda argv, stdin: (0, lines if argv[1] == "show" else b"")


def test_a_stranger_with_the_catchers_name_is_named(machine, proc):
    """Any program can have this argv[0], and get the port with SO_REUSEADDR."""
    machine.systemctl(shows(MainPID=100, ActiveState="active", SubState="running"))
    proc([line(ANY_4, PORT, LISTENS, 9)], [], [CATCHER, (200, [paths.CATCHER, "-tls"], [9])])
    held = port.holder(machine)
    assert (held.state, held.pid) == (port.OTHER, 200)
    assert port.problem(machine, held)["id"] == "port-taken"
    machine.booted = False
    machine.users = {200}
    assert port.holder(machine).state == port.OTHER


def test_a_stranger_beside_the_catcher_is_named(machine, proc):
    proc([line(LOOPBACK_4, PORT, LISTENS, 9), line(ANY_4, PORT, LISTENS, 7)], [], [CATCHER, SSHD])
    held = port.holder(machine)
    assert held.state == port.CATCHER and held.beside == "sshd (PID 200)"
    told = port.problem(machine, held)
    assert told["id"] == "port-shared" and "sshd (PID 200) also listens" in messages.text(told)


@pytest.mark.parametrize("group,state", [
    ("/system.slice/CSUTKEcat.service", "catcher"), ("/system.slice/other.service", "other"),
    ("/user.slice/x/system.slice/CSUTKEcat.service", "other"), ("", "other")])
def test_a_child_of_the_catcher_is_told_by_its_control_group(machine, proc, group, state):
    machine.systemctl(shows(MainPID=100))
    proc([line(ANY_4, PORT, LISTENS, 9)], [], [(100, [paths.CATCHER], []), (200, [paths.CATCHER], [9])])
    machine.put("/proc/100/cgroup", b"1:name=systemd:/\n0::/system.slice/CSUTKEcat.service\n")
    machine.put("/proc/200/cgroup", b"1:name=systemd:%s\n0::/\n" % group.encode("ascii") if group else b"")
    assert port.holder(machine).state == state


WAITING = {
    "nobody waits": ([line(ANY_4, PORT, LISTENS, 7)], [CATCHER], False),
    "sixteen wait": ([line(ANY_4, PORT, LISTENS, 7, 16)], [CATCHER], True),
    "a connection has unread data": ([line(ANY_4, PORT, LISTENS, 7), line(OWN_4, PORT, CONNECTED, 8, 16)], [CATCHER],
                                     False),
    "at another program beside": ([line(LOOPBACK_4, PORT, LISTENS, 9, 1), line(ANY_4, PORT, LISTENS, 7)],
                                  [CATCHER, SSHD], False),
    "at another program": ([line(ANY_4, PORT, LISTENS, 9, 1)], [CATCHER, SSHD], False),
}


@pytest.mark.parametrize("name", sorted(WAITING))
def test_connections_that_the_catcher_does_not_take_are_seen(machine, proc, name):
    tcp, processes, told = WAITING[name]
    machine.systemctl(shows(MainPID=100))
    proc(tcp, [], processes)
    found = port.hung(machine, port.holder(machine), 100)
    assert (found is not None and found["id"] == "connections-waiting") == told


@pytest.mark.parametrize("state,sub,told", [
    ("activating", "auto-restart", True), ("activating", "start-pre", False), ("failed", "failed", False),
    ("inactive", "dead", False), ("active", "running", False)])
def test_closed_connections_matter_if_systemd_tries_again(machine, proc, state, sub, told):
    """The finding says that the catcher starts by itself, so it must."""
    proc([line(LOOPBACK_4, PORT, TIME_WAIT, 0)])
    machine.systemctl(shows(ActiveState=state, SubState=sub, MainPID=0))
    found = port.problem(machine, port.holder(machine))
    assert (found["id"] == "port-closing") if told else found is None


@pytest.mark.parametrize("free", [True, False])
def test_a_daemon_that_could_have_the_port_ends_for_another_reason(machine, proc, free):
    """Then nobody is told to wait a minute: the reference catcher sets SO_REUSEADDR, so the port can be tried."""
    proc([line(LOOPBACK_4, PORT, TIME_WAIT, 0)])
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.systemctl(shows(ActiveState="activating", SubState="auto-restart", MainPID=0))
    machine.can_bind = lambda *asked: free
    assert (port.problem(machine, port.holder(machine)) is None) == free


@pytest.mark.parametrize("free", [True, False], ids=["the port is free", "the port is not free"])
@pytest.mark.parametrize("words", [["/bin/sh", "/opt/IBM/CCA/bin/CSUTKEcat", "start"], [paths.CATCHER, "-tls"]],
                         ids=["the control script", "the catcher"])
def test_closed_connections_are_told_of_while_a_start_waits(machine, proc, words, free):
    """systemd calls the service active after three seconds; the control script waits for longer."""
    proc([line(LOOPBACK_4, PORT, TIME_WAIT, 0)], [], [(300, words, [])])
    machine.systemctl(shows(ActiveState="active", SubState="running", MainPID=300))
    machine.can_bind = lambda *asked: free
    found = port.problem(machine, port.holder(machine))
    if words[0] == paths.CATCHER or free:
        assert found is None
    else:
        assert found["id"] == "port-closing"


# -- waiting -----------------------------------------------------------------------------------------------------------

JUST_STARTED = {"ActiveState": "active", "SubState": "running", "MainPID": 100,
                "ExecMainStartTimestampMonotonic": 999500000}


@pytest.mark.parametrize("change,waits", [
    ({}, True), ({"ActiveState": "activating", "SubState": "start"}, True),
    ({"ActiveState": "activating", "SubState": "start-pre", "MainPID": 0,
      "ExecMainStartTimestampMonotonic": 970000000}, True),
    # Long ago; not at all; between two attempts.
    ({"ExecMainStartTimestampMonotonic": 970000000}, False), ({"ActiveState": "inactive", "MainPID": 0}, False),
    ({"ActiveState": "failed", "MainPID": 0}, False), ({"SubState": "auto-restart", "MainPID": 0}, False),
    ({"ActiveState": "activating", "SubState": "auto-restart"}, False),
])
def test_only_a_service_that_was_just_started_is_waited_for(machine, monkeypatch, change, waits):
    machine.listening = False
    machine.systemctl(shows(**dict(JUST_STARTED, **change)))
    looks = []

    def wait(condition, timeout):
        looks.append(condition())
        machine.listening = True
        looks.append(condition())

    monkeypatch.setattr(machine, "wait_until", wait)
    port.wait_for_start(machine)
    assert looks == ([False, True] if waits else [])


def test_a_start_that_fails_meanwhile_is_not_waited_for(machine, monkeypatch):
    machine.listening = False
    machine.systemctl(shows(**JUST_STARTED))

    def wait(condition, timeout):
        machine.systemctl(shows(ActiveState="failed", MainPID=0))
        results = [condition() for _ in range(port.LOOKS_A_STATE)]
        assert results == [False] * (port.LOOKS_A_STATE - 1) + [True]

    monkeypatch.setattr(machine, "wait_until", wait)
    port.wait_for_start(machine)


@pytest.mark.parametrize("entry,processes,id", [
    (line(LOOPBACK_4, PORT, LISTENS, 9), [SSHD], "port-taken"),
    (line(LOOPBACK_4, PORT, CONNECTED, 9), [SSHD], "port-taken-outgoing"),
    (line(LOOPBACK_4, PORT, TIME_WAIT, 0), [], "port-closing"),
])
def test_who_has_the_port_is_said_instead_of_waited_for(machine, proc, entry, processes, id):
    """The answer comes after half a second, not after twenty seconds."""
    proc([entry], [], processes)
    machine.listening = id == "port-taken"
    machine.systemctl(shows(ActiveState="activating", SubState="auto-restart", MainPID=0))
    looks = []
    machine.wait_until = lambda condition, timeout: any(looks.append(1) or condition() for _ in range(100))
    with pytest.raises(CatcherError) as failed:
        port.wait_for_catcher(machine)
    assert failed.value.finding["id"] == id
    assert len(looks) <= port.LOOKS_A_STATE


def test_a_catcher_that_ends_at_once_is_not_waited_for(machine):
    machine.listening = False
    machine.systemctl(shows(ActiveState="activating", SubState="auto-restart", MainPID=0))
    with pytest.raises(CatcherError, match="it stopped again immediately"):
        port.wait_for_catcher(machine)
    machine.systemctl(shows(ActiveState="active", SubState="running", MainPID=100))
    with pytest.raises(CatcherError, match="does not listen on port 50003 after"):
        port.wait_for_catcher(machine)
