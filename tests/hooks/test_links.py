"""hooks/links.sh: directories that an administrator has turned into links."""

import os

import pytest

from catcher_install import paths


def make_link(root, path, target):
    """The administrator has moved a directory."""
    os.makedirs(root.path("/srv"), exist_ok=True)
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
    """Also where something has made an empty directory of its name since."""
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


def test_a_note_of_links_that_are_gone_by_now_is_kept(root):
    """The package manager was killed, and begins anew."""
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


def test_no_link_no_note(root):
    root.run("csulcca_preinst", "deb", "install")
    assert not root.exists(paths.LINKS) and not root.exists(paths.LINKS + ".new")
