"""Packages and booted machines for the tests of this directory."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.matrix import engine, images
from tests.matrix.machine import Machine, Network
from tests.matrix.squares import pytest_collection_modifyitems as pytest_collection_modifyitems
from tests.matrix.squares import pytest_runtest_makereport as pytest_runtest_makereport

from . import packages
from .packages import TREE as TREE
from .packages import Built
from .system import System

# What tests/matrix/run.py asks for. Left alone: the systems of `make check`.
CELLS = [name for name in os.environ.get("MATRIX_CELLS", "").split(",") if name] or [
    cell.name for cell in images.in_ci()
]


@pytest.fixture(scope="session")
def built() -> Built:
    """The packages, built once for a state of the tree."""
    return packages.ensure()


@pytest.fixture(scope="session", autouse=True)
def prepared() -> None:
    """A container engine, or a failure that says what to type."""
    engine.prepare()


@pytest.fixture(params=CELLS)
def cell(request: pytest.FixtureRequest) -> images.Cell:
    """Each system in turn."""
    return images.cell(request.param)


@pytest.fixture
def boot(cell: images.Cell) -> Iterator[Callable[..., System]]:
    """Boot a machine of the cell: boot(hostname="zlinux1", network=None)."""
    with contextlib.ExitStack() as stack:

        def start(hostname: str = "zlinux1", network: Network | None = None, boot: bool = True) -> System:
            machine = Machine(images.ensure(cell), name=hostname.split(".")[0], hostname=hostname, network=network,
                              boot=boot)  # fmt: skip
            return System(stack.enter_context(machine), cell)

        yield start


@pytest.fixture
def pair(cell: images.Cell) -> Iterator[tuple[System, Machine]]:
    """A host and a workstation on one network: (system, client)."""
    image = images.ensure(cell)
    with (
        Network() as lan,
        Machine(image, name="zlinux1", network=lan) as host,
        Machine(image, name="tke", network=lan, boot=False) as client,
    ):
        yield System(host, cell), client
