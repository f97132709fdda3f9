"""catcherctl as it is typed: its exit status, which text goes to which stream, and that a refusal changes nothing."""

import argparse
import io
import json
import os
import subprocess

import pytest

from catcher_install import messages, paths, process, transition
from catcher_install.admin import cli, installed_pair
from catcher_install.errors import CatcherError

from .. import pem
from ..authority import issue
from ..daemon import Daemon, shown
from ..schema import conforms, name_for
from ..support import TREE, Machine, child_python, fault, installed, tree_of

VERBS = [[], ["status"], ["mode"], ["cert"], ["cert", "show"], ["cert", "check"], ["cert", "generate"],
         ["cert", "request"], ["cert", "install"], ["cert", "list"], ["cert", "restore"], ["cert", "export"],
         ["probe"], ["tke-guide"], ["plan"], ["apply"]]


@pytest.fixture
def machine(tmp_path, monkeypatch, set_up):
    """A running system in TLS mode, its catcher running; it is the Host of the command."""
    machine = installed(tmp_path)
    machine.enable()
    os.makedirs(machine.on_disk(paths.LIBRARY + "/x"))
    machine.put("/root/new.key", pem.key_of("prime256v1"), 0o600)
    machine.put("/root/new.crt", issue(machine.get("/root/new.key")))
    monkeypatch.setattr(cli, "Host", lambda root="/": machine)
    monkeypatch.setattr(cli, "forget_openssl_settings", lambda: None)
    daemon = Daemon(machine, monkeypatch)
    machine.daemon = daemon
    set_up(machine, transition.INSTALL)
    daemon.systemctl(["systemctl", "restart"], b"")
    daemon.restarts = 0
    yield machine
    daemon.stop()


class Ran:
    """The result of a command line."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def run(capsys):
    """Run catcherctl with these words. Both streams must be plain text without a traceback."""

    def call(*words):
        try:
            status = cli.main(list(words))
        except SystemExit as end:
            status = end.code
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        assert all(c == "\n" or " " <= c <= "~" for c in out + err)
        if "--json" in words and out:
            verb = words[:2] if words[0] == "cert" else words[:1]
            conforms(name_for("-".join(verb)), json.loads(out))
        return Ran(status, out, err)

    return call


def failed(ran, status=1):
    """Assert one line that says what is wrong, below it what to do, and nothing else."""
    assert ran.status == status, ran.err
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert 2 <= len(lines) <= 4, ran.err
    assert lines[0].startswith("catcherctl: ") and all(one.startswith("  ") and one.strip() for one in lines[1:])
    assert all(one.startswith("    ") for one in lines[2:])
    return lines[0]


# -- help and usage ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_help_has_the_usage_and_an_example(run, words):
    ran = run(*(words + ["--help"]))
    assert ran.status == 0 and ran.err == ""
    assert "usage: catcherctl" in ran.out
    if words:
        example = ran.out.split("examples:\n", 1)[1].splitlines()[0]
        assert example.startswith("  catcherctl " + words[0])


@pytest.mark.parametrize("words", [words for words in VERBS if words], ids=" ".join)
def test_each_example_is_understood(words):
    """Every line of the examples in --help parses."""
    import shlex

    parser = cli.parser(cli._fail)
    text = io.StringIO()
    for word in words:
        parser = [one for one in parser._actions if hasattr(one, "choices") and one.choices
                  and word in one.choices][0].choices[word]
    parser.print_help(text)
    examples = text.getvalue().split("examples:\n", 1)[1].splitlines()
    assert examples
    for line in examples:
        parts = shlex.split(line.split(">")[0], comments=True)
        assert parts[0] == "catcherctl"
        assert cli.parser(cli._fail).parse_args(parts[1:]).run in cli.VERBS


@pytest.mark.parametrize("typed,name", [
    ("tke1", "tke1"), ("Tke1.Example.COM", "Tke1.Example.COM"),
    # Clients compare letters, and a name in a certificate has no final dot (RFC 5280, 4.2.1.6).
    ("tke1.example.com.", "tke1.example.com"),
    # An administrator types the command of a hint, and only ASCII is shown unchanged.
    ("b\u00fccher.example", "xn--bcher-kva.example"), ("2001:DB8:0::1", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"),
    ("192.0.2.10", "192.0.2.10"),
])
@pytest.mark.parametrize("verb", ["cert generate", "cert request", "cert check", "cert install my.crt", "probe tke1"])
def test_a_name_is_as_certificates_have_it(typed, name, verb):
    options = cli.parser(cli._fail).parse_args(verb.split() + ["--name", typed])
    assert options.name == (name if verb.startswith("probe") else [name])


def test_without_a_verb_the_usage_is_shown(run):
    ran = run()
    assert ran.status == 2 and ran.out == "" and "usage: catcherctl" in ran.err
    ran = run("cert")
    assert ran.status == 2 and ran.out == "" and "usage: catcherctl cert" in ran.err


USAGE = {
    "an unknown verb": ["enable"],
    "an unknown verb of cert": ["cert", "renew"],
    "an unknown mode": ["mode", "ssl"],
    "an unknown option": ["status", "--yaml"],
    "too much": ["status", "now"],
    "no files": ["cert", "install"],
    "three files": ["cert", "install", "a", "b", "c"],
    "no directory": ["cert", "export"],
    "no host": ["probe"],
    "a port that is none": ["probe", "tke1:http"],
    "a port of 0": ["probe", "tke1:0"],
    "a port beyond all": ["probe", "tke1:65536"],
    "a host that is none": ["probe", "tke 1"],
    "an address that is none": ["probe", "[2001:db8::zz]:50003"],
    "a name that is none": ["cert", "check", "--name", "-x/../y"],
    "an empty name": ["cert", "install", "a", "b", "--name", ""],
    "a name with control characters": ["cert", "check", "--name", "\x1b[2J"],
    "an endless name": ["cert", "check", "--name", "a." * 5000],
    "a type that is none": ["cert", "generate", "--key-type", "ed25519"],
    "no days": ["cert", "generate", "--days", "0"],
    "too many days": ["cert", "generate", "--days", "36501"],
    "days that are none": ["cert", "generate", "--days=-1"],
    "a name to generate that is none": ["cert", "generate", "--name", "a b"],
    "a time that is none": ["probe", "tke1", "--timeout", "soon"],
    "no time": ["probe", "tke1", "--timeout", "0"],
    "not a time": ["probe", "tke1", "--timeout", "nan"],
    "bytes that are no text": ["\udcff\udcfe"],
    "a verb with line ends": ["sta\ntus"],
}


@pytest.mark.parametrize("words,verb", [
    (["status", "--yaml"], "catcherctl status"), (["cert", "show", "--force"], "catcherctl cert show"),
    (["cert", "request", "a"], "catcherctl cert request"), (["probe", "--json"], "catcherctl probe")])
def test_an_unknown_option_shows_the_usage_of_the_verb(run, words, verb):
    said = run(*words).err.splitlines()
    assert said[1].startswith("  usage: %s [-h] " % verb) and said[2:] == ["    %s --help" % verb]


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_nothing_has_colours(run, monkeypatch, words):
    """Python 3.14 colours usage and help in a terminal. An error would show the escape sequences as text."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    made = []
    start = argparse.ArgumentParser.__init__

    def noted(self, **given):
        start(self, **given)
        made.append(self)

    monkeypatch.setattr(argparse.ArgumentParser, "__init__", noted)
    assert "\\x1b" not in run(*(words + ["--bogus"])).err
    assert "\x1b" not in run(*(words + ["--help"])).out
    assert made and not any(getattr(parser, "color", True) for parser in made)


@pytest.mark.parametrize("name", sorted(USAGE))
def test_a_usage_error_changes_nothing(run, machine, name):
    before = tree_of(machine, times=True)
    failed(run(*USAGE[name]), status=2)
    assert tree_of(machine, times=True) == before


# -- what it does ------------------------------------------------------------------------------------------------------


def test_status_reports_and_its_exit_status_follows_the_findings(run, machine):
    ran = run("status")
    assert ran.status == 0 and ran.err == ""
    assert "TLS, configured and running" in ran.out and "Nothing needs attention." in ran.out
    assert json.loads(run("status", "--json").out)["format_version"] == 1
    machine.node = "tke9.example.com"
    ran = run("status")
    assert ran.status == 3 and "[pair-names-stale]" in ran.out
    assert run("status", "--json").status == 3


def test_mode_shows_sets_and_refuses(run, machine):
    ran = run("mode")
    assert (ran.status, ran.out) == (0, "tls\n")
    ran = run("mode", "tcp")
    assert ran.status == 0 and ran.err == "" and "clear the box" in ran.out
    assert shown(machine.daemon.port) == "tcp"
    assert run("mode").out == "tcp\n"
    machine.put(paths.CONF, b"TLS_ON\nTLS_OFF\n")
    ran = run("mode")
    assert ran.status == 3 and ran.out == "unusable: it says both TLS_ON and TLS_OFF\n"
    assert "both TLS_ON" in failed(run("mode", "tls"))
    ran = run("mode", "--json")
    assert ran.status == 3
    assert json.loads(ran.out)["configured"] is None and "both TLS_ON" in json.loads(ran.out)["problem"]


def test_mode_that_fails(run, machine):
    machine.daemon.behaviour = ["nothing", "obey"]
    assert "TCP does not work" in failed(run("mode", "tcp"))
    assert machine.get(paths.CONF) == b"TLS_ON\n"


def test_each_verb_of_cert_works_from_the_command_line(run, machine):
    ran = run("cert", "show")
    assert ran.status == 0 and "SHA-256" in ran.out
    assert json.loads(run("cert", "show", "--json").out)["algorithm"] == "EC secp521r1"
    ran = run("cert", "check", "--name", "tke1")
    assert ran.status == 0 and "Nothing needs attention." in ran.out
    ran = run("cert", "check", "--name", "tke2", "--json")
    assert ran.status == 3
    assert [one["id"] for one in json.loads(ran.out)["findings"]] == ["pair-name-missing"]
    ran = run("cert", "install", "/root/new.key", "/root/new.crt")
    assert ran.status == 0 and "it speaks TLS with exactly this certificate" in ran.out
    assert "already" in failed(run("cert", "generate"))
    ran = run("cert", "generate", "--force", "--no-restart")
    assert ran.status == 0 and "Not restarted, as you asked" in ran.out
    os.unlink(machine.on_disk(paths.KEY))
    ran = run("cert", "check")
    assert ran.status == 1 and "[pair-half]" in ran.out


def test_a_pair_that_could_not_be_checked_is_not_called_good(run, machine, monkeypatch):
    shown, _ = installed_pair.check(machine, [])
    unchecked = messages.finding("pair-unchecked", reason="cannot allocate memory")
    monkeypatch.setattr(installed_pair, "check", lambda host, names: (shown, [unchecked]))
    for words in (), ("--json",):
        assert run("cert", "check", *words).status == 1


def test_a_redirected_request_is_the_request_alone(run, machine):
    ran = run("cert", "request", "--name", "service.example.com")
    assert ran.status == 0
    assert ran.out.startswith("-----BEGIN CERTIFICATE REQUEST-----\n")
    assert ran.out.endswith("-----END CERTIFICATE REQUEST-----\n")
    assert "catcherctl cert install" in ran.err
    os.makedirs(machine.on_disk("/tmp"))
    ran = run("cert", "request", "--out", "/tmp/x.csr")
    assert ran.status == 0 and ran.err == "" and "Wrote the request" in ran.out
    assert "exists already" in failed(run("cert", "request", "--out", "/tmp/x.csr"))


def test_export_works_from_the_command_line(run, machine):
    os.makedirs(machine.on_disk("/mnt/usb"))
    ran = run("cert", "export", "/mnt/usb")
    assert ran.status == 0 and "Wrote /mnt/usb/catcher.crt" in ran.out
    assert "is not a directory" in failed(run("cert", "export", "/mnt/none"))


def test_probe_and_guide_work_from_the_command_line(run, machine):
    target = "127.0.0.1:%d" % machine.daemon.port
    ran = run("probe", target, "--name", "tke1.example.com")
    assert ran.status == 0 and "TLSv1" in ran.out
    fields = json.loads(run("probe", target, "--json").out)
    assert fields["format_version"] == 1 and fields["state"] == "tls"
    machine.daemon.stop()
    assert run("probe", target).status == 1
    ran = run("tke-guide")
    assert ran.status == 0 and "Enable SSL/TLS" in ran.out
    fields = json.loads(run("tke-guide", "tcp", "--json").out)
    assert fields["format_version"] == 1 and fields["enable_tls"] is False


def test_apply_does_what_plan_shows(run, machine):
    ran = run("plan")
    assert (ran.status, ran.out) == (0, "CCA 8 is set up on this host.\nNothing to do.\n")
    os.unlink(machine.on_disk(paths.CONF))
    before = tree_of(machine, times=True)
    ran = run("plan", "--json")
    assert tree_of(machine, times=True) == before
    fields = json.loads(ran.out)
    assert sorted(fields) == ["actions", "findings", "format_version", "history", "mode"]
    assert fields["format_version"] == 1 and fields["mode"] == "tls" and fields["history"] == "8.x upgrade"
    assert fields["actions"] == [
        {"kind": "write configuration", "why": "the mode of the last run", "data": "TLS_ON\n"}]
    assert [one["id"] for one in fields["findings"]] == ["conf-was-missing"] and ran.status == 3
    ran = run("apply")
    assert "done: write configuration" in ran.out and machine.get(paths.CONF) == b"TLS_ON\n"
    ran = run("apply")
    assert (ran.status, ran.out) == (0, "Nothing to do.\n")


def test_a_plan_without_root_says_what_it_cannot_see(run, machine, monkeypatch):
    real = machine.read

    def read(path, limit, head=False):
        if path == paths.STAMP:
            raise PermissionError(13, "Permission denied", path)
        return real(path, limit, head)

    monkeypatch.setattr(machine, "read", read)
    monkeypatch.setattr(machine, "is_root", lambda: False)
    ran = run("plan", "--json")
    assert failed(ran) == "catcherctl: only root may read what a plan depends on: /var/lib/csulcca/state.json"
    assert ran.err.endswith("  run it as root:\n    sudo catcherctl plan --json\n")
    # A dry run prints a plan, too, and quotes what was typed.
    ran = run("cert", "install", "a b", "c", "--dry-run")
    assert ran.err.endswith("  run it as root:\n    sudo catcherctl cert install 'a b' c --dry-run\n")
    assert failed(ran).startswith("catcherctl: only root may read what a plan depends on: ")
    assert run("status").status == 0


def test_a_mode_that_only_root_may_read_is_not_called_unusable(run, machine, monkeypatch):
    real = machine.read

    def read(path, limit, head=False, public=False):
        if path == paths.CONF:
            raise PermissionError(13, "Permission denied", path)
        return real(path, limit, head, public)

    monkeypatch.setattr(machine, "read", read)
    monkeypatch.setattr(machine, "is_root", lambda: False)
    ran = run("mode", "--json")
    assert failed(ran) == "catcherctl: only root may read /etc/cca/catcher.conf"
    assert ran.err.endswith("  run it as root:\n    sudo catcherctl mode --json\n")


def test_apply_and_mode_tell_scripts_what_was_done(run, machine):
    os.unlink(machine.on_disk(paths.CONF))
    ran = run("apply", "--json")
    told = json.loads(ran.out)
    assert "write configuration" in told["done"] and [one["id"] for one in told["findings"]] == ["conf-was-missing"]
    assert ran.status == 3 and machine.get(paths.CONF) == b"TLS_ON\n"
    ran = run("apply", "--json")
    assert ran.status == 0 and json.loads(ran.out)["done"] == []
    told = json.loads(run("mode", "--json").out)
    assert told["configured"] == "tls" and told["problem"] is None and told["done"] == []
    ran = run("mode", "tcp", "--json")
    told = json.loads(ran.out)
    assert ran.status == 0 and told["configured"] == "tcp"
    assert told["done"][0] == "Set the mode to TCP in /etc/cca/catcher.conf."
    assert machine.get(paths.CONF) == b"TLS_OFF\n"
    assert run("mode", "ssl", "--json").out == ""


# -- another root ------------------------------------------------------------------------------------------------------


@pytest.mark.real_programs
def test_no_key_is_made_below_a_root(run, tmp_path):
    for directory in ("usr/lib/csulcca", "opt/IBM/CCA/bin", "etc"):
        os.makedirs(str(tmp_path / directory))
    (tmp_path / "etc/cca").mkdir()
    (tmp_path / "etc/cca/catcher.conf").write_bytes(b"TLS_ON\n")
    ran = run("apply", "--root", str(tmp_path))
    assert ran.status in (0, 3)
    assert os.listdir(str(tmp_path / "opt/IBM/CCA/bin")) == []


@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_half_a_pair_in_another_root_is_seen_and_nothing_is_told_of_this_host(run, tmp_path, verb):
    tree = Machine(tmp_path)
    tree.put(paths.VERSION, b"8.0.0\n")
    tree.put(paths.CONF, b"TLS_ON\n")
    tree.put(paths.KEY, b"")
    ran = run(verb, "--root", str(tmp_path))
    where = "The paths and commands below are those of the system in %s." % tmp_path
    assert ran.status == 3
    assert ran.out.partition(where)[2].startswith("\n%s exists and %s does not" % (paths.KEY, paths.CERTIFICATE))


HOSTILE = ("/bin/true", "/bin/sh", "/usr/bin/openssl", "/usr/bin/getent", "/usr/bin/systemctl", "/usr/sbin/policy-rc.d")


@pytest.mark.real_programs
@pytest.mark.parametrize("conf", [b"TLS_ON\n", None], ids=["configured", "fresh"])
@pytest.mark.parametrize("verb", ["plan", "apply"])
def test_nothing_of_another_root_is_run(run, tmp_path, monkeypatch, verb, conf):
    """A plan for another root does not know yet which system that is, and changes nothing."""
    ran = []

    def hostile(*arguments):
        ran.append(arguments)
        return 0, b"OpenSSL 3.0.13 30 Jan 2024\n"

    monkeypatch.setattr(process, "run", hostile)
    tree = Machine(tmp_path)
    tree.put(paths.CATCHER, b"#!/bin/sh\n", 0o755)
    tree.put("/usr/lib64/libssl.so.3", b"")
    tree.put(paths.VERSION, b"8.0.0\n")
    for path in HOSTILE:
        tree.put(path, b"#!/bin/sh\n", 0o755)
    if conf is not None:
        tree.put(paths.CONF, conf)
    os.makedirs(tree.on_disk(paths.STATE_DIR))
    before = tree_of(tree, times=True)
    done = run(verb, "--root", str(tmp_path), "--json")
    assert done.status in (0, 3), done.err
    assert ran == []
    if verb == "plan":
        assert tree_of(tree, times=True) == before
    if conf is None:
        # Only the OpenSSL of that system can say which mode is possible.
        assert tree.get(paths.CONF) is None
        assert "tls-unknown" in [one["id"] for one in json.loads(done.out)["findings"]]


@pytest.mark.parametrize("words", [["status"], ["status", "--json"], ["plan"], ["tke-guide"], ["cert", "show"]])
def test_who_only_asks_makes_no_file(machine, run, words):
    before = tree_of(machine, times=True)
    with fault() as calls:
        assert run(*words).status in (0, 3)
    assert calls.log == [] and tree_of(machine, times=True) == before


# -- the process -------------------------------------------------------------------------------------------------------

ENTRY = os.path.join(TREE, "hooks", "entry.py")


def shell(text, **more):
    """Run a shell line in which CATCHERCTL is the command; (status, output, errors)."""
    program = " ".join(child_python() + [ENTRY, "catcherctl"])
    child = subprocess.Popen(["bash", "-c", text.replace("CATCHERCTL", program)], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, **more)
    out, err = child.communicate(timeout=60)
    return child.returncode, out.decode("utf-8"), err.decode("utf-8")


STREAMS = {
    "a reader of one line": ("CATCHERCTL --help | head -1 >/dev/null; exit ${PIPESTATUS[0]}", (0, 1), ""),
    "a full disk": ("CATCHERCTL --help >/dev/full", 1, "catcherctl: system: No space left on device\n"),
    "no standard output": ("CATCHERCTL --help >&-", 0, ""),
    "no standard error": ("CATCHERCTL nonsense 2>&-", 2, ""),
    "no stream at all": ("CATCHERCTL nonsense <&- >&- 2>&-", 2, ""),
    "an ASCII locale": ("LC_ALL=C CATCHERCTL tke-guide tcp >/dev/null", 0, ""),
    "no locale that exists": ("LC_ALL=xx_YY.UTF-8 CATCHERCTL tke-guide tcp >/dev/null", 0, ""),
    "OpenSSL settings of somebody's": (
        "OPENSSL_CONF=/dev/full OPENSSL_MODULES=/nowhere CATCHERCTL probe 127.0.0.1:1 >/dev/null", 1, ""),
}


@pytest.mark.parametrize("name", sorted(STREAMS))
def test_closed_and_broken_streams_cause_no_traceback(name):
    text, wanted, said = STREAMS[name]
    status, out, err = shell(text)
    assert status in (wanted if isinstance(wanted, tuple) else (wanted,)), err
    assert "Traceback" not in err and "Exception ignored" not in err and "warning" not in err.lower()
    assert err.startswith(said) and (said or err == "")


@pytest.mark.parametrize(
    "words", [["--help"], ["tke-guide", "tls", "--json"], ["probe", "127.0.0.1:1"], ["nonsense"]], ids=" ".join)
def test_a_reader_that_has_gone(words):
    """catcherctl ... | head: no message, and Python does not try to write again when it ends."""
    reader, writer = os.pipe()
    os.close(reader)
    child = subprocess.Popen(child_python() + [ENTRY, "catcherctl"] + words, stdout=writer, stderr=subprocess.PIPE,
                             stdin=subprocess.DEVNULL)
    os.close(writer)
    err = child.communicate(timeout=60)[1].decode("utf-8")
    assert (child.returncode, err) == (1, "") or words == ["nonsense"] and child.returncode == 2, err
    assert "ignored" not in err


def test_no_file_is_needed_to_say_what_is_wrong(tmp_path):
    """The current directory was removed."""
    gone = tmp_path / "gone"
    gone.mkdir()
    status, out, err = shell("cd %s && rmdir %s && CATCHERCTL cert export x" % (gone, gone))
    assert status == 1 and out == ""
    assert err.startswith("catcherctl: ") and "Traceback" not in err and len(err.splitlines()) == 3


def test_a_fault_of_ours_is_one_line_too(run, machine, monkeypatch):
    import syslog

    told = []
    monkeypatch.setattr(syslog, "syslog", lambda *words: told.append(words))
    monkeypatch.setattr(cli, "collect", lambda host: {}["nothing"])
    ran = run("plan")
    assert ran.status == 1 and ran.out == ""
    assert ran.err.splitlines()[0].startswith("csulcca: internal fault: KeyError")
    assert any("Traceback" in str(one) for one in told)


@pytest.mark.parametrize("user,error,line", [
    (0, CatcherError("it is so", "type this"), "catcherctl: it is so\n  type this\n"),
    (1000, PermissionError(13, "Permission denied", "/x"),
     "catcherctl: /x: Permission denied\n  run it as root:\n    sudo catcherctl plan\n"),
    (0, PermissionError(1, "Operation not permitted", "/.x.new", None, "/x"),
     "catcherctl: /x: Operation not permitted\n  if it is immutable (lsattr /x), make it writable: chattr -i\n"),
    (0, OSError(5, "Input/output error", "/x"),
     "catcherctl: /x: Input/output error\n  see what is wrong:\n    catcherctl status\n"),
    (0, KeyboardInterrupt(),
     "catcherctl: interrupted\n  see what is wrong:\n    catcherctl status\n"),
])
def test_an_error_is_one_line_and_a_hint(run, machine, monkeypatch, user, error, line):
    monkeypatch.setattr(os, "geteuid", lambda: user)

    def broken(host):
        raise error

    monkeypatch.setattr(cli, "collect", broken)
    ran = run("plan")
    assert (ran.status, ran.err) == (1, line)
