"""docs/release.md: each command can be typed and selects a test; tools/release_check.py judges correctly."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from tools import release_check

TREE = pathlib.Path(__file__).resolve().parent.parent
CLAIMS = release_check.claims(release_check.PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("command", [claim.command for claim in CLAIMS])
def test_a_command_is_a_target_and_selects_a_test(command: str) -> None:
    program, target, *settings = shlex.split(command)
    assert program == "make"
    assert re.search(rf"(?m)^\.PHONY: {re.escape(target)}$", (TREE / "Makefile").read_text()), target
    for setting in settings:
        name, _, value = setting.partition("=")
        assert re.search(rf"\$\(({name})\)|\$\(if \$\({name}\)", (TREE / "Makefile").read_text()), name
        if name == "TESTS":
            collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", *shlex.split(value)]
            done = subprocess.run(collect, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            assert done.returncode == 0, done.stdout
            # A word that is in the file's own name selects all that is in the file.
            assert "-k" not in shlex.split(value) or " deselected" in done.stdout, done.stdout


def test_a_line_without_a_command_is_no_claim() -> None:
    with pytest.raises(ValueError, match="no claim"):
        release_check.claims("| claim | command |\n| --- | --- |\n| All is well | trust us |\n")


BLOCKED = "BLOCKED: needs a registry: some-system\n"
SKIPPED = "s\nSKIPPED [2] tests/test_linters.py:101: no lintian here\n"


@pytest.mark.parametrize("status,output,expected", [
    (0, "..\n2 passed in 1s\n", ("PASS", "")),
    (0, "Wrote a file\n", ("PASS", "")),
    (0, SKIPPED + "2 skipped in 1s\n", ("BLOCKED", "no lintian here")),
    (0, SKIPPED + "1 passed, 2 skipped in 1s\n", ("PASS", "2 not run: no lintian here")),
    (1, SKIPPED + "2 skipped, 1 error in 1s\n", ("FAIL", "exit status 1")),
    (0, BLOCKED + "12 passed, 0 failed, 60 blocked\n", ("PASS", "60 not run: needs a registry: some-system")),
    (1, BLOCKED + "0 passed, 0 failed, 72 blocked, 1 not applicable\n", ("BLOCKED", "needs a registry: some-system")),
    (1, BLOCKED + "12 passed, 1 failed, 60 blocked, 1 not applicable\n", ("FAIL", "exit status 1")),
    (1, "1 failed, 3 passed in 1s\n", ("FAIL", "exit status 1")),
    (5, "no tests ran in 1s\n", ("FAIL", "exit status 5")),
])  # fmt: skip
def test_the_verdict_follows_exit_status_and_output(status: int, output: str, expected: tuple[str, str]) -> None:
    assert release_check.verdict(status, output) == expected


def run(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, *commands: str) -> int:
    """The exit status of a check of a page with these commands."""
    page = tmp_path / "docs/release.md"
    page.parent.mkdir()
    lines = [f"| claim {number} | `{command}` |\n" for number, command in enumerate(commands)]
    page.write_text("## Part\n" + "".join(lines))
    monkeypatch.setattr(release_check, "PAGE", page)
    monkeypatch.setattr(release_check, "TREE", tmp_path)
    monkeypatch.setattr(release_check, "LOGS", tmp_path / "logs")
    return release_check.main([])


def test_one_claim_that_does_not_hold_fails_the_whole(monkeypatch, tmp_path, capsys) -> None:
    assert run(monkeypatch, tmp_path, "true", "echo why; exit 3", "true") == 1
    said = capsys.readouterr().out
    assert "2 PASS, 1 FAIL" in said
    assert "exit status 3" in said
    assert (tmp_path / "logs/02.log").read_text() == "$ echo why; exit 3\nwhy\n"


def test_what_could_not_be_run_is_not_passed(monkeypatch, tmp_path, capsys) -> None:
    assert run(monkeypatch, tmp_path, "true", "echo 1 skipped") == 1
    assert "1 PASS, 1 BLOCKED" in capsys.readouterr().out


def test_all_good_is_0(monkeypatch, tmp_path) -> None:
    assert run(monkeypatch, tmp_path, "true", "true") == 0
