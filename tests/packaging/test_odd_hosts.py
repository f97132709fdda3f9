"""Odd hosts: odd names and addresses, programs that fail, files that appear meanwhile, an /opt of another system."""

import json

import pytest

from tests.unit import pem
from tests.unit.authority import issue

from .catcher76 import install_7_6
from .marks import needs_tls
from .soundness import assert_sound, wait_until_it_listens
from .system import CERTIFICATE, CONF, DAEMON, KEY, STAMP

pytestmark = [pytest.mark.scenario("odd-hosts"), needs_tls]

oldest_and_newest = pytest.mark.only(lambda cell: cell.roles and cell.roles[0] in ("old client", "example"),
                                     "the oldest system and one of each family are enough")

PROGRAM = "/usr/bin/openssl"
REAL = "/usr/bin/openssl.real"
HOST_PY = "/usr/lib/csulcca/catcher_install/host.py"
CROWD = "/root/addresses"


def make_odd(system):
    """A group whose name begins as CCA's do, upper case, and more addresses than a certificate can name."""
    lines = [f"address add 2001:db8:1::{n:x}/128 dev eth0 nodad\n" for n in range(1, 3001)]
    lines += [f"address add 192.0.2.9/{length} dev eth0\n" for length in (24, 25, 26)]
    system.machine.write(CROWD, "".join(lines))
    system.machine.run(f"ip -batch {CROWD}; echo 'cca_operators:x:990:' >>/etc/group")
    system.machine.run("echo '192.0.2.9 zlinux1.example.com zlinux1' >>/etc/hosts")
    # The kernel makes temporary ones of this one (RFC 8981).
    system.machine.run("echo 2 >/proc/sys/net/ipv6/conf/eth0/use_tempaddr"
                       " && ip address add 2001:db8:2::5/64 dev eth0 nodad mngtmpaddr")
    system.machine.wait_for("a temporary address", lambda: " temporary " in system.show("ip -6 address show dev eth0"))


def names(system):
    """DNS names and addresses of the certificate in place."""
    own = json.loads(system.machine.run("catcherctl cert show --json").out)["certificates"][0]
    return own["dns_names"], own["addresses"]


def again(system):
    """Start without a pair, and wait for it."""
    system.machine.run(f"rm {KEY} {CERTIFICATE}; systemctl restart CSUTKEcat", check=False)


def test_names_and_addresses_of_an_odd_host(boot, built):
    system = boot("ZLINUX1")
    make_odd(system)
    temporary = system.show("ip -6 -o address show dev eth0 temporary").split()[3].partition("/")[0]
    done = system.package(system.tools[1], "first install", built.new(system.cell.family))
    assert f"the temporary IPv6 addresses of this host: {temporary}" in done.out + done.err + system.machine.journal()
    assert_sound(system, "tls", findings=["pair-addresses-left-out"])
    dns, addresses = names(system)
    assert dns == ["ZLINUX1", "zlinux1.example.com"]
    assert addresses.count("192.0.2.9") == 1 and len(set(addresses)) == len(addresses) > 1000
    assert temporary not in addresses
    assert system.show(f"stat -c %s {CERTIFICATE}") < "48000"
    limits = system.show("cat /proc/$(systemctl show -p MainPID --value CSUTKEcat)/limits")
    assert [line.split()[4:6] for line in limits.splitlines() if line.startswith("Max core")] == [["0", "0"]]

    # There is no certificate for half a domain, and none that was made in 1970.
    system.machine.run("ip address flush dev eth0; printf '*.bank.example' >/proc/sys/kernel/hostname")
    again(system)
    system.machine.wait_for("another pair", lambda: system.machine.exists(CERTIFICATE))
    assert names(system)[0] == ["localhost"]
    system.machine.run(f"printf ZLINUX1 >/proc/sys/kernel/hostname; cp {HOST_PY} /root/host.py")
    system.machine.run(f"sed -i 's/return time.time()/return 86400.0/w /dev/stderr' {HOST_PY}")
    again(system)
    system.machine.wait_for("the refusal", lambda: "[clock-unset]" in system.machine.journal("CSUTKEcat"))
    assert system.show(f"ls {KEY} {CERTIFICATE} 2>/dev/null") == "" and DAEMON not in system.argv()
    system.machine.run(f"cp /root/host.py {HOST_PY}")
    system.machine.wait_for("a pair", lambda: system.machine.exists(CERTIFICATE), 60)
    assert names(system)[0] == ["ZLINUX1", "zlinux1.example.com"]


@oldest_and_newest
def test_a_host_with_twenty_five_thousand_addresses_speaks_tls(boot, built):
    system = boot()
    lines = [f"address add 10.77.{n >> 8}.{n & 255}/32 dev eth0\n" for n in range(24000)]
    lines += [f"address add 2001:db8:1::{n:x}/128 dev eth0 nodad\n" for n in range(1, 1001)]
    system.machine.write(CROWD, "".join(lines))
    system.machine.run(f"ip -batch {CROWD}", timeout=300)
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    assert_sound(system, "tls", findings=["pair-addresses-left-out"])
    assert 1000 < len(names(system)[1]) < 10000
    # A host in TLS stays in TLS, with a pair and without one.
    system.machine.run("systemctl restart CSUTKEcat")
    assert_sound(system, "tls", findings=["pair-addresses-left-out"])
    again(system)
    assert_sound(system, "tls", findings=["pair-addresses-left-out"])
    assert "Traceback" not in system.machine.journal()


def test_a_system_whose_sbin_is_bin(boot, built):
    """Fedora is like this since version 42."""
    system = boot()
    system.machine.run("cp -an /usr/sbin/. /usr/bin/ && rm -r /usr/sbin && ln -s bin /usr/sbin")
    before = system.show("ls /usr/bin")
    system.package(system.tools[0], "install", built.new(system.cell.family))
    assert_sound(system, "tls")
    assert system.machine.run("/usr/bin/catcherctl mode").out == "tls\n"
    system.package(system.tools[1], "purge")
    assert system.show("ls /usr/sbin/") == before == system.show("ls /usr/bin")


def replace_openssl(system, script):
    """From now on openssl is this script. Nothing else changes."""
    system.machine.run(f"[ -e {REAL} ] || mv {PROGRAM} {REAL}")
    system.machine.write(PROGRAM, "#!/bin/sh\n" + script, mode=0o755)


def test_a_configuration_that_comes_while_the_hook_works_stays(boot, built):
    system = boot()
    replace_openssl(system, f"[ -e {CONF} ] || {{ mkdir -p /etc/cca; echo TLS_OFF >{CONF}; }}\nexec {REAL} \"$@\"\n")
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    assert system.conf() == b"TLS_OFF\n"
    assert_sound(system, "tcp")


# Reasons why openssl does not answer.
UNKNOWN = {"killed": "kill -9 $$\n", "hangs": "exec sleep 100\n", "spoilt": "echo agent: policy loaded\n"}


def keep_unknown(system, why):
    replace_openssl(system, UNKNOWN[why])


def make_known(system):
    system.machine.run(f"mv {REAL} {PROGRAM}")


def test_what_is_not_known_is_never_served_in_clear(boot, built):
    system = boot()
    keep_unknown(system, "killed")
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    assert not system.machine.exists(CONF)
    make_known(system)
    system.machine.wait_for("the next attempt", lambda: system.argv() == system.fresh_argv, 60)
    assert_sound(system, "tls")

    restarted = "systemctl restart CSUTKEcat; systemctl show -p NRestarts --value CSUTKEcat"
    for why in UNKNOWN:
        keep_unknown(system, why)
        # A remembered yes counts ...
        system.machine.run("systemctl restart CSUTKEcat", check=False)
        system.machine.wait_for(f"a start ({why})", lambda: system.argv() == system.fresh_argv, 60)
        # ... and without one a start is refused, and tried again.
        system.machine.run(f"systemctl stop CSUTKEcat; rm {STAMP}")
        system.machine.run(restarted, check=False)
        system.machine.wait_for(f"the refusal ({why})", lambda: "[tls-not-known]" in system.machine.journal(), 60)
        assert DAEMON not in system.argv() and ":50003" not in system.show("ss -Hltn"), why
        make_known(system)
        system.machine.wait_for(f"the next attempt ({why})", lambda: system.argv() == system.fresh_argv, 60)
        assert system.conf() == b"TLS_ON\n"
        system.machine.run("journalctl --rotate && journalctl --vacuum-time=1s", check=False)

    # A preloaded library that is gone makes noise, and nothing else.
    system.machine.run("echo /opt/agent/gone.so >/etc/ld.so.preload; systemctl restart CSUTKEcat")
    assert_sound(system, "tls")


# No second process: a limit of tasks, and the same answer of the kernel where that controller is missing.
ONE_TASK = "[Service]\nTasksMax=1\nSystemCallFilter=~clone clone3 fork vfork\nSystemCallErrorNumber=EAGAIN\n"
DROP_IN = "/etc/systemd/system/CSUTKEcat.service.d/tasks.conf"


def test_a_service_that_may_start_no_program_is_never_in_clear(boot, built):
    system = boot()
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    wait_until_it_listens(system)
    pair = system.machine.read(KEY), system.machine.read(CERTIFICATE)
    # The remembered yes counts.
    system.machine.write(DROP_IN, ONE_TASK)
    system.machine.run("systemctl daemon-reload && systemctl restart CSUTKEcat")
    assert_sound(system, "tls")
    # Without it, and with a mode or none, a start is refused and tried again. A fresh host is not decided upon: what
    # would decide, beside the sandbox, is left out, for the limit of tasks does not hold it everywhere.
    system.machine.write(DROP_IN, ONE_TASK + "ExecStartPre=\n")
    for gone in (STAMP, f"{STAMP} {CONF}", f"{STAMP} {CONF} {KEY} {CERTIFICATE}"):
        system.machine.run("systemctl stop CSUTKEcat; journalctl --rotate; journalctl --vacuum-time=1s")
        before = system.machine.exists(CONF)
        system.machine.run(f"rm -f {gone}; systemctl daemon-reload; systemctl restart CSUTKEcat", check=False)
        system.machine.wait_for("the refusal", lambda: "[tls-not-known]" in system.machine.journal("CSUTKEcat"))
        assert DAEMON not in system.argv() and ":50003" not in system.show("ss -Hltn")
        assert not before or CONF in gone or system.conf() == b"TLS_ON\n"
        assert CONF not in gone or not system.machine.exists(CONF)
        assert "Traceback" not in system.machine.journal()
    system.machine.run(f"rm {DROP_IN}; systemctl daemon-reload; systemctl restart CSUTKEcat")
    assert_sound(system, "tls")
    assert system.conf() == b"TLS_ON\n" and system.machine.read(KEY) != pair[0]


# The package manager needs some tasks for itself.
TASKS = range(1, 10)
# Without systemd's own limit: the controller belongs to cgroup v1 on hosts that have both.
FEW_TASKS = """#!/bin/sh
number=$1
shift
if grep -qw pids /sys/fs/cgroup/cgroup.controllers; then
    exec systemd-run --quiet --scope -p TasksMax="$number" "$@"
fi
mkdir -p /srv/pids
# All containers see the same groups there, so this one needs a group of its own.
[ -s /srv/few ] || { mount -t cgroup -o pids pids /srv/pids && mktemp -d /srv/pids/few.XXXXXX >/srv/few; } || exit 9
few=$(cat /srv/few)
echo "$number" >"$few/pids.max"
echo $$ >"$few/cgroup.procs"
exec "$@"
"""


@oldest_and_newest
def test_a_transaction_with_few_tasks_never_decides_for_tcp(boot, built):
    """If the package manager itself can finish, its exit status is 0. In the end the host runs in TLS."""
    system = boot()
    package = built.new(system.cell.family)
    system.machine.copy_in(package, "/root/")
    system.machine.write("/root/few", FEW_TASKS, mode=0o755)
    command = {"deb": "dpkg -i", "rpm": "rpm -i"}[system.cell.family]
    installed = []
    for number in TASKS:
        done = system.machine.run(f"/root/few {number} {command} /root/{package.name} <&-", check=False)
        assert done.rc != 9, "this computer has no pids controller"
        assert "Traceback" not in done.out + done.err + system.machine.journal()
        assert not system.machine.exists(CONF) or system.conf() == b"TLS_ON\n"
        if system.machine.exists("/usr/lib/csulcca/run"):
            # In postinst, dpkg's own helper may get no task beside the compilation.
            assert done.rc == 0 or "dpkg-maintscript-helper" in done.err, done.out + done.err
            installed.append(number)
            # The limit may have stopped systemctl, too.
            system.machine.run("dpkg --configure -a <&-; catcherctl apply; systemctl enable --now CSUTKEcat")
            assert_sound(system, "tls")
            system.package(system.tools[1], "purge")
        system.machine.run("rm -rf /etc/cca /opt/IBM /var/lib/csulcca")
    assert 3 <= len(installed) < len(TASKS), installed


# The state before, the mode, the findings, and the limits of tasks.
UPGRADES = {
    "7.3": ("tcp", ["upgraded-tcp-kept"], (4, 6, 8, 10)),
    # Without a catcher.conf.
    "7.6": ("tls", [], (4, 6, 8, 10)),
    "8.0": ("tls", [], (4, 6, 8, 10)),
}


def install_old(system, built, old):
    if old == "7.6":
        install_7_6(system)
    else:
        package = built.old(system.cell) if old == "7.3" else built.new(system.cell.family)
        system.package(system.tools[1], "install", package)


@oldest_and_newest
@pytest.mark.parametrize("old", UPGRADES)
def test_an_upgrade_with_few_tasks_keeps_the_mode(boot, built, old):
    """Without the limit, the stopped work is finished. Meanwhile no decision changes."""
    system = boot()
    mode, findings, numbers = UPGRADES[old]
    conf = {"tls": b"TLS_ON\n", "tcp": b"TLS_OFF\n"}[mode]
    package = built.new(system.cell.family, "8.0.1")
    system.machine.copy_in(package, "/root/")
    system.machine.write("/root/few", FEW_TASKS, mode=0o755)
    command = {"deb": "dpkg -i", "rpm": "rpm -U"}[system.cell.family]
    begun = []
    for number in numbers:
        install_old(system, built, old)
        done = system.machine.run(f"/root/few {number} {command} /root/{package.name} <&-", check=False)
        assert done.rc != 9, "this computer has no pids controller"
        told = f"{number} tasks: {done.rc}\n{done.out}{done.err}"
        assert "Traceback" not in told + system.machine.journal(), told
        assert not system.machine.exists(CONF) or system.conf() == conf, told
        if system.machine.exists("/usr/lib/csulcca/run"):
            begun.append(number)
        # dpkg continues where it was stopped. For rpm the work is done, and a second run has nothing to do.
        system.machine.run("dpkg --configure -a <&- || catcherctl apply; systemctl daemon-reload", check=False)
        system.machine.run(f"{command} --force /root/{package.name} <&-" if system.cell.family == "rpm" else
                           f"{command} /root/{package.name} <&-")
        assert system.conf() == conf, told
        assert_sound(system, mode, findings=findings)
        system.package(system.tools[1], "purge")
        system.machine.run("rm -rf /etc/cca /opt/IBM /var/lib/csulcca")
    assert begun, numbers


LURES = ("/bin/true", "/bin/sh", "/usr/bin/openssl", "/usr/bin/python3", "/usr/bin/getent", "/usr/bin/systemctl",
         "/usr/bin/rpm", "/usr/bin/dpkg-query", "/usr/sbin/policy-rc.d", "/usr/lib/csulcca/run", DAEMON)


def test_a_look_at_another_root_runs_nothing_of_it(boot, built):
    """Each program in the tree is a trap. Nothing in the tree changes."""
    system = boot()
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    for name in LURES:
        system.machine.write(f"/srv/tree{name}", "#!/bin/sh\ntouch /ran /srv/ran\n", mode=0o755)
    before = system.tree("/srv/tree")
    for command in ("plan --root /srv/tree", "plan --root /srv/tree --json"):
        done = system.machine.run(f"catcherctl {command}", check=False)
        assert "Traceback" not in done.out + done.err and done.out, done.err
    assert not any(system.machine.exists(path) for path in ("/ran", "/srv/ran", "/srv/tree/ran", "/srv/tree/srv/ran"))
    assert system.tree("/srv/tree") == before


def assert_request_says(system, why):
    """A certificate request needs cryptography: a line that says what is wrong, and what to type."""
    done = system.machine.run("catcherctl cert request", check=False)
    lines = done.err.splitlines()
    assert done.rc == 1 and 2 <= len(lines) <= 4, done
    assert why in lines[0] and "Traceback" not in done.err and done.out == "", done


def test_a_broken_cryptography_costs_nothing_but_itself(boot, built):
    system = boot()
    where = system.show("python3 -c 'import cryptography; print(cryptography.__path__[0])'")
    system.machine.run(f"mv {where} {where}.away && mkdir {where}")
    system.machine.write(f"{where}/__init__.py", "raise SystemExit(3)\n")
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    assert_sound(system, "tls")
    assert_request_says(system, "python3-cryptography cannot be used (SystemExit)")
    system.machine.run(f"rm -r {where} && mv {where}.away {where}")
    # Only a part of the host is odd, and there is no pair at first.
    system.machine.run(f"mv {where}/hazmat/bindings {where}/hazmat/bindings.away")
    again(system)
    assert_sound(system, "tls")
    assert_request_says(system, "python3-cryptography cannot be used (")
    system.machine.run(f"mv {where}/hazmat/bindings.away {where}/hazmat/bindings")


@pytest.mark.only(lambda cell: cell.roles and cell.roles[0] == "example", "OpenSSL 1.1.1 does not know that setting")
def test_a_policy_that_nothing_can_meet_is_a_refusal_and_no_loop(boot, built):
    """The policy says fips=yes, and there is no FIPS provider."""
    system = boot()
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    system.machine.run("cp -L /etc/ssl/openssl.cnf /root/openssl.cnf")
    # The whole file is replaced, because its last openssl_conf counts.
    system.machine.write("/etc/ssl/openssl.cnf", "openssl_conf = broken\n[broken]\nalg_section = evp\n"
                         "[evp]\ndefault_properties = fips=yes\n")
    system.package(system.tools[1], "reinstall", built.new(system.cell.family))
    system.machine.run("systemctl restart CSUTKEcat", check=False)
    state = "systemctl show -p ActiveState,SubState,NRestarts CSUTKEcat"
    system.machine.wait_for("a refused start", lambda: "ActiveState=failed" in system.show(state))
    before = system.show(state)
    # RestartSec= is two seconds.
    system.machine.run("sleep 5")
    assert system.show(state) == before and system.argv() == ""
    assert "pair-unusable" in system.findings()
    checked = system.machine.run("catcherctl cert check", check=False)
    assert checked.rc != 0 and "allows no TLS 1.2 or newer" in checked.out + checked.err, checked
    assert_request_says(system, "")
    journal = system.machine.journal()
    assert "Traceback" not in journal and "internal fault" not in journal
    system.machine.run("cp /root/openssl.cnf /etc/ssl/openssl.cnf; systemctl restart CSUTKEcat")
    assert_sound(system, "tls")


def test_an_opt_of_8_0_in_a_new_system_is_in_tls(boot, built):
    """/opt is moved with and without /var. Neither contains catcher.conf."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("systemctl stop CSUTKEcat; cp -a /opt/IBM /srv/ && cp -a /var/lib/csulcca /srv/")
    pair = system.machine.read(KEY), system.machine.read(CERTIFICATE)
    for state in (True, False):
        system.package(system.tools[1], "purge")
        system.machine.run("rm -rf /opt/IBM /opt/ibm /etc/cca /var/lib/csulcca; mkdir -p /opt; cp -a /srv/IBM /opt/")
        if state:
            system.machine.run("cp -a /srv/csulcca /var/lib/")
        system.package(system.tools[1], "install", built.new(system.cell.family))
        assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == pair
        assert system.conf() == b"TLS_ON\n", "the installation decides, not the start"
        # Without the links of the service, nothing enables it.
        system.machine.run("systemctl enable CSUTKEcat && systemctl restart CSUTKEcat")
        status = system.status()
        assert status["mode"]["configured"] == "tls", status
        assert "upgraded-tcp-kept" not in [one["id"] for one in status["findings"]]


def test_a_pair_in_a_place_that_a_drop_in_shows(boot, built):
    """The unit hides the homes and /run: a pair there is refused until a drop-in lets the service look."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    key = pem.key_of("prime256v1")
    for directory, drop_in in (("/root/tls", "ProtectHome=no"), ("/run/agent", "BindReadOnlyPaths=/run/agent")):
        system.machine.write(f"{directory}/catcher.key", key, mode=0o600)
        system.machine.write(f"{directory}/catcher.crt", issue(key, "zlinux1", ["zlinux1"]))
        system.machine.run(f"rm {KEY} {CERTIFICATE}; ln -s {directory}/catcher.key {directory}/catcher.crt"
                           " /opt/IBM/CCA/bin/")
        assert system.findings() == ["pair-unusable"]
        assert system.machine.run("/opt/IBM/CCA/bin/CSUTKEcat check", check=False).rc == 78
        system.machine.write("/etc/systemd/system/CSUTKEcat.service.d/show.conf", f"[Service]\n{drop_in}\n")
        system.machine.run("systemctl daemon-reload && systemctl restart CSUTKEcat")
        assert_sound(system, "tls")
        system.machine.run("/opt/IBM/CCA/bin/CSUTKEcat check")
