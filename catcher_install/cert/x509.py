"""Read an X.509 certificate (RFC 5280) in DER, without any library.

All certificates are read here: ours, an administrator's and a peer's. So it makes no difference whether
``cryptography`` is installed, and no tool's output for people is parsed. Signatures are not checked.
"""

import datetime
import ipaddress

from ..record import Record
from . import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, List, Optional, Tuple

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID, SEQUENCE, SET = 0x01, 0x02, 0x03, 0x04, 0x06, 0x30, 0x31
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
VERSION, EXTENSIONS = 0xA0, 0xA3
DNS_NAME, IP_ADDRESS = 0x82, 0x87
# The string types of names (X.680), with their encodings.
STRINGS = {
    0x0C: "utf-8", 0x12: "latin-1", 0x13: "latin-1", 0x14: "latin-1", 0x16: "latin-1", 0x1A: "latin-1",
    0x1C: "utf-32-be", 0x1E: "utf-16-be",
}  # fmt: skip

RSA_KEY = "1.2.840.113549.1.1.1"
EC_KEY = "1.2.840.10045.2.1"
OTHER_KEYS = {
    "1.2.840.113549.1.1.10": "RSA-PSS", "1.2.840.10040.4.1": "DSA", "1.3.101.112": "Ed25519", "1.3.101.113": "Ed448",
}
# Signature algorithms whose digest is no longer accepted.
WEAK_SIGNATURES = {
    "1.2.840.113549.1.1.2": "MD2", "1.2.840.113549.1.1.3": "MD4", "1.2.840.113549.1.1.4": "MD5",
    "1.2.840.113549.1.1.5": "SHA-1", "1.3.14.3.2.29": "SHA-1", "1.2.840.10045.4.1": "SHA-1",
    "1.2.840.10040.4.3": "SHA-1",
}
ALTERNATIVE_NAMES, KEY_USAGE, EXTENDED_USAGE = "2.5.29.17", "2.5.29.15", "2.5.29.37"
BASIC_CONSTRAINTS = "2.5.29.19"
POLICIES, POLICY_MAPPINGS, POLICY_CONSTRAINTS = "2.5.29.32", "2.5.29.33", "2.5.29.36"
REQUIRE_EXPLICIT_POLICY = 0x80
# Other extensions that OpenSSL and Java read, with their type (RFC 5280, 4.2). To OpenSSL and Java, a certificate with
# another type there is invalid; which handshakes fail depends on their version.
FORMS = {
    "2.5.29.14": OCTET_STRING, "2.5.29.18": SEQUENCE, "2.5.29.30": SEQUENCE, "2.5.29.31": SEQUENCE,
    "2.5.29.35": SEQUENCE, "2.5.29.46": SEQUENCE, "2.5.29.54": INTEGER, "1.3.6.1.5.5.7.1.1": SEQUENCE,
}  # fmt: skip
# Bits in the first byte of the key usage: digitalSignature and keyCertSign.
SIGNS, SIGNS_CERTIFICATES = 0x80, 0x04


class X509(Record):
    """One certificate.

    subject, issuer: (attribute's OID, value) in order. subject_plain, issuer_plain: the same in a form to compare.
    not_before, not_after: seconds since the epoch. key: the kind of the public key. unread: what Java does not read in
    it, as the object of "has", or "".
    dns_names, addresses: of the SAN. critical_names: the SAN is marked as critical. weak: the digest of the signature
    if it is no longer accepted, else "". signs, signs_certificates: the key usage allows that, or there is none.
    usages: OIDs of the extended key usage, or None. ca: it is a CA; True in version 1, which cannot tell.
    path_length: how many CAs it allows below itself, or None. policies: OIDs of the policies under which it was issued,
    or None. explicit_policy: after how many more certificates each needs a policy, or None. maps_policies: it maps
    policies to others.
    """

    __slots__ = ("subject", "issuer", "subject_plain", "issuer_plain", "not_before", "not_after", "key", "unread",
                 "dns_names", "addresses", "critical_names", "weak", "signs", "signs_certificates", "usages", "ca",
                 "path_length", "policies", "explicit_policy", "maps_policies")  # fmt: skip
    subject: "List[Tuple[str, str]]"
    issuer: "List[Tuple[str, str]]"
    subject_plain: "List[List[Tuple[str, str]]]"
    issuer_plain: "List[List[Tuple[str, str]]]"
    not_before: int
    not_after: int
    key: keys.KeyKind
    unread: str
    dns_names: "List[str]"
    addresses: "List[str]"
    critical_names: bool
    weak: str
    signs: bool
    signs_certificates: bool
    usages: "Optional[List[str]]"
    ca: bool
    path_length: "Optional[int]"
    policies: "Optional[List[str]]"
    explicit_policy: "Optional[int]"
    maps_policies: bool


def read(der: bytes) -> X509:
    """Return what a certificate contains. Raises ValueError, with the reason, for bytes that are not a certificate."""
    outer = _elements(_one(der, SEQUENCE))
    fields = _elements(_sequence(outer))
    tag, value, _ = _next(fields)
    version = 1
    if tag == VERSION:
        version += int.from_bytes(_one(value, INTEGER), "big")
        # The serial number.
        _next(fields)
    algorithm, signed_with = (_oid(_one(_sequence(one), OID, more=True)) for one in (fields, outer))
    issuer, issuer_plain = _name(fields)
    first, last = _validity(_sequence(fields))
    subject, subject_plain = _name(fields)
    tag, spki, _ = _next(fields)
    if tag != SEQUENCE:
        raise ValueError("it has no public key")
    key, unread = _key(spki)
    if algorithm != signed_with:
        unread = "two signature algorithms"
    found = X509(
        subject=subject, issuer=issuer, subject_plain=subject_plain, issuer_plain=issuer_plain, not_before=first,
        not_after=last, key=key, unread=unread, dns_names=[], addresses=[], critical_names=False,
        weak=WEAK_SIGNATURES.get(algorithm, ""), signs=True,
        signs_certificates=True, usages=None, ca=version == 1, path_length=None, policies=None,
        explicit_policy=None, maps_policies=False,
    )
    for tag, value, _ in fields:
        if tag == EXTENSIONS:
            _read_extensions(found, _one(value, SEQUENCE))
            found.unread = "extensions and is not of version 3" if version != 3 else found.unread
    return found


def is_der(data: bytes) -> bool:
    """Return whether bytes are one whole structure in DER, of whatever kind."""
    try:
        return bool(_one(data, SEQUENCE))
    except ValueError:
        return False


# -- DER ---------------------------------------------------------------------------------------------------------------


def _elements(data: bytes) -> "Iterator[Tuple[int, bytes, bytes]]":
    """Yield (tag, content, all its bytes) of each element. Raises ValueError if the lengths do not fit."""
    at = 0
    while at < len(data):
        if len(data) - at < 2:
            raise ValueError("it is cut off")
        tag, length, start = data[at], data[at + 1], at + 2
        if length >= 0x80:
            size = length & 0x7F
            if not 1 <= size <= 4 or len(data) - start < size:
                raise ValueError("it has an invalid length")
            length, start = int.from_bytes(data[start:start + size], "big"), start + size
        if length > len(data) - start:
            raise ValueError("it is cut off")
        yield tag, data[start:start + length], data[at:start + length]
        at = start + length


def _next(elements: "Iterator[Tuple[int, bytes, bytes]]") -> "Tuple[int, bytes, bytes]":
    for element in elements:
        return element
    raise ValueError("something is missing in it")


def _one(data: bytes, tag: int, more: bool = False) -> bytes:
    """Return the content of the one element in *data*. more: other elements may follow it. Raises ValueError."""
    found, content, whole = _next(_elements(data))
    if found != tag or (len(whole) != len(data) and not more):
        raise ValueError("it is not a certificate")
    return content


def _sequence(elements: "Iterator[Tuple[int, bytes, bytes]]") -> bytes:
    tag, content, _ = _next(elements)
    if tag != SEQUENCE:
        raise ValueError("it is not a certificate")
    return content


def _oid(data: bytes) -> str:
    """Return an object identifier with dots (X.690, 8.19)."""
    numbers, value = [], 0
    for byte in data[:64]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            numbers.append(value)
            value = 0
    if not numbers:
        raise ValueError("it has an invalid identifier")
    first = min(numbers[0] // 40, 2)
    return ".".join(str(number) for number in [first, numbers[0] - 40 * first] + numbers[1:])


# -- the parts of a certificate ----------------------------------------------------------------------------------------


def _name(elements: "Iterator[Tuple[int, bytes, bytes]]"
          ) -> "Tuple[List[Tuple[str, str]], List[List[Tuple[str, str]]]]":
    """Return the attributes of a name, and the same in a form to compare: without regard to case, number of blanks and
    type of string (RFC 5280, 7.1)."""
    tag, content, _ = _next(elements)
    if tag != SEQUENCE:
        raise ValueError("it has an invalid name")
    found: List[Tuple[str, str]] = []
    plain = []
    for _, attributes, _ in _elements(content):
        first = len(found)
        for _, attribute, _ in _elements(attributes):
            parts = _elements(attribute)
            oid = _oid(_next(parts)[1])
            kind, value, _ = _next(parts)
            found.append((oid, value.decode(STRINGS.get(kind, "latin-1"), "backslashreplace")))
        plain.append(sorted((oid, " ".join(value.lower().split())) for oid, value in found[first:]))
    return found, plain


def _validity(data: bytes) -> "Tuple[int, int]":
    parts = _elements(data)
    return _seconds(*_next(parts)[:2]), _seconds(*_next(parts)[:2])


def _seconds(tag: int, value: bytes) -> int:
    """Return a time (RFC 5280, 4.1.2.5) as seconds since the epoch. In old certificates it may have no seconds."""
    text = value.decode("ascii", "replace")
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != GENERALIZED_TIME:
        raise ValueError("it has an invalid date")
    digits = text[:-1] + "00" if len(text) == 13 else text[:-1]
    if not text.endswith("Z") or len(digits) != 14 or not digits.isdigit():
        raise ValueError("it has an invalid date")
    # Not strptime(): its imports take longer than everything else here.
    month, day, hour, minute, second = (int(digits[at:at + 2]) for at in range(4, 14, 2))
    moment = datetime.datetime(int(digits[:4]), month, day, hour, minute, second)
    return int((moment - datetime.datetime(1970, 1, 1)).total_seconds())


def _key(spki: bytes) -> "Tuple[keys.KeyKind, str]":
    """Return the kind of the key in the content of a SubjectPublicKeyInfo, and X509.unread."""
    parts = _elements(spki)
    algorithm = _elements(_sequence(parts))
    oid = _oid(_next(algorithm)[1])
    tag, bits, _ = _next(parts)
    if tag != BIT_STRING:
        raise ValueError("it has no public key")
    if oid == RSA_KEY:
        # The key follows the number of unused bits.
        modulus, exponent = _integers(_one(bits[1:], SEQUENCE))
        kind = keys.rsa(modulus.bit_length(), exponent)
        return kind, kind.problem if exponent < keys.RSA_EXPONENT else ""
    if oid == EC_KEY:
        tag, curve, _ = _next(algorithm)
        if tag != OID:
            return keys.elliptic("a curve without a name"), "a key on a curve without a name"
        # RFC 5480, 2.2
        return keys.elliptic(_oid(curve)), "its key as a compressed point" if bits[1:2] != b"\4" else ""
    return keys.other(OTHER_KEYS.get(oid, oid)), ""


def _integers(data: bytes) -> "List[int]":
    """Return the two numbers of an RSA key (RFC 8017, A.1.1)."""
    found = [int.from_bytes(value, "big") for tag, value, _ in _elements(data) if tag == INTEGER]
    if len(found) != 2:
        raise ValueError("it has an invalid RSA key")
    return found


def _read_extensions(found: X509, data: bytes) -> None:
    seen = set()
    for _, extension, _ in _elements(data):
        parts = _elements(extension)
        oid = _oid(_next(parts)[1])
        if oid in seen:
            raise ValueError("it has the extension %s twice" % oid)
        seen.add(oid)
        tag, value, _ = _next(parts)
        critical = tag == BOOLEAN and value != b"\0"
        if tag == BOOLEAN:
            tag, value, _ = _next(parts)
        if oid in FORMS and not _is_form(value, FORMS[oid]):
            raise ValueError("its extension %s cannot be read" % oid)
        if oid == ALTERNATIVE_NAMES:
            found.critical_names = critical
            _read_names(found, _one(value, SEQUENCE))
        elif oid == KEY_USAGE:
            # The bits follow the number of unused bits. If there are none, no usage is set.
            flags = (_one(value, BIT_STRING) + b"\0\0")[1]
            found.signs, found.signs_certificates = bool(flags & SIGNS), bool(flags & SIGNS_CERTIFICATES)
        elif oid == BASIC_CONSTRAINTS:
            for tag, content, _ in _elements(_one(value, SEQUENCE)):
                if tag == BOOLEAN:
                    found.ca = content != b"\0"
                elif tag == INTEGER:
                    found.path_length = int.from_bytes(content, "big")
        elif oid == EXTENDED_USAGE:
            found.usages = [_oid(one) for _, one, _ in _elements(_one(value, SEQUENCE))]
        elif oid == POLICIES:
            found.policies = [_oid(_one(one, OID, more=True)) for _, one, _ in _elements(_one(value, SEQUENCE))]
        elif oid == POLICY_MAPPINGS:
            found.maps_policies = True
        elif oid == POLICY_CONSTRAINTS:
            for tag, content, _ in _elements(_one(value, SEQUENCE)):
                if tag == REQUIRE_EXPLICIT_POLICY:
                    found.explicit_policy = int.from_bytes(content, "big")


def _is_form(data: bytes, tag: int) -> bool:
    try:
        _one(data, tag)
    except ValueError:
        return False
    return True


def _read_names(found: X509, data: bytes) -> None:
    for tag, value, _ in _elements(data):
        if tag == DNS_NAME:
            found.dns_names.append(value.decode("latin-1"))
        elif tag == IP_ADDRESS:
            if len(value) not in (4, 16):
                raise ValueError("it has an invalid address")
            found.addresses.append(str(ipaddress.ip_address(value)))
