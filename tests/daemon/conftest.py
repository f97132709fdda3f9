"""The reference catcher, started as a process of its own."""

import compileall
import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import pytest

from tests.ports import free_port

from .peers import Backend
from .process import LIBRARY, PATIENCE, PAYLOAD, PROGRAM, Catcher


def pythons():
    """One parameter for each Python from 3.6 to 3.14, skipped where pyenv does not have it."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for minor in range(6, 15):
        found = sorted(root.glob("3.%d.*/bin/python3" % minor))
        marks = [] if found else [pytest.mark.skip(reason="no Python 3.%d below %s" % (minor, root))]
        yield pytest.param(str(found[-1]) if found else None, id="py3.%d" % minor, marks=marks)


@pytest.fixture(params=pythons())
def python(request):
    return request.param


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """A copy of the catcher's Python package, with the bytecode that the hook of the package would make."""
    copy = tmp_path_factory.mktemp("library")
    shutil.copytree(PAYLOAD / LIBRARY / "reference_catcher", copy / "reference_catcher",
                    ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(str(copy), quiet=2)
    return copy


@pytest.fixture
def program(tmp_path, library):
    """The path of a catcher.exe in a separate tree."""
    program = tmp_path / PROGRAM
    program.parent.mkdir(parents=True)
    shutil.copy(PAYLOAD / PROGRAM, program)
    (tmp_path / LIBRARY).parent.mkdir(parents=True)
    (tmp_path / LIBRARY).symlink_to(library)
    return program


@pytest.fixture
def start(tmp_path, program):
    """start(*ARGUMENTS, python=, pair=, conf=..., **options of Popen) starts a Catcher. At the end of the test each
    catcher must stop cleanly."""
    conf = tmp_path / "reference-catcher.conf"
    running = []

    def start(*arguments, python=sys.executable, pair=None, environment=None, text=None, options=None, **settings):
        if pair:
            for name, data in zip(("catcher.key", "catcher.crt"), pair, strict=True):
                if data is not None:
                    (program.parent / name).write_bytes(data)
        settings.setdefault("port", free_port())
        conf.write_text(text if text is not None else "".join("%s=%s\n" % item for item in settings.items()))
        prefix = [python, "-I", "-S"] if python else []
        environment = dict(environment or {}, REFERENCE_CATCHER_CONF=str(conf))
        catcher = Catcher([*prefix, str(program), *arguments], environment, **(options or {}))
        running.append(catcher)
        return catcher

    start.directory = program.parent
    yield start
    for catcher in running:
        if catcher.process.poll() is None:
            catcher.process.send_signal(signal.SIGTERM)
        try:
            catcher.process.wait(PATIENCE)
        finally:
            catcher.process.kill()
        catcher.reader.join(PATIENCE)
        catcher.process.stderr.close()
        assert "Traceback" not in catcher.log and "unexpected error" not in catcher.log, catcher.log


@pytest.fixture
def refusal(start):
    """refusal(STATUS, ...) starts a catcher that must refuse to start with STATUS, and returns what it said."""
    def refusal(status, *arguments, **options):
        catcher = start(*arguments, **options)
        assert catcher.exit_status() == status, catcher.log
        assert len(catcher.lines) == (1 if status == 2 else 2), catcher.log
        return catcher.log
    return refusal


@pytest.fixture
def backend():
    """backend(SERVE, path=None) -> Backend."""
    made = []

    def backend(serve, path=None):
        made.append(Backend(serve, path))
        return made[-1]

    yield backend
    for server in made:
        server.listener.shutdown(socket.SHUT_RDWR)
        server.listener.close()
