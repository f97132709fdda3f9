"""Kill the package manager at many points of an upgrade from CCA 7.3, then repair the host as an administrator would.

`python -m tests.faults.transactions [--points 50] [--cell CELL]... [--tool TOOL]... [--start START]...`: each tool of a
cell upgrades, first undisturbed to measure the time, then killed at points spread over that time, each on a new
machine. Prints a line for each tool and start: points, points that hit the transaction, and points with damage or
without repair. Exit status 1 if there is one of the latter, or if too few points hit the transaction.

There are two starts. 7.3 as it was installed must stay in TCP and get no pair. A host on which an administrator has
written TLS_ON and installed a pair must use this pair afterwards, with unchanged files; it is killed at half as many
points.

SIGKILL goes to the process group of the package manager, and to what it has started in other groups. The repair is the
package manager's own repair if it has one, then the same command again, then a reinstallation if rpm believes that the
new package is installed already.
"""

import argparse
import dataclasses
import pathlib
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Iterator

from tests.matrix import engine, images
from tests.matrix.machine import Machine
from tests.packaging.conftest import CELLS, Built
from tests.packaging.system import CERTIFICATE, COMMANDS, CONF, DAEMON, KEY, PORT, TOOLS, System

POINTS = 50
# How often a point is tried again if it came after the end of the transaction.
TRIES = 3


def with_tools(cells: Iterable[images.Cell]) -> list[tuple[images.Cell, str]]:
    """Each cell with each of its two tools."""
    return [(cell, tool) for cell in cells for tool in TOOLS[cell.package_manager]]


REFERENCES = with_tools(cell for cell in images.with_role("reference") if cell.boot)
RUN_TIMEOUT_S = 300

# Runs a command in its own session, kills it with all its descendants after a time, and prints how it ended: "ended
# SECONDS STATUS" or "killed". The output of the command goes to a file. It stops each process before it looks for its
# children, so that it misses no new child.
KILLER = """
import os, signal, subprocess, sys, time

def children(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                fields = open("/proc/%s/stat" % name).read().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid:
                found.append(int(name))
    return found

def stop(pid, seen):
    try:
        os.kill(pid, signal.SIGSTOP)
    except ProcessLookupError:
        return
    seen.append(pid)
    for child in children(pid):
        stop(child, seen)

delay, command = float(sys.argv[1]), sys.argv[2]
begin = time.monotonic()
with open("/root/transaction.log", "wb") as log:
    process = subprocess.Popen(["sh", "-c", "exec " + command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                               start_new_session=True)
try:
    status = process.wait(delay if delay else None)
    print("ended", time.monotonic() - begin, status)
except subprocess.TimeoutExpired:
    seen = []
    stop(process.pid, seen)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    for pid in seen:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    print("killed")
"""

REPAIRS = {"dpkg": ["dpkg --configure -a"], "apt": ["dpkg --configure -a", "apt-get -f -y install"],
           "rpm": [], "dnf": []}  # fmt: skip
AGAIN = {"dpkg": "dpkg -i {}", "apt": "apt-get install -y {}", "rpm": "rpm -U --replacepkgs {}",
         "dnf": "dnf -y install {}"}  # fmt: skip


# A pair that no hook would make: of another kind, with other modes, and with a group.
OWN_PAIR_COMMANDS = f"""
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=zlinux1 -addext subjectAltName=DNS:zlinux1 \\
        -keyout {KEY} -out {CERTIFICATE} 2>&1
    chmod 400 {KEY}
    chgrp cca_admin {CERTIFICATE}
    chmod 640 {CERTIFICATE}
    mkdir -p {CONF.rpartition("/")[0]}
    echo TLS_ON >{CONF}
"""


@dataclasses.dataclass(frozen=True)
class Start:
    """A host of 7.3 before the upgrade.

    name: in the table. commands: what an administrator has done on it. before: what catcher.conf may contain until the
    upgrade is finished, "" for no file. conf, argv: what catcher.conf contains, and ps shows of the daemon, after it.
    pair: whether there is a pair. share: the number of points is divided by this.
    """

    name: str
    commands: str
    before: tuple[str, ...]
    conf: str
    argv: str
    pair: bool
    share: int


TCP = Start("TCP", "", ("", "TLS_OFF"), "TLS_OFF", DAEMON, False, 1)
OWN_PAIR = Start("own pair", OWN_PAIR_COMMANDS, ("TLS_ON",), "TLS_ON", DAEMON + " -tls", True, 2)


def starts_of(cell: images.Cell) -> list[Start]:
    """The starts that a cell can have."""
    return [start for start in (TCP, OWN_PAIR) if cell.mode == "TLS" or not start.pair]


@dataclasses.dataclass(frozen=True)
class Point:
    """One kill: after how many seconds, what was wrong after the repair, and, if it came after the end of the
    transaction, the seconds that the transaction took."""

    after: float
    wrong: tuple[str, ...]
    ended: float | None = None

    @property
    def met(self) -> bool:
        """Whether it hit the transaction."""
        return self.ended is None


class Upgrade:
    """The upgrade of one cell with one tool, from one start. variant: of CCA 7.3's package."""

    def __init__(self, cell: images.Cell, tool: str, built: Built, start: Start = TCP,
                 variant: str = "normal") -> None:  # fmt: skip
        """Describe the upgrade; nothing runs yet."""
        self.cell, self.tool, self.built, self.start, self.variant = cell, tool, built, start, variant

    def seconds(self) -> float:
        """The seconds of an undisturbed upgrade. Raises AssertionError if it fails or if the host is wrong after it."""
        with self._legacy() as machine:
            system = System(machine, self.cell)
            said = self._run(system, 0)
            assert said[0] == "ended" and said[2] == "0", machine.read("/root/transaction.log").decode()
            wrong = damage(system, self.start, machine.pair)
            assert not wrong, wrong
            return float(said[1])

    def kill(self, after: float) -> Point:
        """Kill it after some seconds, repair the host, and check it."""
        with self._legacy() as machine:
            system = System(machine, self.cell)
            said = self._run(system, after)
            early = half(system, self.start, machine.pair)
            log = [machine.read("/root/transaction.log").decode(errors="replace")]
            # rpm names unfinished files after the second in which it began, and fails if such a file exists already.
            killed_at = int(time.time())
            machine.wait_for("the next second", lambda: int(time.time()) > killed_at)
            for command in [*REPAIRS[self.tool], AGAIN[self.tool].format(self._target())]:
                done = machine.run(command + " <&-", check=False, timeout=RUN_TIMEOUT_S)
                log.append(f"$ {command}: {done.rc}\n{done.out}{done.err}")
            if "already installed" in done.out:
                # The new package is in rpm's database, and its last scriptlet or the removal of the old package was
                # interrupted.
                done = machine.run(f"dnf -y reinstall {self._target()} <&-", check=False, timeout=RUN_TIMEOUT_S)
                log.append(f"$ dnf reinstall: {done.rc}\n{done.out}{done.err}")
            wrong = early + damage(system, self.start, machine.pair)
            ended = float(said[1]) if said[0] == "ended" else None
            return Point(after, tuple([*wrong, "\n".join(log)] if wrong else []), ended)

    def _legacy(self) -> "_Legacy":
        return _Legacy(self)

    def _target(self) -> str:
        return "/root/" + self.built.new(self.cell.family).name

    def _run(self, system: System, delay: float) -> list[str]:
        command = COMMANDS[self.tool]["install"].format(self._target())
        done = system.machine.run(["python3", "-c", KILLER, str(delay), command], timeout=RUN_TIMEOUT_S)
        return done.out.split()


class _Legacy(Machine):
    """A machine on which CCA 7.3 runs, in the state of the start, with our package on it."""

    def __init__(self, upgrade: Upgrade) -> None:
        super().__init__(images.ensure(upgrade.cell), name="zlinux1")
        self.upgrade = upgrade
        self.pair = ""
        """What pair_of() tells of it before the upgrade."""

    def __enter__(self) -> "_Legacy":
        super().__enter__()
        try:
            up = self.upgrade
            system = System(self, up.cell)
            system.package(system.tools[1], "install", up.built.old(up.cell, up.variant))
            self.wait_for("7.3 at work", lambda: self.run("systemctl is-active CSUTKEcat", check=False).rc == 0)
            self.run("set -e\n" + up.start.commands)
            self.pair = pair_of(system)
            self.copy_in(up.built.new(up.cell.family), up._target())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self


def pair_of(system: System) -> str:
    """A text that identifies both files of the pair: kind, mode, owner, inode, time of the last change, and SHA-256. A
    missing file adds nothing."""
    return system.show(f"for file in {KEY} {CERTIFICATE}; do [ ! -e $file ] || "
                       "{ stat -c '%n %F %a %U:%G inode %i of %y' $file; sha256sum $file; }; done")  # fmt: skip


def half(system: System, start: Start, pair: str) -> list[str]:
    """What is wrong although it must never happen, not even before a repair: half a pair that no run can finish,
    another pair than the administrator's (pair_of() before the upgrade), or a mode that was not set before."""
    wrong = []
    bin_directory = system.show("ls -A /opt/IBM/CCA/bin").split()
    if ("catcher.key" in bin_directory) != ("catcher.crt" in bin_directory) and ".catcher-pair" not in bin_directory:
        wrong.append(f"half a pair: {bin_directory}")
    if start.pair and pair_of(system) != pair:
        wrong.append(f"before the repair the pair is not the administrator's\n{pair}\nany more, but\n{pair_of(system)}")
    conf = system.show(f"cat {CONF} 2>/dev/null")
    if conf not in start.before:
        wrong.append(f"before the repair catcher.conf says {conf!r}")
    return wrong


def damage(system: System, start: Start, pair: str) -> list[str]:
    """What is wrong with an upgraded host, in words; nothing if all is as after an undisturbed upgrade. pair: pair_of()
    before it."""
    wrong = []
    conf = system.show(f"cat {CONF}")
    if conf != start.conf:
        wrong.append(f"the mode was that of {start.conf}, and catcher.conf says {conf!r}")
    if system.service() != ("enabled", "active"):
        wrong.append(f"the service was enabled and active, and is {system.service()}")
    if system.argv() != start.argv:
        wrong.append(f"ps shows {system.argv()!r}")
    names = system.show("ls -A /opt/IBM/CCA/bin").split()
    left = [name for name in names if name.startswith((".catcher-pair", "catcher.key", "catcher.crt"))]
    if sorted(left) != (["catcher.crt", "catcher.key"] if start.pair else []):
        wrong.append(f"of a pair there is {left}")
    if pair_of(system) != pair:
        wrong.append(f"the pair was\n{pair}\nand is\n{pair_of(system)}")
    if start.pair:
        wrong += _not_in_use(system)
    if system.show("find /etc/rc*.d /etc/rc.d -name '[SK]??CSUTKEcat' 2>/dev/null"):
        wrong.append("links of the init script are left")
    asked = ("rpm -qa csulcca --qf '%{VERSION}\\n'" if system.cell.family == "rpm"
             else "dpkg-query -W -f '${Version} ${db:Status-Status}\\n' csulcca")  # fmt: skip
    versions = system.show(asked)
    wanted = "8.0.0" if system.cell.family == "rpm" else "8.0.0-1 installed"
    if versions != wanted:
        wrong.append(f"the package manager knows {versions!r}")
    return wrong


def _not_in_use(system: System) -> list[str]:
    """Why a client that trusts only the pair's certificate cannot speak to the catcher."""
    try:
        # systemd calls the service active before the port is open.
        system.machine.wait_for("a listening catcher", lambda: f":{PORT}" in system.show("ss -Hltn"))
    except engine.EngineError as error:
        return [str(error)]
    done = system.handshake_from_inside()
    return [] if done.rc == 0 else [f"no handshake with the pair: {done.out}{done.err}"]


def enough(count: int) -> int:
    """How many of this many points must hit the transaction."""
    return max(1, count * 4 // 5)


def points(upgrade: Upgrade, count: int, known: Collection[int] = ()) -> Iterator[tuple[int, Point]]:
    """Kill an upgrade at *count* points, numbered from 1, spread over its time, except those in *known*.

    If a point comes too late, it is tried again, scaled to the time that the transaction took.
    """
    missing = [number for number in range(1, count + 1) if number not in known]
    whole = upgrade.seconds() if missing else 0.0
    for number in missing:
        part = number / (count + 1)
        point = upgrade.kill(whole * part)
        for _ in range(TRIES - 1):
            if point.ended is None or point.wrong:
                break
            point = upgrade.kill(point.ended * part)
        yield number, point


def main(arguments: list[str]) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.faults.transactions")
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--cell", action="append", choices=CELLS)
    parser.add_argument("--tool", action="append", choices=sorted(REPAIRS))
    parser.add_argument("--start", action="append", choices=[TCP.name, OWN_PAIR.name])
    options = parser.parse_args(arguments)
    failed = 0
    with engine.plain_errors(), tempfile.TemporaryDirectory(prefix="csulcca-transactions-") as directory:
        engine.prepare()
        built = Built(pathlib.Path(directory))
        built.build()
        wanted = with_tools([images.cell(name) for name in options.cell]) if options.cell else REFERENCES
        for cell, tool, start in [(*one, start) for one in wanted for start in starts_of(one[0])]:
            if tool not in (options.tool or [tool]) or start.name not in (options.start or [start.name]):
                continue
            count = max(1, options.points // start.share)
            met = wrong = 0
            for _, point in points(Upgrade(cell, tool, built, start), count):
                met += point.met
                if point.wrong:
                    wrong += 1
                    print(f"  {tool} killed after {point.after:.2f} s: " + "\n    ".join(point.wrong), flush=True)
            print(f"{cell.name:14} {tool:5} {start.name:9} points {count:3}  met {met:3}  damaged {wrong}", flush=True)
            if met < enough(count):
                print(f"  too few have met it: {enough(count)} must", flush=True)
            failed += wrong + (met < enough(count))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
