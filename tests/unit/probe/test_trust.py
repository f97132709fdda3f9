"""The chain that a peer sends, and whether anybody trusts it."""

import ssl

import pytest
from cryptography.x509.oid import NameOID

from catcher_install import messages
from catcher_install.cert import details
from catcher_install.errors import CatcherError
from catcher_install.host import Host
from catcher_install.probe import probe, report

from .peers import Made, NoPrograms, Peer, ids, look, speaks_tls, talks_tls

# The peers' threads are in this process. The openssl that the probe starts does not need them.
pytestmark = [pytest.mark.real_programs, pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")]


def test_the_chain_of_a_ca_verifies(authority, tmp_path):
    root, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle, root]))) as peer:
        result = look(peer, "localhost")
    assert [one.subject for one in result.chain] == ["CN=localhost", "CN=Test Intermediate", "CN=Test Root"]
    assert [one.issuer for one in result.chain] == ["CN=Test Intermediate", "CN=Test Root", "CN=Test Root"]
    assert [one.self_issued for one in result.chain] == [False, False, True]
    assert ids(result) == []
    assert report.exit_status(result) == 0
    assert result.anchor_problem == ""
    assert "self" in result.system_problem


def test_a_chain_without_its_root_is_incomplete_and_verifies(authority, tmp_path):
    _, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle]))) as peer:
        result = look(peer, "localhost")
    assert len(result.chain) == 2
    assert ids(result) == ["probe-chain-incomplete"]
    assert "CN=Test Root" in messages.text(result.findings[0])
    assert result.anchor_problem == ""
    assert report.exit_status(result) == 0


def test_a_certificate_that_java_does_not_read_is_no_trust_anchor_of_a_tke(tmp_path):
    with Peer(speaks_tls(Made(None, dns=["localhost"]).files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert result.anchor_problem == "certificate 1 has no issuer, so that Java does not read it"
    assert ids(result) == ["probe-chain-unverified", "probe-self-signed"]


def test_chain_of_certificates_that_do_not_belong_together(authority, tmp_path):
    _, _, server = authority
    stranger = Made("Test Intermediate", ca=True)
    with Peer(speaks_tls(server.files(tmp_path, chain=[stranger]))) as peer:
        result = look(peer, "localhost")
    assert ids(result) == ["probe-chain-unverified"]
    assert report.exit_status(result) == 3


def test_chain_read_by_openssl_is_the_same(authority, tmp_path, monkeypatch):
    monkeypatch.delattr(ssl.SSLObject, "get_unverified_chain", raising=False)
    root, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle, root]))) as peer:
        result = look(peer, "localhost")
    assert [one.subject for one in result.chain] == ["CN=localhost", "CN=Test Intermediate", "CN=Test Root"]
    assert result.chain_note == ""


def test_a_chain_verifies_with_the_cafile_alone(authority, tmp_path):
    """A client that trusts the CA alone can verify the chain, although the server does not send the root."""
    root, middle, server = authority
    (tmp_path / "ca.pem").write_bytes(b"# ours\n" + root.pem)
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle]))) as peer:
        result = look(peer, "localhost", cafile=str(tmp_path / "ca.pem"))
    assert (result.anchor_problem, result.system_problem) == ("", None)
    assert ids(result) == [] and report.exit_status(result) == 0
    told = report.fields(result)["trust"]
    assert told["cafile"] == str(tmp_path / "ca.pem") and told["anchor"] is True and told["system"] is None
    assert "  Trust     with the certificates of %s, and no others: verifies" % told["cafile"] in report.lines(result)


def test_a_chain_does_not_verify_with_another_cafile(authority, good, tmp_path):
    root, middle, server = authority
    (tmp_path / "ca.pem").write_bytes(good.pem)
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle, root]))) as peer:
        assert ids(look(peer, "localhost")) == []
        result = look(peer, "localhost", cafile=str(tmp_path / "ca.pem"))
    assert ids(result) == ["probe-cafile-unverified"] and report.exit_status(result) == 3
    assert report.fields(result)["trust"]["anchor"] is False


@pytest.mark.parametrize("data,told", [(b"", "is empty"), (b"x", "holds no certificate"), (None, "no such file"), (
    b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "holds a certificate that cannot be read")])
def test_a_file_without_trust_anchors_is_refused_before_anything_is_sent(tmp_path, data, told):
    if data is not None:
        (tmp_path / "ca.pem").write_bytes(data)
    with pytest.raises(CatcherError, match=told):
        probe.probe("127.0.0.1:1", cafile=str(tmp_path / "ca.pem"))


def shows_first(path, then):
    """A server that shows one certificate in its first connection, and another in the others."""
    one, others = speaks_tls(path), speaks_tls(then)

    def handle(peer, conn):
        return (others if peer.seen else one)(peer, conn)

    return handle


CLAIMS = {
    "verified": b"\nVerification: OK\n",
    "no error": b"\nVerification error: \n",
    "the whole text": b"\nCertificate chain\n---\nSSL handshake has read 1 bytes\nVerification: OK\n---\n",
    "an exit status": b"\nVerify return code: 0 (ok)\n",
}


@pytest.mark.parametrize("claim", sorted(CLAIMS))
@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_what_the_far_side_sends_does_not_make_it_trusted(good, tmp_path, version, claim):
    with Peer(talks_tls(good.files(tmp_path), CLAIMS[claim], version)) as peer:
        result = look(peer, "localhost")
    assert result.version == version.replace("_", ".")
    assert "self" in result.system_problem
    assert ids(result) == ["probe-self-signed"]


class Tool(Host):
    """A host whose openssl says what it is told to."""

    def __init__(self, said):
        Host.__init__(self)
        self.said = said

    def run(self, argv, timeout, stdin=b""):
        return 0, self.said


@pytest.mark.parametrize("trusts", ["a file", "the system"])
def test_what_verifies_is_what_is_shown(authority, tmp_path, monkeypatch, trusts):
    """An attacker between the hosts could take over only the first connection, whose hashes a person compares."""
    root, middle, server = authority
    stranger = Made("localhost", dns=["localhost"])
    (tmp_path / "stranger").mkdir()
    (tmp_path / "ca.pem").write_bytes(root.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    tool = Tool(b"\nCertificate chain\n 0 s:CN = x\n%s---\nVerification: OK\n" % server.pem)
    cafile = str(tmp_path / "ca.pem") if trusts == "a file" else None
    genuine = server.files(tmp_path, chain=[middle, root])
    with Peer(speaks_tls(genuine)) as peer:
        result = look(peer, "localhost", host=tool, cafile=cafile)
    assert (result.anchor_problem, result.system_problem) == ("", None if cafile else "")
    with Peer(shows_first(stranger.files(tmp_path / "stranger", chain=[root]), genuine)) as peer:
        result = look(peer, "localhost", host=tool, cafile=cafile)
    assert result.chain[0].sha256 == details.describe(stranger.der).sha256
    problem = result.anchor_problem if cafile else result.system_problem
    assert problem == "another connection shows another certificate" and result.anchor_problem
    assert report.exit_status(result) == 3


def test_a_text_that_says_verified_is_not_believed(good, tmp_path):
    """The text of openssl was changed on its way. A connection that verifies the chain decides instead."""
    text = b"\nCertificate chain\n 0 s:CN = x\n%s---\nVerification: OK\n" % good.pem
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "localhost", host=Tool(text))
    # Python 3.6 does not say why.
    assert "self" in result.system_problem or result.system_problem == "certificate verify failed"


def test_a_certificate_in_the_name_of_another_is_none(good, tmp_path, monkeypatch):
    monkeypatch.delattr(ssl.SSLObject, "get_unverified_chain", raising=False)
    text = good.pem.decode("ascii")
    made = Made("localhost", dns=["localhost"], attributes=[(NameOID.ORGANIZATION_NAME, text.replace("\n", "")),
                                                            (NameOID.ORGANIZATION_NAME, text)])
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert (len(result.chain), result.chain_note) == (1, "")


@pytest.mark.skipif(not hasattr(ssl.SSLObject, "get_unverified_chain"), reason="this Python shows no chain itself")
def test_a_chain_is_shown_without_the_openssl_command(authority, tmp_path):
    root, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle, root]))) as peer:
        result = look(peer, "localhost", host=NoPrograms())
    assert len(result.chain) == 3
    assert result.system_problem is None
    assert ids(result) == []


def test_without_chain_and_openssl_the_servers_certificate_is_shown_and_that_is_said(
        authority, tmp_path, monkeypatch):
    monkeypatch.delattr(ssl.SSLObject, "get_unverified_chain", raising=False)
    root, middle, server = authority
    with Peer(speaks_tls(server.files(tmp_path, chain=[middle, root]))) as peer:
        result = look(peer, "localhost", host=NoPrograms())
    assert len(result.chain) == 1
    assert "/usr/bin/openssl" in result.chain_note
    # The report does not call a certificate missing that the probe did not see.
    assert ids(result) == []


def test_long_chain_is_cut(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path, chain=[good] * 29))) as peer:
        result = look(peer, "localhost")
    assert len(result.chain) == details.CHAIN_LIMIT
    assert result.chain_note == "14 more certificates were sent"
