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

# How OpenSSL's message ends if a key or digest is below the security level of this system.
BELOW_POLICY = (" too weak",)
POLICY = " for the policy of this system's OpenSSL"
ANOTHER = "another connection shows another certificate"


def ask_s_client(host: Host, address: "Tuple[int, Any]", server_name: "Optional[str]", own: bytes, deadline: Deadline
                 ) -> "Tuple[List[bytes], Optional[str]]":
    """Ask ``openssl s_client``, with one connection. Returns (chain in DER, problem with the system's trust store), or
    ([], None) if it could not be asked.

    own: the server's certificate (DER) in the connection before.

    s_client goes on if verification fails, so the peer sees no alert. But the peer can write into its text. So "no
    problem" is believed only if ask_system() agrees.
    """
    where = address_text(address[1])
    arguments = ["s_client", "-connect", "%s:%d" % ("[%s]" % where if ":" in where else where, address[1][1]),
                 "-showcerts", "-no_check_time"]
    arguments += ["-servername", server_name] if server_name else ["-noservername"]
    try:
        # Its standard input is empty, so it ends after the handshake.
        _, output = host.run([paths.OPENSSL] + arguments, timeout=max(0.001, deadline.left()))
    except OSError:
        return [], None
    # The first section of this name is s_client's own: the peer's data comes after it, and no name in a certificate can
    # produce such a line.
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
    """Return "" if a connection verifies with this system's trust store, else the problem; None if none was made."""
    made = context()
    made.load_default_certs()
    return _verify(made, address, server_name, own, deadline)


def to_pem(der: bytes) -> bytes:
    """Return a certificate in PEM."""
    import ssl

    return ssl.DER_cert_to_PEM_cert(der).encode("ascii")


def ask_anchored(
    address: "Tuple[int, Any]", server_name: "Optional[str]", own: bytes, anchor: bytes, deadline: Deadline
) -> "Optional[str]":
    """Return "" if a connection verifies with *anchor* (PEM, one certificate or more) as the only trust anchors, else
    the problem; None without a connection.

    A TKE does the same when it has imported that certificate.
    """
    import ssl

    made = context()
    try:
        # In PEM, because Python 3.6 with OpenSSL 3 does not find the end of DER.
        made.load_verify_locations(cadata=anchor.decode("ascii", "replace"))
    except ssl.SSLError as error:
        return "it cannot be a trust anchor (%s)" % words(error.reason or "not a certificate")
    return _verify(made, address, server_name, own, deadline)


def _verify(made: "Any", address: "Tuple[int, Any]", server_name: "Optional[str]", own: bytes, deadline: Deadline
            ) -> "Optional[str]":
    """Return "" if a connection verifies with a context's trust anchors, else the problem; None without a connection.

    own: the certificate whose hashes are shown. The server, or somebody between us and the server, may show another
    certificate in each connection.
    """
    import ssl

    made.verify_mode = ssl.CERT_REQUIRED
    # Dates have findings of their own. The chain may end without its root.
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
