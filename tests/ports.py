"""Ports for tests that listen on this computer."""

import errno
import os
import random
import socket

# The name that pytest-xdist gives the process, for example gw1.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "gw0")
SHARES = 16


def free_port() -> int:
    """A port that no socket has, in IPv4 or IPv6, not even one that is closing.

    It lies below the ports that the kernel gives to a socket that names none. One of those could take it, or leave its
    end there, before the test begins: that is the trouble that port 50003 really has. Each worker of pytest-xdist has a
    share of them, so that no other worker takes a port before the test has used it.
    """
    port = 0
    while not (port and _is_free(socket.AF_INET, port) and _is_free(socket.AF_INET6, port)):
        port = random.SystemRandom().randrange(20000 + int(WORKER[2:]) % SHARES, 32000, SHARES)
    return port


def _is_free(family: int, port: int) -> bool:
    """A family that this computer has not is free."""
    try:
        with socket.socket(family) as sock:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("", port))
    except OSError as error:
        return error.errno != errno.EADDRINUSE
    return True
