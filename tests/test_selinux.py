"""selinux/: the module compiles with the system's policy, and allows what the catcher needs and little more."""
from __future__ import annotations

import re
import shutil
import subprocess
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
    # Of what is systemd's own, or of any daemon, it writes nothing.
    assert not allowed(policy, "csulcca_t", "var_run_t", "file") & {"write", "create", "unlink"}


def test_programs_and_the_system_cannot_be_written(policy: str) -> None:
    """Not even by the catcher, which is root."""
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
                       ("/run/CSUTKEcat.pid", "csulcca_runtime_t")):  # fmt: skip
        lines = [line.split() for line in (TREE / "selinux/csulcca.fc").read_text().splitlines() if line]
        # The last that fits is taken, and setfiles sorts the longer fixed beginning last.
        fitting = [(len(re.split(r"[.\\(\[*?+]", line[0])[0]), line[-1]) for line in lines
                   if re.fullmatch(line[0], path)]  # fmt: skip
        assert max(fitting)[1] == f"gen_context(system_u:object_r:{kind},s0)", (path, fitting)


def test_the_rpm_of_a_distribution_has_a_package_of_it(tmp_path: Path) -> None:
    if not DEVEL.exists():
        tool("selinux-policy-dev")
    source = tmp_path / "csulcca-8.0.0"
    clean("python3", TREE / "tools/build_packages.py", "--stage", source)
    (tmp_path / "SOURCES").mkdir()
    clean("tar", "-C", tmp_path, "-czf", tmp_path / "SOURCES/csulcca-8.0.0.tar.gz", source.name)
    clean("rpmbuild", "-bb", "--nodeps", "--define", f"_topdir {tmp_path}", "--with", "selinux", "--without", "check",
          source / "rpm/csulcca.spec")  # fmt: skip
    (rpm,) = tmp_path.glob("RPMS/noarch/csulcca-selinux-8.0.0-1*.rpm")
    listed = subprocess.check_output(["rpm", "-qpl", "--nosignature", str(rpm)], text=True).split()
    assert "/usr/share/selinux/packages/csulcca.pp" in listed
    (main,) = tmp_path.glob("RPMS/noarch/csulcca-8.0.0-1*.rpm")
    assert "selinux" not in subprocess.check_output(["rpm", "-qpl", "--nosignature", str(main)], text=True)
