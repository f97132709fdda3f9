"""Fuzz the two parsers of files that other people write, guided by coverage (atheris, which is libFuzzer).

    python3 -m tests.faults.parsers conf|pem [--seconds 60]

conf() and pem() assert what must be true of a parser. An input that breaks this is written into tests/faults/corpus,
and a test replays the corpus. Inputs that reach new code are kept in .cache for the next run.
"""

import argparse
import importlib.util
import pathlib
import subprocess
import sys
from collections.abc import Callable, Sequence

from catcher_install.host import Host

CORPUS = pathlib.Path(__file__).resolve().parent / "corpus"
GROWN = CORPUS.parents[2] / ".cache" / "corpus"
SECONDS = 60
LONGEST = 512
"""Bytes of an input that is generated."""
# The limit for a single input: an input that needs more counts as a fault.
INPUT_SECONDS = 5
MEGABYTES = 1024


def conf(data: bytes) -> None:
    """Any bytes have one meaning, described in one line; an edit sets the mode, keeps every other byte, and is
    stable."""
    from catcher_install import config

    read = config.parse(data)
    assert read.state in (config.UNSET, config.TLS, config.TCP, config.UNUSABLE)
    assert bool(read.problem) == (read.state == config.UNUSABLE)
    assert read.problem.isprintable() and len(read.problem) < 200
    if read.state == config.UNUSABLE:
        return
    for mode in (config.TLS, config.TCP):
        edited = config.with_mode(data, mode)
        again = config.parse(edited)
        if mode == config.TCP and read.required:
            assert again.state == config.UNUSABLE
            continue
        assert again.state == mode and again.required == read.required
        assert config.with_mode(edited, mode) == edited
        words = (config.TLS_ON, config.TLS_OFF)
        assert _without(edited, words).startswith(_without(data, words).rstrip(b"\r\n"))


def _without(data: bytes, words: tuple[bytes, ...]) -> bytes:
    for word in words:
        data = data.replace(word, b"")
    return data


class Nowhere(Host):
    """A host without programs."""

    def run(self, argv: Sequence[str], timeout: float, stdin: bytes = b"",
            only_output: bool = False) -> tuple[int, bytes]:
        """Refuse."""
        raise FileNotFoundError(2, "No such file or directory")


def pem(data: bytes) -> None:
    """Each block begins with BEGIN, ends with END, and contains only bytes of the file; the judge never raises."""
    from catcher_install.cert import check, submitted

    given = submitted.PemFile("x", data)
    for label, block in given.blocks:
        assert label and block.startswith(b"-----BEGIN ") and block.splitlines()[-1].startswith(b"-----END ")
        assert len(block) <= len(data) + 1
    assert len(given.keys()) + len(given.certificates()) <= len(given.blocks)
    verdict = check.check(Nowhere(), data, data)
    assert verdict.problem.isprintable() and len(verdict.problem) < 300


PARSERS: dict[str, Callable[[bytes], None]] = {"conf": conf, "pem": pem}


def missing() -> str:
    """Why nothing can be fuzzed here, or ""."""
    if importlib.util.find_spec("atheris") is None:
        return f"atheris has no wheel for Python {sys.version_info.major}.{sys.version_info.minor} here"
    return ""


class Fuzzed:
    """The result of a run. runs: the number of inputs tried. broken: what the fuzzer reports about an input that breaks
    the parser, or ""."""

    def __init__(self, runs: int, broken: str) -> None:
        self.runs, self.broken = runs, broken


def fuzz(name: str, seconds: int) -> Fuzzed:
    """Fuzz a parser for some seconds, in a separate process."""
    (GROWN / name).mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", f"from tests.faults import parsers; parsers._run({name!r})", str(GROWN / name),
               str(CORPUS / name), f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-timeout={INPUT_SECONDS}",
               f"-rss_limit_mb={MEGABYTES}", "-print_final_stats=1", f"-artifact_prefix={CORPUS / name}/"]  # fmt: skip
    done = subprocess.run(command, cwd=CORPUS.parents[2], capture_output=True, text=True, errors="replace",
                          check=False)  # fmt: skip
    runs = [line.rpartition(" ")[2] for line in done.stderr.splitlines() if "number_of_executed_units" in line]
    told = "" if done.returncode == 0 else done.stderr[-2000:] or f"exit status {done.returncode}"
    return Fuzzed(int(runs[0]) if runs else 0, told)


def _run(name: str) -> None:
    """The fuzzer's own process; does not return."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["catcher_install"]):
        from catcher_install import config
        from catcher_install.cert import check, submitted

    assert check and config and submitted
    atheris.Setup(sys.argv, PARSERS[name])
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    """The command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.faults.parsers")
    parser.add_argument("parser", choices=sorted(PARSERS))
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args(arguments)
    if missing():
        print(f"error: {missing()}\nhint: python3 -m pip install atheris", file=sys.stderr)
        return 2
    found = fuzz(options.parser, options.seconds)
    print(f"{options.parser}: {found.runs} inputs{'' if found.broken else ', none breaks it'}")
    print(found.broken, end="", file=sys.stderr)
    return 1 if found.broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
