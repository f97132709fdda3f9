"""Pictures of a terminal for README.md, from a real run: `python3 -m tools.picture NAME`.

    status   installs the package in a container, and shows `catcherctl status`
    matrix   runs some scenarios on the systems of `make check` and on one that needs a vendor's image, and shows the
             table of `make matrix`

Run it as container tests are run: .venv/bin/python -m tests.matrix.engine -- .venv/bin/python -m tools.picture NAME
Each writes docs/pictures/NAME.svg, which needs no font and no script from elsewhere.
"""

import argparse
import html
import pathlib
import re
import subprocess
import sys

TREE = pathlib.Path(__file__).resolve().parent.parent
PICTURES = TREE / "docs/pictures"
FONT_SIZE = 14
# A monospaced character is about 0.6 em wide; textLength makes it exactly 0.6 em in any font.
ADVANCE = 8.4
LEADING = 20
# Browsers collapse spaces, but not these.
KEPT = "\N{NO-BREAK SPACE}"
MARGIN = 16
BAR = 28
SUMMARY = re.compile(r"\d+ passed, \d+ failed, \d+ blocked")
SCENARIOS = ("fresh", "programs", "upgrade-7.3", "upgrade-8", "reinstall", "remove", "noscripts")
SGR = re.compile("\x1b\\[([0-9;]*)m")
COLOURS = {"31": "#ff7b72", "32": "#3fb950", "33": "#d29922", "2": "#8b949e", "1": "#ffffff"}
PLAIN = "#d0d7de"


def runs(line: str) -> list[tuple[int, str, str]]:
    """(column, colour, text) of the parts of a line that have one colour each; ESC[...m changes the colour."""
    found, colour, column = [], PLAIN, 0
    for number, part in enumerate(SGR.split(line)):
        if number % 2:
            known = [COLOURS[code] for code in part.split(";") if code in COLOURS]
            colour = known[0] if known else PLAIN
        elif part:
            found.append((column, colour, part))
            column += len(part)
    return found


def svg(title: str, lines: list[str]) -> str:
    """A terminal window with these lines, as wide as the longest line."""
    columns = max([len(SGR.sub("", line)) for line in lines] + [len(title)])
    width = round(2 * MARGIN + columns * ADVANCE)
    height = BAR + 2 * MARGIN + len(lines) * LEADING
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{html.escape(title)}">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#161b22"/>',
        f'<rect width="{width}" height="{BAR}" rx="8" fill="#30363d"/>',
        f'<g font-family="ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="{FONT_SIZE}">',
        f'<text x="{MARGIN}" y="{BAR - 9}" fill="{PLAIN}">{html.escape(title)}</text>',
    ]
    for number, line in enumerate(lines):
        y = BAR + MARGIN + number * LEADING + FONT_SIZE
        for column, colour, text in runs(line.rstrip()):
            x = MARGIN + column * ADVANCE
            out.append(f'<text x="{x:.1f}" y="{y}" fill="{colour}" textLength="{len(text) * ADVANCE:.1f}">'
                       f"{html.escape(text.replace(' ', KEPT))}</text>")  # fmt: skip
    return "\n".join([*out, "</g>", "</svg>", ""])


def status() -> tuple[str, list[str]]:
    """`catcherctl status` on a host on which the package was installed a moment ago."""
    from tests.matrix import images
    from tests.matrix.machine import Machine, Network
    from tests.packaging import packages
    from tests.packaging.system import System

    cell = images.with_role("example")[0]
    with Network() as lan, Machine(images.ensure(cell), name="zlinux1", network=lan) as machine:
        system = System(machine, cell)
        system.package(system.tools[1], "install", packages.ensure().new(cell.family))
        machine.wait_for("a listening catcher", lambda: ":50003 " in system.show("ss -Hltn"))
        shown = machine.run("catcherctl status").out.splitlines()
    shown[-1] = f"\x1b[32m{shown[-1]}\x1b[0m"
    return "zlinux1: after the installation", ["# catcherctl status", *shown]


def matrix() -> tuple[str, list[str]]:
    """`make matrix` with SCENARIOS. Raises CalledProcessError if one of them fails; its output is on the terminal."""
    from tests.matrix import images

    cells = [cell.name for cell in [*images.in_ci(), *images.with_role("ready-made")] if not cell.scenarios]
    names = {"CELL": " ".join(cells), "SCENARIO": " ".join(SCENARIOS)}
    words = [f"{name}='{value}'" for name, value in names.items()]
    # On a terminal of its own, for the colours.
    command = ["script", "--quiet", "--return", "--command", " ".join(["make matrix", *words]), "/dev/null"]
    said = subprocess.run(command, cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    print(said.stdout)
    said.check_returncode()
    typed = [f"# make matrix {words[0]} \\", " " * len("# make matrix ") + words[1]]
    return "scenarios on systems", [*typed, *table_in(said.stdout)]


def table_in(said: str) -> list[str]:
    """The table in what `make matrix` printed, from the first scenario's name to the summary."""
    lines = said.splitlines()
    first = next(number for number, line in enumerate(lines) if "\N{BOX DRAWINGS LIGHT VERTICAL}" in line) - 1
    last = next(number for number, line in enumerate(lines) if SUMMARY.search(line))
    return lines[first:last + 1]


def main(arguments: list[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.picture", description="Pictures for README.md.")
    parser.add_argument("name", choices=("status", "matrix"))
    name = parser.parse_args(arguments).name
    title, lines = {"status": status, "matrix": matrix}[name]()
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.svg").write_text(svg(title, lines), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
