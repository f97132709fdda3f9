"""The programs that are swept, and what must be true of the state of a host after a fault.

Needs root. Each run has its own mount namespace. In it, overlays put an installed tree over the machine's own
directories, because the paths of the product are absolute. What a run writes goes into the overlays' upper directories.
These are called a *state*.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from install import scriptlet

TREE = pathlib.Path(__file__).resolve().parents[2]
DIRECTORIES = ("opt", "etc", "var", "usr")
LOOKED_AT = ("opt", "etc", "var")
TIMEOUT_S = 120
RUN = "/usr/lib/csulcca/run"
BIN = "/opt/IBM/CCA/bin"
STUB = "#!/bin/sh\nexit 0\n"
WHOLE_NOTE = re.compile(
    rb"tree=(yes|no)\nours=(yes|no)\ngroups=(yes|no)\nversion=[^\n]*\nunit=(enabled|disabled|masked|none)\n"
    rb"mode=(tls|tcp|none|unknown)\nseen=(process|last-run|journal|no)\nactive=(yes|no|unknown)\n")

MOUNTS = r"""
set -e
for one in opt etc var usr; do
    mount -t overlay overlay -o "lowerdir=$INSTALLED/$one:/$one,upperdir=$STATE/$one,workdir=$STATE/work-$one" "/$one"
done
mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system
echo systemd > /run/comm
mount --bind /run/comm /proc/1/comm
"""
ENTER = MOUNTS + r"""
cd /
umask 000
exec "$@"
"""


# What happens to the pair that is in place.
MADE, KEPT, REPLACED, RENEWED = "made", "kept", "replaced", "renewed"
Command = tuple[str, ...]
Pair = tuple[bytes | None, bytes | None]
"""The bytes of catcher.key and catcher.crt; None for one that is not there."""


class Program(NamedTuple):
    """A program that is swept.

    before: commands that make the state at the beginning. command: the program. pair: what it does to the pair: MADE
    (there was none), KEPT, REPLACED (by the administrator's) or RENEWED (by a new one of ours). again: commands that
    run after a fault; the command itself if empty. instead: each of these commands has a result that is also right
    after a fault. status: the exit status of the command. ours: there must be no damage; for other programs there must
    be damage, as proof that it is seen. needs: a program that this machine may not have. faults: the kinds of faults.
    """

    name: str
    before: tuple[Command, ...]
    command: Command
    pair: str
    again: tuple[Command, ...] = ()
    instead: tuple[Command, ...] = ()
    status: int = 0
    ours: bool = True
    needs: str = "sh"
    faults: tuple[str, ...] = ("kill", "error", "unsynced")

    def is_here(self) -> bool:
        """Whether this machine has what it needs."""
        return shutil.which(self.needs) is not None


CONFIGURE = (RUN, "scriptlet", "deb", "configure")
START = (RUN, "CSUTKEcat", "start")
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-521", "-nodes")
MINE = ("/usr/bin/openssl", "req", "-x509", *CURVE, "-subj", "/CN=mine.example.com", "-days", "365", "-addext",
        "subjectAltName=DNS:mine.example.com", "-keyout", "/etc/my.key", "-out", "/etc/my.crt")  # fmt: skip
NAMES = scriptlet.names(str(TREE / "payload/reference"))
PREINST = scriptlet.filled(scriptlet.hook_text(str(TREE / "hooks/preinst.sh")), NAMES) + '\ncsulcca_preinst "$@"\n'
# A host just after dpkg has unpacked our package over CCA 7.3: the note of preinst (without "active", because the stub
# never listens, and the hook would wait for it), an edited init script, its links, and a configuration without a
# directive.
OF_7_3 = ("/bin/sh", "-c", """
mkdir -p /etc/cca /etc/init.d /etc/rc2.d /etc/rc3.d /etc/rc6.d /var/lib/csulcca
printf '# mode of the catcher\n' >/etc/cca/catcher.conf
printf '#!/bin/sh\n# edited\n' >/etc/init.d/CSUTKEcat
ln -sf ../init.d/CSUTKEcat /etc/rc2.d/S90CSUTKEcat
ln -sf ../init.d/CSUTKEcat /etc/rc3.d/S90CSUTKEcat
ln -sf ../init.d/CSUTKEcat /etc/rc6.d/K14CSUTKEcat
printf 'tree=yes\nours=no\ngroups=yes\nversion=\nunit=enabled\nmode=none\nseen=no\nactive=no\n' \
    >/var/lib/csulcca/before-upgrade
""")
# A host in TCP mode without a pair.
TCP = ("/bin/sh", "-c", "mkdir -p /etc/cca && echo TLS_OFF >/etc/cca/catcher.conf")
# A service that a change must restart, and that does not start again: the change is taken back.
BROKEN = ("/bin/sh", "-c", """
set -e
mkdir -p /etc/systemd/system/multi-user.target.wants
ln -s /usr/lib/systemd/system/CSUTKEcat.service /etc/systemd/system/multi-user.target.wants
cat >/usr/bin/systemctl <<'STUB'
#!/bin/sh
case $1 in
    restart) echo "the job failed"; exit 1 ;;
    show) echo MainPID=0; echo ControlGroup= ;;     # or each process of this computer is looked at
esac
STUB
""")
NO_RESTART = "--no-restart"
MODE_TLS = (RUN, "catcherctl", "mode", "tls", NO_RESTART)
MODE_TCP = (RUN, "catcherctl", "mode", "tcp")
INSTALL_MINE = (RUN, "catcherctl", "cert", "install", "/etc/my.key", "/etc/my.crt", "--name", "mine.example.com")
# A pair of ours that is made and not yet in place.
UNPLACED = ("/bin/sh", "-c", """
set -e
cd /opt/IBM/CCA/bin
mkdir -m 700 .catcher-pair
ln catcher.key ".catcher-pair/generated.$(cat catcher.key catcher.crt | sha256sum | cut -d ' ' -f 1)"
mv catcher.key catcher.crt .catcher-pair
""")
PROGRAMS = (
    Program("fresh converge", (), CONFIGURE, MADE),
    Program("legacy upgrade", (OF_7_3,), (*CONFIGURE, "7.3.0-1"), KEPT),
    Program("nothing to do", (CONFIGURE, START, CONFIGURE), CONFIGURE, KEPT),
    Program("first start", (), START, MADE),
    Program("mode", (CONFIGURE, START), (*MODE_TCP, NO_RESTART), KEPT),
    Program("mode tls", (TCP, CONFIGURE), MODE_TLS, MADE, again=(MODE_TLS, START)),
    Program("mode taken back", (CONFIGURE, START, BROKEN), MODE_TCP, KEPT, status=1, again=(MODE_TCP, START),
            instead=((*MODE_TCP, NO_RESTART),)),  # fmt: skip
    Program("cert install", (CONFIGURE, START, MINE), (*INSTALL_MINE, NO_RESTART), REPLACED),
    # Each run makes another pair, so a start of the daemon finishes what was interrupted.
    Program("cert generate", (CONFIGURE, START), (RUN, "catcherctl", "cert", "generate", "--force", NO_RESTART),
            RENEWED, again=(START,), instead=(START,)),  # fmt: skip
    Program("cert install taken back", (CONFIGURE, START, MINE, BROKEN), INSTALL_MINE, KEPT, status=1,
            again=(INSTALL_MINE, START), instead=((*INSTALL_MINE, NO_RESTART),)),  # fmt: skip
    Program("removal", (CONFIGURE, START, UNPLACED), (RUN, "scriptlet-remove", "deb", "remove"), MADE),
    # A shell, almost all of whose calls only load programs. tests/faults/transactions.py kills those.
    Program("preinst", (), ("/bin/sh", "-c", PREINST, "sh", "deb", "upgrade", "7.3.0-1"), KEPT, faults=("unsynced",)),
    Program("openssl req", (CONFIGURE, START),
            ("/usr/bin/openssl", "req", "-x509", *CURVE, "-subj", "/CN=catcher", "-keyout", BIN + "/catcher.key",
             "-out", BIN + "/catcher.crt"), REPLACED, ours=False, faults=("kill", "unsynced")),  # fmt: skip
    Program("sscg", (CONFIGURE, START),
            ("/usr/bin/sscg", "--force", "--hostname", "catcher.example.com", "--cert-file", BIN + "/catcher.crt",
             "--cert-key-file", BIN + "/catcher.key", "--ca-file", BIN + "/ca.crt", "--dhparams-file", BIN + "/dh.pem"),
            REPLACED, ours=False, needs="sscg", faults=("kill", "unsynced")),  # fmt: skip
)


def named(name: str) -> Program:
    """The program of that name. Raises KeyError."""
    return {one.name: one for one in PROGRAMS}[name]


def install(target: pathlib.Path) -> None:
    """The product as its packages install it, with a daemon and a systemctl that exit at once, and with bytecode as on
    a host."""
    subprocess.run(["make", "-s", "install", f"DESTDIR={target}", "PAYLOAD=payload/reference", "VERSION=8.0.0"],
                   cwd=TREE, check=True, timeout=TIMEOUT_S)  # fmt: skip
    for one in DIRECTORIES:
        (target / one).mkdir(exist_ok=True)
    # The machine of the tests may have CCA's groups, which are a trace of CCA.
    groups = [line for line in pathlib.Path("/etc/group").read_text().splitlines(True) if not line.startswith("cca_")]
    (target / "etc/group").write_text("".join(groups))
    for path in ("opt/IBM/CCA/bin/catcher.exe", "usr/bin/systemctl"):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(STUB)
        (target / path).chmod(0o755)
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", target / "usr/lib/csulcca"], check=True)


@contextlib.contextmanager
def installation() -> Iterator[tuple[pathlib.Path, pathlib.Path]]:
    """An installed tree, and beside it a directory for states, in memory if there is a file system in memory."""
    base = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="csulcca-faults-", dir=base) as directory:
        installed, states = pathlib.Path(directory) / "installed", pathlib.Path(directory) / "states"
        install(installed)
        states.mkdir()
        yield installed, states


class Ended(NamedTuple):
    """How a run ended. status: as in subprocess; None if it still ran after TIMEOUT_S and was killed."""

    status: int | None
    output: str


def make_room(state: pathlib.Path) -> None:
    """Make the directories that MOUNTS needs in an empty state."""
    for one in DIRECTORIES:
        (state / one).mkdir(parents=True, exist_ok=True)
        (state / f"work-{one}").mkdir(exist_ok=True)


def environment(installed: str, state: str) -> dict[str, str]:
    """The whole environment of a program, and of MOUNTS before it."""
    # Without this, a shell looks for its current directory.
    return {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PWD": "/", "OLDPWD": "/", "INSTALLED": installed, "STATE": state}


def prepare(program: Program, installed: pathlib.Path, state: pathlib.Path) -> None:
    """Make the state that a program begins with. Raises RuntimeError if that does not work."""
    for command in program.before:
        ended = run(installed, state, command)
        if ended.status != 0:
            raise RuntimeError(f"before {program.name}: {shlex.join(command)}: {ended.output.strip()}")


def run(installed: pathlib.Path, state: pathlib.Path, command: tuple[str, ...], *around: str) -> Ended:
    """Run a command on a state, in its own namespace. around: words before it, for example strace."""
    make_room(state)
    process = subprocess.Popen(["unshare", "-m", "sh", "-c", ENTER, "sh", *around, *command],
                               env=environment(str(installed), str(state)), stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)  # fmt: skip
    try:
        output, _ = process.communicate(timeout=TIMEOUT_S)
        status: int | None = process.returncode
    except subprocess.TimeoutExpired:
        # Kill strace and what it traces: if only the tracer is killed, its programs continue.
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        status = None
    return Ended(status, output.decode("utf-8", "replace"))


def copy(state: pathlib.Path, target: pathlib.Path) -> pathlib.Path:
    """A new copy of a state."""
    target.mkdir()
    for one in DIRECTORIES:
        if (state / one).exists():
            shutil.copytree(state / one, target / one, symlinks=True)
    return target


def _entries(state: pathlib.Path) -> Iterator[pathlib.Path]:
    for one in LOOKED_AT:
        yield from sorted((state / one).rglob("*"))


def names_of_this_pair(stamp: str, pair: Pair) -> str:
    """A stamp without the names that it remembers for pairs that are not in place. They do no harm for a pair that a
    fault has prevented, and are needed for a pair that is restored."""
    try:
        fields = json.loads(stamp)
    except ValueError:
        return stamp
    names = fields["accepted_names"] or {}
    now = hashlib.sha256(b"".join(one or b"" for one in pair)).hexdigest()
    return json.dumps({**fields, "accepted_names": {now: names[now]} if now in names else None})


def tree(state: pathlib.Path) -> dict[str, str]:
    """The content of a state, by path: mode and bytes, with times and key material normalised; without the lock, which
    does not exist on a read-only /var."""
    found: dict[str, str] = {}
    for path in _entries(state):
        if path.name == "lock":
            continue
        held = path.lstat()
        content = os.readlink(path) if stat.S_ISLNK(held.st_mode) else ""
        if stat.S_ISREG(held.st_mode):
            content = path.read_bytes().decode("latin-1")
            if path.name == "state.json":
                content = names_of_this_pair(content, pair_of(state))
            content = re.sub(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", r"\1", content, flags=re.DOTALL)
            # In the stamp: device, inode, size and time of a pair that was checked; fingerprint of our own pair.
            changing = r'"(identity|policy|not_after|not_before|generated_pair)": "?[-?0-9a-f: ]+"?'
            content = re.sub(changing, r'"\1": *', content)
            content = re.sub(r"([0-9A-F]{2}:){19,}[0-9A-F]{2}|[0-9a-f]{40,}|\d{8}T?\d{6}Z?|\b\d{9,}(\.\d+)?\b", "*",
                             content)  # fmt: skip
        name = re.sub(r"\d{8}[-T]?\d{6}Z?(-\d+)?", "TIME", str(path.relative_to(state)))
        while name in found:
            # One copy too many is a difference.
            name += ", again"
        found[name] = f"{held.st_mode:o} {held.st_uid}:{held.st_gid} {content}"
    return found


def digest(state: pathlib.Path) -> str:
    """The digest of every byte, mode and owner of a state: for a next run, two states with the same digest are the
    same.

    Times are left out: our code remembers the time of a file only together with its inode, and no two states share
    inodes.
    """
    hashed = hashlib.sha256()
    for one in DIRECTORIES:
        for path in sorted((state / one).rglob("*")):
            held = path.lstat()
            hashed.update(repr((str(path.relative_to(state)), held.st_mode, held.st_uid, held.st_gid, held.st_rdev,
                                os.readlink(path) if stat.S_ISLNK(held.st_mode) else "",
                                path.read_bytes() if stat.S_ISREG(held.st_mode) else b"")).encode())  # fmt: skip
    return hashed.hexdigest()


class Promise:
    """What a program promises about its host, at any instant and at the end.

    start: the state before it. done: the state after an undisturbed run, which ended with *ended*; the commands after a
    fault are run on it. Raises RuntimeError if that run did not do its work: a sweep of a program that does nothing
    would prove nothing.
    """

    def __init__(self, program: Program, installed: pathlib.Path, start: pathlib.Path, done: pathlib.Path,
                 ended: "Ended") -> None:  # fmt: skip
        self.program, self.installed = program, installed
        before, after = pair_of(start), pair_of(done)
        fine = {MADE: before[0] is None and after[0] is not None, KEPT: before == after,
                REPLACED: _all_differ(before, after), RENEWED: _all_differ(before, after)}[program.pair]  # fmt: skip
        if ended.status != program.status or not fine or program.ours and pair_problem(done):
            raise RuntimeError(f"{program.name} does not even run undisturbed: {ended.output.strip()}")
        self.before = before
        self.once = tree(done)
        ends = [done]
        for number, command in enumerate(program.instead):
            ends.append(copy(start, done.with_name(f"instead-{number}")))
            run(installed, ends[-1], command)
        self.confs = {conf_of(one) for one in (start, *ends)}
        self.pairs = [pair_of(one) for one in ends]
        self.kept = [kept_of(one) for one in ends]
        for one in ends:
            self.run_again(one)
        self.ends = [tree(one) for one in ends]

    def run_again(self, state: pathlib.Path) -> None:
        """Run the commands that a host runs after a fault."""
        for command in self.program.again or (self.program.command,):
            run(self.installed, state, command)

    def damage(self, state: pathlib.Path) -> str:
        """What is wrong with a state that a fault left, or ""."""
        if readable := readable_key(state):
            return readable
        if conf_of(state) not in self.confs:
            return f"catcher.conf is {conf_of(state)!r}"
        note = note_of(state)
        if note is not None and not WHOLE_NOTE.fullmatch(note):
            return f"what preinst noted is {note!r}"
        if self.program.pair != MADE and not all(map(self._is_whole, range(2), pair_of(state))):
            return "the pair is neither the old nor the new one"
        return ""

    def _is_whole(self, number: int, data: bytes | None) -> bool:
        """Whether a file of the pair is the old or a new one. number: 0 for the key, 1 for the certificate."""
        if self.program.pair == RENEWED and data != self.before[number]:
            return public_key(data) is not None
        return data in {self.before[number], *(one[number] for one in self.pairs)}

    def left(self, state: pathlib.Path) -> str:
        """What is still wrong with a state after everything has been run again, or ""."""
        crashed, after = pair_of(state), tree(state)
        if after not in self.ends:
            self.run_again(state)
            after = tree(state)
        now, kept = pair_of(state), kept_of(state)
        if self.program.pair == MADE and None not in crashed and now != crashed:
            return "another pair was made"
        if self.program.pair in (KEPT, REPLACED) and now not in self.pairs:
            return "the pair is not the one that belongs there"
        if kept not in self._kept_beside(now):
            return "the old pair is not kept"
        return pair_problem(state) or min((differences(after, end) for end in self.ends), key=len)


    def _kept_beside(self, now: Pair) -> list[list[bytes]]:
        """What may be kept beside this pair."""
        if self.program.pair == RENEWED:
            return [[] if now == self.before else sorted(one for one in self.before if one)]
        ends = zip(self.pairs, self.kept, strict=True)
        return [kept for pair, kept in ends if pair == now or self.program.pair == MADE]


def _all_differ(before: Pair, after: Pair) -> bool:
    return all(one != other for one, other in zip(before, after, strict=True))


def readable_key(state: pathlib.Path) -> str:
    """A sentence about a private key in a state that users other than root can read, except the administrator's my.key;
    or ""."""
    for path in _entries(state):
        held = path.lstat()
        wide = stat.S_ISREG(held.st_mode) and held.st_mode & 0o077
        if wide and path.name != "my.key" and b"PRIVATE KEY" in path.read_bytes():
            return f"{path.name} is readable by others"
    return ""


def conf_of(state: pathlib.Path) -> bytes | None:
    """The bytes of catcher.conf, or None."""
    path = state / "etc/cca/catcher.conf"
    return path.read_bytes() if path.exists() else None


def note_of(state: pathlib.Path) -> bytes | None:
    """The bytes of what preinst noted, or None."""
    path = state / "var/lib/csulcca/before-upgrade"
    return path.read_bytes() if path.exists() else None


def kept_of(state: pathlib.Path) -> list[bytes]:
    """The bytes of all files that are kept beside the pair."""
    kept = [path for name in ("catcher.key.*", "catcher.crt.*") for path in (state / BIN[1:]).glob(name)]
    return sorted(path.read_bytes() for path in kept)


def pair_of(state: pathlib.Path) -> Pair:
    """The pair in place."""
    key, crt = ((state / BIN[1:] / name) for name in ("catcher.key", "catcher.crt"))
    return (key.read_bytes() if key.exists() else None, crt.read_bytes() if crt.exists() else None)


def public_key(data: bytes | None) -> bytes | None:
    """The public key of a private key or a certificate; None if it is neither."""
    data = data or b""
    try:
        if b"PRIVATE KEY" in data:
            key = serialization.load_pem_private_key(data, None).public_key()
        else:
            key = x509.load_pem_x509_certificate(data).public_key()
    except ValueError:
        return None
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def pair_problem(state: pathlib.Path) -> str:
    """Why the two files in place are not a pair, or ""; no file at all is fine."""
    key, crt = pair_of(state)
    if key is None and crt is None:
        return ""
    ours = public_key(key)
    return "" if ours is not None and ours == public_key(crt) else "the pair does not match"


def differences(found: dict[str, str], wanted: dict[str, str]) -> str:
    """The paths in which two trees differ, or ""."""
    names = [one for one in sorted({*found, *wanted}) if found.get(one) != wanted.get(one)]
    return "differs: " + ", ".join(names) if names else ""
