"""What removal leaves, and what it must not."""

import pytest

from .system import CERTIFICATE, CONF, KEY

WATCHED = ("/etc", "/opt", "/usr", "/var/lib", "/run/csulcca", "/lib/systemd")
# What package managers, systemd and the dynamic linker note for themselves.
NOT_OURS = ("/var/lib/dpkg", "/var/lib/rpm", "/var/lib/dnf", "/var/lib/apt", "/var/lib/systemd", "/etc/ld.so.cache",
            "/usr/lib/sysimage", "/var/lib/ucf", "/etc/machine-id", "/var/lib/private",
            # A directory that every rpm distribution has and the look-alike lacks.
            "/usr/share/licenses")  # fmt: skip
# debhelper leaves it to purge, so that a service that was enabled comes back enabled.
ENABLED = "/etc/systemd/system/multi-user.target.wants/CSUTKEcat.service"
# A conffile, which dpkg too leaves to purge.
UFW = ("/etc/ufw", "/etc/ufw/applications.d", "/etc/ufw/applications.d/csulcca")


def left_over(before, after):
    return sorted(path for path in after.keys() - before.keys() if not path.startswith(NOT_OURS))


@pytest.mark.scenario("remove")
def test_removal_keeps_the_mode_and_a_pair_and_nothing_else(boot, built):
    system = boot()
    before = system.tree(*WATCHED)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.package(system.tools[1], "remove")
    after = system.tree(*WATCHED)
    kept = ["/etc/cca", CONF, "/opt/IBM", "/opt/IBM/CCA", "/opt/IBM/CCA/bin", CERTIFICATE, KEY, "/var/lib/csulcca",
            "/var/lib/csulcca/state.json", *([ENABLED, *UFW] if system.cell.family == "deb" else [])]  # fmt: skip
    assert left_over(before, after) == sorted(kept)
    assert not before.keys() - after.keys()
    assert system.service()[1] == "inactive"
    assert ":50003" not in system.show("ss -Hltn")


@pytest.mark.scenario("remove")
@pytest.mark.only(lambda cell: cell.family == "deb", "rpm has no purge")
def test_purge_takes_our_own_pair_and_keeps_the_mode(boot, built):
    """rpm has no purge."""
    system = boot()
    before = system.tree(*WATCHED)
    system.package("dpkg", "install", built.new("deb"))
    system.package("dpkg", "purge")
    assert left_over(before, system.tree(*WATCHED)) == ["/etc/cca", CONF]


@pytest.mark.scenario("remove")
def test_purge_leaves_an_administrators_pair(boot, built):
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    # The administrator's: the same key, and the certificate file with a remark in it.
    own = b"from our own CA\n" + system.machine.read(CERTIFICATE)
    system.machine.write(CERTIFICATE, own)
    key = system.machine.read(KEY)
    system.package(system.tools[1], "purge")
    assert system.machine.read(CERTIFICATE) == own
    assert system.machine.read(KEY) == key


@pytest.mark.scenario("erase-install")
def test_the_mode_is_used_by_the_next_installation(boot, built):
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("catcherctl mode tcp")
    system.package(system.tools[1], "purge")
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert system.conf() == b"TLS_OFF\n"
    assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe"
    assert system.findings() == []
