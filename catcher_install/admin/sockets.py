"""The TCP sockets of this host as /proc shows them: who has a port."""

from ..host import Host

MYPY = False
if MYPY:
    from typing import List, Optional


class PortSocket:
    """A TCP socket. address: local, as text. listens: or it is an end of a connection. inode: identifies it."""

    def __init__(self, address: str, listens: bool, inode: int) -> None:
        self.address = address
        self.listens = listens
        self.inode = inode


def _address(words: str) -> str:
    """An address in proc(5)'s net/tcp, 32-bit words in this machine's byte order, as text."""
    import socket
    import sys

    data = bytes.fromhex(words)
    if sys.byteorder == "little":
        data = b"".join(data[at:at + 4][::-1] for at in range(0, len(data), 4))
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def on_port(host: Host, port: int) -> "List[PortSocket]":
    """The TCP sockets with this local port, in our network: those that listen, and the ends of connections."""
    found = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            data = host.read(table, 16 * 1024 * 1024, head=True)
        except OSError:
            # A kernel without IPv6.
            continue
        for line in data.decode("ascii", "replace").splitlines()[1:]:
            words = line.split()
            address, _, local = words[1].partition(":")
            # An inode of 0: a connection that only waits for its end, and is nobody's any more.
            if int(local, 16) == port and words[9] != "0":
                found.append(PortSocket(_address(address), words[3] == "0A", int(words[9])))
    return found


def owner(host: Host, inode: int) -> "Optional[int]":
    """PID of a process that has a socket open; None where there is none, or none that we may look into."""
    wanted = "socket:[%d]" % inode
    for name in host.list_dir("/proc"):
        if not name.isdigit():
            continue
        for fd in host.list_dir("/proc/%s/fd" % name):
            try:
                if host.read_link("/proc/%s/fd/%s" % (name, fd)) == wanted:
                    return int(name)
            except OSError:
                # Of another user, or ended meanwhile.
                break
    return None
