"""Write the tables of docs/json.md and docs/findings.md, from the schemas and the catalog of findings: `python3 -m
tools.doc_tables`.

A table stands between the lines `<!-- NAME -->` and `<!-- end -->`. NAME.json: the fields of a schema of share/schema;
status, probe: the findings of that verb's catalog. With --check nothing is written: the exit status is 1 if a table is
not up to date.
"""

import argparse
import json
import pathlib
import re
import sys
from collections.abc import Iterator

from catcher_install import messages

TREE = pathlib.Path(__file__).resolve().parent.parent
SCHEMAS = TREE / "share/schema"
PAGES = [TREE / "docs" / name for name in ("json.md", "findings.md")]
PROBE = "probe-"
CATALOGS = {
    "status": {id: row for id, row in messages.CATALOG.items() if not id.startswith(PROBE)},
    "probe": {id: row for id, row in messages.CATALOG.items() if id.startswith(PROBE)},
}
TABLE = re.compile(r"(?s)(<!-- ([a-z-]+(?:\.json)?) -->\n).*?(<!-- end -->\n)")


def read(name: str) -> dict:
    """A schema as it is in its file."""
    return json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))


def resolve(field: dict) -> dict:
    """The schema of a field that refers to that of another one; a field that refers to a whole schema stays."""
    file, _, pointer = field.get("$ref", "").partition("#/")
    if not pointer:
        return field
    found = read(file.removesuffix(".json"))
    for step in pointer.split("/"):
        found = found[step]
    return found


def kind(field: dict) -> str:
    """What a field's value is, in words."""
    field = resolve(field)
    if "$ref" in field:
        name = field["$ref"].removesuffix(".json")
        return f"[{name}](#{name})"
    if "enum" in field:
        return ", ".join("null" if one is None else f"`{json.dumps(one)}`" for one in field["enum"])
    if "const" in field:
        return f"`{json.dumps(field['const'])}`"
    if field["type"] == "array":
        return f"array of {kind(field['items'])}"
    return " or ".join(field["type"]) if isinstance(field["type"], list) else str(field["type"])


def rows(schema: dict, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """(path, kind, meaning) of each field. The fields of an object, or of the objects in an array, follow it."""
    for name, raw in schema["properties"].items():
        field = resolve(raw)
        yield prefix + name, kind(raw), field["description"]
        below = field.get("items", field)
        if "properties" in below:
            yield from rows(below, f"{prefix}{name}[]." if "items" in field else f"{prefix}{name}.")


def fields_table(name: str) -> str:
    """The Markdown table of a schema."""
    lines = ["| field | value | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{path}` | {what} | {meaning} |" for path, what, meaning in rows(read(name))]
    return "\n".join(lines) + "\n"


def _line(line: str) -> str:
    """A line of a finding as Markdown: a command, which begins with two blanks, as code."""
    return f"`{line.strip()}`" if line.startswith("  ") else line


def findings_table(name: str) -> str:
    """The Markdown table of a catalog. `...` stands for the facts that a finding fills in."""
    lines = ["| id | severity | what is wrong | what to do |", "| --- | --- | --- | --- |"]
    for id, (severity, _, text, fix) in sorted(CATALOGS[name].items()):
        fix = fix.replace("{unmask}", "systemctl unmask CSUTKEcat")
        wrong, todo = (re.sub(r"\{[a-z_]+\}", "...", part) for part in (text, fix))
        todo = "this depends on the reason: do what the finding says" if fix == "{hint}" else todo
        lines.append(f"| `{id}` | {severity} | {wrong} | {'<br>'.join(_line(line) for line in todo.splitlines())} |")
    return "\n".join(lines) + "\n"


def table(name: str) -> str:
    """The Markdown table of this name."""
    return fields_table(name.removesuffix(".json")) if name.endswith(".json") else findings_table(name)


def rendered(page: str) -> str:
    """The page with every table as it should be."""
    return TABLE.sub(lambda found: found[1] + table(found[2]) + found[3], page)


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.doc_tables", description="Tables of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if something differs")
    options = parser.parse_args(arguments)
    wrong = 0
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = rendered(before)
        wrong |= before != after
        if not options.check:
            page.write_text(after, encoding="utf-8")
    return int(wrong and options.check)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
