"""The judgement on the bytes of a pair."""

import base64
import datetime
import random
import time

import pytest

from catcher_install.cert import check

from .. import authority, pem
from ..support import Asked

STORE: dict = {}


def pair_of(kind):
    """(key, certificate) of a kind of key, made once."""
    if kind not in STORE:
        key = pem.key_of(kind)
        STORE[kind] = key, pem.certificate_for(key)
    return STORE[kind]


# {key: size of an RSA key in bits}
GOOD = {"prime256v1": 0, "secp384r1": 0, "secp521r1": 0, "rsa-1024": 1024, "rsa-2048": 2048, "rsa-4096": 4096}


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_supported_keys_have_no_problem(kind):
    verdict = check.check(Asked(), *pair_of(kind))
    assert (verdict.problem, verdict.rsa_bits) == ("", GOOD[kind])


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
def test_unsupported_keys_are_refused_with_the_reason(kind):
    verdict = check.check(Asked(), *pair_of(kind))
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
    "text of that kind": lambda: (b"friendlyName: UNENCRYPTED\n" + pair_of("prime256v1")[0], pair_of("prime256v1")[1]),
    "text with a certificate's first line in it": lambda: (
        pair_of("prime256v1")[0], b"It begins with -----BEGIN CERTIFICATE-----\n" + pair_of("prime256v1")[1]),
    "text with an encrypted key's first line in it": lambda: (
        b"It was -----BEGIN ENCRYPTED PRIVATE KEY-----\n" + pair_of("prime256v1")[0], pair_of("prime256v1")[1]),
    "an encrypted key behind it": lambda: (
        pair_of("prime256v1")[0] + pem.encrypted(pair_of("prime256v1")[0], b"x"), pair_of("prime256v1")[1]),
    "the old name of a certificate": lambda: (
        pair_of("prime256v1")[0], pair_of("prime256v1")[1].replace(b" CERTIFICATE-", b" X509 CERTIFICATE-")),
    "a chain": lambda: (pair_of("prime256v1")[0], pair_of("prime256v1")[1] + pair_of("rsa-2048")[1]),
    "key and certificate in one file": lambda: (b"".join(pair_of("prime256v1")), b"".join(pair_of("prime256v1"))),
    "certificate before the key": lambda: (b"".join(reversed(pair_of("prime256v1"))), pair_of("prime256v1")[1]),
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_each_form_of_a_good_pair_has_no_problem(form):
    assert check.check(Asked(), *FORMS[form]()).problem == ""


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
    verdict = check.check(Asked(), *change(*pair_of(KEY)))
    assert verdict.problem.startswith(problem)
    assert "\n" not in verdict.problem and len(verdict.problem) < 120
    assert (verdict.rsa_bits, verdict.not_before, verdict.not_after) == (0, 0, 0)


@pytest.mark.parametrize("first,last", [
    ((1999, 1, 1), (2001, 1, 1)), ((2040, 1, 1), (2060, 6, 1)), ((2020, 2, 29), (9999, 12, 31)),
    ((1950, 1, 1), (2049, 1, 1)),
])
def test_validity_in_time_is_reported_and_not_judged(first, last):
    key = pair_of(KEY)[0]
    first, last = datetime.datetime(*first), datetime.datetime(*last)
    verdict = check.check(Asked(), key, authority.issue(key, first=first, last=last))
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
    assert check.check(Asked(), data, pair_of(KEY)[1]).problem
    assert time.process_time() - started < 1


def test_a_key_that_is_too_large_is_refused_before_its_primes_are_checked():
    """With a recent OpenSSL, that check would add seconds to each start."""
    key, crt = pair_of("rsa-8192")
    started = time.process_time()
    problem = check.check(Asked(), key, crt).problem
    assert problem == "catcher.key is an RSA key of 8192 bits; supported are 1024 to 4096"
    assert time.process_time() - started < 0.5
