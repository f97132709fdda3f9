"""What the log says, and how much of it."""

import os
import re
import socket
import subprocess
import sys

from .process import PATIENCE, free_port


def test_hostile_traffic_does_not_flood_the_log(start):
    catcher = start()
    for _ in range(300):
        with catcher.connect() as client:
            assert client.recv(1) == b""
    catcher.stop()
    assert len(catcher.lines) < 210
    assert re.search(r"\d+ more lines about connections were suppressed", catcher.log)


def test_a_closed_log_does_not_end_it(tmp_path, program):
    (tmp_path / "conf").write_text("port=%d\n" % free_port())
    with subprocess.Popen([sys.executable, "-I", program], env={"REFERENCE_CATCHER_CONF": str(tmp_path / "conf")},
                          stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        port = int(process.stderr.readline().split()[4])
        process.stderr.close()
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
                assert client.recv(1) == b""
        process.terminate()
        assert process.wait(PATIENCE) == 0


def test_the_journal_gets_priorities(tmp_path, program):
    reader, writer = os.pipe()
    with os.fdopen(reader) as log:
        status = os.fstat(writer)
        environment = {"JOURNAL_STREAM": "%d:%d" % (status.st_dev, status.st_ino)}
        environment["REFERENCE_CATCHER_CONF"] = str(tmp_path / "conf")
        (tmp_path / "conf").write_text("port=%d\n" % free_port())
        with subprocess.Popen([sys.executable, "-I", program], env=environment, stderr=writer) as process:
            os.close(writer)
            assert log.readline().startswith("<6>listening on port")
            process.terminate()
            assert log.readlines() == ["<6>stopping, 0 connections\n", "<6>stopped\n"]
