"""The core of the catcher under every Python that pyenv has here. The other tests use only the Python of the tests."""

import hashlib
import random
import re
import socket
import ssl
import subprocess

import pytest

from tests.ports import free_port

from .pairs import pair
from .peers import connect_tls, read_all
from .process import MEGABYTE, PATIENCE


def test_tcp_without_a_backend_says_so_and_closes(start, python):
    catcher = start(python=python)
    assert "TCP without TLS" in catcher.wait_for("listening")
    for host in ("127.0.0.1", "::1"):
        with catcher.connect(host) as client:
            assert client.recv(1) == b""
    catcher.wait_for(r"127\.0\.0\.1:\d+: TCP: no backend is configured in \S+reference-catcher.conf, closed$")
    catcher.wait_for(r"\[::1\]:\d+: TCP: no backend is configured")
    assert catcher.stop() == 0


def test_tls_1_2_and_1_3_are_negotiated(start, python):
    catcher = start("-tls", python=python, pair=pair())
    assert "TLS 1.2 or newer, key prime256v1" in catcher.wait_for("listening")
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        client = connect_tls(catcher, pair(), version=version)
        assert client.tls.version() == name
        assert client.recv(1) == b"", "the end must be a close_notify"
        client.close()
        catcher.wait_for(r": %s \S*AES\S*: no backend" % re.escape(name))
    assert catcher.stop() == 0


OLD_CLIENT = ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0")


def test_tls_1_1_is_refused_whatever_the_key(start, python):
    for kind in ("prime256v1", "RSA 1024"):
        catcher = start("-tls", python=python, pair=pair(kind))
        answer = subprocess.run(["openssl", "s_client", "-connect", "localhost:%d" % catcher.port, *OLD_CLIENT],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        assert "alert protocol version" in answer.stderr
        catcher.wait_for("handshake failed: the peer offers no TLS 1.2 or newer")
        catcher.stop()


def test_the_client_that_is_refused_can_speak_tls_1_1(tmp_path):
    """This proves that in the test above the catcher refuses, and not the test's own client."""
    for name, data in zip(("key", "crt"), pair("RSA 1024"), strict=True):
        (tmp_path / name).write_bytes(data)
    port = free_port()
    with subprocess.Popen(["openssl", "s_server", "-accept", "127.0.0.1:%d" % port, "-key", tmp_path / "key", "-cert",
                           tmp_path / "crt", "-naccept", "1", *OLD_CLIENT], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout
        while "ACCEPT" not in server.stdout.readline():
            assert server.poll() is None
        answer = subprocess.run(["openssl", "s_client", "-connect", "127.0.0.1:%d" % port, *OLD_CLIENT], input="Q\n",
                                capture_output=True, text=True, timeout=PATIENCE)
        server.kill()
    assert "New, TLSv1.0, Cipher is ECDHE" in answer.stdout or "Protocol  : TLSv1.1" in answer.stdout
    assert "Cipher is (NONE)" not in answer.stdout


def test_relay_over_tls_keeps_half_closed_streams(start, backend, python):
    """The backend answers only after the client's end, and the client's end is a close_notify."""
    def hash_all(sock):
        sock.sendall(hashlib.sha256(read_all(sock)).digest())

    catcher = start("-tls", python=python, pair=pair(), backend=backend(hash_all).name)
    data = random.randbytes(MEGABYTE)
    client = connect_tls(catcher, pair())
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    assert read_all(client) == hashlib.sha256(data).digest()
    catcher.wait_for(r"TLSv1.3 \S+: ended, %d bytes to the backend, 32 from it" % MEGABYTE)


@pytest.mark.parametrize("kind", ["RSA 1024", "RSA 2048", "secp521r1"])
def test_each_kind_of_key_serves_under_every_python(start, python, kind):
    catcher = start("-tls", python=python, pair=pair(kind))
    client = connect_tls(catcher, pair(kind), small=kind == "RSA 1024")
    assert client.recv(1) == b""
