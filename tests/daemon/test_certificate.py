"""Reading the public key of a certificate."""

import random

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from reference_catcher.certificate import public_key

from .pairs import pair


def test_a_damaged_certificate_is_read_within_bounds():
    der = x509.load_pem_x509_certificate(pair("RSA 2048")[1]).public_bytes(serialization.Encoding.DER)
    assert public_key(der) == ("RSA", 2048)
    generator = random.Random(1)
    for _ in range(3000):
        damaged = bytearray(der[:generator.randrange(len(der) + 1)] if generator.random() < 0.3 else der)
        for _ in range(generator.randrange(4)):
            if damaged:
                damaged[generator.randrange(min(len(damaged), 400))] = generator.randrange(256)
        try:
            public_key(bytes(damaged))
        except ValueError:
            continue    # the only exception it may raise
