"""Run a command in a namespace in which programs of another architecture run, even if the host cannot run them.

    python3 -m tests.matrix.foreign s390x -- COMMAND ARGUMENTS...

The command runs as root of a new user namespace (every id is itself) with a binfmt_misc of its own, in which
qemu-user-static is registered. The host's table is global: a systemd that stops in a privileged container
flushes it.
A binfmt_misc for each user namespace came with Linux 6.7.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pathlib
import signal
import subprocess
import sys

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000  # unshare(2)
PR_SET_PDEATHSIG = 1  # prctl(2)
MS_REC, MS_PRIVATE = 0x4000, 0x40000  # mount(2)
# The start of a machine's ELF files, and the bits of it that count; see binfmt_misc in the kernel's documentation.
PROGRAMS = {
    "s390x": (
        rb"\x7fELF\x02\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x16",
        rb"\xff\xff\xff\xff\xff\xff\xff\xfc\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff",
    )
}
EMULATOR = "/usr/bin/qemu-{}-static"
TREE = pathlib.Path(__file__).resolve().parent.parent.parent

libc = ctypes.CDLL(None, use_errno=True)


def prefix(machine: str) -> list[str]:
    """What to put before a command, so that programs for this machine (as `uname -m` names it) run in it."""
    return [sys.executable, "-m", "tests.matrix.foreign", machine, "--"]


@functools.cache
def works(machine: str) -> bool:
    """Whether this kernel allows this namespace: older kernels and some containers do not."""
    try:
        done = subprocess.run([*prefix(machine), "true"], cwd=TREE, stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=30, check=False)  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def check(result: int, what: str) -> None:
    """Raise OSError with `what` if a call of the C library did not return 0."""
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def main(machine: str, command: list[str]) -> int:
    """Run the command; returns its exit status."""
    entered, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        try:
            check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
            check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID), "unshare")
            os.write(entered[1], b"x")
            os.read(mapped[0], 1)
            # The first process of the new namespace: when it ends, everything in the namespace ends.
            first = os.fork()
            if first == 0:
                check(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL), "prctl")
                run(machine, command)
            os._exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]) & 0xFF)
        except OSError as error:
            print(f"error: no place for programs of {machine}: {error}", file=sys.stderr)
            os._exit(1)
    os.close(entered[1])
    if os.read(entered[0], 1):
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{name}", "w") as table:
                table.write("0 0 4294967295\n")
        os.write(mapped[1], b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def run(machine: str, command: list[str]) -> None:
    """Mount what the namespaces need, register the emulator, and become the command. Raises OSError."""
    check(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "private mounts")
    check(libc.mount(b"proc", b"/proc", b"proc", 0, None), "/proc")
    check(libc.mount(b"binfmt_misc", b"/proc/sys/fs/binfmt_misc", b"binfmt_misc", 0, None), "binfmt_misc")
    magic, mask = PROGRAMS[machine]
    emulator = EMULATOR.format(machine).encode()
    with open("/proc/sys/fs/binfmt_misc/register", "wb", 0) as table:
        # F: the emulator is opened now, so it is found in every root directory.
        table.write(b":qemu-" + machine.encode() + b":M::" + magic + b":" + mask + b":" + emulator + b":F")
    os.execvp(command[0], command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[3:]))
