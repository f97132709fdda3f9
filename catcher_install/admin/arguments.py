"""The command line of catcherctl: its verbs, their options, and their help."""

import argparse

from .. import config, paths
from ..cert import generate, keys
from ..errors import CatcherError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, NoReturn

# Values of options.run that are not the words of a verb.
USAGE = "usage"
VERSION = "version"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors look like all other errors: what is wrong in one line, the verb's usage, what to type."""

    fail: "Callable[[str, str], int]"

    def __init__(self, **given: "Any") -> None:
        super().__init__(**given)
        # From Python 3.14, usage has escape sequences for a terminal, and error() shows them as text.
        self.color = False

    def error(self, message: str) -> "NoReturn":
        """Print the error, the usage and a hint, and exit with status 2."""
        self.fail(message, "%s\n  %s --help" % (" ".join(self.format_usage().split()), self.prog))
        raise SystemExit(2)


def _name(text: str) -> str:
    """Return a typed host name or IP address as certificates have it."""
    from ..cert.names import canonical, require_host

    try:
        require_host(text, "")
    except CatcherError as error:
        raise argparse.ArgumentTypeError(error.message) from error
    return canonical(text)


def _target(text: str) -> str:
    """Return a typed HOST[:PORT]."""
    from ..probe.target import parse

    try:
        parse(text)
    except CatcherError as error:
        raise argparse.ArgumentTypeError("%s; %s" % (error.message, error.hint)) from error
    return text


def _key_type(text: str) -> str:
    """Return a typed key type, if it is one that we make."""
    if text not in keys.GENERATED:
        raise argparse.ArgumentTypeError("type one of %s" % ", ".join(keys.GENERATED))
    return text


def _kept(text: str) -> str:
    """Return the name of an old pair. An empty name is refused: it may come from a variable that is not set."""
    if not text:
        raise argparse.ArgumentTypeError("type a name that 'cert list' shows, or none for the newest")
    return text


def _days(text: str) -> int:
    """Return a typed validity in days."""
    days = int(text) if text.isdecimal() and len(text) < 6 else 0
    if not 1 <= days <= generate.DAYS_LIMIT:
        raise argparse.ArgumentTypeError("type a number of days between 1 and %d" % generate.DAYS_LIMIT)
    return days


def _seconds(text: str) -> float:
    """Return a typed time limit in seconds."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("a time limit is between 0 and 3600 seconds, for example 10")
    return seconds


def parser(fail: "Callable[[str, str], int]") -> argparse.ArgumentParser:
    """Return the parser of catcherctl's command line. fail: prints what is wrong and what to type.

    The parsed options are: run (the verb's words, USAGE or VERSION), changes (whether the verb changes the host),
    parser (the verb's), and the verb's own.
    """
    _Parser.fail = staticmethod(fail)
    made = _Parser(
        prog="catcherctl",
        description="Manage the TKE catcher of IBM CCA: show and change its mode, its key and its certificate.",
        epilog="Exit status: 0 success, 1 failure (of status: the catcher should serve and does not), 2 usage error, "
               "3 it works and something needs attention. "
               "More about a verb: catcherctl help VERB",
    )
    made.add_argument("--dry-run", action="store_true",
                        help="show what mode, cert generate, cert install, cert restore or apply would do, and change "
                             "nothing")
    made.add_argument("--version", dest="run", action="store_const", const=VERSION, help="show the version")
    made.set_defaults(run=USAGE, parser=made, changes=False)
    verbs = made.add_subparsers(metavar="VERB")
    _add_status(verbs)
    _add_mode(verbs)
    _add_cert(verbs)
    _add_probe(verbs)
    _add_converge(verbs)
    return made


def _verb(verbs: "Any", name: str, run: str, text: str, *examples: str) -> argparse.ArgumentParser:
    """Add a verb. run: the words for options.run. text: what it does."""
    one: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".",
        epilog="examples:\n" + "\n".join("  " + example for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.set_defaults(run=run, parser=one)
    return one


def _json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _dry_run_option(parser: argparse.ArgumentParser) -> None:
    """Add --dry-run to a verb that changes the host. It may also be typed before the verb, so it has no default here,
    which would overwrite it."""
    parser.set_defaults(changes=True)
    parser.add_argument("--dry-run", action="store_true", default=argparse.SUPPRESS,
                        help="show what this would do, and change nothing")


def _change_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a verb that changes the running catcher."""
    _dry_run_option(parser)
    parser.add_argument("--no-restart", action="store_true", help="do not restart the catcher")
    _json_option(parser)


def _name_option(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--name", action="append", default=[], type=_name, metavar="NAME", help=text)


def _add_status(verbs: "Any") -> None:
    status = _verb(verbs, "status", "status",
                   "show the mode, the service, the port, OpenSSL, the certificate, and what needs attention",
                   "catcherctl status", "catcherctl status --json")
    _json_option(status)


def _add_mode(verbs: "Any") -> None:
    mode = _verb(verbs, "mode", "mode", "show or change the mode: TLS or plain TCP",
                 "catcherctl mode         # what is set in " + paths.CONF,
                 "catcherctl mode tls     # make a key and certificate if there are none, restart, check",
                 "catcherctl mode tcp     # as in CCA 7.x")
    mode.add_argument("mode", nargs="?", choices=(config.TLS, config.TCP), help="the mode to change to")
    _change_options(mode)


def _add_cert(verbs: "Any") -> None:
    cert = _verb(verbs, "cert", USAGE, "show, check and change the key and the certificate",
                 "catcherctl cert show", "catcherctl cert install my.key my.crt")
    more = cert.add_subparsers(metavar="VERB")
    show = _verb(more, "show", "cert show", "show the installed certificate: names, validity, hashes",
                 "catcherctl cert show")
    _json_option(show)
    listed = _verb(more, "list", "cert list", "list the key and certificate in place, and the old pairs",
                   "catcherctl cert list")
    _json_option(listed)
    check = _verb(more, "check", "cert check", "check the installed key and certificate: usable, valid, for this host",
                  "catcherctl cert check", "catcherctl cert check --name catcher.example.com")
    _json_option(check)
    _name_option(check, "a name or address that the certificate must contain; may be repeated")
    generated = _verb(more, "generate", "cert generate", "make a key and a self-signed certificate, and use them",
                     "catcherctl cert generate", "catcherctl cert generate --force    # keeps a copy of the old pair",
                     "catcherctl cert generate --name catcher.example.com --key-type rsa3072 --days 825")
    generated.add_argument("--force", action="store_true", help="replace the present key and certificate; keep a copy")
    _name_option(generated, "another name or address for the certificate; may be repeated (default: those"
                 " of the present certificate, if this package made it)")
    generated.add_argument("--key-type", type=_key_type, metavar="TYPE",
                           help="%s (default: as the present key, if this package made it, else %s)" % (
                               ", ".join(keys.GENERATED), keys.GENERATED_TYPE))
    generated.add_argument("--days", type=_days, default=0, metavar="N",
                           help="how long the certificate is valid from now (default: %d years)" % generate.YEARS)
    _change_options(generated)
    request = _verb(more, "request", "cert request",
                    "make a certificate request for a CA; the catcher keeps its certificate",
                    "catcherctl cert request > catcher.csr",
                    "catcherctl cert request --out catcher.csr --name catcher.example.com")
    request.add_argument("--out", metavar="FILE", help="write the request to this new file instead of standard output")
    request.add_argument("--present-key", action="store_true", help="use the present key instead of a new key")
    _name_option(request, "another name or address for the certificate; may be repeated (default: those that"
                 " were given for the present certificate)")
    _json_option(request)
    install = _verb(
        more, "install", "cert install", "check your own key and certificate, then use them",
        "catcherctl cert install my.key my.crt",
        "catcherctl cert install my.key my.crt --name catcher.example.com",
        "catcherctl cert install signed.crt     # for the key of the last 'cert request'",
    )
    install.add_argument("key", nargs="?", metavar="KEY", help="the private key, PEM, not encrypted (default: the key "
                         "of the last 'cert request', or the present key)")
    install.add_argument("crt", metavar="CRT", help="the certificate, PEM, followed by its chain")
    _name_option(install, "the name that the TKE uses, if it is not a name of this host; may be repeated")
    _change_options(install)
    restored = _verb(more, "restore", "cert restore", "check an old key and certificate, then use them again",
                     "catcherctl cert restore                     # the pair that was replaced last",
                     "catcherctl cert restore 20261123T211200Z    # a name from 'cert list'")
    restored.add_argument("name", nargs="?", type=_kept, metavar="NAME",
                          help="the name of the old pair in 'cert list' (default: the pair that was replaced last)")
    _change_options(restored)
    export = _verb(more, "export", "cert export", "write the certificate, never the key, and its hashes to a USB stick",
                   "catcherctl cert export /mnt/usb")
    export.add_argument("directory", metavar="DIR", help="a directory on the mounted stick")
    _json_option(export)


def _add_probe(verbs: "Any") -> None:
    probe = _verb(verbs, "probe", "probe", "show what a TKE sees of a host: its certificate, or plain TCP",
                  "catcherctl probe catcher.example.com", "catcherctl probe 192.0.2.7:50003 --name catcher.example.com")
    probe.add_argument("target", metavar="HOST[:PORT]", type=_target, help="default port: %d" % paths.PORT)
    probe.add_argument("--name", type=_name, metavar="NAME", help="the Host Name/IP that you type on the TKE")
    probe.add_argument("--cafile", metavar="FILE",
                       help="verify the certificate with the CA certificates in this PEM file, and with no others")
    probe.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="limit for the whole probe (default: 10)")
    _json_option(probe)
    guide = _verb(verbs, "tke-guide", "tke_guide", "show the steps at the TKE console for this host",
                  "catcherctl tke-guide", "catcherctl tke-guide tcp")
    guide.add_argument("mode", nargs="?", choices=(config.TLS, config.TCP), help="default: the configured mode")
    _json_option(guide)


def _add_converge(verbs: "Any") -> None:
    planned = _verb(verbs, "plan", "plan", "show what 'apply' would do, and why; changes nothing",
                    "catcherctl plan", "catcherctl plan --root /mnt/image --json")
    applied = _verb(verbs, "apply", "apply", "do what is left to do on this host",
                    "catcherctl apply", "catcherctl apply --root /mnt/image")
    _dry_run_option(applied)
    for one in (planned, applied):
        one.add_argument("--root", default="/", metavar="DIR", help="use the installed system below this directory")
        _json_option(one)
