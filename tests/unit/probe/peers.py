"""Peers to probe: real TLS servers with their certificates, and sockets that do not speak TLS."""

import contextlib
import json
import re
import socket
import ssl
import subprocess
import threading
import time
import warnings

from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from catcher_install import messages
from catcher_install.host import Host
from catcher_install.probe import probe, report

from .. import authority
from ..schema import conforms

# Seconds after which a condition that should be true at once counts as one that never becomes true.
PATIENCE = 10.0


def attribute(oid, value):
    """An attribute of a name, even one that its standard does not allow."""
    if len(value) <= 64:
        return x509.NameAttribute(oid, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return x509.NameAttribute(oid, value, _validate=False)
        except TypeError:
            # Before it looked at lengths.
            return x509.NameAttribute(oid, value)


class Made:
    """A key and certificate that a test made: subject, key, cert (cryptography's), der, and pem of both with chain."""

    def __init__(self, cn, dns=(), ips=(), issuer=None, ca=False, days=(-1, 365), attributes=()):
        self.key = ec.generate_private_key(ec.SECP256R1(), default_backend())
        attributes = list(attributes) + ([(NameOID.COMMON_NAME, cn)] if cn is not None else [])
        self.subject = x509.Name([attribute(oid, value) for oid, value in attributes])
        signer = issuer or self
        self.not_before, self.not_after = (authority.moment(day * authority.DAY) for day in days)
        self.cert = authority.build(
            self.key, self.subject, signer.key, signer.subject, authority.alternatives(dns, ips),
            [(x509.BasicConstraints(ca=ca, path_length=None), True)], self.not_before, self.not_after)
        self.der = self.cert.public_bytes(serialization.Encoding.DER)
        self.pem = authority.pem_of(self.cert)

    def files(self, directory, chain=()):
        """A file with the key, the certificate and *chain*."""
        path = str(directory / "server.pem")
        key = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption())
        with open(path, "wb") as stream:
            stream.write(key + self.pem + b"".join(one.pem for one in chain))
        return path


class Peer:
    """A listening socket whose connections go to *handle*, one after the other; port; what handle collected."""

    def __init__(self, handle, family=socket.AF_INET):
        self.handle = handle
        self.family = family
        self.seen = []
        self.stop = threading.Event()
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        self.sock.bind(("::1" if family == socket.AF_INET6 else "127.0.0.1", 0))
        self.sock.listen(5)
        self.port = self.sock.getsockname()[1]
        self.target = ("[::1]:%d" if family == socket.AF_INET6 else "127.0.0.1:%d") % self.port
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            conn.settimeout(PATIENCE)
            try:
                self.seen.append(self.handle(self, conn))
            except OSError as error:
                self.seen.append(error)
            finally:
                conn.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.stop.set()
        # Closing alone would not wake accept(2).
        self.sock.shutdown(socket.SHUT_RDWR)
        self.thread.join(PATIENCE)
        self.sock.close()
        assert not self.thread.is_alive()


def read_to_end(conn):
    data = b""
    while True:
        block = conn.recv(65536)
        if not block:
            return data
        data += block


def waits(peer, conn):
    """A plain TCP daemon that waits for its own protocol's bytes."""
    return read_to_end(conn)


def echoes(peer, conn):
    data = conn.recv(65536)
    conn.sendall(data)
    return data + read_to_end(conn)


def ends_politely(peer, conn):
    """What the reference catcher does in TCP mode without a backend."""
    conn.shutdown(socket.SHUT_WR)
    return read_to_end(conn)


def closes(peer, conn):
    return b""


def resets(peer, conn):
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    return b""


def reads_and_closes(peer, conn):
    """A forwarder (ssh -L, a load balancer) whose TLS catcher has no free place."""
    return conn.recv(65536)


def ends_and_closes(peer, conn):
    """End its own side first, as a TCP daemon does, and read nothing."""
    conn.shutdown(socket.SHUT_WR)
    return b""


def ends_and_closes_later(peer, conn):
    """The same, but read what the client has sent before the connection is closed."""
    conn.shutdown(socket.SHUT_WR)
    conn.settimeout(0.1)
    with contextlib.suppress(socket.timeout):
        while conn.recv(1000):
            pass
    return b""


def answers_at_the_end(data):
    """A server that is so slow that its answer comes when no client waits for it any more."""
    def handle(peer, conn):
        got = read_to_end(conn)
        conn.sendall(data)
        return got

    return handle


def says(data):
    def handle(peer, conn):
        conn.sendall(data)
        return read_to_end(conn)

    return handle


def says_when_asked(data):
    def handle(peer, conn):
        conn.recv(65536)
        conn.sendall(data)
        return b""

    return handle


def drips(data, pace):
    """A byte every *pace* seconds, for as long as anybody reads."""
    def handle(peer, conn):
        conn.recv(65536)
        for at in range(len(data)):
            if peer.stop.wait(pace):
                break
            conn.sendall(data[at:at + 1])
        return b""

    return handle


def speaks_tls(path, **settings):
    """A TLS server. It reads to the end, and an end without close_notify is an error there."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    for name, value in settings.items():
        setattr(context, name, value)

    def handle(peer, conn):
        tls = context.wrap_socket(conn, server_side=True, suppress_ragged_eofs=False)
        try:
            return read_to_end(tls)
        finally:
            tls.close()

    return handle


def talks_tls(path, says, version):
    """A TLS server that says something in the same packet as its last word of the handshake. version: the newest."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    if version == "TLSv1_2":
        # Python 3.6 has no maximum_version.
        context.options |= ssl.OP_NO_TLSv1_3

    def handle(peer, conn):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                conn.sendall(outgoing.read())
                incoming.write(conn.recv(65536))
        tls.write(says)
        conn.sendall(outgoing.read())
        return read_to_end(conn)

    return handle


class NoPrograms(Host):
    """A host without an openssl command."""

    def run(self, argv, timeout, stdin=b""):
        raise FileNotFoundError(2, "No such file or directory", argv[0])


def look(peer, name=None, timeout=5.0, host=None, cafile=None):
    """Probe a peer, and check what must hold of every result."""
    start = time.monotonic()
    result = probe.probe(peer.target, name, timeout, host, cafile)
    # A busy machine may take seconds more.
    assert time.monotonic() - start < timeout + 4
    check(result)
    return result


def check(result):
    conforms("probe", json.loads(json.dumps(dict(report.fields(result), format_version=1))))
    for line in report.lines(result):
        assert re.match(r"\A[ -~]+\Z", line), line
    for found in result.findings:
        assert "{" not in messages.text(found) + messages.fix(found), found
        assert found["id"].startswith("probe-")


def ids(result):
    return [one["id"] for one in result.findings]


def only_a_client_hello(data):
    """Whether bytes are one TLS record, and in it one ClientHello."""
    return data[:2] == b"\x16\x03" and data[5] == 1 and len(data) == 5 + int.from_bytes(data[3:5], "big")


@contextlib.contextmanager
def s_server(path, *arguments):
    """The port of an ``openssl s_server``."""
    with subprocess.Popen(
        ["/usr/bin/openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", path, "-key", path] + list(arguments),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as server:
        try:
            for line in server.stdout:
                if line.startswith(b"ACCEPT "):
                    yield int(line.split(b":")[-1])
                    return
            raise AssertionError("openssl s_server did not start")
        finally:
            server.kill()
