"""tools/build_packages.py: which payloads it accepts and refuses, and that a build depends on nothing else."""
from __future__ import annotations

import configparser
import errno
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.fixtures import vendor8
from tests.fixtures.cca73.elf import shared_object
from tests.fixtures.vendor8 import File
from tests.test_linters import tool
from tools import build_packages, changelog
from tools import payload as payloads
from tools.refusal import Refused

TREE = Path(__file__).resolve().parent.parent
BUILDER = TREE / "tools/build_packages.py"
S390X, X86_64, ARM = (2, 2, 22), (2, 1, 62), (1, 1, 40)


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """A payload that is as small as one can be."""
    root = tmp_path / "payload"
    put(root, payloads.CATCHER, b"#!/bin/sh\n")
    return root


def put(root: Path, path: str, content: bytes = b"text\n") -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(content)


def elf(machine: tuple[int, int, int]) -> bytes:
    size, order, number = machine
    return b"\x7fELF" + bytes([size, order, 1]) + bytes(9) + struct.pack((">" if order == 2 else "<") + "HH", 3, number)


def link(root: Path, path: str, target: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    os.symlink(target, root / path)


def move_catcher(root: Path) -> None:
    os.rename(root / payloads.CATCHER, root / "opt/real")
    link(root, payloads.CATCHER, "/opt/real")


def link_over_our_library(root: Path) -> None:
    put(root, "opt/lib/x")
    link(root, "usr/lib/csulcca", "/opt/lib")


def two_machines(root: Path) -> None:
    put(root, "opt/a", elf(S390X))
    put(root, "opt/b", elf(X86_64))


REFUSED = {
    "no catcher.exe": (lambda root: (root / payloads.CATCHER).unlink(), "there is no file opt/IBM"),
    "catcher.exe is a link": (move_catcher, "there is no file opt/IBM"),
    "link that climbs out": (lambda root: link(root, "opt/x", "../../etc/shadow"), "leads out of the directory"),
    "absolute link out of the payload": (lambda root: link(root, "opt/x", "/etc/shadow"), "leads to nothing"),
    "named pipe": (lambda root: os.mkfifo(root / "opt/pipe"), "/opt/pipe is a device"),
    "written by everyone": (lambda root: (root / payloads.CATCHER).chmod(0o777), "written by everyone"),
    "too large": (lambda root: os.truncate(root / payloads.CATCHER, 3 << 30), "more than 2048 MB"),
    "setuid": (lambda root: (root / payloads.CATCHER).chmod(0o4755), "is setuid"),
    "blank in a name": (lambda root: put(root, "opt/a b"), "characters"),
    "macro in a name": (lambda root: put(root, "opt/%{x}"), "characters"),
    "file in the root directory": (lambda root: put(root, "README"), "root directory"),
    "our own command": (lambda root: put(root, "usr/sbin/catcherctl"), "belongs to the package"),
    "link over our library": (link_over_our_library, "belongs to the package"),
    "truncated ELF": (lambda root: put(root, "opt/x", b"\x7fELF\x02"), "truncated"),
    "two machines": (two_machines, "several machines"),
    "another machine": (lambda root: put(root, "opt/x", elf(ARM)), "for which there is no csulcca"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_and_a_hint(case: str, payload: Path, tmp_path: Path) -> None:
    spoil, expected = REFUSED[case]
    spoil(payload)
    done = subprocess.run([sys.executable, str(BUILDER), "--payload", str(payload), "--output", str(tmp_path / "out")],
                          capture_output=True, text=True)
    assert done.returncode == 1
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert done.stderr.splitlines()[1].startswith("  ")
    assert not (tmp_path / "out").exists()


NOT_PACKAGES = {
    "nothing": (None, "no such directory or package"),
    "text": (b"404 not found\n", "neither a directory nor"),
    "empty": (b"", "neither a directory nor"),
    "encrypted": (b"-----BEGIN PGP MESSAGE-----\n", "encrypted"),
    "encrypted by openssl": (b"Salted__12345678", "openssl encrypted"),
    "zip": (b"PK\x03\x04....", "zip archive"),
    "rpm that was cut off": (b"\xed\xab\xee\xdb\x03\x00" + bytes(200), "not a package that rpm can read"),
    "deb that was cut off": (b"!<arch>\ndebian-binary   0 ", "not a package that dpkg-deb can read"),
}


@pytest.mark.parametrize("case", NOT_PACKAGES)
def test_a_file_that_is_no_package_is_refused(case: str, tmp_path: Path) -> None:
    content, expected = NOT_PACKAGES[case]
    path = tmp_path / "csulcca-8.2.54.s390x.rpm"
    if content is not None:
        path.write_bytes(content)
    assert_refused(path, tmp_path, expected)


def test_an_empty_variable_is_not_the_current_directory(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, str(BUILDER), "--payload", "", "--output", str(tmp_path / "out")],
                          cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 2
    assert done.stderr.startswith("packages: PAYLOAD is empty\n  leave it out, or: make packages PAYLOAD=")


def member(name: str, kind: bytes = tarfile.REGTYPE, **values: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.uname, found.gname = kind, "root", "root"
    for key, value in values.items():
        setattr(found, key, value)
    return found


HOSTILE = {
    "climbs out": ([member("./opt/../../etc/passwd")], "leads out of it"),
    "absolute": ([member("/etc/passwd")], "leads out of it"),
    "through a link": ([member("./opt/x", tarfile.SYMTYPE, linkname="/opt/IBM"), member("./opt/x/y")], "no directory"),
    "hard link to a file of the host": ([member("./opt/x", tarfile.LNKTYPE, linkname="etc/shadow")], "not in it"),
    "device": ([member("./opt/null", tarfile.CHRTYPE, devmajor=1, devminor=3)], "is a device"),
    "named pipe": ([member("./opt/pipe", tarfile.FIFOTYPE)], "is a device"),
    "twice": ([member("./opt/x"), member("./opt/x")], "is in it twice"),
    "somebody's": ([member("./opt/x", uname="nobody")], "belongs to nobody:root"),
    "somebody's by number": ([member("./opt/x", gname="", gid=77)], "belongs to root:77"),
    "our own library": ([member("./usr/lib/csulcca/run")], "belongs to the package"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_package_is_refused_and_nothing_outside_touched(case: str, tmp_path: Path) -> None:
    extra, expected = HOSTILE[case]
    assert_refused(vendor8.build_deb(tmp_path, "s390x", extra=extra), tmp_path, expected)


FULL = "No space left on device"


@pytest.mark.parametrize("failure", [
    OSError(errno.ENOSPC, FULL, "/somewhere"),
    shutil.Error([("from", "to", f"[Errno 28] {FULL}: 'from' -> 'to'")]),
    subprocess.CalledProcessError(2, ["dpkg-deb", "--show", "x.deb"], stderr=f"dpkg-deb: error: copying: {FULL}\n"),
    None,
], ids=["ours", "of a copied tree", "of a program that is asked", "of a program that builds"])  # fmt: skip
def test_a_full_disk_is_called_so_and_where_more_room_is_told(failure, monkeypatch, capsys) -> None:
    def build(work, *_):
        if failure is not None:
            raise failure
        build_packages.run(["sh", "-c", f"echo 'tar: x: {FULL}'; exit 2"], work, dict(os.environ))

    monkeypatch.setattr(build_packages, "build", build)
    assert build_packages.main([]) == 1
    problem, hint = capsys.readouterr().err.splitlines()[-2:]
    assert problem.startswith("packages: ") and FULL in problem
    assert hint == "  make room, or name a directory with more of it: TMPDIR=DIR make packages"


def test_a_program_that_fails_is_named_and_can_be_tried_alone(monkeypatch, capsys) -> None:
    def build(*_):
        raise subprocess.CalledProcessError(2, ["dpkg-deb", "--show", "a b.deb"], stderr="first\nit is no package\n")

    monkeypatch.setattr(build_packages, "build", build)
    assert build_packages.main([]) == 1
    assert capsys.readouterr().err == "packages: dpkg-deb failed: it is no package\n  dpkg-deb --show 'a b.deb'\n"


@pytest.mark.parametrize("build", [vendor8.build_rpm, vendor8.build_deb])
def test_a_package_for_two_machines_is_refused(build, tmp_path: Path) -> None:
    other = File("opt/IBM/CCA/bin/ivp.e", shared_object("x", "x86_64"))
    assert_refused(build(tmp_path, "s390x", [other]), tmp_path, "several machines")


@pytest.mark.parametrize("build", [vendor8.build_rpm, vendor8.build_deb])
def test_a_package_without_the_catcher_is_refused(build, tmp_path: Path) -> None:
    assert_refused(build(tmp_path, "s390x", [File(payloads.CATCHER, None)]), tmp_path, "there is no file opt/IBM")


@pytest.mark.parametrize("count,size", [(1, 4 << 20), (8, 1 << 19)], ids=["one file", "many"])
@pytest.mark.parametrize("build", [vendor8.build_rpm, vendor8.build_deb])
def test_what_a_package_unpacks_to_is_bounded(
    build, count: int, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = build(tmp_path, "s390x", [File("opt/zeros/%d" % number, bytes(size)) for number in range(count)])
    assert package.stat().st_size < 1 << 20
    monkeypatch.setattr(payloads, "MAX_BYTES", 2 << 20)
    with pytest.raises(Refused, match="more than 2 MB"):
        payloads.read(package, tmp_path / "work")
    assert sum(path.stat().st_size for path in (tmp_path / "work").iterdir()) <= 2 << 20
    monkeypatch.setattr(payloads, "MAX_BYTES", 1 << 30)
    monkeypatch.setattr(payloads, "MAX_ENTRIES", 5)
    with pytest.raises(Refused, match="more than 5 files"):
        payloads.read(package, tmp_path / "again")


def test_an_rpm_with_a_wrong_byte_is_refused(tmp_path: Path) -> None:
    package = vendor8.build_rpm(tmp_path, "s390x")
    data = bytearray(package.read_bytes())
    data[-20] ^= 1
    package.write_bytes(data)
    assert_refused(package, tmp_path, "not a package that rpm can read")


def assert_refused(package: Path, tmp_path: Path, expected: str) -> None:
    """It ends in two lines that say why and what to type, and neither packages nor anything unpacked is left."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run([sys.executable, str(BUILDER), "--payload", str(package), "--output", str(tmp_path / "out")],
                          capture_output=True, text=True, env={**os.environ, "TMPDIR": str(scratch)})
    assert done.returncode == 1, done.stdout
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 2, done.stderr
    assert done.stderr.splitlines()[1].startswith("  ")
    assert not (tmp_path / "out").exists()
    assert not list(scratch.iterdir())


def test_both_families_need_openssl_and_python_and_recommend_the_rest(tmp_path: Path) -> None:
    output = built(TREE, tmp_path)
    (deb,), (rpm,) = output.glob("*.deb"), output.glob("*.rpm")
    recommended = {"python3-cryptography", "python3-distro", "python3-packaging"}
    fields = {name: re.split(", *", subprocess.check_output(["dpkg-deb", "-f", str(deb), name], text=True).strip())
              for name in ("Depends", "Recommends")}  # fmt: skip
    assert fields["Depends"] == ["python3 (>= 3.6)", "openssl"]
    assert set(fields["Recommends"]) == recommended
    needs = asked_rpm(rpm, "--requires")
    assert {"openssl", "(python3 or platform-python)"} <= set(needs)
    assert set(asked_rpm(rpm, "--recommends")) == recommended


def test_rpm_finds_dependencies_by_itself(payload: Path, tmp_path: Path) -> None:
    """The interpreters of scripts, and the libraries of a vendor's programs."""
    shutil.copy("/usr/bin/true", payload / "opt/IBM/CCA/bin/ivp.e")
    (rpm,) = built(TREE, tmp_path / "out", "--payload", str(payload)).glob("*.rpm")
    assert {"/bin/sh", "libc.so.6()(64bit)"} <= set(asked_rpm(rpm, "--requires"))


@pytest.mark.parametrize("payload_of", ["reference", "vendor"])
def test_the_rpm_needs_no_newer_rpm_than_the_readme_says(payload_of: str, tmp_path: Path) -> None:
    arguments = ["--payload", str(vendor8.build_rpm(tmp_path, "s390x"))] if payload_of == "vendor" else []
    (rpm,) = built(TREE, tmp_path / "out", *arguments).glob("*.rpm")
    stated = re.search(r"rpm (\d+)\.(\d+) or newer", (TREE / "README.md").read_text())
    assert stated is not None
    features = [re.fullmatch(r"rpmlib\((\w+)\) <= (\d+)\.(\d+)\..*", line) for line in asked_rpm(rpm, "--requires")]
    needed = {match[1]: (int(match[2]), int(match[3])) for match in features if match}
    assert "RichDependencies" in needed
    assert max(needed.values()) <= (int(stated[1]), int(stated[2])), needed
    # Old versions read nothing but gzip, and it has no feature's name.
    assert asked_rpm(rpm, "--qf", "%{PAYLOADCOMPRESSOR}") == ["gzip"]


@pytest.mark.parametrize("options, release", [((), "1.fc45"), (("--define", "portable 1"), "1")])
def test_only_a_distributions_build_has_its_name_in_the_release(
    options: Sequence[str], release: str, tmp_path: Path
) -> None:
    """Each release of a distribution builds the same version, and its package must be newer than the last one."""
    build_packages.main(["--stage", str(tmp_path / "source")])
    query = ["rpmspec", "-q", "--define", "dist .fc45", *options, "--qf", "%{NAME} %{RELEASE}\\n"]
    said = subprocess.check_output([*query, str(tmp_path / "source/rpm/csulcca.spec")], text=True)
    assert said.splitlines()[0] == f"csulcca {release}"


FEDORAS = {"_sbindir": "/usr/bin", "_binary_payload": "w19.zstdio", "_rpmformat": "6"}
EVERYWHERE = {"_sbindir": "/usr/sbin", "_binary_payload": "w9.gzdio", "_rpmformat": "4"}


@pytest.mark.parametrize("options, expected", [((), FEDORAS), (("--define", "portable 1"), EVERYWHERE)])
def test_only_a_distributions_build_has_its_payload_format_and_its_sbin(
    options: Sequence[str], expected: dict[str, str], tmp_path: Path
) -> None:
    """A package for any distribution is the same wherever it is built, and for the oldest rpm."""
    build_packages.main(["--stage", str(tmp_path / "source")])
    spec = tmp_path / "source/rpm/csulcca.spec"
    asked = "".join("%%{%s} " % name for name in expected)
    spec.write_text(spec.read_text().replace("%description\n", "%%description\nasked: %s\n" % asked, 1))
    defines = [word for name, value in FEDORAS.items() for word in ("--define", "%s %s" % (name, value))]
    said = subprocess.check_output(["rpmspec", "-P", *defines, *options, str(spec)], text=True)
    assert "asked: %s" % " ".join(expected.values()) in said
    assert " SBINDIR=%s " % expected["_sbindir"] in said


# The features of RHEL 8's rpm, the oldest with which a distribution builds.
OLD_PYTHONS = sorted(Path("~/.pyenv/versions").expanduser().glob("3.6.*/bin/python3.6"))
OLD_PYTEST = """\
pytest==3.4.2 --hash=sha256:062027955bccbc04d2fcd5d79690947e018ba31abe4c90b2c6721abec734261b
attrs==17.4.0 --hash=sha256:a17a9573a6f475c99b551c0e0a812707ddda1ec9653bed04c13841404ed6f450
pluggy==0.6.0 --hash=sha256:e160a7fcf25762bb60efc7e171d4497ff1d8d2d75a3d0df7a21b76821ecbf5c5
py==1.11.0 --hash=sha256:607c53218732647dff4acdfcd50cb62615cedf612e72d1724fb1a0cc6405b378
six==1.16.0 --hash=sha256:8abb2f1d86890a2dfb989f9a77cfcfd3e47c2a354b01111771326f8aa26e0254
"""


@pytest.mark.parametrize("python", OLD_PYTHONS, ids=lambda path: path.name)
def test_the_check_of_a_build_runs_with_the_oldest_python_and_pytest(python: Path, tmp_path: Path) -> None:
    """As %check on RHEL 8 does: without any other package of Python."""
    (tmp_path / "pins").write_text(OLD_PYTEST)
    pip = [str(python), "-m", "pip", "-q", "--disable-pip-version-check", "install", "--no-deps", "--require-hashes"]
    subprocess.run([*pip, "--target", str(tmp_path / "library"), "-r", str(tmp_path / "pins")], check=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").symlink_to(python)
    environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "PYTHONPATH": str(tmp_path / "library")}
    done = subprocess.run(["make", "build-check"], cwd=TREE, env=environment, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)  # fmt: skip
    assert done.returncode == 0 and re.search("[0-9]{3} passed", done.stdout), done.stdout[-2000:]


def asked_rpm(package: Path, *query: str) -> list[str]:
    """Lines that rpm answers of a package's file."""
    return subprocess.check_output(["rpm", "-qp", "--nosignature", *query, str(package)], text=True).splitlines()


@pytest.mark.parametrize("build", [vendor8.build_rpm, vendor8.build_deb])
def test_a_vendors_package_becomes_both_families_packages(build, tmp_path: Path) -> None:
    """The packages have its files, groups, modes, links, capabilities and libraries, and none of its scriptlets."""
    package = build(tmp_path, "s390x")
    family = package.suffix[1:]
    output = built(TREE, tmp_path / "out", "--payload", str(package))
    rpm = output / "csulcca-8.2.54-3.1.s390x.rpm"
    deb = output / "csulcca_8.2.54-3.1_s390x.deb"
    assert {rpm, deb} < set(output.iterdir())

    listed = subprocess.check_output(
        ["rpm", "-qp", "--nosignature", "--qf",
         r"[%{FILENAMES} %{FILEMODES:perms} %{FILEUSERNAME}:%{FILEGROUPNAME} %{FILECAPS} %{FILELINKTOS}\n]", str(rpm)],
        text=True)  # fmt: skip
    found = {line.split(" ", 1)[0]: line.split(" ", 1)[1].replace("(none)", "").strip() for line in listed.splitlines()}
    assert found["/opt/IBM/CCA/bin/panel.exe"] == "-rwxr-x--- root:cca_admin"
    assert found["/opt/IBM/CCA/bin/loadmk.e"] == "-rwxr-sr-x root:cca_setmk"
    assert ("cap_net_raw" in found["/opt/IBM/CCA/bin/ivp.e"]) == (family == "rpm")
    assert found["/opt/IBM/CCA/keys"] == "drwxrws--- root:cca_admin"
    assert found["/usr/lib64/libcsulcca.so"] == "lrwxrwxrwx root:root  libcsulcca.so.8.2.54"
    assert "/usr/lib64/libcsulcca.so.8.2.54" in found
    assert found["/opt/IBM/CCA/bin/CSUTKEcat"] == "-rwxr-xr-x root:root"
    assert not {"/etc/init.d/CSUTKEcat", "/etc/rc2.d/S14CSUTKEcat", "/etc/cca/catcher.conf"} & found.keys()

    listed = subprocess.check_output(["dpkg-deb", "-c", str(deb)], text=True)
    assert "./usr/lib/libcsulcca.so -> libcsulcca.so.8.2.54" in listed
    assert "./usr/lib64" not in listed
    assert "-rwxr-x--- root/root" in next(line for line in listed.splitlines() if line.endswith("panel.exe"))
    # Never setgid for the group root, between unpacking and postinst.
    assert "-rwxr-xr-x root/root" in next(line for line in listed.splitlines() if line.endswith("loadmk.e"))
    postinst = subprocess.check_output(["dpkg-deb", "-I", str(deb), "postinst"], text=True)
    assert "csulcca_attributes 2755 cca_setmk - /opt/IBM/CCA/bin/loadmk.e\n" in postinst
    assert ("csulcca_attributes 0755 root cap_net_raw=ep /opt/IBM/CCA/bin/ivp.e\n" in postinst) == (family == "rpm")
    depends = subprocess.check_output(["dpkg-deb", "-f", str(deb), "Depends"], text=True)
    assert ("libcap2-bin" in depends) == (family == "rpm")
    # With what rpm from 4.19 on reads from sysusers.d, "group(cca_admin) = ...", it would make the groups before %pre.
    provides = subprocess.check_output(["rpm", "-qp", "--nosignature", "--provides", str(rpm)], text=True).splitlines()
    provided = {line for line in provides if line.startswith("group(")}
    assert provided == {f"group({name})" for name in payloads.GROUPS}
    spec = (TREE / "rpm/csulcca.spec").read_text(encoding="utf-8")
    assert "%global __sysusers_provides %{nil}\n" in spec, "of which this computer's rpm may know nothing"

    scripts = subprocess.check_output(["rpm", "-qp", "--nosignature", "--scripts", str(rpm)], text=True)
    assert vendor8.MARK not in scripts + postinst
    for groups in (scripts, subprocess.check_output(["dpkg-deb", "-I", str(deb), "preinst"], text=True)):
        assert 'CSULCCA_GROUPS="%s"' % " ".join(payloads.GROUPS) in groups


@pytest.mark.parametrize("version,expected", [
    ("8.4.82f", "8.4.82f-3.1"), ("8.4.82a", "8.4.82a-3.1"), ("8.2.54z", "8.2.54z-3.1"), ("8.0", "8.0-3.1"),
])  # fmt: skip
def test_a_payloads_version_is_carried_and_never_read(version: str, expected: str, tmp_path: Path) -> None:
    package = vendor8.build_deb(tmp_path, "s390x", version=version + "-3")
    found = payloads.read(package, tmp_path / "work")
    metadata = changelog.read_metadata(TREE / "setup.cfg", None, found.version, found.fix)
    assert "%s-%s" % (metadata.version, metadata.release) == expected
    subprocess.run(["dpkg", "--compare-versions", expected, "gt", version + "-3"], check=True)
    subprocess.run(["dpkg", "--compare-versions", expected, "lt", version + "-4"], check=True)


def test_a_version_of_7_3_in_a_payload_is_refused(tmp_path: Path) -> None:
    assert_refused(vendor8.build_rpm(tmp_path, "s390x", version="7.3.0"), tmp_path, "take this package for CCA 7.x")


def test_what_is_ours_and_what_each_host_makes_is_left_out_with_the_directories_it_leaves_empty(payload: Path) -> None:
    for path in ("opt/IBM/CCA/bin/CSUTKEcat", "usr/lib/systemd/system/CSUTKEcat.service", "etc/init.d/CSUTKEcat",
                 "etc/cca/catcher.conf", "opt/IBM/CCA/bin/catcher.key", "opt/IBM/CCA/bin/catcher.crt"):
        put(payload, path)
    link(payload, "etc/rc2.d/S14CSUTKEcat", "../init.d/CSUTKEcat")
    put(payload, "etc/profile.d/csulcca.sh")
    (payload / "opt/IBM/CCA/keys").mkdir()
    found = payloads.read(payload, payload / "none")
    assert len(found.left_out) == 7
    assert list(found.entries) == ["etc", "etc/profile.d", "etc/profile.d/csulcca.sh", "opt", "opt/IBM", "opt/IBM/CCA",
                     "opt/IBM/CCA/bin", "opt/IBM/CCA/bin/catcher.exe", "opt/IBM/CCA/keys"]


# Files that a running host has in addition to the installed files.
OF_A_HOST = (
    "opt/IBM/CCA/bin/catcher.key.request", "opt/IBM/CCA/bin/catcher.key.20261123T211200Z",
    "opt/IBM/CCA/bin/catcher.crt.20261123T211200Z", "opt/IBM/CCA/bin/.catcher-pair/catcher.key",
    "opt/IBM/CCA/bin/.catcher-pair.replace/catcher.key", "opt/IBM/CCA/bin/.catcher.key.request.csulcca-new",
    "opt/IBM/CCA/keys/deskeys/data", "var/lib/csulcca/catcher.key", "var/lib/csulcca/state.json",
    "etc/cca/catcher.conf.rpmsave", "etc/cca/.catcher.conf.csulcca-new",
)  # fmt: skip


def test_nothing_that_a_host_has_made_is_packed(payload: Path) -> None:
    """Each file is named with the reason, and the package does not own directories that would be empty without it."""
    (payload / "opt/IBM/CCA/keys").mkdir()
    expected = payloads.read(payload, payload / "none").entries.keys()
    for path in OF_A_HOST:
        put(payload, path)
    found = payloads.read(payload, payload / "none")
    assert found.entries.keys() == expected
    assert dict.fromkeys(OF_A_HOST, "each host has its own").items() <= dict(found.left_out).items()


KEY_BLOCK = b"-----BEGIN %sPRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n"


@pytest.mark.parametrize("content", [KEY_BLOCK % b"", KEY_BLOCK % b"RSA ", KEY_BLOCK % b"ENCRYPTED ",
                                     b"subject=/CN=z1\n" * 9000 + (KEY_BLOCK % b"EC ").replace(b"\n", b"\r\n")])
def test_a_private_key_under_any_name_is_refused(content: bytes, payload: Path) -> None:
    put(payload, "etc/profile.d/own.pem", content)
    with pytest.raises(Refused, match="/etc/profile.d/own.pem holds a private key"):
        payloads.read(payload, payload / "none")


def test_a_program_that_only_names_private_keys_is_packed(payload: Path) -> None:
    programs = {"opt/IBM/CCA/bin/show.py": b"print(\"\"\"\\\n-----BEGIN PRIVATE KEY-----\n%s\"\"\" % text)\n",
                "usr/lib64/libcsulcca.so.8": elf(S390X) + b"\n-----BEGIN PRIVATE KEY-----\n%s\n"}
    for path, content in programs.items():
        put(payload, path, content)
    assert programs.keys() <= payloads.read(payload, payload / "none").entries.keys()


def test_the_links_of_a_vendor_are_taken(payload: Path) -> None:
    link(payload, "opt/ibm/cca", "/opt/IBM/CCA")
    put(payload, "usr/lib64/libcsulcca.so.8", elf(S390X))
    link(payload, "usr/lib64/libcsulcca.so", "libcsulcca.so.8")
    found = payloads.read(payload, payload / "none")
    assert {"opt/ibm/cca", "usr/lib64/libcsulcca.so", "usr/lib64/libcsulcca.so.8"} <= set(found.entries)
    assert found.machine == ("s390x", "s390x")


def test_without_machine_code_the_packages_are_for_every_machine(payload: Path) -> None:
    assert payloads.read(payload, payload / "none").machine == ("all", "noarch")


@pytest.mark.parametrize("version", ["7.3", "x", "8.0-1", "8 0", "8.0.0; rm"])
def test_a_version_that_is_none_or_legacy_is_refused(version: str) -> None:
    with pytest.raises(Refused):
        changelog.read_metadata(TREE / "setup.cfg", version)


def test_setup_cfg_and_the_changelog_must_agree_unless_the_version_is_given() -> None:
    metadata = changelog.read_metadata(TREE / "setup.cfg", "8.9.9")
    changes = changelog.read_changes((TREE / "debian/changelog").read_text(encoding="utf-8"))
    with pytest.raises(Refused, match=r"8\.9\.9-1"):
        changelog.changes_for(metadata, changes, version_given=False)
    assert changelog.changes_for(metadata, changes, version_given=True)[0].version == "8.9.9-1"


def test_debian_changelog_is_read_without_loss() -> None:
    text = (TREE / "debian/changelog").read_text(encoding="utf-8")
    name = text.split(" ", 1)[0]
    rendered = changelog.debian_changelog(name, changelog.read_changes(text))
    assert rendered.replace("-0000", "+0000") == text


def test_a_vendor_payload_for_s390x_is_packed_on_any_machine(payload: Path, tmp_path: Path) -> None:
    put(payload, payloads.CATCHER, elf(S390X))
    put(payload, "usr/lib64/libcsulcca.so.8", elf(S390X))
    output = built(TREE, tmp_path / "out", "--payload", str(payload))
    (rpm,) = output.glob("*.s390x.rpm")
    (deb,) = output.glob("*_s390x.deb")
    scripts = subprocess.check_output(["rpm", "-qp", "--nosignature", "--scripts", str(rpm)], text=True)
    assert "csulcca_payload=vendor" in scripts
    assert "/sbin/ldconfig" in scripts
    assert "csulcca_payload=vendor" in subprocess.check_output(["dpkg-deb", "-I", str(deb), "preinst"], text=True)


@pytest.mark.parametrize("payload_of", ["reference", "vendor"])
def test_two_builds_are_the_same_bytes_wherever_whenever_and_whoever(payload_of: str, tmp_path: Path) -> None:
    """Directory, file times and modes, clock, umask, locale, zone and user differ; the packages do not."""
    arguments = ["--payload", str(vendor8.build_rpm(tmp_path, "s390x"))] if payload_of == "vendor" else []
    first = built(TREE, tmp_path / "first", *arguments)
    # Another user has to reach the tree, so it is not below pytest's own directory.
    with tempfile.TemporaryDirectory() as scratch:
        os.chmod(scratch, 0o777)
        copy = Path(scratch, "elsewhere/tree")
        shutil.copytree(TREE, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", ".cache", "dist"))
        for path in copy.rglob("*"):
            if path.is_file() and not path.is_symlink():
                path.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
                os.utime(path)
        if arguments:
            shutil.copy(arguments[1], scratch)
            arguments[1] = str(Path(scratch, Path(arguments[1]).name))
        prefix = []
        if shutil.which("faketime"):
            prefix += ["faketime", "-f", "+400d"]
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "65534:65534", scratch], check=True)
            prefix += ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
        second = built(copy, Path(scratch, "out"), *arguments, prefix=prefix, umask=0o077,
                       TZ="Asia/Tokyo", LC_ALL="C.UTF-8", TMPDIR=scratch, HOME="/nonexistent")  # fmt: skip
        different = [path.name for path in sorted(first.iterdir())
                     if path.read_bytes() != (second / path.name).read_bytes()]
        assert sorted(path.name for path in first.iterdir()) == sorted(path.name for path in second.iterdir())
        assert not different, explain(first / different[-1], second / different[-1])
    assert len((first / "SHA256SUMS").read_text().splitlines()) >= 2


def explain(first: Path, second: Path) -> str:
    """Return the difference of two files, as diffoscope describes it if it is installed."""
    if shutil.which("diffoscope") is None:
        return "%s and %s differ; diffoscope, if installed, says where" % (first, second)
    command = ["diffoscope", "--max-report-size=20000", str(first), str(second)]
    return subprocess.run(command, capture_output=True, text=True).stdout


def test_both_families_have_the_changelog_of_debian_changelog(tmp_path: Path) -> None:
    output = built(TREE, tmp_path)
    (rpm,) = output.glob("*.rpm")
    (deb,) = output.glob("*.deb")
    newest = changelog.read_changes((TREE / "debian/changelog").read_text(encoding="utf-8"))[0]
    shown = subprocess.check_output(["rpm", "-qp", "--nosignature", "--changelog", str(rpm)], text=True)
    assert shown.splitlines()[0].endswith("%s - %s" % (newest.maintainer, newest.version))
    subprocess.run(["dpkg-deb", "-x", str(deb), str(tmp_path / "x")], check=True)
    (path,) = (tmp_path / "x/usr/share/doc/csulcca").glob("changelog*.gz")
    debian = gzip.decompress(path.read_bytes()).decode()
    for line in filter(None, newest.lines):
        assert line in debian
        assert line.replace("* ", "- ", 1) in shown


# Pages for people who build and release the packages, not for administrators.
ABOUT_THE_PROJECT = ("measurements.md", "release.md")


def test_both_families_have_every_module_of_the_library(tmp_path: Path) -> None:
    output = built(TREE, tmp_path)
    modules = {f"/usr/lib/csulcca/{path.relative_to(TREE)}" for path in (TREE / "catcher_install").rglob("*.py")}
    assert len(modules) > 40
    (deb,), (rpm,) = output.glob("*.deb"), output.glob("*.rpm")
    unpacked = io.BytesIO(subprocess.check_output(["dpkg-deb", "--fsys-tarfile", str(deb)]))
    with tarfile.open(fileobj=unpacked) as archive:
        in_deb = {name.lstrip(".") for name in archive.getnames()}
    in_rpm = set(subprocess.check_output(["rpm", "-qpl", "--nosignature", str(rpm)], text=True).splitlines())
    for found in (in_deb, in_rpm):
        assert modules == {name for name in found if "/catcher_install/" in name and name.endswith(".py")}


def test_both_families_have_the_pages_and_the_schemas_and_neither_compresses_them(tmp_path: Path) -> None:
    output = built(TREE, tmp_path)
    pages = [path for path in (TREE / "docs").glob("*.md") if path.name not in ABOUT_THE_PROJECT]
    wanted = {f"/usr/share/doc/csulcca/{path.name}": path for path in pages}
    wanted |= {f"/usr/share/doc/csulcca/examples/{path.name}": path for folder in ("monitoring", "renewal")
               for path in (TREE / "contrib" / folder).glob("csulcca-*")}  # fmt: skip
    wanted |= {f"/usr/share/csulcca/schema/{path.name}": path for path in (TREE / "share/schema").iterdir()}
    assert len(wanted) > 10
    (deb,) = output.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", str(deb), str(tmp_path / "x")], check=True)
    for installed, path in wanted.items():
        assert (tmp_path / f"x{installed}").read_bytes() == path.read_bytes()
    (rpm,) = output.glob("*.rpm")
    listed = subprocess.check_output(["rpm", "-qpl", "--nosignature", str(rpm)], text=True).splitlines()
    assert not wanted.keys() - set(listed)


def test_a_package_of_the_vendors_files_does_not_claim_them_as_ours(tmp_path: Path) -> None:
    output = built(TREE, tmp_path / "out", "--payload", str(vendor8.build_rpm(tmp_path, "s390x")))
    (rpm,) = output.glob("*.rpm")
    (deb,) = output.glob("*.deb")
    licence = subprocess.check_output(["rpm", "-qp", "--nosignature", "--qf", "%{LICENSE}", str(rpm)], text=True)
    assert licence == "Apache-2.0 AND LicenseRef-IBM-CCA"
    subprocess.run(["dpkg-deb", "-x", str(deb), str(tmp_path / "x")], check=True)
    copyright_file = (tmp_path / "x/usr/share/doc/csulcca/copyright").read_text()
    assert "Files: payload/*\n" in copyright_file
    assert "License: LicenseRef-IBM-CCA\n" in copyright_file


@pytest.mark.parametrize("profiles", ["", "pkg.csulcca.noenable"])
def test_a_build_profile_leaves_the_service_disabled_and_not_the_timer(profiles: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    subprocess.run(["/usr/bin/python3", str(TREE / "tools/build_packages.py"), "--stage", str(source)], check=True)
    subprocess.run(["dpkg-buildpackage", "-b", "-us", "-uc", "-d"], cwd=source, check=True, capture_output=True,
                   env={**os.environ, "DEB_BUILD_PROFILES": profiles, "DEB_BUILD_OPTIONS": "nocheck"})  # fmt: skip
    (deb,) = tmp_path.glob("*.deb")
    postinst = subprocess.check_output(["dpkg-deb", "-I", str(deb), "postinst"], text=True)
    # Then the service stays enabled only if an earlier package had enabled it.
    assert ("deb-systemd-helper debian-installed 'CSUTKEcat.service'" in postinst) == bool(profiles)
    assert "deb-systemd-helper debian-installed 'csulcca-check.timer'" not in postinst


def test_both_families_name_the_home_page_and_the_repository_of_setup_cfg() -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(TREE / "setup.cfg")
    repository = parser["csulcca"]["repository"]
    page = repository.removesuffix(".git")
    control = (TREE / "debian/control").read_text()
    assert f"\nHomepage: {page}\nVcs-Browser: {page}\nVcs-Git: {repository}\n" in control
    assert re.search(r"(?m)^URL: +%s$" % re.escape(page), (TREE / "rpm/csulcca.spec").read_text())


def test_uscan_finds_a_release_by_debian_watch(tmp_path: Path) -> None:
    """debian/watch looks for tags in the repository that setup.cfg names; here that is one on this machine."""
    watch = (TREE / "debian/watch").read_text()
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(TREE / "setup.cfg")
    assert parser["csulcca"]["repository"] in watch
    command = tool("uscan")
    published = tmp_path / "published"
    git = ["git", "-C", str(published), "-c", "user.name=x", "-c", "user.email=x@csulcca.invalid"]
    subprocess.run(["git", "init", "-q", str(published)], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    for tag in ("v8.0.0", "v8.99.0"):
        subprocess.run([*git, "tag", tag], check=True)
    copy = tmp_path / "watch"
    copy.write_text(watch.replace(parser["csulcca"]["repository"], "file://%s" % published))
    done = subprocess.run([command, "--no-download", "--report-status", "--dehs", "--package", "csulcca",
                           "--upstream-version", "8.0.0", "--watchfile", str(copy)],
                          capture_output=True, text=True, cwd=tmp_path)  # fmt: skip
    assert "<upstream-version>8.99.0</upstream-version>" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("payload_of", ["reference", "vendor"])
def test_the_bill_of_materials_is_valid_and_tells_what_is_in_the_packages(payload_of: str, tmp_path: Path) -> None:
    arguments = ["--payload", str(vendor8.build_rpm(tmp_path, "s390x"))] if payload_of == "vendor" else []
    output = built(TREE, tmp_path / "out", *arguments)
    (bill,) = output.glob("*.spdx.json")
    done = subprocess.run([TREE / ".venv/bin/pyspdxtools", "--infile", bill], capture_output=True, text=True)
    assert done.returncode == 0 and "not valid" not in done.stdout + done.stderr, done.stdout + done.stderr
    document = json.loads(bill.read_text())
    for path in (*output.glob("*.deb"), *output.glob("*.rpm")):
        (about,) = (one for one in document["packages"] if one.get("packageFileName") == path.name)
        assert about["checksums"][0]["checksumValue"] == hashlib.sha256(path.read_bytes()).hexdigest()
    licences = {one["fileName"]: one["licenseConcluded"] for one in document["files"]}
    assert licences["./usr/lib/csulcca/run"] == "Apache-2.0"
    assert licences["./" + payloads.CATCHER] == ("Apache-2.0" if payload_of == "reference" else "NOASSERTION")
    assert "python3-cryptography" in {one["name"] for one in document["packages"]}
    assert bill.name in (output / "SHA256SUMS").read_text()


def test_diffoscope_explains_a_difference(tmp_path: Path) -> None:
    tool("diffoscope")
    vendor8.build_deb(tmp_path, "s390x").rename(tmp_path / "first.deb")
    vendor8.build_deb(tmp_path, "s390x", [File("etc/profile.d/csulcca.sh", b"# other\n", 0o644)])
    explanation = explain(tmp_path / "first.deb", tmp_path / "csulcca_8.2.54-3_s390x.deb")
    assert "etc/profile.d/csulcca.sh" in explanation
    assert "+# other" in explanation


def built(
    tree: Path, output: Path, *arguments: str, prefix: Sequence[str] = (), umask: int = 0o022, **environment: str
) -> Path:
    """Build in ``tree`` into ``output``, which is returned; ``prefix`` is a command that the build runs under."""
    command = [*prefix, "/usr/bin/python3", str(tree / "tools/build_packages.py"), "--output", str(output), *arguments]
    done = subprocess.run(command, env={**os.environ, **environment}, umask=umask, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return output
