"""The generated pair, looked at by cryptography and believed by OpenSSL; and the judgement on any pair."""

import base64
import calendar
import datetime
import ipaddress
import os
import random
import sys
import time
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from catcher_install import host as host_module
from catcher_install import paths
from catcher_install.cert import certificate, host_names
from catcher_install.errors import CatcherError, MissingDependency

from .. import pem
from ..host_names import NAMES, names_of, names_to_verify

NOW = calendar.timegm((2026, 11, 23, 12, 30, 45))
DAY = 24 * 3600

MADE: dict = {}


def made(machine, maker, name):
    """A pair for one of NAMES, made once by one of the two makers at NOW; (key, certificate), PEM."""
    if (maker, name) not in MADE:
        machine.time = NOW if maker == "cryptography" else None
        MADE[maker, name] = certificate.generate(machine, names_of(name))
    return MADE[maker, name]


@pytest.fixture(params=["cryptography", "openssl"])
def maker(request):
    if request.param == "openssl":
        request.getfixturevalue("with_openssl")
    return request.param


every_name = pytest.mark.parametrize("name", sorted(NAMES))


def read(certificate_pem):
    return x509.load_pem_x509_certificate(certificate_pem, default_backend())


def validity_of(one):
    """(first, last) moment of a certificate, naive UTC."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(one, "not_valid_before_utc"):
            return one.not_valid_before_utc.replace(tzinfo=None), one.not_valid_after_utc.replace(tzinfo=None)
        return one.not_valid_before, one.not_valid_after


def alternatives_of(one):
    try:
        return one.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


@every_name
def test_contents(machine, maker, name):
    key_pem, certificate_pem = made(machine, maker, name)
    short, full, addresses = NAMES[name]
    one = read(certificate_pem)

    assert key_pem.startswith(b"-----BEGIN PRIVATE KEY-----\n") and key_pem.endswith(b"-----END PRIVATE KEY-----\n")
    assert certificate_pem.startswith(b"-----BEGIN CERTIFICATE-----\n")
    key = pem.load(key_pem)
    assert isinstance(key.curve, ec.SECP521R1)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert one.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)

    assert one.version == x509.Version.v3
    assert isinstance(one.signature_hash_algorithm, hashes.SHA512)
    assert one.issuer == one.subject
    common, = one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert len(list(one.subject)) == 1
    assert common.value == (full if len(full.encode("utf-8")) <= 64 else short)
    assert 0 < one.serial_number < 2 ** 128

    basic = one.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS)
    assert basic.critical and not basic.value.ca
    usage = one.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE)
    assert usage.critical and usage.value.digital_signature
    assert not (usage.value.key_cert_sign or usage.value.crl_sign or usage.value.key_encipherment)
    extended = one.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE)
    assert list(extended.value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    subject_id = one.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_KEY_IDENTIFIER).value.digest
    issuer_id = one.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_KEY_IDENTIFIER).value.key_identifier
    assert subject_id == issuer_id
    assert len(list(one.extensions)) == (6 if list(alternatives_of(one)) else 5)

    # Short name, full name, then the addresses in the order they were given.
    seen = [str(item.value) for item in alternatives_of(one)]
    dns = seen[:len(seen) - len(addresses)]
    assert seen[len(dns):] == [str(ipaddress.ip_address(address)) for address in addresses]
    if all(ord(c) < 128 for c in full):
        assert dns == ([short] if short == full else [short, full])
    elif name == "UTF-8":
        assert dns == ["xn--hst-sna", "xn--hst-sna.example.com"]
    for item in dns:
        assert all(32 < ord(c) < 127 for c in item)


def test_validity_is_ten_years_from_one_day_ago(machine):
    first, last = validity_of(read(made(machine, "cryptography", "short and full")[1]))
    assert first == datetime.datetime(2026, 11, 22, 12, 30, 45)
    assert last == datetime.datetime(2036, 11, 22, 12, 30, 45)


def test_validity_where_openssl_makes_it(with_openssl):
    """req(1) cannot date back: from now, to ten years from one day ago."""
    first, last = validity_of(read(made(with_openssl, "openssl", "short and full")[1]))
    today = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=time.time())
    assert abs((today - first).total_seconds()) < 600
    assert 3650 <= (last - first).days <= 3652


@pytest.mark.parametrize("now,first,last", [
    ((2024, 3, 1, 10, 0, 0), (2024, 2, 29, 10, 0, 0), (2034, 2, 28, 10, 0, 0)),
    ((2024, 2, 29, 10, 0, 0), (2024, 2, 28, 10, 0, 0), (2034, 2, 28, 10, 0, 0)),
    ((2023, 3, 1, 0, 0, 0), (2023, 2, 28, 0, 0, 0), (2033, 2, 28, 0, 0, 0)),
    ((2026, 1, 1, 0, 0, 0), (2025, 12, 31, 0, 0, 0), (2035, 12, 31, 0, 0, 0)),
    # Ten years on UTCTime has ended and GeneralizedTime begun (RFC 5280, 4.1.2.5).
    ((2045, 6, 2, 1, 2, 3), (2045, 6, 1, 1, 2, 3), (2055, 6, 1, 1, 2, 3)),
])
def test_validity_on_odd_days(machine, now, first, last):
    machine.time = calendar.timegm(now) + 0.75
    made_now = read(certificate.generate(machine, names_of("short only"))[1])
    assert validity_of(made_now) == (datetime.datetime(*first), datetime.datetime(*last))


def test_serials_are_random_and_of_128_bits():
    serials = [certificate.serial_number() for _ in range(64)]
    assert len(set(serials)) == 64
    assert 120 < max(number.bit_length() for number in serials) <= 128
    assert min(serials) > 0


def test_two_machines_have_two_keys(machine):
    assert certificate.generate(machine, names_of("short only"))[0] != made(machine, "cryptography", "short only")[0]


@every_name
def test_both_makers_agree(machine, with_openssl, monkeypatch, name):
    ours = made(machine, "openssl", name)[1]
    monkeypatch.undo()
    theirs = made(machine, "cryptography", name)[1]
    one, other = read(ours), read(theirs)
    assert one.subject == other.subject
    assert list(alternatives_of(one)) == list(alternatives_of(other))
    assert [(item.oid, item.critical) for item in sorted(one.extensions, key=lambda item: item.oid.dotted_string)] == [
        (item.oid, item.critical) for item in sorted(other.extensions, key=lambda item: item.oid.dotted_string)]
    assert certificate.check(*made(machine, "openssl", name)).algorithm == "EC secp521r1"


@pytest.mark.parametrize("node", ["h\udcc3\udcb6st.example.com", "h\udcffst"], ids=["UTF-8", "not UTF-8"])
def test_a_name_that_python_could_not_decode(machine, monkeypatch, node):
    """What os.uname() gives under Python 3.6 in the C locale (an RPM scriptlet's), or of bytes that are no text."""

    class Uname:
        nodename = node

        def __getattr__(self, name):
            return getattr(os, name)

        def uname(self):
            return self

    with monkeypatch.context() as patched:
        patched.setattr(host_module, "os", Uname())
        machine.node = host_module.Host.node_name(machine)
    machine.programs["/usr/bin/getent"] = (2, b"")
    key_pem, certificate_pem = certificate.generate(machine, host_names.collect(machine))
    assert certificate.check(key_pem, certificate_pem).problem == ""


def test_the_key_never_is_in_a_file_while_openssl_works(with_openssl):
    run = with_openssl.programs[paths.OPENSSL]
    seen = []

    def watched(argv, stdin):
        for directory, _, files in os.walk(with_openssl.on_disk(paths.BIN)):
            for one in files:
                with open(os.path.join(directory, one), "rb") as stream:
                    seen.append(one)
                    assert b"PRIVATE KEY" not in stream.read()
        assert not any("PRIVATE" in word for word in argv)
        return run(argv, stdin)

    with_openssl.programs[paths.OPENSSL] = watched
    certificate.generate(with_openssl, names_of("short only"))
    assert "openssl.cnf" in seen
    assert with_openssl.names(paths.BIN) == ["catcher.exe"]


@pytest.mark.parametrize("answer", [
    FileNotFoundError(2, "No such file or directory"), TimeoutError(110, "no answer"), (1, b"unable to load"), (0, b""),
])
def test_neither_cryptography_nor_openssl(with_openssl, answer):
    with_openssl.programs[paths.OPENSSL] = answer
    with pytest.raises(CatcherError) as raised:
        certificate.generate(with_openssl, names_of("short only"))
    assert raised.value.hint == "install python3-cryptography"
    assert "\n" not in raised.value.message
    assert with_openssl.names(paths.BIN) == ["catcher.exe"]


def test_a_certificate_that_openssl_refuses_leaves_nothing(with_openssl):
    run = with_openssl.programs[paths.OPENSSL]
    with_openssl.programs[paths.OPENSSL] = lambda argv, stdin: (1, b"error") if argv[1] == "req" else run(argv, stdin)
    with pytest.raises(CatcherError):
        certificate.generate(with_openssl, names_of("short only"))
    assert with_openssl.names(paths.BIN) == ["catcher.exe"]


def test_a_broken_cryptography_is_a_missing_one(monkeypatch):
    for broken in (None, object()):
        monkeypatch.setitem(sys.modules, "cryptography", broken)
        with pytest.raises(MissingDependency) as raised:
            certificate.check(b"", b"")
        assert raised.value.hint == "install python3-cryptography"


@pytest.mark.parametrize("error", [ImportError("no module"), AttributeError("no attribute"), OSError(5, "I/O error")])
@pytest.mark.parametrize("loader", ["load_pem_x509_certificate", "load_pem_private_key"])
def test_a_part_of_cryptography_that_is_not_to_be_had_is_not_the_pairs_fault(monkeypatch, loader, error):
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    key = pem.key_of("prime256v1")
    crt = pem.certificate_for(key)

    def broken(*arguments):
        raise error

    monkeypatch.setattr(serialization if loader == "load_pem_private_key" else x509, loader, broken)
    with pytest.raises(MissingDependency):
        certificate.check(key, crt)


# -- a real verifier ---------------------------------------------------------------------------------------------------

def verifies(directory, certificate_pem, arguments):
    path = str(directory / "catcher.crt")
    with open(path, "wb") as stream:
        stream.write(certificate_pem)
    output = pem.openssl(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", path] + arguments + [path])
    return output.strip().endswith(b": OK")


@pytest.fixture
def current(machine, maker, request):
    """A maker whose certificates are valid today."""
    machine.time = None
    return lambda name: certificate.generate(machine, names_of(name))


@every_name
def test_openssl_verifies_by_each_name_and_address(machine, current, tmp_path, name):
    _, certificate_pem = current(name)
    for one in names_to_verify(name):
        assert verifies(tmp_path, certificate_pem, ["-verify_hostname", one])
    for address in NAMES[name][2][:4]:
        assert verifies(tmp_path, certificate_pem, ["-verify_ip", address])
    with pytest.raises(AssertionError):
        verifies(tmp_path, certificate_pem, ["-verify_hostname", "another.example.com"])
    with pytest.raises(AssertionError):
        verifies(tmp_path, certificate_pem, ["-verify_ip", "203.0.113.99"])


# -- judging a pair ----------------------------------------------------------------------------------------------------

STORE: dict = {}


def pair_of(kind):
    """(key, certificate) of a kind of key, made once."""
    if kind not in STORE:
        key = pem.key_of(kind)
        STORE[kind] = key, pem.certificate_for(key)
    return STORE[kind]


GOOD = {
    "prime256v1": ("EC secp256r1", 0),
    "secp384r1": ("EC secp384r1", 0),
    "secp521r1": ("EC secp521r1", 0),
    "rsa-1024": ("RSA 1024", 1024),
    "rsa-2048": ("RSA 2048", 2048),
    "rsa-4096": ("RSA 4096", 4096),
}


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_supported_keys(kind):
    verdict = certificate.check(*pair_of(kind))
    assert (verdict.problem, verdict.algorithm, verdict.rsa_bits) == ("",) + GOOD[kind]


BAD = {
    "secp256k1": "catcher.key is an EC key on secp256k1, which the catcher does not support",
    "secp224r1": "catcher.key is an EC key on secp224r1, which the catcher does not support",
    "brainpoolP256r1": "catcher.key is an EC key on brainpoolP256r1, which the catcher does not support",
    "ed25519": "catcher.key is a",
    "ed448": "catcher.key is a",
    "dsa-1024": "catcher.key",
    "rsa-512": "catcher.key",
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_unsupported_keys(kind):
    verdict = certificate.check(*pair_of(kind))
    assert verdict.problem.startswith(BAD[kind])
    assert len(verdict.problem) < 120


def with_crlf(data):
    return data.replace(b"\n", b"\r\n")


FORMS = {
    "PKCS#1": lambda: (pem.traditional(pair_of("rsa-2048")[0]), pair_of("rsa-2048")[1]),
    "SEC1": lambda: (pem.traditional(pair_of("prime256v1")[0]), pair_of("prime256v1")[1]),
    "SEC1 behind its parameters": lambda: (
        pem.openssl(["ecparam", "-name", "prime256v1"]) + pem.traditional(pair_of("prime256v1")[0]),
        pair_of("prime256v1")[1]),
    "CRLF": lambda: tuple(map(with_crlf, pair_of("prime256v1"))),
    "no final newline": lambda: tuple(one.rstrip(b"\n") for one in pair_of("prime256v1")),
    "blank lines and blanks behind": lambda: tuple(b"\n \n" + one.replace(b"\n", b" \n") + b"\n\n" for one in
                                                   pair_of("prime256v1")),
    "text before": lambda: tuple(b"Bag Attributes\n    friendlyName: tke1\n" + one for one in pair_of("prime256v1")),
    "a chain": lambda: (pair_of("prime256v1")[0], pair_of("prime256v1")[1] + pair_of("rsa-2048")[1]),
    "key and certificate in one file": lambda: (b"".join(pair_of("prime256v1")), b"".join(pair_of("prime256v1"))),
    "certificate before the key": lambda: (b"".join(reversed(pair_of("prime256v1"))), pair_of("prime256v1")[1]),
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_forms_of_a_good_pair(form):
    assert certificate.check(*FORMS[form]()).problem == ""


def halved(data):
    return data[:len(data) // 2]


def scrambled(data):
    lines = data.split(b"\n")
    lines[2] = lines[2][::-1]
    return b"\n".join(lines)


def other_key():
    return pem.key_of("prime256v1")


KEY = "prime256v1"
UNUSABLE = {
    "key empty": (lambda k, c: (b"", c), "catcher.key is empty"),
    "key blank": (lambda k, c: (b" \r\n\n", c), "catcher.key is empty"),
    "certificate empty": (lambda k, c: (k, b""), "catcher.crt is empty"),
    "both empty": (lambda k, c: (b"", b""), "catcher.key is empty"),
    "key truncated": (lambda k, c: (halved(k), c), "catcher.key is truncated"),
    "certificate truncated": (lambda k, c: (k, halved(c)), "catcher.crt is truncated"),
    "key not PEM": (lambda k, c: (b"0\x82\x01\x02garbage", c), "catcher.key is not PEM"),
    "certificate not PEM": (lambda k, c: (k, b"\0" * 1000), "catcher.crt is not PEM"),
    "files swapped": (lambda k, c: (c, k), "catcher.key holds no private key"),
    "certificate twice": (lambda k, c: (c, c), "catcher.key holds no private key"),
    "key twice": (lambda k, c: (k, k), "catcher.crt holds no certificate"),
    "public key": (lambda k, c: (pem.openssl(["pkey", "-pubout"], k), c), "catcher.key holds no private key"),
    "a request": (lambda k, c: (k, b"-----BEGIN CERTIFICATE REQUEST-----\nAA\n-----END CERTIFICATE REQUEST-----\n"),
                  "catcher.crt holds no certificate"),
    "key scrambled": (lambda k, c: (scrambled(k), c), "catcher.key cannot be read as a private key"),
    "certificate scrambled": (lambda k, c: (k, scrambled(c)), "catcher.crt cannot be read as a certificate"),
    "key of another pair": (lambda k, c: (other_key(), c), "catcher.crt does not belong to catcher.key"),
    "key of another kind": (lambda k, c: (pem.key_of("rsa-2048"), c), "catcher.crt does not belong to catcher.key"),
    "chain in the wrong order": (lambda k, c: (k, pair_of("rsa-2048")[1] + c),
                                 "catcher.crt does not belong to catcher.key"),
    "key encrypted, PKCS#8": (lambda k, c: (pem.encrypted(k, b"secret"), c),
                              "catcher.key is encrypted, and a service cannot ask for its pass phrase"),
    "key encrypted, SEC1": (lambda k, c: (pem.traditional(k, b"secret"), c),
                            "catcher.key is encrypted, and a service cannot ask for its pass phrase"),
}


@pytest.mark.parametrize("name", sorted(UNUSABLE))
def test_what_cannot_be_used(name):
    change, problem = UNUSABLE[name]
    verdict = certificate.check(*change(*pair_of(KEY)))
    assert verdict.problem.startswith(problem)
    assert "\n" not in verdict.problem and len(verdict.problem) < 120
    assert (verdict.algorithm, verdict.rsa_bits, verdict.not_before, verdict.not_after) == ("", 0, 0, 0)


@pytest.mark.parametrize("first,last", [
    ((1999, 1, 1), (2001, 1, 1)), ((2040, 1, 1), (2060, 6, 1)), ((2020, 2, 29), (9999, 12, 31)),
    ((1950, 1, 1), (2049, 1, 1)),
])
def test_validity_in_time_is_reported_and_not_judged(first, last):
    key = pair_of(KEY)[0]
    first, last = datetime.datetime(*first), datetime.datetime(*last)
    verdict = certificate.check(key, pem.dated(key, first, last))
    assert verdict.problem == ""
    assert (verdict.not_before, verdict.not_after) == (pem.seconds(first), pem.seconds(last))


def der(tag, content):
    size = len(content)
    head = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + head + content


def enormous_rsa_key(bits):
    """A PKCS#1 key of random numbers that a reader may be tempted to check for primality."""
    numbers = random.Random(50003)
    half = bits // 2
    p, q = (numbers.getrandbits(half) | 1 | 1 << (half - 1) for _ in range(2))
    d = numbers.getrandbits(bits - 1) | 1
    values = (0, p * q, 65537, d, p, q, d % (p - 1), d % (q - 1), numbers.getrandbits(half - 1) | 1)
    body = b"".join(der(2, value.to_bytes(value.bit_length() // 8 + 1, "big")) for value in values)
    text = base64.encodebytes(der(0x30, body))
    return b"-----BEGIN RSA PRIVATE KEY-----\n" + text + b"-----END RSA PRIVATE KEY-----\n"


@pytest.mark.parametrize("data", [
    enormous_rsa_key(36000),
    b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 200000 + b"\n-----END PRIVATE KEY-----\n",
    b"-----BEGIN PRIVATE KEY-----\n" * 5000 + b"-----END PRIVATE KEY-----\n",
    b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
    b"-----BEGIN PRIVATE KEY-----\xff\xfe-----END PRIVATE KEY-----\n",
    b"-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----\n",
    b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END OPENSSH PRIVATE KEY-----\n",
    b"-----END PRIVATE KEY-----\n-----BEGIN PRIVATE KEY-----\n",
], ids=["RSA of 36000 bits", "200 KB", "5000 beginnings", "nothing inside", "one line", "SEC1 of 2 bytes", "OpenSSH",
        "the wrong way round"])
def test_hostile_keys_cost_little(data):
    started = time.process_time()
    assert certificate.check(data, pair_of(KEY)[1]).problem
    assert time.process_time() - started < 1


def test_a_key_that_is_too_large_is_refused_before_its_primes_are_checked():
    """Which takes seconds of each start with a recent OpenSSL."""
    key, crt = pair_of("rsa-8192")
    started = time.process_time()
    problem = certificate.check(key, crt).problem
    assert problem == "catcher.key is an RSA key of 8192 bits; supported are 1024 to 4096"
    assert time.process_time() - started < 0.5
