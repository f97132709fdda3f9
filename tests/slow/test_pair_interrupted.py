"""A pair is put in place, and any call is killed or fails: never half a pair, and the next run finishes it."""

import errno
import os

import pytest

from catcher_install import pair, paths
from tests.unit.support import IS_ROOT, Killed, fault

KEY = b"-----BEGIN PRIVATE KEY-----\nours\n-----END PRIVATE KEY-----\n"
CRT = b"-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n"


def run_once(machine):
    """Do what a converge does: finish a staged pair, or make a pair."""
    if pair.look(machine).staged:
        pair.place(machine)
    elif pair.look(machine).state == pair.NONE:
        pair.stage(machine, KEY, CRT)
        pair.place(machine)
    pair.clear(machine)


def calls_of_a_run(machine):
    with fault() as faults:
        run_once(machine)
    assert whole(machine)
    return faults.count


def whole(machine):
    """Assert that one matching pair with the right permissions is in place, and nothing else."""
    return (
        machine.names(paths.BIN) == ["catcher.crt", "catcher.exe", "catcher.key"]
        and (machine.get(paths.KEY), machine.get(paths.CERTIFICATE)) == (KEY, CRT)
        and (machine.mode(paths.KEY), machine.mode(paths.CERTIFICATE)) == (0o600, 0o644)
    )


def start_over(machine):
    for path in (paths.KEY, paths.CERTIFICATE):
        machine.remove(path)
    pair.clear(machine)


def keys_are_private(machine):
    """Assert that only root can read a file with the key, under any name, and enter the draft directory."""
    for directory, _, files in os.walk(machine.on_disk(paths.BIN)):
        for name in files:
            real = os.path.join(directory, name)
            with open(real, "rb") as stream:
                if b"PRIVATE" in stream.read():
                    assert os.lstat(real).st_mode & 0o177 == 0, real


@pytest.mark.parametrize("umask", [0, 0o022, 0o077] + ([0o777] if IS_ROOT else []))
def test_the_key_is_private_after_each_call(machine, umask):
    os.umask(umask)
    with fault(watch=lambda: keys_are_private(machine)) as faults:
        run_once(machine)
    assert faults.count > 10
    assert whole(machine)


def test_a_kill_at_any_call_leaves_a_pair_that_the_next_run_finishes(machine):
    calls = calls_of_a_run(machine)
    half = 0
    for n in range(1, calls + 1):
        for before in (True, False):
            start_over(machine)
            with fault(n=n, before=before), pytest.raises(Killed):
                run_once(machine)
            keys_are_private(machine)
            seen = pair.look(machine)
            if seen.state in (pair.KEY_ONLY, pair.CERTIFICATE_ONLY):
                # Between the two links: the stage proves that the half is ours, and completes it.
                half += 1
                assert seen.staged
            run_once(machine)
            assert whole(machine), (n, before)
    assert 0 < half <= 2


def test_a_second_kill_while_finishing_does_no_harm(machine):
    """Two interruptions show that the recovery, too, can be interrupted anywhere."""
    calls = calls_of_a_run(machine)
    for n in range(1, calls + 1, 3):
        for m in range(1, calls + 1, 3):
            start_over(machine)
            with fault(n=n), pytest.raises(Killed):
                run_once(machine)
            with fault(n=m) as faults:
                try:
                    run_once(machine)
                except Killed:
                    assert faults.count >= m
            run_once(machine)
            assert whole(machine), (n, m)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES, errno.EMFILE])
@pytest.mark.parametrize("lasting", [False, True])
def test_refused_at_each_call(machine, error, lasting):
    calls = calls_of_a_run(machine)
    for n in range(1, calls + 1):
        start_over(machine)
        with fault(n=n, error=error, lasting=lasting), pytest.raises(OSError):
            run_once(machine)
        seen = pair.look(machine)
        assert seen.staged or seen.state in (pair.NONE, pair.BOTH), n
        run_once(machine)
        assert whole(machine), n
