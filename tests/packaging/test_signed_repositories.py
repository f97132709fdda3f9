"""`make repo`: what an administrator's apt, dnf or zypper installs from it, and what they must refuse."""

import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import pytest

from tests.fixtures import cca73
from tests.matrix.machine import Result
from tests.test_linters import tool

from .conftest import TREE
from .marks import only_rpm
from .soundness import assert_sound
from .system import System
from .turns import one_of

# Where the repository is in a machine.
PLACE = "/srv/repo"


class Publisher:
    """Somebody with a signing key."""

    def __init__(self, home: pathlib.Path, name: str) -> None:
        """Make the key."""
        self.environment = {**os.environ, "GNUPGHOME": str(home)}
        self.address = f"{name}@csulcca.invalid"
        home.mkdir(mode=0o700)
        self.gpg("--passphrase", "", "--quick-generate-key", self.address, "rsa3072", "sign", "never")

    def gpg(self, *arguments: str) -> None:
        """Run gpg with our keys."""
        subprocess.run(["gpg", "--batch", *arguments], env=self.environment, check=True, capture_output=True)

    def publish(self, packages: pathlib.Path) -> pathlib.Path:
        """`make repo` of a copy of the packages; the repository."""
        command = [sys.executable, str(TREE / "tools/repository.py"), "--key", self.address, "--packages",
                   str(packages), "--url", "file://" + PLACE]  # fmt: skip
        subprocess.run(command, env=self.environment, check=True, capture_output=True)
        return packages / "repo"


@pytest.fixture(scope="module")
def publishers() -> "Iterator[dict[str, Publisher]]":
    """The maintainer, and somebody else."""
    for name in ("gpg", "dpkg-scanpackages", "rpmsign", "createrepo_c"):
        tool(name)
    # Not below pytest's directory: the path of gpg-agent's socket may have 107 characters only.
    with tempfile.TemporaryDirectory(prefix="gpg-") as base:
        made = {name: Publisher(pathlib.Path(base, name), name) for name in ("maintainer", "stranger")}
        yield made
        for publisher in made.values():
            subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=publisher.environment, check=True)


@pytest.fixture
def repository(built, publishers, tmp_path: pathlib.Path) -> pathlib.Path:
    """A repository of its own for each test, which may spoil it."""
    shutil.copytree(built.directory / "8.0.0", tmp_path / "dist")
    return publishers["maintainer"].publish(tmp_path / "dist")


def upload(system: System, repository: pathlib.Path) -> None:
    """The repository as it now is."""
    archive = repository.parent / "repo.tar"
    subprocess.run(["tar", "-C", str(repository), "-cf", str(archive), "."], check=True)
    system.machine.copy_in(archive, "/root/repo.tar")
    system.machine.run(f"rm -rf {PLACE} && mkdir -p {PLACE} && tar -xf /root/repo.tar -C {PLACE} && chmod 755 {PLACE}")


def put(system: System, repository: pathlib.Path) -> None:
    """The same, and the client's files as csulcca.sources and csulcca.repo say."""
    upload(system, repository)
    client = {
        "apt": f"install -D -m 644 {PLACE}/csulcca.asc /etc/apt/keyrings/csulcca.asc && rm -rf /var/lib/apt/lists/*"
               f" && cp {PLACE}/deb/csulcca.sources /etc/apt/sources.list.d/",
        "dnf": f"mkdir -p /etc/yum.repos.d && cp {PLACE}/rpm/csulcca.repo /etc/yum.repos.d/ && rm -rf /var/cache/dnf",
        "zypper": f"mkdir -p /etc/zypp/repos.d && cp {PLACE}/rpm/csulcca.repo /etc/zypp/repos.d/ && zypper clean -a",
    }  # fmt: skip
    system.machine.run(client[system.cell.package_manager])


def install(system: System) -> Result:
    """What an administrator types; zypper and dnf are asked to trust the key once."""
    commands = {
        "apt": "apt-get update && apt-get install -y csulcca",
        "dnf": "dnf -y install csulcca",
        "zypper": "zypper --gpg-auto-import-keys refresh && zypper --non-interactive install csulcca",
    }
    return system.machine.run(f"({commands[system.cell.package_manager]}) <&- 2>&1", check=False)


@pytest.mark.scenario("repository")
def test_installs_with_signatures_enforced(boot, repository):
    system = boot()
    put(system, repository)
    done = install(system)
    assert done.rc == 0, done.out
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())
    assert "NOT be authenticated" not in done.out
    assert system.show("dpkg-query -W -f '${Version}' csulcca || rpm -q --qf '%{VERSION}-%{RELEASE}' csulcca").endswith(
        "8.0.0-1")


@pytest.mark.scenario("repository")
@pytest.mark.parametrize("variant", one_of(["normal", "careless"]))
def test_7_3_is_upgraded_with_the_whole_system(boot, built, repository, variant):
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell, variant))
    put(system, repository)
    commands = {
        # `apt upgrade` keeps back a package if a recommended package is not available, as on some cells.
        "apt": "apt-get update && apt-get -y dist-upgrade",
        "dnf": "dnf -y upgrade",
        "zypper": "zypper --gpg-auto-import-keys refresh && zypper --non-interactive update --allow-vendor-change",
    }
    done = system.machine.run(f"({commands[system.cell.package_manager]}) <&- 2>&1")
    assert "Traceback" not in done.out
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])


# What Fedora 45 sets, and what README says to do about it.
ENFORCED = "mkdir -p /etc/rpm && echo '%_pkgverify_level all' >>/etc/rpm/macros"


@pytest.mark.scenario("repository-refused")
@only_rpm
def test_rpm_itself_refuses_what_nobody_signed(boot, built, repository):
    """rpm refuses, and so do dnf and zypper if they install a file. From the repository all of them install."""
    system = boot()
    put(system, repository)
    system.machine.run(ENFORCED)
    system.machine.copy_in(built.new("rpm"), "/root/unsigned.rpm")
    signed = f"{PLACE}/rpm/csulcca-8.0.0-1.noarch.rpm"
    for path in ("/root/unsigned.rpm", signed):
        assert system.machine.run(f"rpm -i {path}", check=False).rc != 0
        assert not system.machine.exists("/usr/lib/csulcca")
    system.machine.run(f"rpm --import {PLACE}/csulcca.asc && rpm -i {signed}")
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())
    system.machine.run("rpm -e csulcca && rpm -i --nosignature /root/unsigned.rpm")
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())
    system.machine.run("rpm -e csulcca")
    done = system.package(system.tools[0], "install", built.new("rpm"), check=False)
    said = done.out + done.err
    assert done.rc != 0 and re.search("no signature|not signed|Signature verification failed", said), said
    assert not system.machine.exists("/usr/lib/csulcca")
    done = install(system)
    assert done.rc == 0, done.out
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())


# The option is what SUSE's zypp.conf says of every dist-upgrade, unlike Debian's.
STICKS = ["zypper -n update", "zypper -n install csulcca", "zypper -n patch",
          "zypper -n dist-upgrade --no-allow-vendor-change"]  # fmt: skip
WAYS = {
    "the repository's file": f"cp {PLACE}/rpm/csulcca.vendors /etc/zypp/vendors.d/ && zypper -n update",
    "for once": "zypper -n update --allow-vendor-change csulcca",
    "for the whole system": "zypper -n dist-upgrade --allow-vendor-change",
    "the package itself": f"zypper -n install {PLACE}/rpm/csulcca-8.0.0-1.noarch.rpm",
}


@pytest.mark.scenario("repository")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.only(lambda cell: cell.package_manager == "zypper", "only zypper never changes the vendor by itself")
def test_zypper_goes_from_ibm_to_us_when_told_to(boot, repository, way, tmp_path):
    system = boot()
    old = cca73.build(tmp_path / "ibm", arch=system.cell.machine, formats=["rpm"], vendor="IBM Corporation").rpm
    system.package("rpm", "install", old)
    put(system, repository)
    system.machine.run("mkdir -p /etc/zypp/vendors.d && zypper --gpg-auto-import-keys refresh")
    for command in STICKS:
        assert system.machine.run(f"{command} <&- 2>&1", check=False).rc == 0
        assert system.show("rpm -q --qf '%{VERSION}' csulcca") == "7.3.0"
    system.machine.run(f"({WAYS[way]}) <&- 2>&1")
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])


@pytest.mark.scenario("repository")
@pytest.mark.only(lambda cell: cell.package_manager == "zypper", "the others look again after a time")
def test_zypper_sees_by_itself_what_is_published_later(boot, built, repository, publishers, tmp_path):
    system = boot()
    put(system, repository)
    assert install(system).rc == 0
    later = shutil.copytree(built.directory / "8.0.1", tmp_path / "later")
    upload(system, publishers["maintainer"].publish(later))
    system.machine.run("zypper -n update <&- 2>&1")
    assert system.show("rpm -q --qf '%{VERSION}' csulcca") == "8.0.1"


@pytest.mark.scenario("repository")
@pytest.mark.only(lambda cell: cell.package_manager == "zypper", "only zypper never changes the vendor by itself")
def test_zypper_needs_no_telling_where_the_vendor_is_the_same(boot, built, tmp_path, publishers):
    system = boot()
    old = cca73.build(tmp_path / "ibm", arch=system.cell.machine, formats=["rpm"], vendor="IBM Corporation").rpm
    system.package("rpm", "install", old)
    builder = [sys.executable, str(TREE / "tools/build_packages.py"), "--vendor", "IBM Corporation"]
    subprocess.run([*builder, "--output", str(tmp_path / "dist")], check=True, stdout=subprocess.DEVNULL)
    put(system, publishers["maintainer"].publish(tmp_path / "dist"))
    system.machine.run("(zypper --gpg-auto-import-keys refresh && zypper -n update) <&- 2>&1")
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])


UNATTENDED = "unattended-upgrades"
ALLOW = 'Unattended-Upgrade::Origins-Pattern { "origin=csulcca"; };\n'


@pytest.mark.scenario("unattended")
@pytest.mark.only(lambda cell: UNATTENDED in cell.recipe.get("packages", []), f"{UNATTENDED} is not in its image")
def test_7_3_is_upgraded_unattended(boot, built, repository):
    """Debian's own unattended-upgrade leaves out a package that would ask about a conffile; ours does not ask."""
    system = boot()
    system.package("dpkg", "install", built.old(system.cell, "careless"))
    system.machine.run("echo '# edited by the administrator' >> /etc/init.d/CSUTKEcat")
    put(system, repository)
    system.machine.write("/etc/apt/apt.conf.d/60csulcca", ALLOW)
    done = system.machine.run("(apt-get update && unattended-upgrade --verbose) <&- 2>&1")
    assert "Packages that will be upgraded: csulcca" in done.out, done.out
    assert system.show("dpkg-query -W -f '${Version} ${db:Status-Status}' csulcca") == "8.0.0-1 installed", done.out
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])


def flip(path: pathlib.Path) -> None:
    """One byte of the contents becomes another."""
    data = bytearray(path.read_bytes())
    data[len(data) * 3 // 4] ^= 1
    path.write_bytes(data)


def tamper_with_the_package(repository: pathlib.Path, _publishers: object) -> None:
    for package in (*repository.glob("deb/*.deb"), *repository.glob("rpm/*.rpm")):
        flip(package)


def tamper_with_package_and_index(repository: pathlib.Path, _publishers: object) -> None:
    """The unsigned parts agree with one another, and the signature does not fit."""
    tamper_with_the_package(repository, None)
    index = subprocess.check_output(["dpkg-scanpackages", "--multiversion", "."], cwd=repository / "deb",
                                    stderr=subprocess.DEVNULL)  # fmt: skip
    (repository / "deb/Packages").write_bytes(index)
    (repository / "deb/Packages.gz").write_bytes(gzip.compress(index))
    signature = (repository / "rpm/repodata/repomd.xml.asc").read_bytes()
    subprocess.run(["createrepo_c", "-q", "--no-database", str(repository / "rpm")], check=True)
    (repository / "rpm/repodata/repomd.xml.asc").write_bytes(signature)


def tamper_with_the_signed_file(repository: pathlib.Path, _publishers: object) -> None:
    for name in ("deb/InRelease", "deb/Release"):
        path = repository / name
        path.write_text(re.sub("(?m)^Suite: stable$", "Suite: stably", path.read_text()))
    path = repository / "rpm/repodata/repomd.xml"
    path.write_text(re.sub("<revision>.*</revision>", "<revision>1</revision>", path.read_text()))


def remove_the_signatures(repository: pathlib.Path, _publishers: object) -> None:
    for name in ("deb/InRelease", "deb/Release.gpg", "rpm/repodata/repomd.xml.asc"):
        (repository / name).unlink()


def sign_with_another_key(repository: pathlib.Path, publishers: "dict[str, Publisher]") -> None:
    """Everything is right except the key, which the administrator does not trust."""
    trusted = (repository / "csulcca.asc").read_bytes()
    publishers["stranger"].publish(repository.parent)
    (repository / "csulcca.asc").write_bytes(trusted)
    (repository / "rpm/repodata/repomd.xml.key").write_bytes(trusted)


REFUSED = [tamper_with_the_package, tamper_with_package_and_index, tamper_with_the_signed_file, remove_the_signatures,
           sign_with_another_key]  # fmt: skip


@pytest.mark.scenario("repository-refused")
@pytest.mark.parametrize("spoil", REFUSED)
def test_what_was_not_published_so_is_refused_and_nothing_installed(
    boot, repository, publishers, spoil: Callable[..., None]
):
    spoil(repository, publishers)
    system = boot(boot=False)
    put(system, repository)
    done = install(system)
    assert done.rc != 0, done.out
    assert re.search("(?i)signature|signed|hash sum|checksum", done.out), done.out
    assert not system.machine.exists("/usr/lib/csulcca/run")


@pytest.mark.scenario("repository-refused")
@pytest.mark.only(lambda cell: cell.family == "rpm", "the index vouches for a .deb, which has no signature")
def test_a_package_that_is_not_signed_itself_is_refused_even_in_a_signed_index(boot, repository, built, publishers):
    """For dnf and zypper. A .deb has no signature of its own: the signed index contains its hash."""
    system = boot(boot=False)
    (package,) = repository.glob("rpm/*.rpm")
    shutil.copyfile(built.new("rpm"), package)
    subprocess.run(["createrepo_c", "-q", "--no-database", str(repository / "rpm")], check=True)
    repomd = str(repository / "rpm/repodata/repomd.xml")
    publishers["maintainer"].gpg("--yes", "--armor", "--output", repomd + ".asc", "--detach-sign", repomd)
    put(system, repository)
    done = install(system)
    assert done.rc != 0, done.out
    assert "not signed" in done.out, done.out
    assert not system.machine.exists("/usr/lib/csulcca/run")


def test_sums_are_signed_and_a_changed_package_is_not_published(repository, publishers, tmp_path):
    dist = repository.parent
    subprocess.run(["gpg", "--batch", "--verify", "SHA256SUMS.asc", "SHA256SUMS"], cwd=dist, check=True,
                   env=publishers["maintainer"].environment, capture_output=True)  # fmt: skip
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=dist, check=True, capture_output=True)
    (deb,) = dist.glob("*.deb")
    flip(deb)
    with pytest.raises(subprocess.CalledProcessError) as failure:
        publishers["maintainer"].publish(dist)
    assert b"is not what SHA256SUMS says" in failure.value.stderr
