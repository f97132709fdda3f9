"""distro and packaging: what they are used for, and that only this fails if one of them is broken or missing."""

import pathlib
import re
import subprocess
import sys
import types

import pytest

from catcher_install import messages, optional, plan, report, transition
from catcher_install.cert import crypto

from .support import TREE, child_python, ids, make_facts, make_stamp

# os-release's ID and ID_LIKE -> what installs a package there
COMMANDS = {
    ("debian", ""): "apt install", ("ubuntu", "debian"): "apt install", ("mint", "ubuntu debian"): "apt install",
    ("fedora", ""): "dnf install", ("rhel", "fedora"): "dnf install", ("rocky", "rhel centos fedora"): "dnf install",
    ("sles", "suse"): "zypper install", ("opensuse-leap", "suse opensuse"): "zypper install",
    ("opensuse-tumbleweed", ""): "zypper install", ("slackware", ""): "", ("", ""): "",
}  # fmt: skip
HINT = "install the package python3-cryptography, then type:"


def distro_of(id, like):
    """The module distro on such a system."""
    class LinuxDistribution:
        def __init__(self, include_lsb):
            # Anybody may have installed a program lsb_release.
            assert include_lsb is False

        def id(self):
            return id

        def like(self):
            return like

        def name(self, pretty):
            return "Some Linux 1.0 (%s)" % id if pretty else "Some Linux"

    module = types.ModuleType("distro")
    module.LinuxDistribution = LinuxDistribution
    return module


@pytest.mark.parametrize("id,like", sorted(COMMANDS))
def test_a_hint_has_this_distributions_command(monkeypatch, id, like):
    monkeypatch.setitem(sys.modules, "distro", distro_of(id, like))
    command = COMMANDS[id, like]
    wanted = HINT.replace("cryptography", "cryptography (%s python3-cryptography)" % command) if command else HINT
    assert optional.with_command(HINT) == wanted
    assert optional.with_command("look: catcherctl status") == "look: catcherctl status"


@pytest.mark.parametrize("hint", ["reinstall the package csulcca", "reinstall the package openssl",
                                  "install the package there first", "install the package", "install the package "])
def test_a_hint_that_names_none_of_the_distributions_packages_is_as_it_is(monkeypatch, hint):
    monkeypatch.setitem(sys.modules, "distro", distro_of("debian", ""))
    assert optional.with_command(hint) == hint


def test_each_package_that_the_library_names_gets_a_command():
    said = [match for path in pathlib.Path(optional.__file__).parent.rglob("*.py") if path.name != "optional.py"
            for match in re.findall(r"\binstall the package ([a-z0-9-]+)", path.read_text())]
    assert set(optional.PACKAGES) <= set(said) <= {*optional.PACKAGES, "there"}


@pytest.mark.parametrize("does", ["print('hello')", "import sys; sys.stdout = None", "raise SystemExit(3)"])
def test_what_runs_with_the_distributions_packages_spoils_no_output(tmp_path, does):
    """For example, a .pth file or sitecustomize.py. site.py runs both."""
    (tmp_path / "site.py").write_text("def main():\n    %s\n" % does)
    run = ("import sys; sys.path[:0] = [%r, %r]; from catcher_install import optional; optional.distribution_name();"
           " print('{}')" % (str(tmp_path), TREE))
    command = [*child_python(), "-X", "frozen_modules=off", "-c", run]
    assert subprocess.check_output(command, stderr=subprocess.DEVNULL) == b"{}\n"


class Broken(types.ModuleType):
    def __getattr__(self, name):
        raise SystemExit("a .pth file that ends everything")


@pytest.fixture(params=["missing", "broken"])
def without(request, monkeypatch):
    """A function that takes a package away."""
    return lambda name: monkeypatch.setitem(sys.modules, name, None if request.param == "missing" else Broken(name))


def test_without_distro_a_hint_is_as_it_is_and_the_name_is_empty(without):
    without("distro")
    assert optional.with_command(HINT) == HINT
    assert optional.distribution_name() == ""


def test_findings_and_errors_have_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "distro", distro_of("sles", "suse"))
    told = messages.finding("tls-not-possible", reason="x")
    command = "zypper install openssl"
    assert command in "\n".join(report.finding_lines(told)) and command in report.journal_line(told)
    assert command in report.finding_fields(told)["fix"]


# -- packaging ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("one,other,older", [
    ("8.0.0", "8.2.54", True), ("8.10.0", "8.9.0", False), ("3.2", "3.10", True), ("8.0.0", "8.0.0", False),
    ("8.0.0", "8.4.82f", None), ("unpackaged", "8.0.0", None), ("", "8.0.0", None)])
def test_versions_are_compared(one, other, older):
    assert optional.is_older(one, other) is older


def about_versions(stamp_version, ours):
    facts = make_facts(stamp=make_stamp(package_version=stamp_version), version=ours)
    return [id for id in ids(plan.plan(facts, transition.of(transition.APPLY)).findings) if id.startswith("stamp")]


def test_a_stamp_of_a_newer_version_is_told():
    assert about_versions("8.10.0", "8.9.0") == ["stamp-of-newer-version"]
    assert about_versions("8.9.0", "8.10.0") == []
    assert about_versions("8.4.82f", "8.9.0") == []


def test_without_packaging_nothing_is_said_of_versions(without):
    without("packaging")
    without("packaging.version")
    assert optional.is_older("8.0.0", "8.2.0") is None
    assert about_versions("8.10.0", "8.9.0") == []


@pytest.mark.parametrize("version,said", [
    ("2.8", "python3-cryptography 2.8 is too old for this; 3.2 or newer is needed"),
    ("3.2.1", "python3-cryptography cannot be used (AttributeError)")])
def test_what_an_old_cryptography_cannot_do_is_said(monkeypatch, version, said):
    old = types.ModuleType("cryptography")
    old.__version__ = version
    monkeypatch.setitem(sys.modules, "cryptography", old)
    assert crypto.broken(AttributeError("x")).message == said
