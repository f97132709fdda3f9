"""A plugin of pytest for `make matrix`: a line for each test as soon as it has ended, instead of pytest's letters."""

import time

import pytest

from tests.matrix.report import ANSI, FAIL, PASS, SYMBOLS
from tests.matrix.scenarios import SCENARIOS

SCENARIO_WIDTH = max(len(name) for name in SCENARIOS)


class Progress:
    """Counts tests and prints."""

    def __init__(self, config: pytest.Config) -> None:
        """Begin; the number of tests is not known yet."""
        self.config = config
        self.started = time.monotonic()
        self.total = 0
        self.ended = 0
        self.seconds: dict[str, float] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without workers: how many tests there are."""
        self.total = self.total or len(session.items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """With workers: how many tests there are. Each worker collects all of them."""
        self.total = len(ids)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """Print no letters: the lines have the results."""
        return (report.outcome, "", "") if report.when == "call" or report.failed else None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print a line when a test has ended, or has failed before it began."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0) + report.duration
        ended = report.when == "teardown"
        self.ended += ended
        properties = dict(report.user_properties)
        if report.failed or (report.when == "call" and report.passed):
            self.say(report, str(properties.get("cell", "")), str(properties.get("scenario", "")))
        for key, value in report.user_properties:
            if key == "kept" and report.when == "call":
                self.write(f"    kept: {value}; to look inside: make matrix SHELL_IN={value}")
            if key == "console" and report.failed:
                self.write(f"    console: {value}")

    def say(self, report: pytest.TestReport, cell: str, scenario: str) -> None:
        """`  12/340  3:05  ✓ CELL  fresh  test_x[...]  12.3 s`."""
        verdict = FAIL if report.failed else PASS
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        name = report.nodeid.partition("::")[2]
        line = f"{SYMBOLS[verdict]} {cell:20} {scenario:{SCENARIO_WIDTH}} {name}"
        if self.config.get_terminal_writer().hasmarkup:
            line = f"\033[{ANSI[verdict]}m{line[0]}\033[0m{line[1:]}"
        count = f"{self.ended + 1:4}/{self.total}"
        self.write(f"{count} {minutes:3}:{seconds:02}  {line}  {self.seconds[report.nodeid]:.1f} s")

    def write(self, line: str) -> None:
        """One line, at once."""
        writer = self.config.get_terminal_writer()
        writer.line(line)
        writer.flush()


def pytest_configure(config: pytest.Config) -> None:
    """Only in the process that collects the results, not in a worker."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config), "matrix-progress")
