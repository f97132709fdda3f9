"""The reference catcher's settings, as far as others must know them, and whether the running daemon uses them."""

from . import pair, paths
from .errors import AS_ROOT, CatcherError
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


def is_hidden(host: "Host") -> bool:
    """Whether only root may read the settings, and this process is not root's: then what the functions here return is
    not known to be true."""
    if host.is_root() or not is_installed(host):
        return False
    try:
        host.read_optional(CONF, SIZE_LIMIT)
    except PermissionError:
        return True
    except OSError:
        # Not a file, or too large: root sees no more of it.
        return False
    return False


def require_in_sight(host: "Host") -> None:
    """Raise CatcherError if only root may read the settings."""
    if is_hidden(host):
        raise CatcherError("only root may read %s" % CONF, AS_ROOT)


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


def absent(host: "Host", pid: "Optional[int]") -> "List[Finding]":
    """The finding of addresses in listen= that this host does not have. pid: of the daemon; None if it does not run."""
    told = settings(host)[0] if is_installed(host) else None
    # A drop-in may give the daemon a network of its own.
    if told is None or pid is not None and not host.shares_network(pid):
        return []
    missing = [one for one in told.listen if one not in EVERYWHERE and not host.has_address(one)]
    return [finding("listen-absent", addresses=shown(" and ".join(missing)))] if missing else []


def _digest(host: "Host") -> str:
    """The SHA-256 of the settings without comments. Raises OSError.

    Each start notes it, so it is of the text: what imports the daemon's reader imports socket.
    """
    text = (host.read_optional(CONF, SIZE_LIMIT) or b"").decode("utf-8-sig", "replace")
    lines = [line.strip() for line in text.splitlines()]
    return pair.fingerprint("\n".join(one for one in lines if one and one[0] != "#").encode("utf-8"))


def _uses_others(host: "Host", pid: int) -> bool:
    """Whether a daemon was started with other settings; no, if that cannot be seen."""
    try:
        noted = host.read("/proc/%d/environ" % pid, SIZE_LIMIT, head=True).split(b"\0")
        found = [one.partition(b"=")[2] for one in noted if one.startswith(NOTE.encode("ascii") + b"=")]
        return bool(found) and found[-1] != _digest(host).encode("ascii")
    except OSError:
        return False


def port(host: "Host", pid: "Optional[int]" = None) -> int:
    """Return the port on which the daemon listens; the usual one if it would not start.

    pid: of the daemon that is meant; None for the next one. If it was started with other settings, its port is not
    known, and the usual one is the best guess.
    A start asks only if that port is taken: see _digest().
    """
    known = is_installed(host) and (pid is None or not _uses_others(host, pid))
    told = settings(host)[0] if known else None
    return paths.PORT if told is None else int(told.port)


def addresses(host: "Host") -> "List[str]":
    """Return the addresses on which the daemon listens, as the kernel shows them; EVERYWHERE if it would not start.

    A start asks only if the port is taken: see _digest().
    """
    told = settings(host)[0] if is_installed(host) else None
    return EVERYWHERE if told is None else [address.partition("%")[0] for address in told.listen]
