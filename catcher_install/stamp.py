"""state.json: the result of the last finished run of the package. Each run writes it last.

format_version: 1. package_version.
mode: "tls", "tcp" or null.
generated_pair: if we made the pair in place, its pair.fingerprint(); else null.
made_earlier: the fingerprints of all other pairs that we made, and the SHA-256 of each key that we made for a request.
findings: a list of {"id", ...}.
checked_pair: the verdict on a good pair, with the fingerprint of the two files for which it holds; or null.
accepted_names: the names for which an administrator installed or requested certificates, {fingerprint of the pair, or
SHA-256 of the key of a request: [names]}; or null.
checked_openssl: OpenSSL's version if TLS is possible, with the identity of the files for which it holds; or null.
"""

from . import messages, openssl, pair
from . import transition as transitions
from .record import Record
from .text import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional

    from .facts import HostFacts
    from .messages import Finding
    from .transition import Transition

FORMAT = 1
SIZE_LIMIT = 256 * 1024
# The largest number of entries in made_earlier.
EARLIER_LIMIT = 500
# The names of all pairs are kept if they fit into this many bytes; else those of our last NAMES_KEPT pairs.
NAMES_ROOM = 16 * 1024
NAMES_KEPT = 20


class Stamp(Record):
    """The content of state.json. The module's docstring explains the fields."""

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
        """Return whether the stamp proves that we made the files with this pair.fingerprint(); no, for ""."""
        return fingerprint != "" and fingerprint in [self.generated_pair] + self.made_earlier

    def asked_names(self, fingerprint: str) -> "List[str]":
        """Return the names for which an administrator installed the pair with this fingerprint, or requested
        certificates with the key that has it."""
        names = (self.accepted_names or {}).get(fingerprint)
        return [str(name) for name in names] if isinstance(names, list) else []


EMPTY = Stamp(package_version="", mode=None, generated_pair=None, made_earlier=[], findings=[], checked_pair=None,
              accepted_names=None, checked_openssl=None)


class _Scanner:
    """The attributes of a decoder that the json module's C scanner uses."""

    strict = True
    object_hook = object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = None


def _loads(text: str) -> object:
    """Do what json.loads does, without the import of json (and re) if CPython's C scanner can do it alone."""
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
    """Return the stamp in the bytes of state.json; None if they are not a stamp of ours."""
    try:
        value = _loads(data.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or value.get("format_version") != FORMAT:
        return None
    mode, made, findings = value.get("mode"), value.get("generated_pair"), value.get("findings")
    earlier = value.get("made_earlier")
    checked_pair, checked_openssl = value.get("checked_pair"), value.get("checked_openssl")
    accepted = value.get("accepted_names")
    return Stamp(
        package_version=str(value.get("package_version", "")),
        mode=mode if mode in ("tls", "tcp") else None,
        generated_pair=made if isinstance(made, str) else None,
        made_earlier=[one for one in earlier if isinstance(one, str)] if isinstance(earlier, list) else [],
        findings=[f for f in findings if isinstance(f, dict) and isinstance(f.get("id"), str)]
        if isinstance(findings, list)
        else [],
        checked_pair=checked_pair if isinstance(checked_pair, dict) else None,
        accepted_names=accepted if isinstance(accepted, dict) else None,
        checked_openssl=checked_openssl if isinstance(checked_openssl, dict) else None,
    )


def names_to_keep(names: "Dict[str, object]", old: Stamp, present: str) -> "Optional[Dict[str, object]]":
    """Return the accepted_names to keep: all if they fit into NAMES_ROOM, because a copy of any pair may come back.
    Else those of the pair in place, and of our last pairs in *old*.

    present: the fingerprint of the pair in place. If it is "", nothing is forgotten: the files may come back, or may be
    readable again.
    """
    # Names under "" were given for a pair that could not be read.
    names = {one: names[one] for one in names if one}
    if not present or sum(len(one) + len(str(names[one])) for one in names) <= NAMES_ROOM:
        return names or None
    ours = (old.made_earlier + [old.generated_pair or ""])[-NAMES_KEPT:]
    return {one: names[one] for one in names if one == present or one in ours} or None


def with_pair(stamp: Stamp, made: "Optional[str]") -> Stamp:
    """Return the stamp for a new pair in place. made: its fingerprint if we made it, else None.

    If it replaces a pair of ours, that one stays known, because a copy may be kept.
    """
    before = [stamp.generated_pair] if stamp.generated_pair not in (None, made) else []
    earlier = [one for one in stamp.made_earlier if one != made] + before
    return stamp.replace(generated_pair=made, made_earlier=earlier[-EARLIER_LIMIT:])


def with_key(stamp: Stamp, made: str) -> Stamp:
    """Return the stamp with one more key that we made for a request. made: its SHA-256."""
    return stamp.replace(made_earlier=(stamp.made_earlier + [made])[-EARLIER_LIMIT:])


def with_names(stamp: Stamp, key: str, names: "List[str]") -> Stamp:
    """Return the stamp with the names of one more request. key: SHA-256 of its key. The names of earlier requests with
    that key stay: a CA may sign any of them."""
    every = list(dict.fromkeys(names + stamp.asked_names(key)))
    return stamp.replace(accepted_names=dict(stamp.accepted_names or {}, **{key: every}))


def next_stamp(
    facts: "HostFacts", findings: "List[Finding]", mode: "Optional[str]", transition: "Transition"
) -> Stamp:
    """Return the stamp that a run writes for these facts; it is equal to the present stamp if there is nothing to do.

    findings: of the run. mode: that the configuration has after it, or None if it has none.
    """
    old = facts.stamp or EMPTY
    verdict, names, made = facts.verdict, old.accepted_names, old.generated_pair
    if transition.kind == transitions.PUT_PAIR:
        if transition.request.names:
            names = dict(names or {}, **{facts.pair.fingerprint: transition.request.names})
        # An earlier run may have placed this pair without recording that it is the administrator's.
        made = None
    if old.made(facts.pair.fingerprint):
        # A pair of ours may be back: a failed change was interrupted while it was taken back, or somebody copied it.
        made = facts.pair.fingerprint
    if verdict is None and facts.pair.state == pair.BOTH:
        verdict = old.checked_pair
    if verdict is not None and (verdict.get("problem") or "unchecked" in verdict or not verdict["fingerprint"]):
        # A bad verdict may have a cause outside of the files, so the pair is judged again each time.
        verdict = None
    new = old.replace(
        package_version=facts.version, mode=mode or old.mode,
        findings=[one for one in findings if not messages.is_marked(one, messages.TRANSIENT)],
        checked_pair=verdict,
        accepted_names=names_to_keep(names or {}, old, facts.pair.fingerprint),
        checked_openssl=old.checked_openssl if facts.tls.possible is None else openssl.remember(facts.tls),
    )
    return with_pair(new, made)


def render(stamp: Stamp) -> bytes:
    """Return the bytes of state.json."""
    fields = {name: getattr(stamp, name) for name in stamp.__slots__}
    fields["format_version"] = FORMAT
    return (json_text(fields) + "\n").encode("ascii")
