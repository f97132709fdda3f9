"""Key pairs for the catcher, of every kind."""

import datetime
import functools
import ipaddress
import random
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa


def certificate(public_key, signer, name="localhost", issuer="localhost"):
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    algorithm = None if isinstance(signer, (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)) else hashes.SHA256()
    return x509.CertificateBuilder(
        subject_name=subject, issuer_name=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]),
        public_key=public_key, serial_number=x509.random_serial_number(), not_valid_before=now,
        not_valid_after=now + datetime.timedelta(days=1),
    ).add_extension(x509.SubjectAlternativeName([
        x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1"))]), critical=False).sign(signer, algorithm)


def key_pem(key, form=serialization.PrivateFormat.PKCS8, encryption=None):
    return key.private_bytes(serialization.Encoding.PEM, form, encryption or serialization.NoEncryption())


def crt_pem(crt):
    return crt.public_bytes(serialization.Encoding.PEM)


@functools.lru_cache(None)
def private_key(kind):
    if kind.startswith("RSA"):
        return rsa.generate_private_key(65537, int(kind.split()[1]))
    if kind.startswith("DSA"):
        return dsa.generate_private_key(1024)
    if kind in ("Ed25519", "Ed448"):
        return (ed25519.Ed25519PrivateKey if kind == "Ed25519" else ed448.Ed448PrivateKey).generate()
    return ec.generate_private_key({
        "prime256v1": ec.SECP256R1(), "secp384r1": ec.SECP384R1(), "secp521r1": ec.SECP521R1(),
        "secp256k1": ec.SECP256K1(), "secp224r1": ec.SECP224R1()}[kind])


@functools.lru_cache(None)
def pair(kind="prime256v1"):
    """(key, certificate) in PEM, of a key of KIND."""
    key = private_key(kind)
    return key_pem(key), crt_pem(certificate(key.public_key(), key))


def rsa_of_any_size(bits):
    """A certificate for an RSA public key of BITS bits that nobody has the private key of: made at once."""
    modulus = (1 << bits - 1) | random.getrandbits(bits - 1) | 1
    return crt_pem(certificate(rsa.RSAPublicNumbers(65537, modulus).public_key(), private_key("prime256v1")))


def openssl(*arguments, **options):
    return subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=20, **options).stdout
