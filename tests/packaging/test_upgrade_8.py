"""An upgrade from 8.0 to the next release changes only the package."""

import pytest

from .service_states import STATES_OF_8, enter, masked, running, stopped
from .soundness import assert_sound
from .system import MODES
from .turns import TOOLS, in_turns, one_of

# Files that must have the same bytes, owner and mode before and after.
KEPT = ("/etc/cca", "/opt/IBM/CCA/bin/catcher.key", "/opt/IBM/CCA/bin/catcher.crt")


@pytest.mark.scenario("upgrade-8")
@pytest.mark.parametrize("mode,tool", one_of(MODES, TOOLS))
def test_the_next_8_x_changes_nothing_but_itself(boot, built, mode, tool):
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    mode, findings = system.choose_mode(mode)
    kept = system.tree(*KEPT)
    pid = system.show("systemctl show -p MainPID --value CSUTKEcat")

    system.package(system.tools[TOOLS[tool]], "install", built.new(system.cell.family, "8.0.1"))

    assert_sound(system, mode, findings=findings)
    assert system.tree(*KEPT) == kept
    assert system.show("systemctl show -p MainPID --value CSUTKEcat") != pid
    assert system.stamp()["package_version"] == "8.0.1"
    assert system.stamp()["mode"] == mode


@pytest.mark.scenario("upgrade-8-running")
@pytest.mark.parametrize("state,mode,tool", in_turns(running(STATES_OF_8), MODES, TOOLS, share=3))
def test_a_service_that_runs_is_restarted_in_its_state(boot, built, state, mode, tool):
    assert_the_state_survives(boot(), built, state, mode, tool)


@pytest.mark.scenario("upgrade-8-stopped")
@pytest.mark.parametrize("state,mode,tool", in_turns(stopped(STATES_OF_8), MODES, TOOLS, share=3))
def test_a_service_that_does_not_run_stays_in_its_state(boot, built, state, mode, tool):
    assert_the_state_survives(boot(), built, state, mode, tool)


@pytest.mark.scenario("upgrade-8-masked")
@pytest.mark.parametrize("state,mode,tool", in_turns(masked(STATES_OF_8), MODES, TOOLS, share=3))
def test_a_masked_service_stays_masked(boot, built, state, mode, tool):
    assert_the_state_survives(boot(), built, state, mode, tool)


def assert_the_state_survives(system, built, state, mode, tool):
    state = STATES_OF_8[state]
    system.package(system.tools[1], "install", built.new(system.cell.family))
    mode, findings = system.choose_mode(mode)
    enter(system, state)
    kept = system.tree(*KEPT)

    system.package(system.tools[TOOLS[tool]], "install", built.new(system.cell.family, "8.0.1"))

    assert_sound(system, mode, service=state.service, findings=[*findings, *state.findings])
    assert system.tree(*KEPT) == kept
    assert system.stamp()["package_version"] == "8.0.1"
    state.look(system)
