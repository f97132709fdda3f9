"""The test of the tests of this directory."""

import os
import re

from install import scriptlet
from tests.unit.support import TREE

from .moved_root import ABSOLUTE, REFERENCE, SHELLS


def test_there_is_a_posix_shell_that_is_not_bash():
    assert "/bin/dash" in SHELLS or os.path.basename(os.path.realpath("/bin/sh")) == "bash"


def test_every_path_is_moved():
    """No path of the machine is left in the functions that the tests run."""
    for name in ("preinst", "postinst", "prerm", "postrm", "links"):
        with open(os.path.join(TREE, "hooks", name + ".sh")) as stream:
            text = "\n".join(line for line in stream.read().splitlines() if not line.lstrip().startswith("#"))
        text = scriptlet.filled(text, scriptlet.names(REFERENCE))
        moved = ABSOLUTE.sub("@", text)
        left = re.findall(r"(?<![A-Za-z0-9_@.$}*/-])/(?:etc|opt|usr|var|run|lib)/\S*", moved)
        assert left == []
