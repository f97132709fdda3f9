"""What becomes of the service: what the packaging macros cannot do. No I/O."""

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

# These leave the service alone: a start becomes the daemon, and admin/change.py restarts the daemon and verifies an
# administrator's change.
LEAVES_SERVICE = (transitions.START, transitions.SET_MODE, transitions.PUT_PAIR)


def plan_service(facts: "HostFacts", transition: "Transition", past: str) -> "List[Action]":
    """Decide what the packaging macros cannot: keep the service's state over an upgrade, although the old package may
    disable and stop the service, and retire the init script of CCA 7.x. If preinst did not note the state (a full
    disk), the note of a killed removal counts; without that note, an enabled service counts as one that ran."""
    if transition.kind in LEAVES_SERVICE:
        return []
    actions = []
    capture = _seen(facts)
    forget = [act(FORGET_CAPTURE, "the installation or upgrade is finished")] if facts.note_left else []
    if facts.unit.legacy_links:
        actions.append(act(RETIRE_LEGACY_LINKS, "the systemd unit replaces CCA 7.x's init script"))
    if transition.kind == transitions.APPLY and capture is None:
        # The scriptlet after a removal that was killed could not do this.
        undone = resumes(facts, transition) or _was_disabled(facts)
        return actions + forget + (plan_resumption(facts, transition) if undone else [])
    if capture is not None and not facts.unit.masked:
        if capture.unit == "enabled" and not facts.unit.enabled:
            actions.append(act(ENABLE, "it was enabled before the upgrade"))
        if capture.unit == "disabled" and facts.unit.enabled:
            actions.append(act(DISABLE, "it was disabled before the upgrade"))
    if capture is None:
        actions += _enable_again(facts)
    actions += forget + _forget_removal(facts)
    if not facts.booted or facts.unit.masked:
        return actions
    if capture is not None and capture.unit != "none":
        if capture.active:
            actions.append(act(RESTART, "it was running before"))
    elif capture is None and (facts.unit.ran is not None or facts.unit.was_enabled):
        # `dpkg --configure` calls no preinst. A boot starts what is enabled.
        if facts.unit.ran is not False:
            actions.append(act(RESTART, "it was running before a removal that was killed"))
        else:
            actions.append(act(TRY_RESTART, "it runs the previous version"))
    elif (capture is not None or (transition.kind == transitions.INSTALL and past == FRESH)) and may_start(facts):
        actions.append(act(START, "a new installation is started"))
    elif may_start(facts) and (
        transition.kind == transitions.INSTALL or (transition.kind == transitions.UPGRADE and past == LEGACY)
    ):
        # An upgrade is an installation to rpm's %posttrans, and CCA 7.x's own scriptlets stop the service.
        actions.append(act(RESTART, "it may have been stopped, or run the previous version"))
    elif transition.kind != transitions.APPLY:
        actions.append(act(TRY_RESTART, "it runs the previous version"))
    return actions


def _seen(facts: "HostFacts") -> "Optional[Capture]":
    """The service as preinst saw it, if that was in the last day."""
    return facts.capture if facts.capture is not None and facts.capture.recent else None


def plan_resumption(facts: "HostFacts", transition: "Transition") -> "List[Action]":
    """Decide what is left to do for the service if no package came or went: enable what a removal has disabled, and
    start what it has stopped."""
    actions = _enable_again(facts)
    if resumes(facts, transition):
        actions.append(act(START, "a removal was cancelled or killed"))
    return actions + _forget_removal(facts)


def _enable_again(facts: "HostFacts") -> "List[Action]":
    return [act(ENABLE, "it was enabled before a removal that was killed")] if _was_disabled(facts) else []


def _was_disabled(facts: "HostFacts") -> bool:
    """Whether the service is disabled only because of a removal that was killed. What preinst saw later counts for
    more."""
    capture = _seen(facts)
    later = capture is not None and capture.unit == "disabled"
    return facts.unit.was_enabled and not facts.unit.enabled and not facts.unit.masked and not later


def _forget_removal(facts: "HostFacts") -> "List[Action]":
    if not facts.unit.noted:
        return []
    return [act(FORGET_REMOVAL, "the service is as it was before a removal that was cancelled or killed")]


def resumes(facts: "HostFacts", transition: "Transition") -> bool:
    """Whether the service starts after a removal that was cancelled, or an upgrade that failed after a removal that was
    killed: if it ran before the removal."""
    if facts.unit.ran is None:
        # A boot would have started what the removal has disabled.
        return facts.booted if _was_disabled(facts) else transition.kind == transitions.ABORT and may_start(facts)
    return facts.unit.ran and facts.booted and not facts.unit.masked


def may_start(facts: "HostFacts") -> bool:
    """Whether the service should run here: systemd does, and the service is enabled and not masked."""
    return facts.booted and facts.unit.enabled and not facts.unit.masked
