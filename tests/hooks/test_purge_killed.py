"""A purge that is killed at any command: purged again, nothing of ours is left; installed again, no half pair."""

import errno
import os
import shutil

import pytest

from catcher_install import apply, pair, paths, stamp, transition
from tests.unit.support import Machine, make_stamp

from .test_postrm import CRT, KEPT, KEY, before_removal, in_bin, put_pair


def killing(root, number, links=True):
    """Have the shell killed instead of its number-th command that changes something, counted over all of them.

    links: whether the file system has hard links.
    """
    for command in ("ln", "rm", "mv", "mkdir", "rmdir"):
        if command == "ln" and not links:
            root.put("/bin/ln", b"#!/bin/sh\nexit 1\n", 0o755)
            continue
        text = """#!/bin/sh
echo >>%s
[ "$(wc -l <%s)" != %d ] || { kill -9 $PPID; exit 1; }
exec %s "$@"
""" % (root.path("/count"), root.path("/count"), number, shutil.which(command))
        root.put("/bin/" + command, text.encode(), 0o755)
    root.put("/count")


def number_of_commands(root):
    return len(root.get("/count").splitlines())


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("after", ["purge", "installation"])
def test_a_purge_that_is_killed_anywhere(root, after, links):
    """Purged again, nothing is left of ours; installed again, a whole pair is there or none."""
    def begin():
        put_pair(root, "", (KEY, CRT))
        put_pair(root, KEPT, (b"our earlier key", b"our earlier certificate"))
        root.put(paths.STAMP, stamp.render(make_stamp(
            generated_pair=pair.fingerprint(KEY, CRT),
            made_earlier=[pair.fingerprint(b"our earlier key", b"our earlier certificate")])))
        before_removal(root)

    begin()
    killing(root, 0, links)
    root.run("csulcca_postrm", "deb", "purge")
    count = number_of_commands(root)
    assert count > 10 and in_bin(root) == {}
    for number in range(1, count + 1):
        shutil.rmtree(root.path(paths.BIN), ignore_errors=True)
        begin()
        killing(root, number, links)
        root.run("csulcca_postrm", "deb", "purge")
        if after == "purge":
            killing(root, 0, links)
            assert root.run("csulcca_postrm", "deb", "purge") == (0, "")
            left = {name: data for name, data in in_bin(root).items() if name != "catcher.crt" + KEPT}
        else:
            os.makedirs(root.path(paths.BIN), exist_ok=True)
            machine = Machine(root.base)
            machine.programs[paths.OPENSSL] = FileNotFoundError(errno.ENOENT, "No such file or directory")
            apply.converge(machine, transition.of(transition.APPLY))
            left = {name: data for name, data in in_bin(root).items() if KEPT not in name}
            if left:
                assert left == {"catcher.key": KEY, "catcher.crt": CRT}, number
                left = {}
        assert left == {}, number
