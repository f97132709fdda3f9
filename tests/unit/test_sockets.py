"""The kernel's tables of TCP sockets, as proc(5) has them."""

import sys

import pytest

from catcher_install import sockets

from .proc import ANY_4, ANY_6, CONNECTED, LISTENS, LOOPBACK_4, LOOPBACK_6, TIME_WAIT, line

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def found(*lines):
    table = (HEAD + "".join(lines)).encode("ascii")
    return [(one.address, one.listens, one.inode, one.waits) for one in sockets.on_port(table, 50003)]


@pytest.mark.parametrize("entry,wanted", [
    (line(ANY_4, 50003, LISTENS, 7), ("0.0.0.0", True, 7, False)),
    (line(ANY_4, 50003, LISTENS, 7, waiting=16), ("0.0.0.0", True, 7, True)),
    (line(ANY_6, 50003, LISTENS, 7), ("::", True, 7, False)),
    (line(LOOPBACK_4, 50003, CONNECTED, 8, waiting=16), ("127.0.0.1", False, 8, False)),
    (line(LOOPBACK_6, 50003, TIME_WAIT, 0), ("::1", False, 0, False)),
])
def test_a_socket_on_the_port_is_read(entry, wanted):
    assert found(line(ANY_4, 22, LISTENS, 1), entry) == [wanted]


def test_an_ipv4_address_in_ipv6_is_shown_as_the_kernel_means_it():
    words = [0, 0, 0xFFFF, 0x7F000001]
    local = "".join("%08X" % int.from_bytes(word.to_bytes(4, "big"), sys.byteorder) for word in words)
    assert found(line(local, 50003, CONNECTED, 9)) == [("::ffff:127.0.0.1", False, 9, False)]


@pytest.mark.parametrize("table", [b"", HEAD.encode("ascii"), HEAD.encode("ascii") + b"   0: 00000000:C353 cut off\n"])
def test_a_table_without_such_a_socket(table):
    assert sockets.on_port(table, 50003) == []
