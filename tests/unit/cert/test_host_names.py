"""The host's names and addresses, without a network, DNS or /etc/hosts."""

import ipaddress
import time

import pytest

from catcher_install import apply, messages, paths, start, transition
from catcher_install.admin import cli, installed_pair
from catcher_install.cert import check, details, generate, host_names, pem
from catcher_install.errors import CatcherError

from ..support import Asked, ids

GETENT = "/usr/bin/getent"


def no_network(machine):
    """A host with a kernel only: no resolver, no hosts file, only loopback."""
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


def test_what_getent_complains_of_is_not_its_answer(machine, monkeypatch):
    """ld.so complains, for example, about a preloaded library that is gone."""
    machine.node = "tke1"
    machine.put("/etc/hosts", b"")

    def run(argv, timeout, stdin=b"", only_output=False):
        noise = b"" if only_output else b"ERROR: ld.so: object '/gone.so' cannot be preloaded: ignored.\n"
        return 0, noise + b"192.0.2.1 STREAM tke1.example.com\n"

    monkeypatch.setattr(machine, "run", run)
    assert host_names.collect(machine).full == "tke1.example.com"


@pytest.mark.parametrize("name", sorted(CASES))
def test_names(machine, name):
    node, hosts, answer, result = CASES[name]
    machine.node = node
    machine.put("/etc/hosts", hosts)
    if answer is not None:
        machine.programs[GETENT] = (0 if answer else 2, answer)
    found = host_names.collect(machine)
    assert (found.short, found.full) == result
    # The resolver is asked only if nothing else gave a full name.
    assert (machine.spawned != []) == (answer is not None)


@pytest.mark.parametrize("error", [FileNotFoundError(2, "x"), TimeoutError(110, "x"), PermissionError(13, "x")])
def test_without_a_resolver_the_node_name_is_the_full_name(machine, error):
    machine.node = "tke1"
    machine.programs[GETENT] = error
    assert host_names.collect(machine).full == "tke1"


def test_without_a_network_there_is_a_name_and_no_address(machine):
    no_network(machine)
    machine.node = "tke1"
    found = host_names.collect(machine)
    assert (found.short, found.full, found.addresses) == ("tke1", "tke1", [])


def test_a_kernel_without_ipv4_has_no_ipv4_address(machine, monkeypatch):
    def fail():
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(machine, "ipv4_addresses", fail)
    assert host_names.collect(machine).addresses == []


def test_ipv4_addresses_that_others_can_use_each_once_in_order(machine):
    machine.ipv4 = ["127.0.0.1", "192.0.2.10", "10.1.2.3", "169.254.1.1", "0.0.0.0", "192.0.2.10", "127.0.0.2",
                    "172.16.0.1", "224.0.0.1"]
    assert host_names.collect(machine).addresses == ["192.0.2.10", "10.1.2.3", "172.16.0.1"]


def if_inet6(*lines):
    """proc(5), net/if_inet6: address, interface, prefix, scope, flags, name. lines: address, scope, flags[, name]."""
    text = "".join("%s %02x 40 %02x %02x %8s\n" % (line[0], 2, line[1], line[2], (line + ("enc1",))[3])
                   for line in lines)
    return text.encode("ascii")


def hexed(address):
    return ipaddress.ip_address(address).packed.hex()


def test_temporary_addresses_are_not_named(machine):
    """net.ipv6.conf.*.use_tempaddr: temporary addresses disappear within a week, and so do deprecated ones."""
    machine.put("/proc/net/if_inet6", if_inet6(
        (hexed("2001:db8::7e57:1"), 0x00, 0x01), (hexed("2001:db8::10"), 0x00, 0x00),
        (hexed("2001:db8::7e57:2"), 0x00, 0x21), (hexed("2001:db8::7e57:3"), 0x00, 0x41)))
    found = host_names.addresses(machine)
    assert found.listed == ["192.0.2.10", "2001:db8::10"] == host_names.collect(machine).addresses
    assert found.passing == ["2001:db8::7e57:1", "2001:db8::7e57:2", "2001:db8::7e57:3"]
    assert found.left_out == []


def temporary(machine):
    machine.put("/proc/net/if_inet6", if_inet6((hexed("2001:db8::7e57:1"), 0x00, 0x01)))
    machine.put(paths.CONF, b"TLS_ON\n")


def test_what_is_temporary_is_said_when_a_pair_is_made_and_not_later(machine):
    temporary(machine)
    made = apply.converge(machine, transition.of(transition.START))
    said = [messages.text(one) for one in made.findings if one["id"] == "pair-addresses-temporary"]
    assert said == ["the certificate does not name the temporary IPv6 addresses of this host: 2001:db8::7e57:1"]
    assert made.facts.stamp is not None and made.facts.stamp.findings == []
    assert ids(installed_pair.check(machine, [])[1]) == []


@pytest.mark.parametrize("words,said", [(["plan"], True), (["plan", "--json"], True),
                                        (["--dry-run", "cert", "generate", "--force"], True),
                                        (["--dry-run", "mode", "tcp"], False)], ids=lambda one: " ".join(map(str, one))
                         if isinstance(one, list) else "")
def test_what_is_temporary_is_said_before_a_pair_is_made(machine, monkeypatch, capsys, words, said):
    temporary(machine)
    machine.put(paths.LIBRARY + "/run")
    monkeypatch.setattr(cli, "Host", lambda root="/": machine)
    cli.main(words)
    assert ("pair-addresses-temporary" in capsys.readouterr().out) == said


def test_an_address_that_is_temporary_on_one_interface_and_lasting_on_another(machine):
    machine.put("/proc/net/if_inet6", if_inet6(
        (hexed("2001:db8::10"), 0x00, 0x01), (hexed("2001:db8::10"), 0x00, 0x80, "enc2")))
    assert host_names.addresses(machine).listed == ["192.0.2.10", "2001:db8::10"]


def test_each_address_is_listed_once(machine):
    machine.ipv4 = [("192.0.2.10", "enc1"), ("192.0.2.10", "dummy0"), ("192.0.2.10", "docker0")]
    machine.put("/proc/net/if_inet6", if_inet6(*[(hexed("2001:db8::10"), 0x00, 0x80, name)
                                                 for name in ("enc1", "enc2", "enc3")]))
    assert host_names.collect(machine).addresses == ["192.0.2.10", "2001:db8::10"]


@pytest.mark.parametrize("bridge", ["docker0", "br-0123456789ab", "cni0", "cni-podman0", "podman1", "virbr0",
                                    "veth12ab", "lxdbr0", "flannel.1"])
def test_addresses_of_containers_come_last(machine, bridge):
    machine.ipv4 = [("172.17.0.1", bridge), ("192.0.2.10", "bond0"), ("10.0.0.1", "br0")]
    machine.put("/proc/net/if_inet6", if_inet6(
        (hexed("fd00::1"), 0x00, 0x80, bridge), (hexed("2001:db8::dead"), 0x00, 0x20),
        (hexed("2001:db8::10"), 0x00, 0x80)))
    assert host_names.collect(machine).addresses == [
        "192.0.2.10", "10.0.0.1", "2001:db8::10", "2001:db8::dead", "172.17.0.1", "fd00::1"]


def crowd(machine, count):
    machine.ipv4 = [("172.17.0.1", "docker0"), ("192.0.2.10", "enc1")]
    first = int(ipaddress.ip_address("2001:db8:1::"))
    machine.put("/proc/net/if_inet6", if_inet6(*[(hexed(first + n), 0x00, 0x80) for n in range(count)]))


def test_a_host_of_25000_addresses_has_a_certificate_that_a_handshake_carries(machine):
    crowd(machine, 25000)
    begin = time.process_time()
    found = host_names.addresses(machine)
    assert time.process_time() - begin < 3
    assert len(found.listed) + len(found.left_out) == 25002
    assert found.listed[:2] == ["192.0.2.10", "2001:db8:1::"] and "172.17.0.1" in found.left_out
    assert found.listed + found.left_out == sorted(found.listed + found.left_out, key=lambda one: (
        one == "172.17.0.1", ":" in one, int(ipaddress.ip_address(one))))
    key, crt = generate.generate(machine, host_names.collect(machine))
    assert len(crt) < 32 * 1024 * 4 // 3
    verdict = check.check(Asked(), key, crt)
    assert (verdict.problem, verdict.chain, verdict.unchecked) == ("", "", "")


def test_what_is_left_out_is_said_and_nothing_is_stale(machine):
    crowd(machine, 5000)
    machine.put(paths.CONF, b"TLS_ON\n")
    outcome = apply.converge(machine, transition.of(transition.START))
    said = [messages.text(one) for one in outcome.findings if one["id"] == "pair-addresses-left-out"]
    assert len(said) == 1 and "for some addresses of this host (3636): 2001:db8:1::" in said[0]
    begin = time.process_time()
    found = installed_pair.check(machine, [])[1]
    assert time.process_time() - begin < 5
    assert ids(found) == ["pair-addresses-left-out"]


@pytest.mark.parametrize("node,hosts,result", [
    ("ZLINUX1", b"10.0.0.7 zlinux1.example.com zlinux1\n", ("ZLINUX1", "zlinux1.example.com")),
    ("zlinux1", b"10.0.0.7 ZLINUX1.EXAMPLE.COM ZLinux1\n", ("zlinux1", "ZLINUX1.EXAMPLE.COM")),
    ("H\xd6ST", "10.0.0.7 h\xf6st.example.com h\xf6st\n".encode(), ("H\xd6ST", "h\xf6st.example.com")),
    ("tke1", b"10.0.0.7 *.example.com tke1 tke1.*.com\n", ("tke1", "tke1")),
    ("tke1", b"10.0.0.7 tke1. tke1\n", ("tke1", "tke1")),
])
def test_the_hosts_file_is_read_without_regard_to_case(machine, node, hosts, result):
    machine.node = node
    machine.put("/etc/hosts", hosts)
    machine.programs[GETENT] = (2, b"")
    found = host_names.collect(machine)
    assert (found.short, found.full) == result


def test_the_resolvers_answer_is_read_without_regard_to_case(machine):
    machine.node = "ZLINUX1"
    machine.programs[GETENT] = (0, b"10.0.0.7 STREAM zlinux1.example.com\n")
    assert host_names.collect(machine).full == "zlinux1.example.com"


@pytest.mark.parametrize("node", ["*.bank.example", "*", "host.*.example", "a*.bank.example"])
def test_a_host_whose_name_has_an_asterisk_gets_no_wildcard(machine, node):
    machine.node = node
    machine.programs[GETENT] = (2, b"")
    _, crt = generate.generate(machine, host_names.collect(machine))
    one = details.describe(pem.der(pem.PemFile("x", crt).certificates()[0]))
    assert one.common_names == ["localhost"] and one.dns_names == ["localhost"]
    assert details.match("192.0.2.10", one)


# -- the clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [0.0, 12345.6, 946684800.0, 1577836799.0])
def test_no_pair_is_made_while_the_clock_is_not_set(machine, now):
    machine.time = now
    machine.put(paths.CONF, b"TLS_ON\n")
    outcome = apply.converge(machine, transition.of(transition.START))
    decision = start.launch_decision(outcome.facts, outcome.plan.mode)
    assert (decision.mode, decision.again) == (None, True)
    assert decision.findings[-1]["id"] == "clock-unset"
    assert machine.get(paths.KEY) is None
    with pytest.raises(CatcherError) as refused:
        generate.generate(machine, host_names.collect(machine))
    assert "clock" in refused.value.message and "timedatectl" in refused.value.hint
    # When the clock is set, the next start makes the pair.
    machine.time = 1795468320.0
    outcome = apply.converge(machine, transition.of(transition.START))
    assert start.launch_decision(outcome.facts, outcome.plan.mode).mode == "tls"
    assert outcome.facts.verdict["not_after"] > machine.time + 9 * 365 * 86400


def test_an_installation_does_not_fail_of_the_clock(machine):
    machine.time = 0.0
    outcome = apply.converge(machine, transition.of(transition.INSTALL))
    assert "clock-unset" in ids(outcome.findings) and "pair-not-generated" not in ids(outcome.findings)
    assert machine.get(paths.CONF) == b"TLS_ON\n"


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


def test_link_local_addresses_are_left_out(machine):
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
def test_the_names_of_this_machine_are_without_loopback():
    from catcher_install.host import Host

    found = host_names.collect(Host())
    assert found.short and found.full.startswith(found.short)
    assert "127.0.0.1" not in found.addresses and "::1" not in found.addresses
