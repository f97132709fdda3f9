"""The matrix of systems and scenarios: `make matrix [CELL=..] [SCENARIO=..]`.

    python3 -m tests.matrix.run [--cell CELL]... [--scenario SCENARIO]... [--pull] [--keep-failed] [--shell CELL]

pytest runs the tests of tests/packaging; its JUnit XML is the only source of the results, for the table in the terminal
and for the page. What could not be run is added to that file. Verdicts of a scenario on a system: PASS; FAIL; BLOCKED
(what this host cannot run, with its reason; never counted as passed); N/A (the marks of the tests say why the scenario
does not apply).

Exit status: 0 if nothing failed, at least one square passed (in a run of the whole matrix, one of each scenario), and
only cells are blocked for which the declaration allows it (a vendor's image, an emulator or a recipe's `needs` is
missing), not because --pull or a mirror did not deliver; 1 otherwise; 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.matrix import engine, images, report
from tests.matrix.machine import KEPT_PREFIX, Machine
from tests.matrix.scenarios import SCENARIOS
from tests.packaging import packages

TREE = report.TREE


def alone() -> None:
    """Lock the report's files until this process ends, and remove those of an earlier run. Raises MatrixError if
    another run has the lock."""
    report.JUNIT.parent.mkdir(exist_ok=True)
    lock = os.open(report.JUNIT.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise engine.MatrixError("another make matrix runs in this tree",
                                 "wait until it has finished, or use another clone") from None  # fmt: skip
    for path in (report.JUNIT, report.PLAN, report.PAGE, *report.JUNIT.parent.glob("console-*.log")):
        path.unlink(missing_ok=True)


def blocked_cells(wanted: Sequence[images.Cell], may_pull: bool) -> tuple[dict[str, str], dict[str, str]]:
    """Why cells cannot run on this host, by name: (as declared; because an image could not be pulled)."""
    declared, undelivered = {}, {}
    for cell in wanted:
        reason = images.blocked(cell)
        if reason and may_pull and cell.oci:
            reason = images.pull(cell)
            if reason:
                undelivered[cell.name] = reason
        elif reason:
            declared[cell.name] = reason
    return declared, undelivered


def build_images(wanted: Sequence[images.Cell]) -> tuple[dict[str, str], dict[str, str]]:
    """Build the missing images, two at a time.

    Returns (why a build failed, why it cannot be done here because a mirror does not deliver), each by the cell's name.
    """
    failed, blocked = {}, {}
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        futures = {cell.name: pool.submit(images.ensure, cell) for cell in wanted}
        for name, future in futures.items():
            try:
                future.result()
            except images.Blocked as error:
                blocked[name] = error.args[0].removeprefix(f"{name}: ")
            except engine.MatrixError as error:
                failed[name] = str(error)
    return failed, blocked


def run_tests(cells: Sequence[str], scenarios: Sequence[str], keep_failed: bool) -> None:
    """Let pytest run the squares. The results are in report.JUNIT, the plan is in report.PLAN."""
    # Two workers for each processor, because a machine that waits for a daemon that never answers needs no processor.
    # But each worker first starts a workstation, which is not worth it for a single square.
    workers = (2 if len(cells) * len(scenarios) > 1 else 1) * (os.cpu_count() or 1)
    command = [sys.executable, "-m", "pytest", "-qq", "--no-summary", "-n", str(workers), "-p", "no:cacheprovider",
               "-p", "no:hypothesispytest", "-p", "tests.matrix.progress", f"--junitxml={report.JUNIT}",
               "tests/packaging"]  # fmt: skip
    environment = {**os.environ, "MATRIX_CELLS": ",".join(cells), "MATRIX_SCENARIOS": ",".join(scenarios),
                   "MATRIX_PLAN": str(report.PLAN)}  # fmt: skip
    if keep_failed:
        environment["MATRIX_KEEP_FAILED"] = "1"
    subprocess.run(command, cwd=TREE, env=environment, stdin=subprocess.DEVNULL, check=False)


BANNER = """\
This is {name} ({stands_for}), which is thrown away when you leave.
In /root there are the packages of this tree, {new}, and those of CCA 7.3, {old}.
To install one: {install} /root/{new}
What to look at then: catcherctl status; systemctl status CSUTKEcat; journalctl -u CSUTKEcat
"""
INSTALL = {"apt": "apt-get install", "dnf": "dnf install", "zypper": "zypper install --allow-unsigned-rpm"}


def shell(name: str) -> int:
    """A shell in a machine that a run has kept, or else in a new machine of the cell, which is removed afterwards."""
    if name.startswith(KEPT_PREFIX):
        status = subprocess.run(engine.argv("exec", "-it", name, "/bin/bash"), check=False).returncode
        print(f"the machine is still there; to remove it: {engine.current().program} rm -f {name}")
        return status
    cell = images.cell(name)
    if cell.kind == "machine":
        raise engine.MatrixError(f"{name} is a machine in qemu, which has no shell for a person",
                                 "see VirtualMachine in tests/matrix/qemu.py")  # fmt: skip
    reference = images.ensure(cell)
    print("building the packages, which are kept for the next time", flush=True)
    built = packages.ensure()
    with Machine(reference, name="zlinux1", boot=cell.boot) as machine:
        new, old = built.new(cell.family), built.old(cell)
        for package in (new, old):
            machine.copy_in(package, "/root/")
        print("\n" + BANNER.format(name=cell.name, stands_for=cell.stands_for, new=new.name, old=old.name,
                                   install=INSTALL[cell.package_manager]), flush=True)  # fmt: skip
        return subprocess.run(engine.argv("exec", "-it", machine.container, "/bin/bash"), check=False).returncode


USAGE = """\
make matrix [CELL=NAME] [SCENARIO=NAME] [PULL=1] [KEEP_FAILED=1] [SHELL_IN=NAME]

Runs every scenario on every system, shows a table, and writes dist/matrix.html and dist/matrix.xml (JUnit).

  CELL=NAME        only this system, or several in quotes; `make systems` lists them
  SCENARIO=NAME    only this scenario, or several in quotes; `make scenarios` lists them
  PULL=1           fetches vendors' images that are not here
  KEEP_FAILED=1    keeps the machines of tests that failed, and says how to look inside
  SHELL_IN=NAME    instead: a shell in a fresh system with the packages in it, or in a machine that was kept

Exit status: 0 if something passed and nothing failed, 1 otherwise, 2 for a name that does not exist."""


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line, with existing names only. Raises MatrixError, or ends the program with the usage."""
    parser = argparse.ArgumentParser(usage=USAGE, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", action="append", help=argparse.SUPPRESS)
    parser.add_argument("--scenario", action="append", help=argparse.SUPPRESS)
    parser.add_argument("--pull", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--keep-failed", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--shell", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for name in options.cell or ():
        images.cell(name)
    for name in options.scenario or ():
        if name not in SCENARIOS:
            raise engine.MatrixError(f"no scenario is called {name}", "make scenarios   (lists them)")
    return options


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    try:
        options = options_of(arguments)
    except engine.MatrixError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    started = time.monotonic()
    with engine.plain_errors():
        engine.prepare()
        if options.shell:
            return shell(options.shell)
        alone()
        wanted = [images.cell(name) for name in options.cell or images.cells()]
        declared, undelivered = blocked_cells(wanted, options.pull)
        runnable = [cell for cell in wanted if cell.name not in declared | undelivered]
        unbuilt, not_built = build_images(runnable)
        undelivered |= not_built
        blocked = declared | undelivered
        scenarios = options.scenario or list(SCENARIOS)
        names = [cell.name for cell in runnable if cell.name not in unbuilt and cell.name not in blocked]
        if names:
            run_tests(names, scenarios, options.keep_failed)
        matrix = report.Matrix.read([cell.name for cell in wanted], scenarios, blocked, unbuilt, report.JUNIT,
                                    report.PLAN, whole=not (options.cell or options.scenario))  # fmt: skip
        matrix.complete(report.JUNIT)
        report.PAGE.write_text(matrix.page(time.monotonic() - started), encoding="utf-8")
        head = {**report.about(), **report.power_cuts()}
        print("\n".join(f"{name}: {value}" for name, value in head.items()) + "\n")
        print(matrix.table(colours=sys.stdout.isatty()))
        print(f"\nthe same with details: {report.PAGE.relative_to(TREE)}, {report.JUNIT.relative_to(TREE)}")
        for name, reason in undelivered.items():
            print(f"error: {name} is BLOCKED, because it could not be fetched: {reason}", file=sys.stderr)
        return 1 if undelivered else matrix.exit_status()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
