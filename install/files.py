#!/usr/bin/env python3
"""Usage: files.py copy DESTDIR [NAME=VALUE...] | files.py list [NAME=VALUE...]

copy: puts the files of files.table below DESTDIR. list: prints an rpm's %files lines for the same. NAME=VALUE fills
$(NAME) in the table. Runs in the source tree, with Python 3.6 or newer, because a build root may have an old one.
"""

import glob
import os
import shutil
import sys

TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "files.table")
FILES = ("0644", "0755", "conf")
KINDS = FILES + ("link", "dir", "tree")
# Pages for people who work on the project. They are not installed.
NOT_INSTALLED = ("docs/measurements.md", "docs/release.md")
# debhelper and rpm compress manual pages, so %files needs a pattern.
COMPRESSED = "/man/"


def rows(names):
    """(kind, destination, source) of each line of the table, $(NAME) filled in from *names*. Raises SystemExit."""
    found = []
    with open(TABLE, encoding="utf-8") as stream:
        for number, line in enumerate(stream, 1):
            words = line.split("#", 1)[0].split()
            if not words:
                continue
            if len(words) != 3 or words[0] not in KINDS:
                sys.exit("%s, line %d: not KIND DESTINATION SOURCE" % (TABLE, number))
            for name, value in names.items():
                words = [word.replace("$(%s)" % name, value) for word in words]
            if "$" in "".join(words):
                sys.exit("%s, line %d: a name that is not given" % (TABLE, number))
            found.append(tuple(words))
    return found


def copies(destination, source):
    """(source file, destination file) of a line of files."""
    if not destination.endswith("/"):
        return [(source, destination)]
    top = source.split("**/")[0]
    found = sorted(glob.glob(source, recursive=True))
    return [(one, destination + (os.path.relpath(one, top) if "**/" in source else os.path.basename(one)))
            for one in found if one not in NOT_INSTALLED]


def copy(target, names):
    """Put everything below the directory *target*, with the table's modes, whatever umask and checkout have."""
    os.umask(0o022)
    for kind, destination, source in rows(names):
        if kind in ("dir", "tree"):
            os.makedirs(target + destination, exist_ok=True)
        elif kind == "link":
            os.makedirs(os.path.dirname(target + destination), exist_ok=True)
            if not os.path.lexists(target + destination):
                os.symlink(source, target + destination)
        else:
            for one, there in copies(destination, source):
                os.makedirs(os.path.dirname(target + there), exist_ok=True)
                shutil.copyfile(one, target + there)
                os.chmod(target + there, 0o755 if kind == "0755" else 0o644)


def listed(names):
    """The lines of %files."""
    lines, trees = [], []
    for kind, destination, source in rows(names):
        if kind == "tree":
            trees.append(destination + "/")
            lines.append(destination)
        elif kind in ("dir", "link"):
            lines.append("%dir " * (kind == "dir") + destination)
        elif not destination.startswith(tuple(trees)):
            for _, there in copies(destination, source):
                lines.append("%config(noreplace) " * (kind == "conf") + there + "*" * (COMPRESSED in there))
    return lines


def main(arguments):
    """The command line; see the module's docstring."""
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if verb == "copy" and rest:
        copy(rest[0].rstrip("/"), dict(one.split("=", 1) for one in rest[1:]))
    elif verb == "list":
        print("\n".join(listed(dict(one.split("=", 1) for one in rest))))
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
