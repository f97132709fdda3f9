"""cryptography absent, broken or panicking costs what only it can do, and never a traceback."""

import sys

import pytest

from catcher_install import paths
from catcher_install.cert import check, crypto, generate
from catcher_install.errors import CatcherError, MissingDependency

from .. import pem
from ..host_names import names_of
from ..support import Asked


class PanicException(BaseException):
    """What the Rust part of cryptography 40 and 41 raises: no Exception."""


BROKEN = {
    "absent": None,
    "something else": object(),
}
RAISED = [ImportError("no _cffi_backend"), AttributeError("x"), OSError(5, "I/O error"), SystemExit(1),
          PanicException("Python API call failed"), MemoryError(), RecursionError()]


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_package_is_a_missing_one(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "cryptography", BROKEN[name])
    with pytest.raises(MissingDependency) as raised:
        crypto.load()
    assert raised.value.hint == "install the package python3-cryptography"


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
def test_whatever_loading_it_raises(monkeypatch, error):
    def broken(self):
        raise error

    monkeypatch.setattr(crypto.Crypto, "__init__", broken)
    with pytest.raises(MissingDependency) as raised:
        crypto.load()
    assert type(error).__name__ in raised.value.message


@pytest.mark.parametrize("error", RAISED + [ValueError("fips=yes")], ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("where", ["ec", "serialization", "x509"])
def test_a_pair_is_made_by_the_openssl_command_then(with_openssl, monkeypatch, error, where):
    """with_openssl: for the command; cryptography is there and breaks in the middle of its work."""
    monkeypatch.undo()

    def broken(*arguments, **more):
        raise error

    lib = crypto.Crypto()
    name = {"ec": "generate_private_key", "serialization": "NoEncryption", "x509": "CertificateBuilder"}[where]
    monkeypatch.setattr(getattr(lib, where), name, broken)
    key, crt = generate.generate(with_openssl, names_of("short only"))
    monkeypatch.undo()
    assert check.check(Asked(), key, crt).problem == ""
    assert any(argv[:2] == [paths.OPENSSL, "genpkey"] for argv in with_openssl.spawned)


@pytest.mark.parametrize("error", RAISED[3:5], ids=lambda error: type(error).__name__)
def test_neither_of_the_two_is_one_line(with_openssl, monkeypatch, error):
    def broken(self):
        raise error

    monkeypatch.undo()
    monkeypatch.setattr(crypto.Crypto, "__init__", broken)
    with_openssl.programs[paths.OPENSSL] = (1, b"unable to load provider")
    with pytest.raises(CatcherError) as raised:
        generate.generate(with_openssl, names_of("short only"))
    assert type(error).__name__ in raised.value.message and "\n" not in raised.value.message
    assert with_openssl.names(paths.BIN) == ["catcher.exe"]


def test_an_interrupt_of_the_user_is_none_of_it(monkeypatch):
    def interrupted():
        raise KeyboardInterrupt()

    with pytest.raises(KeyboardInterrupt):
        crypto.call(interrupted)


@pytest.mark.parametrize("error", [SystemExit(1), PanicException()], ids=lambda error: type(error).__name__)
def test_judging_needs_no_cryptography(monkeypatch, error):
    def broken(self):
        raise error

    monkeypatch.setattr(crypto.Crypto, "__init__", broken)
    key = pem.key_of("prime256v1")
    verdict = check.check(Asked(), key, pem.certificate_for(key))
    assert (verdict.problem, verdict.unchecked, verdict.algorithm) == ("", "", "EC prime256v1")
