"""What others must know of the reference catcher's settings, and whether the running daemon uses them."""

from . import pair, paths
from .facts import only_root_may_read, out_of_sight, require_readable
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
# Where IBM's daemon listens, and the reference catcher without listen=.
EVERYWHERE = ["0.0.0.0", "::"]
# The variable in the daemon's environment with the digest of the settings with which it was started.
NOTE = "CSULCCA_SETTINGS"


def is_installed(host: "Host") -> bool:
    """Return whether the daemon is the reference catcher."""
    return host.is_dir(PROGRAM)


def settings(host: "Host") -> "Tuple[Any, str]":
    """Return the settings as the daemon itself reads them, and ""; or None, and why it refuses to start with them."""
    from reference_catcher.refusal import Refused
    from reference_catcher.settings import Settings

    where = "" if host.is_in_sandbox() else out_of_sight(host, CONF)
    if where:
        return None, "%s: %s" % (CONF, where)
    path = host.locate(CONF)
    try:
        return Settings(path), ""
    except Refused as refused:
        return None, refused.line.replace(path, CONF, 1)


def is_hidden(host: "Host") -> bool:
    """Return whether this user may not read the settings. Then the other functions here may return wrong values."""
    return is_installed(host) and only_root_may_read(host, CONF)


def require_in_sight(host: "Host") -> None:
    """Raise CatcherError if this user may not read the settings."""
    if is_installed(host):
        require_readable(host, CONF)


def findings(host: "Host", pid: "Optional[int]" = None) -> "List[Finding]":
    """Return the finding of settings with which the daemon refuses to start, or that the running daemon (pid) does not
    use; no finding if they are fine."""
    if not is_installed(host):
        return []
    _, problem = settings(host)
    if problem:
        return [finding("settings-unusable", reason=shown(problem))]
    return [finding("settings-not-running")] if pid is not None and _uses_others(host, pid) else []


def note(host: "Host") -> "Dict[str, str]":
    """Return what to add to the environment of a daemon that starts now: it tells others which settings it uses."""
    try:
        return {NOTE: _digest(host)} if is_installed(host) else {}
    except OSError:
        # The daemon cannot read the settings either, and refuses to start.
        return {}


def absent(host: "Host", pid: "Optional[int]") -> "List[Finding]":
    """Return the finding of addresses in listen= that this host does not have. pid: of the daemon; None if it does not
    run."""
    told = settings(host)[0] if is_installed(host) else None
    # A drop-in may give the daemon a network of its own.
    if told is None or pid is not None and not host.shares_network(pid):
        return []
    missing = [one for one in told.listen if one not in EVERYWHERE and not host.has_address(one)]
    return [finding("listen-absent", addresses=shown(" and ".join(missing)))] if missing else []


def _digest(host: "Host") -> str:
    """Return the SHA-256 of the settings without comments. Raises OSError.

    It is computed from the text, because each start needs it: the daemon's own reader of settings imports socket, which
    takes time.
    """
    text = (host.read_optional(CONF, SIZE_LIMIT) or b"").decode("utf-8-sig", "replace")
    lines = [line.strip() for line in text.splitlines()]
    return pair.fingerprint("\n".join(one for one in lines if one and one[0] != "#").encode("utf-8"))


def _uses_others(host: "Host", pid: int) -> bool:
    """Return whether a daemon was started with other settings; no, if that cannot be seen."""
    try:
        noted = host.read("/proc/%d/environ" % pid, SIZE_LIMIT, head=True).split(b"\0")
        found = [one.partition(b"=")[2] for one in noted if one.startswith(NOTE.encode("ascii") + b"=")]
        return bool(found) and found[-1] != _digest(host).encode("ascii")
    except OSError:
        return False


def port(host: "Host", pid: "Optional[int]" = None) -> int:
    """Return the port on which the daemon listens; the usual one if it would not start.

    pid: of the running daemon; None for the next one. If the running daemon was started with other settings, its port
    is not known, and the usual one is the best guess.
    This takes time (see _digest()), so a start calls it only if the usual port is taken.
    """
    known = is_installed(host) and (pid is None or not _uses_others(host, pid))
    told = settings(host)[0] if known else None
    return paths.PORT if told is None else int(told.port)


def addresses(host: "Host") -> "List[str]":
    """Return the addresses on which the daemon listens, as the kernel shows them; EVERYWHERE if it would not start.

    This takes time (see _digest()), so a start calls it only if the usual port is taken.
    """
    told = settings(host)[0] if is_installed(host) else None
    return EVERYWHERE if told is None else [address.partition("%")[0] for address in told.listen]
