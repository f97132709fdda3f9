"""The start: first everything that may refuse it, then the server."""

import os
import signal
import socket

from .certificate import RSA_RECOMMENDED
from .log import ERROR, WARNING, Log, summary
from .pair import Pair
from .ports import backend_addresses, backend_name, listen
from .process import allow_descriptors, leave_no_core, show_as
from .refusal import EX_FAILED, EX_USAGE, Refused
from .server import Server
from .settings import CONF, CONF_VARIABLE, Settings


def serve(argv, log):
    """Start, and serve until stopped. Raises Refused."""
    tls = argv[1:] == ["-tls"]
    if not tls and argv[1:]:
        raise Refused(EX_USAGE, "usage: catcher.exe [-tls]", None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    program = os.path.abspath(argv[0])
    show_as([program] + argv[1:], log)
    settings = Settings(os.environ.get(CONF_VARIABLE) or CONF)
    leave_no_core()
    pair = Pair(os.path.dirname(program)) if tls else None
    if pair:
        pair.try_out(pair.context())
    allow_descriptors(settings)
    backends = backend_addresses(settings, log)
    listeners = listen(settings, log)
    server = Server(settings, log, listeners, backends, pair.context if pair else None)
    if pair and pair.is_small():
        log(WARNING, "the key is RSA of %d bits; use %d or more" % (pair.bits, RSA_RECOMMENDED))
    server.run("listening on port %d (%s), %s, %s" % (
        settings.port, " and ".join("IPv6" if sock.family == socket.AF_INET6 else "IPv4" for sock in listeners),
        "TLS 1.2 or newer, key %s" % pair.kind if pair else "TCP without TLS",
        backend_name(settings)))


def main(argv):
    """Run the catcher and return its exit status. A failure logs a line that says what is wrong, and, if that helps,
    a line that says what to type."""
    log = Log()
    try:
        serve(argv, log)
    except Refused as refused:
        log(ERROR, refused.line)
        if refused.hint:
            log(ERROR, refused.hint)
        return refused.status
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:  # noqa: BLE001 - one line in the log instead of a traceback
        log(ERROR, "unexpected error: " + summary(error))
        return EX_FAILED
    return 0
