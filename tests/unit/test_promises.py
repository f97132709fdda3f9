"""Each finding has the marks and the severity that promises.py says, and each of them does what it promises."""

import syslog
import types

import pytest

from catcher_install import apply, config, journal, launch, messages, plan, report, scriptlet, stamp, transition
from catcher_install import host as host_module
from catcher_install.admin import mode

from . import promises
from .support import ids, make_facts, make_stamp

EVERY = pytest.mark.parametrize("id", sorted(messages.CATALOG))
APPLY = transition.of(transition.APPLY)
OTHER = messages.finding("unit-forking")


@EVERY
def test_its_severity_is_the_promised_one(id):
    assert messages.severity(messages.finding(id)) == promises.SEVERITY[id]


@EVERY
def test_its_marks_are_the_promised_ones(id):
    assert set(messages.CATALOG[id][1]) == {
        mark for mark, reasons in promises.MARKED.items() if id in promises.of(reasons)}


@pytest.mark.parametrize("kinds", [promises.MARKED, promises.SEVERITIES], ids=["marks", "severities"])
def test_a_promise_is_given_once_and_to_what_exists(kinds):
    for reasons in kinds.values():
        named = [id for _, some in reasons for id in some]
        assert len(named) == len(set(named)) and set(named) <= set(messages.CATALOG)
    if kinds is promises.SEVERITIES:
        assert sum(len(promises.of(reasons)) for reasons in kinds.values()) == len(messages.CATALOG)


# -- LASTING -----------------------------------------------------------------------------------------------------------


def planned(id, asked):
    """The ids of a plan on a host in TCP mode whose stamp has one finding."""
    remembered = make_stamp(mode="tcp", findings=[messages.finding(id)])
    return ids(plan.plan(make_facts(config=config.parse(b"TLS_OFF\n"), stamp=remembered), asked).findings)


@EVERY
def test_the_stamp_repeats_what_lasts_and_nothing_else(id):
    assert planned(id, APPLY) == [id] * (id in promises.LASTING)


@EVERY
def test_a_mode_that_is_set_by_hand_ends_it(id):
    assert planned(id, mode.asked(config.TCP)) == []


@EVERY
def test_what_lasts_is_still_told_after_a_second_look(id):
    first = plan.Plan(actions=[], findings=[messages.finding(id)], mode=config.TCP, history="")
    told = first.findings_with(first.replace(findings=[OTHER]))
    assert (messages.finding(id) in told) == (id in promises.LASTING or id == OTHER["id"])


# -- TRANSIENT ---------------------------------------------------------------------------------------------------------


@EVERY
def test_the_stamp_keeps_all_but_what_only_this_run_did(id):
    kept = stamp.next_stamp(make_facts(), [messages.finding(id), OTHER], None, APPLY).findings
    assert kept == [messages.finding(id)] * (id not in promises.TRANSIENT) + [OTHER]


# -- FAILURE -----------------------------------------------------------------------------------------------------------


@EVERY
def test_catcherctl_ends_with_1_for_a_failure_and_with_3_for_what_needs_attention(id):
    attention = 0 if promises.SEVERITY[id] == messages.INFO else 3
    assert report.exit_status([messages.finding(id)]) == (1 if id in promises.FAILURE else attention)


@pytest.fixture
def run_with_all(monkeypatch):
    """Let every converge end with every finding. Return the ids that are shown, and their priorities in the journal."""
    told = {}

    def converge(host, called):
        facts = make_facts()
        every = [messages.finding(id) for id in sorted(messages.CATALOG)]
        nothing = plan.Plan(actions=[], findings=[], mode=None, history="")
        return apply.Outcome(plan=nothing, before=facts, facts=facts, findings=every, done=[], recorded=True, kept="")

    def tell(priority, line):
        told[line.split("[")[1].split("]")[0]] = priority

    monkeypatch.setattr(apply, "converge", converge)
    monkeypatch.setattr(host_module, "Host", lambda: None)
    monkeypatch.setattr(launch, "Host", types.SimpleNamespace)
    monkeypatch.setattr(launch, "_say", tell)
    monkeypatch.setattr(journal, "say", lambda text: None)
    monkeypatch.setattr(syslog, "openlog", lambda tag: None)
    monkeypatch.setattr(syslog, "syslog", tell)
    return told


def test_a_removal_tells_what_failed(run_with_all):
    assert scriptlet.remove([]) == 0
    assert set(run_with_all) == promises.FAILURE


def test_what_runs_before_a_start_tells_only_what_the_start_cannot(run_with_all):
    assert launch.make_pair([]) == 0
    assert set(run_with_all) == promises.TRANSIENT | promises.FAILURE


# -- severity ----------------------------------------------------------------------------------------------------------

PRIORITIES = {messages.ERROR: syslog.LOG_ERR, messages.WARNING: syslog.LOG_WARNING, messages.INFO: syslog.LOG_INFO}


def test_the_journal_gets_the_severity_as_priority(run_with_all):
    assert scriptlet.main(["deb", "configure"]) == 0
    assert run_with_all == {id: PRIORITIES[severity] for id, severity in promises.SEVERITY.items()}


@EVERY
def test_a_report_flags_what_needs_attention(id):
    flag = report.flagged_lines(report.finding_fields(messages.finding(id)))[0].split()[0]
    assert flag == ("i" if promises.SEVERITY[id] == messages.INFO else "!")
