"""Make a key and its self-signed certificate with the openssl command, which exists whenever TLS is possible.

It takes a fifth of the time of an import of cryptography, and obeys the host's own policy, e.g. FIPS.
"""

import datetime
import os

from .. import optional, paths
from ..errors import CatcherError, reason_of
from ..messages import CLOCK_FLOOR
from ..record import Record
from ..text import moment
from . import keys
from .host_names import COMMON_NAME_LIMIT, HostNames
from .names import ip_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

    from ..host import Host

YEARS = 10
# The longest validity that can be asked for, and the largest number of bytes of names that can: a handshake must carry
# them, together with all addresses.
DAYS_LIMIT = 36500
NAMES_LIMIT = 4096
SEE_WHY = "see why:\n  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp521r1 -out /dev/null"
# Seconds that openssl may take for a key, and for each of the two steps to its certificate. Together they are less than
# the 90 that systemd gives a start.
KEY_SECONDS = 50
STEP_SECONDS = 15


class Wish(Record):
    """What an administrator wants of a new pair.

    names: host names and addresses on top of the host's own; the first host name becomes the CN. key_type: one of
    keys.GENERATED. days: how long the certificate is valid from now; 0 means YEARS.
    """

    __slots__ = ("names", "key_type", "days")
    names: "List[str]"
    key_type: str
    days: int


def options(wish: Wish) -> "List[str]":
    """Return the options of ``cert generate`` for a wish. There is none for the key type "" and for 0 days."""
    words = [word for name in wish.names for word in ("--name", name)]
    words += ["--key-type", wish.key_type] if wish.key_type else []
    return words + (["--days", str(wish.days)] if wish.days else [])


USUAL = Wish(names=[], key_type=keys.GENERATED_TYPE, days=0)


def validity(now: float, days: int = 0) -> "Tuple[datetime.datetime, datetime.datetime]":
    """Return the first and last moment (UTC, naive) of a new certificate: from one day ago, until *days* from now or
    for YEARS. The day is for a TKE whose clock is behind ours."""
    start = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=int(now)) - datetime.timedelta(days=1)
    if days:
        return start, start + datetime.timedelta(days=days + 1)
    day = 28 if (start.month, start.day) == (2, 29) else start.day
    return start, start.replace(year=start.year + YEARS, day=day)


def subject(present: HostNames, wanted: "List[str]") -> "Tuple[str, List[str], List[str]]":
    """Return CN, DNS names and addresses of a certificate for a host. wanted: further names and addresses.

    Raises CatcherError if these take more than a handshake carries.
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
    """Return CN and DNS names of a certificate. Names beyond ASCII become A-labels (RFC 5280, 7.2); if a name has none,
    it is in the CN only."""
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
    """Return a random positive serial number of 128 bits."""
    number = 0
    while number == 0:
        number = int.from_bytes(os.urandom(16), "big")
    return number


def generate(host: "Host", names: HostNames, wish: Wish = USUAL) -> "Tuple[bytes, bytes]":
    """Return a new key (PKCS#8) and self-signed certificate for a host, both PEM.

    secp521r1 and SHA-512 unless wished otherwise; serverAuth, not a CA. Raises CatcherError if openssl cannot make
    them, or if the clock is not set: the certificate would soon expire; OSError if BIN cannot be written.
    """
    if host.now() < CLOCK_FLOOR:
        raise CatcherError("the clock of this host says %s" % moment(host.now()),
                           "set the clock, then type the same command again. To see the clock:\n  timedatectl")
    named = subject(names, wish.names)
    host.remove_tree_of_files(paths.PAIR_WORK)
    host.make_dir(paths.PAIR_WORK, 0o700)
    try:
        key = new_key(host, wish.key_type)
        return key, _certificate(host, key, named, wish)
    finally:
        host.remove_tree_of_files(paths.PAIR_WORK)


def new_key(host: "Host", key_type: str = keys.GENERATED_TYPE) -> bytes:
    """Return a new private key, PKCS#8, PEM. key_type: one of keys.GENERATED. Raises CatcherError."""
    size, _ = keys.GENERATED[key_type]
    if isinstance(size, int):
        kind = ["RSA", "-pkeyopt", "rsa_keygen_bits:%d" % size]
    else:
        kind = ["EC", "-pkeyopt", "ec_paramgen_curve:" + size, "-pkeyopt", "ec_param_enc:named_curve"]
    return _openssl(host, "PRIVATE KEY", ["genpkey", "-algorithm"] + kind, timeout=KEY_SECONDS)


def _certificate(host: "Host", key: bytes, named: "Tuple[str, List[str], List[str]]", wish: Wish) -> bytes:
    """Return a self-signed certificate for a key, PEM. named: what subject() returns. PAIR_WORK exists and is empty.

    It is made by ca(1), because before OpenSSL 3.4 req(1) cannot set the first day. The key goes through pipes only;
    the files contain nothing secret.
    """
    common_name, dns, addresses = named
    directory = host.locate(paths.PAIR_WORK)
    alternatives = ["DNS.%d = %s" % (n, _quoted(name)) for n, name in enumerate(dns, 1)]
    alternatives += ["IP.%d = %s" % (n, address) for n, address in enumerate(addresses, 1)]
    settings = [
        "[req]", "prompt = no", "utf8 = yes", "string_mask = utf8only", "distinguished_name = subject",
        "[subject]", "CN = " + _quoted(common_name),
        "[ca]", "default_ca = own",
        "[own]", "database = %s/index.txt" % _quoted(directory), "serial = %s/serial" % _quoted(directory),
        "new_certs_dir = " + _quoted(directory), "policy = any", "x509_extensions = server",
        "[any]", "commonName = supplied",
        "[server]", "basicConstraints = critical, CA:FALSE", "keyUsage = critical, digitalSignature",
        "extendedKeyUsage = serverAuth", "subjectKeyIdentifier = hash",
        # Strict verifiers, as Python from 3.13 is by default, demand it even in a self-signed certificate.
        "authorityKeyIdentifier = keyid:always",
        "subjectAltName = @names" if alternatives else "",
        "[names]",
    ] + alternatives

    def write(name: str, data: bytes) -> str:
        host.create(paths.PAIR_WORK + "/" + name, data, 0o600, lasting=False)
        return directory + "/" + name

    configuration = write("openssl.cnf", ("\n".join(settings) + "\n").encode("utf-8"))
    write("index.txt", b"")
    write("serial", b"%032X\n" % serial_number())
    request = write("request", _openssl(
        host, "CERTIFICATE REQUEST", ["req", "-new", "-config", configuration, "-key", "/dev/stdin"], key))
    start, end = ("%04d%02d%02d%02d%02d%02dZ" % when.timetuple()[:6] for when in validity(host.now(), wish.days))
    return _openssl(host, "CERTIFICATE", [
        "ca", "-batch", "-selfsign", "-notext", "-config", configuration, "-keyfile", "/dev/stdin", "-in", request,
        "-md", "sha%d" % keys.GENERATED[wish.key_type][1], "-startdate", start, "-enddate", end], key)


def _openssl(
    host: "Host", label: str, arguments: "List[str]", stdin: bytes = b"", timeout: float = STEP_SECONDS
) -> bytes:
    """Run the openssl command and return what it writes: PEM of this label, and nothing else. Raises CatcherError."""
    try:
        status, output = host.run([paths.OPENSSL] + arguments, timeout=timeout, stdin=stdin, only_output=True)
    except OSError as error:
        hint = optional.INSTALL + "openssl" if isinstance(error, FileNotFoundError) else SEE_WHY
        raise CatcherError("%s: %s" % (paths.OPENSSL, reason_of(error)), hint) from error
    begin, end = b"-----BEGIN %s-----\n" % label.encode("ascii"), b"\n-----END %s-----\n" % label.encode("ascii")
    if status != 0:
        raise CatcherError("openssl %s failed (exit status %d)" % (arguments[0], status), SEE_WHY)
    if not output.startswith(begin) or not output.endswith(end):
        # For example, a preloaded library wrote to standard output, too.
        raise CatcherError("openssl %s did not write what was asked for" % arguments[0], SEE_WHY)
    return output


def _quoted(value: str) -> str:
    """Return a value quoted for openssl's configuration (config(5)).

    An unprintable character becomes a question mark: a line end would begin another setting.
    """
    return '"%s"' % "".join("\\" + c if c in "\\\"" else c if c.isprintable() else "?" for c in value)
