"""Key pairs for the catcher, of every kind."""

import functools
import random

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.unit import authority, pem

NAMES = authority.alternatives(["localhost"], ["127.0.0.1", "::1"])
# Their signature algorithm includes the digest.
EDWARDS = ("Ed25519", "Ed448")


@functools.cache
def key_of(kind):
    """A private key, PEM. kind: as the catcher names it, for example RSA 2048."""
    return pem.key_of("dsa-1024" if kind == "DSA" else kind.lower().replace(" ", "-"))


def certificate(key, digest=hashes.SHA256, **more):
    """A certificate for this computer, PEM; more: see authority.build()."""
    return authority.pem_of(authority.build(key, more.pop("name", "localhost"), names=NAMES, digest=digest, **more))


@functools.cache
def pair(kind="prime256v1"):
    """(key, certificate) in PEM. KIND: of the key."""
    key = key_of(kind)
    return key, certificate(key, None if kind in EDWARDS else hashes.SHA256)


def rsa_of_any_size(bits, exponent=65537):
    """A certificate for an RSA public key of BITS bits without a private key, so that it is made at once."""
    modulus = (1 << bits - 1) | random.getrandbits(bits - 1) | 1
    return certificate(rsa.RSAPublicNumbers(exponent, modulus).public_key(), signer=key_of("prime256v1"))
