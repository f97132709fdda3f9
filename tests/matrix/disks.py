"""What a machine in qemu boots: a disk with a Debian root, its kernel, and an initrd that only mounts the disk.

Below the cache directory; HASH is of everything that the file or directory is made of:

    machines/CELL-HASH/root.tar             the root as mmdebstrap made it
    machines/CELL-HASH/image-HASH/          an image:
        disk                                the root as a file system, raw; a machine writes to an overlay of its own
        kernel, initrd, facts.json
    machines/CELL-HASH/image-HASH/booted-HASH/
                                            an image, too: a machine that has booted, with its memory

This needs no loop device and no mount: mke2fs fills the file system itself. Nothing on the build host changes.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import lzma
import os
import pathlib
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator

from tests.matrix import foreign

# The size of the disk as a machine sees it. The file has holes.
SIZE = "4G"
# Modules that the initrd loads, with their dependencies. Modules that are built into the kernel are not looked for.
# ext4 needs crc32c under a name that only modprobe could resolve.
MODULES = {
    "s390x": ("virtio_blk", "crc32c_generic", "ext4"),
    "x86_64": ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4"),
}
# busybox-static of the root's own suite runs this.
INIT = """#!/bin/busybox sh
export PATH=/bin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in /modules/*; do
    insmod "$module" || echo "initrd: $module is not loaded"
done
tries=0
until [ -b /dev/vda ] || [ "$tries" = 600 ]; do
    sleep 0.1
    tries=$((tries + 1))
done
flags=ro
type=ext4
for word in $(cat /proc/cmdline); do
    case $word in
    rootflags=*) flags=ro,${word#rootflags=} ;;
    rootfstype=*) type=${word#rootfstype=} ;;
    esac
done
mount -t "$type" -o "$flags" /dev/vda /new || exec sh
mount --move /dev /new/dev
mount --move /proc /new/proc
mount --move /sys /new/sys
exec switch_root /new /sbin/init
"""
APPLETS = ("sh", "mount", "insmod", "sleep", "cat", "echo", "switch_root")
COMMANDS = ("mke2fs", "tar", "truncate")
# The command that makes a file system of a root in a file, by type.
MKFS = {
    "ext4": ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "root", "-E", "lazy_itable_init=1,lazy_journal_init=1",
             "-d", "{root}", "{disk}"],
    "btrfs": ["mkfs.btrfs", "-q", "--rootdir", "{root}", "{disk}"],
    "xfs": ["mkfs.xfs", "-q", "-p", "{listing}", "{disk}"],
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Image:
    """The directory of an image. machine: the output of `uname -m` in it. words: for its kernel's command line."""

    directory: pathlib.Path
    machine: str
    words: str = ""

    @classmethod
    def of(cls, directory: str) -> Image:
        """The image in a directory for which write_facts() was called."""
        facts = json.loads(pathlib.Path(directory, "facts.json").read_text())
        return cls(pathlib.Path(directory), **facts)

    def is_made(self) -> bool:
        """Whether the image is complete: facts.json is written last."""
        return (self.directory / "facts.json").exists()

    def write_facts(self) -> None:
        """Write facts.json: what of() cannot know from the other files."""
        facts = {"machine": self.machine, "words": self.words}
        (self.directory / "facts.json").write_text(json.dumps(facts) + "\n")

    @property
    def disk(self) -> pathlib.Path:
        """The disk: a raw file system; if the machine was saved, the overlay with what it wrote."""
        raw = self.directory / "disk"
        return raw if raw.exists() else self.directory / "disk.qcow2"

    @property
    def state(self) -> pathlib.Path:
        """The memory of a machine that was saved while it ran; it may not exist."""
        return self.directory / "state"

    @property
    def kernel(self) -> pathlib.Path:
        """The kernel, in the form that the firmware loads."""
        return self.directory / "kernel"

    @property
    def initrd(self) -> pathlib.Path:
        """The initrd, a cpio archive."""
        return self.directory / "initrd"


def kernel_hook(package: str) -> str:
    """For mmdebstrap: put the files of the kernel that a Debian package depends on, and busybox, into the root.

    It is only unpacked: its installation would make an initrd, which takes minutes if everything is emulated.
    """
    return f"""--customize-hook=set -e
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
root=$1
work=$(mktemp -d)
cd "$work"
kernel=$(apt-cache depends {package} | sed -n 's/^ *Depends: \\(linux-image-[0-9].*\\)/\\1/p')
apt-get -qq -o APT::Sandbox::User=root download "$kernel" busybox-static
dpkg-deb --fsys-tarfile "$kernel"_*.deb | tar -x --keep-directory-symlink -C "$root"
dpkg-deb -x busybox-static_*.deb "$work/busybox"
mv "$(find "$work/busybox" -path '*/bin/busybox')" "$root/boot/busybox"
rm -r "$work"
chroot "$root" depmod "${{kernel#linux-image-}}"
"""


def digest_of(*parts: object) -> str:
    """A hash for the name of what is made of these."""
    text = json.dumps(parts)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def make(root_tar: pathlib.Path, image: Image, *, run: Callable = subprocess.check_call,
         change: Callable[[pathlib.Path], None] = lambda root: None, fstype: str = "ext4") -> None:  # fmt: skip
    """Make an image of a root in a tar file. Files of an interrupted attempt are overwritten.

    run: runs a command, and raises if that fails. change: called with the unpacked root before the disk is made.
    fstype: of MKFS; if it is not ext4, the image's words must contain `rootfstype=`.
    """
    with tempfile.TemporaryDirectory(dir=image.directory, prefix="root-") as work:
        root = pathlib.Path(work, "root")
        root.mkdir()
        run(["tar", "-x", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-f", str(root_tar), "-C", str(root)])
        change(root)
        if (root / "etc/selinux/config").exists():
            label(root, image.machine, run)
        (kernel,) = (root / "boot").glob("vmlinuz-*")
        version = kernel.name.removeprefix("vmlinuz-")
        shutil.copyfile(kernel, image.kernel)
        with gzip.open(image.initrd, "wb", 1) as archive:
            modules = tuple(name.replace("ext4", fstype) for name in MODULES[image.machine])
            archive.write(initrd(root, version, modules))
        disk = image.directory / "disk"
        disk.unlink(missing_ok=True)
        listing = pathlib.Path(work, "listing")
        listing.write_text(protofile(root) if fstype == "xfs" else "", errors="surrogateescape")
        run(["truncate", "-s", SIZE, str(disk)])
        run([word.format(root=root, disk=disk, listing=listing) for word in MKFS[fstype]])
    image.write_facts()


def protofile(root: pathlib.Path) -> str:
    """The list of a tree's files in the format that mkfs.xfs reads (-p in its manual page). Extended attributes are
    lost."""
    lines = ["boot", "0 0"]

    def add(path: pathlib.Path, name: str) -> None:
        found = path.lstat()
        kind = {stat.S_IFDIR: "d", stat.S_IFREG: "-", stat.S_IFLNK: "l", stat.S_IFCHR: "c"}[stat.S_IFMT(found.st_mode)]
        bits = "".join(letter if found.st_mode & bit else "-" for letter, bit in (("u", 0o4000), ("g", 0o2000)))
        words = [name, f"{kind}{bits}{found.st_mode & 0o777:03o}", str(found.st_uid), str(found.st_gid)]
        words += {"-": [str(path)], "l": [os.readlink(path) if kind == "l" else ""],
                  "c": [str(os.major(found.st_rdev)), str(os.minor(found.st_rdev))]}.get(kind, [])  # fmt: skip
        lines.append(" ".join(words).strip())
        if kind == "d":
            for entry in sorted(path.iterdir()):
                add(entry, entry.name)
            lines.append("$")

    add(root, "")
    return "\n".join(lines) + "\n"


def label(root: pathlib.Path, machine: str, run: Callable) -> None:
    """Give each file the SELinux label that the root's own policy has for its path, as an installer does when it
    ends."""
    policies = (root / "etc/selinux").glob("*/contexts/files/file_contexts")
    (contexts,) = ("/" + str(path.relative_to(root)) for path in policies)
    run(chroot(root, machine, "setfiles", "-F", contexts, "/"))


def initrd(root: pathlib.Path, version: str, modules: tuple[str, ...]) -> bytes:
    """The cpio archive: the root's busybox, these modules of its kernel and what they need, and INIT."""
    files: dict[str, bytes] = {"bin/busybox": (root / "boot/busybox").read_bytes(), "init": INIT.encode()}
    for number, path in enumerate(with_needed(root / "usr/lib/modules" / version, modules)):
        content = path.read_bytes()
        if path.suffix == ".xz":
            content = lzma.decompress(content)
        files[f"modules/{number:02}-{path.name.partition('.')[0]}.ko"] = content
    entries = [(name, stat.S_IFDIR | 0o755, b"") for name in ("bin", "dev", "modules", "new", "proc", "sys")]
    entries += [(name, stat.S_IFREG | 0o755, content) for name, content in files.items()]
    entries += [(f"bin/{name}", stat.S_IFLNK | 0o777, b"busybox") for name in APPLETS]
    return b"".join(cpio(entries))


def with_needed(directory: pathlib.Path, modules: tuple[str, ...]) -> list[pathlib.Path]:
    """Paths of kernel modules in the order in which they can be loaded; a module that is not there is built in."""
    needs = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        path, _, needed = line.partition(":")
        needs[path.rpartition("/")[2].partition(".")[0]] = [*reversed(needed.split()), path]
    ordered = dict.fromkeys(path for name in modules for path in needs.get(name, []))
    return [directory / path for path in ordered]


def cpio(entries: list[tuple[str, int, bytes]]) -> Iterator[bytes]:
    """An archive of cpio's format newc (see the kernel's initramfs/buffer-format), of (name, mode, content)."""
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], start=1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        yield header + b"\0" * (-len(header) % 4)
        yield content + b"\0" * (-len(content) % 4)


def chroot(root: pathlib.Path, machine: str, *command: str) -> list[str]:
    """The command line that runs a command in an unpacked root directory."""
    where = [] if machine == os.uname().machine else foreign.prefix(machine)
    # setfiles and other programs read /proc.
    return [*where, "unshare", "--mount", "--pid", "--fork", f"--mount-proc={root}/proc", "chroot", str(root), *command]
