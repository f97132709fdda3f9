"""The two ends of a connection, plain or TLS, and the flow from one to the other."""

import errno
import socket

CHUNK = 64 * 1024       # the most that is read at once, and held for each direction of a connection in TCP;
RECORD = 16 * 1024      # in TLS what one record carries: what is more would lie in OpenSSL's memory
SEALED = RECORD + 512   # and a record as it is sent
ROUNDS = 16             # chunks that one connection moves before the others get their turn
# One for all, since there is one thread: what one read finds and the next write does not take is copied.
SPARE = memoryview(bytearray(CHUNK))


class Cut(OSError):
    """The peer ended a TLS stream without close_notify, so it may have been cut short by anyone on the way."""


class PlainEnd:
    """One end of a connection: a non-blocking socket with a plain stream."""

    def __init__(self, sock):
        self.sock = sock
        self.watched = 0        # the events that the selector knows
        self.drained = True     # everything that was received has been read

    def read(self, most=CHUNK):
        """Some bytes, until the next read of any end; b"" at the end of the stream; None if there are none now.

        Raises OSError.
        """
        try:
            return SPARE[:self.sock.recv_into(SPARE[:most])]
        except (BlockingIOError, InterruptedError):
            return None

    def write(self, data):
        """How many bytes of DATA were taken, 0 if there is no room now. Raises OSError."""
        try:
            return self.sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def flush(self):
        """Send what was taken; True when none of it is left. Raises OSError."""
        return True

    def pending(self):
        """Whether something that was taken waits for room in the socket."""
        return False

    def may_read(self):
        """Whether we may read: False until the peer has read our last answer."""
        return True

    def close_write(self):
        """End our half of the stream. Returns True as soon as that is on its way. Raises OSError."""
        self.sock.shutdown(socket.SHUT_WR)
        return True


class TlsEnd(PlainEnd):
    """A TLS server's end. OpenSSL works on memory: so a half-closed TLS stream still carries the other direction,
    which ssl.SSLSocket cannot do (its unwrap() reads on, and loses data that the peer sends meanwhile)."""

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
        """Give OpenSSL one chunk from the socket; False if there is none now."""
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
        """One step. True when done, False when more must come from the peer. Raises OSError (ssl.SSLError)."""
        self._receive()
        try:
            self.tls.do_handshake()
        except self.ssl.SSLWantReadError:
            self.drained = True
            self.flush()
            return False
        except self.ssl.SSLError:
            self.notified = True    # by the alert, which flush() sends
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
        # Asking OpenSSL in vain costs as much as a small record.
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
        return self.outbox.pending < 2 * SEALED  # more than a write leaves there: key updates that wait for answers

    def close_write(self):
        if not self.notified:
            if not self.drained:
                return False    # SSL_shutdown reads on, and would throw away what is still undecrypted
            self.notified = True
            try:
                self.tls.unwrap()
            except self.ssl.SSLError:
                return self.close_write()   # ours is written; the peer's is not here yet, and nobody waits for it
        return self.flush() and PlainEnd.close_write(self)


class Flow:
    """One direction of a relay. It reads only when all that was read before is written: that is the back-pressure."""

    def __init__(self, source, target):
        self.source, self.target = source, target
        self.buffer = b""
        self.chunk = RECORD if isinstance(source, TlsEnd) or isinstance(target, TlsEnd) else CHUNK
        self.count = 0      # bytes written
        self.ended = False  # the source is at its end,
        self.done = False   # and the target has been told

    def pump(self):
        """Move what can be moved now. True if it stopped only to give others their turn. Raises OSError."""
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
    """OpenSSL's name of a reason, such as NO_SHARED_CIPHER, in words; of SSLV3_ALERT_HANDSHAKE_FAILURE without the
    version, which tells since when there is that alert, and not what is spoken."""
    text = reason.lower().replace("_", " ") if reason else ""
    version, _, alert = text.partition(" ")
    return "alert " + alert.replace("alert ", "", 1) if version.startswith(("sslv", "tlsv")) else text


def handshake_problem(reason):
    """What an administrator should know of OpenSSL's REASON for a failed handshake."""
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG"):
        return "the peer does not speak TLS (on the TKE: Enable SSL/TLS is not ticked)"
    if reason in ("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW"):
        return "the peer offers no TLS 1.2 or newer, or none that this system allows"
    text = plain(reason)
    if "ALERT" in reason and ("CERTIFICATE" in reason or "UNKNOWN_CA" in reason):
        return "the peer does not accept our certificate (%s); import it into the TKE" % text
    return text
