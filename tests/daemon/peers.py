"""Clients and backends of the catcher, and functions that wait for what they see."""

import contextlib
import pathlib
import select
import socket
import ssl
import threading
import time

from .process import PATIENCE


def tls_context(catcher_pair, version=None, small=False):
    context = ssl.create_default_context(cadata=catcher_pair[1].decode())
    if version:
        context.minimum_version = context.maximum_version = version
    if small:
        context.set_ciphers("DEFAULT@SECLEVEL=1")
    return context


class TlsClient:
    """A blocking TLS client on memory BIOs. It can end its half of the stream and continue to read, as a TLS peer
    may."""

    def __init__(self, sock, context):
        self.sock, self.inbox, self.outbox = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inbox, self.outbox, server_hostname="localhost")
        self._do(self.tls.do_handshake)

    def _do(self, action, *arguments):
        while True:
            try:
                return action(*arguments)
            except ssl.SSLWantReadError:
                self._send()
                data = self.sock.recv(65536)
                if data:
                    self.inbox.write(data)
                else:
                    self.inbox.write_eof()
            finally:
                self._send()

    def _send(self):
        if self.outbox.pending:
            self.sock.sendall(self.outbox.read())

    def sendall(self, data):
        self._do(self.tls.write, data)

    def recv(self, size):
        try:
            return self._do(self.tls.read, size)
        except ssl.SSLZeroReturnError:
            return b""

    def shutdown(self, _how):
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self._send()

    def close(self):
        self.sock.close()


def connect_tls(catcher, catcher_pair, source="", **options):
    return TlsClient(catcher.connect(source=source), tls_context(catcher_pair, **options))


def read_all(stream):
    pieces = []
    while True:
        data = stream.recv(65536)
        if not data:
            return b"".join(pieces)
        pieces.append(data)


def read_exactly(stream, size):
    data = b""
    while len(data) < size:
        piece = stream.recv(size - len(data))
        assert piece, "the stream ended after %d of %d bytes" % (len(data), size)
        data += piece
    return data


class Backend:
    """A server that calls SERVE(socket) in a thread for each connection, and keeps the exceptions."""

    def __init__(self, serve, path=None):
        self.listener = socket.socket(socket.AF_UNIX if path else socket.AF_INET)
        self.listener.bind(path or ("127.0.0.1", 0))
        self.listener.listen(300)
        self.name = "unix:%s" % path if path else "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.serve, self.errors = serve, []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return  # closed at the end of the test
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            sock.settimeout(PATIENCE)
            try:
                self.serve(sock)
            except OSError as error:
                self.errors.append(error)


def echo(sock):
    while True:
        data = sock.recv(65536)
        if not data:
            return
        sock.sendall(data)


def eventually(condition, what):
    """Wait until CONDITION() is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came true that " + what
        select.select([], [], [], 0.01)


def more_than_buffers_hold():
    """More bytes than can be on the way from a client to a backend: the kernel has a receive buffer and a send buffer
    for each of the two connections."""
    limits = [pathlib.Path("/proc/sys/net/ipv4", name).read_text().split() for name in ("tcp_rmem", "tcp_wmem")]
    return 3 * sum(int(largest) for _, _, largest in limits)


def standstill(look):
    """Wait until LOOK() has returned the same 15 times, with 0.02 s between two. Returns it. A busy machine, on which
    this process has no turn for a moment, does not make a standstill."""
    last, same, end = look(), 0, time.monotonic() + PATIENCE
    while same < 15:
        assert time.monotonic() < end, "it never came to a standstill"
        select.select([], [], [], 0.02)
        last, same = (last, same + 1) if (now := look()) == last else (now, 0)
    return last
