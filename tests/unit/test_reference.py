"""Where the reference catcher listens, as others must know it."""

import os

import pytest
from reference_catcher import settings

from catcher_install import paths, reference

LISTEN = {
    b"": reference.EVERYWHERE,
    b"# listen=10.0.1.2\n": reference.EVERYWHERE,
    b"backend=x:1\nlisten_=1\n": reference.EVERYWHERE,
    b"listen=10.0.1.2": ["10.0.1.2"],
    b"\xef\xbb\xbf listen = 10.0.1.2 , fd00:0:0::0A \r\n": ["10.0.1.2", "fd00::a"],
    b"listen=::ffff:10.0.1.2": ["10.0.1.2"],
    b"listen=fe80::1%eth0": ["fe80::1"],
    b"listen=0.0.0.0,::": reference.EVERYWHERE,
    b"listen=127.1": ["127.0.0.1"],
    # The daemon refuses each of these, and nobody looks a name up.
    b"listen=\n": reference.EVERYWHERE,
    b"listen=\xff\n": reference.EVERYWHERE,
    b"listen=10.0.1.2,\n": reference.EVERYWHERE,
    b"listen=10.0.1.2 10.0.1.3\n": reference.EVERYWHERE,
    b"listen=10.0.1.2%eth0\n": reference.EVERYWHERE,
    b"listen=10.0.1.2\0\n": reference.EVERYWHERE,
    b"listen=[::1]\n": reference.EVERYWHERE,
    b"listen=localhost\n": reference.EVERYWHERE,
    b"listen=" + 70 * "\u00e4".encode("utf-8") + b"\n": reference.EVERYWHERE,
}


@pytest.mark.parametrize("data", sorted(LISTEN))
def test_the_addresses_are_those_of_the_settings(machine, data):
    machine.put(reference.CONF, data)
    assert reference.addresses(machine) == reference.EVERYWHERE
    os.makedirs(machine.on_disk(reference.PROGRAM))
    assert reference.addresses(machine) == LISTEN[data]


@pytest.mark.parametrize("data, port", [
    (b"port = 50004 # no comment", 50003), (b"#port=50004\n", 50003), (b"idle_timeout=5\n port = 50004\n", 50004),
    (b"port=0", 50003), (b"port=65536", 50003), (b"port=http", 50003), (b"port=", 50003)])
def test_the_port_is_that_of_the_settings(machine, data, port):
    """The daemon refuses what is no port."""
    machine.put(reference.CONF, data)
    assert reference.port(machine) == 50003
    os.makedirs(machine.on_disk(reference.PROGRAM))
    assert reference.port(machine) == port


def test_a_daemon_with_other_settings_is_not_looked_for_on_the_new_port(machine):
    """status called it not listening, and failed."""
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(reference.CONF, b"port=50005\n")
    noted = reference.note(machine)
    machine.put("/proc/100/environ", b"".join(b"%s=%s\0" % (one.encode(), noted[one].encode()) for one in noted))
    assert reference.port(machine, 100) == 50005
    machine.put(reference.CONF, b"port=50004\n")
    assert reference.port(machine, 100) == 50003 and reference.port(machine) == 50004


def test_without_settings_or_with_unreadable_ones_it_has_all(machine):
    os.makedirs(machine.on_disk(reference.PROGRAM))
    assert reference.addresses(machine) == reference.EVERYWHERE
    machine.make_dir(reference.CONF, 0o755)
    assert reference.addresses(machine) == reference.EVERYWHERE and reference.port(machine) == 50003


def test_the_daemon_has_the_same_file_port_and_addresses():
    """What a start asks is written in both places: importing the daemon's settings imports socket."""
    assert settings.CONF == reference.CONF and settings.CONF_LIMIT == reference.SIZE_LIMIT
    default = settings.Settings("/nonexistent")
    assert default.port == paths.PORT and list(default.listen) == reference.EVERYWHERE
