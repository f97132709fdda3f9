"""Every finding: a stable id, how serious it is, what is wrong, and what to type.

Ids are an interface: scripts read them from ``catcherctl status --json`` and from the journal.
"""

MYPY = False
if MYPY:
    from typing import Dict

    Finding = Dict[str, str]

INFO = "info"
WARNING = "warning"
ERROR = "error"

# id: (severity, what is wrong, what to type)
CATALOG = {
    "upgraded-tcp-kept": (
        WARNING,
        "upgraded from CCA 7.x: the catcher still speaks plain TCP, as before",
        "to finish TLS setup: catcherctl mode tls   and then: catcherctl tke-guide   "
        "(to keep TCP and end this: catcherctl mode tcp)",
    ),
    "tls-not-possible": (
        WARNING,
        "TLS is not possible, so the catcher is set to plain TCP: {reason}",
        "install OpenSSL 1.1.1 or newer with its library, then: catcherctl mode tls",
    ),
    "tls-configured-tcp-running": (
        WARNING,
        "configured TLS, running TCP: {reason}",
        "install OpenSSL 1.1.1 or newer with its library, then: systemctl restart CSUTKEcat",
    ),
    "tls-required-not-possible": (
        ERROR,
        "TLS_REQUIRED is set and TLS is not possible: {reason}",
        "install OpenSSL 1.1.1 or newer with its library, then: systemctl restart CSUTKEcat",
    ),
    "tls-unknown": (
        INFO,
        "whether TLS is possible is decided at the first start of the catcher: {reason}",
        "on the running system: catcherctl status",
    ),
    "mode-undecided": (
        WARNING,
        "the mode is not decided yet: {reason}",
        "mend that, then: catcherctl apply",
    ),
    "conf-unusable": (
        ERROR,
        "/etc/cca/catcher.conf was left as it is, because it cannot be used: {reason}",
        "leave one line TLS_ON or TLS_OFF in it, then: systemctl restart CSUTKEcat",
    ),
    "conf-no-directive": (
        WARNING,
        "/etc/cca/catcher.conf has no directive; the default is used: {mode}",
        "set it: catcherctl mode tls   or   catcherctl mode tcp",
    ),
    "conf-was-missing": (
        WARNING,
        "/etc/cca/catcher.conf was missing and has been written again: {mode}",
        "look: catcherctl status",
    ),
    "pair-half": (
        ERROR,
        "{present} is there and {missing} is not; nothing was generated and nothing changed",
        "bring back {missing}, or move {present} away; then: systemctl restart CSUTKEcat",
    ),
    "pair-unusable": (
        ERROR,
        "the key and certificate cannot be used: {reason}",
        "install a good pair: catcherctl cert install KEY CRT",
    ),
    "pair-expired": (
        WARNING,
        "the certificate expired on {date}",
        "install a new pair: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "pair-expires-soon": (
        WARNING,
        "the certificate expires on {date}",
        "install a new pair in time: catcherctl cert install KEY CRT   (and import it into the TKE)",
    ),
    "pair-names-stale": (
        WARNING,
        "the certificate does not fit this host any more: {reason}",
        "{hint}",
    ),
    "pair-name-missing": (
        WARNING,
        "the certificate does not name {name}; it names {names}",
        "on the TKE, use one of its names as Host Name/IP; or: catcherctl cert request --name {name}",
    ),
    "pair-chain-broken": (
        WARNING,
        "the chain in catcher.crt is broken: {reason}",
        "install the certificates in order, the server's first: catcherctl cert install KEY CRT",
    ),
    "pair-not-yet-valid": (
        WARNING,
        "the certificate is not valid before {date}",
        "check this host's clock: timedatectl",
    ),
    "pair-weak-key": (
        WARNING,
        "the RSA key has {bits} bits; use 2048 or more",
        "install a stronger pair: catcherctl cert install KEY CRT",
    ),
    "pair-key-readable": (
        WARNING,
        "catcher.key can be read by others than root (mode {mode})",
        "chmod 600 /opt/IBM/CCA/bin/catcher.key",
    ),
    "pair-deferred": (
        INFO,
        "the key and certificate are left to the first start of the catcher: {reason}",
        "nothing needs to be done; look afterwards: catcherctl status",
    ),
    "pair-not-generated": (
        ERROR,
        "the key and certificate could not be generated: {reason}",
        "{hint}",
    ),
    "pair-not-replaced": (
        ERROR,
        "the new key and certificate were not put in place: {reason}",
        "{hint}",
    ),
    "pair-unchecked": (
        INFO,
        "the key and certificate were not checked: {reason}",
        "install python3-cryptography",
    ),
    "write-failed": (
        ERROR,
        "{path} could not be written: {reason}",
        "mend that, then: catcherctl apply",
    ),
    "service-failed": (
        ERROR,
        "systemctl {verb} {unit} failed: {reason}",
        "look: systemctl status CSUTKEcat",
    ),
    "not-running": (
        ERROR,
        "the service is enabled and the catcher does not run",
        "systemctl start CSUTKEcat   (why it ended: journalctl -u CSUTKEcat)",
    ),
    "not-listening": (
        ERROR,
        "the catcher runs and nothing listens on port {port}",
        "systemctl restart CSUTKEcat   (what it says: journalctl -u CSUTKEcat)",
    ),
    "port-taken": (
        ERROR,
        "port {port} is held by {program} (PID {pid}), so the catcher cannot listen",
        "stop that program, then: systemctl restart CSUTKEcat",
    ),
    "port-taken-outgoing": (
        ERROR,
        "port {port} is taken by an outgoing connection of {program} (PID {pid})",
        "keep the port free: sysctl -w net.ipv4.ip_local_reserved_ports={port}; then restart that program",
    ),
    "mode-not-running": (
        WARNING,
        "catcher.conf says {configured}, and the running catcher speaks {running}",
        "systemctl restart CSUTKEcat",
    ),
    "unit-forking": (
        WARNING,
        "the edited unit in /etc/systemd/system says Type=forking, as CCA 7.x did; it is still served that way",
        "set Type=simple and remove PIDFile: systemctl edit --full CSUTKEcat",
    ),
    "payload-missing": (
        ERROR,
        "/opt/IBM/CCA/bin/catcher.exe is missing or not executable",
        "install the package again",
    ),
    "scriptlet-unknown": (
        WARNING,
        "the package manager's call is not understood: {arguments}",
        "look: catcherctl status",
    ),
    "busy": (
        WARNING,
        "another converge was still at work after {seconds} seconds",
        "wait for it, then: catcherctl apply",
    ),
}

# Findings that say what happened once. They stay in the stamp until the mode they speak of changes.
LASTING = ("upgraded-tcp-kept", "tls-not-possible")

# Findings that say why the last run could not finish; only its stamp knows them.
FAILURES = ("write-failed", "pair-not-generated")

# Findings that say only what this run did; they are told and not kept.
TRANSIENT = ("conf-was-missing", "scriptlet-unknown", "busy", "pair-deferred")


def finding(id: str, **facts: str) -> "Finding":
    """A finding of the catalog with its facts filled in later by text() and fix().

    Raises KeyError for an id that the catalog does not have.
    """
    CATALOG[id]
    facts["id"] = id
    return facts


def severity(found: "Finding") -> str:
    """INFO, WARNING or ERROR; WARNING for an id of another version of the package."""
    return CATALOG.get(found["id"], (WARNING, "", ""))[0]


class _Facts(dict):
    """A finding's facts for str.format_map; one that is missing (a stamp of another version) shows as "?"."""

    def __missing__(self, name: str) -> str:
        return "?"


def _fill(template: str, found: "Finding") -> str:
    return template.format_map(_Facts(found))


def text(found: "Finding") -> str:
    """What is wrong, one line."""
    return _fill(CATALOG.get(found["id"], ("", found["id"], ""))[1], found)


def fix(found: "Finding") -> str:
    """What to type, one line."""
    return _fill(CATALOG.get(found["id"], ("", "", "catcherctl status"))[2], found)
