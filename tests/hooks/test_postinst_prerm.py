"""hooks/postinst.sh and hooks/prerm.sh: what is left to our library, links of an image, bytecode, and the service."""

import os
import re
import shutil
import socket
import time

import pytest

from catcher_install import actions, capture, facts, pair, paths, plan, transition
from tests.unit.support import TREE, Machine, tree_of

from .moved_root import image_links


def test_postinst_hands_its_arguments_and_exit_status_on(root):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\nprintf '<%s>' \"$@\"\nexit 7\n", 0o755)
    assert root.run("csulcca_postinst", "deb", "configure", "7.3.0-1") == (7, "<scriptlet><deb><configure><7.3.0-1>")
    assert root.run("csulcca_postinst", "rpm", "2") == (7, "<compile><scriptlet><rpm><2>")


@pytest.mark.parametrize("tool,place,runs", [
    ("bootc", paths.BIN, False), ("rpm-ostree", "/usr/lib" + paths.BIN, False), ("bootc", paths.BIN, True),
    ("something-else", paths.BIN, False)])  # fmt: skip
def test_an_image_gets_links_in_the_places_of_the_pair(root, tool, place, runs):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put("/bin/" + tool, b"#!/bin/sh\n", 0o755)
    root.put(place + "/catcher.exe")
    root.put(paths.STAMP)
    if runs:
        os.makedirs(root.path("/run/systemd/system"))
    expected = not runs and tool != "something-else"
    assert root.run("csulcca_postinst", "rpm", "1") == (0, "")
    assert root.exists(paths.STAMP) != expected
    for name in ("catcher.key", "catcher.crt"):
        target = os.path.join(root.path(place), name)
        assert os.path.islink(target) == expected
        assert not expected or os.readlink(target) == root.path(paths.IMAGE_PAIR) + "/" + name


@pytest.mark.parametrize("sign", ["ostree-booted", "TRANSACTIONAL_UPDATE", ""])
def test_a_scriptlet_knows_the_image_that_is_built_around_it(root, sign):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put(paths.BIN + "/catcher.exe")
    if sign == "ostree-booted":
        root.put("/run/ostree-booted")
    elif sign:
        root.environment[sign] = "true"
    assert root.run("csulcca_postinst", "rpm", "1") == (0, "")
    assert image_links(root) == (["catcher.key", "catcher.crt"] if sign else [])


def tree(root):
    """{name: content or target of a link} of the directory of the pair."""
    top = root.path(paths.BIN)
    return {name: os.readlink(os.path.join(top, name)) if os.path.islink(os.path.join(top, name)) else
            root.get(paths.BIN + "/" + name) for name in os.listdir(top)}


@pytest.mark.parametrize("there,state", [
    ({"catcher.crt": b"theirs"}, pair.CERTIFICATE_ONLY), ({"catcher.key": b"theirs"}, pair.KEY_ONLY),
    ({"catcher.crt": "/srv/tls/catcher.crt"}, pair.CERTIFICATE_ONLY),
    ({"catcher.key": "/srv/tls/catcher.key"}, pair.KEY_ONLY),
    ({"catcher.key": "catcher.pem", "catcher.crt": b"theirs"}, pair.BOTH)])
def test_an_image_with_a_file_of_an_administrators_in_one_place_stays_as_it_is(root, there, state):
    """With a link beside that file, the first boot would make a key of ours for the administrator's certificate."""
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put("/bin/bootc", b"#!/bin/sh\n", 0o755)
    root.put(paths.CATCHER)
    for name, content in there.items():
        if isinstance(content, bytes):
            root.put(paths.BIN + "/" + name, content, 0o600)
        else:
            os.symlink(content, root.path(paths.BIN + "/" + name))
    before = tree(root)
    assert root.run("csulcca_postinst", "rpm", "1") == (0, "")
    assert tree(root) == before
    assert pair.look(Machine(root.base)).state == state


@pytest.mark.parametrize("name", pair.FILES)
def test_an_image_gets_the_second_link_if_its_build_was_killed_after_the_first(root, name):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put("/bin/bootc", b"#!/bin/sh\n", 0o755)
    root.put(paths.CATCHER)
    os.symlink(root.path(paths.IMAGE_PAIR) + "/" + name, root.path(paths.BIN + "/" + name))
    assert root.run("csulcca_postinst", "rpm", "1") == (0, "")
    assert image_links(root) == ["catcher.key", "catcher.crt"]


@pytest.mark.parametrize("phase,arguments", [("csulcca_postinst", ("rpm", "2")), ("csulcca_prerm", ("rpm", "1"))])
def test_bytecode_goes_from_every_folder(root, phase, arguments):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    for folder in ("hooks", "catcher_install", "catcher_install/cert", "catcher_install/a/folder/below"):
        root.put("/usr/lib/csulcca/%s/__pycache__/x.pyc" % folder)
    root.put("/usr/lib/csulcca/catcher_install/module.py")
    assert root.run(phase, *arguments) == (0, "")
    left = [name for _, folders, names in os.walk(root.path("/usr/lib/csulcca")) for name in folders + names]
    assert sorted(left) == ["a", "below", "catcher_install", "cert", "folder", "hooks", "module.py", "run"]


@pytest.mark.parametrize("arguments,stops", [(("deb", "remove"), True), (("rpm", "0"), True), (("rpm", "1"), False),
                                             (("deb", "upgrade", "8.1"), False), (("deb", "deconfigure"), False)])
def test_prerm_stops_the_service_where_the_package_goes(root, arguments, stops):
    root.put("/bin/systemctl", b'#!/bin/sh\necho "$@"\n', 0o755)
    os.makedirs(root.path("/run/systemd/system"))
    status, output = root.run("csulcca_prerm", *arguments)
    assert status == 0
    assert ("stop CSUTKEcat.service" in output) == stops


@pytest.mark.parametrize("arguments,runs", [(("deb", "remove"), True), (("rpm", "0"), True), (("rpm", "1"), False),
                                            (("deb", "upgrade", "8.1"), False), (("deb", "failed-upgrade"), False)])
@pytest.mark.parametrize("status", [0, 1, 127])
def test_prerm_has_our_library_do_its_part_where_the_package_goes(root, arguments, runs, status):
    """Whether the library succeeds or fails, the removal goes on, and no bytecode is left."""
    text = "#!/bin/sh\necho \"$@\"\nmkdir -p %s\nexit %d\n" % (root.path("/usr/lib/csulcca/hooks/__pycache__"), status)
    root.put("/usr/lib/csulcca/run", text.encode(), 0o755)
    assert root.run("csulcca_prerm", *arguments) == (0, "scriptlet-remove %s\n" % " ".join(arguments) if runs else "")
    assert not root.exists("/usr/lib/csulcca/hooks/__pycache__")


def test_prerm_where_our_library_is_gone(root):
    shutil.rmtree(root.path("/usr/lib/csulcca"))
    assert root.run("csulcca_prerm", "deb", "remove")[0] == 0


def test_an_installation_forgets_what_was_noted_for_a_purge(root):
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put(paths.PURGE, b"x \n")
    assert root.run("csulcca_postinst", "deb", "configure") == (0, "")
    assert not root.exists(paths.PURGE)


def test_prerm_where_systemd_does_not_run(root):
    assert root.run("csulcca_prerm", "rpm", "0") == (0, "")


def prerm_of_removal(root, state, call=("deb", "remove"), enabled=""):
    """Run prerm with a service in a state, and return whether it noted that the service ran. enabled: what is-enabled
    says of the service and of the timer."""
    os.makedirs(root.path("/run/systemd/system"), exist_ok=True)
    text = '#!/bin/sh\n[ "$1" != is-active ] || echo %s\n[ "$1" != is-enabled ] || echo %s\nexit 3\n'
    root.put("/bin/systemctl", (text % (state, enabled)).encode(), 0o755)
    assert root.run("csulcca_prerm", *call)[0] == 0
    return capture.ran_before_removal(Machine(root.base), time.time())


@pytest.mark.parametrize("state,ran", [("active", True), ("activating", True), ("reloading", True), ("inactive", False),
                                       ("failed", False), ("deactivating", False), ("unknown", None), ("", None)])
def test_prerm_notes_whether_the_service_runs(root, state, ran):
    """The note is for a removal that is cancelled. systemctl may be unable to answer."""
    assert prerm_of_removal(root, state) is ran


def test_prerm_stops_the_service_after_its_note(root):
    os.makedirs(root.path("/run/systemd/system"))
    root.put("/bin/systemctl", b'#!/bin/sh\n[ "$1" = is-active ] && echo active || cat %s\n' %
             root.path(paths.RAN).encode(), 0o755)
    assert root.run("csulcca_prerm", "deb", "remove") == (0, "yes\n")


UNITS = [paths.UNIT, "csulcca-check.timer"]


def noted_as_enabled(root):
    return root.get(paths.ENABLED).decode().split() if root.exists(paths.ENABLED) else []


@pytest.mark.parametrize("state,ran", [("active", True), ("inactive", False)])
@pytest.mark.parametrize("enabled,told", [("enabled", UNITS), ("disabled", []), ("enabled-runtime", []), ("", [])])
def test_preun_notes_what_rpms_macro_disables_next(root, state, ran, enabled, told):
    assert prerm_of_removal(root, state, ("rpm", "0"), enabled) is ran
    assert noted_as_enabled(root) == told
    # Killed, and again: the macro has disabled both.
    assert prerm_of_removal(root, "inactive", ("rpm", "0"), "disabled") is ran
    assert noted_as_enabled(root) == told
    # The same after a boot, which would have started what was enabled, and nothing else.
    os.unlink(root.path(paths.RAN))
    assert prerm_of_removal(root, "inactive", ("rpm", "0"), "disabled") is bool(told)
    assert noted_as_enabled(root) == told


@pytest.mark.parametrize("left", UNITS)
def test_preun_that_was_killed_between_the_units_has_noted_both(root, left):
    prerm_of_removal(root, "active", ("rpm", "0"), "enabled")
    prerm_of_removal(root, "inactive", ("rpm", "0"), "$([ $2 = %s ] && echo enabled || echo disabled)" % left)
    assert noted_as_enabled(root) == UNITS


@pytest.mark.parametrize("age", [-paths.NOTE_SECONDS - 60, paths.NOTE_SECONDS + 60])
def test_a_removal_of_another_day_tells_this_one_nothing(root, machine, age):
    """Since then the administrator has stopped and disabled the service."""
    prerm_of_removal(root, "active", ("rpm", "0"), "enabled")
    for path in (paths.RAN, paths.ENABLED):
        os.utime(root.path(path), (time.time() + age,) * 2)
    assert capture.ran_before_removal(Machine(root.base), time.time()) is None
    assert not capture.enabled_before_removal(Machine(root.base), time.time())
    assert prerm_of_removal(root, "inactive", ("rpm", "0"), "disabled") is False
    assert not capture.enabled_before_removal(Machine(root.base), time.time())


def test_preun_notes_what_is_enabled_where_systemd_does_not_run(root):
    """The macro disables units in a chroot and in an image, too."""
    root.put("/bin/systemctl", b"#!/bin/sh\necho enabled\n", 0o755)
    assert root.run("csulcca_prerm", "rpm", "0") == (0, "")
    assert noted_as_enabled(root) == UNITS and not root.exists(paths.RAN)
    assert capture.enabled_before_removal(Machine(root.base), time.time())


def test_a_note_on_a_disk_that_is_full_is_none_and_what_ran_is_noted(root):
    root.put(paths.STATE_DIR)
    assert prerm_of_removal(root, "active", ("rpm", "0"), "enabled") is True
    assert root.get(paths.STATE_DIR) == b""


def test_prerm_of_debian_disables_nothing_and_notes_nothing_of_that(root):
    prerm_of_removal(root, "active", enabled="enabled")
    assert root.get(paths.RAN) == b"yes\n" and not root.exists(paths.ENABLED)


def test_the_macro_disables_after_our_note():
    with open(os.path.join(TREE, "rpm/preun.in")) as stream:
        text = stream.read()
    assert text.index("csulcca_prerm rpm") < text.index("%systemd_preun")


@pytest.mark.parametrize("then,ran", [("inactive", True), ("unknown", True), ("active", True)])
def test_the_note_of_a_removal_that_was_killed_counts_until_the_service_runs_again(root, then, ran):
    assert prerm_of_removal(root, "active") is True
    assert prerm_of_removal(root, then) is ran


def test_a_service_that_was_started_after_a_removal_was_killed_is_seen(root):
    assert prerm_of_removal(root, "inactive") is False
    assert prerm_of_removal(root, "active") is True


def test_the_note_is_written_through_no_link(root):
    os.makedirs(root.path("/run"))
    os.symlink(root.path("/etc/cca/elsewhere"), root.path(paths.RAN))
    assert prerm_of_removal(root, "active") is True
    assert not root.exists("/etc/cca/elsewhere") and not os.path.islink(root.path(paths.RAN))


CONFIGURE, FAILED_UPGRADE = ("deb", "configure", "8.0.0-1"), ("deb", "abort-upgrade", "8.1.0-1")


@pytest.mark.parametrize("status", ["0", "1", "78", "kill -9 $$"])
@pytest.mark.parametrize("arguments", [("deb", "abort-remove"), CONFIGURE, FAILED_UPGRADE, ("rpm", "2"),
                                       ("deb", "triggered", "x")])
def test_postinst_leaves_the_note_to_our_library(root, arguments, status):
    """Only the library knows whether it got the lock, and whether the service was started."""
    prerm_of_removal(root, "active")
    text = "#!/bin/sh\n[ $1 != scriptlet ] || %s\n" % (status if status[0] == "k" else "exit " + status)
    root.put("/usr/lib/csulcca/run", text.encode(), 0o755)
    root.run("csulcca_postinst", *arguments)
    assert root.get(paths.RAN) == b"yes\n"


@pytest.mark.parametrize("arguments", [("deb", "abort-remove"), CONFIGURE, FAILED_UPGRADE, ("rpm", "2")])
def test_our_library_reads_what_prerm_has_noted(root, arguments):
    prerm_of_removal(root, "active")
    machine = Machine(root.base)
    machine.tls_possible(False)
    planned = plan.plan(facts.collect(machine), transition.from_scriptlet(arguments[0], arguments[1:]))
    kinds = [action.kind for action in planned.actions]
    assert {actions.START, actions.RESTART} & set(kinds) and kinds[-1] == actions.FORGET_REMOVAL


@pytest.mark.parametrize("arguments,stays", [
    (FAILED_UPGRADE, True), (("deb", "remove"), False), (("deb", "purge"), False), (("rpm", "0"), False),
    (("rpm", "1"), True), (("deb", "upgrade", "8.1"), True)])
def test_the_note_goes_with_the_package(root, arguments, stays):
    prerm_of_removal(root, "active", ("rpm", "0"), "enabled")
    assert root.run("csulcca_postrm", *arguments)[0] == 0
    assert (root.exists(paths.RAN), root.exists(paths.ENABLED)) == (stays, stays)


# What a shell starts for one of our scriptlets; what asks systemd is not run for it here.
SYSTEMS = ("systemctl", "journalctl", "systemd-run", "timeout")
COMMANDS = ("awk", "cat", "chmod", "cmp", "cp", "cut", "date", "find", "grep", "ln", "mkdir", "mv", "readlink", "rm",
            "rmdir", "sed", "sha256sum", "sync", "tr")  # fmt: skip


@pytest.mark.parametrize("arguments", [
    ("preinst", "deb", "install"), ("preinst", "deb", "upgrade", "7.3.0"), ("preinst", "deb", "abort-upgrade", "8.1"),
    ("postinst", "deb", "configure", "7.3.0"), ("postinst", "deb", "triggered", "/usr/bin/python3"),
    ("postinst", "deb", "abort-remove"), ("prerm", "deb", "remove"), ("prerm", "deb", "upgrade", "8.1"),
    ("prerm", "deb", "failed-upgrade", "8.0"), ("postrm", "deb", "remove"), ("postrm", "deb", "purge"),
    ("postrm", "deb", "upgrade", "7.3.0"), ("postrm", "deb", "abort-install"), ("postrm", "deb", "abort-upgrade"),
    ("taken_back", "deb", "abort-upgrade", "7.3.0"),
], ids=" ".join)
@pytest.mark.parametrize("booted", [True, False])
def test_no_command_that_fails_ends_a_scriptlet(root, arguments, booted):
    """Read-only, immutable, an error of the disk: what follows is still done, and the transaction goes on."""
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\necho run $1\n", 0o755)
    for place in ("hooks/__pycache__/x.pyc", "catcher_install/__pycache__/x.pyc"):
        root.put("/usr/lib/csulcca/" + place)
    root.put("/bin/bootc", b"#!/bin/sh\n", 0o755)
    root.put(paths.CATCHER)
    root.put(paths.STAMP)
    root.put(paths.CAPTURE)
    root.put(paths.PURGE, b"ab \n")
    os.symlink(root.path("/srv/elsewhere"), root.path("/opt/IBM/link"))
    if booted:
        os.makedirs(root.path("/run/systemd/system"))
    for name in SYSTEMS:
        root.put("/bin/" + name, b"#!/bin/sh\nexit 1\n", 0o755)
    phase = {"taken_back": "postrm"}.get(arguments[0], arguments[0])
    whole = root.run("csulcca_" + arguments[0], *arguments[1:], phase=phase)
    assert whole[0] == 0
    for name in COMMANDS:
        root.put("/bin/" + name, b"#!/bin/sh\nexit 1\n", 0o755)
        status, output = root.run("csulcca_" + arguments[0], *arguments[1:], phase=phase)
        os.unlink(root.path("/bin/" + name))
        root.put("/usr/lib/csulcca/run", b"#!/bin/sh\necho run $1\n", 0o755)
        assert (name, status) == (name, 0), output
        if arguments[0] in ("postinst", "prerm"):
            assert re.findall("^run .*", output, re.M) == re.findall("^run .*", whole[1], re.M), name


@pytest.mark.parametrize("arguments", [
    ("preinst", "install"), ("preinst", "upgrade", "7.3.0"), ("postinst", "configure"), ("prerm", "remove"),
    ("postrm", "remove"), ("postrm", "purge"), ("postrm", "upgrade", "7.3.0"), ("postrm", "abort-upgrade", "7.3.0")],
    ids=" ".join)
def test_a_script_for_another_root_leaves_this_system_alone(root, arguments):
    """dpkg --force-script-chrootless: what runs is the system of whoever builds an image. debhelper's part knows it."""
    if arguments[0] != "postrm":
        root.put("/usr/lib/csulcca/run", b"#!/bin/sh\necho run $1\n", 0o755)
    root.put("/run/systemd/system/x")
    root.put("/bin/systemctl", b"#!/bin/sh\necho systemctl $*\n", 0o755)
    root.put("/bin/deb-systemd-helper", b"#!/bin/sh\n", 0o755)
    root.put("/usr/lib/csulcca/__pycache__/x.pyc")
    root.put(paths.PURGE, b"ab \n")
    root.put(paths.CAPTURE, b"tree=yes\nunit=enabled\nactive=yes\n")
    root.environment["DPKG_ROOT"] = "/srv/image"
    before = tree_of(root)
    assert root.maintainer_script(arguments[0], "echo $DPKG_ROOT", *arguments[1:]) == (0, "/srv/image\n")
    assert tree_of(root) == before
    root.environment["DPKG_ROOT"] = ""
    _, output = root.maintainer_script(arguments[0], ":", *arguments[1:])
    assert tree_of(root) != before or "systemctl" in output


def test_a_file_that_cannot_be_opened_ends_no_scriptlet(root, monkeypatch):
    """The file is a socket here. An error of the disk has the same effect."""
    with socket.socket(socket.AF_UNIX) as made:
        # An address has 108 bytes at most.
        monkeypatch.chdir(root.path("/etc"))
        made.bind("group")
    assert root.run("csulcca_preinst", "deb", "install")[0] == 0
    assert root.exists(paths.CAPTURE)
