"""The main job end to end on real systems, with a report in plain words: `make demo`.

For a Debian system with apt and an rpm system with dnf, in containers booted with systemd: a fresh installation, and an
upgrade from CCA 7.3. Exit status 1 if anything was not as it should be, or could not be shown on this host.
"""

import functools
import pathlib
import subprocess
import sys
import tempfile
import time

from tests.fixtures import cca73
from tests.matrix import engine, images
from tests.matrix.machine import Machine, Network
from tests.packaging.system import CERTIFICATE, System, handshake, talk_tcp

TREE = pathlib.Path(__file__).resolve().parent.parent
DAEMON = "/opt/IBM/CCA/bin/catcher.exe"
# What a machine of one step is called; its certificate must name it.
HOST = "zlinux1"


class Story:
    """Print the report, and count what was not as expected."""

    def __init__(self) -> None:
        """Begin; colours only on a terminal."""
        self.failures = 0
        self.expected = 0
        self.reasons: list[str] = []
        self.colour = sys.stdout.isatty()

    def _paint(self, text: str, code: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colour else text

    def heading(self, text: str) -> None:
        """A new chapter."""
        print("\n" + self._paint(text, "1"), flush=True)

    def tell(self, text: str) -> None:
        """One line of the story."""
        print("  " + text, flush=True)

    def quote(self, text: str) -> None:
        """What a command printed."""
        for line in text.rstrip("\n").splitlines():
            print(self._paint("      | " + line, "2"), flush=True)

    def blocked(self, reason: str) -> None:
        """Print what this host cannot show, and why. It does not count as shown."""
        self.reasons.append(reason)
        self.tell("BLOCKED: " + reason)

    def expect(self, what: str, is_so: bool, otherwise: str = "") -> None:
        """Print a claim and whether it is true; if it is not, also *otherwise*."""
        self.expected += 1
        if is_so:
            print(f"    {self._paint('ok', '32')}      {what}", flush=True)
            return
        self.failures += 1
        print(f"    {self._paint('FAILED', '31;1')}  {what}", flush=True)
        self.quote(otherwise)


def fresh(story: Story, system: System, client: Machine, package: pathlib.Path) -> None:
    """A first installation."""
    tool = system.tools[0]
    story.tell(f"{tool} installs {package.name} on a host that never had CCA.")
    done = system.package(tool, "install", package, check=False)
    story.expect(f"{tool} reports success", done.rc == 0, done.out + done.err)
    expect_service(story, system)
    conf = system.show("cat /etc/cca/catcher.conf")
    story.expect("the host can do TLS, so catcher.conf says TLS_ON", conf == "TLS_ON", conf)
    story.expect("ps shows the daemon as the vendor documents it", system.argv() == DAEMON + " -tls", system.argv())
    expect_handshake(story, system, client)
    story.tell("The certificate that was made for this host, as the TKE will show it:")
    story.quote(system.show(f"openssl x509 -in {CERTIFICATE} -noout -subject -enddate -ext subjectAltName"))
    for kind in ("sha1", "sha256"):
        story.quote(system.show(f"openssl x509 -in {CERTIFICATE} -noout -fingerprint -{kind}"))


def upgrade(story: Story, system: System, client: Machine, old: pathlib.Path, new: pathlib.Path) -> None:
    """An upgrade from CCA 7.3."""
    tool = system.tools[0]
    story.tell(f"{tool} installs {old.name}: CCA 7.3, which speaks plain TCP only.")
    system.package(tool, "install", old)
    before = talk_tcp(client, system.machine)
    story.expect("a client in TCP mode reaches the 7.3 catcher", before.rc == 0, before.out + before.err)
    story.tell(f"{tool} upgrades to {new.name}.")
    done = system.package(tool, "install", new, check=False)
    story.expect(f"{tool} reports success", done.rc == 0, done.out + done.err)
    expect_service(story, system)
    story.expect("the mode is kept: catcher.conf says TLS_OFF", system.show("cat /etc/cca/catcher.conf") == "TLS_OFF")
    story.expect("ps shows the daemon in TCP mode", system.argv() == DAEMON, system.argv())
    after = talk_tcp(client, system.machine)
    story.expect("the client in TCP mode reaches the 8.0 catcher", after.rc == 0, after.out + after.err)
    status = system.machine.run("catcherctl status", check=False)
    story.expect("catcherctl status says how to finish the TLS setup (exit status 3: needs attention)",
                 status.rc == 3 and "catcherctl mode tls" in status.out, status.out + status.err)
    story.quote(status.out)
    story.tell("The administrator types: catcherctl mode tls")
    switched = system.machine.run("catcherctl mode tls", check=False)
    story.quote(switched.out + switched.err)
    story.expect("it succeeds", switched.rc == 0, switched.out + switched.err)
    system.machine.wait_for("the catcher in TLS mode", lambda: ":50003" in system.show("ss -Hltn"))
    story.expect("ps shows the daemon in TLS mode", system.argv() == DAEMON + " -tls", system.argv())
    expect_handshake(story, system, client)
    status = system.machine.run("catcherctl status", check=False)
    story.expect("nothing needs attention any more", status.rc == 0, status.out + status.err)


def expect_service(story: Story, system: System) -> None:
    """Expect that the service is enabled and running."""
    state = system.service()
    story.expect("the service is enabled and running", state == ("enabled", "active"),
                 f"{state}\n{system.machine.journal()}")


def expect_handshake(story: Story, system: System, client: Machine) -> None:
    """Expect that another machine, which trusts only the certificate, can connect by name and by each address."""
    certificate = system.machine.read(CERTIFICATE)
    for name in (HOST, system.machine.ip4, system.machine.ip6):
        done = handshake(client, system.machine, name, certificate)
        story.expect(f"a second machine completes a TLS handshake and finds {name} in the certificate", done.rc == 0,
                     done.out + done.err)


def systems(story: Story) -> list[images.Cell]:
    """A system of each family that this host can run: our own root, or a vendor's image if no root can be made."""
    found = []
    for cell in images.with_role("example"):
        reason = images.blocked(cell)
        if reason:
            story.tell(f"{cell.name} can't be made here: {reason}")
            cell = next(one for one in images.with_role("ready-made") if one.family == cell.family)
            story.tell(f"fetching {cell.oci} instead")
            reason = "" if engine.image_exists(cell.oci) else images.pull(cell)
        if reason:
            story.blocked(f"{cell.name}: {reason}")
        else:
            found.append(cell)
    return found


def main() -> int:
    """Run the demo; returns its exit status."""
    story = Story()
    started = time.monotonic()
    with engine.plain_errors(), tempfile.TemporaryDirectory(prefix="csulcca-demo-") as work:
        images.cells()  # Report a mistake there before anything is built.
        engine.prepare()
        story.heading("Building the packages")
        subprocess.run([sys.executable, str(TREE / "tools/build_packages.py")], check=True)
        story.tell("and packages of CCA 7.3 to upgrade from")
        old = cca73.build(pathlib.Path(work))
        story.heading("Systems to install them on (built once, kept for the next time)")
        cells = systems(story)
        references = images.ensure_all(cells)
        story.tell("ready: " + (", ".join(cell.name for cell in cells) or "none"))
        for cell in cells:
            (new,) = (TREE / "dist").glob(f"csulcca[-_]8*.{cell.family}")
            for title, scene in (
                ("a fresh installation", functools.partial(fresh, package=new)),
                ("an upgrade from CCA 7.3", functools.partial(upgrade, old=getattr(old, cell.family), new=new)),
            ):
                story.heading(f"{cell.name} with {cell.package_manager}: {title}")
                image = references[cell.name]
                with (
                    Network() as lan,
                    Machine(image, name=HOST, network=lan) as host,
                    Machine(image, name="tke", network=lan, boot=False) as client,
                ):
                    scene(story, System(host, cell), client)
    for reason in story.reasons:
        story.heading(f"BLOCKED on this host: {reason}")
    took = f"{time.monotonic() - started:.0f} s"
    if story.failures:
        story.heading(f"{story.failures} of {story.expected} checks FAILED, after {took}")
        return 1
    story.heading(f"All {story.expected} checks passed, after {took}")
    return 1 if story.reasons else 0


if __name__ == "__main__":
    sys.exit(main())
