"""Each system gets its part, and the systems of a family together get all."""

import collections
import json
import os
import subprocess
import sys

import pytest

from tests.matrix import images, squares

from .packages import TREE
from .turns import in_turns, one_of

ROWS = ["stopped", "disabled", "masked"]
TOOLS = ["repository tool", "package tool"]
FAMILIES = sorted({cell.family for cell in images.cells().values()})


def tried(parameters, cell):
    """The combinations that a cell tries."""
    return [one.values for one in parameters if all(mark.args[0](cell) for mark in one.marks)]


def containers(family):
    """The systems of a family that can be booted in a container that is built anywhere, and that run all scenarios."""
    return [cell for cell in images.cells().values()
            if cell.family == family and cell.recipe and cell.boot and not cell.scenarios]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_a_system_tries_every_row_once_and_its_family_every_combination(family):
    cells = [cell for cell in images.cells().values() if cell.family == family]
    parameters = in_turns(ROWS, TOOLS)
    for cell in cells:
        assert [values[0] for values in tried(parameters, cell)] == ROWS
    seen = collections.Counter(values for cell in cells for values in tried(parameters, cell))
    assert len(cells) < len(TOOLS) or len(seen) == len(ROWS) * len(TOOLS)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_system_tries_one_combination_and_those_that_run_here_take_turns(family):
    cells = containers(family)
    parameters = one_of(TOOLS)
    assert [len(tried(parameters, cell)) for cell in cells] == [1] * len(cells)
    assert [tried(parameters, cell)[0][0] for cell in cells] == [TOOLS[n % 2] for n in range(len(cells))]


@pytest.mark.parametrize("family", FAMILIES)
def test_systems_that_share_the_rows_try_them_all(family):
    cells = containers(family)
    rows = [str(number) for number in range(6)]
    parameters = in_turns(rows, ["as installed", "TCP"], TOOLS, share=2)
    by_cell = [tried(parameters, cell) for cell in cells]
    assert [len(found) for found in by_cell] == [3] * len(cells)
    # Each in both modes, and by both tools among them all.
    assert {(row, mode) for found in by_cell for row, mode, _ in found} == {
        (row, mode) for row in rows for mode in ("as installed", "TCP")}
    assert {tool for found in by_cell for _, _, tool in found} == set(TOOLS)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_shared_by_as_many_as_there_are_combinations_meet_them_all(family):
    """The four systems of a family that can be built anywhere try every row, and sixteen every row in every way."""
    cells = containers(family)
    rows = [str(number) for number in range(9)]
    parameters = in_turns(rows, ["normal", "careless"], TOOLS, share=4)
    assert len(cells) >= 4
    assert {values[0] for cell in cells[:4] for values in tried(parameters, cell)} == set(rows)
    assert all(2 <= len(tried(parameters, cell)) <= 3 for cell in cells)
    everywhere = [cell for cell in images.cells().values() if cell.family == family]
    ways = collections.Counter(row for row, *_ in {values for cell in everywhere for values in tried(parameters, cell)})
    assert all(ways[row] >= min(4, len(everywhere) // 4) for row in rows)


MACHINES = [cell.name for cell in images.cells().values() if cell.kind == "machine"]
IN_CI = [cell.name for cell in images.cells().values() if cell.ci and cell.name not in MACHINES]


@pytest.fixture(scope="module")
def in_check(tmp_path_factory):
    """(squares, left): the (cell, scenario) of each test that the systems of `make check`, and machines in qemu, would
    run, by its name in a JUnit file; and the names of those that are left where a family does the same once."""
    plan = tmp_path_factory.mktemp("plan") / "plan.json"
    environment = {**os.environ, "MATRIX_CELLS": ",".join([*IN_CI, *MACHINES]), "MATRIX_PLAN": str(plan)}
    for name in ("MATRIX_SCENARIOS", "PYTEST_XDIST_WORKER", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", "--once-a-family",
               "tests/packaging"]  # fmt: skip
    done = subprocess.run(command, cwd=TREE, env=environment, capture_output=True, text=True, check=True)
    left = {squares.junit_name(line) for line in done.stdout.splitlines() if "::" in line}
    found = {test: (cell, scenario) for cell, scenarios in json.loads(plan.read_text())["tests"].items()
             for scenario, tests in scenarios.items() for test in tests}  # fmt: skip
    return found, left & found.keys()


def by_family(found, tests):
    """{(family, scenario, test without its cell)} of tests."""
    return {(images.cell(found[test][0]).family, found[test][1], test.replace(found[test][0], "", 1)) for test in tests}


def test_a_family_does_all_in_make_check_that_its_systems_do(in_check):
    found, left = in_check
    assert len(left) < len(found)
    assert by_family(found, left) == by_family(found, [test for test in found if found[test][0] not in MACHINES] + [
        test for test in left if found[test][0] in MACHINES])
    # A machine does one test there, so what only machines can do may be left to make matrix.
    squares_of_families = {(images.cell(cell).family, scenario) for cell, scenario in found.values()
                           if cell not in MACHINES}  # fmt: skip
    assert squares_of_families <= {(family, scenario) for family, scenario, _ in by_family(found, left)}


def test_each_system_of_make_check_has_its_part(in_check):
    found, left = in_check
    everything = collections.Counter(cell for cell, _ in found.values())
    parts = collections.Counter(found[test][0] for test in left)
    assert everything.keys() == {*IN_CI, *MACHINES}
    assert all(parts[name] * 3 > everything[name] for name in IN_CI), parts
    assert [parts[name] for name in MACHINES] == [1] * len(MACHINES)
    alone = [name for name in IN_CI if images.cell(name).scenarios or not images.cell(name).boot]
    assert [parts[name] for name in alone] == [everything[name] for name in alone]
