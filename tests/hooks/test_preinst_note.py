"""hooks/preinst.sh: what it notes of an older catcher: its service and the mode in which it ran."""

import os
import re
import shutil
import time

import pytest

from catcher_install import facts, paths, plan, transition
from catcher_install.host import Host
from tests.unit.support import ids

from . import moved_root
from .systemd import OLDER, Systemd, before_8, disabled_by_the_old_prerm, note, with_groups

NO_CCA = {"tree": "no", "ours": "no", "groups": "no", "version": "", "unit": "none", "mode": "none", "seen": "no",
          "active": "no"}
WANTED = "/etc/systemd/system/multi-user.target.wants/CSUTKEcat.service"
UNITS = {
    "nothing": ([], "none"),
    "a unit": (["/usr/lib/systemd/system/CSUTKEcat.service"], "disabled"),
    "a unit in /lib": (["/lib/systemd/system/CSUTKEcat.service"], "disabled"),
    "an edited unit": (["/etc/systemd/system/CSUTKEcat.service"], "disabled"),
    "wanted": (["/usr/lib/systemd/system/CSUTKEcat.service", WANTED], "enabled"),
    "required": (["/usr/lib/systemd/system/CSUTKEcat.service",
                  "/etc/systemd/system/tke.target.requires/CSUTKEcat.service"], "enabled"),
    "init script and S link": (["/etc/init.d/CSUTKEcat", "/etc/rc3.d/S14CSUTKEcat"], "enabled"),
    "init script and S link below rc.d": (["/etc/init.d/CSUTKEcat", "/etc/rc.d/rc5.d/S14CSUTKEcat"], "enabled"),
    "init script and K link": (["/etc/init.d/CSUTKEcat", "/etc/rc3.d/K86CSUTKEcat"], "disabled"),
    "init script only": (["/etc/init.d/CSUTKEcat"], "disabled"),
    "a unit, and S links that systemd does not look at": (
        ["/usr/lib/systemd/system/CSUTKEcat.service", "/etc/init.d/CSUTKEcat", "/etc/rc3.d/S14CSUTKEcat"], "disabled"),
}


@pytest.mark.parametrize("name", sorted(UNITS))
def test_the_state_of_the_unit_is_noted(root, name):
    files, state = UNITS[name]
    root.put(paths.CATCHER, b"", 0o755)
    for path in files:
        root.put(path, b"[Unit]\n")
    assert root.run("csulcca_preinst", "rpm", "2") == (0, "")
    assert note(root)["unit"] == state


@pytest.mark.parametrize("masked", [False, True])
def test_a_unit_without_a_catcher_counts_as_no_unit(root, masked):
    """An administrator, or a removed package, has left the unit. A .deb that was built with an older debhelper masks
    its unit when it is removed, and unmasks it when it is installed again. An installation starts the service."""
    root.put(WANTED)
    if masked:
        os.symlink("/dev/null", root.path("/etc/systemd/system/CSUTKEcat.service"))
    else:
        root.put("/etc/systemd/system/CSUTKEcat.service")
    assert root.run("csulcca_preinst", "rpm", "1") == (0, "")
    assert note(root)["unit"] == "none"


# In the place of the unit: the text of a link, or the bytes of a file -> whether systemd takes it for a mask
MASKS = {
    "a link to /dev/null": ("/dev/null", True), "an empty file": (b"", True), "a link to it": ("../../empty", True),
    "a unit": (b"[Unit]\n", False), "a link to one": ("../../unit", False), "a link to nothing": ("../../no", False),
    "a link to a directory": ("../../dir", False), "nothing": (None, False),
}


@pytest.mark.parametrize("name", sorted(MASKS))
def test_a_mask_is_noted(root, name):
    """And the library says the same."""
    there, masked = MASKS[name]
    root.put(paths.CATCHER, b"", 0o755)
    root.put(WANTED)
    root.put("/etc/empty")
    root.put("/etc/unit", b"[Unit]\n")
    os.mkdir(root.path("/etc/dir"))
    if isinstance(there, bytes):
        root.put(paths.UNIT_ADMIN, there)
    elif there is not None:
        os.symlink(there, root.path(paths.UNIT_ADMIN))
    assert root.run("csulcca_preinst", "deb", "upgrade", "7.3.0-1") == (0, "")
    assert note(root)["unit"] == ("masked" if masked else "enabled")
    assert facts.collect(Host(root.base)).unit.masked == masked


def test_a_mask_in_a_root_without_devices(root, monkeypatch):
    """Where an image is built: the link leads nowhere, and nothing can be thrown away."""
    monkeypatch.setattr(moved_root, "ABSOLUTE", re.compile(moved_root.ABSOLUTE.pattern.replace("etc|", "etc|dev|")))
    root.put(paths.CATCHER, b"", 0o755)
    root.put(WANTED)
    os.symlink(root.path("/dev/null"), root.path(paths.UNIT_ADMIN))
    status, _ = root.run("csulcca_preinst", "deb", "upgrade", "7.3.0-1")
    assert (status, note(root)["unit"]) == (0, "masked")


def test_a_tree_of_7x_is_noted(root):
    before_8(root)
    root.put("/etc/group", b"root:x:0:\ncca_admin:x:990:\n")
    assert root.run("csulcca_preinst", "rpm", "2") == (0, "")
    assert (note(root)["tree"], note(root)["groups"]) == ("yes", "yes")


def test_a_tree_of_8x_is_not_noted_as_7x(root):
    root.put(paths.CATCHER, b"", 0o755)
    assert root.run("csulcca_preinst", "rpm", "2") == (0, "")
    assert (note(root)["tree"], note(root)["groups"]) == ("no", "no")


def test_what_the_shell_writes_is_what_python_reads(root, machine):
    before_8(root)
    root.put(WANTED)
    root.run("csulcca_preinst", "rpm", "2")
    machine.put(paths.CAPTURE, root.get(paths.CAPTURE))
    seen = facts.collect(machine).capture
    assert (seen.tree, seen.groups, seen.unit, seen.active) == (True, False, "enabled", False)
    assert (seen.mode, seen.seen) == (None, "no")
    systemd = Systemd(root, MainPID="4711", ActiveState="active")
    systemd.process(4711, [EXEC, b"-tls"])
    systemd.seen()
    machine.put(paths.CAPTURE, root.get(paths.CAPTURE))
    seen = facts.collect(machine).capture
    assert (seen.mode, seen.seen, seen.active) == ("tls", "process", True)


EXEC = paths.CATCHER.encode("ascii")
GROUP = "/system.slice/CSUTKEcat.service"


@pytest.mark.parametrize("words,mode", [
    ([EXEC, b"-tls"], "tls"), ([EXEC], "tcp"), ([b"catcher.exe", b"-tls"], "tls"), ([b"catcher.exe"], "tcp"),
    ([b"/usr/bin/python3", b"-I", EXEC, b"-tls"], "tls"), ([EXEC, b"-tlsx"], "tcp"), ([EXEC, b"-v", b"-tls"], "tls"),
    # Not the daemon yet.
    ([b"/bin/sh", b"/opt/IBM/CCA/bin/CSUTKEcat", b"start"], "unknown"), ([b"tail", b"not-catcher.exe.log"], "unknown"),
])
def test_the_mode_of_the_running_daemon_is_noted(root, words, mode):
    systemd = Systemd(root, MainPID="4711", ActiveState="active", ControlGroup=GROUP)
    systemd.process(4711, words)
    assert systemd.seen() == (mode, "no" if mode == "unknown" else "process")


@pytest.mark.parametrize("group", [GROUP, "/tke.slice/tke-host.slice/CSUTKEcat.service"])
def test_the_mode_of_a_daemon_that_an_init_script_started_is_noted(root, group):
    """The service has no main process, but a control group. Processes in a user's own control group prove nothing."""
    systemd = Systemd(root, ActiveState="active", ControlGroup=group)
    systemd.process(800, [EXEC], group="/user.slice/user-1000.slice/user@1000.service" + GROUP)
    systemd.process(801, [EXEC], uid=1000, group=group)
    systemd.process(802, [b"/bin/sh", b"/etc/init.d/CSUTKEcat"], group=group)
    systemd.process(803, [EXEC, b"-tls"], group=group)
    assert systemd.seen() == ("tls", "process")


@pytest.mark.parametrize("where", ["no service", "beside the service"])
def test_a_process_that_is_only_named_like_the_daemon_shows_no_mode(root, where):
    systemd = Systemd(root)
    systemd.process(800, [EXEC, b"-tls"], uid=1000, group="/user.slice")
    systemd.process(801, [EXEC, b"-tls"], group="/user.slice")
    if where == "beside the service":
        systemd.shown.update(MainPID="4711", ActiveState="active", ControlGroup=GROUP)
        systemd.process(4711, [EXEC])
        systemd.process(4712, [EXEC, b"-tls"], uid=1000)
        assert systemd.seen() == ("tcp", "process")
    else:
        assert systemd.seen() == ("none", "no")


@pytest.mark.parametrize("uid,file,wanted", [(0, paths.CATCHER, ("tls", "process")),
                                             (1000, paths.CATCHER, ("none", "no")),
                                             (0, "/usr/bin/vim", ("none", "no"))])
def test_a_daemon_that_root_started_without_the_unit_shows_its_mode(root, uid, file, wanted):
    """For example with another unit, or with the init script of 7.x. The kernel knows which file a process runs."""
    systemd = Systemd(root)
    systemd.process(803, [EXEC, b"-tls"], uid=uid, group="/user.slice/user-0.slice/session-1.scope")
    os.symlink(root.path(file), root.path("/proc/803/exe"))
    assert systemd.seen() == wanted
    assert note(root)["active"] == "no", "what the unit does is another question"


@pytest.mark.parametrize("state,active", [("active", "yes"), ("activating", "yes"), ("deactivating", "no"),
                                          ("failed", "no"), ("inactive", "no")])
def test_a_service_that_is_being_started_counts_as_one_that_runs(root, state, active):
    """A boot starts it, or systemd starts it again after an error. 7.3's scriptlets stop such a service, too."""
    systemd = Systemd(root, ActiveState=state)
    root.put(WANTED)
    systemd.seen()
    assert note(root)["active"] == active


@pytest.mark.parametrize("of_this_system", [True, False])
def test_in_a_chroot_the_daemon_of_the_system_around_it_is_not_seen(root, of_this_system):
    """In a chroot, /proc and /sys are often those of the host that prepares an image, and a catcher may run there."""
    systemd = Systemd(root, ActiveState="active", ControlGroup=GROUP)
    systemd.process(803, [EXEC, b"-tls"])
    os.symlink("/" if of_this_system else root.base, root.path("/proc/803/root"))
    assert systemd.seen()[0] == ("tls" if of_this_system else "unknown")
    if not of_this_system:
        # With transactional-update, the system around the chroot is the one that is upgraded.
        root.environment["TRANSACTIONAL_UPDATE"] = "true"
        os.unlink(root.path(paths.CAPTURE))
        assert systemd.seen()[0] == "tls"


RAN = ("{ path=/opt/IBM/CCA/bin/catcher.exe ; argv[]=%s ; ignore_errors=no ; "
       "start_time=[Sat 2026-11-28 10:00:00 UTC] ; stop_time=[n/a] ; pid=%d ; code=(null) ; status=0/0 }")


@pytest.mark.parametrize("argv,pid,main,wanted", [
    (paths.CATCHER + " -tls", 4711, 4711, ("tls", "last-run")), (paths.CATCHER, 4711, 4711, ("tcp", "last-run")),
    # The unit has changed since then, or it never ran. What the unit would start is no evidence of the mode.
    (paths.CATCHER + " -tls", 0, 4711, ("unknown", "no")), (paths.CATCHER + " -tls", 0, 0, ("none", "no")),
    (paths.CATCHER + " -tls", 4700, 4711, ("unknown", "no")),
    ("/opt/IBM/CCA/bin/CSUTKEcat start", 4711, 4711, ("unknown", "no")),
    ("/bin/sh -c test -e /x || exec /opt/IBM/CCA/bin/catcher.exe -tls", 4711, 4711, ("unknown", "no")),
])
def test_the_mode_of_a_daemon_that_the_old_prerm_has_stopped_is_asked_of_systemd(root, argv, pid, main, wanted):
    assert Systemd(root, ExecStart=RAN % (argv, pid), ExecMainPID=str(main)).seen() == wanted


@pytest.mark.parametrize("systemd", [True, False], ids=["not run in this boot", "no systemd here"])
@pytest.mark.parametrize("unit,wanted", [("wanted", "unknown"), ("init script and S link", "unknown"),
                                         ("a unit", "none"), ("init script and K link", "none")])
def test_an_enabled_service_that_has_not_run_here_may_be_in_any_mode(root, systemd, unit, wanted):
    """In an update that runs before the services of a boot, in an image or in a chroot, the next boot starts it."""
    if systemd:
        Systemd(root)
    root.put(paths.CATCHER, b"", 0o755)
    before_8(root)
    for path in UNITS[unit][0]:
        root.put(path)
    for arguments in ("rpm", "2"), ("deb", "upgrade", "7.6.10-1"):
        assert root.run("csulcca_preinst", *arguments) == (0, "")
        told = note(root)
        assert (told["mode"], told["seen"], told["active"]) == (wanted, "no", "no")


@pytest.mark.parametrize("noted,active", [(b"yes\n", "yes"), (b"no\n", "no"), (None, "no")])
def test_a_service_that_a_killed_removal_has_stopped_was_running(root, noted, active):
    Systemd(root)
    for path in UNITS["wanted"][0]:
        root.put(path)
    if noted is not None:
        root.put(paths.RAN, noted)
    root.run("csulcca_preinst", "deb", "upgrade", "8.0.0-1")
    assert note(root)["active"] == active


BOTH = b"CSUTKEcat.service\ncsulcca-check.timer\n"


@pytest.mark.parametrize("there,ran,enabled,unit", [
    ("a unit", b"yes\n", BOTH, "enabled"), ("a unit", b"no\n", b"CSUTKEcat.service\n", "enabled"),
    ("a unit", b"yes\n", b"csulcca-check.timer\n", "disabled"), ("a unit", b"yes\n", None, "disabled"),
    ("nothing", b"yes\n", BOTH, "enabled"), ("mask", b"yes\n", BOTH, "masked")])
def test_a_service_that_a_killed_removal_has_disabled_was_enabled(root, there, ran, enabled, unit):
    Systemd(root)
    if there == "mask":
        os.makedirs(root.path("/etc/systemd/system"), exist_ok=True)
        os.symlink("/dev/null", root.path("/etc/systemd/system/CSUTKEcat.service"))
    else:
        for path in UNITS[there][0]:
            root.put(path)
    if there != "nothing":
        # A removal removes this file among the first.
        root.put(paths.CATCHER, b"", 0o755)
    root.put(paths.RAN, ran)
    if enabled is not None:
        root.put(paths.ENABLED, enabled)
    root.run("csulcca_preinst", "rpm", "2")
    assert (note(root)["unit"], note(root)["active"]) == (unit, ran.decode().strip())


@pytest.mark.parametrize("ran,enabled,unit,active", [
    # A boot would have started it if the removal had not disabled it; it starts nothing else.
    (True, True, "enabled", "yes"), (False, True, "enabled", "yes"), (True, False, "disabled", "no"),
    (False, False, "disabled", "no")])
def test_after_a_killed_removal_and_a_boot_an_enabled_service_counts_as_running(root, ran, enabled, unit, active):
    """/run is empty after a boot, so the note there, which says what ran, is gone."""
    Systemd(root)
    root.put(UNITS["a unit"][0][0])
    if enabled:
        root.put(paths.ENABLED, BOTH)
    root.run("csulcca_preinst", "rpm", "2")
    assert (note(root)["unit"], note(root)["active"]) == (unit, active)
    # Without a boot, the note in /run counts.
    root.put(paths.RAN, b"yes\n" if ran else b"no\n")
    root.run("csulcca_preinst", "rpm", "2")
    assert (note(root)["unit"], note(root)["active"]) == (unit, "yes" if ran else "no")


@pytest.mark.parametrize("age", [-paths.NOTE_SECONDS - 60, paths.NOTE_SECONDS + 60])
def test_a_removal_that_was_killed_on_another_day_tells_nothing(root, age):
    """Since then, an administrator may have disabled and stopped the service."""
    Systemd(root)
    root.put(UNITS["a unit"][0][0])
    for path, data in ((paths.RAN, b"yes\n"), (paths.ENABLED, BOTH)):
        root.put(path, data)
        os.utime(root.path(path), (time.time() + age,) * 2)
    root.run("csulcca_preinst", "rpm", "2")
    assert (note(root)["unit"], note(root)["active"]) == ("disabled", "no")


def test_in_an_image_a_killed_removal_shows_nothing_that_ran(root):
    """Nothing runs in an image."""
    root.put(paths.CATCHER)
    root.put(UNITS["a unit"][0][0])
    root.put(paths.ENABLED, BOTH)
    root.run("csulcca_preinst", "rpm", "2")
    assert (note(root)["unit"], note(root)["active"]) == ("enabled", "no")


RPM_INFO = "Name        : csulcca\nVersion     : %s\nRelease     : 1\n"


@pytest.mark.parametrize("printed,status,wanted", [(RPM_INFO % "8.2.54", 0, "8.2.54"),
                                                   (RPM_INFO % "7.3.43" + RPM_INFO % "8.0.0", 0, "7.3.43"),
                                                   ("package csulcca is not installed\n", 1, ""), ("", 137, "")])
def test_rpm_is_asked_for_the_version_of_a_package_that_is_not_ours(root, printed, status, wanted):
    root.put("/bin/rpm", b"#!/bin/sh\nprintf '%s'\nexit %d\n" % (printed.encode("ascii"), status), 0o755)
    root.put(paths.CATCHER, b"", 0o755)
    root.run("csulcca_preinst", "rpm", "2")
    assert note(root)["version"] == "", "a tree of ours needs none"
    before_8(root)
    root.run("csulcca_preinst", "rpm", "2")
    assert note(root)["version"] == wanted
    os.unlink(root.path(paths.CAPTURE))
    root.run("csulcca_preinst", "deb", "upgrade", "7.3.43")
    assert note(root)["version"] == "7.3.43", "for a first start before postinst"


@pytest.mark.parametrize("stamp", [True, False])
def test_rpm_is_asked_also_where_an_upgrade_was_killed_days_ago(root, stamp):
    """The killed upgrade has installed our control script, and its note has expired. If there is a stamp, a run of ours
    was finished. The stamp says what the host is, and rpm is not asked."""
    before_8(root)
    root.put(paths.BIN + "/CSUTKEcat", b"#!/bin/sh\nexec %s/run\n" % root.path("/usr/lib/csulcca").encode())
    root.put("/bin/rpm", b"#!/bin/sh\necho 'Version     : 7.3.0'\n", 0o755)
    root.put(paths.CAPTURE, b"tree=yes\ngroups=yes\nunit=enabled\nactive=yes\n")
    os.utime(root.path(paths.CAPTURE), (1, 1))
    if stamp:
        root.put(paths.STAMP)
    root.run("csulcca_preinst", "rpm", "2")
    assert [note(root)[name] for name in ("tree", "ours", "version")] == (
        ["no", "yes", ""] if stamp else ["yes", "no", "7.3.0"])


def test_the_note_of_a_killed_attempt_knows_the_old_version_better_than_rpm(root):
    """The old package may have been removed since then."""
    root.put(paths.CATCHER, b"", 0o755)
    root.put(paths.BIN + "/CSUTKEcat", b"#!/bin/sh\nexec %s/run\n" % root.path("/usr/lib/csulcca").encode())
    root.put("/bin/rpm", b"#!/bin/sh\necho 'Version     : 8.0.0'\n", 0o755)
    root.put(paths.CAPTURE, b"tree=yes\ngroups=yes\nversion=7.3.0\nunit=enabled\nmode=unknown\nactive=yes\n")
    for age in (60, 2 * paths.NOTE_SECONDS):
        os.utime(root.path(paths.CAPTURE), (time.time() - age,) * 2)
        root.run("csulcca_preinst", "rpm", "2")
        assert (note(root)["tree"], note(root)["version"]) == ("yes", "7.3.0")


@pytest.mark.parametrize("key,wanted", [(True, ""), (False, "7.3.0")])
def test_a_kept_opt_with_a_pair_is_8x_whatever_rpm_says(root, key, wanted):
    """A system was rolled back to 7.3, and its /opt still has our control script and a pair. So it was 8.x."""
    before_8(root)
    root.put(paths.BIN + "/CSUTKEcat", b"#!/bin/sh\nexec %s/run\n" % root.path("/usr/lib/csulcca").encode())
    root.put("/bin/rpm", b"#!/bin/sh\necho 'Version     : 7.3.0'\n", 0o755)
    if key:
        root.put(paths.KEY)
    root.run("csulcca_preinst", "rpm", "2")
    assert (note(root)["ours"], note(root)["version"]) == ("yes", wanted)


DAEMON_LOG = {"_UID=0", "_SYSTEMD_UNIT=CSUTKEcat.service", "_CMDLINE=/opt/IBM/CCA/bin/catcher.exe -tls"}


@pytest.mark.parametrize("log,wanted", [
    ([DAEMON_LOG], ("tls", "journal")),
    # The newest line comes first. The control script logs, too.
    ([{"_UID=0", "_SYSTEMD_UNIT=CSUTKEcat.service", "_CMDLINE=/bin/sh /opt/IBM/CCA/bin/CSUTKEcat start"},
      {"_UID=0", "_SYSTEMD_UNIT=CSUTKEcat.service", "_CMDLINE=/opt/IBM/CCA/bin/catcher.exe"}, DAEMON_LOG],
     ("tcp", "journal")),
    # Lines from another user, or from another service.
    ([DAEMON_LOG - {"_UID=0"} | {"_UID=1000"}], ("none", "no")),
    ([DAEMON_LOG - {"_SYSTEMD_UNIT=CSUTKEcat.service"} | {"UNIT=CSUTKEcat.service", "_SYSTEMD_UNIT=x.service"}],
     ("none", "no")),
    ([], ("none", "no")),
])
def test_the_mode_of_a_daemon_that_journald_has_seen_is_noted(root, log, wanted):
    systemd = Systemd(root)
    systemd.log = log
    assert systemd.seen() == wanted


STOPPED = {"UNIT=CSUTKEcat.service", "MESSAGE_ID=9d1aaa27d60140bd96365438aad20286", "when=99999999.123456"}


@pytest.mark.parametrize("sender,active", [
    ({"_PID=1", "_UID=0"}, "yes"), ({"_PID=812", "_UID=1000"}, "no"), ({"_PID=812", "_UID=0"}, "no"),
    ({"_PID=812", "_UID=1000", "_SYSTEMD_UNIT=user@1000.service", "PID=1"}, "no"),
])
def test_only_systemd_itself_can_say_that_it_stopped_the_service(root, sender, active):
    """Any user can send systemd's message. If it counted, a service that an administrator stopped would be started."""
    systemd = Systemd(root)
    before_8(root)
    root.put("/proc/%d/stat" % os.getpid(), b"1 (dpkg) S " + b"1 " * 18 + b"100 0\n")
    systemd.log = [{"_PID=1", "_UID=0", "when=1.5"}, STOPPED | sender]
    systemd.seen()
    assert note(root)["active"] == active


@pytest.mark.parametrize("keeps,stopped_long_ago", [(True, True), (False, False)])
@pytest.mark.parametrize("older", OLDER, ids=["empty", "older lines", "older lines of the unit"])
def test_a_journal_that_keeps_nothing_does_not_hide_that_it_ran(root, older, keeps, stopped_long_ago):
    """After "systemctl disable --now" in the old prerm, the only other trace is the changed directory."""
    systemd = Systemd(root)
    before_8(root)
    disabled_by_the_old_prerm(root)
    systemd.log, systemd.keeps = older, keeps
    systemd.seen()
    told = note(root)
    assert (told["unit"], told["active"]) == ("enabled", "no" if stopped_long_ago else "yes")


# Whether the journal keeps what PID 1 logs, when systemd says that the unit stopped, and the note.
FORGOTTEN = [
    (False, "0", "unknown"), (False, "", "unknown"), (False, "5000000", "no"), (True, "0", "no"),
    (False, "950000000", "yes"),
]


@pytest.mark.parametrize("keeps,stopped,active", FORGOTTEN)
@pytest.mark.parametrize("older", OLDER, ids=["empty", "older lines", "older lines of the unit"])
def test_what_nobody_remembers_is_not_known(root, machine, older, keeps, stopped, active):
    """The service was started by hand and is not enabled. When the old prerm stops it, systemd forgets it."""
    systemd = Systemd(root, InactiveEnterTimestampMonotonic=stopped)
    before_8(root)
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    root.put("/proc/self/stat", b"2 (sed) S " + b"1 " * 18 + b"100000 0\n")
    root.put("/proc/%d/stat" % os.getpid(), b"1 (dpkg) S " + b"1 " * 18 + b"90000 0\n")
    systemd.log, systemd.keeps = older, keeps
    if not stopped:
        del systemd.shown["InactiveEnterTimestampMonotonic"]
    systemd.seen()
    assert (note(root)["unit"], note(root)["active"]) == ("disabled", active)
    machine.put(paths.CAPTURE, root.get(paths.CAPTURE))
    seen = facts.collect(machine).capture
    assert (seen.active, seen.unsure) == (active == "yes", active == "unknown")
    told = plan.plan(facts.collect(machine), transition.of(transition.UPGRADE)).findings
    assert ("service-state-unknown" in ids(told)) == (active == "unknown")


@pytest.mark.parametrize("group", ["cca_operators", "cca_ops", "my_cca_admin", "cca_admin2", "cca_adm", "CCA_ADMIN"])
def test_a_group_of_somebody_elses_is_no_trace_of_7x(root, group):
    root.put("/etc/group", b"root:x:0:\n%s:x:990:\n" % group.encode())
    assert root.run("csulcca_preinst", "rpm", "1") == (0, "")
    assert note(root)["groups"] == "no"


@pytest.mark.parametrize("group", paths.LEGACY_GROUPS)
def test_each_group_of_ccas_is_a_trace_of_7x(root, group):
    root.put("/etc/group", b"root:x:0:\n%s:x:990:\n" % group.encode())
    assert root.run("csulcca_preinst", "deb", "install") == (0, "")
    assert note(root)["groups"] == "yes"


def test_a_note_of_an_attempt_that_was_killed_is_kept(root):
    """The old package's scriptlets may have disabled the service since."""
    root.put(paths.CAPTURE, b"tree=yes\ngroups=yes\nunit=enabled\nactive=yes\n")
    root.run("csulcca_preinst", "rpm", "2")
    assert note(root) == {"tree": "yes", "groups": "yes", "unit": "enabled", "active": "yes"}


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("arguments", [("rpm", "1"), ("rpm", "2"), ("deb", "upgrade", "8.0.0-1")])
def test_a_first_installation_that_was_not_finished_still_is_one(root, arguments, enabled):
    """Its unit is there, and disabled because nothing has enabled it, or not started yet."""
    assert root.run("csulcca_preinst", arguments[0], "install")[0] == 0
    first = root.get(paths.CAPTURE)
    assert note(root) == NO_CCA
    Systemd(root)
    root.put(paths.BIN + "/CSUTKEcat", b"#!/bin/sh\nexec %s/run\n" % root.path("/usr/lib/csulcca").encode())
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    if enabled:
        root.put(WANTED)
    assert root.run("csulcca_preinst", *arguments)[0] == 0
    assert root.get(paths.CAPTURE) == first


@pytest.mark.parametrize("what", ["runs", "of 7.x", "of another day"])
def test_what_is_not_left_by_a_first_installation(root, what):
    """Somebody has started the service since; CCA 7.x has been installed since; the installation was abandoned."""
    systemd = Systemd(root, ActiveState="active" if what == "runs" else "inactive")
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    root.put(paths.CAPTURE, "".join("%s=%s\n" % one for one in NO_CCA.items()).encode())
    if what == "of 7.x":
        before_8(root)
    if what == "of another day":
        os.utime(root.path(paths.CAPTURE), (time.time() - paths.NOTE_SECONDS - 60,) * 2)
    systemd.seen()
    found = note(root)
    assert (found["tree"], found["unit"], found["active"]) == (
        "yes" if what == "of 7.x" else "no", "disabled", "yes" if what == "runs" else "no")


@pytest.mark.parametrize("arguments", [("rpm", "1"), ("rpm", "2"), ("deb", "install")])
def test_what_a_killed_attempt_has_brought_is_no_trace_of_8(root, arguments):
    """The files of the killed attempt are there, and 7.x's daemon still runs."""
    Systemd(root, MainPID="4711", ActiveState="active")
    root.put(paths.BIN + "/CSUTKEcat", b"#!/bin/sh\nexec %s/run\n" % root.path("/usr/lib/csulcca").encode())
    root.put(paths.CAPTURE, b"tree=yes\nours=no\ngroups=yes\nunit=enabled\nactive=yes\n")
    assert root.run("csulcca_preinst", *arguments)[0] == 0
    found = note(root)
    assert (found["tree"], found["ours"], found["active"]) == ("yes", "no", "yes")


@pytest.mark.parametrize("mode,seen,kept", [
    ("tls", "last-run", "tls"), ("unknown", "no", "tls"), ("tcp", "process", "tcp")])
def test_a_note_of_an_attempt_that_could_not_look_is_completed(root, mode, seen, kept):
    """For example, it was killed after its first note. Then the old prerm stopped and disabled the service."""
    systemd = Systemd(root, ExecStart=RAN % (paths.CATCHER + " -tls", 4711), ExecMainPID="4711")
    before_8(root)
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    root.put(paths.CAPTURE, b"tree=yes\nours=no\ngroups=yes\nunit=enabled\nmode=%s\nseen=%s\nactive=yes\n" % (
        mode.encode(), seen.encode()))
    assert systemd.seen()[0] == kept
    assert (note(root)["unit"], note(root)["active"]) == ("enabled", "yes")


# How a program that preinst runs can fail.
FAILURES = {"cannot fork": "exit 2", "missing": "exit 127", "killed": "kill -9 $$", "silent": "exit 0"}
PROGRAMS = ("cat", "cut", "date", "find", "grep", "head", "journalctl", "readlink", "sed", "sync", "systemctl",
            "systemd-run", "timeout", "tr")


@pytest.mark.parametrize("failure", sorted(FAILURES))
@pytest.mark.parametrize("daemon", ["runs", "was stopped", "runs in the background"])
def test_a_program_that_does_not_run_hides_no_daemon_in_tls(root, daemon, failure):
    """Each program fails alone, then all fail. There is always a note, and an unseen mode is "unknown", not "none"."""
    group = GROUP if daemon == "runs in the background" else ""
    systemd = Systemd(root, ControlGroup=group, ExecStart=RAN % (EXEC.decode() + " -tls", 4711), ExecMainPID="4711")
    before_8(root)
    if daemon != "was stopped":
        systemd.shown.update(ActiveState="active", MainPID="0" if group else "4711")
        systemd.process(4711, [EXEC, b"-tls"])
    root.put("/usr/lib/systemd/system/CSUTKEcat.service")
    root.put("/etc/group", b"root:x:0:\ncca_admin:x:990:\n")
    for names in [[name] for name in PROGRAMS] + [list(PROGRAMS)]:
        systemd.write()
        for name in names:
            root.put("/bin/" + name, b"#!/bin/sh\n%s\n" % FAILURES[failure].encode(), 0o755)
        assert root.run("csulcca_preinst", "deb", "upgrade", "7.6.10-1")[0] == 0
        told = note(root)
        assert (told["tree"], told["groups"], told["unit"]) == ("yes", "yes", "disabled"), names
        assert told["mode"] in ("tls", "unknown"), names
        if daemon != "was stopped" and "tr" not in names:
            assert (told["mode"], told["seen"], told["active"]) == ("tls", "process", "yes"), names
        for name in names:
            os.unlink(root.path("/bin/" + name))
        os.unlink(root.path(paths.CAPTURE))


WHOLE_NOTE = b"tree=yes\ngroups=yes\nunit=enabled\nactive=yes\n"


@pytest.mark.parametrize("data", [b"", b"\0" * len(WHOLE_NOTE), WHOLE_NOTE[:len("tree=yes\n")], WHOLE_NOTE[:-3]])
def test_a_note_that_a_power_failure_has_cut_is_not_kept(root, data):
    root.put(paths.CAPTURE, data)
    root.run("csulcca_preinst", "rpm", "2")
    assert note(root) == NO_CCA


def logged(root, *names):
    """Have programs of these names log that they were called, and with which files."""
    for name in names:
        real = shutil.which(name)
        log = 'echo %s "$@" >>%s\nexec %s "$@"\n' % (name, root.path("/log"), real)
        root.put("/bin/" + name, b"#!/bin/sh\n" + log.encode("ascii"), 0o755)


def test_the_note_is_on_disk_before_it_has_its_name(root):
    """After a power failure the note must not be empty, and its directory must exist."""
    logged(root, "sync", "mv")
    root.run("csulcca_preinst", "rpm", "2")
    assert root.get("/log").decode("ascii").replace(root.base, "").splitlines() == [
        "sync /var/lib"] + 2 * ["sync %s.new" % paths.CAPTURE, "mv -fT %s.new %s" % (paths.CAPTURE, paths.CAPTURE),
                                "sync " + paths.STATE_DIR]


def test_a_copy_of_an_edited_init_script_is_on_disk_before_rpm_removes_it(root):
    logged(root, "sync")
    root.put(paths.INIT_SCRIPT, b"edited")
    root.run("csulcca_preinst", "rpm", "2")
    copy = paths.INIT_SCRIPT + ".rpmsave"
    assert root.get(copy) == b"edited"
    assert "sync %s %s" % (copy, os.path.dirname(copy)) in root.get("/log").decode("ascii").replace(root.base, "")


def test_an_old_note_is_not_kept(root):
    root.put(paths.CAPTURE, b"tree=yes\ngroups=yes\nunit=enabled\nactive=yes\n")
    os.utime(root.path(paths.CAPTURE), (1, 1))
    root.run("csulcca_preinst", "rpm", "2")
    assert note(root) == NO_CCA


@pytest.mark.parametrize("arguments", [("deb", "install"), ("rpm", "1")])
def test_groups_are_made_once_and_are_no_trace_of_7_also_after_a_kill(root, arguments):
    with_groups(root)
    for _ in range(2):
        assert root.run("csulcca_preinst", *arguments) == (0, "")
        assert root.get("/etc/group") == b"root:x:0:\ncca_admin:x:999:\ncca_setmk:x:999:\n"
        assert note(root)["groups"] == "no"


@pytest.mark.parametrize("end", ["taken back by dpkg", "given up for a day", "removed"])
def test_groups_of_an_earlier_attempt_are_no_trace_of_7(root, end):
    """For example, files of another package were in the way of a first installation. The next attempt is a first
    installation, too."""
    with_groups(root)
    assert root.run("csulcca_preinst", "deb", "install") == (0, "")
    if end == "taken back by dpkg":
        assert root.maintainer_script("postrm", "", "abort-install") == (0, "")
    elif end == "removed":
        assert root.maintainer_script("postrm", "", "remove") == (0, "")
    else:
        os.utime(root.path(paths.CAPTURE), (1, 1))
    assert root.run("csulcca_preinst", "deb", "install") == (0, "")
    assert note(root)["groups"] == "no"


def test_groups_that_7_made_are_a_trace_also_if_some_are_added(root):
    with_groups(root)
    root.put("/etc/group", b"root:x:0:\ncca_admin:x:999:\n")
    for _ in range(2):
        root.run("csulcca_preinst", "rpm", "1")
        assert note(root)["groups"] == "yes"
        os.unlink(root.path(paths.CAPTURE))


def test_a_purge_forgets_who_made_the_groups(root):
    with_groups(root)
    root.run("csulcca_preinst", "deb", "install")
    assert root.maintainer_script("postrm", "", "purge")[0] == 0
    assert not root.exists(paths.STATE_DIR)


def test_groups_that_7_made_are_a_trace(root):
    with_groups(root)
    root.put("/etc/group", b"root:x:0:\ncca_admin:x:999:\n")
    root.run("csulcca_preinst", "rpm", "1")
    assert note(root)["groups"] == "yes"


def test_a_system_that_cannot_make_groups_still_takes_the_package(root):
    with_groups(root)
    root.put("/bin/groupadd", b"#!/bin/sh\nexit 10\n", 0o755)
    assert root.run("csulcca_preinst", "rpm", "1")[0] == 0
    assert note(root)["groups"] == "no"


def test_the_reference_payload_makes_no_group(root):
    with_groups(root)
    root.groups = ""
    root.run("csulcca_preinst", "deb", "install")
    assert root.get("/etc/group") == b"root:x:0:\n"


# What dpkg logged, with the age of each line in seconds; and the age of the killed upgrade, None if there is none.
DPKG_LOG = {
    "killed once": ([(900, "status installed csulcca:amd64 7.3.0-1"), (600, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1"),
                     (600, "status half-installed csulcca:amd64 7.3.0-1"),
                     (5, "upgrade csulcca:all 7.3.0-1 8.0.0-1")], 600),
    "killed twice": ([(600, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1"), (60, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1"),
                      (5, "upgrade csulcca:all 7.3.0-1 8.0.0-1")], 600),
    "never killed": ([(900, "install csulcca:amd64 <none> 7.3.0-1"), (899, "status installed csulcca:amd64 7.3.0-1"),
                      (5, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1")], None),
    "another package": ([(600, "upgrade csulcca-doc:amd64 1 2"), (5, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1")], None),
    "long ago": ([(90000, "upgrade csulcca:amd64 7.3.0-1 8.0.0-1"), (5, "upgrade csulcca:all 7.3.0-1 8.0.0-1")], None),
    "no log": ([], None),
}


@pytest.mark.parametrize("name", sorted(DPKG_LOG))
def test_the_start_of_a_killed_upgrade_is_read_from_dpkgs_log(root, name):
    """The prerm of 7.3 stopped the service in that upgrade, so the service must run again afterwards."""
    lines, ago = DPKG_LOG[name]
    now = int(time.time())
    if lines:
        text = "".join("%s %s\n" % (time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now - age)), line)
                       for age, line in lines)
        root.put("/var/log/dpkg.log", text.encode("ascii"))
    root.put("/proc/self/stat", b"2 (sed) S " + b"1 " * 18 + b"100000 0\n")
    status, output = root.run("csulcca_killed_upgrade_start", phase="preinst")
    if ago is None:
        assert (status, output) == (1, "")
    else:
        # The host booted 1,000 seconds ago.
        assert status == 0 and 0 <= 100000 - 100 * ago - int(output) <= 100 * (time.time() - now)


@pytest.mark.parametrize("arguments", [("deb", "abort-upgrade", "8.0"), ("deb", ""), ("deb", "nonsense")])
def test_other_calls_of_preinst_note_nothing(root, arguments):
    assert root.run("csulcca_preinst", *arguments) == (0, "")
    assert not root.exists(paths.CAPTURE)


def test_a_var_that_cannot_be_written_stops_nothing(root):
    root.put("/var/lib/csulcca", b"a file")
    assert root.run("csulcca_preinst", "rpm", "2")[0] == 0


@pytest.mark.parametrize("status", [1, 2, 127])
@pytest.mark.parametrize("tool", ["grep", "sed", "find", "stat", "date", "awk", "tr"])
def test_a_program_that_does_not_run_hides_no_note_of_a_killed_attempt(root, tool, status):
    """The second attempt sees our files, and a service that 7.x's scriptlets have stopped and disabled."""
    Systemd(root)
    root.put(UNITS["a unit"][0][0])
    kept = {"tree": "yes", "ours": "no", "groups": "no", "version": "7.6.10", "unit": "enabled", "mode": "tls",
            "seen": "process", "active": "yes"}
    root.put(paths.CAPTURE, "".join("%s=%s\n" % one for one in kept.items()).encode())
    root.put("/etc/group", b"root:x:0:\ncca_admin:x:990:\n")
    root.put(paths.MADE_GROUPS)
    root.put("/bin/" + tool, b"#!/bin/sh\nexit %d\n" % status, 0o755)
    assert root.run("csulcca_preinst", "rpm", "2")[0] == 0
    assert note(root) == kept
    # If the service runs again, what is seen now counts, together with what only the note knows.
    root.put("/bin/systemctl", b"#!/bin/sh\n", 0o755)
    assert root.run("csulcca_preinst", "rpm", "2")[0] == 0
    found = note(root)
    assert [found[name] for name in ("tree", "ours", "groups", "version", "active")] == [
        "yes", "no", "no", "7.6.10", "yes"]
