"""TLS capability: OpenSSL's version and libssl's soname, looked up separately, on any host, in any environment."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from catcher_install import openssl, paths
from catcher_install.host import Host

from .support import OPENSSL_3, OPENSSL_102, TREE, child_python, own_elf_header

# What `openssl version` prints -> (numbers, full version); None if it is not a known kind of OpenSSL.
VERSIONS = {
    "OpenSSL 1.1.1k  FIPS 25 Mar 2021": ((1, 1, 1), "1.1.1k"),
    "OpenSSL 1.1.1w  11 Sep 2023": ((1, 1, 1), "1.1.1w"),
    "OpenSSL 1.1.1  11 Sep 2018": ((1, 1, 1), "1.1.1"),
    "OpenSSL 1.1.1za  26 Jun 2024": ((1, 1, 1), "1.1.1za"),
    "OpenSSL 1.1.1d-fips  10 Sep 2019": ((1, 1, 1), "1.1.1d-fips"),
    "OpenSSL 1.1.1-pre9 (beta) 21 Aug 2018": ((1, 1, 0), "1.1.1-pre9"),
    "OpenSSL 1.1.0l  10 Sep 2019": ((1, 1, 0), "1.1.0l"),
    "OpenSSL 1.1.0i-fips  14 Aug 2018": ((1, 1, 0), "1.1.0i-fips"),
    "OpenSSL 1.0.2k-fips  26 Jan 2017": ((1, 0, 2), "1.0.2k-fips"),
    "OpenSSL 1.0.2zf  21 Jun 2022": ((1, 0, 2), "1.0.2zf"),
    "OpenSSL 0.9.8zh 3 Dec 2015": ((0, 9, 8), "0.9.8zh"),
    "OpenSSL 3.0.7 1 Nov 2022 (Library: OpenSSL 3.0.8 7 Feb 2023)": ((3, 0, 8), "3.0.8"),
    "OpenSSL 3.0.7 .. (Library: 3.0.8 ..)": ((3, 0, 8), "3.0.8"),
    "OpenSSL 3.0.7 1 Nov 2022 (Library: OpenSSL 1.1.0l  10 Sep 2019)": ((1, 1, 0), "1.1.0l"),
    "OpenSSL 1.0.2k-fips  26 Jan 2017 (Library: OpenSSL 1.1.1k  25 Mar 2021)": ((1, 1, 1), "1.1.1k"),
    "OpenSSL 3.5.7 9 Jun 2026 (Library: OpenSSL 3.5.7 9 Jun 2026)": ((3, 5, 7), "3.5.7"),
    "OpenSSL 3.2.0-dev  (Library: OpenSSL 3.2.0-dev )": ((3, 2, 0), "3.2.0-dev"),
    "OpenSSL 3.0.13+quic 30 Jan 2024": ((3, 0, 13), "3.0.13+quic"),
    "OpenSSL 4.0.0 14 Apr 2026": ((4, 0, 0), "4.0.0"),
    "OpenSSL 10.0.0 1 Jan 2040": ((10, 0, 0), "10.0.0"),
    "3.5.7": ((3, 5, 7), "3.5.7"),
    "LibreSSL 3.8.2": None,
    "LibreSSL 3.8.2 (Library: LibreSSL 3.8.2)": None,
    "OpenSSL 3.0.7 1 Nov 2022 (Library: LibreSSL 3.8.2)": None,
    "BoringSSL": None,
    # As their openssl command says it.
    "OpenSSL 1.1.1 (compatible; BoringSSL)": None,
    "OpenSSL 1.1.1 (compatible; AWS-LC 1.30.1)": None,
    "OpenSSL 1.1.1-dev  xx XXX xxxx": ((1, 1, 0), "1.1.1-dev"),
    "OpenSSL 1.1.1b-dev  xx XXX xxxx": ((1, 1, 1), "1.1.1b-dev"),
    "OpenSSL 3.0.0-alpha17 20 May 2021": ((3, 0, 0), "3.0.0-alpha17"),
    "OpenSSL": None,
    "OpenSSL 3": None,
    "OpenSSL 3.x.1": None,
    "OpenSSL 3.0.": None,
    "OpenSSL -1.1.1": None,
    "OpenSSL 111111.1.1": None,
    "(Library:": None,
    "command not found": None,
}


@pytest.mark.parametrize("text", sorted(VERSIONS))
def test_version_strings_are_told_apart(text):
    assert openssl.parse_version(text) == VERSIONS[text]


@pytest.mark.parametrize("text", sorted(VERSIONS))
def test_only_1_1_1_and_newer_is_new_enough(machine, text):
    machine.programs[paths.OPENSSL] = (0, text.encode("ascii") + b"\n")
    able = openssl.capability(machine)
    expected = VERSIONS[text] is not None and VERSIONS[text][0] >= (1, 1, 1)
    assert (able.possible is True) == expected == (able.reason == "")
    assert able.version == (VERSIONS[text][1] if VERSIONS[text] else None)
    assert able.library == "/usr/lib64/libssl.so.3"
    assert "\n" not in able.reason and not able.reason.endswith(".")


NOT_UNDERSTOOD = "/usr/bin/openssl is not an OpenSSL that is understood (%s)"
# What the command answers: (whether TLS is possible, if libssl is there, and the reason)
ANSWERS = {
    "not installed": (FileNotFoundError(2, "No such file or directory"), False,
                      "the command /usr/bin/openssl is not installed"),
    "its loader is missing": (FileNotFoundError(2, "No such file or directory"), None,
                              "/usr/bin/openssl does not run (No such file or directory)"),
    "LibreSSL": ((0, b"LibreSSL 3.8.2\n"), False, NOT_UNDERSTOOD % "LibreSSL 3.8.2"),
    "too old": ((0, b"OpenSSL 1.1.0l  10 Sep 2019\n"), False, "OpenSSL 1.1.0l is older than 1.1.1"),
    "pre-release": ((0, b"OpenSSL 1.1.1-pre9 (beta) 21 Aug 2018\n"), False, "OpenSSL 1.1.1-pre9 is older than 1.1.1"),
    "of another architecture": (OSError(8, "Exec format error"), None,
                                "/usr/bin/openssl does not run (Exec format error)"),
    "fails": ((1, OPENSSL_3), None, "/usr/bin/openssl version failed with exit status 1"),
    "library missing": ((127, b""), None, "/usr/bin/openssl version failed with exit status 127"),
    "crashes": ((139, b""), None, "/usr/bin/openssl was killed by signal 11"),
    "killed": ((137, b""), None, "/usr/bin/openssl was killed by signal 9"),
    "hangs": (TimeoutError(110, "no answer within 10 seconds"), None,
              "/usr/bin/openssl does not run (no answer within 10 seconds)"),
    "out of descriptors": (OSError(24, "Too many open files"), None,
                           "/usr/bin/openssl does not run (Too many open files)"),
    "may not be run": (PermissionError(13, "Permission denied"), None,
                       "/usr/bin/openssl does not run (Permission denied)"),
    "no memory": (OSError(12, "Cannot allocate memory"), None,
                  "/usr/bin/openssl does not run (Cannot allocate memory)"),
    "says nothing": ((0, b""), None, NOT_UNDERSTOOD % "no output"),
    "garbage": ((0, b"\xff\x00\x1b[2J\r\n" + b"x" * 5000), None, None),
    "a version that is cut": ((0, b"OpenSSL 3\n"), None, NOT_UNDERSTOOD % "OpenSSL 3"),
    "a text of another program": ((0, b"usage: openssl\n"), None, NOT_UNDERSTOOD % "usage: openssl"),
    "a name and version of another program": ((0, b"snoopy 2.5.1 loaded\n"), None,
                                              NOT_UNDERSTOOD % "snoopy 2.5.1 loaded"),
    "another product among noise": ((0, b"jemalloc 5.3\nLibreSSL 3.8.2\n"), None, NOT_UNDERSTOOD % "jemalloc 5.3"),
    "two versions": ((0, b"OpenSSL 1.0.2k shim loaded\n" + OPENSSL_3), None,
                     NOT_UNDERSTOOD % "OpenSSL 1.0.2k shim loaded"),
    "too old, among noise": ((0, b"Sensor 7.14 active\nOpenSSL 1.1.0l  10 Sep 2019\n"), None,
                             NOT_UNDERSTOOD % "Sensor 7.14 active"),
    "AWS-LC": ((0, b"AWS-LC 1.36.0\n"), False, NOT_UNDERSTOOD % "AWS-LC 1.36.0"),
    "AWS-LC that is compatible": ((0, b"OpenSSL 1.1.1 (compatible; AWS-LC 1.30.1)\n"), False,
                                  NOT_UNDERSTOOD % "OpenSSL 1.1.1 (compatible; AWS-LC 1.30.1)"),
    "a noise that names another product": ((0, b"agent for LibreSSL and OpenSSL loaded\n"), None,
                                           NOT_UNDERSTOOD % "agent for LibreSSL and OpenSSL loaded"),
    "a bare version of who knows what": ((0, b"1.0.2\n"), None, NOT_UNDERSTOOD % "1.0.2"),
}


def answers(machine, name):
    """From now on the openssl command answers as ANSWERS says."""
    machine.programs[paths.OPENSSL] = ANSWERS[name][0]
    if name == "not installed":
        machine.remove(paths.OPENSSL)


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_the_library_without_a_good_command_is_no_yes(machine, name):
    """If it cannot be found out, the answer is neither yes nor no. A new host must not get TCP permanently for that."""
    _, possible, reason = ANSWERS[name]
    answers(machine, name)
    able = openssl.capability(machine)
    assert able.possible is possible
    assert able.library == "/usr/lib64/libssl.so.3"
    if reason is not None:
        assert able.reason == reason
    assert 0 < len(able.reason) < 150 and able.reason.isprintable()
    assert openssl.remember(able) is None


MEMORY = {"identity": "of an earlier time", "version": "3.0.13"}


@pytest.mark.parametrize("name", sorted(name for name in ANSWERS if ANSWERS[name][1] is None))
def test_a_remembered_yes_holds_where_nothing_is_known(machine, name):
    machine.programs[paths.OPENSSL] = ANSWERS[name][0]
    able = openssl.capability(machine, MEMORY)
    assert able.possible is True and able.version == "3.0.13"
    # The next run has it, too.
    assert openssl.remember(able) == MEMORY


@pytest.mark.parametrize("name", sorted(name for name in ANSWERS if ANSWERS[name][1] is False))
def test_a_known_no_ends_a_remembered_yes(machine, name):
    answers(machine, name)
    able = openssl.capability(machine, MEMORY)
    assert able.possible is False and openssl.remember(able) is None


def test_without_a_library_no_answer_of_the_command_matters(machine):
    machine.remove("/usr/lib64/libssl.so.3")
    for answer, _, _ in ANSWERS.values():
        machine.programs[paths.OPENSSL] = answer
        assert openssl.capability(machine).possible is False


@pytest.mark.real_programs
def test_noise_on_standard_error_is_no_answer(tmp_path, monkeypatch):
    """ld.so complains that an agent's library is gone. A version in that message is not OpenSSL's."""
    program = tmp_path / "openssl"
    program.write_text("#!/bin/sh\necho 'OpenSSL 1.0.2k  26 Jan 2017' >&2\necho 'OpenSSL 3.0.13 30 Jan 2024'\n")
    program.chmod(0o755)
    monkeypatch.setattr(paths, "OPENSSL", str(program))
    assert openssl.capability(Host()).version == "3.0.13"


# What an agent in ld.so.preload, or a library that it brings, prints before and after the answer.
NOISE = [b"snoopy 2.5.1 loaded\n", b"Sensor 7.14 active\n", b"WARNING 2026-11-29 agent\n", b"jemalloc 5.3\n",
         b"agent: policy loaded\n", b"Loaded 3 rules\n", b"LibreSSL 3.8.2\n", b"1.0.2\n", b"\n", b"\xff\xfe\n"]


@pytest.mark.parametrize("memory", [None, MEMORY], ids=["new", "remembered"])
@pytest.mark.parametrize("noise", NOISE, ids=repr)
def test_noise_on_standard_output_is_no_answer(machine, noise, memory):
    for spoilt in (noise + OPENSSL_3, OPENSSL_3 + noise, noise + noise + OPENSSL_3 + noise):
        machine.programs[paths.OPENSSL] = (0, spoilt)
        able = openssl.capability(machine, memory)
        assert able.possible is True and able.version == "3.0.13"


def elf_of(bits=2, order=1, number=62):
    """An ELF header of another architecture: 32 or 64 bits, byte order, machine."""
    header = bytearray(own_elf_header())
    header[4:6] = bytes([bits, order])
    header[18:20] = number.to_bytes(2, "little" if order == 1 else "big")
    return bytes(header)


OWN = own_elf_header()
S390X = elf_of(2, 2, 22)
MULTIARCH = "/usr/lib/x86_64-linux-gnu/"

# Files by path (bytes, or the target of a link) -> the library that is found, or the reason why there is none
LIBRARIES = {
    "libssl.so.3": ({"/usr/lib64/libssl.so.3": OWN}, "/usr/lib64/libssl.so.3"),
    "libssl.so.1.1": ({"/usr/lib64/libssl.so.1.1": OWN}, "/usr/lib64/libssl.so.1.1"),
    "both": ({"/usr/lib64/libssl.so.3": OWN, "/usr/lib64/libssl.so.1.1": OWN}, "/usr/lib64/libssl.so.3"),
    "Debian's directory": ({MULTIARCH + "libssl.so.3": OWN}, MULTIARCH + "libssl.so.3"),
    "/lib of an unmerged system": ({"/lib/s390x-linux-gnu/libssl.so.1.1": OWN}, "/lib/s390x-linux-gnu/libssl.so.1.1"),
    "a link to the real name": ({"/usr/lib64/libssl.so.3": "libssl.so.3.0.13", "/usr/lib64/libssl.so.3.0.13": OWN},
                                "/usr/lib64/libssl.so.3"),
    "an absolute link": ({"/usr/lib64/libssl.so.3": "/opt/ssl/libssl.so.3", "/opt/ssl/libssl.so.3": OWN},
                         "/usr/lib64/libssl.so.3"),
    "a dangling link beside a good 1.1": ({"/usr/lib64/libssl.so.3": "gone", "/usr/lib64/libssl.so.1.1": OWN},
                                          "/usr/lib64/libssl.so.1.1"),
    "the wrong architecture first": ({"/usr/lib64/libssl.so.3": S390X, MULTIARCH + "libssl.so.3": OWN},
                                     MULTIARCH + "libssl.so.3"),
    "none": ({}, "neither libssl.so.3 nor libssl.so.1.1 is installed"),
    "libssl.so.4 only": ({"/usr/lib64/libssl.so.4": OWN}, "neither libssl.so.3 nor libssl.so.1.1 is installed"),
    "libssl.so.10 only": ({"/usr/lib64/libssl.so.10": OWN}, "neither libssl.so.3 nor libssl.so.1.1 is installed"),
    "libssl.so only": ({"/usr/lib64/libssl.so": OWN}, "neither libssl.so.3 nor libssl.so.1.1 is installed"),
    "/usr/local only": ({"/usr/local/lib/libssl.so.3": OWN}, "neither libssl.so.3 nor libssl.so.1.1 is installed"),
    "a dangling link": ({"/usr/lib64/libssl.so.3": "gone"}, "/usr/lib64/libssl.so.3 cannot be opened"),
    "a link to itself": ({"/usr/lib64/libssl.so.3": "libssl.so.3"}, "/usr/lib64/libssl.so.3 cannot be opened"),
    "another byte order": ({"/usr/lib64/libssl.so.3": S390X}, "/usr/lib64/libssl.so.3 is of another architecture"),
    "another machine": ({"/usr/lib64/libssl.so.3": elf_of(number=183)},
                        "/usr/lib64/libssl.so.3 is of another architecture"),
    "32 bits": ({"/usr/lib/i386-linux-gnu/libssl.so.3": elf_of(bits=1, number=3)},
                "/usr/lib/i386-linux-gnu/libssl.so.3 is of another architecture"),
    "an empty file": ({"/usr/lib64/libssl.so.3": b""}, "/usr/lib64/libssl.so.3 is not a shared library"),
    "a linker script": ({"/usr/lib64/libssl.so.3": b"/* GNU ld script */ INPUT ( x )"},
                        "/usr/lib64/libssl.so.3 is not a shared library"),
    "a truncated file": ({"/usr/lib64/libssl.so.3": OWN[:10]}, "/usr/lib64/libssl.so.3 is not a shared library"),
}


@pytest.mark.parametrize("name", sorted(LIBRARIES))
def test_only_a_library_of_this_host_makes_tls_possible(machine, name):
    files, result = LIBRARIES[name]
    machine.remove("/usr/lib64/libssl.so.3")
    for path, what in files.items():
        if isinstance(what, str):
            machine.put_link(path, what)
        else:
            machine.put(path, what)
    able = openssl.capability(machine)
    assert able.version == "3.0.13"
    if result.startswith("/") and " " not in result:
        assert (able.possible, able.library, able.reason) == (True, result, "")
    else:
        assert (able.possible, able.library, able.reason) == (False, None, result)


def test_a_directory_or_fifo_of_that_name(machine):
    machine.remove("/usr/lib64/libssl.so.3")
    os.mkfifo(machine.on_disk("/usr/lib64/libssl.so.3"))
    machine.make_dir("/usr/lib64/libssl.so.1.1", 0o755)
    able = openssl.capability(machine)
    assert (able.possible, able.reason) == (False, "/usr/lib64/libssl.so.3 cannot be opened")


@pytest.mark.parametrize("memory", [None, MEMORY], ids=["new", "remembered"])
@pytest.mark.parametrize("error", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ENOMEM], ids=os.strerror)
@pytest.mark.parametrize("call,path", [("lstat", "/usr/lib64/libssl.so.3"), ("list_dir", "/usr/lib")])
def test_a_library_that_nobody_can_look_for_is_not_known(machine, monkeypatch, call, path, error, memory):
    real = getattr(machine, call)

    def fail(asked, **more):
        if asked == path:
            raise OSError(error, os.strerror(error), asked)
        return real(asked, **more)

    if call == "list_dir":
        machine.remove("/usr/lib64/libssl.so.3")
    monkeypatch.setattr(machine, call, fail)
    able = openssl.capability(machine, memory)
    assert able.possible is (None if memory is None else True)
    machine.put("/lib/libssl.so.1.1", OWN)
    assert openssl.capability(machine, memory).library == "/lib/libssl.so.1.1"


def test_without_command_and_library_both_are_named_as_missing(machine):
    machine.remove("/usr/lib64/libssl.so.3")
    machine.remove(paths.OPENSSL)
    machine.programs[paths.OPENSSL] = FileNotFoundError(2, "x")
    able = openssl.capability(machine)
    assert able.reason == ("the command /usr/bin/openssl is not installed; "
                           "neither libssl.so.3 nor libssl.so.1.1 is installed")


@pytest.mark.real_programs
def test_the_capability_of_this_machine_is_what_its_tools_say():
    """The library says the same about this machine as the machine's own tools."""
    able = openssl.capability(Host())
    printed = subprocess.check_output(["/usr/bin/openssl", "version"]).decode("ascii")
    assert able.version is not None and able.version in printed
    assert able.possible and able.library is not None and able.reason == ""
    with open(able.library, "rb") as stream:
        assert stream.read(20)[:6] == OWN[:6]


# -- a hostile environment ---------------------------------------------------------------------------------------------

LOOK = """
import sys
sys.path.insert(0, sys.argv[1])
from catcher_install import host, openssl
print(openssl.capability(host.Host()))
"""


@pytest.fixture
def traps(tmp_path):
    """An environment full of traps, each of which leaves a mark when it is used."""
    mark = tmp_path / "sprung"
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("openssl", "python3", "getent", "systemctl", "readlink", "uname"):
        script = programs / name
        script.write_text("#!/bin/sh\necho %s >> %s\necho 'OpenSSL 0.9.8 1 Jan 2000'\n" % (name, mark))
        script.chmod(0o755)
    modules = tmp_path / "modules"
    modules.mkdir()
    for name in ("os", "stat", "fcntl", "select", "ipaddress", "sitecustomize", "usercustomize", "cryptography",
                 "catcher_install", "syslog", "startup"):
        (modules / (name + ".py")).write_text("open(%r, 'a').write(%r)\n" % (str(mark), name + "\n"))
    libraries = tmp_path / "lib"
    libraries.mkdir()
    for name in ("libssl.so.3", "libssl.so.1.1", "libcrypto.so.3", "libcrypto.so.1.1"):
        (libraries / name).write_text("not a library")
    settings = tmp_path / "openssl.cnf"
    settings.write_text("openssl_conf = broken\n[broken]\nengines = nowhere\n\x01\n")
    environment = {
        "PATH": str(programs),
        "PYTHONPATH": str(modules),
        "PYTHONHOME": str(modules),
        "PYTHONSTARTUP": str(modules / "startup.py"),
        "PYTHONUSERBASE": str(modules),
        "PYTHONWARNINGS": "error",
        "OPENSSL_CONF": str(settings),
        "OPENSSL_MODULES": str(libraries),
        "OPENSSL_ENGINES": str(libraries),
        "SSL_CERT_FILE": "/nowhere",
        "LD_LIBRARY_PATH": str(libraries),
        "PYENV_VERSION": "2.7.18",
        "HOME": str(tmp_path),
        "LC_ALL": "tlh_QO.UTF-8",
    }
    return environment, mark


def output_of(command, environment):
    child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, cwd="/")
    output = child.communicate()[0].decode("utf-8")
    return child.returncode, output


CLEAN = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}


def test_a_hostile_environment_changes_nothing(traps):
    environment, mark = traps
    command = child_python() + ["-c", LOOK, TREE]
    clean = output_of(command, CLEAN)
    assert clean[0] == 0 and "possible=True" in clean[1]
    assert output_of(command, environment) == clean
    assert not mark.exists()


def test_a_hostile_environment_changes_nothing_for_csutkecat(traps):
    environment, mark = traps
    command = child_python() + [os.path.join(TREE, "hooks", "entry.py"), "CSUTKEcat", "check"]
    clean = output_of(command, CLEAN)
    assert clean[0] in (0, 78) and "Traceback" not in clean[1]
    assert output_of(command, environment) == clean
    assert not mark.exists()


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_caller_that_ignores_the_end_of_its_children_changes_nothing(handler):
    """The first process of a container may ignore SIGCHLD. Then nobody can wait for openssl."""
    command = child_python() + [os.path.join(TREE, "hooks", "entry.py"), "catcherctl", "status", "--json"]
    child = subprocess.Popen(command, env=CLEAN, stdout=subprocess.PIPE,
                             preexec_fn=lambda: signal.signal(signal.SIGCHLD, handler))
    assert json.loads(child.communicate()[0].decode("ascii"))["tls"]["possible"] is True


def test_a_caller_that_blocks_signals_has_a_process_that_it_can_end():
    """A program that blocks signals may start ours with them blocked. Then the daemon, too, could not be stopped."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        listener.settimeout(30)
        command = child_python() + [os.path.join(TREE, "hooks", "entry.py"), "catcherctl", "probe", "--timeout", "60",
                                    "127.0.0.1:%d" % listener.getsockname()[1]]
        child = subprocess.Popen(command, env=CLEAN, stdout=subprocess.DEVNULL, preexec_fn=lambda: (
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}) and None))
        with listener.accept()[0]:
            child.terminate()
            try:
                assert child.wait(timeout=10) == -signal.SIGTERM
            finally:
                child.kill()
                child.wait()


REMEMBERED_FILES = (paths.OPENSSL, "/usr/lib64/libssl.so.3", "/usr/lib64/libcrypto.so.3", openssl.LOADER_CACHE)


def test_an_answer_is_remembered_without_running_the_command(machine):
    for path in REMEMBERED_FILES[2:]:
        machine.put(path)
    first = openssl.capability(machine)
    assert len(machine.spawned) == 1
    again = openssl.capability(machine, openssl.remember(first))
    assert again == first and again.possible
    assert len(machine.spawned) == 1


@pytest.mark.parametrize("path", REMEMBERED_FILES)
@pytest.mark.parametrize("how", ["replaced", "touched", "gone"])
def test_a_changed_file_is_a_new_question(machine, path, how):
    for name in REMEMBERED_FILES[2:]:
        machine.put(name)
    memory = openssl.remember(openssl.capability(machine))
    real = machine.on_disk(path)
    if how == "touched":
        os.chmod(real, 0o755)
    else:
        data = machine.get(path)
        os.rename(real, real + ".old")
        if how == "replaced":
            machine.put(path, data, 0o755)
    machine.programs[paths.OPENSSL] = (0, OPENSSL_102)
    assert not openssl.capability(machine, memory).possible


@pytest.mark.parametrize("path", REMEMBERED_FILES)
def test_what_nobody_can_look_at_may_have_changed(machine, out_of_sight, path):
    out_of_sight(path)
    memory = openssl.remember(openssl.capability(machine))
    machine.programs[paths.OPENSSL] = (0, OPENSSL_102)
    assert not openssl.capability(machine, memory).possible


@pytest.mark.parametrize("path", openssl.POLICY_FILES)
def test_a_policy_that_nobody_can_look_at_may_have_changed(machine, out_of_sight, path):
    tls = openssl.capability(machine)
    assert openssl.is_same(openssl.policy(machine, tls), openssl.policy(machine, tls))
    out_of_sight(path)
    assert not openssl.is_same(openssl.policy(machine, tls), openssl.policy(machine, tls))


@pytest.mark.parametrize("memory", [{}, {"identity": ""}, {"identity": 1, "version": "3.0.0"}])
def test_a_memory_of_something_else_is_none(machine, memory):
    openssl.capability(machine, memory)
    assert len(machine.spawned) == 1


def test_a_memory_with_a_broken_version_is_none(machine):
    memory = dict(openssl.remember(openssl.capability(machine)), version=3)
    assert openssl.capability(machine, memory).version == "3.0.13"


def test_no_is_asked_for_again(machine):
    machine.tls_possible(False)
    assert openssl.remember(openssl.capability(machine)) is None


def test_the_start_script_clears_the_environment(traps, tmp_path):
    """hooks/run as installed, with its library in this tree and the running interpreter."""
    environment, mark = traps
    # Python needs these libraries and a shell does not, so they show whether a library path reaches Python.
    for name in ("libm.so.6", "libdl.so.2", "libutil.so.1", "libpthread.so.0", "libz.so.1", "libexpat.so.1"):
        (tmp_path / "lib" / name).write_text("not a library")
    with open(os.path.join(TREE, "hooks", "run")) as stream:
        text = stream.read()
    for name, value in (("/usr/lib/csulcca", TREE), ("/usr/bin/python3", sys.executable)):
        assert name in text
        text = text.replace(name, value)
    program = tmp_path / "CSUTKEcat"
    program.write_text("" + text)
    program.chmod(0o755)
    direct = child_python() + [os.path.join(TREE, "hooks", "entry.py"), "CSUTKEcat", "check"]
    assert output_of([str(program), "check"], environment) == output_of(direct, CLEAN)
    assert not mark.exists()


def test_the_start_script_takes_its_name_from_its_first_word_too(traps, tmp_path):
    environment, mark = traps
    program = tmp_path / "run"
    with open(os.path.join(TREE, "hooks", "run")) as stream:
        program.write_text("" + stream.read().replace("/usr/lib/csulcca", TREE))
    program.chmod(0o755)
    status, output = output_of([str(program), "CSUTKEcat", "nonsense"], environment)
    assert (status, output) == (2, "usage: CSUTKEcat start | check | stop | restart | status\n")
    assert not mark.exists()


def test_the_start_script_without_any_python_fails_with_a_hint(tmp_path):
    program = tmp_path / "CSUTKEcat"
    with open(os.path.join(TREE, "hooks", "run")) as stream:
        text = stream.read().replace("/usr/bin/python3", "/nowhere/python3").replace("/usr/libexec", "/nowhere")
    program.write_text("" + text)
    program.chmod(0o755)
    status, output = output_of([str(program), "start"], CLEAN)
    assert status == 1
    assert output.splitlines()[0].startswith("CSUTKEcat: no Python at")
    assert len(output.splitlines()) == 2
