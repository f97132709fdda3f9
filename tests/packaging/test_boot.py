"""What each boot of a host does, on a machine with a kernel of its own: the first one of an image, and later ones."""

import functools
import os
import pathlib
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest

from tests.matrix import disks, images
from tests.matrix.disks import Image
from tests.matrix.qemu import VirtualMachine

from .soundness import assert_sound, wait_until_it_listens
from .system import CERTIFICATE, KEY, System
from .test_image_build import PRIVATE
from .test_upgrade import TOLD
from .workstation import ThroughPort

pytestmark = [
    pytest.mark.scenario("boot"),
    pytest.mark.only(lambda cell: cell.kind == "machine", "it has no boot of its own: the kernel is the build host's"),
]

# How long the first boot has no network, by the machine's clock.
LATE_S = 20
# systemd would wait for a network for 120 s.
IMPATIENT = """[Service]
ExecStart=
ExecStart=/lib/systemd/systemd-networkd-wait-online --timeout=60
"""

RESTARTS = "systemctl show -p NRestarts --value CSUTKEcat"
# systemd waits for two seconds then.
BETWEEN_ATTEMPTS = "until systemctl show -p SubState CSUTKEcat | grep -q auto-restart; do sleep 0.1; done"


@pytest.fixture(scope="module")
def golden(built, tmp_path_factory) -> Iterator[Callable[[images.Cell], Image]]:
    """golden(cell): an image with the package that has never been booted, like an image that is given to others."""
    top = tmp_path_factory.mktemp("golden")

    @functools.cache
    def make(cell: images.Cell) -> Image:
        images.ensure(cell)
        base = images.machine_image(cell)
        image = Image(top / cell.name, cell.machine, base.words)
        image.directory.mkdir()
        package = built.new(cell.family)

        def install(root: pathlib.Path) -> None:
            shutil.copy(package, root / "root")
            subprocess.run(disks.chroot(root, cell.machine, "dpkg", "-i", f"/root/{package.name}"), check=True)
            place = root / "etc/systemd/system/systemd-networkd-wait-online.service.d/impatient.conf"
            place.parent.mkdir()
            place.write_text(IMPATIENT)
            found = subprocess.run(["grep", "-rIlE", PRIVATE, str(root)], capture_output=True, text=True, check=False)
            assert (found.stdout, found.stderr) == ("", ""), "a key in an image is the same in every copy"
            # Otherwise systemd would set a clock of 1970 to the day on which systemd was built.
            epoch = root / "usr/lib/clock-epoch"
            epoch.touch()
            os.utime(epoch, (0, 0))
            (root / "etc/hostname").write_text("zlinux1\n")
            (root / "etc/hosts").write_text("127.0.0.1 localhost\n::1 localhost\n127.0.1.1 zlinux1\n")

        disks.make(base.directory.parent / "root.tar", image, change=install)
        return image

    yield make
    # pytest would keep it.
    shutil.rmtree(top)


@pytest.fixture
def first_boot(cell, golden):
    """Boot the cell's golden image: first_boot(link=True, ...) as VirtualMachine has it; use it in a `with`."""

    class Booted(VirtualMachine):
        @property
        def system(self) -> System:
            return System(self, cell, ThroughPort(self.forwarded))

    return functools.partial(Booted, str(golden(cell).directory), name="zlinux1")


def names_of(system: System) -> str:
    """The names and addresses in the certificate."""
    return system.show(f"openssl x509 -in {CERTIFICATE} -noout -ext subjectAltName")


def assert_no_profile_complains(system: System) -> None:
    """Assert that AppArmor is in force if the cell has it, and that it has denied nothing."""
    if "apparmor" not in system.cell.recipe["packages"]:
        return
    assert system.show("cat /sys/module/apparmor/parameters/enabled") == "Y"
    assert int(system.show("grep -c enforce /sys/kernel/security/apparmor/profiles")) > 0
    assert system.show("cat /var/log/audit/audit.log | grep -c apparmor=.DENIED") == "0"
    assert system.show("dmesg | grep -c apparmor=.DENIED") == "0"


def test_the_first_boots_of_one_image_make_different_pairs_with_the_addresses_of_each(first_boot):
    keys = []

    def late(machine):
        begun = float(machine.read("/proc/uptime").split()[0])
        machine.wait_for("that long without a network",
                         lambda: float(machine.read("/proc/uptime").split()[0]) > begun + LATE_S, LATE_S * 2)
        assert not machine.exists(KEY), "it was made without the addresses that the host is going to have"
        machine.plug_in()

    with first_boot(link=False, during_boot=late) as machine:
        system = machine.system
        assert_sound(system, "tls")
        assert f"IP Address:{machine.ip4}" in names_of(system)
        keys.append(machine.read(KEY))
        assert_no_profile_complains(system)

    with first_boot(clock="1970-01-01T00:00:00", ipv4=False) as machine:
        system = machine.system
        assert system.show("date +%Y") == "1970"
        # A pair that is made on that day would have expired: the start is refused, and tried again.
        machine.wait_for("a second attempt", lambda: int(system.show(RESTARTS)) > 0)
        assert "[clock-unset]" in machine.journal("CSUTKEcat")
        assert " status=75/" in system.show("journalctl -b -o cat _PID=1 UNIT=CSUTKEcat.service")
        assert not machine.exists(KEY)
        machine.run(f"{BETWEEN_ATTEMPTS}; date -s @{time.time():.0f}")
        wait_until_it_listens(system)
        assert system.service() == ("enabled", "active")
        assert f"ip address:{machine.ip6}" in names_of(system).lower()
        assert system.handshake_from_inside().rc == 0
        assert system.findings() == []
        keys.append(machine.read(KEY))

    assert keys[0] != keys[1]


def test_a_first_boot_without_a_network_and_a_root_that_becomes_read_only(first_boot):
    with first_boot(link=False) as machine:
        system = machine.system
        wait_until_it_listens(system)
        assert system.argv() == system.fresh_argv
        assert "DNS:zlinux1" in names_of(system) and "IP Address" not in names_of(system)
        assert system.handshake_from_inside().rc == 0
        key = machine.read(KEY)

        machine.run("sed -i 's/ defaults / ro /' /etc/fstab")
        machine.plug_in()
        machine.reboot()
        assert machine.run("touch /etc/x", check=False).rc != 0
        assert_sound(system, "tls")
        assert machine.read(KEY) == key

        machine.run("mount -o remount,rw / && rm /opt/IBM/CCA/bin/catcher.key /opt/IBM/CCA/bin/catcher.crt")
        # A program may have a file open for writing just then.
        machine.wait_for("a root that is read-only", lambda: machine.run("mount -o remount,ro /", check=False).rc == 0)
        assert machine.run("systemctl restart CSUTKEcat", check=False).rc == 1
        assert system.service()[1] in ("failed", "activating")
        assert "[pair-not-generated]" in machine.journal("CSUTKEcat")
        machine.run("mount -o remount,rw / && systemctl restart CSUTKEcat")
        assert_sound(system, "tls")


@pytest.mark.scenario("reboot")
@pytest.mark.parametrize("history", ["first installation", "upgrade from 7.3"])
def test_a_boot_after_the_installation_serves_in_the_same_mode(boot, built, history):
    system = boot(durable=True)
    mode, findings = "tls", []
    if history == "upgrade from 7.3":
        system.package("dpkg", "install", built.old(system.cell))
        mode, findings = "tcp", TOLD
    system.package("dpkg", "install", built.new(system.cell.family))
    before = system.tree("/etc/cca", "/opt/IBM/CCA/bin")

    system.machine.reboot()

    assert int(system.show("date +%s")) > time.time() - 3600, "at the time of the snapshot no pair of today is valid"
    assert_sound(system, mode, findings=findings)
    assert system.tree("/etc/cca", "/opt/IBM/CCA/bin") == before
    assert_no_profile_complains(system)
