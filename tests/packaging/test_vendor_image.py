"""A vendor's container image becomes a cell. A stand-in is used here, because a vendor's image must be downloaded.

The stand-in has a repository on its own disk, and nothing of ours yet.
"""

import dataclasses
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.matrix import engine, images
from tests.matrix.machine import Machine
from tests.test_linters import tool

from .conftest import CELLS
from .packages import Built
from .soundness import wait_until_it_listens
from .system import DAEMON, System

INDEX = {"apt": "dpkg-scanpackages", "dnf": "createrepo_c", "zypper": "createrepo_c"}
REPO = "[stand-in]\nname=s\nbaseurl=file:///srv/repo\ngpgcheck=0\n"
SOURCE = {
    "apt": ("/etc/apt/sources.list.d/stand-in.list", "deb [trusted=yes] file:/srv/repo ./\n"),
    "dnf": ("/etc/yum.repos.d/stand-in.repo", REPO),
    "zypper": ("/etc/zypp/repos.d/stand-in.repo", REPO),
}
# A cell of each family; also of each other package manager of the wanted systems, if its image is built here.
ASKED = [cell for cell in map(images.cell, CELLS) if cell.recipe]
BASES = {cell.package_manager: cell.name for cell in [*ASKED, *images.with_role("example")]}


@pytest.fixture(params=BASES.values())
def vendors(request: pytest.FixtureRequest, built: Built, tmp_path: pathlib.Path) -> Iterator[images.Cell]:
    """A cell whose image is a vendor's, which adds our package to it from the vendor's repository."""
    base = images.cell(request.param)
    package = built.new(base.family)
    shutil.copy(package, tmp_path)
    command = [tool(INDEX[base.package_manager]), "."]
    index = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
    if base.package_manager == "apt":
        (tmp_path / "Packages").write_bytes(index)
    reference = f"{images.REPOSITORY}/stand-in-{base.package_manager}:{os.getpid()}"
    with Machine(images.ensure(base), name="vendor", boot=False) as machine:
        machine.copy_in(tmp_path, "/srv/repo")
        machine.run("chmod 755 /srv/repo")
        machine.write(*SOURCE[base.package_manager])
        if base.package_manager == "apt":
            machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)
        engine.call("commit", "--quiet", machine.container, reference)
    made = dataclasses.replace(base, name=f"stand-in-{base.name}", oci=reference, recipe={}, add=["csulcca"])
    yield made
    engine.attempt("rmi", "-f", images.reference_of(made), reference)


def test_it_is_made_bootable_once_and_needs_no_repository_later(vendors):
    assert images.blocked(vendors) == ""
    reference = images.ensure(vendors)
    assert reference != vendors.oci
    made = engine.inspect("image", reference)["Id"]
    assert engine.inspect("image", images.ensure(vendors))["Id"] == made

    with Machine(reference, name="zlinux1") as machine:
        system = System(machine, vendors)
        assert system.service() == ("enabled", "active")
        wait_until_it_listens(system)
        assert system.argv() == DAEMON + " -tls"
        for gone in (SOURCE[vendors.package_manager][0], "/usr/sbin/policy-rc.d"):
            assert not machine.exists(gone)
        with Machine(reference, name="zlinux2") as other:
            assert machine.read("/etc/machine-id") != other.read("/etc/machine-id")


def test_what_its_repositories_lack_fails_the_build(vendors):
    lacking = dataclasses.replace(vendors, add=["no-such-package"])
    with pytest.raises(images.BuildError, match="no-such-package|No match|Unable"):
        images.ensure(lacking)
    assert not engine.image_exists(images.reference_of(lacking))


def test_without_the_image_its_cell_is_blocked_and_says_so(vendors):
    absent = dataclasses.replace(vendors, oci="localhost/csulcca-test/absent:1")
    assert images.blocked(absent) == "no image localhost/csulcca-test/absent:1 on this host"
    with pytest.raises(images.Blocked, match="absent:1"):
        images.ensure(absent)
