"""What becomes of a vendor's image, as far as it needs none."""

import subprocess

import pytest

from tests.matrix import images, vendor

# What each tool says where it has no network; apt and dnf go on without.
OFFLINE = {
    "apt": "W: Failed to fetch http://m/InRelease  Temporary failure resolving 'm'\nE: Unable to locate package x",
    "dnf": "Error: Failed to download metadata for repo 'm': Cannot download\nError: Unable to find a match: x",
    "zypper": "Download (curl) error for 'http://m/content':\nError code: Connection failed\nCould not refresh",
}


@pytest.mark.parametrize("said,expected", [*((said, images.Blocked) for said in OFFLINE.values()),
                                           ("No match for argument: systemd", images.BuildError)],
                         ids=[*OFFLINE, "not that"])  # fmt: skip
def test_a_mirror_that_does_not_deliver_blocks_and_any_other_failure_fails(tmp_path, monkeypatch, said, expected):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(expected):
        images.Progress("x").run(["sh", "-c", 'echo "$1"; exit 1', "sh", said])


@pytest.mark.parametrize("verb,status,fine", [("refresh", 106, True), ("refresh", 4, False), ("install", 102, True),
                                              ("install", 106, True), ("install", 104, False), ("install", 105, False),
                                              ("install", 107, False), ("install", 4, False)])  # fmt: skip
def test_what_zypper_only_remarks_on_is_no_failure(tmp_path, monkeypatch, verb, status, fine):
    program = tmp_path / "zypper"
    program.write_text(f'#!/bin/sh\ncase "$*" in *{verb}*) exit {status} ;; esac\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    command = vendor.INSTALL["zypper"].format("systemd")
    assert (subprocess.run(["sh", "-euc", command + "\nexit 0"]).returncode == 0) == fine
