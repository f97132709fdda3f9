"""The judgement on the bytes of a pair."""

from ..record import Record
from . import crypto, keys, pem


class Verdict(Record):
    """What was found of a key and a certificate file.

    problem: why the pair cannot be used, as the end of a sentence; "" where it can.
    algorithm: of the key, e.g. "EC secp521r1" or "RSA 2048"; "" where it could not be read.
    rsa_bits: size of an RSA key, else 0.
    not_before, not_after: validity of the certificate, seconds since the epoch; 0 where unknown.
    """

    __slots__ = ("problem", "algorithm", "rsa_bits", "not_before", "not_after")
    problem: str
    algorithm: str
    rsa_bits: int
    not_before: int
    not_after: int


def unusable(problem: str) -> Verdict:
    """The verdict on a pair that cannot be used."""
    return Verdict(problem=problem, algorithm="", rsa_bits=0, not_before=0, not_after=0)


def check(key_pem: bytes, certificate_pem: bytes) -> Verdict:
    """The verdict on the bytes of a key and a certificate file. Raises MissingDependency only.

    The first certificate of the file is the server's own; what follows is its chain. Validity in time is reported,
    not judged: an expired certificate starts with a warning.
    """
    lib = crypto.load()
    key_file, certificate_file = pem.PemFile("catcher.key", key_pem), pem.PemFile("catcher.crt", certificate_pem)
    for given in (key_file, certificate_file):
        if not given.data.strip():
            return unusable("%s is empty" % given.path)
        if not given.blocks:
            return unusable("%s is %s" % (given.path, "truncated" if given.cut else "not PEM"))
    if not key_file.keys():
        return unusable("catcher.key holds no private key")
    if not certificate_file.certificates():
        return unusable("catcher.crt holds no certificate")
    try:
        certificate = crypto.call(lib.x509.load_pem_x509_certificate, certificate_file.certificates()[0], lib.backend)
        public = crypto.call(certificate.public_key)
        not_before, not_after = crypto.call(lib.validity_of, certificate)
    except crypto.Unreadable as error:
        return unusable("catcher.crt cannot be read as a certificate (%s)" % error)
    # Reading a private key may check its primes, which takes seconds for a large one; reading a certificate is quick.
    kind = lib.kind_of(public)
    if kind.rsa_bits > keys.RSA_LARGEST:
        return unusable("catcher.key is %s" % kind.problem)
    label, block = key_file.keys()[0]
    if len(block) > keys.PEM_LIMIT:
        return unusable("catcher.key is larger than any key that the catcher supports")
    if pem.is_encrypted(label, block):
        return unusable("catcher.key is encrypted, and a service cannot ask for its pass phrase")
    try:
        key = crypto.call(lib.serialization.load_pem_private_key, block, None, lib.backend)
    except crypto.Unreadable as error:
        return unusable("catcher.key cannot be read as a private key (%s)" % error)
    kind = lib.kind_of(key)
    if kind.problem:
        return unusable("catcher.key is %s" % kind.problem)
    if lib.public_bytes(public) != lib.public_bytes(key.public_key()):
        return unusable("catcher.crt does not belong to catcher.key")
    return Verdict(problem="", algorithm=kind.algorithm, rsa_bits=kind.rsa_bits, not_before=not_before,
                   not_after=not_after)
