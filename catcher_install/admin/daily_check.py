"""The daily look at the pair (csulcca-check.service): what ``catcherctl status`` says of it goes to the journal."""

from .. import journal, report
from ..text import plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List


def main(arguments: "List[str]") -> int:
    """Look, and change nothing. arguments: none. Exit status: 1 only for a fault of ours, so that the unit shows it."""
    try:
        import syslog

        from ..host import Host
        from .status import collect_status

        found = collect_status(Host())["findings"]
        syslog.openlog(journal.TAG)
        for one in found:
            if one["id"].startswith("pair-"):
                syslog.syslog(report.PRIORITY[one["severity"]], plain(report.log_line(one)))
    except Exception as error:  # noqa: BLE001 - one line, and its story goes to the journal
        journal.log_fault(error)
        return 1
    return 0
