"""Scriptlet arguments -> what the package manager is doing.

Debian: Policy 6.5, "Summary of ways maintainer scripts are called". RPM: the count of instances that will be left,
which never says the old version; anything above 1 is an upgrade.
"""

from .record import Record

MYPY = False
if MYPY:
    from typing import Optional, Sequence

INSTALL = "install"
UPGRADE = "upgrade"
ABORT = "abort"
NOTHING = "nothing"
UNKNOWN = "unknown"
START = "start"
APPLY = "apply"


class Transition(Record):
    """What is going on.

    kind: INSTALL, UPGRADE, ABORT, NOTHING (a call that asks for no work), UNKNOWN (arguments that are not
        understood: facts decide), START (the daemon is about to be executed) or APPLY (an administrator's converge).
    old_version: the version configured before, where the package manager says it; else None.
    """

    __slots__ = ("kind", "old_version")
    kind: str
    old_version: "Optional[str]"


def of(kind: str, old_version: "Optional[str]" = None) -> Transition:
    """A transition of a kind."""
    return Transition(kind=kind, old_version=old_version)


def from_scriptlet(family: str, arguments: "Sequence[str]") -> Transition:
    """What ``postinst`` (deb) or ``%posttrans`` (rpm) was called for.

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
        # Our prerm stops the service for a removal only.
        return of(NOTHING)
    return of(UNKNOWN)


def is_before_8(version: "Optional[str]") -> "Optional[bool]":
    """Whether a package version is of CCA 7.x or older; None where it cannot be told.

    Only the number before the first dot is read: inside CCA a version may end in letters.
    """
    if not version:
        return None
    major = version.rsplit(":", 1)[-1].split(".", 1)[0].split("-", 1)[0].split("~", 1)[0]
    if not major.isdecimal() or len(major) > 6:
        return None
    return int(major) < 8
