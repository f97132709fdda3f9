"""catcherctl cert: a pair is swapped as a whole or not at all, and stays only if a real connection shows it."""

import errno
import os
import ssl
import stat
import time

import pytest
from cryptography import x509
from cryptography.hazmat.backends import default_backend

from catcher_install import (
    apply,
    certificate,
    certs,
    csr,
    export,
    facts,
    messages,
    pair,
    paths,
    plan,
    reading,
    replacement,
    report,
    stamp,
    transition,
)  # fmt: skip
from catcher_install.errors import CatcherError, KeyRefused

from . import pem
from .authority import DAY, Authority, issue
from .daemon import Daemon, in_memory, shown
from .schema import conforms
from .support import Killed, fault, ids, installed, tree_of

NEW_KEY = pem.key_of("secp384r1")
NEW = (NEW_KEY, issue(NEW_KEY))
KEPT = ".20261123T211200Z"
MOMENT = 1795468320  # 2026-11-23 21:12:00 UTC


@pytest.fixture
def memory(tmp_path):
    yield from in_memory(tmp_path)


@pytest.fixture
def machine(memory):
    return installed(memory)


@pytest.fixture
def daemon(machine, monkeypatch, tmp_path):
    """A running system in TLS mode with a pair that the package made, its catcher running."""
    machine.enable()
    other = tmp_path / "other"
    other.mkdir()
    key = pem.key_of("prime256v1")
    (other / "key").write_bytes(key)
    (other / "crt").write_bytes(issue(key))
    one = Daemon(machine, monkeypatch, (str(other / "key"), str(other / "crt")))
    apply.converge(machine, transition.of(transition.INSTALL))
    one.systemctl(["systemctl", "restart"], b"")
    one.restarts = 0
    yield one
    one.stop()


@pytest.fixture
def frozen(monkeypatch):
    """The time in the names of what is kept."""
    real = time.gmtime
    monkeypatch.setattr(time, "gmtime", lambda seconds: real(MOMENT))


def put(machine, key, crt):
    machine.put("/root/my.key", key, 0o600)
    machine.put("/root/my.crt", crt)


def install(machine, key=NEW[0], crt=NEW[1], names=(), restart=True):
    put(machine, key, crt)
    return replacement.install(machine, ["/root/my.key", "/root/my.crt"], list(names), restart)


def der(crt):
    return x509.load_pem_x509_certificate(crt, default_backend()).public_bytes(
        certificate._cryptography()[3].Encoding.DER)


def remembered(machine):
    return stamp.parse(machine.get(paths.STAMP))


def in_place(machine):
    return machine.get(paths.KEY), machine.get(paths.CERTIFICATE)


def bin_tree(machine):
    """What is in the directory of the pair, with inodes and times."""
    return {path: what for path, what in tree_of(machine, times=True).items() if path.startswith(paths.BIN + "/")}


def found(machine):
    return ids(plan.plan(facts.collect(machine), transition.of(transition.APPLY)).findings)


# -- install -----------------------------------------------------------------------------------------------------------


def test_install(machine, daemon, frozen):
    old, before = in_place(machine), bin_tree(machine)
    made = remembered(machine).generated_pair
    assert made == pair.fingerprint(*old)
    lines, left = install(machine)
    assert in_place(machine) == NEW
    assert shown(daemon.port) == der(NEW[1]) and daemon.restarts == 1
    assert (machine.mode(paths.KEY), machine.mode(paths.CERTIFICATE)) == (0o600, 0o644)
    # The old ones are kept as they were, and nothing else is left.
    assert machine.names(paths.BIN) == [
        "catcher.crt", "catcher.crt" + KEPT, "catcher.exe", "catcher.key", "catcher.key" + KEPT]
    after = bin_tree(machine)
    for path in (paths.KEY, paths.CERTIFICATE):
        assert after[path + KEPT] == before[path]
    # It is nobody's but the administrator's.
    assert remembered(machine).generated_pair is None
    assert remembered(machine).checked_pair["algorithm"] == "EC secp384r1"
    assert left == [] and found(machine) == []
    text = "\n".join(lines)
    assert "it shows exactly this certificate" in text and KEPT in text
    assert reading.describe(machine, der(NEW[1])).sha256 in text


def test_install_twice_keeps_both(machine, daemon, frozen):
    install(machine)
    key = pem.key_of("prime256v1")
    install(machine, key, issue(key))
    assert machine.names(paths.BIN) == [
        "catcher.crt", "catcher.crt" + KEPT, "catcher.crt" + KEPT + "-2", "catcher.exe",
        "catcher.key", "catcher.key" + KEPT, "catcher.key" + KEPT + "-2"]
    assert machine.get(paths.KEY + KEPT + "-2") == NEW[0]


def test_install_of_a_chain(machine, daemon):
    authority = Authority()
    chain = authority.issue(NEW_KEY) + authority.certificate + authority.root
    install(machine, NEW_KEY, chain)
    assert machine.get(paths.CERTIFICATE) == chain
    assert shown(daemon.port) == der(chain)


def test_install_in_tcp_mode_tries_nothing(machine, daemon):
    machine.put(paths.CONF, b"TLS_OFF\n")
    daemon.systemctl(["systemctl", "restart"], b"")
    daemon.restarts = 0
    lines, left = install(machine)
    assert in_place(machine) == NEW
    assert daemon.restarts == 0 and shown(daemon.port) == "tcp"
    assert "not tried, since the catcher is in TCP mode" in "\n".join(lines) and left == []
    assert remembered(machine).generated_pair is None


def test_install_without_a_restart(machine, daemon):
    old = in_place(machine)
    lines, _ = install(machine, restart=False)
    assert in_place(machine) == NEW
    assert daemon.restarts == 0 and shown(daemon.port) == der(old[1])
    assert "systemctl restart CSUTKEcat" in "\n".join(lines)
    # Saying it again brings it to use.
    lines, _ = install(machine)
    assert "in place already" in lines[0]
    assert daemon.restarts == 1 and shown(daemon.port) == der(NEW[1])
    # And once more changes nothing at all.
    before = tree_of(machine, times=True)
    install(machine)
    assert daemon.restarts == 1
    assert {k: v for k, v in tree_of(machine, times=True).items() if "/root/my" not in k} == {
        k: v for k, v in before.items() if "/root/my" not in k}


@pytest.mark.parametrize("why,said", [("masked", "the service is masked"), ("not booted", "systemd does not run here")])
def test_install_where_the_restart_is_not_ours(machine, daemon, why, said):
    if why == "masked":
        machine.put_link(paths.UNIT_ADMIN, "/dev/null")
    else:
        machine.booted = False
    lines, _ = install(machine)
    assert in_place(machine) == NEW and daemon.restarts == 0
    assert "Not restarted, since %s; the restart is yours: systemctl restart CSUTKEcat" % said in lines


def test_install_cures_a_pair_that_kept_the_catcher_down(machine, daemon):
    daemon.stop()
    machine.put(paths.CERTIFICATE, b"")
    lines, left = install(machine)
    assert shown(daemon.port) == der(NEW[1]) and left == []


@pytest.mark.parametrize("half", [paths.KEY, paths.CERTIFICATE])
def test_install_over_half_a_pair(machine, daemon, half, frozen):
    daemon.stop()
    os.unlink(machine.on_disk(half))
    install(machine)
    assert in_place(machine) == NEW and shown(daemon.port) == der(NEW[1])
    other = paths.CERTIFICATE if half == paths.KEY else paths.KEY
    assert machine.get(other + KEPT) and machine.get(half + KEPT) is None


def test_install_over_links(machine, daemon, frozen):
    """An administrator may keep the pair elsewhere: the links are kept, what they lead to is not touched."""
    put(machine, *in_place(machine))
    for path, target in ((paths.KEY, "/root/my.key"), (paths.CERTIFICATE, "/root/my.crt")):
        os.unlink(machine.on_disk(path))
        machine.put_link(path, target)
    machine.put("/home/k", NEW[0])
    machine.put("/home/c", NEW[1])
    old = machine.get("/root/my.key")
    replacement.install(machine, ["/home/k", "/home/c"], [], True)
    assert in_place(machine) == NEW and not os.path.islink(machine.on_disk(paths.KEY))
    assert os.readlink(machine.on_disk(paths.KEY + KEPT)) == "/root/my.key"
    assert machine.get("/root/my.key") == old


FAILURES = {
    "nothing": "nothing listens on port",
    "tcp": "it speaks plain TCP",
    "another certificate": "it shows another certificate",
    "refuse": "the restart failed",
    "interrupt": "interrupted",
}


@pytest.mark.parametrize("behaviour", sorted(FAILURES))
def test_a_pair_that_the_catcher_does_not_show_is_taken_back(machine, daemon, behaviour):
    os.chmod(machine.on_disk(paths.KEY), 0o640)
    os.utime(machine.on_disk(paths.KEY), (1000000000, 1000000000))
    old, before, made = in_place(machine), bin_tree(machine), remembered(machine).generated_pair
    daemon.behaviour = [behaviour, "obey"]
    with pytest.raises(CatcherError) as failed:
        install(machine)
    assert FAILURES[behaviour] in failed.value.message
    assert failed.value.message.endswith("the old pair is back and in use")
    assert "journalctl" in failed.value.hint
    # The same inodes, owners, modes and times; no trace of the other pair.
    assert bin_tree(machine) == before
    assert shown(daemon.port) == der(old[1]) and daemon.restarts == 2
    assert remembered(machine).generated_pair == made


def no_stamp_can_be_written(machine):
    os.unlink(machine.on_disk(paths.STAMP))
    os.mkdir(machine.on_disk(paths.STAMP))


def test_a_pair_that_cannot_be_noted_is_in_use_all_the_same(machine, daemon):
    no_stamp_can_be_written(machine)
    _, found = install(machine)
    assert "write-failed" in ids(found)
    assert in_place(machine) == NEW and shown(daemon.port) == der(NEW[1])
    assert not pair.look(machine).staged


def test_a_pair_that_could_not_be_noted_is_with_the_next_install(machine, daemon, monkeypatch):
    with monkeypatch.context() as patched:
        real = machine.replace

        def full(path, *arguments, **named):
            if path == paths.STAMP:
                raise OSError(errno.ENOSPC, "No space left on device", path)
            real(path, *arguments, **named)

        patched.setattr(machine, "replace", full)
        install(machine)
    assert remembered(machine).generated_pair is not None
    install(machine)
    assert remembered(machine).generated_pair is None


def test_a_pair_that_cannot_be_noted_is_taken_back_all_the_same(machine, daemon):
    no_stamp_can_be_written(machine)
    old, before = in_place(machine), bin_tree(machine)
    daemon.behaviour = ["nothing", "obey"]
    with pytest.raises(CatcherError, match="the old pair is back and in use"):
        install(machine)
    assert bin_tree(machine) == before
    assert shown(daemon.port) == der(old[1])


def test_where_the_old_pair_does_not_come_up_either_that_is_said(machine, daemon):
    before = bin_tree(machine)
    daemon.behaviour = ["nothing"]
    with pytest.raises(CatcherError, match="the old pair is back, and does not answer either"):
        install(machine)
    assert bin_tree(machine) == before


def test_a_failed_first_pair_leaves_none(machine, daemon):
    daemon.stop()
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    daemon.behaviour = ["nothing"]
    with pytest.raises(CatcherError, match="what was there before is back"):
        install(machine)
    assert machine.names(paths.BIN) == ["catcher.exe"]


@pytest.mark.parametrize("half", [paths.KEY, paths.CERTIFICATE])
def test_a_failed_pair_over_half_of_one_leaves_that_half(machine, daemon, half):
    daemon.stop()
    os.unlink(machine.on_disk(half))
    before = bin_tree(machine)
    daemon.behaviour = ["nothing"]
    with pytest.raises(CatcherError):
        install(machine)
    assert bin_tree(machine) == before


def test_a_failed_pair_over_links_leaves_the_links(machine, daemon):
    put(machine, *in_place(machine))
    for path, target in ((paths.KEY, "/root/my.key"), (paths.CERTIFICATE, "/root/my.crt")):
        os.unlink(machine.on_disk(path))
        machine.put_link(path, target)
    before = bin_tree(machine)
    daemon.behaviour = ["nothing", "obey"]
    machine.put("/home/k", NEW[0])
    machine.put("/home/c", NEW[1])
    with pytest.raises(CatcherError, match="back and in use"):
        replacement.install(machine, ["/home/k", "/home/c"], [], True)
    assert bin_tree(machine) == before


def test_somebody_elses_pair_is_not_rolled_back_over(machine, daemon, monkeypatch):
    """Another administrator put files of his own in place while ours were tried."""
    real = replacement.service.restart_and_wait

    def other(host, condition):
        for path in (paths.KEY, paths.CERTIFICATE):
            os.unlink(machine.on_disk(path))
            machine.put(path, b"theirs\n")
        return real(host, condition)

    monkeypatch.setattr(replacement.service, "restart_and_wait", other)
    daemon.behaviour = ["nothing"]
    with pytest.raises(CatcherError) as failed:
        install(machine)
    assert in_place(machine) == (b"theirs\n", b"theirs\n")
    assert "could not be put back: somebody else changed the pair meanwhile" in failed.value.message
    assert "catcher.key.2" in failed.value.hint


# -- install: refusals -------------------------------------------------------------------------------------------------


def refused(machine, daemon, call):
    """The error of a call, which must change nothing."""
    before = tree_of(machine, times=True)
    restarts = daemon.restarts
    with pytest.raises(CatcherError) as caught:
        call()
    assert tree_of(machine, times=True) == before
    assert daemon.restarts == restarts
    assert caught.value.hint
    return caught.value


def test_names_that_are_not_this_hosts_need_to_be_named(machine, daemon):
    key, crt = NEW_KEY, issue(NEW_KEY, "service.example.com", ("service.example.com",))
    put(machine, key, crt)
    files = ["/root/my.key", "/root/my.crt"]
    error = refused(machine, daemon, lambda: replacement.install(machine, files, [], True))
    assert "is not for this host" in error.message
    assert "catcherctl cert install /root/my.key /root/my.crt --name NAME" in error.hint
    error = refused(machine, daemon, lambda: replacement.install(machine, files, ["other.example.com"], True))
    assert "does not name other.example.com" in error.message
    _, left = replacement.install(machine, files, ["service.example.com"], True)
    assert shown(daemon.port) == der(crt)
    # It stays accepted, while this pair stays.
    assert left == []
    apply.converge(machine, transition.of(transition.UPGRADE, "8.0.0-1"))
    assert ids(certs.check(machine, [])[1]) == []
    os.utime(machine.on_disk(paths.CERTIFICATE), (1000000000, 1000000000))
    assert ids(certs.check(machine, [])[1]) == ["pair-names-stale"]


def test_a_pair_that_cannot_be_used_changes_nothing(machine, daemon):
    put(machine, NEW_KEY, issue(NEW_KEY, last=-60))
    error = refused(machine, daemon, lambda: replacement.install(machine, ["/root/my.key", "/root/my.crt"], [], True))
    assert "expired" in error.message


def test_a_directory_in_the_way_changes_nothing(machine, daemon):
    put(machine, *NEW)
    daemon.stop()
    os.unlink(machine.on_disk(paths.KEY))
    os.mkdir(machine.on_disk(paths.KEY))
    error = refused(machine, daemon, lambda: replacement.install(machine, ["/root/my.key", "/root/my.crt"], [], True))
    assert "neither a file nor a link" in error.message


def test_a_pair_that_changes_meanwhile_is_left_alone(machine, daemon, monkeypatch):
    put(machine, *NEW)
    real = replacement._Before

    def between_look_and_lock(host, seen):
        machine.put(paths.KEY, machine.get(paths.KEY) + b"\n", 0o600)
        return real(host, seen)

    monkeypatch.setattr(replacement, "_Before", between_look_and_lock)
    with pytest.raises(CatcherError, match="changed by somebody else"):
        replacement.install(machine, ["/root/my.key", "/root/my.crt"], [], True)
    assert in_place(machine) != NEW and daemon.restarts == 0


# -- one file ----------------------------------------------------------------------------------------------------------


def test_both_in_one_file(machine, daemon):
    machine.put("/root/both.pem", NEW[1] + NEW[0], 0o600)
    replacement.install(machine, ["/root/both.pem"], [], True)
    assert in_place(machine) == NEW and shown(daemon.port) == der(NEW[1])


def test_a_renewed_certificate_for_the_present_key(machine, daemon):
    key = machine.get(paths.KEY)
    crt = issue(key)
    machine.put("/root/new.crt", crt)
    replacement.install(machine, ["/root/new.crt"], [], True)
    assert in_place(machine) == (key, crt) and shown(daemon.port) == der(crt)


def test_a_certificate_for_no_key_that_is_here(machine, daemon):
    machine.put("/root/new.crt", NEW[1])
    error = refused(machine, daemon, lambda: replacement.install(machine, ["/root/new.crt"], [], True))
    assert "belongs to no key that is here (tried %s)" % paths.KEY in error.message
    assert "catcherctl cert install KEY /root/new.crt" in error.hint


def test_a_key_alone(machine, daemon):
    machine.put("/root/new.key", NEW[0])
    error = refused(machine, daemon, lambda: replacement.install(machine, ["/root/new.key"], [], True))
    assert "holds no certificate" in error.message


# -- killed, and refused by the system ---------------------------------------------------------------------------------


def prepared(base):
    """A host with a pair of ours, and another one to be installed."""
    base.mkdir()
    machine = installed(base)
    machine.systemctl()
    apply.converge(machine, transition.of(transition.START))
    put(machine, *NEW)
    return machine


def swap(machine):
    replacement.install(machine, ["/root/my.key", "/root/my.crt"], [], False)


def swap_back(machine):
    """What a failed verification does, up to the restart."""
    facts_before = facts.collect(machine)
    before = replacement._Before(machine, facts_before)
    before.suffix, _ = replacement._place(machine, facts_before, NEW[0], NEW[1], False)
    before.successor = pair.look(machine).identity
    before.shown = ""
    replacement._put_back(machine, before, "a test")


def make_again(machine):
    replacement._bring_in(machine, facts.collect(machine), NEW[0], NEW[1], True, False, [])


def count_calls(base, work):
    machine = prepared(base)
    with fault() as faults:
        work(machine)
    return faults.count


def whole(machine, old):
    """The pair in place is the old one or the new one; returns which."""
    now = in_place(machine)
    if now == old:
        return "old"
    judged = certificate.check(*now)
    assert judged.problem == "", now
    return "new"


def narrow(machine):
    """Every file with a key in it is for root alone."""
    for path, what in tree_of(machine).items():
        if path.startswith(paths.BIN) and "key" in path and stat.S_ISREG(what[0]):
            assert what[1] == 0o600, path


@pytest.mark.parametrize("work", [swap, swap_back, make_again],
                         ids=["install", "install and take back", "generate"])
def test_killed_at_each_call(memory, work):
    total = count_calls(memory / "count", work)
    assert total > 25
    outcomes = set()
    for n in range(1, total + 1):
        machine = prepared(memory / str(n))
        old = in_place(machine)
        with pytest.raises(Killed), fault(n=n, watch=lambda m=machine: narrow(m)):
            work(machine)
        # Neither file is ever gone, or half written.
        for number, now in enumerate(in_place(machine)):
            assert now in (old[number], NEW[number]), n
        apply.converge(machine, transition.of(transition.START))
        outcomes.add(whole(machine, old))
        assert not [name for name in machine.names(paths.BIN) if name.startswith(".")], n
        # The stamp never calls a pair ours that is not: the purge would remove it.
        made = remembered(machine).generated_pair
        if whole(machine, old) == "new":
            assert made == (pair.fingerprint(*NEW) if work is make_again else None), n
        elif work is not swap_back:
            assert made == pair.fingerprint(*old), n
        # What it was is nowhere lost.
        kept = [name for name in machine.names(paths.BIN) if name.startswith("catcher.key")]
        assert old[0] in [machine.get(paths.BIN + "/" + name) for name in kept], n
    assert outcomes == {"old", "new"}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS],
                         ids=["ENOSPC", "EIO", "EACCES", "EROFS"])
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_refused_at_each_call(memory, error, lasting):
    total = count_calls(memory / "count", swap)
    # Each error takes points of its own; all four together take each point.
    for n in range(1 + error % 4, total + 1, 4):
        machine = prepared(memory / str(n))
        old = in_place(machine)
        with fault(n=n, error=error, lasting=lasting):
            try:
                swap(machine)
                said = None
            except CatcherError as caught:
                said = caught
            except OSError as caught:
                said = caught
        if said is not None and isinstance(said, CatcherError):
            assert said.hint and "\n" not in said.message
        apply.converge(machine, transition.of(transition.START))
        assert whole(machine, old) in ("old", "new"), n
        assert not [name for name in machine.names(paths.BIN) if name.startswith(".")], n
        # Once more, and it is in place.
        swap(machine)
        assert in_place(machine) == NEW, n


def test_a_start_finishes_what_an_install_began(memory):
    machine = prepared(memory / "x")
    pair.begin_replacement(machine, NEW[0], NEW[1], False)
    planned = plan.plan(facts.collect(machine), transition.of(transition.START))
    assert [one.kind for one in planned.actions] == [plan.PLACE_STAGED_PAIR]
    apply.converge(machine, transition.of(transition.START))
    assert in_place(machine) == NEW
    assert remembered(machine).generated_pair is None


def test_a_start_that_cannot_finish_it_refuses_two_halves(memory):
    """One file placed, the other not: the daemon is not started with a key that is not its certificate's."""
    machine = prepared(memory / "x")
    pair.begin_replacement(machine, NEW[0], NEW[1], False)
    os.rename(machine.on_disk(paths.REPLACE_STAGE + "/catcher.key"), machine.on_disk(paths.KEY))
    seen = facts.collect(machine)
    assert seen.pair.staged
    decision = plan.launch_decision(seen)
    assert decision.arguments is None
    assert messages.text(decision.findings[-1]).endswith("catcher.crt does not belong to catcher.key")


@pytest.mark.parametrize("name", pair.FILES)
def test_a_rename_of_which_only_half_reached_the_disk(memory, name):
    """After a power failure the file may have its new name and still its old one: two names of one file."""
    machine = prepared(memory / "x")
    pair.begin_replacement(machine, NEW[0], NEW[1], False)
    os.unlink(machine.on_disk(paths.BIN + "/" + name))
    os.link(machine.on_disk(paths.REPLACE_STAGE + "/" + name), machine.on_disk(paths.BIN + "/" + name))
    assert apply.converge(machine, transition.of(transition.START)).findings == []
    assert in_place(machine) == NEW and not machine.lexists(paths.REPLACE_STAGE)


def test_each_step_is_on_disk_before_the_next(memory, monkeypatch):
    """What a later step relies on is synced before it: a power failure never shows them in another order."""
    machine = prepared(memory / "x")
    log = []

    def logging(call, real):
        def logged(*args):
            log.append((call,) + tuple(os.path.basename(one) for one in args[:2] if isinstance(one, str)))
            return real(*args)

        return logged

    for call in ("create", "link", "rename", "sync_dir"):
        monkeypatch.setattr(machine, call, logging(call, getattr(machine, call)))
    pair.begin_replacement(machine, NEW[0], NEW[1], True)
    draft, stage = os.path.basename(paths.STAGE_DRAFT), os.path.basename(paths.REPLACE_STAGE)
    assert [one[0] for one in log] == ["create", "create", "link", "link", "create", "sync_dir", "rename", "sync_dir"]
    assert log[-3:] == [("sync_dir", draft), ("rename", draft, stage), ("sync_dir", "bin")]
    del log[:]
    pair.place_replacement(machine)
    assert log == [("rename", "catcher.key", "catcher.key"), ("rename", "catcher.crt", "catcher.crt"),
                   ("sync_dir", "bin"), ("sync_dir", stage)]
    del log[:]
    pair.clear(machine)
    assert [one[0] for one in log] == ["rename", "rename", "sync_dir", "sync_dir", "rename", "sync_dir", "sync_dir"]
    assert log[2:6] == [("sync_dir", "bin"), ("sync_dir", stage), ("rename", stage, draft), ("sync_dir", "bin")]


def test_files_of_somebody_else_are_not_replaced_by_an_unfinished_install(memory):
    machine = prepared(memory / "x")
    old = in_place(machine)
    pair.begin_replacement(machine, NEW[0], NEW[1], False)
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
        machine.put(path, b"theirs\n", 0o600)
    outcome = apply.converge(machine, transition.of(transition.START))
    assert in_place(machine) == (b"theirs\n", b"theirs\n")
    assert "pair-not-replaced" in ids(outcome.findings)
    assert not machine.lexists(paths.REPLACE_STAGE)
    # What they replaced is kept.
    kept = [name for name in machine.names(paths.BIN) if name.startswith("catcher.key.")]
    assert [machine.get(paths.BIN + "/" + name) for name in kept] == [old[0]]


# -- generate ----------------------------------------------------------------------------------------------------------


def test_generate_refuses_to_replace(machine, daemon):
    error = refused(machine, daemon, lambda: replacement.generate(machine, False, True))
    assert "there is a key and a certificate already" in error.message
    assert "catcherctl cert generate --force" in error.hint


def test_generate_with_force(machine, daemon, frozen):
    old = in_place(machine)
    lines, left = replacement.generate(machine, True, True)
    now = in_place(machine)
    assert now[0] != old[0] and shown(daemon.port) == der(now[1])
    assert machine.get(paths.KEY + KEPT) == old[0] and machine.get(paths.CERTIFICATE + KEPT) == old[1]
    assert remembered(machine).generated_pair == pair.fingerprint(*now)
    assert left == []
    assert "Import the certificate into the TKE" in lines[-1]


def test_generate_that_fails_is_taken_back(machine, daemon):
    before, made = bin_tree(machine), remembered(machine).generated_pair
    daemon.behaviour = ["another certificate", "obey"]
    with pytest.raises(CatcherError):
        replacement.generate(machine, True, True)
    assert bin_tree(machine) == before and remembered(machine).generated_pair == made


def test_generate_where_there_is_none(machine, daemon):
    machine.put(paths.CONF, b"TLS_OFF\n")
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    lines, _ = replacement.generate(machine, False, True)
    assert machine.names(paths.BIN) == ["catcher.crt", "catcher.exe", "catcher.key"]
    assert remembered(machine).generated_pair == pair.fingerprint(*in_place(machine))


@pytest.mark.parametrize("half", [paths.KEY, paths.CERTIFICATE])
def test_generate_needs_force_for_half_a_pair(machine, daemon, half):
    os.unlink(machine.on_disk(half))
    error = refused(machine, daemon, lambda: replacement.generate(machine, False, True))
    assert ("a certificate" if half == paths.KEY else "a key") in error.message
    replacement.generate(machine, True, True)
    assert shown(daemon.port) == der(machine.get(paths.CERTIFICATE))


@pytest.mark.parametrize("where", ["chroot", "image"])
def test_no_key_is_made_where_it_would_be_shared(machine, daemon, where):
    if where == "chroot":
        machine.chroot = True
    else:
        machine.booted = False
    for call in (lambda: replacement.generate(machine, True, True), lambda: csr.request(machine, [], False, None)):
        assert isinstance(refused(machine, daemon, call), KeyRefused)


# -- request -----------------------------------------------------------------------------------------------------------


def asked(data):
    request = x509.load_pem_x509_csr(data, default_backend())
    assert request.is_signature_valid
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    return request, names.get_values_for_type(x509.DNSName), addresses


def test_request_to_install(machine, daemon):
    """From a request over a CA to a pair in use, with one file in the hand."""
    before = in_place(machine)
    data, lines = csr.request(machine, [], False, None)
    assert in_place(machine) == before and daemon.restarts == 0
    assert machine.mode(paths.REQUEST_KEY) == 0o600
    request, dns, addresses = asked(data)
    assert dns == ["tke1", "tke1.example.com"] and addresses == ["192.0.2.10"]
    assert request.subject.rfc4514_string() == "CN=tke1.example.com"
    assert "catcherctl cert install" in lines[-1]
    # A second request is for the same key, so that a first one in a CA's hands is not made useless.
    again, _ = csr.request(machine, ["service.example.com", "192.0.2.99"], False, None)
    assert asked(again)[0].public_key().public_numbers() == request.public_key().public_numbers()
    assert asked(again)[1:] == (["service.example.com", "tke1", "tke1.example.com"], ["192.0.2.10", "192.0.2.99"])
    assert asked(again)[0].subject.rfc4514_string() == "CN=service.example.com"
    authority = Authority()
    chain = authority.sign(data) + authority.certificate
    machine.put("/root/signed.crt", chain)
    key = machine.get(paths.REQUEST_KEY)
    replacement.install(machine, ["/root/signed.crt"], [], True)
    assert in_place(machine) == (key, chain) and shown(daemon.port) == der(chain)
    assert machine.get(paths.REQUEST_KEY) is None


def test_the_key_of_a_request_outlives_a_failed_install(machine, daemon):
    data, _ = csr.request(machine, [], False, None)
    machine.put("/root/signed.crt", Authority().sign(data))
    key = machine.get(paths.REQUEST_KEY)
    daemon.behaviour = ["nothing", "obey"]
    with pytest.raises(CatcherError):
        replacement.install(machine, ["/root/signed.crt"], [], True)
    assert machine.get(paths.REQUEST_KEY) == key


@pytest.mark.parametrize("kind", ["rsa-2048", "prime256v1", "secp384r1", "secp521r1"])
def test_request_for_the_present_key(machine, daemon, kind):
    key = pem.key_of(kind)
    machine.put(paths.KEY, key, 0o600)
    data, _ = csr.request(machine, [], True, None)
    assert asked(data)[0].public_key().public_numbers() == pem.load(key).public_key().public_numbers()
    assert machine.get(paths.REQUEST_KEY) is None


def test_request_into_a_new_file_only(machine, daemon):
    os.makedirs(machine.on_disk("/root"))
    data, _ = csr.request(machine, [], False, "/root/x.csr")
    assert machine.get("/root/x.csr") == data
    error = refused(machine, daemon, lambda: csr.request(machine, [], False, "/root/x.csr"))
    assert "/root/x.csr is there already" in error.message
    error = refused(machine, daemon, lambda: csr.request(machine, [], False, paths.KEY))
    assert "is there already" in error.message


def test_request_for_no_present_key(machine, daemon):
    os.unlink(machine.on_disk(paths.KEY))
    error = refused(machine, daemon, lambda: csr.request(machine, [], True, None))
    assert "there is no " + paths.KEY in error.message


# -- export ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def stick(machine):
    os.makedirs(machine.on_disk("/mnt/usb"))
    return "/mnt/usb"


def test_export(machine, daemon, stick):
    lines = export.export(machine, stick)
    assert machine.names(stick) == ["catcher-hashes.txt", "catcher.crt"]
    assert machine.get(stick + "/catcher.crt") == machine.get(paths.CERTIFICATE)
    sheet = machine.get(stick + "/catcher-hashes.txt").decode("ascii")
    one = reading.describe(machine, der(machine.get(paths.CERTIFICATE)))
    assert one.sha1 in sheet and one.sha256 in sheet and "tke1.example.com" in sheet and "50003" not in sheet[:20]
    assert "Wrote /mnt/usb/catcher.crt" in lines
    assert "is the USB stick mounted?" in "\n".join(lines)
    # Again, with other content.
    replacement.generate(machine, True, True)
    export.export(machine, stick)
    assert machine.get(stick + "/catcher.crt") == machine.get(paths.CERTIFICATE)
    assert machine.names(stick) == ["catcher-hashes.txt", "catcher.crt"]


def test_export_never_writes_the_key(machine, daemon, stick):
    """Not even where somebody put it into catcher.crt, as some servers want it."""
    authority = Authority()
    chain = authority.issue(NEW_KEY) + authority.certificate
    machine.put(paths.CERTIFICATE, NEW_KEY + chain)
    export.export(machine, stick)
    assert machine.get(stick + "/catcher.crt") == chain
    for name in machine.names(stick):
        assert b"PRIVATE" not in machine.get(stick + "/" + name)


@pytest.mark.parametrize("name", ["catcher.crt", "catcher-hashes.txt", ".catcher.crt.csulcca-new"])
def test_export_follows_no_link(machine, daemon, stick, name):
    machine.put("/etc/victim", b"precious\n")
    machine.put_link(stick + "/" + name, "/etc/victim")
    export.export(machine, stick)
    assert machine.get("/etc/victim") == b"precious\n"
    assert machine.names(stick) == ["catcher-hashes.txt", "catcher.crt"]
    assert not os.path.islink(machine.on_disk(stick + "/catcher.crt"))


def test_export_into_nothing(machine, daemon):
    for name in ("/mnt/nothing", "/root/my.crt"):
        put(machine, *NEW)
        error = refused(machine, daemon, lambda name=name: export.export(machine, name))
        assert "is not a directory" in error.message


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_export_onto_a_stick_that_refuses(machine, daemon, stick, error):
    with fault() as faults:
        export.export(machine, stick)
    for name in machine.names(stick):
        os.unlink(machine.on_disk(stick + "/" + name))
    for n in range(1, faults.count - 3):
        with pytest.raises(CatcherError) as caught, fault(n=n, error=error):
            export.export(machine, stick)
        assert os.strerror(error).lower() in caught.value.message and caught.value.hint
        assert [name for name in machine.names(stick) if name.startswith(".")] == [], n


def test_export_of_nothing(machine, daemon, stick):
    os.unlink(machine.on_disk(paths.CERTIFICATE))
    error = refused(machine, daemon, lambda: export.export(machine, stick))
    assert "there is no " + paths.CERTIFICATE in error.message


# -- show and check ----------------------------------------------------------------------------------------------------


def test_show(machine, daemon):
    seen = certs.show(machine)
    conforms("cert-show", seen)
    assert (seen["state"], seen["algorithm"], seen["made_here"], seen["problem"]) == (
        "both", "EC secp521r1", True, None)
    (one,) = seen["certificates"]
    assert one["dns_names"] == ["tke1", "tke1.example.com"] and one["addresses"] == ["192.0.2.10"]
    assert one["self_issued"] is True and one["problem"] is None
    text = "\n".join(certs.show_lines(seen))
    for part in (one["sha1"], one["sha256"], "EC secp521r1", "made by this package", "DNS tke1.example.com"):
        assert part in text


def test_show_a_chain_of_an_administrator(machine, daemon):
    authority = Authority()
    install(machine, NEW_KEY, authority.issue(NEW_KEY) + authority.certificate)
    seen = certs.show(machine)
    conforms("cert-show", seen)
    assert seen["made_here"] is False and len(seen["certificates"]) == 2
    text = "\n".join(certs.show_lines(seen))
    assert "Certificate 2 of 2" in text and "your own" in text and "CN=Test Root" in text


def test_show_shows_a_hostile_name_harmlessly(machine, daemon):
    crt = issue(NEW_KEY, "\x1b[2Jtke1\nfoo", ("tke1.example.com",))
    put(machine, NEW_KEY, crt)
    machine.put(paths.KEY, NEW_KEY, 0o600)
    machine.put(paths.CERTIFICATE, crt)
    for line in certs.show_lines(certs.show(machine)):
        assert all(" " <= c <= "~" for c in line)


def make_stale_host(machine):
    machine.node = "tke2.example.com"


def new_address(machine):
    machine.ipv4 = ["127.0.0.1", "192.0.2.11"]


def more_addresses(machine):
    machine.ipv4 = ["127.0.0.1", "192.0.2.10", "172.17.0.1"]


def replace(machine, **more):
    machine.put(paths.KEY, NEW_KEY, 0o600)
    machine.put(paths.CERTIFICATE, issue(NEW_KEY, **more))


def broken_chain(machine):
    authority = Authority()
    machine.put(paths.KEY, NEW_KEY, 0o600)
    machine.put(paths.CERTIFICATE, authority.issue(NEW_KEY) + authority.root)


def rsa(machine, bits):
    key = pem.key_of("rsa-%d" % bits)
    machine.put(paths.KEY, key, 0o600)
    machine.put(paths.CERTIFICATE, issue(key))


CHECKS = {
    "as it was made": (lambda m: None, [], []),
    "named": (lambda m: None, ["tke1", "TKE1.example.com", "192.0.2.10"], []),
    "not named": (lambda m: None, ["tke1", "tke2"], ["pair-name-missing"]),
    "a cloned host": (make_stale_host, [], ["pair-names-stale"]),
    "after a DHCP change": (new_address, [], ["pair-names-stale"]),
    "with one more address": (more_addresses, [], []),
    "an administrator's, with any name of the host": (
        lambda m: replace(m, common_name="x", dns=("tke1",), addresses=("198.51.100.7",)), [], []),
    "an administrator's, with no name of the host": (
        lambda m: replace(m, common_name="x", dns=("service.example.com",)), [], ["pair-names-stale"]),
    "soon over": (lambda m: replace(m, last=29 * DAY), [], ["pair-expires-soon"]),
    "not soon over": (lambda m: replace(m, last=31 * DAY), [], []),
    "over": (lambda m: replace(m, last=-60), [], ["pair-expired"]),
    "not begun": (lambda m: replace(m, first=DAY), [], ["pair-not-yet-valid"]),
    "weak": (lambda m: rsa(m, 1024), [], ["pair-weak-key"]),
    "a broken chain": (broken_chain, [], ["pair-chain-broken"]),
    "readable by others": (lambda m: os.chmod(m.on_disk(paths.KEY), 0o644), [], ["pair-key-readable"]),
    "half": (lambda m: os.unlink(m.on_disk(paths.KEY)), [], ["pair-half"]),
    "unusable": (lambda m: m.put(paths.CERTIFICATE, NEW[1]), [], ["pair-unusable"]),
}


@pytest.mark.parametrize("mode", ["TLS_ON", "TLS_OFF"])
@pytest.mark.parametrize("name", sorted(CHECKS))
def test_check(machine, daemon, name, mode):
    change, names, wanted = CHECKS[name]
    machine.put(paths.CONF, mode.encode("ascii") + b"\n")
    change(machine)
    before = tree_of(machine, times=True)
    seen, told = certs.check(machine, names)
    assert ids(told) == wanted
    conforms("cert-check", dict(seen, findings=[report.finding_fields(one) for one in told]))
    assert tree_of(machine, times=True) == before
    # Nothing is rekeyed silently: the TKE holds the old certificate.
    key = machine.get(paths.KEY)
    if key is not None:
        apply.converge(machine, transition.of(transition.UPGRADE, "8.0.0-1"))
        assert machine.get(paths.KEY) == key


def test_check_says_what_is_stale(machine, daemon):
    make_stale_host(machine)
    new_address(machine)
    (one,) = certs.check(machine, [])[1]
    assert messages.text(one) == (
        "the certificate does not fit this host any more: it lacks tke2.example.com, tke2, 192.0.2.11; "
        "it lists 192.0.2.10, which this host has not")
    assert "catcherctl cert generate --force" in messages.fix(one)


def test_check_of_nothing(machine, daemon):
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    error = refused(machine, daemon, lambda: certs.check(machine, []))
    assert "there is no key and no certificate" in error.message


def test_the_daemon_is_real(machine, daemon):
    """These tests would believe anything of a daemon that is not there."""
    assert ssl.PEM_cert_to_DER_cert(machine.get(paths.CERTIFICATE).decode("ascii")) == shown(daemon.port)
    daemon.stop()
    assert shown(daemon.port) is None
