"""tools/picture.py: text of a terminal as an SVG."""

import configparser
import re
import xml.etree.ElementTree

from tests import pages
from tests.matrix import images, report
from tests.matrix.scenarios import SCENARIOS
from tools import picture


def test_each_colour_keeps_its_column() -> None:
    assert picture.runs("ab\x1b[32mcd\x1b[0m e") == [(0, picture.PLAIN, "ab"), (2, "#3fb950", "cd"),
                                                    (4, picture.PLAIN, " e")]  # fmt: skip


def test_a_picture_is_xml_with_every_line_and_no_entity_of_the_text() -> None:
    root = xml.etree.ElementTree.fromstring(picture.svg("a <b>", ["x & <y>", "", "  two  blanks"]))
    shown = [(one.text or "").replace(picture.KEPT, " ") for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert shown == ["a <b>", "x & <y>", "  two  blanks"]


def test_the_table_of_the_matrix_is_cut_out():
    bar = "\N{BOX DRAWINGS LIGHT VERTICAL}"
    said = f"building\nfresh\n{bar} remove\ncell  . .\n\n1 passed, 0 failed, 0 blocked, 1 not\nmore\n"
    assert picture.table_in(said) == said.splitlines()[1:-1]


# -- the pictures of README.md, as far as it can be seen without a run that they are up to date ------------------------


def shown_by(name):
    """The lines of a picture, below its title."""
    root = xml.etree.ElementTree.parse(picture.PICTURES / f"{name}.svg").getroot()
    lines: dict[float, str] = {}
    for one in root.iter("{http://www.w3.org/2000/svg}text"):
        column = round((float(one.attrib["x"]) - picture.MARGIN) / picture.ADVANCE)
        y = float(one.attrib["y"])
        lines[y] = lines.get(y, "").ljust(column) + (one.text or "").replace(picture.KEPT, " ")
    return [text for y, text in sorted(lines.items()) if y > picture.BAR]


def test_the_picture_of_the_status_is_what_the_page_shows_that_a_test_types():
    command, *printed = shown_by("status")
    (step,) = [one for one in pages.steps("first-install") if one.command == "catcherctl status"]
    assert command == f"# {step.command}"
    assert step.prints("\n".join(printed))
    setup = configparser.ConfigParser()
    setup.read(picture.TREE / "setup.cfg")
    assert f"CCA TKE catcher {setup['metadata']['version']} " in printed[0]


def test_the_picture_of_the_matrix_is_of_systems_and_scenarios_that_there_are():
    shown = shown_by("matrix")
    typed = "".join(shown[:2])
    cells, scenarios = (re.findall(rf"{name}='(.+?)'", typed)[0].split() for name in ("CELL", "SCENARIO"))
    assert set(cells) <= set(images.cells()) and tuple(scenarios) == picture.SCENARIOS
    assert set(scenarios) <= set(SCENARIOS)
    # Each system has a line in the table, or is named as BLOCKED with the reason.
    rows = {line.split()[0]: line.split()[1:] for line in shown if line.split()[:1] and line.split()[0] in cells}
    blocked = [cell for line in shown if line.startswith("BLOCKED: ") for cell in line.rpartition(": ")[2].split(", ")]
    assert [*rows, *blocked] == cells and rows and blocked
    counted = {verdict: sum(row.count(symbol) for row in rows.values()) for verdict, symbol in report.SYMBOLS.items()}
    counted["BLOCKED"] += len(blocked) * len(scenarios)
    assert [int(number) for number in re.findall(r"\d+", shown[-1])] == [counted[verdict] for verdict in report.SYMBOLS]
    assert all(len(row) == len(scenarios) for row in rows.values())
    assert shown[-2].split() == [word for verdict, symbol in report.SYMBOLS.items() for word in (symbol, verdict)]


def test_the_readme_shows_both_pictures():
    readme = (picture.TREE / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"!\[.+?\]\(docs/pictures/(.+)\.svg\)", readme) == ["status", "matrix"]
