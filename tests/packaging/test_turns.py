"""Each system gets its part, and a family has all."""

import collections

import pytest

from tests.matrix import images

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
