"""The states that an administrator may have left the service in, and that every upgrade must keep.

Each change of an administrator (a drop-in, an edited copy of the unit, a mask, links of the init script without a unit)
is combined with enabled and disabled, running and stopped.
"""

import dataclasses
import pathlib
import shlex
from collections.abc import Callable, Mapping

from tests.fixtures import cca73

from .soundness import wait_until_it_listens
from .system import System

UNIT = "/usr/lib/systemd/system/CSUTKEcat.service"
COPY = "/etc/systemd/system/CSUTKEcat.service"
DROP_IN = "/etc/systemd/system/CSUTKEcat.service.d/nice.conf"
# What the administrator wrote to COPY, to compare COPY with; and the unit of CCA 7.3 that it may be made from.
AS_EDITED = "/root/CSUTKEcat.service.edited"
UNIT_OF_7_3 = "/root/CSUTKEcat.service.7.3"
TEXT_OF_7_3 = pathlib.Path(cca73.__file__).with_name("files").joinpath("CSUTKEcat.service").read_text(encoding="utf-8")


def _nothing_more(system: System) -> None:
    """Compare nothing else: the answers of systemctl are the whole state."""


def _below_the_mask(enabled: str) -> Callable[[System], None]:
    """Return a look that removes the mask, and compares what systemctl is-enabled says then."""

    def look(system: System) -> None:
        system.machine.run("systemctl unmask CSUTKEcat && systemctl unmask --runtime CSUTKEcat")
        assert system.show("systemctl is-enabled CSUTKEcat") == enabled

    return look


def _is_nice(system: System) -> None:
    """Assert that the running daemon uses what was edited. If the daemon does not run, start it first."""
    assert system.show("systemctl show -p Nice --value CSUTKEcat") == "3"
    system.machine.run("systemctl start CSUTKEcat")
    wait_until_it_listens(system)
    pid = system.show("systemctl show -p MainPID --value CSUTKEcat")
    assert system.show(f"ps -o ni= -p {pid}") == "3"


def _has_the_drop_in(system: System) -> None:
    assert system.machine.read(DROP_IN) == b"[Service]\nNice=3\n"
    _is_nice(system)


def _has_the_copy(system: System) -> None:
    assert system.machine.read(COPY) == system.machine.read(AS_EDITED)
    _is_nice(system)


@dataclasses.dataclass(frozen=True)
class State:
    """A state of the service.

    command: brings a service that is enabled and running into the state. service: what systemctl is-enabled and
    is-active say then. look: asserts what else must be true after the upgrade, and may change the state.
    where_7_3_stops_it: what systemctl says after an upgrade in which 7.3's scriptlets stop the service, if that is not
    `service`. findings: what catcherctl status finds because of the state.
    """

    command: str
    service: tuple[str, str]
    look: Callable[[System], None] = _nothing_more
    where_7_3_stops_it: tuple[str, str] | None = None
    findings: tuple[str, ...] = ()


_RESTART = " && systemctl daemon-reload && systemctl restart CSUTKEcat"
_DROP_IN = f"mkdir -p {DROP_IN.rpartition('/')[0]} && printf '[Service]\\nNice=3\\n' > {DROP_IN}"


def _copy_of(unit: str) -> str:
    return f"sed 's/^\\[Service\\]$/&\\nNice=3/' {unit} > {AS_EDITED} && cp {AS_EDITED} {COPY}{_RESTART}"


def _copies(findings: tuple[str, ...]) -> dict[str, State]:
    """An edited copy of the unit that is installed, in each state."""
    edit = _copy_of(UNIT)
    return {
        "with an edited copy": State(edit, ("enabled", "active"), _has_the_copy, findings=findings),
        "stopped with an edited copy": State(
            f"{edit} && systemctl stop CSUTKEcat", ("enabled", "inactive"), _has_the_copy, findings=findings),
        "disabled and running with an edited copy": State(
            f"{edit} && systemctl disable CSUTKEcat", ("disabled", "active"), _has_the_copy, findings=findings),
        "disabled and stopped with an edited copy": State(
            f"{edit} && systemctl disable --now CSUTKEcat", ("disabled", "inactive"), _has_the_copy, findings=findings),
    }  # fmt: skip


STATES = {
    "stopped": State("systemctl stop CSUTKEcat", ("enabled", "inactive")),
    "disabled and stopped": State("systemctl disable --now CSUTKEcat", ("disabled", "inactive")),
    "disabled and running": State("systemctl disable CSUTKEcat", ("disabled", "active")),
    # If 7.3's scriptlets stop a masked service, nothing can start it again.
    "masked and running": State("systemctl mask CSUTKEcat", ("masked", "active"), _below_the_mask("enabled"),
                                where_7_3_stops_it=("masked", "inactive")),
    "masked": State("systemctl stop CSUTKEcat && systemctl mask CSUTKEcat", ("masked", "inactive"),
                    _below_the_mask("enabled")),
    "masked until the next boot": State(
        "systemctl stop CSUTKEcat && systemctl mask --runtime CSUTKEcat", ("masked-runtime", "inactive"),
        _below_the_mask("enabled")),
    "with a drop-in": State(_DROP_IN + _RESTART, ("enabled", "active"), _has_the_drop_in),
    "stopped with a drop-in": State(
        f"{_DROP_IN}{_RESTART} && systemctl stop CSUTKEcat", ("enabled", "inactive"), _has_the_drop_in),
    "disabled and running with a drop-in": State(
        f"{_DROP_IN}{_RESTART} && systemctl disable CSUTKEcat", ("disabled", "active"), _has_the_drop_in),
    "disabled and stopped with a drop-in": State(
        f"{_DROP_IN}{_RESTART} && systemctl disable --now CSUTKEcat", ("disabled", "inactive"), _has_the_drop_in),
    "masked and running and disabled": State(
        "systemctl disable CSUTKEcat && systemctl mask CSUTKEcat", ("masked", "active"), _below_the_mask("disabled"),
        where_7_3_stops_it=("masked", "inactive")),
    "masked and disabled": State(
        "systemctl disable --now CSUTKEcat && systemctl mask CSUTKEcat", ("masked", "inactive"),
        _below_the_mask("disabled")),
}  # fmt: skip

# CCA 7.3's unit is of Type=forking and has a PIDFile, and so has an administrator's copy of it, or of a part of it.
_AS_IN_7_3 = "mkdir -p $(dirname {0}) && printf '[Service]\\nNice=3\\n{1}PIDFile=/run/CSUTKEcat.pid\\n' >{0}" + _RESTART
STATES_OF_7_3 = {
    **STATES,
    **_copies(("unit-forking",)),
    "with a drop-in that is forking": State(
        _AS_IN_7_3.format(DROP_IN, "Type=forking\\n"), ("enabled", "active"), _is_nice, findings=("unit-forking",)),
    "with a drop-in that has a PIDFile": State(_AS_IN_7_3.format(DROP_IN, ""), ("enabled", "active"), _is_nice),
}  # fmt: skip
STATES_OF_8 = {
    **STATES,
    **_copies(()),
    "with an edited copy of 7.3's unit": State(
        f"printf %s {shlex.quote(TEXT_OF_7_3)} > {UNIT_OF_7_3} && {_copy_of(UNIT_OF_7_3)}",
        ("enabled", "active"), _has_the_copy, findings=("unit-forking",)),
}  # fmt: skip

# If the service has no unit, systemd reads its init script, and the links in rcN.d say whether it is enabled. No state
# here has an edited copy of the unit: systemd would read the copy, and neither the init script nor its links.
_ONLY_LINKS = """
    systemctl stop CSUTKEcat
    rm -f /usr/lib/systemd/system/CSUTKEcat.service /etc/systemd/system/multi-user.target.wants/CSUTKEcat.service
    cd /etc && find . -name 'K??CSUTKEcat' -path '*rc[0-9].d*' -delete
    {}
    systemctl daemon-reload
    systemctl start CSUTKEcat || echo no support of init scripts
"""
_TO_K = """
    find . -name 'S??CSUTKEcat' -path '*rc[0-9].d*' | while read -r link; do
        ln -s "$(readlink "$link")" "${link%/*}/K14CSUTKEcat" && rm "$link"
    done
"""
_S_LINKS = _ONLY_LINKS.format("")
_K_LINKS = _ONLY_LINKS.format(_TO_K)

# `service` is what systemctl must say of the unit after the upgrade. If systemd no longer supports init scripts, the
# service does not run before the upgrade, and so not afterwards.
LINKS = {
    "S links": State(_S_LINKS, ("enabled", "active")),
    "K links": State(_K_LINKS, ("disabled", "active")),
    "S links and stopped": State(f"{_S_LINKS}\nsystemctl stop CSUTKEcat", ("enabled", "inactive")),
    "K links and stopped": State(f"{_K_LINKS}\nsystemctl stop CSUTKEcat", ("disabled", "inactive")),
    "S links with a drop-in": State(f"{_DROP_IN}\n{_S_LINKS}", ("enabled", "active"), _has_the_drop_in),
    "K links and stopped with a drop-in": State(
        f"{_DROP_IN}\n{_K_LINKS}\nsystemctl stop CSUTKEcat", ("disabled", "inactive"), _has_the_drop_in),
    # No test looks below this mask: the upgrade removes the S links, which said "enabled", so the unit is disabled.
    "S links and masked": State(
        f"{_S_LINKS}\nsystemctl stop CSUTKEcat\nsystemctl mask CSUTKEcat", ("masked", "inactive")),
    "K links and masked and running": State(
        f"{_K_LINKS}\nsystemctl mask CSUTKEcat", ("masked", "active"), _below_the_mask("disabled"),
        where_7_3_stops_it=("masked", "inactive")),
}  # fmt: skip


def masked(states: Mapping[str, State]) -> list[str]:
    """Return the names of the masked states, running or not."""
    return [name for name, state in states.items() if state.service[0].startswith("masked")]


def running(states: Mapping[str, State]) -> list[str]:
    """Return the names of the states that run and are not masked."""
    return [name for name, state in states.items() if state.service[1] == "active" and name not in masked(states)]


def stopped(states: Mapping[str, State]) -> list[str]:
    """Return the names of the states that neither run nor are masked."""
    return [name for name in states if name not in [*masked(states), *running(states)]]


def enter(system: System, state: State) -> None:
    """Bring an enabled and running service into a state."""
    system.machine.run(state.command)
    assert system.service() == state.service


def enter_without_unit(system: System, state: State) -> tuple[str, str]:
    """Bring the service of CCA 7.3 into a state of LINKS. Returns what systemctl must say after the upgrade: `service`
    of the state, or not running if systemd does not support init scripts."""
    done = system.machine.run(state.command, check=False)
    enabled, active = state.service
    if "no support" in done.out:
        active = "inactive"
    assert system.show("systemctl is-active CSUTKEcat") == active
    return enabled, active
