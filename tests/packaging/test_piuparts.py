"""Debian's own piuparts on the .deb: install and purge, in every order, and the upgrade from CCA 7.3.

In the root of a cell, with a mirror that has nothing but CCA 7.3: no network is used.
"""

import gzip
import io
import pathlib
import platform
import shutil
import subprocess
import tarfile

import pytest

from tests.matrix import engine, images
from tests.test_linters import tool

from .keep_list import KEPT

CELL = next(cell for cell in images.with_role("reference") if cell.family == "deb")
SUITE = CELL.recipe["suite"]
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

# In addition to keep_list.py: what other packages leave in this minimal system, or remove.
IGNORED = {
    # No package owns it, so dpkg removes it with the last one that has a file below it; base-files makes it once only.
    "/opt/": "an empty directory",
    # debconf's, which apt-utils calls before an installation.
    "/var/cache/debconf/tmp.ci/": "an empty directory",
}
TESTS = {
    "install and purge": ["--no-upgrade-test"],
    "install, purge, install": ["--no-upgrade-test", "--install-purge-install"],
    "install, remove, install": ["--no-upgrade-test", "--install-remove-install"],
    "upgrade from 7.3": ["--no-install-purge-test"],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The cell's root, which mmdebstrap made, as piuparts wants it."""
    tool("piuparts")
    root = tmp_path_factory.mktemp("piuparts") / "base.tar"
    name = engine.owned_name("piuparts")
    engine.call("create", f"--name={name}", images.ensure(CELL), "true")
    try:
        engine.call("export", f"--output={root}", name)
    finally:
        engine.call("rm", name)
    settings = b'Acquire::AllowInsecureRepositories "true";\nAPT::Get::AllowUnauthenticated "true";\n'
    with tarfile.open(root, "a") as archive:
        member = tarfile.TarInfo("etc/apt/apt.conf.d/99local")
        member.size, member.mode = len(settings), 0o644
        archive.addfile(member, io.BytesIO(settings))
    packed = root.with_name("base.tar.gz")
    with open(root, "rb") as source, gzip.open(packed, "wb", compresslevel=1) as target:
        shutil.copyfileobj(source, target)
    root.unlink()
    return packed


@pytest.fixture(scope="module")
def mirror(built, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An archive of one package: CCA 7.3."""
    root = tmp_path_factory.mktemp("mirror")
    index = root / f"dists/{SUITE}/main/binary-{MACHINE}/Packages"
    index.parent.mkdir(parents=True)
    shutil.copy(built.old(CELL), root)
    index.write_bytes(subprocess.check_output(["dpkg-scanpackages", "."], cwd=root, stderr=subprocess.DEVNULL))
    (root / f"dists/{SUITE}/Release").write_text(f"Suite: {SUITE}\nCodename: {SUITE}\nComponents: main\n"
                                                 f"Architectures: {MACHINE}\nSHA256:\n")  # fmt: skip
    return root


@pytest.mark.parametrize("case", TESTS)
def test_piuparts_passes(case: str, base: pathlib.Path, mirror: pathlib.Path, built, tmp_path: pathlib.Path) -> None:
    kept = [name for path in KEPT["purge", "deb"] for name in (path, path + "/")]
    ignored = [f"--ignore={path}" for path in (*kept, *IGNORED)]
    command = [tool("piuparts"), f"--basetgz={base}", f"--distribution={SUITE}", f"--mirror=file://{mirror} main",
               f"--bindmount={mirror}", f"--tmpdir={tmp_path}", "--do-not-verify-signatures", "--no-eatmydata",
               "--warn-on-others", *ignored, *TESTS[case], str(built.new("deb"))]  # fmt: skip
    done = subprocess.run(command, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=300)  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if "ERROR" in line or "FAIL" in line]
    assert done.returncode == 0 and not errors, "\n".join(errors) + done.stdout[-6000:]
    assert "PASS: All tests." in done.stdout
    if "7.3" in case:
        assert "Unpacking csulcca (8.0.0-1) over (7.3.0-1)" in done.stdout, done.stdout
