"""The procedures around key and certificate: show, check, generate, request, install, export.

A pair changes in one way only: it is decided and placed by pair.begin_replacement() and a converge, the daemon is
restarted, and a real connection must show exactly the new certificate; else the files that were there come back.
"""

import binascii

from . import apply, certificate, material, messages, names, pair, paths, plan, probe, service, transition
from . import facts as fact_collector
from . import stamp as stamp_file
from .errors import CatcherError, KeyRefused, MissingDependency
from .messages import finding
from .moment import moment
from .record import Record

MYPY = False
if MYPY:
    from typing import Any, Dict, List, Optional, Tuple

    from .facts import HostFacts
    from .host import Host
    from .messages import Finding

FORMAT = 1
SOON_SECONDS = 30 * 24 * 3600
LOCK_SECONDS = 60
SHEET = "catcher-hashes.txt"
RESTART = "systemctl restart CSUTKEcat"
IMPORT = "Import the certificate into the TKE before it connects again; the steps: catcherctl tke-guide tls"


class Installed(Record):
    """What stands in place.

    chain: the certificates of catcher.crt; algorithm: of the first one's key, "" where it is not known.
    pem: their PEM blocks. problem: why there is no certificate to be seen; "" where there is one.
    """

    __slots__ = ("chain", "algorithm", "pem", "problem")
    chain: "List[probe.Certificate]"
    algorithm: str
    pem: "List[bytes]"
    problem: str


def installed(host: "Host") -> Installed:
    """The certificates in catcher.crt; needs no root. Raises nothing for what may be there."""

    def nothing(problem: str) -> Installed:
        return Installed(chain=[], algorithm="", pem=[], problem=problem)

    try:
        data = host.read_optional(paths.CERTIFICATE, pair.SIZE_LIMIT)
    except OSError as error:
        return nothing("%s cannot be read: %s" % (paths.CERTIFICATE, (error.strerror or "error").lower()))
    if data is None:
        return nothing("there is no %s" % paths.CERTIFICATE)
    pem = material.PemFile(paths.CERTIFICATE, data).certificates()[:probe.CHAIN_LIMIT]
    chain = []
    for block in pem:
        try:
            der = binascii.a2b_base64(b"".join(block.split(b"\n")[1:-2]))
        except ValueError:
            return nothing("%s is not PEM" % paths.CERTIFICATE)
        chain.append(probe.describe(host, der))
    if not chain:
        return nothing("%s holds no certificate" % paths.CERTIFICATE)
    if chain[0].problem:
        return nothing("%s: %s" % (paths.CERTIFICATE, chain[0].problem))
    return Installed(chain=chain, algorithm=_algorithm(pem[0]), pem=pem, problem="")


def _algorithm(pem: bytes) -> str:
    """The algorithm of a certificate's key, e.g. "EC secp521r1" or "RSA 2048"; "" where it cannot be told here."""
    try:
        x509, default_backend, _, _, ec, rsa = certificate._cryptography()
        public = x509.load_pem_x509_certificate(pem, default_backend()).public_key()
    except Exception:  # noqa: BLE001 - no cryptography, or whatever its parser meets
        return ""
    if isinstance(public, ec.EllipticCurvePublicKey):
        return "EC " + str(public.curve.name)
    if isinstance(public, rsa.RSAPublicKey):
        return "RSA %d" % public.key_size
    return type(public).__name__.lstrip("_").replace("PublicKey", "")


def may_read_key(host: "Host") -> bool:
    """Whether this process may read the key, or there is none: what only root sees is not called a fault."""
    try:
        host.read_optional(paths.KEY, pair.SIZE_LIMIT)
    except PermissionError:
        return False
    except OSError:
        return True
    return True


def made_here(host: "Host", facts: "HostFacts") -> "Optional[bool]":
    """Whether the stamp proves that we made the pair in place; None where only root can tell."""
    if facts.pair.state != pair.BOTH:
        return False
    try:
        made = pair.fingerprint(*pair.read(host))
    except PermissionError:
        return None
    except OSError:
        return False
    return facts.stamp is not None and facts.stamp.generated_pair == made


# -- judging -----------------------------------------------------------------------------------------------------------


def more_findings(host: "Host", facts: "HostFacts", seen: Installed) -> "List[Finding]":
    """What plan.pair_findings() leaves out, since it costs too much for a daemon start: an end that is near, names
    that are no longer this host's, a chain that is none. Nothing where there is no certificate."""
    if not seen.chain:
        return []
    own = seen.chain[0]
    found = []
    if facts.now <= own.not_after < facts.now + SOON_SECONDS:
        found.append(finding("pair-expires-soon", date=moment(own.not_after)))
    ours = made_here(host, facts)
    reason = _stale_names(host, own, bool(ours), accepted_names(facts))
    if reason:
        again = "catcherctl cert generate --force" if ours else "catcherctl cert request"
        found.append(finding("pair-names-stale", reason=reason,
                             hint="make a new one: %s   (and import it into the TKE)" % again))
    reason = _chain_problem(seen)
    if reason:
        found.append(finding("pair-chain-broken", reason=reason))
    return found


def accepted_names(facts: "HostFacts") -> "List[str]":
    """The names that an administrator installed the present pair for, with ``--name``."""
    remembered = (facts.stamp.checked_pair if facts.stamp is not None else None) or {}
    if remembered.get("identity") != facts.pair.identity:
        return []
    accepted = remembered.get("accepted_names")
    return [str(name) for name in accepted] if isinstance(accepted, list) else []


def _stale_names(host: "Host", own: "probe.Certificate", ours: bool, accepted: "List[str]") -> str:
    """Why a certificate does not fit the host's names and addresses, as the end of a sentence; "" where it does.

    One of ours lists exactly what the host had when it was made: a name that is not in it, or an address in it that is
    gone, breaks the link of a TKE that uses it. (An address that is only new, a container bridge say, harms nobody.) Of
    an administrator's it is not known which names matter: any one of the host's, or one given at its installation, will
    do.
    """
    host_names = names.collect(host)
    if not ours:
        if any(probe.match(name, own) for name in material.host_names(host) + accepted):
            return ""
        return "it names %s, and this is %s" % (material.names_of(own), probe.shown(host_names.full, 80))
    common_name, dns = certificate.subject_names(host_names)
    lacks = [name for name in dict.fromkeys([common_name] + dns) if not probe.match(name, own)]
    gone = [address for address in own.addresses if address not in host_names.addresses]
    if not lacks and not gone:
        return ""
    lacks += [address for address in host_names.addresses if not probe.match(address, own)]
    parts = ["it lacks %s" % material.names_text(lacks)] if lacks else []
    parts += ["it lists %s, which this host has not" % material.names_text(gone)] if gone else []
    return "; ".join(parts)


def _chain_problem(seen: Installed) -> str:
    try:
        modules = certificate._cryptography()
        loaded = [modules[0].load_pem_x509_certificate(block, modules[1]()) for block in seen.pem]
        return material.chain_problem(loaded, modules)
    except MissingDependency:
        return ""
    except Exception as error:  # noqa: BLE001 - whatever the parser meets in somebody's file
        return "one of its certificates cannot be read (%s)" % type(error).__name__


def check(host: "Host", wanted: "List[str]") -> "Tuple[Dict[str, Any], List[Finding]]":
    """Every judgement on the pair in place, whatever the mode: fields() of it, and findings.

    wanted: names that the certificate must have. Raises CatcherError where there is no pair, or only root may judge it.
    """
    facts = fact_collector.judged(host, fact_collector.collect(host))
    if facts.pair.state == pair.NONE:
        raise CatcherError("there is no key and no certificate", "make them: catcherctl cert generate")
    if not may_read_key(host):
        raise CatcherError("only root may read %s" % paths.KEY, "run it as root: sudo catcherctl cert check")
    found = plan.pair_findings(facts)
    seen = installed(host)
    if not any(messages.severity(one) == messages.ERROR for one in found):
        found = found + more_findings(host, facts, seen)
        own = seen.chain[0] if seen.chain else None
        found += [
            finding("pair-name-missing", name=probe.shown(name), names=material.names_of(own))
            for name in wanted if own is not None and not probe.match(name, own)
        ]
    return fields(host, facts, seen), found


def fields(host: "Host", facts: "HostFacts", seen: Installed) -> "Dict[str, Any]":
    """The fields of ``cert show --json``; ``cert check --json`` adds findings.

    format_version; state: "none", "key only", "certificate only" or "both"; algorithm of the key, e.g. "EC secp521r1"
    or "RSA 2048", "" where unknown; made_here: whether this package made the pair, null where only root can tell;
    certificates: the server's own first, each with subject, issuer, self_issued, common_names, dns_names, addresses,
    not_before and not_after (seconds since the epoch), sha1 and sha256 (over the DER, "AB:CD:..."), and problem (null
    where it could be read); problem: why there are none, or null.
    """
    return {
        "format_version": FORMAT,
        "state": facts.pair.state,
        "algorithm": seen.algorithm,
        "made_here": made_here(host, facts),
        "certificates": [_entry(one) for one in seen.chain],
        "problem": seen.problem or None,
    }


def _entry(one: "probe.Certificate") -> "Dict[str, Any]":
    entry = {name: getattr(one, name) for name in one.__slots__}
    entry["problem"] = one.problem or None
    return entry


def show(host: "Host") -> "Dict[str, Any]":
    """What ``cert show`` shows; see fields(). Raises CatcherError where there is no certificate to be shown."""
    seen = installed(host)
    if not seen.chain:
        raise CatcherError(seen.problem, "catcherctl cert check")
    return fields(host, fact_collector.collect(host), seen)


def show_lines(shown: "Dict[str, Any]") -> "List[str]":
    """fields() for a person: plain ASCII."""
    if not shown["certificates"]:
        return [str(shown["problem"])]
    made = {True: "made by this package", False: "your own", None: ""}[shown["made_here"]]
    text = ["Key        %s" % ", ".join(one for one in (shown["algorithm"] or "of unknown kind", made) if one)]
    count = len(shown["certificates"])
    for number, one in enumerate(shown["certificates"], 1):
        head = "Certificate" if count == 1 else "Certificate %d of %d" % (number, count)
        text += ["%s in %s" % (head, paths.CERTIFICATE)]
        text += ["  " + line for line in certificate_lines(one)]
    return text


def certificate_lines(one: "Dict[str, Any]") -> "List[str]":
    """One certificate of fields() for a person."""
    if one["problem"]:
        return ["SHA-256    %s" % one["sha256"], "cannot be read: %s" % one["problem"]]
    named = ["DNS " + probe.shown(name, 80) for name in one["dns_names"]] + ["IP " + name for name in one["addresses"]]
    return [
        "subject    %s" % (probe.shown(one["subject"]) or "(none)"),
        "issuer     %s" % ("itself (self-signed)" if one["self_issued"] else probe.shown(one["issuer"]) or "(none)"),
        "names      %s" % (", ".join(named) or "none but its CN"),
        "valid      %s to %s" % (moment(one["not_before"]), moment(one["not_after"])),
        "SHA-1      %s" % one["sha1"],
        "SHA-256    %s" % one["sha256"],
    ]


# -- changing ----------------------------------------------------------------------------------------------------------


class Locked:
    """``with Locked(host)``: no converge is at work."""

    def __init__(self, host: "Host") -> None:
        self._host = host

    def __enter__(self) -> None:
        try:
            self._lock = self._host.lock(LOCK_SECONDS)
        except TimeoutError as error:
            raise CatcherError("another change is still at work", "wait for it, then try again") from error

    def __exit__(self, *error: object) -> None:
        if self._lock is not None:
            self._lock.free()


def generate(host: "Host", force: bool, restart: bool) -> "Tuple[List[str], List[Finding]]":
    """Make a key and certificate, and bring them into use. Returns what was done, and the findings that remain.

    force: replace a pair, or half of one. Raises CatcherError; then nothing has changed, or the old pair is back.
    """
    _finish_earlier(host)
    facts = fact_collector.collect(host)
    _refuse_key_in_image(facts)
    if facts.pair.state != pair.NONE and not force:
        what = {pair.KEY_ONLY: "a key", pair.CERTIFICATE_ONLY: "a certificate"}.get(
            facts.pair.state, "a key and a certificate")
        raise CatcherError("there is %s already" % what,
                           "to replace it, and keep a copy: catcherctl cert generate --force")
    with Locked(host):
        key, crt = certificate.generate(host, names.collect(host))
    return _bring_in(host, facts, key, crt, True, restart, [])


def _refuse_key_in_image(facts: "HostFacts") -> None:
    """Raise KeyRefused where every copy of this system would share a key."""
    if facts.image or not facts.booted:
        where = facts.image or "a system that systemd does not run"
        raise KeyRefused("no key is made in %s, since every copy of it would share that key" % where,
                         "start the catcher where it is to run: it makes its key then")


def install(host: "Host", files: "List[str]", wanted: "List[str]", restart: bool) -> "Tuple[List[str], List[Finding]]":
    """Check an administrator's pair, and bring it into use. Returns what was done, and the findings that remain.

    files: those of key and certificate; or one, with both in it, or with the certificate for a key that is here: that
    of the last request(), or the present one. wanted: names that the certificate must have; any one of the host's where
    empty. Raises CatcherError; then nothing has changed, or the old pair is back.
    """
    _finish_earlier(host)
    crt_file = material.read_file(host, files[-1])
    key_file = material.read_file(host, files[0]) if len(files) > 1 else _key_for(host, crt_file)
    given = material.check(host, key_file, crt_file)
    material.require_names(host, given.chain[0], wanted, material.command("catcherctl cert install", *files))
    facts = fact_collector.collect(host)
    return _bring_in(host, facts, given.key, given.certificates, False, restart, wanted)


def _key_for(host: "Host", crt_file: "material.PemFile") -> "material.PemFile":
    """Where the key of a lone certificate file is: in that file, or one of those that are kept here."""
    if crt_file.keys() or not crt_file.certificates():
        return crt_file
    tried = []
    for path in (paths.REQUEST_KEY, paths.KEY):
        if host.lexists(path):
            key_file = material.read_file(host, path)
            if material.belongs(key_file, crt_file):
                return key_file
            tried.append(path)
    raise CatcherError(
        "the certificate in %s belongs to no key that is here%s" % (
            crt_file.path, " (tried %s)" % " and ".join(tried) if tried else ""),
        material.command("name its key, too: catcherctl cert install KEY", crt_file.path),
    )


def _finish_earlier(host: "Host") -> None:
    """Let a converge finish what an interrupted change of the pair has left."""
    before = pair.look(host)
    if not before.staged and not before.draft:
        return
    outcome = apply.converge(host, transition.of(transition.APPLY))
    if pair.look(host).staged:
        why = "an earlier change of the pair cannot be finished: %s" % _why_not(outcome)
        raise CatcherError(why, "mend that, then: catcherctl apply")


def _why_not(outcome: "apply.Outcome") -> str:
    for one in outcome.findings:
        if one["id"] in ("pair-not-replaced", "pair-not-generated", "write-failed", "busy"):
            return messages.text(one)
    return "its files were changed meanwhile"


def _bring_in(
    host: "Host", facts: "HostFacts", key: bytes, crt: bytes, generated: bool, restart: bool, wanted: "List[str]"
) -> "Tuple[List[str], List[Finding]]":
    """Put a good pair in place of what *facts* tell of, restart, and verify; or put back what was there."""
    before = _Before(host, facts)
    if before.files == (key, crt):
        lines = ["This key and certificate are in place already."]
    else:
        before.suffix = _place(host, facts, key, crt, generated)
        before.successor = pair.look(host).identity
        lines = ["Put the new key and certificate in place."]
        kept = [paths.BIN + "/" + name + before.suffix for name in pair.FILES
                if host.lexists(paths.BIN + "/" + name + before.suffix)]
        lines += ["Kept what was there: %s" % " and ".join(kept)] if kept else []
    if wanted:
        _remember_names(host, wanted)
    facts = fact_collector.judged(host, fact_collector.collect(host))
    own = installed(host).chain[0]
    lines.append(_put_to_use(host, facts, own.sha256, before, restart))
    _forget_request_key(host, key)
    lines += ["SHA-256    " + own.sha256, "SHA-1      " + own.sha1, IMPORT]
    found = list(plan.plan(facts, transition.of(transition.APPLY)).findings)
    return lines, found + more_findings(host, facts, installed(host))


class _Before:
    """The pair before a change: files (key, certificate), or None where there was no whole one that can be read;
    shown: SHA-256 of the certificate that a daemon could show, or ""; made_here. Once it is replaced, suffix: under
    which it is kept, and successor: the identity of the pair in its place."""

    def __init__(self, host: "Host", facts: "HostFacts") -> None:
        self.files: Optional[Tuple[bytes, bytes]] = None
        if facts.pair.state == pair.BOTH:
            try:
                self.files = pair.read(host)
            except OSError:
                # A dangling link, say: it is kept as it is, and not compared.
                self.files = None
        usable = facts.pair.state == pair.BOTH and not any(
            messages.severity(one) == messages.ERROR
            for one in plan.pair_findings(fact_collector.judged(host, facts)))
        chain = installed(host).chain
        self.shown = chain[0].sha256 if usable and chain else ""
        self.made_here = made_here(host, facts) is True
        self.suffix = self.successor = ""


def _place(host: "Host", facts: "HostFacts", key: bytes, crt: bytes, generated: bool) -> str:
    """Put a pair in place of what *facts* tell of. Returns the suffix under which that is kept."""
    with Locked(host):
        there = pair.look(host)
        if (there.state, there.identity) != (facts.pair.state, facts.pair.identity) or there.staged:
            raise CatcherError("the pair in %s was changed by somebody else meanwhile" % paths.BIN, "try again")
        suffix = pair.begin_replacement(host, key, crt, generated)
    outcome = apply.converge(host, transition.of(transition.APPLY))
    if pair.look(host).staged or pair.read(host) != (key, crt):
        raise CatcherError("the new pair is not in place: %s" % _why_not(outcome), "mend that, then: catcherctl apply")
    return suffix


def _put_to_use(host: "Host", facts: "HostFacts", sha256: str, before: _Before, restart: bool) -> str:
    """Have the daemon use the pair in place, as far as it should. Returns what happened; raises CatcherError where the
    daemon does not show that certificate, and then *before* is back."""
    decision = plan.launch_decision(facts)
    if decision.arguments is None:
        return "Not restarted, since the catcher cannot start: %s" % messages.text(decision.findings[-1])
    if "-tls" not in decision.arguments:
        return "They were not tried, since the catcher is in TCP mode; to use them: catcherctl mode tls"
    if not restart:
        return "Not restarted, as you said; to use them: %s" % RESTART
    reason = service.may_restart(host, facts)
    if reason:
        return "Not restarted, since %s; the restart is yours: %s" % (reason, RESTART)
    condition = service.speaks_tls_with(sha256)
    if not before.suffix and not condition(service.look(host)):
        return "The catcher shows exactly this certificate, over a real connection."
    try:
        problem = service.restart_and_wait(host, condition)
    except KeyboardInterrupt:
        problem = "interrupted"
    if problem:
        raise _put_back(host, before, problem)
    return "Restarted the catcher; over a real connection it shows exactly this certificate."


def _put_back(host: "Host", before: _Before, problem: str) -> CatcherError:
    """Bring back the pair that was there before, and restart. Returns the error that says what happened."""
    failed = "the catcher was restarted and did not show the new certificate: %s" % problem
    look = "why: journalctl -u CSUTKEcat"
    if not before.suffix:
        return CatcherError(failed, look)
    try:
        with Locked(host):
            if pair.look(host).identity != before.successor:
                raise CatcherError("somebody else changed the pair meanwhile, and that was left alone")
            pair.begin_return(host, before.suffix, before.made_here)
        outcome = apply.converge(host, transition.of(transition.APPLY))
        if pair.look(host).staged:
            raise CatcherError(_why_not(outcome))
        for name in pair.FILES:
            host.remove(paths.BIN + "/" + name + before.suffix)
    except (CatcherError, OSError) as error:
        reason = error.message if isinstance(error, CatcherError) else error.strerror
        return CatcherError("%s; the old pair could not be put back: %s" % (failed, reason),
                            "it is kept as %s%s and .crt; then: %s" % (paths.KEY, before.suffix, RESTART))
    if not before.shown:
        # Nothing that a daemon could have shown; it decides for itself what to do about it.
        again = service.restart_only(host)
        return CatcherError("%s; what was there before is back%s" % (failed, ", and " + again if again else ""), look)
    again = service.restart_and_wait(host, service.speaks_tls_with(before.shown))
    state = "back, and does not answer either (%s)" % again if again else "back and in use"
    return CatcherError("%s; the old pair is %s" % (failed, state), look)


def _remember_names(host: "Host", wanted: "List[str]") -> None:
    """Note in the stamp which names an administrator installed the pair for."""
    with Locked(host):
        facts = fact_collector.collect(host)
        if facts.stamp is None:
            return
        verdict = dict(fact_collector.judged(host, facts).verdict or {}, accepted_names=wanted)
        host.replace(paths.STAMP, stamp_file.render(facts.stamp.replace(checked_pair=verdict)), 0o600)


# -- requests ----------------------------------------------------------------------------------------------------------


def request(host: "Host", wanted: "List[str]", present_key: bool, out: "Optional[str]") -> "Tuple[bytes, List[str]]":
    """A certificate request (PKCS#10, PEM) for a CA to sign, and lines that say what to do with it.

    The key is one that is kept aside until install() finds the certificate for it, made at the first request: so the
    running pair is not touched, and a second request does not make a first one useless. present_key: catcher.key's is
    used instead. wanted: further names for the certificate, the first one for its CN. out: a new file to write it to.
    Raises CatcherError.
    """
    modules = certificate._cryptography()
    path = paths.KEY if present_key else paths.REQUEST_KEY
    if not host.lexists(path):
        if present_key:
            raise CatcherError("there is no %s" % path, "leave out --present-key, and a new key is made")
        _refuse_key_in_image(fact_collector.collect(host))
        with Locked(host):
            # replace(): a whole key or none, however this ends.
            host.replace(path, certificate.new_key(), pair.KEY_MODE)
    key, _ = material.load_key(material.read_file(host, path), modules)
    data = _signing_request(key, names.collect(host), wanted, modules)
    lines = []
    if out is not None:
        try:
            host.create(host.absolute(out), data, 0o644)
        except FileExistsError as error:
            raise CatcherError("%s is there already" % probe.shown(out), "name another file, or remove it") from error
        lines.append("Wrote the request to %s." % probe.shown(out))
    lines.append("Its key stays in %s; only root can read it." % path)
    lines.append("When your CA has signed it: catcherctl cert install CERTIFICATE   (the key is found by itself)")
    return data, lines


def _signing_request(
    key: "Any", host_names: "names.HostNames", wanted: "List[str]", modules: "Tuple[Any, ...]"
) -> bytes:
    """PKCS#10, PEM, for a server with these names."""
    import ipaddress

    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    x509, default_backend, hashes, serialization, ec, _ = modules
    common_name, dns = certificate.subject_names(host_names)
    addresses = list(host_names.addresses)
    typed = []
    for name in wanted:
        address = probe._address(name)
        if address is not None:
            addresses.append(str(address))
        else:
            typed += certificate.subject_names(names.HostNames(short=name, full=name, addresses=[]))[1]
    fitting = [name for name in typed if len(name) <= names.COMMON_NAME_LIMIT]
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, fitting[0] if fitting else common_name)])
    alternatives = [x509.DNSName(name) for name in dict.fromkeys(typed + dns)]
    alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in dict.fromkeys(addresses)]
    size = key.curve.key_size if isinstance(key, ec.EllipticCurvePrivateKey) else 256
    digest = hashes.SHA512() if size > 384 else hashes.SHA384() if size > 256 else hashes.SHA256()
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return bytes(builder.sign(key, digest, default_backend()).public_bytes(serialization.Encoding.PEM))


def _forget_request_key(host: "Host", key: bytes) -> None:
    """The kept key of a request has become catcher.key."""
    if not host.lexists(paths.REQUEST_KEY):
        return
    kept = material.read_file(host, paths.REQUEST_KEY).keys()
    if kept and kept[0][1] == key:
        host.remove(paths.REQUEST_KEY)
        host.sync_dir(paths.BIN)


# -- export ------------------------------------------------------------------------------------------------------------


def export(host: "Host", directory: str) -> "List[str]":
    """Write the certificate, never the key, and a sheet with its hashes into a directory, durable when this returns.

    A link that stands there under one of the two names is replaced, not followed. Raises CatcherError.
    """
    seen = installed(host)
    if not seen.chain:
        raise CatcherError(seen.problem, "catcherctl cert check")
    target = host.absolute(directory)
    shown = probe.shown(directory)
    if not host.is_dir(target):
        raise CatcherError("%s is not a directory" % shown, "mount the USB stick, and name the directory: mount; df")
    contents = (("catcher.crt", b"".join(seen.pem)), (SHEET, _sheet(host, seen)))
    drafts = [target + "/." + name + ".csulcca-new" for name, _ in contents]
    try:
        for draft, (_, data) in zip(drafts, contents):
            host.remove(draft)
            host.create(draft, data, 0o644)
        for draft, (name, _) in zip(drafts, contents):
            host.rename(draft, target + "/" + name)
        host.sync_dir(target)
    except OSError as error:
        for draft in drafts:
            _remove_quietly(host, draft)
        hint = "make room there, or name another directory"
        raise CatcherError("%s: %s" % (shown, (error.strerror or "error").lower()), hint) from error
    lines = ["Wrote %s/%s" % (shown, name) for name, _ in contents]
    there, root = host.lstat(target), host.lstat("/")
    if there is not None and root is not None and there.st_dev == root.st_dev:
        lines.append("Note: %s is on the disk of this system; is the USB stick mounted?" % shown)
    return lines + ["Unmount the stick before you take it out. The steps at the TKE: catcherctl tke-guide tls"]


def _remove_quietly(host: "Host", path: str) -> None:
    try:
        host.remove(path)
    except OSError:
        # The device is gone or read-only; the first error says so.
        return


def _sheet(host: "Host", seen: Installed) -> bytes:
    """The hash sheet: plain ASCII."""
    text = ["Certificate of the TKE catcher on %s" % probe.shown(names.collect(host).full), ""]
    for number, one in enumerate(seen.chain, 1):
        if len(seen.chain) > 1:
            text.append("Certificate %d of %d" % (number, len(seen.chain)))
        text += certificate_lines(_entry(one)) + [""]
    text += ["The hashes in the TKE's Confirm Import window must be these.", "Port %d" % paths.PORT]
    return ("\n".join(text) + "\n").encode("ascii", "backslashreplace")
