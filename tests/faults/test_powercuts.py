"""The judge of power cuts sees damage. `make faults` cuts the power; each cut needs a boot."""

import marshal
import random
import subprocess
import sys
import types

import pytest

from tests.faults import powercuts
from tests.matrix.engine import MatrixError
from tests.packaging.system import CONF


def torn(directory):
    """What the judge says about the files below a directory."""
    done = subprocess.run([sys.executable, "-c", powercuts.TORN, str(directory)], capture_output=True, check=True)
    return sorted(line.replace(str(directory) + "/", "").split(":")[0] for line in done.stdout.decode().splitlines())


def test_empty_files_zeros_and_half_bytecode_are_seen_and_nothing_else(tmp_path):
    code = b"x" * 16 + marshal.dumps(compile("a = 1", "a", "exec"))
    files = {"catcher.key": b"", "state.json": b"\0" * 20, "whole.pyc": code, "half.pyc": code[:-9], "empty.pyc": b"",
             "catcher.conf": b"TLS_ON\n", "__init__.py": b"", "lock": b""}  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    assert torn(tmp_path) == ["catcher.key is empty, or all zeros", "empty.pyc is torn", "half.pyc is torn",
                              "state.json is empty, or all zeros"]  # fmt: skip


def test_each_change_is_cut_on_each_disk_and_there_are_two_hundred_cuts():
    assert sum(row.cuts for row in powercuts.ROWS) == 200
    assert all(row.cuts >= 5 * len(powercuts.CHANGES) for row in powercuts.ROWS)


def test_a_number_is_the_same_instant_each_time():
    first, again = (random.Random("purge 3").random() for _ in range(2))
    assert first == again


class Told:
    """A system whose package manager says this."""

    def __init__(self, known, wrong=""):
        self.answers = {"version": known, "verify": wrong}
        self.machine = self

    def show(self, command):
        return self.answers["verify" if "-V" in command else "version"]

    def run(self, command, check):
        return types.SimpleNamespace(rc=0 if self.answers["version"] else 1)


def commands(row, change, told):
    """What is typed after a cut."""
    return list(powercuts.Cuts(powercuts.ROWS[row], None, None).repairs(told, powercuts.CHANGES[change]))


def test_a_change_that_is_complete_is_repaired_and_no_more():
    assert commands(0, "installation", Told("ii 8.0.0-1")) == ["dpkg --configure -a"]
    assert commands(0, "upgrade from 8", Told("ii 8.0.0-1")) == ["dpkg --configure -a", "dpkg -i /root/next.deb"]
    assert commands(0, "installation", Told("ii 8.0.0-1", "missing"))[1:] == ["dpkg -i /root/new.deb"]
    assert commands(-1, "installation", Told(""))[1:] == ["rpm -U --replacepkgs --nodeps /root/new.rpm"]
    assert commands(0, "purge", Told("rc 8.0.0-1")) == ["dpkg --configure -a", "dpkg -P csulcca"]
    assert commands(0, "purge", Told("")) == ["dpkg --configure -a"]


KEPT, GIVEN = "1" * 64 + " " + "2" * 64, "3" * 64 + " " + "4" * 64


class Host:
    """A simulated machine and its system after a cut. It keeps what was synced, unless the test says that it does not
    boot or that its disk keeps nothing."""

    def __init__(self, pair=KEPT, conf="TLS_ON", boots=True, keeps=True, dies=""):
        self.pair, self.conf, self.boots, self.keeps, self.dies = pair, conf, boots, keeps, dies
        self.machine = self
        self.now = KEPT
        self.typed = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def begin(self, command):
        pass

    def cut_power(self):
        self.now = self.pair

    def power_on(self):
        if not self.boots:
            raise MatrixError("zlinux1 did not come up")

    def exists(self, path):
        return True

    def show(self, command):
        if "given.key" in command:
            return GIVEN
        return self.now if "sha256sum" in command else self.conf if command == f"cat {CONF}" else "-----BEGIN"

    def run(self, command, check=True):
        self.typed.append(command)
        if self.dies and self.dies in command:
            raise MatrixError("the guest agent does not answer")
        if command.startswith("catcherctl"):
            self.now, self.conf = (GIVEN, self.conf) if "cert" in command else (self.now, "TLS_OFF")
        known = "3" if self.keeps and powercuts.SYNCED in command else ""
        return types.SimpleNamespace(rc=0, out=known, err="")


class Quick(powercuts.Cuts):
    """Cuts of a simulated host. sound: what assert_sound() would report, by mode."""

    def __init__(self, host, monkeypatch, row=powercuts.ROWS[0], unsound=()):
        super().__init__(row, None, None)
        self.host = host
        self.looked = []
        monkeypatch.setattr(powercuts, "pause", lambda seconds: None)
        monkeypatch.setattr(powercuts, "is_json", lambda text: True)

        def look(system, mode, findings=()):
            self.looked.append((mode, sum(one.startswith("catcherctl") for one in host.typed)))
            return ["not sound: it does not run"] if self.looked[-1] in unsound else []

        monkeypatch.setattr(powercuts, "unsound", look)

    def start(self, name):
        return ""

    def seconds(self, name):
        return 1.0

    def _machine(self, image):
        return self.host

    def _system(self, machine):
        return machine

    def damage(self, system, change, before):
        # Asks a package manager.
        return [] if system.now in (KEPT, GIVEN) else ["the pair is another one"]


def test_a_cut_that_leaves_the_old_state_or_the_new_one_leaves_nothing(monkeypatch):
    for name, host in (("mode", Host()), ("mode", Host(conf="TLS_OFF")), ("cert install", Host()),
                       ("cert install", Host(GIVEN))):  # fmt: skip
        cuts = Quick(host, monkeypatch)
        halfway = "tcp" if host.conf == "TLS_OFF" else "tls"
        assert cuts.cut(name, 3) == ("", "")
        assert cuts.looked[0] == (halfway, 0), "it is judged before the command is typed again"


@pytest.mark.parametrize("pair", [GIVEN[:64] + KEPT[64:], KEPT[:64] + GIVEN[64:], "5" * 64 + GIVEN[64:], ""])
def test_half_a_pair_after_a_cut_is_seen_although_the_next_command_mends_it(monkeypatch, pair):
    seen = Quick(Host(pair), monkeypatch).cut("cert install", 3)
    assert seen.left.startswith("before the command was typed again: the pair was ")
    seen = Quick(Host(GIVEN), monkeypatch).cut("mode", 3)
    assert seen.left.startswith("before the command was typed again: the pair was "), "not asked for by that command"


def test_a_host_that_is_not_sound_after_a_cut_is_seen_although_the_next_command_mends_it(monkeypatch):
    seen = Quick(Host(), monkeypatch, unsound=[("tls", 0)]).cut("mode", 3)
    assert seen.left.startswith("before the command was typed again: not sound")
    seen = Quick(Host(conf=""), monkeypatch).cut("mode", 3)
    assert "catcher.conf says ''" in seen.damage and "catcher.conf says ''" in seen.left


def test_a_machine_that_does_not_boot_or_answer_after_a_cut_is_what_that_cut_left(monkeypatch):
    assert "did not come up" in Quick(Host(boots=False), monkeypatch).cut("mode", 3).left
    assert "does not answer" in Quick(Host(dies="dpkg --configure"), monkeypatch).cut("mode", 3).left


@pytest.mark.parametrize("row", [*powercuts.ROWS, powercuts.CONTROL], ids=lambda row: row.name)
def test_a_disk_that_keeps_nothing_fails_its_row(monkeypatch, row):
    cuts = Quick(Host(keeps=False), monkeypatch, row)
    with pytest.raises(powercuts.BlindError, match="what was synced"):
        powercuts.openssl_cut(cuts, 3) if row is powercuts.CONTROL else cuts.cut("installation", 3)


def test_no_row_has_a_disk_that_is_never_told_to_keep_anything():
    assert [row.name for row in powercuts.ROWS if "nobarrier" in row.words] == []


def test_a_row_that_fails_does_not_end_the_others(monkeypatch, capsys):
    def cut_row(row, numbers, changes):
        if row is powercuts.ROWS[0]:
            raise powercuts.BlindError("gone")
        return 0

    monkeypatch.setattr(powercuts, "cut_row", cut_row)
    rows = [f"--row={row.name}" for row in powercuts.ROWS[:2]]
    assert powercuts.main(rows) == 1
    assert f"{powercuts.ROWS[0].name}: FAILED: gone" in capsys.readouterr().out
    assert powercuts.main(rows[1:]) == 0
