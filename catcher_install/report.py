"""Findings and plans as text for people, the journal and scripts. Nothing here prints."""

from . import messages

MYPY = False
if MYPY:
    from typing import Dict, List

    from .messages import Finding
    from .plan import Plan

# sd-daemon(3): the priority that the journal gives a line
PRIORITY = {messages.INFO: 6, messages.WARNING: 4, messages.ERROR: 3}


def finding_lines(found: "Finding") -> "List[str]":
    """What is wrong and what to type, a line each."""
    lines = ["%s [%s]" % (messages.text(found), found["id"])]
    fix = messages.fix(found)
    return lines + ["  " + fix] if fix else lines


def journal_line(found: "Finding") -> str:
    """One line for a log."""
    return "%s [%s] -- %s" % (messages.text(found), found["id"], messages.fix(found))


def finding_fields(found: "Finding") -> "Dict[str, str]":
    """A finding for ``--json``: id, severity, message, fix."""
    return {
        "id": found["id"],
        "severity": messages.severity(found),
        "message": messages.text(found),
        "fix": messages.fix(found),
    }


def flagged_lines(fields: "Dict[str, str]") -> "List[str]":
    """finding_fields() as two lines of a report: what is wrong, with "!" if it needs attention, and what to type."""
    flag = "i" if fields["severity"] == messages.INFO else "!"
    return ["  %s  %s [%s]" % (flag, fields["message"], fields["id"]), "     %s" % fields["fix"]]


def plan_lines(plan: "Plan") -> "List[str]":
    """What a converge would do and why."""
    lines = ["This host is seen as: %s." % plan.history]
    if not plan.actions:
        lines.append("Nothing to do.")
    for action in plan.actions:
        lines.append("%s: %s." % (action.kind, action.why))
        if action.kind == "write configuration" and action.data is not None:
            lines.append("  /etc/cca/catcher.conf: %s" % action.data.decode("utf-8", "replace").strip())
    return lines
