"""The running daemon, for the administrator's commands: restart it, and check what it answers over a connection."""

from .. import config, paths, port, reference, systemd
from ..cert import details
from ..errors import CatcherError, reason_of
from ..messages import finding
from ..probe import connection, handshake, probe, result, target, trust
from ..probe.result import ProbeResult
from ..record import Record
from ..text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from ..facts import HostFacts
    from ..host import Host
    from ..messages import Finding

# A daemon answers well within a second after a restart; on a busy, emulated machine it takes some seconds.
ANSWER_SECONDS = 15
# The time limit of one look. It takes this long if a daemon in TCP mode does not answer a TLS greeting at all.
LOOK_SECONDS = 4
# systemctl is asked whether the service has failed at every 50th look, about once a second.
LOOKS_A_STATE = 50
RESTART = "systemctl restart CSUTKEcat"
# The addresses at which this host reaches a program that listens on every address.
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "::1"}
# States of a probe that did not connect, unless its result has an address.
NOT_REACHED = (result.REFUSED, result.UNREACHABLE, result.TIMED_OUT)

# Results of a verification. UNVERIFIED: the daemon listens as it should, and no connection could be made from here.
VERIFIED = "verified"
UNVERIFIED = "unverified"
FAILED = "failed"

# Whether the running catcher uses the pair in place. DOUBTFUL: the pair was changed after the start, and no connection
# shows the complete chain. NOT_KNOWN: there is no evidence, or no catcher runs in TLS mode.
IN_USE = "in use"
NOT_IN_USE = "not in use"
DOUBTFUL = "doubtful"
NOT_KNOWN = "not known"


class Verification(Record):
    """Whether the daemon does what it should. state: VERIFIED, UNVERIFIED or FAILED. reason: why it is not verified, as
    the end of a sentence; else ""."""

    __slots__ = ("state", "reason")
    state: str
    reason: str


def why_not_to_restart(host: "Host", facts: "HostFacts") -> str:
    """Return why a change must not restart the daemon now, as a clause; "" if it may."""
    if not facts.booted:
        return "systemd does not run here"
    if facts.unit.masked:
        return "the service is masked"
    if not facts.unit.enabled and systemd.catcher(host) is None:
        return "the service is disabled and does not run"
    return "".join("the catcher cannot start: %s" % one["reason"] for one in reference.findings(host))


def by_hand(facts: "HostFacts") -> str:
    """Return what to type if a change did not restart the daemon."""
    if not facts.booted:
        return paths.BIN + "/CSUTKEcat restart"
    return " && ".join(filter(None, (facts.unit.unmask, RESTART)))


def restart_only(host: "Host") -> str:
    """Restart the daemon, without a look at what it does then. Returns "" or why systemd refused."""
    try:
        systemd.restart(host)
    except (CatcherError, OSError) as error:
        return "the restart failed: %s" % shown(reason_of(error))
    return ""


def look(host: "Host") -> ProbeResult:
    """Return what answers over a real connection where the catcher listens, or should listen.

    If nobody answers at an address, the next one is tried.
    """
    found = None
    for address in _listening(host):
        number = reference.port(host, systemd.catcher(host))
        seen = probe.probe("%s:%d" % (address, number), timeout=LOOK_SECONDS, host=host)
        if found is None or seen.state in (result.TLS, result.TCP):
            found = seen
        if found.state not in NOT_REACHED or seen.address:
            break
    assert found is not None
    return found


def _listening(host: "Host") -> "List[str]":
    """Return the addresses at which this host should reach the catcher, IPv6 in brackets."""
    held = port.holder(host)
    own = held.addresses if held.state == port.CATCHER else reference.addresses(host)
    reached = [LOOPBACK.get(address, address) for address in own]
    return ["[%s]" % address if ":" in address else address for address in reached]


class Wanted:
    """What the daemon should speak. A call with the result of look() returns "" or the problem, as the end of a
    sentence.

    mode: config.TLS or config.TCP. sha256: of the certificate that it should show in TLS.
    """

    def __init__(self, host: "Optional[Host]", mode: str, sha256: str = "") -> None:
        self._host = host
        self.mode = mode
        self.sha256 = sha256

    def __call__(self, seen: ProbeResult) -> str:
        return self._tls(seen) if self.mode == config.TLS else self._tcp(seen)

    def _tls(self, seen: ProbeResult) -> str:
        if seen.state != result.TLS:
            return _instead(seen)
        if seen.chain[0].sha256 != self.sha256:
            return "it shows another certificate (SHA-256 %s...)" % seen.chain[0].sha256[:23]
        return ""

    def _tcp(self, seen: ProbeResult) -> str:
        if seen.state == result.TLS:
            return "it speaks TLS (%s)" % seen.version
        if seen.state == result.TCP:
            return ""
        # A daemon that closes at once may have done so before the probe has recorded the address.
        answered = seen.state == result.CLOSED or (seen.state == result.TIMED_OUT and seen.address)
        if answered and self._host is not None:
            # A daemon in either mode may stay silent or close. Then its arguments are the evidence.
            held = port.holder(self._host)
            if held.state == port.CATCHER and systemd.running_mode(self._host, held.pid) == config.TCP:
                return ""
        return _instead(seen)


def speaks_tls_with(sha256: str) -> Wanted:
    """Return the demand for TLS with a certificate that has this hash."""
    return Wanted(None, config.TLS, sha256)


def speaks_tcp(host: "Host") -> Wanted:
    """Return the demand for plain TCP: connections are accepted, and TLS is not answered."""
    return Wanted(host, config.TCP)


def _instead(seen: ProbeResult) -> str:
    if seen.state == result.TCP:
        return "it speaks plain TCP"
    if seen.state in (result.REFUSED, result.UNREACHABLE):
        return "nothing listens on port %d" % seen.port
    return "no connection: %s" % shown(seen.reason)


def verify(host: "Host", wanted: Wanted) -> Verification:
    """Look at the daemon until it does what is wanted, for ANSWER_SECONDS at most.

    This ends early if the service has failed for good, or if the daemon listens and cannot be reached from here because
    of a firewall, IPAddressDeny= or a network of its own. Then only its arguments show whether the mode is the wanted
    one.
    """
    looks = 0
    seen = Verification(state=FAILED, reason="")

    def settled() -> bool:
        nonlocal looks, seen
        looks += 1
        seen = check(host, wanted)
        return seen.state != FAILED or (looks % LOOKS_A_STATE == 0 and systemd.has_failed(host))

    host.wait_until(settled, ANSWER_SECONDS)
    return seen


def check(host: "Host", wanted: Wanted) -> Verification:
    """Check what one look shows. An answer counts only if the catcher has the port."""
    before = port.holder(host)
    if before.state == port.OTHER:
        return Verification(state=FAILED, reason=(
            "%s (PID %s) has port %d" % (before.program, before.pid, reference.port(host))))
    seen = look(host)
    problem = wanted(seen)
    after = port.holder(host)
    if not problem:
        if after.state == port.CATCHER:
            return Verification(state=VERIFIED, reason="")
        return Verification(state=FAILED, reason="what answers on port %d is not the catcher" % seen.port)
    unreachable = seen.state in NOT_REACHED and not seen.address and before.state == port.CATCHER and after == before
    if unreachable and systemd.running_mode(host, before.pid) == wanted.mode:
        reason = "it listens on %s, and cannot be reached there from this host: %s" % (
            " and ".join(before.addresses), shown(seen.reason))
        return Verification(state=UNVERIFIED, reason=reason)
    return Verification(state=FAILED, reason=problem)


def restart_and_verify(host: "Host", wanted: Wanted) -> Verification:
    """Restart the daemon and verify() what it does. A failed restart is FAILED, too."""
    problem = restart_only(host)
    return Verification(state=FAILED, reason=problem) if problem else verify(host, wanted)


def unverified(seen: Verification) -> "List[Finding]":
    """Return the finding of a change that could not be verified from here; none if it was verified."""
    return [finding("not-verified", reason=seen.reason)] if seen.state == UNVERIFIED else []


def restart_and_wait(host: "Host", wanted: Wanted) -> str:
    """Restart the daemon and verify it as restart_and_verify() does. Returns the problem, or "". UNVERIFIED is no
    problem."""
    seen = restart_and_verify(host, wanted)
    return seen.reason if seen.state == FAILED else ""


def use_of_pair(host: "Host", chain: "List[str]") -> str:
    """Return whether the running catcher uses the pair in place: IN_USE, NOT_IN_USE, DOUBTFUL or NOT_KNOWN.

    chain: SHA-256 of each certificate in catcher.crt. A catcher reads its pair only when it starts, so files that have
    not changed since then are in use. After a change, which may have left the bytes the same, a connection is made, and
    the certificates that the catcher shows decide.
    """
    if host.root != "/" or host.in_chroot():
        return NOT_KNOWN
    pid = systemd.catcher(host)
    if pid is None or systemd.running_mode(host, pid) != config.TLS:
        return NOT_KNOWN
    started, changed = host.started(pid), _pair_changed(host)
    if started is None or changed is None:
        return NOT_KNOWN
    if changed <= started:
        return IN_USE
    shows, whole = chain_shown(host, len(chain))
    if systemd.catcher(host) != pid:
        # It was restarted meanwhile, so it is not known which of the two showed that certificate.
        return NOT_KNOWN
    if not shows:
        return DOUBTFUL
    if shows == chain:
        return IN_USE
    # A daemon may complete the chain of a certificate that is alone in its file.
    may_be = not whole or len(chain) == 1
    return DOUBTFUL if may_be and shows[0] == chain[0] else NOT_IN_USE


def _pair_changed(host: "Host") -> "Optional[float]":
    """Return when the pair's files or the links to them were changed last, in seconds since the epoch; None if that
    cannot be seen. By st_ctime, which nobody can set back: cp -p, tar and rsync set only st_mtime."""
    try:
        found = [host.lstat(name) for path in (paths.KEY, paths.CERTIFICATE) for name in (path, host.real_path(path))]
    except OSError:
        return None
    times = [entry.st_ctime for entry in found if entry is not None]
    return max(times) if len(times) == len(found) else None


def chain_shown(host: "Host", count: int) -> "Tuple[List[str], bool]":
    """Return the SHA-256 of the certificates that the catcher shows, and whether these are all. No certificates if it
    does not have the port, if only root may see who has it, or if no TLS connection succeeds.

    count: how many certificates are expected. One connection is made, which ends after the handshake. openssl makes a
    second one if more than one certificate is expected and Python shows only the first.
    """
    reached = _listening(host) if port.holder(host).state == port.CATCHER else []
    for address in reached:
        deadline = connection.Deadline(LOOK_SECONDS)
        where, number = target.parse("%s:%d" % (address, reference.port(host, systemd.catcher(host))))
        try:
            sock, found = connection.connect_any(connection.look_up(where, number, deadline), deadline, [])
            _, _, chain, whole = handshake.shake_hands(sock, None, deadline)
        except result.Ended:
            continue
        if not whole and count > 1:
            sent, _ = trust.ask_s_client(host, found, None, chain[0], deadline)
            if sent and sent[0] == chain[0]:
                chain, whole = sent, True
        return [details.describe(der).sha256 for der in chain[:details.CHAIN_LIMIT]], whole
    return [], False
