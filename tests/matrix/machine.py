"""Machines: containers of a cell's image that are removed after use, and private networks between them.

What they have in common with machines in qemu (see qemu.py) is AnyMachine.

    engine.prepare()
    image = images.ensure(cell)
    with Network() as lan, Machine(image, name="server", network=lan) as server:
        server.copy_in("dist/csulcca_8.0.0-1_all.deb", "/root/")
        server.run("apt-get install -y /root/csulcca_*.deb")

A machine is booted with systemd as PID 1, or with `boot=False` has no init at all, like a chroot or an image build.
It is removed when its block ends, also by an exception. If the program is killed, the next prepare() removes it. With
MATRIX_KEEP_FAILED=1 in the environment, a machine whose block ends by an exception is kept, so that you can look into
it.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import shlex
import subprocess
import time
import types
from collections.abc import Callable, Mapping, Sequence

from tests.matrix import engine
from tests.matrix.engine import EngineError, MatrixError

BOOT_TIMEOUT_S = 90
COMMAND_TIMEOUT_S = 120
# Seconds between two looks at a condition that cannot be waited for in another way.
POLL_S = 0.05

# A privileged container shares the host's kernel and consoles. Units that would change the kernel or open a console are
# masked on the command line of PID 1, so that the image itself stays as the distribution made it. The timers would look
# for a network at a random moment of a test, and unattended-upgrades writes a traceback if /var is read-only. The units
# in the last three lines load modules and mount file systems that no test needs; they make a boot longer.
MASKED = ("systemd-binfmt.service", "systemd-modules-load.service", "systemd-sysctl.service", "systemd-udevd.service",
          "systemd-udev-trigger.service", "systemd-random-seed.service", "getty.target", "console-getty.service",
          "apt-daily.timer", "apt-daily-upgrade.timer", "fstrim.timer", "dnf-makecache.timer",
          "unattended-upgrades.service", "e2scrub_reap.service",
          "modprobe@configfs.service", "modprobe@dm_mod.service", "modprobe@drm.service", "modprobe@efi_pstore.service",
          "modprobe@fuse.service", "modprobe@loop.service", "dev-hugepages.mount", "sys-fs-fuse-connections.mount",
          "sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount")  # fmt: skip
# Because an image has never booted, each boot of a container would make caches and users, as a first boot does. This
# prevents it.
BOOTED_BEFORE = "systemd.condition-needs-update=0"
# At each boot and each reload of systemd, these generators look for hardware and kinds of boot that no container has.
# That is nearly half of the work of a reload. The generators for the command line of PID 1, /etc/fstab and init scripts
# stay.
IDLE_GENERATORS = tuple(f"systemd-{name}-generator" for name in (
    "bless-boot", "cryptsetup", "getty", "gpt-auto", "hibernate-resume", "integritysetup", "rc-local", "run", "ssh",
    "system-update", "tpm2", "veritysetup"))  # fmt: skip
GENERATORS = "/etc/systemd/system-generators"

KEEP_FAILED = os.environ.get("MATRIX_KEEP_FAILED") == "1"
# Not engine.PREFIX: a machine with this name is never removed by prepare().
KEPT_PREFIX = "csulcca-kept"

running: list[AnyMachine] = []
"""The machines of this process whose blocks have not ended, in the order in which they were started."""

ended: list[tuple[str, str]] = []
"""Name and evidence() of those whose blocks have ended by an exception; squares.py empties it at the end of a test."""

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True)
class Result:
    """What a command did: `rc` is its exit status, `out` and `err` what it printed (UTF-8, others replaced)."""

    argv: tuple[str, ...]
    rc: int
    out: str
    err: str


class CommandFailed(MatrixError):
    """A command in a machine ended with an exit status other than 0, or not in time. The text contains the output."""

    def __init__(self, machine: str, what: str, result: Result) -> None:
        """`what`: for example `exit status 1`."""
        output = "\n".join(part.rstrip("\n") for part in (result.out, result.err) if part)
        super().__init__(f"{machine}: {shlex.join(result.argv)}: {what}\n{output or '(no output)'}")
        self.result = result


class Network:
    """A private bridge for machines, IPv4 and IPv6, without a route to anywhere and without DNS."""

    def __init__(self) -> None:
        """Choose a name; the network is made when the block begins."""
        self.name = engine.owned_name(f"net{next(_numbers)}")

    def __enter__(self) -> Network:
        """Make the network; raises EngineError."""
        options = ["--internal", "--ipv6"]
        if engine.current().is_docker:
            options.append("--subnet=fd%s::/64" % ":".join(os.urandom(2).hex() for _ in "123").removeprefix("00"))
        else:
            options.append("--disable-dns")
        engine.call("network", "create", *options, self.name)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: types.TracebackType | None) -> None:  # fmt: skip
        """Remove the network. Machines on it must be gone: leave their blocks first.

        A machine that is kept also keeps its network; a prepare() after the end of the machine removes it.
        """
        (engine.attempt if KEEP_FAILED else engine.call)("network", "rm", self.name)


def idle_generators() -> pathlib.Path:
    """The directory that masks IDLE_GENERATORS in a machine that has it as GENERATORS. It is made if it does not
    exist."""
    directory = pathlib.Path(f"/run/{engine.PREFIX}.generators")
    directory.mkdir(exist_ok=True)
    for name in IDLE_GENERATORS:
        with contextlib.suppress(FileExistsError):
            (directory / name).symlink_to("/dev/null")
    return directory


class AnyMachine:
    """A booted system in which commands are run: what a container and a machine in qemu have in common.

    Each kind of system implements `_exec`, `_copy_tree_in`, `copy_out`, `reboot`, `keep`, `ip4` and `ip6`.
    """

    def __init__(self, name: str, hostname: str | None, network: Network | None) -> None:
        """`name`: its name in errors; the others as in Machine."""
        self.name = name
        self.hostname = hostname or name
        self.network = network
        self.state = ""
        """What `systemctl is-system-running` said at the end of the boot: running, or degraded."""
        self.kept = False

    def run(self, command: str | Sequence[str], *, check: bool = True, input: str | bytes | None = None,
            timeout: float = COMMAND_TIMEOUT_S, env: Mapping[str, str] | None = None) -> Result:  # fmt: skip
        """Run a command as root, a string by /bin/sh, without a terminal; standard input is empty unless given.

        Raises CommandFailed if it does not end with 0 (unless `check` is false), or not within `timeout` seconds.
        """
        argv = ("sh", "-c", command) if isinstance(command, str) else tuple(command)
        done = self._exec(argv, input.encode() if isinstance(input, str) else input, timeout, env or {})
        texts = [part.decode(errors="replace") for part in (done.stdout, done.stderr)]
        result = Result(argv, done.returncode, *texts)
        if check and result.rc:
            raise CommandFailed(self.name, f"exit status {result.rc}", result)
        return result

    def read(self, path: str) -> bytes:
        """The bytes of a file. Raises CommandFailed if it cannot be read."""
        argv = ("cat", "--", path)
        done = self._exec(argv, None, COMMAND_TIMEOUT_S, {})
        if done.returncode:
            failed = Result(argv, done.returncode, "", done.stderr.decode(errors="replace"))
            raise CommandFailed(self.name, f"exit status {done.returncode}", failed)
        return done.stdout

    def write(self, path: str, content: str | bytes, *, mode: int = 0o644) -> None:
        """Write a file of root with these bytes and this mode. Its directories are made; a link is followed."""
        script = 'mkdir -p "$(dirname "$1")" && cat > "$1" && chmod "$2" "$1"'
        self.run(["sh", "-c", script, "sh", path, f"{mode:o}"], input=content)

    def exists(self, path: str) -> bool:
        """Whether the path exists, also as a dangling link."""
        return self.run(["sh", "-c", '[ -e "$1" ] || [ -L "$1" ]', "sh", path], check=False).rc == 0

    def copy_in(self, source: str | os.PathLike[str], target: str) -> None:
        """Copy a file or a tree of the build host into the system, owned by root.

        `target`: the copy's path; or the directory to put it in, with a slash at its end.
        """
        target += os.path.basename(source) if target.endswith("/") else ""
        if os.path.isfile(source):
            self.write(target, pathlib.Path(source).read_bytes(), mode=os.stat(source).st_mode & 0o777)
        else:
            self._copy_tree_in(source, target)

    def journal(self, unit: str | None = None) -> str:
        """The journal's messages of this boot, of one unit or all, one on each line, without dates."""
        chosen = ["--unit", unit] if unit else []
        self.run(["journalctl", "--sync"])
        return self.run(["journalctl", "--boot", "--no-pager", "--output=cat", *chosen]).out

    def wait_for(self, what: str, condition: Callable[[], bool], timeout: float = 30) -> None:
        """Wait until a condition is true. Raises EngineError with `what` if it is not true within `timeout` seconds."""
        began = time.monotonic()
        while not condition():
            waited = time.monotonic() - began
            if waited > timeout:
                raise EngineError(f"{self.name}: {what} did not come true within {timeout:g} s")
            # Some conditions take a minute, and a look may take as long as a start of Python.
            time.sleep(max(POLL_S, waited / 20))

    def keep(self) -> str:
        """Keep the system after its block, so that you can look into it. Returns its name, or its place."""
        raise NotImplementedError

    def evidence(self) -> str:
        """What the report of a failed test should show of this system beside the output of the test; may be nothing."""
        return ""

    def copy_out(self, source: str, target: str | os.PathLike[str]) -> None:
        """Copy a file or a tree of the system to the build host; `target` as in `cp -r`."""
        raise NotImplementedError

    def reboot(self) -> None:
        """Shut the system down and start it again; what was written stays."""
        raise NotImplementedError

    def __enter__(self) -> AnyMachine:
        """Start it."""
        raise NotImplementedError

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: types.TracebackType | None) -> None:  # fmt: skip
        """Remove it and everything that was written in it."""
        raise NotImplementedError

    @property
    def ip4(self) -> str:
        """The system's IPv4 address on its network. Raises EngineError if it does not have one."""
        raise NotImplementedError

    @property
    def ip6(self) -> str:
        """The system's global IPv6 address on its network. Raises EngineError if it does not have one."""
        raise NotImplementedError

    def _hosts(self) -> str:
        """/etc/hosts as an installer writes it, without anything of the build machine."""
        names = " ".join(dict.fromkeys([self.hostname, self.hostname.partition(".")[0]]))
        own = [self.ip4, self.ip6] if self.network else ["127.0.1.1"]
        lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost ip6-loopback", *(f"{ip} {names}" for ip in own)]
        return "\n".join(lines) + "\n"

    def _has_address(self) -> bool:
        """Whether every IPv6 address has passed duplicate address detection."""
        links = json.loads(self.run(["ip", "-json", "-6", "address", "show"]).out)
        addresses = [a for link in links for a in link["addr_info"] if link["ifname"] != "lo"]
        states = collections.Counter(bool(a.get("tentative")) for a in addresses)
        return states[False] > 0 and not states[True]

    def _copy_tree_in(self, source: str | os.PathLike[str], target: str) -> None:
        raise NotImplementedError

    def _exec(self, argv: Sequence[str], data: bytes | None, timeout: float,
              env: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        """Run a command, whatever its exit status. Raises CommandFailed if it takes too long."""
        raise NotImplementedError


class Machine(AnyMachine):
    """One container of an image."""

    def __init__(self, image: str, *, name: str = "machine", hostname: str | None = None,
                 network: Network | None = None, boot: bool = True, durable: bool = False,
                 volumes: Mapping[str, str] | None = None, data: Mapping[str, str] | None = None,
                 read_only: bool = False) -> None:  # fmt: skip
        """Describe the machine; it exists from the beginning of the block to its end.

        `name`: its name in errors. `hostname`: `name` unless given; may be a FQDN. `network`: no network unless given;
        it has no default route. `durable`: it can be rebooted; otherwise it never waits for the disk, for which package
        managers need a good part of their time. `volumes`: directories of the host, read-only, by their path in the
        machine. `data`: volumes of the engine by their path; they outlive the machine, and an empty volume gets what
        the image has there. `read_only`: only these, /run and temporary directories can be written.
        """
        super().__init__(name, hostname, network)
        self.image = image
        self.boot = boot
        self.durable = durable
        self.volumes = dict(volumes or {})
        self.data = dict(data or {})
        self.read_only = read_only
        self.container = engine.owned_name(f"{next(_numbers)}-{name}")
        self._started: dict = {}
        """What the engine said of it once it was started."""

    def __enter__(self) -> Machine:
        """Start the machine and wait until it is up. Raises EngineError with the messages of systemd if it does not
        come up."""
        try:
            engine.call(*self._run_arguments())
            self._started = engine.inspect("container", self.container)
            self.write("/etc/hosts", self._hosts())
            self._wait_until_up()
        except BaseException:
            self._remove()
            raise
        running.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: types.TracebackType | None) -> None:  # fmt: skip
        """Remove the machine and everything that was written in it, unless it is kept."""
        if kind is not None and KEEP_FAILED:
            self.keep()
        running.remove(self)
        if not self.kept:
            self._remove()

    def keep(self) -> str:
        """Let the machine run after its block, under another name, which is returned. Raises EngineError."""
        if not self.kept:
            name = self.container.replace(engine.PREFIX, KEPT_PREFIX, 1)
            engine.call("rename", self.container, name)
            self.container = name
            self.kept = True
        return self.container

    def _copy_tree_in(self, source: str | os.PathLike[str], target: str) -> None:
        engine.call("cp", os.fspath(source), f"{self.container}:{target}")

    def stop(self) -> None:
        """Shut the machine down permanently."""
        engine.call("stop", "--time=30", self.container)

    def copy_out(self, source: str, target: str | os.PathLike[str]) -> None:
        """Copy a file or a tree of the machine to the host; `target` as in `cp -r`."""
        engine.call("cp", f"{self.container}:{source}", os.fspath(target))

    def reboot(self) -> None:
        """Shut a durable machine down and start it again; what was written stays."""
        assert self.durable
        engine.call("restart", "--time=30", self.container)
        self._started = engine.inspect("container", self.container)
        self._wait_until_up()

    @property
    def ip4(self) -> str:
        """The machine's IPv4 address on its network; raises EngineError if it has none."""
        return self._address("IPAddress")

    @property
    def ip6(self) -> str:
        """The machine's global IPv6 address on its network; raises EngineError if it has none."""
        return self._address("GlobalIPv6Address")

    def _address(self, field: str) -> str:
        if self.network is None:
            raise EngineError(f"{self.name} is on no network")
        return self._started["NetworkSettings"]["Networks"][self.network.name][field]

    def _run_arguments(self) -> list[str]:
        """The engine's arguments that start this machine."""
        here = engine.current()
        arguments = ["run", "--detach", "--name", self.container, "--hostname", self.hostname, *here.run_options,
                     "--privileged", "--network", self.network.name if self.network else "none"]  # fmt: skip
        if not self.durable:
            # With this, podman's layer is an overlay of the kind "volatile", whose sync(2) returns at once.
            arguments.append("--rm")
        for target, source in self.volumes.items():
            arguments.append(f"--volume={os.path.abspath(source)}:{target}:ro")
        arguments += [f"--volume={name}:{target}" for target, name in self.data.items()]
        arguments += ["--read-only"] * self.read_only
        # Otherwise the engine copies the build machine's names and name servers into the machine.
        if here.is_docker:
            arguments.append("--dns=127.0.0.1")
        else:
            arguments += ["--no-hosts", *(["--dns=none"] if self.network else [])]
        if not self.boot:
            if not here.is_docker:
                arguments.append("--systemd=false")
            # PID 1 gets only signals that it handles, so removal would wait in vain for its end.
            return [*arguments, "--stop-signal=KILL", self.image, "sleep", "infinity"]
        if here.is_docker:
            arguments += ["--cgroupns=private", "--tmpfs=/run", "--tmpfs=/run/lock", "--env=container=docker",
                          "--stop-signal=RTMIN+3"]  # fmt: skip
        else:
            arguments.append("--systemd=always")
        if not (self.data or self.read_only):
            arguments.append(f"--volume={idle_generators()}:{GENERATORS}:ro")
        return [*arguments, self.image, "/sbin/init", BOOTED_BEFORE, *("systemd.mask=" + unit for unit in MASKED)]

    def _wait_until_up(self) -> None:
        """Wait for the end of the boot, and until the addresses can be used."""
        if self.boot:
            self.wait_for("the end of the boot", self._has_booted, BOOT_TIMEOUT_S)
        if self.network is not None:
            # A new IPv6 address cannot be used until the kernel knows that no other host has it: a second or two.
            self.wait_for("a usable IPv6 address", self._has_address)

    def _has_booted(self) -> bool:
        """Whether systemd has finished all jobs of the boot. Waits for them as soon as systemd can be asked."""
        done = self._exec(("systemctl", "is-system-running", "--wait"), None, BOOT_TIMEOUT_S, {})
        self.state = done.stdout.decode(errors="replace").strip()
        if self.state in ("running", "degraded"):
            return True
        if not os.path.exists(f"/proc/{self._started['State']['Pid']}"):
            logs = engine.attempt("logs", self.container)
            said = "what it said went with it, unless it is durable"
            if logs.returncode == 0:
                said = engine.last_line(logs.stdout + logs.stderr)
            raise EngineError(f"{self.name} ended while it booted: {said}")
        return False

    def _exec(self, argv: Sequence[str], data: bytes | None, timeout: float,
              env: Mapping[str, str]) -> subprocess.CompletedProcess[bytes]:  # fmt: skip
        """Run a command in the container, whatever its exit status. Raises CommandFailed if it takes too long."""
        # `crun exec --env` takes all other variables away.
        command = [*(["env", *(f"{key}={value}" for key, value in env.items())] if env else []), *argv]
        if self._started.get("OCIRuntime") == "crun":
            # This does what `podman exec` does, without podman's 0.2 s for each command, which would be half of every
            # test.
            whole = ["crun", "exec", self._started["Id"], *command]
        else:
            interactive = ["--interactive"] if data is not None else []
            whole = engine.argv("exec", *interactive, self.container, *command)
        try:
            # Without input, the command's standard input is empty.
            return subprocess.run(whole, capture_output=True, timeout=timeout, input=data or b"")
        except subprocess.TimeoutExpired as error:
            texts = [(part or b"").decode(errors="replace") for part in (error.stdout, error.stderr)]
            result = Result(tuple(argv), -1, *texts)
            raise CommandFailed(self.name, f"not finished after {timeout:g} s", result) from error

    def _remove(self) -> None:
        """Remove the container, running or not; it may be gone already."""
        at_once = [] if engine.current().is_docker else ["--time=0"]
        engine.attempt("rm", "--force", "--volumes", *at_once, self.container)
