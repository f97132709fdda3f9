#!/usr/bin/env python3
"""Usage: scriptlet.py deb|rpm TEMPLATE HOOK PAYLOAD

Prints a maintainer script: the file TEMPLATE, in which the line @HOOK@ is replaced by the texts of notes.sh and
links.sh beside HOOK, and of HOOK. Both families share these files. @NAME@ is replaced by a constant of
catcher_install/paths.py (several values with blanks between them), or by what names() finds out about PAYLOAD. Runs in
the source tree, with Python 3.6 or newer, because a build root may have an old one.
"""

import os
import re
import sys

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, TREE)

from catcher_install import paths  # noqa: E402

NAME = re.compile("@([A-Z_]+)@")
# Files in hooks/ of which each script has the text.
SHARED = ("notes.sh", "links.sh")


def names(payload):
    """{NAME: text}.

    PAYLOAD_KIND: "vendor" if the payload has CCA's host library, else "reference". PAYLOAD_GROUPS: CCA's groups if it
    has that, or files of one of them, else none. ATTRIBUTES: calls for what a .deb has no place for, of the lines of
    PAYLOAD.attributes (tools/payload_layout.py).
    """
    found = {name: " ".join(value) if isinstance(value, tuple) else str(value)
             for name, value in vars(paths).items() if NAME.match("@%s@" % name)}
    library = any(name.startswith("libcsulcca.so") for _, _, names in os.walk(payload) for name in names)
    attributes = []
    if os.path.exists(payload + ".attributes"):
        with open(payload + ".attributes", encoding="ascii") as stream:
            attributes = stream.read().splitlines()
    groups = library or any(line.split(" ")[1] != "root" for line in attributes)
    found["PAYLOAD_KIND"] = "vendor" if library else "reference"
    found["PAYLOAD_GROUPS"] = found["LEGACY_GROUPS"] if groups else ""
    found["ATTRIBUTES"] = "\n        ".join("csulcca_attributes " + line for line in attributes) or ":"
    return found


def filled(text, known):
    """A text with its @NAME@s filled in. Raises SystemExit for one that is not *known*."""
    unknown = sorted(set(NAME.findall(text)) - set(known))
    if unknown:
        sys.exit("no such name: %s" % ", ".join(unknown))
    return NAME.sub(lambda found: known[found.group(1)], text)


def assembled(family, template, hook, known):
    """A maintainer script, of the texts of its two files. rpm expands macros in its scriptlets: % is doubled there."""
    hook = filled(hook, known).rstrip("\n")
    if family == "rpm":
        hook = hook.replace("%", "%%")
    return filled(template, dict(known, HOOK=hook))


def hook_text(path):
    """The text of a hook, after the functions that all of them share."""
    text = ""
    for one in [os.path.join(os.path.dirname(path), name) for name in SHARED] + [path]:
        with open(one, encoding="utf-8") as stream:
            text += stream.read()
    return text


def main(arguments):
    """The command line; see the module's docstring."""
    if len(arguments) != 4 or arguments[0] not in ("deb", "rpm"):
        sys.exit(__doc__)
    with open(arguments[1], encoding="utf-8") as stream:
        template = stream.read()
    sys.stdout.write(assembled(arguments[0], template, hook_text(arguments[2]), names(arguments[3])))


if __name__ == "__main__":
    main(sys.argv[1:])
