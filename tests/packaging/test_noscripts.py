"""An installation without scriptlets (rpm --noscripts): the first start does what they would have done."""

import pytest

from .marks import only_rpm
from .soundness import assert_seen_from_outside, assert_sound, wait_until_it_listens
from .system import MODES
from .turns import one_of

pytestmark = pytest.mark.scenario("noscripts")


def rpm_noscripts(system, verb, path):
    system.machine.copy_in(path, f"/root/{path.name}")
    system.machine.run(f"rpm {verb} --noscripts /root/{path.name}")


def test_a_start_alone_makes_a_correct_system(boot, built):
    system = boot()
    if system.cell.family == "rpm":
        rpm_noscripts(system, "-i", built.new("rpm"))
    else:
        # The nearest equivalent of dpkg: all files are there, and postinst has not run yet.
        system.machine.copy_in(built.new("deb"), "/root/new.deb")
        system.machine.run("dpkg --unpack /root/new.deb")
    mode = system.cell.mode.lower()
    system.machine.run("systemctl daemon-reload && systemctl start CSUTKEcat")
    wait_until_it_listens(system)
    assert_seen_from_outside(system, mode, system.status()["pair"]["sha256"])
    made = system.tree("/etc/cca", "/opt/IBM/CCA/bin")
    if system.cell.family == "deb":
        system.machine.run("dpkg --configure csulcca")
        assert_sound(system, mode, findings=system.first_findings())
    else:
        assert_sound(system, mode, service=("disabled", "active"), findings=system.first_findings())
    assert system.tree("/etc/cca", "/opt/IBM/CCA/bin") == made


@only_rpm
@pytest.mark.parametrize("variant", one_of(["normal", "careless"]))
def test_7_3_upgraded_without_scriptlets_stays_in_tcp(boot, built, variant):
    """The old daemon runs until the next boot."""
    system = boot(durable=True)
    system.package("rpm", "install", built.old(system.cell, variant))
    rpm_noscripts(system, "-U", built.new("rpm"))
    system.machine.reboot()
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])


@only_rpm
@pytest.mark.parametrize("mode", one_of(MODES))
def test_the_next_8_x_without_scriptlets_keeps_the_mode(boot, built, mode):
    system = boot()
    system.package("rpm", "install", built.new("rpm"))
    mode, findings = system.choose_mode(mode)
    rpm_noscripts(system, "-U", built.new("rpm", "8.0.1"))
    system.machine.run("systemctl daemon-reload && systemctl restart CSUTKEcat")
    assert_sound(system, mode, findings=findings)
    assert system.stamp()["package_version"] == "8.0.1"
