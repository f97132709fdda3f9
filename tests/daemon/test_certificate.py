"""Reading the public key of a certificate."""

import random

from reference_catcher.certificate import public_key

from tests.unit.authority import der

from .pairs import pair


def test_a_damaged_certificate_is_read_within_bounds():
    whole = der(pair("RSA 2048")[1])
    assert public_key(whole) == ("RSA", 2048)
    generator = random.Random(1)
    for _ in range(3000):
        damaged = bytearray(whole[:generator.randrange(len(whole) + 1)] if generator.random() < 0.3 else whole)
        for _ in range(generator.randrange(4)):
            if damaged:
                damaged[generator.randrange(min(len(damaged), 400))] = generator.randrange(256)
        try:
            public_key(bytes(damaged))
        except ValueError:
            continue    # the only exception it may raise
