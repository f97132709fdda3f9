"""The only module that reads, writes or spawns.

Every path is given as it is on the host; ``Host(root)`` puts it below *root*, resolving links inside that root, so
that an image's absolute link never leads to the build machine.
"""

import errno
import fcntl
import os
import stat
import time

from . import paths, process
from .errors import ChangedMeanwhile

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

    from .sockets import TcpSocket

    Result = TypeVar("Result")

# For Host.replace(): any content may be replaced.
ANYTHING: "Any" = object()
# Errors of link(2) if a file system has no hard links.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
# What fsync(2) gives for a directory if a file system, such as a share of another computer, cannot do that.
NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
LINK_LIMIT = 40
# The longest path in bytes, with its final NUL (PATH_MAX in limits.h). The kernel refuses a longer path, and resolving
# it by hand would need quadratic time.
PATH_LIMIT = 4096
COPY_BLOCK = 64 * 1024
# Errors of a read that may soon go away.
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ETIMEDOUT, errno.EINTR,
           errno.ESTALE)  # fmt: skip
# Errors of a path that leads nowhere; ELOOP is for circular links.
NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# clock_gettime(2); time names it from Python 3.7. The kernel counts the starts of processes by it.
CLOCK_BOOTTIME = 7
# The identity of a file that cannot be looked at.
UNSEEN = "?"
# What a child gets instead of the caller's environment: no OPENSSL_CONF, LD_LIBRARY_PATH or PYTHONPATH of the caller.
# The system's own openssl.cnf applies: it is the policy of its administrator.
CHILD_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
    "LC_ALL": "C",
    "HOME": "/",
}


class Host:
    """A host's files and programs, seen from its root directory.

    root: "/" for the running system; else a directory that holds an installed tree (``--root``).
    Methods raise OSError as the system call does.
    """

    # Whether KEY and CERTIFICATE are an image's links to IMAGE_PAIR; None until somebody asks.
    _pair_is_in_image: "Optional[bool]" = None
    # Whether systemd runs this process outside of the unit's sandbox (hooks/make-pair).
    outside = False

    def __init__(self, root: str = "/") -> None:
        _require_short(root)
        self.root = os.path.realpath(root)
        if not os.path.isdir(self.root):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", root)

    # -- names ---------------------------------------------------------------------------------------------------

    def locate(self, path: str, follow: bool = False) -> str:
        """Return the path under which the kernel finds a host's *path*. follow: resolve a link at its end, too.

        In another root, links are resolved here, because the kernel would resolve an absolute one against "/". For the
        root "/" they are left to the kernel.
        """
        if path.startswith(paths.BIN) and self.pair_is_in_image() and _goes_with_the_pair(path[len(paths.BIN):]):
            path = paths.IMAGE_PAIR + path[len(paths.BIN):]
        return self._locate(path, follow)

    def pair_is_in_image(self) -> bool:
        """Return whether this is an image that keeps the pair in IMAGE_PAIR: both files must be links to there."""
        if self._pair_is_in_image is None:
            self._pair_is_in_image = self._leads_to_image_pair(paths.KEY) and self._leads_to_image_pair(
                paths.CERTIFICATE)
        return self._pair_is_in_image

    def _leads_to_image_pair(self, path: str) -> bool:
        try:
            return os.readlink(self._locate(path, False)) == paths.IMAGE_PAIR + path[len(paths.BIN):]
        except OSError:
            return False

    def _locate(self, path: str, follow: bool) -> str:
        if self.root == "/":
            return path
        _require_short(path)
        todo = path.strip("/").split("/")
        done: List[str] = []
        links = 0
        while todo:
            name = todo.pop(0)
            if name in ("", "."):
                continue
            if name == "..":
                del done[-1:]
                continue
            here = "/".join([self.root] + done + [name])
            if (todo or follow) and os.path.islink(here):
                links += 1
                if links > LINK_LIMIT:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.readlink(here)
                if target.startswith("/"):
                    done = []
                todo = target.strip("/").split("/") + todo
                continue
            done.append(name)
        return "/".join([self.root] + done)

    def absolute(self, path: str) -> str:
        """Return a path that was typed on a command line as an absolute path. FileNotFoundError for an empty path."""
        if not path:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return os.path.abspath(path)

    # -- reading -------------------------------------------------------------------------------------------------

    def lstat(self, path: str) -> "Optional[os.stat_result]":
        """Return lstat() of *path*, or None if there is nothing."""
        try:
            return _again(os.lstat, self.locate(path))
        except OSError as error:
            if error.errno not in NOTHING:
                raise
            return None

    def lexists(self, path: str) -> bool:
        """Return whether anything, even a dangling link, has this name."""
        return self.lstat(path) is not None

    def identity(self, path: str) -> str:
        """Return a text that changes whenever the file does to which *path* leads; "-" if there is no file, UNSEEN if
        it cannot be looked at.

        The text contains the inode, the size, and the time of the last change of content, mode or owner, which nobody
        can set back. It does not contain the number of the device, which may change at a boot.
        """
        try:
            entry = _again(os.stat, self.locate(path, follow=True))
        except OSError as error:
            return "-" if error.errno in NOTHING else UNSEEN
        return "%d:%d:%d" % (entry.st_ino, entry.st_size, entry.st_ctime_ns)

    def real_path(self, path: str) -> str:
        """Return *path* with all its links resolved, as far as they lead somewhere."""
        return self._inside(os.path.realpath(self.locate(path, follow=True)))

    def permissions(self, path: str) -> int:
        """Return the permission bits of what *path* leads to; 0 if they cannot be seen."""
        try:
            return stat.S_IMODE(_again(os.stat, self.locate(path, follow=True)).st_mode)
        except OSError:
            return 0

    def open_mode(self, path: str) -> int:
        """Return the permission bits of what *path* leads to if others than its owner can read it, else 0.

        If *path* is a link, a readable group is no fault: the file may be shared with other programs on purpose. Nor is
        a file that everybody may read, below a directory that only some may enter.
        """
        mode = self.permissions(path)
        if self.read_link(path) is None:
            return mode if mode & 0o077 else 0
        above = os.path.dirname(self.real_path(path))
        while above != "/" and self.permissions(above) & 0o001:
            above = os.path.dirname(above)
        return mode if mode & 0o007 and above == "/" else 0

    def is_dir(self, path: str) -> bool:
        """Return whether *path* is a directory or a link to one."""
        try:
            return stat.S_ISDIR(_again(os.stat, self.locate(path, follow=True)).st_mode)
        except OSError:
            return False

    def is_own_dir(self, path: str) -> bool:
        """Return whether *path* is a directory, not a link, that is_own(): somebody else may have planted another."""
        entry = self.lstat(path)
        if entry is None or not stat.S_ISDIR(entry.st_mode):
            return False
        return self.is_own(path, entry)

    def is_own(self, path: str, entry: os.stat_result) -> bool:
        """Return whether *path* belongs to root or to us. entry: its lstat().

        On NFS with root_squash, root's files belong to another user. Then the directory above does, too.
        """
        above = _again(os.stat, self.locate(os.path.dirname(path), follow=True))
        return self.is_ours(entry) or entry.st_uid == above.st_uid

    def is_ours(self, entry: os.stat_result) -> bool:
        """Return whether a file belongs to root, or to the user who runs this."""
        return entry.st_uid in (0, os.geteuid())

    def list_dir(self, path: str, certain: bool = False) -> "List[str]":
        """Return the names in a directory, sorted; none if it does not exist or may not be read.

        certain: raise PermissionError if it may not be read, for callers to whom a missing name matters.
        """
        try:
            return sorted(_again(os.listdir, self.locate(path, follow=True)))
        except (FileNotFoundError, NotADirectoryError):
            return []
        except PermissionError:
            if certain:
                raise
            return []

    def read_link(self, path: str) -> "Optional[str]":
        """Return where a link points, or None for anything else."""
        try:
            return _again(os.readlink, self.locate(path))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                return None
            raise

    def read(self, path: str, limit: int, head: bool = False, public: bool = False) -> bytes:
        """Return the content of a regular file; links are followed.

        limit: bytes. A larger file raises EFBIG, unless *head* asks for its first *limit* bytes only.
        public: raise EACCES unless everybody may read the file.
        A FIFO, a device or a directory raises EINVAL at once.
        """
        fd = os.open(self.locate(path, follow=True), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        try:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode):
                raise OSError(errno.EINVAL, "not a regular file", path)
            if public and not mode & stat.S_IROTH:
                raise PermissionError(errno.EACCES, "not for everybody to read", path)
            data = b""
            while len(data) <= limit:
                block = os.read(fd, min(COPY_BLOCK, limit + 1 - len(data)))
                if not block:
                    break
                data += block
        finally:
            _close(fd)
        if len(data) > limit and not head:
            raise OSError(errno.EFBIG, "larger than %d bytes" % limit, path)
        return data[:limit]

    def read_optional(self, path: str, limit: int) -> "Optional[bytes]":
        """Return what read() does, or None if the file does not exist."""
        try:
            return self.read(path, limit)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def own_elf_header(self) -> bytes:
        """Return the first bytes of a program of this host's architecture; b"" if no program can be read."""
        # A chroot may have no /proc, and under --root there is no process of that system.
        programs = ("/bin/sh", paths.OPENSSL)
        for path in ("/proc/self/exe",) + programs if self.root == "/" else programs:
            try:
                return self.read(path, limit=20, head=True)
            except OSError:
                continue
        return b""

    # -- the running system --------------------------------------------------------------------------------------

    def is_booted(self) -> bool:
        """Return whether this is a running system: systemd is PID 1, and we are not in a chroot.

        It is not in an image build, under ``--root``, or with SYSTEMD_OFFLINE=1 (systemctl(1)).
        """
        if self.root != "/" or os.environ.get("SYSTEMD_OFFLINE") in ("1", "yes", "true", "on"):
            return False
        if not self.is_dir("/run/systemd/system") or self.in_chroot():
            return False
        try:
            # A chroot with a PID namespace of its own (an image build) has another PID 1.
            return self.read("/proc/1/comm", 64).strip() in (b"systemd", b"init")
        except OSError:
            return self.is_hidden(1)

    def is_run_by_systemd(self) -> bool:
        """Return whether systemd itself started this process for a unit (systemd.exec(5), INVOCATION_ID)."""
        return "INVOCATION_ID" in os.environ and os.getppid() == 1

    def is_in_sandbox(self) -> bool:
        """Return whether this process runs in the unit's sandbox, and so sees what the daemon will see."""
        return self.is_run_by_systemd() and not self.outside

    def is_root(self) -> bool:
        """Return whether this process runs as root."""
        return os.geteuid() == 0

    def asked_by(self) -> str:
        """Return who runs this process, for a log: its user, and the user who logged in (proc(5), loginuid), if any."""
        login = b""
        try:
            login = self.read("/proc/self/loginuid", 32).strip()
        except OSError:
            return "uid %d" % os.geteuid()
        # 2 ** 32 - 1: nobody logged in.
        known = login.isdigit() and int(login) != 4294967295
        return "uid %d%s" % (os.geteuid(), ", logged in as uid %d" % int(login) if known else "")

    def in_chroot(self) -> bool:
        """Return whether our root directory differs from that of PID 1. False if nothing shows that it does."""
        if self.root != "/":
            return True
        try:
            ours, first = _again(os.stat, "/"), _again(os.stat, "/proc/1/root")
        except PermissionError:
            return False
        except OSError:
            # No /proc: an image build, since a running system has one.
            return not self.is_hidden(1)
        return (ours.st_dev, ours.st_ino) != (first.st_dev, first.st_ino)

    def shares_network(self, pid: int) -> bool:
        """Return whether a process is in our network; yes, if that cannot be seen."""
        try:
            return self.read_link("/proc/%d/ns/net" % pid) in (None, self.read_link("/proc/self/ns/net"))
        except OSError:
            return True

    def has_address(self, address: str) -> bool:
        """Return whether this host has a numeric IP address now, and the interface behind its "%", if it names one."""
        import socket

        try:
            family, kind, _, _, name = socket.getaddrinfo(
                address, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
            with socket.socket(family, kind) as sock:
                sock.bind(name)
        except socket.gaierror as error:
            # There is no such interface.
            return error.errno != socket.EAI_NONAME
        except OSError as error:
            return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV)
        return True

    def is_listening(self, port: int) -> bool:
        """Return whether a TCP socket in the host's network listens on *port*."""
        return any(one.listens for one in self.tcp_sockets(port))

    def tcp_sockets(self, port: int, pid: int = 1) -> "List[TcpSocket]":
        """Return the TCP sockets with this local port in a process's network, or in ours if that one cannot be seen
        (proc(5))."""
        from .sockets import on_port

        found: List[TcpSocket] = []
        for network in ("/proc/%d/net" % pid, "/proc/net"):
            seen = False
            for table in ("tcp", "tcp6"):
                try:
                    data = self.read("%s/%s" % (network, table), 16 * 1024 * 1024, head=True)
                except OSError:
                    # A kernel without IPv6, or a PID 1 that is hidden from us.
                    continue
                seen = True
                found += on_port(data, port)
            if seen:
                break
        return found

    def can_bind(self, port: int, addresses: "Sequence[str]" = ("::", "0.0.0.0")) -> bool:
        """Return whether a server that sets SO_REUSEADDR, as the catcher does, can bind a TCP port on these addresses.
        An address that this host does not have is no obstacle."""
        # The C part of the module socket, whose import takes a third of the time of a start.
        import _socket

        for address in addresses:
            family = _socket.AF_INET6 if ":" in address else _socket.AF_INET
            try:
                sock = _socket.socket(family, _socket.SOCK_STREAM)
            except OSError:
                # A kernel without IPv6.
                continue
            try:
                if family == _socket.AF_INET6:
                    sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_V6ONLY, 1)
                sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
                _allow_absent(sock)
                sock.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
            finally:
                sock.close()
        return True

    def pause(self, seconds: float) -> None:
        """Do nothing for some seconds."""
        time.sleep(seconds)

    def socket_owner(self, inode: int, likely: "Optional[int]" = None) -> "Optional[int]":
        """Return the PID of a process that has a socket open; None if no process has, or if we may not see which.

        likely: looked at first. Several processes may have the socket, because children inherit it.
        """
        wanted = "socket:[%d]" % inode
        for pid in ([] if likely is None else [likely]) + self.pids():
            for fd in self.list_dir("/proc/%d/fd" % pid):
                try:
                    if self.read_link("/proc/%d/fd/%s" % (pid, fd)) == wanted:
                        return pid
                except OSError:
                    # The process belongs to another user, or has ended.
                    break
        return None

    def wait_until(self, condition: "Callable[[], bool]", timeout: float) -> bool:
        """Wait until a condition holds. Returns False if it does not within *timeout* seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def now(self) -> float:
        """Return seconds since the epoch."""
        return time.time()

    def uptime(self) -> float:
        """Return seconds since boot, as systemd counts them in its monotonic time stamps."""
        return time.monotonic()

    def node_name(self) -> str:
        """Return the kernel's host name; under ``--root``, what /etc/hostname will set."""
        if self.root == "/":
            # The name has surrogates on Python 3.6 in the C locale, and for bytes that are not UTF-8.
            return os.fsencode(os.uname().nodename).decode("utf-8", "replace")
        data = self.read_optional("/etc/hostname", 4096) or b""
        return data.decode("utf-8", "replace").strip()

    def ipv4_addresses(self) -> "List[Tuple[str, str]]":
        """Return (address, interface) of every IPv4 address of this host, in the kernel's order (netdevice(7))."""
        import array
        import socket
        import struct

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            # Without a buffer, ioctl says how large it must be. A little more, for addresses that appear meanwhile.
            needed = struct.unpack("iL", fcntl.ioctl(sock.fileno(), 0x8912, struct.pack("iL", 0, 0)))[0]
            buffer = array.array("B", bytes(needed + 4096))
            answer = fcntl.ioctl(sock.fileno(), 0x8912, struct.pack("iL", len(buffer), buffer.buffer_info()[0]))
        used = struct.unpack("iL", answer)[0]
        # struct ifreq: 16 bytes of name, then a sockaddr; 40 bytes on 64-bit systems, 32 on others
        step = 40 if struct.calcsize("P") == 8 else 32
        return [(socket.inet_ntoa(bytes(buffer[at + 20:at + 24])),
                 bytes(buffer[at:at + 16]).partition(b"\0")[0].decode("ascii", "replace"))
                for at in range(0, used, step)]

    def run(
        self, argv: "Sequence[str]", timeout: float, stdin: bytes = b"", only_output: bool = False
    ) -> "Tuple[int, bytes]":
        """Run a program and wait for its end. Returns (exit status, standard output and standard error together).

        argv: an absolute path first; no shell is involved. A signal n gives status 128 + n. only_output: drop standard
        error. timeout: seconds; then the program is killed and TimeoutError raised. Output beyond 1 MiB is dropped.
        The environment is CHILD_ENVIRONMENT. Raises OSError if the program cannot be executed. Programs of another root
        directory are never executed: nobody knows what they do.
        """
        if self.root != "/":
            raise PermissionError(errno.EPERM, "programs of another root directory are not run", argv[0])
        # A missing program raises FileNotFoundError here, without the cost of a process.
        _again(os.stat, self.locate(argv[0], follow=True))
        environment = dict(CHILD_ENVIRONMENT)
        if "SYSTEMD_OFFLINE" in os.environ:
            environment["SYSTEMD_OFFLINE"] = os.environ["SYSTEMD_OFFLINE"]
        return process.run(argv, environment, timeout, stdin, only_output)

    def signals(self) -> "process.Signals":
        """Return a context in which a hang-up, a termination or an interrupt does not end the program halfway through
        a change; see process.Signals."""
        return process.Signals()

    def terminate(self, pid: int) -> None:
        """Ask a process to end (SIGTERM). It is no error if it has ended already."""
        try:
            os.kill(pid, 15)
        except ProcessLookupError:
            return

    def execute(self, program: str, argv: "Sequence[str]", environment: "Optional[Dict[str, str]]" = None) -> None:
        """Become *program*. Returns only by raising OSError. environment: variables that it gets on top of ours."""
        os.execve(program, list(argv), dict(os.environ, **(environment or {})))

    # -- writing -------------------------------------------------------------------------------------------------

    def make_dir(self, path: str, mode: int) -> None:
        """Make one directory, which at no time has more permissions than *mode*. Raises FileExistsError."""
        _again(os.mkdir, self.locate(path), mode)

    def ensure_dir(self, path: str) -> None:
        """Make a directory and its parents, for all to read, if they are missing; existing ones keep owner and mode."""
        if not path.strip("/") or self.is_dir(path):
            return
        self.ensure_dir(os.path.dirname(path))
        try:
            self.make_dir(path, 0o755)
            # The unit's umask is 0077.
            _again(os.chmod, self.locate(path), 0o755)
            # If the directory is not on disk, a crash also loses the files in it.
            self.sync_dir(os.path.dirname(path))
        except FileExistsError:
            # Another hook made it first, or there is a dangling link: then the caller's next step fails.
            return

    def sync_dir(self, path: str) -> None:
        """Make the names in a directory survive a crash, as far as its file system can."""
        fd = os.open(self.locate(path, follow=True), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in NO_SYNC:
                raise
        finally:
            _close(fd)

    def create(self, path: str, data: bytes, mode: int, like: "Optional[os.stat_result]" = None,
               attributes_of: str = "", lasting: bool = True) -> None:
        """Write a new file. If a file or a link has that name, FileExistsError is raised and nothing is written.

        like, attributes_of: a file (its lstat() and its path) from which the new file gets owner, group and extended
        attributes (ACL, SELinux label). These and the mode are set before the content is written, so nobody can ever do
        more with the file than *mode* allows. lasting: the content is on disk when this returns. A failure leaves no
        file.
        """
        fd = os.open(
            self.locate(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode & 0o600
        )
        try:
            if like is not None:
                if (like.st_uid, like.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(fd, like.st_uid, like.st_gid)
                _copy_attributes(self.locate(attributes_of), fd)
            elif os.fstat(fd).st_gid != os.getegid():
                # A directory with setgid gives its own group.
                try:
                    os.fchown(fd, -1, os.getegid())
                except PermissionError:
                    # vfat that is mounted for a user. The group matters only if it may do more than others.
                    if mode >> 3 & 7 != mode & 7:
                        raise
            os.fchmod(fd, mode)
            if os.fstat(fd).st_mode & ~mode & (stat.S_IRGRP | stat.S_IROTH):
                # vfat and some network file systems ignore fchmod() and report success.
                raise OSError(errno.ENOTSUP, "on this file system others could read it", path)
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view):]
            if lasting:
                os.fsync(fd)
        except OSError:
            self.remove(path)
            raise
        finally:
            _close(fd)

    def replace(self, path: str, data: bytes, mode: int, follow: bool = False, expected: "Any" = ANYTHING) -> None:
        """Give *path* new content. After a crash there is either the old file or the complete new one.

        An existing file keeps its owner, mode, ACL, attributes and label. follow: if *path* is a link, replace the file
        to which it leads; else the link itself is replaced. expected: the content that was read before, None for no
        file. If the file has other content by now, it stays, and ChangedMeanwhile is raised.
        """
        real = self.locate(path, follow)
        if not follow:
            directory, name = os.path.split(real)
            target = self._inside(os.path.join(os.path.realpath(directory), name))
        else:
            target = self._inside(os.path.realpath(real))
        draft = paths.draft(target)
        self.remove(draft)
        old = self.lstat(target)
        if old is not None and stat.S_ISLNK(old.st_mode):
            old = None
        if old is not None and not stat.S_ISREG(old.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        try:
            if old is None:
                self.create(draft, data, mode)
            else:
                self.create(draft, data, stat.S_IMODE(old.st_mode), like=old, attributes_of=target)
            if expected is None:
                self._name_anew(draft, target)
            else:
                if expected is not ANYTHING and not self._holds(target, expected):
                    raise _changed(path)
                self.rename(draft, target)
        except OSError:
            self.remove(draft)
            raise
        self.sync_dir(os.path.dirname(target))

    def _holds(self, path: str, data: bytes) -> bool:
        """Return whether a file has exactly this content."""
        try:
            return self.read(path, len(data) + 1, head=True) == data
        except FileNotFoundError:
            return False

    def _name_anew(self, draft: str, target: str) -> None:
        """Give a draft its final name. Raises ChangedMeanwhile if something has that name by now."""
        try:
            self.link(draft, target)
        except FileExistsError:
            raise _changed(target) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            if self.lexists(target):
                raise _changed(target) from None
            self.rename(draft, target)
            return
        self.remove(draft)

    def _inside(self, real: str) -> str:
        """Return a real path as a path inside the root."""
        return real if self.root == "/" else real[len(self.root):] or "/"

    def rename(self, old: str, new: str) -> None:
        """rename(2): *new* is replaced if it exists."""
        _again(os.rename, self.locate(old), self.locate(new))

    def link(self, old: str, new: str) -> None:
        """link(2): raises FileExistsError and replaces nothing."""
        try:
            _again(os.link, self.locate(old), self.locate(new), follow_symlinks=False)
        except OSError as error:
            if error.errno in NO_LINKS:
                # The kernel gives EPERM in both cases.
                immutable = ", or a file is immutable (lsattr)" if error.errno == errno.EPERM else ""
                raise OSError(error.errno, "no hard link can be made there" + immutable, new) from error
            raise

    def remove(self, path: str) -> None:
        """Remove a file or link; nothing happens if there is none."""
        try:
            _again(os.unlink, self.locate(path))
        except OSError as error:
            if error.errno not in NOTHING:
                raise

    def remove_tree_of_files(self, path: str) -> None:
        """Remove a directory and the files directly in it; nothing happens if there is none."""
        entry = self.lstat(path)
        if entry is None:
            return
        if not stat.S_ISDIR(entry.st_mode):
            self.remove(path)
            return
        for name in self.list_dir(path):
            self.remove(path + "/" + name)
        _again(os.rmdir, self.locate(path))

    def lock(self, timeout: float) -> "Optional[Lock]":
        """Take the lock that all csulcca runs share; None if there can be none because /var cannot be written.

        timeout: seconds to wait for another holder; then TimeoutError. The kernel frees the lock of a killed holder.
        """
        try:
            self.ensure_dir(paths.STATE_DIR)
            fd = os.open(
                self.locate(paths.LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600
            )
        except OSError:
            return None
        deadline = time.monotonic() + timeout
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return Lock(fd)
            except BlockingIOError as busy:
                if time.monotonic() > deadline:
                    _close(fd)
                    raise TimeoutError(errno.ETIMEDOUT, "another csulcca run has not finished", paths.LOCK) from busy
                time.sleep(0.02)
            except OSError:
                _close(fd)
                return None

    def pids(self) -> "List[int]":
        """Return the PIDs of all processes that we can see."""
        return [int(name) for name in self.list_dir("/proc") if name.isdigit()]

    def is_root_process(self, pid: int) -> bool:
        """Return whether a process runs as root, in no container and no chroot, according to the kernel.

        The owner of /proc/PID proves nothing: a process of any user that is not dumpable has root there (proc(5)).
        """
        try:
            status = self.read("/proc/%d/status" % pid, 16 * 1024, head=True)
        except OSError:
            return False
        users = [line.split()[1:] for line in status.splitlines() if line.startswith(b"Uid:")]
        return users == [[b"0"] * 4] and _is_of_this_system(pid)

    def is_hidden(self, pid: int) -> bool:
        """Return whether a process exists that /proc hides from us (proc(5), hidepid=)."""
        try:
            os.kill(pid, 0)
        except PermissionError:
            return self.is_dir("/proc/self") and not self.command_line(pid)
        except ProcessLookupError:
            return False
        return False

    def control_groups(self, pid: int) -> "List[str]":
        """Return the control groups in which systemd may have put a process (cgroups(7)); none if they cannot be seen.

        There are two if the host has both hierarchies. systemd in a container may use only one of them.
        """
        try:
            lines = self.read("/proc/%d/cgroup" % pid, 16 * 1024, head=True).decode("utf-8", "replace").splitlines()
        except OSError:
            return []
        groups = [line.split(":", 2)[1:] for line in lines if line.count(":") > 1]
        return [group for name, group in groups if name in ("name=systemd", "")]

    def command_line(self, pid: int) -> "List[str]":
        """Return the words of a process's command line; none if the process has ended."""
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as stream:
                return [os.fsdecode(word) for word in stream.read(4096).split(b"\0") if word]
        except OSError:
            return []

    def started(self, pid: int) -> "Optional[float]":
        """Return when a process was started, in seconds since the epoch by this host's present clock; None if that
        cannot be seen."""
        try:
            since_boot = int(self._stat(pid)[19]) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None
        return self.now() - time.clock_gettime(CLOCK_BOOTTIME) + since_boot

    def is_suspended(self, pid: int) -> bool:
        """Return whether a signal or a debugger has suspended a process (proc(5), state T or t); no, if it cannot be
        seen."""
        try:
            return self._stat(pid)[:1] in ([b"T"], [b"t"])
        except OSError:
            return False

    def _stat(self, pid: int) -> "List[bytes]":
        """Return the fields of /proc/PID/stat (proc(5)) after the program's name, which may contain blanks and
        parentheses. Raises OSError."""
        return self.read("/proc/%d/stat" % pid, 4096, head=True).rpartition(b")")[2].split()

    def program_name(self, pid: int) -> str:
        """Return the name of a process's program, as ps -o comm shows it; "" if the process has ended."""
        try:
            return os.fsdecode(self.read("/proc/%d/comm" % pid, 64)).strip()
        except OSError:
            return ""


def _allow_absent(sock: "_socket.socket") -> bool:
    """Let a socket bind an address that this host may not have yet, as the catcher does (ip(7), IP_FREEBIND). Returns
    whether this kernel can do that."""
    import _socket

    try:
        sock.setsockopt(_socket.IPPROTO_IP, 15, 1)
    except OSError:
        return False
    return True


class Lock:
    """A held lock; free() gives it back."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def free(self) -> None:
        """Give the lock back."""
        _close(self._fd)


def _again(call: "Callable[..., Result]", *arguments: "Any", **named: "Any") -> "Result":
    """Make a system call, again if a signal interrupts it, and return its result.

    Python does so by itself for calls on descriptors (PEP 475). Calls on names can be interrupted on NFS and FUSE.
    """
    while True:
        try:
            return call(*arguments, **named)
        except InterruptedError:
            continue


def _close(fd: int) -> None:
    """Close a descriptor. If a signal interrupts that (NFS, FUSE), Linux has closed it nevertheless."""
    try:
        os.close(fd)
    except InterruptedError:
        return


def forget_openssl_settings() -> None:
    """Remove the caller's settings for OpenSSL from this process. To be called before the import of a module that uses
    OpenSSL."""
    for name in ("OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(name, None)


def _is_of_this_system(pid: int) -> bool:
    """Return whether a process is in our PID namespace and has our root directory. Yes, if only root could tell."""
    try:
        return os.readlink("/proc/%d/ns/pid" % pid) == os.readlink("/proc/self/ns/pid") and os.path.samefile(
            "/proc/%d/root" % pid, "/")
    except OSError:
        return True


def _goes_with_the_pair(name: str) -> bool:
    """Return whether an image keeps a path in IMAGE_PAIR. name: what follows BIN in that path, e.g. "/catcher.key"; ""
    for the directory itself, which pair.py lists."""
    return name == "" or name.startswith(("/catcher.key", "/catcher.crt", "/.catcher-pair", "/.catcher."))


def _require_short(path: str) -> None:
    """Raise what the kernel would raise for a path that is longer than PATH_LIMIT."""
    if len(path) >= PATH_LIMIT:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG), path)


def _changed(path: str) -> ChangedMeanwhile:
    return ChangedMeanwhile(errno.EEXIST, "somebody else changed it meanwhile", path)


ACL = "system.posix_acl_access"


def _copy_attributes(source: str, target_fd: int) -> None:
    """Copy extended attributes, among them ACLs and the SELinux label, from a file to an open one."""
    try:
        names = _again(os.listxattr, source, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.ENOSYS):
            return
        raise
    has = _again(os.listxattr, target_fd)
    for name in names:
        if name in ("security.ima", "security.evm"):
            # Signatures of the old content; the kernel makes new ones.
            continue
        value = _again(os.getxattr, source, name, follow_symlinks=False)
        # SELinux denies a daemon in a domain of its own to set even the label that the file has already.
        if name not in has or _again(os.getxattr, target_fd, name) != value:
            _again(os.setxattr, target_fd, name, value)
    if ACL not in names and ACL in has:
        # The new file has got one from its directory's default ACL.
        _again(os.removexattr, target_fd, ACL)
