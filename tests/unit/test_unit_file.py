"""What units/CSUTKEcat.service promises; that systemd and the kernel keep it is tested in containers."""

import os
import socket
import subprocess
import threading

import pytest

from catcher_install import paths, reference

from .support import TREE

UNIT = os.path.join(TREE, "units", "CSUTKEcat.service")
RESERVE = os.path.join(TREE, "hooks", "reserve-port")
LOAD_PORT = ". %s/catcher-port\n" % paths.LIBRARY


def settings(name):
    """The words of all lines NAME=, without the "-" of paths that may be absent."""
    with open(UNIT, encoding="utf-8") as stream:
        lines = [line.strip().partition("=")[2] for line in stream if line.startswith(name + "=")]
    return [word.lstrip("-+") for line in lines for word in line.split()]


def test_devices_are_allowed_by_their_class():
    """systemd looks up a path at the start: the service could not reach a node that is made later."""
    assert settings("DevicePolicy") == ["closed"]
    allowed = [word for word in settings("DeviceAllow") if word != "rw"]
    assert allowed == ["char-misc", "char-zcrypt"]
    # z/VM's commands, and the keyboard of a user, belong to that class, too.
    assert {"/dev/vmcp", "/dev/uinput"} <= set(settings("InaccessiblePaths"))


def test_nothing_that_root_runs_can_be_written():
    assert settings("ProtectSystem") == ["strict"]
    writable = settings("ReadWritePaths")
    assert sorted(writable) == ["/etc/cca", paths.KEY_STORAGE, paths.STATE_DIR]


def test_no_link_that_the_service_asks_for_is_made():
    """Root makes the noted links. A link in place of the key storage opens its target to the next start."""
    assert not [path for path in settings("ReadWritePaths") if (paths.LINKS + "/").startswith(path + "/")]


def test_no_socket_of_who_obeys_root_is_seen():
    """Whole directories are hidden. If only a socket was hidden, it would be seen again after it is made again."""
    assert settings("TemporaryFileSystem") == ["/run:ro"]
    shown = settings("BindReadOnlyPaths") + settings("BindPaths")
    assert all(path.startswith("/run/") for path in shown)
    for path in ("/run/systemd/private", "/run/dbus/system_bus_socket", "/run/podman/podman.sock", "/run/docker.sock",
                 "/run/systemd/io.systemd.Manager", "/run/udev/control"):  # fmt: skip
        assert not [one for one in shown if (path + "/").startswith(one + "/")], path
    # Where this is a running system, and where the log goes.
    assert {"/run/systemd/system", "/run/systemd/journal"} <= set(shown)


def test_attempts_go_on_for_ever():
    """The control script makes sure that there are only a few in a minute."""
    assert settings("StartLimitIntervalSec") == ["0"] and settings("Restart") == ["on-failure"]


# What is in the directory of the pair, what catcher.conf says, and whether Python then has something to do.
BEFORE_A_START = [
    ([], None, True), ([], "TLS_ON\n", True), ([], "# TLS_OFF\n", True), ([], "TLS_OFF\n", False),
    ([], " \tTLS_OFF # by hand\r\n", False), (["catcher.key", "catcher.crt"], "TLS_ON\n", False),
    (["catcher.key"], "TLS_ON\n", False), (["catcher.crt"], None, False),
    (["catcher.key", "catcher.crt", ".catcher-pair.replace"], "TLS_ON\n", True),
    (["catcher.key", ".catcher-pair"], "TLS_OFF\n", True), ([".catcher-pair.draft"], "TLS_OFF\n", True),
    (["catcher.key", "catcher.crt", ".catcher.key.request.csulcca-new"], "TLS_ON\n", True),
]


@pytest.mark.parametrize("there,conf,asked", BEFORE_A_START)
def test_before_a_start_python_is_asked_if_it_has_something_to_do(tmp_path, there, conf, asked):
    for name in there:
        (tmp_path / name).write_bytes(b"")
    # As in an image whose pair is below /var, and not made yet.
    if not there:
        (tmp_path / "catcher.key").symlink_to("nowhere")
    if conf is not None:
        (tmp_path / "catcher.conf").write_bytes(conf.encode())
    with open(os.path.join(TREE, "hooks", "make-pair"), encoding="utf-8") as stream:
        text = stream.read()
    for path, other in ((paths.BIN, tmp_path), (paths.CONF, tmp_path / "catcher.conf"),
                        (paths.LIBRARY + "/run", "echo")):
        assert path in text
        text = text.replace(path, str(other))
    child = subprocess.Popen(["sh", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert (child.communicate()[0], child.returncode) == (b"make-pair\n" if asked else b"", 0)


@pytest.mark.parametrize("status,wanted", [(0, 0), (75, 75), (1, 0), (127, 0)])
def test_only_what_may_pass_ends_a_start_before_it_begins(tmp_path, status, wanted):
    (tmp_path / "run").write_text("#!/bin/sh\nexit %d\n" % status)
    (tmp_path / "run").chmod(0o755)
    with open(os.path.join(TREE, "hooks", "make-pair"), encoding="utf-8") as stream:
        text = stream.read().replace(paths.BIN, str(tmp_path)).replace(paths.LIBRARY, str(tmp_path))
    assert subprocess.call(["sh", "-c", text]) == wanted


LISTS = [
    (b"\n", b"50003\n"), (b"8080,9000-9010\n", b"8080,9000-9010,50003\n"), (b"50000-50002,50004-50010\n", None),
    (b"50003\n", b"50003\n"), (b"1,50000-50010\n", b"1,50000-50010\n"), (b"50003-50004,8080\n", b"50003-50004,8080\n"),
    (b"5000\n", b"5000,50003\n"),
]


@pytest.mark.parametrize("there,wanted", LISTS)
def test_the_port_is_added_to_the_list_that_is_there(tmp_path, there, wanted):
    listed = tmp_path / "ports"
    listed.write_bytes(there)
    assert reserve(listed) == (0, b"")
    assert listed.read_bytes() == (wanted or there.strip() + b",50003\n")


@pytest.mark.parametrize("what", ["absent", "a directory"])
def test_a_list_that_cannot_be_used_is_no_error(tmp_path, what):
    if what == "a directory":
        (tmp_path / "ports").mkdir()
    assert reserve(tmp_path / "ports") == (0, b"")


# -- the end of a start ------------------------------------------------------------------------------------------------

WAIT = os.path.join(TREE, "hooks", "wait-for-start")


def wait_for(script, pause="sleep 0.02", port=0, looks=150, **environment):
    """The exit status of the script while a main process runs that shell script, which this process is the parent of,
    as systemd is. pause: between two looks. port: the daemon's, in place of 50003. looks: how many, in place of 150."""
    with open(WAIT, encoding="utf-8") as stream:
        text = stream.read().replace("sleep 0.02", pause).replace("-lt 150", "-lt %d" % looks)
    assert LOAD_PORT in text
    text = text.replace(LOAD_PORT, "port=%d\n" % port)
    main = subprocess.Popen(["/bin/sh", "-c", script])
    waiting = subprocess.Popen(["/bin/sh", "-c", text], env=dict(environment, MAINPID=str(main.pid)))
    reaper = threading.Thread(target=main.wait)
    reaper.start()
    status = waiting.wait(timeout=30)
    if reaper.is_alive():
        main.kill()
    reaper.join()
    pid_file = environment.get("PIDFILE")
    if pid_file and status == 0:
        with open(pid_file, encoding="ascii") as stream:
            assert stream.read() == "%d\n" % main.pid
    return status


@pytest.fixture
def daemon(tmp_path):
    """A catcher.exe that waits for ever."""
    path = tmp_path / "catcher.exe"
    path.write_text("#!/bin/sh\nread nothing <%s\n" % (tmp_path / "fifo"))
    path.chmod(0o755)
    os.mkfifo(str(tmp_path / "fifo"))
    return path


@pytest.mark.parametrize("family,address", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_start_ends_when_the_control_script_has_become_a_daemon_that_listens(daemon, family, address):
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        assert wait_for("exec %s -tls" % daemon, port=listener.getsockname()[1], looks=10**6) == 0


def test_a_pid_file_for_which_systemd_waits_is_written(daemon, tmp_path):
    """A drop-in from CCA 7.x names it, and the control script cannot write it."""
    assert wait_for("exec %s -tls" % daemon, pause=":", PIDFILE=str(tmp_path / "pid")) == 0


def test_a_start_fails_if_the_control_script_refuses(tmp_path):
    assert wait_for("exit 78") == 1
    assert wait_for("exit 78", PIDFILE=str(tmp_path / "pid")) == 1 and not (tmp_path / "pid").exists()


def test_a_start_fails_if_the_daemon_has_ended_before_anybody_looks():
    """Then systemd knows no main process."""
    with open(WAIT, encoding="utf-8") as stream:
        text = stream.read().replace(LOAD_PORT, "port=50003\n").replace("sleep 0.02", ":")
    assert text.count("/proc/[0-9]*") == 1
    text = text.replace("/proc/[0-9]*", "/nowhere/[0-9]*")
    assert subprocess.call(["/bin/sh", "-c", text], env={}) == 1


def test_a_start_fails_if_the_daemon_refuses(tmp_path):
    """The daemon has its name for a moment, then ends, for example because a line of its settings is wrong."""
    refuses = tmp_path / "catcher.exe"
    refuses.write_text("#!/bin/sh\nsleep 0.3\nexit 78\n")
    refuses.chmod(0o755)
    assert wait_for("exec %s -tls" % refuses) == 1


@pytest.mark.parametrize("become", ["", "exec {daemon} -tls; "], ids=["the control script", "a daemon elsewhere"])
def test_what_does_not_listen_is_not_waited_for(daemon, tmp_path, become):
    assert wait_for(become.format(daemon=daemon) + "read nothing <%s" % (tmp_path / "fifo"), pause=":") == 0


@pytest.mark.parametrize("shell", ["sh", "bash"])
@pytest.mark.parametrize("conf,wanted", [
    (None, 50003), ("", 50003), ("#port=50010\n# port=50011\nbackend=a:50012\n", 50003), ("port=50010", 50010),
    ("backend=a:1\nport = 50010 \nidle_timeout=9\n", 50010), ("\ufeffport=50010\r\nlisten=::\r\n", 50010),
    ("\tport=1\n", 1), ("#a\n\tport\t=\t50010\t\r\n", 50010),
])
def test_scripts_that_cannot_ask_the_library_know_its_port(machine, tmp_path, conf, wanted, shell):
    conf_path = tmp_path / "conf"
    if conf is not None:
        conf_path.write_bytes(conf.encode("utf-8"))
        machine.put(reference.CONF, conf.encode("utf-8"))
    os.makedirs(machine.on_disk(reference.PROGRAM))
    assert reference.port(machine) == wanted
    with open(os.path.join(TREE, "hooks", "catcher-port"), encoding="utf-8") as stream:
        text = stream.read()
    assert text.count(reference.CONF) == text.count(reference.PROGRAM) == 1
    for there, known in ((tmp_path, wanted), (tmp_path / "no", paths.PORT)):
        script = text.replace(reference.CONF, str(conf_path)).replace(reference.PROGRAM, str(there))
        child = subprocess.Popen([shell, "-c", script + "echo $port"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert child.communicate()[0] == b"%d\n" % known


def reserve(listed):
    """(exit status, output) of the script with another file in place of the kernel's."""
    with open(RESERVE, encoding="utf-8") as stream:
        text = stream.read().replace("/proc/sys/net/ipv4/ip_local_reserved_ports", str(listed))
    assert LOAD_PORT in text
    text = text.replace(LOAD_PORT, "port=%d\n" % paths.PORT)
    child = subprocess.Popen(["sh", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = child.communicate()[0]
    return child.returncode, output
