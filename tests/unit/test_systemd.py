"""systemctl's calls, and which process is the catcher, on machines with and without systemd."""

import errno

import pytest

from catcher_install import config, paths, systemd
from catcher_install.errors import CatcherError

DAEMON = [paths.CATCHER, "-tls"]


GROUP = b"/system.slice/CSUTKEcat.service"


def main_process(pid, group=GROUP):
    """A systemctl that knows the unit's main process and control group."""
    said = b"MainPID=%d\nControlGroup=%s\n" % (pid, group)
    return lambda argv, stdin: (0, said if argv[1] == "show" else b"")


def test_the_catcher_is_the_units_main_process(machine):
    """A process that calls itself catcher.exe is not the catcher, even if it runs as root."""
    machine.processes = {50: DAEMON, 100: [paths.CATCHER]}
    machine.systemctl(main_process(100))
    assert systemd.catcher(machine) == 100
    assert systemd.running_mode(machine, 100) == config.TCP
    machine.systemctl(main_process(0))
    assert systemd.catcher(machine) is None


@pytest.mark.parametrize("group,user,found", [
    (GROUP, False, 60), (GROUP + b"/below", False, None), (b"/user.slice", False, None), (GROUP, True, None)])
@pytest.mark.parametrize("main", [["/bin/sh", "-c", paths.BIN + "/CSUTKEcat start | cat"],
                                  ["/usr/bin/strace", "-f", "-o", "/tmp/t", paths.BIN + "/CSUTKEcat", "start"], []])
def test_the_main_process_may_be_another_program_that_stays(machine, main, group, user, found):
    """A drop-in can cause this. Then the catcher is found in the unit's control group, which only root can fill."""
    machine.processes = {50: DAEMON, 55: main, 60: DAEMON}
    machine.users = {60} if user else set()
    machine.put("/proc/50/cgroup", b"0::/system.slice/other.service\n")
    # In a container on a host with both hierarchies.
    machine.put("/proc/60/cgroup", b"9:name=systemd:/\n8:pids:/\n0::%s\n" % group)
    machine.systemctl(main_process(55 if main else 0))
    assert systemd.catcher(machine) == found
    machine.systemctl(main_process(0, b""))
    assert systemd.catcher(machine) is None


def test_a_main_process_that_only_root_sees_counts(machine):
    """With hidepid=, /proc shows a user only the user's own processes."""
    machine.hidden = {100}
    machine.systemctl(main_process(100))
    assert systemd.catcher(machine) == 100 and systemd.running_mode(machine, 100) is None
    machine.hidden = set()
    assert systemd.catcher(machine) is None


@pytest.mark.parametrize("words", [
    ["/bin/sh", paths.BIN + "/CSUTKEcat", "start"],
    ["/usr/bin/python3", "-I", "-S", "/usr/lib/csulcca/hooks/entry.py", "CSUTKEcat", "start"],
    [],
])
def test_before_it_is_executed_no_catcher_runs(machine, words):
    """The mode is not known yet, because the command line of the control script has no -tls."""
    machine.processes = {100: words}
    machine.systemctl(main_process(100))
    assert systemd.catcher(machine) is None


@pytest.mark.parametrize("words", [
    DAEMON, ["/usr/bin/python3", paths.CATCHER, "-tls"], ["python3.6", "-I", paths.CATCHER],
    ["/usr/bin/qemu-s390x-static", paths.CATCHER],
])
@pytest.mark.parametrize("answer", [
    None, (1, b"Failed to connect to bus\n"), (0, b""), TimeoutError(errno.ETIMEDOUT, "no answer")])
def test_if_systemd_cannot_tell_it_is_a_process_of_root(machine, words, answer):
    machine.booted = answer is not None
    if answer is not None:
        machine.systemctl(answer)
    machine.processes = {50: words, 60: words}
    machine.users = {50}
    assert systemd.catcher(machine) == 60
    machine.users = {50, 60}
    assert systemd.catcher(machine) is None


@pytest.mark.parametrize("words", [
    ["vi", paths.CATCHER], ["/bin/shfmt.old/less", paths.CATCHER], ["/bin/sh", "-c", "x", "y", paths.CATCHER], [],
    ["/home/u/opt/IBM/CCA/bin/catcher.exe"],
])
def test_what_only_names_the_program_does_not_run_it(words):
    assert not systemd.runs_catcher(words)


@pytest.mark.parametrize("place", systemd.PROGRAMS)
def test_systemctl_is_found_in_both_places(machine, place):
    assert systemd.program(machine) == "" and systemd.call(machine, "restart", paths.UNIT) == ""
    assert not systemd.has_failed(machine)
    machine.put(place, b"", 0o755)
    machine.programs[place] = (0, b"said\n")
    assert systemd.program(machine) == place and systemd.call(machine, "restart", paths.UNIT) == "said\n"


def test_a_refusal_is_systemctls_last_line(machine):
    machine.systemctl((5, b"first\nlast\n"))
    with pytest.raises(CatcherError, match="^last$"):
        systemd.restart(machine)
    assert systemd.show(machine, "MainPID") == {}
    assert not systemd.has_failed(machine)


def test_the_running_mode_is_that_of_the_daemons_arguments(machine):
    machine.processes = {100: DAEMON}
    assert systemd.running_mode(machine, 100) == config.TLS
    assert systemd.running_mode(machine, None) is None and systemd.running_mode(machine, 9) is None
