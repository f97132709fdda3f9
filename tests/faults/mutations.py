"""Remove one protection after another from a copy of the tree, and check that its tests turn red.

`python -m tests.faults.mutations [NAME...]`, of hazards.toml; without a name, all of them. Exit status 1 if one stays
green. The tests first run on the unchanged copy: only what is green there counts.
"""

import concurrent.futures
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tests.faults import hazards
from tests.faults.hazards import Mutation

TREE = hazards.TESTS.parent
PARTS = ("catcher_install", "hooks", "install", "payload", "share", "units", "tools", "tests", "man", "docs",
         "README.md", "LICENSE", "contrib", "setup.cfg", "Makefile", "rpm", "debian", "selinux")  # fmt: skip
WORKERS = 2
TIMEOUT_S = 600


def passes(tree: pathlib.Path, tests: tuple[str, ...]) -> bool:
    """Whether all of these tests pass in a tree. Raises RuntimeError if pytest could not run them."""
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
               *(f"tests/{test}" for test in tests)]  # fmt: skip
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=TIMEOUT_S)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"pytest ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.returncode == 0


def copy(target: pathlib.Path) -> pathlib.Path:
    """A copy of the files that the unit tests need."""
    for part in PARTS:
        source = TREE / part
        if source.is_dir():
            shutil.copytree(source, target / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / part)
    return target


def turns_red(mutation: Mutation) -> str:
    """Try a mutation. Returns "red", "green" (no test saw it), "not green before", or "its text is not there"."""
    with tempfile.TemporaryDirectory(prefix="csulcca-mutation-") as directory:
        tree = copy(pathlib.Path(directory))
        if not passes(tree, mutation.red):
            return "not green before"
        path = tree / mutation.file
        text = path.read_text()
        if mutation.old not in text:
            return "its text is not there"
        path.write_text(text.replace(mutation.old, mutation.new, 1))
        return "green" if passes(tree, mutation.red) else "red"


def main(names: list[str]) -> int:
    """The command line; see the module's docstring."""
    known = {one.name: one for one in hazards.mutations()}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"error: no such mutation: {', '.join(unknown)}\nhint: one of: {', '.join(known)}", file=sys.stderr)
        return 2
    chosen = [known[name] for name in names] or list(known.values())
    wrong = 0
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for mutation, result in zip(chosen, pool.map(turns_red, chosen), strict=True):
            print(f"{result:16} {mutation.name} (hazards {', '.join(map(str, mutation.hazards))})", flush=True)
            wrong += result != "red"
    print(f"mutations {len(chosen)}, not seen {wrong}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
