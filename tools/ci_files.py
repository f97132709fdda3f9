"""CI configuration that builds and tests the packages on other services: `make ci-files`, `make ci-files CHECK=1`.

Every list of systems in these files comes from tests/matrix/distros.toml, and every version from setup.cfg and
debian/changelog; a change there and this command keep them true. With --check nothing is written: the exit status is 1
if a file differs from what these give.
"""

from __future__ import annotations

import argparse
import configparser
import pathlib
import re
import sys
from collections.abc import Callable
from typing import Any

from tests.matrix import images, toml
from tests.matrix.engine import MatrixError
from tools.build_packages import filled_in
from tools.changelog import Change, Metadata, changes_for, read_changes, read_metadata
from tools.refusal import Refused

TREE = pathlib.Path(__file__).resolve().parent.parent
HEADER = "# Made by `make ci-files` from tests/matrix/distros.toml; edit tools/ci_files.py instead.\n"
# The test of an installed package. It is in debian/tests, and both autopkgtest and tmt run it.
TEST = "installed"
# The Open Build Service builds one archive in many systems, by these recipes.
OBS_SPEC = ".obs/csulcca.spec"
OBS_DSC = ".obs/csulcca.dsc"
OBS_CHANGELOG = ".obs/debian.changelog"
MINUTES_CHECK = 90
MINUTES_CELL = 60
# A machine of another architecture is emulated.
MINUTES_MACHINE = 180
# By commit, because a tag can be moved.
ACTIONS = {
    "actions/checkout": "11bd71901bbe5b1630ceea73d27597364c9af683 # v4.2.2",
    "actions/cache": "5a3ec84eff668545956fd18022155c47e93e2684 # v4.2.3",
    "actions/upload-artifact": "ea165f8d65b6e75b540449e92b4886f43607fa02 # v4.6.2",
    "actions/download-artifact": "d3f86a106a0bac45b974a628896c90dbdf5c8093 # v4.3.0",
}
# The files of dist/ that are published.
RELEASED = ("*.deb", "*.rpm", "*.spdx.json", "SHA256SUMS")
# For a job of a tag. The secret SIGNING_KEY has an ASCII-armoured private key without a passphrase.
SIGN = """\
version=$(sed -n 's/^version *= *//p' setup.cfg)
test "$TAG" = "v$version" || { echo "the tag $TAG is not the version of setup.cfg, v$version"; exit 1; }
test -n "$SIGNING_KEY" || { echo "the secret SIGNING_KEY is empty: put a private key into it, ASCII-armoured"; exit 1; }
printf '%s\\n' "$SIGNING_KEY" | gpg --batch --import
make repo KEY="$(gpg --batch --with-colons --list-secret-keys | awk -F: '$1 == "fpr" { print $10; exit }')"
tar -C dist -czf dist/repo.tar.gz repo
"""


def setting(section: str, key: str) -> str:
    """A setting of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(TREE / "setup.cfg", encoding="utf-8")
    return parser[section][key]


def declared() -> dict[str, dict[str, Any]]:
    """The tables of the declaration by cell; raises MatrixError if anything in it is wrong."""
    images.cells()
    return toml.load(images.DECLARATION)["cell"]


def runnable() -> list[str]:
    """Cells that a job can run with Debian's mirrors and a container registry. Machines are left out: they are not
    images, so a job cannot fetch them from an earlier job."""
    return [name for name, table in declared().items()
            if not table.get("recipe", {}).get("needs") and table.get("kind") != "machine"]  # fmt: skip


def machines() -> list[str]:
    """Cells that are machines in qemu, each of which a job makes anew."""
    return [name for name, table in declared().items() if table.get("kind") == "machine"]


def examples() -> list[str]:
    """One cell a family, of the architecture of the machine that it runs on."""
    return [name for name, table in declared().items() if "example" in table.get("roles", ())]


def of(key: str) -> list[str]:
    """The values of a key of the cells that have it, each once, in order."""
    return list(dict.fromkeys(str(table[key]) for table in declared().values() if key in table))


def runner() -> str:
    """The image of the jobs that may run on any system."""
    (suite,) = [table["recipe"]["suite"] for table in declared().values() if "runner" in table.get("roles", ())]
    return f"debian:{suite}"


def indented(lines: list[str], width: int) -> str:
    """Items of a YAML list, each on a line of its own."""
    return "".join(f"{' ' * width}- {line}\n" for line in lines)


def uses(action: str) -> str:
    """A step's line."""
    return f"uses: {action}@{ACTIONS[action]}"


def github() -> str:
    """Jobs for the packages, for `make check`, for each cell, for each machine in qemu, for a native s390x, and for a
    release."""
    released = "".join(f"            dist/{name}\n" for name in RELEASED)
    sign = "".join(f"          {line}\n" for line in SIGN.splitlines())
    files = " ".join(f"dist/{name}" for name in (*RELEASED, "SHA256SUMS.asc", "repo.tar.gz"))
    return HEADER + f"""\
name: check

on:
  push:
  pull_request:
  workflow_dispatch:

permissions:
  contents: read

# A newer push to a pull request takes the place of the run before it.
concurrency:
  group: ${{{{ github.workflow }}}}-${{{{ github.ref }}}}
  cancel-in-progress: ${{{{ github.event_name == 'pull_request' }}}}

jobs:
  packages:
    runs-on: ubuntu-latest
    timeout-minutes: {MINUTES_CELL}
    steps:
      - {uses("actions/checkout")}
      - run: make packages
      - {uses("actions/upload-artifact")}
        with:
          name: packages
          path: |
{released}\
          if-no-files-found: error

  check:
    runs-on: ubuntu-latest
    timeout-minutes: {MINUTES_CHECK}
    steps:
      - {uses("actions/checkout")}
      # Not `sudo make check`: sudo does not hand CI on, and then a tool that is missing is no failure.
      - run: sudo .ci/run
      - {uses("actions/upload-artifact")}
        if: always()
        with:
          name: check
          path: dist/check-*.xml
          if-no-files-found: error

  system:
    runs-on: ubuntu-latest
    timeout-minutes: {MINUTES_CELL}
    strategy:
      fail-fast: false
      matrix:
        cell:
{indented(runnable(), 10)}\
    env:
      CELL: ${{{{ matrix.cell }}}}
      CCA_IMAGES: oci:${{{{ github.workspace }}}}/images
    steps:
      - {uses("actions/checkout")}
      # The week: an image is built again for newer packages, even if its recipe is the same.
      - id: key
        run: echo "key=$(python3 -m tests.matrix.images key "$CELL")-$(date +%G-%V)" >> "$GITHUB_OUTPUT"
      - id: cache
        {uses("actions/cache")}
        with:
          path: images
          key: image-${{{{ steps.key.outputs.key }}}}
      - run: sudo CI=true CCA_IMAGES="$CCA_IMAGES" make matrix CELL="$CELL" PULL=1
      - if: steps.cache.outputs.cache-hit != 'true'
        run: |
          sudo CCA_IMAGES="$CCA_IMAGES" python3 -m tests.matrix.images publish "$CELL"
          sudo chown -R "$USER" images
      - {uses("actions/upload-artifact")}
        if: always()
        with:
          name: matrix-${{{{ matrix.cell }}}}
          path: dist/matrix*
          if-no-files-found: error

  # Not for a pull request: the emulated ones take hours.
  machine:
    if: github.event_name != 'pull_request'
    runs-on: ubuntu-latest
    timeout-minutes: {MINUTES_MACHINE}
    strategy:
      fail-fast: false
      matrix:
        cell:
{indented(machines(), 10)}\
    env:
      CELL: ${{{{ matrix.cell }}}}
    steps:
      - {uses("actions/checkout")}
      - run: sudo CI=true make matrix CELL="$CELL"
      - {uses("actions/upload-artifact")}
        if: always()
        with:
          name: matrix-${{{{ matrix.cell }}}}
          path: |
            dist/matrix*
            dist/console-*.log
          if-no-files-found: error

  # The variable S390X_RUNNER of the repository names the label of its runner, if there is one.
  system-s390x:
    if: vars.S390X_RUNNER != ''
    runs-on: ${{{{ vars.S390X_RUNNER }}}}
    timeout-minutes: {MINUTES_CHECK}
    steps:
      - {uses("actions/checkout")}
      - run: sudo CI=true make matrix CELL="{' '.join(examples())}"
      - {uses("actions/upload-artifact")}
        if: always()
        with:
          name: matrix-s390x
          path: dist/matrix*
          if-no-files-found: error

  release:
    if: startsWith(github.ref, 'refs/tags/v')
    needs: [packages, check, system]
    runs-on: ubuntu-latest
    timeout-minutes: {MINUTES_CELL}
    # Its secret is for this environment alone, which may ask somebody first.
    environment: release
    permissions:
      contents: write
    steps:
      - {uses("actions/checkout")}
      - {uses("actions/download-artifact")}
        with:
          name: packages
          path: dist
      - env:
          SIGNING_KEY: ${{{{ secrets.SIGNING_KEY }}}}
          TAG: ${{{{ github.ref_name }}}}
        run: |
{sign}\
      - env:
          GH_TOKEN: ${{{{ github.token }}}}
          TAG: ${{{{ github.ref_name }}}}
        run: gh release create "$TAG" --verify-tag --generate-notes {files}
"""


def gitlab() -> str:
    """The same for GitLab; its runner must allow privileged containers."""
    sign = "".join(f"      {line}\n" for line in SIGN.splitlines())
    return HEADER + f"""\
# The runner must allow privileged containers: the tests boot systemd in containers of their own.
stages: [test, release]

default:
  image: {runner()}
  interruptible: true
  before_script:
    - apt-get -q update
    - apt-get -qy --no-install-recommends install git gnupg make python3

packages:
  stage: test
  timeout: {MINUTES_CELL} minutes
  script:
    - make packages
  artifacts:
    expire_in: 1 month
    paths:
      - dist/

check:
  stage: test
  timeout: {MINUTES_CHECK} minutes
  script:
    - .ci/run
  artifacts:
    when: always
    expire_in: 1 week
    paths:
      - dist/
    reports:
      junit: dist/check-*.xml

.system:
  stage: test
  timeout: {MINUTES_CELL} minutes
  artifacts:
    when: always
    expire_in: 1 week
    paths:
      - dist/matrix*
    reports:
      junit: dist/matrix*.xml

system:
  extends: .system
  variables:
    CCA_IMAGES: oci:$CI_PROJECT_DIR/images
  parallel:
    matrix:
      - CELL:
{indented(runnable(), 10)}\
  # What images are made by; an image whose own recipe is unchanged is taken, too.
  cache:
    key:
      prefix: $CELL
      files:
        - tests/matrix/distros.toml
        - tests/matrix/images.py
    paths:
      - images/
  script:
    - make matrix CELL="$CELL" PULL=1
    - python3 -m tests.matrix.images publish "$CELL"

# Not for a merge request: the emulated ones take hours.
machine:
  extends: .system
  timeout: {MINUTES_MACHINE} minutes
  rules:
    - if: $CI_PIPELINE_SOURCE != "merge_request_event"
  parallel:
    matrix:
      - CELL:
{indented(machines(), 10)}\
  artifacts:
    expire_in: 1 week
    paths:
      - dist/matrix*
      - dist/console-*.log
  script:
    - make matrix CELL="$CELL"

# The variable S390X_RUNNER says that there is a runner with the tag s390x.
system-s390x:
  extends: .system
  tags: [s390x]
  rules:
    - if: $S390X_RUNNER
  script:
    - make matrix CELL="{' '.join(examples())}"

release:
  stage: release
  rules:
    - if: $CI_COMMIT_TAG =~ /^v/
  needs: [packages, check, system]
  interruptible: false
  # SIGNING_KEY comes from the project's settings: a protected variable.
  variables:
    TAG: $CI_COMMIT_TAG
  script:
    - |
{sign}\
  artifacts:
    expire_in: never
    paths:
      - dist/
"""


def packit() -> str:
    """Builds in Copr, and the installed package tested by the plan in plans/."""
    builds = indented(list(dict.fromkeys(" ".join(of("packit")).split())), 6)
    tests = indented(of("testing_farm"), 6)
    return HEADER + f"""\
upstream_package_name: csulcca
downstream_package_name: csulcca
specfile_path: .packit/rpm/csulcca.spec
srpm_build_deps:
  - make
  - python3

actions:
  # The spec of this tree is a template: the version and the changelog come from setup.cfg and debian/changelog.
  post-upstream-clone:
    - python3 tools/build_packages.py --stage .packit
  get-current-version:
    - sed -n "s/^version *= *//p" setup.cfg
  create-archive:
    - sh tools/packit_archive.sh

jobs:
  - job: copr_build
    trigger: pull_request
    targets:
{builds}\
  - job: tests
    trigger: pull_request
    targets:
{tests}\
"""


def obs_workflows() -> str:
    """A build of each change in the Open Build Service."""
    project = setting("csulcca", "obs_project")
    return HEADER + f"""\
workflow:
  steps:
    - branch_package:
        source_project: {project}
        source_package: csulcca
        target_project: {project}
    - configure_repositories:
        project: {project}
        repositories:
{"".join(map(obs_repository, ", ".join(of("obs")).split(", ")))}\
  filters:
    event: pull_request

main:
  steps:
    - trigger_services:
        project: {project}
        package: csulcca
  filters:
    event: push
    branches:
      only:
        - main
"""


def obs_repository(declared_as: str) -> str:
    """A repository of that name in the Open Build Service, which builds on the systems of the declaration."""
    words = declared_as.split()
    paths = [word.split("/") for word in words if "/" in word]
    lines = "".join(f"""\
              - target_project: {project}
                target_repository: {repository}
""" for project, repository in paths)
    return f"""\
          - name: {paths[-1][0].replace(":", "_")}
            paths:
{lines}\
            architectures:
{indented([word for word in words if "/" not in word], 14)}\
"""


def obs_service() -> str:
    """How the Open Build Service gets the sources and the recipes. It needs the recipes beside the archive of the
    tree."""
    return f"""\
<!-- Made by `make ci-files`, as are the recipes that it extracts; edit tools/ci_files.py instead. -->
<services>
  <service name="obs_scm">
    <param name="scm">git</param>
    <param name="url">{setting("csulcca", "repository")}</param>
    <param name="revision">main</param>
    <param name="version">{setting("metadata", "version")}</param>
    <param name="filename">csulcca</param>
    <param name="extract">{OBS_SPEC}</param>
    <param name="extract">{OBS_DSC}</param>
    <param name="extract">{OBS_CHANGELOG}</param>
    <param name="extract">rpm/csulcca-rpmlintrc</param>
  </service>
  <service name="tar" mode="buildtime"/>
  <service name="recompress" mode="buildtime">
    <param name="file">*.tar</param>
    <param name="compression">gz</param>
  </service>
</services>
"""


def obs_spec() -> str:
    """The spec for rpm systems there: the spec in the tree is only a template."""
    template = (TREE / "rpm/csulcca.spec").read_text(encoding="utf-8")
    return "# Made by `make ci-files`, for the Open Build Service.\n" + filled_in(template, *release())


def obs_dsc() -> str:
    """The recipe for Debian's systems. debtransform completes it there; debian/ itself is in the archive."""
    metadata, changes = release()
    control = (TREE / "debian/control").read_text(encoding="utf-8")
    fields = dict(re.findall(r"(?m)^([A-Z][A-Za-z-]+): (.*)$", control))
    return f"""\
Format: 1.0
Source: {metadata.name}
Binary: {fields["Package"]}
Architecture: {fields["Architecture"]}
Version: {changes[0].version}
Maintainer: {fields["Maintainer"]}
Standards-Version: {fields["Standards-Version"]}
Build-Depends: {fields["Build-Depends"]}
DEBTRANSFORM-TAR: {metadata.name}-{metadata.version}.tar.gz
"""


def obs_changelog() -> str:
    """A second copy of the changelog: debtransform runs only if there is a file whose name begins with `debian.`."""
    return (TREE / "debian/changelog").read_text(encoding="utf-8")


def release() -> tuple[Metadata, list[Change]]:
    """What setup.cfg and debian/changelog say of the release."""
    metadata = read_metadata(TREE / "setup.cfg", None)
    changes = read_changes((TREE / "debian/changelog").read_text(encoding="utf-8"))
    return metadata, changes_for(metadata, changes, version_given=False)


def salsa() -> str:
    """Debian's own pipeline: its standard jobs, with the settings that our build needs."""
    return HEADER + """\
include:
  - https://salsa.debian.org/salsa-ci-team/pipeline/raw/master/recipes/debian.yml

variables:
  # The packages are architecture-independent, and nothing is compiled.
  SALSA_CI_DISABLE_BUILD_PACKAGE_ANY: "1"
  SALSA_CI_DISABLE_BLHC: "1"
  SALSA_CI_DISABLE_CROSSBUILD_ARM64: "1"
"""


def autopkgtest() -> str:
    """Debian's control of the test of the installed package."""
    return HEADER + f"""\
Tests: {TEST}
Depends: @, openssl
Restrictions: needs-root, isolation-container, allow-stderr
"""


def tmt_plan() -> str:
    """A plan for tmt, for a given machine that has the package already."""
    return HEADER + """\
summary: The installed package, on the system that it is for
discover:
    how: fmf
execute:
    how: tmt
"""


def tmt_test() -> str:
    """The test of that plan, which is the one of autopkgtest, too."""
    return HEADER + f"""\
summary: Service, mode, certificate and a second run, as installed
test: ./{TEST}
framework: shell
duration: 5m
require:
  - csulcca
  - diffutils
  - openssl
"""


FILES: dict[str, Callable[[], str]] = {
    ".github/workflows/check.yml": github,
    ".gitlab-ci.yml": gitlab,
    ".packit.yaml": packit,
    ".obs/workflows.yml": obs_workflows,
    "_service": obs_service,
    OBS_SPEC: obs_spec,
    OBS_DSC: obs_dsc,
    OBS_CHANGELOG: obs_changelog,
    "debian/salsa-ci.yml": salsa,
    "debian/tests/control": autopkgtest,
    "plans/installed.fmf": tmt_plan,
    f"debian/tests/{TEST}.fmf": tmt_test,
}


def stale() -> list[str]:
    """Names of files that are not what the declaration gives."""
    found = []
    for name, render in FILES.items():
        path = TREE / name
        if not path.exists() or path.read_text(encoding="utf-8") != render():
            found.append(name)
    return found


def main(arguments: list[str]) -> int:
    """Write the files, or with --check say which are stale."""
    parser = argparse.ArgumentParser(prog="make ci-files", description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit status 1 if a file is stale")
    options = parser.parse_args(arguments)
    try:
        found = stale()
    except (Refused, MatrixError) as refusal:
        print(f"ci-files: {refusal.args[0]}\n  {refusal.hint}", file=sys.stderr)
        return 1
    if options.check:
        for name in found:
            print(f"{name} is not what the declaration gives\n  make ci-files", file=sys.stderr)
        return 1 if found else 0
    for name in found:
        path = TREE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FILES[name](), encoding="utf-8")
        print(name)
    if not found:
        print("All files are as the declaration gives them.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
