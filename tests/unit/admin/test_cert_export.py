"""cert export: the certificate on a stick, and never the key."""

import errno
import os

import pytest

from catcher_install import paths
from catcher_install.admin import cert_export, cert_install
from catcher_install.cert import details
from catcher_install.errors import CatcherError

from ..authority import Authority
from ..support import fault
from .hosts import NEW, NEW_KEY, der, put, refused


@pytest.fixture
def stick(machine):
    os.makedirs(machine.on_disk("/mnt/usb"))
    return "/mnt/usb"


def test_export_writes_the_certificate_and_its_hashes(machine, daemon, stick):
    lines = cert_export.export(machine, stick)
    assert machine.names(stick) == ["catcher-hashes.txt", "catcher.crt"]
    assert machine.get(stick + "/catcher.crt") == machine.get(paths.CERTIFICATE)
    sheet = machine.get(stick + "/catcher-hashes.txt").decode("ascii")
    one = details.describe(der(machine.get(paths.CERTIFICATE)))
    assert one.sha1 in sheet and one.sha256 in sheet and "tke1.example.com" in sheet and "50003" not in sheet[:20]
    assert "Wrote /mnt/usb/catcher.crt" in lines
    assert "is the USB stick mounted?" in "\n".join(lines)
    # Again, with other content.
    cert_install.generate(machine, True, True)
    cert_export.export(machine, stick)
    assert machine.get(stick + "/catcher.crt") == machine.get(paths.CERTIFICATE)
    assert machine.names(stick) == ["catcher-hashes.txt", "catcher.crt"]


def test_export_never_writes_the_key(machine, daemon, stick):
    """The key is not written even if it is in catcher.crt, where some servers want it."""
    authority = Authority()
    chain = authority.issue(NEW_KEY) + authority.certificate
    machine.put(paths.CERTIFICATE, NEW_KEY + chain)
    cert_export.export(machine, stick)
    assert machine.get(stick + "/catcher.crt") == chain
    for name in machine.names(stick):
        assert b"PRIVATE" not in machine.get(stick + "/" + name)


@pytest.mark.parametrize("name", ["catcher.crt", "catcher-hashes.txt", ".catcher.crt.csulcca-new"])
def test_export_follows_no_link(machine, daemon, stick, name):
    machine.put("/etc/victim", b"precious\n")
    machine.put_link(stick + "/" + name, "/etc/victim")
    cert_export.export(machine, stick)
    assert machine.get("/etc/victim") == b"precious\n"
    assert machine.names(stick) == ["catcher-hashes.txt", "catcher.crt"]
    assert not os.path.islink(machine.on_disk(stick + "/catcher.crt"))


def test_export_onto_a_stick_that_has_one_group_for_all(machine, daemon, stick, monkeypatch):
    """vfat that is mounted for a user refuses a change of the group."""
    real = os.fstat

    def fstat(fd):
        return real(fd) if real(fd).st_gid != os.getegid() else os.stat_result(
            [*real(fd)[:5], os.getegid() + 1, *real(fd)[6:]])

    def fchown(fd, uid, gid):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    system = fault().os
    monkeypatch.setattr(system, "fstat", fstat, raising=False)
    monkeypatch.setattr(system, "fchown", fchown, raising=False)
    monkeypatch.setattr("catcher_install.host.os", system)
    cert_export.export(machine, stick)
    assert machine.names(stick) == ["catcher-hashes.txt", "catcher.crt"]
    with pytest.raises(PermissionError):
        machine.create(stick + "/key", b"x", 0o640)


@pytest.mark.parametrize("where,linked", [(paths.BIN, False), (paths.BIN, True), ("/data", True), ("/mnt/link", False)])
def test_export_into_the_place_of_the_pair_is_refused(machine, daemon, where, linked):
    """Otherwise the command would replace an administrator's file, and no copy of its text would be left."""
    authority = Authority()
    machine.put(paths.KEY, NEW_KEY, 0o600)
    machine.put(paths.CERTIFICATE, b"Bag Attributes\n" + authority.issue(NEW_KEY) + authority.certificate)
    os.makedirs(machine.on_disk("/data"))
    machine.put_link("/mnt/link", paths.BIN)
    if linked:
        os.rename(machine.on_disk(paths.CERTIFICATE), machine.on_disk("/data/catcher.crt"))
        machine.put_link(paths.CERTIFICATE, "/data/catcher.crt")
    error = refused(machine, daemon, lambda: cert_export.export(machine, where))
    assert "the certificate in use is in" in error.message


def test_export_into_a_missing_directory_is_refused(machine, daemon):
    for name in ("/mnt/nothing", "/root/my.crt"):
        put(machine, *NEW)
        error = refused(machine, daemon, lambda name=name: cert_export.export(machine, name))
        assert "is not a directory" in error.message


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_export_onto_a_stick_that_refuses(machine, daemon, stick, error):
    with fault() as faults:
        cert_export.export(machine, stick)
    for name in machine.names(stick):
        os.unlink(machine.on_disk(stick + "/" + name))
    for n in range(1, faults.count - 3):
        with pytest.raises(CatcherError) as caught, fault(n=n, error=error):
            cert_export.export(machine, stick)
        assert os.strerror(error).lower() in caught.value.message and caught.value.hint
        assert [name for name in machine.names(stick) if name.startswith(".")] == [], n


def test_export_of_a_missing_certificate_is_refused(machine, daemon, stick):
    os.unlink(machine.on_disk(paths.CERTIFICATE))
    error = refused(machine, daemon, lambda: cert_export.export(machine, stick))
    assert "there is no " + paths.CERTIFICATE in error.message
