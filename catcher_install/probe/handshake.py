"""Try a TLS handshake: find out version, cipher and certificates, or what the peer speaks instead."""

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

# A peer that sends more bytes than this before the handshake ends is no TLS server. OpenSSL reads a chain of at most
# 100 KiB.
HANDSHAKE_LIMIT = 256 * 1024
# Type, version and length of a TLS record, and the type of the message in it.
RECORD_HEADER = 6

# A ClientHello of TLS 1.2 (RFC 5246, 7.4.1.2) with one cipher suite and no extension, for a Python without ssl. A TLS
# server answers it with a ServerHello or an alert.
GREETING = b"\x16\x03\x01\x00\x2d\x01\x00\x00\x29\x03\x03" + bytes(32) + b"\x00\x00\x02\xc0\x2b\x01\x00"


class Shake:
    """A TLS handshake over a connection. tls: the ssl.SSLObject. heard: the first bytes of the peer."""

    def __init__(self, sock: socket.socket, context: "Any", server_name: "Optional[str]") -> None:
        import ssl

        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.heard = b""
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    def run(self, deadline: Deadline) -> None:
        """Do the handshake. Raises NotTls, socket.timeout, EOFError (the peer ended the connection) or OSError, which
        includes ssl.SSLError.

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
        """Send close_notify, and close the connection. Returns OpenSSL's error if the peer refuses the handshake only
        now, else "". In TLS 1.3, a server that demands a client certificate refuses after our part is complete.
        """
        import ssl

        try:
            self.tls.unwrap()
        except ssl.SSLError as error:
            # Our close_notify is written. Only that of the peer is missing, which is not needed.
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
    """A bare ClientHello, instead of a Shake if Python has no ssl. It only shows whether the peer speaks TLS."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.heard = b""

    def run(self, deadline: Deadline) -> None:
        """Send the ClientHello, and receive the first bytes of a TLS answer. Raises NotTls, socket.timeout, EOFError or
        OSError."""
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
    """The peer sent something that is no TLS record of a server."""


def _may_be_server(heard: bytes) -> bool:
    """Return whether bytes can be the beginning of a TLS server's answer: a record (RFC 8446, 5.1), but no ClientHello.

    A ClientHello is our own, sent back by an echo server.
    """
    if not 20 <= heard[0] <= 23 or heard[1:2] not in (b"", b"\x03") or (len(heard) > 2 and heard[2] > 4):
        return False
    return not (heard[0] == 22 and heard[5:6] == b"\x01")


def context() -> "Any":
    """Return a context that offers TLS 1.2 and newer, as far as this system's policy allows, and accepts every
    certificate.

    trust.py checks whether a key or a digest is too weak for the policy.
    """
    import ssl

    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if hasattr(made, "minimum_version"):
        # The policy may demand a newer version.
        made.minimum_version = max(made.minimum_version, ssl.TLSVersion.TLSv1_2)
    else:
        made.options |= ssl.OP_NO_SSLv2 | ssl.OP_NO_SSLv3 | ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    return made


def shake_hands(
    sock: socket.socket, server_name: "Optional[str]", deadline: Deadline
) -> "Tuple[str, str, List[bytes], bool]":
    """Do a handshake with a TLS server. Returns (version, cipher, certificates in DER, whether they are the complete
    chain). Raises Ended."""
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
    """Run a handshake. Raises Ended."""
    # A fifth of the time is kept for a check whether a silent peer is alive.
    patience = Deadline(deadline.left() * 0.8)
    try:
        shake.run(patience)
    except (NotTls, EOFError, OSError) as error:
        left = deadline.left()
        said = connection.farewell(sock, min(connection.FAREWELL, left) if shake.heard else left)
        raise _judge(error, shake.heard, said) from error


def _judge(error: Exception, heard: bytes, said: "Optional[bytes]") -> Ended:
    """Return what a failed handshake tells about the peer.

    heard: the peer's first bytes. said: its reaction when we ended the connection, see connection.farewell().
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
    # ssl.SSLError has a reason. It may not exist in this Python, so it is not named here.
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
    """Return OpenSSL's name of an alert from the peer, or its text if this Python does not know the name; "" for any
    other error."""
    said = str(getattr(error, "reason", None) or reason_of(error))
    return said if "alert" in said.lower() or said.startswith("TLSV1_") else ""


def _plain(heard: bytes) -> Ended:
    """Return the end of a probe of a peer that answered with other bytes than a TLS server's."""
    if heard[0] == 22 and heard[5:6] == b"\x01":
        return Ended(TCP, "it sends back what it gets")
    return Ended(TCP, "it answers a TLS greeting with %s" % _excerpt(heard))


def reads_on(address: "Tuple[int, Any]", deadline: Deadline) -> bool:
    """Return whether a peer that ends its side of a connection without an answer still reads the rest of a ClientHello.

    A catcher in TCP mode without a backend does. A TLS server answers or closes the connection; it also closes if it
    has too many connections.
    """
    try:
        sock = connection.connect(address, deadline.left())
    except Ended:
        return False
    try:
        beginning = RECORD_HEADER - 1
        send(sock, GREETING[:beginning], deadline.left())
        # Half of the time: a server that has a free connection by now waits for the rest of the ClientHello.
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
    """Return the beginning of what a peer sent, for a message."""
    line = heard.split(b"\n", 1)[0].strip()
    text = line.decode("ascii", "replace")
    if line and all(" " <= c <= "~" for c in text):
        return '"%s"' % text[:40]
    return "the bytes " + " ".join("%02x" % byte for byte in heard[:8])
