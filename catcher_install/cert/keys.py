"""The keys that a catcher supports: the one table of curves, sizes and limits (vendor text, "Supported keys")."""

from ..record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Tuple, Union

# (name as the vendor and OpenSSL write it, name in SEC 2 and in cryptography, object identifier)
CURVES = (
    ("prime256v1", "secp256r1", "1.2.840.10045.3.1.7"),
    ("secp384r1", "secp384r1", "1.3.132.0.34"),
    ("secp521r1", "secp521r1", "1.3.132.0.35"),
)
# Other curves, so that a message can name them.
OTHER_CURVES = {
    "1.3.132.0.10": "secp256k1", "1.3.132.0.33": "secp224r1", "1.2.840.10045.3.1.1": "prime192v1",
    "1.3.36.3.3.2.8.1.1.7": "brainpoolP256r1", "1.3.36.3.3.2.8.1.1.11": "brainpoolP384r1",
    "1.3.36.3.3.2.8.1.1.13": "brainpoolP512r1",
}
# Keys that we make: {as typed: (curve, or size of an RSA key in bits; bits of the SHA-2 digest that it signs with)}.
GENERATED: "Dict[str, Tuple[Union[str, int], int]]" = {
    "secp521r1": ("secp521r1", 512), "secp384r1": ("secp384r1", 384), "prime256v1": ("prime256v1", 256),
    "rsa2048": (2048, 256), "rsa3072": (3072, 256), "rsa4096": (4096, 256),
}  # fmt: skip
GENERATED_TYPE = "secp521r1"
RSA_SMALLEST = 1024
RSA_LARGEST = 4096
# Below it an RSA key is accepted with a warning.
RSA_RECOMMENDED = 2048
# The smallest public exponent of an RSA key. With 1, everybody can make its signatures.
RSA_EXPONENT = 3
# The largest key in PEM, in bytes. RSA 4096 takes 3,272, and encrypted a little more. OpenSSL may test the primes of a
# larger key when it reads it, for minutes.
PEM_LIMIT = 4096
SUPPORTED = "RSA %d to %d, prime256v1, secp384r1 or secp521r1" % (RSA_RECOMMENDED, RSA_LARGEST)


class KeyKind(Record):
    """The kind of a key.

    algorithm: for people, e.g. "EC prime256v1" or "RSA 2048". rsa_bits: size of an RSA key, else 0.
    problem: why the catcher does not support it, as the end of a sentence that begins with "catcher.key is"; "" if it
    does.
    """

    __slots__ = ("algorithm", "rsa_bits", "problem")
    algorithm: str
    rsa_bits: int
    problem: str


def generated_type(algorithm: str) -> str:
    """Return the type of GENERATED with this algorithm (KeyKind); "" if we do not make such keys."""
    for typed, (kind, _) in GENERATED.items():
        if algorithm == (rsa(kind) if isinstance(kind, int) else elliptic(kind)).algorithm:
            return typed
    return ""


def elliptic(curve: str) -> KeyKind:
    """Return the kind of a key on a curve, given by either name or by its object identifier."""
    for names in CURVES:
        if curve in names:
            return KeyKind(algorithm="EC " + names[0], rsa_bits=0, problem="")
    curve = OTHER_CURVES.get(curve, curve)
    problem = "an EC key on %s, which the catcher does not support" % curve
    return KeyKind(algorithm="EC " + curve, rsa_bits=0, problem=problem)


def rsa(bits: int, exponent: int = 65537) -> KeyKind:
    """Return the kind of an RSA key of a size in bits with a public exponent."""
    problem = ""
    if not RSA_SMALLEST <= bits <= RSA_LARGEST:
        problem = "an RSA key of %d bits; supported are %d to %d" % (bits, RSA_SMALLEST, RSA_LARGEST)
    elif exponent < RSA_EXPONENT:
        problem = "an RSA key with the public exponent %d" % exponent
    return KeyKind(algorithm="RSA %d" % bits, rsa_bits=bits, problem=problem)


def other(name: str) -> KeyKind:
    """Return the kind of any other key."""
    problem = "a key of the type %s, which the catcher does not support" % name
    return KeyKind(algorithm=name, rsa_bits=0, problem=problem)
