"""Installations where nothing runs, in image builds and other roots: they make no key, and the first boot makes it."""

import os

import pytest

from tests.matrix import engine, images

from . import other_root
from .keep_list import may_change, whole_tree
from .marks import needs_tls, one_of_each_family, only_deb
from .soundness import assert_sound, wait_until_it_listens
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
    """Assert that there is no key, and that the mode is decided, or left to the first start if OpenSSL cannot run."""
    made = system.show(f"cat {root}/etc/cca/catcher.conf")
    assert made == {"TLS": "TLS_ON", "TCP": "TLS_OFF"}[system.cell.mode]
    assert_no_key(system, root)
    assert not system.machine.exists(root + CERTIFICATE)
    assert system.machine.exists(root + ENABLED) == enabled


def assert_no_key(system, root):
    """Assert that no text file has a private key, under any name."""
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


@only_deb
@pytest.mark.scenario("other-root")
def test_scripts_that_run_outside_of_their_root_leave_this_system_alone(boot, built):
    """dpkg runs scripts in this way if it cannot use chroot. The first boot does what they would have done."""
    system = boot(durable=True)
    package = built.new("deb")
    system.machine.copy_in(package, f"/root/{package.name}")
    other_root.make(system)
    before = whole_tree(system)

    system.machine.run(f"dpkg --root={ROOT} --force-script-chrootless -i /root/{package.name} <&-")

    after = whole_tree(system)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert {path for path in changed if not may_change(path, [])} == set()
    assert ":50003" not in system.show("ss -Hltn")
    assert system.machine.exists(ROOT + ENABLED) and not system.machine.exists(ROOT + CERTIFICATE)

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
    """A container without systemd. If only systemctl can enable a service, the service is not enabled."""
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


# What makes an /opt that can be written in an image build, and not where the image runs. Both have a /var that is empty
# at the first boot. Commands of the build before and after the installation, and what is read-only then.
READ_ONLY = """[Unit]
DefaultDependencies=no
Before=local-fs.target systemd-tmpfiles-setup.service
[Service]
Type=oneshot
ExecStart=/bin/mount --bind {0} {0}
ExecStart=/bin/mount -o remount,bind,ro {0}
[Install]
WantedBy=sysinit.target
"""
IMAGES = {
    "bootc": ("ln -s /bin/true /usr/bin/bootc", ":", "/opt"),
    "rpm-ostree": (
        "ln -s /bin/true /usr/bin/rpm-ostree",
        "mv /opt /usr/lib/opt && ln -s var/opt /opt"
        " && echo 'L /var/opt/IBM - - - - ../../usr/lib/opt/IBM' > /usr/lib/tmpfiles.d/opt.conf"
        " && echo 'd /var/opt 0755 root root -' >> /usr/lib/tmpfiles.d/opt.conf",
        "/usr",
    ),
}


@pytest.mark.scenario("image-build")
@pytest.mark.parametrize("kind", IMAGES)
@needs_tls
@one_of_each_family
def test_where_opt_is_read_only_the_first_boot_makes_the_pair_below_var(image, boot, built, kind):
    before, after, read_only = IMAGES[kind]
    system = boot(boot=False)
    system.machine.run(before)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert_no_key(system, "")
    assert system.machine.run(f"test -e {CERTIFICATE}", check=False).rc != 0
    # bootc container lint: /var has nothing that no line of tmpfiles.d names.
    made = system.show("find /var -path '*csulcca*' -not -path '/var/*/dpkg/*' -not -path '/var/*/systemd/*'")
    assert made == "/var/lib/csulcca"
    assert system.show("cat /usr/lib/tmpfiles.d/*.conf | grep -c '^d /var/lib/csulcca '") == "1"
    system.machine.write("/usr/lib/systemd/system/read-only.service", READ_ONLY.format(read_only))
    system.machine.run(f"systemctl enable read-only.service && {after} && rm -rf /var/* /var/.[!.]*")
    engine.call("commit", "--quiet", system.machine.container, image)

    copies = [boot(name, image=image, durable=name == "copy1") for name in ("copy1", "copy2")]
    for copy in copies:
        assert_sound(copy, "tls")
        assert copy.machine.run(f"touch {KEY.rpartition('/')[0]}/x", check=False).rc != 0
        assert copy.show(f"stat -Lc '%a %U' {KEY}") == "600 root"
        assert copy.show(f"readlink {KEY}") == "/var/lib/csulcca/catcher.key"
    first, second = (copy.machine.read("/var/lib/csulcca/catcher.key") for copy in copies)
    assert first != second

    one = copies[0]
    one.machine.run("catcherctl mode tcp && catcherctl mode tls && catcherctl cert generate --force")
    assert_sound(one, "tls")
    assert one.machine.read("/var/lib/csulcca/catcher.key") != first
    (kept,) = one.show("ls -d /var/lib/csulcca/catcher.key.2*").splitlines()
    assert one.machine.read(kept) == first
    second = one.machine.read(KEY)
    # The host may have other addresses afterwards.
    one.machine.reboot()
    wait_until_it_listens(one)
    assert one.argv() == one.fresh_argv and one.machine.read(KEY) == second


@pytest.mark.scenario("image-build")
@pytest.mark.parametrize("half", [KEY, CERTIFICATE], ids=lambda one: one.rpartition(".")[2])
@needs_tls
@one_of_each_family
def test_an_image_with_half_a_pair_of_an_administrators_refuses_the_start(image, boot, built, half):
    """An administrator adds the other half later. No boot makes a key for an administrator's certificate."""
    before, after, read_only = IMAGES["bootc"]
    system = boot(boot=False)
    system.machine.run(before)
    system.machine.write(half, b"half\n", mode=0o640)
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.write("/usr/lib/systemd/system/read-only.service", READ_ONLY.format(read_only))
    system.machine.run(f"systemctl enable read-only.service && {after} && rm -rf /var/* /var/.[!.]*")
    engine.call("commit", "--quiet", system.machine.container, image)
    copy = boot("copy1", image=image)
    copy.machine.wait_for("the refusal", lambda: copy.service()[1] == "failed")
    assert copy.machine.read(half) == b"half\n"
    assert copy.show("find /opt/IBM /var/lib/csulcca -name 'catcher.[kc]*'") == half
    assert copy.findings() == ["pair-half"]
