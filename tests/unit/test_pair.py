"""The pair: what is there, and how both files are put in place together or not at all."""

import functools
import hashlib
import os
import subprocess
import sys

import pytest

from catcher_install import pair, paths
from catcher_install.cert import details
from catcher_install.cert import pem as cert_pem
from catcher_install.errors import CatcherError

from . import pem
from .support import fault

KEY = b"-----BEGIN PRIVATE KEY-----\nours\n-----END PRIVATE KEY-----\n"
CRT = b"-----BEGIN CERTIFICATE-----\nours\n-----END CERTIFICATE-----\n"
THEIRS = b"an administrator's"


def state_of(machine):
    return pair.look(machine).state


def test_the_states_of_a_pair_are_told_apart(machine):
    assert state_of(machine) == pair.NONE
    machine.put(paths.KEY, KEY, 0o600)
    assert state_of(machine) == pair.KEY_ONLY
    machine.put(paths.CERTIFICATE, CRT)
    seen = pair.look(machine)
    assert (seen.state, seen.key_open, seen.staged, seen.draft) == (pair.BOTH, "", False, False)
    machine.remove(paths.KEY)
    assert state_of(machine) == pair.CERTIFICATE_ONLY


@pytest.mark.parametrize("what", ["dangling link", "directory", "fifo", "empty file"])
def test_anything_of_that_name_counts(machine, what):
    if what == "dangling link":
        machine.put_link(paths.KEY, "/nowhere")
    elif what == "directory":
        machine.make_dir(paths.KEY, 0o755)
    elif what == "fifo":
        os.mkfifo(machine.on_disk(paths.KEY))
    else:
        machine.put(paths.KEY)
    assert state_of(machine) == pair.KEY_ONLY


def test_the_fingerprint_is_of_these_very_bytes(machine):
    """A file with the same size, time and inode can be another file. A file with another time can be the same."""
    machine.put(paths.KEY, KEY, 0o600)
    machine.put(paths.CERTIFICATE, CRT)
    assert pair.look(machine).fingerprint == pair.fingerprint(KEY, CRT)
    os.utime(machine.on_disk(paths.KEY), (1, 1))
    assert pair.look(machine).fingerprint == pair.fingerprint(KEY, CRT)
    with open(machine.on_disk(paths.KEY), "r+b") as stream:
        stream.write(KEY.swapcase())
    os.utime(machine.on_disk(paths.KEY), (1, 1))
    assert pair.look(machine).fingerprint == pair.fingerprint(KEY.swapcase(), CRT)


DIGESTS = {
    "sha1": "da39a3ee5e6b4b0d3255bfef95601890afd80709",
    "sha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}


@pytest.mark.parametrize("name", sorted(DIGESTS))
@pytest.mark.parametrize("built_in", [True, False])
def test_a_hash_is_found_whatever_openssl_is_told_to_refuse(monkeypatch, name, built_in):
    """openssl.cnf says fips=yes and there is no provider. Some builds of Python have no hashes of their own."""
    real = hashlib.new

    def new(name, data=b"", **options):
        if options.get("usedforsecurity", True):
            raise ValueError("[digital envelope routines] unsupported")
        return real(name, data)

    monkeypatch.setattr(hashlib, "new", new)
    for algorithm in DIGESTS:
        monkeypatch.setattr(hashlib, algorithm, lambda *data, algorithm=algorithm: new(algorithm, *data))
    if not built_in:
        for module in ("_sha1", "_sha2", "_sha256"):
            monkeypatch.setitem(sys.modules, module, None)
    assert pair.hash_of(b"", name) == DIGESTS[name]
    crt = pem.certificate_for(pem.key_of("prime256v1"))
    assert len(details.describe(cert_pem.der(crt)).sha1) == 59


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_an_old_python_makes_the_same_hash(monkeypatch, name):
    real = hashlib.new
    monkeypatch.setattr(hashlib, "new", lambda name, data: real(name, data))
    for module in ("_sha1", "_sha2", "_sha256"):
        monkeypatch.setitem(sys.modules, module, None)
    assert pair.hash_of(b"", name) == DIGESTS[name]


def test_the_fingerprint_is_of_what_a_link_leads_to(machine):
    machine.put("/etc/ssl/private/k", KEY, 0o600)
    machine.put_link(paths.KEY, "/etc/ssl/private/k")
    machine.put(paths.CERTIFICATE, CRT)
    assert pair.look(machine).fingerprint == pair.fingerprint(KEY, CRT)


def owner_is(monkeypatch, machine, owner, *paths_):
    """Make files seem to be a user's, for host.lstat() and os.stat()."""
    def of_user(real, path, *rest, **named):
        entry = real(path, *rest, **named)
        theirs = path in paths_ or path in map(machine.on_disk, paths_)
        return os.stat_result([*entry[:4], owner, *entry[5:]]) if theirs and entry else entry

    monkeypatch.setattr(machine, "lstat", functools.partial(of_user, machine.lstat))
    monkeypatch.setattr(os, "stat", functools.partial(of_user, os.stat))


@pytest.mark.parametrize("linked,mode,told", [
    (False, 0o600, ""), (False, 0o400, ""), (False, 0o700, ""), (False, 0o640, "mode 0640"),
    (False, 0o604, "mode 0604"),
    # A link may lead to a key that other programs share by their group.
    (True, 0o640, ""), (True, 0o644, "mode 0644"),
])
def test_who_else_can_read_the_key(machine, linked, mode, told):
    machine.put("/etc/ssl/private/k" if linked else paths.KEY, KEY, mode)
    if linked:
        machine.put_link(paths.KEY, "/etc/ssl/private/k")
    assert pair.look(machine).key_open == told


def test_the_owner_of_the_key_can_read_it(machine, monkeypatch):
    """This happens after cp -p or mv from an administrator's own directory."""
    machine.put(paths.KEY, KEY, 0o600)
    owner_is(monkeypatch, machine, 1234, paths.KEY)
    assert pair.look(machine).key_open == "owner: user 1234"
    # NFS with root_squash: the files of root belong to that user.
    owner_is(monkeypatch, machine, 1234, paths.BIN)
    assert pair.look(machine).key_open == ""


@pytest.mark.parametrize("above, told", [("/srv/keys/own", ""), ("/srv/keys", ""), (None, "mode 0644")])
def test_a_link_leads_to_a_key_that_only_root_can_reach(machine, above, told):
    machine.put("/srv/keys/own/k", KEY, 0o644)
    machine.put_link(paths.KEY, "/srv/keys/own/k")
    if above:
        os.chmod(machine.on_disk(above), 0o750)
    seen = pair.look(machine)
    assert (seen.key_open, seen.key_linked) == (told, True)


@pytest.mark.parametrize("mode, is_open", [(0o600, False), (0o640, False), (0o644, True)])
def test_who_else_can_read_the_certificate(machine, mode, is_open):
    """The certificate may be in one file with the key."""
    machine.put("/etc/ssl/combined.pem", KEY + CRT, mode)
    for path in (paths.KEY, paths.CERTIFICATE):
        machine.put_link(path, "/etc/ssl/combined.pem")
    assert pair.look(machine).certificate_open == is_open


def test_a_link_that_leads_nowhere_is_open_to_nobody(machine):
    machine.put_link(paths.KEY, "/nowhere")
    assert pair.look(machine).key_open == ""


def test_what_cannot_be_read_has_no_fingerprint(machine):
    machine.put_link(paths.KEY, "/nowhere")
    machine.put(paths.CERTIFICATE, CRT)
    assert pair.look(machine).state == pair.BOTH and pair.look(machine).fingerprint == ""


def test_a_staged_pair_is_placed_whole_and_private(machine):
    pair.stage(machine, KEY, CRT)
    assert state_of(machine) == pair.NONE and pair.look(machine).staged
    made = pair.place(machine)
    assert made == hashlib.sha256(KEY + CRT).hexdigest()
    assert (machine.get(paths.KEY), machine.get(paths.CERTIFICATE)) == (KEY, CRT)
    assert (machine.mode(paths.KEY), machine.mode(paths.CERTIFICATE)) == (0o600, 0o644)
    assert pair.place(machine) == made
    pair.clear(machine)
    assert [name for name in machine.names(paths.BIN) if "pair" in name] == []
    pair.clear(machine)


def test_each_name_becomes_final_after_its_content_is_on_disk(machine):
    """Both files and their directory are synced before the rename that makes the stage, and that before the links."""
    with fault() as faults:
        pair.stage(machine, KEY, CRT)
        pair.place(machine)
    names = [name for name, _ in faults.log]
    assert names == (["mkdir"] + ["open", "fchmod", "write", "fsync"] * 2 + ["link", "fsync", "rename", "fsync"]
                     + ["link", "link", "fsync"])


def test_fingerprint_is_what_the_shell_makes(machine):
    """hooks/postrm.sh compares with: cat catcher.key catcher.crt | sha256sum"""
    pair.stage(machine, KEY, CRT)
    made = pair.place(machine)
    files = [machine.on_disk(paths.KEY), machine.on_disk(paths.CERTIFICATE)]
    printed = subprocess.check_output(["/bin/sh", "-c", 'cat "$0" "$1" | sha256sum'] + files)
    assert printed.decode("ascii").split()[0] == made


# -- somebody's files in the way ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", [paths.KEY, paths.CERTIFICATE])
@pytest.mark.parametrize("what", ["file", "link", "dangling link"])
def test_a_file_that_appears_meanwhile_stays(machine, path, what):
    pair.stage(machine, KEY, CRT)
    if what == "file":
        machine.put(path, THEIRS, 0o644)
    else:
        machine.put_link(path, "/srv/theirs")
        if what == "link":
            machine.put("/srv/theirs", THEIRS)
    with pytest.raises(CatcherError) as raised:
        pair.place(machine)
    assert path in raised.value.message and raised.value.hint
    assert machine.names(paths.BIN) == sorted(["catcher.exe", os.path.basename(path)])
    if what == "file":
        assert (machine.get(path), machine.mode(path)) == (THEIRS, 0o644)
    else:
        assert machine.read_link(path) == "/srv/theirs"
        assert not machine.lexists("/srv/theirs") or machine.get("/srv/theirs") == THEIRS


def test_a_key_that_an_earlier_run_placed_stays(machine):
    """The stage stays as long as no stamp can be written. Meanwhile the CA's certificate for the key was installed."""
    pair.stage(machine, KEY, CRT)
    pair.place(machine)
    machine.remove(paths.CERTIFICATE)
    machine.put(paths.CERTIFICATE, THEIRS)
    with pytest.raises(CatcherError) as raised:
        pair.place(machine)
    assert paths.CERTIFICATE in raised.value.message
    assert (machine.get(paths.KEY), machine.get(paths.CERTIFICATE)) == (KEY, THEIRS)
    assert machine.names(paths.BIN) == ["catcher.crt", "catcher.exe", "catcher.key"]


@pytest.mark.parametrize("path", [paths.KEY, paths.CERTIFICATE])
def test_a_pair_that_was_written_into_is_not_called_ours(machine, path):
    """cp keeps the inode of its target, which is that of the staged twin."""
    pair.stage(machine, KEY, CRT)
    pair.place(machine)
    with open(machine.on_disk(path), "wb") as stream:
        stream.write(THEIRS)
    assert pair.place(machine) == ""
    pair.clear(machine)
    assert machine.get(path) == THEIRS


@pytest.mark.parametrize("path", [paths.KEY, paths.CERTIFICATE])
def test_a_replacement_that_was_written_into_is_not_called_ours(machine, path):
    machine.put(paths.KEY, THEIRS, 0o600)
    machine.put(paths.CERTIFICATE, THEIRS)
    pair.begin_replacement(machine, KEY, CRT, True)
    assert pair.place_replacement(machine) == pair.fingerprint(KEY, CRT) == pair.place_replacement(machine)
    with open(machine.on_disk(path), "wb") as stream:
        stream.write(b"written into it")
    assert pair.place_replacement(machine) == ""


@pytest.mark.parametrize("theirs", [b"theirs", None])
def test_what_was_replaced_gets_a_name_that_nobody_has(machine, theirs):
    """The run that chose a free name may be finished only days later."""
    machine.put(paths.KEY, THEIRS, 0o600)
    machine.put(paths.CERTIFICATE, THEIRS)
    suffix = pair.begin_replacement(machine, KEY, CRT, True)
    pair.place_replacement(machine)
    if theirs is None:
        machine.put(paths.KEY + suffix + "/theirs")
    else:
        machine.put(paths.KEY + suffix, theirs)
    pair.clear(machine)
    assert machine.get(paths.KEY + suffix + "-2") == machine.get(paths.CERTIFICATE + suffix) == THEIRS
    if theirs is not None:
        assert machine.get(paths.KEY + suffix) == theirs


def test_what_was_replaced_is_kept_once(machine):
    """The run was killed after it made the file with the kept name."""
    machine.put(paths.KEY, THEIRS, 0o600)
    machine.put(paths.CERTIFICATE, THEIRS)
    suffix = pair.begin_replacement(machine, KEY, CRT, True)
    pair.place_replacement(machine)
    machine.link(paths.REPLACE_STAGE + "/" + pair.KEPT + "catcher.key" + suffix, paths.KEY + suffix)
    pair.clear(machine)
    assert sorted(name for name in machine.list_dir(paths.BIN) if not name.endswith(".exe")) == sorted(
        name + end for name in pair.FILES for end in ("", suffix))


def test_a_link_in_the_place_of_a_draft_is_removed_and_not_followed(machine):
    """Only we use these names. A link with one of them is removed and never followed."""
    machine.put("/srv/precious/file", b"x")
    machine.put_link(paths.STAGE_DRAFT, "/srv/precious")
    pair.stage(machine, KEY, CRT)
    pair.place(machine)
    pair.clear(machine)
    assert machine.names("/srv/precious") == ["file"]
    assert machine.names(paths.BIN) == ["catcher.crt", "catcher.exe", "catcher.key"]


def test_a_stage_that_goes_is_gone_on_disk_before_its_files_are(machine, monkeypatch):
    """After a crash, a stage without its files could never be put in place, and would stay permanently."""
    pair.stage(machine, b"key", b"certificate")
    log = []
    for call in ("rename", "sync_dir", "remove"):
        real = getattr(machine, call)
        monkeypatch.setattr(machine, call, lambda *args, call=call, real=real: (log.append(call), real(*args))[1])
    pair.clear(machine)
    assert log == ["rename", "sync_dir", "remove", "remove", "remove", "sync_dir"]
