"""tools/bench: ratios of medians, the table, and the program that looks for the longest time without a listener."""

import errno
import functools
import pathlib
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.matrix import engine, images
from tools.bench import __main__ as bench
from tools.bench import measure, transaction
from tools.bench.machines import SCRIPTS


def rounds(**values: list[float]) -> measure.Rounds:
    """Rounds in which each command took these seconds: one value for each round."""
    made = measure.Rounds("cell")
    left = {name: iter(seconds) for name, seconds in values.items()}
    count = len(next(iter(values.values())))
    made.call("test", {name: functools.partial(next, left[name]) for name in values}, count)
    return made


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() -> None:
    row = rounds(ours=[3.0, 4.0, 50.0], theirs=[2.0, 2.0, 2.0]).row("what", "ours", "theirs", "theirs", 2)
    assert (row.seconds, row.beside_seconds, row.ratio, row.runs) == (4.0, 2.0, 2.0, 3)
    assert row.low == pytest.approx(1.5) and row.high == pytest.approx(25.0)
    assert row.verdict == "met"


A_CELL = next(iter(images.cells()))


@pytest.mark.parametrize("arguments,said", [
    (["--cell", A_CELL, "--cell", "nosuch"], "no system is called nosuch"),
    (["--fleet", "4,many"], "many is not a number of hosts; type, say, FLEET=4,48"),
    (["--fleet", "0"], "0 is not a number of hosts"),
    (["--fleet", ""], "nothing is not a number of hosts"),
    (["--effort", "fast"], "fast is not a factor; type, say, EFFORT=0.2"),
    (["--effort", "0"], "0 is not a factor"),
    (["--effort", "nan"], "usage: make bench [CELL=NAME]"),
])  # fmt: skip
def test_what_cannot_be_measured_is_refused_before_anything_is_built(monkeypatch, capsys, arguments, said) -> None:
    monkeypatch.setattr(bench, "build", lambda directory: pytest.fail("it is built"))
    monkeypatch.setattr(engine, "prepare", lambda: None)
    with pytest.raises(SystemExit) as ended:
        bench.main(arguments)
    assert ended.value.code in (1, 2) and said in capsys.readouterr().err


def test_what_is_no_part_of_it_is_taken_off() -> None:
    made = rounds(ours=[5.0] * 3, theirs=[2.0] * 3, daemon=[1.0] * 3)
    row = made.row("what", "ours", "theirs", "theirs", 1.9, less="daemon")
    assert (row.seconds, row.less, row.ratio, row.verdict) == (4.0, 1.0, 2.0, "missed")


def test_every_second_round_goes_backwards() -> None:
    order: list[str] = []

    def note(name: str) -> float:
        order.append(name)
        return 1.0

    measure.Rounds("cell").call("test", {"a": lambda: note("a"), "b": lambda: note("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]


def test_the_table_has_a_verdict_only_where_there_is_a_target() -> None:
    made = rounds(ours=[0.0121] * 3, theirs=[0.01] * 3)
    rows = [made.row("with", "ours", "theirs", "beside", 1.2), made.row("without", "ours", "theirs", "beside")]
    lines = measure.table(rows).splitlines()
    assert lines[1].split() == [
        "with", "12.1", "ms", "beside", "10.0", "ms", "1.21", "1.21", "-", "1.21", "<=", "1.2", "missed"]
    assert lines[2].endswith("1.21 - 1.21")


def longest_gap(port: int, *command: str) -> "subprocess.CompletedProcess[str]":
    """The script, run as in a machine."""
    return subprocess.run([sys.executable, "-I", SCRIPTS / "longest_gap.py", str(port), *command],
                          capture_output=True, text=True, timeout=90)  # fmt: skip


def listener(port: int = 0) -> socket.socket:
    """A socket that listens on a port of this computer; on a free one below those of outgoing connections unless given,
    which nobody else gets while it is closed."""
    for candidate in [port] if port else range(20000, 32000):
        try:
            return socket.create_server(("127.0.0.1", candidate))
        except OSError as error:
            if port or error.errno != errno.EADDRINUSE:
                raise
    raise AssertionError("no port is free")


def test_the_longest_of_several_gaps_is_found(tmp_path: pathlib.Path) -> None:
    first = listener()
    port = first.getsockname()[1]
    waits: list[float] = []

    def come_and_go() -> None:
        held = first
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        for seconds in (0.2, 0.8, 0.2):
            time.sleep(0.1)
            held.close()
            begin = time.monotonic()
            time.sleep(seconds)
            held = listener(port)
            waits.append(time.monotonic() - begin)
        (tmp_path / "over").touch()
        ended.wait()
        held.close()

    ended = threading.Event()
    service = threading.Thread(target=come_and_go)
    service.start()
    done = longest_gap(port, "sh", "-c", f"cd {tmp_path} && touch begun && until [ -e over ]; do sleep 0.1; done")
    ended.set()
    service.join()
    assert done.returncode == 0, done.stderr
    # As long as the longest gap, give or take two looks, even on a busy computer.
    assert float(done.stdout) == pytest.approx(max(waits), abs=0.2)


def test_a_service_that_always_listens_has_no_gap() -> None:
    with listener() as held:
        assert longest_gap(held.getsockname()[1], "true").stdout == "0.0\n"


def test_a_port_that_nobody_listens_on_is_an_error_and_so_is_a_command_that_fails() -> None:
    with listener() as held:
        port = held.getsockname()[1]
        assert longest_gap(port, "sh", "-c", "exit 3").stderr == "exit status 3\n"
    assert "nothing listens" in longest_gap(port, "true").stderr


def test_the_empty_package_depends_on_what_ours_does(tmp_path: pathlib.Path) -> None:
    built = subprocess.run([sys.executable, "tools/build_packages.py", "--output", str(tmp_path)], capture_output=True,
                           cwd=SCRIPTS.parent.parent.parent)  # fmt: skip
    assert built.returncode == 0, built.stderr
    for family, query in (("deb", ["dpkg-deb", "-f", "{}", "Depends", "Recommends"]),
                          ("rpm", ["rpm", "-qp", "--recommends", "{}"])):  # fmt: skip
        (ours,) = tmp_path.glob("*." + family)
        transaction.build_empty(tmp_path / "empty", ours)
        (empty,) = (tmp_path / "empty").glob("*." + family)
        wanted, found = ([subprocess.check_output([word.format(path) for word in query], text=True)]
                         for path in (ours, empty))  # fmt: skip
        assert found == wanted and wanted != [""]
    # No other package provides what ours provides to itself, such as config(csulcca).
    requires, provides = (set(subprocess.check_output(["rpm", "-qp", query, str(path)], text=True).splitlines())
                          for query, path in (("--requires", empty), ("--provides", ours)))  # fmt: skip
    assert requires and not requires & provides
