"""Make an image that boots and needs no network from a vendor's container image.

Vendors' images have no systemd and few other programs. The packages in the cell's `add` are installed in a container of
the image with the cell's own package manager, and the container is committed. (Not with a Containerfile: some versions
of podman cannot build if they may not raise the limit of locked memory.)
"""

from __future__ import annotations

import hashlib
import shlex

from tests.matrix import engine

# {} is the list of packages. zypper's exit statuses from 100 to 106 are remarks after success, for example that a
# restart is due (102, 103) or that a repository was skipped (106), except 104 (a package was not found) and 105 (a
# signal).
INSTALL = {
    "apt": "export DEBIAN_FRONTEND=noninteractive; apt-get -q update; apt-get -qy --no-install-recommends install {}",
    "dnf": "dnf -y --setopt=install_weak_deps=False install {}",
    "zypper": "zypper -n --gpg-auto-import-keys refresh || [ $? = 106 ]; zypper -n install --no-recommends {} ||"
              " case $? in 10[01236]) ;; *) exit 1 ;; esac",
}
# Repositories and what was fetched from them. Without these, no test can use a network, or fail because there is none.
# policy-rc.d: images of Debian and Ubuntu do not allow services to start, because a container usually has none.
CLEAN = """\
rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /var/lib/apt/lists/* /var/cache/apt/*.bin /usr/sbin/policy-rc.d \
    /etc/yum.repos.d/*.repo /var/cache/dnf /var/cache/libdnf5 \
    /etc/zypp/repos.d/*.repo /etc/zypp/services.d/*.service /usr/lib/zypp/plugins/services/* /var/cache/zypp
: > /etc/machine-id
"""


def script(package_manager: str, packages: list[str]) -> str:
    """What is run in the container, by `sh -euc`."""
    return INSTALL[package_manager].format(" ".join(map(shlex.quote, packages))) + "\n" + CLEAN


def tag(image: str, command: str) -> str:
    """The key by which the finished image is found again: the digest of the vendor's image, and what is run in it."""
    identity = engine.inspect("image", image)["Id"]
    return hashlib.sha256(f"{identity} {command}".encode()).hexdigest()[:12]


def run_argv(image: str, container: str, command: str) -> list[str]:
    """The command line that runs it in a container with the host's network and proxy settings; the container stays."""
    here = engine.current()
    proxy = [] if here.is_docker else ["--http-proxy=true"]
    return engine.argv("run", f"--name={container}", *here.run_options, *proxy, "--privileged", "--network=host",
                       image, "sh", "-euc", command)  # fmt: skip
