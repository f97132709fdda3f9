#!/bin/sh
# The job `check` of CI (`make check`). Each part runs even if an earlier one failed; the exit status is 0 only if all
# passed. What this machine cannot run is named at the end, and never counted as passed. The results of each part are in
# dist/check-*.xml, too, as JUnit XML.
#
# No processor should be idle. So the images are built while tests run that need none, and a worker without tests takes
# some from another worker (worksteal). A test in a container often waits for a program, so two processors run four.
set -u
cd "$(dirname "$0")/.." || exit 1
mkdir -p dist
rm -f dist/check-*.xml
# Report a mistake in distros.toml once, before every part fails because of it.
.venv/bin/python -m tests.matrix.images systems >/dev/null || exit 1
.venv/bin/python -m tests.matrix.images build >dist/images.log 2>&1 &
images=$!
trap 'kill "$images" 2>/dev/null' EXIT
trap 'exit 130' INT TERM
failed=
blocked=

part() {
    heading=$1
    shift
    printf '\n== %s\n' "$heading"
    if ! "$@"; then
        failed="$failed, $heading"
    fi
}

# Prints the path of the newest Python with this version, of pyenv or of the system. Fails if there is none.
python_of_version() {
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python /usr/local/bin/python"$1" /usr/bin/python"$1"; do
        if [ -x "$candidate" ]; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

images_are_built() {
    wait "$images"
    ended=$?
    # Another process may get its PID.
    trap - EXIT
    cat dist/images.log
    return "$ended"
}

# Unit tests under another Python than .venv's, in an environment of its own in .cache. The tests of the reference catcher
# are left out: they start it under every Python by themselves.
unit_tests_on() {
    environment=.cache/python-$1
    if ! cmp -s tools/requirements-unit.txt "$environment/requirements.txt"; then
        rm -rf "$environment"
        mkdir -p .cache
        # The pip of Python 3.6 installs releases that do not run on it. 21.3.1 is the last pip that does.
        "$2" -m venv "$environment" &&
            "$environment/bin/python" -m pip -q --disable-pip-version-check install 'pip==21.3.1; python_version < "3.7"' &&
            "$environment/bin/python" -m pip -q --disable-pip-version-check install -r tools/requirements-unit.txt &&
            cp tools/requirements-unit.txt "$environment/requirements.txt" || return 1
    fi
    "$environment/bin/python" -m pytest -q -n 2 -p no:cacheprovider --junitxml="dist/check-unit-$1.xml" \
        tests/unit tests/slow
}

part "unit tests" .venv/bin/python -m pytest -q -n 2 --dist worksteal --junitxml=dist/check-unit.xml tests/unit
part "the reference catcher, under every Python" \
    .venv/bin/python -m pytest -q -n 2 --dist worksteal --junitxml=dist/check-daemon.xml tests/daemon
part "the hooks, in shells" .venv/bin/python -m pytest -q -n 2 --dist worksteal --junitxml=dist/check-hooks.xml tests/hooks
if python=$(python_of_version 3.6); then
    part "unit and slow tests on Python 3.6, the oldest that a host may have" unit_tests_on 3.6 "$python"
else
    blocked="$blocked, unit and slow tests on Python 3.6 (not on this machine; vermin has looked at the syntax)"
fi
slow=tests/slow
for version in 3.14 3.13; do
    if python=$(python_of_version "$version"); then
        part "unit and slow tests on Python $version, the newest here" unit_tests_on "$version" "$python"
        # The other tests have run before. These depend on how a distribution builds its Python.
        slow=tests/slow/test_judge.py
        break
    fi
done
part "slow tests of the library" \
    .venv/bin/python -m pytest -q -n 2 --dist worksteal --junitxml=dist/check-slow.xml "$slow"
part "linters and the build of packages" \
    .venv/bin/python -m pytest -q -n 2 --dist worksteal --junitxml=dist/check-tree.xml \
    tests/test_linters.py tests/test_docs.py tests/test_language.py tests/test_picture.py tests/test_examples.py \
    tests/test_selinux.py tests/test_ci_files.py tests/test_bare_machine.py tests/test_bootstrap.py tests/test_demo.py \
    tests/test_release.py tests/test_bench.py tests/matrix tests/test_build_packages.py tests/test_repository.py \
    tests/fixtures
blocked=$blocked$(.venv/bin/python -m tests.matrix.images blocked | sed 's/^/, /' | tr -d '\n')
part "images for the containers" images_are_built
part "packages in containers" \
    .venv/bin/python -m tests.matrix.engine -- .venv/bin/python -m pytest -q -n 4 --dist worksteal \
    --junitxml=dist/check-packages.xml --once-a-family tests/packaging
part "faults: the index of hazards, transactions that are killed" \
    .venv/bin/python -m tests.matrix.engine -- .venv/bin/python -m pytest -q -n 2 --dist worksteal \
    --junitxml=dist/check-faults.xml tests/faults

machines=$(.venv/bin/python -m tests.matrix.images machines | sed 's/^/, /' | tr -d '\n')
if [ -n "$machines" ]; then
    printf '\nnot run here, because each boots for minutes: %s (make matrix CELL=NAME), and power cuts (make faults)\n' \
        "${machines#, }"
fi
if [ -n "$blocked" ]; then
    printf '\nBLOCKED here: %s\n' "${blocked#, }"
fi
if [ -n "$failed" ]; then
    printf '\nfailed: %s\n' "${failed#, }"
    exit 1
fi
printf '\nall passed\n'
