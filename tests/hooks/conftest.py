"""Fixtures for the tests of the shell files: those of the unit tests, and a root directory."""

import os

import pytest

from tests.unit.conftest import machine, no_distribution, no_real_programs, umask_022  # noqa: F401 - by name

from .moved_root import SHELLS, Root


@pytest.fixture(params=SHELLS, ids=[os.path.basename(shell) for shell in SHELLS])
def root(request, tmp_path):
    return Root(tmp_path / "moved", request.param)
