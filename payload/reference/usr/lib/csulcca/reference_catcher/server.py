"""The server's loop: it accepts connections, handles their events and deadlines, and stops."""

import errno
import selectors
import signal
import socket
import time

from .connection import CLOSED, CONNECT, FAREWELL, HANDSHAKE, RELAY, RESET_ON_CLOSE, Connection
from .log import ERROR, INFO, WARNING
from .ports import origin
from .process import give_back_memory, tell_systemd
from .refusal import Refused
from .settings import unmapped
from .streams import ROUNDS, PlainEnd, TlsEnd

AT_REST = 0.2           # a stop does not wait for a relay that has moved nothing for this part of stop_timeout
ACCEPT_PAUSE = 0.5      # seconds without accepting after the system had no descriptor or memory left
MANY = 64               # after this many connections at the same time it is worth giving back memory
SESSION_CACHE = 512     # sessions of TLS 1.2 clients that OpenSSL may cache before a new context is made


class Server:
    """The server. make_context: returns an ssl.SSLContext; None for plain TCP."""

    def __init__(self, settings, log, listeners, backends, make_context):
        self.settings, self.log, self.listeners, self.backends = settings, log, listeners, backends
        self.make_context = make_context
        self.context = make_context() if make_context else None
        self.selector = selectors.DefaultSelector()
        self.connections = {}       # an ordered set of all connections, the oldest first
        self.peers = {}             # {origin(): {address: an ordered set of its connections}}
        self.counts = {}            # {origin(): the number of its connections}
        self.unfinished = {}        # an ordered set of connections that paused only to let others go on
        self.give_back_at = -1      # memory is given back when no more than this many connections are left
        self.next_check = 0.0       # when the next deadline may come
        self.accepting = False
        self.stop_at = None         # when the last relays are cut, once a stop was asked for
        self.wake = None

    # -- life

    def run(self, ready):
        """Log READY and serve until SIGTERM or SIGINT, then let relays finish. (Only a restart loads a new pair.)"""
        self.wake, writer = socket.socketpair()
        for sock in (self.wake, writer):
            sock.setblocking(False)
        signal.set_wakeup_fd(writer.fileno())
        for number_ in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number_, lambda *_: None)
        self.selector.register(self.wake, selectors.EVENT_READ)
        self._accept_from_now(True)
        self.log(INFO, ready)
        tell_systemd("READY=1")
        while not self.stopping or self.connections:
            for key, _ in self.selector.select(self._timeout()):
                self._event(key)
            for connection in list(self.unfinished):
                self._step(connection)
            now = time.monotonic()
            if now >= self.next_check:
                self._check(now)
        self.log.tick(float("inf"))
        self.log(INFO, "stopped")

    @property
    def stopping(self):
        """Whether a stop was asked for."""
        return self.stop_at is not None

    def _event(self, key):
        if key.fileobj is self.wake:
            self.wake.recv(64)
            self._stop()
        elif key.data is None:
            self._accept(key.fileobj)
        else:
            self._step(key.data)

    def _step(self, connection):
        self.unfinished.pop(connection, None)
        connection.step()

    def _has_emptied(self):
        """Return whether so few connections are left that memory should be given back."""
        return len(self.connections) <= self.give_back_at

    def _timeout(self):
        if self.unfinished:
            return 0
        return max(0.0, self.next_check - time.monotonic()) if self.next_check != float("inf") else None

    def _check(self, now):
        """End what has reached its deadline, and find the next deadline."""
        self.log.tick(now)
        if self._has_emptied():
            # The next time is when a quarter of the present connections is left, and then when none is.
            self.give_back_at = len(self.connections) // 4 if self.connections else -1
            give_back_memory()
        if not self.accepting and not self.stopping:
            self._accept_from_now(True)
        soonest = self.log.window_end if self.log.hidden else float("inf")
        quiet = AT_REST * self.settings.stop_timeout
        for connection in list(self.connections):
            resting = connection.state == RELAY and now - connection.moved_at >= quiet
            if self.stopping and connection.state == RELAY and (resting or now >= self.stop_at):
                connection.cut()
            elif now >= connection.deadline:
                connection.expire()
            if connection.state != CLOSED:
                soonest = min(soonest, connection.deadline)
        if self.stopping and self.connections:
            soonest = min(soonest, now + quiet / 10)
        self.next_check = soonest

    def _stop(self):
        """Stop accepting at once. Relays that still move data get stop_timeout seconds; all other connections end."""
        if self.stopping:
            return
        now = time.monotonic()
        self.stop_at, self.next_check = now + self.settings.stop_timeout, now
        self._accept_from_now(False)
        for listener in self.listeners:
            listener.close()
        tell_systemd("STOPPING=1")
        self.log(INFO, "stopping, %d connections" % len(self.connections))
        for connection in list(self.connections):
            connection.stop()

    # -- accepting

    def _accept_from_now(self, on):
        if on != self.accepting:
            for listener in self.listeners:
                if on:
                    self.selector.register(listener, selectors.EVENT_READ)
                else:
                    self.selector.unregister(listener)
        self.accepting = on

    def _accept(self, listener):
        for _ in range(ROUNDS):
            if not self.accepting:
                return
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in (errno.ECONNABORTED, errno.EPERM, errno.EPROTO):
                    continue    # that peer is gone, or a firewall rule refuses it
                # No descriptors or no memory left. The waiting peer would wake us again and again, so pause.
                self.log.use("the system", ERROR, "cannot accept for now: %s" % error.strerror)
                self._accept_from_now(False)
                self.check_by(time.monotonic() + ACCEPT_PAUSE)
                return
            self.admit(sock, address)

    def admit(self, sock, address):
        """Begin a connection, if there is room for it. ADDRESS: of the peer, a tuple that begins with host and port."""
        host = unmapped(address[0])
        peer, source = ("[%s]:%d" if ":" in host else "%s:%d") % (host, address[1]), origin(host)
        if self._is_own(address):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
            sock.close()
            self.log.use("the system", ERROR, "the backend in %s is this catcher itself" % self.settings.path)
            return
        full = self._full(host, source)
        if full:
            sock.close()
            self.log.noise(source, WARNING, "%s: refused, %s in %s)" % (peer, full, self.settings.path))
            return
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            client = TlsEnd(sock, self._tls_context()) if self.context else PlainEnd(sock)
        except (OSError, MemoryError) as error:
            sock.close()
            self.log.noise(source, ERROR, "%s: %s" % (peer, error))
            return
        connection = Connection(self, client, peer, host, source)
        self.connections[connection] = None
        if len(self.connections) >= MANY:
            self.give_back_at = max(self.give_back_at, len(self.connections) // 4)
        self.peers.setdefault(source, {}).setdefault(host, {})[connection] = None
        self.counts[source] = self.counts.get(source, 0) + 1
        connection.step()

    def _is_own(self, address):
        """Return whether a peer is this catcher itself, as its own backend: then one client would use up all
        connections."""
        backend, peer = self.settings.backend, (unmapped(address[0]), address[1])
        if not backend or backend[-1] != self.settings.port:
            return False
        own = [one.backend.sock.getsockname() for one in self.connections if one.backend is not None]
        return peer in [(unmapped(name[0]), name[1]) for name in own]

    def _full(self, host, source):
        """Return why there is no room for one more connection of HOST, whose origin() is SOURCE; "" if there is room or
        room was made.

        If HOST has too many connections, one of its own is ended. If SOURCE has too many, one of its address with the
        most connections is ended. If there are too many in all, the origin with the most connections loses one.
        """
        near = self.peers.get(source, {})
        mine = near.get(host, {})
        limit = self.settings.max_connections_per_address
        if len(mine) >= limit and not self._make_room(mine):
            return "all %d connections that one address may have are in use (max_connections_per_address=" % limit
        limit = self.settings.max_connections_per_network
        if source != host and self.counts.get(source, 0) >= limit and not self._make_room_among(near):
            return "all %d connections that one network may have are in use (max_connections_per_address=" % limit
        limit = self.settings.max_connections
        if len(self.connections) >= limit and not self._make_room_anywhere():
            return "all %d connections are in use (max_connections=" % limit
        return ""

    def _make_room_anywhere(self):
        """Do what _make_room() does for the origin with the most connections; if it cannot lose one, for the others."""
        most = max(self.counts, key=self.counts.__getitem__)
        return self._make_room_among(self.peers[most]) or any(
            self._make_room_among(self.peers[one])
            for one in sorted(self.counts, key=self.counts.__getitem__, reverse=True) if one != most)

    def _make_room_among(self, pools):
        """Do what _make_room() does for the addresses of one origin, those with the most connections first."""
        return any(self._make_room(pool) for pool in sorted(pools.values(), key=len, reverse=True))

    @staticmethod
    def _make_room(pool):
        """End the oldest connection of POOL that is only being closed, or else has not finished its handshake. Returns
        whether there was one."""
        for state in (FAREWELL, HANDSHAKE):
            for connection in pool:
                if connection.state == state:
                    if state == HANDSHAKE:
                        connection.fail("no handshake yet, ended to make room for a newer connection")
                    else:
                        connection.close()
                    return True
        return False

    def _tls_context(self):
        """Return the context for a new connection. It is replaced before its cache of TLS 1.2 sessions grows large."""
        if self.context.session_stats()["number"] >= SESSION_CACHE:
            try:
                self.context = self.make_context()
            except (OSError, Refused) as error:
                self.log.use("OpenSSL", ERROR, "no new TLS context, the old one goes on: %s" % error)
        return self.context

    # -- what connections call

    def check_by(self, moment):
        """Look at the deadlines at MOMENT (time.monotonic()) or earlier."""
        self.next_check = min(self.next_check, moment)

    def resume_soon(self, connection):
        """Let CONNECTION go on after the others have had their turn."""
        self.unfinished[connection] = None

    def forget(self, connection):
        """Remove CONNECTION, which is closed."""
        self.connections.pop(connection, None)
        self.unfinished.pop(connection, None)
        near = self.peers.get(connection.origin, {})
        mine = near.get(connection.address, {})
        if connection in mine:
            del mine[connection]
            self.counts[connection.origin] -= 1
        if not mine:
            near.pop(connection.address, None)
        if not near:
            self.peers.pop(connection.origin, None)
            self.counts.pop(connection.origin, None)
        if self._has_emptied():
            self.check_by(time.monotonic())

    def watch(self, connection):
        """Wait for the events that CONNECTION can use in its state, and no others: they would wake us again and
        again."""
        read, write = selectors.EVENT_READ, selectors.EVENT_WRITE
        client, backend = connection.client, 0
        events = write if client.pending() else 0
        if connection.state in (HANDSHAKE, FAREWELL):
            events |= read
        elif connection.state == CONNECT:
            backend = write
        else:
            up, down = connection.up, connection.down
            events |= (0 if up.ended or up.buffer or not client.may_read() else read) | (write if down.buffer else 0)
            backend = (0 if down.ended or down.buffer else read) | (write if up.buffer else 0)
        for end, wanted in ((client, events), (connection.backend, backend)):
            if end is None or end.watched == wanted:
                continue
            if not wanted:
                self.selector.unregister(end.sock)
            elif end.watched:
                self.selector.modify(end.sock, wanted, connection)
            else:
                self.selector.register(end.sock, wanted, connection)
            end.watched = wanted

    def unwatch(self, end):
        """Stop waiting for events of END."""
        if end.watched:
            self.selector.unregister(end.sock)
            end.watched = 0
