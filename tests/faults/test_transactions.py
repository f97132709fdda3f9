"""A few points of tests/faults/transactions.py; `python -m tests.faults.transactions` kills at many more."""

import pytest

from tests.faults.transactions import OWN_PAIR, REFERENCES, TCP, Point, Upgrade, enough, points
from tests.packaging.conftest import built, prepared  # noqa: F401 - fixtures


@pytest.mark.parametrize("start,count", [(TCP, 3), (OWN_PAIR, 2)], ids=["TCP", "own pair"])
@pytest.mark.parametrize("cell,tool", REFERENCES, ids=lambda one: getattr(one, "name", one))
def test_an_upgrade_that_is_killed_is_mended_by_the_same_command(built, cell, tool, start, count):  # noqa: F811
    found = [point for _, point in points(Upgrade(cell, tool, built, start), count)]
    assert [one for one in found if one.wrong] == []
    assert sum(one.met for one in found) >= enough(count)


class Quicker:
    """An upgrade that takes 10 s when it is measured, and from then on 4 s."""

    def seconds(self):
        return 10.0

    def kill(self, after):
        return Point(after, (), None if after < 4 else 4.0)


def test_a_kill_that_comes_too_late_is_tried_again_earlier():
    found = dict(points(Quicker(), 4))
    assert sorted(found) == [1, 2, 3, 4] and all(one.met for one in found.values())
    assert [one.after for one in found.values()] == pytest.approx([2, 1.6, 2.4, 3.2])


def test_only_the_points_that_are_missing_are_tried():
    assert list(dict(points(Quicker(), 4, known=[1, 4]))) == [2, 3]
