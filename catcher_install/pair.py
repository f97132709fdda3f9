"""catcher.key and catcher.crt: look at them, and put a pair in place, both files or neither.

A pair is written into a draft directory, synced, and made final by renaming that directory to STAGE. Then only two hard
links put it in place, which any later run can make: link(2) never replaces a file. A file in place and its staged copy
are one inode, so a change of one changes both. Therefore the stage also notes the fingerprint of the pair that we made.
A draft that was never finished is removed.

Only an administrator's command replaces a pair. That becomes final in the same way, by renaming the draft to
REPLACE_STAGE. That directory contains the new files, and links to the files that they replace. Then only two renames
remain, which any later run can make. A file that somebody else has put there meanwhile is left alone.
"""

import os
import stat

from . import paths
from .errors import CatcherError
from .record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

    from .host import Host

NONE = "none"
KEY_ONLY = "key only"
CERTIFICATE_ONLY = "certificate only"
BOTH = "both"

KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644
# A chain of a dozen certificates is below 32 KiB.
SIZE_LIMIT = 256 * 1024

FILES = ("catcher.key", "catcher.crt")

# Names in REPLACE_STAGE begin with these, followed by one of FILES. KEPT, DROPPED: a link to the replaced file, which
# will be kept beside the new one, or dropped. REMOVED: marks a file that is removed and has no new one.
KEPT = "keep."
DROPPED = "drop."
REMOVED = "remove."
# The characters in a suffix of _free_suffix(), and the suffix of paths.REQUEST_KEY.
SUFFIX_CHARACTERS = set(".-0123456789TZ")
REQUEST_SUFFIX = paths.REQUEST_KEY[len(paths.KEY):]


class PairFiles(Record):
    """The files at the pair's two paths.

    state: NONE, KEY_ONLY, CERTIFICATE_ONLY or BOTH (any kind of file counts, even a dangling link).
    fingerprint: fingerprint() of the two files; "" unless BOTH, or if they cannot be read. key_size: bytes of the key.
    key_open: how users other than root can read the key, for a message; "" if they cannot. key_linked: the key is a
    link. certificate_open: users other than root can read the certificate.
    staged: a complete pair waits to be placed. draft: one of paths.DRAFTS exists, which was never finished.
    """

    __slots__ = ("state", "fingerprint", "key_size", "key_open", "key_linked", "certificate_open", "staged", "draft")
    state: str
    fingerprint: str
    key_size: int
    key_open: str
    key_linked: bool
    certificate_open: bool
    staged: bool
    draft: bool


def look(host: "Host") -> PairFiles:
    """Return what is at the pair's two paths. Raises OSError if not even lstat() works."""
    key = host.lstat(paths.KEY)
    certificate = host.lstat(paths.CERTIFICATE)
    if key is not None and certificate is not None:
        state = BOTH
    elif key is not None:
        state = KEY_ONLY
    else:
        state = NONE if certificate is None else CERTIFICATE_ONLY
    made, key_size = _fingerprint_in_place(host) if state == BOTH else ("", 0)
    linked = key is not None and stat.S_ISLNK(key.st_mode)
    return PairFiles(
        state=state, fingerprint=made, key_size=key_size, key_open=_open_to(host, key, linked), key_linked=linked,
        certificate_open=host.open_mode(paths.CERTIFICATE) != 0,
        staged=host.is_own_dir(paths.STAGE) or host.is_own_dir(paths.REPLACE_STAGE),
        draft=any(host.lexists(one) for one in paths.DRAFTS),
    )  # fmt: skip


def _open_to(host: "Host", key: "Optional[os.stat_result]", linked: bool) -> str:
    """Return PairFiles.key_open. key: the key's lstat(). linked: it is a link."""
    mode = host.open_mode(paths.KEY)
    if mode:
        return "mode %04o" % mode
    return "owner: user %d" % key.st_uid if key and not linked and not host.is_own(paths.KEY, key) else ""


def _fingerprint_in_place(host: "Host") -> "tuple":
    """Return the fingerprint and the key's size; "" and 0 if the files cannot be read."""
    try:
        key, certificate = read(host)
        return fingerprint(key, certificate), len(key)
    except OSError:
        return "", 0


def read(host: "Host") -> "tuple":
    """Return the bytes of key and certificate file. Raises OSError."""
    return host.read(paths.KEY, SIZE_LIMIT), host.read(paths.CERTIFICATE, SIZE_LIMIT)


def fingerprint(key: bytes, certificate: bytes = b"") -> str:
    """Return SHA-256 in hex over both files, as ``cat catcher.key catcher.crt | sha256sum`` prints it."""
    return hash_of(key + certificate, "sha256")


def hash_of(data: bytes, name: str) -> str:
    """Return the sha1 or sha256 of bytes in hex. It identifies them, and serves no security.

    Python's own code is used if it exists: hashlib loads OpenSSL, which takes longer than the rest of a daemon start,
    and whose policy may refuse SHA-1.
    """
    try:
        if name == "sha1":
            from _sha1 import sha1 as own  # type: ignore[import-not-found]
        else:
            try:
                from _sha2 import sha256 as own  # type: ignore[import-not-found]
            except ImportError:
                from _sha256 import sha256 as own  # type: ignore[import-not-found]
        return str(own(data).hexdigest())
    except ImportError:
        import hashlib
    # From Python 3.9.
    told: Dict[str, Any] = {"usedforsecurity": False}
    try:
        return str(hashlib.new(name, data, **told).hexdigest())
    except TypeError:
        return hashlib.new(name, data).hexdigest()


def suffixes(host: "Host") -> "List[str]":
    """Return the suffixes of all keys and certificates in BIN, sorted. Raises OSError.

    "" is the pair in place, ".20261123T211200Z" a kept pair, ".request" the key of a certificate request.
    """
    found = set()
    for name in host.list_dir(paths.BIN, certain=True):
        suffix = name[len(FILES[0]):]
        if name.startswith(FILES) and (suffix == REQUEST_SUFFIX or not set(suffix) - SUFFIX_CHARACTERS):
            found.add(suffix)
    return sorted(found)


def ours(host: "Host", made: "Callable[[str], bool]") -> "List[Tuple[str, str]]":
    """Return (fingerprint, suffix) of each pair, and of the key of a request, if the stamp proves that we made it.

    suffix: see suffixes(). The key of a request has no certificate. made: Stamp.made(). Raises OSError.
    """
    found = []
    for suffix in suffixes(host):
        parts = [paths.KEY + suffix] + [paths.CERTIFICATE + suffix] * (suffix != REQUEST_SUFFIX)
        there = [host.lstat(path) for path in parts]
        if all(entry is not None and stat.S_ISREG(entry.st_mode) for entry in there):
            digest = fingerprint(*[host.read(path, SIZE_LIMIT) for path in parts])
            if made(digest):
                found.append((digest, suffix))
    return found


def stage(host: "Host", key: bytes, certificate: bytes) -> None:
    """Write a complete pair into STAGE; it is on disk when this returns. Raises OSError; then at most a draft is left.

    key, certificate: PEM. STAGE must not exist: place() and clear() an earlier one first.
    """
    try:
        _write_draft(host, key, certificate)
        _mark(host, fingerprint(key, certificate))
        host.sync_dir(paths.STAGE_DRAFT)
        host.rename(paths.STAGE_DRAFT, paths.STAGE)
    except OSError:
        # No hard links, or no room: leave no copy of a key behind.
        host.remove_tree_of_files(paths.STAGE_DRAFT)
        raise
    host.sync_dir(paths.BIN)


def _write_draft(host: "Host", key: bytes, certificate: bytes) -> None:
    host.remove_tree_of_files(paths.STAGE_DRAFT)
    host.make_dir(paths.STAGE_DRAFT, 0o700)
    host.create(paths.STAGE_DRAFT + "/catcher.key", key, KEY_MODE)
    host.create(paths.STAGE_DRAFT + "/catcher.crt", certificate, CERTIFICATE_MODE)


def _mark(host: "Host", made: str) -> None:
    host.link(paths.STAGE_DRAFT + "/catcher.key", paths.STAGE_DRAFT + "/" + paths.GENERATED + made)


def place(host: "Host") -> str:
    """Link a staged pair to its place. STAGE stays as proof until clear(). A second call changes nothing.

    Returns its fingerprint(), or "" if somebody has changed the staged files. Raises CatcherError if somebody else's
    file is in the way: it stays, and what this call placed is removed. What an earlier run placed stays, because
    somebody may have made a certificate for that key. Raises OSError for any other failure.
    """
    placed: List[str] = []
    for name in FILES:
        target = paths.BIN + "/" + name
        try:
            host.link(paths.STAGE + "/" + name, target)
            placed.append(target)
        except FileExistsError:
            if not _same_file(host.lstat(paths.STAGE + "/" + name), host.lstat(target)):
                for ours in placed:
                    host.remove(ours)
                clear(host)
                why = "%s appeared while a pair was being made; it was left alone" % target
                raise CatcherError(why, "see what is wrong:\n  catcherctl status") from None
    host.sync_dir(paths.BIN)
    return _made(host, paths.STAGE, paths.STAGE)


def _made(host: "Host", stage: str, where: str) -> str:
    """Return the fingerprint() that a stage has noted; "" if the pair in the directory *where* has another one now."""
    found = fingerprint(*(host.read(where + "/" + name, SIZE_LIMIT) for name in FILES))
    return found if paths.GENERATED + found in host.list_dir(stage, certain=True) else ""


def _same_file(one: "Optional[os.stat_result]", other: "Optional[os.stat_result]") -> bool:
    return one is not None and other is not None and (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)


def clear(host: "Host") -> None:
    """Remove the stages and drafts. A stage is renamed to a draft first, so that a crash leaves only a draft."""
    purged = paths.STAGE_DRAFT + "/" + paths.PURGED_KEY
    lone = host.lexists(paths.CERTIFICATE) and not host.lexists(paths.KEY)
    if lone and host.is_own_dir(paths.STAGE_DRAFT) and host.lexists(purged):
        # A purge was interrupted (hooks/postrm.sh).
        host.rename(purged, paths.KEY)
        host.sync_dir(paths.BIN)
    if host.is_own_dir(paths.REPLACE_STAGE):
        _finish_replacement(host)
    if host.lexists(paths.STAGE):
        host.remove_tree_of_files(paths.STAGE_DRAFT)
        host.rename(paths.STAGE, paths.STAGE_DRAFT)
        # On disk before its files are removed: a stage without them could never be placed.
        host.sync_dir(paths.BIN)
    for one in paths.DRAFTS:
        host.remove_tree_of_files(one)
    host.sync_dir(paths.BIN)


# -- in the place of another pair --------------------------------------------------------------------------------------


class NotReplaced(CatcherError):
    """A pair was not put in place, because the files there may not be replaced or have changed meanwhile."""


def begin_replacement(host: "Host", key: bytes, certificate: bytes, generated: bool) -> str:
    """Write to disk the decision that a new pair replaces the present files; place_replacement() carries it out.

    key, certificate: PEM. generated: whether we made them. Returns the suffix under which the present files will be
    kept, e.g. ".20261123T211200Z". Nothing may be staged. Raises OSError or NotReplaced; then nothing has changed.
    """
    for name in FILES:
        there = host.lstat(paths.BIN + "/" + name)
        if there is not None and not (stat.S_ISREG(there.st_mode) or stat.S_ISLNK(there.st_mode)):
            raise NotReplaced("%s/%s is neither a file nor a link" % (paths.BIN, name), "move it away first")
    suffix = _free_suffix(host)
    try:
        _write_draft(host, key, certificate)
        _commit_replacement(host, fingerprint(key, certificate) if generated else "", KEPT, suffix)
    except OSError:
        host.remove_tree_of_files(paths.STAGE_DRAFT)
        raise
    return suffix


def begin_return(host: "Host", suffix: str, generated: bool) -> None:
    """Write to disk the decision that a kept pair comes back, with its owner, mode and times, and that the pair in
    place is removed; place_replacement() carries it out.

    suffix: what begin_replacement() returned. generated: whether we made the kept pair. Raises OSError; then nothing
    has changed.
    """
    try:
        made = ""
        if generated:
            made = fingerprint(*(host.read(one + suffix, SIZE_LIMIT) for one in (paths.KEY, paths.CERTIFICATE)))
        host.remove_tree_of_files(paths.STAGE_DRAFT)
        host.make_dir(paths.STAGE_DRAFT, 0o700)
        for name in FILES:
            kept = paths.BIN + "/" + name + suffix
            if host.lexists(kept):
                host.link(kept, paths.STAGE_DRAFT + "/" + name)
            else:
                host.create(paths.STAGE_DRAFT + "/" + REMOVED + name, b"", 0o600)
        _commit_replacement(host, made, DROPPED, "")
    except OSError:
        host.remove_tree_of_files(paths.STAGE_DRAFT)
        raise


def _free_suffix(host: "Host") -> str:
    """Return a suffix that no file has yet: the time in UTC, with a number if that is taken."""
    import time

    taken = host.list_dir(paths.BIN, certain=True)
    moment = time.strftime(".%Y%m%dT%H%M%SZ", time.gmtime(host.now()))
    suffix, number = moment, 1
    while any(name + suffix in taken for name in FILES):
        number += 1
        suffix = "%s-%d" % (moment, number)
    return suffix


def _commit_replacement(host: "Host", made: str, prefix: str, suffix: str) -> None:
    """Link the replaced files into the draft and make it final. made: the new pair's fingerprint() if ours, else ""."""
    for name in FILES:
        if host.lexists(paths.BIN + "/" + name):
            host.link(paths.BIN + "/" + name, paths.STAGE_DRAFT + "/" + prefix + name + suffix)
    if made:
        _mark(host, made)
    host.sync_dir(paths.STAGE_DRAFT)
    host.rename(paths.STAGE_DRAFT, paths.REPLACE_STAGE)
    host.sync_dir(paths.BIN)


def place_replacement(host: "Host") -> str:
    """Put the pair in REPLACE_STAGE in place. The stage stays as proof until clear(). A second call changes nothing.

    Returns the fingerprint() of a pair that we made; "" for any other pair, or if somebody has changed ours. Raises
    NotReplaced if somebody else has put a file there meanwhile, which stays; OSError for any other failure.
    """
    staged = host.list_dir(paths.REPLACE_STAGE, certain=True)
    for name in FILES:
        new, target = paths.REPLACE_STAGE + "/" + name, paths.BIN + "/" + name
        if name not in staged and REMOVED + name not in staged:
            continue
        ours, there = host.lstat(new), host.lstat(target)
        if _same_file(ours, there):
            # rename(2) does nothing between two names of one file.
            host.remove(new)
            continue
        before = [one for one in staged if one == DROPPED + name or one.startswith(KEPT + name + ".")]
        if there is not None and not any(
            _same_file(there, host.lstat(paths.REPLACE_STAGE + "/" + one)) for one in before
        ):
            clear(host)
            why = "%s was changed while it was being replaced; it was left alone" % target
            raise NotReplaced(why, "see what is wrong:\n  catcherctl cert check")
        if ours is not None:
            host.rename(new, target)
        elif there is not None:
            host.remove(target)
    host.sync_dir(paths.BIN)
    host.sync_dir(paths.REPLACE_STAGE)
    is_ours = any(name.startswith(paths.GENERATED) for name in staged)
    return _made(host, paths.REPLACE_STAGE, paths.BIN) if is_ours else ""


def _finish_replacement(host: "Host") -> None:
    """Keep the replaced files beside the new ones, and remove the stage."""
    names = host.list_dir(paths.REPLACE_STAGE, certain=True)
    for name in names:
        if name.startswith(KEPT):
            _keep(host, paths.REPLACE_STAGE + "/" + name, paths.BIN + "/" + name[len(KEPT):])
    if any(name.startswith(DROPPED) for name in names):
        _forget_kept(host)
    host.sync_dir(paths.BIN)
    host.remove_tree_of_files(paths.STAGE_DRAFT)
    host.rename(paths.REPLACE_STAGE, paths.STAGE_DRAFT)
    host.sync_dir(paths.BIN)
    host.remove_tree_of_files(paths.STAGE_DRAFT)


def _forget_kept(host: "Host") -> None:
    """Remove the names under which a pair was kept that is in place again."""
    for kept in host.list_dir(paths.BIN, certain=True):
        for name in FILES:
            path = paths.BIN + "/" + kept
            if kept.startswith(name + ".") and _same_file(host.lstat(path), host.lstat(paths.BIN + "/" + name)):
                host.remove(path)


def _keep(host: "Host", staged: str, kept: str) -> None:
    """Link a staged file to the name *kept*, with a number behind it if somebody else's file has that name."""
    free, number = kept, 1
    while True:
        try:
            host.link(staged, free)
            return
        except FileExistsError:
            # An earlier run may have made this link already.
            if _same_file(host.lstat(staged), host.lstat(free)):
                return
        number += 1
        free = "%s-%d" % (kept, number)
