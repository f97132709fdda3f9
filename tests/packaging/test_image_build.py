"""Installed where nothing runs: image builds and other roots. No key is left inside, and the first boot makes it."""

import os

import pytest

from tests.matrix import engine, images

from . import other_root
from .keep_list import may_change, whole_tree
from .soundness import assert_sound
from .system import CERTIFICATE, KEY
from .turns import TOOLS, one_of

ROOT = other_root.ROOT
ENABLED = "/etc/systemd/system/multi-user.target.wants/CSUTKEcat.service"
PRIVATE = "^-----BEGIN ([A-Z]+ )*PRIVATE KEY-----"
# How a package gets into ROOT, by family.
WAYS = {
    "--root": {"deb": "dpkg --root={root} -i {package}", "rpm": "rpm --root={root} -i {package}"},
    "chroot": {"deb": "chroot {root} dpkg -i {package}", "rpm": "chroot {root} rpm -i {package}"},
}


def assert_prepared(system, root, enabled=True):
    """The mode is decided, or left to the first start where OpenSSL cannot be asked; there is no key anywhere."""
    made = system.show(f"cat {root}/etc/cca/catcher.conf")
    assert made == {"TLS": "TLS_ON", "TCP": "TLS_OFF"}[system.cell.mode]
    assert_no_key(system, root)
    assert not system.machine.exists(root + CERTIFICATE)
    assert system.machine.exists(root + ENABLED) == enabled


def assert_no_key(system, root):
    """No text file has one, whatever it is called."""
    found = system.machine.run(f"find {root}/ {root}/run {root}/tmp -xdev -type f -exec grep -IlE '{PRIVATE}' {{}} +",
                               check=False)  # fmt: skip
    assert (found.out, found.err) == ("", "")


@pytest.mark.scenario("other-root")
@pytest.mark.parametrize("way", one_of(WAYS))
def test_another_root_is_prepared_and_its_first_boot_does_the_rest(boot, built, way):
    system = boot(durable=True)
    family = system.cell.family
    package = built.new(family)
    system.machine.copy_in(package, f"/root/{package.name}")
    other_root.make(system)
    before = whole_tree(system)

    done = system.machine.run(WAYS[way][family].format(root=ROOT, package=f"/root/{package.name}") + " <&-")

    assert "Traceback" not in done.out + done.err
    assert_prepared(system, ROOT)
    assert_no_key(system, "")
    after = whole_tree(system)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {path for path in changed if not may_change(path, [])} == set()
    assert ":50003" not in system.show("ss -Hltn")

    other_root.become(system)
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())


@pytest.mark.scenario("other-root")
@pytest.mark.parametrize("tool", one_of(TOOLS))
def test_systemd_offline_starts_nothing_and_the_next_boot_does(boot, built, tool):
    system = boot(durable=True)
    system.package(system.tools[TOOLS[tool]], "install", built.new(system.cell.family),
                   env={"SYSTEMD_OFFLINE": "1"})  # fmt: skip
    assert_prepared(system, "")
    assert ":50003" not in system.show("ss -Hltn")
    system.machine.reboot()
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())


@pytest.mark.scenario("image-build")
def test_without_systemctl_the_files_are_right(boot, built):
    """A container without systemd. Where systemctl alone can enable a service, none is enabled."""
    system = boot()
    other_root.make(system)
    system.machine.run(f"find {ROOT}/usr/bin {ROOT}/bin/ -maxdepth 1 -name 'systemctl*' -exec mv {{}} {{}}.away ';'")
    package = built.new(system.cell.family)
    system.machine.copy_in(package, f"{ROOT}/root/{package.name}")
    command = {"deb": "dpkg -i", "rpm": "rpm -i"}[system.cell.family]
    done = system.machine.run(f"chroot {ROOT} {command} /root/{package.name} <&-")
    assert "Traceback" not in done.out + done.err
    assert "systemctl" not in done.out + done.err
    assert_prepared(system, ROOT, enabled=system.cell.family == "deb")
    told = system.machine.run(f"chroot {ROOT} /opt/IBM/CCA/bin/CSUTKEcat check", check=False)
    assert "Traceback" not in told.out + told.err


@pytest.fixture
def image(cell):
    """The name of an image that the test makes; it is removed after the machines, so ask for it before `boot`."""
    name = f"{images.REPOSITORY}/image-build-{cell.name}:{os.getpid()}"
    yield name
    engine.attempt("rmi", "-f", name)


@pytest.mark.scenario("image-build")
@pytest.mark.parametrize("tool", one_of(TOOLS))
def test_an_image_build_makes_no_key_and_the_first_boot_of_each_copy_does(image, boot, built, tool):
    system = boot(boot=False)
    system.package(system.tools[TOOLS[tool]], "install", built.new(system.cell.family))
    assert_prepared(system, "")
    engine.call("commit", "--quiet", system.machine.container, image)
    copies = [boot(name, image=image) for name in ("copy1", "copy2")]
    for copy in copies:
        assert_sound(copy, copy.cell.mode.lower(), findings=copy.first_findings())
    if system.cell.mode == "TLS":
        assert copies[0].machine.read(KEY) != copies[1].machine.read(KEY)
