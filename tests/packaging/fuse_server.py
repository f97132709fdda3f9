"""A FUSE file system that shows one directory at another place, without hard links or without modes.

    python3 fuse_server.py BACKING MOUNTPOINT [links] [modes]

It runs in the machine of a test, which has no package of FUSE. So it speaks the kernel's protocol on /dev/fuse itself
(linux/fuse.h), and does below BACKING what the kernel asks for. Without "links" there are no hard links. Without
"modes" every file belongs to root and has the mode 0755, there are no symbolic links, and chmod changes nothing and
reports success, as on vfat. The program returns when the file system is mounted.
"""

import ctypes
import errno
import os
import stat
import struct
import sys

FIXED_MODE = 0o755
WRITE_SIZE = 64 * 1024
BIG_WRITES = 1 << 5  # FUSE_BIG_WRITES
NO_ANSWER = (2, 36, 42)  # FORGET, INTERRUPT, BATCH_FORGET
ROOT_ID = 1
# FATTR_... of linux/fuse.h
MODE, UID, GID, SIZE, ATIME, MTIME, ATIME_NOW, MTIME_NOW = 1, 2, 4, 8, 16, 32, 128, 256


class Server:
    """Answers the requests of the kernel, one after another."""

    def __init__(self, backing, links, modes):
        self.paths = {ROOT_ID: backing}
        self.links = links
        self.modes = modes

    # -- names and attributes ------------------------------------------------------------------------------------

    def node(self, path):
        """Return the number of a path. A path keeps its number until it is renamed or removed."""
        for number, known in self.paths.items():
            if known == path:
                return number
        number = max(self.paths) + 1
        self.paths[number] = path
        return number

    def child(self, parent, name):
        return os.path.join(self.paths[parent], os.fsdecode(name.split(b"\0")[0]))

    def renamed(self, old, new):
        self.gone(new)
        for number, path in self.paths.items():
            if path == old or path.startswith(old + "/"):
                self.paths[number] = new + path[len(old):]

    def gone(self, path):
        for number, known in self.paths.items():
            if known == path:
                self.paths[number] = path + "/gone"

    def attributes(self, path):
        found = os.lstat(path)
        mode, owner, links = found.st_mode, (found.st_uid, found.st_gid), found.st_nlink
        if not self.modes:
            mode, owner = stat.S_IFMT(mode) | FIXED_MODE, (0, 0)
        seconds = [int(one) for one in (found.st_atime, found.st_mtime, found.st_ctime)]
        parts = [one % 10**9 for one in (found.st_atime_ns, found.st_mtime_ns, found.st_ctime_ns)]
        return struct.pack("<6Q10I", found.st_ino, found.st_size, found.st_blocks, *(
            seconds + parts + [mode, links, owner[0], owner[1], 0, 4096, 0]))

    def entry(self, path):
        attributes = self.attributes(path)
        return struct.pack("<4Q2I", self.node(path), 0, 0, 0, 0, 0) + attributes

    # -- requests: each gets the node and the bytes after the header, and returns the answer ---------------------

    def lookup(self, node, data):
        return self.entry(self.child(node, data))

    def getattr(self, node, data):
        return struct.pack("<Q2I", 0, 0, 0) + self.attributes(self.paths[node])

    def setattr(self, node, data):
        valid, _, _, size, _, atime, mtime, _, atime_part, mtime_part, _, mode, _, uid, gid, _ = struct.unpack(
            "<2I6Q8I", data[:88])
        path = self.paths[node]
        if not self.modes and (valid & UID and uid or valid & GID and gid):
            raise PermissionError(errno.EPERM, "")
        if self.modes and valid & (UID | GID):
            os.chown(path, uid if valid & UID else -1, gid if valid & GID else -1, follow_symlinks=False)
        if self.modes and valid & MODE:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & SIZE:
            os.truncate(path, size)
        if valid & (ATIME | MTIME):
            now = os.lstat(path)
            times = [atime * 10**9 + atime_part if valid & ATIME else now.st_atime_ns,
                     mtime * 10**9 + mtime_part if valid & MTIME else now.st_mtime_ns]
            if valid & (ATIME_NOW | MTIME_NOW):
                os.utime(path, follow_symlinks=False)
            else:
                os.utime(path, ns=(times[0], times[1]), follow_symlinks=False)
        return self.getattr(node, data)

    def readlink(self, node, data):
        return os.fsencode(os.readlink(self.paths[node]))

    def symlink(self, node, data):
        if not self.modes:
            raise PermissionError(errno.EPERM, "")
        name, target = data.split(b"\0")[:2]
        path = self.child(node, name)
        os.symlink(os.fsdecode(target), path)
        return self.entry(path)

    def mknod(self, node, data):
        mode, device = struct.unpack("<2I", data[:8])
        if not self.modes and not stat.S_ISREG(mode):
            raise PermissionError(errno.EPERM, "")
        path = self.child(node, data[16:])
        os.mknod(path, mode, device)
        return self.entry(path)

    def mkdir(self, node, data):
        path = self.child(node, data[8:])
        os.mkdir(path, struct.unpack("<I", data[:4])[0])
        return self.entry(path)

    def unlink(self, node, data):
        path = self.child(node, data)
        os.unlink(path)
        self.gone(path)
        return b""

    def rmdir(self, node, data):
        path = self.child(node, data)
        os.rmdir(path)
        self.gone(path)
        return b""

    def rename(self, node, data):
        return self.rename_to(node, struct.unpack("<Q", data[:8])[0], data[8:])

    def rename2(self, node, data):
        target, flags = struct.unpack("<QI", data[:12])
        if flags:
            raise OSError(errno.EINVAL, "")
        return self.rename_to(node, target, data[16:])

    def rename_to(self, node, target, names):
        old, new = names.split(b"\0")[:2]
        old, new = self.child(node, old), self.child(target, new)
        os.rename(old, new)
        self.renamed(old, new)
        return b""

    def link(self, node, data):
        if not self.links:
            # libfuse answers this for a server without this function.
            raise OSError(errno.ENOSYS, "")
        path = self.child(node, data[8:])
        os.link(self.paths[struct.unpack("<Q", data[:8])[0]], path, follow_symlinks=False)
        return self.entry(path)

    def open(self, node, data):
        flags = struct.unpack("<I", data[:4])[0] & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
        return struct.pack("<Q2I", os.open(self.paths[node], flags | os.O_CLOEXEC), 0, 0)

    def create(self, node, data):
        flags, mode = struct.unpack("<2I", data[:8])
        path = self.child(node, data[16:])
        handle = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, mode)
        return self.entry(path) + struct.pack("<Q2I", handle, 0, 0)

    def read(self, node, data):
        handle, offset, size = struct.unpack("<2QI", data[:20])
        return os.pread(handle, size, offset)

    def write(self, node, data):
        handle, offset, size = struct.unpack("<2QI", data[:20])
        return struct.pack("<2I", os.pwrite(handle, data[40:40 + size], offset), 0)

    def release(self, node, data):
        os.close(struct.unpack("<Q", data[:8])[0])
        return b""

    def fsync(self, node, data):
        os.fsync(struct.unpack("<Q", data[:8])[0])
        return b""

    def nothing(self, node, data):
        return b""

    def opendir(self, node, data):
        return struct.pack("<Q2I", 0, 0, 0)

    def readdir(self, node, data):
        _, offset, size = struct.unpack("<2QI", data[:20])
        answer = b""
        for number, name in enumerate(sorted(os.listdir(self.paths[node])), 1):
            raw = os.fsencode(name)
            entry = struct.pack("<2Q2I", number, number, len(raw), 0) + raw + bytes(-len(raw) % 8)
            if number > offset and len(answer) + len(entry) <= size:
                answer += entry
            elif number > offset:
                break
        return answer

    def statfs(self, node, data):
        found = os.statvfs(self.paths[node])
        return struct.pack("<5Q4I24x", found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree,
                           found.f_bsize, found.f_namemax, found.f_frsize, 0)

    def init(self, node, data):
        major, minor, readahead = struct.unpack("<3I", data[:12])
        return struct.pack("<4I2H2I2HI28x", 7, min(minor, 31), readahead, BIG_WRITES, 0, 0, WRITE_SIZE, 1, 0, 0, 0)

    REQUESTS = {
        1: lookup, 3: getattr, 4: setattr, 5: readlink, 6: symlink, 8: mknod, 9: mkdir, 10: unlink, 11: rmdir,
        12: rename, 13: link, 14: open, 15: read, 16: write, 17: statfs, 18: release, 20: fsync, 25: nothing, 26: init,
        27: opendir, 28: readdir, 29: nothing, 30: nothing, 35: create, 45: rename2,
    }  # fmt: skip

    def serve(self, device):
        """Answer until the file system is unmounted."""
        while True:
            try:
                request = os.read(device, WRITE_SIZE + 4096)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.ENOENT, errno.EINTR, errno.EAGAIN):
                    continue
                raise
            _, number, unique, node = struct.unpack("<2I2Q", request[:24])
            if number in NO_ANSWER:
                continue
            status, answer = 0, b""
            try:
                if number not in self.REQUESTS:
                    raise OSError(errno.ENOSYS, "")
                answer = self.REQUESTS[number](self, node, request[40:])
            except OSError as error:
                status = -error.errno
            try:
                os.write(device, struct.pack("<IiQ", 16 + len(answer), status, unique) + answer)
            except FileNotFoundError:
                # The program that asked has been killed.
                continue


def main(backing, mountpoint, *has):
    device = os.open("/dev/fuse", os.O_RDWR)
    os.umask(0)
    options = "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions" % device
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"csulcca-test", mountpoint.encode(), b"fuse", 0, options.encode()):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), mountpoint)
    if os.fork():
        return
    os.setsid()
    nothing = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    Server(backing, "links" in has, "modes" in has).serve(device)


if __name__ == "__main__":
    main(*sys.argv[1:])
