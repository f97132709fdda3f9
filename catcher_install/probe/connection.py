"""Reaching a port: its addresses, a connection to the first that takes one, and a decent end of it.

Everything here ends in time, whatever the far side does.
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
# So many of the first bytes of a peer are looked at.
HEARD_LIMIT = 64
# Between two looks at what the peer's kernel says of what was sent.
LOOK_AGAIN = 0.002
MOMENT = 0.25
CLOSES = "it closes the connection before it has answered anything"


class Deadline:
    """The moment when the whole probe must be over."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that remain, not below 0."""
        return max(0.0, self._end - time.monotonic())


def look_up(host: str, port: int, deadline: Deadline) -> "List[Tuple[int, Any]]":
    """(family, socket address) of a host, in the resolver's order. Raises Ended."""
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
        # getaddrinfo(3) has no time limit of its own: half a minute and more if name servers do not answer.
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
    """The numeric address of a socket address, with its scope if it has one."""
    if len(address) == 4 and address[3] and "%" not in address[0]:
        return "%s%%%d" % (address[0], address[3])
    return str(address[0])


def connect(address: "Tuple[int, Any]", seconds: float) -> socket.socket:
    """A connection to one address. Raises Ended: CLOSED (as soon as accepted), REFUSED, TIMED_OUT, UNREACHABLE."""
    family, sockaddr = address
    return _connect(family, sockaddr, seconds)


def connect_unix(path: str, seconds: float) -> socket.socket:
    """A connection to a Unix socket. Raises Ended as connect() does."""
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
    """Whether both ends are this socket: 50003 may be the port that the kernel picked for it (tcp(7), local ports)."""
    try:
        return bool(sock.getsockname() == sock.getpeername())
    except OSError:
        # Reset by the peer already: it was another.
        return False


def connect_any(
    addresses: "List[Tuple[int, Any]]", deadline: Deadline, failed: "List[Tuple[str, str]]"
) -> "Tuple[socket.socket, Tuple[int, Any]]":
    """A connection to the first address that takes one, and that address; the others' problems go into *failed*.

    Raises the Ended that says most if none does: something refused is nearer than something silent.
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
    """Send everything. Raises socket.timeout if that is not done in *seconds*."""
    sock.settimeout(max(0.001, seconds))
    sock.sendall(data)


def receive(sock: socket.socket, seconds: float) -> bytes:
    """What the peer sends next; b"" at its end. Raises socket.timeout after *seconds*."""
    sock.settimeout(max(0.001, seconds))
    return sock.recv(16 * 1024)


def wait_a_moment(deadline: Deadline) -> None:
    """Let pass what a server needs to close a connection after it has ended its own side; not all of the time."""
    time.sleep(min(MOMENT, deadline.left() / 4))


def takes_in(sock: socket.socket, seconds: float) -> bool:
    """Whether a peer that has ended its own side takes in what was sent: the kernel of one that has closed its socket
    answers with a reset (RFC 9293, 3.10.7), that of one that reads on with an acknowledgement."""
    import fcntl
    import sys
    import termios

    wait = Deadline(seconds)
    while True:
        # tcp(7), SIOCOUTQ: bytes that are sent and not acknowledged.
        left = int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        if not left or not wait.left():
            return not left
        time.sleep(LOOK_AGAIN)


def farewell(sock: socket.socket, seconds: float) -> "Optional[bytes]":
    """End our side, wait for the peer to end its own, and close. Returns the first bytes that it still said, b"" if it
    only ended its side, and None if it did neither.

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
        # Reset: it is there, and it is over.
        return said or b""
    finally:
        sock.close()
    return said
