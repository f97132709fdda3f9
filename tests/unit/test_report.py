"""Findings and plans as text: for a person, for a line of the journal, and for a script."""

from collections import namedtuple

import pytest

from catcher_install import actions, messages, optional, report
from catcher_install.actions import Plan, act
from catcher_install.apply import Outcome

KEPT = {"id": "upgraded-tcp-kept"}
NO_TLS = {"id": "tls-configured-tcp-running", "reason": "OpenSSL 1.0.2 is too old"}
EVERY = [messages.finding(id) for id in sorted(messages.CATALOG)]
PACKAGE = "install the package openssl, version 1.1.1 or newer with its library"


@pytest.fixture
def on_debian(monkeypatch):
    monkeypatch.setattr(optional, "_command", lambda: "apt install")


def planned(*taken):
    return Plan(actions=list(taken), findings=[], mode="tls", history=actions.KNOWN)


def test_a_finding_for_a_person_has_each_step_in_a_line():
    assert report.finding_lines(KEPT) == [
        "this host was upgraded from CCA 7.x, and the catcher still speaks plain TCP [upgraded-tcp-kept]",
        "  to finish the TLS setup:", "    catcherctl mode tls", "    catcherctl tke-guide",
        "  to keep plain TCP:", "    catcherctl mode tcp",
    ]


@pytest.mark.parametrize("taken,done,told", [
    ([], [], ["Nothing to do."]),
    ([act(actions.WRITE_CONFIG, "TLS is possible", b"TLS_ON\n")], [], ["Nothing was done."]),
    ([act(actions.WRITE_CONFIG, "TLS is possible", b"TLS_ON\n")], [actions.WRITE_CONFIG, actions.WRITE_STAMP],
     ["done: write configuration (TLS is possible)", "done: write stamp (record the result of this run)"]),
])
def test_what_was_done_has_its_reason_and_a_failure_is_not_called_nothing_to_do(taken, done, told):
    assert report.done_lines(planned(*taken), done) == told


def test_a_finding_for_the_journal_is_one_line():
    assert report.journal_line(KEPT) == (
        "this host was upgraded from CCA 7.x, and the catcher still speaks plain TCP [upgraded-tcp-kept] -- "
        "to finish the TLS setup: catcherctl mode tls; catcherctl tke-guide; to keep plain TCP: catcherctl mode tcp")


@pytest.mark.parametrize("found", EVERY, ids=lambda one: one["id"])
def test_every_finding_has_all_of_its_words_in_every_form(found):
    fields = report.finding_fields(found)
    assert sorted(fields) == ["fix", "id", "message", "severity"] and fields["severity"] in report.PRIORITY
    words = (fields["message"] + " " + fields["fix"]).split()
    for lines in (report.finding_lines(found), [report.journal_line(found)], report.flagged_lines(fields)):
        assert not [line for line in lines if "\n" in line or line != line.rstrip()]
        said = "\n".join(lines)
        assert "[%s]" % found["id"] in said and [word for word in words if word.rstrip(";") not in said] == []


@pytest.mark.parametrize("lines", [report.finding_lines, lambda one: [report.journal_line(one)],
                                   lambda one: report.flagged_lines(report.finding_fields(one))])
def test_a_package_to_install_has_the_command_of_the_distribution(on_debian, lines):
    said = "\n".join(lines(NO_TLS))
    assert "install the package openssl (apt install openssl), version 1.1.1 or newer" in said


@pytest.mark.parametrize("text,wanted", [
    ("type:\n  catcherctl apply", "type:\n  catcherctl apply"),
    (PACKAGE, PACKAGE.replace("openssl,", "openssl (apt install openssl),")),
    ("first:\n  a\n" + PACKAGE + "\nthen:\n  b",
     "first:\n  a\n" + PACKAGE.replace("openssl,", "openssl (apt install openssl),") + "\nthen:\n  b"),
])
def test_a_hint_keeps_its_lines(on_debian, text, wanted):
    assert report.hint(text) == wanted


@pytest.mark.parametrize("fix,line", [
    ("do this", "do this"), ("type:\n  a", "type: a"), ("type:\n  a\n  b", "type: a; b"),
    ("first\nthen type:\n  a", "first; then type: a"),
])
def test_steps_are_joined_in_one_line(fix, line):
    assert report.in_one_line(fix) == line


@pytest.mark.parametrize("found,flag", [(KEPT, "!"), ({"id": "conf-unusable", "reason": "x"}, "!"),
                                        ({"id": "pair-deferred", "reason": "x"}, "i")])
def test_a_flag_says_what_needs_attention(found, flag):
    assert report.flagged_lines(report.finding_fields(found))[0].split()[0] == flag
    assert (flag == "!") == messages.needs_attention(found)


def test_the_line_of_a_change_has_what_was_done_of_mode_and_pair():
    plan = planned(act(actions.WRITE_CONFIG, "an administrator sets the mode", b"TLS_ON\n"),
                   act(actions.MAKE_PAIR, "neither file is there"), act(actions.ENABLE, "it was enabled"))
    every = [one.kind for one in plan.actions]

    def line(*done):
        facts = namedtuple("Facts", "stamp")(None)
        return report.change_line(Outcome(plan=plan, before=facts, facts=facts, findings=[], done=list(done),
                                          recorded=True, kept=""))

    assert line(*every) == (
        "write configuration TLS_ON: an administrator sets the mode; make pair: neither file is there")
    assert line(actions.MAKE_PAIR) == "make pair: neither file is there"
    assert line(actions.ENABLE) == line() == ""


def test_the_lines_of_a_plan_have_each_action_and_its_reason():
    assert report.plan_lines(planned()) == ["CCA 8 is set up on this host.", "Nothing to do."]
    assert report.plan_lines(planned(act(actions.WRITE_CONFIG, "TLS is possible", b"TLS_ON\n"),
                                     act(actions.START, "a new installation is started"))) == [
        "CCA 8 is set up on this host.", "write configuration: TLS is possible.", "  /etc/cca/catcher.conf: TLS_ON",
        "start: a new installation is started.",
    ]


@pytest.mark.parametrize("found,status", [
    ([], 0), (["pair-deferred"], 0), (["pair-deferred", "pair-weak-key"], 3), (["conf-unusable"], 3),
    (["write-failed"], 1), (["pair-weak-key", "write-failed"], 1), (["unknown-to-this-version"], 3),
])
def test_the_exit_status_follows_the_severity_of_findings(found, status):
    assert report.exit_status([{"id": one} for one in found]) == status
