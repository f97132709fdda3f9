"""Findings and plans as text for people, the journal and scripts. Nothing here prints."""

from . import actions, messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from .apply import Outcome
    from .messages import Finding
    from .plan import Plan

# format_version of every --json. It changes if a field disappears or changes its meaning (docs/json.md).
JSON_FORMAT = 1
# The priority of a line in the journal (sd-daemon(3)).
PRIORITY = {messages.INFO: 6, messages.WARNING: 4, messages.ERROR: 3}
HISTORIES = {
    actions.FRESH: "This is a fresh host.",
    actions.LEGACY: "This is an upgrade from CCA 7.x.",
    actions.KNOWN: "CCA 8 is set up on this host.",
}


def hint(text: str) -> str:
    """Return a hint with this distribution's command added behind the name of a package to install."""
    if "install the package " not in text:
        return text
    from . import optional

    return "\n".join(optional.with_command(line) for line in text.split("\n"))


def finding_lines(found: "Finding") -> "List[str]":
    """Return what is wrong, in one line, and below it what to do, each step in a line of its own."""
    fix = hint(messages.fix(found))
    return ["%s [%s]" % (messages.text(found), found["id"])] + ["  " + line for line in fix.split("\n") if line]


def journal_line(found: "Finding") -> str:
    """Return a finding as one line for a log."""
    return log_line(finding_fields(found))


def log_line(fields: "Dict[str, str]") -> str:
    """Return finding_fields() as one line for a log."""
    return "%s [%s] -- %s" % (fields["message"], fields["id"], in_one_line(fields["fix"]))


def in_one_line(fix: str) -> str:
    """Return what to do as one line: steps are separated by semicolons, and a command follows the colon before it."""
    return "; ".join(line.strip() for line in fix.split("\n")).replace(":; ", ": ")


def finding_fields(found: "Finding") -> "Dict[str, str]":
    """Return a finding for ``--json``: id, severity, message, fix (lines; those that begin with two blanks are
    commands)."""
    return {
        "id": found["id"],
        "severity": messages.severity(found),
        "message": messages.text(found),
        "fix": hint(messages.fix(found)),
    }


def flagged_lines(fields: "Dict[str, str]") -> "List[str]":
    """Return finding_fields() as lines of a report: what is wrong, with "!" if it needs attention, and below it what to
    do."""
    flag = "i" if fields["severity"] == messages.INFO else "!"
    said = "  %s  %s [%s]" % (flag, fields["message"], fields["id"])
    return [said] + ["     " + line for line in fields["fix"].split("\n")]


def change_line(outcome: "Outcome") -> str:
    """Return as one line what a run changed of the mode and the pair, and why, and what somebody has changed by hand
    since the previous run; "" if nothing was changed."""
    changed = [one for one in outcome.plan.actions if one.kind in actions.CHANGES and one.kind in outcome.done]
    return "; ".join(["%s: %s" % (
        one.kind if one.text() is None else "%s %s" % (one.kind, " ".join((one.text() or "").split())), one.why)
        for one in changed] + _changes_by_hand(outcome))


def _changes_by_hand(outcome: "Outcome") -> "List[str]":
    """Return what was changed by hand: the stamp did not know it yet, and no action explains it."""
    old, new = outcome.before.stamp, outcome.facts.stamp
    found: List[str] = []
    if old is None or new is None or outcome.changed():
        return found
    # A mode that catcher.conf does not set is the default, which may change without an edit.
    if old.mode and new.mode and old.mode != new.mode == outcome.facts.config.state:
        found.append("catcher.conf was edited: the mode was %s and is %s" % (old.mode.upper(), new.mode.upper()))
    before, after = ((one.checked_pair or {}).get("fingerprint") for one in (old, new))
    if before and after and before != after:
        found.append("catcher.key and catcher.crt were replaced by other files")
    return found


def plan_lines(plan: "Plan") -> "List[str]":
    """Return what ``catcherctl apply`` would do and why."""
    lines = [HISTORIES[plan.history]]
    if not plan.actions:
        lines.append("Nothing to do.")
    for action in plan.actions:
        lines.append("%s: %s." % (action.kind, action.why))
        text = action.text()
        if text is not None:
            lines.append("  /etc/cca/catcher.conf: %s" % text.strip())
    return lines


def done_lines(plan: "Plan", done: "List[str]") -> "List[str]":
    """Return what ``catcherctl apply`` has done and why. The stamp may have been written without being planned."""
    reasons = dict({actions.WRITE_STAMP: actions.RECORD}, **{action.kind: action.why for action in plan.actions})
    lines = ["done: %s (%s)" % (kind, reasons[kind]) for kind in done]
    return lines or ["Nothing was done." if plan.actions else "Nothing to do."]


def plan_fields(plan: "Plan") -> "Dict[str, Any]":
    """Return the fields of ``plan --json``: format_version; history ("fresh", "legacy upgrade", "8.x upgrade"); mode
    ("tls", "tcp", or null if undecided) that catcher.conf has afterwards; actions in order, each with kind, why and
    data (the new text of catcher.conf, or null); findings: id, severity, message, fix."""
    return {
        "format_version": JSON_FORMAT,
        "history": plan.history,
        "mode": plan.mode,
        "actions": [{"kind": action.kind, "why": action.why, "data": action.text()} for action in plan.actions],
        "findings": [finding_fields(one) for one in plan.findings],
    }


def done_fields(done: "List[str]", found: "List[Finding]") -> "Dict[str, Any]":
    """Return the fields of ``apply --json``: format_version; done: the kinds of actions that were carried out, in
    order; findings: id, severity, message, fix."""
    return {"format_version": JSON_FORMAT, "done": done, "findings": [finding_fields(one) for one in found]}


def exit_status(found: "List[Finding]") -> int:
    """Return catcherctl's exit status for findings: 1 if an action failed, 3 if a finding needs attention, else 0."""
    if any(messages.is_marked(one, messages.FAILURE) for one in found):
        return 1
    return 3 if any(messages.needs_attention(one) for one in found) else 0
