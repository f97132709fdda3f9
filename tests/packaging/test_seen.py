"""What preinst sees of the old service on a real system, and what it does not believe."""

import re

import pytest

from .catcher76 import OF_7_6, UNIT, UNITS, install_7_6
from .marks import needs_tls, only_deb
from .soundness import assert_sound
from .system import CERTIFICATE, DAEMON, KEY, talk_tcp
from .turns import TOOLS, in_turns, one_of

pytestmark = pytest.mark.scenario("seen")

NOTE = "/var/lib/csulcca/before-upgrade"
# How the mode is seen, by what the old prerm did before: nothing (rpm's never does), or "systemctl stop".
SEEN = {
    "the daemon itself": ("process", "last-run"), "a script": ("process", "no"),
    "a script, and it logs": ("process", "journal"), "in the background": ("process", "no"),
}


def run_preinst(system, built):
    """What the new package's preinst notes, run as the package manager would."""
    package = built.new(system.cell.family)
    system.machine.copy_in(package, f"/root/{package.name}")
    if system.cell.family == "deb":
        system.machine.run(f"dpkg-deb -e /root/{package.name} /srv/control && DPKG_MAINTSCRIPT_NAME=preinst"
                           " DPKG_MAINTSCRIPT_PACKAGE=csulcca sh /srv/control/preinst upgrade 7.6.10-1")
    else:
        system.machine.run(f"rpm -qp --nosignature --qf '%{{PREIN}}' /root/{package.name} >/srv/pre && sh /srv/pre 2")
    return dict(line.split("=", 1) for line in system.machine.read(NOTE).decode().splitlines())


@pytest.mark.parametrize("unit,tls", one_of(UNITS, ["-tls", ""]))
def test_the_mode_of_the_daemon_that_ran_is_seen(boot, built, unit, tls):
    system = boot()
    system.package(system.tools[1], "install", built.old(system.cell))
    system.machine.run("systemctl stop CSUTKEcat")
    system.machine.write(DAEMON, OF_7_6, mode=0o755)
    system.machine.write(UNIT, UNITS[unit].format(daemon=DAEMON, tls=tls) + "[Install]\nWantedBy=multi-user.target\n")
    system.machine.run("systemctl daemon-reload && systemctl start CSUTKEcat")
    system.machine.wait_for("the daemon", lambda: DAEMON in system.argv())
    mode, (running, stopped) = "tls" if tls else "tcp", SEEN[unit]

    noted = run_preinst(system, built)
    assert (noted["mode"], noted["seen"], noted["active"]) == (mode, running, "yes")

    system.machine.run(f"rm {NOTE}; journalctl --sync; systemctl stop CSUTKEcat")
    noted = run_preinst(system, built)
    assert (noted["mode"], noted["seen"]) == ("unknown" if stopped == "no" else mode, stopped)


@needs_tls
@pytest.mark.parametrize("tool", TOOLS)
def test_a_daemon_of_7_6_that_was_seen_in_tls_is_in_tls_after_the_upgrade(boot, built, tool):
    """With a pair of its own and no catcher.conf."""
    system = boot()
    pair = install_7_6(system)
    system.package(system.tools[TOOLS[tool]], "install", built.new(system.cell.family))
    assert system.conf() == b"TLS_ON\n"
    assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == pair
    assert_sound(system, "tls")


SET_STORAGE = "systemctl restart systemd-journald"
NONE = "/etc/systemd/journald.conf.d/none.conf", "[Journal]\nStorage=none\n"
# How the journal comes to keep nothing of what dpkg's old prerm does: what is written, and what is run after it.
KEEPS_NOTHING = {
    "since boot": (*NONE, SET_STORAGE + " && rm -rf /run/log/journal/* /var/log/journal/*"),
    "since now": (*NONE, SET_STORAGE),
    "of this level": ("/etc/systemd/journald.conf.d/level.conf", "[Journal]\nMaxLevelStore=warning\n", SET_STORAGE),
    "of systemd": ("/etc/systemd/system.conf.d/level.conf", "[Manager]\nLogLevel=warning\n", "systemctl daemon-reexec"),
}


# A service that is not enabled and was started by hand: what dpkg's old prerm leaves of it, with a journal and without.
@only_deb
@pytest.mark.parametrize("keeps,enabled", in_turns(KEEPS_NOTHING, ["enabled", "disabled"]))
def test_a_journal_that_keeps_nothing(boot, built, keeps, enabled):
    system = boot()
    system.package("dpkg", "install", built.old(system.cell, "careless"))
    if enabled == "disabled":
        system.machine.run("systemctl disable CSUTKEcat")
    path, content, then = KEEPS_NOTHING[keeps]
    system.machine.write(path, content)
    system.machine.run(then)
    assert bool(system.show("journalctl -q -b -n 1 -o cat _PID=1")) == (keeps != "since boot")
    assert system.service() == (enabled, "active")
    done = system.package("dpkg", "install", built.new("deb"))
    if enabled == "enabled":
        assert system.service() == ("enabled", "active")
        assert "not known whether" not in done.out + done.err
    else:
        assert system.service() == ("disabled", "inactive")
        assert "it is not known whether the old catcher ran" in done.out + done.err
        assert "systemctl start CSUTKEcat" in done.out + done.err
    assert system.conf() == b"TLS_OFF\n"


@only_deb
@pytest.mark.parametrize("enabled", one_of(["enabled", "disabled"]))
def test_a_journal_that_keeps_all_knows_that_it_was_stopped(boot, built, enabled):
    """Only the journal shows that the service was stopped. It must not be started."""
    system = boot()
    system.package("dpkg", "install", built.old(system.cell, "careless"))
    system.machine.run("systemctl stop CSUTKEcat")
    if enabled == "disabled":
        system.machine.run("systemctl disable CSUTKEcat")
    done = system.package("dpkg", "install", built.new("deb"))
    assert "not known whether" not in done.out + done.err
    assert system.service() == (enabled, "inactive")


LIE = """
import socket
fields = "MESSAGE=Stopped\\nMESSAGE_ID=9d1aaa27d60140bd96365438aad20286\\nUNIT=CSUTKEcat.service\\n_PID=1\\n_UID=0\\n"
journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
journal.sendto(fields.encode(), "/run/systemd/journal/socket")
"""


@only_deb
def test_a_user_cannot_have_a_stopped_service_started(boot, built):
    """A user sends the message while the package manager runs. A hook of dpkg finds the right moment."""
    system = boot()
    system.package("dpkg", "install", built.old(system.cell, "careless"))
    system.machine.run("systemctl disable --now CSUTKEcat")
    system.machine.write("/srv/lie.py", LIE, mode=0o755)
    system.machine.write("/etc/dpkg/dpkg.cfg.d/lie",
                         'pre-invoke="setpriv --reuid=65534 --clear-groups python3 /srv/lie.py"\n')
    system.package("dpkg", "install", built.new("deb"))
    assert system.show("journalctl -o cat _UID=65534 | head -1") == "Stopped"
    assert_sound(system, "tcp", service=("disabled", "inactive"), findings=["upgraded-tcp-kept"])


@pytest.mark.parametrize("variant,tool", one_of(["careless", "normal"], TOOLS))
def test_cca_5_is_refused_and_its_service_runs_on(boot, built, variant, tool):
    system = boot()
    tool = system.tools[TOOLS[tool]]
    system.package(tool, "install", built.old(system.cell, variant))
    # Where CCA 5 has its programs. Since CCA 6 this is a link, in the rpm only.
    system.machine.run("rm -f /opt/IBM/CEX3C; mkdir -p /opt/IBM/CEX3C/bin && touch /opt/IBM/CEX3C/bin/ivp.e")
    before = system.tree("/opt", "/etc/cca", "/etc/systemd")

    done = system.package(tool, "install", built.new(system.cell.family), check=False)

    assert done.rc != 0 and "an upgrade from CCA 5" in done.out + done.err
    assert system.service() == ("enabled", "active")
    assert "ping" in talk_tcp(system.workstation.machine, system.machine).out
    assert not system.machine.exists("/usr/lib/csulcca/run")
    after = system.tree("/opt", "/etc/cca", "/etc/systemd")
    assert {path: what for path, what in after.items() if what[0] != "d"} == {
        path: what for path, what in before.items() if what[0] != "d"}

    # What the message says to do next. The removal of CCA 5's package leaves only its key storage.
    system.package(tool, "remove")
    system.machine.run("cd /opt/IBM/CEX3C && mkdir keys && touch keys/deskey.list && rm -rf bin")
    done = system.package(tool, "install", built.new(system.cell.family), check=False)
    assert (done.rc == 0) == (system.cell.family == "deb"), "rpm puts a link there"
    if done.rc != 0:
        assert not system.machine.exists("/usr/lib/csulcca/run")
        typed = re.search("mv /opt/IBM/CEX3C \\S+", done.out + done.err)
        assert typed is not None
        system.machine.run(typed[0])
        system.package(tool, "install", built.new(system.cell.family))
    system.machine.run("catcherctl mode tcp")
    assert_sound(system, "tcp")
    assert system.show("ls /opt/IBM/CEX3C*/keys") == "deskey.list"
