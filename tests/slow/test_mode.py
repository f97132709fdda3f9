"""catcherctl mode, with a real server on a real port as the daemon: which mode it speaks afterwards."""

import errno
import os
import ssl

import pytest

from catcher_install import apply, config, facts, pair, paths, plan, port, reference, stamp, transition
from catcher_install.admin import mode, status
from catcher_install.cert import generate
from catcher_install.errors import CatcherError
from tests.ports import free_port
from tests.unit import pem, promises
from tests.unit.authority import DAY, issue
from tests.unit.daemon import Daemon, shown
from tests.unit.support import ids, no_room_for_the_stamp, tree_of

COMMENTED = b"\xef\xbb\xbf# ours\r\n\r\n  %s # as agreed\r\n# end"


@pytest.fixture
def daemon(machine, monkeypatch, tmp_path, quick_pair):
    """A running system in TCP mode, upgraded from 7.3, its catcher running."""
    machine.enable()
    machine.put(paths.CONF, b"TLS_OFF\n")
    machine.capture(tree="yes", groups="yes", unit="enabled", active="no")
    key = pem.key_of("prime256v1")
    crt = pem.certificate_for(key)
    other = tmp_path / "other"
    other.mkdir()
    (other / "key").write_bytes(key)
    (other / "crt").write_bytes(crt)
    one = Daemon(machine, monkeypatch, (str(other / "key"), str(other / "crt")))
    apply.converge(machine, transition.of(transition.UPGRADE, "7.3.0-1"))
    one.systemctl(["systemctl", "restart"], b"")
    one.restarts = 0
    yield one
    one.stop()


def der(machine):
    return ssl.PEM_cert_to_DER_cert(machine.get(paths.CERTIFICATE).decode("ascii"))


def found(machine):
    return ids(plan.plan(facts.collect(machine), transition.of(transition.APPLY)).findings)


def remembered(machine):
    return stamp.parse(machine.get(paths.STAMP))


def test_settings_of_the_daemon_that_cannot_be_used_stop_nothing_that_runs(machine, daemon):
    """Neither in the new mode nor in the previous one would the catcher start again."""
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(reference.CONF, b"backnd=127.0.0.1:9\n")
    lines, left = mode.set_mode(machine, config.TLS, restart=True)
    assert machine.get(paths.CONF) == b"TLS_ON\n" and daemon.restarts == 0 and daemon.port
    assert any(line.startswith("Not restarted, because the catcher cannot start: " + reference.CONF) for line in lines)
    assert [one["id"] for one in left] == ["settings-unusable"]


def test_a_catcher_with_a_port_of_its_own_is_verified_there(machine, daemon, monkeypatch):
    monkeypatch.setattr(paths, "PORT", free_port())
    os.makedirs(machine.on_disk(reference.PROGRAM))
    machine.put(reference.CONF, b"port=%d\n" % daemon.port)
    lines, left = mode.set_mode(machine, config.TLS, restart=True)
    assert left == [] and any("it speaks TLS with exactly this certificate" in line for line in lines)
    assert shown(daemon.port) == der(machine)


def test_mode_tls_ends_the_finding_of_an_upgrade(machine, daemon):
    assert found(machine) == ["upgraded-tcp-kept"]
    lines, left = mode.set_mode(machine, config.TLS, restart=True)
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    assert shown(daemon.port) == der(machine)
    assert left == [] and found(machine) == []
    assert daemon.restarts == 1
    text = "\n".join(lines)
    assert "tick the box Enable SSL/TLS" in text and "clear the box" not in text
    assert "SHA-256" in text and "it speaks TLS with exactly this certificate" in text


def test_tcp_after_an_upgrade_ends_the_notice_and_cuts_no_link(machine, daemon):
    lines, left = mode.set_mode(machine, config.TCP, restart=True)
    assert machine.get(paths.CONF) == b"TLS_OFF\n"
    assert daemon.restarts == 0 and shown(daemon.port) == "tcp"
    assert left == [] and found(machine) == []
    assert "clear the box Enable SSL/TLS" in "\n".join(lines)
    # The notice stays away, also for the hooks of the next version.
    apply.converge(machine, transition.of(transition.UPGRADE, "8.0.0-1"))
    assert found(machine) == []
    assert remembered(machine).findings == []


@pytest.mark.parametrize("wanted", [config.TLS, config.TCP])
@pytest.mark.parametrize("why", ["the file cannot be written", "another run has the lock"])
def test_a_mode_that_could_not_be_set_is_an_error(machine, daemon, monkeypatch, wanted, why):
    if wanted == config.TCP:
        mode.set_mode(machine, config.TLS, restart=True)
    conf, told, restarts = machine.get(paths.CONF), found(machine), daemon.restarts
    real = machine.replace

    def replace(path, *arguments, **named):
        if path == paths.CONF:
            raise OSError(errno.EPERM, "Operation not permitted", path)
        real(path, *arguments, **named)

    def lock(seconds):
        raise TimeoutError(errno.ETIMEDOUT, "no lock")

    monkeypatch.setattr(machine, *(("replace", replace) if why == "the file cannot be written" else ("lock", lock)))
    with pytest.raises(CatcherError) as raised:
        mode.set_mode(machine, wanted, restart=True)
    assert "catcherctl apply" not in raised.value.hint
    assert machine.get(paths.CONF) == conf and found(machine) == told and daemon.restarts == restarts


def test_mode_tcp_goes_back_and_keeps_the_pair(machine, daemon):
    mode.set_mode(machine, config.TLS, restart=True)
    lines, left = mode.set_mode(machine, config.TCP, restart=True)
    assert machine.get(paths.CONF) == b"TLS_OFF\n"
    assert shown(daemon.port) == "tcp" and left == []
    assert "it speaks plain TCP" in "\n".join(lines)
    assert machine.names(paths.BIN) == ["catcher.crt", "catcher.exe", "catcher.key"]


@pytest.mark.parametrize("id", sorted(promises.LASTING))
@pytest.mark.parametrize("wanted", [config.TCP, config.TLS])
def test_an_explicit_mode_ends_each_lasting_finding(machine, daemon, id, wanted):
    told = {"id": id, "reason": "it was not"}
    machine.put(paths.STAMP, stamp.render(remembered(machine).replace(findings=[told])))
    assert found(machine) == [id]
    _, left = mode.set_mode(machine, wanted, restart=True)
    assert left == [] and found(machine) == [] and remembered(machine).findings == []


def test_comments_and_line_ends_stay(machine, daemon):
    machine.put(paths.CONF, COMMENTED % b"TLS_OFF")
    mode.set_mode(machine, config.TLS, restart=True)
    assert machine.get(paths.CONF) == COMMENTED % b"TLS_ON"


def test_an_absent_configuration_is_written(machine, daemon):
    os.unlink(machine.on_disk(paths.CONF))
    mode.set_mode(machine, config.TLS, restart=True)
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    assert shown(daemon.port) == der(machine)


def test_a_mode_that_is_not_running_is_used_when_it_is_set_again(machine, daemon):
    lines, _ = mode.set_mode(machine, config.TLS, restart=False)
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    assert daemon.restarts == 0 and shown(daemon.port) == "tcp"
    assert "systemctl restart CSUTKEcat" in "\n".join(lines)
    # To set the same mode again restarts a catcher that does not run in it yet.
    mode.set_mode(machine, config.TLS, restart=True)
    assert daemon.restarts == 1 and shown(daemon.port) == der(machine)


@pytest.mark.parametrize("why", ["masked", "not booted", "disabled and stopped"])
def test_where_a_restart_is_not_ours(machine, daemon, why):
    mode.set_mode(machine, config.TLS, restart=False)
    daemon.stop()
    if why == "masked":
        machine.put_link(paths.UNIT_ADMIN, "/dev/null")
    elif why == "not booted":
        machine.booted = False
    else:
        os.unlink(machine.on_disk("/etc/systemd/system/multi-user.target.wants/" + paths.UNIT))
    lines, _ = mode.set_mode(machine, config.TCP, restart=True)
    assert daemon.restarts == 0
    assert machine.get(paths.CONF) == b"TLS_OFF\n"
    typed = {"masked": "systemctl unmask CSUTKEcat && systemctl restart CSUTKEcat",
             "not booted": "/opt/IBM/CCA/bin/CSUTKEcat restart"}
    assert lines[1].endswith(". To use the change: %s" % typed.get(why, "systemctl restart CSUTKEcat"))


def test_a_mode_is_set_in_an_image_and_its_key_left_to_the_first_start(machine, daemon):
    machine.booted = False
    _, left = mode.set_mode(machine, config.TLS, restart=True)
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    assert ids(left) == ["pair-deferred"]
    assert machine.get(paths.KEY) is None


# -- refusals: nothing has changed -------------------------------------------------------------------------------------


def expired():
    key = pem.key_of("prime256v1")
    return key, issue(key, first=-2 * DAY, last=-DAY)


def not_yet_valid():
    key = pem.key_of("prime256v1")
    return key, issue(key, first=DAY, last=2 * DAY)


def unmatched():
    return pem.key_of("secp384r1"), pem.certificate_for(pem.key_of("prime256v1"))


UNUSABLE = {
    "empty": (lambda: (b"", b""), "catcher.key is empty"),
    "not matching": (unmatched, "catcher.crt does not belong to catcher.key"),
    "key only": (lambda: (pem.key_of("prime256v1"), None), "catcher.crt does not"),
    "certificate only": (lambda: (None, unmatched()[1]), "catcher.key does not"),
    "expired": (expired, "the certificate expired on"),
    "not yet valid": (not_yet_valid, "the certificate is not valid before"),
}


@pytest.mark.parametrize("name", sorted(UNUSABLE))
def test_tls_does_not_cut_off_tcp_for_a_pair_that_is(machine, daemon, name):
    key, crt = UNUSABLE[name][0]()
    if key is not None:
        machine.put(paths.KEY, key, 0o600)
    if crt is not None:
        machine.put(paths.CERTIFICATE, crt)
    before = tree_of(machine, times=True)
    with pytest.raises(CatcherError) as refused:
        mode.set_mode(machine, config.TLS, restart=True)
    assert UNUSABLE[name][1] in refused.value.message and refused.value.hint
    assert tree_of(machine, times=True) == before
    assert daemon.restarts == 0 and shown(daemon.port) == "tcp"


REFUSED = {
    "TLS is not possible": (lambda machine: machine.tls_possible(False), config.TLS, "OpenSSL 1.0.2k-fips is older"),
    "a contradictory file": (lambda machine: machine.put(paths.CONF, b"TLS_ON\nTLS_OFF\n"), config.TLS, "both TLS_ON"),
    "a contradictory file, TCP": (lambda machine: machine.put(paths.CONF, b"TLS_ON\nTLS_OFF\n"), config.TCP, "both"),
    "TLS_REQUIRED": (lambda machine: machine.put(paths.CONF, b"TLS_ON\nTLS_REQUIRED\n"), config.TCP, "TLS_REQUIRED"),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_refused(machine, daemon, name):
    prepare, wanted, why = REFUSED[name]
    prepare(machine)
    before = tree_of(machine, times=True)
    with pytest.raises(CatcherError) as refused:
        mode.set_mode(machine, wanted, restart=True)
    assert why in refused.value.message and refused.value.hint
    assert tree_of(machine, times=True) == before
    assert daemon.restarts == 0


def test_an_edit_of_the_configuration_meanwhile_is_not_lost(machine, daemon, monkeypatch):
    """Configuration management writes it between our look and our change."""
    real, edits = plan.plan, []

    def meanwhile(*arguments, **named):
        planned = real(*arguments, **named)
        if not edits:
            edits.append(machine.put(paths.CONF, b"# edited\nTLS_OFF\n"))
        return planned

    monkeypatch.setattr(plan, "plan", meanwhile)
    mode.set_mode(machine, config.TLS, restart=True)
    assert edits and machine.get(paths.CONF) == b"# edited\nTLS_ON\n"


# -- the old mode comes back -------------------------------------------------------------------------------------------

FAILURES = {
    "nothing": "nothing listens on port",
    "tcp": "it speaks plain TCP",
    "another certificate": "it shows another certificate",
    "refuse": "Unit CSUTKEcat.service is not loaded properly",
    "interrupt": "interrupted",
}


@pytest.mark.parametrize("behaviour", sorted(FAILURES))
def test_tls_that_does_not_come_up_is_taken_back(machine, daemon, behaviour):
    machine.put(paths.CONF, COMMENTED % b"TLS_OFF")
    daemon.behaviour = [behaviour, "obey"]
    with pytest.raises(CatcherError) as failed:
        mode.set_mode(machine, config.TLS, restart=True)
    assert failed.value.message.startswith("TLS does not work: ")
    assert FAILURES[behaviour] in failed.value.message
    assert failed.value.message.endswith("the previous mode is back and in use")
    assert "journalctl" in failed.value.hint
    assert machine.get(paths.CONF) == COMMENTED % b"TLS_OFF"
    assert daemon.restarts == 2 and shown(daemon.port) == "tcp"
    # The notice is also restored, with its mode, and says what to try again.
    assert found(machine) == ["upgraded-tcp-kept"]
    assert remembered(machine).mode == "tcp"
    # A pair that was made stays, and is still known as ours.
    assert remembered(machine).generated_pair


def test_a_pair_that_was_made_for_tls_that_does_not_come_up_is_ours_with_the_next_run(machine, daemon, monkeypatch):
    daemon.behaviour = ["refuse", "obey"]
    with monkeypatch.context() as patched:
        no_room_for_the_stamp(machine, patched)
        with pytest.raises(CatcherError, match="the previous mode is back"):
            mode.set_mode(machine, config.TLS, restart=True)
    apply.converge(machine, transition.of(transition.START))
    made = pair.fingerprint(machine.get(paths.KEY), machine.get(paths.CERTIFICATE))
    assert remembered(machine).generated_pair == made and not pair.look(machine).staged


@pytest.mark.parametrize("behaviour", ["nothing", "another certificate"])
def test_tcp_that_does_not_come_up_is_taken_back(machine, daemon, behaviour):
    mode.set_mode(machine, config.TLS, restart=True)
    daemon.behaviour = [behaviour, "obey"]
    with pytest.raises(CatcherError) as failed:
        mode.set_mode(machine, config.TCP, restart=True)
    why = "it speaks TLS" if behaviour == "another certificate" else "nothing listens"
    assert why in failed.value.message and failed.value.message.endswith("the previous mode is back and in use")
    assert machine.get(paths.CONF) == b"TLS_ON\n"
    assert shown(daemon.port) == der(machine)
    assert remembered(machine).mode == "tls"


def test_where_the_old_mode_does_not_answer_either_that_is_said(machine, daemon):
    daemon.behaviour = ["nothing"]
    with pytest.raises(CatcherError) as failed:
        mode.set_mode(machine, config.TLS, restart=True)
    assert "is back, and does not answer (nothing listens" in failed.value.message
    assert machine.get(paths.CONF) == b"TLS_OFF\n"


def test_an_absent_configuration_is_absent_again(machine, daemon):
    os.unlink(machine.on_disk(paths.CONF))
    daemon.behaviour = ["nothing", "obey"]
    with pytest.raises(CatcherError):
        mode.set_mode(machine, config.TLS, restart=True)
    # What the daemon's own start then writes is the mode of the stamp: TCP, as before.
    assert machine.get(paths.CONF) == b"TLS_OFF\n"
    assert shown(daemon.port) == "tcp"


def test_a_pair_that_cannot_be_made_changes_nothing_and_restarts_nothing(machine, daemon, monkeypatch):
    def broken(host, names, wish):
        raise CatcherError("no entropy", "wait")

    monkeypatch.setattr(generate, "generate", broken)
    with pytest.raises(CatcherError) as failed:
        mode.set_mode(machine, config.TLS, restart=True)
    assert "no entropy" in failed.value.message
    assert machine.get(paths.CONF) == b"TLS_OFF\n"
    assert daemon.restarts == 0 and shown(daemon.port) == "tcp"
    assert machine.names(paths.BIN) == ["catcher.exe"]


def test_who_else_holds_the_port_is_said(machine, daemon, monkeypatch):
    held = port.Holder(state=port.OTHER, pid=4711, program="sshd", addresses=["0.0.0.0"], listens=True, beside="")
    monkeypatch.setattr(port, "holder", lambda host: held)
    daemon.behaviour = ["nothing", "obey"]
    with pytest.raises(CatcherError, match=r"sshd \(PID 4711\) has port"):
        mode.set_mode(machine, config.TLS, restart=True)


def test_a_stranger_that_speaks_the_mode_is_no_reason_not_to_restart(machine, daemon, monkeypatch):
    """The mode is TCP already, and the program that answers in TCP is not the catcher."""
    held = port.Holder(state=port.OTHER, pid=4711, program="catcher.exe", addresses=["::"], listens=True, beside="")
    monkeypatch.setattr(port, "holder", lambda host: held)
    with pytest.raises(CatcherError, match=r"catcher.exe \(PID 4711\) has port \d+"):
        mode.set_mode(machine, config.TCP, restart=True)
    assert daemon.restarts > 0


def test_status_is_content_after_an_explicit_tcp(machine, daemon):
    machine.processes[4711] = [paths.CATCHER]
    mode.set_mode(machine, config.TCP, restart=True)
    seen = status.collect_status(machine)
    assert [one["id"] for one in seen["findings"] if one["id"] != "not-listening"] == []
