"""A hook runs out of something: it says so, the transaction does not break, and a second run finishes the work."""

import json

import pytest

from .marks import one_of_each_family
from .soundness import assert_sound
from .system import CONF, KEY, STAMP, set_immutable
from .turns import one_of

# Directories that dpkg, apt, rpm and dnf must be able to write.
DATABASES = "lib/dpkg lib/apt lib/rpm lib/dnf lib/zypp cache log tmp"
READ_ONLY_VAR = f"""
    mkdir -p /var/lib/csulcca
    mount --rbind /var /var && mount -o remount,ro,bind /var
    for name in {DATABASES}; do
        if [ -d /var/$name ]; then
            mount --rbind /var/$name /var/$name && mount -o remount,rw,bind /var/$name
        fi
    done
"""
# Each directory gets a file system of one page, which is full.
FULL = """
    for directory in /etc/cca /var/lib/csulcca; do
        mkdir -p $directory && mount -t tmpfs -o size=4k full $directory && head -c 4096 /dev/zero > $directory/full
    done
"""
FREE = "umount /etc/cca /var/lib/csulcca"
NO_PYTHON = "mv /usr/bin/python3 /usr/bin/python3.away"
# Python is there and cannot run, for example because one of its libraries is gone.
BROKEN_PYTHON = NO_PYTHON + r" && printf '#!/bin/sh\nkill -SEGV $$\n' > /usr/bin/python3 && chmod 755 /usr/bin/python3"
MEND_PYTHON = "mv -f /usr/bin/python3.away /usr/bin/python3"
BREAKAGES = {"missing": NO_PYTHON, "broken": BROKEN_PYTHON}


def package_state(system):
    """Return `installed`, or what dpkg says instead. rpm has no state between installed and not installed."""
    return system.show("dpkg-query -W -f '${db:Status-Status}' csulcca || rpm -q --qf installed csulcca")


def install_beside_var(system, built):
    """With rpm, as in rpm-ostree, where packages do not own /var: the package's files there are missing."""
    path = built.new(system.cell.family)
    system.machine.copy_in(path, f"/root/{path.name}")
    command = {"deb": "dpkg -i", "rpm": "rpm -i --excludepath=/var"}[system.cell.family]
    return system.machine.run(f"{command} /root/{path.name} <&- 2>&1")


@pytest.mark.scenario("unwritable")
def test_a_read_only_var_is_told_and_the_next_run_cures(boot, built):
    system = boot()
    system.machine.run(READ_ONLY_VAR)
    done = install_beside_var(system, built)
    assert "/var/lib/csulcca/state.json could not be written" in done.out
    assert package_state(system) == "installed"
    assert not system.machine.exists(STAMP)
    assert "write-failed" in system.machine.journal()

    system.machine.run("mount -o remount,rw,bind /var")
    system.machine.run("catcherctl apply", check=False)
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())
    assert system.stamp()["mode"] == system.cell.mode.lower()


@pytest.mark.scenario("unwritable")
@one_of_each_family
def test_an_immutable_configuration_is_kept_told_and_cured(boot, built):
    """chattr +i does this: not even root can write, rename or remove the file."""
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell))
    system.machine.write(CONF, b"# kept\n")
    set_immutable(system, CONF, True)
    done = system.package(system.tools[1], "install", built.new(system.cell.family))
    assert package_state(system) == "installed"
    assert "/etc/cca/catcher.conf could not be written" in done.out + done.err
    assert "Traceback" not in done.out + done.err
    refused = system.machine.run("catcherctl mode tcp", check=False)
    assert refused.rc == 1, refused.out + refused.err
    assert CONF in refused.err
    assert system.conf() == b"# kept\n"

    set_immutable(system, CONF, False)
    system.machine.run("catcherctl mode tcp")
    assert_sound(system, "tcp")
    assert system.conf() == b"# kept\nTLS_OFF\n"


@pytest.mark.scenario("shortage")
def test_a_dangling_opt_is_told_and_the_next_boot_does_the_rest(boot, built):
    """As in a build of rpm-ostree or bootc: /opt leads to a place that is made at the first boot only."""
    system = boot(durable=True)
    path = f"/root/{built.new(system.cell.family).name}"
    system.machine.copy_in(built.new(system.cell.family), path)
    # With rpm the files below /opt come afterwards.
    before, hooks, after = {
        "deb": (f"dpkg --unpack {path}", "dpkg --configure csulcca", "true"),
        "rpm": ("true", f"rpm -i --excludepath=/opt {path}", f"rpm -U --replacepkgs --noscripts {path}"),
    }[system.cell.family]
    system.machine.run(before)
    system.machine.run("mv /opt /opt.away && ln -s var/opt.later /opt")
    done = system.machine.run(hooks + " <&- 2>&1", env={"SYSTEMD_OFFLINE": "1"})
    assert "Traceback" not in done.out
    assert package_state(system) == "installed"
    system.machine.run(f"rm /opt && mv /opt.away /opt && {after}")
    system.machine.reboot()
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())


@pytest.mark.scenario("shortage")
@pytest.mark.parametrize("history", one_of(["upgrade from 7.3", "first installation"]))
def test_a_full_disk_is_told_and_the_next_run_cures(boot, built, history):
    system = boot()
    mode, findings = system.cell.mode.lower(), system.first_findings()
    if history == "upgrade from 7.3":
        system.package(system.tools[1], "install", built.old(system.cell))
        mode, findings = "tcp", ["upgraded-tcp-kept"]
    system.machine.run(FULL)
    done = system.package(system.tools[1], "install", built.new(system.cell.family))
    assert f"{CONF} could not be written: No space left on device" in done.out + done.err
    assert f"{STAMP} could not be written: No space left on device" in done.out + done.err
    assert package_state(system) == "installed"
    planned = json.loads(system.show("catcherctl plan --json"))
    assert (planned["mode"], planned["history"] == "fresh") == (mode, history == "first installation")
    written = system.show("find /etc/cca /var/lib/csulcca -type f -not -name full -not -name lock")
    assert written == "", "half a file is worse than none"

    system.machine.run(FREE)
    system.machine.run("catcherctl apply", check=False)
    assert_sound(system, mode, findings=findings)
    assert system.conf() == {"tls": b"TLS_ON\n", "tcp": b"TLS_OFF\n"}[mode]


def assert_told(system, done, breakage):
    """dpkg keeps the package half-configured, and says so by its exit status; rpm's transaction succeeds."""
    assert "Traceback" not in done.out + done.err
    if breakage == "missing":
        assert "no Python at /usr/bin/python3" in done.out + done.err
        assert "install python3" in done.out + done.err
    if system.cell.family == "deb":
        assert done.rc != 0
        assert package_state(system) == "half-configured"
    else:
        assert done.rc == 0
        assert package_state(system) == "installed"


def cure(system):
    """What an administrator types once Python runs again."""
    system.machine.run(MEND_PYTHON)
    command = {"deb": "dpkg --configure -a <&-", "rpm": "catcherctl apply"}[system.cell.family]
    system.machine.run(command, check=False)
    assert package_state(system) == "installed"


@pytest.mark.scenario("no-python")
@pytest.mark.parametrize("breakage", one_of(BREAKAGES))
def test_a_first_installation_whose_hook_cannot_run_is_cured(boot, built, breakage):
    system = boot()
    system.machine.run(BREAKAGES[breakage])
    done = system.package(system.tools[1], "install", built.new(system.cell.family), check=False)
    assert_told(system, done, breakage)
    assert not system.machine.exists(CONF)
    assert not system.machine.exists(KEY)

    cure(system)
    if system.cell.family == "rpm":
        system.machine.run("systemctl restart CSUTKEcat")
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())


@pytest.mark.scenario("no-python")
@pytest.mark.parametrize("breakage,variant", one_of(BREAKAGES, ["normal", "careless"]))
def test_an_upgrade_whose_hook_cannot_run_is_cured_and_nothing_is_lost(boot, built, breakage, variant):
    """The mode and the state of the service are what they were, although the old package's scriptlets ran last.

    By dpkg or rpm alone: dnf is a Python program itself.
    """
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell, variant))
    system.machine.run(BREAKAGES[breakage])
    done = system.package(system.tools[1], "install", built.new(system.cell.family), check=False)
    assert_told(system, done, breakage)
    assert not system.machine.exists(CONF)

    cure(system)
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])
