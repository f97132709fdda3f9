"""One connection of a peer: its handshake, its relay to the backend, and its end."""

import errno
import os
import socket
import sys
import time

from .log import ERROR, INFO, NOTICE, WARNING, summary
from .ports import backend_name
from .streams import ROUNDS, Flow, PlainEnd, TlsEnd, handshake_problem, plain

HANDSHAKE, CONNECT, RELAY, FAREWELL, CLOSED = "handshake", "connect", "relay", "farewell", "closed"

AGAIN = 0.05            # seconds until the next attempt at a Unix socket whose queue of connections is full
LINGER = 2.0            # seconds for a peer to read the end of our stream before the socket is closed,
LAST_LINGER = 0.2       # and the same while the catcher stops
# struct linger: on or off, seconds. Each socket starts with RESET_ON_CLOSE, and gets FIN_ON_CLOSE only when its stream
# is complete. So a stream that we cut, even by a crash, never looks complete to the receiver.
RESET_ON_CLOSE = (1).to_bytes(4, sys.byteorder) + bytes(4)
FIN_ON_CLOSE = bytes(8)


class Connection:
    """A peer and its backend, once there is a connection to it. deadline: when the current state ends by itself.

    The server has the settings, the log, the backend's addresses and the selector. It calls step() after each event,
    expire() after the deadline, and stop() when it stops. After each of these calls the state may be CLOSED.
    """

    def __init__(self, server, client, peer, address, origin):
        self.server, self.settings, self.log = server, server.settings, server.log
        self.client, self.backend = client, None
        self.peer, self.address, self.origin = peer, address, origin
        self.protocol = "TLS" if isinstance(client, TlsEnd) else "TCP"
        self.state = HANDSHAKE
        self.started = self.moved_at = self.deadline = time.monotonic()
        self.candidates = []    # addresses of the backend that were not tried yet,
        self.target = None      # and the one that is tried now
        self.full_until = 0.0   # when attempts at a Unix socket with a full queue end
        self.up = self.down = None
        self.farewell_sent = self.warned = False
        self.backend_failed = False     # then what the client sends is lost, and no answer comes
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._wait_for(self.settings.handshake_timeout)

    def __str__(self):
        return "%s: %s" % (self.peer, self.protocol)

    def ends(self):
        """Return the one or two ends that are open."""
        return [end for end in (self.client, self.backend) if end is not None]

    def step(self):
        """Do what can be done now. A failure ends only this connection."""
        self._guarded(self._step)

    def expire(self):
        """End the state whose time is over."""
        self._guarded(self._expire)

    def _guarded(self, action):
        if self.state == CLOSED:
            return
        try:
            action()
            if self.state != CLOSED:
                self.server.watch(self)
        except OSError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - whatever one peer provokes must not disturb the others
            self.end(ERROR, "unexpected error: " + summary(error), cut=True)

    def _step(self):
        self.client.flush()
        getattr(self, "_step_" + self.state)()

    def _expire(self):
        if self.state == FAREWELL:
            self.close()
        elif self.state == HANDSHAKE:
            self.fail("no handshake within %g s" % self.settings.handshake_timeout)
        elif self.state == CONNECT and self.backend is None and time.monotonic() < self.full_until:
            self._connect()
        elif self.state == CONNECT:
            self._connect_failed("no answer within %g s" % self.settings.handshake_timeout)
        else:
            self.end(NOTICE, "nothing moved for %g s%s" % (self.settings.idle_timeout, self._amount()), cut=True)

    def stop(self):
        """Stop, because the catcher stops: what is not relayed yet ends now, and LINGER becomes LAST_LINGER."""
        if self.state == HANDSHAKE:
            self.fail("ended, because the catcher stops")
        elif self.state == CONNECT:
            self.cut()
        elif self.state == FAREWELL:
            self.deadline = min(self.deadline, time.monotonic() + LAST_LINGER)

    def cut(self):
        """End a relay, because the catcher's stop no longer waits for it."""
        self.end(NOTICE, "cut, because the catcher stops" + self._amount(), cut=True)

    def end(self, priority, outcome, cut=False):
        """Log OUTCOME, and close."""
        self.log.use(self.origin, priority, "%s: %s" % (self, outcome))
        self.close(cut)

    def fail(self, outcome):
        """Do what end() does, for a peer that never used the catcher."""
        self.log.noise(self.origin, NOTICE, "%s: %s" % (self, outcome))
        self.close()

    def close(self, cut=False):
        """Close both sockets. With CUT, both peers see an error, so they know that the stream is not complete. If the
        backend was lost, the client always sees an error."""
        for end in self.ends():
            self.server.unwatch(end)
            if not (cut or self.backend_failed):
                end.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FIN_ON_CLOSE)
            end.sock.close()
        self.state = CLOSED
        self.server.forget(self)

    # -- the states

    def _step_handshake(self):
        if isinstance(self.client, TlsEnd):
            if not self.client.handshake():
                return
            self.protocol = "%s %s" % (self.client.tls.version(), self.client.tls.cipher()[0])
        if self.settings.backend is None:
            self._goodbye("%s, closed" % backend_name(self.settings))
            return
        if not self.server.backends:
            self._backend_lost("its name cannot be looked up")
            return
        self.candidates = list(self.server.backends)
        self.full_until = time.monotonic() + self.settings.handshake_timeout
        self._connect_next()

    def _connect_next(self):
        self.target = self.candidates.pop(0)
        self._connect()

    def _connect(self):
        family, address = self.target
        self.state = CONNECT
        self._wait_for(self.settings.handshake_timeout)
        sock = socket.socket(family, socket.SOCK_STREAM)
        self.backend = PlainEnd(sock)
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        code = sock.connect_ex(address)
        if code == errno.EAGAIN and family == socket.AF_UNIX:
            # The listener's queue is full. For TCP the kernel would wait, for a Unix socket it does not (connect(2)).
            self._drop_backend()
            self._wait_for(AGAIN)
        elif code not in (0, errno.EINPROGRESS):
            self._connect_failed(os.strerror(code))

    def _step_connect(self):
        if self.backend is None:
            return      # the next attempt comes soon
        sock = self.backend.sock
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._connect_failed(os.strerror(code))
            return
        try:
            peer = sock.getpeername()
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            return      # not connected yet: the event was the client's
        if sock.family != socket.AF_UNIX and peer == sock.getsockname():
            # Nobody listens, and our local port happens to be the backend's: we are connected to ourselves.
            self._connect_failed(os.strerror(errno.ECONNREFUSED))
            return
        self.state = RELAY
        self.up = Flow(self.client, self.backend)
        self.down = Flow(self.backend, self.client)
        self._wait_for(self.settings.idle_timeout)
        self.log.use(self.origin, INFO, "%s: relayed to %s" % (self, backend_name(self.settings)))
        self._step_relay()

    def _connect_failed(self, reason):
        self._drop_backend()
        if self.candidates:
            self._connect_next()
        else:
            self._backend_lost(reason)

    def _backend_lost(self, reason):
        self.backend_failed = True
        self._goodbye("%s: %s, closed" % (backend_name(self.settings), reason), WARNING)

    def _step_relay(self):
        up, down = self.up, self.down
        before = up.count + down.count
        more = [flow.pump() for flow in (up, down)]
        if up.count + down.count != before:
            self.moved_at = time.monotonic()
            self.deadline = self.moved_at + self.settings.idle_timeout
        if up.done and down.done:
            self.end(INFO, "ended" + self._amount())
        elif any(more):
            self.server.resume_soon(self)

    def _step_farewell(self):
        client = self.client
        if not (self.farewell_sent or self.backend_failed):
            self.farewell_sent = client.close_write()
        for _ in range(ROUNDS):
            # Decrypt only if it matters whether the client has sent data, which is lost.
            data = client.read() if self.backend_failed else PlainEnd.read(client)
            if data is None:
                return
            if not data or self.backend_failed:
                self.close()
                return
            if data[:2] == b"\x16\x03" and self.protocol == "TCP" and not self.warned:
                self.warned = True
                self.log.noise(self.origin, NOTICE, "%s: the peer speaks TLS, and the catcher runs without -tls "
                               "(on the TKE: Enable SSL/TLS is ticked)" % self)

    # -- ends

    def _failed(self, error):
        """End after an OSError, which may be an ssl.SSLError, and log what it means for an administrator."""
        if self.state == FAREWELL:
            self.close()
        elif self.state == HANDSHAKE and getattr(error, "reason", None) and not self.client.ended:
            self._goodbye("handshake failed: " + handshake_problem(error.reason), NOTICE, say=self.log.noise)
        elif self.state == HANDSHAKE:
            self.fail("handshake failed: the peer closed the connection")
        else:
            reason = plain(getattr(error, "reason", None)) or error.strerror or "failed"
            self.end(NOTICE, "broken: %s%s" % (reason, self._amount()), cut=True)

    def _goodbye(self, outcome, priority=INFO, say=None):
        """Log OUTCOME, end the stream as its protocol demands, and give the peer LINGER seconds to read that.

        If the backend was lost, the stream stays open for that time, so that a client can see our certificate.
        """
        (say or self.log.use)(self.origin, priority, "%s: %s" % (self, outcome))
        self._drop_backend()
        if self.backend_failed and self.client.read():
            self.close()        # what the client has sent is lost, so it must see an error now
            return
        self.client.drained = True      # what it still sends is dropped
        self.state = FAREWELL
        self._wait_for(LAST_LINGER if self.server.stopping else LINGER)
        self.step()

    def _drop_backend(self):
        if self.backend is not None:
            self.server.unwatch(self.backend)
            self.backend.sock.close()
            self.backend = None

    def _amount(self):
        if self.up is None:
            return ""
        return ", %d bytes to the backend, %d from it, %.1f s" % (
            self.up.count, self.down.count, time.monotonic() - self.started)

    def _wait_for(self, seconds):
        self.deadline = time.monotonic() + seconds
        self.server.check_by(self.deadline)
