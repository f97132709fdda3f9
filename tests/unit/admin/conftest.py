"""Hosts in memory with a catcher that runs in TLS mode, for the tests of catcherctl cert."""

import time

import pytest

from catcher_install import apply, transition
from catcher_install.cert import generate

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


@pytest.fixture(scope="session")
def another_pair(tmp_path_factory):
    """(file of a key, file of its certificate), made once."""
    files = tmp_path_factory.mktemp("other")
    key = pem.key_of("prime256v1")
    (files / "key").write_bytes(key)
    (files / "crt").write_bytes(issue(key))
    return str(files / "key"), str(files / "crt")


@pytest.fixture
def daemon(machine, monkeypatch, a_pair, another_pair):
    """A running system in TLS mode with a pair that the package made, its catcher running."""
    machine.enable()
    one = Daemon(machine, monkeypatch, another_pair)
    with monkeypatch.context() as patched:
        # The same pair for all tests: it is made once, and judged once.
        patched.setattr(generate, "generate", lambda host, names: a_pair)
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
