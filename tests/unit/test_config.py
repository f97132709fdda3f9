"""catcher.conf: what its bytes mean, and an edit that changes nothing but the directive."""

import pytest

from catcher_install import config
from catcher_install.config import ABSENT, TCP, TLS, UNSET, UNUSABLE

BOM = b"\xef\xbb\xbf"

READ = {
    "on": (b"TLS_ON\n", TLS),
    "off": (b"TLS_OFF\n", TCP),
    "no final newline": (b"TLS_ON", TLS),
    "CRLF": (b"TLS_OFF\r\n", TCP),
    "CR only": (b"# a\rTLS_OFF\r", TCP),
    "byte order mark": (BOM + b"TLS_ON\n", TLS),
    "byte order mark, then a comment": (BOM + b"# x\nTLS_ON\n", TLS),
    "blanks around it": (b" \t TLS_ON \t \n", TLS),
    "form feed before it": (b"\x0cTLS_ON\n", TLS),
    "comment behind it": (b"TLS_OFF # until March\n", TCP),
    "comment stuck to it": (b"TLS_OFF#until March\n", TCP),
    "comments around it": (b"# a\n\nTLS_ON\n# b\n", TLS),
    "twice": (b"TLS_ON\nTLS_ON\n", TLS),
    "off twice": (b"TLS_OFF\n\n# x\n  TLS_OFF", TCP),
    "empty": (b"", UNSET),
    "byte order mark only": (BOM, UNSET),
    "blank lines": (b"\n \r\n\t\n", UNSET),
    "commented out": (b"#TLS_ON\n", UNSET),
    "required only": (b"TLS_REQUIRED\n", TLS),
    "required": (b"TLS_ON\nTLS_REQUIRED\n", TLS),
    "a comment of any bytes": (b"# \xff\xfe caf\xc3\xa9\nTLS_ON\n", TLS),
    "as large as it may be": (b"#" * (config.SIZE_LIMIT - 7) + b"\nTLS_ON", TLS),
}


@pytest.mark.parametrize("name", sorted(READ))
def test_what_is_read(name):
    data, state = READ[name]
    read = config.parse(data)
    assert (read.state, read.problem, read.data) == (state, "", data)
    assert read.required == (b"TLS_REQUIRED" in data)


UNREADABLE = {
    "both tokens": (b"TLS_ON\nTLS_OFF\n", "it says both TLS_ON and TLS_OFF"),
    "both tokens, far apart": (b"TLS_OFF\n" + b"# x\n" * 1000 + b"TLS_ON", "it says both TLS_ON and TLS_OFF"),
    "required, and off": (b"TLS_REQUIRED\nTLS_OFF\n", "it says both TLS_OFF and TLS_REQUIRED"),
    "unknown token": (b"# x\nTLS_MAYBE\n", "line 2 is not a directive: TLS_MAYBE"),
    "unknown token beside a good one": (b"TLS_ON\nPORT=50003\n", "line 2 is not a directive: PORT=50003"),
    "two on one line": (b"TLS_ON TLS_OFF\n", "line 1 is not a directive: TLS_ON TLS_OFF"),
    "lower case": (b"tls_on\n", "line 1 is not a directive: tls_on"),
    "a value": (b"TLS_ON=1\n", "line 1 is not a directive: TLS_ON=1"),
    "byte order mark in the middle": (b"# x\n" + BOM + b"TLS_ON\n", "line 2 is not a directive: \\xef\\xbb\\xbfTLS_ON"),
    "UTF-16": ("TLS_ON\n".encode("utf-16"), "it holds binary data"),
    "binary": (b"\x7fELF\0\0\0TLS_ON\n", "it holds binary data"),
    "binary without NUL": (b"\x1b[31m\x07\xff\n", "line 1 is not a directive: \\x1b[31m\\x07\\xff"),
    "very long token": (b"A" * 50000 + b"\n", "line 1 is not a directive: " + "A" * 40 + "..."),
    "too large": (b"#" * (config.SIZE_LIMIT - 6) + b"\nTLS_ON", "it is larger than 65536 bytes"),
}


@pytest.mark.parametrize("name", sorted(UNREADABLE))
def test_what_cannot_be_used(name):
    data, problem = UNREADABLE[name]
    read = config.parse(data)
    assert (read.state, read.problem, read.data) == (UNUSABLE, problem, data)


def test_a_problem_is_one_line_of_plain_text():
    for data, _ in UNREADABLE.values():
        problem = config.parse(data).problem
        assert len(problem) < 100 and problem.isprintable() and all(ord(c) < 128 for c in problem)


def test_a_missing_file_is_absent_and_an_unreadable_one_unusable():
    assert config.absent().state == ABSENT
    assert config.unreadable("it cannot be read").state == UNUSABLE


EDITS = {
    "on to off": (b"TLS_ON\n", TCP, b"TLS_OFF\n"),
    "off to on": (b"TLS_OFF\n", TLS, b"TLS_ON\n"),
    "the same": (b"# x\nTLS_ON\n", TLS, b"# x\nTLS_ON\n"),
    "CRLF": (b"# x\r\nTLS_ON\r\n# y\r\n", TCP, b"# x\r\nTLS_OFF\r\n# y\r\n"),
    "byte order mark": (BOM + b"TLS_ON", TCP, BOM + b"TLS_OFF"),
    "no final newline": (b"# x\nTLS_OFF", TLS, b"# x\nTLS_ON"),
    "blanks and a comment behind": (b"\t TLS_OFF  # TLS_OFF is 7.x\n", TLS, b"\t TLS_ON  # TLS_OFF is 7.x\n"),
    "twice": (b"TLS_OFF\n# x\nTLS_OFF\n", TLS, b"TLS_ON\n# x\nTLS_ON\n"),
    "required stays": (b"TLS_ON\nTLS_REQUIRED\n", TLS, b"TLS_ON\nTLS_REQUIRED\n"),
    "required only gains the directive": (b"TLS_REQUIRED", TLS, b"TLS_REQUIRED\nTLS_ON\n"),
    "in a comment only": (b"# TLS_ON\n", TCP, b"# TLS_ON\nTLS_OFF\n"),
    "added to nothing": (b"", TLS, b"TLS_ON\n"),
    "added to a byte order mark": (BOM, TLS, BOM + b"TLS_ON\n"),
    "added as a line of its own": (b"# x", TCP, b"# x\nTLS_OFF\n"),
    "added in the file's own line ends": (b"# x\r\n# y", TCP, b"# x\r\n# y\r\nTLS_OFF\r\n"),
    "added behind a bare CR": (b"# x\r", TCP, b"# x\rTLS_OFF\n"),
    "unknown bytes stay": (b"# \xff\xfe\x01\n", TCP, b"# \xff\xfe\x01\nTLS_OFF\n"),
}


@pytest.mark.parametrize("name", sorted(EDITS))
def test_an_edit_changes_only_the_directive(name):
    data, mode, result = EDITS[name]
    assert config.with_mode(data, mode) == result
    assert config.parse(result).state == mode


def test_a_new_file_says_its_mode():
    assert config.fresh(TLS) == b"TLS_ON\n"
    assert config.fresh(TCP) == b"TLS_OFF\n"


def test_the_template_sets_nothing():
    """The packaged template explains the directives, and must not set one."""
    import os

    from .support import TREE

    with open(os.path.join(TREE, "share", "catcher.conf"), "rb") as stream:
        assert config.parse(stream.read()).state == UNSET
