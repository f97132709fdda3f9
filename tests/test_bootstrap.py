"""What tools/bootstrap.sh would install, on machines of both families: their tools are stand-ins that write down how
they are called."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.matrix import images

TREE = Path(__file__).resolve().parent.parent
# What the script itself runs.
COMMANDS = ("sh", "awk", "cat", "chmod", "cmp", "cp", "cut", "dirname", "echo", "env", "grep", "id", "mkdir", "mktemp",
            "rm", "sed", "sort", "tail", "tee", "tr")  # fmt: skip
# An answer of dnf5, and its error if an option of `install` comes before the command.
DNF5 = """\
#!/bin/sh
[ "$1" != --version ] || exec echo "dnf5 version 5.2"
for word; do
    case $word in
    install) command=yes ;;
    --skip-unavailable) [ -n "$command" ] || { echo "Unknown argument $word for command dnf5"; exit 2; } ;;
    esac
done
echo "$@" >> "$CALLS"
"""
DNF4 = '#!/bin/sh\n[ "$1" != --version ] || exec echo 4.14\necho "$@" >> "$CALLS"\n'


class Host:
    """A machine that has nothing but the script's own commands, and a copy of what the script reads."""

    def __init__(self, directory: Path) -> None:
        self.tree = directory / "tree"
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.calls = directory / "calls"
        for name in COMMANDS:
            found = shutil.which(name)
            assert found, name
            (self.bin / name).symlink_to(found)
        for name in ("tools/bootstrap.sh", "tools/requirements.txt", "tests/matrix/distros.toml",
                     "tests/matrix/scenarios.py"):  # fmt: skip
            (self.tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(TREE / name, self.tree / name)
        script = self.tree / "tools/bootstrap.sh"
        # The stand-in machine has no program of this one: neither at absolute paths nor in the rest of PATH.
        text = script.read_text().replace("PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin", "")
        script.write_text(text.replace(" /usr/", " /nowhere/"))

    def program(self, name: str, text: str) -> None:
        """A stand-in."""
        (self.bin / name).unlink(missing_ok=True)
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def has(self, *names: str) -> None:
        """Tools that are there already."""
        for name in names:
            self.program(name, "#!/bin/sh\n")

    def bootstrap(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script. The .venv that it would make is not checked."""
        return subprocess.run(["sh", "tools/bootstrap.sh", *words], cwd=self.tree, text=True, capture_output=True,
                              env={"PATH": str(self.bin), "CALLS": str(self.calls), **environment})  # fmt: skip


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """One."""
    return Host(tmp_path)


def wanted(host: Host, *words: str) -> set[str]:
    """The packages that dnf 4 is told to install."""
    host.program("dnf", DNF4)
    host.calls.unlink(missing_ok=True)
    host.bootstrap(*words)
    (call,) = host.calls.read_text().splitlines()
    return {word for word in call.split() if not word.startswith("-")} - {"install"}


@pytest.mark.parametrize("dnf", [DNF4, DNF5], ids=["dnf 4", "dnf 5"])
def test_dnf_takes_the_command_line(host, dnf):
    host.program("dnf", dnf)
    host.bootstrap("packages")
    assert {"debhelper", "rpm-build"} <= set(host.calls.read_text().split())


def test_fedora_is_not_asked_for_what_it_does_not_have(host):
    assert "podman" in wanted(host, "demo")
    assert not {"mmdebstrap", "debian-keyring", "debian-archive-keyring"} & wanted(host, "demo")


def test_one_system_and_one_scenario_need_no_more_than_they_use(host):
    assert "java-latest-openjdk-devel" in wanted(host, "check")
    native = next(cell.name for cell in images.cells().values() if cell.architecture == "native")
    emulated, booted = (next(cell.name for cell in images.cells().values() if cell.architecture == "s390x" and
                             cell.kind == kind) for kind in ("container", "machine"))  # fmt: skip
    little = wanted(host, "matrix", native, "fresh")
    assert {"podman", "rpm-build"} <= little
    assert not {"java-latest-openjdk-devel", "sscg", "createrepo_c", "qemu-user-static", "ShellCheck"} & little
    assert wanted(host, "matrix", native, "repository") - little == {"createrepo_c", "rpm-sign"}
    assert wanted(host, "matrix", emulated, "fresh") - little == {"qemu-user-static"}
    machine = {"qemu-system-s390x", "qemu-system-x86", "qemu-img", "e2fsprogs"}
    assert wanted(host, "matrix", booted, "fresh") - little == {"qemu-user-static", *machine}
    policy = {"selinux-policy-devel", "checkpolicy", "policycoreutils", "m4"}
    assert wanted(host, "matrix") - little == {"createrepo_c", "rpm-sign", "qemu-user-static", *machine, *policy}


def test_what_tests_can_do_without_does_not_stop_a_command_that_may_not_install(host):
    host.program("dnf", DNF4)
    done = host.bootstrap("lint", BOOTSTRAP="0")
    assert done.returncode == 1
    assert "cannot do without" in done.stderr and "rpm-build" in done.stderr and "ShellCheck" not in done.stderr
    needed = [line.split() for line in (host.tree / "tools/bootstrap.sh").read_text().splitlines()
              if " must " in line and "lint" in line.split()[0]]  # fmt: skip
    for _, _, _, probe, *_ in needed:
        path = Path(str(probe).replace("/nowhere", str(host.tree / "there")).replace("*", "x"))
        if path.is_absolute():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        else:
            host.has(str(probe))
    script = host.tree / "tools/bootstrap.sh"
    script.write_text(script.read_text().replace("/nowhere", str(host.tree / "there")))
    done = host.bootstrap("lint", BOOTSTRAP="0")
    assert "continues without" in done.stderr and "ShellCheck" in done.stderr
    assert "cannot do without" not in done.stderr
    assert not host.calls.exists()


def test_what_is_not_to_be_had_is_not_asked_for_with_every_command(host):
    host.program("dnf", DNF4 + 'for name in $MADE; do echo "#!/bin/sh" > "$BIN/$name"; chmod 755 "$BIN/$name"; done\n')
    (host.tree / ".venv/bin").mkdir(parents=True)
    shutil.copy(host.tree / "tools/requirements.txt", host.tree / ".venv")
    host.program("../tree/.venv/bin/python", "#!/bin/sh\n")
    text = (host.tree / "tools/bootstrap.sh").read_text()
    # A table of two tools, one of which is optional and cannot be installed.
    head, _, rest = text.partition("cat <<'END'\n")
    script = head + "cat <<'END'\nlint one one one must lint\nlint two two two may lint\n" + rest[rest.index("END\n"):]
    (host.tree / "tools/bootstrap.sh").write_text(script)
    environment = {"MADE": "one", "BIN": str(host.bin)}
    done = host.bootstrap("lint", **environment)
    assert done.returncode == 0 and "skipped: two" in done.stdout, done
    done = host.bootstrap("lint", **environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(host.calls.read_text().splitlines()) == 1


def test_what_a_long_installation_is_at_is_shown_and_all_of_it_if_it_fails(host):
    said = "Total download size: 9 M\\nUnpacking a (1)\\nUnpacking b\\nSetting up a\\n"
    host.program("dnf", DNF4 + f'printf "{said}E: broken\\n"; exit "$STATUS"\n')
    done = host.bootstrap("packages", STATUS="0")
    assert [line for line in done.stdout.splitlines() if line.endswith(" ...")] == [
        "  Total download size: 9 M ...", "  unpacking ...", "  setting up ..."]
    assert "E: broken" not in done.stdout + done.stderr
    done = host.bootstrap("packages", STATUS="7")
    assert done.returncode == 1
    assert "E: broken" in done.stderr


def test_who_may_not_install_is_told_at_once(host):
    host.program("dnf", DNF4)
    host.program("id", "#!/bin/sh\necho 1000\n")
    done = host.bootstrap("packages")
    assert done.returncode == 1
    assert "only root can install them" in done.stderr
    assert len(done.stderr.splitlines()) == 1
