"""The parts of a plan: its actions, in the order in which they are carried out, and the history of the host."""

from . import messages
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional

    from .messages import Finding

# Histories of a host; see plan.history().
FRESH = "fresh"
LEGACY = "legacy upgrade"
KNOWN = "8.x upgrade"

# Kinds of actions; ORDER is the order in which they are carried out. The traces of CCA 7.x (its links, the note of
# preinst) are removed only after the stamp is written: a run that is killed before that must find them again.
PLACE_STAGED_PAIR = "place staged pair"
CLEAR_DRAFT = "clear draft"
WRITE_CONFIG = "write configuration"
REMOVE_CONFIG = "remove configuration"
MAKE_PAIR = "make pair"
PUT_PAIR = "put pair in place"
RETURN_PAIR = "put old pair back"
RETIRE_LEGACY_LINKS = "retire SysV links"
ENABLE = "enable"
DISABLE = "disable"
WRITE_STAMP = "write stamp"
RESTART = "restart"
TRY_RESTART = "try-restart"
START = "start"
FORGET_CAPTURE = "forget capture"
FORGET_REMOVAL = "forget a removal"
NOTE_OURS = "note what is ours"
ORDER = (
    PLACE_STAGED_PAIR, CLEAR_DRAFT, WRITE_CONFIG, REMOVE_CONFIG, MAKE_PAIR, PUT_PAIR, RETURN_PAIR, ENABLE, DISABLE,
    WRITE_STAMP, NOTE_OURS, RETIRE_LEGACY_LINKS, RESTART, TRY_RESTART, START, FORGET_CAPTURE,
    FORGET_REMOVAL,
)  # fmt: skip

# Why the stamp is written, except when a change is taken back.
RECORD = "record the result of this run"

# What puts a pair in its place.
PLACES = (PLACE_STAGED_PAIR, MAKE_PAIR, PUT_PAIR, RETURN_PAIR)
# What changes the mode or the pair.
CHANGES = PLACES + (WRITE_CONFIG, REMOVE_CONFIG)
UNIT_VERBS = (ENABLE, DISABLE)
SERVICE_VERBS = (RESTART, TRY_RESTART, START)
# A note of the service's state stays until the service is in that state again. The note of preinst does not wait for a
# start: the daemon may refuse to start until an administrator has changed something.
WAITS_FOR = {FORGET_CAPTURE: UNIT_VERBS, FORGET_REMOVAL: UNIT_VERBS + SERVICE_VERBS}


class Action(Record):
    """One step of a plan.

    kind: one of ORDER. why: the reason, for people.
    data: what this kind needs. WRITE_CONFIG: the new bytes of catcher.conf. PUT_PAIR: a transition.PairRequest.
    RETURN_PAIR: a transition.ReturnRequest. WRITE_STAMP: the Stamp, or None if it is computed from the facts after the
    other actions. Every other kind: None.
    """

    __slots__ = ("kind", "why", "data")
    kind: str
    why: str
    data: "Any"

    def text(self) -> "Optional[str]":
        """Return the new text of catcher.conf; None for an action that does not write it."""
        return self.data.decode("utf-8", "replace") if self.kind == WRITE_CONFIG else None

    def makes_pair(self) -> bool:
        """Return whether this action makes a new key and certificate."""
        return self.kind == MAKE_PAIR or (self.kind == PUT_PAIR and not self.data.key)


class Plan(Record):
    """What a run does on a host.

    actions: in the order of ORDER. findings: what an administrator must know. mode: that of catcher.conf afterwards
    (config.TLS or config.TCP; None if the file is unusable or the mode is undecided). history: FRESH, LEGACY or KNOWN.
    """

    __slots__ = ("actions", "findings", "mode", "history")
    actions: "List[Action]"
    findings: "List[Finding]"
    mode: "Optional[str]"
    history: str

    def findings_with(self, after: "Plan") -> "List[Finding]":
        """Return the findings of *after*, a plan made when this one was carried out, and the LASTING ones of this plan,
        unless the mode has changed since."""
        lasting = [one for one in self.findings if messages.is_marked(one, messages.LASTING)]
        return after.findings + [one for one in lasting if one not in after.findings and self.mode == after.mode]


def act(kind: str, why: str, data: object = None) -> Action:
    """Return an Action."""
    return Action(kind=kind, why=why, data=data)
