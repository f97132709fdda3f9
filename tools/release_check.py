"""Run every command of docs/release.md and say which claims are true: `make release-check [ONLY=words of a line]`.

Verdicts: PASS; FAIL; and BLOCKED, with the reason, if this computer skipped every test that the command selects.
BLOCKED does not count as passed. Exit status 0 only if all passed.
"""

import argparse
import dataclasses
import pathlib
import re
import subprocess
import sys
import time
from collections.abc import Sequence

TREE = pathlib.Path(__file__).resolve().parent.parent
PAGE = TREE / "docs/release.md"
LOGS = TREE / "dist/release-check"
WIDTH = 100


@dataclasses.dataclass(frozen=True)
class Claim:
    """A line of the page. heading: of its part."""

    heading: str
    text: str
    command: str


def claims(page: str) -> list[Claim]:
    """The lines of the page's tables. Raises ValueError for a line of a table that is not a claim and its command."""
    found, heading = [], ""
    for line in page.splitlines():
        if line.startswith("## "):
            heading = line.removeprefix("## ")
        if not line.startswith("|") or line in ("| claim | command |", "| --- | --- |"):
            continue
        parts = re.fullmatch(r"\| (.+) \| `([^`]+)` \|", line)
        if parts is None:
            raise ValueError(f"no claim and its command: {line}")
        found.append(Claim(heading, parts[1], parts[2]))
    return found


def verdict(status: int, output: str) -> tuple[str, str]:
    """PASS, FAIL or BLOCKED, and a remark, from the exit status and the output of a command."""
    counts = dict.fromkeys(("passed", "failed", "error", "skipped", "blocked"), 0)
    for number, what in re.findall(r"\b(\d+) (passed|failed|error|skipped|blocked)", output):
        counts[what] += int(number)
    reasons = re.findall(r"(?m)^(?:SKIPPED \[\d+\] [^:]+(?::\d+)?|BLOCKED): (.*)$", output)
    reason = reasons[0] if reasons else "its output says why"
    # Skipped by pytest, which then ends with 0, or blocked in the matrix, which ends with 1 if that is all.
    not_run = counts["skipped"] + counts["blocked"]
    if not_run and not any(counts[what] for what in ("passed", "failed", "error")):
        return "BLOCKED", reason
    if status:
        return "FAIL", f"exit status {status}"
    return "PASS", f"{not_run} not run: {reason}" if not_run else ""


def check(claim: Claim, log: pathlib.Path) -> tuple[str, str]:
    """Run the command of a claim, with its output in a file. Returns the verdict and a remark."""
    done = subprocess.run(["/bin/sh", "-c", claim.command], cwd=TREE, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)  # fmt: skip
    output = done.stdout.decode(errors="replace")
    log.write_text(f"$ {claim.command}\n{output}")
    return verdict(done.returncode, output)


def main(arguments: Sequence[str]) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.release_check", description="The claims of a release.")
    parser.add_argument("--only", default="", metavar="WORDS", help="of a claim or its heading")
    options = parser.parse_args(arguments)
    wanted = [(number, claim) for number, claim in enumerate(claims(PAGE.read_text(encoding="utf-8")), 1)
              if options.only.lower() in f"{claim.heading} {claim.text}".lower()]  # fmt: skip
    if not wanted:
        print(f"no line of {PAGE.relative_to(TREE)} has: {options.only}\n  leave ONLY= out to see all", file=sys.stderr)
        return 2
    LOGS.mkdir(parents=True, exist_ok=True)
    heading, counts = "", dict.fromkeys(("PASS", "FAIL", "BLOCKED"), 0)
    for number, claim in wanted:
        if claim.heading != heading:
            heading = claim.heading
            print(f"\n{heading}", flush=True)
        begin = time.monotonic()
        found, remark = check(claim, LOGS / f"{number:02}.log")
        counts[found] += 1
        print(f"  {found:7} {time.monotonic() - begin:5.0f} s  {claim.text[:WIDTH]}", flush=True)
        if remark:
            print(f"                     {remark[:WIDTH]}", flush=True)
        if found == "FAIL":
            print(f"                     {claim.command}", flush=True)
            print(f"                     dist/release-check/{number:02}.log", flush=True)
    print("\n" + ", ".join(f"{count} {name}" for name, count in counts.items() if count))
    return 0 if counts["PASS"] == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
