"""A first installation, by each tool of each family, and the same version again."""

import pytest

from .marks import needs_tls, one_of_each_family, only_deb, without_tls
from .soundness import assert_sound
from .system import CERTIFICATE, CONF, KEY, MODES, PORT_HOLDER, handshake
from .turns import TOOLS, in_turns, one_of

HALVES = {"key only": KEY, "certificate only": CERTIFICATE}
UNUSABLE = {"both": b"TLS_ON\nTLS_OFF\n", "unknown": b"tls please\n", "binary": b"\0\1"}
TREES = ("/etc", "/opt", "/var/lib/csulcca", "/usr/lib/csulcca")

# Loads a library by its name, and prints the path of the file that the linker took.
WHERE_LOADED = """
import ctypes, sys
ctypes.CDLL(sys.argv[1])
with open("/proc/self/maps") as maps:
    print(next(path for path in (line.split()[-1] for line in maps) if "/libssl" in path))
"""


def assert_the_evidence_is_what_the_cell_declares(system):
    told = system.status()["tls"]
    assert told["possible"] == (system.cell.mode == "TLS")
    assert (told["version"] or "").startswith(system.cell.openssl)
    assert bool(told["version"]) == bool(system.cell.openssl)
    assert bool(told["reason"]) == (system.cell.mode == "TCP")
    if told["library"]:
        # The library that a program of this system gets when it asks for it by name.
        name = told["library"].rpartition("/")[2]
        loaded = system.machine.run(["/usr/bin/python3", "-c", WHERE_LOADED, name]).out.strip()
        assert system.show(f"readlink -f {told['library']}") == loaded
    assert system.machine.run("/usr/bin/python3 --version").out.startswith(f"Python {system.cell.python}")


@pytest.mark.scenario("fresh")
@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
@needs_tls
def test_fresh_install_runs_in_tls_mode_and_its_certificate_verifies(boot, built, tool):
    system = boot()
    system.package(system.tools[tool], "first install", built.new(system.cell.family))

    assert_sound(system, "tls")
    assert_the_evidence_is_what_the_cell_declares(system)
    assert system.conf() == b"TLS_ON\n"
    certificate = system.machine.read(CERTIFICATE)
    for name in ("zlinux1", system.machine.ip4, system.machine.ip6):
        done = handshake(system.workstation.machine, system.machine, name, certificate)
        assert done.rc == 0, name + done.out + done.err
    assert handshake(system.workstation.machine, system.machine, "elsewhere", certificate).rc != 0
    assert system.show(f"stat -c '%a %U:%G' {KEY} {CERTIFICATE}") == "600 root:root\n644 root:root"
    assert "TLS, configured and running" in system.machine.run("catcherctl status").out


@pytest.mark.scenario("fresh")
@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
@without_tls
def test_fresh_install_where_tls_is_not_possible_speaks_tcp_and_says_why(boot, built, tool):
    system = boot()
    system.package(system.tools[tool], "first install", built.new(system.cell.family))
    assert_sound(system, "tcp", findings=["tls-not-possible"])
    assert_the_evidence_is_what_the_cell_declares(system)
    assert system.conf() == b"TLS_OFF\n"
    assert not system.machine.exists(KEY)
    refused = system.machine.run("catcherctl mode tls", check=False)
    assert refused.rc == 1
    assert system.status()["tls"]["reason"] in refused.err


# The first attempt, with dpkg and with rpm. dpkg leaves a package that lacks a dependency like that, too.
UNFINISHED = {
    "unpacked": ("dpkg --unpack {}", "rpm -i --nopost --noposttrans {}"),
    "not set up": ("mv /usr/bin/python3 /usr/bin/python3.away; dpkg -i {}; mv /usr/bin/python3.away /usr/bin/python3",
                   "rpm -i --noposttrans {}"),
}


@pytest.mark.scenario("fresh")
@pytest.mark.parametrize("how", UNFINISHED)
@one_of_each_family
def test_a_first_installation_that_was_not_finished_and_the_same_again(boot, built, how):
    """The result is that of an installation that succeeds at once: nobody has disabled or stopped the service."""
    system = boot()
    package = built.new(system.cell.family)
    system.machine.copy_in(package, "/root/")
    system.machine.run(UNFINISHED[how][system.cell.family == "rpm"].format(f"/root/{package.name}"), check=False)
    assert system.service()[1] == "inactive"
    system.package(system.tools[1], "reinstall", package)
    assert_sound(system, "tls")
    assert system.show("systemctl is-enabled csulcca-check.timer") == "enabled"


@pytest.mark.scenario("reinstall")
@pytest.mark.parametrize("mode,tool", one_of(MODES, TOOLS))
def test_running_it_again_changes_nothing(boot, built, mode, tool):
    system = boot()
    system.package(system.tools[0], "install", built.new(system.cell.family))
    mode, findings = system.choose_mode(mode)
    before = system.tree(*TREES)
    pid = system.show("systemctl show -p MainPID --value CSUTKEcat")

    assert system.machine.run("catcherctl apply", check=False).out.startswith("Nothing to do.\n")
    assert system.tree(*TREES) == before
    assert system.show("systemctl show -p MainPID --value CSUTKEcat") == pid

    system.package(system.tools[TOOLS[tool]], "reinstall", built.new(system.cell.family))
    after = system.tree(*TREES)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    # The times in the dynamic linker's cache.
    assert changed <= {"/etc/ld.so.cache"}
    assert_sound(system, mode, findings=findings)


BYTECODE = "find /usr/lib/csulcca -name '*.pyc' -size +0 -printf '%p %T@\\n' | sort"


def compiled(system):
    """The files of bytecode."""
    return [line.split()[0] for line in system.show(BYTECODE).splitlines()]


@pytest.mark.scenario("reinstall")
@one_of_each_family
def test_the_hook_alone_writes_bytecode_and_all_of_it(boot, built):
    """/usr is read-only for the unit, and a power failure could cut what a later command writes."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    made = compiled(system)
    sources = system.show("find /usr/lib/csulcca -name '*.py'").splitlines()
    assert len(made) == len(sources) > 30
    system.machine.run("rm -rf /usr/lib/csulcca/catcher_install/__pycache__")
    left = system.show(BYTECODE)
    system.machine.run("catcherctl status && catcherctl cert show && catcherctl apply && systemctl restart CSUTKEcat")
    assert system.show(BYTECODE) == left

    system.package(system.tools[1], "reinstall", built.new(system.cell.family))
    assert compiled(system) == made


# A package that has /usr/bin/python3 too, made and installed.
OTHER_PYTHON = {
    "deb": r"""mkdir -p /root/other/DEBIAN /root/other/usr/bin && cd /root && cp -P /usr/bin/python3 other/usr/bin/ &&
        printf 'Package: other-python\nVersion: 1\nArchitecture: all\nMaintainer: x <x@csulcca.invalid>\n' >control &&
        printf 'Description: x\n' | cat control - >other/DEBIAN/control && dpkg-deb -b other other.deb &&
        dpkg --force-overwrite -i other.deb""",
    "rpm": r"""cd /root && printf 'Name: other-python\nVersion: 1\nRelease: 1\nSummary: x\nLicense: x\n' >other.spec &&
        printf 'BuildArch: noarch\n%%description\nx\n%%install\nmkdir -p %%{buildroot}/usr/bin\n' >>other.spec &&
        printf 'cp -P /usr/bin/python3 %%{buildroot}/usr/bin/\n%%files\n/usr/bin/python3\n' >>other.spec &&
        rpmbuild -bb --nodeps --define '_topdir /root/other' other.spec &&
        rpm -i --nodeps --replacefiles other/RPMS/noarch/*.rpm""",
}


@pytest.mark.scenario("reinstall")
@one_of_each_family
def test_bytecode_is_made_when_the_host_gets_another_python(boot, built):
    """Otherwise each start of the daemon would compile, because /usr is read-only for it."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    made = compiled(system)
    system.machine.run("find /usr/lib/csulcca -name '*.pyc' -delete")
    serving = system.show("systemctl show -p MainPID CSUTKEcat")
    system.machine.run(OTHER_PYTHON[system.cell.family], timeout=120)
    assert compiled(system) == made
    assert system.show("systemctl show -p MainPID CSUTKEcat") == serving


POLICIES = {
    "for all": "#!/bin/sh\nexit 101\n",
    "without an interpreter": "exit 101\n",
    # The name that deb-systemd-invoke gives.
    "for the unit": '#!/bin/sh\n[ "$1" != CSUTKEcat.service ] || exit 101\n',
}


@pytest.mark.scenario("policy-rc.d")
@pytest.mark.parametrize("policy,history", in_turns(POLICIES, ["first installation", "upgrade from 7.3"], share=3))
@only_deb
def test_a_policy_against_starting_services_is_kept_to(boot, built, policy, history):
    system = boot()
    mode, findings = system.cell.mode.lower(), system.first_findings()
    if history == "upgrade from 7.3":
        system.package("dpkg", "install", built.old(system.cell))
        mode, findings = "tcp", ["upgraded-tcp-kept"]
    system.machine.write("/usr/sbin/policy-rc.d", POLICIES[policy], mode=0o755)
    system.package("apt", "install", built.new("deb"))
    assert_sound(system, mode, service=("enabled", "inactive"), findings=findings)
    system.machine.run("systemctl start CSUTKEcat")
    assert_sound(system, mode, findings=findings)


@pytest.mark.scenario("fresh-not-clean")
@pytest.mark.parametrize("half", one_of(HALVES))
@needs_tls
def test_half_a_pair_is_left_alone_and_the_start_refused(boot, built, half):
    system = boot()
    half = HALVES[half]
    system.machine.write(half, b"half\n", mode=0o640)
    system.package(system.tools[0], "install", built.new(system.cell.family), check=False)
    assert system.show("rpm -q csulcca || dpkg-query -W -f '${Status}' csulcca").endswith(("ok installed", "noarch"))
    system.machine.wait_for("the refusal", lambda: system.service()[1] == "failed")
    assert system.machine.read(half) == b"half\n"
    assert system.show(f"stat -c %a {half}") == "640"
    assert sorted(system.show("ls /opt/IBM/CCA/bin").split()) == sorted(
        ["CSUTKEcat", "catcher.exe", half.rsplit("/", 1)[1]])
    assert system.findings() == ["pair-half"]
    assert "pair-half" in system.machine.journal("CSUTKEcat")


@pytest.mark.scenario("fresh-not-clean")
@pytest.mark.parametrize("content", one_of(UNUSABLE))
def test_an_unusable_configuration_is_kept_and_refused(boot, built, content):
    system = boot()
    system.machine.write(CONF, UNUSABLE[content])
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.wait_for("the refusal", lambda: system.service()[1] == "failed")
    assert system.conf() == UNUSABLE[content]
    assert "conf-unusable" in system.findings()
    assert not system.machine.exists(KEY)


@pytest.mark.scenario("programs")
@needs_tls
def test_without_openssl_the_catcher_speaks_tcp_and_says_why(boot, built):
    system = boot()
    system.machine.run("mv /usr/bin/openssl /usr/bin/openssl.away")
    system.package(system.tools[0], "install", built.new(system.cell.family))
    assert_sound(system, "tcp", findings=["tls-not-possible"])
    assert system.conf() == b"TLS_OFF\n"


@pytest.mark.scenario("programs")
@one_of_each_family
def test_without_the_package_openssl_no_package_manager_finishes(boot, built):
    """Otherwise a first installation would set the host to TCP permanently."""
    system = boot()
    remove = {"deb": "dpkg --force-depends --remove", "rpm": "rpm -e --nodeps"}
    system.machine.run(f"{remove[system.cell.family]} openssl")
    done = system.package(system.tools[1], "install", built.new(system.cell.family), check=False)
    assert done.rc != 0 and "openssl" in done.out + done.err
    assert not system.machine.exists(CONF)


@pytest.mark.scenario("programs")
@one_of_each_family
def test_the_systems_own_python_is_preferred(boot, built):
    """RHEL 8 has platform-python, and `alternatives` decides what python3 is."""
    system = boot()
    system.machine.run("ln -s $(readlink -f /usr/bin/python3) /usr/libexec/platform-python && rm /usr/bin/python3")
    system.machine.write("/usr/bin/python3", "#!/bin/sh\nexit 42\n", mode=0o755)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())


@pytest.mark.scenario("fresh-not-clean")
def test_the_port_being_held_for_a_while_is_survived(boot, built):
    system = boot()
    system.machine.run(["systemd-run", "--unit=holder", "python3", "-c", PORT_HOLDER + "port.accept()"])
    system.machine.wait_for("the holder", lambda: ":50003" in system.show("ss -Hltn"))
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("systemctl stop holder")
    system.machine.wait_for("our catcher", lambda: "catcher.exe" in system.show("ss -Hltnp"))
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())
