"""Read what was typed as the target of a probe: a host name or an address, perhaps with a port."""

from .. import paths
from ..cert.names import require_host
from ..errors import CatcherError
from ..text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Tuple

TARGET_HINT = "type HOST or HOST:PORT, for example catcher.example.com, 192.0.2.7:50003 or [2001:db8::7]:50003"
NAME_HINT = "type the Host Name/IP that you use on the TKE, for example --name catcher.example.com"


def parse(target: str) -> "Tuple[str, int]":
    """Return (host, port) of HOST, HOST:PORT, [IPV6], [IPV6]:PORT or IPV6. Raises CatcherError for anything else."""
    host, port = target, ""
    colon = False
    if target.startswith("["):
        host, bracket, rest = target[1:].partition("]")
        colon, port = rest.startswith(":"), rest[1:]
        if not bracket or (rest and not colon) or ":" not in host:
            raise CatcherError("%s is not an IPv6 address in brackets" % shown(target), TARGET_HINT)
    elif target.count(":") == 1:
        host, _, port = target.partition(":")
        colon = True
    require_host(host, TARGET_HINT)
    return host, number_of(port) if colon else paths.PORT


def number_of(text: str) -> int:
    """Return the number of a port as typed. Raises CatcherError if it is none."""
    if not text or len(text) > 5 or any(c not in "0123456789" for c in text) or not 1 <= int(text) <= 65535:
        raise CatcherError("%s is not a port: ports are 1 to 65535" % (shown(text) or "an empty text"), TARGET_HINT)
    return int(text)
