"""Changing the mode by hand: the one edit of catcher.conf that is not a converge's.

Nothing is cut off for good: the daemon is restarted only where the new mode can work, a real connection must then speak
it, and else the old bytes of catcher.conf come back.
"""

from .. import apply, config, messages, paths, plan, transition
from .. import facts as fact_collector
from .. import stamp as stamp_file
from ..errors import CatcherError
from ..text import shown
from . import daemon, installed_pair
from .cert_install import Locked

MYPY = False
if MYPY:
    from typing import List, Tuple

    from ..facts import HostFacts
    from ..host import Host
    from ..messages import Finding

MEND_CONF = "leave one line TLS_ON or TLS_OFF in it"


def change(host: "Host", mode: str, restart: bool) -> "Tuple[List[str], List[Finding]]":
    """Set the mode in catcher.conf, make a pair where TLS needs one, restart the daemon, and verify.

    mode: config.TLS or config.TCP. Setting a mode, also the one that is set, ends the findings that wait for this
    decision (messages.LASTING). Returns lines that say what was done, and the findings that remain. Raises
    CatcherError; then nothing has changed, or the old mode is back.
    """
    facts = fact_collector.judged(host, fact_collector.collect(host))
    _refuse(host, facts, mode)
    before = facts.config
    lines = []
    with Locked(host):
        if fact_collector.collect(host).config != before:
            raise CatcherError("%s was changed by somebody else meanwhile" % paths.CONF, "try again")
        new = config.fresh(mode) if before.data is None else config.with_mode(before.data, mode)
        if new == before.data:
            lines.append("The mode is %s already." % mode.upper())
        else:
            host.ensure_dir("/etc/cca", 0o755)
            host.replace(paths.CONF, new, 0o644, follow=True)
            lines.append("Set the mode to %s in %s." % (mode.upper(), paths.CONF))
    outcome = apply.converge(host, transition.of(transition.APPLY))
    problem = _not_ready(outcome)
    if problem:
        raise _put_back(host, facts, mode, problem, restart=False)
    try:
        told, problem = _put_to_use(host, outcome.facts, mode, restart, new != before.data)
        lines += told
    except OSError as error:
        problem = error.strerror or "error %s" % error.errno
    except KeyboardInterrupt:
        problem = "interrupted"
    if problem:
        raise _put_back(host, facts, mode, problem, restart=True)
    _end_notices(host)
    lines += _about_tke(host, mode)
    found = [one for one in outcome.findings if not messages.is_marked(one, messages.LASTING)]
    seen = installed_pair.installed(host)
    if mode == config.TLS:
        found += installed_pair.more_findings(host, fact_collector.collect(host), seen)
    return lines, found


def _refuse(host: "Host", facts: "HostFacts", mode: str) -> None:
    """Raise CatcherError where the new mode could not work, or would cut off a link that works."""
    conf = facts.config
    if conf.state == config.UNUSABLE:
        raise CatcherError("%s cannot be used: %s" % (paths.CONF, conf.problem), MEND_CONF)
    if mode == config.TCP:
        if conf.required:
            raise CatcherError("%s says TLS_REQUIRED" % paths.CONF, "remove that line first, if TCP is really wanted")
        return
    if facts.tls is not None and not facts.tls.possible:
        raise CatcherError("TLS is not possible here: %s" % facts.tls.reason, "install OpenSSL 1.1.1 or newer first")
    for one in plan.pair_findings(facts):
        # An expired certificate does not keep the daemon from starting, but the TKE from connecting.
        if messages.severity(one) == messages.ERROR or one["id"] in ("pair-expired", "pair-not-yet-valid"):
            raise CatcherError("not changed: %s" % messages.text(one), messages.fix(one))


def _not_ready(outcome: "apply.Outcome") -> str:
    """Why the daemon would not start now, or ""."""
    decision = plan.launch_decision(outcome.facts)
    if decision.arguments is not None or any(one["id"] == "pair-deferred" for one in outcome.findings):
        return ""
    failed = [one for one in outcome.findings if one["id"] in ("pair-not-generated", "write-failed", "busy")]
    return messages.text((failed or decision.findings)[-1])


def _put_to_use(
    host: "Host", facts: "HostFacts", mode: str, restart: bool, changed: bool
) -> "Tuple[List[str], str]":
    """Restart and verify, as far as that should be done: (what was done, what is wrong or "")."""
    if not restart:
        return ["Not restarted, as you said; the new mode begins with: %s" % daemon.RESTART], ""
    reason = daemon.may_restart(host, facts)
    if reason:
        return ["Not restarted, since %s; the restart is yours: %s" % (reason, daemon.RESTART)], ""
    condition = daemon.speaks_tcp(host)
    if mode == config.TLS:
        seen = installed_pair.installed(host)
        if not seen.chain:
            return [], seen.problem
        condition = daemon.speaks_tls_with(seen.chain[0].sha256)
    speaks = "TLS with this certificate" if mode == config.TLS else "plain TCP"
    if not changed and not condition(daemon.look(host)):
        # No reason to cut a link.
        return ["The catcher speaks %s already." % speaks], ""
    problem = daemon.restart_and_wait(host, condition)
    return ["Restarted the catcher; over a real connection it speaks %s." % speaks], problem


def _put_back(host: "Host", before: "HostFacts", mode: str, problem: str, restart: bool) -> CatcherError:
    """Bring back the old bytes of catcher.conf. Returns the error that says what happened.

    restart: the daemon may be in the new mode already.
    """
    failed = "%s did not come up: %s" % (mode.upper(), problem)
    look = "why: journalctl -u CSUTKEcat"
    old = before.config
    try:
        with Locked(host):
            if old.data is None:
                host.remove(paths.CONF)
                host.sync_dir("/etc/cca")
            else:
                host.replace(paths.CONF, old.data, 0o644, follow=True)
            _restore_notices(host, before)
    except (CatcherError, OSError) as error:
        reason = error.message if isinstance(error, CatcherError) else error.strerror
        return CatcherError("%s; %s could not be put back: %s" % (failed, paths.CONF, reason),
                            "write TLS_%s into it, then: %s" % ("ON" if mode == config.TCP else "OFF", daemon.RESTART))
    if not restart or daemon.may_restart(host, before):
        return CatcherError("%s; %s is as it was" % (failed, paths.CONF), look)
    decision = plan.launch_decision(before)
    if decision.arguments is None:
        again = daemon.restart_only(host)
    elif "-tls" in decision.arguments:
        chain = installed_pair.installed(host).chain
        again = daemon.restart_and_wait(host, daemon.speaks_tls_with(chain[0].sha256 if chain else ""))
    else:
        again = daemon.restart_and_wait(host, daemon.speaks_tcp(host))
    state = "back, and does not answer either (%s)" % again if again else "back and in use"
    return CatcherError("%s; the mode before is %s" % (failed, state), look)


def _end_notices(host: "Host") -> None:
    """Take the findings that waited for an administrator's decision out of the stamp."""
    with Locked(host):
        stamp = fact_collector.collect(host).stamp
        if stamp is None:
            return
        left = [one for one in stamp.findings if not messages.is_marked(one, messages.LASTING)]
        if left != stamp.findings:
            host.replace(paths.STAMP, stamp_file.render(stamp.replace(findings=left)), 0o600)


def _restore_notices(host: "Host", before: "HostFacts") -> None:
    """Give the stamp back the mode and the findings that it had; a pair that was made meanwhile stays remembered."""
    stamp = fact_collector.collect(host).stamp
    if stamp is not None and before.stamp is not None:
        stamp = stamp.replace(mode=before.stamp.mode, findings=before.stamp.findings)
        host.replace(paths.STAMP, stamp_file.render(stamp), 0o600)


def _about_tke(host: "Host", mode: str) -> "List[str]":
    """What is to be done at the TKE now."""
    if mode == config.TCP:
        return ["On the TKE, the box Enable SSL/TLS of this host's definition must not be ticked.",
                "The steps there: catcherctl tke-guide tcp"]
    lines = []
    chain = installed_pair.installed(host).chain
    if chain:
        lines = ["  names    %s" % ", ".join(shown(name, 80) for name in chain[0].names()),
                 "  SHA-256  %s" % chain[0].sha256, "  SHA-1    %s" % chain[0].sha1]
    return lines + ["On the TKE, import this certificate, and tick the box Enable SSL/TLS of this host's definition.",
                    "The steps there: catcherctl tke-guide tls"]
