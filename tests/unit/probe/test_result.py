"""The findings about a certificate that a peer sends."""

import pytest

from catcher_install import messages
from catcher_install.cert import details
from catcher_install.probe import report

from .peers import Made, Peer, ids, look, speaks_tls

# The peers' threads are in this process. The openssl that the probe starts does not need them.
pytestmark = [pytest.mark.real_programs, pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")]


@pytest.mark.parametrize("name, found", [
    ("127.0.0.1", "SAN IP 127.0.0.1"), ("a.tke.example.com", "SAN DNS *.tke.example.com"), ("0::1", "SAN IP ::1"),
])
def test_name_that_matches(good, tmp_path, name, found):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, name)
    assert result.matched == found
    assert report.fields(result)["name_matches"] is True


def test_wrong_name_needs_attention(good, tmp_path):
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "other.example.com")
    assert result.matched == ""
    assert ids(result) == ["probe-name-mismatch", "probe-self-signed"]
    assert "localhost, *.tke.example.com, 127.0.0.1, ::1" in messages.fix(result.findings[0])
    assert report.exit_status(result) == 3
    assert report.fields(result)["name_matches"] is False


def test_name_in_the_cn_only(tmp_path):
    made = Made("tke.example.com", dns=["other.example.com"])
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "tke.example.com")
    assert result.matched == "CN tke.example.com"
    assert ids(result) == ["probe-name-only-cn", "probe-self-signed"]
    assert report.exit_status(result) == 0


@pytest.mark.parametrize("days, finding", [
    ((-20, -10), "probe-certificate-expired"),
    ((10, 20), "probe-certificate-not-yet-valid"),
    ((-20, 10), "probe-certificate-expires-soon"),
])
def test_a_certificate_outside_its_validity_is_a_finding(tmp_path, days, finding):
    made = Made("localhost", days=days)
    with Peer(speaks_tls(made.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert ids(result) == [finding, "probe-self-signed"]
    assert report.exit_status(result) == 3
    day = made.not_before if days[0] > 0 else made.not_after
    assert day.strftime("%Y-%m-%d") in messages.text(result.findings[0])
    # Expiry has its own finding. The finding about trust does not repeat it.
    assert result.anchor_problem == ""


def test_certificate_that_cannot_be_read_is_a_finding(good, tmp_path, monkeypatch):
    def unread(der):
        raise ValueError("it is cut off")

    monkeypatch.setattr(details.x509, "read", unread)
    with Peer(speaks_tls(good.files(tmp_path))) as peer:
        result = look(peer, "localhost")
    assert ids(result) == ["probe-certificate-unreadable"]
    assert report.exit_status(result) == 3
    assert report.fields(result)["name_matches"] is None
