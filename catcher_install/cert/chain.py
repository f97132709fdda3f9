"""Whether certificates are a chain: each one issued and signed by the next."""

from . import crypto

MYPY = False
if MYPY:
    from typing import Any, Optional, Sequence

RSA_PSS = "1.2.840.113549.1.1.10"


def chain_problem(lib: "crypto.Crypto", chain: "Sequence[Any]") -> str:
    """Return why loaded certificates are no chain, as the end of a sentence; "" if each is signed by the next one."""
    for number in range(1, len(chain)):
        child, issuer = chain[number - 1], chain[number]
        if child.issuer != issuer.subject:
            return "certificate %d was not issued by certificate %d" % (number, number + 1)
        if not _may_sign(lib, issuer):
            return "certificate %d is not a CA, so it cannot sign certificate %d" % (number + 1, number)
        if _is_signed_by(lib, child, issuer) is False:
            return "certificate %d is not signed by the key of certificate %d" % (number, number + 1)
    return ""


def _may_sign(lib: "crypto.Crypto", issuer: "Any") -> bool:
    """Whether a certificate may be an issuer; version 1, which has no extensions, cannot say otherwise."""
    try:
        return bool(issuer.extensions.get_extension_for_class(lib.x509.BasicConstraints).value.ca)
    except lib.x509.ExtensionNotFound:
        return bool(issuer.version == lib.x509.Version.v1)


def _is_signed_by(lib: "crypto.Crypto", child: "Any", issuer: "Any") -> "Optional[bool]":
    """Whether the signature verifies; None where this version of cryptography cannot tell."""
    try:
        public, signature, signed = issuer.public_key(), child.signature, child.tbs_certificate_bytes
        digest = child.signature_hash_algorithm
        if isinstance(public, lib.rsa.RSAPublicKey):
            scheme = lib.padding.PKCS1v15()
            if child.signature_algorithm_oid.dotted_string == RSA_PSS:
                scheme = child.signature_algorithm_parameters
            public.verify(signature, signed, scheme, digest)
        elif isinstance(public, lib.ec.EllipticCurvePublicKey):
            public.verify(signature, signed, lib.ec.ECDSA(digest))
        elif digest is None:
            public.verify(signature, signed)
        else:
            public.verify(signature, signed, digest)
    except lib.InvalidSignature:
        return False
    except Exception:  # noqa: BLE001 - an algorithm that it does not have, or not yet
        return None
    return True
