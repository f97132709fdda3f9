"""Removed or purged, then installed again: the mode is kept, and everything else that should be."""

import pytest

from .marks import needs_tls
from .soundness import assert_sound
from .system import CERTIFICATE, KEY
from .turns import TOOLS, in_turns, one_of

VERBS = ["remove", "purge"]


@pytest.mark.scenario("erase-install-7.3")
@pytest.mark.parametrize("variant,tool,verb", in_turns(["normal", "careless"], TOOLS, VERBS))
def test_7_3_removed_and_8_installed_stays_in_tcp(boot, built, variant, tool, verb):
    """The hook sees a first installation; what 7.3 left behind decides."""
    system = boot()
    tool = system.tools[TOOLS[tool]]
    system.package(system.tools[1], "install", built.old(system.cell, variant))
    system.package(tool, verb)
    system.package(tool, "install", built.new(system.cell.family))
    assert_sound(system, "tcp", findings=["upgraded-tcp-kept"])


@pytest.mark.scenario("erase-install")
@pytest.mark.parametrize("verb,tool", one_of(VERBS, TOOLS))
@needs_tls
def test_tls_is_kept_and_so_is_the_pair_unless_it_was_purged(boot, built, verb, tool):
    system = boot()
    tool = system.tools[TOOLS[tool]]
    system.package(system.tools[1], "install", built.old(system.cell, "careless"))
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("catcherctl mode tls")
    pair = system.tree(KEY, CERTIFICATE)

    system.package(tool, verb)
    system.package(tool, "install", built.new(system.cell.family))

    assert_sound(system, "tls")
    purged = verb == "purge" and system.cell.family == "deb"
    assert (system.tree(KEY, CERTIFICATE) == pair) == (not purged)


@pytest.mark.scenario("erase-install")
@pytest.mark.parametrize("verb,tool", one_of(VERBS, TOOLS))
def test_tcp_that_an_administrator_chose_is_kept(boot, built, verb, tool):
    system = boot()
    tool = system.tools[TOOLS[tool]]
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("catcherctl mode tcp")
    system.package(tool, verb)
    system.package(tool, "install", built.new(system.cell.family))
    # After a purge, nothing says that an administrator chose the mode.
    purged = verb == "purge" and system.cell.family == "deb"
    assert_sound(system, "tcp", findings=system.first_findings() if purged else [])
