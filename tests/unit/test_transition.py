"""Scriptlet arguments: every documented call, and calls that are not documented."""

import pytest

from catcher_install import transition
from catcher_install.transition import ABORT, INSTALL, NOTHING, UNKNOWN, UPGRADE

# Debian Policy 6.5, postinst.
POSTINST = {
    "configure": (INSTALL, None),
    "configure ''": (INSTALL, None),
    "configure 7.3.0-1": (UPGRADE, "7.3.0-1"),
    "configure 8.0.0-1": (UPGRADE, "8.0.0-1"),
    "configure <unknown>": (UPGRADE, "<unknown>"),
    "abort-upgrade 8.1.0-1": (NOTHING, None),
    "abort-remove": (ABORT, None),
    "abort-remove in-favour othercatcher 1.0": (ABORT, None),
    "abort-deconfigure in-favour othercatcher 1.0": (NOTHING, None),
    "abort-deconfigure in-favour othercatcher 1.0 removing third 2": (NOTHING, None),
    "triggered /usr/lib": (NOTHING, None),
    "triggered": (NOTHING, None),
    "reconfigure": (UNKNOWN, None),
    "": (UNKNOWN, None),
    "''": (UNKNOWN, None),
    "CONFIGURE 8.0.0-1": (UNKNOWN, None),
    "1": (UNKNOWN, None),
}


@pytest.mark.parametrize("line", sorted(POSTINST))
def test_the_transition_follows_from_postinsts_arguments(line):
    arguments = ["" if word == "''" else word for word in line.split()]
    called = transition.from_scriptlet("deb", arguments)
    assert (called.kind, called.old_version) == POSTINST[line]


# rpm, %posttrans: how many instances of the package there are afterwards.
POSTTRANS = {
    ("1",): INSTALL,
    ("2",): UPGRADE,
    ("3",): UPGRADE,
    ("17",): UPGRADE,
    ("2", "extra"): UPGRADE,
    ("0",): UNKNOWN,
    ("-1",): UNKNOWN,
    ("1.0",): UNKNOWN,
    ("9" * 4000,): UNKNOWN,
    ("",): UNKNOWN,
    (): UNKNOWN,
    ("configure", "7.3.0"): UNKNOWN,
    ("two",): UNKNOWN,
    # Characters that Unicode calls digits, and int() does not accept.
    ("\u00b2",): UNKNOWN,
    ("\u0661",): INSTALL,
    ("\udcff",): UNKNOWN,
}


@pytest.mark.parametrize("arguments", sorted(POSTTRANS), ids=[ascii(one)[:30] for one in sorted(POSTTRANS)])
def test_the_transition_follows_from_posttrans_arguments(arguments):
    called = transition.from_scriptlet("rpm", list(arguments))
    assert (called.kind, called.old_version) == (POSTTRANS[arguments], None)


@pytest.mark.parametrize("family", ["", "pacman", "RPM"])
def test_the_call_of_another_package_manager_is_unknown(family):
    assert transition.from_scriptlet(family, ["1"]).kind == UNKNOWN
    assert transition.from_scriptlet(family, []).kind == UNKNOWN


def test_what_is_called_off_is_never_taken_for_fresh():
    for action in ("abort-upgrade", "abort-remove", "abort-deconfigure", "triggered"):
        assert transition.from_scriptlet("deb", [action]).kind not in (INSTALL, UPGRADE)


VERSIONS = {
    "7.3.0-1": True,
    "7.3": True,
    "7": True,
    "7.1.0z-2": True,
    "5.2.23": True,
    "7.9~rc1-1": True,
    "1:7.3.0-1": True,
    "2:3:7.3.0": True,
    "7-1": True,
    "8.0.0": False,
    "8.0.0-1": False,
    "8~rc1": False,
    "8.2z": False,
    "8.4.0f-1": False,
    "8": False,
    "1:8.0.0-1": False,
    "10.0.0": False,
    "80.1": False,
    "007.3": True,
    "<unknown>": None,
    "": None,
    None: None,
    "8z.0": None,
    "-1": None,
    ":": None,
    "version": None,
    "\u0667.3": True,
    "\u00b2.3": None,
    "1" * 5000: None,
}


@pytest.mark.parametrize("version", sorted(VERSIONS, key=str), ids=lambda one: ascii(one)[:20])
def test_versions_before_8_are_told_apart(version):
    assert transition.is_before_8(version) is VERSIONS[version]


@pytest.mark.parametrize("version,before", [
    ("7.3.0-1", True), ("7.3.45-1", True), ("6.9-1", True), ("1:7.2.0-1", True), ("5", True), ("7.4.0-1", False),
    ("7.6.10-1", False), ("7.10.1-1", False), ("8.0.0-1", False), ("7-1", False), ("7.3z-1", False),
    ("7.3~rc1", True), (None, False), ("", False), ("<unknown>", False),
])
def test_only_what_is_known_to_be_7_3_or_older_spoke_tcp_only(version, before):
    assert transition.is_before_tls(version) == before
