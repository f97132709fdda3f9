"""What is known of an older catcher: what preinst noted of it (hooks/preinst.sh), and what still runs."""

import errno

from . import config, paths
from .errors import reason_of
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from .host import Host

# What hooks/preinst.sh writes.
NOTED = (
    ("tree", ("yes", "no")),
    ("groups", ("yes", "no")),
    ("unit", ("enabled", "disabled", "masked", "none")),
    ("active", ("yes", "no", "unknown")),
)
# How the mode was seen, and that in words. Notes of earlier versions contain no mode.
SEEN = {"process": "the list of processes", "last-run": "systemd's record of the last start", "journal": "the journal"}


class Capture(Record):
    """What the preinst scriptlet saw before the old package's files went (hooks/preinst.sh).

    recent: it was seen in the last day. Else the service may be in another state by now, and unit, active and unsure
    say nothing; what the host was before does not change.
    tree: a CCA tree was installed that had neither our private library nor another trace of ours: CCA 7.x, or the
    vendor's own 8.x. ours: its CSUTKEcat was that of our 8.x. groups: CCA's groups were there.
    unit: "enabled", "disabled", "masked" or "none". active: the daemon was running; unsure: it is not known whether it
    was running.
    mode: in which the daemon was seen (config.TLS or config.TCP), or None. seen: where that was seen: "process" (it was
    running), "last-run" (systemd remembers the command line), "journal" (journald does), "no". looked: True
    if a daemon that was not seen did not run; False if it may have run unseen.
    version: of the package that the tree is from, if the package manager said it; else "".
    """

    __slots__ = ("recent", "tree", "ours", "groups", "unit", "active", "unsure", "mode", "seen", "looked", "version")
    recent: bool
    tree: bool
    ours: bool
    groups: bool
    unit: str
    active: bool
    unsure: bool
    mode: "Optional[str]"
    seen: str
    looked: bool
    version: str


def read_note(host: "Host", now: float) -> "Tuple[Optional[Capture], str]":
    """Return what preinst noted, and why the note could not be read, or ""; (None, "") if there is no note.

    A note that is not complete is ignored: a file that a power failure has cut would say that there was no CCA.
    """
    try:
        data = host.read_optional(paths.CAPTURE, 4096)
        recent = _is_recent(host, paths.CAPTURE, now)
    except OSError as error:
        return None, why_unread(paths.CAPTURE, error)
    if data is None:
        return None, ""
    values = dict(line.split("=", 1) for line in data.decode("ascii", "replace").splitlines() if "=" in line)
    if any(values.get(name) not in allowed for name, allowed in NOTED):
        return None, ""
    seen = values.get("mode") in (config.TLS, config.TCP) and values.get("seen") in SEEN
    capture = Capture(
        recent=recent,
        tree=values["tree"] == "yes",
        ours=values.get("ours") == "yes",
        groups=values["groups"] == "yes",
        unit=values["unit"],
        active=recent and values["active"] == "yes",
        unsure=recent and values["active"] == "unknown",
        mode=values["mode"] if seen else None,
        seen=values["seen"] if seen else "no",
        looked=seen or values.get("mode") == "none",
        version=values.get("version", ""),
    )
    return capture, ""


def _is_recent(host: "Host", path: str, now: float) -> bool:
    """Whether there is a note of the last day, by this clock. Raises OSError."""
    entry = host.lstat(path)
    return entry is not None and abs(now - entry.st_mtime) <= paths.NOTE_SECONDS


def ran_before_removal(host: "Host", now: float) -> "Optional[bool]":
    """Whether the service ran when a removal stopped it (hooks/prerm.sh); None if that is not noted."""
    return {"yes": True, "no": False}.get((_note_of_removal(host, paths.RAN, now) + [""])[0])


def enabled_before_removal(host: "Host", now: float) -> bool:
    """Whether it is noted that the service was enabled when rpm's %preun disabled it for a removal."""
    return paths.UNIT in _note_of_removal(host, paths.ENABLED, now)


def _note_of_removal(host: "Host", path: str, now: float) -> "List[str]":
    """The lines of a note; none if there is none, or it is of another day."""
    try:
        data = host.read_optional(path, 256) if _is_recent(host, path, now) else None
    except OSError:
        return []
    return (data or b"").decode("ascii", "replace").splitlines()


def why_unread(path: str, error: OSError) -> str:
    """Why a file of ours could not be read; "" if it cannot be a file of ours: not a file, too large, or a circular
    link."""
    if error.errno in (errno.EINVAL, errno.EFBIG, errno.ELOOP):
        return ""
    return "%s cannot be read (%s)" % (path, reason_of(error))


def mode_still_running(host: "Host", capture: "Optional[Capture]") -> "Optional[str]":
    """The mode in which the daemon runs now, if preinst did not run or could not look; else None. An upgrade does not
    stop the old daemon, so that it mostly runs on until the hook restarts it."""
    if not host.is_booted() or (capture is not None and capture.looked):
        return None
    from . import systemd

    return systemd.running_mode(host, systemd.catcher(host))
