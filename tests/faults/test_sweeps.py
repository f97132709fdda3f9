"""A kill, an error or a power failure at any call that changes files: no damage, and the next run repairs everything.

`make faults` sweeps every point; here are kills where files change, all states after a loss of power, and a sample of
the errors. Needs root and strace, as the sweeps do.
"""

import pytest

from tests.faults import programs, sweep, unsynced
from tests.test_linters import tool

SAMPLE = 40
"""How many errors of each program are tried, spread over its run."""
OURS = [one for one in programs.PROGRAMS if one.ours]
OTHERS = [one for one in programs.PROGRAMS if not one.ours]


def wrong(found):
    """What is not as it should be, by point."""
    return {name: one for name, one in found.items() if one.damage or one.left}


def spread(points):
    """Some of them, from the beginning to the end."""
    step = max(1, len(points) // SAMPLE)
    return points[::step]


@pytest.mark.parametrize("program", [one for one in OURS if "kill" in one.faults], ids=lambda one: one.name)
def test_a_kill_at_any_change_does_no_harm(program):
    found = sweep.sweep(program, lambda one: one.kills(changes_only=True))
    assert found
    assert wrong(found) == {}


@pytest.mark.parametrize("program", [one for one in OURS if "error" in one.faults], ids=lambda one: one.name)
def test_refused_at_some_calls(program):
    found = sweep.sweep(program, lambda one: spread(one.errors()))
    assert len(found) >= SAMPLE
    assert wrong(found) == {}


@pytest.mark.parametrize("program", OURS, ids=lambda one: one.name)
def test_a_power_failure_at_any_change_does_no_harm(program):
    found = unsynced.sweep(program)
    # A program with nothing to do changes nothing on disk.
    assert (len(found) > 1) == (program.name != "nothing to do")
    assert wrong(found) == {}


@pytest.mark.parametrize("program", OTHERS, ids=lambda one: one.name)
def test_the_sweeps_see_the_damage_of_others(program):
    tool(program.needs)
    assert [one for one in sweep.sweep(program, lambda one: one.kills(changes_only=True)).values() if one.damage]
    assert [one for one in unsynced.sweep(program, only=spread).values() if one.damage]
