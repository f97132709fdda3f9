"""What setup.cfg says of the package, and its changes: debian/changelog is the one source for both families."""
from __future__ import annotations

import configparser
import email.utils
import re
import time
from pathlib import Path
from typing import NamedTuple

from tools.refusal import Refused


class Metadata(NamedTuple):
    """Name, version and release of the packages, the packages that they depend on and recommend, and the rpm's
    vendor."""

    name: str
    version: str
    release: str
    requires: list[str]
    recommends: list[str]
    vendor: str


class Change(NamedTuple):
    """One entry of debian/changelog; ``lines`` are its text without Debian's indentation."""

    version: str
    lines: list[str]
    maintainer: str
    seconds: int


def read_metadata(
    path: Path, version: str | None, payload_version: str | None = None, fix: str | None = None
) -> Metadata:
    """Metadata of setup.cfg. Its version is replaced by ``version`` if that is given, else by the payload's.

    The payload's version comes with its fix number: the release is then FIX.1, so that our package is newer than the
    vendor's package, and older than the vendor's next fix. Letters at the end of a version are kept and have no meaning
    here.
    """
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(path.read_text(encoding="utf-8"))
    requires = parser["csulcca"]["required_commands"].split()
    recommends = ["python3-" + name for name in parser["options"]["install_requires"].split()]
    release = parser["csulcca"]["release"]
    if version is None and payload_version is not None:
        version = payload_version
        release = "%s.%s" % (fix, release) if fix else release
        if not re.fullmatch(r"[0-9A-Za-z.+~]+", release):
            raise Refused("the payload's release %r is not one that both package managers understand" % fix,
                          "say the version: make packages PAYLOAD=... CCA_VERSION=%s" % version)
    version = version or parser["metadata"]["version"]
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)*[a-z]*([~+][0-9a-z.]+)?", version):
        raise Refused("%r is not a version that both package managers understand" % version,
                      "for example: make packages CCA_VERSION=8.2.54")
    if int(re.split(r"[^0-9]", version)[0]) < 8:
        raise Refused("version %s would make hosts take this package for CCA 7.x, which it upgrades" % version,
                      "for example: make packages CCA_VERSION=8.0.0")
    return Metadata(parser["metadata"]["name"], version, release, requires, recommends,
                    parser["csulcca"]["vendor"])


def read_changes(text: str) -> list[Change]:
    """The entries of a debian/changelog, newest first."""
    changes = []
    entry = re.compile(r"(?ms)^\S+ \((\S+)\) [^\n]*\n(.*?)^ -- ([^\n]*?>)  ([^\n]+)\n")
    for version, body, maintainer, date in entry.findall(text):
        lines = [line[2:] for line in body.strip("\n").splitlines()]
        changes.append(Change(version, lines, maintainer, int(email.utils.parsedate_to_datetime(date).timestamp())))
    if not changes:
        raise Refused("debian/changelog has no entry", "dch --newversion 8.0.0-1")
    return changes


def changes_for(metadata: Metadata, changes: list[Change], version_given: bool) -> list[Change]:
    """``changes`` with an entry for the version that is built on top.

    If the version was given for this one build, an entry is made for it, with the date of the newest entry, so that the
    packages stay reproducible. Otherwise the newest entry must be for the version of setup.cfg.
    """
    full = "%s-%s" % (metadata.version, metadata.release)
    if changes[0].version == full:
        return changes
    if not version_given:
        raise Refused("setup.cfg says version %s, the newest entry of debian/changelog %s" % (full, changes[0].version),
                      "dch --newversion %s   (or set the version in setup.cfg)" % full)
    return [changes[0]._replace(version=full, lines=["* Build of version %s." % metadata.version]), *changes]


def debian_changelog(name: str, changes: list[Change]) -> str:
    entries = []
    for change in changes:
        lines = ["%s (%s) unstable; urgency=medium" % (name, change.version), ""]
        lines += ["  " + line if line else "" for line in change.lines]
        lines += ["", " -- %s  %s" % (change.maintainer, email.utils.formatdate(change.seconds)), ""]
        entries.append("\n".join(lines))
    return "\n".join(entries)


def rpm_changelog(changes: list[Change]) -> str:
    entries = []
    for change in changes:
        date = time.strftime("%a %b %d %Y", time.gmtime(change.seconds))
        lines = ["* %s %s - %s" % (date, change.maintainer, change.version)]
        lines += [re.sub(r"^\* ", "- ", line).replace("%", "%%") for line in change.lines if line]
        entries.append("\n".join(lines))
    return "\n\n".join(entries)
