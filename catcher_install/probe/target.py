"""What was typed: a host name, an address, a port, or a host with its port."""

import ipaddress

from .. import paths
from ..errors import CatcherError
from ..text import shown

MYPY = False
if MYPY:
    from typing import Any, Optional, Tuple

NAME_LIMIT = 253
TARGET_HINT = "type HOST or HOST:PORT, for example catcher.example.com, 192.0.2.7:50003 or [2001:db8::7]:50003"
NAME_HINT = "type what stands in Host Name/IP on the TKE, for example --name catcher.example.com"


def parse(target: str) -> "Tuple[str, int]":
    """(host, port) of HOST, HOST:PORT, [IPV6], [IPV6]:PORT or IPV6. Raises CatcherError for anything else."""
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
    return host, _port(port) if colon else paths.PORT


def _port(text: str) -> int:
    if not text or len(text) > 5 or any(c not in "0123456789" for c in text) or not 1 <= int(text) <= 65535:
        raise CatcherError("%s is not a port: ports are 1 to 65535" % (shown(text) or "nothing"), TARGET_HINT)
    return int(text)


def require_host(text: str, hint: str) -> None:
    """Raise CatcherError where *text* is neither a host name nor an IP address."""
    if ip_address(text) is not None:
        return
    if ":" in text:
        raise CatcherError("%s is not an IPv6 address" % shown(text), hint)
    name = a_labels(text)
    labels = (name[:-1] if name.endswith(".") else name).split(".")
    allowed = all(c.isalnum() or c in "-_." for c in name)
    if not name or len(name) > NAME_LIMIT or not allowed or not all(labels) or name.startswith("-"):
        raise CatcherError("%s is not a host name" % (shown(text) or "nothing"), hint)
    if labels[-1].isdigit():
        raise CatcherError("%s is not an IPv4 address" % shown(text), hint)


def ip_address(text: str) -> "Optional[Any]":
    """The IP address that *text* spells, its %scope left out; None for anything else."""
    if len(text) > 100:
        return None
    numbers, percent, scope = text.partition("%")
    try:
        value = ipaddress.ip_address(numbers)
    except ValueError:
        return None
    return None if percent and (not scope or value.version == 4) else value


def a_labels(text: str) -> str:
    """A host name as DNS knows it (IDNA); "" for one that cannot be written so."""
    if len(text) > NAME_LIMIT:
        # Also because Python's codec needs quadratic time.
        return ""
    try:
        # Not the codec for ASCII names: it refuses labels of 64 characters, which Linux allows in a host name.
        return text if all(ord(c) < 128 for c in text) else text.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
