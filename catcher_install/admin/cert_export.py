"""The certificate and its hashes on a USB stick, for the TKE."""

from .. import paths, reference
from ..cert import host_names
from ..errors import AS_ROOT, CatcherError, reason_of
from ..text import plain, shown
from .installed_pair import certificate_lines, installed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from ..host import Host
    from .installed_pair import Installed

SHEET = "catcher-hashes.txt"


def export(host: "Host", directory: str) -> "List[str]":
    """Write the certificate, never the key, and a sheet with its hashes into a directory. Returns what was done.

    Both files are on disk when this returns. A link with one of their names is replaced, not followed. Raises
    CatcherError.
    """
    seen = installed(host)
    if not seen.chain:
        raise CatcherError(seen.problem, "see what is wrong:\n  catcherctl cert check")
    typed = shown(directory) or "an empty name"
    if not directory or not host.is_dir(host.absolute(directory)):
        raise CatcherError("%s is not a directory" % typed,
                           "mount the USB stick, and name the directory where it is mounted")
    target = host.absolute(directory)
    if host.real_path(target) + "/catcher.crt" in (
        host.real_path(paths.BIN) + "/catcher.crt", host.real_path(paths.CERTIFICATE)
    ):
        # The export would overwrite the certificate in use.
        raise CatcherError("the certificate in use is in %s" % typed, "name another directory")
    contents = (("catcher.crt", b"".join(seen.blocks)), (SHEET, _sheet(host, seen)))
    drafts = [paths.draft(target + "/" + name) for name, _ in contents]
    try:
        for draft, (_, data) in zip(drafts, contents):
            host.remove(draft)
            host.create(draft, data, 0o644)
        for draft, (name, _) in zip(drafts, contents):
            host.rename(draft, target + "/" + name)
        host.sync_dir(target)
    except OSError as error:
        for draft in drafts:
            _remove_quietly(host, draft)
        hint = "make room there, or name another directory"
        if isinstance(error, PermissionError):
            hint = "name another directory" + ("" if host.is_root() else ", or " + AS_ROOT)
        raise CatcherError("%s: %s" % (typed, reason_of(error).lower()), hint) from error
    lines = ["Wrote %s/%s" % (typed, name) for name, _ in contents]
    there, root = host.lstat(target), host.lstat("/")
    if there is not None and root is not None and there.st_dev == root.st_dev:
        lines.append("Note: %s is on the disk of this system; is the USB stick mounted?" % typed)
    return lines + ["Unmount the stick before you take it out. The steps at the TKE: catcherctl tke-guide tls"]


def _remove_quietly(host: "Host", path: str) -> None:
    try:
        host.remove(path)
    except OSError:
        # The device is gone or read-only; the first error says so.
        return


def _sheet(host: "Host", seen: "Installed") -> bytes:
    """Return the hash sheet: plain ASCII. Raises CatcherError if only root may read the catcher's port."""
    reference.require_in_sight(host)
    text = ["Certificate of the TKE catcher on %s" % shown(host_names.collect(host).full), ""]
    for number, one in enumerate(seen.chain, 1):
        if len(seen.chain) > 1:
            text.append("Certificate %d of %d" % (number, len(seen.chain)))
        text += certificate_lines(one.fields()) + [""]
    text += ["The hashes in the TKE's Confirm Import window must be these.", "Port %d" % reference.port(host)]
    return "".join(plain(line) + "\n" for line in text).encode("ascii")
