"""The catalog of findings: each is used, each is complete, and each says what to type."""

import ast
import functools
import os
import re

import pytest

from catcher_install import messages, report
from catcher_install.probe import result

from .support import TREE, library_modules

# What a finding may tell an administrator to type.
PROGRAMS = ("catcherctl", "systemctl", "journalctl", "timedatectl", "chmod", "chown", "stat", "sysctl", "ss", "mount")
# A field that is replaced by a whole command.
COMMANDS = ("{unmask}",)


@functools.lru_cache(maxsize=None)
def sources():
    found = []
    for name, path in sorted(library_modules().items()):
        with open(path, encoding="utf-8") as stream:
            found.append((name, ast.parse(stream.read(), name)))
    return found


@functools.lru_cache(maxsize=None)
def calls():
    """(file, line, the ids that it may give, its keywords) of each call of finding()."""
    found = []
    for name, tree in sources():
        # An id chosen before the call, as in: id = "a" if condition else "b"
        chosen = [one.value for one in ast.walk(tree) if isinstance(one, ast.Assign)
                  and any(isinstance(target, ast.Name) and target.id == "id" for target in one.targets)]
        for call in ast.walk(tree):
            if not isinstance(call, ast.Call):
                continue
            if getattr(call.func, "id", getattr(call.func, "attr", "")) != "finding":
                continue
            if isinstance(call.args[0], ast.Attribute):
                # One of probe/result.py's FINDING_OF, or as Ended(..., id="..."): each is given the same facts.
                continue
            where = [call.args[0]] if not isinstance(call.args[0], ast.Name) else chosen
            given = [getattr(text, "value", getattr(text, "s", None)) for one in where for text in ast.walk(one)]
            given = [text for text in given if isinstance(text, str)]
            # **which, where which is a dictionary that is spelled out in the same file
            facts = [keyword.arg for keyword in call.keywords if keyword.arg]
            spread = [keyword.value.id for keyword in call.keywords if not keyword.arg]
            facts += [getattr(key, "value", getattr(key, "s", "")) for one in ast.walk(tree)
                      if isinstance(one, ast.Assign) and isinstance(one.value, ast.Dict)
                      and getattr(one.targets[0], "id", "") in spread for key in one.value.keys]
            found.append((name, call.lineno, given, sorted(facts)))
    return found


def ids_of_ends():
    """The ids that a probe without TLS ends with."""
    named = [getattr(keyword.value, "value", getattr(keyword.value, "s", "")) for _, tree in sources()
             for call in ast.walk(tree) if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "Ended"
             for keyword in call.keywords if keyword.arg == "id"]
    return list(result.FINDING_OF.values()) + named


def placeholders(id):
    _, _, text, fix = messages.CATALOG[id]
    return sorted({part.split("}")[0] for part in (text + fix).split("{")[1:]})


def test_each_id_that_is_used_exists():
    found = list(calls())
    assert len(found) > 20
    assert [one for one in found if not one[2]] == []
    assert [one for one in found for id in one[2] if id not in messages.CATALOG] == []


def test_each_id_that_exists_is_used():
    used = {id for one in calls() for id in one[2]} | set(ids_of_ends())
    assert sorted(set(messages.CATALOG) - used) == []


def test_each_id_is_named_by_a_test():
    """Otherwise a finding could be reported at the wrong time unnoticed. promises.py does not count: it names all."""
    tests = ""
    for part in ("unit", "hooks", "slow"):
        for directory, _, names in os.walk(os.path.join(TREE, "tests", part)):
            for name in names:
                if name.endswith(".py") and name != "promises.py":
                    with open(os.path.join(directory, name), encoding="utf-8") as stream:
                        tests += stream.read()
    assert [id for id in sorted(messages.CATALOG) if not re.search(r"(?<![\w-])%s(?![\w-])" % id, tests)] == []


def test_the_end_of_a_probe_has_the_facts_of_its_finding():
    ends = ids_of_ends()
    assert len(ends) > 8
    assert [id for id in ends if not set(placeholders(id)) <= {"host", "port", "reason"}] == []


def test_each_call_fills_what_its_text_leaves_open():
    wrong = [(name, line, id, given, placeholders(id)) for name, line, every, given in calls() for id in every
             if given != placeholders(id)]
    assert wrong == []


@pytest.mark.parametrize("id", sorted(messages.CATALOG))
def test_each_says_how_serious_it_is_what_is_wrong_and_what_to_type(id):
    severity, _, text, fix = messages.CATALOG[id]
    assert severity in (messages.INFO, messages.WARNING, messages.ERROR)
    assert text and fix
    assert "\n" not in text and not text.endswith(".") and text == text.strip()
    for line in [text] + fix.split("\n"):
        assert len(line) < 130 and line == line.rstrip()
        assert not line.endswith(".")
    filled = messages.finding(id, **dict.fromkeys(placeholders(id), "x"))
    assert messages.severity(filled) == severity
    assert "{" not in messages.text(filled) + messages.fix(filled)
    assert report.journal_line(filled).count("[%s]" % id) == 1
    assert len(report.finding_lines(filled)) == 1 + len(fix.split("\n"))
    assert report.finding_fields(filled) == {
        "id": id, "severity": severity, "message": messages.text(filled), "fix": messages.fix(filled)}


@pytest.mark.parametrize("id", sorted(messages.CATALOG))
def test_what_to_do_is_steps_and_each_command_is_announced(id):
    """A sentence that ends with a colon is followed by its commands, each in a line of its own."""
    before = ""
    for line in messages.CATALOG[id][3].split("\n") + [""]:
        command = line.startswith("  ")
        assert command or not before.endswith(":"), before
        assert not command or before.endswith(":") or before.startswith("  "), line
        first = (line.split() or [""])[0]
        assert first in PROGRAMS + COMMANDS if command else not any(name + " " in line for name in PROGRAMS)
        before = line


def test_one_line_for_a_log_keeps_every_step():
    line = report.journal_line(messages.finding("upgraded-tcp-kept"))
    assert line.endswith("[upgraded-tcp-kept] -- to finish the TLS setup: catcherctl mode tls; catcherctl tke-guide; "
                         "to keep plain TCP: catcherctl mode tcp")


@pytest.mark.parametrize("id", sorted(messages.CATALOG))
def test_its_marks_are_known_and_fit_together(id):
    marks = messages.CATALOG[id][1]
    assert set(marks) <= {messages.LASTING, messages.TRANSIENT, messages.FAILURE, messages.ROOT}
    assert not {messages.LASTING, messages.TRANSIENT} <= set(marks)
    # Only a user who can read the stamp can know what the stamp alone remembers.
    assert messages.LASTING not in marks or messages.ROOT in marks


def test_a_finding_of_another_version_has_no_marks():
    assert not messages.is_marked({"id": "found-in-9.0"}, messages.ROOT)


def test_an_unknown_id_is_a_fault_of_ours():
    with pytest.raises(KeyError):
        messages.finding("no-such-finding")


def test_a_finding_of_another_version_is_shown_as_it_is():
    later = {"id": "found-in-9.0", "reason": "x"}
    assert messages.severity(later) == messages.WARNING
    assert messages.text(later) == "found-in-9.0"
    assert messages.fix(later)


def test_a_fact_is_never_read_as_a_template():
    told = messages.finding("conf-unusable", reason="line 1 is not a directive: {id} {reason} %s")
    assert messages.text(told).endswith("line 1 is not a directive: {id} {reason} %s")
