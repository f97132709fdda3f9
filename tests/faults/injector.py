"""Kill a program at the k-th call of a name, or let that call fail, with seccomp's user notification.

strace stops a program at every call, so thousands of points take hours. Here the kernel lets all calls pass except
those of one name. It asks us about these: at the right number we kill the process, or answer with an error. Calls are
counted as strace does, for each process separately. Processes are told apart, so that a fault can hit a child alone.
See seccomp_unotify(2).

    with Injector() as injector:
        ended = injector.inject(installed, state, ("/usr/bin/openssl", "version"), At("read", 3, 1, "EIO"))

An Injector is a separate process, because it forks: `python -m tests.faults.injector` reads one request on each line.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import mmap
import os
import pathlib
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from tests.faults import programs

# linux/seccomp.h: the two requests to the kernel, their data, and the flag that lets a call continue normally.
RECEIVE, RECEIVED = 0xC0502100, struct.Struct("=QIIiIQ6Q")
ANSWER, ANSWERED = 0xC0182101, struct.Struct("=QqiI")
GO_ON = 1
# From kernel 6.6 on: the process that asks and the one that answers share a processor, which halves the time of a
# question.
SET_FLAGS, SAME_PROCESSOR = 0x40082104, 1
# seccomp.h of libseccomp.
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
NEW_MOUNTS, PRIVATE = 0x20000, 0x4000 | 0x40000
PIDFD_GETFD = 438
# No program that is swept ends with this status.
NOT_BEGUN = 125
OUTPUT_AT_MOST = 65536

libc = ctypes.CDLL(None, use_errno=True)


class At(NamedTuple):
    """The place of a fault: the call with this number, made by the process-th process that makes calls of this name;
    both count from 1. error: the error of that call; "" kills the process. last: the number of the last call that
    fails; 0: all calls from this one on."""

    call: str
    number: int
    process: int
    error: str = ""
    last: int = 0


class Met(NamedTuple):
    """How a run with a fault ended: whether the fault took place, and the fields of programs.Ended."""

    met: bool
    status: int | None
    output: str


class NotBegun(Exception):
    """A program could not be started."""


class Injector:
    """A process that kills programs or lets their calls fail; one request at a time."""

    def __enter__(self) -> "Injector":
        """Start it."""
        self._process = subprocess.Popen([sys.executable, "-m", "tests.faults.injector"], cwd=programs.TREE,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        """End it."""
        self._process.communicate(timeout=programs.TIMEOUT_S)

    def inject(self, installed: pathlib.Path, state: pathlib.Path, command: Sequence[str], at: At) -> Met:
        """Run a command as programs.run() does, with a fault. Raises NotBegun."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps([str(installed), str(state), command, at]), file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        if isinstance(answer, str):
            raise NotBegun(answer)
        return Met(*answer)


# -- in that process ---------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests until there are none."""
    for line in sys.stdin:
        installed, state, command, at = json.loads(line)
        try:
            answer: Met | str = with_fault(installed, state, command, At(*at))
        except (NotBegun, OSError) as error:
            answer = str(error)
        print(json.dumps(answer), flush=True)


def with_fault(installed: str, state: str, command: list[str], at: At) -> Met:
    """What Injector.inject() returns, or raises."""
    programs.make_room(pathlib.Path(state))
    environment = programs.environment(installed, state)
    # We set this when the child may continue. It is shared memory, because any call that waits might be the watched
    # one.
    go_on = mmap.mmap(-1, 1)
    output = os.memfd_create("output")
    child = os.fork()
    if child == 0:
        try:
            begin(command, environment, at.call, go_on, output)
        except (OSError, subprocess.CalledProcessError) as error:
            print(error, file=sys.stderr, flush=True)
        finally:
            os._exit(NOT_BEGUN)
    try:
        listener, theirs = taken_from(child)
        go_on[0] = 1
        try:
            met, status = watch(listener, theirs, child, at)
        finally:
            os.close(listener)
        if status == NOT_BEGUN:
            raise NotBegun("it did not begin")
        return Met(met, status, os.pread(output, OUTPUT_AT_MOST, 0).decode("utf-8", "replace"))
    except (NotBegun, OSError):
        end(child)
        raise
    finally:
        os.close(output)
        go_on.close()


def end(child: int) -> None:
    """Kill a child and everything that it started, and wait for it, unless that was done already."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)


def begin(command: list[str], environment: dict[str, str], call: str, go_on: mmap.mmap, output: int) -> None:
    """Become the command, in a separate namespace and with a listener for its calls."""
    os.setsid()
    if libc.unshare(NEW_MOUNTS) or libc.mount(None, b"/", None, PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no mount namespace")
    subprocess.run(["sh", "-c", programs.MOUNTS], env=environment, check=True)
    os.chdir("/")
    os.umask(0)
    # Python ignores them.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ALLOW)))
    watched = library.seccomp_syscall_resolve_name(call.encode())
    if library.seccomp_rule_add_array(context, ctypes.c_uint32(NOTIFY), watched, 0, None):
        raise OSError(errno.ENOSYS, f"no call {call}")
    for mine, standard in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(mine, standard)
    if library.seccomp_load(context):
        return
    while not go_on[0]:
        pass
    os.execve(command[0], command, environment)


def is_listener(path: str) -> bool:
    """Whether an entry of /proc/PID/fd is the listener of a filter; not, if it was closed meanwhile."""
    try:
        return os.readlink(path) == "anon_inode:seccomp notify"
    except FileNotFoundError:
        return False


def taken_from(child: int) -> tuple[int, str]:
    """The child's listener: our own descriptor for it, and the path of the child's descriptor, which an execve
    closes."""
    pidfd = os.pidfd_open(child)
    deadline = time.monotonic() + programs.TIMEOUT_S
    directory = f"/proc/{child}/fd"
    try:
        while time.monotonic() < deadline:
            for name in os.listdir(directory):
                path = f"{directory}/{name}"
                if is_listener(path):
                    ours: int = libc.syscall(PIDFD_GETFD, pidfd, int(name), 0)
                    if ours < 0:
                        raise OSError(ctypes.get_errno(), "no listener")
                    return ours, path
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
    finally:
        os.close(pidfd)
    raise NotBegun("it did not begin")


def watch(listener: int, theirs: str, child: int, at: At) -> tuple[bool, int | None]:
    """Let every watched call pass except the given ones. Returns whether one was met, and the child's status as in
    subprocess.

    listener, theirs: of taken_from(). The status is None if not all processes ended in time; then they are killed.
    """
    with contextlib.suppress(OSError):
        fcntl.ioctl(listener, SET_FLAGS, SAME_PROCESSOR)
    # By process id, in the order of their first watched call. The execve with which the child begins is the first of
    # all; strace shows it too.
    counts = {child: 1} if at.call == "execve" else {}
    begun = met = waited = False
    status: int | None = None
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    # Before kernel 6.11 the listener stays until the last process has been waited for.
    ended = os.pidfd_open(child)
    poll.register(ended, select.POLLIN)
    deadline = time.monotonic() + programs.TIMEOUT_S
    while time.monotonic() < deadline:
        happened = dict(poll.poll(1000 * programs.TIMEOUT_S))
        last = not happened.get(listener, select.POLLIN) & select.POLLIN
        if not waited and (last or ended in happened):
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            poll.unregister(ended)
            os.close(ended)
            waited = True
        if last:
            # None of them is there any more.
            return met, status
        if listener not in happened:
            continue
        asked = bytearray(RECEIVED.size)
        try:
            fcntl.ioctl(listener, RECEIVE, asked)
        except FileNotFoundError:
            # It was killed meanwhile.
            continue
        key, pid = RECEIVED.unpack(asked)[:2]
        # Until its execve the child is a copy of us.
        begun = begun or not is_listener(theirs)
        error = 0
        if begun:
            counts[pid] = counts.get(pid, 0) + 1
            if at.number <= counts[pid] <= (at.last or counts[pid]) and list(counts).index(pid) + 1 == at.process:
                met = True
                if not at.error:
                    os.kill(pid, signal.SIGKILL)
                    continue
                error = -getattr(errno, at.error)
        with contextlib.suppress(FileNotFoundError):
            fcntl.ioctl(listener, ANSWER, ANSWERED.pack(key, 0, error, 0 if error else GO_ON))
    end(child)
    if not waited:
        os.close(ended)
    return met, None


if __name__ == "__main__":
    serve()
