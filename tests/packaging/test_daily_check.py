"""The daily look at the certificate, as systemd runs it, and what else stands beside the command on a real system."""

import pytest

from .marks import needs_tls
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


def test_a_masked_timer_stays_off_over_an_upgrade(boot, built):
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("systemctl mask --now csulcca-check.timer")
    system.package(system.tools[1], "reinstall", built.new(system.cell.family))
    assert system.show("systemctl is-active csulcca-check.timer") != "active"
    assert system.show("systemctl is-enabled csulcca-check.timer") == "masked"
