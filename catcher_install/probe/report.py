"""The result of a probe as text for a person, as fields for scripts, and as an exit status."""

from ..messages import needs_attention
from ..report import finding_fields, flagged_lines
from ..text import moment, shown
from .result import CLOSED, HANDSHAKE_BROKEN, HANDSHAKE_REFUSED, SHOWN_NAMES, TCP, TLS, ProbeResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List


def exit_status(result: ProbeResult) -> int:
    """Return 0 for TLS without anything that needs attention, 3 for TLS with it or for plain TCP, 1 if neither was
    found."""
    if result.state not in (TLS, TCP):
        return 1
    return 3 if any(needs_attention(one) for one in result.findings) else 0


def fields(result: ProbeResult) -> "Dict[str, Any]":
    """Return the fields of ``probe --json``; the caller adds format_version.

    host, port, name: the target and the name. state: "tls", "tcp", "unknown-name", "refused", "unreachable", "closed",
    "timeout", "handshake-refused" or "handshake-broken"; reason: its evidence, "" for "tls". address: the one
    connected to, or null; failed_addresses: a list of address and problem. tls: version and cipher, or null.
    name_matches: true, false, or null without a certificate that can be read; name_found_in: e.g. "SAN DNS a.example",
    or null. chain: as sent, each with subject, issuer, self_issued, common_names, dns_names, addresses, not_before and
    not_after (seconds since the epoch), sha1, sha256, problem (null if it was read). chain_note: why the chain may be
    longer, or null.
    trust: cafile (the file that was named, or null), anchor (with the certificates of that file, or else the last one
    of the chain, as only trust anchors) and system (this system's trust store, not with a cafile): true, false, or null
    if not tried; anchor_problem and system_problem: null or text. Expiry is not a matter of trust here. findings:
    id, severity, message, fix.
    """
    readable = bool(result.chain) and not result.chain[0].problem
    return {
        "host": result.host,
        "port": result.port,
        "name": result.name,
        "state": result.state,
        "reason": result.reason,
        "address": result.address or None,
        "failed_addresses": [{"address": address, "problem": problem} for address, problem in result.failed],
        "tls": {"version": result.version, "cipher": result.cipher} if result.state == TLS else None,
        "name_matches": bool(result.matched) if readable else None,
        "name_found_in": result.matched or None,
        "chain": [one.fields() for one in result.chain],
        "chain_note": result.chain_note or None,
        "trust": {
            "cafile": result.cafile,
            "anchor": None if result.anchor_problem is None else not result.anchor_problem,
            "anchor_problem": result.anchor_problem or None,
            "system": None if result.system_problem is None else not result.system_problem,
            "system_problem": result.system_problem or None,
        },
        "findings": [finding_fields(one) for one in result.findings],
    }


def lines(result: ProbeResult) -> "List[str]":
    """Return the result for a person: plain ASCII."""
    through = ", through %s" % result.address if result.address not in ("", result.host) else ""
    text = ["%s port %d%s" % (shown(result.host), result.port, through)]
    speaks = {TLS: "TLS", TCP: "plain TCP, not TLS"}.get(result.state, "nothing: %s" % shown(result.reason))
    if result.state == TLS:
        speaks = "%s, %s" % (result.version, result.cipher)
    elif result.state in (HANDSHAKE_REFUSED, HANDSHAKE_BROKEN):
        speaks = "TLS, but no handshake: %s" % shown(result.reason)
    elif result.state == CLOSED:
        speaks = "not known, TLS or plain TCP: %s" % shown(result.reason)
    text.append("  Speaks    %s" % speaks)
    if result.state == TLS:
        text += _certificate_lines(result)
        typed = shown(result.name) if result.matched else "as in the certificate"
        text.append("  TKE       tick the box Enable SSL/TLS; Host Name/IP %s" % typed)
    elif result.state == TCP:
        text.append("  TKE       do not tick the box Enable SSL/TLS while the catcher speaks TCP")
    for one in result.findings:
        text += flagged_lines(finding_fields(one))
    return text


def _certificate_lines(result: ProbeResult) -> "List[str]":
    own = result.chain[0]
    if own.problem:
        text = ["  Name      unknown, the certificate cannot be read"]
    elif result.matched:
        text = ["  Name      %s matches (%s)" % (shown(result.name), shown(result.matched))]
    else:
        text = ["  Name      %s does not match" % shown(result.name)]
    count = len(result.chain)
    itself = count == 1
    anchor = {None: "not tried", "": "verifies"}.get(result.anchor_problem, shown(result.anchor_problem or ""))
    system = {None: "not tried", "": "verifies"}.get(result.system_problem, shown(result.system_problem or ""))
    if result.cafile is not None:
        text.append("  Trust     with the certificates of %s, and no others: %s" % (shown(result.cafile), anchor))
    else:
        text.append("  Trust     with %s as trust anchor: %s" % (
            "itself" if itself else "the chain's last certificate", anchor))
        text.append("            with this system's trust store: %s" % system)
    text.append("  Chain     %d certificate%s%s" % (
        count, "" if itself else "s", ", " + result.chain_note if result.chain_note else ""))
    for number, one in enumerate(result.chain, 1):
        text.append("  %-9s %s" % ("%d of %d" % (number, count), shown(one.subject) or "(no subject)"))
        if one.problem:
            text.append("            cannot be read: %s" % one.problem)
        else:
            signed = "itself (self-signed)" if one.self_issued else shown(one.issuer) or "(no issuer)"
            text.append("            issued by  %s" % signed)
            text.append("            valid      %s to %s" % (moment(one.not_before), moment(one.not_after)))
            names = ["DNS " + shown(name) for name in one.dns_names] + ["IP " + name for name in one.addresses]
            more = len(names) - SHOWN_NAMES
            text.append("            SAN        %s%s" % (
                ", ".join(names[:SHOWN_NAMES]) or "none", " and %d more" % more if more > 0 else ""))
        text.append("            SHA-1      %s" % one.sha1)
        text.append("            SHA-256    %s" % one.sha256)
    return text
