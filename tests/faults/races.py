"""Two programs change the same pair at the same time, with random delays.

play(): a converge, a start, or what `cert install` does under the lock, by the library, in separate processes on a
temporary root, with a delay before each writing call. play_commands(): the commands of a host, started a moment apart,
with delays at calls that change files. In both, the first program is killed in one of three rounds; the second program
and a last start must finish what it left. `python -m tests.faults.table --fault "at once"` plays 200 rounds of each.
"""

import pathlib
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys

from catcher_install import apply, config, pair, paths, stamp, transition
from tests.faults import programs
from tests.unit.support import TREE, Machine, installed

TIMEOUT_S = 60

# One program. argv: tree, root, what to do, seed, whether it is killed. Its pairs say who made them.
PROGRAM = """
import os, random, signal, sys, time
sys.path.insert(0, sys.argv[1])
from tests.unit.support import Machine, OPENSSL_3, Os
from catcher_install import apply, host, pair, paths, transition
from catcher_install.cert import check, generate
chance = random.Random(sys.argv[4])
kill_at = chance.randrange(1, 40) if sys.argv[5] == "1" else 0
calls = 0
def delay():
    global calls
    calls += 1
    if calls == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(chance.random() ** 8 * 0.02)
host.os = Os(watch=delay)
machine = Machine(sys.argv[2])
machine.programs[paths.OPENSSL] = (0, OPENSSL_3)
mark = b"of process %d" % os.getpid()
made = b"key " + mark, b"certificate " + mark
generate.generate = lambda host, names, wish: made
check.check = lambda host, key, crt: check.unusable("")
sys.stdin.read(1)
if sys.argv[3] == "converge":
    apply.converge(machine, transition.from_scriptlet("rpm", ["1"]))
elif sys.argv[3] == "start":
    apply.converge(machine, transition.of(transition.START))
else:
    # What `cert install` does once it has checked its files: decide under the lock, then converge.
    lock = machine.lock(60)
    try:
        if not pair.look(machine).staged:
            pair.begin_replacement(machine, *(made + (False,)))
    finally:
        lock.free()
    apply.converge(machine, transition.of(transition.APPLY))
"""

PAIRINGS = {"two converges": ("converge", "converge"), "converge and start": ("converge", "start"),
            "cert install and converge": ("install", "converge"),
            "cert install and start": ("install", "start")}  # fmt: skip


def play(pairing: str, base: pathlib.Path, seed: int) -> list[str]:
    """One round on a fresh host. Returns what is wrong after it, in words; nothing if all is well."""
    chance = random.Random(seed)
    machine = installed(base)
    children = []
    for number, what in enumerate(PAIRINGS[pairing]):
        killed = "1" if number == 0 and chance.randrange(3) == 0 else "0"
        children.append(subprocess.Popen(
            [sys.executable, "-c", PROGRAM, TREE, machine.base, what, f"{seed}-{number}", killed],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE))  # fmt: skip
    wrong = []
    for child in children:
        assert child.stdin is not None
        child.stdin.write(b"x")
        child.stdin.flush()
    for child in children:
        try:
            _, said = child.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.communicate()
            wrong.append("deadlock")
            continue
        if child.returncode not in (0, -signal.SIGKILL):
            wrong.append(f"status {child.returncode}: {said.decode(errors='replace')[-300:]}")
    apply.converge(machine, transition.of(transition.START))
    return wrong + _damage(machine)


def _damage(machine: Machine) -> list[str]:
    wrong = []
    key, crt = machine.get(paths.KEY), machine.get(paths.CERTIFICATE)
    if key is None or crt is None or key.partition(b" ")[2] != crt.partition(b" ")[2]:
        wrong.append(f"not one pair: {key!r}, {crt!r}")
    left = [name for name in machine.names(paths.BIN) if name.startswith(".")]
    if left:
        wrong.append(f"left behind: {left}")
    if config.parse(machine.get(paths.CONF) or b"").state != config.TLS:
        wrong.append("catcher.conf does not say TLS_ON")
    written = stamp.parse(machine.get(paths.STAMP) or b"")
    if written is None:
        wrong.append("the stamp is torn")
    elif written.generated_pair not in (None, pair.fingerprint(key or b"", crt or b"")):
        wrong.append("the stamp calls another pair ours")
    return wrong


# -- the commands themselves -------------------------------------------------------------------------------------------

COMMANDS = {"converge": programs.CONFIGURE, "start": programs.START,
            "install": programs.named("cert install").command}  # fmt: skip

WAITS = 'for p in "$p0" "$p1"; do wait "$p"; echo "ended with $?"; done'
CHANGES = "link,linkat,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,fsync,flock,write,fchmod"


class Host:
    """An installed tree, and for each combination the state that its rounds begin with."""

    def __init__(self, installed: pathlib.Path, scratch: pathlib.Path) -> None:
        self.installed, self.scratch = installed, scratch

    def begin(self, pairing: str, seed: int) -> pathlib.Path:
        """A state of its own for a round."""
        start = self.scratch / pairing
        if not start.exists():
            start.mkdir()
            if "install" in PAIRINGS[pairing]:
                programs.prepare(programs.named("cert install"), self.installed, start)
        return programs.copy(start, self.scratch / f"{pairing}-{seed}")


def play_commands(pairing: str, host: Host, seed: int) -> list[str]:
    """One round of the host's own commands. Returns what is wrong after it, in words; nothing if all is well."""
    chance = random.Random(seed)
    state = host.begin(pairing, seed)
    before = programs.pair_of(state)
    mine = tuple((state / "etc" / name).read_bytes() if (state / "etc" / name).exists() else None
                 for name in ("my.key", "my.crt"))  # fmt: skip
    both = []
    killed = False
    for number, what in enumerate(PAIRINGS[pairing]):
        may_be_killed = number == 0 and chance.randrange(3) == 0
        killed = killed or may_be_killed
        limit = chance.uniform(0.05, 0.5) if may_be_killed else TIMEOUT_S
        delay = f"delay_enter={chance.randrange(1, 60)}ms:when={chance.randrange(1, 5)}+{chance.randrange(1, 5)}"
        both.append(f"(sleep {chance.random() ** 3 * 0.1:.4f}; exec strace -f --seccomp-bpf -qq -o /dev/null"
                    f" -e trace={CHANGES} -e inject={CHANGES}:{delay}"
                    f" timeout -s KILL {limit:.4f} {shlex.join(COMMANDS[what])}) & p{number}=$!; ")  # fmt: skip
    try:
        ended = programs.run(host.installed, state, ("/bin/sh", "-c", "".join(both) + WAITS))
        wrong = ["deadlock"] if ended.status is None else []
        if "Traceback" in ended.output or "internal fault" in ended.output:
            wrong.append("a fault of ours: " + ended.output.strip().rpartition("\n")[2])
        statuses = re.findall(r"^ended with (\d+)$", ended.output, re.MULTILINE)
        if statuses not in (["0", "0"], ["137", "0"] if killed else None):
            wrong.append(f"they ended with {', '.join(statuses)}: {ended.output.strip()}")
        programs.run(host.installed, state, programs.START)
        if None in programs.pair_of(state):
            wrong.append("no pair")
        if "install" in PAIRINGS[pairing] and programs.pair_of(state) not in (mine, before if killed else None):
            wrong.append("the pair is not the one that was installed")
        if programs.conf_of(state) != b"TLS_ON\n":
            wrong.append(f"catcher.conf is {programs.conf_of(state)!r}")
        wrong += [said for said in (programs.pair_problem(state), programs.readable_key(state)) if said]
        left = [path.name for path in (state / programs.BIN[1:]).iterdir() if path.name.startswith(".")]
        if left:
            wrong.append(f"left behind: {left}")
        if stamp.parse((state / paths.STAMP[1:]).read_bytes()) is None:
            wrong.append("the stamp is torn")
        return wrong
    finally:
        shutil.rmtree(state)
