"""The command line of `make matrix`, as far as it needs no container."""

import json
from xml.etree import ElementTree

import pytest

from tests.matrix import engine, images, report, run

CELL = next(iter(images.cells()))
SQUARE = ["--cell", CELL, "--scenario", "fresh"]
PASSED = f"""<testsuites><testsuite name="pytest" tests="1"><testcase classname="t" name="old" time="1"><properties>
<property name="cell" value="{CELL}"/><property name="scenario" value="fresh"/></properties></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def junit(tmp_path, monkeypatch):
    """Where the report of a run goes, which needs no engine."""
    for name in ("JUNIT", "PLAN", "PAGE"):
        monkeypatch.setattr(report, name, tmp_path / "dist" / getattr(report, name).name)
    monkeypatch.setattr(run, "TREE", tmp_path)
    monkeypatch.setattr(engine, "prepare", lambda: None)
    return report.JUNIT


def test_two_runs_do_not_write_one_report(junit):
    run.alone()
    with pytest.raises(engine.MatrixError, match="another make matrix"):
        run.alone()


def test_where_nothing_can_run_the_junit_file_says_why_and_nothing_of_an_earlier_run(junit, monkeypatch):
    monkeypatch.setattr(images, "blocked", lambda cell: "no image")
    junit.parent.mkdir()
    junit.write_text(PASSED)
    report.PLAN.write_text(json.dumps({"tests": {CELL: {"fresh": ["t::old"]}}, "not applicable": {}}))
    assert run.main(SQUARE) == 1
    cases = list(ElementTree.parse(junit).getroot().iter("testcase"))
    assert [(case.get("name"), case[0].get("message")) for case in cases] == [(f"fresh[{CELL}]", "BLOCKED: no image")]
