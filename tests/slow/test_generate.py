"""The generated pair: cryptography reads it, and OpenSSL accepts it."""

import calendar
import datetime
import errno
import ipaddress
import os
import sys
import time
import warnings

import pytest
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

from catcher_install import host as host_module
from catcher_install import paths
from catcher_install.cert import check, crypto, generate, host_names, keys
from catcher_install.errors import CatcherError
from tests.unit import pem
from tests.unit.host_names import NAMES, names_of, names_to_verify
from tests.unit.support import Asked, fault, installed

NOW = calendar.timegm((2026, 11, 23, 12, 30, 45))
DAY = 24 * 3600

MADE: dict = {}


def made(machine, name):
    """A pair for one of NAMES, made once, at NOW; (key, certificate), PEM."""
    if name not in MADE:
        machine.time = NOW
        MADE[name] = generate.generate(machine, names_of(name))
    return MADE[name]


every_name = pytest.mark.parametrize("name", sorted(NAMES))


def read(certificate_pem):
    return x509.load_pem_x509_certificate(certificate_pem, default_backend())


def validity_of(one):
    """(first, last) moment of a certificate, naive UTC."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if hasattr(one, "not_valid_before_utc"):
            return one.not_valid_before_utc.replace(tzinfo=None), one.not_valid_after_utc.replace(tzinfo=None)
        return one.not_valid_before, one.not_valid_after


def alternatives_of(one):
    try:
        return one.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


@every_name
def test_the_pair_has_the_documented_contents(machine, name):
    key_pem, certificate_pem = made(machine, name)
    short, full, addresses = NAMES[name]
    one = read(certificate_pem)

    assert key_pem.startswith(b"-----BEGIN PRIVATE KEY-----\n") and key_pem.endswith(b"-----END PRIVATE KEY-----\n")
    assert certificate_pem.startswith(b"-----BEGIN CERTIFICATE-----\n")
    key = pem.load(key_pem)
    assert isinstance(key.curve, ec.SECP521R1)
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert one.public_key().public_bytes(*form) == key.public_key().public_bytes(*form)

    assert one.version == x509.Version.v3
    assert isinstance(one.signature_hash_algorithm, hashes.SHA512)
    assert one.issuer == one.subject
    common, = one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert len(list(one.subject)) == 1
    assert common.value == (full if len(full.encode("utf-8")) <= 64 else short)
    assert 0 < one.serial_number < 2 ** 128

    basic = one.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS)
    assert basic.critical and not basic.value.ca
    usage = one.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE)
    assert usage.critical and usage.value.digital_signature
    assert not (usage.value.key_cert_sign or usage.value.crl_sign or usage.value.key_encipherment)
    extended = one.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE)
    assert list(extended.value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    subject_id = one.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_KEY_IDENTIFIER).value.digest
    issuer_id = one.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_KEY_IDENTIFIER).value.key_identifier
    assert subject_id == issuer_id
    assert len(list(one.extensions)) == (6 if list(alternatives_of(one)) else 5)

    # Short name, full name, then the addresses in the order they were given.
    seen = [str(item.value) for item in alternatives_of(one)]
    dns = seen[:len(seen) - len(addresses)]
    assert seen[len(dns):] == [str(ipaddress.ip_address(address)) for address in addresses]
    if all(ord(c) < 128 for c in full):
        assert dns == ([short] if short == full else [short, full])
    elif name == "UTF-8":
        assert dns == ["xn--hst-sna", "xn--hst-sna.example.com"]
    for item in dns:
        assert all(32 < ord(c) < 127 for c in item)


def test_validity_is_ten_years_from_one_day_ago(machine):
    first, last = validity_of(read(made(machine, "short and full")[1]))
    assert first == datetime.datetime(2026, 11, 22, 12, 30, 45)
    assert last == datetime.datetime(2036, 11, 22, 12, 30, 45)


@pytest.mark.parametrize("now,first,last", [
    ((2024, 3, 1, 10, 0, 0), (2024, 2, 29, 10, 0, 0), (2034, 2, 28, 10, 0, 0)),
    ((2024, 2, 29, 10, 0, 0), (2024, 2, 28, 10, 0, 0), (2034, 2, 28, 10, 0, 0)),
    ((2023, 3, 1, 0, 0, 0), (2023, 2, 28, 0, 0, 0), (2033, 2, 28, 0, 0, 0)),
    ((2026, 1, 1, 0, 0, 0), (2025, 12, 31, 0, 0, 0), (2035, 12, 31, 0, 0, 0)),
    # Ten years later the date is after 2049, and is a GeneralizedTime instead of a UTCTime (RFC 5280, 4.1.2.5).
    ((2045, 6, 2, 1, 2, 3), (2045, 6, 1, 1, 2, 3), (2055, 6, 1, 1, 2, 3)),
])
def test_the_validity_is_right_on_odd_days(machine, now, first, last):
    machine.time = calendar.timegm(now) + 0.75
    made_now = read(generate.generate(machine, names_of("short only"))[1])
    assert validity_of(made_now) == (datetime.datetime(*first), datetime.datetime(*last))


def test_serials_are_random_and_of_128_bits():
    serials = [generate.serial_number() for _ in range(64)]
    assert len(set(serials)) == 64
    assert 120 < max(number.bit_length() for number in serials) <= 128
    assert min(serials) > 0


def test_two_machines_have_two_keys(machine):
    assert generate.generate(machine, names_of("short only"))[0] != made(machine, "short only")[0]


@pytest.mark.parametrize("node", ["h\udcc3\udcb6st.example.com", "h\udcffst"], ids=["UTF-8", "not UTF-8"])
def test_a_name_that_python_could_not_decode(machine, monkeypatch, node):
    """os.uname() with Python 3.6 in the C locale (as in RPM scriptlets), or for bytes that are not text."""

    class Uname:
        nodename = node

        def __getattr__(self, name):
            return getattr(os, name)

        def uname(self):
            return self

    with monkeypatch.context() as patched:
        patched.setattr(host_module, "os", Uname())
        machine.node = host_module.Host.node_name(machine)
    machine.programs["/usr/bin/getent"] = (2, b"")
    key_pem, certificate_pem = generate.generate(machine, host_names.collect(machine))
    assert check.check(Asked(), key_pem, certificate_pem).problem == ""


def test_the_key_never_is_in_a_file_while_openssl_works(machine):
    run = machine.programs[paths.OPENSSL]
    seen = []

    def watched(argv, stdin):
        assert not any("PRIVATE" in word for word in argv)
        done = run(argv, stdin)
        for directory, _, files in os.walk(machine.base):
            for one in files:
                with open(os.path.join(directory, one), "rb") as stream:
                    seen.append(one)
                    assert b"PRIVATE" not in stream.read()
        assert machine.mode(paths.PAIR_WORK) == 0o700
        return done

    machine.programs[paths.OPENSSL] = watched
    os.umask(0)
    generate.generate(machine, names_of("short only"))
    assert {"openssl.cnf", "request", "index.txt.old"} <= set(seen)
    assert leftovers(machine) == []


def leftovers(machine):
    """Return the names in the pair's directory, without the daemon."""
    return [name for name in machine.names(paths.BIN) if name != "catcher.exe"]


@pytest.mark.parametrize("answer,hint", [
    (FileNotFoundError(2, "No such file or directory"), "install the package openssl"),
    (TimeoutError(110, "no answer"), "see why:\n  openssl genpkey "), ((1, b""), "see why:\n  openssl genpkey "),
    ((0, b""), "see why:\n  openssl genpkey "),
    ((0, b"library x is gone\n%s"), "see why:\n  openssl genpkey "),
    ((0, b"%slibrary x is gone\n"), "see why:\n  openssl genpkey "),
    ((137, b"%s"), "see why:\n  openssl genpkey "),
], ids=["absent", "hung", "failed", "silent", "spoilt before", "spoilt after", "killed"])
@pytest.mark.parametrize("command", ["genpkey", "req", "ca"])
def test_an_openssl_that_fails_leaves_nothing(machine, command, answer, hint):
    run = machine.programs[paths.OPENSSL]

    def failing(argv, stdin):
        done = run(argv, stdin)
        if argv[1] != command:
            return done
        return (answer[0], answer[1].replace(b"%s", done[1])) if isinstance(answer, tuple) else answer

    machine.programs[paths.OPENSSL] = failing
    with pytest.raises(CatcherError) as raised:
        generate.generate(machine, names_of("short only"))
    assert raised.value.hint.startswith(hint)
    assert "\n" not in raised.value.message
    assert leftovers(machine) == []


def test_an_openssl_that_hangs_does_not_outlast_a_start(machine, monkeypatch):
    """After 90 seconds systemd kills what runs before the start."""
    real, waits = machine.run, []

    def run(argv, timeout, stdin=b"", only_output=False):
        waits.append(timeout)
        return real(argv, timeout, stdin, only_output)

    monkeypatch.setattr(machine, "run", run)
    generate.generate(machine, names_of("short only"))
    assert len(waits) == 3 and sum(waits) <= 80


@pytest.mark.parametrize("prepare", [
    lambda machine: machine.put_link(paths.PAIR_WORK, "/srv/precious"),
    lambda machine: machine.put_link(paths.PAIR_WORK, "/srv/absent"),
    lambda machine: machine.put(paths.PAIR_WORK, b"a file"),
    lambda machine: machine.put(paths.PAIR_WORK + "/openssl.cnf", b"openssl_conf = somebody's\n"),
    lambda machine: machine.put_link(paths.PAIR_WORK + "/serial", "/srv/precious/file"),
], ids=["link", "dangling link", "file", "leftover", "link inside"])
def test_what_lies_where_openssl_works(machine, prepare):
    machine.put("/srv/precious/file", b"x")
    prepare(machine)
    key, crt = generate.generate(machine, names_of("short only"))
    assert check.check(Asked(), key, crt).problem == ""
    assert machine.names("/srv") == ["precious"] and machine.get("/srv/precious/file") == b"x"
    assert leftovers(machine) == []


def test_where_nothing_can_be_written_no_key_is_made_for_nothing(machine):
    with fault(n=1, error=errno.EROFS, calls=("mkdir",)), pytest.raises(OSError, match="Read-only"):
        generate.generate(machine, names_of("short only"))
    assert machine.spawned == []


@pytest.mark.parametrize("name", [" ", "  a ", "`id`", "a\"b", "a'b", "a\nCN = other", "\x01", "#a;b", "$HOME", "end\\",
                                  "@names", "copy", "b\u00fc\u00adcher", "${ENV::PATH}"])
def test_a_name_that_configuration_files_have_other_plans_with(machine, name):
    key, crt = generate.generate(machine, host_names.HostNames(short=name, full=name, addresses=[]))
    assert check.check(Asked(), key, crt).problem == ""
    (found,) = read(crt).subject
    assert found.value == "".join(c if c.isprintable() else "?" for c in name)


def test_a_directory_whose_name_has_special_characters(tmp_path):
    odd = installed(tmp_path / "a $b #c;d,'e\"f@g\\h")
    key, crt = generate.generate(odd, names_of("short only"))
    assert check.check(Asked(), key, crt).problem == ""


def test_no_cryptography_is_needed(machine, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    key, crt = generate.generate(machine, names_of("short and full"))
    monkeypatch.undo()
    verdict = check.check(Asked(), key, crt)
    assert (verdict.problem, verdict.unchecked) == ("", "")


# -- what an administrator wishes --------------------------------------------------------------------------------------


# {type: (key, digest of its certificate)}
TYPES = {
    "secp521r1": ("EC secp521r1", "sha512"), "secp384r1": ("EC secp384r1", "sha384"),
    "prime256v1": ("EC prime256v1", "sha256"), "rsa2048": ("RSA 2048", "sha256"), "rsa3072": ("RSA 3072", "sha256"),
    "rsa4096": ("RSA 4096", "sha256"),
}  # fmt: skip


@pytest.mark.parametrize("key_type", sorted(keys.GENERATED))
def test_a_pair_of_each_type_of_key_has_no_problem(machine, key_type):
    machine.time = None
    wish = generate.Wish(names=[], key_type=key_type, days=30)
    key, crt = generate.generate(machine, names_of("short and full"), wish)
    verdict = check.check(Asked(), key, crt)
    assert (verdict.problem, verdict.unchecked) == ("", "")
    kind = crypto.load().kind_of(pem.load(key))
    assert (kind.algorithm, read(crt).signature_hash_algorithm.name) == TYPES[key_type]
    left = validity_of(read(crt))[1] - datetime.datetime.utcfromtimestamp(time.time())
    assert datetime.timedelta(days=29, hours=23) < left <= datetime.timedelta(days=30)


def test_each_type_of_key_is_supported():
    for name, (size, digest) in keys.GENERATED.items():
        kind = keys.rsa(size) if isinstance(size, int) else keys.elliptic(size)
        assert kind.problem == "" and digest >= 256 and name == (size if kind.rsa_bits == 0 else "rsa%d" % size)


def test_wished_names_come_first_and_each_name_is_there_once(machine):
    machine.time = None
    names = ["service.example.com", "b\u00fccher.example.com", "2001:db8::0:7", "service.example.com", "tke1"]
    wish = generate.USUAL.replace(names=names)
    one = read(generate.generate(machine, names_of("short and full"), wish)[1])
    seen = [str(item.value) for item in alternatives_of(one)]
    assert seen[:3] == ["service.example.com", "xn--bcher-kva.example.com", "tke1"] and seen[-1] == "2001:db8::7"
    assert len(seen) == len(set(seen))
    common, = one.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    assert common.value == "service.example.com"


def test_wished_names_are_bounded_so_that_a_handshake_carries_the_certificate(machine, monkeypatch):
    """The certificate has as many addresses as it can, and the largest key."""
    machine.time = None
    machine.ipv4 = ["10.%d.%d.%d" % (n >> 16, n >> 8 & 255, n & 255) for n in range(1, 6000)]
    machine.programs["/usr/bin/getent"] = (2, b"")
    many = ["n%03d.%s.example.com" % (n, "a" * 40) for n in range(100)]
    monkeypatch.setattr(generate, "new_key", lambda host, key_type: pem.key_of("rsa-4096"))
    wish = generate.Wish(names=many[:66], key_type="rsa4096", days=0)
    key, crt = generate.generate(machine, host_names.collect(machine), wish)
    assert check.check(Asked(), key, crt).problem == ""
    with pytest.raises(CatcherError, match="the names take more than 4096 bytes"):
        generate.generate(machine, host_names.collect(machine), wish.replace(names=many))


# -- a real verifier ---------------------------------------------------------------------------------------------------

def verifies(directory, certificate_pem, arguments):
    path = str(directory / "catcher.crt")
    with open(path, "wb") as stream:
        stream.write(certificate_pem)
    output = pem.openssl(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", path] + arguments + [path])
    return output.strip().endswith(b": OK")


@pytest.fixture
def current(machine):
    """Return a generator of certificates that are valid today."""
    machine.time = None
    return lambda name: generate.generate(machine, names_of(name))


@every_name
def test_openssl_verifies_by_each_name_and_address(machine, current, tmp_path, name):
    _, certificate_pem = current(name)
    for one in names_to_verify(name):
        assert verifies(tmp_path, certificate_pem, ["-verify_hostname", one])
    for address in NAMES[name][2][:4]:
        assert verifies(tmp_path, certificate_pem, ["-verify_ip", address])
    with pytest.raises(AssertionError):
        verifies(tmp_path, certificate_pem, ["-verify_hostname", "another.example.com"])
    with pytest.raises(AssertionError):
        verifies(tmp_path, certificate_pem, ["-verify_ip", "203.0.113.99"])
