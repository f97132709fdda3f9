"""What is known of the service without systemd: its links, masks, and what an administrator's own files set."""

from . import paths
from .capture import enabled_before_removal, ran_before_removal
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

    from .host import Host


class UnitFacts(Record):
    """The service's files.

    enabled: a link of a target wants it. unmask: what to type if it is masked, for good or until the next boot, else
    "": systemctl unmask leaves a mask until the next boot, unless it is told.
    forking: see is_forking().
    legacy_links: init script and rcN.d links of CCA 7.x, absolute paths.
    ran, was_enabled: see capture.ran_before_removal() and enabled_before_removal(). noted: there is one of their notes,
    though it may say nothing.
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
        """Whether nothing can start it."""
        return self.unmask != ""


def collect(host: "Host", now: float) -> UnitFacts:
    """What is known of the service at *now*, seconds since the epoch."""
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
    """Whether systemd takes what is in the place of a unit for a mask: a link to /dev/null, an empty file, or a link to
    one. preinst.sh decides the same of an older catcher: a test compares the two."""
    try:
        return host.read_link(path) == "/dev/null" or host.read_optional(path, 64 * 1024) == b""
    except OSError:
        return False


def _rc_links(host: "Host") -> "List[str]":
    """CCA 7.x's links in the rcN.d directories, absolute paths."""
    return ["%s/%s" % (d, name) for d in paths.RC_DIRS for name in host.list_dir(d) if _is_rc_link(name)]


def _is_rc_link(name: str) -> bool:
    """Whether a name in an rcN.d directory is the catcher's: S14CSUTKEcat, K86CSUTKEcat."""
    return len(name) == len("S14CSUTKEcat") and name[0] in "SK" and name[1:3].isdigit() and name[3:] == "CSUTKEcat"


def kept_settings(host: "Host") -> "Dict[str, str]":
    """Return what an administrator's copy of the unit and drop-ins set, which may be from CCA 7.x: the last value of
    each name."""
    drop_ins = paths.UNIT_ADMIN + ".d"
    files = [path for path in paths.UNIT_COPIES if host.lexists(path)][:1]
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
    """Whether the control script has to end when the daemon runs: an administrator's Type=forking without a command of
    its own that puts the control script into the background."""
    said = kept_settings(host)
    command = said.get("ExecStart") or "CSUTKEcat start"
    return said.get("Type") == "forking" and command.rstrip("'\"").endswith("CSUTKEcat start")
