"""`catcherctl probe` on a second machine, against a host in every state that a TKE may meet."""

import json

import pytest

from tests.matrix.machine import Machine, Result
from tests.unit import pem
from tests.unit.authority import DAY, Authority, issue

from .marks import needs_tls, one_of_each_family
from .system import CERTIFICATE, KEY, System

pytestmark = needs_tls


@pytest.fixture
def two(pair, built) -> tuple[System, Machine]:
    """A host in TLS mode, and a workstation that has the package, resolves the host's name, and trusts no new CA."""
    system, client = pair
    package = built.new(system.cell.family)
    system.package(system.tools[1], "first install", package)
    System(client, system.cell).package(system.tools[1], "first install", package)
    know(client, system.machine.ip4, system.machine.ip6)
    return system, client


def know(client: Machine, *addresses: str) -> None:
    """Let the workstation resolve the host's name to these addresses."""
    others = [line for line in client.read("/etc/hosts").decode().splitlines() if not line.endswith(" zlinux1")]
    # The file is written, not replaced, because the engine has mounted it there.
    client.write("/etc/hosts", "\n".join([*others, *(f"{address} zlinux1" for address in addresses)]) + "\n")


def probe(client: Machine, *arguments: str) -> Result:
    """Return what an administrator sees. The probe takes only seconds, whatever the other side does."""
    done = client.run(["catcherctl", "probe", *arguments], check=False, timeout=30)
    assert "Traceback" not in done.out + done.err
    return done


def serve(system: System, key: bytes, certificate: bytes) -> None:
    """Let the host show a pair, also one that `catcherctl cert install` would refuse, and wait until it does."""
    system.machine.write(KEY, key, mode=0o600)
    system.machine.write(CERTIFICATE, certificate)
    system.machine.run("systemctl restart CSUTKEcat")
    system.machine.wait_for("a catcher that listens", lambda: bool(system.show("ss -Hltn 'sport = :50003'")))


def trust(client: Machine, certificate: bytes) -> None:
    """Put a certificate into the workstation's trust store, where OpenSSL looks for it by its hash."""
    client.write("/root/anchor.pem", certificate)
    client.run("cp /root/anchor.pem \"$(openssl version -d | cut -d '\"' -f 2)/certs/"
               "$(openssl x509 -noout -hash -in /root/anchor.pem).0\"")  # fmt: skip


@pytest.mark.scenario("probe")
def test_tls_tcp_and_refused_are_told_apart(two):
    system, client = two
    address = system.machine.ip4

    done = probe(client, "zlinux1")
    assert done.rc == 0, done.out + done.err
    assert "  Speaks    TLSv1.3, TLS_" in done.out
    assert "zlinux1 matches (SAN DNS zlinux1)" in done.out
    assert "tick the box Enable SSL/TLS; Host Name/IP zlinux1" in done.out

    done = probe(client, address, "--name", "elsewhere.example.com")
    assert done.rc == 3
    assert "  Name      elsewhere.example.com does not match" in done.out
    assert "[probe-name-mismatch]" in done.out

    system.machine.run("catcherctl mode tcp")
    done = probe(client, "zlinux1")
    assert done.rc == 3
    assert "  Speaks    plain TCP, not TLS" in done.out
    assert "speaks plain TCP, not TLS: it closes its side of the connection before a TLS" in done.out
    assert "do not tick the box Enable SSL/TLS" in done.out

    system.machine.run("systemctl stop CSUTKEcat")
    done = probe(client, address)
    assert done.rc == 1
    assert f"the connection to port 50003 of {address} was refused" in done.out


@pytest.mark.scenario("probe")
def test_filtered_unreachable_and_unknown_are_told_apart(two):
    system, client = two
    address = system.machine.ip4

    # The host answers, and a firewall on the way swallows it: the workstation hears nothing at all.
    system.machine.run(["ip", "route", "add", "blackhole", client.ip4])
    done = probe(client, address, "--timeout", "1")
    assert done.rc == 1
    assert f"{address} port 50003 did not answer: no answer to a connection attempt [probe-timeout]" in done.out
    system.machine.run(["ip", "route", "del", "blackhole", client.ip4])
    assert probe(client, address).rc == 0

    # The kernel asks three times, a second apart, before it says that nobody has the address.
    client.run("for time in /proc/sys/net/ipv4/neigh/*/retrans_time_ms; do echo 100 > $time; done")
    nobody = address.rpartition(".")[0] + ".250"
    done = probe(client, nobody)
    assert done.rc == 1
    assert f"{nobody} port 50003 cannot be reached: no route to host [probe-unreachable]" in done.out

    done = probe(client, "nobody.example.com")
    assert done.rc == 1
    assert "the name nobody.example.com cannot be resolved" in done.out and "[probe-unknown-name]" in done.out


@pytest.mark.scenario("probe-certificates")
@one_of_each_family
def test_what_is_said_of_a_certificate_of_its_own_and_of_its_dates(two):
    system, client = two
    made = system.machine.read(CERTIFICATE)

    done = probe(client, "zlinux1")
    assert "with itself as trust anchor: verifies\n" in done.out
    assert "with this system's trust store: self" in done.out, done.out
    assert "[probe-self-signed]" in done.out
    trust(client, made)
    done = probe(client, "zlinux1")
    assert "with this system's trust store: verifies\n" in done.out
    assert done.rc == 0

    key = pem.key_of("prime256v1")
    serve(system, key, issue(key, "zlinux1", ["zlinux1"], first=-60 * DAY, last=-DAY))
    done = probe(client, "zlinux1")
    assert done.rc == 3
    assert "certificate 1 of 1 (CN=zlinux1) expired on " in done.out and "[probe-certificate-expired]" in done.out
    assert "zlinux1 matches" in done.out

    serve(system, key, issue(key, "zlinux1", ["zlinux1"], first=DAY, last=60 * DAY))
    done = probe(client, "zlinux1")
    assert done.rc == 3
    assert "[probe-certificate-not-yet-valid]" in done.out


@pytest.mark.scenario("probe-certificates")
@one_of_each_family
def test_what_is_said_of_a_chain_and_of_what_it_lacks(two):
    system, client = two
    key, authority = pem.key_of("prime256v1"), Authority()
    own = authority.issue(key, common_name="zlinux1", dns=["zlinux1"])
    system.machine.write("/root/own.key", key, mode=0o600)
    system.machine.write("/root/own.crt", own + authority.certificate + authority.root)
    system.machine.run("catcherctl cert install /root/own.key /root/own.crt")
    done = probe(client, "zlinux1")
    assert done.rc == 0, done.out
    assert "  Chain     3 certificates\n" in done.out
    assert "with the chain's last certificate as trust anchor: verifies\n" in done.out
    assert "with this system's trust store: verifies\n" not in done.out
    trust(client, authority.root)
    done = probe(client, "zlinux1", "--json")
    seen = json.loads(done.out)
    assert seen["trust"] == {"anchor": True, "anchor_problem": None, "system": True, "system_problem": None,
                             "cafile": None}  # fmt: skip
    assert [one["subject"] for one in seen["chain"]] == ["CN=zlinux1", "CN=Test CA", "CN=Test Root"]
    there = system.machine.run(f"openssl x509 -in {CERTIFICATE} -noout -fingerprint -sha256").out
    assert seen["chain"][0]["sha256"] == there.strip().partition("=")[2]

    # The chain's middle is missing: no trust anchor of a TKE could bridge that.
    serve(system, key, own + authority.root)
    done = probe(client, "zlinux1")
    assert done.rc == 3
    assert "[probe-chain-unverified]" in done.out
    # The end of the chain is missing. The TKE must have it from another source.
    serve(system, key, own)
    done = probe(client, "zlinux1")
    assert done.rc == 0
    assert "the issuer of certificate 1 of 1 (CN=Test CA) was not sent [probe-chain-incomplete]" in done.out


@pytest.mark.scenario("probe-ipv6")
@one_of_each_family
def test_probe_works_over_ipv6(two):
    system, client = two
    address = system.machine.ip6

    for target in (f"[{address}]", f"[{address}]:50003", address):
        done = probe(client, target)
        assert done.rc == 0, done.out + done.err
        assert f"{address} matches (SAN IP {address})" in done.out
    done = probe(client, f"[{address}]:50004")
    assert done.rc == 1
    assert f"the connection to port 50004 of {address} was refused" in done.out


@pytest.mark.scenario("probe-ipv6")
@one_of_each_family
def test_a_host_of_which_one_address_is_silent(two):
    system, client = two
    address = system.machine.ip6
    know(client, address)
    done = probe(client, "zlinux1")
    assert done.out.splitlines()[0] == f"zlinux1 port 50003, through {address}"
    system.machine.run(["ip", "-6", "route", "add", "blackhole", client.ip6])
    done = probe(client, "zlinux1", "--timeout", "1")
    assert done.rc == 1
    assert "[probe-timeout]" in done.out

    # The host answers at its second address, and the probe says that the first one does not.
    know(client, address, system.machine.ip4)
    done = probe(client, "zlinux1", "--timeout", "3")
    assert done.rc == 0, done.out
    assert done.out.splitlines()[0] == f"zlinux1 port 50003, through {system.machine.ip4}"
    assert f"zlinux1 also has the address {address}, which did not answer" in done.out


# A server that says, in the packet with the last word of its handshake, what openssl says of a chain that verifies.
LIAR = """
import socket, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/srv/liar.pem")
context.options |= ssl.OP_NO_TLSv1_3
server = socket.create_server(("127.0.0.1", 50010))
while True:
    peer = server.accept()[0]
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    try:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                peer.sendall(outgoing.read())
                data = peer.recv(65536)
                if not data:
                    break
                incoming.write(data)
        tls.write(b"\\nVerification: OK\\nVerify return code: 0 (ok)\\n")
        peer.sendall(outgoing.read())
        peer.recv(1)
    except (OSError, ssl.SSLError):
        pass
    peer.close()
"""
HOSTILE = "/srv/tree"


@pytest.mark.scenario("probe-certificates")
def test_what_the_far_side_says_of_itself_proves_nothing(boot, built):
    """The other side sends a text of openssl, and a name with a comma. The tree has programs of its own."""
    system = boot()
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    key = pem.key_of("prime256v1")
    names = ["evil.example, DNS:host.bank.example"]
    system.machine.write("/srv/liar.pem", key + issue(key, "evil.example", names), mode=0o600)
    system.machine.write("/srv/liar.py", LIAR)
    system.machine.run("systemd-run --unit=liar /usr/bin/python3 /srv/liar.py")
    system.machine.wait_for("the liar", lambda: ":50010" in system.show("ss -Hltn"))
    where = system.show("python3 -c 'import cryptography; print(cryptography.__path__[0])'")
    for hide in ("true", f"mv {where} {where}.away"):
        system.machine.run(hide)
        done = probe(system.machine, "127.0.0.1:50010", "--name", "host.bank.example", "--json")
        seen = json.loads(done.out)
        assert (seen["state"], seen["tls"]["version"], seen["name_matches"]) == ("tls", "TLSv1.2", False), seen
        assert not seen["trust"]["system"], seen

    system.machine.run(f"mkdir -p {HOSTILE}/usr/lib && cp -a /usr/lib/csulcca {HOSTILE}/usr/lib/")
    for name in ("true", "sh", "openssl", "python3", "systemctl", "getent"):
        for place in ("bin", "usr/bin"):
            system.machine.write(f"{HOSTILE}/{place}/{name}", "#!/bin/sh\ntouch /srv/was-run\n", mode=0o755)
    before = system.tree(HOSTILE)
    system.machine.run(f"catcherctl plan --root {HOSTILE}", check=False)
    assert not system.machine.exists("/srv/was-run") and system.tree(HOSTILE) == before
