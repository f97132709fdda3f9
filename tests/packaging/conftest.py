"""Packages and booted machines for the tests of this directory."""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.matrix import engine, images
from tests.matrix.machine import Machine, Network
from tests.matrix.scenarios import SCENARIOS

from . import packages
from .packages import TREE as TREE
from .packages import Built
from .system import System

# What tests/matrix/run.py asks for. Left alone: the systems of `make check`, and every scenario.
SCENARIOS_WANTED = [name for name in os.environ.get("MATRIX_SCENARIOS", "").split(",") if name]
CELLS = [name for name in os.environ.get("MATRIX_CELLS", "").split(",") if name] or [
    cell.name for cell in images.in_ci()
]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what means nothing on a cell and what was not asked for; tell the JUnit file each test's square."""
    kept: list[pytest.Item] = []
    left_out: list[pytest.Item] = []
    for item in items:
        marks = [str(mark.args[0]) for mark in item.iter_markers("scenario")]
        unknown = [name for name in marks if name not in SCENARIOS]
        if unknown:
            raise pytest.UsageError(f"{item.nodeid}: no scenario {unknown[0]} in tests/matrix/scenarios.py")
        name = getattr(item, "callspec", None) and item.callspec.params.get("cell")  # type: ignore[attr-defined]
        cell = images.cell(name) if isinstance(name, str) else None
        if marks and cell is not None:
            item.user_properties += [("cell", cell.name), ("scenario", marks[0])]
        wanted = not SCENARIOS_WANTED or (cell is not None and bool(marks) and marks[0] in SCENARIOS_WANTED)
        applies = cell is None or all(mark.args[0](cell) for mark in item.iter_markers("only"))
        (kept if wanted and applies else left_out).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


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
