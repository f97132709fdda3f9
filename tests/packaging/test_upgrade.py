"""An upgrade from CCA 7.3 to 8.0 loses nothing, and keeps the mode and the state of the service."""

import pytest

from .marks import needs_tls, one_of_each_family, only_deb
from .service_states import LINKS, STATES_OF_7_3, State, enter, enter_without_unit, masked, running, stopped
from .soundness import assert_sound
from .system import CERTIFICATE, CONF, handshake, talk_tcp
from .turns import TOOLS, in_turns, one_of

OLD = ["normal", "careless"]
# The findings of an upgraded host until somebody sets its mode.
TOLD = ["upgraded-tcp-kept"]

# A catcher.conf that is there before the upgrade: its bytes, those after it, and the mode and findings then.
COMMENT = b"# mode of the catcher\r\n"
KEPT = {
    "no directive": (COMMENT, COMMENT + b"TLS_OFF\r\n", "tcp", TOLD),
    "TLS_ON": (b"TLS_ON", b"TLS_ON", "tls", []),
}


def assert_legacy_script_is_retired(system):
    assert system.show("find /etc/rc*.d /etc/rc.d -name '[SK]??CSUTKEcat' 2>/dev/null") == ""
    assert not system.machine.exists("/etc/init.d/CSUTKEcat")


@pytest.mark.scenario("upgrade-7.3")
@pytest.mark.parametrize("tool,variant", one_of(TOOLS, OLD))
def test_running_in_tcp_stays_running_in_tcp_then_tls_is_one_command(boot, built, variant, tool):
    system = boot()
    tool = system.tools[TOOLS[tool]]
    system.package(tool, "install", built.old(system.cell, variant))
    assert system.service() == ("enabled", "active")
    assert "ping" in talk_tcp(system.workstation.machine, system.machine).out

    system.package(tool, "install", built.new(system.cell.family))

    assert_sound(system, "tcp", findings=TOLD)
    assert system.conf() == b"TLS_OFF\n"
    assert "catcherctl mode tls" in system.machine.run("catcherctl status", check=False).out
    assert_legacy_script_is_retired(system)
    # 7.3 had no such timer.
    timer = "csulcca-check.timer"
    assert system.show(f"systemctl is-enabled {timer}; systemctl is-active {timer}").split() == ["enabled", "active"]
    assert system.machine.exists("/opt/ibm/cca/bin/catcher.exe")
    if system.cell.family == "rpm":
        assert system.machine.exists("/opt/IBM/CEX3C/bin/catcher.exe")
    assert "cca_admin" in system.show("cat /etc/group")

    if system.cell.mode == "TCP":
        assert system.machine.run("catcherctl mode tls", check=False).rc != 0
        assert_sound(system, "tcp", findings=TOLD)
        return
    system.machine.run("catcherctl mode tls")
    assert_sound(system, "tls")
    done = handshake(system.workstation.machine, system.machine, "zlinux1", system.machine.read(CERTIFICATE))
    assert done.rc == 0, done.out + done.err
    # Without the init script systemctl needs none of the programs for such, which systemd 260 has no more.
    system.machine.run("systemctl disable CSUTKEcat && systemctl enable CSUTKEcat")
    assert system.service() == ("enabled", "active")


@pytest.mark.scenario("upgrade-7.3-running")
@pytest.mark.parametrize("state,variant,tool", in_turns(running(STATES_OF_7_3), OLD, TOOLS, share=3))
def test_a_service_that_runs_goes_on_in_its_state(boot, built, state, variant, tool):
    assert_the_state_survives(boot(), built, state, variant, tool)


@pytest.mark.scenario("upgrade-7.3-stopped")
@pytest.mark.parametrize("state,variant,tool", in_turns(stopped(STATES_OF_7_3), OLD, TOOLS, share=3))
def test_a_service_that_does_not_run_stays_in_its_state(boot, built, state, variant, tool):
    assert_the_state_survives(boot(), built, state, variant, tool)


@pytest.mark.scenario("upgrade-7.3-masked")
@pytest.mark.parametrize("state,variant,tool", in_turns(masked(STATES_OF_7_3), OLD, TOOLS, share=3))
def test_a_masked_service_stays_masked(boot, built, state, variant, tool):
    assert_the_state_survives(boot(), built, state, variant, tool)


def assert_the_state_survives(system, built, state, variant, tool):
    state = STATES_OF_7_3[state]
    system.package(system.tools[1], "install", built.old(system.cell, variant))
    enter(system, state)

    system.package(system.tools[TOOLS[tool]], "install", built.new(system.cell.family))

    assert_kept(system, state, state.service, variant)


def assert_kept(system, state: State, service, variant):
    """After an upgrade from 7.3 out of a state in which the service was this."""
    if service == ("masked", "active") and (system.cell.family == "deb" or variant == "careless"):
        service = state.where_7_3_stops_it
    if service == ("masked", "active"):
        # A masked service cannot be started, so 7.3's daemon continues to run.
        assert system.service() == service
        assert "ping" in talk_tcp(system.workstation.machine, system.machine).out
        assert system.conf() == b"TLS_OFF\n"
    else:
        assert_sound(system, "tcp", service=service, findings=[*TOLD, *state.findings])
    assert_legacy_script_is_retired(system)
    state.look(system)


@pytest.mark.scenario("upgrade-7.3-by-hand")
@pytest.mark.parametrize("state,variant,tool", in_turns(LINKS, OLD, TOOLS, share=4))
def test_a_service_of_links_alone_stays_in_its_state(boot, built, state, variant, tool):
    system, state = boot(), LINKS[state]
    system.package(system.tools[1], "install", built.old(system.cell, variant))
    service = enter_without_unit(system, state)

    system.package(system.tools[TOOLS[tool]], "install", built.new(system.cell.family))

    assert_kept(system, state, service, variant)


@pytest.mark.scenario("upgrade-7.3-edited")
@pytest.mark.parametrize("variant,tool", one_of(OLD, TOOLS))
def test_edited_files_of_7_3_are_kept_and_nothing_is_asked(boot, built, variant, tool):
    """Standard input is closed, so dpkg would fail if it asked what to do with a conffile."""
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell, variant))
    edited = {}
    for path in ("/etc/init.d/CSUTKEcat", "/etc/profile.d/csulcca.sh"):
        edited[path] = system.machine.read(path) + b"# edited by the administrator\n"
        system.machine.write(path, edited[path], mode=0o755)

    system.package(system.tools[TOOLS[tool]], "install", built.new(system.cell.family))

    assert_sound(system, "tcp", findings=TOLD)
    assert_legacy_script_is_retired(system)
    copies = system.show("ls /etc/init.d/CSUTKEcat.*").split()
    assert [system.machine.read(path) for path in copies] == [edited["/etc/init.d/CSUTKEcat"]]
    if system.cell.family == "deb":
        # A conffile stays where it is if no package ships it any more.
        assert system.machine.read("/etc/profile.d/csulcca.sh") == edited["/etc/profile.d/csulcca.sh"]


@pytest.mark.scenario("upgrade-7.3-edited")
@pytest.mark.parametrize("content", one_of(KEPT))
@needs_tls
def test_an_existing_configuration_keeps_every_byte(boot, built, content):
    content, kept, mode, told = KEPT[content]
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell))
    system.machine.write(CONF, content)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert system.conf() == kept
    assert_sound(system, mode, findings=told)


@pytest.mark.scenario("downgrade")
@pytest.mark.parametrize("mode,tool", one_of(["tcp", "tls"], TOOLS))
def test_down_to_7_3_speaks_tcp_and_up_again_keeps_the_mode(boot, built, mode, tool):
    system = boot()
    family, tool = system.cell.family, system.tools[TOOLS[tool]]
    mode = mode if system.cell.mode == "TLS" else "tcp"
    system.package(system.tools[1], "install", built.old(system.cell, "careless"))
    system.package(system.tools[1], "install", built.new(family))
    system.machine.run(f"catcherctl mode {mode}")
    kept = system.tree("/etc/cca", "/opt/IBM/CCA/bin/catcher.key", "/opt/IBM/CCA/bin/catcher.crt")

    system.package(tool, "downgrade", built.old(system.cell, "careless"))

    assert system.service() == ("enabled", "active")
    assert "ping" in talk_tcp(system.workstation.machine, system.machine).out

    system.package(tool, "install", built.new(family))

    assert_sound(system, mode, findings=TOLD if mode == "tcp" else [])
    assert system.tree("/etc/cca", "/opt/IBM/CCA/bin/catcher.key", "/opt/IBM/CCA/bin/catcher.crt") == kept


@pytest.mark.scenario("upgrade-7.3")
@only_deb
@one_of_each_family
@pytest.mark.parametrize("by", ["unit", "init script"])
def test_an_upgrade_that_dpkg_takes_back_leaves_the_service_as_it_was(boot, built, by):
    """Another package has a file of ours; a full disk has the same effect. 7.3's prerm has disabled the service."""
    system = boot()
    system.package("dpkg", "install", built.old(system.cell, "careless"))
    # Otherwise 7.3's postinst, which dpkg calls last, starts it in any case. `disable --now` stops no init script.
    scripts = "/var/lib/dpkg/info/csulcca."
    assert b"abort-*) ;;" in system.machine.read(scripts + "postinst")
    system.machine.run(f"sed -i 's/abort-[*]) ;;/abort-*) exit 0 ;;/' {scripts}postinst")
    system.machine.run(f"sed -i 's/^systemctl disable/systemctl stop CSUTKEcat; &/' {scripts}prerm")
    if by == "init script":
        enter_without_unit(system, LINKS["S links"])
    links = "find /etc/rc?.d /etc/systemd/system -name '*CSUTKEcat*' | sort"
    state = system.service(), system.show(links)
    assert state[0][1] == "active" and "CSUTKEcat" in state[1]
    system.machine.run(
        "mkdir -p /root/other/DEBIAN /root/other/usr/sbin && echo >/root/other/usr/sbin/catcherctl && printf "
        "'Package: other\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n' "
        ">/root/other/DEBIAN/control && dpkg-deb -b /root/other /root/other.deb && dpkg -i /root/other.deb")
    new = built.new("deb")
    system.machine.copy_in(new, f"/root/{new.name}")
    assert system.machine.run(f"dpkg -i /root/{new.name} <&-", check=False).rc != 0
    assert (system.service(), system.show(links)) == state
    assert "ping" in talk_tcp(system.workstation.machine, system.machine).out
    assert not system.machine.exists("/var/lib/csulcca") and not system.machine.exists(CONF)
    system.machine.run("dpkg -r other")
    system.package("dpkg", "install", new)
    assert_sound(system, "tcp", findings=TOLD)


@pytest.mark.scenario("upgrade-7.3")
@pytest.mark.parametrize("tool", one_of(TOOLS))
def test_ibms_host_library_is_not_replaced_by_a_payload_without_one(boot, built, tool):
    system = boot()
    tool = system.tools[TOOLS[tool]]
    system.package(tool, "install", built.old(system.cell, "host-library"))
    tops = ("/opt", "/etc/init.d", "/usr/lib/systemd/system/CSUTKEcat.service")
    before = system.tree(*tops)
    done = system.package(tool, "install", built.new(system.cell.family), check=False)
    assert done.rc != 0
    assert "make packages PAYLOAD=" in done.out + done.err
    assert system.tree(*tops) == before
    assert "libcsulcca.so" in system.show("ls /usr/lib /usr/lib64")
