"""An attacker has planted files where a hook works: nothing outside is written, moved, or read into output."""

import os
import random
import signal
import stat
import subprocess

import pytest

from catcher_install import apply, pair, paths, transition
from tests.faults import sweep
from tests.hooks.moved_root import Root
from tests.unit.conftest import a_pair, quick_pair  # noqa: F401 - fixtures
from tests.unit.support import TREE, installed
from tests.unit.test_apply import host_upgraded_by_rpm

WORD = "SECRET-OF-ROOT"
SECRET = f"{WORD}:$6$hash:19000\ngenerated_pair\n".encode()
TOUCHED = [
    paths.CONF, paths.draft(paths.CONF), paths.STAMP, paths.draft(paths.STAMP), paths.LOCK, paths.CAPTURE, paths.KEY,
    paths.CERTIFICATE, paths.STAGE, paths.STAGE_DRAFT, paths.REPLACE_STAGE, paths.INIT_SCRIPT,
    paths.INIT_SCRIPT + ".dpkg-bak", paths.PAIR_WORK, "/etc/rc2.d/S14CSUTKEcat",
]  # fmt: skip
SHELL_TOUCHED = [
    paths.CAPTURE, paths.CAPTURE + ".new", paths.STAMP, paths.LOCK, paths.KEY, paths.CERTIFICATE, paths.STAGE,
    paths.STAGE_DRAFT, paths.INIT_SCRIPT, paths.INIT_SCRIPT + ".rpmsave", paths.PAIR_WORK,
]  # fmt: skip


def _clear(place):
    os.makedirs(os.path.dirname(place), exist_ok=True)
    if os.path.lexists(place):
        os.unlink(place)


def _symlink(target, place):
    """Relative, so that it leads to the same file in a machine whose root is a temporary directory."""
    os.symlink(os.path.relpath(target, os.path.dirname(place)), place)


def _link(place, outside):
    _symlink(outside / "secret", place)


def _hard_link(place, outside):
    os.link(outside / "secret", place)


def _dangling(place, outside):
    _symlink(outside / "new", place)


def _directory(place, outside):
    _symlink(outside / "directory", place)


def _fifo(place, outside):
    os.mkfifo(place)


PLANTED = {"link": _link, "hard link": _hard_link, "dangling link": _dangling, "link to a directory": _directory,
           "FIFO": _fifo}  # fmt: skip


@pytest.fixture
def outside(tmp_path):
    """Files of root that no hook may touch."""
    place = tmp_path / "root" / "outside"
    (place / "directory").mkdir(parents=True)
    for path in ("secret", "directory/catcher.key", "directory/catcher.crt", "directory/keep.catcher.key.1"):
        (place / path).write_bytes(SECRET)
        (place / path).chmod(0o600)
    return place


@pytest.fixture(autouse=True)
def no_waiting():
    """If a hook waits for a FIFO, the test fails."""

    def too_long(number, frame):
        raise TimeoutError("it waits")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def seen(outside):
    """Everything outside: {path: (kind and mode, content)}."""
    found = {}
    for path in sorted(outside.rglob("*")):
        entry = path.lstat()
        found[str(path)] = (oct(entry.st_mode), path.read_bytes() if stat.S_ISREG(entry.st_mode) else b"")
    return found


@pytest.mark.parametrize("history", ["fresh", "legacy"])
@pytest.mark.parametrize("kind", sorted(PLANTED))
@pytest.mark.parametrize("path", TOUCHED)
def test_a_converge_touches_nothing_outside(tmp_path, outside, quick_pair, history, kind, path):  # noqa: F811
    machine = (installed if history == "fresh" else host_upgraded_by_rpm)(tmp_path / "root")
    machine.systemctl()
    _clear(machine.on_disk(path))
    PLANTED[kind](machine.on_disk(path), outside)
    for directory in ("/etc/cca", paths.STATE_DIR, paths.BIN):
        os.chmod(machine.on_disk(directory), 0o777)
    before = seen(outside)
    umask = os.umask(0)
    try:
        outcome = apply.converge(machine, transition.from_scriptlet("rpm", ["1" if history == "fresh" else "2"]))
        apply.converge(machine, transition.of(transition.START))
    finally:
        os.umask(umask)
    assert seen(outside) == before
    assert WORD not in repr(outcome.findings)
    if path not in (paths.KEY, paths.CERTIFICATE) and machine.get(paths.KEY) is not None:
        assert machine.mode(paths.KEY) == 0o600
    for text in (paths.STAMP, paths.CONF):
        real = machine.on_disk(text)
        if os.path.isfile(real) and not os.path.samefile(real, outside / "secret"):
            assert WORD.encode() not in machine.get(text)
            assert machine.mode(text) & 0o022 == 0


def test_a_stage_of_somebody_else_is_none(tmp_path, quick_pair):  # noqa: F811
    """In a directory that everybody may write, any user could stage a pair whose key that user knows."""
    machine = installed(tmp_path)
    machine.put(paths.STAGE + "/catcher.key", b"a key that is known", 0o600)
    machine.put(paths.STAGE + "/catcher.crt", b"a certificate")
    os.chown(machine.on_disk(paths.STAGE), 4711, 4711)
    apply.converge(machine, transition.from_scriptlet("rpm", ["1"]))
    assert machine.get(paths.KEY) != b"a key that is known"


def test_where_root_owns_nothing_a_stage_is_ours_all_the_same(tmp_path, quick_pair, monkeypatch):  # noqa: F811
    """On NFS with root_squash, what root makes belongs to another user, like everything else in that file system."""
    machine = installed(tmp_path)
    real = machine.make_dir

    def make_dir(path, mode):
        real(path, mode)
        os.chown(machine.on_disk(path), 65534, 65534)

    monkeypatch.setattr(machine, "make_dir", make_dir)
    os.chown(machine.on_disk(paths.BIN), 65534, 65534)
    apply.converge(machine, transition.from_scriptlet("rpm", ["1"]))
    assert sorted(machine.names(paths.BIN)) == ["catcher.crt", "catcher.exe", "catcher.key"]
    for number in (1, 2):
        pair.begin_replacement(machine, b"key %d" % number, b"certificate", generated=False)
        pair.place_replacement(machine)
        assert pair.look(machine).staged
        pair.clear(machine)
    assert len(machine.names(paths.BIN)) == 7


@pytest.mark.parametrize("call", ["preinst rpm 2", "preinst deb install 7.3.0-1", "prerm deb remove", "postrm rpm 0",
                                  "postrm deb remove", "postrm deb purge"])
@pytest.mark.parametrize("kind", sorted(PLANTED))
@pytest.mark.parametrize("path", SHELL_TOUCHED)
def test_a_shell_hook_touches_nothing_outside(tmp_path, outside, call, kind, path):
    root = Root(tmp_path / "root", "/bin/sh")
    root.put(paths.CATCHER, b"", 0o755)
    os.makedirs(root.path("/var/lib/csulcca"), 0o777)
    root.put("/bin/rpm", b"#!/bin/sh\nexit 1\n", 0o755)
    root.put(paths.INIT_SCRIPT, b"#!/bin/sh\n", 0o755)
    _clear(root.path(path))
    PLANTED[kind](root.path(path), outside)
    before = seen(outside)
    hook, *arguments = call.split()
    _, output = root.run("csulcca_" + hook, *arguments)
    assert seen(outside) == before
    assert WORD not in output


def test_strace_sees_the_key_private_at_every_instant(tmp_path):
    """Every mode in a system call is watched, in a separate process with umask 000."""
    program = (
        "import os, sys\nsys.path.insert(0, sys.argv[1])\nfrom catcher_install import pair\n"
        "from tests.unit.support import installed\nos.umask(0)\nm = installed(sys.argv[2])\n"
        "pair.stage(m, b'k', b'c')\npair.place(m)\npair.clear(m)\n"
        "pair.begin_replacement(m, b'l', b'd', True)\npair.place_replacement(m)\npair.clear(m)\n"
    )
    trace = tmp_path / "trace"
    subprocess.run(["strace", "-f", "-y", "-o", trace, "-e", "trace=openat,open,creat,chmod,fchmod,fchmodat",
                    "/usr/bin/python3", "-c", program, TREE, tmp_path / "root"], check=True)  # fmt: skip
    key = [line for line in trace.read_text().splitlines() if "catcher.key" in line]
    modes = [line.rpartition(", ")[2].partition(")")[0] for line in key if "O_CREAT" in line or "chmod(" in line]
    assert modes and set(modes) == {"0600"}


@pytest.mark.parametrize("line,wide", [
    ('7 write(3<pipe:[99]>, "-----BEGIN PRIVATE KEY-----"..., 384) = 384', ""),
    ('7 openat(AT_FDCWD, "/run/a/k", O_WRONLY|O_CREAT, 0600) = 3\n'
     '7 write(3</run/a/k>, "-----BEGIN PRIVATE KEY-----"..., 384) = 384', ""),
    ('7 openat(AT_FDCWD, "/run/a/k", O_WRONLY|O_CREAT, 0666) = 3\n'
     '7 write(3</run/a/k>, "-----BEGIN PRIVATE KEY-----"..., 384) = 384', "/run/a/k"),
    ('7 write(3</run/a/pipe:[99]>, "-----BEGIN RSA PRIVATE KEY-----"..., 384) = 384', "/run/a/pipe:[99]"),
])  # fmt: skip
def test_the_sweeps_see_a_file_that_held_a_key_and_take_no_pipe_for_one(line, wide):
    assert sweep.wide_key(line.splitlines()) == (f"{wide} held a key, and was open to others" if wide else "")


def _plant_again_and_again(places, outside, seed):
    """Replace what is at one of the places by something else, again and again, until killed."""
    chance = random.Random(seed)
    kinds = [PLANTED[kind] for kind in sorted(PLANTED)]
    while True:
        place = chance.choice(places)
        try:
            if os.path.isdir(place) and not os.path.islink(place):
                os.rename(place, f"{place}.{chance.random()}")
            else:
                os.unlink(place)
        except OSError:
            # The converge was there first.
            pass
        try:
            chance.choice(kinds)(place, outside)
        except OSError:
            continue


@pytest.mark.parametrize("history", ["fresh", "legacy"])
@pytest.mark.parametrize("path", TOUCHED)
def test_nothing_outside_is_touched_while_somebody_plants(tmp_path, outside, quick_pair, history, path):  # noqa: F811
    """As above, at every instant of a converge instead of before it."""
    machine = (installed if history == "fresh" else host_upgraded_by_rpm)(tmp_path / "root")
    machine.systemctl()
    _clear(machine.on_disk(path))
    before = seen(outside)
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        _plant_again_and_again([machine.on_disk(path)], outside, path + history)
    told = []
    called = transition.from_scriptlet("rpm", ["1" if history == "fresh" else "2"])
    try:
        for _ in range(15):
            try:
                told += apply.converge(machine, called).findings
            except OSError as error:
                # scriptlet.main() reports these in one line.
                told.append(str(error))
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert seen(outside) == before
    assert WORD not in repr(told)
