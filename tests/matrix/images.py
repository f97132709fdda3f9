"""The cells of distros.toml and their images: built by recipe, kept by the engine, found again by the recipe's hash.

An image is named PREFIX/CELL:HASH. HASH covers the commands and scripts that make it, so a changed recipe makes another
image, and an unchanged recipe is built once. `python3 -m tests.matrix.images` with one of these words:

    systems             the cells, and the systems that they stand for
    list                the cells, and the states of their images
    build [CELL...]     build images; without a name, those of `make check`
    blocked             the cells of `make check` that cannot run here, and why
    prune               remove the images and machines of other recipes
    publish CELL...     put images where CCA_IMAGES says; other hosts fetch them from there instead of building them
    machines            the machines that `make check` leaves out
    key CELL            the key under which a cache may keep a cell's image
"""

from __future__ import annotations

import argparse
import concurrent.futures
import contextlib
import dataclasses
import errno
import fcntl
import functools
import glob
import hashlib
import json
import os
import pathlib
import platform
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence

from tests.matrix import disks, engine, foreign, qemu, toml, vendor
from tests.matrix.engine import MatrixError

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = "localhost/csulcca-test"
DECLARATION = HERE / "distros.toml"
CONVERTER = HERE / "rpm_root.py"
SCRIPTS = HERE / "recipes"
# The directory in which the converter runs; a container and the host share it.
SHARED = "/build"
# The kinds of recipe, and the fields that each must have beside its kind and its suite.
KINDS = {"mmdebstrap": ["packages"], "rpm-root": ["packages", "leave_out"]}
RECIPE_FIELDS = {"kind", "suite", "packages", "apt_options", "script", "needs", "leave_out", "kernel", "words"}
IMAGE_BASED = ("bootc", "rpm-ostree", "transactional-update")
PACKAGE_MANAGERS = {"deb": ["apt"], "rpm": ["dnf", "zypper"]}
# What a log says if a disk is full, and how many of its last lines are shown if a build fails.
FULL_DISK = os.strerror(errno.ENOSPC)
TAIL_LINES = 15
# While something is built, a line is printed at least this often.
HEARTBEAT_S = 15
# An image may have to be downloaded over a slow connection.
PULL_TIMEOUT_S = 900
NO_MMDEBSTRAP = "there is no mmdebstrap on this host, and Fedora has no package of it"
# Settings of the host's apt that are needed to reach a mirror. A root that is made here needs them too.
HOST_APT_SETTINGS = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::https::CAInfo",
                     "Acquire::Check-Valid-Until", "Acquire::Check-Date")  # fmt: skip
# Emulators that the kernel knows, one file each.
BINFMT = pathlib.Path("/proc/sys/fs/binfmt_misc")
# The output of `uname -m`, by Debian's name of the architecture, if they differ.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "ppc64el": "ppc64le"}
# What apt, dnf and zypper print if a mirror cannot be reached, or does not have what its own index lists.
MIRROR_TROUBLE = ("Failed to fetch", "Could not resolve", "Unable to connect", "Connection failed",
                  "Failed to download", "Curl error", "curl) error")  # fmt: skip
# Files of the host and of the mirror that mmdebstrap leaves in a root.
HOST_TRACES = ("etc/apt/sources.list", "etc/apt/sources.list.d/*", "etc/apt/apt.conf.d/99mmdebstrap",
               "etc/resolv.conf", "etc/hostname")  # fmt: skip


class BuildError(MatrixError):
    """An image could not be built; the hint names the log."""


class Blocked(MatrixError):
    """The cell cannot be run on this host, for a reason outside of the project. The text is the reason."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of distros.toml; the fields are explained at its top."""

    name: str
    family: str
    package_manager: str
    architecture: str
    openssl: str
    mode: str
    python: str
    provenance: str
    stands_for: str
    oci: str = ""
    add: list[str] = dataclasses.field(default_factory=list, hash=False)
    recipe: dict = dataclasses.field(default_factory=dict, hash=False)
    packit: str = ""
    testing_farm: str = ""
    obs: str = ""
    kind: str = "container"
    image_based: str = ""
    scenarios: list[str] = dataclasses.field(default_factory=list, hash=False)
    boot: bool = True
    ci: bool = False
    next: str = ""
    roles: list[str] = dataclasses.field(default_factory=list, hash=False)

    @property
    def machine(self) -> str:
        """The output of `uname -m` in it."""
        if self.architecture == "native":
            return platform.machine()
        return MACHINES.get(self.architecture, self.architecture)

    @property
    def ground(self) -> str:
        """The provenance for reports; for a machine in qemu, with what this host emulates."""
        if self.kind == "machine" and not qemu.lacking(self.machine) and "kvm" not in qemu.accelerator(self.machine):
            return f"{self.provenance}, emulated {self.machine}"
        return self.provenance


@functools.cache
def cells() -> dict[str, Cell]:
    """Every declared cell by name, in the order of distros.toml. Raises MatrixError if that file has an error."""
    declared = toml.load(DECLARATION)
    found = {}
    for name, fields in declared.get("cell", {}).items():
        try:
            found[name] = declared_cell(name, fields, declared.get("packages", {}))
        except ValueError as error:
            raise MatrixError(f"{DECLARATION.name}: cell {name}: {error}",
                              f"the fields are explained at the top of {DECLARATION}") from None  # fmt: skip
    if not found:
        raise MatrixError("distros.toml declares no cell", f"git diff -- {DECLARATION}")
    return found


def declared_cell(name: str, fields: dict, lists: dict[str, list[str]]) -> Cell:
    """The cell of one table. Raises ValueError if a field is missing or unknown, or has an unknown value."""
    known = {field.name: field for field in dataclasses.fields(Cell)}
    compare(set(fields), set(known) - {"name"}, {key for key, field in known.items() if key != "name" and
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING}, "field")
    made = Cell(name=name, **fields)
    managers = PACKAGE_MANAGERS.get(made.family)
    if managers is None:
        raise ValueError(f"unknown family {made.family}: one of {', '.join(PACKAGE_MANAGERS)}")
    if made.package_manager not in managers:
        raise ValueError(f"unknown package_manager {made.package_manager} for {made.family}: "
                         f"one of {', '.join(managers)}")  # fmt: skip
    if made.kind not in ("container", "machine"):
        raise ValueError(f"unknown kind {made.kind}: container or machine")
    if (made.kind == "machine") != ("kernel" in made.recipe):
        raise ValueError("a machine, and nothing else, has a recipe with a kernel")
    if made.image_based not in ("", *IMAGE_BASED):
        raise ValueError(f"unknown image_based {made.image_based}: one of {', '.join(IMAGE_BASED)}")
    if not (made.oci or made.recipe):
        raise ValueError("it has neither oci nor recipe")
    if made.ci and not made.recipe:
        raise ValueError("it has ci = true, and no recipe")
    if made.recipe:
        kind = made.recipe.get("kind")
        if kind not in KINDS:
            raise ValueError(f"unknown kind of recipe {kind}: one of {', '.join(KINDS)}")
        compare(set(made.recipe), RECIPE_FIELDS, {"suite", *KINDS[kind]}, "field of recipe")
        if "script" in made.recipe and not (SCRIPTS / made.recipe["script"]).is_file():
            raise ValueError(f"there is no script tests/matrix/recipes/{made.recipe['script']}")
        made = dataclasses.replace(made, recipe={**made.recipe, "packages": expanded(made.recipe["packages"], lists)})
    return dataclasses.replace(made, add=expanded(made.add, lists))


def compare(given: set[str], known: set[str], needed: set[str], what: str) -> None:
    """Raise ValueError for a name that is unknown, or that is required and missing."""
    for problem, names in (("unknown", given - known), ("missing", needed - given)):
        if names:
            raise ValueError(f"{problem} {what}: {', '.join(sorted(names))}")


def expanded(names: Sequence[str], lists: dict[str, list[str]]) -> list[str]:
    """Names of packages. A name that begins with @ is replaced by the list of that name; raises ValueError if there is
    no such list."""
    for name in names:
        if name.startswith("@") and name[1:] not in lists:
            raise ValueError(f"no list of packages is called {name}: one of @{', @'.join(lists)}")
    return [package for name in names for package in (lists[name[1:]] if name.startswith("@") else [name])]


def cell(name: str) -> Cell:
    """The cell of that name. Raises MatrixError with the known names if there is no such cell."""
    if name not in cells():
        raise MatrixError(f"no system is called {name}", "make systems   (lists them)")
    return cells()[name]


def with_role(role: str) -> list[Cell]:
    """The cells that have a role, in the order of distros.toml. Raises MatrixError if no cell has it."""
    found = [one for one in cells().values() if role in one.roles]
    if not found:
        raise MatrixError(f"distros.toml: no cell has the role {role}")
    return found


def in_ci() -> list[Cell]:
    """The cells that `make check` runs here: those with ci = true that are not blocked."""
    return [found for found in cells().values() if found.ci and not blocked(found)]


def blocked(wanted: Cell) -> str:
    """Why the cell cannot run on this host, or "" if it can (its image may still have to be built)."""
    if from_vendor(wanted):
        return ""
    if not wanted.recipe:
        return f"no image {wanted.oci} on this host"
    return unmet(wanted)


def unmet(wanted: Cell) -> str:
    """What the cell's recipe or its machines need and this host does not have, or ""."""
    if wanted.kind == "machine":
        lacking = qemu.lacking(wanted.machine)
        if lacking:
            return lacking
    elif wanted.machine != platform.machine() and not emulates(wanted.machine):
        return f"this host can't run programs for {wanted.machine}: install qemu-user-static, binfmt-support, arch-test"
    for pattern in wanted.recipe.get("needs", []):
        if not glob.glob(os.path.expanduser(pattern)):
            return f"nothing at {pattern} on this host"
    # Nobody publishes a machine.
    published = wanted.kind != "machine" and published_as("")
    if not (shutil.which("mmdebstrap") or published or exists(wanted, reference_of(wanted))):
        return NO_MMDEBSTRAP
    return ""


def emulates(machine: str) -> bool:
    """Whether the kernel runs programs for that machine (as `uname -m` names it) in an emulator, also in containers."""
    try:
        entry = (BINFMT / f"qemu-{machine}").read_text().splitlines()
    except FileNotFoundError:
        return False
    # F: the emulator was opened at registration, so it is found in every root. See binfmt_misc in the kernel's docs.
    flags = next(line.removeprefix("flags:") for line in entry if line.startswith("flags:"))
    return "enabled" in entry and "F" in flags


def ensure(wanted: Cell, *, rebuild: bool = False) -> str:
    """The name of the cell's image, which is built first if it does not exist.

    If two programs need the same image at the same time, it is built once. Raises Blocked if the cell cannot run here
    or a mirror does not deliver, and BuildError if the build fails.
    """
    reason = blocked(wanted)
    if reason:
        raise Blocked(f"{wanted.name}: {reason}", "" if wanted.recipe else f"podman pull {wanted.oci}")
    reference = reference_of(wanted)
    if rebuild or not exists(wanted, reference):
        with only_builder(wanted):
            # Another program may have built it while this program waited.
            if rebuild or not (exists(wanted, reference) or fetched(wanted, reference)):
                build(wanted, reference)
    return reference


def exists(wanted: Cell, reference: str) -> bool:
    """Whether the image of that name has been built."""
    return os.path.isdir(reference) if wanted.kind == "machine" else engine.image_exists(reference)


def pull(wanted: Cell) -> str:
    """Fetch the cell's vendor image. Returns "", or why that failed, in one line."""
    try:
        done = engine.attempt("pull", "--quiet", wanted.oci, timeout=PULL_TIMEOUT_S)
    except engine.EngineError as error:
        return str(error.args[0])
    return "" if done.returncode == 0 else engine.last_line(done.stderr)


def published_as(reference: str) -> str:
    """Where other hosts find the finished image, according to CCA_IMAGES in the environment (a registry and a path, or
    oci:DIRECTORY); "" without CCA_IMAGES."""
    base = os.environ.get("CCA_IMAGES", "").rstrip("/")
    return base + "/" + reference.removeprefix(REPOSITORY + "/") if base else ""


def fetched(wanted: Cell, reference: str) -> bool:
    """Fetch the ready-made image. Returns whether it is here now."""
    source = published_as(reference)
    if not source or wanted.kind == "machine":
        return False
    done = engine.attempt("pull", "--quiet", source, timeout=PULL_TIMEOUT_S)
    if done.returncode:
        print(f"{wanted.name}: not ready-made: {engine.last_line(done.stderr)}", flush=True)
        return False
    engine.call("tag", done.stdout.split()[-1], reference)
    print(f"{wanted.name}: ready-made from {source}", flush=True)
    return True


def publish(wanted: Cell) -> str:
    """Publish the image at the place that CCA_IMAGES names. Returns its name there."""
    if wanted.kind == "machine":
        raise MatrixError(f"{wanted.name} is a machine in qemu: only images of containers can be published")
    reference = ensure(wanted)
    target = published_as(reference)
    if not target:
        raise MatrixError("there is no place to publish to", "export CCA_IMAGES=REGISTRY/PATH, or oci:DIRECTORY")
    if target.startswith("oci:"):
        pathlib.Path(target[4:]).parent.mkdir(parents=True, exist_ok=True)
    # Give it both names as podman does: docker can only push an image that has the tag.
    engine.call("push", "--quiet", reference, target, timeout=PULL_TIMEOUT_S)
    return target


def ensure_all(wanted: Sequence[Cell], *, rebuild: bool = False) -> dict[str, str]:
    """As ensure(), for several cells, two at a time: one downloads while another unpacks. Raises the first error."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        futures = {c.name: pool.submit(ensure, c, rebuild=rebuild) for c in wanted}
        return {name: future.result() for name, future in futures.items()}


def reference_of(wanted: Cell) -> str:
    """The name that the cell's image has or will have: made from the vendor's image if that is here, else from the
    recipe.

    For a machine it is the directory of its booted image.
    """
    if wanted.kind == "machine":
        return str(qemu.booted_directory(machine_image(wanted)))
    if from_vendor(wanted):
        return f"{REPOSITORY}/{wanted.name}:{vendor.tag(wanted.oci, vendor.script(wanted.package_manager, wanted.add))}"
    return built_reference(wanted)


def from_vendor(wanted: Cell) -> bool:
    """Whether the cell's image is made from a vendor's image that is on this host."""
    return bool(wanted.oci) and engine.image_exists(wanted.oci)


def built_reference(wanted: Cell) -> str:
    """The name that the cell's image has, or will have, when it is built by its recipe as declared now."""
    made_of: list[str | list[str]] = [mmdebstrap_argv(wanted)]
    if wanted.recipe["kind"] == "rpm-root":
        made_of += [wanted.recipe["leave_out"], CONVERTER.read_text()]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    return f"{REPOSITORY}/{wanted.name}:{digest[:12]}"


def cache_key(wanted: Cell) -> str:
    """The key under which a cache outside of this host may keep the cell's image: its name and the hash of its recipe.

    Needs no engine. The key stays the same if a vendor publishes another image under the same name.
    """
    if wanted.recipe:
        return built_reference(wanted).removeprefix(REPOSITORY + "/").replace(":", "-")
    made_by = wanted.oci + vendor.script(wanted.package_manager, wanted.add)
    return f"{wanted.name}-{hashlib.sha256(made_by.encode()).hexdigest()[:12]}"


def machine_image(wanted: Cell) -> disks.Image:
    """The image of a cell that is a machine in qemu, before its first boot; it may not be made yet."""
    root = cache_directory() / "machines" / f"{wanted.name}-{disks.digest_of(mmdebstrap_argv(wanted))}"
    words = wanted.recipe.get("words", "")
    made_of = (words, disks.INIT, disks.APPLETS, disks.MODULES, disks.SIZE)
    return disks.Image(root / f"image-{disks.digest_of(made_of)}", wanted.machine, words)


def mmdebstrap_argv(wanted: Cell) -> list[str]:
    """The command that makes the Debian root, without the target and the options that depend on the host.

    It names no mirror: mmdebstrap has its own default. The root has no package lists, sources or name servers, so that
    no test can use a network. It has an empty machine-id, so that each machine gets its own.
    """
    made = ["mmdebstrap", "--variant=minbase", "--format=tar", "--include=" + ",".join(wanted.recipe["packages"])]
    if wanted.architecture != "native":
        made.append("--arch=" + wanted.architecture)
    made += ["--aptopt=" + option for option in wanted.recipe.get("apt_options", [])]
    if "kernel" in wanted.recipe:
        made.append(disks.kernel_hook(wanted.recipe["kernel"]))
    scripts = ["machine.sh"] if wanted.kind == "machine" else []
    scripts += [wanted.recipe["script"]] if "script" in wanted.recipe else []
    # Their text, not their path, so that the recipe's hash changes with it.
    made += ["--customize-hook=" + (SCRIPTS / script).read_text() for script in scripts]
    made.append(f'--customize-hook=cd "$1" && rm -f {" ".join(HOST_TRACES)} && : > etc/machine-id')
    return [*made, wanted.recipe["suite"]]


def build(wanted: Cell, reference: str) -> None:
    """Build the cell's image, with the name of reference_of(). Raises BuildError. The caller holds the lock of
    only_builder()."""
    progress = Progress(wanted.name)
    progress.say("building the image, which is kept for the next time")
    if wanted.kind == "machine":
        build_machine(wanted, progress)
        return
    if from_vendor(wanted):
        make_bootable(wanted, reference, progress)
    else:
        build_by_recipe(wanted, reference, progress)
    size = engine.inspect("image", reference)["Size"] / 1e6
    progress.say(f"image ready, {size:.0f} MB")


def make_bootable(wanted: Cell, reference: str, progress: Progress) -> None:
    """Install what the cell adds to the vendor's image; see vendor.py."""
    container = engine.owned_name("build-" + wanted.name)
    progress.say(f"installing {len(wanted.add)} packages in {wanted.oci}")
    try:
        command = vendor.script(wanted.package_manager, wanted.add)
        progress.run(vendor.run_argv(wanted.oci, container, command))
        engine.call("commit", "--quiet", container, reference)
    finally:
        engine.attempt("rm", "--force", "--volumes", container)


def build_by_recipe(wanted: Cell, reference: str, progress: Progress) -> None:
    """Make the root that the recipe describes, and an image of it. Raises Blocked if nothing here can make it."""
    if not shutil.which("mmdebstrap"):
        raise Blocked(f"{wanted.name}: {NO_MMDEBSTRAP}")
    with tempfile.TemporaryDirectory(dir=cache_directory(), prefix="build-") as work:
        root = os.path.join(work, "root.tar")
        argv = [*mmdebstrap_argv(wanted)[:-1], *host_apt_options(), wanted.recipe["suite"], root, *mirror()]
        progress.run(argv)
        if wanted.recipe["kind"] == "rpm-root":
            convert_to_rpms(wanted, root, work, progress)
        progress.say("handing the image to " + engine.current().program)
        import_root(wanted, root, reference)


def build_machine(wanted: Cell, progress: Progress) -> None:
    """Make the disk that the recipe describes, boot it, and keep the booted machine."""
    image = machine_image(wanted)
    image.directory.mkdir(parents=True, exist_ok=True)
    root = image.directory.parent / "root.tar"
    if not root.exists():
        with tempfile.TemporaryDirectory(dir=root.parent, prefix="build-") as work:
            made = os.path.join(work, "root.tar")
            argv = [*mmdebstrap_argv(wanted)[:-1], *host_apt_options(), wanted.recipe["suite"], made, *mirror()]
            where = [] if wanted.machine == platform.machine() else foreign.prefix(wanted.machine)
            progress.run([*where, *argv])
            os.rename(made, root)
    if not image.is_made():
        progress.say("making the disk")
        disks.make(root, image, run=progress.run)
    progress.say("booting it")
    qemu.boot_once(image)
    progress.say("the booted machine is kept")


def convert_to_rpms(wanted: Cell, root: str, work: str, progress: Progress) -> None:
    """Replace the Debian root in the file `root` by a root that only rpm manages; see rpm_root.py."""
    builder = f"{REPOSITORY}/builder-{wanted.name}:{os.getpid()}"
    import_root(wanted, root, builder)
    os.unlink(root)
    script = f"{SHARED}/{CONVERTER.name}"
    shutil.copy(CONVERTER, work)
    try:
        progress.run(engine.argv(
            "run", "--rm", "--name=" + engine.owned_name("build-" + wanted.name), *engine.current().run_options,
            "--privileged", "--network=none", f"--volume={work}:{SHARED}", builder,
            "python3", script, SHARED, *wanted.recipe["leave_out"],
        ))  # fmt: skip
    finally:
        engine.attempt("rmi", "-f", builder)


def import_root(wanted: Cell, tarball: str, reference: str) -> None:
    """Make an image of a root file system in a tar file."""
    replaced = engine.attempt("image", "inspect", "--format={{.Id}}", reference)
    foreign = [] if wanted.architecture == "native" else [f"--arch={wanted.architecture}"]
    if engine.current().is_docker:
        foreign = [f"--platform=linux/{a.removeprefix('--arch=')}" for a in foreign]
    engine.call("import", *foreign, tarball, reference)
    if replaced.returncode == 0:
        # The old image has no name now. If a machine of another program still runs on it, it stays until `podman image
    # prune`.
        engine.attempt("rmi", replaced.stdout.strip())


def host_apt_options() -> list[str]:
    """Options that give mmdebstrap the host's apt settings for reaching a mirror (proxy, certificates, clock)."""
    if shutil.which("apt-config") is None:
        return []
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=60, check=True).stdout
    return ["--aptopt=" + line.rstrip(";") for line in dump.splitlines()
            if line.startswith(HOST_APT_SETTINGS) and not line.endswith('"";')]  # fmt: skip


def mirror() -> list[str]:
    """The mirror in the environment's CCA_DEBIAN_MIRROR, or none: mmdebstrap has a default."""
    return [m for m in [os.environ.get("CCA_DEBIAN_MIRROR", "")] if m]


def cache_directory() -> pathlib.Path:
    """The directory of logs, locks and unfinished images: ${XDG_CACHE_HOME:-~/.cache}/csulcca. It is made if it does
    not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    found = pathlib.Path(base, "csulcca")
    found.mkdir(parents=True, exist_ok=True)
    return found


@contextlib.contextmanager
def only_builder(wanted: Cell) -> Iterator[None]:
    """Hold the lock on building this cell's image; the kernel frees it when its holder dies."""
    with open(cache_directory() / f"{wanted.name}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"{wanted.name}: another program is building this image, waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Progress:
    """The output of a build: one line for each step on standard output, with the seconds since the start; everything
    else goes to a log."""

    def __init__(self, name: str) -> None:
        """Start the clock, and the log in the cache directory."""
        self.name = name
        self.started = time.monotonic()
        self.log = cache_directory() / f"{name}.log"
        self.log.write_bytes(b"")

    def say(self, what: str) -> None:
        """Print one line for the person who waits."""
        print(f"{self.name}: {time.monotonic() - self.started:4.0f} s  {what}", flush=True)

    def run(self, command: Sequence[str]) -> None:
        """Run a command; its lines `I: ...` are steps. Raises BuildError if it fails, and Blocked if it fails after it
        reported that a mirror does not deliver: apt and dnf continue then, and fail because a package is missing."""
        step, last, first_error, trouble = "working", "", "", ""
        # PYTHON: for scripts of recipes.
        with open(self.log, "ab") as log, subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHON": sys.executable},
        ) as process, selectors.DefaultSelector() as ready:  # fmt: skip
            assert process.stdout is not None
            ready.register(process.stdout, selectors.EVENT_READ)
            rest = b""
            try:
                while True:
                    if not ready.select(HEARTBEAT_S):
                        self.say(f"still {step}")
                        continue
                    # Not readline(): select() does not see lines that are in a buffer already.
                    chunk = os.read(process.stdout.fileno(), 65536)
                    if not chunk:
                        break
                    log.write(chunk)
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in (raw.decode(errors="replace").strip() for raw in lines):
                        last = line or last
                        if any(said in line for said in MIRROR_TROUBLE):
                            trouble = trouble or line.removeprefix("E: ")
                        if line.startswith("E: "):
                            first_error = first_error or line.removeprefix("E: ")
                        if line.startswith("I: ") and is_step(line):
                            step = line.removeprefix("I: ").rstrip(".")
                            self.say(step)
            except BaseException:
                # If this process is ended (most likely by Ctrl-C), the build must end, too.
                process.terminate()
                raise
        if process.returncode:
            output = self.log.read_text(encoding="utf-8", errors="replace")
            if FULL_DISK in output:
                raise BuildError(f"{self.name}: {command[0]} failed: {FULL_DISK}", engine.FULL_DISK_HINT)
            raise (Blocked if trouble else BuildError)(
                f"{self.name}: {command[0]} failed: {trouble or first_error or last}",
                f"the whole output is in {self.log}; it ends:\n" +
                "\n".join(f"    | {line}" for line in output.splitlines()[-TAIL_LINES:]))  # fmt: skip


def is_step(line: str) -> bool:
    """Whether mmdebstrap's line `I: ...` is useful for a person; the others are about its internals."""
    return line.endswith("...") and not line.startswith(("I: running", "I: cleaning", "I: removing", "I: main()"))


def prune() -> list[str]:
    """Remove images whose recipe has changed or is no longer declared. Returns their names."""
    wanted = {reference_of(c) for c in cells().values() if c.recipe or from_vendor(c)}
    listed = engine.call("images", "--format={{.Repository}}:{{.Tag}}").split()
    stale = [reference for reference in listed if reference.startswith(REPOSITORY + "/") and reference not in wanted]
    for reference in stale:
        engine.call("rmi", reference)
    return stale + prune_machines()


def prune_machines() -> list[str]:
    """Remove disks and booted machines of other recipes or of another qemu, and the files of killed runs of power cuts.
    Returns the paths."""
    kept = set()
    for wanted in cells().values():
        if wanted.kind == "machine":
            image = machine_image(wanted)
            kept |= {image.directory.parent, image.directory}
            # Without its qemu it is not known which of them belongs to it.
            kept |= {qemu.booted_directory(image)} if shutil.which(qemu.BOARDS[wanted.machine].emulator) else set(
                image.directory.glob("booted-*"))  # fmt: skip
    top = cache_directory() / "machines"
    stale = [path for pattern in ("*-*", "*/image-*", "*/image-*/booted-*") for path in sorted(top.glob(pattern))
             if path not in kept]  # fmt: skip
    stale = [path for path in stale if not {*path.parents} & {*stale}]
    stale += [path for path in cache_directory().iterdir() if engine.is_stale(path.name)]
    for path in stale:
        shutil.rmtree(path)
    return [str(path) for path in stale]


def state(wanted: Cell) -> str:
    """`built`, `not built` or `BLOCKED (reason)`, for the listing."""
    reason = blocked(wanted)
    if reason:
        return f"BLOCKED ({reason})"
    return "built" if exists(wanted, reference_of(wanted)) else "not built"


def main(arguments: Sequence[str]) -> None:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.matrix.images", description="Images of the test matrix.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("systems", help="every declared cell, and the systems that it stands for")
    verbs.add_parser("list", help="every declared cell, and whether its image exists")
    building = verbs.add_parser("build", help="build images (default: of every cell with ci = true)")
    building.add_argument("cells", nargs="*", metavar="CELL")
    building.add_argument("--rebuild", action="store_true", help="also build existing images, to get newer packages")
    keying = verbs.add_parser("key", help="the key under which a cache may keep a cell's image")
    keying.add_argument("cells", nargs=1, metavar="CELL")
    publishing = verbs.add_parser("publish", help="put images where CCA_IMAGES says, for others to fetch")
    publishing.add_argument("cells", nargs="+", metavar="CELL")
    verbs.add_parser("blocked", help="the cells with ci = true that this host can't run, and why")
    verbs.add_parser("machines", help="the machines in qemu that `make check` leaves to `make matrix`")
    verbs.add_parser("prune", help="remove images of other recipes")
    options = parser.parse_args(arguments)
    with engine.plain_errors():
        width = max(map(len, cells()))
        if options.verb == "systems":
            for one in cells().values():
                print(f"{one.name:{width}}  {one.provenance:15} {one.stands_for}", flush=True)
            return
        if options.verb == "machines":
            print("\n".join(one.name for one in cells().values() if one.kind == "machine" and not one.ci))
            return
        if options.verb == "key":
            print(cache_key(cell(options.cells[0])))
            return
        engine.prepare()
        if options.verb == "list":
            for one in cells().values():
                print(f"{one.name:{width}}  {one.family:4} {one.provenance:16} {state(one)}")
        elif options.verb == "blocked":
            for one in cells().values():
                if one.ci and blocked(one):
                    print(f"{one.name} ({blocked(one)})")
        elif options.verb == "publish":
            for name in options.cells:
                print(f"{name}: {publish(cell(name))}", flush=True)
        elif options.verb == "prune":
            for reference in prune():
                print("removed " + reference)
        else:
            named = [cell(name) for name in options.cells] or in_ci()
            for name, reference in ensure_all(named, rebuild=options.rebuild).items():
                print(f"{name}: {reference}")


if __name__ == "__main__":
    main(sys.argv[1:])
