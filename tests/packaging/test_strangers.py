"""Foreign programs with the names openssl and python3 are where a shell would find them first."""

import pytest

from .soundness import assert_sound
from .system import PORT
from .turns import TOOLS, one_of

CALLED = "/dev/shm/called"
"""Also to be written by what systemd shuts into a file system that is read-only."""

# Notes its caller, its arguments and the caller's parent, then gives a wrong answer or fails.
TRAP = f"""#!/bin/sh
echo "$0 $*, from $(tr '\\0' ' ' </proc/$PPID/cmdline)" >>{CALLED}
chmod 666 {CALLED}
"""
LIES = {"TLS": "echo 'OpenSSL 0.9.8zh 3 Dec 2015'\n", "TCP": "echo 'OpenSSL 3.5.0 8 Apr 2025'\n"}
"""What openssl says of itself, by the mode that it must not keep a host from."""

PYENV = "/root/.pyenv"
ENVIRONMENT = {
    "PATH": f"{PYENV}/shims:{PYENV}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "PYENV_ROOT": PYENV, "PYENV_VERSION": "2.7.18", "PYENV_SHELL": "bash",
}  # fmt: skip

# A unit with a sandbox like that of our two units, or a closer one. It runs a program of a name from its PATH.
SHUT_IN = ("systemd-run --quiet --wait --collect -p ProtectSystem=strict -p ProtectHome=yes -p PrivateTmp=yes"
           " -p PrivateDevices=yes -p UMask=0077 sh -c '{} --version'")  # fmt: skip


def plant(system):
    """Install the programs, and set the PATH of everything that systemd starts from now on."""
    openssl = TRAP + LIES[system.cell.mode]
    python = TRAP + "echo 'pyenv: version `2.7.18` is not installed' >&2\nexit 1\n"
    for directory in ("/usr/local/bin", f"{PYENV}/shims"):
        system.machine.write(f"{directory}/openssl", openssl, mode=0o755)
        system.machine.write(f"{directory}/python3", python, mode=0o755)
    for name in ("python", "python3." + system.cell.python.rpartition(".")[2]):
        system.machine.write(f"{PYENV}/shims/{name}", python, mode=0o755)
    system.machine.run(["systemctl", "set-environment", *(f"{key}={value}" for key, value in ENVIRONMENT.items())])


def called(system):
    """Return which of the programs were called since plant() or forget()."""
    return system.show(f"cat {CALLED} 2>/dev/null").splitlines()


def forget(system):
    system.machine.run(f"rm -f {CALLED}")


@pytest.mark.scenario("programs")
@pytest.mark.parametrize("tool", one_of(TOOLS))
def test_programs_of_somebody_else_are_never_called(boot, built, tool):
    system = boot()
    tool = system.tools[TOOLS[tool]]
    plant(system)
    for name in ("openssl", "python3"):
        # Any caller that relies on PATH gets these programs and is noted. A unit that cannot see homes gets the second.
        system.machine.run([name, "--version"], env=ENVIRONMENT, check=False)
        system.machine.run(SHUT_IN.format(name), check=False)
        assert [line.split(" --version")[0] for line in called(system)] == [
            f"{PYENV}/shims/{name}", f"/usr/local/bin/{name}"]  # fmt: skip
        forget(system)

    done = system.package(tool, "first install", built.new(system.cell.family), env=ENVIRONMENT, check=False)
    assert (called(system), done.rc) == ([], 0), done.out + done.err
    system.machine.run("systemctl start CSUTKEcat && systemctl restart CSUTKEcat")
    system.machine.wait_for("a listening catcher", lambda: f":{PORT}" in system.show("ss -Hltn"))
    system.machine.run("systemctl start csulcca-check.service")
    told = system.machine.run("catcherctl status --json", env=ENVIRONMENT, check=False)
    assert called(system) == []

    assert (told.rc, told.err) == (system.machine.run("catcherctl status --json", check=False).rc, "")
    assert system.conf() == system.fresh_conf
    tls = system.status()["tls"]
    assert tls["possible"] == (system.cell.mode == "TLS") and (tls["version"] or "").startswith(system.cell.openssl)
    assert_sound(system, system.cell.mode.lower(), findings=system.first_findings())

    system.package(tool, "purge", env=ENVIRONMENT)
    assert called(system) == []
