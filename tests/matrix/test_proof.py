"""The breakages of proof.py still have something to break; whether the matrix sees them, `make matrix-proof` shows."""

import pytest

from tests.matrix import images, proof
from tests.matrix.scenarios import SCENARIOS


@pytest.mark.parametrize("breakage", proof.BREAKAGES[1:], ids=lambda one: one.name)
def test_the_text_to_break_is_there_once(breakage):
    assert (proof.TREE / breakage.file).read_text().count(breakage.old) == 1
    for cell, scenario in breakage.red:
        assert cell in images.cells()
        assert scenario in SCENARIOS
