"""The table and the page are true to the JUnit file, and nothing that did not run is ever green."""

from tests.matrix import images, report

CELLS = list(images.cells())[:2]
SCENARIOS = ["fresh", "remove"]
CASE = """<testcase classname="t" name="{name}" time="1.5"><properties><property name="cell" value="{cell}"/>
<property name="scenario" value="{scenario}"/></properties>{inside}</testcase>"""


def matrix(tmp_path, *cases, blocked=None):
    junit = tmp_path / "junit.xml"
    junit.write_text("<testsuites><testsuite>%s</testsuite></testsuites>" % "".join(cases))
    return report.Matrix.read(CELLS, SCENARIOS, blocked or {}, junit)


def case(cell, scenario, name="one", inside=""):
    return CASE.format(name=name, cell=cell, scenario=scenario, inside=inside)


def verdicts(found):
    return [[found.square(cell, scenario).verdict for scenario in SCENARIOS] for cell in CELLS]


def test_one_failure_makes_its_square_red_and_no_other(tmp_path):
    found = matrix(tmp_path, *(case(cell, scenario) for cell in CELLS for scenario in SCENARIOS),
                   case(CELLS[1], "remove", "two", '<failure message="a leftover">/opt/x</failure>'))  # fmt: skip
    assert verdicts(found) == [["PASS", "PASS"], ["PASS", "FAIL"]]
    assert found.exit_status() == 1
    assert found.square(CELLS[1], "remove").tests == 2
    page = found.page(3)
    assert page.count('<td class="PASS"') == 3
    assert page.count('<td class="FAIL"') == 1
    assert "a leftover" in page
    assert f"FAIL {CELLS[1]} remove: t::two" in found.table(colours=False)


def test_what_is_blocked_is_named_and_never_green(tmp_path):
    found = matrix(tmp_path, case(CELLS[0], "fresh"), blocked={CELLS[1]: "no image <x> on this host"})
    assert verdicts(found) == [["PASS", ""], ["BLOCKED", "BLOCKED"]]
    assert found.exit_status() == 0
    assert "1 passed, 0 failed, 2 blocked" in found.table(colours=False)
    assert "no image &lt;x&gt; on this host" in found.page(1)
    assert found.page(1).count('<td class="PASS"') == 1


def test_a_skipped_test_is_red(tmp_path):
    found = matrix(tmp_path, case(CELLS[0], "fresh", inside='<skipped message="no tool"/>'))
    assert verdicts(found)[0] == ["FAIL", ""]


def test_an_error_outside_of_the_matrix_fails_the_run(tmp_path):
    found = matrix(tmp_path, case(CELLS[0], "fresh"),
                   '<testcase classname="t" name="x"><error>collection</error></testcase>')  # fmt: skip
    assert found.exit_status() == 1


def test_a_run_of_nothing_or_of_blocked_cells_alone_fails(tmp_path):
    assert matrix(tmp_path).exit_status() == 1
    assert matrix(tmp_path, blocked=dict.fromkeys(CELLS, "no image")).exit_status() == 1
    assert report.Matrix.read(CELLS, SCENARIOS, {}, tmp_path / "none.xml").exit_status() == 1


def test_colours_only_where_asked_for(tmp_path):
    found = matrix(tmp_path, case(CELLS[0], "fresh"))
    assert "\033" not in found.table(colours=False)
    assert "\033[32m" in found.table(colours=True)
