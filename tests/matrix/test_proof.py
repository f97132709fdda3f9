"""The breakages of proof.py still have something to break; whether the matrix sees them, `make matrix-proof` shows."""

import json
import subprocess

import pytest

from tests.matrix import images, proof, report
from tests.matrix.scenarios import SCENARIOS


@pytest.mark.parametrize("breakage", proof.BREAKAGES, ids=lambda one: one.name)
def test_the_text_to_break_is_there_once(breakage):
    assert (proof.TREE / breakage.file).read_text().count(breakage.old) == 1
    assert breakage.red
    for cell, scenario in breakage.red:
        assert cell in images.cells()
        assert scenario in SCENARIOS


A, B = list(images.cells())[:2]
RED = frozenset({(A, "fresh")})
BREAKAGE = proof.Breakage("a", "README.md", "x", "y", RED, (A, B), ("fresh",))
CASE = """<testcase classname="t" name="{name}[{cell}]"><properties><property name="cell" value="{cell}"/>
<property name="scenario" value="fresh"/></properties>{inside}</testcase>"""
FAILURE, ERROR = '<failure message="assert"/>', '<error message="of a fixture: no golden image"/>'


def outcome(tmp_path, insides, blocked=None, unbuilt=None, planned=("one", "two"), completed=True):
    """What proof reads of a matrix whose tests in the cells ended so: {cell: [what is in a test case]}."""
    junit, plan = (tmp_path / path.relative_to(report.TREE) for path in (report.JUNIT, report.PLAN))
    junit.parent.mkdir(exist_ok=True)
    cells = [cell for cell in (A, B) if cell not in {**(blocked or {}), **(unbuilt or {})}]
    plan.write_text(json.dumps({"tests": {
        cell: {"fresh": [f"t::{name}[{cell}]" for name in planned]} for cell in cells}}))  # fmt: skip
    cases = "".join(CASE.format(name=name, cell=cell, inside=inside) for cell, found in insides.items()
                    for name, inside in zip(planned, found, strict=False))  # fmt: skip
    junit.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    if completed:
        report.Matrix.read([A, B], ["fresh"], blocked or {}, unbuilt or {}, junit, plan).complete(junit)
    return proof.Outcome.read((A, B), ("fresh",), tmp_path)


@pytest.mark.parametrize("inside", [FAILURE, ERROR])
def test_a_square_is_red_by_a_planned_test_that_failed_or_whose_fixture_did(tmp_path, inside):
    found = outcome(tmp_path, {A: ["", inside], B: ["", ""]})
    assert (found.red, found.blocked, found.wrong) == (RED, {}, [])
    assert proof.judged(BREAKAGE, found)[0] == "ok"
    assert proof.judged(proof.unbroken(BREAKAGE), found)[0] == "WRONG"


def test_what_is_blocked_proves_nothing_and_is_said(tmp_path):
    found = outcome(tmp_path, {B: ["", ""]}, blocked={A: "no emulator: install x"})
    verdict, line = proof.judged(BREAKAGE, found)
    assert verdict == "BLOCKED" and f"{A} is BLOCKED: no emulator: install x" in line
    assert found.red == frozenset()
    found = outcome(tmp_path, {A: ["", FAILURE]}, blocked={B: "no emulator: install x"})
    assert proof.judged(BREAKAGE, found)[0] == "BLOCKED", "what is not red there is not known"


@pytest.mark.parametrize("insides,more", [
    ({A: [""], B: ["", ""]}, {}), ({A: [FAILURE], B: ["", ""]}, {}), ({}, {}),
    ({B: ["", ""]}, {"unbuilt": {A: "no disk"}}),
    ({}, {"planned": ()}), ({A: [FAILURE], B: ["", ""]}, {"completed": False}),
])  # fmt: skip
def test_a_matrix_that_did_not_run_to_its_end_proves_nothing(tmp_path, insides, more):
    verdict, line = proof.judged(BREAKAGE, outcome(tmp_path, insides, **more))
    assert verdict == "WRONG" and f"{A} fresh did not run to its end" in line


def test_a_matrix_that_left_no_files_proves_nothing(tmp_path):
    assert proof.judged(BREAKAGE, proof.Outcome.read((A, B), ("fresh",), tmp_path))[0] == "WRONG"


def test_a_failure_outside_of_the_matrix_proves_nothing(tmp_path):
    outcome(tmp_path, {A: ["", FAILURE], B: ["", ""]})
    junit = tmp_path / report.JUNIT.relative_to(report.TREE)
    stray = '<testcase classname="t" name="x"><error>collection</error></testcase>'
    junit.write_text(junit.read_text().replace("</testsuite>", stray + "</testsuite>"))
    found = proof.Outcome.read((A, B), ("fresh",), tmp_path)
    assert found.wrong == ["failed outside of the matrix: t::x"]
    assert proof.judged(BREAKAGE, found)[0] == "WRONG"


def test_nothing_broken_is_tried_once_for_each_set_of_squares_and_must_be_green():
    tried = []

    def green(one):
        tried.append(one.name)
        return proof.Outcome(one.red, {}, [])

    other = proof.Breakage("c", "README.md", "x", "y", frozenset({(B, "remove")}), (B,), ("remove",))
    again = proof.Breakage("b", "README.md", "x", "y", RED, (A, B), ("fresh",))
    lines = proof.prove([BREAKAGE, again, other], green)
    assert tried == [proof.NOTHING, "a", "b", proof.NOTHING, "c"]
    assert [verdict for verdict, _ in lines] == ["ok"] * 5

    def red(one):
        tried.append(one.name)
        return proof.Outcome(RED, {}, [])

    del tried[:]
    lines = proof.prove([BREAKAGE, again], red)
    assert tried == [proof.NOTHING]
    assert [verdict for verdict, _ in lines] == ["WRONG"] * 3


@pytest.mark.parametrize("red,blocked,status", [(RED, {}, 0), ((), {}, 1), ((), {A: "no emulator"}, 3)])
def test_the_exit_status_follows_what_turned_red(monkeypatch, red, blocked, status):
    found = iter([proof.Outcome(frozenset(), blocked, []), proof.Outcome(frozenset(red), blocked, [])])
    monkeypatch.setattr(proof, "BREAKAGES", (BREAKAGE,))
    monkeypatch.setattr(proof.engine, "prepare", lambda: None)
    monkeypatch.setattr(proof, "in_a_copy", lambda one: next(found))
    assert proof.main(["a"]) == status
    assert proof.main(["no such"]) == 2


def test_a_copy_has_the_files_of_the_tree_and_git_knows_them(monkeypatch):
    def files(tree):
        return set(subprocess.check_output(["git", "ls-files", "-z"], cwd=tree, text=True).split("\0"))

    monkeypatch.setattr(proof, "run", lambda breakage, tree: files(tree))
    assert files(proof.TREE) <= proof.in_a_copy(BREAKAGE)
