"""What docs/ promises, checked without a machine: the convention of blocks, links, and the map of the manual.

tests/packaging/test_docs.py types the commands.
"""

import pathlib
import re

import pytest

from tests import pages
from tools import doc_tables

COMMANDS = ("catcherctl", "systemctl", "journalctl", "apt", "dnf", "dpkg", "rpm")


def links(text: str) -> list[str]:
    """Where the links of a page lead."""
    return re.findall(r"\]\(([^)]+)\)", text)


@pytest.mark.parametrize("page", pages.TASKS)
def test_every_task_has_commands_for_both_families(page: str) -> None:
    found = pages.steps(page)
    for family in ("deb", "rpm"):
        assert [step for step in found if step.family in ("", family)], family
    # If one family has a command, the other has one, too.
    assert sum(step.family == "deb" for step in found) == sum(step.family == "rpm" for step in found)


@pytest.mark.parametrize("page", pages.TASKS)
def test_every_task_says_what_is_needed_and_what_to_do_if_it_fails(page: str) -> None:
    headings = re.findall(r"(?m)^## (.+)$", pages.text(page))
    assert headings[0] == "What you need"
    assert "If it fails" in headings or page == "when-something-is-wrong"


@pytest.mark.parametrize("page", pages.ALL)
def test_no_command_hides_where_nobody_types_it(page: str) -> None:
    """Markdown shows an indented block as code, but no test types it."""
    fenced = False
    for number, line in enumerate(pages.text(page).splitlines(), 1):
        if line.startswith(pages.FENCE):
            fenced = not fenced
        indented = re.match(r" {4,}(?:# )?(\w+)", line)
        assert fenced or not indented or indented.group(1) not in COMMANDS, f"docs/{page}.md:{number}"


@pytest.mark.parametrize("page", pages.ALL)
def test_links_lead_to_pages(page: str) -> None:
    for link in links(pages.text(page)):
        name, _, heading = link.partition("#")
        target = (pages.DOCS / name) if name else pages.DOCS / f"{page}.md"
        assert target.is_file(), link
        headings = re.findall(r"(?m)^## (.+)$", target.read_text(encoding="utf-8"))
        anchors = [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]
        assert not heading or heading in anchors, link


def installed_docs() -> dict[str, pathlib.Path]:
    """The files of /usr/share/doc/csulcca, by their path below it."""
    table = (pages.DOCS.parent / "install/files.table").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^0[67]\d\d +/usr/share/doc/csulcca/(\S*) +(\S+)$", table)
    return {below + path.name: path for below, pattern in rows for path in pages.DOCS.parent.glob(pattern)}


@pytest.mark.parametrize("name,path", installed_docs().items(), ids=installed_docs())
def test_no_link_is_dead_where_the_pages_are_installed(name: str, path: pathlib.Path) -> None:
    installed = installed_docs()
    assert "index.md" in installed
    for link in links(path.read_text(encoding="utf-8")) if path.suffix == ".md" else ():
        target = link.partition("#")[0]
        assert re.match(r"https?://", link) or not target or target in installed, f"{name}: {link}"


def test_every_page_is_one_click_from_the_readme_and_from_the_index() -> None:
    pages_of = {"README.md": {f"docs/{page}.md" for page in pages.ALL}, "docs/index.md":
                {f"{page}.md" for page in pages.ALL if page != "index"}}  # fmt: skip
    for place, wanted in pages_of.items():
        found = links((pages.DOCS.parent / place).read_text(encoding="utf-8"))
        assert sorted(wanted - {link.partition("#")[0] for link in found}) == []


def test_links_of_the_readmes_lead_to_files() -> None:
    for readme in (pages.DOCS.parent / "README.md", pages.DOCS.parent / "contrib/README.md"):
        found = links(readme.read_text(encoding="utf-8"))
        assert found
        assert [link for link in found if not (readme.parent / link).exists()] == []


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "contrib/README.md", "tests/README.md"])
def test_what_a_readme_lets_make_do_is_a_target_with_these_settings(name: str) -> None:
    """And a path that begins with one of the tree's folders is there."""
    makefile = (pages.DOCS.parent / "Makefile").read_text(encoding="utf-8")
    targets = {word for line in re.findall(r"(?m)^\.PHONY: (.+)$", makefile) for word in line.split()}
    text = (pages.DOCS.parent / name).read_text(encoding="utf-8")
    called = re.findall(r"(?m)(?:^    |`)(?:[A-Z_]+=\S+ )?make ([a-z-]+)((?: [A-Z_]+=(?:'[^']*'|[^ `\n]*))*)", text)
    assert called
    for target, settings in called:
        assert target in targets, target
        for setting in re.findall(r" ([A-Z_]+)=", settings):
            assert re.search(rf"\$\(({setting})\)|\$\((?:if|foreach \w+,) ?\$\({setting}\)", makefile), setting
    folders = "catcher_install|contrib|debian|docs|hooks|install|man|payload|rpm|selinux|share|tests|tools|units"
    for path in re.findall(rf"`((?:{folders})/[\w./-]+)`", text):
        # A word in capitals is a placeholder for a name.
        assert re.search("PHASE|NAME", path) or (pages.DOCS.parent / path).exists(), path


def test_the_index_leads_to_every_page_and_the_readme_to_the_index() -> None:
    assert {link.removesuffix(".md") for link in links(pages.text("index"))} == set(pages.ALL) - {"index"}
    assert "docs/index.md" in links((pages.DOCS.parent / "README.md").read_text(encoding="utf-8"))


def test_what_the_manual_treats_is_typed_on_the_page_that_the_index_names() -> None:
    table = pages.text("index").split("## From the vendor's manual to a command")[1].split("\n## ")[0]
    rows = re.findall(r"(?m)^\| .+ \| `(.+)` \| \[.+\]\((.+)\.md\) \|$", table)
    assert len(rows) == table.count("\n|") - 2
    for command, page in rows:
        assert command in [step.command for step in pages.steps(page)], f"{command} on docs/{page}.md"


# -- tables that are made from what they tell of -----------------------------------------------------------------------


@pytest.mark.parametrize("page", doc_tables.PAGES, ids=lambda page: page.stem)
def test_the_tables_are_up_to_date(page: pathlib.Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert doc_tables.rendered(text) == text, "type: python3 -m tools.doc_tables"


def test_every_schema_and_every_catalog_has_its_table() -> None:
    found = [name for page in doc_tables.PAGES for name in re.findall(r"<!-- (.+) -->", page.read_text())]
    wanted = [path.name for path in doc_tables.SCHEMAS.glob("*.json")] + list(doc_tables.CATALOGS)
    assert sorted(name for name in found if name != "end") == sorted(wanted)


def test_a_field_that_the_page_lacks_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    read = doc_tables.read

    def with_one_more(name: str) -> dict:
        schema = read(name)
        schema["properties"]["surplus"] = {"type": "string", "description": "new"}
        return schema

    monkeypatch.setattr(doc_tables, "read", with_one_more)
    text = pages.text("json")
    assert doc_tables.rendered(text) != text


# -- the convention ----------------------------------------------------------------------------------------------------


def test_a_block_is_read_as_commands_with_what_they_print() -> None:
    source = ("# Page\n\n```console deb on=zlinux2\n# one\n# two\nout\n\nmore\n```\n\n"
              "## Below\n```console exit=3\n# x\n```\n")
    assert pages.steps("p", source) == [
        pages.Step("p", 4, "Page", "one", "", 0, "deb", "zlinux2"),
        pages.Step("p", 5, "Page", "two", "out\n\nmore", 0, "deb", "zlinux2"),
        pages.Step("p", 13, "Below", "x", "", 3),
    ]


@pytest.mark.parametrize("source,why", [
    ("```sh\nls\n```\n", "without the word console"),
    ("```\n# ls\n```\n", "without the word console"),
    ("```console\n```\n", "without a command"),
    ("```console\nout\n# ls\n```\n", "output without"),
    ("```console\n# ls\n", "without an end"),
    ("```console ext=3\n# ls\n```\n", "not understood"),
    ("```console exit=0\n# ls\n```\n", "not understood"),
    ("```console on=elsewhere\n# ls\n```\n", "not understood"),
    ("```console exit=3\n# ls\n# ls\n```\n", "one command"),
])  # fmt: skip
def test_what_a_test_could_not_see_is_an_error(source: str, why: str) -> None:
    with pytest.raises(pages.PageError, match=why):
        pages.steps("p", source)


@pytest.mark.parametrize("shown,printed,same", [
    ("", "anything\n", True),
    ("a", "a\n", True),
    ("a", "a", True),
    ("a", "a  \n", True),
    ("a", "ab\n", False),
    ("a", "a\nb\n", False),
    ("a ... c", "a b c\n", True),
    ("a ... c", "a b\nc\n", False),
    ("...\nc", "a\nb\nc\n", True),
    ("a\n...", "a\n", True),
    ("a\n...\nd", "a\nb\nc\n", False),
    ("a.c", "abc\n", False),
])  # fmt: skip
def test_what_a_page_shows_is_compared(shown: str, printed: str, same: bool) -> None:
    assert pages.Step("p", 1, "", "x", shown).prints(printed) is same
