"""cert install: replaces both files or neither, and keeps the new pair only if a real connection shows it."""

import os

import pytest

from catcher_install import pair, paths, stamp
from catcher_install.admin import cert_install, change
from catcher_install.cert import details
from catcher_install.errors import CatcherError
from tests.unit import pem
from tests.unit.admin.hosts import KEPT, NEW, NEW_KEY, bin_tree, der, found, in_place, install, put, remembered
from tests.unit.authority import Authority, issue
from tests.unit.daemon import shown
from tests.unit.support import ids, no_room_for_the_stamp, tree_of


def test_install_replaces_the_pair_restarts_and_keeps_the_old_files(machine, daemon, frozen):
    old, before = in_place(machine), bin_tree(machine)
    made = remembered(machine).generated_pair
    assert made == pair.fingerprint(*old)
    lines, left = install(machine)
    assert in_place(machine) == NEW
    assert shown(daemon.port) == der(NEW[1]) and daemon.restarts == 1
    assert (machine.mode(paths.KEY), machine.mode(paths.CERTIFICATE)) == (0o600, 0o644)
    # The old ones are kept as they were, and nothing else is left.
    assert machine.names(paths.BIN) == [
        "catcher.crt", "catcher.crt" + KEPT, "catcher.exe", "catcher.key", "catcher.key" + KEPT]
    after = bin_tree(machine)
    for path in (paths.KEY, paths.CERTIFICATE):
        assert after[path + KEPT] == before[path]
    # The administrator installed this pair.
    assert remembered(machine).generated_pair is None
    assert remembered(machine).checked_pair["fingerprint"] == pair.fingerprint(*NEW)
    assert left == [] and found(machine) == []
    text = "\n".join(lines)
    assert "it speaks TLS with exactly this certificate" in text and KEPT in text
    assert details.describe(der(NEW[1])).sha256 in text


def test_install_twice_keeps_both(machine, daemon, frozen):
    install(machine)
    key = pem.key_of("prime256v1")
    install(machine, key, issue(key))
    assert machine.names(paths.BIN) == [
        "catcher.crt", "catcher.crt" + KEPT, "catcher.crt" + KEPT + "-2", "catcher.exe",
        "catcher.key", "catcher.key" + KEPT, "catcher.key" + KEPT + "-2"]
    assert machine.get(paths.KEY + KEPT + "-2") == NEW[0]


def test_install_takes_the_whole_chain(machine, daemon):
    authority = Authority()
    chain = authority.issue(NEW_KEY) + authority.certificate + authority.root
    install(machine, NEW_KEY, chain)
    assert machine.get(paths.CERTIFICATE) == chain
    assert shown(daemon.port) == der(chain)


def test_install_in_tcp_mode_tries_nothing(machine, daemon):
    machine.put(paths.CONF, b"TLS_OFF\n")
    daemon.systemctl(["systemctl", "restart"], b"")
    daemon.restarts = 0
    lines, left = install(machine)
    assert in_place(machine) == NEW
    assert daemon.restarts == 0 and shown(daemon.port) == "tcp"
    assert "Not restarted, because the catcher is in TCP mode" in "\n".join(lines) and left == []
    assert remembered(machine).generated_pair is None


def test_install_without_a_restart_says_how_to_use_the_pair(machine, daemon):
    old = in_place(machine)
    lines, _ = install(machine, restart=False)
    assert in_place(machine) == NEW
    assert daemon.restarts == 0 and shown(daemon.port) == der(old[1])
    assert "systemctl restart CSUTKEcat" in "\n".join(lines)
    # A finding of a moment when the pair could not be read.
    stale = remembered(machine).replace(findings=[{"id": "pair-unusable", "reason": "they cannot be read"}])
    machine.put(paths.STAMP, stamp.render(stale))
    # The same command again brings the pair into use, and the finding is gone.
    lines, _ = install(machine)
    assert "has this key and certificate already" in lines[0]
    assert remembered(machine).findings == []
    assert daemon.restarts == 1 and shown(daemon.port) == der(NEW[1])
    # A second time changes nothing at all.
    before = tree_of(machine, times=True)
    install(machine)
    assert daemon.restarts == 1
    assert {k: v for k, v in tree_of(machine, times=True).items() if "/root/my" not in k} == {
        k: v for k, v in before.items() if "/root/my" not in k}


@pytest.mark.parametrize("why,said", [("masked", "the service is masked"), ("not booted", "systemd does not run here")])
def test_install_where_the_restart_is_not_ours(machine, daemon, why, said):
    if why == "masked":
        machine.put_link(paths.UNIT_ADMIN, "/dev/null")
    else:
        machine.booted = False
    lines, _ = install(machine)
    assert in_place(machine) == NEW and daemon.restarts == 0
    assert [one for one in lines if one.startswith("Not restarted, because %s. To use the change: " % said)]


def test_install_cures_a_pair_that_kept_the_catcher_down(machine, daemon):
    daemon.stop()
    machine.put(paths.CERTIFICATE, b"")
    lines, left = install(machine)
    assert shown(daemon.port) == der(NEW[1]) and left == []


@pytest.mark.parametrize("half", [paths.KEY, paths.CERTIFICATE])
def test_install_over_half_a_pair_keeps_that_half(machine, daemon, half, frozen):
    daemon.stop()
    os.unlink(machine.on_disk(half))
    install(machine)
    assert in_place(machine) == NEW and shown(daemon.port) == der(NEW[1])
    other = paths.CERTIFICATE if half == paths.KEY else paths.KEY
    assert machine.get(other + KEPT) and machine.get(half + KEPT) is None


def test_install_over_links_keeps_them_and_what_they_lead_to(machine, daemon, frozen):
    """An administrator may keep the pair elsewhere: the links stay, and their targets are not touched."""
    put(machine, *in_place(machine))
    for path, target in ((paths.KEY, "/root/my.key"), (paths.CERTIFICATE, "/root/my.crt")):
        os.unlink(machine.on_disk(path))
        machine.put_link(path, target)
    machine.put("/home/k", NEW[0])
    machine.put("/home/c", NEW[1])
    old = machine.get("/root/my.key")
    cert_install.install(machine, ["/home/k", "/home/c"], [], True)
    assert in_place(machine) == NEW and not os.path.islink(machine.on_disk(paths.KEY))
    assert os.readlink(machine.on_disk(paths.KEY + KEPT)) == "/root/my.key"
    assert machine.get("/root/my.key") == old


FAILURES = {
    "nothing": "nothing listens on port",
    "tcp": "it speaks plain TCP",
    "another certificate": "it shows another certificate",
    "refuse": "the restart failed",
    "interrupt": "interrupted",
}


@pytest.mark.parametrize("behaviour", sorted(FAILURES))
def test_a_pair_that_the_catcher_does_not_show_is_taken_back(machine, daemon, behaviour):
    os.chmod(machine.on_disk(paths.KEY), 0o640)
    os.utime(machine.on_disk(paths.KEY), (1000000000, 1000000000))
    old, before, made = in_place(machine), bin_tree(machine), remembered(machine).generated_pair
    daemon.behaviour = [behaviour, "obey"]
    with pytest.raises(CatcherError) as failed:
        install(machine)
    assert FAILURES[behaviour] in failed.value.message
    assert failed.value.message.endswith("the old pair is back and in use")
    assert "journalctl" in failed.value.hint
    # The inodes, owners, modes and times are the same. No trace of the other pair is left.
    assert bin_tree(machine) == before
    assert shown(daemon.port) == der(old[1]) and daemon.restarts == 2
    assert remembered(machine).generated_pair == made


def no_stamp_can_be_written(machine):
    os.unlink(machine.on_disk(paths.STAMP))
    os.mkdir(machine.on_disk(paths.STAMP))


def test_a_pair_that_cannot_be_noted_is_in_use_all_the_same(machine, daemon):
    no_stamp_can_be_written(machine)
    _, found = install(machine)
    assert "write-failed" in ids(found)
    assert in_place(machine) == NEW and shown(daemon.port) == der(NEW[1])
    assert not pair.look(machine).staged


def test_a_pair_that_could_not_be_noted_is_with_the_next_install(machine, daemon, monkeypatch):
    with monkeypatch.context() as patched:
        no_room_for_the_stamp(machine, patched)
        install(machine)
    assert remembered(machine).generated_pair is not None
    install(machine)
    assert remembered(machine).generated_pair is None


def test_a_pair_that_cannot_be_noted_is_taken_back_all_the_same(machine, daemon):
    no_stamp_can_be_written(machine)
    old, before = in_place(machine), bin_tree(machine)
    daemon.behaviour = ["nothing", "obey"]
    with pytest.raises(CatcherError, match="the old pair is back and in use"):
        install(machine)
    assert bin_tree(machine) == before
    assert shown(daemon.port) == der(old[1])


def test_where_the_old_pair_does_not_come_up_either_that_is_said(machine, daemon):
    before = bin_tree(machine)
    daemon.behaviour = ["nothing"]
    with pytest.raises(CatcherError, match="the old pair is back, and does not answer"):
        install(machine)
    assert bin_tree(machine) == before


def test_where_systemd_restarts_nothing_the_catcher_is_not_called_silent(machine, daemon):
    """For example, systemctl failed. The catcher was never stopped, and shows the old pair."""
    old = in_place(machine)
    daemon.behaviour = ["refuse"]
    with pytest.raises(CatcherError, match="the restart failed: .*; the old pair is back and in use$"):
        install(machine)
    assert in_place(machine) == old and shown(daemon.port) == der(old[1])


def test_a_failed_first_pair_leaves_none(machine, daemon):
    daemon.stop()
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    daemon.behaviour = ["nothing"]
    with pytest.raises(CatcherError, match="the old pair is back"):
        install(machine)
    assert machine.names(paths.BIN) == ["catcher.exe"]


@pytest.mark.parametrize("half", [paths.KEY, paths.CERTIFICATE])
def test_a_failed_pair_over_half_of_one_leaves_that_half(machine, daemon, half):
    daemon.stop()
    os.unlink(machine.on_disk(half))
    before = bin_tree(machine)
    daemon.behaviour = ["nothing"]
    with pytest.raises(CatcherError):
        install(machine)
    assert bin_tree(machine) == before


def test_a_failed_pair_over_links_leaves_the_links(machine, daemon):
    put(machine, *in_place(machine))
    for path, target in ((paths.KEY, "/root/my.key"), (paths.CERTIFICATE, "/root/my.crt")):
        os.unlink(machine.on_disk(path))
        machine.put_link(path, target)
    before = bin_tree(machine)
    daemon.behaviour = ["nothing", "obey"]
    machine.put("/home/k", NEW[0])
    machine.put("/home/c", NEW[1])
    with pytest.raises(CatcherError, match="back and in use"):
        cert_install.install(machine, ["/home/k", "/home/c"], [], True)
    assert bin_tree(machine) == before


def test_somebody_elses_pair_is_not_rolled_back_over(machine, daemon, monkeypatch):
    """While our files were tried, another administrator put other files in place."""
    real = change.daemon.restart_and_verify

    def other(host, condition):
        for path in (paths.KEY, paths.CERTIFICATE):
            os.unlink(machine.on_disk(path))
            machine.put(path, b"theirs\n")
        return real(host, condition)

    monkeypatch.setattr(change.daemon, "restart_and_verify", other)
    daemon.behaviour = ["nothing"]
    with pytest.raises(CatcherError) as failed:
        install(machine)
    assert in_place(machine) == (b"theirs\n", b"theirs\n")
    assert "could not be restored: somebody else changed the pair meanwhile" in failed.value.message
    assert "catcher.key.2" in failed.value.hint


# The mode, who signed the certificate, and what the command says about the TKE.
AT_THE_TKE = {
    "TLS": (b"TLS_ON\n", False, cert_install.IMPORT),
    "TCP": (b"TLS_OFF\n", False, cert_install.IMPORT_IN_TCP),
    "of a CA": (b"TLS_ON\n", True, cert_install.OF_A_CA),
    "of a CA, TCP": (b"TLS_OFF\n", True, cert_install.OF_A_CA),
}


@pytest.mark.parametrize("name", AT_THE_TKE)
def test_what_the_tke_needs_is_said_once_and_only_of_a_new_pair(machine, daemon, name):
    conf, of_a_ca, told = AT_THE_TKE[name]
    machine.put(paths.CONF, conf)
    given = (NEW_KEY, Authority().issue(NEW_KEY)) if of_a_ca else NEW
    lines, _ = install(machine, *given)
    assert [line for line in lines if "TKE" in line] == [told]
    lines, _ = install(machine, *given)
    assert [line for line in lines if "TKE" in line] == [], "nothing has changed"
