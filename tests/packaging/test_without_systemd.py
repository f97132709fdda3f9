"""Without systemd, for example in a container, the modes are the same, and a catcher started by hand serves."""

import platform

import pytest

from .keep_list import left_over, missing, whole_tree
from .soundness import assert_seen_from_outside
from .system import CERTIFICATE, DAEMON, KEY

pytestmark = [
    pytest.mark.bare,
    pytest.mark.only(lambda cell: not cell.boot, "shown on the booted system, and in an image build"),
]

CHECK = "/opt/IBM/CCA/bin/CSUTKEcat check"
BOTH_TOOLS = pytest.mark.parametrize("tool", [0, 1], ids=["repository tool", "package tool"])


@pytest.fixture
def system(boot, workstation):
    """A machine without an init, and with a network for the workstation to look at it."""
    return boot(boot=False, network=workstation.network)


def assert_serves(system, mode, findings=()):
    """Assert that the catcher, started by hand, speaks this mode to the workstation, and that status agrees, as far as
    it can see: under an emulator, the kernel shows the emulator as the program."""
    emulated = system.cell.machine != platform.machine()
    assert system.show(CHECK).endswith("argv: " + DAEMON + " -tls" * (mode == "tls"))
    system.start_by_hand()
    status = system.status()
    assert sorted(one["id"] for one in status["findings"]) == sorted([*findings, *["port-taken"] * emulated])
    assert status["mode"] == {"configured": mode, "running": None if emulated else mode, "agree": not emulated}
    assert_seen_from_outside(system, mode, status["pair"]["sha256"])


@pytest.mark.scenario("fresh")
@BOTH_TOOLS
def test_a_fresh_installation_makes_its_pair_at_the_first_start(system, built, tool):
    assert system.show("uname -m") == system.cell.machine
    system.package(system.tools[tool], "first install", built.new(system.cell.family))
    assert system.conf() == system.fresh_conf
    assert not system.machine.exists(KEY)
    told = system.status()["tls"]
    assert (told["possible"], told["version"][: len(system.cell.openssl)]) == (True, system.cell.openssl)
    assert system.machine.run("/usr/bin/python3 --version").out.startswith(f"Python {system.cell.python}.")

    assert_serves(system, "tls")
    done = system.handshake_from_inside()
    assert done.rc == 0, done.out + done.err
    assert system.show(f"stat -c '%a %U:%G' {KEY} {CERTIFICATE}") == "600 root:root\n644 root:root"


@pytest.mark.scenario("upgrade-7.3")
@pytest.mark.parametrize("variant", ["normal", "careless"])
def test_an_upgrade_stays_in_tcp_mode(system, built, variant):
    system.package(system.tools[1], "install", built.old(system.cell, variant))
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert system.conf() == b"TLS_OFF\n"
    assert_serves(system, "tcp", ["upgraded-tcp-kept"])


@pytest.mark.scenario("upgrade-8")
def test_the_next_8_x_keeps_mode_and_pair(system, built):
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.start_by_hand()
    kept = system.tree("/etc/cca", KEY, CERTIFICATE)
    system.package(system.tools[1], "install", built.new(system.cell.family, "8.0.1"))
    assert system.tree("/etc/cca", KEY, CERTIFICATE) == kept
    assert system.stamp()["package_version"] == "8.0.1"


@pytest.mark.scenario("erase-install-7.3")
def test_7_3_removed_and_8_installed_stays_in_tcp(system, built):
    tool = system.tools[1]
    system.package(tool, "install", built.old(system.cell, "careless"))
    system.package(tool, "remove")
    system.package(tool, "install", built.new(system.cell.family))
    assert_serves(system, "tcp", ["upgraded-tcp-kept"])


@pytest.mark.scenario("remove")
def test_nothing_is_left_but_what_is_declared(system, built):
    family, tool = system.cell.family, system.tools[1]
    before = whole_tree(system)
    system.package(tool, "install", built.new(family))
    system.start_by_hand()
    for verb in ("remove", "purge"):
        system.package(tool, verb)
        after = whole_tree(system)
        assert left_over(before, after, verb, family) == {}
        assert missing(after, verb, family) == []
