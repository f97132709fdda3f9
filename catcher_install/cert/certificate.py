"""Making and judging a key and its certificate.

The only module that imports ``cryptography`` (3.2 to the newest), and only when called. Where that package is missing
or broken a pair can still be made with the openssl command, which is there whenever TLS is possible.
"""

import datetime
import ipaddress
import os
import sys

from .. import paths
from ..errors import CatcherError, MissingDependency
from ..record import Record
from .host_names import HostNames

MYPY = False
if MYPY:
    from typing import Any, List, Tuple

    from ..host import Host

YEARS = 10
CURVES = ("secp256r1", "secp384r1", "secp521r1")
RSA_SMALLEST = 1024
RSA_LARGEST = 4096
# Bytes of PEM; an RSA key of 4096 bits takes 3,300, encrypted a little more.
KEY_SIZE_LIMIT = 5000
# What cryptography raises where a part of it cannot be loaded, and never for what it reads.
BROKEN = (ImportError, OSError, AttributeError, NameError)


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


def _cryptography() -> "Any":
    """The modules of cryptography that are used here; MissingDependency where it is absent or broken."""
    _add_site_packages()
    try:
        from cryptography import x509
        from cryptography.hazmat.backends import default_backend
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa
    except Exception as error:
        raise _broken(error) from error
    return x509, default_backend, hashes, serialization, ec, rsa


def _broken(error: Exception) -> MissingDependency:
    """What to raise where cryptography cannot be loaded, be it a part that it loads when it is used."""
    return MissingDependency(
        "python3-cryptography cannot be used (%s)" % type(error).__name__, "install python3-cryptography"
    )


def _add_site_packages() -> None:
    """Make the distribution's Python packages importable: the hooks start without them (python3 -S) to start fast."""
    if sys.flags.no_site and "site" not in sys.modules:
        import site

        site.main()


# -- making a pair -----------------------------------------------------------------------------------------------------


def validity(now: float) -> "Tuple[datetime.datetime, datetime.datetime]":
    """First and last moment (UTC, naive) of a new certificate: ten years from one day ago.

    The day is for a TKE whose clock is behind ours.
    """
    start = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(now)) - datetime.timedelta(days=1)
    day = 28 if (start.month, start.day) == (2, 29) else start.day
    return start, start.replace(year=start.year + YEARS, day=day)


def subject_names(names: HostNames) -> "Tuple[str, List[str]]":
    """CN and DNS names of a certificate. Names beyond ASCII become A-labels (RFC 5280, 7.2), or stay in the CN only."""
    dns = []
    for name in names.dns_names():
        try:
            # The codec refuses labels above 63 characters, which Linux allows in a host name.
            name = name if _is_ascii(name) else name.encode("idna").decode("ascii")
        except UnicodeError:
            continue
        if name not in dns:
            dns.append(name)
    return names.common_name(), dns


def _is_ascii(text: str) -> bool:
    return all(ord(c) < 128 for c in text)


def serial_number() -> int:
    """A random positive serial of 128 bits."""
    number = 0
    while number == 0:
        number = int.from_bytes(os.urandom(16), "big")
    return number


def generate(host: "Host", names: HostNames) -> "Tuple[bytes, bytes]":
    """A new key (PKCS#8) and self-signed certificate for a host, both PEM.

    secp521r1, SHA-512, serverAuth, not a CA. Raises CatcherError where neither cryptography nor openssl can do it.
    """
    try:
        return _generate_with_cryptography(names, host.now())
    except MissingDependency as error:
        missing = error
    except Exception as error:  # noqa: BLE001 - a provider of OpenSSL that refuses raises what it likes
        missing = MissingDependency(
            "python3-cryptography could not make a pair (%s)" % type(error).__name__, "catcherctl status"
        )
    return _generate_with_openssl(host, names, missing)


def _generate_with_cryptography(names: HostNames, now: float) -> "Tuple[bytes, bytes]":
    x509, default_backend, hashes, serialization, ec, _ = _cryptography()
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    common_name, dns = subject_names(names)
    key = ec.generate_private_key(ec.SECP521R1(), default_backend())
    public = key.public_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    alternatives = [x509.DNSName(name) for name in dns]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in names.addresses]
    start, end = validity(now)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        # Strict verifiers (Python 3.13's default) want it even in a self-signed certificate.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    certificate = builder.sign(key, hashes.SHA512(), default_backend())
    return (
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )


def new_key() -> bytes:
    """A new key for a certificate request: secp521r1, PKCS#8, PEM. Raises MissingDependency."""
    _, default_backend, _, serialization, ec, _ = _cryptography()
    key = ec.generate_private_key(ec.SECP521R1(), default_backend())
    return bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))


def _generate_with_openssl(host: "Host", names: HostNames, missing: MissingDependency) -> "Tuple[bytes, bytes]":
    """The same pair by the openssl command; its validity begins now, since req(1) cannot date back before 3.4.

    The key goes through pipes only, never through a file.
    """

    def openssl(arguments: "List[str]", stdin: bytes = b"") -> bytes:
        try:
            status, output = host.run([paths.OPENSSL] + arguments, timeout=60, stdin=stdin)
        except OSError as error:
            why = "%s, and %s: %s" % (missing.message, paths.OPENSSL, error.strerror)
            raise CatcherError(why, missing.hint) from error
        if status != 0 or b"-----BEGIN" not in output:
            raise CatcherError("%s, and openssl %s failed" % (missing.message, arguments[0]), missing.hint)
        return output[output.index(b"-----BEGIN"):]

    common_name, dns = subject_names(names)
    alternatives = ["DNS." + str(n) + " = " + _quoted(name) for n, name in enumerate(dns, 1)]
    alternatives += ["IP.%d = %s" % (n, address) for n, address in enumerate(names.addresses, 1)]
    settings = [
        "[req]", "prompt = no", "utf8 = yes", "string_mask = utf8only", "distinguished_name = subject",
        "x509_extensions = server", "[subject]", "CN = " + _quoted(common_name), "[server]",
        "basicConstraints = critical, CA:FALSE", "keyUsage = critical, digitalSignature",
        "extendedKeyUsage = serverAuth", "subjectKeyIdentifier = hash", "authorityKeyIdentifier = keyid:always",
        "subjectAltName = @names" if alternatives else "", "[names]",
    ] + alternatives
    key = openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp521r1",
                   "-pkeyopt", "ec_param_enc:named_curve"])
    start, end = validity(host.now())
    # req reads the key and its settings from one stream each; the settings hold nothing secret.
    host.remove_tree_of_files(paths.STAGE_DRAFT)
    host.make_dir(paths.STAGE_DRAFT, 0o700)
    configuration = paths.STAGE_DRAFT + "/openssl.cnf"
    try:
        host.create(configuration, ("\n".join(settings) + "\n").encode("utf-8"), 0o600)
        certificate = openssl(
            ["req", "-new", "-x509", "-config", configuration, "-key", "/dev/stdin", "-sha512", "-days",
             str((end - start).days - 1), "-set_serial", str(serial_number())], key)
    finally:
        host.remove_tree_of_files(paths.STAGE_DRAFT)
    return key, certificate


def _quoted(value: str) -> str:
    """A value for openssl's configuration syntax (config(5)): nothing in it is special any more."""
    return "".join("\\" + c if c in "\\\"'$#,;@ " else c for c in value if c.isprintable())


# -- judging a pair ----------------------------------------------------------------------------------------------------


def check(key_pem: bytes, certificate_pem: bytes) -> Verdict:
    """The verdict on the bytes of a key and a certificate file. Raises MissingDependency only.

    The first certificate of the file is the server's own; what follows is its chain. Validity in time is reported,
    not judged: an expired certificate starts with a warning.
    """
    x509, default_backend, _, serialization, ec, rsa = _cryptography()
    for name, data in (("catcher.key", key_pem), ("catcher.crt", certificate_pem)):
        if not data.strip():
            return unusable("%s is empty" % name)
        if b"-----BEGIN " not in data:
            return unusable("%s is not PEM" % name)
        if b"-----END " not in data:
            return unusable("%s is truncated" % name)
    if b"PRIVATE KEY-----" not in key_pem:
        return unusable("catcher.key holds no private key")
    if b"-----BEGIN CERTIFICATE-----" not in certificate_pem:
        return unusable("catcher.crt holds no certificate")
    try:
        certificate = x509.load_pem_x509_certificate(_first(certificate_pem, b"CERTIFICATE"), default_backend())
        public = certificate.public_key()
        not_before, not_after = _validity_of(certificate)
    except BROKEN as error:
        raise _broken(error) from error
    except Exception as error:  # noqa: BLE001 - on hostile input cryptography raises whatever its parser meets
        return unusable("catcher.crt cannot be read as a certificate (%s)" % type(error).__name__)
    # Reading a private key may check its primes, which takes seconds for a large one; reading a certificate is quick.
    if isinstance(public, rsa.RSAPublicKey) and public.key_size > RSA_LARGEST:
        return unusable("catcher.key is an RSA key of %d bits; supported are 1024 to 4096" % public.key_size)
    key_block = _first(key_pem, b"PRIVATE KEY")
    if len(key_block) > KEY_SIZE_LIMIT:
        return unusable("catcher.key is larger than any key that the catcher supports")
    try:
        key = serialization.load_pem_private_key(key_block, None, default_backend())
    except BROKEN as error:
        raise _broken(error) from error
    except TypeError:
        return unusable("catcher.key is encrypted, and a service cannot ask for its pass phrase")
    except Exception as error:  # noqa: BLE001 - as above
        return unusable("catcher.key cannot be read as a private key (%s)" % type(error).__name__)
    algorithm, bits, problem = _judge_key(key, ec, rsa)
    if problem:
        return unusable("catcher.key is %s" % problem)
    if _public_bytes(public, serialization) != _public_bytes(key.public_key(), serialization):
        return unusable("catcher.crt does not belong to catcher.key")
    return Verdict(problem="", algorithm=algorithm, rsa_bits=bits, not_before=not_before, not_after=not_after)


def _first(pem: bytes, label: bytes) -> bytes:
    """The first PEM block whose label ends in *label*; text and other blocks around it are dropped."""
    lines = pem.replace(b"\r\n", b"\n").split(b"\n")
    block: List[bytes] = []
    for line in lines:
        line = line.strip()
        if line.startswith(b"-----BEGIN ") and line.endswith(label + b"-----"):
            block = [line]
        elif block:
            block.append(line)
            if line.startswith(b"-----END "):
                return b"\n".join(block) + b"\n"
    return pem


def _judge_key(key: "Any", ec: "Any", rsa: "Any") -> "Tuple[str, int, str]":
    """(algorithm, RSA bits or 0, "" or why it is not supported) of a private key (vendor text, "Supported keys")."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        curve = key.curve.name
        problem = "" if curve in CURVES else "an EC key on %s, which the catcher does not support" % curve
        return "EC " + curve, 0, problem
    if isinstance(key, rsa.RSAPrivateKey):
        bits = key.key_size
        fits = RSA_SMALLEST <= bits <= RSA_LARGEST
        return "RSA %d" % bits, bits, "" if fits else "an RSA key of %d bits; supported are 1024 to 4096" % bits
    kind = type(key).__name__.lstrip("_").replace("PrivateKey", "")
    return kind, 0, "a key of the type %s, which the catcher does not support" % kind


def _public_bytes(public: "Any", serialization: "Any") -> bytes:
    return public.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _validity_of(certificate: "Any") -> "Tuple[int, int]":
    """Not-before and not-after in seconds since the epoch."""
    epoch = datetime.datetime(1970, 1, 1)
    if hasattr(certificate, "not_valid_after_utc"):
        first = certificate.not_valid_before_utc.replace(tzinfo=None)
        last = certificate.not_valid_after_utc.replace(tzinfo=None)
    else:
        first, last = certificate.not_valid_before, certificate.not_valid_after
    return int((first - epoch).total_seconds()), int((last - epoch).total_seconds())

