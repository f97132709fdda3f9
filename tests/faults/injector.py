"""Kills a program at the k-th call of a name, and stops it at no other call: seccomp's user notification.

strace stops a program at every call, which makes thousands of points take hours. Here the kernel itself lets all calls
pass but those of one name; of these it asks us, and where the number is reached the process is killed instead of
answered. Numbers are those of strace, of each process by itself; and processes are told apart, so that a child is
killed alone. See seccomp_unotify(2).

    with Killer() as killer:
        met = killer.kill(installed, state, ("/usr/bin/openssl", "version"), "read", 3, process=1)

A Killer is a process of its own, since it forks: `python -m tests.faults.killer` reads one request a line.
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

from tests.faults import programs

# linux/seccomp.h: the two requests to the kernel, what they carry, and that a call goes on as if nobody had asked.
RECEIVE, RECEIVED = 0xC0502100, struct.Struct("=QIIiIQ6Q")
ANSWER, ANSWERED = 0xC0182101, struct.Struct("=QqiI")
GO_ON = 1
# seccomp.h of libseccomp.
ALLOW, NOTIFY = 0x7FFF0000, 0x7FC00000
NEW_MOUNTS, PRIVATE = 0x20000, 0x4000 | 0x40000
PIDFD_GETFD = 438
# No program that is swept ends with this.
NOT_BEGUN = 125

libc = ctypes.CDLL(None, use_errno=True)


class Killer:
    """A process that kills programs; one request at a time."""

    def __enter__(self) -> "Killer":
        """Start it."""
        self._process = subprocess.Popen([sys.executable, "-m", "tests.faults.killer"], cwd=programs.TREE,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        """End it."""
        self._process.communicate(timeout=programs.TIMEOUT_S)

    def kill(self, installed: pathlib.Path, state: pathlib.Path, command: Sequence[str], call: str, number: int,
             process: int) -> bool | str:  # fmt: skip
        """Run a command as programs.run() does, and kill the process-th process that makes a call of that name at the
        number-th that it makes; both count from 1. Returns whether that took place, or why nothing can be said."""
        assert self._process.stdin and self._process.stdout
        request = json.dumps([str(installed), str(state), command, call, number, process])
        print(request, file=self._process.stdin, flush=True)
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, bool | str)
        return answer


# -- in that process ---------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer requests until there are none."""
    for line in sys.stdin:
        print(json.dumps(kill_at(*json.loads(line))), flush=True)


def kill_at(installed: str, state: str, command: list[str], call: str, number: int, process: int) -> bool | str:
    """What Killer.kill() returns."""
    programs.make_room(pathlib.Path(state))
    environment = programs.environment(installed, state)
    # Set by us when the child may go on. Shared memory, since any call to wait with might be the one that is watched.
    go_on = mmap.mmap(-1, 1)
    child = os.fork()
    if child == 0:
        try:
            begin(command, environment, call, go_on)
        except (OSError, subprocess.CalledProcessError) as error:
            print(error, file=sys.stderr, flush=True)
        finally:
            os._exit(NOT_BEGUN)
    try:
        listener, theirs = taken_from(child)
        go_on[0] = 1
        try:
            met, status = watch(listener, theirs, child, call, number, process)
        finally:
            os.close(listener)
    except (TimeoutError, OSError) as error:
        os.killpg(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
        return str(error)
    return "it did not begin" if os.waitstatus_to_exitcode(status) == NOT_BEGUN else met


def begin(command: list[str], environment: dict[str, str], call: str, go_on: mmap.mmap) -> None:
    """Become the command, in a namespace of its own and with a listener to its calls."""
    os.setsid()
    if libc.unshare(NEW_MOUNTS) or libc.mount(None, b"/", None, PRIVATE, None):
        raise OSError(ctypes.get_errno(), "no mount namespace")
    subprocess.run(["sh", "-c", programs.MOUNTS], env=environment, check=True)
    os.chdir("/")
    os.umask(0)
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(ALLOW)))
    watched = library.seccomp_syscall_resolve_name(call.encode())
    if library.seccomp_rule_add_array(context, ctypes.c_uint32(NOTIFY), watched, 0, None):
        raise OSError(errno.ENOSYS, f"no call {call}")
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    if library.seccomp_load(context):
        return
    while not go_on[0]:
        pass
    os.execve(command[0], command, environment)


def is_listener(path: str) -> bool:
    """Whether an entry of /proc/PID/fd is the listener of a filter; one that is closed meanwhile is not."""
    try:
        return os.readlink(path) == "anon_inode:seccomp notify"
    except FileNotFoundError:
        return False


def taken_from(child: int) -> tuple[int, str]:
    """The child's listener: a descriptor of our own for it, and the path of the child's, which an execve closes."""
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
    raise TimeoutError("it did not begin")


def watch(listener: int, theirs: str, child: int, call: str, number: int, process: int) -> tuple[bool, int]:
    """Let every watched call pass but that one: whether it was met, and the child's status of waitpid(2).

    listener, theirs: of taken_from(). Raises TimeoutError where not all processes end in time.
    """
    # By process id, in the order in which they make their first watched call. The execve by which the child begins is
    # the first of all; strace shows it too.
    counts = {child: 1} if call == "execve" else {}
    begun = met = waited = False
    status = 0
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    # Until kernel 6.11 the listener outlives the last process until that has been waited for.
    ended = os.pidfd_open(child)
    poll.register(ended, select.POLLIN)
    deadline = time.monotonic() + programs.TIMEOUT_S
    while time.monotonic() < deadline:
        happened = dict(poll.poll(1000 * programs.TIMEOUT_S))
        last = not happened.get(listener, select.POLLIN) & select.POLLIN
        if not waited and (last or ended in happened):
            _, status = os.waitpid(child, 0)
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
        if begun:
            counts[pid] = counts.get(pid, 0) + 1
            if counts[pid] == number and list(counts).index(pid) + 1 == process:
                os.kill(pid, signal.SIGKILL)
                met = True
                continue
        with contextlib.suppress(FileNotFoundError):
            fcntl.ioctl(listener, ANSWER, ANSWERED.pack(key, 0, 0, GO_ON))
    raise TimeoutError("it hung")


if __name__ == "__main__":
    serve()
