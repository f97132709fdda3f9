"""reference-catcher.conf."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reference_catcher.refusal import Refused
from reference_catcher.settings import Settings

from .process import PATIENCE, PAYLOAD


@pytest.mark.parametrize("text, said", [
    ("backend", "line 1: not one of backend=, handshake_timeout="),
    ("# fine\n\ncolour=red", "line 3: not one of"),
    ("port=1\nport=1", "line 2: port= is set a second time"),
    ("port=70000", "line 1: port= must be a number from 1 to 65535"),
    # A shell, which looks for the port, too, takes each of these for another number.
    ("port=+50004", "line 1: port= must be a number"),
    ("port=050004", "line 1: port= must be a number"),
    ("port=5_00_04", "line 1: port= must be a number"),
    ("port=\u0665\u0660\u0660\u0660\u0664", "line 1: port= must be a number"),
    ("port\u00a0=50004", "line 1: not one of"),
    ("# fine\n# a\rport=50004\r", "line 2: has a line end that is neither LF nor CR LF"),
    ("# a\u2028port=50004", "line 1: has a line end that is neither LF nor CR LF"),
    ("port=50004\x0b# a", "line 1: has a line end that is neither LF nor CR LF"),
    ("max_connections=0", "max_connections= must be a number from 1 to 4096"),
    ("idle_timeout=nan", "idle_timeout= must be a number from 0.1 to 86400"),
    ("handshake_timeout=1e9", "handshake_timeout= must be a number"),
    ("backend=nowhere", "backend= must be HOST:PORT"),
    ("backend=unix:relative", "backend= must be HOST:PORT"),
    # Without brackets, the end of an address would be taken for the port, and the rest for another address.
    ("backend=2001:db8::5:1234", "backend= must be HOST:PORT, [ADDRESS]:PORT"),
    ("backend=2001:db8::7", "backend= must be HOST:PORT, [ADDRESS]:PORT"),
    ("backend=[2001:db8::7]", "backend= must be HOST:PORT, [ADDRESS]:PORT"),
    ("backend=host:0", "backend= must be a number from 1 to 65535"),
    ("backend=/" + "x" * 107, "backend= is a longer path than a socket may have"),
    ("backend=/a\0b", "backend= contains a NUL character"),
    ("backend=a..b:1", "backend= is not a name that can be looked up"),
    ("backend=%s:1" % ("a" * 70), "backend= is not a name that can be looked up"),
    ("backend=%s:1" % ("\u00e4" * 64), "backend= is not a name that can be looked up"),
    ("listen=localhost", "listen= must be numeric addresses"),
    ("listen=fe80::1%a..b", "listen= must be numeric addresses"),
    ("listen=fe80::1%" + "a" * 70, "listen= must be numeric addresses"),
    ("listen=fe80::1%a\0", "listen= contains a NUL character"),
    ("\x00\x01\x02", "line 1: not one of"),
])
def test_a_bad_configuration_file_is_refused_with_the_reason(refusal, text, said):
    log = refusal(78, text=text)
    assert said in log and "systemctl restart CSUTKEcat" in log


def test_a_configuration_file_that_is_none(tmp_path, program):
    for make, said in ((os.mkdir, "cannot be read: Is a directory"), (os.mkfifo, "is not a regular file"),
                       (lambda path: Path(path).write_bytes(b"\xff\xfe"), "is not text in UTF-8"),
                       (lambda path: Path(path).write_bytes(b"#" * 70000), "is larger than 65536 bytes")):
        path = tmp_path / "other.conf"
        make(path)
        catcher = subprocess.run([sys.executable, "-I", program], env={"REFERENCE_CATCHER_CONF": str(path)}, text=True,
                                 capture_output=True, timeout=PATIENCE)
        assert catcher.returncode == 78 and said in catcher.stderr, catcher.stderr
        assert len(catcher.stderr.splitlines()) == 2
        path.rmdir() if path.is_dir() else path.unlink()


def test_a_configuration_file_on_a_file_system_that_is_not_mounted_yet(tmp_path):
    """Without its settings the catcher would listen on addresses that it must not use. systemd tries again."""
    (tmp_path / "link").symlink_to(tmp_path / "data" / "conf")
    with pytest.raises(Refused) as refused:
        Settings(str(tmp_path / "link"))
    assert refused.value.status == 1 and "is a link that leads nowhere" in refused.value.line


def test_the_default_port_is_50003():
    assert Settings("/nonexistent").port == 50003


@pytest.fixture
def keys(tmp_path):
    """Every key, as the catcher lists them."""
    (tmp_path / "conf").write_text("nothing\n")
    with pytest.raises(Refused) as refused:
        Settings(str(tmp_path / "conf"))
    return re.findall(r"(\w+)=", refused.value.line)


def test_the_manual_page_explains_each_key_and_no_other(keys):
    page = (PAYLOAD / "usr/share/man/man5/reference-catcher.conf.5").read_text()
    assert sorted(re.findall(r"(?m)^\.It Cm (\w+)$", page)) == keys
    assert len(keys) == 8


def test_the_template_has_each_key_with_its_default(tmp_path, keys):
    template = (PAYLOAD / "usr/share/csulcca/reference-catcher.conf").read_text()
    lines = re.findall(r"(?m)^#(\w+=.+)$", template)
    assert sorted(line.partition("=")[0] for line in lines) == keys
    assert not re.search(r"(?m)^[^#\n]", template)
    for text in ("\n".join(line for line in lines if not line.startswith("backend=")), template):
        (tmp_path / "conf").write_text(text)
        found, default = vars(Settings(str(tmp_path / "conf"))), vars(Settings("/nonexistent"))
        for values in (found, default):
            del values["path"], values["given"]
        assert found == default
