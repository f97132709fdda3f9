"""CCA 7.6 in TLS, with a pair and no directive in catcher.conf, upgraded in ways that hide it: it stays in TLS."""

import pytest

from .catcher76 import UNIT, install_7_6
from .marks import needs_tls, one_of_each_family, only_deb, only_rpm
from .soundness import assert_sound
from .system import CERTIFICATE, CONF, DAEMON, KEY
from .turns import TOOLS, one_of

pytestmark = [pytest.mark.scenario("seen"), needs_tls]

ODD = b"# ours\r\n# TLS_OFF would be a directive\r\n"
# The commands before the upgrade, the upgrade, and the commands after it, for dpkg and for rpm.
UNPACK, AGAIN = ("dpkg --unpack {}", "rpm -U --nopost --noposttrans {}"), ("dpkg -i {}", "rpm -U --force {}")
WAYS = {
    "without scriptlets": ("true", ("dpkg -i {}", "rpm -U --noscripts {}"), "reboot", ("", "mode-not-seen")),
    "without preinst": ("true", ("dpkg -i {}", "rpm -U --nopre {}"), "true", ("", "")),
    "half, then booted": ("true", UNPACK, "reboot", ("", "")),
    "half, then again": ("true", UNPACK, "again", ("", "")),
    # dpkg's old prerm has stopped the daemon, which with rpm still runs.
    "half, and the note is lost": ("true", UNPACK, "rm /var/lib/csulcca/before-upgrade", ("mode-not-seen", "")),
    "comments behind a link": (
        "mkdir -p /etc/cca /srv/conf; printf '# ours\\r\\n# TLS_OFF would be a directive\\r\\n' >/srv/conf/c;"
        f" ln -s /srv/conf/c {CONF}", AGAIN, "true", ("", "")),
    "masked until the next boot": (
        "systemctl mask --runtime CSUTKEcat", AGAIN,
        "systemctl unmask --runtime CSUTKEcat; systemctl restart CSUTKEcat", ("mode-not-seen", "")),
    # The vendor's own 8.x, before its first release.
    "of 8.0.0~1": ("true", AGAIN, "true", ("", "")),
    "stopped before": ("systemctl stop CSUTKEcat", AGAIN, "systemctl start CSUTKEcat", ("", "")),
    "the programs behind a link": ("mv /opt/IBM /srv/IBM && ln -s /srv/IBM /opt/IBM", AGAIN, "true", ("", "")),
}


@pytest.mark.parametrize("way", WAYS)
def test_7_6_in_tls_is_in_tls_after(boot, built, way):
    before, upgrades, after, findings = WAYS[way]
    system = boot(durable=True)
    is_rpm = system.cell.family == "rpm"
    pair = install_7_6(system, "8.0.0~1" if way == "of 8.0.0~1" else "7.6.10")
    system.machine.run(before)
    path = f"/root/{built.new(system.cell.family).name}"
    system.machine.copy_in(built.new(system.cell.family), path)
    system.machine.run(upgrades[is_rpm].format(path) + " <&-")
    if after == "reboot":
        system.machine.reboot()
    else:
        system.machine.run(AGAIN[is_rpm].format(path) if after == "again" else after)
    finish = "catcherctl apply" if is_rpm else "dpkg --configure -a"
    system.machine.run(finish + " <&-; systemctl daemon-reload; systemctl restart CSUTKEcat", check=False)
    assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == pair
    assert_sound(system, "tls", findings=[one for one in (findings[is_rpm],) if one])
    assert system.conf() == (ODD + b"TLS_ON\r\n" if way == "comments behind a link" else b"TLS_ON\n")


def test_7_6_that_has_not_run_since_the_boot(boot, built):
    """For example, in an update before the services start. Then no mode can be seen, and the pair decides."""
    system = boot(durable=True)
    pair = install_7_6(system)
    system.machine.run("systemctl disable CSUTKEcat")
    system.machine.reboot()
    system.machine.run("systemctl enable CSUTKEcat")
    assert system.argv() == ""
    new = built.new(system.cell.family)
    system.machine.copy_in(new, f"/root/{new.name}")
    if system.cell.family == "rpm":
        system.machine.run(f"rpm -U --noposttrans /root/{new.name}")
        assert b"version=7.6.10\n" in system.machine.read("/var/lib/csulcca/before-upgrade")
        system.machine.run("/usr/lib/csulcca/run scriptlet rpm 2")
    else:
        system.machine.run(f"dpkg -i /root/{new.name} <&-")
    assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == pair
    assert system.conf() == b"TLS_ON\n"
    assert_sound(system, "tls", service=("enabled", "inactive"), findings=["mode-not-seen"])


@pytest.mark.parametrize("tool,verb", one_of(TOOLS, ["remove", "purge"]))
def test_7_6_in_tls_that_was_removed_before(boot, built, tool, verb):
    system = boot()
    tool = system.tools[TOOLS[tool]]
    pair = install_7_6(system)
    system.package(tool, verb)
    system.package(tool, "install", built.new(system.cell.family))
    assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == pair
    assert_sound(system, "tls", findings=["mode-not-seen"])


def test_a_reinstallation_and_a_downgrade_keep_mode_and_pair(boot, built):
    """After a reinstallation, a downgrade within 8.x and the upgrade again, mode and pair are the same."""
    system = boot()
    old, new = built.new(system.cell.family), built.new(system.cell.family, "8.0.1")
    system.package(system.tools[1], "first install", old)
    assert_sound(system, "tls")
    pair = system.tree(KEY, CERTIFICATE)
    for path in (old, new):
        system.machine.copy_in(path, f"/root/{path.name}")
    steps = {
        "deb": ("dpkg -i {old}", "dpkg -i {new}", "dpkg -i {old}", "dpkg -i --force-confnew {old}",
                "apt-get -y --allow-downgrades install {new}", "apt-get -y reinstall {new}"),
        "rpm": ("rpm -U --force {old}", "rpm -U --replacepkgs {old}", "rpm -U {new}", "rpm -U --oldpackage {old}",
                "rpm -U --nopre {new}", "rpm -U --noscripts --force {new}"),
    }[system.cell.family]
    for step in steps:
        system.machine.run(step.format(old=f"/root/{old.name}", new=f"/root/{new.name}") + " <&-")
        assert system.tree(KEY, CERTIFICATE) == pair, step
        assert_sound(system, "tls")
        assert DAEMON in system.argv()


# zypper leaves out %posttrans if another package of the same command fails. A killed upgrade leaves both packages, and
# an administrator may remove the old one.
UNFINISHED = {"without %posttrans": "rpm -U --noposttrans {}",
              "the old one by hand": "rpm -i --force --noposttrans {} && rpm -e csulcca-7.3.0"}


@only_rpm
@pytest.mark.parametrize("way", UNFINISHED)
@pytest.mark.parametrize("state", ["enabled", "disabled"])
def test_7_3_that_disables_itself_last_goes_on(boot, built, way, state):
    system = boot()
    system.package("rpm", "first install", built.old(system.cell, "careless"))
    system.machine.run(f"mv /opt/IBM /srv/IBM && ln -s /srv/IBM /opt/IBM; systemctl {state[:-1]} CSUTKEcat")
    new = built.new("rpm")
    system.machine.copy_in(new, "/root/")
    system.machine.run(UNFINISHED[way].format(f"/root/{new.name}"))
    assert system.service() == (state, "active")
    assert system.show("readlink /opt/IBM") == "/srv/IBM"
    assert system.show("systemctl is-enabled csulcca-check.timer") == "enabled"
    system.machine.run("catcherctl apply", check=False)
    assert_sound(system, "tcp", service=(state, "active"), findings=["upgraded-tcp-kept"])


@only_deb
@one_of_each_family
def test_7_3_in_a_container_with_an_uptime_of_its_own(boot, built):
    """lxcfs shows the time since the container's boot, and the starts of processes count from the host's."""
    system = boot()
    system.package("dpkg", "install", built.old(system.cell, "careless"))
    system.machine.run("echo 5.00 5.00 >/root/uptime && mount --bind /root/uptime /proc/uptime")
    system.package("apt", "install", built.new("deb"))
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])


# An exported SHELLOPTS counts for each bash, and an ignored signal for each program that is started.
ODD_CALLER = """
mount -t tmpfs -o noexec,size=64k none /tmp && mount -t tmpfs -o noexec none /var/tmp && umask 000
trap '' PIPE TERM HUP INT && exec env HOME=/nowhere TMPDIR=/nowhere TZ=:/nowhere LANG=tr_TR.UTF-8 LC_ALL=xx_YY \\
    POSIXLY_CORRECT=1 SYSTEMD_COLORS=1 SYSTEMD_LOG_LEVEL=debug SHELLOPTS=errexit:nounset:noclobber:pipefail:noglob \\
    {} <&- 2>/dev/full
"""


@one_of_each_family
def test_an_odd_caller_changes_nothing(boot, built):
    system = boot()
    family = system.cell.family
    system.package(system.tools[1], "install", built.old(system.cell, "careless"))
    for version in ("8.0.0", "8.0.1"):
        path = built.new(family, version)
        system.machine.copy_in(path, "/root/")
        system.machine.run(ODD_CALLER.format(f"{'dpkg -i' if family == 'deb' else 'rpm -U'} /root/{path.name}"))
        assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])
        assert system.show("find /var/lib/csulcca /etc/cca /opt/IBM /usr/lib/csulcca -perm -2 ! -type l") == ""


DIVERT = "dpkg-divert --rename --add {0} && cp {0}.distrib {0} && systemctl daemon-reload"


@only_deb
@one_of_each_family
def test_7_3_whose_unit_is_diverted(boot, built):
    """An administrator's copy of the unit is used in place of ours, and has Type=forking."""
    system = boot()
    system.package("dpkg", "install", built.old(system.cell))
    system.machine.run(DIVERT.format(UNIT))
    system.package("apt", "install", built.new("deb"))
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept", "unit-forking"])


OTHER = """Name: other
Version: 1
Release: 1
Summary: x
License: x
BuildArch: noarch
Requires: csulcca >= 8
%description
x
%pre
exit 1
%files
"""


@pytest.mark.only(lambda cell: cell.package_manager == "zypper", "the others never leave out %posttrans")
def test_7_3_beside_a_package_that_fails(boot, built):
    """zypper then says "%posttrans scripts skipped while aborting"."""
    system = boot()
    system.package("rpm", "first install", built.old(system.cell, "careless"))
    new = built.new("rpm")
    system.machine.copy_in(new, "/root/")
    system.machine.write("/root/other.spec", OTHER)
    system.machine.run("rpmbuild -bb --nodeps --define '_topdir /root/other' /root/other.spec")
    both = f"/root/{new.name} /root/other/RPMS/noarch/other-1-1.noarch.rpm"
    done = system.machine.run(f"zypper -n install --allow-unsigned-rpm {both} <&- 2>&1", check=False)
    assert done.rc != 0 and system.show("rpm -q csulcca other").startswith("csulcca-8"), done.out
    assert system.service() == ("enabled", "active")
