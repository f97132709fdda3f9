"""The table and the page are true to the JUnit file, and nothing that did not run is ever green."""

import html
import json
import os
import re
import shutil
import subprocess
from xml.etree import ElementTree

import pytest

from tests.matrix import images, report
from tests.matrix.scenarios import SCENARIOS as ALL_SCENARIOS

CELLS = list(images.cells())[:2]
SCENARIOS = ["fresh", "remove"]
CASE = """<testcase classname="t" name="{name}" time="1.5"><properties><property name="cell" value="{cell}"/>
<property name="scenario" value="{scenario}"/></properties>{inside}</testcase>"""


def matrix(tmp_path, *cases, blocked=None, unbuilt=None, plan=None, not_applicable=None, whole=False):
    """The matrix of these <testcase>s; the plan is what they say, unless given as {(cell, scenario): [test]}."""
    junit = tmp_path / "junit.xml"
    junit.write_text("<testsuites><testsuite>%s</testsuite></testsuites>" % "".join(text for text, _, _ in cases))
    planned = {}
    for square, tests in (plan or {}).items():
        planned.setdefault(square[0], {}).setdefault(square[1], []).extend(tests)
    if plan is None:
        for _, square, name in cases:
            planned.setdefault(square[0], {}).setdefault(square[1], []).append("t::" + name)
    (tmp_path / "plan.json").write_text(json.dumps({"tests": planned, "not applicable": not_applicable or {}}))
    return report.Matrix.read(CELLS, SCENARIOS, blocked or {}, unbuilt or {}, junit, tmp_path / "plan.json",
                              whole=whole)  # fmt: skip


def case(cell, scenario, name="one", inside=""):
    text = CASE.format(name=name, cell=cell, scenario=scenario, inside=inside)
    return text, (cell, scenario), name


def everywhere():
    return [case(cell, scenario) for cell in CELLS for scenario in SCENARIOS]


def verdicts(found):
    return [[found.squares[cell, scenario].verdict for scenario in SCENARIOS] for cell in CELLS]


def test_one_failure_makes_its_square_red_and_no_other(tmp_path):
    found = matrix(tmp_path, *everywhere(),
                   case(CELLS[1], "remove", "two", '<failure message="a leftover">/opt/x</failure>'))  # fmt: skip
    assert verdicts(found) == [["PASS", "PASS"], ["PASS", "FAIL"]]
    assert found.exit_status() == 1
    assert found.squares[CELLS[1], "remove"].tests == 2
    page = found.page(3)
    assert page.count('<td class="PASS" title') == 3
    assert page.count('<td class="FAIL" title') == 1
    assert "a leftover" in page
    assert f"FAIL {CELLS[1]} remove: t::two" in found.table(colours=False)


def test_the_file_with_the_console_of_a_failed_test_is_named(tmp_path):
    text, square, name = case(CELLS[0], "fresh", inside='<failure message="no boot"/>')
    text = text.replace("</properties>", '<property name="console" value="/x/console-a.log"/></properties>')
    found = matrix(tmp_path, (text, square, name), *everywhere()[1:])
    assert "console: /x/console-a.log" in found.page(1)
    assert "console: /x/console-a.log" in found.table(colours=False)


def test_what_is_blocked_is_named_and_never_green(tmp_path):
    found = matrix(tmp_path, *everywhere()[:2], blocked={CELLS[1]: "no image <x> on this host"})
    assert verdicts(found) == [["PASS", "PASS"], ["BLOCKED", "BLOCKED"]]
    assert found.exit_status() == 0
    assert "2 passed, 0 failed, 2 blocked" in found.table(colours=False)
    assert "no image &lt;x&gt; on this host" in found.page(1)
    assert found.page(1).count('<td class="PASS" title') == 2


def test_a_cell_without_image_is_red_and_says_why_once(tmp_path):
    why = "mmdebstrap failed: no package x\nthe whole output is in /x.log; it ends:\n" + "    | said\n" * 15
    found = matrix(tmp_path, *everywhere()[:2], unbuilt={CELLS[1]: why})
    assert verdicts(found) == [["PASS", "PASS"], ["FAIL", "FAIL"]]
    assert found.page(1).count("<b>%s (every scenario)</b> mmdebstrap failed: no package x" % CELLS[1]) == 1
    table = found.table(colours=False)
    assert table.count("FAIL %s (every scenario): mmdebstrap failed: no package x\n" % CELLS[1]) == 1
    assert table.count("| said\n") == 8


def test_a_square_without_a_test_is_red_unless_a_mark_says_why(tmp_path):
    found = matrix(tmp_path, *everywhere()[:3])
    assert verdicts(found) == [["PASS", "PASS"], ["PASS", "FAIL"]]
    assert found.exit_status() == 1
    found = matrix(tmp_path, *everywhere()[:3], not_applicable={CELLS[1]: {"remove": {"has no <purge>": ["one"]}}})
    assert verdicts(found) == [["PASS", "PASS"], ["PASS", "N/A"]]
    assert found.exit_status() == 0
    assert "3 passed, 0 failed, 0 blocked, 1 not applicable" in found.table(colours=False)
    assert f"has no &lt;purge&gt;</b>: remove on {CELLS[1]}" in found.page(1)


def test_a_green_square_shows_what_of_it_means_nothing_there(tmp_path):
    left_out = {"has no <purge>": ["two[a]", "two[b]", "three"]}
    found = matrix(tmp_path, *everywhere(), not_applicable={CELLS[1]: {"remove": left_out}})
    assert verdicts(found) == [["PASS", "PASS"], ["PASS", "PASS"]]
    page = found.page(1)
    assert "PASS, 1 test in 1.5 s; 3 not applicable (has no &lt;purge&gt;)" in page
    assert f"<li>remove on {CELLS[1]}: two (2 times), three</li>" in page
    assert page.count("not applicable (") == 1


def test_a_scenario_that_passes_nowhere_fails_a_run_of_the_whole_matrix(tmp_path):
    def nowhere(whole):
        return matrix(tmp_path, case(CELLS[0], "fresh"), blocked={CELLS[1]: "no image"}, whole=whole,
                      not_applicable={CELLS[0]: {"remove": {"for apt only": ["one"]}}})  # fmt: skip

    assert nowhere(whole=False).exit_status() == 0
    found = nowhere(whole=True)
    assert found.exit_status() == 1
    assert "FAIL outside of the matrix: scenario remove" in found.table(colours=False)
    found.complete(tmp_path / "junit.xml")
    assert "has passed on no system" in (tmp_path / "junit.xml").read_text()


def test_a_planned_test_without_result_is_red(tmp_path):
    plan = {(cell, scenario): ["t::one"] for cell in CELLS for scenario in SCENARIOS}
    plan[CELLS[0], "fresh"] = ["t::one", "t::of a worker that died"]
    found = matrix(tmp_path, *everywhere(), plan=plan)
    assert verdicts(found) == [["FAIL", "PASS"], ["PASS", "PASS"]]
    assert "of a worker that died" in found.table(colours=False)


def test_a_skipped_test_is_red(tmp_path):
    skipped = case(CELLS[0], "fresh", "two", '<skipped message="no tool"/>')
    assert verdicts(matrix(tmp_path, *everywhere(), skipped)) == [["FAIL", "PASS"], ["PASS", "PASS"]]


def test_an_error_outside_of_the_matrix_fails_the_run(tmp_path):
    stray = '<testcase classname="t" name="x"><error>collection</error></testcase>'
    found = matrix(tmp_path, *everywhere(), (stray, ("", ""), "x"), plan=None)
    assert found.exit_status() == 1
    assert found.stray


def test_a_run_of_nothing_or_of_blocked_cells_alone_fails(tmp_path):
    assert matrix(tmp_path).exit_status() == 1
    assert matrix(tmp_path, blocked=dict.fromkeys(CELLS, "no image")).exit_status() == 1
    assert report.Matrix.read(CELLS, SCENARIOS, {}, {}, tmp_path / "none.xml", tmp_path / "none.json").exit_status()


def test_colours_are_there_only_if_asked_for(tmp_path):
    found = matrix(tmp_path, case(CELLS[0], "fresh"))
    assert "\033" not in found.table(colours=False)
    assert "\033[32m" in found.table(colours=True)


def test_who_reads_the_junit_file_alone_is_told_what_did_not_run(tmp_path):
    found = matrix(tmp_path, case(CELLS[0], "fresh"), unbuilt={CELLS[1]: "no mirror"},
                   plan={(CELLS[0], "fresh"): ["t::one", "t::lost"]},
                   not_applicable={CELLS[0]: {"remove": {"for apt only": ["one"]}}})  # fmt: skip
    junit = tmp_path / "junit.xml"
    before = junit.read_text()
    found.complete(junit)
    suite = ElementTree.parse(junit).getroot().find("testsuite")
    added = {(one.get("name"), one[0].tag): one[0].get("message") for one in suite if one.get("classname") != "t"}
    assert added == {
        (f"fresh[{CELLS[0]}]", "failure"): "t::lost: was to run and has no result",
        (f"remove[{CELLS[0]}]", "skipped"): "N/A: for apt only",
        (f"fresh[{CELLS[1]}]", "failure"): "no mirror",
        (f"remove[{CELLS[1]}]", "failure"): "no mirror",
    }
    assert {name: suite.get(name) for name in ("failures", "skipped")} == {"failures": "3", "skipped": "1"}
    # What was read from the file before is read from it again.
    again = report.Matrix.read(CELLS, SCENARIOS, {}, {CELLS[1]: "no mirror"}, junit, tmp_path / "plan.json")
    assert verdicts(again) == verdicts(found)
    assert again.stray == {}
    assert before.count("<testcase") == 1


def test_the_page_says_what_was_tested_when_and_where(tmp_path):
    page = matrix(tmp_path, *everywhere()).page(1)
    told = report.about()
    assert list(told) == ["version", "commit", "date", "machine"]
    for name, value in told.items():
        assert value and f"<dt>{name}</dt><dd>{html.escape(value)[:12]}" in page


def test_what_failed_shows_the_end_of_what_it_said_and_all_of_it_folded(tmp_path):
    said = "\n".join(f"line {number}" for number in range(100))
    found = matrix(tmp_path, *everywhere(), case(CELLS[1], "remove", "two", f"<failure>{said}</failure>"))
    page = found.page(1)
    assert page.count("line 99") == 2 and page.count("line 50") == 1
    assert page.index("line 99") < page.index("all that it said") < page.index("line 50")
    table = found.table(colours=False)
    assert "    | line 99" in table and "line 50" not in table
    short = matrix(tmp_path, *everywhere(), case(CELLS[1], "remove", "two", "<failure>short</failure>"))
    assert "all that it said" not in short.page(1)


def test_blocked_systems_are_folded_and_totalled_by_what_they_are(tmp_path):
    found = matrix(tmp_path, *everywhere()[:2], blocked={CELLS[1]: "no image"})
    page = found.page(1)
    rows = page[page.index('<table class="matrix">') :]
    table, _, rest = rows.partition("</table>")
    assert CELLS[0] in table and CELLS[1] not in table
    assert "<details><summary>1 system blocked on this machine</summary>" in rest
    assert f"<li><b>no image</b>: {CELLS[1]}</li>" in rest
    assert f"BLOCKED: no image: {CELLS[1]}" in found.table(colours=False)
    assert [images.cell(cell).provenance for cell in CELLS] == ["Debian root"] * 2
    assert found.provenances() == {"Debian root": {"systems": 2, "PASS": 2, "BLOCKED": 2}}
    assert ('<tr><th scope=row>Debian root</th><td>2</td><td class="PASS">2</td><td class="FAIL"></td>'
            '<td class="BLOCKED">2</td><td class="NA"></td></tr>') in page  # fmt: skip


def test_what_is_emulated_of_a_machine_is_said(monkeypatch):
    booted = next(one for one in images.cells().values() if (one.kind, one.architecture) == ("machine", "s390x"))
    monkeypatch.setattr(images.qemu, "lacking", lambda machine: "")
    monkeypatch.setattr(images.qemu, "accelerator", lambda machine: ["-accel", "tcg"])
    assert booted.ground == "booted machine, emulated s390x"
    monkeypatch.setattr(images.qemu, "accelerator", lambda machine: ["-accel", "kvm"])
    assert booted.ground == "booted machine"
    assert images.cell(CELLS[0]).ground == "Debian root"


def test_words_of_ours_do_not_reach_readers(tmp_path):
    left_out = {"has no <purge>": ["two"]}
    found = matrix(tmp_path, *everywhere()[1:], blocked={CELLS[1]: "no image"},
                   not_applicable={CELLS[0]: {"remove": left_out}})  # fmt: skip
    told = re.sub("<style>.*</style>|<script>.*</script>", "", found.page(1), flags=re.DOTALL) + found.table(False)
    assert not re.search("square|1 (tests|systems|scenarios)|converge", told, re.IGNORECASE)


def test_how_long_the_run_took_is_in_units_for_people(tmp_path):
    found = matrix(tmp_path, *everywhere())
    assert ", in 90 s<" in found.page(90.4) and ", in 31 min<" in found.page(1843)


def test_on_a_narrow_screen_each_result_has_the_name_of_its_scenario(tmp_path):
    """There the table turns, and no column is left to have it."""
    page = matrix(tmp_path, *everywhere()).page(1)
    for scenario in SCENARIOS:
        assert page.count(f'<span class="label">{scenario}</span>') == len(CELLS)
    assert "overflow-x: scroll" not in page and "min-width: 1" not in page


# Shows the page in a frame of a width, since a window of chromium is never narrower than 500 px.
FRAME = """<title></title><iframe width="{width}" height="900" style="border: 0" src="page.html"
onload="document.title = [this.contentDocument.documentElement.scrollWidth, this.contentWindow.innerWidth]"></iframe>"""


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_the_whole_matrix_does_not_scroll_sideways(tmp_path, width):
    """On a laptop and on a telephone, with failures, and with everything unfolded."""
    chromium = shutil.which("chromium")
    if chromium is None:
        assert os.environ.get("CI") != "true", "chromium is not installed"
        pytest.skip("chromium is not installed")
    cells, squares = list(images.cells()), {}
    for number, cell in enumerate(cells):
        for scenario in ALL_SCENARIOS:
            said = {"t::" + "long_name_" * 9: f"{'x' * 300}\n" * 30} if scenario == "remove" else {}
            verdict = report.BLOCKED if number % 3 == 2 else report.FAIL if said else report.PASS
            why = f"no image {'x' * 90} on this host" if verdict == report.BLOCKED else ""
            squares[cell, scenario] = report.Square(verdict, 12.3, 2, why, {} if why else said, {"y" * 99: ["t::one"]})
    page = report.Matrix(cells, list(ALL_SCENARIOS), squares, {}).page(1843)
    (tmp_path / "page.html").write_text(page.replace("<details>", "<details open>"))
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
               f"--user-data-dir={tmp_path}/profile", "--window-size=1400,900", "--virtual-time-budget=5000",
               "--dump-dom", f"file://{tmp_path}/frame.html"]  # fmt: skip
    shown = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True).stdout
    (needed, there) = re.findall(r"<title>(\d+),(\d+)</title>", shown)[0]
    assert int(there) == width
    assert int(needed) <= width
