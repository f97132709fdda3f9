"""What README says to type on a machine with nothing but git and make begins there."""

import subprocess
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("module", ["tools.demo", "tools.build_packages", "tools.ci_files", "tools.repository"])
def test_it_needs_no_module_that_python_does_not_bring(module: str) -> None:
    """-S: without site-packages, where .venv and the distribution have theirs."""
    subprocess.run(["/usr/bin/python3", "-S", "-B", "-c", f"import {module}"], cwd=TREE, check=True)
