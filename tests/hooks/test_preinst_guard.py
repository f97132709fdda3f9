"""hooks/preinst.sh: what it refuses to replace, before anything has changed."""

import os

import pytest

from .systemd import OLDER, Systemd, disabled_by_the_old_prerm, with_groups

GUARD = [
    ("deb", ("upgrade", "8.1.0-1"), True), ("deb", ("install",), False), ("deb", ("install", "7.3.0-1"), False),
    ("deb", ("abort-upgrade", "8.1.0-1"), False), ("rpm", ("2",), True), ("rpm", ("3",), True), ("rpm", ("1",), False),
    ("rpm", (), False),
]


@pytest.mark.parametrize("family,arguments,refuses", GUARD)
@pytest.mark.parametrize("library", ["/usr/lib64/libcsulcca.so", "/usr/lib/libcsulcca.so.8.1",
                                     "/usr/lib/s390x-linux-gnu/libcsulcca.so.8"])
def test_a_reference_payload_never_replaces_a_host_library(root, family, arguments, refuses, library):
    root.put(library)
    status, output = root.run("csulcca_preinst", family, *arguments)
    assert status == (1 if refuses else 0), output
    if refuses:
        assert "PAYLOAD=" in output and len(output.splitlines()) == 2
        assert not root.exists("/var/lib/csulcca")


def test_a_vendors_payload_replaces_it(root):
    root.kind = "vendor"
    root.put("/usr/lib64/libcsulcca.so")
    assert root.run("csulcca_preinst", "rpm", "2")[0] == 0


# The files, and which package managers the package refuses to be installed by.
CCA_5 = {
    "CCA 5.2": (["/opt/IBM/CEX3C/bin/catcher.exe", "/etc/init.d/CSUTKEcat"], ("deb", "rpm")),
    "CCA 5 without a catcher": (["/opt/IBM/CEX3C/bin/ivp.e"], ("deb", "rpm")),
    # rpm could not put its link there.
    "what the removal of CCA 5 leaves": (["/opt/IBM/CEX3C/keys/deskey.list"], ("rpm",)),
    "a directory of somebody else": (["/opt/IBM/CEX3C/notes.txt"], ("rpm",)),
    "what was moved away": (["/opt/IBM/CEX3C.old/keys/deskey.list"], ()),
    "CCA 7": (["/opt/IBM/CCA/bin/catcher.exe"], ()),
}


@pytest.mark.parametrize("arguments", [("deb", "upgrade", "5.2.23-1"), ("deb", "install"), ("rpm", "2"), ("rpm", "1")])
@pytest.mark.parametrize("kind", ["reference", "vendor"])
@pytest.mark.parametrize("name", sorted(CCA_5))
def test_cca_5_is_refused_before_anything_changes(root, name, kind, arguments):
    files, refused = CCA_5[name]
    refuses = arguments[0] in refused
    root.kind = kind
    with_groups(root)
    for path in files:
        root.put(path)
    if name == "CCA 7":
        os.symlink("CCA", root.path("/opt/IBM/CEX3C"))
    status, output = root.run("csulcca_preinst", *arguments)
    assert status == (1 if refuses else 0), output
    if refuses:
        # Without its programs nothing tells that the directory is of CCA 5, whose package may be long gone.
        has_programs = any("/bin/" in path for path in files)
        assert ("CCA 5" in output, "remove its package" in output) == (has_programs,) * 2
        assert "mv {0} {0}.old".format(root.path("/opt/IBM/CEX3C")) in output and "no file was changed" in output
        assert len(output.splitlines()) == (3 if has_programs else 2)
        assert not root.exists("/var/lib/csulcca")


@pytest.mark.parametrize("reason", ["CCA 5", "a host library"])
@pytest.mark.parametrize("stopped", [True, False])
def test_what_the_old_prerm_did_is_undone_by_a_refusal(root, reason, stopped):
    """dpkg runs the old prerm first. The service that it has stopped and disabled is started and enabled again."""
    systemd = Systemd(root, InactiveEnterTimestampMonotonic=(950 if stopped else 10) * 10 ** 6)
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    if stopped:
        root.put("/etc/systemd/system/multi-user.target.wants/other.service")
    root.put("/old.prerm", b"systemctl disable --now CSUTKEcat\n")
    root.put("/bin/dpkg-query", b"#!/bin/sh\necho %s\n" % root.path("/old.prerm").encode("ascii"), 0o755)
    root.put("/proc/self/stat", b"2 (sed) S " + b"1 " * 18 + b"100000 0\n")
    root.put("/proc/%d/stat" % os.getpid(), b"1 (dpkg) S " + b"1 " * 18 + b"%d 0\n" % (90000 if stopped else 99999))
    root.put("/opt/IBM/CEX3C/bin/x" if reason == "CCA 5" else "/usr/lib64/libcsulcca.so")
    systemd.write()
    if not stopped:
        for directory, _, _ in os.walk(root.path("/etc/systemd")):
            os.utime(directory, (1, 1))
    assert root.run("csulcca_preinst", "deb", "upgrade", "5.2.23-1")[0] == 1
    changes = [line for line in root.get("/asked").decode("ascii").splitlines()
               if not line.startswith("show") and "is-active" not in line]
    assert changes == (["--quiet enable CSUTKEcat.service", "start CSUTKEcat.service"] if stopped else [])


@pytest.mark.parametrize("keeps", [False, True])
def test_a_refusal_starts_what_no_journal_can_say_of_that_it_ran(root, keeps):
    """The old prerm has disabled the service, and systemd has forgotten it."""
    systemd = Systemd(root)
    disabled_by_the_old_prerm(root)
    root.put("/opt/IBM/CEX3C/bin/x")
    systemd.log, systemd.keeps = OLDER[1], keeps
    systemd.write()
    assert root.run("csulcca_preinst", "deb", "upgrade", "5.2.23-1")[0] == 1
    assert ("start CSUTKEcat.service" in root.get("/asked").decode("ascii").splitlines()) == (not keeps)
