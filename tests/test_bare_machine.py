"""What README says to type on a machine with nothing but git and make begins there."""

import re
import subprocess
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("module", ["tools.demo", "tools.build_packages", "tools.ci_files", "tools.repository"])
def test_it_needs_no_module_that_python_does_not_bring(module: str) -> None:
    """-S: without site-packages, where .venv and the distribution have theirs."""
    subprocess.run(["/usr/bin/python3", "-S", "-B", "-c", f"import {module}"], cwd=TREE, check=True)


def test_who_makes_a_root_can_verify_its_packages() -> None:
    """Ubuntu's apt does not know Debian's keys by itself, and mmdebstrap asks gpg for the right one."""
    table = (TREE / "tools/bootstrap.sh").read_text(encoding="utf-8")

    def commands(package: str) -> set[str]:
        return {one for found in re.findall(rf"(?m)^(\S+) {package} \S+ \S+ must ", table) for one in found.split(",")}

    assert commands("mmdebstrap")
    for package in ("debian-archive-keyring", "gnupg"):
        assert not commands("mmdebstrap") - commands(package), package
