"""The payload of the packages: a directory, or the vendor's .rpm or .deb, which is checked before anything is built.

A vendor's package is only data here. It is never installed, and none of its scriptlets is run. None of its paths is
written or followed before it has been checked. Its files are unpacked under numbers that we choose; links exist only as
text.
"""
from __future__ import annotations

import grp
import mmap
import os
import re
import shutil
import stat
import struct
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, cast

from catcher_install import paths
from tools.refusal import Refused

CATCHER = "opt/IBM/CCA/bin/catcher.exe"
# CCA's groups. A file of a payload may belong only to these or to root, because a host has no others for it.
GROUPS = paths.LEGACY_GROUPS

# CCA takes some tens of megabytes. A much larger payload is a mistake, or is meant to fill the disk of the build host.
MAX_BYTES = 2 << 30
MAX_ENTRIES = 20_000

# What is left out of a vendor's tree: what our package replaces (control script, unit, init script and its links), and
# what every host makes for itself, so that it must never be in a package (mode, pair and its other files, state, key
# storage).
LEFT_OUT = (
    ("opt/IBM/CCA/bin/CSUTKEcat", "the package has its own"),
    (r"(usr/)?lib/systemd/system/CSUTKEcat\.service", "the package has its own"),
    (r"etc/systemd/system/(.*/)?CSUTKEcat\.service", "the unit is enabled by the package"),
    (r"etc/(rc\.d/)?init\.d/CSUTKEcat", "the unit replaces it"),
    (r"etc/(rc\.d/|init\.d/)?rc[0-6S]\.d/[SK][0-9]*CSUTKEcat", "the unit replaces it"),
    (r"usr/s?bin/rcCSUTKEcat", "the unit replaces it"),
    (r"etc/cca/\.?catcher\.conf.*", "each host has its own"),
    (r"opt/IBM/CCA/bin/(catcher\.(key|crt)|\.catcher).*", "each host has its own"),
    (r"opt/IBM/CCA/keys/.*", "each host has its own"),
    (r"var/lib/csulcca(/.*)?", "each host has its own"),
    (r"(.*/)?__pycache__(/.*)?", "made at run time"),
    (r".*\.pyc", "made at run time"),
    (r"(.*/)?\.(git|ruff_cache|mypy_cache|pytest_cache|hypothesis)(/.*)?", "a tool's own"),
    (r"(.*/)?\.gitignore", "a tool's own"),
)
# Directories that a vendor's package brings, also if files in them are left out.
KEPT = paths.KEY_STORAGE.lstrip("/")
# A key as openssl and ssh-keygen write it, under any file name. A program that only contains the first line has no key.
PRIVATE_KEY = re.compile(rb"(?m)^-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----[ \t]*\r?\n([A-Za-z0-9+/=]{16}|Proc-Type:)")
# What the package itself installs; a payload must not have these paths, too.
OURS = re.compile(
    r"usr/lib/csulcca|usr/lib/csulcca/(catcher_install|hooks|run|version)(/.*)?|usr/sbin/catcherctl"
    r"|usr/share/csulcca/catcher\.conf|usr/lib/(tmpfiles|sysusers)\.d/csulcca\.conf"
    r"|usr/lib/systemd/system-preset/50-csulcca\.preset"
    r"|usr/lib/systemd/system/(timers\.target\.wants/)?csulcca-check\.(service|timer)"
    r"|usr/share/man/man[58]/(catcher\.conf|catcherctl|CSUTKEcat)\.[58](\..*)?"
    r"|usr/share/bash-completion/completions/catcherctl|usr/lib/firewalld/services/csulcca\.xml"
    r"|etc/ufw/applications\.d/csulcca"
)

# ELF header: class byte, byte order byte, machine -> (Debian's name, rpm's name)
ELF_MACHINES = {
    (2, 2, 22): ("s390x", "s390x"),
    (2, 1, 62): ("amd64", "x86_64"),
}
NO_MACHINE = ("all", "noarch")

# First bytes -> the kind of file, and what to do with it.
NOT_PACKAGES = (
    (b"-----BEGIN PGP", "an encrypted or signed file", "gpg --decrypt --output csulcca.rpm %s"),
    (b"\x85", "an encrypted file", "gpg --decrypt --output csulcca.rpm %s"),
    (b"\x8c", "an encrypted file", "gpg --decrypt --output csulcca.rpm %s"),
    (b"Salted__", "a file that openssl encrypted", "openssl enc -d -in %s -out csulcca.rpm"),
    (b"PK\x03\x04", "a zip archive", "unzip %s, and give the package in it"),
    (b"\x1f\x8b", "a compressed archive", "tar -xf %s, and give the package in it"),
)  # fmt: skip


class Entry(NamedTuple):
    """One file, directory or link.

    ``kind`` is "f", "d" or "l"; ``mode`` the permission bits; ``group`` root or one of GROUPS; ``capabilities`` the
    text that setcap(8) takes, "" for none; ``target`` is of a link; ``content`` is where a file's bytes lie.
    """

    kind: str
    mode: int
    group: str = "root"
    capabilities: str = ""
    target: str = ""
    content: Path | None = None

    @property
    def is_usual(self) -> bool:
        """Whether it has the usual owner and mode."""
        usual = {"l": (self.mode,), "d": (0o755,), "f": (0o644, 0o755)}[self.kind]
        return self.group == "root" and not self.capabilities and self.mode in usual


Entries = dict[str, Entry]


class Payload(NamedTuple):
    """What is packed, by path without the leading /; what is left out, with the reason; and the machine that it is
    for."""

    entries: Entries
    left_out: list[tuple[str, str]]
    machine: tuple[str, str]
    version: str | None
    """The package's own version, as it wrote it; None of a directory. Nothing is ever read out of it."""
    fix: str | None
    """What follows the version: rpm's release, Debian's revision."""


def read(path: Path, work: Path, *, plain: bool = False) -> Payload:
    """The payload that ``path`` names; files of a package are unpacked below ``work``.

    plain: modes and owners are an accident of a checkout, and become the usual ones. Raises Refused for anything that a
    package must not install on a host.
    """
    label = "PAYLOAD=%s" % path
    if path.is_dir():
        entries, version, fix = of_directory(path, plain), None, None
        again = "take it out of the directory, then make packages again"
    elif path.is_file():
        entries, version, fix = of_package(path, work)
        again = "the package is refused as it is; rpm -qplv or dpkg-deb -c lists what is in it: %s" % path
    else:
        raise Refused("%s: there is no such directory or package" % label,
                      "name an .rpm, a .deb or a directory; without PAYLOAD= the reference catcher is packaged")
    entries, left_out = without_ours(entries)
    for name, entry in entries.items():
        problem = problem_with(name, entry, entries)
        if problem:
            raise Refused("%s: %s" % (label, problem), again)
    catcher = entries.get(CATCHER)
    if catcher is None or catcher.kind != "f":
        raise Refused("%s: there is no file %s in it" % (label, CATCHER),
                      "the payload is laid over /, so the catcher must be %s in it" % CATCHER)
    return Payload(dict(sorted(entries.items())), left_out, machine_of(label, entries), version, fix)


# --- a directory


def of_directory(root: Path, plain: bool) -> Entries:
    """What is below ``root``. Groups are kept if they are CCA's, and capabilities if the kernel shows them."""
    found: Entries = {}
    size = 0
    for path, status in walk(root, ""):
        where = root / path
        mode = stat.S_IMODE(status.st_mode)
        size += status.st_size
        check_size("PAYLOAD=%s" % root, size, len(found))
        if stat.S_ISLNK(status.st_mode):
            found[path] = Entry("l", 0o777, target=os.readlink(where))
            continue
        if not stat.S_ISDIR(status.st_mode) and not stat.S_ISREG(status.st_mode):
            raise Refused("PAYLOAD=%s: /%s is a device, a socket or a named pipe" % (root, path),
                          "take it out of the directory, then make packages again")
        kind = "d" if stat.S_ISDIR(status.st_mode) else "f"
        if kind == "f" and mode & (stat.S_ISUID | stat.S_ISGID):
            # In a directory that may be an accident; in a package it is on purpose.
            raise Refused("PAYLOAD=%s: /%s is setuid or setgid" % (root, path),
                          "chmod ug-s %s   (or give the vendor's package, whose modes are kept)" % where)
        if plain:
            found[path] = Entry(kind, 0o755 if kind == "d" or mode & 0o100 else 0o644, content=where)
        else:
            found[path] = Entry(kind, mode, group_of(status), capabilities_of(where), content=where)
    return found


def walk(root: Path, below: str) -> Iterator[tuple[str, os.stat_result]]:
    try:
        names = sorted(os.listdir(root / below))
        for name in names:
            path = below + "/" + name if below else name
            status = os.lstat(root / path)
            if stat.S_ISREG(status.st_mode) and not os.access(root / path, os.R_OK):
                raise PermissionError(13, "permission denied")
            yield path, status
            if stat.S_ISDIR(status.st_mode):
                yield from walk(root, path)
    except OSError as error:
        raise Refused("PAYLOAD=%s: cannot read %s: %s" % (root, below or "it", error.strerror),
                      "ls -la %s" % (root / below)) from error


def group_of(status: os.stat_result) -> str:
    """The group's name if it is one of CCA's; any other group only says who unpacked the directory, and becomes
    root."""
    try:
        name = grp.getgrgid(status.st_gid).gr_name
    except KeyError:
        return "root"
    return name if name in GROUPS else "root"


def capabilities_of(path: Path) -> str:
    """The file's capabilities as getcap(8) writes them, or "" where there are none."""
    try:
        os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return ""
    done = subprocess.run(["getcap", str(path)], capture_output=True, text=True)
    if done.returncode:
        raise Refused("getcap failed on %s: %s" % (path, done.stderr.strip()), "getcap %s" % path)
    return done.stdout.strip().rpartition(" ")[2]


# --- the vendor's package


def of_package(path: Path, work: Path) -> tuple[Entries, str, str | None]:
    """(what is in the .rpm or .deb, its version, its release or revision); unpacked below ``work``."""
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(b"\xed\xab\xee\xdb"):
        return of_rpm(path, work)
    if head.startswith(b"!<arch>\ndebian"):
        return of_deb(path, work)
    for magic, what, hint in NOT_PACKAGES:
        if head.startswith(magic):
            raise Refused("PAYLOAD=%s is %s, not a package" % (path, what), hint % path)
    raise Refused("PAYLOAD=%s is neither a directory nor a .rpm or .deb package" % path,
                  "file %s   (a download that was cut off, or an error page?)" % path)


def of_rpm(path: Path, work: Path) -> tuple[Entries, str, str | None]:
    # Only digests: the person who fetched the package checks the vendor's signature, with rpm -K.
    output("rpm", "-K", "--nosignature", str(path), about=path)
    query = ["rpm", "-qp", "--nosignature", "--queryformat"]
    version, release, source, epoch = output(
        *query, r"%{VERSION}\t%{RELEASE}\t%{SOURCEPACKAGE}\t%{EPOCH}", str(path), about=path).split("\t")
    if source == "1":
        raise Refused("PAYLOAD=%s is a source package" % path, "give the binary package: csulcca-8.2.54.s390x.rpm")
    refuse_epoch(path, epoch.replace("(none)", "0"))
    listed = output(*query, r"[%{FILENAMES}\t%{FILEMODES:octal}\t%{FILEUSERNAME}\t%{FILEGROUPNAME}\t%{FILECAPS}\n]",
                    str(path), about=path)
    told: dict[str, tuple[int, str, str, str]] = {}
    for line in listed.splitlines():
        name, mode, user, group, capabilities = line.split("\t")
        told[name.lstrip("/")] = (int(mode, 8) & 0o7777, user, group,
                                  capabilities.replace("(none)", "").lstrip("= "))
    with open(path, "rb") as package:
        entries = unpack(["rpm2archive", "-n", "-"], package, path, work)
    found = {}
    for name, entry in entries.items():
        if name not in told and entry.kind == "d":
            # A parent directory that the package does not list.
            found[name] = entry
            continue
        if name not in told:
            raise Refused("PAYLOAD=%s: its archive has /%s, which its header does not have" % (path, name),
                          "rpm -qplv %s" % path)
        bits, user, group, capabilities = told[name]
        check_owner(path, name, user, group)
        found[name] = entry._replace(mode=bits, group=group, capabilities=capabilities)
    return found, version, release


def of_deb(path: Path, work: Path) -> tuple[Entries, str, str | None]:
    version = output("dpkg-deb", "--field", str(path), "Version", about=path).strip()
    epoch, _, rest = version.rpartition(":")
    refuse_epoch(path, epoch or "0")
    upstream, dash, revision = rest.rpartition("-")
    # A .deb cannot contain capabilities.
    entries = unpack(["dpkg-deb", "--fsys-tarfile", str(path)], None, path, work)
    return entries, upstream if dash else rest, revision if dash else None


def refuse_epoch(path: Path, epoch: str) -> None:
    if epoch != "0":
        raise Refused("PAYLOAD=%s has the epoch %s, and no version of ours would ever be newer" % (path, epoch),
                      "ask the people who built it for a package without an epoch")


def check_owner(path: Path, name: str, user: str, group: str) -> None:
    if user != "root" or group not in ("root", *GROUPS):
        raise Refused("PAYLOAD=%s: /%s belongs to %s:%s, which hosts do not have" % (path, name, user, group),
                      "CCA knows only root and the groups %s" % ", ".join(GROUPS))


def output(*command: str, about: Path) -> str:
    """What a tool prints about a package. Raises Refused, with the tool's last line, if it fails."""
    require(command[0])
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL,
                          env={**os.environ, "LC_ALL": "C"})
    if done.returncode:
        said = (done.stderr + done.stdout).strip().splitlines() or ["exit status %d" % done.returncode]
        raise Refused("PAYLOAD=%s is not a package that %s can read: %s" % (about, command[0], said[-1]),
                      "compare its checksum with the vendor's: sha256sum %s" % about)
    return done.stdout


def require(command: str) -> None:
    if shutil.which(command) is None:
        raise Refused("%s is not installed" % command, "sh tools/bootstrap.sh packages")


def unpack(command: list[str], package: IO[bytes] | None, path: Path, work: Path) -> Entries:
    """The entries of the tar archive that ``command`` prints, the contents of files below ``work``."""
    require(command[0])
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(command, stdin=package or subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=errors) as child:  # fmt: skip
            assert child.stdout is not None
            try:
                stream = Bounded(child.stdout, path)
                with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
                    entries = read_tar(archive, path, work)
                # Also read the padding of the archive, so that the command ends by itself.
                while stream.read(1 << 16):
                    pass
            except (tarfile.TarError, EOFError) as error:
                raise Refused("PAYLOAD=%s: its archive cannot be read: %s" % (path, error),
                              "compare its checksum with the vendor's: sha256sum %s" % path) from error
            finally:
                child.stdout.close()
        if child.returncode:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise Refused("PAYLOAD=%s: %s failed: %s" % (path, command[0], said[-1]),
                          "compare its checksum with the vendor's: sha256sum %s" % path)
    return entries


class Bounded:
    """A stream that raises Refused after more than MAX_BYTES, whatever its headers say."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self.stream = stream
        self.path = path
        self.seen = 0

    def read(self, size: int = -1) -> bytes:
        data = self.stream.read(size)
        self.seen += len(data)
        check_size("PAYLOAD=%s" % self.path, self.seen, 0)
        return data


def check_size(label: str, size: int, entries: int) -> None:
    if size > MAX_BYTES:
        raise Refused("%s holds more than %d MB of files" % (label, MAX_BYTES >> 20),
                      "CCA takes some tens of MB; is it the right one?")
    if entries >= MAX_ENTRIES:
        raise Refused("%s holds more than %d files" % (label, MAX_ENTRIES), "is it the right one?")


def read_tar(archive: tarfile.TarFile, path: Path, work: Path) -> Entries:
    found: Entries = {}
    for member in archive:
        parts = PurePosixPath(member.name).parts
        if member.name.startswith("/") or ".." in parts:
            raise Refused("PAYLOAD=%s: the path %r leads out of it" % (path, member.name),
                          "it was not made by a package builder; do not use it")
        name = "/".join(part for part in parts if part != ".")
        if not name:
            continue
        check_size("PAYLOAD=%s" % path, member.size, len(found))
        if name in found:
            raise Refused("PAYLOAD=%s: /%s is in it twice" % (path, name),
                          "it was not made by a package builder; do not use it")
        check_owner(path, name, member.uname or {0: "root"}.get(member.uid, str(member.uid)),
                    member.gname or {0: "root"}.get(member.gid, str(member.gid)))
        mode = member.mode & 0o7777
        group = member.gname or "root"
        if member.isdir():
            found[name] = Entry("d", mode, group)
        elif member.issym():
            found[name] = Entry("l", 0o777, group, target=member.linkname)
        elif member.islnk():
            first = "/".join(part for part in PurePosixPath(member.linkname).parts if part not in (".", "/"))
            if first not in found or found[first].kind != "f":
                raise Refused("PAYLOAD=%s: /%s is a hard link to /%s, which is not in it" % (path, name, first),
                              "it was not made by a package builder; do not use it")
            found[name] = found[first]
        elif member.isreg():
            content = work / str(len(found))
            stream = archive.extractfile(member)
            assert stream is not None
            with open(content, "xb") as file:
                shutil.copyfileobj(stream, file)
            found[name] = Entry("f", mode, group, content=content)
        else:
            raise Refused("PAYLOAD=%s: /%s is a device, a socket or a named pipe" % (path, name),
                          "it was not made by a package builder; do not use it")
    for name in list(found):
        # Parents that the archive does not list, as rpms do not.
        for parent in PurePosixPath(name).parents:
            if str(parent) != ".":
                found.setdefault(str(parent), Entry("d", 0o755))
    return found


# --- judging it


def without_ours(entries: Entries) -> tuple[Entries, list[tuple[str, str]]]:
    """Which of ``entries`` are packed, and which are left out and why, sorted."""
    taken = dict(entries)
    left_out = []
    for path in entries:
        for pattern, reason in LEFT_OUT:
            if re.fullmatch(pattern, path):
                left_out.append((path, reason))
                del taken[path]
                break
    # Directories that are empty now were there only for what is left out, for example /etc/rc2.d.
    for directory in {str(parent) for path, _ in left_out for parent in PurePosixPath(path).parents} - {KEPT}:
        if not any(path.startswith(directory + "/") and entry.kind != "d" for path, entry in taken.items()):
            taken = {path: entry for path, entry in taken.items()
                     if path != directory and not path.startswith(directory + "/")}
    return taken, sorted(left_out)


def problem_with(path: str, entry: Entry, entries: Entries) -> str | None:
    """What is wrong with one entry of the payload, or None."""
    # In a file list of rpm, blanks, quotes, % and glob characters cannot be quoted reliably.
    if not re.fullmatch(r"[A-Za-z0-9._+@,:~=/-]+", path):
        return "the name %r has characters that a package's file list cannot hold" % path
    if OURS.fullmatch(path) and entry.kind != "d":
        return "/%s belongs to the package itself" % path
    if entry.capabilities and not re.fullmatch(r"[a-z_,]+[=+][eip]+", entry.capabilities):
        return "/%s has the capabilities %r, which are not understood" % (path, entry.capabilities)
    for parent in PurePosixPath(path).parents:
        if str(parent) != "." and entries.get(str(parent), entry).kind != "d":
            return "/%s lies below /%s, which is no directory" % (path, parent)
    if entry.kind == "l":
        return problem_with_link(path, entry.target, entries)
    if entry.mode & stat.S_IWOTH and not (entry.kind == "d" and entry.mode & stat.S_ISVTX):
        return "/%s can be written by everyone (mode %o)" % (path, entry.mode)
    if entry.kind == "f" and "/" not in path:
        return "/%s would lie in the root directory of a host" % path
    if entry.kind == "f" and entry.content is not None and has_private_key(entry.content):
        return "/%s holds a private key" % path
    return None


def has_private_key(content: Path) -> bool:
    if content.stat().st_size == 0:
        return False
    with open(content, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text[:4] != b"\x7fELF" and PRIVATE_KEY.search(text) is not None


def problem_with_link(path: str, target: str, entries: Entries) -> str | None:
    """A link is allowed if, with the payload's root as /, it stays inside and leads to something that is packed."""
    parts = [] if target.startswith("/") else list(PurePosixPath(path).parent.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            if not parts:
                return "the link /%s -> %s leads out of the directory" % (path, target)
            parts.pop()
        elif part not in ("/", "."):
            parts.append(part)
    if "/".join(parts) not in entries:
        return "the link /%s -> %s leads to nothing that is in the payload" % (path, target)
    return None


def machine_of(label: str, entries: Entries) -> tuple[str, str]:
    """The machine that the payload's programs and libraries are for, as (Debian's name, rpm's name).

    Read from their ELF headers; NO_MACHINE if there are none. Raises Refused if they are for several, or for one that
    CCA does not run on.
    """
    found: dict[tuple[str, str], str] = {}
    for path, entry in entries.items():
        if entry.kind != "f" or entry.content is None:
            continue
        with open(entry.content, "rb") as file:
            header = file.read(20)
        if header[:4] != b"\x7fELF":
            continue
        if len(header) < 20:
            raise Refused("%s: /%s is a truncated ELF file" % (label, path), "compare it with the vendor's")
        byte_order = "<" if header[5] == 1 else ">"
        identity = (header[4], header[5], struct.unpack(byte_order + "H", header[18:20])[0])
        if identity not in ELF_MACHINES:
            raise Refused("%s: /%s is for a machine for which there is no csulcca" % (label, path),
                          "csulcca is for s390x and x86-64; to see what this file is for, type: file %s" % path)
        found.setdefault(ELF_MACHINES[identity], path)
    if len(found) > 1:
        raise Refused("%s is for several machines: %s"
                      % (label, ", ".join("/%s is %s" % (path, machine[1]) for machine, path in sorted(found.items()))),
                      "build one package for each machine, from a payload for each")
    return next(iter(found), NO_MACHINE)
