"""A hook and a start with nothing to do, compared with Python's own start; a first converge, compared with a bare
script.

A program that exits at once replaces catcher.exe, so that only our part of a start is measured.
"""

import shlex

from tests.matrix import engine, images
from tests.matrix.machine import Machine
from tests.packaging.system import CERTIFICATE, CONF, KEY, STAMP

from .machines import BENCH, Bench, hyperfine_in
from .measure import BenchError, Rounds, Row, rounds_for

BIN = KEY.rpartition("/")[0]
BYTECODE = tuple("/usr/lib/csulcca/%s__pycache__" % folder
                 for folder in ("hooks/", "catcher_install/", "catcher_install/cert/", "catcher_install/probe/",
                                "catcher_install/admin/"))
# What a converge writes.
WRITTEN = ("/etc/cca", BIN, "/var/lib/csulcca")

PYTHON = "/usr/bin/python3 -I -c pass"
BARE = f"/usr/bin/python3 -I {BENCH}/bare.py"
CONVERGE = "/usr/lib/csulcca/run scriptlet deb configure 8.0.0"
START = f"{BIN}/CSUTKEcat start"
DAEMON = f"{BIN}/catcher.exe"
# hyperfine names results by their command line. With one more blank the same command has another name.
START_AGAIN = START + " "

# Programs of others that make a key and a certificate. They are for scale only: some also make a CA, or no certificate.
OTHERS = {
    "openssl req (P-521)":
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp521r1 -nodes -sha512 -days 3650"
        " -subj /CN=host.example.com -addext subjectAltName=DNS:host.example.com"
        " -keyout /root/openssl.key -out /root/openssl.crt",
    "ssh-keygen (P-521, a key alone)": "ssh-keygen -q -t ecdsa -b 521 -N '' -f /root/ssh.key",
}  # fmt: skip
# Programs that make RSA keys. That takes long, and the time differs from run to run, so they are measured by
# themselves.
RSA_MAKERS = {
    "sscg (RSA 2048, with a CA)":
        "sscg --quiet --force --hostname=host.example.com --lifetime=3650 --cert-file=/root/sscg.crt"
        " --cert-key-file=/root/sscg.key --ca-file=/root/ca.crt",
    "make-ssl-cert (RSA 2048)":
        "make-ssl-cert --force-overwrite /usr/share/ssl-cert/ssleay.cnf /root/snakeoil.pem",
}  # fmt: skip


def bench(here: Bench) -> tuple[list[Row], dict, list[str]]:
    """Returns the lines of the table, every run for the report, and which of OTHERS are not installed."""
    if here.cell.mode != "TLS":
        instead = next(cell.name for cell in images.with_role("reference") if cell.mode == "TLS")
        raise BenchError(f"{here.cell.name} can't speak TLS, so no pair is made there", f"make bench CELL={instead}")
    rows, measured = [], {}
    with here.machine(boot=False) as machine:
        # It exits at once with 0, and costs no more than the exec of any program.
        machine.run(["cp", "--dereference", "/bin/true", DAEMON])
        missing = [what for what, command in {**OTHERS, **RSA_MAKERS}.items() if not is_there(machine, command)]
        for name, measure in (("tls", nothing_to_do_tls), ("tcp", nothing_to_do_tcp), ("fresh", fresh),
                              ("rsa", rsa_makers), ("memory", fresh_in_memory)):  # fmt: skip
            found, rounds = measure(machine, here)
            rows += found
            measured[name] = rounds.rounds
    return rows, measured, missing


def nothing_to_do_tls(machine: Machine, here: Bench) -> tuple[list[Row], Rounds]:
    """TLS: the pair is there, and the verdict on it remembered."""
    machine.run(START)
    machine.run(["test", "-s", KEY, "-a", "-s", CERTIFICATE])
    return nothing_to_do(machine, here, "TLS")


def nothing_to_do_tcp(machine: Machine, here: Bench) -> tuple[list[Row], Rounds]:
    """TCP."""
    machine.write(CONF, "TLS_OFF\n")
    machine.run(START)
    return nothing_to_do(machine, here, "TCP")


def nothing_to_do(machine: Machine, here: Bench, mode: str) -> tuple[list[Row], Rounds]:
    """A hook and a start with nothing to do, compared with Python's own start. Also checks that nothing was done."""
    said = machine.run([f"{BIN}/CSUTKEcat", "check"]).out
    if f"mode: {mode}" not in said:
        raise BenchError(f"{here.cell.name}: not in mode {mode}: {engine.last_line(said)}")
    machine.run(CONVERGE)
    before = written(machine)
    rounds = Rounds(here.cell.name)
    commands = dict.fromkeys((PYTHON, CONVERGE, START, DAEMON), "")
    rounds.hyperfine(hyperfine_in(machine), f"nothing to do, {mode}", commands, rounds_for(15, here.effort), runs=8)
    if written(machine) != before:
        raise BenchError(f"{here.cell.name}: a hook with nothing to do has changed files, so this was not measured")
    interpreter = "python3 -I -c pass"
    return [
        rounds.row(f"hook with nothing to do, {mode}", CONVERGE, PYTHON, interpreter, 1.5),
        rounds.row(f"our part of a daemon start, {mode}", START, PYTHON, interpreter, 1.5, less=DAEMON),
    ], rounds


def written(machine: Machine) -> str:
    """What is in the directories that a converge writes: names, inodes, modes, times of change."""
    return machine.run(["find", *WRITTEN, "-printf", "%p %i %m %s %T@ %C@\\n"]).out


def fresh(machine: Machine, here: Bench) -> tuple[list[Row], Rounds]:
    """A first converge, which makes the pair, compared with a bare script that only makes a pair, and with other
    programs."""
    prepare, first = prepared_fresh(machine, here)
    others = {what: command for what, command in OTHERS.items() if is_there(machine, command)}
    commands = {BARE: prepare, START: prepare, START_AGAIN: first,
                **dict.fromkeys(others.values(), "rm -f /root/ssh.key")}  # fmt: skip
    rounds = Rounds(here.cell.name)
    rounds.hyperfine(hyperfine_in(machine), "fresh converge", commands, rounds_for(12, here.effort), runs=4)
    bare = "bare script"
    return [
        rounds.row("first run, makes the pair", START, BARE, bare, 1.15),
        rounds.row("- the very first, right after unpacking", START_AGAIN, BARE, bare),
        *(rounds.row("- " + what, command, BARE, bare) for what, command in others.items()),
    ], rounds


def rsa_makers(machine: Machine, here: Bench) -> tuple[list[Row], Rounds]:
    """RSA_MAKERS, as far as they are there."""
    prepare, _ = prepared_fresh(machine, here)
    makers = {what: command for what, command in RSA_MAKERS.items() if is_there(machine, command)}
    rounds = Rounds(here.cell.name)
    if makers:
        before = "rm -f /root/sscg.crt /root/sscg.key /root/ca.crt /root/dhparams.pem"
        commands = {BARE: prepare, **dict.fromkeys(makers.values(), before)}
        rounds.hyperfine(hyperfine_in(machine), "makers of RSA keys", commands, rounds_for(8, here.effort), runs=1)
    return [rounds.row("- " + what, command, BARE, "bare script") for what, command in makers.items()], rounds


def is_there(machine: Machine, command: str) -> bool:
    """Whether a machine has the first program of a command line."""
    return machine.run(["sh", "-c", f"command -v {command.split()[0]}"], check=False).rc == 0


def fresh_in_memory(machine: Machine, here: Bench) -> tuple[list[Row], Rounds]:
    """The same on a file system in memory. The difference shows how much of the time is waiting for the disk."""
    for directory in WRITTEN:
        machine.run(["sh", "-c", 'cp -a "$1" /root/aside && mount -t tmpfs -o mode=755 tmpfs "$1" && '
                     'cp -a /root/aside/. "$1" && rm -r /root/aside', "sh", directory])  # fmt: skip
    prepare, _ = prepared_fresh(machine, here)
    rounds = Rounds(here.cell.name)
    rounds.hyperfine(hyperfine_in(machine), "fresh converge in memory", {BARE: prepare, START: prepare},
                     rounds_for(10, here.effort), runs=4)  # fmt: skip
    return [rounds.row("- on a file system in memory", START, BARE, "bare script")], rounds


def prepared_fresh(machine: Machine, here: Bench) -> tuple[str, str]:
    """Two commands: one removes what a converge made, the other also removes the bytecode. Also checks that they do."""
    made = [CONF, KEY, CERTIFICATE, STAMP]
    prepare = shlex.join(["rm", "-f", *made])
    machine.run(prepare)
    machine.run(START)
    for path in made:
        machine.run(["test", "-s", path])
    if b"TLS_ON" not in machine.read(CONF):
        raise BenchError(f"{here.cell.name}: a first run did not choose TLS", "catcherctl status says why")
    return prepare, shlex.join(["rm", "-rf", *made, *BYTECODE])
