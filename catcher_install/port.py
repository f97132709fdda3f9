"""The catcher's port: find out who has it, report if that is not the catcher, and wait until the catcher has it."""

from . import reference, systemd
from .errors import CatcherError
from .messages import finding, text
from .record import Record
from .text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional

    from .host import Host
    from .messages import Finding
    from .sockets import TcpSocket

# Who has the port. CLOSING: only closed connections, which the kernel keeps for about a minute.
CATCHER = "catcher"
OTHER = "other"
UNKNOWN = "unknown"
CLOSING = "closing"
NOBODY = "none"

# A catcher listens well within a second after exec, on an emulated s390x within a few.
START_SECONDS = 20
# A call of systemctl costs more than a look at the port, so it is made at every 25th look: twice a second.
LOOKS_A_STATE = 25

# A daemon accepts a connection at once, and a tracer suspends it only briefly.
HUNG_SECONDS = 2


class Holder(Record):
    """Who has the catcher's port.

    state: CATCHER, OTHER, UNKNOWN (somebody; only root may see who), CLOSING or NOBODY.
    pid: of the process, or None. program: its name, "" if unknown. addresses: local ones, e.g. "0.0.0.0" or "::".
    listens: it listens; else the port belongs to an outgoing connection.
    beside: name and PID of another program that listens on the same port at another address, as text; "" if none does.
    """

    __slots__ = ("state", "pid", "program", "addresses", "listens", "beside")
    state: str
    pid: "Optional[int]"
    program: str
    addresses: "List[str]"
    listens: bool
    beside: str


def holder(host: "Host") -> Holder:
    """Return who has the port now, on the addresses where the catcher listens."""
    catcher = systemd.catcher(host)
    # A drop-in may give the catcher a network of its own.
    sockets = _in_the_way(host, host.tcp_sockets(reference.port(host, catcher), catcher or 1), catcher)
    # A socket without an inode belongs to no process any more.
    taken = [one for one in sockets if one.listens] or [one for one in sockets if one.inode]
    owners = [host.socket_owner(one.inode, catcher) for one in taken]
    listens = any(one.listens for one in taken)
    own = [catcher is not None and pid is not None and systemd.is_of_catcher(host, pid, catcher) for pid in owners]
    ours = [one for one, mine in zip(taken, own) if mine]
    strangers = [pid for pid, mine in zip(owners, own) if pid is not None and not mine]
    if not taken or (ours and not listens):
        # The last connections of a daemon that is ending do no harm.
        state = CLOSING if sockets and not ours else NOBODY
        addresses = sorted({one.address for one in sockets}) if state == CLOSING else []
        return Holder(state=state, pid=None, program="", addresses=addresses, listens=False, beside="")
    pid = catcher if ours else strangers[0] if strangers else None
    beside = "%s (PID %d)" % (_program(host, strangers[0]), strangers[0]) if ours and strangers else ""
    return Holder(
        state=UNKNOWN if pid is None else CATCHER if ours else OTHER,
        pid=pid,
        program="" if pid is None else _program(host, pid),
        addresses=sorted({one.address for one in ours or taken}),
        listens=listens,
        beside=beside,
    )


def out_of_sight(catcher: "Optional[int]") -> Holder:
    """Return what is known if only root may read the number of the port. catcher: the catcher's PID, or None."""
    return Holder(state=NOBODY if catcher is None else UNKNOWN, pid=None, program="", addresses=[],
                  listens=catcher is not None, beside="")


def _in_the_way(host: "Host", sockets: "List[TcpSocket]", catcher: "Optional[int]") -> "List[TcpSocket]":
    """Return those sockets that are the catcher's, or are on an address where it listens or should listen."""
    wanted = reference.addresses(host)
    if wanted == reference.EVERYWHERE:
        return sockets

    def is_own(one: "TcpSocket") -> bool:
        return bool(catcher is not None and one.inode and host.socket_owner(one.inode, catcher) == catcher)

    def may_be_had(address: str) -> bool:
        # An address that the catcher has cannot be bound again, and nobody else has it.
        return any(one.listens and one.address in (address, "0.0.0.0") and is_own(one) for one in sockets) or (
            host.can_bind(reference.port(host), [address]))

    return [one for one in sockets if any(_overlap(one.address, own, may_be_had) for own in wanted) or is_own(one)]


def _overlap(held: str, wanted: str, may_be_had: "Callable[[str], bool]") -> bool:
    """Return whether a socket on the address *held* keeps the port from the address *wanted*. may_be_had: tells whether
    an address can be bound."""
    if (":" in held) == (":" in wanted):
        return held == wanted or wanted in reference.EVERYWHERE or held in reference.EVERYWHERE
    # A socket on "::" has all IPv4 addresses, too, unless it sets IPV6_V6ONLY.
    return held == "::" and not may_be_had(wanted)


def _program(host: "Host", pid: int) -> str:
    return shown(host.program_name(pid), 40)


def problem(host: "Host", held: Holder) -> "Optional[Finding]":
    """Return the finding of what keeps the catcher from its port on some or all addresses; None if nothing does."""
    port = str(reference.port(host))
    if held.state == OTHER:
        id = "port-taken" if held.listens else "port-taken-outgoing"
        return finding(id, port=port, program=held.program, pid=str(held.pid))
    if held.state == CLOSING and _is_start_held_up(host):
        return finding("port-closing", port=port)
    return finding("port-shared", port=port, other=held.beside) if held.beside else None


def hung(host: "Host", held: Holder, pid: "Optional[int]") -> "Optional[Finding]":
    """Return the finding of a catcher that listens and cannot answer, as far as the kernel shows that; else None.

    pid: of the catcher, or None. No connection is made. Waits up to HUNG_SECONDS for each sign to pass.
    """
    if pid is None or not held.listens or held.state not in (CATCHER, UNKNOWN):
        return None
    if not host.wait_until(lambda: not host.is_suspended(pid), HUNG_SECONDS):
        return finding("catcher-suspended", pid=str(pid))

    def takes_all() -> bool:
        sockets = host.tcp_sockets(reference.port(host, pid), pid)
        return not any(one.waits and one.address in held.addresses for one in sockets)

    if held.state == CATCHER and not host.wait_until(takes_all, HUNG_SECONDS):
        return finding("connections-waiting", pid=str(pid))
    return None


def _is_start_held_up(host: "Host") -> bool:
    """Return whether a start waits for the port, or systemd will try again: the catcher then starts by itself. Closed
    connections do not keep the port from a daemon with SO_REUSEADDR if the previous daemon had set it, too."""
    service = systemd.service(host)
    again = service.sub == "auto-restart"
    if again and not reference.is_installed(host):
        # It is not known whether IBM's daemon sets SO_REUSEADDR.
        return True
    # The control script waits until it can bind the port: the main process is not the daemon yet.
    starts = service.state in ("active", "activating") and service.main_pid is not None
    return (again or starts and systemd.catcher(host) is None) and not host.can_bind(
        reference.port(host), reference.addresses(host))


def wait_for_catcher(host: "Host") -> None:
    """Wait until the catcher has the port after a start. Raises CatcherError as soon as it is clear that it will not
    have it, after START_SECONDS at the latest; with a finding if another program has the port."""
    looks = 0

    def settled() -> bool:
        nonlocal looks
        looks += 1
        listens = _is_taken(host)
        if listens or looks % LOOKS_A_STATE == 0:
            return _require_free(host) or listens
        return False

    if not host.wait_until(settled, START_SECONDS):
        raise CatcherError("it does not listen on port %d after %d seconds" % (reference.port(host), START_SECONDS))


def _is_taken(host: "Host") -> bool:
    """Return whether anybody listens where the catcher does, or should."""
    return host.is_listening(reference.port(host)) and (
        reference.addresses(host) == reference.EVERYWHERE or holder(host).listens)


def _require_free(host: "Host") -> bool:
    """Return whether the catcher has the port. Raises CatcherError if it cannot have it, or has ended."""
    held = holder(host)
    taken = problem(host, held)
    if taken is not None and held.state != CATCHER:
        error = CatcherError(text(taken))
        error.finding = taken
        raise error
    service = systemd.service(host)
    if held.state != CATCHER and (service.state in ("failed", "inactive") or service.sub == "auto-restart"):
        raise CatcherError("it stopped again immediately (see journalctl -u CSUTKEcat)")
    return held.state == CATCHER and held.listens


def is_starting(host: "Host") -> bool:
    """Return whether the service has just been started, so it is no finding that it does not have its port yet."""
    service = systemd.service(host)
    if service.state not in ("active", "activating", "reloading") or service.sub in ("auto-restart", "exited"):
        return False
    if service.sub == "start-pre":
        return True
    return service.main_pid is not None and host.uptime() - service.started < START_SECONDS


def wait_for_start(host: "Host") -> None:
    """Wait until a service that has just been started has its port. Returns at once if it was not just started."""
    if not host.is_booted() or _is_taken(host) or not is_starting(host) or holder(host).state == OTHER:
        return
    looks = 0

    def settled() -> bool:
        nonlocal looks
        looks += 1
        return _is_taken(host) or (looks % LOOKS_A_STATE == 0 and not is_starting(host))

    host.wait_until(settled, START_SECONDS)
