"""The task pages of docs/, as the commands in them.

A page shows a command and what it prints in a block of the language `console`:

    ```console
    # catcherctl mode
    tls
    ```

A line that begins with `# ` is a command, as root in root's home directory. What stands below it is what it prints;
nothing stands for whatever it prints. `...` is any text within a line, and alone in a line any number of lines. Words
behind `console` say what is not the usual:

    deb, rpm      only on systems of that family
    on=zlinux2    on another machine than the catcher's
    exit=3        its exit status, else 0; a block with that holds one command

A page has no other blocks, since nobody would notice when what they say is not so any more.
"""

import dataclasses
import pathlib
import re
from collections.abc import Iterator

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
# What is for those who make a release, not for those who use it.
PROJECT = ("measurements", "release")
ALL = sorted(path.stem for path in DOCS.glob("*.md") if path.stem not in PROJECT)
# The index and the findings have no commands; the page on JSON has some, and is no task.
TYPED = [page for page in ALL if page not in ("index", "findings")]
TASKS = [page for page in TYPED if page != "json"]
CATCHER = "zlinux1"
OTHER = "zlinux2"

FENCE = "```"
ANY = "..."


class PageError(Exception):
    """A page does not keep to the convention: its name, the line, and what is wrong there."""


@dataclasses.dataclass(frozen=True)
class Step:
    """One command of a page.

    line: its number in the page. heading: the one that it stands under. shown: the lines below it, without the last
    newline, "" where there are none. status: the exit status. family: "deb", "rpm", or "" for both. machine: CATCHER or
    OTHER.
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
        """Where it stands, for a message."""
        return f"docs/{self.page}.md:{self.line}"

    def prints(self, output: str) -> bool:
        """Whether this is what the page shows; blanks at the ends of lines aside."""
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
    """A page of docs/, by its name without `.md`."""
    return (DOCS / f"{page}.md").read_text(encoding="utf-8")


def steps(page: str, source: str | None = None) -> list[Step]:
    """The commands of a page in order; *source* instead of its file, for tests. Raises PageError."""
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
    """The commands of one block, whose first line has been read."""
    where = f"docs/{page}.md:{start}"
    if words[:1] != ["console"]:
        raise PageError(f"{where}: a block that is no console: nothing would look whether it is true")
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
    """What the words behind `console` say, as fields of a Step."""
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
