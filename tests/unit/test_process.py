"""Running programs: what a child gets of ours, what is kept of its output, and when it is ended."""

import contextlib
import errno
import os
import resource
import time

import pytest

from catcher_install.host import Host

from .support import put_file

real_programs = pytest.mark.real_programs


@real_programs
def test_run_gives_status_and_output():
    host = Host()
    assert host.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], timeout=10) == (3, b"out\nerr\n")
    assert host.run(["/bin/cat"], timeout=10, stdin=b"x" * 300000) == (0, b"x" * 300000)
    assert host.run(["/bin/sh", "-c", "kill -9 $$"], timeout=10) == (137, b"")


@real_programs
def test_run_gives_a_child_nothing_of_our_environment(monkeypatch):
    for name in ("LD_LIBRARY_PATH", "OPENSSL_CONF", "PYTHONPATH", "SECRET", "LANG"):
        monkeypatch.setenv(name, "/trap")
    monkeypatch.setenv("SYSTEMD_OFFLINE", "1")
    _, output = Host().run(["/usr/bin/env"], timeout=10)
    seen = dict(line.split("=", 1) for line in output.decode("ascii").splitlines())
    assert seen == {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "HOME": "/",
                    "SYSTEMD_OFFLINE": "1"}


def is_inheritable(fd):
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False


@real_programs
def test_run_gives_a_child_no_files_of_ours(tmp_path):
    with open(str(tmp_path / "open"), "w"):
        _, output = Host().run(["/bin/ls", "-l", "/proc/self/fd"], timeout=10)
    assert str(tmp_path).encode("ascii") not in output
    # The three standard streams, the directory that ls reads, and descriptors that each child of the test inherits.
    inherited = [fd for fd in map(int, os.listdir("/proc/self/fd")) if fd > 2 and is_inheritable(fd)]
    assert len([line for line in output.splitlines() if b"->" in line]) == 4 + len(inherited)


@real_programs
@pytest.mark.parametrize("script,what", [
    ("exec sleep 60", "is silent"),
    ("echo x; exec sleep 60", "is silent after a word"),
    ("exec >&- 2>&-; exec sleep 60", "has closed its output"),
])
def test_run_ends_a_program_that_hangs(script, what):
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        Host().run(["/bin/sh", "-c", script], timeout=0.3)
    assert time.monotonic() - started < 30


@real_programs
def test_run_beside_more_than_a_thousand_open_files():
    """select(2) accepts descriptors below 1024 only, and the caller may have left as many open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2048, hard), hard))
    try:
        with contextlib.ExitStack() as stack:
            try:
                for _ in range(1100):
                    stack.enter_context(open(os.devnull, "rb"))
            except OSError:
                pytest.skip("so many files may not be open here")
            assert Host().run(["/bin/cat"], timeout=5, stdin=b"x" * 100000) == (0, b"x" * 100000)
            with pytest.raises(TimeoutError):
                Host().run(["/bin/sleep", "9"], timeout=0.05)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@real_programs
def test_run_bounds_what_it_keeps():
    status, output = Host().run(["/usr/bin/head", "-c", "3000000", "/dev/zero"], timeout=20)
    assert status == 0
    assert 1024 * 1024 <= len(output) < 1200000


@real_programs
def test_run_of_what_cannot_be_run(tmp_path):
    script = tmp_path / "script"
    script.write_text("x")
    with pytest.raises(FileNotFoundError):
        Host().run(["/nowhere/openssl"], timeout=5)
    with pytest.raises(PermissionError):
        Host().run([str(script)], timeout=5)
    script.chmod(0o755)
    with pytest.raises(OSError) as raised:
        Host().run([str(script)], timeout=5)
    assert raised.value.errno == errno.ENOEXEC


@real_programs
@pytest.mark.parametrize("program", ["/bin/true", "/usr/bin/openssl", "/nowhere"])
def test_run_of_what_is_in_another_root(tmp_path, program):
    put_file(str(tmp_path) + program, b"#!/bin/sh\n", 0o755)
    with pytest.raises(PermissionError, match="another root directory"):
        Host(str(tmp_path)).run([program], timeout=5)


@real_programs
def test_run_leaves_no_zombie_and_no_open_file():
    host = Host()
    before = sorted(os.listdir("/proc/self/fd"))
    for argv in (["/bin/true"], ["/bin/sh", "-c", "exit 1"]):
        host.run(argv, timeout=5)
    with pytest.raises(TimeoutError):
        host.run(["/bin/sleep", "9"], timeout=0.05)
    with pytest.raises(OSError):
        host.run([__file__], timeout=5)
    assert sorted(os.listdir("/proc/self/fd")) == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
