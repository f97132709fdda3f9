"""The table of `make faults`: every row can be selected, known results are not run again, and it says what is wrong."""

import ast
import json

import pytest

from tests.faults import powercuts, programs, table, transactions
from tests.faults.sweep import Seen
from tests.matrix.engine import MatrixError

GOOD, BAD, LEFT = Seen("", ""), Seen("torn", ""), Seen("", "differs")


def row(ours=True, blocked="", least=1):
    """A row that runs nothing and reports two points."""

    def run(known, tell):
        found = dict(known)
        for name in ("a", "b"):
            if name not in found:
                found[name] = GOOD
                tell(name, GOOD, 2)
        return found

    return table.Row("a program", "kill", run, ("Makefile",), ours, blocked, least)


def test_every_program_of_ours_is_swept_in_each_way():
    there = {(one.program, one.fault) for one in table.rows(False)}
    for program in programs.PROGRAMS:
        assert {(program.name, fault) for fault in program.faults} <= there
    assert {one.faults for one in programs.PROGRAMS if one.ours and one.name != "preinst"} == {
        ("kill", "error", "unsynced")}
    assert {"at once", "killed", "fuzzed", "taken out"} <= {fault for _, fault in there}


def test_whatever_a_row_depends_on_is_there():
    missing = {part for one in table.rows(False) for part in one.parts if not (programs.TREE / part).exists()}
    assert missing == set()


def test_a_power_cut_is_made_again_after_a_change_of_what_makes_or_judges_it():
    parts = {part for one in table.rows(False) if one.fault == "power cut" for part in one.parts}
    imported = set()
    for node in ast.parse((programs.TREE / "tests/faults/powercuts.py").read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("tests."):
            named = [f"{node.module}.{one.name}" for one in node.names]
            imported |= {name.replace(".", "/") + ".py" for name in (node.module, *named)}
    imported = {name for name in imported if (programs.TREE / name).exists()}
    assert len(imported) > 8
    assert imported - parts == {"tests/faults/sweep.py", "tests/matrix/engine.py"}
    recipe = powercuts.CELL.recipe
    scripts = ["machine.sh", *([recipe["script"]] if "script" in recipe else [])]
    assert {"tests/matrix/distros.toml", *(f"tests/matrix/recipes/{name}" for name in scripts)} <= parts


@pytest.mark.parametrize("ours,found,wanted", [
    (True, {"a": GOOD}, True), (True, {}, False), (True, {"a": GOOD, "b": BAD}, False), (True, {"a": LEFT}, False),
    (False, {"a": GOOD, "b": BAD}, True), (False, {"a": GOOD}, False), (False, {}, False),
])
def test_what_a_row_must_be_like(ours, found, wanted):
    assert table.verdict(row(ours), found) == wanted


def test_of_too_few_points_a_row_is_not_as_it_must_be_and_says_so():
    few, enough = {"a": GOOD}, {"a": GOOD, "b": GOOD}
    assert (table.verdict(row(least=2), few), table.verdict(row(least=2), enough)) == (False, True)
    assert "too few points" in table.lines(row(least=2), few)[1]
    assert len(table.lines(row(least=2), enough)) == 1


def test_a_package_manager_is_killed_at_some_fifty_points_and_half_of_them_where_a_pair_is():
    wanted = {one.program: one.least for one in table.rows(False) if one.fault == "killed"}
    assert len(wanted) == 8
    for cell, tool in transactions.REFERENCES:
        assert wanted[f"{tool} on {cell.name}"] == 40 and wanted[f"{tool} on {cell.name}, own pair"] == 20


def test_a_row_says_which_point_is_wrong_and_a_proof_whether_it_sees():
    (line, point) = table.lines(row(), {"a": GOOD, "b": BAD, "c": Seen("", "")})
    assert line.split()[-3:] == ["3", "1", "0"] and point == "    b: torn"
    assert "its damage is seen" in table.lines(row(False), {"b": BAD})[0]
    assert "blind" in table.lines(row(False), {"b": GOOD})[0]


def test_the_number_of_power_cuts_is_in_the_report_of_the_matrix(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "CACHE", tmp_path)
    monkeypatch.setattr(table.report, "FAULTS", tmp_path / "dist/faults.json")
    assert table.report.power_cuts() == {}
    cut, proof = (row(ours)._replace(fault="power cut", program=f"dpkg {ours}") for ours in (True, False))
    monkeypatch.setattr(table, "rows", lambda everything: [row()])
    table.main([])
    assert table.report.power_cuts() == {}
    monkeypatch.setattr(table, "rows", lambda everything: [row(), cut, proof, cut._replace(
        program="rpm", run=lambda known, tell: {"a": GOOD, "b": BAD, "c": LEFT})])
    table.main([])
    told = table.report.power_cuts()["power cuts"]
    assert told.startswith("5, damaged: 2 (make faults, commit ")
    assert told in table.report.Matrix([], [], {}, {}).page(1)


def test_a_table_that_was_interrupted_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "CACHE", tmp_path)
    kept = tmp_path / f"{table.digest(row())}.jsonl"
    kept.write_text(json.dumps(["a", *BAD]) + "\n" + '["b", "to')
    assert table.play(row()) == {"a": BAD, "b": GOOD}
    assert [json.loads(line)[0] for line in kept.read_text().splitlines()] == ["a", "b"]


def test_a_changed_file_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "TREE", tmp_path)
    (tmp_path / "Makefile").write_text("one")
    before = table.digest(row())
    (tmp_path / "Makefile").write_text("two")
    assert table.digest(row()) != before


@pytest.mark.parametrize("rows,status", [([row()], 0), ([row(False)], 1), ([row(), row(blocked="no such tool")], 3)])
def test_the_exit_status_follows_the_rows(tmp_path, monkeypatch, capsys, rows, status):
    monkeypatch.setattr(table, "CACHE", tmp_path)
    monkeypatch.setattr(table.report, "FAULTS", tmp_path / "faults.json")
    monkeypatch.setattr(table, "rows", lambda everything: rows)
    assert table.main([]) == status
    assert ("BLOCKED: no such tool" in capsys.readouterr().out) == (status == table.BLOCKED)


def test_a_row_that_cannot_be_run_to_its_end_fails_and_the_next_one_runs(tmp_path, monkeypatch, capsys):
    def broken(known, tell):
        raise MatrixError("the machine does not come up", "look at its console")

    monkeypatch.setattr(table, "CACHE", tmp_path)
    monkeypatch.setattr(table.report, "FAULTS", tmp_path / "faults.json")
    monkeypatch.setattr(table, "rows", lambda everything: [row()._replace(program="first", run=broken), row()])
    assert table.main([]) == 1
    said = capsys.readouterr().out
    assert "FAILED: the machine does not come up" in said and "a program" in said
