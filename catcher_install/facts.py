"""HostFacts: a snapshot of everything that a plan depends on, collected once and read-only."""

import errno
import stat

from . import config, openssl, pair, paths
from . import stamp as stamp_file
from . import unit as unit_files
from .capture import Capture, mode_still_running, read_note, why_unread
from .errors import AS_ROOT, CatcherError, reason_of
from .host import PASSING
from .record import Record
from .text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from .host import Host

# What CSUTKEcat.service hides from the daemon: ProtectHome=, PrivateTmp=, TemporaryFileSystem=.
HOMES, TEMPORARY, RUN = ("/root/", "/home/", "/run/user/"), ("/tmp/", "/var/tmp/"), "/run/"
HIDDEN = HOMES + TEMPORARY + (RUN,)


class HostFacts(Record):
    """The snapshot.

    booted: systemd runs here and this is no chroot. networked: our view of the network is the host's.
    image: why a key may not be made here, or "".
    config, stamp, pair, capture, unit: see their types. stamp and capture are None if there is none; capture also if it
    is more than a day old and there is a stamp, because then a run has finished since. note_left: the file with
    preinst's note exists.
    still_running: the mode in which an older daemon runs now, config.TLS or config.TCP. It is looked up only if the new
    mode depends on it: no catcher.conf sets a mode, and preinst did not see the daemon. Else None.
    unread: why one of the two files that tell the host's past (the stamp, preinst's note) could not be read, with its
    name, as the end of a sentence; "" if both could be read.
    tls: whether TLS is possible: yes, no, or not known.
    traces: what CCA 7.x left behind, by name.
    catcher: the daemon exists and is executable. version: of this package.
    verdict: on the pair, remembered or new, see _verdict(); None if the host cannot or should not speak TLS, or if the
    pair is not complete.
    now: seconds since the epoch.
    """

    __slots__ = (
        "booted", "networked", "image", "config", "stamp", "unread", "pair", "capture", "note_left",
        "still_running", "unit", "tls", "traces", "catcher", "version", "verdict", "now",
    )
    booted: bool
    networked: bool
    image: str
    config: config.Config
    stamp: "Optional[stamp_file.Stamp]"
    unread: str
    pair: pair.PairFiles
    capture: "Optional[Capture]"
    note_left: bool
    still_running: "Optional[str]"
    unit: "unit_files.UnitFacts"
    tls: openssl.TlsCapability
    traces: "List[str]"
    catcher: bool
    version: str
    verdict: "Optional[Dict[str, object]]"
    now: float


def collect(host: "Host", tls: "Optional[openssl.TlsCapability]" = None) -> HostFacts:
    """Return the facts of a host. Never raises, whatever state the host is in.

    tls: what this run has already found out about OpenSSL, if it has: that saves a process.
    """
    configuration = read_config(host)
    stamp, unread = read_stamp(host)
    files = pair.look(host)
    if tls is None:
        tls = _tls(host, stamp)
    now = host.now()
    capture, capture_unread = read_note(host, now)
    if capture is not None and not capture.recent and stamp is not None:
        capture = None
    traces = _traces(host, capture)
    unit = unit_files.collect(host, now)
    may_be_old = capture is not None or traces or unit.legacy_links
    decides = stamp is None and may_be_old and configuration.state in (config.ABSENT, config.UNSET)
    still_running = mode_still_running(host, capture) if decides else None
    tls_matters = configuration.state != config.TCP and tls.possible is not False
    return HostFacts(
        booted=host.is_booted(),
        # rpm's unshare plugin gives scriptlets an empty network.
        networked=host.shares_network(1),
        image=_image(host),
        config=configuration,
        stamp=stamp,
        unread=unread or capture_unread,
        pair=files,
        capture=capture,
        note_left=host.lexists(paths.CAPTURE),
        still_running=still_running,
        unit=unit,
        tls=tls,
        traces=traces,
        catcher=_is_program(host, paths.CATCHER),
        version=version_of(host),
        verdict=_verdict(host, files, stamp, tls) if tls_matters else None,
        now=now,
    )


def unreadable_by_us(host: "Host") -> "List[str]":
    """Return the files that a plan depends on and that only root may read. What collect() says of these is wrong."""
    return [path for path in (paths.CONF, paths.STAMP, paths.KEY) if only_root_may_read(host, path)]


def only_root_may_read(host: "Host", path: str) -> bool:
    """Return whether root may read a file and this user may not."""
    if host.is_root():
        # If not even root can read a file, collect() reports that as a fault of the host.
        return False
    try:
        host.read_optional(path, pair.SIZE_LIMIT)
    except PermissionError:
        return True
    except OSError:
        # Not a file, or too large: root would not see more.
        return False
    return False


def require_readable(host: "Host", path: str) -> None:
    """Raise CatcherError if root may read a file and this user may not."""
    if only_root_may_read(host, path):
        raise CatcherError("only root may read %s" % path, AS_ROOT)


def require_all_seen(host: "Host", what: str, hint: str) -> None:
    """Raise CatcherError if only root may read the files that *what* depends on.

    what: for the message, e.g. "a plan". hint: what to type as root.
    """
    unread = unreadable_by_us(host)
    if unread:
        raise CatcherError("only root may read what %s depends on: %s" % (what, ", ".join(unread)), hint)


def read_config(host: "Host") -> config.Config:
    """Return what catcher.conf says; config.unreadable() if it cannot be read, or if the service would not see it."""
    where = "" if host.is_in_sandbox() else out_of_sight(host, paths.CONF)
    if where:
        return config.unreadable("it " + where)
    try:
        data = host.read_optional(paths.CONF, config.SIZE_LIMIT)
    except OSError as error:
        return config.unreadable("it cannot be read (%s)" % reason_of(error), error.errno in PASSING)
    if data is None:
        if host.lexists(paths.CONF):
            return config.unreadable("it is a link that leads nowhere", _may_be_mounted(host, paths.CONF))
        if host.lexists(paths.CONF_DIR) and not host.is_dir(paths.CONF_DIR):
            return config.unreadable("%s leads to no directory" % paths.CONF_DIR, _may_be_mounted(host, paths.CONF_DIR))
        return config.absent()
    read = config.parse(data, quote=False)
    if read.state == config.UNUSABLE and _everybody_may_read(host, data):
        return config.parse(data)
    return read


def _may_be_mounted(host: "Host", path: str) -> bool:
    """Return whether a dangling link may lead to a file system that is mounted later. Not if the unit hides that place
    from the service: then the service never sees it."""
    return host.identity(path) == "-" and not out_of_sight(host, path)


def _everybody_may_read(host: "Host", data: bytes) -> bool:
    """Return whether a message in the journal may quote *data*, which was read as catcher.conf.

    The path may lead to any file of root's, so everybody must be able to read that file. It is read again, because it
    may be another file by now.
    """
    try:
        return host.read(paths.CONF, config.SIZE_LIMIT, public=True) == data
    except OSError:
        return False


def read_stamp(host: "Host") -> "Tuple[Optional[stamp_file.Stamp], str]":
    """Return the stamp or None, and why it could not be read or ""."""
    try:
        data = host.read_optional(paths.STAMP, stamp_file.SIZE_LIMIT)
    except OSError as error:
        return None, why_unread(paths.STAMP, error)
    return stamp_file.parse(data) if data is not None else None, ""


def _tls(host: "Host", stamp: "Optional[stamp_file.Stamp]") -> openssl.TlsCapability:
    if host.root != "/":
        # The programs there are never run: nobody knows what they do.
        return openssl.unknown("programs of another root directory are not run")
    return openssl.capability(host, stamp.checked_openssl if stamp is not None else None)


def _image(host: "Host") -> str:
    """Return why no private key may be made here, or ""."""
    if host.root != "/":
        return "another root directory"
    return "a chroot" if host.in_chroot() else ""


def _traces(host: "Host", capture: "Optional[Capture]") -> "List[str]":
    """Return the names of what only CCA 7.x can have left behind. They decide if no package manager tells the old
    version. Key storage is no such trace: it is also restored on new hosts."""
    found = [path for path in (paths.INIT_SCRIPT,) if host.lexists(path)]
    # This package may make these groups, too. So what preinst saw counts, if it left a note; without one, the groups
    # count only if neither systemd-sysusers nor preinst makes them for this package.
    made_by_us = host.lexists(paths.SYSUSERS) or host.lexists(paths.MADE_GROUPS)
    from_cca_7 = capture.groups if capture is not None else not made_by_us and _has_legacy_groups(host)
    if from_cca_7:
        found.append("the groups cca_*")
    return found


def _has_legacy_groups(host: "Host") -> bool:
    try:
        data = host.read("/etc/group", 4 * 1024 * 1024, head=True)
    except OSError:
        return False
    return any(b"\n%s:" % name.encode("ascii") in b"\n" + data for name in paths.LEGACY_GROUPS)


def _is_program(host: "Host", path: str) -> bool:
    entry = host.lstat(path)
    return entry is not None and stat.S_ISREG(entry.st_mode) and bool(entry.st_mode & 0o111)


def version_of(host: "Host") -> str:
    """Return the version of the installed package; "unpackaged" in a source tree."""
    try:
        data = host.read_optional(paths.VERSION, 256)
    except OSError:
        data = None
    return data.decode("ascii", "replace").strip() if data else "unpackaged"


def _verdict(
    host: "Host", files: pair.PairFiles, stamp: "Optional[stamp_file.Stamp]", tls: openssl.TlsCapability
) -> "Optional[Dict[str, object]]":
    """Return the judgement on the pair in place; None if the pair is not complete. It is remembered until one of the
    two files or the policy of OpenSSL changes.

    Keys: fingerprint and key_size (see pair.PairFiles), policy (see openssl.policy()), and the fields of check.Verdict,
    "unchecked" only if OpenSSL could not be asked. If the files cannot be read, also "passing" (whether that may soon
    be over) and "unread" (whether they may be a good pair nevertheless).
    """
    if files.state != pair.BOTH:
        return None
    memory = (stamp or stamp_file.EMPTY).checked_pair or {}
    policy = openssl.policy(host, tls)
    known = _is_verdict_on(memory, files)
    unseen = _why_service_cannot_see_pair(host)
    unchanged = known and openssl.is_same(memory.get("policy"), policy)
    if unchanged and (not unseen or host.is_in_sandbox()):
        return memory
    from .cert import check

    verdict: Dict[str, object] = {"fingerprint": "", "key_size": 0, "policy": policy}
    try:
        key, crt = pair.read(host)
        # Of the bytes that are judged: the files may have changed since look().
        verdict.update(fingerprint=pair.fingerprint(key, crt), key_size=len(key))
        judged = check.check(host, key, crt)
        if unseen and not host.is_in_sandbox():
            judged = check.unusable(unseen)
    except OSError as error:
        judged = check.unusable(unseen or "they cannot be read (%s)" % reason_of(error))
        passing = error.errno in PASSING or error.errno == errno.ENOENT and not unseen
        verdict.update(passing=passing, unread=not unseen and why_unread("", error) != "")
    if judged.unchecked and known:
        # OpenSSL could not be asked this time, so the remembered verdict stays.
        return memory
    for name in judged.__slots__:
        if name != "unchecked" or judged.unchecked:
            verdict[name] = getattr(judged, name)
    return verdict


def _why_service_cannot_see_pair(host: "Host") -> str:
    """Return why the service does not see the pair, as the end of a sentence; "" if it does."""
    for path in (paths.KEY, paths.CERTIFICATE):
        where = out_of_sight(host, path)
        if where:
            return "%s %s" % (path.rpartition("/")[2], where)
    return ""


def out_of_sight(host: "Host", path: str) -> str:
    """Return why the service does not see a path, as the end of a sentence; "" if it does."""
    if host.root == "/" and not host.is_booted() and not host.in_chroot():
        # A container without systemd has no unit that hides anything.
        return ""
    try:
        real = host.real_path(path)
    except OSError:
        # A circular link: it cannot be read either.
        return ""
    if not (real + "/").startswith(HIDDEN) or _is_shown(host, real):
        return ""
    return "leads to %s, and the service sees nothing below %s" % (
        shown(real), " ".join(one.rstrip("/") for one in HIDDEN))


def _is_shown(host: "Host", real: str) -> bool:
    """Return whether a drop-in, or another unit in place of ours, shows the service a path that our unit hides."""
    if not host.is_booted():
        return False
    from . import systemd

    said = systemd.show(host, "ProtectHome", "PrivateTmp", "TemporaryFileSystem", "BindPaths", "BindReadOnlyPaths")
    # Each is SOURCE:PLACE:OPTIONS; see systemd.exec(5).
    bound = [one.split(":")[1:2] for name in ("BindPaths", "BindReadOnlyPaths") for one in said.get(name, "").split()]
    if any((real + "/").startswith(place.rstrip("/") + "/") for places in bound for place in places):
        return True
    if real.startswith(TEMPORARY):
        return said.get("PrivateTmp") == "no"
    covered = [one.split(":")[0].rstrip("/") + "/" for one in said.get("TemporaryFileSystem", RUN).split()]
    homes = said.get("ProtectHome") in ("no", "read-only") or not real.startswith(HOMES)
    return homes and not real.startswith(tuple(covered))


def judged(host: "Host", facts: HostFacts) -> HostFacts:
    """Return the facts with a verdict on the pair, even in a mode that does not use the pair."""
    if facts.verdict is not None:
        return facts
    return facts.replace(verdict=_verdict(host, facts.pair, facts.stamp, facts.tls))


def _is_verdict_on(memory: "Dict[str, object]", files: pair.PairFiles) -> bool:
    """Return whether a remembered verdict is complete, good, and about these files."""
    return (
        files.fingerprint != ""
        and memory.get("fingerprint") == files.fingerprint
        # Bytes that move from one file to the other do not change the fingerprint.
        and memory.get("key_size") == files.key_size
        and memory.get("problem") == ""
        and all(isinstance(memory.get(name), int) for name in (
            "rsa_bits", "not_before", "not_after", "issuer_not_after", "key_in_certificate"))
        and all(isinstance(memory.get(name), str) for name in ("chain", "issuer"))
    )
