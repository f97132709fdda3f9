"""Apply an administrator's change, put it to use and verify it over a real connection; if that fails, take it back.

``mode``, ``cert install``, ``cert generate`` and ``cert restore`` take the same steps as the package's hooks: facts,
plan, apply. This module adds the restart, the connection that must show the change, the return to the old state, and
a line in the journal.
"""

from .. import actions, apply, config, facts, journal, messages, paths, plan, reference, start, systemd, transition
from ..errors import CatcherError, reason_of
from . import daemon, installed_pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from ..apply import Outcome
    from ..facts import HostFacts
    from ..host import Host
    from ..messages import Finding
    from ..process import Signals
    from ..transition import Transition

WHY = "see why:\n  journalctl -u CSUTKEcat"


class Locked:
    """``with Locked(host)``: no other csulcca run changes anything. Raises CatcherError if another run does not end in
    time."""

    def __init__(self, host: "Host") -> None:
        self._host = host

    def __enter__(self) -> None:
        try:
            self._lock = self._host.lock(apply.LOCK_SECONDS)
        except TimeoutError as error:
            busy = messages.finding("busy", seconds=str(apply.LOCK_SECONDS))
            raise CatcherError(messages.text(busy), _again(busy)) from error

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.free()


def foresee(host: "Host", asked: "Transition", restart: bool) -> "Tuple[actions.Plan, str]":
    """Return what carry_out() would do: the plan, and a line on what follows. Changes nothing. Raises CatcherError if
    the change would not work."""
    now = facts.judged(host, facts.collect(host))
    planned = plan.plan(now, asked)
    then = start.foresee(now, planned)
    refused = _refused(asked, then, planned.findings)
    if refused is not None:
        raise CatcherError("%s would not work: %s" % (_subject(asked), messages.text(refused)), messages.fix(refused))
    reason, _ = _why_not_restarted(host, asked, then, restart)
    if reason:
        return planned, "Then nothing is restarted, %s." % reason.rstrip(".")
    if not any(action.kind in actions.CHANGES for action in planned.actions):
        return planned, "Then the catcher is restarted, unless a connection shows that this is not needed."
    return planned, "Then the catcher is restarted and checked over a real connection."


def carry_out(host: "Host", asked: "Transition", restart: bool) -> "Tuple[Outcome, str]":
    """Apply a transition, put it to use, and verify it. Returns the outcome, and a line on how it is in use.

    restart: whether the daemon may be restarted. SIGHUP, SIGTERM and SIGINT leave nothing half done: the change is then
    taken back. Each attempt writes one line to the journal. Raises CatcherError; then nothing has changed, or the old
    state is back.
    """
    told = _named(asked)
    with host.signals() as signals:
        try:
            outcome = apply.converge(host, asked)
            told += _difference(asked, outcome)
            line = _use_or_take_back(host, asked, outcome, restart, signals)
        except Exception as error:
            reason = error.message if isinstance(error, CatcherError) else "internal fault: %s" % type(error).__name__
            journal.record(host, "%s failed: %s" % (told, reason))
            raise
        journal.record(host, "%s: %s" % (told, line))
    return outcome, line


def _use_or_take_back(
    host: "Host", asked: "Transition", outcome: "Outcome", restart: bool, signals: "Signals"
) -> str:
    """Return a line on how the change is in use. Raises CatcherError if it is not in use; then it has been taken back.

    A change that cannot be verified from here is not taken back; the outcome then has a finding that says so.
    """
    problem = _not_applied(asked, outcome)
    if problem:
        if not outcome.changed():
            failed = outcome.failures() or start.launch_decision(outcome.facts).findings
            raise CatcherError(problem, _again(failed[-1]))
        raise _take_back(host, asked, outcome, problem, restart=False)
    line = ""
    try:
        with signals.raised():
            line, seen = _put_to_use(host, asked, outcome, restart)
    except OSError as error:
        seen = _failed(reason_of(error))
    except KeyboardInterrupt:
        seen = _failed("interrupted")
    except Exception as error:  # noqa: BLE001 - a fault of ours: the change is unverified, so it is taken back
        journal.log_fault(error)
        seen = _failed("internal fault: %s" % type(error).__name__)
    if seen.state == daemon.FAILED:
        raise _take_back(host, asked, outcome, seen.reason, restart=True)
    outcome.findings += daemon.unverified(seen) + reference.findings(host)
    return line


def _again(found: "Finding") -> str:
    """Return what to do about a finding that prevented a change: type the command again. ``catcherctl apply`` would not
    make that change."""
    return messages.fix(found).replace("type:\n  catcherctl apply", "type the same command again")


def _failed(reason: str) -> "daemon.Verification":
    return daemon.Verification(state=daemon.FAILED, reason=reason)


def _named(asked: "Transition") -> str:
    """Return the words of what is asked for, for the journal."""
    if asked.kind == transition.SET_MODE:
        return "mode %s" % asked.request.mode
    return str(asked.request.verb)


def _subject(asked: "Transition") -> str:
    """Return the subject of a message that a change does not work."""
    return asked.request.mode.upper() if asked.kind == transition.SET_MODE else "the catcher with the new certificate"


def _difference(asked: "Transition", outcome: "Outcome") -> str:
    """Return what a change replaced, for the journal."""
    if asked.kind == transition.SET_MODE:
        return " (was: %s)" % outcome.before.config.state
    return " (the old pair is kept as *%s)" % outcome.kept if outcome.kept else ""


def _not_applied(asked: "Transition", outcome: "Outcome") -> str:
    """Return why what was asked for is not in place, or ""."""
    failures = outcome.failures()
    fault = [one for one in failures if one["id"] == "internal-fault"]
    if fault:
        return messages.text(fault[-1])
    if asked.kind == transition.PUT_PAIR:
        planned = actions.PUT_PAIR in [one.kind for one in outcome.plan.actions]
        return messages.text(failures[-1]) if planned and actions.PUT_PAIR not in outcome.done and failures else ""
    if outcome.facts.config.state != asked.request.mode and failures:
        return messages.text(failures[-1])
    refused = _refused(asked, outcome.facts, outcome.findings)
    return "" if refused is None else messages.text(failures[-1] if failures else refused)


def _refused(asked: "Transition", then: "HostFacts", found: "List[Finding]") -> "Optional[Finding]":
    """Return the finding with which a start in the requested mode would be refused; None if it would not be.

    then: the facts with the change. found: the findings of its plan.
    """
    decision = start.launch_decision(then)
    deferred = any(one["id"] == "pair-deferred" for one in found)
    if asked.kind != transition.SET_MODE or decision.mode is not None or deferred:
        return None
    return decision.findings[-1]


def _why_not_restarted(host: "Host", asked: "Transition", then: "HostFacts", restart: bool) -> "Tuple[str, str]":
    """Return why a change does not restart the daemon, as the end of a sentence, and what to type to use the change;
    two empty texts if it restarts the daemon. then: the facts with the change."""
    decision = start.launch_decision(then)
    refused = ""
    if decision.mode is None:
        refused = "because the catcher cannot start: %s" % messages.text(decision.findings[-1])
    if asked.kind != transition.SET_MODE:
        if refused:
            return refused, ""
        if decision.mode == config.TCP:
            # If TLS is configured, a finding says how it becomes possible.
            remedy = "" if then.config.state == config.TLS else "catcherctl mode tls"
            return "because the catcher is in TCP mode", remedy
    if not restart:
        return "as you asked", daemon.by_hand(then)
    reason = daemon.why_not_to_restart(host, then)
    if reason:
        return "because %s" % reason, daemon.by_hand(then)
    return refused, ""


def _put_to_use(
    host: "Host", asked: "Transition", outcome: "Outcome", restart: bool
) -> "Tuple[str, daemon.Verification]":
    """Restart the daemon and verify the change, if that should be done. Returns a line on what was done, and the
    result."""
    nothing = daemon.Verification(state=daemon.VERIFIED, reason="")
    reason, remedy = _why_not_restarted(host, asked, outcome.facts, restart)
    if reason:
        return "Not restarted, %s%s" % (reason, ". To use the change: " + remedy if remedy else ""), nothing
    wanted, speaks = daemon.speaks_tcp(host), "speaks plain TCP"
    if start.launch_decision(outcome.facts).mode == config.TLS:
        seen = installed_pair.installed(host)
        if not seen.chain:
            return "", _failed(seen.problem)
        wanted, speaks = daemon.speaks_tls_with(seen.chain[0].sha256), "speaks TLS with exactly this certificate"
    if not outcome.changed() and daemon.check(host, wanted).state == daemon.VERIFIED:
        # A restart would cut connections for nothing.
        return "Not restarted: over a real connection the catcher already %s." % speaks, nothing
    restarted = "Started" if systemd.catcher(host) is None else "Restarted"
    verified = daemon.restart_and_verify(host, wanted)
    if verified.state == daemon.UNVERIFIED:
        return "%s the catcher, and could not verify what it speaks." % restarted, verified
    return "%s the catcher: over a real connection it %s." % (restarted, speaks), verified


def _take_back(host: "Host", asked: "Transition", outcome: "Outcome", problem: str, restart: bool) -> CatcherError:
    """Restore the old state. Returns the error that says what happened.

    restart: restart the daemon, because it may use the change already.
    """
    is_mode = asked.kind == transition.SET_MODE
    failed = "%s does not work: %s" % (_subject(asked), problem)
    if not outcome.changed():
        return CatcherError(failed, WHY)
    what = "the previous mode" if is_mode else "the old pair"
    request = transition.ReturnRequest(before=outcome.before, after=outcome.facts, kept=outcome.kept)
    try:
        back = apply.converge(host, transition.of(transition.RETURN, request=request))
        # If only the stamp was not restored, the pair is back and counts as an administrator's. That is no failure.
        missing = [one.kind for one in back.plan.actions
                   if one.kind not in back.done and one.kind != actions.WRITE_STAMP]
        if missing:
            raise CatcherError(messages.text(back.failures()[-1]) if back.failures() else "no %s" % missing[0])
    except Exception as error:  # noqa: BLE001 - whatever went wrong, a message must say that the change is still there
        reason = error.message if isinstance(error, CatcherError) else str(error)
        return CatcherError("%s; %s could not be restored: %s" % (failed, what, reason), _by_hand(asked, outcome))
    if not restart or daemon.why_not_to_restart(host, outcome.before):
        return CatcherError("%s; %s is back" % (failed, what), WHY)
    again = _restart_before(host, outcome.before)
    state = "is back, and does not answer (%s)" % again if again else "is back and in use"
    return CatcherError("%s; %s %s" % (failed, what, state), WHY)


def _restart_before(host: "Host", before: "HostFacts") -> str:
    """Restart the daemon as it was before a change. Returns "" or what is wrong."""
    decision = start.launch_decision(before)
    if decision.mode is None:
        # A start is refused, as it was before the change. There is nothing to verify.
        return daemon.restart_only(host)
    chain = installed_pair.installed(host).chain
    wanted = daemon.speaks_tls_with(chain[0].sha256 if chain else "")
    if decision.mode == config.TCP:
        wanted = daemon.speaks_tcp(host)
    problem = daemon.restart_and_wait(host, wanted)
    # If systemd failed to restart it, the catcher may still run as before.
    return "" if problem and daemon.check(host, wanted).state == daemon.VERIFIED else problem


def _by_hand(asked: "Transition", outcome: "Outcome") -> str:
    """Return what to type if a change cannot be taken back."""
    if asked.kind == transition.SET_MODE:
        before = config.TCP if asked.request.mode == config.TLS else config.TLS
        return "restore the previous mode:\n  catcherctl mode %s" % before
    return "the old pair is kept; to use it:\n  catcherctl cert install %s%s %s%s" % (
        paths.KEY, outcome.kept, paths.CERTIFICATE, outcome.kept)
