"""`make bench`: build, measure, print the table, write the report.

Exit status 1 only if something could not be measured: a missed target is shown, and is not a failure.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence

from tests.matrix import engine, images

from . import converge, fleet, gap, growth, machines, relay, transaction
from .machines import Bench
from .measure import BenchError, Row, table

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
REPORT = TREE / "dist/bench.json"
FORMAT = 2


def build(directory: pathlib.Path) -> None:
    """Put what is measured into a directory: the packages, their next version, an empty package, the tools."""
    machines.bring_tools(directory)
    for version in ("8.0.0", "8.0.1"):
        print(f"building the packages, {version}", flush=True)
        command = [sys.executable, str(TREE / "tools/build_packages.py"), "--version", version]
        built = subprocess.run([*command, "--output", str(directory / version)], stdout=subprocess.DEVNULL)
        if built.returncode:
            raise BenchError("the packages could not be built; why is said above", "make packages")
    for family in ("deb", "rpm"):
        transaction.build_empty(directory / "empty", next((directory / "8.0.0").glob("*." + family)))


def bench_cell(here: Bench) -> tuple[list[Row], dict, list[str]]:
    """Measure in machines of a cell. Returns the lines of the table, the rest for the report, and what was not
    measured."""
    print(f"{here.cell.name}:", flush=True)
    rows, measured, missing = converge.bench(here)
    not_measured = [f"{what}: not installed" for what in missing]
    chosen: dict[str, Callable[[Bench], tuple[list[Row], dict]]] = {"transaction": transaction.bench}
    if here.cell.boot:
        chosen["gap"] = gap.bench
    else:
        not_measured.append("the service gap of an upgrade: systemd can't be PID 1 here")
    if machines.has_services(here.cell):
        chosen["relay"] = relay.bench
    for name, measure in chosen.items():
        found, measured[name] = measure(here)
        rows += found
    with here.machine(boot=False, installed=False) as machine:
        about = machines.about(machine, here.cell)
    return rows, {**about, "seconds": measured}, not_measured


def show(rows: Sequence[Row], about: dict) -> None:
    """Print the table of one cell."""
    print(f"\n{about['cell']} (Python {about['python']}, {about['openssl']}, cryptography {about['cryptography']})")
    print(table(rows))
    for line in about["not_measured"]:
        print("  not measured: " + line)
    print(flush=True)


def processor() -> str:
    """The name of the processor in /proc/cpuinfo, or ""."""
    found = re.search(r"(?m)^(?:model name|processor 0)\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else ""


def bench(wanted: Sequence[images.Cell], effort: float) -> None:
    """Measure in the given cells, or in the reference cells that this machine can run; print the table, write the
    report.

    Raises MatrixError.
    """
    begin = time.monotonic()
    load = os.getloadavg()[0]
    rows: list[Row] = []
    measured: list[dict] = []
    blocked: list[str] = []
    with tempfile.TemporaryDirectory(prefix="csulcca-bench-") as work:
        build(pathlib.Path(work))
        for cell in wanted or images.with_role("reference"):
            try:
                image = machines.image_of(cell)
            except images.Blocked as error:
                if wanted:
                    raise
                blocked.append(error.args[0])
                continue
            found, about, about["not_measured"] = bench_cell(Bench(cell, image, pathlib.Path(work), effort))
            rows += found
            measured.append(about)
            # Now, and not at the end: a later system may be one that cannot be measured.
            show(found, about)
    print(f"\nMedians; {os.cpu_count()} processors, load {load:.1f} at the beginning.")
    for reason in blocked:
        print(f"\nBLOCKED: {reason}")
    targets = [row for row in rows if row.target is not None]
    missed = sum(row.verdict == "missed" for row in targets)
    summary = f"{missed} of {len(targets)} targets missed" if missed else f"all {len(targets)} targets met"
    print(f"\n{summary}; {time.monotonic() - begin:.0f} s; every run is in {REPORT.relative_to(TREE)}")

    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({
        "format_version": FORMAT,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "processors": os.cpu_count(),
        "load_before": load,
        "rows": [{**dataclasses.asdict(row), "verdict": row.verdict} for row in rows],
        "measured": measured,
        "blocked": blocked,
    }, indent=1) + "\n")  # fmt: skip


def bench_fleet(sizes: list[int]) -> None:
    """The role over more and more hosts."""
    cell = next(cell for cell in images.with_role("example") if cell.family == "deb")
    with tempfile.TemporaryDirectory(prefix="csulcca-bench-") as work:
        build(pathlib.Path(work))
        for line in fleet.bench(Bench(cell, images.ensure(cell), pathlib.Path(work), 1), sizes):
            print(line)


def sizes(text: str) -> list[int]:
    """Numbers of hosts, with commas between them; raises ArgumentTypeError."""
    for word in text.split(","):
        if not word.isdecimal() or int(word) < 1:
            raise argparse.ArgumentTypeError(f"{word or 'nothing'} is not a number of hosts; type, say, FLEET=4,48")
    return [int(word) for word in text.split(",")]


def effort(text: str) -> float:
    """A factor of the number of rounds; raises ArgumentTypeError."""
    if not re.fullmatch(r"\d+(\.\d+)?|\.\d+", text) or not float(text):
        raise argparse.ArgumentTypeError(f"{text or 'nothing'} is not a factor; type, say, EFFORT=0.2")
    return float(text)


USAGE = """\
make bench [CELL=NAME] [EFFORT=FACTOR] | MATRIX=1 | FLEET=N,N,...

  CELL=NAME        only this system; `make systems` lists them
  EFFORT=FACTOR    more rounds, or fewer: 0.2 is a fifth of them
  MATRIX=1         instead: how the time of the test matrix grows with its systems
  FLEET=N,N,...    instead: how the time of the Ansible role grows with its hosts"""


def main(arguments: Sequence[str]) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="make bench", usage=USAGE)
    parser.add_argument("--cell", action="append", help=argparse.SUPPRESS)
    parser.add_argument("--effort", type=effort, default=1.0, metavar="EFFORT", help=argparse.SUPPRESS)
    parser.add_argument("--matrix", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--fleet", type=sizes, metavar="FLEET", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    with engine.plain_errors():
        # Report a mistake there, or an unknown system, before anything is built.
        images.cells()
        wanted = [images.cell(name) for name in options.cell or []]
        engine.prepare()
        if options.matrix:
            print("\n".join(growth.bench()))
        elif options.fleet:
            bench_fleet(options.fleet)
        else:
            bench(wanted, options.effort)


if __name__ == "__main__":
    main(sys.argv[1:])
