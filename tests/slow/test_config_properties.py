"""catcher.conf: properties that hold for any bytes."""

import pytest

from catcher_install import config

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import strategies as st  # noqa: E402

WORDS = [
    b"TLS_ON", b"TLS_OFF", b"TLS_REQUIRED", b"#", b"# TLS_ON", b"\n", b"\r\n", b"\r", b" ", b"\t", b"\x0b", b"\x0c",
    b"\xef\xbb\xbf", b"\xff", b"x", b"\x1c", b"\x85",
]
ANYTHING = st.one_of(st.binary(max_size=80), st.lists(st.sampled_from(WORDS), max_size=12).map(b"".join))
MODES = st.sampled_from([config.TLS, config.TCP])
QUICK = hypothesis.settings(database=None, deadline=None, max_examples=150)

BLANKS = st.sampled_from([b"", b" ", b"\t ", b"\x0b", b"\x0c"])
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
COMMENTS = st.one_of(st.just(b""), st.binary(max_size=20).map(
    lambda text: b"#" + text.replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")))


@st.composite
def usable(draw, words):
    """A file that can be used: lines of blanks, at most one of *words* or TLS_REQUIRED, blanks, a comment, any end."""
    word = draw(words)
    data = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    for _ in range(draw(st.integers(0, 6))):
        data += draw(BLANKS) + draw(st.sampled_from([b"", word])) + draw(BLANKS) + draw(COMMENTS) + draw(ENDS)
    last = draw(BLANKS) + draw(st.sampled_from([b"", word])) + draw(BLANKS) + draw(COMMENTS)
    return data + last


FILES = usable(st.sampled_from([b"", config.TLS_ON, config.TLS_OFF]))


@QUICK
@hypothesis.given(ANYTHING)
def test_reading_never_fails_and_says_one_thing(data):
    read = config.parse(data)
    assert read.data == data
    assert read.state in (config.UNSET, config.TLS, config.TCP, config.UNUSABLE)
    assert bool(read.problem) == (read.state == config.UNUSABLE)
    assert read.problem.isprintable()


@QUICK
@hypothesis.given(FILES, MODES)
def test_an_edit_sets_the_mode(data, mode):
    assert config.parse(config.with_mode(data, mode)).state == mode


@QUICK
@hypothesis.given(usable(st.sampled_from([config.TLS_ON, config.TLS_REQUIRED])))
def test_an_edit_to_tls_keeps_that_it_is_required(data):
    edited = config.parse(config.with_mode(data, config.TLS))
    assert edited.state == config.TLS
    assert edited.required == config.parse(data).required


@QUICK
@hypothesis.given(FILES, MODES)
def test_an_edit_changes_nothing_but_directives(data, mode):
    read = config.parse(data)
    edited = config.with_mode(data, mode)
    if read.state == mode:
        assert edited == data
    elif read.state == config.UNSET:
        assert edited.startswith(data)
        assert edited[len(data):].strip() == config.directive(mode)
    else:
        # Each line is the same, except the line of the old directive.
        old, new = config.directive(read.state), config.directive(mode)
        before, after = data.splitlines(True), edited.splitlines(True)
        assert len(before) == len(after)
        for one, other in zip(before, after):
            code, mark, comment = one.partition(b"#")
            assert other == code.replace(old, new) + mark + comment


@QUICK
@hypothesis.given(FILES, MODES)
def test_a_second_edit_changes_nothing(data, mode):
    edited = config.with_mode(data, mode)
    assert config.with_mode(edited, mode) == edited


@QUICK
@hypothesis.given(FILES)
def test_there_and_back_is_the_same_file(data):
    read = config.parse(data)
    if read.state == config.UNSET:
        return
    other = config.TCP if read.state == config.TLS else config.TLS
    assert config.with_mode(config.with_mode(data, other), read.state) == data
