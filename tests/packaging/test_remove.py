"""What a removal may leave and what it must not leave: the whole system is compared with keep_list.py."""

import pytest

from .keep_list import left_over, missing, whole_tree
from .marks import needs_tls, one_of_each_family, only_deb, only_rpm
from .soundness import wait_until_it_listens
from .system import CERTIFICATE, KEY, set_immutable
from .turns import TOOLS, in_turns, one_of

VERBS = ["remove", "purge"]
UNITS = "'CSUTKEcat*' 'csulcca*'"


@pytest.mark.scenario("remove")
@pytest.mark.parametrize("verb,tool", one_of(VERBS, TOOLS))
def test_nothing_is_left_but_what_is_declared(boot, built, verb, tool):
    assert_nothing_is_left(boot(), built, None, verb, tool)


@pytest.mark.scenario("remove-upgraded")
@pytest.mark.parametrize("variant,tool,verb", in_turns(["normal", "careless"], TOOLS, VERBS))
def test_nothing_is_left_of_7_3_but_what_is_declared(boot, built, variant, tool, verb):
    system = boot()
    assert_nothing_is_left(system, built, built.old(system.cell, variant), verb, tool)


def assert_nothing_is_left(system, built, old, verb, tool):
    """The whole system is as it was before, except for what keep_list.py declares. old: what is upgraded, or None."""
    family, tool = system.cell.family, system.tools[TOOLS[tool]]
    before = whole_tree(system)
    if old is not None:
        system.package(tool, "install", old)
    system.package(tool, "install", built.new(family))
    if system.cell.mode == "TLS":
        system.machine.run("catcherctl mode tls")

    system.package(tool, verb)

    after = whole_tree(system)
    assert left_over(before, after, verb, family, was_7_3=old is not None) == {}
    if system.cell.mode == "TLS":
        assert missing(after, verb, family) == []
    assert system.service()[1] == "inactive"
    assert ":50003" not in system.show("ss -Hltn")
    assert system.show("pgrep -f [c]atcher.exe") == ""
    assert system.show(f"systemctl list-units --all --plain --no-legend --state=loaded {UNITS}") == ""


@pytest.mark.scenario("remove")
@needs_tls
@pytest.mark.parametrize("name", [KEY, CERTIFICATE], ids=lambda one: one.rpartition(".")[2])
def test_a_purge_that_cannot_remove_one_file_leaves_both(boot, built, name):
    """chattr +i makes the file immutable. When it no longer is, the next purge leaves no private key that we made."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    pair = system.machine.read(KEY), system.machine.read(CERTIFICATE)
    set_immutable(system, name, True)
    system.package(system.tools[1], "purge", check=False)
    assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == pair
    assert left_of_pairs(system) == {KEY, CERTIFICATE}
    set_immutable(system, name, False)

    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("catcherctl cert generate --force && catcherctl cert request --out /root/my.csr")
    kept = left_of_pairs(system)
    assert len(kept) == 5, kept
    system.package(system.tools[1], "purge")
    # Of the first pair, too: the first purge could not remove it, and kept the proof that it is ours. rpm has no purge.
    assert left_of_pairs(system) == (set() if system.cell.family == "deb" else kept)


@pytest.mark.scenario("remove")
@only_deb
@one_of_each_family
def test_a_removal_that_is_cancelled_leaves_the_service_as_it_was(boot, built):
    """Another package's script has the same effect as a prerm that fails after ours: dpkg cancels the removal."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    wait_until_it_listens(system)
    system.machine.run("echo 'exit 1' >>/var/lib/dpkg/info/csulcca.prerm")
    for command, state in (("true", ("enabled", "active")), ("systemctl stop CSUTKEcat", ("enabled", "inactive")),
                           ("systemctl disable CSUTKEcat", ("disabled", "inactive")),
                           ("systemctl start CSUTKEcat", ("disabled", "active"))):
        system.machine.run(command)
        assert system.service() == state
        assert system.machine.run("dpkg -r csulcca", check=False).rc != 0
        assert system.service() == state
        assert system.machine.run("test -e /run/csulcca-ran", check=False).rc != 0
    wait_until_it_listens(system)


@pytest.mark.scenario("remove")
@only_deb
@one_of_each_family
@pytest.mark.parametrize("verb", VERBS)
def test_a_removal_of_what_was_only_unpacked_ends_the_daemon(boot, built, verb):
    """`apt-get -f install` removes a package that lacks a dependency. dpkg calls no prerm of it."""
    system = boot()
    system.package("dpkg", "install", built.new("deb"))
    wait_until_it_listens(system)
    new = built.new("deb", "8.0.1")
    system.machine.copy_in(new, "/root/")
    system.machine.run(f"dpkg --unpack /root/{new.name}")
    assert system.service() == ("enabled", "active")
    system.package("dpkg", verb)
    assert system.show("pgrep -f [c]atcher.exe") == ""
    assert system.show(f"systemctl list-units --all --plain --no-legend --state=loaded {UNITS}") == ""
    assert system.conf() == b"TLS_ON\n" and system.machine.exists(KEY)


def left_of_pairs(system):
    """Return each file in the directory of the programs that is a key, a certificate, or a draft of them."""
    found = system.show("find /opt/IBM -name 'catcher.key*' -o -name 'catcher.crt*' -o -name '.catcher-pair*'")
    return set(found.splitlines())


@pytest.mark.scenario("remove")
@needs_tls
def test_an_administrators_pair_is_left(boot, built):
    """A purge keeps it, too. The administrator's pair is our key, and our certificate with a remark in the file."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    own = b"from our own CA\n" + system.machine.read(CERTIFICATE)
    system.machine.write(CERTIFICATE, own)
    key = system.machine.read(KEY)
    system.package(system.tools[1], "purge")
    assert system.machine.read(CERTIFICATE) == own
    assert system.machine.read(KEY) == key


@pytest.mark.scenario("remove")
@only_rpm
@one_of_each_family
def test_an_installation_after_a_removal_that_was_killed_leaves_the_service_as_it_was(boot, built):
    """The removal is killed after %preun has stopped and disabled the service and the timer."""
    system = boot()
    system.package(system.tools[1], "install", built.new("rpm"))
    wait_until_it_listens(system)
    timer = "systemctl is-enabled csulcca-check.timer"
    was = system.service(), system.show(timer)
    system.machine.run("rpm -q --scripts csulcca | sed -n '/^preuninstall scriptlet/,/^postuninstall /{//!p}' "
                       ">/root/preun && sh /root/preun 0")
    assert system.service() == ("disabled", "inactive")
    system.package("rpm", "reinstall", built.new("rpm"))
    assert (system.service(), system.show(timer)) == was
    wait_until_it_listens(system)
    assert system.machine.run("test -e /run/csulcca-ran", check=False).rc != 0


@pytest.mark.scenario("remove")
@only_rpm
@one_of_each_family
def test_a_boot_between_a_removal_that_was_killed_and_an_installation(boot, built):
    """The boot would have started what was enabled, and nothing else."""
    system = boot(durable=True)
    system.package(system.tools[1], "install", built.new("rpm"))
    wait_until_it_listens(system)
    system.machine.run("rpm -q --scripts csulcca | sed -n '/^preuninstall scriptlet/,/^postuninstall /{//!p}' "
                       ">/root/preun")
    for command, state, wanted in (
            ("true", ("enabled", "active"), ("enabled", "active")),
            ("systemctl stop CSUTKEcat", ("enabled", "inactive"), ("enabled", "active")),
            ("systemctl disable CSUTKEcat", ("disabled", "active"), ("disabled", "inactive"))):
        system.machine.run(command)
        assert system.service() == state
        system.machine.run("sh /root/preun 0")
        system.machine.reboot()
        assert system.service() == ("disabled", "inactive")
        system.package("rpm", "reinstall", built.new("rpm"))
        assert system.service() == wanted
        assert system.show("systemctl is-enabled csulcca-check.timer") == "enabled"
        assert system.machine.run("ls /run/csulcca-ran /var/lib/csulcca/before-removal", check=False).out == ""


@pytest.mark.scenario("remove")
@only_deb
@one_of_each_family
def test_a_configuration_after_a_removal_that_was_killed_leaves_the_service_as_it_was(boot, built):
    """The removal is killed after prerm has stopped the service. `dpkg --configure` then calls only postinst."""
    system = boot()
    system.package(system.tools[1], "install", built.new("deb"))
    wait_until_it_listens(system)
    system.machine.run("echo 'kill -9 $PPID' >>/var/lib/dpkg/info/csulcca.prerm")
    for command, state in (("true", ("enabled", "active")), ("systemctl stop CSUTKEcat", ("enabled", "inactive"))):
        system.machine.run(command)
        system.machine.run("dpkg -r csulcca", check=False)
        assert system.service() == ("enabled", "inactive")
        system.machine.run("dpkg --configure csulcca")
        assert system.service() == state
        assert system.machine.run("test -e /run/csulcca-ran", check=False).rc != 0
