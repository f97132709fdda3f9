"""The rules of a daemon start, after a converge. No I/O."""

from . import config, messages, pair, transition
from .actions import MAKE_PAIR, PLACE_STAGED_PAIR, WRITE_CONFIG
from .messages import finding
from .plan import default_mode, no_tls_reason, plan_pair
from .record import Record

MYPY = False
if MYPY:
    from typing import List, Optional

    from .actions import Plan
    from .facts import HostFacts
    from .messages import Finding

SECONDS_A_DAY = 24 * 3600


class Launch(Record):
    """How the daemon is started.

    arguments: behind the program's name: ["-tls"] or []. None where the start is refused.
    findings: the refusal is the last one of severity error.
    """

    __slots__ = ("arguments", "findings")
    arguments: "Optional[List[str]]"
    findings: "List[Finding]"


def launch_decision(facts: "HostFacts", planned: "Optional[str]" = None) -> Launch:
    """The rules of a daemon start, after a converge: which arguments, or a refusal with its finding.

    planned: the mode that the converge decided on, which counts where it could not write it into catcher.conf.
    """
    conf = facts.config
    found: List[Finding] = []

    def refused(reason: "Finding") -> Launch:
        return Launch(arguments=None, findings=found + [reason])

    if not facts.catcher:
        return refused(finding("payload-missing"))
    if conf.state == config.UNUSABLE:
        return refused(finding("conf-unusable", reason=conf.problem))
    possible = facts.tls is not None and facts.tls.possible
    mode = conf.state if conf.state in (config.TLS, config.TCP) else planned or default_mode(facts) or config.TCP
    if conf.state == config.UNSET:
        found.append(finding("conf-no-directive", mode=mode.upper()))
    if not possible and conf.required:
        return refused(finding("tls-required-not-possible", reason=no_tls_reason(facts)))
    if mode == config.TLS and not possible:
        found.append(finding("tls-configured-tcp-running", reason=no_tls_reason(facts)))
        mode = config.TCP
    if mode == config.TCP:
        return Launch(arguments=[], findings=found)
    # A whole pair is judged as it is, even where a staged one could not take its place.
    judged = facts.replace(pair=facts.pair.replace(staged=False)) if facts.pair.state == pair.BOTH else facts
    _, about = plan_pair(judged, config.TLS, transition.of(transition.START))
    for one in about:
        if messages.severity(one) == messages.ERROR:
            return refused(one)
    if facts.pair.state != pair.BOTH:
        reason = facts.image or "no pair was made"
        return refused(finding("pair-not-generated", reason=reason, hint="look: catcherctl status"))
    return Launch(arguments=["-tls"], findings=found + about)


def foresee(facts: "HostFacts", planned: "Plan") -> "HostFacts":
    """The facts as a plan's actions would leave them, as far as a daemon start depends on them. For CSUTKEcat check."""
    for action in planned.actions:
        if action.kind == WRITE_CONFIG and action.data is not None:
            facts = facts.replace(config=config.parse(action.data))
        if action.kind in (MAKE_PAIR, PLACE_STAGED_PAIR):
            good = {"problem": "", "rsa_bits": 0, "not_before": 0, "not_after": int(facts.now) + SECONDS_A_DAY}
            made = facts.pair.replace(state=pair.BOTH, staged=False, key_mode=pair.KEY_MODE)
            facts = facts.replace(pair=made, verdict=good)
    return facts
