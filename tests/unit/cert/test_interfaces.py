"""Which interfaces are the host's own, and which are those of its containers and virtual machines."""

import pytest

from catcher_install.cert import host_names, interfaces

ROUTES = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
NOTHING = "0" * 32


def put(machine, name, kind="", device=False, below=(), bridge=False, type=1):
    """Make an interface as sysfs shows it. kind: DEVTYPE. below: what it lies on, or its ports."""
    at = interfaces.SYSFS + name
    machine.put(at + "/uevent", (("DEVTYPE=%s\n" % kind if kind else "") + "INTERFACE=%s\n" % name).encode("ascii"))
    machine.put(at + "/type", b"%d\n" % type)
    if device:
        machine.put_link(at + "/device", "../../../0.0.1000")
    for one in below:
        machine.put_link(at + "/lower_" + one, "../" + one)
    if bridge:
        machine.put(at + "/bridge/bridge_id", b"8000.000000000000\n")


# Interface, what sysfs says of it -> whether its addresses last. enc1 is a device of bond0, vnet0 is a guest's.
INTERFACES = {
    "enc2": ({"device": True}, True),
    "bond0": ({"kind": "bond", "below": ["enc1"]}, True),
    "bond1": ({"kind": "bond"}, True),
    "bond0.7": ({"kind": "vlan", "below": ["bond0"]}, True),
    "macvlan1": ({"kind": "macvlan", "below": ["enc1"]}, True),
    "eth0": ({"kind": "macvlan"}, True),
    "ipvl0": ({"kind": "ipvlan"}, True),
    "team0": ({"below": ["enc1"]}, True),
    # VIPA.
    "dummy0": ({}, True),
    # A KVM host whose guests are ports of the bridge.
    "br0": ({"kind": "bridge", "bridge": True, "below": ["vnet0", "enc1"]}, True),
    "br-mgmt": ({"kind": "bridge", "bridge": True, "below": ["bond0.7", "vnet0"]}, True),
    "br1": ({"kind": "bridge", "bridge": True, "below": ["vnet0"]}, False),
    "cbr0": ({"kind": "bridge", "bridge": True}, False),
    "anything": ({"kind": "bridge", "bridge": True}, False),
    "docker0": ({"kind": "bridge", "bridge": True, "below": ["veth12"]}, False),
    "vxlan.calico": ({"kind": "vxlan", "below": ["enc1"]}, False),
    "overlay9": ({"kind": "geneve"}, False),
    "tunl0": ({"type": 768}, False),
    "six0": ({"type": 769}, False),
    "kube-ipvs0": ({}, False),
    "nodelocaldns": ({}, False),
    "cilium_host": ({}, False),
    "lxc_health": ({}, False),
    "ovs-br0": ({}, False),
    "weave": ({}, False),
    # A circle, which no kernel makes.
    "loop0": ({"bridge": True, "below": ["loop0"]}, False),
}


@pytest.fixture
def host(machine):
    put(machine, "enc1", device=True)
    put(machine, "vnet0")
    put(machine, "bond0", "bond", below=["enc1"])
    put(machine, "bond0.7", "vlan", below=["bond0"])
    return machine


@pytest.mark.parametrize("name", sorted(INTERFACES))
def test_what_the_kernel_says_counts(host, name):
    shown, lasting = INTERFACES[name]
    if not host.lexists(interfaces.SYSFS + name):
        put(host, name, **shown)
    for label in (name, name + ":1"):
        assert interfaces.is_lasting(host, label, set()) == lasting
        # The host reaches other hosts over this interface, whatever it is.
        assert interfaces.is_lasting(host, label, {name})


@pytest.mark.parametrize("name,lasting", [
    ("enc1", True), ("br0", True), ("bond0", True), ("dummy0", True), ("docker0", False), ("nerdctl0", False),
    ("incusbr0", False), ("kube-bridge", False), ("cilium_net", False), ("vxlan.calico", False), ("tunl0", False)])
def test_a_name_counts_if_the_kernel_says_nothing(machine, name, lasting):
    assert interfaces.is_lasting(machine, name, set()) == lasting


def test_interfaces_with_a_default_route_are_found(machine):
    assert interfaces.with_default_route(machine) == set()
    machine.put("/proc/net/route", (
        ROUTES + "br-ex\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        + "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
        # Half of all addresses, as a VPN has it.
        + "tun0\t00000000\t010200C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n").encode("ascii"))
    tail = " 00000400 00000003 00000000 00000003 "
    machine.put("/proc/net/ipv6_route", "".join(
        "%s %s %s 00 %s%s%8s\n" % (to, length, NOTHING, NOTHING, tail, name) for to, length, name in (
            (NOTHING, "00", "virbr7"), (NOTHING, "08", "veth1"), ("fd" + NOTHING[2:], "00", "cni0"))).encode("ascii"))
    assert interfaces.with_default_route(machine) == {"br-ex", "virbr7"}


@pytest.mark.parametrize("data", [b"", b"\xff\0\n", b"x\n" * 10, b"a b c d e f g h i j\n"])
def test_routes_that_make_no_sense(machine, data):
    machine.put("/proc/net/route", data)
    machine.put("/proc/net/ipv6_route", data)
    assert interfaces.with_default_route(machine) == set()


def test_addresses_of_a_kubernetes_node_that_is_a_kvm_host(host):
    put(host, "br0", "bridge", below=["enc1", "vnet0"], bridge=True)
    for name in ("kube-ipvs0", "cilium_host"):
        put(host, name)
    put(host, "any0", "bridge", bridge=True)
    host.ipv4 = [("10.96.0.1", "kube-ipvs0"), ("10.0.0.1", "cilium_host"), ("172.30.0.1", "any0"),
                 ("192.0.2.10", "br0"), ("192.0.2.11", "br0:1")]
    assert host_names.addresses(host).listed == ["192.0.2.10", "192.0.2.11", "10.96.0.1", "10.0.0.1", "172.30.0.1"]
    # The only address of a host is named, on any kind of interface.
    host.ipv4 = [("172.30.0.1", "any0")]
    assert host_names.addresses(host).listed == ["172.30.0.1"]
