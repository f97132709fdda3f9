"""Use another pair: a new pair that we make, an administrator's pair, or an old pair that was kept.

A pair changes in one way only: pair.begin_replacement() in apply.converge() decides and places it, the daemon is
restarted, and a real connection must show exactly the new certificate. Otherwise the old files are restored.
"""

from .. import actions, config, facts, pair, paths, transition
from ..capture import why_unread
from ..cert import check, crypto, details, keys, submitted
from ..cert import generate as maker
from ..cert.pem import PemFile
from ..errors import CatcherError, reason_of
from ..host import NOTHING
from . import cert_list, change, installed_pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

    from ..apply import Outcome
    from ..host import Host
    from ..messages import Finding
    from ..stamp import Stamp

IMPORT = "Import the certificate into the TKE before it connects again. The steps: catcherctl tke-guide tls"
IMPORT_AGAIN = "If the TKE no longer has this certificate, import it. The steps: catcherctl tke-guide tls"
IMPORT_IN_TCP = "Import the certificate into the TKE before you change to TLS. The steps: catcherctl tke-guide tls"
OF_A_CA = ("A CA signed the certificate. If the TKE trusts that CA, you have nothing to do there. Else type: "
           "catcherctl tke-guide tls")


# A pair like the present one, if that is ours.
LIKE_PRESENT = maker.USUAL.replace(key_type="")


def asked_to_generate(host: "Host", force: bool, wish: "maker.Wish" = LIKE_PRESENT) -> "transition.Transition":
    """Return the transition to a new pair. force: it may replace a pair, or half of one. Raises CatcherError."""
    made = _like_present(host, wish)
    return transition.of(transition.PUT_PAIR, request=transition.PairRequest(
        verb="cert generate", key=b"", certificate=b"", may_replace=force, names=made.names,
        key_type=made.key_type or maker.USUAL.key_type, days=made.days,
        options=submitted.command("", *maker.options(wish))))


def _like_present(host: "Host", wish: "maker.Wish") -> "maker.Wish":
    """Return the wish. If it has no names or no key type, and we made the present pair, those of that pair are added.

    The TKE may use a name for which the present pair was made, and would refuse a certificate without that name. Raises
    CatcherError if these names are not known for now.
    """
    state = pair.look(host).state
    if state == pair.NONE or (wish.names and wish.key_type):
        return wish
    known, unread = facts.read_stamp(host)
    if unread:
        raise _not_known_how(unread)
    ours = _present_pair_of_ours(host, state, known) if known is not None else ""
    if known is None or not ours:
        return wish
    return wish.replace(
        names=wish.names or known.asked_names(ours),
        key_type=wish.key_type or keys.generated_type(_algorithm(host)))


def _present_pair_of_ours(host: "Host", state: str, known: "Stamp") -> str:
    """Return the fingerprint of our pair that is in place, even if only half of it is left or a file is damaged; "" if
    the pair is an administrator's. Raises CatcherError if the files cannot be read for now."""
    if state == pair.BOTH:
        try:
            files = pair.read(host)
        except OSError as error:
            if error.errno not in NOTHING:
                reason = why_unread("the pair", error)
                if reason:
                    raise _not_known_how(reason) from error
        else:
            found = pair.fingerprint(*files)
            if known.made(found):
                return found
            if not check.check(host, *files).problem:
                return ""
    return known.generated_pair or ""


def _not_known_how(reason: str) -> CatcherError:
    return CatcherError(
        "it is not known how the present pair was made, because %s" % reason,
        "fix the cause, or say what you want:\n  catcherctl cert generate --force --name NAME --key-type TYPE")


def _algorithm(host: "Host") -> str:
    """Return the algorithm of the pair's key, from the certificate or else from the key; "" if neither can be read."""
    found = installed_pair.installed(host).algorithm
    if found:
        return found
    try:
        lib = crypto.load()
        return lib.kind_of(submitted.load_key(submitted.read_file(host, paths.KEY), lib)).algorithm
    except CatcherError:
        return ""


def asked_to_install(host: "Host", files: "List[str]", wanted: "List[str]") -> "transition.Transition":
    """Check an administrator's pair and return the transition to it; see install(). Raises CatcherError."""
    crt_file = submitted.read_file(host, files[-1])
    key_file = submitted.read_file(host, files[0]) if len(files) > 1 else _key_for(host, crt_file)
    given = submitted.check(host, key_file, crt_file)
    names = wanted or _requested(host, given)
    submitted.require_names(host, given.chain[0], names, submitted.command("catcherctl cert install", *files))
    return _asked_for("cert install", given, names)


def _requested(host: "Host", given: "submitted.Pair") -> "List[str]":
    """Return those names of a certificate that were asked for in a request: the TKE may use one of them."""
    known, _ = facts.read_stamp(host)
    names = known.asked_names(pair.fingerprint(given.key)) if known is not None else []
    return [name for name in names if details.match(name, given.chain[0])]


def asked_to_restore(host: "Host", name: str) -> "transition.Transition":
    """Check an old pair and return the transition to it; see restore(). Raises CatcherError."""
    suffix = cert_list.kept_suffix(host, name)
    files = [submitted.read_file(host, path + suffix) for path in (paths.KEY, paths.CERTIFICATE)]
    return _asked_for("cert restore", submitted.check(host, *files), [])


def _asked_for(verb: str, given: "submitted.Pair", names: "List[str]") -> "transition.Transition":
    return transition.of(transition.PUT_PAIR, request=transition.PairRequest(
        verb=verb, key=given.key, certificate=given.certificates, may_replace=True, names=names, key_type="", days=0,
        options=""))


def generate(
    host: "Host", force: bool, restart: bool, wish: "maker.Wish" = LIKE_PRESENT
) -> "Tuple[List[str], List[Finding]]":
    """Make a key and certificate, and bring them into use. Returns what was done, and the findings that remain.

    force: replace a pair, or half of one. Raises CatcherError; then nothing has changed, or the old pair is back.
    """
    asked = asked_to_generate(host, force, wish)
    lines, found = _bring_in(host, asked, restart)
    made = maker.Wish(names=asked.request.names, key_type=asked.request.key_type, days=wish.days)
    if made != wish.replace(key_type=wish.key_type or maker.USUAL.key_type):
        lines.insert(1, submitted.command("Made like the old pair:", *maker.options(made.replace(days=0))))
    return lines, found


def restore(host: "Host", name: str, restart: bool) -> "Tuple[List[str], List[Finding]]":
    """Bring an old pair back into use. Returns what was done, and the findings that remain.

    name: as cert_list.collect() has it; "" for the pair that was replaced last. The pair in place is kept, and the kept
    copy of the old pair is removed. Raises CatcherError; then nothing has changed, or the present pair is back.
    """
    suffix = cert_list.kept_suffix(host, name)
    asked = asked_to_restore(host, suffix[1:])
    wanted = pair.fingerprint(asked.request.key, asked.request.certificate)
    was_there = pair.look(host).fingerprint == wanted
    lines, found = _bring_in(host, asked, restart)
    if not was_there and pair.look(host).fingerprint == wanted:
        # The key first: a certificate that is left alone is no secret.
        lines += _drop(host, [paths.KEY + suffix, paths.CERTIFICATE + suffix])
    return lines, found


def install(host: "Host", files: "List[str]", wanted: "List[str]", restart: bool) -> "Tuple[List[str], List[Finding]]":
    """Check an administrator's pair, and bring it into use. Returns what was done, and the findings that remain.

    files: the key file and the certificate file; or one file that contains both, or only the certificate for the key of
    the last request or the present key. wanted: names that the certificate must have; if empty, one name of the host is
    enough. Raises CatcherError; then nothing has changed, or the old pair is back.
    """
    return _bring_in(host, asked_to_install(host, files, wanted), restart)


def _key_for(host: "Host", crt_file: PemFile) -> PemFile:
    """Return the file with the key for a certificate file that was named alone: that file itself, or one of ours.
    Raises CatcherError if no key fits."""
    if crt_file.keys() or not crt_file.certificates():
        return crt_file
    tried = []
    for path in (paths.REQUEST_KEY, paths.KEY):
        if host.lexists(path):
            tried.append(path)
            try:
                key_file = submitted.read_file(host, path)
            except CatcherError:
                # This file has no key. Try the next one.
                continue
            if submitted.belongs(host, key_file, crt_file):
                return key_file
    raise CatcherError(
        "the certificate in %s does not belong to a key on this host%s" % (
            crt_file.path, " (tried %s)" % " and ".join(tried) if tried else ""),
        submitted.command("name its key too:\n  catcherctl cert install KEY", crt_file.typed),
    )


def _bring_in(host: "Host", asked: "transition.Transition", restart: bool) -> "Tuple[List[str], List[Finding]]":
    """Replace the present pair by another pair, and put it to use. Returns what was done, and findings."""
    outcome, used = change.carry_out(host, asked, restart)
    lines = ["The catcher has this key and certificate already."]
    old = asked.request.verb == "cert restore"
    if actions.PUT_PAIR in outcome.done:
        lines = ["Installed the %s key and certificate." % ("old" if old else "new")]
        kept = [path + outcome.kept for path in (paths.KEY, paths.CERTIFICATE) if host.lexists(path + outcome.kept)]
        lines += ["Kept the old files: %s" % " and ".join(kept)] if kept else []
    left = _forget_request_key(host, asked.request.key)
    seen = installed_pair.installed(host)
    hashes = [seen.problem]
    if seen.chain:
        hashes = ["SHA-256    " + seen.chain[0].sha256, "SHA-1      " + seen.chain[0].sha1]
    found = outcome.findings + installed_pair.more_findings(host, outcome.facts, seen)
    return lines + [used] + hashes + _at_the_tke(outcome, seen, old) + left, found


def _at_the_tke(outcome: "Outcome", seen: "installed_pair.Installed", restored: bool) -> "List[str]":
    """Return a line on what to do at the TKE before it connects again, if anything."""
    if actions.PUT_PAIR not in outcome.done or not seen.chain:
        return []
    if not seen.chain[0].self_issued:
        return [OF_A_CA]
    if restored:
        return [IMPORT_AGAIN]
    return [IMPORT_IN_TCP if outcome.plan.mode == config.TCP else IMPORT]


def _forget_request_key(host: "Host", key: bytes) -> "List[str]":
    """Remove the kept key of a request if it has become catcher.key. Returns what _drop() does."""
    try:
        data = host.read_optional(paths.REQUEST_KEY, pair.SIZE_LIMIT)
    except OSError:
        # This is not that key. The pair is already in place.
        return []
    same = key in [block for _, block in PemFile(paths.REQUEST_KEY, data or b"").keys()[:1]]
    return _drop(host, [paths.REQUEST_KEY]) if same else []


def _drop(host: "Host", files: "List[str]") -> "List[str]":
    """Remove copies that are no longer needed. A failure is no error, because the change itself has worked: it returns
    a line on what is left."""
    path = ""
    try:
        for path in files:
            host.remove(path)
        host.sync_dir(paths.BIN)
    except OSError as error:
        return ["%s is not needed any more, and could not be removed: %s" % (path, reason_of(error))]
    return []
