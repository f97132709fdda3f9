"""state.json: the result of the last finished run of the package; each run writes it last.

Fields: format_version (1), package_version, mode ("tls", "tcp" or null), generated_pair (SHA-256 in hex over the bytes
of catcher.key followed by those of catcher.crt of a pair that we made, or null), made_earlier (the same of each other
pair, and SHA-256 of each key of a request, that we made), findings (a list of {"id", ...}),
checked_pair (the verdict on a good pair, with the fingerprint of the two files that it holds for, or null),
accepted_names (the names that an administrator wants of the pair in place, and wanted of earlier pairs, and asked for
in requests, {fingerprint of the pair, or SHA-256 of the key of a request: [names]}, or null),
checked_openssl (OpenSSL's version, if TLS is possible, with the identity of the files that it holds for, or null).
"""

from .record import Record
from .text import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

FORMAT = 1
SIZE_LIMIT = 256 * 1024
# So many of made_earlier are remembered.
EARLIER_LIMIT = 500
# Bytes of names that are remembered of all pairs; beyond that, of so many of ours.
NAMES_ROOM = 16 * 1024
NAMES_KEPT = 20


class Stamp(Record):
    """The content of state.json; see the module's text for the fields."""

    __slots__ = ("package_version", "mode", "generated_pair", "made_earlier", "findings", "checked_pair",
                 "accepted_names", "checked_openssl")
    package_version: str
    mode: "Optional[str]"
    generated_pair: "Optional[str]"
    made_earlier: "List[str]"
    findings: "List[Dict[str, str]]"
    checked_pair: "Optional[Dict[str, object]]"
    accepted_names: "Optional[Dict[str, object]]"
    checked_openssl: "Optional[Dict[str, object]]"

    def made(self, fingerprint: str) -> bool:
        """Whether it proves that we made the files with this pair.fingerprint(), now or earlier; "" is of no files."""
        return fingerprint != "" and fingerprint in [self.generated_pair] + self.made_earlier

    def asked_names(self, fingerprint: str) -> "List[str]":
        """The names that an administrator wanted of the pair with a fingerprint, or in the requests for a key."""
        names = (self.accepted_names or {}).get(fingerprint)
        return [str(name) for name in names] if isinstance(names, list) else []


EMPTY = Stamp(package_version="", mode=None, generated_pair=None, made_earlier=[], findings=[], checked_pair=None,
              accepted_names=None, checked_openssl=None)


class _Scanner:
    """What the json module's C scanner asks of its decoder."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = None


def _loads(text: str) -> object:
    """As json.loads, without importing json (and with it re) if CPython's C scanner can do it alone."""
    try:
        from _json import make_scanner

        decoder = _Scanner()
        decoder.memo = {}  # type: ignore[attr-defined]
        value, end = make_scanner(decoder)(text, 0)  # type: ignore[arg-type]
    except Exception:  # noqa: BLE001 - another Python, or no JSON: the public module gives the verdict
        import json

        return json.loads(text)
    if text[end:].strip():
        raise ValueError("text behind the end of the JSON value")
    return value


def parse(data: bytes) -> "Optional[Stamp]":
    """The stamp in the bytes of state.json; None for anything that is not one of ours."""
    try:
        value = _loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("format_version") != FORMAT:
        return None
    mode, pair, findings = value.get("mode"), value.get("generated_pair"), value.get("findings")
    earlier = value.get("made_earlier")
    checked_pair, checked_openssl = value.get("checked_pair"), value.get("checked_openssl")
    accepted = value.get("accepted_names")
    return Stamp(
        package_version=str(value.get("package_version", "")),
        mode=mode if mode in ("tls", "tcp") else None,
        generated_pair=pair if isinstance(pair, str) else None,
        made_earlier=[one for one in earlier if isinstance(one, str)] if isinstance(earlier, list) else [],
        findings=[f for f in findings if isinstance(f, dict) and isinstance(f.get("id"), str)]
        if isinstance(findings, list)
        else [],
        checked_pair=checked_pair if isinstance(checked_pair, dict) else None,
        accepted_names=accepted if isinstance(accepted, dict) else None,
        checked_openssl=checked_openssl if isinstance(checked_openssl, dict) else None,
    )


def names_of_use(names: "Dict[str, object]", old: Stamp, present: str) -> "Optional[Dict[str, object]]":
    """Return the accepted_names to remember: all while there is room, since a copy of any pair may come back.

    Else those of the pair in place, *present* is its fingerprint, and of the last pairs of ours in *old*. Without a
    fingerprint nothing is forgotten: the files are away or cannot be read for now.
    """
    # Not those of a pair that could not be read when they were given.
    names = {one: names[one] for one in names if one}
    if not present or sum(len(one) + len(str(names[one])) for one in names) <= NAMES_ROOM:
        return names or None
    ours = (old.made_earlier + [old.generated_pair or ""])[-NAMES_KEPT:]
    return {one: names[one] for one in names if one == present or one in ours} or None


def with_pair(stamp: Stamp, made: "Optional[str]") -> Stamp:
    """The stamp of a host with another pair: *made* is its fingerprint if we made it, else None.

    Of a pair of ours that it replaces a copy may be kept, so that stays known.
    """
    before = [stamp.generated_pair] if stamp.generated_pair not in (None, made) else []
    earlier = [one for one in stamp.made_earlier if one != made] + before
    return stamp.replace(generated_pair=made, made_earlier=earlier[-EARLIER_LIMIT:])


def with_key(stamp: Stamp, made: str) -> Stamp:
    """The stamp of a host on which we make the key of a request, *made* is its SHA-256."""
    return stamp.replace(made_earlier=(stamp.made_earlier + [made])[-EARLIER_LIMIT:])


def with_names(stamp: Stamp, key: str, names: "List[str]") -> Stamp:
    """The stamp of a host with one more request for the key of this SHA-256: a CA may sign any of its requests."""
    every = list(dict.fromkeys(names + stamp.asked_names(key)))
    return stamp.replace(accepted_names=dict(stamp.accepted_names or {}, **{key: every}))


def render(stamp: Stamp) -> bytes:
    """The bytes of state.json."""
    fields = {name: getattr(stamp, name) for name in stamp.__slots__}
    fields["format_version"] = FORMAT
    return (json_text(fields) + "\n").encode("ascii")
