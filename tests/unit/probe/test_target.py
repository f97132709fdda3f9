"""What is typed as a target."""

import re

import pytest

from catcher_install.errors import CatcherError
from catcher_install.probe import probe
from catcher_install.probe.target import NAME_HINT, TARGET_HINT, parse


@pytest.mark.parametrize("target, host, port", [
    ("catcher", "catcher", 50003),
    ("catcher.example.com:443", "catcher.example.com", 443),
    ("catcher.example.com.", "catcher.example.com.", 50003),
    ("under_score.example", "under_score.example", 50003),
    ("m\u00fcller.example:1", "m\u00fcller.example", 1),
    ("x" * 64, "x" * 64, 50003),
    ("192.0.2.7", "192.0.2.7", 50003),
    ("192.0.2.7:65535", "192.0.2.7", 65535),
    ("2001:db8::7", "2001:db8::7", 50003),
    ("::1", "::1", 50003),
    ("[2001:db8::7]", "2001:db8::7", 50003),
    ("[2001:db8::7]:443", "2001:db8::7", 443),
    ("fe80::1%eth0", "fe80::1%eth0", 50003),
    ("[fe80::1%eth0]:443", "fe80::1%eth0", 443),
])
def test_a_target_is_read_as_host_and_port(target, host, port):
    assert parse(target) == (host, port)


@pytest.mark.parametrize("target", [
    "", ":", ":50003", "host:", "host:0", "host:65536", "host:+5", "host: 5", "host:http", "host:\u0665",
    "host:999999999999",
    "[::1", "[]", "[::1]5", "[::1]:", "[::1]:x", "[127.0.0.1]:5", "[host]", "::1:50003", "1:2:3", "fe80::1%", "a b",
    "a..b", ".a", "-a", "a/b", "https://host", "host\n", "\x1b[31m", "*.example.com", "1.2.3", "1.2.3.999", "12345",
    "127.0.0.1%lo", "x" * 254, "\u00fc" * 70, "\udcff", "m\u00fc ller", "[" + ":" * 100000, "1." * 100000,
])
def test_what_is_no_target_is_one_line_and_a_hint(target):
    with pytest.raises(CatcherError) as caught:
        probe.probe(target, timeout=0.1)
    assert caught.value.hint == TARGET_HINT
    assert re.match(r"\A[ -~]{1,300}\Z", caught.value.message)


@pytest.mark.parametrize("name", ["", "a b", "*.example.com", "host:50003", "1.2.3.999", "\x1b[31m"])
def test_a_name_that_is_no_name_is_one_line_and_a_hint(name):
    with pytest.raises(CatcherError) as caught:
        probe.probe("127.0.0.1:1", name)
    assert caught.value.hint == NAME_HINT
