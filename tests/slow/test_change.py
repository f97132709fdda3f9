"""mode, cert install and cert generate: their cost, their dry run, what interrupts them, what the journal says."""

import os
import signal
import sys
import syslog

import pytest

from catcher_install import apply, config, facts, launch, messages, paths, stamp, systemd, transition
from catcher_install.admin import cert_install, change, cli, mode
from catcher_install.errors import CatcherError
from tests.unit.admin.hosts import NEW, der, in_place, install, put
from tests.unit.daemon import shown
from tests.unit.support import Executed, tree_of

COLLECTS = 3


@pytest.fixture
def collects(monkeypatch):
    """Count how often the facts are collected, under each name by which a module imports the function."""
    made, real = [], facts.collect

    def counted(*arguments):
        made.append(1)
        return real(*arguments)

    for name, module in list(sys.modules.items()):
        if name.startswith("catcher_install.") and getattr(module, "collect", None) is real:
            monkeypatch.setattr(module, "collect", counted)
    return made


@pytest.fixture
def log(monkeypatch):
    """The lines that went to the journal."""
    lines = []
    monkeypatch.setattr(syslog, "openlog", lambda tag: None)
    monkeypatch.setattr(syslog, "syslog", lambda priority, line: lines.append(line))
    return lines


def to_tcp(machine):
    return mode.set_mode(machine, config.TCP, restart=True)


def generate(machine):
    return cert_install.generate(machine, True, True)


COMMANDS = {"mode": to_tcp, "cert install": install, "cert generate": generate}


@pytest.fixture
def on_machine(machine, monkeypatch):
    """catcherctl acts on the machine."""
    machine.put(paths.LIBRARY + "/run")
    monkeypatch.setattr(cli, "Host", lambda root="/": machine)
    return machine


# How often the facts may be collected, and what is typed. What comes before the command makes the old pair that cert
# restore brings back.
TYPED = {
    "mode": (3, [["mode", "tcp"]]),
    "mode --json": (3, [["mode", "tcp", "--json"]]),
    "cert install": (2, [["cert", "install", "/root/my.key", "/root/my.crt"]]),
    "cert generate": (2, [["cert", "generate", "--force"]]),
    "cert restore": (2, [["cert", "generate", "--force"], ["cert", "restore"]]),
    "cert restore --json": (2, [["cert", "generate", "--force"], ["cert", "restore", "--json"]]),
    "cert request": (2, [["cert", "request"]]),
    "apply": (1, [["apply"]]),
    "apply with something to do": (3, [["apply"]]),
    "cert check": (1, [["cert", "check"]]),
}
# Commands that change the pair or the mode, and so may have to undo it.
MAY_FAIL = ["mode", "cert install", "cert generate", "cert restore"]


@pytest.fixture
def typed(on_machine, daemon, collects, log, capsys):
    """Return a function that types a command of TYPED. It returns the exit status and the number of collects."""

    def systemctl(argv, stdin):
        before = len(collects)
        try:
            return daemon.systemctl(argv, stdin)
        finally:
            # The start of the daemon runs in this process here, and does not count for the command.
            del collects[before:]

    on_machine.systemctl(systemctl)

    def type_it(name, behaviour=("obey",)):
        put(on_machine, *NEW)
        *before, last = TYPED[name][1]
        for arguments in before:
            assert cli.main(arguments) == 0
        if name == "apply with something to do":
            os.unlink(on_machine.on_disk(paths.CONF))
        daemon.behaviour = list(behaviour)
        del collects[:]
        return cli.main(last), len(collects)

    return type_it


@pytest.mark.parametrize("name", sorted(TYPED))
def test_the_facts_are_collected_three_times_at_most(typed, name):
    status, count = typed(name)
    assert status == (3 if name == "apply with something to do" else 0)
    assert 1 <= count <= TYPED[name][0] <= COLLECTS


@pytest.mark.parametrize("something_to_do", [False, True], ids=["", "something to do"])
@pytest.mark.parametrize("verb", ["start", "check", "restart", "stop", "status"])
def test_a_start_collects_the_facts_no_more_often(machine, daemon, collects, monkeypatch, verb, something_to_do):
    """systemd does not run the daemon here. If it did, systemctl would do the rest."""
    monkeypatch.setattr(launch, "Host", lambda: machine)
    monkeypatch.setattr(systemd, "program", lambda host: "")
    # The daemon still has the port: nothing stops it here.
    monkeypatch.setattr(machine, "pause", lambda seconds: None)
    if something_to_do:
        os.unlink(machine.on_disk(paths.CONF))
    del collects[:]
    if verb in ("start", "restart"):
        with pytest.raises(Executed):
            launch.main([verb])
        assert machine.executed == (paths.CATCHER, [paths.CATCHER, "-tls"])
        assert len(collects) == (COLLECTS if something_to_do else 1)
    else:
        assert launch.main([verb]) == 0 and len(collects) == (verb == "check")


@pytest.mark.parametrize("name", sorted(MAY_FAIL))
def test_a_change_that_is_taken_back_costs_no_more(typed, name):
    status, count = typed(name, ["nothing", "obey"])
    assert status == 1 and 1 <= count <= COLLECTS


# -- --dry-run ---------------------------------------------------------------------------------------------------------

FORESEEN = {
    "mode": (["mode", "tcp"], ["write configuration: ", "  /etc/cca/catcher.conf: TLS_OFF",
                              "\nThen the catcher is restarted and checked over a real connection.\n"]),
    "mode --no-restart": (["mode", "tcp", "--no-restart"], ["\nThen nothing is restarted, as you asked.\n"]),
    "cert install": (["cert", "install", "/root/my.key", "/root/my.crt"], ["put pair in place: "]),
    "cert generate": (["cert", "generate", "--force"], ["put pair in place: "]),
    "apply": (["apply"], ["Nothing to do."]),
}


@pytest.mark.parametrize("where", ["before the verb", "after it"])
@pytest.mark.parametrize("name", sorted(FORESEEN))
def test_a_dry_run_says_what_would_be_done_and_does_nothing(on_machine, daemon, capsys, name, where):
    put(on_machine, *NEW)
    arguments, wanted = FORESEEN[name]
    before = tree_of(on_machine, times=True)
    assert cli.main(["--dry-run"] + arguments if where == "before the verb" else arguments + ["--dry-run"]) == 0
    told = capsys.readouterr().out
    assert [part for part in wanted if part not in told] == []
    assert tree_of(on_machine, times=True) == before and daemon.restarts == 0


def test_a_dry_run_calls_a_fresh_host_fresh(on_machine, daemon, capsys):
    for path in (paths.STAMP, paths.CONF, paths.KEY, paths.CERTIFICATE):
        if on_machine.lexists(path):
            os.unlink(on_machine.on_disk(path))
    cli.main(["mode", "tls", "--dry-run"])
    assert capsys.readouterr().out.startswith("This is a fresh host.")


@pytest.mark.parametrize("conf,masked,arguments,why", [
    (b"TLS_ON\n", True, ["mode", "tcp"], "the service is masked"),
    (b"TLS_OFF\n", False, ["cert", "generate", "--force"], "the catcher is in TCP mode"),
    (b"TLS_OFF\n", True, ["mode", "tcp"], "the service is masked"),
])
def test_a_dry_run_says_why_nothing_is_restarted(on_machine, daemon, capsys, conf, masked, arguments, why):
    put(on_machine, *NEW)
    on_machine.put(paths.CONF, conf)
    if masked:
        on_machine.put_link("/etc/systemd/system/" + paths.UNIT, "/dev/null")
    cli.main(arguments + ["--dry-run"])
    told = capsys.readouterr().out
    assert "Then nothing is restarted, because %s.\n" % why in told


def no_program(machine):
    os.unlink(machine.on_disk(paths.CATCHER))


def tls_impossible(machine):
    machine.tls_possible(False)


def tls_unknown(machine):
    real = machine.programs[paths.OPENSSL]
    machine.programs[paths.OPENSSL] = lambda argv, stdin: (
        (-9, b"") if argv[1:] == ["version"] else real(argv, stdin))


def masked(machine):
    machine.put_link("/etc/systemd/system/" + paths.UNIT, "/dev/null")


def tcp_mode(machine):
    machine.put(paths.CONF, b"TLS_OFF\n")


def half_a_line(machine):
    machine.put(paths.CONF, b"TLS_ON\nTLS_OF\n")


def nothing_wrong(machine):
    pass


HOSTS = {one.__name__: one for one in (
    no_program, tls_impossible, tls_unknown, masked, tcp_mode, half_a_line, nothing_wrong)}


@pytest.mark.parametrize("host", sorted(HOSTS))
@pytest.mark.parametrize("more", [[], ["--no-restart"]], ids=["", "no restart"])
@pytest.mark.parametrize("arguments", [
    ["cert", "install", "/root/my.key", "/root/my.crt"], ["cert", "generate", "--force"], ["mode", "tcp"],
    ["mode", "tls"],
], ids=" ".join)
def test_a_dry_run_promises_what_the_command_then_does(on_machine, daemon, capsys, arguments, more, host):
    put(on_machine, *NEW)
    HOSTS[host](on_machine)
    refused = cli.main(arguments + more + ["--dry-run"]) == cli.FAILED
    promised = capsys.readouterr().out
    before = daemon.restarts
    assert (cli.main(arguments + more) == cli.FAILED) == refused
    told = capsys.readouterr().out
    if "unless a connection shows" not in promised:
        assert ("Then the catcher is restarted" in promised) == (daemon.restarts > before)
    for reason in [one.partition("Then nothing is restarted, ")[2] for one in promised.splitlines()
                   if one.startswith("Then nothing")]:
        assert "Not restarted, " + reason.rstrip(".") in told


def test_a_dry_run_refuses_what_the_command_refuses(on_machine, daemon, capsys):
    assert cli.main(["--dry-run", "cert", "generate"]) == 1
    assert "there is a key and a certificate already" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["status"], ["cert", "show"], ["probe", "localhost"]], ids=" ".join)
def test_a_dry_run_of_what_changes_nothing_is_a_mistake(on_machine, capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--dry-run"] + arguments)
    told = capsys.readouterr().err
    assert ended.value.code == 2 and "--dry-run works only with" in told and "catcherctl %s" % arguments[0] in told


# -- signals -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def handle():
    """Set the handler of a signal in this process until the end of the test."""
    before = {}

    def set_handler(number, handler):
        before[number] = signal.signal(number, handler)

    yield set_handler
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
def test_a_signal_that_the_caller_ignores_takes_nothing_back(machine, daemon, monkeypatch, handle, number):
    """nohup(1), or a shell that has started the command in the background."""
    handle(number, signal.SIG_IGN)
    real = change.daemon.restart_and_verify

    def with_signal(host, wanted):
        os.kill(os.getpid(), number)
        return real(host, wanted)

    monkeypatch.setattr(change.daemon, "restart_and_verify", with_signal)
    to_tcp(machine)
    assert machine.get(paths.CONF) == b"TLS_OFF\n" and signal.getsignal(number) == signal.SIG_IGN


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_signal_while_it_is_verified_takes_the_change_back(machine, daemon, monkeypatch, log, handle, name, number):
    handle(number, signal.SIG_DFL)
    old, conf = in_place(machine), machine.get(paths.CONF)
    real, sent = change.daemon.restart_and_verify, []

    def interrupted(host, wanted):
        if not sent:
            sent.append(os.kill(os.getpid(), number))
        return real(host, wanted)

    monkeypatch.setattr(change.daemon, "restart_and_verify", interrupted)
    with pytest.raises(CatcherError, match="interrupted; the .* is back and in use"):
        COMMANDS[name](machine)
    assert (in_place(machine), machine.get(paths.CONF)) == (old, conf)
    assert shown(daemon.port) == der(old[1])
    assert len(log) == 1 and "interrupted" in log[0]


def test_a_signal_before_that_is_not_lost(machine, daemon, monkeypatch, handle):
    """The signal comes while files are written. The change is finished, then undone."""
    handle(signal.SIGTERM, signal.SIG_DFL)
    real, sent = change.apply.converge, []

    def with_signal(*arguments):
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(change.apply, "converge", with_signal)
        with pytest.raises(CatcherError, match="interrupted"):
            to_tcp(machine)
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    # The caller's handlers are back.
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


# -- faults of ours ----------------------------------------------------------------------------------------------------

# Each command with the number of the call that fails. The first call may come before any change.
FAULTS = {"while it is verified": (change.daemon, "restart_and_verify", 1),
          "once it is in place": (stamp, "next_stamp", 1), "in a second look at the host": (facts, "judged", 2)}


@pytest.mark.parametrize("where", sorted(FAULTS))
@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_fault_of_ours_takes_the_change_back(machine, daemon, monkeypatch, log, name, where):
    old, conf, noted = in_place(machine), machine.get(paths.CONF), machine.get(paths.STAMP)
    module, function, at = FAULTS[where]
    real, calls = getattr(module, function), []

    def fails(*arguments, **named):
        calls.append(1)
        if len(calls) == at:
            raise LookupError("a fault")
        return real(*arguments, **named)

    monkeypatch.setattr(module, function, fails)
    with pytest.raises(CatcherError, match="LookupError.*; the .* is back"):
        COMMANDS[name](machine)
    assert (in_place(machine), machine.get(paths.CONF), machine.get(paths.STAMP)) == (old, conf, noted)
    assert shown(daemon.port) == der(old[1])
    assert "LookupError" in "".join(log) and "failed: " in log[-1]


def test_a_fault_that_lasts_is_said_with_what_is_left_of_the_change(machine, daemon, monkeypatch, log):
    """If the old state cannot be restored from the files of the host, the message says how to restore it."""
    def fails(*arguments, **named):
        raise LookupError("a fault")

    monkeypatch.setattr(stamp, "next_stamp", fails)
    with pytest.raises(CatcherError) as caught:
        to_tcp(machine)
    # The configuration is restored all the same.
    assert machine.get(paths.CONF) == b"TLS_ON\n" and "is back" in caught.value.message
    outcome = apply.converge(machine, mode.asked(config.TCP))
    assert [one["id"] for one in outcome.failures()] == ["internal-fault"]


def test_a_run_that_does_not_end_is_told_as_apply_tells_it(machine, monkeypatch):
    def lock(seconds):
        assert seconds == apply.LOCK_SECONDS
        raise TimeoutError

    monkeypatch.setattr(machine, "lock", lock)
    with pytest.raises(CatcherError) as caught, change.Locked(machine):
        raise AssertionError("it is not locked")
    (told,) = apply.converge(machine, transition.of(transition.INSTALL)).failures()
    assert told["id"] == "busy" and caught.value.message == messages.text(told)
    assert caught.value.hint == "wait until it has finished, then type the same command again"


# -- the journal -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name,told", [("mode", "catcherctl mode tcp (was: tls): "),
                                       ("cert install", "(the old pair is kept as"),
                                       ("cert generate", "catcherctl cert generate (the old pair")])
def test_every_change_is_a_line_in_the_journal(machine, daemon, log, name, told):
    COMMANDS[name](machine)
    assert len(log) == 1 and told in log[0] and " -- asked by uid " in log[0]


def test_a_refusal_is_a_line_too(machine, daemon, log):
    with pytest.raises(CatcherError):
        cert_install.generate(machine, False, True)
    assert len(log) == 1 and "cert generate failed: there is a key and a certificate already" in log[0]


def test_apply_that_changes_something_is_a_line_in_the_journal_and_else_none(on_machine, daemon, capsys, log):
    assert cli.main(["apply"]) == 0 and log == []
    os.unlink(on_machine.on_disk(paths.CONF))
    assert cli.main(["apply"]) == 3
    assert len(log) == 1
    assert log[0].startswith("catcherctl apply: write configuration TLS_ON: the mode of the last run -- asked by uid ")


def test_restore_is_a_line_in_the_journal(machine, daemon, log):
    install(machine)
    cert_install.restore(machine, "", True)
    assert len(log) == 2 and log[1].startswith("catcherctl cert restore (the old pair is kept as ")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_catcher_that_did_not_run_is_started_not_restarted(machine, daemon, name):
    daemon.stop()
    machine.processes.clear()
    lines = COMMANDS[name](machine)[0]
    assert [one for one in lines if one.startswith("Started the catcher: ")], lines
    assert not any("Restarted" in one for one in lines)
