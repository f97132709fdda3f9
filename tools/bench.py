"""How fast the hooks and the start of the daemon are, as ratios taken side by side: `make bench`.

Everything is measured by hyperfine in a machine of the test matrix, with the package installed and with a program that
ends at once in the place of catcher.exe, so that only our part of a start is seen. The commands of a ratio take turns
in many short rounds, and run at real-time priority where that is allowed: what else the computer does meanwhile hits
little, and all alike. A time is the median of all runs.

Exit status 1 only where something could not be measured: a missed target is shown, and is no failure.
"""

import argparse
import dataclasses
import datetime
import json
import os
import pathlib
import re
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence

from tests.matrix import engine, images
from tests.matrix.engine import MatrixError
from tests.matrix.machine import Machine
from tests.packaging.system import CERTIFICATE, CONF, KEY, STAMP, System

TREE = pathlib.Path(__file__).resolve().parent.parent
REPORT = TREE / "dist/bench.json"
FORMAT = 1
# Both families, and the Python that starts fastest: what is beside us is then the hardest.
CELLS = ("debian-12", "rpm-4.20-dnf")

# Where hyperfine and the bare script are in the machine: a directory of this computer, read-only there.
BENCH = "/bench"
# Put before a command it keeps other programs from taking the processor away from it: chrt(1).
REAL_TIME = ("chrt", "--fifo", "5")
BIN = "/opt/IBM/CCA/bin"
BYTECODE = "/usr/lib/csulcca/catcher_install/__pycache__"
# What a converge writes.
WRITTEN = ("/etc/cca", BIN, "/var/lib/csulcca")

PYTHON = "/usr/bin/python3 -I -c pass"
BARE = f"/usr/bin/python3 -I {BENCH}/bare.py"
CONVERGE = "/usr/lib/csulcca/run scriptlet deb configure 8.0.0"
START = f"{BIN}/CSUTKEcat start"
DAEMON = f"{BIN}/catcher.exe"
# hyperfine names results by their command line: one more blank is another name for the same.
START_AGAIN = START + " "
OPENSSL = ("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:secp521r1 -nodes -sha512 -days 3650"
           " -subj /CN=host.example.com -addext subjectAltName=DNS:host.example.com"
           " -keyout {0}/openssl.key -out {0}/openssl.crt")  # fmt: skip

# A key and a certificate, written to two files in the current directory, and nothing else.
BARE_SCRIPT = """
import datetime
import os
import socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

host = socket.gethostname()
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
now = datetime.datetime.now(datetime.timezone.utc)
key = ec.generate_private_key(ec.SECP521R1())
certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now)
    .not_valid_after(now + datetime.timedelta(days=3650))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    .sign(key, hashes.SHA512())
)
with open(os.open("bare.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
    file.write(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
with open("bare.crt", "wb") as file:
    file.write(certificate.public_bytes(serialization.Encoding.PEM))
"""

# Runs hyperfine with these arguments and returns what it exports as JSON.
Hyperfine = Callable[[Sequence[str]], str]
# Seconds of each run, by command.
Times = dict[str, list[float]]


class BenchError(MatrixError):
    """Something could not be measured: what is wrong in one line, and a hint."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: how long something takes, beside something else in the same run.

    `less`: seconds of what is no part of it, and already taken off `seconds`. `low`, `high`: half of the rounds gave a
    ratio between these. `target`: the ratio that it may have at most; None: shown for scale only.
    """

    cell: str
    what: str
    seconds: float
    less: float
    beside: str
    beside_seconds: float
    ratio: float
    low: float
    high: float
    target: float | None
    runs: int

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or `` where there is no target."""
        if self.target is None:
            return ""
        return "met" if self.ratio <= self.target else "missed"


class Rounds:
    """Commands that took turns: their times, round by round."""

    def __init__(self, cell: str) -> None:
        """Begin with none."""
        self.cell = cell
        self.rounds: list[Times] = []

    def measure(self, hyperfine: Hyperfine, what: str, commands: Mapping[str, str], rounds: int, runs: int) -> None:
        """Measure; raises MatrixError where a command fails.

        commands: each with what is run before each of its runs, untimed. runs: of each command in a round.
        """
        begin = time.monotonic()
        for number in range(rounds):
            order = list(commands)[::1 if number % 2 == 0 else -1]
            arguments = ["--shell=none", "--style=none", "--warmup=1", f"--runs={runs}"]
            for command in order:
                arguments += ["--prepare", commands[command] or "true"]
            self.rounds.append(times_of(hyperfine([*arguments, *order])))
            if number == 0 or (number + 1) % 5 == 0 or number + 1 == rounds:
                print(f"  {time.monotonic() - begin:4.0f} s  {what}: {number + 1} of {rounds} rounds", flush=True)

    def times(self) -> Times:
        """All rounds in one."""
        return {command: [seconds for one in self.rounds for seconds in one[command]] for command in self.rounds[0]}

    def row(self, what: str, command: str, beside: str, beside_is: str, target: float | None = None,
            less: str = "") -> Row:  # fmt: skip
        """A line of the table. less: a command that is no part of it and is taken off."""

        def seconds(times: Times) -> tuple[float, float, float]:
            off = statistics.median(times[less]) if less else 0.0
            return statistics.median(times[command]) - off, off, statistics.median(times[beside])

        taken, off, baseline = seconds(self.times())
        each = [ours / theirs for ours, _, theirs in map(seconds, self.rounds)]
        low, _, high = statistics.quantiles(each, n=4)
        runs = sum(len(one[command]) for one in self.rounds)
        return Row(self.cell, what, taken, off, beside_is, baseline, taken / baseline, low, high, target, runs)


def times_of(exported: str) -> Times:
    """The runs in what hyperfine exports as JSON."""
    return {one["command"]: one["times"] for one in json.loads(exported)["results"]}


# -- in a machine ------------------------------------------------------------------------------------------------------


def bring_tools(directory: pathlib.Path) -> None:
    """Put the bare script, hyperfine, and the libraries and loader that it needs, into a directory.

    With a loader of its own it runs in every machine, however old that one's libraries. Raises BenchError.
    """
    (directory / "bare.py").write_text(BARE_SCRIPT.lstrip())
    program = shutil.which("hyperfine")
    if program is None:
        raise BenchError("hyperfine is not installed", "sh tools/bootstrap.sh bench")
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    libraries = re.findall(r"(/\S+) \(0x", done.stdout)
    for path in (program, *libraries):
        shutil.copy(path, directory)
    loaders = [path for path in libraries if re.search(r"/ld[-.0-9a-z_]*\.so", path)]
    if not loaders:
        raise BenchError(f"{program} has no loader: {engine.last_line(done.stdout)}", "apt-get install hyperfine")
    (directory / "loader").symlink_to(os.path.basename(loaders[0]))


def hyperfine_in(machine: Machine) -> Hyperfine:
    """hyperfine, run in a machine."""
    exported = "/root/hyperfine.json"
    before = [f"{BENCH}/loader", "--library-path", BENCH, f"{BENCH}/hyperfine", f"--export-json={exported}"]
    if machine.run([*REAL_TIME, "true"], check=False).rc == 0:
        before = [*REAL_TIME, *before]

    def hyperfine(arguments: Sequence[str]) -> str:
        command = shlex.join([*before, *arguments])
        return machine.run(f"cd /root && {command} && cat {exported}", timeout=600).out

    return hyperfine


def bench_cell(cell: images.Cell, package: pathlib.Path, tools: pathlib.Path, effort: float) -> tuple[list[Row], dict]:
    """Measure in a machine of a cell: the lines of the table, and all else for the report."""
    if cell.mode != "TLS":
        raise BenchError(f"{cell.name} can't speak TLS, so no pair is made there", "CELL=debian-13 make bench")
    image = images.ensure(cell)
    print(f"{cell.name}: a machine with the package installed", flush=True)
    with Machine(image, name="bench", boot=False, volumes={BENCH: str(tools)}) as machine:
        System(machine, cell).package({"deb": "dpkg", "rpm": "rpm"}[cell.family], "install", package)
        # It ends at once with 0, and costs no more than exec of any program does.
        machine.run(["cp", "--dereference", "/bin/true", DAEMON])
        about = {
            "cell": cell.name,
            "python": machine.run("/usr/bin/python3 -V").out.split()[-1],
            "openssl": machine.run("openssl version").out.partition(" (")[0].strip(),
            "cryptography": machine.run(["/usr/bin/python3", "-Ic", "import cryptography as c; print(c.__version__)"])
            .out.strip(),
        }  # fmt: skip
        rows, measured = [], {}
        for name, measure in (("tls", bench_tls), ("tcp", bench_tcp), ("fresh", bench_fresh), ("memory", bench_memory)):
            found, rounds = measure(machine, cell, effort)
            rows += found
            measured[name] = rounds.rounds
        return rows, {**about, "seconds": measured}


def bench_tls(machine: Machine, cell: images.Cell, effort: float) -> tuple[list[Row], Rounds]:
    """Nothing to do, TLS: the pair is there, and the verdict on it remembered."""
    machine.run(START)
    machine.run(["test", "-s", KEY, "-a", "-s", CERTIFICATE])
    return bench_nothing_to_do(machine, cell, "TLS", effort)


def bench_tcp(machine: Machine, cell: images.Cell, effort: float) -> tuple[list[Row], Rounds]:
    """Nothing to do, TCP."""
    machine.write(CONF, "TLS_OFF\n")
    machine.run(START)
    return bench_nothing_to_do(machine, cell, "TCP", effort)


def bench_nothing_to_do(machine: Machine, cell: images.Cell, mode: str, effort: float) -> tuple[list[Row], Rounds]:
    """Once converged, a hook and a start beside Python's own start; proves that nothing was done."""
    said = machine.run([f"{BIN}/CSUTKEcat", "check"]).out
    if f"mode: {mode}" not in said:
        raise BenchError(f"{cell.name}: not in mode {mode}: {engine.last_line(said)}")
    machine.run(CONVERGE)
    before = written(machine)
    rounds = Rounds(cell.name)
    commands = dict.fromkeys((PYTHON, CONVERGE, START, DAEMON), "")
    rounds.measure(hyperfine_in(machine), f"nothing to do, {mode}", commands, max(3, round(15 * effort)), runs=8)
    if written(machine) != before:
        raise BenchError(f"{cell.name}: a converge with nothing to do has changed files, so this was not measured")
    interpreter = "python3 -I -c pass"
    return [
        rounds.row(f"converge with nothing to do, {mode}", CONVERGE, PYTHON, interpreter, 2),
        rounds.row(f"our part of a daemon start, {mode}", START, PYTHON, interpreter, 2, less=DAEMON),
    ], rounds


def written(machine: Machine) -> str:
    """What is in the directories that a converge writes: names, inodes, modes, times of change."""
    return machine.run(["find", *WRITTEN, "-printf", "%p %i %m %s %T@ %C@\\n"]).out


def bench_fresh(machine: Machine, cell: images.Cell, effort: float) -> tuple[list[Row], Rounds]:
    """A first converge, which makes the pair, beside a bare script that does no more than that."""
    prepare, first = prepared_fresh(machine, cell)
    openssl = OPENSSL.format("/root")
    rounds = Rounds(cell.name)
    rounds.measure(
        hyperfine_in(machine), "fresh converge",
        {BARE: prepare, START: prepare, START_AGAIN: first, openssl: prepare},
        rounds=max(3, round(12 * effort)), runs=4,
    )  # fmt: skip
    bare = "bare script"
    return [
        rounds.row("fresh converge with the pair", START, BARE, bare, 1.25),
        rounds.row("- the very first, right after unpacking", START_AGAIN, BARE, bare),
        rounds.row("- openssl req, on the same disk", openssl, BARE, bare),
    ], rounds


def bench_memory(machine: Machine, cell: images.Cell, effort: float) -> tuple[list[Row], Rounds]:
    """The same where writing costs nothing, which shows how much of it is waiting for the disk."""
    for directory in WRITTEN:
        machine.run(["sh", "-c", 'cp -a "$1" /root/aside && mount -t tmpfs -o mode=755 tmpfs "$1" && '
                     'cp -a /root/aside/. "$1" && rm -r /root/aside', "sh", directory])  # fmt: skip
    prepare, _ = prepared_fresh(machine, cell)
    rounds = Rounds(cell.name)
    rounds.measure(hyperfine_in(machine), "fresh converge in memory", {BARE: prepare, START: prepare},
                   rounds=max(3, round(10 * effort)), runs=4)  # fmt: skip
    return [rounds.row("- on a file system in memory", START, BARE, "bare script")], rounds


def prepared_fresh(machine: Machine, cell: images.Cell) -> tuple[str, str]:
    """Commands that take away what a converge made, and that with the compiled Python; proves that they do."""
    made = [CONF, KEY, CERTIFICATE, STAMP]
    prepare = shlex.join(["rm", "-f", *made])
    machine.run(prepare)
    machine.run(START)
    for path in made:
        machine.run(["test", "-s", path])
    if b"TLS_ON" not in machine.read(CONF):
        raise BenchError(f"{cell.name}: a fresh converge did not choose TLS", "catcherctl status says why")
    return prepare, shlex.join(["rm", "-rf", *made, BYTECODE])


# -- on this computer --------------------------------------------------------------------------------------------------


def bench_others(effort: float) -> tuple[list[Row], list[str], Rounds]:
    """What other programs need for a pair, for scale: lines of the table, and those that are not installed."""
    missing = []
    with tempfile.TemporaryDirectory(prefix="csulcca-bench-") as directory:
        script = pathlib.Path(directory, "bare.py")
        script.write_text(BARE_SCRIPT.lstrip())
        bare = f"/usr/bin/python3 -I {script}"
        # make-ssl-cert asks debconf: a database of our own keeps this computer's as it is.
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": directory, "DEBIAN_FRONTEND": "noninteractive",
                       "DEBCONF_DB_OVERRIDE": f"File{{{directory}/debconf.dat}}"}  # fmt: skip
        others = {
            "openssl req": OPENSSL.format(directory),
            "make-ssl-cert (RSA 2048)":
                f"make-ssl-cert --force-overwrite /usr/share/ssl-cert/ssleay.cnf {directory}/snakeoil.pem",
            "sscg (RSA 2048, with a CA)":
                f"sscg --quiet --force --hostname=host.example.com --lifetime=3650 --cert-file={directory}/sscg.crt"
                f" --cert-key-file={directory}/sscg.key --ca-file={directory}/ca.crt",
        }  # fmt: skip
        for what, command in list(others.items()):
            if shutil.which(command.split()[0], path=environment["PATH"]) is None:
                missing.append(what.split(" (")[0])
                del others[what]

        exported = pathlib.Path(directory, "hyperfine.json")
        before = [*real_time(), "hyperfine", f"--export-json={exported}"]

        def hyperfine(arguments: Sequence[str]) -> str:
            done = subprocess.run([*before, *arguments], cwd=directory, text=True, env=environment,
                                  stdin=subprocess.DEVNULL, capture_output=True, timeout=600)  # fmt: skip
            if done.returncode:
                raise BenchError(f"hyperfine failed: {engine.last_line(done.stderr)}", "sh tools/bootstrap.sh bench")
            return exported.read_text()

        rounds = Rounds("this computer")
        rounds.measure(hyperfine, "other programs", dict.fromkeys((bare, *others.values()), ""),
                       rounds=max(3, round(6 * effort)), runs=2)  # fmt: skip
        return [rounds.row(what, command, bare, "bare script") for what, command in others.items()], missing, rounds


def real_time() -> list[str]:
    """REAL_TIME, or nothing where this computer has no chrt or does not allow it."""
    if shutil.which(REAL_TIME[0]) is None:
        return []
    return [*REAL_TIME] if subprocess.run([*REAL_TIME, "true"], capture_output=True).returncode == 0 else []


# -- the report --------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """The lines of the table under their headings."""
    heading = ("", "takes", "beside", "takes", "ratio", "half of rounds", "target", "")
    lines = []
    for row in rows:
        target = "" if row.target is None else f"<= {row.target:g}"
        lines.append((row.what, f"{row.seconds * 1e3:.1f} ms", row.beside, f"{row.beside_seconds * 1e3:.1f} ms",
                      f"{row.ratio:.2f}", f"{row.low:.2f} - {row.high:.2f}", target, row.verdict))  # fmt: skip
    widths = [max(len(line[at]) for line in [heading, *lines]) for at in range(len(heading))]
    left = (0, 2, 7)
    found = []
    for line in [heading, *lines]:
        cells = [text.ljust(width) if at in left else text.rjust(width)
                 for at, (text, width) in enumerate(zip(line, widths, strict=True))]  # fmt: skip
        found.append("  ".join(cells).rstrip())
    return "\n".join(found)


def processor() -> str:
    """What /proc/cpuinfo calls the processor, or ``."""
    found = re.search(r"(?m)^(?:model name|processor 0)\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text())
    return found[1].strip() if found else ""


def bench(cells: Sequence[images.Cell], effort: float) -> None:
    """Build, measure, print the table, write the report. Raises MatrixError."""
    begin = time.monotonic()
    load = os.getloadavg()[0]
    rows: list[Row] = []
    measured: list[dict] = []
    with tempfile.TemporaryDirectory(prefix="csulcca-bench-") as work:
        tools, packages = pathlib.Path(work, "tools"), pathlib.Path(work, "packages")
        tools.mkdir()
        bring_tools(tools)
        print("building the packages", flush=True)
        built = subprocess.run([sys.executable, str(TREE / "tools/build_packages.py"), "--output", str(packages)],
                               stdout=subprocess.DEVNULL)  # fmt: skip
        if built.returncode:
            raise BenchError("the packages could not be built; why is said above", "make packages")
        for cell in cells:
            (package,) = packages.glob("*." + cell.family)
            found, about = bench_cell(cell, package, tools, effort)
            rows += found
            measured.append(about)
    print("this computer: other programs that make a key and a certificate", flush=True)
    others, missing, rounds = bench_others(effort)
    measured.append({"cell": "this computer", "seconds": {"others": rounds.rounds}})

    priority = "at real-time priority" if real_time() else "at normal priority"
    print(f"\nMedians, {priority}; {os.cpu_count()} processors, load {load:.1f} at the beginning.")
    for about in measured[:-1]:
        versions = f"Python {about['python']}, {about['openssl']}, cryptography {about['cryptography']}"
        print(f"\n{about['cell']} ({versions})")
        print(table([row for row in rows if row.cell == about["cell"]]))
    print("\nFor scale, on this computer" + (f"; not installed: {', '.join(missing)}" if missing else ""))
    print(table(others))
    targets = [row for row in rows if row.target is not None]
    missed = sum(row.verdict == "missed" for row in targets)
    summary = f"{missed} of {len(targets)} targets missed" if missed else f"all {len(targets)} targets met"
    print(f"\n{summary}; {time.monotonic() - begin:.0f} s; every run is in {REPORT.relative_to(TREE)}")

    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps({
        "format_version": FORMAT,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "processors": os.cpu_count(),
        "load_before": load,
        "priority": priority,
        "rows": [{**dataclasses.asdict(row), "verdict": row.verdict} for row in [*rows, *others]],
        "not_installed": missing,
        "measured": measured,
    }, indent=1) + "\n")  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.bench", description="Ratios of speed, taken side by side.")
    parser.add_argument("--cell", action="append", metavar="CELL", help=f"default: {', '.join(CELLS)}; repeatable")
    parser.add_argument("--effort", type=float, default=1.0, metavar="FACTOR", help="to the number of rounds: 1")
    options = parser.parse_args(arguments)
    with engine.plain_errors():
        engine.prepare()
        bench([images.cell(name) for name in options.cell or CELLS], options.effort)


if __name__ == "__main__":
    main(sys.argv[1:])
