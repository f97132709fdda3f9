"""From CCA 7.3 to 8.0: nothing lost, the mode and the service's state kept."""

import pytest

from .system import CERTIFICATE, CONF, handshake, talk_tcp

OLD = ["normal", "careless"]


def assert_legacy_script_is_retired(system):
    assert system.show("find /etc/rc*.d /etc/rc.d -name '[SK]??CSUTKEcat' 2>/dev/null") == ""
    assert not system.machine.exists("/etc/init.d/CSUTKEcat")


@pytest.mark.scenario("upgrade-7.3")
@pytest.mark.parametrize("variant", OLD)
@pytest.mark.parametrize("tool", [0, 1], ids=["repository tool", "package tool"])
def test_running_in_tcp_stays_running_in_tcp_then_tls_is_one_command(pair, built, variant, tool):
    system, client = pair
    system.package(system.tools[tool], "install", built.old(system.cell.family, variant))
    assert system.service() == ("enabled", "active")
    assert "ping" in talk_tcp(client, system.machine).out

    system.package(system.tools[tool], "install", built.new(system.cell.family))

    assert system.service() == ("enabled", "active")
    assert system.conf() == b"TLS_OFF\n"
    assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe"
    assert talk_tcp(client, system.machine).out.startswith("connected")
    assert system.findings() == ["upgraded-tcp-kept"]
    assert "catcherctl mode tls" in system.machine.run("catcherctl status", check=False).out
    assert_legacy_script_is_retired(system)
    assert system.machine.exists("/opt/ibm/cca/bin/catcher.exe")
    if system.cell.family == "rpm":
        assert system.machine.exists("/opt/IBM/CEX3C/bin/catcher.exe")
    assert "cca_admin" in system.show("cat /etc/group")

    system.machine.run("catcherctl mode tls", check=False)
    system.machine.wait_for("TLS", lambda: system.argv().endswith("-tls"))
    system.machine.wait_for("the port", lambda: ":50003" in system.show("ss -Hltn"))
    done = handshake(client, system.machine, "zlinux1", system.machine.read(CERTIFICATE))
    assert done.rc == 0, done.out + done.err
    assert system.findings() == []


@pytest.mark.scenario("upgrade-7.3")
@pytest.mark.parametrize("variant", OLD)
@pytest.mark.parametrize("state", ["disabled and stopped", "disabled and running", "enabled and stopped", "masked"])
def test_the_state_of_the_service_survives(boot, built, variant, state):
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell.family, variant))
    if state.startswith("disabled"):
        system.machine.run("systemctl disable CSUTKEcat")
    if state.endswith(("stopped", "masked")):
        system.machine.run("systemctl stop CSUTKEcat")
    if state == "masked":
        system.machine.run("systemctl mask CSUTKEcat")

    system.package(system.tools[1], "install", built.new(system.cell.family))

    if state == "masked":
        assert system.service() == ("masked", "inactive")
        return
    enabled = "enabled" if state.startswith("enabled") else "disabled"
    assert system.service() == (enabled, "active" if state.endswith("running") else "inactive")


@pytest.mark.scenario("upgrade-7.3")
def test_a_drop_in_and_an_edited_init_script_survive(boot, built):
    system = boot()
    system.package(system.tools[0], "install", built.old(system.cell.family))
    drop_in = "/etc/systemd/system/CSUTKEcat.service.d/nice.conf"
    system.machine.write(drop_in, "[Service]\nNice=3\n")
    edited = system.machine.read("/etc/init.d/CSUTKEcat") + b"# edited by the administrator\n"
    system.machine.write("/etc/init.d/CSUTKEcat", edited, mode=0o755)

    system.package(system.tools[0], "install", built.new(system.cell.family))

    assert system.machine.read(drop_in) == b"[Service]\nNice=3\n"
    assert system.show("systemctl show -p Nice --value CSUTKEcat") == "3"
    assert not system.machine.exists("/etc/init.d/CSUTKEcat")
    copies = system.show("ls /etc/init.d/CSUTKEcat.*").split()
    assert [system.machine.read(path) for path in copies] == [edited]
    assert system.service() == ("enabled", "active")


@pytest.mark.scenario("upgrade-7.3")
def test_an_edited_copy_of_the_unit_in_etc_survives_and_serves(boot, built):
    """CCA 7.3's unit is of Type=forking, and so is an administrator's copy of it."""
    system = boot()
    system.package(system.tools[0], "install", built.old(system.cell.family))
    shipped = system.machine.read("/usr/lib/systemd/system/CSUTKEcat.service")
    copy = shipped.replace(b"[Service]\n", b"[Service]\nNice=3\n")
    assert b"Type=forking" in copy
    system.machine.write("/etc/systemd/system/CSUTKEcat.service", copy)
    system.machine.run("systemctl daemon-reload && systemctl restart CSUTKEcat")

    system.package(system.tools[0], "install", built.new(system.cell.family))

    assert system.machine.read("/etc/systemd/system/CSUTKEcat.service") == copy
    assert system.service() == ("enabled", "active")
    assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe"
    assert system.show("systemctl show -p Nice --value CSUTKEcat") == "3"
    assert "unit-forking" in system.findings()


@pytest.mark.scenario("upgrade-7.3")
@pytest.mark.parametrize("content,kept", [
    (b"# mode of the catcher\r\n", b"# mode of the catcher\r\nTLS_OFF\r\n"),
    (b"TLS_ON", b"TLS_ON"),
], ids=["no directive", "TLS_ON"])
def test_an_existing_configuration_keeps_every_byte(boot, built, content, kept):
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell.family))
    system.machine.write(CONF, content)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert system.conf() == kept
    assert system.argv().endswith("-tls") == (content == b"TLS_ON")


@pytest.mark.scenario("erase-install")
@pytest.mark.parametrize("verb", ["remove", "purge"])
def test_the_mode_survives_removal_and_a_new_installation(boot, built, verb):
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell.family))
    system.package(system.tools[1], verb)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert system.conf() == b"TLS_OFF\n"
    assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe"


@pytest.mark.scenario("upgrade-8")
@pytest.mark.parametrize("mode", ["tls", "tcp"])
def test_the_next_8_x_changes_nothing_but_itself(boot, built, mode):
    system = boot()
    system.package(system.tools[0], "install", built.new(system.cell.family))
    system.machine.run(f"catcherctl mode {mode}", check=False)
    kept = system.tree("/etc/cca", "/opt/IBM/CCA/bin/catcher.key", "/opt/IBM/CCA/bin/catcher.crt")
    pid = system.show("systemctl show -p MainPID --value CSUTKEcat")

    system.package(system.tools[0], "install", built.new(system.cell.family, "8.0.1"))

    assert system.tree("/etc/cca", "/opt/IBM/CCA/bin/catcher.key", "/opt/IBM/CCA/bin/catcher.crt") == kept
    assert system.service() == ("enabled", "active")
    assert system.argv().endswith("-tls") == (mode == "tls")
    assert system.show("systemctl show -p MainPID --value CSUTKEcat") != pid
    assert system.stamp()["package_version"] == "8.0.1"
    assert system.stamp()["mode"] == mode


@pytest.mark.scenario("downgrade")
@pytest.mark.parametrize("mode", ["tcp", "tls"])
def test_down_to_7_3_speaks_tcp_and_up_again_keeps_the_mode(pair, built, mode):
    system, client = pair
    tool = system.tools[1]
    system.package(tool, "install", built.old(system.cell.family))
    system.package(tool, "install", built.new(system.cell.family))
    system.machine.run(f"catcherctl mode {mode}")
    kept = system.conf()
    system.package(tool, "downgrade", built.old(system.cell.family))
    assert system.service() == ("enabled", "active")
    assert "ping" in talk_tcp(client, system.machine).out
    system.package(tool, "install", built.new(system.cell.family))
    assert system.conf() == kept
    assert system.service() == ("enabled", "active")
    assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe" + (" -tls" if mode == "tls" else "")


@pytest.mark.scenario("upgrade-7.3")
@pytest.mark.parametrize("tool", [0, 1], ids=["repository tool", "package tool"])
def test_ibms_host_library_is_not_replaced_by_a_payload_without_one(boot, built, tool):
    system = boot()
    system.package(system.tools[tool], "install", built.old(system.cell.family, "host-library"))
    tops = ("/opt", "/etc/init.d", "/usr/lib/systemd/system/CSUTKEcat.service")
    before = system.tree(*tops)
    done = system.package(system.tools[tool], "install", built.new(system.cell.family), check=False)
    assert done.rc != 0
    assert "make packages PAYLOAD=" in done.out + done.err
    assert system.tree(*tops) == before
    assert "libcsulcca.so" in system.show("ls /usr/lib /usr/lib64")
