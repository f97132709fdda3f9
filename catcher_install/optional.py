"""Python packages that ours only recommends: distro names the distribution, packaging compares versions.

If one is broken or missing, only its feature is missing. (The third, cryptography, is in cert/crypto.py.)
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

# What stands in a hint before a package's name.
INSTALL = "install the package "
# What a hint may name: of no other package is it certain that it is in the distribution's repositories.
PACKAGES = ("openssl", "python3-cryptography")
# What installs one, by the id of os-release(5) or an id that this is like.
COMMANDS = (
    ("debian", "apt install"), ("ubuntu", "apt install"), ("suse", "zypper install"), ("opensuse", "zypper install"),
    ("sles", "zypper install"), ("fedora", "dnf install"), ("rhel", "dnf install"), ("centos", "dnf install"),
)  # fmt: skip


def add_site_packages() -> None:
    """Make the distribution's Python packages importable. The hooks start without them (python3 -S), which is
    faster."""
    if sys.flags.no_site and "site" not in sys.modules:
        import site

        site.main()


def _distribution() -> "Any":
    """distro's view of this system, from files alone; None without that package."""
    try:
        add_site_packages()
        import distro

        return distro.LinuxDistribution(include_lsb=False)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a broken package raises what it likes, SystemExit among it
        return None


def distribution_name() -> str:
    """This distribution's name and version, e.g. "Debian GNU/Linux 12 (bookworm)"; "" if distro cannot tell."""
    found = _distribution()
    return str(found.name(pretty=True)) if found is not None else ""


def with_command(hint: str) -> str:
    """A hint that says "install the package NAME", with this distribution's own command behind the name.

    Unchanged if NAME is not one of PACKAGES, or if distro cannot tell which distribution this is.
    """
    before, _, rest = hint.partition(INSTALL)
    name = rest.split()[0].rstrip(",:;") if rest.split() else ""
    command = _command() if name in PACKAGES and before[-1:].strip() == "" else ""
    if not command:
        return hint
    return "%s%s%s (%s %s)%s" % (before, INSTALL, name, command, name, rest[len(name):])


def _command() -> str:
    found = _distribution()
    if found is None:
        return ""
    ids = [str(found.id())] + str(found.like()).split()
    return next((command for one in ids for id, command in COMMANDS if one == id or one.startswith(id + "-")), "")


def is_older(one: str, other: str) -> "Optional[bool]":
    """Whether a version is older than another one; None if packaging is missing or does not understand one of them."""
    try:
        add_site_packages()
        from packaging.version import Version

        return bool(Version(one) < Version(other))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - as above, and InvalidVersion
        return None
