"""Every finding: a stable id, how serious it is, how long it holds, what is wrong, and what to do about it.

Ids are an interface: scripts read them from ``catcherctl status --json`` and from the journal.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Tuple

    Finding = Dict[str, str]

# How long before its end a certificate is said to expire soon.
SOON_SECONDS = 30 * 24 * 3600
# A clock that says less than this (2020-01-01) was not set: the product is younger.
CLOCK_FLOOR = 1577836800

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

# id: (severity, marks, what is wrong, what to do). Facts in braces are filled in by text() and fix(). What to do has a
# line for each step: a line that begins with two blanks is a command, complete as it stands, any other a sentence.
CATALOG = {
    "upgraded-tcp-kept": (WARNING, LASTING + ROOT,
        "this host was upgraded from CCA 7.x, and the catcher still speaks plain TCP",
        "to finish the TLS setup:\n  catcherctl mode tls\n  catcherctl tke-guide\n"
        "to keep plain TCP:\n  catcherctl mode tcp",
    ),
    "mode-as-seen": (INFO, TRANSIENT + ROOT,
        "the old catcher ran in {mode} mode (seen in {seen}), so the mode is {mode}",
        "you do not have to do anything; to see the mode, type:\n  catcherctl status",
    ),
    "mode-not-seen": (WARNING, LASTING + ROOT,
        "it is not known in which mode the old catcher ran; it has a key and certificate, so the mode is TLS",
        "if the TKE uses TLS, type:\n  catcherctl mode tls\nif it uses plain TCP, type:\n  catcherctl mode tcp",
    ),
    "mode-changed-by-restart": (WARNING, LASTING + ROOT,
        "catcher.conf says {configured}, and the old catcher ran in {seen} mode: the restart changed the mode",
        "to set the mode that the TKE uses, type one of:\n  catcherctl mode tls\n  catcherctl mode tcp",
    ),
    "tls-not-possible": (WARNING, LASTING + ROOT,
        "TLS is not possible, so the catcher is set to plain TCP: {reason}",
        "install the package openssl, version 1.1.1 or newer with its library, then type:\n  catcherctl mode tls",
    ),
    "tls-configured-tcp-running": (WARNING, "",
        "configured TLS, running TCP: {reason}",
        "install the package openssl, version 1.1.1 or newer with its library, then type:\n"
        "  systemctl restart CSUTKEcat",
    ),
    "tls-required-not-possible": (ERROR, "",
        "TLS_REQUIRED is set, and TLS is not possible: {reason}",
        "install the package openssl, version 1.1.1 or newer with its library, then type:\n"
        "  systemctl restart CSUTKEcat",
    ),
    "tls-not-known": (ERROR, "",
        "the catcher does not start, because it is not known whether TLS is possible: {reason}",
        "systemd tries again by itself; to see why OpenSSL does not answer, type:\n  journalctl -u CSUTKEcat",
    ),
    "tls-unknown": (INFO, "",
        "the first start of the catcher decides whether TLS is possible: {reason}",
        "on the running system, type:\n  catcherctl status",
    ),
    "mode-undecided": (WARNING, "",
        "the mode is not decided yet: {reason}",
        "fix that, then type:\n  catcherctl apply",
    ),
    "conf-unusable": (ERROR, "",
        "/etc/cca/catcher.conf cannot be used and was left as it is: {reason}",
        "leave one line TLS_ON or TLS_OFF in it, then type:\n  systemctl restart CSUTKEcat",
    ),
    "conf-no-directive": (WARNING, "",
        "/etc/cca/catcher.conf sets no mode; the default is used: {mode}",
        "to set TLS:\n  catcherctl mode tls\nto set plain TCP:\n  catcherctl mode tcp",
    ),
    "conf-was-missing": (WARNING, TRANSIENT + ROOT,
        "/etc/cca/catcher.conf was missing and was written again: {mode}",
        "check that this is the mode you want:\n  catcherctl status",
    ),
    "pair-half": (ERROR, "",
        "{present} exists and {missing} does not; nothing was generated or changed",
        "restore {missing}, or move {present} away, then type:\n  systemctl restart CSUTKEcat",
    ),
    "pair-unusable": (ERROR, ROOT,
        "the key and certificate cannot be used: {reason}",
        "install another pair, or make one:\n  catcherctl cert install KEY CRT\n  catcherctl cert generate --force",
    ),
    "pair-expired": (WARNING, ROOT,
        "the certificate expired on {date}",
        "install a new pair, then import its certificate into the TKE:\n  catcherctl cert {action}",
    ),
    "pair-expires-soon": (WARNING, "",
        "the certificate expires on {date}",
        "install a new pair before that date, then import its certificate into the TKE:\n  catcherctl cert {action}",
    ),
    "pair-names-stale": (WARNING, "",
        "the certificate no longer fits this host: {reason}",
        "{hint}",
    ),
    "pair-name-missing": (WARNING, "",
        "the certificate does not name {name}; it names {names}",
        "on the TKE, use a name from the certificate as Host Name/IP; or request a new certificate:\n"
        "  catcherctl cert request --name {name}",
    ),
    "pair-chain-broken": (WARNING, "",
        "the chain in catcher.crt is broken: {reason}",
        "put the certificates in order, the server's own first, then type:\n  catcherctl cert install KEY CRT",
    ),
    "pair-issuer-expired": (WARNING, ROOT,
        "{issuer} expired on {date}",
        "get a new chain from your CA, then type:\n  catcherctl cert install KEY CRT",
    ),
    "pair-issuer-expires-soon": (WARNING, ROOT,
        "{issuer} expires on {date}",
        "get a new chain from your CA before that date, then type:\n  catcherctl cert install KEY CRT",
    ),
    "pair-not-yet-valid": (WARNING, ROOT,
        "the certificate is not valid before {date}",
        "check this host's clock:\n  timedatectl",
    ),
    "pair-not-ready": (INFO, ROOT,
        "the catcher speaks plain TCP; before you change to TLS, the key and certificate need attention: {reason}",
        "{hint}",
    ),
    "pair-weak-key": (WARNING, "",
        "the RSA key has {bits} bits; use 2048 or more",
        "install a stronger pair:\n  catcherctl cert install KEY CRT",
    ),
    "pair-key-readable": (WARNING, "",
        "users other than root can read catcher.key (mode {mode})",
        "let only root read it:\n  chmod 600 /opt/IBM/CCA/bin/catcher.key",
    ),
    "pair-addresses-left-out": (INFO, ROOT,
        "the certificate has no room for {count} addresses of this host: {addresses}",
        "on the TKE, type the host name or another address; to see what the certificate lists:\n  catcherctl cert show",
    ),
    "pair-addresses-temporary": (INFO, TRANSIENT + ROOT,
        "the certificate does not name the temporary IPv6 addresses of this host: {addresses}",
        "on the TKE, type the host name or another address; to see what the certificate lists:\n  catcherctl cert show",
    ),
    "clock-unset": (ERROR, TRANSIENT + ROOT,
        "no key and certificate were made, because this host's clock says {date}, and they would expire too early",
        "set the clock; the next start makes them. To see the clock:\n  timedatectl",
    ),
    "pair-deferred": (INFO, TRANSIENT + ROOT,
        "the first start of the catcher will make the key and certificate: {reason}",
        "you do not have to do anything; after the start you can check:\n  catcherctl status",
    ),
    "pair-not-generated": (ERROR, FAILURE,
        "the key and certificate could not be generated: {reason}",
        "{hint}",
    ),
    "pair-not-replaced": (ERROR, FAILURE + TRANSIENT,
        "the new key and certificate were not installed: {reason}",
        "{hint}",
    ),
    "pair-unchecked": (INFO, ROOT,
        "the key and certificate were not checked: {reason}",
        "fix that, then type:\n  catcherctl cert check",
    ),
    "write-failed": (ERROR, FAILURE,
        "{path} could not be written: {reason}",
        "fix that, then type:\n  catcherctl apply",
    ),
    "internal-fault": (ERROR, FAILURE + TRANSIENT,
        "an internal fault stopped the change: {reason}",
        "see what happened:\n  journalctl -t csulcca",
    ),
    "service-failed": (ERROR, FAILURE + TRANSIENT,
        "systemctl {verb} {unit} failed: {reason}",
        "see why:\n  systemctl status CSUTKEcat",
    ),
    "service-state-unknown": (WARNING, TRANSIENT + ROOT,
        "it is not known whether the old catcher ran, so the service was not started",
        "if it ran, type:\n  systemctl start CSUTKEcat",
    ),
    "not-running": (ERROR, "",
        "the service is enabled and the catcher does not run",
        "start it:\n  systemctl start CSUTKEcat\nsee why it stopped:\n  journalctl -u CSUTKEcat",
    ),
    "disabled-failed": (WARNING, "",
        "the catcher has failed, and the service is disabled, so it does not start at boot either",
        "start it:\n  systemctl start CSUTKEcat\nsee why it failed:\n  journalctl -u CSUTKEcat\n"
        "let it start at boot:\n  systemctl enable CSUTKEcat",
    ),
    "disabled-not-running": (INFO, "",
        "the service is disabled and the catcher does not run, so a TKE cannot connect",
        "if it should run:\n  systemctl enable --now CSUTKEcat",
    ),
    "masked-not-running": (INFO, "",
        "the service is masked and the catcher does not run, so a TKE cannot connect",
        "if it should run:\n  systemctl unmask CSUTKEcat\n  systemctl enable --now CSUTKEcat",
    ),
    "backend-unreachable": (WARNING, "",
        "the backend {backend} does not take connections: {reason}",
        "start the backend, or name another one in /etc/cca/reference-catcher.conf, then type:\n"
        "  systemctl restart CSUTKEcat",
    ),
    "not-listening": (ERROR, "",
        "the catcher runs, but does not listen on port {port}",
        "restart it:\n  systemctl restart CSUTKEcat\nsee what it says:\n  journalctl -u CSUTKEcat",
    ),
    "port-taken": (ERROR, "",
        "{program} (PID {pid}) has port {port}, so the catcher cannot listen",
        "stop that program, then type:\n  systemctl restart CSUTKEcat",
    ),
    "port-taken-outgoing": (ERROR, "",
        "an outgoing connection of {program} (PID {pid}) uses port {port}",
        "restart that program; the catcher then starts by itself, and reserves the port for its next starts",
    ),
    "port-closing": (WARNING, "",
        "port {port} is not free yet: the kernel keeps a closed connection for about a minute",
        "wait a minute; the catcher then starts by itself; to check:\n  catcherctl status",
    ),
    "port-waiting": (WARNING, TRANSIENT,
        "port {port} is not free; this start waits for it for a little more than a minute",
        "to see who has it:\n  catcherctl status",
    ),
    "port-shared": (WARNING, "",
        "{other} also listens on port {port}, on another address; connections to it do not reach the catcher",
        "find that program and stop it:\n  ss -tlnp 'sport = :{port}'",
    ),
    "not-verified": (WARNING, TRANSIENT,
        "not verified: the catcher runs as it should, but {reason}",
        "on another host that may connect, type:\n  catcherctl probe HOST",
    ),
    "key-storage-unreached": (ERROR, "",
        "{storage} leads to {path}, and the running catcher cannot write there",
        "restart the catcher:\n  systemctl restart CSUTKEcat\n"
        "if it still cannot write there, the key storage must not be below /home, /root, /run, /tmp or /var/tmp",
    ),
    "mode-not-running": (WARNING, "",
        "catcher.conf says {configured}, and the running catcher speaks {running}",
        "restart the catcher:\n  systemctl restart CSUTKEcat",
    ),
    "stamp-of-newer-version": (WARNING, TRANSIENT + ROOT,
        "csulcca {theirs} was set up on this host before, and this version, {ours}, is older",
        "the settings of the newer version stay; to check the state of this host, type:\n  catcherctl status",
    ),
    "unit-forking": (WARNING, "",
        "the edited unit in /etc/systemd/system still says Type=forking, as in CCA 7.x; it works for now",
        "set Type=simple and remove PIDFile:\n  systemctl edit --full CSUTKEcat",
    ),
    "payload-missing": (ERROR, "",
        "/opt/IBM/CCA/bin/catcher.exe is missing or not executable",
        "reinstall the package csulcca",
    ),
    "scriptlet-unknown": (WARNING, TRANSIENT + ROOT,
        "the package manager called a hook with arguments that it does not know: {arguments}",
        "check the state of this host:\n  catcherctl status",
    ),
    "busy": (WARNING, TRANSIENT + ROOT + FAILURE,
        "another csulcca run had not finished after {seconds} seconds",
        "wait until it has finished, then type:\n  catcherctl apply",
    ),
    # What a probe finds at the far side.
    "probe-unknown-name": (ERROR, "",
        "the name {host} cannot be resolved: {reason}",
        "use its IP address, or add the name to DNS or /etc/hosts; the TKE must know the name too",
    ),
    "probe-refused": (ERROR, "",
        "the connection to port {port} of {host} was refused: nothing listens there, or a firewall refuses it",
        "on that host, type:\n  catcherctl status",
    ),
    "probe-unreachable": (ERROR, "",
        "{host} port {port} cannot be reached: {reason}",
        "check the address, the route, and the firewalls between here and there",
    ),
    "probe-timeout": (ERROR, "",
        "{host} port {port} did not answer: {reason}",
        "check the address, and the firewalls between here and there; on that host, type:\n"
        "  systemctl status CSUTKEcat",
    ),
    "probe-speaks-tcp": (WARNING, "",
        "{host} port {port} speaks plain TCP, not TLS: {reason}",
        "on the TKE, clear the box Enable SSL/TLS of this host; or, on that host, type:\n  catcherctl mode tls",
    ),
    "probe-tls-too-old": (ERROR, "",
        "{host} port {port} speaks only TLS older than 1.2; the TKE and the catcher need 1.2 or newer: {reason}",
        "update OpenSSL on that host, or see which program listens there:\n  ss -ltnp 'sport = :{port}'",
    ),
    "probe-handshake-refused": (ERROR, "",
        "{host} port {port} speaks TLS and refused the handshake: {reason}",
        "on that host, type:\n  journalctl -u CSUTKEcat",
    ),
    "probe-handshake-broken": (ERROR, "",
        "the TLS handshake with {host} port {port} failed: {reason}",
        "on that host, type:\n  journalctl -u CSUTKEcat",
    ),
    "probe-without-ssl": (ERROR, "",
        "{host} port {port} speaks TLS, and Python on this host cannot: {reason}",
        "install the OpenSSL library that Python needs, or reinstall the package python3",
    ),
    "probe-name-mismatch": (WARNING, "",
        "the certificate is not for {name}; the TKE will refuse it under that Host Name/IP",
        "on the TKE, use one of these as Host Name/IP: {names}\n"
        "or, on that host, install another pair:\n  catcherctl cert install KEY CRT",
    ),
    "probe-name-only-cn": (INFO, "",
        "{name} is only in the CN, while the SAN lists other DNS names",
        "the TKE accepts this; other TLS clients look only at the SAN",
    ),
    "probe-certificate-expired": (WARNING, "",
        "certificate {number} of {count} ({subject}) expired on {date}",
        "on that host, install a new pair, then import its certificate into the TKE:\n"
        "  catcherctl cert install KEY CRT",
    ),
    "probe-certificate-not-yet-valid": (WARNING, "",
        "certificate {number} of {count} ({subject}) is not valid before {date}",
        "check the clocks of both hosts:\n  timedatectl",
    ),
    "probe-certificate-expires-soon": (WARNING, "",
        "certificate {number} of {count} ({subject}) expires on {date}",
        "on that host, install a new pair before that date, then import its certificate into the TKE:\n"
        "  catcherctl cert install KEY CRT",
    ),
    "probe-certificate-unreadable": (WARNING, "",
        "certificate {number} of {count} cannot be read: {reason}",
        "install the package python3-cryptography here; if that does not help, install another pair on that host",
    ),
    "probe-self-signed": (INFO, "",
        "the certificate is self-signed: the TKE accepts it after you import it there",
        "compare the hashes above with the window Confirm Import of the TKE; for the steps, type on that host:\n"
        "  catcherctl tke-guide",
    ),
    "probe-chain-incomplete": (INFO, "",
        "the issuer of certificate {number} of {count} ({issuer}) was not sent",
        "import the certificate of that CA into the TKE by USB stick, or append it to catcher.crt on that host",
    ),
    "probe-chain-unverified": (WARNING, "",
        "the chain does not verify, even with its last certificate as trust anchor: {reason}",
        "on that host, install a pair with its chain in order, the server's certificate first:\n"
        "  catcherctl cert install KEY CRT",
    ),
    "probe-cafile-unverified": (WARNING, "",
        "the chain does not verify with the certificates in {file}: {reason}",
        "compare the hashes above with those of that host's certificate; there, type:\n  catcherctl cert show",
    ),
    "probe-address-failed": (INFO, "",
        "{host} also has the address {address}, which did not answer: {reason}",
        "check that address, because the TKE may try it first",
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
    severity, _, _, _ = _row(found)
    return severity


def needs_attention(found: "Finding") -> bool:
    """Whether an administrator should do something about it."""
    return severity(found) != INFO


def is_marked(found: "Finding", mark: str) -> bool:
    """Whether a finding has one of the marks LASTING, TRANSIENT, FAILURE and ROOT."""
    _, marks, _, _ = _row(found)
    return mark in marks


def _row(found: "Finding") -> "Tuple[str, str, str, str]":
    return CATALOG.get(found["id"]) or (WARNING, "", found["id"], "see:\n  catcherctl status")


class _Facts(dict):
    """A finding's facts for str.format_map; one that is missing (a stamp of another version) shows as "?"."""

    def __missing__(self, name: str) -> str:
        return "?"


def text(found: "Finding") -> str:
    """What is wrong, one line."""
    _, _, text, _ = _row(found)
    return text.format_map(_Facts(found))


def fix(found: "Finding") -> str:
    """What to do, a line for each step; a line that begins with two blanks is a command."""
    _, _, _, fix = _row(found)
    return fix.format_map(_Facts(found))
