"""The start, and what ps shows of it."""

import os
import subprocess
from pathlib import Path

import pytest

from .pairs import pair
from .peers import connect_tls


def test_ps_shows_the_documented_command_line(start, python):
    for arguments in ([], ["-tls"]):
        catcher = start(*arguments, python=python, pair=pair())
        catcher.wait_for("listening")
        shown = subprocess.run(["ps", "-ww", "-o", "comm=,args=", "-p", str(catcher.process.pid)], check=True,
                               capture_output=True, text=True)
        words = [str(start.directory / "catcher.exe"), *arguments]
        assert shown.stdout.split() == ["catcher.exe", *words]
        cmdline = Path("/proc/%d/cmdline" % catcher.process.pid).read_bytes()
        assert cmdline.rstrip(b"\0").split(b"\0") == [word.encode() for word in words]
        catcher.stop()


@pytest.mark.parametrize("arguments", [["-TLS"], ["-tls", "-tls"], ["--help"], [""], ["-tls "]])
def test_any_other_argument_is_a_usage_error(refusal, arguments):
    assert refusal(2, *arguments) == "catcher.exe: usage: catcher.exe [-tls]"


def test_the_file_starts_itself_in_a_hostile_environment(start):
    """The first lines are a shell script: they find the system's Python without PATH, and use nothing of the
    environment."""
    if not any(os.access(path, os.X_OK) for path in ("/usr/bin/python3", "/usr/libexec/platform-python")):
        assert os.environ.get("CI") != "true", "the system has no Python of its own"
        pytest.skip("the system has no Python of its own")
    for name in ("socket.py", "selectors.py", "sitecustomize.py"):
        (start.directory / name).write_text("raise SystemExit('imported from the directory of the catcher')")
    bad = str(start.directory)
    catcher = start("-tls", python=None, pair=pair(), environment={
        "PATH": "/nonexistent", "PYTHONPATH": bad, "PYTHONHOME": bad, "PYTHONSTARTUP": bad, "LD_LIBRARY_PATH": bad,
        "OPENSSL_CONF": bad, "OPENSSL_MODULES": bad, "LC_ALL": "C"})
    catcher.wait_for("listening")
    assert Path("/proc/%d/comm" % catcher.process.pid).read_text() == "catcher.exe\n"
    assert connect_tls(catcher, pair()).recv(1) == b""
