"""tools/repository.py: what it refuses to sign. tests/packaging/test_signed_repositories.py installs what it signs."""
from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tools import repository
from tools.refusal import Refused

PACKAGES = ("csulcca_8.0.0-1_all.deb", "csulcca-8.0.0-1.noarch.rpm")
STRAYS = ("csulcca_9.9_all.deb", "csulcca-9.9-1.noarch.rpm")


@pytest.fixture
def dist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a build that are checked before the key."""
    for name in PACKAGES:
        (tmp_path / name).write_text(name)
    (tmp_path / "SHA256SUMS").write_text("".join(line(tmp_path / name) for name in PACKAGES))
    monkeypatch.setattr(repository, "TOOLS", {})
    monkeypatch.setattr(repository, "fingerprint_of", no_key)
    return tmp_path


def no_key(key: str) -> str:
    raise Refused("there is no key %s" % key, "")


def line(path: Path) -> str:
    return "%s  %s\n" % (hashlib.sha256(path.read_bytes()).hexdigest(), path.name)


def refused(dist: Path) -> str:
    """Why; the key is looked for last."""
    with pytest.raises(Refused) as failure:
        repository.build("nobody", dist, dist / "repo", "https://packages.example.org")
    assert not (dist / "repo").exists()
    return str(failure.value)


def test_what_a_build_wrote_gets_as_far_as_the_key(dist: Path) -> None:
    assert refused(dist) == "there is no key nobody"


@pytest.mark.parametrize("stray", STRAYS)
def test_a_package_that_the_build_did_not_write_is_not_signed(stray: str, dist: Path) -> None:
    (dist / stray).write_text("anything")
    assert refused(dist) == "SHA256SUMS has no line for %s" % (dist / stray)


@pytest.mark.parametrize("sums", ["", "first"])
def test_sums_that_were_cut_off_vouch_for_nothing(sums: str, dist: Path) -> None:
    path = dist / "SHA256SUMS"
    path.write_text(path.read_text().splitlines(keepends=True)[0] if sums else "")
    assert refused(dist) == "SHA256SUMS has no line for %s" % (dist / PACKAGES[1 if sums else 0])


def test_the_second_of_two_lines_for_a_package_counts_as_well(dist: Path) -> None:
    with open(dist / "SHA256SUMS", "a") as sums:
        sums.write("%s  %s\n" % ("0" * 64, PACKAGES[0]))
    assert refused(dist) == "%s is not what SHA256SUMS says" % (dist / PACKAGES[0])


@pytest.mark.parametrize("sums", [b"\xff\xfe", None])
def test_sums_that_cannot_be_read_are_told_in_a_line(sums: bytes | None, dist: Path) -> None:
    (dist / "SHA256SUMS").unlink()
    if sums is not None:
        (dist / "SHA256SUMS").write_bytes(sums)
    assert "SHA256SUMS" in refused(dist)
