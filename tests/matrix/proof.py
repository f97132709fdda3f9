"""Proof that the matrix sees faults: break the packages on purpose, in one way after another, and see which squares
turn red.

    python3 -m tests.matrix.proof [BREAKAGE]...        (make matrix-proof)

Each breakage is made in a copy of the tree, and the matrix is run there, on one system of each family, or on the
systems that the breakage concerns. Exactly the squares that the breakage names must be red, each because a planned test
failed. For each set of systems and scenarios, the matrix first runs once with nothing broken. Then nothing may be red.

Exit status: 0 if all this is true; 3 if it is true as far as it could be tried, and some systems are BLOCKED on this
host; 1 otherwise.
"""

import dataclasses
import pathlib
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
from collections.abc import Callable, Sequence

from tests.matrix import engine, images, report
from tests.matrix.report import BLOCKED, FAIL, NO_RESULT, NOT_RUN, TREE
from tests.matrix.scenarios import SCENARIOS as ALL_SCENARIOS

with engine.plain_errors():
    DEB, RPM = (next(cell.name for cell in images.with_role("example") if cell.family == family)
                for family in ("deb", "rpm"))  # fmt: skip
IMAGE_BASED = tuple(cell.name for cell in images.cells().values() if cell.image_based)


def _made_here(word: str) -> tuple[str, ...]:
    """The cells that are built here and have this word in their names."""
    return tuple(cell.name for cell in images.cells().values() if cell.recipe and word in cell.name)


WITHOUT_RECOMMENDS = _made_here("no-recommends")
FIPS, SUSE, DNF5 = _made_here("fips"), _made_here("zypper"), _made_here("dnf5")
REVIEWED, NEWEST_LINTIAN = _made_here("review"), _made_here("sid-review")
BOOTED, REBOOTED, ENFORCING = (
    tuple(cell.name for cell in images.cells().values() if cell.kind == "machine" and scenario in cell.scenarios)
    for scenario in ("boot", "reboot", "selinux"))  # fmt: skip
FROM_7_3 = tuple(name for name in ALL_SCENARIOS if name.startswith("upgrade-7.3"))
FROM_8 = tuple(name for name in ALL_SCENARIOS if name.startswith("upgrade-8"))
SCENARIOS = ("fresh", "image-build", "other-root", *FROM_7_3, *FROM_8, "remove", "remove-upgraded")
NOTHING = "nothing is broken"
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", ".cache", "dist", "*_cache", ".hypothesis", "__pycache__")


@dataclasses.dataclass(frozen=True)
class Breakage:
    """A change that breaks the packages: in `file`, the text `old`, which occurs exactly once, becomes `new`. `red`:
    which squares of these cells and scenarios must turn red."""

    name: str
    file: str
    old: str
    new: str
    red: frozenset[tuple[str, str]]
    cells: tuple[str, ...] = (DEB, RPM)
    scenarios: tuple[str, ...] = SCENARIOS


BREAKAGES = (
    Breakage(
        "an upgrade flips the mode",
        "catcher_install/plan.py",
        'config.with_mode(conf.data or b"", kept)',
        'config.with_mode(conf.data or b"", config.TLS)',
        frozenset((cell, scenario) for cell in (DEB, RPM) for scenario in FROM_7_3),
    ),
    Breakage(
        "a key is left in an image",
        "catcher_install/plan.py",
        "    if facts.pair.state == pair.NONE:\n        if facts.image:\n",
        "    if facts.pair.state == pair.NONE:\n        if facts.image:\n"
        '            return [act(MAKE_PAIR, "in an image, too")], []\n',
        frozenset((cell, scenario) for cell in (DEB, RPM) for scenario in ("image-build", "other-root")),
    ),
    Breakage(
        "an upgrade of the .deb disables the unit, or enables it where it was disabled",
        "debian/csulcca.postinst.in",
        'csulcca_postinst deb "$@"\n',
        'csulcca_postinst deb "$@"\n[ -z "${2-}" ] || systemctl -q is-enabled CSUTKEcat.service && change=disable\n'
        '[ -z "${2-}" ] || systemctl ${change:-enable} CSUTKEcat.service || :\n',
        # Below a mask systemctl does neither. Removal must leave a note that the service was enabled.
        frozenset((DEB, scenario) for scenario in (*FROM_7_3, *FROM_8, "remove-upgraded") if "masked" not in scenario),
    ),
    Breakage(
        "removal of the .rpm leaves a file",
        "rpm/postun.in",
        'csulcca_postrm rpm "$1"\n',
        'csulcca_postrm rpm "$1"\n[ "$1" != 0 ] || touch /opt/left-over\n',
        frozenset({(RPM, "remove"), (RPM, "remove-upgraded")}),
    ),
    Breakage(
        "an image has no links to a pair below /var",
        "hooks/postinst.sh",
        'ln -s "@IMAGE_PAIR@/$csulcca_name" "$1/$csulcca_name"',
        ":",
        frozenset((cell, "image-based") for cell in IMAGE_BASED),
        cells=IMAGE_BASED,
        scenarios=("image-based",),
    ),
    Breakage(
        "an image that the package has left keeps its links",
        "hooks/postrm.sh",
        'rm -f @BIN@/"$csulcca_name" || :\n        fi\n    done\n    # In the last',
        ":\n        fi\n    done\n    # In the last",
        # rpm-ostree makes its image without the package, and runs no scriptlet.
        frozenset((cell, "image-based") for cell in IMAGE_BASED if "ostree" not in cell),
        cells=IMAGE_BASED,
        scenarios=("image-based",),
    ),
    Breakage(
        "a directory in /var has no line of tmpfiles.d",
        "units/csulcca.conf",
        "d /var/lib/csulcca - - - -\n",
        "",
        # The others have no bootc container lint; the first start makes the directory.
        frozenset((cell, "image-based") for cell in IMAGE_BASED if "bootc" in cell),
        cells=IMAGE_BASED,
        scenarios=("image-based",),
    ),
    Breakage(
        "SUSE's macros are not told before the installation what is new",
        "rpm/pre.in",
        "%{?systemd_pre:%systemd_pre CSUTKEcat.service csulcca-check.timer}\n",
        "",
        # A portable package has its own macros, which need nothing from %pre.
        frozenset((cell, "native-build") for cell in SUSE),
        cells=SUSE,
        scenarios=("fresh", "native-build"),
    ),
    Breakage(
        "a pair cannot be made without the package python3-cryptography",
        "catcher_install/cert/generate.py",
        "    named = subject(names, wish.names)\n",
        "    from . import crypto\n    crypto.load()\n    named = subject(names, wish.names)\n",
        frozenset((cell, "fresh") for cell in WITHOUT_RECOMMENDS),
        cells=WITHOUT_RECOMMENDS,
        scenarios=("fresh",),
    ),
    Breakage(
        "a key is made that FIPS mode does not allow",
        "catcher_install/cert/generate.py",
        '"ec_paramgen_curve:" + size',
        '"ec_paramgen_curve:brainpoolP512r1"',
        frozenset((cell, scenario) for cell in FIPS for scenario in ("fresh", "crypto-policy")),
        cells=FIPS,
        scenarios=("fresh", "crypto-policy"),
    ),
    Breakage(
        "no handshake is tried before a pair is installed",
        "catcher_install/cert/judge.py",
        "    spoken = []\n",
        "    return\n    spoken = []\n",
        # A key that FIPS mode loads, and signs nothing with.
        frozenset((cell, "crypto-policy") for cell in FIPS),
        cells=FIPS,
        scenarios=("fresh", "crypto-policy"),
    ),
    Breakage(
        "a scriptlet fails",
        "rpm/posttrans.in",
        "csulcca_start_timer systemctl\nexit 0\n",
        "csulcca_start_timer systemctl\nexit 1\n",
        # Older versions of rpm, and with them dnf, go on.
        frozenset((cell, "fresh") for cell in DNF5),
        cells=(RPM, *DNF5),
        scenarios=("fresh",),
    ),
    Breakage(
        "another Python than the system's own is taken",
        "hooks/run",
        "for python in /usr/libexec/platform-python /usr/bin/python3; do\n",
        "for python in /usr/bin/python3 /usr/libexec/platform-python; do\n",
        frozenset((cell, "programs") for cell in (DEB, RPM)),
        scenarios=("programs",),
    ),
    Breakage(
        "the daily timer cannot be switched off",
        "units/csulcca-check.timer",
        "[Install]\nWantedBy=timers.target\n",
        "",
        frozenset((cell, "daily-check") for cell in (DEB, RPM)),
        scenarios=("daily-check",),
    ),
    Breakage(
        "every directory is called the package's own",
        "catcher_install/paths.py",
        "MAY_BE_LINKS = (CONF_DIR, OPT_DIR, IBM_DIR, CCA_DIR, BIN, KEY_STORAGE,",
        "MAY_BE_LINKS = (CONF_DIR,",
        frozenset((cell, scenario) for cell in (DEB, RPM) for scenario in ("remove", "upgrade-7.3")
                  # With ours, rpm owns no directory that may be a link.
                  if (cell, scenario) != (RPM, "remove")),
        scenarios=("remove", "upgrade-7.3"),
    ),
    Breakage(
        "nothing starts at a boot",
        "debian/csulcca.postinst.in",
        'csulcca_postinst deb "$@"\n',
        'csulcca_postinst deb "$@"\nsystemctl -q disable CSUTKEcat.service\n',
        frozenset((cell, "reboot") for cell in REBOOTED),
        cells=REBOOTED,
        scenarios=("reboot",),
    ),
    Breakage(
        "a key is made in the image that machines boot from",
        "catcher_install/plan.py",
        # Whoever installs a package below an image's root has no systemd there, and knows of no image.
        "        if transition.kind != transitions.START and not facts.booted:\n",
        "        if transition.kind != transitions.START and not facts.booted:\n"
        '            return [act(MAKE_PAIR, "in an image, too")], []\n',
        frozenset((cell, "boot") for cell in BOOTED),
        cells=BOOTED,
        scenarios=("boot",),
    ),
    Breakage(
        "a file has the SELinux label of another place",
        "debian/csulcca.postinst.in",
        'csulcca_postinst deb "$@"\n',
        'csulcca_postinst deb "$@"\n[ ! -e /sys/fs/selinux/enforce ] || chcon -t tmp_t /etc/cca/catcher.conf\n',
        frozenset((cell, "selinux") for cell in ENFORCING),
        cells=ENFORCING,
        scenarios=("selinux",),
    ),
    Breakage(
        "the rpm has no Vendor tag",
        "tools/build_packages.py",
        '        "vendor": metadata.vendor,\n',
        "",
        frozenset((cell, "repository") for cell in SUSE),
        cells=SUSE,
        scenarios=("fresh", "repository"),
    ),
    Breakage(
        "the rpms of a repository have no signature of their own",
        "tools/repository.py",
        'run("rpmsign", *options, "--addsign", str(package))',
        "del options",
        # An index vouches for a .deb.
        frozenset((RPM, scenario) for scenario in ("repository", "repository-refused")),
        scenarios=("repository", "repository-refused"),
    ),
    Breakage(
        "a removal leaves bytecode",
        "hooks/prerm.sh",
        "    [ ! -d @LIBRARY@ ] || find @LIBRARY@ -name __pycache__ -prune -exec rm -rf {} + || :\n",
        "",
        frozenset((cell, scenario) for cell in (DEB, RPM) for scenario in ("remove", "remove-upgraded")),
        scenarios=("remove", "remove-upgraded"),
    ),
    Breakage(
        "the package depends on python3-cryptography",
        "setup.cfg",
        "required_commands = openssl\n",
        "required_commands = openssl python3-cryptography\n",
        frozenset((cell, "fresh") for cell in WITHOUT_RECOMMENDS)
        | {(cell, "autopkgtest") for cell in WITHOUT_RECOMMENDS if images.cell(cell).family == "deb"},
        cells=WITHOUT_RECOMMENDS,
        scenarios=("fresh", "autopkgtest"),
    ),
    Breakage(
        "the package does not depend on openssl",
        "setup.cfg",
        "required_commands = openssl\n",
        "required_commands =\n",
        frozenset((cell, "programs") for cell in (DEB, RPM)),
        scenarios=("programs",),
    ),
    Breakage(
        "the release of an rpm does not say which distribution built it",
        "rpm/csulcca.spec",
        "@RELEASE@%{?dist}\n",
        "@RELEASE@\n",
        frozenset((cell, "native-build") for cell in SUSE),
        cells=SUSE,
        scenarios=("fresh", "native-build"),
    ),
    Breakage(
        "gbp is not told where the original sources are",
        "debian/gbp.conf",
        "upstream-tree = HEAD\n",
        "",
        frozenset((cell, "review") for cell in REVIEWED),
        cells=REVIEWED,
        scenarios=("review",),
    ),
    Breakage(
        "the SELinux module has no label for the pair",
        "selinux/csulcca.fc",
        "/opt/IBM/CCA/bin/catcher\\.(key|crt).*",
        "/opt/IBM/CCA/bin/other\\.(key|crt).*",
        frozenset((cell, "selinux") for cell in ENFORCING),
        cells=ENFORCING,
        scenarios=("selinux",),
    ),
    Breakage(
        "lintian is told to ignore what it no longer knows",
        "debian/csulcca.lintian-overrides",
        "csulcca: initial-upload-closes-no-bugs *\n",
        "csulcca: initial-upload-closes-no-bugs *\n"
        "csulcca: package-supports-alternative-init-but-no-init.d-script *\n",
        frozenset((cell, "review") for cell in NEWEST_LINTIAN),
        cells=NEWEST_LINTIAN,
        scenarios=("review",),
    ),
    Breakage(
        "SELinux denies a scriptlet something",
        "debian/csulcca.postinst.in",
        'csulcca_postinst deb "$@"\n',
        # Under a name of its own: the tests have runcon refused, to see that the log tells of it.
        'csulcca_postinst deb "$@"\nif [ -e /sys/fs/selinux/enforce ]; then\n    cp /usr/bin/runcon /run/refused\n'
        "    /run/refused system_u:system_r:sshd_t:s0 true || rm /run/refused\nfi\n",
        frozenset((cell, "selinux") for cell in ENFORCING),
        cells=ENFORCING,
        scenarios=("selinux",),
    ),
)


@dataclasses.dataclass
class Outcome:
    """The result of a run of the matrix.

    red: the squares with a planned test that failed. blocked: {cell: why it could not be run}. wrong: why the run says
    nothing about the packages: it did not finish, or something else failed.
    """

    red: frozenset[tuple[str, str]]
    blocked: dict[str, str]
    wrong: list[str]

    @classmethod
    def read(cls, cells: Sequence[str], scenarios: Sequence[str], tree: pathlib.Path) -> "Outcome":
        """The result of a run of `make matrix`, from the files that it left in a tree."""
        junit, plan = (tree / path.relative_to(TREE) for path in (report.JUNIT, report.PLAN))
        blocked = {}
        # What the run itself has added: the reasons are in no other file.
        for case in xml.etree.ElementTree.parse(junit).iter("testcase") if junit.exists() else ():
            for one in case.iter("skipped") if case.get("classname") == NOT_RUN else ():
                verdict, _, why = (one.get("message") or "").partition(": ")
                if verdict == BLOCKED:
                    blocked[(case.get("name") or "").partition("[")[2].removesuffix("]")] = why
        matrix = report.Matrix.read(list(cells), scenarios, blocked, {}, junit, plan)
        red, wrong = set(), [f"failed outside of the matrix: {name}" for name in matrix.stray]
        for (cell, scenario), square in matrix.squares.items():
            unfinished = [name for name, said in square.failures.items() if said == NO_RESULT]
            if square.verdict == FAIL and (unfinished or not square.tests):
                wrong.append(f"{cell} {scenario} did not run to its end")
            elif square.verdict == FAIL:
                red.add((cell, scenario))
        return cls(frozenset(red), blocked, wrong)


def run(breakage: Breakage, tree: pathlib.Path) -> Outcome:
    """Break `tree`, a copy, and run the matrix in it. Returns the result. Raises ValueError if the text is not there
    exactly once."""
    path = tree / breakage.file
    text = path.read_text(encoding="utf-8")
    if breakage.old != breakage.new:
        if text.count(breakage.old) != 1:
            raise ValueError(f"{breakage.name}: the text is not once in {breakage.file}")
        path.write_text(text.replace(breakage.old, breakage.new), encoding="utf-8")
    command = [sys.executable, "-m", "tests.matrix.run", *(f"--cell={cell}" for cell in breakage.cells),
               *(f"--scenario={scenario}" for scenario in breakage.scenarios)]  # fmt: skip
    subprocess.run(command, cwd=tree, check=False, stdin=subprocess.DEVNULL)
    return Outcome.read(breakage.cells, breakage.scenarios, tree)


def in_a_copy(breakage: Breakage) -> Outcome:
    """The result of run() in a copy of this tree."""
    with tempfile.TemporaryDirectory(prefix="csulcca-proof-") as work:
        tree = pathlib.Path(work, "tree")
        shutil.copytree(TREE, tree, symlinks=True, ignore=NOT_COPIED)
        # Some tests build from what git knows.
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=tree, check=True)
        return run(breakage, tree)


def unbroken(breakage: Breakage) -> Breakage:
    """The same squares, with nothing broken."""
    return Breakage(NOTHING, "README.md", "", "", frozenset(), breakage.cells, breakage.scenarios)


def judged(breakage: Breakage, found: Outcome) -> tuple[str, str]:
    """What a run proves about a breakage: (`ok`, `WRONG` or `BLOCKED`, a line that says why)."""
    should = frozenset(square for square in breakage.red if square[0] not in found.blocked)
    line = f"{breakage.name}: red: {shown(found.red)}"
    if breakage.name == NOTHING:
        line = f"{NOTHING} on {', '.join(breakage.cells)}: red: {shown(found.red)}"
    if found.wrong or found.red != should:
        rest = [f"should be: {shown(should)}"] * (found.red != should) + found.wrong
        return "WRONG", "; ".join([line, *rest])
    blocked = [f"{cell} is BLOCKED: {why}" for cell, why in sorted(found.blocked.items())]
    return "BLOCKED" if blocked else "ok", "; ".join([line, *blocked])


def shown(squares: "set[tuple[str, str]] | frozenset[tuple[str, str]]") -> str:
    """Squares as text, for a line of the table."""
    return ", ".join(f"{cell} {scenario}" for cell, scenario in sorted(squares)) or "none"


def prove(breakages: Sequence[Breakage], tried: Callable[[Breakage], Outcome]) -> list[tuple[str, str]]:
    """Try each breakage. Returns the results of judged(). Before the first breakage of each set of squares, the same
    squares are tried with nothing broken; if something is red then, breakages there prove nothing and are not tried.

    tried: see in_a_copy().
    """
    lines = []
    bases: dict[tuple, str] = {}
    for breakage in breakages:
        squares = (breakage.cells, breakage.scenarios)
        if squares not in bases:
            base = unbroken(breakage)
            lines.append(judged(base, tried(base)))
            bases[squares] = lines[-1][0]
        if breakage.name == NOTHING:
            continue
        if bases[squares] == "WRONG":
            lines.append(("WRONG", f"{breakage.name}: not tried: it is not green with nothing broken"))
        else:
            lines.append(judged(breakage, tried(breakage)))
    return lines


def main(names: Sequence[str]) -> int:
    """The command line; see the module's docstring."""
    known = [unbroken(BREAKAGES[0]), *BREAKAGES]
    unknown = [name for name in names if name not in {one.name for one in known}]
    if unknown:
        print(f"error: no such breakage: {unknown[0]}\nhint: one of: {'; '.join(one.name for one in known)}",
              file=sys.stderr)  # fmt: skip
        return 2

    def tried(breakage: Breakage) -> Outcome:
        print(f"\n== {breakage.name}", flush=True)
        return in_a_copy(breakage)

    with engine.plain_errors():
        engine.prepare()
        lines = prove([one for one in known if one.name in (names or [one.name])], tried)
    print()
    for verdict, line in lines:
        print(f"{verdict:8}{line}")
    verdicts = {verdict for verdict, _ in lines}
    return 1 if "WRONG" in verdicts else 3 if BLOCKED in verdicts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
