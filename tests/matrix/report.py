"""What the matrix found, from pytest's JUnit XML and the plan: squares with verdicts, as a table and as a page."""

import collections
import dataclasses
import html
import json
import pathlib
import xml.etree.ElementTree
from collections.abc import Mapping, Sequence

from tests.matrix import images
from tests.matrix.scenarios import SCENARIOS

TREE = pathlib.Path(__file__).resolve().parent.parent.parent
JUNIT = TREE / "dist/matrix.xml"
PAGE = TREE / "dist/matrix.html"
PLAN = TREE / "dist/matrix-plan.json"

# NOT_APPLICABLE is no verdict on the packages: the tests' own marks say that the scenario means nothing on the cell.
PASS, FAIL, BLOCKED, NOT_APPLICABLE = "PASS", "FAIL", "BLOCKED", "N/A"
SYMBOLS = {PASS: "\N{CHECK MARK}", FAIL: "\N{BALLOT X}", BLOCKED: "\N{WHITE SQUARE}", NOT_APPLICABLE: "\N{EN DASH}"}
NO_RESULT = "was to run and has no result"
NOWHERE = "has passed on no system"
# The class of those test cases in the JUnit file that pytest did not write.
NOT_RUN = "tests.matrix"
ANSI = {PASS: "32", FAIL: "31;1", BLOCKED: "33", NOT_APPLICABLE: "2"}


@dataclasses.dataclass
class Square:
    """One scenario on one cell.

    verdict: of the four above; seconds: that its tests took; tests: how many there are; why: the reason of BLOCKED
    and N/A; failures: what went wrong, by test; left_out: the tests that mean nothing on the cell, by the reason.
    """

    verdict: str
    seconds: float = 0.0
    tests: int = 0
    why: str = ""
    failures: dict[str, str] = dataclasses.field(default_factory=dict)
    left_out: dict[str, list[str]] = dataclasses.field(default_factory=dict)


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
             whole: bool = False) -> "Matrix":  # fmt: skip
        """What the JUnit file says of these cells and scenarios, held against the plan (see squares.py).

        blocked: why cells can't run on this host, by name; unbuilt: why there is no image of cells, by name, which is
        a failure. Red too: a test that was skipped, for in the matrix nothing is; one that was planned and has no
        result; a square for which there is no test, and no mark that says why; and where the run is of the whole
        matrix, a scenario that passed nowhere. No file: no test, no plan.
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
                    square = Square(FAIL, failures={f"{cell}: image": unbuilt[cell]})
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
        """Add to the JUnit file what pytest did not run, so that who reads that file alone is not told less: a skipped
        test case for each square that is BLOCKED or N/A, with the reason, a failed one for each that is red by itself
        and for each scenario that passed nowhere.
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
            said += [(name, "failure", f"{test}: {text}") for test, text in square.failures.items()
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
        """0 where nothing failed and something passed: a run of nothing, or of blocked cells alone, is no success."""
        return 0 if self.count(PASS) and not self.count(FAIL) and not self.stray else 1

    def summary(self) -> str:
        """One line."""
        return (f"{self.count(PASS)} passed, {self.count(FAIL)} failed, {self.count(BLOCKED)} blocked, "
                f"{self.count(NOT_APPLICABLE)} not applicable")  # fmt: skip

    def reasons(self, verdict: str) -> dict[str, list[str]]:
        """Why squares are BLOCKED or N/A: the reason, and what it is true of (a cell, or a scenario and its cells)."""
        found: dict[str, list[str]] = {}
        for (cell, scenario), square in self.squares.items():
            if square.verdict == verdict:
                where = cell if verdict == BLOCKED else f"{scenario} on {cell}"
                found.setdefault(square.why, [])
                if where not in found[square.why]:
                    found[square.why].append(where)
        return found

    def table(self, colours: bool) -> str:
        """The matrix for a terminal, a line a cell, with why it is blocked and, below, the names of what failed."""
        width = max([len(cell) for cell in self.cells] + [8])
        lines = []
        for number, scenario in enumerate(self.scenarios):
            lines.append(" " * (width + 2) + "\N{BOX DRAWINGS LIGHT VERTICAL} " * number + scenario)
        for cell in self.cells:
            row = [self.squares[cell, scenario] for scenario in self.scenarios]
            reason = f"  BLOCKED: {row[0].why}" if row[0].verdict == BLOCKED else ""
            painted = [self._painted(square.verdict, colours) for square in row]
            lines.append(f"{cell:{width}}  " + " ".join(painted) + reason)
        for (cell, scenario), square in self.squares.items():
            for name in square.failures:
                lines.append(f"FAIL {cell} {scenario}: {name}")
        lines += [f"FAIL outside of the matrix: {name}" for name in self.stray]
        legend = "   ".join(f"{self._painted(verdict, colours)} {verdict}" for verdict in SYMBOLS)
        return "\n".join([*lines, "", legend, self.summary()])

    @staticmethod
    def _painted(verdict: str, colours: bool) -> str:
        return f"\033[{ANSI[verdict]}m{SYMBOLS[verdict]}\033[0m" if colours else SYMBOLS[verdict]

    def page(self, seconds: float) -> str:
        """The matrix as one HTML page that needs nothing beside it. seconds: how long the run took."""
        head = "".join(f'<th scope="col" title="{html.escape(SCENARIOS[one])}"><span>{html.escape(one)}</span></th>'
                       for one in self.scenarios)  # fmt: skip
        rows = "".join(self._row(cell) for cell in self.cells)
        details = "".join(self._failure(f"{cell} \N{MULTIPLICATION SIGN} {scenario}", name, said)
                          for (cell, scenario), square in self.squares.items()
                          for name, said in square.failures.items())  # fmt: skip
        details += "".join(self._failure("outside of the matrix", name, said) for name, said in self.stray.items())
        reasons = "".join(self._reasons(heading, self.reasons(verdict)) for heading, verdict in
                          (("Blocked here", BLOCKED), ("Not applicable", NOT_APPLICABLE)))  # fmt: skip
        reasons += self._left_out()
        return TEMPLATE.format(
            summary=html.escape(self.summary()), seconds=f"{seconds:.0f}", head=head, rows=rows,
            details=f"<h2>What failed</h2>{details}" if details else "",
            reasons=reasons,
        )  # fmt: skip

    def _row(self, name: str) -> str:
        cell = images.cell(name)
        words = html.escape(f"{cell.provenance}, {cell.architecture}, OpenSSL {cell.openssl or 'none'}, {cell.mode}; "
                            f"stands for: {cell.stands_for}")  # fmt: skip
        squares = "".join(self._square(name, scenario) for scenario in self.scenarios)
        return f'<tr><th scope="row">{html.escape(name)}<small>{words}</small></th>{squares}</tr>'

    @staticmethod
    def _reasons(heading: str, reasons: Mapping[str, Sequence[str]]) -> str:
        lines = "".join(f"<li><b>{html.escape(reason)}</b>: {html.escape(', '.join(where))}</li>"
                        for reason, where in reasons.items())  # fmt: skip
        return f"<h2>{heading}</h2><ul>{lines}</ul>" if lines else ""

    def _left_out(self) -> str:
        """What means nothing on a cell of a square that has other tests: a fold for each reason, a line a square."""
        lines: dict[str, list[str]] = {}
        for (cell, scenario), square in self.squares.items():
            for reason, tests in square.left_out.items():
                counted = collections.Counter(test.partition("[")[0] for test in tests)
                names = ", ".join(name + f" ({count} times)" * (count > 1) for name, count in counted.items())
                lines.setdefault(reason, []).append(f"<li>{html.escape(f'{scenario} on {cell}: {names}')}</li>")
        folds = "".join(f"<details><summary><b>{html.escape(reason)}</b>: {len(found)} squares</summary>"
                        f"<ul>{''.join(found)}</ul></details>" for reason, found in lines.items())  # fmt: skip
        return f"<h2>Not applicable, of squares that have other tests</h2>{folds}" if folds else ""

    def _square(self, cell: str, scenario: str) -> str:
        square = self.squares[cell, scenario]
        title = f"{cell}, {scenario}: {square.verdict}"
        if square.tests:
            title += f", {square.tests} tests in {square.seconds:.1f} s"
        if square.why:
            title += f" ({square.why})"
        title += "".join(f"; {len(tests)} not applicable ({reason})" for reason, tests in square.left_out.items())
        took = f"<small>{square.seconds:.0f}</small>" if square.tests else ""
        shown = SYMBOLS[square.verdict]
        if square.failures:
            shown = f'<a href="#{_anchor(next(iter(square.failures)))}">{shown}</a>'
        kind = square.verdict.replace("/", "")
        return f'<td class="{kind}" title="{html.escape(title)}">{shown}{took}</td>'

    @staticmethod
    def _failure(where: str, name: str, said: str) -> str:
        return (f'<details id="{_anchor(name)}" open><summary><b>{html.escape(where)}</b> {html.escape(name)}</summary>'
                f"<pre>{html.escape(said)}</pre></details>")  # fmt: skip


def _anchor(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name)


TEMPLATE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>csulcca: systems and scenarios</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --ok: #1a7f37; --bad: #cf222e; --blocked: #9a6700; }}
@media (prefers-color-scheme: dark) {{ :root {{ --ok: #3fb950; --bad: #ff7b72; --blocked: #d29922; }} }}
body {{ font: 16px/1.45 system-ui, sans-serif; margin: 1rem auto; max-width: 80rem; padding: 0 1rem; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; }}
th, td {{ border-bottom: 1px solid var(--line); padding: .3rem .1rem; text-align: center; }}
thead th {{ vertical-align: bottom; height: 8.5rem; font-size: .85rem; font-weight: 600; }}
thead th span {{ writing-mode: vertical-rl; transform: rotate(180deg); white-space: nowrap; }}
th[scope=row] {{ text-align: left; min-width: 11rem; position: sticky; left: 0; background: Canvas; }}
small {{ display: block; font-weight: normal; opacity: .75; font-size: .72rem; }}
td {{ font-size: 1.15rem; font-weight: 700; min-width: 1.3rem; }}
.PASS {{ color: var(--ok); }} .BLOCKED {{ color: var(--blocked); }}
.FAIL {{ color: var(--bad); background: #cf222e22; }}
.NA {{ opacity: .4; }} td a {{ color: inherit; }}
pre {{ overflow-x: auto; padding: .6rem; border: 1px solid var(--line); font-size: .8rem; }}
input {{ font: inherit; padding: .3rem .5rem; width: min(100%, 22rem); margin: .3rem .5rem .3rem 0; }}
</style></head><body>
<h1>csulcca: systems and scenarios</h1>
<p><b>{summary}</b>, in {seconds} s.
<span class="PASS">\N{CHECK MARK} passed</span>, and the seconds that its tests took &nbsp;
<span class="FAIL">\N{BALLOT X} failed</span> &nbsp;
<span class="BLOCKED">\N{WHITE SQUARE} blocked: could not be run here</span> &nbsp;
\N{EN DASH} means nothing there</p>
<p><input type="search" placeholder="only systems with these words" aria-label="systems" id="systems">
<input type="search" placeholder="only scenarios with these words" aria-label="scenarios" id="scenarios"></p>
<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>
{reasons}
{details}
<script>
const chosen = (input, name) =>
  input.value.toLowerCase().split(/\\s+/).every(word => name.textContent.toLowerCase().includes(word));
document.getElementById("systems").addEventListener("input", event => {{
  for (const row of document.querySelectorAll("tbody tr"))
    row.hidden = !chosen(event.target, row.firstChild);
}});
document.getElementById("scenarios").addEventListener("input", event => {{
  for (const [place, name] of [...document.querySelector("thead tr").children].entries())
    for (const row of place ? document.querySelectorAll("tr") : [])
      row.children[place].hidden = !chosen(event.target, name);
}});
</script></body></html>
"""
