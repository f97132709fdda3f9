"""What the files say of the service, without asking systemd: its links and masks, and an administrator's own files."""

from . import paths
from .capture import enabled_before_removal, ran_before_removal
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

    from .host import Host


class UnitFacts(Record):
    """The service's files.

    enabled: a target has a link to it. unmask: the command that removes its masks, "" if it is not masked. A mask that
    lasts until the next boot needs an option of systemctl unmask.
    forking: see is_forking().
    legacy_links: init script and rcN.d links of CCA 7.x, absolute paths.
    ran, was_enabled: see capture.ran_before_removal() and enabled_before_removal(). noted: the file of one of these
    notes exists, even if it says nothing.
    """

    __slots__ = ("enabled", "unmask", "forking", "legacy_links", "ran", "was_enabled", "noted")
    enabled: bool
    unmask: str
    forking: bool
    legacy_links: "List[str]"
    ran: "Optional[bool]"
    was_enabled: bool
    noted: bool

    @property
    def masked(self) -> bool:
        """Whether it is masked, so that nothing can start it."""
        return self.unmask != ""


def collect(host: "Host", now: float) -> UnitFacts:
    """Return what the files say of the service. now: seconds since the epoch."""
    system = "/etc/systemd/system"
    enabled = any(
        host.lexists("%s/%s/%s" % (system, name, paths.UNIT))
        for name in host.list_dir(system)
        if name.endswith((".wants", ".requires"))
    )
    links = _rc_links(host) + [paths.INIT_SCRIPT] * host.lexists(paths.INIT_SCRIPT)
    masks = {"": paths.UNIT_ADMIN, "--runtime ": paths.UNIT_RUNTIME}
    unmask = ["systemctl unmask %sCSUTKEcat" % option for option in sorted(masks) if _is_mask(host, masks[option])]
    return UnitFacts(
        enabled=enabled, unmask=" && ".join(unmask), forking=is_forking(host),
        legacy_links=links,
        ran=ran_before_removal(host, now), was_enabled=enabled_before_removal(host, now),
        noted=host.lexists(paths.RAN) or host.lexists(paths.ENABLED),
    )


def _is_mask(host: "Host", path: str) -> bool:
    """Return whether the file of a unit is a mask to systemd: a link to /dev/null, an empty file, or a link to one.
    hooks/preinst.sh decides the same for an older catcher; a test compares the two."""
    try:
        return host.read_link(path) == "/dev/null" or host.read_optional(path, 64 * 1024) == b""
    except OSError:
        return False


def _rc_links(host: "Host") -> "List[str]":
    """Return the links of CCA 7.x in the rcN.d directories, absolute paths."""
    return ["%s/%s" % (d, name) for d in paths.RC_DIRS for name in host.list_dir(d) if _is_rc_link(name)]


def _is_rc_link(name: str) -> bool:
    """Return whether a name in an rcN.d directory is the catcher's: S14CSUTKEcat, K86CSUTKEcat."""
    return len(name) == len("S14CSUTKEcat") and name[0] in "SK" and name[1:3].isdigit() and name[3:] == "CSUTKEcat"


def kept_settings(host: "Host") -> "Dict[str, str]":
    """Return what the unit and its drop-ins set: the last value of each name. An administrator may have written them
    for CCA 7.x."""
    drop_ins = paths.UNIT_ADMIN + ".d"
    files = [path for path in paths.UNIT_PLACES if host.lexists(path)][:1]
    files += ["%s/%s" % (drop_ins, name) for name in sorted(host.list_dir(drop_ins)) if name.endswith(".conf")]
    found: Dict[str, str] = {}
    for path in files:
        try:
            data = host.read_optional(path, 64 * 1024) or b""
        except OSError:
            continue
        for line in data.decode("utf-8", "replace").splitlines():
            name, _, value = line.partition("=")
            found[name.strip()] = value.strip()
    return found


def is_forking(host: "Host") -> bool:
    """Return whether the control script must exit when the daemon runs: an administrator's files set Type=forking, and
    no ExecStart= that puts the control script into the background."""
    said = kept_settings(host)
    command = said.get("ExecStart") or "CSUTKEcat start"
    return said.get("Type") == "forking" and command.rstrip("'\"").endswith("CSUTKEcat start")
