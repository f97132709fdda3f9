"""hooks/notes.sh: what rpm's scriptlets do about the timer. rpm's macros act only on a first installation."""

import os
import time

import pytest

from catcher_install import paths
from tests.unit.support import TREE

TIMER = "csulcca-check.timer"
UNITDIR = "/usr/lib/systemd/system"


def with_systemctl(root, status=0):
    root.put("/bin/systemctl", b'#!/bin/sh\n[ "$1" != is-enabled ] || exit 1\necho "$*" >>%s\nexit %d\n' % (
        root.path("/told").encode(), status), 0o755)


def before(root):
    assert root.run("csulcca_note_timer", root.path(UNITDIR), phase="preinst") == (0, "")


def after(root):
    """What is done about the timer."""
    assert root.run("csulcca_enable_timer", phase="postinst") == (0, "")
    told = root.get("/told").decode().splitlines() if root.exists("/told") else []
    root.put("/told")
    return [line.split()[1] for line in told]


@pytest.mark.parametrize("there,enabled,wanted", [
    ("none", False, ["preset"]), ("static", False, ["preset"]), ("ours", False, []), ("ours", True, ["enable"]),
    ("none", True, ["enable"])])
def test_a_timer_that_is_new_and_one_that_a_killed_removal_has_disabled(root, there, enabled, wanted):
    with_systemctl(root)
    if there != "none":
        root.put("%s/%s" % (UNITDIR, TIMER))
    if there == "static":
        os.makedirs(root.path(UNITDIR + "/timers.target.wants"))
        os.symlink("../" + TIMER, root.path("%s/timers.target.wants/%s" % (UNITDIR, TIMER)))
    if enabled:
        root.put(paths.ENABLED, TIMER.encode() + b"\n")
    before(root)
    assert after(root) == wanted
    assert not root.exists(paths.NEW_TIMER)
    # An administrator may disable it now.
    root.put("%s/%s" % (UNITDIR, TIMER))
    if enabled:
        os.unlink(root.path(paths.ENABLED))
    if there != "static":
        before(root)
        assert after(root) == []


def test_an_upgrade_that_was_killed_has_brought_the_timer(root):
    """The killed attempt has installed the timer, so it would not be new to the second one, also after a boot."""
    with_systemctl(root)
    before(root)
    root.put("%s/%s" % (UNITDIR, TIMER))
    before(root)
    assert after(root) == ["preset"]


@pytest.mark.parametrize("age", [-paths.NOTE_SECONDS - 60, paths.NOTE_SECONDS + 60])
def test_an_upgrade_that_was_abandoned_enables_nothing(root, age):
    """Since then an administrator has disabled the timer."""
    with_systemctl(root)
    before(root)
    root.put("%s/%s" % (UNITDIR, TIMER))
    os.utime(root.path(paths.NEW_TIMER), (time.time() + age,) * 2)
    before(root)
    assert after(root) == [] and not root.exists(paths.NEW_TIMER)


@pytest.mark.parametrize("then", ["preset", "enable"])
def test_a_timer_that_could_not_be_enabled_stays_noted(root, then):
    if then == "enable":
        root.put(paths.ENABLED, TIMER.encode() + b"\n")
    with_systemctl(root, 1)
    before(root)
    assert after(root) == [then] and root.exists(paths.NEW_TIMER)
    with_systemctl(root)
    assert after(root) == [then] and not root.exists(paths.NEW_TIMER)


def test_the_note_goes_with_the_package(root):
    before(root)
    assert root.exists(paths.NEW_TIMER)
    assert root.run("csulcca_postrm", "rpm", "0")[0] == 0
    assert not root.exists(paths.NEW_TIMER)


def test_rpm_asks_before_and_after_and_keeps_no_note_of_its_own():
    """A note that a scriptlet itself writes has no age, and no name that a removal knows."""
    texts = {}
    for name in ("pre.in", "preun.in", "postun.in", "posttrans.in", "csulcca.spec"):
        with open(os.path.join(TREE, "rpm", name)) as stream:
            texts[name] = stream.read()
    assert "csulcca_note_timer %{_unitdir}" in texts["pre.in"]
    # Without the count: before rpm 4.18, %posttrans is called with 1 on an upgrade, too.
    assert "csulcca_enable_timer" in texts["posttrans.in"].splitlines()
    # Python starts what is enabled.
    assert "csulcca_enable_service\ncsulcca_postinst" in texts["posttrans.in"]
    for name, text in texts.items():
        assert "/run/csulcca" not in text and "/var/lib/csulcca/" not in text, name


WANTED = "/etc/systemd/system/multi-user.target.wants/CSUTKEcat.service"
NOTES = {"nothing": "tree=no\nunit=none\n", "a stopped service": "tree=no\nunit=disabled\n",
         "7.x without a unit": "tree=yes\nunit=none\n"}


@pytest.mark.parametrize("before", NOTES)
@pytest.mark.parametrize("enabled", [False, True])
def test_a_first_installation_that_rpm_takes_for_an_upgrade_presets_the_service(root, before, enabled):
    with_systemctl(root)
    root.put(paths.CAPTURE, NOTES[before].encode())
    if enabled:
        os.makedirs(os.path.dirname(root.path(WANTED)))
        os.symlink(UNITDIR + "/CSUTKEcat.service", root.path(WANTED))
    assert root.run("csulcca_enable_service", phase="postinst") == (0, "")
    told = root.get("/told").decode() if root.exists("/told") else ""
    assert told == ("--no-reload preset CSUTKEcat.service\n" if before == "nothing" and not enabled else "")


@pytest.mark.parametrize("age", [None, paths.NOTE_SECONDS + 60])
def test_without_a_note_of_today_no_service_is_preset(root, age):
    with_systemctl(root)
    if age:
        root.put(paths.CAPTURE, NOTES["nothing"].encode())
        os.utime(root.path(paths.CAPTURE), (time.time() - age,) * 2)
    assert root.run("csulcca_enable_service", phase="postinst") == (0, "")
    assert not root.exists("/told")


@pytest.mark.parametrize("enabled,shown,wanted", [
    (False, "LoadState=loaded\nNeedDaemonReload=no", []), (True, "LoadState=loaded\nNeedDaemonReload=no", ["start"]),
    (True, "LoadState=loaded\nNeedDaemonReload=yes", ["daemon-reload", "start"]),
    (True, "LoadState=not-found\nNeedDaemonReload=no", ["daemon-reload", "start"]),
    (True, "", ["daemon-reload", "start"])])
@pytest.mark.parametrize("starter", ["systemctl", "deb-systemd-invoke"])
def test_the_timer_is_started_where_it_is_enabled(root, starter, enabled, shown, wanted):
    """A reload of systemd takes longer than a start, so systemd is reloaded only if needed."""
    for old, before in (("", []), ("8.0.0-1", ["daemon-reload"])):
        text = "#!/bin/sh\ncase $* in *is-enabled*) exit %d ;; show*) echo '%s' ;; *) echo \"$1\" >>%s ;; esac\n"
        for name in {"systemctl", starter}:
            root.put("/bin/" + name, (text % (not enabled, shown, root.path("/told"))).encode(), 0o755)
        os.makedirs(root.path("/run/systemd/system"), exist_ok=True)
        root.put("/told")
        assert root.run("csulcca_start_timer", starter, old, phase="postinst") == (0, "")
        assert root.get("/told").decode().split() == before + wanted


def test_no_timer_is_started_where_systemd_does_not_run(root):
    with_systemctl(root)
    assert root.run("csulcca_start_timer", "systemctl", phase="postinst") == (0, "")
    assert not root.exists("/told")
