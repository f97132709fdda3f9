"""How the time of the test matrix grows with its cells: `make bench MATRIX=1`. It takes many minutes."""

import os
import subprocess
import sys
import time

from tests.matrix import images
from tests.matrix.run import build_images

from .measure import BenchError

SIZES = (1, 4, 12)
SCENARIO = "fresh"


def bench() -> list[str]:
    """Lines for people: the number of cells, the time, and the time for each cell."""
    runnable = [cell for cell in images.cells().values() if not images.blocked(cell)]
    # If a mirror does not deliver one of them, the others are measured.
    failed, undelivered = build_images(runnable)
    runnable = [cell for cell in runnable if cell.name not in failed and cell.name not in undelivered][: max(SIZES)]
    lines = []
    for size in SIZES:
        chosen = [cell.name for cell in runnable[:size]]
        begin = time.monotonic()
        command = [sys.executable, "-m", "tests.matrix.run", "--scenario", SCENARIO]
        done = subprocess.run([*command, *(word for name in chosen for word in ("--cell", name))],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env={**os.environ, "PYTHONUNBUFFERED": "1"})  # fmt: skip
        seconds = time.monotonic() - begin
        if done.returncode:
            raise BenchError(f"the matrix of {', '.join(chosen)} failed: {done.stdout.strip().splitlines()[-1]}",
                             f"make matrix SCENARIO={SCENARIO}")  # fmt: skip
        lines.append(f"{len(chosen):3} cells  {seconds:6.0f} s  {seconds / len(chosen):5.1f} s a cell")
        print("  " + lines[-1], flush=True)
        if len(chosen) < size:
            lines.append(f"    only {len(chosen)} cells can be run on this computer, not {size}")
            break
    return lines
