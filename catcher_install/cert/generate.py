"""Making a key and its self-signed certificate.

By cryptography; where that is missing or broken by the openssl command, which is there whenever TLS is possible.
"""

import datetime
import ipaddress
import os

from .. import paths
from ..errors import CatcherError, MissingDependency
from ..messages import CLOCK_FLOOR
from ..record import Record
from ..text import moment
from . import crypto, keys
from .host_names import COMMON_NAME_LIMIT, HostNames
from .names import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Tuple

    from ..host import Host

YEARS = 10
# The longest validity that can be asked for, and bytes of names: a handshake must carry them beside all addresses.
DAYS_LIMIT = 36500
NAMES_LIMIT = 4096


class Wish(Record):
    """What an administrator wants of a new pair.

    names: host names and addresses on top of the host's own; the first host name becomes the CN. key_type: of
    keys.GENERATED. days: how long the certificate is valid from now; 0: YEARS.
    """

    __slots__ = ("names", "key_type", "days")
    names: "List[str]"
    key_type: str
    days: int


USUAL = Wish(names=[], key_type=keys.GENERATED_TYPE, days=0)


def validity(now: float, days: int = 0) -> "Tuple[datetime.datetime, datetime.datetime]":
    """First and last moment (UTC, naive) of a new certificate: from one day ago, for *days* from now or ten years.

    The day is for a TKE whose clock is behind ours.
    """
    start = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(now)) - datetime.timedelta(days=1)
    if days:
        return start, start + datetime.timedelta(days=days + 1)
    day = 28 if (start.month, start.day) == (2, 29) else start.day
    return start, start.replace(year=start.year + YEARS, day=day)


def subject(present: HostNames, wanted: "List[str]") -> "Tuple[str, List[str], List[str]]":
    """CN, DNS names and addresses of a certificate for a host that has further names and addresses.

    Raises CatcherError if they are more than a handshake carries.
    """
    if sum(len(name.encode("utf-8", "replace")) + 2 for name in set(wanted)) > NAMES_LIMIT:
        raise CatcherError("the names take more than %d bytes" % NAMES_LIMIT, "leave some of them out")
    common_name, dns = subject_names(present)
    addresses = list(present.addresses)
    typed = []
    for name in wanted:
        address = ip_address(name)
        if address is not None:
            addresses.append(str(address))
        else:
            typed += subject_names(HostNames(short=name, full=name, addresses=[]))[1]
    fitting = [name for name in typed if len(name) <= COMMON_NAME_LIMIT]
    return (fitting[0] if fitting else common_name), list(dict.fromkeys(typed + dns)), list(dict.fromkeys(addresses))


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


def generate(host: "Host", names: HostNames, wish: Wish = USUAL) -> "Tuple[bytes, bytes]":
    """A new key (PKCS#8) and self-signed certificate for a host, both PEM.

    secp521r1 and SHA-512 unless wished otherwise; serverAuth, not a CA. Raises CatcherError where neither cryptography
    nor openssl can do it, and while the clock is not set: such a pair would expire before its time.
    """
    if host.now() < CLOCK_FLOOR:
        raise CatcherError("the clock of this host says %s" % moment(host.now()), "set it, then try again: timedatectl")
    try:
        return crypto.call(_generate_with_cryptography, crypto.load(), names, wish, host.now())
    except MissingDependency as error:
        missing = error
    except crypto.Unreadable as error:
        # A provider of OpenSSL that refuses raises what it likes.
        missing = MissingDependency("python3-cryptography could not make a pair (%s)" % error, "catcherctl status")
    return _generate_with_openssl(host, names, wish, missing)


def _generate_with_cryptography(lib: crypto.Crypto, names: HostNames, wish: Wish, now: float) -> "Tuple[bytes, bytes]":
    x509 = lib.x509
    common_name, dns, addresses = subject(names, wish.names)
    key = _new_key(lib, wish.key_type)
    public = key.public_key()
    named = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common_name)])
    alternatives = [x509.DNSName(name) for name in dns]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    start, end = validity(now, wish.days)
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(public)
        .serial_number(serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        # Strict verifiers (Python 3.13's default) want it even in a self-signed certificate.
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    digest = getattr(lib.hashes, "SHA%d" % keys.GENERATED[wish.key_type][1])()
    certificate = builder.sign(key, digest, lib.backend)
    return _private_pem(lib, key), bytes(certificate.public_bytes(lib.serialization.Encoding.PEM))


def _new_key(lib: crypto.Crypto, key_type: str) -> "Any":
    size, _ = keys.GENERATED[key_type]
    if isinstance(size, int):
        return lib.rsa.generate_private_key(65537, size, lib.backend)
    return lib.ec.generate_private_key(lib.curve(size), lib.backend)


def _private_pem(lib: crypto.Crypto, key: "Any") -> bytes:
    """A private key in PKCS#8, PEM."""
    serialization = lib.serialization
    return bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ))


def new_key() -> bytes:
    """A new key for a certificate request: secp521r1, PKCS#8, PEM. Raises MissingDependency."""
    lib = crypto.load()
    return _private_pem(lib, crypto.call(_new_key, lib, keys.GENERATED_TYPE))


def _generate_with_openssl(
    host: "Host", names: HostNames, wish: Wish, missing: MissingDependency
) -> "Tuple[bytes, bytes]":
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

    common_name, dns, addresses = subject(names, wish.names)
    alternatives = ["DNS." + str(n) + " = " + _quoted(name) for n, name in enumerate(dns, 1)]
    alternatives += ["IP.%d = %s" % (n, address) for n, address in enumerate(addresses, 1)]
    settings = [
        "[req]", "prompt = no", "utf8 = yes", "string_mask = utf8only", "distinguished_name = subject",
        "x509_extensions = server", "[subject]", "CN = " + _quoted(common_name), "[server]",
        "basicConstraints = critical, CA:FALSE", "keyUsage = critical, digitalSignature",
        "extendedKeyUsage = serverAuth", "subjectKeyIdentifier = hash", "authorityKeyIdentifier = keyid:always",
        "subjectAltName = @names" if alternatives else "", "[names]",
    ] + alternatives
    size, digest = keys.GENERATED[wish.key_type]
    if isinstance(size, int):
        key = openssl(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:%d" % size])
    else:
        key = openssl(["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + size,
                       "-pkeyopt", "ec_param_enc:named_curve"])
    start, end = validity(host.now(), wish.days)
    # req reads the key and its settings from one stream each; the settings hold nothing secret.
    host.remove_tree_of_files(paths.STAGE_DRAFT)
    host.make_dir(paths.STAGE_DRAFT, 0o700)
    configuration = paths.STAGE_DRAFT + "/openssl.cnf"
    try:
        host.create(configuration, ("\n".join(settings) + "\n").encode("utf-8"), 0o600)
        certificate = openssl(
            ["req", "-new", "-x509", "-config", configuration, "-key", "/dev/stdin", "-sha%d" % digest, "-days",
             str((end - start).days - 1), "-set_serial", str(serial_number())], key)
    finally:
        host.remove_tree_of_files(paths.STAGE_DRAFT)
    return key, certificate


def _quoted(value: str) -> str:
    """A value for openssl's configuration syntax (config(5)): nothing in it is special any more."""
    return "".join("\\" + c if c in "\\\"'$#,;@ " else c for c in value if c.isprintable())
