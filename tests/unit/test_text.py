"""Foreign text made harmless: one line of printable ASCII for a terminal, a log or a script."""

import json

import pytest

from catcher_install import text

HOSTILE = {
    "\x1b[2J": "\\x1b[2J",
    "a\nb\r\tc": "a\\nb\\r\\tc",
    "\x7f\x9b31m\x00": "\\x7f\\x9b31m\\x00",
    "h\xf6st": "h\\xf6st",
    "\u202egnp.exe\u2028": "\\u202egnp.exe\\u2028",
    # The result of os.fsdecode() for a file name that is not text.
    "\udcff": "\\udcff",
    "\U0001f511": "\\U0001f511",
    "plain ~": "plain ~",
}


@pytest.mark.parametrize("given", sorted(HOSTILE))
def test_hostile_text_becomes_printable_ascii(given):
    assert text.plain(given) == HOSTILE[given]
    assert all(" " <= c <= "~" for c in text.plain(given))


def test_shown_is_short():
    assert text.shown("x" * 200) == "x" * 200
    assert text.shown("x" * 201) == "x" * 200 + "..."
    assert text.shown("\x1b" * 50, 10) == "\\x1b" * 10 + "..."


def test_bytes_are_shown_one_by_one():
    assert text.shown_bytes(b"a\xc3\xb6\n") == "a\\xc3\\xb6\\n"
    assert text.shown_bytes(b"\xff" * 41, 40) == "\\xff" * 40 + "..."


@pytest.mark.parametrize("seconds,shown", [
    (0, "1970-01-01 00:00 UTC"), (1795468320.9, "2026-11-23 21:12 UTC"), (None, "an unknown time"),
    ("1795468320", "an unknown time"),
])
def test_a_moment_is_shown_in_utc(seconds, shown):
    assert text.moment(seconds) == shown


def test_json_is_ascii_and_comes_back():
    value = {"b": [1, None, True], "a": "h\xf6st\x1b\u2028\n"}
    shown = text.json_text(value)
    assert json.loads(shown) == value
    assert all(" " <= c <= "~" or c == "\n" for c in shown)
    assert shown.index('"a"') < shown.index('"b"')
