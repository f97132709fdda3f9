"""cert install and generate, killed or failed at any call: the old or the new pair is whole, and no key is readable."""

import errno
import os
import stat

import pytest

from catcher_install import actions, apply, facts, messages, pair, paths, plan, start, transition
from catcher_install.admin import cert_install, change
from catcher_install.cert import check, generate
from catcher_install.errors import CatcherError
from tests.unit.admin.hosts import NEW, in_place, put, remembered
from tests.unit.support import Asked, Killed, fault, ids, installed, tree_of


def prepared(base):
    """A host with a pair of ours, and another pair to install."""
    base.mkdir()
    machine = installed(base)
    machine.systemctl()
    apply.converge(machine, transition.of(transition.START))
    put(machine, *NEW)
    return machine


def swap(machine):
    cert_install.install(machine, ["/root/my.key", "/root/my.crt"], [], False)


def swap_back(machine):
    """What a failed verification does, up to the restart."""
    asked = cert_install.asked_to_install(machine, ["/root/my.key", "/root/my.crt"], [])
    outcome = apply.converge(machine, asked)
    change._take_back(machine, asked, outcome, "a test", restart=False)


def make_again(machine):
    def made(host, names, wish):
        return NEW

    real = generate.generate
    generate.generate = made
    try:
        cert_install.generate(machine, True, False)
    finally:
        generate.generate = real


def count_calls(base, work):
    machine = prepared(base)
    with fault() as faults:
        work(machine)
    return faults.count


def whole(machine, old):
    """Assert that the pair in place is the old or the new one. Return which."""
    now = in_place(machine)
    if now == old:
        return "old"
    judged = check.check(Asked(), *now)
    assert judged.problem == "", now
    return "new"


def narrow(machine):
    """Only root can read any file that has a key in it."""
    for path, what in tree_of(machine).items():
        if path.startswith(paths.BIN) and "key" in path and stat.S_ISREG(what[0]):
            assert what[1] == 0o600, path


@pytest.mark.parametrize("work", [swap, swap_back, make_again],
                         ids=["install", "install and take back", "generate"])
def test_a_kill_at_any_call_leaves_the_old_or_the_new_files(tmp_path, work):
    total = count_calls(tmp_path / "count", work)
    assert total > 25
    outcomes = set()
    for n in range(1, total + 1):
        machine = prepared(tmp_path / str(n))
        old = in_place(machine)
        with pytest.raises(Killed), fault(n=n, watch=lambda m=machine: narrow(m)):
            work(machine)
        # Neither file is ever gone, or half written.
        for number, now in enumerate(in_place(machine)):
            assert now in (old[number], NEW[number]), n
        apply.converge(machine, transition.of(transition.START))
        outcomes.add(whole(machine, old))
        assert not [name for name in machine.names(paths.BIN) if name.startswith(".")], n
        # The stamp never calls somebody else's pair ours: the purge would remove it.
        made = remembered(machine).generated_pair
        if whole(machine, old) == "new":
            assert made == (pair.fingerprint(*NEW) if work is make_again else None), n
        elif work is not swap_back:
            assert made == pair.fingerprint(*old), n
        # The old pair is not lost.
        kept = [name for name in machine.names(paths.BIN) if name.startswith("catcher.key")]
        assert old[0] in [machine.get(paths.BIN + "/" + name) for name in kept], n
    assert outcomes == {"old", "new"}


@pytest.mark.parametrize("number", [1, 2])
def test_a_stage_that_may_not_be_listed_is_not_taken_for_an_empty_one(tmp_path, monkeypatch, number):
    """The directory is listed twice: to put its files in place, and to keep the files that they replace."""
    machine = prepared(tmp_path / "host")
    old, stage, listed = in_place(machine), machine.on_disk(paths.REPLACE_STAGE), []

    def listdir(path, real=os.listdir):
        listed.append(path)
        if path == stage and listed.count(stage) == number:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return real(path)

    monkeypatch.setattr(os, "listdir", listdir)
    for _ in range(2):
        try:
            swap(machine)
        except CatcherError as said:
            assert said.hint
    assert listed.count(stage) >= number
    assert in_place(machine) == NEW
    kept = [name for name in machine.names(paths.BIN) if name.startswith("catcher.key.")]
    assert [machine.get(paths.BIN + "/" + name) for name in kept] == [old[0]]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS],
                         ids=["ENOSPC", "EIO", "EACCES", "EROFS"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_refused_at_each_call(tmp_path, error, lasting):
    total = count_calls(tmp_path / "count", swap)
    # Each error is tried at other points. The four errors together are tried at every point.
    for n in range(1 + error % 4, total + 1, 4):
        machine = prepared(tmp_path / str(n))
        old = in_place(machine)
        with fault(n=n, error=error, lasting=lasting):
            try:
                swap(machine)
                said = None
            except CatcherError as caught:
                said = caught
            except OSError as caught:
                said = caught
        if said is not None and isinstance(said, CatcherError):
            assert said.hint and "\n" not in said.message
        apply.converge(machine, transition.of(transition.START))
        assert whole(machine, old) in ("old", "new"), n
        assert not [name for name in machine.names(paths.BIN) if name.startswith(".")], n
        # The next run puts it in place.
        swap(machine)
        assert in_place(machine) == NEW, n


def test_a_start_finishes_what_an_install_began(tmp_path):
    machine = prepared(tmp_path / "x")
    pair.begin_replacement(machine, NEW[0], NEW[1], False)
    planned = plan.plan(facts.collect(machine), transition.of(transition.START))
    assert [one.kind for one in planned.actions] == [actions.PLACE_STAGED_PAIR]
    apply.converge(machine, transition.of(transition.START))
    assert in_place(machine) == NEW
    assert remembered(machine).generated_pair is None


def test_a_start_that_cannot_finish_it_refuses_two_halves(tmp_path):
    """Only one file is in place: the daemon is not started with a key that does not belong to the certificate."""
    machine = prepared(tmp_path / "x")
    pair.begin_replacement(machine, NEW[0], NEW[1], False)
    os.rename(machine.on_disk(paths.REPLACE_STAGE + "/catcher.key"), machine.on_disk(paths.KEY))
    seen = facts.collect(machine)
    assert seen.pair.staged
    decision = start.launch_decision(seen)
    assert decision.mode is None
    assert messages.text(decision.findings[-1]).endswith("catcher.crt does not belong to catcher.key")


@pytest.mark.parametrize("name", pair.FILES)
def test_a_rename_that_reached_the_disk_by_half_is_finished(tmp_path, name):
    """After a power failure, one file may have both its old and its new name."""
    machine = prepared(tmp_path / "x")
    pair.begin_replacement(machine, NEW[0], NEW[1], False)
    os.unlink(machine.on_disk(paths.BIN + "/" + name))
    os.link(machine.on_disk(paths.REPLACE_STAGE + "/" + name), machine.on_disk(paths.BIN + "/" + name))
    assert apply.converge(machine, transition.of(transition.START)).findings == []
    assert in_place(machine) == NEW and not machine.lexists(paths.REPLACE_STAGE)


def test_each_step_is_on_disk_before_the_next(tmp_path, monkeypatch):
    """Each step is synced before the step that relies on it, so a power failure cannot change their order."""
    machine = prepared(tmp_path / "x")
    log = []

    def logging(call, real):
        def logged(*args):
            log.append((call,) + tuple(os.path.basename(one) for one in args[:2] if isinstance(one, str)))
            return real(*args)

        return logged

    for call in ("create", "link", "rename", "sync_dir"):
        monkeypatch.setattr(machine, call, logging(call, getattr(machine, call)))
    pair.begin_replacement(machine, NEW[0], NEW[1], True)
    draft, stage = os.path.basename(paths.STAGE_DRAFT), os.path.basename(paths.REPLACE_STAGE)
    assert [one[0] for one in log] == ["create", "create", "link", "link", "link", "sync_dir", "rename", "sync_dir"]
    assert log[-3:] == [("sync_dir", draft), ("rename", draft, stage), ("sync_dir", "bin")]
    del log[:]
    pair.place_replacement(machine)
    assert log == [("rename", "catcher.key", "catcher.key"), ("rename", "catcher.crt", "catcher.crt"),
                   ("sync_dir", "bin"), ("sync_dir", stage)]
    del log[:]
    pair.clear(machine)
    assert [one[0] for one in log] == ["link", "link", "sync_dir", "rename", "sync_dir", "sync_dir"]
    assert log[2:5] == [("sync_dir", "bin"), ("rename", stage, draft), ("sync_dir", "bin")]


def test_files_of_somebody_else_are_not_replaced_by_an_unfinished_install(tmp_path):
    machine = prepared(tmp_path / "x")
    old = in_place(machine)
    pair.begin_replacement(machine, NEW[0], NEW[1], False)
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
        machine.put(path, b"theirs\n", 0o600)
    outcome = apply.converge(machine, transition.of(transition.START))
    assert in_place(machine) == (b"theirs\n", b"theirs\n")
    assert "pair-not-replaced" in ids(outcome.findings)
    assert not machine.lexists(paths.REPLACE_STAGE)
    # What they replaced is kept.
    kept = [name for name in machine.names(paths.BIN) if name.startswith("catcher.key.")]
    assert [machine.get(paths.BIN + "/" + name) for name in kept] == [old[0]]


def refuse_reading(machine, path, number):
    """Let the number-th read of a file fail. Return the list of the reads so far."""
    real, made = machine.read_optional, []

    def read(which, *rest, **named):
        if which == path:
            made.append(which)
            if len(made) == number:
                raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(which, *rest, **named)

    machine.read_optional = read
    return made


def test_a_certificate_that_cannot_be_read_once_is_no_fault_of_ours(tmp_path):
    """The disk fails at any read: one line says so, and the next run brings the pair into use."""
    number, made = 0, [paths.CERTIFICATE]
    while len(made) > number - 1:
        number += 1
        machine = prepared(tmp_path / ("n%d" % number))
        made = refuse_reading(machine, paths.CERTIFICATE, number)
        lines, _ = cert_install.install(machine, ["/root/my.key", "/root/my.crt"], [], False)
        failed = len(made) >= number
        assert [line for line in lines if "cannot be read" in line] or not failed or any("SHA-256" in x for x in lines)
        del machine.read_optional
        swap(machine)
        assert in_place(machine) == NEW
    assert number > 1
