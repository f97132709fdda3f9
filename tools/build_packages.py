#!/usr/bin/python3
"""Build the .deb, the .rpm and SHA256SUMS from this source tree (``make packages``).

The tree itself is never written to: sources and payload are staged in a temporary directory, where the real
``dpkg-buildpackage`` and ``rpmbuild`` run. Two builds of the same tree give the same bytes: the only time used is that
of the newest debian/changelog entry (or SOURCE_DATE_EPOCH), and no mode, owner, host name or path of the build host
gets into a package.
"""
from __future__ import annotations

import argparse
import configparser
import email.utils
import hashlib
import os
import re
import shutil
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

TREE = Path(__file__).resolve().parent.parent
SOURCES = (
    "catcher_install", "hooks", "units", "share", "rpm", "debian", "Makefile", "setup.cfg", "LICENSE", "README.md",
)
NOT_SOURCES = shutil.ignore_patterns(
    "__pycache__", "*.pyc", "*.scriptlet", ".debhelper", "debhelper-build-stamp", "*.substvars", "*.debhelper.log"
)
# Where the payload is staged, relative to the source tree.
STAGED_PAYLOAD = "payload/staged"

CATCHER = "opt/IBM/CCA/bin/catcher.exe"

# In a vendor's tree, what ours stands in for (control script, unit, init script and its links), and what every host
# makes for itself and must never come out of a package (mode and pair).
LEFT_OUT = (
    ("opt/IBM/CCA/bin/CSUTKEcat", "ours stands there"),
    (r"(usr/)?lib/systemd/system/CSUTKEcat\.service", "ours stands there"),
    (r"etc/systemd/system/(.*/)?CSUTKEcat\.service", "the unit is enabled by the package"),
    (r"etc/(rc\.d/)?init\.d/CSUTKEcat", "the unit replaces it"),
    (r"etc/(rc\.d/|init\.d/)?rc[0-6S]\.d/[SK][0-9]*CSUTKEcat", "the unit replaces it"),
    (r"usr/s?bin/rcCSUTKEcat", "the unit replaces it"),
    (r"etc/cca/catcher\.conf", "each host has its own"),
    (r"opt/IBM/CCA/bin/catcher\.(key|crt)", "each host has its own"),
    (r"(.*/)?__pycache__(/.*)?", "made at run time"),
    (r".*\.pyc", "made at run time"),
    (r"(.*/)?\.(git|ruff_cache|mypy_cache|pytest_cache|hypothesis)(/.*)?", "a tool's own"),
    (r"(.*/)?\.gitignore", "a tool's own"),
)
# What the package itself puts there; a payload that has one of these would fight with it.
OURS = re.compile(
    r"usr/lib/csulcca|usr/lib/csulcca/(catcher_install|hooks|run|version)(/.*)?|usr/sbin/catcherctl"
    r"|usr/share/csulcca/catcher\.conf|usr/lib/tmpfiles\.d/csulcca\.conf"
    r"|usr/lib/systemd/system-preset/50-csulcca\.preset"
)

# ELF header: class byte, byte order byte, machine -> (Debian's name, rpm's name)
ELF_MACHINES = {
    (2, 2, 22): ("s390x", "s390x"),
    (2, 1, 62): ("amd64", "x86_64"),
}
NO_MACHINE = ("all", "noarch")


class Refused(Exception):
    """The build cannot be done as asked: what is wrong, and what to type, one line each."""

    def __init__(self, problem: str, hint: str) -> None:
        super().__init__(problem)
        self.hint = hint


class Metadata(NamedTuple):
    """What setup.cfg says of the package."""

    name: str
    version: str
    release: str
    recommends: list[str]


class Change(NamedTuple):
    """One entry of debian/changelog; ``lines`` are its text without Debian's indentation."""

    version: str
    lines: list[str]
    maintainer: str
    seconds: int


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="build_packages.py", description="Build the .deb and the .rpm into dist/.")
    parser.add_argument("--payload", type=Path, default=TREE / "payload/reference", metavar="DIR",
                        help="tree that is laid over /, with %s (default: the reference catcher)" % CATCHER)
    parser.add_argument("--version", help="version of the packages (default: that of setup.cfg)")
    parser.add_argument("--output", type=Path, default=TREE / "dist", metavar="DIR", help="default: dist/")
    parser.add_argument("--stage", type=Path, metavar="DIR",
                        help="build nothing: leave the source tree that would be built, for dpkg-buildpackage, in DIR")
    options = parser.parse_args(arguments)
    os.umask(0o022)
    try:
        with tempfile.TemporaryDirectory(prefix="csulcca-build-") as work:
            if options.stage is not None:
                stage(options.stage, options.payload, options.version)
            else:
                for line in build(Path(work), options.payload, options.version, options.output):
                    print(line, flush=True)
    except Refused as refusal:
        print("packages: %s\n  %s" % (refusal, refusal.hint), file=sys.stderr)
        return 1
    return 0


def build(work: Path, payload: Path, version: str | None, output: Path) -> Iterator[str]:
    """Build both packages below ``work`` and put them into ``output``, yielding lines of progress."""
    metadata, machine, left_out, epoch = stage(work / "source", payload, version)
    for path, reason in left_out:
        yield "left out of the payload: /%s (%s)" % (path, reason)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(work),
        "LC_ALL": "C",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(epoch),
        "PAYLOAD": STAGED_PAYLOAD,
    }
    full = "%s-%s" % (metadata.version, metadata.release)
    packages = []
    deb = "%s_%s_%s.deb" % (metadata.name, full, machine[0])
    yield "building %s" % deb
    packages.append(build_deb(work, deb, machine, environment))
    rpm = "%s-%s.%s.rpm" % (metadata.name, full, machine[1])
    yield "building %s" % rpm
    packages.append(build_rpm(work, rpm, machine, metadata, environment))

    output.mkdir(parents=True, exist_ok=True)
    for old in (*output.glob(metadata.name + "[-_]*.deb"), *output.glob(metadata.name + "[-_]*.rpm")):
        old.unlink()
    sums = []
    for package in packages:
        sums.append("%s  %s\n" % (hashlib.sha256(package.read_bytes()).hexdigest(), package.name))
        shutil.copyfile(package, output / package.name)
        yield "%s (%d bytes)" % (os.path.relpath(output / package.name), package.stat().st_size)
    (output / "SHA256SUMS").write_text("".join(sums), encoding="ascii")


def stage(
    source: Path, payload: Path, version: str | None
) -> tuple[Metadata, tuple[str, str], list[tuple[str, str]], int]:
    """Make in ``source`` the tree that is built: our sources, the payload, and all that depends on either rendered.

    Returns the metadata, the machine as (Debian's name, rpm's name), what of the payload was left out with the reason,
    and the time of the build in seconds since 1970.
    """
    payload = open_payload(payload)
    taken, left_out = read_payload(payload)
    machine = machine_of(payload, taken)
    metadata = read_metadata(TREE / "setup.cfg", version)
    changes = read_changes((TREE / "debian/changelog").read_text(encoding="utf-8"))
    changes = changes_for(metadata, changes, version is not None)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or changes[0].seconds)

    source.mkdir(parents=True)
    for name in SOURCES:
        origin = TREE / name
        if origin.is_dir():
            shutil.copytree(origin, source / name, ignore=NOT_SOURCES, symlinks=True)
        elif origin.exists():
            shutil.copy(origin, source / name)
        elif name != "README.md":
            raise Refused("%s is missing from the source tree" % name, "git checkout -- %s" % name)
    for path in taken:
        copy_entry(payload / path, source / STAGED_PAYLOAD / path)

    replace(source / "setup.cfg", r"(?m)^version *=.*$", "version = %s" % metadata.version)
    replace(source / "debian/control", r"(?m)^Architecture: all$", "Architecture: %s" % machine[0])
    (source / "debian/changelog").write_text(debian_changelog(metadata.name, changes), encoding="utf-8")
    spec = source / "rpm/csulcca.spec"
    for token, text in (
        ("@VERSION@", metadata.version),
        ("@RELEASE@", metadata.release),
        ("@RECOMMENDS@", "\n".join("Recommends:     " + name for name in metadata.recommends)),
        ("@CHANGELOG@", rpm_changelog(changes)),
    ):
        replace(spec, token, text)
    return metadata, machine, left_out, epoch


# --- setup.cfg and debian/changelog


def read_metadata(path: Path, version: str | None) -> Metadata:
    """Metadata of setup.cfg, its version replaced by ``version`` if that is given."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(path.read_text(encoding="utf-8"))
    recommends = parser["csulcca"]["recommended_commands"].split()
    recommends += ["python3-" + name for name in parser["options"]["install_requires"].split()]
    version = version or parser["metadata"]["version"]
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*([~+][0-9a-z.]+)?", version):
        raise Refused("%r is no version that both package managers understand" % version,
                      "for example: make packages CCA_VERSION=8.2.54")
    if int(re.split(r"[.~+]", version)[0]) < 8:
        raise Refused("version %s would make hosts take this package for CCA 7.x, which it upgrades" % version,
                      "for example: make packages CCA_VERSION=8.0.0")
    return Metadata(parser["metadata"]["name"], version, parser["csulcca"]["release"], recommends)


def read_changes(text: str) -> list[Change]:
    """The entries of a debian/changelog, newest first."""
    changes = []
    entry = re.compile(r"(?ms)^\S+ \((\S+)\) [^\n]*\n(.*?)^ -- ([^\n]*?>)  ([^\n]+)\n")
    for version, body, maintainer, date in entry.findall(text):
        lines = [line[2:] for line in body.strip("\n").splitlines()]
        changes.append(Change(version, lines, maintainer, int(email.utils.parsedate_to_datetime(date).timestamp())))
    if not changes:
        raise Refused("debian/changelog has no entry", "dch --newversion 8.0.0-1")
    return changes


def changes_for(metadata: Metadata, changes: list[Change], version_given: bool) -> list[Change]:
    """``changes`` with an entry for the version that is built on top.

    Where the version was given for this one build, an entry is made for it, with the date of the newest that is there,
    so that the packages stay reproducible; else the newest must be for the version of setup.cfg.
    """
    full = "%s-%s" % (metadata.version, metadata.release)
    if changes[0].version == full:
        return changes
    if not version_given:
        raise Refused("setup.cfg says version %s, the newest entry of debian/changelog %s" % (full, changes[0].version),
                      "dch --newversion %s   (or set the version in setup.cfg)" % full)
    return [changes[0]._replace(version=full, lines=["* Build of version %s." % metadata.version]), *changes]


def debian_changelog(name: str, changes: list[Change]) -> str:
    entries = []
    for change in changes:
        lines = ["%s (%s) unstable; urgency=medium" % (name, change.version), ""]
        lines += ["  " + line if line else "" for line in change.lines]
        lines += ["", " -- %s  %s" % (change.maintainer, email.utils.formatdate(change.seconds)), ""]
        entries.append("\n".join(lines))
    return "\n".join(entries)


def rpm_changelog(changes: list[Change]) -> str:
    entries = []
    for change in changes:
        date = time.strftime("%a %b %d %Y", time.gmtime(change.seconds))
        lines = ["* %s %s - %s" % (date, change.maintainer, change.version)]
        lines += [re.sub(r"^\* ", "- ", line).replace("%", "%%") for line in change.lines if line]
        entries.append("\n".join(lines))
    return "\n\n".join(entries)


# --- the payload


def open_payload(path: Path) -> Path:
    """The directory that holds the payload which ``path`` names.

    A package of the vendor would be unpacked here; so far only directories are taken.
    """
    if path.is_dir():
        return path.resolve()
    if not path.exists():
        raise Refused("PAYLOAD=%s: there is no such directory" % path, "make packages PAYLOAD=DIRECTORY")
    if path.suffix == ".rpm":
        hint = "mkdir payload.d && rpm2cpio %s | (cd payload.d && cpio -idm) && make packages PAYLOAD=payload.d"
    elif path.suffix == ".deb":
        hint = "dpkg-deb -x %s payload.d && make packages PAYLOAD=payload.d"
    else:
        raise Refused("PAYLOAD=%s is not a directory" % path, "make packages PAYLOAD=DIRECTORY")
    raise Refused("PAYLOAD=%s: a package is not taken as payload yet, only a directory" % path, hint % path)


def read_payload(root: Path) -> tuple[list[str], list[tuple[str, str]]]:
    """What of the tree ``root`` is packed, and what is left out and why; paths are relative to ``root``, sorted.

    Nothing is followed: links are looked at as links. Raises Refused for what a package must not bring on a host.
    """
    entries: dict[str, os.stat_result] = {}
    walk(root, "", entries)

    left_out = []
    for path in list(entries):
        for pattern, reason in LEFT_OUT:
            if re.fullmatch(pattern, path):
                left_out.append((path, reason))
                del entries[path]
                break
    # The directories that then hold nothing were there for what is left out (/etc/rc2.d, say).
    for directory in {str(parent) for path, _ in left_out for parent in PurePosixPath(path).parents}:
        if not any(path.startswith(directory + "/") and not stat.S_ISDIR(entries[path].st_mode) for path in entries):
            entries = {path: status for path, status in entries.items()
                       if path != directory and not path.startswith(directory + "/")}
    for path, status in entries.items():
        problem = problem_with(root, path, status, entries)
        if problem:
            raise Refused("PAYLOAD=%s: %s" % (root, problem), "take it out of the directory, then make packages again")
    catcher = entries.get(CATCHER)
    if catcher is None or not stat.S_ISREG(catcher.st_mode):
        raise Refused("PAYLOAD=%s: there is no file %s in it" % (root, CATCHER),
                      "PAYLOAD is a directory that is laid over /, so the catcher is DIRECTORY/%s" % CATCHER)
    return sorted(entries), sorted(left_out)


def walk(root: Path, below: str, entries: dict[str, os.stat_result]) -> None:
    try:
        found = sorted(os.listdir(root / below))
    except OSError as error:
        raise Refused("PAYLOAD=%s: cannot read %s: %s" % (root, below or "it", error.strerror),
                      "ls -la %s" % (root / below)) from error
    for name in found:
        path = below + "/" + name if below else name
        entries[path] = os.lstat(root / path)
        if stat.S_ISDIR(entries[path].st_mode):
            walk(root, path, entries)


def problem_with(root: Path, path: str, status: os.stat_result, entries: dict[str, os.stat_result]) -> str | None:
    """What is wrong with one entry of the payload, or None."""
    # A file list of rpm has no sure way to quote blanks, quotes, % or glob signs.
    if not re.fullmatch(r"[A-Za-z0-9._+@,:~=/-]+", path):
        return "the name %r has characters that a package's file list cannot hold" % path
    if OURS.fullmatch(path) and not stat.S_ISDIR(status.st_mode):
        return "/%s belongs to the package itself" % path
    if stat.S_ISLNK(status.st_mode):
        return problem_with_link(path, os.readlink(root / path), entries)
    if stat.S_ISDIR(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode):
        return "/%s is a device, a socket or a named pipe" % path
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
        return "/%s is setuid or setgid" % path
    if "/" not in path:
        return "/%s would lie in the root directory of a host" % path
    return None if os.access(root / path, os.R_OK) else "/%s cannot be read" % path


def problem_with_link(path: str, target: str, entries: dict[str, os.stat_result]) -> str | None:
    """A link is fine if, with the payload's root taken for /, it stays inside and names something that is packed."""
    parts = [] if target.startswith("/") else list(PurePosixPath(path).parent.parts)
    for part in PurePosixPath(target).parts:
        if part == "..":
            if not parts:
                return "the link /%s -> %s leads out of the directory" % (path, target)
            parts.pop()
        elif part not in ("/", "."):
            parts.append(part)
    resolved = "/".join(parts)
    if resolved not in entries:
        return "the link /%s -> %s leads to nothing that is in the directory" % (path, target)
    return None


def machine_of(root: Path, paths: list[str]) -> tuple[str, str]:
    """The machine that the payload's programs and libraries are for, as (Debian's name, rpm's name).

    Read from their ELF headers; NO_MACHINE if there are none. Raises Refused if they are for several, or for one that
    CCA does not run on.
    """
    found: dict[tuple[str, str], str] = {}
    for path in paths:
        if not stat.S_ISREG(os.lstat(root / path).st_mode):
            continue
        with open(root / path, "rb") as file:
            header = file.read(20)
        if header[:4] != b"\x7fELF":
            continue
        if len(header) < 20:
            raise Refused("PAYLOAD=%s: /%s is a truncated ELF file" % (root, path), "file %s" % (root / path))
        byte_order = "<" if header[5] == 1 else ">"
        identity = (header[4], header[5], struct.unpack(byte_order + "H", header[18:20])[0])
        if identity not in ELF_MACHINES:
            raise Refused("PAYLOAD=%s: /%s is for a machine that there is no csulcca for" % (root, path),
                          "s390x and x86-64 are; look: file %s" % (root / path))
        found.setdefault(ELF_MACHINES[identity], path)
    if len(found) > 1:
        raise Refused("PAYLOAD=%s is for several machines: %s"
                      % (root, ", ".join("/%s is %s" % (path, machine[1]) for machine, path in sorted(found.items()))),
                      "build one package for each machine, from a directory for each")
    return next(iter(found), NO_MACHINE)


def copy_entry(origin: Path, copy: Path) -> None:
    """Copy one entry; the modes are made uniform by `make install`."""
    copy.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_symlink():
        copy.symlink_to(os.readlink(origin))
    elif origin.is_dir():
        copy.mkdir(exist_ok=True)
    else:
        shutil.copy(origin, copy)


# --- the two builds


def build_deb(work: Path, name: str, machine: tuple[str, str], environment: dict[str, str]) -> Path:
    # -d: nothing is compiled, so the compilers that dpkg takes for granted are not asked for; and where dpkg is only a
    # tool, as on Fedora, its database cannot tell that debhelper is there.
    command = ["dpkg-buildpackage", "-b", "-us", "-uc", "-d"]
    if machine != NO_MACHINE:
        command += ["--host-arch", machine[0]]
    run(command, work / "source", environment)
    return result(work / name)


def build_rpm(work: Path, name: str, machine: tuple[str, str], metadata: Metadata, environment: dict[str, str]) -> Path:
    top = work / "rpmbuild"
    for directory in ("SOURCES", "BUILD", "BUILDROOT", "RPMS", "SRPMS"):
        (top / directory).mkdir(parents=True)
    base = "%s-%s" % (metadata.name, metadata.version)
    run(["tar", "--transform", "s,^source,%s," % base, "-czf", str(top / "SOURCES" / (base + ".tar.gz")),
         "--exclude=source/debian", "source"], work, environment)
    spec = str(work / "source/rpm/csulcca.spec")
    defines = {
        "_topdir": str(top),
        "_dbpath": str(work / "rpmdb"),
        "_buildhost": "localhost",
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
        "build_mtime_policy": "clamp_to_source_date_epoch",
        "portable": "1",
        "payload": STAGED_PAYLOAD,
    }
    if machine != NO_MACHINE:
        defines["payload_arch"] = machine[1]
    options = [word for key, value in defines.items() for word in ("--define", "%s %s" % (key, value))]
    options += ["--target", machine[1] + "-linux"]
    literal(run(["rpmspec", "-P", *options, spec], work, environment), "the spec")
    # Where rpm is only a tool, as on Debian, its database cannot tell what is installed.
    nodeps = [] if asked("rpm", "-q", "rpm") else ["--nodeps"]
    run(["rpmbuild", "-bb", *nodeps, *options, spec], work, environment)
    package = result(top / "RPMS" / machine[1] / name)
    literal(run(["rpm", "-qp", "--nosignature", "--scripts", str(package)], work, environment), "a scriptlet")
    return package


def literal(text: str, where: str) -> None:
    """Raise if rpm left a macro unexpanded, which it does silently with one that it does not know."""
    match = re.search(r"%\{[^}\n]*\}?", text)
    if match:
        raise Refused("rpm does not know the macro %s in %s" % (match.group(), where),
                      "give rpm/csulcca.spec a fallback for it")


def result(path: Path) -> Path:
    if not path.exists():
        raise Refused("the build ended without %s" % path.name, "ls -R %s" % path.parent)
    return path


def replace(path: Path, pattern: str, text: str) -> None:
    """Replace what matches ``pattern``; that nothing does is an error of the tree."""
    content, count = re.subn(pattern, lambda match: text, path.read_text(encoding="utf-8"))
    if not count:
        raise Refused("%s has no line %s" % (path.name, pattern), "git diff -- %s" % path.name)
    path.write_text(content, encoding="utf-8")


def asked(*command: str) -> bool:
    """Whether ``command`` says yes; a command that is not there does not."""
    if shutil.which(command[0]) is None:
        return False
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def run(command: list[str], directory: Path, environment: dict[str, str]) -> str:
    """Run ``command`` and return all that it printed; raises Refused, with that shown, if it fails."""
    if shutil.which(command[0], path=environment["PATH"]) is None:
        raise Refused("%s is not installed" % command[0], "sh tools/bootstrap.sh packages")
    done = subprocess.run(command, cwd=directory, env=environment, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise Refused("%s failed with exit status %d; what it printed is above" % (command[0], done.returncode),
                      "python3 tools/build_packages.py --stage /tmp/csulcca   (leaves the tree that was built)")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
