"""Find out what the package manager is doing, from the arguments of a scriptlet.

Debian: Policy 6.5, "Summary of ways maintainer scripts are called". RPM: a scriptlet gets the number of versions that
will be installed afterwards, never the old version. More than 1 is an upgrade. 1 may be an upgrade, too: before rpm
4.18 %posttrans always gets 1. Then preinst's note decides (service.py); without a note, the service is started as after
an installation.
"""

from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Sequence

    from .capture import Capture
    from .facts import HostFacts

INSTALL = "install"
UPGRADE = "upgrade"
ABORT = "abort"
NOTHING = "nothing"
UNKNOWN = "unknown"
START = "start"
APPLY = "apply"
SET_MODE = "set mode"
PUT_PAIR = "put pair"
RETURN = "return"
REMOVE = "remove"


class Transition(Record):
    """What the package manager or an administrator is doing.

    kind: INSTALL, UPGRADE, ABORT, NOTHING (a call with no work for us), UNKNOWN (the arguments are not understood; the
        facts decide), START (the daemon is about to be executed), REMOVE (our files are about to be removed); or what
        an administrator asks for: APPLY (catcherctl apply), SET_MODE, PUT_PAIR, and RETURN to the state before one of
        the last two.
    old_version: the version configured before, if the package manager tells it; else None.
    request: a ModeRequest, PairRequest or ReturnRequest for the last three kinds; else None.
    """

    __slots__ = ("kind", "old_version", "request")
    kind: str
    old_version: "Optional[str]"
    request: "Any"


class ModeRequest(Record):
    """mode: config.TLS or config.TCP."""

    __slots__ = ("mode",)
    mode: str


class PairRequest(Record):
    """A key and a certificate to put in place.

    verb: what was typed, for the journal. key, certificate: PEM; both b"" if a new pair is to be made.
    may_replace: whether a pair, or half of one, may be replaced. names: those that the certificate gets, or was checked
    for, on top of the host's. key_type, days: of a pair that is to be made, see generate.Wish; else "" and 0.
    options: the options for names, key_type and days as typed, for a hint, each with a blank in front.
    """

    __slots__ = ("verb", "key", "certificate", "may_replace", "names", "key_type", "days", "options")
    verb: str
    key: bytes
    certificate: bytes
    may_replace: bool
    names: "List[str]"
    key_type: str
    days: int
    options: str


class ReturnRequest(Record):
    """Undo a change that did not work.

    before, after: the facts before and after the change (facts.HostFacts). Later changes by somebody else stay.
    kept: the suffix of the old pair's names; "" if the change put no pair in place.
    """

    __slots__ = ("before", "after", "kept")
    before: "HostFacts"
    after: "HostFacts"
    kept: str


def of(kind: str, old_version: "Optional[str]" = None, request: object = None) -> Transition:
    """Return a transition of a kind."""
    return Transition(kind=kind, old_version=old_version, request=request)


def from_scriptlet(family: str, arguments: "Sequence[str]") -> Transition:
    """Return the transition for which ``postinst`` (deb) or ``%posttrans`` (rpm) was called.

    family: "deb" or "rpm". arguments: as the package manager gave them. Never raises.
    """
    if family == "deb":
        return _from_postinst(list(arguments))
    if family == "rpm":
        count = arguments[0] if arguments else ""
        if count.isdecimal() and len(count) < 6 and int(count) >= 1:
            return of(INSTALL if int(count) == 1 else UPGRADE)
    return of(UNKNOWN)


def _from_postinst(arguments: "Sequence[str]") -> Transition:
    action = arguments[0] if arguments else ""
    old = arguments[1] if len(arguments) > 1 and arguments[1] else None
    if action == "configure":
        # dpkg gives no old version to a first installation.
        return of(UPGRADE if old else INSTALL, old)
    if action == "abort-remove":
        return of(ABORT)
    if action in ("abort-upgrade", "abort-deconfigure", "triggered"):
        # Our prerm stops the service for a removal only; see service.resumes().
        return of(NOTHING)
    return of(UNKNOWN)


def old_version(transition: Transition, capture: "Optional[Capture]") -> "Optional[str]":
    """Return the version of the previous package; None if it is not known. dpkg tells it to postinst, and preinst asks
    rpm for it."""
    return transition.old_version or (capture.version if capture is not None else "") or None


def is_before_tls(version: "Optional[str]") -> bool:
    """Return whether a package version is known to be that of CCA 7.3 or older, which spoke TCP only."""
    if not version or not is_before_8(version):
        return False
    numbers = version.rsplit(":", 1)[-1].partition("-")[0].partition("~")[0].split(".")
    minor = numbers[1] if len(numbers) > 1 else ""
    return int(numbers[0]) < 7 or (minor.isdecimal() and len(minor) < 6 and int(minor) < 4)


def is_before_8(version: "Optional[str]") -> "Optional[bool]":
    """Return whether a package version is that of CCA 7.x or older; None if the version does not tell.

    Only the number before the first dot is read, because versions of CCA may end in letters.
    """
    if not version:
        return None
    major = version.rsplit(":", 1)[-1].split(".", 1)[0].split("-", 1)[0].split("~", 1)[0]
    if not major.isdecimal() or len(major) > 6:
        return None
    return int(major) < 8
