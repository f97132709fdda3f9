"""The container engine: choose it, prepare this host for it, and call it.

podman, or docker if CONTAINER_ENGINE=docker. A program calls `prepare()` once, early in its main thread; after that
`call()` and everything in images.py and machine.py works, in that program and in its children. To run another program
prepared: `python3 -m tests.matrix.engine -- COMMAND ARGUMENTS...`

What systemd as PID 1 in a container needs, and what is done if the host does not have it:

* cgroup v2 at /sys/fs/cgroup. Hosts with hybrid hierarchies (v1 and v2) have something else there. So the program moves
  into a mount namespace of its own, and mounts cgroup v2 there. The host itself is not changed.
* limits that the engine may set. Without CAP_SYS_RESOURCE it cannot raise them, so it gets our limits.
* the pids controller. If it belongs to v1, no limit of processes is set.
* systemd on the host. Without it podman manages cgroups and logs events by itself.
* a storage driver for the file system below it: if that is overlay already, as in a container, vfs is used.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import fcntl
import functools
import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

# Every container, volume and network that the tests make is named PREFIX-PID-START-..., after the process that owns it.
PREFIX = "csulcca-test"

CGROUP_ROOT = pathlib.Path("/sys/fs/cgroup")
# The directory of podman's images, unless a configuration names another: containers-storage.conf(5).
STORAGE = pathlib.Path("/var/lib/containers/storage")
STORAGE_CONFIGURATION = ("/etc/containers/storage.conf", "/usr/share/containers/storage.conf")
NETNS_DIRECTORY = pathlib.Path("/run/netns")
CLONE_NEWNS = 0x00020000  # unshare(2)
CAP_SYS_RESOURCE = 24  # capabilities(7)
COMMAND_TIMEOUT_S = 300
# The package of each engine, for apt and for dnf.
PACKAGES = {"podman": ("podman", "podman"), "docker": ("docker.io", "moby-engine")}
FULL_DISK_HINT = ("make room (df -h shows where); python3 -m tests.matrix.images prune   "
                  "(removes images that no system needs any more)")  # fmt: skip


class MatrixError(Exception):
    """An expected failure: what is wrong in one line, and `hint`: what to type, in one line."""

    def __init__(self, message: str, hint: str = "") -> None:
        """Keep both lines; str() returns both."""
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        """Both lines."""
        return self.args[0] + ("\nhint: " + self.hint if self.hint else "")


class EngineError(MatrixError):
    """The engine is missing, cannot be used here, or refused a call."""


@dataclasses.dataclass(frozen=True)
class Engine:
    """How to call the engine on this host."""

    program: str
    """`podman` or `docker`."""
    options: tuple[str, ...]
    """Options before the verb, for every call."""
    run_options: tuple[str, ...]
    """Options of `run` that this host needs."""

    @property
    def is_docker(self) -> bool:
        """Whether this is docker, whose daemon is outside of our namespace."""
        return self.program == "docker"


def prepare() -> Engine:
    """Make this process, and what it starts from now on, able to run containers with systemd as PID 1.

    Moves the process into its own mount namespace if the host's cgroups need it; turns SIGTERM into SystemExit, so that
    machines are removed; removes machines and networks whose owner has died. A second call does nothing. Raises
    EngineError if there is no engine, or if it cannot work here.
    """
    if os.geteuid() != 0:
        raise EngineError("containers with systemd as PID 1 need root", "run the same command with sudo")
    program = wanted_program()
    if shutil.which(program) is None:
        raise EngineError(f"{program} is not installed",
                          "apt-get install {}   or: dnf install {}".format(*PACKAGES[program]))  # fmt: skip
    if not has_cgroup2():
        if program == "docker":
            raise EngineError("docker needs a host with cgroup v2 only", "use podman: CONTAINER_ENGINE=podman")
        enter_cgroup2_namespace()
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    engine = current()
    sweep()
    return engine


def wanted_program() -> str:
    """`podman`, or what CONTAINER_ENGINE says; raises EngineError for anything but podman and docker."""
    program = os.environ.get("CONTAINER_ENGINE") or "podman"
    if program not in PACKAGES:
        raise EngineError(f"CONTAINER_ENGINE={program} is not known", "set it to podman or docker, or unset it")
    return program


def has_cgroup2() -> bool:
    """Whether cgroup v2, and not only a tmpfs with v1 hierarchies in it, is at /sys/fs/cgroup."""
    return (CGROUP_ROOT / "cgroup.controllers").exists()


def enter_cgroup2_namespace() -> None:
    """Move into a private mount namespace with cgroup v2 at /sys/fs/cgroup; raises EngineError if that fails."""
    if threading.active_count() > 1:
        # Other threads would stay in the old namespace, and so would every container that they start.
        raise EngineError("prepare() must be called before any thread is started")
    share_network_namespaces()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise EngineError(f"no private mount namespace: {os.strerror(ctypes.get_errno())}",
                          "run it as root of the machine, not of a user namespace")  # fmt: skip
    # From here on, only mounts below /sys are private. The host and other programs see all other mounts.
    mount("mount", "--make-rprivate", "/sys")
    mount("umount", "--recursive", str(CGROUP_ROOT))
    mount("mount", "-t", "cgroup2", "cgroup2", str(CGROUP_ROOT))


def share_network_namespaces() -> None:
    """Make the network namespaces of containers, which are mounts, visible to every program that uses the engine.

    Without it `podman ps` fails in one program while another one has a machine on a network. `ip netns add` does the
    same to this directory.
    """
    NETNS_DIRECTORY.mkdir(parents=True, exist_ok=True)
    with open(NETNS_DIRECTORY.with_name(PREFIX + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if str(NETNS_DIRECTORY) not in mount_points():
            mount("mount", "--bind", str(NETNS_DIRECTORY), str(NETNS_DIRECTORY))
        mount("mount", "--make-shared", str(NETNS_DIRECTORY))


def mount_points() -> set[str]:
    """Every mount point of this namespace. (os.path.ismount() does not see a directory that is bound on itself.)"""
    return {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}


def mount(*command: str) -> None:
    """Run mount(8) or umount(8). Raises EngineError with its message."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    if done.returncode:
        raise EngineError(f"`{' '.join(command)}` failed: {last_line(done.stderr)}",
                          "use a host with cgroup v2 only (systemd.unified_cgroup_hierarchy=1)")  # fmt: skip


@functools.cache
def current() -> Engine:
    """The engine, with the options that this host needs. Raises EngineError if prepare() has not been called, or if the
    engine does not work."""
    program = wanted_program()
    if program == "docker":
        engine = Engine(program, (), ())
    else:
        if not has_cgroup2():
            # Python 3.9 has no sys.orig_argv.
            typed = ["python3 -m tests.matrix.engine --", *getattr(sys, "orig_argv", sys.argv)]
            raise EngineError("the process is not prepared for containers", " ".join(typed))
        engine = Engine(program, podman_options(), podman_run_options())
    # `ps` opens the storage; `info` may succeed without.
    done = subprocess.run([program, *engine.options, "ps"], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S)
    if done.returncode:
        raise EngineError(f"{program} does not work here: {last_line(done.stderr)}", f"see what `{program} ps` says")
    return engine


def podman_options() -> tuple[str, ...]:
    """Options before the verb, for what the host does not have."""
    found: list[str] = []
    if not os.path.isdir("/run/systemd/system"):
        # There is no systemd to ask for a slice, and no journal to log to.
        found += ["--cgroup-manager=cgroupfs", "--events-backend=file"]
    if file_system_of(STORAGE) == "overlay" and not any(map(os.path.exists, STORAGE_CONFIGURATION)):
        # The kernel does not stack overlay on overlay. We use a separate storage, because podman notes its first driver
        # in the usual one, and then refuses every other driver.
        found += ["--storage-driver=vfs", f"--root={STORAGE}-{PREFIX}", f"--runroot=/run/{PREFIX}"]
    return tuple(found)


def file_system_of(path: pathlib.Path) -> str:
    """The type of the file system that the path is on, or will be on once it exists, as in /proc/self/mountinfo."""
    types = {}
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        types[before.split()[4]] = after.split()[0]
    return next(types[str(place)] for place in (path, *path.parents) if str(place) in types)


def podman_run_options() -> tuple[str, ...]:
    """Options of `run` for what this process may not do, or what its cgroup v2 does not have."""
    # The host's proxy settings are for building images, and must not reach a test.
    found = ["--http-proxy=false"]
    if not has_capability(CAP_SYS_RESOURCE):
        # Some versions of podman lower their own limit of processes before they start anything: stay below it.
        processes = min(4096, resource.getrlimit(resource.RLIMIT_NPROC)[1])
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        found += [f"--ulimit=nproc={processes}:{processes}", f"--ulimit=nofile={min(1024, files)}:{files}"]
    if "pids" not in (CGROUP_ROOT / "cgroup.controllers").read_text().split():
        found.append("--pids-limit=0")
    return tuple(found)


def has_capability(number: int) -> bool:
    """Whether this process has the capability in its effective set, by /proc/self/status (see proc(5))."""
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> number & 1)
    return False


def argv(*arguments: str) -> list[str]:
    """The whole command line of an engine call, for a caller that runs it itself (for example an interactive shell)."""
    engine = current()
    return [engine.program, *engine.options, *arguments]


def call(*arguments: str, timeout: float = COMMAND_TIMEOUT_S) -> str:
    """Standard output of an engine call, without the last newline. Raises EngineError with its error text if it
    fails."""
    done = attempt(*arguments, timeout=timeout)
    if done.returncode:
        hint = FULL_DISK_HINT if os.strerror(errno.ENOSPC).lower() in done.stderr.lower() else ""
        raise EngineError(f"{current().program} {arguments[0]} failed: {done.stderr.strip()}", hint)
    return done.stdout.rstrip("\n")


def attempt(*arguments: str, timeout: float = COMMAND_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
    """An engine call that may fail; the caller looks at returncode. Raises EngineError if it takes too long."""
    try:
        return subprocess.run(argv(*arguments), capture_output=True, text=True, errors="replace",
                              stdin=subprocess.DEVNULL, timeout=timeout)  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"{current().program} {arguments[0]} did not end within {timeout:g} s") from error


def inspect(kind: str, name: str) -> dict:
    """The output of `inspect` for a `container`, `image` or `network`. Raises EngineError if it does not exist."""
    return json.loads(call(kind, "inspect", name))[0]


def image_exists(reference: str) -> bool:
    """Whether the image is in the engine's own storage; nothing is pulled."""
    return attempt("image", "inspect", reference).returncode == 0


def owned_name(suffix: str) -> str:
    """A name for a container, volume or network that says which process owns it: PREFIX-PID-START-SUFFIX."""
    pid = os.getpid()
    return f"{PREFIX}-{pid}-{start_time(pid)}-{suffix}"


def start_time(pid: int) -> str:
    """When the process was started, in clock ticks after boot (field 22 of /proc/PID/stat), or "" if there is no such
    process."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    # The second field is the command in parentheses, and may contain blanks.
    return stat.rpartition(")")[2].split()[19]


def sweep() -> None:
    """Remove the machines, volumes and networks of processes that died before they could remove them (kill -9)."""
    for listing, removing in ((("ps", "-a", "--format={{.Names}}"), ("rm", "-f", "-v")),
                              (("volume", "ls", "--format={{.Name}}"), ("volume", "rm")),
                              (("network", "ls", "--format={{.Name}}"), ("network", "rm"))):  # fmt: skip
        stale = [name for name in call(*listing).split() if is_stale(name)]
        if stale:
            # Another process may clean up at the same time: it is no failure if something is gone already.
            attempt(*removing, *stale)


def is_stale(name: str) -> bool:
    """Whether the name is from owned_name(), and its process has ended."""
    found = re.match(re.escape(PREFIX) + r"-(\d+)-(\d+)-", name)
    return found is not None and start_time(int(found[1])) != found[2]


def last_line(text: str) -> str:
    """The last line that is not empty, for a one-line error."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "(it said nothing)")


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """For a program's outermost layer: print an expected error as two lines, without a traceback, and exit with 1."""
    try:
        yield
    except MatrixError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        # The reader has seen enough (`| head`). What is still buffered is dropped when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        print(f"error: {error.strerror}: {error.filename or 'where this writes'}\nhint: {FULL_DISK_HINT}",
              file=sys.stderr)
        sys.exit(1)
    except subprocess.CalledProcessError as error:
        # Most likely a build, which has printed what is wrong.
        said = last_line(error.stderr) if isinstance(error.stderr, str) else "what it said is above"
        print(f"error: {error.cmd[0]} failed with exit status {error.returncode}: {said}\n"
              f"hint: to try it alone: {shlex.join(map(str, error.cmd))}", file=sys.stderr)  # fmt: skip
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def main(arguments: list[str]) -> None:
    """`python3 -m tests.matrix.engine -- COMMAND...`: run the command prepared; alone: say how the engine is called."""
    command = arguments[1:] if arguments[:1] == ["--"] else arguments
    with plain_errors():
        # Report what would stop the command before anything runs.
        from tests.matrix import images

        images.cells()
        engine = prepare()
        if not command:
            print(" ".join(["engine:", *argv("run", *engine.run_options, "...")]))
            return
        if shutil.which(command[0]) is None:
            raise EngineError(f"{command[0]}: no such command")
    # exec keeps the default handlers for SIGTERM: the command brings its own.
    os.execvp(command[0], command)


if __name__ == "__main__":
    # Use the module that the others import: the errors that they raise are of its classes.
    from tests.matrix import engine

    engine.main(sys.argv[1:])
