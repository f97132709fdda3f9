"""One peer: its handshake, its time limits, its lines in the log, and the end of its stream."""

import contextlib
import errno
import os
import random
import select
import signal
import socket
import ssl
import threading
import time

import pytest
from reference_catcher.connection import Connection
from reference_catcher.log import Log
from reference_catcher.server import Server
from reference_catcher.settings import Settings
from reference_catcher.streams import PlainEnd

from tests.ports import free_port

from .pairs import pair
from .peers import (
    connect_tls,
    echo,
    eventually,
    more_than_buffers_hold,
    read_all,
    read_exactly,
    standstill,
    tls_context,
)
from .process import PATIENCE


def test_a_tls_stream_cut_short_reaches_the_backend_as_an_error(start, backend):
    server = backend(read_all)
    catcher = start("-tls", pair=pair(), backend=server.name)
    client = connect_tls(catcher, pair())
    client.sendall(b"half a message")
    client.close()      # FIN without close_notify, as an attacker on the network could forge it
    catcher.wait_for("broken: the peer closed without close_notify, 14 bytes to the backend")
    eventually(lambda: server.errors, "the backend saw an error")
    assert isinstance(server.errors[0], ConnectionResetError)


class Slow:
    """A client that sends more than the buffers between it and a receiver hold. CUT is called when they are full."""

    def __init__(self, sender, receiver):
        self.sender, self.receiver, self.sent, self.offered = sender, receiver, [0], more_than_buffers_hold()
        self.sending = threading.Thread(target=self._send, daemon=True)
        self.sending.start()

    def _send(self):
        with contextlib.suppress(OSError):
            while self.sent[0] < self.offered:
                self.sender.sendall(bytes(65536))
                self.sent[0] += 65536

    def received_after(self, cut):
        """The number of bytes until the end of the stream. Raises the error that the receiver sees instead of an
        end."""
        # On a busy machine a time-out may come before the first byte.
        eventually(lambda: self.sent[0] or not self.sending.is_alive(), "something was sent")
        standstill(lambda: list(self.sent))
        assert self.sent[0] < self.offered
        cut()
        count = 0
        while True:
            data = self.receiver.recv(65536)
            if not data:
                return count
            count += len(data)


CUTS = {
    "stop": (signal.SIGTERM, {"stop_timeout": 0.3}),
    "kill": (signal.SIGKILL, {}),
    "time-out": (None, {"idle_timeout": 0.5}),
}


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("direction", ["to the backend", "to the client"])
@pytest.mark.parametrize("mode", ["tcp", "tls"])
def test_a_stream_that_is_cut_ends_with_an_error(start, backend, mode, direction, how):
    signal_, settings = CUTS[how]
    at_backend, done = [], threading.Event()

    def hold(sock):
        at_backend.append(sock)
        done.wait()

    catcher = start(*["-tls"] * (mode == "tls"), pair=pair(), backend=backend(hold).name, **settings)
    client = connect_tls(catcher, pair()) if mode == "tls" else catcher.connect()
    eventually(lambda: at_backend, "the backend is there")
    sender, receiver = client, at_backend[0]
    if direction == "to the client":
        sender, receiver = receiver, sender
    try:
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            Slow(sender, receiver).received_after(
                lambda: catcher.process.send_signal(signal_) if signal_ else catcher.wait_for("nothing moved for 0.5"))
    finally:
        done.set()
        client.close()


def send_with_the_handshake(sock, context, data):
    """DATA in the same packet as the client's last message of a TLS 1.3 handshake."""
    inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(inbox, outbox, server_hostname="localhost")
    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            sock.sendall(outbox.read())
            inbox.write(sock.recv(65536))
    tls.write(data)
    sock.sendall(outbox.read())


@pytest.mark.parametrize("mode", ["tcp", "tls"])
def test_what_a_client_sent_to_a_lost_backend_ends_with_an_error(start, mode):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        catcher = start(*["-tls"] * (mode == "tls"), pair=pair(), backend="127.0.0.1:%d" % closed.getsockname()[1])
        catcher.wait_for("listening")
        if mode == "tcp":
            # Both are there when the catcher looks.
            catcher.process.send_signal(signal.SIGSTOP)
        with catcher.connect() as client:
            if mode == "tcp":
                client.sendall(b"a request")
                catcher.process.send_signal(signal.SIGCONT)
            else:
                send_with_the_handshake(client, tls_context(pair()), b"a request")
            with pytest.raises(ConnectionResetError):
                read_all(client)
        catcher.wait_for("Connection refused, closed")


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.ENOMEM], ids=os.strerror)
def test_a_connection_for_which_nobody_can_wait_ends_alone(tmp_path, monkeypatch, error):
    """epoll_ctl(2) has a limit for all connections of a user."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = listener.getsockname()
        (tmp_path / "conf").write_text("backend=%s:%d\n" % address)
        server = Server(Settings(str(tmp_path / "conf")), Log(), [], [(socket.AF_INET, address)], None)

        def register(*arguments):
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr(server.selector, "register", register)
        with socket.create_connection(address) as client:
            server.admit(*listener.accept())
            assert server.connections == {}
            with pytest.raises(ConnectionResetError):
                read_all(client)


def test_a_connection_to_itself_is_no_backend():
    """Nothing listens on a port in the kernel's range for outgoing connections: one of many attempts uses that same
    port as its own."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        connection, refused = Connection.__new__(Connection), []
        connection.backend = PlainEnd(sock)
        connection._connect_failed = refused.append
        connection._step_connect()
        assert refused == ["Connection refused"]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_catcher_that_is_its_own_backend(start, host):
    """Each relay would be the client of the next one, until all connections are used up."""
    port = free_port()
    catcher = start(port=port, backend="%s:%d" % (host, port))
    with catcher.connect() as client, pytest.raises(ConnectionResetError):
        client.sendall(b"a request")
        read_all(client)
    catcher.wait_for("the backend in .* is this catcher itself")
    assert catcher.stop() == 0
    assert len([line for line in catcher.lines if "relayed to" in line]) <= 1


def test_a_backend_that_is_not_there(start):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        catcher = start("-tls", pair=pair(), backend="127.0.0.1:%d" % closed.getsockname()[1])
        client = connect_tls(catcher, pair())
        catcher.wait_for(r"backend 127\.0\.0\.1:\d+: Connection refused, closed")
        with pytest.raises(ConnectionResetError):
            client.recv(1)


@pytest.mark.parametrize("sends", [b"a late request", b""], ids=["late", "nothing"])
def test_a_client_of_a_lost_backend_never_sees_a_whole_stream(start, sends):
    """This includes a client that sends its request after the backend has refused, or only waits for an answer."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        catcher = start(backend="127.0.0.1:%d" % closed.getsockname()[1])
        with catcher.connect() as client:
            catcher.wait_for("Connection refused, closed")
            # A reset that comes quickly would hide an end of the stream before it.
            assert select.select([client], [], [], 0.2)[0] == []
            client.sendall(sends)
            # The reset may answer the request before this call, which then has no connection to end.
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            with pytest.raises(ConnectionResetError):
                read_all(client)


def test_a_unix_backend_that_is_busy_is_waited_for(start, tmp_path):
    """If the listener's queue is full, the kernel refuses a Unix connection at once; TCP connections wait."""
    with socket.socket(socket.AF_UNIX) as backend, contextlib.ExitStack() as clients:
        backend.settimeout(PATIENCE)
        backend.bind(str(tmp_path / "backend"))
        backend.listen(0)
        catcher = start(backend="unix:%s" % (tmp_path / "backend"))
        for _ in range(4):
            clients.enter_context(catcher.connect()).sendall(b"a request")
        catcher.wait_for("relayed to")
        for _ in range(4):
            with backend.accept()[0] as served:
                assert read_exactly(served, 9) == b"a request"
        catcher.wait_for("relayed to", 4)


def test_a_unix_backend_that_stays_busy_is_given_up(start, tmp_path):
    with socket.socket(socket.AF_UNIX) as backend, contextlib.ExitStack() as clients:
        backend.bind(str(tmp_path / "backend"))
        backend.listen(0)
        catcher = start(backend="unix:%s" % (tmp_path / "backend"), handshake_timeout=0.3)
        for _ in range(2):
            clients.enter_context(catcher.connect())
        catcher.wait_for("backend %s: no answer within 0.3 s, closed" % (tmp_path / "backend"))


def test_a_slow_handshake_ends_at_its_time(start):
    """A peer that sends one byte after another gets no more time."""
    catcher = start("-tls", pair=pair(), handshake_timeout=0.3)
    catcher.wait_for("listening")
    began = time.monotonic()
    with catcher.connect() as client:
        hello = b"\x16\x03\x01\x00\xf0" + bytes(200)
        client.settimeout(0.05)
        for at in range(len(hello)):
            # A byte that comes just when the catcher closes is answered with a reset.
            try:
                client.send(hello[at:at + 1])
                assert client.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionError:
                pass
            break
        else:
            pytest.fail("each byte has got it more time")
        assert time.monotonic() - began > 0.2
    catcher.wait_for("TLS: no handshake within 0.3 s")


def test_an_idle_relay_ends_at_its_time_and_a_busy_one_does_not(start, backend):
    # As long as a busy machine may keep this test from sending the next byte.
    catcher = start(backend=backend(echo).name, idle_timeout=2)
    catcher.wait_for("listening")
    began = time.monotonic()
    with catcher.connect() as idle, catcher.connect() as busy:
        while not select.select([idle], [], [], 0.05)[0]:
            assert time.monotonic() - began < PATIENCE
            busy.sendall(b"x")
            assert busy.recv(1) == b"x"
        assert time.monotonic() - began > 1.9
        with pytest.raises(ConnectionResetError):
            idle.recv(1)
        catcher.wait_for("nothing moved for 2 s, 0 bytes to the backend")
        busy.sendall(b"y")
        assert busy.recv(1) == b"y"


GARBAGE = {
    "HTTP": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "zeros": bytes(100000),
    "random": random.Random(2).randbytes(100000),
    "plain TKE": b"\x00\x00\x00\x40" + b"TKE" * 20,
    "long record": b"\x16\x03\x01\xff\xff" + bytes(70000),
    "hello of nonsense": b"\x16\x03\x01\x00\x40\x01\x00\x00\x3c" + b"\xff" * 60,
    "alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "SSLv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + bytes(40),
}


@pytest.mark.parametrize("mode", ["tcp", "tls"])
def test_garbage_is_harmless(start, mode):
    catcher = start(*["-tls"] * (mode == "tls"), pair=pair())
    for garbage in GARBAGE.values():
        with catcher.connect() as client, contextlib.suppress(ConnectionError):
            client.sendall(garbage)
            read_all(client)
    for reset in (False, True):     # and those that come and go
        with catcher.connect() as client:
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    catcher.wait_for(": TLS: handshake failed: " if mode == "tls" else ": TCP: no backend", len(GARBAGE) + 1)
    assert not any(byte in catcher.log for byte in ("TKE" * 20, "GET /"))
    if mode == "tls":
        catcher.wait_for(r"the peer does not speak TLS \(on the TKE")
        assert connect_tls(catcher, pair()).recv(1) == b""


def test_a_tls_client_of_a_tcp_catcher_is_told_in_the_log(start):
    catcher, context = start(), tls_context(pair())
    with catcher.connect() as sock, pytest.raises((ssl.SSLError, OSError)):
        context.wrap_socket(sock, server_hostname="localhost")
    catcher.wait_for("the peer speaks TLS, and the catcher runs without -tls")


def test_a_client_that_does_not_trust_the_certificate_is_told_in_the_log(start):
    catcher = start("-tls", pair=pair())
    with catcher.connect() as sock, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
    catcher.wait_for(r"the peer does not accept our certificate \(.*\); import it into the TKE")
