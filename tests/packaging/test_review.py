"""What Debian's reviewers run, each release with its own tools: a build from a commit, and lintian."""

import pytest

from tests.test_ci_files import committed

pytestmark = [
    pytest.mark.scenario("review"),
    pytest.mark.bare,
    pytest.mark.only(lambda cell: "lintian" in cell.recipe.get("packages", []), "it has no tools for reviewers"),
]
LINTIAN = "lintian --allow-root --pedantic --display-info --fail-on error,warning,info,pedantic"


def test_lintian_finds_nothing(boot, built):
    """Nor an override that is of no use, which newer ones report."""
    system = boot(boot=False)
    package = built.new("deb")
    system.machine.copy_in(package, f"/root/{package.name}")
    system.machine.run(f"{LINTIAN} /root/{package.name}")


def test_gbp_builds_from_a_commit_and_lintian_finds_no_error(boot, tmp_path):
    """The jobs `extract-source`, `build` and `lintian` of Salsa's pipeline."""
    system = boot(boot=False)
    system.machine.copy_in(committed(tmp_path), "/root/csulcca")
    # -d: nothing is compiled, and no compiler is there.
    done = system.machine.run("cd /root/csulcca && git config --global safe.directory '*' && gbp export-orig"
                              " && gbp buildpackage --git-ignore-branch -us -uc -d 2>&1", timeout=300)  # fmt: skip
    assert "passed" in done.out
    system.machine.run("cd /root && lintian --allow-root --fail-on error csulcca_*.changes")
