"""What a certificate says: whose it is, for which names, until when; and whether a name is among them."""

import hashlib
import re

from .. import paths
from ..errors import MissingDependency
from ..host import Host
from ..record import Record
from . import crypto
from .names import a_labels, ip_address

MYPY = False
if MYPY:
    from typing import Any, Dict, List, Tuple

# Of a longer chain only so many certificates are shown.
CHAIN_LIMIT = 16

NOTHING_READ = {"subject": "", "issuer": "", "self_issued": False, "common_names": [], "dns_names": [],
                "addresses": [], "not_before": 0, "not_after": 0}
# The short forms of attribute types that certificates of servers have (RFC 4519, RFC 2985); others keep their OID.
ATTRIBUTES = {
    "2.5.4.3": "CN", "2.5.4.5": "serialNumber", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O",
    "2.5.4.11": "OU", "0.9.2342.19200300.100.1.25": "DC", "1.2.840.113549.1.9.1": "emailAddress",
}


class Certificate(Record):
    """One certificate.

    subject, issuer: as text, in the certificate's order, e.g. "O=Bank, CN=catcher". self_issued: they are the same.
    common_names; dns_names and addresses: of the CN and the SAN. not_before, not_after: seconds since the epoch.
    sha1, sha256: over the DER, "AB:CD:...". problem: why it could not be read ("" where it was); then only the hashes
    mean anything.
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
        """Everything that may be typed as Host Name/IP for this certificate, each once."""
        return list(dict.fromkeys(self.dns_names + self.addresses + self.common_names))


class _Unread(Exception):
    """A certificate cannot be read in this way, and why."""


# -- does the certificate fit the name ---------------------------------------------------------------------------------


def match(name: str, one: Certificate) -> str:
    """Where a certificate has *name*: "SAN DNS ...", "SAN IP ..." or "CN ...", as spelled there; "" where it has not.

    Either the CN or the SAN suffices (vendor text, "Important files"). Addresses compare as addresses, names without
    regard to case and IDNA form; a wildcard stands for exactly the whole left-most label (RFC 6125, 6.4.3).
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
    name = (a_labels(name) or name).lower()
    return name[:-1] if name.endswith(".") else name


def _covers(pattern: str, name: str) -> bool:
    if not pattern.startswith("*."):
        return pattern == name and bool(name)
    label, dot, parent = name.partition(".")
    # "*.com" would stand for half the world, and clients do not take it.
    return bool(label and dot) and parent == pattern[2:] and "." in parent


# -- reading -----------------------------------------------------------------------------------------------------------


def describe(host: Host, der: bytes) -> Certificate:
    """What a certificate (DER) says. Never raises for what it holds: see its problem.

    By cryptography, or where that is missing or does not like it, by the openssl command.
    """
    read: Dict[str, Any] = {}
    problems = []
    for way in (_read_with_cryptography, _read_with_openssl):
        try:
            read = way(host, der)
        except (_Unread, MissingDependency) as error:
            problems.append(str(error))
        else:
            break
    return Certificate(
        sha1=_colons(hashlib.sha1(der).hexdigest()), sha256=_colons(hashlib.sha256(der).hexdigest()),
        problem="" if read else "; ".join(problems), **(read or NOTHING_READ)
    )


def _colons(digest: str) -> str:
    """A digest as consoles show it: AB:CD:..."""
    return ":".join(digest[at:at + 2] for at in range(0, len(digest), 2)).upper()


def _read_with_cryptography(host: Host, der: bytes) -> "Dict[str, Any]":
    import warnings

    lib = crypto.load()
    x509 = lib.x509
    try:
        with warnings.catch_warnings():
            # It warns of what is odd in a certificate, with lines of its own source, on stderr.
            warnings.simplefilter("ignore")
            loaded = x509.load_der_x509_certificate(der, lib.backend)
            subject, issuer = (
                [(ATTRIBUTES.get(a.oid.dotted_string, a.oid.dotted_string), str(a.value)) for a in name]
                for name in (loaded.subject, loaded.issuer)
            )
            not_before, not_after = lib.validity_of(loaded)
            dns: List[str] = []
            addresses: List[str] = []
            for extension in loaded.extensions:
                if isinstance(extension.value, x509.SubjectAlternativeName):
                    dns = extension.value.get_values_for_type(x509.DNSName)
                    addresses = [str(a) for a in extension.value.get_values_for_type(x509.IPAddress)]
            self_issued = loaded.subject == loaded.issuer
    except Exception as error:
        # Whatever its parser meets on hostile input.
        raise _Unread("not a certificate that cryptography reads (%s)" % type(error).__name__) from error
    return _read_fields(subject, issuer, self_issued, dns, addresses, not_before, not_after)


def _read_fields(
    subject: "List[Tuple[str, str]]", issuer: "List[Tuple[str, str]]", self_issued: bool, dns: "List[str]",
    addresses: "List[str]", not_before: int, not_after: int,
) -> "Dict[str, Any]":
    """The fields of a Certificate that come from reading it. subject, issuer: (attribute, value) in order."""
    return {
        "subject": ", ".join("%s=%s" % one for one in subject), "issuer": ", ".join("%s=%s" % one for one in issuer),
        "self_issued": self_issued, "common_names": [value for key, value in subject if key == "CN"],
        "dns_names": dns, "addresses": addresses, "not_before": not_before, "not_after": not_after,
    }


def _read_with_openssl(host: Host, der: bytes) -> "Dict[str, Any]":
    """By ``openssl x509``: a line for each attribute, control characters escaped, so that a value cannot be two."""
    arguments = ["x509", "-inform", "DER", "-noout", "-subject", "-issuer", "-dates", "-ext", "subjectAltName",
                 "-nameopt", "sep_multiline,sname,utf8,esc_ctrl"]
    try:
        status, output = host.run([paths.OPENSSL] + arguments, timeout=10, stdin=der)
    except OSError as error:
        raise _Unread("%s: %s" % (paths.OPENSSL, error.strerror)) from error
    text = output.decode("utf-8", "replace")
    if status != 0 or "subject=" not in text:
        raise _Unread("not a certificate that openssl reads")
    names: Dict[str, List[Tuple[str, str]]] = {"subject": [], "issuer": []}
    dates = {}
    dns, addresses = [], []
    section = ""
    for line in text.split("\n"):
        if not line.startswith("    "):
            section, _, value = line.partition("=")
            if section in ("notBefore", "notAfter"):
                dates[section] = _seconds(value)
        elif section in names:
            key, _, value = line[4:].partition("=")
            if key:
                names[section].append((key, _unescaped(value)))
        elif section.startswith("X509v3 Subject Alternative Name"):
            for item in line.strip().split(", "):
                kind, _, value = item.partition(":")
                if kind == "DNS":
                    dns.append(value)
                elif kind == "IP Address" and ip_address(value) is not None:
                    addresses.append(str(ip_address(value)))
    if len(dates) != 2:
        raise _Unread("openssl shows no validity")
    subject, issuer = names["subject"], names["issuer"]
    return _read_fields(subject, issuer, subject == issuer, dns, addresses, dates["notBefore"], dates["notAfter"])


def _unescaped(value: str) -> str:
    """An attribute's value without openssl's escapes: a backslash before itself and before two digits."""
    return re.sub(r"\\([0-9A-F]{2}|\\)", lambda m: "\\" if m.group(1) == "\\" else chr(int(m.group(1), 16)), value)


def _seconds(date: str) -> int:
    """Seconds since the epoch of a date as openssl prints it."""
    import ssl

    try:
        return int(ssl.cert_time_to_seconds(date))
    except ValueError as error:
        raise _Unread("openssl shows a date that is none") from error
