"""tools/picture.py: text of a terminal as an SVG."""

import io
import sys
import xml.etree.ElementTree

import pytest

from tools import picture


def test_each_colour_keeps_its_column() -> None:
    assert picture.runs("ab\x1b[32mcd\x1b[0m e") == [(0, picture.PLAIN, "ab"), (2, "#3fb950", "cd"),
                                                    (4, picture.PLAIN, " e")]  # fmt: skip


def test_a_picture_is_xml_with_every_line_and_no_entity_of_the_text() -> None:
    root = xml.etree.ElementTree.fromstring(picture.svg("a <b>", ["x & <y>", "", "  two  blanks"]))
    shown = [(one.text or "").replace(picture.KEPT, " ") for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert shown == ["a <b>", "x & <y>", "  two  blanks"]


def test_the_table_of_the_matrix_is_cut_out(monkeypatch: pytest.MonkeyPatch) -> None:
    bar = "\N{BOX DRAWINGS LIGHT VERTICAL}"
    said = f"building\nfresh\n{bar} remove\ncell  . .\n\n1 passed, 0 failed, 0 blocked, 1 not\nmore\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(said))
    assert picture.matrix()[1] == said.splitlines()[1:-1]


def test_the_pictures_of_the_readme_are_there() -> None:
    assert (picture.PICTURES / "status.svg").read_text(encoding="utf-8").startswith("<svg ")
