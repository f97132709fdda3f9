#!/usr/bin/python3
"""Turn a Debian root into a root that only rpm manages.

Runs inside a container of that Debian root (never on a host), with no network:

    python3 rpm_root.py OUT LEAVE_OUT...

Every installed Debian package becomes an rpm of the same name, version, files and dependencies, all from one spec
file in one rpmbuild run; files that maintainer scripts made and no package owns (/etc/passwd, alternatives, links of
enabled units) become one more rpm, `setup`. dnf then installs all of them into an empty root, which is written to
OUT/root.tar. The packages named in LEAVE_OUT (dpkg, apt and related ones) do not become rpms, and the new root has
neither their files nor dependencies on them. Raises RuntimeError if a step fails.
"""

import os
import re
import shutil
import subprocess
import sys

# Where rpmbuild, the repository and the new root live: on the container's own layer, gone with it.
WORK = "/srv/rpm-root"

# Trees that are left out although no package owns them: they belong to the running container, to dpkg and apt, or are
# caches.
NOT_STATE = (
    "/boot", "/build", "/dev", "/etc/apt", "/etc/dpkg", "/etc/hostname", "/etc/hosts", "/etc/mtab", "/etc/resolv.conf",
    "/home", "/media", "/mnt", "/proc", "/root", "/run", "/srv", "/sys", "/tmp", "/var/backups", "/var/cache",
    "/var/lib/apt", "/var/lib/dnf", "/var/lib/dpkg", "/var/lib/rpm", "/var/lib/ucf", "/var/log", "/var/tmp",
    "/.dockerenv",
)  # fmt: skip

# On a system with rpm, a service is enabled by a preset that names it, or not at all.
PRESET = "/usr/lib/systemd/system-preset/99-default-disable.preset"

SPEC_HEAD = """\
%global debug_package %{nil}
%global __os_install_post %{nil}
%global _build_id_links none
# The accounts are in setup's /etc/passwd and /etc/group, so that rpm has none to create.
%global __sysusers_provides %{nil}
%global _binary_payload w.ufdio
Name: converted
Version: 1
Release: 1
Summary: Debian packages as rpms
License: various
%description
%{summary}.
%install
mkdir -p %{buildroot}
tar -C / --null --no-recursion -cf - -T WORK/all-files | tar -C %{buildroot} -xpf -
"""


class Package:
    """One Debian package as installed: its dpkg fields, and the paths that become its rpm's files."""

    def __init__(self, row):
        """Take one record of dpkg-query; see installed()."""
        self.name, version, self.selector, depends, provides = row.split("\t")
        self.epoch, _, rest = version.rpartition(":")
        upstream, _, revision = rest.rpartition("-")
        # rpm forbids a dash in either part.
        self.version = (upstream or rest).replace("-", ".")
        self.release = (revision if upstream else "0").replace("-", ".")
        self.depends = [[bare_name(a) for a in group.split("|")] for group in depends.split(",") if group.strip()]
        self.provides = [bare_name(p) for p in provides.split(",") if p.strip()]
        self.paths = set()


def bare_name(relation):
    """`libc6:any (>= 2.3)` -> `libc6`."""
    return re.sub(r"[\s(:].*", "", relation.strip())


def output(*argv):
    """Standard output of a command. Raises RuntimeError with its error output if it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode:
        raise RuntimeError("%s failed:\n%s" % (argv[0], (done.stdout + done.stderr)[-4000:]))
    return done.stdout


def installed():
    """Every installed package, with the paths that dpkg knows and that exist."""
    form = "${Package}\t${Version}\t${binary:Package}\t${Pre-Depends},${Depends}\t${Provides}\n"
    packages = [Package(row) for row in output("dpkg-query", "-W", "-f", form).splitlines()]
    for package in packages:
        for line in output("dpkg-query", "-L", package.selector).splitlines():
            # Other lines tell of diversions. The root directory itself is `/.`.
            if line.startswith("/") and line != "/." and os.path.lexists(line):
                # /bin is a link to /usr/bin here, and a package may still say /bin/sh: the rpm owns the real path.
                parent, base = os.path.split(line)
                package.paths.add(os.path.join(os.path.realpath(parent), base))
    return packages


def drop_shared_links(packages):
    """If several packages list a link to a directory, it is a directory for all of them except base-files, which owns
    the link."""
    owners = {}
    for package in packages:
        for path in package.paths:
            owners.setdefault(path, []).append(package)
    for path, having in owners.items():
        if len(having) > 1 and os.path.islink(path):
            keeper = next((p for p in having if p.name == "base-files"), having[0])
            for package in having:
                if package is not keeper:
                    package.paths.discard(path)
    return set(owners)


def unowned(known, gone):
    """Paths that no Debian package owns and that the system needs.

    `known`: paths of all packages. `gone`: paths of the packages that do not become rpms; links to those (for example
    the enabled apt timers) are left out too.
    """
    found = set()
    for top, directories, files in os.walk("/"):
        directories[:] = [d for d in directories if os.path.join(top, d) not in NOT_STATE and d != "__pycache__"]
        for name in directories + files:
            path = os.path.join(top, name)
            if path in known or path in NOT_STATE or (os.path.islink(path) and os.path.realpath(path) in gone):
                continue
            found.add(path)
    return found


def file_line(path):
    """One line of a %files list. Special characters are escaped for rpm's globbing."""
    # Old versions of rpm take a backslash for a part of the name, so a pattern replaces each special character. Only
    # the names of [ and of its manual page are so short that ? would also match others.
    quoted = re.sub(r'[\\*?\]{}"]', "?", path).replace("[", "[[]").replace("%", "%%")
    if re.search(r"\s", path):
        quoted = '"' + quoted + '"'
    if os.path.isdir(path) and not os.path.islink(path):
        return "%dir " + quoted
    if path.startswith("/etc/") and not os.path.islink(path):
        return "%config(noreplace) " + quoted
    return quoted


def subpackage(package, kept, provided):
    """The spec text of one package. `kept`: names that become rpms. `provided`: virtual names among them."""
    lines = ["%%package -n %s" % package.name]
    if package.epoch:
        lines.append("Epoch: " + package.epoch)
    lines += [
        "Version: " + package.version,
        "Release: " + package.release,
        "Summary: Debian's " + package.name,
        # Dependencies are those that Debian declared; rpm itself finds what other packages may require (sonames,
        # Python).
        "AutoReq: no",
    ]
    if package.name != "setup":
        lines.append("Requires(pre): setup")
    for group in package.depends:
        hit = [name for name in group if name in kept or name in provided]
        if hit and hit[0] != package.name:
            lines.append("Requires: " + hit[0])
    lines += ["Provides: " + name for name in package.provides if name not in kept]
    if package.name == "libc6":
        lines += ["Provides: rtld(GNU_HASH)", "Provides: glibc = " + package.version]
    for path in sorted(package.paths):
        # With a merged /usr, an rpm that requires /bin/sh must find it by that name too.
        if path.startswith(("/usr/bin/", "/usr/sbin/")) and re.match(r"^[\w./+-]+$", path):
            lines.append("Provides: " + path[4:])
    if package.name == "setup":
        lines += ["Provides: %s(%s)" % (kind, n) for kind, n in account_names()]
    if package.name == "base-files":
        # dnf reads these to know the release.
        lines += ["Provides: system-release = 1", "Provides: system-release(releasever) = 1"]
    listing = os.path.join(WORK, "files-" + package.name)
    with open(listing, "w") as out:
        out.writelines(file_line(path) + "\n" for path in sorted(package.paths))
    return "\n".join(lines) + "\n%%description -n %s\n%%{summary}.\n%%files -n %s -f %s\n" % (
        package.name, package.name, listing)  # fmt: skip


def account_names():
    """("user", NAME) and ("group", NAME) of every account: rpm 4.19 and newer require the owners of files."""
    for kind, path in (("user", "/etc/passwd"), ("group", "/etc/group")):
        with open(path) as lines:
            for line in lines:
                yield kind, line.split(":")[0]


def convert(leave_out):
    """Build the rpms into WORK/repo. Returns their number."""
    packages = installed()
    known = drop_shared_links(packages)
    gone = set().union(*(p.paths for p in packages if p.name in leave_out))
    packages = [p for p in packages if p.name not in leave_out]
    setup = Package("setup\t1-1\tsetup\t\t")
    os.makedirs(os.path.dirname(PRESET), exist_ok=True)
    with open(PRESET, "w") as out:
        out.write("disable *\n")
    setup.paths = unowned(known, gone - set().union(*(p.paths for p in packages)))
    packages.append(setup)
    kept = {p.name for p in packages}
    provided = {name for p in packages for name in p.provides}
    spec = SPEC_HEAD.replace("WORK", WORK) + "".join(subpackage(p, kept, provided) for p in packages)
    everything = sorted(set().union(*(p.paths for p in packages)))
    with open(WORK + "/all-files", "w") as out:
        out.write("\0".join(path.lstrip("/") for path in everything))
    with open(WORK + "/converted.spec", "w") as out:
        out.write(spec)
    output("rpmbuild", "-bb", "--quiet", "--define", "_topdir %s/top" % WORK, "--define", "_rpmdir %s/repo" % WORK,
           "--define", "_rpmfilename %%{NAME}.rpm", WORK + "/converted.spec")  # fmt: skip
    return len(packages)


def install(root):
    """Let dnf install every rpm of WORK/repo into an empty root."""
    rpms = sorted(os.path.join(WORK, "repo", name) for name in os.listdir(WORK + "/repo"))
    os.makedirs(root)
    output("dnf", "-q", "-y", "--installroot=" + root, "--releasever=1", "--setopt=reposdir=/nonexistent",
           "--setopt=module_platform_id=platform:el10", "--setopt=cachedir=" + WORK + "/cache",
           "--setopt=install_weak_deps=0", "install", *rpms)  # fmt: skip
    # A distribution's rpms contain bytecode. Without it, each start of Python compiles what it imports.
    output("chroot", root, "python3", "-m", "compileall", "-q", "/usr/lib")


def main(argv):
    """Convert, install, write OUT/root.tar."""
    out, leave_out = argv[1], set(argv[2:])
    shutil.rmtree(WORK, ignore_errors=True)
    os.makedirs(WORK)
    print("I: turning the Debian packages into rpms...", flush=True)
    count = convert(leave_out)
    print("I: installing %d rpms with dnf into an empty root..." % count, flush=True)
    root = WORK + "/root"
    install(root)
    print("I: writing the root...", flush=True)
    output("tar", "-C", root, "--xattrs", "--numeric-owner", "-cf", out + "/root.tar", ".")


if __name__ == "__main__":
    main(sys.argv)
