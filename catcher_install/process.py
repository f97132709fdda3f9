"""Run a program and wait for its end; hold back the signals that would end this process halfway."""

import errno
import os
import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence, Tuple

BLOCK = 64 * 1024
OUTPUT_LIMIT = 1024 * 1024


class Signals:
    """``with Signals() as signals``: SIGHUP, SIGTERM and SIGINT do not end the program, but are remembered.

    Within ``with signals.raised()`` they raise KeyboardInterrupt, those that came earlier, too. A signal that the
    caller ignores (nohup(1)) stays ignored. Python handles signals in the main thread only; in another thread this does
    nothing.
    """

    def __init__(self) -> None:
        self._came = self._raises = False
        self._before: Dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        # Imported here, because it would cost a daemon start more time than this module.
        import signal

        try:
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._remember)
        except ValueError:
            # Not in the main thread.
            self._before = {}
        return self

    def __exit__(self, *error: object) -> None:
        import signal

        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: object) -> None:
        self._came = True
        if self._raises:
            self._raises = False
            raise KeyboardInterrupt

    def raised(self) -> "_Raised":
        """Return a context in which the signals raise KeyboardInterrupt."""
        return _Raised(self)

    def let_through(self, raises: bool) -> None:
        """Set whether signals raise KeyboardInterrupt from now on, or are only remembered. Raises it for an earlier
        signal."""
        self._raises = raises
        if raises and self._came:
            self._raises = False
            raise KeyboardInterrupt


class _Raised:
    def __init__(self, signals: Signals) -> None:
        self._signals = signals

    def __enter__(self) -> None:
        self._signals.let_through(True)

    def __exit__(self, *error: object) -> None:
        self._signals.let_through(False)


def run(
    argv: "Sequence[str]", environment: "Dict[str, str]", timeout: float, stdin: bytes, only_output: bool = False
) -> "Tuple[int, bytes]":
    """Run a program and wait for its end. Returns (exit status, standard output and standard error together).

    argv: an absolute path first; no shell is involved. A signal n gives status 128 + n.
    timeout: seconds; then the program is killed and TimeoutError raised. Output beyond OUTPUT_LIMIT is dropped.
    only_output: drop standard error. Anything may write there, e.g. ld.so(8) about a preloaded library that is missing.
    Raises OSError if the program cannot be executed.

    This does not use subprocess, because its import takes as long as a start of Python.
    """
    out_read, out_write = os.pipe()
    in_read, in_write = os.pipe()
    try:
        errors = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC) if only_output else os.dup(out_write)
        try:
            pid = _spawn(argv, environment, in_read, out_write, errors)
        finally:
            os.close(errors)
    except OSError:
        os.close(in_write)
        os.close(out_read)
        raise
    finally:
        os.close(in_read)
        os.close(out_write)
    try:
        output, status = _converse(pid, in_write, out_read, stdin, timeout, argv[0])
    finally:
        os.close(out_read)
    return status, output


def _spawn(argv: "Sequence[str]", environment: "Dict[str, str]", stdin: int, output: int, errors: int) -> int:
    """Start a program with these descriptors as its standard streams, and return its PID. Raises OSError if exec
    fails."""
    if hasattr(os, "posix_spawn"):
        # From Python 3.8. Unlike fork, it does not copy our page tables.
        streams = [(os.POSIX_SPAWN_DUP2, stdin, 0), (os.POSIX_SPAWN_DUP2, output, 1),
                   (os.POSIX_SPAWN_DUP2, errors, 2)]  # fmt: skip
        return os.posix_spawn(argv[0], list(argv), environment, file_actions=streams)
    failed_read, failed_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.dup2(stdin, 0)
            os.dup2(output, 1)
            os.dup2(errors, 2)
            os.chdir("/")
            os.execve(argv[0], list(argv), environment)
        except OSError as error:
            os.write(failed_write, b"%d" % (error.errno or errno.EIO))
        finally:
            os._exit(127)
    os.close(failed_write)
    failure = os.read(failed_read, 16)
    os.close(failed_read)
    if failure:
        os.waitpid(pid, 0)
        raise OSError(int(failure), os.strerror(int(failure)), argv[0])
    return pid


def _converse(
    pid: int, in_write: int, out_read: int, stdin: bytes, timeout: float, name: str
) -> "Tuple[bytes, int]":
    """Write *stdin* to a child and read its output until it ends. Returns (output, exit status). After *timeout*
    seconds, kill it and raise TimeoutError with *name*."""
    deadline = time.monotonic() + timeout
    chunks: List[bytes] = []
    total = 0
    if not stdin:
        os.close(in_write)
        in_write = -1
    # Not select(2), which takes no descriptor above 1023: the caller may have left many open.
    ready = select.poll()
    ready.register(out_read, select.POLLIN)
    if stdin:
        ready.register(in_write, select.POLLOUT)
    while True:
        found = [fd for fd, _ in ready.poll(1000 * max(0.0, deadline - time.monotonic()))]
        if not found:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            if in_write >= 0:
                os.close(in_write)
            raise TimeoutError(errno.ETIMEDOUT, "no answer within %d seconds" % timeout, name)
        if in_write in found:
            try:
                stdin = stdin[os.write(in_write, stdin[:4096]):]
            except BrokenPipeError:
                stdin = b""
            if not stdin:
                ready.unregister(in_write)
                os.close(in_write)
                in_write = -1
        if out_read in found:
            chunk = os.read(out_read, BLOCK)
            if not chunk:
                break
            if total < OUTPUT_LIMIT:
                chunks.append(chunk)
                total += len(chunk)
    if in_write >= 0:
        os.close(in_write)
    # The output has ended, and usually the program, too. If it closed its output and runs on, it is killed in time.
    ended, status = os.waitpid(pid, os.WNOHANG)
    nap = 0.0001
    while not ended:
        if time.monotonic() > deadline:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise TimeoutError(errno.ETIMEDOUT, "no answer within %d seconds" % timeout, name)
        time.sleep(nap)
        nap = min(2 * nap, 0.02)
        ended, status = os.waitpid(pid, os.WNOHANG)
    return b"".join(chunks), os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
