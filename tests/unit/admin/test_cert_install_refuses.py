"""cert install: what cannot be used changes nothing; a key and a certificate in one file can be used."""

import errno
import os

import pytest

from catcher_install import apply, paths, plan, transition
from catcher_install.admin import cert_install, installed_pair
from catcher_install.cert import check

from ..authority import CLIENT, Authority, issue
from ..daemon import shown
from ..support import ids
from .hosts import NEW, NEW_KEY, der, in_place, put, refused


def test_names_that_are_not_this_hosts_need_to_be_named(machine, daemon):
    key, crt = NEW_KEY, issue(NEW_KEY, "service.example.com", ("service.example.com",))
    put(machine, key, crt)
    files = ["/root/my.key", "/root/my.crt"]
    error = refused(machine, daemon, lambda: cert_install.install(machine, files, [], True))
    assert "is not for this host" in error.message
    assert "catcherctl cert install /root/my.key /root/my.crt --name NAME" in error.hint
    error = refused(machine, daemon, lambda: cert_install.install(machine, files, ["other.example.com"], True))
    assert "does not name other.example.com" in error.message
    _, left = cert_install.install(machine, files, ["service.example.com"], True)
    assert shown(daemon.port) == der(crt)
    # The name stays accepted as long as this pair stays.
    assert left == []
    apply.converge(machine, transition.of(transition.UPGRADE, "8.0.0-1"))
    assert ids(installed_pair.check(machine, [])[1]) == []
    # Nobody confirmed another certificate with the same names.
    machine.put(paths.CERTIFICATE, issue(NEW_KEY, "service.example.com", ("service.example.com",)))
    assert ids(installed_pair.check(machine, [])[1]) == ["pair-names-stale"]


@pytest.mark.parametrize("name", ["unreadable", "half", "gone"])
def test_names_stay_accepted_while_the_pair_is_not_to_be_seen(machine, daemon, monkeypatch, name):
    """A disk that fails for a moment, or an administrator who copies files, causes no lasting false finding."""
    put(machine, NEW_KEY, issue(NEW_KEY, "service.example.com", ("service.example.com",)))
    cert_install.install(machine, ["/root/my.key", "/root/my.crt"], ["service.example.com"], True)
    files = {path: machine.get(path) for path in (paths.KEY, paths.CERTIFICATE)}
    away = {"unreadable": [], "half": [paths.CERTIFICATE], "gone": [paths.KEY, paths.CERTIFICATE]}[name]
    real = machine.read

    def fails(path, *rest, **named):
        if name == "unreadable" and path == paths.KEY:
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return real(path, *rest, **named)

    for path in away:
        os.unlink(machine.on_disk(path))
    with monkeypatch.context() as patched:
        patched.setattr(machine, "read", fails)
        patched.setattr(machine, "chroot", name == "gone")
        apply.converge(machine, transition.of(transition.UPGRADE, "8.0.0-1"))
    for path in away:
        machine.put(path, files[path], 0o600)
    apply.converge(machine, transition.of(transition.UPGRADE, "8.0.0-1"))
    assert ids(installed_pair.check(machine, [])[1]) == []


def test_a_pair_that_cannot_be_used_changes_nothing(machine, daemon):
    put(machine, NEW_KEY, issue(NEW_KEY, last=-60))
    error = refused(machine, daemon, lambda: cert_install.install(machine, ["/root/my.key", "/root/my.crt"], [], True))
    assert "expired" in error.message


def test_a_directory_in_the_way_changes_nothing(machine, daemon):
    put(machine, *NEW)
    daemon.stop()
    os.unlink(machine.on_disk(paths.KEY))
    os.mkdir(machine.on_disk(paths.KEY))
    error = refused(machine, daemon, lambda: cert_install.install(machine, ["/root/my.key", "/root/my.crt"], [], True))
    assert "neither a file nor a link" in error.message


def test_a_pair_that_changes_between_look_and_change_is_kept(machine, daemon, monkeypatch):
    put(machine, *NEW)
    edited = machine.get(paths.KEY) + b"\n"
    real = plan.plan

    def meanwhile(*arguments, **named):
        if machine.get(paths.KEY) != NEW[0]:
            machine.put(paths.KEY, edited, 0o600)
        return real(*arguments, **named)

    monkeypatch.setattr(plan, "plan", meanwhile)
    cert_install.install(machine, ["/root/my.key", "/root/my.crt"], [], True)
    kept = [name for name in machine.names(paths.BIN) if name.startswith("catcher.key.")]
    assert in_place(machine) == NEW and [machine.get(paths.BIN + "/" + name) for name in kept] == [edited]


def test_key_and_certificate_in_one_file_are_installed(machine, daemon):
    machine.put("/root/both.pem", NEW[1] + NEW[0], 0o600)
    cert_install.install(machine, ["/root/both.pem"], [], True)
    assert in_place(machine) == NEW and shown(daemon.port) == der(NEW[1])


def test_a_renewed_certificate_needs_no_key_file(machine, daemon):
    key = machine.get(paths.KEY)
    crt = issue(key)
    machine.put("/root/new.crt", crt)
    cert_install.install(machine, ["/root/new.crt"], [], True)
    assert in_place(machine) == (key, crt) and shown(daemon.port) == der(crt)


def test_a_certificate_for_no_key_that_is_here(machine, daemon):
    machine.put("/root/new.crt", NEW[1])
    error = refused(machine, daemon, lambda: cert_install.install(machine, ["/root/new.crt"], [], True))
    assert "does not belong to a key on this host (tried %s)" % paths.KEY in error.message
    assert "catcherctl cert install KEY /root/new.crt" in error.hint


def test_a_chain_in_the_wrong_order_for_a_key_that_is_here(machine, daemon):
    authority = Authority()
    machine.put("/root/new.crt", authority.certificate + authority.issue(machine.get(paths.KEY)))
    error = refused(machine, daemon, lambda: cert_install.install(machine, ["/root/new.crt"], [], True))
    assert "wrong order: the key's own certificate is number 2 of 2" in error.message


def test_a_key_is_not_said_to_be_another_if_nobody_can_tell(machine, daemon, monkeypatch):
    machine.put("/root/new.crt", issue(machine.get(paths.KEY)))
    monkeypatch.setattr(check, "_ask_openssl", lambda *arguments: {"unknown": "cannot allocate memory"})
    error = refused(machine, daemon, lambda: cert_install.install(machine, ["/root/new.crt"], [], True))
    assert error.message == "the pair cannot be tried: cannot allocate memory"


def test_what_is_wrong_with_a_certificate_is_said_of_a_chain_too(machine, daemon, monkeypatch):
    """The check does not need OpenSSL."""
    authority = Authority()
    leaf = issue(machine.get(paths.KEY), issuer=(authority.key, "Test CA"), ca=False, usage=CLIENT)
    monkeypatch.setattr(check, "_ask_openssl", lambda *arguments: {"unknown": "cannot allocate memory"})
    told = []
    for chain in (leaf, leaf + authority.certificate):
        machine.put("/root/new.crt", chain)
        files = [paths.KEY, "/root/new.crt"]
        told.append(refused(machine, daemon, lambda files=files: cert_install.install(machine, files, [], True)))
    assert told[0].message == told[1].message and "cannot be tried" not in told[0].message


def test_a_key_alone_is_refused(machine, daemon):
    machine.put("/root/new.key", NEW[0])
    error = refused(machine, daemon, lambda: cert_install.install(machine, ["/root/new.key"], [], True))
    assert "holds no certificate" in error.message
