"""hazards.toml: which tests cover which hazard, and the mutation that makes each of them fail."""

import ast
import dataclasses
import functools
import pathlib
import tomllib

TESTS = pathlib.Path(__file__).resolve().parent.parent
INDEX = TESTS / "faults" / "hazards.toml"
COUNT = 58
"""Hazards are numbered from 1 to this."""


@dataclasses.dataclass(frozen=True)
class Hazard:
    """One hazard. hazards.toml explains the fields."""

    name: str
    line: int
    means: str
    tests: tuple[str, ...]
    seen_red: str


@dataclasses.dataclass(frozen=True)
class Mutation:
    """The removal of one protection. hazards.toml explains the fields."""

    name: str
    hazards: tuple[int, ...]
    file: str
    old: str
    new: str
    red: tuple[str, ...]


def hazards() -> list[Hazard]:
    """Every hazard, by its number."""
    found = [
        Hazard(name, entry["line"], entry["means"], tuple(entry["tests"]), entry.get("seen_red", ""))
        for name, entry in _index()["hazard"].items()
    ]
    return sorted(found, key=lambda one: one.line)


def mutations() -> list[Mutation]:
    """Every mutation, in the order of the file."""
    return [
        Mutation(name, tuple(entry["hazards"]), entry["file"], entry["old"], entry["new"], tuple(entry["red"]))
        for name, entry in _index()["mutation"].items()
    ]


def exists(test: str) -> bool:
    """Whether FILE::FUNCTION, with or without [PARAMETERS], is a test below tests/."""
    file, _, function = test.partition("::")
    path = TESTS / file
    return path.is_file() and function.partition("[")[0] in functions(path)


@functools.cache
def functions(path: pathlib.Path) -> frozenset[str]:
    """The test functions of a file."""
    tree = ast.parse(path.read_text())
    return frozenset(one.name for one in tree.body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_"))


@functools.cache
def _index() -> dict:
    return tomllib.loads(INDEX.read_text())
