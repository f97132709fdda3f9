"""Runs the installed programs once for every system call, with that call killed or failing, and looks at what is left.

`python -m tests.faults.sweep [--all] [--kill] [--error] [PROGRAM...]`, as root, with strace. Prints a table: points,
damaged, not converged. Exit status 1 where one of ours is not at zero, or where `openssl req` in place shows no damage
(then the harness is blind). Without --all only calls that change files are points: between two of them a crash leaves
the same files.

Each run has a mount namespace of its own, in which overlays put an installed tree over the machine's own directories:
the paths of the product are absolute. strace counts the calls of each process by itself, so that point (name, k) is the
k-th call of that name in whichever process makes it first.
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections import Counter
from typing import NamedTuple

TREE = pathlib.Path(__file__).resolve().parents[2]
DIRECTORIES = ("opt", "etc", "var", "usr")
WORKERS = 2
TIMEOUT_S = 120
RUN = "/usr/lib/csulcca/run"
BIN = "/opt/IBM/CCA/bin"
ERRORS = ("ENOSPC", "EIO", "EROFS", "EACCES", "EMFILE", "EINTR")
# Calls that change what a file, a directory or the disk holds; an open counts where it may create or write.
CHANGES = re.compile(
    r"^(write|pwrite64|writev|rename\w*|link\w*|symlink\w*|unlink\w*|mkdir\w*|rmdir|f?chmod\w*|f?l?chown\w*|f?truncate"
    r"|fsync|fdatasync|flock|utime\w*|copy_file_range|sendfile|execve)$|^open(at)?$"
)
CALL = re.compile(r"^(\d+) +(\w+)\((.*)")

ENTER = r"""
set -e
for one in opt etc var usr; do
    mount -t overlay overlay -o "lowerdir=$INSTALLED/$one:/$one,upperdir=$STATE/$one,workdir=$STATE/work-$one" "/$one"
done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
echo systemd > /run/comm
mount --bind /run/comm /proc/1/comm
cd /
umask 000
exec "$@"
"""


class Program(NamedTuple):
    """What is swept. before: commands that make the state it begins with. ours: zeros are wanted; else damage is."""

    name: str
    before: "tuple[tuple[str, ...], ...]"
    command: "tuple[str, ...]"
    ours: bool = True


CONFIGURE = (RUN, "scriptlet", "deb", "configure")
START = (RUN, "CSUTKEcat", "start")
PLAIN = ("/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521", "-nodes", "-subj",
         "/CN=catcher", "-keyout", BIN + "/catcher.key", "-out", BIN + "/catcher.crt")  # fmt: skip
MINE = ("/usr/bin/openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521", "-nodes", "-subj",
        "/CN=mine.example.com", "-days", "365", "-addext", "subjectAltName=DNS:mine.example.com",
        "-keyout", "/etc/my.key", "-out", "/etc/my.crt")  # fmt: skip
PROGRAMS = (
    Program("fresh converge", (), CONFIGURE),
    Program("legacy upgrade", (), (*CONFIGURE, "7.3.0-1")),
    Program("nothing to do", (CONFIGURE, START, CONFIGURE), CONFIGURE),
    Program("first start", (), START),
    Program("mode", (CONFIGURE, START), (RUN, "catcherctl", "mode", "tcp", "--no-restart")),
    Program("cert install", (CONFIGURE, START, MINE),
            (RUN, "catcherctl", "cert", "install", "/etc/my.key", "/etc/my.crt", "--name", "mine.example.com",
             "--no-restart")),  # fmt: skip
    Program("openssl req", (CONFIGURE, START), PLAIN, ours=False),
)


class Point(NamedTuple):
    """One fault: a call's name, its number in its process, and what strace does to it."""

    call: str
    number: int
    fault: str

    def inject(self) -> str:
        """The argument of strace."""
        lasting = self.fault.endswith("+")
        return f"inject={self.call}:{self.fault.rstrip('+')}:when={self.number}{'+' if lasting else ''}"


def install(target: pathlib.Path) -> None:
    """The product as its packages install it, a daemon and a systemctl that end at once, bytecode as on a host."""
    subprocess.run(["make", "-s", "install", f"DESTDIR={target}", "PAYLOAD=payload/reference", "PAYLOAD_KIND=reference",
                    "VERSION=8.0.0"], cwd=TREE, check=True, timeout=TIMEOUT_S)  # fmt: skip
    for path in ("opt/IBM/CCA/bin/catcher.exe", "usr/bin/systemctl"):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text("#!/bin/sh\nexit 0\n")
        (target / path).chmod(0o755)
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", target / "usr/lib/csulcca"], check=True)


def run(installed: pathlib.Path, state: pathlib.Path, command: "tuple[str, ...]", *strace: str) -> str:
    """Run a command on a state, in a namespace of its own; its output. It may fail."""
    for one in DIRECTORIES:
        (state / one).mkdir(parents=True, exist_ok=True)
        (state / f"work-{one}").mkdir(exist_ok=True)
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "INSTALLED": str(installed), "STATE": str(state)}
    done = subprocess.run(["unshare", "-m", "sh", "-c", ENTER, "sh", *strace, *command], env=environment,
                          timeout=TIMEOUT_S, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)  # fmt: skip
    return done.stdout.decode("utf-8", "replace")


def tree(state: pathlib.Path) -> "dict[str, str]":
    """What a state holds, by path: mode and content, with times and key material normalised."""
    found = {}
    for one in ("opt", "etc", "var"):
        for path in sorted((state / one).rglob("*")):
            held = path.lstat()
            content = ""
            if stat.S_ISREG(held.st_mode):
                content = path.read_bytes().decode("latin-1")
                content = re.sub(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", r"\1", content, flags=re.DOTALL)
                # Of the stamp: device, inode, size and time of a pair that was looked at; fingerprint of our own.
                changing = r'"(identity|not_after|not_before|generated_pair)": "?[0-9a-f: ]+"?'
                content = re.sub(changing, r'"\1": *', content)
                content = re.sub(r"([0-9A-F]{2}:){19,}[0-9A-F]{2}|[0-9a-f]{40,}|\d{8}T?\d{6}Z?|\b\d{9,}(\.\d+)?\b", "*",
                                 content)  # fmt: skip
            name = re.sub(r"\d{8}[-T]?\d{6}Z?(-\d+)?", "TIME", str(path.relative_to(state)))
            found[name] = f"{held.st_mode:o} {content}"
    return found


def damage(state: pathlib.Path, confs: "set[bytes | None]") -> str:
    """What is wrong with a crashed state, or "". confs: what catcher.conf may hold."""
    for one in ("opt", "etc", "var"):
        for path in (state / one).rglob("*"):
            held = path.lstat()
            wide = stat.S_ISREG(held.st_mode) and held.st_mode & 0o077
            if wide and path.name != "my.key" and b"PRIVATE KEY" in path.read_bytes():
                return f"{path.name} is readable by others"
    return "" if conf_of(state) in confs else "catcher.conf is torn"


def conf_of(state: pathlib.Path) -> "bytes | None":
    """The bytes of catcher.conf, or None."""
    path = state / "etc/cca/catcher.conf"
    return path.read_bytes() if path.exists() else None


def pair_problem(state: pathlib.Path) -> str:
    """Why the pair in place is none, or ""; no file at all is fine."""
    key, crt = state / f"{BIN[1:]}/catcher.key", state / f"{BIN[1:]}/catcher.crt"
    if not key.exists() and not crt.exists():
        return ""
    ours = subprocess.run(["openssl", "pkey", "-in", key, "-pubout"], capture_output=True)
    theirs = subprocess.run(["openssl", "x509", "-in", crt, "-pubkey", "-noout"], capture_output=True)
    return "" if ours.returncode == 0 and ours.stdout == theirs.stdout else "the pair does not match"


class Sweep:
    """One program's states: before it, and after an undisturbed run."""

    def __init__(self, program: Program, installed: pathlib.Path, scratch: pathlib.Path) -> None:
        self.program = program
        self.installed = installed
        self.scratch = scratch
        self.start = scratch / "start"
        self.trace = scratch / "trace"
        self.start.mkdir(parents=True)
        for command in program.before:
            run(installed, self.start, command)
        done = self.copy("undisturbed")
        run(installed, done, program.command, "strace", "-f", "-qq", "-o", str(self.trace))
        self.confs = {conf_of(self.start), conf_of(done)}
        # A second undisturbed run is what every re-run is compared with.
        run(installed, done, program.command)
        self.wanted = tree(done)

    def copy(self, name: str) -> pathlib.Path:
        """A new copy of the state before."""
        target = self.scratch / name
        target.mkdir()
        for one in DIRECTORIES:
            if (self.start / one).exists():
                shutil.copytree(self.start / one, target / one, symlinks=True)
        return target

    def calls(self, everything: bool) -> "list[tuple[str, int]]":
        """(name, number in its process) of the calls of the undisturbed run, each once."""
        counts: Counter[tuple[str, str]] = Counter()
        found: dict[tuple[str, int], None] = {}
        for line in self.trace.read_text(errors="replace").splitlines():
            match = CALL.match(line)
            if not match:
                continue
            process, name, rest = match.groups()
            counts[process, name] += 1
            if name == "execve" and counts[process, name] == 1 and not found:
                # strace's own start of the program.
                found[name, 1] = None
            reads = name in ("open", "openat") and not re.search(r"O_(WRONLY|RDWR|CREAT)", rest)
            if everything or (CHANGES.match(name) and not reads):
                found[name, counts[process, name]] = None
        return list(found)

    def look(self, point: Point) -> "tuple[str, str]":
        """(damage, why the re-run did not converge) at one point; both "" where all is well."""
        state = self.copy(f"{point.call}-{point.number}-{point.fault.replace('=', '-')}")
        try:
            said = run(self.installed, state, self.program.command, "strace", "-f", "-qq", "-o", "/dev/null",
                       "-e", point.inject())  # fmt: skip
            if self.program.ours:
                broken = damage(state, self.confs)
                if "error=" in point.fault and "Traceback" in said:
                    broken = broken or "a traceback"
                run(self.installed, state, self.program.command)
            else:
                broken = damage(state, self.confs) or pair_problem(state)
                run(self.installed, state, START)
            wrong = pair_problem(state)
            after = tree(state)
            if not wrong and self.program.ours and after != self.wanted:
                names = [one for one in sorted({*after, *self.wanted}) if after.get(one) != self.wanted.get(one)]
                wrong = "differs: " + ", ".join(names)
            return broken, wrong
        finally:
            shutil.rmtree(state)


def sweep(program: Program, kinds: "tuple[str, ...]", everything: bool = False) -> "list[tuple[Point, str, str]]":
    """(point, damage, not converged) of every point of a program. kinds: faults of strace, such as "signal=KILL"."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="csulcca-sweep-", dir=base) as directory:
        scratch = pathlib.Path(directory)
        installed = scratch / "installed"
        install(installed)
        one = Sweep(program, installed, scratch / "states")
        points = [Point(name, number, kind) for name, number in one.calls(everything) for kind in kinds]
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            seen = list(pool.map(one.look, points))
    return [(point, *result) for point, result in zip(points, seen, strict=True)]


def main(arguments: "list[str]") -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.sweep")
    parser.add_argument("--all", action="store_true", help="every call, not only those that change files")
    parser.add_argument("--kill", action="store_true", help="the kill sweep only")
    parser.add_argument("--error", action="store_true", help="the error sweep only")
    parser.add_argument("program", nargs="*")
    options = parser.parse_args(arguments)
    kinds: dict[str, tuple[str, ...]] = {}
    if options.kill or not options.error:
        kinds["kill"] = ("signal=KILL",)
    if options.error or not options.kill:
        kinds["error"] = tuple(f"error={error}{lasting}" for error in ERRORS for lasting in ("", "+"))
    failed = False
    print(f"{'program':<16} {'fault':<6} {'points':>7} {'damaged':>8} {'not converged':>14}", flush=True)
    for program in PROGRAMS:
        if options.program and program.name not in options.program:
            continue
        for kind, faults in kinds.items():
            results = sweep(program, faults, options.all)
            damaged = [one for one in results if one[1]]
            left = [one for one in results if one[2]]
            print(f"{program.name:<16} {kind:<6} {len(results):>7} {len(damaged):>8} {len(left):>14}", flush=True)
            if program.ours:
                for point, broken, wrong in results:
                    if broken or wrong:
                        print(f"    {point.inject()}: {broken or wrong}", flush=True)
                failed = failed or bool(damaged or left) or not results
            elif kind == "kill":
                failed = failed or not damaged
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
