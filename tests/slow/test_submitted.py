"""Keys and certificates of every kind, as people submit them: accepted, or refused with the reason and a command."""

import os
import subprocess
import sys
import time

import pytest
from cryptography import x509

from catcher_install.cert import crypto, submitted
from catcher_install.errors import CatcherError
from catcher_install.text import plain
from tests.unit import pem
from tests.unit.authority import CLIENT, DAY, SERVER, Authority, build, der, issue, key_der, key_usage, pem_of

MADE = {}  # type: dict


def made(name, maker):
    """Keys and certificates that are slow to make, made once."""
    if name not in MADE:
        MADE[name] = maker()
    return MADE[name]


def key(kind):
    return made(kind, lambda: pem.key_of(kind))


def authority():
    return made("CA", Authority)


def self_signed(kind, **more):
    return key(kind), issue(key(kind), **more)


def chained(kind="secp384r1", **more):
    return key(kind), authority().issue(key(kind), **more) + authority().certificate + authority().root


def crlf(data):
    return data.replace(b"\n", b"\r\n")


def sec1_with_parameters():
    """As "openssl ecparam -genkey" writes it (vendor text, "Setup for TLS mode")."""
    return made("ecparam", lambda: pem.openssl(["ecparam", "-name", "prime256v1", "-genkey"]))


def with_text():
    k, c = self_signed("prime256v1")
    return b"Bag Attributes\n  localKeyID: 01\n" + k, b"subject=CN = x\n\n" + c + b"\n# end"


ACCEPTED = {
    "PKCS#8, P-521": (lambda: self_signed("secp521r1"), "EC secp521r1"),
    "PKCS#8, P-384": (lambda: self_signed("secp384r1"), "EC secp384r1"),
    "PKCS#8, P-256": (lambda: self_signed("prime256v1"), "EC prime256v1"),
    "RSA 1024": (lambda: self_signed("rsa-1024"), "RSA 1024"),
    "RSA 2048": (lambda: self_signed("rsa-2048"), "RSA 2048"),
    "RSA 4096": (lambda: self_signed("rsa-4096"), "RSA 4096"),
    "PKCS#1": (lambda: (pem.traditional(key("rsa-2048")), issue(key("rsa-2048"))), "RSA 2048"),
    "SEC1": (lambda: (pem.traditional(key("prime256v1")), issue(key("prime256v1"))), "EC prime256v1"),
    "SEC1 behind its parameters": (lambda: (sec1_with_parameters(), issue(sec1_with_parameters())), "EC prime256v1"),
    "CRLF": (lambda: tuple(map(crlf, self_signed("prime256v1"))), "EC prime256v1"),
    "CRLF, RSA, PKCS#1": (lambda: (crlf(pem.traditional(key("rsa-2048"))), issue(key("rsa-2048"))), "RSA 2048"),
    "old Mac line ends": (
        lambda: tuple(one.replace(b"\n", b"\r") for one in self_signed("prime256v1")), "EC prime256v1"),
    "a byte order mark": (lambda: tuple(b"\xef\xbb\xbf" + one for one in self_signed("prime256v1")), "EC prime256v1"),
    "no final newline": (lambda: tuple(one.strip() for one in self_signed("prime256v1")), "EC prime256v1"),
    "text around": (with_text, "EC prime256v1"),
    "a chain": (chained, "EC secp384r1"),
    "a chain without its root": (
        lambda: (key("secp384r1"), authority().issue(key("secp384r1")) + authority().certificate), "EC secp384r1"),
    "a chain by RSA": (
        lambda: (key("prime256v1"), issue(key("prime256v1"), issuer=(key("rsa-2048"), "RSA CA")) + issue(
            key("rsa-2048"), "RSA CA", (), ca=True)), "EC prime256v1"),
    "a key for a CA (openssl req -x509)": (lambda: self_signed("prime256v1", ca=True), "EC prime256v1"),
    "both in both files": (lambda: (b"".join(self_signed("prime256v1")),) * 2, "EC prime256v1"),
    "both in both files, certificate first": (
        lambda: (b"".join(reversed(self_signed("prime256v1"))),) * 2, "EC prime256v1"),
    "for servers": (lambda: self_signed("prime256v1", usage=SERVER), "EC prime256v1"),
    "for servers and clients": (lambda: self_signed("prime256v1", usage=CLIENT + SERVER), "EC prime256v1"),
    "the old name of a certificate": (
        lambda: (key("prime256v1"), issue(key("prime256v1")).replace(b" CERTIFICATE-", b" X509 CERTIFICATE-")),
        "EC prime256v1"),
    "just in time": (lambda: self_signed("prime256v1", first=-60, last=60), "EC prime256v1"),
}


def swapped():
    k, c = self_signed("prime256v1")
    return c, k


def other_key():
    return key("secp384r1"), issue(key("prime256v1"))


def wrong_order():
    k, _ = chained()
    return k, authority().certificate + authority().issue(k) + authority().root


def ca_first(kind="secp384r1", extensions=()):
    """As some tools write it. A CA's certificate of this kind would have another fault as well."""
    k, ca = key("prime256v1"), key(kind)
    extensions = [(x509.BasicConstraints(ca=True, path_length=None), True)] + list(extensions)
    return k, pem_of(build(ca, "CA", extensions=extensions)) + issue(k, issuer=(ca, "CA"))


def odd_link():
    """A CA of which OpenSSL reads more than we do: its name is an address of five bytes."""
    k, ca = key("prime256v1"), key("secp384r1")
    odd = x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), b"\x30\x07\x87\x05\x01\x02\x03\x04\x05")
    extensions = [(x509.BasicConstraints(ca=True, path_length=None), True), (odd, False)]
    return k, issue(k, issuer=(ca, "CA")) + pem_of(build(ca, "CA", extensions=extensions))


def missing_link():
    k, _ = chained()
    return k, authority().issue(k) + authority().root


def forged_link():
    """Return a certificate with the right name and the wrong key."""
    k, _ = chained()
    return k, authority().issue(k) + issue(key("prime256v1"), "Test CA", (), ca=True)


def no_ca():
    k = key("secp384r1")
    return k, issue(k, issuer=(key("prime256v1"), "Some Server")) + issue(key("prime256v1"), "Some Server", ca=False)


def old_link():
    k, _ = chained()
    old = issue(authority().key, "Test CA", (), issuer=(authority().root_key, "Test Root"), ca=True, last=-60)
    return k, authority().issue(k) + old + authority().root


def request():
    k = key("prime256v1")
    return k, pem.openssl(["req", "-new", "-key", "/dev/stdin", "-config", os.path.join(pem.DATA, "req.cnf")], k)


def pkcs12():
    both = b"".join(self_signed("prime256v1"))
    return pem.openssl(["pkcs12", "-export", "-passout", "pass:", "-name", "x"], both), b"x"


def pkcs7():
    k, c = self_signed("prime256v1")
    return k, pem.openssl(["crl2pkcs7", "-nocrl", "-certfile", "/dev/stdin"], c)


def trusted():
    k, c = self_signed("prime256v1")
    return k, pem.openssl(["x509", "-trustout"], c)


def damaged(data):
    lines = data.split(b"\n")
    lines[1] = b"AAAA" + lines[1][4:]
    return b"\n".join(lines)


REFUSED = {
    "swapped": (swapped, "they look swapped", "catcherctl cert install {crt} {key}"),
    "encrypted PKCS#8": (
        lambda: (pem.encrypted(key("prime256v1"), b"x"), issue(key("prime256v1"))), "my.key is encrypted",
        "openssl pkey -in {key} -out {key}.plain"),
    "encrypted PKCS#1": (
        lambda: (pem.traditional(key("rsa-2048"), b"x"), issue(key("rsa-2048"))), "my.key is encrypted",
        "openssl pkey -in {key} -out {key}.plain"),
    "DER key": (lambda: (key_der(key("prime256v1")), issue(key("prime256v1"))), "my.key is DER",
                "openssl pkey -inform DER -in {key} -out {key}.pem"),
    "DER certificate": (lambda: (key("prime256v1"), der(issue(key("prime256v1")))), "my.crt is DER",
                        "openssl x509 -inform DER -in {crt} -out {crt}.pem"),
    "PKCS#12": (pkcs12, "my.key is PKCS#12", "openssl pkcs12 -nodes -in {key} -out {key}.pem"),
    "PKCS#7": (pkcs7, "my.crt is PKCS#7", "openssl pkcs7 -print_certs -in {crt} -out {crt}.pem"),
    "PKCS#7 under another label": (
        lambda: (pkcs7()[0], pkcs7()[1].replace(b"PKCS7", b"CERTIFICATE")), "my.crt is PKCS#7",
        "openssl pkcs7 -print_certs -in {crt} -out {crt}.pem"),
    "PKCS#7, DER": (lambda: (pkcs7()[0], pem.openssl(["pkcs7", "-outform", "DER"], pkcs7()[1])), "my.crt is PKCS#7",
                    "openssl pkcs7 -inform DER -print_certs -in {crt} -out {crt}.pem"),
    "a certificate with OpenSSL's trust settings": (trusted, "my.crt has a certificate of the label TRUSTED",
                                                    "openssl x509 -in {crt} -out {crt}.pem"),
    "a file with all CAs": (
        lambda: (chained()[0], chained()[1] + 120 * authority().root), "my.crt is larger than a handshake carries",
        "keep only the server's certificate and those of its issuers"),
    "Ed25519": (
        lambda: (key("ed25519"), pem.certificate_for(key("ed25519"))), "a key of the type Ed25519",
        "catcherctl cert request"),
    "DSA": (
        lambda: (key("dsa-1024"), pem.certificate_for(key("dsa-1024"))), "a key of the type DSA",
        "catcherctl cert request"),
    "secp256k1": (lambda: self_signed("secp256k1"), "EC key on secp256k1", "catcherctl cert request"),
    "RSA 512": (lambda: (key("rsa-512"), pem.certificate_for(key("rsa-512"))), "RSA key of 512 bits",
                "catcherctl cert request"),
    "RSA 8192": (lambda: (key("rsa-8192"), issue(key("rsa-2048"))), "larger than RSA 4096", "catcherctl cert request"),
    "another key": (other_key, "does not belong to the key in", "requested with"),
    "a chain in the wrong order": (wrong_order, "wrong order: the key's own certificate is number 2 of 3", "first"),
    "a chain in the wrong order, by a CA that only signs certificates": (
        lambda: ca_first(extensions=[(key_usage("key_cert_sign"), True)]), "certificate is number 2 of 2", "first"),
    "a chain in the wrong order, by a CA with an unsupported key": (
        lambda: ca_first("secp256k1"), "certificate is number 2 of 2", "first"),
    "a chain with a link that we cannot read": (odd_link, "certificate 2 cannot be read", "first"),
    "a chain with a gap": (missing_link, "certificate 1 was not issued by certificate 2", "server's certificate first"),
    "a chain by another key": (forged_link, "is not signed by the key of the next one", "first"),
    "a chain by no CA": (no_ca, "certificate 2 is not a CA", "first"),
    "a chain that expired": (old_link, "certificate 2 of the chain in", "a new certificate"),
    "expired": (lambda: self_signed("prime256v1", first=-2 * DAY, last=-60), "expired on", "a new certificate"),
    "not yet valid": (lambda: self_signed("prime256v1", first=DAY, last=2 * DAY), "is not valid before", "timedatectl"),
    "for clients only": (lambda: self_signed("prime256v1", usage=CLIENT), "not for a TLS server", "cert request"),
    "a request": (request, "my.crt is a certificate request", "let your CA sign it"),
    "a request for a key": (lambda: (request()[1], issue(key("prime256v1"))), "my.key is a certificate request",
                            "let your CA sign it"),
    "a public key": (
        lambda: (pem.openssl(["pkey", "-pubout"], key("prime256v1")), issue(key("prime256v1"))), "holds a public key",
        "private key"),
    "a key for SSH": (
        lambda: (b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
                 issue(key("prime256v1"))), "a key for SSH", "requested with"),
    "two keys": (lambda: (key("prime256v1") + key("secp384r1"), issue(key("prime256v1"))), "holds 2 private keys",
                 "keep only the key"),
    "a certificate and no key": (lambda: (issue(key("prime256v1")),) * 2, "my.key holds no private key", "private key"),
    "a key and no certificate": (lambda: (key("prime256v1"),) * 2, "my.crt holds no certificate", "certificate"),
    "an empty key": (lambda: (b" \n", issue(key("prime256v1"))), "my.key is empty", "another file"),
    "an empty certificate": (lambda: (key("prime256v1"), b""), "my.crt is empty", "another file"),
    "a truncated key": (lambda: (key("prime256v1")[:100], issue(key("prime256v1"))), "my.key is truncated", "again"),
    "a truncated certificate": (
        lambda: (key("prime256v1"), issue(key("prime256v1"))[:300]), "my.crt is truncated", "again"),
    "a chain cut short": (lambda: (chained()[0], chained()[1][:-100]), "my.crt is truncated", "again"),
    "a damaged key": (lambda: (damaged(key("prime256v1")), issue(key("prime256v1"))), "my.key cannot be read",
                      "openssl pkey -noout -check -in {key}"),
    "a damaged certificate": (
        lambda: (key("prime256v1"), damaged(issue(key("prime256v1")))), "my.crt cannot be read as a",
        "openssl x509 -noout -text"),
    "a damaged issuer": (
        lambda: (chained()[0], authority().issue(chained()[0]) + damaged(authority().certificate)), "certificate 2 ",
        "openssl x509 -noout -text"),
    "text": (lambda: (b"secret\n", issue(key("prime256v1"))), "my.key is not PEM", "BEGIN PRIVATE KEY"),
    "text for a certificate": (lambda: (key("prime256v1"), b"cert\n"), "my.crt is not PEM", "BEGIN CERTIFICATE"),
    "binary": (lambda: (os.urandom(2000).replace(b"0", b""), issue(key("prime256v1"))), "my.key is not PEM", "PEM"),
    "NULs": (lambda: (b"\0" * 5000, issue(key("prime256v1"))), "my.key is not PEM", "PEM"),
    "UTF-16": (lambda: ("x".join(key("prime256v1").decode("ascii")).encode("utf-16"), issue(key("prime256v1"))),
               "my.key is not PEM", "PEM"),
}


@pytest.fixture
def files(machine):
    """Write two files as a user keeps them. Return the result of reading them."""

    def write(key_data, crt_data):
        machine.put("/root/my.key", key_data, 0o600)
        machine.put("/root/my.crt", crt_data)
        return submitted.read_file(machine, "/root/my.key"), submitted.read_file(machine, "/root/my.crt")

    return write


def algorithm_of(given):
    return crypto.load().kind_of(pem.load(given.key)).algorithm


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_a_good_pair_is_accepted_in_each_form(machine, files, name):
    make, algorithm = ACCEPTED[name]
    key_data, crt_data = make()
    given = submitted.check(machine, *files(key_data, crt_data))
    assert algorithm_of(given) == algorithm
    # What is installed is plain PEM of the same key and certificates, and no key beside the certificates.
    assert given.key.startswith(b"-----BEGIN ") and given.key.endswith(b"-----\n") and b"\r" not in given.key
    assert pem.load(given.key).private_numbers() == pem.load(made_clean(key_data)).private_numbers()
    assert given.certificates.startswith(b"-----BEGIN CERTIFICATE-----\n") and b"PRIVATE" not in given.certificates
    assert given.certificates.count(b"-----BEGIN") == len(given.chain) == crt_data.count(b"BEGIN ") - (
        1 if b"PRIVATE" in crt_data else 0)
    assert given.chain[0].dns_names == ["tke1.example.com"]


def made_clean(data):
    """The key in a file with CR, text or certificates around it."""
    text = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for label in (b"PRIVATE KEY", b"RSA PRIVATE KEY", b"EC PRIVATE KEY"):
        begin, end = b"-----BEGIN " + label + b"-----", b"-----END " + label + b"-----"
        if begin in text:
            return text[text.index(begin):text.index(end) + len(end)] + b"\n"
    raise AssertionError(text)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(machine, files, name):
    make, why, hint = REFUSED[name]
    key_data, crt_data = make()
    with pytest.raises(CatcherError) as refused:
        submitted.check(machine, *files(key_data, crt_data))
    # Python 3.6 does not hand on why a certificate does not verify.
    generic = sys.version_info < (3, 7) and "certificate verify failed" in refused.value.message
    assert why in refused.value.message or generic, refused.value.message
    assert hint.format(key="/root/my.key", crt="/root/my.crt") in refused.value.hint, refused.value.hint
    for line in [refused.value.message] + refused.value.hint.split("\n  "):
        assert "\n" not in line and len(line) < 200


def test_refused_hints_are_commands_that_work(machine, files, tmp_path):
    """The converted file is accepted."""
    k, c = self_signed("prime256v1")
    forms = [REFUSED[name][0]() for name in ("PKCS#7", "PKCS#7 under another label", "PKCS#7, DER",
                                             "a certificate with OpenSSL's trust settings")]
    assert {key for key, _ in forms} == {k}
    for data, name in [(key_der(k), "my.key"), (der(c), "my.crt")] + [(data, "my.crt") for _, data in forms]:
        read = files(data if name == "my.key" else k, data if name == "my.crt" else c)
        with pytest.raises(CatcherError) as refused:
            submitted.check(machine, *read)
        words = refused.value.hint.split(":\n  ", 1)[1].split()
        assert words[0] == "openssl"
        pem.openssl([machine.on_disk(word) if word.startswith("/root/") else word for word in words[1:]])
        converted = submitted.read_file(machine, "/root/%s.pem" % name)
        other = submitted.read_file(machine, "/root/my.crt" if name == "my.key" else "/root/my.key")
        pair = (converted, other) if name == "my.key" else (other, converted)
        assert algorithm_of(submitted.check(machine, *pair)) == "EC prime256v1"


# -- files -------------------------------------------------------------------------------------------------------------


def make_fifo(machine):
    os.makedirs(machine.on_disk("/root"))
    os.mkfifo(machine.on_disk("/root/x"))


def make_directory(machine):
    os.makedirs(machine.on_disk("/root/x"))


def make_loop(machine):
    machine.put_link("/root/x", "/root/x")


FILES = {
    "missing": (lambda machine: None, "no such file"),
    "a directory": (make_directory, "not a regular file"),
    "a FIFO": (make_fifo, "not a regular file"),
    "a link to itself": (make_loop, "too many levels"),
    "huge": (lambda machine: machine.put("/root/x", b"#" * (10 * 1024 * 1024)), "larger than"),
    "empty": (lambda machine: machine.put("/root/x"), "is empty"),
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_is(machine, name):
    make, why = FILES[name]
    make(machine)
    begin = time.monotonic()
    with pytest.raises(CatcherError) as refused:
        submitted.read_file(machine, "/root/x")
    assert time.monotonic() - begin < 30
    assert why in refused.value.message and refused.value.hint


def test_what_a_file_is_called_is_shown_harmlessly(machine):
    with pytest.raises(CatcherError) as refused:
        submitted.read_file(machine, "/root/\x1b[2J\nx")
    assert "\x1b" not in refused.value.message and "\n" not in refused.value.message


@pytest.mark.parametrize("name", ["schl\u00fcssel.pem", "it's\x1b[2J\nmine.pem", "x" * 150 + "/" + "y" * 200, "a b"])
def test_a_command_of_a_hint_names_the_file_whatever_it_is_called(machine, name):
    path = "/root/" + name
    machine.put(path, key_der(key("prime256v1")))
    with pytest.raises(CatcherError) as refused:
        submitted.check(machine, *[submitted.read_file(machine, path)] * 2)
    # As the message shows it, and as it is typed again.
    typed = plain(refused.value.hint.split("\n  ")[1])
    words = subprocess.check_output(["bash", "-c", 'printf "%s\\0" ' + typed]).split(b"\0")
    assert words[:5] == [b"openssl", b"pkey", b"-inform", b"DER", b"-in"]
    assert words[5:8] == [path.encode("utf-8"), b"-out", path.encode("utf-8") + b".pem"]


HOSTILE = {
    "deep nesting": b"-----BEGIN PRIVATE KEY-----\n" + b"MIAw" * 60000 + b"\n-----END PRIVATE KEY-----\n",
    "many labels": b"-----BEGIN PRIVATE KEY-----\n" * 9000,
    "many ends": b"-----END PRIVATE KEY-----\n" * 9000,
    "one long line": b"-----BEGIN " + b"A" * 250000 + b"-----",
    "an empty label": b"-----BEGIN -----\nAAAA\n-----END -----\n" * 1000,
    "a huge RSA key": b"-----BEGIN RSA PRIVATE KEY-----\n" + b"A" * 200000 + b"\n-----END RSA PRIVATE KEY-----\n",
    "not base64": b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("name", sorted(HOSTILE))
@pytest.mark.parametrize("place", ["key", "certificate"])
def test_hostile_files_cost_little(machine, files, name, place):
    data = HOSTILE[name]
    if place == "certificate":
        data = data.replace(b"RSA PRIVATE KEY", b"CERTIFICATE").replace(b"PRIVATE KEY", b"CERTIFICATE")
    k, c = self_signed("prime256v1")
    begin = time.process_time()
    with pytest.raises(CatcherError) as refused:
        submitted.check(machine, *files(*((data, c) if place == "key" else (k, data))))
    assert time.process_time() - begin < 2
    assert len(refused.value.message) < 300 and "\n" not in refused.value.message


def test_a_thousand_certificates_cost_little(machine, files):
    k, c = self_signed("prime256v1")
    begin = time.process_time()
    with pytest.raises(CatcherError):
        submitted.check(machine, *files(k, c * (256 * 1024 // len(c))))
    assert time.process_time() - begin < 5


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names,wanted,refused", [
    (dict(dns=("tke1.example.com",)), [], None),
    (dict(common_name="x", dns=("tke1",)), [], None),
    (dict(common_name="x", dns=("TKE1.EXAMPLE.COM",)), [], None),
    (dict(common_name="tke1", dns=()), [], None),
    (dict(common_name="192.0.2.10", dns=()), [], None),
    (dict(common_name="x", dns=(), addresses=("192.0.2.10",)), [], None),
    (dict(common_name="x", dns=("*.example.com",)), [], None),
    (dict(common_name="x", dns=("service.example.com",)), ["service.example.com"], None),
    (dict(common_name="x", dns=("service.example.com",)), [], "is not for this host"),
    (dict(common_name="x", dns=("*.com",)), [], "is not for this host"),
    (dict(common_name="x", dns=(), addresses=("192.0.2.11",)), [], "is not for this host"),
    (dict(dns=("tke1.example.com",)), ["tke1.example.com", "tke2.example.com"], "does not name tke2.example.com"),
    (dict(dns=("tke1.example.com",)), ["192.0.2.10"], "does not name 192.0.2.10"),
])
def test_names(machine, files, names, wanted, refused):
    k = key("prime256v1")
    given = submitted.check(machine, *files(k, issue(k, **names)))
    if refused is None:
        submitted.require_names(machine, given.chain[0], wanted, "catcherctl cert install k c")
        return
    with pytest.raises(CatcherError) as caught:
        submitted.require_names(machine, given.chain[0], wanted, "catcherctl cert install k c")
    assert refused in caught.value.message
    assert "--name" in caught.value.hint
