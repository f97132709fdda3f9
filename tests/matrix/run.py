"""The matrix of systems and scenarios: `make matrix [CELL=..] [SCENARIO=..]`.

    python3 -m tests.matrix.run [--cell CELL]... [--scenario SCENARIO]... [--pull] [--shell CELL]

pytest runs the tests of tests/packaging; what it writes as JUnit XML is the only source of verdicts, of the table in
the terminal and of the page. Verdicts of a square: PASS, FAIL, BLOCKED (what this host cannot run, with its reason;
never counted as passed) and none where no test of the scenario is for the cell.

Exit status: 0 where no square failed and at least one passed; 1 otherwise; 2 for a wrong command line.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.matrix import engine, images, report
from tests.matrix.machine import Machine
from tests.matrix.scenarios import SCENARIOS

TREE = report.TREE


def pull(cell: images.Cell) -> str:
    """Fetch the cell's vendor image; "" or why that failed, in one line."""
    done = engine.attempt("pull", "--quiet", cell.oci)
    return "" if done.returncode == 0 else engine.last_line(done.stderr) or "pull failed"


def blocked_cells(wanted: Sequence[images.Cell], may_pull: bool) -> dict[str, str]:
    """Why cells can't run on this host, by name; a cell that is not in it can."""
    reasons = {}
    for cell in wanted:
        reason = images.blocked(cell)
        if reason and may_pull and cell.oci:
            reason = pull(cell)
        if reason:
            reasons[cell.name] = reason
    return reasons


def run_tests(cells: Sequence[str], scenarios: Sequence[str]) -> None:
    """Let pytest run the squares; what happened is in report.JUNIT."""
    report.JUNIT.parent.mkdir(exist_ok=True)
    report.JUNIT.unlink(missing_ok=True)
    workers = ["-n", "3"] if len(cells) * len(scenarios) > 1 else ["-p", "no:xdist"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *workers, f"--junitxml={report.JUNIT}",
               "tests/packaging"]  # fmt: skip
    environment = {**os.environ, "MATRIX_CELLS": ",".join(cells), "MATRIX_SCENARIOS": ",".join(scenarios)}
    subprocess.run(command, cwd=TREE, env=environment, stdin=subprocess.DEVNULL, check=False)


def shell(name: str) -> int:
    """A shell in a booted machine of the cell, which is thrown away afterwards."""
    with Machine(images.ensure(images.cell(name)), name="zlinux1") as machine:
        return subprocess.run(engine.argv("exec", "-it", machine.container, "/bin/bash"), check=False).returncode


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make matrix", description="Every scenario on every system.")
    parser.add_argument("--cell", action="append", metavar="CELL", choices=list(images.cells()),
                        help="only this system; may be repeated. One of: %(choices)s")  # fmt: skip
    parser.add_argument("--scenario", action="append", metavar="SCENARIO", choices=list(SCENARIOS),
                        help="only this scenario; may be repeated. One of: %(choices)s")  # fmt: skip
    parser.add_argument("--pull", action="store_true", help="fetch vendors' images that are not here (default: never)")
    parser.add_argument("--shell", metavar="CELL", choices=list(images.cells()), help="look inside a booted system")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with engine.plain_errors():
        engine.prepare()
        if options.shell:
            return shell(options.shell)
        wanted = [images.cell(name) for name in options.cell or images.cells()]
        blocked = blocked_cells(wanted, options.pull)
        runnable = [cell for cell in wanted if cell.name not in blocked]
        images.ensure_all(runnable)
        scenarios = options.scenario or list(SCENARIOS)
        if runnable:
            run_tests([cell.name for cell in runnable], scenarios)
        matrix = report.Matrix.read([cell.name for cell in wanted], scenarios, blocked)
        report.PAGE.write_text(matrix.page(time.monotonic() - started), encoding="utf-8")
        print(matrix.table(colours=sys.stdout.isatty()))
        print(f"\nthe same with details: {report.PAGE.relative_to(TREE)}, {report.JUNIT.relative_to(TREE)}")
        return matrix.exit_status()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
