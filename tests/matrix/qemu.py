"""Machines in qemu: they have their own kernel, a boot, and a power supply that can be cut.

    image = images.ensure(cell)             # a machine that was booted once and is kept as it was then
    with VirtualMachine(image, name="server", network=lan) as server:
        server.run("apt-get install -y /root/csulcca_*.deb")
        server.cut_power()
        server.power_on()

Commands and files go over qemu-guest-agent, which needs no network and no password. What a machine writes goes to an
overlay, which is removed at its end; the console's output is evidence() for a test that failed. Only one machine runs
at a time on a build host: two would not be faster, and other tests would get no processor.

/dev/kvm is used if it works, on this processor too, and the machine has the host's architecture; everything else is
emulated.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import ipaddress
import itertools
import json
import os
import pathlib
import platform
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import types
from collections.abc import Callable, Iterator, Mapping, Sequence

from tests.matrix import disks, engine
from tests.matrix.disks import Image
from tests.matrix.engine import EngineError
from tests.matrix.machine import KEEP_FAILED, AnyMachine, CommandFailed, Network, Result, ended, running
from tests.ports import free_port


@dataclasses.dataclass(frozen=True)
class Board:
    """qemu's options, by the machine's architecture."""

    emulator: str
    machine: str
    console: str
    tty: str
    bus: str


BOARDS = {
    "s390x": Board("qemu-system-s390x", "s390-ccw-virtio", "-device sclpconsole,chardev=console", "ttysclp0", "ccw"),
    "x86_64": Board("qemu-system-x86_64", "q35", "-serial chardev:console", "ttyS0", "pci"),
}
# What the kernel calls a processor's way to run guests. A host may have /dev/kvm without it: that one runs guests whose
# kernels are made for it, and any other hangs.
CPUINFO = pathlib.Path("/proc/cpuinfo")
RUNS_GUESTS = {"s390x": {"sie"}, "x86_64": {"vmx", "svm"}}
# For the kernel. On a busy host an emulated timer may tick too late for the kernel's test of the timer, which then
# panics.
WORDS = {"x86_64": "no_timer_check"}
MEMORY_MB = 1024
PROCESSORS = 2
BOOT_TIMEOUT_S = 400
AGENT_TIMEOUT_S = 60
# How much longer everything may take if it is emulated.
EMULATED_PATIENCE = 5
# Seconds between two looks at a running command, growing from the first to the last.
LOOK_S, LAST_LOOK_S = 0.02, 0.3
# The network of a machine that is not on one of ours: qemu's own, with DHCP and router advertisements, and no route
# out.
USER_NETWORK = "user,restrict=on,ipv6-prefix=2001:db8:1::"
# The first address of our networks that a machine takes: the engine gives addresses to containers from below.
FIRST_ADDRESS = 200

_numbers = itertools.count(1)
_holding: list[int] = []
"""The lock on the build host's one place for a machine, and once more for each further machine of this process."""


def lacking(machine: str) -> str:
    """What this host does not have to run a machine of that architecture (as `uname -m` names it), or ""."""
    if machine not in BOARDS:
        return f"there is no board for machines of {machine} in tests/matrix/qemu.py"
    for command in (BOARDS[machine].emulator, "qemu-img", *disks.COMMANDS):
        if shutil.which(command) is None:
            return f"no {command} on this host: install qemu-system, qemu-utils, e2fsprogs"
    if machine != platform.machine():
        if not os.path.exists(disks.foreign.EMULATOR.format(machine)):
            return f"this host can't run programs for {machine}: install qemu-user-static"
        if not disks.foreign.works(machine):
            return f"this kernel runs no programs for {machine} in a namespace: Linux 6.7 and newer can"
    return ""


@functools.cache
def accelerator(machine: str) -> list[str]:
    """qemu's options for the fastest way to run a machine of that architecture on this host."""
    if machine == platform.machine() and os.access("/dev/kvm", os.R_OK | os.W_OK) and kvm_works(machine):
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max"]


def kvm_works(machine: str) -> bool:
    """Whether the processor runs guests, and qemu starts one with /dev/kvm: some hosts have the device and cannot."""
    if not RUNS_GUESTS[machine] & set(CPUINFO.read_text(encoding="ascii", errors="replace").split()):
        return False
    board = BOARDS[machine]
    command = [board.emulator, "-M", board.machine, "-accel", "kvm", "-cpu", "host", "-nodefaults", "-display", "none",
               "-qmp", "stdio"]  # fmt: skip
    asked = '{"execute":"qmp_capabilities"}{"execute":"query-status"}{"execute":"quit"}'
    try:
        done = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and '"status": "running"' in done.stdout and not done.stderr


def booted_directory(image: Image) -> pathlib.Path:
    """Where the machine that was booted from this image is kept: another version of qemu could not resume it."""
    return image.directory / f"booted-{digest(image.machine)}"


@functools.cache
def digest(machine: str) -> str:
    """A hash of everything, except the image, on which a saved machine depends."""
    board = BOARDS[machine]
    version = subprocess.run([board.emulator, "--version"], capture_output=True, text=True, check=True).stdout
    parts = [version, dataclasses.asdict(board), accelerator(machine), MEMORY_MB, PROCESSORS]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def boot_once(image: Image) -> None:
    """Boot an image and keep the machine in booted_directory(). Raises EngineError if it does not come up."""
    with VirtualMachine(str(image.directory), name="first-boot") as machine:
        machine.run("sync")
        machine.save(booted_directory(image))


class Channel:
    """JSON lines to qemu or to the guest agent, over a socket pair; qemu has the other end."""

    def __init__(self) -> None:
        """Make the pair; `theirs` is for qemu, and closed here once it has started."""
        self.ours, self.theirs = socket.socketpair()
        self.rest = b""

    def send(self, message: dict) -> None:
        """Send one message. Raises EngineError if qemu has ended."""
        self.ours.settimeout(None)
        try:
            self.ours.sendall(json.dumps(message).encode() + b"\n")
        except BrokenPipeError as error:
            raise EngineError("qemu has gone") from error

    def receive(self, timeout: float) -> dict:
        """The next message. Raises TimeoutError, and EngineError if qemu has ended."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self.rest:
            self.ours.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                chunk = self.ours.recv(1 << 20)
            except ConnectionResetError:
                chunk = b""
            if not chunk:
                raise EngineError("qemu has gone")
            self.rest += chunk
        line, _, self.rest = self.rest.partition(b"\n")
        # The agent sends this byte before its first answer; see guest-sync-delimited.
        return json.loads(line.rpartition(b"\xff")[2] or b"{}")

    def receive_event(self, name: str, timeout: float) -> None:
        """Wait for an event of qemu, and ignore all earlier messages. Raises as receive() does."""
        deadline = time.monotonic() + timeout
        while self.receive(deadline - time.monotonic()).get("event") != name:
            pass

    def close(self) -> None:
        """Close both ends."""
        self.ours.close()
        self.theirs.close()


class VirtualMachine(AnyMachine):
    """One machine in qemu."""

    def __init__(self, image: str, *, name: str = "machine", hostname: str | None = None,
                 network: Network | None = None, clock: str = "", link: bool = True, ipv4: bool = True,
                 during_boot: Callable[[VirtualMachine], None] | None = None) -> None:  # fmt: skip
        """Describe the machine; it exists from the beginning of the block to its end.

        `image`: a directory of disks.Image. A saved machine continues from where it was, and gets `hostname`; any other
        boots. `network`: qemu's own unless given. For a machine that boots: `clock`: the time of its hardware clock, as
        for qemu's `-rtc base=`; `link`: whether the network cable is plugged in; `ipv4`: whether qemu's network has
        IPv4; `during_boot`: called as soon as commands can be run, which is usually before the boot has ended.
        """
        super().__init__(name, hostname, network)
        self.image = Image.of(image)
        self.clock, self.link, self.ipv4, self.during_boot = clock, link, ipv4, during_boot
        self.patience = 1 if "kvm" in accelerator(self.image.machine) else EMULATED_PATIENCE
        self.number = next(_numbers)
        self.directory = pathlib.Path()
        self.forwarded = free_port()
        """The port of the build host's loopback that leads to the catcher's, where the network is qemu's own."""
        self._resources = contextlib.ExitStack()
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp = self._agent = Channel()

    def __enter__(self) -> VirtualMachine:
        """Start the machine and wait until it is up; raises EngineError with the console's last line if it does not."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(the_only_one())
            top = pathlib.Path(tempfile.gettempdir())
            sweep(top)
            owned = engine.owned_name(f"{self.number}-{self.name}-")
            self.directory = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(dir=top, prefix=owned)))
            stack.callback(self._kill)
            subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", disk_format(self.image.disk), "-b",
                            str(self.image.disk), str(self.directory / "disk.qcow2")], check=True)  # fmt: skip
            restored = self.image.state.exists()
            self._start(restored)
            if restored:
                self._become()
            self._resources = stack.pop_all()
        running.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: types.TracebackType | None) -> None:  # fmt: skip
        """Switch the machine off and remove what it wrote; after an exception its console's output is in `ended`."""
        if kind is not None:
            ended.append((self.name, self.evidence()))
            if KEEP_FAILED:
                self.keep()
        running.remove(self)
        self._resources.close()

    def keep(self) -> str:
        """Keep the disk and the console's output, but not the running machine: only one machine can run at a time."""
        place = self.directory.parent / f"kept-{self.directory.name}"
        if not self.kept:
            self.kept = True
            self._resources.callback(shutil.copytree, self.directory, place)
        return str(place)

    def evidence(self) -> str:
        """The console's output."""
        return f"console of {self.name}:\n{self._console()}"

    def reboot(self) -> None:
        """Stop the machine in order and start it again; returns when it is up."""
        # On s390x the clock of a machine that was saved is back at that time. systemd sets it to the time of this file.
        self.run(["touch", "/usr/lib/clock-epoch"], check=False)
        # The answer comes behind all earlier events: firmware may have reset the machine twice at an earlier reboot.
        self._command("query-status")
        self._ask("guest-exec", path="systemctl", arg=["reboot"])
        # Until then the agent gets no requests: it would never answer what it has read before it was stopped.
        try:
            self._qmp.receive_event("RESET", BOOT_TIMEOUT_S)
        except TimeoutError as error:
            raise EngineError(f"{self.name} did not stop for a reboot within {BOOT_TIMEOUT_S} s") from error
        self._wait_until_up()

    def cut_power(self) -> None:
        """Kill the machine between two instructions. What it has not flushed to the disk is lost."""
        self._kill()

    def power_on(self) -> None:
        """Boot a machine whose power was cut. Returns when it is up."""
        self._start(restored=False)

    def plug_in(self, link: bool = True) -> None:
        """Plug the network cable in, or pull it out."""
        self.link = link
        self._command("set_link", name="net", up=link)

    def begin(self, command: str) -> None:
        """Start a shell command and do not wait for its end."""
        self._ask("guest-exec", path="/bin/sh", arg=["-c", command])

    def save(self, directory: pathlib.Path) -> None:
        """Save the running machine in a directory, which becomes an image; this machine ends."""
        work = directory.with_name(engine.owned_name(f"{self.number}-saved"))
        sweep(work.parent)
        work.mkdir()
        self._command("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self._command("migrate", uri="exec:cat > " + shlex.quote(str(work / "state")))
        self.wait_for("the end of saving", self._is_saved, 300)
        self._command("quit")
        assert self._process is not None
        self._process.wait()
        shutil.move(self.directory / "disk.qcow2", work / "disk.qcow2")
        for name in ("kernel", "initrd"):
            (work / name).symlink_to(os.path.realpath(self.image.directory / name))
        dataclasses.replace(self.image, directory=work).write_facts()
        work.rename(directory)

    def copy_out(self, source: str, target: str | os.PathLike[str]) -> None:
        """Copy a file of the machine to the build host."""
        pathlib.Path(target).write_bytes(self.read(source))

    def wait_for(self, what: str, condition: Callable[[], bool], timeout: float = 30) -> None:
        """Do what AnyMachine.wait_for() does, with a longer timeout."""
        super().wait_for(what, condition, timeout * self.patience)

    @property
    def ip4(self) -> str:
        """The machine's IPv4 address."""
        return self._address(4)

    @property
    def ip6(self) -> str:
        """The machine's global IPv6 address."""
        return self._address(6)

    # How it is started

    def _start(self, restored: bool) -> None:
        """Start qemu and wait until the machine is up."""
        self._qmp, self._agent = Channel(), Channel()
        theirs = (self._qmp.theirs.fileno(), self._agent.theirs.fileno())
        # If the test is killed, qemu ends, too.
        command = ["setpriv", "--pdeathsig", "KILL", *self._arguments(*theirs)]
        if restored:
            command += ["-incoming", "exec:cat " + shlex.quote(str(self.image.state))]
        with open(self.directory / "qemu.log", "ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, pass_fds=theirs)
        for channel in (self._qmp, self._agent):
            channel.theirs.close()
        try:
            self._qmp.receive(30)
            self._command("qmp_capabilities")
            if self.network is not None:
                enslave(self._interface(), bridge_of(self.network))
            self._command("set_link", name="net", up=self.link)
            self.wait_for("its memory", lambda: self._command("query-status")["status"] != "inmigrate", 60)
            # It was started stopped.
            self._command("cont")
            self._wait_until_up()
        except (EngineError, TimeoutError) as error:
            said = (self.directory / "qemu.log").read_text(errors="replace")
            ended.append((self.name, self.evidence()))
            self._kill()
            raise EngineError(f"{self.name} did not come up: {error}; qemu: {said.strip()}; "
                              f"console:\n{self._console()[-2000:]}") from error  # fmt: skip

    def _arguments(self, qmp: int, agent: int) -> list[str]:
        """qemu's command line; the numbers are of descriptors."""
        board = BOARDS[self.image.machine]
        words = " ".join([f"root=/dev/vda rw console={board.tty} quiet systemd.show_status=0 net.ifnames=0",
                          WORDS.get(self.image.machine, ""), self.image.words])  # fmt: skip
        return [
            board.emulator, "-M", board.machine, *accelerator(self.image.machine), "-smp", str(PROCESSORS),
            "-m", str(MEMORY_MB), "-nodefaults", "-display", "none", "-S",
            "-chardev", f"file,id=console,path={self.directory}/console.log,append=on", *board.console.split(),
            "-chardev", f"socket,id=qmp,fd={qmp}", "-mon", "chardev=qmp,mode=control",
            "-kernel", str(self.image.kernel), "-initrd", str(self.image.initrd), "-append", words.strip(),
            "-drive", f"if=none,id=disk,file={self.directory}/disk.qcow2,cache=writeback",
            "-device", f"virtio-blk-{board.bus},drive=disk",
            *self._netdev(),
            "-device", f"virtio-net-{board.bus},netdev=net" + (",romfile=" if board.bus == "pci" else ""),
            "-device", f"virtio-rng-{board.bus}", "-device", f"virtio-serial-{board.bus}",
            "-chardev", f"socket,id=agent,fd={agent}",
            "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
            *(["-rtc", f"base={self.clock}"] if self.clock else []),
        ]  # fmt: skip

    def _netdev(self) -> list[str]:
        if self.network is not None:
            # A saved machine also has the state of qemu's own network, which needs a device to be restored to.
            return ["-netdev", f"{USER_NETWORK},id=spare", "-netdev",
                    f"tap,id=net,ifname={self._interface()},script=no,downscript=no,vnet_hdr=off"]  # fmt: skip
        more = ("" if self.ipv4 else ",ipv4=off") + f",hostfwd=tcp:127.0.0.1:{self.forwarded}-:50003"
        return ["-netdev", f"{USER_NETWORK},id=net{more}"]

    def _interface(self) -> str:
        """The name of the network interface on the build host, which exists as long as qemu runs."""
        return f"cca{os.getpid()}v{self.number}"[:15]

    def _address(self, version: int) -> str:
        found = [str(address.ip) for address in self._addresses() if address.version == version]
        if not found:
            raise EngineError(f"{self.name} has no address of IPv{version}")
        return found[0]

    def _addresses(self) -> list[ipaddress.IPv4Interface | ipaddress.IPv6Interface]:
        """IPv4, then IPv6. On qemu's own network they are the addresses that it gives to the only machine."""
        if self.network is None:
            links = json.loads(self.run(["ip", "-json", "address", "show", "scope", "global"]).out)
            # What is filtered out is shown as {}.
            shown = [address for link in links for address in link["addr_info"] if address]
            return sorted((ipaddress.ip_interface(f"{one['local']}/{one['prefixlen']}") for one in shown),
                          key=lambda address: address.version)  # fmt: skip
        return [ipaddress.ip_interface(f"{subnet[FIRST_ADDRESS + self.number]}/{subnet.prefixlen}")
                for subnet in subnets_of(self.network)]  # fmt: skip

    def _become(self) -> None:
        """Give a machine that was saved the time, its name, and its addresses."""
        self.run(["date", "-s", f"@{time.time():.3f}"])
        self.write("/etc/hostname", self.hostname + "\n")
        self.run(["hostname", self.hostname])
        self.write("/etc/hosts", self._hosts())
        if self.network is not None:
            lines = ["[Match]", "Name=e*", "[Network]", "DHCP=no", "IPv6AcceptRA=no",
                     *(f"Address={address.with_prefixlen}" for address in self._addresses())]  # fmt: skip
            self.write("/etc/systemd/network/10-test.network", "\n".join(lines) + "\n")
            self.run(["systemctl", "restart", "systemd-networkd"])
            self.wait_for("a usable address", self._has_address)

    def _has_address(self) -> bool:
        shown = self.run(["ip", "address", "show", "dev", "eth0"]).out
        return all(f" {address.ip}/" in shown for address in self._addresses()) and super()._has_address()

    def _wait_until_up(self) -> None:
        """Wait for the guest agent, and for the end of the boot."""
        self.wait_for("the guest agent", self._agent_answers, BOOT_TIMEOUT_S / self.patience)
        if self.during_boot:
            self.during_boot(self)
        self.wait_for("the end of the boot", self._has_booted, BOOT_TIMEOUT_S / self.patience)

    def _has_booted(self) -> bool:
        self.state = self.run(["systemctl", "is-system-running"], check=False).out.strip()
        return self.state in ("running", "degraded")

    # How it is talked to

    def _command(self, command: str, **arguments: object) -> dict:
        """Send a command to qemu. Returns its answer. Raises EngineError."""
        self._qmp.send({"execute": command, "arguments": arguments})
        while True:
            answer = self._qmp.receive(AGENT_TIMEOUT_S)
            if "error" in answer:
                raise EngineError(f"qemu: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def _is_saved(self) -> bool:
        state = self._command("query-migrate").get("status")
        if state == "failed":
            raise EngineError(f"{self.name} could not be saved")
        return state == "completed"

    def _ask(self, command: str, **arguments: object) -> dict:
        """Send a command to the guest agent. Returns its answer. Raises EngineError."""
        self._agent.send({"execute": command, "arguments": arguments})
        answer = self._agent.receive(AGENT_TIMEOUT_S * self.patience)
        if "error" in answer:
            raise EngineError(f"{self.name}: {command}: {answer['error']['desc']}")
        return answer.get("return", {})

    def _agent_answers(self) -> bool:
        """Whether the agent answers, and answers the last request."""
        assert self._process is not None
        if self._process.poll() is not None:
            raise EngineError("qemu has ended")
        token = time.monotonic_ns() & 0x7FFFFFFF
        self._agent.send({"execute": "guest-sync-delimited", "arguments": {"id": token}})
        try:
            while self._agent.receive(1).get("return") != token:
                pass
        except (TimeoutError, ValueError):
            return False
        return True

    def _exec(self, argv: Sequence[str], data: bytes | None, timeout: float,
              env: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        words = [*(f"{key}={value}" for key, value in env.items()), *argv]
        more = {"input-data": base64.b64encode(data).decode()} if data else {}
        started = self._ask("guest-exec", path="/usr/bin/env", arg=words, **{"capture-output": True}, **more)
        deadline = time.monotonic() + timeout * self.patience
        look = LOOK_S
        while True:
            state = self._ask("guest-exec-status", pid=started["pid"])
            out, err = (base64.b64decode(state.get(name, "")) for name in ("out-data", "err-data"))
            if state["exited"]:
                code = state.get("exitcode", 128 + state.get("signal", 0))
                return subprocess.CompletedProcess(list(argv), code, out, err)
            if time.monotonic() > deadline:
                self._ask("guest-exec", path="kill", arg=[str(started["pid"])])
                raise CommandFailed(self.name, f"not finished after {timeout * self.patience:g} s",
                                    Result(tuple(argv), -1, "", ""))  # fmt: skip
            time.sleep(look)
            look = min(look * 1.5, LAST_LOOK_S)

    def _copy_tree_in(self, source: str | os.PathLike[str], target: str) -> None:
        packed = subprocess.run(["tar", "-c", "--owner=root:0", "--group=root:0", "-C", os.fspath(source), "."],
                                check=True, capture_output=True).stdout  # fmt: skip
        self.run(["sh", "-c", 'mkdir -p "$1" && tar -x -C "$1"', "sh", target], input=packed)

    def _console(self) -> str:
        path = self.directory / "console.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for channel in (self._qmp, self._agent):
            channel.close()


def disk_format(path: pathlib.Path) -> str:
    """qemu's name for the format of a disk of an image."""
    return "qcow2" if path.suffix == ".qcow2" else "raw"


def bridge_of(network: Network) -> str:
    """The interface of a network on the build host. A container must be on the network: podman makes the interface with
    the first container."""
    found = engine.inspect("network", network.name)
    return found.get("network_interface") or "br-" + found["Id"][:12]


def subnets_of(network: Network) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """IPv4, then IPv6."""
    found = engine.inspect("network", network.name)
    podmans = [one["subnet"] for one in found.get("subnets") or []]
    configured = podmans or [one["Subnet"] for one in found["IPAM"]["Config"]]
    return sorted(map(ipaddress.ip_network, configured), key=lambda subnet: subnet.version)


def enslave(interface: str, bridge: str) -> None:
    """Connect a network interface of the build host to a bridge; raises EngineError."""
    engine.mount("ip", "link", "set", interface, "master", bridge, "up")


@contextlib.contextmanager
def the_only_one() -> Iterator[None]:
    """Wait until no other process of this build host has a machine, and take the lock. A process that starts one
    machine after another lets a waiting process go first."""
    if not _holding:
        # The last holder would take the lock again before the kernel has woken the waiting process. So the process that
        # is next holds a second lock, on the turn.
        turn, place = (os.open(os.path.join(tempfile.gettempdir(), f"{engine.PREFIX}-machine{name}.lock"),
                               os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600) for name in ("-next", ""))  # fmt: skip
        try:
            fcntl.flock(turn, fcntl.LOCK_EX)
            fcntl.flock(place, fcntl.LOCK_EX)
        except BaseException:
            os.close(place)
            raise
        finally:
            os.close(turn)
        _holding.append(place)
    else:
        _holding.append(_holding[0])
    try:
        yield
    finally:
        lock = _holding.pop()
        if not _holding:
            os.close(lock)


def sweep(directory: pathlib.Path) -> None:
    """Remove the files of machines of killed processes."""
    for entry in directory.iterdir():
        if engine.is_stale(entry.name):
            shutil.rmtree(entry, ignore_errors=True)
