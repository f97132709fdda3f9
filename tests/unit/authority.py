"""Certificates of any kind for tests: self-signed, or by a CA with its own CA above it."""

import datetime
import ipaddress
import time

from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from . import pem

SERVER = [ExtendedKeyUsageOID.SERVER_AUTH]
CLIENT = [ExtendedKeyUsageOID.CLIENT_AUTH]
DAY = 24 * 3600


def name_of(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def issue(key, common_name="tke1.example.com", dns=("tke1.example.com",), addresses=(), issuer=None, ca=None,
          usage=None, first=-DAY, last=90 * DAY, constraints=True):
    """A certificate, PEM.

    key: PEM of its own key. issuer: (PEM key, common name) of its signer, None: itself. ca: basicConstraints, if any.
    usage: extended key usage. first, last: validity, seconds from now.
    """
    own = pem.load(key)
    signer = own if issuer is None else pem.load(issuer[0])
    now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(time.time()))
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(common_name))
        .issuer_name(name_of(common_name if issuer is None else issuer[1]))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(seconds=first))
        .not_valid_after(now + datetime.timedelta(seconds=last))
    )
    names = [x509.DNSName(one) for one in dns] + [x509.IPAddress(ipaddress.ip_address(one)) for one in addresses]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if usage is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
    built = builder.sign(signer, hashes.SHA256(), default_backend())
    return built.public_bytes(serialization.Encoding.PEM)


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
        now = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(time.time()))
        builder = (
            x509.CertificateBuilder().subject_name(asked.subject).issuer_name(name_of("Test CA"))
            .public_key(asked.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=90))
        )
        for extension in asked.extensions:
            builder = builder.add_extension(extension.value, extension.critical)
        built = builder.sign(pem.load(self.key), hashes.SHA256(), default_backend())
        return built.public_bytes(serialization.Encoding.PEM)


def der(certificate):
    """A certificate's DER."""
    return x509.load_pem_x509_certificate(certificate, default_backend()).public_bytes(serialization.Encoding.DER)


def key_der(key):
    """A key's DER, PKCS#8."""
    return pem.load(key).private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
