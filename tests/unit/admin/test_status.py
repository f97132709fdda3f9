"""catcherctl status: what it says of each state of a host, its JSON's shape, and what a user without root gets."""

import json
import os
import socket
from pathlib import Path

import pytest

from catcher_install import apply, config, messages, pair, paths, port, reference, stamp, transition
from catcher_install.admin import backend, cert_list, installed_pair, mode, status, tke_guide
from catcher_install.errors import CatcherError
from catcher_install.host import Host
from catcher_install.probe import connection

from .. import pem, promises
from ..authority import DAY, Authority, issue
from ..daemon import Daemon
from ..schema import conforms
from ..support import IS_ROOT, installed


@pytest.fixture
def machine(tmp_path, monkeypatch, set_up):
    """A host in TLS mode with its own pair; its catcher runs as process 100 and holds the port."""
    machine = installed(tmp_path)
    machine.enable()
    machine.systemctl()
    set_up(machine, transition.START)
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
        assert "leads to /data/keys, and the running catcher cannot write there" in text(seen(machine))


def test_all_is_well(machine):
    fields = seen(machine)
    assert fields["format_version"] == 1 and fields["complete"] is True
    assert fields["mode"] == {"configured": "tls", "running": "tls", "agree": True}
    assert fields["service"] == {"enabled": True, "masked": False, "wanted": True, "pid": 100, "serves": True}
    assert status.exit_status(fields) == 0
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


def test_status_of_a_catcher_in_tcp_mode_has_no_finding(machine, monkeypatch):
    machine.put(paths.CONF, b"TLS_OFF\n")
    apply.converge(machine, transition.of(transition.START))
    runs(machine, monkeypatch)
    fields = seen(machine)
    assert fields["mode"] == {"configured": "tcp", "running": "tcp", "agree": True}
    assert fields["tke"] == {"enable_tls": False} and fields["findings"] == []
    assert "do not tick the box Enable SSL/TLS" in text(fields)


def test_from_an_upgrade_to_tls_by_what_status_says(tmp_path, monkeypatch):
    """Both commands are typed as the screen shows them."""
    machine = installed(tmp_path)
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


def masked_by_an_empty_file(machine, monkeypatch):
    stopped(machine, monkeypatch)
    machine.put(paths.UNIT_ADMIN, b"")


def masked_until_the_next_boot(machine, monkeypatch):
    stopped(machine, monkeypatch)
    machine.put_link(paths.UNIT_RUNTIME, "/dev/null")


def disabled(machine, monkeypatch):
    stopped(machine, monkeypatch)
    monkeypatch.setattr(status.systemd, "has_failed", lambda host: False)
    os.unlink(machine.on_disk("/etc/systemd/system/multi-user.target.wants/" + paths.UNIT))


def disabled_and_failed(machine, monkeypatch):
    disabled(machine, monkeypatch)
    monkeypatch.setattr(status.systemd, "has_failed", lambda host: True)


def unbooted(machine, monkeypatch):
    stopped(machine, monkeypatch)
    machine.booted = False


def half(machine, monkeypatch):
    stopped(machine, monkeypatch)
    os.unlink(machine.on_disk(paths.KEY))


def contradiction(machine, monkeypatch):
    stopped(machine, monkeypatch)
    machine.put(paths.CONF, b"TLS_ON\nTLS_OFF\n")


def silent_openssl(machine, monkeypatch):
    machine.programs[paths.OPENSSL] = (139, b"")
    os.unlink(machine.on_disk(paths.STAMP))


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
    "OpenSSL says nothing": (silent_openssl, ["tls-not-known"],
                             "it is not known whether TLS is possible: /usr/bin/openssl was killed by signal 11"),
    "masked": (masked, ["masked-not-running"], "masked, not running"),
    "masked until the next boot": (masked_until_the_next_boot, ["masked-not-running"], "masked, not running"),
    "disabled": (disabled, ["disabled-not-running"], "disabled, not running"),
    "disabled and failed": (disabled_and_failed, ["disabled-failed"], "disabled, not running"),
    "no systemd": (unbooted, [], "not running"),
    "half a pair": (half, ["pair-half"], "Pair      certificate only"),
    "unusable": (unusable, ["pair-unusable"], "catcher.crt is not PEM"),
    "contradictory": (contradiction, ["conf-unusable"], "catcher.conf cannot be used, the catcher is not running"),
    "no payload": (no_payload, ["payload-missing"], "not running"),
    "expires soon": (soon, ["pair-expires-soon"], "your own"),
    "expired": (expired, ["pair-expired"], "the certificate expired on"),
    "cloned": (cloned, ["pair-names-stale"], "it does not list tke2.example.com"),
}


# Of status, where it is not 3: the catcher should serve and does not, or nothing needs attention.
EXIT = {
    "another program has the port": 1, "an outgoing connection has the port": 1, "stopped": 1,
    "running and not listening": 1, "half a pair": 1, "unusable": 1, "contradictory": 1, "no payload": 1,
    "masked": 0, "masked until the next boot": 0, "disabled": 0, "no systemd": 0, "disabled and failed": 3,
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(STATES))
def test_status_finds_what_is_wrong(machine, monkeypatch, name):
    change, wanted, part = STATES[name]
    change(machine, monkeypatch)
    fields = seen(machine)
    assert ids_of(fields) == wanted
    assert part in text(fields), text(fields)
    assert status.exit_status(fields) == EXIT.get(name, 3)


@pytest.mark.parametrize("state,listens,wanted", [
    (port.CATCHER, True, 0), (port.UNKNOWN, True, 0), (port.CATCHER, False, 1), (port.OTHER, True, 1),
    (port.NOBODY, False, 1), (port.CLOSING, False, 1)])
def test_a_catcher_that_should_serve_and_does_not_is_a_failure(machine, monkeypatch, state, listens, wanted):
    held(monkeypatch, holder(state, listens=listens))
    assert status.exit_status(seen(machine)) == wanted
    os.unlink(machine.on_disk("/etc/systemd/system/multi-user.target.wants/" + paths.UNIT))
    assert status.exit_status(seen(machine)) in (0, 3)


@pytest.mark.parametrize("state,told", [(b"T", True), (b"t", True), (b"S", False), (b"R", False), (b"", False)])
@pytest.mark.parametrize("has", [port.CATCHER, port.UNKNOWN])
def test_a_suspended_catcher_does_not_serve(machine, monkeypatch, state, told, has):
    held(monkeypatch, holder(has))
    machine.put("/proc/100/stat", b"100 (x) T ) %s 1 100 100\n" % state)
    fields = seen(machine)
    assert ids_of(fields) == ["catcher-suspended"] * told
    assert (fields["service"]["serves"], status.exit_status(fields)) == (not told, int(told))


def test_a_tracer_that_suspends_the_catcher_for_moments_is_no_finding(machine):
    states = iter([True, True, False])
    machine.is_suspended = lambda pid: next(states)
    assert ids_of(seen(machine)) == []


@pytest.mark.parametrize("change,told", [
    (expired, "the certificate expired on"), (soon, "the certificate expires on"), (cloned, None),
    (half, "catcher.crt exists and /opt/IBM/CCA/bin/catcher.key does not"), (unusable, "catcher.crt is not PEM")])
def test_what_is_wrong_with_the_pair_is_a_note_in_tcp_mode(machine, monkeypatch, change, told):
    """Otherwise nobody would check the pair before the change window in which TLS is needed."""
    machine.put(paths.CONF, b"TLS_OFF\n")
    change(machine, monkeypatch)
    runs(machine, monkeypatch)
    fields = seen(machine)
    assert ids_of(fields) == ([] if told is None else ["pair-not-ready"]) and status.exit_status(fields) == 0
    if told is not None:
        assert told in fields["findings"][0]["message"] and fields["findings"][0]["severity"] == "info"


def test_nothing_is_said_of_the_pair_where_tls_is_not_possible(machine, monkeypatch):
    machine.put(paths.CONF, b"TLS_OFF\n")
    machine.tls_possible(False)
    half(machine, monkeypatch)
    runs(machine, monkeypatch)
    assert seen(machine)["findings"] == []


@pytest.mark.parametrize("days,wanted", [(10, "pair-issuer-expires-soon"), (-1, "pair-issuer-expired")])
def test_an_intermediate_that_expires_is_told(machine, monkeypatch, days, wanted):
    authority, key = Authority(), pem.key_of("prime256v1")
    middle = issue(authority.key, "Test CA", (), issuer=(authority.root_key, "Test Root"), ca=True, first=-9 * DAY,
                   last=days * DAY)
    machine.put(paths.KEY, key, 0o600)
    machine.put(paths.CERTIFICATE, authority.issue(key) + middle)
    fields = seen(machine)
    assert ids_of(fields) == [wanted] and "CN=Test CA" in fields["findings"][0]["message"]
    assert [one["id"] for one in installed_pair.check(machine, [])[1]] == [wanted]


@pytest.mark.parametrize("changes,unmask", [
    ([masked], "systemctl unmask CSUTKEcat"),
    ([masked_by_an_empty_file], "systemctl unmask CSUTKEcat"),
    ([masked_until_the_next_boot], "systemctl unmask --runtime CSUTKEcat"),
    ([masked, masked_until_the_next_boot], "systemctl unmask CSUTKEcat && systemctl unmask --runtime CSUTKEcat"),
])
def test_a_masked_unit_is_unmasked_before_it_is_restarted(machine, monkeypatch, changes, unmask):
    contradiction(machine, monkeypatch)
    for change in changes:
        change(machine, monkeypatch)
    one, other = seen(machine)["findings"]
    assert one["id"] == "conf-unusable"
    assert one["fix"].endswith(":\n  %s\n  systemctl restart CSUTKEcat" % unmask)
    assert other["id"] == "masked-not-running" and "restart" not in other["fix"]
    assert other["fix"].endswith(":\n  %s\n  systemctl enable --now CSUTKEcat" % unmask)


@pytest.mark.parametrize("runs_now", [True, False])
def test_a_pair_that_is_gone_is_told(machine, monkeypatch, runs_now):
    """While the catcher runs, nothing else shows this. The next start makes a pair that the TKE does not know."""
    if not runs_now:
        stopped(machine, monkeypatch)
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    assert ids_of(seen(machine)) == sorted(["pair-gone"] + ["not-running"] * (not runs_now))


@pytest.mark.parametrize("state, noted", [("stopped", False), ("disabled", True)])
def test_a_pair_that_could_not_be_made_is_told(machine, monkeypatch, state, noted):
    """A run of the package tried it and noted that in its stamp, or left it to a start."""
    STATES[state][0](machine, monkeypatch)
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    told = [messages.finding("pair-not-generated", reason="no room", hint="make some")]
    machine.put(paths.STAMP, stamp.render(stamp.EMPTY.replace(mode="tls", findings=told if noted else [])))
    assert "pair-not-generated" in ids_of(seen(machine))


def test_a_pair_that_was_left_to_the_first_start_is_no_failure(machine, monkeypatch):
    """rpm from 4.19 on runs its scriptlets without a network, and a disabled service is not started."""
    disabled(machine, monkeypatch)
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    machine.put(paths.STAMP, stamp.render(stamp.EMPTY.replace(mode="tls")))
    assert ids_of(seen(machine)) == ["disabled-not-running"]


def test_before_the_first_start_nobody_is_told_that_no_pair_could_be_made(machine, monkeypatch):
    """After rpm --noscripts, nothing has tried to make a pair."""
    stopped(machine, monkeypatch)
    for path in (paths.KEY, paths.CERTIFICATE, paths.CONF, paths.STAMP):
        os.unlink(machine.on_disk(path))
    assert "pair-not-generated" not in ids_of(seen(machine))


# -- the backend -------------------------------------------------------------------------------------------------------


@pytest.fixture
def relays(machine):
    """The daemon is the reference catcher, with this line in its settings."""
    os.makedirs(machine.on_disk(reference.PROGRAM))

    def set(line):
        machine.put(reference.CONF, b"# where to\n max_connections = 3\n" + line)

    return set


@pytest.mark.parametrize("name", [
    "localhost:99999999999999999999", "127.0.0.1:99999999999999999999", "127.0.0.1:99999", "localhost:\u00b2", "x:",
])
def test_a_backend_with_a_port_that_is_none_is_said(machine, relays, name):
    """The daemon refuses the file, and the status says why."""
    relays(("backend=%s\n" % name).encode("utf-8"))
    seen = backend.look(machine)
    assert seen["name"] is None and "line 3: backend= must be" in seen["problem"]


@pytest.mark.parametrize("data, possible, words, line", [
    (b"# nothing\n", True, ["-tls"], "TLS is the default and running"),
    (b"# nothing\n", True, [], "TLS is the default, running TCP"),
    (b"# nothing\n", True, None, "TLS is the default, the catcher is not running"),
    (b"# nothing\n", None, None, "not decided yet, the catcher is not running"),
    (None, None, None, "not decided yet, the catcher is not running"),
    (b"TLS_ON\nTLS_OFF\n", None, None, "catcher.conf cannot be used, the catcher is not running"),
])
def test_a_mode_that_nobody_has_set_is_not_called_configured(machine, monkeypatch, data, possible, words, line):
    os.unlink(machine.on_disk(paths.CONF))
    if data is not None:
        machine.put(paths.CONF, data)
    if possible is None:
        machine.remove(paths.STAMP)
        machine.programs[paths.OPENSSL] = (137, b"")
    if words is None:
        stopped(machine, monkeypatch)
    else:
        runs(machine, monkeypatch, *words)
    assert "  Mode      %s\n" % line in text(seen(machine)) + "\n"


def test_another_daemon_has_no_backend(machine):
    fields = seen(machine)
    assert fields["backend"] is None and "Backend" not in text(fields)


def test_no_backend_is_said_and_is_no_finding(machine, relays):
    """A fresh installation has none."""
    for line in (None, b"#backend=127.0.0.1:1\n"):
        if line is not None:
            relays(line)
        fields = seen(machine)
        assert fields["backend"] == {"name": None, "answers": None, "problem": None} and fields["findings"] == []
        assert "  Backend   none is set, so connections are closed: man reference-catcher.conf" in text(fields)


@pytest.mark.parametrize("kind", ["tcp", "tcp6", "unix", "a path"])
def test_a_backend_that_takes_connections_and_one_that_does_not(machine, relays, tmp_path, kind):
    family = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6}.get(kind, socket.AF_UNIX)
    with socket.socket(family) as listener:
        listener.bind({"tcp": ("127.0.0.1", 0), "tcp6": ("::1", 0)}.get(kind, str(tmp_path / "backend")))
        listener.listen(1)
        name = {"tcp": "localhost:%d", "tcp6": "[::1]:%d", "unix": "unix:%s", "a path": "%s"}[kind] % (
            listener.getsockname()[1] if kind.startswith("tcp") else listener.getsockname())
        relays(("backend = %s\n" % name).encode("ascii"))
        fields = seen(machine)
        assert fields["backend"] == {"name": name, "answers": True, "problem": None} and fields["findings"] == []
        assert "  Backend   %s, takes connections" % name in text(fields)
    fields = seen(machine)
    assert fields["backend"]["answers"] is False and "refused" in fields["backend"]["problem"]
    assert ids_of(fields) == ["backend-unreachable"] and status.exit_status(fields) == 3


@pytest.mark.parametrize("host, listen, own", [
    ("127.0.0.1", None, True), ("127.0.0.2", "0.0.0.0", True), ("[::ffff:127.0.0.1]", "127.0.0.1", True),
    ("127.0.0.1", "127.0.0.3", False), ("127.0.0.1", "::1", False)])
def test_a_backend_that_is_the_catcher_itself_is_told(machine, relays, host, listen, own):
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen(1)
        number = listener.getsockname()[1]
        line = "port=%d\nbackend=%s:%d\n" % (number, host, number)
        relays((line + "listen=%s\n" % listen * (listen is not None)).encode("ascii"))
        behind = backend.look(machine)
    assert behind["answers"] is not own
    assert behind["problem"] == ("it is this catcher itself" if own else None)


@pytest.mark.parametrize("line,told", [
    (b"backend=/no/such/socket\n", "no such file"),
    (b"backend=\x1b[2J:1\n", "known")])
def test_a_backend_that_cannot_be_reached_is_told(machine, relays, line, told):
    relays(line)
    assert told in seen(machine)["backend"]["problem"]


@pytest.mark.parametrize("seen_at, told", [
    ("/proc/100/root/run/backend", None), ("/proc/100/root/var/run/backend", "the service does not see that socket"),
    ("/run/other", "the service does not see that socket")])
def test_a_backend_that_only_others_see_is_told(machine, monkeypatch, relays, seen_at, told):
    """The service's sandbox hides /run, for example."""
    machine.processes[100] = [paths.CATCHER]
    machine.put("/run/backend", b"")
    machine.put_link("/var/run", "/run")
    machine.put(seen_at, b"")
    monkeypatch.setattr(connection, "connect_unix", lambda path, seconds: socket.socket())
    relays(b"backend=/var/run/backend\n")
    problem = backend.look(machine, 100)["problem"]
    assert problem == told or told in problem
    # If a user may not look there, status says nothing about it.
    real = machine.lstat

    def lstat(path):
        if path.startswith("/proc/100/root"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(machine, "lstat", lstat)
    assert backend.look(machine, 100)["problem"] is None


@pytest.mark.parametrize("change, told", [
    (lambda path: None, False), (os.utime, False), (lambda path: Path(path).write_bytes(b"idle_timeout=60\n"), False),
    (lambda path: Path(path).write_bytes(b"idle_timeout=61\n"), True), (os.unlink, True),
], ids=["no change", "a new time", "other comments", "another value", "removed"])
def test_settings_that_the_daemon_does_not_use_are_told(machine, relays, change, told):
    """What status says about the backend becomes true with a restart."""
    relays(b"idle_timeout=60\n")
    machine.put(reference.CONF, b"# mine\nidle_timeout=60\n")
    noted = reference.note(machine)
    assert ids_of(seen(machine)) == []
    # It was started by hand, or by an earlier version of the package.
    machine.put("/proc/100/environ", b"LANG=C\0")
    assert ids_of(seen(machine)) == []
    environment = b"".join(b"%s=%s\0" % (name.encode(), value.encode()) for name, value in noted.items())
    machine.put("/proc/100/environ", b"LANG=C\0" + environment)
    change(machine.on_disk(reference.CONF))
    assert ids_of(seen(machine)) == ["settings-not-running"] * told


@pytest.mark.parametrize("listen, absent", [
    ("127.0.0.1,::1", ""), ("0.0.0.0", ""), ("127.0.0.1,192.0.2.77", "192.0.2.77"), ("2001:db8::77", "2001:db8::77"),
    ("fe80::1%nosuch0,192.0.2.77", "fe80::1%nosuch0 and 192.0.2.77")])
def test_addresses_that_this_host_does_not_have_are_told(machine, monkeypatch, relays, listen, absent):
    """The catcher waits for these addresses, because they may come later. But they may also be mistyped."""
    relays(b"listen=%s\n" % listen.encode())
    fields = seen(machine)
    assert ids_of(fields) == ["listen-absent"] * bool(absent) and absent in text(fields)
    assert status.exit_status(fields) == (3 if absent else 0)
    monkeypatch.setattr(machine, "shares_network", lambda pid: False)
    assert ids_of(seen(machine)) == []


def test_another_port_is_shown(machine, relays):
    relays(b"port=50004\n")
    fields = seen(machine)
    assert fields["listener"]["port"] == 50004 and fields["findings"] == []
    assert "  Port      50004, the catcher" in text(fields) and "definition; port 50004" in text(fields)


@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
@pytest.mark.parametrize("line, told", [
    (os.makedirs, "cannot be read: Is a directory"),
    (lambda path: os.symlink("/data/conf", path), "is a link that leads nowhere"),
    (lambda path: os.symlink("/home/me/conf", path), "leads to /home/me/conf, and the service sees"),
    (b"backend=/a\0b\n", "line 3: backend= contains a NUL character"),
    (b"backend=a..b:5\n", "line 3: backend= is not a name that"),
    (b"backnd=a:1\n", "line 3: not one of backend="),
    (b"backend=nowhere\n", "line 3: backend= must be HOST:PORT"),
    (b"max_connections = 4\n", "line 3: max_connections= is set"),
    (b"\xff", "is not text in UTF-8"), (b"listen=localhost", "line 3: listen= must be")])
def test_settings_with_which_the_daemon_does_not_start_are_told(machine, monkeypatch, relays, line, told, running):
    """Status reports them even while the catcher runs. If it does not run, they are the only reason in the status."""
    if callable(line):
        line(machine.on_disk(reference.CONF))
    else:
        relays(line)
    if not running:
        stopped(machine, monkeypatch)
    fields = seen(machine)
    assert "%s: %s" % (reference.CONF, told) in fields["backend"]["problem"]
    assert ids_of(fields) == ["settings-unusable"]
    assert "%s: %s" % (reference.CONF, told) in fields["findings"][0]["message"]
    assert status.exit_status(fields) == (3 if running else 1)


def test_a_hostile_host_name_and_certificate_are_shown_harmlessly(machine, monkeypatch):
    machine.node = "tke2\x1b[2J.example.com"
    key = pem.key_of("prime256v1")
    machine.put(paths.KEY, key, 0o600)
    machine.put(paths.CERTIFICATE, issue(key, "\x1b[2Jfoo", ("tke1",)))
    shown = text(seen(machine))
    assert "\\x1b[2Jfoo" in shown and "tke2\\x1b[2J" in shown and "pair-names-stale" in shown


class WithoutRoot:
    """What a user sees of a Machine: not the key, not the stamp, not who holds a socket."""

    def __init__(self, machine, monkeypatch, *more):
        self.hidden = (paths.KEY, paths.STAMP) + more
        real = machine.read
        monkeypatch.setattr(machine, "read", lambda path, limit, head=False: self.read(real, path, limit, head))
        monkeypatch.setattr(machine, "socket_owner", lambda inode, likely=None: None)
        monkeypatch.setattr(machine, "is_root", lambda: False)

    def read(self, real, path, limit, head):
        if path in self.hidden:
            raise PermissionError(13, "Permission denied", path)
        return real(path, limit, head)


@pytest.mark.parametrize("conf", [b"TLS_ON\n", b"TLS_OFF\n"])
@pytest.mark.parametrize("traces", [False, True])
def test_without_root_there_is_one_line_and_nothing_made_up(machine, monkeypatch, conf, traces):
    machine.put(paths.CONF, conf)
    if traces:
        machine.put(paths.INIT_SCRIPT, b"x")
    apply.converge(machine, transition.of(transition.START))
    runs(machine, monkeypatch, *(["-tls"] if conf == b"TLS_ON\n" else []))
    WithoutRoot(machine, monkeypatch)
    fields = seen(machine)
    assert fields["complete"] is False and fields["findings"] == []
    assert fields["pair"]["sha256"] and fields["pair"]["algorithm"] == "EC secp521r1"
    assert fields["pair"]["made_here"] is None and fields["pair"]["problem"] == ""
    assert status.lines(fields)[-1] == "  Only root sees everything: sudo catcherctl status"


def test_a_catcher_that_only_root_sees_is_not_said_to_be_stopped(machine, monkeypatch):
    """With hidepid=, /proc shows a user only the user's own processes."""
    machine.processes = {}
    machine.hidden = {100}
    machine.systemctl((0, b"MainPID=100\nActiveState=active\nSubState=running\n"))
    held(monkeypatch, holder(port.UNKNOWN, None, ""))
    WithoutRoot(machine, monkeypatch)
    fields = seen(machine)
    assert fields["service"] == {"enabled": True, "masked": False, "wanted": True, "pid": 100, "serves": True}
    assert "  Mode      TLS configured, running, and only root can see in which mode\n" in text(fields)
    assert fields["findings"] == [] and status.exit_status(fields) == 0
    assert [one["in_use"] for one in cert_list.collect(machine)["pairs"]] == [None]


@pytest.mark.parametrize("path", [paths.KEY, paths.CERTIFICATE])
def test_root_is_told_that_it_may_not_read_the_pair(machine, monkeypatch, path):
    """This happens on NFS with root_squash. No other user would see more."""
    machine.put(paths.CONF, b"TLS_ON\n")
    apply.converge(machine, transition.of(transition.START))
    real = machine.read

    def read(asked, limit, head=False):
        if asked == path:
            raise PermissionError(13, "Permission denied", asked)
        return real(asked, limit, head)

    monkeypatch.setattr(machine, "read", read)
    fields = seen(machine)
    assert fields["complete"] is True and "pair-unread" in ids_of(fields)
    assert [one["id"] for one in installed_pair.check(machine, [])[1]] == ["pair-unread"]


def test_a_configuration_that_only_root_may_read_is_not_called_unusable(machine, monkeypatch):
    WithoutRoot(machine, monkeypatch, paths.CONF)
    fields = seen(machine)
    assert fields["complete"] is False and fields["findings"] == []


@pytest.mark.parametrize("running", [True, False])
def test_a_port_that_only_root_may_read_is_not_guessed(machine, monkeypatch, running):
    """The catcher listens on port 50010. Without that port, a user would read that it does not listen."""
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(reference.CONF, b"port=50010\n")
    held(monkeypatch, NOBODY)
    machine.processes = {100: [paths.CATCHER, "-tls"]} if running else {}
    WithoutRoot(machine, monkeypatch, reference.CONF)
    monkeypatch.setattr(port, "wait_for_start", lambda host: pytest.fail("waits for another port"))
    fields = seen(machine)
    assert fields["complete"] is False and ids_of(fields) == [] and status.exit_status(fields) == int(not running)
    assert (fields["listener"]["port"], fields["service"]["serves"]) == (None, running)
    assert "  Port      only root may read which port: it is in /etc/cca/reference-catcher.conf" in text(fields)
    assert "50003" not in text(fields) and "cannot be used" not in text(fields)
    with pytest.raises(CatcherError, match="^only root may read /etc/cca/reference-catcher.conf$"):
        tke_guide.collect(machine)


def test_what_only_root_can_know_is_not_said_to_others(machine, monkeypatch):
    every = sorted(messages.CATALOG)
    monkeypatch.setattr(status, "_findings", lambda *rest: [messages.finding(id) for id in every])
    assert ids_of(seen(machine)) == every
    WithoutRoot(machine, monkeypatch)
    assert ids_of(seen(machine)) == sorted(set(every) - promises.ROOT)


def test_a_real_user_without_root_sees_that_not_all_is_shown(tmp_path):
    """The same as the test above, with real refusals of the kernel."""
    if not IS_ROOT:
        pytest.skip("only root can become somebody else")
    machine = installed(tmp_path)
    apply.converge(machine, transition.of(transition.START))
    os.chmod(str(tmp_path), 0o755)
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
def test_status_of_this_machine_has_the_documented_fields():
    """Whatever it is: no traceback, and the shape holds."""
    seen(Host())
