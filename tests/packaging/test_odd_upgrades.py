"""CCA 7.6 in TLS, with a pair and no directive in catcher.conf, upgraded in ways that hide it: it stays in TLS."""

import pytest

from .catcher76 import install_7_6
from .marks import needs_tls
from .soundness import assert_sound
from .system import CERTIFICATE, CONF, DAEMON, KEY
from .turns import TOOLS, one_of

pytestmark = [pytest.mark.scenario("seen"), needs_tls]

ODD = b"# ours\r\n# TLS_OFF would be a directive\r\n"
# What is done before, the upgrade, and what is done after it, in dpkg's words and in rpm's.
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
