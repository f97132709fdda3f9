"""Hosts with a catcher that runs in TLS mode, for the tests of catcherctl cert."""

import time

import pytest

from catcher_install import apply, transition
from catcher_install.cert import generate

from .. import pem
from ..authority import issue
from ..daemon import Daemon
from .hosts import MOMENT


@pytest.fixture(scope="session")
def another_pair(tmp_path_factory):
    """(file of a key, file of its certificate), made once."""
    files = tmp_path_factory.mktemp("other")
    key = pem.key_of("prime256v1")
    (files / "key").write_bytes(key)
    (files / "crt").write_bytes(issue(key))
    return str(files / "key"), str(files / "crt")


@pytest.fixture
def set_up(monkeypatch, a_pair):
    """set_up(machine, kind of transition): a converge that makes the same pair for all tests. It is judged once."""

    def converge(machine, kind):
        with monkeypatch.context() as patched:
            patched.setattr(generate, "generate", lambda host, names, wish: a_pair)
            apply.converge(machine, transition.of(kind))

    return converge


@pytest.fixture
def daemon(machine, monkeypatch, set_up, another_pair):
    """A running system in TLS mode with a pair that the package made, its catcher running."""
    machine.enable()
    one = Daemon(machine, monkeypatch, another_pair)
    set_up(machine, transition.INSTALL)
    one.systemctl(["systemctl", "restart"], b"")
    one.restarts = 0
    yield one
    one.stop()


@pytest.fixture
def frozen(monkeypatch):
    """Set the time that the names of old pairs contain."""
    real = time.gmtime
    monkeypatch.setattr(time, "gmtime", lambda seconds: real(MOMENT))
