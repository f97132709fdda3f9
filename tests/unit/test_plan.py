"""What a plan does about the service, the pair and the stamp: everything that the packaging macros do not do."""

import itertools

import pytest

from catcher_install import actions, config, messages, pair, paths, plan, stamp, transition
from catcher_install.errors import CatcherError
from catcher_install.unit import UnitFacts

from .support import ids, make_capture, make_facts, make_stamp

INSTALL = transition.of(transition.INSTALL)
UPGRADE = transition.of(transition.UPGRADE)
APPLY = transition.of(transition.APPLY)
START = transition.of(transition.START)
ABORT = transition.of(transition.ABORT)
NOTHING = transition.of(transition.NOTHING)
UNKNOWN = transition.of(transition.UNKNOWN)

CONF = config.parse(b"TLS_OFF\n")
SERVICE = (actions.ENABLE, actions.DISABLE, actions.RESTART, actions.TRY_RESTART, actions.START)


def unit(masked=False, **changes):
    fields = {"enabled": False, "unmask": "systemctl unmask CSUTKEcat" if masked else "", "forking": False,
              "legacy_links": [], "ran": None, "was_enabled": False}
    fields.update(changes)
    fields.setdefault("noted", fields["ran"] is not None)
    return UnitFacts(**fields)


def service_actions(called, **facts):
    facts.setdefault("config", CONF)
    planned = plan.plan(make_facts(**facts), called)
    return [action.kind for action in planned.actions if action.kind in SERVICE]


# What preinst saw (state of the unit, running), what macros left -> what is done about it.
UPGRADES = {
    ("enabled", True, True): [actions.RESTART],
    ("enabled", True, False): [actions.ENABLE, actions.RESTART],
    ("enabled", False, True): [],
    ("enabled", False, False): [actions.ENABLE],
    ("disabled", True, True): [actions.DISABLE, actions.RESTART],
    ("disabled", True, False): [actions.RESTART],
    ("disabled", False, True): [actions.DISABLE],
    ("disabled", False, False): [],
}


@pytest.mark.parametrize("was,active,enabled", sorted(UPGRADES))
def test_an_upgrade_leaves_the_service_as_it_was(was, active, enabled):
    capture = make_capture(tree=True, unit=was, active=active)
    assert service_actions(UPGRADE, capture=capture, unit=unit(enabled=enabled)) == UPGRADES[was, active, enabled]
    # Outside a running system links are made, and nothing is started.
    assert service_actions(UPGRADE, capture=capture, unit=unit(enabled=enabled), booted=False) == [
        kind for kind in UPGRADES[was, active, enabled] if kind in (actions.ENABLE, actions.DISABLE)]
    # The administrator's mask is left alone.
    assert service_actions(UPGRADE, capture=capture, unit=unit(enabled=enabled, masked=True)) == []


@pytest.mark.parametrize("called,enabled,booted,done", [
    (INSTALL, True, True, [actions.START]),
    (INSTALL, False, True, [actions.TRY_RESTART]),
    (INSTALL, True, False, []),
    (UPGRADE, True, True, [actions.TRY_RESTART]),
    (UPGRADE, False, True, [actions.TRY_RESTART]),
    (UPGRADE, True, False, []),
    (UNKNOWN, True, True, [actions.TRY_RESTART]),
    (APPLY, True, True, []),
    (APPLY, False, True, []),
    (START, True, True, []),
    (ABORT, True, True, [actions.START]),
    (ABORT, False, True, []),
    (ABORT, True, False, []),
    (NOTHING, True, True, []),
])
def test_a_service_that_preinst_did_not_see_is_treated_as_macros_left_it(called, enabled, booted, done):
    assert service_actions(called, unit=unit(enabled=enabled), booted=booted) == done


@pytest.mark.parametrize("ran,enabled,starts", [(True, True, True), (True, False, True), (False, True, False),
                                                (False, False, False), (None, True, True), (None, False, False)])
def test_a_removal_that_is_cancelled_leaves_the_service_as_it_was(ran, enabled, starts):
    """Without a note, an enabled service counts as one that ran."""
    assert service_actions(ABORT, unit=unit(ran=ran, enabled=enabled)) == [actions.START] * starts
    assert service_actions(ABORT, unit=unit(ran=ran, enabled=enabled), booted=False) == []
    assert service_actions(ABORT, unit=unit(ran=ran, enabled=enabled, masked=True)) == []


@pytest.mark.parametrize("ran,done", [(True, [actions.START]), (False, []), (None, [])])
@pytest.mark.parametrize("enabled", [True, False])
def test_apply_does_what_a_scriptlet_could_not_do_after_a_removal_that_was_killed(ran, enabled, done):
    """The finding "busy" says that this command finishes it. It restarts nothing that runs."""
    assert service_actions(APPLY, unit=unit(ran=ran, enabled=enabled)) == done
    assert service_actions(APPLY, unit=unit(ran=ran, enabled=enabled), booted=False) == []
    assert service_actions(APPLY, unit=unit(ran=ran, enabled=enabled, masked=True)) == []


@pytest.mark.parametrize("called", [INSTALL, UPGRADE, UNKNOWN, ABORT, NOTHING, APPLY], ids=lambda one: one.kind)
@pytest.mark.parametrize("ran", [True, False, None])
@pytest.mark.parametrize("capture", [None, make_capture(unit="enabled", active=True)], ids=["no capture", "capture"])
def test_what_a_removal_has_noted_goes_last_of_all(called, ran, capture):
    """This includes a note that cannot be read."""
    for noted in (True, False):
        facts = {"config": CONF, "unit": unit(ran=ran if noted else None, noted=noted), "capture": capture}
        kinds = [action.kind for action in plan.plan(make_facts(**facts), called).actions]
        forgets = noted and (called != APPLY or ran is True or capture is not None)
        assert (actions.FORGET_REMOVAL in kinds) == forgets
        assert not forgets or kinds[-1] == actions.FORGET_REMOVAL


@pytest.mark.parametrize("ran,enabled,kind", [
    (True, True, actions.RESTART), (True, False, actions.RESTART), (False, True, actions.TRY_RESTART),
    (False, False, actions.TRY_RESTART)])
@pytest.mark.parametrize("called", [INSTALL, UPGRADE, UNKNOWN], ids=["install", "upgrade", "unknown"])
def test_a_removal_that_was_killed_leaves_the_service_as_it_was(called, ran, enabled, kind):
    """`dpkg --configure` after it calls no preinst."""
    for known in ({}, {"traces": [paths.INIT_SCRIPT]}, {"stamp": make_stamp()}):
        assert service_actions(called, unit=unit(ran=ran, enabled=enabled), **known) == [kind]
        assert service_actions(called, unit=unit(ran=ran, enabled=enabled), booted=False, **known) == []
        assert service_actions(called, unit=unit(ran=ran, enabled=enabled, masked=True), **known) == []
    # What preinst saw later counts.
    capture = make_capture(unit="enabled", active=not ran)
    assert service_actions(called, unit=unit(ran=ran, enabled=True), capture=capture) == [actions.RESTART] * (not ran)


@pytest.mark.parametrize("called", [INSTALL, UPGRADE, UNKNOWN], ids=["install", "upgrade", "unknown"])
@pytest.mark.parametrize("booted", [True, False])
def test_what_a_killed_removal_has_disabled_is_enabled_again_without_a_note_of_preinst(called, booted):
    """On a full disk, %pre could not write a note. What preinst saw counts more: it knows the removal's note."""
    def done(capture=None, **changes):
        changes = dict({"was_enabled": True, "noted": True}, **changes)
        return service_actions(called, unit=unit(**changes), booted=booted, capture=capture)

    assert actions.ENABLE in done()
    assert actions.ENABLE not in done(enabled=True)
    assert actions.ENABLE not in done(masked=True)
    assert actions.ENABLE not in done(make_capture(unit="disabled"))
    assert actions.ENABLE not in done(was_enabled=False)
    assert (actions.RESTART in done(ran=True)) == booted
    # After a boot, which would have started it.
    assert (actions.RESTART in done()) == booted
    assert actions.RESTART not in done(ran=False)


@pytest.mark.parametrize("called", [INSTALL, UPGRADE, UNKNOWN, ABORT, NOTHING, APPLY], ids=lambda one: one.kind)
@pytest.mark.parametrize("ran", [True, False, None])
@pytest.mark.parametrize("booted", [True, False])
def test_a_note_that_the_service_was_enabled_goes_only_if_it_is_enabled_again(called, ran, booted):
    """The first run after a killed `rpm -e` must do it: no later run would know."""
    def done(**changes):
        changes = dict({"was_enabled": True, "noted": True, "ran": ran}, **changes)
        facts = make_facts(config=CONF, unit=unit(**changes), booted=booted)
        return [action.kind for action in plan.plan(facts, called).actions]

    kinds = done()
    assert actions.ENABLE in kinds and kinds[-1] == actions.FORGET_REMOVAL
    # After a boot, which would have started it.
    assert bool({actions.START, actions.RESTART} & set(kinds)) == (booted and ran is not False)
    assert actions.ENABLE not in done(enabled=True)
    assert not {actions.ENABLE, actions.START, actions.RESTART} & set(done(masked=True))


@pytest.mark.parametrize("called", [ABORT, NOTHING], ids=lambda one: one.kind)
def test_what_preinst_saw_disabled_is_not_enabled_by_an_older_note(called):
    noted = unit(was_enabled=True, noted=True)
    for seen, done in (("disabled", []), ("enabled", [actions.ENABLE])):
        capture = make_capture(unit=seen)
        kinds = service_actions(called, unit=noted, capture=capture, booted=False)
        assert kinds == done


@pytest.mark.parametrize("enabled", [True, False])
def test_an_upgrade_that_fails_after_a_removal_that_was_killed_leaves_the_service_as_it_was(enabled):
    """This call does nothing else. Without the note of a killed removal it does nothing at all."""
    for ran, done in ((True, [actions.START]), (False, []), (None, [])):
        assert service_actions(NOTHING, unit=unit(ran=ran, enabled=enabled)) == done
        assert service_actions(NOTHING, unit=unit(ran=ran, enabled=enabled), booted=False) == []
        assert service_actions(NOTHING, unit=unit(ran=ran, enabled=enabled, masked=True)) == []


@pytest.mark.parametrize("called", [INSTALL, UPGRADE, UNKNOWN], ids=["install", "upgrade", "unknown"])
def test_a_service_that_is_new_with_this_package_is_started(called):
    """For rpm this is an upgrade, and the old package had no unit: macros enabled ours, and nothing ran before."""
    seen_nothing = make_capture(unit="none")
    assert service_actions(called, unit=unit(enabled=True), capture=seen_nothing) == [actions.START]
    assert service_actions(called, unit=unit(enabled=False), capture=seen_nothing) == [actions.TRY_RESTART]
    assert service_actions(called, unit=unit(enabled=True), capture=seen_nothing, booted=False) == []


def test_without_a_note_an_enabled_service_of_7x_is_taken_for_one_that_ran():
    legacy = {"capture": None, "traces": [paths.INIT_SCRIPT]}
    for called in (INSTALL, UPGRADE):
        assert service_actions(called, unit=unit(enabled=True), **legacy) == [actions.RESTART]
        assert service_actions(called, unit=unit(enabled=False), **legacy) == [actions.TRY_RESTART]
        assert service_actions(called, unit=unit(enabled=True), booted=False, **legacy) == []


def test_without_a_note_what_rpm_calls_an_installation_may_be_an_upgrade_of_what_runs():
    known = {"capture": None, "stamp": make_stamp()}
    assert service_actions(INSTALL, unit=unit(enabled=True), **known) == [actions.RESTART]
    assert service_actions(INSTALL, unit=unit(enabled=False), **known) == [actions.TRY_RESTART]


def test_a_mask_is_never_started():
    for called in (INSTALL, UPGRADE, UNKNOWN, ABORT, APPLY, START):
        assert service_actions(called, unit=unit(enabled=True, masked=True)) == []


def test_what_was_called_off_changes_no_file():
    for called in (ABORT, NOTHING):
        for conf, found in ((config.absent(), pair.NONE), (config.parse(b"TLS_ON\n"), pair.KEY_ONLY)):
            files = make_facts().pair.replace(state=found)
            planned = plan.plan(make_facts(config=conf, pair=files, traces=[paths.INIT_SCRIPT]), called)
            assert (planned.actions, planned.findings, planned.mode) == ([], [], None)


def test_a_start_changes_nothing_about_the_service():
    facts = make_facts(config=CONF, unit=unit(legacy_links=["/etc/rc2.d/S14CSUTKEcat"]),
                       capture=make_capture(tree=True, unit="enabled", active=True))
    kinds = [action.kind for action in plan.plan(facts, START).actions]
    assert kinds == [actions.WRITE_STAMP]


def test_links_of_7x_are_retired_and_the_note_is_forgotten():
    links = unit(legacy_links=["/etc/rc2.d/S14CSUTKEcat"])
    facts = make_facts(config=CONF, unit=links, capture=make_capture(tree=True))
    kinds = [action.kind for action in plan.plan(facts, UPGRADE).actions]
    assert actions.RETIRE_LEGACY_LINKS in kinds and kinds[-1] == actions.FORGET_CAPTURE
    # A note that a later run needs is removed only after the stamp has recorded it.
    assert kinds.index(actions.WRITE_STAMP) < kinds.index(actions.RETIRE_LEGACY_LINKS)


def test_every_plan_is_in_order():
    checked = 0
    for conf, called, seen, links, files in itertools.product(
        (config.absent(), CONF, config.parse(b"TLS_ON\n"), config.parse(b"x")),
        (INSTALL, UPGRADE, APPLY, START, ABORT, NOTHING, UNKNOWN),
        (None, make_capture(), make_capture(tree=True, unit="enabled", active=True)),
        ([], [paths.INIT_SCRIPT]),
        ({}, {"staged": True}, {"draft": True}),
    ):
        there = make_facts().pair.replace(**files)
        facts = make_facts(config=conf, capture=seen, unit=unit(legacy_links=links), pair=there)
        kinds = [action.kind for action in plan.plan(facts, called).actions]
        assert kinds == sorted(kinds, key=actions.ORDER.index)
        assert len(kinds) == len(set(kinds))
        checked += 1
    assert checked == 504


# -- the pair ----------------------------------------------------------------------------------------------------------

TLS = config.parse(b"TLS_ON\n")
GOOD = {"fingerprint": "ab" * 32, "key_size": 1, "policy": "", "problem": "", "chain": "", "rsa_bits": 0,
        "not_before": 1600000000, "not_after": 1900000000, "issuer": "", "issuer_not_after": 0,
        "key_in_certificate": False}
DAY = 24 * 3600


def whole_pair(verdict, key_open="", key_linked=False, certificate_open=True, **changes):
    files = pair.PairFiles(state=pair.BOTH, fingerprint=GOOD["fingerprint"], key_size=1, key_open=key_open,
                           key_linked=key_linked, certificate_open=certificate_open, staged=False, draft=False)
    return make_facts(config=TLS, pair=files, verdict=verdict, **changes)


@pytest.mark.parametrize("changes,found", [
    ({}, []),
    ({"problem": "catcher.key is empty"}, ["pair-unusable"]),
    ({"not_after": 1699999999}, ["pair-expired"]),
    ({"not_before": 1700000001}, ["pair-not-yet-valid"]),
    ({"rsa_bits": 1024}, ["pair-weak-key"]),
    ({"rsa_bits": 2047}, ["pair-weak-key"]),
    ({"rsa_bits": 2048}, []),
    ({"key_in_certificate": True}, ["pair-key-in-certificate"]),
    ({"unchecked": "cannot allocate memory"}, ["pair-unchecked"]),
    ({"unchecked": "cannot allocate memory", "not_after": 1}, ["pair-expired", "pair-unchecked"]),
    ({"chain": "certificate 2 is not a CA"}, ["pair-chain-broken"]),
    ({"not_after": 1700000000 + 30 * DAY}, []),
    ({"not_after": 1700000000 + 30 * DAY - 1}, ["pair-expires-soon"]),
    ({"issuer": "certificate 2", "issuer_not_after": 1700000000 + 30 * DAY}, []),
    ({"issuer": "certificate 2", "issuer_not_after": 1700000000 + 30 * DAY - 1}, ["pair-issuer-expires-soon"]),
    ({"issuer": "certificate 2", "issuer_not_after": 1699999999}, ["pair-issuer-expired"]),
    ({"rsa_bits": 1024, "not_after": 1}, ["pair-expired", "pair-weak-key"]),
])
def test_a_whole_pair_has_the_findings_of_its_verdict(changes, found):
    verdict = dict(GOOD, **changes)
    for called in (INSTALL, UPGRADE, APPLY, START):
        assert ids(plan.plan(whole_pair(verdict), called).findings) == found


@pytest.mark.parametrize("ours,told", [
    (True, ["catcherctl cert generate --force"]),
    # The TKE trusts the CA: it would refuse a certificate that we sign.
    (False, ["catcherctl cert request", "catcherctl cert install CRT"])])
@pytest.mark.parametrize("last", [1699999999, 1700000001])
def test_who_has_a_pair_of_a_ca_is_told_to_ask_the_ca(ours, told, last):
    made = make_stamp(mode="tls", generated_pair=GOOD["fingerprint"] if ours else "cd" * 32)
    one, = plan.plan(whole_pair(dict(GOOD, not_after=last), stamp=made), APPLY).findings
    assert [line.strip() for line in messages.fix(one).split("\n") if line.startswith("  ")] == told


def test_a_key_in_a_certificate_that_only_root_can_read_is_no_problem():
    assert plan.plan(whole_pair(dict(GOOD, key_in_certificate=True), certificate_open=False), APPLY).findings == []


@pytest.mark.parametrize("linked, told", [(False, "chmod go-rwx "), (True, "chmod o-rwx ")])
def test_other_programs_keep_the_key_that_they_share(linked, told):
    one, = plan.plan(whole_pair(GOOD, key_open="mode 0644", key_linked=linked), APPLY).findings
    assert told + paths.KEY in messages.fix(one) and "chown -h root" in messages.fix(one)


@pytest.mark.parametrize("told,found", [("", []), ("mode 0640", ["pair-key-readable"])])
def test_who_can_read_the_key_is_reported(told, found):
    assert ids(plan.plan(whole_pair(GOOD, key_open=told), APPLY).findings) == found


def test_in_tcp_nothing_is_said_about_the_pair():
    facts = whole_pair(dict(GOOD, problem="x"), key_open="mode 0644").replace(config=CONF)
    assert plan.plan(facts, APPLY).findings == []


@pytest.mark.parametrize("called,changes,makes", [
    (INSTALL, {}, True),
    (APPLY, {}, True),
    (START, {}, True),
    (INSTALL, {"booted": False}, False),
    (APPLY, {"booted": False}, False),
    (START, {"booted": False}, True),
    (INSTALL, {"networked": False}, False),
    (START, {"networked": False}, True),
    (INSTALL, {"image": "a chroot"}, False),
    (START, {"image": "a chroot"}, False),
    (APPLY, {"image": "another root directory", "booted": False}, False),
])
def test_where_a_pair_is_made(called, changes, makes):
    planned = plan.plan(make_facts(config=TLS, **changes), called)
    assert (actions.MAKE_PAIR in [action.kind for action in planned.actions]) == makes
    assert ("pair-deferred" in ids(planned.findings)) == (not makes)


def test_tls_can_be_set_where_a_pair_is_half_placed():
    """A command that set it was killed between the two files."""
    half = make_facts().pair.replace(state=pair.KEY_ONLY)
    asked = transition.of(transition.SET_MODE, request=transition.ModeRequest(mode=config.TLS))
    planned = plan.plan(make_facts(config=CONF, pair=half.replace(staged=True)), asked)
    assert [action.kind for action in planned.actions] == [actions.PLACE_STAGED_PAIR, actions.WRITE_CONFIG]
    with pytest.raises(CatcherError, match="catcher.crt does not"):
        plan.plan(make_facts(config=CONF, pair=half), asked)


# -- the stamp ---------------------------------------------------------------------------------------------------------

def test_a_stamp_that_would_not_change_is_not_written():
    facts = make_facts(config=CONF)
    first = stamp.next_stamp(facts, [], config.TCP, APPLY)
    assert plan.plan(facts.replace(stamp=first), APPLY).actions == []
    again = plan.plan(facts.replace(stamp=first, version="8.0.1"), APPLY)
    assert [action.kind for action in again.actions] == [actions.WRITE_STAMP]


def test_the_notice_of_an_upgrade_stays_until_the_mode_changes():
    told = [{"id": "upgraded-tcp-kept"}]
    old = make_stamp(mode="tcp", findings=told)
    assert plan.plan(make_facts(config=CONF, stamp=old), APPLY).findings == told
    assert plan.plan(make_facts(config=TLS, stamp=old), APPLY).findings == []


@pytest.mark.parametrize("before,kinds", [
    (config.absent(), [actions.REMOVE_CONFIG]), (config.unreadable("Input/output error"), []),
    (CONF, [actions.WRITE_CONFIG]),
], ids=["absent", "unreadable", "there"])
def test_the_way_back_removes_only_what_was_not_there(before, kinds):
    """A catcher.conf that could not be read before a change does not count as absent."""
    after = make_facts(config=config.parse(b"TLS_ON\n"))
    request = transition.ReturnRequest(before=make_facts(config=before), after=after, kept="")
    planned = plan.plan(after, transition.of(transition.RETURN, request=request))
    assert [one.kind for one in planned.actions if one.kind in (
        actions.REMOVE_CONFIG, actions.WRITE_CONFIG)] == kinds
