"""A root directory of its own for the shell functions of hooks/, and those functions moved into it.

The functions know absolute paths only. Here each path that they know is moved below a temporary directory before they
are run, by dash and bash; what they do on a whole system, with systemd and a package manager, is tested in containers.
"""

import os
import re
import subprocess

from catcher_install import paths
from install import scriptlet
from tests.unit.support import TREE

SHELLS = [shell for shell in ("/bin/dash", "/bin/bash") if os.path.exists(shell)]
REFERENCE = os.path.join(TREE, "payload/reference")
ABSOLUTE = re.compile(r"(?<![A-Za-z0-9_./$}*-])/(?=(?:etc|opt|usr|var|run|lib|proc|srv|sys)\b)")


class Root:
    """A root directory, and the shell functions moved into it."""

    def __init__(self, base, shell):
        self.base = str(base)
        self.shell = shell
        self.kind = "reference"
        self.environment = {}
        self.groups = ""
        for directory in ("opt/IBM/CCA/bin", "etc/cca", "var/lib", "usr/lib/csulcca/catcher_install", "bin"):
            os.makedirs(os.path.join(self.base, directory))

    def path(self, path):
        return self.base + path

    def put(self, path, data=b"", mode=0o644):
        real = self.path(path)
        os.makedirs(os.path.dirname(real), exist_ok=True)
        with open(real, "wb") as stream:
            stream.write(data)
        os.chmod(real, mode)

    def get(self, path):
        with open(self.path(path), "rb") as stream:
            return stream.read()

    def exists(self, path):
        return os.path.lexists(self.path(path))

    def run(self, function, *arguments, **place):
        """(exit status, output) of a function of the file that is named after it; or of the file phase="NAME"."""
        text = self._hook(place.get("phase", function[len("csulcca_"):]))
        return self._run("set -eu\n%s\n%s \"$@\"\n" % (text, function), function, arguments)

    def maintainer_script(self, phase, debhelper, *arguments):
        """(exit status, output) of a whole script of dpkg's, with that text in place of debhelper's part."""
        with open(os.path.join(TREE, "debian", "csulcca.%s.in" % phase), encoding="utf-8") as stream:
            text = stream.read()
        text = text.replace("@HOOK@\n", self._hook(phase)).replace("#DEBHELPER#\n", debhelper + "\n")
        text = text.replace("@ATTRIBUTES@", "echo attributes")
        return self._run(text, phase, arguments)

    def _hook(self, phase):
        text = scriptlet.hook_text(os.path.join(TREE, "hooks", phase + ".sh"))
        known = dict(scriptlet.names(REFERENCE), PAYLOAD_KIND=self.kind, PAYLOAD_GROUPS=self.groups)
        return ABSOLUTE.sub(lambda found: self.base + "/", scriptlet.filled(text, known))

    def _run(self, script, name, arguments):
        child = subprocess.Popen([self.shell, "-c", script, name] + list(arguments), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
                                 env=dict(self.environment, PATH=self.path("/bin") + ":/usr/bin:/bin"))
        output = child.communicate()[0].decode("utf-8", "replace")
        return child.returncode, output


def image_links(root):
    return [name for name in ("catcher.key", "catcher.crt") if os.path.islink(root.path(paths.BIN) + "/" + name)]
