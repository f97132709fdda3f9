"""Find out whether this host can speak TLS, from OpenSSL's version and from libssl's soname.

Both must fit (vendor text, "Dependencies"): OpenSSL 1.1.1 or newer, and libssl.so.1.1 or libssl.so.3 of this host's
architecture. Neither follows from the other: OpenSSL 1.1.0 also has soname 1.1, OpenSSL 4 has neither soname, and the
command may be installed without the library or the reverse.
"""

import errno

from . import paths
from .errors import reason_of
from .host import PASSING, UNSEEN
from .record import Record
from .text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from .host import Host

SONAMES = ("libssl.so.3", "libssl.so.1.1")
OLDEST = (1, 1, 1)
# Products whose command may be installed in place of OpenSSL's. They do not use a libssl.so.3 beside them.
OTHER_PRODUCTS = ("LibreSSL", "BoringSSL", "AWS-LC", "wolfSSL", "GnuTLS")

# The system's own library directories. Others (/usr/local, LD_LIBRARY_PATH) do not count.
LIBRARY_DIRS = ("/usr/lib64", "/lib64", "/usr/lib", "/lib")

# What limits OpenSSL: openssl.cnf of Debian and SUSE, that of Red Hat, the crypto-policies of Red Hat and SUSE.
POLICY_FILES = (
    "/etc/ssl/openssl.cnf", "/etc/pki/tls/openssl.cnf", "/etc/crypto-policies/back-ends/opensslcnf.config",
    "/etc/crypto-policies/state/current", "/etc/system-fips",
)

# Where ld.so(8) finds libraries. A new directory of libraries changes this file.
LOADER_CACHE = "/etc/ld.so.cache"


class TlsCapability(Record):
    """Whether TLS is possible, with the evidence.

    possible: True if version and soname fit, False if one does not, None if that is not known (reason says why).
    version: OpenSSL's version as the command prints it, e.g. "1.1.1k"; None if it is not known.
    library: path of a usable libssl, or None.
    reason: why not, as one sentence without its full stop; "" if TLS is possible.
    identity: a text that changes whenever a file changes on which the version depends; "" unless possible.
    """

    __slots__ = ("possible", "version", "library", "reason", "identity")
    possible: "Optional[bool]"
    version: "Optional[str]"
    library: "Optional[str]"
    reason: str
    identity: str


def parse_version(text: str) -> "Optional[Tuple[Tuple[int, int, int], str]]":
    """Return the version in what ``openssl version`` prints: ((major, minor, fix), full version), or None.

    If the command and its library differ ("3.0.7 1 Nov 2022 (Library: OpenSSL 3.0.8 ...)") the library's version
    counts: it is what a daemon loads. LibreSSL and other forks are not OpenSSL, also if they give its name for
    compatibility: None. A pre-release of 1.1.1 is older than 1.1.1, so its fix number is lowered by one.
    """
    if _is_other(text):
        return None
    marker = "(Library:"
    if marker in text:
        text = text.split(marker, 1)[1].strip().rstrip(")")
    words = text.split()
    if words and words[0] == "OpenSSL":
        words = words[1:]
    if not words:
        return None
    full = words[0]
    numbers = full.split("-", 1)[0].split("+", 1)[0].split(".")
    if len(numbers) < 3:
        return None
    fix = numbers[2].rstrip("abcdefghijklmnopqrstuvwxyz")
    parts = [numbers[0], numbers[1], fix]
    if not all(part.isdecimal() and len(part) < 6 for part in parts):
        return None
    major, minor, patch = (int(part) for part in parts)
    if (major, minor, patch) == OLDEST and full.startswith(("1.1.1-pre", "1.1.1-dev")):
        patch -= 1
    return (major, minor, patch), full


def _is_other(text: str) -> bool:
    """Return whether a text is the version of another product, e.g. "OpenSSL 1.1.1 (compatible; AWS-LC 1.30.1)"."""
    return any(name in text for name in OTHER_PRODUCTS)


class _NoAnswer(Exception):
    """OpenSSL could not be asked this time, so it is not known whether TLS is possible. The text says why."""


def _version(host: "Host") -> "Tuple[Optional[str], str]":
    """Return OpenSSL's version or None, and why it is not new enough or "". Raises _NoAnswer.

    The answer is no only if the command does not exist, or if it prints its name and version and nothing else. Only
    standard output is read.
    """
    try:
        status, output = host.run([paths.OPENSSL, "version"], timeout=10, only_output=True)
    except OSError as error:
        if isinstance(error, FileNotFoundError) and host.identity(paths.OPENSSL) == "-":
            return None, "the command %s is not installed" % paths.OPENSSL
        # This may be a command whose interpreter or loader is missing, halfway through an upgrade of these.
        raise _NoAnswer("%s does not run (%s)" % (paths.OPENSSL, reason_of(error))) from error
    if status > 128:
        raise _NoAnswer("%s was killed by signal %d" % (paths.OPENSSL, status - 128))
    if status != 0:
        raise _NoAnswer("%s version failed with exit status %d" % (paths.OPENSSL, status))
    lines = [line for line in output.decode("ascii", "replace").splitlines() if line.strip()]
    text = lines[0] if lines else ""
    said = "%s is not an OpenSSL that is understood (%s)" % (paths.OPENSSL, shown(text, 60) or "no output")
    alone = len(lines) == 1
    # A library from ld.so.preload may print lines, too.
    versions = {parse_version(line) for line in lines if alone or line.startswith("OpenSSL ")}
    parsed = versions.pop() if len(versions) == 1 else None
    if parsed is not None and parsed[0] >= OLDEST:
        return parsed[1], ""
    # A no counts only if it is the only line and names its product.
    if alone and parsed is not None and text.startswith("OpenSSL "):
        return parsed[1], "OpenSSL %s is older than 1.1.1" % parsed[1]
    if alone and text.startswith(("OpenSSL ",) + OTHER_PRODUCTS) and _is_other(text):
        return None, said
    raise _NoAnswer(said)


def _elf_identity(header: bytes) -> "Optional[bytes]":
    """Return class, byte order and machine from the first 20 bytes of an ELF file; None for any other file."""
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    return header[4:6] + header[18:20]


def _library(host: "Host") -> "Tuple[Optional[str], str]":
    """Return the libssl that a daemon on this host can load: (path, ""), or (None, why there is none). Raises
    _NoAnswer."""
    own = _elf_identity(host.own_elf_header())
    seen: List[str] = []
    refused: List[str] = []
    for directory in LIBRARY_DIRS:
        inside = [directory]
        try:
            # Debian's multiarch directories: /usr/lib/s390x-linux-gnu
            names = host.list_dir(directory, certain=True) if directory.endswith("/lib") else []
            inside = [directory + "/" + name for name in names if "-linux-" in name] + inside
        except OSError:
            refused.append("%s cannot be read" % directory)
        for place in inside:
            for soname in SONAMES:
                path = place + "/" + soname
                try:
                    if not host.lexists(path):
                        continue
                    header = host.read(path, limit=20, head=True)
                except OSError as error:
                    unknown_yet = error.errno in PASSING + (errno.EACCES,)
                    (refused if unknown_yet else seen).append("%s cannot be opened" % path)
                    continue
                identity = _elf_identity(header)
                if identity is None:
                    seen.append("%s is not a shared library" % path)
                elif own is not None and identity != own:
                    seen.append("%s is of another architecture" % path)
                else:
                    return path, ""
    if refused:
        raise _NoAnswer(refused[0])
    return None, seen[0] if seen else "neither libssl.so.3 nor libssl.so.1.1 is installed"


def policy(host: "Host", tls: TlsCapability) -> str:
    """Return a text that changes whenever OpenSSL or one of POLICY_FILES changes."""
    told = " ".join(host.identity(path) for path in POLICY_FILES)
    return "%s %s" % (tls.identity, told)


def is_same(remembered: object, now: str) -> bool:
    """Return whether a remembered text of policy() or TlsCapability.identity still holds. If a file cannot be looked at
    now, it may have changed."""
    return remembered == now and UNSEEN not in now


def _identity(host: "Host", library: str) -> str:
    """Return a text that changes whenever the command, libssl, the libcrypto beside it or the loader's cache does."""
    directory, _, soname = library.rpartition("/")
    return " ".join(
        host.identity(path)
        for path in (paths.OPENSSL, library, directory + "/" + soname.replace("ssl", "crypto"), LOADER_CACHE)
    )


def capability(host: "Host", memory: "Optional[Dict[str, object]]" = None) -> TlsCapability:
    """Return whether TLS is possible on this host: yes, no, or not known. Never raises, whatever state the host is in.

    Not known: the command was killed, hung, could not be started, or printed something unexpected. That is never taken
    for a no. memory: what remember() returned for an earlier yes, which holds until there is evidence against it. If no
    file has changed, the command is not run: that would take a third of the time that Python needs to start.
    """
    known = (memory or {}).get("version")
    library, missing = None, ""
    try:
        library, missing = _library(host)
        identity = _identity(host, library) if library is not None else ""
        if identity and isinstance(known, str) and is_same((memory or {}).get("identity"), identity):
            return _possible(known, library, identity)
        version, reason = _version(host)
    except _NoAnswer as error:
        if missing:
            # Without the library the answer is no, whatever the command says.
            return _impossible(None, None, missing)
        if isinstance(known, str):
            return _possible(known, library, str((memory or {}).get("identity")))
        return unknown(str(error), library)
    if reason or missing:
        return _impossible(version, library, "; ".join(one for one in (reason, missing) if one))
    return _possible(str(version), library, identity)


def words(reason: str) -> str:
    """Return OpenSSL's name of a reason, e.g. NO_SHARED_CIPHER, in words, or a message of Python's without the place in
    its source code."""
    text = reason.lower().replace("_", " ") if reason.isupper() else reason
    text = text.partition(" (_ssl.c")[0].replace("[SSL] ", "")
    # In "sslv3 alert handshake failure", the version is the one that introduced the alert, not the one in use.
    version, _, alert = text.partition(" ")
    text = "alert " + alert.replace("alert ", "", 1) if version.startswith(("sslv", "tlsv")) else text
    return shown(text, 100)


def unknown(reason: str, library: "Optional[str]" = None) -> TlsCapability:
    """Return the answer "not known". reason: why it is not known."""
    return TlsCapability(possible=None, version=None, library=library, reason=reason, identity="")


def _impossible(version: "Optional[str]", library: "Optional[str]", reason: str) -> TlsCapability:
    return TlsCapability(possible=False, version=version, library=library, reason=reason, identity="")


def _possible(version: str, library: "Optional[str]", identity: str) -> TlsCapability:
    return TlsCapability(possible=True, version=version, library=library, reason="", identity=identity)


def remember(tls: TlsCapability) -> "Optional[Dict[str, object]]":
    """Return the memory for the next capability(); None if the answer is not yes: then OpenSSL is asked each time."""
    return {"identity": tls.identity, "version": tls.version} if tls.identity else None
