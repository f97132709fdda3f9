"""The only module that imports ``cryptography`` (3.2 to the newest), and only when load() is called.

That package may be missing or broken, or may panic. Whatever it raises then becomes MissingDependency, so that a caller
can do without it.
"""

import sys

from .. import optional
from ..errors import MissingDependency
from . import keys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, TypeVar

    Result = TypeVar("Result")
# The oldest version that is tested. An older one is used as far as it works.
OLDEST = "3.2"
# Errors of cryptography if a part of it cannot be loaded. Bad input never raises them.
BROKEN = (ImportError, OSError, AttributeError, NameError)


class Crypto:
    """The parts of cryptography that are used here, by their own names. backend: an argument that versions before 37
    need."""

    def __init__(self) -> None:
        from cryptography import x509
        from cryptography.hazmat.backends import default_backend
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        self.x509: Any = x509
        self.hashes: Any = hashes
        self.serialization: Any = serialization
        self.ec: Any = ec
        self.rsa: Any = rsa
        self.backend: Any = default_backend()

    def kind_of(self, key: "Any") -> "keys.KeyKind":
        """Return the kind of a loaded key, private or public."""
        if isinstance(key, (self.ec.EllipticCurvePrivateKey, self.ec.EllipticCurvePublicKey)):
            return keys.elliptic(key.curve.name)
        if isinstance(key, (self.rsa.RSAPrivateKey, self.rsa.RSAPublicKey)):
            return keys.rsa(key.key_size)
        return keys.other(type(key).__name__.lstrip("_").replace("PrivateKey", "").replace("PublicKey", ""))


def load() -> Crypto:
    """Return cryptography's parts. Raises MissingDependency if the package is absent or broken."""
    try:
        call(optional.add_site_packages)
        return call(Crypto)
    except Unreadable as error:
        raise broken(error.__cause__ or error) from error


class Unreadable(Exception):
    """cryptography refuses its input. The text is the type of its error."""


def call(function: "Callable[..., Result]", *arguments: "Any") -> "Result":
    """Return function(*arguments). Raises MissingDependency if a part of cryptography is broken or panics, Unreadable
    if it refuses its input."""
    try:
        return function(*arguments)
    except KeyboardInterrupt:
        raise
    except BROKEN as error:
        raise broken(error) from error
    except Exception as error:
        raise Unreadable(type(error).__name__) from error
    except BaseException as error:
        # The PanicException of its Rust code, or the SystemExit of a broken package.
        raise broken(error) from error


def broken(error: BaseException) -> MissingDependency:
    """Return the MissingDependency for an error of cryptography."""
    version = str(getattr(sys.modules.get("cryptography"), "__version__", ""))
    if version and optional.is_older(version, OLDEST):
        why = "python3-cryptography %s is too old for this; %s or newer is needed" % (version, OLDEST)
        return MissingDependency(why, optional.INSTALL + "python3-cryptography of a newer release")
    return MissingDependency("python3-cryptography cannot be used (%s)" % type(error).__name__,
                             optional.INSTALL + "python3-cryptography")
