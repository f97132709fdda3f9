#!/usr/bin/python3
"""Signed repositories of the packages in dist/, for apt and for dnf and zypper (``make repo KEY=...``).

    OUTPUT/csulcca.asc        the public key
    OUTPUT/deb/               a flat repository: Packages, Release, InRelease, and csulcca.sources for a client
    OUTPUT/rpm/               signed packages, repodata/ with repomd.xml.asc; csulcca.repo and .vendors for a client

The packages in dist/ stay as they were built, byte for byte; those of OUTPUT/rpm/ are copies with a signature inside,
since rpm keeps it there. A .deb has no signature: apt trusts it by the checksums in the signed index. OUTPUT is
complete or does not exist. KEY is any name by which gpg knows the signing key; gpg looks in GNUPGHOME.
"""
from __future__ import annotations

import argparse
import email.utils
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TREE))

from tools.changelog import read_changes  # noqa: E402
from tools.refusal import Refused  # noqa: E402

NAME = "csulcca"
TOOLS = {"gpg": "gnupg", "dpkg-scanpackages": "dpkg-dev", "rpmsign": "rpm, in Fedora rpm-sign",
         "createrepo_c": "createrepo-c"}  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="repository.py", description="Make signed repositories of the packages.")
    parser.add_argument("--key", default="", help="the signing key: a fingerprint or an address that gpg knows")
    parser.add_argument("--packages", type=Path, default=TREE / "dist", metavar="DIR", help="default: dist/")
    parser.add_argument("--output", type=Path, metavar="DIR", help="default: repo/ in the directory of the packages")
    parser.add_argument("--url", default="https://packages.example.org/csulcca",
                        help="the address at which OUTPUT will be published; the files for clients contain it")
    options = parser.parse_args(arguments)
    os.umask(0o022)
    try:
        build(options.key, options.packages, options.output or options.packages / "repo", options.url)
    except Refused as refusal:
        print("repo: %s\n  %s" % (refusal, refusal.hint), file=sys.stderr)
        return 1
    return 0


def build(key: str, packages: Path, output: Path, url: str) -> None:
    """Make ``output`` of the packages in ``packages``, and sign that directory's SHA256SUMS."""
    if not key:
        raise Refused("no key to sign with", "make repo KEY=FINGERPRINT   (gpg --list-secret-keys lists the keys)")
    for tool, bringer in TOOLS.items():
        if shutil.which(tool) is None:
            raise Refused("%s is not installed" % tool, "install %s, or: sh tools/bootstrap.sh repo" % bringer)
    found = [path for suffix in ("deb", "rpm") for path in sorted(packages.glob("%s[-_]*.%s" % (NAME, suffix)))]
    if {path.suffix for path in found} != {".deb", ".rpm"}:
        raise Refused("%s does not contain a .deb and a .rpm of csulcca" % packages, "make packages")
    check_sums(packages, found)
    fingerprint = fingerprint_of(key)
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH")
                  or read_changes((TREE / "debian/changelog").read_text(encoding="utf-8"))[0].seconds)

    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".repo-", dir=output.parent) as scratch:
        fresh = Path(scratch, "repo")
        for directory in ("deb", "rpm"):
            (fresh / directory).mkdir(parents=True)
        for package in found:
            shutil.copyfile(package, fresh / package.suffix[1:] / package.name)
        run("gpg", "--batch", "--armor", "--export", "--output", str(fresh / (NAME + ".asc")), fingerprint)
        make_apt(fresh / "deb", fingerprint, url, seconds)
        make_rpm_md(fresh / "rpm", fingerprint, url, seconds)
        if output.exists():
            output.rename(Path(scratch, "old"))
        fresh.rename(output)
    signature(packages / "SHA256SUMS", "SHA256SUMS.asc", fingerprint)
    print("%s\n%s" % (os.path.relpath(output / "deb"), os.path.relpath(output / "rpm")))
    print("signed by %s" % fingerprint)


def check_sums(packages: Path, found: list[Path]) -> None:
    """Refuse to sign a file that the build did not write, or that was changed since."""
    try:
        lines = (packages / "SHA256SUMS").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError as error:
        raise Refused("%s: %s" % (packages / "SHA256SUMS", error.strerror), "make packages") from error
    listed = set()
    for line in lines:
        digest, _, name = line.partition("  ")
        listed.add(name)
        path = packages / name
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise Refused("%s is not what SHA256SUMS says" % path, "make packages")
    for path in found:
        if path.name not in listed:
            raise Refused("SHA256SUMS has no line for %s" % path, "make packages")


def fingerprint_of(key: str) -> str:
    """The fingerprint of the one secret key that ``key`` names."""
    command = ["gpg", "--batch", "--with-colons", "--list-secret-keys", key]
    done = subprocess.run(command, capture_output=True, text=True)
    lines = [line.split(":") for line in done.stdout.splitlines()]
    # The fingerprint of a primary key follows its line, and so do those of its subkeys.
    pairs = zip(lines, lines[1:])
    fingerprints = [after[9] for before, after in pairs if before[0] == "sec" and after[0] == "fpr"]
    if len(fingerprints) != 1:
        raise Refused("gpg has %s secret key for KEY=%s" % ("no" if not fingerprints else "more than one", key),
                      "gpg --list-secret-keys   (GNUPGHOME says where gpg looks)")
    return fingerprints[0]


def make_apt(directory: Path, key: str, url: str, seconds: int) -> None:
    """A flat repository for apt."""
    index = run("dpkg-scanpackages", "--multiversion", ".", cwd=directory).encode()
    (directory / "Packages").write_bytes(index)
    (directory / "Packages.gz").write_bytes(gzip.compress(index, mtime=0))
    lines = ["Origin: " + NAME, "Label: " + NAME, "Suite: stable",
             "Date: " + email.utils.formatdate(seconds, usegmt=True),
             "Description: TKE catcher of IBM CCA for Linux on IBM Z", "SHA256:"]  # fmt: skip
    for name in ("Packages", "Packages.gz"):
        content = (directory / name).read_bytes()
        lines.append(" %s %d %s" % (hashlib.sha256(content).hexdigest(), len(content), name))
    release = directory / "Release"
    release.write_text("\n".join(lines) + "\n", encoding="utf-8")
    signature(release, "InRelease", key, "--clear-sign")
    signature(release, "Release.gpg", key)
    (directory / (NAME + ".sources")).write_text(
        "# /etc/apt/sources.list.d/{0}.sources; the key goes to /etc/apt/keyrings/{0}.asc\n"
        "Types: deb\nURIs: {1}/deb\nSuites: ./\nSigned-By: /etc/apt/keyrings/{0}.asc\n".format(NAME, url))


def make_rpm_md(directory: Path, key: str, url: str, seconds: int) -> None:
    """A repository for dnf and zypper. Its packages are signed, too."""
    for package in sorted(directory.glob("*.rpm")):
        # The name of the macro for the key changed in rpm 4.20; Debian's rpm has no path for gpg.
        defines = ["_gpg_name " + key, "_openpgp_sign_id " + key, "__gpg %s" % shutil.which("gpg")]
        options = [word for define in defines for word in ("--define", define)]
        run("rpmsign", *options, "--addsign", str(package))
        os.utime(package, (seconds, seconds))
    run("createrepo_c", "--quiet", "--no-database", "--general-compress-type=gz", "--revision", str(seconds),
        "--set-timestamp-to-revision", str(directory))
    signature(directory / "repodata/repomd.xml", "repomd.xml.asc", key)
    shutil.copyfile(directory.parent / (NAME + ".asc"), directory / "repodata/repomd.xml.key")
    (directory / (NAME + ".repo")).write_text(
        "# dnf: /etc/yum.repos.d/{0}.repo; zypper: /etc/zypp/repos.d/{0}.repo\n"
        "[{0}]\nname=TKE catcher of IBM CCA\nbaseurl={1}/rpm\nenabled=1\ngpgcheck=1\nrepo_gpgcheck=1\n"
        "# For zypper, which is otherwise content with the signature of the index, and reads no new one by itself.\n"
        "pkg_gpgcheck=1\nautorefresh=1\n"
        "gpgkey={1}/{0}.asc\n"
        "# zypper upgrades CCA 7.x from here only after you allow the change of vendor: see {1}/rpm/{0}.vendors\n"
        .format(NAME, url))
    vendors = {run("rpm", "-qp", "--nosignature", "--qf", "%{VENDOR}", str(package))
               for package in directory.glob("*.rpm")}
    (directory / (NAME + ".vendors")).write_text(
        "# For /etc/zypp/vendors.d. zypper takes the vendors that are named here for one, and so upgrades CCA 7.x.\n"
        "# The vendor of what is installed must be among them; to see it: rpm -q --qf '%{{VENDOR}}\\n' {0}\n"
        "# If it has none, or without this file: zypper update --allow-vendor-change {0}\n"
        "[main]\nvendors = {1}\n".format(NAME, ",".join(["IBM Corporation", *sorted(vendors)])))


def signature(path: Path, name: str, key: str, kind: str = "--detach-sign") -> None:
    """Sign ``path`` into ``name`` beside it."""
    run("gpg", "--batch", "--yes", "--armor", "--digest-algo", "SHA512", "--local-user", key,
        "--output", str(path.with_name(name)), kind, str(path))


def run(*command: str, cwd: Path | None = None) -> str:
    """The standard output of a tool. If it fails, its output is shown, and Refused is raised."""
    done = subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout + done.stderr, file=sys.stderr)
        raise Refused("%s failed with exit status %d; what it printed is above" % (command[0], done.returncode),
                      "does the key work? echo | gpg --clear-sign --local-user KEY")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
