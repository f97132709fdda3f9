"""A program is killed at exactly the call that was asked for, and every call before it takes place."""

import pytest

from tests.faults import programs
from tests.faults.killer import Killer

# Two processes, of which the second writes into /etc/more; in the background, for else the shell writes of its death.
WRITES = ("/bin/sh", "-c", "(echo a; echo b; echo c) >/etc/more & wait; echo one >/etc/one; echo two >/etc/two")


@pytest.fixture
def killed(tmp_path):
    """kill(call, number) -> (whether it was, the files that WRITES left)."""
    installed = tmp_path / "installed"
    for one in programs.DIRECTORIES:
        (installed / one).mkdir(parents=True)
    with Killer() as killer:

        def kill(call, number, process):
            state = tmp_path / f"{call}-{number}-{process}"
            met = killer.kill(installed, state, WRITES, call, number, process)
            return met, {path.name: path.read_text() for path in (state / "etc").iterdir()}

        yield kill


ALL = {"more": "a\nb\nc\n", "one": "one\n", "two": "two\n"}


@pytest.mark.parametrize("number,process,met,left", [
    # The second process is the first to write.
    (1, 1, True, {**ALL, "more": ""}),
    (2, 1, True, {**ALL, "more": "a\n"}),
    (3, 1, True, {**ALL, "more": "a\nb\n"}),
    (4, 1, False, ALL),
    (1, 2, True, {"more": ALL["more"], "one": ""}),
    (2, 2, True, {"more": ALL["more"], "one": "one\n", "two": ""}),
    (3, 2, False, ALL),
])  # fmt: skip
def test_one_process_is_killed_at_that_call_which_does_not_take_place(killed, number, process, met, left):
    assert killed("write", number, process) == (met, left)


@pytest.mark.parametrize("number", [1, 2])
def test_the_execve_by_which_it_begins_is_the_first_and_past(killed, number):
    assert killed("execve", number, 1) == (False, ALL)


def test_a_call_that_no_kernel_knows_is_said(killed):
    assert killed("no_such_call", 1, 1) == ("it did not begin", {})
