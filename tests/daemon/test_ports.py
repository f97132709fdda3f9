"""Listening, and the addresses of the backend."""

import os
import socket
import sys
import threading

import pytest
from reference_catcher import ports
from reference_catcher.refusal import Refused
from reference_catcher.settings import Settings

from tests.ports import free_port

from .peers import echo, read_exactly
from .process import Catcher


def test_an_occupied_port_is_named(refusal):
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refusal(1, port=port)
        assert "port %d is in use" % port in said and "ss -tanp 'sport = :%d'" % port in said


def test_an_outgoing_connection_that_has_the_port_is_named(refusal):
    """While it is open, and while it is in TIME_WAIT: then even SO_REUSEADDR does not give the port to a listener."""
    with socket.create_server(("127.0.0.1", 0)) as far:
        port = free_port()
        near = socket.create_connection(far.getsockname(), source_address=("127.0.0.1", port))
        peer = "127.0.0.1:%d" % far.getsockname()[1]
        with near, far.accept()[0] as other:
            assert "an outgoing connection of this system to %s has it" % peer in refusal(1, port=port)
            near.shutdown(socket.SHUT_WR)
            assert other.recv(1) == b""
        said = refusal(1, port=port)
        assert "port %d is in use: an outgoing connection to %s used it; the port is free again" % (port, peer) in said


def test_addresses_are_shown_as_people_write_them():
    assert ports.shown_address(socket.AF_INET, b"0100007F:C353") == "127.0.0.1:50003"
    assert ports.shown_address(socket.AF_INET6, b"0000000000000000FFFF00000100007F:C353") == "127.0.0.1:50003"
    assert ports.shown_address(socket.AF_INET6, b"B80D0120000000000000000001000000:0001") == "[2001:db8::1]:1"


@pytest.mark.parametrize("host, expected", [
    ("10.1.2.3", "10.1.2.3"), ("::ffff:10.1.2.3", "10.1.2.3"), ("::1", "::1"),
    ("2001:db8:1:2::7", "2001:db8:1:2::/64"), ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
    ("fe80::1%eth0", "fe80::/64")])
def test_what_counts_as_one_peer(host, expected):
    assert ports.origin(host) == expected


def test_an_ipv4_address_in_the_form_of_ipv6_is_listened_on(start):
    catcher = start(listen="::ffff:127.0.0.2")
    with catcher.connect("127.0.0.2") as client:
        assert client.recv(1) == b""
    catcher.wait_for(r"(?m)listening on port \d+ \(IPv4\)")


def test_an_occupied_ipv6_port_is_named(refusal):
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        other.bind(("::", 0))
        other.listen()
        assert "port %d is in use" % other.getsockname()[1] in refusal(1, port=other.getsockname()[1])


def test_a_restart_gets_its_port_back_at_once(start):
    catcher = start()
    port = catcher.port
    with catcher.connect() as client:
        assert client.recv(1) == b""        # the catcher closed first: TIME_WAIT is on its side
    assert catcher.stop() == 0
    assert start(port=port).port == port


def test_a_system_without_ipv6_is_served_by_ipv4(monkeypatch, tmp_path):
    """No system call filter here can disable IPv6 for one process, so the socket module simulates the kernel."""
    class NoIpv6(socket.socket):
        def __init__(self, family=socket.AF_INET, *arguments, **options):
            if family == socket.AF_INET6:
                raise OSError(97, "Address family not supported by protocol")
            super().__init__(family, *arguments, **options)

    conf = tmp_path / "conf"
    conf.write_text("port=%d\n" % free_port())
    monkeypatch.setattr(ports.socket, "socket", NoIpv6)
    said = []
    sockets = ports.listen(Settings(str(conf)), lambda priority, text: said.append(text))
    with sockets[0]:
        assert [sock.family for sock in sockets] == [socket.AF_INET]
    assert said == ["this system has no IPv6: not listening on ::"]


def test_listen_names_the_addresses(start):
    catcher = start(listen="127.0.0.2")
    with catcher.connect("127.0.0.2") as client:
        assert client.recv(1) == b""
    for host in ("127.0.0.1", "::1"):
        with pytest.raises(ConnectionRefusedError):
            catcher.connect(host)


@pytest.mark.parametrize("listen, families", [
    ("0.0.0.0,127.0.0.2", "IPv4"), ("127.0.0.2,0.0.0.0", "IPv4"), ("127.0.0.2,::ffff:127.0.0.2", "IPv4"),
    ("127.2,127.0.0.2,::", "IPv4 and IPv6"), ("::,::1,0::0,127.0.0.2", "IPv6 and IPv4")])
def test_addresses_that_overlap_are_listened_on_once(start, listen, families):
    """The kernel would refuse the second socket, although no other process has the port."""
    catcher = start(listen=listen)
    with catcher.connect("127.0.0.2") as client:
        assert client.recv(1) == b""
    catcher.wait_for(r"listening on port \d+ \(%s\)" % families)


def test_an_interface_that_this_system_does_not_have_may_come(refusal):
    """For example, an adapter is set online late. systemd tries again."""
    assert "cannot listen on fe80::1%nosuch0: this system has no interface" in refusal(1, listen="fe80::1%nosuch0")


@pytest.mark.parametrize("absent", ["192.0.2.77", "2001:db8::77"])
def test_an_address_that_this_system_does_not_have_is_listened_on_all_the_same(start, absent):
    """The address may appear later. Otherwise systemd would restart the catcher every two seconds until then."""
    catcher = start(listen="127.0.0.2," + absent)
    with catcher.connect("127.0.0.2") as client:
        assert client.recv(1) == b""
    catcher.wait_for("this system does not have the address %s; peers are served there as soon as it has" % absent)


def test_an_address_that_is_absent_on_a_port_that_is_taken(refusal):
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        assert "port %d is in use" % port in refusal(1, port=port, listen="192.0.2.77")


def test_an_address_that_can_be_nobodys_is_no_reason_to_try_again(refusal):
    """A link-local address needs its interface."""
    assert "cannot listen on port" in refusal(78, listen="127.0.0.2,fe80::1")


def test_a_backend_whose_name_nobody_knows_stops_nobody(start):
    """A peer sees an error, because what it has sent is lost."""
    catcher = start(backend="nowhere.invalid:1")
    catcher.wait_for("the backend's name nowhere.invalid (cannot be looked up; it is tried again|is not known yet)")
    with catcher.connect() as client:
        client.sendall(b"ping")
        with pytest.raises(ConnectionResetError):
            while client.recv(1):
                continue
    catcher.wait_for("backend nowhere.invalid:1: its name cannot be looked up, closed")
    assert catcher.stop() == 0


LATE = """
import sys
sys.path.append(sys.argv[1])
from reference_catcher import ports, start
real, asked = ports.socket.getaddrinfo, []

def getaddrinfo(host, *more, **options):
    if host != "late.example.com" or options.get("flags"):
        return real(host, *more, **options)
    asked.append(1)
    if sys.argv[2:] and len(asked) == 1:
        open(sys.argv[2]).close()
    if len(asked) < 3:
        raise ports.socket.gaierror(-3, "Temporary failure in name resolution")
    return real("127.0.0.1", *more, **options)

ports.socket.getaddrinfo = getaddrinfo
ports.RETRY = 0.1
sys.exit(start.main(["catcher.exe"]))
"""


def test_a_backend_whose_name_is_known_later(backend, library, tmp_path):
    """For example during a boot, or because a name server does not answer for a moment."""
    server = backend(echo)
    (tmp_path / "conf").write_text("port=%d\nbackend=late.example.com:%s\n" % (
        free_port(), server.name.rpartition(":")[2]))
    catcher = Catcher([sys.executable, "-c", LATE, str(library)],
                      {"REFERENCE_CATCHER_CONF": str(tmp_path / "conf")})
    catcher.wait_for("listening on")
    catcher.wait_for("the backend's name late.example.com is known now")
    with catcher.connect() as client:
        client.sendall(b"ping")
        assert read_exactly(client, 4) == b"ping"
    assert catcher.stop() == 0


def test_a_name_server_that_is_silent_holds_up_no_start(backend, library, tmp_path):
    """The C library gives up only after half a minute or more."""
    server = backend(echo)
    (tmp_path / "conf").write_text("port=%d\nbackend=late.example.com:%s\n" % (
        free_port(), server.name.rpartition(":")[2]))
    os.mkfifo(tmp_path / "silence")
    catcher = Catcher([sys.executable, "-c", LATE, str(library), str(tmp_path / "silence")],
                      {"REFERENCE_CATCHER_CONF": str(tmp_path / "conf")})
    catcher.wait_for("late.example.com is not known yet, since no name server answers")
    catcher.wait_for("listening on")
    with catcher.connect() as client, pytest.raises(ConnectionResetError):
        client.sendall(b"ping")
        while client.recv(1):
            continue
    (tmp_path / "silence").write_bytes(b"")
    catcher.wait_for("the backend's name late.example.com is known now")
    with catcher.connect() as client:
        client.sendall(b"ping")
        assert read_exactly(client, 4) == b"ping"
    assert catcher.stop() == 0


@pytest.mark.parametrize("error", [UnicodeError("label too long"), MemoryError(), ValueError("embedded null byte")],
                         ids=lambda one: type(one).__name__)
def test_a_backend_is_looked_for_whatever_a_look_raises(monkeypatch, tmp_path, error):
    """Only this thread looks the name up: without it the backend would never be known."""
    (tmp_path / "conf").write_text("backend=late.example.com:1\n")
    answers, told, found = [error, error, OSError(), [("family", "address")]], [], []

    def look_up(settings):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ports, "RETRY", 0)
    monkeypatch.setattr(ports, "look_up", look_up)
    looked = threading.Lock()
    looked.acquire()
    ports.keep_looking(Settings(str(tmp_path / "conf")), lambda level, text: told.append(text), found, set(), looked)
    assert looked.acquire(blocking=False)
    assert found == [("family", "address")]
    name = "the backend's name late.example.com "
    assert told == [name + "cannot be looked up (%s); it is tried again" % type(error).__name__,
                    name + "cannot be looked up; it is tried again", name + "is known now"]


@pytest.mark.parametrize("known", [True, False])
def test_a_start_without_a_thread_looks_up_itself(monkeypatch, tmp_path, known):
    """A limit of processes (RLIMIT_NPROC, TasksMax=) may leave no thread."""
    (tmp_path / "conf").write_text("backend=late.example.com:1\n")

    def look_up(settings, flags=0):
        if flags or not known:
            raise socket.gaierror(-2, "Name or service not known")
        return [("family", "address")]

    def start_new_thread(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ports, "look_up", look_up)
    monkeypatch.setattr(ports._thread, "start_new_thread", start_new_thread)
    settings = Settings(str(tmp_path / "conf"))
    if known:
        assert ports.backend_addresses(settings, None) == [("family", "address")]
        return
    with pytest.raises(Refused) as refused:
        ports.backend_addresses(settings, None)
    assert refused.value.status == 1 and "late.example.com cannot be looked up" in refused.value.line


TWO_ADDRESSES = """
import sys
sys.path.append(sys.argv[1])
from reference_catcher import start
start.backend_addresses = lambda *_: [(2, ("127.0.0.1", int(port))) for port in sys.argv[2:]]
sys.exit(start.main(["catcher.exe"]))
"""


def test_every_address_of_the_backend_is_tried(backend, library, tmp_path):
    """For example, a name has two addresses, and the first has no listener."""
    server = backend(echo)
    (tmp_path / "conf").write_text("port=%d\nbackend=%s\n" % (free_port(), server.name))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ports = [str(closed.getsockname()[1]), server.name.rpartition(":")[2]]
        catcher = Catcher([sys.executable, "-c", TWO_ADDRESSES, str(library), *ports],
                          {"REFERENCE_CATCHER_CONF": str(tmp_path / "conf")})
        with catcher.connect() as client:
            client.sendall(b"ping")
            assert read_exactly(client, 4) == b"ping"
        assert catcher.stop() == 0
