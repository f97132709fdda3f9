"""A host that a unit test may do anything to: real files below a temporary directory, and programs from a script.

Imports next to nothing, because the tests of the hot path look at what is imported.
"""

import errno
import os
import stat
import sys

from catcher_install import host as host_module
from catcher_install import paths
from catcher_install.host import Host

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LIBRARY = os.path.join(TREE, "catcher_install")
IS_ROOT = os.geteuid() == 0
USUAL_PORT = paths.PORT

OPENSSL_3 = b"OpenSSL 3.0.13 30 Jan 2024 (Library: OpenSSL 3.0.13 30 Jan 2024)\n"
OPENSSL_102 = b"OpenSSL 1.0.2k-fips  26 Jan 2017\n"


def put_file(real, data, mode):
    """Make a file with its directories. Returns its path."""
    if not os.path.isdir(os.path.dirname(real)):
        os.makedirs(os.path.dirname(real))
    with open(real, "wb") as stream:
        stream.write(data)
    os.chmod(real, mode)
    return real


class UnplannedSpawn(BaseException):
    """A program was run that the test did not plan. No "except Exception" swallows it."""


class UnplannedPause(BaseException):
    """A pause that the test did not plan."""


class Executed(BaseException):
    """Raised instead of exec, which would replace the process by another program."""


class Killed(BaseException):
    """The process was killed at a system call: nothing after it happens."""


def library_modules():
    """{"cert.keys": its file} of every module of the library, in whatever folder; a package's own file is "cert"."""
    found = {}
    for directory, _, names in os.walk(LIBRARY):
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(".py") and path != os.path.join(LIBRARY, "__init__.py"):
                module = os.path.relpath(path, LIBRARY)[:-len(".py")].replace(os.sep, ".")
                found[module[:-len(".__init__")] if module.endswith(".__init__") else module] = path
    return found


def own_elf_header():
    """The first bytes of an ELF file for the architecture of the running Python."""
    with open("/proc/self/exe", "rb") as stream:
        return stream.read(64)


JUDGED: dict = {}


def judged(argv, stdin):
    """Return what the library's own judge says of a pair. Each pair is judged once."""
    import subprocess

    if stdin not in JUDGED:
        child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        output = child.communicate(stdin)[0]
        JUDGED[stdin] = (child.returncode, output)
    return JUDGED[stdin]


class Asked:
    """The part of a host that judging a pair needs."""

    def run(self, argv, timeout, stdin=b"", only_output=False):
        return judged(argv, stdin)


def real_openssl(arguments, stdin=b""):
    """Run this machine's openssl without a configuration file. Return (exit status, standard output)."""
    import subprocess

    child = subprocess.Popen(["/usr/bin/openssl"] + list(arguments), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL,
                             env={"PATH": "/usr/bin:/bin", "OPENSSL_CONF": "/dev/null", "LC_ALL": "C"})
    output = child.communicate(stdin)[0]
    return child.returncode, output


class Scripted(Host):
    """A Host whose programs are planned.

    programs: {path of a program: (exit status, output), an exception to raise, or a function of (argv, stdin)}.
    spawned: the argument vectors of what was run. executed: of what exec would have become.
    """

    def __init__(self, root):
        Host.__init__(self, str(root))
        self.programs = {}
        self.spawned = []
        self.executed = None

    def run(self, argv, timeout, stdin=b"", only_output=False):
        argv = list(argv)
        if argv[-1].endswith("/cert/judge.py"):
            # Not a program of the host, but a part of the library.
            return judged(argv, stdin)
        self.spawned.append(argv)
        if argv[0] not in self.programs:
            raise UnplannedSpawn(argv)
        answer = self.programs[argv[0]]
        if callable(answer):
            answer = answer(argv, stdin)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def execute(self, program, argv, environment=None):
        self.executed, self.environment = (program, list(argv)), environment
        raise Executed(program, list(argv))

    def put(self, path, data=b"", mode=0o644):
        """Make a file with its directories, as another program would have."""
        return put_file(self.on_disk(path), data, mode)

    def put_link(self, path, target):
        """Make a symbolic link with its directories."""
        real = self.on_disk(path)
        if not os.path.isdir(os.path.dirname(real)):
            os.makedirs(os.path.dirname(real))
        os.symlink(target, real)

    def get(self, path):
        """The bytes of a file; None if the file does not exist."""
        try:
            with open(self.on_disk(path), "rb") as stream:
                return stream.read()
        except FileNotFoundError:
            return None

    def on_disk(self, path):
        """Return the place of a path of this host on the machine that runs the test."""
        return self.locate(path)

    def names(self, path):
        """Names in a directory, sorted."""
        return sorted(os.listdir(self.on_disk(path)))

    def mode(self, path):
        """Permission bits of what has this name, links not followed."""
        return stat.S_IMODE(os.lstat(self.on_disk(path)).st_mode)


class Machine(Scripted):
    """A running system as its own hooks see it: its root is "/", though its files are in a temporary directory.

    booted, chroot, node, ipv4, time, elf, host_network, listening: what the host answers; time None is the real clock.
    An item of ipv4 is an address, or one with its interface.
    processes: {PID: words of its command line}, those of root unless the PID is in users. hidden: PIDs of others that
    only root can see.
    """

    def __init__(self, base):
        self.base = ""
        Scripted.__init__(self, base)
        self.base = self.root
        self.root = "/"
        self.booted = True
        self.chroot = False
        self.node = "tke1.example.com"
        self.ipv4 = ["127.0.0.1", "192.0.2.10"]
        self.time = None
        self.elf = own_elf_header()[:20]
        self.processes = {}
        self.users = set()
        self.hidden = set()
        self.host_network = True
        self.listening = True

    def locate(self, path, follow=False):
        if not self.base:
            return Scripted.locate(self, path, follow)
        self.root = self.base
        try:
            return Scripted.locate(self, path, follow)
        finally:
            self.root = "/"

    def _inside(self, real):
        return real[len(self.base):] or "/"

    def is_booted(self):
        return self.booted and not self.chroot

    def is_root(self):
        # The user who runs the tests is root on this machine.
        return os.geteuid() == os.stat(self.base).st_uid

    def in_chroot(self):
        return self.chroot

    def shares_network(self, pid):
        return self.host_network

    def can_bind(self, port, addresses=("::", "0.0.0.0")):
        """The usual port is free here, even if a program has it on the computer that runs the tests."""
        return port == USUAL_PORT or super().can_bind(port, addresses)

    def is_listening(self, port):
        return self.listening

    def wait_until(self, condition, timeout):
        return any(condition() for _ in range(100))

    def own_elf_header(self):
        return self.elf

    def node_name(self):
        return self.node

    def ipv4_addresses(self):
        return [one if isinstance(one, tuple) else (one, "enc1") for one in self.ipv4]

    def now(self):
        return Host.now(self) if self.time is None else self.time

    def uptime(self):
        return 1000.0

    def pids(self):
        return sorted(self.processes)

    def is_root_process(self, pid):
        return pid in self.processes and pid not in self.users

    def is_hidden(self, pid):
        return pid in self.hidden

    def command_line(self, pid):
        return self.processes.get(pid, [])

    def terminate(self, pid):
        self.processes.pop(pid, None)

    # -- what a test says in one word ------------------------------------------------------------------------------

    def tls_possible(self, possible):
        """OpenSSL 3 and its library, or OpenSSL 1.0.2 without either of the two libraries."""
        self.put(paths.OPENSSL, b"", 0o755)
        self.programs[paths.OPENSSL] = lambda argv, stdin: (
            (0, OPENSSL_3 if possible else OPENSSL_102) if argv[1:] == ["version"] else real_openssl(argv[1:], stdin))
        library = "/usr/lib64/libssl.so.3"
        if possible:
            self.put(library, own_elf_header())
        elif self.get(library) is not None:
            os.unlink(self.on_disk(library))

    def capture(self, tree="no", groups="no", unit="none", active="no", mode="none", seen="no", ours="no",
                version=""):
        """What the preinst scriptlet noted; mode "unknown" if it could not look."""
        lines = ("tree=" + tree, "ours=" + ours, "groups=" + groups, "version=" + version, "unit=" + unit,
                 "mode=" + mode, "seen=" + seen, "active=" + active)
        self.put(paths.CAPTURE, "\n".join(lines + ("",)).encode("ascii"))

    def enable(self):
        """The unit's link in a target."""
        self.put_link("/etc/systemd/system/multi-user.target.wants/" + paths.UNIT,
                      "/usr/lib/systemd/system/" + paths.UNIT)

    def systemctl(self, answer=(0, b"")):
        """systemctl is installed and answers."""
        self.put("/usr/bin/systemctl", b"", 0o755)
        self.programs["/usr/bin/systemctl"] = answer

    def systemctl_calls(self):
        """What systemctl was asked, without the program's name."""
        return [argv[1:] for argv in self.spawned if argv[0] == "/usr/bin/systemctl"]


def installed(base):
    """A Machine with this package's files on it and TLS possible, before its first converge."""
    os.makedirs(str(base), exist_ok=True)
    machine = Machine(base)
    machine.put(paths.CATCHER, b"#!/bin/sh\n", 0o755)
    machine.put(paths.VERSION, b"8.0.0\n")
    machine.tls_possible(True)
    machine.put("/etc/group", b"root:x:0:\n")
    machine.put("/etc/hosts", b"127.0.0.1 localhost\n")
    for directory in ("/etc/cca", paths.STATE_DIR, "/proc", "/etc/systemd/system"):
        os.makedirs(machine.on_disk(directory))
    return machine


def tree_of(machine, times=False):
    """{path: what is there} of a whole host. times: inode and times too, so that a rewrite with equal bytes shows."""
    base = machine.base
    found = {}
    for directory, directories, files in os.walk(base):
        for name in directories + files:
            real = os.path.join(directory, name)
            entry = os.lstat(real)
            what = [stat.S_IFMT(entry.st_mode), stat.S_IMODE(entry.st_mode), entry.st_uid, entry.st_gid]
            if stat.S_ISLNK(entry.st_mode):
                what.append(os.readlink(real))
            elif stat.S_ISREG(entry.st_mode):
                with open(real, "rb") as stream:
                    what.append(stream.read())
            if times:
                what += [entry.st_ino, entry.st_mtime_ns, entry.st_nlink]
            found[real[len(base):]] = tuple(what)
    return found


# Calls that change something on disk. os.open counts where it may create.
WRITERS = (
    "write", "rename", "replace", "link", "symlink", "mkdir", "unlink", "remove", "rmdir", "fchmod", "chmod", "fchown",
    "chown", "fsync", "setxattr", "ftruncate", "truncate",
)

# The calls that need room on the disk.
GROWERS = ("open", "write", "mkdir", "link", "setxattr")


class Os:
    """The os module with a fault at its n-th writing call.

    n: from 1; 0 for never. error: an errno to raise there once, or None to be killed there. lasting: every call from
    the n-th on fails. before: the fault comes before the call takes effect, else after it.
    watch: called after each writing call. calls: names of the calls that count.
    """

    def __init__(self, n=0, error=None, lasting=False, before=True, watch=None, calls=WRITERS + ("open",)):
        self.n = n
        self.error = error
        self.lasting = lasting
        self.before = before
        self.watch = watch
        self.calls = calls
        self.count = 0
        self.log = []

    def __getattr__(self, name):
        value = getattr(os, name)
        if name not in self.calls:
            return value

        def call(*args, **more):
            if name == "open" and not (len(args) > 1 and args[1] & os.O_CREAT):
                return value(*args, **more)
            self.count += 1
            self.log.append((name, args[0]))
            due = self.n and (self.count == self.n or (self.count > self.n and (self.error is None or self.lasting)))
            if due and (self.before or self.count > self.n):
                self.fail(name, args)
            result = value(*args, **more)
            if self.watch is not None:
                self.watch()
            if due:
                if name == "open":
                    os.close(result)
                self.fail(name, args)
            return result

        return call

    def fail(self, name, args):
        """Raise the fault."""
        if self.error is None:
            raise Killed(name, args)
        raise OSError(self.error, os.strerror(self.error), args[0] if isinstance(args[0], str) else None)


class fault:
    """with fault(n=3): the library's module that touches the system sees Os(n=3)."""

    def __init__(self, **settings):
        self.os = Os(**settings)

    def __enter__(self):
        host_module.os = self.os
        return self.os

    def __exit__(self, *error):
        host_module.os = os


def ids(found):
    """The ids of findings, sorted."""
    return sorted(one["id"] for one in found)


def child_python():
    """The running interpreter as the hooks start theirs: isolated, and without site packages."""
    return [sys.executable, "-I", "-S"]


def make_facts(**changes):
    """The facts of a running host just after unpacking, nothing configured and TLS possible; then *changes*."""
    from catcher_install import config, facts, openssl, pair, unit

    fields = {
        "booted": True,
        "networked": True,
        "image": "",
        "config": config.absent(),
        "stamp": None,
        "unread": "",
        "pair": pair.PairFiles(state=pair.NONE, fingerprint="", key_size=0, key_open="", key_linked=False,
                               certificate_open=False, staged=False, draft=False),
        "capture": None,
        "note_left": changes.get("capture") is not None,
        "still_running": None,
        "unit": unit.UnitFacts(enabled=False, unmask="", forking=False, legacy_links=[], ran=None,
                               was_enabled=False, noted=False),
        "tls": openssl.TlsCapability(possible=True, version="3.0.13", library="/usr/lib64/libssl.so.3", reason="",
                                     identity=""),
        "traces": [],
        "catcher": True,
        "version": "8.0.0",
        "verdict": None,
        "now": 1700000000.0,
    }
    fields.update(changes)
    return facts.HostFacts(**fields)


def host_upgraded_by_rpm(base):
    """A host whose CCA 7.3 ran, with an init script that was edited, just after rpm has put our files there."""
    machine = installed(base)
    machine.capture(tree="yes", groups="yes", unit="enabled", active="yes")
    machine.put("/etc/group", b"root:x:0:\ncca_admin:x:990:\n")
    machine.put_link("/etc/rc2.d/S14CSUTKEcat", "../init.d/CSUTKEcat")
    machine.put_link("/etc/rc3.d/S14CSUTKEcat", "../init.d/CSUTKEcat")
    machine.put(paths.INIT_SCRIPT, b"#!/bin/sh\n# edited\n", 0o755)
    return machine


def no_room_for_the_stamp(machine, monkeypatch):
    """From now on the disk is full when the stamp is written."""
    real = machine.replace

    def replace(path, *arguments, **named):
        if path == paths.STAMP:
            raise OSError(errno.ENOSPC, "No space left on device", path)
        real(path, *arguments, **named)

    monkeypatch.setattr(machine, "replace", replace)


def make_stamp(**changes):
    """A stamp that a converge left in TLS mode, with nothing remembered; then *changes*."""
    from catcher_install import stamp

    fields = {
        "package_version": "8.0.0", "mode": "tls", "generated_pair": None, "made_earlier": [], "findings": [],
        "checked_pair": None, "accepted_names": None, "checked_openssl": None,
    }
    fields.update(changes)
    return stamp.Stamp(**fields)


def make_capture(**changes):
    """What preinst saw on a host with no trace of an earlier CCA; then *changes*."""
    from catcher_install.capture import Capture

    fields = {"recent": True, "tree": False, "groups": False, "unit": "none", "active": False, "unsure": False,
              "mode": None, "seen": "no", "ours": False, "looked": True, "version": ""}
    fields.update(changes)
    return Capture(**fields)
