"""Read distros.toml on every Python that may run `make demo`: tomllib exists from 3.11 on.

Before 3.11 this module reads the part of TOML that the file uses: tables, and values of one line (a string in double
quotes, true, false, a list, an inline table). A test compares both readers.
"""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from tests.matrix.engine import MatrixError

try:
    import tomllib  # novm
except ModuleNotFoundError:
    tomllib = None  # type: ignore[assignment]

# A string, a key or a word, or one of the signs; a comment ends the line.
TOKEN = re.compile(r'\s*(?:("(?:[^"\\]|\\.)*")|([A-Za-z0-9_-]+)|([][{}=,.])|(#.*)?$)')
WORDS = {"true": True, "false": False}


def load(path: pathlib.Path) -> dict[str, Any]:
    """The tables of the file. Raises MatrixError with the file and the line if it is not TOML."""
    text = path.read_text(encoding="utf-8")
    try:
        return tomllib.loads(text) if tomllib else subset(text)
    except ValueError as error:
        raise MatrixError(f"{path.name} is not valid TOML: {error}", f"edit {path}") from None


def subset(text: str) -> dict[str, Any]:
    """What tomllib.loads() returns, for the part of TOML above. Raises ValueError for anything else."""
    whole: dict[str, Any] = {}
    table = whole
    for number, line in enumerate(text.splitlines(), 1):
        try:
            tokens = list(tokens_of(line))
            if tokens[:1] == ["["]:
                table = whole
                *parents, name = tokens[1:-1:2]
                if tokens[-1] != "]" or set(tokens[2:-1:2]) - {"."}:
                    raise ValueError
                for parent in map(key, parents):
                    table = table.setdefault(parent, {})
                table = new(table, key(name), {})
            elif tokens:
                pair(tokens, table)
                if tokens:
                    raise ValueError
        except (ValueError, IndexError):
            raise ValueError(f"cannot read this line (at line {number})") from None
    return whole


def tokens_of(line: str) -> Iterator[str]:
    """The line in parts, without blanks and comment."""
    place = 0
    while place < len(line):
        found = TOKEN.match(line, place)
        if found is None:
            raise ValueError
        place = found.end()
        if found[1] or found[2] or found[3]:
            yield found[1] or found[2] or found[3]


def pair(tokens: list[str], table: dict[str, Any]) -> None:
    """Move `key = value` from the tokens to the table."""
    name = key(tokens.pop(0))
    expect(tokens, "=")
    new(table, name, value(tokens))


def value(tokens: list[str]) -> Any:
    """Take a value from the tokens."""
    token = tokens.pop(0)
    if token == "[":
        values: list[Any] = []
        items(tokens, "]", lambda: values.append(value(tokens)))
        return values
    if token == "{":
        table: dict[str, Any] = {}
        items(tokens, "}", lambda: pair(tokens, table))
        return table
    return json.loads(token) if token.startswith('"') else WORDS[token] if token in WORDS else int(token)


def items(tokens: list[str], end: str, take: Any) -> None:
    """Take items with commas between them, and the closing sign."""
    while tokens[0] != end:
        take()
        if tokens[0] != end:
            expect(tokens, ",")
    expect(tokens, end)


def expect(tokens: list[str], sign: str) -> None:
    """Take that token, or raise ValueError."""
    if tokens.pop(0) != sign:
        raise ValueError


def key(token: str) -> str:
    """A key, with or without quotes."""
    if token in "[]{}=,.":
        raise ValueError
    return str(json.loads(token)) if token.startswith('"') else token


def new(table: dict[str, Any], name: str, what: Any) -> Any:
    """Put it into the table, where nothing has that name yet."""
    if name in table:
        raise ValueError
    table[name] = what
    return what
