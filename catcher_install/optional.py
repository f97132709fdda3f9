"""Optional Python packages: distro names the distribution, packaging compares versions.

If one is missing or broken, only its feature is missing. (For the third, cryptography, see cert/crypto.py.)
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

# The words before a package's name in a hint.
INSTALL = "install the package "
# Packages for which a hint shows the command. Other packages may not be in the distribution's repositories.
PACKAGES = ("openssl", "python3-cryptography")
# The command that installs a package, by ID or ID_LIKE of os-release(5).
COMMANDS = (
    ("debian", "apt install"), ("ubuntu", "apt install"), ("suse", "zypper install"), ("opensuse", "zypper install"),
    ("sles", "zypper install"), ("fedora", "dnf install"), ("rhel", "dnf install"), ("centos", "dnf install"),
)  # fmt: skip


def add_site_packages() -> None:
    """Make the distribution's Python packages importable. The hooks start without them (python3 -S), which is faster.

    What this runs (.pth files, sitecustomize.py) may print, and our standard output may be JSON.
    """
    if sys.flags.no_site and "site" not in sys.modules:
        import site

        ours, sys.stdout = sys.stdout, sys.stderr
        try:
            site.main()
        finally:
            sys.stdout = ours


def _distribution() -> "Any":
    """Return what distro knows of this system, from files alone; None if that package cannot be used."""
    try:
        add_site_packages()
        import distro

        return distro.LinuxDistribution(include_lsb=False)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a broken package raises what it likes, SystemExit among it
        return None


def distribution_name() -> str:
    """Return the distribution's name and version, e.g. "Debian GNU/Linux 12 (bookworm)"; "" if distro cannot tell."""
    found = _distribution()
    return str(found.name(pretty=True)) if found is not None else ""


def with_command(hint: str) -> str:
    """Return a hint with this distribution's command added to "install the package NAME".

    The hint is unchanged if NAME is not one of PACKAGES, or if distro cannot tell which distribution this is.
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
    """Return whether version *one* is older than *other*; None if packaging is missing or does not understand them."""
    try:
        add_site_packages()
        from packaging.version import Version

        return bool(Version(one) < Version(other))
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - as above, and InvalidVersion
        return None
