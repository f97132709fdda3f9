"""Where each family's package has the files of a payload, and the tree of files for its build."""
from __future__ import annotations

import re
import shutil
from pathlib import Path

from tools.payload import Entries, Entry
from tools.refusal import Refused


def in_family(entries: Entries, family: str) -> Entries:
    """``entries`` with the libraries in the directory in which the family's dynamic linker looks: /usr/lib64 with rpm,
    /usr/lib with deb.

    The aliases /lib and /lib64 of a merged /usr are resolved. Links to moved files are changed accordingly.
    """

    def moved(path: str) -> str:
        path = re.sub(r"^(lib|lib64)(?=/|$)", r"usr/\1", path)
        wanted = "usr/lib64" if family == "rpm" else "usr/lib"
        return re.sub(r"^usr/lib(64)?(?=/[^/]*\.so(\.[^/]*)?$)", wanted, path)

    found: Entries = {}
    for path, entry in entries.items():
        if entry.kind == "l" and entry.target.startswith("/"):
            entry = entry._replace(target="/" + moved(entry.target.lstrip("/")))
        if moved(path) in found and entry.kind != "d":
            raise Refused("the payload has /%s twice, once by the name /%s" % (moved(path), path),
                          "both become the same file of the package: leave only one of them in the payload")
        found[moved(path)] = entry
    # A directory that is empty now.
    for directory in ("usr/lib", "usr/lib64"):
        if directory in found and not any(path.startswith(directory + "/") for path in found):
            del found[directory]
        elif any(path.startswith(directory + "/") for path in found):
            found.setdefault(directory, Entry("d", 0o755))
    return dict(sorted(found.items()))


def lay_out(entries: Entries, root: Path) -> None:
    """Write ``entries`` below ``root``, readable for the build. The file ROOT.attributes beside it lists unusual
    attributes.

    Its lines are: MODE GROUP CAPABILITIES PATH, with "-" for no capabilities.
    """
    root.mkdir(parents=True)
    attributes = []
    for path, entry in entries.items():
        copy = root / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        if entry.kind == "l":
            copy.symlink_to(entry.target)
            continue
        if entry.kind == "d":
            copy.mkdir(exist_ok=True)
        else:
            assert entry.content is not None
            shutil.copyfile(entry.content, copy)
            copy.chmod(0o755 if entry.mode & 0o111 else 0o644)
        if not entry.is_usual:
            attributes.append("%04o %s %s /%s\n" % (entry.mode, entry.group, entry.capabilities or "-", path))
    root.with_name(root.name + ".attributes").write_text("".join(attributes), encoding="ascii")
