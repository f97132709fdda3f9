"""A few points of tests/faults/transactions.py; `python -m tests.faults.transactions` kills at many more."""

import pytest

from tests.faults.transactions import REFERENCES, Upgrade, points
from tests.packaging.conftest import built, prepared  # noqa: F401 - fixtures


@pytest.mark.parametrize("cell,tool", REFERENCES, ids=lambda one: getattr(one, "name", one))
def test_an_upgrade_that_is_killed_is_mended_by_the_same_command(built, cell, tool):  # noqa: F811
    found = list(points(Upgrade(cell, tool, built), 3))
    assert [one for one in found if one.wrong] == []
    assert any(one.met for one in found)
