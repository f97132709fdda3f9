"""The command line of `make matrix`, as far as it needs no container."""

import json
import re
import subprocess
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


@pytest.fixture
def passing(junit, monkeypatch):
    """Runs in which CELL passes, vendors' images are not here, and a mirror has nothing for an emulated cell."""

    def run_tests(cells, *_):
        assert cells == [CELL]
        junit.write_text(PASSED)
        report.PLAN.write_text(json.dumps({"tests": {CELL: {"fresh": ["t::old"]}}, "not applicable": {}}))

    def ensure(cell):
        if cell.architecture == "s390x":
            raise images.Blocked(f"{cell.name}: Failed to fetch it")
        return ""

    monkeypatch.setattr(run, "run_tests", run_tests)
    monkeypatch.setattr(images, "blocked", lambda cell: "" if cell.recipe else "no image")
    monkeypatch.setattr(images, "ensure", ensure)


def first(wanted):
    """The name of the first declared cell that is wanted."""
    return next(cell.name for cell in images.cells().values() if wanted(cell))


def test_a_vendors_image_that_is_not_here_does_not_fail_the_run(passing, capsys):
    assert run.main([*SQUARE, "--cell", first(lambda cell: not cell.recipe)]) == 0
    said = capsys.readouterr().out
    assert "BLOCKED: no image" in said
    for name, value in report.about().items():
        assert f"{name}: {value[:12]}" in said


@pytest.mark.parametrize("why", ["manifest unknown", "podman pull did not end"])
def test_one_that_was_to_be_pulled_does_and_there_is_a_report(passing, capsys, monkeypatch, why):
    def pull(*arguments, timeout):
        if "not end" in why:
            raise engine.EngineError(why)
        return subprocess.CompletedProcess(arguments, 125, "", why + "\n")

    monkeypatch.setattr(engine, "attempt", pull)
    name = first(lambda cell: not cell.recipe)
    assert run.main([*SQUARE, "--cell", name, "--pull"]) == 1
    said = capsys.readouterr()
    assert f"BLOCKED: {why}" in said.out
    assert f"error: {name} is BLOCKED, because it could not be fetched: {why}" in said.err
    assert why in report.PAGE.read_text()


def test_a_mirror_that_does_not_deliver_fails_the_run_of_an_emulated_cell_too(passing, capsys):
    assert run.main([*SQUARE, "--cell", first(lambda cell: cell.architecture == "s390x")]) == 1
    assert capsys.readouterr().err.endswith("because it could not be fetched: Failed to fetch it\n")


@pytest.mark.parametrize("option, command", [("--cell", "make systems"), ("--scenario", "make scenarios")])
def test_a_name_that_does_not_exist_is_answered_in_the_words_of_make(monkeypatch, capsys, option, command):
    monkeypatch.setattr(engine, "prepare", lambda: pytest.fail("something ran"))
    assert run.main([option, "none"]) == 2
    problem, hint = capsys.readouterr().err.splitlines()
    assert "none" in problem and command in hint


def test_the_usage_names_what_make_takes(capsys):
    with pytest.raises(SystemExit, match="0"):
        run.main(["--help"])
    said = capsys.readouterr().out
    makefile = (report.TREE / "Makefile").read_text()
    target = makefile[makefile.index("#: make matrix ") :].partition("\n#: make systems")[0]
    words = set(re.findall(r"\$\((?:foreach \w+,\$\(|if \$\()([A-Z_]+)\)", target))
    assert words == set(re.findall(r"(?m)^  ([A-Z_]+)=", said)) != set()
    assert "--cell" not in said


def test_a_shell_has_the_packages_and_says_where(monkeypatch, capsys, tmp_path):
    copied = []

    class Machine:
        container = "c"

        def __init__(self, reference, **_):
            assert reference == "image"

        __enter__ = lambda self: self  # noqa: E731
        __exit__ = lambda self, *_: None  # noqa: E731
        copy_in = lambda self, source, target: copied.append((source, target))  # noqa: E731

    class Built:
        new = staticmethod(lambda family: tmp_path / f"new.{family}")
        old = staticmethod(lambda cell: tmp_path / f"old.{cell.family}")

    monkeypatch.setattr(run, "Machine", Machine)
    monkeypatch.setattr(run.packages, "ensure", Built)
    monkeypatch.setattr(images, "ensure", lambda cell: "image")
    monkeypatch.setattr(engine, "current", lambda: engine.Engine("true", (), ()))
    assert run.shell(CELL) == 0
    family = images.cell(CELL).family
    assert copied == [(tmp_path / f"{name}.{family}", "/root/") for name in ("new", "old")]
    said = capsys.readouterr().out
    assert CELL in said and f"/root/new.{family}" in said and "thrown away" in said


def test_a_machine_in_qemu_has_no_shell(junit, capsys):
    with pytest.raises(SystemExit) as ended:
        run.main(["--shell", first(lambda cell: cell.kind == "machine")])
    assert ended.value.code == 1
    assert "has no shell for a person\nhint: " in capsys.readouterr().err
