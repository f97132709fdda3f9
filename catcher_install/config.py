"""catcher.conf: lossless parse and edit.

The file holds one directive a line, ``TLS_ON`` or ``TLS_OFF``, optionally ``TLS_REQUIRED``, and comments that begin
with ``#``. Editing changes only the directive; every other byte stays.
"""

from .record import Record
from .text import shown_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

TLS_ON = b"TLS_ON"
TLS_OFF = b"TLS_OFF"
TLS_REQUIRED = b"TLS_REQUIRED"
BOM = b"\xef\xbb\xbf"

# The file has a few lines. Anything larger is some other file.
SIZE_LIMIT = 64 * 1024

# The number of bytes that are shown of an unknown directive.
SHOWN_LIMIT = 40

# States of the file
ABSENT = "absent"
UNSET = "no directive"
TLS = "tls"
TCP = "tcp"
UNUSABLE = "unusable"


class Config(Record):
    """What catcher.conf says.

    state: ABSENT, UNSET, TLS, TCP or UNUSABLE.
    required: True if a line TLS_REQUIRED forbids falling back to TCP.
    problem: why the file is UNUSABLE, as the end of a sentence; "" otherwise. passing: the problem may soon go away.
    data: the bytes of the file; None if it is absent or could not be read.
    """

    __slots__ = ("state", "required", "problem", "passing", "data")
    state: str
    required: bool
    problem: str
    passing: bool
    data: "Optional[bytes]"

    @property
    def mode(self) -> "Optional[str]":
        """The mode that the file sets, TLS or TCP; None if it sets none."""
        return self.state if self.state in (TLS, TCP) else None


def absent() -> Config:
    """Return the configuration of a host without the file."""
    return Config(state=ABSENT, required=False, problem="", passing=False, data=None)


def unreadable(problem: str, passing: bool = False) -> Config:
    """Return the configuration of a file that is there but could not be read."""
    return Config(state=UNUSABLE, required=False, problem=problem, passing=passing, data=None)


def directive(mode: str) -> bytes:
    """Return the token that sets a mode (TLS or TCP)."""
    return TLS_ON if mode == TLS else TLS_OFF


def fresh(mode: str) -> bytes:
    """Return the whole content of a new file."""
    return directive(mode) + b"\n"


def _tokens(data: bytes) -> "List[Tuple[bytes, int, int]]":
    """Return the directives in order, each with its offset in *data* and its line number from 1."""
    found = []
    offset = 0
    for number, line in enumerate(data.splitlines(True), 1):
        text = line
        start = offset
        if offset == 0 and text.startswith(BOM):
            text = text[len(BOM):]
            start += len(BOM)
        text = text.split(b"#", 1)[0]
        token = text.strip()
        if token:
            found.append((token, start + text.index(token), number))
        offset += len(line)
    return found


def parse(data: bytes, quote: bool = True) -> Config:
    """Return what the bytes of a catcher.conf mean; never raises. quote: whether a problem may quote the file.

    The same directive twice is one. A leading UTF-8 byte order mark, blanks around a directive, CRLF line ends and a
    comment behind a directive are harmless.
    """

    def unusable(problem: str) -> Config:
        return Config(state=UNUSABLE, required=False, problem=problem, passing=False, data=data)

    if len(data) > SIZE_LIMIT:
        return unusable("it is larger than %d bytes" % SIZE_LIMIT)
    if b"\0" in data:
        return unusable("it holds binary data")
    words = []
    for token, _, line in _tokens(data):
        if token not in (TLS_ON, TLS_OFF, TLS_REQUIRED):
            seen = ": " + shown_bytes(token, SHOWN_LIMIT) if quote else ""
            return unusable("line %d is not a directive%s" % (line, seen))
        words.append(token)
    required = TLS_REQUIRED in words
    if TLS_ON in words and TLS_OFF in words:
        return unusable("it says both TLS_ON and TLS_OFF")
    if required and TLS_OFF in words:
        return unusable("it says both TLS_OFF and TLS_REQUIRED")
    # A line TLS_REQUIRED sets TLS, too.
    state = TLS if TLS_ON in words or required else TCP if TLS_OFF in words else UNSET
    return Config(state=state, required=required, problem="", passing=False, data=data)


def with_mode(data: bytes, mode: str) -> bytes:
    """Return *data* with its directive set to *mode* (TLS or TCP). If it has no directive, a line is added.

    data: the bytes of a file that parse() does not call UNUSABLE.
    """
    token = directive(mode)
    edited = bytearray(data)
    places = [(old, offset) for old, offset, _ in _tokens(data) if old in (TLS_ON, TLS_OFF)]
    for old, offset in reversed(places):
        edited[offset:offset + len(old)] = token
    if places:
        return bytes(edited)
    end = b"\r\n" if b"\r\n" in data else b"\n"
    body = data[len(BOM):] if data.startswith(BOM) else data
    separator = b"" if not body or body.endswith((b"\n", b"\r")) else end
    return data + separator + token + end
