"""The settings of the reference catcher, as far as others must know them: where it listens, and its backend."""

from . import pair, paths
from .messages import finding
from .text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from .host import Host
    from .messages import Finding

PROGRAM = paths.LIBRARY + "/reference_catcher"
CONF = paths.CONF_DIR + "/reference-catcher.conf"
SIZE_LIMIT = 64 * 1024
# Where any other daemon listens, and this one if it is not told.
EVERYWHERE = ["0.0.0.0", "::"]
# In the daemon's environment: the digest of the settings with which it was started.
NOTE = "CSULCCA_SETTINGS"


def is_installed(host: "Host") -> bool:
    """Whether the daemon is the reference catcher."""
    return host.is_dir(PROGRAM)


def setting(host: "Host", name: str) -> "Optional[str]":
    """Return a setting; None if it is not set. Raises OSError. The daemon itself refuses a file that has one twice."""
    for line in _lines(host):
        key, _, value = (part.strip() for part in line.partition("="))
        if key == name:
            return value
    return None


def _lines(host: "Host") -> "List[str]":
    """The lines of the settings; none without a file. Raises OSError."""
    return (host.read_optional(CONF, SIZE_LIMIT) or b"").decode("utf-8-sig", "replace").splitlines()


def settings(host: "Host") -> "Tuple[Any, str]":
    """(the settings as the daemon itself reads them, ""), or (None, why it refuses to start with them)."""
    from reference_catcher.refusal import Refused
    from reference_catcher.settings import Settings

    from .facts import out_of_sight

    where = "" if host.is_in_sandbox() else out_of_sight(host, CONF)
    if where:
        return None, "%s: %s" % (CONF, where)
    path = host.locate(CONF)
    try:
        return Settings(path), ""
    except Refused as refused:
        return None, refused.line.replace(path, CONF, 1)


def findings(host: "Host", pid: "Optional[int]" = None) -> "List[Finding]":
    """The finding of settings with which the daemon refuses to start, or which it does not use, if its PID is given."""
    if not is_installed(host):
        return []
    _, problem = settings(host)
    if problem:
        return [finding("settings-unusable", reason=shown(problem))]
    return [finding("settings-not-running")] if pid is not None and _uses_others(host, pid) else []


def note(host: "Host") -> "Dict[str, str]":
    """What a daemon that starts now gets in its environment, so that others can tell which settings it uses."""
    try:
        return {NOTE: _digest(host)} if is_installed(host) else {}
    except OSError:
        # The daemon cannot read them either, and refuses to start.
        return {}


def _digest(host: "Host") -> str:
    """The SHA-256 of the settings without comments. Raises OSError."""
    lines = [line.strip() for line in _lines(host)]
    return pair.fingerprint("\n".join(one for one in lines if one and one[0] != "#").encode("utf-8"))


def _uses_others(host: "Host", pid: int) -> bool:
    """Whether a daemon was started with other settings; no, if that cannot be seen."""
    try:
        noted = host.read("/proc/%d/environ" % pid, SIZE_LIMIT, head=True).split(b"\0")
        found = [one.partition(b"=")[2] for one in noted if one.startswith(NOTE.encode("ascii") + b"=")]
        return bool(found) and found[-1] != _digest(host).encode("ascii")
    except OSError:
        return False


def addresses(host: "Host") -> "List[str]":
    """Return the addresses on which the daemon listens, as the kernel shows them."""
    try:
        told = setting(host, "listen") if is_installed(host) else None
    except OSError:
        # The daemon cannot read it either, and refuses to start.
        told = None
    own = [] if told is None else [_numeric(one.strip()) for one in told.split(",")]
    # The daemon refuses to start with what is no numeric address.
    return own if own and all(own) else EVERYWHERE


def _numeric(text: str) -> str:
    """A numeric address as the kernel shows it; "" for any other text. No name is looked up."""
    # Not socket or ipaddress: importing one of them takes a third of the time of a start.
    import _socket

    try:
        if ":" not in text:
            # inet_aton(3) ignores what comes after a blank.
            return "" if len(text.split()) != 1 else _socket.inet_ntoa(_socket.inet_aton(text))
        packed = _socket.inet_pton(_socket.AF_INET6, text.partition("%")[0])
    except (OSError, ValueError):
        return ""
    # An IPv4 address may be written as one of IPv6.
    mapped = packed[:12] == bytes(10) + b"\xff\xff"
    return _socket.inet_ntoa(packed[12:]) if mapped else _socket.inet_ntop(_socket.AF_INET6, packed)
