"""The host's names and addresses, without a network, DNS or /etc/hosts."""

import pytest

from catcher_install.cert import host_names

GETENT = "/usr/bin/getent"


def no_network(machine):
    """Nothing but a kernel: no resolver, no hosts file, loopback only."""
    machine.programs[GETENT] = (2, b"")
    machine.remove("/etc/hosts")
    machine.ipv4 = ["127.0.0.1"]


# The kernel's name, /etc/hosts, what the resolver says -> short and full name
CASES = {
    "a full name": ("tke1.example.com", b"", None, ("tke1", "tke1.example.com")),
    "a full name with a final dot": ("tke1.example.com.", b"", None, ("tke1", "tke1.example.com")),
    "a short name, nothing else": ("tke1", b"", b"", ("tke1", "tke1")),
    "full by the hosts file": ("tke1", b"192.0.2.1 tke1.example.com tke1\n", None, ("tke1", "tke1.example.com")),
    "the hosts file, the other way round": ("tke1", b"127.0.1.1\ttke1 tke1.example.com. # us\n", None,
                                            ("tke1", "tke1.example.com")),
    "another host's line": ("tke1", b"192.0.2.1 tke11.example.com tke11\n", b"", ("tke1", "tke1")),
    "a comment": ("tke1", b"#192.0.2.1 tke1.example.com tke1\n", b"", ("tke1", "tke1")),
    "full by the resolver": ("tke1", b"", b"192.0.2.1 STREAM tke1.example.com\n192.0.2.1 DGRAM\n",
                             ("tke1", "tke1.example.com")),
    "a resolver that says the same": ("tke1", b"", b"192.0.2.1 STREAM tke1\n", ("tke1", "tke1")),
    "a resolver that says another name": ("tke1", b"", b"192.0.2.1 STREAM www.example.com\n", ("tke1", "tke1")),
    "a resolver that talks nonsense": ("tke1", b"", b"\xff\xfe\n", ("tke1", "tke1")),
    "no name": ("", b"", b"", ("localhost", "localhost")),
    "(none)": ("(none)", b"", b"", ("localhost", "localhost")),
    "dots only": ("...", b"", b"", ("localhost", "localhost")),
    "localhost": ("localhost", b"127.0.0.1 localhost\n", b"", ("localhost", "localhost")),
    "underscore": ("tke_1", b"", b"", ("tke_1", "tke_1")),
    "UTF-8": ("h\xf6st", "192.0.2.1 h\xf6st.example.com h\xf6st\n".encode(), None,
              ("h\xf6st", "h\xf6st.example.com")),
    "a hosts file of rubbish": ("tke1", b"\0\xff\n\n192.0.2.1\n#\n tke1 \n", b"", ("tke1", "tke1")),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_names(machine, name):
    node, hosts, answer, result = CASES[name]
    machine.node = node
    machine.put("/etc/hosts", hosts)
    if answer is not None:
        machine.programs[GETENT] = (0 if answer else 2, answer)
    found = host_names.collect(machine)
    assert (found.short, found.full) == result
    # The resolver is asked only where nothing else told.
    assert (machine.spawned != []) == (answer is not None)


@pytest.mark.parametrize("error", [FileNotFoundError(2, "x"), TimeoutError(110, "x"), PermissionError(13, "x")])
def test_no_resolver(machine, error):
    machine.node = "tke1"
    machine.programs[GETENT] = error
    assert host_names.collect(machine).full == "tke1"


def test_no_network_at_all(machine):
    no_network(machine)
    machine.node = "tke1"
    found = host_names.collect(machine)
    assert (found.short, found.full, found.addresses) == ("tke1", "tke1", [])


def test_a_kernel_without_ipv4(machine, monkeypatch):
    def fail():
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(machine, "ipv4_addresses", fail)
    assert host_names.collect(machine).addresses == []


def test_ipv4_addresses_that_others_can_use_each_once_in_order(machine):
    machine.ipv4 = ["127.0.0.1", "192.0.2.10", "10.1.2.3", "169.254.1.1", "0.0.0.0", "192.0.2.10", "127.0.0.2",
                    "172.16.0.1", "224.0.0.1"]
    assert host_names.collect(machine).addresses == ["192.0.2.10", "10.1.2.3", "172.16.0.1"]


def if_inet6(*lines):
    """proc(5), net/if_inet6: address, interface, prefix, scope, flags, name."""
    text = "".join("%s %02x 40 %02x %02x %8s\n" % (address, 2, scope, flags, "enc1") for address, scope, flags in lines)
    return text.encode("ascii")


def test_ipv6_addresses_that_others_can_use(machine):
    machine.put("/proc/net/if_inet6", if_inet6(
        ("0" * 31 + "1", 0x10, 0x80),
        ("fe800000000000000000000000000001", 0x20, 0x80),
        ("20010db8000000000000000000000010", 0x00, 0x80),
        ("fd000001000000000000000000000002", 0x00, 0x80),
        ("20010db8000000000000000000000bad", 0x00, 0x88),
        ("fec00000000000000000000000000001", 0x40, 0x80),
    ))
    assert host_names.collect(machine).addresses == ["192.0.2.10", "2001:db8::10", "fd00:1::2"]


def test_ipv6_addresses_that_are_not_settled_yet_are_taken(machine):
    """IFA_F_TENTATIVE (0x40): duplicate address detection ends a second later, and a certificate lives for years."""
    machine.put("/proc/net/if_inet6", if_inet6(("20010db8000000000000000000000010", 0x00, 0x40)))
    assert host_names.collect(machine).addresses == ["192.0.2.10", "2001:db8::10"]


def test_ipv6_only_and_link_local_only(machine):
    machine.ipv4 = ["127.0.0.1"]
    machine.put("/proc/net/if_inet6", if_inet6(("fe800000000000000000000000000001", 0x20, 0x80)))
    assert host_names.collect(machine).addresses == []
    machine.put("/proc/net/if_inet6", if_inet6(("20010db8000000000000000000000010", 0x00, 0x80)))
    assert host_names.collect(machine).addresses == ["2001:db8::10"]


def test_common_name_is_the_full_name_where_it_fits():
    def common(short, full):
        return host_names.HostNames(short=short, full=full, addresses=[]).common_name()

    assert common("tke1", "tke1.example.com") == "tke1.example.com"
    assert common("tke1", "tke1." + "x" * 59) == "tke1." + "x" * 59
    assert common("tke1", "tke1." + "x" * 60) == "tke1"
    assert common("x" * 64, "x" * 64 + ".example.com") == "x" * 64
    assert common("x" * 70, "x" * 70) == "x" * 64


@pytest.mark.real_programs
def test_this_machine():
    from catcher_install.host import Host

    found = host_names.collect(Host())
    assert found.short and found.full.startswith(found.short)
    assert "127.0.0.1" not in found.addresses and "::1" not in found.addresses
