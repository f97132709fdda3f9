"""What the package manager's hooks run: exit status, what they say and where, and that nothing breaks a transaction."""

import errno
import os
import shutil
import subprocess
import sys
import syslog

import pytest

from catcher_install import apply, journal, paths, plan, scriptlet, transition
from catcher_install import host as host_module
from catcher_install.admin import daily_check
from catcher_install.admin import status as status_module

from . import pem
from .authority import DAY, issue
from .support import TREE, child_python, fault


@pytest.fixture
def log(machine, monkeypatch):
    """The scriptlet runs on the machine, and its syslog is this list of (priority, line)."""
    lines = []

    def write(priority, line):
        # Like the real program: it refuses NUL, and what UTF-8 cannot encode.
        line.encode("utf-8")
        assert "\0" not in line and "\n" not in line
        lines.append((priority, line))

    monkeypatch.setattr(syslog, "openlog", lambda tag: None)
    monkeypatch.setattr(syslog, "syslog", write)
    monkeypatch.setattr(host_module, "Host", lambda: machine)
    return lines


@pytest.mark.parametrize("arguments", [
    ["rpm", "1"], ["rpm", "2"], ["deb", "configure"], ["deb", "configure", "7.3.0-1"], ["deb", "triggered", "x"],
    ["deb", "abort-upgrade", "8.0"], ["deb", "abort-remove"],
])
def test_a_good_run(machine, log, quick_pair, arguments):
    assert scriptlet.main(arguments) == 0


def test_findings_go_to_the_journal_and_to_who_watches(machine, log, capsys):
    assert scriptlet.main(["deb", "configure", "7.3.0-1"]) == 0
    assert [priority for priority, _ in log] == [syslog.LOG_NOTICE, syslog.LOG_WARNING]
    # A change of the mode is told, too.
    assert log[0][1].startswith("write configuration TLS_OFF: CCA 7.3 and older spoke TCP only")
    assert "[upgraded-tcp-kept] -- to finish the TLS setup: catcherctl mode tls" in log[1][1]
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 6 and all(line.startswith("csulcca: ") for line in lines)
    assert lines[1:3] == ["csulcca:   to finish the TLS setup:", "csulcca:     catcherctl mode tls"]


@pytest.mark.parametrize("conf,priority", [(b"TLS_ON\nTLS_OFF\n", syslog.LOG_ERR), (b"# x\n", syslog.LOG_WARNING)])
def test_how_serious_it_is_is_the_priority(machine, log, quick_pair, conf, priority):
    machine.put(paths.CONF, conf)
    scriptlet.main(["rpm", "2"])
    assert [one for one, line in log if not line.startswith("make pair: ")] == [priority]


@pytest.mark.parametrize("arguments", [
    [], [""], ["rpm"], ["rpm", ""], ["rpm", "x"], ["rpm", "-1"], ["deb"], ["deb", ""], ["deb", "reconfigure"],
    ["pacman", "1"], ["deb", "x" * 5000], ["rpm", "\x1b[2J\n"], ["deb", "\udcff"], ["rpm", "\u20ac"],
])
def test_unknown_arguments_are_told_and_facts_decide(machine, log, capsys, quick_pair, arguments):
    assert scriptlet.main(arguments) == 0
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    told = [line for _, line in log if "[scriptlet-unknown]" in line]
    assert len(told) == 1 and len(told[0]) < 300
    errors = capsys.readouterr().err
    assert "Traceback" not in errors and len(errors.splitlines()) == 3
    assert all(line.isprintable() for line in errors.splitlines())


def test_unknown_arguments_never_make_a_legacy_host_a_fresh_one(machine, log):
    machine.put(paths.INIT_SCRIPT, b"")
    scriptlet.main(["rpm", "garbage"])
    assert machine.get(paths.CONF) == b"TLS_OFF\n"


@pytest.mark.parametrize("family,status", [("rpm", 0), ("deb", 1), ("", 0), ("pacman", 0)])
def test_an_internal_fault_is_a_finding_without_a_traceback(machine, log, capsys, monkeypatch, family, status):
    def fail(*arguments):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(plan, "plan", fail)
    assert scriptlet.main([family, "1"]) == status
    errors = capsys.readouterr().err
    assert errors.splitlines() == [
        "csulcca: internal fault: ZeroDivisionError: division by zero",
        "csulcca:   see: journalctl -t csulcca   then: catcherctl apply",
    ]
    assert "Traceback (most recent call last):" in [line for _, line in log]


@pytest.mark.parametrize("family", ["rpm", "deb"])
def test_what_the_environment_lacks_is_no_fault(machine, log, capsys, family):
    """No openssl, no catcher, no names, nothing can be written: the findings say so, and the transaction goes on."""
    machine.programs[paths.OPENSSL] = FileNotFoundError(2, "No such file or directory")
    for path in (paths.OPENSSL, paths.CATCHER, "/etc/group", "/etc/hosts", paths.VERSION):
        machine.remove(path)
    os.rmdir(machine.on_disk("/etc/cca"))
    machine.put("/etc/cca", b"a file")
    assert scriptlet.main([family] + (["1"] if family == "rpm" else ["configure"])) == 0
    assert "[conf-unusable]" in capsys.readouterr().err
    machine.remove("/etc/cca")
    with fault(n=1, error=errno.ENOSPC, lasting=True):
        assert scriptlet.main([family] + (["1"] if family == "rpm" else ["configure"])) == 0
    assert "[write-failed]" in capsys.readouterr().err


class Gone:
    """A standard error whose reader has gone."""

    def write(self, text):
        raise OSError(32, "Broken pipe")

    def flush(self):
        raise OSError(32, "Broken pipe")


@pytest.mark.parametrize("family,status", [("rpm", 0), ("deb", 1)])
def test_findings_that_neither_standard_error_nor_the_stamp_takes_fail_a_postinst(machine, log, monkeypatch, family,
                                                                                  status):
    """dpkg then says that the package is not configured, and configures it again later."""
    monkeypatch.setattr(sys, "stderr", Gone())
    with fault(n=1, error=errno.EIO, lasting=True):
        assert scriptlet.main([family, "configure" if family == "deb" else "1"]) == status


@pytest.mark.parametrize("family", ["rpm", "deb"])
def test_a_broken_standard_error_stops_nothing(machine, log, monkeypatch, family):
    for stream in (Gone(), None):
        monkeypatch.setattr(sys, "stderr", stream)
        assert scriptlet.main([family, "configure" if family == "deb" else "2"]) == 0
        machine.put(paths.CONF, b"TLS_ON\nTLS_OFF\n")


# -- the entry point, in a process of its own --------------------------------------------------------------------------

ENTRY = os.path.join(TREE, "hooks", "entry.py")


@pytest.mark.parametrize("closed", ["", "0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_cause_no_traceback(closed):
    command = 'exec "$@" ' + closed
    argv = ["/bin/sh", "-c", command, "sh"] + child_python() + [ENTRY, "CSUTKEcat", "nonsense"]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    output, errors = child.communicate()
    assert child.returncode == 2
    assert b"Traceback" not in output + errors


def test_removal_says_only_what_did_not_work(machine, log, quick_pair, monkeypatch, capsys):
    scriptlet.main(["deb", "configure", "7.3.0-1"])
    del log[:]
    capsys.readouterr()
    assert scriptlet.remove(["deb", "remove"]) == 0
    assert log == [] and capsys.readouterr().err == ""
    assert machine.get(paths.PURGE) == b""
    with fault(n=1, error=errno.EROFS, lasting=True):
        assert scriptlet.remove(["rpm", "0"]) == 0
    assert "[write-failed]" in log[0][1] and paths.PURGE in log[0][1]


def test_removal_notes_nothing_where_the_stamp_cannot_be_read(machine, log, quick_pair, monkeypatch):
    """What it says would be lost with it."""
    scriptlet.main(["deb", "configure"])
    real = machine.read

    def read(path, *arguments, **named):
        if path == paths.STAMP:
            raise OSError(errno.EIO, "Input/output error", path)
        return real(path, *arguments, **named)

    monkeypatch.setattr(machine, "read", read)
    assert scriptlet.remove(["deb", "remove"]) == 0
    assert machine.get(paths.PURGE) is None and machine.get(paths.STAMP) is not None


def test_a_fault_at_removal_does_not_stop_it(machine, log, capsys, monkeypatch):
    monkeypatch.setattr(apply, "converge", lambda host, called: 1 // 0)
    assert scriptlet.remove(["deb", "remove"]) == 0
    assert "internal fault: ZeroDivisionError" in capsys.readouterr().err


def test_entry_leads_each_name_to_its_module():
    for name, status, word in (("CSUTKEcat", 2, b"usage: CSUTKEcat"), ("catcherctl", 2, b"usage: catcherctl"),
                               ("", 2, b"usage: catcherctl")):
        child = subprocess.Popen(child_python() + [ENTRY, name], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        output = child.communicate()[0]
        assert (child.returncode, word in output) == (status, True), output


# -- the daily look ----------------------------------------------------------------------------------------------------


@pytest.fixture
def tls(machine, log):
    """A host in TLS mode with its own pair, and no finding so far."""
    machine.put(paths.CONF, b"TLS_ON\n")
    apply.converge(machine, transition.of(transition.START))
    del log[:]
    return machine


def test_the_daily_look_has_nothing_to_say_of_a_good_pair(tls, log, capsys):
    assert daily_check.main([]) == 0
    assert log == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("days,wanted", [(29, "pair-expires-soon"), (31, None), (-1, "pair-expired")])
def test_the_daily_look_tells_of_an_end_that_is_near_and_changes_nothing(tls, log, days, wanted):
    key = pem.key_of("prime256v1")
    tls.put(paths.KEY, key, 0o600)
    tls.put(paths.CERTIFICATE, issue(key, "tke1", ("tke1",), last=days * DAY))
    before = (tls.read(paths.KEY, 10000), tls.read(paths.CERTIFICATE, 10000), tls.read(paths.STAMP, 10000))
    assert daily_check.main([]) == 0
    assert [line.split("[")[1].split("]")[0] for _, line in log] == ([wanted] if wanted else [])
    assert all(priority == syslog.LOG_WARNING and "catcherctl" in line for priority, line in log)
    assert before == (tls.read(paths.KEY, 10000), tls.read(paths.CERTIFICATE, 10000), tls.read(paths.STAMP, 10000))


def test_the_daily_look_tells_of_a_new_host_name(tls, log):
    tls.node = "tke2.example.com"
    assert daily_check.main([]) == 0
    assert len(log) == 1 and "[pair-names-stale]" in log[0][1] and "catcherctl cert generate --force" in log[0][1]


def test_the_daily_look_in_tcp_mode_says_nothing(tls, log):
    tls.put(paths.CONF, b"TLS_OFF\n")
    tls.node = "tke2.example.com"
    assert daily_check.main([]) == 0 and log == []


def test_a_fault_in_the_daily_look_is_one_line_and_its_story_in_the_journal(tls, log, monkeypatch, capsys):
    monkeypatch.setattr(status_module, "collect_status", lambda host: {}["x"])
    assert daily_check.main([]) == 1
    assert "internal fault" in capsys.readouterr().err and log


# -- a disk that fails -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name,arguments,status", [
    ("scriptlet", ["rpm", "1"], 0), ("scriptlet", ["deb", "configure"], 1), ("CSUTKEcat", ["check"], 1),
    ("catcherctl", ["status"], 1), ("watch", [], 1),
])
def test_what_cannot_be_loaded_is_one_line(tmp_path, name, arguments, status):
    """If a module of ours cannot be read, there is no traceback, and no rpm transaction fails."""
    import shutil

    shutil.copytree(os.path.join(TREE, "hooks"), str(tmp_path / "hooks"))
    shutil.copytree(os.path.join(TREE, "catcher_install"), str(tmp_path / "catcher_install"),
                    ignore=shutil.ignore_patterns("__pycache__"))
    os.unlink(str(tmp_path / "catcher_install" / "messages.py"))
    child = subprocess.Popen(child_python() + [str(tmp_path / "hooks" / "entry.py"), name] + arguments,
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = child.communicate()[0]
    assert child.returncode == status
    assert b"Traceback" not in output and output.splitlines()[0].startswith(b"csulcca: cannot run: "), output


def test_a_fault_that_cannot_be_told_to_the_journal_is_told_here(monkeypatch, capsys):
    import builtins

    real = builtins.__import__

    def refusing(name, *rest, **named):
        if name == "traceback":
            raise OSError(24, "Too many open files", "traceback.py")
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", refusing)
    journal.log_fault(OSError(5, "Input/output error", "/etc/cca"))
    assert capsys.readouterr().err.startswith("csulcca: /etc/cca: Input/output error\n")


@pytest.mark.parametrize("name", ["scriptlet", "CSUTKEcat"])
def test_what_standard_error_does_not_take_fails_nothing(tmp_path, name):
    """For example, a file on a full disk. If postinst failed, the package would be half configured."""
    shutil.copytree(os.path.join(TREE, "hooks"), str(tmp_path / "hooks"))
    shutil.copytree(os.path.join(TREE, "catcher_install"), str(tmp_path / "catcher_install"))
    for module in ("scriptlet", "launch"):
        (tmp_path / "catcher_install" / (module + ".py")).write_text(
            "from .journal import say\n\n\ndef main(arguments):\n    say('one')\n    say('two')\n    return 0\n")
    argv = child_python() + [str(tmp_path / "hooks" / "entry.py"), name, "deb", "configure"]
    reader, broken = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    for errors in (full, broken):
        assert subprocess.call(argv, stderr=errors) == 0
        os.close(errors)


@pytest.mark.parametrize("words,status", [(["scriptlet", "rpm", "1"], 0), (["scriptlet", "deb", "configure"], 1),
                                          (["CSUTKEcat", "check"], 1), (["make-pair"], 1)])
def test_an_interrupt_is_said_in_two_lines(tmp_path, words, status):
    """Ctrl-C in a package transaction, or at a prompt."""
    (tmp_path / "hooks").mkdir()
    shutil.copy(os.path.join(TREE, "hooks", "entry.py"), str(tmp_path / "hooks"))
    library = tmp_path / "catcher_install"
    library.mkdir()
    for name in ("__init__", "scriptlet", "launch"):
        text = "def main(arguments):\n    raise KeyboardInterrupt\n\n\nmake_pair = main\n"
        (library / (name + ".py")).write_text(text)
    child = subprocess.Popen([sys.executable, "-I", "-S", str(tmp_path / "hooks" / "entry.py")] + words,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    said = child.communicate()[0].decode("ascii")
    assert child.returncode == status
    assert said == "csulcca: interrupted\ncsulcca:   to do the rest, type: catcherctl apply\n"
