"""Properties of everything that reads input from outside, with generated input; and the cost of 10 MB of hostile
bytes."""

import resource
import subprocess
import sys

import hypothesis
import pytest
from hypothesis import strategies as st

from catcher_install import config, openssl, transition
from catcher_install.cert import check, generate, pem
from catcher_install.cert.host_names import HostNames
from tests.faults import parsers
from tests.unit.support import TREE, Asked, installed

QUICK = hypothesis.settings(database=None, deadline=None, max_examples=200)
PEM_PARTS = st.one_of(st.binary(max_size=40), st.sampled_from([
    b"-----BEGIN PRIVATE KEY-----", b"-----END PRIVATE KEY-----", b"-----BEGIN CERTIFICATE-----",
    b"-----END CERTIFICATE-----", b"-----BEGIN X509 CERTIFICATE-----", b"\n", b"\r\n", b"\xef\xbb\xbf", b"MIIB",
    b"-----",
]))  # fmt: skip
PEM = st.lists(PEM_PARTS, max_size=30).map(b"".join)
WORDS = st.one_of(st.text(max_size=20), st.sampled_from([
    "configure", "upgrade", "install", "abort-upgrade", "abort-remove", "abort-deconfigure", "triggered", "in-favour",
    "0", "1", "2", "3", "7.3.0-1", "8.0.0-1", "1:8.0", "",
]))  # fmt: skip


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    """A host whose openssl makes pairs."""
    return installed(tmp_path_factory.mktemp("maker"))


@QUICK
@hypothesis.given(PEM)
def test_blocks_of_a_pem_file_are_whole_and_in_the_file(data):
    """A block begins with BEGIN, ends with END, and contains only bytes of the file."""
    given = pem.PemFile("x", data)
    for label, block in given.blocks:
        assert block.startswith(b"-----BEGIN ") and block.splitlines()[-1].startswith(b"-----END ")
        assert label
        assert len(block) <= len(data) + 1
    assert len(given.keys()) + len(given.certificates()) <= len(given.blocks)


@QUICK
@hypothesis.given(PEM, PEM)
def test_a_pair_of_generated_bytes_is_unusable_with_one_line(key, crt):
    """Judging never raises, and says what is wrong in one line that is safe for a terminal."""
    verdict = check.check(Asked(), key, crt)
    assert verdict.problem and verdict.problem.isprintable() and len(verdict.problem) < 300


@QUICK
@hypothesis.given(st.text(max_size=60))
def test_any_version_string_is_a_version_or_none(text):
    found = openssl.parse_version(text)
    assert found is None or (len(found[0]) == 3 and min(found[0]) >= -1 and found[1] in text)


@QUICK
@hypothesis.given(st.integers(0, 9), st.integers(0, 99), st.integers(0, 99), st.sampled_from(["", "k", "-fips"]),
                  st.sampled_from(["%s", "OpenSSL %s", "OpenSSL %s  FIPS 25 Mar 2021", "x (Library: OpenSSL %s)"]))
def test_a_version_is_read_out_of_what_the_command_prints(major, minor, fix, letter, around):
    full = f"{major}.{minor}.{fix}{letter}"
    assert openssl.parse_version(around % full) == ((major, minor, fix), full)


@QUICK
@hypothesis.given(st.lists(WORDS, max_size=5))
def test_only_configure_without_a_version_is_an_installation_by_dpkg(arguments):
    called = transition.from_scriptlet("deb", arguments)
    fresh = arguments[:1] == ["configure"] and not (arguments[1:] and arguments[1])
    assert (called.kind == transition.INSTALL) == fresh


@QUICK
@hypothesis.given(st.lists(WORDS, max_size=3))
def test_only_a_count_of_one_is_an_installation_by_rpm(arguments):
    called = transition.from_scriptlet("rpm", arguments)
    count = arguments[0] if arguments else ""
    assert (called.kind == transition.INSTALL) == (count.isdecimal() and int(count) == 1)


@hypothesis.settings(database=None, deadline=None, max_examples=25)
@hypothesis.given(st.text(max_size=90), st.text(max_size=90),
                  st.lists(st.ip_addresses().map(str), max_size=6, unique=True))
def test_any_host_name_and_addresses_give_a_pair_that_is_good(maker, short, full, addresses):
    """For every host name: a certificate that our own judge accepts, with every address in it."""
    from cryptography import x509

    names = HostNames(short=short or "localhost", full=full or "localhost", addresses=addresses)
    key, crt = generate.generate(maker, names)
    assert check.check(Asked(), key, crt).problem == ""
    san = x509.load_pem_x509_certificate(crt).extensions
    if addresses:
        found = san.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(x509.IPAddress)
        assert [str(one) for one in found] == addresses


@pytest.mark.parametrize("name", sorted(parsers.PARSERS))
def test_the_parsers_hold_on_every_input_that_fuzzing_kept(name):
    """Fuzzing itself is in `make faults`."""
    inputs = sorted((parsers.CORPUS / name).iterdir())
    assert len(inputs) > 10
    for path in inputs:
        parsers.PARSERS[name](path.read_bytes())


HOSTILE = {
    "NULs": b"\0" * (10 << 20), "one line": b"A" * (10 << 20), "lines": b"TLS_ON\n" * (10 << 17),
    "BEGIN": b"-----BEGIN PRIVATE KEY-----\n" * (10 << 15), "blanks": b" \n" * (5 << 20),
}  # fmt: skip
COST = """
import resource, sys, time
sys.path.insert(0, sys.argv[1])
from catcher_install import config
from catcher_install.cert import pem
from catcher_install.host import Host
data = open(sys.argv[2], "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF)
config.parse(data)
pem.PemFile("x", data)
Host().read(sys.argv[2], config.SIZE_LIMIT, head=True)
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime - before.ru_utime, (after.ru_maxrss - before.ru_maxrss) // 1024)
"""


@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_ten_megabytes_cost_seconds_and_not_gigabytes(tmp_path, name):
    """The parser alone must be fast enough, although files are read only up to a limit."""
    (tmp_path / "x").write_bytes(HOSTILE[name])
    done = subprocess.run([sys.executable, "-c", COST, TREE, tmp_path / "x"], check=True,
                          capture_output=True, text=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (60, 60)))  # fmt: skip
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 15 and megabytes < 700
    assert config.parse(HOSTILE[name]).state == config.UNUSABLE
