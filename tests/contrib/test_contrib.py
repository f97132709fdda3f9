"""contrib/: the Ansible role on several hosts at the same time, and an image without a key (`make contrib`)."""

import concurrent.futures
import contextlib
import os
import pathlib
import re
import shutil
import subprocess

import pytest

from tests.matrix import engine, images
from tests.matrix.machine import Machine, Network
from tests.packaging.conftest import built, prepared  # noqa: F401 - fixtures
from tests.packaging.soundness import wait_until_it_listens
from tests.packaging.system import CERTIFICATE, KEY, System

from .playbook import ANSIBLE, PlayFailed, play

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
CELLS = [cell.name for cell in images.with_role("example")]


def changes(recap: str) -> set[str]:
    """The numbers of changed tasks that the recap names."""
    return set(re.findall(r"changed=(\d+)", recap))


def test_ansible_lint_is_content():
    done = subprocess.run(["ansible-lint", "--offline", "-q", "--nocolor", ANSIBLE / "playbook.yml"], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", CELLS)
def test_the_role_installs_sets_the_mode_and_then_has_nothing_to_do(built, name, tmp_path):  # noqa: F811
    cell = images.cell(name)
    image = images.ensure(cell)
    with contextlib.ExitStack() as stack:
        lan = stack.enter_context(Network())
        machines = [stack.enter_context(Machine(image, name=f"z{number}", network=lan)) for number in range(4)]
        package = f"csulcca_package={built.new(cell.family)}"
        # An attacker waits until root writes to a file of his, and installs it.
        foreseen = f"/var/tmp/{built.new(cell.family).name}"
        machines[0].run(f"echo theirs >{foreseen} && chown 65534:65534 {foreseen}")
        play(machines, package, "csulcca_mode=tcp")
        assert machines[0].read(foreseen) == b"theirs\n"
        for one in machines:
            assert System(one, cell).argv() == "/opt/IBM/CCA/bin/catcher.exe"
            left = one.run("find /tmp /var/tmp -name '*csulcca*' -not -path '*/systemd-private-*'").out.split()
            assert left == ([foreseen] if one is machines[0] else [])
        play(machines, package, "csulcca_mode=tls")
        for one in machines:
            assert System(one, cell).argv() == "/opt/IBM/CCA/bin/catcher.exe -tls"
        assert len({one.read(KEY) for one in machines}) == len(machines)
        assert changes(play(machines, package, "csulcca_mode=tls")) == {"0"}
        renamed = shutil.copy(built.new(cell.family), tmp_path / f"another-name.{cell.family}")
        assert changes(play(machines[:1], f"csulcca_package={renamed}", "csulcca_mode=tls")) == {"0"}


# A repository on the host's own disk, by package manager: the command that makes its index, and the file that names it.
REPOSITORIES = {
    "apt": ("dpkg-scanpackages", "/etc/apt/sources.list.d/local.list", "deb [trusted=yes] file:/srv/repo ./\n"),
    "dnf": ("createrepo_c", "/etc/yum.repos.d/local.repo", "[local]\nname=l\nbaseurl=file:///srv/repo\ngpgcheck=0\n"),
    "zypper": ("createrepo_c", "/etc/zypp/repos.d/local.repo",
               "[local]\nname=l\nenabled=1\nbaseurl=file:///srv/repo\ngpgcheck=0\n"),
}  # fmt: skip
VERSION = {"deb": "dpkg-query --show --showformat='${Version}' csulcca",
           "rpm": "rpm -q --queryformat %{VERSION} csulcca"}
# Prefer a system with the role example, and take none whose image is made in many steps.
ONE_A_MANAGER = {cell.package_manager: cell.name for cell in
                 [*(one for one in images.cells().values() if one.recipe and one.boot and not one.image_based),
                  *images.with_role("example")]}


@pytest.mark.parametrize("name", ONE_A_MANAGER.values())
def test_from_a_repository_the_role_upgrades_cca_7_and_leaves_8_alone(built, name, tmp_path):  # noqa: F811
    cell = images.cell(name)
    indexer, place, source = REPOSITORIES[cell.package_manager]

    def publish(machine, package):
        repository = tmp_path / package.name
        repository.mkdir()
        shutil.copy(package, repository)
        index = subprocess.run([indexer, "."], cwd=repository, check=True, capture_output=True).stdout
        if cell.package_manager == "apt":
            (repository / "Packages").write_bytes(index)
        machine.run("rm -rf /srv/repo")
        machine.copy_in(repository, "/srv/repo")
        machine.run("chmod -R a+rX /srv/repo")
        machine.write(place, source)

    with Machine(images.ensure(cell), name="z1") as machine:
        system = System(machine, cell)
        system.package(system.tools[0], "install", built.old(cell))
        publish(machine, built.old(cell))
        with pytest.raises(PlayFailed, match="still installed: the host's repositories have no newer one"):
            play([machine])
        publish(machine, built.new(cell.family))
        play([machine])
        assert system.show(VERSION[cell.family]).startswith("8.0.0")
        assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe"
        publish(machine, built.new(cell.family, "8.0.1"))
        assert changes(play([machine])) == {"0"}
        assert system.show(VERSION[cell.family]).startswith("8.0.0")


def test_the_role_puts_an_own_pair_into_use(built, tmp_path):  # noqa: F811
    cell = images.cell(CELLS[0])
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "90", "-subj", "/CN=z1",
                    "-keyout", tmp_path / "own.key", "-out", tmp_path / "own.crt"],
                   check=True, capture_output=True)  # fmt: skip
    with Machine(images.ensure(cell), name="z1") as machine:
        pair = (f"csulcca_key={tmp_path}/own.key", f"csulcca_certificate={tmp_path}/own.crt")
        package = f"csulcca_package={built.new(cell.family)}"
        play([machine], package, *pair)
        assert machine.read(CERTIFICATE) == (tmp_path / "own.crt").read_bytes()
        assert machine.run(f"stat -c %a {KEY}").out == "600\n"
        assert machine.run("ls -d /tmp/*.csulcca", check=False).out == ""
        assert changes(play([machine], package, *pair)) == {"0"}


@pytest.mark.parametrize("name", CELLS)
def test_an_image_has_no_key_and_its_copies_have_different_ones(built, name):  # noqa: F811
    cell = images.cell(name)
    tag = f"{images.REPOSITORY}/contrib-{name}:{os.getpid()}"
    packages = built.new(cell.family).parent
    # The instruction of the Containerfile, run and committed as a build does. podman build itself sets limits that a
    # machine without CAP_SYS_RESOURCE refuses.
    (script,) = re.findall(r"^RUN (.*)", (TREE / "contrib/image/Containerfile").read_text().replace("\\\n", ""), re.M)
    with Machine(images.ensure(cell), name="build", boot=False, volumes={"/packages": str(packages)}) as build:
        build.run(script)
        engine.call("commit", "--quiet", build.container, tag)
    try:
        with Machine(tag, name="still", boot=False) as still:
            assert not still.exists(KEY)
            assert not still.exists(CERTIFICATE)
        with Network() as lan, Machine(tag, name="a", network=lan) as a, Machine(tag, name="b", network=lan) as b:
            systems = [System(one, cell) for one in (a, b)]
            with concurrent.futures.ThreadPoolExecutor() as pool:
                assert list(pool.map(System.service, systems)) == [("enabled", "active")] * 2
                # The service is active as soon as its start begins to make the pair.
                list(pool.map(wait_until_it_listens, systems))
            assert a.read(KEY) != b.read(KEY)
    finally:
        engine.attempt("rmi", "-f", tag)
