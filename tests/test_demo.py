"""What `make demo` shows if it cannot show everything. If it can, the demo itself is the test."""

import pytest

from tests.matrix import engine, images
from tools import demo


@pytest.fixture
def fetched(monkeypatch):
    """A host without mmdebstrap, whose engine fetches what is in this set; nothing is there yet."""
    there = set()
    monkeypatch.setattr(images, "blocked", lambda cell: images.NO_MMDEBSTRAP if cell.recipe else "")
    monkeypatch.setattr(engine, "image_exists", lambda reference: False)
    monkeypatch.setattr(images, "pull", lambda cell: "" if cell.oci in there else "no route to host")
    return there


def test_where_no_root_can_be_made_vendors_images_of_each_family_are_taken(fetched):
    fetched.update(cell.oci for cell in images.cells().values())
    story = demo.Story()
    found = demo.systems(story)
    assert {cell.family for cell in found} == {"deb", "rpm"}
    assert all(cell.oci and cell.mode == "TLS" for cell in found)
    assert story.reasons == []


def test_where_none_can_be_had_it_is_blocked_by_name_and_no_success(fetched, monkeypatch, capsys):
    monkeypatch.setattr(engine, "prepare", lambda: None)
    monkeypatch.setattr(demo.subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(demo.cca73, "build", lambda _: None)
    assert demo.main() == 1
    said = capsys.readouterr().out
    for cell in images.with_role("ready-made"):
        assert f"BLOCKED on this host: {cell.name}: no route to host" in said
