"""A TLS handshake with whatever is there: the version, cipher and certificates, or what it speaks instead."""

import socket

from ..errors import reason_of
from ..openssl import words
from ..text import shown
from . import connection
from .connection import HEARD_LIMIT, Deadline, receive, send
from .result import CLOSED, HANDSHAKE_BROKEN, HANDSHAKE_REFUSED, TCP, TIMED_OUT, Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple, Union

# OpenSSL reads a chain of at most 100 KiB. A peer that sends more than this before a handshake ends is no TLS server.
HANDSHAKE_LIMIT = 256 * 1024
# Type, version and length of a TLS record, and the type of the message in it.
RECORD_HEADER = 6

# A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2) with one cipher suite, no extension: what a Python without ssl can say.
# A TLS server answers it, with a ServerHello or an alert.
GREETING = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + bytes(32) + b"\x00\x00\x02\xc0\x2b\x01\x00"


class Shake:
    """A TLS handshake over a connection: tls (ssl.SSLObject) when done; heard: the first bytes of the peer."""

    def __init__(self, sock: socket.socket, context: "Any", server_name: "Optional[str]") -> None:
        import ssl

        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.heard = b""
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    def run(self, deadline: Deadline) -> None:
        """Do it. Raises NotTls, socket.timeout, EOFError (the peer ended it), or OSError, ssl.SSLError among them.

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
            except ssl.SSLZeroReturnError as error:
                raise EOFError() from error
            send(self._sock, self._outgoing.read(), deadline.left())
            if done:
                return
            if not deadline.left():
                raise socket.timeout()
            data = receive(self._sock, deadline.left())
            if not data:
                raise EOFError()
            self.heard = (self.heard + data[:HEARD_LIMIT])[:HEARD_LIMIT]
            count += len(data)
            if not _may_be_server(self.heard):
                raise NotTls()
            if count > HANDSHAKE_LIMIT:
                raise OSError(0, "more than %d bytes without an end to the handshake" % HANDSHAKE_LIMIT)
            self._incoming.write(data)

    def end(self, deadline: Deadline) -> str:
        """Say close_notify, and close. Returns the name of OpenSSL's error if the peer refuses the handshake now, which
        in TLS 1.3 it can do only after our end of it; else "". So does a server that wants a certificate of its client.
        """
        import ssl

        try:
            self.tls.unwrap()
        except ssl.SSLError as error:
            # Our close_notify is written. OpenSSL also waits for the peer's, which is not needed.
            if not isinstance(error, ssl.SSLWantReadError):
                self._sock.close()
                return ""
        try:
            send(self._sock, self._outgoing.read(), min(connection.FAREWELL, deadline.left()))
        except OSError:
            self._sock.close()
            return ""
        said = connection.farewell(self._sock, min(connection.FAREWELL, deadline.left()))
        try:
            self._incoming.write(said or b"")
            self.tls.read(1)
        except ssl.SSLError as error:
            return _alert(error)
        return ""


class Greeting:
    """A bare ClientHello, sent instead of a Shake if Python has no ssl. It only tells whether the peer speaks TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.heard = b""

    def run(self, deadline: Deadline) -> None:
        """Greet, and hear the first bytes of a TLS answer. Raises NotTls, socket.timeout, EOFError or OSError."""
        send(self._sock, GREETING, deadline.left())
        while len(self.heard) < RECORD_HEADER:
            if not deadline.left():
                raise socket.timeout()
            data = receive(self._sock, deadline.left())
            if not data:
                raise EOFError()
            self.heard += data[:HEARD_LIMIT]
            if not _may_be_server(self.heard):
                raise NotTls()


class NotTls(Exception):
    """What came is no TLS record of a server."""


def _may_be_server(heard: bytes) -> bool:
    """Whether bytes can be the beginning of a TLS server's answer: a record (RFC 8446, 5.1) that is not a ClientHello.

    A ClientHello is our own, returned by a server that echoes.
    """
    if not 20 <= heard[0] <= 23 or heard[1:2] not in (b"", b"\x03") or (len(heard) > 2 and heard[2] > 4):
        return False
    return not (heard[0] == 22 and heard[5:6] == b"\x01")


def context() -> "Any":
    """A context that offers TLS 1.2 and newer, as far as this system's policy allows, and accepts every certificate.

    Whether a key or a digest is too weak for the policy is asked where a certificate is verified: see trust.
    """
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if hasattr(made, "minimum_version"):
        # The policy may ask for more.
        made.minimum_version = max(made.minimum_version, ssl.TLSVersion.TLSv1_2)
    else:
        made.options |= ssl.OP_NO_SSLv2 | ssl.OP_NO_SSLv3 | ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    return made


def shake_hands(
    sock: socket.socket, server_name: "Optional[str]", deadline: Deadline
) -> "Tuple[str, str, List[bytes], bool]":
    """(version, cipher, certificates in DER, whether they are the whole chain) of a TLS server. Raises Ended."""
    try:
        shake = Shake(sock, context(), server_name)
    except ImportError as error:
        _run(Greeting(sock), sock, deadline)
        sock.close()
        raise Ended(HANDSHAKE_BROKEN, shown(str(error)), id="probe-without-ssl") from error
    _run(shake, sock, deadline)
    tls = shake.tls
    chain = [tls.getpeercert(True) or b""]
    whole = False
    if hasattr(tls, "get_unverified_chain"):
        chain, whole = list(tls.get_unverified_chain()) or chain, True
    cipher = tls.cipher()
    version = tls.version()
    refusal = shake.end(deadline)
    if refusal:
        raise Ended(HANDSHAKE_REFUSED, words(refusal))
    if not chain[0]:
        raise Ended(HANDSHAKE_BROKEN, "it shows no certificate")
    return version or "", cipher[0] if cipher else "", chain, whole


def _run(shake: "Union[Shake, Greeting]", sock: socket.socket, deadline: Deadline) -> None:
    """Run it. Raises Ended."""
    # A fifth of the time is kept, to see whether a silent peer is alive.
    patience = Deadline(deadline.left() * 0.8)
    try:
        shake.run(patience)
    except (NotTls, EOFError, OSError) as error:
        left = deadline.left()
        said = connection.farewell(sock, min(connection.FAREWELL, left) if shake.heard else left)
        raise _judge(error, shake.heard, said) from error


def _judge(error: Exception, heard: bytes, said: "Optional[bytes]") -> Ended:
    """Return what a handshake means that did not end.

    heard: the peer's first bytes. said: how it reacted when we ended the connection, see connection.farewell().
    """
    if isinstance(error, NotTls):
        return _plain(heard)
    if isinstance(error, (socket.timeout, TimeoutError)):
        if heard:
            return Ended(TIMED_OUT, "it began a TLS handshake and did not finish it in time")
        if said:
            late = "it answers a TLS greeting, but too late: only after the time for this probe was nearly over"
            return Ended(TIMED_OUT, late) if _may_be_server(said) else _plain(said)
        if said is not None:
            return Ended(TCP, "it takes a TLS greeting and waits for more, as a catcher in TCP mode does")
        return Ended(TIMED_OUT, "it accepts connections and then does nothing at all, so it may hang")
    # Of ssl.SSLError, which only a Python with ssl has.
    code = getattr(error, "reason", None)
    alert = _alert(error)
    if code or alert:
        reason = words(code or alert)
        if code in ("TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "WRONG_SSL_VERSION"):
            return Ended(HANDSHAKE_REFUSED, reason, id="probe-tls-too-old")
        if alert:
            return Ended(HANDSHAKE_REFUSED, reason)
        return Ended(HANDSHAKE_BROKEN, reason)
    if not heard:
        return Ended(CLOSED, connection.CLOSES)
    if isinstance(error, (EOFError, ConnectionError)):
        return Ended(HANDSHAKE_BROKEN, "it closed the connection in the middle")
    return Ended(HANDSHAKE_BROKEN, reason_of(error).lower() if isinstance(error, OSError) else str(error))


def _alert(error: Exception) -> str:
    """OpenSSL's name of an alert that the peer sent, or its text if this Python does not know the name; else ""."""
    said = str(getattr(error, "reason", None) or reason_of(error))
    return said if "alert" in said.lower() or said.startswith("TLSV1_") else ""


def _plain(heard: bytes) -> Ended:
    """Return what bytes mean that are no answer of a TLS server."""
    if heard[0] == 22 and heard[5:6] == b"\x01":
        return Ended(TCP, "it sends back what it gets")
    return Ended(TCP, "it answers a TLS greeting with %s" % _excerpt(heard))


def reads_on(address: "Tuple[int, Any]", deadline: Deadline) -> bool:
    """Whether a peer that closes connections before it answers ends only its own side, and then takes in the rest of a
    ClientHello. So does a catcher in TCP mode that has no backend. A TLS server answers or closes, and closes too if
    it has no free place."""
    try:
        sock = connection.connect(address, deadline.left())
    except Ended:
        return False
    try:
        beginning = RECORD_HEADER - 1
        send(sock, GREETING[:beginning], deadline.left())
        # Half of the time: a server that has a free place by now waits for the rest.
        if receive(sock, deadline.left() / 2):
            return False
        send(sock, GREETING[beginning:-1], deadline.left())
        if not connection.takes_in(sock, deadline.left() / 2):
            return False
        # A server may end its side first, and close a moment later.
        connection.wait_a_moment(deadline)
        send(sock, GREETING[-1:], deadline.left())
        return connection.takes_in(sock, deadline.left() / 2)
    except OSError:
        return False
    finally:
        connection.farewell(sock, min(connection.FAREWELL, deadline.left()))


def _excerpt(heard: bytes) -> str:
    """The beginning of what a peer sent, for a message."""
    line = heard.split(b"\n", 1)[0].strip()
    text = line.decode("ascii", "replace")
    if line and all(" " <= c <= "~" for c in text):
        return '"%s"' % text[:40]
    return "the bytes " + " ".join("%02x" % byte for byte in heard[:8])
