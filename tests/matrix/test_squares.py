"""What a failed test leaves of its machines, in a pytest of its own."""

import os
import pathlib
import subprocess
import sys
import xml.etree.ElementTree

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
CONFTEST = """
import pathlib
import pytest
from tests.matrix import machine, squares
from tests.matrix.squares import pytest_collection_modifyitems, pytest_runtest_makereport
squares.CONSOLES = pathlib.Path(__file__).parent / "dist"

class Talking(machine.AnyMachine):
    def __init__(self, name):
        super().__init__(name, None, None)
    def __enter__(self):
        machine.running.append(self)
        return self
    def __exit__(self, kind, value, trace):
        if kind is not None:
            machine.ended.append((self.name, self.evidence()))
        machine.running.remove(self)
    def evidence(self):
        return f"console of {self.name}"

@pytest.fixture
def talking():
    return Talking

@pytest.fixture
def up(talking):
    with talking("fixture") as made:
        yield made
"""
TESTS = """
def test_whose_block_has_ended(talking):
    with talking("block"):
        assert False
def test_whose_machine_is_up(up):
    assert False
def test_that_is_quiet(talking):
    assert False
def test_that_passes(up):
    pass
def test_that_met_the_error_that_it_wanted(talking):
    try:
        with talking("wanted"):
            raise ValueError
    except ValueError:
        pass
def test_after_it():
    assert False
"""


def test_the_console_of_a_failed_test_is_in_a_file_that_the_junit_file_names(tmp_path):
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_it.py").write_text(TESTS)
    junit = tmp_path / "junit.xml"
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}",
                    f"--junitxml={junit}", str(tmp_path)], cwd=tmp_path, check=False, capture_output=True,
                   env={**os.environ, "PYTHONPATH": str(TREE), "MATRIX_CELLS": ""})  # fmt: skip
    found = {}
    for case in xml.etree.ElementTree.parse(junit).iter("testcase"):
        names = [one.get("value") for one in case.iter("property") if one.get("name") == "console"]
        found[case.get("name")] = [pathlib.Path(name).read_text() for name in names]
    assert found == {"test_whose_block_has_ended": ["console of block"], "test_whose_machine_is_up": [
        "console of fixture"], "test_that_is_quiet": [], "test_that_passes": [],
        "test_that_met_the_error_that_it_wanted": [], "test_after_it": []}  # fmt: skip
