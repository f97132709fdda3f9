"""What every unit test may ask for."""

import errno
import os
import pathlib
import shutil
import sys
import tempfile

import pytest

from catcher_install.cert import generate
from catcher_install.cert.host_names import HostNames
from catcher_install.host import Host

from .support import UnplannedPause, UnplannedSpawn, installed


@pytest.fixture(autouse=True)
def no_real_programs(monkeypatch, request):
    """The real Host spawns nothing in a unit test, unless the test is marked for it."""
    if "real_programs" in request.keywords:
        return

    def refuse(self, argv, timeout, stdin=b"", only_output=False):
        raise UnplannedSpawn(list(argv))

    monkeypatch.setattr(Host, "run", refuse)


@pytest.fixture(autouse=True)
def no_real_pauses(monkeypatch):
    """No test waits for the port, which may take more than a minute, unless it plans the pauses."""

    def refuse(self, seconds):
        raise UnplannedPause(seconds)

    monkeypatch.setattr(Host, "pause", refuse)


@pytest.fixture(autouse=True)
def no_distribution(monkeypatch):
    """A hint is the same on every machine that runs the tests, unless the test says which distribution it is on."""
    monkeypatch.setitem(sys.modules, "distro", None)


@pytest.fixture(autouse=True)
def umask_022():
    """Tests may change the umask; the next one starts with the usual."""
    old = os.umask(0o022)
    yield
    os.umask(old)


@pytest.fixture
def tmp_path(tmp_path_factory):
    """Like pytest's own tmp_path, but in memory if it has room: there a sync costs nothing. Removed after the test."""
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path_factory.mktemp("test")
        return
    path = tempfile.mkdtemp(prefix="csulcca-", dir="/dev/shm")
    yield pathlib.Path(path)
    for directory, _, _ in os.walk(path):
        # A test may have closed it to its owner.
        os.chmod(directory, 0o700)
    shutil.rmtree(path)


@pytest.fixture
def machine(tmp_path):
    """A running system just after this package was unpacked: TLS is possible, nothing is configured."""
    return installed(tmp_path)


@pytest.fixture
def proc(machine):
    """Write a /proc: sockets, and processes with their words and what they have open."""

    def write(tcp=(), tcp6=(), processes=()):
        for name, lines in (("tcp", tcp), ("tcp6", tcp6)):
            machine.put("/proc/net/" + name, ("  sl  local_address ...\n" + "".join(lines)).encode("ascii"))
        for pid, words, inodes in processes:
            machine.processes[pid] = words
            machine.put("/proc/%d/comm" % pid, os.path.basename(words[0]).encode("ascii") + b"\n")
            for number, inode in enumerate(inodes):
                machine.put_link("/proc/%d/fd/%d" % (pid, number), "socket:[%d]" % inode)

    return write


@pytest.fixture
def out_of_sight(machine, monkeypatch):
    """Make a path that nobody can look at."""
    hidden, real = set(), os.stat

    def stat(path, *arguments, **options):
        if path in hidden:
            raise OSError(errno.EIO, "Input/output error")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    return lambda path: hidden.add(machine.on_disk(path))


@pytest.fixture(scope="session")
def a_pair(tmp_path_factory):
    """(key, certificate) as the library makes them, made once; PEM."""
    names = HostNames(short="tke1", full="tke1.example.com", addresses=["192.0.2.10"])
    maker = installed(tmp_path_factory.mktemp("maker"))
    maker.time = None
    return generate.generate(maker, names)


@pytest.fixture
def quick_pair(monkeypatch, a_pair):
    """The library generates the session's pair: the tests that ask for this look at where it goes, not into it."""
    monkeypatch.setattr(generate, "generate", lambda host, names, wish: a_pair)
    return a_pair


def pytest_configure(config):
    config.addinivalue_line("markers", "real_programs: runs real programs of this machine")


def pytest_report_header(config):
    import cryptography

    return "Python %s, cryptography %s, euid %d" % (sys.version.split()[0], cryptography.__version__, os.geteuid())
