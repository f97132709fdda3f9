"""The running daemon as an administrator's command sees it: who holds the port, a restart, what answers after it."""

from .. import config, paths, systemd
from ..errors import CatcherError
from ..probe import probe, result
from ..probe.result import ProbeResult
from ..record import Record
from ..text import shown

MYPY = False
if MYPY:
    from typing import Callable, List, Optional

    from ..facts import HostFacts
    from ..host import Host

# From a restart to the first answer it takes well below a second; on a busy, emulated machine some seconds.
ANSWER_SECONDS = 15
# For one look. A daemon in TCP mode may say nothing at all to a TLS greeting, and then takes this long.
LOOK_SECONDS = 4
# systemctl is asked whether the service has failed at every 50th look, about once a second.
LOOKS_A_STATE = 50
RESTART = "systemctl restart CSUTKEcat"
ADDRESSES = ("127.0.0.1", "[::1]")

# Who holds the port
CATCHER = "catcher"
OTHER = "other"
UNKNOWN = "unknown"
NOBODY = "none"


class Holder(Record):
    """Who has the catcher's port.

    state: CATCHER, OTHER, UNKNOWN (somebody; only root may see who) or NOBODY.
    pid: of the process, or None. program: its name, "" where unknown. addresses: local ones, e.g. "0.0.0.0" or "::".
    listens: it listens, rather than having the port for an outgoing connection.
    """

    __slots__ = ("state", "pid", "program", "addresses", "listens")
    state: str
    pid: "Optional[int]"
    program: str
    addresses: "List[str]"
    listens: bool


def holder(host: "Host") -> Holder:
    """Who has the port now."""
    # Without an inode: a connection that only waits for its end, and is nobody's any more.
    taken = [one for one in host.tcp_sockets(paths.PORT) if one.inode]
    listening = [one for one in taken if one.listens]
    if not taken:
        return Holder(state=NOBODY, pid=None, program="", addresses=[], listens=False)
    catcher = systemd.catcher(host)
    pids = [host.socket_owner(one.inode, catcher) for one in listening or taken]
    known = [pid for pid in pids if pid is not None]
    ours = [pid for pid in known if pid == catcher]
    first = ours or known
    pid = first[0] if first else None
    state = UNKNOWN if pid is None else CATCHER if ours else OTHER
    if state == CATCHER and not listening:
        # Connections of a daemon that is ending: the port is nobody's.
        return Holder(state=NOBODY, pid=None, program="", addresses=[], listens=False)
    program = "" if pid is None else shown(host.program_name(pid), 40)
    addresses = sorted({one.address for one in listening or taken})
    return Holder(state=state, pid=pid, program=program, addresses=addresses, listens=bool(listening))


def may_restart(host: "Host", facts: "HostFacts") -> str:
    """"" where a change should restart the daemon now; else why not, as the beginning of a sentence."""
    if not facts.booted:
        return "systemd does not run here"
    if facts.unit.masked:
        return "the service is masked"
    if not facts.unit.enabled and systemd.catcher(host) is None:
        return "the service is disabled and not running"
    return ""


def restart_only(host: "Host") -> str:
    """Restart the daemon; what it does then is not waited for. Returns "" or why systemd refused."""
    try:
        systemd.restart(host)
    except (CatcherError, OSError) as error:
        reason = error.message if isinstance(error, CatcherError) else error.strerror or "error"
        return "the restart failed: %s" % shown(reason)
    return ""


def look(host: "Host") -> ProbeResult:
    """What answers on this host's port, over a real connection; IPv6 is tried where IPv4 has nobody."""
    found = None
    for address in ADDRESSES:
        seen = probe.probe("%s:%d" % (address, paths.PORT), timeout=LOOK_SECONDS, host=host)
        if found is None or seen.state in (result.TLS, result.TCP):
            found = seen
        if found.state not in (result.REFUSED, result.UNREACHABLE):
            break
    assert found is not None
    return found


def speaks_tls_with(sha256: str) -> "Callable[[ProbeResult], str]":
    """A condition for wait_for(): TLS, and the certificate has this hash."""

    def problem(seen: ProbeResult) -> str:
        if seen.state != result.TLS:
            return _instead(seen)
        if seen.chain[0].sha256 != sha256:
            return "it shows another certificate (SHA-256 %s...)" % seen.chain[0].sha256[:23]
        return ""

    return problem


def speaks_tcp(host: "Host") -> "Callable[[ProbeResult], str]":
    """A condition for wait_for(): it takes connections, and does not answer TLS."""

    def problem(seen: ProbeResult) -> str:
        if seen.state == result.TLS:
            return "it speaks TLS (%s)" % seen.version
        if seen.state == result.TCP:
            return ""
        if seen.state == result.TIMED_OUT and seen.address:
            # A daemon may stay silent whatever it is told; then its arguments are the evidence.
            held = holder(host)
            if held.state == CATCHER and systemd.running_mode(host, held.pid) == config.TCP:
                return ""
        return _instead(seen)

    return problem


def _instead(seen: ProbeResult) -> str:
    if seen.state == result.TCP:
        return "it speaks plain TCP"
    if seen.state in (result.REFUSED, result.UNREACHABLE):
        return "nothing listens on port %d" % paths.PORT
    return "no connection came about: %s" % shown(seen.reason)


def wait_for(host: "Host", condition: "Callable[[ProbeResult], str]") -> str:
    """Look at the port until a condition has no problem any more. Returns "", or the problem that lasted.

    condition: from what a look saw to a problem, as the end of a sentence, or "". It ends early where systemd has given
    the service up.
    """
    looks = 0
    problem = ""

    def settled() -> bool:
        nonlocal looks, problem
        looks += 1
        problem = condition(look(host))
        return not problem or (looks % LOOKS_A_STATE == 0 and systemd.has_failed(host))

    host.wait_until(settled, ANSWER_SECONDS)
    if problem:
        held = holder(host)
        if held.state == OTHER:
            problem = "port %d is held by %s (PID %s)" % (paths.PORT, held.program, held.pid)
    return problem


def restart_and_wait(host: "Host", condition: "Callable[[ProbeResult], str]") -> str:
    """Restart the daemon and wait_for() a condition. Returns "" or the problem; a restart that fails is one, too."""
    return restart_only(host) or wait_for(host, condition)
