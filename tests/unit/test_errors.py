"""The texts of errors, which one module owns."""

import errno
import os
import socket
import ssl

import pytest

from catcher_install.errors import CatcherError, reason_of

from .support import library_modules


@pytest.mark.parametrize("error,said", [
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/x"), "No space left on device"),
    (TimeoutError("openssl does not end"), "openssl does not end"),
    (ConnectionRefusedError(), "ConnectionRefusedError"),
    (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
    (UnicodeError("label too long"), "label too long"),
    (CatcherError("Job for it failed", "see why"), "Job for it failed"),
    (ssl.SSLError(1, "[SSL] wrong"), "[SSL] wrong"),
], ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "")
def test_every_error_has_a_reason(error, said):
    assert reason_of(error) == said


# judge.py is a program of its own, without the library. If the system has no text for a fault, the fault is ours.
KNOWS_BETTER = ["cert.judge", "errors", "journal"]


def test_nobody_else_looks_into_an_error():
    found = []
    for name, path in library_modules().items():
        with open(path, encoding="utf-8") as stream:
            if "strerror" in stream.read().replace("os.strerror(", ""):
                found.append(name)
    assert sorted(found) == KNOWS_BETTER
