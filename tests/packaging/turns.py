"""Parameters of which each system tries a part, so that the matrix tries them all and no system takes too long.

And which systems of a family do in `make check` what all of them would do in the same way.
"""

import itertools
from collections.abc import Iterable, Sequence

import pytest
from _pytest.mark import ParameterSet

from tests.matrix import images, squares

# For System.tools: apt, dnf or zypper; dpkg or rpm.
TOOLS = {"repository tool": 0, "package tool": 1}


def one_of(*axes: Iterable[str]) -> list[ParameterSet]:
    """Parameters (one of each axis), named by themselves; a system tries one combination, its family all of them."""
    return _turns(list(itertools.product(*axes)), shift=0)


def in_turns(rows: Iterable[str], *others: Iterable[str], share: int = 1) -> list[ParameterSet]:
    """Parameters (one of `rows`, one of each of `others`), named by themselves; a system tries every row.

    Each with one combination of the others: the next one in the next row, and another one on the next system of its
    family. So all are tried where there are enough systems. share: a system tries one of so many rows only, and the
    next system the next of them. As many as there are combinations would meet a row with one of them for ever, so those
    move on by one each time that the systems have gone round.
    """
    combinations = list(itertools.product(*others))
    return [
        pytest.param(*one.values, id=one.id, marks=[*one.marks, _only_at(number, share)])
        for number, row in enumerate(rows)
        # By whole shares, or a system would have every other combination only.
        for one in _turns([(row, *combination) for combination in combinations], shift=number // share, moves=share > 1)
    ]


def _turns(combinations: list[tuple[str, ...]], shift: int, moves: bool = False) -> list[ParameterSet]:
    """Each combination is for the systems whose number, with the shift added and counted in a circle, is its own."""
    return [
        pytest.param(*values, id=", ".join(values), marks=_only_at(place - shift, len(combinations), moves))
        for place, values in enumerate(combinations)
    ]


def _only_at(place: int, places: int, moves: bool = False) -> pytest.MarkDecorator:
    """A mark for the systems whose number is `place`, counted in a circle of `places`; where that moves, the number is
    one more after each time round."""

    def is_there(cell: images.Cell) -> bool:
        number = _number(cell)
        return (number + moves * (number // places) - place) % places == 0

    return pytest.mark.only(is_there, "another system of the family tries this")


def _number(cell: images.Cell) -> int:
    """The cell's place in its family: first those that can be built anywhere, in the order of distros.toml; those that
    run few of the scenarios come last."""
    family = [other for other in images.cells().values() if other.family == cell.family]
    return sorted(family, key=lambda other: (bool(other.scenarios), not (other.recipe and other.boot))).index(cell)


def once_a_family(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Of the tests that several systems of a family would run with the same parameters, those of one system, which is
    the next one for the next test. All other tests, too, among them those of systems that can't be booted or run few
    scenarios; but of a machine in qemu, which is slow, only the first test of its first scenario."""
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
