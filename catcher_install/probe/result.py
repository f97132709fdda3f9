"""What can be said of the far side: what it speaks, its certificates, and what of it needs attention."""

from ..cert.details import Certificate
from ..moment import moment
from ..record import Record
from ..text import shown
from .target import ip_address

MYPY = False
if MYPY:
    from typing import Dict, List, Optional, Tuple

# States
TLS = "tls"
TCP = "tcp"
UNKNOWN_NAME = "unknown-name"
REFUSED = "refused"
UNREACHABLE = "unreachable"
TIMED_OUT = "timeout"
HANDSHAKE_REFUSED = "handshake-refused"
HANDSHAKE_BROKEN = "handshake-broken"

SHOWN_NAMES = 12
SOON = 30 * 86400

INFO = "info"
WARNING = "warning"
ERROR = "error"

# id: (severity, what is wrong, what to type), as messages.CATALOG
CATALOG = {
    "probe-unknown-name": (
        ERROR,
        "{host} cannot be looked up: {reason}",
        "try its IP address, or add the name to DNS or /etc/hosts; the TKE must know it, too",
    ),
    "probe-refused": (
        ERROR,
        "nothing listens on port {port} of {host}: the connection was refused",
        "on that host: systemctl status CSUTKEcat",
    ),
    "probe-unreachable": (
        ERROR,
        "{host} port {port} cannot be reached: {reason}",
        "check the address, the route and the firewalls on the way",
    ),
    "probe-timeout": (
        ERROR,
        "{host} port {port} did not answer: {reason}",
        "check the address and every firewall on the way; on that host: systemctl status CSUTKEcat",
    ),
    "probe-speaks-tcp": (
        WARNING,
        "{host} port {port} speaks plain TCP, not TLS: {reason}",
        "on the TKE, untick the box Enable SSL/TLS of this host; or, on that host: catcherctl mode tls",
    ),
    "probe-tls-too-old": (
        ERROR,
        "{host} port {port} speaks no TLS that is new enough, and the catcher and the TKE need 1.2: {reason}",
        "update OpenSSL on that host, or see what else listens there: ss -ltnp 'sport = :{port}'",
    ),
    "probe-handshake-refused": (
        ERROR,
        "{host} port {port} speaks TLS and refused the handshake: {reason}",
        "on that host: journalctl -u CSUTKEcat",
    ),
    "probe-handshake-broken": (
        ERROR,
        "the TLS handshake with {host} port {port} broke off: {reason}",
        "on that host: journalctl -u CSUTKEcat",
    ),
    "probe-without-ssl": (
        ERROR,
        "{host} port {port} speaks TLS, and the Python here cannot: {reason}",
        "install OpenSSL's library for it, or the python3 package again",
    ),
    "probe-name-mismatch": (
        WARNING,
        "the certificate is not for {name}; the TKE will refuse it under that Host Name/IP",
        "use one of these on the TKE: {names}; or install another pair on that host: catcherctl cert install KEY CRT",
    ),
    "probe-name-only-cn": (
        INFO,
        "{name} is in the CN only, while the certificate lists other DNS names in its SAN",
        "nothing for the TKE; other TLS clients look at the SAN only",
    ),
    "probe-certificate-expired": (
        WARNING,
        "certificate {number} of {count} ({subject}) expired on {date}",
        "install a new pair on that host: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "probe-certificate-not-yet-valid": (
        WARNING,
        "certificate {number} of {count} ({subject}) is not valid before {date}",
        "check the clocks of this host and of that one: timedatectl",
    ),
    "probe-certificate-expires-soon": (
        WARNING,
        "certificate {number} of {count} ({subject}) expires on {date}",
        "install a new pair on that host in time: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "probe-certificate-unreadable": (
        WARNING,
        "certificate {number} of {count} cannot be read: {reason}",
        "install python3-cryptography here; if it stays so, install another pair on that host",
    ),
    "probe-self-signed": (
        INFO,
        "the certificate is self-signed: the TKE accepts it once it is imported there",
        "compare the hashes above with the TKE's Confirm Import window; the steps: catcherctl tke-guide",
    ),
    "probe-chain-incomplete": (
        INFO,
        "the issuer of certificate {number} of {count} ({issuer}) was not sent",
        "import that CA into the TKE by USB stick, or add its certificate behind the others in catcher.crt there",
    ),
    "probe-chain-unverified": (
        WARNING,
        "the chain does not verify, even with its last certificate as trust anchor: {reason}",
        "install a pair with its chain in order, server certificate first: catcherctl cert install KEY CRT",
    ),
    "probe-address-failed": (
        INFO,
        "{host} also has the address {address}, and that one did not answer: {reason}",
        "check it, since the TKE may try it first",
    ),
}


class ProbeResult(Record):
    """What was found.

    host, port: the target. name: what the certificate is compared with.
    state: TLS, TCP, UNKNOWN_NAME, REFUSED, UNREACHABLE, TIMED_OUT, HANDSHAKE_REFUSED or HANDSHAKE_BROKEN.
    reason: the evidence for the state, as the end of a sentence; "" for TLS.
    address: the address that was connected to; "" where none was. failed: (address, problem) of those tried before.
    version, cipher: as negotiated; "" unless TLS.
    chain: the certificates in the order sent. chain_note: why there may be more than these; "" if these are all.
    matched: where name was found, e.g. "SAN DNS a.example"; "" where it was not.
    anchor_problem: "" where the chain verifies with its last certificate as only trust anchor, expiry aside.
    system_problem: the same with the trust store of this system. Both are None where that could not be tried.
    findings: id, severity, message, fix.
    """

    __slots__ = ("host", "port", "name", "state", "reason", "address", "failed", "version", "cipher", "chain",
                 "chain_note", "matched", "anchor_problem", "system_problem", "findings")
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
    anchor_problem: "Optional[str]"
    system_problem: "Optional[str]"
    findings: "List[Dict[str, str]]"


class Ended(Exception):
    """The probe is over without TLS: its state and reason; *finding* where it is not the state's own."""

    def __init__(self, state: str, reason: str, finding: str = "") -> None:
        super().__init__(reason)
        self.state = state
        self.reason = reason
        self.finding = finding


def certificate_findings(result: ProbeResult, now: float) -> "List[Dict[str, str]]":
    """For a host that showed its certificates, what about them the person at the TKE must know."""
    found = []
    chain = result.chain
    own = chain[0]
    if not result.matched and not own.problem:
        names = ", ".join(shown(one) for one in own.names()[:SHOWN_NAMES]) or "(it has none)"
        found.append(probe_finding("probe-name-mismatch", name=shown(result.name), names=names))
    if result.matched.startswith("CN ") and own.dns_names and ip_address(result.name) is None:
        found.append(probe_finding("probe-name-only-cn", name=shown(result.name)))
    for number, one in enumerate(chain, 1):
        which = {"number": str(number), "count": str(len(chain)), "subject": shown(one.subject)}
        if one.problem:
            found.append(probe_finding("probe-certificate-unreadable", reason=one.problem, **which))
        elif now > one.not_after:
            found.append(probe_finding("probe-certificate-expired", date=moment(one.not_after), **which))
        elif now < one.not_before:
            found.append(probe_finding("probe-certificate-not-yet-valid", date=moment(one.not_before), **which))
        elif now + SOON > one.not_after:
            found.append(probe_finding("probe-certificate-expires-soon", date=moment(one.not_after), **which))
    if result.anchor_problem:
        found.append(probe_finding("probe-chain-unverified", reason=shown(result.anchor_problem)))
    last = chain[-1]
    if own.self_issued:
        found.append(probe_finding("probe-self-signed"))
    elif not last.self_issued and not last.problem and not result.chain_note:
        found.append(probe_finding("probe-chain-incomplete", number=str(len(chain)), count=str(len(chain)),
                                   issuer=shown(last.issuer)))
    return found


def address_findings(result: ProbeResult) -> "List[Dict[str, str]]":
    """For a host that answered, the addresses of it that did not."""
    if not result.address:
        return []
    return [probe_finding("probe-address-failed", host=shown(result.host), address=address, reason=reason)
            for address, reason in result.failed]


def probe_finding(id: str, **facts: str) -> "Dict[str, str]":
    """A finding as ``--json`` shows it: id, severity, message, fix."""
    severity, text, fix = CATALOG[id]
    for name, value in facts.items():
        text = text.replace("{%s}" % name, value)
        fix = fix.replace("{%s}" % name, value)
    return {"id": id, "severity": severity, "message": text, "fix": fix}
