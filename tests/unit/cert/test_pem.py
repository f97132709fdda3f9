"""The reader of PEM."""

import pytest

from catcher_install.cert import pem

BLOCK = b"-----BEGIN CERTIFICATE-----\nAAEC\nAwQ=\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n"

FORMS = {
    "as it is": BLOCK,
    "CRLF": BLOCK.replace(b"\n", b"\r\n"),
    "CR": BLOCK.replace(b"\n", b"\r"),
    "no final newline": BLOCK.rstrip(),
    "blanks around": BLOCK.replace(b"\n", b" \t\n\n"),
    "a byte order mark": b"\xef\xbb\xbf" + BLOCK,
    "text around": b"subject=x\n" + BLOCK + b"# end",
    "the old label": BLOCK.replace(b" CERT", b" X509 CERT"),
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_a_block_is_found_whatever_is_around_it(form):
    given = pem.PemFile("x", FORMS[form])
    assert given.blocks == [("CERTIFICATE", BLOCK)] and not given.cut
    assert given.certificates() == [BLOCK] and given.keys() == []
    assert pem.der(given.certificates()[0]) == b"\0\1\2\3\4"


def test_blocks_of_several_kinds_are_told_apart():
    given = pem.PemFile("x", KEY + BLOCK + KEY.replace(b"PRIVATE", b"EC PRIVATE") + KEY.replace(b"PRIVATE", b"PUBLIC"))
    assert given.labels() == ["PRIVATE KEY", "CERTIFICATE", "EC PRIVATE KEY", "PUBLIC KEY"]
    private = given.keys()
    assert [label for label, _ in private] == ["PRIVATE KEY", "EC PRIVATE KEY"]


@pytest.mark.parametrize("data,blocks", [
    (BLOCK[:30], 0), (BLOCK + KEY[:40], 1), (b"-----BEGIN X-----\n" * 5000, 0),
])
def test_a_block_that_is_cut(data, blocks):
    given = pem.PemFile("x", data)
    assert given.cut and len(given.blocks) == blocks


def test_a_key_that_needs_a_pass_phrase():
    assert pem.is_encrypted("ENCRYPTED PRIVATE KEY", b"")
    assert pem.is_encrypted("RSA PRIVATE KEY", b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n")
    assert not pem.is_encrypted("PRIVATE KEY", KEY)


def test_what_is_no_base64():
    with pytest.raises(ValueError):
        pem.der(b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n")


def test_a_name_is_safe_to_show():
    assert pem.PemFile("\x1b[2J\n", b"").path == "\\x1b[2J\\n"
