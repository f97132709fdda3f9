"""A key and a certificate, written to two files in the current directory, and nothing else."""

import datetime
import os
import socket

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

host = socket.gethostname()
name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
now = datetime.datetime.now(datetime.timezone.utc)  # datetime.UTC is from 3.11
key = ec.generate_private_key(ec.SECP521R1())
certificate = (
    x509.CertificateBuilder()
    .subject_name(name)
    .issuer_name(name)
    .public_key(key.public_key())
    .serial_number(x509.random_serial_number())
    .not_valid_before(now)
    .not_valid_after(now + datetime.timedelta(days=3650))
    .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    .sign(key, hashes.SHA512())
)
with open(os.open("bare.key", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
    pkcs8 = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.write(key.private_bytes(*pkcs8))
with open("bare.crt", "wb") as file:
    file.write(certificate.public_bytes(serialization.Encoding.PEM))
