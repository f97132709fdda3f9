"""From the declaration of a cell: the name of its image, and why a host cannot run it. No engine is needed."""

import ast
import dataclasses
import errno
import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.matrix import engine, images
from tests.matrix.report import TREE
from tests.matrix.scenarios import SCENARIOS

ENTRY = "{state}\ninterpreter /usr/bin/qemu-s390x\nflags: {flags}\noffset 0\nmagic 7f45\n"
KINDS = {"Debian root", "rpm look-alike", "emulated", "vendor image", "booted machine"}


def first(wanted):
    """The first declared cell that is wanted."""
    return next(cell for cell in images.cells().values() if wanted(cell))


@pytest.fixture
def s390x(tmp_path, monkeypatch):
    """A cell of s390x, on a host of another kind that knows no emulator yet; and the directory where one would be."""
    monkeypatch.setattr(images, "BINFMT", tmp_path)
    monkeypatch.setattr(images.platform, "machine", lambda: "x86_64")
    return first(lambda cell: cell.architecture == "s390x" and cell.kind == "container"), tmp_path / "qemu-s390x"


@pytest.mark.parametrize("name", images.cells())
def test_a_cell_is_declared_consistently(name):
    cell = images.cell(name)
    assert cell.provenance in KINDS
    assert (cell.provenance == "vendor image") == bool(cell.oci) == bool(cell.add)
    assert (cell.provenance == "booted machine") == (cell.kind == "machine") == ("kernel" in cell.recipe)
    assert cell.kind in ("container", "machine")
    assert set(cell.scenarios) <= set(SCENARIOS)
    assert (cell.provenance == "rpm look-alike") == (cell.recipe.get("kind") == "rpm-root")
    assert (cell.family, cell.package_manager) in {("deb", "apt"), ("rpm", "dnf"), ("rpm", "zypper")}
    # As catcher_install/openssl.py: TLS needs OpenSSL 1.1.1 or newer, and a soname that OpenSSL 4 does not have.
    numbers = tuple(int(part) for part in cell.openssl.split(".") if part)
    assert cell.mode == ("TLS" if (1, 1, 1) <= numbers < (4,) or numbers == (3,) else "TCP")


def test_nothing_but_the_declaration_names_a_system():
    """Adding one is a table there. A name is found within a string, too, but not as a part of a longer word.

    The tests of the library know no cells: there the same word may be the ID of an os-release(5) file.
    """
    names = {*images.cells(), *(cell.recipe["suite"] for cell in images.cells().values() if cell.recipe)}
    word = re.compile(r"(?<![\w.-])(?:%s)(?![\w-]|\.\w)" % "|".join(map(re.escape, names)))
    found = []
    for path in sorted(one for top in ("tests", "tools") for one in (TREE / top).rglob("*.py")):
        nodes = () if TREE / "tests/unit" in path.parents else ast.walk(ast.parse(path.read_text()))
        for node in nodes:
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found += [f"{path.relative_to(TREE)}:{node.lineno}: {name}" for name in word.findall(node.value)]
    assert found == []


def test_a_foreign_architecture_is_blocked_until_the_kernel_knows_an_emulator(s390x):
    cell, entry = s390x
    assert cell.machine == "s390x"
    assert "qemu-user-static" in images.blocked(cell)
    entry.write_text(ENTRY.format(state="enabled", flags="PF"))
    assert images.blocked(cell) == ""


@pytest.mark.parametrize("state,flags", [("disabled", "PF"), ("enabled", "P")], ids=["disabled", "not in containers"])
def test_an_emulator_that_a_container_would_not_find_is_none(s390x, state, flags):
    cell, entry = s390x
    entry.write_text(ENTRY.format(state=state, flags=flags))
    assert "s390x" in images.blocked(cell)


def test_a_host_that_cannot_make_roots_takes_ready_made_ones_or_is_blocked(monkeypatch, capsys):
    """Fedora has no mmdebstrap."""
    here, asked = set(), []

    def attempt(*arguments, **_):
        asked.append(arguments)
        fine = arguments[-1] in here if arguments[0] == "image" else arguments[-1] == "registry.example/roots/" + name
        return subprocess.CompletedProcess(arguments, 0 if fine else 125, "id\n" if fine else "", "no such manifest")

    cell = first(lambda cell: cell.recipe and not cell.oci and cell.architecture == "native")
    monkeypatch.setattr(images.shutil, "which", lambda name: None)
    monkeypatch.setattr(engine, "attempt", attempt)
    monkeypatch.setattr(engine, "call", lambda *arguments: asked.append(arguments))
    monkeypatch.delenv("CCA_IMAGES", raising=False)
    reference = images.built_reference(cell)
    name = reference.removeprefix(images.REPOSITORY + "/")
    assert "no mmdebstrap" in images.blocked(cell)
    here.add(reference)
    assert images.blocked(cell) == ""
    here.clear()
    monkeypatch.setenv("CCA_IMAGES", "registry.example/roots/")
    assert images.blocked(cell) == ""
    assert images.ensure(cell) == reference
    assert asked[-1] == ("tag", "id", reference)
    assert "ready-made from registry.example/roots/" in capsys.readouterr().out
    # Where that has none, and none can be made either.
    name = "another"
    with pytest.raises(images.Blocked, match="no mmdebstrap"):
        images.ensure(cell)


def test_a_machine_is_never_ready_made(monkeypatch):
    cell = first(lambda cell: cell.kind == "machine")
    monkeypatch.setattr(images.qemu, "lacking", lambda machine: "")
    monkeypatch.setattr(images.qemu, "digest", lambda machine: "none")
    monkeypatch.setattr(images.shutil, "which", lambda name: None)
    monkeypatch.setenv("CCA_IMAGES", "registry.example/roots/")
    assert "no mmdebstrap" in images.blocked(cell)


def test_on_its_own_architecture_nothing_is_emulated(s390x, monkeypatch):
    monkeypatch.setattr(images.platform, "machine", lambda: "s390x")
    assert images.blocked(s390x[0]) == ""


def test_what_a_script_needs_of_the_host_is_named_where_it_is_missing(tmp_path):
    declared = first(lambda cell: cell.recipe and not images.blocked(cell))
    cell = dataclasses.replace(declared, recipe={**declared.recipe, "needs": [f"{tmp_path}/3.6.*/python"]})
    assert images.blocked(cell) == f"nothing at {tmp_path}/3.6.*/python on this host"
    (tmp_path / "3.6.15").mkdir()
    (tmp_path / "3.6.15/python").touch()
    assert images.blocked(cell) == ""


def test_a_changed_script_is_another_image(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "SCRIPTS", tmp_path)
    cell = first(lambda cell: "script" in cell.recipe and cell.kind == "container")
    script = tmp_path / cell.recipe["script"]
    names = []
    for text in ("true\n", "true\n", "false\n"):
        script.write_text(text)
        names.append(images.built_reference(cell))
    assert names[0] == names[1] != names[2]


def test_a_mirror_that_does_not_deliver_blocks_and_any_other_failure_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program = tmp_path / "mmdebstrap"
    cell = first(lambda cell: cell.recipe.get("kind") == "mmdebstrap" and not images.blocked(cell))
    for said, expected in (("Failed to fetch http://m/x  File has unexpected size", images.Blocked),
                           ("dpkg returned an error", images.BuildError)):
        program.write_text(f"#!/bin/sh\necho 'E: {said}'\nexit 1\n")
        program.chmod(0o755)
        with pytest.raises(expected, match=said.split()[0]):
            images.build_by_recipe(cell, "localhost/none:1", images.Progress(cell.name))


GOOD = """\
[packages]
system = ["systemd"]
[cell.one]
family = "deb"
package_manager = "apt"
architecture = "native"
openssl = "3.0"
mode = "TLS"
python = "3.11"
provenance = "Debian root"
stands_for = "a test"
recipe = { kind = "mmdebstrap", suite = "x", packages = ["@system"] }
"""
WRONG = {
    "no TOML": ('mode = "TLS"', "mode = TLS", "line 8"),
    "unknown list": ("@system", "@sytem", "@sytem: one of @system"),
    "unknown field": ("python =", "pithon =", "unknown field: pithon"),
    "missing field": ('mode = "TLS"\n', "", "missing field: mode"),
    "unknown kind": ('"mmdebstrap"', '"debootstrap"', "debootstrap: one of mmdebstrap, rpm-root"),
    "unknown family": ('"deb"', '"dpkg"', "dpkg: one of deb, rpm"),
    "unknown package manager": ('"apt"', '"apk"', "apk for deb: one of apt"),
    "unknown field of a recipe": ("suite =", "siute =", "unknown field of recipe: siute"),
    "missing field of a recipe": ('suite = "x", ', "", "missing field of recipe: suite"),
    "missing script": ('suite = "x"', 'suite = "x", script = "none.sh"', "no script tests/matrix/recipes/none.sh"),
    "neither image nor recipe": ("recipe = {", "add = []\n# {", "neither oci nor recipe"),
    "no cell": ("[cell.one]", "[sell.one]", "declares no cell"),
}


@pytest.fixture
def declaration(tmp_path, monkeypatch):
    """Write another distros.toml, which is read instead until the end of the test."""
    path = tmp_path / "distros.toml"
    monkeypatch.setattr(images, "DECLARATION", path)
    images.cells.cache_clear()
    yield path.write_text
    images.cells.cache_clear()


@pytest.mark.parametrize("old, new, said", WRONG.values(), ids=WRONG)
def test_a_mistake_in_the_declaration_is_named_with_what_to_do(declaration, capsys, monkeypatch, old, new, said):
    """Before the engine is asked for anything."""
    monkeypatch.setattr(engine, "prepare", lambda: pytest.fail("something ran"))
    declaration(GOOD)
    assert list(images.cells()) == ["one"]
    images.cells.cache_clear()
    assert GOOD.count(old) == 1
    declaration(GOOD.replace(old, new))
    for command in (images.main, engine.main):
        with pytest.raises(SystemExit, match="1"):
            command(["list"])
        problem, hint = capsys.readouterr().err.splitlines()
        assert problem.startswith("error: distros.toml") and said in problem
        assert hint.startswith("hint: ")


@pytest.fixture
def broken_tree(tmp_path):
    """A tree in which distros.toml is no TOML: tests/matrix is a copy, the rest is this one."""
    (tmp_path / "tests").mkdir()
    for path in [*TREE.iterdir(), *(TREE / "tests").iterdir()]:
        if path.name not in ("tests", "matrix"):
            (tmp_path / path.relative_to(TREE)).symlink_to(path)
    shutil.copytree(TREE / "tests/matrix", tmp_path / "tests/matrix", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "tests/matrix/distros.toml").open("a") as declared:
        declared.write("[cell\n")
    return tmp_path


# What the targets of the Makefile run.
COMMANDS = ["tests.matrix.engine -- true", "tests.matrix.images list", "tests.matrix.run", "tools.demo", "tools.bench",
            "tests.matrix.proof", "tools.ci_files --check"]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_mistake_in_the_declaration_is_two_lines_of_every_command_and_nothing_runs_before(broken_tree, command):
    done = subprocess.run([sys.executable, "-m", *command.split()], cwd=broken_tree, capture_output=True, text=True)
    assert done.returncode in (1, 2)
    assert done.stdout == "" and "Traceback" not in done.stderr
    problem, hint = done.stderr.splitlines()
    assert "distros.toml is not valid TOML" in problem and "edit" in hint


def test_a_build_that_fails_shows_the_end_of_its_log(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    script = "seq 100; echo 'E: it broke'; echo the very end; exit 1"
    with pytest.raises(images.BuildError, match="it broke") as caught:
        images.Progress("x").run(["sh", "-c", script])
    said = str(caught.value).splitlines()
    assert said[0] == "x: sh failed: it broke"
    assert said[-1] == "    | the very end"
    assert said[2] == "    | 88"
    assert str(tmp_path / "csulcca/x.log") in said[1]


def test_a_full_disk_is_called_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    # A program that meets it;
    with pytest.raises(images.BuildError, match="No space left") as caught:
        images.Progress("x").run(["sh", "-c", "echo 'tar: x: Cannot write: No space left on device'; echo; exit 2"])
    assert "images prune" in caught.value.hint
    # ourselves;
    progress = images.Progress("x")
    progress.log.unlink()
    progress.log.symlink_to("/dev/full")
    with pytest.raises(SystemExit, match="1"), engine.plain_errors():
        progress.run(["sh", "-c", "echo something"])
    assert capsys.readouterr().err.startswith("error: No space left on device")
    # the engine.
    failed = subprocess.CompletedProcess([], 125, "", "Error: write /var/x: no space left on device\n")
    monkeypatch.setattr(engine, "attempt", lambda *arguments, timeout: failed)
    monkeypatch.setattr(engine, "current", lambda: engine.Engine("podman", (), ()))
    with pytest.raises(engine.EngineError) as caught:
        engine.call("import", "x")
    assert "images prune" in caught.value.hint


def test_a_program_that_failed_is_named_and_how_to_try_it_alone(capsys):
    """A build of the packages, for the demo and for a shell in a system."""
    for options in ({}, {"capture_output": True, "text": True}):
        with pytest.raises(SystemExit, match="1"), engine.plain_errors():
            subprocess.run(["sh", "-c", "echo full >&2; exit 3"], check=True, **options)
        problem, hint = capsys.readouterr().err.splitlines()
        said = "full" if options else "what it said is above"
        assert problem == f"error: sh failed with exit status 3: {said}"
        assert hint == "hint: to try it alone: sh -c 'echo full >&2; exit 3'"


def test_an_error_that_nobody_foresaw_keeps_its_traceback():
    with pytest.raises(OSError, match=os.strerror(errno.EIO)), engine.plain_errors():
        raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize("program", engine.PACKAGES)
def test_an_engine_that_is_missing_is_named_by_its_package(tmp_path, monkeypatch, program):
    """Debian's package docker is a dock for windows, and Fedora has none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CONTAINER_ENGINE", program)
    monkeypatch.setattr(engine.os, "geteuid", lambda: 0)
    with pytest.raises(engine.EngineError) as caught:
        engine.prepare()
    assert re.findall(r"install (\S+)", caught.value.hint) == {"podman": ["podman", "podman"],
                                                               "docker": ["docker.io", "moby-engine"]}[program]


def test_the_list_of_systems_needs_no_engine_and_may_be_cut_short():
    command = [sys.executable, "-m", "tests.matrix.images", "systems"]
    environment = {"PATH": os.environ["PATH"], "CONTAINER_ENGINE": "none"}
    said = subprocess.run(command, cwd=TREE, env=environment, check=True, capture_output=True, text=True).stdout
    assert [line.split()[0] for line in said.splitlines()] == list(images.cells())
    # A reader that is gone before the first line.
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, cwd=TREE, env=environment, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_prune_removes_machines_of_other_recipes_and_what_killed_runs_have_left(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "cache_directory", lambda: tmp_path)
    monkeypatch.setattr(images.qemu, "digest", lambda machine: "own")
    (wanted, *_) = (cell for cell in images.cells().values() if cell.kind == "machine")
    image = images.machine_image(wanted).directory
    kept = [image / "disk", image / "booted-own/state", image.parent / "root.tar", tmp_path / "x.lock",
            tmp_path / images.engine.owned_name("cuts-x") / "disk"]  # fmt: skip
    gone = [tmp_path / "machines/old-0123/image-1/booted-own/state", image.parent / "image-2/disk",
            tmp_path / f"{images.engine.PREFIX}-1-0-cuts-x/disk"]  # fmt: skip
    gone += [image / "booted-other/state"] if images.qemu.shutil.which("qemu-system-s390x") else []
    for path in (*kept, *gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    removed = images.prune_machines()
    assert len(removed) == len(gone)
    assert [path for path in gone if path.exists()] == []
    assert [path for path in kept if not path.exists()] == []


def test_make_check_names_the_machines_that_it_leaves_to_make_matrix(capsys):
    images.main(["machines"])
    named = capsys.readouterr().out.split()
    assert named == [cell.name for cell in images.cells().values() if cell.kind == "machine" and not cell.ci]
    assert "tests.matrix.images machines" in (TREE / "tools/check.sh").read_text()
