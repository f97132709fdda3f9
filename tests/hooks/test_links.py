"""hooks/links.sh: directories that an administrator has turned into links."""

import os
import pathlib
import re
import time

import pytest

from catcher_install import paths
from tests.fixtures import cca73


def make_link(root, path, target):
    """The administrator has moved a directory."""
    os.makedirs(root.path("/srv"), exist_ok=True)
    os.makedirs(root.path(path), exist_ok=True)
    os.rename(root.path(path), root.path(target))
    os.symlink(root.path(target), root.path(path))


@pytest.mark.parametrize("path", paths.MAY_BE_LINKS)
@pytest.mark.parametrize("note,restore", [
    (("csulcca_prerm", "deb", "remove"), ("csulcca_postrm", "deb", "remove")),
    (("csulcca_prerm", "deb", "remove"), ("csulcca_postrm", "deb", "purge")),
    (("csulcca_prerm", "rpm", "0"), ("csulcca_postrm", "rpm", "0")),
    (("csulcca_preinst", "rpm", "2"), ("csulcca_postinst", "rpm", "2")),
    (("csulcca_preinst", "deb", "upgrade", "7.3"), ("csulcca_postinst", "deb", "configure", "7.3")),
])
@pytest.mark.parametrize("left", ["nothing", "an empty directory"])
def test_a_link_that_the_package_manager_has_removed_comes_back(root, path, note, restore, left):
    """Also if an empty directory with the name of the link was made since then."""
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put(paths.CONF, b"TLS_OFF\n")
    make_link(root, path, "/srv/moved")
    assert root.run(*note) == (0, "")
    os.unlink(root.path(path))
    if left == "an empty directory":
        os.mkdir(root.path(path))
    assert root.run(*restore) == (0, "")
    assert os.readlink(root.path(path)) == root.path("/srv/moved") and os.path.isdir(root.path("/srv/moved"))
    assert root.get(paths.CONF) == b"TLS_OFF\n"
    assert not root.exists(paths.LINKS)


@pytest.mark.parametrize("path", paths.MAY_BE_LINKS)
def test_a_link_comes_back_after_each_old_package(root, path):
    """A killed upgrade leaves two old packages in rpm's database, and the last one of the three may be the owner."""
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    make_link(root, path, "/srv/moved")
    assert root.run("csulcca_preinst", "rpm", "3") == (0, "")
    for _ in range(2):
        os.unlink(root.path(path))
        assert root.run("csulcca_after_old_package", phase="postrm") == (0, "")
        assert os.readlink(root.path(path)) == root.path("/srv/moved")


def test_a_note_of_links_that_are_gone_by_now_is_kept(root):
    """The package manager was killed, and starts again."""
    make_link(root, paths.BIN, "/srv/moved")
    root.run("csulcca_prerm", "deb", "remove")
    os.unlink(root.path(paths.BIN))
    root.run("csulcca_prerm", "deb", "remove")
    root.run("csulcca_postrm", "deb", "remove")
    assert os.readlink(root.path(paths.BIN)) == root.path("/srv/moved")


def test_what_somebody_has_put_in_the_place_of_a_link_stays(root):
    make_link(root, paths.CONF_DIR, "/srv/moved")
    root.run("csulcca_prerm", "rpm", "0")
    os.unlink(root.path(paths.CONF_DIR))
    root.put(paths.CONF, b"TLS_ON\n")
    root.run("csulcca_postrm", "rpm", "0")
    assert not os.path.islink(root.path(paths.CONF_DIR)) and root.get(paths.CONF) == b"TLS_ON\n"


def test_each_directory_of_7_3_and_each_of_ours_may_be_a_link():
    of_7_3 = {path for family in ("deb", "rpm") for path, content, _ in cca73.contents(family, "normal", "x86_64")
              if content is None}  # fmt: skip
    table = (pathlib.Path(__file__).resolve().parents[2] / "install/files.table").read_text()
    ours = {str(parent) for path in re.findall(r"(?m)^\S+ +(/opt/\S+)", table) for parent in pathlib.Path(path).parents}
    in_opt = {path for path in of_7_3 | ours if (path + "/").startswith("/opt/")}
    assert len(in_opt) > 6
    assert in_opt <= set(paths.MAY_BE_LINKS)


def test_without_a_link_there_is_no_note(root):
    root.run("csulcca_preinst", "deb", "install")
    assert not root.exists(paths.LINKS) and not root.exists(paths.LINKS + ".new")


DAY = paths.NOTE_SECONDS
REMOVE = (("csulcca_prerm", "deb", "remove"), ("csulcca_postrm", "deb", "remove"))
ERASE = (("csulcca_prerm", "rpm", "0"), ("csulcca_postrm", "rpm", "0"))
UPGRADE = (("csulcca_preinst", "rpm", "2"), ("csulcca_postinst", "rpm", "2"))
CONFIGURE = ("csulcca_postinst", "deb", "configure", "8.0.0-1")


def killed(root, path, note):
    """An operation has noted that a directory is a link, and was then killed or cancelled."""
    root.put("/usr/lib/csulcca/run", b"#!/bin/sh\n", 0o755)
    root.put(paths.CONF, b"TLS_OFF\n")
    make_link(root, path, "/srv/moved")
    assert root.run(*note) == (0, "")
    assert root.exists(paths.LINKS)


def links(root):
    return {path: os.readlink(root.path(path)) for path in paths.MAY_BE_LINKS if os.path.islink(root.path(path))}


@pytest.mark.parametrize("path", [paths.CONF_DIR, paths.BIN])
@pytest.mark.parametrize("age", [-DAY - 60, DAY + 60])
@pytest.mark.parametrize("note,then", [(REMOVE[0], ERASE), (UPGRADE[0], REMOVE), (ERASE[0], UPGRADE),
                                       (REMOVE[0], [CONFIGURE])])
def test_a_note_of_another_day_is_not_believed(root, path, age, note, then):
    """Since then the administrator may have removed the link, or the clock was wrong."""
    killed(root, path, note)
    when = time.time() + age
    os.utime(root.path(paths.LINKS), (when, when))
    os.unlink(root.path(path))
    for call in then:
        assert root.run(*call) == (0, "")
    assert links(root) == {} and not root.exists(paths.LINKS)


@pytest.mark.parametrize("age", [60 - DAY, 0, DAY - 60])
@pytest.mark.parametrize("then", [REMOVE, ERASE, UPGRADE, [CONFIGURE]])
def test_a_note_of_this_day_is_believed(root, age, then):
    killed(root, paths.IBM_DIR, UPGRADE[0])
    when = time.time() + age
    os.utime(root.path(paths.LINKS), (when, when))
    os.unlink(root.path(paths.IBM_DIR))
    for call in then:
        assert root.run(*call) == (0, "")
    assert links(root) == {paths.IBM_DIR: root.path("/srv/moved")}


@pytest.mark.parametrize("first", [REMOVE, ERASE, UPGRADE])
@pytest.mark.parametrize("then", [REMOVE, ERASE, UPGRADE])
def test_what_is_a_link_now_counts_for_more_than_a_note(root, first, then):
    """Since then the administrator has moved one directory to another place, and has moved a second directory."""
    killed(root, paths.CONF_DIR, first[0])
    os.unlink(root.path(paths.CONF_DIR))
    os.rename(root.path("/srv/moved"), root.path("/srv/other"))
    os.symlink(root.path("/srv/other"), root.path(paths.CONF_DIR))
    make_link(root, paths.BIN, "/srv/bin")
    wanted = links(root)
    assert root.run(*then[0]) == (0, "")
    for path in wanted:
        os.unlink(root.path(path))
    assert root.run(*then[1]) == (0, "")
    assert links(root) == wanted == {
        paths.CONF_DIR: root.path("/srv/other"), paths.BIN: root.path("/srv/bin")}


@pytest.mark.parametrize("first", [REMOVE, ERASE, UPGRADE])
def test_a_directory_in_the_place_of_a_link_counts_for_more_than_a_note(root, first):
    """Also if the next removal leaves the directory empty."""
    killed(root, paths.BIN, first[0])
    os.unlink(root.path(paths.BIN))
    root.put(paths.KEY, b"another key\n")
    assert root.run(*REMOVE[0]) == (0, "")
    os.unlink(root.path(paths.KEY))
    assert root.run(*REMOVE[1]) == (0, "")
    assert links(root) == {} and not root.exists(paths.LINKS)


@pytest.mark.parametrize("first", [REMOVE, ERASE, UPGRADE])
@pytest.mark.parametrize("left", ["nothing", "an empty directory"])
def test_a_link_that_a_killed_attempt_has_lost_is_there_before_files_come(root, first, left):
    """Otherwise the files would be in a new directory, and the link could not come back."""
    killed(root, paths.IBM_DIR, first[0])
    os.unlink(root.path(paths.IBM_DIR))
    if left == "an empty directory":
        os.mkdir(root.path(paths.IBM_DIR))
    for call in (("csulcca_preinst", "deb", "install", "8.0.0-1"), ("csulcca_preinst", "rpm", "2")):
        assert root.run(*call) == (0, "")
        assert links(root) == {paths.IBM_DIR: root.path("/srv/moved")}


@pytest.mark.parametrize("call", [("deb", "abort-install"), ("deb", "abort-install", "8.0.0-1", "8.0.0-2"),
                                  ("deb", "abort-upgrade", "7.3.0-1", "8.0.0-1")])
def test_a_note_goes_with_an_installation_that_dpkg_has_taken_back(root, call):
    killed(root, paths.IBM_DIR, ("csulcca_preinst", "deb", "install"))
    assert root.run("csulcca_postrm", *call) == (0, "")
    assert links(root) == {paths.IBM_DIR: root.path("/srv/moved")} and not root.exists(paths.LINKS)


@pytest.mark.parametrize("then", [REMOVE, UPGRADE])
def test_a_link_that_cannot_come_back_now_does_so_later(root, then):
    """The file system is read-only or full."""
    killed(root, paths.CONF_DIR, REMOVE[0])
    os.unlink(root.path(paths.CONF_DIR))
    root.put("/bin/ln", b"#!/bin/sh\nexit 1\n", 0o755)
    assert root.run(*REMOVE[1]) == (0, "")
    assert root.run(*then[0]) == (0, "")
    assert links(root) == {} and root.exists(paths.LINKS)
    os.unlink(root.path("/bin/ln"))
    assert root.run(*then[1]) == (0, "")
    assert links(root) == {paths.CONF_DIR: root.path("/srv/moved")} and not root.exists(paths.LINKS)


@pytest.mark.parametrize("note", [paths.LINKS, paths.ENABLED, paths.NEW_TIMER])
def test_a_note_for_which_there_is_no_room_leaves_nothing(root, note):
    """A limit of 0 bytes for files has the effect of a full disk: the file is made and stays empty."""
    root.put("/bin/full", b"#!/bin/sh\nulimit -f 0\ntrap '' XFSZ\nexec %s \"$@\"\n" % root.shell.encode(), 0o755)
    root.shell = root.path("/bin/full")
    root.run("csulcca_put_note", root.path(note), "a line\n", phase="prerm")
    assert not root.exists(note) and not root.exists(note + ".new")


@pytest.mark.parametrize("tool", ["date", "stat"])
def test_a_note_whose_age_nobody_can_tell_is_believed(root, tool):
    """The host can hardly start a program."""
    killed(root, paths.CONF_DIR, REMOVE[0])
    os.unlink(root.path(paths.CONF_DIR))
    root.put("/bin/" + tool, b"#!/bin/sh\nexit 1\n", 0o755)
    assert root.run(*REMOVE[1]) == (0, "")
    assert links(root) == {paths.CONF_DIR: root.path("/srv/moved")}


def test_only_what_may_be_a_link_becomes_one(root):
    """The target of a link has several lines, and one of them looks like a line of the note."""
    lines = ("%s /srv/moved" % root.path(paths.BIN), "%s /srv/moved" % root.path("/etc/else"), "",
             root.path(paths.CONF_DIR))
    root.put(paths.LINKS, "".join(line + "\n" for line in lines).encode())
    for path in (paths.BIN, paths.CONF_DIR):
        os.rmdir(root.path(path))
    assert root.run(*REMOVE[1]) == (0, "")
    assert links(root) == {paths.BIN: "/srv/moved"}
    assert not root.exists("/etc/else")
