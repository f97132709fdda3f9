"""The daily check of the certificate, as systemd runs it, and the files that are installed beside catcherctl."""

import pytest

from .marks import needs_tls, one_of_each_family
from .system import CERTIFICATE, KEY

TOLD = "journalctl -t csulcca -o cat --no-pager"
SOON = ("openssl req -x509 -newkey rsa:2048 -nodes -days {} -subj /CN=zlinux1 -addext subjectAltName=DNS:zlinux1"
        f" -keyout {KEY} -out {CERTIFICATE}")

pytestmark = pytest.mark.scenario("daily-check")


def look(system):
    """Run the unit to its end, and return what the journal has of it from now on."""
    system.machine.run("journalctl --sync && journalctl --rotate && journalctl --vacuum-time=1s", check=False)
    before = len(system.show(TOLD).splitlines())
    system.machine.run("systemctl start csulcca-check.service")
    system.machine.run("journalctl --sync")
    return "\n".join(system.show(TOLD).splitlines()[before:])


@needs_tls
def test_the_daily_look_at_the_certificate(boot, built):
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert system.show("systemctl is-active csulcca-check.timer") == "active"
    assert "csulcca-check.timer" in system.show("systemctl list-timers --all --no-pager")
    assert "[pair-" not in look(system)

    made = system.machine.read(CERTIFICATE)
    system.machine.run("hostname zlinux2")
    assert "[pair-names-stale]" in look(system)
    assert system.findings() == ["pair-names-stale"]
    assert system.machine.read(CERTIFICATE) == made
    system.machine.run("hostname zlinux1")

    system.machine.run(SOON.format(20))
    soon = system.machine.read(CERTIFICATE)
    assert "[pair-expires-soon]" in look(system)
    assert "pair-expires-soon" in system.findings()
    assert system.machine.read(CERTIFICATE) == soon
    system.machine.run(SOON.format(40))
    assert "[pair-" not in look(system)

    system.package(system.tools[1], "remove")
    assert system.show("systemctl is-active csulcca-check.timer") in ("inactive", "unknown", "failed")
    assert not system.machine.exists("/var/lib/systemd/timers/stamp-csulcca-check.timer")


@needs_tls
@one_of_each_family
def test_a_changed_address_is_told_and_nothing_is_rekeyed(pair, built):
    system, _ = pair
    system.machine.run("ip address add 192.0.2.10/32 dev eth0")
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert "[pair-" not in look(system)
    made = system.machine.read(KEY), system.machine.read(CERTIFICATE)

    # Another address, for example of a container bridge, is not a finding.
    system.machine.run("ip address add 192.0.2.20/32 dev eth0")
    assert "[pair-" not in look(system)

    system.machine.run("ip address del 192.0.2.10/32 dev eth0")
    told = look(system)
    assert "it lists 192.0.2.10, which this host no longer has [pair-names-stale]" in told
    assert "catcherctl cert generate --force" in told
    assert system.findings() == ["pair-names-stale"]
    # Neither the check nor a restart makes a new pair, because the TKE has this one.
    system.machine.run("systemctl restart CSUTKEcat && catcherctl apply", check=False)
    assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == made

    system.machine.run("catcherctl cert generate --force")
    assert "[pair-" not in look(system)
    assert system.findings() == []
    names = system.show(f"openssl x509 -in {CERTIFICATE} -noout -ext subjectAltName")
    assert "IP Address:192.0.2.20" in names and "192.0.2.10" not in names


TIMER = "csulcca-check.timer"
OFF = {"disabled": "systemctl disable --now " + TIMER, "masked": "systemctl mask --now " + TIMER}


def timer(system):
    """(is-enabled, is-active) of the daily timer."""
    return system.show(f"systemctl is-enabled {TIMER}"), system.show(f"systemctl is-active {TIMER}")


@pytest.mark.parametrize("state", OFF)
def test_a_timer_that_was_switched_off_stays_off_over_an_upgrade(boot, built, state):
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert timer(system) == ("enabled", "active")
    system.machine.run(OFF[state])
    system.package(system.tools[1], "install", built.new(system.cell.family, "8.0.1"))
    enabled, active = timer(system)
    # debhelper tries to restart a masked unit, and that fails.
    assert (enabled, active == "active") == (state, False)


def test_an_administrators_preset_decides_on_the_timer(boot, built):
    """Debian enables the units of a package. A preset counts there only if somebody types systemctl preset."""
    system = boot()
    system.machine.write("/etc/systemd/system-preset/00-local.preset", f"disable {TIMER}\n")
    system.package(system.tools[1], "install", built.new(system.cell.family))
    if system.cell.family == "rpm":
        assert timer(system) == ("disabled", "inactive")
    system.machine.run(f"systemctl preset {TIMER}")
    assert timer(system)[0] == "disabled"


@pytest.mark.parametrize("history", ["CCA 7.3", "our first packages"])
def test_the_timer_is_enabled_by_the_upgrade_that_brings_it(boot, built, history):
    """Our first packages had no [Install] section, but a link in the package, which nobody could disable."""
    system = boot()
    if history == "CCA 7.3":
        system.package(system.tools[1], "install", built.old(system.cell))
    else:
        system.package(system.tools[1], "install", built.new(system.cell.family))
        link = f"/usr/lib/systemd/system/timers.target.wants/{TIMER}"
        system.machine.run(
            f"systemctl disable {TIMER} && rm -rf /var/lib/systemd/deb-systemd-helper-enabled/*check*"
            f" && mkdir -p {link.rpartition('/')[0]} && ln -s ../{TIMER} {link} && systemctl daemon-reload")
        assert timer(system)[1] == "active"
    system.package(system.tools[1], "install", built.new(system.cell.family, "8.0.1"))
    assert timer(system) == ("enabled", "active")

    if history == "CCA 7.3":
        system.package(system.tools[1], "downgrade", built.old(system.cell))
        assert system.show(f"find /etc/systemd /var/lib/systemd -name '{TIMER}*'") == ""
