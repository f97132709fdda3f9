"""Packages that were built from a vendor's package, on systems of each family."""

import pathlib

import pytest

from tests.fixtures import vendor8
from tests.matrix import images

from . import packages
from .marks import needs_tls, one_of_each_family
from .soundness import assert_sound
from .system import CERTIFICATE, handshake

LIBRARY = {"deb": "/usr/lib/libcsulcca.so", "rpm": "/usr/lib64/libcsulcca.so"}


@pytest.fixture
def vendors(cell: images.Cell) -> dict[str, pathlib.Path]:
    """Our packages for the cell, made from the vendor's; see packages.from_vendor()."""
    return packages.from_vendor(cell.machine)


@pytest.mark.scenario("vendor-payload")
@needs_tls
def test_a_vendors_files_are_installed_as_the_vendor_had_them_and_serve_tls(boot, vendors):
    system = boot()
    family = system.cell.family
    system.package(system.tools[0], "first install", vendors[family])

    assert_sound(system, "tls")
    assert system.conf() == b"TLS_ON\n"
    done = handshake(system.workstation.machine, system.machine, "zlinux1", system.machine.read(CERTIFICATE))
    assert done.rc == 0, done.out + done.err
    assert_as_the_vendor_had_it(system)
    assert system.machine.run("getcap /opt/IBM/CCA/bin/ivp.e").out.split()[1] == "cap_net_raw=ep"


def assert_as_the_vendor_had_it(system):
    """The package has the vendor's groups, owners, modes, links and library, and none of the vendor's scriptlets."""
    shown = system.show("cd /opt/IBM/CCA && stat -c '%n %a %U:%G' bin/panel.exe bin/loadmk.e keys")
    assert shown.splitlines() == [
        "bin/panel.exe 750 root:cca_admin", "bin/loadmk.e 2755 root:cca_setmk", "keys 2770 root:cca_admin"]
    groups = system.show("cut -d : -f 1 /etc/group").split()
    assert {"cca_admin", "cca_clrmk", "cca_lfmkp", "cca_cmkp", "cca_setmk"} <= set(groups)
    assert system.show("readlink -f /opt/ibm/cca") == "/opt/IBM/CCA"
    assert system.show("readlink " + LIBRARY[system.cell.family]) == "libcsulcca.so.8.2.54"
    library = LIBRARY[system.cell.family]
    if system.cell.family == "deb":
        # Found by name alone. (A look-alike has Debian's linker, which does not look in /usr/lib64.)
        library = library.rpartition("/")[2]
    system.machine.run(["python3", "-c", "import ctypes, sys; ctypes.CDLL(sys.argv[1])", library])
    assert not system.machine.exists(vendor8.MARK)
    assert not system.machine.exists("/etc/init.d/CSUTKEcat")
    system.machine.run("cmp /opt/IBM/CCA/bin/CSUTKEcat /usr/lib/csulcca/run")


@pytest.mark.scenario("vendor-payload")
@pytest.mark.bare
@pytest.mark.only(lambda cell: not cell.boot, "shown on the booted system")
def test_a_vendors_files_are_installed_and_serve_tls_without_systemd(boot, vendors):
    """On s390x, among others: the payload's library is one for s390x, and is loaded there."""
    system = boot(boot=False)
    system.package(system.tools[1], "install", vendors[system.cell.family])
    assert_as_the_vendor_had_it(system)
    assert system.conf() == b"TLS_ON\n"
    system.start_by_hand()
    done = system.handshake_from_inside()
    assert done.rc == 0, done.out + done.err


@pytest.mark.scenario("vendor-replaced")
@one_of_each_family
def test_a_vendors_replaces_a_vendors_and_the_reference_must_not(boot, built, vendors):
    system = boot()
    family = system.cell.family
    system.package(system.tools[1], "install", built.old(system.cell, "host-library"))
    system.package(system.tools[1], "install", vendors[family])
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])
    assert_as_the_vendor_had_it(system)

    system.package(system.tools[0], "install", vendors["next " + family])
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])
    assert_as_the_vendor_had_it(system)
    assert system.stamp()["package_version"] == "8.2.54"

    before = system.tree("/opt", "/usr/lib/csulcca")
    done = system.package(system.tools[1], "downgrade", built.new(family), check=False)
    assert done.rc != 0
    assert "make packages PAYLOAD=" in done.out + done.err
    assert system.tree("/opt", "/usr/lib/csulcca") == before


@pytest.mark.scenario("vendor-replaced")
@pytest.mark.only(lambda cell: cell.family == "deb", "rpm has no statoverride")
@one_of_each_family
def test_an_administrators_statoverride_stands(boot, vendors):
    """rpm has no statoverrides."""
    system = boot()
    system.package("dpkg", "install", vendors["deb"])
    system.machine.run("dpkg-statoverride --update --add root root 0700 /opt/IBM/CCA/bin/panel.exe")
    system.package("dpkg", "install", vendors["next deb"])
    assert system.show("stat -c '%a %U:%G' /opt/IBM/CCA/bin/panel.exe") == "700 root:root"


@pytest.mark.scenario("vendor-payload")
def test_removal_keeps_the_groups_and_the_key_storage(boot, vendors):
    system = boot()
    system.package(system.tools[1], "install", vendors[system.cell.family])
    system.machine.write("/opt/IBM/CCA/keys/aes.keys", b"k")
    system.package(system.tools[1], "remove")
    assert system.machine.read("/opt/IBM/CCA/keys/aes.keys") == b"k"
    assert "cca_admin" in system.show("cat /etc/group")
    assert not system.machine.exists(LIBRARY[system.cell.family])
