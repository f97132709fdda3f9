"""Certificates of any origin are read as cryptography reads them, and hostile certificates cost little time."""

import datetime
import os
import re
import time

import pytest
from cryptography import x509 as library
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from catcher_install.cert import details, x509
from catcher_install.cert import pem as reader

from .. import authority, pem

FIRST = datetime.datetime(2026, 11, 1, 2, 3, 4)
LAST = datetime.datetime(2027, 11, 1, 2, 3, 4)


def build(attributes=((NameOID.COMMON_NAME, "tke1"),), names=(), days=(FIRST, LAST), usage=None, extended=None,
          kind="prime256v1", sign=hashes.SHA256):
    name = library.Name([library.NameAttribute(oid, value) for oid, value in attributes])
    extensions = [] if usage is None else [(authority.key_usage(usage), True)]
    if extended is not None:
        extensions.append((library.ExtendedKeyUsage(extended), False))
    built = authority.build(pem.key_of(kind), name, names=names, extensions=extensions, first=days[0], last=days[1],
                            digest=sign)
    return built.public_bytes(serialization.Encoding.DER)


def der_of(block):
    return reader.der(reader.PemFile("x", block).certificates()[0])


def dns(*names):
    return authority.alternatives(dns=names)


def addresses(*names):
    return authority.alternatives(addresses=names)


MADE = {
    "plain": {},
    "no names": {"attributes": ()},
    "special characters": {"attributes": [(NameOID.COMMON_NAME, 'a, b+c="d" \\ # <e>; f')], "names": dns("*.e.com")},
    "UTF-8": {"attributes": [(NameOID.COMMON_NAME, "m\u00fcller \u65e5\u672c")],
              "names": addresses("192.0.2.7", "2001:db8::7", "::")},
    "two CNs": {"attributes": [(NameOID.COUNTRY_NAME, "DE"), (NameOID.ORGANIZATION_NAME, "Bank, Inc."),
                               (NameOID.COMMON_NAME, "first"), (NameOID.COMMON_NAME, "x")]},
    "attributes": {"attributes": [
        (NameOID.EMAIL_ADDRESS, "a@b.example"), (NameOID.DOMAIN_COMPONENT, "example"), (NameOID.SERIAL_NUMBER, "5"),
        (NameOID.LOCALITY_NAME, "B"), (NameOID.STATE_OR_PROVINCE_NAME, "BW"), (NameOID.PSEUDONYM, "Z")]},
    "long CN": {"attributes": [(NameOID.COMMON_NAME, "x" * 64)]},
    "1970s": {"days": (datetime.datetime(1972, 2, 29), datetime.datetime(1999, 12, 31, 23, 59, 59))},
    "far future": {"days": (datetime.datetime(2049, 12, 31, 23, 59, 59), datetime.datetime(9999, 12, 31, 23, 59, 59))},
    "a comma in a name": {"names": dns("evil.example, DNS:host.bank.example")},
    "a quote and a line end in a name": {"names": dns('"evil.example\n    DNS:host.bank.example')},
    "an address in a name's text": {"names": dns("evil.example, IP Address:192.0.2.1")},
    "other kinds of names": {"names": dns("a") + [library.RFC822Name("a@b.example"),
                                                  library.UniformResourceIdentifier("https://b.example")]},
    "RSA": {"kind": "rsa-2048"},
    "RSA 1024": {"kind": "rsa-1024"},
    "P-521": {"kind": "secp521r1", "sign": hashes.SHA512},
}


@pytest.mark.parametrize("name", sorted(MADE))
def test_a_certificate_is_read_as_cryptography_reads_it(name):
    der = build(**MADE[name])
    one, told = x509.read(der), details.describe(der)
    theirs = library.load_der_x509_certificate(der, default_backend())
    assert one.subject == [(a.oid.dotted_string, a.value) for a in theirs.subject] == one.issuer
    assert told.common_names == [a.value for a in theirs.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    assert (one.not_before, one.not_after) == tuple(pem.seconds(day) for day in MADE[name].get("days", (FIRST, LAST)))
    names = MADE[name].get("names", [])
    assert one.dns_names == told.dns_names == [n.value for n in names if isinstance(n, library.DNSName)]
    assert one.addresses == told.addresses == [str(n.value) for n in names if isinstance(n, library.IPAddress)]
    assert told.self_issued and told.problem == "" and one.weak == "" and one.signs and one.usages is None


def test_a_comma_makes_no_second_name():
    one = details.describe(build(names=dns("evil.example, DNS:host.bank.example")))
    assert details.match("host.bank.example", one) == ""


KINDS = {
    "prime256v1": "EC prime256v1", "secp384r1": "EC secp384r1", "secp521r1": "EC secp521r1", "rsa-1024": "RSA 1024",
    "rsa-4096": "RSA 4096",
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_kind_of_a_key_is_read(kind):
    one = x509.read(build(kind=kind, sign=hashes.SHA256))
    assert (one.key.algorithm, one.key.problem) == (KINDS[kind], "")


@pytest.mark.parametrize("kind,algorithm", [
    ("secp256k1", "EC secp256k1"), ("secp224r1", "EC secp224r1"), ("brainpoolP256r1", "EC brainpoolP256r1"),
    ("ed25519", "Ed25519"), ("ed448", "Ed448"), ("dsa-1024", "DSA"), ("rsa-pss", "RSA-PSS"), ("rsa-8192", "RSA 8192"),
])
def test_kinds_that_are_not_supported_have_a_name(kind, algorithm):
    one = x509.read(der_of(pem.certificate_for(pem.key_of(kind))))
    assert one.key.algorithm == algorithm and one.key.problem


def test_what_a_certificate_may_be_used_for_is_read():
    assert x509.read(build(usage="digital_signature")).signs
    assert not x509.read(build(usage="key_agreement")).signs
    assert not x509.read(build(usage="key_encipherment")).signs
    assert x509.read(build(extended=[ExtendedKeyUsageOID.CLIENT_AUTH])).usages == ["1.3.6.1.5.5.7.3.2"]


FIRST_OID, SECOND_OID = b"\x06\x03\x2a\x03\x04", b"\x06\x03\x2a\x03\x05"


def with_extensions(*pairs):
    extensions = [(library.UnrecognizedExtension(library.ObjectIdentifier(oid), value), False) for oid, value in pairs]
    built = authority.build(pem.key_of("prime256v1"), library.Name([]), names=(), extensions=extensions, first=FIRST,
                            last=LAST)
    return built.public_bytes(serialization.Encoding.DER)


@pytest.mark.parametrize("oid", sorted(x509.FORMS))
def test_an_extension_that_a_client_cannot_read_is_named(oid):
    with pytest.raises(ValueError, match="its extension %s cannot be read" % re.escape(oid)):
        x509.read(with_extensions((oid, b"\x05\x00")))


def test_an_extension_that_is_there_twice_is_named():
    der = with_extensions(("1.2.3.4", b"\x05\x00"), ("1.2.3.5", b"\x05\x00"))
    assert der.count(FIRST_OID) == der.count(SECOND_OID) == 1
    x509.read(der)
    with pytest.raises(ValueError, match="it has the extension 1.2.3.4 twice"):
        x509.read(der.replace(SECOND_OID, FIRST_OID))


@pytest.mark.parametrize("digest,weak", [("-sha1", "SHA-1"), ("-md5", "MD5"), ("-sha256", "")])
def test_a_digest_that_no_longer_counts(digest, weak):
    assert x509.read(der_of(pem.certificate_for(pem.key_of("rsa-2048"), digest))).weak == weak


HOSTILE = {
    "empty": b"", "a tag": b"\x30", "zeros": b"\x30\x82\x01\x00" + bytes(256), "PEM": b"-----BEGIN CERTIFICATE-----",
    "1 MiB": os.urandom(1024 * 1024), "nesting": b"\x30\x80" * 100000, "an endless length": b"\x30\x84\xff\xff\xff\xff",
    "sequences": b"\x30\x83\x0f\x42\x40" + b"\x30\x00" * 500000,
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_what_is_no_certificate_still_has_its_hashes(name):
    begin = time.process_time()
    one = details.describe(HOSTILE[name])
    assert time.process_time() - begin < 1
    assert one.problem.startswith("not a certificate: it ") or "missing" in one.problem
    assert re.match(r"\A([0-9A-F]{2}:){31}[0-9A-F]{2}\Z", one.sha256)
    assert re.match(r"\A([0-9A-F]{2}:){19}[0-9A-F]{2}\Z", one.sha1)


def test_a_certificate_that_is_cut_or_changed_anywhere_is_read_or_refused():
    der = build(names=dns("tke1.example.com") + addresses("192.0.2.7"), usage="digital_signature")
    for at in range(len(der)):
        assert details.describe(der[:at]).problem
        for value in (0, 0x80, 0xFF, der[at] ^ 1):
            details.describe(der[:at] + bytes([value]) + der[at + 1:])
