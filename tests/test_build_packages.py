"""tools/build_packages.py: what it takes as payload, what it refuses, and that a build depends on nothing else."""
from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tools import build_packages

TREE = Path(__file__).resolve().parent.parent
BUILDER = TREE / "tools/build_packages.py"
S390X, X86_64, ARM = (2, 2, 22), (2, 1, 62), (1, 1, 40)


@pytest.fixture
def payload(tmp_path: Path) -> Path:
    """A payload that is as small as one can be."""
    root = tmp_path / "payload"
    put(root, build_packages.CATCHER, b"#!/bin/sh\n")
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
    os.rename(root / build_packages.CATCHER, root / "opt/real")
    link(root, build_packages.CATCHER, "/opt/real")


def link_over_our_library(root: Path) -> None:
    put(root, "opt/lib/x")
    link(root, "usr/lib/csulcca", "/opt/lib")


def two_machines(root: Path) -> None:
    put(root, "opt/a", elf(S390X))
    put(root, "opt/b", elf(X86_64))


REFUSED = {
    "no catcher.exe": (lambda root: (root / build_packages.CATCHER).unlink(), "there is no file opt/IBM"),
    "catcher.exe is a link": (move_catcher, "there is no file opt/IBM"),
    "link that climbs out": (lambda root: link(root, "opt/x", "../../etc/shadow"), "leads out of the directory"),
    "absolute link out of the payload": (lambda root: link(root, "opt/x", "/etc/shadow"), "leads to nothing"),
    "named pipe": (lambda root: os.mkfifo(root / "opt/pipe"), "/opt/pipe is a device"),
    "setuid": (lambda root: (root / build_packages.CATCHER).chmod(0o4755), "is setuid"),
    "blank in a name": (lambda root: put(root, "opt/a b"), "characters"),
    "macro in a name": (lambda root: put(root, "opt/%{x}"), "characters"),
    "file in the root directory": (lambda root: put(root, "README"), "root directory"),
    "our own command": (lambda root: put(root, "usr/sbin/catcherctl"), "belongs to the package"),
    "link over our library": (link_over_our_library, "belongs to the package"),
    "truncated ELF": (lambda root: put(root, "opt/x", b"\x7fELF\x02"), "truncated"),
    "two machines": (two_machines, "several machines"),
    "another machine": (lambda root: put(root, "opt/x", elf(ARM)), "no csulcca for"),
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


@pytest.mark.parametrize("name", ["csulcca-8.2.54.s390x.rpm", "csulcca_8.2.54_s390x.deb"])
def test_a_package_as_payload_is_refused_with_how_to_unpack_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(build_packages.Refused, match="not taken as payload yet") as refusal:
        build_packages.open_payload(tmp_path / name)
    assert "PAYLOAD=payload.d" in refusal.value.hint


def test_what_is_ours_and_what_each_host_makes_is_left_out_with_the_directories_it_leaves_empty(payload: Path) -> None:
    for path in ("opt/IBM/CCA/bin/CSUTKEcat", "usr/lib/systemd/system/CSUTKEcat.service", "etc/init.d/CSUTKEcat",
                 "etc/cca/catcher.conf", "opt/IBM/CCA/bin/catcher.key", "opt/IBM/CCA/bin/catcher.crt"):
        put(payload, path)
    link(payload, "etc/rc2.d/S14CSUTKEcat", "../init.d/CSUTKEcat")
    put(payload, "etc/profile.d/csulcca.sh")
    (payload / "opt/IBM/CCA/keys").mkdir()
    taken, left_out = build_packages.read_payload(payload)
    assert len(left_out) == 7
    assert taken == ["etc", "etc/profile.d", "etc/profile.d/csulcca.sh", "opt", "opt/IBM", "opt/IBM/CCA",
                     "opt/IBM/CCA/bin", "opt/IBM/CCA/bin/catcher.exe", "opt/IBM/CCA/keys"]


def test_the_links_of_a_vendor_are_taken(payload: Path) -> None:
    link(payload, "opt/ibm/cca", "/opt/IBM/CCA")
    put(payload, "usr/lib64/libcsulcca.so.8", elf(S390X))
    link(payload, "usr/lib64/libcsulcca.so", "libcsulcca.so.8")
    taken, _ = build_packages.read_payload(payload)
    assert {"opt/ibm/cca", "usr/lib64/libcsulcca.so", "usr/lib64/libcsulcca.so.8"} <= set(taken)
    assert build_packages.machine_of(payload, taken) == ("s390x", "s390x")


def test_without_machine_code_the_packages_are_for_every_machine(payload: Path) -> None:
    assert build_packages.machine_of(payload, build_packages.read_payload(payload)[0]) == ("all", "noarch")


@pytest.mark.parametrize("version", ["7.3", "x", "8.0-1", "8 0", "8.0.0; rm"])
def test_a_version_that_is_none_or_legacy_is_refused(version: str) -> None:
    with pytest.raises(build_packages.Refused):
        build_packages.read_metadata(TREE / "setup.cfg", version)


def test_setup_cfg_and_the_changelog_must_agree_unless_the_version_is_given() -> None:
    metadata = build_packages.read_metadata(TREE / "setup.cfg", "8.9.9")
    changes = build_packages.read_changes((TREE / "debian/changelog").read_text(encoding="utf-8"))
    with pytest.raises(build_packages.Refused, match=r"8\.9\.9-1"):
        build_packages.changes_for(metadata, changes, version_given=False)
    assert build_packages.changes_for(metadata, changes, version_given=True)[0].version == "8.9.9-1"


def test_debian_changelog_is_read_without_loss() -> None:
    text = (TREE / "debian/changelog").read_text(encoding="utf-8")
    name = text.split(" ", 1)[0]
    rendered = build_packages.debian_changelog(name, build_packages.read_changes(text))
    assert rendered.replace("-0000", "+0000") == text


def test_a_vendor_payload_for_s390x_is_packed_on_any_machine(payload: Path, tmp_path: Path) -> None:
    put(payload, build_packages.CATCHER, elf(S390X))
    put(payload, "usr/lib64/libcsulcca.so.8", elf(S390X))
    output = built(TREE, tmp_path / "out", "--payload", str(payload))
    (rpm,) = output.glob("*.s390x.rpm")
    (deb,) = output.glob("*_s390x.deb")
    scripts = subprocess.check_output(["rpm", "-qp", "--nosignature", "--scripts", str(rpm)], text=True)
    assert "csulcca_payload=vendor" in scripts
    assert "/sbin/ldconfig" in scripts
    assert "csulcca_payload=vendor" in subprocess.check_output(["dpkg-deb", "-I", str(deb), "preinst"], text=True)


def test_two_builds_are_the_same_bytes_whatever_directory_times_umask_locale_and_zone(tmp_path: Path) -> None:
    first = built(TREE, tmp_path / "first")
    copy = tmp_path / "elsewhere" / "tree"
    shutil.copytree(TREE, copy, symlinks=True, ignore=shutil.ignore_patterns(".git", ".venv", ".cache", "dist"))
    for path in copy.rglob("*"):
        if path.is_file() and not path.is_symlink():
            path.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
            os.utime(path)
    second = built(copy, tmp_path / "second", umask=0o077, TZ="Asia/Tokyo", LC_ALL="C.UTF-8", TMPDIR=str(tmp_path))
    assert (first / "SHA256SUMS").read_text() == (second / "SHA256SUMS").read_text()
    assert len((first / "SHA256SUMS").read_text().splitlines()) == 2


def built(tree: Path, output: Path, *arguments: str, umask: int = 0o022, **environment: str) -> Path:
    """Build in ``tree`` into ``output``, which is returned."""
    done = subprocess.run([sys.executable, str(tree / "tools/build_packages.py"), "--output", str(output), *arguments],
                          env={**os.environ, **environment}, umask=umask, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return output
