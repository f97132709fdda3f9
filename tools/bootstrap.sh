#!/bin/sh
# Usage: sh tools/bootstrap.sh packages|repo|demo|check|bench|lint|contrib
#        sh tools/bootstrap.sh matrix [SYSTEM|SCENARIO]...
#
# Installs what the command of that name needs and this machine does not have, and says what and why. Works on Debian
# and Ubuntu (apt) and on Fedora and its relatives (dnf), as root or with sudo. The machine needs only git and make.
# BOOTSTRAP=0 forbids it: then this only names what is missing, with exit status 1 if the command cannot run without it.
set -eu

# A line for each tool: the sets of commands that need it, its package in Debian, its package in Fedora ("-": none), how
# to see that it is installed (a command, or a path with a glob), whether it is required ("may": without it tests are
# skipped, except in CI), and what it is for. `make matrix` needs the set matrix/X if it runs X, which is a scenario or
# the architecture of a system.
tools() {
    cat <<'END'
packages,demo,check,matrix,bench,lint,contrib python3 python3 /usr/bin/python3 must run the build
packages,demo,check,matrix,bench,lint,contrib dpkg-dev dpkg-dev dpkg-buildpackage must build the .deb
packages,demo,check,matrix,bench,lint,contrib debhelper debhelper dh must build the .deb
packages,demo,check,matrix,bench,lint,contrib rpm rpm-build rpmbuild must build the .rpm
demo,check,matrix,bench,contrib podman podman podman engine run containers
demo,check,matrix,bench,contrib crun crun crun engine run containers
demo,check,matrix,bench,contrib netavark netavark /usr/l*/podman/netavark engine connect containers
demo,check,matrix,bench,contrib iptables iptables-nft iptables engine connect containers
demo,check,matrix,bench,contrib nftables nftables nft engine connect containers
demo,check,matrix,bench,contrib ca-certificates ca-certificates /etc/ssl/certs/ca-certificates.crt must fetch container images
demo,check,matrix,bench,contrib mmdebstrap - mmdebstrap must make container images
demo,check,matrix,bench,contrib debian-archive-keyring - /usr/share/keyrings/debian-archive-keyring.gpg must verify the packages of container images
demo,check,matrix,bench,contrib gnupg gnupg2 gpg must verify the packages of container images
demo,check,matrix,bench,contrib openssl openssl openssl must look at certificates
check,matrix,bench,lint,contrib python3-venv python3 /usr/l*/python3.*/ensurepip/__init__.py must make .venv
check,matrix,bench,lint,contrib python3-cryptography python3-cryptography /usr/l*/python3*/*-packages/cryptography/__init__.py must run the tests
check,bench,lint python3-distro python3-distro /usr/l*/python3*/*-packages/distro* may run the tests
check,bench,lint python3-packaging python3-packaging /usr/l*/python3*/*-packages/packaging/__init__.py may run the tests
check,bench strace strace strace must run the tests
check gnutls-bin gnutls-utils gnutls-cli must run the tests
check sscg sscg sscg may show that the sweeps of tests/faults see damage
check default-jdk-headless java-latest-openjdk-devel javac must run the tests
repo python3 python3 /usr/bin/python3 must run the tool
repo,check,contrib,matrix/repository,matrix/repository-refused,matrix/unattended,matrix/system-upgrade dpkg-dev dpkg-dev dpkg-scanpackages must index packages for apt
repo,check,matrix/repository,matrix/repository-refused,matrix/unattended createrepo-c createrepo_c createrepo_c must index packages for dnf and zypper
repo,check,contrib,matrix/repository,matrix/repository-refused,matrix/unattended rpm rpm-sign rpmsign must sign packages
repo,check,matrix/repository,matrix/repository-refused,matrix/unattended gnupg gnupg2 gpg must sign indexes
check devscripts - uscan may run the tests
check git-buildpackage - gbp may run the tests
check,matrix/selinux selinux-policy-dev selinux-policy-devel /usr/share/selinux/devel/Makefile may run the tests
check,matrix/selinux checkpolicy checkpolicy checkmodule may run the tests
check,matrix/selinux semodule-utils policycoreutils semodule_package may run the tests
check,matrix/selinux policycoreutils policycoreutils /usr/libexec/selinux/hll/pp may run the tests
check,matrix/selinux m4 m4 m4 may run the tests
check,bench,matrix/s390x qemu-user-static qemu-user-static qemu-s390x-static may emulate s390x
check,bench,matrix/s390x binfmt-support - update-binfmts may emulate s390x
check,bench,matrix/s390x arch-test - arch-test may emulate s390x
check,matrix/machine qemu-system-misc qemu-system-s390x qemu-system-s390x may boot machines
check,matrix/machine qemu-system-s390x qemu-system-s390x qemu-system-s390x may boot machines
check,matrix/machine qemu-system-x86 qemu-system-x86 qemu-system-x86_64 may boot machines
check,matrix/machine qemu-utils qemu-img qemu-img may boot machines
check,matrix/machine e2fsprogs e2fsprogs mke2fs may boot machines
check btrfs-progs btrfs-progs mkfs.btrfs may boot machines
check xfsprogs xfsprogs mkfs.xfs may boot machines
check piuparts - piuparts may run the tests
check faketime libfaketime faketime may run the tests
check diffoscope-minimal diffoscope diffoscope may explain differences of packages
check,matrix/autopkgtest autopkgtest - autopkgtest may run the tests
check obs-build obs-build /usr/lib/*build/debtransform may run the tests
contrib ansible ansible ansible-playbook must run the role
contrib ansible-lint ansible-lint ansible-lint must lint
check,bench hyperfine hyperfine hyperfine must measure
check chromium chromium chromium may look at the page of the matrix
check,lint shellcheck ShellCheck shellcheck may lint
check,lint lintian lintian lintian may lint
check,lint rpmlint rpmlint rpmlint may lint
check,lint systemd systemd systemd-analyze may lint
check,lint mandoc mandoc mandoc may lint
check,lint python3-firewall python3-firewall /usr/l*/python3*/*-packages/firewall/core/io/service.py may lint
check,lint ufw ufw ufw may lint
END
}

main() {
    set=${1-}
    case $set in
    packages | repo | demo | check | bench | lint | contrib | matrix) ;;
    *)
        sed -n '2,3s/^# //p' "$0" >&2
        exit 2
        ;;
    esac
    cd "$(dirname "$0")/.."
    shift
    choose_sets "$@"
    PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
    if command -v apt-get >/dev/null 2>&1 && [ -e /etc/debian_version ]; then
        family=apt
    elif command -v dnf >/dev/null 2>&1; then
        family=dnf
    else
        family=none
    fi

    missing=$(missing_packages)
    if [ -n "$missing" ]; then
        install_packages
    fi
    case $chosen in
    *,check,* | *,bench,* | *,matrix/s390x,*) register_emulator ;;
    esac
    case $set in
    check | bench | lint | contrib | matrix) make_venv ;;
    esac
}

# Prints the sets of tools that are needed, with commas around each. For `make matrix` the arguments are the systems and
# scenarios to run. If no system is named, all of them run; the same is true of scenarios.
choose_sets() {
    chosen=,$set,
    scenarios=
    systems=
    for name; do
        if grep -q "^    \"$name\": " tests/matrix/scenarios.py; then
            scenarios="$scenarios matrix/$name"
        else
            # The architecture and the kind in the table [cell.NAME] or [cell."NAME"].
            systems="$systems $(awk -v name="$name" '
                /^\[/ { here = ($0 == "[cell." name "]" || $0 == "[cell.\"" name "\"]") }
                here && ($1 == "architecture" || $1 == "kind") { gsub(/"/, "", $3); print "matrix/" $3 }
                ' tests/matrix/distros.toml)"
        fi
    done
    [ "$set" = matrix ] || return 0
    for name in ${scenarios:-$(tools | grep -o 'matrix/[a-z-]*' | grep -vE 's390x|machine' | sort -u)} \
        ${systems:-matrix/s390x matrix/machine}; do
        chosen=$chosen$name,
    done
}

# The emulator is registered with the kernel when its package is installed, and at boot. On a machine without an init
# it is not.
register_emulator() {
    if [ -e /proc/sys/fs/binfmt_misc/qemu-s390x ] || ! command -v update-binfmts >/dev/null 2>&1 ||
        ! command -v qemu-s390x-static >/dev/null 2>&1 || [ "$(id -u)" != 0 ] || [ "${BOOTSTRAP:-1}" = 0 ]; then
        return 0
    fi
    echo "make $set lets the kernel run programs for s390x with qemu-user-static"
    update-binfmts --enable qemu-s390x || echo "that failed, so the systems with s390x will be BLOCKED"
}

# Prints a line "package must|may what for" for each missing tool.
missing_packages() {
    tools | while read -r sets deb rpm probe need purpose; do
        needed=
        for name in $(echo "$sets" | tr , ' '); do
            case $chosen in *",$name,"*) needed=yes ;; esac
        done
        [ -n "$needed" ] || continue
        if [ "$need" = engine ]; then
            [ "${CONTAINER_ENGINE:-podman}" = podman ] || continue
            need=must
        fi
        if there "$probe"; then
            continue
        fi
        package=$deb
        [ "$family" != dnf ] || package=$rpm
        [ "$package" != - ] || continue
        # Do not ask again with every command.
        if [ "$need" = may ] && grep -qx "$package" .cache/not-available 2>/dev/null; then
            continue
        fi
        echo "$package $need $purpose"
    done
}

there() {
    case $1 in
    /*)
        for path in $1; do
            [ ! -e "$path" ] || return 0
        done
        return 1
        ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

# Prints the package names in $missing, on one line.
names() {
    echo "$missing" | cut -d ' ' -f 1 | sort -u | tr '\n' ' ' | sed 's/ $//'
}

install_packages() {
    reason=
    if [ "${BOOTSTRAP:-1}" = 0 ]; then
        reason="BOOTSTRAP=0 forbids installing them"
    elif [ "$family" = none ]; then
        reason="there is neither apt-get nor dnf to install them"
    elif [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null 2>&1; then
        reason="only root can install them"
    fi
    if [ -n "$reason" ]; then
        if echo "$missing" | grep -q ' must '; then
            missing=$(echo "$missing" | grep ' must ')
            echo "make $set cannot do without these packages, and $reason: $(names)" >&2
            exit 1
        fi
        echo "make $set continues without these packages, because $reason; tests that need them are skipped: $(names)" >&2
        return 0
    fi
    as_root=
    if [ "$(id -u)" != 0 ]; then
        as_root=sudo
    fi
    echo "make $set needs packages that this machine lacks; installing them:"
    echo "$missing" | sort -u | while read -r package _ purpose; do
        echo "  $package: to $purpose"
    done
    "install_by_$family" || {
        echo "installing failed; what was printed is above. The packages are: $(names)" >&2
        exit 1
    }

    missing=$(missing_packages)
    if [ -n "$missing" ]; then
        if echo "$missing" | grep -q ' must '; then
            echo "still missing after the installation, and make $set cannot do without: $(names)" >&2
            exit 1
        fi
        echo "not available on this distribution; the tests that need them are skipped: $(names)"
        mkdir -p .cache
        echo "$missing" | cut -d ' ' -f 1 >>.cache/not-available
    fi
}

install_by_apt() {
    $as_root apt-get -q -q update </dev/null || return 1
    available=
    for package in $(names); do
        if apt-cache show "$package" >/dev/null 2>&1; then
            available="$available $package"
        fi
    done
    # shellcheck disable=SC2086 # a list of packages
    quietly $as_root env DEBIAN_FRONTEND=noninteractive apt-get -y --no-install-recommends install $available
}

install_by_dnf() {
    # dnf 4 and dnf 5 have different options for "install those that exist". In dnf5 they follow the command's name.
    skip=--setopt=strict=0
    if dnf --version 2>/dev/null | grep -q dnf5; then
        skip=--skip-unavailable
    fi
    # shellcheck disable=SC2046,SC2086 # a list of packages; sudo or nothing
    quietly $as_root dnf install -y --setopt=install_weak_deps=False "$skip" $(names)
}

# Runs a command and shows its progress. If it fails, shows everything that it printed.
quietly() {
    log=$(mktemp)
    {
        status=0
        LC_ALL=C "$@" 2>&1 </dev/null || status=$?
        echo "exit status $status"
    } | tee "$log" | progress
    if [ "$(tail -n 1 "$log")" = "exit status 0" ]; then
        rm -f "$log"
        return 0
    fi
    cat "$log" >&2
    rm -f "$log"
    return 1
}

# Shortens what apt, dnf and pip print: on a terminal to one line that changes, else to a line for each kind of work.
progress() {
    before=
    while IFS= read -r line; do
        case $line in
        "Need to get "* | "Total download size"* | "Total size of inbound"*) work=$line ;;
        Get:* | Downloading* | *Downloading*) work=downloading ;;
        Unpacking* | *" Installing "*: | *" Installing "*[0-9]/[0-9]*) work=unpacking ;;
        "Setting up "* | "Installing collected "*) work="setting up" ;;
        *) continue ;;
        esac
        if [ -t 1 ]; then
            printf '\r\033[K  %.70s' "$line"
        elif [ "$work" != "$before" ]; then
            echo "  $work ..."
        fi
        before=$work
    done
    [ ! -t 1 ] || printf '\r\033[K'
}

# .venv has the Python tools of tools/requirements.txt over the distribution's modules. The copy of that file in it is
# written last, so that a broken or outdated .venv is seen.
make_venv() {
    if cmp -s tools/requirements.txt .venv/requirements.txt && .venv/bin/python -c '' 2>/dev/null; then
        return 0
    fi
    if [ "${BOOTSTRAP:-1}" = 0 ]; then
        echo "make $set needs the Python tools of tools/requirements.txt in .venv, and BOOTSTRAP=0 forbids installing them" >&2
        exit 1
    fi
    echo "make $set needs Python tools for tests and linting; installing tools/requirements.txt into .venv"
    # A .venv that works is only updated, because a program may be running in it.
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        rm -rf .venv
        quietly /usr/bin/python3 -m venv --system-site-packages .venv || true
    fi
    if ! quietly .venv/bin/python -m pip --disable-pip-version-check install -r tools/requirements.txt; then
        echo "the Python tools could not be installed; what was printed is above" >&2
        exit 1
    fi
    cp tools/requirements.txt .venv/requirements.txt
}

main "$@"
