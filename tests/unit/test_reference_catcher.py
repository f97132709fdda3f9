"""The reference catcher, over real sockets: each test starts payload/reference's catcher.exe as a process.

The core behaviour runs under every Python that pyenv has here, the rest under the Python that runs the tests.
"""

import contextlib
import datetime
import functools
import hashlib
import importlib.machinery
import importlib.util
import ipaddress
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa

SOURCE = Path(__file__).resolve().parents[2] / "payload/reference/opt/IBM/CCA/bin/catcher.exe"
MEGABYTE = 1024 * 1024
PATIENCE = 10.0     # seconds until a condition that should come at once is taken for one that never will


# ------------------------------------------------------------------------------------------------------ interpreters

def pythons():
    """One parameter for each Python from 3.6 to 3.14, skipped where pyenv does not have it."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(6, 15):
        found = sorted(root.glob("3.%d.*/bin/python3" % minor))
        marks = [] if found else [pytest.mark.skip(reason="no Python 3.%d below %s" % (minor, root))]
        yield pytest.param(str(found[-1]) if found else None, id="py3.%d" % minor, marks=marks)


@pytest.fixture(params=pythons())
def python(request):
    return request.param


# -------------------------------------------------------------------------------------------------------------- pairs

def certificate(public_key, signer, name="localhost", issuer="localhost"):
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    algorithm = None if isinstance(signer, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()
    return x509.CertificateBuilder(
        subject_name=subject, issuer_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]),
        public_key=public_key, serial_number=x509.random_serial_number(), not_valid_before=now,
        not_valid_after=now + datetime.timedelta(days=1),
    ).add_extension(x509.SubjectAlternativeName([
        x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1"))]), critical=False).sign(signer, algorithm)


def key_pem(key, form=serialization.PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())


def crt_pem(crt):
    return crt.public_bytes(serialization.Encoding.PEM)


@functools.lru_cache(None)
def private_key(kind):
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, int(kind.split()[1]))
    if kind.startswith("DSA"):
        return dsa.generate_private_key(1024)
    if kind in ("Ed25519", "Ed448"):
        return (ed25519.Ed25519PrivateKey if kind == "Ed25519" else ed448.Ed448PrivateKey).generate()
    return ec.generate_private_key({
        "prime256v1": ec.SECP256R1(), "secp384r1": ec.SECP384R1(), "secp521r1": ec.SECP521R1(),
        "secp256k1": ec.SECP256K1(), "secp224r1": ec.SECP224R1()}[kind])


@functools.lru_cache(None)
def pair(kind="prime256v1"):
    """(key, certificate) in PEM, of a key of KIND."""
    key = private_key(kind)
    return key_pem(key), crt_pem(certificate(key.public_key(), key))


def rsa_of_any_size(bits):
    """A certificate for an RSA public key of BITS bits that nobody has the private key of: made at once."""
    modulus = (1 << bits - 1) | random.getrandbits(bits - 1) | 1
    return crt_pem(certificate(rsa.RSAPublicNumbers(65537, modulus).public_key(), private_key("prime256v1")))


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=20, **options).stdout


# ---------------------------------------------------------------------------------------------------------- processes

class Catcher:
    """A running catcher: its process, the lines that it has logged, and the port that it says it has."""

    def __init__(self, argv, environment, **options):
        self.process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, **options)
        self.lines: list[str] = []
        self.changed = threading.Condition()
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode().rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    @property
    def log(self):
        return "\n".join(self.lines)

    def wait_for(self, pattern, count=1):
        """Waits until COUNT lines match PATTERN, and returns the last of them."""
        def found():
            return [line for line in self.lines if re.search(pattern, line)]
        with self.changed:
            self.changed.wait_for(lambda: len(found()) >= count or self.ended, PATIENCE)
            assert len(found()) >= count, "no line matches %r:\n%s" % (pattern, self.log)
            return found()[-1]

    @functools.cached_property
    def port(self):
        return int(re.search(r"port (\d+)", self.wait_for("listening on port")).group(1))

    def exit_status(self):
        status = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return status

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.exit_status()

    def resident(self):
        """Resident memory in bytes."""
        return int(Path("/proc/%d/statm" % self.process.pid).read_text().split()[1]) * resource.getpagesize()

    def cpu(self):
        """Seconds of processor time used."""
        fields = Path("/proc/%d/stat" % self.process.pid).read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connect(self, host="127.0.0.1"):
        sock = socket.create_connection((host, self.port), timeout=PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


def free_port():
    """A port that nobody listens on, in IPv4 and IPv6. It lies below the ports of outgoing connections, of which one
    could take it before the catcher does: that is the trouble that port 50003 really has."""
    while True:
        port = random.SystemRandom().randrange(20000, 32000)
        with socket.socket() as four, socket.socket(socket.AF_INET6) as six:
            six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                four.bind(("0.0.0.0", port))
                six.bind(("::", port))
            except OSError:
                continue
        return port


@pytest.fixture
def start(tmp_path):
    """start(*ARGUMENTS, python=, pair=, conf=..., **options of Popen) -> Catcher. At the end each must stop cleanly."""
    program = tmp_path / "opt/IBM/CCA/bin/catcher.exe"
    program.parent.mkdir(parents=True)
    shutil.copy(SOURCE, program)
    conf = tmp_path / "reference-catcher.conf"
    running = []

    def start(*arguments, python=sys.executable, pair=None, environment=None, text=None, options=None, **settings):
        if pair:
            for name, data in zip(("catcher.key", "catcher.crt"), pair, strict=True):
                if data is not None:
                    (program.parent / name).write_bytes(data)
        settings.setdefault("port", free_port())
        conf.write_text(text if text is not None else "".join("%s=%s\n" % item for item in settings.items()))
        prefix = [python, "-I", "-S"] if python else []
        environment = dict(environment or {}, REFERENCE_CATCHER_CONF=str(conf))
        catcher = Catcher([*prefix, str(program), *arguments], environment, **(options or {}))
        running.append(catcher)
        return catcher

    start.directory = program.parent
    yield start
    for catcher in running:
        if catcher.process.poll() is None:
            catcher.process.send_signal(signal.SIGTERM)
        try:
            catcher.process.wait(PATIENCE)
        finally:
            catcher.process.kill()
        catcher.reader.join(PATIENCE)
        catcher.process.stderr.close()
        assert "Traceback" not in catcher.log and "unexpected error" not in catcher.log, catcher.log


@pytest.fixture
def refusal(start):
    """refusal(STATUS, ...) starts a catcher that must refuse to start with STATUS, and returns what it said."""
    def refusal(status, *arguments, **options):
        catcher = start(*arguments, **options)
        assert catcher.exit_status() == status, catcher.log
        assert len(catcher.lines) == (1 if status == 2 else 2), catcher.log
        return catcher.log
    return refusal


@pytest.fixture
def module():
    """catcher.exe as a module, for what no process can show."""
    loader = importlib.machinery.SourceFileLoader("reference_catcher", str(SOURCE))
    spec = importlib.util.spec_from_loader("reference_catcher", loader)
    assert spec
    loaded = importlib.util.module_from_spec(spec)
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        loader.exec_module(loaded)
    finally:
        sys.dont_write_bytecode = written
    return loaded


# ------------------------------------------------------------------------------------------------- clients, backends

def tls_context(catcher_pair, version=None, small=False):
    context = ssl.create_default_context(cadata=catcher_pair[1].decode())
    if version:
        context.minimum_version = context.maximum_version = version
    if small:
        context.set_ciphers("DEFAULT@SECLEVEL=1")
    return context


class TlsClient:
    """A blocking TLS client on memory BIOs: it can end its half of the stream and read on, as a TLS peer may."""

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


def connect_tls(catcher, catcher_pair, **options):
    return TlsClient(catcher.connect(), tls_context(catcher_pair, **options))


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
    """A server that calls SERVE(socket) in a thread for each connection, and keeps what it raised."""

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


@pytest.fixture
def backend():
    """backend(SERVE, path=None) -> Backend."""
    made = []

    def backend(serve, path=None):
        made.append(Backend(serve, path))
        return made[-1]

    yield backend
    for server in made:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()


def echo(sock):
    while True:
        data = sock.recv(65536)
        if not data:
            return
        sock.sendall(data)


def eventually(condition, what):
    """Waits until CONDITION() is true."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came true that " + what
        select.select([], [], [], 0.01)


def standstill(counts):
    """Waits until the numbers in COUNTS have not changed for 0.3 s."""
    last, since, end = list(counts), time.monotonic(), time.monotonic() + PATIENCE
    while time.monotonic() < since + 0.3:
        assert time.monotonic() < end, "it never came to a standstill"
        select.select([], [], [], 0.02)
        if counts != last:
            last, since = list(counts), time.monotonic()


# ------------------------------------------------------------------------------- core behaviour, under every Python

def test_tcp_without_a_backend_says_so_and_closes(start, python):
    catcher = start(python=python)
    assert "TCP without TLS" in catcher.wait_for("listening")
    for host in ("127.0.0.1", "::1"):
        with catcher.connect(host) as client:
            assert client.recv(1) == b""
    catcher.wait_for(r"127\.0\.0\.1:\d+: TCP: no backend is configured in \S+reference-catcher.conf, closed$")
    catcher.wait_for(r"\[::1\]:\d+: TCP: no backend is configured")
    assert catcher.stop() == 0


def test_tls_1_2_and_1_3_are_negotiated(start, python):
    catcher = start("-tls", python=python, pair=pair())
    assert "TLS 1.2 or newer, key prime256v1" in catcher.wait_for("listening")
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        client = connect_tls(catcher, pair(), version=version)
        assert client.tls.version() == name
        assert client.recv(1) == b"", "the end must be a close_notify"
        client.close()
        catcher.wait_for(r": %s \S*AES\S*: no backend" % re.escape(name))
    assert catcher.stop() == 0


OLD_CLIENT = ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


def test_tls_1_1_is_refused_whatever_the_key(start, python):
    for kind in ("prime256v1", "RSA 1024"):
        catcher = start("-tls", python=python, pair=pair(kind))
        answer = subprocess.run(["openssl", "s_client", "-connect", "localhost:%d" % catcher.port, *OLD_CLIENT],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        assert "alert protocol version" in answer.stderr
        catcher.wait_for("handshake failed: the peer offers no TLS 1.2 or newer")
        catcher.stop()


def test_the_client_that_is_refused_can_speak_tls_1_1(tmp_path):
    """The proof that the test above sees the catcher's refusal and not its own client's."""
    for name, data in zip(("key", "crt"), pair("RSA 1024"), strict=True):
        (tmp_path / name).write_bytes(data)
    port = free_port()
    with subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-key", tmp_path / "key", "-cert",
                           tmp_path / "crt", "-naccept", "1", *OLD_CLIENT], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        while "ACCEPT" not in server.stdout.readline():
            assert server.poll() is None
        answer = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, *OLD_CLIENT], input="Q\n",
                                capture_output=True, text=True, timeout=PATIENCE)
        server.kill()
    assert "New, TLSv1.0, Cipher is ECDHE" in answer.stdout or "Protocol  : TLSv1.1" in answer.stdout
    assert "Cipher is (NONE)" not in answer.stdout


def test_relay_over_tls_keeps_half_closed_streams(start, backend, python):
    """The backend answers only after the client's end, and the client's end is a close_notify."""
    def hash_all(sock):
        sock.sendall(hashlib.sha256(read_all(sock)).digest())

    catcher = start("-tls", python=python, pair=pair(), backend=backend(hash_all).name)
    data = random.randbytes(MEGABYTE)
    client = connect_tls(catcher, pair())
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == hashlib.sha256(data).digest()
    catcher.wait_for(r"TLSv1.3 \S+: ended, %d bytes to the backend, 32 from it" % MEGABYTE)


def test_ps_shows_the_documented_command_line(start, python):
    for arguments in ([], ["-tls"]):
        catcher = start(*arguments, python=python, pair=pair())
        catcher.wait_for("listening")
        shown = subprocess.run(["ps", "-ww", "-o", "comm=,args=", "-p", str(catcher.process.pid)], check=True,
                               capture_output=True, text=True)
        words = [str(start.directory / "catcher.exe"), *arguments]
        assert shown.stdout.split() == ["catcher.exe", *words]
        cmdline = Path("/proc/%d/cmdline" % catcher.process.pid).read_bytes()
        assert cmdline.rstrip(b"\0").split(b"\0") == [word.encode() for word in words]
        catcher.stop()


@pytest.mark.parametrize("kind", ["RSA 1024", "RSA 2048", "secp521r1"])
def test_handshake_with_each_kind_of_key_under_every_python(start, python, kind):
    catcher = start("-tls", python=python, pair=pair(kind))
    client = connect_tls(catcher, pair(kind), small=kind == "RSA 1024")
    assert client.recv(1) == b""


# ----------------------------------------------------------------------------------------------------------- the pair

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["RSA 1024", "RSA 2047", "RSA 2048", "RSA 4096", "prime256v1", "secp384r1",
                                  "secp521r1"])
def test_supported_keys(start, kind, version):
    catcher = start("-tls", pair=pair(kind))
    assert "key " + kind in catcher.wait_for("listening")
    small = kind in ("RSA 1024", "RSA 2047")
    assert ("use 2048 or more" in catcher.log) is small
    client = connect_tls(catcher, pair(kind), version=version, small=small)
    assert client.recv(1) == b""


@pytest.mark.parametrize("kind", ["Ed25519", "Ed448", "secp256k1", "secp224r1", "DSA"])
def test_unsupported_kinds_of_key(refusal, kind):
    said = refusal(78, "-tls", pair=pair(kind))
    assert "unsupported key: " + kind in said and "use RSA 2048 to 4096" in said


@pytest.mark.parametrize("bits", [1023, 4097, 8192])
def test_unsupported_sizes_of_rsa(refusal, bits):
    assert "unsupported key: RSA of %d bits" % bits in refusal(78, "-tls", pair=(pair()[0], rsa_of_any_size(bits)))


def test_rsa_pss_and_unnamed_curves_are_unsupported(refusal):
    for algorithm, options, said in (
            ("RSA-PSS", ["-pkeyopt", "rsa_keygen_bits:2048"], "RSASSA-PSS"),
            ("EC", ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-pkeyopt", "ec_param_enc:explicit"],
             "an EC key whose curve has no name")):
        key = openssl("genpkey", "-algorithm", algorithm, *options)
        crt = openssl("req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=localhost", input=key)
        assert "unsupported key: " + said in refusal(78, "-tls", pair=(key, crt))


def test_a_chain_is_sent(start):
    authority, leaf = private_key("secp384r1"), private_key("prime256v1")
    root = certificate(authority.public_key(), authority, name="authority", issuer="authority")
    crt = certificate(leaf.public_key(), authority, issuer="authority")
    catcher = start("-tls", pair=(key_pem(leaf), b"A comment\n" + crt_pem(crt) + crt_pem(root)))
    shown = openssl("s_client", "-connect", "localhost:%d" % catcher.port, "-showcerts", input=b"").decode()
    assert shown.count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("form", ["traditional", "CRLF", "with EC PARAMETERS", "key and certificate in each"])
def test_forms_of_pem(start, form):
    key, crt = pair()
    if form == "traditional":
        key = key_pem(private_key("prime256v1"), serialization.PrivateFormat.TraditionalOpenSSL)
    elif form == "CRLF":
        key, crt = (data.replace(b"\n", b"\r\n") for data in (key, crt))
    elif form == "with EC PARAMETERS":
        key = openssl("ecparam", "-name", "prime256v1", "-genkey")
        crt = openssl("req", "-x509", "-key", "/dev/stdin", "-subj", "/CN=localhost", input=key)
        assert b"EC PARAMETERS" in key
    else:
        key, crt = key + crt, key + crt
    start("-tls", pair=(key, crt)).wait_for("listening")


def broken_pairs():
    key, crt = pair()
    encrypted = key_pem(private_key("prime256v1"), encryption=serialization.BestAvailableEncryption(b"secret"))
    middle = len(crt) // 2
    return {
        "neither": (None, None, "are missing"),
        "no certificate": (key, None, "catcher.crt is missing, and"),
        "no key": (None, crt, "catcher.key is missing, and"),
        "mismatched": (pair("RSA 2048")[0], crt, "does not belong to"),
        "mismatched, same kind": (key_pem(ec.generate_private_key(ec.SECP256R1())), crt, "does not belong to"),
        "swapped": (crt, key, "catcher.crt: not a certificate: no whole certificate in PEM"),
        "empty key": (b"", crt, "catcher.key: is empty"),
        "key is not PEM": (b"\x00\x01\x02", crt, "catcher.key: is not PEM"),
        "DER certificate": (key, x509.load_pem_x509_certificate(crt).public_bytes(serialization.Encoding.DER),
                            "catcher.crt: is not PEM"),
        "cut certificate": (key, crt[:middle], "not a certificate: no whole certificate in PEM"),
        "damaged certificate": (key, crt[:30] + b"A" * 40 + crt[70:], "not a certificate: unexpected"),
        "shortened certificate": (key, b"\n".join(crt.split(b"\n")[:2] + crt.split(b"\n")[-2:]),
                                  "not a certificate: cut off"),
        "cut key": (key[:len(key) // 2], crt, "OpenSSL refuses the pair"),
        "encrypted key": (encrypted, crt, "catcher.key is encrypted"),
        "huge": (key + b"\n" * 300000, crt, "is larger than 262144 bytes"),
    }


@pytest.mark.parametrize("case", list(broken_pairs()))
def test_unusable_pairs(refusal, case):
    key, crt, said = broken_pairs()[case]
    log = refusal(78, "-tls", pair=(key, crt))
    assert said in log
    assert "catcherctl" in log or "systemctl restart" in log


def test_files_of_the_pair_that_are_no_files(refusal, start):
    os.mkfifo(start.directory / "catcher.key")
    assert "is not a regular file" in refusal(78, "-tls", pair=(None, pair()[1]))
    (start.directory / "catcher.key").unlink()
    (start.directory / "catcher.key").symlink_to("nowhere")
    assert "cannot be read: No such file" in refusal(78, "-tls", pair=(None, pair()[1]))


def test_the_security_level_is_lowered_for_small_keys_only(module, tmp_path):
    levels = {}
    for kind in ("RSA 1024", "RSA 2048", "secp521r1"):
        for name, data in zip(("catcher.key", "catcher.crt"), pair(kind), strict=True):
            (tmp_path / name).write_bytes(data)
        context = module.Pair(str(tmp_path)).context()
        levels[kind] = context.security_level
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert all(cipher["aead"] for cipher in context.get_ciphers())
    untouched = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).security_level
    assert levels == {"RSA 1024": 1, "RSA 2048": untouched, "secp521r1": untouched}


def test_the_context_is_made_of_the_bytes_that_were_checked(module, tmp_path):
    for name, data in zip(("catcher.key", "catcher.crt"), pair(), strict=True):
        (tmp_path / name).write_bytes(data)
    checked = module.Pair(str(tmp_path))
    for name in ("catcher.key", "catcher.crt"):
        (tmp_path / name).write_bytes(b"replaced")
    assert checked.context()


def test_a_damaged_certificate_is_read_within_bounds(module):
    der = x509.load_pem_x509_certificate(pair("RSA 2048")[1]).public_bytes(serialization.Encoding.DER)
    assert module.public_key(der) == ("RSA", 2048)
    generator = random.Random(1)
    for _ in range(3000):
        damaged = bytearray(der[:generator.randrange(len(der) + 1)] if generator.random() < 0.3 else der)
        for _ in range(generator.randrange(4)):
            if damaged:
                damaged[generator.randrange(min(len(damaged), 400))] = generator.randrange(256)
        try:
            module.public_key(bytes(damaged))
        except ValueError:
            continue    # the only exception it may raise


# -------------------------------------------------------------------------------------------------------------- relay

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
        # One thread: an ssl socket is not for two.
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
    """The other half-close: after the backend's end the client sends on, and no byte of it is lost."""
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
    """As above, but when the end comes, what the client sent fills every buffer, OpenSSL's too."""
    held_up, sent, got = threading.Event(), [0], []
    block = random.randbytes(65536)

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
        for _ in range(512):
            client.sendall(block)
            sent[0] += len(block)
        client.shutdown(socket.SHUT_WR)

    pusher = threading.Thread(target=push)
    pusher.start()
    eventually(lambda: sent[0], "the client sent something")
    standstill(sent)
    assert sent[0] < 512 * len(block)
    held_up.set()
    pusher.join(PATIENCE)
    eventually(lambda: got, "the backend saw the end")
    assert got == [512 * len(block)]
    assert read_all(client) == b"question"
    client.close()


@pytest.mark.parametrize("mode", ["tcp", "tls"])
def test_a_slow_reader_costs_no_memory(start, backend, mode):
    """Back-pressure in both directions: neither a client nor a backend that does not read makes the catcher grow."""
    offered, go_on, sums = 64 * MEGABYTE, threading.Event(), []
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
            for _ in range(32):
                client.sendall(block)
                sent[1] += MEGABYTE
            client.shutdown(socket.SHUT_WR)
        except OSError as error:
            failed.append(error)

    # Nobody reads: both senders must come to a halt, far from what they want to send.
    pusher = threading.Thread(target=push, daemon=True)
    pusher.start()
    eventually(lambda: sent[0] and sent[1], "both sides sent something")
    standstill(sent)
    assert sent[0] < offered and sent[1] < 32 * MEGABYTE
    assert catcher.resident() - before < 4 * MEGABYTE
    idle = catcher.cpu()
    select.select([], [], [], 0.3)
    assert catcher.cpu() - idle < 0.1, "a blocked relay must not spin"
    if mode == "tcp":   # (a TLS client of one thread cannot read while its own write waits)
        total = sum(iter(lambda: len(client.recv(MEGABYTE)), 0))
        assert total == offered
        go_on.set()
        pusher.join(PATIENCE)
        eventually(lambda: sums == [32 * MEGABYTE], "the backend got everything")
        assert catcher.resident() - before < 4 * MEGABYTE
        assert not failed
    else:
        client.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that is still sending
    pusher.join(PATIENCE)
    client.close()


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


TWO_ADDRESSES = """
import importlib.machinery, importlib.util, sys
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("catcher", sys.argv[1])
catcher = importlib.util.module_from_spec(importlib.util.spec_from_loader("catcher", loader))
loader.exec_module(catcher)
catcher.backend_addresses = lambda settings: [(2, ("127.0.0.1", int(port))) for port in sys.argv[2:]]
sys.exit(catcher.main(sys.argv[1:2]))
"""


def test_every_address_of_the_backend_is_tried(backend, tmp_path):
    """As for a name of two addresses where the first has no listener."""
    server = backend(echo)
    (tmp_path / "conf").write_text("port=%d\nbackend=%s\n" % (free_port(), server.name))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        ports = [str(closed.getsockname()[1]), server.name.rpartition(":")[2]]
        catcher = Catcher([sys.executable, "-c", TWO_ADDRESSES, str(SOURCE), *ports],
                          {"REFERENCE_CATCHER_CONF": str(tmp_path / "conf")})
        with catcher.connect() as client:
            client.sendall(b"ping")
            assert read_exactly(client, 4) == b"ping"
        assert catcher.stop() == 0


# ------------------------------------------------------------------------------------------------------------- bounds

def test_200_idle_and_50_half_open_connections_do_not_stop_the_next(start, backend):
    catcher = start("-tls", pair=pair(), backend=backend(echo).name)
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
    catcher = start("-tls", pair=pair(), max_connections=5)
    with contextlib.ExitStack() as stack:
        half_open = [stack.enter_context(catcher.connect()) for _ in range(5)]
        client = connect_tls(catcher, pair())
        assert client.recv(1) == b""
        assert half_open[0].recv(1) == b""
        catcher.wait_for(r":%d: TLS: no handshake yet, ended to make room" % half_open[0].getsockname()[1])


def test_one_connection_too_many_is_refused_and_the_others_live_on(start, backend):
    catcher = start(backend=backend(echo).name, max_connections=3)
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


def test_hostile_traffic_does_not_flood_the_log(start):
    catcher = start()
    for _ in range(300):
        with catcher.connect() as client:
            assert client.recv(1) == b""
    catcher.stop()
    assert len(catcher.lines) < 210
    assert re.search(r"\d+ more lines about connections were suppressed", catcher.log)


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
    # A cache without bound takes 2 MB more here. Flat is less than 1: memory comes in arenas.
    assert catcher.resident() - before < MEGABYTE


def test_memory_stays_flat_over_20000_connections(start):
    """Of every kind that a port in a network meets: whole handshakes, silence, half a greeting, garbage, a reset."""
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
    # Each kind is served still, and the last of them was.
    shake(catcher.connect())
    # Memory comes in arenas of up to 1 MiB: one or two are no leak. Half a kilobyte left by each connection were 9 MiB.
    assert catcher.resident() - before < 3 * MEGABYTE


# ---------------------------------------------------------------------------------------------------- start and stop

def test_a_stop_lets_a_busy_relay_finish(start, backend):
    catcher = start("-tls", pair=pair(), backend=backend(echo).name)
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


def test_a_stop_ends_a_resting_relay_with_close_notify(start, backend):
    catcher = start("-tls", pair=pair(), backend=backend(echo).name)
    client = connect_tls(catcher, pair())
    catcher.wait_for("relayed to")
    began = time.monotonic()
    catcher.process.send_signal(signal.SIGTERM)
    assert client.recv(1) == b""
    assert catcher.exit_status() == 0
    assert time.monotonic() - began < 3
    catcher.wait_for("ended by the stop of the catcher")


def test_a_stop_is_bounded(start, backend):
    """A relay that never rests does not hold up the stop for more than the drain's 5 seconds."""
    catcher = start(backend=backend(lambda sock: [sock.sendall(bytes(65536)) for _ in iter(int, 1)]).name)
    with catcher.connect() as client:
        catcher.wait_for("relayed to")
        began = time.monotonic()
        catcher.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(ConnectionError):
            while client.recv(MEGABYTE):
                continue
        assert catcher.exit_status() == 0
        assert 4 < time.monotonic() - began < 7


def test_sighup_does_not_end_it(start):
    catcher = start()
    catcher.wait_for("listening")
    assert catcher.port
    catcher.process.send_signal(signal.SIGHUP)
    with catcher.connect() as client:
        assert client.recv(1) == b""
    assert catcher.stop() == 0


def test_a_closed_log_does_not_end_it(tmp_path):
    (tmp_path / "conf").write_text("port=%d\n" % free_port())
    with subprocess.Popen([sys.executable, "-I", SOURCE], env={"REFERENCE_CATCHER_CONF": str(tmp_path / "conf")},
                          stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        port = int(process.stderr.readline().split()[4])
        process.stderr.close()
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                assert client.recv(1) == b""
        process.terminate()
        assert process.wait(PATIENCE) == 0


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


def test_the_default_port_is_50003(module):
    assert module.Settings("/nonexistent").port == 50003


def test_a_restart_gets_its_port_back_at_once(start):
    catcher = start()
    port = catcher.port
    with catcher.connect() as client:
        assert client.recv(1) == b""        # the catcher closed first: TIME_WAIT is on its side
    assert catcher.stop() == 0
    assert start(port=port).port == port


def test_a_system_without_ipv6(module, monkeypatch, tmp_path):
    """No system call filter here can take IPv6 from one process, so the socket module plays the kernel's part."""
    class NoIpv6(socket.socket):
        def __init__(self, family=socket.AF_INET, *arguments, **options):
            if family == socket.AF_INET6:
                raise OSError(97, "Address family not supported by protocol")
            super().__init__(family, *arguments, **options)

    conf = tmp_path / "conf"
    conf.write_text("port=%d\n" % free_port())
    monkeypatch.setattr(module.socket, "socket", NoIpv6)
    said = []
    sockets = module.listen(module.Settings(str(conf)), lambda priority, text: said.append(text))
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


@pytest.mark.parametrize("arguments", [["-TLS"], ["-tls", "-tls"], ["--help"], [""], ["-tls "]])
def test_any_other_argument_is_a_usage_error(refusal, arguments):
    assert refusal(2, *arguments) == "catcher.exe: usage: catcher.exe [-tls]"


@pytest.mark.parametrize("text, said", [
    ("backend", "line 1: not one of backend=, handshake_timeout="),
    ("# fine\n\ncolour=red", "line 3: not one of"),
    ("port=1\nport=1", "line 2: not one of"),
    ("port=70000", "line 1: port= wants a number from 1 to 65535"),
    ("max_connections=0", "max_connections= wants a number from 1 to 4096"),
    ("idle_timeout=nan", "idle_timeout= wants a number from 0.1 to 86400"),
    ("handshake_timeout=1e9", "handshake_timeout= wants a number"),
    ("backend=nowhere", "backend= wants HOST:PORT"),
    ("backend=unix:relative", "backend= wants HOST:PORT"),
    ("backend=host:0", "backend= wants a number from 1 to 65535"),
    ("backend=/" + "x" * 107, "backend= is a longer path than a socket may have"),
    ("listen=localhost", "listen= wants numeric addresses"),
    ("\x00\x01\x02", "line 1: not one of"),
])
def test_a_bad_configuration_file(refusal, text, said):
    log = refusal(78, text=text)
    assert said in log and "systemctl restart CSUTKEcat" in log


def test_a_configuration_file_that_is_none(refusal, tmp_path):
    for make, said in ((os.mkdir, "cannot be read: Is a directory"), (os.mkfifo, "is not a regular file"),
                       (lambda path: Path(path).write_bytes(b"\xff\xfe"), "is not text in UTF-8"),
                       (lambda path: Path(path).write_bytes(b"#" * 70000), "is larger than 65536 bytes")):
        path = tmp_path / "other.conf"
        make(path)
        catcher = subprocess.run([sys.executable, "-I", SOURCE], env={"REFERENCE_CATCHER_CONF": str(path)}, text=True,
                                 capture_output=True, timeout=PATIENCE)
        assert catcher.returncode == 78 and said in catcher.stderr, catcher.stderr
        assert len(catcher.stderr.splitlines()) == 2
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_backend_whose_name_nobody_knows(refusal):
    assert "the backend's name nowhere.invalid cannot be looked up" in refusal(1, backend="nowhere.invalid:1")


def test_the_journal_gets_priorities(start, tmp_path):
    reader, writer = os.pipe()
    with os.fdopen(reader) as log:
        status = os.fstat(writer)
        environment = {"JOURNAL_STREAM": "%d:%d" % (status.st_dev, status.st_ino)}
        environment["REFERENCE_CATCHER_CONF"] = str(tmp_path / "conf")
        (tmp_path / "conf").write_text("port=%d\n" % free_port())
        with subprocess.Popen([sys.executable, "-I", SOURCE], env=environment, stderr=writer) as process:
            os.close(writer)
            assert log.readline().startswith("<6>listening on port")
            process.terminate()
            assert log.readlines() == ["<6>stopping, 0 connections\n", "<6>stopped\n"]


def test_the_file_starts_itself_in_a_hostile_environment(start):
    """The first lines are sh: they find the system's Python without PATH, and take nothing from the environment."""
    if not any(os.access(path, os.X_OK) for path in ("/usr/bin/python3", "/usr/libexec/platform-python")):
        pytest.skip("the system has no Python of its own")
    for name in ("socket.py", "selectors.py", "sitecustomize.py"):
        (start.directory / name).write_text("raise SystemExit('imported from the directory of the catcher')")
    bad = str(start.directory)
    catcher = start("-tls", python=None, pair=pair(), environment={
        "PATH": "/nonexistent", "PYTHONPATH": bad, "PYTHONHOME": bad, "PYTHONSTARTUP": bad, "LD_LIBRARY_PATH": bad,
        "OPENSSL_CONF": bad, "OPENSSL_MODULES": bad, "LC_ALL": "C"})
    catcher.wait_for("listening")
    assert Path("/proc/%d/comm" % catcher.process.pid).read_text() == "catcher.exe\n"
    assert connect_tls(catcher, pair()).recv(1) == b""
