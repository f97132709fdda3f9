"""The daily check (csulcca-check.service): write the findings of ``catcherctl status`` on the pair to the journal."""

from .. import journal, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List


def main(arguments: "List[str]") -> int:
    """Check the pair, and change nothing. arguments: none. Returns 0; 1 for a fault of ours, so that the unit fails."""
    try:
        from ..host import Host
        from .status import collect_status

        for one in collect_status(Host())["findings"]:
            if one["id"].startswith("pair-"):
                journal.write(report.PRIORITY[one["severity"]], report.log_line(one))
    except Exception as error:  # noqa: BLE001 - a fault of ours: one line here, the traceback in the journal
        journal.log_fault(error)
        return 1
    return 0
