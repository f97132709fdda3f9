"""The judge of pairs says what OpenSSL says, with the exact reason, and says the same to every caller."""

import base64
import importlib.util
import os
import ssl
import subprocess
import sys
import sysconfig
import time

import pytest
from cryptography import x509
from cryptography.hazmat.backends import default_backend
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import ExtendedKeyUsageOID

from catcher_install import facts, openssl, pair, paths, plan, stamp, start, transition
from catcher_install.admin import cert_install, installed_pair, status
from catcher_install.cert import check, keys, submitted
from catcher_install.cert import pem as reader
from catcher_install.cert import x509 as library_x509
from catcher_install.errors import CatcherError
from catcher_install.messages import text
from tests.unit import authority, pem
from tests.unit.authority import key_usage
from tests.unit.cert.test_check import FORMS
from tests.unit.support import TREE, Asked, judged, own_elf_header

MADE: dict = {}


def key(kind):
    if kind not in MADE:
        MADE[kind] = pem.key_of(kind)
    return MADE[kind]


def critical(value):
    return value, True


# An openssl.cnf with a setting for every connection.
ALL_OF_TLS = "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = default\n[default]\n%s\n"
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x05\x00")
CA = [critical(x509.BasicConstraints(ca=True, path_length=None)), critical(key_usage("key_cert_sign", "crl_sign"))]
SERVER = [critical(x509.BasicConstraints(ca=False, path_length=None)), critical(key_usage("digital_signature"))]


def build(name, public, issuer, signer, extensions, digest=hashes.SHA256, first=-1, last=90):
    """A certificate, PEM. public, signer: PEM keys. issuer: name. extensions: (value, critical). first, last: days."""
    return authority.pem_of(authority.build(public, name, signer, issuer, extensions=extensions, digest=digest,
                                            first=first * authority.DAY, last=last * authority.DAY))


NAMED = [(x509.SubjectAlternativeName([x509.DNSName("tke1.example.com")]), False)]


def lone(extensions=(), kind="prime256v1", **more):
    """A self-signed pair."""
    return key(kind), build("tke1.example.com", key(kind), "tke1.example.com", key(kind), NAMED + list(extensions),
                            **more)


def chain(extensions=SERVER, middle=CA, root=CA, kind="prime256v1", digest=hashes.SHA256, middle_digest=hashes.SHA256,
          last=90, below=()):
    """A pair by a CA by a root. below: extensions of one more CA between the first two."""
    ca, top = key("secp384r1"), key("rsa-2048")
    issuer, signer = "CA", ca
    more = b""
    if below:
        issuer, signer = "CA below", key("secp521r1")
        more = build("CA below", signer, "CA", ca, below)
    return key(kind), b"".join((
        build("tke1.example.com", key(kind), issuer, signer, NAMED + list(extensions), digest), more,
        build("CA", ca, "Root", top, middle, middle_digest, last=last, first=-100),
        build("Root", top, "Root", top, root, last=3000),
    ))


def spelled(issuer):
    """A pair by a root whose name is spelled in this way in the server's certificate."""
    root = key("secp384r1")
    return key("prime256v1"), b"".join((
        build("tke1.example.com", key("prime256v1"), issuer, root, NAMED + SERVER),
        build("Test Root", root, "Test Root", root, CA, last=3000)))


def nameless(issuer, names):
    """A server's certificate without a subject, by a CA of this name, or by itself."""
    own, nobody = key("prime256v1"), x509.Name([])
    if not issuer:
        return own, build(nobody, own, nobody, own, names)
    return own, build(nobody, own, issuer, key("secp384r1"), names) + build(
        issuer, key("secp384r1"), issuer, key("secp384r1"), CA)


def rsa_3():
    """An RSA key with the public exponent 3."""
    if "rsa 3" not in MADE:
        MADE["rsa 3"] = rsa.generate_private_key(3, 2048, default_backend())
    return MADE["rsa 3"]


def exponent_1():
    """An RSA pair that OpenSSL loads and uses for a handshake, although anybody can make a signature of its key."""
    made = rsa_3().private_numbers()
    numbers = (0, made.public_numbers.n, 1, 1, made.p, made.q, 1, 1, made.iqmp)
    whole = der(0x30, b"".join(der(2, one.to_bytes(one.bit_length() // 8 + 1, "big")) for one in numbers))
    own = b"-----BEGIN RSA PRIVATE KEY-----\n" + base64.encodebytes(whole) + b"-----END RSA PRIVATE KEY-----\n"
    return own, authority.with_exponent_1(build("tke1.example.com", rsa_3(), "tke1.example.com", rsa_3(), NAMED))


def root_with(public):
    """A pair by a root with this certificate, which has the name Root and a key of P-384."""
    own = key("prime256v1")
    return own, build("tke1.example.com", own, "Root", key("secp384r1"), NAMED + SERVER) + public


def root_without_curve():
    """A CA's certificate that describes its curve instead of naming it."""
    own = pem.openssl(["ec", "-param_enc", "explicit"], key("secp384r1"))
    return pem.openssl(["req", "-new", "-x509", "-key", "/dev/stdin", "-days", "30", "-subj", "/CN=Root", "-config",
                        os.path.join(pem.DATA, "req.cnf"), "-addext", "basicConstraints=critical,CA:TRUE"], own)


def compressed():
    """A self-signed pair whose public key is written as one coordinate and a sign."""
    own = pem.openssl(["ec", "-conv_form", "compressed"], key("prime256v1"))
    return own, pem.openssl(["req", "-new", "-x509", "-key", "/dev/stdin", "-days", "30", "-subj",
                             "/CN=tke1.example.com", "-config", os.path.join(pem.DATA, "req.cnf")], own)


ANY_POLICY = "2.5.29.32.0"


def policy(oid):
    """Return an extension that names a policy."""
    return x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier(oid), None)]), False


def by_rsa(digest):
    """A pair by a CA with an RSA key, signed with a digest that is no longer accepted."""
    return key("prime256v1"), build("tke1.example.com", key("prime256v1"), "Root", key("rsa-2048"), NAMED + SERVER,
                                    digest) + build("Root", key("rsa-2048"), "Root", key("rsa-2048"), CA)


def scalar(before):
    """A P-256 key in PKCS#8 whose private number has more bytes than the curve."""
    from cryptography.hazmat.primitives.asymmetric import ec

    own = pem.load(key("prime256v1"))
    assert isinstance(own.curve, ec.SECP256R1)
    number = before + own.private_numbers().private_value.to_bytes(32, "big")
    inner = der(0x30, der(2, b"\1") + der(4, number))
    algorithm = der(0x30, bytes.fromhex("06072a8648ce3d0201") + bytes.fromhex("06082a8648ce3d030107"))
    whole = der(0x30, der(2, b"\0") + algorithm + der(4, inner))
    return (b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(whole) + b"-----END PRIVATE KEY-----\n",
            lone(SERVER)[1])


def der(tag, content):
    size = len(content)
    count = (size.bit_length() + 7) // 8
    length = bytes([size]) if size < 128 else bytes([0x80 + count]) + size.to_bytes(count, "big")
    return bytes([tag]) + length + content


VERSION_1, NOBODY = der(0xA0, der(2, b"\0")), der(0x30, der(0x31, b""))
ECDSA_SHA384 = der(0x30, bytes.fromhex("06082a8648ce3d040303"))


def with_fields(extensions, fields):
    """A self-signed pair. fields: {number of a field in what is signed: the field instead}; the signature is void then.
    """
    own, crt = lone(extensions)
    signed, *others = library_x509._elements(library_x509._one(reader.der(crt), 0x30))
    every = [whole for _, _, whole in library_x509._elements(signed[1])]
    for number, field in fields.items():
        every[number] = field
    whole = der(0x30, der(0x30, b"".join(every)) + b"".join(whole for _, _, whole in others))
    return own, ssl.DER_cert_to_PEM_cert(whole).encode("ascii")


def changed_scalar():
    """A key whose public part is still that of the certificate."""
    data, crt = lone(SERVER)
    lines = data.split(b"\n")
    lines[1] = lines[1][:48] + (b"B" if lines[1][48:49] == b"A" else b"A") + lines[1][49:]
    return b"\n".join(lines), crt


def crowded(count):
    names = [x509.DNSName("host%05d.example.com" % n) for n in range(count)]
    own = key("prime256v1")
    return own, build("tke1.example.com", own, "tke1.example.com", own, SERVER + [
        (x509.SubjectAlternativeName([x509.DNSName("tke1.example.com")] + names), False)])


def with_cr(which):
    files = list(chain())
    files[which] = files[which].replace(b"\n", b"\r")
    return tuple(files)


REFUSED = {
    "a key for agreement only": (lambda: lone([critical(key_usage("key_agreement"))]), "has no digitalSignature"),
    "a key for encipherment only": (
        lambda: lone([critical(key_usage("key_encipherment"))], kind="rsa-2048"), "has no digitalSignature"),
    "a key for nothing": (lambda: lone([(key_usage("crl_sign"), False)]), "has no digitalSignature"),
    "RSA-PSS": (lambda: (key("rsa-pss"), pem.certificate_for(key("rsa-pss"))), "a key of the type RSA-PSS"),
    "an RSA key with the exponent 1": (exponent_1, "catcher.key is an RSA key with the public exponent 1"),
    "for clients": (lambda: lone([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)]), "serverAuth"),
    "for any purpose": (
        lambda: lone([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)]),
        "extended key usage has no serverAuth"),
    "for any purpose, by a CA": (
        lambda: chain(SERVER + [critical(x509.ExtendedKeyUsage([
            ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]))]),
        "extended key usage has no serverAuth"),
    "an unknown critical extension": (lambda: lone([critical(UNKNOWN)]), "unhandled critical extension"),
    "the same by a CA": (lambda: chain(SERVER + [critical(UNKNOWN)]), "unhandled critical extension"),
    "an extension that cannot be read": (lambda: lone([(x509.UnrecognizedExtension(
        x509.ObjectIdentifier("2.5.29.31"), b"\x05\x00"), False)]), "its extension 2.5.29.31 cannot be read"),
    "larger than a handshake carries": (lambda: crowded(1700), "larger than a handshake carries"),
    "MD5": (lambda: by_rsa(hashes.MD5), "MD5"),
    "CR in the certificate": (lambda: with_cr(1), "catcher.crt has line ends that OpenSSL does not read (CR)"),
    "CR in the key": (lambda: with_cr(0), "catcher.key has line ends that OpenSSL does not read (CR)"),
    "a scalar of 40 bytes": (lambda: scalar(b"\1" + bytes(7)), "catcher.key"),
    "a key that was changed": (changed_scalar, "catcher.key is damaged"),
}

BROKEN = {
    "a compressed key": (compressed, "certificate 1 has its key as a compressed point, so that Java does not read it"),
    "extensions in version 1": (lambda: with_fields(SERVER, {0: VERSION_1}),
                                "certificate 1 has extensions and is not of version 3, so that Java does not read it"),
    "another algorithm in what is signed": (
        lambda: with_fields(SERVER, {2: ECDSA_SHA384}),
        "certificate 1 has two signature algorithms, so that Java does not read it"),
    "an issuer without content": (
        lambda: with_fields(SERVER, {3: NOBODY, 5: NOBODY}), "certificate 1 has no issuer, so that Java does not read"),
    "a CA on a curve without a name": (
        lambda: root_with(root_without_curve()),
        "certificate 2 has a key on a curve without a name, so that Java does not read it"),
    "a CA with the exponent 1": (
        lambda: root_with(authority.with_exponent_1(build("Root", rsa_3(), "Root", rsa_3(), CA))),
        "certificate 2 has an RSA key with the public exponent 1, so that Java does not read it"),
    "nobody": (lambda: nameless("", NAMED), "certificate 1 has no issuer, so that Java does not read it"),
    "no subject": (lambda: nameless("Root", NAMED), "certificate 1 has no subject, and its names are not marked as"),
    "a CA that may not sign": (
        lambda: chain(middle=[CA[0], critical(key_usage("digital_signature"))]), "no keyCertSign"),
    "no CA": (lambda: chain(middle=[critical(x509.BasicConstraints(ca=False, path_length=None))]), "is not a CA"),
    "a path that is too long": (
        lambda: chain(middle=[critical(x509.BasicConstraints(ca=True, path_length=0)), CA[1]], below=CA), "pathLen"),
    "the same at the root": (
        lambda: chain(root=[critical(x509.BasicConstraints(ca=True, path_length=0)), CA[1]]), "pathLen"),
    "names that the CA may not give": (
        lambda: chain(middle=CA + [critical(x509.NameConstraints([x509.DNSName("other.example")], None))]),
        "permitted subtree violation"),
    "names that the CA must not give": (
        lambda: chain(middle=CA + [critical(x509.NameConstraints(None, [x509.DNSName("example.com")]))]),
        "excluded subtree violation"),
    "a CA that demands a policy": (
        lambda: chain(middle=CA + [critical(x509.PolicyConstraints(0, None))]), "demands a policy"),
    "the same, without a mark as critical": (
        lambda: chain(middle=CA + [(x509.PolicyConstraints(0, None), False)]), "demands a policy"),
    "a server that demands a policy": (
        lambda: chain(SERVER + [critical(x509.PolicyConstraints(0, None))]), "certificate 1 demands a policy"),
    "a CA that demands a policy of the last ones": (
        lambda: chain(middle=CA + [critical(x509.PolicyConstraints(1, None))], below=CA),
        "certificate 3 demands a policy"),
    "a CA between without a policy": (
        lambda: chain(SERVER + [policy("1.2.3.4")],
                      middle=CA + [critical(x509.PolicyConstraints(0, None)), policy("1.2.3.4")], below=CA),
        "certificate 3 demands a policy"),
    "a CA that demands a policy, its root being elsewhere": (
        lambda: first_of(chain(middle=CA + [critical(x509.PolicyConstraints(0, None))]), 2), "demands a policy"),
    "a CA that demands a policy and gives another": (
        lambda: chain(SERVER + [policy("1.2.3.5")],
                      middle=CA + [critical(x509.PolicyConstraints(0, None)), policy("1.2.3.4")]),
        "demands a policy"),
    "a CA with an unknown critical extension": (
        lambda: chain(middle=CA + [critical(UNKNOWN)]), "unhandled critical extension"),
    "a CA for clients": (
        lambda: chain(middle=CA + [(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)]), "purpose"),
    "somebody else's CA": (
        lambda: (key("prime256v1"), chain()[1].split(b"-----END")[0] + b"-----END CERTIFICATE-----\n"
                 + lone(CA, kind="secp384r1")[1]),
        "was not issued by"),
    "a CA of that name with another key": (
        lambda: (key("prime256v1"), build("tke1.example.com", key("prime256v1"), "CA", key("secp384r1"), SERVER)
                 + build("CA", key("secp521r1"), "CA", key("secp521r1"), CA)), "not signed by the key of the next one"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_pair_that_cannot_serve(name):
    make, why = REFUSED[name]
    verdict = check.check(Asked(), *make())
    assert says(why, verdict.problem) and verdict.unchecked == "", verdict
    assert len(verdict.problem) < 200 and all(" " <= c <= "~" for c in verdict.problem)


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_chain_that_a_client_refuses(name):
    make, why = BROKEN[name]
    verdict = check.check(Asked(), *make())
    assert verdict.problem == "" and says(why, verdict.chain), verdict


def test_sha_1_is_seen_wherever_it_is():
    """The loader reports it if the policy refuses SHA-1, else the chain's check. A root's own signature is ignored."""
    verdict = check.check(Asked(), *by_rsa(hashes.SHA1))
    assert "SHA-1" in verdict.problem + verdict.chain
    verdict = check.check(Asked(), *chain(middle_digest=hashes.SHA1))
    assert "SHA-1" in verdict.problem + verdict.chain or "too weak" in verdict.problem
    own = key("rsa-2048")
    assert check.check(Asked(), own, pem.certificate_for(own, "-sha1")).chain == ""


GOOD = {
    "a policy that the root does not name, and any below": lambda: chain(
        SERVER + [policy("1.2.3.4")], middle=CA + [critical(x509.PolicyConstraints(0, None)), policy(ANY_POLICY)]),
    "a CA that demands the policy that it gives": lambda: chain(
        SERVER + [policy("1.2.3.4")], middle=CA + [critical(x509.PolicyConstraints(0, None)), policy("1.2.3.4")]),
    "a CA that demands a policy of later ones": lambda: chain(
        middle=CA + [critical(x509.PolicyConstraints(5, None))]),
    # A client uses only the name and the key of the trust anchor (RFC 5280, 6.1.1).
    "a root that demands a policy": lambda: chain(root=CA + [critical(x509.PolicyConstraints(0, None))]),
    "a CA that forbids other names of policies": lambda: chain(
        middle=CA + [critical(x509.PolicyConstraints(None, 0)), critical(x509.InhibitAnyPolicy(0))]),
    "self-signed": lambda: lone(SERVER),
    "no subject, and critical names": lambda: nameless("Root", [critical(NAMED[0][0])]),
    "self-signed, a CA": lambda: lone([CA[0]]),
    "a chain": chain,
    "four of a chain": lambda: chain(below=CA),
    # Names are compared without regard to case, blanks and the type of string (RFC 5280, 7.1).
    "an issuer that is spelled otherwise": lambda: spelled("test  ROOT"),
    "an issuer in another type of string": lambda: spelled(x509.Name([
        x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "Test Root", _ASN1Type.PrintableString)])),
    "RSA 1024": lambda: lone(SERVER, kind="rsa-1024"),
    "RSA 1024 by a CA": lambda: chain(kind="rsa-1024"),
    "P-521": lambda: lone(SERVER, kind="secp521r1"),
    "expired": lambda: lone(SERVER, first=-20, last=-10),
    "not yet valid": lambda: lone(SERVER, first=10, last=20),
    "crowded": lambda: crowded(900),
    # The number is right, with zeros before it: OpenSSL takes that, and cryptography 40 panics.
    "a padded scalar": lambda: scalar(bytes(8)),
}


@pytest.mark.parametrize("name", sorted(GOOD))
def test_a_pair_that_serves_has_no_problem(name):
    verdict = check.check(Asked(), *GOOD[name]())
    assert (verdict.problem, verdict.chain, verdict.unchecked) == ("", "", "")


@pytest.mark.parametrize("last", [-2, 10])
def test_the_issuer_that_ends_first_is_known(last):
    verdict = check.check(Asked(), *chain(last=last))
    assert (verdict.problem, verdict.chain) == ("", "")
    assert verdict.issuer == "certificate 2 of the chain (CN=CA)"
    assert abs(verdict.issuer_not_after - time.time() - last * 86400) < 60


# -- everybody says the same -------------------------------------------------------------------------------------------


def in_place(machine, key_pem, crt):
    machine.put(paths.CONF, b"TLS_ON\n")
    machine.put(paths.KEY, key_pem, 0o600)
    machine.put(paths.CERTIFICATE, crt)
    machine.node = "tke1.example.com"


def says(why, text):
    """Whether a text contains this reason. Python 3.6 does not report why a certificate does not verify."""
    return why in text or (sys.version_info < (3, 7) and "certificate verify failed" in text)


def what_is_said(machine):
    """Return {program: its findings about the pair}."""
    seen = facts.collect(machine)
    decision = start.launch_decision(seen)
    told = {
        "plan": plan.plan(seen, transition.of(transition.APPLY)).findings,
        "start": decision.findings,
        "cert check": installed_pair.check(machine, [])[1],
    }
    said = {who: sorted(text(one) for one in found if one["id"].startswith("pair-")) for who, found in told.items()}
    said["status"] = sorted(one["message"] for one in status.collect_status(machine)["findings"]
                            if one["id"].startswith("pair-"))
    return said, decision.mode


CASES = dict(REFUSED, **BROKEN)


@pytest.mark.parametrize("name", sorted(CASES))
def test_everybody_says_the_same(machine, name):
    make, why = CASES[name]
    key_pem, crt = make()
    in_place(machine, key_pem, crt)
    said, mode = what_is_said(machine)
    assert len({tuple(lines) for lines in said.values()}) == 1, said
    assert any(says(why, line) for line in said["start"])
    assert (mode is None) == (name in REFUSED)
    machine.put("/root/my.key", key_pem, 0o600)
    machine.put("/root/my.crt", crt)
    if not name.startswith("CR "):
        # The line ends are written as LF.
        with pytest.raises(CatcherError) as refused:
            cert_install.install(machine, ["/root/my.key", "/root/my.crt"], [], True)
        assert says(why.replace("catcher.key", "my.key").replace("catcher.crt", "my.crt"), refused.value.message)


@pytest.mark.parametrize("last,finding", [(-2, "expired on"), (10, "expires on")])
def test_an_issuer_that_ends_is_said_by_all_and_stops_nobody(machine, last, finding):
    in_place(machine, *chain(last=last))
    said, mode = what_is_said(machine)
    assert mode == "tls"
    assert len({tuple(lines) for lines in said.values()}) == 1, said
    assert "certificate 2 of the chain (CN=CA) " + finding in said["status"][0]


@pytest.mark.parametrize("directory", ["/root/pki", "/home/pki", "/run/user/0", "/tmp", "/var/tmp/x"])
@pytest.mark.parametrize("what", [paths.KEY, paths.CERTIFICATE])
def test_a_pair_where_the_service_does_not_look(machine, directory, what):
    in_place(machine, *lone(SERVER))
    os.makedirs(machine.on_disk(directory), exist_ok=True)
    os.rename(machine.on_disk(what), machine.on_disk(directory + "/file"))
    machine.put_link(what, directory + "/file")
    said, mode = what_is_said(machine)
    assert mode is None
    assert len({tuple(lines) for lines in said.values()}) == 1, said
    name = os.path.basename(what)
    assert "%s leads to %s/file, and the service sees nothing below /root" % (name, directory) in said["start"][0]


# What systemctl show says of a unit with a drop-in, and where the pair can then be.
HIDES = "ProtectHome=yes\nPrivateTmp=yes\nTemporaryFileSystem=/run:ro\n"
BOUND = HIDES + "BindReadOnlyPaths=-/run/systemd/journal:/run/systemd/journal:rbind /srv/tls:/root/tls:rbind\n"
SHOWN = [
    ("/root/tls", HIDES, False), ("/root/tls", HIDES.replace("ProtectHome=yes", "ProtectHome=no"), True),
    ("/home/tls", HIDES.replace("ProtectHome=yes", "ProtectHome=read-only"), True),
    ("/root/tls", HIDES.replace("ProtectHome=yes", "ProtectHome=tmpfs"), False),
    ("/tmp/tls", HIDES.replace("ProtectHome=yes", "ProtectHome=no"), False),
    ("/var/tmp/tls", HIDES.replace("PrivateTmp=yes", "PrivateTmp=no"), True),
    ("/run/tls", HIDES, False), ("/run/tls", HIDES.replace("/run:ro", ""), True),
    ("/run/user/0", HIDES.replace("/run:ro", ""), False), ("/run/systemd/journal", BOUND, True),
    ("/root/tls", BOUND, True), ("/root/tls2", BOUND, False), ("/root/tls", "", False),
]


@pytest.mark.parametrize("directory,said,seen", SHOWN)
def test_a_pair_where_a_drop_in_lets_the_service_look(machine, directory, said, seen):
    in_place(machine, *lone(SERVER))
    os.makedirs(machine.on_disk(directory), exist_ok=True)
    os.rename(machine.on_disk(paths.KEY), machine.on_disk(directory + "/file"))
    machine.put_link(paths.KEY, directory + "/file")
    machine.programs["/usr/bin/systemctl"] = (0 if said else 1, said.encode())
    machine.put("/usr/bin/systemctl", b"", 0o755)
    assert (what_is_said(machine)[1] == "tls") == seen


def test_a_pair_that_is_a_link_into_a_visible_place(machine):
    in_place(machine, *lone(SERVER))
    os.makedirs(machine.on_disk("/etc/pki"))
    os.rename(machine.on_disk(paths.KEY), machine.on_disk("/etc/pki/file"))
    machine.put_link(paths.KEY, "/etc/pki/file")
    assert what_is_said(machine)[1] == "tls"


# -- what is remembered ------------------------------------------------------------------------------------------------


def count(machine, monkeypatch):
    """Count the runs of openssl."""
    asked = []
    real = check._ask_openssl

    def ask(*arguments):
        asked.append(arguments)
        return real(*arguments)

    monkeypatch.setattr(check, "_ask_openssl", ask)
    return asked


def settle(machine):
    from catcher_install import apply

    for _ in range(2):
        apply.converge(machine, transition.of(transition.START))
    return stamp.parse(machine.get(paths.STAMP)).checked_pair


def test_a_verdict_is_remembered_while_nothing_changes(machine, monkeypatch):
    in_place(machine, *lone(SERVER))
    assert settle(machine)["problem"] == ""
    asked = count(machine, monkeypatch)
    assert facts.collect(machine).verdict["problem"] == ""
    assert asked == []


def test_other_bytes_of_the_same_size_and_time_are_judged_again(machine):
    key_pem, crt = lone(SERVER)
    in_place(machine, key_pem, crt)
    settle(machine)
    real = machine.on_disk(paths.KEY)
    before = os.stat(real)
    other = pem.key_of("prime256v1")
    assert len(other) == len(key_pem)
    with open(real, "r+b") as stream:
        stream.write(other)
    os.utime(real, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(real)
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert what_is_said(machine)[1] is None


def test_bytes_that_move_from_one_file_into_the_other_are_judged_again(machine):
    """The fingerprint stays the same, because it is that of both files joined."""
    key_pem, crt = chain()
    in_place(machine, key_pem, crt)
    settle(machine)
    end = b"-----END CERTIFICATE-----\n"
    first = crt.split(end)[0] + end
    machine.put(paths.KEY, key_pem + first, 0o600)
    machine.put(paths.CERTIFICATE, crt[len(first):])
    assert pair.fingerprint(key_pem + first, crt[len(first):]) == pair.fingerprint(key_pem, crt)
    assert what_is_said(machine)[1] is None


@pytest.mark.parametrize("path", openssl.POLICY_FILES + (paths.OPENSSL,))
def test_another_policy_is_asked(machine, monkeypatch, path):
    in_place(machine, *lone(SERVER))
    machine.put("/usr/lib64/libcrypto.so.3", own_elf_header())
    settle(machine)
    asked = count(machine, monkeypatch)
    machine.put(path, b"changed", 0o755)
    facts.collect(machine)
    assert len(asked) == 1


def test_a_policy_that_nobody_can_look_at_is_asked_again(machine, monkeypatch, out_of_sight):
    in_place(machine, *lone(SERVER))
    out_of_sight(openssl.POLICY_FILES[0])
    settle(machine)
    asked = count(machine, monkeypatch)
    facts.collect(machine)
    assert len(asked) == 1


@pytest.mark.parametrize("answer", [
    TimeoutError(110, "no answer within 20 seconds"), OSError(12, "Cannot allocate memory"), (137, b""), (0, b""),
    (127, b"load\t\n"), (0, b"ssl\tNo module named _ssl\n"),
], ids=["hangs", "no memory", "killed", "says nothing", "cannot run", "no ssl"])
@pytest.mark.parametrize("remembered", [True, False])
def test_an_openssl_that_cannot_be_asked_stops_nobody(machine, monkeypatch, answer, remembered):
    in_place(machine, *lone(SERVER))
    if remembered:
        settle(machine)
        machine.put(openssl.POLICY_FILES[0], b"changed")

    def run(argv, timeout, **more):
        if isinstance(answer, OSError):
            raise answer
        return answer

    real = machine.run
    monkeypatch.setattr(machine, "run", lambda argv, timeout, **more: (
        run if argv[-1] == check.JUDGE else real)(argv, timeout, **more))
    seen = facts.collect(machine)
    decision = start.launch_decision(seen)
    assert decision.mode == "tls"
    assert [one["id"] for one in decision.findings] == ([] if remembered else ["pair-unchecked"])
    machine.put("/root/my.key", lone(SERVER)[0], 0o600)
    machine.put("/root/my.crt", lone(SERVER)[1])
    with pytest.raises(CatcherError) as refused:
        submitted.check(machine, submitted.read_file(machine, "/root/my.key"),
                        submitted.read_file(machine, "/root/my.crt"))
    assert "cannot be tried" in refused.value.message


# -- the policy of the system ------------------------------------------------------------------------------------------

POLICIES = {
    "a level": ("CipherString = DEFAULT:@SECLEVEL=4", "prime256v1", "security policy of this system's OpenSSL"),
    "TLS 1.3 only": ("MinProtocol = TLSv1.3", "prime256v1", ""),
    "TLS 1.2 only": ("MaxProtocol = TLSv1.2", "prime256v1", ""),
    "nothing new enough": ("MaxProtocol = TLSv1.1", "prime256v1", "allows no TLS 1.2 or newer"),
    "no curve of that name": ("SignatureAlgorithms = RSA-PSS+SHA256\nClientSignatureAlgorithms = RSA-PSS+SHA256",
                              "prime256v1", "handshake works"),
    "no signature of a small key": ("SignatureAlgorithms = ECDSA+SHA256\nClientSignatureAlgorithms = ECDSA+SHA256",
                                    "rsa-1024", "policy of this system's OpenSSL refuses an RSA key of 1024 bits"),
}
# Settings of a Python that was built with its own defaults.
OVERRIDDEN = ("CipherString = DEFAULT:@SECLEVEL=4", "MinProtocol = TLSv1.3")


def said_by_python(setting):
    """A mark that skips a setting that this Python overrides.

    Those of the distributions do not: they are built with OpenSSL's defaults, and CI runs one of them.
    """
    theirs = "--with-ssl-default-suites=openssl" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
    return pytest.mark.skipif(sys.version_info >= (3, 10) and not theirs and setting in OVERRIDDEN,
                              reason="this Python sets %s itself" % setting.split(" =")[0])


class UnderPolicy:
    """The part of a host that judging needs, with its own openssl.cnf."""

    def __init__(self, path):
        self.path = path

    def run(self, argv, timeout, stdin=b"", only_output=False):
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"OPENSSL_CONF": self.path})
        output = child.communicate(stdin)[0]
        return child.returncode, output


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=said_by_python(POLICIES[name][0])) for name in sorted(POLICIES)])
def test_the_policy_of_the_system_holds(tmp_path, name):
    setting, kind, why = POLICIES[name]
    (tmp_path / "openssl.cnf").write_text(ALL_OF_TLS % setting)
    verdict = check.check(UnderPolicy(str(tmp_path / "openssl.cnf")), *lone(SERVER, kind=kind))
    assert says(why, verdict.problem) and bool(why) == bool(verdict.problem), verdict


def first_of(pair, count):
    """A pair with so many of its certificates."""
    end = b"-----END CERTIFICATE-----\n"
    return pair[0], end.join(pair[1].split(end)[:count]) + end


# A pair signed with a digest somewhere -> the number of the certificate that is
SIGNED = {
    "alone": (lambda digest: first_of(by_rsa(digest), 1), 1),
    "with its CA": (by_rsa, 1),
    "an intermediate in the middle": (lambda digest: chain(middle_digest=digest), 2),
    "an intermediate at the end": (lambda digest: first_of(chain(middle_digest=digest), 2), 2),
    "its own root": (lambda digest: (key("rsa-2048"), pem.certificate_for(key("rsa-2048"), "-" + digest.name)), 0),
}


@said_by_python("CipherString = DEFAULT:@SECLEVEL=4")
@pytest.mark.parametrize("where", sorted(SIGNED))
@pytest.mark.parametrize("digest,name", [(hashes.SHA1, "SHA-1"), (hashes.MD5, "MD5"), (hashes.SHA256, "")])
def test_a_digest_that_no_longer_counts_is_seen_where_openssl_does_not_mind(tmp_path, digest, name, where):
    """On SLES 15, and with the policy LEGACY, the loader does not object, but clients elsewhere still refuse it."""
    (tmp_path / "openssl.cnf").write_text(ALL_OF_TLS % "CipherString = DEFAULT:@SECLEVEL=0")
    make, number = SIGNED[where]
    verdict = check.check(UnderPolicy(str(tmp_path / "openssl.cnf")), *make(digest))
    assert (verdict.problem, verdict.unchecked) == ("", "")
    said = "certificate %d is signed with %s, which clients no longer accept" % (number, name)
    assert verdict.chain == (said if name and number else "")


@pytest.mark.parametrize("digest", [hashes.SHA1, hashes.MD5])
def test_a_small_key_does_not_hide_a_digest_that_no_longer_counts(digest):
    """The judge lowers the security level for such a key."""
    own = key("rsa-1024")
    crt = build("tke1.example.com", own, "Root", key("rsa-2048"), NAMED + SERVER, digest)
    verdict = check.check(Asked(), own, crt)
    assert verdict.problem + verdict.chain


@pytest.mark.parametrize("setting,steps", [
    pytest.param("MinProtocol = TLSv1.3", ["TLSv1_3"], marks=said_by_python("MinProtocol = TLSv1.3")),
    ("MaxProtocol = TLSv1.2", ["TLSv1_2"]), ("", ["TLSv1_2", "TLSv1_3"]),
    ("MinProtocol = TLSv1", ["TLSv1_2", "TLSv1_3"]),
])
def test_a_version_that_the_policy_forbids_is_not_spoken(tmp_path, setting, steps):
    (tmp_path / "openssl.cnf").write_text(ALL_OF_TLS % setting)
    key_pem, crt = lone(SERVER)
    answers = check._ask_openssl(UnderPolicy(str(tmp_path / "openssl.cnf")), key_pem, crt, [crt], False)
    assert answers == dict.fromkeys(["load"] + steps + ["leaf"], "")


@pytest.mark.parametrize("text", [
    "openssl_conf = all\n[all]\nalg_section = algorithms\n[algorithms]\ndefault_properties = fips=yes\n",
    "openssl_conf = all\n[all]\nproviders = p\n[p]\nfips = f\n[f]\nactivate = 1\nmodule = /nowhere/fips.so\n",
], ids=["fips=yes without its provider", "a provider that is not there"])
@pytest.mark.skipif(ssl.OPENSSL_VERSION_INFO < (3,), reason="OpenSSL before 3 has no providers")
def test_an_openssl_that_can_do_nothing_is_said_in_one_line(tmp_path, text):
    (tmp_path / "openssl.cnf").write_text(text)
    verdict = check.check(UnderPolicy(str(tmp_path / "openssl.cnf")), *lone(SERVER))
    assert "allows no TLS 1.2 or newer" in verdict.problem


def test_the_judge_sees_nothing_of_the_callers_settings(tmp_path, monkeypatch):
    """host.run() leaves the system's own openssl.cnf to OpenSSL, and drops what the caller's environment names."""
    from catcher_install.host import CHILD_ENVIRONMENT

    assert not any(name.startswith(("OPENSSL", "SSL_", "PYTHON", "LD_")) for name in CHILD_ENVIRONMENT)


# -- the reference catcher ---------------------------------------------------------------------------------------------

REFERENCE = os.path.join(TREE, "payload", "reference", "usr", "lib", "csulcca")


def reference(name):
    sys.path.insert(0, REFERENCE)
    try:
        return importlib.import_module("reference_catcher." + name)
    finally:
        sys.path.remove(REFERENCE)


def test_the_reference_catcher_has_the_same_table_of_keys():
    theirs = reference("certificate")

    def oid(text):
        first, second, *rest = [int(number) for number in text.split(".")]
        out = []
        for value in [40 * first + second] + rest:
            part = [value & 0x7F]
            while value > 0x7F:
                value >>= 7
                part.append(value & 0x7F | 0x80)
            out += part[::-1]
        return bytes(out)

    assert {oid(number): name for name, _, number in keys.CURVES} == theirs.CURVES
    assert {oid(number): name for number, name in keys.OTHER_CURVES.items()} == theirs.OTHER_CURVES
    assert {oid(number): name for number, name in library_x509.OTHER_KEYS.items()} == theirs.OTHERS
    for name in ("RSA_SMALLEST", "RSA_LARGEST", "RSA_RECOMMENDED"):
        assert getattr(theirs, name) == getattr(keys, name)
    assert reference("pair").SUPPORTED_KEYS.startswith("use %s, " % keys.SUPPORTED)
    crt = base64.b64decode(b"".join(lone(SERVER)[1].split(b"\n")[1:-2]))
    assert theirs.public_key(crt) == ("prime256v1", None)


BORDERS = [keys.RSA_SMALLEST - 1, keys.RSA_SMALLEST, keys.RSA_LARGEST, keys.RSA_LARGEST + 1]
CURVES = [name for name, _, _ in keys.CURVES]


@pytest.mark.parametrize("kind", CURVES)
def test_each_curve_that_is_supported_does_for_a_handshake(kind):
    assert check.check(Asked(), key(kind), pem.certificate_for(key(kind))).problem == ""


@pytest.mark.parametrize("kind", CURVES + ["rsa-%d" % bits for bits in BORDERS] + [
    "rsa-512", "rsa-8192", "secp256k1", "brainpoolP256r1", "rsa-pss", "ed25519"])
def test_the_reference_catcher_supports_the_same_keys(tmp_path, kind):
    crt = pem.certificate_for(key(kind))
    if kind.startswith("rsa-") and kind[4:].isdigit():
        assert pem.load(key(kind)).key_size == int(kind[4:])
    assert _reference_takes(tmp_path, key(kind), crt) == (check.check(Asked(), key(kind), crt).problem == "")


def _reference_takes(directory, key_pem, crt):
    (directory / "catcher.key").write_bytes(key_pem)
    (directory / "catcher.crt").write_bytes(crt)
    module = reference("pair")
    try:
        one = module.Pair(str(directory))
        one.try_out(one.context())
    except reference("refusal").Refused:
        return False
    return True


@pytest.mark.parametrize("name", sorted(GOOD) + sorted(BROKEN))
def test_what_is_accepted_the_reference_catcher_accepts(tmp_path, name):
    make = GOOD[name] if name in GOOD else BROKEN[name][0]
    assert _reference_takes(tmp_path, *make())


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_form_of_a_good_pair_is_read_by_the_reference_catcher(tmp_path, form):
    """A pair that is called good must not make the start of the catcher fail."""
    assert check.check(Asked(), *FORMS[form]()).problem == ""
    assert _reference_takes(tmp_path, *FORMS[form]())


def test_the_judge_has_the_reference_catchers_context():
    from catcher_install.cert import judge

    assert judge.CIPHERS == reference("pair").CIPHERS
    ours = judge.server_context(ssl, False)
    theirs = reference("pair").Pair.__new__(reference("pair").Pair)
    theirs.name, theirs.bits = "prime256v1", None
    made = theirs._bare_context(ssl)
    assert [one["name"] for one in ours.get_ciphers()] == [one["name"] for one in made.get_ciphers()]
    assert getattr(ours, "minimum_version", None) == getattr(made, "minimum_version", None)


def test_a_killed_judge_says_nothing():
    assert judged([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], b"never asked before")[0] == -9


DEMANDS = sorted(name for name in list(BROKEN) + list(GOOD) if "polic" in name and "elsewhere" not in name)


@pytest.mark.parametrize("name", DEMANDS)
def test_what_is_said_of_policies_is_what_openssl_says_if_it_is_told_to_look(tmp_path, name):
    """OpenSSL accepts only policies that are given to it by name. "any policy" is not one of them."""
    make = BROKEN[name][0] if name in BROKEN else GOOD[name]
    end = b"-----END CERTIFICATE-----\n"
    certificates = [one + end for one in make()[1].split(end)[:-1]]
    for number, one in enumerate(certificates):
        (tmp_path / str(number)).write_bytes(one)
    (tmp_path / "between").write_bytes(b"".join(certificates[1:-1]))
    done = subprocess.run(
        ["openssl", "verify", "-policy_check", "-policy", "1.2.3.4", "-policy", "1.2.3.5", "-CAfile",
         str(tmp_path / str(len(certificates) - 1)), "-untrusted", str(tmp_path / "between"), str(tmp_path / "0")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode == 0) == (name in GOOD), done
