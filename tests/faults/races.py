"""Two programs at the same pair, with random delays before each of their writing calls.

`python -m tests.faults.races [--rounds 200]` plays each pairing for that many rounds and prints a line each: rounds and
those that ended wrong. The programs are converges and starts of the library in processes of their own, on a temporary
root; one of three is killed at a random call, and what it leaves is for the other and for a last converge to finish.
"""

import argparse
import pathlib
import random
import signal
import subprocess
import sys
import tempfile

from catcher_install import apply, config, pair, paths, stamp, transition
from tests.unit.support import TREE, Machine, installed

ROUNDS = 200
TIMEOUT_S = 60

# One program: argv is tree, root, what, seed, whether to be killed. Its pairs say who made them.
PROGRAM = """
import os, random, signal, sys, time
sys.path.insert(0, sys.argv[1])
from tests.unit.support import Machine, OPENSSL_3, Os
from catcher_install import apply, certificate, host, pair, paths, transition
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
certificate.generate = lambda host, names: made
certificate.check = lambda key, crt: certificate.unusable("")
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
    """One round on a fresh host: what is wrong after it, in words; nothing where all is well."""
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


def main(arguments: list[str]) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.faults.races")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    failed = 0
    for pairing in PAIRINGS:
        wrong = 0
        for number in range(options.seed, options.seed + options.rounds):
            with tempfile.TemporaryDirectory(prefix="csulcca-race-") as directory:
                found = play(pairing, pathlib.Path(directory), number)
            if found:
                wrong += 1
                print(f"  {pairing}, seed {number}: {'; '.join(found)}", flush=True)
        print(f"{pairing:26} rounds {options.rounds:4}  wrong {wrong}", flush=True)
        failed += wrong
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
