"""Parameters of which each system tries a part, so that the matrix tries them all and no system takes too long."""

import itertools
from collections.abc import Iterable

import pytest
from _pytest.mark import ParameterSet

from tests.matrix import images

# For System.tools: apt, dnf or zypper; dpkg or rpm.
TOOLS = {"repository tool": 0, "package tool": 1}


def in_turns(first: Iterable[str], *others: Iterable[str]) -> list[ParameterSet]:
    """Parameters (one of `first`, one of each of `others`), named by themselves.

    A system tries every one of `first`, each with one combination of the others: with the next one in the next row, and
    with another one on the next system of its family. So all combinations are tried where there are enough systems.
    """
    combinations = list(itertools.product(*others))
    return [
        pytest.param(*one, id=", ".join(one), marks=_only_at(column - row, len(combinations)))
        for row, name in enumerate(first)
        for column, one in enumerate((name, *combination) for combination in combinations)
    ]


def _only_at(place: int, places: int) -> pytest.MarkDecorator:
    """A mark for the systems whose number in their family is `place`, counted in a circle of `places`."""
    return pytest.mark.only(lambda cell: (_number(cell) - place) % places == 0, "the systems of a family take turns")


def _number(cell: images.Cell) -> int:
    """The cell's place among those of its family, in the order of distros.toml."""
    return [other.name for other in images.cells().values() if other.family == cell.family].index(cell.name)
