#!/usr/bin/python3
"""Build the .deb, the .rpm, their bill of materials and SHA256SUMS from this source tree (``make packages``).

The tree itself is never written to: sources and payload are staged in a temporary directory, where the real
``dpkg-buildpackage`` and ``rpmbuild`` run. Two builds of the same tree give the same bytes: the only time used is that
of the newest debian/changelog entry (or SOURCE_DATE_EPOCH), and no mode, owner, host name or path of the build host
gets into a package.
"""
from __future__ import annotations

import argparse
import errno
import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TREE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TREE))

from tools import payload as payloads  # noqa: E402
from tools import sbom  # noqa: E402
from tools.changelog import (  # noqa: E402
    Change,
    Metadata,
    changes_for,
    debian_changelog,
    read_changes,
    read_metadata,
    rpm_changelog,
)
from tools.payload import NO_MACHINE  # noqa: E402
from tools.payload_layout import in_family, lay_out  # noqa: E402
from tools.refusal import Refused  # noqa: E402

SOURCES = (
    "catcher_install", "hooks", "install", "units", "share", "man", "docs", "contrib", "rpm", "debian", "selinux",
    "Makefile", "setup.cfg", "LICENSE", "README.md",
    # For distributions, whose builds run `make build-check`.
    "tests/unit", "tests/ports.py", "tests/__init__.py",
)
NOT_SOURCES = shutil.ignore_patterns(
    "__pycache__", "*.pyc", "*.scriptlet", ".debhelper", "debhelper-build-stamp", "*.substvars", "*.debhelper.log"
)
# Where the payload is staged for each family, relative to the source tree; see tools/payload_layout.py.
STAGED = {"deb": "payload/deb", "rpm": "payload/rpm"}
# What a program prints if a disk is full, and what to do.
FULL_DISK = os.strerror(errno.ENOSPC)
MORE_ROOM = "make room, or name a directory with more of it: TMPDIR=DIR make packages"
# A payload with this file has the reference catcher.
REFERENCE = "usr/lib/csulcca/reference_catcher"
# For debian/copyright, if the payload is not ours.
VENDORS_COPYRIGHT = """
Files: payload/*
Copyright: the vendor that made the payload
License: LicenseRef-IBM-CCA

License: LicenseRef-IBM-CCA
 The files of the payload are under the terms that the vendor's package came
 with. Nothing here grants a right to them.
"""


class Staged(NamedTuple):
    """What a source tree was made for. ``epoch``: the time of the build, in seconds since 1970."""

    metadata: Metadata
    machine: tuple[str, str]
    entries: payloads.Entries
    left_out: list[tuple[str, str]]
    groups: bool
    epoch: int


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="build_packages.py", description="Build the .deb and the .rpm into dist/.")
    parser.add_argument("--payload", default=str(TREE / "payload/reference"),
                        metavar="PACKAGE|DIR", help="the vendor's .rpm or .deb, or a directory that is laid over / "
                        "(default: the reference catcher)")
    parser.add_argument("--version", help="version of the packages (default: the payload's own, or that of setup.cfg)")
    parser.add_argument("--vendor", help="the Vendor tag of the rpm (default: that of setup.cfg)")
    parser.add_argument("--output", type=Path, default=TREE / "dist", metavar="DIR", help="default: dist/")
    parser.add_argument("--stage", type=Path, metavar="DIR",
                        help="build nothing: leave the source tree that would be built, for dpkg-buildpackage, in DIR")
    options = parser.parse_args(arguments)
    os.umask(0o022)
    try:
        if not options.payload:
            # As a path, an empty text would be the current directory.
            raise Refused("PAYLOAD is empty", "leave it out, or: make packages PAYLOAD=csulcca-8.2.54.s390x.rpm")
        payload = Path(options.payload)
        with tempfile.TemporaryDirectory(prefix="csulcca-build-") as work:
            if options.stage is not None:
                stage(options.stage, payload, options.version, Path(work))
            else:
                for line in build(Path(work), payload, options.version, options.output,
                                  options.vendor):
                    print(line, flush=True)
    except Refused as refusal:
        print("packages: %s\n  %s" % (refusal, refusal.hint), file=sys.stderr)
        return 1
    except OSError as error:
        # The error of shutil.copytree() has no number, only the texts of all files.
        if error.errno != errno.ENOSPC and FULL_DISK not in str(error):
            raise
        print("packages: %s: %s\n  %s" % (FULL_DISK, error.filename or tempfile.gettempdir(), MORE_ROOM),
              file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip() or "exit status %d" % error.returncode
        hint = MORE_ROOM if FULL_DISK in said else shlex.join(map(str, error.cmd))
        print("packages: %s failed: %s\n  %s" % (error.cmd[0], said.splitlines()[-1], hint), file=sys.stderr)
        return 1
    return 0


def build(work: Path, payload: Path, version: str | None, output: Path,
          vendor: str | None = None) -> Iterator[str]:
    """Build both packages below ``work`` and put them into ``output``, yielding lines of progress."""
    staged = stage(work / "source", payload, version, work)
    if vendor:
        staged = staged._replace(metadata=staged.metadata._replace(vendor=vendor))
    metadata, machine = staged.metadata, staged.machine
    for path, reason in staged.left_out:
        yield "left out of the payload: /%s (%s)" % (path, reason)
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(work),
        "LC_ALL": "C",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": str(staged.epoch),
        # `make check` runs all tests. The other is what a distribution's build says.
        "DEB_BUILD_OPTIONS": "nocheck",
    }
    full = "%s-%s" % (metadata.version, metadata.release)
    packages = []
    deb = "%s_%s_%s.deb" % (metadata.name, full, machine[0])
    yield "building %s" % deb
    packages.append(build_deb(work, deb, machine, environment))
    rpm = "%s-%s.%s.rpm" % (metadata.name, full, machine[1])
    yield "building %s" % rpm
    packages.append(build_rpm(work, rpm, staged, environment))

    bill = work / ("%s-%s.spdx.json" % (metadata.name, full))
    vendors = in_family(staged.entries, "deb") if staged.groups else None
    bill.write_text(sbom.spdx(packages[0], packages[1], metadata.name, full, staged.epoch, vendors), encoding="ascii")
    packages.append(bill)

    output.mkdir(parents=True, exist_ok=True)
    for suffix in ("deb", "rpm", "spdx.json"):
        for old in output.glob("%s[-_]*.%s" % (metadata.name, suffix)):
            old.unlink()
    # Remove those of an earlier build.
    (output / "SHA256SUMS.asc").unlink(missing_ok=True)
    sums = []
    for package in packages:
        sums.append("%s  %s\n" % (hashlib.sha256(package.read_bytes()).hexdigest(), package.name))
        shutil.copyfile(package, output / package.name)
        yield "%s (%d bytes)" % (os.path.relpath(output / package.name), package.stat().st_size)
    (output / "SHA256SUMS").write_text("".join(sums), encoding="ascii")


def stage(source: Path, payload: Path, version: str | None, work: Path) -> Staged:
    """Make the tree that is built in ``source``: our sources, the payload, and everything that is rendered from them.

    A package of the vendor is unpacked in ``work``.
    """
    plain = TREE in payload.resolve().parents
    found = payloads.read(payload, work / "unpacked", plain=plain)
    metadata = read_metadata(TREE / "setup.cfg", version, found.version, found.fix)
    changes = read_changes((TREE / "debian/changelog").read_text(encoding="utf-8"))
    changes = changes_for(metadata, changes, (version or found.version) is not None)
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH") or changes[0].seconds)

    source.mkdir(parents=True)
    for name in SOURCES:
        origin = TREE / name
        if origin.is_dir():
            shutil.copytree(origin, source / name, ignore=NOT_SOURCES, symlinks=True)
        elif origin.exists():
            shutil.copy(origin, source / name)
        else:
            raise Refused("%s is missing from the source tree" % name, "git checkout -- %s" % name)
    for family, place in STAGED.items():
        lay_out(in_family(found.entries, family), source / place)
    groups = is_vendors(found)
    write_groups(source, groups)
    if groups:
        with open(source / "debian/copyright", "a", encoding="utf-8") as file:
            file.write(VENDORS_COPYRIGHT)
    capable = has_capabilities(source)

    replace(source / "setup.cfg", r"(?m)^version *=.*$", "version = %s" % metadata.version)
    replace(source / "debian/control", r"(?m)^Architecture: all$", "Architecture: %s" % found.machine[0])
    if capable:
        replace(source / "debian/control", r"(?m)^Depends: ", "Depends: libcap2-bin, ")
    (source / "debian/changelog").write_text(debian_changelog(metadata.name, changes), encoding="utf-8")
    replace(source / "debian/rules", r"(?m)^export PAYLOAD \?= \S+$", "export PAYLOAD ?= " + STAGED["deb"])
    spec = source / "rpm/csulcca.spec"
    for token, text in (
        (r"(?m)(?<=^%\{!\?payload: %global payload )\S+(?=\}$)", STAGED["rpm"]),
        (r"(?m)(?<=^License:        )Apache-2.0$", "Apache-2.0" + (" AND LicenseRef-IBM-CCA" if groups else "")),
    ):
        replace(spec, token, text)
    permissive = "0" if REFERENCE in found.entries else "1"
    spec.write_text(filled_in(spec.read_text(encoding="utf-8"), metadata, changes, permissive), encoding="utf-8")
    return Staged(metadata, found.machine, found.entries, found.left_out, groups, epoch)


def filled_in(spec: str, metadata: Metadata, changes: list[Change], permissive: str = "0") -> str:
    """The text of rpm/csulcca.spec with its placeholders (@NAME@) filled in."""
    for token, text in (
        ("@VERSION@", metadata.version),
        ("@RELEASE@", metadata.release),
        ("@REQUIRES@", "\n".join("Requires:       " + name for name in metadata.requires)),
        ("@RECOMMENDS@", "\n".join("Recommends:     " + name for name in metadata.recommends)),
        ("@CHANGELOG@", rpm_changelog(changes)),
        ("@PERMISSIVE@", permissive),
    ):
        if token not in spec:
            raise Refused("csulcca.spec has no %s" % token, "git diff -- rpm/csulcca.spec")
        spec = spec.replace(token, text)
    return spec


def is_vendors(found: payloads.Payload) -> bool:
    """Whether the payload is IBM's, and so needs CCA's groups: it has the host library, or files that belong to one of
    the groups."""
    library = any(path.rpartition("/")[2].startswith("libcsulcca.so") for path in found.entries)
    return library or any(entry.group != "root" for entry in found.entries.values())


def write_groups(source: Path, groups: bool) -> None:
    """For systems made from images: the file from which systemd-sysusers makes CCA's groups."""
    if groups:
        lines = ["# CCA's groups, which stay when the package goes.", *("g %s -" % name for name in payloads.GROUPS)]
        (source / "units/sysusers").mkdir()
        (source / "units/sysusers/csulcca.conf").write_text("\n".join(lines) + "\n", encoding="ascii")


def has_capabilities(source: Path) -> bool:
    """Whether the deb's postinst has to set capabilities."""
    lines = (source / (STAGED["deb"] + ".attributes")).read_text(encoding="ascii").splitlines()
    return any(line.split(" ")[2] != "-" for line in lines)


# --- the two builds


def build_deb(work: Path, name: str, machine: tuple[str, str], environment: dict[str, str]) -> Path:
    # -d: nothing is compiled, so the compilers that dpkg expects are not needed. And if dpkg is only a tool, as on
    # Fedora, its database does not know that debhelper is installed.
    command = ["dpkg-buildpackage", "-b", "-us", "-uc", "-d"]
    if machine != NO_MACHINE:
        command += ["--host-arch", machine[0]]
    run(command, work / "source", environment)
    return result(work / name)


def build_rpm(work: Path, name: str, staged: Staged, environment: dict[str, str]) -> Path:
    metadata, machine = staged.metadata, staged.machine
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
        "vendor": metadata.vendor,
        "use_source_date_epoch_as_buildtime": "1",
        "clamp_mtime_to_source_date_epoch": "1",
        "build_mtime_policy": "clamp_to_source_date_epoch",
        "portable": "1",
    }
    if staged.groups:
        defines["cca_groups"] = " ".join(payloads.GROUPS)
    if machine != NO_MACHINE:
        defines["payload_arch"] = machine[1]
    options = [word for key, value in defines.items() for word in ("--define", "%s %s" % (key, value))]
    options += ["--target", machine[1] + "-linux"]
    literal(run(["rpmspec", "-P", *options, spec], work, environment), "the spec")
    # If rpm is only a tool, as on Debian, its database does not know what is installed.
    nodeps = [] if asked("rpm", "-q", "rpm") else ["--nodeps"]
    run(["rpmbuild", "-bb", *nodeps, *options, spec], work, environment)
    package = result(top / "RPMS" / machine[1] / name)
    literal(run(["rpm", "-qp", "--nosignature", "--scripts", str(package)], work, environment), "a scriptlet")
    return package


def literal(text: str, where: str) -> None:
    """Raise Refused if rpm left a macro unexpanded: it does so silently if it does not know the macro."""
    match = re.search(r"%\{[^}\n]*\}?", text)
    if match:
        raise Refused("rpm does not know the macro %s in %s" % (match.group(), where),
                      "give rpm/csulcca.spec a fallback for it")


def result(path: Path) -> Path:
    if not path.exists():
        raise Refused("the build ended without %s" % path.name, "ls -R %s" % path.parent)
    return path


def replace(path: Path, pattern: str, text: str) -> None:
    """Replace what matches ``pattern``. If nothing matches, the tree is wrong."""
    content, count = re.subn(pattern, lambda match: text, path.read_text(encoding="utf-8"))
    if not count:
        raise Refused("%s has no line %s" % (path.name, pattern), "git diff -- %s" % path.name)
    path.write_text(content, encoding="utf-8")


def asked(*command: str) -> bool:
    """Whether ``command`` succeeds; no, if it is not installed."""
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
        if FULL_DISK in done.stdout:
            raise Refused("%s failed: %s" % (command[0], FULL_DISK), MORE_ROOM)
        raise Refused("%s failed with exit status %d; what it printed is above" % (command[0], done.returncode),
                      "python3 tools/build_packages.py --stage /tmp/csulcca   (leaves the tree that was built)")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
