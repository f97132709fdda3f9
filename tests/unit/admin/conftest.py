"""Hosts in memory with a catcher that runs in TLS mode, for the tests of catcherctl cert."""

import time

import pytest

from catcher_install import apply, transition

from .. import pem
from ..authority import issue
from ..daemon import Daemon, in_memory
from ..support import installed
from .hosts import MOMENT


@pytest.fixture
def memory(tmp_path):
    yield from in_memory(tmp_path)


@pytest.fixture
def machine(memory):
    return installed(memory)


@pytest.fixture
def daemon(machine, monkeypatch, tmp_path):
    """A running system in TLS mode with a pair that the package made, its catcher running."""
    machine.enable()
    other = tmp_path / "other"
    other.mkdir()
    key = pem.key_of("prime256v1")
    (other / "key").write_bytes(key)
    (other / "crt").write_bytes(issue(key))
    one = Daemon(machine, monkeypatch, (str(other / "key"), str(other / "crt")))
    apply.converge(machine, transition.of(transition.INSTALL))
    one.systemctl(["systemctl", "restart"], b"")
    one.restarts = 0
    yield one
    one.stop()


@pytest.fixture
def frozen(monkeypatch):
    """The time in the names of what is kept."""
    real = time.gmtime
    monkeypatch.setattr(time, "gmtime", lambda seconds: real(MOMENT))
