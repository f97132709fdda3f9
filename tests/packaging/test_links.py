"""Directories that an administrator has replaced by links stay links, and their targets stay, whatever is removed."""

import pytest

from .marks import needs_tls, only_deb
from .soundness import assert_sound
from .system import CERTIFICATE, CONF, KEY

# Sets of directories. Those of a set are moved below /data together.
LINKED = {
    "configuration and state": ("/etc/cca", "/var/lib/csulcca"),
    "opt": ("/opt",),
    "IBM": ("/opt/IBM", "/etc/cca", "/var/lib/csulcca"),
    "CCA": ("/opt/IBM/CCA",),
    "bin": ("/opt/IBM/CCA/bin", "/etc/cca"),
    "ibm": ("/opt/ibm",),
}
REMOVALS = {"deb": ("dpkg -r csulcca", "dpkg -P csulcca"), "rpm": ("rpm -e csulcca", "rpm -e --noscripts csulcca")}


def make_links(system, directories):
    for directory in directories:
        name = directory.rpartition("/")[2]
        system.machine.run(f"mkdir -p /data && mv {directory} /data/ && ln -s /data/{name} {directory}")


def links(system, directories):
    return {one: system.show(f"readlink {one}") for one in directories}


@pytest.mark.scenario("remove")
@needs_tls
@pytest.mark.parametrize("linked", sorted(LINKED))
@pytest.mark.parametrize("number", [0, 1], ids=["removal", "harder removal"])
def test_links_mode_and_pair_survive_a_removal(boot, built, linked, number):
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("catcherctl mode tcp")
    # An administrator's, which no purge removes.
    system.machine.write(CERTIFICATE, b"ours\n" + system.machine.read(CERTIFICATE))
    pair = system.machine.read(KEY), system.machine.read(CERTIFICATE)
    system.machine.run("systemctl stop CSUTKEcat")
    make_links(system, LINKED[linked])
    before = links(system, LINKED[linked])
    system.machine.run(REMOVALS[system.cell.family][number] + " <&-")
    assert links(system, LINKED[linked]) == before
    assert system.machine.read(CONF) == b"TLS_OFF\n"
    assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == pair
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert links(system, LINKED[linked]) == before
    assert system.machine.read(CONF) == b"TLS_OFF\n"
    assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == pair
    assert system.show("ls -d /var/lib/csulcca.links") == ""


@pytest.mark.scenario("remove")
@needs_tls
def test_links_survive_where_nothing_is_left_behind_them(boot, built):
    """Without a pair, the target of the link is an empty directory."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("systemctl stop CSUTKEcat")
    make_links(system, LINKED["IBM"])
    before = links(system, LINKED["IBM"])
    system.package(system.tools[1], "purge")
    if system.cell.family == "rpm":
        system.machine.run(f"rm {KEY} {CERTIFICATE}")
    assert links(system, LINKED["IBM"]) == before


# If nothing else of ours is left, a file keeps dpkg from removing a link above an empty directory.
LEFT_BEHIND = {
    "configuration and state": {"cca/catcher.conf"},
    "opt": {"opt/IBM/CCA/bin/.keep"},
    "IBM": {"cca/catcher.conf", "IBM/CCA/bin/.keep"},
    "CCA": {"CCA/bin/.keep"},
    "bin": {"cca/catcher.conf"},
    "ibm": set(),
}


@only_deb
@pytest.mark.scenario("remove")
@needs_tls
@pytest.mark.parametrize("linked", sorted(LINKED))
def test_a_purge_leaves_links_and_nothing_else_behind_them(boot, built, linked):
    """The pair is ours and is removed. After another installation and purge, nothing more is left."""
    system = boot()
    for _ in range(2):
        system.package("dpkg", "install", built.new("deb"))
        if not system.machine.exists("/data"):
            system.machine.run("systemctl stop CSUTKEcat")
            make_links(system, LINKED[linked])
            before = links(system, LINKED[linked])
        assert system.machine.exists(KEY) and system.machine.exists(CERTIFICATE)
        system.package("dpkg", "purge")
        assert links(system, LINKED[linked]) == before
        left = system.show("find /data -mindepth 1 -not -type d -printf '%P\\n'").splitlines()
        assert set(left) == LEFT_BEHIND[linked]
        assert not system.machine.exists("/var/lib/csulcca.links")


@pytest.mark.scenario("upgrade-7.3")
@needs_tls
@pytest.mark.parametrize("linked", [("/opt/IBM",), ("/opt/IBM/CCA/keys", "/opt/IBM/CCA/doc", "/opt/ibm")],
                         ids=["all", "what is not ours"])
def test_links_survive_the_upgrade_from_7_3(boot, built, linked):
    """rpm erases 7.3, which owns the directories, after it installs our files. dpkg removes those that we lack."""
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell, "normal"))
    make_links(system, linked)
    before = links(system, linked)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert links(system, linked) == before
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])


@pytest.mark.scenario("remove")
def test_an_existing_directory_keeps_its_mode_at_boot(boot, built):
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("chmod 0750 /etc/cca && rm -rf /var/lib/csulcca")
    system.machine.run("systemd-tmpfiles --create /usr/lib/tmpfiles.d/csulcca.conf")
    assert system.show("stat -c %a /etc/cca /var/lib/csulcca") == "750\n755"
