"""File systems without hard links or without modes: they get a pair that only root can read, or no pair."""

import pathlib

import pytest

from .marks import needs_tls, one_of_each_family
from .soundness import assert_sound
from .system import CERTIFICATE, CONF, DAEMON, KEY
from .turns import one_of

pytestmark = [pytest.mark.scenario("odd-file-systems"), needs_tls]

BIN = "/opt/IBM/CCA/bin"
BACKING = "/srv/backing"
SERVER = pathlib.Path(__file__).with_name("fuse_server.py")
# The abilities of the file system, in the words of fuse_server.py.
HAS = {"no hard links": "modes", "no modes": "links", "neither, as vfat": ""}
WHY = {"no hard links": "no hard link can be made there", "no modes": "on this file system others could read it"}


def mount(system, kind):
    """Put the directory of the programs on a file system of this kind."""
    assert system.machine.exists("/dev/fuse"), "this computer's kernel has no FUSE: modprobe fuse"
    system.machine.copy_in(SERVER, "/srv/")
    system.machine.run(f"mkdir -p {BACKING} {BIN} && python3 /srv/fuse_server.py {BACKING} {BIN} {HAS[kind]}")
    assert system.show(f"stat -f -c %T {BIN}").startswith("fuse")
    system.machine.write(f"{BIN}/one", "")
    linked = system.machine.run(f"ln {BIN}/one {BIN}/two", check=False).rc == 0
    mode = system.show(f"chmod 600 {BIN}/one && stat -c %a {BIN}/one")
    assert (linked, mode == "600") == ("links" in HAS[kind], "modes" in HAS[kind])
    system.machine.run(f"rm -f {BIN}/one {BIN}/two")


def open_keys(system):
    """Return the files, also drafts, that contain a private key and that users other than root can read."""
    return system.show(f"grep -rl 'PRIVATE KEY' {BIN} /var/lib/csulcca | xargs -r -I@ find @ -perm /077")


@pytest.mark.parametrize("kind", one_of(HAS))
def test_a_key_that_would_not_be_private_is_a_finding_and_not_made(boot, built, kind):
    system = boot()
    mount(system, kind)
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    why = WHY.get(kind, WHY["no modes"])
    system.machine.wait_for("the refusal", lambda: f"{KEY} could not be written: {why}" in system.machine.journal())
    assert system.conf() == b"TLS_ON\n"
    assert system.show(f"ls -A {BIN} | grep -e key -e crt -e pair") == ""
    assert DAEMON not in system.argv() and ":50003" not in system.show("ss -Hltn")
    assert "Traceback" not in system.machine.journal()
    status = system.machine.run("catcherctl status", check=False)
    # The command of the hint says why.
    assert "[pair-not-generated]" in status.out and "  catcherctl apply" in status.out
    told = system.machine.run("catcherctl apply", check=False)
    assert told.rc == 1 and f"{KEY} could not be written: {why}" in told.out + told.err
    assert int(system.show("systemctl show -p NRestarts --value CSUTKEcat")) == 0
    assert status.rc == 1 and "Traceback" not in status.out + status.err

    # An administrator's pair is accepted with the permissions that the file system gives.
    system.machine.run("openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=zlinux1"
                       " -addext subjectAltName=DNS:zlinux1 -keyout /root/own.key -out /root/own.crt")
    taken = system.machine.run("catcherctl cert install /root/own.key /root/own.crt", check=False)
    assert open_keys(system) == ""
    if kind == "no hard links":
        assert taken.rc == 0, taken.out + taken.err
        system.machine.run("systemctl start CSUTKEcat")
        assert_sound(system, "tls")
        pair = system.machine.read(KEY), system.machine.read(CERTIFICATE)
        refused = system.machine.run("catcherctl cert generate --force", check=False)
        assert refused.rc == 1 and WHY[kind] in refused.err
        assert (system.machine.read(KEY), system.machine.read(CERTIFICATE)) == pair
    else:
        assert taken.rc == 1 and WHY["no modes"] in taken.err
        assert system.show(f"ls -A {BIN} | grep -e key -e crt -e pair") == ""
        # In TCP mode this does not matter.
        system.machine.run("catcherctl mode tcp && systemctl start CSUTKEcat")
        assert_sound(system, "tcp")
    system.package(system.tools[1], "purge")
    assert system.machine.exists(KEY) == (kind == "no hard links")
    assert system.machine.exists(CONF)


@one_of_each_family
def test_purge_without_hard_links_leaves_no_key_of_ours(boot, built):
    """A pair that was made elsewhere was moved there, for example to a larger disk."""
    system = boot()
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    system.machine.run(f"systemctl stop CSUTKEcat; cp -a {BIN} {BACKING}")
    system.machine.copy_in(SERVER, "/srv/")
    system.machine.run(f"python3 /srv/fuse_server.py {BACKING} {BIN} modes && systemctl start CSUTKEcat")
    assert_sound(system, "tls")
    system.package(system.tools[1], "purge")
    # rpm has no purge.
    there = [system.machine.exists(path) for path in (KEY, CERTIFICATE)]
    assert there == ([False, False] if system.cell.family == "deb" else [True, True])
    assert system.show(f"ls -A {BIN} | grep pair") == ""
