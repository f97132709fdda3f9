"""Read and check the files that an administrator names: a key, a certificate and its chain, in any format.

Everything that a catcher or a TKE would refuse later is refused here, before anything changes. Each refusal says what
to type.
"""

import shlex

from ..errors import AS_ROOT, CatcherError, reason_of
from ..pair import SIZE_LIMIT
from ..record import Record
from ..text import moment, plain, shown
from . import check as pair_check
from . import crypto, details, host_names, keys, x509
from .names import names_text
from .pem import TRUSTED, PemFile, der, is_encrypted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

    from ..host import Host

# The beginning of PKCS#12 contains its version, 3, and the start of a sequence.
PKCS12 = b"\x02\x01\x03\x30"
USE_SUPPORTED = "use %s; to make a key and a request:\n  catcherctl cert request" % keys.SUPPORTED


class Pair(Record):
    """A pair that can be used.

    key: PEM, in the format of the file (PKCS#8, PKCS#1 or SEC1).
    certificates: PEM, the server's own first. chain: what they contain.
    """

    __slots__ = ("key", "certificates", "chain")
    key: bytes
    certificates: bytes
    chain: "List[details.Certificate]"


# -- files -------------------------------------------------------------------------------------------------------------


def read_file(host: "Host", path: str, limit: int = SIZE_LIMIT) -> PemFile:
    """Return a file that was named on the command line. limit: its largest size in bytes. Raises CatcherError."""
    try:
        data = host.read(host.absolute(path), limit)
    except OSError as error:
        hint = AS_ROOT if isinstance(error, PermissionError) else "name another file"
        why = reason_of(error).lower()
        raise CatcherError("%s: %s" % (shown(path) or "an empty name", why), hint) from error
    if not data.strip():
        raise CatcherError("%s is empty" % shown(path), "name another file")
    return PemFile(path, data)


def command(start: str, *words: str) -> str:
    """Return a command for a hint, with its arguments quoted for a shell."""
    return " ".join([start] + [shlex.quote(word) if plain(word) == word else _escaped(word) for word in words])


def _escaped(word: str) -> str:
    """Return a word that is not all printable ASCII in bash's $'...' form, so that it can be typed as it is shown."""
    return "$'%s'" % "".join(chr(byte) if 32 <= byte < 127 and byte not in b"'\\" else "\\x%02x" % byte
                             for byte in word.encode("utf-8", "surrogateescape"))


# -- the checks --------------------------------------------------------------------------------------------------------


def check(host: "Host", key_file: PemFile, crt_file: PemFile) -> Pair:
    """Return the pair in two files, or in one file that is given twice. Raises CatcherError if it cannot be used now.

    check.check() judges it. Unlike for a pair in place, a broken chain and an expired or not yet valid certificate are
    refused, too. Names are not checked: see require_names().
    """
    if not key_file.keys() and key_file.certificates() and crt_file.keys() and not crt_file.certificates():
        raise CatcherError(
            "%s is a certificate and %s is a key: they look swapped" % (key_file.path, crt_file.path),
            command("name the key first:\n  catcherctl cert install", crt_file.typed, key_file.typed),
        )
    key_pem = _key_block(key_file)
    blocks = _certificate_blocks(crt_file)
    verdict = pair_check.check(host, key_pem, b"".join(blocks))
    if verdict.problem:
        raise _unusable(host, verdict.problem, key_file, key_pem, crt_file, blocks)
    if verdict.unchecked:
        raise pair_check.not_tried(verdict.unchecked)
    told = [details.describe(der(block)) for block in blocks]
    _require_valid(told, crt_file, host.now())
    if verdict.chain:
        raise CatcherError("the chain in %s is broken: %s" % (crt_file.path, verdict.chain),
                           "put the server's certificate first, then its issuer, then the issuer of that")
    return Pair(key=key_pem, certificates=b"".join(blocks), chain=told)


def _unusable(
    host: "Host", problem: str, key_file: PemFile, key_pem: bytes, crt_file: PemFile, blocks: "List[bytes]"
) -> CatcherError:
    """Return the error for a verdict's problem, with the names of the files that were typed."""
    own = 0
    if len(blocks) > 1:
        try:
            own = _own_number(host, key_pem, blocks)
        except CatcherError:
            # OpenSSL could not be asked. Any other problem does not depend on the order.
            if problem == pair_check.NOT_ITS_OWN:
                raise
    if own > 1:
        # The order is the problem, whatever was said about the first certificate.
        return CatcherError(
            "the chain in %s is in the wrong order: the key's own certificate is number %d of %d" % (
                crt_file.path, own, len(blocks)),
            "put that certificate first, then its issuer, then the issuer of that",
        )
    if problem == pair_check.NOT_ITS_OWN:
        return CatcherError("the certificate in %s does not belong to the key in %s" % (crt_file.path, key_file.path),
                            "name the key that the certificate was requested with")
    hint = USE_SUPPORTED
    if problem.startswith("catcher.key cannot be read"):
        hint = command("see what is wrong:\n  openssl pkey -noout -check -in", key_file.typed)
    elif problem.startswith("catcher.crt cannot be read"):
        hint = command("see what is wrong:\n  openssl x509 -noout -text -in", crt_file.typed)
    elif problem.startswith("catcher.crt is larger") and len(blocks) > 1:
        hint = "keep only the server's certificate and those of its issuers in that file"
    elif problem.startswith("catcher.crt"):
        hint = "let your CA issue a certificate for a server; to make the request:\n  catcherctl cert request"
    return CatcherError(problem.replace("catcher.key", key_file.path).replace("catcher.crt", crt_file.path), hint)


def _own_number(host: "Host", key_pem: bytes, blocks: "List[bytes]") -> int:
    """Return the number, from 1, of the certificate that belongs to a key; 0 if none does."""
    for number, block in enumerate(blocks[:details.CHAIN_LIMIT], 1):
        if pair_check.belongs(host, key_pem, block):
            return number
    return 0


def _key_block(given: PemFile) -> bytes:
    """Return the only private key in a file, PEM. Raises CatcherError."""
    found = given.keys()
    path = given.path
    if not found:
        if given.cut:
            raise CatcherError("%s is truncated: its last block has no END line" % path, "copy the file again")
        if given.blocks:
            labels = " ".join(given.labels())
            _refuse_request(path, labels)
            what = "a public key" if "PUBLIC KEY" in labels else "no private key"
            raise CatcherError("%s holds %s" % (path, what), "name the file with the private key first: KEY CRT")
        if PKCS12 in given.data[:12]:
            raise _pkcs12(given)
        if x509.is_der(given.data):
            raise CatcherError("%s is DER, and the key must be PEM" % path,
                               _conversion("pkey -inform DER -in", given))
        raise CatcherError("%s is not PEM" % path, "a PEM key begins with -----BEGIN PRIVATE KEY-----")
    if len(found) > 1:
        raise CatcherError("%s holds %d private keys" % (path, len(found)), "keep only the key that you want to use")
    label, block = found[0]
    if is_encrypted(label, block):
        raise _encrypted(given)
    if label == "OPENSSH PRIVATE KEY":
        raise CatcherError("%s is a key for SSH" % path, "use the key that the certificate was requested with")
    if len(block) > keys.PEM_LIMIT:
        raise CatcherError("the key in %s is larger than RSA 4096, the largest that the catcher supports" % path,
                           USE_SUPPORTED)
    return block


def _conversion(how: str, given: PemFile) -> str:
    return command("convert it:\n  openssl " + how, given.typed, "-out", given.typed + ".pem")


def _encrypted(given: PemFile) -> CatcherError:
    return CatcherError("%s is encrypted, and a service cannot ask for its pass phrase" % given.path,
                        command("decrypt it:\n  openssl pkey -in", given.typed, "-out", given.typed + ".plain"))


def _pkcs12(given: PemFile) -> CatcherError:
    both = command("catcherctl cert install", given.typed + ".pem")
    return CatcherError("%s is PKCS#12, and the pair must be PEM" % given.path,
                        "convert it, then install it:\n  %s\n  %s" % (
                            command("openssl pkcs12 -nodes -in", given.typed, "-out", given.typed + ".pem"), both))


def _is_der_certificate(data: bytes) -> bool:
    try:
        x509.read(data)
    except ValueError:
        return False
    return True


def load_key(given: PemFile, lib: "crypto.Crypto") -> "Any":
    """Return the only private key in a file, as an object of cryptography. Raises CatcherError if the catcher does not
    support it, MissingDependency if cryptography fails."""
    block = _key_block(given)
    try:
        key = crypto.call(lambda: lib.serialization.load_pem_private_key(block, None, lib.backend))
        kind = crypto.call(lib.kind_of, key)
    except crypto.Unreadable as error:
        raise CatcherError("%s cannot be read as a private key (%s)" % (given.path, error),
                           command("see what is wrong:\n  openssl pkey -noout -check -in", given.typed)) from error
    if kind.problem:
        raise CatcherError("%s is %s" % (given.path, kind.problem), USE_SUPPORTED)
    return key


def belongs(host: "Host", key_file: PemFile, crt_file: PemFile) -> bool:
    """Return whether the key in one file belongs to a certificate in the other; no, if the key cannot be read."""
    try:
        key_pem = _key_block(key_file)
    except CatcherError:
        return False
    return _own_number(host, key_pem, crt_file.certificates()) > 0


def _refuse_request(path: str, labels: str) -> None:
    """Raise CatcherError if a file with these PEM labels is a certificate request."""
    if "CERTIFICATE REQUEST" in labels:
        raise CatcherError("%s is a certificate request, not a certificate" % path,
                           "let your CA sign it, then install the certificate that the CA sends back")


def _certificate_blocks(given: PemFile) -> "List[bytes]":
    """Return the certificates in a file, PEM. Raises CatcherError."""
    found = given.certificates()
    path = given.path
    if given.cut:
        raise CatcherError("%s is truncated: its last block has no END line" % path, "copy the file again")
    if given.is_pkcs7():
        form = "" if given.blocks else "-inform DER "
        raise CatcherError("%s is PKCS#7, and the certificate must be PEM" % path,
                           _conversion("pkcs7 %s-print_certs -in" % form, given))
    if found:
        return found
    labels = " ".join(given.labels())
    _refuse_request(path, labels)
    if TRUSTED in labels:
        raise CatcherError("%s has a certificate of the label %s, which only OpenSSL reads" % (path, TRUSTED),
                           _conversion("x509 -in", given))
    if given.blocks:
        raise CatcherError("%s holds no certificate" % path, "name the file with the certificate last: KEY CRT")
    if PKCS12 in given.data[:12]:
        raise _pkcs12(given)
    if _is_der_certificate(given.data):
        raise CatcherError("%s is DER, and the certificate must be PEM" % path,
                           _conversion("x509 -inform DER -in", given))
    raise CatcherError("%s is not PEM" % path, "a PEM certificate begins with -----BEGIN CERTIFICATE-----")


def _require_valid(chain: "List[details.Certificate]", given: PemFile, now: float) -> None:
    for number, one in enumerate(chain, 1):
        if one.problem:
            # The verdict reports it as a problem of the chain.
            continue
        which = "the certificate in %s" % given.path
        if number > 1:
            which = "certificate %d of the chain in %s (%s)" % (number, given.path, shown(one.subject, 60))
        if now > one.not_after:
            raise CatcherError("%s expired on %s" % (which, moment(one.not_after)),
                               "let your CA issue a new certificate")
        if now < one.not_before:
            raise CatcherError("%s is not valid before %s" % (which, moment(one.not_before)),
                               "check this host's clock with timedatectl, or install the certificate after that date")


# -- names -------------------------------------------------------------------------------------------------------------


def require_names(host: "Host", one: "details.Certificate", wanted: "List[str]", again: str) -> None:
    """Raise CatcherError unless a certificate contains every name of *wanted*, or, if that is empty, one of the host's.

    again: the command to which the hint adds ``--name``.
    """
    theirs = names_text(one.names())
    for name in wanted:
        if not details.match(name, one):
            raise CatcherError("the certificate does not name %s; it names %s" % (shown(name), theirs),
                               command("request a certificate with that name:\n  catcherctl cert request --name", name))
    ours = host_names.collect(host).every()
    if not wanted and not any(details.match(name, one) for name in ours):
        raise CatcherError(
            "the certificate is not for this host: it names %s, and this is %s" % (theirs, names_text(ours)),
            "if the TKE uses another name for this host, type:\n  %s --name NAME" % again,
        )
