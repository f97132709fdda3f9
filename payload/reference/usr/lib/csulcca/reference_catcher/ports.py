"""The sockets that the catcher listens on, and the addresses of its backend."""

import errno
import socket

from .log import NOTICE
from .refusal import EDIT_CONF, EX_FAILED, Refused


def listen(settings, log):
    """Listening sockets for the configured addresses. Raises Refused where one cannot be had.

    IPv4 or IPv6 that this system does not have costs a line; with listen= every address must work.
    """
    sockets, port = [], settings.port
    for address in settings.listen:
        family, _, _, _, name = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM,
                                                   flags=socket.AI_NUMERICHOST)[0]
        try:
            sockets.append(listener(family, name))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise Refused(EX_FAILED, "port %d is in use by another process" % port,
                              "see which with: ss -tanp 'sport = :%d'" % port) from None
            if settings.chosen or error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise Refused(EX_FAILED, "cannot listen on port %d of %s: %s" % (port, address, error.strerror),
                              "see the addresses of this system with: ip address") from None
            log(NOTICE, "this system has no %s: not listening on %s" % (
                "IPv6" if family == socket.AF_INET6 else "IPv4", address))
    if not sockets:
        raise Refused(EX_FAILED, "this system has neither IPv4 nor IPv6", "see its addresses with: ip address")
    return sockets


def listener(family, name):
    """A listening, non-blocking socket; one for IPv6 leaves IPv4 to its own. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(name)
        sock.listen(512)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def backend_addresses(settings):
    """[(family, address)] of the backend, [] without one. Looked up once: the loop must not wait for a name server."""
    if settings.backend is None:
        return []
    if settings.backend[0] == "unix":
        return [(socket.AF_UNIX, settings.backend[1])]
    try:
        found = socket.getaddrinfo(settings.backend[1], settings.backend[2], type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Refused(EX_FAILED, "the backend's name %s cannot be looked up" % settings.backend[1],
                      "use its address: " + EDIT_CONF % settings.path) from None
    return [(family, address) for family, _, _, _, address in found]


def backend_name(settings):
    """The backend as the log names it, or that there is none and where to set one."""
    if settings.backend is None:
        return "no backend is configured in " + settings.path
    return "backend " + (settings.backend[1] if settings.backend[0] == "unix" else "%s:%d" % settings.backend[1:])
