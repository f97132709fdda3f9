"""The pair in place: what its certificates contain, and the checks of ``cert check`` and ``status``."""

import shlex

from .. import config, messages, pair, paths, plan, report, transition
from .. import facts as fact_collector
from ..cert import details, generate, host_names, pem, x509
from ..cert.names import ip_address, names_text
from ..errors import CatcherError, reason_of
from ..host import PASSING
from ..messages import finding
from ..record import Record
from ..stamp import EMPTY
from ..text import moment, shown
from . import daemon

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..actions import Plan
    from ..facts import HostFacts
    from ..host import Host
    from ..messages import Finding


class Installed(Record):
    """The certificates in a file.

    chain: the certificates, the server's own first. blocks: the same in PEM. algorithm: of the first one's key; "" if
    it is not known. problem: why there are no certificates; "" if there are.
    """

    __slots__ = ("chain", "algorithm", "blocks", "problem")
    chain: "List[details.Certificate]"
    algorithm: str
    blocks: "List[bytes]"
    problem: str


def installed(host: "Host", path: str = paths.CERTIFICATE) -> Installed:
    """Return the certificates in catcher.crt, or in another file. Never raises, and does not need root."""

    def nothing(problem: str) -> Installed:
        return Installed(chain=[], algorithm="", blocks=[], problem=problem)

    try:
        data = host.read_optional(path, pair.SIZE_LIMIT)
    except OSError as error:
        return nothing("%s cannot be read: %s" % (path, reason_of(error).lower()))
    if data is None:
        return nothing("there is no %s" % path)
    blocks = pem.PemFile(path, data).certificates()[:details.CHAIN_LIMIT]
    chain = []
    for block in blocks:
        try:
            der = pem.der(block)
        except ValueError:
            return nothing("%s is not PEM" % path)
        chain.append(details.describe(der))
    if not chain:
        return nothing("%s holds no certificate" % path)
    if chain[0].problem:
        return nothing("%s: %s" % (path, chain[0].problem))
    return Installed(chain=chain, algorithm=x509.read(pem.der(blocks[0])).key.algorithm, blocks=blocks, problem="")


def made_here(host: "Host", facts: "HostFacts") -> "Optional[bool]":
    """Return whether the stamp proves that we made the pair in place; see is_ours()."""
    return is_ours(host, [paths.KEY, paths.CERTIFICATE], facts)


def is_ours(host: "Host", files: "List[str]", facts: "HostFacts") -> "Optional[bool]":
    """Return whether the stamp proves that we made these files; None if only root can tell, or if the files or the
    stamp cannot be read for now."""
    try:
        found = pair.fingerprint(*[host.read(path, pair.SIZE_LIMIT) for path in files])
    except OSError as error:
        return None if isinstance(error, PermissionError) or error.errno in PASSING else False
    if facts.stamp is None and facts.unread:
        return None
    return (facts.stamp or EMPTY).made(found)


# -- judging -----------------------------------------------------------------------------------------------------------


def more_findings(host: "Host", facts: "HostFacts", seen: Installed) -> "List[Finding]":
    """Return the findings that plan.pair_findings() leaves out because they take too long for a daemon start: about
    names and addresses that do not fit this host. None if there is no certificate."""
    if not seen.chain:
        return []
    own = seen.chain[0]
    found = []
    ours = made_here(host, facts)
    if ours:
        found += [one for one in host_names.address_findings(host) if not messages.is_marked(one, messages.TRANSIENT)]
    reason = _stale_names(host, own, bool(ours), accepted_names(facts))
    if reason:
        again = "catcherctl cert " + _another(facts, bool(ours), [])
        found.append(finding("pair-names-stale", reason=reason,
                             hint="renew it, and let the TKE trust the new certificate:\n  %s" % again))
    return found


def use_findings(host: "Host", facts: "HostFacts", seen: Installed) -> "List[Finding]":
    """Return the finding that the running catcher does not use the pair because it was not restarted. None if that is
    not known, or if the catcher would refuse to start with the pair."""
    usable = facts.pair.state == pair.BOTH and not (facts.verdict or {}).get("problem")
    if not seen.chain or not usable or facts.config.state in (config.TCP, config.UNUSABLE):
        return []
    if daemon.use_of_pair(host, [one.sha256 for one in seen.chain]) != daemon.NOT_IN_USE:
        return []
    return [finding("pair-not-running")]


def planned(host: "Host", facts: "HostFacts") -> "Plan":
    """Return what ``catcherctl apply`` would do, with the finding of a pair that is not in use: apply does not restart
    the catcher for that."""
    found = plan.plan(facts, transition.of(transition.APPLY))
    return found.replace(findings=found.findings + use_findings(host, facts, installed(host)))


def _another(facts: "HostFacts", ours: bool, lacking: "List[str]") -> str:
    """Return the words behind "catcherctl cert" that make a certificate with the names of the present one and those in
    *lacking*. ours: we made the present pair."""
    names = "".join(" --name " + shlex.quote(name) for name in accepted_names(facts) + lacking)
    return ("generate --force" if ours else "request") + names


def accepted_names(facts: "HostFacts") -> "List[str]":
    """Return the names for which an administrator installed the present pair, with ``--name``."""
    return (facts.stamp or EMPTY).asked_names(facts.pair.fingerprint)


def _stale_names(host: "Host", own: "details.Certificate", ours: bool, accepted: "List[str]") -> str:
    """Return why a certificate does not fit the host's names and addresses, as the end of a sentence; "" if it does.

    A certificate of ours lists exactly the names and addresses that the host had when it was made. If it lacks a name
    of the host, or lists an address that the host has lost, a TKE that uses that name or address cannot connect. (A new
    address, for example of a container bridge, does no harm.) For an administrator's certificate we do not know
    which names matter: one name of the host, or one given at its installation, is enough.
    """
    present = host_names.collect(host)
    if not ours:
        if any(details.match(name, own) for name in present.every() + accepted):
            return ""
        return "it names %s, and this is %s" % (names_text(own.names()), shown(present.full, 80))
    common_name, dns = generate.subject_names(present)
    lacks = [name for name in dict.fromkeys([common_name] + dns) if not details.match(name, own)]
    here = host_names.addresses(host)
    every = set(here.listed + here.left_out + here.passing)
    every.update(str(ip_address(name)) for name in accepted)
    gone = [address for address in own.addresses if address not in every]
    if not lacks and not gone:
        return ""
    listed = set(own.addresses)
    lacks += [address for address in present.addresses if address not in listed]
    parts = ["it does not list %s" % names_text(lacks)] if lacks else []
    parts += ["it lists %s, which this host no longer has" % names_text(gone)] if gone else []
    return "; ".join(parts)


def check(host: "Host", wanted: "List[str]") -> "Tuple[Dict[str, Any], List[Finding]]":
    """Check the pair in place, whatever the mode. Returns its fields(), and all findings.

    wanted: names that the certificate must have. Raises CatcherError if there is no pair, or if only root may read it.
    """
    facts = fact_collector.judged(host, fact_collector.collect(host))
    if facts.pair.state == pair.NONE:
        raise CatcherError("there is no key and no certificate", "make both:\n  catcherctl cert generate")
    fact_collector.require_readable(host, paths.KEY)
    found = plan.pair_findings(facts)
    seen = installed(host)
    if not any(messages.severity(one) == messages.ERROR for one in found):
        found = found + more_findings(host, facts, seen) + use_findings(host, facts, seen)
        own = seen.chain[0] if seen.chain else None
        found += [
            finding("pair-name-missing", name=shown(name), names=names_text(own.names()),
                    action=_another(facts, bool(made_here(host, facts)), [name]))
            for name in wanted if own is not None and not details.match(name, own)
        ]
    return fields(host, facts, seen), found


def fields(host: "Host", facts: "HostFacts", seen: Installed) -> "Dict[str, Any]":
    """Return the fields of ``cert show --json``; ``cert check --json`` adds findings.

    format_version; state: "none", "key only", "certificate only" or "both"; algorithm of the key, e.g. "EC secp521r1"
    or "RSA 2048", "" if unknown; made_here: whether this package made the pair, null if that cannot be seen;
    certificates: the server's own first, each with subject, issuer, self_issued, common_names, dns_names, addresses,
    not_before and not_after (seconds since the epoch), sha1 and sha256 (over the DER, "AB:CD:..."), and problem (null
    if it could be read); problem: why there are none, or null.
    """
    return {
        "format_version": report.JSON_FORMAT,
        "state": facts.pair.state,
        "algorithm": seen.algorithm,
        "made_here": made_here(host, facts),
        "certificates": [one.fields() for one in seen.chain],
        "problem": seen.problem or None,
    }


def show(host: "Host") -> "Dict[str, Any]":
    """Return what ``cert show`` shows; see fields(). Raises CatcherError if there is no certificate to show."""
    seen = installed(host)
    if not seen.chain:
        raise CatcherError(seen.problem, "see what is wrong:\n  catcherctl cert check")
    return fields(host, fact_collector.collect(host), seen)


def show_lines(told: "Dict[str, Any]") -> "List[str]":
    """Return fields() for a person: plain ASCII."""
    if not told["certificates"]:
        return [str(told["problem"])]
    made = {True: "made by this package", False: "your own", None: ""}[told["made_here"]]
    text = ["Key        %s" % ", ".join(one for one in (told["algorithm"] or "of unknown kind", made) if one)]
    count = len(told["certificates"])
    for number, one in enumerate(told["certificates"], 1):
        head = "Certificate" if count == 1 else "Certificate %d of %d" % (number, count)
        text += ["%s in %s" % (head, paths.CERTIFICATE)]
        text += ["  " + line for line in certificate_lines(one)]
    return text


def certificate_lines(one: "Dict[str, Any]") -> "List[str]":
    """Return one certificate of fields() for a person."""
    if one["problem"]:
        return ["SHA-256    %s" % one["sha256"], "cannot be read: %s" % one["problem"]]
    named = ["DNS " + shown(name, 80) for name in one["dns_names"]] + ["IP " + name for name in one["addresses"]]
    return [
        "subject    %s" % (shown(one["subject"]) or "(none)"),
        "issuer     %s" % ("itself (self-signed)" if one["self_issued"] else shown(one["issuer"]) or "(none)"),
        "names      %s" % (", ".join(named) or "only its CN"),
        "valid      %s to %s" % (moment(one["not_before"]), moment(one["not_after"])),
        "SHA-1      %s" % one["sha1"],
        "SHA-256    %s" % one["sha256"],
    ]
