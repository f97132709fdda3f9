"""A finding: what it says, what to do about it, and how serious it is, from the table in catalog.py."""

from .catalog import CATALOG, ERROR, FAILURE, INFO, LASTING, ROOT, TRANSIENT, WARNING

__all__ = ["ASK_THE_CA", "CATALOG", "CLOCK_FLOOR", "ERROR", "FAILURE", "INFO", "LASTING", "ROOT", "SOON_SECONDS",
           "TRANSIENT", "WARNING", "finding", "fix", "is_marked", "needs_attention", "severity", "text"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Tuple

    Finding = Dict[str, str]

# A certificate that is valid for fewer seconds than this expires soon.
SOON_SECONDS = 30 * 24 * 3600
# A clock that says less than this (2020-01-01) was not set: the product is younger.
CLOCK_FLOOR = 1577836800
# How to renew an administrator's certificate, which a CA has usually signed: the verbs behind "catcherctl cert". The
# key stays on this host.
ASK_THE_CA = "request\n  catcherctl cert install CRT"


def finding(id: str, **facts: str) -> "Finding":
    """Return a finding. facts: the values that text() and fix() fill into its texts.

    Raises KeyError for an id that the catalog does not have.
    """
    CATALOG[id]
    facts["id"] = id
    return facts


def severity(found: "Finding") -> str:
    """Return INFO, WARNING or ERROR; WARNING for an id of another version of the package."""
    severity, _, _, _ = _row(found)
    return severity


def needs_attention(found: "Finding") -> bool:
    """Return whether an administrator should do something about it."""
    return severity(found) != INFO


def is_marked(found: "Finding", mark: str) -> bool:
    """Return whether a finding has one of the marks LASTING, TRANSIENT, FAILURE and ROOT."""
    _, marks, _, _ = _row(found)
    return mark in marks


def _row(found: "Finding") -> "Tuple[str, str, str, str]":
    return CATALOG.get(found["id"]) or (WARNING, "", found["id"], "see:\n  catcherctl status")


class _Facts(dict):
    """A finding's facts for str.format_map. A missing one (in a stamp of another version) is shown as "?"."""

    def __missing__(self, name: str) -> str:
        return "?"


def text(found: "Finding") -> str:
    """Return what is wrong, in one line."""
    _, _, text, _ = _row(found)
    return text.format_map(_Facts(found))


def fix(found: "Finding") -> str:
    """Return what to do, a line for each step. A line that begins with two blanks is a command."""
    _, _, _, fix = _row(found)
    return fix.format_map(_Facts(found))
