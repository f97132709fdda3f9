"""The pairs on this host: the pair in place, and the pairs that earlier changes have kept."""

import calendar

from .. import facts as fact_collector
from .. import pair, paths, port, report, systemd
from ..config import TLS
from ..errors import CatcherError
from ..text import moment, shown
from . import daemon, installed_pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ..facts import HostFacts
    from ..host import Host

IN_PLACE = "in place"
KEPT = "kept"
REQUEST = "request"


def collect(host: "Host") -> "Dict[str, Any]":
    """Return the fields of ``cert list --json``.

    format_version: 1. unfinished: a change of the pair was interrupted. pairs: first the pair in place, then the kept
    pairs from the newest to the oldest, then the key of a request. Each has: state (IN_PLACE, KEPT or REQUEST); name
    (what ``cert restore`` takes, or null); replaced (seconds since the epoch, or null); key and certificate (paths, or
    null); algorithm ("" if unknown); made_here (or null if that cannot be seen); in_use (whether the running catcher
    shows this certificate; null if that could not be seen); certificates (see installed_pair.fields()); problem
    (why there are none, or null). Raises OSError.
    """
    files = pair.look(host)
    in_use = _in_use(host)
    facts = fact_collector.collect(host)
    found = sorted(pair.suffixes(host), key=_order)
    return {
        "format_version": report.JSON_FORMAT,
        "unfinished": files.staged or files.draft,
        "pairs": [_entry(host, suffix, facts, in_use) for suffix in found],
    }


def _order(suffix: str) -> "Tuple[int, int, int]":
    """Return the sort key of a suffix: the pair in place, kept pairs from new to old, the key of a request."""
    rank = {"": 0, pair.REQUEST_SUFFIX: 2}.get(suffix, 1)
    number = suffix.partition("-")[2]
    return rank, -(_replaced(suffix) or 0), -int(number) if number.isdigit() else 0


def _replaced(suffix: str) -> "Optional[int]":
    """When a kept pair was replaced, in seconds since the epoch; None if its name does not say that."""
    digits = suffix.partition("-")[0].replace("T", "", 1)
    if len(digits) != 16 or not digits[1:15].isdigit() or digits[0] != "." or digits[15] != "Z":
        return None
    parts = [int(digits[1:5])] + [int(digits[at:at + 2]) for at in range(5, 15, 2)]
    return calendar.timegm(tuple(parts)) if parts[0] and 1 <= parts[1] <= 12 and 1 <= parts[2] <= 31 else None


def _in_use(host: "Host") -> "Optional[str]":
    """SHA-256 of the certificate that the running catcher shows; "" if it shows none, None if that is not known."""
    pid = systemd.catcher(host)
    mode = systemd.running_mode(host, pid)
    if mode != TLS and (mode or pid is None):
        return ""
    if port.holder(host).state != port.CATCHER:
        return None
    chain = daemon.look(host).chain
    return chain[0].sha256 if chain else None


def _entry(host: "Host", suffix: str, facts: "HostFacts", in_use: "Optional[str]") -> "Dict[str, Any]":
    """Return a pair as collect() has it."""
    key, certificate = (path + suffix if host.lexists(path + suffix) else None for path in (
        paths.KEY, paths.CERTIFICATE))
    seen = installed_pair.installed(host, paths.CERTIFICATE + suffix)
    return {
        "state": {"": IN_PLACE, pair.REQUEST_SUFFIX: REQUEST}.get(suffix, KEPT),
        "name": suffix[1:] if suffix not in ("", pair.REQUEST_SUFFIX) else None,
        "replaced": _replaced(suffix),
        "key": key,
        "certificate": certificate,
        "algorithm": seen.algorithm,
        "made_here": installed_pair.is_ours(host, [one for one in (key, certificate) if one], facts),
        "in_use": None if in_use is None else bool(seen.chain) and seen.chain[0].sha256 == in_use,
        "certificates": [one.fields() for one in seen.chain],
        "problem": seen.problem or None,
    }


def kept_suffix(host: "Host", name: str) -> str:
    """Return the suffix of an old pair of which both files exist. Raises CatcherError if there is none.

    name: as collect() has it; "" for the pair that was replaced last.
    """
    kept = [one for one in sorted(pair.suffixes(host), key=_order) if one not in ("", pair.REQUEST_SUFFIX)]
    whole = [one for one in kept if all(host.lexists(path + one) for path in (paths.KEY, paths.CERTIFICATE))]
    see = "see which there are:\n  catcherctl cert list"
    if name and "." + name in kept:
        if "." + name not in whole:
            raise CatcherError("only one file of the old pair %s is there" % shown(name), see)
        return "." + name
    if name or not whole:
        lone = "; only one file of %s is there" % " and ".join(one[1:] for one in kept) if kept and not name else ""
        raise CatcherError("there is no old pair%s%s" % (" " + shown(name) if name else "", lone), see)
    return whole[0]


def lines(told: "Dict[str, Any]") -> "List[str]":
    """Return collect() for a person: plain ASCII."""
    text = []
    for one in told["pairs"]:
        text += _pair_lines(one)
    if told["unfinished"]:
        text += ["A change of the pair was interrupted. To finish it:", "  catcherctl apply"]
    return text or ["There is no key and no certificate."]


def _pair_lines(one: "Dict[str, Any]") -> "List[str]":
    old = "pair" if one["key"] and one["certificate"] else "key" if one["key"] else "certificate"
    head = {IN_PLACE: "In place", KEPT: "Old %s %s" % (old, one["name"]), REQUEST: "Key of a certificate request"}
    used = ", in use" if one["in_use"] else ""
    when = ", replaced on %s" % moment(one["replaced"]) if one["replaced"] is not None else ""
    made = {True: "made by this package", False: "your own", None: ""}[one["made_here"]]
    text = [head[one["state"]] + used + when]
    files = [path for path in (one["key"], one["certificate"]) if path]
    text += ["  %-10s %s" % ("file" if len(files) == 1 else "files", " ".join(files))]
    kind = ", ".join(word for word in (one["algorithm"], made) if word)
    text += ["  key        " + kind] if kind else []
    if one["certificates"]:
        text += ["  " + line for line in installed_pair.certificate_lines(one["certificates"][0])]
    elif one["certificate"]:
        text += ["  problem    " + str(one["problem"])]
    return text
