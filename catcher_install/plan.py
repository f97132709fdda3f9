"""The decision tables: facts and a transition in, actions and findings out. No I/O.

History decides what an absent or empty catcher.conf means; see history() and _configuration(). What a daemon start
does with the same facts is launch_decision().
"""

from . import config, messages, openssl, pair, paths
from . import transition as transitions
from .messages import finding
from .record import Record
from .stamp import Stamp

MYPY = False
if MYPY:
    from typing import List, Optional, Tuple

    from .facts import HostFacts
    from .messages import Finding
    from .transition import Transition

# Histories
FRESH = "fresh"
LEGACY = "legacy upgrade"
KNOWN = "8.x upgrade"

# Actions, in the order in which they are carried out. The stamp is the last thing written; what goes after it (links of
# 7.x, the note of preinst) is what a re-run would need to see, had it been killed before the stamp.
PLACE_STAGED_PAIR = "place staged pair"
CLEAR_DRAFT = "clear draft"
WRITE_CONFIG = "write configuration"
MAKE_PAIR = "make pair"
RETIRE_LEGACY_LINKS = "retire SysV links"
ENABLE = "enable"
DISABLE = "disable"
WRITE_STAMP = "write stamp"
RESTART = "restart"
TRY_RESTART = "try-restart"
START = "start"
FORGET_CAPTURE = "forget capture"
ORDER = (
    PLACE_STAGED_PAIR, CLEAR_DRAFT, WRITE_CONFIG, MAKE_PAIR, ENABLE, DISABLE, WRITE_STAMP,
    RETIRE_LEGACY_LINKS, RESTART, TRY_RESTART, START, FORGET_CAPTURE,
)  # fmt: skip

SECONDS_A_DAY = 24 * 3600


class Action(Record):
    """One step: its kind (of ORDER), why it is taken, and its data (the new bytes of a file, else None). edits: whether
    that file was there."""

    __slots__ = ("kind", "why", "data", "edits")
    kind: str
    why: str
    data: "Optional[bytes]"
    edits: bool


class Plan(Record):
    """What to do in order, what an administrator must know, the mode that the configuration has after it (config.TLS,
    config.TCP, or None where it is unusable or undecided), and the history that was recognised."""

    __slots__ = ("actions", "findings", "mode", "history")
    actions: "List[Action]"
    findings: "List[Finding]"
    mode: "Optional[str]"
    history: str


class Launch(Record):
    """How the daemon is started.

    arguments: behind the program's name: ["-tls"] or []. None where the start is refused.
    findings: the refusal is the last one of severity error.
    """

    __slots__ = ("arguments", "findings")
    arguments: "Optional[List[str]]"
    findings: "List[Finding]"


def history(facts: "HostFacts", transition: "Transition") -> str:
    """FRESH, LEGACY or KNOWN, by facts: dpkg's old version, else a tree of 7.x that preinst saw, else our stamp, else
    traces of 7.x. RPM's count says nothing about what was there before, and erase + install looks like a first one."""
    before_8 = transitions.is_before_8(transition.old_version)
    if before_8 is not None:
        return LEGACY if before_8 else KNOWN
    if facts.capture is not None and facts.capture.tree:
        return LEGACY
    if facts.stamp is not None:
        return KNOWN
    if facts.traces or facts.unit.legacy_links:
        return LEGACY
    return KNOWN if transition.kind == transitions.UPGRADE else FRESH


def plan(facts: "HostFacts", transition: "Transition") -> Plan:
    """What a converge does. The same facts and transition always give the same plan."""
    past = history(facts, transition)
    if transition.kind in (transitions.NOTHING, transitions.ABORT):
        called_off = transition.kind == transitions.ABORT and _may_start(facts)
        actions = [_act(START, "the removal was called off")] if called_off else []
        return Plan(actions=actions, findings=[], mode=None, history=past)
    actions, findings, mode = _configuration(facts, past)
    more, found = _pair(facts, mode, transition)
    actions += more
    findings += found
    actions += _service(facts, transition, past)
    if facts.unit.forking:
        findings.append(finding("unit-forking"))
    if not any(action.kind in _CHANGES_FACTS for action in actions):
        stamp = next_stamp(facts, findings, mode)
        if stamp != facts.stamp:
            actions.append(_act(WRITE_STAMP, "record what this converge left"))
    actions.sort(key=lambda action: ORDER.index(action.kind))
    return Plan(actions=actions, findings=findings, mode=mode, history=past)


# After one of these the facts are collected again before the stamp is decided.
_CHANGES_FACTS = (PLACE_STAGED_PAIR, CLEAR_DRAFT, WRITE_CONFIG, MAKE_PAIR)


def _act(kind: str, why: str, data: "Optional[bytes]" = None, edits: bool = False) -> Action:
    return Action(kind=kind, why=why, data=data, edits=edits)


def _default_mode(facts: "HostFacts") -> "Optional[str]":
    """TLS where possible (vendor text); None where that is not known here."""
    if facts.tls is None:
        return None
    return config.TLS if facts.tls.possible else config.TCP


def _no_tls_reason(facts: "HostFacts") -> str:
    return facts.tls.reason if facts.tls is not None else "OpenSSL cannot be asked here"


def _configuration(facts: "HostFacts", past: str) -> "Tuple[List[Action], List[Finding], Optional[str]]":
    """The table "Which mode the configuration gets": actions, findings and the resulting mode."""
    conf = facts.config
    if conf.state == config.UNUSABLE:
        return [], [finding("conf-unusable", reason=conf.problem)], None
    if conf.state in (config.TLS, config.TCP):
        return [], _about_mode(facts, past, conf.state), conf.state
    if facts.unread:
        # It would say what this host was.
        return [], [finding("mode-undecided", reason=facts.unread)], None
    if past == LEGACY:
        data = config.with_mode(conf.data or b"", config.TCP)
        why = "CCA 7.x spoke TCP only, and an upgrade keeps the mode"
        return (
            [_act(WRITE_CONFIG, why, data, edits=conf.data is not None)],
            _about_mode(facts, past, config.TCP),
            config.TCP,
        )
    default = _default_mode(facts)
    if conf.state == config.UNSET:
        shown = "TLS" if default == config.TLS else "TCP"
        return [], [finding("conf-no-directive", mode=shown)], default
    remembered = facts.stamp.mode if facts.stamp is not None else None
    mode = remembered or default
    if mode is None:
        return [], [finding("tls-unknown", reason=_no_tls_reason(facts))], None
    findings = _about_mode(facts, past, mode)
    if past == KNOWN:
        why = "the mode of the last converge" if remembered else "TLS where possible"
        findings.append(finding("conf-was-missing", mode=mode.upper()))
    else:
        why = "TLS is possible" if mode == config.TLS else "TLS is not possible: " + _no_tls_reason(facts)
    return [_act(WRITE_CONFIG, why, config.fresh(mode))], findings, mode


def _about_mode(facts: "HostFacts", past: str, mode: str) -> "List[Finding]":
    """Findings about a mode that is, or is about to be, in the file.

    Those that tell of an earlier event are worked out from what is left of it, so that a converge that was killed
    half way and run again says the same.
    """
    earlier = facts.stamp.findings if facts.stamp is not None and facts.stamp.mode == mode else []
    found = [f for f in earlier if messages.is_marked(f, messages.LASTING)]
    if mode == config.TCP:
        written_by_us = facts.config.state == config.ABSENT or facts.config.data == config.fresh(config.TCP)
        if past == LEGACY:
            found = [finding("upgraded-tcp-kept")]
        elif past == FRESH and written_by_us and facts.tls is not None and not facts.tls.possible:
            found = [finding("tls-not-possible", reason=facts.tls.reason)]
    elif facts.tls is not None and not facts.tls.possible:
        id = "tls-required-not-possible" if facts.config.required else "tls-configured-tcp-running"
        found.append(finding(id, reason=facts.tls.reason))
    return found


def _pair(
    facts: "HostFacts", mode: "Optional[str]", transition: "Transition"
) -> "Tuple[List[Action], List[Finding]]":
    """What becomes of the key and certificate. An administrator's files are only ever reported on."""
    if facts.pair.staged:
        return [_act(PLACE_STAGED_PAIR, "an earlier run was interrupted")], []
    actions = [_act(CLEAR_DRAFT, "an earlier run was interrupted")] if facts.pair.draft else []
    if mode != config.TLS or facts.tls is None or not facts.tls.possible:
        return actions, []
    if facts.pair.state == pair.NONE:
        if facts.image:
            return actions, [finding("pair-deferred", reason=facts.image)]
        if transition.kind != transitions.START and not facts.booted:
            return actions, [finding("pair-deferred", reason="this is not a running system")]
        if transition.kind != transitions.START and not facts.networked:
            # The certificate would lack the host's addresses.
            return actions, [finding("pair-deferred", reason="rpm runs its scriptlets without the host's network")]
        return actions + [_act(MAKE_PAIR, "neither catcher.key nor catcher.crt is there")], []
    return actions, pair_findings(facts)


def pair_findings(facts: "HostFacts") -> "List[Finding]":
    """Findings about the files of the pair as they are; none where there are none."""
    from .text import moment

    if facts.pair.state == pair.NONE:
        return []
    if facts.pair.state != pair.BOTH:
        there, gone = paths.KEY, paths.CERTIFICATE
        if facts.pair.state == pair.CERTIFICATE_ONLY:
            there, gone = gone, there
        return [finding("pair-half", present=there, missing=gone)]
    verdict = facts.verdict or {}
    found = []
    if verdict.get("unchecked"):
        found.append(finding("pair-unchecked", reason=str(verdict["unchecked"])))
    elif verdict.get("problem"):
        return [finding("pair-unusable", reason=str(verdict["problem"]))]
    else:
        if facts.now > int(str(verdict.get("not_after", 0))):
            found.append(finding("pair-expired", date=moment(verdict.get("not_after"))))
        if facts.now < int(str(verdict.get("not_before", 0))):
            found.append(finding("pair-not-yet-valid", date=moment(verdict.get("not_before"))))
        bits = int(str(verdict.get("rsa_bits", 0)))
        if bits:
            from .cert.keys import RSA_RECOMMENDED

            if bits < RSA_RECOMMENDED:
                found.append(finding("pair-weak-key", bits=str(bits)))
    if facts.pair.key_mode is not None and facts.pair.key_mode & 0o077:
        found.append(finding("pair-key-readable", mode="%04o" % facts.pair.key_mode))
    return found


def _service(facts: "HostFacts", transition: "Transition", past: str) -> "List[Action]":
    """What the packaging macros cannot do: carry the service's state over an upgrade from a package that may itself
    disable and stop it, and end the life of 7.x's init script. Where preinst could not note the state (a full disk),
    a service that is enabled is taken for one that ran."""
    if transition.kind == transitions.START:
        return []
    actions = []
    capture = facts.capture
    if facts.unit.legacy_links:
        actions.append(_act(RETIRE_LEGACY_LINKS, "the systemd unit replaces CCA 7.x's init script"))
    if transition.kind == transitions.APPLY and capture is None:
        return actions
    if capture is not None and not facts.unit.masked:
        if capture.unit == "enabled" and not facts.unit.enabled:
            actions.append(_act(ENABLE, "it was enabled before the upgrade"))
        if capture.unit == "disabled" and facts.unit.enabled:
            actions.append(_act(DISABLE, "it was disabled before the upgrade"))
    if capture is not None:
        actions.append(_act(FORGET_CAPTURE, "this upgrade is finished"))
    if not facts.booted or facts.unit.masked:
        return actions
    if capture is not None and capture.unit != "none":
        if capture.active:
            actions.append(_act(RESTART, "it was running before"))
    elif (capture is not None or (transition.kind == transitions.INSTALL and past == FRESH)) and _may_start(facts):
        actions.append(_act(START, "a new installation is started"))
    elif _may_start(facts) and (
        transition.kind == transitions.INSTALL or (transition.kind == transitions.UPGRADE and past == LEGACY)
    ):
        # An upgrade is an installation to rpm's %posttrans, and CCA 7.x's own scriptlets stop the service.
        actions.append(_act(RESTART, "it may have been stopped, or run the version before"))
    elif transition.kind != transitions.APPLY:
        actions.append(_act(TRY_RESTART, "it runs the version before"))
    return actions


def _may_start(facts: "HostFacts") -> bool:
    return facts.booted and facts.unit.enabled and not facts.unit.masked


def next_stamp(facts: "HostFacts", findings: "List[Finding]", mode: "Optional[str]") -> Stamp:
    """The stamp that these facts deserve; equal to the present one where there is nothing to do."""
    old = facts.stamp
    verdict = facts.verdict
    if verdict is None and old is not None and facts.pair.state == pair.BOTH:
        verdict = old.checked_pair
    if verdict is not None and (verdict.get("problem") or "unchecked" in verdict
                                or "unknown" in str(verdict.get("identity"))):  # fmt: skip
        # Like a no of OpenSSL, it may have another cause than the files, and is asked for again each time.
        verdict = None
    if facts.tls is not None:
        checked_openssl = openssl.remember(facts.tls)
    else:
        checked_openssl = old.checked_openssl if old is not None else None
    return Stamp(
        package_version=facts.version,
        mode=mode or (old.mode if old is not None else None),
        generated_pair=old.generated_pair if old is not None else None,
        findings=noted(findings),
        checked_pair=verdict,
        checked_openssl=checked_openssl,
    )


def noted(findings: "List[Finding]") -> "List[Finding]":
    """Those of some findings that the stamp keeps."""
    return [one for one in findings if not messages.is_marked(one, messages.TRANSIENT)]


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
    mode = conf.state if conf.state in (config.TLS, config.TCP) else planned or _default_mode(facts) or config.TCP
    if conf.state == config.UNSET:
        found.append(finding("conf-no-directive", mode=mode.upper()))
    if not possible and conf.required:
        return refused(finding("tls-required-not-possible", reason=_no_tls_reason(facts)))
    if mode == config.TLS and not possible:
        found.append(finding("tls-configured-tcp-running", reason=_no_tls_reason(facts)))
        mode = config.TCP
    if mode == config.TCP:
        return Launch(arguments=[], findings=found)
    # A whole pair is judged as it is, even where a staged one could not take its place.
    judged = facts.replace(pair=facts.pair.replace(staged=False)) if facts.pair.state == pair.BOTH else facts
    _, about = _pair(judged, config.TLS, transitions.of(transitions.START))
    for one in about:
        if messages.severity(one) == messages.ERROR:
            return refused(one)
    if facts.pair.state != pair.BOTH:
        reason = facts.image or "no pair was made"
        return refused(finding("pair-not-generated", reason=reason, hint="look: catcherctl status"))
    return Launch(arguments=["-tls"], findings=found + about)


def foresee(facts: "HostFacts", planned: Plan) -> "HostFacts":
    """The facts as a plan's actions would leave them, as far as a daemon start depends on them. For CSUTKEcat check."""
    for action in planned.actions:
        if action.kind == WRITE_CONFIG and action.data is not None:
            facts = facts.replace(config=config.parse(action.data))
        if action.kind in (MAKE_PAIR, PLACE_STAGED_PAIR):
            good = {"problem": "", "rsa_bits": 0, "not_before": 0, "not_after": int(facts.now) + SECONDS_A_DAY}
            made = facts.pair.replace(state=pair.BOTH, staged=False, key_mode=pair.KEY_MODE)
            facts = facts.replace(pair=made, verdict=good)
    return facts
