"""Lines of the kernel's tables of sockets, for a machine's /proc (proc(5), net/tcp)."""

import sys

LITTLE = sys.byteorder == "little"
ANY_4 = "00000000"
LOOPBACK_4 = "0100007F" if LITTLE else "7F000001"
ANY_6 = "0" * 32
LOOPBACK_6 = "000000000000000000000000" + ("01000000" if LITTLE else "00000001")
LISTENS, CONNECTED, TIME_WAIT = "0A", "01", "06"


def line(address, port, state, inode, waiting=0):
    rest = "00000000:%08X 00:00000000 00000000     0        0 %d 1 0 100 0 0 10 0\n" % (waiting, inode)
    return "   0: %s:%04X 00000000:0000 %s " % (address, port, state) + rest
