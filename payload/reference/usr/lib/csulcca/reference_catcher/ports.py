"""The sockets that the catcher listens on, and the addresses of its backend."""

import _thread
import errno
import socket
import sys
import time

from .log import INFO, NOTICE, WARNING
from .refusal import EDIT_CONF, EX_CONFIG, EX_FAILED, Refused
from .settings import unmapped

TCP_TIME_WAIT, TCP_LISTEN = 6, 10   # tcp_states.h
IP_FREEBIND = 15                    # in.h; see ip(7). It works for IPv6, too
RETRY, RETRY_LIMIT = 1.0, 60.0      # seconds between attempts to look up a name: the first pause, and the longest
PATIENCE = 2.0                      # seconds for which a start waits for the first attempt, which may take minutes


def listen(settings, log):
    """Return listening sockets for the configured addresses. Raises Refused if one cannot be made.

    By default, a system without IPv4 or without IPv6 only gets a line in the log. With listen=, every address must
    work, but the system may get it later.
    """
    sockets, port, chosen = [], settings.port, "listen" in settings.given
    for (family, name), address in wanted(settings).items():
        try:
            try:
                sockets.append(listener(family, name))
            except OSError as error:
                if not chosen or error.errno != errno.EADDRNOTAVAIL:
                    raise
                sockets.append(listener(family, name, absent=True))
                log(WARNING, "this system does not have the address %s; peers are served there as soon as it has" %
                    address)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Refused(EX_FAILED, "port %d is in use: %s" % (port, who_has(port)),
                              "see which program with: ss -tanp 'sport = :%d'" % port) from None
            if chosen or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                status = EX_CONFIG if error.errno in (errno.EACCES, errno.EPERM, errno.EINVAL) else EX_FAILED
                raise Refused(status, "cannot listen on port %d of %s: %s" % (port, address, error.strerror),
                              "see the addresses of this system with: ip address") from None
            log(NOTICE, "this system has no %s: not listening on %s" % (
                "IPv6" if family == socket.AF_INET6 else "IPv4", address))
    if not sockets:
        raise Refused(EX_FAILED, "this system has neither IPv4 nor IPv6", "see its addresses with: ip address")
    return sockets


def wanted(settings):
    """Return {(family, socket address): the address as configured}. Raises Refused.

    The kernel gives a port only once. So each address appears once, and no address beside "0.0.0.0" or "::" of its
    family.
    """
    found = {}      # type: dict
    for address in settings.listen:
        try:
            family, _, _, _, name = socket.getaddrinfo(address, settings.port, type=socket.SOCK_STREAM,
                                                       flags=socket.AI_NUMERICHOST)[0]
        except OSError:
            raise Refused(EX_FAILED, "cannot listen on %s: this system has no interface of that name" % address,
                          "see the interfaces of this system with: ip address") from None
        found.setdefault((family, name), address)
    everywhere = {family for family, name in found if name[0] in ("0.0.0.0", "::")}
    return {(family, name): address for (family, name), address in found.items()
            if family not in everywhere or name[0] in ("0.0.0.0", "::")}


def listener(family, name, absent=False):
    """Return a listening, non-blocking socket. One for IPv6 does not accept IPv4. Raises OSError.

    ABSENT: this system need not have the address.
    """
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if absent:
            sock.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        sock.bind(name)
        sock.listen(512)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def who_has(port):
    """Return what occupies the local PORT, for a message, from the kernel's tables (proc_pid_net(5)).

    That is a listener, or an outgoing connection that has the port as its local port: it is open, or was closed within
    the last minute.
    """
    listening, open_, closed = [], [], []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        try:
            with open("/proc/self/net/" + name, "rb") as file:
                rows = [line.split() for line in file.read().splitlines()[1:]]
        except OSError:
            continue
        for row in rows:
            if int(row[1].rpartition(b":")[2], 16) != port:
                continue
            state = int(row[3], 16)
            if state == TCP_LISTEN:
                listening.append(shown_address(family, row[1]))
            elif state == TCP_TIME_WAIT:
                closed.append(shown_address(family, row[2]))
            else:
                open_.append(shown_address(family, row[2]))
    if listening:
        return "another process listens on " + " and ".join(listening[:4])
    if open_:
        return "an outgoing connection of this system to %s has it as its own port" % " and ".join(open_[:4])
    if closed:
        return "an outgoing connection to %s used it; the port is free again within a minute" % (
            " and ".join(closed[:4]))
    return "another process has it"


def shown_address(family, text):
    """Return ADDRESS:PORT from the kernel's tables (words of 32 bits in the host's byte order) as people write it."""
    address, _, port = text.partition(b":")
    data = bytes.fromhex(address.decode())
    words = [data[at:at + 4] for at in range(0, len(data), 4)]
    packed = b"".join(words if sys.byteorder == "big" else [word[::-1] for word in words])
    host = unmapped(socket.inet_ntop(family, packed))
    return ("[%s]:%d" if ":" in host else "%s:%d") % (host, int(port, 16))


def origin(host):
    """Return what counts as one source of connections: an IPv4 address, or the /64 network of an IPv6 address, because
    one host may use all its addresses."""
    host = unmapped(host.partition("%")[0])
    if ":" not in host:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host)
    if not any(packed[:8]):
        return host
    return socket.inet_ntop(socket.AF_INET6, packed[:8] + bytes(8)) + "/64"


def backend_addresses(settings, log):
    """Return [(family, address)] of the backend; [] without one.

    A name is looked up in a thread, because the loop must not wait for a name server. A start waits PATIENCE seconds
    for it. If the name is not known then, the start goes on, and the thread fills the list later: better than a start
    that fails and is repeated every two seconds. Raises Refused if the limit of processes allows no thread and the name
    is not known now.
    """
    if settings.backend is None:
        return []
    if settings.backend[0] == "unix":
        return [(socket.AF_UNIX, settings.backend[1])]
    try:
        return look_up(settings, socket.AI_NUMERICHOST)
    except OSError:
        found, told, looked = [], set(), _thread.allocate_lock()    # type: list, set, _thread.LockType
    looked.acquire()
    # The thread ends with the process, or when it has found the name. The module threading would take more memory.
    try:
        _thread.start_new_thread(keep_looking, (settings, log, found, told, looked))
    except RuntimeError:
        return look_up_now(settings)
    if not looked.acquire(timeout=PATIENCE):
        log(WARNING, "the backend's name %s is not known yet, since no name server answers" % settings.backend[1])
        told.add("")
    return found


def look_up(settings, flags=0):
    """Return [(family, address)] of a backend that is set as a host. Raises OSError."""
    found = socket.getaddrinfo(settings.backend[1], settings.backend[2], type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in found]


def look_up_now(settings):
    """Do what look_up() does, for a start that cannot have a thread. Raises Refused."""
    try:
        return look_up(settings)
    except OSError:
        raise Refused(EX_FAILED, "the backend's name %s cannot be looked up" % settings.backend[1],
                      "use its address: " + EDIT_CONF % settings.path) from None


def keep_looking(settings, log, found, told, looked):
    """Fill FOUND with the addresses of the backend as soon as they are known, and release LOOKED after the first
    attempt.

    TOLD: the problems that were logged already.
    """
    pause, first, problem = RETRY, True, ""
    while not found:
        try:
            found.extend(look_up(settings))
        except OSError:
            problem = ""
        except Exception as error:  # noqa: BLE001 - without this thread the name would never be found
            problem = " (%s)" % type(error).__name__
        if not found and problem not in told:
            told.add(problem)
            log(WARNING, "the backend's name %s cannot be looked up%s; it is tried again" % (
                settings.backend[1], problem))
        if first:
            looked.release()
            first = False
        if not found:
            time.sleep(pause)
            pause = min(2 * pause, RETRY_LIMIT)
    if told:
        log(INFO, "the backend's name %s is known now" % settings.backend[1])


def backend_name(settings):
    """Return the backend's name for the log, or that there is none and where to set one."""
    if settings.backend is None:
        return "no backend is configured in " + settings.path
    return "backend " + (settings.backend[1] if settings.backend[0] == "unix" else "%s:%d" % settings.backend[1:])
