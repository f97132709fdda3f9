"""Listening, and the addresses of the backend."""

import socket
import sys

import pytest
from reference_catcher import ports
from reference_catcher.settings import Settings

from .peers import echo, read_exactly
from .process import Catcher, free_port


def test_an_occupied_port_is_named(refusal):
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        port = other.getsockname()[1]
        said = refusal(1, port=port)
        assert "port %d is in use" % port in said and "ss -tanp 'sport = :%d'" % port in said


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


def test_a_system_without_ipv6(monkeypatch, tmp_path):
    """No system call filter here can take IPv6 from one process, so the socket module plays the kernel's part."""
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


def test_a_backend_whose_name_nobody_knows(refusal):
    assert "the backend's name nowhere.invalid cannot be looked up" in refusal(1, backend="nowhere.invalid:1")


TWO_ADDRESSES = """
import sys
sys.path.append(sys.argv[1])
from reference_catcher import start
start.backend_addresses = lambda settings: [(2, ("127.0.0.1", int(port))) for port in sys.argv[2:]]
sys.exit(start.main(["catcher.exe"]))
"""


def test_every_address_of_the_backend_is_tried(backend, library, tmp_path):
    """As for a name of two addresses where the first has no listener."""
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
