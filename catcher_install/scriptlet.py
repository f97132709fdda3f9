"""What the package manager's hooks run after unpacking: converge, tell the findings, never break a transaction.

RPM scriptlets never fail. Debian's postinst fails only for a fault of ours that ``dpkg --configure -a`` may cure.
"""

import sys

from . import messages, report, transition
from .messages import finding

MYPY = False
if MYPY:
    from typing import List

    from .messages import Finding

TAG = "csulcca"


def main(arguments: "List[str]") -> int:
    """arguments: family ("deb" or "rpm"), then what the package manager gave postinst or %posttrans. Exit status."""
    family = arguments[0] if arguments else ""
    try:
        return _run(family, arguments[1:])
    except Exception as error:  # noqa: BLE001 - a package transaction never sees a traceback
        _log_fault(error)
        return 1 if family == "deb" else 0


def _run(family: str, arguments: "List[str]") -> int:
    # For their bytecode: the daemon's start needs these too, and to its unit /usr is read-only.
    from . import launch, moment  # noqa: F401
    from .apply import converge
    from .host import Host

    called = transition.from_scriptlet(family, arguments)
    outcome = converge(Host(), called)
    found = outcome.findings
    if called.kind == transition.UNKNOWN:
        found = found + [finding("scriptlet-unknown", arguments=" ".join([family] + arguments)[:100] or "(none)")]
    tell(found)
    return 0


def tell(found: "List[Finding]") -> None:
    """Findings to the journal or syslog, and to whoever watches the transaction. RPM shows that to nobody reliably."""
    import syslog

    syslog.openlog(TAG)
    for one in found:
        priority = report.PRIORITY[messages.severity(one)]
        syslog.syslog(priority, plain(report.journal_line(one)))
        for line in report.finding_lines(one):
            _say("csulcca: " + line)


def watch(arguments: "List[str]") -> int:
    """The daily look at the pair (csulcca-check.service): what ``catcherctl status`` says of it goes to
    the journal. Nothing is changed. Exit status: 1 only for a fault of ours, so that the unit shows it."""
    try:
        import syslog

        from .host import Host
        from .status import collect_status

        found = collect_status(Host())["findings"]
        syslog.openlog(TAG)
        for one in found:
            if one["id"].startswith("pair-"):
                line = "%s [%s] -- %s" % (one["message"], one["id"], one["fix"])
                syslog.syslog(report.PRIORITY[one["severity"]], plain(line))
    except Exception as error:  # noqa: BLE001 - one line, and its story goes to the journal
        _log_fault(error)
        return 1
    return 0


def plain(text: str) -> str:
    """Text that every log and terminal takes: ASCII, one line, no control characters."""
    shown = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(c if c.isprintable() else "\\x%02x" % ord(c) for c in shown)


def _say(text: str) -> None:
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(plain(text) + "\n")
    except OSError:
        # Nobody listens; the journal and the stamp have it.
        return


def _log_fault(error: Exception) -> None:
    """A fault of ours, or of the system's: one line here, the whole story in the journal."""
    if isinstance(error, OSError) and error.strerror:
        _say("csulcca: %s: %s" % (error.filename or "system", error.strerror))
    else:
        _say("csulcca: internal fault: %s: %s" % (type(error).__name__, str(error)[:200]))
    _say("csulcca:   see: journalctl -t csulcca   then: catcherctl apply")
    try:
        import syslog
        import traceback
    except (ImportError, OSError):
        # A disk that fails, or no descriptor left: then they cannot be loaded, and the line above is all.
        return
    syslog.openlog(TAG)
    for line in traceback.format_exc().splitlines():
        syslog.syslog(syslog.LOG_ERR, plain(line))
