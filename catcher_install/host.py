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

    Result = TypeVar("Result")

# For Host.replace(): whatever is there may be replaced.
ANYTHING: "Any" = object()
# What link(2) gives if a file system has no hard links.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
LINK_LIMIT = 40
# The longest path in bytes, with its final NUL (PATH_MAX in limits.h). The kernel refuses a longer path, and resolving
# it by hand would need quadratic time.
PATH_LIMIT = 4096
COPY_BLOCK = 64 * 1024
# Errors of a read that may be over in a moment.
PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO, errno.ETIMEDOUT, errno.EINTR,
           errno.ESTALE)  # fmt: skip
# Errors of a path that leads to nothing: its links may be a circle.
NOTHING = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
# clock_gettime(2); time names it from Python 3.7. The kernel counts the starts of processes by it.
CLOCK_BOOTTIME = 7
# Of a file whose identity cannot be found out.
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

    # Whether KEY and CERTIFICATE are the links of an image; None until that is needed.
    _pair_is_in_image: "Optional[bool]" = None
    # Whether systemd runs this process outside of the sandbox (hooks/make-pair).
    outside = False

    def __init__(self, root: str = "/") -> None:
        _require_short(root)
        self.root = os.path.realpath(root)
        if not os.path.isdir(self.root):
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", root)

    # -- names ---------------------------------------------------------------------------------------------------

    def locate(self, path: str, follow: bool = False) -> str:
        """Where the kernel finds *path*; with *follow*, what its last component links to.

        Inside a root every link is resolved by hand, since the kernel would resolve an absolute one against "/".
        """
        if path.startswith(paths.BIN) and self.pair_is_in_image() and _goes_with_the_pair(path[len(paths.BIN):]):
            path = paths.IMAGE_PAIR + path[len(paths.BIN):]
        return self._locate(path, follow)

    def pair_is_in_image(self) -> bool:
        """Whether this is an image that keeps the pair in IMAGE_PAIR. One link alone leads to no pair."""
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
        """lstat of *path*, or None if there is nothing."""
        try:
            return _again(os.lstat, self.locate(path))
        except OSError as error:
            if error.errno not in NOTHING:
                raise
            return None

    def lexists(self, path: str) -> bool:
        """Whether anything, even a dangling link, has this name."""
        return self.lstat(path) is not None

    def identity(self, path: str) -> str:
        """Return a text that changes whenever the file changes to which *path* leads; "-" if there is no file, UNSEEN
        if that cannot be found out.

        The text has the inode, its size, and the time of the last change of content, mode or owner, which nobody can
        set back. It does not have the number of the device, which may change at a boot.
        """
        try:
            entry = _again(os.stat, self.locate(path, follow=True))
        except OSError as error:
            return "-" if error.errno in NOTHING else UNSEEN
        return "%d:%d:%d" % (entry.st_ino, entry.st_size, entry.st_ctime_ns)

    def real_path(self, path: str) -> str:
        """The path without links of what *path* leads to, as far as it can be followed."""
        return self._inside(os.path.realpath(self.locate(path, follow=True)))

    def permissions(self, path: str) -> int:
        """The permission bits of what *path* leads to; 0 if that cannot be seen."""
        try:
            return stat.S_IMODE(_again(os.stat, self.locate(path, follow=True)).st_mode)
        except OSError:
            return 0

    def open_mode(self, path: str) -> int:
        """The permission bits of what *path* leads to if others than its owner can read it; 0 if they cannot.

        A link may lead to what other programs share by its group, and to where only these may look anything up.
        """
        mode = self.permissions(path)
        if self.read_link(path) is None:
            return mode if mode & 0o077 else 0
        above = os.path.dirname(self.real_path(path))
        while above != "/" and self.permissions(above) & 0o001:
            above = os.path.dirname(above)
        return mode if mode & 0o007 and above == "/" else 0

    def is_dir(self, path: str) -> bool:
        """Whether *path* is, or links to, a directory."""
        try:
            return stat.S_ISDIR(_again(os.stat, self.locate(path, follow=True)).st_mode)
        except OSError:
            return False

    def is_own_dir(self, path: str) -> bool:
        """Whether *path* is a directory itself, of root's or ours: one that somebody else planted does not count."""
        entry = self.lstat(path)
        if entry is None or not stat.S_ISDIR(entry.st_mode):
            return False
        return self.is_own(path, entry)

    def is_own(self, path: str, entry: os.stat_result) -> bool:
        """Whether *path*, of which this is lstat(), is root's or ours.

        What is root's may be of another user (NFS with root_squash); then the directory above is, too.
        """
        above = _again(os.stat, self.locate(os.path.dirname(path), follow=True))
        return self.is_ours(entry) or entry.st_uid == above.st_uid

    def is_ours(self, entry: os.stat_result) -> bool:
        """Whether a file belongs to root, or to who runs this."""
        return entry.st_uid in (0, os.geteuid())

    def list_dir(self, path: str, certain: bool = False) -> "List[str]":
        """Names in a directory, sorted; none if it does not exist or may not be read.

        certain: a directory that may not be read raises PermissionError, for callers that decide by what is not in it.
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
        """Where a link points, or None for anything else."""
        try:
            return _again(os.readlink, self.locate(path))
        except OSError as error:
            if error.errno in (errno.EINVAL, errno.ENOENT, errno.ENOTDIR):
                return None
            raise

    def read(self, path: str, limit: int, head: bool = False, public: bool = False) -> bytes:
        """The content of a regular file, links followed.

        limit: bytes. A larger file raises EFBIG, unless *head* asks for no more than its first *limit* bytes.
        public: a file that not everybody may read raises EACCES.
        A FIFO, a device or a directory raises EINVAL and is never waited for.
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
        """As read(), or None if there is no such file."""
        try:
            return self.read(path, limit)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def own_elf_header(self) -> bytes:
        """The first bytes of a program of this host's architecture; b"" if no program can be read."""
        for path in ("/proc/self/exe",) if self.root == "/" else ("/bin/sh", paths.OPENSSL):
            try:
                return self.read(path, limit=20, head=True)
            except OSError:
                continue
        return b""

    # -- the running system --------------------------------------------------------------------------------------

    def is_booted(self) -> bool:
        """Whether this is a running system: systemd is its PID 1, and we are not in a chroot of it.

        Says no in an image build, under ``--root`` and with SYSTEMD_OFFLINE=1 (systemctl(1)).
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
        """Whether systemd itself started this process for a unit (systemd.exec(5), INVOCATION_ID)."""
        return "INVOCATION_ID" in os.environ and os.getppid() == 1

    def is_in_sandbox(self) -> bool:
        """Whether this process sees what the daemon will see, because the unit's sandbox is around it."""
        return self.is_run_by_systemd() and not self.outside

    def is_root(self) -> bool:
        """Whether this process may change the host as a whole: it is root."""
        return os.geteuid() == 0

    def asked_by(self) -> str:
        """Who runs this process: its user, and the user who logged in for it (proc(5), loginuid), if any did."""
        login = b""
        try:
            login = self.read("/proc/self/loginuid", 32).strip()
        except OSError:
            return "uid %d" % os.geteuid()
        # 2 ** 32 - 1: nobody logged in.
        known = login.isdigit() and int(login) != 4294967295
        return "uid %d%s" % (os.geteuid(), ", logged in as uid %d" % int(login) if known else "")

    def in_chroot(self) -> bool:
        """Whether our root directory is not PID 1's. False if /proc cannot tell and nothing else says so."""
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

    def sees_host_network(self) -> bool:
        """Whether this process sees the host's network. rpm's unshare plugin runs scriptlets in an empty one."""
        try:
            return _again(os.readlink, "/proc/self/ns/net") == _again(os.readlink, "/proc/1/ns/net")
        except OSError:
            return True

    def shares_network(self, pid: int) -> bool:
        """Whether a process has our network; yes, if that cannot be seen."""
        try:
            return self.read_link("/proc/%d/ns/net" % pid) in (None, self.read_link("/proc/self/ns/net"))
        except OSError:
            return True

    def has_address(self, address: str) -> bool:
        """Whether this host has a numeric IP address now, and the interface that may be named behind a "%"."""
        import socket

        try:
            family, kind, _, _, name = socket.getaddrinfo(
                address, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
            with socket.socket(family, kind) as sock:
                sock.bind(name)
        except socket.gaierror as error:
            # The interface.
            return error.errno != socket.EAI_NONAME
        except OSError as error:
            return error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV)
        return True

    def is_listening(self, port: int) -> bool:
        """Whether a TCP socket of the host, not of this process alone, listens on *port*."""
        return any(one.listens for one in self.tcp_sockets(port))

    def tcp_sockets(self, port: int, pid: int = 1) -> "List[TcpSocket]":
        """The TCP sockets with this local port in a process's network, or in ours if that cannot be seen (proc(5))."""
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
                found += _sockets_on_port(data, port)
            if seen:
                break
        return found

    def can_bind(self, port: int, addresses: "Sequence[str]" = ("::", "0.0.0.0")) -> bool:
        """Whether a server that sets SO_REUSEADDR, as the catcher does, could have a TCP port on these addresses."""
        # What socket is made of: importing that one takes a third of the time of a start.
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
        """Do nothing for some time."""
        time.sleep(seconds)

    def socket_owner(self, inode: int, likely: "Optional[int]" = None) -> "Optional[int]":
        """Return the PID of a process that has a socket open; None if no process has, or if we may not see which one.

        likely: the process that counts if several have it, since children inherit it.
        """
        wanted = "socket:[%d]" % inode
        for pid in ([] if likely is None else [likely]) + self.pids():
            for fd in self.list_dir("/proc/%d/fd" % pid):
                try:
                    if self.read_link("/proc/%d/fd/%s" % (pid, fd)) == wanted:
                        return pid
                except OSError:
                    # Of another user, or ended meanwhile.
                    break
        return None

    def wait_until(self, condition: "Callable[[], bool]", timeout: float) -> bool:
        """Look at a condition until it holds; False if it does not within *timeout* seconds."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def uptime(self) -> float:
        """Seconds since boot, as systemd counts them in its monotonic time stamps."""
        return time.monotonic()

    def node_name(self) -> str:
        """The kernel's host name; under ``--root``, what /etc/hostname will set."""
        if self.root == "/":
            # Python 3.6 in the C locale, and bytes that are no text, give surrogates.
            return os.fsencode(os.uname().nodename).decode("utf-8", "replace")
        data = self.read_optional("/etc/hostname", 4096) or b""
        return data.decode("utf-8", "replace").strip()

    def ipv4_addresses(self) -> "List[Tuple[str, str]]":
        """(address, interface) of every IPv4 address of this host, in the kernel's order (netdevice(7))."""
        import array
        import socket
        import struct

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            # Without a buffer it says how large one must be; there may be more addresses in a moment.
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
        """Run a program and wait: (exit status, standard output and error together; with only_output, without errors).

        argv: an absolute path first; no shell is involved. A signal n gives status 128 + n.
        timeout: seconds; then the program is killed and TimeoutError raised. Output beyond 1 MiB is dropped.
        The environment is CHILD_ENVIRONMENT. Raises OSError if the program cannot be executed. Programs of another root
        directory are never executed: nobody knows what they do.
        """
        if self.root != "/":
            raise PermissionError(errno.EPERM, "programs of another root directory are not run", argv[0])
        # Raises FileNotFoundError here, which is cheaper than a process that fails to execute it.
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
        """Ask a process to end (SIGTERM); one that has ended already is no error."""
        try:
            os.kill(pid, 15)
        except ProcessLookupError:
            return

    def execute(self, program: str, argv: "Sequence[str]", environment: "Optional[Dict[str, str]]" = None) -> None:
        """Become *program*; returns only by raising OSError. environment: what it gets beside ours."""
        os.execve(program, list(argv), dict(os.environ, **(environment or {})))

    # -- writing -------------------------------------------------------------------------------------------------

    def make_dir(self, path: str, mode: int) -> None:
        """Make one directory, open to *mode* and never to more; it may not exist yet."""
        _again(os.mkdir, self.locate(path), mode)

    def ensure_dir(self, path: str, mode: int) -> None:
        """Make a directory and its parents if they are missing; existing ones keep owner and mode."""
        if not path.strip("/") or self.is_dir(path):
            return
        self.ensure_dir(os.path.dirname(path), 0o755)
        try:
            self.make_dir(path, mode)
            # The unit's umask is 0077, and /etc/cca is for everybody to read.
            _again(os.chmod, self.locate(path), mode)
            # If the directory is not on disk, a crash also loses the files in it.
            self.sync_dir(os.path.dirname(path))
        except FileExistsError:
            # Another hook was faster, or a dangling link stands here: the caller's next step tells which.
            return

    def sync_dir(self, path: str) -> None:
        """Make the names in a directory survive a crash."""
        fd = os.open(self.locate(path, follow=True), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            _close(fd)

    def create(self, path: str, data: bytes, mode: int, like: "Optional[os.stat_result]" = None,
               attributes_of: str = "", lasting: bool = True) -> None:
        """Write a new file. O_EXCL: an earlier file or a link of that name is an error, and is never written through.

        The owner, the extended attributes (ACL, SELinux label) and the mode are set before the content is written, and
        nobody can ever do more with the file than *mode* allows. If it is *lasting*, the content is on disk when this
        returns. A failure leaves no file.
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
                    # As vfat that is mounted for a user. Who the group is matters only if it may do more than others.
                    if mode >> 3 & 7 != mode & 7:
                        raise
            os.fchmod(fd, mode)
            if os.fstat(fd).st_mode & ~mode & (stat.S_IRGRP | stat.S_IROTH):
                # vfat and some network file systems do nothing and say that they did.
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
        """Give *path* new content, durably: after a crash there is the old file or the whole new one.

        An existing file keeps its owner, mode, ACL, attributes and label. A link is replaced by the file; with *follow*
        the link stays, and the file to which it leads is replaced. expected: the content that was read, None for no
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
        """Whether a file has exactly this content."""
        try:
            return self.read(path, len(data) + 1, head=True) == data
        except FileNotFoundError:
            return False

    def _name_anew(self, draft: str, target: str) -> None:
        """Give a draft its final name, which nothing may have yet."""
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
        """A real path as a path inside the root."""
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
                # The kernel says EPERM of both.
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
        """Take the lock of all csulcca runs; None if there is none because /var cannot be written.

        timeout: seconds to wait for another holder; then TimeoutError. The kernel frees the lock of a killed holder.
        """
        try:
            self.ensure_dir(paths.STATE_DIR, 0o755)
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
        """PIDs of all processes that we can see."""
        return [int(name) for name in self.list_dir("/proc") if name.isdigit()]

    def is_root_process(self, pid: int) -> bool:
        """Whether a process is of root, and of no container and no chroot, as the kernel says.

        Not by the owner of /proc/PID: that is root too for a process that keeps others from looking into it (proc(5)).
        """
        try:
            status = self.read("/proc/%d/status" % pid, 16 * 1024, head=True)
        except OSError:
            return False
        users = [line.split()[1:] for line in status.splitlines() if line.startswith(b"Uid:")]
        return users == [[b"0"] * 4] and _is_of_this_system(pid)

    def is_hidden(self, pid: int) -> bool:
        """Whether a process is there, and /proc shows us only our own processes (proc(5), hidepid=)."""
        try:
            os.kill(pid, 0)
        except PermissionError:
            return self.is_dir("/proc/self") and not self.command_line(pid)
        except ProcessLookupError:
            return False
        return False

    def control_groups(self, pid: int) -> "List[str]":
        """The control groups in which systemd may have put a process (cgroups(7)); none if that cannot be seen.

        There are two if the host has both hierarchies, and systemd in a container may use only one of them.
        """
        try:
            lines = self.read("/proc/%d/cgroup" % pid, 16 * 1024, head=True).decode("utf-8", "replace").splitlines()
        except OSError:
            return []
        groups = [line.split(":", 2)[1:] for line in lines if line.count(":") > 1]
        return [group for name, group in groups if name in ("name=systemd", "")]

    def command_line(self, pid: int) -> "List[str]":
        """The words of a process's command line; none if it has ended meanwhile."""
        try:
            with open("/proc/%d/cmdline" % pid, "rb") as stream:
                return [os.fsdecode(word) for word in stream.read(4096).split(b"\0") if word]
        except OSError:
            return []

    def started(self, pid: int) -> "Optional[float]":
        """When a process was started, in seconds since the epoch as this host's clock counts them now; None if that
        cannot be seen."""
        try:
            since_boot = int(self._stat(pid)[19]) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            return None
        return self.now() - time.clock_gettime(CLOCK_BOOTTIME) + since_boot

    def is_suspended(self, pid: int) -> bool:
        """Whether a signal or a debugger has suspended a process (proc(5), state T or t); no, if it cannot be seen."""
        try:
            return self._stat(pid)[:1] in ([b"T"], [b"t"])
        except OSError:
            return False

    def _stat(self, pid: int) -> "List[bytes]":
        """The words of proc(5)'s /proc/PID/stat behind the name, which may contain anything. Raises OSError."""
        return self.read("/proc/%d/stat" % pid, 4096, head=True).rpartition(b")")[2].split()

    def program_name(self, pid: int) -> str:
        """The name of a process's program, as ps -o comm shows it; "" if it has ended meanwhile."""
        try:
            return os.fsdecode(self.read("/proc/%d/comm" % pid, 64)).strip()
        except OSError:
            return ""


def _allow_absent(sock: "_socket.socket") -> bool:
    """Let a socket have an address that this host may not have yet, as the catcher does (ip(7), IP_FREEBIND). False if
    this kernel cannot: then nobody can have that address."""
    import _socket

    try:
        sock.setsockopt(_socket.IPPROTO_IP, 15, 1)
    except OSError:
        return False
    return True


class TcpSocket:
    """A TCP socket. listens: or it is an end of a connection. inode: identifies it; 0 if no process has it any more.
    waits: it listens, and a connection waits to be accepted."""

    def __init__(self, local: str, listens: bool, inode: int, waits: bool) -> None:
        self._local = local
        self.listens = listens
        self.inode = inode
        self.waits = waits

    @property
    def address(self) -> str:
        """The local address as text. proc(5) shows it as 32-bit words in this machine's byte order."""
        import socket
        import sys

        data = bytes.fromhex(self._local)
        if sys.byteorder == "little":
            data = b"".join(data[at:at + 4][::-1] for at in range(0, len(data), 4))
        return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def _sockets_on_port(table: bytes, port: int) -> "List[TcpSocket]":
    """The sockets of a table of proc(5)'s net/tcp with this local port."""
    wanted = b":%04X" % port
    found = []
    for line in table.splitlines()[1:]:
        words = line.split(None, 10)
        if len(words) > 9 and words[1].endswith(wanted):
            listens = words[3] == b"0A"
            # The second number of a socket that listens counts the connections that wait.
            waits = listens and int(words[4].rpartition(b":")[2], 16) > 0
            found.append(TcpSocket(words[1][:-5].decode("ascii"), listens, int(words[9]), waits))
    return found


class Lock:
    """A held lock; free() gives it back."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def free(self) -> None:
        """Give the lock back."""
        _close(self._fd)


def _again(call: "Callable[..., Result]", *arguments: "Any", **named: "Any") -> "Result":
    """The result of a system call, made again if a signal interrupts it.

    Python does so by itself for calls on descriptors (PEP 475); those on names are interrupted on NFS and FUSE.
    """
    while True:
        try:
            return call(*arguments, **named)
        except InterruptedError:
            continue


def _close(fd: int) -> None:
    """Close a descriptor: Linux has closed it even if a signal came meanwhile, and reports that on NFS and FUSE."""
    try:
        os.close(fd)
    except InterruptedError:
        return


def forget_openssl_settings() -> None:
    """Drop the caller's settings for OpenSSL, before a module that uses it is imported: they are somebody else's."""
    for name in ("OPENSSL_CONF", "OPENSSL_ENGINES", "OPENSSL_MODULES", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        os.environ.pop(name, None)


def _is_of_this_system(pid: int) -> bool:
    """Whether a process is in our PID namespace and has our root directory. Yes, if only root could tell."""
    try:
        return os.readlink("/proc/%d/ns/pid" % pid) == os.readlink("/proc/self/ns/pid") and os.path.samefile(
            "/proc/%d/root" % pid, "/")
    except OSError:
        return True


def _goes_with_the_pair(name: str) -> bool:
    """Whether a name in BIN, after its slash, is one of pair.py's, or the directory's own, which is looked through."""
    return name == "" or name.startswith(("/catcher.key", "/catcher.crt", "/.catcher-pair", "/.catcher."))


def _require_short(path: str) -> None:
    """Raise what the kernel would raise for a path beyond PATH_LIMIT."""
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
    for name in names:
        if name in ("security.ima", "security.evm"):
            # Signatures of the old content; the kernel makes new ones.
            continue
        _again(os.setxattr, target_fd, name, _again(os.getxattr, source, name, follow_symlinks=False))
    if ACL not in names and ACL in _again(os.listxattr, target_fd):
        # A new file has that of its directory's default.
        _again(os.removexattr, target_fd, ACL)
