"""The backend of the reference catcher: which one is set, and whether it takes connections."""

from .. import reference
from ..errors import CatcherError, reason_of
from ..messages import finding
from ..probe import connection, target
from ..probe.result import Ended
from ..text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from ..host import Host
    from ..messages import Finding

SECONDS = 2


def look(host: "Host") -> "Optional[Dict[str, Any]]":
    """The field backend of ``status --json``; None for another daemon, which has none that we know of.

    name: as in reference-catcher.conf, or null if none is set. answers: whether it takes connections, or null if that
    was not tried. problem: why it does not, or why its settings cannot be read, or null.
    """
    if not reference.is_installed(host):
        return None
    try:
        name = reference.setting(host, "backend")
    except OSError as error:
        return {"name": None, "answers": None, "problem": "%s: %s" % (reference.CONF, reason_of(error).lower())}
    if name is None:
        return {"name": None, "answers": None, "problem": None}
    problem = _problem(name)
    return {"name": shown(name), "answers": not problem, "problem": problem or None}


def _problem(name: str) -> str:
    """Why a backend takes no connection, as the end of a sentence; "" if it does."""
    path = name[len("unix:"):] if name.startswith("unix:") else name
    deadline = connection.Deadline(SECONDS)
    try:
        if path.startswith("/"):
            sock = connection.connect_unix(path, deadline.left())
        else:
            where, _, port = name.rpartition(":")
            if not where:
                return "it is not HOST:PORT and no path of a socket"
            found = connection.look_up(where.strip("[]"), target.number_of(port), deadline)
            sock, _ = connection.connect_any(found, deadline, [])
    except Ended as end:
        return shown(end.reason)
    except CatcherError as error:
        return error.message
    sock.close()
    return ""


def findings(seen: "Optional[Dict[str, Any]]") -> "List[Finding]":
    """The finding of a backend that is set and does not take connections."""
    if seen is None or seen["name"] is None or seen["answers"]:
        return []
    return [finding("backend-unreachable", backend=seen["name"], reason=str(seen["problem"]))]


def line(seen: "Dict[str, Any]") -> str:
    """look() for a person."""
    if seen["name"] is None:
        return seen["problem"] or "none is set, so connections are closed: man reference-catcher.conf"
    return "%s, %s" % (seen["name"], "takes connections" if seen["answers"] else str(seen["problem"]))
