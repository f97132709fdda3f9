"""What is known of an older catcher: what preinst noted of it (hooks/preinst.sh), and what still runs."""

import errno

from . import config, paths
from .errors import reason_of
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from .host import Host

# The fields that hooks/preinst.sh always writes, with their values.
NOTED = (
    ("tree", ("yes", "no")),
    ("groups", ("yes", "no")),
    ("unit", ("enabled", "disabled", "masked", "none")),
    ("active", ("yes", "no", "unknown")),
)
# How preinst saw the mode: as the note has it, and in words. Notes of earlier versions have no mode.
SEEN = {"process": "the list of processes", "last-run": "systemd's record of the last start", "journal": "the journal"}


class Capture(Record):
    """What the preinst scriptlet saw before the old package's files were removed (hooks/preinst.sh).

    recent: the note is from the last day. An older note still tells what the host was, but no longer the state of the
    service: unit, active and unsure then mean nothing.
    tree: there was a CCA tree without our private library or another trace of ours: CCA 7.x, or the vendor's own 8.x.
    ours: its CSUTKEcat was that of our 8.x. groups: CCA's groups existed.
    unit: "enabled", "disabled", "masked" or "none". active: the daemon was running. unsure: it is not known whether it
    was running.
    mode: that of the daemon (config.TLS or config.TCP), or None if it was not seen. seen: how it was seen: "process"
    (it was running), "last-run" (systemd remembers its command line), "journal" (journald does), or "no".
    looked: True if a daemon that was not seen did not run; False if it may have run unseen.
    version: of the package that owned the tree, if the package manager knew it; else "".
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

    now: seconds since the epoch. An incomplete note is ignored: after a power failure it might say that there was no
    CCA.
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
    """Return whether there is a note from the last day, by this host's clock. Raises OSError."""
    entry = host.lstat(path)
    return entry is not None and abs(now - entry.st_mtime) <= paths.NOTE_SECONDS


def ran_before_removal(host: "Host", now: float) -> "Optional[bool]":
    """Return whether the service ran when a removal stopped it (hooks/prerm.sh); None if no note tells it."""
    return {"yes": True, "no": False}.get((_note_of_removal(host, paths.RAN, now) + [""])[0])


def enabled_before_removal(host: "Host", now: float) -> bool:
    """Return whether a note says that the service was enabled before rpm's %preun disabled it for a removal."""
    return paths.UNIT in _note_of_removal(host, paths.ENABLED, now)


def _note_of_removal(host: "Host", path: str, now: float) -> "List[str]":
    """Return the lines of a note; none if there is no note, or only an old one."""
    try:
        data = host.read_optional(path, 256) if _is_recent(host, path, now) else None
    except OSError:
        return []
    return (data or b"").decode("ascii", "replace").splitlines()


def why_unread(path: str, error: OSError) -> str:
    """Return why a file of ours could not be read; "" if what is there cannot be ours: it is not a file, it is too
    large, or its links form a circle."""
    if error.errno in (errno.EINVAL, errno.EFBIG, errno.ELOOP):
        return ""
    return "%s cannot be read (%s)" % (path, reason_of(error))


def mode_still_running(host: "Host", capture: "Optional[Capture]") -> "Optional[str]":
    """Return the mode in which the daemon runs now; None if it does not run, or if preinst could look.

    An upgrade does not stop the old daemon: usually it runs on until the hook restarts it.
    """
    if not host.is_booted() or (capture is not None and capture.looked):
        return None
    from . import systemd

    return systemd.running_mode(host, systemd.catcher(host))
