"""Peers cannot make the memory of the catcher grow."""

import contextlib
import random
import select
import socket
import ssl
import struct
import threading

import pytest

from .pairs import pair
from .peers import connect_tls, eventually, more_than_buffers_hold, read_all, standstill, tls_context
from .process import MEGABYTE, PATIENCE


def cpu_of_a_moment(catcher):
    """Seconds of processor time that a catcher uses in 0.3 s."""
    before = catcher.cpu()
    select.select([], [], [], 0.3)
    return catcher.cpu() - before


@pytest.mark.parametrize("mode", ["tcp", "tls"])
def test_a_slow_reader_costs_no_memory(start, backend, mode):
    """Back-pressure in both directions: if a client or a backend does not read, the catcher does not grow."""
    offered, go_on, sums = more_than_buffers_hold() // MEGABYTE * MEGABYTE, threading.Event(), []
    block = random.randbytes(MEGABYTE)
    sent, failed = [0, 0], []

    def flood(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for _ in range(offered // MEGABYTE):
            sock.sendall(block)
            sent[0] += MEGABYTE
        sock.shutdown(socket.SHUT_WR)
        go_on.wait(PATIENCE)
        sums.append(len(read_all(sock)))

    catcher = start(*["-tls"] * (mode == "tls"), pair=pair(), backend=backend(flood).name)
    client = connect_tls(catcher, pair()) if mode == "tls" else catcher.connect()
    catcher.wait_for("relayed to")
    before = catcher.resident()

    def push():
        try:
            for _ in range(offered // MEGABYTE):
                client.sendall(block)
                sent[1] += MEGABYTE
            client.shutdown(socket.SHUT_WR)
        except OSError as error:
            failed.append(error)

    # Nobody reads: both senders must stop long before they have sent everything.
    pusher = threading.Thread(target=push, daemon=True)
    pusher.start()
    eventually(lambda: sent[0] and sent[1], "both sides sent something")
    standstill(lambda: list(sent))
    assert sent[0] < offered and sent[1] < offered
    assert catcher.resident() - before < 4 * MEGABYTE
    eventually(lambda: cpu_of_a_moment(catcher) < 0.1, "a blocked relay does not spin")
    if mode == "tcp":   # (a TLS client of one thread cannot read while its own write waits)
        total = sum(iter(lambda: len(client.recv(MEGABYTE)), 0))
        assert total == offered
        go_on.set()
        pusher.join(PATIENCE)
        eventually(lambda: sums == [offered], "the backend got everything")
        assert catcher.resident() - before < 4 * MEGABYTE
        assert not failed
    else:
        client.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that is still sending
    pusher.join(PATIENCE)
    client.close()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_memory_stays_flat(start, version):
    """TLS 1.2 clients without tickets fill OpenSSL's session cache: the catcher must bound it."""
    catcher = start("-tls", pair=pair())
    context = tls_context(pair(), version=version)
    context.options |= ssl.OP_NO_TICKET

    def connections(count):
        for _ in range(count):
            with context.wrap_socket(catcher.connect(), server_hostname="localhost") as client:
                assert client.recv(1) == b""

    connections(600)
    before = catcher.resident()
    connections(1800)
    # An unbounded cache takes 2 MB more here. Less than 1 MB counts as no growth, because memory comes in arenas.
    assert catcher.resident() - before < MEGABYTE


def test_memory_stays_flat_over_20000_connections(start):
    """Connections of every kind that a port in a network gets: whole handshakes, silence, half a greeting, garbage, a
    reset."""
    catcher = start("-tls", pair=pair())
    context = tls_context(pair())
    greeting = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    at_once = struct.pack("ii", 1, 0)

    def shake(sock):
        with context.wrap_socket(sock, server_hostname="localhost") as client:
            assert client.recv(1) == b""

    def reset(sock):
        sock.sendall(greeting)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
        sock.close()

    kinds = (shake, socket.socket.close, lambda sock: sock.sendall(greeting),
             lambda sock: sock.sendall(b"GET / HTTP/1.1\r\n\r\n"), reset)

    def connections(count):
        for number in range(count):
            with catcher.connect() as sock:
                kinds[number % len(kinds)](sock)

    connections(2000)
    before = catcher.resident()
    connections(18000)
    # The catcher still serves each kind, and has served the last of them.
    shake(catcher.connect())
    # Memory comes in arenas of up to 1 MiB: one or two are no leak. If each connection left half a kilobyte, it would
    # be 9 MiB.
    assert catcher.resident() - before < 3 * MEGABYTE


def test_memory_of_stuck_relays_is_bounded_and_given_back(start, backend):
    """Both sides of 200 TLS relays send and do not read. Then most clients end, and later the others."""
    late = threading.Event()
    block, small = bytes(65536), (socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

    def fill(sock):
        # So long that the catcher takes no more even on a busy machine. Then it has bytes for each client.
        sock.settimeout(1)
        with contextlib.suppress(TimeoutError):
            while True:
                sock.send(block)
        late.wait()

    server = backend(fill)
    server.listener.setsockopt(*small)      # the kernel's buffers are not the subject
    catcher = start("-tls", pair=pair(), backend=server.name, max_connections_per_address=256)
    context = tls_context(pair())
    # What the first relay costs once.
    with context.wrap_socket(catcher.connect(), server_hostname="localhost"):
        catcher.wait_for("relayed to")
    before = catcher.resident()

    def fill_one():
        sock = catcher.connect()
        sock.setsockopt(*small)
        client = context.wrap_socket(sock, server_hostname="localhost")
        client.settimeout(0.01)
        with contextlib.suppress(TimeoutError):
            while True:
                client.send(block)
        return client

    with contextlib.ExitStack() as stack:
        stack.callback(late.set)
        clients = [stack.enter_context(fill_one()) for _ in range(200)]
        # On a busy machine the catcher may still read what was sent.
        grown = standstill(catcher.resident) - before
        assert 2 * MEGABYTE < grown < 200 * 130 * 1024
        for client in clients[40:]:
            client.close()
        # On a busy machine the two sides fill less. Then the limit at the end applies.
        most = max(grown / 2, 3 * MEGABYTE)
        eventually(lambda: catcher.resident() - before < most, "the memory of most of them was given back")
    eventually(lambda: catcher.resident() - before < 3 * MEGABYTE, "the memory was given back")
