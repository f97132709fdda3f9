"""Some rounds of tests/faults/races.py; `make faults` plays 200 of each pairing."""

import random

import pytest

from tests.faults import programs, races


@pytest.mark.parametrize("pairing", sorted(races.PAIRINGS))
def test_two_at_once_make_one_pair_and_tear_no_file(tmp_path, pairing):
    first = random.randrange(1 << 30)
    found = {seed: races.play(pairing, tmp_path / str(seed), seed) for seed in range(first, first + 8)}
    assert {seed: wrong for seed, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize("pairing", sorted(races.PAIRINGS))
def test_two_commands_at_once_make_one_pair_and_tear_no_file(pairing):
    first = random.randrange(1 << 30)
    with programs.installation() as (installed, scratch):
        host = races.Host(installed, scratch)
        found = {seed: races.play_commands(pairing, host, seed) for seed in range(first, first + 4)}
    assert {seed: wrong for seed, wrong in found.items() if wrong} == {}
