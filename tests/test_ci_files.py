"""The CI files agree with the declaration, and the tool or schema of each accepts it."""

import dataclasses
import fnmatch
import os
import re
import shutil
import subprocess
import tomllib
import xml.etree.ElementTree
from pathlib import Path

import pytest
import yaml

from tests.matrix import engine, images
from tools import ci_files

from .test_linters import clean, tool

TREE = ci_files.TREE
YAML = [name for name in ci_files.FILES if name.endswith((".yml", ".yaml", ".fmf"))]


def test_no_file_is_stale():
    assert ci_files.stale() == [], "make ci-files"


def test_a_change_of_the_declaration_makes_files_stale(monkeypatch):
    real = ci_files.declared()
    more = {**real, "new-system": {"oci": "example/new:1", "packit": "new-1", "obs": "New:1/standard s390x"}}
    monkeypatch.setattr(ci_files, "declared", lambda: more)
    assert set(ci_files.stale()) == {".github/workflows/check.yml", ".gitlab-ci.yml", ".packit.yaml",
                                     ".obs/workflows.yml"}  # fmt: skip


def test_a_mistake_in_the_declaration_is_one_line_and_what_to_do(monkeypatch, capsys, tmp_path):
    (tmp_path / "distros.toml").write_text("[cell.one\n")
    monkeypatch.setattr(images, "DECLARATION", tmp_path / "distros.toml")
    images.cells.cache_clear()
    assert ci_files.main(["--check"]) == 1
    images.cells.cache_clear()
    problem, hint = capsys.readouterr().err.splitlines()
    assert "distros.toml is not valid TOML" in problem and hint


def test_every_system_that_a_runner_can_have_has_a_job():
    """Those that it can't need something that Debian's mirrors do not have, or are machines in qemu."""
    jobs = yaml.safe_load(ci_files.github())["jobs"]["system"]["strategy"]["matrix"]["cell"]
    assert jobs == yaml.safe_load(ci_files.gitlab())["system"]["parallel"]["matrix"][0]["CELL"]
    missing = {*images.cells()} - {*jobs}
    assert all(images.cell(name).recipe.get("needs") or images.cell(name).kind == "machine" for name in missing)
    assert len(jobs) + len(missing) == len(images.cells())


def test_every_machine_has_a_job_that_keeps_its_console():
    github, gitlab = yaml.safe_load(ci_files.github())["jobs"]["machine"], yaml.safe_load(ci_files.gitlab())["machine"]
    wanted = [cell.name for cell in images.cells().values() if cell.kind == "machine"]
    assert len(wanted) > 3
    assert github["strategy"]["matrix"]["cell"] == gitlab["parallel"]["matrix"][0]["CELL"] == wanted
    assert github["steps"][1]["run"] == "sudo CI=true " + gitlab["script"][0] == 'sudo CI=true make matrix CELL="$CELL"'
    kept = (github["steps"][2]["with"]["path"].split(), gitlab["artifacts"]["paths"])
    assert kept == (["dist/matrix*", "dist/console-*.log"],) * 2


def test_actionlint_accepts():
    clean("actionlint", TREE / ".github/workflows/check.yml")


def test_actions_are_pinned_by_commit():
    used = re.findall(r"uses: (.*)", ci_files.github())
    assert len(used) > 8
    assert [one for one in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", one)] == []


def test_a_newer_push_takes_the_place_of_the_run_before_but_not_of_a_release():
    """On GitHub only the run of a pull request is cancelled: on a branch each commit keeps its result."""
    concurrency = yaml.safe_load(ci_files.github())["concurrency"]
    assert concurrency == {"group": "${{ github.workflow }}-${{ github.ref }}",
                           "cancel-in-progress": "${{ github.event_name == 'pull_request' }}"}  # fmt: skip
    jobs = yaml.safe_load(ci_files.gitlab())
    assert jobs["default"]["interruptible"] is True and jobs["release"]["interruptible"] is False


def test_what_jobs_leave_does_not_stay_for_ever_but_for_a_release():
    jobs = yaml.safe_load(ci_files.gitlab())
    kept = {name: job["artifacts"]["expire_in"] for name, job in jobs.items() if "artifacts" in job}
    assert kept.pop("release") == "never"
    assert set(kept) >= {"packages", "check", ".system"} and "never" not in kept.values()


def test_an_image_is_kept_by_what_it_is_made_of(capsys, monkeypatch):
    """The key that the workflow asks for needs no engine, and follows the recipe."""
    monkeypatch.setattr(engine, "prepare", lambda: pytest.fail("something ran"))
    keys = []
    for cell in images.cells().values():
        images.main(["key", cell.name])
        keys.append(capsys.readouterr().out.strip())
    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch(r"[\w.-]+-[0-9a-f]{12}", key) for key in keys)
    for cell in (images.with_role("example")[0], images.with_role("ready-made")[0]):
        change = {"recipe": {**cell.recipe, "packages": ["x"]}} if cell.recipe else {"add": ["x"]}
        assert images.cache_key(dataclasses.replace(cell, **change)) != images.cache_key(cell)


def test_whatever_the_build_makes_is_uploaded_and_released(tmp_path):
    """Packages, bill of materials and sums. GitLab keeps all of dist/."""
    clean("python3", TREE / "tools/build_packages.py", "--output", tmp_path)
    jobs = yaml.safe_load(ci_files.github())["jobs"]
    uploaded = jobs["packages"]["steps"][2]["with"]["path"].split()
    released = re.findall(r"dist/\S+", jobs["release"]["steps"][3]["run"])
    made = [f"dist/{path.name}" for path in tmp_path.iterdir()]
    assert len(made) > 3
    for patterns in (uploaded, released):
        assert [name for name in made if not any(fnmatch.fnmatch(name, one) for one in patterns)] == []
    gitlab = yaml.safe_load(ci_files.gitlab())
    assert gitlab["packages"]["artifacts"]["paths"] == gitlab["release"]["artifacts"]["paths"] == ["dist/"]


@pytest.mark.parametrize("tag, key, said", [("v{}", True, ""), ("v0", True, "is not the version"),
                                            ("v{}", False, "SIGNING_KEY is empty")], ids=str)  # fmt: skip
def test_a_release_is_signed_with_the_key_of_the_secret(tmp_path, tag, key, said):
    """The script of the job with a real gpg; `make` writes down which key it is given."""
    (home := tmp_path / "gnupg").mkdir(mode=0o700)
    (other := tmp_path / "signer").mkdir(mode=0o700)
    make = tmp_path / "bin/make"
    make.parent.mkdir()
    make.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/made\nmkdir -p dist/repo\n')
    make.chmod(0o755)
    gpg = ["gpg", "--batch", "--homedir", other, "--passphrase", ""]
    subprocess.run([*gpg, "--quick-generate-key", "release@csulcca.invalid", "ed25519", "sign"], check=True)
    secret = subprocess.run([*gpg, "--armor", "--export-secret-keys"], check=True, text=True, stdout=subprocess.PIPE)
    listed = subprocess.run([*gpg, "--with-colons", "--list-keys"], check=True, text=True, stdout=subprocess.PIPE)
    shutil.copy(TREE / "setup.cfg", tmp_path)
    environment = {"PATH": f"{make.parent}:/usr/bin:/bin", "GNUPGHOME": str(home),
                   "TAG": tag.format(ci_files.setting("metadata", "version")),
                   "SIGNING_KEY": secret.stdout if key else ""}  # fmt: skip
    for job in (yaml.safe_load(ci_files.github())["jobs"]["release"]["steps"][2]["run"],
                yaml.safe_load(ci_files.gitlab())["release"]["script"][0]):  # fmt: skip
        done = subprocess.run(["bash", "-ec", job], cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)  # fmt: skip
        assert (done.returncode == 0) == (not said), done.stdout
        assert said in done.stdout
        if not said:
            fingerprint = re.search(r"(?m)^fpr:+([0-9A-F]+):", listed.stdout)
            assert fingerprint and (tmp_path / "made").read_text() == f"repo KEY={fingerprint[1]}\n"
            assert (tmp_path / "dist/repo.tar.gz").exists()


def test_an_image_without_gpg_gets_it_before_a_key_is_imported():
    """GitHub's machines have an engine. The image in which GitLab runs the job does not."""
    jobs = yaml.safe_load(ci_files.gitlab())
    assert "gpg " in jobs["release"]["script"][0]
    assert "gnupg" in jobs["default"]["before_script"][-1].split()


def test_the_job_that_checks_runs_what_ci_runs_and_publishes_what_each_part_found():
    """In tools/check.sh each part with tests writes results, and no two parts write the same file."""
    github = yaml.safe_load(ci_files.github())["jobs"]["check"]["steps"]
    gitlab = yaml.safe_load(ci_files.gitlab())["check"]
    assert "sudo .ci/run" in [step.get("run") for step in github], "sudo does not hand CI on"
    assert gitlab["script"] == [".ci/run"]
    uploaded = {step["with"]["path"] for step in github if "with" in step}
    (published,) = uploaded | {gitlab["artifacts"]["reports"]["junit"]}
    script = (TREE / "tools/check.sh").read_text(encoding="utf-8").replace("\\\n", " ")
    runs = [line for line in script.splitlines() if " -m pytest " in line]
    results = [re.search(r'--junitxml="?(\S+?)"?(?= |$)', line) for line in runs]
    assert len(runs) > 4 and all(results), runs
    names = [found[1] for found in results if found]
    assert len(set(names)) == len(names)
    assert all(fnmatch.fnmatch(name, published) for name in names), (names, published)


@pytest.mark.parametrize("name, schema", [
    (".github/workflows/check.yml", "vendor.github-workflows"),
    (".gitlab-ci.yml", "vendor.gitlab-ci"),
    ("debian/salsa-ci.yml", "vendor.gitlab-ci"),
])  # fmt: skip
def test_the_schema_of_its_service_accepts(name, schema):
    transform = ["--data-transform", "gitlab-ci"] if "gitlab" in schema else []
    clean("check-jsonschema", "--builtin-schema", schema, *transform, TREE / name)


@pytest.mark.parametrize("name, schema", [
    (".packit.yaml", "packit"),
    (".obs/workflows.yml", "obs-workflows"),
])  # fmt: skip
def test_our_schema_of_its_service_accepts(name, schema):
    """If a tool has no public schema, tests/schemas has a schema of the keys that we use."""
    clean("check-jsonschema", "--schemafile", TREE / f"tests/schemas/{schema}.json", TREE / name)


def test_salsa_knows_the_variables():
    """One that it does not know is no error there. Those of its README, "Select which jobs run in the CI pipeline"."""
    jobs = {"APTLY", "AUTOPKGTEST", "BLHC", "LINTIAN", "PIUPARTS", "REPROTEST", "MISSING_BREAKS", "BUILD_PACKAGE_ALL",
            "BUILD_PACKAGE_ANY", "BUILD_PACKAGE_I386", "CROSSBUILD_ARM64"}  # fmt: skip
    given = yaml.safe_load(ci_files.salsa())["variables"]
    assert not given.keys() - {f"SALSA_CI_DISABLE_{job}" for job in jobs}


def test_the_test_of_the_installed_package_asks_for_nothing_that_only_one_family_calls_so():
    with open(TREE / "tests/matrix/distros.toml", "rb") as file:
        lists = tomllib.load(file)["packages"]
    wanted = {*yaml.safe_load(ci_files.tmt_test())["require"]}
    assert not wanted & ({*lists["dnf"]} ^ {*lists["zypper"]})


def test_tmt_lint_accepts_plan_and_test():
    said = clean("tmt", "--feeling-safe", "lint", "--failed-only")
    assert "fail" not in said.split(), said


def test_the_version_is_in_the_recipes_of_obs(monkeypatch):
    """A release for which these files were not written again is noticed."""
    metadata, changes = ci_files.release()
    newer = changes[0]._replace(version="8.9.9-1", lines=["* Something."])
    monkeypatch.setattr(ci_files, "release", lambda: (metadata._replace(version="8.9.9"), [newer, *changes]))
    assert set(ci_files.stale()) == {".obs/csulcca.spec", ".obs/csulcca.dsc"}


def test_obs_builds_where_a_project_has_the_architecture_and_the_programs_of_the_service():
    (step,) = (step for step in yaml.safe_load(ci_files.obs_workflows())["workflow"]["steps"]
               if "configure_repositories" in step)  # fmt: skip
    repositories = step["configure_repositories"]["repositories"]
    architectures = {one["paths"][-1]["target_project"]: one["architectures"] for one in repositories}
    assert len(architectures) == len(repositories)
    assert "s390x" not in architectures["openSUSE:Factory"]
    assert architectures["openSUSE:Factory:zSystems"] == ["s390x"]
    for one in repositories:
        projects = [path["target_project"] for path in one["paths"]]
        assert "SUSE:" in projects[-1] or projects[0] == "openSUSE:Tools", one["name"]


@pytest.fixture(scope="module")
def obs_package(tmp_path_factory):
    """What _service leaves in a package of the Open Build Service: the archive, and what is extracted of it."""
    services = xml.etree.ElementTree.fromstring(ci_files.obs_service())
    assert [one.get("name") for one in services] == ["obs_scm", "tar", "recompress"]
    params = [(param.get("name"), param.text) for param in services[0]]
    name = "{filename}-{version}".format(**dict(params))
    work = tmp_path_factory.mktemp("obs")
    (work / name).mkdir()
    tracked = clean("git", "ls-files", "-z").rstrip("\0")
    subprocess.run(["cp", "--parents", *tracked.split("\0"), work / name], cwd=TREE, check=True)
    package = work / "package"
    package.mkdir()
    subprocess.run(["tar", "-C", work, "-czf", package / f"{name}.tar.gz", name], check=True)
    for key, value in params:
        if key == "extract":
            shutil.copy(work / name / value, package)
    return package


@pytest.fixture
def pytest_in_the_build_root(monkeypatch):
    """%check and dh_auto_test want it, and only .venv has it here."""
    monkeypatch.setenv("PATH", f"{TREE}/.venv/bin:{os.environ['PATH']}")


def test_obs_builds_an_rpm_of_what_it_has(obs_package, tmp_path, pytest_in_the_build_root):
    (spec,) = obs_package.glob("*.spec")
    clean("rpmspec", "-P", spec)
    places = {"_topdir": tmp_path, "_sourcedir": obs_package}
    defines = [word for name, path in places.items() for word in ("--define", f"{name} {path}")]
    clean("rpmbuild", "-ba", "--nodeps", *defines, spec)
    version = ci_files.release()[1][0].version
    assert [path.name for path in tmp_path.glob("SRPMS/*")] == [f"csulcca-{version}.src.rpm"]
    (rpm,) = tmp_path.glob("RPMS/noarch/*.rpm")
    assert "/opt/IBM/CCA/bin/catcher.exe\n" in clean("rpm", "-qpl", "--nosignature", rpm)
    assert "csulcca_payload=reference" in clean("rpm", "-qp", "--nosignature", "--scripts", rpm)


OBS_NEEDS = """\
use Build;
my $recipe = Build::parse(Build::read_config('x86_64', []), $ARGV[0]);
print join("\\n", @{$recipe->{'deps'}});
"""


def test_obs_leaves_out_the_check_that_somebody_owns_each_directory(obs_package):
    """It is in the build roots of openSUSE and SLE, and fails the build for /opt/IBM, which may be a link."""
    program = next(Path("/usr/lib").glob("*build/Build.pm"), None) or Path(tool("debtransform"))
    (spec,) = obs_package.glob("*.spec")
    needs = clean("perl", f"-I{program.parent}", "-e", OBS_NEEDS, spec).split()
    assert "systemd-rpm-macros" in needs and "-post-build-checks" in needs


def test_obs_builds_a_deb_of_what_it_has(obs_package, tmp_path, pytest_in_the_build_root):
    """As its build-recipe-dsc does: debtransform, dpkg-source, dpkg-buildpackage."""
    assert list(obs_package.glob("debian.*")), "it does not run debtransform without any"
    debtransform = next(Path("/usr/lib").glob("*build/debtransform"), "debtransform")
    (dsc,) = obs_package.glob("*.dsc")
    # It makes hard links, so it all has to be on one file system.
    transformed = obs_package.parent / "transformed"
    transformed.mkdir()
    clean(debtransform, obs_package, dsc, transformed)
    (dsc,) = transformed.glob("*.dsc")
    tree = tmp_path / "tree"
    clean("dpkg-source", "-x", dsc, tree)
    clean("dpkg-buildpackage", "-us", "-uc", "-b", "-d", cwd=tree)
    (deb,) = tmp_path.glob("*.deb")
    assert deb.name == f"csulcca_{ci_files.release()[1][0].version}_all.deb"
    assert "./opt/IBM/CCA/bin/catcher.exe\n" in clean("dpkg-deb", "-c", deb)


def committed(place):
    """The tree as a clone of its repository has it, in the directory `csulcca` of that place."""
    tree = place / "csulcca"
    tree.mkdir()
    tracked = clean("git", "ls-files", "-z").rstrip("\0")
    subprocess.run(["cp", "--parents", *tracked.split("\0"), tree], cwd=TREE, check=True)
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@csulcca.invalid"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], cwd=tree, check=True)
    return tree


def test_salsa_makes_the_original_archive_and_the_source_package(tmp_path):
    """As its pipeline does: gbp export-orig, a source package of the tree, lintian with --fail-on error."""
    tree = committed(tmp_path)
    clean("gbp", "export-orig", cwd=tree)
    version = ci_files.release()[1][0].version
    assert (tmp_path / f"csulcca_{version.partition('-')[0]}.orig.tar.gz").exists()
    clean("dpkg-source", "-b", tree, cwd=tmp_path)
    clean("lintian", "--allow-root", "--fail-on", "error", tmp_path / f"csulcca_{version}.dsc")


def test_the_build_of_the_deb_asks_for_each_package_once():
    """As lintian has it (redundant-build-prerequisites): python3:any is python3, of whatever architecture."""
    (line,) = re.findall("(?m)^Build-Depends: (.*)$", (TREE / "debian/control").read_text())
    names = [re.split("[: ]", one)[0] for one in line.split(", ")]
    assert len(names) == len(set(names)), names


@pytest.mark.parametrize("name", YAML)
def test_it_is_yaml_without_repeated_keys(name):
    clean("yamllint", "-d", "{extends: relaxed, rules: {line-length: disable}}", TREE / name)


def test_packit_gets_a_spec_and_an_archive(tmp_path):
    tracked = clean("git", "ls-files", "-z").rstrip("\0")
    subprocess.run(["cp", "--parents", *tracked.split("\0"), tmp_path], cwd=TREE, check=True)
    config = yaml.safe_load(ci_files.packit())
    for step in ("post-upstream-clone", "get-current-version", "create-archive"):
        (command,) = config["actions"][step]
        said = subprocess.run(["sh", "-c", command], cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True).stdout
        if step == "get-current-version":
            assert said.strip() == ci_files.setting("metadata", "version")
    archive = said.strip().splitlines()[-1]
    assert (tmp_path / archive).is_file()
    assert (tmp_path / archive).parent == (tmp_path / config["specfile_path"]).parent
    clean("rpmspec", "-P", tmp_path / config["specfile_path"])
