"""Files that must agree with the code: manual pages, completion, firewall files, the daily timer."""

import argparse
import configparser
import os
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from catcher_install import config, launch, paths
from catcher_install.admin import cli
from catcher_install.cert import keys

from .support import TREE


def text_of(*path):
    with open(os.path.join(TREE, *path), encoding="utf-8") as stream:
        return stream.read()


def leaves(parser, words=()):
    """(words of the verb, its parser) for each verb that has no verbs of its own."""
    groups = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    if not groups:
        yield words, parser
    for group in groups:
        for name, below in sorted(group.choices.items()):
            yield from leaves(below, words + (name,))


COMMAND = cli.parser(cli._fail)
VERBS = list(leaves(COMMAND))


def offered(parser):
    """The long options and the fixed words of a verb."""
    found = set()
    for one in parser._actions:
        found.update(option for option in one.option_strings if option.startswith("--"))
        found.update(one.choices or ())
    return found


@pytest.mark.parametrize("words,parser", VERBS, ids=[" ".join(words) for words, _ in VERBS])
def test_the_manual_page_has_each_verb_with_its_options(words, parser):
    page = text_of("man", "catcherctl.8")
    heads = [line for line in page.splitlines() if re.match(r"\.It Cm %s( |$)" % " ".join(words), line)]
    assert len(heads) == 1
    said = set(re.findall(r"Fl -([a-z-]+)", heads[0]))
    assert {"--" + one for one in said} == {one for one in offered(parser) if one.startswith("--")} - {"--help"}
    for one in parser._actions:
        for choice in one.choices or ():
            assert re.search(r"\b%s\b" % choice, heads[0])
        if not one.option_strings and not one.choices:
            assert "Ar " + re.split(r"\W", one.metavar)[0] in heads[0]


@pytest.mark.parametrize("words,parser", VERBS, ids=[" ".join(words) for words, _ in VERBS])
def test_the_manual_page_explains_each_option_below_its_verb_or_once_for_all(words, parser):
    page = text_of("man", "catcherctl.8")
    body = re.search(r"(?s)\n\.It Cm %s[ \n][^\n]*(.*?)(?=\n\.It |\n\.El)" % " ".join(words), page).group(1)
    shared = page.split("The options that several verbs share:")[1].split("\n.El")[0]
    for one in offered(parser):
        if one.startswith("--"):
            explained = r"Fl -%s\b" % one[2:]
            assert re.search(explained, body) or re.search(r"\.It .*" + explained, shared), one


def test_the_manual_page_explains_the_options_before_the_verb():
    page = text_of("man", "catcherctl.8")
    for one in COMMAND._actions:
        for option in one.option_strings:
            if option.startswith("--"):
                assert re.search(r"(?m)^\.It .*Fl -%s$" % option[2:], page), option
    assert "Fl -dry-run" in page.split(".Sh SYNOPSIS")[1].split(".Sh ")[0]


def test_the_manual_page_has_no_verb_too_many():
    heads = re.findall(r"(?m)^\.It Cm ((?:[a-z-]+ ?)+?)(?= Oo| Ar|$)", text_of("man", "catcherctl.8"))
    assert sorted(head.strip() for head in heads) == sorted(" ".join(words) for words, _ in VERBS)


def test_the_manual_pages_have_each_verb_of_the_script_and_each_directive():
    usage = set(launch.USAGE.split("CSUTKEcat ")[1].split(" | "))
    assert usage == set(re.findall(r"(?m)^\.It Cm (\w+)$", text_of("man", "CSUTKEcat.8")))
    directives = set(re.findall(r"(?m)^\.It Cm (\w+)$", text_of("man", "catcher.conf.5")))
    assert directives == {"TLS_ON", "TLS_OFF", "TLS_REQUIRED"}
    example = re.search(r"(?s)\.Bd.*?\n(.*?)\.Ed", text_of("man", "catcher.conf.5")).group(1)
    parsed = config.parse(example.encode("ascii"))
    assert parsed.state == config.TLS and parsed.required


# -- completion --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def complete():
    """What bash offers behind these words, the last one unfinished."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")

    def ask(*words):
        script = (
            'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
            'command=$(complete -p catcherctl); [[ $command == *"-F _catcherctl catcherctl" ]] || exit 9; '
            '_catcherctl; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = subprocess.Popen(
            [bash, "--norc", "-c", script, os.path.join(TREE, "share", "catcherctl.bash"), "catcherctl"] + list(words),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        out, err = done.communicate()
        assert done.returncode == 0 and not err, err
        return {line for line in out.splitlines() if line}

    return ask


@pytest.mark.parametrize("words,parser", VERBS, ids=[" ".join(words) for words, _ in VERBS])
def test_completion_offers_what_the_verb_takes(complete, words, parser):
    wanted = offered(parser)
    assert complete(*(words + ("--",))) == {one for one in wanted if one.startswith("--")}
    fixed = {one for one in wanted if not one.startswith("--")}
    assert complete(*(words + ("t",))) & {"tls", "tcp"} == fixed


def test_every_type_of_key_is_offered_and_explained(complete):
    assert complete("cert", "generate", "--key-type", "") == set(keys.GENERATED)
    explained = re.search(r"(?s)\n\.Fl -key-type\n(.*?)\n\.Fl ", text_of("man", "catcherctl.8")).group(1)
    assert re.findall(r"(?m)^\.Cm (\w+)", explained) == list(keys.GENERATED)


def test_completion_offers_all_verbs_and_the_options_before_them(complete):
    options = {option for one in COMMAND._actions for option in one.option_strings if option.startswith("--")}
    assert {"--help", "--version", "--dry-run"} <= options
    assert complete("") == {words[0] for words, _ in VERBS} | options | {"help"}
    assert complete("help", "st") == {"status"} and complete("help", "cert", "sh") == {"show"}
    assert complete("--dry-run", "m") == {"mode"}
    assert complete("--dry-run", "mode", "t") == {"tls", "tcp"}
    for before in ((), ("--dry-run",)):
        verbs = {words[1] for words, _ in VERBS if words[0] == "cert"}
        assert complete(*(before + ("cert", ""))) == verbs | {"--help"}
    assert complete("st") == {"status"}


def test_completion_offers_files_and_directories(complete):
    below = os.path.join(TREE, "man")
    assert os.path.join(below, "catcherctl.8") in complete("cert", "install", below + "/")
    assert complete("cert", "export", below) == {below}
    assert complete("plan", "--root", below) == {below}
    assert complete("probe", "--timeout", "") == set()


# -- firewalls ---------------------------------------------------------------------------------------------------------


def test_the_firewalld_service_opens_the_one_port():
    root = ElementTree.fromstring(text_of("share", "firewalld-csulcca.xml"))
    assert root.tag == "service" and {child.tag for child in root} == {"short", "description", "port"}
    assert [port.attrib for port in root.iter("port")] == [{"protocol": "tcp", "port": str(paths.PORT)}]


def test_the_ufw_profile_opens_the_one_port():
    parser = configparser.RawConfigParser()
    parser.read_string(text_of("share", "ufw-csulcca"))
    (section,) = parser.sections()
    assert sorted(parser.options(section)) == ["description", "ports", "title"]
    assert parser.get(section, "ports") == "%d/tcp" % paths.PORT
