"""What the package manager's hooks run after unpacking, and before removing: converge, tell the findings, never break a
transaction.

RPM scriptlets never fail. Debian's postinst fails only for a fault of ours that ``dpkg --configure -a`` may cure.
"""

from . import journal, transition
from .messages import finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List


def main(arguments: "List[str]") -> int:
    """arguments: family ("deb" or "rpm"), then what the package manager gave postinst or %posttrans. Exit status."""
    family = arguments[0] if arguments else ""
    try:
        return _run(family, arguments[1:])
    except Exception as error:  # noqa: BLE001 - a package transaction never sees a traceback
        journal.log_fault(error)
        return 1 if family == "deb" else 0


def compile_library(arguments: "List[str]") -> int:
    """Compile every module of ours, so that no daemon start does. arguments: none. Exit status: 1 if that failed."""
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
    journal.tell(found)
    return 0


def remove(arguments: "List[str]") -> int:
    """arguments: as main() has them, of prerm or %preun, if the package goes. Exit status: 0, since what could not be
    noted is kept."""
    try:
        from . import messages
        from .apply import converge
        from .host import Host

        outcome = converge(Host(), transition.of(transition.REMOVE))
        journal.tell([one for one in outcome.findings if messages.is_marked(one, messages.FAILURE)])
    except Exception as error:  # noqa: BLE001 - a package transaction never sees a traceback
        journal.log_fault(error)
    return 0
