"""debian/tests, run by Debian's own autopkgtest in a booted container of the package's own."""

import shutil
import subprocess

import pytest

from tests.matrix import engine, images
from tests.matrix.machine import MASKED
from tests.test_linters import tool

from .conftest import TREE


@pytest.mark.scenario("autopkgtest")
@pytest.mark.only(lambda cell: "apt-utils" in cell.recipe.get("packages", []),
                  "it needs apt-utils in the image; one release is enough")  # fmt: skip
def test_autopkgtest_passes(cell, built, tmp_path):
    # A tree with debian/files counts as built (autopkgtest(1)), so that nothing is compiled in the test bed.
    debian = tmp_path / "tree/debian"
    debian.mkdir(parents=True)
    shutil.copytree(TREE / "debian/tests", debian / "tests")
    for name in ("control", "changelog"):
        shutil.copy(TREE / "debian" / name, debian / name)
    (debian / "files").touch()
    image = images.ensure(cell)
    # The kernel is the host's: the test bed's systemd would take the emulators from it when it shuts down.
    masked = [f"--volume=/dev/null:/etc/systemd/system/{unit}:ro" for unit in MASKED]
    options = [*engine.current().run_options, "--privileged", "--network=none", *masked]
    test_bed = ["--", "podman", "--init", image, "--"]
    command = [tool("autopkgtest"), str(built.new("deb")), str(tmp_path / "tree"), *test_bed]
    done = subprocess.run([*command, *options], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert done.stdout.rstrip().splitlines()[-1].split() == ["installed", "PASS"], done.stdout
