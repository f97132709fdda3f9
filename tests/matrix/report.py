"""The result of the matrix, from pytest's JUnit XML and the plan: squares with verdicts, as a table and as a page."""

from __future__ import annotations

import collections
import configparser
import dataclasses
import functools
import html
import json
import os
import pathlib
import platform
import subprocess
import time
import xml.etree.ElementTree
from collections.abc import Mapping, Sequence

from tests.matrix import images
from tests.matrix.scenarios import SCENARIOS

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
JUNIT = TREE / "dist/matrix.xml"
PAGE = TREE / "dist/matrix.html"
PLAN = TREE / "dist/matrix-plan.json"
# What tests/faults/table.py has counted in this tree, maybe at another commit.
FAULTS = TREE / "dist/faults.json"

# NOT_APPLICABLE says nothing about the packages: the marks of the tests say that the scenario does not apply to the
# cell.
PASS, FAIL, BLOCKED, NOT_APPLICABLE = "PASS", "FAIL", "BLOCKED", "N/A"
SYMBOLS = {PASS: "\N{CHECK MARK}", FAIL: "\N{BALLOT X}", BLOCKED: "\N{WHITE SQUARE}", NOT_APPLICABLE: "\N{EN DASH}"}
NO_RESULT = "was to run and has no result"
NOWHERE = "has passed on no system"
# The class of those test cases in the JUnit file that pytest did not write.
NOT_RUN = "tests.matrix"
# How many lines of a failed test's output are shown at first: on the page, in the terminal.
PAGE_TAIL, TERMINAL_TAIL = 15, 8
ANSI = {PASS: "32", FAIL: "31;1", BLOCKED: "33", NOT_APPLICABLE: "2"}


@dataclasses.dataclass
class Square:
    """One scenario on one cell.

    verdict: one of the four above; seconds: the time of its tests; tests: their number; why: the reason of BLOCKED and
    N/A; failures: what went wrong, by test; left_out: the tests that do not apply to the cell, by reason.
    """

    verdict: str
    seconds: float = 0.0
    tests: int = 0
    why: str = ""
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    left_out: dict[str, list[str]] = dataclasses.field(default_factory=dict)


def counted(number: int, what: str) -> str:
    """`1 test`, `2 tests`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def tail(text: str, lines: int) -> str:
    """The last lines that are not empty."""
    return "\n".join(text.rstrip().splitlines()[-lines:])


@functools.cache
def about() -> dict[str, str]:
    """For the head of the report: what was tested, when and where."""
    setup = configparser.ConfigParser()
    setup.read(TREE / "setup.cfg", encoding="utf-8")
    done = subprocess.run(["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"], cwd=TREE,
                          capture_output=True, text=True)  # fmt: skip
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return {
        "version": setup["metadata"]["version"],
        "commit": done.stdout.strip() or "not known: this tree is no clone",
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": f"{system}, Linux {platform.release()}, {platform.machine()}, {counted(os.cpu_count() or 1, 'CPU')}",
    }


def power_cuts() -> dict[str, str]:
    """For the head of the report, after about(): the number of power cuts in `make faults`; {} if there were none."""
    if not FAULTS.exists():
        return {}
    found = json.loads(FAULTS.read_text(encoding="utf-8"))
    cuts = [row for row in found["rows"] if row["fault"] == "power cut" and row["ours"]]
    if not cuts:
        return {}
    points, damaged = (sum(row[name] for row in cuts) for name in ("points", "damaged"))
    return {"power cuts": f"{points}, damaged: {damaged} (make faults, commit {found['commit']})"}


@dataclasses.dataclass
class Matrix:
    """Squares by (cell, scenario); stray: failures of no square, by test."""

    cells: list[str]
    scenarios: list[str]
    squares: dict[tuple[str, str], Square]
    stray: dict[str, str]

    @classmethod
    def read(cls, cells: Sequence[str], scenarios: Sequence[str], blocked: Mapping[str, str],
             unbuilt: Mapping[str, str], junit: pathlib.Path, plan: pathlib.Path, *,
             whole: bool = False) -> Matrix:  # fmt: skip
        """Return the matrix of these cells and scenarios, from the JUnit file and the plan (see squares.py).

        blocked: why cells cannot run on this host, by name; unbuilt: why cells have no image, by name, which is a
        failure. These are failures, too: a skipped test, because the matrix skips nothing; a planned test without a
        result; a square without a test and without a mark that says why; and in a run of the whole matrix, a scenario
        that passed nowhere. Without a file there was no test, or no plan.
        """
        planned = json.loads(plan.read_text(encoding="utf-8")) if plan.exists() else {}
        matrix = cls(list(cells), list(scenarios), {}, {})
        for cell in cells:
            for scenario in scenarios:
                tests = planned.get("tests", {}).get(cell, {}).get(scenario, [])
                left_out = planned.get("not applicable", {}).get(cell, {}).get(scenario, {})
                if cell in blocked:
                    square = Square(BLOCKED, why=blocked[cell])
                elif cell in unbuilt:
                    square = Square(FAIL, failures={unbuilt[cell].partition("\n")[0]: unbuilt[cell]})
                elif tests:
                    square = Square(PASS, failures=dict.fromkeys(tests, NO_RESULT), left_out=left_out)
                elif left_out:
                    square = Square(NOT_APPLICABLE, why="; ".join(left_out))
                else:
                    square = Square(FAIL, failures={f"{cell}, {scenario}": "no test, and no mark that says why"})
                matrix.squares[cell, scenario] = square
        for case in xml.etree.ElementTree.parse(junit).iter("testcase") if junit.exists() else ():
            if case.get("classname") != NOT_RUN:
                matrix._add(case)
        for square in matrix.squares.values():
            if square.failures:
                square.verdict = FAIL
        for scenario in scenarios if whole else ():
            if not any(matrix.squares[cell, scenario].verdict == PASS for cell in cells):
                matrix.stray[f"scenario {scenario}"] = NOWHERE
        return matrix

    def _add(self, case: xml.etree.ElementTree.Element) -> None:
        properties = {one.get("name"): one.get("value") or "" for one in case.iter("property")}
        name = "%s::%s" % (case.get("classname"), case.get("name"))
        wrong = [one for kind in ("failure", "error", "skipped") for one in case.iter(kind)]
        said = "\n\n".join("%s\n%s" % (one.get("message") or "", one.text or "") for one in wrong)
        consoles = [one for one in case.iter("property") if one.get("name") == "console"]
        said += "".join(f"\nconsole: {one.get('value')}" for one in consoles)
        square = self.squares.get((properties.get("cell", ""), properties.get("scenario", "")))
        if square is None:
            if wrong:
                self.stray[name] = said
            return
        square.tests += 1
        square.seconds += float(case.get("time") or 0)
        square.failures.pop(name, None)
        if wrong:
            square.failures[name] = said

    def complete(self, junit: pathlib.Path) -> None:
        """Add to the JUnit file what pytest did not run, so that this file alone tells everything: a skipped test case
        for each square that is BLOCKED or N/A, with the reason; a failed test case for each square that failed without
        a failed test, and for each scenario that passed nowhere.
        """
        root = xml.etree.ElementTree.Element("testsuites")
        if junit.exists():
            root = xml.etree.ElementTree.parse(junit).getroot()
        suite = root.find("testsuite")
        if suite is None:
            suite = xml.etree.ElementTree.SubElement(root, "testsuite", name="matrix", tests="0")
        said = [(name, "failure", text) for name, text in self.stray.items() if text == NOWHERE]
        for (cell, scenario), square in self.squares.items():
            name = f"{scenario}[{cell}]"
            said += [(name, "skipped", f"{square.verdict}: {square.why}")] if square.why else []
            said += [(name, "failure", text if text.startswith(test) else f"{test}: {text}")
                     for test, text in square.failures.items()
                     if not square.tests or text == NO_RESULT]  # fmt: skip
        for name, kind, message in said:
            case = xml.etree.ElementTree.SubElement(suite, "testcase", classname=NOT_RUN, time="0", name=name)
            xml.etree.ElementTree.SubElement(case, kind, message=message)
            for attribute in ("tests", "skipped" if kind == "skipped" else "failures"):
                suite.set(attribute, str(int(suite.get(attribute, "0")) + 1))
        xml.etree.ElementTree.ElementTree(root).write(junit, encoding="utf-8", xml_declaration=True)

    def count(self, verdict: str) -> int:
        """How many squares have this verdict."""
        return sum(square.verdict == verdict for square in self.squares.values())

    def exit_status(self) -> int:
        """0 if nothing failed and something passed: a run without tests, or only of blocked cells, is no success."""
        return 0 if self.count(PASS) and not self.count(FAIL) and not self.stray else 1

    def summary(self) -> str:
        """One line."""
        return (f"{self.count(PASS)} passed, {self.count(FAIL)} failed, {self.count(BLOCKED)} blocked, "
                f"{self.count(NOT_APPLICABLE)} not applicable")  # fmt: skip

    def reasons(self, verdict: str) -> dict[str, list[str]]:
        """Why squares are BLOCKED or N/A: the reason, and where it applies (a cell, or a scenario on a cell)."""
        found: dict[str, list[str]] = {}
        for (cell, scenario), square in self.squares.items():
            if square.verdict == verdict:
                where = cell if verdict == BLOCKED else f"{scenario} on {cell}"
                found.setdefault(square.why, [])
                if where not in found[square.why]:
                    found[square.why].append(where)
        return found

    def runnable(self) -> list[str]:
        """The cells that are not blocked."""
        return [cell for cell in self.cells if any(self.squares[cell, scenario].verdict != BLOCKED
                                                   for scenario in self.scenarios)]  # fmt: skip

    def provenances(self) -> dict[str, collections.Counter[str]]:
        """The number of squares with each verdict, by the provenance of the cells; and the number of `systems`."""
        found: dict[str, collections.Counter[str]] = {}
        for cell in self.cells:
            counter = found.setdefault(images.cell(cell).ground, collections.Counter())
            counter["systems"] += 1
            counter.update(self.squares[cell, scenario].verdict for scenario in self.scenarios)
        return found

    def table(self, colours: bool) -> str:
        """The matrix for a terminal, a line for each cell; then the blocked cells, and the last lines of each
        failure."""
        width = max([len(cell) for cell in self.cells] + [8])
        lines = []
        for number, scenario in enumerate(self.scenarios if self.runnable() else ()):
            lines.append(" " * (width + 2) + "\N{BOX DRAWINGS LIGHT VERTICAL} " * number + scenario)
        for cell in self.runnable():
            painted = [self._painted(self.squares[cell, scenario].verdict, colours) for scenario in self.scenarios]
            lines.append(f"{cell:{width}}  " + " ".join(painted))
        for reason, blocked in self.reasons(BLOCKED).items():
            lines.append(f"BLOCKED: {reason}: {', '.join(blocked)}")
        for where, name, said in self.failures():
            lines.append(f"FAIL {where}: {name}")
            lines += ["    | " + line for line in tail(said, TERMINAL_TAIL).splitlines()]
        legend = "   ".join(f"{self._painted(verdict, colours)} {verdict}" for verdict in SYMBOLS)
        return "\n".join([*lines, "", legend, self.summary()])

    def failures(self) -> list[tuple[str, str, str]]:
        """What failed: where, which test, and its output. A failure of a system in every scenario is listed once."""
        found: dict[tuple[str, str, str], list[str]] = {}
        for (cell, scenario), square in self.squares.items():
            for name, said in square.failures.items():
                found.setdefault((cell, name, said), []).append(scenario)
        everywhere = self.scenarios if len(self.scenarios) > 1 else None
        return [(f"{cell} {'(every scenario)' if where == everywhere else ', '.join(where)}", name, said)
                for (cell, name, said), where in found.items()
                ] + [("outside of the matrix", name, said) for name, said in self.stray.items()]  # fmt: skip

    @staticmethod
    def _painted(verdict: str, colours: bool) -> str:
        return f"\033[{ANSI[verdict]}m{SYMBOLS[verdict]}\033[0m" if colours else SYMBOLS[verdict]

    def page(self, seconds: float) -> str:
        """The matrix as one HTML page without other files. seconds: the duration of the run."""
        spent = f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
        head = "".join(f'<th scope="col" title="{html.escape(SCENARIOS[one])}"><span>{html.escape(one)}</span></th>'
                       for one in self.scenarios)  # fmt: skip
        known = {**about(), **power_cuts()}
        facts = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in known.items())
        totals = "".join(
            f"<tr><th scope=row>{html.escape(name)}</th><td>{count['systems']}</td>"
            + "".join(f'<td class="{_kind(verdict)}">{count[verdict] or ""}</td>' for verdict in SYMBOLS) + "</tr>"
            for name, count in self.provenances().items())  # fmt: skip
        details = "".join(self._failure(where, name, said) for where, name, said in self.failures())
        blocked = self.reasons(BLOCKED)
        systems = counted(len(self.cells) - len(self.runnable()), "system")
        return TEMPLATE.format(
            summary=html.escape(self.summary()), spent=spent, head=head, facts=facts, totals=totals,
            rows="".join(map(self._row, self.runnable())),
            details=f"<h2>What failed</h2>{details}" if details else "",
            blocked=self._fold(f"{systems} blocked on this machine", blocked),
            reasons=self._fold("Not applicable", self.reasons(NOT_APPLICABLE)) + self._left_out(),
        )  # fmt: skip

    def _row(self, name: str) -> str:
        cell = images.cell(name)
        words = html.escape(f"{cell.ground}, {cell.architecture}, OpenSSL {cell.openssl or 'none'}, {cell.mode}; "
                            f"stands for: {cell.stands_for}")  # fmt: skip
        squares = "".join(self._square(name, scenario) for scenario in self.scenarios)
        return f'<tr><th scope="row">{html.escape(name)}<small>{words}</small></th>{squares}</tr>'

    @staticmethod
    def _fold(heading: str, reasons: Mapping[str, Sequence[str]]) -> str:
        lines = "".join(f"<li><b>{html.escape(reason)}</b>: {html.escape(', '.join(where))}</li>"
                        for reason, where in reasons.items())  # fmt: skip
        return f"<details><summary>{heading}</summary><ul>{lines}</ul></details>" if lines else ""

    def _left_out(self) -> str:
        """The tests that do not apply to a cell, of squares that have other tests: a fold for each reason, a line for
        each square."""
        lines: dict[str, list[str]] = {}
        for (cell, scenario), square in self.squares.items():
            for reason, tests in square.left_out.items():
                times = collections.Counter(test.partition("[")[0] for test in tests)
                names = ", ".join(name + f" ({count} times)" * (count > 1) for name, count in times.items())
                lines.setdefault(reason, []).append(f"<li>{html.escape(f'{scenario} on {cell}: {names}')}</li>")
        return "".join(f"<details><summary>Not applicable in part: <b>{html.escape(reason)}</b>: "
                       f"{counted(len(found), 'scenario')}</summary><ul>{''.join(found)}</ul></details>"
                       for reason, found in lines.items())  # fmt: skip

    def _square(self, cell: str, scenario: str) -> str:
        square = self.squares[cell, scenario]
        title = f"{cell}, {scenario}: {square.verdict}"
        if square.tests:
            title += f", {counted(square.tests, 'test')} in {square.seconds:.1f} s"
        if square.why:
            title += f" ({square.why})"
        title += "".join(f"; {len(tests)} not applicable ({reason})" for reason, tests in square.left_out.items())
        took = f"<small>{square.seconds:.0f}</small>" if square.tests else ""
        label = f'<span class="label">{html.escape(scenario)}</span>'
        shown = SYMBOLS[square.verdict]
        if square.failures:
            shown = f'<a href="#{_anchor(next(iter(square.failures)))}">{shown}</a>'
        return f'<td class="{_kind(square.verdict)}" title="{html.escape(title)}">{shown}{label}{took}</td>'

    @staticmethod
    def _failure(where: str, name: str, said: str) -> str:
        end = tail(said, PAGE_TAIL)
        whole = ""
        if end != said.rstrip():
            whole = f"<details><summary>all that it said</summary><pre>{html.escape(said)}</pre></details>"
        return (f'<details id="{_anchor(name)}" open><summary><b>{html.escape(where)}</b> {html.escape(name)}</summary>'
                f"<pre>{html.escape(end)}</pre>{whole}</details>")  # fmt: skip


def _kind(verdict: str) -> str:
    return verdict.replace("/", "")


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


# Below 75rem there is no room for a column for each scenario: each system becomes a block with its scenarios by name.
TEMPLATE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>csulcca: scenarios on systems</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --ok: #1a7f37; --bad: #cf222e; --blocked: #9a6700; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ok: #3fb950; --bad: #ff7b72; --blocked: #d29922; }} }}
body {{ font: 16px/1.45 system-ui, sans-serif; margin: 1rem auto; max-width: 96rem; padding: 0 1rem; }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; margin: .5rem 0; }}
dt {{ opacity: .75; }} dd {{ margin: 0; overflow-wrap: anywhere; }}
table {{ border-collapse: collapse; }}
th, td {{ border-bottom: 1px solid var(--line); padding: .3rem .1rem; text-align: center; }}
.totals {{ margin: 1rem 0; }} .totals th, .totals td {{ padding: .15rem .5rem; font-size: .9rem; text-align: right; }}
.totals th[scope=row] {{ text-align: left; }}
.matrix {{ table-layout: fixed; width: 100%; }}
.matrix thead th {{ vertical-align: bottom; height: 9.5rem; font-size: .8rem; font-weight: 600; padding: .3rem 0; }}
.matrix thead th:first-child {{ width: 12rem; }}
.matrix thead th span {{ writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }}
.matrix th[scope=row] {{ text-align: left; overflow-wrap: anywhere; }}
.matrix td {{ font-size: 1.05rem; font-weight: 700; padding: .3rem 0; }}
.matrix .label {{ display: none; }}
small {{ display: block; font-weight: normal; opacity: .75; font-size: .68rem; }}
.PASS {{ color: var(--ok); }} .BLOCKED {{ color: var(--blocked); }}
.FAIL {{ color: var(--bad); }} .matrix .FAIL {{ background: #cf222e22; }}
.matrix .NA {{ opacity: .4; }} td a {{ color: inherit; }}
summary {{ overflow-wrap: anywhere; }}
li {{ overflow-wrap: anywhere; }}
pre {{ overflow-x: auto; padding: .6rem; border: 1px solid var(--line); font-size: .8rem; }}
input {{ font: inherit; padding: .3rem .5rem; width: min(100%, 22rem); margin: .3rem .5rem .3rem 0;
  box-sizing: border-box; }}
@media (max-width: 74.9rem) {{
  .matrix thead {{ display: none; }}
  .matrix, .matrix tbody {{ display: block; }}
  .matrix tr:not([hidden]) {{ display: flex; flex-wrap: wrap; gap: .25rem; padding: .8rem 0;
    border-bottom: 1px solid var(--line); }}
  .matrix th[scope=row] {{ flex-basis: 100%; border: 0; }}
  .matrix td:not([hidden]) {{ display: block; border: 1px solid var(--line); border-radius: .3rem;
    padding: .05rem .35rem; font-size: .8rem; }}
  .matrix .label {{ display: inline; font-weight: normal; margin-left: .3rem; }}
  .matrix td small {{ display: none; }}
  pre {{ white-space: pre-wrap; overflow-wrap: anywhere; }}
  .totals th, .totals td {{ padding: .15rem .3rem; font-size: .8rem; }}
}}
</style></head><body>
<h1>csulcca: scenarios on systems</h1>
<dl>{facts}<dt>result</dt><dd><b>{summary}</b>, in {spent}</dd></dl>
<table class="totals"><thead><tr><th></th><th>systems</th><th>passed</th><th>failed</th><th>blocked</th>
<th>N/A</th></tr></thead><tbody>{totals}</tbody></table>
{details}
<p><span class="PASS">\N{CHECK MARK} passed</span>, with the seconds that its tests took &nbsp;
<span class="FAIL">\N{BALLOT X} failed</span> &nbsp;
\N{EN DASH} N/A: does not apply to this system</p>
<p><input type="search" placeholder="only systems with these words" aria-label="systems" id="systems">
<input type="search" placeholder="only scenarios with these words" aria-label="scenarios" id="scenarios"></p>
<table class="matrix"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>
{blocked}
{reasons}
<script>
const chosen = (input, name) =>
  input.value.toLowerCase().split(/\\s+/).every(word => name.textContent.toLowerCase().includes(word));
document.getElementById("systems").addEventListener("input", event => {{
  for (const row of document.querySelectorAll(".matrix tbody tr"))
    row.hidden = !chosen(event.target, row.firstChild);
}});
document.getElementById("scenarios").addEventListener("input", event => {{
  for (const [place, name] of [...document.querySelector(".matrix thead tr").children].entries())
    for (const row of place ? document.querySelectorAll(".matrix tr") : [])
      row.children[place].hidden = !chosen(event.target, name);
}});
</script></body></html>
"""
