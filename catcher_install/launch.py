"""CSUTKEcat: start the catcher in the mode that its configuration and this host allow.

``start`` becomes the daemon (exec), so that systemd's main process is the daemon itself and ``ps`` shows what the
vendor documents. Whatever the package's hooks could not do is done before that.
"""

import os

from . import messages, paths, reference, report, start, transition
from .errors import CatcherError, reason_of
from .host import Host
from .messages import finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from .apply import Outcome
    from .facts import HostFacts
    from .messages import Finding

USAGE = "usage: CSUTKEcat start | check | stop | restart | status"
MORE = "More: man CSUTKEcat"
REFUSED = 78  # EX_CONFIG (sysexits.h); the unit does not restart after it
AGAIN = 75  # EX_TEMPFAIL: systemd tries again
FAILED = 1
# Seconds for which a port that is taken is waited for. A closed connection keeps it for 60 (TCP_TIMEWAIT_LEN), and the
# kernel's timers are up to an eighth late.
PORT_SECONDS = 75


def main(arguments: "List[str]") -> int:
    """Run CSUTKEcat. arguments: one verb. Returns an exit status; does not return if the process becomes the daemon."""
    verb = arguments[0] if len(arguments) == 1 else ""
    try:
        if verb == "start":
            return _start(Host())
        if verb == "check":
            return _check(Host())
        if verb in ("stop", "restart", "status"):
            return _service(Host(), verb)
        if verb in ("help", "--help", "-h"):
            print("\n".join((USAGE, MORE)))
            return 0
    except CatcherError as error:
        hint = " -- " + report.in_one_line(report.hint(error.hint)) if error.hint else ""
        _say(messages.ERROR, error.message + hint)
        return FAILED
    except Exception as error:  # noqa: BLE001 - a fault of ours: one line here, the traceback in the journal
        from .journal import log_fault

        log_fault(error)
        return FAILED
    _say(messages.ERROR, USAGE)
    return 2


def _say(severity: str, text: str) -> None:
    """Write a line to standard error, with its priority in front if that is the journal (sd-daemon(3))."""
    from .journal import say

    prefix = "<%d>" % report.PRIORITY[severity] if "JOURNAL_STREAM" in os.environ else ""
    say(prefix + text)


def _tell(found: "List[Finding]") -> None:
    for one in found:
        _say(messages.severity(one), report.journal_line(one))


def _tell_change(outcome: "Outcome") -> None:
    """Write to the journal how the mode and the pair were changed."""
    changed = report.change_line(outcome)
    if changed:
        _say(messages.INFO, changed)


def _start(host: Host, facts: "Optional[HostFacts]" = None, waits: bool = False) -> int:
    """Do what the hooks left undone, and become the daemon. Returns an exit status if the start is refused or fails.

    facts: if they have just been collected. waits: wait for the port, even if systemd did not start this process.
    """
    from .apply import converge

    if not host.is_root():
        try:
            _require_all_seen(host, "systemctl start " + paths.UNIT.partition(".")[0])
        except CatcherError as error:
            if not host.is_run_by_systemd():
                raise
            # systemd must not try again: each attempt would fail in the same way.
            _say(messages.ERROR, error.message + " -- remove User= from the unit's drop-in: systemctl cat CSUTKEcat")
            return REFUSED
    outcome = converge(host, transition.of(transition.START), facts)
    _tell_change(outcome)
    decision = start.launch_decision(outcome.facts, outcome.plan.mode)
    known = decision.findings
    _tell(known + [one for one in outcome.findings if one not in known])
    if decision.mode is None:
        return AGAIN if decision.again else REFUSED
    if waits or host.is_run_by_systemd():
        _wait_for_port(host)
    if outcome.facts.unit.forking and "INVOCATION_ID" in os.environ:
        _detach(host)
    try:
        host.execute(paths.CATCHER, [paths.CATCHER] + decision.arguments(), reference.note(host))
    except OSError as error:
        why = "%s cannot be executed: %s" % (paths.CATCHER, reason_of(error))
        raise CatcherError(why, "reinstall the package csulcca") from error
    return FAILED


def make_pair(arguments: "List[str]") -> int:
    """Do what a start does before it becomes the daemon, outside of the unit's sandbox (hooks/make-pair). arguments:
    none. Returns AGAIN if a start is refused now and may succeed in a moment; else 0: the start itself says what is
    wrong."""
    from .apply import converge

    try:
        host = Host()
        host.outside = True
        outcome = converge(host, transition.of(transition.START))
        _tell_change(outcome)
        decision = start.launch_decision(outcome.facts, outcome.plan.mode)
        if decision.mode is None and decision.again:
            # Stop here: the start that follows may decide otherwise, and in its sandbox it cannot make a pair.
            _tell(decision.findings + [one for one in outcome.findings if one not in decision.findings])
            return AGAIN
        # Only what the start that follows cannot know.
        _tell([one for one in outcome.findings
               if messages.is_marked(one, messages.TRANSIENT) or messages.is_marked(one, messages.FAILURE)])
    except Exception as error:  # noqa: BLE001 - the start that follows may still succeed
        from .journal import log_fault

        log_fault(error)
    return 0


def _wait_for_port(host: Host) -> None:
    """Wait until the port is free, for PORT_SECONDS at most. Without that, the daemon would exit because the port is
    taken, and systemd would start it again every two seconds."""
    for second in range(PORT_SECONDS):
        if host.can_bind(paths.PORT) or _own_address_is_free(host):
            return
        if second == 0:
            _tell([finding("port-waiting", port=str(reference.port(host)))])
        host.pause(1)


def _own_address_is_free(host: Host) -> bool:
    """Return whether the settings name another port or other addresses than usual, and these are free."""
    port, own = reference.port(host), reference.addresses(host)
    return (port, own) != (paths.PORT, reference.EVERYWHERE) and host.can_bind(port, own)


def _detach(host: Host) -> None:
    """Serve a unit of Type=forking (a copy or drop-in from CCA 7.x): write its PIDFile and exit. Only the child returns
    from this function."""
    from .unit import kept_settings

    child = os.fork()
    if child == 0:
        os.setsid()
        return
    value = kept_settings(host).get("PIDFile", "")
    # systemd.service(5): a relative name is below /run; systemd itself reads /var/run as /run.
    value = value[len("/var"):] if value.startswith("/var/run/") else value
    path = value if value.startswith("/") else "/run/" + value
    try:
        if value and path.startswith("/run/"):
            host.replace(path, b"%d\n" % child, 0o644)
    finally:
        # With a drop-in our unit still applies, which hides /run: then hooks/wait-for-start writes the file.
        os._exit(0)


def _require_all_seen(host: Host, command: str) -> None:
    """Raise CatcherError, with the command for root, if this user may not read what a start depends on."""
    from .facts import require_all_seen

    require_all_seen(host, "a start", "run it as root:\n  sudo " + command)


def _foreseen(host: Host) -> "Tuple[HostFacts, start.Launch]":
    """Return the facts, and what a start will decide. Raises CatcherError if only root can know that."""
    from .facts import collect

    _require_all_seen(host, paths.BIN + "/CSUTKEcat check")
    facts = collect(host)
    foreseen = start.next_start(facts)
    refused = reference.findings(host)
    if foreseen.mode is not None and refused:
        # Only the daemon itself refuses these settings, after the decision.
        foreseen = start.Launch(mode=None, findings=foreseen.findings + refused, again=False)
    return facts, foreseen


def _check(host: Host) -> int:
    """Print what a start would decide and run, and run nothing. Returns an exit status."""
    _, foreseen = _foreseen(host)
    for one in foreseen.findings:
        for line in report.finding_lines(one):
            print(line)
    if foreseen.mode is None:
        print("refused")
        return REFUSED
    print("mode: %s" % foreseen.mode.upper())
    print("argv: %s" % " ".join([paths.CATCHER] + foreseen.arguments()))
    return 0


def _service(host: Host, verb: str) -> int:
    """Do stop, restart or status: by systemctl if systemd runs, else with the process itself. Returns an exit status.

    A unit like that of CCA 7.x has ``ExecStop=... CSUTKEcat stop``. If that called systemctl, it would wait for itself.
    """
    from . import systemd

    facts = None
    if verb == "restart" and host.is_root():
        facts, foreseen = _foreseen(host)
        if foreseen.mode is None:
            # Leave the running catcher alone: once stopped, it would not start again.
            _tell([one for one in foreseen.findings if messages.needs_attention(one)])
            _say(messages.ERROR, "not restarted, because the catcher would not start again")
            return AGAIN if foreseen.again else REFUSED
    systemctl = systemd.program(host)
    if host.is_booted() and systemctl and not host.is_run_by_systemd():
        host.execute(systemctl, ["systemctl", verb, paths.UNIT])
    running = systemd.catcher(host)
    if verb == "status":
        print("catcher.exe is not running" if running is None else "catcher.exe is running, PID %d" % running)
        return 3 if running is None else 0
    if running is not None:
        try:
            host.terminate(running)
        except PermissionError as error:
            as_root = "run it as root:\n  sudo %s/CSUTKEcat %s" % (paths.BIN, verb)
            raise CatcherError("only root may stop the catcher", as_root) from error
    # The old catcher first ends its connections. A new one that finds the port taken would exit.
    return _start(host, facts, waits=True) if verb == "restart" else 0
