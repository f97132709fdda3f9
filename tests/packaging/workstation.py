"""The second machine of every test: it looks at the catcher over a network, in the place of a TKE."""

from __future__ import annotations

import contextlib
import functools
import json
import pathlib
import subprocess
import sys
import types
from collections.abc import Sequence

from tests.matrix import images
from tests.matrix.machine import Machine, Network

from .packages import Built

ENTRY = pathlib.Path(__file__).resolve().parent.parent.parent / "hooks/entry.py"
# Only the files of the package are needed, because no catcher runs there.
INSTALL = {"deb": "dpkg --unpack {}", "rpm": "rpm -i --noscripts {}"}


class Workstation:
    """A machine with catcherctl, and the network that hosts join to be looked at. All tests of a process share it."""

    def __init__(self, cells: Sequence[str], built: Built) -> None:
        """Choose its image: of the first of these cells, else of all, that runs here without emulation and has TLS."""
        wanted = [images.cell(name) for name in cells] + list(images.cells().values())
        self.cell = next(c for c in wanted if (c.kind, c.architecture, c.mode) == ("container", "native", "TLS")
                         and not images.blocked(c))  # fmt: skip
        self.built = built
        self.network = Network()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Workstation:
        """Make the network."""
        self._stack.enter_context(self.network)
        return self

    @functools.cached_property
    def machine(self) -> Machine:
        """The machine, with our package, for `catcherctl probe`; started when a test first asks for it: not all do."""
        made = Machine(images.ensure(self.cell), name="tke", network=self.network, boot=False)
        self._stack.enter_context(made)
        package = self.built.new(self.cell.family)
        made.copy_in(package, "/root/")
        made.run(INSTALL[self.cell.family].format(f"/root/{package.name}"))
        return made

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: types.TracebackType | None) -> None:  # fmt: skip
        """Remove the machine and the network."""
        self._stack.close()

    def probe(self, address: str, name: str) -> dict:
        """The fields of `catcherctl probe ADDRESS --name NAME --json`."""
        done = self.machine.run(["catcherctl", "probe", address, "--name", name, "--json"], check=False)
        assert done.out.startswith("{"), done.out + done.err
        return json.loads(done.out)


class ThroughPort(Workstation):
    """The build host in the place of a workstation. A port of its loopback leads to the catcher of a machine in qemu.

    It can only probe, because there is no machine that could run another client.
    """

    def __init__(self, port: int) -> None:
        """Take the number of the port."""
        self.port = port

    def probe(self, address: str, name: str) -> dict:
        """As Workstation.probe(), with the library of this tree. address is ignored: it is always the loopback's."""
        command = [sys.executable, str(ENTRY), "catcherctl", "probe", f"127.0.0.1:{self.port}", "--name", name,
                   "--json"]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.startswith("{"), done.stdout + done.stderr
        return json.loads(done.stdout)
