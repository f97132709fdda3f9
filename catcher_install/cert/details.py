"""What a certificate contains (subject, issuer, names, validity), and whether it fits a name."""

from ..pair import hash_of
from ..record import Record
from . import x509
from .names import canonical, ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple

# The largest number of certificates of a chain that are shown.
CHAIN_LIMIT = 16

# Short names of the attribute types in certificates of servers (RFC 4519, RFC 2985). Others are shown as their OID.
COMMON_NAME = "2.5.4.3"
ATTRIBUTES = {
    COMMON_NAME: "CN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O",
    "2.5.4.11": "OU", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "emailAddress",
}


class Certificate(Record):
    """One certificate.

    subject, issuer: as text, in the certificate's order, e.g. "O=Bank, CN=catcher". self_issued: they are the same.
    common_names: of the CN. dns_names, addresses: of the SAN. not_before, not_after: seconds since the epoch.
    sha1, sha256: over the DER, "AB:CD:...". problem: why it could not be read, and then only the hashes are filled in;
    "" if it was read.
    """

    __slots__ = ("subject", "issuer", "self_issued", "common_names", "dns_names", "addresses", "not_before",
                 "not_after", "sha1", "sha256", "problem")
    subject: str
    issuer: str
    self_issued: bool
    common_names: "List[str]"
    dns_names: "List[str]"
    addresses: "List[str]"
    not_before: int
    not_after: int
    sha1: str
    sha256: str
    problem: str

    def names(self) -> "List[str]":
        """Return everything that may be typed as Host Name/IP for this certificate, each once."""
        return list(dict.fromkeys(self.dns_names + self.addresses + self.common_names))

    def fields(self) -> "Dict[str, Any]":
        """Return the fields for ``--json``: problem is null if the certificate could be read."""
        return dict({name: getattr(self, name) for name in self.__slots__}, problem=self.problem or None)


# -- does the certificate fit the name ---------------------------------------------------------------------------------


def match(name: str, one: Certificate) -> str:
    """Return where a certificate contains *name*: "SAN DNS ...", "SAN IP ..." or "CN ...", as spelled there; else "".

    The CN or the SAN is enough (vendor text, "Important files"). Addresses are compared as addresses, names regardless
    of case and IDNA form. A wildcard stands for exactly the whole left-most label (RFC 6125, 6.4.3).
    """
    address = ip_address(name)
    if address is not None:
        places = [("SAN IP ", one.addresses), ("CN ", one.common_names)]
        return _first_place(places, lambda text: ip_address(text) == address)
    wanted = _comparable(name)
    places = [("SAN DNS ", one.dns_names), ("CN ", one.common_names)]
    return _first_place(places, lambda text: _covers(_comparable(text), wanted))


def _first_place(places: "List[Tuple[str, List[str]]]", fits: "Any") -> str:
    for label, texts in places:
        for text in texts:
            if fits(text):
                return label + text
    return ""


def _comparable(name: str) -> str:
    return canonical(name).lower()


def _covers(pattern: str, name: str) -> bool:
    if not pattern.startswith("*."):
        return pattern == name and bool(name)
    label, dot, parent = name.partition(".")
    # Clients do not accept a wildcard for a whole top-level domain, e.g. "*.com".
    return bool(label and dot) and parent == pattern[2:] and "." in parent


# -- reading -----------------------------------------------------------------------------------------------------------


def describe(der: bytes) -> Certificate:
    """Return what a certificate (DER) contains. Never raises: see Certificate.problem."""
    hashes = {name: _colons(hash_of(der, name)) for name in ("sha1", "sha256")}
    try:
        one = x509.read(der)
    except ValueError as error:
        return Certificate(subject="", issuer="", self_issued=False, common_names=[], dns_names=[], addresses=[],
                           not_before=0, not_after=0, problem="not a certificate: %s" % error, **hashes)
    return Certificate(
        subject=name_text(one.subject), issuer=name_text(one.issuer), self_issued=one.subject_plain == one.issuer_plain,
        common_names=[value for oid, value in one.subject if oid == COMMON_NAME], dns_names=one.dns_names,
        addresses=one.addresses, not_before=one.not_before, not_after=one.not_after, problem="", **hashes
    )


def name_text(name: "List[Tuple[str, str]]") -> str:
    """Return the subject or issuer of a certificate as text, in its order, e.g. "O=Bank, CN=catcher"."""
    return ", ".join("%s=%s" % (ATTRIBUTES.get(oid, oid), value) for oid, value in name)


def _colons(digest: str) -> str:
    """Return a digest as consoles show it: AB:CD:..."""
    return ":".join(digest[at:at + 2] for at in range(0, len(digest), 2)).upper()
