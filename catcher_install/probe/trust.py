"""Verify a chain of certificates with this system's trust store, with its own last certificate (as a TKE does after
importing it), and with the certificates of a file."""

from .. import paths
from ..cert import pem
from ..cert.judge import X509_V_FLAG_NO_CHECK_TIME, X509_V_FLAG_PARTIAL_CHAIN
from ..host import Host
from ..openssl import words
from .connection import FAREWELL, Deadline, address_text, connect, farewell
from .handshake import NotTls, Shake, context
from .result import Ended

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List, Optional, Tuple

# How OpenSSL ends what it says of a key or digest that is below the security level that this system sets.
BELOW_POLICY = (" too weak",)
POLICY = " for the policy of this system's OpenSSL"
ANOTHER = "another connection shows another certificate"


def ask_s_client(host: Host, address: "Tuple[int, Any]", server_name: "Optional[str]", own: bytes, deadline: Deadline
                 ) -> "Tuple[List[bytes], Optional[str]]":
    """(chain in DER, problem with the system's trust store) by one connection of ``openssl s_client``.

    own: the server's certificate (DER) in the connection before.

    s_client goes on if verification fails, so the far side sees no alert. But the far side can write into its text:
    that there is no problem is believed only if ask_system() finds none. ([], None) if it could not be asked.
    """
    where = address_text(address[1])
    arguments = ["s_client", "-connect", "%s:%d" % ("[%s]" % where if ":" in where else where, address[1][1]),
                 "-showcerts", "-no_check_time"]
    arguments += ["-servername", server_name] if server_name else ["-noservername"]
    try:
        # Its standard input is empty, at which it ends when the handshake has.
        _, output = host.run([paths.OPENSSL] + arguments, timeout=max(0.001, deadline.left()))
    except OSError:
        return [], None
    # The first section of this name is s_client's own; whatever the far side sends as data comes behind it. No name in
    # a certificate makes a line of it.
    _, _, rest = output.partition(b"\nCertificate chain\n")
    section, end, rest = rest.partition(b"\n---\n")
    try:
        chain = [pem.der(block) for block in pem.PemFile("s_client", section).certificates()]
    except ValueError:
        chain = []
    if not end or not chain:
        return [], None
    said = rest.partition(b"\nVerification error: ")[2].partition(b"\n")[0].decode("ascii", "replace")
    return chain, said or ask_system(address, server_name, own, deadline)


def ask_system(
    address: "Tuple[int, Any]", server_name: "Optional[str]", own: bytes, deadline: Deadline
) -> "Optional[str]":
    """"" if a connection verifies with this system's trust store, else the problem; None if none came about."""
    made = context()
    made.load_default_certs()
    return _verify(made, address, server_name, own, deadline)


def to_pem(der: bytes) -> bytes:
    """A certificate in PEM."""
    import ssl

    return ssl.DER_cert_to_PEM_cert(der).encode("ascii")


def ask_anchored(
    address: "Tuple[int, Any]", server_name: "Optional[str]", own: bytes, anchor: bytes, deadline: Deadline
) -> "Optional[str]":
    """"" if a connection verifies with *anchor* (PEM, one certificate or more) as only trust anchors, else the
    problem.

    This is what a TKE does that imported that certificate. None if no connection came about.
    """
    import ssl

    made = context()
    try:
        # As PEM: Python 3.6 does not see the end of DER if it runs with OpenSSL 3.
        made.load_verify_locations(cadata=anchor.decode("ascii", "replace"))
    except ssl.SSLError as error:
        return "it cannot be a trust anchor (%s)" % words(error.reason or "not a certificate")
    return _verify(made, address, server_name, own, deadline)


def _verify(made: "Any", address: "Tuple[int, Any]", server_name: "Optional[str]", own: bytes, deadline: Deadline
            ) -> "Optional[str]":
    """"" if a connection verifies with a context's trust anchors, else the problem; None if none came about.

    own: the certificate whose hashes are shown. A server may show another one in each connection, and so may whoever
    is between us and the server.
    """
    import ssl

    made.verify_mode = ssl.CERT_REQUIRED
    # Validity in time is reported for itself; a root need not have been sent.
    made.verify_flags = int(made.verify_flags) | X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME
    try:
        sock = connect(address, deadline.left())
    except Ended:
        return None
    shake = Shake(sock, made, server_name)
    try:
        shake.run(deadline)
    except ssl.SSLError as error:
        farewell(sock, min(FAREWELL, deadline.left()))
        problem = getattr(error, "verify_message", None) or words(error.reason or "failed")
        return problem + (POLICY if problem.endswith(BELOW_POLICY) else "")
    except (NotTls, EOFError, OSError):
        farewell(sock, min(FAREWELL, deadline.left()))
        return None
    same = shake.tls.getpeercert(True) == own
    shake.end(deadline)
    return "" if same else ANOTHER
