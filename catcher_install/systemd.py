"""systemd and the catcher under it: every call of systemctl, the service's state, which process is the catcher.

Only runs that ask systemd something import it. A daemon start usually does not.
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
# Programs that run a script or a program of another architecture, as they begin in a command line.
INTERPRETERS = ("sh", "dash", "bash", "python", "platform-python", "qemu-")


def program(host: "Host") -> str:
    """Return the path of systemctl; "" if there is none."""
    return next((path for path in PROGRAMS if host.lexists(path)), "")


def call(host: "Host", *arguments: str, timeout: float = CHANGE_SECONDS) -> str:
    """Run systemctl and return what it prints. Does nothing and returns "" on a host without systemctl.

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
        # The lines after "Job for ... failed because ..." only say where to read more.
        raise CatcherError(next((line for line in lines if line.startswith("Job for ")), lines[-1]))
    return text


def start(host: "Host") -> None:
    """Start the catcher for the first time. Raises CatcherError if systemd cannot.

    The start may wait for other units, for example for a network-online.target that is never reached. After
    START_SECONDS this raises TimeoutError, and systemd goes on by itself.
    """
    call(host, "start", paths.UNIT, timeout=START_SECONDS)


def restart(host: "Host", verb: str = "restart") -> None:
    """Restart the catcher. Raises CatcherError if systemd cannot.

    verb: "restart", or "try-restart", which does nothing if the catcher does not run. Units that the catcher waits for
    at boot, e.g. network-online.target, are not waited for.
    """
    call(host, verb, "--job-mode=ignore-dependencies", paths.UNIT)


def show(host: "Host", *properties: str) -> "Dict[str, str]":
    """Return properties of the catcher's unit, as ``systemctl show`` prints them; none if systemd cannot be asked."""
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
    """Return the PID of the unit's main process, 0 if it has none; None if systemd could not be asked."""
    main = said.get("MainPID", "")
    return int(main) if main.isdigit() else None


def is_unit_current(host: "Host") -> bool:
    """Return whether systemd has loaded the unit as it is on disk. Then no reload is needed, which can take longer than
    making the pair. Before version 242, systemd finds a new unit only after a reload."""
    said = show(host, "LoadState", "NeedDaemonReload")
    return said.get("LoadState") == "loaded" and said.get("NeedDaemonReload") == "no"


def has_failed(host: "Host") -> bool:
    """Return whether the service has failed and systemd does not try to start it again."""
    if not program(host):
        return False
    try:
        call(host, "is-failed", "--quiet", paths.UNIT, timeout=ASK_SECONDS)
    except (CatcherError, OSError):
        return False
    return True


def catcher(host: "Host") -> "Optional[int]":
    """Return the PID of the catcher; None if it does not run.

    Usually that is the unit's main process. If only root can see its command line, it counts as the catcher.

    The main process may be another program (Type=forking, or a drop-in whose ExecStart= pipes the daemon's output), or
    there may be none (an init script of CCA 7.x). Then it is root's process in the unit's control group that runs the
    daemon's program.

    If systemd does not run or cannot be asked, it is a process of root's, outside of containers, that runs that
    program. A process of another user is never believed.
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
    """Return whether a process is the catcher or a child of it: the service's control group has no other processes."""
    if pid == catcher:
        return True
    groups = host.control_groups(catcher) if host.is_booted() else []
    return any(one.endswith("/" + paths.UNIT) and one in groups for one in host.control_groups(pid))


def runs_catcher(words: "List[str]") -> bool:
    """Return whether a command line runs the daemon, itself or by an interpreter; an editor with its path does not."""
    if words[:1] == [paths.CATCHER]:
        return True
    return paths.CATCHER in words[1:4] and words[0].rpartition("/")[2].startswith(INTERPRETERS)


def running_mode(host: "Host", pid: "Optional[int]") -> "Optional[str]":
    """Return the mode in which the catcher with this PID runs, config.TLS or config.TCP; None if there is no process,
    or if only root can see its mode."""
    words = host.command_line(pid) if pid is not None else []
    if not words:
        return None
    return config.TLS if "-tls" in words else config.TCP
