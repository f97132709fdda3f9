"""What Debian's reviewers run, each release with its own tools: a build from a commit, and lintian."""

import re

import pytest

from tests.test_ci_files import committed

from .packages import TREE

pytestmark = [
    pytest.mark.scenario("review"),
    pytest.mark.bare,
    pytest.mark.only(lambda cell: "lintian" in cell.recipe.get("packages", []), "it has no tools for reviewers"),
]
LINTIAN = "lintian --allow-root --pedantic --display-info --fail-on"
LONG_S = 600


def test_lintian_finds_nothing(boot, built):
    """Newer versions of lintian also report an override that is not used."""
    system = boot(boot=False)
    package = built.new("deb")
    system.machine.copy_in(package, f"/root/{package.name}")
    system.machine.run(f"{LINTIAN} error,warning,info,pedantic /root/{package.name}", timeout=LONG_S)


def test_gbp_builds_from_a_commit_and_lintian_finds_only_what_is_explained(boot, tmp_path):
    """The jobs `extract-source`, `build` and `lintian` of Salsa's pipeline, the last one stricter."""
    system = boot(boot=False)
    system.machine.copy_in(committed(tmp_path), "/root/csulcca")
    # -d: nothing is compiled, and no compiler is there.
    done = system.machine.run("cd /root/csulcca && git config --global safe.directory '*' && gbp export-orig"
                              " && gbp buildpackage --git-ignore-branch -us -uc -d 2>&1", timeout=LONG_S)  # fmt: skip
    assert "passed" in done.out
    explained = re.findall(r"(?m)^\* ([a-z-]+): ", (TREE / "debian/README.source").read_text())
    assert "newer-standards-version" in explained
    said = system.machine.run(f"cd /root && {LINTIAN} error csulcca_*.changes", timeout=LONG_S).out
    # "W: csulcca source: TAG", and without a word before the last colon for a binary package.
    found = re.findall(r"(?m)^[A-Z]: [^:]+: (\S+)", said)
    assert set(found) <= set(explained), said
