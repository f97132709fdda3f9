"""A whole probe, over real sockets on loopback."""

import subprocess

import pytest

from catcher_install.errors import CatcherError
from catcher_install.probe import probe, report
from catcher_install.probe import result as results

from .peers import Peer, ids, look, speaks_tls

# The peers' threads are in this process. The openssl that the probe starts does not need them.
pytestmark = [pytest.mark.real_programs, pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), 1e9])
def test_a_timeout_that_is_none(timeout):
    with pytest.raises(CatcherError):
        probe.probe("127.0.0.1:1", timeout=timeout)


def test_self_signed_certificate_is_normal(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert result.state == results.TLS
    assert result.version in ("TLSv1.2", "TLSv1.3")
    assert result.cipher.startswith(("TLS_", "ECDHE"))
    assert result.matched == "SAN DNS localhost"
    assert ids(result) == ["probe-self-signed"]
    assert report.exit_status(result) == 0
    assert result.anchor_problem == ""
    assert "self" in result.system_problem
    (shown,) = result.chain
    assert shown.subject == shown.issuer == "CN=localhost"
    assert shown.self_issued
    assert shown.dns_names == ["localhost", "*.tke.example.com"]
    assert shown.addresses == ["127.0.0.1", "::1"]
    assert result.chain_note == ""


def test_hashes_are_those_of_openssl(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        (shown,) = look(peer).chain
    for option, digest in (("-sha1", shown.sha1), ("-sha256", shown.sha256)):
        said = subprocess.run(["/usr/bin/openssl", "x509", "-noout", "-fingerprint", option], input=good.pem,
                              stdout=subprocess.PIPE, check=True).stdout
        assert said.decode().strip().split("=")[1] == digest


def test_the_typed_host_is_the_name_unless_another_is_given(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        assert look(peer).name == "127.0.0.1"
