"""A certificate request for a CA, and the key that waits for its answer."""

from .. import apply, pair, paths, plan, stamp
from .. import facts as fact_collector
from ..capture import why_unread
from ..cert import crypto, generate, host_names, submitted
from ..errors import CatcherError, reason_of
from ..host import NOTHING
from ..text import shown
from .change import Locked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Optional, Tuple

    from ..host import Host

WRITE_HINT = "name another file:\n  catcherctl cert request --out FILE"


def request(host: "Host", wanted: "List[str]", present_key: bool, out: "Optional[str]") -> "Tuple[bytes, List[str]]":
    """Return a certificate request (PKCS#10, PEM) for a CA to sign, and lines that say what to do with it.

    The first request makes a key, which is kept until cert_install.install() gets the certificate for it. So the
    running pair is not touched, and all requests until then have the same key. present_key: use catcher.key instead.
    wanted: further names for the certificate, the first one for its CN; if empty, those of the present certificate.
    out: a new file to write the request to. Raises CatcherError.
    """
    lib = crypto.load()
    if out is not None:
        # Checked before a key is made for nothing.
        _require_new(host, out)
    kept = [] if wanted else _asked_before(host)
    path = paths.KEY if present_key else paths.REQUEST_KEY
    if present_key and not host.lexists(path):
        raise CatcherError("there is no %s" % path, "make a new key:\n  catcherctl cert request")
    made = not present_key and _make_key(host)
    key_file = submitted.read_file(host, path)
    key = submitted.load_key(key_file, lib)
    names = generate.subject(host_names.collect(host), wanted or kept)
    try:
        data = crypto.call(_signing_request, key, names, lib)
    except crypto.Unreadable as error:
        # FIPS mode, or a policy, may refuse the key or the digest.
        raise CatcherError("python3-cryptography cannot make a request for %s (%s)" % (path, error),
                           "see what is wrong:\n  catcherctl cert check") from error
    if wanted or kept:
        # cert_install.install() and the next request need these names.
        of_key = pair.fingerprint(key_file.keys()[0][1])
        with Locked(host):
            _note(host, lambda known: stamp.with_names(known, of_key, wanted or kept))
    lines = []
    if kept:
        wish = generate.Wish(names=kept, key_type="", days=0)
        lines.append(submitted.command("Asked for the names of the present certificate:", *generate.options(wish)))
    if out is not None:
        try:
            host.create(host.absolute(out), data, 0o644)
        except OSError as error:
            if made:
                host.remove(path)
            raise _not_written(out, error) from error
        lines.append("Wrote the request to %s." % shown(out))
    lines.append("Its key stays in %s; only root can read it." % path)
    lines.append("When your CA has signed it, type: catcherctl cert install CERTIFICATE")
    return data, lines


def _make_key(host: "Host") -> bool:
    """Make the key of a request, if there is none. Returns whether it was made. Raises CatcherError and OSError."""
    if host.lexists(paths.REQUEST_KEY):
        return False
    plan.refuse_key_in_image(fact_collector.collect(host))
    with Locked(host):
        # Another request may have made it meanwhile.
        if host.lexists(paths.REQUEST_KEY):
            return False
        new = generate.new_key(host)
        # Note it first, so that a purge knows that the key is ours. replace() writes the complete key or nothing.
        _note(host, lambda known: stamp.with_key(known, pair.fingerprint(new)))
        host.replace(paths.REQUEST_KEY, new, pair.KEY_MODE)
    return True


def _asked_before(host: "Host") -> "List[str]":
    """Return the names for which the present certificate was requested or installed: the TKE may use one of them.
    Raises CatcherError if they are not known for now."""
    known = _stamp(host)
    try:
        present = pair.fingerprint(*pair.read(host))
    except OSError as error:
        reason = why_unread("the pair", error) if error.errno not in NOTHING else ""
        if reason:
            raise _not_made(reason) from error
        return []
    return known.asked_names(present) if known is not None else []


def _stamp(host: "Host") -> "Optional[stamp.Stamp]":
    """Return the stamp, if there is one. Raises CatcherError if it cannot be read."""
    known, unread = fact_collector.read_stamp(host)
    if unread:
        raise _not_made(unread)
    return known


def _not_made(reason: str) -> CatcherError:
    return CatcherError("no request was made: %s" % reason, "fix the cause, then type the same command again")


def _note(host: "Host", change: "Callable[[stamp.Stamp], stamp.Stamp]") -> None:
    """Change the stamp, if there is one. The caller holds the lock. Raises OSError, and CatcherError if the stamp
    cannot be read."""
    known = _stamp(host)
    if known is not None and change(known) != known:
        apply.put_stamp(host, change(known))


def _require_new(host: "Host", out: str) -> None:
    """Raise CatcherError if no new file of this name can be made."""
    try:
        path = host.absolute(out)
        if host.lexists(path):
            raise CatcherError("%s exists already" % shown(out), "name another file, or remove it")
        if not host.is_dir(path.rpartition("/")[0] or "/"):
            raise CatcherError("%s: no such directory" % shown(out), WRITE_HINT)
    except OSError as error:
        raise _not_written(out, error) from error


def _not_written(out: str, error: OSError) -> CatcherError:
    return CatcherError("%s: %s" % (shown(out) or "an empty name", reason_of(error).lower()), WRITE_HINT)


def _signing_request(key: "Any", names: "Tuple[str, List[str], List[str]]", lib: "crypto.Crypto") -> bytes:
    """PKCS#10, PEM, for a server with these names: CN, DNS names and addresses."""
    import ipaddress

    x509, hashes = lib.x509, lib.hashes
    common_name, dns, addresses = names
    subject = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, common_name)])
    alternatives = [x509.DNSName(name) for name in dns]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    size = key.curve.key_size if isinstance(key, lib.ec.EllipticCurvePrivateKey) else 256
    digest = hashes.SHA512() if size > 384 else hashes.SHA384() if size > 256 else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return bytes(builder.sign(key, digest, lib.backend).public_bytes(lib.serialization.Encoding.PEM))
