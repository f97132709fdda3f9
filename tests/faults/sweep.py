"""Runs a program once for every system call, with that call killed or failing, and looks at what is left.

`python -m tests.faults.table` is the command line; see there.

A program is killed at every call of each of its processes: by strace where its first process changes files, since
strace watches the modes of the key too, and elsewhere by killer.py, which is several times quicker and kills a child
alone. strace counts the calls of each process by itself: its point (name, k) is the k-th call of that name in every
process that makes so many. The next run is judged once for all points that left the same bytes.

An error is given where a kernel can give it: to every call that changes files, and to the first and the last of the
calls that look at the same file in the same way; with *everything* to all of them, lastingly too, and to those by which
a shell, Python and OpenSSL load themselves.
"""

import concurrent.futures
import contextlib
import pathlib
import queue
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tests.faults import programs
from tests.faults.killer import Killer
from tests.faults.programs import Program

WORKERS = 2
# Calls that change what a file, a directory or the disk holds; an open counts where it may create or write.
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
                  "ftruncate", "flock", *FILLS)  # fmt: skip

# "Lastingly" for EINTR: so many signals in a row. One that never ends would only show that every call is tried again.
BURST = 20
ENTRY = "/usr/lib/csulcca/hooks/entry.py"
# Where a shell, Python and OpenSSL find themselves; our own modules too, since who cannot load them cannot run them.
MACHINERY = re.compile(
    r"(?!.*/libssl\.so)((/usr)?/lib(64)?/|/usr/(local|share|lib|bin/(?!(openssl|systemctl|getent)$)|pyvenv)|/dev|/sys"
    r"|/etc/(ld\.so|localtime|nsswitch|ssl|passwd|host\.conf|group$)|/var/run/nscd|/proc/self/(mounts|maps)"
    r"|/(usr|lib\w*|usr/bin|proc)?$|[^/])"
)
# strace's own words for a fault that took place.
MET = re.compile(r"\+\+\+ killed by SIGKILL \+\+\+$|\(INJECTED\)$", re.MULTILINE)
MET_AT_LEAST = 0.95
FACTS = ("/opt/IBM", "/etc/cca", "/var/lib/csulcca", "/run", "/etc/systemd", "/etc/rc", "pipe:")


class Point(NamedTuple):
    """One fault: a call's name, its number in its process, and what strace does to it. process: for a kill alone, which
    of the processes that make such a call, from 1 on."""

    call: str
    number: int
    fault: str
    process: int = 0

    def inject(self) -> str:
        """The argument of strace; or, of a kill alone, its name."""
        if self.fault == KILL_ALONE:
            return f"{self.call} {self.number} of process {self.process}"
        fault, lasts = self.fault.rstrip("+"), self.fault.endswith("+")
        until = f"..{self.number + BURST}" if fault == "error=EINTR" else "+"
        return f"inject={self.call}:{fault}:when={self.number}{until if lasts else ''}"


class Seen(NamedTuple):
    """What a point left: damage, and why a re-run did not mend it; both "" where all is well."""

    damage: str
    left: str


KILL = "signal=KILL"
KILL_ALONE = "kill"
LASTING = "+"


def errors(name: str, rest: str) -> tuple[str, ...]:
    """The errors that a kernel can give a call, of the six that are swept (its man page, and a full or lost disk)."""
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
    return ()


class Sweep:
    """One program's states: before it, and after an undisturbed run. everything: more errors; see this module."""

    def __init__(self, program: Program, installed: pathlib.Path, scratch: pathlib.Path, everything: bool) -> None:
        self.program = program
        self.everything = everything
        self.installed = installed
        self.scratch = scratch
        self.start = scratch / "start"
        trace = scratch / "trace"
        self.start.mkdir(parents=True)
        for command in program.before:
            programs.run(installed, self.start, command)
        done = programs.copy(self.start, scratch / "undisturbed")
        self.ended = programs.run(installed, done, program.command, "strace", "-f", "-qq", "-y", "-o", str(trace))
        if not program.ours and self.ended.status != 0:
            # A program that does nothing does no damage, and would prove nothing.
            raise RuntimeError(f"{program.name} does not even run undisturbed: {self.ended.output.strip()}")
        self.lines = trace.read_text(errors="replace").splitlines()
        self.confs = {programs.conf_of(self.start), programs.conf_of(done)}
        self.once = programs.tree(done)
        # A second undisturbed run is what every re-run is compared with.
        programs.run(installed, done, program.command)
        self.wanted = programs.tree(done)
        self.judged: dict[str, str] = {}

    def _traced_calls(self) -> Iterator[tuple[str, str, str]]:
        """(process, name, arguments) of each call of the undisturbed run, in its order."""
        for line in self.lines:
            if match := CALL.match(line):
                process, name, rest = match.groups()
                yield process, name, rest

    def calls(self, ours_only: bool) -> list[tuple[str, int, str]]:
        """(name, number in its process, arguments) of the calls of the undisturbed run, each name and number once.

        ours_only: of our own Python, from where it reads hooks/entry.py on; else of all processes.
        """
        counts: Counter[tuple[str, str]] = Counter()
        found: dict[tuple[str, int], str] = {}
        first, begun = "", False
        for process, name, rest in self._traced_calls():
            first = first or process
            begun = begun or ENTRY in rest
            counts[process, name] += 1
            call = name, counts[process, name]
            if ours_only and not (begun and process == first):
                continue
            if call not in found or _changes(name, rest):
                found[call] = rest
        return [(*call, rest) for call, rest in found.items()]

    def kills(self, changes_only: bool = False) -> list[Point]:
        """Where it is killed. changes_only: by strace alone, where any of its processes changes files."""
        if changes_only:
            return [Point(name, number, KILL) for name, number, rest in self.calls(ours_only=False)
                    if _changes(name, rest)]  # fmt: skip
        found = []
        # By name: how many calls each process made, in the order in which they made the first.
        made: dict[str, dict[str, int]] = {}
        first = ""
        for process, name, rest in self._traced_calls():
            first = first or process
            counts = made.setdefault(name, {})
            number = counts[process] = counts.get(process, 0) + 1
            if process == first and _changes(name, rest):
                found.append(Point(name, number, KILL))
            # The first execve is strace's own. sscg asks two thousand times for its process while it looks for an RSA
            # key; a proof needs none of those.
            elif (process, name, number) != (first, "execve", 1) and (name != "getpid" or self.program.ours):
                found.append(Point(name, number, KILL_ALONE, list(counts).index(process) + 1))
        return found

    def errors(self) -> list[Point]:
        """Which calls fail, and how."""
        changes: list[tuple[str, int, str]] = []
        looks: dict[tuple[str, str], tuple[tuple[str, int, str], tuple[str, int, str]]] = {}
        for call in self.calls(ours_only=not self.everything):
            name, _, rest = call
            if not errors(name, rest) or (not self.everything and _is_machinery(name, rest)):
                continue
            if self.everything or _changes(name, rest):
                changes.append(call)
            else:
                first, _ = looks.setdefault((name, _alike(_path(name, rest))), (call, call))
                looks[name, _alike(_path(name, rest))] = (first, call)
        found = [Point(name, number, f"error={error}{lasting}") for name, number, rest in changes
                 for error in errors(name, rest) for lasting in ("", LASTING)]  # fmt: skip
        for name, number, rest in dict.fromkeys(call for both in looks.values() for call in both):
            found += [Point(name, number, f"error={error}") for error in (*errors(name, rest), "EIO" + LASTING)]
        return found

    def look(self, point: Point, killer: Killer | None = None) -> Seen | None:
        """What one point leaves; None where it was not met, since no two runs wait for each other in the same way."""
        place = self.scratch / f"{point.call}-{point.number}-{point.process}-{point.fault.replace('=', '-')}"
        state = programs.copy(self.start, place)
        try:
            if point.fault == KILL_ALONE:
                assert killer
                met = killer.kill(self.installed, state, self.program.command, *point[:2], point.process)
                if not met:
                    return None
                broken = met if isinstance(met, str) else programs.damage(state, self.confs)
            else:
                ended, traced = self._traced(point, state)
                if not MET.search(traced):
                    return None
                broken = programs.damage(state, self.confs) or wide_key(traced.splitlines())
                if self.program.ours and point.fault != KILL:
                    broken = broken or self._unclean(point, ended, programs.tree(state))
            if not self.program.ours:
                broken = broken or programs.pair_problem(state)
                programs.run(self.installed, state, programs.START)
                return Seen(broken, programs.pair_problem(state))
            return Seen(broken, self._left(state))
        finally:
            shutil.rmtree(state)

    def _traced(self, point: Point, state: pathlib.Path) -> tuple[programs.Ended, str]:
        """Run the program with strace's fault: how it ended, and what strace wrote."""
        trace = state.with_suffix(".trace")
        # Errors are for our own calls; a child's are its own affair, except where everything is asked for.
        follow = ["-f"] if point.fault == KILL or self.everything else []
        try:
            ended = programs.run(self.installed, state, self.program.command, "strace", *follow, "-qq", "-y",
                                 "-o", str(trace), "-e", f"trace={MODES},{point.call}",
                                 "-e", point.inject())  # fmt: skip
            return ended, trace.read_text(errors="replace")
        finally:
            trace.unlink(missing_ok=True)

    def _left(self, state: pathlib.Path) -> str:
        """What another run does not mend in a state, or ""."""
        held = programs.digest(state)
        if held not in self.judged:
            after = programs.tree(state)
            if after != self.wanted:
                programs.run(self.installed, state, self.program.command)
                after = programs.tree(state)
            self.judged[held] = programs.pair_problem(state) or programs.differences(after, self.wanted)
        return self.judged[held]

    def _unclean(self, point: Point, ended: programs.Ended, after: dict[str, str]) -> str:
        """Why an error did not end cleanly, or "": a traceback, silence, an end by a signal, or none at all."""
        if "Traceback" in ended.output:
            return "a traceback: " + ended.output.strip().rpartition("\n")[2]
        if ended.status is None or ended.status < 0:
            return "it hung" if ended.status is None else f"it ended by signal {-ended.status}"
        if after not in (self.once, self.wanted) and ended.status == 0 and not ended.output.strip():
            return "it was silent, and " + programs.differences(after, self.once)
        undisturbed = ended.status == self.ended.status and after in (self.once, self.wanted)
        if point.fault == "error=EINTR" and not undisturbed:
            return "a signal was not survived: " + (ended.output.strip().partition("\n")[0] or f"status {ended.status}")
        return ""


def _changes(name: str, rest: str) -> bool:
    return bool(CHANGES.match(name) and (name not in OPENS or WRITES.search(rest)))


def _path(name: str, rest: str) -> str:
    """The file that a call is about, from its arguments as strace -y shows them."""
    descriptor = re.match(r"\d+<(.*?)>(, \"\", )?", rest)
    if descriptor and (name in OF_DESCRIPTORS or descriptor[2]):
        return descriptor[1]
    text = re.search(r"\"([^\"]*)\"", rest)
    return text[1] if text else ""


def _alike(path: str) -> str:
    """The same text for paths that are looked at in the same way, one after the other."""
    return re.sub(r"/proc/\d+|pipe:\[\d+\]|(?<=/rc)[0-9S](?=\.d)|(?<=/)\w+(?=\.target\.wants)", "*", path)


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
    """Whether a file that a private key was written into was made for, or opened to, others than its owner; or "".

    lines: of strace -y, of a run with umask 000. The administrator's own file, my.key, is not of interest.
    """
    modes: dict[str, set[int]] = {}
    keys = set()
    for line in lines:
        if match := KEY_WRITTEN.match(line):
            keys.add(match[1])
        elif match := MADE.match(line) or CHANGED.match(line):
            path, mode = [one for one in match.groups() if one is not None]
            modes.setdefault(path, set()).add(int(mode, 8))
    wide = sorted(path for path in keys if any(mode & 0o077 for mode in modes.get(path, {0o777})))
    return f"{wide[0]} held a key, and was open to others" if wide else ""


# -- all points --------------------------------------------------------------------------------------------------------


def sweep(program: Program, points: Callable[[Sweep], list[Point]], everything: bool = False,
          known: dict[str, Seen] | None = None, tell: Callable[[str, Seen, int], None] | None = None,
          ) -> dict[str, Seen]:  # fmt: skip
    """What each point of a program left, by the point's text.

    points: chooses them, Sweep.kills say. known: results of an earlier run, which are not looked for again. tell: is
    called with each new result and the number of all points. Raises RuntimeError where too many of them were not met.
    """
    with programs.installation() as (installed, scratch), contextlib.ExitStack() as stack:
        one = Sweep(program, installed, scratch, everything)
        chosen = points(one)
        found = {point.inject(): known[point.inject()] for point in chosen if known and point.inject() in known}
        killers: queue.SimpleQueue[Killer] = queue.SimpleQueue()
        for _ in range(WORKERS):
            killers.put(stack.enter_context(Killer()))

        def look(point: Point) -> Seen | None:
            killer = killers.get()
            try:
                return one.look(point, killer)
            finally:
                killers.put(killer)

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
                # Where something was raised the rest is for the next time.
                pool.shutdown(cancel_futures=True)
        if len(found) < MET_AT_LEAST * len(chosen):
            raise RuntimeError(f"{program.name}: only {len(found)} of {len(chosen)} faults took place")
    return found
