"""Certificates of any kind for tests: self-signed, or by a CA with its own CA above it."""

import datetime
import hashlib
import ipaddress
import ssl
import time

from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import pem

SERVER = [ExtendedKeyUsageOID.SERVER_AUTH]
CLIENT = [ExtendedKeyUsageOID.CLIENT_AUTH]
# For each digest that cryptography no longer signs with: the byte that replaces the last byte of
# sha256WithRSAEncryption, and the bytes before the digest in an RSA signature (RFC 8017, 9.2).
OLD_DIGESTS = {
    "md5": (4, bytes.fromhex("3020300c06082a864886f70d020505000410")),
    "sha1": (5, bytes.fromhex("3021300906052b0e03021a05000414")),
}
RSA_SHA256 = bytes.fromhex("06092a864886f70d01010b")
DAY = 24 * 3600


def named(name):
    """A subject: a common name as text, or an x509.Name as it is."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) if isinstance(name, str) else name


def moment(when):
    """A naive UTC datetime: seconds from now, or a datetime as it is."""
    if isinstance(when, datetime.datetime):
        return when
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(time.time()) + when)


def alternatives(dns=(), addresses=()):
    """What a subjectAltName holds: host names, then IP addresses."""
    return [x509.DNSName(name) for name in dns] + [x509.IPAddress(ipaddress.ip_address(text)) for text in addresses]


def build(key, subject, signer=None, issuer=None, names=(), extensions=(), first=-DAY, last=90 * DAY,
          digest=hashes.SHA256):
    """The certificate of a public key, signed: cryptography's object.

    key, signer: a private key as PEM or cryptography's object, or for *key* a public one; signer None: key itself.
    subject, issuer: a common name or an x509.Name; issuer None: the subject. names: of the subjectAltName.
    extensions: (value, critical). first, last: validity, see moment(). digest: None for a key that has its own.
    """
    own, signs = (pem.load(one) if isinstance(one, bytes) else one for one in (key, key if signer is None else signer))
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(subject if issuer is None else issuer))
        .public_key(own.public_key() if hasattr(own, "public_key") else own)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment(first))
        .not_valid_after(moment(last))
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(list(names)), critical=False)
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    if digest is not None and digest.name in OLD_DIGESTS:
        return signed_anew(builder.sign(signs, hashes.SHA256(), default_backend()), signs, digest.name)
    return builder.sign(signs, digest and digest(), default_backend())


def signed_anew(built, signer, digest):
    """The same certificate with a signature of an RSA key over an old digest ("md5" or "sha1")."""
    byte, prefix = OLD_DIGESTS[digest]
    size = signer.key_size // 8
    signed = built.tbs_certificate_bytes.replace(RSA_SHA256, RSA_SHA256[:-1] + bytes([byte]))
    block = prefix + hashlib.new(digest, signed).digest()
    block = b"\0\1" + b"\xff" * (size - len(block) - 3) + b"\0" + block
    numbers = signer.private_numbers()
    signature = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n).to_bytes(size, "big")
    whole = built.public_bytes(serialization.Encoding.DER)
    return x509.load_der_x509_certificate(
        whole.replace(built.tbs_certificate_bytes, signed).replace(RSA_SHA256, RSA_SHA256[:-1] + bytes([byte]))[:-size]
        + signature, default_backend())


def with_exponent_1(certificate):
    """The certificate (PEM) of an RSA key with the public exponent 3, with the exponent 1; its signature is void."""
    whole = der(certificate)
    key = x509.load_pem_x509_certificate(certificate, default_backend()).public_key()
    before = key.public_numbers().n.to_bytes(key.key_size // 8, "big") + b"\2\1"
    assert whole.count(before + b"\3") == 1
    return ssl.DER_cert_to_PEM_cert(whole.replace(before + b"\3", before + b"\1")).encode("ascii")


def pem_of(built):
    """A certificate's PEM."""
    return built.public_bytes(serialization.Encoding.PEM)


def key_usage(*allowed):
    """A keyUsage that allows only what is named."""
    flags = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(**{flag: flag in allowed for flag in flags})


def issue(key, common_name="tke1.example.com", dns=("tke1.example.com",), addresses=(), issuer=None, ca=None,
          usage=None, first=-DAY, last=90 * DAY):
    """A certificate, PEM.

    key: PEM of its own key. issuer: (PEM key, common name) of its signer, None: itself. ca: basicConstraints, if any.
    usage: extended key usage. first, last: validity, see moment().
    """
    extensions = [] if ca is None else [(x509.BasicConstraints(ca=ca, path_length=None), True)]
    if usage is not None:
        extensions.append((x509.ExtendedKeyUsage(usage), False))
    signer, above = issuer or (None, None)
    return pem_of(build(key, common_name, signer, above, alternatives(dns, addresses), extensions, first, last))


class Authority:
    """A root CA and one below it."""

    def __init__(self, kind="prime256v1"):
        self.root_key = pem.key_of(kind)
        self.key = pem.key_of(kind)
        self.root = issue(self.root_key, "Test Root", (), ca=True)
        self.certificate = issue(self.key, "Test CA", (), issuer=(self.root_key, "Test Root"), ca=True)

    def issue(self, key, **more):
        """A server's certificate by the lower CA."""
        return issue(key, issuer=(self.key, "Test CA"), ca=False, usage=SERVER, **more)

    def sign(self, request):
        """A certificate for a request (PEM), with the names that it asks for."""
        asked = x509.load_pem_x509_csr(request, default_backend())
        assert asked.is_signature_valid
        extensions = [(extension.value, extension.critical) for extension in asked.extensions]
        return pem_of(build(asked.public_key(), asked.subject, self.key, "Test CA", extensions=extensions))


def der(certificate):
    """A certificate's DER."""
    return x509.load_pem_x509_certificate(certificate, default_backend()).public_bytes(serialization.Encoding.DER)


def key_der(key):
    """A key's DER, PKCS#8."""
    return pem.load(key).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
