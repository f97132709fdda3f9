"""A whole installation by apt or dnf, compared with that of an empty package with the same dependencies."""

import pathlib
import shlex
import subprocess

from tests.matrix.machine import Machine
from tests.packaging.system import CERTIFICATE, CONF, KEY, PORT

from .gap import wait_for_listener
from .machines import Bench, has_services, hyperfine_in
from .measure import Rounds, Row, rounds_for

EMPTY = "csulcca-empty"
# The same transaction without recommended packages and without newer lists, so that it needs no network.
INSTALL = {"apt": "apt-get -y -q install {}", "dnf": "dnf -y -q install {}"}
REMOVE = {
    "deb": f"dpkg -P csulcca {EMPTY}; rm -rf /etc/cca",
    "rpm": f"for p in csulcca {EMPTY}; do if rpm -q $p; then rpm -e $p; fi; done; "
           f"rm -rf /etc/cca {KEY} {CERTIFICATE} /var/lib/csulcca",
}  # fmt: skip

SPEC = """Name: {name}
Version: 1
Release: 1
Summary: A package with nothing in it
License: Apache-2.0
BuildArch: noarch
AutoReqProv: no
{relations}
%global _binary_payload w9.gzdio
%description
{what}
%files
"""
WHAT = "What a transaction costs that does nothing."


def build_empty(directory: pathlib.Path, like: pathlib.Path) -> None:
    """Build a package without files and scriptlets that depends on and recommends what `like` does."""
    directory.mkdir(exist_ok=True)
    if like.suffix == ".deb":
        root = directory / "root/DEBIAN"
        root.mkdir(parents=True)
        fields = {"Package": EMPTY, "Version": "1", "Architecture": "all", "Maintainer": "nobody <nobody@example.com>"}
        for name in ("Depends", "Recommends"):
            fields[name] = output(["dpkg-deb", "-f", like, name])
        fields["Description"] = WHAT
        (root / "control").write_text("".join(f"{name}: {value}\n" for name, value in fields.items() if value))
        output(["dpkg-deb", "--root-owner-group", "-Zxz", "--build", root.parent, directory / f"{EMPTY}_1_all.deb"])
        return
    provided = output(["rpm", "-qp", "--provides", like]).splitlines()
    relations = [f"{kind}: {line}" for kind, query in (("Requires", "--requires"), ("Recommends", "--recommends"))
                 for line in output(["rpm", "-qp", query, like]).splitlines()
                 if line and line not in provided and not line.startswith(("rpmlib(", "/"))]  # fmt: skip
    spec = directory / "empty.spec"
    spec.write_text(SPEC.format(name=EMPTY, relations="\n".join(relations), what=WHAT))
    output(["rpmbuild", "-bb", "--define", f"_topdir {directory}/build", "--define", f"_rpmdir {directory}",
            "--define", "_build_name_fmt %%{NAME}-%%{VERSION}.%%{ARCH}.rpm", spec])  # fmt: skip


def output(command: list[str | pathlib.Path]) -> str:
    """The output of a program on this computer. Raises CalledProcessError."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def bench(here: Bench) -> tuple[list[Row], dict]:
    """Lines of the table, and every run for the report."""
    install = INSTALL[here.cell.package_manager]
    ours, empty = (install.format(here.package(name)) for name in ("8.0.0", "empty"))
    prepare = shlex.join(["sh", "-c", REMOVE[here.cell.family]])
    commands = {ours: prepare, empty: prepare}
    other = install.format("/root/stunnel4.deb")
    rounds = Rounds(here.cell.name)
    with here.machine(boot=here.cell.boot, installed=False) as machine:
        if has_services(here.cell):
            machine.run("cd /root && dpkg-repack stunnel4 >/dev/null 2>&1 && mv stunnel4_*.deb stunnel4.deb")
            commands[other] = "dpkg -P stunnel4"
        rounds.hyperfine(hyperfine_in(machine), "whole installation", commands, rounds_for(6, here.effort), runs=2)
        prove(machine, ours, prepare, here.cell.boot)
    beside = f"an empty package, {here.cell.package_manager}"
    did = "with the pair and a running service" if here.cell.boot else "without systemd: no pair, no service"
    rows = [rounds.row(f"whole installation, {did}", ours, empty, beside, 1.3)]
    if other in commands:
        rows.append(rounds.row("- of stunnel4, which makes no pair", other, empty, beside))
    return rows, {"transaction": rounds.rounds}


def prove(machine: Machine, ours: str, prepare: str, boot: bool) -> None:
    """Check that what was measured leaves a catcher that serves TLS, or will serve it, and that the command before each
    run leaves no pair."""
    machine.run(prepare)
    assert not machine.exists(KEY), "the pair of the run before was still there"
    machine.run(ours)
    assert machine.read(CONF) == b"TLS_ON\n"
    if boot:
        wait_for_listener(machine, PORT)
