"""CSUTKEcat: mode, pair, exec, what it refuses, and what a first start does because the hooks could not do it."""

import contextlib
import errno
import os
import socket
import subprocess
import sys

import pytest

from catcher_install import apply, config, launch, pair, paths, reference, stamp, transition
from tests.ports import free_port

from . import pem
from .support import TREE, Executed, child_python, fault, installed, tree_of

FRESH = transition.from_scriptlet("rpm", ["1"])
REFUSED = 78


@pytest.fixture
def started(machine, monkeypatch):
    """A function that starts the catcher on the machine: (argv of the daemon, or exit status of a refusal)."""
    monkeypatch.setattr(launch, "Host", lambda: machine)
    for name in ("JOURNAL_STREAM", "INVOCATION_ID"):
        monkeypatch.delenv(name, raising=False)

    def start(verb="start"):
        machine.executed = None
        try:
            return launch.main([verb])
        except Executed:
            program, argv = machine.executed
            assert program == paths.CATCHER
            return argv

    return start


TCP = [paths.CATCHER]
TLS = [paths.CATCHER, "-tls"]


def use(machine, conf=None, material=None):
    if conf is not None:
        machine.put(paths.CONF, conf)
    if material is not None:
        key, crt = material
        if key is not None:
            machine.put(paths.KEY, key, 0o600)
        if crt is not None:
            machine.put(paths.CERTIFICATE, crt)


# -- rule 1: the mode --------------------------------------------------------------------------------------------------

# catcher.conf, whether TLS is possible -> argv or a refusal, finding
MODES = {
    "TLS_ON": (b"TLS_ON\n", True, TLS, None),
    "TLS_ON twice, BOM, CRLF, blanks": (b"\xef\xbb\xbf TLS_ON \r\nTLS_ON\r\n", True, TLS, None),
    "TLS_OFF": (b"TLS_OFF\n", True, TCP, None),
    "TLS_OFF, no TLS": (b"TLS_OFF # by hand\n", False, TCP, None),
    "no directive": (b"# nothing\n", True, TLS, "conf-no-directive"),
    "no directive, no TLS": (b"# nothing\n", False, TCP, "conf-no-directive"),
    "TLS_ON, no TLS": (b"TLS_ON\n", False, TCP, "tls-configured-tcp-running"),
    "TLS_REQUIRED": (b"TLS_ON\nTLS_REQUIRED\n", True, TLS, None),
    "TLS_REQUIRED, no TLS": (b"TLS_ON\nTLS_REQUIRED\n", False, REFUSED, "tls-required-not-possible"),
    "TLS_REQUIRED alone, no TLS": (b"TLS_REQUIRED\n", False, REFUSED, "tls-required-not-possible"),
    "TLS_REQUIRED and TLS_OFF": (b"TLS_OFF\nTLS_REQUIRED\n", True, REFUSED, "conf-unusable"),
    "both": (b"TLS_ON\nTLS_OFF\n", True, REFUSED, "conf-unusable"),
    "both, no TLS": (b"TLS_ON\nTLS_OFF\n", False, REFUSED, "conf-unusable"),
    "unknown": (b"TLS_MAYBE\n", True, REFUSED, "conf-unusable"),
    "binary": (b"\0\1\2", False, REFUSED, "conf-unusable"),
}


@pytest.mark.parametrize("name", sorted(MODES))
def test_the_mode_of_the_start_follows_from_conf_and_openssl(machine, started, capsys, a_pair, name):
    conf, possible, result, told = MODES[name]
    machine.tls_possible(possible)
    use(machine, conf, a_pair)
    assert started() == result
    errors = capsys.readouterr().err
    assert machine.get(paths.CONF) == conf
    if told is None:
        assert errors == ""
    else:
        assert [line for line in errors.splitlines() if "[%s] -- " % told in line] == errors.splitlines() != []


def test_a_start_does_not_fail_for_what_cannot_be_logged(machine, started, monkeypatch):
    """For example, the log is a file on a full disk."""
    use(machine, b"# nothing\n")
    machine.tls_possible(False)
    full = open("/dev/full", "w")  # noqa: SIM115 - to close it fails, too
    monkeypatch.setattr(sys, "stderr", full)
    assert started() == TCP
    with contextlib.suppress(OSError):
        full.close()


# Why whether TLS is possible cannot be found out: what openssl does
UNKNOWN = {
    "killed": (137, b""), "hangs": TimeoutError(110, "no answer within 10 seconds"), "no process": OSError(11, "Again"),
    "a broken policy": (1, b""), "spoilt": (0, b"\x00\xff"),
}


@pytest.mark.parametrize("name", sorted(UNKNOWN))
@pytest.mark.parametrize("conf", [b"TLS_ON\n", b"TLS_ON\nTLS_REQUIRED\n", b"# no directive\n", None], ids=str)
def test_what_is_not_known_is_never_served_in_clear(machine, started, capsys, a_pair, name, conf):
    """systemd tries again. Nothing is decided permanently: when OpenSSL answers, the mode is TLS."""
    use(machine, conf, a_pair)
    good = machine.programs[paths.OPENSSL]
    machine.programs[paths.OPENSSL] = UNKNOWN[name]
    assert started() == launch.AGAIN != REFUSED
    assert "[tls-not-known]" in capsys.readouterr().err
    assert machine.get(paths.CONF) == conf
    machine.programs[paths.OPENSSL] = good
    assert started() == TLS


@pytest.mark.parametrize("name", sorted(UNKNOWN))
def test_a_remembered_yes_starts_tls_whatever_openssl_does(machine, started, a_pair, name):
    use(machine, b"TLS_ON\n", a_pair)
    assert started() == TLS
    # OpenSSL's answer was about another file.
    machine.put("/usr/bin/openssl", b"#!/bin/sh\n", 0o755)
    machine.programs[paths.OPENSSL] = UNKNOWN[name]
    for _ in range(2):
        assert started() == TLS


@pytest.mark.parametrize("path", [paths.CONF, paths.KEY, paths.CERTIFICATE])
@pytest.mark.parametrize("error,result", [(errno.ENFILE, launch.AGAIN), (errno.ESTALE, launch.AGAIN),
                                          (errno.EIO, launch.AGAIN), (errno.EACCES, REFUSED)])
def test_a_file_that_cannot_be_read_is_read_again(machine, started, monkeypatch, a_pair, path, error, result):
    """Exit status 78 would keep the catcher down until somebody types something."""
    use(machine, b"TLS_ON\n", a_pair)
    real, refusing = machine.read, [True]

    def read(asked, *arguments, **more):
        if asked == path and refusing:
            raise OSError(error, os.strerror(error), path)
        return real(asked, *arguments, **more)

    monkeypatch.setattr(machine, "read", read)
    assert started() == result
    refusing.clear()
    assert started() == TLS


def test_plain_tcp_needs_no_openssl(machine, started, a_pair):
    use(machine, b"TLS_OFF\n", a_pair)
    machine.programs[paths.OPENSSL] = UNKNOWN["killed"]
    assert started() == TCP


@pytest.mark.parametrize("name", sorted(MODES))
def test_check_says_what_a_start_would_do_and_does_nothing(machine, started, capsys, a_pair, name):
    conf, possible, result, told = MODES[name]
    machine.tls_possible(possible)
    use(machine, conf, a_pair)
    before = tree(machine)
    status = started("check")
    out = capsys.readouterr().out
    assert tree(machine) == before
    assert (told is None) == ("[" not in out) and (told is None or "[%s]" % told in out)
    if result == REFUSED:
        assert status == REFUSED and out.splitlines()[-1] == "refused"
    else:
        assert status == 0
        assert out.splitlines()[-2:] == ["mode: " + ("TLS" if result == TLS else "TCP"), "argv: " + " ".join(result)]


def tree(machine):
    return tree_of(machine, times=True)


def test_check_of_a_start_that_would_make_a_pair(machine, started, capsys):
    before = tree(machine)
    assert started("check") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "argv: " + " ".join(TLS)
    assert tree(machine) == before


def test_unreadable_conf_is_refused(machine, started, capsys, a_pair):
    machine.make_dir(paths.CONF, 0o755)
    assert started() == REFUSED
    assert "[conf-unusable]" in capsys.readouterr().err


def elsewhere(machine, directory):
    """Make /etc/cca a link, as an administrator may have done."""
    if machine.lexists(paths.CONF_DIR):
        os.rmdir(machine.on_disk(paths.CONF_DIR))
    machine.put_link(paths.CONF_DIR, directory)


# Where /etc/cca leads; what is a file, and what a link, there; the exit status.
NOWHERE = {
    "a file system that is not mounted": ("/data/cca", {}, launch.AGAIN),
    "a name of the same directory": ("cca.d", {}, launch.AGAIN),
    "a link in a circle": ("/etc/cca", {}, REFUSED),
    "a link to a link": ("/srv/cca", {"/srv/cca": "/data/cca"}, launch.AGAIN),
    "a file": ("/srv/cca", {"/srv/cca": b"TLS_ON\n"}, REFUSED),
    "a home, as the service sees it": ("/home/cca", {}, REFUSED),
}


@pytest.mark.parametrize("remembered", [config.TCP, config.TLS, None])
@pytest.mark.parametrize("name", sorted(NOWHERE))
def test_a_directory_that_leads_nowhere_is_no_host_without_a_mode(
        machine, started, monkeypatch, capsys, a_pair, name, remembered):
    """The target, which cannot be read now, may say TLS_ON or TLS_REQUIRED. Nothing is written to it or beside it."""
    directory, there, status = NOWHERE[name]
    use(machine, None, a_pair)
    if remembered is not None:
        use(machine, config.fresh(remembered))
        apply.converge(machine, transition.of(transition.APPLY))
        os.remove(machine.on_disk(paths.CONF))
    elsewhere(machine, directory)
    for path, what in there.items():
        machine.put_link(path, what) if isinstance(what, str) else machine.put(path, what)
    monkeypatch.setattr(type(machine), "is_run_by_systemd", lambda self: directory.startswith("/home"))
    before = tree_of(machine)
    assert (started(), started("check")) == (status, REFUSED)
    assert "[conf-unusable]" in capsys.readouterr().err
    for called in (FRESH, transition.from_scriptlet("deb", ["configure", "8.0.0-1"])):
        outcome = apply.converge(machine, called)
        assert "conf-unusable" in [one["id"] for one in outcome.findings] and outcome.plan.mode is None
    after = tree_of(machine)
    ours = [path for path in after if paths.STATE_DIR[1:] in path]
    assert {path: after[path] for path in after if path not in ours} == {
        path: before[path] for path in before if path not in ours}


@pytest.mark.parametrize("directory,status", [("/data", launch.AGAIN), ("/home/admin", REFUSED)])
@pytest.mark.parametrize("name", ["catcher.conf", "catcher.key", "catcher.crt"])
def test_a_file_on_a_file_system_that_comes_late_is_waited_for(
        machine, started, monkeypatch, capsys, a_pair, name, directory, status):
    """The unit waits only for mounts on the documented paths. For a path below a home it would wait for ever."""
    path = paths.CONF if name == "catcher.conf" else paths.BIN + "/" + name
    use(machine, config.fresh(config.TLS), a_pair)
    apply.converge(machine, transition.of(transition.APPLY))
    data = machine.get(path)
    os.remove(machine.on_disk(path))
    machine.put_link(path, directory + "/" + name)
    monkeypatch.setattr(type(machine), "is_run_by_systemd", lambda self: True)
    assert started() == status
    told = "conf-unusable" if path == paths.CONF else "pair-unread" if status == launch.AGAIN else "pair-unusable"
    assert "[%s]" % told in capsys.readouterr().err
    machine.put(directory + "/" + name, data, 0o600)
    assert started() == TLS


@pytest.mark.parametrize("directory", ["/home/cca", "/root/conf", "/run/agent", "/var/tmp/cca"])
@pytest.mark.parametrize("conf", [b"TLS_OFF\n", b"TLS_ON\nTLS_REQUIRED\n", None], ids=["TLS_OFF", "TLS_ON", "absent"])
def test_a_conf_that_the_unit_hides_is_not_taken_for_what_the_service_reads(
        machine, started, capsys, a_pair, directory, conf):
    use(machine, None, a_pair)
    os.makedirs(machine.on_disk(directory))
    elsewhere(machine, directory)
    if conf is not None:
        machine.put(directory + "/catcher.conf", conf)
    assert started("check") == REFUSED
    assert "it leads to %s/catcher.conf, and the service sees nothing below" % directory in capsys.readouterr().out
    assert "conf-unusable" in [one["id"] for one in apply.converge(machine, FRESH).findings]
    assert machine.get(directory + "/catcher.conf") == conf


def test_without_systemd_nothing_is_hidden(machine, started, a_pair):
    """In a container, for example, the control script starts the catcher."""
    machine.booted = False
    use(machine, None, a_pair)
    os.makedirs(machine.on_disk("/home/ops"))
    elsewhere(machine, "/home/ops")
    machine.put("/home/ops/catcher.conf", b"TLS_ON\n")
    for path in (paths.KEY, paths.CERTIFICATE):
        os.rename(machine.on_disk(path), machine.on_disk("/home/ops" + path[len(paths.BIN):]))
        machine.put_link(path, "/home/ops" + path[len(paths.BIN):])
    assert started("check") == 0


# -- rule 2: the pair --------------------------------------------------------------------------------------------------

def test_neither_file_generates_both(machine, started, quick_pair):
    use(machine, b"TLS_ON\n")
    assert started() == TLS
    assert (machine.get(paths.KEY), machine.get(paths.CERTIFICATE)) == quick_pair
    assert (machine.mode(paths.KEY), machine.mode(paths.CERTIFICATE)) == (0o600, 0o644)


@pytest.mark.parametrize("half", [0, 1], ids=["key only", "certificate only"])
def test_exactly_one_file_is_refused_and_left_alone(machine, started, capsys, a_pair, half):
    use(machine, b"TLS_ON\n", (a_pair[0], None) if half == 0 else (None, a_pair[1]))
    started()
    before = tree(machine)
    assert started() == REFUSED
    assert "[pair-half]" in capsys.readouterr().err
    assert tree(machine) == before


@pytest.mark.parametrize("half", [0, 1], ids=["key only", "certificate only"])
def test_half_a_pair_does_not_matter_in_tcp(machine, started, capsys, a_pair, half):
    use(machine, b"TLS_OFF\n", (a_pair[0], None) if half == 0 else (None, a_pair[1]))
    assert started() == TCP
    assert capsys.readouterr().err == ""


def pem_pair(kind):
    key = pem.key_of(kind)
    return key, pem.certificate_for(key)


UNUSABLE = {
    "key empty": (lambda: (b"", pem_pair("prime256v1")[1]), "catcher.key is empty"),
    "certificate truncated": (lambda: (pem_pair("prime256v1")[0], b"-----BEGIN CERTIFICATE-----\nMII"),
                              "catcher.crt is truncated"),
    "not PEM": (lambda: (b"\0\1", b"\2\3"), "catcher.key is not PEM"),
    "not matching": (lambda: (pem_pair("prime256v1")[0], pem_pair("prime256v1")[1]), "does not belong to catcher.key"),
    "unsupported": (lambda: pem_pair("secp256k1"), "an EC key on secp256k1, which the catcher does not support"),
}


@pytest.mark.parametrize("name", sorted(UNUSABLE))
def test_an_unusable_pair_is_refused_with_the_reason(machine, started, capsys, name):
    material, reason = UNUSABLE[name]
    use(machine, b"TLS_ON\n", material())
    assert started() == REFUSED
    errors = capsys.readouterr().err
    assert "[pair-unusable]" in errors and reason in errors
    assert "Traceback" not in errors and len(errors.splitlines()) == 1
    # The failure is not remembered. Its cause may not be in the files, which stay the same when it is over.
    assert stamp.parse(machine.get(paths.STAMP)).checked_pair is None


def test_an_unreadable_pair_is_refused(machine, started, capsys, a_pair):
    use(machine, b"TLS_ON\n", (None, a_pair[1]))
    machine.make_dir(paths.KEY, 0o700)
    assert started() == REFUSED
    assert "[pair-unusable]" in capsys.readouterr().err


@pytest.mark.parametrize("shift,told", [(-8000, "pair-not-yet-valid"), (8000, "pair-expired")])
def test_expired_or_not_yet_valid_starts_with_a_warning(machine, started, capsys, a_pair, shift, told):
    use(machine, b"TLS_ON\n", a_pair)
    machine.time = machine.now() + shift * 24 * 3600
    for _ in range(2):
        assert started() == TLS
        assert "[%s]" % told in capsys.readouterr().err


def test_a_weak_key_starts_with_a_warning(machine, started, capsys):
    use(machine, b"TLS_ON\n", pem_pair("rsa-1024"))
    assert started() == TLS
    assert "the RSA key has 1024 bits" in capsys.readouterr().err


@pytest.mark.parametrize("conf", [b"port=50003\n", None], ids=["settings", "none"])
def test_the_reference_catcher_gets_a_note_of_its_settings(machine, started, a_pair, conf):
    """catcherctl status compares it with the file."""
    use(machine, b"TLS_ON\n", a_pair)
    assert started() == TLS and machine.environment == {}
    os.makedirs(machine.on_disk(reference.PROGRAM))
    if conf is not None:
        machine.put(reference.CONF, conf)
    assert started() == TLS and machine.environment == reference.note(machine) != {}


def test_a_key_that_others_can_read_starts_with_a_warning_and_stays_so(machine, started, capsys, a_pair):
    use(machine, b"TLS_ON\n", a_pair)
    os.chmod(machine.on_disk(paths.KEY), 0o644)
    assert started() == TLS
    assert "[pair-key-readable]" in capsys.readouterr().err
    assert machine.mode(paths.KEY) == 0o644


def test_a_pair_that_cannot_be_judged_starts(machine, started, capsys, a_pair, monkeypatch):
    from catcher_install.cert import check

    monkeypatch.setattr(check, "_ask_openssl", lambda *arguments: {"unknown": "cannot allocate memory"})
    use(machine, b"TLS_ON\n", a_pair)
    assert started() == TLS
    assert "[pair-unchecked]" in capsys.readouterr().err
    # The failure is not remembered: the next run asks again.
    monkeypatch.undo()
    assert stamp.parse(machine.get(paths.STAMP)).checked_pair is None


# -- where no key is made ----------------------------------------------------------------------------------------------

def test_a_start_in_a_chroot_makes_no_key_and_is_refused(machine, started, capsys):
    machine.chroot = True
    use(machine, b"TLS_ON\n")
    assert started() == REFUSED
    assert "[pair-not-generated]" in capsys.readouterr().err
    assert pair.look(machine).state == pair.NONE


def test_a_start_in_a_chroot_serves_tcp(machine, started):
    machine.chroot = True
    use(machine, b"TLS_OFF\n")
    assert started() == TCP


def test_without_systemd_a_start_makes_the_pair(machine, started, quick_pair):
    """A container whose PID 1 is not systemd: somebody runs CSUTKEcat start there on purpose."""
    machine.booted = False
    assert started() == TLS
    assert machine.get(paths.KEY) == quick_pair[0]


def test_a_start_makes_the_pair_where_a_scriptlet_had_no_network(machine, started, quick_pair):
    machine.host_network = False
    apply.converge(machine, FRESH)
    assert pair.look(machine).state == pair.NONE
    machine.host_network = True
    assert started() == TLS


def test_a_pair_that_cannot_be_made_is_refused_with_the_reason(machine, started, capsys, monkeypatch):
    from catcher_install.cert import generate
    from catcher_install.errors import CatcherError

    def fail(host, names, wish):
        why = "python3-cryptography cannot be used, and openssl req failed"
        raise CatcherError(why, "install the package python3-cryptography")

    monkeypatch.setattr(generate, "generate", fail)
    assert started() == REFUSED
    errors = capsys.readouterr().err
    assert "openssl req failed" in errors and "install the package python3-cryptography" in errors


# -- what hooks could not do -------------------------------------------------------------------------------------------

def test_the_first_start_of_a_fresh_host_without_scriptlets_sets_tls(machine, started, quick_pair, capsys):
    assert started() == TLS
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    assert stamp.parse(machine.get(paths.STAMP)).mode == config.TLS
    # Each change is reported once.
    assert capsys.readouterr().err == (
        "write configuration TLS_ON: TLS is possible; make pair: neither catcher.key nor catcher.crt is there\n")
    assert started() == TLS and capsys.readouterr().err == ""


def test_what_was_changed_by_hand_is_told_once(machine, started, quick_pair, capsys):
    """An editor or cp changed the file. Only the next start sees that."""
    assert started() == TLS
    capsys.readouterr()
    key = pem.key_of("prime256v1")
    machine.put(paths.KEY, key, 0o600)
    machine.put(paths.CERTIFICATE, pem.certificate_for(key))
    assert started() == TLS
    assert "catcher.key and catcher.crt were replaced by other files\n" in capsys.readouterr().err
    machine.put(paths.CONF, b"# by hand\nTLS_OFF\n")
    assert started() == TCP
    assert "catcher.conf was edited: the mode was TLS and is TCP\n" in capsys.readouterr().err
    assert started() == TCP
    assert "were replaced" not in capsys.readouterr().err


def test_the_first_start_of_a_fresh_host_without_tls_sets_tcp(machine, started, capsys):
    machine.tls_possible(False)
    assert started() == TCP
    assert machine.get(paths.CONF) == b"TLS_OFF\n"
    assert "[tls-not-possible]" in capsys.readouterr().err


GROUPS_OF_7 = b"root:x:0:\ncca_admin:x:990:\n"


def test_the_first_start_after_an_upgrade_without_scriptlets_keeps_tcp(machine, started, capsys):
    machine.put("/etc/group", GROUPS_OF_7)
    assert started() == TCP
    assert machine.get(paths.CONF) == b"TLS_OFF\n"
    assert "[upgraded-tcp-kept]" in capsys.readouterr().err
    assert pair.look(machine).state == pair.NONE


# What the host had before, and the daemon's argv, which must be the same although nothing can be written.
READ_ONLY = {
    "legacy, no conf": (lambda machine: machine.put("/etc/group", GROUPS_OF_7), TCP),
    "legacy, conf without directive": (
        lambda machine: (machine.put("/etc/group", GROUPS_OF_7), machine.put(paths.CONF, b"# x\n")), TCP),
    "8.x in TCP, conf removed": (
        lambda machine: machine.put(paths.STAMP, b'{"format_version": 1, "mode": "tcp", "findings": []}\n'), TCP),
    "TLS_OFF": (lambda machine: machine.put(paths.CONF, b"TLS_OFF\n"), TCP),
}


@pytest.mark.parametrize("name", sorted(READ_ONLY))
def test_a_read_only_host_keeps_its_mode(machine, started, capsys, name):
    prepare, argv = READ_ONLY[name]
    prepare(machine)
    before = tree(machine)
    with fault(n=1, error=errno.EROFS, lasting=True):
        result = started()
    assert tree(machine) == before
    assert result == argv, capsys.readouterr().err


def test_a_read_only_host_with_a_pair_speaks_tls(machine, started, capsys, a_pair):
    use(machine, b"TLS_ON\n", a_pair)
    with fault(n=1, error=errno.EROFS, lasting=True):
        assert started() == TLS
    assert "Traceback" not in capsys.readouterr().err


def test_a_read_only_var_alone(machine, started, quick_pair, capsys):
    """This happens in a build with rpm-ostree, or with a broken mount."""
    os.rmdir(machine.on_disk(paths.STATE_DIR))
    machine.put(paths.STATE_DIR, b"not a directory")
    for _ in range(2):
        assert started() == TLS
        assert "[write-failed]" in capsys.readouterr().err


# -- outside of the sandbox --------------------------------------------------------------------------------------------


def test_the_pair_is_made_before_the_sandboxed_start(machine, started, quick_pair, capsys):
    machine.put(paths.STAMP, stamp.render(stamp.EMPTY))
    assert launch.make_pair([]) == 0
    assert machine.executed is None and "[conf-was-missing]" in capsys.readouterr().err
    before = tree(machine)
    with fault(n=1, error=errno.EROFS, lasting=True):
        assert started() == TLS
    assert tree(machine) == before
    assert "[conf-was-missing]" not in capsys.readouterr().err


def test_nothing_is_made_in_a_directory_that_the_start_will_not_see(machine, started, monkeypatch, quick_pair):
    """systemd also runs this before a start, but without the sandbox."""
    monkeypatch.setattr(type(machine), "is_run_by_systemd", lambda self: True)
    os.makedirs(machine.on_disk("/home/cca"))
    elsewhere(machine, "/home/cca")
    assert launch.make_pair([]) == 0
    assert machine.names("/home/cca") == [] and machine.get(paths.KEY) is None


def test_what_stays_wrong_is_told_once(machine, started, capsys, a_pair):
    use(machine, b"TLS_MAYBE\n", a_pair)
    assert launch.make_pair([]) == 0
    assert capsys.readouterr().err == ""
    assert started() == REFUSED
    assert capsys.readouterr().err.count("[conf-unusable]") == 1


def test_while_the_clock_is_not_set_there_is_no_start_that_could_judge_otherwise(
        machine, started, capsys, monkeypatch, quick_pair):
    """If the clock was set a moment later, the start would look for a pair that nobody has made."""
    use(machine, b"TLS_ON\n")
    with monkeypatch.context() as patched:
        patched.setattr(type(machine), "now", lambda self: 0.0)
        assert launch.make_pair([]) == launch.AGAIN
    assert "[clock-unset]" in capsys.readouterr().err and machine.get(paths.KEY) is None
    assert launch.make_pair([]) == 0
    assert (machine.get(paths.KEY), machine.get(paths.CERTIFICATE)) == quick_pair


def test_a_fault_before_the_start_does_not_end_it(machine, started, capsys, monkeypatch, a_pair):
    use(machine, b"TLS_ON\n", a_pair)
    with monkeypatch.context() as patched:
        patched.setattr(apply, "converge", lambda *arguments: 1 / 0)
        assert launch.make_pair([]) == 0
    assert "internal fault: ZeroDivisionError" in capsys.readouterr().err
    assert started() == TLS


# -- rule 3: exec ------------------------------------------------------------------------------------------------------

def test_a_missing_daemon_is_refused(machine, started, capsys, a_pair):
    use(machine, b"TLS_ON\n", a_pair)
    machine.remove(paths.CATCHER)
    assert started() == REFUSED
    assert "[payload-missing]" in capsys.readouterr().err


def test_a_daemon_that_is_not_executable_is_refused(machine, started, capsys):
    use(machine, b"TLS_OFF\n")
    os.chmod(machine.on_disk(paths.CATCHER), 0o644)
    assert started() == REFUSED
    assert "[payload-missing]" in capsys.readouterr().err


def test_a_daemon_that_cannot_be_executed(machine, started, capsys, monkeypatch):
    def fail(program, argv, environment):
        raise OSError(errno.ENOEXEC, "Exec format error")

    monkeypatch.setattr(machine, "execute", fail)
    use(machine, b"TLS_OFF\n")
    assert started() == 1
    assert capsys.readouterr().err == (
        "/opt/IBM/CCA/bin/catcher.exe cannot be executed: Exec format error -- reinstall the package csulcca\n")


def test_lines_for_the_journal_have_a_priority(machine, started, capsys, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    use(machine, b"TLS_ON\nTLS_OFF\n")
    started()
    assert capsys.readouterr().err.startswith("<3>")
    machine.tls_possible(False)
    use(machine, b"TLS_ON\n")
    started()
    assert capsys.readouterr().err.startswith("<4>configured TLS, running TCP: ")


def test_a_fault_of_ours_is_one_line(machine, started, capsys, monkeypatch):
    import syslog

    def fail(*arguments):
        raise ZeroDivisionError("division by zero")

    logged = []
    monkeypatch.setattr(syslog, "syslog", lambda priority, line: logged.append(line))
    monkeypatch.setattr(launch.start, "launch_decision", fail)
    assert started() == 1
    errors = capsys.readouterr().err
    assert "ZeroDivisionError" in errors and "Traceback" not in errors
    assert "Traceback (most recent call last):" in logged


@pytest.mark.parametrize("arguments", [[], ["begin"], ["start", "now"], ["--Help"], [""], ["START"]])
def test_a_wrong_command_line_shows_the_usage(machine, monkeypatch, capsys, arguments):
    monkeypatch.setattr(launch, "Host", lambda: machine)
    assert launch.main(arguments) == 2
    assert capsys.readouterr().err == "usage: CSUTKEcat start | check | stop | restart | status\n"


@pytest.mark.parametrize("word", ["help", "--help", "-h"])
def test_help_is_no_mistake(machine, monkeypatch, capsys, word):
    monkeypatch.setattr(launch, "Host", lambda: machine)
    assert launch.main([word]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("usage: CSUTKEcat start | check") and "man CSUTKEcat" in said.out and said.err == ""


def another_user(machine, monkeypatch, unreadable):
    """The control script is started by a user who may not read a file."""
    real = machine.read

    def read(path, limit, head=False, **more):
        if path == unreadable:
            raise PermissionError(13, "Permission denied", path)
        return real(path, limit, head, **more)

    monkeypatch.setattr(machine, "read", read)
    monkeypatch.setattr(machine, "is_root", lambda: False)
    monkeypatch.setattr(launch, "Host", lambda: machine)


@pytest.mark.parametrize("verb,command", [
    ("start", "systemctl start CSUTKEcat"), ("check", "/opt/IBM/CCA/bin/CSUTKEcat check")])
def test_a_user_is_told_what_only_root_may_read(machine, monkeypatch, capsys, verb, command):
    """Nothing is said about an unusable key, because the user cannot see it."""
    another_user(machine, monkeypatch, paths.STAMP)
    before = tree_of(machine)
    assert launch.main([verb]) == 1
    assert capsys.readouterr().err == (
        "only root may read what a start depends on: /var/lib/csulcca/state.json"
        " -- run it as root: sudo %s\n" % command)
    assert tree_of(machine) == before


def test_a_unit_with_another_user_is_not_started_for_ever(machine, monkeypatch, capsys):
    """User= in a drop-in. systemd repeats every other failure."""
    another_user(machine, monkeypatch, paths.KEY)
    monkeypatch.setattr(type(machine), "is_run_by_systemd", lambda self: True)
    assert launch.main(["start"]) == launch.REFUSED
    assert capsys.readouterr().err == (
        "only root may read what a start depends on: /opt/IBM/CCA/bin/catcher.key"
        " -- remove User= from the unit's drop-in: systemctl cat CSUTKEcat\n")


# -- the memory of the verdict -----------------------------------------------------------------------------------------

SECOND_START = """
import sys
sys.path.insert(0, sys.argv[1])
from tests.unit.support import Executed, Machine, OPENSSL_3
from catcher_install import launch, paths
machine = Machine(sys.argv[2])
machine.programs[paths.OPENSSL] = (0, OPENSSL_3)
launch.Host = lambda: machine
try:
    print(launch.main(["start"]))
except Executed:
    print(machine.executed[1])
print(sorted(name for name in sys.modules if name.split(".")[0] == "cryptography"))
"""


def second_start(machine):
    """Start in a process of its own. Return (what it executed, the modules of cryptography that it imported)."""
    argv = child_python() + ["-c", SECOND_START, TREE, machine.base]
    output = subprocess.check_output(argv, stderr=subprocess.STDOUT)
    lines = output.decode("utf-8").splitlines()
    return lines[-2], lines[-1]


def test_a_second_start_does_not_load_cryptography(machine, started, a_pair):
    use(machine, b"TLS_ON\n", a_pair)
    assert started() == TLS
    assert second_start(machine) == (str(TLS), "[]")


def test_a_changed_file_is_judged_again(machine, started, a_pair, capsys):
    use(machine, b"TLS_ON\n", a_pair)
    assert started() == TLS
    use(machine, material=(pem.key_of("prime256v1"), None))
    assert started() == REFUSED
    use(machine, material=a_pair)
    assert started() == TLS


def test_a_pair_behind_links_is_judged_at_each_start(machine, started, a_pair, capsys):
    use(machine, b"TLS_ON\n", (None, a_pair[1]))
    machine.put("/etc/pki/key", a_pair[0], 0o600)
    machine.put_link(paths.KEY, "/etc/pki/key")
    assert started() == TLS
    machine.put("/etc/pki/key", b"", 0o600)
    assert started() == REFUSED


def test_a_second_start_writes_nothing(machine, started, quick_pair):
    assert started() == TLS
    before = tree(machine)
    assert started() == TLS
    assert tree(machine) == before


# -- Type=forking, and no systemd at all -------------------------------------------------------------------------------

FORKING = b"[Service]\nType = forking\nPIDFile=/run/catcher.pid\nExecStart=/opt/IBM/CCA/bin/CSUTKEcat start\n"


class Left(BaseException):
    """The parent of a fork ends."""


@pytest.fixture
def forking(machine, monkeypatch):
    machine.put(paths.UNIT_ADMIN, FORKING)
    machine.ensure_dir("/run")
    use(machine, b"TLS_OFF\n")
    return machine


def test_an_edited_unit_of_7x_is_told(forking, started, capsys):
    assert started() == TCP
    assert "[unit-forking]" in capsys.readouterr().err


def test_type_forking_parent_writes_the_pid_and_ends(forking, started, monkeypatch, capsys):
    def leave(status):
        raise Left(status)

    monkeypatch.setattr(os, "fork", lambda: 4711)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setenv("INVOCATION_ID", "x")
    with pytest.raises(Left) as raised:
        launch.main(["start"])
    assert raised.value.args == (0,)
    assert forking.get("/run/catcher.pid") == b"4711\n"


def test_type_forking_child_becomes_the_daemon(forking, started, monkeypatch, capsys):
    sessions = []
    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "setsid", lambda: sessions.append(1))
    monkeypatch.setenv("INVOCATION_ID", "x")
    assert started() == TCP
    assert sessions == [1]
    assert forking.get("/run/catcher.pid") is None


def test_type_forking_by_hand_stays_in_the_foreground(forking, started, monkeypatch, capsys):
    def fork():
        raise AssertionError("forked")

    monkeypatch.setattr(os, "fork", fork)
    assert started() == TCP


@pytest.mark.parametrize("place", sorted({
    *paths.UNIT_PLACES, "/usr/lib/systemd/system/" + paths.UNIT, paths.UNIT_ADMIN + ".d/override.conf"}))
def test_type_forking_of_any_file_of_an_administrator(machine, started, monkeypatch, place):
    """Our unit with a drop-in has a /run that cannot be written: hooks/wait-for-start leaves the PIDFile."""
    def leave(status):
        raise Left(status)

    machine.put(place, FORKING)
    use(machine, b"TLS_OFF\n")
    monkeypatch.setattr(os, "fork", lambda: 4711)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setenv("INVOCATION_ID", "x")
    real = machine.replace

    def replace(path, *rest, **named):
        if path == "/run/catcher.pid":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return real(path, *rest, **named)

    monkeypatch.setattr(machine, "replace", replace)
    with pytest.raises(Left) as raised:
        launch.main(["start"])
    assert raised.value.args == (0,)


def test_the_last_type_of_the_units_files_counts(machine):
    from catcher_install.facts import collect

    machine.put(paths.UNIT_ADMIN, FORKING)
    machine.put(paths.UNIT_ADMIN + ".d/10.conf", b"[Service]\nType=simple\n")
    assert not collect(machine).unit.forking
    machine.put(paths.UNIT_ADMIN + ".d/20.conf", b"[Service]\nType=forking\n")
    machine.put(paths.UNIT_ADMIN + ".d/30.conf~", b"[Service]\nType=simple\n")
    assert collect(machine).unit.forking


@pytest.mark.parametrize("command,wanted", [
    ("", True), ("/opt/IBM/CCA/bin/CSUTKEcat start", True),
    ("/bin/sh -c 'exec /opt/IBM/CCA/bin/CSUTKEcat start'", True),
    ("/bin/sh -c '/opt/IBM/CCA/bin/CSUTKEcat start & sleep 1'", False), ("/usr/local/bin/mine", False)])
def test_a_command_that_goes_into_the_background_itself_stays_in_the_foreground(machine, command, wanted):
    from catcher_install.facts import collect

    drop_in = "[Service]\nType=forking\nExecStart=\nExecStart=%s\n" % command
    machine.put(paths.UNIT_ADMIN + ".d/10.conf", drop_in.encode("ascii"))
    assert collect(machine).unit.forking is wanted


@pytest.mark.parametrize("unit", [b"[Service]\nType=simple\n", b"[Service]\n# Type=forking\n", b"\xff\0", b""])
def test_other_edited_units_are_not_forking(machine, started, unit):
    machine.put(paths.UNIT_ADMIN, unit)
    use(machine, b"TLS_OFF\n")
    from catcher_install.facts import collect

    assert not collect(machine).unit.forking


@pytest.mark.parametrize("verb", ["stop", "restart", "status"])
def test_where_systemd_runs_it_does_the_rest(machine, started, verb):
    machine.put("/usr/bin/systemctl", b"", 0o755)
    with pytest.raises(Executed):
        launch.main([verb])
    assert machine.executed == ("/usr/bin/systemctl", ["systemctl", verb, "CSUTKEcat.service"])


REFUSALS = {
    "an unusable configuration": (b"TLS_ON\nTLS_OFF\n", True, REFUSED, "[conf-unusable]"),
    "half a pair": (b"TLS_ON\n", None, REFUSED, "[pair-half]"),
    "OpenSSL does not answer": (b"TLS_ON\n", "killed", launch.AGAIN, "[tls-not-known]"),
}


@pytest.mark.parametrize("name", sorted(REFUSALS))
def test_restart_of_what_would_not_start_says_why_and_stops_nothing(machine, started, capsys, a_pair, name):
    conf, possible, wanted, told = REFUSALS[name]
    machine.systemctl()
    use(machine, conf, a_pair)
    if possible is None:
        os.unlink(machine.on_disk(paths.CERTIFICATE))
    if possible == "killed":
        machine.programs[paths.OPENSSL] = UNKNOWN["killed"]
    before = tree(machine)
    assert launch.main(["restart"]) == wanted
    said = capsys.readouterr().err
    assert told in said and "not restarted, because the catcher would not start again" in said
    assert tree(machine) == before and machine.executed is None and machine.systemctl_calls() == []


def test_settings_of_the_daemon_that_cannot_be_used_are_foreseen(machine, started, capsys, a_pair):
    machine.systemctl()
    use(machine, b"TLS_OFF\n", a_pair)
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(reference.CONF, b"backend=127.0.0.1:9\nbackend=127.0.0.1:9\n")
    assert launch.main(["restart"]) == REFUSED and machine.systemctl_calls() == []
    said = capsys.readouterr().err
    assert "[settings-unusable]" in said and "line 2: backend= is set a second time" in said and "not restarted" in said
    assert launch.main(["check"]) == REFUSED
    assert capsys.readouterr().out.endswith("refused\n")


def test_without_systemd_status_and_stop_work_on_the_process(machine, started, capsys):
    machine.booted = False
    use(machine, b"TLS_OFF\n")
    assert started("status") == 3
    machine.processes[4711] = [paths.CATCHER, "-tls"]
    assert started("status") == 0
    assert capsys.readouterr().out == "catcher.exe is not running\ncatcher.exe is running, PID 4711\n"
    assert started("stop") == 0
    assert machine.processes == {}
    machine.processes[4712] = [paths.CATCHER]
    assert started("restart") == TCP
    assert machine.processes == {}


@pytest.mark.parametrize("words", [
    ["vi", paths.CATCHER], ["tail", "-f", paths.CATCHER], ["gdb", "--args", paths.CATCHER],
])
def test_stop_without_systemd_ends_nobody_else(machine, started, words):
    """A program that edits, watches or debugs the file is not the catcher."""
    machine.booted = False
    machine.processes[4713] = words
    assert started("stop") == 0
    assert 4713 in machine.processes


def test_stop_without_systemd_and_without_root_says_who_may(machine, started, monkeypatch, capsys):
    machine.booted = False
    machine.processes[4711] = [paths.CATCHER]

    def refuse(pid):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(machine, "terminate", refuse)
    assert started("stop") == launch.FAILED
    assert capsys.readouterr().err == (
        "only root may stop the catcher -- run it as root: sudo /opt/IBM/CCA/bin/CSUTKEcat stop\n")


def test_stop_of_a_unit_like_7x_does_not_ask_systemd_to_stop_that_unit(machine, started, monkeypatch):
    """The stop waits for ExecStop=, which would wait for the stop."""
    machine.systemctl((0, b"MainPID=4711\n"))
    monkeypatch.setattr(type(machine), "is_run_by_systemd", lambda self: True)
    machine.processes[4711] = [paths.CATCHER]
    assert started("stop") == 0
    assert machine.processes == {}
    assert [call[0] for call in machine.systemctl_calls()] == ["show"]


def test_the_reference_catcher_is_found_behind_its_interpreter(machine, started):
    machine.booted = False
    machine.processes[4714] = ["/usr/bin/python3", "-I", paths.CATCHER, "-tls"]
    started("stop")
    assert machine.processes == {}


# -- two at once -------------------------------------------------------------------------------------------------------

RACE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tests.unit.support import Machine, OPENSSL_3
from catcher_install import apply, paths, transition
from catcher_install.cert import check, crypto, generate
machine = Machine(sys.argv[2])
machine.programs[paths.OPENSSL] = (0, OPENSSL_3)
mark = b"of process %d" % os.getpid()
generate.generate = lambda host, names, wish: (b"key " + mark, b"certificate " + mark)
check.check = lambda host, key, crt: check.unusable("")
sys.stdin.read(1)
apply.converge(machine, transition.of(transition.START))
"""


def test_several_starts_at_once_make_one_pair(tmp_path):
    for number in range(5):
        machine = installed(tmp_path / str(number))
        children = [subprocess.Popen(child_python() + ["-c", RACE, TREE, machine.base], stdin=subprocess.PIPE)
                    for _ in range(4)]
        for child in children:
            child.stdin.write(b"x")
            child.stdin.flush()
        assert [child.wait() for child in children] == [0] * 4
        for child in children:
            child.stdin.close()
        key, crt = machine.get(paths.KEY), machine.get(paths.CERTIFICATE)
        assert key.split(b" ", 1)[1] == crt.split(b" ", 1)[1]
        assert machine.names(paths.BIN) == ["catcher.crt", "catcher.exe", "catcher.key"]
        made = stamp.parse(machine.get(paths.STAMP)).generated_pair
        assert made == pair.fingerprint(key, crt)


# -- the port ----------------------------------------------------------------------------------------------------------

@pytest.fixture
def under_systemd(machine, monkeypatch):
    """A start by systemd; pauses and looks at the port are counted."""
    use(machine, b"TLS_OFF\n")
    monkeypatch.setattr(type(machine), "is_run_by_systemd", lambda self: True)
    machine.pauses, machine.free_after = [], 0
    monkeypatch.setattr(machine, "pause", machine.pauses.append, raising=False)
    monkeypatch.setattr(machine, "can_bind", lambda *asked: len(machine.pauses) >= machine.free_after, raising=False)
    return machine


@pytest.mark.parametrize("free_after,pauses", [(0, 0), (1, 1), (3, 3), (67, 67),
                                               (99, launch.PORT_SECONDS)])
def test_a_port_that_is_taken_is_waited_for(under_systemd, started, capsys, free_after, pauses):
    """After that the daemon is started all the same: it may have been told to listen elsewhere. 67 seconds is the
    latest end of a closed connection: 60, and an eighth by which a timer of the kernel may be late."""
    under_systemd.free_after = free_after
    assert started() == TCP
    assert under_systemd.pauses == [1] * pauses
    assert capsys.readouterr().err.count("[port-waiting]") == (1 if pauses else 0)


@pytest.mark.parametrize("listen,pauses", [("127.0.0.2", 0), ("::ffff:127.0.0.2", 0), ("127.0.0.2, 127.0.0.3", 0),
                                           ("127.0.0.2,127.0.0.1", launch.PORT_SECONDS), (None, launch.PORT_SECONDS),
                                           ("0.0.0.0", launch.PORT_SECONDS)])
@pytest.mark.parametrize("payload", ["the reference catcher", "the vendor's"])
def test_a_port_is_waited_for_where_the_daemon_listens(machine, started, monkeypatch, payload, listen, pauses):
    """Another program may have it on an address that is not the catcher's."""
    use(machine, b"TLS_OFF\n")
    monkeypatch.setattr(type(machine), "is_run_by_systemd", lambda self: True)
    machine.pauses = []
    machine.pause = machine.pauses.append
    if payload == "the reference catcher":
        os.makedirs(machine.on_disk(reference.PROGRAM))
    monkeypatch.setattr(paths, "PORT", free_port())
    line = "" if listen is None else "# one\n listen = %s \n" % listen
    machine.put(reference.CONF, ("port=%d\n%s" % (paths.PORT, line)).encode("ascii"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", paths.PORT))
        other.listen(1)
        assert started() == TCP
    assert len(machine.pauses) == (pauses if payload == "the reference catcher" else launch.PORT_SECONDS)


def test_a_start_by_hand_does_not_wait_for_the_port(under_systemd, started, monkeypatch):
    under_systemd.free_after = 99
    monkeypatch.setattr(type(under_systemd), "is_run_by_systemd", lambda self: False)
    assert started() == TCP and under_systemd.pauses == []


@pytest.mark.parametrize("running", [True, False], ids=["it ran", "it had just ended"])
@pytest.mark.parametrize("free_after,pauses", [(0, 0), (3, 3), (99, launch.PORT_SECONDS)])
def test_a_restart_without_systemd_waits_until_the_old_catcher_has_left_the_port(
        under_systemd, started, monkeypatch, capsys, free_after, pauses, running):
    """The old catcher ends its streams first, and closed connections keep the port. Nothing would start it later."""
    machine = under_systemd
    machine.booted, machine.free_after = False, free_after
    monkeypatch.setattr(type(machine), "is_run_by_systemd", lambda self: False)
    if running:
        machine.processes[4711] = [paths.CATCHER]
    assert started("restart") == TCP
    assert machine.processes == {} and len(machine.pauses) == pauses
    assert capsys.readouterr().err.count("[port-waiting]") == (pauses > 0)


def test_a_start_that_is_refused_does_not_wait_for_the_port(under_systemd, started):
    under_systemd.free_after = 99
    under_systemd.put(paths.CONF, b"TLS_ON\nTLS_OFF\n")
    assert started() == launch.REFUSED and under_systemd.pauses == []
