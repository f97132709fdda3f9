"""Run commands alternately, and make the table of their medians and ratios."""

import contextlib
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.matrix.engine import MatrixError

# Runs hyperfine with these arguments and returns what it exports as JSON.
Hyperfine = Callable[[Sequence[str]], str]
# Seconds of each run, by what was run.
Times = dict[str, list[float]]


class BenchError(MatrixError):
    """Something could not be measured: what is wrong in one line, and a hint."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table: how long something takes, compared with something else in the same run.

    `unit`: "s", or "MiB" if `seconds` and the other fields are memory. `less`: seconds that do not belong to it, and
    that are already subtracted from `seconds`. `low`, `high`: in half of the rounds the ratio was between these.
    `target`: the largest ratio that it may have; None: shown for scale only.
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
    unit: str = "s"

    @property
    def verdict(self) -> str:
        """`met`, `missed`, or "" if there is no target."""
        if self.target is None:
            return ""
        return "met" if self.ratio <= self.target else "missed"


class Rounds:
    """The times of things that ran alternately, round by round."""

    def __init__(self, cell: str) -> None:
        """Begin with none."""
        self.cell = cell
        self.rounds: list[Times] = []

    def hyperfine(self, hyperfine: Hyperfine, what: str, commands: Mapping[str, str], rounds: int, runs: int,
                  warmup: int = 1) -> None:  # fmt: skip
        """Measure commands. Raises MatrixError if one fails.

        commands: each with the command that is run before each of its runs, and is not timed. runs: the number of runs
        of each command in a round.
        """
        for order in self._turns(what, list(commands), rounds):
            arguments = ["--shell=none", "--style=none", f"--warmup={warmup}", f"--runs={runs}"]
            for command in order:
                arguments += ["--prepare", commands[command] or "true"]
            self.rounds.append(times_of(hyperfine([*arguments, *order])))

    def call(self, what: str, measured: Mapping[str, Callable[[], float]], rounds: int) -> None:
        """Measure what is not the duration of a command: each callable returns seconds, or MiB."""
        for order in self._turns(what, list(measured), rounds):
            self.rounds.append({name: [measured[name]()] for name in order})

    def _turns(self, what: str, names: list[str], rounds: int) -> Iterator[list[str]]:
        """The order of each round, reversed in every second round; prints the progress."""
        begin = time.monotonic()
        for number in range(rounds):
            yield names[:: 1 if number % 2 == 0 else -1]
            if number == 0 or (number + 1) % 5 == 0 or number + 1 == rounds:
                print(f"  {time.monotonic() - begin:4.0f} s  {what}: {number + 1} of {rounds} rounds", flush=True)

    def times(self) -> Times:
        """All rounds in one."""
        return {command: [seconds for one in self.rounds for seconds in one[command]] for command in self.rounds[0]}

    def row(self, what: str, command: str, beside: str, beside_is: str, target: float | None = None,
            less: str = "", unit: str = "s") -> Row:  # fmt: skip
        """A line of the table. less: a command whose time is subtracted, because it does not belong to the measurement.
        unit: as in a Row."""

        def seconds(times: Times) -> tuple[float, float, float]:
            off = statistics.median(times[less]) if less else 0.0
            return statistics.median(times[command]) - off, off, statistics.median(times[beside])

        taken, off, baseline = seconds(self.times())
        each = [ours / theirs for ours, _, theirs in map(seconds, self.rounds)]
        low, _, high = statistics.quantiles(each, n=4)
        runs = sum(len(one[command]) for one in self.rounds)
        return Row(self.cell, what, taken, off, beside_is, baseline, taken / baseline, low, high, target, runs,
                   unit)


def times_of(exported: str) -> Times:
    """The runs in what hyperfine exports as JSON."""
    return {one["command"]: one["times"] for one in json.loads(exported)["results"]}


def rounds_for(wanted: int, effort: float) -> int:
    """The number of rounds at this effort: at least three, because fewer have no quartiles."""
    return max(3, round(wanted * effort))


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Print what is done and how long it took."""
    begin = time.monotonic()
    print(f"  {what}", flush=True)
    yield
    print(f"  {time.monotonic() - begin:4.0f} s  {what}: done", flush=True)


def duration(seconds: float) -> str:
    """Seconds for people: in milliseconds below ten."""
    if seconds >= 10:
        return f"{seconds:.1f} s"
    return f"{seconds * 1e3:.{0 if seconds >= 0.1 else 1}f} ms"


def amount(value: float, unit: str) -> str:
    """Seconds or MiB for people."""
    return duration(value) if unit == "s" else f"{value:.0f} {unit}"


def table(rows: Sequence[Row]) -> str:
    """The lines of the table under their headings."""
    heading = ("", "takes", "beside", "takes", "ratio", "half of rounds", "target", "")
    lines = []
    for row in rows:
        target = "" if row.target is None else f"<= {row.target:g}"
        lines.append((row.what, amount(row.seconds, row.unit), row.beside, amount(row.beside_seconds, row.unit),
                      f"{row.ratio:.2f}", f"{row.low:.2f} - {row.high:.2f}", target, row.verdict))  # fmt: skip
    widths = [max(len(line[at]) for line in [heading, *lines]) for at in range(len(heading))]
    left = (0, 2, 7)
    found = []
    for line in [heading, *lines]:
        cells = [text.ljust(width) if at in left else text.rjust(width)
                 for at, (text, width) in enumerate(zip(line, widths, strict=True))]  # fmt: skip
        found.append("  ".join(cells).rstrip())
    return "\n".join(found)
