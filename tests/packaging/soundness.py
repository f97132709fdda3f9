"""What must be true of a catcher after every scenario, on the host and seen from another machine."""

from collections.abc import Iterable

from tests.matrix.images import Cell

from .system import System

# Names of unfinished files of a converge, a replacement or a package manager in these directories.
DIRECTORIES = ("/opt/IBM/CCA/bin", "/etc/cca", "/var/lib/csulcca", "/etc/init.d", "/usr/lib/csulcca")
UNFINISHED = (".catcher-pair", ".csulcca-new", ".dpkg-new", ".dpkg-tmp", ".rpmnew", "before-upgrade")


def assert_sound(system: System, mode: str, *, service: tuple[str, str] = ("enabled", "active"),
                 findings: Iterable[str] = ()) -> None:  # fmt: skip
    """Assert that the service is in this state, that everything agrees on the mode, and that nothing is unfinished.

    mode: "tls" or "tcp", configured, and running where the service does. service: is-enabled and is-active. findings:
    the ids that `catcherctl status` reports, no more and no fewer; that a service does not run is one by
    itself. The workstation checks what a TKE would meet.
    """
    assert system.service() == service
    running = service[1] == "active"
    idle = {("enabled", "inactive"): "not-running", ("disabled", "inactive"): "disabled-not-running",
            ("masked", "inactive"): "masked-not-running", ("masked-runtime", "inactive"): "masked-not-running"}
    findings = [*findings, idle[service]] if service in idle else findings
    if running:
        wait_until_it_listens(system)
    status = system.status()
    assert is_what_it_says(system.cell, status["distribution"])
    told = [one["id"] for one in status["findings"]]
    assert sorted(told) == sorted(findings)
    assert status["mode"] == {"configured": mode, "running": mode if running else None, "agree": running}
    # closing: a connection that began before the stop.
    assert status["listener"]["state"] in (["catcher"] if running else ["none", "closing"])
    assert status["tke"]["enable_tls"] == (mode == "tls")
    assert system.argv() == ("/opt/IBM/CCA/bin/catcher.exe" + " -tls" * (mode == "tls") if running else "")
    assert_seen_from_outside(system, mode if running else "refused", status["pair"]["sha256"])
    left = system.show(f"ls -A {' '.join(DIRECTORIES)} 2>/dev/null").split()
    assert [name for name in left if name.endswith(UNFINISHED) or name.startswith(UNFINISHED)] == []
    assert "Traceback" not in system.machine.journal()


def is_what_it_says(cell: Cell, distribution: str) -> bool:
    """Whether a system is the one of its cell, by what python3-distro reads there; true if that is not installed.

    A root that is built here is of its recipe's suite; a vendor's image has the major version of its cell's name.
    """
    versions = [word.split(".")[0] for word in cell.name.split("-") if word[-1:].isdigit()]
    wanted = [cell.recipe["suite"]] if cell.recipe else versions
    return not distribution or all(word in distribution.lower() for word in wanted)


def wait_until_it_listens(system: System) -> None:
    """systemd calls the service active as soon as the daemon is executed. The daemon opens its port after that."""
    system.machine.wait_for("a listening catcher", lambda: ":50003" in system.show("ss -Hltn"))


def assert_seen_from_outside(system: System, state: str, sha256: str) -> None:
    """What `catcherctl probe` of another machine sees: state "tls" with the certificate of this hash, which fits the
    host's name and verifies; "tcp" or "refused"."""
    assert system.workstation is not None, "boot() gives a machine its workstation"
    seen = system.workstation.probe(system.machine.ip4, system.machine.hostname)
    assert seen["state"] == state, seen["reason"]
    if state == "tls":
        assert seen["chain"][0]["sha256"] == sha256
        assert (seen["name_matches"], seen["trust"]["anchor"]) == (True, True), seen["findings"]
