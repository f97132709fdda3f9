"""Decide what happens to the service, as far as the packaging macros cannot do it. No I/O."""

from . import transition as transitions
from .actions import (
    DISABLE,
    ENABLE,
    FORGET_CAPTURE,
    FORGET_REMOVAL,
    FRESH,
    LEGACY,
    RESTART,
    RETIRE_LEGACY_LINKS,
    START,
    TRY_RESTART,
    act,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from .actions import Action
    from .capture import Capture
    from .facts import HostFacts
    from .transition import Transition

# These leave the service alone. A start becomes the daemon; after an administrator's change, admin/change.py restarts
# and verifies.
LEAVES_SERVICE = (transitions.START, transitions.SET_MODE, transitions.PUT_PAIR)


def plan_service(facts: "HostFacts", transition: "Transition", past: str) -> "List[Action]":
    """Decide how the service keeps its state in an upgrade, although the old package may disable and stop it, and
    whether CCA 7.x's init script is retired. past: the history, see plan.history().

    If preinst did not note the state (the disk was full), the note of a killed removal counts. If there is no such note
    either, an enabled service counts as one that ran.
    """
    if transition.kind in LEAVES_SERVICE:
        return []
    actions = []
    capture = _seen(facts)
    forget = [act(FORGET_CAPTURE, "the installation or upgrade is finished")] if facts.note_left else []
    if facts.unit.legacy_links:
        actions.append(act(RETIRE_LEGACY_LINKS, "the systemd unit replaces CCA 7.x's init script"))
    if transition.kind == transitions.APPLY and capture is None:
        # Do what the scriptlet after a killed removal could not do.
        undone = resumes(facts, transition) or _was_disabled(facts)
        return actions + forget + (plan_resumption(facts, transition) if undone else [])
    actions += _keep_enablement(facts, capture) + forget + _forget_removal(facts)
    if facts.booted and not facts.unit.masked:
        actions += _keep_running(facts, transition, past, capture)
    return actions


def _keep_enablement(facts: "HostFacts", capture: "Optional[Capture]") -> "List[Action]":
    """Enable or disable the service, as it was before the upgrade or before a killed removal."""
    if capture is None:
        return _enable_again(facts)
    if facts.unit.masked:
        return []
    if capture.unit == "enabled" and not facts.unit.enabled:
        return [act(ENABLE, "it was enabled before the upgrade")]
    if capture.unit == "disabled" and facts.unit.enabled:
        return [act(DISABLE, "it was disabled before the upgrade")]
    return []


def _keep_running(facts: "HostFacts", transition: "Transition", past: str, capture: "Optional[Capture]"
                  ) -> "List[Action]":
    """Start or restart the service if it ran before, or if it is new. systemd runs, and the service is not masked."""
    if capture is not None and capture.unit != "none":
        return [act(RESTART, "it was running before")] if capture.active else []
    if capture is None and (facts.unit.ran is not None or facts.unit.was_enabled):
        # `dpkg --configure` calls no preinst. An enabled service whose note is gone was started by a boot.
        if facts.unit.ran is not False:
            return [act(RESTART, "it was running before a removal that was killed")]
        return [act(TRY_RESTART, "it runs the previous version")]
    if may_start(facts):
        if capture is not None or (transition.kind == transitions.INSTALL and past == FRESH):
            return [act(START, "a new installation is started")]
        if transition.kind == transitions.INSTALL or (transition.kind == transitions.UPGRADE and past == LEGACY):
            # rpm's %posttrans cannot tell an upgrade from an installation. CCA 7.x's own scriptlets stop the service.
            return [act(RESTART, "it may have been stopped, or run the previous version")]
    if transition.kind == transitions.APPLY:
        return []
    return [act(TRY_RESTART, "it runs the previous version")]


def _seen(facts: "HostFacts") -> "Optional[Capture]":
    """Return what preinst saw of the service, if that was in the last day."""
    return facts.capture if facts.capture is not None and facts.capture.recent else None


def plan_resumption(facts: "HostFacts", transition: "Transition") -> "List[Action]":
    """Decide what is left to do if no package was installed or removed: enable and start the service again if a removal
    has disabled and stopped it."""
    actions = _enable_again(facts)
    if resumes(facts, transition):
        actions.append(act(START, "a removal was cancelled or killed"))
    return actions + _forget_removal(facts)


def _enable_again(facts: "HostFacts") -> "List[Action]":
    return [act(ENABLE, "it was enabled before a removal that was killed")] if _was_disabled(facts) else []


def _was_disabled(facts: "HostFacts") -> bool:
    """Return whether the service is disabled only because a removal was killed. What preinst saw later takes
    precedence."""
    capture = _seen(facts)
    later = capture is not None and capture.unit == "disabled"
    return facts.unit.was_enabled and not facts.unit.enabled and not facts.unit.masked and not later


def _forget_removal(facts: "HostFacts") -> "List[Action]":
    if not facts.unit.noted:
        return []
    return [act(FORGET_REMOVAL, "the service is as it was before a removal that was cancelled or killed")]


def resumes(facts: "HostFacts", transition: "Transition") -> bool:
    """Return whether the service must be started after a removal that was cancelled, or after an upgrade that failed
    after a killed removal: it must if it ran before the removal."""
    if facts.unit.ran is None:
        # There was a boot since. It would have started a service that the removal has disabled.
        return facts.booted if _was_disabled(facts) else transition.kind == transitions.ABORT and may_start(facts)
    return facts.unit.ran and facts.booted and not facts.unit.masked


def may_start(facts: "HostFacts") -> bool:
    """Return whether the service should run here: systemd runs, and the service is enabled and not masked."""
    return facts.booted and facts.unit.enabled and not facts.unit.masked
