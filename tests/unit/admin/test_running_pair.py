"""Whether the running catcher uses the pair that is in place, and who says so."""

import json
import os
import time

import pytest

from catcher_install import facts, paths, port, systemd
from catcher_install.admin import cli, installed_pair, status, tke_guide
from catcher_install.admin import daemon as running
from catcher_install.messages import fix
from catcher_install.probe import handshake, trust

from .. import pem
from ..authority import Authority
from ..daemon import PID
from .hosts import NEW, install

TICKS = os.sysconf("SC_CLK_TCK")
NOT_RUNNING = "pair-not-running"


@pytest.fixture
def started(machine):
    """started(seconds): the catcher was started so long before now, as the kernel says it."""

    def write(seconds):
        ticks = int((time.clock_gettime(7) - seconds) * TICKS)
        machine.put("/proc/%d/stat" % PID, b"%d (catcher.exe) S%s %d 0\n" % (PID, b" 1" * 18, ticks))

    return write


@pytest.fixture
def changed(machine, daemon, started):
    """Another pair has been put in place by hand, and the catcher has not been restarted since."""
    started(60)
    machine.put(paths.KEY, NEW[0], 0o600)
    machine.put(paths.CERTIFICATE, NEW[1])
    return machine


def said(machine):
    """Return which of status, cert check and plan say that the pair is not in use."""
    told = {
        "status": [one["id"] for one in status.collect_status(machine)["findings"]],
        "check": [one["id"] for one in installed_pair.check(machine, [])[1]],
        "plan": [one["id"] for one in installed_pair.planned(machine, facts.collect(machine)).findings],
    }
    return [name for name in sorted(told) if NOT_RUNNING in told[name]]


def guide(machine):
    return " ".join(" ".join(tke_guide.guide(None, tke_guide.collect(machine))).split())


EVERYBODY = ["check", "plan", "status"]
DONE = "You have nothing more to do on this host"


def test_a_pair_that_is_put_in_place_by_hand_is_not_in_use_before_a_restart(changed, daemon):
    assert said(changed) == EVERYBODY
    # The finding stays: a second look says the same.
    assert said(changed) == EVERYBODY
    assert DONE not in guide(changed)
    assert "As soon as the TKE trusts the new one (step 1 B), type on this host: systemctl restart" in guide(changed)
    daemon.systemctl(["systemctl", "restart"], b"")
    assert said(changed) == []
    assert DONE in guide(changed)


def test_a_pair_that_was_installed_without_a_restart_is_not_in_use(machine, daemon, started):
    started(60)
    assert said(machine) == [] and DONE in guide(machine)
    install(machine, restart=False)
    assert said(machine) == EVERYBODY
    (told,) = [one for one in installed_pair.check(machine, [])[1] if one["id"] == NOT_RUNNING]
    assert fix(told).endswith("then restart the catcher:\n  systemctl restart CSUTKEcat"), "the import comes first"


def test_a_link_that_leads_elsewhere_now_is_a_change(machine, daemon, started):
    for name, data in ((paths.KEY, NEW[0]), (paths.CERTIFICATE, NEW[1])):
        machine.put("/srv" + name, data, 0o600)
    for name in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(name))
        machine.put_link(name, "/srv" + name)
    started(60)
    assert said(machine) == EVERYBODY


def rewrite(machine):
    for path in (paths.KEY, paths.CERTIFICATE):
        machine.put(path, machine.get(path), machine.mode(path))


def touch(machine):
    os.chmod(machine.on_disk(paths.KEY), 0o400)


@pytest.mark.parametrize("change", [rewrite, touch])
def test_the_same_bytes_again_are_no_other_pair(machine, daemon, started, change):
    started(60)
    change(machine)
    assert said(machine) == [] and DONE in guide(machine)


def test_a_catcher_that_was_started_after_the_change_is_not_asked(changed, daemon, started, monkeypatch):
    """A connection costs a place and a line in the log."""
    started(-60)
    monkeypatch.setattr(running, "chain_shown", lambda *asked: pytest.fail("asked"))
    assert said(changed) == [] and DONE in guide(changed)


@pytest.fixture
def of_a_ca(machine, daemon, started):
    """The catcher runs with a certificate of a CA, without the intermediate one. Returns the three parts of the whole
    chain."""
    authority, key = Authority(), pem.key_of("prime256v1")
    parts = [authority.issue(key), authority.certificate, authority.root]
    machine.put(paths.KEY, key, 0o600)
    machine.put(paths.CERTIFICATE, parts[0])
    daemon.systemctl(["systemctl", "restart"], b"")
    started(60)
    return parts


ADDED = {"the intermediate": (0, 1), "the whole chain": (0, 1, 2), "another one": (0, 2)}


@pytest.mark.parametrize("name", sorted(ADDED))
def test_a_certificate_that_was_added_is_not_in_use_before_a_restart(machine, daemon, of_a_ca, name):
    parts = [of_a_ca[number] for number in ADDED[name]]
    machine.put(paths.CERTIFICATE, b"".join(parts))
    assert said(machine) == EVERYBODY and DONE not in guide(machine)
    daemon.systemctl(["systemctl", "restart"], b"")
    assert said(machine) == [] and DONE in guide(machine)
    # Another one in its place.
    machine.put(paths.CERTIFICATE, b"".join(parts[:-1] + [NEW[1]]))
    assert said(machine) == EVERYBODY


def test_who_cannot_see_the_whole_chain_does_not_say_that_it_is_in_use(machine, daemon, of_a_ca, monkeypatch):
    monkeypatch.setattr(trust, "ask_s_client", lambda *asked: ([], None))
    real = handshake.shake_hands

    def shake_hands(*asked):
        version, cipher, chain, _ = real(*asked)
        return version, cipher, chain[:1], False

    monkeypatch.setattr(handshake, "shake_hands", shake_hands)
    assert said(machine) == [] and DONE in guide(machine)
    machine.put(paths.CERTIFICATE, of_a_ca[0] + of_a_ca[1])
    assert said(machine) == [] and DONE not in guide(machine)


def lost_start(machine, daemon, monkeypatch):
    os.unlink(machine.on_disk("/proc/%d/stat" % PID))


def garbled_start(machine, daemon, monkeypatch):
    machine.put("/proc/%d/stat" % PID, b"100 (catcher.exe) S\n")


def stranger(machine, daemon, monkeypatch):
    real = port.holder(machine)
    monkeypatch.setattr(port, "holder", lambda host: port.Holder(
        state=port.OTHER, pid=7, program="nc", addresses=real.addresses, listens=True, beside=""))


def unprivileged(machine, daemon, monkeypatch):
    real = port.holder(machine)
    monkeypatch.setattr(port, "holder", lambda host: port.Holder(
        state=port.UNKNOWN, pid=None, program="", addresses=real.addresses, listens=True, beside=""))


def no_answer(machine, daemon, monkeypatch):
    monkeypatch.setattr(running, "chain_shown", lambda *asked: ([], False))


def restarted_meanwhile(machine, daemon, monkeypatch):
    def shown(*asked):
        monkeypatch.setattr(systemd, "catcher", lambda host: PID + 1)
        return ["AB:CD"], True

    monkeypatch.setattr(running, "chain_shown", shown)


def in_tcp(machine, daemon, monkeypatch):
    daemon.show([paths.CATCHER])


def not_there(machine, daemon, monkeypatch):
    daemon.stop()


@pytest.mark.parametrize("state", [lost_start, garbled_start, stranger, unprivileged, no_answer, restarted_meanwhile,
                                   in_tcp, not_there])
def test_what_cannot_be_found_out_is_no_finding(changed, daemon, monkeypatch, state):
    state(changed, daemon, monkeypatch)
    assert NOT_RUNNING not in [one["id"] for one in status.collect_status(changed)["findings"]]
    assert said(changed) == []


@pytest.mark.parametrize("state", [unprivileged, no_answer])
def test_the_guide_does_not_say_that_all_is_done_if_it_cannot_see_that(changed, daemon, monkeypatch, state):
    state(changed, daemon, monkeypatch)
    assert DONE not in guide(changed)
    assert "cannot see whether it uses them. Type: catcherctl probe" in guide(changed)


@pytest.mark.parametrize("path, broken", [
    (paths.CERTIFICATE, b""), (paths.CERTIFICATE, b"garbage"), (paths.KEY, b""), (paths.KEY, pem.key_of("prime256v1")),
], ids=["empty", "not PEM", "no key", "another key"])
def test_nobody_is_told_to_restart_with_a_pair_that_does_not_start(changed, daemon, path, broken):
    changed.put(path, broken, 0o600)
    assert said(changed) == []


def test_a_change_to_tcp_says_nothing_of_the_pair(changed, daemon):
    changed.put(paths.CONF, b"TLS_OFF\n")
    assert said(changed) == []


def test_the_pair_of_another_root_is_not_compared_with_this_hosts_catcher(changed, daemon, monkeypatch):
    monkeypatch.setattr(changed, "in_chroot", lambda: True)
    monkeypatch.setattr(systemd, "catcher", lambda host: PID)
    assert running.use_of_pair(changed, ["AB"]) == running.NOT_KNOWN


def test_plan_tells_it_with_its_exit_status(changed, daemon, monkeypatch, capsys):
    monkeypatch.setattr(cli, "_host", lambda root: changed)
    assert cli.main(["plan", "--json"]) == 3
    assert NOT_RUNNING in [one["id"] for one in json.loads(capsys.readouterr().out)["findings"]]
