"""Bringing another pair into use: one that is made here, or an administrator's.

A pair changes in one way only: it is decided and placed by pair.begin_replacement() and a converge, the daemon is
restarted, and a real connection must show exactly the new certificate; else the files that were there come back.
"""

from .. import apply, messages, pair, paths, plan, transition
from .. import facts as fact_collector
from .. import stamp as stamp_file
from ..cert import generate as generator
from ..cert import host_names, submitted
from ..cert.pem import PemFile
from ..errors import CatcherError, KeyRefused
from . import daemon, installed_pair

MYPY = False
if MYPY:
    from typing import List, Optional, Tuple

    from ..facts import HostFacts
    from ..host import Host
    from ..messages import Finding

LOCK_SECONDS = 60
IMPORT = "Import the certificate into the TKE before it connects again; the steps: catcherctl tke-guide tls"


class Locked:
    """``with Locked(host)``: no converge is at work."""

    def __init__(self, host: "Host") -> None:
        self._host = host

    def __enter__(self) -> None:
        try:
            self._lock = self._host.lock(LOCK_SECONDS)
        except TimeoutError as error:
            raise CatcherError("another change is still at work", "wait for it, then try again") from error

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.free()


def generate(host: "Host", force: bool, restart: bool) -> "Tuple[List[str], List[Finding]]":
    """Make a key and certificate, and bring them into use. Returns what was done, and the findings that remain.

    force: replace a pair, or half of one. Raises CatcherError; then nothing has changed, or the old pair is back.
    """
    _finish_earlier(host)
    facts = fact_collector.collect(host)
    refuse_key_in_image(facts)
    if facts.pair.state != pair.NONE and not force:
        what = {pair.KEY_ONLY: "a key", pair.CERTIFICATE_ONLY: "a certificate"}.get(
            facts.pair.state, "a key and a certificate")
        raise CatcherError("there is %s already" % what,
                           "to replace it, and keep a copy: catcherctl cert generate --force")
    with Locked(host):
        key, crt = generator.generate(host, host_names.collect(host))
    return _bring_in(host, facts, key, crt, True, restart, [])


def refuse_key_in_image(facts: "HostFacts") -> None:
    """Raise KeyRefused where every copy of this system would share a key."""
    if facts.image or not facts.booted:
        where = facts.image or "a system that systemd does not run"
        raise KeyRefused("no key is made in %s, since every copy of it would share that key" % where,
                         "start the catcher where it is to run: it makes its key then")


def install(host: "Host", files: "List[str]", wanted: "List[str]", restart: bool) -> "Tuple[List[str], List[Finding]]":
    """Check an administrator's pair, and bring it into use. Returns what was done, and the findings that remain.

    files: those of key and certificate; or one, with both in it, or with the certificate for a key that is here: that
    of the last request(), or the present one. wanted: names that the certificate must have; any one of the host's where
    empty. Raises CatcherError; then nothing has changed, or the old pair is back.
    """
    _finish_earlier(host)
    crt_file = submitted.read_file(host, files[-1])
    key_file = submitted.read_file(host, files[0]) if len(files) > 1 else _key_for(host, crt_file)
    given = submitted.check(host, key_file, crt_file)
    submitted.require_names(host, given.chain[0], wanted, submitted.command("catcherctl cert install", *files))
    facts = fact_collector.collect(host)
    return _bring_in(host, facts, given.key, given.certificates, False, restart, wanted)


def _key_for(host: "Host", crt_file: PemFile) -> PemFile:
    """Where the key of a lone certificate file is: in that file, or one of those that are kept here."""
    if crt_file.keys() or not crt_file.certificates():
        return crt_file
    tried = []
    for path in (paths.REQUEST_KEY, paths.KEY):
        if host.lexists(path):
            tried.append(path)
            try:
                key_file = submitted.read_file(host, path)
            except CatcherError:
                # Not a key at all, and there may be another one.
                continue
            if submitted.belongs(key_file, crt_file):
                return key_file
    raise CatcherError(
        "the certificate in %s belongs to no key that is here%s" % (
            crt_file.path, " (tried %s)" % " and ".join(tried) if tried else ""),
        submitted.command("name its key, too: catcherctl cert install KEY", crt_file.path),
    )


def _finish_earlier(host: "Host") -> None:
    """Let a converge finish what an interrupted change of the pair has left."""
    before = pair.look(host)
    if not before.staged and not before.draft:
        return
    outcome = apply.converge(host, transition.of(transition.APPLY))
    if pair.look(host).staged:
        why = "an earlier change of the pair cannot be finished: %s" % _why_not(outcome)
        raise CatcherError(why, "mend that, then: catcherctl apply")


def _why_not(outcome: "apply.Outcome") -> str:
    for one in outcome.findings:
        if one["id"] in ("pair-not-replaced", "pair-not-generated", "write-failed", "busy"):
            return messages.text(one)
    return "its files were changed meanwhile"


def _bring_in(
    host: "Host", facts: "HostFacts", key: bytes, crt: bytes, generated: bool, restart: bool, wanted: "List[str]"
) -> "Tuple[List[str], List[Finding]]":
    """Put a good pair in place of what *facts* tell of, restart, and verify; or put back what was there."""
    before = _Before(host, facts)
    unsaid: List[Finding] = []
    if before.files == (key, crt):
        lines = ["This key and certificate are in place already."]
    else:
        before.suffix, unsaid = _place(host, facts, key, crt, generated)
        before.successor = pair.look(host).identity
        lines = ["Put the new key and certificate in place."]
        kept = [paths.BIN + "/" + name + before.suffix for name in pair.FILES
                if host.lexists(paths.BIN + "/" + name + before.suffix)]
        lines += ["Kept what was there: %s" % " and ".join(kept)] if kept else []
    if not unsaid:
        _remember(host, wanted)
    facts = fact_collector.judged(host, fact_collector.collect(host))
    seen = installed_pair.installed(host)
    if not seen.chain:
        raise CatcherError("the pair is in place and not yet in use: %s" % seen.problem, "then: %s" % daemon.RESTART)
    own = seen.chain[0]
    lines.append(_put_to_use(host, facts, own.sha256, before, restart))
    _forget_request_key(host, key)
    lines += ["SHA-256    " + own.sha256, "SHA-1      " + own.sha1, IMPORT]
    found = list(plan.plan(facts, transition.of(transition.APPLY)).findings) + unsaid
    return lines, found + installed_pair.more_findings(host, facts, seen)


class _Before:
    """The pair before a change: files (key, certificate), or None where there was no whole one that can be read;
    shown: SHA-256 of the certificate that a daemon could show, or ""; made_here. Once it is replaced, suffix: under
    which it is kept, and successor: the identity of the pair in its place."""

    def __init__(self, host: "Host", facts: "HostFacts") -> None:
        self.files: Optional[Tuple[bytes, bytes]] = None
        if facts.pair.state == pair.BOTH:
            try:
                self.files = pair.read(host)
            except OSError:
                # A dangling link, say: it is kept as it is, and not compared.
                self.files = None
        usable = facts.pair.state == pair.BOTH and not any(
            messages.severity(one) == messages.ERROR
            for one in plan.pair_findings(fact_collector.judged(host, facts)))
        chain = installed_pair.installed(host).chain
        self.shown = chain[0].sha256 if usable and chain else ""
        self.made_here = installed_pair.made_here(host, facts) is True
        self.suffix = self.successor = ""


def _place(host: "Host", facts: "HostFacts", key: bytes, crt: bytes, generated: bool
           ) -> "Tuple[str, List[Finding]]":
    """Put a pair in place of what *facts* tell of. Returns the suffix under which that is kept, and _settle()'s."""
    with Locked(host):
        there = pair.look(host)
        if (there.state, there.identity) != (facts.pair.state, facts.pair.identity) or there.staged:
            raise CatcherError("the pair in %s was changed by somebody else meanwhile" % paths.BIN, "try again")
        suffix = pair.begin_replacement(host, key, crt, generated)
    outcome = apply.converge(host, transition.of(transition.APPLY))
    unsaid = _settle(host, outcome)
    if pair.look(host).staged or pair.read(host) != (key, crt):
        raise CatcherError("the new pair is not in place: %s" % _why_not(outcome), "mend that, then: catcherctl apply")
    return suffix, unsaid


def _settle(host: "Host", outcome: "apply.Outcome") -> "List[Finding]":
    """Finish a pair that a converge has placed and could not note in the stamp. Returns why it could not.

    Without the note it counts as an administrator's, which nothing ever removes: that harms less than a pair that is in
    place and not in use.
    """
    if plan.PLACE_STAGED_PAIR not in outcome.done or not pair.look(host).staged:
        return []
    with Locked(host):
        pair.clear(host)
    return [one for one in outcome.findings if one["id"] == "write-failed"]


def _put_to_use(host: "Host", facts: "HostFacts", sha256: str, before: _Before, restart: bool) -> str:
    """Have the daemon use the pair in place, as far as it should. Returns what happened; raises CatcherError where the
    daemon does not show that certificate, and then *before* is back."""
    decision = plan.launch_decision(facts)
    if decision.arguments is None:
        return "Not restarted, since the catcher cannot start: %s" % messages.text(decision.findings[-1])
    if "-tls" not in decision.arguments:
        return "They were not tried, since the catcher is in TCP mode; to use them: catcherctl mode tls"
    if not restart:
        return "Not restarted, as you said; to use them: %s" % daemon.RESTART
    reason = daemon.may_restart(host, facts)
    if reason:
        return "Not restarted, since %s; the restart is yours: %s" % (reason, daemon.RESTART)
    condition = daemon.speaks_tls_with(sha256)
    if not before.suffix and not condition(daemon.look(host)):
        return "The catcher shows exactly this certificate, over a real connection."
    try:
        problem = daemon.restart_and_wait(host, condition)
    except KeyboardInterrupt:
        problem = "interrupted"
    if problem:
        raise _put_back(host, before, problem)
    return "Restarted the catcher; over a real connection it shows exactly this certificate."


def _put_back(host: "Host", before: _Before, problem: str) -> CatcherError:
    """Bring back the pair that was there before, and restart. Returns the error that says what happened."""
    failed = "the catcher was restarted and did not show the new certificate: %s" % problem
    look = "why: journalctl -u CSUTKEcat"
    if not before.suffix:
        return CatcherError(failed, look)
    try:
        with Locked(host):
            if pair.look(host).identity != before.successor:
                raise CatcherError("somebody else changed the pair meanwhile, and that was left alone")
            pair.begin_return(host, before.suffix, before.made_here)
        outcome = apply.converge(host, transition.of(transition.APPLY))
        _settle(host, outcome)
        if pair.look(host).staged:
            raise CatcherError(_why_not(outcome))
        for name in pair.FILES:
            host.remove(paths.BIN + "/" + name + before.suffix)
    except (CatcherError, OSError) as error:
        reason = error.message if isinstance(error, CatcherError) else error.strerror
        return CatcherError("%s; the old pair could not be put back: %s" % (failed, reason),
                            "it is kept as %s%s and .crt; then: %s" % (paths.KEY, before.suffix, daemon.RESTART))
    if not before.shown:
        # Nothing that a daemon could have shown; it decides for itself what to do about it.
        again = daemon.restart_only(host)
        return CatcherError("%s; what was there before is back%s" % (failed, ", and " + again if again else ""), look)
    again = daemon.restart_and_wait(host, daemon.speaks_tls_with(before.shown))
    state = "back, and does not answer either (%s)" % again if again else "back and in use"
    return CatcherError("%s; the old pair is %s" % (failed, state), look)


def _remember(host: "Host", wanted: "List[str]") -> None:
    """Note in the stamp which names an administrator installed the pair for, what is to be said of it now, and no
    longer that we made one that it replaced: an earlier run may have placed this one and not been able to say so."""
    with Locked(host):
        facts = fact_collector.collect(host)
        old = facts.stamp
        if old is None:
            return
        new = old.replace(findings=plan.noted(plan.plan(facts, transition.of(transition.APPLY)).findings))
        if old.generated_pair is not None and installed_pair.made_here(host, facts) is False:
            new = new.replace(generated_pair=None)
        if wanted:
            verdict = dict(fact_collector.judged(host, facts).verdict or {}, accepted_names=wanted)
            new = new.replace(checked_pair=verdict)
        if new != old:
            host.replace(paths.STAMP, stamp_file.render(new), 0o600)


def _forget_request_key(host: "Host", key: bytes) -> None:
    """The kept key of a request has become catcher.key."""
    try:
        data = host.read_optional(paths.REQUEST_KEY, pair.SIZE_LIMIT)
    except OSError:
        # Whatever somebody put there, it is not this key; and the pair is in place already.
        return
    kept = PemFile(paths.REQUEST_KEY, data or b"").keys()
    if kept and kept[0][1] == key:
        host.remove(paths.REQUEST_KEY)
        host.sync_dir(paths.BIN)
