"""Share parameters and tests out among the systems of a family.

`one_of()` and `in_turns()` give each system some combinations of parameters, so that the systems together try all
combinations and none takes too long. `once_a_family()` is for `make check`: if all systems of a family would run a test
in the same way, one of them runs it.
"""

import itertools
from collections.abc import Iterable, Sequence

import pytest
from _pytest.mark import ParameterSet

from tests.matrix import images, squares

# Names and places of System.tools: first apt, dnf or zypper, then dpkg or rpm.
TOOLS = {"repository tool": 0, "package tool": 1}


def one_of(*axes: Iterable[str]) -> list[ParameterSet]:
    """Return a parameter for each combination of one value of each axis, with the values as its id.

    A system tries one combination, and the systems of its family together try all.
    """
    return _turns(list(itertools.product(*axes)), shift=0)


def in_turns(rows: Iterable[str], *others: Iterable[str], share: int = 1) -> list[ParameterSet]:
    """Return a parameter for each combination of a row and one value of each of `others`, with the values as its id.

    A system tries each row with one combination of the others. The next row, and the same row on the next system of the
    family, has the next combination. So a family with enough systems tries all combinations.

    share: a system tries only every `share`-th row, and the next system begins one row later. If `share` is the number
    of combinations, each row would always have the same combination. So after every `share` systems the combinations
    move on by one.
    """
    combinations = list(itertools.product(*others))
    return [
        pytest.param(*one.values, id=one.id, marks=[*one.marks, _only_at(number, share)])
        for number, row in enumerate(rows)
        # The shift grows by one for each `share` rows. Otherwise a system would skip some combinations.
        for one in _turns([(row, *combination) for combination in combinations], shift=number // share, moves=share > 1)
    ]


def _turns(combinations: list[tuple[str, ...]], shift: int, moves: bool = False) -> list[ParameterSet]:
    """Return a parameter for each combination. Combination number n is for the systems whose number plus `shift` is n,
    modulo the number of combinations."""
    return [
        pytest.param(*values, id=", ".join(values), marks=_only_at(place - shift, len(combinations), moves))
        for place, values in enumerate(combinations)
    ]


def _only_at(place: int, places: int, moves: bool = False) -> pytest.MarkDecorator:
    """Return a mark for the systems whose number is `place` modulo `places`. moves: in each further round of
    `places` systems, the mark is for the system one place earlier."""

    def is_there(cell: images.Cell) -> bool:
        number = _number(cell)
        return (number + moves * (number // places) - place) % places == 0

    return pytest.mark.only(is_there, "another system of the family tries this")


def _number(cell: images.Cell) -> int:
    """Return the cell's place in its family: first the cells that can be built anywhere, in the order of distros.toml,
    and last those that run only some scenarios."""
    family = [other for other in images.cells().values() if other.family == cell.family]
    return sorted(family, key=lambda other: (bool(other.scenarios), not (other.recipe and other.boot))).index(cell)


def once_a_family(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Return the tests that `make check` runs.

    If several systems of a family would run a test with the same parameters, only one of them keeps it: the first such
    test is for the first system, the next test for the next system. Systems that cannot be booted, or that run only
    some scenarios, keep all their tests. A machine in qemu is slow and keeps one: the first test of its first scenario.
    """
    same: dict[tuple, list[pytest.Item]] = {}
    left_out: set[pytest.Item] = set()
    seen: set[str] = set()
    for item in items:
        cell, scenario = squares.square_of(item)
        if cell is None:
            continue
        if cell.kind == "machine":
            if cell.name in seen or scenario != cell.scenarios[0]:
                left_out.add(item)
            else:
                seen.add(cell.name)
        elif cell.boot and not cell.scenarios:
            what = item.path, item.name.replace(cell.name, "", 1), cell.family
            same.setdefault(what, []).append(item)
    turn = itertools.count()
    for alike in same.values():
        left_out |= set(alike) - {alike[next(turn) % len(alike)]}
    return [item for item in items if item not in left_out]
