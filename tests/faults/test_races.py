"""Some rounds of tests/faults/races.py; `python -m tests.faults.races` plays 200 of each pairing."""

import random

import pytest

from tests.faults import races


@pytest.mark.parametrize("pairing", sorted(races.PAIRINGS))
def test_two_at_once_make_one_pair_and_tear_no_file(tmp_path, pairing):
    first = random.randrange(1 << 30)
    found = {seed: races.play(pairing, tmp_path / str(seed), seed) for seed in range(first, first + 8)}
    assert {seed: wrong for seed, wrong in found.items() if wrong} == {}
