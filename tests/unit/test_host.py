"""Host: the one module that touches the system, on real files and processes."""

import _socket
import contextlib
import errno
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time

import pytest

from catcher_install import host as host_module
from catcher_install import paths
from catcher_install.errors import ChangedMeanwhile
from catcher_install.host import Host
from tests.ports import free_port

from .support import IS_ROOT, TREE, Killed, child_python, fault, put_file

real_programs = pytest.mark.real_programs


@contextlib.contextmanager
def as_nobody():
    """Run as a user who may not read everything. Nothing changes if the test does not run as root."""
    if IS_ROOT:
        os.seteuid(65534)
    try:
        yield
    finally:
        if IS_ROOT:
            os.seteuid(0)


@pytest.fixture
def image(tmp_path):
    """A Host of another root directory."""
    return Host(str(tmp_path))


def put(image, path, data=b"", mode=0o644):
    return put_file(image.root + path, data, mode)


# -- names -------------------------------------------------------------------------------------------------------------

def test_root_must_be_a_directory(tmp_path):
    (tmp_path / "file").write_text("x")
    for name in ("file", "nowhere"):
        with pytest.raises(NotADirectoryError):
            Host(str(tmp_path / name))


def test_links_are_followed_inside_the_root(image):
    put(image, "/usr/lib/real", b"inside")
    for number, target in enumerate(("/usr/lib/real", "../usr/lib/real", "../../../../../usr/lib/real")):
        os.makedirs(image.root + "/etc", exist_ok=True)
        os.symlink(target, image.root + "/etc/link%d" % number)
        assert image.read("/etc/link%d" % number, 100) == b"inside"


def test_a_link_in_the_middle_of_a_path_stays_inside(image, tmp_path):
    os.makedirs(image.root + "/data/etc")
    os.symlink("/data/etc", image.root + "/etc")
    put(image, "/data/etc/passwd", b"of the image")
    assert image.read("/etc/passwd", 100) == b"of the image"
    assert image.locate("/etc/passwd") == image.root + "/data/etc/passwd"


def test_links_in_a_circle_raise_eloop(image):
    os.symlink("/b", image.root + "/a")
    os.symlink("/a", image.root + "/b")
    with pytest.raises(OSError) as raised:
        image.read("/a", 1)
    assert raised.value.errno == errno.ELOOP


KEY_LINK, CERTIFICATE_LINK = (paths.IMAGE_PAIR + name for name in ("/catcher.key", "/catcher.crt"))


@pytest.mark.parametrize("links,mapped", [
    ({"catcher.key": KEY_LINK, "catcher.crt": CERTIFICATE_LINK}, True),
    # One link alone is not enough: the daemon also reads the file in the documented place.
    ({"catcher.key": KEY_LINK}, False), ({"catcher.crt": CERTIFICATE_LINK}, False),
    ({"catcher.key": KEY_LINK, "catcher.crt": "/elsewhere/catcher.crt"}, False),
    ({"catcher.key": "/elsewhere/catcher.key", "catcher.crt": CERTIFICATE_LINK}, False), ({}, False)])
def test_what_goes_with_the_pair_is_below_var_where_the_image_says_so(tmp_path, links, mapped):
    bin = tmp_path / "opt/IBM/CCA/bin"
    bin.mkdir(parents=True)
    for name, target in links.items():
        (bin / name).symlink_to(target)
    host = Host(str(tmp_path))
    for name in ("", "/catcher.key", "/catcher.crt.20261128T200000Z", "/.catcher-pair.replace/catcher.key",
                 "/catcher.key.request"):  # fmt: skip
        expected = "/var/lib/csulcca" if mapped else "/opt/IBM/CCA/bin"
        assert host.locate(paths.BIN + name) == str(tmp_path) + expected + name
    for name in ("/catcher.exe", "/CSUTKEcat"):
        assert host.locate(paths.BIN + name) == str(tmp_path) + "/opt/IBM/CCA/bin" + name


def test_the_running_system_is_not_mapped():
    assert Host().locate("/etc/passwd") == "/etc/passwd"


# -- reading -----------------------------------------------------------------------------------------------------------

def test_read_is_bounded(image):
    put(image, "/f", b"x" * 100)
    assert image.read("/f", 100) == b"x" * 100
    assert image.read("/f", 10, head=True) == b"x" * 10
    with pytest.raises(OSError) as raised:
        image.read("/f", 99)
    assert raised.value.errno == errno.EFBIG


def test_read_never_waits_for_what_is_no_file(image):
    os.mkfifo(image.root + "/fifo")
    os.mkdir(image.root + "/directory")
    for path in ("/fifo", "/directory"):
        with pytest.raises(OSError) as raised:
            image.read(path, 10)
        assert raised.value.errno == errno.EINVAL


def test_what_is_not_there(image):
    put(image, "/file")
    for path in ("/nowhere", "/nowhere/deeper", "/file/below"):
        assert image.read_optional(path, 1) is None
        assert image.lstat(path) is None
        assert not image.lexists(path)
        assert image.read_link(path) is None
        assert image.list_dir(path) == []
        image.remove(path)


def test_what_may_not_be_read(image):
    put(image, "/secret", b"x", 0)
    os.mkdir(image.root + "/directory", 0)
    with as_nobody():
        with pytest.raises(PermissionError):
            image.read_optional("/secret", 1)
        assert image.list_dir("/directory") == []
        with pytest.raises(PermissionError):
            image.list_dir("/directory", certain=True)


# -- writing -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("umask", [0, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_create_gives_the_mode_asked_for(image, umask, mode):
    os.umask(umask)
    image.create("/new", b"data", mode)
    assert stat.S_IMODE(os.stat(image.root + "/new").st_mode) == mode


def test_a_directory_that_was_made_is_on_disk_before_a_file_in_it(machine):
    """Otherwise a power failure could remove the directory, and with it a file that was synced."""
    with fault() as faults:
        machine.ensure_dir("/etc/cca/new/deeper")
    names = [name for name, _ in faults.log]
    assert names == ["mkdir", "chmod", "fsync", "mkdir", "chmod", "fsync"]


@pytest.mark.parametrize("number", [1, 2])
def test_a_close_that_a_signal_interrupts_has_closed(machine, monkeypatch, number):
    """NFS and FUSE can interrupt it. A second close might close another descriptor."""
    real, calls = os.close, []

    def close(fd):
        calls.append(fd)
        real(fd)
        if len(calls) == number:
            raise InterruptedError

    monkeypatch.setattr(host_module.os, "close", close)
    machine.replace(paths.CONF, b"new", 0o600)
    assert machine.get(paths.CONF) == b"new" and len(calls) >= number


def test_create_is_never_wider_than_its_end(image):
    os.umask(0)
    seen = []

    def look():
        seen.append(stat.S_IMODE(os.stat(image.root + "/new").st_mode))

    with fault(watch=look):
        image.create("/new", b"data" * 100, 0o600)
    assert seen and all(mode & 0o177 == 0 for mode in seen)


@pytest.mark.parametrize("what", ["file", "link", "dangling link", "hard link", "directory"])
def test_create_writes_through_nothing(image, what):
    other = put(image, "/other", b"precious", 0o644)
    new = image.root + "/new"
    if what == "file":
        put(image, "/new", b"old")
    elif what == "link":
        os.symlink(other, new)
    elif what == "dangling link":
        os.symlink(image.root + "/made-by-attacker", new)
    elif what == "hard link":
        os.link(other, new)
    else:
        os.mkdir(new)
    with pytest.raises(FileExistsError):
        image.create("/new", b"key", 0o600)
    with open(other, "rb") as stream:
        assert stream.read() == b"precious"
    assert not os.path.exists(image.root + "/made-by-attacker")


def test_replace_keeps_the_mode(image):
    real = put(image, "/conf", b"old", 0o640)
    image.replace("/conf", b"new", 0o600)
    assert image.read("/conf", 10) == b"new"
    assert stat.S_IMODE(os.stat(real).st_mode) == 0o640


def acl(*entries):
    """The value of system.posix_acl_access: tag, permissions and id of each entry (linux/posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


NO_ID = 0xFFFFFFFF
# No new file has these values by itself. The ACL: user 1234 may write, the group may only read.
ATTRIBUTES = {
    "user.note": b"kept\0\xff as bytes",
    "system.posix_acl_access": acl((1, 6, NO_ID), (2, 6, 1234), (4, 4, NO_ID), (0x10, 6, NO_ID), (0x20, 0, NO_ID)),
    "security.selinux": b"system_u:object_r:etc_t:s0\0",
}


def attributes_of(real):
    return {name: os.getxattr(real, name) for name in os.listxattr(real)}


@pytest.fixture
def holding(tmp_path):
    """holding(name, value): a Host of a root where a file can have that extended attribute, and its /conf, which has.

    A file system in memory may not support the attribute; then the file is on the file system of the tests.
    """
    with contextlib.ExitStack() as stack:

        def make(name, value):
            refused = []
            for place in (str(tmp_path), os.path.dirname(os.path.abspath(__file__))):
                try:
                    root = stack.enter_context(tempfile.TemporaryDirectory(prefix=".csulcca-", dir=place))
                    real = put(Host(root), "/conf", b"old", 0o640)
                    os.setxattr(real, name, value)
                except OSError as error:
                    refused.append("%s (%s)" % (place, error.strerror))
                else:
                    return Host(root), real
            pytest.skip("no file here can be given %s: %s" % (name, ", ".join(refused)))

        yield make


@pytest.mark.parametrize("follow", [False, True], ids=["itself", "through a link"])
@pytest.mark.parametrize("name", sorted(ATTRIBUTES))
def test_replace_keeps_the_value_of_an_attribute(holding, name, follow):
    image, real = holding(name, ATTRIBUTES[name])
    os.symlink("conf", image.root + "/link")
    before, mode = attributes_of(real), os.stat(real).st_mode
    assert before[name] == ATTRIBUTES[name]
    inode = os.stat(real).st_ino

    image.replace("/link" if follow else "/conf", b"new", 0o600, follow=follow)

    assert image.read("/conf", 10) == b"new"
    assert os.stat(real).st_ino != inode
    assert attributes_of(real) == before
    assert os.stat(real).st_mode == mode


def test_replace_sets_no_attribute_that_the_new_file_has_already(image, monkeypatch):
    """SELinux does not let a confined daemon set a label, not even the label that the file has already."""
    put(image, "/conf", b"old", 0o640)

    def refuse(*_arguments, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "listxattr", lambda *_, **__: ["security.selinux"])
    monkeypatch.setattr(os, "getxattr", lambda *_, **__: ATTRIBUTES["security.selinux"])
    monkeypatch.setattr(os, "setxattr", refuse)
    image.replace("/conf", b"new", 0o600)
    assert image.read("/conf", 10) == b"new"


def test_replace_gives_no_acl_of_the_directory_to_a_file_that_has_none(holding):
    """A new file gets the default ACL of its directory. An edited file is not a new file."""
    name = "system.posix_acl_access"
    image, real = holding(name, ATTRIBUTES[name])
    os.removexattr(real, name)
    os.chmod(real, 0o640)
    os.setxattr(image.root, "system.posix_acl_default", ATTRIBUTES[name])
    image.replace("/conf", b"new", 0o600)
    assert attributes_of(real) == {}
    assert stat.S_IMODE(os.stat(real).st_mode) == 0o640


@pytest.mark.skipif(not IS_ROOT, reason="only root may give a file away")
def test_replace_keeps_the_owner(image):
    real = put(image, "/conf", b"old", 0o640)
    os.chown(real, 1234, 4321)
    image.replace("/conf", b"new", 0o600)
    entry = os.stat(real)
    assert (entry.st_uid, entry.st_gid, stat.S_IMODE(entry.st_mode)) == (1234, 4321, 0o640)


@pytest.mark.parametrize("absolute", [True, False])
def test_replace_writes_what_a_link_leads_to(image, absolute):
    put(image, "/data/conf", b"old")
    os.symlink("/data/conf" if absolute else "data/conf", image.root + "/conf")
    image.replace("/conf", b"new", 0o644, follow=True)
    assert os.path.islink(image.root + "/conf")
    assert image.read("/data/conf", 10) == b"new"
    assert sorted(os.listdir(image.root + "/data")) == ["conf"]


def test_replace_writes_what_a_dangling_link_leads_to(image):
    os.mkdir(image.root + "/data")
    os.symlink("/data/conf", image.root + "/conf")
    image.replace("/conf", b"new", 0o644, follow=True)
    assert image.read("/data/conf", 10) == b"new"


def test_an_empty_name_is_not_the_directory_that_one_is_in():
    with pytest.raises(FileNotFoundError):
        Host().absolute("")


@pytest.mark.parametrize("follow", [True, False])
def test_replace_follows_a_link_only_if_asked(tmp_path, follow):
    (tmp_path / "data").write_bytes(b"old")
    (tmp_path / "conf").symlink_to("data")
    Host().replace(str(tmp_path / "conf"), b"new", 0o644, follow=follow)
    assert (tmp_path / "conf").is_symlink() == follow
    assert (tmp_path / "conf").read_bytes() == b"new"
    assert (tmp_path / "data").read_bytes() == (b"new" if follow else b"old")


def test_read_of_what_is_not_public(image):
    put(image, "/conf", b"x", 0o640)
    assert image.read("/conf", 10) == b"x"
    with pytest.raises(PermissionError):
        image.read("/conf", 10, public=True)
    os.chmod(image.root + "/conf", 0o644)
    assert image.read("/conf", 10, public=True) == b"x"


def test_replace_leaves_another_name_of_the_file_alone(image):
    put(image, "/conf", b"old")
    os.link(image.root + "/conf", image.root + "/backup")
    image.replace("/conf", b"new", 0o644)
    assert (image.read("/conf", 10), image.read("/backup", 10)) == (b"new", b"old")


# The content that was read, and the content when the new one is ready.
CHANGED = {
    "it appeared": (None, b"theirs"), "it appeared, and is empty": (None, b""), "it went": (b"old", None),
    "other bytes": (b"old", b"new"), "it grew": (b"old", b"old and more"), "it was cut": (b"old", b""),
}


@pytest.mark.parametrize("name", sorted(CHANGED))
@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_replace_leaves_what_is_not_what_was_read(image, name, links, monkeypatch):
    read, there = CHANGED[name]
    if there is not None:
        put(image, "/conf", there)
    if not links:
        without_links(image, monkeypatch)
    with pytest.raises(ChangedMeanwhile):
        image.replace("/conf", b"ours", 0o644, expected=read)
    assert image.read_optional("/conf", 100) == there
    assert [one for one in os.listdir(image.root) if one != "conf"] == []


@pytest.mark.parametrize("read", [None, b"old", b""])
@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
def test_replace_of_what_was_read(image, read, links, monkeypatch):
    if read is not None:
        put(image, "/conf", read)
    if not links:
        without_links(image, monkeypatch)
    image.replace("/conf", b"ours", 0o644, expected=read)
    assert image.read("/conf", 100) == b"ours"
    assert os.listdir(image.root) == ["conf"]


@pytest.mark.parametrize("what", ["a link", "a dangling link", "a directory"])
def test_a_new_file_takes_the_place_of_nothing(image, what):
    if what == "a directory":
        os.mkdir(image.root + "/conf")
    else:
        os.symlink("other", image.root + "/conf")
        if what == "a link":
            put(image, "/other", b"theirs")
    with pytest.raises(OSError):
        image.replace("/conf", b"ours", 0o644, expected=None)
    assert image.read_link("/conf") == (None if what == "a directory" else "other")
    assert image.read_optional("/other", 100) == (b"theirs" if what == "a link" else None)


def without_links(image, monkeypatch):
    """The file system is one without hard links (vfat, some FUSE)."""
    def refuse(old, new):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), old)

    monkeypatch.setattr(image, "link", refuse)


@pytest.mark.parametrize("what", ["directory", "fifo"])
def test_replace_of_what_is_no_file(image, what):
    if what == "directory":
        os.mkdir(image.root + "/conf")
    else:
        os.mkfifo(image.root + "/conf")
    with pytest.raises(OSError):
        image.replace("/conf", b"new", 0o644)
    assert sorted(os.listdir(image.root)) == ["conf"]


def test_replace_clears_a_draft_that_a_crash_left(image):
    put(image, paths.draft("/conf"), b"half", 0o666)
    image.replace("/conf", b"new", 0o644)
    assert sorted(os.listdir(image.root)) == ["conf"]


def count_writes(step):
    with fault() as faults:
        step()
    return faults.count


def test_replace_is_whole_at_every_instant(image):
    """After a kill at any writing call, the content is the old or the new one, whole, and a second run cleans up."""
    put(image, "/conf", b"old", 0o644)
    calls = count_writes(lambda: image.replace("/conf", b"new", 0o644))
    assert calls >= 6
    for n in range(1, calls + 1):
        for before in (True, False):
            put(image, "/conf", b"old", 0o644)
            with fault(n=n, before=before), pytest.raises(Killed):
                image.replace("/conf", b"new", 0o644)
            assert image.read("/conf", 10) in (b"old", b"new")
            image.replace("/conf", b"new", 0o644)
            assert image.read("/conf", 10) == b"new"
            assert sorted(os.listdir(image.root)) == ["conf"]


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_replace_that_fails_leaves_the_old_file_and_no_litter(image, error):
    put(image, "/conf", b"old", 0o644)
    calls = count_writes(lambda: image.replace("/conf", b"new", 0o644))
    for n in range(1, calls + 1):
        put(image, "/conf", b"old", 0o644)
        with fault(n=n, error=error) as faults, pytest.raises(OSError) as raised:
            image.replace("/conf", b"new", 0o644)
        assert raised.value.errno == error
        renamed = [name for name, _ in faults.log[:n - 1] if name == "rename"]
        assert image.read("/conf", 10) == (b"new" if renamed else b"old")
        # The call that failed may be the removal of the draft.
        if faults.log[n - 1][0] != "unlink":
            assert sorted(os.listdir(image.root)) == ["conf"]


def test_short_writes_are_continued(image, monkeypatch):
    from catcher_install import host as host_module

    class Short:
        def __getattr__(self, name):
            return getattr(os, name)

        def write(self, fd, data):
            return os.write(fd, bytes(data)[:3])

    monkeypatch.setattr(host_module, "os", Short())
    image.create("/new", b"0123456789", 0o644)
    assert image.read("/new", 100) == b"0123456789"


@pytest.mark.parametrize("error,fails", [
    (errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True), (errno.ENOSPC, True)])
def test_a_file_system_that_cannot_sync_a_directory_has_its_files(image, monkeypatch, error, fails):
    real = os.fsync

    def fsync(fd):
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(error, os.strerror(error))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    try:
        image.replace("/file", b"new", 0o644)
    except OSError as raised:
        assert fails and raised.errno == error
    else:
        assert not fails and image.read("/file", 10) == b"new"


@pytest.mark.parametrize("call", ["write", "fsync", "fchmod"])
def test_create_leaves_no_part_of_a_file(image, call):
    """Otherwise a certificate request on a full disk would leave a file, and the next attempt would refuse its name."""
    with fault(calls=(call,), n=1, error=errno.ENOSPC), pytest.raises(OSError, match="No space left"):
        image.create("/new", b"0123456789", 0o644)
    assert image.list_dir("/") == []


def test_ensure_dir_leaves_existing_ones_alone(image):
    os.mkdir(image.root + "/etc", 0o700)
    image.ensure_dir("/etc/cca")
    assert stat.S_IMODE(os.stat(image.root + "/etc").st_mode) == 0o700
    assert stat.S_IMODE(os.stat(image.root + "/etc/cca").st_mode) == 0o755
    os.chmod(image.root + "/etc/cca", 0o750)
    image.ensure_dir("/etc/cca")
    assert stat.S_IMODE(os.stat(image.root + "/etc/cca").st_mode) == 0o750


def test_remove_tree_of_files_follows_no_link(image):
    put(image, "/other/precious", b"x")
    os.mkdir(image.root + "/draft")
    os.symlink(image.root + "/other", image.root + "/draft/link")
    put(image, "/draft/file")
    image.remove_tree_of_files("/draft")
    assert not image.lexists("/draft")
    os.symlink(image.root + "/other", image.root + "/draft")
    image.remove_tree_of_files("/draft")
    assert image.read("/other/precious", 1) == b"x"
    assert not image.lexists("/draft")


# -- the lock ----------------------------------------------------------------------------------------------------------

def test_lock_keeps_others_out_until_it_is_free(image):
    lock = image.lock(1)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        Host(image.root).lock(0.1)
    assert 0.1 <= time.monotonic() - started < 5
    lock.free()
    Host(image.root).lock(0.1).free()


def test_lock_of_a_killed_holder_is_free(image):
    gone = os.fork()
    if gone == 0:
        image.lock(1)
        os.kill(os.getpid(), 9)
    os.waitpid(gone, 0)
    image.lock(0).free()


def test_a_lock_does_not_follow_a_planted_link(image):
    put(image, "/victim", b"precious", 0o644)
    os.makedirs(image.root + paths.STATE_DIR)
    os.symlink(image.root + "/victim", image.root + paths.LOCK)
    assert image.lock(0) is None
    assert image.read("/victim", 10) == b"precious"


def test_no_lock_where_var_cannot_be_written(image):
    put(image, "/var", b"a file")
    assert image.lock(0) is None


# -- the running system ------------------------------------------------------------------------------------------------

def test_another_root_is_never_a_running_system(image):
    assert not image.is_booted()
    assert image.in_chroot()


@pytest.mark.parametrize("value", ["1", "true", "yes", "on"])
def test_systemd_offline_counts_as_not_booted(monkeypatch, value):
    monkeypatch.setenv("SYSTEMD_OFFLINE", value)
    assert not Host().is_booted()


LOOK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from catcher_install.host import Host
if sys.argv[2] == "user":
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
host = Host()
print(host.in_chroot(), host.is_hidden(1), host.is_hidden(os.getpid()), host.is_hidden(99999999))
"""


@pytest.mark.skipif(not IS_ROOT, reason="only root mounts file systems")
@pytest.mark.parametrize("mount,user,chroot,hidden", [
    ("mount -t proc -o hidepid=0 proc /proc", "user", False, False),
    ("mount -t proc -o hidepid=1 proc /proc", "user", False, True),
    ("mount -t proc -o hidepid=2 proc /proc", "user", False, True),
    ("mount -t proc -o hidepid=2 proc /proc", "root", False, False),
    ("mount -t tmpfs proc /proc", "user", True, False), ("mount -t tmpfs proc /proc", "root", True, False)])
def test_a_system_that_hides_its_processes_from_a_user_is_no_chroot(mount, user, chroot, hidden):
    script = '%s && "$@"' % mount
    done = subprocess.run(["unshare", "--mount", "--pid", "--fork", "sh", "-c", script + "; exit $?", "sh"] +
                          child_python() + ["-c", LOOK, TREE, user], stdout=subprocess.PIPE, timeout=60)
    assert (done.returncode, done.stdout.decode().split()) == (0, [str(chroot), str(hidden), "False", "False"])


def test_names_of_an_image_come_from_its_files(image):
    assert image.node_name() == ""
    put(image, "/etc/hostname", b"image.example.com\n")
    assert image.node_name() == "image.example.com"


@pytest.mark.real_programs
def test_ipv4_addresses_are_those_of_this_machine():
    import subprocess

    found = [address for address, _ in Host().ipv4_addresses()]
    assert ("127.0.0.1", "lo") in Host().ipv4_addresses()
    try:
        printed = subprocess.check_output(["/bin/hostname", "-I"]).decode("ascii").split()
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no hostname command here")
    assert [one for one in printed if "." in one and one not in found] == []


def test_a_port_is_tried_also_where_an_option_is_refused(monkeypatch):
    """A kernel, or an emulator of a kernel, that does not know the call."""
    class Socket(_socket.socket):
        def setsockopt(self, level, option, value):
            if (level, option) == (_socket.IPPROTO_IP, 15):
                raise OSError(errno.ENOPROTOOPT, "Protocol not available")
            super().setsockopt(level, option, value)

    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
        server.listen(1)
        monkeypatch.setattr(_socket, "socket", Socket)
        port = server.getsockname()[1]
        assert not Host().can_bind(port) and not Host().can_bind(port, ["127.0.0.1"])
    assert Host().can_bind(port)


def test_own_elf_header_is_that_of_the_interpreter():
    with open(os.path.realpath(sys.executable), "rb") as stream:
        assert Host().own_elf_header() == stream.read(20)


def test_a_chroot_without_proc_has_an_architecture(monkeypatch):
    real = Host.read

    def read(host, path, *limits, **more):
        if path.startswith("/proc/"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(host, path, *limits, **more)

    monkeypatch.setattr(Host, "read", read)
    with open(os.path.realpath(sys.executable), "rb") as stream:
        header = stream.read(20)
    # The type of the file may be another.
    assert Host().own_elf_header()[4:6] == header[4:6] and Host().own_elf_header()[18:] == header[18:]


@pytest.mark.parametrize("family,address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "0.0.0.0"),
                                            (socket.AF_INET6, "::1")])
def test_whether_the_port_can_be_had(family, address):
    host = Host()
    with socket.socket(family) as server, socket.socket(family) as client:
        try:
            server.bind((address, free_port()))
        except OSError as error:
            pytest.skip("no %s here: %s" % (address, error.strerror))
        port = server.getsockname()[1]
        assert not host.can_bind(port)
        server.listen(1)
        assert not host.can_bind(port)
        if address == "0.0.0.0":
            # An address that this machine does not have.
            server.listen(1)
            assert not host.can_bind(port, ["192.0.2.77"])
        elsewhere = "127.0.0.2" if family == socket.AF_INET else "127.0.0.1"
        assert host.can_bind(port, [elsewhere]) == (address != "0.0.0.0") and not host.can_bind(port, [address])
        if address != "0.0.0.0":
            # An outgoing connection holds its port, too.
            client.connect((address, port))
            assert not host.can_bind(client.getsockname()[1])
    assert host.can_bind(port)


def test_a_process_is_seen_by_its_command_line():
    child = os.fork()
    if child == 0:
        os.execv("/bin/sleep", ["/bin/sleep", "60"])
    try:
        host = Host()
        deadline = time.monotonic() + 10
        while host.command_line(child) != ["/bin/sleep", "60"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert child in host.pids()
        assert host.is_root_process(child) == (os.geteuid() == 0)
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert host.command_line(child) == [] and child not in host.pids()
    assert not host.is_root_process(child)
    host.terminate(child)


@pytest.mark.parametrize("uids,wanted", [
    (b"0\t0\t0\t0", True), (b"65534\t65534\t65534\t65534", False), (b"0\t65534\t0\t0", False),
    (b"65534\t0\t0\t0", False), (b"", False)])
def test_a_process_is_of_root_if_every_user_id_is(machine, monkeypatch, uids, wanted):
    """If a process does not let others inspect it, its files below /proc belong to root, whoever its user is."""
    machine.put("/proc/77/status", b"Name:\tUid:\t0\nUid:\t" + uids + b"\nGid:\t0\t0\t0\t0\n")
    assert Host.is_root_process(machine, 77) == wanted


def test_a_process_with_another_root_is_of_another_system(machine, monkeypatch):
    """In a chroot, /proc is often that of the host. `CSUTKEcat stop` must not end the catcher of the host."""
    us = os.getpid()
    machine.put("/proc/%d/status" % us, b"Uid:\t0\t0\t0\t0\n")
    assert Host.is_root_process(machine, us)
    compared = []
    monkeypatch.setattr(os.path, "samefile", lambda *two: compared.append(two))
    assert not Host.is_root_process(machine, us)
    assert compared == [("/proc/%d/root" % us, "/")]


@pytest.mark.parametrize("theirs,shared", [("net:[1]", True), ("net:[2]", False), (None, True)])
def test_a_process_is_in_our_network_unless_it_is_seen_in_another(machine, theirs, shared):
    machine.put_link("/proc/self/ns/net", "net:[1]")
    if theirs is not None:
        machine.put_link("/proc/7/ns/net", theirs)
    assert Host.shares_network(machine, 7) == shared


def test_a_call_that_a_signal_interrupts_is_made_again(tmp_path):
    """Python repeats interrupted calls on descriptors only. NFS and FUSE can interrupt calls on names, too."""
    machine = Host(str(tmp_path))
    calls = []

    def interrupted(*arguments):
        calls.append(arguments)
        if len(calls) < 3:
            raise InterruptedError(4, "Interrupted system call")
        return os.lstat(*arguments)

    assert host_module._again(interrupted, machine.root).st_ino == os.lstat(machine.root).st_ino
    assert len(calls) == 3


def test_a_process_says_when_it_was_started():
    before = time.time()
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            started = Host().started(child.pid)
        finally:
            child.kill()
    # The kernel counts in hundredths of a second.
    assert before - 0.1 < started < time.time() + 0.1


def test_a_process_whose_name_looks_like_the_rest_of_its_line(machine):
    machine.put("/proc/7/stat", b"7 (a) S 1 2 (b) S" + b" 1" * 18 + b" 0 5\n")
    assert abs(machine.started(7) - (time.time() - time.clock_gettime(7))) < 1


@pytest.mark.parametrize("data", [None, b"", b"7 (a) S 1\n", b"7 (a) S" + b" x" * 40])
def test_a_process_of_which_the_start_is_not_known(machine, data):
    if data is not None:
        machine.put("/proc/7/stat", data)
    assert machine.started(7) is None
