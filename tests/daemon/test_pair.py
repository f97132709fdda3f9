"""Which pairs the catcher accepts, and the TLS connections that it makes with them."""

import errno
import os
import ssl
import subprocess

import pytest
from reference_catcher import refusal as refusal_module
from reference_catcher.pair import Pair
from reference_catcher.refusal import Refused
from reference_catcher.settings import Settings

from catcher_install import host
from tests.unit import pem
from tests.unit.authority import der, with_exponent_1

from .pairs import certificate, key_of, pair, rsa_of_any_size
from .peers import connect_tls, tls_context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["RSA 1024", "RSA 2047", "RSA 2048", "RSA 4096", "prime256v1", "secp384r1",
                                  "secp521r1"])
def test_each_supported_key_serves(start, kind, version):
    catcher = start("-tls", pair=pair(kind))
    assert "key " + kind in catcher.wait_for("listening")
    small = kind in ("RSA 1024", "RSA 2047")
    assert ("use 2048 or more" in catcher.log) is small
    client = connect_tls(catcher, pair(kind), version=version, small=small)
    assert client.recv(1) == b""


@pytest.mark.parametrize("kind", ["Ed25519", "Ed448", "secp256k1", "secp224r1", "DSA"])
def test_unsupported_kinds_of_key_are_refused(refusal, kind):
    said = refusal(78, "-tls", pair=pair(kind))
    assert "unsupported key: " + kind in said and "use RSA 2048 to 4096" in said


@pytest.mark.parametrize("bits", [1023, 4097, 8192])
def test_unsupported_sizes_of_rsa_are_refused(refusal, bits):
    assert "unsupported key: RSA of %d bits" % bits in refusal(78, "-tls", pair=(pair()[0], rsa_of_any_size(bits)))


def test_rsa_with_the_exponent_1_is_unsupported(refusal):
    crt = with_exponent_1(rsa_of_any_size(2048, 3))
    assert "unsupported key: RSA with the public exponent 1" in refusal(78, "-tls", pair=(pair()[0], crt))


def test_rsa_pss_and_unnamed_curves_are_unsupported(refusal):
    for algorithm, options, said in (
            ("RSA-PSS", ["-pkeyopt", "rsa_keygen_bits:2048"], "RSA-PSS"),
            ("EC", ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-pkeyopt", "ec_param_enc:explicit"],
             "an EC key whose curve has no name")):
        key = pem.openssl(["genpkey", "-algorithm", algorithm, *options])
        crt = pem.certificate_for(key)
        assert "unsupported key: " + said in refusal(78, "-tls", pair=(key, crt))


def test_a_chain_is_sent(start):
    authority, leaf = key_of("secp384r1"), key_of("prime256v1")
    root = certificate(authority, name="authority")
    crt = certificate(leaf, signer=authority, issuer="authority")
    catcher = start("-tls", pair=(leaf, b"A comment\n" + crt + root))
    shown = pem.openssl(["s_client", "-connect", "localhost:%d" % catcher.port, "-showcerts"]).decode()
    assert shown.count("BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize("form", ["traditional", "CRLF", "with EC PARAMETERS", "key and certificate in each"])
def test_each_form_of_pem_is_read(start, form):
    key, crt = pair()
    if form == "traditional":
        key = pem.traditional(key)
    elif form == "CRLF":
        key, crt = (data.replace(b"\n", b"\r\n") for data in (key, crt))
    elif form == "with EC PARAMETERS":
        key = pem.openssl(["ecparam", "-name", "prime256v1", "-genkey"])
        crt = pem.certificate_for(key)
        assert b"EC PARAMETERS" in key
    else:
        key, crt = key + crt, key + crt
    start("-tls", pair=(key, crt)).wait_for("listening")


def broken_pairs():
    key, crt = pair()
    encrypted = pem.encrypted(key, b"secret")
    middle = len(crt) // 2
    return {
        "neither": (None, None, "are missing"),
        "no certificate": (key, None, "catcher.crt is missing, and"),
        "no key": (None, crt, "catcher.key is missing, and"),
        "mismatched": (pair("RSA 2048")[0], crt, "does not belong to"),
        "mismatched, same kind": (pem.key_of("prime256v1"), crt, "does not belong to"),
        "swapped": (crt, key, "catcher.crt: not a certificate: no whole certificate in PEM"),
        "empty key": (b"", crt, "catcher.key: is empty"),
        "key is not PEM": (b"\x00\x01\x02", crt, "catcher.key: is not PEM"),
        "DER certificate": (key, der(crt), "catcher.crt: is not PEM"),
        "cut certificate": (key, crt[:middle], "not a certificate: no whole certificate in PEM"),
        "damaged certificate": (key, crt[:30] + b"A" * 40 + crt[70:], "not a certificate: unexpected"),
        "shortened certificate": (key, b"\n".join(crt.split(b"\n")[:2] + crt.split(b"\n")[-2:]),
                                  "not a certificate: cut off"),
        "cut key": (key[:len(key) // 2], crt, "OpenSSL refuses the pair"),
        "encrypted key": (encrypted, crt, "catcher.key is encrypted"),
        "huge": (key + b"\n" * 300000, crt, "is larger than 262144 bytes"),
    }


@pytest.mark.parametrize("case", list(broken_pairs()))
def test_unusable_pairs_are_refused_with_the_reason(refusal, case):
    key, crt, said = broken_pairs()[case]
    log = refusal(78, "-tls", pair=(key, crt))
    assert said in log
    assert "catcherctl" in log or "systemctl restart" in log


def test_files_of_the_pair_that_are_no_files(refusal, start):
    os.mkfifo(start.directory / "catcher.key")
    assert "is not a regular file" in refusal(78, "-tls", pair=(None, pair()[1]))
    (start.directory / "catcher.key").unlink()
    (start.directory / "catcher.key").symlink_to("nowhere")
    assert "cannot be read: No such file" in refusal(78, "-tls", pair=(None, pair()[1]))


@pytest.mark.parametrize("error,status", [(errno.ENFILE, 1), (errno.ESTALE, 1), (errno.EACCES, 78)])
@pytest.mark.parametrize("reader", ["pair", "settings"])
def test_what_cannot_be_read_for_a_moment_is_tried_again(monkeypatch, tmp_path, reader, error, status):
    """After exit status 78 systemd would not start it again."""
    for name, data in zip(("catcher.key", "catcher.crt"), pair(), strict=True):
        (tmp_path / name).write_bytes(data)

    def refuse(path, limit):
        raise OSError(error, os.strerror(error), path)

    monkeypatch.setattr("reference_catcher.%s.read_file" % reader, refuse)
    with pytest.raises(Refused) as refused:
        Pair(str(tmp_path)) if reader == "pair" else Settings(str(tmp_path / "conf"))
    assert refused.value.status == status


def test_what_may_pass_is_the_same_for_the_control_script_and_the_daemon():
    """The list is in both places, because the daemon runs without the library."""
    assert refusal_module.PASSING == host.PASSING


def test_the_security_level_is_lowered_for_small_keys_only(tmp_path):
    levels = {}
    for kind in ("RSA 1024", "RSA 2048", "secp521r1"):
        for name, data in zip(("catcher.key", "catcher.crt"), pair(kind), strict=True):
            (tmp_path / name).write_bytes(data)
        context = Pair(str(tmp_path)).context()
        levels[kind] = context.security_level
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert all(cipher["aead"] for cipher in context.get_ciphers())
    untouched = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).security_level
    assert levels == {"RSA 1024": 1, "RSA 2048": untouched, "secp521r1": untouched}


def test_the_context_is_made_of_the_bytes_that_were_checked(tmp_path):
    for name, data in zip(("catcher.key", "catcher.crt"), pair(), strict=True):
        (tmp_path / name).write_bytes(data)
    checked = Pair(str(tmp_path))
    for name in ("catcher.key", "catcher.crt"):
        (tmp_path / name).write_bytes(b"replaced")
    assert checked.context()


def policy(tmp_path, line):
    """An environment whose openssl.cnf replaces that of the system, with LINE for every TLS program."""
    path = tmp_path / "openssl.cnf"
    sections = "alg_section = c" if line.startswith("default_") else "ssl_conf = b\n[b]\nsystem_default = c"
    path.write_text("openssl_conf = a\n[a]\n%s\n[c]\n%s\n" % (sections, line))
    return {"OPENSSL_CONF": str(path)}


def system_python():
    """The system's Python, if it uses OpenSSL's defaults, as those of distributions do."""
    program = ("import sysconfig, ssl; "
               "print(sysconfig.get_config_var('PY_SSL_DEFAULT_CIPHERS'), ssl.OPENSSL_VERSION_INFO >= (3,))")
    asked = subprocess.run(["/usr/bin/python3", "-c", program], capture_output=True, text=True)
    return "/usr/bin/python3" if asked.stdout == "2 True\n" else None


needs_system_python = pytest.mark.skipif(
    not system_python(), reason="/usr/bin/python3 does not leave the defaults of TLS to OpenSSL 3")


@needs_system_python
def test_the_systems_policy_is_not_loosened(start, tmp_path):
    catcher = start("-tls", pair=pair(), python="/usr/bin/python3",
                    environment=policy(tmp_path, "MinProtocol = TLSv1.3\nCipherString = ECDHE+AES256"))
    with pytest.raises(ssl.SSLError, match="(?i)protocol.version"):
        connect_tls(catcher, pair(), version=ssl.TLSVersion.TLSv1_2)
    catcher.wait_for("handshake failed: the peer offers no TLS 1.2 or newer, or none that this system allows")
    assert connect_tls(catcher, pair()).recv(1) == b""


@needs_system_python
def test_the_systems_ciphers_limit_ours(start, tmp_path):
    catcher = start("-tls", pair=pair(), python="/usr/bin/python3",
                    environment=policy(tmp_path, "CipherString = ECDHE+AES256:ECDHE+CAMELLIA"))
    client = connect_tls(catcher, pair(), version=ssl.TLSVersion.TLSv1_2)
    assert client.tls.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    client.close()
    context = tls_context(pair(), version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
    with catcher.connect() as sock, pytest.raises(ssl.SSLError):
        context.wrap_socket(sock, server_hostname="localhost")
    catcher.wait_for("handshake failed: no shared cipher")


@needs_system_python
def test_a_policy_below_tls_1_2_does_not_lower_it(start, tmp_path):
    catcher = start("-tls", pair=pair(), python="/usr/bin/python3",
                    environment=policy(tmp_path, "MinProtocol = TLSv1\nCipherString = ALL:@SECLEVEL=0"))
    answer = subprocess.run(["openssl", "s_client", "-connect", "localhost:%d" % catcher.port, "-tls1_1", "-cipher",
                             "ALL:@SECLEVEL=0"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert "alert protocol version" in answer.stderr


@needs_system_python
@pytest.mark.parametrize("line, kind, said", [
    ("CipherString = DEFAULT:@SECLEVEL=3", "RSA 2048", "the security policy of this system refuses"),
    ("CipherString = DEFAULT:@SECLEVEL=3", "RSA 1024", "the security policy of this system refuses"),
    ("MaxProtocol = TLSv1.1", "prime256v1", "no TLS handshake is possible with"),
    ("SignatureAlgorithms = RSA+SHA256", "secp521r1", "no TLS handshake is possible with"),
    ("default_properties = fips=yes", "prime256v1", "OpenSSL of this system cannot do TLS 1.2 or newer"),
])
def test_a_policy_that_leaves_no_use_for_the_pair_is_a_lasting_failure(refusal, tmp_path, line, kind, said):
    log = refusal(78, "-tls", pair=pair(kind), python="/usr/bin/python3", environment=policy(tmp_path, line))
    assert said in log and "update-crypto-policies --show" in log
