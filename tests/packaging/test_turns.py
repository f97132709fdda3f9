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
    cells = [cell for cell in images.cells().values() if cell.family == family and cell.recipe and cell.boot]
    parameters = one_of(TOOLS)
    assert [len(tried(parameters, cell)) for cell in cells] == [1] * len(cells)
    assert [tried(parameters, cell)[0][0] for cell in cells] == [TOOLS[n % 2] for n in range(len(cells))]
