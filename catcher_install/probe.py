"""What a TKE meets at the other end: TLS with which certificate, plain TCP, or nothing.

A peer gets a TLS ClientHello and, where it answers with TLS, whole handshakes; never any other data. Nothing that it
sends is trusted: time, bytes and certificates are bounded, and no text of it reaches a terminal unescaped.
"""

import hashlib
import ipaddress
import re
import socket
import time

from . import certificate, paths
from .errors import CatcherError, MissingDependency
from .host import Host
from .moment import moment
from .record import Record

MYPY = False
if MYPY:
    from typing import Any, Dict, List, Optional, Tuple

TIMEOUT = 10

# States
TLS = "tls"
TCP = "tcp"
UNKNOWN_NAME = "unknown-name"
REFUSED = "refused"
UNREACHABLE = "unreachable"
TIMED_OUT = "timeout"
HANDSHAKE_REFUSED = "handshake-refused"
HANDSHAKE_BROKEN = "handshake-broken"

# OpenSSL reads a chain of 100 KiB at most; whoever sends more than this before a handshake ends is not a TLS server.
HANDSHAKE_LIMIT = 256 * 1024
HEARD_LIMIT = 64
CHAIN_LIMIT = 16
ADDRESS_LIMIT = 8
NAME_LIMIT = 253
SHOWN_LIMIT = 200
SHOWN_NAMES = 12
# Seconds for a peer to end its side after we ended ours, and the bytes that are read meanwhile.
FAREWELL = 0.5
FAREWELL_BYTES = 64 * 1024
SOON = 30 * 86400

# The catcher may have a key of RSA 1024, which the security level of distributions refuses to look at.
CIPHERS = "DEFAULT:@SECLEVEL=0"

# x509_vfy.h; ssl names the first from Python 3.10
X509_V_FLAG_PARTIAL_CHAIN = 0x80000
X509_V_FLAG_NO_CHECK_TIME = 0x200000

TARGET_HINT = "type HOST or HOST:PORT, for example catcher.example.com, 192.0.2.7:50003 or [2001:db8::7]:50003"
NAME_HINT = "type what stands in Host Name/IP on the TKE, for example --name catcher.example.com"

CLOSES = "it closes the connection at a TLS greeting, without a TLS answer, as a catcher in TCP mode does"

INFO = "info"
WARNING = "warning"
ERROR = "error"

# id: (severity, what is wrong, what to type), as messages.CATALOG
CATALOG = {
    "probe-unknown-name": (
        ERROR,
        "{host} cannot be looked up: {reason}",
        "try its IP address, or add the name to DNS or /etc/hosts; the TKE must know it, too",
    ),
    "probe-refused": (
        ERROR,
        "nothing listens on port {port} of {host}: the connection was refused",
        "on that host: systemctl status CSUTKEcat",
    ),
    "probe-unreachable": (
        ERROR,
        "{host} port {port} cannot be reached: {reason}",
        "check the address, the route and the firewalls on the way",
    ),
    "probe-timeout": (
        ERROR,
        "{host} port {port} did not answer: {reason}",
        "check the address and every firewall on the way; on that host: systemctl status CSUTKEcat",
    ),
    "probe-speaks-tcp": (
        WARNING,
        "{host} port {port} speaks plain TCP, not TLS: {reason}",
        "on the TKE, untick the box Enable SSL/TLS of this host; or, on that host: catcherctl mode tls",
    ),
    "probe-tls-too-old": (
        ERROR,
        "{host} port {port} speaks no TLS that is new enough, and the catcher and the TKE need 1.2: {reason}",
        "update OpenSSL on that host, or see what else listens there: ss -ltnp 'sport = :{port}'",
    ),
    "probe-handshake-refused": (
        ERROR,
        "{host} port {port} speaks TLS and refused the handshake: {reason}",
        "on that host: journalctl -u CSUTKEcat",
    ),
    "probe-handshake-broken": (
        ERROR,
        "the TLS handshake with {host} port {port} broke off: {reason}",
        "on that host: journalctl -u CSUTKEcat",
    ),
    "probe-name-mismatch": (
        WARNING,
        "the certificate is not for {name}; the TKE will refuse it under that Host Name/IP",
        "use one of these on the TKE: {names}; or install another pair on that host: catcherctl cert install KEY CRT",
    ),
    "probe-name-only-cn": (
        INFO,
        "{name} is in the CN only, while the certificate lists other DNS names in its SAN",
        "nothing for the TKE; other TLS clients look at the SAN only",
    ),
    "probe-certificate-expired": (
        WARNING,
        "certificate {number} of {count} ({subject}) expired on {date}",
        "install a new pair on that host: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "probe-certificate-not-yet-valid": (
        WARNING,
        "certificate {number} of {count} ({subject}) is not valid before {date}",
        "check the clocks of this host and of that one: timedatectl",
    ),
    "probe-certificate-expires-soon": (
        WARNING,
        "certificate {number} of {count} ({subject}) expires on {date}",
        "install a new pair on that host in time: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "probe-certificate-unreadable": (
        WARNING,
        "certificate {number} of {count} cannot be read: {reason}",
        "install python3-cryptography here; if it stays so, install another pair on that host",
    ),
    "probe-self-signed": (
        INFO,
        "the certificate is self-signed: the TKE accepts it once it is imported there",
        "compare the hashes above with the TKE's Confirm Import window; the steps: catcherctl tke-guide",
    ),
    "probe-chain-incomplete": (
        INFO,
        "the issuer of certificate {number} of {count} ({issuer}) was not sent",
        "import that CA into the TKE by USB stick, or add its certificate behind the others in catcher.crt there",
    ),
    "probe-chain-unverified": (
        WARNING,
        "the chain does not verify, even with its last certificate as trust anchor: {reason}",
        "install a pair with its chain in order, server certificate first: catcherctl cert install KEY CRT",
    ),
    "probe-address-failed": (
        INFO,
        "{host} also has the address {address}, and that one did not answer: {reason}",
        "check it, since the TKE may try it first",
    ),
}


class Certificate(Record):
    """One certificate.

    subject, issuer: as text, in the certificate's order, e.g. "O=Bank, CN=catcher". self_issued: they are the same.
    common_names; dns_names and addresses: of the CN and the SAN. not_before, not_after: seconds since the epoch.
    sha1, sha256: over the DER, "AB:CD:...". problem: why it could not be read ("" where it was); then only the hashes
    mean anything.
    """

    __slots__ = ("subject", "issuer", "self_issued", "common_names", "dns_names", "addresses", "not_before",
                 "not_after", "sha1", "sha256", "problem")
    subject: str
    issuer: str
    self_issued: bool
    common_names: "List[str]"
    dns_names: "List[str]"
    addresses: "List[str]"
    not_before: int
    not_after: int
    sha1: str
    sha256: str
    problem: str

    def names(self) -> "List[str]":
        """Everything that may be typed as Host Name/IP for this certificate, each once."""
        return list(dict.fromkeys(self.dns_names + self.addresses + self.common_names))


class ProbeResult(Record):
    """What was found.

    host, port: the target. name: what the certificate is compared with.
    state: TLS, TCP, UNKNOWN_NAME, REFUSED, UNREACHABLE, TIMED_OUT, HANDSHAKE_REFUSED or HANDSHAKE_BROKEN.
    reason: the evidence for the state, as the end of a sentence; "" for TLS.
    address: the address that was connected to; "" where none was. failed: (address, problem) of those tried before.
    version, cipher: as negotiated; "" unless TLS.
    chain: the certificates in the order sent. chain_note: why there may be more than these; "" if these are all.
    matched: where name was found, e.g. "SAN DNS a.example"; "" where it was not.
    anchor_problem: "" where the chain verifies with its last certificate as only trust anchor, expiry aside.
    system_problem: the same with the trust store of this system. Both are None where that could not be tried.
    findings: id, severity, message, fix.
    """

    __slots__ = ("host", "port", "name", "state", "reason", "address", "failed", "version", "cipher", "chain",
                 "chain_note", "matched", "anchor_problem", "system_problem", "findings")
    host: str
    port: int
    name: str
    state: str
    reason: str
    address: str
    failed: "List[Tuple[str, str]]"
    version: str
    cipher: str
    chain: "List[Certificate]"
    chain_note: str
    matched: str
    anchor_problem: "Optional[str]"
    system_problem: "Optional[str]"
    findings: "List[Dict[str, str]]"


class _Ended(Exception):
    """The probe is over without TLS: its state and reason; *finding* where it is not the state's own."""

    def __init__(self, state: str, reason: str, finding: str = "") -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.finding = finding


class _Unread(Exception):
    """A certificate cannot be read in this way, and why."""


class _Deadline:
    """The moment when the whole probe must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that remain, not below 0."""
        return max(0.0, self._end - time.monotonic())


# -- what was typed ----------------------------------------------------------------------------------------------------


def parse_target(target: str) -> "Tuple[str, int]":
    """(host, port) of HOST, HOST:PORT, [IPV6], [IPV6]:PORT or IPV6. Raises CatcherError for anything else."""
    host, port = target, ""
    colon = False
    if target.startswith("["):
        host, bracket, rest = target[1:].partition("]")
        colon, port = rest.startswith(":"), rest[1:]
        if not bracket or (rest and not colon) or ":" not in host:
            raise CatcherError("%s is not an IPv6 address in brackets" % shown(target), TARGET_HINT)
    elif target.count(":") == 1:
        host, _, port = target.partition(":")
        colon = True
    _require_host(host, TARGET_HINT)
    return host, _port(port) if colon else paths.PORT


def _port(text: str) -> int:
    if not text or len(text) > 5 or any(c not in "0123456789" for c in text) or not 1 <= int(text) <= 65535:
        raise CatcherError("%s is not a port: ports are 1 to 65535" % (shown(text) or "nothing"), TARGET_HINT)
    return int(text)


def _require_host(text: str, hint: str) -> None:
    """Raise CatcherError where *text* is neither a host name nor an IP address."""
    if _address(text) is not None:
        return
    if ":" in text:
        raise CatcherError("%s is not an IPv6 address" % shown(text), hint)
    name = _a_labels(text)
    labels = (name[:-1] if name.endswith(".") else name).split(".")
    allowed = all(c.isalnum() or c in "-_." for c in name)
    if not name or len(name) > NAME_LIMIT or not allowed or not all(labels) or name.startswith("-"):
        raise CatcherError("%s is not a host name" % (shown(text) or "nothing"), hint)
    if labels[-1].isdigit():
        raise CatcherError("%s is not an IPv4 address" % shown(text), hint)


def _address(text: str) -> "Optional[Any]":
    """The IP address that *text* spells, its %scope left out; None for anything else."""
    if len(text) > 100:
        return None
    address, percent, scope = text.partition("%")
    try:
        value = ipaddress.ip_address(address)
    except ValueError:
        return None
    return None if percent and (not scope or value.version == 4) else value


def _a_labels(text: str) -> str:
    """A host name as DNS knows it (IDNA); "" for one that cannot be written so."""
    if len(text) > NAME_LIMIT:
        # Also because Python's codec needs quadratic time.
        return ""
    try:
        # Not the codec for ASCII names: it refuses labels of 64 characters, which Linux allows in a host name.
        return text if all(ord(c) < 128 for c in text) else text.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


# -- does the certificate fit the name ---------------------------------------------------------------------------------


def match(name: str, one: Certificate) -> str:
    """Where a certificate has *name*: "SAN DNS ...", "SAN IP ..." or "CN ...", as spelled there; "" where it has not.

    Either the CN or the SAN suffices (vendor text, "Important files"). Addresses compare as addresses, names without
    regard to case and IDNA form; a wildcard stands for exactly the whole left-most label (RFC 6125, 6.4.3).
    """
    address = _address(name)
    if address is not None:
        places = [("SAN IP ", one.addresses), ("CN ", one.common_names)]
        return _first_place(places, lambda text: _address(text) == address)
    wanted = _comparable(name)
    places = [("SAN DNS ", one.dns_names), ("CN ", one.common_names)]
    return _first_place(places, lambda text: _covers(_comparable(text), wanted))


def _first_place(places: "List[Tuple[str, List[str]]]", fits: "Any") -> str:
    for label, texts in places:
        for text in texts:
            if fits(text):
                return label + text
    return ""


def _comparable(name: str) -> str:
    name = (_a_labels(name) or name).lower()
    return name[:-1] if name.endswith(".") else name


def _covers(pattern: str, name: str) -> bool:
    if not pattern.startswith("*."):
        return pattern == name and bool(name)
    label, dot, parent = name.partition(".")
    # "*.com" would stand for half the world, and clients do not take it.
    return bool(label and dot) and parent == pattern[2:] and "." in parent


# -- reading a certificate ---------------------------------------------------------------------------------------------


NOTHING_READ = {"subject": "", "issuer": "", "self_issued": False, "common_names": [], "dns_names": [],
                "addresses": [], "not_before": 0, "not_after": 0}


def describe(host: Host, der: bytes) -> Certificate:
    """What a certificate (DER) says. Never raises for what it holds: see its problem.

    By cryptography, or where that is missing or does not like it, by the openssl command.
    """
    read: Dict[str, Any] = {}
    problems = []
    for way in (_read_with_cryptography, _read_with_openssl):
        try:
            read = way(host, der)
        except (_Unread, MissingDependency) as error:
            problems.append(str(error))
        else:
            break
    return Certificate(
        sha1=_colons(hashlib.sha1(der).hexdigest()), sha256=_colons(hashlib.sha256(der).hexdigest()),
        problem="" if read else "; ".join(problems), **(read or NOTHING_READ)
    )


def _colons(digest: str) -> str:
    """A digest as consoles show it: AB:CD:..."""
    return ":".join(digest[at:at + 2] for at in range(0, len(digest), 2)).upper()


# The short forms of attribute types that certificates of servers have (RFC 4519, RFC 2985); others keep their OID.
ATTRIBUTES = {
    "2.5.4.3": "CN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O",
    "2.5.4.11": "OU", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "emailAddress",
}


def _read_with_cryptography(host: Host, der: bytes) -> "Dict[str, Any]":
    import warnings

    x509, default_backend = certificate._cryptography()[:2]
    try:
        with warnings.catch_warnings():
            # It warns of what is odd in a certificate, with lines of its own source, on stderr.
            warnings.simplefilter("ignore")
            loaded = x509.load_der_x509_certificate(der, default_backend())
            subject, issuer = (
                [(ATTRIBUTES.get(a.oid.dotted_string, a.oid.dotted_string), str(a.value)) for a in name]
                for name in (loaded.subject, loaded.issuer)
            )
            not_before, not_after = certificate._validity_of(loaded)
            dns: List[str] = []
            addresses: List[str] = []
            for extension in loaded.extensions:
                if isinstance(extension.value, x509.SubjectAlternativeName):
                    dns = extension.value.get_values_for_type(x509.DNSName)
                    addresses = [str(a) for a in extension.value.get_values_for_type(x509.IPAddress)]
            self_issued = loaded.subject == loaded.issuer
    except Exception as error:
        # Whatever its parser meets on hostile input.
        raise _Unread("not a certificate that cryptography reads (%s)" % type(error).__name__) from error
    return _read_fields(subject, issuer, self_issued, dns, addresses, not_before, not_after)


def _read_fields(
    subject: "List[Tuple[str, str]]", issuer: "List[Tuple[str, str]]", self_issued: bool, dns: "List[str]",
    addresses: "List[str]", not_before: int, not_after: int,
) -> "Dict[str, Any]":
    """The fields of a Certificate that come from reading it. subject, issuer: (attribute, value) in order."""
    return {
        "subject": ", ".join("%s=%s" % one for one in subject), "issuer": ", ".join("%s=%s" % one for one in issuer),
        "self_issued": self_issued, "common_names": [value for key, value in subject if key == "CN"],
        "dns_names": dns, "addresses": addresses, "not_before": not_before, "not_after": not_after,
    }


def _read_with_openssl(host: Host, der: bytes) -> "Dict[str, Any]":
    """By ``openssl x509``: a line for each attribute, control characters escaped, so that a value cannot be two."""
    arguments = ["x509", "-inform", "DER", "-noout", "-subject", "-issuer", "-dates", "-ext", "subjectAltName",
                 "-nameopt", "sep_multiline,sname,utf8,esc_ctrl"]
    try:
        status, output = host.run([paths.OPENSSL] + arguments, timeout=10, stdin=der)
    except OSError as error:
        raise _Unread("%s: %s" % (paths.OPENSSL, error.strerror)) from error
    text = output.decode("utf-8", "replace")
    if status != 0 or "subject=" not in text:
        raise _Unread("not a certificate that openssl reads")
    names: Dict[str, List[Tuple[str, str]]] = {"subject": [], "issuer": []}
    dates = {}
    dns, addresses = [], []
    section = ""
    for line in text.split("\n"):
        if not line.startswith("    "):
            section, _, value = line.partition("=")
            if section in ("notBefore", "notAfter"):
                dates[section] = _seconds(value)
        elif section in names:
            key, _, value = line[4:].partition("=")
            if key:
                names[section].append((key, _unescaped(value)))
        elif section.startswith("X509v3 Subject Alternative Name"):
            for item in line.strip().split(", "):
                kind, _, value = item.partition(":")
                if kind == "DNS":
                    dns.append(value)
                elif kind == "IP Address" and _address(value) is not None:
                    addresses.append(str(_address(value)))
    if len(dates) != 2:
        raise _Unread("openssl shows no validity")
    subject, issuer = names["subject"], names["issuer"]
    return _read_fields(subject, issuer, subject == issuer, dns, addresses, dates["notBefore"], dates["notAfter"])


def _unescaped(value: str) -> str:
    """An attribute's value without openssl's escapes: a backslash before itself and before two digits."""
    return re.sub(r"\\([0-9A-F]{2}|\\)", lambda m: "\\" if m.group(1) == "\\" else chr(int(m.group(1), 16)), value)


def _seconds(date: str) -> int:
    """Seconds since the epoch of a date as openssl prints it."""
    import ssl

    try:
        return int(ssl.cert_time_to_seconds(date))
    except ValueError as error:
        raise _Unread("openssl shows a date that is none") from error


# -- the connection ----------------------------------------------------------------------------------------------------


def _look_up(host: str, port: int, deadline: _Deadline) -> "List[Tuple[int, Any]]":
    """(family, socket address) of a host, in the resolver's order. Raises _Ended."""
    literal = _address(host) is not None
    answer: List[Any] = []

    def ask() -> None:
        try:
            flags = socket.AI_NUMERICHOST if literal else 0
            name = host if literal else _a_labels(host).encode("ascii")
            answer.append(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    if literal:
        ask()
    else:
        # getaddrinfo(3) has no time limit of its own: half a minute and more where name servers do not answer.
        import threading

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(deadline.left())
    if not answer:
        raise _Ended(UNKNOWN_NAME, "no name server answered in time")
    if isinstance(answer[0], Exception):
        raise _Ended(UNKNOWN_NAME, (getattr(answer[0], "strerror", None) or str(answer[0])).lower())
    found = []
    for family, _, _, _, address in answer[0]:
        if (family, address) not in found:
            found.append((family, address))
    return found[:ADDRESS_LIMIT]


def _address_text(address: "Any") -> str:
    """The numeric address of a socket address, with its scope where it has one."""
    if len(address) == 4 and address[3] and "%" not in address[0]:
        return "%s%%%d" % (address[0], address[3])
    return str(address[0])


def _connect(address: "Tuple[int, Any]", seconds: float) -> socket.socket:
    """A connection to one address. Raises _Ended: TCP (reset as soon as accepted), REFUSED, TIMED_OUT, UNREACHABLE."""
    family, sockaddr = address
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _Ended(UNREACHABLE, _strerror(error)) from error
    try:
        sock.settimeout(max(0.001, seconds))
        sock.connect(sockaddr)
        if _met_itself(sock):
            raise ConnectionRefusedError()
    except OSError as error:
        sock.close()
        if isinstance(error, ConnectionRefusedError):
            raise _Ended(REFUSED, "connection refused") from error
        if isinstance(error, ConnectionResetError):
            raise _Ended(TCP, CLOSES) from error
        if isinstance(error, (socket.timeout, TimeoutError)):
            raise _Ended(TIMED_OUT, "no answer to a connection attempt") from error
        raise _Ended(UNREACHABLE, _strerror(error)) from error
    return sock


def _met_itself(sock: socket.socket) -> bool:
    """Whether both ends are this socket: 50003 may be the port that the kernel picked for it (tcp(7), local ports)."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        # Reset by the peer already: it was another.
        return False


def _strerror(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


def _connect_any(
    addresses: "List[Tuple[int, Any]]", deadline: _Deadline, failed: "List[Tuple[str, str]]"
) -> "Tuple[socket.socket, Tuple[int, Any]]":
    """A connection to the first address that takes one, and that address; the others' problems go into *failed*.

    Raises the _Ended that says most where none does: something refused is nearer than something silent.
    """
    ends = []
    for number, address in enumerate(addresses):
        try:
            return _connect(address, deadline.left() / (len(addresses) - number)), address
        except _Ended as end:
            failed.append((_address_text(address[1]), end.reason))
            ends.append(end)
    order = (TCP, REFUSED, TIMED_OUT, UNREACHABLE)
    raise min(ends, key=lambda end: order.index(end.state))


def _send(sock: socket.socket, data: bytes, seconds: float) -> None:
    sock.settimeout(max(0.001, seconds))
    sock.sendall(data)


def _receive(sock: socket.socket, seconds: float) -> bytes:
    """What the peer sends next; b"" at its end. Raises socket.timeout after *seconds*."""
    sock.settimeout(max(0.001, seconds))
    return sock.recv(16 * 1024)


def _farewell(sock: socket.socket, seconds: float) -> bool:
    """End our side, wait for the peer to end its own, and close. Returns whether it did, or sent anything.

    Closing at once would reset the connection where the peer has sent something that we did not read.
    """
    wait = _Deadline(seconds)
    count = 0
    try:
        sock.shutdown(socket.SHUT_WR)
        while count < FAREWELL_BYTES and wait.left():
            data = _receive(sock, wait.left())
            if not data:
                return True
            count += len(data)
    except (socket.timeout, TimeoutError):
        return count > 0
    except OSError:
        # Reset: it is there, and it is over.
        return True
    finally:
        sock.close()
    return True


class _Shake:
    """A TLS handshake over a connection: tls (ssl.SSLObject) when done; heard: the first bytes of the peer."""

    def __init__(self, sock: socket.socket, context: "Any", server_name: "Optional[str]") -> None:
        import ssl

        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.heard = b""
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    def run(self, deadline: _Deadline) -> None:
        """Do it. Raises _NotTls, socket.timeout, EOFError (the peer ended it), or OSError, ssl.SSLError among them.

        Nothing is sent after a failure, not even an alert: to a peer that does not speak TLS it would be garbage.
        """
        import ssl

        count = 0
        while True:
            try:
                self.tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            _send(self._sock, self._outgoing.read(), deadline.left())
            if done:
                return
            if not deadline.left():
                raise socket.timeout()
            data = _receive(self._sock, deadline.left())
            if not data:
                raise EOFError()
            self.heard = (self.heard + data[:HEARD_LIMIT])[:HEARD_LIMIT]
            count += len(data)
            if not _may_be_server(self.heard):
                raise _NotTls()
            if count > HANDSHAKE_LIMIT:
                raise OSError(0, "more than %d bytes without an end to the handshake" % HANDSHAKE_LIMIT)
            self._incoming.write(data)

    def end(self, deadline: _Deadline) -> None:
        """Say close_notify, and close."""
        import ssl

        try:
            self.tls.unwrap()
        except ssl.SSLError as error:
            # Ours is written; that it wants the peer's, too, concerns nobody.
            if not isinstance(error, ssl.SSLWantReadError):
                self._sock.close()
                return
        try:
            _send(self._sock, self._outgoing.read(), min(FAREWELL, deadline.left()))
        except OSError:
            self._sock.close()
            return
        _farewell(self._sock, min(FAREWELL, deadline.left()))


class _NotTls(Exception):
    """What came is no TLS record of a server."""


def _may_be_server(heard: bytes) -> bool:
    """Whether bytes can begin what a TLS server says: a record (RFC 8446, 5.1) that holds no ClientHello.

    A ClientHello is our own, sent back by something that echoes.
    """
    if not 20 <= heard[0] <= 23 or heard[1:2] not in (b"", b"\x03") or (len(heard) > 2 and heard[2] > 4):
        return False
    return not (heard[0] == 22 and heard[5:6] == b"\x01")


def _context() -> "Any":
    """A context that offers TLS 1.2 and newer, accepts every certificate, and no key is too small to be looked at."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if hasattr(context, "minimum_version"):
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    else:
        context.options |= ssl.OP_NO_SSLv2 | ssl.OP_NO_SSLv3 | ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    context.set_ciphers(CIPHERS)
    return context


def _shake_hands(
    sock: socket.socket, server_name: "Optional[str]", deadline: _Deadline
) -> "Tuple[str, str, List[bytes], bool]":
    """(version, cipher, certificates in DER, whether they are the whole chain) of a TLS server. Raises _Ended."""
    shake = _Shake(sock, _context(), server_name)
    # A fifth of the time is kept, to see whether a silent peer is alive.
    patience = _Deadline(deadline.left() * 0.8)
    try:
        shake.run(patience)
    except (_NotTls, EOFError, OSError) as error:
        left = deadline.left()
        answers = _farewell(sock, min(FAREWELL, left) if shake.heard else left)
        raise _judge(error, shake.heard, answers) from error
    tls = shake.tls
    chain = [tls.getpeercert(True) or b""]
    whole = False
    if hasattr(tls, "get_unverified_chain"):
        chain, whole = list(tls.get_unverified_chain()) or chain, True
    cipher = tls.cipher()
    version = tls.version()
    shake.end(deadline)
    if not chain[0]:
        raise _Ended(HANDSHAKE_BROKEN, "it shows no certificate")
    return version or "", cipher[0] if cipher else "", chain, whole


def _judge(error: Exception, heard: bytes, answers: bool) -> _Ended:
    """What a handshake that did not end means.

    heard: the peer's first bytes. answers: it reacted when we ended the connection, so it is a process that reads.
    """
    import ssl

    if isinstance(error, _NotTls):
        if heard[0] == 22 and heard[5:6] == b"\x01":
            return _Ended(TCP, "it sends back what it gets")
        return _Ended(TCP, "it answers a TLS greeting with %s" % _excerpt(heard))
    if isinstance(error, (socket.timeout, TimeoutError)):
        if heard:
            return _Ended(TIMED_OUT, "it began a TLS handshake and fell silent")
        if answers:
            return _Ended(TCP, "it takes a TLS greeting and waits for more, as a catcher in TCP mode does")
        return _Ended(TIMED_OUT, "it accepts connections and then does nothing at all, so it may hang")
    if isinstance(error, ssl.SSLError) and error.reason:
        reason = error.reason.lower().replace("_", " ")
        if error.reason in ("TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW",
                            "WRONG_SSL_VERSION"):
            return _Ended(HANDSHAKE_REFUSED, reason, "probe-tls-too-old")
        if "ALERT" in error.reason:
            return _Ended(HANDSHAKE_REFUSED, reason)
        return _Ended(HANDSHAKE_BROKEN, reason)
    if not heard:
        return _Ended(TCP, CLOSES)
    if isinstance(error, (EOFError, ConnectionError)):
        return _Ended(HANDSHAKE_BROKEN, "it closed the connection in the middle")
    return _Ended(HANDSHAKE_BROKEN, _strerror(error) if isinstance(error, OSError) else str(error))


def _excerpt(heard: bytes) -> str:
    """The beginning of what a peer sent, for a message."""
    line = heard.split(b"\n", 1)[0].strip()
    text = line.decode("ascii", "replace")
    if line and all(" " <= c <= "~" for c in text):
        return '"%s"' % text[:40]
    return "the bytes " + " ".join("%02x" % byte for byte in heard[:8])


# -- more about the chain ----------------------------------------------------------------------------------------------


def _ask_s_client(
    host: Host, address: "Tuple[int, Any]", server_name: "Optional[str]", deadline: _Deadline
) -> "Tuple[List[bytes], Optional[str]]":
    """(chain in DER, problem with the system's trust store) by one connection of ``openssl s_client``.

    s_client goes on where verification fails, so the far side sees no alert. ([], None) where it could not be asked.
    """
    import ssl

    where = _address_text(address[1])
    arguments = ["s_client", "-connect", "%s:%d" % ("[%s]" % where if ":" in where else where, address[1][1]),
                 "-showcerts", "-no_check_time", "-cipher", CIPHERS]
    arguments += ["-servername", server_name] if server_name else ["-noservername"]
    try:
        # Its standard input is empty, at which it ends when the handshake has.
        _, output = host.run([paths.OPENSSL] + arguments, timeout=max(0.001, deadline.left()))
    except OSError:
        return [], None
    text = output.decode("ascii", "replace")
    # The first section of this name is s_client's own; whatever the far side sends as data comes behind it.
    _, found, rest = text.partition("\nCertificate chain\n")
    section, end, rest = rest.partition("\n---\n")
    if not found or not end:
        return [], None
    chain = []
    for block in section.split("-----BEGIN CERTIFICATE-----")[1:]:
        body = block.partition("-----END CERTIFICATE-----")[0]
        try:
            chain.append(ssl.PEM_cert_to_DER_cert("-----BEGIN CERTIFICATE-----%s-----END CERTIFICATE-----" % body))
        except ValueError:
            return [], None
    if "\nVerification: OK\n" in rest:
        return chain, ""
    return chain, rest.partition("\nVerification error: ")[2].partition("\n")[0] or None


def _ask_anchored(
    address: "Tuple[int, Any]", server_name: "Optional[str]", anchor: bytes, deadline: _Deadline
) -> "Optional[str]":
    """"" where a connection verifies with *anchor* (DER) as its only trust anchor, else the problem.

    This is what a TKE does that imported that certificate. None where no connection came about.
    """
    import ssl

    context = _context()
    context.verify_mode = ssl.CERT_REQUIRED
    # Validity in time is reported for itself; a root need not have been sent.
    context.verify_flags = int(context.verify_flags) | X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME
    try:
        # As PEM: Python 3.6 does not see the end of DER where it runs with OpenSSL 3.
        context.load_verify_locations(cadata=ssl.DER_cert_to_PEM_cert(anchor))
    except ssl.SSLError as error:
        return "it cannot be a trust anchor (%s)" % (error.reason or "not a certificate").lower().replace("_", " ")
    try:
        sock = _connect(address, deadline.left())
    except _Ended:
        return None
    shake = _Shake(sock, context, server_name)
    try:
        shake.run(deadline)
    except ssl.SSLError as error:
        _farewell(sock, min(FAREWELL, deadline.left()))
        return getattr(error, "verify_message", None) or (error.reason or "failed").lower().replace("_", " ")
    except (_NotTls, EOFError, OSError):
        _farewell(sock, min(FAREWELL, deadline.left()))
        return None
    shake.end(deadline)
    return ""


# -- the probe ---------------------------------------------------------------------------------------------------------


def probe(target: str, name: "Optional[str]" = None, timeout: float = TIMEOUT, host: "Optional[Host]" = None
          ) -> ProbeResult:
    """What the TKE's "Import from Remote Server" would meet at *target*.

    target: HOST[:PORT], see parse_target(). name: what will be typed as Host Name/IP on the TKE; the target's host
    where None. timeout: seconds for everything together. host: whose openssl is asked and whose clock counts.
    Raises CatcherError for what is no target, name or timeout, or where Python has no ssl; whatever the network does
    is a result.
    """
    where, port = parse_target(target)
    wanted = where.partition("%")[0] if name is None else name
    _require_host(wanted, NAME_HINT)
    if not 0 < timeout <= 3600:
        raise CatcherError("%s is not a time limit" % timeout, "type seconds, for example --timeout 10")
    try:
        import ssl  # noqa: F401 - here only to say so at once where it is missing
    except ImportError as error:
        raise CatcherError("this Python cannot speak TLS (%s)" % error, "install the python3 package again") from error
    host = host or Host()
    deadline = _Deadline(timeout)
    failed: List[Tuple[str, str]] = []
    result = ProbeResult(
        host=where, port=port, name=wanted, state=TLS, reason="", address="", failed=failed, version="", cipher="",
        chain=[], chain_note="", matched="", anchor_problem=None, system_problem=None, findings=[],
    )
    server_name = _a_labels(wanted).rstrip(".") if _address(wanted) is None else None
    if server_name and any(len(label) > 63 for label in server_name.split(".")):
        # Not a name for the SNI extension (RFC 6066, 3).
        server_name = None
    try:
        sock, address = _connect_any(_look_up(where, port, deadline), deadline, failed)
        result.address = _address_text(address[1])
        result.version, result.cipher, chain, whole = _shake_hands(sock, server_name, deadline)
    except _Ended as end:
        result.state, result.reason = end.state, end.reason
        result.findings = [_finding(
            end.finding or ("probe-speaks-tcp" if end.state == TCP else "probe-" + end.state),
            host=shown(where), port=str(port), reason=shown(end.reason),
        )]
        result.findings += _address_findings(result)
        return result
    sent, result.system_problem = _ask_s_client(host, address, server_name, deadline)
    if not whole and sent and sent[0] == chain[0]:
        chain, whole = sent, True
    if not whole:
        result.chain_note = "only the server's own certificate could be read: no answer from %s" % paths.OPENSSL
    elif len(chain) > CHAIN_LIMIT:
        result.chain_note = "%d more certificates were sent" % (len(chain) - CHAIN_LIMIT)
    result.chain = [describe(host, der) for der in chain[:CHAIN_LIMIT]]
    result.matched = match(wanted, result.chain[0])
    result.anchor_problem = _ask_anchored(address, server_name, chain[-1], deadline)
    result.findings = _certificate_findings(result, host.now()) + _address_findings(result)
    return result


def _certificate_findings(result: ProbeResult, now: float) -> "List[Dict[str, str]]":
    found = []
    chain = result.chain
    own = chain[0]
    if not result.matched and not own.problem:
        names = ", ".join(shown(one) for one in own.names()[:SHOWN_NAMES]) or "(it has none)"
        found.append(_finding("probe-name-mismatch", name=shown(result.name), names=names))
    if result.matched.startswith("CN ") and own.dns_names and _address(result.name) is None:
        found.append(_finding("probe-name-only-cn", name=shown(result.name)))
    for number, one in enumerate(chain, 1):
        which = {"number": str(number), "count": str(len(chain)), "subject": shown(one.subject)}
        if one.problem:
            found.append(_finding("probe-certificate-unreadable", reason=one.problem, **which))
        elif now > one.not_after:
            found.append(_finding("probe-certificate-expired", date=moment(one.not_after), **which))
        elif now < one.not_before:
            found.append(_finding("probe-certificate-not-yet-valid", date=moment(one.not_before), **which))
        elif now + SOON > one.not_after:
            found.append(_finding("probe-certificate-expires-soon", date=moment(one.not_after), **which))
    if result.anchor_problem:
        found.append(_finding("probe-chain-unverified", reason=shown(result.anchor_problem)))
    last = chain[-1]
    if own.self_issued:
        found.append(_finding("probe-self-signed"))
    elif not last.self_issued and not last.problem and not result.chain_note:
        found.append(_finding("probe-chain-incomplete", number=str(len(chain)), count=str(len(chain)),
                              issuer=shown(last.issuer)))
    return found


def _address_findings(result: ProbeResult) -> "List[Dict[str, str]]":
    """For a host that answered, the addresses of it that did not."""
    if not result.address:
        return []
    return [_finding("probe-address-failed", host=shown(result.host), address=address, reason=reason)
            for address, reason in result.failed]


def _finding(id: str, **facts: str) -> "Dict[str, str]":
    """A finding as ``--json`` shows it: id, severity, message, fix."""
    severity, text, fix = CATALOG[id]
    for name, value in facts.items():
        text = text.replace("{%s}" % name, value)
        fix = fix.replace("{%s}" % name, value)
    return {"id": id, "severity": severity, "message": text, "fix": fix}


# -- telling -----------------------------------------------------------------------------------------------------------


def exit_status(result: ProbeResult) -> int:
    """0: TLS, and nothing needs attention; 3: TLS with such a finding, or plain TCP; 1: no connection came about."""
    if result.state not in (TLS, TCP):
        return 1
    return 3 if any(one["severity"] != INFO for one in result.findings) else 0


def fields(result: ProbeResult) -> "Dict[str, Any]":
    """The fields of ``probe --json``; the caller adds format_version.

    host, port, name: what was asked. state: "tls", "tcp", "unknown-name", "refused", "unreachable", "timeout",
    "handshake-refused" or "handshake-broken"; reason: its evidence, "" for "tls". address: the one connected to, or
    null; failed_addresses: a list of address and problem. tls: version and cipher, or null. name_matches: true, false,
    or null without a certificate that can be read; name_found_in: e.g. "SAN DNS a.example", or null. chain: as sent,
    each with subject, issuer, self_issued, common_names, dns_names, addresses, not_before and not_after (seconds since
    the epoch), sha1, sha256, problem (null where it was read). chain_note: why the chain may be longer, or null.
    trust: anchor (with the last certificate of the chain as trust anchor) and system (this system's trust store):
    true, false, or null where not tried; anchor_problem and system_problem: null or text. Expiry is not a matter of
    trust here. findings: id, severity, message, fix.
    """
    readable = bool(result.chain) and not result.chain[0].problem
    chain = []
    for one in result.chain:
        entry = {name: getattr(one, name) for name in one.__slots__}
        entry["problem"] = one.problem or None
        chain.append(entry)
    return {
        "host": result.host,
        "port": result.port,
        "name": result.name,
        "state": result.state,
        "reason": result.reason,
        "address": result.address or None,
        "failed_addresses": [{"address": address, "problem": problem} for address, problem in result.failed],
        "tls": {"version": result.version, "cipher": result.cipher} if result.state == TLS else None,
        "name_matches": bool(result.matched) if readable else None,
        "name_found_in": result.matched or None,
        "chain": chain,
        "chain_note": result.chain_note or None,
        "trust": {
            "anchor": None if result.anchor_problem is None else not result.anchor_problem,
            "anchor_problem": result.anchor_problem or None,
            "system": None if result.system_problem is None else not result.system_problem,
            "system_problem": result.system_problem or None,
        },
        "findings": result.findings,
    }


def shown(text: str, limit: int = SHOWN_LIMIT) -> str:
    """Untrusted text as short plain ASCII for a terminal."""
    cut = text[:limit]
    plain = "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in cut)
    return plain + ("..." if len(text) > limit else "")


def lines(result: ProbeResult) -> "List[str]":
    """The same for a person: plain ASCII."""
    through = ", through %s" % result.address if result.address not in ("", result.host) else ""
    text = ["%s port %d%s" % (shown(result.host), result.port, through)]
    speaks = {TLS: "TLS", TCP: "plain TCP, not TLS"}.get(result.state, "nothing: %s" % shown(result.reason))
    if result.state == TLS:
        speaks = "%s, %s" % (result.version, result.cipher)
    elif result.state in (HANDSHAKE_REFUSED, HANDSHAKE_BROKEN):
        speaks = "TLS, but no handshake: %s" % shown(result.reason)
    text.append("  Speaks    %s" % speaks)
    if result.state == TLS:
        text += _certificate_lines(result)
        typed = shown(result.name) if result.matched else "as in the certificate"
        text.append("  TKE       the box Enable SSL/TLS must be ticked; Host Name/IP %s" % typed)
    elif result.state == TCP:
        text.append("  TKE       the box Enable SSL/TLS must not be ticked, as long as it speaks TCP")
    for one in result.findings:
        text.append("  %s  %s [%s]" % ("!" if one["severity"] != INFO else "i", one["message"], one["id"]))
        text.append("     %s" % one["fix"])
    return text


def _certificate_lines(result: ProbeResult) -> "List[str]":
    own = result.chain[0]
    if own.problem:
        text = ["  Name      unknown, the certificate cannot be read"]
    elif result.matched:
        text = ["  Name      %s matches (%s)" % (shown(result.name), shown(result.matched))]
    else:
        text = ["  Name      %s does not match" % shown(result.name)]
    count = len(result.chain)
    itself = count == 1
    anchor = {None: "not tried", "": "verifies"}.get(result.anchor_problem, shown(result.anchor_problem or ""))
    system = {None: "not tried", "": "verifies"}.get(result.system_problem, shown(result.system_problem or ""))
    text.append("  Trust     with %s as trust anchor: %s" % ("itself" if itself else "the chain's last one", anchor))
    text.append("            with this system's trust store: %s" % system)
    text.append("  Chain     %d certificate%s%s" % (
        count, "" if itself else "s", ", " + result.chain_note if result.chain_note else ""))
    for number, one in enumerate(result.chain, 1):
        text.append("  %-9s %s" % ("%d of %d" % (number, count), shown(one.subject) or "(no subject)"))
        if one.problem:
            text.append("            cannot be read: %s" % one.problem)
        else:
            signed = "itself (self-signed)" if one.self_issued else shown(one.issuer) or "(no issuer)"
            text.append("            issued by  %s" % signed)
            text.append("            valid      %s to %s" % (moment(one.not_before), moment(one.not_after)))
            names = ["DNS " + shown(name) for name in one.dns_names] + ["IP " + name for name in one.addresses]
            more = len(names) - SHOWN_NAMES
            text.append("            SAN        %s%s" % (
                ", ".join(names[:SHOWN_NAMES]) or "none", " and %d more" % more if more > 0 else ""))
        text.append("            SHA-1      %s" % one.sha1)
        text.append("            SHA-256    %s" % one.sha256)
    return text
