"""Making a key and its self-signed certificate, by the openssl command, which is there whenever TLS is possible.

It takes a fifth of the time that importing cryptography takes, and it keeps to the host's own policy (FIPS, say).
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
# The longest validity that can be asked for, and bytes of names: a handshake must carry them beside all addresses.
DAYS_LIMIT = 36500
NAMES_LIMIT = 4096
SEE_WHY = "see why:\n  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp521r1 -out /dev/null"
# Seconds that openssl may take for a key, and for each of the two steps to its certificate: in all less than the 90
# that systemd gives a start.
KEY_SECONDS = 50
STEP_SECONDS = 15


class Wish(Record):
    """What an administrator wants of a new pair.

    names: host names and addresses on top of the host's own; the first host name becomes the CN. key_type: of
    keys.GENERATED. days: how long the certificate is valid from now; 0: YEARS.
    """

    __slots__ = ("names", "key_type", "days")
    names: "List[str]"
    key_type: str
    days: int


def options(wish: Wish) -> "List[str]":
    """The options of ``cert generate`` for a wish, in which a type of "" and 0 days are not typed."""
    words = [word for name in wish.names for word in ("--name", name)]
    words += ["--key-type", wish.key_type] if wish.key_type else []
    return words + (["--days", str(wish.days)] if wish.days else [])


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

    secp521r1 and SHA-512 unless wished otherwise; serverAuth, not a CA. Raises CatcherError if openssl cannot do it,
    and while the clock is not set: such a pair would expire before its time; OSError if BIN cannot be written.
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
    """A new private key, PKCS#8, PEM. key_type: of keys.GENERATED. Raises CatcherError."""
    size, _ = keys.GENERATED[key_type]
    if isinstance(size, int):
        kind = ["RSA", "-pkeyopt", "rsa_keygen_bits:%d" % size]
    else:
        kind = ["EC", "-pkeyopt", "ec_paramgen_curve:" + size, "-pkeyopt", "ec_param_enc:named_curve"]
    return _openssl(host, "PRIVATE KEY", ["genpkey", "-algorithm"] + kind, timeout=KEY_SECONDS)


def _certificate(host: "Host", key: bytes, named: "Tuple[str, List[str], List[str]]", wish: Wish) -> bytes:
    """A certificate that a key signs for itself, PEM. named: as subject() has it. PAIR_WORK is there and empty.

    By ca(1), since req(1) cannot date back before OpenSSL 3.4. The key goes through pipes only, never through a file;
    what is in the files is nothing secret.
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
        # Strict verifiers (Python 3.13's default) want it even in a self-signed certificate.
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
    """What the openssl command writes: PEM of this label, and nothing else. Raises CatcherError."""
    try:
        status, output = host.run([paths.OPENSSL] + arguments, timeout=timeout, stdin=stdin, only_output=True)
    except OSError as error:
        hint = optional.INSTALL + "openssl" if isinstance(error, FileNotFoundError) else SEE_WHY
        raise CatcherError("%s: %s" % (paths.OPENSSL, reason_of(error)), hint) from error
    begin, end = b"-----BEGIN %s-----\n" % label.encode("ascii"), b"\n-----END %s-----\n" % label.encode("ascii")
    if status != 0:
        raise CatcherError("openssl %s failed (exit status %d)" % (arguments[0], status), SEE_WHY)
    if not output.startswith(begin) or not output.endswith(end):
        # For example, the output of a preloaded library. Its source is not known.
        raise CatcherError("openssl %s did not write what was asked for" % arguments[0], SEE_WHY)
    return output


def _quoted(value: str) -> str:
    """A value for openssl's configuration syntax (config(5)): nothing in it is special any more, not even at its end.

    What cannot be printed becomes a question mark: a line end would begin another setting.
    """
    return '"%s"' % "".join("\\" + c if c in "\\\"" else c if c.isprintable() else "?" for c in value)
