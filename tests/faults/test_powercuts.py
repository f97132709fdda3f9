"""What the judge of power cuts sees; `make faults` cuts the power, for which a machine boots each time."""

import marshal
import random
import subprocess
import sys
import types

from tests.faults import powercuts


def torn(directory):
    """What is told of the files below a directory."""
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
    assert all(row.cuts >= 5 * len(powercuts.CHANGES) and row.changes == tuple(powercuts.CHANGES)
               for row in powercuts.ROWS)  # fmt: skip


def test_what_a_proof_takes_out_of_the_package_is_there():
    spoilt = [row.spoilt for row in powercuts.PROOFS if row.spoilt]
    assert spoilt
    for command in spoilt:
        _, _, substitution, path = command.split(" ", 3)
        text = (powercuts.packages.TREE / path.removeprefix("/usr/lib/csulcca/")).read_text()
        assert text.count(substitution.split("/")[1]) == 2, "the content, and the name"


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
