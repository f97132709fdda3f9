"""The linters, as tests.

Where a tool is not installed a test is skipped on a person's machine, and fails where CI=true.
"""
from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from install import scriptlet
from tests.fixtures import vendor8

TREE = Path(__file__).resolve().parent.parent
PATH = "%s:%s:/usr/sbin:/sbin" % (TREE / ".venv/bin", os.environ["PATH"])
# Runs on a host, hence on Python 3.6.
INSTALLED = ("catcher_install", "hooks", "payload/reference")
# Newer than 3.6, and used only where hasattr finds them.
GUARDED = ("ssl.SSLContext.minimum_version", "ssl.SSLContext.maximum_version", "ssl.SSLContext.num_tickets",
           "ssl.TLSVersion", "os.memfd_create", "os.MFD_CLOEXEC", "os.posix_spawn", "os.POSIX_SPAWN_DUP2")  # fmt: skip


def tool(name: str) -> str:
    """The path of a linter."""
    found = shutil.which(name, path=PATH)
    if found is None:
        message = "%s is not installed; sh tools/bootstrap.sh lint installs it where the distribution has it" % name
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)
    return found


def clean(name: str, *arguments: object, cwd: Path = TREE) -> str:
    """Run a linter, which must have nothing to say by its exit status; returns what it printed."""
    done = subprocess.run([tool(name), *map(str, arguments)], cwd=cwd, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        pytest.fail("%s: exit status %d\n%s" % (name, done.returncode, done.stdout), pytrace=False)
    return done.stdout


def python_files(*tops: str) -> list[Path]:
    """All Python files below ``tops``, those without a suffix for it included."""
    files = []
    for top in tops:
        for path in sorted((TREE / top).rglob("*")):
            if not path.is_file() or any(part.startswith((".", "__pycache__")) for part in path.parts):
                continue
            with open(path, "rb") as file:
                head = file.read(100)
            # In the second file, sh reads the first lines and starts Python with the same file.
            if path.suffix == ".py" or re.match(rb"#!.*python|#!/bin/sh\n''':'\n", head):
                files.append(path)
    return files


def shell_files() -> list[Path]:
    patterns = ("hooks/run", "tools/*.sh", "rpm/*.sh", "debian/tests/installed", "contrib/renewal/*",
                "contrib/ansible/roles/*/files/*.sh",
                "tests/matrix/recipes/*.sh")  # fmt: skip
    return [path for pattern in patterns for path in sorted(TREE.glob(pattern))]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the .deb and the .rpm of this tree, its staged source tree in source/."""
    output = tmp_path_factory.mktemp("packages")
    for name in ("dpkg-buildpackage", "dh", "rpmbuild"):
        tool(name)
    builder = TREE / "tools/build_packages.py"
    for arguments in (["--output", output], ["--stage", output / "source"]):
        clean("python3", builder, *arguments)
    return output


def test_ruff_finds_nothing() -> None:
    files = [path for path in python_files(*INSTALLED) if path.suffix != ".py"]
    clean("ruff", "check", "--no-cache", ".", *files)


def test_mypy_finds_nothing() -> None:
    clean("mypy")
    for path in python_files("payload/reference/opt"):
        # Read as a script it is not found among the files.
        clean("mypy", path)


def test_vermin_finds_nothing_newer_than_python_3_6() -> None:
    files = [*python_files(*INSTALLED), TREE / "contrib/monitoring/csulcca-monitor"]
    assert len(files) > 1
    guarded = [word for name in GUARDED for word in ("--exclude", name)]
    clean("vermin", "--target=3.6-", "--violations", "--no-tips", "--eval-annotations", *guarded, *files)


def test_shellcheck_finds_nothing(tmp_path: Path) -> None:
    files = shell_files()
    assert len(files) > 4
    names = scriptlet.names(str(TREE / "payload/reference"))
    for path in sorted(TREE.glob("hooks/p*.sh")):
        # As it is installed: a loop over names has them.
        hook = tmp_path / path.name
        hook.write_text(scriptlet.filled(scriptlet.hook_text(str(path)), names), encoding="utf-8")
        files.append(hook)
    clean("shellcheck", "--shell=sh", *files)


def test_a_line_of_a_scriptlet_is_no_longer_than_one_of_python() -> None:
    found = re.search(r"^line-length = (\d+)$", (TREE / "ruff.toml").read_text(), re.MULTILINE)
    assert found is not None
    files = [path for pattern in ("hooks/*", "debian/*.in", "rpm/*.in")
             for path in TREE.glob(pattern) if path.is_file()]  # fmt: skip
    assert len(files) > 15
    assert [f"{path.name}:{number}" for path in files
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
            if len(line) > int(found[1])] == []  # fmt: skip


# POSIX's special built-in utilities: a redirection of one that fails ends the shell. What is in quotes is no command.
SPECIAL = re.compile(r"""(?:^|[;&|!{}]|\b(?:if|then|else|elif|do|while|until)\b)\s*(?:\w+=\S*\s+)*
    (?::|\.|break|continue|eval|exec|exit|export|readonly|return|set|shift|times|trap|unset)(?=[\s<>])
    [^;|\n]*?(?:[<>])""", re.VERBOSE | re.MULTILINE)


def special_redirections(text: str) -> list[str]:
    """Lines of a shell file that redirect a special built-in outside of a subshell."""
    found = []
    for line in text.splitlines():
        bare = re.sub(r"""'[^']*'|"[^"]*"|(?:^|\s)#.*""", " q", line)
        # From the innermost one.
        while (less := re.sub(r"\$?\([^()]*\)", " q", bare)) != bare:
            bare = less
        if SPECIAL.search(bare):
            found.append(line)
    return found


def test_no_special_built_in_of_a_scriptlet_is_redirected() -> None:
    """A full disk would end the scriptlet, and with it the transaction."""
    files = [path for pattern in ("hooks/*", "debian/*.in", "rpm/*.in")
             for path in TREE.glob(pattern) if path.is_file() and path.suffix != ".py"]  # fmt: skip
    assert len(files) > 12
    assert [(path.name, line) for path in files
            for line in special_redirections(path.read_text(encoding="utf-8"))] == []  # fmt: skip


@pytest.mark.parametrize("line,ends", [
    (': >"$csulcca_draft/one" && ! ln one two', True), ("    :>one", True), ("if ! : >one; then", True),
    ("true || exec 3<one", True), (". one 2>/dev/null", True), ("LC_ALL=C export A >&2", True), ("{ : >one; }", True),
    ("(: >one) 2>/dev/null || :", False), ("echo one >two || :", False), (": one # >two", False),
    ("one=$(: <two)", False), ('trap "one >two" EXIT', False), ("[ -e one ] || return 0; echo >two", False)])
def test_a_redirected_special_built_in_is_seen(line: str, ends: bool) -> None:
    assert (special_redirections(line) != []) == ends


# Only lintian before 2.122 has it, and later ones take an override of it for an error. CCA's init script was for
# systems without systemd, which no supported release is; it is retired on upgrade.
DROPPED = "--suppress-tags=package-supports-alternative-init-but-no-init.d-script"


def test_lintian_finds_nothing(packages: Path) -> None:
    (deb,) = packages.glob("*.deb")
    dropped = [DROPPED] if lintian_version() < (2, 122) else []
    clean("lintian", *dropped, "--allow-root", "--pedantic", "--display-info",
          "--fail-on", "error,warning,info,pedantic", deb)  # fmt: skip


def lintian_version() -> tuple[int, ...]:
    """The version of the installed lintian."""
    match = re.search(r"v(\d+)\.(\d+)", clean("lintian", "--version"))
    assert match is not None
    return int(match[1]), int(match[2])


def test_each_lintian_override_is_used(packages: Path) -> None:
    (deb,) = packages.glob("*.deb")
    shown = clean("lintian", "--allow-root", "--display-info", "--show-overrides", "--fail-on", "none", deb)
    overrides = (TREE / "debian/csulcca.lintian-overrides").read_text(encoding="utf-8")
    declared = re.findall(r"(?m)^csulcca: (\S+)", overrides)
    assert declared
    assert not [tag for tag in declared if not re.search(r"(?m)^O: csulcca: %s( |$)" % re.escape(tag), shown)], shown


def test_rpmlint_finds_nothing_in_the_rpm(packages: Path) -> None:
    (rpm,) = packages.glob("*.rpm")
    assert_rpmlint_has_nothing_to_say(rpm)


def test_rpmlint_finds_nothing_in_the_spec(packages: Path, tmp_path: Path) -> None:
    # By itself: filters for openSUSE's checks are beside it.
    assert_rpmlint_has_nothing_to_say(Path(shutil.copy(packages / "source/rpm/csulcca.spec", tmp_path)))


def assert_rpmlint_has_nothing_to_say(path: Path) -> None:
    printed = clean("rpmlint", "--config", TREE / "rpm/rpmlint.toml", path)
    findings = re.findall(r"(?m)^\S+: [EW]: .*", printed)
    assert not findings, "\n".join(findings)


# openSUSE's settings come with rpmlint's source alone.
RPMLINT = "rpmlint==2.10.0 --hash=sha256:5a45470f3d31731545adfd1321abf678e4e48ccda0f4ab96fda9526e99bbce2d\n"
# openSUSE builds no package with 1000. One point is one error that has no number of its own there.
MUCH_BADNESS = 100


@pytest.fixture(scope="module")
def opensuse_rpmlint() -> Path:
    """rpmlint's source, from PyPI once."""
    tool("rpmlint")
    place = TREE / ".cache" / RPMLINT.split(" ")[0]
    place.parent.mkdir(exist_ok=True)
    # Two processes may run these tests: the second one waits for what the first one fetches.
    with (place.parent / "rpmlint.lock").open("w") as lock, tempfile.TemporaryDirectory(dir=place.parent) as work:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            Path(work, "pin").write_text(RPMLINT)
            clean("python3", "-m", "pip", "-q", "--disable-pip-version-check", "download", "--no-deps",
                  "--no-binary=:all:", "--no-build-isolation", "--require-hashes", "-d", work, "-r", f"{work}/pin")
            (archive,) = Path(work).glob("*.tar.gz")
            shutil.unpack_archive(archive, work)
            (source,) = Path(work).glob("rpmlint-*/")
            (source / "xdg").mkdir()
            (source / "configs/openSUSE").rename(source / "xdg/rpmlint")
            source.rename(place)
    return place


@pytest.mark.parametrize("payload_of", ["reference", "vendor"])
def test_rpmlint_as_opensuse_runs_it(payload_of: str, packages: Path, opensuse_rpmlint: Path, tmp_path: Path) -> None:
    if payload_of == "vendor":
        payload = vendor8.build_rpm(tmp_path, "s390x")
        packages = tmp_path / "dist"
        clean("python3", TREE / "tools/build_packages.py", "--payload", payload, "--output", packages)
    (rpm,) = packages.glob("*.rpm")
    command = ["/usr/bin/python3", "-c", "from rpmlint.cli import lint; lint()",
               "-r", str(TREE / "rpm/csulcca-rpmlintrc"), str(rpm)]  # fmt: skip
    environment = {"PYTHONPATH": str(opensuse_rpmlint), "XDG_CONFIG_DIRS": str(opensuse_rpmlint / "xdg")}
    # With pytest-xdist's own variable it takes itself for under test, and reads no settings.
    clear = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, capture_output=True, text=True, env={**clear, **environment})
    assert "/xdg/rpmlint/scoring.toml" in done.stdout, done.stdout + done.stderr
    badness = re.search(r"(\d+) badness", done.stdout)
    assert badness and int(badness[1]) < MUCH_BADNESS, done.stdout


FIREWALLD_READS = """
import sys
from firewall.core.io.service import service_reader
print(service_reader(sys.argv[1], sys.argv[2]).ports)
"""


def test_firewalld_takes_its_service() -> None:
    """firewalld's own reader: firewall-offline-cmd has the same, and cannot be had without the daemon."""
    if subprocess.run(["/usr/bin/python3", "-c", "import firewall"], stderr=subprocess.DEVNULL).returncode:
        tool("firewalld's library (python3-firewall)")
    printed = clean("/usr/bin/python3", "-c", FIREWALLD_READS, "firewalld-csulcca.xml", TREE / "share")
    assert printed == "[('50003', 'tcp')]\n"


def test_ufw_takes_its_profile(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("ufw runs as root only")
    tool("ufw")
    shutil.copytree("/etc/ufw", tmp_path / "etc/ufw", symlinks=True, ignore=shutil.ignore_patterns("applications.d"))
    for path in ("etc/default/ufw", "lib/ufw", "usr/share/ufw"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).symlink_to("/" + path)
    shutil.copytree(TREE / "share", tmp_path / "etc/ufw/applications.d", ignore=lambda _top, names: [
        name for name in names if name != "ufw-csulcca"])
    printed = clean("ufw", f"--rootdir={tmp_path}", f"--datadir={tmp_path}", "app", "info", "TKE catcher")
    assert re.search(r"(?m)^Port:\n  50003/tcp$", printed), printed


def test_mandoc_finds_nothing() -> None:
    pages = sorted([*(TREE / "man").iterdir(), *(TREE / "payload/reference").rglob("man?/*")])
    assert len(pages) == 4
    done = subprocess.run([tool("mandoc"), "-T", "lint", *map(str, pages)], text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    # The pages themselves are not installed here, and whether systemd's are says nothing about ours.
    ignored = r"referenced manual not found|outdated mandoc.db"
    said = [line for line in done.stdout.splitlines() if not re.search(ignored, line)]
    assert not said, "\n".join(said)


def test_systemd_analyze_finds_nothing_in_the_daily_timer(tmp_path: Path) -> None:
    for name in ("csulcca-check.service", "csulcca-check.timer"):
        text = (TREE / "units" / name).read_text(encoding="utf-8")
        # verify fails if the program does not exist.
        (tmp_path / name).write_text(text.replace("ExecStart=/usr/lib/csulcca/run watch", "ExecStart=/bin/true watch"))
    units = sorted(tmp_path.iterdir())
    printed = clean("systemd-analyze", "verify", "--man=no", *units)
    # verify also reads the machine's own units.
    said = [line for line in printed.splitlines() if "csulcca-check" in line]
    assert not said, printed
    clean("systemd-analyze", "security", "--offline=true", "--threshold=40", "--no-pager",
          TREE / "units/csulcca-check.service")


def test_systemd_analyze_finds_nothing_in_the_service(packages: Path, tmp_path: Path) -> None:
    unit = TREE / "units/CSUTKEcat.service"
    # verify wants the programs to be there; that they are in the package is what the package's tests see.
    text, count = re.subn(r"(?m)^(Exec\w+=[-+]?)/(?:opt/IBM/CCA/bin|usr/lib/csulcca)/\S+", r"\1/bin/true",
                          unit.read_text(encoding="utf-8"))
    assert count >= 2
    copy = tmp_path / unit.name
    copy.write_text(text, encoding="utf-8")
    printed = clean("systemd-analyze", "verify", "--man=no", copy)
    assert str(copy) not in printed, printed
    assert unit.name not in printed, printed


def test_systemd_analyze_rates_the_service_below_the_limit() -> None:
    """The exposure level; 4.0 is the most that a release may have."""
    tool("systemd-analyze")
    unit = TREE / "units/CSUTKEcat.service"
    clean("systemd-analyze", "security", "--offline=true", "--threshold=40", "--no-pager", unit)
