"""If cryptography is missing, broken or panics, only its own features fail, without a traceback."""

import re
import sys

import pytest

from catcher_install.cert import check, crypto
from catcher_install.errors import MissingDependency

from .. import pem
from ..support import Asked, library_modules


class PanicException(BaseException):
    """What the Rust part of cryptography 40 and 41 raises: it does not inherit from Exception."""


BROKEN = {
    "absent": None,
    "something else": object(),
}
RAISED = [ImportError("no _cffi_backend"), AttributeError("x"), OSError(5, "I/O error"), SystemExit(1),
          PanicException("Python API call failed"), MemoryError(), RecursionError()]


def test_each_part_that_is_loaded_is_used():
    """If the module is not needed, loading it would make a command fail for nothing where it is broken."""
    text = ""
    for path in library_modules().values():
        with open(path, encoding="utf-8") as stream:
            text += stream.read()
    parts = list(vars(crypto.load())) + [name for name in vars(crypto.Crypto) if not name.startswith("_")]
    assert "ec" in parts and "kind_of" in parts
    assert [name for name in parts if not re.search(r"\w\.%s\b(?!: Any = )" % name, text)] == []


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
    assert (verdict.problem, verdict.unchecked) == ("", "")
