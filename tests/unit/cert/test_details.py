"""A name against the names in a certificate."""

import time

import pytest

from catcher_install.cert import details
from catcher_install.cert.names import ip_address


@pytest.mark.parametrize("name, cn, san, found", [
    ("tke.example.com", "tke.example.com", [], "CN tke.example.com"),
    ("TKE.Example.COM", "tke.example.com", [], "CN tke.example.com"),
    ("tke.example.com.", "tke.example.com", [], "CN tke.example.com"),
    ("tke.example.com", "other", ["tke.EXAMPLE.com"], "SAN DNS tke.EXAMPLE.com"),
    ("tke", "other", ["tke", "tke.example.com"], "SAN DNS tke"),
    ("tke.example.com", "tke", ["tke"], ""),
    ("example.com", "tke.example.com", [], ""),
    ("atke.example.com", "tke.example.com", ["tke.example.com"], ""),
    ("a.example.com", "x", ["*.example.com"], "SAN DNS *.example.com"),
    ("a.example.com", "*.example.com", [], "CN *.example.com"),
    ("a.b.example.com", "x", ["*.example.com"], ""),
    ("example.com", "x", ["*.example.com"], ""),
    ("example.com", "x", ["*.com", "*", "*."], ""),
    ("ab.example.com", "x", ["a*.example.com", "*b.example.com"], ""),
    ("a.example.com", "x", ["a.*.com"], ""),
    ("m\u00fcller.example", "x", ["xn--mller-kva.example"], "SAN DNS xn--mller-kva.example"),
    ("xn--mller-kva.example", "M\u00fcller.example", [], "CN M\u00fcller.example"),
    ("192.0.2.7", "x", ["192.0.2.7"], "SAN IP 192.0.2.7"),
    ("192.0.2.7", "192.0.2.7", [], "CN 192.0.2.7"),
    ("2001:DB8:0::7", "x", ["2001:db8::7"], "SAN IP 2001:db8::7"),
    ("2001:db8::7", "2001:db8:0:0:0:0:0:7", [], "CN 2001:db8:0:0:0:0:0:7"),
    ("fe80::1%eth0", "x", ["fe80::1"], "SAN IP fe80::1"),
    ("192.0.2.7", "x", ["192.0.2.70", "192.0.2.8"], ""),
    ("192.0.2.7", "*.0.2.7", ["DNS:192.0.2.7", "DNS:*.0.2.7"], ""),
    ("tke", "", [], ""),
    ("tke", "tke\0.evil.example", [], ""),
    ("tke", "t" * 200000, ["\u00fc" * 200000], ""),
])
def test_match(name, cn, san, found):
    ips = [text for text in san if ip_address(text) is not None]
    dns = [text[4:] if text.startswith("DNS:") else text for text in san if text not in ips]
    one = details.Certificate(subject="", issuer="", self_issued=False, common_names=[cn], dns_names=dns, addresses=ips,
                            not_before=0, not_after=0, sha1="", sha256="", problem="")
    start = time.process_time()
    assert details.match(name, one) == found
    assert time.process_time() - start < 1
