"""Check every state of the disk that a crash may leave, from what a program has and has not synced.

The calls of an undisturbed run are recorded and replayed into a model of the file system. It promises no more than
POSIX and what ext4, XFS and btrfs have in common (Pillai et al., "All File Systems Are Not Created Equal", OSDI 2014):

* fsync(2) of a file puts its content and its mode on disk. Before that, each write may be on disk completely, by half,
  as zeros of the right length, or not at all;
* fsync(2) of a directory puts its names on disk. Before that, each change of its names may be on disk or not,
  independently of the others and of the files' content;
* a rename is one change. Between two directories, a crash may also leave both names.

Of the working directory of the openssl command, only its name is modelled: a run that finds it removes it with
everything in it. The kills of the sweep leave it with each possible content.

The program may crash after each call. For each number of calls, every combination of the outcomes above is a crash
state; if there are too many, only those in which at most two changes have another outcome than the rest. Each different
state is built, and must keep the same promises as after a kill: no damage, and a re-run ends like an undisturbed run.
After the last call, everything that the program has reported as done must be on disk.
"""

import concurrent.futures
import itertools
import os
import pathlib
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from typing import NamedTuple

from catcher_install.paths import PAIR_WORK
from tests.faults import programs
from tests.faults.programs import LOOKED_AT, Program
from tests.faults.sweep import WORKERS, Seen

TRACED = ("open,openat,creat,write,pwrite64,writev,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,"
          "unlinkat,mkdir,mkdirat,rmdir,chmod,fchmod,fchmodat,truncate,ftruncate,fsync,fdatasync,sync,syncfs,"
          "copy_file_range,sendfile,chdir,fchdir")  # fmt: skip
FILLS = ("write", "pwrite64", "writev")
NOT_MODELLED = ("writev", "symlink", "symlinkat", "syncfs", "sync", "truncate", "ftruncate", "pwrite64",
                "copy_file_range", "sendfile")  # fmt: skip
ALL_CHOICES = 600
"""Up to so many choices at one length of the record are all tried; programs of ours have no more."""

Entry = tuple[int, str]
"""A name: the number of its directory's inode, and the name in it."""
Tree = dict[str, tuple[int, bool, int, bytes]]
"""What is there, by path: number of the inode, whether it is a directory, mode, content."""


class Inode:
    """A file, a directory, or a symbolic link, whose data is its target. Disk applies changes to it."""

    def __init__(self, number: int, is_dir: bool, mode: int, data: bytes = b"") -> None:
        self.number, self.is_dir, self.mode, self.data = number, is_dir, mode, data
        self.is_link = False


class Change(NamedTuple):
    """One change that a crash may lose. inode: the one whose content or mode it changes; None if it changes names.

    outcomes: what may be left of it, each a tuple of effects. The first is the whole change, the last is nothing.
    """

    text: str
    inode: int | None
    directories: tuple[int, ...]
    outcomes: "tuple[tuple[Effect, ...], ...]"


class Effect(NamedTuple):
    """entry and inode: a name now is that inode (None: is gone). Or inode with data at offset, or with mode."""

    entry: Entry | None = None
    inode: int | None = None
    offset: int = 0
    data: bytes | None = None
    length: int | None = None
    mode: int | None = None


NOTHING: tuple[Effect, ...] = ()


class Disk:
    """The record of one run: inodes, the changes in order, and after how many changes each of them is safe on disk."""

    def __init__(self) -> None:
        self.inodes: dict[int, Inode] = {}
        self.names: dict[Entry, int] = {}
        self.first: dict[Entry, int] = {}
        self.changes: list[Change] = []
        self.safe_from: dict[int, int] = {}
        self.outcome_left: dict[int, int] = {}
        self.deleted: dict[str, int] = {}
        self.all_states = True
        self.root = self._new(True, 0o755)

    def _new(self, is_dir: bool, mode: int, data: bytes = b"") -> int:
        number = len(self.inodes)
        self.inodes[number] = Inode(number, is_dir, mode, data)
        return number

    def put(self, path: str, is_dir: bool, mode: int, data: bytes = b"") -> int:
        """What is there, and safe, before the run."""
        parent, name = self._split(path)
        number = self._new(is_dir, mode, data)
        self.names[parent, name] = self.first[parent, name] = number
        return number

    def find(self, path: str) -> int | None:
        """The inode of a path as the program sees it now."""
        here: int | None = self.root
        for name in path.strip("/").split("/"):
            here = self.names.get((here, name)) if here is not None else None
        return here

    def _split(self, path: str) -> Entry:
        """Directory and name. Directories that the record has not made existed before."""
        directory, _, name = path.rpartition("/")
        parent = self.root if not directory else self.find(directory)
        if parent is None:
            parent = self.put(directory, True, 0o755)
        return parent, name

    def _change(self, text: str, inode: int | None, directories: tuple[int, ...],
                *outcomes: tuple[Effect, ...]) -> None:  # fmt: skip
        self.changes.append(Change(text, inode, directories, outcomes))
        for effect in outcomes[0]:
            if effect.entry is not None:
                if effect.inode is None:
                    self.names.pop(effect.entry, None)
                else:
                    self.names[effect.entry] = effect.inode

    def make(self, path: str, is_dir: bool, mode: int) -> None:
        """mkdir(2), or an open(2) that creates."""
        entry = self._split(path)
        number = self._new(is_dir, mode)
        self._change(f"make {path}", None, (entry[0],), (Effect(entry, number),), NOTHING)

    def write(self, number: int, data: bytes, offset: int, path: str) -> None:
        """write(2)."""
        half = len(data) // 2
        self._change(f"write {path}", number, (), (Effect(None, number, offset, data),),
                     (Effect(None, number, offset, b"\0" * len(data)),), (Effect(None, number, offset, data[:half]),),
                     NOTHING)  # fmt: skip

    def cut(self, number: int, path: str) -> None:
        """open(2) with O_TRUNC."""
        self._change(f"cut {path}", number, (), (Effect(None, number, length=0),), NOTHING)

    def chmod(self, number: int, mode: int, path: str) -> None:
        """chmod(2)."""
        self._change(f"chmod {path}", number, (), (Effect(None, number, mode=mode),), NOTHING)

    def link(self, old: str, new: str) -> None:
        """link(2)."""
        entry = self._split(new)
        self._change(f"link {new}", None, (entry[0],), (Effect(entry, self.find(old)),), NOTHING)

    def rename(self, old: str, new: str) -> None:
        """rename(2)."""
        source, target = self._split(old), self._split(new)
        there = (Effect(target, self.find(old)),)
        whole = (*there, Effect(source, None))
        if source[0] == target[0]:
            self._change(f"rename {old} {new}", None, (source[0],), whole, NOTHING)
        else:
            self._change(f"rename {old} {new}", None, (target[0], source[0]), whole, there, NOTHING)

    def remove(self, path: str) -> None:
        """unlink(2) or rmdir(2)."""
        entry = self._split(path)
        self.deleted[path] = self.names[entry]
        self._change(f"remove {path}", None, (entry[0],), (Effect(entry, None),), NOTHING)

    def sync(self, number: int) -> None:
        """fsync(2) of a file or a directory."""
        for index, change in enumerate(self.changes):
            if change.inode == number or change.directories[-1:] == (number,):
                self.safe_from.setdefault(index, len(self.changes))
            elif number in change.directories:
                # After a rename into this directory the new name is safe. The old name may be left, too.
                self.outcome_left.setdefault(index, len(self.changes))

    def choices(self, length: int) -> "Iterator[dict[int, int]]":
        """The possible outcomes of each of the first *length* changes, by its index."""
        here = range(length)
        base = dict.fromkeys(here, 0)
        open_ones = {}
        for index in here:
            if self.safe_from.get(index, length + 1) > length:
                count = len(self.changes[index].outcomes)
                bound = self.outcome_left.get(index, length + 1) <= length
                open_ones[index] = list(range(count - 1 if bound else count))
        total = 1
        for each in open_ones.values():
            total *= len(each)
        if total <= ALL_CHOICES:
            for chosen in itertools.product(*open_ones.values()):
                yield {**base, **dict(zip(open_ones, chosen, strict=True))}
            return
        self.all_states = False
        for rest in (0, -1):
            usual = {index: each[rest] for index, each in open_ones.items()}
            for number in (0, 1, 2):
                for those in itertools.combinations(open_ones, number):
                    for chosen in itertools.product(*(open_ones[index] for index in those)):
                        yield {**base, **usual, **dict(zip(those, chosen, strict=True))}

    def tree(self, choice: dict[int, int]) -> Tree:
        """What a crash with these outcomes leaves."""
        names = dict(self.first)
        held = {number: (inode.mode, inode.data) for number, inode in self.inodes.items()}
        for index, outcome in sorted(choice.items()):
            for effect in self.changes[index].outcomes[outcome]:
                if effect.entry is not None:
                    if effect.inode is None:
                        names.pop(effect.entry, None)
                    else:
                        names[effect.entry] = effect.inode
                    continue
                assert effect.inode is not None
                mode, data = held[effect.inode]
                if effect.mode is not None:
                    held[effect.inode] = effect.mode, data
                elif effect.length is not None:
                    held[effect.inode] = mode, data[:effect.length]
                else:
                    assert effect.data is not None
                    before = data[:effect.offset].ljust(effect.offset, b"\0")
                    after = data[effect.offset + len(effect.data):]
                    held[effect.inode] = mode, before + effect.data + after
        children: dict[int, list[tuple[str, int]]] = {}
        for (parent, name), number in names.items():
            children.setdefault(parent, []).append((name, number))
        found: Tree = {}
        todo = [("", self.root)]
        while todo:
            path, number = todo.pop()
            for name, child in children.get(number, []):
                below = f"{path}/{name}"
                found[below] = (child, self.inodes[child].is_dir, *held[child])
                todo.append((below, child))
        return found


    def paths(self) -> set[str]:
        """Every path whose name was made or removed during the record."""
        names = {number: entry for entry, number in (*self.first.items(), *self._made())}
        found = set()
        for change in self.changes:
            for effect in change.outcomes[0]:
                if effect.entry is not None:
                    parent, name = effect.entry
                    path = "/" + name
                    while parent != self.root:
                        parent, name = names[parent]
                        path = f"/{name}{path}"
                    found.add(path)
        return found

    def _made(self) -> Iterator[tuple[Entry, int]]:
        for change in self.changes:
            for effect in change.outcomes[0]:
                if effect.entry is not None and effect.inode is not None:
                    yield effect.entry, effect.inode

    def touched(self) -> set[int]:
        """The inodes that got a name, or other content or mode, during the record."""
        return {number for _, number in self._made()} | {
            change.inode for change in self.changes if change.inode is not None}  # fmt: skip


# -- the record --------------------------------------------------------------------------------------------------------

LINE = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)")
PARTS = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$|^(\d+) +(\w+\(.*) <unfinished \.\.\.>$")
ARGUMENT = re.compile(r' *(?:"((?:\\x[0-9a-f]{2})*)"|(?:AT_FDCWD|\d+)<((?:\\x[0-9a-f]{2})*)>(?:\(deleted\))?|([^,]+))')


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def lines_of(trace: str) -> Iterator[tuple[str, list[str | bytes]]]:
    """(name, arguments) of each call of strace -f -y -xx that succeeded; a descriptor as its file's path.

    Paths are absolute. If a process has not changed its directory, it is assumed to be in /.
    """
    begun: dict[str, str] = {}
    directories: dict[str, str] = {}
    for line in trace.splitlines():
        parts = PARTS.match(line)
        if parts and parts[4]:
            begun[parts[4]] = parts[5]
            continue
        if parts:
            line = f"{parts[1]} {begun.pop(parts[1])}{parts[3]}"
        match = LINE.match(line)
        if not match or int(match[4]) < 0:
            continue
        process, name = match[1], match[2]
        here = directories.get(process, "/")
        arguments: list[str | bytes] = []
        for text, path, word in ARGUMENT.findall(match[3]):
            arguments.append(_bytes(path).decode() if path else word.strip() or _bytes(text))
        if name not in FILLS:
            arguments = _absolute(arguments, here)
        if name in ("chdir", "fchdir"):
            directories[process] = str(arguments[0])
        else:
            yield name, arguments


def _absolute(arguments: list[str | bytes], here: str) -> list[str | bytes]:
    """Arguments with absolute paths: a path is relative to the descriptor before it, or to the directory of the
    process."""
    found: list[str | bytes] = []
    base = ""
    for one in arguments:
        if isinstance(one, bytes):
            found.append(os.path.join(base or here, one.decode()))
            base = ""
            continue
        if base:
            found.append(base)
        base = one if one.startswith("/") else ""
        if not base:
            found.append(one)
    return [*found, base] if base else found


def record(trace: str, before: Disk) -> Disk:
    """The changes that a traced program made to a disk. Raises RuntimeError for a call that this model does not
    have."""
    disk = before
    written: dict[int, int] = {}
    for name, given in lines_of(trace):
        words = [one for one in given if isinstance(one, str)]
        paths = [one for one in words if one.startswith("/")]
        # With a slash: those directories themselves are synced, too.
        if not paths or not f"{paths[-1]}/".startswith(tuple(f"/{one}/" for one in LOOKED_AT)):
            continue
        if name in NOT_MODELLED:
            raise RuntimeError(f"{name} is not in the model: {given}")
        path = paths[-1]
        if path.startswith(PAIR_WORK + "/"):
            continue
        number = disk.find(path)
        if number is None:
            number = disk.deleted.get(path)
        if name in ("open", "openat", "creat"):
            flags = next((one for one in words if "O_" in one), "O_CREAT|O_TRUNC")
            if number is None and "O_CREAT" in flags:
                disk.make(path, False, int(words[-1], 8))
            elif number is not None and "O_TRUNC" in flags:
                disk.cut(number, path)
                written.pop(number, None)
        elif name in ("mkdir", "mkdirat"):
            disk.make(path, True, int(words[-1], 8))
        elif name in ("rename", "renameat", "renameat2"):
            disk.rename(*paths)
        elif name in ("link", "linkat"):
            disk.link(*paths)
        elif name in ("unlink", "unlinkat", "rmdir"):
            disk.remove(path)
        elif number is not None and name == "write":
            data = given[1]
            assert isinstance(data, bytes)
            disk.write(number, data, written.get(number, 0), path)
            written[number] = written.get(number, 0) + len(data)
        elif number is not None and name in ("chmod", "fchmod", "fchmodat"):
            disk.chmod(number, int(words[1], 8), path)
        elif number is not None and name in ("fsync", "fdatasync"):
            disk.sync(number)
    return disk


def disk_of(state: pathlib.Path, installed: pathlib.Path) -> Disk:
    """The disk before a run: the files of a state, and the directories of the installed tree under them."""
    disk = Disk()
    for base in (installed, state):
        for one in LOOKED_AT:
            for path in sorted((base / one).rglob("*")):
                name, held = f"/{path.relative_to(base)}", path.lstat()
                is_dir = stat.S_ISDIR(held.st_mode)
                if (is_dir or base == state) and disk.find(name) is None:
                    is_link = stat.S_ISLNK(held.st_mode)
                    data = b"" if is_dir else os.readlink(bytes(path)) if is_link else path.read_bytes()
                    disk.inodes[disk.put(name, is_dir, stat.S_IMODE(held.st_mode), data)].is_link = is_link
    return disk


# -- the states --------------------------------------------------------------------------------------------------------


class Crashes:
    """The crash states of one program."""

    def __init__(self, program: Program, installed: pathlib.Path, scratch: pathlib.Path) -> None:
        self.program, self.installed, self.scratch = program, installed, scratch
        self.start = scratch / "start"
        self.start.mkdir()
        programs.prepare(program, installed, self.start)
        done = programs.copy(self.start, scratch / "undisturbed")
        trace = scratch / "trace"
        ended = programs.run(installed, done, program.command, "strace", "-f", "-qq", "-y", "-xx", "-s", "1000000",
                             "-e", "trace=" + TRACED, "-o", str(trace))  # fmt: skip
        self.disk = record(trace.read_text(), disk_of(self.start, installed))
        self.promised = programs.conf_of(done), programs.pair_of(done)
        # None if the run removes the note after it has read it. A crash may lose this removal, because it is repeated.
        self.noted = programs.note_of(done)
        self.promise = programs.Promise(program, installed, self.start, done, ended)

    def states(self) -> dict[str, tuple[Tree, bool]]:
        """Each different state, by how it came to be, and whether the program had ended."""
        seen: set[tuple[object, bool]] = set()
        found = {}
        for length in range(len(self.disk.changes) + 1):
            for choice in self.disk.choices(length):
                tree = self.disk.tree(choice)
                ended = length == len(self.disk.changes)
                mark = frozenset(tree.items()), ended
                if mark not in seen:
                    seen.add(mark)
                    lost = [f"{self.disk.changes[index].text} ({outcome})"
                            for index, outcome in choice.items() if outcome]  # fmt: skip
                    found[f"after {length}, without {'; '.join(lost) or 'nothing'}"] = tree, ended
        if self.program.ours and not self.disk.all_states:
            raise RuntimeError(f"{self.program.name}: too many states to build all of them")
        return found

    def look(self, number: int, tree: Tree, ended: bool) -> Seen:
        """What is wrong with one state, and what a re-run leaves wrong."""
        state = programs.copy(self.start, self.scratch / str(number))
        try:
            self._build(state, tree)
            broken = self.promise.damage(state)
            if not self.program.ours:
                broken = broken or programs.pair_problem(state)
                programs.run(self.installed, state, programs.START)
                return Seen(broken, programs.pair_problem(state))
            noted = self.noted is None or programs.note_of(state) == self.noted
            if ended and ((programs.conf_of(state), programs.pair_of(state)) != self.promised or not noted):
                broken = broken or "what was done is not on disk"
            return Seen(broken, self.promise.left(state))
        finally:
            shutil.rmtree(state)

    def _build(self, state: pathlib.Path, tree: Tree) -> None:
        for path in sorted(self.disk.paths() - set(tree), reverse=True):
            real = state / path[1:]
            if real.is_dir():
                shutil.rmtree(real)
            else:
                real.unlink(missing_ok=True)
        names: dict[int, pathlib.Path] = {}
        for path, (number, is_dir, mode, data) in sorted(tree.items()):
            real = state / path[1:]
            if is_dir:
                if path in self.disk.paths():
                    real.mkdir(parents=True, exist_ok=True)
                    real.chmod(mode)
            elif number in self.disk.touched():
                real.parent.mkdir(parents=True, exist_ok=True)
                real.unlink(missing_ok=True)
                if self.disk.inodes[number].is_link:
                    os.symlink(data, bytes(real))
                elif number in names:
                    os.link(names[number], real)
                else:
                    real.write_bytes(data)
                    real.chmod(mode)
                names[number] = real


# -- all states --------------------------------------------------------------------------------------------------------


def sweep(program: Program, known: dict[str, Seen] | None = None, tell: Callable[[str, Seen, int], None] | None = None,
          only: Callable[[list[str]], list[str]] = list) -> dict[str, Seen]:  # fmt: skip
    """Check each crash state of a program. Returns the results by how the states came about. known, tell: as in
    sweep.sweep().

    only: chooses some of the states.
    """
    with programs.installation() as (installed, scratch):
        one = Crashes(program, installed, scratch)
        states = one.states()
        chosen = only(list(states))
        found = {text: known[text] for text in chosen if known and text in known}
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            waiting = {pool.submit(one.look, number, *states[text]): text
                       for number, text in enumerate(chosen) if text not in found}  # fmt: skip
            try:
                for done in concurrent.futures.as_completed(waiting):
                    text = waiting[done]
                    found[text] = done.result()
                    if tell:
                        tell(text, found[text], len(chosen))
            finally:
                # After an exception the rest is left for the next run.
                pool.shutdown(cancel_futures=True)
    return found
