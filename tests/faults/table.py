"""Run everything that tests/faults sweeps, and show it as one table.

    python3 -m tests.faults.table [--all] [--fresh] [--fault FAULT]... [PROGRAM]...

A row is a program and a kind of fault. Its columns are the number of points, how many were damaged (by what a fault
left or printed), and how many did not converge (a re-run or a repair did not fix them). Rows of other programs prove
that damage is seen: there it is expected. A row that this machine cannot run is BLOCKED, with the reason.

The numbers go to dist/faults.json, where `make matrix` reads them.

Exit status 1 if one of our rows is not zero or has too few points, or if a proof has no damage; 3 if all is well and a
row is BLOCKED. Needs root. Every result is kept in .cache/faults until what it depends on changes, so an interrupted
run continues where it was; --fresh forgets the results.
"""

import argparse
import functools
import hashlib
import json
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from tests.faults import hazards, mutations, parsers, powercuts, programs, races, sweep, transactions, unsynced
from tests.faults.programs import TREE
from tests.faults.sweep import Seen
from tests.matrix import engine, images, report
from tests.matrix.engine import MatrixError
from tests.packaging.conftest import Built

CACHE = TREE / ".cache" / "faults"
PRODUCT = ("catcher_install", "hooks", "install", "payload/reference", "share", "units", "Makefile", "setup.cfg")
PACKAGES = (*PRODUCT, "rpm", "debian", "tools", "tests/fixtures/cca73", "tests/faults/transactions.py")
# The files with which power cuts are made and judged. sweep.py and engine.py are left out, because their changes do not
# change a cut.
POWER_CUTS = ("tests/faults/powercuts.py", "tests/matrix/disks.py", "tests/matrix/qemu.py", "tests/matrix/machine.py",
              "tests/matrix/images.py", "tests/matrix/distros.toml", "tests/matrix/recipes/machine.sh",
              "tests/packaging/packages.py", "tests/packaging/soundness.py", "tests/packaging/system.py",
              "tests/packaging/workstation.py", "tests/unit/pem.py", "tests/unit/authority.py")  # fmt: skip
ROUNDS = 200
FUZZ_RUNS = 2
PROGRESS_S = 10.0
BLOCKED = 3

Tell = Callable[[str, Seen, int], None]
Run = Callable[[dict[str, Seen], Tell], dict[str, Seen]]


class Row(NamedTuple):
    """A row of the table.

    run: gets the known results, calls Tell with each new result, and returns all. parts: the files and directories on
    which its results depend. ours: there must be no damage. blocked: why it cannot be run here, or "". least: the
    smallest number of points that it must have.
    """

    program: str
    fault: str
    run: Run
    parts: tuple[str, ...]
    ours: bool = True
    blocked: str = ""
    least: int = 1


def rows(everything: bool) -> list[Row]:
    """Every row, in the table's order. everything: see sweep.py."""
    found = []
    parts: tuple[str, ...]
    harness = (*PRODUCT, "tests/faults/programs.py", "tests/faults/injector.py", "tests/faults/sweep.py")
    for program in programs.PROGRAMS:
        blocked = "" if program.is_here() else f"{program.needs} is not installed here"
        if "kill" in program.faults:
            kill = functools.partial(_swept, program, sweep.Sweep.kills)
            found.append(Row(program.name, "kill", kill, harness, program.ours, blocked))
        if "error" in program.faults:
            error = functools.partial(_swept, program, functools.partial(sweep.Sweep.errors, everything=everything))
            found.append(Row(program.name, "error", error, harness))
        parts = (*harness, "tests/faults/unsynced.py")
        found.append(Row(program.name, "unsynced", functools.partial(_unsynced, program), parts, program.ours, blocked))
    for pairing in races.PAIRINGS:
        parts = (*PRODUCT, "tests/faults/races.py", "tests/unit/support.py")
        found.append(Row(pairing, "at once", functools.partial(_raced, pairing), parts))
        commands = functools.partial(_raced_commands, pairing)
        found.append(Row(f"{pairing}, commands", "at once", commands, (*harness, "tests/faults/races.py")))
    for name in parsers.PARSERS:
        parts = (*PRODUCT, "tests/faults/parsers.py")
        fuzz = functools.partial(_fuzzed, name)
        found.append(Row(f"parser of {name}", "fuzzed", fuzz, parts, blocked=parsers.missing()))
    for cell, tool in transactions.REFERENCES:
        for start in transactions.starts_of(cell):
            name = f"{tool} on {cell.name}" + (f", {start.name}" if start.pair else "")
            count = transactions.POINTS // start.share
            upgrade = functools.partial(_upgraded, cell, tool, start, count)
            found.append(Row(name, "killed", upgrade, PACKAGES, blocked=images.blocked(cell),
                             least=transactions.enough(count)))  # fmt: skip
    parts = (*PACKAGES, *POWER_CUTS)
    for kind in (*powercuts.ROWS, powercuts.CONTROL):
        cut = functools.partial(powercuts.sweep, kind)
        found.append(Row(kind.name, "power cut", cut, parts, kind is not powercuts.CONTROL,
                         kind.blocked, least=kind.cuts))  # fmt: skip
    parts = (*PRODUCT, "rpm", "debian", "tests/unit", "tests/faults")
    found.append(Row("a protection", "taken out", _taken_out, parts))
    return found


def _swept(program: programs.Program, points: Callable[[sweep.Sweep], list[sweep.Point]], known: dict[str, Seen],
           tell: Tell) -> dict[str, Seen]:  # fmt: skip
    return sweep.sweep(program, points, known, tell)


def _unsynced(program: programs.Program, known: dict[str, Seen], tell: Tell) -> dict[str, Seen]:
    return unsynced.sweep(program, known, tell)


def _raced(pairing: str, known: dict[str, Seen], tell: Tell) -> dict[str, Seen]:
    found = dict(known)
    for seed in range(ROUNDS):
        name = f"seed {seed}"
        if name not in found:
            with tempfile.TemporaryDirectory(prefix="csulcca-race-") as directory:
                found[name] = Seen("; ".join(races.play(pairing, pathlib.Path(directory), seed)), "")
            tell(name, found[name], ROUNDS)
    return found


def _raced_commands(pairing: str, known: dict[str, Seen], tell: Tell) -> dict[str, Seen]:
    found = dict(known)
    with programs.installation() as (installed, scratch):
        host = races.Host(installed, scratch)
        for seed in range(ROUNDS):
            name = f"seed {seed}"
            if name not in found:
                found[name] = Seen("; ".join(races.play_commands(pairing, host, seed)), "")
                tell(name, found[name], ROUNDS)
    return found


def _fuzzed(name: str, known: dict[str, Seen], tell: Tell) -> dict[str, Seen]:
    found = dict(known)
    for number in range(FUZZ_RUNS):
        text = f"{parsers.SECONDS} s of generated input, time {number + 1}"
        if text not in found:
            found[text] = Seen(parsers.fuzz(name, parsers.SECONDS).broken, "")
            tell(text, found[text], FUZZ_RUNS)
    return found


@functools.cache
def _built() -> tuple[Built, "tempfile.TemporaryDirectory[str]"]:
    """The packages, and their directory, which exists until this process ends."""
    directory = tempfile.TemporaryDirectory(prefix="csulcca-faults-")
    engine.prepare()
    built = Built(pathlib.Path(directory.name))
    built.build()
    return built, directory


def _upgraded(cell: images.Cell, tool: str, start: transactions.Start, count: int, known: dict[str, Seen],
              tell: Tell) -> dict[str, Seen]:  # fmt: skip
    found = dict(known)
    names = {number: f"after {number}/{count + 1} of its time" for number in range(1, count + 1)}
    before = [number for number, name in names.items() if name in known]
    if len(before) == count:
        return found
    upgrade = transactions.Upgrade(cell, tool, _built()[0], start)
    for number, point in transactions.points(upgrade, count, before):
        # A kill that came after the end in every attempt is not a point.
        if point.met or point.wrong:
            found[names[number]] = Seen("", "; ".join(point.wrong))
            tell(names[number], found[names[number]], count)
    return found


def _taken_out(known: dict[str, Seen], tell: Tell) -> dict[str, Seen]:
    found = dict(known)
    wanted = hazards.mutations()
    for mutation in wanted:
        if mutation.name not in found:
            result = mutations.turns_red(mutation)
            found[mutation.name] = Seen("" if result == "red" else result, "")
            tell(mutation.name, found[mutation.name], len(wanted))
    return found


# -- results that are kept ---------------------------------------------------------------------------------------------


def digest(row: Row) -> str:
    """The hash of everything that a row's results depend on: files, and the programs that they ran with."""
    hashed = hashlib.sha256(repr((row.program, row.fault, platform.release(), sys.version)).encode())
    for part in row.parts:
        path = TREE / part
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                hashed.update(str(file.relative_to(TREE)).encode() + b"\0" + file.read_bytes())
    for command in ("/usr/bin/python3 -VV", "openssl version", "strace --version"):
        hashed.update(subprocess.run(command.split(), capture_output=True, check=False).stdout)
    return hashed.hexdigest()[:24]


class Kept:
    """The results of one row, one on each line, written as they come."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self.known: dict[str, Seen] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            try:
                name, damage, left = json.loads(line)
            except ValueError:
                # Cut off: the run was killed at this line.
                break
            self.known[name] = Seen(damage, left)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write("w", self.known.items())

    def add(self, name: str, seen: Seen) -> None:
        """Keep a result."""
        self._write("a", [(name, seen)])

    def _write(self, mode: str, results: Iterable[tuple[str, Seen]]) -> None:
        with self.path.open(mode) as stream:
            stream.writelines(json.dumps([name, *seen]) + "\n" for name, seen in results)


# -- the table ---------------------------------------------------------------------------------------------------------

OWN_ONLY = "error: every call about files of our own code; with --all also those that load a shell, Python and OpenSSL"
HEADING = f"{'program':<35} {'fault':<9} {'points':>7} {'damaged':>8} {'not converged':>14}"


def verdict(row: Row, found: dict[str, Seen]) -> bool:
    """Whether a row is right."""
    if not row.ours:
        return any(one.damage for one in found.values())
    return len(found) >= row.least and not any(one.damage or one.left for one in found.values())


def lines(row: Row, found: dict[str, Seen]) -> list[str]:
    """A row's line, and below it what is wrong."""
    damaged = sum(bool(one.damage) for one in found.values())
    left = sum(bool(one.left) for one in found.values())
    told = [f"{row.program:<35} {row.fault:<9} {len(found):>7} {damaged:>8} {left:>14}"]
    if not row.ours:
        told[0] += "  proof: " + ("its damage is seen" if damaged else "NO DAMAGE SEEN, the harness is blind")
    else:
        told += [f"    {name}: {one.damage or one.left}" for name, one in found.items() if one.damage or one.left]
        if len(found) < row.least:
            told.append(f"    too few points, {row.least} at least are wanted")
    return told


def counts(row: Row, found: dict[str, Seen]) -> dict:
    """A row for report.FAULTS."""
    return {"program": row.program, "fault": row.fault, "ours": row.ours, "points": len(found),
            "damaged": sum(bool(one.damage or one.left) for one in found.values())}  # fmt: skip


def write(counted: list[dict]) -> None:
    """Write the rows that have been run so far, for the page of `make matrix`."""
    report.FAULTS.parent.mkdir(exist_ok=True)
    text = json.dumps({"commit": report.about()["commit"], "rows": counted}, indent=1)
    report.FAULTS.write_text(text + "\n", encoding="utf-8")


def play(row: Row) -> dict[str, Seen]:
    """Run a row, with its progress on standard error."""
    kept = Kept(CACHE / f"{digest(row)}.jsonl")
    last = time.monotonic()
    count = 0

    def tell(name: str, seen: Seen, points: int) -> None:
        nonlocal last, count
        kept.add(name, seen)
        count += 1
        if time.monotonic() - last >= PROGRESS_S:
            last = time.monotonic()
            before = f" after {len(kept.known)} of earlier runs" if kept.known else ""
            print(f"  {row.program}, {row.fault}: {count} of {points} points{before}", file=sys.stderr, flush=True)

    return row.run(kept.known, tell)


def main(arguments: list[str]) -> int:
    """The command line; see the module's docstring."""
    known = rows(False)
    parser = argparse.ArgumentParser(prog="python3 -m tests.faults.table")
    parser.add_argument("--all", action="store_true", help="errors where a shell, Python and OpenSSL load, too")
    parser.add_argument("--fresh", action="store_true", help="forget the results of earlier runs")
    parser.add_argument("--fault", action="append", choices=sorted({row.fault for row in known}))
    parser.add_argument("program", nargs="*", help="the table's first column; all without one")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.program) - {row.program for row in known})
    if unknown:
        there = dict.fromkeys(row.program for row in known)
        parser.error(f"no such program: {', '.join(unknown)}; one of: {', '.join(there)}")
    if options.fresh:
        shutil.rmtree(CACHE, ignore_errors=True)
    failed = blocked = False
    counted: list[dict] = []
    print(HEADING, flush=True)
    with engine.plain_errors():
        for row in rows(options.all):
            if row.program not in (options.program or [row.program]) or row.fault not in (options.fault or [row.fault]):
                continue
            if row.blocked:
                blocked = True
                print(f"{row.program:<35} {row.fault:<9} BLOCKED: {row.blocked}", flush=True)
                continue
            try:
                found = play(row)
            except MatrixError as error:
                # Only this row failed; the rows after it still run.
                failed = True
                print(f"{row.program:<35} {row.fault:<9} FAILED: {error}", flush=True)
                continue
            failed = failed or not verdict(row, found)
            print("\n".join(lines(row, found)), flush=True)
            counted.append(counts(row, found))
            write(counted)
    if not options.all:
        print(OWN_ONLY)
    return 1 if failed else BLOCKED if blocked else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
