"""Find out what a TKE would get from a host: TLS and which certificate, plain TCP, or nothing.

A peer gets a TLS ClientHello and, if it answers with TLS, complete handshakes; never any other data. Nothing that it
sends is trusted: time, bytes and certificates are limited, and its text is escaped before it is shown.
"""

from .. import paths
from ..cert import details, pem, submitted, x509
from ..cert.chain import unread_problem
from ..cert.details import CHAIN_LIMIT
from ..cert.names import a_labels, ip_address, require_host
from ..errors import CatcherError
from ..host import Host
from ..messages import finding
from ..text import shown
from . import connection, handshake, trust
from .connection import Deadline
from .result import CLOSED, TCP, TLS, Ended, ProbeResult, address_findings, certificate_findings
from .target import NAME_HINT, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

TIMEOUT = 10
# A system's whole trust store takes some 220 KiB.
CAFILE_LIMIT = 4 * 1024 * 1024


def probe(target: str, name: "Optional[str]" = None, timeout: float = TIMEOUT, host: "Optional[Host]" = None,
          cafile: "Optional[str]" = None) -> ProbeResult:
    """Return what the TKE's "Import from Remote Server" would get from *target*.

    target: HOST[:PORT], see target.parse(). name: what will be typed as Host Name/IP on the TKE; the target's host
    if None. timeout: seconds for everything together. host: provides the openssl command and the clock.
    cafile: a file with the only trust anchors, PEM; if None, the chain's last certificate and the system's trust
    store are tried. Raises CatcherError for an invalid target, name, timeout or cafile. Failures of the network are a
    result, not an error.
    """
    where, port = parse(target)
    wanted = where.partition("%")[0] if name is None else name
    require_host(wanted, NAME_HINT)
    if not 0 < timeout <= 3600:
        raise CatcherError("%s is not a time limit" % timeout, "type seconds, for example --timeout 10")
    host = host or Host()
    anchors = _anchors(host, cafile) if cafile is not None else b""
    deadline = Deadline(timeout)
    failed: List[Tuple[str, str]] = []
    result = ProbeResult(
        host=where, port=port, name=wanted, state=TLS, reason="", address="", failed=failed, version="", cipher="",
        chain=[], chain_note="", matched="", cafile=cafile, anchor_problem=None, system_problem=None, findings=[],
    )
    server_name = a_labels(wanted).rstrip(".") if ip_address(wanted) is None else None
    if server_name and any(len(label) > 63 for label in server_name.split(".")):
        # The SNI extension does not allow such a name (RFC 6066, 3).
        server_name = None
    try:
        sock, address = connection.connect_any(connection.look_up(where, port, deadline), deadline, failed)
        result.address = connection.address_text(address[1])
        result.version, result.cipher, chain, whole = handshake.shake_hands(sock, server_name, deadline)
    except Ended as end:
        if end.state == CLOSED and result.address and handshake.reads_on(address, deadline):
            end = Ended(TCP, "it closes its side of the connection before a TLS greeting is complete, and still takes "
                             "data, as a catcher in TCP mode does")
        result.state, result.reason = end.state, end.reason
        result.findings = [finding(end.id, host=shown(where), port=str(port), reason=shown(end.reason))]
        result.findings += address_findings(result)
        return result
    sent, system_problem = trust.ask_s_client(host, address, server_name, chain[0], deadline)
    result.system_problem = system_problem if cafile is None else None
    if not whole and sent and sent[0] == chain[0]:
        chain, whole = sent, True
    if not whole:
        result.chain_note = "only the server's own certificate could be read: no answer from %s" % paths.OPENSSL
    elif len(chain) > CHAIN_LIMIT:
        result.chain_note = "%d more certificates were sent" % (len(chain) - CHAIN_LIMIT)
    result.chain = [details.describe(der) for der in chain[:CHAIN_LIMIT]]
    result.matched = details.match(wanted, result.chain[0])
    result.anchor_problem = trust.ask_anchored(
        address, server_name, chain[0], anchors or trust.to_pem(chain[-1]), deadline)
    if result.anchor_problem == "" and not any(one.problem for one in result.chain):
        result.anchor_problem = unread_problem([x509.read(der) for der in chain[:CHAIN_LIMIT]])
    result.findings = certificate_findings(result, host.now()) + address_findings(result)
    return result


def _anchors(host: Host, path: str) -> bytes:
    """Return the certificates in a file, PEM. Raises CatcherError."""
    given = submitted.read_file(host, path, CAFILE_LIMIT)
    found = given.certificates()
    if not found or any(details.describe(_der(block)).problem for block in found):
        raise CatcherError("%s holds %s" % (given.path, "a certificate that cannot be read" if found else
                                            "no certificate in PEM"),
                           "name the file with the certificate of your CA, or the catcher.crt of that host")
    return b"".join(found)


def _der(block: bytes) -> bytes:
    try:
        return pem.der(block)
    except ValueError:
        return b""
