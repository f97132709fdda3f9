"""How the time of contrib/'s Ansible role grows with its hosts: `make bench FLEET=1,2,4,8`.

Up to BOOTED hosts are machines with systemd: the role installs the package, sets the mode, and the catcher serves. If
there are more, they are machines without an init, as in an image build. A computer can run hundreds of these. They
measure only the package manager, the hooks and catcherctl.
"""

import concurrent.futures
import contextlib
import time

from tests.contrib.playbook import play
from tests.matrix.machine import Machine, Network

from .machines import Bench
from .measure import step

BOOTED = 8
# The number of hosts on which Ansible runs a task at the same time. More than a few for each processor only wait.
FORKS = 8


def bench(here: Bench, sizes: list[int]) -> list[str]:
    """Lines for people: the number of hosts, the time, and the time for each host; with work to do and without."""
    lines = []
    for size in sizes:
        boot = size <= BOOTED
        with contextlib.ExitStack() as stack:
            lan = stack.enter_context(Network()) if boot else None
            made = [Machine(here.image, name=f"z{number}", network=lan, boot=boot, durable=True)
                    for number in range(size)]  # fmt: skip
            with step(f"{size} hosts start"), concurrent.futures.ThreadPoolExecutor(FORKS) as pool:
                machines = list(pool.map(stack.enter_context, made))
            package = next((here.directory / "8.0.0").glob("*." + here.cell.family))
            settings = [f"csulcca_package={package}", *(["csulcca_mode=tls"] if boot else [])]
            seconds = []
            for what in ("installs", "has nothing to do"):
                begin = time.monotonic()
                with step(f"the role {what} on {size} hosts"):
                    play(machines, *settings, forks=FORKS)
                seconds.append(time.monotonic() - begin)
        kind = "with systemd" if boot else "without an init"
        each = "   ".join(f"{what} {taken:5.0f} s, {taken / size:4.1f} s a host"
                          for what, taken in zip(("install", "again"), seconds, strict=True))  # fmt: skip
        lines.append(f"{size:3} hosts {kind:15}   {each}")
    return lines
