"""Decide what a daemon start does after converge(). No I/O."""

from . import config, messages, pair, transition
from .actions import PLACES, WRITE_CONFIG
from .messages import finding
from .plan import default_mode, plan, plan_pair, without_tls
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional

    from .actions import Plan
    from .facts import HostFacts
    from .messages import Finding

# foresee() assumes at least this validity for a pair that is not made yet.
YEAR_SECONDS = 365 * 24 * 3600


class Launch(Record):
    """How the daemon is started.

    mode: config.TLS or config.TCP; None if the start is refused.
    findings: if the start is refused, the last one says why. again: a refusal may soon go away, so try again.
    """

    __slots__ = ("mode", "findings", "again")
    mode: "Optional[str]"
    findings: "List[Finding]"
    again: bool

    def arguments(self) -> "List[str]":
        """Return the daemon's command-line arguments."""
        return ["-tls"] if self.mode == config.TLS else []


def launch_decision(facts: "HostFacts", planned: "Optional[str]" = None) -> Launch:
    """Return what a daemon start does after converge(): the mode, or a refusal with its finding.

    planned: the mode of the plan. It counts if it could not be written to catcher.conf.
    """
    conf = facts.config
    found: List[Finding] = []

    def refused(reason: "Finding", again: bool = False) -> Launch:
        return Launch(mode=None, findings=found + [reason], again=again)

    if not facts.catcher:
        return refused(finding("payload-missing"))
    if conf.state == config.UNUSABLE:
        return refused(finding("conf-unusable", reason=conf.problem), again=conf.passing)
    # A mode that is not known must not become plain TCP.
    mode = conf.mode or planned or default_mode(facts) or config.TLS
    if conf.state == config.UNSET:
        found.append(finding("conf-no-directive", mode=mode.upper()))
    if mode == config.TLS and facts.tls.possible is None:
        return refused(finding("tls-not-known", reason=facts.tls.reason), again=True)
    if mode == config.TLS and not facts.tls.possible:
        if conf.required:
            return refused(without_tls(facts))
        found.append(without_tls(facts))
        mode = config.TCP
    if mode == config.TCP:
        return Launch(mode=mode, findings=found, again=False)
    # If a staged pair could not be placed, the complete pair that is in place counts.
    judged = facts.replace(pair=facts.pair.replace(staged=False)) if facts.pair.state == pair.BOTH else facts
    _, about = plan_pair(judged, config.TLS, transition.of(transition.START))
    for one in about:
        if messages.severity(one) == messages.ERROR:
            unread = facts.verdict is not None and bool(facts.verdict.get("passing"))
            return refused(one, again=unread or one["id"] == "clock-unset")
    if facts.pair.state != pair.BOTH:
        reason = facts.image or "no pair was made"
        # catcherctl apply tries again, outside of the unit's sandbox, and says what went wrong.
        hint = "see what is wrong:\n  catcherctl %s" % ("status" if facts.image else "apply")
        return refused(finding("pair-not-generated", reason=reason, hint=hint))
    return Launch(mode=mode, findings=found + about, again=False)


def next_start(facts: "HostFacts") -> Launch:
    """Return what a start on a host with these facts will decide."""
    planned = plan(facts, transition.of(transition.START))
    return launch_decision(foresee(facts, planned), planned.mode)


def foresee(facts: "HostFacts", planned: "Plan") -> "HostFacts":
    """Return the facts as a plan's actions would leave them, as far as a daemon start depends on them."""
    for action in planned.actions:
        if action.kind == WRITE_CONFIG and action.data is not None:
            facts = facts.replace(config=config.parse(action.data))
        if action.kind in PLACES:
            good = {"problem": "", "rsa_bits": 0, "not_before": 0, "not_after": int(facts.now) + YEAR_SECONDS}
            made = facts.pair.replace(state=pair.BOTH, staged=False, key_open="")
            facts = facts.replace(pair=made, verdict=good)
    return facts
