"""How long an upgrade leaves the port without a listener, compared with a bare `systemctl restart` of the same
service."""

import functools

from tests.matrix.machine import CommandFailed, Machine
from tests.packaging.system import PORT

from .machines import BENCH, Bench, has_services, real_time
from .measure import Rounds, Row, rounds_for

UPGRADE = {"deb": "dpkg -i {}", "rpm": "rpm -U --oldpackage {}"}
STUNNEL = """foreground = yes
pid =
cert = /etc/stunnel/bench.pem
[bench]
accept = 4433
connect = 22
"""
# name of Debian's package: (its unit, its port, what makes it serve)
SERVICES = {
    "openssh-server": ("ssh.service", 22, "systemctl enable --now ssh.service"),
    "stunnel4": ("stunnel@bench.service", 4433,
                 "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=bench -out /etc/stunnel/bench.pem "
                 "-keyout /etc/stunnel/bench.pem 2>/dev/null && systemctl enable --now stunnel@bench.service"),
}  # fmt: skip


def bench(here: Bench) -> tuple[list[Row], dict]:
    """Lines of the table, and every run for the report."""
    rows, measured = [], {}
    with here.machine(boot=True) as machine:
        wait_for_listener(machine, PORT)
        upgrade = UPGRADE[here.cell.family].format(here.package("8.0.1"))
        back = UPGRADE[here.cell.family].format(here.package("8.0.0"))
        rounds = Rounds(here.cell.name)
        restart = "systemctl restart CSUTKEcat"

        def upgraded() -> float:
            seconds = longest_gap(machine, PORT, upgrade)
            longest_gap(machine, PORT, back)
            return seconds

        rounds.call("service gap", {"restart": functools.partial(longest_gap, machine, PORT, restart),
                                    "upgrade": upgraded}, rounds_for(10, here.effort))  # fmt: skip
        rows.append(rounds.row("upgrade 8.0.0 to 8.0.1: without a listener", "upgrade", "restart", restart, 1.5))
        measured["gap"] = rounds.rounds
        if has_services(here.cell):
            for name, (unit, port, setup) in SERVICES.items():
                rounds = other_service(machine, here, name, unit, port, setup)
                rows.append(rounds.row(f"- reinstallation of {name}", "reinstall", "restart",
                                       f"systemctl restart {unit.removesuffix('.service')}"))  # fmt: skip
                measured["gap " + name] = rounds.rounds
    return rows, measured


def other_service(machine: Machine, here: Bench, name: str, unit: str, port: int, setup: str) -> Rounds:
    """The same for a service of Debian: its reinstallation from a .deb, compared with a bare restart."""
    if name == "stunnel4":
        machine.write("/etc/stunnel/bench.conf", STUNNEL)
    machine.run(setup)
    wait_for_listener(machine, port)
    machine.run(f"cd /root && dpkg-repack {name} >/dev/null 2>&1")
    rounds = Rounds(here.cell.name)
    rounds.call(f"service gap of {name}", {
        "restart": functools.partial(longest_gap, machine, port, f"systemctl restart {unit}"),
        "reinstall": functools.partial(longest_gap, machine, port, f"dpkg --force-confold -i /root/{name}_*.deb"),
    }, rounds_for(6, here.effort))  # fmt: skip
    return rounds


def longest_gap(machine: Machine, port: int, command: str) -> float:
    """The seconds that scripts/longest_gap.py prints. Raises CommandFailed if the command fails."""
    quiet = ["sh", "-c", command + " >/dev/null 2>&1"]
    program = [*real_time(machine), "python3", "-I", f"{BENCH}/longest_gap.py", str(port)]
    return float(machine.run([*program, *quiet]).out)


def wait_for_listener(machine: Machine, port: int) -> None:
    """Wait until something listens on a port."""

    def listens() -> bool:
        try:
            return bool(machine.run(f"ss -Hltn 'sport = :{port}'").out.strip())
        except CommandFailed:
            return False

    machine.wait_for(f"a listener on port {port}", listens)
