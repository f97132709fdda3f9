"""Words and turns of phrase that no user of the package should meet, each with what to write in its place.

The list contains what once stood in our texts and made readers stop: a word is here because we wrote it. The test looks
at everything that a user reads: README.md, docs/, the manual pages, templates, examples, units, `--help`, all texts of
the hooks, the library, the reference catcher and the tools, and those of the report of the matrix.
"""

import ast
import pathlib
import re
from collections.abc import Iterator

import pytest

from catcher_install import messages
from catcher_install.admin import cli

TREE = pathlib.Path(__file__).resolve().parent.parent

# pattern: what to write. Patterns see a paragraph as one line; case does not matter.
AVOID = {
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\brather\b": "say what happens: refuses to start, instead of",
    r"\bconverg\w+": "another csulcca run, catcherctl apply",
    r"\bsquares?\b": "result, cell and scenario",
    r"\bin turns\b": "say what is shared out, and how",
    r"\b(has|have|had) not(?= ?([.,;:)|\]]|$| (a|an|any|the|packages)\b))": "does not have",
    r"\bwhich \S+( \S+)? (has|have) not\b(?! \w+(ed|en|t)\b)": "does not have",
    r"(^|[.!?|:] )where (?!(it|they) (stand|lie)|to )": "if",
    r'\b(null|true|false|""|none) where\b': "if",
    r"\bwhere (possible|none|no|not|there is|there are|TLS|that is|unknown)\b": "if, when",
    r"\bwhere it (is(?! mounted)|can|cannot|could)\b": "if, when",
    r"\b(certificate|certificates|pair|validity|CA) ends\b": "expires",
    r"\bends within\b": "expires within",
    r"\bthe (restart|choice|rest) is yours\b": "restart it yourself",
    r"\bthe (mode|pair|state) before\b": "previous",
    r"\bway [AB]\b": "name the way by what it does",
    r"\bgets? through\b": "connects",
    r"\bfor the way back\b": "say what it is kept for",
    r"\bkept with its time\b": "a copy with the time in its name is kept",
    r"\bthen the catcher\b.*\bdoes not start\b": "the catcher refuses to start",
    r"\bmust not be ticked\b": "do not tick, clear",
    r"(?<!no )\bsuch\b(?! as\b)": "name the thing",
    r"\bthe other one\b": "name the thing",
    r"\bwhoever\b": "a person who, anybody who",
    r"\bnobody (is|has|can) .* (who|that)\b": "say who",
    r"\bsecp256r1\b": "prime256v1, as the vendor writes it",
    r"\band end this\b": "say what the command does",
    r"\bit is of \w+\b(?! (this|the|another) )": "say what has it",
    r"\bnothing is not\b": "an empty name is not",
    r"\bor install it then\b": "install it after that date",
    r"\bis to be (?!done)\w+ed\b": "must be, or the imperative",
    r"\bhas to be what\b|\bhave to be what\b": "must be the same as",
    r"\bis none that\b|\bis no \w+ that\b": "is not",
    r"\bfor good\b": "permanently",
    r"\bthat (is|are) none\b": "invalid, not a",
    r"\bdoes it, too\b": "also",
    r"\b(RHEL|CentOS|EL) ?7\b|\bSLE[SD]? ?12\b": "too old: the oldest are RHEL 8 and SLES 15",
    r"\bclick it where it is\b": "if it is ticked, click it",
}  # fmt: skip

# Texts that only name a word, or quote it from elsewhere: (part of the text's place, the pattern).
QUOTED = {("docs/release.md", r"\b(RHEL|CentOS|EL) ?7\b|\bSLE[SD]? ?12\b")}


def paragraphs(text: str) -> Iterator[str]:
    """The paragraphs of a text, each as one line."""
    for part in re.split(r"\n\s*\n|\n(?=[-*|#]|\d\. )", text):
        yield " ".join(part.split())


def literals(path: pathlib.Path) -> Iterator[tuple[int, str]]:
    """(line, text) of each string of a Python file that is no docstring; the fields of an f-string are "..."."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out: set[int] = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
            left_out.add(id(first.value))
        if isinstance(node, ast.JoinedStr):
            left_out.update(map(id, node.values))
            parts = [one.value if isinstance(one, ast.Constant) else "..." for one in node.values]
            yield node.lineno, "".join(map(str, parts))
    for node in ast.walk(tree):
        # Names of fields and of files are no text.
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out and (
                " " in node.value):
            yield node.lineno, node.value


def helps(parser: object, name: str = "catcherctl") -> Iterator[tuple[str, str]]:
    """What each --help prints, by the words before it."""
    yield f"{name} --help", parser.format_help()  # type: ignore[attr-defined]
    for action in parser._actions:  # type: ignore[attr-defined]
        for word, below in (action.choices or {}).items() if isinstance(action.choices, dict) else ():
            yield from helps(below, f"{name} {word}")


def texts() -> Iterator[tuple[str, str]]:
    """(place, text) of everything that is looked at."""
    files = [TREE / "README.md", *sorted((TREE / "docs").glob("*.md")), *sorted((TREE / "man").iterdir())]
    files += sorted((TREE / "payload/reference/usr/share").rglob("*.*"))
    folders = [TREE / name for name in ("share", "contrib", "units")]
    files += [path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]
    for path in files:
        yield str(path.relative_to(TREE)), path.read_text(encoding="utf-8")
    yield from helps(cli.parser(cli._fail))
    for id, (_, _, text, fix) in messages.CATALOG.items():
        yield f"finding {id}", f"{text}\n\n{fix}"
    code = [TREE / "hooks/entry.py", *sorted((TREE / "catcher_install").rglob("*.py"))]
    code += sorted(TREE.glob("tools/*.py")) + sorted((TREE / "payload/reference/usr/lib").rglob("*.py"))
    code += [TREE / "tests/packaging/marks.py", TREE / "tests/packaging/turns.py"]
    code += [TREE / "tests/matrix" / name for name in ("report.py", "run.py", "scenarios.py", "progress.py")]
    makefile = (TREE / "Makefile").read_text(encoding="utf-8").splitlines()
    yield "make help", "\n".join(line for line in makefile if line.startswith("#:"))
    for hook in sorted(TREE.glob("hooks/*")):
        for number, line in enumerate(hook.read_text(encoding="utf-8").splitlines() if hook.suffix != ".py" else (), 1):
            if re.search(r"\b(echo|printf|logger)\b", line):
                yield f"{hook.relative_to(TREE)}:{number}", line
    for path in code:
        for line_number, text in literals(path):
            yield f"{path.relative_to(TREE)}:{line_number}", text


def found_in(place: str, text: str) -> list[str]:
    """What a text has that it should not have."""
    return [f"{place}: “{hit.group(0).strip()}”: {better}"
            for paragraph in paragraphs(text) for pattern, better in AVOID.items()
            for hit in re.finditer(pattern, paragraph, re.IGNORECASE)
            if not any(part in place and pattern == quoted for part, quoted in QUOTED)]


def test_what_users_read_has_none_of_the_words_that_made_readers_stop() -> None:
    looked_at = list(texts())
    assert len(looked_at) > 500
    found = [line for place, text in looked_at for line in found_in(place, text)]
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("text", [
    "mend that, then: catcherctl apply", "the catcher is rather to stay down",
    "it lists an address, which this host has not",
    "Where you have a certification authority, let it sign", "null where it cannot be used", "A certificate ends.",
    "Not restarted, since it is masked; the restart is yours", "the mode before is back", "## Way A: let your CA sign",
    "another converge was still at work", "12 squares", "a key of the type EC secp256r1",
    "RHEL 7 has", "SLES12", "plain TCP where TLS is not possible",
])  # fmt: skip
def test_each_of_these_is_seen(text: str) -> None:
    assert found_in("text", text)


@pytest.mark.parametrize("text", [
    "The file has not changed.", "the directory where the stick is mounted", "The catcher ends with exit status 1.",
    "programs such as certbot",
])  # fmt: skip
def test_plain_english_is_not(text: str) -> None:
    assert not found_in("text", text)
