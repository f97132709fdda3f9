"""The upgrade from CCA 7.3 with its package manager killed at spread points, then mended as an administrator would.

`python -m tests.faults.transactions [--points 50] [--cell CELL]... [--tool TOOL]...`: by each tool of a cell, first
undisturbed to see how long it takes, then killed at points spread over that time, on a machine each. Prints
a line a tool: points, and those damaged or not mended. Exit status 1 where there is one.

Killed is the process group of the package manager, and what it has started into other groups, all with SIGKILL. Mended
is by the package manager's own repair where it has one, then by the same command again, then, where rpm holds the new
package for installed already, by its reinstallation.
"""

import argparse
import dataclasses
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator

from tests.matrix import engine, images
from tests.matrix.machine import Machine
from tests.packaging.conftest import CELLS, Built
from tests.packaging.system import COMMANDS, TOOLS, System

POINTS = 50


def with_tools(cells: Iterable[images.Cell]) -> list[tuple[images.Cell, str]]:
    """Each cell with each of its two tools."""
    return [(cell, tool) for cell in cells for tool in TOOLS[cell.package_manager]]


REFERENCES = with_tools(cell for cell in images.with_role("reference") if cell.boot)
RUN_TIMEOUT_S = 300

# Runs a command in a session of its own, kills it with all its descendants after a time, and says how it ended: "ended
# SECONDS STATUS" or "killed". What it printed goes to a file. It stops each process before it looks for its children,
# so that none is born unseen.
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


@dataclasses.dataclass(frozen=True)
class Point:
    """One kill: after how many seconds, whether it met the transaction at all, and what was wrong after the repair."""

    after: float
    met: bool
    wrong: tuple[str, ...]


class Upgrade:
    """The upgrade of one cell by one tool. variant: of CCA 7.3's package."""

    def __init__(self, cell: images.Cell, tool: str, built: Built, variant: str = "normal") -> None:
        """Say what is upgraded; nothing runs yet."""
        self.cell, self.tool, self.built, self.variant = cell, tool, built, variant

    def seconds(self) -> float:
        """How long it takes undisturbed. Raises AssertionError where it fails or leaves the host wrong."""
        with self._legacy() as machine:
            system = System(machine, self.cell)
            said = self._run(system, 0)
            assert said[0] == "ended" and said[2] == "0", machine.read("/root/transaction.log").decode()
            wrong = damage(system)
            assert not wrong, wrong
            return float(said[1])

    def kill(self, after: float) -> Point:
        """Kill it after some seconds, mend, and look."""
        with self._legacy() as machine:
            system = System(machine, self.cell)
            met = self._run(system, after)[0] == "killed"
            early = half(system)
            log = [machine.read("/root/transaction.log").decode(errors="replace")]
            # rpm names files that it has not finished after the second in which it began, and fails where one is there.
            killed_at = int(time.time())
            machine.wait_for("the next second", lambda: int(time.time()) > killed_at)
            for command in [*REPAIRS[self.tool], AGAIN[self.tool]]:
                done = machine.run(command.format(self._target()) + " <&-", check=False, timeout=RUN_TIMEOUT_S)
                log.append(f"$ {command}: {done.rc}\n{done.out}{done.err}")
            if "already installed" in done.out:
                # The new package is in rpm's database, and its last scriptlet or the old one's removal was cut off.
                done = machine.run(f"dnf -y reinstall {self._target()} <&-", check=False, timeout=RUN_TIMEOUT_S)
                log.append(f"$ dnf reinstall: {done.rc}\n{done.out}{done.err}")
            wrong = early + damage(system)
            return Point(after, met, tuple([*wrong, "\n".join(log)] if wrong else []))

    def _legacy(self) -> Machine:
        return _Legacy(self)

    def _target(self) -> str:
        return "/root/" + self.built.new(self.cell.family).name

    def _run(self, system: System, delay: float) -> list[str]:
        command = COMMANDS[self.tool]["install"].format(self._target())
        done = system.machine.run(["python3", "-c", KILLER, str(delay), command], timeout=RUN_TIMEOUT_S)
        return done.out.split()


class _Legacy(Machine):
    """A machine on which CCA 7.3 runs in TCP mode, with our package at hand."""

    def __init__(self, upgrade: Upgrade) -> None:
        super().__init__(images.ensure(upgrade.cell), name="zlinux1")
        self.upgrade = upgrade

    def __enter__(self) -> "_Legacy":
        super().__enter__()
        try:
            up = self.upgrade
            system = System(self, up.cell)
            system.package(system.tools[1], "install", up.built.old(up.cell, up.variant))
            self.wait_for("7.3 at work", lambda: self.run("systemctl is-active CSUTKEcat", check=False).rc == 0)
            self.copy_in(up.built.new(up.cell.family), up._target())
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self


def half(system: System) -> list[str]:
    """What must never be, not even before a repair: half a pair that no run can finish, a mode that was not there."""
    wrong = []
    bin_directory = system.show("ls -A /opt/IBM/CCA/bin").split()
    if ("catcher.key" in bin_directory) != ("catcher.crt" in bin_directory) and ".catcher-pair" not in bin_directory:
        wrong.append(f"half a pair: {bin_directory}")
    conf = system.show("cat /etc/cca/catcher.conf 2>/dev/null")
    if conf not in ("", "TLS_OFF"):
        wrong.append(f"catcher.conf says {conf!r}")
    return wrong


def damage(system: System) -> list[str]:
    """What is wrong with an upgraded host, in words; nothing where all is as after an undisturbed upgrade."""
    wrong = []
    conf = system.show("cat /etc/cca/catcher.conf")
    if conf != "TLS_OFF":
        wrong.append(f"the mode was TCP, and catcher.conf says {conf!r}")
    if system.service() != ("enabled", "active"):
        wrong.append(f"the service was enabled and active, and is {system.service()}")
    if system.argv() != "/opt/IBM/CCA/bin/catcher.exe":
        wrong.append(f"ps shows {system.argv()!r}")
    names = system.show("ls -A /opt/IBM/CCA/bin").split()
    left = [name for name in names if name.startswith((".catcher-pair", "catcher.key", "catcher.crt"))]
    if left:
        wrong.append(f"an upgrade to TCP leaves no pair, and there is {left}")
    if system.show("find /etc/rc*.d /etc/rc.d -name '[SK]??CSUTKEcat' 2>/dev/null"):
        wrong.append("links of the init script are left")
    asked = ("rpm -qa csulcca --qf '%{VERSION}\\n'" if system.cell.family == "rpm"
             else "dpkg-query -W -f '${Version} ${db:Status-Status}\\n' csulcca")  # fmt: skip
    versions = system.show(asked)
    wanted = "8.0.0" if system.cell.family == "rpm" else "8.0.0-1 installed"
    if versions != wanted:
        wrong.append(f"the package manager knows {versions!r}")
    return wrong


def points(upgrade: Upgrade, count: int) -> Iterator[Point]:
    """Kill an upgrade at *count* points, spread over the time it takes."""
    whole = upgrade.seconds()
    for number in range(1, count + 1):
        yield upgrade.kill(whole * number / (count + 1))


def main(arguments: list[str]) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.faults.transactions")
    parser.add_argument("--points", type=int, default=POINTS)
    parser.add_argument("--cell", action="append", choices=CELLS)
    parser.add_argument("--tool", action="append", choices=sorted(REPAIRS))
    options = parser.parse_args(arguments)
    failed = 0
    with engine.plain_errors(), tempfile.TemporaryDirectory(prefix="csulcca-transactions-") as directory:
        engine.prepare()
        built = Built(pathlib.Path(directory))
        built.build()
        wanted = with_tools([images.cell(name) for name in options.cell]) if options.cell else REFERENCES
        for cell, tool in wanted:
            if options.tool and tool not in options.tool:
                continue
            met = wrong = 0
            for point in points(Upgrade(cell, tool, built), options.points):
                met += point.met
                if point.wrong:
                    wrong += 1
                    print(f"  {tool} killed after {point.after:.2f} s: " + "\n    ".join(point.wrong), flush=True)
            print(f"{cell.name:14} {tool:5} points {options.points:3}  met {met:3}  damaged {wrong}", flush=True)
            failed += wrong
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
