"""The system beneath the package becomes the next Debian, by apt full-upgrade, which is interrupted once."""

import contextlib
import os
import pathlib
import subprocess

import pytest

from tests.matrix import images
from tests.matrix.machine import Machine

from .soundness import assert_sound, wait_until_it_listens
from .system import CERTIFICATE, CONF, KEY, System

PLACE = "/srv/next"
APT = ("env DEBIAN_FRONTEND=noninteractive apt-get -y -o APT::Get::AllowUnauthenticated=true -o Dpkg::Use-Pty=0 "
       "-o Dpkg::Options::=--force-confold -o APT::Sandbox::User=root full-upgrade")  # fmt: skip
# Our hooks run with another Python from here on.
HALF_WAY = " status unpacked python3:"
# What an administrator types after that: a package that was being unpacked needs its file again.
MEND = (
    "env DEBIAN_FRONTEND=noninteractive dpkg --force-confold --configure -a",
    "for name in $(dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | sed -n 's/^..R//p'); do "
    f"dpkg -i {PLACE}/${{name}}_*.deb; done",
    APT.replace("full-upgrade", "-f install"),
    APT,
)
# For mmdebstrap: what apt would install on a host whose status file is $STATUS, into $PACKAGES.
DOWNLOAD = ('--setup-hook=cp "$STATUS" "$1/var/lib/dpkg/status"',
            '--customize-hook=export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" && apt-get -qq -y --download-only '
            '-o APT::Sandbox::User=root full-upgrade && cp "$1"/var/cache/apt/archives/*.deb "$PACKAGES"')  # fmt: skip
UPGRADE_TIMEOUT_S = 1200

pytestmark = [
    pytest.mark.scenario("system-upgrade"),
    pytest.mark.only(lambda cell: bool(cell.next), "other systems show it"),
    pytest.mark.only(lambda cell: "MATRIX_CELLS" in os.environ, "it takes minutes: make matrix alone runs it"),
]


@pytest.fixture
def packages_of_next(cell: images.Cell, tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory with all packages that the cell's image lacks to be the next Debian, and their index."""
    with Machine(images.ensure(cell), boot=False) as machine:
        (tmp_path / "status").write_bytes(machine.read("/var/lib/dpkg/status"))
    found = tmp_path / "packages"
    found.mkdir()
    command = ["mmdebstrap", "--variant=custom", "--format=null", *DOWNLOAD, *images.host_apt_options(),
               images.cell(cell.next).recipe["suite"], "-", *images.mirror()]  # fmt: skip
    told = {"STATUS": str(tmp_path / "status"), "PACKAGES": str(found), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    subprocess.run(command, env=told, check=True)
    with open(found / "Packages", "wb") as index:
        subprocess.run(["dpkg-scanpackages", "--multiversion", "."], cwd=found, stdout=index, check=True)
    return found


def test_mode_pair_and_service_survive_the_next_debian(cell, built, workstation, packages_of_next):
    upgraded = images.cell(cell.next)
    assert workstation.machine
    with contextlib.ExitStack() as stack:
        machine = stack.enter_context(Machine(images.ensure(cell), name="zlinux1", network=workstation.network,
                                              durable=True, volumes={PLACE: str(packages_of_next)}))  # fmt: skip
        system = System(machine, cell, workstation)
        system.package("dpkg", "install", built.new("deb"))
        assert_sound(system, "tls")
        ours = (KEY, CERTIFICATE, CONF)
        before = [machine.read(path) for path in ours]
        machine.write("/etc/apt/sources.list", f"deb [trusted=yes] file:{PLACE} ./\n")
        machine.run("apt-get -q update")

        machine.run(f"setsid sh -c 'echo $$ >/run/upgrade; {APT}; touch /run/ended' >/root/upgrade.log 2>&1 <&- &")

        def is_half_way() -> bool:
            assert not machine.exists("/run/ended"), system.show("tail -n 30 /root/upgrade.log")
            return HALF_WAY in system.show("cat /var/log/dpkg.log")

        machine.wait_for("a new python3", is_half_way, UPGRADE_TIMEOUT_S)
        machine.run("pkill -KILL -s $(cat /run/upgrade)")
        assert machine.run("dpkg --audit").out, "it was to be interrupted"
        for command in MEND:
            done = machine.run(command + " <&-", check=False, timeout=UPGRADE_TIMEOUT_S)
        assert done.rc == 0, done.out + done.err
        assert f"VERSION_CODENAME={upgraded.recipe['suite']}" in machine.read("/etc/os-release").decode()

        system = System(machine, upgraded, workstation)
        assert_sound(system, "tls")
        machine.reboot()
        wait_until_it_listens(system)
        assert system.service() == ("enabled", "active")
        assert system.argv() == system.fresh_argv
        # The engine may have given it another address.
        assert set(system.findings()) <= {"pair-names-stale"}
        assert [machine.read(path) for path in ours] == before
        assert system.status()["tls"]["version"].startswith(upgraded.openssl)
        assert machine.run("/usr/bin/python3 --version").out.startswith(f"Python {upgraded.python}")
