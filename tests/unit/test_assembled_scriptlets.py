"""install/scriptlet.py: maintainer scripts out of templates, hooks and the library's constants."""

import os
import re

import pytest

from catcher_install import paths
from install import scriptlet

from .support import TREE

HOOKS = sorted(name for name in os.listdir(os.path.join(TREE, "hooks")) if name.endswith(".sh"))


@pytest.fixture
def payload(tmp_path):
    (tmp_path / "payload").mkdir()
    return tmp_path / "payload"


def names(payload):
    return scriptlet.names(str(payload))


@pytest.mark.parametrize("family,percent", [("deb", "%"), ("rpm", "%%")])
def test_percent_signs_of_a_hook_are_doubled_for_rpm_alone(family, percent, payload):
    made = scriptlet.assembled(family, "%{macro}\n@HOOK@\nend %%\n", "echo 50% \\1 @CONF@\n\n", names(payload))
    assert made == "%%{macro}\necho 50%s \\1 %s\nend %%%%\n" % (percent, paths.CONF)


@pytest.mark.parametrize("name", HOOKS)
def test_no_hook_has_what_the_build_takes_for_a_macro(name):
    """tools/build_packages.py refuses a scriptlet that still seems to contain an rpm macro."""
    with open(os.path.join(TREE, "hooks", name), encoding="utf-8") as stream:
        assert re.findall(r"%\{[^}\n]*\}?", stream.read()) == []


def test_a_name_that_nobody_knows_ends_the_build(payload):
    with pytest.raises(SystemExit) as raised:
        scriptlet.filled("@CONF@ @NOWHERE@", names(payload))
    assert "NOWHERE" in str(raised.value)


def test_lists_become_words(payload):
    assert scriptlet.filled("@LEGACY_GROUPS@", names(payload)) == " ".join(paths.LEGACY_GROUPS)


@pytest.mark.parametrize("library,attributes,kind,has_groups", [
    (None, None, "reference", False), (None, "", "reference", False),
    ("usr/lib64/libcsulcca.so", None, "vendor", True), ("usr/lib/s390x-linux-gnu/libcsulcca.so.8", "", "vendor", True),
    (None, "0755 root cap_net_raw=ep /opt/IBM/CCA/bin/ivp.e\n", "reference", False),
    (None, "2755 cca_setmk - /opt/IBM/CCA/bin/loadmk.e\n", "reference", True),
])
def test_what_a_payload_is(payload, library, attributes, kind, has_groups):
    if library:
        (payload / library).parent.mkdir(parents=True)
        (payload / library).write_bytes(b"")
    if attributes is not None:
        payload.with_name("payload.attributes").write_text(attributes)
    known = names(payload)
    assert known["PAYLOAD_KIND"] == kind
    assert known["PAYLOAD_GROUPS"] == (" ".join(paths.LEGACY_GROUPS) if has_groups else "")
    calls = ["csulcca_attributes " + line for line in (attributes or "").splitlines()]
    assert known["ATTRIBUTES"] == ("\n".join(calls) or ":")


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_names_no_list_that_python_has(hook):
    """Otherwise the two lists could differ."""
    with open(os.path.join(TREE, "hooks", hook)) as stream:
        text = "".join(line for line in stream if not line.lstrip().startswith("#"))
    lists = {name: value for name, value in vars(paths).items() if isinstance(value, tuple)}
    assert "LEGACY_GROUPS" in lists
    for name, values in lists.items():
        assert [one for one in values if re.search(r"(?<![\w/])%s(?![\w/])" % re.escape(one), text)] == [], name


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_takes_the_places_of_notes_from_python(hook):
    assert paths.STATE_DIR not in read("hooks", hook) and paths.RAN not in read("hooks", hook)


@pytest.mark.parametrize("directory", ["hooks", "units"])
def test_each_file_that_is_no_part_of_a_script_is_installed(directory):
    rows = [line.split() for line in read("install", "files.table").splitlines() if line and line[0] != "#"]
    named = {words[2] for words in rows if len(words) == 3}
    files = {directory + "/" + name for name in os.listdir(os.path.join(TREE, directory))
             if not name.endswith(".sh") and os.path.isfile(os.path.join(TREE, directory, name))}
    assert files and files - named == set()


def read(*names):
    with open(os.path.join(TREE, *names)) as stream:
        return stream.read()


PHASES = sorted(hook[:-len(".sh")] for hook in HOOKS if hook not in scriptlet.SHARED)


@pytest.mark.parametrize("phase", PHASES)
def test_each_hook_is_called_in_both_families_and_built(phase):
    """A hook file that no template or rule of make names would silently do nothing."""
    assert re.search(r"^csulcca_%s\(\)" % phase, read("hooks", phase + ".sh"), re.M)
    # It does nothing for the root of an image that dpkg fills without a chroot.
    called = r'^\[ -n "\$\{DPKG_ROOT-\}" \] \|\| csulcca_%s deb ' % phase
    assert re.search(called, read("debian", "csulcca.%s.in" % phase), re.M)
    # Files that a build makes there do not count as a change of the tree.
    assert "/debian/csulcca.%s" % phase in read(".gitignore").splitlines()
    scriptlet_of_rpm = re.findall(r"^rpm/(\w+)\.scriptlet: HOOK = %s$" % phase, read("Makefile"), re.M)[0]
    assert re.search(r"^csulcca_%s rpm " % phase, read("rpm", scriptlet_of_rpm + ".in"), re.M)
    assert "%%%s -f rpm/%s.scriptlet" % (scriptlet_of_rpm, scriptlet_of_rpm) in read("rpm", "csulcca.spec").splitlines()


def test_each_template_has_its_hook():
    templates = [name for family in ("rpm", "debian") for name in os.listdir(os.path.join(TREE, family))
                 if name.endswith(".in") and "@HOOK@" in read(family, name)]
    assert len(templates) == 2 * len(PHASES) + len(["rpm's trigger"])


def test_the_trigger_of_rpm_is_built_of_a_hook_and_called():
    assert "rpm/triggerpostun.scriptlet: HOOK = postrm" in read("Makefile").splitlines()
    assert read("rpm", "triggerpostun.in").splitlines()[-4:] == [
        "@HOOK@", "csulcca_after_old_package", "csulcca_enable_timer", "exit 0"]
    assert "%triggerpostun -f rpm/triggerpostun.scriptlet -- csulcca" in read("rpm", "csulcca.spec").splitlines()


def test_each_function_of_a_hook_is_called():
    """This includes the functions that every script has."""
    together = "\n".join(read("hooks", hook) for hook in HOOKS)
    together += "\n".join(read(family, name) for family in ("rpm", "debian")
                          for name in os.listdir(os.path.join(TREE, family)) if name.endswith(".in"))
    together += read("install", "scriptlet.py")
    functions = re.findall(r"^(csulcca_\w+)\(\)", together, re.M)
    assert len(functions) > 10
    code = re.sub(r"^ *#.*", "", together, flags=re.M)
    assert [name for name in functions if not re.search(r"\b%s\b(?!\(\))" % name, code)] == []
