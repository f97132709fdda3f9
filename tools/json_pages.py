"""The tables of docs/json.md, from the schemas in share/schema: `python3 -m tools.json_pages`.

A table stands between the lines `<!-- NAME.json -->` and `<!-- end -->`. With --check nothing is written: the exit
status is 1 if the page differs from what the schemas give.
"""

import argparse
import json
import pathlib
import re
import sys
from collections.abc import Iterator

TREE = pathlib.Path(__file__).resolve().parent.parent
SCHEMAS = TREE / "share/schema"
PAGE = TREE / "docs/json.md"
TABLE = re.compile(r"(?s)(<!-- ([a-z-]+)\.json -->\n).*?(<!-- end -->\n)")


def read(name: str) -> dict:
    """A schema as it is in its file."""
    return json.loads((SCHEMAS / f"{name}.json").read_text(encoding="utf-8"))


def resolve(field: dict) -> dict:
    """The schema of a field that refers to that of another one."""
    file, _, pointer = field.get("$ref", "").partition("#/")
    if not pointer:
        return field
    found = read(file.removesuffix(".json"))
    for step in pointer.split("/"):
        found = found[step]
    return found


def kind(field: dict) -> str:
    """What a field's value is, in words."""
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
    """(path, kind, meaning) of each field, those below an object or an array of objects behind it."""
    for name, raw in schema["properties"].items():
        field = resolve(raw)
        yield prefix + name, kind(field), field["description"]
        below = field.get("items", field)
        if "properties" in below:
            yield from rows(below, f"{prefix}{name}[]." if "items" in field else f"{prefix}{name}.")


def table(name: str) -> str:
    """The Markdown table of a schema."""
    lines = ["| field | value | meaning |", "| --- | --- | --- |"]
    lines += [f"| `{path}` | {what} | {meaning} |" for path, what, meaning in rows(read(name))]
    return "\n".join(lines) + "\n"


def rendered(page: str) -> str:
    """The page with every table as the schemas have it."""
    return TABLE.sub(lambda found: found[1] + table(found[2]) + found[3], page)


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.json_pages", description="Tables of docs/json.md.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if something differs")
    options = parser.parse_args(arguments)
    before = PAGE.read_text(encoding="utf-8")
    after = rendered(before)
    if options.check:
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
