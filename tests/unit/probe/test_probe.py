"""The probe, over real sockets on loopback: real TLS servers, and peers that are none."""

import contextlib
import datetime
import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from catcher_install import messages
from catcher_install.cert import details
from catcher_install.cert.names import ip_address
from catcher_install.errors import CatcherError
from catcher_install.host import Host
from catcher_install.probe import connection, handshake, probe, report
from catcher_install.probe import result as results
from catcher_install.probe.target import NAME_HINT, TARGET_HINT, parse

from ..schema import conforms

# The peers' threads are this process's, which is no concern of the probe's openssl.
pytestmark = [pytest.mark.real_programs, pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")]

# Seconds until a condition that should come at once is taken for one that never will.
PATIENCE = 10.0
BACKEND = default_backend()
DAY = datetime.timedelta(days=1)


# -- certificates ------------------------------------------------------------------------------------------------------


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
        self.key = ec.generate_private_key(ec.SECP256R1(), BACKEND)
        attributes = list(attributes) + ([(NameOID.COMMON_NAME, cn)] if cn is not None else [])
        self.subject = x509.Name([attribute(oid, value) for oid, value in attributes])
        signer = issuer or self
        now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(time.time()))
        self.not_before, self.not_after = now + days[0] * DAY, now + days[1] * DAY
        builder = (
            x509.CertificateBuilder().subject_name(self.subject).issuer_name(signer.subject)
            .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(self.not_before).not_valid_after(self.not_after)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        names = [x509.DNSName(name) for name in dns] + [x509.IPAddress(ipaddress.ip_address(ip)) for ip in ips]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        self.cert = builder.sign(signer.key, hashes.SHA256(), BACKEND)
        self.der = self.cert.public_bytes(serialization.Encoding.DER)
        self.pem = self.cert.public_bytes(serialization.Encoding.PEM)

    def files(self, directory, chain=()):
        """A file with the key, the certificate and *chain*."""
        path = str(directory / "server.pem")
        key = self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption())
        with open(path, "wb") as stream:
            stream.write(key + self.pem + b"".join(one.pem for one in chain))
        return path


@pytest.fixture(scope="module")
def good():
    """A self-signed certificate for localhost, by name and address."""
    return Made("localhost", dns=["localhost", "*.tke.example.com"], ips=["127.0.0.1", "::1"])


@pytest.fixture(scope="module")
def authority():
    """(root, intermediate, server): server's issuer is intermediate, whose issuer is root."""
    root = Made("Test Root", ca=True)
    middle = Made("Test Intermediate", issuer=root, ca=True)
    return root, middle, Made("localhost", dns=["localhost"], issuer=middle)


# -- peers -------------------------------------------------------------------------------------------------------------


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
    """A TLS server that says something in the same packet as its last word of the handshake."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    context.maximum_version = version

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


def look(peer, name=None, timeout=5.0, host=None):
    """Probe a peer, and check what must hold of every result."""
    start = time.monotonic()
    result = probe.probe(peer.target, name, timeout, host)
    assert time.monotonic() - start < timeout + 1.0
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


# -- what is typed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target, host, port", [
    ("catcher", "catcher", 50003),
    ("catcher.example.com:443", "catcher.example.com", 443),
    ("catcher.example.com.", "catcher.example.com.", 50003),
    ("under_score.example", "under_score.example", 50003),
    ("m\u00fcller.example:1", "m\u00fcller.example", 1),
    ("x" * 64, "x" * 64, 50003),
    ("192.0.2.7", "192.0.2.7", 50003),
    ("192.0.2.7:65535", "192.0.2.7", 65535),
    ("2001:db8::7", "2001:db8::7", 50003),
    ("::1", "::1", 50003),
    ("[2001:db8::7]", "2001:db8::7", 50003),
    ("[2001:db8::7]:443", "2001:db8::7", 443),
    ("fe80::1%eth0", "fe80::1%eth0", 50003),
    ("[fe80::1%eth0]:443", "fe80::1%eth0", 443),
])
def test_target(target, host, port):
    assert parse(target) == (host, port)


@pytest.mark.parametrize("target", [
    "", ":", ":50003", "host:", "host:0", "host:65536", "host:+5", "host: 5", "host:http", "host:\u0665",
    "host:999999999999",
    "[::1", "[]", "[::1]5", "[::1]:", "[::1]:x", "[127.0.0.1]:5", "[host]", "::1:50003", "1:2:3", "fe80::1%", "a b",
    "a..b", ".a", "-a", "a/b", "https://host", "host\n", "\x1b[31m", "*.example.com", "1.2.3", "1.2.3.999", "12345",
    "127.0.0.1%lo", "x" * 254, "\u00fc" * 70, "\udcff", "m\u00fc ller", "[" + ":" * 100000, "1." * 100000,
])
def test_what_is_no_target_is_one_line_and_a_hint(target):
    with pytest.raises(CatcherError) as caught:
        probe.probe(target, timeout=0.1)
    assert caught.value.hint == TARGET_HINT
    assert re.match(r"\A[ -~]{1,300}\Z", caught.value.message)


@pytest.mark.parametrize("name", ["", "a b", "*.example.com", "host:50003", "1.2.3.999", "\x1b[31m"])
def test_a_name_that_is_no_name_is_one_line_and_a_hint(name):
    with pytest.raises(CatcherError) as caught:
        probe.probe("127.0.0.1:1", name)
    assert caught.value.hint == NAME_HINT


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), 1e9])
def test_a_timeout_that_is_none(timeout):
    with pytest.raises(CatcherError):
        probe.probe("127.0.0.1:1", timeout=timeout)


# -- name against certificate ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, cn, san, found", [
    ("tke.example.com", "tke.example.com", [], "CN tke.example.com"),
    ("TKE.Example.COM", "tke.example.com", [], "CN tke.example.com"),
    ("tke.example.com.", "tke.example.com", [], "CN tke.example.com"),
    ("tke.example.com", "other", ["tke.EXAMPLE.com"], "SAN DNS tke.EXAMPLE.com"),
    ("tke", "other", ["tke", "tke.example.com"], "SAN DNS tke"),
    ("tke.example.com", "tke", ["tke"], ""),
    ("example.com", "tke.example.com", [], ""),
    ("atke.example.com", "tke.example.com", ["tke.example.com"], ""),
    ("a.example.com", "x", ["*.example.com"], "SAN DNS *.example.com"),
    ("a.example.com", "*.example.com", [], "CN *.example.com"),
    ("a.b.example.com", "x", ["*.example.com"], ""),
    ("example.com", "x", ["*.example.com"], ""),
    ("example.com", "x", ["*.com", "*", "*."], ""),
    ("ab.example.com", "x", ["a*.example.com", "*b.example.com"], ""),
    ("a.example.com", "x", ["a.*.com"], ""),
    ("m\u00fcller.example", "x", ["xn--mller-kva.example"], "SAN DNS xn--mller-kva.example"),
    ("xn--mller-kva.example", "M\u00fcller.example", [], "CN M\u00fcller.example"),
    ("192.0.2.7", "x", ["192.0.2.7"], "SAN IP 192.0.2.7"),
    ("192.0.2.7", "192.0.2.7", [], "CN 192.0.2.7"),
    ("2001:DB8:0::7", "x", ["2001:db8::7"], "SAN IP 2001:db8::7"),
    ("2001:db8::7", "2001:db8:0:0:0:0:0:7", [], "CN 2001:db8:0:0:0:0:0:7"),
    ("fe80::1%eth0", "x", ["fe80::1"], "SAN IP fe80::1"),
    ("192.0.2.7", "x", ["192.0.2.70", "192.0.2.8"], ""),
    ("192.0.2.7", "*.0.2.7", ["DNS:192.0.2.7", "DNS:*.0.2.7"], ""),
    ("tke", "", [], ""),
    ("tke", "tke\0.evil.example", [], ""),
    ("tke", "t" * 200000, ["\u00fc" * 200000], ""),
])
def test_match(name, cn, san, found):
    ips = [text for text in san if ip_address(text) is not None]
    dns = [text[4:] if text.startswith("DNS:") else text for text in san if text not in ips]
    one = details.Certificate(subject="", issuer="", self_issued=False, common_names=[cn], dns_names=dns, addresses=ips,
                            not_before=0, not_after=0, sha1="", sha256="", problem="")
    start = time.monotonic()
    assert details.match(name, one) == found
    assert time.monotonic() - start < 1.0


# -- TLS ---------------------------------------------------------------------------------------------------------------


def test_self_signed_certificate_is_normal(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert result.state == results.TLS
    assert result.version in ("TLSv1.2", "TLSv1.3")
    assert result.cipher.startswith(("TLS_", "ECDHE"))
    assert result.matched == "SAN DNS localhost"
    assert ids(result) == ["probe-self-signed"]
    assert report.exit_status(result) == 0
    assert result.anchor_problem == ""
    assert "self" in result.system_problem
    (shown,) = result.chain
    assert shown.subject == shown.issuer == "CN=localhost"
    assert shown.self_issued
    assert shown.dns_names == ["localhost", "*.tke.example.com"]
    assert shown.addresses == ["127.0.0.1", "::1"]
    assert result.chain_note == ""


def test_hashes_are_those_of_openssl(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        (shown,) = look(peer).chain
    for option, digest in (("-sha1", shown.sha1), ("-sha256", shown.sha256)):
        said = subprocess.run(["/usr/bin/openssl", "x509", "-noout", "-fingerprint", option], input=good.pem,
                              stdout=subprocess.PIPE, check=True).stdout
        assert said.decode().strip().split("=")[1] == digest


def test_every_tls_connection_ends_with_close_notify(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        look(peer, host=NoPrograms())
    # b"" and not SSLEOFError or ConnectionResetError: the server's reading came to a proper end.
    assert peer.seen == [b"", b""]


@pytest.mark.parametrize("name, found", [
    ("127.0.0.1", "SAN IP 127.0.0.1"), ("a.tke.example.com", "SAN DNS *.tke.example.com"), ("0::1", "SAN IP ::1"),
])
def test_name_that_matches(good, tmp_path, name, found):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, name)
    assert result.matched == found
    assert report.fields(result)["name_matches"] is True


def test_the_typed_host_is_the_name_unless_another_is_given(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        assert look(peer).name == "127.0.0.1"


def test_wrong_name_needs_attention(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "other.example.com")
    assert result.matched == ""
    assert ids(result) == ["probe-name-mismatch", "probe-self-signed"]
    assert "localhost, *.tke.example.com, 127.0.0.1, ::1" in messages.fix(result.findings[0])
    assert report.exit_status(result) == 3
    assert report.fields(result)["name_matches"] is False


def test_name_in_the_cn_only(tmp_path):
    made = Made("tke.example.com", dns=["other.example.com"])
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "tke.example.com")
    assert result.matched == "CN tke.example.com"
    assert ids(result) == ["probe-name-only-cn", "probe-self-signed"]
    assert report.exit_status(result) == 0


@pytest.mark.parametrize("days, finding", [
    ((-20, -10), "probe-certificate-expired"),
    ((10, 20), "probe-certificate-not-yet-valid"),
    ((-20, 10), "probe-certificate-expires-soon"),
])
def test_validity(tmp_path, days, finding):
    made = Made("localhost", days=days)
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert ids(result) == [finding, "probe-self-signed"]
    assert report.exit_status(result) == 3
    day = made.not_before if days[0] > 0 else made.not_after
    assert day.strftime("%Y-%m-%d") in messages.text(result.findings[0])
    # Expiry is a finding of its own, and not told a second time as a matter of trust.
    assert result.anchor_problem == ""


def test_chain_of_a_ca(authority, tmp_path):
    root, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle, root]))) as peer:
        result = look(peer, "localhost")
    assert [one.subject for one in result.chain] == ["CN=localhost", "CN=Test Intermediate", "CN=Test Root"]
    assert [one.issuer for one in result.chain] == ["CN=Test Intermediate", "CN=Test Root", "CN=Test Root"]
    assert [one.self_issued for one in result.chain] == [False, False, True]
    assert ids(result) == []
    assert report.exit_status(result) == 0
    assert result.anchor_problem == ""
    assert "self" in result.system_problem


def test_chain_without_its_root(authority, tmp_path):
    _, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle]))) as peer:
        result = look(peer, "localhost")
    assert len(result.chain) == 2
    assert ids(result) == ["probe-chain-incomplete"]
    assert "CN=Test Root" in messages.text(result.findings[0])
    assert result.anchor_problem == ""
    assert report.exit_status(result) == 0


def test_chain_of_certificates_that_do_not_belong_together(authority, tmp_path):
    _, _, server = authority
    stranger = Made("Test Intermediate", ca=True)
    with Peer(speaks_tls(server.files(tmp_path, chain=[stranger]))) as peer:
        result = look(peer, "localhost")
    assert ids(result) == ["probe-chain-unverified"]
    assert report.exit_status(result) == 3


def test_chain_read_by_openssl_is_the_same(authority, tmp_path, monkeypatch):
    monkeypatch.delattr(ssl.SSLObject, "get_unverified_chain", raising=False)
    root, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle, root]))) as peer:
        result = look(peer, "localhost")
    assert [one.subject for one in result.chain] == ["CN=localhost", "CN=Test Intermediate", "CN=Test Root"]
    assert result.chain_note == ""


CLAIMS = {
    "verified": b"\nVerification: OK\n",
    "no error": b"\nVerification error: \n",
    "the whole text": b"\nCertificate chain\n---\nSSL handshake has read 1 bytes\nVerification: OK\n---\n",
    "an exit status": b"\nVerify return code: 0 (ok)\n",
}


@pytest.mark.parametrize("claim", sorted(CLAIMS))
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_what_the_far_side_sends_does_not_make_it_trusted(good, tmp_path, version, claim):
    with Peer(talks_tls(good.files(tmp_path), CLAIMS[claim], ssl.TLSVersion[version])) as peer:
        result = look(peer, "localhost")
    assert result.version == version.replace("_", ".")
    assert "self" in result.system_problem
    assert ids(result) == ["probe-self-signed"]


class Tool(Host):
    """A host whose openssl says what it is told to."""

    def __init__(self, said):
        Host.__init__(self)
        self.said = said

    def run(self, argv, timeout, stdin=b""):
        return 0, self.said


def test_a_text_that_says_verified_is_not_believed(good, tmp_path):
    """An openssl whose text somebody has changed on its way: a connection that verifies decides."""
    text = b"\nCertificate chain\n 0 s:CN = x\n%s---\nVerification: OK\n" % good.pem
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "localhost", host=Tool(text))
    assert "self" in result.system_problem


def test_a_certificate_in_the_name_of_another_is_none(good, tmp_path, monkeypatch):
    monkeypatch.delattr(ssl.SSLObject, "get_unverified_chain", raising=False)
    text = good.pem.decode("ascii")
    made = Made("localhost", dns=["localhost"], attributes=[(NameOID.ORGANIZATION_NAME, text.replace("\n", "")),
                                                            (NameOID.ORGANIZATION_NAME, text)])
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert (len(result.chain), result.chain_note) == (1, "")


@pytest.mark.skipif(not hasattr(ssl.SSLObject, "get_unverified_chain"), reason="this Python shows no chain itself")
def test_chain_without_the_openssl_command(authority, tmp_path):
    root, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle, root]))) as peer:
        result = look(peer, "localhost", host=NoPrograms())
    assert len(result.chain) == 3
    assert result.system_problem is None
    assert ids(result) == []


def test_without_chain_and_openssl_the_servers_certificate_is_shown_and_that_is_said(
        authority, tmp_path, monkeypatch):
    monkeypatch.delattr(ssl.SSLObject, "get_unverified_chain", raising=False)
    root, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle, root]))) as peer:
        result = look(peer, "localhost", host=NoPrograms())
    assert len(result.chain) == 1
    assert "/usr/bin/openssl" in result.chain_note
    # What was not seen is not called missing.
    assert ids(result) == []


def test_ipv6(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path)), family=socket.AF_INET6) as peer:
        result = look(peer)
    assert result.matched == "SAN IP ::1"
    assert result.address == "::1"
    assert result.system_problem
    assert report.exit_status(result) == 0


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_negotiated_version(good, tmp_path, version):
    with s_server(good.files(tmp_path), "-tls" + version) as port:
        result = probe.probe("127.0.0.1:%d" % port, timeout=5)
    check(result)
    assert result.version == "TLSv" + version.replace("_", ".")
    assert result.system_problem


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


def test_server_that_speaks_only_tls_1_1(good, tmp_path):
    with s_server(good.files(tmp_path), "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0") as port:
        result = probe.probe("127.0.0.1:%d" % port, timeout=5)
    check(result)
    assert result.state == results.HANDSHAKE_REFUSED
    assert ids(result) == ["probe-tls-too-old"]
    assert report.exit_status(result) == 1


def test_server_that_answers_with_tls_1_1():
    hello = b"\x02\x00\x00\x26\x03\x02" + bytes(32) + b"\x00\x00\x2f\x00"
    with Peer(says_when_asked(b"\x16\x03\x02" + len(hello).to_bytes(2, "big") + hello)) as peer:
        result = look(peer)
    assert ids(result) == ["probe-tls-too-old"]


def test_handshake_refused_by_an_alert():
    with Peer(says_when_asked(b"\x15\x03\x03\x00\x02\x02\x28")) as peer:
        result = look(peer)
    assert result.state == results.HANDSHAKE_REFUSED
    assert ids(result) == ["probe-handshake-refused"]
    assert "handshake failure" in result.reason
    assert report.exit_status(result) == 1


def test_handshake_cut_off_in_the_middle():
    with Peer(says_when_asked(b"\x16\x03\x03\x02\x00\x02")) as peer:
        result = look(peer)
    assert result.state == results.HANDSHAKE_BROKEN
    assert report.exit_status(result) == 1


@pytest.mark.parametrize("beginning", [b"\x16", b"\x16\x03\x03\x02\x00\x02"], ids=["one byte", "six bytes"])
def test_handshake_that_falls_silent(beginning):
    with Peer(says(beginning)) as peer:
        result = look(peer, timeout=0.4)
    assert result.state == results.TIMED_OUT
    assert "fell silent" in result.reason


# -- TCP ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def without_ssl(monkeypatch):
    """A Python whose ssl cannot be loaded, as where OpenSSL's library is gone."""
    monkeypatch.setitem(sys.modules, "ssl", None)


@pytest.fixture(params=["with ssl", "without ssl"])
def any_python(request):
    """The same is to be seen with both."""
    if request.param == "without ssl":
        request.getfixturevalue("without_ssl")


@pytest.mark.parametrize("handle, evidence", [
    (waits, "waits for more"),
    (echoes, "sends back"),
    (ends_politely, "closes the connection"),
    (closes, "closes the connection"),
    (resets, "closes the connection"),
    (says(b"220 mail.example.com\r\n"), '"220 mail.example.com"'),
    (says_when_asked(b"HTTP/1.1 400 Bad Request\r\n\r\n"), '"HTTP/1.1 400 Bad Request"'),
    (says(b"\x00"), "the bytes 00"),
    (says(b"\x16\x04"), "the bytes 16 04"),
    (says(b"\x1b[31m\r\n"), "the bytes 1b 5b"),
], ids=["waits", "echoes", "ends politely", "closes", "resets", "banner", "http", "one byte", "nearly TLS",
        "escape sequence"])
def test_plain_tcp(any_python, handle, evidence):
    with Peer(handle) as peer:
        result = look(peer, timeout=1.0)
    assert result.state == results.TCP
    assert evidence in result.reason
    assert ids(result) == ["probe-speaks-tcp"]
    assert "clear the box Enable SSL/TLS" in messages.fix(result.findings[0])
    assert report.exit_status(result) == 3
    assert report.fields(result)["tls"] is None
    assert report.fields(result)["name_matches"] is None


@pytest.mark.parametrize("handle", [waits, ends_politely, echoes, says(b"hello\n")],
                         ids=["waits", "ends politely", "echoes", "banner"])
def test_a_plain_peer_gets_a_client_hello_and_a_proper_end_and_nothing_else(any_python, handle):
    with Peer(handle) as peer:
        look(peer, timeout=1.0)
    (got,) = peer.seen
    assert only_a_client_hello(got)


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_a_tls_server_is_recognised_without_ssl(without_ssl, good, tmp_path, version):
    with s_server(good.files(tmp_path), "-tls" + version) as port:
        result = probe.probe("127.0.0.1:%d" % port, timeout=5.0)
    check(result)
    assert (result.state, result.chain) == (results.HANDSHAKE_BROKEN, [])
    assert ids(result) == ["probe-without-ssl"]
    assert report.exit_status(result) == 1


# -- nothing -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def bound():
    """A port that is taken and not listened to."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


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
    assert (result.state, ids(result)) == (results.TCP, ["probe-speaks-tcp"])


def test_process_that_hangs_is_told_from_one_that_waits():
    with bound() as sock:
        sock.listen(5)
        result = probe.probe("127.0.0.1:%d" % sock.getsockname()[1], timeout=0.4)
    check(result)
    assert (result.state, ids(result)) == (results.TIMED_OUT, ["probe-timeout"])
    assert "may hang" in result.reason
    assert report.exit_status(result) == 1


def test_connect_that_nobody_answers():
    # A full backlog: the kernel drops what knocks, as a firewall does.
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
        assert time.monotonic() - start < 1.0
    check(result)
    assert (result.state, ids(result)) == (results.TIMED_OUT, ["probe-timeout"])
    assert "connection attempt" in result.reason


def test_unreachable():
    result = probe.probe("255.255.255.255", timeout=2)
    check(result)
    assert (result.state, ids(result)) == (results.UNREACHABLE, ["probe-unreachable"])
    assert report.exit_status(result) == 1


def test_unknown_interface_of_a_link_local_address():
    result = probe.probe("fe80::1%no-such-interface", timeout=2)
    check(result)
    assert result.state in (results.UNKNOWN_NAME, results.UNREACHABLE)


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
    assert time.monotonic() - start < 1.0
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


# -- hostile peers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("handle, states", [
    (says(b"\x00\xff" * (5 * 1024 * 1024)), [results.TCP]),
    (says(b"x" * (10 * 1024 * 1024)), [results.TCP]),
    (says(b"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + bytes(10 * 1024 * 1024)), [results.HANDSHAKE_BROKEN]),
    (says(b"\x15\x03\x03\x00\x02\x01\x00" * 1000000), [results.HANDSHAKE_BROKEN, results.HANDSHAKE_REFUSED]),
    (says(b"\x14\x03\x03\x00\x01\x01" * 1000000), [results.HANDSHAKE_BROKEN]),
    (says(b"\x17\x03\x03\x40\x00" + os.urandom(1024 * 1024)), [results.HANDSHAKE_BROKEN]),
    (drips(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(16 * 1024), 0.01), [results.TIMED_OUT]),
    (drips(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(16 * 1024), 0.0003), [results.TIMED_OUT]),
], ids=["binary", "text", "huge message", "warning alerts", "change cipher specs", "data", "drips",
        "drips fast"])
def test_hostile_peer_costs_bounded_time(handle, states):
    with Peer(handle) as peer:
        result = look(peer, timeout=1.0)
    assert result.state in states
    assert len(json.dumps(report.fields(result))) < 4096


class AlwaysMore:
    """A socket whose peer has the next byte ready whenever it is asked, so that no time limit of its own helps."""

    def __init__(self):
        self.reads = 0

    def settimeout(self, seconds):
        assert seconds < 1.0

    def sendall(self, data):
        pass

    def shutdown(self, how):
        pass

    def close(self):
        pass

    def recv(self, count):
        self.reads += 1
        return b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"[self.reads - 1:self.reads] or b"\0"


def test_a_peer_that_always_has_one_more_byte_does_not_outlast_the_deadline():
    sock = AlwaysMore()
    with pytest.raises(socket.timeout):
        handshake.Shake(sock, handshake.context(), None).run(connection.Deadline(0))
    connection.farewell(sock, 0)
    assert sock.reads == 0


def test_bytes_before_the_end_of_a_handshake_are_limited(good, tmp_path, monkeypatch):
    monkeypatch.setattr(handshake, "HANDSHAKE_LIMIT", 4000)
    with Peer(speaks_tls(good.files(tmp_path, chain=[good] * 29))) as peer:
        result = look(peer, "localhost")
    assert result.state == results.HANDSHAKE_BROKEN
    assert "more than 4000 bytes" in result.reason


def test_long_chain_is_cut(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path, chain=[good] * 29))) as peer:
        result = look(peer, "localhost")
    assert len(result.chain) == details.CHAIN_LIMIT
    assert result.chain_note == "14 more certificates were sent"


def test_chain_larger_than_openssl_reads(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path, chain=[good] * 600))) as peer:
        result = look(peer, "localhost")
    assert result.state == results.HANDSHAKE_BROKEN
    assert "message" in result.reason


def test_names_in_a_certificate_cannot_write_to_the_terminal(tmp_path):
    evil = "\x1b[2J\r\n  !  all is well [x]\u202e\u00fc" + "A" * 40
    made = Made(evil, attributes=[(NameOID.ORGANIZATION_NAME, evil)] * 20)
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert evil in result.chain[0].subject
    assert ids(result) == ["probe-name-mismatch", "probe-self-signed"]
    assert all(len(line) < 600 for line in report.lines(result))


def test_certificate_with_a_thousand_names(tmp_path):
    made = Made("x", dns=["host%d.example.com" % n for n in range(1000)])
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "host999.example.com")
    assert result.matched == "SAN DNS host999.example.com"
    assert any("and 988 more" in line for line in report.lines(result))


def test_certificate_that_cannot_be_read_is_a_finding(good, tmp_path, monkeypatch):
    def unread(der):
        raise ValueError("it is cut off")

    monkeypatch.setattr(details.x509, "read", unread)
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert ids(result) == ["probe-certificate-unreadable"]
    assert report.exit_status(result) == 3
    assert report.fields(result)["name_matches"] is None


# -- telling -----------------------------------------------------------------------------------------------------------


def test_lines_of_a_good_server(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    text = "\n".join(report.lines(result))
    for part in (
        "127.0.0.1 port %d" % peer.port, result.version, "localhost matches (SAN DNS localhost)",
        "itself (self-signed)", result.chain[0].sha1, result.chain[0].sha256,
        "DNS localhost, DNS *.tke.example.com, IP 127.0.0.1, IP ::1",
        "tick the box Enable SSL/TLS; Host Name/IP localhost", "i  the certificate is self-signed",
    ):
        assert part in text
    assert "!" not in text


def test_fields_are_those_that_are_documented(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        fields = report.fields(look(peer, "localhost"))
    assert sorted(fields) == [
        "address", "chain", "chain_note", "failed_addresses", "findings", "host", "name", "name_found_in",
        "name_matches", "port", "reason", "state", "tls", "trust",
    ]
    for name in list(fields) + list(fields["chain"][0]) + list(fields["trust"]) + list(fields["findings"][0]):
        assert name in report.fields.__doc__
    assert fields["trust"]["anchor"] is True
    assert fields["trust"]["system"] is False

