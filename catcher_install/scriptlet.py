"""The entry points of the hooks: they run after unpacking and before a removal, report findings, and never break a
transaction.

RPM scriptlets never fail. Debian's postinst fails only for a fault of ours that ``dpkg --configure -a`` may cure.
"""

from . import journal, transition
from .messages import finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List


def main(arguments: "List[str]") -> int:
    """Do the work of postinst or %posttrans, and return the exit status.

    arguments: the family ("deb" or "rpm"), then the arguments from the package manager.
    """
    family = arguments[0] if arguments else ""
    try:
        return _run(family, arguments[1:])
    except Exception as error:  # noqa: BLE001 - a package transaction never sees a traceback
        journal.log_fault(error)
        return 1 if family == "deb" else 0


def compile_library(arguments: "List[str]") -> int:
    """Compile all our modules, so that no daemon start has to. arguments: none. Returns 0, or 1 if that failed."""
    import compileall

    from . import paths

    return 0 if compileall.compile_dir(paths.LIBRARY, quiet=2) else 1


def _run(family: str, arguments: "List[str]") -> int:
    from .apply import converge
    from .host import Host

    called = transition.from_scriptlet(family, arguments)
    outcome = converge(Host(), called)
    journal.changed(outcome)
    found = outcome.findings
    if called.kind == transition.UNKNOWN:
        found = found + [finding("scriptlet-unknown", arguments=" ".join([family] + arguments)[:100] or "(none)")]
    # The stamp has the findings, too. If neither takes them, the disk fails, and dpkg has to say so.
    told = journal.tell(found) or outcome.recorded
    return 0 if told or family != "deb" else 1


def remove(arguments: "List[str]") -> int:
    """Do the work of prerm or %preun if the package is removed. arguments: as main() has them. Returns 0 in any case: a
    purge keeps what could not be noted."""
    try:
        from . import messages
        from .apply import converge
        from .host import Host

        outcome = converge(Host(), transition.of(transition.REMOVE))
        journal.tell([one for one in outcome.findings if messages.is_marked(one, messages.FAILURE)])
    except Exception as error:  # noqa: BLE001 - a package transaction never sees a traceback
        journal.log_fault(error)
    return 0
