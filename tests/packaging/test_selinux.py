"""If SELinux enforces, nothing that the package does is denied, and each file has its label."""

import dataclasses
import functools
import pathlib
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.matrix import images
from tests.matrix.qemu import VirtualMachine
from tests.test_selinux import built as built_with_module
from tests.unit import pem
from tests.unit.authority import issue

from .packages import TREE
from .soundness import assert_sound
from .system import CERTIFICATE, DAEMON, KEY, System, talk_tcp
from .test_upgrade import TOLD

pytestmark = [
    pytest.mark.scenario("selinux"),
    pytest.mark.only(lambda cell: "enforcing=1" in cell.recipe.get("words", ""), "SELinux does not enforce there"),
]

OURS = ("/opt/IBM /etc/cca /var/lib/csulcca /usr/lib/csulcca /usr/sbin/catcherctl /usr/share/csulcca "
        "/usr/lib/systemd/system /etc/systemd/system")  # fmt: skip
AUDIT = "/var/log/audit/audit.log"
# No program but sshd brings anybody into its domain. Nothing of the package calls runcon.
REFUSED = "runcon system_u:system_r:sshd_t:s0 true"
ON_PURPOSE = 'comm="runcon"'
DEVEL = pathlib.Path("/usr/share/selinux/devel/Makefile")
# Prints the domains of the policy that may read a file of a type. A policy does not list its domains; those in which
# a program starts are named like the type of its file.
READERS = r"""
import os, re, sys
with open("/etc/selinux/default/contexts/files/file_contexts") as file:
    domains = {name + "_t" for name in re.findall(r":(\w+)_exec_t:", file.read())} | {"csulcca_t"}
def number(name):
    with open("/sys/fs/selinux/class/file/" + name) as file:
        return int(file.read())
def may(domain):
    asked = "system_u:system_r:%s:s0 system_u:object_r:%s:s0 %d" % (domain, sys.argv[1], number("index"))
    file = os.open("/sys/fs/selinux/access", os.O_RDWR)
    try:
        os.write(file, asked.encode())
        return int(os.read(file, 100).split()[0], 16) >> (number("perms/read") - 1) & 1
    except OSError as error:
        # There is no such domain, or not in this role.
        if error.errno != 22:
            raise
    finally:
        os.close(file)
print(*filter(may, sorted(domains)))
"""
# What `semanage port -a -t csulcca_port_t -p tcp 50003` adds to the policy.
PORT = "(portcon tcp 50003 (system_u object_r csulcca_port_t ((s0) (s0))))\n"
# Ports whose type this system itself has set.
OWN_PORTS = "semanage port -l -C -n"
# How long the policy takes to be built and loaded, at most.
MODULE_S = 400


class Audit:
    """The audit log of a machine, from now on."""

    def __init__(self, system: System) -> None:
        """Begin."""
        self.system = system
        self.seen = self._denials()

    def _denials(self) -> list[str]:
        """Return the denials until now. A last denial is made on purpose: it shows that the log is complete."""
        before = len(self._logged())
        assert self.system.machine.run(REFUSED, check=False).rc == 126
        self.system.machine.wait_for("a denial that was made on purpose",
                                     lambda: any(ON_PURPOSE in line for line in self._logged()[before:]))  # fmt: skip
        return [line for line in self._logged() if ON_PURPOSE not in line]

    def _logged(self) -> list[str]:
        return self.system.show(f"grep 'avc:  denied' {AUDIT}").splitlines()

    def assert_quiet(self) -> None:
        """Nothing was denied, and no file of ours has another label than the policy says."""
        assert self._denials()[len(self.seen):] == []
        done = self.system.machine.run(f"restorecon -invR {OURS}", check=False)
        assert (done.out, done.err) == ("", "")


def enforcing(system: System) -> Audit:
    """The audit log of a system that enforces SELinux and writes one."""
    assert system.show("getenforce") == "Enforcing"
    assert system.show("systemctl is-active auditd") == "active"
    return Audit(system)


def test_an_installation_is_not_denied_and_each_label_is_right(boot, built):
    """`make check` runs only this test."""
    system = boot()
    audit = enforcing(system)
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    assert_sound(system, "tls")
    audit.assert_quiet()
    # The reference policy has no domain for it; this is that of every service without one.
    assert system.show("ps -eo label,args | grep '[c]atcher.exe'").startswith("system_u:system_r:initrc_t:")

    system.machine.run(f"chcon -t tmp_t {KEY}")
    assert KEY in system.machine.run(f"restorecon -vR {OURS}").out, "a wrong label is not seen"


def test_nothing_that_catcherctl_or_a_removal_does_is_denied(boot, built):
    system = boot()
    audit = enforcing(system)
    system.package(system.tools[0], "first install", built.new(system.cell.family))
    change_mode_and_pair(system)
    audit.assert_quiet()

    system.package(system.tools[1], "remove")
    audit.assert_quiet()


def change_mode_and_pair(system: System) -> None:
    """Everything that catcherctl changes, and the daily check."""
    system.machine.run("catcherctl mode tcp && catcherctl mode tls")
    key = pem.key_of("prime256v1")
    system.machine.write("/root/new.key", key, mode=0o600)
    system.machine.write("/root/new.crt", issue(key, "zlinux1", ["zlinux1"]))
    system.machine.run("catcherctl cert install /root/new.key /root/new.crt")
    system.machine.run("systemctl start csulcca-check.service")
    assert_sound(system, "tls")


@pytest.fixture(scope="module")
def with_module(tmp_path_factory) -> Iterator[Callable[[images.Cell], str]]:
    """with_module(cell): a booted machine of the cell with the package of selinux/, compiled with this host's
    development files of the reference policy, as a part of its policy."""
    top = tmp_path_factory.mktemp("selinux")

    @functools.cache
    def make(cell: images.Cell) -> str:
        if not DEVEL.exists():
            pytest.fail("install selinux-policy-dev on this host")
        work = pathlib.Path(shutil.copytree(TREE / "selinux", top / "csulcca"))
        subprocess.run(["make", "-f", DEVEL, "csulcca.pp"], cwd=work, check=True)
        with VirtualMachine(images.ensure(cell)) as machine:
            machine.copy_in(work / "csulcca.pp", "/root/")
            machine.write("/root/port.cil", PORT)
            machine.run("semodule -i /root/csulcca.pp /root/port.cil", timeout=MODULE_S)
            machine.save(top / "booted")
        return str(top / "booted")

    yield make
    # pytest would keep it.
    shutil.rmtree(top)


def test_with_our_module_the_catcher_has_a_domain_of_its_own(boot, built, cell, with_module):
    system = boot(image=with_module(cell))
    system.machine.write("/root/readers", READERS)
    audit = Audit(system)

    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert_sound(system, "tls")
    audit.assert_quiet()
    assert system.show("ps -eo label,args | grep '[c]atcher.exe'").split() == [
        "system_u:system_r:csulcca_t:s0", DAEMON, "-tls"]

    change_mode_and_pair(system)
    audit.assert_quiet()
    assert label_of_key(system) == "csulcca_pair_t"
    # make-pair makes it, which systemd starts outside the sandbox and in another domain.
    system.machine.run(f"rm {KEY} {CERTIFICATE} && systemctl restart CSUTKEcat")
    assert_sound(system, "tls")
    audit.assert_quiet()
    assert label_of_key(system) == "csulcca_pair_t"
    readers, of_sshd, of_programs = (set(system.show(f"python3 /root/readers {name}").split())
                                     for name in ("csulcca_pair_t", "sshd_key_t", "bin_t"))  # fmt: skip
    assert "csulcca_t" in readers and len(readers) * 4 < len(of_programs), (readers, of_programs)
    assert readers - of_sshd == {"csulcca_t"}, "a domain that may not read the keys of sshd reads ours"

    system.package(system.tools[1], "install", built.new(system.cell.family, "8.0.1"))
    assert_sound(system, "tls")
    audit.assert_quiet()
    system.package(system.tools[1], "remove")
    audit.assert_quiet()


def label_of_key(system: System) -> str:
    """The type in the SELinux label of catcher.key."""
    return system.show(f"stat -c %C {KEY}").split(":")[2]


@pytest.mark.parametrize("policy", ["the system's policy", "our module"])
def test_what_runs_before_an_upgrade_from_7_3_or_back_to_it_runs_afterwards(boot, built, cell, with_module, policy):
    """A daemon of 7.3 writes its process id to a file in /run, in whatever domain it is."""
    system = boot(image=with_module(cell) if policy == "our module" else "")
    system.package(system.tools[1], "install", built.old(system.cell))
    assert_7_3_runs(system)
    audit = Audit(system)

    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert_sound(system, "tcp", findings=TOLD)
    audit.assert_quiet()

    system.machine.run("catcherctl mode tls")
    assert_sound(system, "tls")
    audit.assert_quiet()

    system.package(system.tools[1], "install", built.old(system.cell))
    assert_7_3_runs(system)
    audit.assert_quiet()


def test_nothing_that_rpm_does_is_denied(boot, built, cell):
    """Debian's policy has no domain for rpm, and its rpm sets no labels: restorecon does, once."""
    system = boot()
    system.cell = dataclasses.replace(cell, family="rpm")
    audit = enforcing(system)

    install_rpm(system, built.old(system.cell))
    system.machine.run("restorecon -R /opt/IBM && systemctl restart CSUTKEcat")
    assert_7_3_runs(system)
    install_rpm(system, built.new("rpm"))
    assert_sound(system, "tcp", findings=TOLD)
    audit.assert_quiet()

    change_mode_and_pair(system)
    audit.assert_quiet()

    install_rpm(system, built.new("rpm", "8.0.1"))
    assert_sound(system, "tls")
    system.package("rpm", "remove")
    audit.assert_quiet()


def test_csulcca_selinux_in_one_transaction_with_an_upgrade_from_7_3(boot, built, cell, tmp_path):
    """The package as rpmbuild makes it gives the catcher its domain. After its removal the catcher still serves."""
    if not DEVEL.exists():
        pytest.fail("install selinux-policy-dev on this host")
    system = boot()
    system.cell = dataclasses.replace(cell, family="rpm")
    audit = enforcing(system)
    install_rpm(system, built.old(system.cell))
    system.machine.run("restorecon -R /opt/IBM && systemctl restart CSUTKEcat")
    assert_7_3_runs(system)

    install_rpm(system, *built_with_module(tmp_path, TREE / "payload/reference"))
    assert_sound(system, "tcp", findings=TOLD)
    audit.assert_quiet()
    assert domain(system) == "csulcca_t"
    assert system.show(OWN_PORTS).split() == ["csulcca_port_t", "tcp", "50003"]
    change_mode_and_pair(system)
    audit.assert_quiet()
    assert label_of_key(system) == "csulcca_pair_t"

    system.machine.run("rpm -e csulcca-selinux", timeout=MODULE_S)
    assert_sound(system, "tls")


def domain(system: System) -> str:
    """The type of the process of the catcher."""
    return system.show("ps -eo label,args | grep '[c]atcher.exe'").split(":")[2]


def install_rpm(system: System, *paths: pathlib.Path) -> None:
    """Install or upgrade with rpm, whose database knows nothing of what the packages require."""
    for path in paths:
        system.machine.copy_in(path, f"/root/{path.name}")
    names = " ".join(f"/root/{path.name}" for path in paths)
    system.machine.run(f"rpm -U --nodeps {names} <&-", timeout=MODULE_S)


def assert_7_3_runs(system: System) -> None:
    """Its service is up, and it speaks TCP."""
    assert system.workstation is not None, "boot() gives a machine its workstation"
    assert system.service() == ("enabled", "active"), system.show("journalctl -u CSUTKEcat")
    assert "ping" in talk_tcp(system.workstation.machine, system.machine).out
