"""Run contrib/'s playbook on several containers at the same time."""

import os
import pathlib
import subprocess
from collections.abc import Sequence

from tests.matrix.engine import MatrixError
from tests.matrix.machine import Machine

ANSIBLE = pathlib.Path(__file__).resolve().parent.parent.parent / "contrib/ansible"


class PlayFailed(MatrixError):
    """A task failed on a host. The text is the whole output of ansible-playbook."""


def play(machines: Sequence[Machine], *settings: str, forks: int = 0) -> str:
    """Run the playbook. Returns its output. forks: the number of hosts at the same time, all unless given. Raises
    PlayFailed."""
    inventory = ",".join(one.container for one in machines) + ","
    command: list[str | pathlib.Path] = [
        "ansible-playbook", "-i", inventory, "-c", "containers.podman.podman", f"--forks={forks or len(machines)}",
        ANSIBLE / "playbook.yml", *(word for setting in settings for word in ("-e", setting)),
    ]  # fmt: skip
    environment = {**os.environ, "ANSIBLE_ROLES_PATH": str(ANSIBLE / "roles"), "ANSIBLE_NOCOLOR": "1",
                   "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, env=environment, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=3600)  # fmt: skip
    if done.returncode:
        raise PlayFailed(done.stdout)
    return done.stdout
