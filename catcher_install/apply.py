"""Carries a plan out, in its fixed order, the stamp last of all files.

An action that fails becomes a finding and the next one is tried: whatever a hook cannot do is done by a re-run or by
the first start of the daemon.
"""

from . import actions, messages, pair, paths, stamp
from . import facts as fact_collector
from . import plan as planner
from . import transition as transitions
from .errors import CatcherError, ChangedMeanwhile, reason_of
from .messages import finding
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional, Tuple

    from .facts import HostFacts
    from .host import Host
    from .messages import Finding
    from .openssl import TlsCapability
    from .plan import Action, Plan
    from .transition import Transition

# A run takes about a second. A hook that would wait longer than this leaves its work to the next run.
LOCK_SECONDS = 60

# These remove the evidence of the host's history, so they wait until the stamp has recorded it.
TRACES = (actions.RETIRE_LEGACY_LINKS, actions.FORGET_CAPTURE)
AFTER_STAMP = TRACES + actions.SERVICE_VERBS + (actions.NOTE_OURS, actions.FORGET_REMOVAL)
POLICY_DENIES = 101
ATTEMPTS = 3


class Outcome(Record):
    """The result of converge().

    plan: what was to be done. before, facts: the facts before and after it. findings: of the plan and of actions that
    failed. done: the kinds of the actions that were carried out. recorded: whether the stamp agrees with the facts.
    kept: the suffix of the files with the replaced pair, e.g. ".20261123T211200Z"; "" if no pair was replaced.
    """

    __slots__ = ("plan", "before", "facts", "findings", "done", "recorded", "kept")
    plan: "Plan"
    before: "HostFacts"
    facts: "HostFacts"
    findings: "List[Finding]"
    done: "List[str]"
    recorded: bool
    kept: str

    def changed(self) -> bool:
        """Return whether this run changed catcher.conf or the pair."""
        return any(kind in self.done for kind in actions.CHANGES)

    def failures(self) -> "List[Finding]":
        """Return the findings of actions that failed."""
        return [one for one in self.findings if messages.is_marked(one, messages.FAILURE)]


def converge(host: "Host", transition: "Transition", facts: "Optional[HostFacts]" = None) -> Outcome:
    """Bring the host into the state that its facts call for. A second run changes nothing.

    facts: if the caller has just collected them; they only tell whether there is anything to do. Raises CatcherError,
    before anything changes, if what an administrator's transition asks for cannot work.
    """
    tls = None
    if transition.kind in (transitions.START, transitions.APPLY):
        # Usually there is nothing to do. That needs no lock.
        facts = facts or fact_collector.collect(host)
        tls = facts.tls
        plan = planner.plan(facts, transition)
        if not plan.actions:
            return _outcome(plan, facts, plan.findings, recorded=True)
    try:
        lock = host.lock(LOCK_SECONDS)
    except TimeoutError:
        facts = _collect(host, transition, tls)
        plan = planner.plan(facts, transition)
        return _outcome(plan, facts, plan.findings + [finding("busy", seconds=str(LOCK_SECONDS))])
    try:
        outcome = _converge_files(host, transition, tls)
    finally:
        if lock is not None:
            lock.free()
    # The daemon's own start takes the lock too, so it is free by now.
    for action in outcome.plan.actions:
        if action.kind in TRACES and not outcome.recorded:
            # The stamp does not tell the history yet, so the next run needs this evidence.
            continue
        needed = actions.WAITS_FOR.get(action.kind, ())
        if any(one.kind in needed and one.kind not in outcome.done for one in outcome.plan.actions):
            continue
        if action.kind in AFTER_STAMP:
            _attempt(host, action, outcome)
    return outcome


def _outcome(plan: "Plan", facts: "HostFacts", findings: "List[Finding]", recorded: bool = False) -> Outcome:
    """Return the outcome of a run that has not done anything yet."""
    return Outcome(plan=plan, before=facts, facts=facts, findings=list(findings), done=[], recorded=recorded, kept="")


def _collect(host: "Host", transition: "Transition", tls: "Optional[TlsCapability]") -> "HostFacts":
    """Return the facts that the plan for a transition depends on."""
    facts = fact_collector.collect(host, tls)
    if transition.kind in (transitions.SET_MODE, transitions.PUT_PAIR):
        return fact_collector.judged(host, facts)
    return facts


def _converge_files(
    host: "Host", transition: "Transition", tls: "Optional[TlsCapability]", attempts: int = ATTEMPTS
) -> Outcome:
    """Make a plan and carry it out, except for starts and restarts of the service. The caller holds the lock.

    tls: what this run already knows of OpenSSL. attempts: how often to plan if somebody else changes catcher.conf.
    """
    facts = _collect(host, transition, tls)
    plan = planner.plan(facts, transition)
    outcome = _outcome(plan, facts, plan.findings)
    try:
        _carry_out(host, transition, outcome)
    except ChangedMeanwhile as error:
        if attempts > 1:
            # Plan again for the new content. A pair that was placed is still staged.
            return _converge_files(host, transition, facts.tls, attempts - 1)
        outcome.findings.append(finding("write-failed", path=paths.CONF, reason=reason_of(error)))
    except Exception as error:
        # A fault of ours makes an administrator's change fail, as any other error does.
        if transition.request is None:
            raise
        from .journal import log_fault

        log_fault(error)
        outcome.findings.append(finding("internal-fault", reason=type(error).__name__))
        # Collect again only what is needed to take the change back.
        outcome.facts = facts.replace(config=fact_collector.read_config(host), pair=pair.look(host))
    return outcome


def _carry_out(host: "Host", transition: "Transition", outcome: Outcome) -> None:
    """Carry out the plan's actions, and write the stamp. Raises ChangedMeanwhile if somebody changed catcher.conf."""
    plan = outcome.plan
    generated: Optional[str] = None
    for action in plan.actions:
        if action.kind not in AFTER_STAMP and action.kind != actions.WRITE_STAMP:
            placed = _attempt(host, action, outcome)
            generated = placed if placed is not None else generated
    if transition.kind in (transitions.NOTHING, transitions.ABORT):
        return
    if transition.request is not None and outcome.failures() and not outcome.changed():
        # What an administrator asked for did not work, and nothing has changed. So the stamp does not change either.
        return
    if transition.kind == transitions.RETURN:
        _write_returned_stamp(host, outcome)
    else:
        if outcome.done:
            outcome.facts = _collect(host, transition, outcome.before.tls)
        if outcome.done or transition.kind != transitions.REMOVE:
            _write_stamp(host, transition, outcome, generated)
    pending = any(action.kind in actions.PLACES and action.kind not in outcome.done for action in plan.actions)
    # A pair that could not be placed stays staged for the next run. The stage also proves that we made the pair, so it
    # stays until the stamp proves it, even if a new mode is taken back and its pair stays. Others' pairs need no proof.
    if transition.kind == transitions.RETURN:
        proven = bool(transition.request.kept)
    else:
        proven = outcome.recorded or transition.kind == transitions.PUT_PAIR and bool(transition.request.key)
    if outcome.facts.pair.staged and not pending and proven:
        _report(outcome, paths.STAGE, lambda: pair.clear(host))


def _write_returned_stamp(host: "Host", outcome: Outcome) -> None:
    """Write the stamp that the plan contains: the one from before the change that is taken back."""
    for action in outcome.plan.actions:
        if action.kind == actions.WRITE_STAMP:
            outcome.recorded = _report(outcome, paths.STAMP, lambda new=action.data: put_stamp(host, new))
    outcome.facts = outcome.facts.replace(pair=pair.look(host))


def put_stamp(host: "Host", new: "stamp.Stamp") -> None:
    """Write state.json. The caller holds the lock. Raises OSError."""
    host.ensure_dir(paths.STATE_DIR)
    host.replace(paths.STAMP, stamp.render(new), 0o600)


def _write_stamp(host: "Host", transition: "Transition", outcome: Outcome, generated: "Optional[str]") -> None:
    """Write state.json if it would change. generated: what _attempt() returned for a pair that was placed, or None."""
    facts = outcome.facts
    settled = facts.replace(pair=facts.pair.replace(staged=False, draft=False))
    after = planner.plan(settled, transition, asked=False)
    # For example: a file that could be read before and cannot be read now.
    outcome.findings += [one for one in after.findings if one not in outcome.findings]
    new = stamp.next_stamp(
        settled, outcome.plan.findings_with(after) + outcome.failures(), after.mode, transition)
    if generated is not None:
        new = stamp.with_pair(new, generated or None)
    if new == facts.stamp:
        outcome.recorded = True
        return
    if facts.unread:
        # Never replace a stamp that could not be read: only it tells whether we made the pair.
        outcome.findings.append(finding("write-failed", path=paths.STAMP, reason=facts.unread))
        return
    if _report(outcome, paths.STAMP, lambda: put_stamp(host, new)):
        outcome.done.append(actions.WRITE_STAMP)
        outcome.recorded = True
        outcome.facts = facts.replace(stamp=new)


def _report(outcome: Outcome, path: str, step: "Callable[..., None]") -> bool:
    """Run a step. A failure becomes a finding about *path*. Returns whether it worked."""
    try:
        step()
    except OSError as error:
        outcome.findings.append(finding("write-failed", path=path, reason=reason_of(error)))
        return False
    return True


def _attempt(host: "Host", action: "Action", outcome: Outcome) -> "Optional[str]":
    """Carry one action out. Returns the fingerprint of a pair that it placed, "" for one that we did not make."""
    carry_out, path = _DO[action.kind]
    try:
        result = carry_out(host, action, outcome)
    except ChangedMeanwhile:
        raise
    except pair.NotReplaced as error:
        outcome.findings.append(finding("pair-not-replaced", reason=error.message, hint=error.hint))
        return None
    except CatcherError as error:
        if action.kind in actions.PLACES:
            told = finding("pair-not-generated", reason=error.message, hint=error.hint)
        else:
            told = error.finding or finding("service-failed", verb=action.kind, unit=paths.UNIT, reason=error.message)
        outcome.findings.append(told)
        return None
    except OSError as error:
        if action.kind in actions.SERVICE_VERBS + actions.UNIT_VERBS:
            told = finding("service-failed", verb=action.kind, unit=paths.UNIT, reason=reason_of(error))
        else:
            told = finding("write-failed", path=path or str(error.filename or "?"), reason=reason_of(error))
        outcome.findings.append(told)
        return None
    outcome.done.append(action.kind)
    return result


def _write_config(host: "Host", action: "Action", outcome: Outcome) -> None:
    host.ensure_dir(paths.CONF_DIR)
    was = outcome.before.config.data
    # An edit changes the file that was read, even if catcher.conf is a link to it.
    host.replace(paths.CONF, action.data or b"", 0o644, follow=was is not None, expected=was)


def _remove_config(host: "Host", action: "Action", outcome: Outcome) -> None:
    host.remove(paths.CONF)
    host.sync_dir(paths.CONF_DIR)


def _make_pair(host: "Host", action: "Action", outcome: Outcome) -> str:
    key, crt = _generate(host, outcome)
    pair.stage(host, key, crt)
    return pair.place(host)


def _generate(host: "Host", outcome: Outcome, request: "Optional[transitions.PairRequest]" = None
              ) -> "Tuple[bytes, bytes]":
    """Make a new pair for this host. What its certificate leaves out becomes a finding."""
    from .cert import generate, host_names

    wish = generate.USUAL
    if request is not None:
        wish = generate.Wish(names=request.names, key_type=request.key_type, days=request.days)
    made = generate.generate(host, host_names.collect(host), wish)
    outcome.findings += host_names.address_findings(host)
    return made


def _place_staged_pair(host: "Host", action: "Action", outcome: Outcome) -> "Optional[str]":
    made = pair.place(host) if host.is_own_dir(paths.STAGE) else None
    return pair.place_replacement(host) if host.is_own_dir(paths.REPLACE_STAGE) else made


def _put_pair(host: "Host", action: "Action", outcome: Outcome) -> str:
    """Replace the present pair by another pair, and keep the old files."""
    key, crt = action.data.key, action.data.certificate
    if not key:
        key, crt = _generate(host, outcome, action.data)
    pair.clear(host)
    if pair.look(host).fingerprint == pair.fingerprint(key, crt):
        # An earlier run that was interrupted has placed this pair already.
        return ""
    outcome.kept = pair.begin_replacement(host, key, crt, generated=not action.data.key)
    return pair.place_replacement(host)


def _return_pair(host: "Host", action: "Action", outcome: Outcome) -> None:
    """Bring back the pair that was kept."""
    before = action.data.before
    pair.clear(host)
    pair.begin_return(host, action.data.kept, (before.stamp or stamp.EMPTY).made(before.pair.fingerprint))
    pair.place_replacement(host)


def _retire_legacy_links(host: "Host", action: "Action", outcome: Outcome) -> None:
    """Remove the rcN.d links of CCA 7.x. Rename its init script to a backup: it may have been edited."""
    for link in outcome.before.unit.legacy_links:
        if link == paths.INIT_SCRIPT:
            host.rename(link, link + ".dpkg-bak")
        else:
            host.remove(link)


def _note_ours(host: "Host", action: "Action", outcome: Outcome) -> None:
    known = outcome.facts.stamp or stamp.EMPTY
    lines = ["%s %s\n" % one for one in pair.ours(host, known.made)]
    host.ensure_dir(paths.STATE_DIR)
    host.replace(paths.PURGE, "".join(lines).encode("utf-8", "surrogateescape"), 0o600)


def _forget_removal(host: "Host", action: "Action", outcome: Outcome) -> None:
    host.remove(paths.ENABLED)
    if outcome.before.booted:  # Else /run may be that of another system.
        host.remove(paths.RAN)


def _set_enablement(host: "Host", action: "Action", outcome: Outcome) -> None:
    from . import systemd

    systemd.call(host, "--quiet", action.kind, paths.UNIT)


def _change_service(host: "Host", action: "Action", outcome: Outcome) -> None:
    """Start or restart, unless the administrator's policy forbids it (policy-rc.d, Debian's invoke-rc.d(8)).

    Wait for the port: a person who installs a service expects that it answers.
    """
    from . import port, systemd

    policy = "/usr/sbin/policy-rc.d"
    entry = host.lstat(policy)
    has_policy = entry is not None and entry.st_mode & 0o111
    # invoke-rc.d gives it the first name, and deb-systemd-invoke the second. Both run it by a shell, which also runs a
    # script without "#!".
    asked = [["/bin/sh", "-c", '"$0" "$@"', policy, name, action.kind] for name in ("CSUTKEcat", paths.UNIT)]
    if has_policy and any(host.run(words, timeout=30)[0] == POLICY_DENIES for words in asked):
        return
    if action.kind != actions.START or not systemd.is_unit_current(host):
        systemd.call(host, "daemon-reload")
    if action.kind == actions.START:
        systemd.start(host)
    elif _is_left_running(host, outcome):
        return
    else:
        systemd.restart(host, action.kind)
    if action.kind != actions.TRY_RESTART:
        port.wait_for_catcher(host)


def _is_left_running(host: "Host", outcome: Outcome) -> bool:
    """Return whether the catcher runs and would not start again: then it is not stopped. A finding says why."""
    from . import reference, start, systemd

    refused, after = reference.findings(host), start.next_start(outcome.facts)
    outcome.findings += refused
    return bool(refused or after.mode is None and not after.again) and systemd.catcher(host) is not None


# What carries each kind of action out, and the path that a failure is told of; "" if that is the error's own.
_DO = {
    actions.PLACE_STAGED_PAIR: (_place_staged_pair, paths.KEY),
    actions.CLEAR_DRAFT: (lambda host, action, outcome: pair.clear(host), paths.STAGE_DRAFT),
    actions.WRITE_CONFIG: (_write_config, paths.CONF),
    actions.REMOVE_CONFIG: (_remove_config, paths.CONF),
    actions.MAKE_PAIR: (_make_pair, paths.KEY),
    actions.PUT_PAIR: (_put_pair, paths.KEY),
    actions.RETURN_PAIR: (_return_pair, paths.KEY),
    actions.RETIRE_LEGACY_LINKS: (_retire_legacy_links, paths.INIT_SCRIPT),
    actions.NOTE_OURS: (_note_ours, paths.PURGE),
    actions.ENABLE: (_set_enablement, ""),
    actions.DISABLE: (_set_enablement, ""),
    actions.RESTART: (_change_service, ""),
    actions.TRY_RESTART: (_change_service, ""),
    actions.START: (_change_service, ""),
    actions.FORGET_CAPTURE: (lambda host, action, outcome: host.remove(paths.CAPTURE), paths.CAPTURE),
    actions.FORGET_REMOVAL: (_forget_removal, ""),
}
