"""cert show and cert check: what they say about the pair and its faults."""

import errno
import os
import ssl

import pytest

from catcher_install import apply, facts, messages, paths, plan, report, stamp, transition
from catcher_install.admin import cert_list, cli, installed_pair, status

from .. import pem
from ..authority import DAY, Authority, issue
from ..daemon import shown
from ..schema import conforms
from ..support import ids, tree_of
from .hosts import KEPT, NEW, NEW_KEY, install, put, refused, remembered


def test_show(machine, daemon):
    seen = installed_pair.show(machine)
    conforms("cert-show", seen)
    assert (seen["state"], seen["algorithm"], seen["made_here"], seen["problem"]) == (
        "both", "EC secp521r1", True, None)
    (one,) = seen["certificates"]
    assert one["dns_names"] == ["tke1", "tke1.example.com"] and one["addresses"] == ["192.0.2.10"]
    assert one["self_issued"] is True and one["problem"] is None
    text = "\n".join(installed_pair.show_lines(seen))
    for part in (one["sha1"], one["sha256"], "EC secp521r1", "made by this package", "DNS tke1.example.com"):
        assert part in text


@pytest.mark.parametrize("kept", [False, True])
def test_all_agree_on_a_pair_of_ours_that_was_copied_back(machine, daemon, kept):
    """The pair that we made before the last one. kept: it is in place again, and its old copy is still there."""
    known = remembered(machine)
    first, last = known.generated_pair, "ab" * 32
    machine.put(paths.STAMP, stamp.render(known.replace(generated_pair=last, made_earlier=[first])))
    if kept:
        for path in (paths.KEY, paths.CERTIFICATE):
            machine.put(path + KEPT, machine.get(path))
    machine.time = installed_pair.installed(machine).chain[0].not_after + 1
    assert installed_pair.show(machine)["made_here"] is True
    assert all(one["made_here"] for one in cert_list.collect(machine)["pairs"])
    _, found = installed_pair.check(machine, [])
    assert "catcherctl cert generate --force" in messages.fix(*[one for one in found if one["id"] == "pair-expired"])
    apply.converge(machine, transition.of(transition.REMOVE))
    assert machine.get(paths.PURGE).decode("ascii").splitlines() == [
        "%s %s" % (first, one) for one in (["", KEPT] if kept else [""])]
    apply.converge(machine, transition.of(transition.APPLY))
    assert (remembered(machine).generated_pair, remembered(machine).made_earlier) == (first, [last])


def test_show_a_chain_of_an_administrator(machine, daemon):
    authority = Authority()
    install(machine, NEW_KEY, authority.issue(NEW_KEY) + authority.certificate)
    seen = installed_pair.show(machine)
    conforms("cert-show", seen)
    assert seen["made_here"] is False and len(seen["certificates"]) == 2
    text = "\n".join(installed_pair.show_lines(seen))
    assert "Certificate 2 of 2" in text and "your own" in text and "CN=Test Root" in text


def test_show_shows_a_hostile_name_harmlessly(machine, daemon):
    crt = issue(NEW_KEY, "\x1b[2Jtke1\nfoo", ("tke1.example.com",))
    put(machine, NEW_KEY, crt)
    machine.put(paths.KEY, NEW_KEY, 0o600)
    machine.put(paths.CERTIFICATE, crt)
    for line in installed_pair.show_lines(installed_pair.show(machine)):
        assert all(" " <= c <= "~" for c in line)


def make_stale_host(machine):
    machine.node = "tke2.example.com"


def new_address(machine):
    machine.ipv4 = ["127.0.0.1", "192.0.2.11"]


def more_addresses(machine):
    machine.ipv4 = ["127.0.0.1", "192.0.2.10", "172.17.0.1"]


def replace(machine, **more):
    machine.put(paths.KEY, NEW_KEY, 0o600)
    machine.put(paths.CERTIFICATE, issue(NEW_KEY, **more))


def broken_chain(machine):
    authority = Authority()
    machine.put(paths.KEY, NEW_KEY, 0o600)
    machine.put(paths.CERTIFICATE, authority.issue(NEW_KEY) + authority.root)


def rsa(machine, bits):
    key = pem.key_of("rsa-%d" % bits)
    machine.put(paths.KEY, key, 0o600)
    machine.put(paths.CERTIFICATE, issue(key))


CHECKS = {
    "as it was made": (lambda m: None, [], []),
    "named": (lambda m: None, ["tke1", "TKE1.example.com", "192.0.2.10"], []),
    "not named": (lambda m: None, ["tke1", "tke2"], ["pair-name-missing"]),
    "a cloned host": (make_stale_host, [], ["pair-names-stale"]),
    "after a DHCP change": (new_address, [], ["pair-names-stale"]),
    "with one more address": (more_addresses, [], []),
    "an administrator's, with any name of the host": (
        lambda m: replace(m, common_name="x", dns=("tke1",), addresses=("198.51.100.7",)), [], []),
    "an administrator's, with no name of the host": (
        lambda m: replace(m, common_name="x", dns=("service.example.com",)), [], ["pair-names-stale"]),
    "soon over": (lambda m: replace(m, last=29 * DAY), [], ["pair-expires-soon"]),
    "not soon over": (lambda m: replace(m, last=31 * DAY), [], []),
    "over": (lambda m: replace(m, last=-60), [], ["pair-expired"]),
    "not begun": (lambda m: replace(m, first=DAY), [], ["pair-not-yet-valid"]),
    "weak": (lambda m: rsa(m, 1024), [], ["pair-weak-key"]),
    "a broken chain": (broken_chain, [], ["pair-chain-broken"]),
    "readable by others": (lambda m: os.chmod(m.on_disk(paths.KEY), 0o644), [], ["pair-key-readable"]),
    "with its key in the certificate, too": (
        lambda m: m.put(paths.CERTIFICATE, m.get(paths.KEY) + m.get(paths.CERTIFICATE)), [],
        ["pair-key-in-certificate"]),
    "half": (lambda m: os.unlink(m.on_disk(paths.KEY)), [], ["pair-half"]),
    "unusable": (lambda m: m.put(paths.CERTIFICATE, NEW[1]), [], ["pair-unusable"]),
}


@pytest.mark.parametrize("path", [paths.KEY, paths.CERTIFICATE])
@pytest.mark.parametrize("error,found", [
    (errno.EIO, "pair-unread"), (errno.EACCES, "pair-unread"), (errno.ESTALE, "pair-unread"),
    (errno.ENOENT, "pair-unread"), (errno.EINVAL, "pair-unusable"), (errno.EFBIG, "pair-unusable")])
def test_nobody_is_told_to_replace_a_pair_that_could_not_be_read(machine, daemon, monkeypatch, path, error, found):
    """The pair may be good, but its disk fails or its file system is not mounted."""
    real = machine.read

    def fails(asked, *rest, **named):
        if asked == path:
            raise OSError(error, os.strerror(error), asked)
        return real(asked, *rest, **named)

    monkeypatch.setattr(machine, "read", fails)
    one, = plan.pair_findings(facts.judged(machine, facts.collect(machine)))
    assert one["id"] == found and os.strerror(error) in messages.text(one)
    assert ("cert generate" in messages.fix(one)) == (found == "pair-unusable")


@pytest.mark.parametrize("mode", ["TLS_ON", "TLS_OFF"])
@pytest.mark.parametrize("name", sorted(CHECKS))
def test_check_finds_what_is_wrong_and_changes_nothing(machine, daemon, name, mode):
    change, names, wanted = CHECKS[name]
    machine.put(paths.CONF, mode.encode("ascii") + b"\n")
    change(machine)
    before = tree_of(machine, times=True)
    seen, told = installed_pair.check(machine, names)
    assert ids(told) == wanted
    conforms("cert-check", dict(seen, findings=[report.finding_fields(one) for one in told]))
    assert tree_of(machine, times=True) == before
    # No key is replaced silently, because the TKE has the old certificate.
    key = machine.get(paths.KEY)
    if key is not None:
        apply.converge(machine, transition.of(transition.UPGRADE, "8.0.0-1"))
        assert machine.get(paths.KEY) == key


def test_check_says_what_is_stale(machine, daemon):
    make_stale_host(machine)
    new_address(machine)
    (one,) = installed_pair.check(machine, [])[1]
    assert messages.text(one) == (
        "the certificate no longer fits this host: it does not list tke2.example.com, tke2, 192.0.2.11; "
        "it lists 192.0.2.10, which this host no longer has")
    assert "catcherctl cert generate --force" in messages.fix(one)


def test_check_refuses_if_there_is_no_pair(machine, daemon):
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    error = refused(machine, daemon, lambda: installed_pair.check(machine, []))
    assert "there is no key and no certificate" in error.message


def test_the_daemon_is_real(machine, daemon):
    """Without a daemon, these tests would pass whatever the code says."""
    assert ssl.PEM_cert_to_DER_cert(machine.get(paths.CERTIFICATE).decode("ascii")) == shown(daemon.port)
    daemon.stop()
    assert shown(daemon.port) is None


def fails_at(monkeypatch, machine, names, path):
    """Let each of these calls of os fail on a path, as on a broken disk."""
    bad = machine.on_disk(path)

    def failing(real):
        def call(target, *arguments, **options):
            if target == bad:
                raise OSError(errno.EIO, "Input/output error", path)
            return real(target, *arguments, **options)

        return call

    for name in names:
        monkeypatch.setattr(os, name, failing(getattr(os, name)))


@pytest.mark.parametrize("path", [paths.KEY, paths.CERTIFICATE, paths.STAMP])
def test_whose_a_pair_is_that_cannot_be_read_is_not_known(machine, daemon, monkeypatch, path):
    fails_at(monkeypatch, machine, ["open"], path)
    checked, found = installed_pair.check(machine, [])
    listed = cert_list.collect(machine)
    seen = status.collect_status(machine)
    assert [checked["made_here"], listed["pairs"][0]["made_here"], seen["pair"]["made_here"]] == [None] * 3
    # Both files are there: no command says that one is missing, or offers to make it.
    assert [checked["state"], seen["pair"]["state"]] == ["both", "both"] and "pair-half" not in ids(found)
    assert listed["pairs"][0]["key"] and listed["pairs"][0]["certificate"]
    for lines in (installed_pair.show_lines(checked), cert_list.lines(listed), status.lines(seen)):
        assert "your own" not in "\n".join(lines)


@pytest.mark.parametrize("path", [paths.KEY, paths.CERTIFICATE])
@pytest.mark.parametrize("verb", [["cert", "check"], ["cert", "list"], ["status"]], ids=" ".join)
def test_a_file_that_cannot_be_looked_at_is_not_called_missing(machine, daemon, monkeypatch, capsys, path, verb):
    machine.put(paths.LIBRARY + "/run")
    monkeypatch.setattr(cli, "Host", lambda root="/": machine)
    fails_at(monkeypatch, machine, ["stat", "lstat", "open"], path)
    assert cli.main(verb) == 1
    told = capsys.readouterr()
    assert "Input/output error" in told.err and "no key" not in told.out + told.err and "only" not in told.out


@pytest.mark.parametrize("path", [paths.KEY, paths.CERTIFICATE])
def test_half_a_pair_is_nobodys(machine, daemon, path):
    os.unlink(machine.on_disk(path))
    assert installed_pair.check(machine, [])[0]["made_here"] is False
