"""A peer's addresses and what answers there, if anything."""

import contextlib
import socket
import threading
import time

import pytest

from catcher_install import messages
from catcher_install.probe import connection, probe, report
from catcher_install.probe import result as results

from .peers import PATIENCE, Peer, check, ids, look, speaks_tls, waits

# The peers' threads are in this process. The openssl that the probe starts does not need them.
pytestmark = [pytest.mark.real_programs, pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")]


@contextlib.contextmanager
def bound():
    """A port that is taken and not listened to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def test_an_ipv6_address_is_probed(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path)), family=socket.AF_INET6) as peer:
        result = look(peer)
    assert result.matched == "SAN IP ::1"
    assert result.address == "::1"
    assert result.system_problem
    assert report.exit_status(result) == 0


def test_refused():
    with bound() as sock:
        result = probe.probe("127.0.0.1:%d" % sock.getsockname()[1], timeout=2)
    check(result)
    assert (result.state, ids(result)) == (results.REFUSED, ["probe-refused"])
    assert report.exit_status(result) == 1
    assert report.fields(result)["address"] is None


def test_a_connection_that_met_itself_is_recognised():
    with bound() as sock:
        sock.connect(sock.getsockname())
        assert connection.met_itself(sock)


def test_a_connection_that_met_itself_is_nobody_who_listens(monkeypatch):
    monkeypatch.setattr(connection, "met_itself", lambda sock: True)
    with Peer(waits) as peer:
        assert look(peer).state == results.REFUSED


def test_peer_that_resets_before_the_connection_is_looked_at(monkeypatch):
    def reset(sock, address):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(socket.socket, "connect", reset)
    result = probe.probe("127.0.0.1:50003", timeout=2)
    check(result)
    assert (result.state, ids(result)) == (results.CLOSED, ["probe-closed"])
    # A daemon in TCP mode is what closes most often.
    first, command = messages.fix(result.findings[0]).splitlines()[:2]
    assert "plain TCP" in first and command == "  catcherctl status"


def test_process_that_hangs_is_told_from_one_that_waits():
    with bound() as sock:
        sock.listen(5)
        result = probe.probe("127.0.0.1:%d" % sock.getsockname()[1], timeout=0.4)
    check(result)
    assert (result.state, ids(result)) == (results.TIMED_OUT, ["probe-timeout"])
    assert "may hang" in result.reason
    assert report.exit_status(result) == 1


def test_a_connection_that_nobody_answers_times_out():
    # The backlog is full, so the kernel drops new connections, as a firewall does.
    with bound() as sock, contextlib.ExitStack() as stack:
        sock.listen(0)
        while True:
            one = stack.enter_context(socket.socket())
            one.settimeout(0.2)
            try:
                one.connect(sock.getsockname())
            except OSError:
                # socket.timeout, which is not yet TimeoutError in Python 3.6
                break
        start = time.monotonic()
        result = probe.probe("127.0.0.1:%d" % sock.getsockname()[1], timeout=0.3)
        assert time.monotonic() - start < PATIENCE / 2
    check(result)
    assert (result.state, ids(result)) == (results.TIMED_OUT, ["probe-timeout"])
    assert "connection attempt" in result.reason


def test_an_unreachable_address_is_a_finding():
    result = probe.probe("255.255.255.255", timeout=2)
    check(result)
    assert (result.state, ids(result)) == (results.UNREACHABLE, ["probe-unreachable"])
    assert report.exit_status(result) == 1


def test_an_unknown_interface_is_named_as_the_reason():
    result = probe.probe("fe80::1%no-such-interface", timeout=2)
    check(result)
    # The address instead of the name would not help.
    assert (result.state, ids(result)) == (results.UNREACHABLE, ["probe-unreachable"])
    assert result.reason == "this host has no interface of that name"


def test_name_that_does_not_exist(monkeypatch):
    def unknown(*args, **more):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    result = probe.probe("nowhere.example", timeout=2)
    check(result)
    assert (result.state, ids(result)) == (results.UNKNOWN_NAME, ["probe-unknown-name"])
    assert "name or service not known" in result.reason
    assert report.exit_status(result) == 1


def test_name_server_that_does_not_answer(monkeypatch):
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **more: over.wait(PATIENCE))
    start = time.monotonic()
    result = probe.probe("slow.example", timeout=0.2)
    over.set()
    assert time.monotonic() - start < PATIENCE / 2
    assert (result.state, result.reason) == (results.UNKNOWN_NAME, "no name server answered in time")


def resolved(monkeypatch, *addresses):
    """Any name has these addresses."""
    def answer(name, port, type=0, flags=0):
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, type, 6, "", (one, port)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


def test_second_address_of_a_name_is_tried_and_the_first_is_told(good, tmp_path, monkeypatch):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        resolved(monkeypatch, "127.0.0.2", "127.0.0.1")
        result = probe.probe("localhost:%d" % peer.port, timeout=5)
    check(result)
    assert result.state == results.TLS
    assert result.address == "127.0.0.1"
    assert result.failed == [("127.0.0.2", "connection refused")]
    assert ids(result) == ["probe-self-signed", "probe-address-failed"]
    assert report.exit_status(result) == 0


def test_of_several_failures_the_one_that_says_most_is_told(monkeypatch):
    with bound() as sock:
        resolved(monkeypatch, "255.255.255.255", "127.0.0.1")
        result = probe.probe("some.example:%d" % sock.getsockname()[1], timeout=2)
    check(result)
    assert result.state == results.REFUSED
    assert len(result.failed) == 2
