"""Where there is no systemd (in a container, say): the same modes, and the catcher started by hand serves."""

import pytest

from .system import CERTIFICATE, DAEMON, KEY

pytestmark = [
    pytest.mark.bare,
    pytest.mark.only(lambda cell: not cell.boot, "shown on the booted system, and in an image build"),
]

CHECK = "/opt/IBM/CCA/bin/CSUTKEcat check"
CLIENT = "import socket; s = socket.create_connection(('127.0.0.1', 50003), 10); s.sendall(b'x'); print('connected')"


@pytest.mark.scenario("fresh")
@pytest.mark.parametrize("tool", [0, 1], ids=["repository tool", "package tool"])
def test_a_fresh_installation_makes_its_pair_at_the_first_start(boot, built, tool):
    system = boot(boot=False)
    assert system.show("uname -m") == system.cell.machine
    system.package(system.tools[tool], "first install", built.new(system.cell.family))
    assert system.conf() == system.fresh_conf
    assert not system.machine.exists(KEY)
    told = system.status()["tls"]
    assert (told["possible"], told["version"][: len(system.cell.openssl)]) == (True, system.cell.openssl)
    assert system.machine.run("/usr/bin/python3 --version").out.startswith(f"Python {system.cell.python}.")

    # Not from ps, which shows the emulator where there is one.
    assert system.show(CHECK).endswith("argv: " + system.fresh_argv)
    system.start_by_hand()
    done = system.handshake_from_inside()
    assert done.rc == 0, done.out + done.err
    assert system.show(f"stat -c '%a %U:%G' {KEY} {CERTIFICATE}") == "600 root:root\n644 root:root"


@pytest.mark.scenario("upgrade-7.3")
@pytest.mark.parametrize("variant", ["normal", "careless"])
def test_an_upgrade_stays_in_tcp_mode(boot, built, variant):
    system = boot(boot=False)
    system.package(system.tools[1], "install", built.old(system.cell, variant))
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert system.conf() == b"TLS_OFF\n"
    assert "upgraded-tcp-kept" in system.findings()
    assert system.show(CHECK).endswith("argv: " + DAEMON)
    system.start_by_hand()
    assert system.machine.run(["python3", "-c", CLIENT]).out == "connected\n"


@pytest.mark.scenario("upgrade-8")
def test_the_next_8_x_keeps_mode_and_pair(boot, built):
    system = boot(boot=False)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.start_by_hand()
    kept = system.tree("/etc/cca", KEY, CERTIFICATE)
    system.package(system.tools[1], "install", built.new(system.cell.family, "8.0.1"))
    assert system.tree("/etc/cca", KEY, CERTIFICATE) == kept
    assert system.stamp()["package_version"] == "8.0.1"
