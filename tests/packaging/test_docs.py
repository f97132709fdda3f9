"""Every command of docs/, typed in order on a real system; its exit status and what it prints are what the page says.

This file adds only what a page assumes: the state of the host when somebody opens the page, files that come from
elsewhere, and the faults that "When something is wrong" fixes.
"""

import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

import pytest

from tests import pages
from tests.matrix.machine import AnyMachine, Result
from tests.unit.authority import Authority, issue
from tests.unit.pem import key_of

from .marks import one_of_each_family
from .packages import Built
from .soundness import assert_seen_from_outside
from .system import CERTIFICATE, CONF, PORT_HOLDER, System, handshake, talk_tcp

pytestmark = one_of_each_family

# The longest page, which is typed in two halves.
WRONG = "when-something-is-wrong"

# The others, by the scenario in which they are typed.
TYPED_IN = {
    "docs-install": ["first-install", "image-based-hosts", "back-to-tcp", "configure-the-backend", "monitor"],
    "docs-upgrade": ["finish-tls-after-upgrade", "plan-a-change-window", "downgrade-to-7.3"],
    "docs-certificates": ["use-your-own-certificate", "renew", "clean-up-old-pairs", "renew-through-an-enterprise-ca"],
    "docs-tke": ["import-into-the-tke-by-usb", "import-into-the-tke-by-remote-server", "open-the-firewall"],
    "docs-json": ["json"],
}
SCENARIO_OF = {page: scenario for scenario, typed in TYPED_IN.items() for page in typed}
WHOLE = [pytest.param(page, marks=pytest.mark.scenario(SCENARIO_OF[page])) for page in pages.TYPED if page != WRONG]

DAY = 24 * 3600


class Host(NamedTuple):
    """The catcher's host, another machine with the package, and the packages."""

    system: System
    other: AnyMachine
    built: Built

    @property
    def machine(self) -> AnyMachine:
        return self.system.machine

    def install(self) -> None:
        """As "First installation" does."""
        self.system.package(self.system.tools[1], "install", self.built.new(self.system.cell.family))

    def upgrade(self) -> None:
        """Install CCA 7.3, and nothing more."""
        old = self.built.old(self.system.cell)
        self.system.package(self.system.tools[1], "install", old)
        self.machine.run(["rm", f"/root/{old.name}"])

    def finish_the_upgrade(self) -> None:
        """Upgrade from CCA 7.3, so that this version speaks plain TCP."""
        self.upgrade()
        self.install()

    def listens(self) -> bool:
        return ":50003 " in self.system.show("ss -Hltn")

    def settled(self) -> bool:
        """Whether the daemon listens or has given up; systemctl does not wait for that."""
        state = self.system.show("systemctl is-active CSUTKEcat")
        return self.listens() if state == "active" else state != "activating"

    def restart(self) -> None:
        """Restart the service after a fault was made. The restart may fail."""
        self.machine.run("systemctl restart CSUTKEcat", check=False)
        self.machine.wait_for("an end of the restart", self.settled)


# -- what a page takes for granted -------------------------------------------------------------------------------------


def _end_in_20_days(host: Host) -> None:
    host.install()
    key = key_of("prime256v1")
    host.machine.write("/root/old.key", key, mode=0o600)
    host.machine.write("/root/old.crt", issue(key, "zlinux1", ["zlinux1"], last=20 * DAY))
    assert host.machine.run("catcherctl cert install /root/old.key /root/old.crt", check=False).rc == 3


def _mount_a_stick(host: Host) -> None:
    host.install()
    host.machine.run("mkdir -p /mnt/usb && mount -t tmpfs usb /mnt/usb")


def _boot_an_image(host: Host) -> None:
    """Install as in an image build, and boot."""
    package = host.built.new(host.system.cell.family)
    host.machine.copy_in(package, f"/root/{package.name}")
    install = {"deb": "dpkg -i", "rpm": "rpm -i"}[host.system.cell.family] + f" /root/{package.name}"
    host.machine.run(f"unshare --mount sh -c 'mount -t tmpfs tmpfs /run; TRANSACTIONAL_UPDATE=true {install}'")
    host.machine.run("systemctl daemon-reload && systemctl start CSUTKEcat")
    host.machine.wait_for("a listening catcher", host.listens)


def _have_the_old_package(host: Host) -> None:
    host.install()
    old = host.built.old(host.system.cell)
    host.machine.copy_in(old, f"/root/{old.name}")


BACKEND = "import socketserver; socketserver.ThreadingTCPServer(('127.0.0.1', 50004), {0}).serve_forever()"


def _start_a_backend(host: Host) -> None:
    host.install()
    handler = "type('Echo', (socketserver.StreamRequestHandler,), {'handle': lambda self: self.rfile.read()})"
    host.machine.run(["systemd-run", "--unit=backend", "python3", "-c", BACKEND.format(handler)])
    host.machine.wait_for("a backend", lambda: ":50004 " in host.system.show("ss -Hltn"))


BEFORE: dict[str, Callable[[Host], None]] = {
    "first-install": lambda host: None,
    "image-based-hosts": _boot_an_image,
    "finish-tls-after-upgrade": Host.upgrade,
    "use-your-own-certificate": Host.install,
    "renew": _end_in_20_days,
    "back-to-tcp": Host.install,
    "plan-a-change-window": Host.finish_the_upgrade,
    "downgrade-to-7.3": _have_the_old_package,
    "clean-up-old-pairs": Host.install,
    "open-the-firewall": Host.install,
    "configure-the-backend": _start_a_backend,
    "monitor": Host.install,
    "renew-through-an-enterprise-ca": Host.install,
    "import-into-the-tke-by-usb": _mount_a_stick,
    "import-into-the-tke-by-remote-server": Host.install,
    WRONG: Host.install,
    "json": Host.install,
}

# -- the faults of "When something is wrong", by heading; the page fixes each ------------------------------------------


def _stop(host: Host) -> None:
    host.machine.run("systemctl stop CSUTKEcat")


def _lose_the_certificate(host: Host) -> None:
    host.machine.run(["rm", CERTIFICATE])
    host.restart()


def _spoil_the_certificate(host: Host) -> None:
    host.machine.write(CERTIFICATE, "rubbish\n")
    host.restart()


def _rename_the_host(host: Host) -> None:
    host.machine.run("hostname zlinux3")


def _contradict(host: Host) -> None:
    host.machine.write(CONF, "TLS_ON\nTLS_OFF\n")
    host.restart()


def _hold_the_port(host: Host) -> None:
    host.machine.run("systemctl stop CSUTKEcat")
    host.machine.run(["systemd-run", "--unit=other", "python3", "-c", PORT_HOLDER + "port.accept()"])
    host.machine.wait_for("the other program", host.listens)


def _take_openssl_away(host: Host) -> None:
    host.machine.run("mv /usr/bin/openssl /root/openssl")
    host.restart()


FAULTS: dict[str, Callable[[Host], None]] = {
    "The catcher does not run": _stop,
    "The TKE cannot connect": _stop,
    "One of key and certificate is missing": _lose_the_certificate,
    "The key and the certificate cannot be used": _spoil_the_certificate,
    "The certificate no longer fits this host": _rename_the_host,
    "The configuration cannot be used": _contradict,
    "Another program has the port": _hold_the_port,
    "TLS is set, and the catcher speaks TCP": _take_openssl_away,
}

# -- what comes from elsewhere, by a pattern of heading and command ----------------------------------------------------


def _signed(request: str, answer: str) -> Callable[[Host], None]:
    """A CA signs a request, and sends its own certificate, too."""

    def sign(host: Host) -> None:
        ca = Authority()
        host.machine.write(answer, ca.sign(host.machine.read(request)) + ca.certificate)

    return sign


def _pair_of(kind: str, name: str, path: str) -> Callable[[Host], None]:
    """Somebody's key and self-signed certificate for a host."""

    def make(host: Host) -> None:
        key = key_of(kind)
        host.machine.write(f"{path}.key", key, mode=0o600)
        host.machine.run(f"openssl req -x509 -key {path}.key -subj /CN={name} -days 90 -out {path}.crt")

    return make


def _renewed(key: str, certificate: str, chain: str) -> Callable[[Host], None]:
    """Save what a renewal program saves. The chain has its own file, or is in the file of the certificate."""

    def save(host: Host) -> None:
        ca, own = Authority(), key_of("prime256v1")
        issued = ca.issue(own, common_name="zlinux1", dns=["zlinux1"])
        host.machine.run(["mkdir", "-p", certificate.rpartition("/")[0]])
        host.machine.write(key, own, mode=0o600)
        host.machine.write(certificate, issued)
        host.machine.write(chain, ca.certificate if chain != certificate else issued + ca.certificate)

    return save


def _bring_openssl_back(host: Host) -> None:
    host.machine.run("mv /root/openssl /usr/bin/openssl")


SUPPLIES: dict[str, Callable[[Host], None]] = {
    r"/ catcherctl cert install signed\.crt": _signed("/root/catcher.csr", "/root/signed.crt"),
    r"/ catcherctl cert install renewed\.crt": _signed("/root/renewed.csr", "/root/renewed.crt"),
    r"/ catcherctl cert install other\.key": _pair_of("secp384r1", "elsewhere", "/root/other"),
    r"/ catcherctl cert install ed25519": _pair_of("ed25519", "zlinux1", "/root/ed25519"),
    r"certmonger / /usr/local/libexec/": _renewed(*map("/etc/pki/csulcca/{}".format, (
        "catcher.key", "catcher.crt", "ca.crt"))),
    r"certbot / RENEWED": _renewed(*map("/etc/letsencrypt/live/csulcca/{}".format, (
        "privkey.pem", "fullchain.pem", "fullchain.pem"))),
    r"TLS is set, and the catcher speaks TCP / systemctl restart": _bring_openssl_back,
}


# -- typing ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def host(pair: tuple[System, AnyMachine], built: Built) -> Host:
    """zlinux1, which has the file of the package, and zlinux2, which has installed it and resolves the name zlinux1."""
    system, other = pair
    new = built.new(system.cell.family)
    for machine in (system.machine, other):
        machine.copy_in(new, f"/root/{new.name}")
    known = other.read("/etc/hosts").decode()
    other.write("/etc/hosts", f"{known}{system.machine.ip4} zlinux1\n")
    System(other, system.cell).package(system.tools[1], "install", new)
    return Host(system, other, built)


def _fail(step: pages.Step, why: str) -> NoReturn:
    pytest.fail(f"{step.place}: # {step.command}\n{why}", pytrace=False)


def type_in(host: Host, step: pages.Step) -> Result:
    """Type a command of a page without a pause after the one before. Fail if it does not do what the page says."""
    for pattern, supply in SUPPLIES.items():
        if re.search(pattern, f"{step.heading} / {step.command}"):
            supply(host)
    machine = host.other if step.machine == pages.OTHER else host.machine
    done = machine.run(f"cd /root; {step.command}", check=False)
    printed = done.out + done.err
    if done.rc != step.status:
        _fail(step, f"exit status {done.rc}, the page says {step.status}\n{printed}")
    if not step.prints(printed):
        _fail(step, f"-- the page --\n{step.shown}\n-- printed --\n{printed}")
    return done


@pytest.mark.parametrize("page", WHOLE)
def test_a_page_does_what_it_says(host: Host, page: str) -> None:
    BEFORE[page](host)
    type_page(host, page, {}, {step.heading for step in pages.steps(page)})


@pytest.mark.scenario("docs-trouble")
@pytest.mark.parametrize("half", ["first half", "second half"])
def test_what_ends_a_fault_is_on_the_page(host: Host, half: str) -> None:
    BEFORE[WRONG](host)
    headings = list(dict.fromkeys(step.heading for step in pages.steps(WRONG)))
    middle = len(headings) // 2
    mine = set(headings[:middle] if half == "first half" else headings[middle:])
    assert not FAULTS.keys() - set(headings), f"docs/{WRONG}.md has no such headings"
    type_page(host, WRONG, {heading: fault for heading, fault in FAULTS.items() if heading in mine}, mine)


def type_page(host: Host, page: str, faults: "dict[str, Callable[[Host], None]]", headings: set[str]) -> None:
    """Type the commands below these headings of a page. A fault is made before the first command below its heading."""
    faults, typed = dict(faults), []
    for step in pages.steps(page):
        if step.heading in headings and step.family in ("", host.system.cell.family):
            faults.pop(step.heading, lambda host: None)(host)
            type_in(host, step)
            typed.append(step)
    assert typed, f"docs/{page}.md: nothing was typed"
    assert not faults, f"docs/{page}.md: nothing is to be typed at {', '.join(faults)}"


def commands_that_finish_tls(status: str) -> list[str]:
    """What a reader of `catcherctl status` is told to type to finish the TLS setup."""
    assert status.count("\n  !  ") == 1, status
    return re.findall(r"(?m)^       (\S.*)$", status.split("to keep plain TCP:")[0])


@pytest.mark.scenario("docs-upgrade")
def test_status_alone_leads_from_an_upgraded_host_to_verified_tls_in_two_commands(host: Host) -> None:
    host.upgrade()
    assert "ping" in talk_tcp(host.other, host.machine).out
    host.install()
    assert_seen_from_outside(host.system, "tcp", "")
    commands = commands_that_finish_tls(host.system.show("catcherctl status"))
    assert len(commands) == 2

    printed = [host.machine.run(command).out for command in commands]

    # The other machine does what a TKE and its operator do: fetch the certificate over the network, compare the hash,
    # trust only this certificate, and require the name that the operator types.
    fetched = host.other.run(f"openssl s_client -connect {host.machine.ip4}:50003 < /dev/null | openssl x509").out
    host.other.write("/root/fetched.crt", fetched)
    hashed = host.other.run("openssl x509 -in /root/fetched.crt -noout -fingerprint -sha256").out.strip().split("=")[1]
    assert re.findall(r"SHA-256 +(\S+)", printed[1]) == [hashed]
    names = re.findall(r"(?m)^ +(?:Host Name/IP  |or: )(.+)$", printed[1])
    assert ", ".join(names).split(", ") == ["zlinux1", host.machine.ip4, host.machine.ip6]
    for name in ("zlinux1", host.machine.ip4, host.machine.ip6):
        done = handshake(host.other, host.machine, name, fetched.encode())
        assert done.rc == 0, done.out + done.err
    assert host.machine.run("catcherctl status").out.endswith("  Nothing needs attention.\n")
