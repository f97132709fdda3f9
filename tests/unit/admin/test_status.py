"""catcherctl status: what it says of each state of a host, its JSON's shape, and what a user without root gets."""

import json
import os

import pytest

from catcher_install import apply, config, messages, pair, paths, port, transition
from catcher_install.admin import mode, status
from catcher_install.host import Host

from .. import pem
from ..authority import DAY, issue
from ..daemon import Daemon, in_memory
from ..schema import conforms
from ..support import IS_ROOT, installed


@pytest.fixture
def memory(tmp_path):
    yield from in_memory(tmp_path)


@pytest.fixture
def machine(memory, monkeypatch):
    """A host in TLS mode with its own pair; its catcher runs as process 100 and holds the port."""
    machine = installed(memory)
    machine.enable()
    machine.systemctl()
    apply.converge(machine, transition.of(transition.START))
    runs(machine, monkeypatch, "-tls")
    return machine


def holder(state=port.CATCHER, pid=100, program="catcher.exe", listens=True):
    return port.Holder(state=state, pid=pid, program=program, addresses=["0.0.0.0", "::"], listens=listens, beside="")


NOBODY = port.Holder(state=port.NOBODY, pid=None, program="", addresses=[], listens=False, beside="")


def runs(machine, monkeypatch, *words):
    machine.processes = {100: [paths.CATCHER] + list(words)}
    held(monkeypatch, holder())


def held(monkeypatch, by):
    monkeypatch.setattr(port, "holder", lambda host: by)


def seen(machine):
    """The fields of status, which must keep their shape, be JSON, and make lines of plain ASCII."""
    fields = status.collect_status(machine)
    conforms("status", fields)
    assert json.loads(json.dumps(fields)) == fields
    for one in fields["findings"]:
        assert sorted(one) == ["fix", "id", "message", "severity"] and all(one.values())
    for line in status.lines(fields):
        assert all(" " <= c <= "~" for c in line)
    return fields


def ids_of(fields):
    return sorted(one["id"] for one in fields["findings"])


def text(fields):
    return "\n".join(status.lines(fields))


def mounts(*places):
    """Lines of /proc/PID/mountinfo; places: (mount point, options)."""
    lines = ["%d 1 0:%d / %s %s shared:1 - ext4 /dev/x rw" % (n + 30, n, place, options)
             for n, (place, options) in enumerate(places)]
    return ("\n".join(lines) + "\n").encode()


# Where the key storage leads, what is mounted for the host and for the daemon, and whether the daemon is cut off.
HOST = [("/", "rw,relatime"), ("/data", "rw")]
STRICT = [("/", "ro,relatime"), ("/data", "ro"), ("/etc/cca", "rw")]
STORAGES = {
    "a link since the start": ("/data/keys", HOST, STRICT, True),
    "a link at the start": ("/data/keys", HOST, STRICT + [("/data/keys", "rw")], False),
    "above it": ("/data/keys", HOST, [("/", "ro"), ("/data", "rw")], False),
    "a name that only begins so": ("/data/keys", HOST, STRICT + [("/data/key", "rw"), ("/data/keys2", "rw")], True),
    "the later one of two": ("/data/keys", HOST, STRICT + [("/data/keys", "ro"), ("/data/keys", "rw")], False),
    "a blank": ("/data/my keys", HOST, STRICT + [("/data/my\\040keys", "rw")], False),
    "read-only for all": ("/data/keys", [("/", "rw"), ("/data", "ro")], STRICT, False),
    "no sandbox": ("/data/keys", HOST, HOST, False),
}


@pytest.mark.parametrize("name", sorted(STORAGES))
def test_key_storage_that_the_catcher_cannot_write(machine, name):
    leads_to, here, there, told = STORAGES[name]
    machine.put(leads_to + "/x", b"")
    machine.put_link(paths.KEY_STORAGE, leads_to)
    machine.put("/proc/self/mountinfo", mounts(*here))
    machine.put("/proc/100/mountinfo", mounts(*there))
    assert ids_of(seen(machine)) == ["key-storage-unreached"] * told
    if told:
        assert "leads to /data/keys, where the running catcher cannot write" in text(seen(machine))


def test_all_is_well(machine):
    fields = seen(machine)
    assert fields["format_version"] == 1 and fields["complete"] is True
    assert fields["mode"] == {"configured": "tls", "running": "tls", "agree": True}
    assert fields["service"] == {"enabled": True, "masked": False, "pid": 100}
    assert fields["pair"]["state"] == pair.BOTH and fields["pair"]["made_here"] is True
    assert fields["pair"]["names"] == ["tke1", "tke1.example.com", "192.0.2.10"]
    assert fields["tke"] == {"enable_tls": True}
    assert fields["findings"] == []
    shown = text(fields)
    for part in (
        "CCA TKE catcher 8.0.0 on tke1.example.com", "TLS, configured and running", "enabled, running as PID 100",
        "50003, the catcher listens on 0.0.0.0 and ::", "3.0.13, /usr/lib64/libssl.so.3; TLS is possible",
        "EC secp521r1, made by this package, valid until", "tke1, tke1.example.com, 192.0.2.10",
        fields["pair"]["sha256"], fields["pair"]["sha1"], "tick the box Enable SSL/TLS", "Nothing needs attention.",
    ):
        assert part in shown, part
    assert "do not tick" not in shown


def test_plain_tcp(machine, monkeypatch):
    machine.put(paths.CONF, b"TLS_OFF\n")
    apply.converge(machine, transition.of(transition.START))
    runs(machine, monkeypatch)
    fields = seen(machine)
    assert fields["mode"] == {"configured": "tcp", "running": "tcp", "agree": True}
    assert fields["tke"] == {"enable_tls": False} and fields["findings"] == []
    assert "do not tick the box Enable SSL/TLS" in text(fields)


def test_from_an_upgrade_to_tls_by_what_status_says(memory, monkeypatch):
    """Two commands, both read off the screen."""
    machine = installed(memory)
    machine.enable()
    machine.put(paths.CONF, b"TLS_OFF\n")
    machine.capture(tree="yes", groups="yes", unit="enabled")
    daemon = Daemon(machine, monkeypatch)
    apply.converge(machine, transition.of(transition.UPGRADE, "7.3.0-1"))
    daemon.systemctl(["systemctl", "restart"], b"")
    try:
        runs(machine, monkeypatch)
        fields = seen(machine)
        assert ids_of(fields) == ["upgraded-tcp-kept"]
        assert "  catcherctl mode tls\n" in fields["findings"][0]["fix"]
        mode.set_mode(machine, config.TLS, restart=True)
        assert daemon.speaks == "tls"
        runs(machine, monkeypatch, "-tls")
        fields = seen(machine)
        assert fields["findings"] == [] and fields["mode"]["agree"]
    finally:
        daemon.stop()


def foreign(machine, monkeypatch):
    held(monkeypatch, holder(port.OTHER, 200, "sshd"))
    machine.processes = {200: ["sshd"]}


def outgoing(machine, monkeypatch):
    held(monkeypatch, holder(port.OTHER, 200, "curl", listens=False))
    machine.processes = {200: ["curl"]}


def stopped(machine, monkeypatch):
    held(monkeypatch, NOBODY)
    machine.processes = {}


def mute(machine, monkeypatch):
    held(monkeypatch, NOBODY)


def old_mode(machine, monkeypatch):
    runs(machine, monkeypatch)


def no_tls(machine, monkeypatch):
    machine.tls_possible(False)
    runs(machine, monkeypatch)


def masked(machine, monkeypatch):
    stopped(machine, monkeypatch)
    machine.put_link(paths.UNIT_ADMIN, "/dev/null")


def masked_until_the_next_boot(machine, monkeypatch):
    stopped(machine, monkeypatch)
    machine.put_link(paths.UNIT_RUNTIME, "/dev/null")


def disabled(machine, monkeypatch):
    stopped(machine, monkeypatch)
    os.unlink(machine.on_disk("/etc/systemd/system/multi-user.target.wants/" + paths.UNIT))


def unbooted(machine, monkeypatch):
    stopped(machine, monkeypatch)
    machine.booted = False


def half(machine, monkeypatch):
    stopped(machine, monkeypatch)
    os.unlink(machine.on_disk(paths.KEY))


def contradiction(machine, monkeypatch):
    stopped(machine, monkeypatch)
    machine.put(paths.CONF, b"TLS_ON\nTLS_OFF\n")


def no_payload(machine, monkeypatch):
    stopped(machine, monkeypatch)
    os.unlink(machine.on_disk(paths.CATCHER))


def replaced(machine, **more):
    key = pem.key_of("prime256v1")
    machine.put(paths.KEY, key, 0o600)
    machine.put(paths.CERTIFICATE, issue(key, **more))


def soon(machine, monkeypatch):
    replaced(machine, last=10 * DAY)


def expired(machine, monkeypatch):
    replaced(machine, last=-60)


def cloned(machine, monkeypatch):
    machine.node = "tke2.example.com"


def unusable(machine, monkeypatch):
    machine.put(paths.CERTIFICATE, b"x\n")
    stopped(machine, monkeypatch)


STATES = {
    "another program has the port": (
        foreign, ["port-taken"], "50003, not the catcher but sshd (PID 200) listens on 0.0.0.0 and ::"),
    "an outgoing connection has the port": (
        outgoing, ["port-taken-outgoing"], "50003, not the catcher but curl (PID 200) has an outgoing connection on"),
    "stopped": (stopped, ["not-running"], "TLS configured, the catcher is not running"),
    "running and not listening": (mute, ["not-listening"], "50003, nobody listens"),
    "not restarted yet": (old_mode, ["mode-not-running"], "configured TLS, running TCP"),
    "TLS not possible": (no_tls, ["tls-configured-tcp-running"], "TLS is not possible: OpenSSL 1.0.2k-fips is older"),
    "masked": (masked, [], "masked, not running"),
    "masked until the next boot": (masked_until_the_next_boot, [], "masked, not running"),
    "disabled": (disabled, [], "disabled, not running"),
    "no systemd": (unbooted, [], "not running"),
    "half a pair": (half, ["pair-half"], "Pair      certificate only"),
    "unusable": (unusable, ["pair-unusable"], "catcher.crt is not PEM"),
    "contradictory": (contradiction, ["conf-unusable"], "catcher.conf cannot be used, the catcher is not running"),
    "no payload": (no_payload, ["payload-missing"], "not running"),
    "expires soon": (soon, ["pair-expires-soon"], "your own"),
    "expired": (expired, ["pair-expired"], "the certificate expired on"),
    "cloned": (cloned, ["pair-names-stale"], "it does not list tke2.example.com"),
}


@pytest.mark.parametrize("name", sorted(STATES))
def test_state(machine, monkeypatch, name):
    change, wanted, part = STATES[name]
    change(machine, monkeypatch)
    fields = seen(machine)
    assert ids_of(fields) == wanted
    assert part in text(fields), text(fields)


@pytest.mark.parametrize("change", [expired, soon, cloned, half, unusable])
def test_a_pair_is_not_judged_in_tcp_mode(machine, monkeypatch, change):
    machine.put(paths.CONF, b"TLS_OFF\n")
    change(machine, monkeypatch)
    runs(machine, monkeypatch)
    assert seen(machine)["findings"] == []


def test_a_hostile_host_name_and_certificate_are_shown_harmlessly(machine, monkeypatch):
    machine.node = "tke2\x1b[2J.example.com"
    key = pem.key_of("prime256v1")
    machine.put(paths.KEY, key, 0o600)
    machine.put(paths.CERTIFICATE, issue(key, "\x1b[2Jfoo", ("tke1",)))
    shown = text(seen(machine))
    assert "\\x1b[2Jfoo" in shown and "tke2\\x1b[2J" in shown and "pair-names-stale" in shown


class WithoutRoot:
    """What a user sees of a Machine: not the key, not the stamp, not who holds a socket."""

    def __init__(self, machine, monkeypatch):
        real = machine.read
        monkeypatch.setattr(machine, "read", lambda path, limit, head=False: self.read(real, path, limit, head))
        monkeypatch.setattr(machine, "socket_owner", lambda inode, likely=None: None)

    def read(self, real, path, limit, head):
        if path in (paths.KEY, paths.STAMP):
            raise PermissionError(13, "Permission denied", path)
        return real(path, limit, head)


@pytest.mark.parametrize("conf", [b"TLS_ON\n", b"TLS_OFF\n"])
@pytest.mark.parametrize("traces", [False, True])
def test_without_root_there_is_one_line_and_nothing_made_up(machine, monkeypatch, conf, traces):
    machine.put(paths.CONF, conf)
    if traces:
        machine.put(paths.KEY_STORAGE + "/key", b"x")
    apply.converge(machine, transition.of(transition.START))
    runs(machine, monkeypatch, *(["-tls"] if conf == b"TLS_ON\n" else []))
    WithoutRoot(machine, monkeypatch)
    fields = seen(machine)
    assert fields["complete"] is False and fields["findings"] == []
    assert fields["pair"]["sha256"] and fields["pair"]["algorithm"] == "EC secp521r1"
    assert fields["pair"]["made_here"] is None and fields["pair"]["problem"] == ""
    assert status.lines(fields)[-1] == "  Only root sees everything: sudo catcherctl status"


@pytest.mark.parametrize("id", ["upgraded-tcp-kept", "tls-not-possible", "conf-was-missing", "busy", "pair-deferred",
                                "pair-unusable", "pair-unchecked", "pair-expired", "pair-not-yet-valid"])
def test_what_only_root_can_know_is_not_said_to_others(machine, monkeypatch, id):
    monkeypatch.setattr(status, "_findings", lambda *rest: [messages.finding(id)])
    assert ids_of(seen(machine)) == [id]
    WithoutRoot(machine, monkeypatch)
    assert ids_of(seen(machine)) == []


def test_a_real_user_without_root(memory):
    """The same with the kernel's own refusals."""
    if not IS_ROOT:
        pytest.skip("only root can become somebody else")
    machine = installed(memory)
    apply.converge(machine, transition.of(transition.START))
    os.chmod(str(memory), 0o755)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(65534)
            machine.processes = {}
            fields = status.collect_status(machine)
            lines = status.lines(fields)
            good = fields["complete"] is False and "Only root" in lines[-1] and fields["pair"]["sha256"]
            code = 0 if good and "pair-unusable" not in ids_of(fields) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.real_programs
def test_this_machine_itself():
    """Whatever it is: no traceback, and the shape holds."""
    seen(Host())
