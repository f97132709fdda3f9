"""Which square of the matrix a test belongs to: hooks of pytest, for the conftest.py of the tests.

A test belongs to the square of its parameter `cell` and its mark `scenario`. The marks are written to the file named in
MATRIX_PLAN before any test runs. So a planned test that did not run is noticed afterwards. Only scenarios in
MATRIX_SCENARIOS (with commas; none: all) are run.
"""

import json
import os
import pathlib
import re
from collections.abc import Generator

import pytest

from tests.matrix import images, machine
from tests.matrix.scenarios import SCENARIOS

CONSOLES = pathlib.Path(__file__).resolve().parent.parent.parent / "dist"
WANTED = [name for name in os.environ.get("MATRIX_SCENARIOS", "").split(",") if name]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests that do not apply to a cell or were not asked for; write each test's square into the JUnit
    file."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    plan: dict[str, dict] = {"tests": {}, "not applicable": {}}
    for item in items:
        cell, scenario = square_of(item)
        if cell is None or scenario is None:
            # A test without a system is no part of the matrix.
            (left_out if WANTED else kept).append(item)
            continue
        # The marks of a parameter come last: not even the system whose turn it is would run the test.
        marks = sorted(item.iter_markers("only"), key=lambda mark: mark in item.callspec.marks)  # type: ignore
        reasons = [str(mark.args[1]) for mark in marks if not mark.args[0](cell)]
        if cell.scenarios and scenario not in cell.scenarios:
            reasons.insert(0, "another system shows the same")
        if not cell.boot and item.get_closest_marker("bare") is None:
            reasons.insert(0, "it needs a booted system, and systemd can't be PID 1 there")
        if WANTED and scenario not in WANTED:
            left_out.append(item)
        elif reasons:
            left_out.append(item)
            found = plan["not applicable"].setdefault(cell.name, {}).setdefault(scenario, {})
            found.setdefault(reasons[0], []).append(item.name)
        else:
            kept.append(item)
            item.user_properties += [("cell", cell.name), ("scenario", scenario)]
            plan["tests"].setdefault(cell.name, {}).setdefault(scenario, []).append(junit_name(item.nodeid))
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
    if "MATRIX_PLAN" in os.environ and os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0":
        pathlib.Path(os.environ["MATRIX_PLAN"]).write_text(json.dumps(plan), encoding="utf-8")


def square_of(item: pytest.Item) -> tuple[images.Cell | None, str | None]:
    """The cell and the scenario of a test, None for what it does not have. Raises UsageError for an unknown
    scenario."""
    scenario = next((str(mark.args[0]) for mark in item.iter_markers("scenario")), None)
    if scenario is not None and scenario not in SCENARIOS:
        raise pytest.UsageError(f"{item.nodeid}: no scenario {scenario} in tests/matrix/scenarios.py")
    name = getattr(item, "callspec", None) and item.callspec.params.get("cell")  # type: ignore[attr-defined]
    return images.cell(name) if isinstance(name, str) else None, scenario


def junit_name(nodeid: str) -> str:
    """The name of a test in the JUnit file, CLASSNAME::NAME, from its node id."""
    path, _, name = nodeid.partition("::")
    return path.removesuffix(".py").replace("/", ".") + "::" + name


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test where its machines are kept, if they are kept, and the files with their
    output; also of machines that ended with a block of the test."""
    report = yield
    if report.failed and report.when != "teardown":
        said = [*machine.ended, *((one.name, one.evidence()) for one in machine.running)]
        for number, (name, text) in enumerate(((name, text) for name, text in said if text), start=1):
            told = ("console", str(write_console(item, f"{number}-{name}", text)))
            report.sections.append((f"machine {name}", f"console: {told[1]}"))
            # The JUnit file has the properties of the item, which are copied into the report of its end.
            report.user_properties.append(told)
            item.user_properties.append(told)
        for one in machine.running if machine.KEEP_FAILED else ():
            report.user_properties.append(("kept", one.keep()))
    if report.when == "teardown" or report.failed:
        machine.ended.clear()
    return report


def write_console(item: pytest.Item, name: str, text: str) -> pathlib.Path:
    """Write the output of a test's machine to its file, which stays until the next run. Returns the path."""
    cell, _ = square_of(item)
    words = re.sub(r"[^\w.-]+", "-", f"{cell.name if cell else 'machine'}-{item.name}-{name}")
    path = CONSOLES / f"console-{words}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
