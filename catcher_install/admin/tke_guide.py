"""The steps at the TKE console, with this host's names, port and certificate hashes filled in.

Source: vendor text, "Importing the catcher certificate into the TKE", "Enable TLS connections on the TKE" and "Enable
TCP connections on the TKE". Names of windows, links, menus, fields and buttons are quoted as the console shows them.
"""

import re
import textwrap

from .. import config, paths, reference, systemd
from ..cert import details, host_names
from ..cert.names import canonical
from ..facts import read_config
from ..record import Record
from ..text import moment, shown
from . import daemon
from .installed_pair import installed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..host import Host

SHOWN_NAMES = 8
WIDTH = 100

# textwrap does not break a line at this character, and shown() lets none through.
NO_BREAK = "\xa0"

# The vendor text spells it "Privilaged".
PRIVILEGED = '"Privileged Mode Access"'


class GuideFacts(Record):
    """What the steps depend on.

    names: this host's names and addresses. certificate: the first one in catcher.crt, or None; problem: why it is None.
    without_pair: there is neither a key nor a certificate. configured: config.TLS, config.TCP, or None if catcher.conf
    sets no mode; conf_problem: why that file cannot be used, or "". running: config.TLS or config.TCP; None if no
    daemon runs or if only root can see its mode; hidden: the latter is the case. use: whether the daemon uses the
    certificate, see daemon.use_of_pair(). port: where the daemon listens. now: seconds since the epoch.
    """

    __slots__ = ("names", "certificate", "problem", "without_pair", "configured", "conf_problem", "running",
                 "hidden", "use", "port", "now")
    names: "host_names.HostNames"
    certificate: "Optional[details.Certificate]"
    problem: str
    without_pair: bool
    configured: "Optional[str]"
    conf_problem: str
    running: "Optional[str]"
    hidden: bool
    use: str
    port: int
    now: float

    def typed(self, mode: str) -> "List[str]":
        """Return what may be typed as Host Name/IP, the best first: this host's names that others can use and, for TLS,
        that the certificate contains. If it contains none of them, the certificate's own names."""
        own = [canonical(name) for name in (self.names.full, self.names.short) if name.split(".")[0] != "localhost"]
        own = list(dict.fromkeys(own + self.names.addresses))
        if mode != config.TLS or self.certificate is None or self.certificate.problem:
            return own
        theirs = [name for name in self.certificate.names() if "*" not in name]
        return [name for name in own if details.match(name, self.certificate)] or theirs

    def probed(self, host: str) -> str:
        """HOST[:PORT] of a probe."""
        if self.port == paths.PORT:
            return host
        return ("[%s]:%d" if ":" in host else "%s:%d") % (host, self.port)


def collect(host: "Host") -> GuideFacts:
    """Return the facts of a host. Does not need root if everybody may read catcher.crt. Raises CatcherError if only
    root may read the catcher's port."""
    reference.require_in_sight(host)
    seen = installed(host)
    conf = read_config(host)
    pid = systemd.catcher(host)
    running = systemd.running_mode(host, pid)
    return GuideFacts(
        names=host_names.collect(host), certificate=seen.chain[0] if seen.chain else None,
        problem=seen.problem, now=host.now(),
        without_pair=not host.lexists(paths.KEY) and not host.lexists(paths.CERTIFICATE),
        running=running, hidden=running is None and pid is not None,
        use=daemon.use_of_pair(host, [one.sha256 for one in seen.chain]) if seen.chain else daemon.NOT_KNOWN,
        configured=conf.mode, conf_problem=conf.problem, port=reference.port(host),
    )


def guide(mode: "Optional[str]", facts: GuideFacts) -> "List[str]":
    """Return the steps for a mode, plain ASCII.

    mode: config.TLS or config.TCP; None for the configured mode, or TLS if none is configured.
    """
    mode = mode or facts.configured or config.TLS
    typed = facts.typed(mode)
    host = shown(typed[0]) if typed else "HOST"
    text = ["Connecting a TKE to this catcher over %s" % ("TLS" if mode == config.TLS else "plain TCP"), ""]
    text += _this_host(mode, facts, typed) + [""]
    text.append("Before you begin")
    for one in _before(mode, facts, typed):
        # A command must stay in one line, so that it can be copied.
        one = re.sub(r"(catcherctl|systemctl)( [\w-]+)* \S+", lambda found: found.group().replace(" ", NO_BREAK), one)
        wrapped = textwrap.wrap(one, WIDTH, initial_indent="  - ", subsequent_indent="    ", break_long_words=False,
                                break_on_hyphens=False)
        text += [line.replace(NO_BREAK, " ") for line in wrapped]
    text.append("")
    steps = _import_steps(host, facts.port) if mode == config.TLS else []
    steps += [_host_steps(mode, host, facts.port), _last_step(mode, facts.probed(host))]
    for number, (title, lines) in enumerate(steps, 1):
        text += ["%d. %s" % (number, title), ""] + lines + [""]
    return text[:-1]


def _this_host(mode: str, facts: GuideFacts, typed: "List[str]") -> "List[str]":
    text = ["This host", "  Host Name/IP  %s" % (shown(typed[0]) if typed else "not known")]
    if len(typed) > 1:
        more = ", ".join(shown(name) for name in typed[1:SHOWN_NAMES])
        text.append("                or: %s%s" % (more, " ..." if len(typed) > SHOWN_NAMES else ""))
    text.append("  Port          %d" % facts.port)
    one = facts.certificate
    if mode == config.TLS and one is not None:
        text += [
            "  Certificate   %s" % (shown(one.subject) or "(no subject)"),
            "  Valid         %s to %s" % (moment(one.not_before), moment(one.not_after)),
            "  SHA-1         %s" % one.sha1,
            "  SHA-256       %s" % one.sha256,
        ]
    return text


def _before(mode: str, facts: GuideFacts, typed: "List[str]") -> "List[str]":
    """Return what must be done or known on this host first."""
    text = []
    wanted = mode.upper()
    if mode == config.TLS:
        text += _before_tls(facts, typed)
    if not typed:
        text.append("This host has no name or address that others can use. Instead of HOST, type the name or address "
                    "by which the TKE reaches it.")
    if facts.conf_problem:
        text.append("The mode is not known (catcher.conf: %s). On this host, type: catcherctl status"
                    % facts.conf_problem)
    elif facts.configured != mode:
        said = "is configured for %s" % facts.configured.upper() if facts.configured else "has no mode configured"
        text.append("The catcher %s. When the TKE is about to change, too, type on this host: catcherctl mode %s. "
                    "Until then only step 1 B can be done." % (said, mode) if facts.configured == config.TCP else
                    "The catcher %s. On this host, type: catcherctl mode %s" % (said, mode))
    elif facts.hidden:
        text.append("The catcher is configured for %s, and only root can see in which mode it runs. On this host, "
                    "type: sudo catcherctl status" % wanted)
    elif facts.running is None:
        text.append("The catcher is configured for %s and does not run. On this host, type: "
                    "systemctl start CSUTKEcat" % wanted)
    elif facts.running != mode:
        text.append("The catcher is configured for %s and runs in %s mode. On this host, type: catcherctl status"
                    % (wanted, facts.running.upper()))
    elif mode == config.TLS and facts.use == daemon.NOT_IN_USE:
        text.append("The key and certificate were changed, and the running catcher still uses the previous "
                    "certificate. As soon as the TKE trusts the new one (step 1 B), type on this host: %s"
                    % daemon.RESTART)
    elif mode == config.TLS and facts.use == daemon.DOUBTFUL:
        text.append("The key and certificate were changed after the catcher was started, and this guide cannot see "
                    "whether it uses them. Type: catcherctl probe %s. If it shows other hashes than those above, on "
                    "this host, type: %s" % (facts.probed(shown(typed[0]) if typed else "HOST"), daemon.RESTART))
    else:
        text.append("The catcher is configured for %s and running. You have nothing more to do on this host." % wanted)
    if mode == config.TCP:
        text.append("Plain TCP is not encrypted. CCA 8.0 and newer can do TLS. For the steps, type: "
                    "catcherctl tke-guide tls")
    return text


def _before_tls(facts: GuideFacts, typed: "List[str]") -> "List[str]":
    one = facts.certificate
    if one is None:
        # "generate" replaces nothing, and "check" says what to type instead.
        verb = "generate" if facts.without_pair else "check"
        return ["This guide cannot show a certificate: %s." % facts.problem,
                "On this host, type: catcherctl cert %s" % verb,
                "Then type again: catcherctl tke-guide. It will show the hashes that you have to compare."]
    text = []
    if facts.now > one.not_after:
        # Only root can see who made the certificate, which decides how it is renewed.
        text.append("The certificate has expired. To see how to renew it, on this host, type: catcherctl cert check")
    elif facts.now < one.not_before:
        text.append("The certificate is not valid yet. Check this host's clock: timedatectl")
    own = [canonical(name) for name in (facts.names.full, facts.names.short)] + facts.names.addresses
    if not typed:
        text.append("The certificate contains no name that you can type. To see how to get another certificate, on "
                    "this host, type: catcherctl cert check")
    elif not any(name in own for name in typed):
        text.append("The certificate does not contain the names and addresses of this host, only those above. They "
                    "must lead to this host.")
    if not one.self_issued:
        text.append("A CA signed the certificate (%s). If the TKE has the certificate of that CA already, skip step 1. "
                    "If not, import the certificate of the CA: copy the file to the stick, follow step 1 B from c on, "
                    "choose that file, and compare its hashes with those that the CA publishes." % shown(one.issuer))
    return text


def _import_steps(host: str, port: int) -> "List[Tuple[str, List[str]]]":
    title = "Let the TKE trust the certificate: follow A or B. Repeat this whenever the certificate changes."
    return [(title, [
        '   A. Over the network ("From Remote Server"); the catcher must run in TLS mode',
        "      a. On the TKE Welcome Page, choose %s and log in." % PRIVILEGED,
        '      b. Open "Service Management". Under "Configuration", open "Certificate Management".',
        '      c. In "Manage Trusted Signing Certificates", open the menu "Import" and choose "From Remote Server".',
        '      d. In "Import Remote Certificate", type  IP/Host %s  and  Port %d,  then press "OK".' % (
            host, port),
        "         Use the same host and port as in the host definition in step 2.",
        '      e. "Confirm Import" shows a certificate. Compare its hashes with those above. Press "Yes" only if they',
        "         are the same. If they differ, the certificate is not from this host: do not confirm.",
        '      f. "Manage Trusted Signing Certificates" now lists the certificate.',
        "",
        '   B. By USB stick ("From Removable Media")',
        "      a. Put the stick into the TKE and format it there. This erases the stick. On the TKE Welcome Page,",
        '         choose "Launch the Trusted Key Entry Console", "Service Management", "Format Media". Choose',
        '         "Trusted Key Entry data" and press "Format". Choose your stick in "Select Media Device" and press',
        '         "OK". In "Specify File System", choose a file system that the computer of step b can write, and',
        '         press "Format". Answer the question in "Format Media" with "Yes", and "Format Media Complete" with',
        '         "OK". Take the stick out.',
        "      b. On this host, type: catcherctl cert export DIR",
        "         DIR is the directory where the stick is mounted. It gets catcher.crt and a sheet with the hashes.",
        "         The private key stays on this host. If this host has no USB port, name any directory, copy both",
        "         files from there to a computer that has a USB port, and to the stick. Unmount the stick.",
        "      c. Put the stick into the TKE. On the TKE Welcome Page, choose %s and log in." % PRIVILEGED,
        '      d. Open "Service Management". Under "Configuration", open "Certificate Management".',
        '      e. In "Manage Trusted Signing Certificates", open the menu "Import" and choose "From Removable Media".',
        '      f. Choose your stick in "Select Media Device" and press "OK". Choose catcher.crt in the list on the',
        '         right of "Certificate Management" and press "OK". Press "OK" again to confirm the import.',
        '      g. "Confirm Import" shows the certificate. Compare its hashes with those above. Press "Yes" only if',
        "         they are the same.",
        '      h. "Manage Trusted Signing Certificates" now lists the certificate. Take the stick out.',
    ])]


def _host_steps(mode: str, host: str, port: int) -> "Tuple[str, List[str]]":
    if mode == config.TLS:
        title, box = "Tell the TKE to use TLS for this host", 'Tick the box "Enable SSL/TLS", and press "OK".'
    else:
        title = "Tell the TKE to use plain TCP for this host"
        box = 'If the box "Enable SSL/TLS" is ticked, click it to clear it. Then press "OK".'
    return title, [
        '   a. On the TKE Welcome Page, choose "Launch the Trusted Key Entry Console".',
        '   b. In the left sidebar, open "Trusted Key Entry". Choose your version and log in.',
        '   c. In the window "Trusted Key Entry": if the host is defined already, right-click it and choose',
        '      "Change Host". If it is new, right-click the area "Hosts", choose "Create Host", and type',
        "      Host Name/IP %s  and  Port %d, and the other values that it asks for." % (host, port),
        "   d. " + box,
    ]


def _last_step(mode: str, target: str) -> "Tuple[str, List[str]]":
    said = "TLSv1.2 or TLSv1.3, with the hashes above" if mode == config.TLS else "plain TCP, not TLS"
    return "On another host that has this package, check what the TKE sees", [
        "   Type: catcherctl probe %s" % target,
        "   It must show: Speaks %s." % said,
    ]


def fields(mode: "Optional[str]", facts: GuideFacts) -> "Dict[str, Any]":
    """Return the fields of ``tke-guide --json``; the caller adds format_version.

    mode: "tls" or "tcp". host_names: what may be typed as Host Name/IP, the best first. port. enable_tls: whether the
    box must be ticked. configured, running: "tls", "tcp" or null. certificate: null, or subject, not_before and
    not_after (seconds since the epoch), sha1, sha256. steps: the guide's lines.
    """
    mode = mode or facts.configured or config.TLS
    one = facts.certificate
    wanted = ("subject", "not_before", "not_after", "sha1", "sha256")
    return {
        "mode": mode,
        "host_names": facts.typed(mode),
        "port": facts.port,
        "enable_tls": mode == config.TLS,
        "configured": facts.configured,
        "running": facts.running,
        "certificate": None if one is None else {name: getattr(one, name) for name in wanted},
        "steps": guide(mode, facts),
    }
