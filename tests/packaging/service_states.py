"""The states that an administrator may have left the service in, and that every upgrade must keep."""

import dataclasses
from collections.abc import Callable

from .system import System

DROP_IN = "/etc/systemd/system/CSUTKEcat.service.d/nice.conf"


def _nothing_more(system: System) -> None:
    """The state is all in what systemctl says."""


def _would_be_enabled(system: System) -> None:
    """Below the mask the service is enabled as before."""
    system.machine.run("systemctl unmask --runtime CSUTKEcat")
    assert system.show("systemctl is-enabled CSUTKEcat") == "enabled"


def _is_nice(system: System) -> None:
    """The drop-in is there, and it works."""
    assert system.machine.read(DROP_IN) == b"[Service]\nNice=3\n"
    assert system.show("systemctl show -p Nice --value CSUTKEcat") == "3"
    pid = system.show("systemctl show -p MainPID --value CSUTKEcat")
    assert system.show(f"ps -o ni= -p {pid}") == "3"


@dataclasses.dataclass(frozen=True)
class State:
    """What is typed to get there from enabled and running; what systemctl is-enabled and is-active say there; what else
    must be so afterwards (look(system) asserts it); and what they say where 7.3's scriptlets stop it, if not that."""

    command: str
    service: tuple[str, str]
    look: Callable[[System], None] = _nothing_more
    where_7_3_stops_it: tuple[str, str] | None = None


STATES = {
    "stopped": State("systemctl stop CSUTKEcat", ("enabled", "inactive")),
    "disabled and stopped": State("systemctl disable --now CSUTKEcat", ("disabled", "inactive")),
    "disabled and running": State("systemctl disable CSUTKEcat", ("disabled", "active")),
    # Nobody may start it against the mask.
    "masked and running": State("systemctl mask CSUTKEcat", ("masked", "active"),
                                where_7_3_stops_it=("masked", "inactive")),
    "masked": State("systemctl stop CSUTKEcat && systemctl mask CSUTKEcat", ("masked", "inactive")),
    "masked until the next boot": State(
        "systemctl stop CSUTKEcat && systemctl mask --runtime CSUTKEcat", ("masked-runtime", "inactive"),
        _would_be_enabled),
    "with a drop-in": State(
        f"mkdir -p {DROP_IN.rpartition('/')[0]} && printf '[Service]\\nNice=3\\n' > {DROP_IN}"
        " && systemctl daemon-reload && systemctl restart CSUTKEcat", ("enabled", "active"), _is_nice),
}  # fmt: skip

RUNNING = [name for name, state in STATES.items() if state.service[1] == "active"]
STOPPED = [name for name in STATES if name not in RUNNING]


def enter(system: System, state: str) -> None:
    """Bring an enabled and running service into one of STATES."""
    system.machine.run(STATES[state].command)
    assert system.service() == STATES[state].service
