"""The settings of the reference catcher, as far as others must know them: where it listens, and its backend."""

from . import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from .host import Host

PROGRAM = paths.LIBRARY + "/reference_catcher"
CONF = paths.CONF_DIR + "/reference-catcher.conf"
SIZE_LIMIT = 64 * 1024
# Where any other daemon listens, and this one if it is not told.
EVERYWHERE = ["0.0.0.0", "::"]


def is_installed(host: "Host") -> bool:
    """Whether the daemon is the reference catcher."""
    return host.is_dir(PROGRAM)


def setting(host: "Host", name: str) -> "Optional[str]":
    """Return a setting; None if it is not set. Raises OSError. The daemon itself refuses a file that has one twice."""
    for line in (host.read_optional(CONF, SIZE_LIMIT) or b"").decode("utf-8-sig", "replace").splitlines():
        key, _, value = (part.strip() for part in line.partition("="))
        if key == name:
            return value
    return None


def addresses(host: "Host") -> "List[str]":
    """Return the addresses on which the daemon listens, as the kernel shows them."""
    try:
        told = setting(host, "listen") if is_installed(host) else None
    except OSError:
        # The daemon cannot read it either, and refuses to start.
        told = None
    return EVERYWHERE if told is None else [_plain(one.strip()) for one in told.split(",")]


def _plain(address: str) -> str:
    """An address as the kernel shows it; one that is none stays as it is, and the daemon refuses it."""
    import ipaddress

    try:
        plain = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    # An IPv4 address may be written as one of IPv6.
    return str(getattr(plain, "ipv4_mapped", None) or plain)
