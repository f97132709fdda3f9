"""Keys and certificates for tests, made with the machine's openssl (fast kinds) or read from data/ (slow ones)."""

import datetime
import functools
import os

from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import serialization

from .support import real_openssl

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data")


def openssl(arguments, stdin=b""):
    """Output of a run of the real openssl that succeeds."""
    status, output = real_openssl(arguments, stdin)
    assert status == 0, arguments
    return output


def key_of(kind):
    """A private key, PKCS#8 PEM. kind: rsa-BITS, dsa-1024 (some are in data/), an EC curve's name, or an algorithm."""
    stored = os.path.join(DATA, kind + ".key")
    if os.path.exists(stored):
        with open(stored, "rb") as stream:
            return stream.read()
    if kind in ("ed25519", "ed448", "x25519"):
        return openssl(["genpkey", "-algorithm", kind])
    if kind == "rsa-pss":
        return openssl(["genpkey", "-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:2048"])
    if kind.startswith("rsa-"):
        return openssl(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:" + kind[len("rsa-"):]])
    return openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + kind,
                    "-pkeyopt", "ec_param_enc:named_curve"])


def certificate_for(key, digest="-sha256"):
    """A self-signed certificate for any key that openssl knows, PEM."""
    return openssl(["req", "-new", "-x509", "-key", "/dev/stdin", digest, "-days", "30", "-config",
                    os.path.join(DATA, "req.cnf")], key)


@functools.lru_cache(maxsize=None)
def load(key):
    """A PEM key as cryptography's object, checked once: of RSA 4096 that takes a quarter of a second."""
    return serialization.load_pem_private_key(key, None, default_backend())


def traditional(key, password=None):
    """A key in PKCS#1 (RSA) or SEC1 (EC) PEM, encrypted where a password is given."""
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return load(key).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, how)


def encrypted(key, password):
    """A key in encrypted PKCS#8 PEM."""
    return load(key).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password))


def seconds(moment):
    """A naive UTC datetime in seconds since the epoch."""
    return int((moment - datetime.datetime(1970, 1, 1)).total_seconds())
