"""Write findings and faults of ours to the journal or syslog, and to standard error."""

import sys

from . import messages, report
from .text import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

    from .apply import Outcome
    from .host import Host
    from .messages import Finding

TAG = "csulcca"
# syslog(3)
NOTICE = 5


def write(priority: int, *lines: str) -> None:
    """Write lines to the journal or syslog. priority: as report.PRIORITY has them."""
    import syslog

    syslog.openlog(TAG)
    for line in lines:
        syslog.syslog(priority, plain(line))


def tell(found: "List[Finding]") -> bool:
    """Write findings to the journal or syslog, and to standard error, which RPM does not always show. Returns whether
    standard error has taken them all."""
    told = True
    for one in found:
        write(report.PRIORITY[messages.severity(one)], report.journal_line(one))
        for line in report.finding_lines(one):
            told = say("csulcca: " + line) and told
    return told


def changed(outcome: "Outcome") -> None:
    """Write one line on how the mode and the pair were changed, if they were; see report.change_line()."""
    line = report.change_line(outcome)
    if line:
        write(NOTICE, line)


def record(host: "Host", text: str) -> None:
    """Write one line on a change that an administrator asked for: its result, and who asked, according to the
    kernel."""
    write(NOTICE, "catcherctl %s -- asked by %s" % (text, host.asked_by()))


def say(text: str) -> bool:
    """Write one line to standard error, and return whether it has taken it."""
    if sys.stderr is None:
        return False
    try:
        sys.stderr.write(plain(text) + "\n")
        # Before Python 3.9 the text would wait, and an exec would lose it.
        sys.stderr.flush()
    except OSError:
        # Standard error is closed, or its disk is full.
        return False
    return True


def log_fault(error: Exception) -> None:
    """Report a fault of ours or of the system: one line on standard error, the traceback in the journal."""
    if isinstance(error, OSError) and error.strerror:
        say("csulcca: %s: %s" % (error.filename or "system", error.strerror))
    else:
        say("csulcca: internal fault: %s: %s" % (type(error).__name__, str(error)[:200]))
    say("csulcca:   see: journalctl -t csulcca   then: catcherctl apply")
    try:
        import traceback

        write(report.PRIORITY[messages.ERROR], *traceback.format_exc().splitlines())
    except (ImportError, OSError):
        # A failing disk, or no descriptor left: the modules cannot be loaded, so there is only the line above.
        return
