"""cert list and cert restore: the pairs that earlier changes kept, and how to use them again."""

import errno
import os

import pytest

from catcher_install import pair, paths
from catcher_install.admin import cert_install, cert_list, cert_request, installed_pair
from tests.unit import pem
from tests.unit.admin.hosts import KEPT, MOMENT, NEW, bin_tree, der, in_place, install, refused, remembered
from tests.unit.authority import DAY, Authority, issue
from tests.unit.daemon import shown
from tests.unit.schema import conforms


def listed(machine):
    """The pairs of cert list, whose fields must be as documented, and its lines plain ASCII."""
    told = cert_list.collect(machine)
    conforms("cert-list", told)
    for line in cert_list.lines(told):
        assert all(" " <= c <= "~" for c in line)
    return told["pairs"]


def test_one_pair_in_use(machine, daemon):
    one, = listed(machine)
    assert (one["state"], one["name"], one["replaced"]) == ("in place", None, None)
    assert (one["key"], one["certificate"]) == (paths.KEY, paths.CERTIFICATE)
    assert one["made_here"] is True and one["algorithm"] == "EC secp521r1"
    assert cert_list.lines(cert_list.collect(machine))[0] == "In place, in use"


def test_what_earlier_changes_have_kept(machine, daemon, frozen):
    install(machine)
    cert_install.generate(machine, True, True)
    cert_request.request(machine, [], False, None)
    now, newer, older, waiting = listed(machine)
    assert [one["state"] for one in (now, newer, older, waiting)] == ["in place", "kept", "kept", "request"]
    assert newer["name"] == KEPT[1:] + "-2" and older["name"] == KEPT[1:]
    assert newer["replaced"] == older["replaced"] == MOMENT
    assert [one["made_here"] for one in (now, newer, older, waiting)] == [True, False, True, True]
    assert newer["algorithm"] == "EC secp384r1" and newer["certificates"][0]["sha256"]
    assert waiting["certificate"] is None and waiting["certificates"] == []
    text = "\n".join(cert_list.lines(cert_list.collect(machine)))
    assert "Old pair %s-2, replaced on 2026-11-23 21:12 UTC" % KEPT[1:] in text and "your own" in text


def test_which_is_in_use_says_the_running_catcher(machine, daemon):
    """After --no-restart the catcher still uses the old pair."""
    install(machine, restart=False)
    assert [one["in_use"] for one in listed(machine)] == [False, True]
    assert cert_list.lines(cert_list.collect(machine))[0] == "In place"
    cert_install.restore(machine, "", True)
    assert [one["in_use"] for one in listed(machine)] == [True, False]


def test_what_is_not_a_pair_is_listed_as_it_is(machine, daemon):
    os.unlink(machine.on_disk(paths.KEY))
    machine.put(paths.CERTIFICATE + ".20200101T000000Z", b"x\n")
    machine.put(paths.KEY + ".20209901T000000Z", b"x\n")
    machine.put(paths.KEY + ".bak", b"x\n")
    half, broken, odd = listed(machine)
    assert half["key"] is None and half["certificates"] and half["made_here"] is False
    assert broken["key"] is None and "holds no certificate" in broken["problem"]
    assert odd["certificate"] is None and odd["replaced"] is None


@pytest.mark.parametrize("suffix", [".00000101T000000Z", ".20209901T000000Z", ".20200100T000000Z", ".2020", ".-"])
def test_a_name_that_is_no_time_is_listed_without_one(machine, daemon, suffix):
    machine.put(paths.KEY + suffix, b"x\n")
    assert [one["replaced"] for one in listed(machine)] == [None, None]


def test_the_list_says_that_there_is_no_pair(machine, daemon):
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    assert cert_list.lines(cert_list.collect(machine)) == ["There is no key and no certificate."]


def test_an_interrupted_change_is_told(machine, daemon):
    os.makedirs(machine.on_disk(paths.STAGE_DRAFT))
    assert cert_list.collect(machine)["unfinished"] is True
    assert cert_list.lines(cert_list.collect(machine))[-1] == "  catcherctl apply"


# -- restore -----------------------------------------------------------------------------------------------------------


def test_a_second_restore_brings_the_replaced_pair_back(machine, daemon):
    ours = in_place(machine)
    install(machine)
    lines, found = cert_install.restore(machine, "", True)
    assert lines[0] == "Installed the old key and certificate." and found == []
    assert lines[-1] == cert_install.IMPORT_AGAIN
    assert in_place(machine) == ours and shown(daemon.port) == der(ours[1])
    assert remembered(machine).generated_pair == pair.fingerprint(*ours)
    # The list has each pair once.
    assert len(machine.names(paths.BIN)) == len(["catcher.exe"]) + 2 * 2
    cert_install.restore(machine, "", True)
    assert in_place(machine) == NEW and remembered(machine).generated_pair is None
    assert len(machine.names(paths.BIN)) == len(["catcher.exe"]) + 2 * 2


def test_a_pair_of_an_administrators_that_comes_back_keeps_its_names(machine, daemon):
    install(machine, NEW[0], issue(NEW[0], "service.example.com", ["service.example.com"]), ["service.example.com"])
    cert_install.generate(machine, True, True)
    _, left = cert_install.restore(machine, "", True)
    assert left == [] and installed_pair.check(machine, [])[1] == []


@pytest.mark.parametrize("verb", ["restore", "install"])
def test_a_copy_that_cannot_be_removed_does_not_make_a_change_fail(machine, daemon, monkeypatch, verb):
    """The copy is immutable, for example. By then the pair is in use."""
    if verb == "restore":
        install(machine)
        left = paths.KEY + "." + listed(machine)[1]["name"]
    else:
        data, _ = cert_request.request(machine, [], False, None)
        authority, left = Authority(), paths.REQUEST_KEY
        machine.put("/root/signed.crt", authority.sign(data) + authority.certificate)
    real = machine.remove

    def remove(path):
        if path == left:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)
        real(path)

    monkeypatch.setattr(machine, "remove", remove)
    if verb == "restore":
        lines, _ = cert_install.restore(machine, "", True)
    else:
        lines, _ = cert_install.install(machine, ["/root/signed.crt"], [], True)
    assert shown(daemon.port) == der(machine.get(paths.CERTIFICATE))
    assert "%s is not needed any more, and could not be removed: Operation not permitted" % left in lines


def test_restore_by_name(machine, daemon, frozen):
    ours = in_place(machine)
    install(machine)
    cert_install.generate(machine, True, True)
    cert_install.restore(machine, KEPT[1:], True)
    assert in_place(machine) == ours and shown(daemon.port) == der(ours[1])
    assert machine.get(paths.KEY + KEPT) is None and machine.get(paths.KEY + KEPT + "-2") == NEW[0]


def test_restore_that_fails_is_taken_back(machine, daemon, frozen):
    install(machine)
    before = bin_tree(machine)
    daemon.behaviour = ["another certificate", "obey"]
    error = pytest.raises(cert_install.CatcherError, cert_install.restore, machine, "", True)
    assert "the old pair is back and in use" in str(error.value)
    assert bin_tree(machine) == before


def test_restore_without_a_restart_does_not_restart(machine, daemon):
    ours = in_place(machine)
    install(machine)
    restarts = daemon.restarts
    lines, _ = cert_install.restore(machine, "", False)
    assert "Not restarted, as you asked" in lines[2] and daemon.restarts == restarts and in_place(machine) == ours


EXPIRED = issue(NEW[0], last=-DAY)


@pytest.mark.parametrize("key,crt,told", [
    (NEW[0], EXPIRED, "expired on"), (NEW[0], issue(pem.key_of("prime256v1")), "does not belong to the key"),
    (b"x\n", NEW[1], "is not PEM"), (NEW[0], None, "only one file of"), (None, NEW[1], "only one file of")],
    ids=["expired", "of another key", "no PEM", "no certificate", "no key"])
def test_restore_refuses_what_the_judge_refuses(machine, daemon, key, crt, told):
    if key is not None:
        machine.put(paths.KEY + KEPT, key, 0o600)
    if crt is not None:
        machine.put(paths.CERTIFICATE + KEPT, crt)
    assert told in refused(machine, daemon, lambda: cert_install.restore(machine, KEPT[1:], True)).message


def test_a_lone_old_file_is_called_no_pair(machine, daemon):
    machine.put(paths.KEY + KEPT, NEW[0], 0o600)
    told = "\n".join(cert_list.lines(cert_list.collect(machine)))
    assert "Old key " + KEPT[1:] in told and "Old pair" not in told
    error = refused(machine, daemon, lambda: cert_install.restore(machine, "", True))
    assert error.message == "there is no old pair; only one file of %s is there" % KEPT[1:]


@pytest.mark.parametrize("name", ["", "20200101T000000Z", "../x", "request"])
def test_restore_of_what_is_not_there(machine, daemon, name):
    cert_request.request(machine, [], False, None)
    error = refused(machine, daemon, lambda: cert_install.restore(machine, name, True))
    assert "there is no old pair" in error.message and "catcherctl cert list" in error.hint
