"""Run a program once for every system call, kill it there or let the call fail, and check what is left.

`python -m tests.faults.table` is the command line; see there.

A program is killed at every call of each of its processes. And every call about files that our own code makes fails
with each error that a kernel can give it, once, and also from that call on. With *everything*, this includes the calls
with which a shell, Python and OpenSSL load themselves, four times as many.

A point (name, k) is the k-th call of that name in one process. If the first process changes files by that call, strace
does the fault, because it also watches the modes of the key. Otherwise injector.py does it, which is several times
faster. strace follows the children, to wait for them, so it also kills a child at its k-th call. If several points
leave the same bytes, the next run is tried only once.
"""

import concurrent.futures
import contextlib
import pathlib
import queue
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tests.faults import programs
from tests.faults.injector import At, Injector, Met, NotBegun
from tests.faults.programs import Program

WORKERS = 2
# Calls that change a file, a directory or the disk; an open counts if it may create or write.
CHANGES = re.compile(
    r"^(write|pwrite64|writev|rename\w*|link\w*|symlink\w*|unlink\w*|mkdir\w*|rmdir|f?chmod\w*|f?l?chown\w*|f?truncate"
    r"|fsync|fdatasync|flock|utime\w*|copy_file_range|sendfile)$|^open(at)?$"
)
CALL = re.compile(r"^(\d+) +(\w+)\((.*)")
WRITES = re.compile(r"O_(WRONLY|RDWR|CREAT)")

LOOKS = ("access", "faccessat", "faccessat2", "stat", "lstat", "newfstatat", "fstat", "statx", "statfs", "readlink",
         "readlinkat", "getdents64", "read", "pread64", "listxattr", "llistxattr", "flistxattr", "getxattr",
         "lgetxattr", "fgetxattr")  # fmt: skip
MAKES = ("rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mkdir", "mkdirat")
ALTERS = ("unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat", "chown", "fchown", "lchown", "fchownat",
          "truncate", "ftruncate", "utimensat", "setxattr", "lsetxattr", "fsetxattr")  # fmt: skip
FILLS = ("write", "pwrite64", "writev", "fsync", "fdatasync", "copy_file_range", "sendfile")
OPENS = ("open", "openat", "creat")
OF_DESCRIPTORS = ("read", "pread64", "getdents64", "fstat", "fchmod", "fchown", "flistxattr", "fgetxattr", "fsetxattr",
                  "ftruncate", "flock", "close", *FILLS)  # fmt: skip

# The number of EINTR in a row that counts as lasting. An endless EINTR would only show that every call is repeated.
BURST = 20
ENTRY = "/usr/lib/csulcca/hooks/entry.py"
# The files with which a shell, Python and OpenSSL load themselves; our own modules too, because a program that cannot
# load them cannot run them.
MACHINERY = re.compile(
    r"(?!.*/libssl\.so)((/usr)?/lib(64)?/|/usr/(local|share|lib|bin/(?!(openssl|systemctl|getent)$)|pyvenv)|/dev|/sys"
    r"|/etc/(ld\.so|localtime|nsswitch|ssl|passwd|host\.conf|group$)|/var/run/nscd|/proc/self/(mounts|maps)"
    r"|/(usr|lib\w*|usr/bin|proc)?$|[^/])"
)
# The text of strace for a fault that took place.
MET = re.compile(r"\+\+\+ killed by SIGKILL \+\+\+$|\(INJECTED\)$", re.MULTILINE)
MET_AT_LEAST = 0.95
# It is not our fault if a module cannot be loaded: a program that may read no file has no modules.
INTERNAL = re.compile(r"internal fault: (?!(ImportError|ModuleNotFoundError):)")
FACTS = ("/opt/IBM", "/etc/cca", "/var/lib/csulcca", "/run", "/etc/systemd", "/etc/rc", "pipe:")


class Call(NamedTuple):
    """One system call of the undisturbed run.

    number: among the calls of this name in its process, from 1. process: the number of the process among those that
    make calls of this name, from 1. rest: the arguments and the result, as strace shows them. first: the program's
    first process makes it. own: our own code makes it, not a shell, Python or OpenSSL to load itself.
    """

    name: str
    number: int
    process: int
    rest: str
    first: bool
    own: bool


class Point(NamedTuple):
    """One fault. call, number: see Call. fault: KILL, "error=EIO", or "error=EIO+" for this call and all later ones.
    process: see Call; 0 for the first process, under strace. own: see Call."""

    call: str
    number: int
    fault: str
    process: int = 0
    own: bool = True

    def inject(self) -> str:
        """The argument of strace; or a text of the same form if strace is not used."""
        if self.process:
            return f"{self.fault} at {self.call} {self.number} of process {self.process}"
        until = f"..{self.last()}" if self.last() else "+"
        return f"inject={self.call}:{self.fault.rstrip(LASTING)}:when={self.number}{until if self.lasts() else ''}"

    def lasts(self) -> bool:
        """Whether it also affects all later calls."""
        return self.fault.endswith(LASTING)

    def last(self) -> int:
        """The number of the last call that fails; 0: all later calls fail."""
        if self.lasts():
            return self.number + BURST if self.fault == "error=EINTR+" else 0
        return self.number

    def at(self) -> At:
        """The same for injector.py."""
        error = "" if self.fault == KILL else self.fault.rstrip(LASTING).partition("=")[2]
        return At(self.call, self.number, self.process, error, self.last())


class Seen(NamedTuple):
    """What a point left: damage, and why a re-run did not repair it; both "" if all is well."""

    damage: str
    left: str


KILL = "signal=KILL"
LASTING = "+"


def errors(name: str, rest: str) -> tuple[str, ...]:
    """Which of the six swept errors a kernel can give a call (its man page, and a full or lost disk)."""
    if name in OPENS:
        return ("EIO", "EACCES", "EMFILE", "EINTR") + (("ENOSPC", "EROFS") if WRITES.search(rest) else ())
    if name in MAKES:
        return ("EIO", "EACCES", "EINTR", "ENOSPC", "EROFS")
    if name in ALTERS:
        return ("EIO", "EACCES", "EINTR", "EROFS") + (("ENOSPC",) if "setxattr" in name else ())
    if name in FILLS:
        return ("EIO", "EINTR", "ENOSPC", "EROFS")
    if name == "flock":
        return ("EIO", "EINTR")
    if name == "getdents64" or name in ("read", "pread64"):
        return ("EIO", "EINTR")
    if name in LOOKS:
        return ("EIO", "EACCES", "EINTR")
    if name in ("pipe2", "pipe"):
        return ("EMFILE",)
    if name == "execve":
        return ("EIO", "EACCES", "EMFILE")
    if name == "close" and not re.search(r"<(pipe:|socket:|.*/lock>)", rest):
        # A close may report what a file system could not write. Only once, and not for a lock: the injected call is not
        # made at all, and a kernel never leaves a lock that nobody can free.
        return ("EIO", "ENOSPC", "EINTR")
    return ()


class Sweep:
    """One program's states: before it, and after an undisturbed run."""

    def __init__(self, program: Program, installed: pathlib.Path, scratch: pathlib.Path) -> None:
        self.program = program
        self.installed = installed
        self.scratch = scratch
        self.start = scratch / "start"
        trace = scratch / "trace"
        self.start.mkdir(parents=True)
        programs.prepare(program, installed, self.start)
        done = programs.copy(self.start, scratch / "undisturbed")
        self.ended = programs.run(installed, done, program.command, "strace", "-f", "-qq", "-y", "-o", str(trace))
        self.promise = programs.Promise(program, installed, self.start, done, self.ended)
        self.lines = trace.read_text(errors="replace").splitlines()
        self.judged: dict[str, str] = {}

    def calls(self) -> Iterator[Call]:
        """All of the undisturbed run, in its order."""
        # By name: the number of calls of each process, in the order of their first call.
        made: dict[str, dict[str, int]] = {}
        first, begun = "", False
        for line in self.lines:
            if match := CALL.match(line):
                process, name, rest = match.groups()
                first = first or process
                begun = begun or ENTRY in rest
                counts = made.setdefault(name, {})
                counts[process] = counts.get(process, 0) + 1
                ordinal = list(counts).index(process) + 1
                # A process that runs another program does so in a child.
                own = begun and (process == first or name == "execve") and not _is_machinery(name, rest)
                yield Call(name, counts[process], ordinal, rest, process == first, own)

    def kills(self, changes_only: bool = False) -> list[Point]:
        """The points at which it is killed. changes_only: only those that change files."""
        # The first execve is strace's own. sscg calls getpid two thousand times while it looks for an RSA key; a proof
        # does not need these.
        return [_point(call, KILL) for call in self.calls()
                if _changes(call) or not changes_only
                and not (call.name == "execve" and call.first and call.number == 1)
                and (call.name != "getpid" or self.program.ours)]  # fmt: skip

    def errors(self, everything: bool = False) -> list[Point]:
        """Which calls fail, and how: the calls of our own code, or *everything*."""
        return [_point(call, f"error={error}{lasting}") for call in self.calls() if call.own or everything
                for error in errors(call.name, call.rest)
                for lasting in ("", LASTING)[:1 if call.name == "close" else 2]]  # fmt: skip

    def look(self, point: Point, injector: Injector) -> Seen | None:
        """What one point leaves; None if it was not reached, because waiting differs from run to run."""
        place = self.scratch / f"{point.call}-{point.number}-{point.process}-{point.fault.replace('=', '-')}"
        state = programs.copy(self.start, place)
        try:
            if point.process:
                ended = injector.inject(self.installed, state, self.program.command, point.at())
                wide = ""
            else:
                ended, wide = self._traced(point, state)
            if not ended.met:
                return None
            broken = self.promise.damage(state) or wide
            if not self.program.ours:
                broken = broken or programs.pair_problem(state)
                programs.run(self.installed, state, programs.START)
                return Seen(broken, programs.pair_problem(state))
            if point.fault != KILL:
                broken = broken or self._unclean(point, ended, programs.tree(state))
            return Seen(broken, self._left(state))
        except NotBegun as error:
            return Seen(str(error), "")
        finally:
            shutil.rmtree(state)

    def _traced(self, point: Point, state: pathlib.Path) -> tuple[Met, str]:
        """Run the program with strace's fault: how it ended, and what wide_key() says."""
        trace = state.with_suffix(".trace")
        # strace waits for the processes that it follows: a child that outlives its killed parent has ended before the
        # state is checked.
        follow = ["-f"] if point.fault == KILL else []
        try:
            ended = programs.run(self.installed, state, self.program.command, "strace", *follow, "-qq", "-y",
                                 "-o", str(trace), "-e", f"trace={MODES},{point.call}",
                                 "-e", point.inject())  # fmt: skip
            traced = trace.read_text(errors="replace")
            return Met(bool(MET.search(traced)), *ended), wide_key(traced.splitlines())
        finally:
            trace.unlink(missing_ok=True)

    def _left(self, state: pathlib.Path) -> str:
        """What another run does not repair in a state, or ""."""
        held = programs.digest(state)
        if held not in self.judged:
            self.judged[held] = self.promise.left(state)
        return self.judged[held]

    def _unclean(self, point: Point, ended: Met, after: dict[str, str]) -> str:
        """Why a run with an error did not end cleanly, or "": an internal fault, no message, an end by a signal, or no
        end at all.

        A shell, Python and OpenSSL that cannot load themselves report it in their own way, or say nothing, because they
        take what they cannot read of a script for its end. They only have to end.
        """
        if ended.status is None:
            return "it hung"
        if not point.own:
            return ""
        if "Traceback" in ended.output or INTERNAL.search(ended.output):
            return "a fault of ours: " + ended.output.strip().partition("\n")[0]
        if ended.status < 0:
            return f"it ended by signal {-ended.status}"
        if ended.status > 0 and not ended.output.strip() and point.call != "write":
            return f"status {ended.status} without a word"
        as_wanted = after in (self.promise.once, self.promise.ends[0])
        if not as_wanted and ended.status == 0 and not ended.output.strip():
            return "it was silent, and " + programs.differences(after, self.promise.once)
        undisturbed = ended.status == self.ended.status and as_wanted
        if point.fault == "error=EINTR" and not undisturbed:
            return "a signal was not survived: " + (ended.output.strip().partition("\n")[0] or f"status {ended.status}")
        return ""


def _changes(call: Call) -> bool:
    return bool(CHANGES.match(call.name) and (call.name not in OPENS or WRITES.search(call.rest)))


def _point(call: Call, fault: str) -> Point:
    """The point of that fault at a call: with strace if the first process changes files."""
    watched = call.first and _changes(call)
    return Point(call.name, call.number, fault, 0 if watched else call.process, call.own)


def _path(name: str, rest: str) -> str:
    """The file that a call is about, from its arguments as strace -y shows them."""
    descriptor = re.match(r"\d+<(.*?)>(, \"\", )?", rest)
    if descriptor and (name in OF_DESCRIPTORS or descriptor[2]):
        return descriptor[1]
    text = re.search(r"\"([^\"]*)\"", rest)
    return text[1] if text else ""


def _is_machinery(name: str, rest: str) -> bool:
    path = _path(name, rest)
    if name in OF_DESCRIPTORS or name == "newfstatat" and rest[:1].isdigit():
        return not path.startswith(FACTS)
    return bool(MACHINERY.match(path))


# -- the key's mode ----------------------------------------------------------------------------------------------------

MODES = "openat,open,creat,chmod,fchmod,fchmodat,write,pwrite64,writev"
MADE = re.compile(r"^\d* *(?:openat|open|creat)\(.*?\"([^\"]+)\".*, 0?(\d+)\) = \d")
CHANGED = re.compile(r"^\d* *(?:fchmod\(\d+<(.*?)>|f?chmod(?:at)?\(.*?\"([^\"]+)\"), 0?(\d+)")
KEY_WRITTEN = re.compile(r"^\d* *p?write\w*\(\d+<(.*?)>,.*-----BEGIN (?:[A-Z]+ )?PRIVATE KEY")


def wide_key(lines: Iterable[str]) -> str:
    """Why a file into which a private key was written could be opened by others than its owner, or "".

    lines: of strace -y, from a run with umask 000. The administrator's own file, my.key, does not count.
    """
    modes: dict[str, set[int]] = {}
    keys = set()
    for line in lines:
        if match := KEY_WRITTEN.match(line):
            # A pipe to or from a child has no name that others could open.
            if not match[1].startswith("pipe:["):
                keys.add(match[1])
        elif match := MADE.match(line) or CHANGED.match(line):
            path, mode = [one for one in match.groups() if one is not None]
            modes.setdefault(path, set()).add(int(mode, 8))
    # This is part of every name of our key: its mode may be changed under a name that it was not written to.
    keys.update(path for path in modes if "catcher.key" in path.rpartition("/")[2])
    wide = sorted(path for path in keys if any(mode & 0o077 for mode in modes.get(path, {0o777})))
    return f"{wide[0]} held a key, and was open to others" if wide else ""


# -- all points --------------------------------------------------------------------------------------------------------


def sweep(program: Program, points: Callable[[Sweep], list[Point]], known: dict[str, Seen] | None = None,
          tell: Callable[[str, Seen, int], None] | None = None) -> dict[str, Seen]:  # fmt: skip
    """What each point of a program left, by the point's text.

    points: chooses them, Sweep.kills say. known: results of an earlier run, whose points are not tried again. tell:
    called with each new result and the number of all points. Raises RuntimeError if too many of them were not reached.
    """
    with programs.installation() as (installed, scratch), contextlib.ExitStack() as stack:
        one = Sweep(program, installed, scratch)
        chosen = points(one)
        found = {point.inject(): known[point.inject()] for point in chosen if known and point.inject() in known}
        injectors: queue.SimpleQueue[Injector] = queue.SimpleQueue()
        for _ in range(WORKERS):
            injectors.put(stack.enter_context(Injector()))

        def look(point: Point) -> Seen | None:
            injector = injectors.get()
            try:
                return one.look(point, injector)
            finally:
                injectors.put(injector)

        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            waiting = {pool.submit(look, point): point for point in chosen if point.inject() not in found}
            try:
                for done in concurrent.futures.as_completed(waiting):
                    name, seen = waiting[done].inject(), done.result()
                    if seen is None:
                        continue
                    found[name] = seen
                    if tell:
                        tell(name, seen, len(chosen))
            finally:
                # After an exception the rest is left for the next run.
                pool.shutdown(cancel_futures=True)
        if len(found) < MET_AT_LEAST * len(chosen):
            raise RuntimeError(f"{program.name}: only {len(found)} of {len(chosen)} faults took place")
    return found
