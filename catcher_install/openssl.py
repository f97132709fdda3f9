"""Can this host speak TLS: OpenSSL's version and libssl's soname, each asked for itself.

Both must hold (vendor text, "Dependencies"): OpenSSL 1.1.1 or newer, and libssl.so.1.1 or libssl.so.3 of this host's
architecture. They are different tests: OpenSSL 1.1.0 also has soname 1.1, OpenSSL 4 has neither soname, and the
command may be installed without the library or the reverse.
"""

import errno
import os

from . import paths
from .record import Record
from .text import shown

MYPY = False
if MYPY:
    from typing import Dict, Optional, Tuple

    from .host import Host

SONAMES = ("libssl.so.3", "libssl.so.1.1")
OLDEST = (1, 1, 1)
# What a command or a file may answer now and not in a moment.
PASSING = (errno.EACCES, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ETIMEDOUT,
           errno.EINTR)  # fmt: skip
# What Host.run() gives for SIGKILL and SIGTERM: a machine without memory, or one that goes down. Not for SIGSEGV.
KILLED = (137, 143)
# What ld.so(8) gives where it cannot load a program, and the two ways in which it ends its message with an error.
NOT_LOADED = 127
PASSING_ENDS = tuple(text for number in PASSING for text in (": " + os.strerror(number), ": Error %d" % number))

# The system's own library directories. Others (/usr/local, LD_LIBRARY_PATH) are an administrator's experiments.
LIBRARY_DIRS = ("/usr/lib64", "/lib64", "/usr/lib", "/lib")

# Where ld.so(8) finds libraries: a new directory of libraries changes it.
LOADER_CACHE = "/etc/ld.so.cache"


class TlsCapability(Record):
    """Whether TLS is possible, with the evidence.

    possible: both tests hold.
    version: OpenSSL's version as the command prints it, e.g. "1.1.1k"; None where it is not known.
    library: path of a usable libssl, or None.
    reason: why not, as one sentence without its full stop; "" where TLS is possible.
    identity: a text that changes whenever a file does that the version depends on; "" unless possible.
    """

    __slots__ = ("possible", "version", "library", "reason", "identity")
    possible: bool
    version: "Optional[str]"
    library: "Optional[str]"
    reason: str
    identity: str


def parse_version(text: str) -> "Optional[Tuple[Tuple[int, int, int], str]]":
    """The version in what ``openssl version`` prints: ((major, minor, fix), full version), or None.

    Where the command and its library differ ("3.0.7 1 Nov 2022 (Library: OpenSSL 3.0.8 ...)") the library's version
    counts: it is what a daemon loads. LibreSSL and other forks are not OpenSSL: None. A pre-release of 1.1.1 is
    older than 1.1.1, so its fix number is lowered by one.
    """
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
    if (major, minor, patch) == OLDEST and "-pre" in full:
        patch -= 1
    return (major, minor, patch), full


class _NoAnswer(Exception):
    """OpenSSL could not be asked this time; whether it can do TLS is not known."""


def _version(host: "Host") -> "Tuple[Optional[Tuple[int, int, int]], Optional[str], str]":
    """OpenSSL's version as (numbers, text, reason why not new enough or ""). Raises _NoAnswer."""
    try:
        status, output = host.run([paths.OPENSSL, "version"], timeout=10)
    except OSError as error:
        if error.errno in PASSING:
            raise _NoAnswer from error
        what = "is not installed" if error.errno == 2 else "does not run (%s)" % error.strerror
        return None, None, "the command %s %s" % (paths.OPENSSL, what)
    if status in KILLED:
        raise _NoAnswer
    text = output.decode("ascii", "replace").strip().split("\n")[0]
    # Saying nothing without an error is not having been able to write.
    if status == NOT_LOADED and text.endswith(PASSING_ENDS) or status == 0 and not text:
        raise _NoAnswer
    if status != 0:
        return None, None, "%s version failed with exit status %d" % (paths.OPENSSL, status)
    parsed = parse_version(text)
    if parsed is None:
        said = shown(text, 60) or "no output"
        return None, None, "%s is not an OpenSSL that is understood (%s)" % (paths.OPENSSL, said)
    numbers, full = parsed
    if numbers < OLDEST:
        return numbers, full, "OpenSSL %s is older than 1.1.1" % full
    return numbers, full, ""


def _elf_identity(header: bytes) -> "Optional[bytes]":
    """Class, byte order and machine of an ELF file's first 20 bytes; None where it is no ELF file."""
    if len(header) < 20 or header[:4] != b"\x7fELF":
        return None
    return header[4:6] + header[18:20]


def _library(host: "Host") -> "Tuple[Optional[str], str]":
    """A libssl that a daemon of this host's architecture can load, (path, "") or (None, reason). Raises _NoAnswer."""
    own = _elf_identity(host.own_elf_header())
    seen = []
    refused = False
    for directory in LIBRARY_DIRS:
        inside = [directory]
        if directory.endswith("/lib"):
            # Debian's multiarch directories: /usr/lib/s390x-linux-gnu
            inside = [directory + "/" + name for name in host.list_dir(directory) if "-linux-" in name] + inside
        for place in inside:
            for soname in SONAMES:
                path = place + "/" + soname
                if not host.lexists(path):
                    continue
                try:
                    header = host.read(path, limit=20, head=True)
                except OSError as error:
                    refused = refused or error.errno in PASSING
                    seen.append("%s cannot be opened" % path)
                    continue
                identity = _elf_identity(header)
                if identity is None:
                    seen.append("%s is not a shared library" % path)
                elif own is not None and identity != own:
                    seen.append("%s is of another architecture" % path)
                else:
                    return path, ""
    if refused:
        raise _NoAnswer
    return None, seen[0] if seen else "neither libssl.so.3 nor libssl.so.1.1 is installed"


def _identity(host: "Host", library: str) -> str:
    """The command, libssl, the libcrypto beside it and the loader's cache, as they are now."""
    directory, _, soname = library.rpartition("/")
    return " ".join(
        host.identity(path)
        for path in (paths.OPENSSL, library, directory + "/" + soname.replace("ssl", "crypto"), LOADER_CACHE)
    )


def capability(host: "Host", memory: "Optional[Dict[str, object]]" = None) -> "Optional[TlsCapability]":
    """Whether TLS is possible on this host; never raises for what a host may look like.

    None where it cannot be asked because of what may be over in a moment: no access, a disk that fails, too few
    descriptors, too little memory or time, a signal. A new host must not get TCP for good because of that.
    memory: what remember() gave for an earlier answer. While no file has changed the command is not run: that takes
    a third of the time that Python needs to start.
    """
    try:
        return _capability(host, memory)
    except _NoAnswer:
        return None


def _capability(host: "Host", memory: "Optional[Dict[str, object]]") -> TlsCapability:
    """As capability(); raises _NoAnswer."""
    library, library_reason = _library(host)
    identity = _identity(host, library) if library is not None else ""
    if memory is not None and identity and memory.get("identity") == identity:
        known = memory.get("version")
        if isinstance(known, str):
            return TlsCapability(possible=True, version=known, library=library, reason="", identity=identity)
    _, version, version_reason = _version(host)
    reasons = [reason for reason in (version_reason, library_reason) if reason]
    return TlsCapability(possible=not reasons, version=version, library=library, reason="; ".join(reasons),
                         identity="" if reasons else identity)  # fmt: skip


def remember(tls: TlsCapability) -> "Optional[Dict[str, object]]":
    """What capability() may be given the next time; None where the answer is no, which is asked for again each time."""
    return {"identity": tls.identity, "version": tls.version} if tls.identity else None
