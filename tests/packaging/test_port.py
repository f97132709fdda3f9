"""Which program has the port on a real system, and what an installation, a restart and a change say about it."""

import time

import pytest

from .marks import needs_tls
from .soundness import wait_until_it_listens
from .system import CERTIFICATE, DAEMON, PORT, PORT_HOLDER, talk_tcp

pytestmark = pytest.mark.scenario("port")

RESERVED = "/proc/sys/net/ipv4/ip_local_reserved_ports"
# A connection of the machine with itself whose client has the catcher's port, as the kernel may give it to any client.
OUTGOING = f"""
import socket, time
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen(1)
client = socket.socket()
client.bind(("127.0.0.1", {PORT}))
client.connect(server.getsockname())
{{}}
"""
STAYS, CLOSES = "time.sleep(600)", "peer, _ = server.accept(); client.close(); peer.recv(1); peer.close()"


# A certificate with the names of the host, valid for a year.
INSTALL_ANOTHER = ("openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=zlinux1 -addext"
                   " subjectAltName=DNS:zlinux1 -keyout /root/own.key -out /root/own.crt 2>/dev/null"
                   " && catcherctl cert install /root/own.key /root/own.crt")


def install(system, built):
    """Install the package, and return the seconds that this took."""
    began = time.monotonic()
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    return time.monotonic() - began


LISTENS = PORT_HOLDER + "\nimport time\ntime.sleep(600)\n"
# A program of another user, with the catcher's name and arguments.
CALLS_ITSELF_SO = f"""
import os, sys
if len(sys.argv) < 2:
    os.setuid(65534)
    os.execv(sys.executable, ["{DAEMON}", "/srv/holder.py", "-tls"])
{LISTENS}"""
HOLDERS = {
    "an outgoing connection": (OUTGOING.format(STAYS), "port-taken-outgoing"), "a server": (LISTENS, "port-taken"),
    "a server that calls itself so": (CALLS_ITSELF_SO, "port-taken"),
}


@pytest.mark.parametrize("script,id", HOLDERS.values(), ids=list(HOLDERS))
def test_who_has_the_port_is_named_at_install_and_does_not_hold_it_up(boot, built, script, id):
    system = boot()
    system.machine.write("/srv/holder.py", script)
    system.machine.run("systemd-run --unit=holder /usr/bin/python3 /srv/holder.py")
    system.machine.wait_for("the holder", lambda: f":{PORT}" in system.show("ss -Htan"))
    assert install(system, built) < 60
    assert id in [one["id"] for one in system.stamp()["findings"]] + system.findings()
    told = system.show(f"journalctl --sync; journalctl -o cat --no-pager | grep -F '[{id}]'")
    assert "python3 (PID " in told
    if script == CALLS_ITSELF_SO and system.cell.mode == "TLS":
        # A change of the mode says so, too. An answer of the other program does not count as one of the catcher.
        done = system.machine.run("catcherctl mode tcp", check=False)
        assert done.rc == 1 and "python3 (PID " in done.err and system.conf() == system.fresh_conf
    # The catcher waits, and starts by itself.
    restarts = "systemctl show -p NRestarts --value CSUTKEcat"
    assert system.show(restarts) in ("0", "")
    system.machine.run("systemctl stop holder")
    system.machine.wait_for("the catcher", lambda: system.status()["listener"]["state"] == "catcher", 60)


def test_a_connection_that_has_ended_is_named_and_passes(boot, built):
    """The kernel keeps the port for a minute. The installation does not wait, and the catcher starts by itself."""
    system = boot()
    system.machine.write("/srv/holder.py", OUTGOING.format(CLOSES))
    system.machine.run("python3 /srv/holder.py")
    assert f":{PORT}" in system.show("ss -Htan state time-wait")
    assert install(system, built) < 30
    # systemd calls the service active by now, though it has not come further than the control script.
    assert system.service() == ("enabled", "active") and DAEMON not in system.argv()
    assert "port-closing" in system.findings()
    assert system.status()["listener"]["state"] == "closing"
    system.machine.wait_for("the catcher", lambda: system.status()["listener"]["state"] == "catcher", 90)
    assert "port-closing" not in system.findings()
    assert system.show("systemctl show -p NRestarts --value CSUTKEcat") in ("0", "")


def test_the_port_is_reserved_beside_an_administrators_list(boot, built):
    system = boot()
    # The list belongs to the machine's network namespace, so any user who may boot a machine may write it.
    system.machine.run(f"echo 8080,9000-9010 >{RESERVED}")
    install(system, built)
    assert system.show(f"cat {RESERVED}") == "8080,9000-9010,50003"
    system.machine.run(f"echo 50000-50010 >{RESERVED} && systemctl restart CSUTKEcat")
    assert system.show(f"cat {RESERVED}") == "50000-50010"
    # A port in the settings is reserved, and a start waits for it.
    system.machine.write("/etc/cca/reference-catcher.conf", "port = 50020\n")
    assert system.show(f"echo >{RESERVED} && systemctl restart CSUTKEcat && ss -Hltn | grep -c :50020") == "2"
    assert system.show(f"cat {RESERVED}") == "50020"


@pytest.mark.parametrize("drop_in", ["ExecStart=/bin/sh -c '/opt/IBM/CCA/bin/CSUTKEcat start | cat'",
                                     "Type=forking\n"
                                     "ExecStart=/bin/sh -c '/opt/IBM/CCA/bin/CSUTKEcat start & sleep 1'"])
def test_a_catcher_behind_a_program_that_stays_is_no_stranger(boot, built, drop_in):
    system = boot()
    install(system, built)
    system.machine.write("/etc/systemd/system/CSUTKEcat.service.d/own.conf", f"[Service]\nExecStart=\n{drop_in}\n")
    system.machine.run("systemctl daemon-reload && systemctl restart --no-block CSUTKEcat")
    system.machine.wait_for("the catcher", lambda: system.status()["listener"]["state"] == "catcher", 60)
    assert [one for one in system.findings() if one.startswith(("port-", "not-"))] == []
    system.machine.run("catcherctl mode tcp")
    assert system.status()["mode"]["running"] == "tcp"


def test_status_after_a_restart_is_right(boot, built):
    system = boot()
    install(system, built)
    wrong = system.show("for n in 1 2 3 4 5 6 7 8 9 10; do systemctl restart CSUTKEcat; catcherctl status >/tmp/said"
                        " || { test $? -eq 3 && grep -q tls-not-possible /tmp/said; } || cat /tmp/said; done")
    assert wrong == ""


@pytest.mark.parametrize("drop_in", ["IPAddressDeny=any\nIPAddressAllow=192.0.2.0/24", "PrivateNetwork=yes"])
def test_what_cannot_be_reached_from_here_is_not_taken_back(boot, built, drop_in):
    system = boot()
    install(system, built)
    system.machine.write("/etc/systemd/system/CSUTKEcat.service.d/net.conf", f"[Service]\n{drop_in}\n")
    system.machine.run("systemctl daemon-reload && systemctl restart CSUTKEcat")
    done = system.machine.run("catcherctl mode tcp", check=False)
    assert done.rc == 3 and "could not verify" in done.out and "[not-verified]" in done.out + done.err
    assert system.conf() == b"TLS_OFF\n" and system.argv().endswith("catcher.exe")
    if system.cell.mode == "TLS":
        for command in ("catcherctl mode tls", INSTALL_ANOTHER):
            done = system.machine.run(command, check=False)
            assert done.rc == 3 and "[not-verified]" in done.out + done.err, command
        assert system.machine.read(CERTIFICATE) == system.machine.read("/root/own.crt")
        assert system.argv() == system.fresh_argv


@needs_tls
def test_a_hang_up_takes_back_a_change_that_cannot_be_verified(boot, built):
    """Another program has the port, so the verification waits. Meanwhile the terminal is closed."""
    system = boot()
    install(system, built)
    system.machine.write("/srv/holder.py", LISTENS)
    system.machine.run("systemctl stop CSUTKEcat; systemd-run --unit=holder /usr/bin/python3 /srv/holder.py")
    system.machine.wait_for("the holder", lambda: f":{PORT}" in system.show("ss -Hltn"))
    system.machine.run("systemctl start CSUTKEcat")
    done = system.machine.run("timeout -s HUP 5 catcherctl mode tcp", check=False)
    assert done.rc != 0 and system.conf() == b"TLS_ON\n"
    assert "catcherctl mode tcp (was: tls) failed: TCP does not work: " in system.show("journalctl -t csulcca -o cat")
    system.machine.run("systemctl stop holder")
    system.machine.wait_for("the catcher", lambda: system.status()["listener"]["state"] == "catcher", 60)
    assert system.argv() == system.fresh_argv


def test_a_change_is_verified_where_the_daemon_listens(boot, built):
    system = boot()
    install(system, built)
    system.machine.write("/etc/cca/reference-catcher.conf", f"listen={system.machine.ip4}\n")
    system.machine.run("systemctl restart CSUTKEcat")
    done = system.machine.run("catcherctl mode tcp")
    assert "over a real connection it speaks plain TCP" in done.out
    assert system.show("ss -Hltn 'sport = :50003' | awk '{print $4}'") == f"{system.machine.ip4}:50003"
    if system.cell.mode == "TLS":
        system.machine.run("catcherctl mode tls")
        done = system.machine.run(INSTALL_ANOTHER)
        assert "over a real connection it speaks TLS with exactly this certificate" in done.out


# On 50004 a backend that sends what it gets, or much without being asked. HOLD connects so often and stays.
BACKEND = """
import socket, socketserver, sys
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        if sys.argv[1] == "much":
            self.request.sendall(bytes(64 << 20))
        for data in iter(lambda: self.request.recv(65536), b""):
            self.request.sendall(data)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 300
Server(("127.0.0.1", 50004), Handler).serve_forever()
"""
HOLD = """
import socket, sys, time
held = [socket.create_connection(("127.0.0.1", 50003)) for _ in range(int(sys.argv[1]))]
for one in held:
    if sys.argv[2] == "junk":
        one.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        one.close()
open("/srv/held", "w").close()
time.sleep(600 if sys.argv[2] == "stay" else 1)
"""
# Receives slowly, and prints how a cut stream ends: with an error, or like a whole stream.
RECEIVE = """
import os, socket, ssl, sys, time
stream = socket.create_connection(("127.0.0.1", 50003))
if sys.argv[1] == "tls":
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    stream = context.wrap_socket(stream, suppress_ragged_eofs=False)
stream.recv(1024)
os.system("systemctl stop CSUTKEcat")
try:
    while stream.recv(65536):
        pass
    print("whole")
except OSError as error:
    print("cut")
"""


@needs_tls
def test_one_address_hides_nobody_else(boot, built):
    """One address sends junk, which is logged, and has many connections. A stop cuts a stream of another address."""
    system = boot()
    install(system, built)
    for name, script in (("backend", BACKEND), ("hold", HOLD), ("receive", RECEIVE)):
        system.machine.write(f"/srv/{name}.py", script)
    system.machine.write("/etc/cca/reference-catcher.conf", "backend=127.0.0.1:50004\n")
    backend = "systemd-run --unit=backend /usr/bin/python3 /srv/backend.py {}"
    system.machine.run(backend.format("echo") + "; systemctl restart CSUTKEcat")
    wait_until_it_listens(system)
    system.machine.run("python3 /srv/hold.py 220 junk")
    assert system.workstation.probe(system.machine.ip4, "zlinux1")["state"] == "tls"
    client = system.workstation.machine
    connect = ["openssl", "s_client", "-connect", f"{system.machine.ip4}:{PORT}", "-quiet", "-no_ign_eof"]
    client.run(connect, check=False, input="ping\n")
    told = [line for line in system.machine.journal("CSUTKEcat").splitlines() if client.ip4 in line]
    assert any("relay" in line for line in told), told

    system.machine.run("catcherctl mode tcp")
    system.machine.run("rm -f /srv/held; systemd-run --unit=hold /usr/bin/python3 /srv/hold.py 256 stay")
    system.machine.wait_for("256 relays of one address", lambda: system.machine.exists("/srv/held"))
    assert "connected b'ping" in talk_tcp(client, system.machine).out
    system.machine.run("systemctl stop hold backend; " + backend.format("much"))
    for mode in ("tcp", "tls"):
        system.machine.run(f"catcherctl mode {mode}")
        assert system.show(f"python3 /srv/receive.py {mode}") == "cut", mode
        system.machine.run("systemctl start CSUTKEcat")
        wait_until_it_listens(system)


HANGS = """[Unit]
Before=network-online.target
DefaultDependencies=no
[Service]
Type=oneshot
ExecStart=/bin/sleep 400
"""


def test_a_network_that_never_comes_holds_nothing_up(boot, built):
    system = boot()
    install(system, built)
    system.machine.write("/etc/systemd/system/hangs.service", HANGS)
    system.machine.run("systemctl daemon-reload && systemctl stop network-online.target;"
                       " systemctl add-wants network-online.target hangs.service && systemctl daemon-reload"
                       " && systemctl start --no-block network-online.target")
    assert "hangs.service" in system.show("systemctl list-jobs")
    before = system.show("systemctl show -p MainPID --value CSUTKEcat")
    began = time.monotonic()
    assert system.machine.run("catcherctl mode tcp", check=False).rc in (0, 3)
    system.package(system.tools[1], "install", built.new(system.cell.family, "8.0.1"))
    assert time.monotonic() - began < 60
    assert system.service() == ("enabled", "active")
    assert system.show("systemctl show -p MainPID --value CSUTKEcat") != before
