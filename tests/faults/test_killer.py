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

        def kill(call, number):
            state = tmp_path / f"{call}-{number}"
            met = killer.kill(installed, state, WRITES, call, number)
            return met, {path.name: path.read_text() for path in (state / "etc").iterdir()}

        yield kill


@pytest.mark.parametrize("number,met,left", [
    (1, True, {"more": "", "one": ""}),
    (2, True, {"more": "a\n", "one": "one\n", "two": ""}),
    # Of the second process alone: the first makes no third.
    (3, True, {"more": "a\nb\n", "one": "one\n", "two": "two\n"}),
    (4, False, {"more": "a\nb\nc\n", "one": "one\n", "two": "two\n"}),
])  # fmt: skip
def test_the_calls_before_it_take_place_and_it_does_not(killed, number, met, left):
    """Each process by itself."""
    assert killed("write", number) == (met, left)


def test_the_first_execve_is_the_one_by_which_it_begins(killed):
    assert killed("execve", 2) == (False, {"more": "a\nb\nc\n", "one": "one\n", "two": "two\n"})


def test_a_call_that_no_kernel_knows_is_an_error(killed):
    with pytest.raises(RuntimeError, match="no_such_call 1 of /bin/sh"):
        killed("no_such_call", 1)
