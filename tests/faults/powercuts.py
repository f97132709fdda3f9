"""Cut the power of machines while a package manager or catcherctl works; then boot, repair and check them.

`python -m tests.faults.powercuts [--cuts 10] [--first 0] [--row ROW]... [--change CHANGE]...`: prints a line for each
cut, and a line at the end of each row. Exit status 1 if a cut left damage. The number of a cut decides its instant: the
same number is the same part of the time that the undisturbed change takes.

A power cut is SIGKILL to qemu: what the machine has not flushed to its disk is lost. Then the machine boots, the
package manager's own repair runs, and the command is typed again if the change is not complete. Three things are
checked: before the repair, that configuration, key and certificate are whole; before catcherctl is typed again, that
the host is sound in its old or new state; and at the end the mode, the pair, the service, what the package manager
knows, all our files, and leftovers. A machine that does not boot or does not answer counts as not repaired.

A file that was synced before the cut must exist after it. Otherwise the row fails: on a disk that loses synced data, no
damage could be blamed on the package.

Each cut needs a boot, which takes a minute or more if the machine is emulated. So `make check` makes no cuts.
"""

import argparse
import contextlib
import dataclasses
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence

from tests.faults.sweep import Seen
from tests.matrix import disks, engine, images, qemu
from tests.matrix.engine import MatrixError
from tests.matrix.qemu import VirtualMachine
from tests.packaging import packages
from tests.packaging.soundness import assert_sound
from tests.packaging.system import CERTIFICATE, CONF, KEY, STAMP, System
from tests.packaging.workstation import ThroughPort
from tests.unit import pem
from tests.unit.authority import issue

(CELL,) = images.with_role("power cuts")
# The longest time between the end of the command and a cut: by then ext4 has written names, and not yet all data.
LINGER_S = 15.0
TOOLS = {
    "dpkg": {"install": "dpkg -i {}", "purge": "dpkg -P csulcca", "repair": "dpkg --configure -a",
             "verify": "dpkg -V csulcca", "version": "dpkg-query -W -f '${db:Status-Abbrev}${Version}' csulcca"},
    "rpm": {"install": "rpm -U --nodeps {}", "purge": "rpm -e csulcca", "repair": "rpm -Va --nodeps csulcca || :",
            "verify": "rpm -V --nodeps csulcca", "version": "rpm -q --qf '%{VERSION} ' csulcca"},
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Row:
    """A kind of disk, a package manager, and the number of cuts of `make faults`. words: for the kernel."""

    name: str
    tool: str
    cuts: int
    words: str = ""
    fstype: str = "ext4"

    @property
    def blocked(self) -> str:
        """What this host does not have for it, or ""."""
        command = disks.MKFS[self.fstype][0]
        lacking = "" if shutil.which(command) else f"no {command} on this host: install btrfs-progs, xfsprogs"
        return images.blocked(CELL) or lacking


# No `nobarrier`: the machine would never flush its disk, so a cut would take everything away, the damage too.
ROWS = [
    Row("dpkg on ext4", "dpkg", 60),
    Row("dpkg on ext4, writeback", "dpkg", 40, "rootflags=data=writeback"),
    Row("dpkg on xfs", "dpkg", 30, "rootfstype=xfs", "xfs"),
    Row("dpkg on btrfs", "dpkg", 30, "rootfstype=btrfs", "btrfs"),
    Row("rpm on ext4", "rpm", 40),
]
CONTROL = Row("openssl req on ext4", "dpkg", 4)


@dataclasses.dataclass(frozen=True)
class Change:
    """The change that is cut. start: of STARTS; command: with {install}, {purge}; modes: the modes that are allowed
    after a cut, and the mode after the command has run again; pair: `made`, `none`, `kept` or `given`. gone: the change
    leaves nothing of the package."""

    start: str
    command: str
    package: str = "new"
    modes: tuple[str, ...] = ("tls",)
    pair: str = "kept"
    gone: bool = False
    findings: tuple[str, ...] = ()


CHANGES = {
    "installation": Change("nothing", "{install}", pair="made"),
    "upgrade from 7.3": Change("7.3", "{install}", modes=("tcp",), pair="none", findings=("upgraded-tcp-kept",)),
    "upgrade from 8": Change("8.0", "{install}", "next"),
    "mode": Change("8.0", "catcherctl mode tcp", modes=("tls", "tcp")),
    "cert install": Change("8.0", "catcherctl cert install /root/given.key /root/given.crt", pair="given"),
    "purge": Change("8.0", "{purge}", gone=True),
}
OPENSSL = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout /root/o.key -out /root/o.crt"

# Written and synced before each cut.
SYNCED = "/root/synced"
# What catcher.conf may contain, and the mode that this is.
MODES = {"TLS_ON": "tls", "TLS_OFF": "tcp"}

# Our files that are empty, contain only zeros, or are bytecode that Python cannot read. Arguments: the directories.
TORN = """
import marshal, os, sys
for top in sys.argv[1:]:
    for directory, _, names in os.walk(top):
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.isfile(path) or os.path.islink(path):
                continue
            data = open(path, "rb").read()
            if name.endswith(".pyc"):
                try:
                    marshal.loads(data[16:])
                except Exception as error:
                    print(path, "is torn:", error)
            elif not data.strip(b"\\0") and name not in ("__init__.py", "lock", "py.typed"):
                print(path, "is empty, or all zeros")
"""


class BlindError(MatrixError):
    """What was synced before a cut is gone after it: then nothing that is seen says anything about the package."""


OURS = ("/opt/IBM", "/etc/cca", "/var/lib/csulcca", "/usr/lib/csulcca", "/usr/share/csulcca")


class Cuts:
    """The cuts of one row: the machines to start from, made when they are first needed, and what is done to them."""

    def __init__(self, row: Row, built: packages.Built, directory: pathlib.Path) -> None:
        """directory: where the machines to start from are kept."""
        self.row, self.built, self.directory = row, built, directory
        self.cell = CELL
        self.tool = TOOLS[row.tool]
        self.family = "rpm" if row.tool == "rpm" else "deb"
        self.took: dict[str, float] = {}

    def start(self, name: str) -> str:
        """The directory of a machine in the state before a change: with `nothing`, `7.3` or `8.0` installed."""
        directory = self.directory / name
        if directory.exists():
            return str(directory)
        base = self._base() if name == "nothing" else self.start("nothing")
        with self._machine(base) as machine:
            system = self._system(machine)
            if name == "nothing":
                for path, target in ((self.built.new(self.family), "new"), (self.built.old(self._of_family()), "old"),
                                     (self.built.new(self.family, "8.0.1"), "next")):  # fmt: skip
                    machine.copy_in(path, self._package(target))
                key = pem.key_of("prime256v1")
                machine.write("/root/given.key", key, mode=0o600)
                machine.write("/root/given.crt", issue(key, "zlinux1", ["zlinux1"]))
            else:
                machine.run(self.tool["install"].format(self._package("old" if name == "7.3" else "new")))
                if name == "8.0":
                    assert_sound(system, "tls")
            machine.run("sync")
            machine.save(directory)
        return str(directory)

    def _base(self) -> str:
        """An image to boot, or a booted one, with the disk of this row."""
        booted = images.ensure(self.cell)
        if not self.row.words:
            return booted
        image = images.machine_image(self.cell)
        other = dataclasses.replace(image, directory=self.directory / "image", words=self.row.words)
        other.directory.mkdir()
        if self.row.fstype != "ext4":
            disks.make(image.directory.parent / "root.tar", other, fstype=self.row.fstype)
            return str(other.directory)
        for path in (image.disk, image.kernel, image.initrd):
            (other.directory / path.name).symlink_to(path)
        other.write_facts()
        return str(other.directory)

    def _machine(self, image: str) -> VirtualMachine:
        return VirtualMachine(image, name="zlinux1")

    def _system(self, machine: VirtualMachine) -> System:
        return System(machine, self.cell, ThroughPort(machine.forwarded))

    def _of_family(self) -> images.Cell:
        return dataclasses.replace(self.cell, family=self.family)

    def _package(self, which: str) -> str:
        return f"/root/{which}.{self.family}"

    def command(self, change: Change) -> str:
        """What is typed."""
        return change.command.format(install=self.tool["install"].format(self._package(change.package)),
                                     purge=self.tool["purge"])  # fmt: skip

    def seconds(self, name: str) -> float:
        """How long an undisturbed change takes. Raises MatrixError if the host is wrong after it."""
        if name in self.took:
            return self.took[name]
        change = CHANGES[name]
        with self._machine(self.start(change.start)) as machine:
            system = self._system(machine)
            before = pair_of(system)
            begun = time.monotonic()
            machine.run(self.command(change))
            self.took[name] = time.monotonic() - begun
            wrong = self.damage(system, change, before)
            if wrong:
                raise MatrixError(f"{name}, undisturbed: {'; '.join(wrong)}")
            return self.took[name]

    def cut(self, name: str, number: int) -> Seen:
        """Cut the power at the instant of that number. Returns what was damaged, and what a repair did not fix."""
        change = CHANGES[name]
        part = random.Random(f"{name} {number}").random()
        after = part * (self.seconds(name) + LINGER_S)
        with self._machine(self.start(change.start)) as machine:
            system = self._system(machine)
            before = pair_of(system)
            machine.run("sync")
            mark(machine, number)
            machine.begin(f"{self.command(change)} >/root/log 2>&1 </dev/null")
            pause(after)
            machine.cut_power()
            try:
                machine.power_on()
                look_for_mark(machine, number)
                return self.judge(system, change, before, f"cut after {after:.1f} s")
            except BlindError:
                raise
            except MatrixError as error:
                return Seen("", f"the machine does not boot or answer, cut after {after:.1f} s: {error}")

    def judge(self, system: System, change: Change, before: str, said: str) -> Seen:
        """Check a machine that has booted after a cut, repair it, and check it again. before: its pair_of(); said: text
        before the repair's output."""
        torn = self.torn_before_repair(system, change)
        commands = self.repairs(system, change)
        log = [said, typed(system, next(commands))]
        wrong = self.halfway(system, change, before)
        log += [typed(system, command) for command in commands]
        wrong += self.damage(system, change, before)
        return Seen("; ".join(torn), "\n".join([*wrong, *log]) if wrong else "")

    def torn_before_repair(self, system: System, change: Change) -> list[str]:
        """What is wrong although it must never be, not even before a repair."""
        found = []
        conf = system.show(f"cat {CONF}")
        if system.machine.exists(CONF) and MODES.get(conf) not in change.modes:
            found.append(f"catcher.conf says {conf!r}")
        for path in (KEY, CERTIFICATE):
            if system.machine.exists(path) and not system.show(f"cat {path}").startswith("-----BEGIN"):
                found.append(f"{path} is torn")
        if system.machine.exists(STAMP) and not is_json(system.show(f"cat {STAMP}")):
            found.append(f"{STAMP} is torn")
        return found

    def repairs(self, system: System, change: Change) -> Iterator[str]:
        """The commands of an administrator after the cut."""
        yield self.tool["repair"]
        if change.gone:
            if system.machine.run(self.tool["version"], check=False).rc == 0:
                yield self.command(change)
        elif change.command == "{install}":
            wanted = "8.0.1" if change.package == "next" else "8.0.0"
            known = system.show(self.tool["version"])
            if known not in (f"ii {wanted}-1", f"{wanted} ") or system.show(self.tool["verify"]):
                again = self.command(change)
                yield again.replace("-U", "-U --replacepkgs") if self.row.tool == "rpm" else again
        else:
            yield self.command(change)

    def halfway(self, system: System, change: Change, before: str) -> list[str]:
        """What is wrong with a host after a boot and the package manager's repair, if a command of catcherctl was cut
        and nobody has typed it again: it must be sound in the old or the new mode, with one whole pair."""
        if not change.command.startswith("catcherctl "):
            return []
        conf = system.show(f"cat {CONF}")
        mode = MODES.get(conf, "")
        wrong = unsound(system, mode) if mode in change.modes else [f"catcher.conf says {conf!r}"]
        pair = pair_of(system)
        if pair != before and (change.pair != "given" or pair != given_of(system)):
            wrong.append(f"the pair was {before}, and is {pair}")
        return [f"before the command was typed again: {one}" for one in wrong]

    def damage(self, system: System, change: Change, before: str) -> list[str]:
        """What is wrong with a host after the change, in words."""
        if change.gone:
            left = system.show(f"find {' '.join(OURS)} -type f -not -path {CONF}; systemctl is-active CSUTKEcat")
            return [] if left == "inactive" else [f"left: {left}"]
        wrong = unsound(system, change.modes[-1], change.findings)
        wrong += system.show(self.tool["verify"]).splitlines()
        done = system.machine.run(["python3", "-c", TORN, *OURS])
        wrong += done.out.splitlines()
        pair = pair_of(system)
        if change.pair == "kept" and pair != before:
            wrong.append(f"the pair was {before}, and is {pair}")
        if change.pair == "none" and pair:
            wrong.append(f"there is a pair: {pair}")
        given = given_of(system)
        if change.pair == "given" and pair != given:
            wrong.append(f"the pair given was {given}, and the one in use is {pair}")
        if change.pair == "made" and (len(pair.split()) != 2 or set(pair.split()) & set(given.split())):
            wrong.append(f"no pair was made: {pair}")
        return wrong


def typed(system: System, command: str) -> str:
    """Type a command. Returns it with its exit status and output."""
    done = system.machine.run(command + " </dev/null", check=False)
    return f"$ {command}: {done.rc}\n{done.out}{done.err}"


def unsound(system: System, mode: str, findings: tuple[str, ...] = ()) -> list[str]:
    """What assert_sound() reports, or nothing."""
    try:
        assert_sound(system, mode, findings=findings)
    except (AssertionError, MatrixError) as error:
        return [f"not sound: {error}"]
    return []


def mark(machine: VirtualMachine, number: int) -> None:
    """Write the number of a cut, and sync only that."""
    machine.run(f"echo {number} >{SYNCED} && sync {SYNCED} /root")


def look_for_mark(machine: VirtualMachine, number: int) -> None:
    """Raise BlindError if what mark() synced is gone after the cut."""
    found = machine.run(f"cat {SYNCED}", check=False).out.strip()
    if found != str(number):
        raise BlindError(f"what was synced before a cut is gone after it: {SYNCED} says {found!r} instead of {number}",
                         "this disk keeps nothing, so no damage can be seen on it")  # fmt: skip


def given_of(system: System) -> str:
    """The SHA-256 of the key and the certificate that `catcherctl cert install` is given."""
    return " ".join(system.show("sha256sum /root/given.key /root/given.crt | cut -d' ' -f1").split())


def pair_of(system: System) -> str:
    """The SHA-256 of the key and of the certificate, if they exist."""
    return " ".join(system.show(f"sha256sum {KEY} {CERTIFICATE} 2>/dev/null | cut -d' ' -f1").split())


def is_json(text: str) -> bool:
    """Whether it is a whole document."""
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def pause(seconds: float) -> None:
    """Let this much time pass on the build host: here time itself is tested."""
    time.sleep(seconds)


def openssl_cut(cuts: Cuts, number: int) -> Seen:
    """The same with a program that does not sync what it writes: it proves that a torn file is seen."""
    with cuts._machine(cuts.start("nothing")) as machine:
        mark(machine, number)
        machine.run(OPENSSL)
        pause(random.Random(f"openssl {number}").uniform(5, LINGER_S))
        machine.cut_power()
        machine.power_on()
        look_for_mark(machine, number)
        torn = [path for path in ("/root/o.key", "/root/o.crt")
                if machine.exists(path) and not machine.read(path).startswith(b"-----BEGIN")]  # fmt: skip
        return Seen(f"torn: {' '.join(torn)}" if torn else "", "")


@contextlib.contextmanager
def of_row(row: Row) -> Iterator[Cuts]:
    """The cuts of a row; the machines to start from are removed at the end."""
    engine.prepare()
    # Remove the files of a killed run, which take gigabytes.
    qemu.sweep(images.cache_directory())
    with tempfile.TemporaryDirectory(dir=images.cache_directory(), prefix=engine.owned_name("cuts-")) as directory:
        yield Cuts(row, packages.ensure(), pathlib.Path(directory))


def sweep(row: Row, known: dict[str, Seen], tell: Callable[[str, Seen, int], None]) -> dict[str, Seen]:
    """All cuts of a row, one change after another, except those in `known`; for tests/faults/table.py."""
    found = dict(known)
    names = {f"{name}, cut {number}": (name, number) for number in range(row.cuts)
             for name in [list(CHANGES)[number % len(CHANGES)]]}  # fmt: skip
    if names.keys() <= found.keys():
        return found
    with of_row(row) as cuts:
        for text, (name, number) in names.items():
            if text not in found:
                found[text] = openssl_cut(cuts, number) if row is CONTROL else cuts.cut(name, number)
                tell(text, found[text], row.cuts)
    return found


def cut_row(row: Row, numbers: range, changes: Sequence[str] | None) -> int:
    """Make the cuts with these numbers for each change, all of the row unless given. Prints a line for each cut.
    Returns the number of cuts that left damage."""
    failed = 0
    with of_row(row) as cuts:
        for change in ["openssl"] if row is CONTROL else changes or list(CHANGES):
            for number in numbers:
                begun = time.monotonic()
                seen = openssl_cut(cuts, number) if row is CONTROL else cuts.cut(change, number)
                failed += bool(seen.damage or seen.left) and row is not CONTROL
                print(f"{row.name}, {change}, cut {number}, {time.monotonic() - begun:.0f} s: "
                      f"{seen.damage or 'nothing torn'}; {seen.left or 'repaired'}", flush=True)  # fmt: skip
    return failed


def main(arguments: list[str]) -> int:
    """The command line; see the module's docstring."""
    rows = {row.name: row for row in [*ROWS, CONTROL]}
    parser = argparse.ArgumentParser(prog="python3 -m tests.faults.powercuts")
    parser.add_argument("--cuts", type=int, default=10, help="of each row and change")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one")
    parser.add_argument("--row", action="append", choices=list(rows))
    parser.add_argument("--change", action="append", choices=list(CHANGES))
    options = parser.parse_args(arguments)
    failed = 0
    with engine.plain_errors():
        for name in options.row or list(rows):
            try:
                failed += cut_row(rows[name], range(options.first, options.first + options.cuts), options.change)
            except MatrixError as error:
                failed += 1
                print(f"{name}: FAILED: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
