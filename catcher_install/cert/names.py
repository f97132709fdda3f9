"""Host names and IP addresses as people type them and as certificates hold them."""

import ipaddress

from ..errors import CatcherError
from ..text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional

# The largest number of names in a message.
SHOWN_NAMES = 6
# The longest name, without the final dot (RFC 1035, 2.3.4).
NAME_LIMIT = 253


def require_host(text: str, hint: str) -> None:
    """Raise CatcherError if *text* is neither a host name nor an IP address."""
    if ip_address(text) is not None:
        return
    if ":" in text:
        raise CatcherError("%s is not an IPv6 address" % shown(text), hint)
    name = a_labels(text)
    labels = (name[:-1] if name.endswith(".") else name).split(".")
    allowed = all(c.isalnum() or c in "-_." for c in name)
    if not name or len(name) > NAME_LIMIT or not allowed or not all(labels) or name.startswith("-"):
        raise CatcherError("%s is not a host name" % (shown(text) or "an empty name"), hint)
    if labels[-1].isdigit():
        raise CatcherError("%s is not an IPv4 address" % shown(text), hint)


def canonical(text: str) -> str:
    """Return a host name or an IP address as certificates have it: in ASCII, without a final dot or a %scope."""
    address = ip_address(text)
    if address is not None:
        return str(address)
    name = a_labels(text) or text
    return name[:-1] if name.endswith(".") else name


def ip_address(text: str) -> "Optional[Any]":
    """Return the IP address that *text* spells, its %scope left out; None for anything else."""
    if len(text) > 100:
        return None
    numbers, percent, scope = text.partition("%")
    try:
        value = ipaddress.ip_address(numbers)
    except ValueError:
        return None
    return None if percent and (not scope or value.version == 4) else value


def a_labels(text: str) -> str:
    """Return a host name as DNS has it (IDNA); "" if it has no such form."""
    if len(text) > NAME_LIMIT:
        # Also because Python's codec needs quadratic time.
        return ""
    try:
        # Not the codec for ASCII names: it refuses labels of 64 characters, which Linux allows in a host name.
        return text if all(ord(c) < 128 for c in text) else text.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def names_text(every: "List[str]") -> str:
    """Names and addresses for a message, SHOWN_NAMES at most."""
    more = len(every) - SHOWN_NAMES
    text = ", ".join(shown(name, 80) for name in every[:SHOWN_NAMES])
    return (text or "nothing") + (" and %d more" % more if more > 0 else "")
