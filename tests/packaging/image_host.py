"""Hosts that boot an image: an installation makes a new image for the next boot. Only /etc and /var can be written.

    with ImageHost(cell, workstation) as host:
        first = host.image(host.install(package))
        system = host.update(first)
        system = host.roll_back()
"""

from __future__ import annotations

import contextlib
import pathlib
import re
import types

from tests.matrix import engine, images
from tests.matrix.machine import Machine

from .packages import TREE
from .system import COMMANDS, System
from .workstation import Workstation

# Where a build finds the package.
PACKAGES = "/packages"
# A snapshot is a root of its own, and scriptlets are told.
IN_SNAPSHOT = """\
exec unshare --mount sh -eu -c '
    mount --rbind / /mnt
    mount -t tmpfs tmpfs /mnt/run
    TRANSACTIONAL_UPDATE=true exec chroot /mnt {}
'"""
# Base images for bootc have rpm's database below /usr, and nothing in /var.
BASE = """\
mkdir -p /usr/lib/sysimage /etc/rpm && mv /var/lib/rpm /usr/lib/sysimage/ && rm -rf /var/* && mkdir -m 1777 /var/tmp
echo '%_dbpath /usr/lib/sysimage/rpm' >/etc/rpm/macros
"""
# The /etc of an update is the /etc of its image, with the changes that the host made in the previous one. This runs in
# the previous image.
MERGE = """
import os, shutil, stat

def tree(top):
    found = {}
    for place, directories, files in os.walk(top):
        for name in directories + files:
            path = os.path.join(place, name)
            mode = os.lstat(path).st_mode
            content = os.readlink(path) if stat.S_ISLNK(mode) else open(path, "rb").read() if stat.S_ISREG(mode) else ""
            found[os.path.relpath(path, top)] = mode, content
    return found

image, changed = tree("/etc"), tree("/srv/changed")
for name in image.keys() - changed.keys():
    path = os.path.join("/srv/new", name)
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
for name in sorted(changed):
    path = os.path.join("/srv/new", name)
    if changed[name] != image.get(name):
        if stat.S_ISDIR(changed[name][0]):
            os.makedirs(path, exist_ok=True)
            continue
        if os.path.lexists(path):
            os.unlink(path)
        shutil.copy2(os.path.join("/srv/changed", name), path, follow_symlinks=False)
"""


class ImageHost:
    """One host, and the images that it has booted."""

    def __init__(self, cell: images.Cell, workstation: Workstation, *, shared: tuple[str, ...] = ()) -> None:
        """shared: directories beside /var that are the same for all images."""
        self.cell = cell
        self.one_opt = "/opt" in shared
        self.workstation = workstation
        self._stack = contextlib.ExitStack()
        self._volumes: list[str] = []
        self._images: list[str] = []
        self._booted: list[tuple[str, str]] = []
        """(image, its /etc), the last one last."""
        self._running: Machine | None = None
        self._shared = {path: self._volume() for path in ("/var", *shared)}

    def __enter__(self) -> ImageHost:
        """Make the volumes. /var is empty, because an update of a host does not bring what an image has there."""
        with Machine(images.ensure(self.cell), boot=False, data={"/srv/var": self._shared["/var"]}) as one:
            one.run("mkdir -p /srv/var/lib")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: types.TracebackType | None) -> None:  # fmt: skip
        """Remove machine, images and volumes."""
        self._stack.__exit__(kind, value, trace)
        for image in reversed(self._images):
            engine.attempt("rmi", "-f", image)
        engine.attempt("volume", "rm", "-f", *self._volumes)

    def image(self, *commands: str, base: str = "", package: pathlib.Path | None = None) -> str:
        """Build an image by commands in `base` (default: the cell's image) with the package; return its name."""
        volumes = {PACKAGES: str(package.parent)} if package else {}
        shared = {path: name for path, name in self._shared.items() if path != "/var"}
        name = f"{images.REPOSITORY}/{engine.owned_name(str(len(self._images)))}:1"
        with Machine(base or images.ensure(self.cell), name="build", boot=False, volumes=volumes, data=shared) as build:
            build.run("mkdir -p /mnt")
            if not base and self.cell.image_based == "bootc":
                build.run(BASE)
            for command in commands:
                done = build.run(command)
                assert "Traceback" not in done.out + done.err, done.out + done.err
            engine.call("commit", "--quiet", build.container, name)
        self._images.append(name)
        return name

    def installs(self, package: pathlib.Path) -> str:
        """Return the command that installs the package in a build for hosts of this kind."""
        path = f"{PACKAGES}/{package.name}"
        if self.cell.image_based == "bootc":
            # podman build itself asks for limits that a machine without CAP_SYS_RESOURCE refuses.
            text = (TREE / "contrib/image/Containerfile").read_text(encoding="utf-8").replace("\\\n", "")
            (command,) = re.findall(r"(?m)^RUN (.*)", text)
            return command
        if self.cell.image_based == "rpm-ostree":
            return f"rpm-ostree install {path}"
        return IN_SNAPSHOT.format(COMMANDS[self.cell.package_manager]["install"].format(path))

    def without(self, image: str) -> str:
        """Build an image from which the package was removed, in the way of hosts of this kind. Return its name."""
        if self.cell.image_based == "rpm-ostree":
            # rpm-ostree builds the whole image again, and runs no scriptlet of removal.
            return self.image()
        command = "rpm -e csulcca"
        return self.image(IN_SNAPSHOT.format(command) if self.cell.image_based != "bootc" else command, base=image)

    def update(self, image: str) -> System:
        """Boot the image after the one that runs."""
        etc = self._volume()
        with Machine(image, boot=False, data={"/etc": etc}):
            # The start of the machine has filled the volume with the files of the image.
            pass
        if self._booted:
            before, changed = self._booted[-1]
            with Machine(before, boot=False, data={"/srv/changed": changed, "/srv/new": etc}) as merge:
                merge.run(["python3", "-c", MERGE])
        return self._boot(image, etc)

    def roll_back(self) -> System:
        """Boot the image before the one that runs, with its own /etc."""
        return self._boot(*self._booted[-2])

    def _boot(self, image: str, etc: str) -> System:
        if self._running is not None:
            self._running.stop()
        self._booted.append((image, etc))
        self._running = Machine(image, name="zlinux1", network=self.workstation.network, read_only=True,
                                data={**self._shared, "/etc": etc})  # fmt: skip
        return System(self._stack.enter_context(self._running), self.cell, self.workstation)

    def _volume(self) -> str:
        self._volumes.append(engine.owned_name(f"{id(self)}-volume{len(self._volumes)}"))
        return self._volumes[-1]
