"""Hosts of images: the first boot makes a pair below /var, and updates, roll-back and removal keep mode and pair."""

import pytest

from .image_host import ImageHost
from .soundness import assert_sound
from .system import CERTIFICATE, CONF, KEY

pytestmark = [
    pytest.mark.scenario("image-based"),
    pytest.mark.only(lambda cell: cell.image_based, "packages are installed while the system runs"),
]
PAIR = "/var/lib/csulcca/catcher.key", "/var/lib/csulcca/catcher.crt"
OURS = "csulcca|csutke|catcher|/cca|/IBM/CCA"


ONE_OPT = pytest.mark.only(lambda cell: cell.image_based == "transactional-update", "each image has its own /opt")


@pytest.fixture(params=["an /opt of each image", pytest.param("one /opt", marks=ONE_OPT)])
def host(request, cell, workstation):
    """A host that has not booted an image yet."""
    shared = request.param == "one /opt"
    with ImageHost(cell, workstation, shared=("/opt",) if shared else ()) as made:
        yield made


def read_pair(system):
    pair = tuple(system.machine.read(path) for path in PAIR)
    assert tuple(system.machine.read(path) for path in (KEY, CERTIFICATE)) == pair
    return pair


def assert_serves(system, mode, pair=None):
    """Assert that the host is sound and has this pair. Its address may change with each boot."""
    stale = [one for one in system.findings() if one == "pair-names-stale"]
    assert_sound(system, mode, findings=stale)
    assert system.show(f"stat -Lc '%a %U' {KEY}") == "600 root"
    assert pair is None or read_pair(system) == pair


def test_an_image_based_host_keeps_mode_and_pair_from_boot_to_removal(host, built):
    first = host.image(host.installs(built.new("rpm")), package=built.new("rpm"))
    system = host.update(first)
    assert system.machine.run("touch /usr/x", check=False).rc != 0
    assert_sound(system, "tls")
    pair = read_pair(system)
    assert system.stamp()["package_version"] == "8.0.0"

    later = built.new("rpm", "8.0.1")
    system = host.update(host.image(host.installs(later), package=later))
    assert_serves(system, "tls", pair)
    assert system.show("catcherctl --version").endswith("8.0.1")
    # All commands work with the documented paths.
    system.machine.run("catcherctl mode tcp")
    assert_serves(system, "tcp", pair)
    system.machine.run("catcherctl mode tls; catcherctl cert generate --force")
    changed = read_pair(system)
    assert changed != pair
    (kept,) = system.show("ls -d /var/lib/csulcca/catcher.key.2*").splitlines()
    assert system.machine.read(kept) == pair[0]
    system.machine.run("catcherctl mode tcp")

    # An image brings its own /etc back, and with it the mode of that time. The pair is not older than the last change.
    system = host.roll_back()
    assert_serves(system, "tls", changed)

    system = host.update(host.without(first))
    assert system.show("systemctl list-unit-files CSUTKEcat.service | grep -c CSUTKEcat") == "0"
    # -xdev leaves out /etc, /var, and an /opt that all images share.
    assert system.show(f"find / /opt -xdev -regextype egrep -iregex '.*({OURS}).*'") == ""
    # rpm-ostree removes what the image had in /etc and nobody has changed.
    assert system.machine.exists(CONF) == (system.cell.image_based != "rpm-ostree")
    assert tuple(system.machine.read(path) for path in PAIR) == changed

    # If all images share one /opt, the programs are gone from all images.
    system = host.update(host.image(host.installs(later), package=later)) if host.one_opt else host.roll_back()
    assert_serves(system, "tls", changed)
