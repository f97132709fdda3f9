"""hooks/*.sh: the parts that need no package manager, run by dash and bash on a root directory of their own.

The functions know absolute paths only. Here each path that they know is moved below a temporary directory before they
are run; what they do on a whole system, with systemd and a package manager, is tested in containers.
"""

import errno
import os
import re
import shutil
import subprocess
import time

import pytest

from catcher_install import apply, facts, pair, paths, plan, stamp, transition
from install import scriptlet
from tests.unit.support import TREE, Machine, ids, make_stamp

SHELLS = [shell for shell in ("/bin/dash", "/bin/bash") if os.path.exists(shell)]
REFERENCE = os.path.join(TREE, "payload/reference")
ABSOLUTE = re.compile(r"(?<![A-Za-z0-9_./$}*-])/(?=(?:etc|opt|usr|var|run|lib|proc|srv)\b)")


class Root:
    """A root directory, and the shell functions moved into it."""

    def __init__(self, base, shell):
        self.base = str(base)
        self.shell = shell
        self.kind = "reference"
        self.environment = {}
        self.groups = ""
        for directory in ("opt/IBM/CCA/bin", "etc/cca", "var/lib", "usr/lib/csulcca/catcher_install", "bin"):
            os.makedirs(os.path.join(self.base, directory))

    def path(self, path):
        return self.base + path

    def put(self, path, data=b"", mode=0o644):
        real = self.path(path)
        os.makedirs(os.path.dirname(real), exist_ok=True)
        with open(real, "wb") as stream:
            stream.write(data)
        os.chmod(real, mode)

    def get(self, path):
        with open(self.path(path), "rb") as stream:
            return stream.read()

    def exists(self, path):
        return os.path.lexists(self.path(path))

    def run(self, function, *arguments, **place):
        """(exit status, output) of a function of the file that is named after it; or of the file phase="NAME"."""
        text = scriptlet.hook_text(os.path.join(TREE, "hooks", place.get("phase", function[len("csulcca_"):]) + ".sh"))
        known = dict(scriptlet.names(REFERENCE), PAYLOAD_KIND=self.kind, PAYLOAD_GROUPS=self.groups)
        text = scriptlet.filled(text, known)
        text = ABSOLUTE.sub(lambda found: self.base + "/", text)
        script = "set -eu\n%s\n%s \"$@\"\n" % (text, function)
        child = subprocess.Popen([self.shell, "-c", script, function] + list(arguments), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
                                 env=dict(self.environment, PATH=self.path("/bin") + ":/usr/bin:/bin"))
        output = child.communicate()[0].decode("utf-8", "replace")
        return child.returncode, output


@pytest.fixture(params=SHELLS, ids=[os.path.basename(shell) for shell in SHELLS])
def root(request, tmp_path):
    return Root(tmp_path / "moved", request.param)


def test_there_is_a_posix_shell_that_is_not_bash():
    assert "/bin/dash" in SHELLS or os.path.basename(os.path.realpath("/bin/sh")) == "bash"


def test_every_path_is_moved():
    """The test of the tests: no path of the machine is left in what they run."""
    for name in ("preinst", "postinst", "prerm", "postrm", "links"):
        with open(os.path.join(TREE, "hooks", name + ".sh")) as stream:
            text = "\n".join(line for line in stream.read().splitlines() if not line.lstrip().startswith("#"))
        text = scriptlet.filled(text, scriptlet.names(REFERENCE))
        moved = ABSOLUTE.sub("@", text)
        left = re.findall(r"(?<![A-Za-z0-9_@.$}*/-])/(?:etc|opt|usr|var|run|lib)/\S*", moved)
        assert left == []


# -- preinst: the guard ------------------------------------------------------------------------------------------------

GUARD = [
    ("deb", ("upgrade", "8.1.0-1"), True), ("deb", ("install",), False), ("deb", ("install", "7.3.0-1"), False),
    ("deb", ("abort-upgrade", "8.1.0-1"), False), ("rpm", ("2",), True), ("rpm", ("3",), True), ("rpm", ("1",), False),
    ("rpm", (), False),
]


@pytest.mark.parametrize("family,arguments,refuses", GUARD)
@pytest.mark.parametrize("library", ["/usr/lib64/libcsulcca.so", "/usr/lib/libcsulcca.so.8.1",
                                     "/usr/lib/s390x-linux-gnu/libcsulcca.so.8"])
def test_a_reference_payload_never_replaces_a_host_library(root, family, arguments, refuses, library):
    root.put(library)
    status, output = root.run("csulcca_preinst", family, *arguments)
    assert status == (1 if refuses else 0), output
    if refuses:
        assert "PAYLOAD=" in output and len(output.splitlines()) == 2
        assert not root.exists("/var/lib/csulcca")


def test_a_vendors_payload_replaces_it(root):
    root.kind = "vendor"
    root.put("/usr/lib64/libcsulcca.so")
    assert root.run("csulcca_preinst", "rpm", "2")[0] == 0


CCA_5 = {
    "CCA 5.2": (["/opt/IBM/CEX3C/bin/catcher.exe", "/etc/init.d/CSUTKEcat"], True),
    "CCA 5 without a catcher": (["/opt/IBM/CEX3C/bin/ivp.e"], True),
    "what the removal of CCA 5 leaves": (["/opt/IBM/CEX3C/keys/deskey.list"], False),
    "CCA 7": (["/opt/IBM/CCA/bin/catcher.exe"], False),
}


@pytest.mark.parametrize("arguments", [("deb", "upgrade", "5.2.23-1"), ("deb", "install"), ("rpm", "2"), ("rpm", "1")])
@pytest.mark.parametrize("kind", ["reference", "vendor"])
@pytest.mark.parametrize("name", sorted(CCA_5))
def test_cca_5_is_refused_before_anything_changes(root, name, kind, arguments):
    files, refuses = CCA_5[name]
    root.kind = kind
    with_groups(root)
    for path in files:
        root.put(path)
    if name == "CCA 7":
        os.symlink("CCA", root.path("/opt/IBM/CEX3C"))
    status, output = root.run("csulcca_preinst", *arguments)
    assert status == (1 if refuses else 0), output
    if refuses:
        assert "remove its package" in output and len(output.splitlines()) == 2
        assert not root.exists("/var/lib/csulcca")


@pytest.mark.parametrize("reason", ["CCA 5", "a host library"])
@pytest.mark.parametrize("stopped", [True, False])
def test_what_the_old_prerm_did_is_undone_by_a_refusal(root, reason, stopped):
    """dpkg runs it first: the service that it has stopped and disabled serves on."""
    systemd = Systemd(root, InactiveEnterTimestampMonotonic=(950 if stopped else 10) * 10 ** 6)
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    if stopped:
        root.put("/etc/systemd/system/multi-user.target.wants/other.service")
    root.put("/old.prerm", b"systemctl disable --now CSUTKEcat\n")
    root.put("/bin/dpkg-query", b"#!/bin/sh\necho %s\n" % root.path("/old.prerm").encode("ascii"), 0o755)
    root.put("/proc/uptime", b"1000.00 0\n")
    root.put("/proc/%d/stat" % os.getpid(), b"1 (dpkg) S " + b"1 " * 18 + b"%d 0\n" % (90000 if stopped else 99999))
    root.put("/opt/IBM/CEX3C/bin/x" if reason == "CCA 5" else "/usr/lib64/libcsulcca.so")
    systemd.write()
    if not stopped:
        for directory, _, _ in os.walk(root.path("/etc/systemd")):
            os.utime(directory, (1, 1))
    assert root.run("csulcca_preinst", "deb", "upgrade", "5.2.23-1")[0] == 1
    changes = [line for line in root.get("/asked").decode("ascii").splitlines()
               if not line.startswith("show") and "is-active" not in line]
    assert changes == (["--quiet enable CSUTKEcat.service", "start CSUTKEcat.service"] if stopped else [])


@pytest.mark.parametrize("keeps", [False, True])
def test_a_refusal_starts_what_no_journal_can_say_of_that_it_ran(root, keeps):
    """The old prerm has disabled it, and systemd has forgotten it."""
    systemd = Systemd(root)
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    root.put("/etc/systemd/system/multi-user.target.wants/other.service")
    root.put("/old.prerm", b"systemctl disable --now CSUTKEcat\n")
    root.put("/bin/dpkg-query", b"#!/bin/sh\necho %s\n" % root.path("/old.prerm").encode("ascii"), 0o755)
    root.put("/proc/uptime", b"1000.00 0\n")
    root.put("/proc/%d/stat" % os.getpid(), b"1 (dpkg) S " + b"1 " * 18 + b"90000 0\n")
    root.put("/opt/IBM/CEX3C/bin/x")
    systemd.log, systemd.keeps = OLDER[1], keeps
    systemd.write()
    assert root.run("csulcca_preinst", "deb", "upgrade", "5.2.23-1")[0] == 1
    assert ("start CSUTKEcat.service" in root.get("/asked").decode("ascii").splitlines()) == (not keeps)


# -- preinst: the note -------------------------------------------------------------------------------------------------

def note(root):
    return dict(line.split("=", 1) for line in root.get(paths.CAPTURE).decode("ascii").splitlines())


NO_CCA = {"tree": "no", "ours": "no", "groups": "no", "unit": "none", "mode": "none", "seen": "no", "active": "no"}


def before_8(root):
    root.put(paths.CATCHER, b"", 0o755)
    os.rmdir(root.path("/usr/lib/csulcca/catcher_install"))


WANTED = "/etc/systemd/system/multi-user.target.wants/CSUTKEcat.service"
UNITS = {
    "nothing": ([], "none"),
    "a unit": (["/usr/lib/systemd/system/CSUTKEcat.service"], "disabled"),
    "a unit in /lib": (["/lib/systemd/system/CSUTKEcat.service"], "disabled"),
    "an edited unit": (["/etc/systemd/system/CSUTKEcat.service"], "disabled"),
    "wanted": (["/usr/lib/systemd/system/CSUTKEcat.service", WANTED], "enabled"),
    "required": (["/usr/lib/systemd/system/CSUTKEcat.service",
                  "/etc/systemd/system/tke.target.requires/CSUTKEcat.service"], "enabled"),
    "init script and S link": (["/etc/init.d/CSUTKEcat", "/etc/rc3.d/S14CSUTKEcat"], "enabled"),
    "init script and S link below rc.d": (["/etc/init.d/CSUTKEcat", "/etc/rc.d/rc5.d/S14CSUTKEcat"], "enabled"),
    "init script and K link": (["/etc/init.d/CSUTKEcat", "/etc/rc3.d/K86CSUTKEcat"], "disabled"),
    "init script only": (["/etc/init.d/CSUTKEcat"], "disabled"),
    "a unit, and S links that systemd does not look at": (
        ["/usr/lib/systemd/system/CSUTKEcat.service", "/etc/init.d/CSUTKEcat", "/etc/rc3.d/S14CSUTKEcat"], "disabled"),
}


@pytest.mark.parametrize("name", sorted(UNITS))
def test_the_unit_as_it_was(root, name):
    files, state = UNITS[name]
    root.put(paths.CATCHER, b"", 0o755)
    for path in files:
        root.put(path)
    assert root.run("csulcca_preinst", "rpm", "2") == (0, "")
    assert note(root)["unit"] == state


def test_a_unit_without_a_catcher_is_none(root):
    """Left by an administrator, or by a package that has been removed."""
    root.put(WANTED)
    root.put("/etc/systemd/system/CSUTKEcat.service")
    assert root.run("csulcca_preinst", "rpm", "1") == (0, "")
    assert note(root)["unit"] == "none"


def test_a_mask_as_it_was(root):
    root.put(WANTED)
    os.symlink("/dev/null", root.path("/etc/systemd/system/CSUTKEcat.service"))
    assert root.run("csulcca_preinst", "deb", "upgrade", "7.3.0-1") == (0, "")
    assert note(root)["unit"] == "masked"


def test_a_tree_of_7x(root):
    before_8(root)
    root.put("/etc/group", b"root:x:0:\ncca_admin:x:990:\n")
    assert root.run("csulcca_preinst", "rpm", "2") == (0, "")
    assert (note(root)["tree"], note(root)["groups"]) == ("yes", "yes")


def test_a_tree_of_8x_is_none_of_7x(root):
    root.put(paths.CATCHER, b"", 0o755)
    assert root.run("csulcca_preinst", "rpm", "2") == (0, "")
    assert (note(root)["tree"], note(root)["groups"]) == ("no", "no")


def test_what_the_shell_writes_is_what_python_reads(root, machine):
    before_8(root)
    root.put(WANTED)
    root.run("csulcca_preinst", "rpm", "2")
    machine.put(paths.CAPTURE, root.get(paths.CAPTURE))
    seen = facts.collect(machine).capture
    assert (seen.tree, seen.groups, seen.unit, seen.active) == (True, False, "enabled", False)
    assert (seen.mode, seen.seen) == (None, "no")
    systemd = Systemd(root, MainPID="4711", ActiveState="active")
    systemd.process(4711, [EXEC, b"-tls"])
    systemd.seen()
    machine.put(paths.CAPTURE, root.get(paths.CAPTURE))
    seen = facts.collect(machine).capture
    assert (seen.mode, seen.seen, seen.active) == ("tls", "process", True)


class Systemd:
    """In place of systemctl and journalctl, and of /proc: what they know of the unit and of processes."""

    def __init__(self, root, **properties):
        self.root = root
        root.put("/run/systemd/system/x")
        root.put(paths.CATCHER, b"", 0o755)
        self.shown = {"MainPID": "0", "ExecMainPID": "0", "ControlGroup": "", "ActiveState": "inactive"}
        self.shown.update(properties)
        self.log = []
        self.keeps = True
        self.write()

    def write(self):
        root = self.root
        root.put("/shown", "".join("%s=%s\n" % pair for pair in self.shown.items()).encode("ascii"))
        root.put("/bin/systemctl", b'''#!/bin/sh
echo "$*" >>%(asked)s
case "$*" in
*is-active*) grep -qx ActiveState=active %(shown)s ;;
show*) while [ $# -gt 1 ]; do [ "$1" != -p ] || grep "^$2=" %(shown)s; shift; done ;;
esac
'''.replace(b"%(shown)s", root.path("/shown").encode("ascii"))
            .replace(b"%(asked)s", root.path("/asked").encode("ascii")), 0o755)
        # PID 1 logs that a unit has started, and journald stores it unless it is told to store nothing.
        root.put("/bin/systemd-run", b'''#!/usr/bin/python3
import sys
unit = [word[len("--unit="):] for word in sys.argv if word.startswith("--unit=")][0]
log = eval(open("%(log)s").read())
if %(keeps)r:
    log.insert(0, {"_PID=1", "_UID=0", "UNIT=" + unit, "when=990.5"})
open("%(log)s", "w").write(repr(log))
'''.replace(b"%(log)s", root.path("/journal").encode("ascii")).replace(b"%(keeps)r", b"%r" % self.keeps), 0o755)
        # Each entry is a set of FIELD=value; as journalctl, an entry is shown if it has all that are asked for.
        root.put("/journal", repr(self.log).encode("ascii"))
        root.put("/bin/journalctl", b'''#!/usr/bin/python3
import sys
wanted = {word for word in sys.argv[1:] if "=" in word and not word.startswith("--")}
for entry in eval(open("%s").read()):
    if wanted <= entry:
        if "export" in sys.argv:
            print("\\n".join(word for word in sorted(entry) if word.startswith("_CMDLINE=")))
        else:
            print("[%%s] host systemd: x" %% [word[5:] for word in entry if word.startswith("when=")][0])
        if "1" in sys.argv:
            break
''' % root.path("/journal").encode("ascii"), 0o755)

    def process(self, pid, words, uid=0, group="/system.slice/CSUTKEcat.service"):
        self.root.put("/proc/%d/status" % pid, b"Name:\tx\nUid:\t%d\t%d\t%d\t%d\n" % ((uid,) * 4))
        self.root.put("/proc/%d/cmdline" % pid, b"\0".join(words) + b"\0")
        self.root.put("/proc/%d/cgroup" % pid, b"1:name=systemd:/x\n0::" + group.encode("ascii") + b"\n")

    def seen(self):
        self.write()
        assert self.root.run("csulcca_preinst", "deb", "upgrade", "7.6.10-1") == (0, "")
        told = note(self.root)
        return told["mode"], told["seen"]


EXEC = paths.CATCHER.encode("ascii")
GROUP = "/system.slice/CSUTKEcat.service"


@pytest.mark.parametrize("words,mode", [
    ([EXEC, b"-tls"], "tls"), ([EXEC], "tcp"), ([b"catcher.exe", b"-tls"], "tls"), ([b"catcher.exe"], "tcp"),
    ([b"/usr/bin/python3", b"-I", EXEC, b"-tls"], "tls"), ([EXEC, b"-tlsx"], "tcp"), ([EXEC, b"-v", b"-tls"], "tls"),
    # Not the daemon yet.
    ([b"/bin/sh", b"/opt/IBM/CCA/bin/CSUTKEcat", b"start"], "none"), ([b"tail", b"not-catcher.exe.log"], "none"),
])
def test_the_mode_of_the_running_daemon(root, words, mode):
    systemd = Systemd(root, MainPID="4711", ActiveState="active", ControlGroup=GROUP)
    systemd.process(4711, words)
    assert systemd.seen() == (mode, "no" if mode == "none" else "process")


def test_the_mode_of_a_daemon_that_an_init_script_started(root):
    """It has no main process, but a control group; what a user puts into one of his own proves nothing."""
    systemd = Systemd(root, ActiveState="active", ControlGroup=GROUP)
    systemd.process(800, [EXEC], group="/user.slice/user-1000.slice/user@1000.service" + GROUP)
    systemd.process(801, [EXEC], uid=1000)
    systemd.process(802, [b"/bin/sh", b"/etc/init.d/CSUTKEcat"])
    systemd.process(803, [EXEC, b"-tls"])
    assert systemd.seen() == ("tls", "process")


@pytest.mark.parametrize("where", ["no service", "beside the service"])
def test_a_process_that_only_calls_itself_so_shows_no_mode(root, where):
    systemd = Systemd(root)
    systemd.process(800, [EXEC, b"-tls"], uid=1000, group="/user.slice")
    systemd.process(801, [EXEC, b"-tls"], group="/user.slice")
    if where == "beside the service":
        systemd.shown.update(MainPID="4711", ActiveState="active", ControlGroup=GROUP)
        systemd.process(4711, [EXEC])
        systemd.process(4712, [EXEC, b"-tls"], uid=1000)
        assert systemd.seen() == ("tcp", "process")
    else:
        assert systemd.seen() == ("none", "no")


RAN = ("{ path=/opt/IBM/CCA/bin/catcher.exe ; argv[]=%s ; ignore_errors=no ; "
       "start_time=[Sat 2026-11-28 10:00:00 UTC] ; stop_time=[n/a] ; pid=%d ; code=(null) ; status=0/0 }")


@pytest.mark.parametrize("argv,pid,main,wanted", [
    (paths.CATCHER + " -tls", 4711, 4711, ("tls", "last-run")), (paths.CATCHER, 4711, 4711, ("tcp", "last-run")),
    # The unit was changed since, or never ran: what it would start is no evidence.
    (paths.CATCHER + " -tls", 0, 4711, ("none", "no")), (paths.CATCHER + " -tls", 0, 0, ("none", "no")),
    (paths.CATCHER + " -tls", 4700, 4711, ("none", "no")),
    ("/opt/IBM/CCA/bin/CSUTKEcat start", 4711, 4711, ("none", "no")),
    ("/bin/sh -c test -e /x || exec /opt/IBM/CCA/bin/catcher.exe -tls", 4711, 4711, ("none", "no")),
])
def test_the_mode_of_a_daemon_that_the_old_prerm_has_stopped(root, argv, pid, main, wanted):
    assert Systemd(root, ExecStart=RAN % (argv, pid), ExecMainPID=str(main)).seen() == wanted


DAEMON_LOG = {"_UID=0", "_SYSTEMD_UNIT=CSUTKEcat.service", "_CMDLINE=/opt/IBM/CCA/bin/catcher.exe -tls"}


@pytest.mark.parametrize("log,wanted", [
    ([DAEMON_LOG], ("tls", "journal")),
    # Newest first, and the control script logs too.
    ([{"_UID=0", "_SYSTEMD_UNIT=CSUTKEcat.service", "_CMDLINE=/bin/sh /opt/IBM/CCA/bin/CSUTKEcat start"},
      {"_UID=0", "_SYSTEMD_UNIT=CSUTKEcat.service", "_CMDLINE=/opt/IBM/CCA/bin/catcher.exe"}, DAEMON_LOG],
     ("tcp", "journal")),
    # What another user or another service sends.
    ([DAEMON_LOG - {"_UID=0"} | {"_UID=1000"}], ("none", "no")),
    ([DAEMON_LOG - {"_SYSTEMD_UNIT=CSUTKEcat.service"} | {"UNIT=CSUTKEcat.service", "_SYSTEMD_UNIT=x.service"}],
     ("none", "no")),
    ([], ("none", "no")),
])
def test_the_mode_of_a_daemon_that_journald_has_seen(root, log, wanted):
    systemd = Systemd(root)
    systemd.log = log
    assert systemd.seen() == wanted


STOPPED = {"UNIT=CSUTKEcat.service", "MESSAGE_ID=9d1aaa27d60140bd96365438aad20286", "when=99999999.123456"}


@pytest.mark.parametrize("sender,active", [
    ({"_PID=1", "_UID=0"}, "yes"), ({"_PID=812", "_UID=1000"}, "no"), ({"_PID=812", "_UID=0"}, "no"),
    ({"_PID=812", "_UID=1000", "_SYSTEMD_UNIT=user@1000.service", "PID=1"}, "no"),
])
def test_only_systemd_itself_can_say_that_it_stopped_the_service(root, sender, active):
    """Any user may send its message, and then a service that was stopped for good would be started."""
    systemd = Systemd(root)
    before_8(root)
    root.put("/proc/%d/stat" % os.getpid(), b"1 (dpkg) S " + b"1 " * 18 + b"100 0\n")
    systemd.log = [{"_PID=1", "_UID=0", "when=1.5"}, STOPPED | sender]
    systemd.seen()
    assert note(root)["active"] == active


# What PID 1 logged before journald was told to store nothing. A user cannot pass for PID 1.
OLDER = [[], [{"_PID=1", "_UID=0", "when=1.5"}],
         [{"_PID=1", "_UID=0", "UNIT=CSUTKEcat.service", "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf", "when=1.5"},
          {"_PID=812", "_UID=1000", "UNIT=csulcca-journal-1.service", "when=990.5"}]]


@pytest.mark.parametrize("keeps,stopped_long_ago", [(True, True), (False, False)])
@pytest.mark.parametrize("older", OLDER, ids=["empty", "older lines", "older lines of the unit"])
def test_a_journal_that_keeps_nothing_does_not_hide_that_it_ran(root, older, keeps, stopped_long_ago):
    """"systemctl disable --now" in the old prerm leaves no other trace than its directory."""
    systemd = Systemd(root)
    before_8(root)
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    root.put("/etc/systemd/system/multi-user.target.wants/other.service")
    root.put("/old.prerm", b"systemctl disable --now CSUTKEcat\n")
    root.put("/bin/dpkg-query", b"#!/bin/sh\necho %s\n" % root.path("/old.prerm").encode("ascii"), 0o755)
    root.put("/proc/uptime", b"1000.00 0\n")
    root.put("/proc/%d/stat" % os.getpid(), b"1 (dpkg) S " + b"1 " * 18 + b"90000 0\n")
    systemd.log, systemd.keeps = older, keeps
    systemd.seen()
    told = note(root)
    assert (told["unit"], told["active"]) == ("enabled", "no" if stopped_long_ago else "yes")


# Whether the journal keeps what PID 1 logs, when systemd says that the unit stopped, and the note.
FORGOTTEN = [
    (False, "0", "unknown"), (False, "", "unknown"), (False, "5000000", "no"), (True, "0", "no"),
    (False, "950000000", "yes"),
]


@pytest.mark.parametrize("keeps,stopped,active", FORGOTTEN)
@pytest.mark.parametrize("older", OLDER, ids=["empty", "older lines", "older lines of the unit"])
def test_what_nobody_remembers_is_not_known(root, machine, older, keeps, stopped, active):
    """A service that was started by hand and is not enabled: systemd forgets it once the old prerm has stopped it."""
    systemd = Systemd(root, InactiveEnterTimestampMonotonic=stopped)
    before_8(root)
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    root.put("/proc/uptime", b"1000.00 0\n")
    root.put("/proc/%d/stat" % os.getpid(), b"1 (dpkg) S " + b"1 " * 18 + b"90000 0\n")
    systemd.log, systemd.keeps = older, keeps
    if not stopped:
        del systemd.shown["InactiveEnterTimestampMonotonic"]
    systemd.seen()
    assert (note(root)["unit"], note(root)["active"]) == ("disabled", active)
    machine.put(paths.CAPTURE, root.get(paths.CAPTURE))
    seen = facts.collect(machine).capture
    assert (seen.active, seen.unsure) == (active == "yes", active == "unknown")
    told = plan.plan(facts.collect(machine), transition.of(transition.UPGRADE)).findings
    assert ("service-state-unknown" in ids(told)) == (active == "unknown")


@pytest.mark.parametrize("group", ["cca_operators", "cca_ops", "my_cca_admin", "cca_admin2", "cca_adm", "CCA_ADMIN"])
def test_a_group_of_somebody_elses_is_no_trace_of_7x(root, group):
    root.put("/etc/group", b"root:x:0:\n%s:x:990:\n" % group.encode())
    assert root.run("csulcca_preinst", "rpm", "1") == (0, "")
    assert note(root)["groups"] == "no"


@pytest.mark.parametrize("group", paths.LEGACY_GROUPS)
def test_each_group_of_ccas_is_a_trace_of_7x(root, group):
    root.put("/etc/group", b"root:x:0:\n%s:x:990:\n" % group.encode())
    assert root.run("csulcca_preinst", "deb", "install") == (0, "")
    assert note(root)["groups"] == "yes"


def test_a_note_of_an_attempt_that_was_killed_is_kept(root):
    """The old package's scriptlets may have disabled the service since."""
    root.put(paths.CAPTURE, b"tree=yes\ngroups=yes\nunit=enabled\nactive=yes\n")
    root.run("csulcca_preinst", "rpm", "2")
    assert note(root) == {"tree": "yes", "groups": "yes", "unit": "enabled", "active": "yes"}


@pytest.mark.parametrize("arguments", [("rpm", "1"), ("rpm", "2"), ("deb", "install")])
def test_what_a_killed_attempt_has_brought_is_no_trace_of_8(root, arguments):
    """Its files are there, and 7.x's daemon still runs."""
    Systemd(root, MainPID="4711", ActiveState="active")
    root.put(paths.BIN + "/CSUTKEcat", b"#!/bin/sh\nexec %s/run\n" % root.path("/usr/lib/csulcca").encode())
    root.put(paths.CAPTURE, b"tree=yes\nours=no\ngroups=yes\nunit=enabled\nactive=yes\n")
    assert root.run("csulcca_preinst", *arguments)[0] == 0
    found = note(root)
    assert (found["tree"], found["ours"], found["active"]) == ("yes", "no", "yes")


WHOLE_NOTE = b"tree=yes\ngroups=yes\nunit=enabled\nactive=yes\n"


@pytest.mark.parametrize("data", [b"", b"\0" * len(WHOLE_NOTE), WHOLE_NOTE[:len("tree=yes\n")], WHOLE_NOTE[:-3]])
def test_a_note_that_a_power_failure_has_cut_is_not_kept(root, data):
    root.put(paths.CAPTURE, data)
    root.run("csulcca_preinst", "rpm", "2")
    assert note(root) == NO_CCA


def logged(root, *names):
    """Have programs of these names log that they were called, and with which files."""
    for name in names:
        real = shutil.which(name)
        log = 'echo %s "$@" >>%s\nexec %s "$@"\n' % (name, root.path("/log"), real)
        root.put("/bin/" + name, b"#!/bin/sh\n" + log.encode("ascii"), 0o755)


def test_the_note_is_on_disk_before_it_has_its_name(root):
    """After a power failure it must not be there and empty, and its directory must be there."""
    logged(root, "sync", "mv")
    root.run("csulcca_preinst", "rpm", "2")
    assert root.get("/log").decode("ascii").replace(root.base, "").splitlines() == [
        "sync /var/lib", "sync %s.new" % paths.CAPTURE, "mv -fT %s.new %s" % (paths.CAPTURE, paths.CAPTURE),
        "sync " + paths.STATE_DIR]


def test_a_copy_of_an_edited_init_script_is_on_disk_before_rpm_removes_it(root):
    logged(root, "sync")
    root.put(paths.INIT_SCRIPT, b"edited")
    root.run("csulcca_preinst", "rpm", "2")
    copy = paths.INIT_SCRIPT + ".rpmsave"
    assert root.get(copy) == b"edited"
    assert "sync %s %s" % (copy, os.path.dirname(copy)) in root.get("/log").decode("ascii").replace(root.base, "")


def test_an_old_note_is_not(root):
    root.put(paths.CAPTURE, b"tree=yes\ngroups=yes\nunit=enabled\nactive=yes\n")
    os.utime(root.path(paths.CAPTURE), (1, 1))
    root.run("csulcca_preinst", "rpm", "2")
    assert note(root) == NO_CCA


def with_groups(root):
    """The payload brings groups; those that are made are noted in the host's own file of groups."""
    root.groups = "cca_admin cca_setmk"
    root.put("/etc/group", b"root:x:0:\n")
    root.put("/bin/getent", b'#!/bin/sh\ngrep "^$2:" %s\n' % root.path("/etc/group").encode(), 0o755)
    root.put("/bin/groupadd", b'#!/bin/sh\necho "$2:x:999:" >>%s\n' % root.path("/etc/group").encode(), 0o755)


@pytest.mark.parametrize("arguments", [("deb", "install"), ("rpm", "1")])
def test_groups_are_made_once_and_are_no_trace_of_7_also_after_a_kill(root, arguments):
    with_groups(root)
    for _ in range(2):
        assert root.run("csulcca_preinst", *arguments) == (0, "")
        assert root.get("/etc/group") == b"root:x:0:\ncca_admin:x:999:\ncca_setmk:x:999:\n"
        assert note(root)["groups"] == "no"


def test_groups_that_7_made_are_a_trace(root):
    with_groups(root)
    root.put("/etc/group", b"root:x:0:\ncca_admin:x:999:\n")
    root.run("csulcca_preinst", "rpm", "1")
    assert note(root)["groups"] == "yes"


def test_a_system_that_cannot_make_groups_still_takes_the_package(root):
    with_groups(root)
    root.put("/bin/groupadd", b"#!/bin/sh\nexit 10\n", 0o755)
    assert root.run("csulcca_preinst", "rpm", "1")[0] == 0
    assert note(root)["groups"] == "no"


def test_the_reference_payload_makes_no_group(root):
    with_groups(root)
    root.groups = ""
    root.run("csulcca_preinst", "deb", "install")
    assert root.get("/etc/group") == b"root:x:0:\n"


# Seconds ago, then what dpkg logged -> seconds ago of the killed upgrade
DPKG_LOG = {
    "killed once": ([(900, "status installed csulcca:amd64 7.3.0-1"), (600, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1"),
                     (600, "status half-installed csulcca:amd64 7.3.0-1"),
                     (5, "upgrade csulcca:all 7.3.0-1 8.0.0-1")], 600),
    "killed twice": ([(600, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1"), (60, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1"),
                      (5, "upgrade csulcca:all 7.3.0-1 8.0.0-1")], 600),
    "never killed": ([(900, "install csulcca:amd64 <none> 7.3.0-1"), (899, "status installed csulcca:amd64 7.3.0-1"),
                      (5, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1")], None),
    "another package": ([(600, "upgrade csulcca-doc:amd64 1 2"), (5, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1")], None),
    "long ago": ([(90000, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1"), (5, "upgrade csulcca:all 7.3.0-1 8.0.0-1")], None),
    "no log": ([], None),
}


@pytest.mark.parametrize("name", sorted(DPKG_LOG))
def test_the_begin_of_an_upgrade_that_was_killed_is_known(root, name):
    """7.3's prerm has stopped the service then, and it is to run again."""
    lines, ago = DPKG_LOG[name]
    now = int(time.time())
    if lines:
        text = "".join("%s %s\n" % (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now - age)), line)
                       for age, line in lines)
        root.put("/var/log/dpkg.log", text.encode("ascii"))
    status, output = root.run("csulcca_killed_upgrade_start", phase="preinst")
    assert (status, output.strip()) == ((0, str(now - ago)) if ago else (1, ""))


@pytest.mark.parametrize("arguments", [("deb", "abort-upgrade", "8.0"), ("deb", ""), ("deb", "nonsense")])
def test_other_calls_of_preinst_note_nothing(root, arguments):
    assert root.run("csulcca_preinst", *arguments) == (0, "")
    assert not root.exists(paths.CAPTURE)


def test_a_var_that_cannot_be_written_stops_nothing(root):
    root.put("/var/lib/csulcca", b"a file")
    assert root.run("csulcca_preinst", "rpm", "2")[0] == 0


# -- postrm ------------------------------------------------------------------------------------------------------------

KEY, CRT = b"a key\n", b"a certificate\n"


def installed_with_pair(root, generated=True):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    root.put(paths.CONF, b"TLS_ON\n")
    made = pair.fingerprint(KEY, CRT) if generated else None
    root.put(paths.STAMP, stamp.render(make_stamp(generated_pair=made)), 0o600)
    root.put(paths.LOCK)
    root.put(paths.CAPTURE, b"tree=no\n")


def before_removal(root):
    """What prerm has our library do."""
    machine = Machine(root.base)
    machine.programs[paths.OPENSSL] = FileNotFoundError(errno.ENOENT, "No such file or directory")
    return apply.converge(machine, transition.of(transition.REMOVE))


def purge(root):
    """All of dpkg -P."""
    before_removal(root)
    for action in ("remove", "purge"):
        assert root.run("csulcca_postrm", "deb", action) == (0, "")


def pair_is_there(root):
    return [root.exists(paths.KEY), root.exists(paths.CERTIFICATE)]


@pytest.mark.parametrize("arguments", [("deb", "remove"), ("rpm", "0")])
def test_removal_keeps_what_the_vendor_documents(root, arguments):
    installed_with_pair(root)
    before_removal(root)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    assert root.get(paths.CONF) == b"TLS_ON\n"
    assert pair_is_there(root) == [True, True]
    # The stamp is the proof of whose pair that is; the other tells a later purge, which rpm has not.
    assert sorted(os.listdir(root.path(paths.STATE_DIR))) == ["purge", "state.json"][arguments[0] == "rpm":]
    assert not root.exists("/usr/lib/csulcca")


@pytest.mark.parametrize("arguments", [("deb", "remove"), ("rpm", "0")])
def test_removal_without_a_pair_of_ours_leaves_no_stamp(root, arguments):
    installed_with_pair(root, generated=False)
    before_removal(root)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    assert pair_is_there(root) == [True, True]
    assert not root.exists(paths.STATE_DIR)


@pytest.mark.parametrize("generated", [True, False])
@pytest.mark.parametrize("arguments", [("deb", "remove"), ("rpm", "0"), ("deb", "purge")])
def test_where_python_did_not_run_everything_is_kept(root, arguments, generated):
    """Its interpreter went first, say. Purge keeps the pair, too: nobody has said whose it is."""
    installed_with_pair(root, generated)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    assert pair_is_there(root) == [True, True]
    assert root.exists(paths.STAMP) == (arguments != ("deb", "purge"))


def test_purge_removes_our_unchanged_pair(root):
    installed_with_pair(root)
    purge(root)
    assert pair_is_there(root) == [False, False]
    assert root.get(paths.CONF) == b"TLS_ON\n"
    assert not root.exists(paths.STATE_DIR) and not root.exists("/opt/IBM/CCA/bin")


def change_certificate(root):
    root.put(paths.CERTIFICATE, CRT + b"\n")


def change_key(root):
    root.put(paths.KEY, b"another", 0o600)


def lose_certificate(root):
    os.unlink(root.path(paths.CERTIFICATE))


def link_key(root):
    os.rename(root.path(paths.KEY), root.path("/etc/cca/elsewhere.key"))
    os.symlink(root.path("/etc/cca/elsewhere.key"), root.path(paths.KEY))


def lose_stamp(root):
    os.unlink(root.path(paths.STAMP))


def break_stamp(root):
    root.put(paths.STAMP, b'{"generated_pair": "')


@pytest.mark.parametrize("change", [
    change_certificate, change_key, lose_certificate, link_key, lose_stamp, break_stamp,
])
def test_purge_keeps_whatever_is_not_provably_ours(root, change):
    installed_with_pair(root)
    change(root)
    before = pair_is_there(root)
    purge(root)
    assert pair_is_there(root) == before
    assert root.get(paths.CONF) == b"TLS_ON\n"
    assert not root.exists(paths.STATE_DIR)


def test_purge_after_removal_of_a_package_that_made_no_pair(root):
    """Removal takes the stamp, and the pair stays."""
    installed_with_pair(root, generated=False)
    purge(root)
    assert pair_is_there(root) == [True, True]


def test_purge_after_removal_purge_twice(root):
    installed_with_pair(root)
    purge(root)
    assert root.run("csulcca_postrm", "deb", "purge") == (0, "")
    assert pair_is_there(root) == [False, False]


@pytest.mark.parametrize("arguments", [("deb", "upgrade", "8.1"), ("deb", "failed-upgrade", "8.0"), ("rpm", "1"),
                                       ("deb", "disappear", "x", "1"), ("deb", ""), ("rpm", "")])
def test_other_calls_of_postrm_remove_nothing(root, arguments):
    installed_with_pair(root)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    assert pair_is_there(root) == [True, True]
    assert root.exists(paths.STAMP) and root.exists(paths.CAPTURE)


def test_postrm_on_a_host_where_nothing_is_left(root):
    for arguments in (("deb", "remove"), ("deb", "purge"), ("rpm", "0")):
        assert root.run("csulcca_postrm", *arguments) == (0, "")


def test_unfinished_pairs_go(root):
    installed_with_pair(root)
    root.put(paths.STAGE_DRAFT + "/catcher.key", KEY, 0o600)
    root.put(paths.STAGE + "/catcher.key", KEY, 0o600)
    purge(root)
    assert not root.exists("/opt/IBM/CCA")


def in_bin(root):
    """Names and content of what is left where the pair is; {} where that directory is gone."""
    base = root.path(paths.BIN)
    return {name: root.get(paths.BIN + "/" + name) for name in os.listdir(base)} if os.path.isdir(base) else {}


def unfinished(root, begin):
    """Run what begins a pair on the root, and put down a mark of an installation that a purge is for."""
    begin(Machine(root.base))
    root.put(paths.CONF, b"TLS_ON\n")


@pytest.mark.parametrize("placed", [(), ("catcher.key",), ("catcher.key", "catcher.crt")])
def test_purge_of_a_pair_that_is_half_placed(root, placed):
    unfinished(root, lambda machine: pair.stage(machine, KEY, CRT))
    for name in placed:
        os.link(root.path(paths.STAGE + "/" + name), root.path(paths.BIN + "/" + name))
    purge(root)
    assert in_bin(root) == {}


@pytest.mark.parametrize("by", ["mv", "cp"])
def test_purge_keeps_what_an_administrator_put_beside_or_into_an_unfinished_pair(root, by):
    """A CA's certificate for our key: with the key it is the administrator's pair now."""
    unfinished(root, lambda machine: (pair.stage(machine, KEY, CRT), pair.place(machine)))
    if by == "mv":
        os.unlink(root.path(paths.CERTIFICATE))
    root.put(paths.CERTIFICATE, b"signed")
    purge(root)
    assert in_bin(root) == {"catcher.key": KEY, "catcher.crt": b"signed"}


@pytest.mark.parametrize("renamed", [(), ("catcher.key",), ("catcher.key", "catcher.crt")])
@pytest.mark.parametrize("generated", [True, False])
@pytest.mark.parametrize("old_is_ours", [True, False])
def test_purge_of_an_unfinished_replacement(root, renamed, generated, old_is_ours):
    """`cert generate --force` or `cert install`, killed: what we made goes, what is an administrator's stays."""
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    if old_is_ours:
        root.put(paths.STAMP, stamp.render(make_stamp(generated_pair=pair.fingerprint(KEY, CRT))))
    unfinished(root, lambda machine: pair.begin_replacement(machine, b"new key", b"new crt", generated))
    for name in renamed:
        os.rename(root.path(paths.REPLACE_STAGE + "/" + name), root.path(paths.BIN + "/" + name))
    purge(root)
    left = in_bin(root)
    assert not [name for name in left if name.startswith(".")]
    wanted = ([] if old_is_ours else [KEY, CRT]) + ([] if generated else [b"new key", b"new crt"])
    assert sorted(left.values()) == sorted(wanted)
    if not generated:
        assert (left["catcher.key"], left["catcher.crt"]) == (b"new key", b"new crt")


def begin_return(machine, generated, old_is_ours):
    """The daemon did not show a new pair, which was generated or an administrator's; the way back has begun."""
    suffix = pair.begin_replacement(machine, b"new key", b"new crt", generated)
    pair.place_replacement(machine)
    pair.clear(machine)
    pair.begin_return(machine, suffix, old_is_ours)


@pytest.mark.parametrize("renamed", [(), ("catcher.key",), ("catcher.key", "catcher.crt")])
@pytest.mark.parametrize("old_is_ours", [True, False])
def test_purge_of_an_unfinished_return(root, renamed, old_is_ours):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    unfinished(root, lambda machine: begin_return(machine, False, old_is_ours))
    for name in renamed:
        os.rename(root.path(paths.REPLACE_STAGE + "/" + name), root.path(paths.BIN + "/" + name))
    purge(root)
    assert in_bin(root) == ({} if old_is_ours else {"catcher.key": KEY, "catcher.crt": CRT})


@pytest.mark.parametrize("old_is_ours", [True, False])
def test_purge_of_a_replacement_that_was_killed_after_the_kept_names(root, old_is_ours):
    def begin(machine):
        suffix = pair.begin_replacement(machine, b"new key", b"new crt", True)
        pair.place_replacement(machine)
        for name in pair.FILES:
            machine.link(paths.REPLACE_STAGE + "/" + pair.KEPT + name + suffix, paths.BIN + "/" + name + suffix)

    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    if old_is_ours:
        root.put(paths.STAMP, stamp.render(make_stamp(generated_pair=pair.fingerprint(KEY, CRT))))
    unfinished(root, begin)
    purge(root)
    assert sorted(in_bin(root).values()) == ([] if old_is_ours else sorted([KEY, CRT]))


def test_purge_keeps_both_where_the_name_for_what_was_replaced_is_taken(root):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    taken = []

    def begin(machine):
        suffix = pair.begin_replacement(machine, b"new key", b"new crt", True)
        pair.place_replacement(machine)
        taken.append(paths.KEY + suffix)

    unfinished(root, begin)
    root.put(taken[0], b"theirs")
    purge(root)
    assert sorted(in_bin(root).values()) == sorted([KEY, CRT, b"theirs"])


def test_purge_keeps_what_somebody_put_in_the_way_of_a_replacement(root):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.CERTIFICATE, CRT)
    unfinished(root, lambda machine: pair.begin_replacement(machine, b"new key", b"new crt", True))
    os.unlink(root.path(paths.CERTIFICATE))
    root.put(paths.CERTIFICATE, b"theirs")
    purge(root)
    assert b"theirs" in in_bin(root).values() and KEY in in_bin(root).values() and CRT in in_bin(root).values()


@pytest.mark.parametrize("kind,ours", [("link", "yes"), ("file", "yes"), ("copy", "yes"), ("of 7.x", "no"),
                                       ("link of others", "no"), ("none", "no")])
def test_preinst_knows_the_control_script_of_8(root, kind, ours):
    """/opt was kept, /usr is new: its CSUTKEcat says what it was."""
    root.put(paths.CATCHER, b"", 0o755)
    os.rmdir(root.path("/usr/lib/csulcca/catcher_install"))
    control = root.path(paths.BIN + "/CSUTKEcat")
    if kind == "link":
        os.symlink(root.path("/usr/lib/csulcca/run"), control)
    elif kind == "link of others":
        os.symlink("/usr/local/bin/run", control)
    elif kind == "copy":
        # As the package has it.
        with open(os.path.join(TREE, "hooks/run")) as stream:
            root.put(paths.BIN + "/CSUTKEcat", stream.read().replace("/usr/lib/", root.path("/usr/lib/")).encode())
    elif kind != "none":
        text = "exec /usr/lib/csulcca/run CSUTKEcat" if kind == "file" else "/opt/IBM/CCA/bin/catcher.exe # csulcca"
        text = text.replace("/usr/lib", root.path("/usr/lib"))
        root.put(paths.BIN + "/CSUTKEcat", ("#!/bin/sh\n%s\n" % text).encode())
    assert root.run("csulcca_preinst", "rpm", "1")[0] == 0
    note = root.get(paths.CAPTURE).decode()
    assert "ours=%s\n" % ours in note and ("tree=no\n" in note) == (ours == "yes")


def test_purge_after_an_unfinished_return_of_a_lone_key(root):
    """The administrator's key, which had no certificate, does not get one of another key."""
    root.put(paths.KEY, KEY, 0o600)
    unfinished(root, lambda machine: begin_return(machine, True, False))
    os.rename(root.path(paths.REPLACE_STAGE + "/catcher.key"), root.path(paths.KEY))
    purge(root)
    assert in_bin(root) == {"catcher.key": KEY}


KEPT = ".20261128T101112Z"
OTHERS = b"others key\n", b"others certificate\n"


def put_pair(root, suffix, files):
    root.put(paths.KEY + suffix, files[0], 0o600)
    root.put(paths.CERTIFICATE + suffix, files[1])


@pytest.mark.parametrize("suffix", [KEPT, KEPT + "-2"])
@pytest.mark.parametrize("ours", ["in place", "kept", "both", "neither"])
def test_purge_leaves_no_private_key_that_we_made(root, suffix, ours):
    """Of a pair of ours that was replaced a copy is kept; an administrator's files stay, in place or kept."""
    made = (b"our key\n", b"our certificate\n"), (b"our earlier key\n", b"our earlier certificate\n")
    in_place = made[0] if ours in ("in place", "both") else (KEY, CRT)
    kept = made[1] if ours in ("kept", "both") else OTHERS
    put_pair(root, "", in_place)
    put_pair(root, suffix, kept)
    root.put(paths.STAMP, stamp.render(make_stamp(
        generated_pair=pair.fingerprint(*made[0]), made_earlier=["ab" * 32, pair.fingerprint(*made[1])])))
    purge(root)
    theirs = [one for files in (in_place, kept) if files not in made for one in files]
    assert sorted(in_bin(root).values()) == sorted(theirs)


@pytest.mark.parametrize("ours", [True, False])
def test_purge_where_the_links_of_an_image_lead_to_the_pair(root, ours):
    """What goes with the pair is there, too. An administrator's pair stays, and stays in reach."""
    made = pair.fingerprint(KEY, CRT)
    places = [paths.BIN + name for name in ("/catcher.key", "/catcher.crt")]

    def link(where):
        for place in places:
            if root.exists(place):
                os.unlink(root.path(place))
            os.symlink(where + place[len(paths.BIN):], root.path(place))

    link(paths.IMAGE_PAIR)
    machine = Machine(root.base)
    for suffix in ("", KEPT):
        for place, data in zip(places, (KEY, CRT)):
            machine.put(place + suffix, data)
    machine.put(paths.STAMP, stamp.render(make_stamp(generated_pair=made if ours else None)), 0o600)
    before_removal(root)
    machine.put(paths.STAGE_DRAFT + "/catcher.key", b"a draft")
    link(root.path(paths.IMAGE_PAIR))
    for action in ("remove", "purge"):
        assert root.run("csulcca_postrm", "deb", action) == (0, "")
    assert image_links(root) == ([] if ours else ["catcher.key", "catcher.crt"])
    left = ["catcher.crt", "catcher.crt" + KEPT, "catcher.key", "catcher.key" + KEPT]
    assert (sorted(os.listdir(root.path(paths.IMAGE_PAIR))) if root.exists(paths.IMAGE_PAIR) else []) == (
        [] if ours else left)


@pytest.mark.parametrize("change", ["key", "certificate", "no certificate", "a link"])
def test_purge_keeps_a_kept_pair_that_was_changed(root, change):
    put_pair(root, KEPT, (KEY, CRT))
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY, CRT)])))
    before_removal(root)
    if change == "key":
        root.put(paths.KEY + KEPT, b"another", 0o600)
    elif change == "certificate":
        root.put(paths.CERTIFICATE + KEPT, b"signed by a CA")
    elif change == "no certificate":
        os.unlink(root.path(paths.CERTIFICATE + KEPT))
    else:
        os.rename(root.path(paths.KEY + KEPT), root.path("/etc/cca/elsewhere"))
        os.symlink("/etc/cca/elsewhere", root.path(paths.KEY + KEPT))
    before = sorted(os.listdir(root.path(paths.BIN)))
    for action in ("remove", "purge"):
        assert root.run("csulcca_postrm", "deb", action) == (0, "")
    assert sorted(os.listdir(root.path(paths.BIN))) == before


@pytest.mark.parametrize("ours", [True, False])
def test_purge_and_the_key_of_a_request(root, ours):
    root.put(paths.REQUEST_KEY, KEY, 0o600)
    root.put(paths.REQUEST_KEY_DRAFT, b"half a key", 0o600)
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY)] if ours else [])))
    purge(root)
    assert in_bin(root) == ({} if ours else {"catcher.key.request": KEY})


def test_a_key_of_a_request_that_was_put_in_place_by_hand_is_the_administrators(root):
    root.put(paths.KEY, KEY, 0o600)
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY)])))
    purge(root)
    assert in_bin(root) == {"catcher.key": KEY}


@pytest.mark.parametrize("name", ["catcher.key", "catcher.crt"])
@pytest.mark.parametrize("suffix", ["", KEPT])
def test_purge_of_a_pair_of_which_one_file_cannot_be_removed(root, name, suffix):
    """Immutable (chattr +i): such a file cannot be linked either."""
    put_pair(root, suffix, (KEY, CRT))
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY, CRT)])))
    before_removal(root)
    fixed = root.path(paths.BIN + "/" + name + suffix)
    for command in ("ln", "rm", "mv"):
        refuse = '#!/bin/sh\nfor one; do [ "$one" != %s ] || exit 1; done\nexec %s "$@"\n' % (
            fixed, shutil.which(command))
        root.put("/bin/" + command, refuse.encode(), 0o755)
    status, output = root.run("csulcca_postrm", "deb", "purge")
    assert status == 0 and "catcher.key%s cannot be removed" % suffix in output
    assert in_bin(root) == {"catcher.key" + suffix: KEY, "catcher.crt" + suffix: CRT}


@pytest.mark.parametrize("suffix", ["", KEPT])
@pytest.mark.parametrize("fixed", ["", "catcher.key", "catcher.crt"])
def test_purge_without_hard_links_leaves_no_key_of_ours(root, suffix, fixed):
    """On vfat, say. What cannot be removed is still said, and without the key the certificate is no harm."""
    put_pair(root, suffix, (KEY, CRT))
    root.put(paths.STAMP, stamp.render(make_stamp(made_earlier=[pair.fingerprint(KEY, CRT)])))
    before_removal(root)
    root.put("/bin/ln", b"#!/bin/sh\nexit 1\n", 0o755)
    refuse = '#!/bin/sh\nfor one; do [ "$one" != %s ] || exit 1; done\nexec %s "$@"\n' % (
        root.path(paths.BIN + "/" + fixed + suffix), shutil.which("rm"))
    root.put("/bin/rm", refuse.encode(), 0o755)
    status, output = root.run("csulcca_postrm", "deb", "purge")
    assert status == 0 and ("cannot be removed" in output) == (fixed != "")
    left = {"": {}, "catcher.key": {"catcher.key": KEY, "catcher.crt": CRT}, "catcher.crt": {"catcher.crt": CRT}}
    assert in_bin(root) == {name + suffix: data for name, data in left[fixed].items()}


# -- directories that are links ----------------------------------------------------------------------------------------

def make_link(root, path, target):
    """The administrator has moved a directory."""
    os.makedirs(root.path("/srv"), exist_ok=True)
    os.rename(root.path(path), root.path(target))
    os.symlink(root.path(target), root.path(path))


@pytest.mark.parametrize("path", paths.MAY_BE_LINKS)
@pytest.mark.parametrize("note,restore", [
    (("csulcca_prerm", "deb", "remove"), ("csulcca_postrm", "deb", "remove")),
    (("csulcca_prerm", "deb", "remove"), ("csulcca_postrm", "deb", "purge")),
    (("csulcca_prerm", "rpm", "0"), ("csulcca_postrm", "rpm", "0")),
    (("csulcca_preinst", "rpm", "2"), ("csulcca_postinst", "rpm", "2")),
    (("csulcca_preinst", "deb", "upgrade", "7.3"), ("csulcca_postinst", "deb", "configure", "7.3")),
])
@pytest.mark.parametrize("left", ["nothing", "an empty directory"])
def test_a_link_that_the_package_manager_has_removed_comes_back(root, path, note, restore, left):
    """Also where something has made an empty directory of its name since."""
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put(paths.CONF, b"TLS_OFF\n")
    make_link(root, path, "/srv/moved")
    assert root.run(*note) == (0, "")
    os.unlink(root.path(path))
    if left == "an empty directory":
        os.mkdir(root.path(path))
    assert root.run(*restore) == (0, "")
    assert os.readlink(root.path(path)) == root.path("/srv/moved") and os.path.isdir(root.path("/srv/moved"))
    assert root.get(paths.CONF) == b"TLS_OFF\n"
    assert not root.exists(paths.LINKS)


def test_a_note_of_links_that_are_gone_by_now_is_kept(root):
    """The package manager was killed, and begins anew."""
    make_link(root, paths.BIN, "/srv/moved")
    root.run("csulcca_prerm", "deb", "remove")
    os.unlink(root.path(paths.BIN))
    root.run("csulcca_prerm", "deb", "remove")
    root.run("csulcca_postrm", "deb", "remove")
    assert os.readlink(root.path(paths.BIN)) == root.path("/srv/moved")


def test_what_somebody_has_put_in_the_place_of_a_link_stays(root):
    make_link(root, paths.CONF_DIR, "/srv/moved")
    root.run("csulcca_prerm", "rpm", "0")
    os.unlink(root.path(paths.CONF_DIR))
    root.put(paths.CONF, b"TLS_ON\n")
    root.run("csulcca_postrm", "rpm", "0")
    assert not os.path.islink(root.path(paths.CONF_DIR)) and root.get(paths.CONF) == b"TLS_ON\n"


def test_no_link_no_note(root):
    root.run("csulcca_preinst", "deb", "install")
    assert not root.exists(paths.LINKS) and not root.exists(paths.LINKS + ".new")


# -- postinst and prerm ------------------------------------------------------------------------------------------------

def test_postinst_hands_its_arguments_and_exit_status_on(root):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 7\n", 0o755)
    told = "<compile><scriptlet><deb><configure><7.3.0-1>"
    assert root.run("csulcca_postinst", "deb", "configure", "7.3.0-1") == (7, told)


@pytest.mark.parametrize("tool,place,runs", [
    ("bootc", paths.BIN, False), ("rpm-ostree", "/usr/lib" + paths.BIN, False), ("bootc", paths.BIN, True),
    ("something-else", paths.BIN, False)])  # fmt: skip
def test_an_image_gets_links_in_the_places_of_the_pair(root, tool, place, runs):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put("/bin/" + tool, b"#!/bin/sh\n", 0o755)
    root.put(place + "/catcher.exe")
    root.put(paths.STAMP)
    if runs:
        os.makedirs(root.path("/run/systemd/system"))
    expected = not runs and tool != "something-else"
    assert root.run("csulcca_postinst", "rpm", "1") == (0, "")
    assert root.exists(paths.STAMP) != expected
    for name in ("catcher.key", "catcher.crt"):
        target = os.path.join(root.path(place), name)
        assert os.path.islink(target) == expected
        assert not expected or os.readlink(target) == root.path(paths.IMAGE_PAIR) + "/" + name


def image_links(root):
    return [name for name in ("catcher.key", "catcher.crt") if os.path.islink(root.path(paths.BIN) + "/" + name)]


@pytest.mark.parametrize("sign", ["ostree-booted", "TRANSACTIONAL_UPDATE", ""])
def test_a_scriptlet_knows_the_image_that_is_built_around_it(root, sign):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put(paths.BIN + "/catcher.exe")
    if sign == "ostree-booted":
        root.put("/run/ostree-booted")
    elif sign:
        root.environment[sign] = "true"
    assert root.run("csulcca_postinst", "rpm", "1") == (0, "")
    assert image_links(root) == (["catcher.key", "catcher.crt"] if sign else [])


@pytest.mark.parametrize("arguments", [("deb", "remove"), ("deb", "purge"), ("rpm", "0"), ("rpm", "1")])
@pytest.mark.parametrize("target,goes", [(paths.IMAGE_PAIR, True), ("/srv/elsewhere", False)])
def test_removal_takes_the_links_of_an_image_that_has_no_pair(root, arguments, target, goes):
    for name in ("catcher.key", "catcher.crt"):
        os.symlink(root.path(target) + "/" + name, root.path(paths.BIN) + "/" + name)
    assert root.run("csulcca_postrm", *arguments) == (0, "")
    assert (image_links(root) == []) == (goes and arguments != ("rpm", "1"))


def test_removal_leaves_the_links_of_an_image_to_a_pair(root):
    for name in ("catcher.key", "catcher.crt"):
        root.put(paths.IMAGE_PAIR + "/" + name, b"a pair")
        os.symlink(root.path(paths.IMAGE_PAIR) + "/" + name, root.path(paths.BIN) + "/" + name)
    assert root.run("csulcca_postrm", "rpm", "0") == (0, "")
    assert image_links(root) == ["catcher.key", "catcher.crt"]


@pytest.mark.parametrize("phase,arguments", [("csulcca_postinst", ("rpm", "2")), ("csulcca_prerm", ("rpm", "1"))])
def test_bytecode_goes_from_every_folder(root, phase, arguments):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    for folder in ("hooks", "catcher_install", "catcher_install/cert", "catcher_install/a/folder/below"):
        root.put("/usr/lib/csulcca/%s/__pycache__/x.pyc" % folder)
    root.put("/usr/lib/csulcca/catcher_install/module.py")
    assert root.run(phase, *arguments) == (0, "")
    left = [name for _, folders, names in os.walk(root.path("/usr/lib/csulcca")) for name in folders + names]
    assert sorted(left) == ["a", "below", "catcher_install", "cert", "folder", "hooks", "module.py", "run"]


def test_removal_leaves_no_empty_folder_of_the_library(root):
    os.makedirs(root.path("/usr/lib/csulcca/catcher_install/a/folder"))
    os.makedirs(root.path("/usr/lib/csulcca/hooks"))
    assert root.run("csulcca_postrm", "rpm", "0") == (0, "")
    assert not root.exists("/usr/lib/csulcca")


@pytest.mark.parametrize("arguments,stops", [(("deb", "remove"), True), (("rpm", "0"), True), (("rpm", "1"), False),
                                             (("deb", "upgrade", "8.1"), False), (("deb", "deconfigure"), False)])
def test_prerm_stops_the_service_where_the_package_goes(root, arguments, stops):
    root.put("/bin/systemctl", b'#!/bin/sh\necho "$@"\n', 0o755)
    os.makedirs(root.path("/run/systemd/system"))
    status, output = root.run("csulcca_prerm", *arguments)
    assert status == 0
    assert ("stop CSUTKEcat.service" in output) == stops


@pytest.mark.parametrize("arguments,runs", [(("deb", "remove"), True), (("rpm", "0"), True), (("rpm", "1"), False),
                                            (("deb", "upgrade", "8.1"), False), (("deb", "failed-upgrade"), False)])
@pytest.mark.parametrize("status", [0, 1, 127])
def test_prerm_has_our_library_do_its_part_where_the_package_goes(root, arguments, runs, status):
    """However that ends, the removal goes on, and no bytecode is left."""
    text = "#!/bin/sh\necho \"$@\"\nmkdir -p %s\nexit %d\n" % (root.path("/usr/lib/csulcca/hooks/__pycache__"), status)
    root.put("/usr/lib/csulcca/run", text.encode(), 0o755)
    assert root.run("csulcca_prerm", *arguments) == (0, "scriptlet-remove %s\n" % " ".join(arguments) if runs else "")
    assert not root.exists("/usr/lib/csulcca/hooks/__pycache__")


def test_prerm_where_our_library_is_gone(root):
    shutil.rmtree(root.path("/usr/lib/csulcca"))
    assert root.run("csulcca_prerm", "deb", "remove")[0] == 0


def test_an_installation_forgets_what_was_noted_for_a_purge(root):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put(paths.PURGE, b"x \n")
    assert root.run("csulcca_postinst", "deb", "configure") == (0, "")
    assert not root.exists(paths.PURGE)


def test_prerm_where_systemd_does_not_run(root):
    assert root.run("csulcca_prerm", "rpm", "0") == (0, "")
