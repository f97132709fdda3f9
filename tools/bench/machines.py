"""The machines that are measured in: images of the test matrix with other people's programs beside ours, and hyperfine.

Everything in a machine, its services too, runs at real-time priority if that is allowed. Then other work of the
computer disturbs the measurements little, and all of them in the same way.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from tests.matrix import engine, images
from tests.matrix.machine import Machine

from .measure import BenchError, Hyperfine

# Where hyperfine, our scripts and the packages are in a machine: a directory of this computer, read-only there.
BENCH = "/bench"
# Put before a command, so that other programs do not take the processor away from it: chrt(1).
REAL_TIME = ("chrt", "--fifo", "5")
# Packages of Debian for comparison: programs that make key pairs, and services whose reinstallation is measured.
# dpkg-repack makes a .deb of an installed package, since the machines have no network.
MAKERS = ("openssh-client", "ssl-cert", "sscg")
SERVICES = ("stunnel4", "openssh-server", "dpkg-repack")
SCRIPTS = pathlib.Path(__file__).resolve().parent / "scripts"


@dataclasses.dataclass(frozen=True)
class Bench:
    """What each measurement gets: the cell, its image, the directory of the packages on this computer, the number of
    rounds."""

    cell: images.Cell
    image: str
    directory: pathlib.Path
    effort: float

    def package(self, version: str) -> str:
        """The path in a machine of a package of ours: 8.0.0, 8.0.1, or `empty`."""
        (found,) = (self.directory / version).glob("*." + self.cell.family)
        return f"{BENCH}/{version}/{found.name}"

    @contextlib.contextmanager
    def machine(self, *, boot: bool, installed: bool = True) -> Iterator[Machine]:
        """A machine, with 8.0.0 on it if `installed`. It is durable, because waiting for the disk is measured too."""
        with Machine(self.image, name="bench", boot=boot, durable=True, volumes={BENCH: str(self.directory)}) as made:
            if boot and can_be_real_time(made):
                made.run("chrt --fifo --pid 5 1")
            if installed:
                tool = {"deb": "dpkg -i", "rpm": "rpm -U"}[self.cell.family]
                made.run(f"{tool} {self.package('8.0.0')} <&-", timeout=300)
            yield made


def has_services(cell: images.Cell) -> bool:
    """Whether SERVICES are in the cell's image, and systemd can run them."""
    return cell.family == "deb" and bool(cell.recipe) and cell.boot


def image_of(cell: images.Cell) -> str:
    """The cell's image, with MAKERS and SERVICES in it if its family has them. It is built if it is not there."""
    if cell.family == "deb" and cell.recipe:
        packages = [*cell.recipe["packages"], *MAKERS, *(SERVICES if has_services(cell) else ())]
        cell = dataclasses.replace(cell, name=cell.name + "-bench", recipe={**cell.recipe, "packages": packages})
    return images.ensure(cell)


def bring_tools(directory: pathlib.Path) -> None:
    """Put our scripts, hyperfine, and the libraries and loader that it needs, into a directory.

    With its own loader it runs in every machine, even if the machine's libraries are older. Raises BenchError.
    """
    shutil.copytree(SCRIPTS, directory, dirs_exist_ok=True)
    program = shutil.which("hyperfine")
    if program is None:
        raise BenchError("hyperfine is not installed", "sh tools/bootstrap.sh bench")
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=True)
    libraries = re.findall(r"(/\S+) \(0x", done.stdout)
    for path in (program, *libraries):
        shutil.copy(path, directory)
    loaders = [path for path in libraries if re.search(r"/ld[-.0-9a-z_]*\.so", path)]
    if not loaders:
        raise BenchError(f"{program} has no loader: {engine.last_line(done.stdout)}", "apt-get install hyperfine")
    (directory / "loader").symlink_to(os.path.basename(loaders[0]))


def can_be_real_time(machine: Machine) -> bool:
    """Whether a machine has chrt and may use it."""
    return machine.run([*REAL_TIME, "true"], check=False).rc == 0


def real_time(machine: Machine) -> list[str]:
    """What to put before a command; nothing if it is not allowed."""
    return [*REAL_TIME] if can_be_real_time(machine) else []


def hyperfine_in(machine: Machine) -> Hyperfine:
    """hyperfine, run in a machine."""
    exported = "/root/hyperfine.json"
    program = [f"{BENCH}/loader", "--library-path", BENCH, f"{BENCH}/hyperfine", f"--export-json={exported}"]
    before = [*real_time(machine), *program]

    def hyperfine(arguments: Sequence[str]) -> str:
        command = shlex.join([*before, *arguments])
        return machine.run(f"cd /root && {command} && cat {exported}", timeout=900).out

    return hyperfine


def about(machine: Machine, cell: images.Cell) -> dict[str, str]:
    """The versions of the programs that the numbers depend on."""
    versions = "import cryptography as c; print(c.__version__)"
    return {
        "cell": cell.name,
        "release": cell.stands_for.split(";")[0],
        "python": machine.run("/usr/bin/python3 -V").out.split()[-1],
        "openssl": machine.run("openssl version").out.partition(" (")[0].strip(),
        "cryptography": machine.run(["/usr/bin/python3", "-Ic", versions]).out.strip(),
    }
