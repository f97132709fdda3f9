"""contrib/monitoring and contrib/renewal: how they use the answers of catcherctl; what the role must never do.

tests/packaging/test_docs.py types them on real systems, and tests/contrib tries the role.
"""

import importlib.machinery
import importlib.util
import os
import pathlib
import re
import subprocess
import types

import pytest
import yaml

HERE = pathlib.Path(__file__).resolve().parent.parent / "contrib/monitoring"
NOW = 1_800_000_000
loader = importlib.machinery.SourceFileLoader("csulcca_monitor", str(HERE / "csulcca-monitor"))
spec = importlib.util.spec_from_loader(loader.name, loader)
assert spec is not None
monitor = importlib.util.module_from_spec(spec)
loader.exec_module(monitor)


def seen(*findings, running="tls", complete=True, not_after=NOW + 40 * 86400):
    return {
        "format_version": 1, "complete": complete, "mode": {"configured": "tls", "running": running, "agree": True},
        "service": {"wanted": True, "serves": bool(running)},
        "pair": {"not_after": not_after},
        "findings": [{"id": id, "severity": severity, "message": "m|n", "fix": ""} for id, severity in findings],
    }  # fmt: skip


@pytest.mark.parametrize("what,state,said", [
    (seen(), 0, "CSULCCA OK: the catcher speaks TLS | findings=0 days_left=40"),
    (seen(("note", "info")), 0, "CSULCCA OK: the catcher speaks TLS | findings=0 days_left=40"),
    (seen(("a", "warning")), 1, "CSULCCA WARNING: m/n [a] | findings=1 days_left=40"),
    (seen(("a", "warning"), ("b", "error"), running=None), 2, "CSULCCA CRITICAL: m/n [b] | findings=2 days_left=40"),
    (seen(("of a later version", "fatal")), 1, "CSULCCA WARNING: m/n [of a later version] | findings=1 days_left=40"),
    (seen(running=None), 0, "CSULCCA OK: the catcher does not run, and its service is off | findings=0 days_left=40"),
    (seen(complete=False, running="tcp", not_after=0), 0,
     "CSULCCA OK: the catcher speaks TCP (not everything was seen: run this as root) | findings=0"),
])  # fmt: skip
def test_nagios_gets_a_state_a_line_and_performance_data(what, state, said):
    assert monitor.nagios(what, NOW) == (state, said)


def test_prometheus_gets_one_sample_a_line():
    lines = monitor.metrics(seen(("a", "warning")), NOW)
    sample = re.compile(r'csulcca_\w+(\{(\w+="[a-z-]+",?)+\})? \d+')
    assert all(line.startswith("# ") or sample.fullmatch(line) for line in lines)
    assert 'csulcca_finding{id="a",severity="warning"} 1' in lines and "csulcca_up 1" in lines
    assert monitor.metrics(seen(running=None), NOW).count("csulcca_up 0") == 1
    names = [line.split()[2] for line in lines if line.startswith("# TYPE ")]
    assert len(names) == len(set(names))


def test_the_alerts_ask_for_metrics_that_there_are():
    exported = {line.split()[2] for line in monitor.metrics(seen(("a", "warning")), NOW) if line.startswith("# TYPE ")}
    (group,) = yaml.safe_load((HERE / "csulcca-alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]:
        asked = set(re.findall(r"csulcca_\w+", rule["expr"]))
        assert asked and asked <= exported, rule["alert"]


@pytest.mark.parametrize("answer", ["exit 1", "echo '{}'", "echo rubbish", "echo '{\"format_version\": 2}'"])
def test_what_cannot_be_asked_is_unknown_and_the_file_says_so(tmp_path, monkeypatch, capsys, answer):
    (tmp_path / "catcherctl").write_text(f"#!/bin/sh\n{answer}\n")
    (tmp_path / "catcherctl").chmod(0o755)
    monkeypatch.setattr(monitor, "COMMAND", [str(tmp_path / "catcherctl")])
    assert monitor.main(["nagios"]) == 3 and capsys.readouterr().out.startswith("CSULCCA UNKNOWN: ")
    assert monitor.main(["prometheus", str(tmp_path / "x.prom")]) == 1
    assert "csulcca_status_success 0\n" in (tmp_path / "x.prom").read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["catcherctl", "x.prom"]


def test_a_directory_that_is_missing_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(monitor, "ask", lambda: seen())
    path = tmp_path / "missing" / "x.prom"
    assert monitor.main(["prometheus", str(path)]) == 1
    assert capsys.readouterr().err == f"csulcca-monitor: {path} cannot be written: No such file or directory\n"


def test_the_file_of_metrics_is_written_through_no_link_of_somebody_elses(tmp_path, monkeypatch):
    """The directory is node_exporter's, whose user may put there what it likes."""
    victim = tmp_path / "victim"
    victim.write_text("of root\n")
    directory = tmp_path / "collector"
    directory.mkdir()
    for name in (f"x.prom.{os.getpid()}", "x.prom"):
        (directory / name).symlink_to(victim)
    monkeypatch.chdir(directory)
    for path in (str(directory / "x.prom"), "x.prom"):
        monitor.write(path, "csulcca_up 1\n")
    assert victim.read_text() == "of root\n"
    assert (directory / "x.prom").read_text() == "csulcca_up 1\n" and not (directory / "x.prom").is_symlink()
    assert (directory / "x.prom").stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in directory.iterdir()) == ["x.prom", f"x.prom.{os.getpid()}"]


@pytest.mark.parametrize("call", ["fchmod", "rename"])
def test_a_file_of_metrics_that_cannot_be_written_leaves_the_old_one_alone(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError(28, "No space left on device")

    (tmp_path / "x.prom").write_text("old\n")
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(monitor.os, call, fail)
        monitor.write(str(tmp_path / "x.prom"), "new\n")
    assert [path.name for path in tmp_path.iterdir()] == ["x.prom"]
    assert (tmp_path / "x.prom").read_text() == "old\n"


def test_what_the_role_puts_on_a_host_for_a_moment_is_where_only_root_writes_and_goes():
    """If the name in /var/tmp is known, other users can make the file first, and change it before root uses it."""
    seen = 0
    for path in sorted((HERE.parent / "ansible/roles/csulcca/tasks").glob("*.yml")):
        for block in yaml.safe_load(path.read_text(encoding="utf-8")):
            tasks = block.get("block", [block])
            made = [one["register"] for one in tasks if "ansible.builtin.tempfile" in one]
            removed = [one["ansible.builtin.file"] for one in block.get("always", [])]
            assert removed == [{"path": "{{ %s.path }}" % name, "state": "absent"} for name in made], path
            for copy in (one["ansible.builtin.copy"] for one in tasks if "ansible.builtin.copy" in one):
                assert copy["dest"].startswith("{{ %s.path }}/" % made[0] if made else "in a tempfile"), path
                seen += 1
    assert seen == 2


TOLD: dict[str, list[str]] = {"findings": []}


@pytest.mark.parametrize("code, status, strict, fails", [
    (0, TOLD, False, False), (3, TOLD, False, False), (3, TOLD, True, True), (0, TOLD, True, False),
    # The catcher should serve and does not; no such command; not an answer of catcherctl; killed.
    (1, TOLD, False, True), (1, TOLD, True, True), (2, None, False, True), (0, None, False, True),
    (137, TOLD, False, True),
])  # fmt: skip
def test_the_role_fails_if_the_catcher_does_not_serve(code, status, strict, fails):
    """What the last task asks, by the exit status of catcherctl status."""
    tasks = yaml.safe_load((HERE.parent / "ansible/roles/csulcca/tasks/main.yml").read_text(encoding="utf-8"))
    assert "ansible.builtin.fail" in tasks[-1]
    # An expression that Jinja and Python read in the same way, of names that Ansible fills in.
    at_last = types.SimpleNamespace(code=code, status=status)
    asked = eval(tasks[-1]["when"], {"csulcca_at_last": at_last, "csulcca_findings_are_failures": strict})
    assert asked is fails


def test_a_wrong_call_says_how_to_call_it(capsys):
    assert monitor.main(["nagio"]) == 3
    assert "usage: csulcca-monitor nagios" in capsys.readouterr().err


@pytest.mark.parametrize("lineage,answer,status,called", [
    ("csulcca", 0, 0, True), ("csulcca", 3, 0, True), ("csulcca", 1, 1, True), ("another", 0, 0, False),
])  # fmt: skip
def test_the_hook_of_certbot_hands_over_its_certificate_and_fails_if_that_is_refused(
        tmp_path, lineage, answer, status, called):  # fmt: skip
    (tmp_path / "catcherctl").write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\nexit {answer}\n')
    (tmp_path / "catcherctl").chmod(0o755)
    live = f"/etc/letsencrypt/live/{lineage}"
    done = subprocess.run(["sh", HERE.parent / "renewal/csulcca-certbot-hook"], env={
        "PATH": f"{tmp_path}:{os.environ['PATH']}", "RENEWED_LINEAGE": live, "RENEWED_DOMAINS": "zlinux1"})
    assert done.returncode == status
    assert (tmp_path / "called").exists() == called
    if called:
        assert (tmp_path / "called").read_text() == f"cert install {live}/privkey.pem {live}/fullchain.pem\n"
