"""The kernel's tables of TCP sockets (proc(5), /proc/net/tcp and tcp6), read from their text."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List


class TcpSocket:
    """A TCP socket.

    listens: it listens; else it is one end of a connection. inode: its number; 0 if no process has it open any more.
    waits: it listens, and a connection waits to be accepted.
    """

    def __init__(self, local: str, listens: bool, inode: int, waits: bool) -> None:
        self._local = local
        self.listens = listens
        self.inode = inode
        self.waits = waits

    @property
    def address(self) -> str:
        """Return the local address as text. proc(5) shows it as 32-bit words in this machine's byte order."""
        import socket
        import sys

        data = bytes.fromhex(self._local)
        if sys.byteorder == "little":
            data = b"".join(data[at:at + 4][::-1] for at in range(0, len(data), 4))
        return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def on_port(table: bytes, port: int) -> "List[TcpSocket]":
    """Return the sockets with this local port. table: the content of /proc/net/tcp or tcp6 (proc(5))."""
    wanted = b":%04X" % port
    found = []
    for line in table.splitlines()[1:]:
        words = line.split(None, 10)
        if len(words) > 9 and words[1].endswith(wanted):
            listens = words[3] == b"0A"
            # If a socket listens, the second number counts the connections that wait.
            waits = listens and int(words[4].rpartition(b":")[2], 16) > 0
            found.append(TcpSocket(words[1][:-5].decode("ascii"), listens, int(words[9]), waits))
    return found
