"""The process: its limits, and what it tells systemd."""

import resource
import socket
from pathlib import Path

import pytest

from .pairs import pair
from .process import PATIENCE


def test_no_core_file_and_no_crash_reporter_gets_the_key(start):
    catcher = start("-tls", pair=pair())
    catcher.wait_for("listening")
    process = Path("/proc/%d" % catcher.process.pid)
    (limit,) = [line for line in (process / "limits").read_text().splitlines() if line.startswith("Max core file")]
    assert limit.split()[4:6] == ["0", "0"]
    assert int((process / "coredump_filter").read_text(), 16) == 0


@pytest.mark.parametrize("count", [20, 2000])
def test_it_may_have_the_descriptors_that_its_connections_need(start, count):
    """Even with a soft limit (LimitNOFILESoft=, ulimit -S) that is lower than the usual 1024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    catcher = start(max_connections=count, options={
        "preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))})
    catcher.wait_for("listening")
    limits = Path("/proc/%d/limits" % catcher.process.pid).read_text()
    (limit,) = [line for line in limits.splitlines() if line.startswith("Max open files")]
    assert int(limit.split()[3]) == 2 * count + 64


def test_systemd_is_told_when_the_port_is_open(start, tmp_path):
    """By sd_notify(3), at a path and at an abstract address."""
    path = str(tmp_path / "notify")
    for address, named in ((path, path), ("\0" + path, "@" + path)):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(address)
            manager.settimeout(PATIENCE)
            catcher = start(environment={"NOTIFY_SOCKET": named})
            assert manager.recv(100) == b"READY=1"
            with catcher.connect() as client:
                assert client.recv(1) == b""
            assert catcher.stop() == 0
            assert manager.recv(100) == b"STOPPING=1"


def test_a_manager_that_is_gone_does_not_matter(start, tmp_path):
    for address in (str(tmp_path / "nowhere"), "nonsense"):
        catcher = start(environment={"NOTIFY_SOCKET": address})
        catcher.wait_for("listening")
        assert catcher.stop() == 0
