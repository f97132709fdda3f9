"""Every finding: a stable id, how serious it is, how long it holds, what is wrong, and what to type.

Ids are an interface: scripts read them from ``catcherctl status --json`` and from the journal.
"""

MYPY = False
if MYPY:
    from typing import Dict, Tuple

    Finding = Dict[str, str]

# How long before its end a certificate is said to expire soon.
SOON_SECONDS = 30 * 24 * 3600

INFO = "info"
WARNING = "warning"
ERROR = "error"

# Marks. LASTING: it says what happened once, and stays in the stamp until the mode that it speaks of is set by hand.
# TRANSIENT: it says only what this run did; it is told and not kept. FAILURE: an action did not work. ROOT: only root
# can know it, since it follows from the stamp or the key.
LASTING = "l"
TRANSIENT = "t"
FAILURE = "f"
ROOT = "r"

# id: (severity, marks, what is wrong, what to type). Facts in braces are filled in by text() and fix().
CATALOG = {
    "upgraded-tcp-kept": (
        WARNING, LASTING + ROOT,
        "upgraded from CCA 7.x: the catcher still speaks plain TCP, as before",
        "to finish TLS setup: catcherctl mode tls   and then: catcherctl tke-guide   "
        "(to keep TCP and end this: catcherctl mode tcp)",
    ),
    "tls-not-possible": (
        WARNING, LASTING + ROOT,
        "TLS is not possible, so the catcher is set to plain TCP: {reason}",
        "install OpenSSL 1.1.1 or newer with its library, then: catcherctl mode tls",
    ),
    "tls-configured-tcp-running": (
        WARNING, "",
        "configured TLS, running TCP: {reason}",
        "install OpenSSL 1.1.1 or newer with its library, then: systemctl restart CSUTKEcat",
    ),
    "tls-required-not-possible": (
        ERROR, "",
        "TLS_REQUIRED is set and TLS is not possible: {reason}",
        "install OpenSSL 1.1.1 or newer with its library, then: systemctl restart CSUTKEcat",
    ),
    "tls-unknown": (
        INFO, "",
        "whether TLS is possible is decided at the first start of the catcher: {reason}",
        "on the running system: catcherctl status",
    ),
    "mode-undecided": (
        WARNING, "",
        "the mode is not decided yet: {reason}",
        "mend that, then: catcherctl apply",
    ),
    "conf-unusable": (
        ERROR, "",
        "/etc/cca/catcher.conf was left as it is, because it cannot be used: {reason}",
        "leave one line TLS_ON or TLS_OFF in it, then: systemctl restart CSUTKEcat",
    ),
    "conf-no-directive": (
        WARNING, "",
        "/etc/cca/catcher.conf has no directive; the default is used: {mode}",
        "set it: catcherctl mode tls   or   catcherctl mode tcp",
    ),
    "conf-was-missing": (
        WARNING, TRANSIENT + ROOT,
        "/etc/cca/catcher.conf was missing and has been written again: {mode}",
        "look: catcherctl status",
    ),
    "pair-half": (
        ERROR, "",
        "{present} is there and {missing} is not; nothing was generated and nothing changed",
        "bring back {missing}, or move {present} away; then: systemctl restart CSUTKEcat",
    ),
    "pair-unusable": (
        ERROR, ROOT,
        "the key and certificate cannot be used: {reason}",
        "install a good pair: catcherctl cert install KEY CRT",
    ),
    "pair-expired": (
        WARNING, ROOT,
        "the certificate expired on {date}",
        "install a new pair: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "pair-expires-soon": (
        WARNING, "",
        "the certificate expires on {date}",
        "install a new pair in time: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "pair-names-stale": (
        WARNING, "",
        "the certificate does not fit this host any more: {reason}",
        "{hint}",
    ),
    "pair-name-missing": (
        WARNING, "",
        "the certificate does not name {name}; it names {names}",
        "on the TKE, use one of its names as Host Name/IP; or: catcherctl cert request --name {name}",
    ),
    "pair-chain-broken": (
        WARNING, "",
        "the chain in catcher.crt is broken: {reason}",
        "install the certificates in order, the server's first: catcherctl cert install KEY CRT",
    ),
    "pair-not-yet-valid": (
        WARNING, ROOT,
        "the certificate is not valid before {date}",
        "check this host's clock: timedatectl",
    ),
    "pair-weak-key": (
        WARNING, "",
        "the RSA key has {bits} bits; use 2048 or more",
        "install a stronger pair: catcherctl cert install KEY CRT",
    ),
    "pair-key-readable": (
        WARNING, "",
        "catcher.key can be read by others than root (mode {mode})",
        "chmod 600 /opt/IBM/CCA/bin/catcher.key",
    ),
    "pair-deferred": (
        INFO, TRANSIENT + ROOT,
        "the key and certificate are left to the first start of the catcher: {reason}",
        "nothing needs to be done; look afterwards: catcherctl status",
    ),
    "pair-not-generated": (
        ERROR, FAILURE,
        "the key and certificate could not be generated: {reason}",
        "{hint}",
    ),
    "pair-not-replaced": (
        ERROR, FAILURE + TRANSIENT,
        "the new key and certificate were not put in place: {reason}",
        "{hint}",
    ),
    "pair-unchecked": (
        INFO, ROOT,
        "the key and certificate were not checked: {reason}",
        "install python3-cryptography",
    ),
    "write-failed": (
        ERROR, FAILURE,
        "{path} could not be written: {reason}",
        "mend that, then: catcherctl apply",
    ),
    "service-failed": (
        ERROR, FAILURE + TRANSIENT,
        "systemctl {verb} {unit} failed: {reason}",
        "look: systemctl status CSUTKEcat",
    ),
    "not-running": (
        ERROR, "",
        "the service is enabled and the catcher does not run",
        "systemctl start CSUTKEcat   (why it ended: journalctl -u CSUTKEcat)",
    ),
    "not-listening": (
        ERROR, "",
        "the catcher runs and nothing listens on port {port}",
        "systemctl restart CSUTKEcat   (what it says: journalctl -u CSUTKEcat)",
    ),
    "port-taken": (
        ERROR, "",
        "port {port} is held by {program} (PID {pid}), so the catcher cannot listen",
        "stop that program, then: systemctl restart CSUTKEcat",
    ),
    "port-taken-outgoing": (
        ERROR, "",
        "port {port} is taken by an outgoing connection of {program} (PID {pid})",
        "restart that program; the catcher comes up by itself then, and each of its starts reserves the port",
    ),
    "port-closing": (
        WARNING, "",
        "port {port} is not free yet: the kernel keeps a connection that was closed for up to a minute",
        "wait a minute; the catcher comes up by itself then. Look: catcherctl status",
    ),
    "port-shared": (
        WARNING, "",
        "{other} listens on port {port} too, on another address: who connects there does not reach the catcher",
        "see where: ss -tlnp 'sport = :{port}'   and stop that program",
    ),
    "not-verified": (
        WARNING, TRANSIENT,
        "not verified: the catcher runs as it should; {reason}",
        "look from another host that may connect: catcherctl probe HOST",
    ),
    "mode-not-running": (
        WARNING, "",
        "catcher.conf says {configured}, and the running catcher speaks {running}",
        "systemctl restart CSUTKEcat",
    ),
    "unit-forking": (
        WARNING, "",
        "the edited unit in /etc/systemd/system says Type=forking, as CCA 7.x did; it is still served that way",
        "set Type=simple and remove PIDFile: systemctl edit --full CSUTKEcat",
    ),
    "payload-missing": (
        ERROR, "",
        "/opt/IBM/CCA/bin/catcher.exe is missing or not executable",
        "install the package again",
    ),
    "scriptlet-unknown": (
        WARNING, TRANSIENT + ROOT,
        "the package manager's call is not understood: {arguments}",
        "look: catcherctl status",
    ),
    "busy": (
        WARNING, TRANSIENT + ROOT + FAILURE,
        "another converge was still at work after {seconds} seconds",
        "wait for it, then: catcherctl apply",
    ),
    # What a probe finds at the far side.
    "probe-unknown-name": (
        ERROR, "",
        "{host} cannot be looked up: {reason}",
        "try its IP address, or add the name to DNS or /etc/hosts; the TKE must know it, too",
    ),
    "probe-refused": (
        ERROR, "",
        "nothing listens on port {port} of {host}: the connection was refused",
        "on that host: systemctl status CSUTKEcat",
    ),
    "probe-unreachable": (
        ERROR, "",
        "{host} port {port} cannot be reached: {reason}",
        "check the address, the route and the firewalls on the way",
    ),
    "probe-timeout": (
        ERROR, "",
        "{host} port {port} did not answer: {reason}",
        "check the address and every firewall on the way; on that host: systemctl status CSUTKEcat",
    ),
    "probe-speaks-tcp": (
        WARNING, "",
        "{host} port {port} speaks plain TCP, not TLS: {reason}",
        "on the TKE, untick the box Enable SSL/TLS of this host; or, on that host: catcherctl mode tls",
    ),
    "probe-tls-too-old": (
        ERROR, "",
        "{host} port {port} speaks no TLS that is new enough, and the catcher and the TKE need 1.2: {reason}",
        "update OpenSSL on that host, or see what else listens there: ss -ltnp 'sport = :{port}'",
    ),
    "probe-handshake-refused": (
        ERROR, "",
        "{host} port {port} speaks TLS and refused the handshake: {reason}",
        "on that host: journalctl -u CSUTKEcat",
    ),
    "probe-handshake-broken": (
        ERROR, "",
        "the TLS handshake with {host} port {port} broke off: {reason}",
        "on that host: journalctl -u CSUTKEcat",
    ),
    "probe-without-ssl": (
        ERROR, "",
        "{host} port {port} speaks TLS, and the Python here cannot: {reason}",
        "install OpenSSL's library for it, or the python3 package again",
    ),
    "probe-name-mismatch": (
        WARNING, "",
        "the certificate is not for {name}; the TKE will refuse it under that Host Name/IP",
        "use one of these on the TKE: {names}; or install another pair on that host: catcherctl cert install KEY CRT",
    ),
    "probe-name-only-cn": (
        INFO, "",
        "{name} is in the CN only, while the certificate lists other DNS names in its SAN",
        "nothing for the TKE; other TLS clients look at the SAN only",
    ),
    "probe-certificate-expired": (
        WARNING, "",
        "certificate {number} of {count} ({subject}) expired on {date}",
        "install a new pair on that host: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "probe-certificate-not-yet-valid": (
        WARNING, "",
        "certificate {number} of {count} ({subject}) is not valid before {date}",
        "check the clocks of this host and of that one: timedatectl",
    ),
    "probe-certificate-expires-soon": (
        WARNING, "",
        "certificate {number} of {count} ({subject}) expires on {date}",
        "install a new pair on that host in time: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "probe-certificate-unreadable": (
        WARNING, "",
        "certificate {number} of {count} cannot be read: {reason}",
        "install python3-cryptography here; if it stays so, install another pair on that host",
    ),
    "probe-self-signed": (
        INFO, "",
        "the certificate is self-signed: the TKE accepts it once it is imported there",
        "compare the hashes above with the TKE's Confirm Import window; the steps: catcherctl tke-guide",
    ),
    "probe-chain-incomplete": (
        INFO, "",
        "the issuer of certificate {number} of {count} ({issuer}) was not sent",
        "import that CA into the TKE by USB stick, or add its certificate behind the others in catcher.crt there",
    ),
    "probe-chain-unverified": (
        WARNING, "",
        "the chain does not verify, even with its last certificate as trust anchor: {reason}",
        "install a pair with its chain in order, server certificate first: catcherctl cert install KEY CRT",
    ),
    "probe-address-failed": (
        INFO, "",
        "{host} also has the address {address}, and that one did not answer: {reason}",
        "check it, since the TKE may try it first",
    ),
}


def finding(id: str, **facts: str) -> "Finding":
    """A finding of the catalog with its facts filled in later by text() and fix().

    Raises KeyError for an id that the catalog does not have.
    """
    CATALOG[id]
    facts["id"] = id
    return facts


def severity(found: "Finding") -> str:
    """INFO, WARNING or ERROR; WARNING for an id of another version of the package."""
    return _row(found)[0]


def needs_attention(found: "Finding") -> bool:
    """Whether an administrator should do something about it."""
    return severity(found) != INFO


def is_marked(found: "Finding", mark: str) -> bool:
    """Whether a finding has one of the marks LASTING, TRANSIENT, FAILURE and ROOT."""
    return mark in _row(found)[1]


def _row(found: "Finding") -> "Tuple[str, str, str, str]":
    return CATALOG.get(found["id"]) or (WARNING, "", found["id"], "catcherctl status")


class _Facts(dict):
    """A finding's facts for str.format_map; one that is missing (a stamp of another version) shows as "?"."""

    def __missing__(self, name: str) -> str:
        return "?"


def text(found: "Finding") -> str:
    """What is wrong, one line."""
    return _row(found)[2].format_map(_Facts(found))


def fix(found: "Finding") -> str:
    """What to type, one line."""
    return _row(found)[3].format_map(_Facts(found))
