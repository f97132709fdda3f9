"""Killed at any call that changes files: no damage, and the next run ends as an undisturbed one does.

A sample for `make check`; `make faults` sweeps every call. Needs root and strace, as the sweep does.
"""

import pytest

from tests.faults import sweep

KILL = ("signal=KILL",)


@pytest.mark.parametrize("program", [one for one in sweep.PROGRAMS if one.ours], ids=lambda one: one.name)
def test_killed_at_each_change(program):
    results = sweep.sweep(program, KILL)
    assert results
    assert [one for one in results if one[1] or one[2]] == []


def test_the_sweep_sees_the_damage_of_openssl_in_place():
    (plain,) = [one for one in sweep.PROGRAMS if not one.ours]
    assert [one for one in sweep.sweep(plain, KILL) if one[1]]
