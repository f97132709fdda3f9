"""What the log says, and how many lines it may have."""

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import time

import pytest
from reference_catcher.log import NOISE_LINES, NOTICE, USE_LINES, WINDOW, Log

from tests.ports import free_port

from .pairs import pair
from .peers import connect_tls, echo, read_all
from .process import PATIENCE


def told(catcher, began, peer, text, what, limit):
    """How many connections of a peer the log shows with a text, or counts. BEGAN: before the catcher started. It shows
    no more than LIMIT in a window. On a busy machine the connections may take more than one window."""
    shown = len(re.findall(r"%s:\d+: %s" % (re.escape(peer), text), catcher.log))
    assert shown <= limit * (1 + (time.monotonic() - began) // WINDOW)
    hidden = re.findall(r"%s: (\d+) more lines about %s were suppressed" % (re.escape(peer), what), catcher.log)
    return shown + sum(map(int, hidden))


def test_hostile_traffic_does_not_flood_the_log(start):
    began = time.monotonic()
    catcher = start()
    for _ in range(300):
        with catcher.connect() as client:
            assert client.recv(1) == b""
    catcher.stop()
    assert told(catcher, began, "127.0.0.1", "TCP: no backend", "its connections", USE_LINES) == 300


def test_noise_hides_no_use(start, backend):
    """Two addresses send 220 connections of junk each. The log still shows what others use and what fails for them."""
    began = time.monotonic()
    catcher = start("-tls", pair=pair(), backend=backend(echo).name)
    for source in ("127.0.0.1", "127.0.0.2"):
        for _ in range(220):
            with catcher.connect(source=source) as junk:
                junk.sendall(b"GET / HTTP/1.0\r\n\r\n")
                with contextlib.suppress(ConnectionError):
                    read_all(junk)
    client = connect_tls(catcher, pair())
    port = client.sock.getsockname()[1]
    catcher.wait_for(r"127\.0\.0\.1:%d: TLSv1\.3 TLS_\w+: relayed to backend 127" % port)
    with catcher.connect(source="127.0.0.3") as sock, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
    catcher.wait_for(r"127\.0\.0\.3:\d+: TLS: handshake failed: the peer does not accept our certificate")
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == b""
    client.close()
    catcher.wait_for(r"127\.0\.0\.1:%d: TLSv1\.3 TLS_\w+: ended, 0 bytes to the backend, 0 from it" % port)
    catcher.stop()
    for peer in ("127.0.0.1", "127.0.0.2"):
        assert told(catcher, began, peer, "TLS: handshake failed", "its connections that failed", NOISE_LINES) == 220


def test_use_of_one_address_hides_no_use_of_another(start):
    catcher = start()
    for source, count in (("127.0.0.2", 250), ("127.0.0.1", 1)):
        for _ in range(count):
            with catcher.connect(source=source) as client:
                assert client.recv(1) == b""
    catcher.wait_for(r"127\.0\.0\.1:\d+: TCP: no backend")


def test_noise_has_a_bound_for_all_addresses_and_use_has_none_of_it(monkeypatch):
    """More addresses than have counters of their own. No test can connect from so many, so they are simulated."""
    said = []

    class Listed(Log):
        def __call__(self, priority, text):
            said.append(text)

    log = Listed()
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    for number in range(3000):
        log.noise("peer %d" % number, NOTICE, "noise %d" % number)
    assert len(said) == 1000
    log.use("somebody", NOTICE, "use")
    assert said[-1] == "use"
    log.tick(200.0)
    assert len(said) == 1001 + 25 and said[-1] == (
        "other addresses: 1976 more lines about its connections that failed were suppressed")


def test_only_so_many_addresses_are_told_apart(monkeypatch):
    monkeypatch.setattr(Log, "__call__", lambda *_: None)
    log = Log()
    for number in range(5000):
        log.noise("peer %d" % number, NOTICE, "")
        log.use("peer %d" % number, NOTICE, "")
    assert len(log.uses) == len(log.noises) == 1025 and len(log.hidden) == 26


def test_the_use_of_many_does_not_silence_the_journal(monkeypatch):
    """journald drops all lines of a service that logs 10,000 lines in 30 seconds. The first line of each peer stays."""
    log, said = Log(), []
    monkeypatch.setattr(Log, "__call__", lambda self, priority, text: said.append(text))
    for _ in range(50):
        for number in range(1000):
            log.use("peer %d" % number, NOTICE, "of %d" % number)
    assert {"of %d" % number for number in range(1000)} <= set(said)
    assert len(said) <= 2200


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


@pytest.mark.parametrize("kind", ["pipe", "stream"])
def test_a_log_that_nobody_reads_stops_nobody(tmp_path, program, kind):
    """The reader is a journal that hangs, or a pager. Lost lines are counted."""
    (tmp_path / "conf").write_text("port=%d\n" % free_port())
    reader, writer = os.pipe() if kind == "pipe" else [end.detach() for end in socket.socketpair()]
    process = subprocess.Popen([sys.executable, "-I", program], stderr=writer,
                               env={"REFERENCE_CATCHER_CONF": str(tmp_path / "conf")})

    def connect():
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
            assert client.recv(1) == b""

    with os.fdopen(reader, "rb") as log, os.fdopen(writer, "wb"):
        try:
            port = int(log.readline().split()[4])
            count = fill(writer)
            for _ in range(5):
                connect()
            assert log.read(count) == bytes(count)
            connect()
            assert log.readline().endswith(b" (the log has lost 5 lines before this one, because nobody read it)\n")
            process.terminate()
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()


def fill(writer):
    """Write until there is no room; how many bytes that took."""
    count = 0
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            count += os.write(writer, bytes(4096))
    os.set_blocking(writer, True)
    return count


TWO_THREADS = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from reference_catcher.log import NOTICE, Log
log = Log()
def say():
    for number in range(20000):
        log(NOTICE, "line")
other = threading.Thread(target=say)
other.start()
say()
other.join()
"""


def test_two_threads_can_write_to_the_log(program):
    """The server, and the thread that looks up the name of a backend."""
    library = str(program).replace("/opt/IBM/CCA/bin/catcher.exe", "/usr/lib/csulcca")
    done = subprocess.run([sys.executable, "-I", "-c", TWO_THREADS, library], stderr=subprocess.PIPE, text=True,
                          timeout=PATIENCE, check=True)
    assert {line.partition(" (the log")[0] for line in done.stderr.splitlines()} == {"catcher.exe: line"}


def test_a_journal_that_is_behind_loses_no_line_for_which_there_is_room():
    """poll(2) reports a socket as full when a quarter of it is used."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(PATIENCE)
        log = Log()
        log.socket = ours
        room = ours.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        for _ in range(100000):
            log(NOTICE, "x" * 1000)
            if log.lost:
                break
        ours.shutdown(socket.SHUT_WR)
        assert len(read_all(theirs)) > room // 3


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
