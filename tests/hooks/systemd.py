"""A stand-in for systemd and the journal, for the functions of preinst, and a reader of the note that these write."""

import os

from catcher_install import paths


def note(root):
    return dict(line.split("=", 1) for line in root.get(paths.CAPTURE).decode("ascii").splitlines())


def before_8(root):
    root.put(paths.CATCHER, b"", 0o755)
    os.rmdir(root.path("/usr/lib/csulcca/catcher_install"))


class Systemd:
    """A stand-in for systemctl, journalctl and /proc: what they know about the unit and the processes."""

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
*is-active*)
    [ "$1" = --quiet ] || sed -n s/^ActiveState=//p %(shown)s
    grep -qx ActiveState=active %(shown)s || exit 3 ;;
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
        place = "/sys/fs/cgroup%s/cgroup.procs" % group
        self.root.put(place, (self.root.get(place) if self.root.exists(place) else b"") + b"%d\n" % pid)

    def seen(self):
        self.write()
        assert self.root.run("csulcca_preinst", "deb", "upgrade", "7.6.10-1") == (0, "")
        told = note(self.root)
        return told["mode"], told["seen"]


# What PID 1 logged before journald was told to store nothing. A user cannot pass for PID 1.
OLDER = [[], [{"_PID=1", "_UID=0", "when=1.5"}],
         [{"_PID=1", "_UID=0", "UNIT=CSUTKEcat.service", "MESSAGE_ID=39f53479d3a045ac8e11786248231fbf", "when=1.5"},
          {"_PID=812", "_UID=1000", "UNIT=csulcca-journal-1.service", "when=990.5"}]]


def with_groups(root):
    """The payload brings groups; those that are made are noted in the host's own file of groups."""
    root.groups = "cca_admin cca_setmk"
    root.put("/etc/group", b"root:x:0:\n")
    root.put("/bin/getent", b'#!/bin/sh\ngrep "^$2:" %s\n' % root.path("/etc/group").encode(), 0o755)
    root.put("/bin/groupadd", b'#!/bin/sh\necho "$2:x:999:" >>%s\n' % root.path("/etc/group").encode(), 0o755)


def disabled_by_the_old_prerm(root):
    """dpkg has just run "systemctl disable --now" of the old package, and systemd has forgotten the unit."""
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    root.put("/etc/systemd/system/multi-user.target.wants/other.service")
    root.put("/old.prerm", b"systemctl disable --now CSUTKEcat\n")
    root.put("/bin/dpkg-query", b"#!/bin/sh\necho %s\n" % root.path("/old.prerm").encode("ascii"), 0o755)
    # In a container with lxcfs this is the time since the container's boot. The other times count from the host's.
    root.put("/proc/uptime", b"5.00 0\n")
    root.put("/proc/self/stat", b"2 (sed) S " + b"1 " * 18 + b"100000 0\n")
    root.put("/proc/%d/stat" % os.getpid(), b"1 (dpkg) S " + b"1 " * 18 + b"90000 0\n")
