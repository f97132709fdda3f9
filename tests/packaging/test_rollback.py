"""If a change of pair or mode fails on a real system, the previous state is back and in use."""

import json

import pytest

from tests.unit import pem
from tests.unit.authority import issue

from .marks import needs_tls, one_of_each_family
from .system import CERTIFICATE, CONF, PORT_HOLDER
from .turns import one_of

pytestmark = needs_tls

DROP_IN = "/etc/systemd/system/CSUTKEcat.service.d/fault.conf"
START = "/opt/IBM/CCA/bin/CSUTKEcat start"
INSTALL = "catcherctl cert install /root/new.key /root/new.crt"
# Not below /root, which the unit does not see.
OTHER = "/srv/other"
WAS = "/srv/was"
# The bytes of a file that only an administrator can have written.
ODD_TCP = b"\xef\xbb\xbf# kept by hand\r\n\r\n  TLS_OFF  \r\n# no end of line"
ODD_TLS = ODD_TCP.replace(b"TLS_OFF", b"TLS_ON")

# A drop-in that lets each start fail as long as the change is there.
FAULTS = {
    "is not started": "exit 1",
    "ends at once": "exit 1",
    "is another program with another pair": f"exec {OTHER}/catcher.exe -tls",
    "speaks TCP": "exec /opt/IBM/CCA/bin/catcher.exe",
    "speaks TLS": "exec /opt/IBM/CCA/bin/catcher.exe -tls",
    "loses the port": f"systemctl start thief; exec {START}",
}
# Another service, which says that it is up as soon as it has the port.
THIEF = f"""{PORT_HOLDER}
import os, signal
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
signal.pause()
"""


@pytest.fixture
def system(boot, built):
    """A host in TLS mode, with a new pair in /root, and another pair in OTHER that is not used."""
    system = boot()
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    wait_only(system, 3)
    for name in ("/root/new", f"{OTHER}/catcher"):
        key = pem.key_of("prime256v1")
        system.machine.write(name + ".key", key, mode=0o600)
        system.machine.write(name + ".crt", issue(key, "zlinux1", ["zlinux1"]))
    system.machine.run(f"cp /opt/IBM/CCA/bin/catcher.exe {OTHER}/")
    return system


def wait_only(system, seconds: int) -> None:
    """Shorten the times that catcherctl waits for a daemon and for an answer. Its 15 s are too long for a test."""
    change = rf"s/^\(ANSWER\|LOOK\)_SECONDS = [0-9]*$/\1_SECONDS = {seconds}/w /dev/stdout"
    changed = system.machine.run(["sed", "-i", change, "/usr/lib/csulcca/catcher_install/admin/daemon.py"]).out
    assert len(changed.splitlines()) == 2, changed


def break_start(system, path: str, fault: str) -> None:
    """Let each start fail as long as *path* does not have its present bytes."""
    system.machine.run(f"cp {path} {WAS}")
    as_before = f"cmp -s {path} {WAS}"
    start = f"ExecStart=\nExecStart=/bin/sh -c '{as_before} && exec {START}; {FAULTS[fault]}'"
    if fault == "is not started":
        start = f"ExecStartPre=/bin/sh -c '{as_before}'"
    if fault == "loses the port":
        # A directory that the sandbox hides.
        start += "\nBindReadOnlyPaths=/run/systemd/private -/run/dbus"
    system.machine.write(DROP_IN, f"[Service]\n{start}\n")
    system.machine.run("systemctl daemon-reload")


def seen(system) -> str:
    """What the port speaks to a real connection: the certificate's SHA-256, or "tcp"."""
    found = json.loads(system.machine.run("catcherctl probe 127.0.0.1 --json", check=False).out)
    return found["chain"][0]["sha256"] if found["state"] == "tls" else found["state"]


PAIR_NOT_SHOWN = {
    "is not started": "the restart failed: ",
    "ends at once": "the restart failed: Job for CSUTKEcat.service failed",
    "is another program with another pair": "catcher.exe (PID ",
    "speaks TCP": "it speaks plain TCP",
}
TLS_DID_NOT_COME_UP = {
    "is not started": "TLS does not work: the restart failed",
    "ends at once": "TLS does not work: the restart failed: Job for CSUTKEcat.service failed",
    "speaks TCP": "TLS does not work: it speaks plain TCP",
    "is another program with another pair": "TLS does not work: catcher.exe (PID ",
}
TCP_DID_NOT_COME_UP = {
    "ends at once": "TCP does not work: the restart failed: Job for CSUTKEcat.service failed",
    "speaks TLS": "TCP does not work: it speaks TLS (TLSv1.3)",
}


def refused_and_taken_back(system, command: str, broken: str, fault: str) -> str:
    """Return what a command says if a fault in the start spoils its change of the file *broken*. Assert that the old
    state is back and in use."""
    before, shown = system.tree("/opt", "/etc/cca"), seen(system)
    break_start(system, broken, fault)

    done = system.machine.run(command, check=False)
    assert (done.rc, done.out) == (1, "")

    assert system.tree("/opt", "/etc/cca") == before
    assert system.service() == ("enabled", "active")
    assert seen(system) == shown
    return done.err


@pytest.mark.scenario("rollback")
@pytest.mark.parametrize("fault", one_of(PAIR_NOT_SHOWN))
def test_a_pair_that_the_daemon_does_not_show_is_taken_back(system, fault):
    shown = seen(system)
    said = refused_and_taken_back(system, INSTALL, CERTIFICATE, fault)
    assert f"the catcher with the new certificate does not work: {PAIR_NOT_SHOWN[fault]}" in said
    assert "; the old pair is back and in use\n" in said
    assert said.splitlines()[1:] == ["  see why:", "    journalctl -u CSUTKEcat"]
    # Without the fault the same command succeeds.
    system.machine.run(f"rm {DROP_IN} && systemctl daemon-reload")
    system.machine.run(INSTALL)
    assert system.machine.read(CERTIFICATE) == system.machine.read("/root/new.crt")
    assert seen(system) != shown


def assert_mode_is_taken_back(system, to: str, odd: bytes, fault: str, why: str) -> None:
    """catcherctl mode says why it does not work, and every byte of catcher.conf is as it was."""
    system.machine.write(CONF, odd)
    system.machine.run("systemctl restart CSUTKEcat")
    system.machine.wait_for("a catcher that listens", lambda: bool(system.show("ss -Hltn 'sport = :50003'")))
    assert (seen(system) == "tcp") == (to == "tls")

    said = refused_and_taken_back(system, f"catcherctl mode {to}", CONF, fault)
    assert why in said
    assert "; the previous mode is back and in use\n" in said
    assert system.conf() == odd
    assert system.status()["mode"]["configured"] == ("tcp" if to == "tls" else "tls")


@pytest.mark.scenario("rollback-mode")
@pytest.mark.parametrize("fault", one_of(TLS_DID_NOT_COME_UP))
def test_tls_that_does_not_come_up_is_taken_back(system, fault):
    assert_mode_is_taken_back(system, "tls", ODD_TCP, fault, TLS_DID_NOT_COME_UP[fault])


@pytest.mark.scenario("rollback-mode")
@pytest.mark.parametrize("fault", one_of(TCP_DID_NOT_COME_UP))
def test_tcp_that_does_not_come_up_is_taken_back(system, fault):
    assert_mode_is_taken_back(system, "tcp", ODD_TLS, fault, TCP_DID_NOT_COME_UP[fault])


@pytest.mark.scenario("rollback")
@one_of_each_family
def test_a_port_that_is_lost_meanwhile_is_named_and_the_old_pair_waits_for_it(system):
    before, shown = system.tree("/opt", "/etc/cca"), seen(system)
    # No daemon comes up, neither after the change nor after it is undone, so a short wait is enough.
    wait_only(system, 1)
    system.machine.write(f"{OTHER}/thief.py", THIEF)
    system.machine.write("/etc/systemd/system/thief.service",
                         f"[Service]\nType=notify\nExecStart=/usr/bin/python3 {OTHER}/thief.py\n")  # fmt: skip
    break_start(system, CERTIFICATE, "loses the port")

    done = system.machine.run(INSTALL, check=False)
    assert done.rc == 1
    assert "python3 (PID " in done.err
    assert "; the old pair is back, and does not answer (python3 (PID " in done.err
    assert system.tree("/opt", "/etc/cca") == before
    assert "port-taken" in system.findings()
    # An administrator only has to stop the other program: the service has not given up.
    system.machine.run("systemctl stop thief")
    system.machine.wait_for("the old certificate", lambda: seen(system) == shown)
