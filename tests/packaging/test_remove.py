"""What removal leaves, and what it must not: the whole system is compared with keep_list.py."""

import pytest

from .keep_list import left_over, missing, whole_tree
from .marks import needs_tls
from .system import CERTIFICATE, KEY
from .turns import TOOLS, in_turns

pytestmark = pytest.mark.scenario("remove")

HISTORIES = {"first installation": "", "upgraded from 7.3": "normal", "upgraded from a careless 7.3": "careless"}
UNITS = "'CSUTKEcat*' 'csulcca*'"


@pytest.mark.parametrize("history,verb,tool", in_turns(HISTORIES, ["remove", "purge"], TOOLS))
def test_nothing_is_left_but_what_is_declared(boot, built, history, verb, tool):
    system = boot()
    family, tool = system.cell.family, system.tools[TOOLS[tool]]
    before = whole_tree(system)
    if HISTORIES[history]:
        system.package(tool, "install", built.old(system.cell, HISTORIES[history]))
    system.package(tool, "install", built.new(family))
    if system.cell.mode == "TLS":
        system.machine.run("catcherctl mode tls")

    system.package(tool, verb)

    after = whole_tree(system)
    assert left_over(before, after, verb, family, was_7_3=bool(HISTORIES[history])) == {}
    if system.cell.mode == "TLS":
        assert missing(after, verb, family) == []
    assert system.service()[1] == "inactive"
    assert ":50003" not in system.show("ss -Hltn")
    assert system.show("pgrep -f [c]atcher.exe") == ""
    assert system.show(f"systemctl list-units --all --plain --no-legend --state=loaded {UNITS}") == ""


@needs_tls
def test_an_administrators_pair_is_left(boot, built):
    """By purge, too. His is the same key, and the certificate file with a remark in it."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    own = b"from our own CA\n" + system.machine.read(CERTIFICATE)
    system.machine.write(CERTIFICATE, own)
    key = system.machine.read(KEY)
    system.package(system.tools[1], "purge")
    assert system.machine.read(CERTIFICATE) == own
    assert system.machine.read(KEY) == key
