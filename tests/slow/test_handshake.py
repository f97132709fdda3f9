"""A TLS handshake, or why there is none. Hostile peers cost a limited time."""

import json
import os
import socket
import sys

import pytest

from catcher_install import messages
from catcher_install.probe import connection, handshake, probe, report
from catcher_install.probe import result as results
from tests.unit.probe.peers import (
    NoPrograms,
    Peer,
    answers_at_the_end,
    check,
    closes,
    drips,
    echoes,
    ends_and_closes,
    ends_and_closes_later,
    ends_politely,
    ids,
    look,
    only_a_client_hello,
    reads_and_closes,
    resets,
    s_server,
    says,
    says_when_asked,
    speaks_tls,
    waits,
)

# The peers' threads are in this process. The openssl that the probe starts does not need them.
pytestmark = [pytest.mark.real_programs, pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")]


def test_every_tls_connection_ends_with_close_notify(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        look(peer, host=NoPrograms())
    # b"", and not SSLEOFError or ConnectionResetError: the server read to a proper end.
    assert peer.seen == [b"", b""]


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_the_negotiated_version_is_shown(good, tmp_path, version):
    with s_server(good.files(tmp_path), "-tls" + version) as port:
        result = probe.probe("127.0.0.1:%d" % port, timeout=5)
    check(result)
    assert result.version == "TLSv" + version.replace("_", ".")
    assert result.system_problem


def test_a_server_that_speaks_only_tls_1_1_is_too_old(good, tmp_path):
    with s_server(good.files(tmp_path), "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0") as port:
        result = probe.probe("127.0.0.1:%d" % port, timeout=5)
    check(result)
    assert result.state == results.HANDSHAKE_REFUSED
    assert ids(result) == ["probe-tls-too-old"]
    assert report.exit_status(result) == 1


def test_a_server_that_answers_with_tls_1_1_is_too_old():
    hello = b"\x02\x00\x00\x26\x03\x02" + bytes(32) + b"\x00\x00\x2f\x00"
    with Peer(says_when_asked(b"\x16\x03\x02" + len(hello).to_bytes(2, "big") + hello)) as peer:
        result = look(peer)
    assert ids(result) == ["probe-tls-too-old"]


@pytest.mark.parametrize("number,text", [(40, "alert handshake failure"), (112, "alert unrecognized name"),
                                         (120, "alert no application protocol")])
def test_handshake_refused_by_an_alert(number, text):
    with Peer(says_when_asked(b"\x15\x03\x03\x00\x02\x02" + bytes([number]))) as peer:
        result = look(peer)
    assert result.state == results.HANDSHAKE_REFUSED
    assert ids(result) == ["probe-handshake-refused"]
    assert result.reason == text
    assert report.exit_status(result) == 1


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_a_server_that_wants_a_certificate_of_its_client_refuses_the_handshake(good, tmp_path, version):
    """A TKE has no certificate. In TLS 1.3 the handshake ends for the client before the server refuses."""
    with s_server(good.files(tmp_path), "-tls" + version, "-Verify", "1") as port:
        result = probe.probe("127.0.0.1:%d" % port, timeout=5)
    assert result.state == results.HANDSHAKE_REFUSED and ids(result) == ["probe-handshake-refused"]
    assert result.reason.startswith("alert ") and report.exit_status(result) == 1


def test_handshake_cut_off_in_the_middle():
    with Peer(says_when_asked(b"\x16\x03\x03\x02\x00\x02")) as peer:
        result = look(peer)
    assert result.state == results.HANDSHAKE_BROKEN
    assert ids(result) == ["probe-handshake-broken"]
    assert report.exit_status(result) == 1


def test_handshake_that_the_server_ends_with_close_notify():
    """A proper end, for which OpenSSL has no error text."""
    with Peer(says_when_asked(b"\x15\x03\x03\x00\x02\x01\x00")) as peer:
        result = look(peer)
    assert ids(result) == ["probe-handshake-broken"]
    assert result.reason == "it closed the connection in the middle"


@pytest.mark.parametrize("beginning", [b"\x16", b"\x16\x03\x03\x02\x00\x02"], ids=["one byte", "six bytes"])
def test_a_handshake_that_falls_silent_times_out(beginning):
    with Peer(says(beginning)) as peer:
        result = look(peer, timeout=0.4)
    assert result.state == results.TIMED_OUT
    assert "did not finish it in time" in result.reason


@pytest.fixture
def without_ssl(monkeypatch):
    """A Python that cannot load ssl, for example because OpenSSL's library is gone."""
    monkeypatch.setitem(sys.modules, "ssl", None)


@pytest.fixture(params=["with ssl", "without ssl"])
def any_python(request):
    """The result is the same with and without ssl."""
    if request.param == "without ssl":
        request.getfixturevalue("without_ssl")


@pytest.mark.parametrize("handle, evidence", [
    (waits, "waits for more"),
    (echoes, "sends back"),
    (ends_politely, "closes its side of the connection before a TLS greeting is complete, and still takes data"),
    (says(b"220 mail.example.com\r\n"), '"220 mail.example.com"'),
    (says_when_asked(b"HTTP/1.1 400 Bad Request\r\n\r\n"), '"HTTP/1.1 400 Bad Request"'),
    (says(b"\x00"), "the bytes 00"),
    (says(b"\x16\x04"), "the bytes 16 04"),
    (says(b"\x1b[31m\r\n"), "the bytes 1b 5b"),
    (answers_at_the_end(b"221 bye\r\n"), '"221 bye"'),
], ids=["waits", "echoes", "ends politely", "banner", "http", "one byte", "nearly TLS", "escape sequence",
        "late words"])
def test_plain_tcp_is_recognised_and_the_evidence_is_shown(any_python, handle, evidence):
    with Peer(handle) as peer:
        result = look(peer, timeout=1.0)
    assert result.state == results.TCP
    assert evidence in result.reason
    assert ids(result) == ["probe-speaks-tcp"]
    assert "clear the box Enable SSL/TLS" in messages.fix(result.findings[0])
    assert report.exit_status(result) == 3
    assert report.fields(result)["tls"] is None
    assert report.fields(result)["name_matches"] is None


@pytest.mark.parametrize("handle", [closes, resets, reads_and_closes, ends_and_closes, ends_and_closes_later],
                         ids=["closes", "resets", "reads and closes", "ends and closes", "ends and closes later"])
def test_a_connection_that_is_closed_without_an_answer_is_not_called_plain_tcp(any_python, handle):
    """A TLS catcher that has no free place or is stopping does so, or a forwarder that cannot reach its catcher."""
    with Peer(handle) as peer:
        result = look(peer, timeout=1.0)
    assert result.state == results.CLOSED
    assert ids(result) == ["probe-closed"]
    assert report.exit_status(result) == 1
    text = "\n".join(report.lines(result))
    assert "not known, TLS or plain TCP" in text and "Enable SSL/TLS" not in text


def full(path):
    """A TLS server that has no place for the first connection."""
    serve = speaks_tls(path)

    def handle(peer, conn):
        return serve(peer, conn) if peer.seen else b""

    return handle


def test_a_server_that_has_a_free_place_again_is_not_called_plain_tcp(any_python, good, tmp_path):
    with Peer(full(good.files(tmp_path))) as peer:
        result = look(peer, timeout=1.0)
    assert (result.state, ids(result)) == (results.CLOSED, ["probe-closed"])


def test_a_server_that_is_gone_at_the_second_look_is_not_called_plain_tcp(any_python, monkeypatch):
    calls = []

    def once(address, seconds, connect=connection.connect):
        calls.append(address)
        if len(calls) > 1:
            raise results.Ended(results.REFUSED, "connection refused")
        return connect(address, seconds)

    monkeypatch.setattr(connection, "connect", once)
    with Peer(closes) as peer:
        result = look(peer, timeout=1.0)
    assert (result.state, len(calls)) == (results.CLOSED, 2)


@pytest.mark.parametrize("data", [b"\x15\x03\x03\x00\x02\x02\x28", b"\x16\x03\x03\x00\x7a\x02"],
                         ids=["alert", "ServerHello"])
def test_a_tls_answer_that_comes_too_late_is_not_called_plain_tcp(any_python, data):
    with Peer(answers_at_the_end(data)) as peer:
        result = look(peer, timeout=2.0)
    assert (result.state, ids(result)) == (results.TIMED_OUT, ["probe-timeout"])
    assert "too late" in result.reason


@pytest.mark.parametrize("data, state", [
    (b"\x15", results.HANDSHAKE_BROKEN), (b"\x15\x03\x03\x00\x02\x02", results.HANDSHAKE_BROKEN),
    (b"\x16\x03\x03\x00\x04garbage", results.HANDSHAKE_BROKEN),
    (b"\x17\x03\x03\x00\x04garbage", results.HANDSHAKE_BROKEN),
], ids=["one byte", "half an alert", "garbage handshake", "garbage data"])
def test_a_broken_tls_answer_is_not_called_plain_tcp(data, state):
    with Peer(says_when_asked(data)) as peer:
        result = look(peer, timeout=1.0)
    assert (result.state, ids(result)) == (state, ["probe-handshake-broken"])


@pytest.mark.parametrize("handle", [waits, ends_politely, echoes, says(b"hello\n")],
                         ids=["waits", "ends politely", "echoes", "banner"])
def test_a_plain_peer_gets_a_client_hello_and_a_proper_end_and_nothing_else(any_python, handle):
    with Peer(handle) as peer:
        look(peer, timeout=1.0)
    assert len(peer.seen) == (2 if handle is ends_politely else 1)
    for got in peer.seen:
        assert only_a_client_hello(got)


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_a_tls_server_is_recognised_without_ssl(without_ssl, good, tmp_path, version):
    with s_server(good.files(tmp_path), "-tls" + version) as port:
        result = probe.probe("127.0.0.1:%d" % port, timeout=5.0)
    check(result)
    assert (result.state, result.chain) == (results.HANDSHAKE_BROKEN, [])
    assert ids(result) == ["probe-without-ssl"]
    assert report.exit_status(result) == 1


@pytest.mark.parametrize("handle, states", [
    (says(b"\x00\xff" * (5 * 1024 * 1024)), [results.TCP]),
    (says(b"x" * (10 * 1024 * 1024)), [results.TCP]),
    (says(b"\x16\x03\x03\x40\x00\x02\xff\xff\xff" + bytes(10 * 1024 * 1024)), [results.HANDSHAKE_BROKEN]),
    (says(b"\x15\x03\x03\x00\x02\x01\x00" * 1000000), [results.HANDSHAKE_BROKEN, results.HANDSHAKE_REFUSED]),
    (says(b"\x14\x03\x03\x00\x01\x01" * 1000000), [results.HANDSHAKE_BROKEN]),
    (says(b"\x17\x03\x03\x40\x00" + os.urandom(1024 * 1024)), [results.HANDSHAKE_BROKEN]),
    (drips(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(16 * 1024), 0.01), [results.TIMED_OUT]),
    (drips(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc" + bytes(16 * 1024), 0.0003), [results.TIMED_OUT]),
], ids=["binary", "text", "huge message", "warning alerts", "change cipher specs", "data", "drips",
        "drips fast"])
def test_hostile_peer_costs_bounded_time(handle, states):
    with Peer(handle) as peer:
        result = look(peer, timeout=1.0)
    assert result.state in states
    assert len(json.dumps(report.fields(result))) < 4096


class AlwaysMore:
    """A socket whose peer always has the next byte ready, so the socket's own time limit never ends the reading."""

    def __init__(self):
        self.reads = 0

    def settimeout(self, seconds):
        assert seconds < 1.0

    def sendall(self, data):
        pass

    def shutdown(self, how):
        pass

    def close(self):
        pass

    def recv(self, count):
        self.reads += 1
        return b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"[self.reads - 1:self.reads] or b"\0"


def test_a_peer_that_always_has_one_more_byte_does_not_outlast_the_deadline():
    sock = AlwaysMore()
    with pytest.raises(socket.timeout):
        handshake.Shake(sock, handshake.context(), None).run(connection.Deadline(0))
    connection.farewell(sock, 0)
    assert sock.reads == 0


def test_bytes_before_the_end_of_a_handshake_are_limited(good, tmp_path, monkeypatch):
    monkeypatch.setattr(handshake, "HANDSHAKE_LIMIT", 4000)
    with Peer(speaks_tls(good.files(tmp_path, chain=[good] * 29))) as peer:
        result = look(peer, "localhost")
    assert result.state == results.HANDSHAKE_BROKEN
    assert "more than 4000 bytes" in result.reason


def test_chain_larger_than_openssl_reads(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path, chain=[good] * 600))) as peer:
        result = look(peer, "localhost")
    assert result.state == results.HANDSHAKE_BROKEN
    assert "message" in result.reason
