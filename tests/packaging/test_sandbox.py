"""The sandbox of the service: what it can reach, what it cannot reach, and what is mounted after its start."""

import pytest

from .soundness import wait_until_it_listens
from .system import DAEMON, KEY

pytestmark = pytest.mark.scenario("sandbox")

TRIED = "/var/lib/csulcca/tried"
SCRIPT = "/srv/try.sh"
NEW = "/opt/IBM/CCA/bin/new"
DROP_IN = "/etc/systemd/system/CSUTKEcat.service.d/try.conf"
# The unit itself runs these, in the daemon's sandbox. What must not be possible ...
REFUSED = {
    "systemd-run": "systemd-run --wait --quiet touch /srv/escaped",
    "stop another service": "systemctl stop csulcca-check.timer",
    "the system bus": "busctl --timeout=5 call org.freedesktop.systemd1 /org/freedesktop/systemd1"
                      " org.freedesktop.systemd1.Manager Reload",
    "write the daemon": f"echo >>{DAEMON}",
    "remove the daemon": f"rm -f {DAEMON}",
    "replace the daemon": f"touch {NEW} && mv -f {NEW} {DAEMON}",
    "replace the control script": f"touch {NEW} && mv -f {NEW} /opt/IBM/CCA/bin/CSUTKEcat",
    "write a program of the payload": "echo >>/opt/IBM/CCA/bin/mkrsa.exe",
    "a program with a new name": f"touch {NEW}",
    "replace the key": f"touch {KEY}.new && mv -f {KEY}.new {KEY}",
    "move the directory": "mv /opt/IBM/CCA/bin /opt/IBM/CCA/bin.old",
    "replace the library": "touch /usr/lib/csulcca/run",
    "a program beside": "mkdir /opt/IBM/CCA/other",
    "a cron job": "mkdir -p /etc/cron.d && touch /etc/cron.d/x",
    "a crontab": "mkdir -p /var/spool/cron && touch /var/spool/cron/x",
    "a unit": "touch /etc/systemd/system/x.service",
    "a unit until the next boot": "touch /run/systemd/system/x.service",
    "home of root": "touch /root/x",
    "the note of links": "touch /var/lib/csulcca.links",
    "a list of ports": "echo 1 >/proc/sys/net/ipv4/ip_local_reserved_ports",
}
# ... and what must be.
ALLOWED = {
    "the mode": "touch /etc/cca/x && rm /etc/cca/x",
    "key storage on another file system": "touch /opt/IBM/CCA/keys/x",
    "a log line": "logger -t csulcca-tried reached",
    "names": "getent hosts localhost",
}


def tell(cases):
    """A script that notes which of the cases succeeded."""
    lines = [f"if ({command}) >/dev/null 2>&1; then echo '{name}'; fi >>{TRIED}\n" for name, command in cases.items()]
    return "".join(lines)


def test_what_the_service_reaches_and_what_it_does_not(boot, built):
    system = boot()
    # systemd does this at a boot, except in a container.
    system.machine.run("mount --make-rshared /")
    system.machine.run("mkdir -p /opt/IBM/CCA /data && mount -t tmpfs data /data && ln -s /data /opt/IBM/CCA/keys")
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    system.machine.write("/opt/IBM/CCA/bin/mkrsa.exe", "#!/bin/sh\n", mode=0o755)
    system.machine.write(SCRIPT, "#!/bin/sh\n" + tell(REFUSED) + tell(ALLOWED))
    before = system.tree("/opt", "/usr/lib/csulcca", "/etc/systemd")
    # To test the test: what is refused inside is possible outside, as far as it can be undone.
    outside = {name: REFUSED[name] for name in ("a cron job", "home of root", "the system bus", "a program beside")}
    system.machine.write("/srv/outside.sh", tell(outside))
    system.machine.run("sh /srv/outside.sh")
    assert set(system.show(f"cat {TRIED}").splitlines()) == set(outside) - {"the system bus"} | {
        name for name in ("the system bus",) if system.machine.exists("/run/dbus/system_bus_socket")}
    system.machine.run(f"rm -rf {TRIED} /etc/cron.d/x /root/x /opt/IBM/CCA/other")

    system.machine.write(DROP_IN, f"[Service]\nExecStartPost=/bin/sh {SCRIPT}\n")
    system.machine.run("systemctl daemon-reload && systemctl restart CSUTKEcat")

    assert system.show(f"cat {TRIED}").splitlines() == list(ALLOWED)
    assert system.show("systemctl is-active csulcca-check.timer") == "active"
    assert not system.machine.exists("/srv/escaped")
    system.machine.run(f"rm -r {DROP_IN.rpartition('/')[0]}")
    assert system.tree("/opt", "/usr/lib/csulcca", "/etc/systemd") == before
    assert "reached" in system.show("journalctl -t csulcca-tried -o cat")

    # If the key storage leads elsewhere since the start, the status says so. A new mount reaches a service that runs. A
    # restart helps, too, and still works after the next boot.
    system.machine.run("rm /opt/IBM/CCA/keys; mkdir /srv/later && ln -s /srv/later /opt/IBM/CCA/keys")
    pid = system.show("systemctl show -p MainPID --value CSUTKEcat")
    assert system.findings() == [*system.first_findings(), "key-storage-unreached"]
    assert system.machine.run(f"nsenter -m -t {pid} touch /opt/IBM/CCA/keys/x", check=False).rc != 0
    system.machine.run("mount --bind /srv/later /srv/later")
    system.machine.run(f"nsenter -m -t {pid} touch /opt/IBM/CCA/keys/x")
    assert system.findings() == system.first_findings()
    system.machine.run("umount /srv/later")
    assert system.findings() == [*system.first_findings(), "key-storage-unreached"]
    system.machine.run("systemctl daemon-reload && systemctl restart CSUTKEcat")
    wait_until_it_listens(system)
    assert system.findings() == system.first_findings()
    pid = system.show("systemctl show -p MainPID --value CSUTKEcat")
    system.machine.run(f"nsenter -m -t {pid} touch /opt/IBM/CCA/keys/x")


# A command beside the daemon: its control group and its file systems.
INSIDE = ("pid=$(systemctl show -p MainPID --value CSUTKEcat); group=$(sed -n 's/^0:://p' /proc/$pid/cgroup);"
          " echo $$ >/sys/fs/cgroup$group/cgroup.procs; exec nsenter -m -t $pid sh -c '{}'")


def test_a_crypto_adapter_that_comes_after_the_start_is_reached(boot, built):
    """For a device number without a driver, the kernel reports another error than for a refused device."""
    system = boot()
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    system.machine.run("rm -f /dev/z90crypt && mknod /dev/z90crypt c 10 61 && mknod /dev/sdz c 21 61")
    seen = {path: system.machine.run(["sh", "-c", INSIDE.format(f"exec 3<{path}")], check=False).err
            for path in ("/dev/z90crypt", "/dev/sdz")}
    assert "No such device" in seen["/dev/z90crypt"], seen
    assert "not permitted" in seen["/dev/sdz"], seen
