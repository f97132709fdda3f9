"""The commands of README start on a machine that has only git and make."""

import json
import re
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.matrix import toml

from .test_linters import clean

TREE = Path(__file__).resolve().parent.parent


# The system's Python, and older ones of build machines: Debian 11 and RHEL 9 have 3.9, Ubuntu 22.04 has 3.10.
OLD = ("3.9", "3.10")
PYTHONS = ["/usr/bin/python3", *(str(path) for version in OLD for path in
                                 Path("~/.pyenv/versions").expanduser().glob(version + ".*/bin/python"))]
MODULES = ("tools.demo", "tools.build_packages", "tools.ci_files", "tools.repository", "tests.matrix.images",
           "tests.matrix.scenarios")  # fmt: skip
# Print the files of this tree that a Python statement imports, one in a line.
OURS = """\
import sys, {modules}
for module in list(sys.modules.values()):
    if (getattr(module, "__file__", None) or "").startswith("{tree}/"):
        print(module.__file__)
"""


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("module", MODULES)
def test_it_needs_no_module_that_python_does_not_bring(module: str, python: str) -> None:
    """-S: without site-packages, which contain the modules of .venv and of the distribution."""
    subprocess.run([python, "-S", "-B", "-c", f"import {module}"], cwd=TREE, check=True)


def test_it_is_written_for_the_oldest_python_of_a_build_machine() -> None:
    """This is also tested if no Python of that version is installed."""
    script = OURS.format(modules=", ".join(MODULES), tree=TREE)
    files = subprocess.run(["/usr/bin/python3", "-S", "-B", "-c", script], cwd=TREE, check=True, text=True,
                           stdout=subprocess.PIPE).stdout.split()  # fmt: skip
    assert len(files) > len(MODULES)
    clean("vermin", f"-t={OLD[0]}-", "--no-tips", "--eval-annotations", "--violations", *files)


@pytest.mark.parametrize("python", PYTHONS)
def test_every_python_reads_the_same_of_the_declaration(python: str) -> None:
    """Python has tomllib since 3.11 only."""
    script = "import json; from tests.matrix import images, toml; print(json.dumps(toml.load(images.DECLARATION)))"
    said = subprocess.run([python, "-S", "-B", "-c", script], cwd=TREE, check=True, stdout=subprocess.PIPE).stdout
    assert json.loads(said) == tomllib.loads((TREE / "tests/matrix/distros.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("read", [toml.subset, tomllib.loads], ids=["ours", "tomllib"])
@pytest.mark.parametrize("text", [
    "a = ", "[x", "a = 1 2", "a b = 1", "= 3", "a = {b = 1", "a = [1,,2]", 'a = "x', "[a]\n[a]", "a = 1\na = 1", "[]",
    "a = yes", "a = [1] b = 2", "[a b]",
])  # fmt: skip
def test_what_is_no_toml_is_refused_as_tomllib_does(read: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match="at "):
        read(text)


def test_who_makes_a_root_can_verify_its_packages() -> None:
    """Ubuntu's apt does not know Debian's keys by itself, and mmdebstrap asks gpg for the right one."""
    table = (TREE / "tools/bootstrap.sh").read_text(encoding="utf-8")

    def commands(package: str) -> set[str]:
        return {one for found in re.findall(rf"(?m)^(\S+) {package} \S+ \S+ must ", table) for one in found.split(",")}

    assert commands("mmdebstrap")
    for package in ("debian-archive-keyring", "gnupg"):
        assert not commands("mmdebstrap") - commands(package), package
