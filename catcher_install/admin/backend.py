"""The backend of the reference catcher: which one is set, and whether it accepts connections."""

from .. import reference
from ..messages import finding
from ..probe import connection
from ..probe.result import UNREACHABLE, Ended
from ..text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any, Dict, List, Optional

    from ..host import Host
    from ..messages import Finding

# The time limit of an attempt to connect.
SECONDS = 2


def look(host: "Host", pid: "Optional[int]" = None) -> "Optional[Dict[str, Any]]":
    """Return the field backend of ``status --json``; None for another daemon, whose backend is not known.

    pid: of the daemon; None if it does not run.
    The field has: name, as in reference-catcher.conf, or null if none is set or the settings cannot be used; answers,
    whether it accepts connections, or null if that was not tried; problem, why it does not or why the settings cannot
    be used, or null.
    """
    if not reference.is_installed(host):
        return None
    settings, problem = reference.settings(host)
    if settings is None or settings.backend is None:
        return {"name": None, "answers": None, "problem": shown(problem) or None}
    problem = _problem(host, settings, pid)
    return {"name": shown(settings.given["backend"]), "answers": not problem, "problem": problem or None}


def _problem(host: "Host", settings: "Any", pid: "Optional[int]") -> str:
    """Return why the backend accepts no connection, as the end of a sentence; "" if it does."""
    backend = settings.backend
    deadline = connection.Deadline(SECONDS)
    try:
        if backend[0] == "unix":
            _require_in_sight(host, backend[1], pid)
            sock = connection.connect_unix(backend[1], deadline.left())
        else:
            found = connection.look_up(backend[1], backend[2], deadline)
            sock, _ = connection.connect_any(found, deadline, [])
    except Ended as end:
        return shown(end.reason)
    with sock:
        return "it is this catcher itself" if backend[-1] == settings.port and _is_own(host, sock) else ""


def _is_own(host: "Host", sock: "socket.socket") -> bool:
    """Return whether a connection to the catcher's port leads to an address of this host where the catcher listens."""
    from reference_catcher.settings import unmapped

    source, target = (unmapped(name[0].partition("%")[0]) for name in (sock.getsockname(), sock.getpeername()))
    # A connection of this host to itself has the same address at both ends, except in 127.0.0.0/8.
    local = source == target or target.startswith("127.")
    return local and bool({target, "::" if ":" in target else "0.0.0.0"} & set(reference.addresses(host)))


def _require_in_sight(host: "Host", path: str, pid: "Optional[int]") -> None:
    """Raise Ended if a socket exists and the daemon does not see it."""
    try:
        seen = pid is None or not host.lexists(path) or host.lexists("/proc/%d/root%s" % (pid, host.real_path(path)))
    except OSError:
        # Only root may look, and the daily check may not even as root, because of its sandbox.
        return
    if not seen:
        raise Ended(UNREACHABLE, "the service does not see that socket, because its sandbox hides /home, /root, /run, "
                                 "/tmp and /var/tmp; use another directory")


def findings(seen: "Optional[Dict[str, Any]]") -> "List[Finding]":
    """Return the finding of a backend that is set and does not accept connections."""
    if seen is None or seen["name"] is None or seen["answers"]:
        return []
    return [finding("backend-unreachable", backend=seen["name"], reason=str(seen["problem"]))]


def line(seen: "Dict[str, Any]") -> str:
    """look() for a person."""
    if seen["name"] is None:
        return seen["problem"] or "none is set, so connections are closed: man reference-catcher.conf"
    return "%s, %s" % (seen["name"], "takes connections" if seen["answers"] else str(seen["problem"]))
