"""A program is killed, or fails, at exactly the given call, and every call before it takes place."""

import pytest

from tests.faults import programs
from tests.faults.injector import At, Injector, NotBegun

# Two processes; the second writes into /etc/more. It runs in the background, because otherwise the shell reports its
# death.
WRITES = ("/bin/sh", "-c", "(echo a; echo b; echo c) >/etc/more & wait; echo one >/etc/one; echo two >/etc/two")
ALL = {"more": "a\nb\nc\n", "one": "one\n", "two": "two\n"}


@pytest.fixture
def injected(tmp_path):
    """injected(At, command) -> (how it ended, the files that it left in /etc)."""
    installed = tmp_path / "installed"
    for one in programs.DIRECTORIES:
        (installed / one).mkdir(parents=True)
    with Injector() as injector:

        def inject(at, command=WRITES):
            state = tmp_path / "-".join(str(one) for one in at)
            ended = injector.inject(installed, state, command, at)
            return ended, {path.name: path.read_text() for path in (state / "etc").iterdir()}

        yield inject


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
def test_one_process_is_killed_at_that_call_which_does_not_take_place(injected, number, process, met, left):
    ended, found = injected(At("write", number, process))
    assert (ended.met, found) == (met, left)
    assert ended.status == (-9 if met and process == 2 else 0)


# The shell reports each echo that fails, with a write.
@pytest.mark.parametrize("number,last,process,left", [
    (2, 2, 1, {**ALL, "more": "a\nc\n"}),
    (1, 5, 1, {**ALL, "more": "c\n"}),
    (2, 0, 1, {**ALL, "more": "a\n"}),
    (1, 1, 2, {**ALL, "one": ""}),
])  # fmt: skip
def test_those_calls_of_one_process_fail_with_that_error(injected, number, last, process, left):
    ended, found = injected(At("write", number, process, "ENOSPC", last))
    assert (ended.met, ended.status, found) == (True, 0, left)
    assert ("echo: I/O error" in ended.output) == (last != 0)


@pytest.mark.parametrize("number", [1, 2])
def test_the_execve_by_which_it_begins_is_the_first_and_past(injected, number):
    ended, found = injected(At("execve", number, 1))
    assert (ended.met, found) == (False, ALL)


def test_a_call_that_no_kernel_knows_is_said(injected):
    with pytest.raises(NotBegun):
        injected(At("no_such_call", 1, 1))
