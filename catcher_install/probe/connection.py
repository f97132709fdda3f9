"""Reach a port: look up the addresses, connect to the first one that accepts, and end the connection politely.

Every function has a time limit, whatever the peer does.
"""

import socket
import time

from ..cert.names import a_labels, ip_address
from ..errors import reason_of
from .result import CLOSED, REFUSED, TIMED_OUT, UNKNOWN_NAME, UNREACHABLE, Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

ADDRESS_LIMIT = 8
# Seconds for a peer to end its side after we ended ours, and the bytes that are read meanwhile.
FAREWELL = 0.5
FAREWELL_BYTES = 64 * 1024
# How many of a peer's first bytes are looked at.
HEARD_LIMIT = 64
# Seconds between two looks at whether the peer's kernel has acknowledged what was sent.
LOOK_AGAIN = 0.002
# See wait_a_moment().
MOMENT = 0.25
CLOSES = "it closes the connection before it has answered anything"


class Deadline:
    """The moment when the whole probe must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that remain, at least 0."""
        return max(0.0, self._end - time.monotonic())


def look_up(host: str, port: int, deadline: Deadline) -> "List[Tuple[int, Any]]":
    """Return (family, socket address) of each address of a host, in the resolver's order. Raises Ended."""
    literal = ip_address(host) is not None
    answer: List[Any] = []

    def ask() -> None:
        try:
            flags = socket.AI_NUMERICHOST if literal else 0
            name = host if literal else a_labels(host).encode("ascii")
            answer.append(socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=flags))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    if literal:
        ask()
    else:
        # getaddrinfo(3) has no time limit: it takes half a minute or more if name servers do not answer.
        import threading

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        thread.join(deadline.left())
    if not answer:
        raise Ended(UNKNOWN_NAME, "no name server answered in time")
    if isinstance(answer[0], Exception):
        if literal and "%" in host:
            raise Ended(UNREACHABLE, "this host has no interface of that name")
        raise Ended(UNKNOWN_NAME, reason_of(answer[0]).lower())
    found = []
    for family, _, _, _, address in answer[0]:
        if (family, address) not in found:
            found.append((family, address))
    return found[:ADDRESS_LIMIT]


def address_text(address: "Any") -> str:
    """Return the numeric address in a socket address, with its scope if it has one."""
    if len(address) == 4 and address[3] and "%" not in address[0]:
        return "%s%%%d" % (address[0], address[3])
    return str(address[0])


def connect(address: "Tuple[int, Any]", seconds: float) -> socket.socket:
    """Return a connection to one address. Raises Ended: CLOSED (as soon as it was accepted), REFUSED, TIMED_OUT or
    UNREACHABLE."""
    family, sockaddr = address
    return _connect(family, sockaddr, seconds)


def connect_unix(path: str, seconds: float) -> socket.socket:
    """Return a connection to a Unix socket. Raises Ended as connect() does."""
    return _connect(socket.AF_UNIX, path, seconds)


def _connect(family: int, sockaddr: "Any", seconds: float) -> socket.socket:
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise Ended(UNREACHABLE, reason_of(error).lower()) from error
    try:
        sock.settimeout(max(0.001, seconds))
        sock.connect(sockaddr)
        if met_itself(sock):
            raise ConnectionRefusedError()
    except OSError as error:
        sock.close()
        if isinstance(error, ConnectionRefusedError):
            raise Ended(REFUSED, "connection refused") from error
        if isinstance(error, ConnectionResetError):
            raise Ended(CLOSED, CLOSES) from error
        if isinstance(error, (socket.timeout, TimeoutError)):
            raise Ended(TIMED_OUT, "no answer to a connection attempt") from error
        raise Ended(UNREACHABLE, reason_of(error).lower()) from error
    return sock


def met_itself(sock: socket.socket) -> bool:
    """Return whether a socket is connected to itself: the kernel may have chosen 50003 as its local port (ip(7),
    ip_local_port_range)."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        # A peer has reset the connection already, so there is a peer.
        return False


def connect_any(
    addresses: "List[Tuple[int, Any]]", deadline: Deadline, failed: "List[Tuple[str, str]]"
) -> "Tuple[socket.socket, Tuple[int, Any]]":
    """Return a connection to the first address that accepts one, and that address. Adds (address, problem) of the
    addresses before it to *failed*.

    If none accepts, raises the Ended that says most: a refused connection says more than one without an answer.
    """
    ends = []
    for number, address in enumerate(addresses):
        try:
            return connect(address, deadline.left() / (len(addresses) - number)), address
        except Ended as end:
            failed.append((address_text(address[1]), end.reason))
            ends.append(end)
    order = (CLOSED, REFUSED, TIMED_OUT, UNREACHABLE)
    raise min(ends, key=lambda end: order.index(end.state))


def send(sock: socket.socket, data: bytes, seconds: float) -> None:
    """Send all data. Raises socket.timeout if that takes more than *seconds*."""
    sock.settimeout(max(0.001, seconds))
    sock.sendall(data)


def receive(sock: socket.socket, seconds: float) -> bytes:
    """Return what the peer sends next; b"" if it has ended its side. Raises socket.timeout after *seconds*."""
    sock.settimeout(max(0.001, seconds))
    return sock.recv(16 * 1024)


def wait_a_moment(deadline: Deadline) -> None:
    """Give a server that has ended its own side of a connection the time to close it. Uses at most a quarter of the
    time that is left."""
    time.sleep(min(MOMENT, deadline.left() / 4))


def takes_in(sock: socket.socket, seconds: float) -> bool:
    """Return whether a peer that has ended its own side still reads. If it does, its kernel acknowledges what was sent;
    if it has closed its socket, the kernel answers with a reset (RFC 9293, 3.10.7)."""
    import fcntl
    import sys
    import termios

    wait = Deadline(seconds)
    while True:
        # tcp(7), SIOCOUTQ: the number of bytes that were sent and not acknowledged.
        left = int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        if not left or not wait.left():
            return not left
        time.sleep(LOOK_AGAIN)


def farewell(sock: socket.socket, seconds: float) -> "Optional[bytes]":
    """End our side of a connection, wait for the peer to end its own, and close. Returns the first bytes that the peer
    still sent, b"" if it only ended its side, None if it did neither.

    Closing at once would reset the connection if the peer has sent something that we did not read.
    """
    wait = Deadline(seconds)
    count, said = 0, None
    try:
        sock.shutdown(socket.SHUT_WR)
        while count < FAREWELL_BYTES and wait.left():
            data = receive(sock, wait.left())
            said = said or data[:HEARD_LIMIT]
            if not data:
                break
            count += len(data)
    except (socket.timeout, TimeoutError):
        return said
    except OSError:
        # A reset: the peer is alive, and the connection has ended.
        return said or b""
    finally:
        sock.close()
    return said
