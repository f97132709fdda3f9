"""The only list of the files that removal and purge may leave, and of the files that change on any system.

    before = whole_tree(system)
    ...
    assert left_over(before, whole_tree(system), "purge", "deb") == {}
"""

import fnmatch
from collections.abc import Iterable

from .system import CERTIFICATE, CONF, KEY, STAMP, System

MODE_KEPT = "the mode, which the next installation uses"
PAIR_KEPT = "the key and certificate, which a TKE trusts"
# By verb of COMMANDS and family: path and why. rpm has no purge.
REMOVED = {
    CONF: MODE_KEPT,
    "/etc/cca": MODE_KEPT,
    KEY: PAIR_KEPT,
    CERTIFICATE: PAIR_KEPT,
    **dict.fromkeys(("/opt/IBM", "/opt/IBM/CCA", "/opt/IBM/CCA/bin"), PAIR_KEPT),
    STAMP: "proves that the pair is ours, so that purge may remove it",
    "/var/lib/csulcca": "has the stamp",
}
# dpkg too leaves conffiles to purge, and debhelper what it knows of a unit.
REMOVED_DEB = {
    **dict.fromkeys(("/etc/ufw", "/etc/ufw/applications.d", "/etc/ufw/applications.d/csulcca"), "a conffile"),
    "/var/lib/csulcca/purge": "says what of that purge may remove",
    "/etc/systemd/system/multi-user.target.wants/CSUTKEcat.service": "a service that was enabled comes back enabled",
    "/etc/systemd/system/timers.target.wants/csulcca-check.timer": "a timer that was enabled comes back enabled",
    "/var/lib/systemd/deb-systemd-helper-enabled/*": "deb-systemd-helper's note of it",
    "/var/lib/dpkg/info/csulcca.*": "dpkg's own, for what purge has to do",
}
PURGED = {CONF: MODE_KEPT, "/etc/cca": MODE_KEPT}
KEPT = {
    ("remove", "deb"): {**REMOVED, **REMOVED_DEB},
    ("purge", "deb"): PURGED,
    ("remove", "rpm"): REMOVED,
    ("purge", "rpm"): REMOVED,
}
# If CCA 7.3 was there before, also what its own removal leaves.
LEFT_BY_7_3 = {
    "/run/CSUTKEcat.pid": "its daemon's, which ours ended",
    "/etc/group*": "its groups, which may own key storage",
    "/etc/gshadow*": "its groups",
    **dict.fromkeys(("/etc/rc.d", "/etc/rc.d/rc?.d"), "directories of its rpm's links, which it does not own"),
    "/etc/rc?.d/K??CSUTKEcat": "update-rc.d's, when 7.3's prerm disables the service",
    "/etc/profile.d/csulcca.sh": "its conffile, which dpkg leaves to purge",
}
# Files of the tests themselves.
PACKAGES = "/root/*"
# Files that change on every system, also without this package. None of them has a name of ours.
OUR_NAMES = ("csulcca", "csutke", "catcher")
NOT_OURS = (
    "/var/lib/dpkg/*", "/var/lib/rpm/*", "/var/lib/dnf/*", "/var/lib/apt/*", "/var/lib/zypp/*", "/usr/lib/sysimage/*",
    "/var/lib/zypp", "/var/adm", "/var/adm/update-scripts",
    "/var/log/*", "/var/cache/*", "/etc/ld.so.cache", "/etc/machine-id", "/etc/.updated", "/var/.updated",
    "/var/lib/systemd/*", "/var/lib/private*", "/var/tmp/systemd-private-*", "/etc/.pwd.lock", "/run/*", "/tmp/*",
    # No package owns it, so dpkg removes it with the last one that has a file below it.
    "/opt",
    # Directories that every rpm distribution has and the look-alike lacks.
    "/usr/share/licenses", "/var/lib/rpm-state", "/usr/lib64", "/usr/lib/systemd/system",
)  # fmt: skip


def whole_tree(system: System) -> dict[str, str]:
    """Every path of the root file system, of /run and of /tmp: type, mode, owner, link target, of files size and time.

    The time shows that a file was written again, because no test sets a time back.
    """
    found = system.machine.run(
        ["find", "/", "/run", "/tmp", "-xdev", "-not", "-path", "*/__pycache__*",
         "(", "-type", "f", "-printf", "%p\\t%y %m %U:%G %s %T@\\n", "-o", "-printf", "%p\\t%y %m %U:%G %l\\n", ")"],
        check=False).out  # fmt: skip
    return dict(line.split("\t", 1) for line in found.splitlines())


def left_over(before: dict[str, str], after: dict[str, str], verb: str, family: str, *,
              was_7_3: bool = False) -> dict[str, str]:  # fmt: skip
    """What is not as it was before and should be: path and how it is now ("gone" where it is no more).

    verb: of COMMANDS. was_7_3: CCA 7.3 was installed in between.
    """
    kept = {**KEPT[verb, family], **(LEFT_BY_7_3 if was_7_3 else {})}
    changed = {path: after.get(path, "gone") for path in before.keys() | after.keys()
               if before.get(path) != after.get(path)}  # fmt: skip
    return {path: how for path, how in sorted(changed.items()) if not may_change(path, [PACKAGES, *kept])}


def may_change(path: str, kept: Iterable[str]) -> bool:
    """Whether the path matches a pattern, or changes on any system without us. No path with our name does."""
    ours = any(name in path.lower() for name in OUR_NAMES)
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in (*kept, *(() if ours else NOT_OURS)))


def missing(after: dict[str, str], verb: str, family: str) -> list[str]:
    """Return what the list says must still exist, and does not. Patterns are ignored."""
    return [path for path in KEPT[verb, family] if "*" not in path and path not in after]
