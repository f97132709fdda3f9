"""A second root directory within a machine, for what installs into one; it can then become the machine's own."""

from .system import System

ROOT = "/srv/root"
_LAYER = "/srv/layer"


def make(system: System) -> None:
    """Lay a copy of the machine's root file system at ROOT: what is written there is written there alone."""
    system.machine.run(
        f"mkdir -p {ROOT} {_LAYER} && mount -t tmpfs layer {_LAYER} && mkdir {_LAYER}/new {_LAYER}/work"
        f" && mount -t overlay overlay -o lowerdir=/,upperdir={_LAYER}/new,workdir={_LAYER}/work {ROOT}")


def become(system: System) -> None:
    """Boot what is at ROOT: its new files become the machine's, and the machine starts again."""
    system.machine.run(f"umount {ROOT} && cp -a {_LAYER}/new/. / && umount {_LAYER}")
    system.machine.reboot()
