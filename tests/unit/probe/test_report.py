"""A result as lines for people and as fields for programs."""

import pytest
from cryptography.x509.oid import NameOID

from catcher_install.probe import report

from .peers import Made, Peer, ids, look, speaks_tls

# The peers' threads are in this process. The openssl that the probe starts does not need them.
pytestmark = [pytest.mark.real_programs, pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")]


def test_names_in_a_certificate_cannot_write_to_the_terminal(tmp_path):
    evil = "\x1b[2J\r\n  !  all is well [x]\u202e\u00fc" + "A" * 40
    made = Made(evil, attributes=[(NameOID.ORGANIZATION_NAME, evil)] * 20)
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert evil in result.chain[0].subject
    assert ids(result) == ["probe-name-mismatch", "probe-self-signed"]
    assert all(len(line) < 600 for line in report.lines(result))


def test_certificate_with_a_thousand_names(tmp_path):
    made = Made("x", dns=["host%d.example.com" % n for n in range(1000)])
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "host999.example.com")
    assert result.matched == "SAN DNS host999.example.com"
    assert any("and 988 more" in line for line in report.lines(result))


def test_the_lines_of_a_good_server_have_its_names_and_hashes(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    text = "\n".join(report.lines(result))
    for part in (
        "127.0.0.1 port %d" % peer.port, result.version, "localhost matches (SAN DNS localhost)",
        "itself (self-signed)", result.chain[0].sha1, result.chain[0].sha256,
        "DNS localhost, DNS *.tke.example.com, IP 127.0.0.1, IP ::1",
        "tick the box Enable SSL/TLS; Host Name/IP localhost", "i  the certificate is self-signed",
    ):
        assert part in text
    assert "!" not in text


def test_fields_are_those_that_are_documented(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        fields = report.fields(look(peer, "localhost"))
    assert sorted(fields) == [
        "address", "chain", "chain_note", "failed_addresses", "findings", "host", "name", "name_found_in",
        "name_matches", "port", "reason", "state", "tls", "trust",
    ]
    for name in list(fields) + list(fields["chain"][0]) + list(fields["trust"]) + list(fields["findings"][0]):
        assert name in report.fields.__doc__
    assert fields["trust"]["anchor"] is True
    assert fields["trust"]["system"] is False
