"""A first installation, by each tool of each family."""

import os

import pytest

from tests.matrix import engine, images
from tests.matrix.machine import Machine

from .system import CERTIFICATE, CONF, KEY, System, handshake, talk_tcp


@pytest.mark.scenario("fresh")
@pytest.mark.parametrize("tool", [0, 1], ids=["repository tool", "package tool"])
def test_fresh_install_runs_in_tls_mode_and_its_certificate_verifies(pair, built, tool):
    system, client = pair
    system.package(system.tools[tool], "first install", built.new(system.cell.family))

    assert system.service() == ("enabled", "active")
    assert system.conf() == b"TLS_ON\n"
    assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe -tls"
    certificate = system.machine.read(CERTIFICATE)
    for name in ("zlinux1", system.machine.ip4, system.machine.ip6):
        done = handshake(client, system.machine, name, certificate)
        assert done.rc == 0, name + done.out + done.err
    assert handshake(client, system.machine, "elsewhere", certificate).rc != 0
    assert system.show(f"stat -c '%a %U:%G' {KEY} {CERTIFICATE}") == "600 root:root\n644 root:root"
    status = system.machine.run("catcherctl status")
    assert "TLS, configured and running" in status.out
    assert "Traceback" not in system.machine.journal()


@pytest.mark.scenario("reinstall")
def test_running_it_again_changes_nothing(boot, built):
    system = boot()
    system.package(system.tools[0], "install", built.new(system.cell.family))
    tops = ("/etc", "/opt", "/var/lib/csulcca", "/usr/lib/csulcca")
    before = system.tree(*tops)
    pid = system.show("systemctl show -p MainPID --value CSUTKEcat")

    assert system.machine.run("catcherctl apply").out == "Nothing to do.\n"
    assert system.tree(*tops) == before
    assert system.show("systemctl show -p MainPID --value CSUTKEcat") == pid

    system.package(system.tools[0], "reinstall", built.new(system.cell.family))
    after = system.tree(*tops)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    # What package managers note for themselves.
    assert not {path for path in changed if not path.startswith(("/etc/ld.so.cache",))}, changed
    assert system.service() == ("enabled", "active")


@pytest.mark.scenario("image-build")
def test_an_image_build_makes_no_key_and_the_first_boot_of_each_copy_does(boot, cell, built):
    system = boot(boot=False)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert system.conf() == b"TLS_ON\n"
    assert not system.machine.exists(KEY)
    assert not system.machine.exists(CERTIFICATE)
    assert system.show("ls /etc/systemd/system/multi-user.target.wants/CSUTKEcat.service")
    image = f"{images.REPOSITORY}/image-build-{cell.name}:{os.getpid()}"
    engine.call("commit", "--quiet", system.machine.container, image)
    try:
        with Machine(image, name="copy1") as one, Machine(image, name="copy2") as two:
            for copy in (one, two):
                assert System(copy, cell).service() == ("enabled", "active")
                assert System(copy, cell).argv() == "/opt/IBM/CCA/bin/catcher.exe -tls"
            assert one.read(KEY) != two.read(KEY)
    finally:
        engine.attempt("rmi", "-f", image)


@pytest.mark.scenario("policy-rc.d")
@pytest.mark.only(lambda cell: cell.family == "deb", "rpm knows no such policy")
def test_a_policy_against_starting_services_is_kept_to(boot, built):
    system = boot()
    system.machine.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", mode=0o755)
    system.package("apt", "install", built.new("deb"))
    assert system.service() == ("enabled", "inactive")
    system.machine.run("systemctl start CSUTKEcat")
    assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe -tls"


@pytest.mark.scenario("noscripts")
def test_a_start_alone_makes_a_correct_system(boot, built):
    """What --noscripts leaves undone, the first start does."""
    system = boot()
    if system.cell.family == "rpm":
        system.machine.copy_in(built.new("rpm"), "/root/new.rpm")
        system.machine.run("rpm -i --noscripts /root/new.rpm")
    else:
        system.machine.copy_in(built.new("deb"), "/root/new.deb")
        system.machine.run("dpkg --unpack /root/new.deb")
    system.machine.run("systemctl daemon-reload && systemctl start CSUTKEcat")
    system.machine.wait_for("a listening catcher", lambda: ":50003" in system.show("ss -Hltn"))
    assert system.conf() == b"TLS_ON\n"
    assert system.machine.exists(KEY)
    assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe -tls"


@pytest.mark.scenario("fresh")
@pytest.mark.parametrize("half", [KEY, CERTIFICATE], ids=["key only", "certificate only"])
def test_half_a_pair_is_left_alone_and_the_start_refused(boot, built, half):
    system = boot()
    system.machine.write(half, b"half\n", mode=0o640)
    system.package(system.tools[0], "install", built.new(system.cell.family), check=False)
    assert system.show("rpm -q csulcca || dpkg-query -W -f '${Status}' csulcca").endswith(("ok installed", "noarch"))
    system.machine.wait_for("the refusal", lambda: system.service()[1] == "failed")
    assert system.machine.read(half) == b"half\n"
    assert system.show(f"stat -c %a {half}") == "640"
    assert sorted(system.show("ls /opt/IBM/CCA/bin").split()) == sorted(
        ["CSUTKEcat", "catcher.exe", half.rsplit("/", 1)[1]])
    assert system.findings() == ["pair-half"]
    assert "pair-half" in system.machine.journal("CSUTKEcat")


@pytest.mark.scenario("fresh")
@pytest.mark.parametrize("content", [b"TLS_ON\nTLS_OFF\n", b"tls please\n", b"\0\1"], ids=["both", "unknown", "binary"])
def test_an_unusable_configuration_is_kept_and_refused(boot, built, content):
    system = boot()
    system.machine.write(CONF, content)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.wait_for("the refusal", lambda: system.service()[1] == "failed")
    assert system.conf() == content
    assert "conf-unusable" in system.findings()
    assert not system.machine.exists(KEY)


@pytest.mark.scenario("fresh")
def test_without_openssl_the_catcher_speaks_tcp_and_says_why(pair, built):
    system, client = pair
    system.machine.run("mv /usr/bin/openssl /usr/bin/openssl.away")
    system.package(system.tools[0], "install", built.new(system.cell.family))
    assert system.conf() == b"TLS_OFF\n"
    assert system.argv() == "/opt/IBM/CCA/bin/catcher.exe"
    assert talk_tcp(client, system.machine).rc == 0
    assert system.findings() == ["tls-not-possible"]


@pytest.mark.scenario("fresh")
def test_the_port_being_held_for_a_while_is_survived(boot, built):
    system = boot()
    system.machine.run(
        "systemd-run --unit holder python3 -c 'import socket; s = socket.create_server((\"\", 50003)); s.accept()'")
    system.machine.wait_for("the holder", lambda: ":50003" in system.show("ss -Hltn"))
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.run("systemctl stop holder")
    system.machine.wait_for("our catcher", lambda: "catcher.exe" in system.show("ss -Hltnp"))
    assert system.service() == ("enabled", "active")
