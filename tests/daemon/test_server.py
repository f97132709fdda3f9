"""The limit of connections, and how the catcher stops."""

import contextlib
import resource
import select
import signal
import socket
import time

import pytest

from catcher_install.probe import probe, result

from .pairs import pair
from .peers import connect_tls, echo, eventually, read_all, read_exactly, tls_context
from .process import MEGABYTE, PATIENCE


def test_200_idle_and_50_half_open_connections_do_not_stop_the_next(start, backend):
    catcher = start("-tls", pair=pair(), backend=backend(echo).name, max_connections_per_address=256)
    context = tls_context(pair())
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            half_open = stack.enter_context(catcher.connect())
            half_open.sendall(b"\x16\x03\x01\x02")
        for _ in range(200):
            stack.enter_context(context.wrap_socket(catcher.connect(), server_hostname="localhost"))
        client = stack.enter_context(context.wrap_socket(catcher.connect(), server_hostname="localhost"))
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"


def test_the_oldest_half_open_connection_makes_room(start):
    catcher = start("-tls", pair=pair(), max_connections=5, max_connections_per_address=5)
    with contextlib.ExitStack() as stack:
        half_open = [stack.enter_context(catcher.connect()) for _ in range(5)]
        client = connect_tls(catcher, pair())
        assert client.recv(1) == b""
        assert half_open[0].recv(1) == b""
        catcher.wait_for(r":%d: TLS: no handshake yet, ended to make room" % half_open[0].getsockname()[1])


def test_one_connection_too_many_is_refused_and_the_others_live_on(start, backend):
    catcher = start(backend=backend(echo).name, max_connections=3, max_connections_per_address=4)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(catcher.connect()) for _ in range(3)]
        catcher.wait_for("relayed to", 3)
        with catcher.connect() as refused:
            assert refused.recv(1) == b""
        catcher.wait_for(r"refused, all 3 connections are in use \(max_connections= in")
        for client in clients:
            client.sendall(b"ping")
            assert read_exactly(client, 4) == b"ping"
        clients[0].close()
        catcher.wait_for("ended, 4 bytes")
        with catcher.connect() as client:
            client.sendall(b"ping")
            assert read_exactly(client, 4) == b"ping"


def test_what_a_probe_says_of_a_catcher_without_a_free_place(start, backend):
    """It must not say plain TCP, as it does for a catcher in TCP mode without a backend."""
    full = start("-tls", pair=pair(), backend=backend(echo).name, max_connections=1, max_connections_per_address=1)
    with tls_context(pair()).wrap_socket(full.connect(), server_hostname="localhost") as client:
        client.sendall(b"ping")
        assert client.recv(4) == b"ping"
        assert probe.probe("127.0.0.1:%d" % full.port, timeout=5).state == result.CLOSED
    plain = start()
    assert probe.probe("127.0.0.1:%d" % plain.port, timeout=5).state == result.TCP


def test_one_address_cannot_hold_all_connections(start, backend):
    """One address asks for 256 relays, and another one is still admitted. In TCP a connection is a relay at once."""
    catcher = start(backend=backend(echo).name)
    with contextlib.ExitStack() as stack:
        mine = [stack.enter_context(catcher.connect()) for _ in range(256)]
        catcher.wait_for("relayed to", 128)
        catcher.wait_for(r"all 128 connections that one address may have are in use", 50)
        for source, host in (("127.0.0.2", "127.0.0.1"), ("", "::1")):
            other = stack.enter_context(catcher.connect(host, source=source))
            other.sendall(b"ping")
            assert read_exactly(other, 4) == b"ping"
        mine[0].sendall(b"ping")
        assert read_exactly(mine[0], 4) == b"ping"
        mine[0].close()
        catcher.wait_for("ended, 4 bytes")
        client = stack.enter_context(catcher.connect())
        client.sendall(b"ping")
        assert read_exactly(client, 4) == b"ping"


def test_half_open_connections_of_one_address_push_out_their_own(start):
    """The connections of another address stay, however old they are and whatever the limit in all is."""
    catcher = start("-tls", pair=pair(), max_connections=6, max_connections_per_address=4)
    with contextlib.ExitStack() as stack:
        other = [stack.enter_context(catcher.connect(source="127.0.0.2")) for _ in range(2)]
        for _ in range(10):
            stack.enter_context(catcher.connect())
        catcher.wait_for("127.0.0.1.*no handshake yet, ended to make room", 6)
        # Now more addresses come than connections are allowed: the address with the most connections loses one.
        stack.enter_context(catcher.connect(source="127.0.0.3"))
        catcher.wait_for("127.0.0.1.*no handshake yet, ended to make room", 7)
        assert select.select(other, [], [], 0)[0] == []
        assert "127.0.0.2" not in catcher.log


def test_without_descriptors_it_waits_and_then_goes_on(start, backend):
    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))

    catcher = start(backend=backend(echo).name, options={"preexec_fn": few})
    catcher.wait_for("listening")
    clients = [catcher.connect() for _ in range(20)]
    catcher.wait_for("Too many open files")
    used = catcher.cpu()
    select.select([], [], [], 0.5)
    assert catcher.cpu() - used < 0.1, "it must not spin"
    for client in clients:
        client.close()
    with catcher.connect() as client:
        eventually(lambda: "cannot accept" not in catcher.lines[-1], "accepting goes on")
        client.sendall(b"ping")
        assert read_exactly(client, 4) == b"ping"


def test_a_stop_lets_a_busy_relay_finish(start, backend):
    # A relay that moves nothing for a fifth of that would be at rest.
    catcher = start("-tls", pair=pair(), backend=backend(echo).name, stop_timeout=25)
    client = connect_tls(catcher, pair())
    client.sendall(b"before")
    assert read_exactly(client, 6) == b"before"
    catcher.process.send_signal(signal.SIGTERM)
    catcher.wait_for("stopping, 1 connections")
    with pytest.raises(ConnectionRefusedError):
        catcher.connect()
    client.sendall(b"during")
    assert read_exactly(client, 6) == b"during"
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == b""
    catcher.wait_for("ended, 12 bytes to the backend, 12 from it")
    assert catcher.exit_status() == 0


def test_a_stop_does_not_wait_for_a_resting_relay(start, backend):
    """Neither side has ended its stream, so both see an error."""
    server = backend(echo)
    catcher = start("-tls", pair=pair(), backend=server.name, stop_timeout=6)
    client = connect_tls(catcher, pair())
    catcher.wait_for("relayed to")
    began = time.monotonic()
    catcher.process.send_signal(signal.SIGTERM)
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert catcher.exit_status() == 0
    assert time.monotonic() - began < 5.5
    catcher.wait_for("cut, because the catcher stops, 0 bytes to the backend")
    eventually(lambda: server.errors, "the backend saw an error")


def test_a_stop_is_bounded(start, backend):
    """A relay that always moves data delays the stop by stop_timeout at most."""
    catcher = start(backend=backend(lambda sock: [sock.sendall(bytes(65536)) for _ in iter(int, 1)]).name,
                    stop_timeout=0.5)
    with catcher.connect() as client:
        catcher.wait_for("relayed to")
        began = time.monotonic()
        catcher.process.send_signal(signal.SIGTERM)
        with pytest.raises(ConnectionResetError):
            while client.recv(MEGABYTE):
                assert time.monotonic() - began < PATIENCE
        assert catcher.exit_status() == 0
        assert time.monotonic() - began > 0.4


def test_sighup_does_not_end_it(start):
    catcher = start()
    catcher.wait_for("listening")
    assert catcher.port
    catcher.process.send_signal(signal.SIGHUP)
    with catcher.connect() as client:
        assert client.recv(1) == b""
    assert catcher.stop() == 0
