"""The two ends of a connection, plain or TLS, and the flow from one to the other."""

import errno
import socket

CHUNK = 64 * 1024       # the largest read in plain TCP, and the most that is held for each direction of a connection
RECORD = 16 * 1024      # the same in TLS: the content of one record. More would stay in OpenSSL's memory
SEALED = RECORD + 512   # the size of an encrypted record
ROUNDS = 16             # chunks that one connection moves before the others get their turn
# One buffer for all connections, because there is one thread. What a write does not take of it is copied.
SPARE = memoryview(bytearray(CHUNK))


class Cut(OSError):
    """The peer ended a TLS stream without close_notify. Somebody on the way may have cut it short."""


class PlainEnd:
    """One end of a connection: a non-blocking socket with a plain stream."""

    def __init__(self, sock):
        self.sock = sock
        self.watched = 0        # the events that the selector knows
        self.drained = True     # everything that was received has been read

    def read(self, most=CHUNK):
        """Return received bytes; b"" at the end of the stream; None if there are none now. Raises OSError.

        The bytes are in SPARE, so they are valid until the next read of any connection.
        """
        try:
            return SPARE[:self.sock.recv_into(SPARE[:most])]
        except (BlockingIOError, InterruptedError):
            return None

    def write(self, data):
        """Send DATA. Returns how many bytes were taken, 0 if there is no room now. Raises OSError."""
        try:
            return self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def flush(self):
        """Send what write() has taken. Returns whether everything is sent. Raises OSError."""
        return True

    def pending(self):
        """Return whether something that write() has taken waits for room in the socket."""
        return False

    def may_read(self):
        """Return whether we may read: no, as long as the peer has not read our last answer."""
        return True

    def close_write(self):
        """End our side of the stream. Returns whether the end is sent; if not, call again later. Raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)
        return True


class TlsEnd(PlainEnd):
    """The server's end of a TLS connection. OpenSSL works on memory, so that one direction can end while the other goes
    on. ssl.SSLSocket cannot do that: its unwrap() reads, and loses data that the peer sends meanwhile."""

    def __init__(self, sock, context):
        import ssl
        PlainEnd.__init__(self, sock)
        self.ssl = ssl
        self.inbox, self.outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.inbox, self.outbox, server_side=True)
        self.unsent = b""       # ciphertext that the socket had no room for
        self.ended = False      # the socket is at its end
        self.notified = False   # close_notify is written

    def _receive(self):
        """Give OpenSSL one chunk from the socket. Returns False if there is none now."""
        data = None if self.ended else PlainEnd.read(self, SEALED)
        if data is None:
            return False
        self.drained = False
        if data:
            self.inbox.write(data)
        else:
            self.ended = True
            self.inbox.write_eof()
        return True

    def handshake(self):
        """Do one step of the handshake. Returns whether it is complete; else the peer must send more. Raises OSError,
        which may be an ssl.SSLError."""
        self._receive()
        try:
            self.tls.do_handshake()
        except self.ssl.SSLWantReadError:
            self.drained = True
            self.flush()
            return False
        except self.ssl.SSLError:
            self.notified = True    # the alert, which flush() sends, is instead of close_notify
            raise
        self.flush()
        return True

    def _decrypt(self):
        try:
            data = SPARE[:self.tls.read(RECORD, SPARE)]
        except self.ssl.SSLWantReadError:
            self.drained = True
            return None
        except self.ssl.SSLZeroReturnError:
            data = SPARE[:0]
        except self.ssl.SSLError:
            if self.ended:
                raise Cut(errno.ECONNABORTED, "the peer closed without close_notify") from None
            raise
        self.drained = not data
        return data

    def read(self, most=RECORD):
        # Ask OpenSSL only if it has something: a call for nothing costs as much as a small record.
        there = self.inbox.pending or self.tls.pending() or self.ended
        self.drained = not there
        data = self._decrypt() if there else None
        if data is None and self.may_read() and self._receive():
            data = self._decrypt()
        return data

    def write(self, data):
        if not self.flush():
            return 0
        count = self.tls.write(data)
        self.flush()
        return count

    def flush(self):
        while True:
            if not self.unsent:
                self.unsent = self.outbox.read(SEALED)
            if not self.unsent:
                return True
            count = PlainEnd.write(self, self.unsent)
            if not count:
                return False
            self.unsent = self.unsent[count:]

    def pending(self):
        return bool(self.unsent or self.outbox.pending)

    def may_read(self):
        return self.outbox.pending < 2 * SEALED  # one write leaves less; more are answers to the peer's key updates

    def close_write(self):
        if not self.notified:
            if not self.drained:
                return False    # SSL_shutdown reads, and would drop data that is not decrypted yet
            self.notified = True
            try:
                self.tls.unwrap()
            except self.ssl.SSLError:
                return self.close_write()   # our close_notify is written; that of the peer is not needed
        return self.flush() and PlainEnd.close_write(self)


class Flow:
    """One direction of a relay. It reads only when everything read before is written, so a slow reader slows down the
    sender."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.buffer = b""
        self.chunk = RECORD if isinstance(source, TlsEnd) or isinstance(target, TlsEnd) else CHUNK
        self.count = 0      # bytes written
        self.ended = False  # the source has ended
        self.done = False   # and that end was sent to the target

    def pump(self):
        """Move what can be moved now. Returns True if it stopped only to let others go on. Raises OSError."""
        for _ in range(ROUNDS):
            data = self.buffer
            if not data:
                if self.ended:
                    self.done = self.done or self.target.close_write()
                    return False
                data = self.source.read(self.chunk)
                if data is None:
                    return False
                if not data:
                    self.ended = True
                    continue
            count = self.target.write(data)
            self.count += count
            self.buffer = bytes(data[count:])
            if not count:
                return False
        return True


def plain(reason):
    """Return OpenSSL's name of an error, e.g. NO_SHARED_CIPHER, in words. SSLV3_ALERT_HANDSHAKE_FAILURE loses the
    version: it is the one that introduced the alert, not the one in use."""
    text = reason.lower().replace("_", " ") if reason else ""
    version, _, alert = text.partition(" ")
    return "alert " + alert.replace("alert ", "", 1) if version.startswith(("sslv", "tlsv")) else text


def handshake_problem(reason):
    """Return what an administrator should know about a failed handshake. REASON: OpenSSL's name of the error."""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"):
        return "the peer does not speak TLS (on the TKE: Enable SSL/TLS is not ticked)"
    if reason in ("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW"):
        return "the peer offers no TLS 1.2 or newer, or none that this system allows"
    text = plain(reason)
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return "the peer does not accept our certificate (%s); import it into the TKE" % text
    return text
