"""A real client that is older than TLS 1.2 connects to the installed package."""

import re
from collections.abc import Iterator

import pytest

from tests.matrix import images
from tests.matrix.machine import Machine, Network

from .marks import needs_tls
from .system import PORT, System

pytestmark = [pytest.mark.scenario("old-clients"), needs_tls]

# OpenSSL 1.1.1 is the last one that speaks TLS 1.0 and 1.1 well. Its configuration, as distributions have it, forbids
# them.
(OLD,) = images.with_role("old client")
LEVEL_0 = "-cipher DEFAULT@SECLEVEL=0"


@pytest.fixture
def two(cell: images.Cell) -> Iterator[tuple[System, Machine]]:
    """A host of the cell and an old client on one network."""
    with (
        Network() as lan,
        Machine(images.ensure(cell), name="zlinux1", network=lan) as host,
        Machine(images.ensure(OLD), name="old", network=lan, boot=False) as client,
    ):
        yield System(host, cell), client


def connect(client: Machine, target: str, version: str) -> tuple[bool, str]:
    """Whether s_client completes a handshake in that version alone, and all that it prints."""
    done = client.run(f"OPENSSL_CONF=/dev/null timeout 20 openssl s_client -connect {target} {version} {LEVEL_0}",
                      check=False)  # fmt: skip
    printed = done.out + done.err
    return done.rc == 0 and bool(re.search(r"(?m)^New, \S+, Cipher is (?!\(NONE\))", printed)), printed


def test_tls_1_0_and_1_1_are_refused_and_1_2_and_1_3_are_not(two, built):
    system, client = two
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    target = f"{system.machine.ip4}:{PORT}"
    assert client.run("openssl version").out.startswith("OpenSSL 1.1.1")

    # This proves that the catcher refuses: a server of the client's own OpenSSL accepts both versions.
    client.run("openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout /root/k -out /root/c 2>&1")
    client.run(f"OPENSSL_CONF=/dev/null openssl s_server -accept 4433 -key /root/k -cert /root/c {LEVEL_0} </dev/zero "
               ">/root/log 2>&1 &")  # fmt: skip
    client.wait_for("a server", lambda: "ACCEPT" in client.run("cat /root/log", check=False).out)
    for version in ("-tls1", "-tls1_1"):
        fine, printed = connect(client, "127.0.0.1:4433", version)
        assert fine, printed
        fine, printed = connect(client, target, version)
        assert not fine
        assert "alert protocol version" in printed
    for version in ("-tls1_2", "-tls1_3"):
        fine, printed = connect(client, target, version)
        assert fine, printed
    said = system.machine.journal("CSUTKEcat")
    assert said.count("handshake failed: the peer offers no TLS 1.2 or newer") == 2, said
