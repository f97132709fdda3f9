"""The packages under test, built once for a state of the source tree and kept for the next run."""

import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from tests.fixtures import cca73, vendor8
from tests.matrix import images

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
# No package is made from the files below these, so they can change without a new build.
NOT_SOURCES = {".git", ".venv", ".cache", ".hypothesis", ".github", ".obs", "dist", "contrib", "plans", "tests"}
# Only the fixtures of the tests matter: CCA 7.3 is built from them.
FIXTURES = "tests/fixtures"
VERSIONS = ("8.0.0", "8.0.1")
# Builds of other trees are soon useless.
KEEP_S = 24 * 3600


class Built:
    """Paths of the packages under test by family: new (8.0.0), next (8.0.1), and CCA 7.3 by variant."""

    def __init__(self, directory: pathlib.Path) -> None:
        """Take the directory of the packages. They are there after build() has run."""
        self.directory = directory

    def build(self) -> None:
        """Build them all; the directory must be empty."""
        for version in VERSIONS:
            builder = [sys.executable, str(TREE / "tools/build_packages.py")]
            subprocess.run([*builder, "--version", version, "--output", str(self.directory / version)], check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip
        # CCA 7.3 has machine code: a package for each architecture that is tested here.
        for machine in {cell.machine for cell in images.cells().values() if cell.recipe}:
            for variant in cca73.VARIANTS:
                cca73.build(self.directory / machine / variant, variant=variant, arch=machine)

    def new(self, family: str, version: str = "8.0.0") -> pathlib.Path:
        """Our package."""
        return self._one(version, family)

    def old(self, cell: images.Cell, variant: str = "normal") -> pathlib.Path:
        """The package of CCA 7.3 for a cell's family and architecture."""
        return self._one(f"{cell.machine}/{variant}", cell.family)

    def _one(self, directory: str, family: str) -> pathlib.Path:
        (found,) = (self.directory / directory).glob("*." + family)
        return found


def ensure() -> Built:
    """The packages of the tree as it is now."""
    return Built(_once("", lambda directory: Built(directory).build()))


def from_vendor(machine: str) -> dict[str, pathlib.Path]:
    """The packages that the tree as it is now makes of a vendor's for a machine (as `uname -m` says it).

    By FAMILY: from the vendor's .rpm; by "next FAMILY": from its .deb with a later fix.
    """
    directory = _once(f"-vendor-{machine}", lambda work: _build_from_vendor(work, machine))
    return {f"{prefix}{family}": next(directory.glob(f"{kind}/*.{family}"))
            for prefix, kind in (("", "rpm"), ("next ", "deb")) for family in ("deb", "rpm")}  # fmt: skip


def of_7_6(cell: images.Cell, version: str = "7.6.10") -> pathlib.Path:
    """The package of CCA 7.3 under a version of 7.6 or an early 8, for a cell's family and architecture."""
    directory = _once(f"-{version}-{cell.machine}",
                      lambda work: cca73.build(work, version=version, arch=cell.machine))  # fmt: skip
    return next(directory.glob("*." + cell.family))


def _build_from_vendor(work: pathlib.Path, machine: str) -> None:
    for payload in (vendor8.build_rpm(work, machine), vendor8.build_deb(work, machine, version="8.2.54-4")):
        subprocess.run([sys.executable, str(TREE / "tools/build_packages.py"), "--payload", str(payload),
                        "--output", str(work / payload.suffix[1:])], check=True, stdout=subprocess.DEVNULL)  # fmt: skip


def _once(kind: str, build: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """A directory that was built from the tree as it is now: from the cache directory, or built into it.

    Programs that need the same at once build it once. Nobody may write into the directory: tests copy what they change.
    """
    cache = images.cache_directory() / "packages"
    cache.mkdir(exist_ok=True)
    directory = cache / (tree_hash() + kind)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            remove_old(cache)
            work = pathlib.Path(tempfile.mkdtemp(dir=cache, prefix="build-"))
            build(work)
            # The directory appears whole or not at all. remove_old() removes what a killed build left.
            work.rename(directory)
        os.utime(directory)
    return directory


def tree_hash() -> str:
    """Hash all files that a package is made from: names, contents, executable bits, targets of links."""
    digest = hashlib.sha256()
    for path in sorted(sources(TREE)):
        if path.is_symlink():
            what = f"link {os.readlink(path)}".encode()
        else:
            what = b"%d " % os.access(path, os.X_OK) + hashlib.sha256(path.read_bytes()).digest()
        digest.update(os.fsencode(path.relative_to(TREE)) + b"\0" + what + b"\0")
    return digest.hexdigest()[:16]


def sources(top: pathlib.Path) -> list[pathlib.Path]:
    """The files and links below `top` that a package is made of."""
    found = []
    tops = [entry for entry in top.iterdir() if entry.name not in NOT_SOURCES and not entry.name.endswith("_cache")]
    for one in (*tops, top / FIXTURES):
        below = sorted(one.rglob("*")) if one.is_dir() and not one.is_symlink() else [one]
        found += [path for path in below if "__pycache__" not in path.parts and (path.is_symlink() or path.is_file())]
    return found


def remove_old(cache: pathlib.Path) -> None:
    """Remove builds that no run has used for a day, and what killed builds left."""
    for entry in cache.iterdir():
        if entry.is_dir() and time.time() - entry.stat().st_mtime > KEEP_S:
            shutil.rmtree(entry)
