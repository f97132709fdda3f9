"""Tell whether the addresses of an interface last: the host's own do, those of its containers and virtual machines may
not.

What the kernel says of an interface counts (sysfs, the routes). Its name counts only if the kernel says nothing.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Set

    from ..host import Host

SYSFS = "/sys/class/net/"
SIZE_LIMIT = 16 * 1024 * 1024
# How the names of interfaces of containers and virtual machines begin. Interfaces of the kind dummy are not here: they
# may have a virtual IP address of the host (VIPA). Nor are most of Open vSwitch: they look like the host's own.
NAMES = (
    "docker", "br-", "cni", "podman", "virbr", "veth", "vnet", "lxc", "lxdbr", "flannel", "cali", "tap", "vxlan",
    "genev", "tunl", "cbr", "kube-", "cilium", "weave", "nerdctl", "incus", "nodelocaldns", "ovs-",
)
# In a uevent. OVERLAYS: networks on top of other networks. DERIVED: made from an interface of the host, which may be in
# another network namespace, so that it cannot be seen below this one.
OVERLAYS = (b"DEVTYPE=vxlan", b"DEVTYPE=geneve")
DERIVED = (b"DEVTYPE=bond", b"DEVTYPE=vlan", b"DEVTYPE=macvlan", b"DEVTYPE=macvtap", b"DEVTYPE=ipvlan")
# if_arp.h: ARPHRD_TUNNEL, ARPHRD_TUNNEL6
TUNNELS = (b"768", b"769")
# The largest number of interfaces on top of each other. A VLAN on a bond that is a port of a bridge makes three.
DEPTH = 6


def with_default_route(host: "Host") -> "Set[str]":
    """Return the names of the interfaces with a default route: they are the host's own (proc_pid_net(5))."""
    found = set()
    for row in _rows(host, "/proc/net/route"):
        # Interface, destination and, last but three, its mask.
        if len(row) > 7 and row[1] == row[7] == "00000000":
            found.add(row[0])
    for row in _rows(host, "/proc/net/ipv6_route"):
        # Destination and its length first, the interface last.
        if len(row) > 9 and not row[0].strip("0") and row[1] == "00":
            found.add(row[9])
    return found


def _rows(host: "Host", path: str) -> "List[List[str]]":
    return [line.split() for line in _read(host, path).decode("ascii", "replace").splitlines()]


def _read(host: "Host", path: str) -> bytes:
    try:
        return host.read_optional(path, SIZE_LIMIT) or b""
    except OSError:
        return b""


def is_lasting(host: "Host", label: str, routed: "Set[str]") -> bool:
    """Return whether the addresses of an interface last. label: its name, perhaps with ``:`` and a number. routed: what
    with_default_route() returned."""
    name = label.partition(":")[0]
    if name in routed:
        return True
    about = _read(host, SYSFS + name + "/uevent").splitlines()
    if any(kind in about for kind in OVERLAYS) or _read(host, SYSFS + name + "/type").strip() in TUNNELS:
        return False
    if _is_of_a_device(host, name, DEPTH) or any(kind in about for kind in DERIVED):
        return True
    return not host.is_dir(SYSFS + name + "/bridge") and not name.startswith(NAMES)


def _is_of_a_device(host: "Host", name: str, depth: int) -> bool:
    """Return whether an interface is a device or is on top of one: a bond, a VLAN, a bridge with a device as port."""
    if host.lexists(SYSFS + name + "/device"):
        return True
    below = [entry[len("lower_"):] for entry in host.list_dir(SYSFS + name) if entry.startswith("lower_")]
    return depth > 0 and any(_is_of_a_device(host, one, depth - 1) for one in below)
