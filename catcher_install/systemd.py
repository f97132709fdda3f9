"""systemd and the catcher under it: every call of systemctl, the service's state, which process is the catcher.

Imported only by a run that has something to ask: a daemon start has nothing.
"""

from . import config, paths
from .errors import CatcherError
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

    from .host import Host

# Where systemctl is: the second place on systems that have not merged /bin into /usr.
PROGRAMS = ("/usr/bin/systemctl", "/bin/systemctl")
# Seconds for an answer, and for a change of the service.
ASK_SECONDS = 30
CHANGE_SECONDS = 120
START_SECONDS = 30
# What stands before a script in a command line, and before a program of another architecture.
INTERPRETERS = ("sh", "dash", "bash", "python", "platform-python", "qemu-")


def program(host: "Host") -> str:
    """The path of systemctl; "" if there is none."""
    return next((path for path in PROGRAMS if host.lexists(path)), "")


def call(host: "Host", *arguments: str, timeout: float = CHANGE_SECONDS) -> str:
    """Run systemctl and return what it prints; "" on a host without systemctl, which has nothing to do.

    timeout: seconds. Raises CatcherError if systemctl fails, with the line of its output that says why; OSError if it
    cannot be run; TimeoutError if it does not end in time.
    """
    systemctl = program(host)
    if not systemctl:
        return ""
    status, output = host.run([systemctl] + list(arguments), timeout=timeout)
    text = output.decode("utf-8", "replace")
    if status != 0:
        lines = text.strip().splitlines() or ["exit status %d" % status]
        # Behind "Job for ... failed because ..." there is only where to read on.
        raise CatcherError(next((line for line in lines if line.startswith("Job for ")), lines[-1]))
    return text


def start(host: "Host") -> None:
    """Start the catcher for the first time. Raises CatcherError if systemd cannot.

    A start may wait for other units, such as a network-online.target that never comes: after START_SECONDS that raises
    TimeoutError, and systemd goes on by itself.
    """
    call(host, "start", paths.UNIT, timeout=START_SECONDS)


def restart(host: "Host", verb: str = "restart") -> None:
    """Restart the catcher. Raises CatcherError if systemd cannot.

    verb: "restart", or "try-restart", which does nothing if the catcher does not run. Does not wait for the units that
    the catcher waits for at boot, such as network-online.target: the host is up.
    """
    call(host, verb, "--job-mode=ignore-dependencies", paths.UNIT)


def show(host: "Host", *properties: str) -> "Dict[str, str]":
    """Properties of the catcher's unit as systemd has it now (systemctl(1), show); empty if systemd cannot be asked."""
    names = [word for name in properties for word in ("-p", name)]
    try:
        said = call(host, "show", *(names + [paths.UNIT]), timeout=ASK_SECONDS)
    except (CatcherError, OSError):
        return {}
    return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)


class Service(Record):
    """The catcher's service as systemd has it now.

    state: "active", "activating", "inactive", "failed" ... (systemd's ActiveState); "" if systemd cannot be asked.
    sub: systemd's SubState, e.g. "running" or "auto-restart". main_pid: of its main process, or None.
    started: seconds after boot when that was executed; 0.0 if it never was.
    """

    __slots__ = ("state", "sub", "main_pid", "started")
    state: str
    sub: str
    main_pid: "Optional[int]"
    started: float


def service(host: "Host") -> Service:
    """Ask systemd for the service's state."""
    said = show(host, "ActiveState", "SubState", "MainPID", "ExecMainStartTimestampMonotonic")
    started = said.get("ExecMainStartTimestampMonotonic", "")
    return Service(
        state=said.get("ActiveState", ""), sub=said.get("SubState", ""), main_pid=_main_pid(said) or None,
        started=int(started) / 1e6 if started.isdigit() else 0.0,
    )


def _main_pid(said: "Dict[str, str]") -> "Optional[int]":
    """PID of the unit's main process, 0 if it has none; None if systemd could not be asked."""
    main = said.get("MainPID", "")
    return int(main) if main.isdigit() else None


def is_unit_current(host: "Host") -> bool:
    """Whether systemd has the unit as it is on disk: then a reload, which can take longer than making the pair, would
    bring nothing. Before version 242 systemd finds a new unit only after a reload."""
    said = show(host, "LoadState", "NeedDaemonReload")
    return said.get("LoadState") == "loaded" and said.get("NeedDaemonReload") == "no"


def has_failed(host: "Host") -> bool:
    """Whether systemd has given the service up; it does not try to start it again."""
    if not program(host):
        return False
    try:
        call(host, "is-failed", "--quiet", paths.UNIT, timeout=ASK_SECONDS)
    except (CatcherError, OSError):
        return False
    return True


def catcher(host: "Host") -> "Optional[int]":
    """PID of the catcher; None if it does not run.

    That is the main process of the unit, as soon as it runs the daemon's program. The main process may be another
    program that stays (an ExecStart= in a drop-in that pipes the daemon's output, or Type=forking), or there is none
    (an init script of CCA 7.x): then it is the process in the unit's control group, where root alone puts a process. If
    systemd does not run here or cannot be asked, it is a process of root, not of a container, that runs that program:
    what a process of another user says of itself proves nothing. If only root can see what the main process is, it
    counts.
    """
    said = show(host, "MainPID", "ControlGroup") if host.is_booted() else {}
    main, group = _main_pid(said), said.get("ControlGroup", "")
    if main and (runs_catcher(host.command_line(main)) or host.is_hidden(main)):
        return main
    for pid in host.pids() if main is None or group else []:
        if runs_catcher(host.command_line(pid)) and host.is_root_process(pid) and (
                main is None or group in host.control_groups(pid)):
            return pid
    return None


def is_of_catcher(host: "Host", pid: int, catcher: int) -> bool:
    """Whether a process is the catcher or a child of it: the service's control group has no others."""
    if pid == catcher:
        return True
    groups = host.control_groups(catcher) if host.is_booted() else []
    return any(one.endswith("/" + paths.UNIT) and one in groups for one in host.control_groups(pid))


def runs_catcher(words: "List[str]") -> bool:
    """Whether a command line is the daemon's, by itself or behind an interpreter. An editor's, say, is not."""
    if words[:1] == [paths.CATCHER]:
        return True
    return paths.CATCHER in words[1:4] and words[0].rpartition("/")[2].startswith(INTERPRETERS)


def running_mode(host: "Host", pid: "Optional[int]") -> "Optional[str]":
    """The mode in which the catcher with this PID runs: config.TLS or config.TCP; None if there is no process, or if
    only root can see its mode."""
    words = host.command_line(pid) if pid is not None else []
    if not words:
        return None
    return config.TLS if "-tls" in words else config.TCP
