"""A converge that is killed, or gets an error, at any call: it does no damage, and the next run finishes its work."""

import errno
import os

import pytest

from catcher_install import apply, config, pair, paths, stamp, transition
from tests.unit.support import GROWERS, Killed, fault, host_upgraded_by_rpm, installed, make_stamp, tree_of

FRESH = transition.from_scriptlet("rpm", ["1"])
LEGACY = transition.from_scriptlet("rpm", ["2"])
LEGACY_DEB = transition.from_scriptlet("deb", ["configure", "7.3.0-1"])
APPLY = transition.of(transition.APPLY)


def fresh_host(base):
    return installed(base)


def fresh_host_without_tls(base):
    machine = installed(base)
    machine.tls_possible(False)
    return machine


def host_upgraded_with_links_as_only_trace(base):
    machine = installed(base)
    machine.put_link("/etc/rc2.d/S14CSUTKEcat", "../init.d/CSUTKEcat")
    return machine


def host_upgraded_with_a_conf(base):
    machine = host_upgraded_by_rpm(base)
    machine.put(paths.CONF, b"# kept\r\n", 0o640)
    return machine


def known_host_whose_conf_is_gone(base):
    machine = installed(base)
    machine.put(paths.STAMP, stamp.render(make_stamp(mode="tcp")), 0o600)
    return machine


# name: (host, transition, mode afterwards, whether a pair is there afterwards)
CASES = {
    "fresh": (fresh_host, FRESH, config.TLS, True),
    "fresh, TLS not possible": (fresh_host_without_tls, FRESH, config.TCP, False),
    "legacy, rpm": (host_upgraded_by_rpm, LEGACY, config.TCP, False),
    "legacy, dpkg, with a conf": (host_upgraded_with_a_conf, LEGACY_DEB, config.TCP, False),
    "legacy, rc links the only trace": (host_upgraded_with_links_as_only_trace, FRESH, config.TCP, False),
    "8.x, conf removed by hand": (known_host_whose_conf_is_gone, LEGACY, config.TCP, False),
}
every_case = pytest.mark.parametrize("name", sorted(CASES))


def mode_of(machine):
    data = machine.get(paths.CONF)
    return config.ABSENT if data is None else config.parse(data).state


def calls_of(name, base):
    make, called, mode, _ = CASES[name]
    machine = make(base)
    machine.systemctl()
    with fault() as faults:
        apply.converge(machine, called)
    assert mode_of(machine) == mode
    return faults.count, tree_of(machine)


def comparable(tree, pair_too):
    """A tree as two runs can share it: the stamp remembers inodes and times; a converge that first failed has told
    what it could not do."""
    tree = dict(tree)
    for path in (paths.STAMP, paths.LOCK):
        tree.pop(path, None)
    if not pair_too:
        tree = {path: what for path, what in tree.items() if not path.startswith(paths.BIN + "/catcher.c")}
    return tree


def check_crashed(machine, name):
    """Assert what must be true at any instant, before any repair."""
    _, _, mode, _ = CASES[name]
    assert mode_of(machine) in (mode, config.ABSENT, config.UNSET)
    seen = pair.look(machine)
    assert seen.staged or seen.state in (pair.NONE, pair.BOTH)
    for directory, _, files in os.walk(machine.on_disk(paths.BIN)):
        for one in files:
            if one == "catcher.key":
                assert os.lstat(os.path.join(directory, one)).st_mode & 0o177 == 0
    data = machine.get(paths.STAMP)
    assert data is None or stamp.parse(data) is not None


def check_mended(machine, name, wanted, where):
    _, _, mode, has_pair = CASES[name]
    assert mode_of(machine) == mode, where
    assert pair.look(machine).state == (pair.BOTH if has_pair else pair.NONE), where
    assert comparable(tree_of(machine), has_pair) == comparable(wanted, has_pair), where
    assert stamp.parse(machine.get(paths.STAMP)).mode == mode, where
    left = apply.converge(machine, APPLY)
    assert left.plan.actions == [], where


@every_case
def test_killed_at_each_call_then_run_again(name, tmp_path, quick_pair):
    make, called, _, _ = CASES[name]
    calls, wanted = calls_of(name, tmp_path / "0")
    assert calls >= 5
    for n in range(1, calls + 1):
        machine = make(tmp_path / str(n))
        machine.systemctl()
        with fault(n=n), pytest.raises(Killed):
            apply.converge(machine, called)
        check_crashed(machine, name)
        apply.converge(machine, called)
        check_mended(machine, name, wanted, n)


@every_case
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS])
def test_an_error_at_each_call_then_run_again(name, error, tmp_path, quick_pair):
    """A call fails once: no damage, no exception, and a second run ends where the first would have ended."""
    make, called, _, _ = CASES[name]
    calls, wanted = calls_of(name, tmp_path / "0")
    for n in range(1, calls + 1):
        machine = make(tmp_path / str(n))
        machine.systemctl()
        with fault(n=n, error=error):
            apply.converge(machine, called)
        check_crashed(machine, name)
        apply.converge(machine, called)
        check_mended(machine, name, wanted, n)


@every_case
def test_a_file_system_that_fills_up_at_any_call_does_no_harm_and_the_next_run_finishes(name, tmp_path, quick_pair):
    """Every call from the n-th on fails. Before the next run, the disk has room again."""
    make, called, _, _ = CASES[name]
    calls, wanted = calls_of(name, tmp_path / "0")
    for n in range(1, calls + 1):
        machine = make(tmp_path / str(n))
        machine.systemctl()
        with fault(n=n, error=errno.ENOSPC, lasting=True):
            apply.converge(machine, called)
        check_crashed(machine, name)
        apply.converge(machine, called)
        check_mended(machine, name, wanted, n)


@every_case
def test_a_full_disk_does_no_harm_and_the_next_run_with_room_finishes(name, tmp_path, quick_pair):
    """Nothing can be written, but files can be removed and renamed. No trace of the history may be lost."""
    make, called, _, _ = CASES[name]
    calls, wanted = calls_of(name, tmp_path / "0")
    for n in range(1, calls + 1):
        machine = make(tmp_path / str(n))
        machine.systemctl()
        with fault(n=n, error=errno.ENOSPC, lasting=True, calls=GROWERS) as faults:
            apply.converge(machine, called)
        check_crashed(machine, name)
        apply.converge(machine, called)
        check_mended(machine, name, wanted, n)
        if faults.count < n:
            break
