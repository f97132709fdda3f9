"""A machine with its package manager: what a test or the demo does to the package, and what it sees of the catcher."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping

from tests.matrix.images import Cell
from tests.matrix.machine import AnyMachine, Result

from .workstation import Workstation

KEY = "/opt/IBM/CCA/bin/catcher.key"
CERTIFICATE = "/opt/IBM/CCA/bin/catcher.crt"
CONF = "/etc/cca/catcher.conf"
STAMP = "/var/lib/csulcca/state.json"
PORT = 50003
DAEMON = "/opt/IBM/CCA/bin/catcher.exe"

# The commands that an administrator would type, for each tool. Standard input is closed: no program may ask.
COMMANDS = {
    "apt": {"install": "apt-get install -y --allow-downgrades {}", "remove": "apt-get remove -y csulcca",
            "purge": "apt-get purge -y csulcca", "reinstall": "apt-get install -y --reinstall {}"},
    "dpkg": {"install": "dpkg -i {}", "remove": "dpkg -r csulcca", "purge": "dpkg -P csulcca",
             "reinstall": "dpkg -i {}"},
    "dnf": {"install": "dnf -y install {}", "remove": "dnf -y remove csulcca", "purge": "dnf -y remove csulcca",
            "reinstall": "dnf -y reinstall {}", "downgrade": "dnf -y downgrade {}"},
    "zypper": {"install": "zypper -n install --allow-unsigned-rpm {}", "remove": "zypper -n remove csulcca",
               "purge": "zypper -n remove csulcca", "reinstall": "zypper -n install --force --allow-unsigned-rpm {}",
               "downgrade": "zypper -n install --oldpackage --allow-unsigned-rpm {}"},
    "rpm": {"install": "rpm -U {}", "first install": "rpm -i {}", "remove": "rpm -e csulcca", "purge": "rpm -e csulcca",
            "reinstall": "rpm -U --replacepkgs {}", "downgrade": "rpm -U --oldpackage {}"},
}  # fmt: skip
# A cell's two tools, by its package manager.
TOOLS = {"apt": ("apt", "dpkg"), "dnf": ("dnf", "rpm"), "zypper": ("zypper", "rpm")}

# What System.choose_mode() takes.
MODES = ("the mode as installed", "set to TCP")

# Speaks to the catcher as a TKE in TCP mode would begin: connects and sends. Prints what comes back until it closes.
TCP_CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], 50003), timeout=10) as s:
    s.sendall(b"ping\\n")
    print("connected", s.makefile("rb").readline())
"""

# Another program at the catcher's port, in the words of Python 3.6.
PORT_HOLDER = f"""
import socket
port = socket.socket()
port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
port.bind(("", {PORT}))
port.listen(5)
"""

# FS_IOC_GETFLAGS and FS_IOC_SETFLAGS of linux/fs.h, which chattr uses; chattr itself is not everywhere.
SET_IMMUTABLE = """
import fcntl, sys
with open(sys.argv[1]) as file:
    flags = int.from_bytes(fcntl.ioctl(file, 0x80086601, bytes(8)), sys.byteorder)
    flags = flags & ~0x10 | int(sys.argv[2])
    fcntl.ioctl(file, 0x40086602, flags.to_bytes(8, sys.byteorder))
"""


class System:
    """A booted machine of a cell, and the directory with the packages to put on it."""

    def __init__(self, machine: AnyMachine, cell: Cell, workstation: Workstation | None = None) -> None:
        """Take a machine that runs. workstation: the machine that looks at it over the network, if there is one."""
        self.machine = machine
        self.cell = cell
        self.workstation = workstation
        self.tools = TOOLS[cell.package_manager]
        self.fresh_conf = b"TLS_ON\n" if cell.mode == "TLS" else b"TLS_OFF\n"
        """catcher.conf as a fresh installation must write it."""
        self.fresh_argv = DAEMON + (" -tls" if cell.mode == "TLS" else "")
        """The daemon's command line after that."""

    def package(self, tool: str, verb: str, path: pathlib.Path | None = None, *, check: bool = True,
                env: Mapping[str, str] | None = None) -> Result:  # fmt: skip
        """Let a package manager install, upgrade, remove, ... as an administrator would, with standard input closed.

        tool: of COMMANDS; verb: of COMMANDS[tool]; path: the package's file on the build host; env: added to the
        environment.
        """
        command = COMMANDS[tool].get(verb, COMMANDS[tool]["install"])
        if path is not None:
            self.machine.copy_in(path, f"/root/{path.name}")
            command = command.format(f"/root/{path.name}")
        done = self.machine.run(command + " <&-", check=check, env=env)
        assert "Traceback" not in done.out + done.err, done.out + done.err
        return done

    def show(self, command: str) -> str:
        """What a command prints, whatever its exit status, without the last newline."""
        return self.machine.run(command, check=False).out.strip()

    def service(self) -> tuple[str, str]:
        """(is-enabled, is-active) of the service, as systemctl says, once a daemon that was started has its port."""
        sub_state = "systemctl show -p SubState --value CSUTKEcat"
        self.machine.wait_for("the end of the start", lambda: self.show(sub_state) != "start-post")
        return self.show("systemctl is-enabled CSUTKEcat"), self.show("systemctl is-active CSUTKEcat")

    def argv(self) -> str:
        """The daemon's command line as ps shows it, "" if no daemon runs."""
        pid = self.show("systemctl show -p MainPID --value CSUTKEcat")
        return self.show(f"ps -o args= -p {pid}") if pid not in ("", "0") else ""

    def start_by_hand(self) -> None:
        """Without systemd, start the catcher as the unit does, and wait until it listens."""
        self.machine.run("setsid /opt/IBM/CCA/bin/CSUTKEcat start >/root/catcher.log 2>&1 </dev/null &")
        self.machine.wait_for("a listening catcher", lambda: f":{PORT}" in self.show("ss -Hltn"), 60)

    def handshake_from_inside(self) -> Result:
        """Like handshake(), from the machine itself."""
        return self.machine.run(["openssl", "s_client", "-connect", f"127.0.0.1:{PORT}", "-CAfile", CERTIFICATE,
                                 "-verify_return_error", "-verify_hostname", "zlinux1"], check=False)  # fmt: skip

    def conf(self) -> bytes:
        """The bytes of catcher.conf."""
        return self.machine.read(CONF)

    def stamp(self) -> dict:
        """state.json."""
        return json.loads(self.machine.read(STAMP))

    def status(self) -> dict:
        """catcherctl status --json."""
        done = self.machine.run("catcherctl status --json", check=False)
        assert done.rc in (0, 1, 3), done.out + done.err
        return json.loads(done.out)

    def first_findings(self) -> list[str]:
        """The ids of the findings that a first installation has on this cell."""
        return [] if self.cell.mode == "TLS" else ["tls-not-possible"]

    def choose_mode(self, mode: str) -> tuple[str, list[str]]:
        """Leave a first installation in its mode, or set it to TCP as an administrator does: one of MODES.
        Returns the mode ("tls" or "tcp") and the findings that it then has."""
        if mode == "set to TCP":
            self.machine.run("catcherctl mode tcp")
            return "tcp", []
        assert mode == "the mode as installed"
        return self.cell.mode.lower(), self.first_findings()

    def findings(self) -> list[str]:
        """The ids of the findings that status reports."""
        return [one["id"] for one in self.status()["findings"]]

    def tree(self, *tops: str) -> dict[str, str]:
        """Every path below these directories with its type, mode, owner, size, link target and, of files, SHA-256."""
        found = self.machine.run(
            ["find", *tops, "-not", "-name", "__pycache__", "-not", "-path", "*/__pycache__/*",
             "-printf", "%p\\t%y %m %U:%G %l\\n"], check=False).out  # fmt: skip
        tree = dict(line.split("\t", 1) for line in found.splitlines())
        files = [path for path, what in tree.items() if what.startswith("f")]
        if files:
            sums = self.machine.run(["sha256sum", "--zero", *files]).out
            tree.update((line[66:], f"{tree[line[66:]]} {line[:64]}") for line in sums.split("\0") if line)
        return tree


def handshake(client: AnyMachine, server: AnyMachine, name: str, certificate: bytes) -> Result:
    """A TLS handshake from another machine that trusts only *certificate* and insists on *name*; status 0 if so."""
    client.write("/root/catcher.crt", certificate)
    option = "-verify_ip" if re.fullmatch(r"[0-9.]+|[0-9a-f:]*:[0-9a-f:]*", name) else "-verify_hostname"
    target = f"[{server.ip6}]" if ":" in name else server.ip4
    return client.run(["openssl", "s_client", "-connect", f"{target}:{PORT}", "-CAfile", "/root/catcher.crt",
                       "-verify_return_error", option, name], check=False)  # fmt: skip


def talk_tcp(client: AnyMachine, server: AnyMachine) -> Result:
    """Connect in the clear from another machine, as a TKE does whose box Enable SSL/TLS is not ticked."""
    return client.run(["python3", "-c", TCP_CLIENT, server.ip4], check=False)


def set_immutable(system: System, path: str, immutable: bool) -> None:
    """Do what chattr +i or -i does: not even root can write, rename or remove an immutable file."""
    system.machine.run(["/usr/bin/python3", "-c", SET_IMMUTABLE, path, str(0x10 * immutable)])
