"""What is told to the journal or syslog, and on standard error: findings, and faults of ours."""

import sys

from . import messages, report
from .text import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from .actions import Plan
    from .host import Host
    from .messages import Finding

TAG = "csulcca"


def tell(found: "List[Finding]") -> None:
    """Findings to the journal or syslog, and to whoever watches the transaction. RPM shows that to nobody reliably."""
    import syslog

    syslog.openlog(TAG)
    for one in found:
        priority = report.PRIORITY[messages.severity(one)]
        syslog.syslog(priority, plain(report.journal_line(one)))
        for line in report.finding_lines(one):
            say("csulcca: " + line)


def changed(plan: "Plan", done: "List[str]") -> None:
    """One line on what a run of the package changed of the mode and the pair, if anything."""
    line = report.change_line(plan, done)
    if line:
        import syslog

        syslog.openlog(TAG)
        syslog.syslog(syslog.LOG_NOTICE, plain(line))


def record(host: "Host", text: str) -> None:
    """One line on a change that an administrator asked for: what became of it, and who asked as the kernel knows it."""
    import syslog

    syslog.openlog(TAG)
    syslog.syslog(syslog.LOG_NOTICE, plain("catcherctl %s -- asked by %s" % (text, host.asked_by())))


def say(text: str) -> None:
    """One line on standard error, where there is one."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(plain(text) + "\n")
    except OSError:
        # Nobody listens; the journal and the stamp have it.
        return


def log_fault(error: Exception) -> None:
    """A fault of ours, or of the system's: one line here, the whole story in the journal."""
    if isinstance(error, OSError) and error.strerror:
        say("csulcca: %s: %s" % (error.filename or "system", error.strerror))
    else:
        say("csulcca: internal fault: %s: %s" % (type(error).__name__, str(error)[:200]))
    say("csulcca:   see: journalctl -t csulcca   then: catcherctl apply")
    try:
        import syslog
        import traceback
    except (ImportError, OSError):
        # A disk that fails, or no descriptor left: then they cannot be loaded, and the line above is all.
        return
    syslog.openlog(TAG)
    for line in traceback.format_exc().splitlines():
        syslog.syslog(syslog.LOG_ERR, plain(line))
