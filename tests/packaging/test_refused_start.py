"""A start that the control script refuses: systemctl fails and shows the reason, and no running catcher is stopped."""

import json

import pytest

from .marks import needs_tls, one_of_each_family
from .soundness import assert_sound, wait_until_it_listens
from .system import CERTIFICATE, CONF, System

pytestmark = [pytest.mark.scenario("rollback"), one_of_each_family, needs_tls]

RESTART = "systemctl restart CSUTKEcat"
# What an administrator does to a host, and what the next start finds.
BROKEN = {
    "an unusable configuration": (f"echo TLS_OFF >>{CONF}", "conf-unusable"),
    "half a pair": (f"mv {CERTIFICATE} /root/", "pair-half"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_restart_fails_and_says_why(boot, built, what):
    system: System = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    running = system.argv()
    change, id = BROKEN[what]
    system.machine.run(change)
    # The control script looks first.
    done = system.machine.run("/opt/IBM/CCA/bin/CSUTKEcat restart", check=False)
    assert done.rc == 78 and f"[{id}]" in done.err and "not restarted" in done.err
    assert system.argv() == running != ""
    # systemctl cannot, and fails each time.
    for _ in range(10):
        assert system.machine.run(RESTART, check=False).rc == 1
    assert f"[{id}]" in system.show("systemctl status -n 20 --no-pager CSUTKEcat")
    assert f"[{id}]" in system.show("journalctl -u CSUTKEcat --no-pager")
    assert system.show("systemctl is-failed CSUTKEcat") == "failed"
    assert system.machine.run("catcherctl status", check=False).rc == 1


@pytest.mark.parametrize("what", BROKEN)
def test_an_upgrade_stops_nothing_that_would_not_come_back(boot, built, what):
    system: System = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    wait_until_it_listens(system)
    pid = "systemctl show -p MainPID --value CSUTKEcat"
    running = system.show(pid)
    change, id = BROKEN[what]
    system.machine.run(f"cp -a {CONF} /root/; {change}")
    done = system.package(system.tools[0], "install", built.new(system.cell.family, "8.0.1"))
    assert f"[{id}]" in done.out + done.err + system.machine.journal()
    assert (system.service(), system.show(pid)) == (("enabled", "active"), running)
    assert id in system.findings()
    system.machine.run(f"cp -a /root/catcher.conf {CONF}; mv /root/catcher.crt {CERTIFICATE}; {RESTART}", check=False)
    assert_sound(system, "tls")


def test_restart_fails_if_the_daemon_refuses(boot, built):
    """The control script does not know the daemon's own settings; the kernel keeps an earlier connection."""
    system: System = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.handshake_from_inside()
    system.machine.write("/etc/cca/reference-catcher.conf", "backnd=127.0.0.1:9\n")
    for _ in range(10):
        assert system.machine.run(RESTART, check=False).rc == 1
    status = system.machine.run("catcherctl status --json", check=False)
    assert status.rc == 1 and [one["id"] for one in json.loads(status.out)["findings"]] == ["settings-unusable"]
    assert "line 1: not one of backend=" in system.show("journalctl -u CSUTKEcat --no-pager")
    system.machine.run(f"rm /etc/cca/reference-catcher.conf; {RESTART}")
    assert system.findings() == []


def test_a_drop_in_that_starts_something_else_still_starts(boot, built):
    """The program of the drop-in sends no message to systemd. It is not the control script."""
    system: System = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    for start in ("/opt/IBM/CCA/bin/catcher.exe", "/bin/sleep 1000"):
        system.machine.write("/etc/systemd/system/CSUTKEcat.service.d/own.conf",
                             f"[Service]\nExecStart=\nExecStart={start}\n")
        system.machine.run(f"systemctl daemon-reload && {RESTART}")
        assert system.show("systemctl is-active CSUTKEcat") == "active"
