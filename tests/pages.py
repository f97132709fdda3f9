"""Read the commands of the task pages in docs/.

A page shows a command and what it prints in a block of the language `console`:

    ```console
    # catcherctl mode
    tls
    ```

A line that begins with `# ` is a command, which root types in its home directory. The lines below it are what the
command prints. If there are none, the command may print anything. Within a line, `...` stands for any text; alone in a
line, it stands for any number of lines. These words can follow `console`:

    deb, rpm      only on systems of this family
    on=zlinux2    on another machine, not on that of the catcher
    exit=3        the exit status, if it is not 0; such a block has only one command

A page has no other blocks, because no test would notice if they became wrong.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
# Pages for the people who make a release, not for users.
PROJECT = ("measurements", "release")
ALL = sorted(path.stem for path in DOCS.glob("*.md") if path.stem not in PROJECT)
# The index and the list of findings have no commands. The page about JSON has commands, but describes no task.
TYPED = [page for page in ALL if page not in ("index", "findings")]
TASKS = [page for page in TYPED if page != "json"]
CATCHER = "zlinux1"
OTHER = "zlinux2"

FENCE = "```"
ANY = "..."


class PageError(Exception):
    """A page breaks the convention. The text has the page, the line, and what is wrong."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One command of a page.

    line: the number of the line in the page. heading: the heading above the command. shown: the lines below the
    command, without the last newline, "" if there are none. status: the exit status. family: "deb", "rpm", or "" for
    both. machine: CATCHER or OTHER.
    """

    page: str
    line: int
    heading: str
    command: str
    shown: str
    status: int = 0
    family: str = ""
    machine: str = CATCHER

    @property
    def place(self) -> str:
        """File and line of the command, for a message."""
        return f"docs/{self.page}.md:{self.line}"

    def prints(self, output: str) -> bool:
        """Whether the output is what the page shows. Blanks at the ends of lines do not matter."""
        if not self.shown:
            return True
        actual = "".join(line.rstrip() + "\n" for line in output.splitlines())
        return re.fullmatch(_pattern(self.shown), actual) is not None


def _pattern(shown: str) -> str:
    lines = []
    for line in shown.splitlines():
        if line == ANY:
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(".*".join(re.escape(part) for part in line.rstrip().split(ANY)) + r"\n")
    return "".join(lines)


def text(page: str) -> str:
    """Return the text of a page of docs/. page: its name without `.md`."""
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def steps(page: str, source: str | None = None) -> list[Step]:
    """Return the commands of a page in order. source: for tests, read this text instead of the file. Raises
    PageError."""
    found: list[Step] = []
    heading = ""
    lines = enumerate((text(page) if source is None else source).splitlines(), 1)
    for number, line in lines:
        if line.startswith("#"):
            heading = line.lstrip("#").strip()
        elif line.startswith(FENCE):
            found += _block(page, number, heading, line.removeprefix(FENCE).split(), lines)
    return found


def _block(page: str, start: int, heading: str, words: list[str], lines: Iterator[tuple[int, str]]) -> list[Step]:
    """Return the commands of one block, whose first line has been read."""
    where = f"docs/{page}.md:{start}"
    if words[:1] != ["console"]:
        raise PageError(f"{where}: a block without the word console: no test would type it")
    options = _options(where, words[1:])
    found: list[Step] = []
    for number, line in lines:
        if line == FENCE:
            if not found:
                raise PageError(f"{where}: a block without a command")
            if len(found) > 1 and options["status"]:
                raise PageError(f"{where}: exit= is for a block with one command")
            return found
        if line.startswith("# "):
            found.append(Step(page, number, heading, line[2:], "", **options))
        elif not found:
            raise PageError(f"{where}: output without a command")
        else:
            shown = found[-1].shown
            found[-1] = dataclasses.replace(found[-1], shown=f"{shown}\n{line}" if shown else line)
    raise PageError(f"{where}: a block without an end")


def _options(where: str, words: list[str]) -> dict:
    """Return the words after `console` as fields of a Step."""
    options: dict = {"status": 0}
    for word in words:
        name, _, value = word.partition("=")
        if word in ("deb", "rpm"):
            options["family"] = word
        elif name == "exit" and value.isdigit() and value != "0":
            options["status"] = int(value)
        elif name == "on" and value == OTHER:
            options["machine"] = value
        else:
            raise PageError(f"{where}: {word} is not understood")
    return options
