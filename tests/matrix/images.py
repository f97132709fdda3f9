"""The cells of distros.toml and their images: built by recipe, kept by the engine, found again by the recipe's hash.

An image is named PREFIX/CELL:HASH, and HASH covers the commands and scripts that make it, so that a changed recipe is
another image and an unchanged one is built once. `python3 -m tests.matrix.images list`, `... build CELL...` (those
of `make check`, without a name), `... blocked` (those of `make check` that can't run here, and why), `... prune`
(remove those of other recipes, machines too), `... publish CELL...` (put them where CCA_IMAGES says, from where they
are taken, if they are not here yet, before they are built), `... machines` (those that `make check` leaves out).
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
# Where the converter runs: the one of its paths that a container and the host share.
SHARED = "/build"
# The kinds of recipe, and what each must say beside its kind and its suite.
KINDS = {"mmdebstrap": ["packages"], "rpm-root": ["packages", "leave_out"]}
RECIPE_FIELDS = {"kind", "suite", "packages", "apt_options", "script", "needs", "leave_out", "kernel", "words"}
IMAGE_BASED = ("bootc", "rpm-ostree", "transactional-update")
PACKAGE_MANAGERS = {"deb": ["apt"], "rpm": ["dnf", "zypper"]}
# What a log says where a disk is full, and how many of its last lines are shown of a build that failed.
FULL_DISK = os.strerror(errno.ENOSPC)
TAIL_LINES = 15
# A line at least this often while something is being built.
HEARTBEAT_S = 15
# An image may have to come through a slow line.
PULL_TIMEOUT_S = 900
NO_MMDEBSTRAP = "there is no mmdebstrap on this host, and Fedora has no package of it"
# Settings of the host's apt that are about reaching a mirror, and so hold for a root that is made here too.
HOST_APT_SETTINGS = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::https::CAInfo",
                     "Acquire::Check-Valid-Until", "Acquire::Check-Date")  # fmt: skip
# Emulators that the kernel knows, one file each.
BINFMT = pathlib.Path("/proc/sys/fs/binfmt_misc")
# What `uname -m` says, by Debian's name of the architecture, where they differ.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64", "ppc64el": "ppc64le"}
# What apt, dnf and zypper say where a mirror can't be reached, or does not have what its own index promises.
MIRROR_TROUBLE = ("Failed to fetch", "Could not resolve", "Unable to connect", "Connection failed",
                  "Failed to download", "Curl error", "curl) error")  # fmt: skip
# What mmdebstrap leaves of the host and of the mirror in a root.
HOST_TRACES = ("etc/apt/sources.list", "etc/apt/sources.list.d/*", "etc/apt/apt.conf.d/99mmdebstrap",
               "etc/resolv.conf", "etc/hostname")  # fmt: skip


class BuildError(MatrixError):
    """An image could not be built; the hint names the log."""


class Blocked(MatrixError):
    """The cell can't be run on this host, through no fault of the project: the verdict BLOCKED with its reason."""


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
        """What `uname -m` says in it."""
        if self.architecture == "native":
            return platform.machine()
        return MACHINES.get(self.architecture, self.architecture)

    @property
    def ground(self) -> str:
        """The provenance, and of a machine in qemu what this host emulates of it, for reports."""
        if self.kind == "machine" and not qemu.lacking(self.machine) and "kvm" not in qemu.accelerator(self.machine):
            return f"{self.provenance}, emulated {self.machine}"
        return self.provenance


@functools.cache
def cells() -> dict[str, Cell]:
    """Every declared cell by name, in the order of distros.toml; raises MatrixError if that file is wrong anywhere."""
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
    """The cell of one table; raises ValueError if a field is missing, unknown or says what nothing here knows."""
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
    """Raise ValueError for a name that is not known, or that is needed and not given."""
    for problem, names in (("unknown", given - known), ("missing", needed - given)):
        if names:
            raise ValueError(f"{problem} {what}: {', '.join(sorted(names))}")


def expanded(names: Sequence[str], lists: dict[str, list[str]]) -> list[str]:
    """Names of packages, those that begin with @ replaced by the list of that name; raises ValueError without one."""
    for name in names:
        if name.startswith("@") and name[1:] not in lists:
            raise ValueError(f"no list of packages is called {name}: one of @{', @'.join(lists)}")
    return [package for name in names for package in (lists[name[1:]] if name.startswith("@") else [name])]


def cell(name: str) -> Cell:
    """The cell of that name; raises MatrixError with the known names if there is none."""
    if name not in cells():
        raise MatrixError(f"no system is called {name}", "make systems   (lists them)")
    return cells()[name]


def with_role(role: str) -> list[Cell]:
    """The cells that are declared for a purpose, in the order of distros.toml; raises MatrixError where none is."""
    found = [one for one in cells().values() if role in one.roles]
    if not found:
        raise MatrixError(f"distros.toml: no cell has the role {role}")
    return found


def in_ci() -> list[Cell]:
    """The cells that `make check` runs here: those with ci = true that are not blocked."""
    return [found for found in cells().values() if found.ci and not blocked(found)]


def blocked(wanted: Cell) -> str:
    """Why the cell can't run on this host, or `` if it can (its image may still have to be built)."""
    if from_vendor(wanted):
        return ""
    if not wanted.recipe:
        return f"no image {wanted.oci} on this host"
    return unmet(wanted)


def unmet(wanted: Cell) -> str:
    """What the cell's recipe or its machines need and this host lacks, or ``."""
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
    """Whether the kernel hands programs for that machine (as `uname -m` names it) to an emulator, in containers too."""
    try:
        entry = (BINFMT / f"qemu-{machine}").read_text().splitlines()
    except FileNotFoundError:
        return False
    # F: the emulator was opened at registration, and so is found in every root. See binfmt_misc in the kernel's docs.
    flags = next(line.removeprefix("flags:") for line in entry if line.startswith("flags:"))
    return "enabled" in entry and "F" in flags


def ensure(wanted: Cell, *, rebuild: bool = False) -> str:
    """The reference of the cell's image, which is built first if it is not there.

    Two programs that need the same image at once build it once. Raises Blocked where the cell can't run here or the
    mirror does not deliver, and BuildError where the build fails.
    """
    reason = blocked(wanted)
    if reason:
        raise Blocked(f"{wanted.name}: {reason}", "" if wanted.recipe else f"podman pull {wanted.oci}")
    reference = reference_of(wanted)
    if rebuild or not exists(wanted, reference):
        with only_builder(wanted):
            # Another program may have built it while this one waited.
            if rebuild or not (exists(wanted, reference) or fetched(wanted, reference)):
                build(wanted, reference)
    return reference


def exists(wanted: Cell, reference: str) -> bool:
    """Whether the image of that name has been built."""
    return os.path.isdir(reference) if wanted.kind == "machine" else engine.image_exists(reference)


def pull(wanted: Cell) -> str:
    """Fetch the cell's vendor image; "" or why that failed, in one line."""
    try:
        done = engine.attempt("pull", "--quiet", wanted.oci, timeout=PULL_TIMEOUT_S)
    except engine.EngineError as error:
        return str(error.args[0])
    return "" if done.returncode == 0 else engine.last_line(done.stderr)


def published_as(reference: str) -> str:
    """Where others find the image ready-made, by the environment's CCA_IMAGES (a registry and a path in it, or
    oci:DIRECTORY); "" without it."""
    base = os.environ.get("CCA_IMAGES", "").rstrip("/")
    return base + "/" + reference.removeprefix(REPOSITORY + "/") if base else ""


def fetched(wanted: Cell, reference: str) -> bool:
    """Whether the image was ready-made, and now is here."""
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
    """Put the image where CCA_IMAGES says, for others to fetch; returns its name there."""
    if wanted.kind == "machine":
        raise MatrixError(f"{wanted.name} is a machine in qemu: only images of containers can be published")
    reference = ensure(wanted)
    target = published_as(reference)
    if not target:
        raise MatrixError("there is no place to publish to", "export CCA_IMAGES=REGISTRY/PATH, or oci:DIRECTORY")
    if target.startswith("oci:"):
        pathlib.Path(target[4:]).parent.mkdir(parents=True, exist_ok=True)
    # With two names as podman has it: docker can only push what is tagged so.
    engine.call("push", "--quiet", reference, target, timeout=PULL_TIMEOUT_S)
    return target


def ensure_all(wanted: Sequence[Cell], *, rebuild: bool = False) -> dict[str, str]:
    """As ensure(), for several cells, two at a time: one downloads while the other unpacks. Raises the first error."""
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        futures = {c.name: pool.submit(ensure, c, rebuild=rebuild) for c in wanted}
        return {name: future.result() for name, future in futures.items()}


def reference_of(wanted: Cell) -> str:
    """The name that the cell's image has, or will have: made of the vendor's image if that is here, else by recipe.

    A machine's is the directory of its image, booted.
    """
    if wanted.kind == "machine":
        return str(qemu.booted_directory(machine_image(wanted)))
    if from_vendor(wanted):
        return f"{REPOSITORY}/{wanted.name}:{vendor.tag(wanted.oci, vendor.script(wanted.package_manager, wanted.add))}"
    return built_reference(wanted)


def from_vendor(wanted: Cell) -> bool:
    """Whether the cell's image is made of a vendor's image, which is on this host."""
    return bool(wanted.oci) and engine.image_exists(wanted.oci)


def built_reference(wanted: Cell) -> str:
    """The name that the cell's image has, or will have, when it is built by its recipe as declared now."""
    made_of: list[str | list[str]] = [mmdebstrap_argv(wanted)]
    if wanted.recipe["kind"] == "rpm-root":
        made_of += [wanted.recipe["leave_out"], CONVERTER.read_text()]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    return f"{REPOSITORY}/{wanted.name}:{digest[:12]}"


def cache_key(wanted: Cell) -> str:
    """What a cache outside of this host may keep the cell's image by: its name and the hash of what it is made by.

    Needs no engine. A vendor's image that changes under its name makes no other key, but another image.
    """
    if wanted.recipe:
        return built_reference(wanted).removeprefix(REPOSITORY + "/").replace(":", "-")
    made_by = wanted.oci + vendor.script(wanted.package_manager, wanted.add)
    return f"{wanted.name}-{hashlib.sha256(made_by.encode()).hexdigest()[:12]}"


def machine_image(wanted: Cell) -> disks.Image:
    """The image of a cell that is a machine in qemu, made or not, before its first boot."""
    root = cache_directory() / "machines" / f"{wanted.name}-{disks.digest_of(mmdebstrap_argv(wanted))}"
    words = wanted.recipe.get("words", "")
    made_of = (words, disks.INIT, disks.APPLETS, disks.MODULES, disks.SIZE)
    return disks.Image(root / f"image-{disks.digest_of(made_of)}", wanted.machine, words)


def mmdebstrap_argv(wanted: Cell) -> list[str]:
    """The command that makes the Debian root, without target and without what depends on the host.

    No mirror is named: mmdebstrap has its own default. The root keeps no package lists, sources or name servers, so
    that no test can reach for a network, and an empty machine-id, so that each machine gets its own.
    """
    made = ["mmdebstrap", "--variant=minbase", "--format=tar", "--include=" + ",".join(wanted.recipe["packages"])]
    if wanted.architecture != "native":
        made.append("--arch=" + wanted.architecture)
    made += ["--aptopt=" + option for option in wanted.recipe.get("apt_options", [])]
    if "kernel" in wanted.recipe:
        made.append(disks.kernel_hook(wanted.recipe["kernel"]))
    scripts = ["machine.sh"] if wanted.kind == "machine" else []
    scripts += [wanted.recipe["script"]] if "script" in wanted.recipe else []
    # Their text, not their path: with it the recipe's hash changes.
    made += ["--customize-hook=" + (SCRIPTS / script).read_text() for script in scripts]
    made.append(f'--customize-hook=cd "$1" && rm -f {" ".join(HOST_TRACES)} && : > etc/machine-id')
    return [*made, wanted.recipe["suite"]]


def build(wanted: Cell, reference: str) -> None:
    """Build the cell's image as reference_of() says; raises BuildError. The caller holds the lock of only_builder()."""
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
    """Make the root that the recipe describes, and an image of it; raises Blocked where nothing can make one."""
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
    """Make the disk that the recipe describes, boot it, and keep the machine as it is then."""
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
    """Replace the Debian root in file `root` by one that rpm alone manages; see rpm_root.py."""
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
        # Nameless now. A machine of another program may still run on it: then it stays until `podman image prune`.
        engine.attempt("rmi", replaced.stdout.strip())


def host_apt_options() -> list[str]:
    """Options that hand the host's apt settings for reaching a mirror (proxy, certificates, clock) to mmdebstrap."""
    if shutil.which("apt-config") is None:
        return []
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, timeout=60, check=True).stdout
    return ["--aptopt=" + line.rstrip(";") for line in dump.splitlines()
            if line.startswith(HOST_APT_SETTINGS) and not line.endswith('"";')]  # fmt: skip


def mirror() -> list[str]:
    """The mirror that the environment names in CCA_DEBIAN_MIRROR, or none: mmdebstrap has a default."""
    return [m for m in [os.environ.get("CCA_DEBIAN_MIRROR", "")] if m]


def cache_directory() -> pathlib.Path:
    """Where logs, locks and half-made images live: ${XDG_CACHE_HOME:-~/.cache}/csulcca, which is made if need be."""
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
    """What a build says: one line a step on standard output with the seconds since its start; all else to a log."""

    def __init__(self, name: str) -> None:
        """Start the clock, and the log in the cache directory."""
        self.name = name
        self.started = time.monotonic()
        self.log = cache_directory() / f"{name}.log"
        self.log.write_bytes(b"")

    def say(self, what: str) -> None:
        """One line for the person who waits."""
        print(f"{self.name}: {time.monotonic() - self.started:4.0f} s  {what}", flush=True)

    def run(self, command: Sequence[str]) -> None:
        """Run a command; its lines `I: ...` are steps. Raises BuildError if it fails, Blocked after it told of a mirror
        that does not deliver: apt and dnf go on then, and fail for the lack of a package."""
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
                    # Not readline(): lines that a buffer already holds are not announced by select().
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
                # Whatever ends us (Ctrl-C most likely) ends the build.
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
    """Whether mmdebstrap's line `I: ...` tells a person something; the others are about its own inner life."""
    return line.endswith("...") and not line.startswith(("I: running", "I: cleaning", "I: removing", "I: main()"))


def prune() -> list[str]:
    """Remove images of recipes that are no longer declared so; returns their references."""
    wanted = {reference_of(c) for c in cells().values() if c.recipe or from_vendor(c)}
    listed = engine.call("images", "--format={{.Repository}}:{{.Tag}}").split()
    stale = [reference for reference in listed if reference.startswith(REPOSITORY + "/") and reference not in wanted]
    for reference in stale:
        engine.call("rmi", reference)
    return stale + prune_machines()


def prune_machines() -> list[str]:
    """Remove disks and booted machines of other recipes or of another qemu, and what killed runs of power cuts have
    left; returns the paths."""
    kept = set()
    for wanted in cells().values():
        if wanted.kind == "machine":
            image = machine_image(wanted)
            kept |= {image.directory.parent, image.directory}
            # Without its qemu nobody knows which one is its own.
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
    verbs.add_parser("list", help="every declared cell and whether its image is there")
    building = verbs.add_parser("build", help="build images (of every cell with ci = true, without a name)")
    building.add_argument("cells", nargs="*", metavar="CELL")
    building.add_argument("--rebuild", action="store_true", help="even if there, to get newer packages")
    keying = verbs.add_parser("key", help="what a cache may keep a cell's image by")
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
