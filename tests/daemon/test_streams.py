"""Bytes that the relay moves, and the two halves of a stream."""

import contextlib
import random
import select
import socket
import ssl
import threading

import pytest
from reference_catcher.streams import plain

from catcher_install.openssl import words

from .pairs import pair
from .peers import connect_tls, echo, eventually, more_than_buffers_hold, read_all, standstill, tls_context
from .process import MEGABYTE, PATIENCE


@pytest.mark.parametrize("to", ["tcp", "unix", "plain path"])
@pytest.mark.parametrize("mode", ["tcp", "tls"])
def test_relay_moves_10_megabytes_both_ways_at_once(start, backend, tmp_path, mode, to):
    server = backend(echo, None if to == "tcp" else str(tmp_path / "backend.socket"))
    name = str(tmp_path / "backend.socket") if to == "plain path" else server.name
    catcher = start(*["-tls"] * (mode == "tls"), pair=pair(), backend=name)
    data = random.randbytes(10 * MEGABYTE)
    sock = catcher.connect()
    client = tls_context(pair()).wrap_socket(sock, server_hostname="localhost") if mode == "tls" else sock
    if mode == "tcp":
        def send():
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
        sender = threading.Thread(target=send)
        sender.start()
        received = read_all(client)
        sender.join()
    else:
        # One thread: an ssl socket must not be used by two threads.
        client.setblocking(False)
        view, pieces, got = memoryview(data), [], 0
        while got < len(data):
            select.select([client], [client] if view else [], [], PATIENCE)
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                view = view[client.send(view[:16384]):] if view else view
            with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                pieces.append(client.recv(65536))
                assert pieces[-1]
                got += len(pieces[-1])
        received = b"".join(pieces)
        client.settimeout(PATIENCE)
        client.unwrap().close()
    assert received == data
    client.close()
    catcher.wait_for("ended, %d bytes to the backend, %d from it" % (len(data), len(data)))


@pytest.mark.parametrize("mode", ["tcp", "tls"])
def test_a_backend_that_ends_first_still_gets_the_rest(start, backend, mode):
    """The opposite half-close: after the backend's end the client continues to send, and no byte of it is lost."""
    got = []

    def end_first(sock):
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        got.append(read_all(sock))

    catcher = start(*["-tls"] * (mode == "tls"), pair=pair(), backend=backend(end_first).name)
    client = connect_tls(catcher, pair()) if mode == "tls" else catcher.connect()
    assert read_all(client) == b"question"
    answer = random.randbytes(MEGABYTE)
    client.sendall(answer)
    client.shutdown(socket.SHUT_WR)
    catcher.wait_for("ended, %d bytes to the backend, 8 from it" % MEGABYTE)
    eventually(lambda: got, "the backend saw the end")
    assert got == [answer]
    client.close()


@pytest.mark.parametrize("mode", ["tcp", "tls"])
def test_a_backend_that_ends_while_the_client_is_held_up_still_gets_the_rest(start, backend, mode):
    """The same, but when the backend ends, the client's data fills every buffer, OpenSSL's too."""
    held_up, sent, got = threading.Event(), [0], []
    block = random.randbytes(65536)
    blocks = more_than_buffers_hold() // len(block)

    def end_first(sock):
        held_up.wait(PATIENCE)
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        # The catcher sees that end while it still cannot write to us.
        select.select([], [], [], 0.1)
        got.append(len(read_all(sock)))

    catcher = start(*["-tls"] * (mode == "tls"), pair=pair(), backend=backend(end_first).name)
    client = connect_tls(catcher, pair()) if mode == "tls" else catcher.connect()

    def push():
        for _ in range(blocks):
            client.sendall(block)
            sent[0] += len(block)
        client.shutdown(socket.SHUT_WR)

    pusher = threading.Thread(target=push)
    pusher.start()
    eventually(lambda: sent[0], "the client sent something")
    standstill(lambda: list(sent))
    assert sent[0] < blocks * len(block)
    held_up.set()
    pusher.join(PATIENCE)
    eventually(lambda: got, "the backend saw the end")
    assert got == [blocks * len(block)]
    assert read_all(client) == b"question"
    client.close()


@pytest.mark.parametrize("name, text", [
    ("SSLV3_ALERT_HANDSHAKE_FAILURE", "alert handshake failure"), ("TLSV1_ALERT_UNKNOWN_CA", "alert unknown ca"),
    ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "alert certificate required"),
    # Alerts that were added to TLS 1.0 later: OpenSSL's names of them have no "ALERT".
    ("TLSV1_UNRECOGNIZED_NAME", "alert unrecognized name"),
    ("TLSV1_UNSUPPORTED_EXTENSION", "alert unsupported extension"),
    ("UNKNOWN_ALERT_TYPE", "unknown alert type"), ("NO_SHARED_CIPHER", "no shared cipher"), ("", "")])
def test_an_alert_is_named_without_the_version_in_openssls_name_of_it(name, text):
    """No program speaks SSL 3 any more."""
    assert plain(name) == words(name) == text
