"""selinux/: the module compiles with the system's policy, and allows what the catcher needs and little more."""
from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from .test_linters import TREE, clean, tool

DEVEL = Path("/usr/share/selinux/devel/Makefile")


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The module in CIL, SELinux's own language, in which every interface is expanded."""
    for name in ("checkmodule", "semodule_package", "m4"):
        tool(name)
    work = Path(shutil.copytree(TREE / "selinux", tmp_path_factory.mktemp("selinux") / "csulcca"))
    clean("make", "-f", DEVEL, "csulcca.pp", cwd=work)
    return clean("/usr/libexec/selinux/hll/pp", work / "csulcca.pp")


def allowed(policy: str, source: str, target: str, kind: str) -> set[str]:
    """The permissions that one type has on another."""
    rules = re.findall(r"\(allow %s %s \(%s \(([^)]*)\)" % (source, target, kind), policy)
    return {permission for rule in rules for permission in rule.split()}


def test_systemd_starts_the_catcher_in_its_domain(policy: str) -> None:
    assert "(typetransition init_t csulcca_exec_t process csulcca_t)" in policy


def test_the_catcher_makes_its_pair_and_binds_its_port(policy: str) -> None:
    assert {"create", "write", "link", "rename", "unlink"} <= allowed(policy, "csulcca_t", "csulcca_pair_t", "file")
    assert {"create", "write"} <= allowed(policy, "csulcca_t", "csulcca_var_lib_t", "file")
    assert allowed(policy, "csulcca_t", "csulcca_port_t", "tcp_socket") >= {"name_bind"}


def test_a_daemon_of_7_3_keeps_its_process_id_in_run(policy: str) -> None:
    assert "(typetransition csulcca_t var_run_t file csulcca_runtime_t)" in policy
    assert {"create", "write", "unlink"} <= allowed(policy, "csulcca_t", "csulcca_runtime_t", "file")
    assert {"add_name", "remove_name"} <= allowed(policy, "csulcca_t", "var_run_t", "dir")
    # It cannot write files of systemd or of other daemons.
    assert not allowed(policy, "csulcca_t", "var_run_t", "file") & {"write", "create", "unlink"}


def test_programs_and_the_system_cannot_be_written(policy: str) -> None:
    """Not even the catcher, which is root, can write them."""
    for target in ("csulcca_exec_t", "bin_t", "usr_t", "lib_t", "etc_t"):
        assert not allowed(policy, "csulcca_t", target, "file") & {"write", "append", "create", "unlink", "rename"}
    capabilities = allowed(policy, "csulcca_t", "self", "capability")
    assert "fowner" in capabilities and not capabilities & {"sys_admin", "sys_ptrace", "sys_module"}


def test_every_file_has_the_type_that_its_name_says(policy: str) -> None:
    for path, kind in (("/opt/IBM/CCA/bin/catcher.key", "csulcca_pair_t"), ("/etc/cca/catcher.conf", "csulcca_conf_t"),
                       ("/opt/IBM/CCA/bin/.catcher-pair.draft", "csulcca_pair_t"),
                       ("/opt/IBM/CCA/bin/catcher.exe", "csulcca_exec_t"),
                       ("/var/lib/csulcca/state.json", "csulcca_var_lib_t"),
                       ("/var/lib/csulcca/catcher.key", "csulcca_pair_t"),
                       # In the policies of RHEL 8 and 9, /run is another name for /var/run, and not the reverse.
                       ("/run/CSUTKEcat.pid", "csulcca_runtime_t"),
                       ("/var/run/CSUTKEcat.pid", "csulcca_runtime_t")):  # fmt: skip
        lines = [line.split() for line in (TREE / "selinux/csulcca.fc").read_text().splitlines() if line]
        # The last that fits is taken, and setfiles sorts the longer fixed beginning last.
        fitting = [(len(re.split(r"[.\\(\[*?+]", line[0])[0]), line[-1]) for line in lines
                   if re.fullmatch(line[0], path)]  # fmt: skip
        assert max(fitting)[1] == f"gen_context(system_u:object_r:{kind},s0)", (path, fitting)


def built(top: Path, payload: Path) -> tuple[Path, Path]:
    """The main package and csulcca-selinux, as a distribution builds them with a payload."""
    source = top / "csulcca-8.0.0"
    clean("python3", TREE / "tools/build_packages.py", "--payload", payload, "--stage", source)
    (top / "SOURCES").mkdir()
    clean("tar", "-C", source.parent, "-czf", top / "SOURCES/csulcca-8.0.0.tar.gz", source.name)
    clean("rpmbuild", "-bb", "--nodeps", "--define", f"_topdir {top}", "--with", "selinux", "--without", "check",
          source / "rpm/csulcca.spec")  # fmt: skip
    (selinux,) = top.glob("RPMS/noarch/csulcca-selinux-8.0.0-1*.rpm")
    (main,) = top.glob("RPMS/noarch/csulcca-8.0.0-1*.rpm")
    return main, selinux


def asked(package: Path, tag: str, argument: str, tmp_path: Path, enabled: bool,
          ports: str = "", said: str = "", fails: str = "") -> list[str]:  # fmt: skip
    """What a scriptlet changes by SELinux's programs, in its order, on a system where SELinux is on or off.

    ports: the lines that `semanage port` has of this system's own definitions. said: all that the scriptlet may say.
    fails: the program that changes nothing.
    """
    script = subprocess.check_output(["rpm", "-qp", "--nosignature", "--qf", "%{" + tag + "}", package], text=True)
    programs = Path(tempfile.mkdtemp(dir=tmp_path))
    log = programs / "log"
    (programs / "ports").write_text(ports)
    for name in ("semodule", "semanage", "load_policy", "restorecon", "systemctl", "selinuxenabled", "mkdir"):
        status = 1 if name == fails or (name == "selinuxenabled" and not enabled) else 0
        told = "" if name == "selinuxenabled" else f'echo {name} "$@" >>{log}\n'
        if name == "semanage":
            told = f'[ "$*" != "port -l -C -n" ] || exec cat {programs}/ports\n{told}'
        (programs / name).write_text(f"#!/bin/sh\n{told}exit {status}\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(["sh", "-ec", script, "sh", argument], env={"PATH": f"{programs}:/usr/bin:/bin"}, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # fmt: skip
    assert (done.returncode, done.stdout) == (0, said)
    return log.read_text().splitlines() if log.exists() else []


MODULE = "semodule -n -X 200 -i /usr/share/selinux/packages/csulcca.pp"
PERMISSIVE = "semodule -n -X 200 -i /usr/share/selinux/packages/csulcca_permissive.cil"
PORT = "semanage port -N -a -t csulcca_port_t -p tcp 50003"
NO_PORT = "semanage port -N -d -p tcp 50003"
# Definitions of a system's own, as `semanage port` lists them, in which the port is ours, nobody's or somebody else's.
OURS = ("csulcca_port_t                 tcp      50003\n",
        "http_port_t                    tcp      8080\ncsulcca_port_t                 tcp      50004, 50003, 50010\n")
NOBODYS = ("", "http_port_t                    udp      50003\n",
           "http_port_t                    tcp      50000-50003, 500031\n")
OTHERS = ("tke_port_t                     tcp      50003\n",
          "csulcca_port_t                 udp      50003\ntke_port_t                     tcp      8080, 50003\n")
NO_TYPE = ("csulcca-selinux: TCP port 50003 has no type of its own, so the policy does not let the catcher listen "
           "on it. To see why: semanage port -a -t csulcca_port_t -p tcp 50003\n")
MAY_NOT = ("csulcca-selinux: TCP port 50003 has the type tke_port_t here, so the policy does not let the catcher "
           "listen on it. To change that: semanage port -m -t csulcca_port_t -p tcp 50003\n")


@pytest.mark.parametrize("permissive", [False, True], ids=["reference catcher", "another daemon"])
def test_the_rpm_of_a_distribution_has_a_package_of_it(tmp_path: Path, permissive: bool) -> None:
    """Enforcing for the reference catcher alone; the same after an upgrade, and where SELinux is off."""
    if not DEVEL.exists():
        tool("selinux-policy-dev")
    payload = TREE / "payload/reference"
    if permissive:
        # It has no machine code, so nothing but the missing reference catcher tells that it is another one.
        (tmp_path / "other/opt/IBM/CCA/bin").mkdir(parents=True)
        shutil.copy(payload / "opt/IBM/CCA/bin/catcher.exe", tmp_path / "other/opt/IBM/CCA/bin")
        payload = tmp_path / "other"
    main, package = built(tmp_path, payload)
    listed = subprocess.check_output(["rpm", "-qpl", "--nosignature", package], text=True).split()
    assert "/usr/share/selinux/packages/csulcca.pp" in listed
    assert ("/usr/share/selinux/packages/csulcca_permissive.cil" in listed) == permissive
    assert "selinux" not in subprocess.check_output(["rpm", "-qpl", "--nosignature", main], text=True)
    mode = PERMISSIVE if permissive else "semodule -n -X 200 -r csulcca_permissive"
    for argument in "12":
        off = asked(package, "POSTIN", argument, tmp_path, enabled=False)
        assert off == [MODULE, mode, PORT]
        on = asked(package, "POSTIN", argument, tmp_path, enabled=True)
        assert on[:5] == [*off, "load_policy", "mkdir -p -m 755 /etc/cca /var/lib/csulcca"]
        assert on[5].startswith("restorecon -iR ") and {"/etc/cca", "/var/lib/csulcca"} < set(on[5].split())
        assert on[-2:] == ["systemctl daemon-reload", "systemctl try-restart CSUTKEcat.service"]
    asked(package, "POSTIN", "1", tmp_path, enabled=False, said=NO_TYPE, fails="semanage")
    assert asked(package, "POSTUN", "1", tmp_path, enabled=True) == []
    removed = ["semodule -n -X 200 -r csulcca_permissive", "semodule -n -X 200 -r csulcca"]
    for ports, added, deleted, said in (
        *((one, [], [NO_PORT], "") for one in OURS),
        *((one, [PORT], [], "") for one in NOBODYS),
        *((one, [], [], MAY_NOT) for one in OTHERS),
    ):
        assert asked(package, "POSTIN", "1", tmp_path, False, ports, said) == [MODULE, mode, *added]
        assert asked(package, "POSTUN", "0", tmp_path, False, ports) == [*deleted, *removed]
