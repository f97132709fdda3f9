"""Each path is pinned in paths.py, and every other place that names it names the same path."""

import ast
import os
import re

import pytest

from catcher_install import paths

from .support import TREE, library_modules

PINNED = {value for value in vars(paths).values() if isinstance(value, str) and re.match(r"/\S*\Z", value)}
PAIR = re.compile(r"(?<![\w@}.])((?:/[\w.-]+)+)/catcher\.(?:key|crt)\b")
# Paths in examples, in which an administrator keeps files with these names elsewhere.
ELSEWHERE = {"/etc/pki/csulcca", "/mnt/usb"}


def read(*names):
    with open(os.path.join(TREE, *names), encoding="utf-8", errors="replace") as stream:
        return stream.read()


def texts():
    """Yield (path, text) of each file that an administrator gets or reads, or that our packages contain."""
    for top in ("catcher_install", "contrib", "debian", "docs", "hooks", "install", "man", "rpm", "selinux", "share",
                "units"):
        for directory, _, names in os.walk(os.path.join(TREE, top)):
            for name in names:
                path = os.path.relpath(os.path.join(directory, name), TREE)
                # A build may have left dangling links, and files that are not text.
                if not name.endswith((".pyc", ".gz")) and os.path.isfile(os.path.join(TREE, path)):
                    yield path, read(path)
    yield "README.md", read("README.md")


PROGRAM = re.compile(r"((?:[\w.-]+/)+)(?:catcher\.exe|CSUTKEcat)(?![\w.])")
# What installs the programs, runs them, packs a vendor's or looks for them in a test. hooks/preinst.sh knows those of
# CCA 7.x.
NAMES_PROGRAMS = (
    "Makefile", "install/files.table", "units/CSUTKEcat.service", "selinux/csulcca.fc", "tools/payload.py",
    "debian/csulcca.lintian-overrides", "tools/demo.py", "tests/packaging/system.py", "tests/daemon/process.py",
)


@pytest.mark.parametrize("name", NAMES_PROGRAMS)
def test_whoever_names_a_program_of_ours_names_it_where_it_is(name):
    text = read(name).replace("\\.", ".")
    assert {"/" + directory.strip("/") for directory in PROGRAM.findall(text) if "opt/IBM" in directory} == {paths.BIN}


def test_the_reference_catcher_finds_its_library_from_where_it_is():
    assert '"%s/"' % paths.BIN in read("payload", "reference", *paths.CATCHER.split("/"))


def test_the_tests_of_whole_systems_look_for_the_pair_where_it_is():
    text = read("tests", "packaging", "system.py")
    assert '\nKEY = "%s"\n' % paths.KEY in text and '\nCERTIFICATE = "%s"\n' % paths.CERTIFICATE in text


def test_no_package_owns_the_directory_of_the_pair():
    assert re.search(r"\| %s\) ;;" % paths.BIN, read("rpm", "filelist.sh"))


def test_no_module_but_paths_has_a_path_of_ours():
    found = []
    for module, path in library_modules().items():
        for node in ast.walk(ast.parse(read(str(path)))):
            # ast.Str is what Python 3.6 and 3.7 have.
            value = getattr(node, "value", getattr(node, "s", None))
            if module != "paths" and isinstance(value, str) and value in PINNED:
                found.append((module, value))
    assert found == []


def test_every_text_names_the_pair_where_it_is():
    named = [(path, directory) for path, text in texts() for directory in PAIR.findall(text)]
    assert len({path for path, _ in named}) > 10
    assert [one for one in named if one[1] not in ELSEWHERE | {paths.BIN, paths.IMAGE_PAIR}] == []


@pytest.mark.parametrize("unit,directive", [
    ("CSUTKEcat.service", "RequiresMountsFor"), ("csulcca-check.service", "RequiresMountsFor"),
])
def test_the_units_know_where_the_pair_is(unit, directive):
    (words,) = re.findall(r"^%s=(.*)" % directive, read("units", unit), re.M)
    assert paths.BIN in [word.lstrip("-") for word in words.split()]


def test_what_comes_before_a_start_knows_where_the_pair_is():
    text = read("hooks", "make-pair")
    assert "\nbin=%s\n" % paths.BIN in text and " %s\n" % paths.CONF in text
    assert {paths.STAGE, paths.STAGE_DRAFT, paths.REPLACE_STAGE, paths.PAIR_WORK} == {
        one for one in PINNED if one.startswith(paths.BIN + "/.catcher-pair")}


@pytest.mark.parametrize("path", [paths.BIN, paths.KEY, paths.CERTIFICATE, paths.STAGE, paths.REPLACE_STAGE,
                                  paths.REQUEST_KEY])
def test_the_policy_has_a_type_for_all_that_holds_a_key(path):
    rules = [line.split() for line in read("selinux", "csulcca.fc").splitlines() if line.startswith("/")]
    types = [words[-1] for words in rules if re.match(words[0] + r"\Z", path)]
    assert types and "csulcca_pair_t" in types[-1]


def test_make_install_makes_the_directory_of_the_pair():
    assert "'$(DESTDIR)%s'" % paths.BIN in read("Makefile")
