"""Bad input of every kind for catcherctl: it prints one line and a hint, sets the exit status, and changes nothing.

ROWS has every verb with every argument. What is wrong with an argument depends on its kind only, so that a new verb is
one row; without it test_every_verb_and_argument_has_a_row is red. Beside what is typed, each verb meets every file that
it reads, broken in every way.
"""

import os
import shutil
import stat
import sys
import tempfile
import time

import pytest

from catcher_install import apply, journal, paths, transition
from catcher_install.admin import cli, daemon
from catcher_install.host import Host
from tests.unit import pem
from tests.unit.authority import issue
from tests.unit.support import IS_ROOT, installed, tree_of

# Processor time within which an input of any size must be refused.
SECONDS = 3
LINE_LIMIT = 700
MEGABYTE = 1024 * 1024
NOBODY = 65534

# -- kinds of arguments, and what is wrong -----------------------------------------------------------------------------

# Files below /bad of the machine, where a test asks for them; place_bad_file() makes them.
BAD_FILES = {
    "empty": b"",
    "huge": None,
    "binary": bytes(range(256)) * 8,
    "control characters": b"-----BEGIN \x1b[2J\x07-----\n\x1b]0;x\x07\n-----END \x1b[2J\x07-----\n",
    "half a block": b"-----BEGIN CERTIFICATE-----\nMIIB",
    "no base64": b"-----BEGIN CERTIFICATE-----\n\xff!!\n-----END CERTIFICATE-----\n",
    "FIFO": None,
    "directory": None,
    "link loop": None,
    "dangling link": None,
    "device": None,
}
MISSING = {
    "missing": "/bad/none",
    "missing directory": "/bad/none/at/all",
    "below a file": "/bad/binary/x",
    "no name": "",
    "a name like an option": "--delete",
    "a name with control characters": "/bad/\x1b[2J\n\x07",
    "a name that is no text": "/bad/\udcff\udcfe",
    "an endless name": "/" + "a/" * 5000,
    "a component too long": "/bad/" + "a" * 5000,
}
BAD_NAMES = {
    "nothing": "", "a blank": "tke 1", "only dots": "..", "like an option": "-x", "a path": "../../etc/passwd",
    "control characters": "\x1b[2J", "a line end": "tke1\n", "endless": "a." * 5000, "a label without end": "a" * 300,
    "no text": "\udcff\udcfe", "an address that is none": "192.0.2.300", "five numbers": "1.2.3.4.5",
    "an IPv6 address that is none": "2001:db8::zz", "shell": "$(reboot)", "a wildcard": "*",
}
BAD_PORTS = {
    "no port": "tke1:", "port 0": "tke1:0", "port 65536": "tke1:65536", "a negative port": "tke1:-1",
    "a port in words": "tke1:http", "a port of 1000 digits": "tke1:" + "9" * 1000, "two ports": "tke1:1:2",
    "digits of another script": "tke1:\u0665\u0660", "a port with blanks": "tke1: 50003", "no host": ":50003",
    "half a bracket": "[2001:db8::7", "an open bracket": "[2001:db8::7]50003", "IPv4 in brackets": "[192.0.2.7]:50003",
    "a URL": "https://tke1:50003/",
}
BAD_SECONDS = {"words": "soon", "nothing": "", "zero": "0", "negative": "-1", "no number": "nan", "endless": "inf",
               "an hour and more": "3601", "a million digits": "1" * 1000000}
BAD_DAYS = {"words": "long", "nothing": "", "zero": "0", "negative": "-1", "a part": "1.5", "101 years": "36865",
            "a million digits": "1" * 1000000, "digits of another script": "\u0663\u0660"}
BAD_CHOICES = {"another word": "ssl", "nothing": "", "upper case": "TLS", "control characters": "\x1b[2J"}

FILE = "an existing file"
NEW_FILE = "a file to be written"
DIRECTORY = "a directory"
ROOT = "the root of an installed system"
NAME = "a name"
TARGET = "a host with its port"
TIME = "a time limit"
CHOICE = "one of some words"
DAYS = "a number of days"


def bad_values(kind):
    """{what is wrong: the word that is typed} for a kind of argument."""
    files = {one: "/bad/" + one for one in BAD_FILES}
    if kind == FILE:
        return dict(MISSING, **files)
    if kind == NEW_FILE:
        # An existing file is not overwritten, and nothing is written to a FIFO or a device.
        impossible = ("missing directory", "below a file", "no name", "an endless name", "a component too long")
        return dict({one: MISSING[one] for one in impossible}, **files)
    if kind == DIRECTORY:
        return dict(MISSING, **{one: path for one, path in files.items() if one != "directory"})
    if kind == ROOT:
        return dict(MISSING, **files)
    return {NAME: BAD_NAMES, TARGET: dict(BAD_NAMES, **BAD_PORTS), TIME: BAD_SECONDS, DAYS: BAD_DAYS,
            CHOICE: BAD_CHOICES}[kind]


# -- the verbs ---------------------------------------------------------------------------------------------------------


class Row:
    """A verb. fine: ways to type it that work. arguments: {positional or option: (kind, a good value)}."""

    def __init__(self, fine, arguments, changes=False):
        self.fine = fine
        self.arguments = arguments
        self.changes = changes


OLD_PAIR = "20261101T101500Z"
PAIR_FILES = ["/root/new.key", "/root/new.crt", "--name", "tke1.example.com"]
ROWS = {
    ("status",): Row([[], ["--json"]], {}),
    ("mode",): Row([[]], {"mode": (CHOICE, "tls")}),
    ("cert", "show"): Row([[], ["--json"]], {}),
    ("cert", "list"): Row([[], ["--json"]], {}),
    ("cert", "check"): Row([[], ["--json"]], {"--name": (NAME, "tke1")}),
    ("cert", "generate"): Row([["--force", "--no-restart"]], {
        "--name": (NAME, "tke1"), "--key-type": (CHOICE, "prime256v1"), "--days": (DAYS, "30")}, changes=True),
    ("cert", "request"): Row([["--out", "/root/new.csr"], ["--present-key"]],
                             {"--out": (NEW_FILE, "/root/new.csr"), "--name": (NAME, "tke1")}, changes=True),
    ("cert", "install"): Row([PAIR_FILES], {"key": (FILE, "/root/new.key"), "crt": (FILE, "/root/new.crt"),
                                            "--name": (NAME, "tke1.example.com")}, changes=True),
    ("cert", "restore"): Row([[], [OLD_PAIR]], {"name": (CHOICE, OLD_PAIR)}, changes=True),
    ("cert", "export"): Row([["/mnt/usb"]], {"directory": (DIRECTORY, "/mnt/usb")}, changes=True),
    ("probe",): Row([["127.0.0.1:1"]], {"target": (TARGET, "127.0.0.1:1"), "--name": (NAME, "tke1"),
                                        "--timeout": (TIME, "1"), "--cafile": (FILE, "/root/new.crt")}),
    ("tke-guide",): Row([[], ["tls"], ["tcp", "--json"]], {"mode": (CHOICE, "tls")}),
    ("plan",): Row([[], ["--json"]], {"--root": (ROOT, "/")}),
    ("apply",): Row([[]], {"--root": (ROOT, "/")}, changes=True),
}
# Verbs that use their argument in another way.
SETS_MODE = Row([["tls"], ["tcp"]], {}, changes=True)


def verbs(parser, words=()):
    """Return (words, parser) of each verb that has no verbs below it."""
    below = [action for action in parser._actions if hasattr(action, "choices") and isinstance(action.choices, dict)]
    if not below:
        return [(words, parser)]
    return [one for action in below for name, child in action.choices.items() for one in verbs(child, words + (name,))]


def takes_value(action):
    return not action.option_strings or action.nargs != 0


def test_every_verb_and_argument_has_a_row():
    found = {}
    for words, parser in verbs(cli.parser(cli._fail)):
        found[words] = {(one.option_strings or [one.dest])[-1] for one in parser._actions if takes_value(one)}
    assert found == {words: set(row.arguments) for words, row in ROWS.items()}


def test_what_is_wrong_is_wrong_by_itself(machine, run):
    """Each verb is fine with the good values, so that a refusal is the bad value's."""
    for words, row in sorted(ROWS.items()):
        for fine in row.fine:
            ran = run(words + tuple(fine))
            assert ran.status in (0, 3) or words == ("probe",), (words, fine, ran.err)
            machine.restore()


# -- a host, and a command on it ---------------------------------------------------------------------------------------


def place_bad_file(machine, name, path):
    """One of BAD_FILES at a place of the machine."""
    data = BAD_FILES[name]
    real = machine.on_disk(path)
    if name == "huge":
        with open(real, "wb") as stream:
            stream.write(b"-----BEGIN CERTIFICATE-----\n" + b"A" * 63 + b"\n")
            stream.truncate(10 * MEGABYTE)
    elif name == "FIFO":
        os.mkfifo(real)
    elif name == "directory":
        os.mkdir(real)
    elif name == "link loop":
        os.symlink(path, real)
    elif name == "dangling link":
        os.symlink("/nowhere", real)
    elif name == "device":
        if IS_ROOT:
            os.mknod(real, 0o666 | stat.S_IFCHR, os.makedev(1, 5))
        else:
            os.symlink("/dev/zero", real)
    else:
        with open(real, "wb") as stream:
            stream.write(data)


@pytest.fixture(scope="module")
def prepared():
    """A system in TLS mode with a pair, its service disabled and not running, so that no change restarts anything."""
    base = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)
    os.chmod(base, 0o755)
    machine = installed(os.path.join(base, "host"))
    for directory in (paths.LIBRARY + "/x", "/root", "/mnt/usb"):
        os.makedirs(machine.on_disk(directory))
    machine.put("/root/new.key", pem.key_of("prime256v1"), 0o600)
    machine.put("/root/new.crt", issue(machine.get("/root/new.key")))
    for path, name in ((paths.KEY, "new.key"), (paths.CERTIFICATE, "new.crt")):
        machine.put(path + "." + OLD_PAIR, machine.get("/root/" + name), 0o600)
    machine.systemctl()
    apply.converge(machine, transition.of(transition.START))
    pristine = os.path.join(base, "pristine")
    shutil.copytree(machine.base, pristine, symlinks=True)

    def restore():
        shutil.rmtree(machine.base)
        shutil.copytree(pristine, machine.base, symlinks=True)

    machine.restore = restore
    yield machine
    shutil.rmtree(base)


@pytest.fixture
def machine(prepared, monkeypatch):
    """The Host of the commands. What a command changed is undone afterwards."""
    def host(root="/"):
        if root == "/":
            return prepared
        # A root is named as it is on the machine.
        return Host(prepared.on_disk(root) if root.startswith("/bad") else root)

    before = tree_of(prepared)
    monkeypatch.setattr(cli, "Host", host)
    monkeypatch.setattr(cli, "forget_openssl_settings", lambda: None)
    monkeypatch.setattr(daemon, "LOOK_SECONDS", 1)

    def fault(error):
        raise AssertionError("an internal fault") from error

    monkeypatch.setattr(journal, "log_fault", fault)
    yield prepared
    if tree_of(prepared) != before:
        prepared.restore()


@pytest.fixture
def bad_files(machine):
    os.mkdir(machine.on_disk("/bad"))
    for name in BAD_FILES:
        place_bad_file(machine, name, "/bad/" + name)


class Ran:
    """The result of a command line."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def run(capsys):
    """Run catcherctl with these words. It must end in time and print plain text."""

    def call(words):
        begin = time.process_time()
        try:
            status = cli.main(list(words))
        except SystemExit as end:
            status = end.code
        assert time.process_time() - begin < SECONDS
        out, err = capsys.readouterr()
        assert all(c == "\n" or " " <= c <= "~" for c in out + err)
        return Ran(status, out, err)

    return call


def require_refusal(ran, statuses):
    """Assert one line that says what is wrong, one that says what to type, no other, and one of these exit statuses."""
    assert ran.status in statuses, (ran.status, ran.out, ran.err)
    assert ran.out == ""
    lines = ran.err.splitlines()
    assert 2 <= len(lines) <= 4, ran.err
    assert lines[0].startswith("catcherctl: ") and len(lines[0]) > 20
    assert all(line.startswith("  ") and line.strip() for line in lines[1:])
    assert max(map(len, lines)) < LINE_LIMIT, ran.err


# -- what is typed -----------------------------------------------------------------------------------------------------


def typed(words, argument, value):
    """Return a command line in which one argument has this value, and the other positional arguments good ones."""
    row = ROWS[words]
    line = list(words)
    for name, (_, good) in row.arguments.items():
        if not name.startswith("--"):
            line.append(value if name == argument else good)
    return line + ["%s=%s" % (argument, value)] if argument.startswith("--") else line


CASES = [
    pytest.param(words, argument, value, id="%s, %s: %s" % (" ".join(words), argument, wrong))
    for words, row in sorted(ROWS.items()) for argument, (kind, _) in sorted(row.arguments.items())
    for wrong, value in sorted(bad_values(kind).items())
]


@pytest.mark.parametrize("words,argument,value", CASES)
def test_a_bad_argument_is_refused_and_changes_nothing(machine, bad_files, run, words, argument, value):
    before = tree_of(machine, times=True)
    ran = run(typed(words, argument, value))
    require_refusal(ran, (1, 2))
    assert tree_of(machine, times=True) == before


# -- what is read ------------------------------------------------------------------------------------------------------

READ = (paths.CONF, paths.KEY, paths.CERTIFICATE, paths.STAMP, paths.REQUEST_KEY, paths.CAPTURE, paths.VERSION,
        "/etc/hosts", "/etc/group")
EVERY = sorted(ROWS.items()) + [(("mode",), SETS_MODE)]


@pytest.mark.parametrize("wrong", sorted(BAD_FILES))
@pytest.mark.parametrize("path", READ)
def test_a_file_that_each_verb_reads_is_broken(machine, run, path, wrong):
    """Each verb works around the fault, or says why not and what to do. A verb that only reads changes nothing."""
    for words, row in EVERY:
        for fine in row.fine:
            if machine.lexists(path):
                os.unlink(machine.on_disk(path))
            place_bad_file(machine, wrong, path)
            before = tree_of(machine, times=True)
            ran = run(words + tuple(fine))
            what = (words, fine, ran.status, ran.out, ran.err)
            assert ran.status in (0, 1, 3), what
            if ran.status == 1 and words not in REPORTS:
                require_refusal(ran, (1,))
            if not row.changes:
                assert tree_of(machine, times=True) == before, what
            elif ran.status == 1:
                assert known(tree_of(machine)) == known(tree_of_before(before)), what
            machine.restore()


# Verbs whose report is the answer, even if it is bad news.
REPORTS = (("cert", "check"), ("probe",), ("apply",), ("plan",), ("status",))


def tree_of_before(tree):
    """Return a tree without its times."""
    return {path: what[:-3] for path, what in tree.items()}


def known(tree):
    """Return a tree without what a converge notes about its own run."""
    return {path: what for path, what in tree.items() if not path.startswith(paths.STATE_DIR)}


# -- who runs it -------------------------------------------------------------------------------------------------------


def as_nobody(words):
    """catcherctl as a user without rights, in a child: (status, standard output, standard error)."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            become_nobody(words, out.fileno(), err.fileno())
        status = os.WEXITSTATUS(os.waitpid(child, 0)[1])
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8"))
    return Ran(status, *texts)


def become_nobody(words, out, err):
    """catcherctl with these streams, in a process that ends with it."""
    status = 99
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        with open(1, "w", closefd=False) as sys.stdout, open(2, "w", closefd=False) as sys.stderr:
            try:
                status = cli.main(list(words))
            except SystemExit as end:
                status = end.code
    finally:
        os._exit(status)


needs_root = pytest.mark.skipif(not IS_ROOT, reason="only root can become somebody else")


@needs_root
@pytest.mark.parametrize("words,fine", [
    pytest.param(words, fine, id=" ".join(words + tuple(fine))) for words, row in EVERY for fine in row.fine])
def test_without_root_every_change_is_refused_and_changes_nothing(machine, words, fine):
    """A user without root sees what can be read. Every change is refused with sudo as the hint, and changes nothing."""
    row = SETS_MODE if words == ("mode",) and fine else ROWS[words]
    before = tree_of(machine, times=True)
    ran = as_nobody(words + tuple(fine))
    assert "Traceback" not in ran.out + ran.err
    if row.changes or words in (("cert", "check"), ("plan",)):
        require_refusal(ran, (1,))
        assert "sudo catcherctl" in ran.err or words == ("apply",), ran.err
    else:
        assert ran.status in (0, 3) or words == ("probe",), ran.err
        assert ran.err == ""
    assert tree_of(machine, times=True) == before


@needs_root
@pytest.mark.parametrize("words,fine", [
    pytest.param(words, fine, id=" ".join(words + tuple(fine)))
    for words, row in EVERY for fine in row.fine if not row.changes])
def test_without_root_and_with_nothing_to_be_read(machine, words, fine):
    """If only root may read a file, the verb says so, or works without it."""
    for path in (paths.CONF, paths.KEY, paths.CERTIFICATE, paths.STAMP, paths.VERSION, "/etc/hosts", "/etc/group"):
        os.chmod(machine.on_disk(path), 0)
    before = tree_of(machine, times=True)
    ran = as_nobody(words + tuple(fine))
    assert "Traceback" not in ran.out + ran.err
    assert ran.status in (0, 1, 3)
    if ran.status == 1 and not ran.out:
        require_refusal(ran, (1,))
    else:
        assert ran.err == ""
    assert tree_of(machine, times=True) == before
