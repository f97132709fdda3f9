"""The rpm as a distribution builds it: on the system itself, with the macros of the system."""

import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from .conftest import TREE
from .service_states import LINKS, enter_without_unit
from .soundness import assert_sound
from .system import System
from .test_shortage import FREE, FULL

TIMER = "csulcca-check.timer"
# Without the tests of %check.
QUICK = ("--without", "check")
# The suffix that a distribution appends to each release.
DIST = ".here"

pytestmark = [
    pytest.mark.scenario("native-build"),
    pytest.mark.only(lambda cell: cell.family == "rpm" and "make" in cell.recipe.get("packages", []),
                     "nothing is built there"),
]


def build(system: System, tmp_path: pathlib.Path, version: str = "8.0.0", *options: str) -> str:
    """Build the rpm on the system as a distribution does: of a source rpm, with rpmbuild's options. Returns its path
    there."""
    source = tmp_path / version / "source"
    builder = TREE / "tools/build_packages.py"
    subprocess.run([sys.executable, str(builder), "--version", version, "--stage", str(source)], check=True,
                   stdout=subprocess.DEVNULL)  # fmt: skip
    archive = source.with_name(f"csulcca-{version}.tar.gz")
    subprocess.run(["tar", "-C", str(source.parent), "--transform", f"s,^source,csulcca-{version},", "-czf",
                    str(archive), "source"], check=True)  # fmt: skip
    top = f"/root/{version}"
    system.machine.run(f"mkdir -p {top}/SOURCES")
    system.machine.copy_in(archive, f"{top}/SOURCES/{archive.name}")
    system.machine.copy_in(source / "rpm/csulcca.spec", f"{top}/csulcca.spec")
    command = f"rpmbuild --nodeps --define '_topdir {top}' --define 'dist {DIST}' {shlex.join(options)}"
    system.machine.run(f"{command} -bs {top}/csulcca.spec")
    log = system.machine.run(f"{command} --rebuild {top}/SRPMS/csulcca-{version}-1{DIST}.src.rpm 2>&1").out
    assert (re.search("[0-9]{3} passed", log) is not None) == ("check" not in options), log
    return system.machine.run(f"ls {top}/RPMS/noarch/csulcca-{version}-1{DIST}.noarch.rpm").out.strip()


def timer(system: System) -> tuple[str, str]:
    """(is-enabled, is-active) of the daily timer."""
    return system.show(f"systemctl is-enabled {TIMER}"), system.show(f"systemctl is-active {TIMER}")


def test_a_native_build_is_installed_upgraded_and_removed(boot, tmp_path):
    system = boot()
    first, second = build(system, tmp_path), build(system, tmp_path, "8.0.1", *QUICK)
    system.machine.run(f"rpm -i {first}")
    assert_sound(system, system.cell.mode.lower())
    assert timer(system) == ("enabled", "active")

    system.machine.run(f"systemctl disable --now CSUTKEcat {TIMER} && rpm -U {second}")
    assert_sound(system, system.cell.mode.lower(), service=("disabled", "inactive"))
    assert timer(system) == ("disabled", "inactive")

    system.machine.run(f"systemctl enable --now CSUTKEcat {TIMER} && rpm -e csulcca && systemctl daemon-reload")
    assert system.service()[1] == "inactive"
    assert system.show("find /etc/systemd/system -lname '*csu*' -o -lname '*CSU*'") == ""


@pytest.mark.parametrize("state", ["S links", "K links and stopped"])
def test_an_upgrade_from_7_3_without_a_unit_keeps_the_service(boot, built, tmp_path, state):
    """The macros find no unit before the upgrade. Only the links of 7.3 say whether the service was enabled."""
    system = boot()
    path = build(system, tmp_path, "8.0.0", *QUICK)
    system.package("rpm", "install", built.old(system.cell))
    service = enter_without_unit(system, LINKS[state])
    system.machine.run(f"rpm -U {path}")
    assert_sound(system, "tcp", service=service, findings=["upgraded-tcp-kept"])
    assert timer(system) == ("enabled", "active")


def test_the_macros_alone_enable_where_the_hook_can_leave_no_note(boot, tmp_path):
    """On a full disk %pre cannot tell %posttrans that this is a first installation."""
    system = boot()
    path = build(system, tmp_path, "8.0.0", *QUICK)
    system.machine.run(f"{FULL}\nrpm -i {path}")
    assert (system.service()[0], timer(system)) == ("enabled", ("enabled", "active"))

    system.machine.run(FREE)
    system.machine.run("catcherctl apply", check=False)
    assert_sound(system, system.cell.mode.lower())


def test_without_preset_the_distribution_decides(boot, tmp_path):
    """The presets of the distribution enable no service. The timer is no service, and is enabled."""
    system = boot()
    system.machine.run(f"rpm -i {build(system, tmp_path, '8.0.0', *QUICK, '--without', 'preset')}")
    assert_sound(system, system.cell.mode.lower(), service=("disabled", "inactive"))
    assert timer(system) == ("enabled", "active")
