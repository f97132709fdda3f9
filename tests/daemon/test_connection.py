"""One peer: its handshake, its time, what the log says of it, and how its stream ends."""

import contextlib
import random
import select
import socket
import ssl
import time

import pytest

from .pairs import pair
from .peers import connect_tls, echo, eventually, read_all, tls_context


def test_a_tls_stream_cut_short_reaches_the_backend_as_an_error(start, backend):
    server = backend(read_all)
    catcher = start("-tls", pair=pair(), backend=server.name)
    client = connect_tls(catcher, pair())
    client.sendall(b"half a message")
    client.close()      # FIN without close_notify, as somebody on the way could forge it
    catcher.wait_for("broken: the peer closed without close_notify, 14 bytes to the backend")
    eventually(lambda: server.errors, "the backend saw an error")
    assert isinstance(server.errors[0], ConnectionResetError)


def test_a_backend_that_is_not_there(start):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        catcher = start("-tls", pair=pair(), backend="127.0.0.1:%d" % closed.getsockname()[1])
        client = connect_tls(catcher, pair())
        assert client.recv(1) == b"", "even then the end is a close_notify"
        catcher.wait_for(r"backend 127\.0\.0\.1:\d+: Connection refused, closed")


def test_a_slow_handshake_ends_at_its_time(start):
    """Bytes that drip in do not make it longer."""
    catcher = start("-tls", pair=pair(), handshake_timeout=0.5)
    with catcher.connect() as client:
        began = time.monotonic()
        hello = b"\x16\x03\x01\x00\xf0" + bytes(200)
        client.settimeout(0.05)
        for at in range(len(hello)):
            client.send(hello[at:at + 1])
            try:
                assert client.recv(1) == b""
                break
            except TimeoutError:
                continue
        assert 0.3 < time.monotonic() - began < 2
    catcher.wait_for("TLS: no handshake within 0.5 s")


def test_an_idle_relay_ends_at_its_time_and_a_busy_one_does_not(start, backend):
    catcher = start(backend=backend(echo).name, idle_timeout=0.6)
    with catcher.connect() as idle, catcher.connect() as busy:
        busy.settimeout(0.2)
        began = time.monotonic()
        while not select.select([idle], [], [], 0.1)[0]:
            busy.sendall(b"x")
            assert busy.recv(1) == b"x"
        assert 0.4 < time.monotonic() - began < 3
        with pytest.raises(ConnectionResetError):
            idle.recv(1)
        catcher.wait_for("nothing moved for 0.6 s, 0 bytes to the backend")
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
    catcher = start()
    with catcher.connect() as sock, pytest.raises((ssl.SSLError, OSError)):
        tls_context(pair()).wrap_socket(sock, server_hostname="localhost")
    catcher.wait_for("the peer speaks TLS, and the catcher runs without -tls")


def test_a_client_that_does_not_trust_the_certificate_is_told_in_the_log(start):
    catcher = start("-tls", pair=pair())
    with catcher.connect() as sock, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
    catcher.wait_for(r"the peer does not accept our certificate \(.*\); import it into the TKE")
