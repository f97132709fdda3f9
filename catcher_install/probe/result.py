"""The result of a probe: what the peer speaks, its certificates, and what needs attention."""

from ..cert.details import Certificate
from ..cert.names import ip_address
from ..messages import SOON_SECONDS, finding
from ..record import Record
from ..text import moment, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

    from ..messages import Finding

# States
TLS = "tls"
TCP = "tcp"
UNKNOWN_NAME = "unknown-name"
REFUSED = "refused"
UNREACHABLE = "unreachable"
CLOSED = "closed"
TIMED_OUT = "timeout"
HANDSHAKE_REFUSED = "handshake-refused"
HANDSHAKE_BROKEN = "handshake-broken"

# The id of the finding for each state without TLS, unless Ended names another.
FINDING_OF = {
    TCP: "probe-speaks-tcp", UNKNOWN_NAME: "probe-unknown-name", REFUSED: "probe-refused",
    UNREACHABLE: "probe-unreachable", CLOSED: "probe-closed", TIMED_OUT: "probe-timeout",
    HANDSHAKE_REFUSED: "probe-handshake-refused", HANDSHAKE_BROKEN: "probe-handshake-broken",
}

SHOWN_NAMES = 12


class ProbeResult(Record):
    """The result of a probe.

    host, port: the target. name: the name that the certificate should contain.
    state: TLS, TCP, UNKNOWN_NAME, REFUSED, UNREACHABLE, CLOSED (the peer sent nothing, so it is not known what it
    speaks), TIMED_OUT, HANDSHAKE_REFUSED or HANDSHAKE_BROKEN.
    reason: the evidence for the state, as the end of a sentence; "" for TLS.
    address: the address that was connected to; "" if none was. failed: (address, problem) of those tried before.
    version, cipher: as negotiated; "" unless TLS.
    chain: the certificates in the order sent. chain_note: why there may be more than these; "" if these are all.
    matched: where the certificate contains the name, e.g. "SAN DNS a.example"; "" if it does not.
    cafile: the file with the only trust anchors, as typed; None if none was named.
    anchor_problem: why the chain does not verify if the only trust anchors are the certificates of cafile, or, without
    a cafile, the chain's own last certificate; "" if it verifies. system_problem: the same for this system's trust
    store; None with a cafile. Expiry does not count in either. Both are None if they could not be tried.
    findings: their ids begin with "probe-".
    """

    __slots__ = ("host", "port", "name", "state", "reason", "address", "failed", "version", "cipher", "chain",
                 "chain_note", "matched", "cafile", "anchor_problem", "system_problem", "findings")
    host: str
    port: int
    name: str
    state: str
    reason: str
    address: str
    failed: "List[Tuple[str, str]]"
    version: str
    cipher: str
    chain: "List[Certificate]"
    chain_note: str
    matched: str
    cafile: "Optional[str]"
    anchor_problem: "Optional[str]"
    system_problem: "Optional[str]"
    findings: "List[Finding]"


class Ended(Exception):
    """The probe ended without TLS. state, reason: as in ProbeResult. id: of the finding; by default from FINDING_OF."""

    def __init__(self, state: str, reason: str, id: str = "") -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.id = id or FINDING_OF[state]


def certificate_findings(result: ProbeResult, now: float) -> "List[Finding]":
    """Return the findings about the certificates of a host."""
    found = []
    chain = result.chain
    own = chain[0]
    if not result.matched and not own.problem:
        names = ", ".join(shown(one) for one in own.names()[:SHOWN_NAMES]) or "(it has none)"
        found.append(finding("probe-name-mismatch", name=shown(result.name), names=names))
    if result.matched.startswith("CN ") and own.dns_names and ip_address(result.name) is None:
        found.append(finding("probe-name-only-cn", name=shown(result.name)))
    for number, one in enumerate(chain, 1):
        which = {"number": str(number), "count": str(len(chain))}
        whose = shown(one.subject)
        if one.problem:
            found.append(finding("probe-certificate-unreadable", reason=one.problem, **which))
        elif now > one.not_after:
            found.append(finding("probe-certificate-expired", subject=whose, date=moment(one.not_after), **which))
        elif now < one.not_before:
            found.append(finding("probe-certificate-not-yet-valid", subject=whose,
                                 date=moment(one.not_before), **which))
        elif now + SOON_SECONDS > one.not_after:
            found.append(finding("probe-certificate-expires-soon", subject=whose, date=moment(one.not_after),
                                 **which))
    if result.anchor_problem and result.cafile is not None:
        found.append(finding("probe-cafile-unverified", file=shown(result.cafile), reason=shown(result.anchor_problem)))
    elif result.anchor_problem:
        found.append(finding("probe-chain-unverified", reason=shown(result.anchor_problem)))
    last = chain[-1]
    if result.cafile is not None and result.anchor_problem == "":
        # A client that trusts that file needs neither an import nor the issuer's certificate.
        return found
    if own.self_issued:
        found.append(finding("probe-self-signed"))
    elif not last.self_issued and not last.problem and not result.chain_note:
        count = str(len(chain))
        found.append(finding("probe-chain-incomplete", number=count, count=count, issuer=shown(last.issuer)))
    return found


def address_findings(result: ProbeResult) -> "List[Finding]":
    """Return a finding for each address that did not answer, if another address of the host did."""
    if not result.address:
        return []
    return [finding("probe-address-failed", host=shown(result.host), address=address, reason=reason)
            for address, reason in result.failed]
