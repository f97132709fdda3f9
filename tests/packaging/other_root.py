"""A second root directory in a machine, to install into. Afterwards the machine can boot with it."""

from .system import System

ROOT = "/srv/root"
_LAYER = "/srv/layer"


def make(system: System) -> None:
    """Make a copy of the machine's root file system at ROOT. What is written there does not change the machine."""
    system.machine.run(
        f"mkdir -p {ROOT} {_LAYER} && mount -t tmpfs layer {_LAYER} && mkdir {_LAYER}/new {_LAYER}/work"
        f" && mount -t overlay overlay -o lowerdir=/,upperdir={_LAYER}/new,workdir={_LAYER}/work {ROOT}")


def become(system: System) -> None:
    """Copy the new files at ROOT into the machine, and boot it again."""
    system.machine.run(f"umount {ROOT} && cp -a {_LAYER}/new/. / && umount {_LAYER}")
    system.machine.reboot()
