"""The reference catcher as a TLS server, compared with stunnel and `openssl s_server`: handshakes, throughput, memory.

All have the same key and certificate; catcher and stunnel relay to the same backend, s_server answers from a file. The
clients are `openssl s_time` and a script of ours. All of it is in one machine, over its loopback interface.
"""

import functools
import os
import re

from tests.matrix.machine import CommandFailed, Machine
from tests.packaging.system import CERTIFICATE, KEY, PORT

from .converge import DAEMON, START
from .gap import wait_for_listener
from .machines import BENCH, Bench, real_time
from .measure import BenchError, Rounds, Row, rounds_for

BACKEND, STUNNEL, S_SERVER = 9000, 4433, 4434
MEBIBYTES = 128
SIZE = MEBIBYTES << 20
HANDSHAKE_SECONDS = 2
HELD = 256
HALF_OPEN = 10_000
# Other keys than the usual one, by openssl req's -newkey and -pkeyopt.
KEYS = {"RSA 2048": "rsa:2048", "prime256v1": "ec -pkeyopt ec_paramgen_curve:prime256v1"}
SAYS_WHY = "/root/servers.log in the machine says why"
STUNNEL_CONF = f"""foreground = yes
debug = 3
pid =
key = {KEY}
cert = {CERTIFICATE}
[bench]
accept = 127.0.0.1:{STUNNEL}
connect = 127.0.0.1:{BACKEND}
"""


def bench(here: Bench) -> tuple[list[Row], dict]:
    """Lines of the table, and every run for the report."""
    with here.machine(boot=False) as machine:
        serve(machine)
        ports = {"catcher": PORT, "stunnel": STUNNEL, "s_server": S_SERVER}
        handshakes, work, down, up = (Rounds(here.cell.name) for _ in range(4))
        count = rounds_for(5, here.effort)
        handshakes.call("handshakes", {name: functools.partial(handshake, machine, port)
                                       for name, port in ports.items()}, count)  # fmt: skip
        work.call("processor time of handshakes", {name: functools.partial(processor_time, machine, port)
                                                   for name, port in ports.items()}, count)  # fmt: skip
        down.call("bytes to the client", {name: functools.partial(transfer, machine, port, "GET")
                                          for name, port in ports.items()}, count)  # fmt: skip
        up.call("bytes from the client", {name: functools.partial(transfer, machine, port, "PUT")
                                          for name, port in ports.items() if name != "s_server"}, count)  # fmt: skip
        resumed, crowd = Rounds(here.cell.name), Rounds(here.cell.name)
        resumed.call("resumed handshakes", {name: functools.partial(handshake, machine, port, "-reuse -tls1_2")
                                            for name, port in ports.items()}, count)  # fmt: skip
        memory = {kind: Rounds(here.cell.name) for kind in ("idle", "stuck", "gone")}
        for kind in ("idle", "stuck"):
            memory[kind].call(f"memory of {kind} relays", {name: functools.partial(held, machine, ports[name], kind)
                                                           for name in ("catcher", "stunnel")}, 3)  # fmt: skip
        memory["gone"].call("memory after that", {name: functools.partial(resident, machine, ports[name])
                                                  for name in ("catcher", "stunnel")}, 3)  # fmt: skip
        # After the measurement of memory, which it would change.
        crowd.call("handshakes in a crowd", {name: functools.partial(handshake_in_a_crowd, machine, ports[name])
                                             for name in ("catcher", "stunnel")}, 3)  # fmt: skip
        keys = {kind: Rounds(here.cell.name) for kind in KEYS}
        for kind in KEYS:
            serve_with(machine, KEYS[kind])
            keys[kind].call(f"handshakes with {kind}", {name: functools.partial(handshake, machine, port)
                                                        for name, port in ports.items()}, count)  # fmt: skip
    size = f"{MEBIBYTES} MiB"
    rows = []
    for what, rounds in (("one TLS handshake, as its client sees it", handshakes),
                         ("- the server's processor time for it", work),
                         *((f"- with {kind}", keys[kind]) for kind in KEYS), ("- resumed, TLS 1.2", resumed),
                         (f"- beside {HALF_OPEN:,} half-open connections", crowd), (f"{size} to the client", down),
                         (f"{size} from the client", up)):  # fmt: skip
        rows += [rounds.row(what, "catcher", name, name) for name in ("stunnel", "s_server") if name in rounds.times()]
    for kind, what in (("idle", f"memory with {HELD} idle relays"), ("stuck", f"memory with {HELD} stuck relays"),
                       ("gone", "memory when they are gone")):  # fmt: skip
        rows.append(memory[kind].row(what, "catcher", "stunnel", "stunnel", unit="MiB"))
    return rows, {"handshakes": handshakes.rounds, "processor": work.rounds, "resumed": resumed.rounds,
                  "in a crowd": crowd.rounds, **{f"handshakes, {kind}": keys[kind].rounds for kind in keys},
                  "to the client": down.rounds,
                  "from the client": up.rounds, **{f"memory, {kind}": memory[kind].rounds for kind in memory}}


def serve(machine: Machine) -> None:
    """Make the pair, and start the backend and the three servers."""
    machine.run(["mv", DAEMON, DAEMON + ".aside"])
    machine.run(["cp", "--dereference", "/bin/true", DAEMON])
    machine.run(START)
    machine.run(["mv", DAEMON + ".aside", DAEMON])
    machine.write("/etc/cca/reference-catcher.conf", f"backend=127.0.0.1:{BACKEND}\n"
                  f"max_connections={2 * HELD}\nmax_connections_per_address={2 * HELD}\n")
    machine.write("/etc/stunnel/bench.conf", STUNNEL_CONF)
    machine.run(f"mkdir /srv/bench && head -c {SIZE} /dev/zero > /srv/bench/file")
    # With the same priority as the servers. Otherwise it may not run for a second: connections wait in its queue, the
    # catcher refuses new ones, and s_time ends at the first refusal.
    before = " ".join(real_time(machine))
    machine.run(f"setsid {before} python3 -I {BENCH}/backend.py {BACKEND} {SIZE} </dev/null >>/root/servers.log 2>&1 &")
    start_servers(machine)


def start_servers(machine: Machine) -> None:
    """Start the three, and wait until they listen."""
    before = " ".join(real_time(machine))
    for directory, command in (
        ("/", f"{DAEMON} -tls"),
        ("/", "stunnel4 /etc/stunnel/bench.conf"),
        ("/srv/bench", f"openssl s_server -accept 127.0.0.1:{S_SERVER} -key {KEY} -cert {CERTIFICATE} -WWW"),
    ):
        machine.run(f"cd {directory} && setsid {before} {command} </dev/null >>/root/servers.log 2>&1 &")
    for port in (BACKEND, PORT, STUNNEL, S_SERVER):
        wait_for_listener(machine, port)


def serve_with(machine: Machine, kind: str) -> None:
    """Restart the three servers with another key. kind: of KEYS."""
    machine.run(f"openssl req -x509 -newkey {kind} -nodes -keyout {KEY} -out {CERTIFICATE} -subj /CN=bench -days 30")
    for port in (PORT, STUNNEL, S_SERVER):
        machine.run(["kill", str(listener(machine, port))])
    machine.wait_for("the end of all servers", lambda: not machine.run(
        f"ss -Hltn '( sport = :{PORT} or sport = :{STUNNEL} or sport = :{S_SERVER} )'").out)
    start_servers(machine)


def handshake_in_a_crowd(machine: Machine, port: int) -> float:
    """Seconds that a handshake takes while HALF_OPEN connections send nothing; HANDSHAKE_SECONDS if none succeeds."""
    machine.run("rm -f /root/crowd; "
                f"setsid python3 -I {BENCH}/half_open.py {port} {HALF_OPEN} </dev/null >/root/crowd 2>&1 & "
                "echo $! > /root/holder")
    try:
        machine.wait_for("the crowd", lambda: "ready" in machine.read("/root/crowd").decode(), timeout=120)
        return handshake(machine, port)
    except (BenchError, CommandFailed):
        # s_time ends with the first connection that the server refuses.
        return HANDSHAKE_SECONDS
    finally:
        machine.run("kill $(cat /root/holder)")


def handshake(machine: Machine, port: int, how: str = "-new") -> float:
    """The mean of all handshakes that succeed in HANDSHAKE_SECONDS, one after the other, in seconds.

    how: options of s_time(1), for full or resumed handshakes.
    """
    command = f"openssl s_time -connect 127.0.0.1:{port} {how} -time {HANDSHAKE_SECONDS}"
    said = machine.run(f"{' '.join(real_time(machine))} {command}", timeout=60).out
    found = re.search(r"(\d+) connections in (\d+) real seconds", said)
    if not found or not int(found[1]):
        raise BenchError(f"openssl s_time made no connection to port {port}", SAYS_WHY)
    return HANDSHAKE_SECONDS / int(found[1])


def listener(machine: Machine, port: int) -> int:
    """The process that listens on a port."""
    found = re.search(r"pid=(\d+)", machine.run(f"ss -Hltnp 'sport = :{port}'").out)
    if not found:
        raise BenchError(f"nothing listens on port {port}", SAYS_WHY)
    return int(found[1])


def resident(machine: Machine, port: int) -> float:
    """MiB of memory that the process has that listens on a port."""
    status = machine.run(f"cat /proc/{listener(machine, port)}/status").out
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024


def held(machine: Machine, port: int, kind: str) -> float:
    """MiB of memory that a server uses with HELD relays of a kind: idle or stuck. Afterwards they are closed."""
    machine.run("rm -f /root/held; "
                f"setsid python3 -I {BENCH}/hold.py {port} {HELD} {kind} </dev/null >/root/held 2>&1 & "
                "echo $! > /root/holder")
    machine.wait_for("all relays", lambda: "ready" in machine.read("/root/held").decode(), timeout=120)
    found = resident(machine, port)
    machine.run("kill $(cat /root/holder)")
    machine.wait_for("the end of all relays",
                     lambda: not machine.run(f"ss -Htn state established 'sport = :{port}'").out)
    return found


def processor_time(machine: Machine, port: int) -> float:
    """Seconds of processor time that the server needs for one handshake: the mean of all handshakes in one call."""
    pid = listener(machine, port)

    def used() -> float:
        # proc(5), stat: utime and stime are fields 14 and 15, in ticks.
        fields = machine.run(f"cat /proc/{pid}/stat").out.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    before = used()
    each = handshake(machine, port)
    return (used() - before) / (HANDSHAKE_SECONDS / each)


def transfer(machine: Machine, port: int, verb: str) -> float:
    """Seconds to move SIZE bytes to a client (GET) or from it (PUT)."""
    before = " ".join(real_time(machine))
    return float(machine.run(f"{before} python3 -I {BENCH}/transfer.py {port} {verb} {SIZE}", timeout=120).out)
