"""The decision tables: facts and a transition in, actions and findings out. No I/O.

History decides what an absent or empty catcher.conf means; see history() and _configuration(). What a daemon start
does with the same facts is in start.py.
"""

from . import config, messages, pair, paths
from . import stamp as stamp_file
from . import transition as transitions
from .actions import (
    CHANGES,
    CLEAR_DRAFT,
    FRESH,
    KNOWN,
    LEGACY,
    MAKE_PAIR,
    NOTE_OURS,
    ORDER,
    PLACE_STAGED_PAIR,
    PUT_PAIR,
    RECORD,
    REMOVE_CONFIG,
    RETURN_PAIR,
    WRITE_CONFIG,
    WRITE_STAMP,
    Action,
    Plan,
    act,
)
from .capture import SEEN
from .errors import CatcherError, KeyRefused
from .messages import finding
from .service import plan_resumption, plan_service
from .text import moment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from .facts import HostFacts
    from .messages import Finding
    from .transition import PairRequest, ReturnRequest, Transition


def history(facts: "HostFacts", transition: "Transition") -> str:
    """Return FRESH, LEGACY or KNOWN, by the first of these facts that the host has: the old version; a tree without a
    trace of ours that preinst saw; our stamp or another trace of 8.x; traces of 7.x. RPM's count tells nothing."""
    before_8 = transitions.is_before_8(transitions.old_version(transition, facts.capture))
    if before_8 is not None:
        return LEGACY if before_8 else KNOWN
    if facts.capture is not None and facts.capture.tree:
        return LEGACY
    if facts.stamp is not None or (facts.capture is not None and facts.capture.ours):
        return KNOWN
    if facts.traces or facts.unit.legacy_links:
        return LEGACY
    return KNOWN if transition.kind == transitions.UPGRADE else FRESH


def plan(facts: "HostFacts", transition: "Transition", asked: bool = True) -> Plan:
    """Return what a run does. The same facts and the same transition always give the same plan.

    asked: whether the administrator's change is still to be made. False for the facts after the change: then only the
    findings and the mode are of interest. Raises CatcherError if the change cannot work.
    """
    past = before = history(facts, transition)
    known = facts.stamp
    if transition.kind == transitions.RETURN and asked:
        return _return(facts, transition.request)
    first: List[Action] = []
    if transition.kind == transitions.SET_MODE:
        if asked:
            first, facts = _set_mode(facts, transition.request.mode)
        # An administrator sets the mode, so findings about earlier events no longer matter.
        facts, past = _without_lasting(facts), KNOWN
    if transition.kind in (transitions.NOTHING, transitions.ABORT):
        return Plan(actions=plan_resumption(facts, transition), findings=[], mode=None, history=past)
    if transition.kind == transitions.REMOVE:
        return _removal(facts, past)
    actions, findings, mode = _configuration(facts, past, transition)
    if transition.kind == transitions.PUT_PAIR and asked:
        more, found = _put_pair(facts, transition.request)
    else:
        more, found = plan_pair(facts, mode, transition)
    actions += first + more
    findings += found
    actions += plan_service(facts, transition, past)
    if facts.capture is not None and facts.capture.unsure:
        findings.append(finding("service-state-unknown"))
    if facts.unit.forking:
        findings.append(finding("unit-forking"))
    if known is not None and known.package_version != facts.version:
        # Only after an upgrade, because it imports packaging.
        from .optional import is_older

        if is_older(facts.version, known.package_version):
            findings.append(finding("stamp-of-newer-version", theirs=known.package_version, ours=facts.version))
    # After a change apply.py collects the facts again, and only then decides on the stamp.
    changed = any(action.kind in CHANGES or action.kind == CLEAR_DRAFT for action in actions)
    if not changed and stamp_file.next_stamp(facts, findings, mode, transition) != known:
        actions.append(act(WRITE_STAMP, RECORD))
    actions.sort(key=lambda action: ORDER.index(action.kind))
    return Plan(actions=actions, findings=findings, mode=mode, history=before)


def _removal(facts: "HostFacts", past: str) -> Plan:
    """Decide what a removal does while our library still exists. A purge comes later, and only uses its note."""
    actions, _ = plan_pair(facts, None, transitions.of(transitions.REMOVE))
    if not facts.unread:
        actions.append(act(NOTE_OURS, "a purge removes what we made, and nothing else"))
    findings, mode = ([], None) if facts.stamp is None else (facts.stamp.findings, facts.stamp.mode)
    return Plan(actions=actions, findings=findings, mode=mode, history=past)


def default_mode(facts: "HostFacts") -> "Optional[str]":
    """Return TLS if it is possible (vendor text), else TCP; None if that is not known."""
    return {True: config.TLS, False: config.TCP}.get(facts.tls.possible)  # type: ignore[arg-type]


def _configuration(
    facts: "HostFacts", past: str, transition: "Transition"
) -> "Tuple[List[Action], List[Finding], Optional[str]]":
    """Decide which mode catcher.conf gets: return actions, findings and the resulting mode."""
    conf = facts.config
    if conf.state == config.UNUSABLE:
        return [], [finding("conf-unusable", reason=conf.problem)], None
    if conf.mode is not None:
        return [], _about_mode(facts, past, conf.mode), conf.mode
    if facts.unread:
        # That file would tell what this host was.
        return [], [finding("mode-undecided", reason=facts.unread)], None
    kept, why = _older_mode(facts, past, transition)
    if kept is not None:
        data = config.with_mode(conf.data or b"", kept)
        action = act(WRITE_CONFIG, why + ", and an upgrade keeps the mode", data)
        findings = _about_mode(facts, past, kept)
        if why == NOBODY_SAW:
            findings.append(finding("mode-not-seen"))
        return [action], findings, kept
    default = default_mode(facts)
    if conf.state == config.UNSET:
        return [], [finding("conf-no-directive", mode="TCP" if default == config.TCP else "TLS")], default
    remembered = facts.stamp.mode if facts.stamp is not None else None
    mode = remembered or default
    if mode is None:
        return [], [finding("tls-unknown", reason=facts.tls.reason)], None
    findings = _about_mode(facts, past, mode)
    if past == KNOWN:
        why = "the mode of the last run" if remembered else "TLS if this host can do it"
        findings.append(finding("conf-was-missing", mode=mode.upper()))
    else:
        why = "TLS is possible" if mode == config.TLS else "TLS is not possible: " + facts.tls.reason
    return [act(WRITE_CONFIG, why, config.fresh(mode))], findings, mode


NOBODY_SAW = "nobody could see the old catcher, which has a key and certificate"


def _older_mode(facts: "HostFacts", past: str, transition: "Transition") -> "Tuple[Optional[str], str]":
    """Return the mode of an older catcher (CCA 7.x or the vendor's own 8.x), and how it is known; None if none existed.

    If preinst looked and saw no daemon, that is TCP. If it could not look (it did not run, it could start no process,
    its note was lost, the old package was removed before), it is TCP only for CCA 7.3 and older, and without a pair.
    """
    seen = _seen_mode(facts, past)
    if seen is not None:
        return seen, "the old catcher was seen in this mode"
    if facts.still_running is not None and past != FRESH:
        return facts.still_running, "the old catcher still runs in this mode"
    if past != LEGACY:
        return None, ""
    looked = facts.capture is not None and facts.capture.looked and facts.capture.tree
    old = transitions.old_version(transition, facts.capture)
    if not looked and facts.pair.state != pair.NONE and not transitions.is_before_tls(old):
        return config.TLS, NOBODY_SAW
    return config.TCP, "CCA 7.3 and older spoke TCP only"


def _seen_mode(facts: "HostFacts", past: str) -> "Optional[str]":
    """Return the mode in which preinst saw a daemon that was not ours (CCA 7.x or the vendor's own 8.x); else None. The
    daemon may have outlived its tree."""
    capture = facts.capture
    return capture.mode if capture is not None and (capture.tree or past == LEGACY and not capture.ours) else None


def _about_mode(facts: "HostFacts", past: str, mode: str) -> "List[Finding]":
    """Return findings about a mode that is, or is about to be, in catcher.conf.

    Findings about an event follow from its traces, so a run that was killed reports the same when it is repeated.
    """
    earlier = facts.stamp.findings if facts.stamp is not None and facts.stamp.mode == mode else []
    found = [f for f in earlier if messages.is_marked(f, messages.LASTING)]
    seen = _seen_mode(facts, past)
    # This may be a daemon of ours: catcher.conf may have been edited since its start.
    ran = facts.capture.mode if facts.capture is not None and facts.capture.seen == "process" else seen
    if ran not in (None, mode) and (mode == config.TCP or facts.tls.possible is not False):
        found = [finding("mode-changed-by-restart", configured=mode.upper(), seen=str(ran).upper())]
    elif seen == config.TLS and facts.capture is not None:
        found.append(finding("mode-as-seen", mode=seen.upper(), seen=SEEN[facts.capture.seen]))
    if mode == config.TCP:
        written_by_us = facts.config.state == config.ABSENT or facts.config.data == config.fresh(config.TCP)
        if past == LEGACY and seen in (None, config.TCP):
            found = [finding("upgraded-tcp-kept")]
        elif past == FRESH and written_by_us and facts.tls.possible is False:
            found = [finding("tls-not-possible", reason=facts.tls.reason)]
    elif facts.tls.possible is False:
        found.append(without_tls(facts))
    return found


def without_tls(facts: "HostFacts") -> "Finding":
    """Return the finding that TLS is configured and not possible: the catcher speaks TCP, or TLS_REQUIRED forbids."""
    id = "tls-required-not-possible" if facts.config.required else "tls-configured-tcp-running"
    return finding(id, reason=facts.tls.reason)


def plan_pair(
    facts: "HostFacts", mode: "Optional[str]", transition: "Transition") -> "Tuple[List[Action], List[Finding]]":
    """Decide what happens to the key and certificate. An administrator's files are never changed, only reported on."""
    if facts.pair.staged:
        return [act(PLACE_STAGED_PAIR, "an earlier run was interrupted")], []
    actions = [act(CLEAR_DRAFT, "an earlier run was interrupted")] if facts.pair.draft else []
    if mode != config.TLS or not facts.tls.possible:
        # Half a pair is wrong whatever OpenSSL can do, even in another root, where it is not asked.
        half = mode == config.TLS and facts.tls.possible is None and facts.pair.state != pair.BOTH
        return actions, pair_findings(facts) if half else []
    if facts.pair.state == pair.NONE:
        if facts.image:
            return actions, [finding("pair-deferred", reason=facts.image)]
        if transition.kind != transitions.START and not facts.booted:
            return actions, [finding("pair-deferred", reason="this is not a running system")]
        if transition.kind != transitions.START and not facts.networked:
            # The certificate would lack the host's addresses.
            return actions, [finding("pair-deferred", reason="rpm runs its scriptlets without the host's network")]
        if facts.now < messages.CLOCK_FLOOR:
            return actions, [finding("clock-unset", date=moment(facts.now))]
        return actions + [act(MAKE_PAIR, "neither catcher.key nor catcher.crt is there")], []
    return actions, pair_findings(facts)


def _put_pair(facts: "HostFacts", request: "PairRequest") -> "Tuple[List[Action], List[Finding]]":
    """Decide how an administrator's pair gets in place. Raises CatcherError if it may not replace what is there."""
    if not request.key:
        refuse_key_in_image(facts)
    if facts.pair.state != pair.NONE and not request.may_replace:
        what = {pair.KEY_ONLY: "a key", pair.CERTIFICATE_ONLY: "a certificate"}.get(
            facts.pair.state, "a key and a certificate")
        raise CatcherError("there is %s already" % what,
                           "to replace it and keep a copy:\n  catcherctl cert generate --force" + request.options)
    actions = [act(PLACE_STAGED_PAIR, "an earlier run was interrupted")] if facts.pair.staged else []
    if not request.key:
        return actions + [act(PUT_PAIR, "an administrator asks for a new pair", request)], []
    if not actions and pair.fingerprint(request.key, request.certificate) == facts.pair.fingerprint:
        cleared = [act(CLEAR_DRAFT, "an earlier run was interrupted")] if facts.pair.draft else []
        return cleared, pair_findings(facts)
    return actions + [act(PUT_PAIR, "it is the pair that an administrator gives", request)], []


def refuse_key_in_image(facts: "HostFacts") -> None:
    """Raise KeyRefused if this system may be copied: every copy would share its key."""
    if facts.image or not facts.booted:
        where = facts.image or "a system that systemd does not run"
        raise KeyRefused("no key is made in %s, since every copy of it would share that key" % where,
                         "start the catcher on the host that it is for; it then makes its key")


def pair_findings(facts: "HostFacts") -> "List[Finding]":
    """Return findings about the files of the pair; none if there are no files."""
    if facts.pair.state == pair.NONE:
        return []
    if facts.pair.state != pair.BOTH:
        there, gone = paths.KEY, paths.CERTIFICATE
        if facts.pair.state == pair.CERTIFICATE_ONLY:
            there, gone = gone, there
        return [finding("pair-half", present=there, missing=gone)]
    verdict = facts.verdict or {}
    if verdict.get("unread"):
        return [finding("pair-unread", reason=str(verdict["problem"]))]
    if verdict.get("problem"):
        return [finding("pair-unusable", reason=str(verdict["problem"]))]
    found = []
    if verdict.get("unchecked"):
        found.append(finding("pair-unchecked", reason=str(verdict["unchecked"])))
    elif verdict.get("chain"):
        found.append(finding("pair-chain-broken", reason=str(verdict["chain"])))
    first, last, issuers = (int(str(verdict.get(name, 0))) for name in ("not_before", "not_after", "issuer_not_after"))
    ours = (facts.stamp or stamp_file.EMPTY).made(facts.pair.fingerprint)
    again = "generate --force" if ours else messages.ASK_THE_CA
    if facts.now > last:
        found.append(finding("pair-expired", date=moment(last), action=again))
    elif facts.now + messages.SOON_SECONDS > last:
        found.append(finding("pair-expires-soon", date=moment(last), action=again))
    if facts.now < first:
        found.append(finding("pair-not-yet-valid", date=moment(first)))
    issuer = str(verdict.get("issuer"))
    if issuers and facts.now > issuers:
        found.append(finding("pair-issuer-expired", issuer=issuer, date=moment(issuers)))
    elif issuers and facts.now + messages.SOON_SECONDS > issuers:
        found.append(finding("pair-issuer-expires-soon", issuer=issuer, date=moment(issuers)))
    bits = int(str(verdict.get("rsa_bits", 0)))
    if bits:
        from .cert.keys import RSA_RECOMMENDED

        if bits < RSA_RECOMMENDED:
            found.append(finding("pair-weak-key", bits=str(bits)))
    if verdict.get("key_in_certificate") and facts.pair.certificate_open:
        found.append(finding("pair-key-in-certificate"))
    if facts.pair.key_open:
        found.append(finding("pair-key-readable", how=facts.pair.key_open, who="o" if facts.pair.key_linked else "go"))
    return found


def _set_mode(facts: "HostFacts", mode: str) -> "Tuple[List[Action], HostFacts]":
    """Return the edit of catcher.conf for a mode that an administrator sets, and the facts after it.

    Raises CatcherError if the new mode could not work, or would cut off a link that works. facts: with a verdict on the
    pair, also in TCP mode (facts.judged()).
    """
    conf = facts.config
    if conf.state == config.UNUSABLE:
        raise CatcherError("%s cannot be used: %s" % (paths.CONF, conf.problem),
                           "leave one line TLS_ON or TLS_OFF in it")
    if mode == config.TCP and conf.required:
        raise CatcherError("%s says TLS_REQUIRED" % paths.CONF, "remove that line first, if you want TCP")
    if mode == config.TLS:
        if facts.tls.possible is None:
            raise CatcherError("it is not known whether TLS is possible: %s" % facts.tls.reason,
                               "see whether OpenSSL answers:\n  openssl version")
        if not facts.tls.possible:
            raise CatcherError("TLS is not possible here: %s" % facts.tls.reason,
                               "install the package openssl, 1.1.1 or newer, first")
        # What an earlier run has staged will be in place; half of it may be already.
        for one in [] if facts.pair.staged else pair_findings(facts):
            # An expired certificate does not keep the daemon from starting, but the TKE from connecting.
            if messages.severity(one) == messages.ERROR or one["id"] in ("pair-expired", "pair-not-yet-valid"):
                raise CatcherError("not changed: %s" % messages.text(one), messages.fix(one))
    data = config.fresh(mode) if conf.data is None else config.with_mode(conf.data, mode)
    actions = []
    if data != conf.data:
        actions = [act(WRITE_CONFIG, "an administrator sets the mode", data)]
    return actions, facts.replace(config=config.parse(data))


def _without_lasting(facts: "HostFacts") -> "HostFacts":
    if facts.stamp is None:
        return facts
    left = [one for one in facts.stamp.findings if not messages.is_marked(one, messages.LASTING)]
    return facts.replace(stamp=facts.stamp.replace(findings=left))


def _return(facts: "HostFacts", request: "ReturnRequest") -> Plan:
    """Restore the state before a change that failed, unless somebody else has changed it since."""
    before, after = request.before, request.after
    actions = []
    if after.config.data != before.config.data and facts.config.data == after.config.data:
        if before.config.state == config.ABSENT:
            actions.append(act(REMOVE_CONFIG, "it was not there before"))
        elif before.config.data is not None:
            # What could not be read then was there, and nothing has written it.
            actions.append(act(WRITE_CONFIG, "the change did not work", before.config.data))
    if request.kept:
        if facts.pair.fingerprint != after.pair.fingerprint or facts.pair.state != after.pair.state:
            raise CatcherError("somebody else changed the pair meanwhile, and that change was kept")
        actions.append(act(RETURN_PAIR, "the change did not work", request))
    if before.stamp is not None:
        stamp = before.stamp
        if not request.kept and facts.stamp is not None:
            # A pair that was made for a new mode stays, and stays ours.
            stamp = facts.stamp.replace(mode=stamp.mode, findings=stamp.findings)
        actions.append(act(WRITE_STAMP, "the change did not work", stamp))
    return Plan(actions=actions, findings=[], mode=before.config.mode, history=KNOWN)
