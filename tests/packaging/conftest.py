"""Packages and booted machines for the tests of this directory."""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator

import pytest

from tests.matrix import engine, images, squares
from tests.matrix.machine import AnyMachine, Machine, Network
from tests.matrix.qemu import VirtualMachine
from tests.matrix.squares import pytest_runtest_makereport as pytest_runtest_makereport

from . import packages, turns
from .packages import TREE as TREE
from .packages import Built
from .system import System
from .workstation import Workstation

# What tests/matrix/run.py asks for. Left alone: the systems of `make check`.
CELLS = [name for name in os.environ.get("MATRIX_CELLS", "").split(",") if name] or [
    cell.name for cell in images.in_ci()
]


image_of = functools.cache(images.ensure)
"""The cell's image; the engine is asked once in a process."""


@pytest.fixture(scope="session")
def built() -> Built:
    """The packages, built once for a state of the tree."""
    return packages.ensure()


@pytest.fixture(scope="session", autouse=True)
def prepared() -> None:
    """A container engine, or a failure that says what to type."""
    engine.prepare()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that only `make check` uses."""
    parser.addoption("--once-a-family", action="store_true",
                     help="leave out what another system of the family does in the same way")  # fmt: skip


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of the wanted cells and scenarios, on each system or once in a family."""
    squares.pytest_collection_modifyitems(config, items)
    if config.option.once_a_family:
        kept = turns.once_a_family(items)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each of CELLS in turn, and those that -k names; a machine in qemu, which is slow, only if `make check`,
    `make matrix` or -k asks for it."""
    if "cell" not in metafunc.fixturenames:
        return
    slow = metafunc.config.option.once_a_family or "MATRIX_CELLS" in os.environ
    wanted = [name for name in CELLS if slow or images.cell(name).kind != "machine"]
    named = [name for name in re.findall(r"[\w.-]+", metafunc.config.option.keyword) if name in images.cells()]
    metafunc.parametrize("cell", list(dict.fromkeys([*wanted, *named])), indirect=True)


@pytest.fixture
def cell(request: pytest.FixtureRequest) -> images.Cell:
    """The system that the test is run on."""
    return images.cell(request.param)


@pytest.fixture(scope="session")
def workstation(built: Built) -> Iterator[Workstation]:
    """The machine that looks at all other machines over the network. All tests of a process share it."""
    with Workstation(CELLS, built) as made:
        yield made


@pytest.fixture
def boot(cell: images.Cell, workstation: Workstation) -> Iterator[Callable[..., System]]:
    """Start a machine of the cell: boot(hostname="zlinux1", network=the workstation's, boot=True, image=the cell's,
    durable=False).

    With boot=False it has no init, and no network unless given, like an image build. A durable one can be rebooted.
    A machine in qemu is always booted and durable.
    """
    with contextlib.ExitStack() as stack:

        def start(hostname: str = "zlinux1", network: Network | None = None, boot: bool = True,
                  image: str = "", durable: bool = False) -> System:  # fmt: skip
            name = hostname.split(".")[0]
            place = network or (workstation.network if boot else None)
            if cell.kind == "machine":
                assert boot and workstation.machine, "a network is there as long as a container is on it"
                made: AnyMachine = VirtualMachine(image or image_of(cell), name=name, hostname=hostname, network=place)
            else:
                made = Machine(image or image_of(cell), name=name, hostname=hostname, boot=boot, durable=durable,
                               network=place)  # fmt: skip
            return System(stack.enter_context(made), cell, workstation)

        yield start


@pytest.fixture
def pair(boot: Callable[..., System], workstation: Workstation) -> tuple[System, AnyMachine]:
    """(system, client): a host, and a second machine that looks at it. The test may change both."""
    return boot(), boot("tke", network=workstation.network, boot=False).machine
