"""catcherctl: the administrator's command. The only module that prints reports and decides exit statuses for them.

Exit status: 0 fine, 1 failed, 2 usage, 3 works but a finding needs attention.
"""

import argparse
import sys
import warnings

from .. import actions, apply, config, messages, paths, plan, report, transition
from ..errors import CatcherError
from ..facts import collect
from ..host import Host, forget_openssl_settings
from ..text import json_text, plain, shown

MYPY = False
if MYPY:
    from typing import Any, Callable, Dict, Iterable, List, NoReturn

JSON_FORMAT = 1
FAILED = 1
USAGE = 2
ATTENTION = 3
# Of a line of an error: beyond it there is only what somebody typed or sent.
LINE_LIMIT = 600
AS_ROOT = "run it as root: sudo catcherctl ..."
# What root is refused is seldom a matter of permissions.
IMMUTABLE = "if it is immutable (lsattr %s), make it writable: chattr -i"


def main(arguments: "List[str]") -> int:
    """arguments: without the program's name. Returns the exit status; never a traceback for what a user may do.

    Raises SystemExit (2) for what is not understood, as argparse does, and SystemExit (0) for --help.
    """
    forget_openssl_settings()
    # What a library thinks of this Python is nothing to an administrator.
    warnings.simplefilter("ignore")
    try:
        try:
            options = _parser().parse_args(arguments)
            if options.dry_run and not options.changes:
                raise CatcherError("--dry-run is for the verbs mode, cert install, cert generate and apply",
                                   "catcherctl --dry-run mode tls")
            status = options.run(options)
        finally:
            # Here, since a failure at the interpreter's end could not be caught.
            sys.stdout.flush()
    except CatcherError as error:
        return _fail(error.message, error.hint)
    except BrokenPipeError:
        # The reader (head, a pager) has seen enough.
        return FAILED
    except OSError as error:
        # Of a rename the second name is the file's own; the first is that of its draft.
        name = shown(str(error.filename2 or error.filename or "system"))
        hint = "see what is wrong:\n  catcherctl status"
        if isinstance(error, PermissionError):
            hint = IMMUTABLE % name if Host().is_ours() else AS_ROOT
        return _fail("%s: %s" % (name, error.strerror), hint)
    except KeyboardInterrupt:
        return _fail("interrupted", "see what is wrong:\n  catcherctl status")
    except Exception as error:  # noqa: BLE001 - a fault of ours is one line, and its story goes to the journal
        from ..journal import log_fault

        log_fault(error)
        return FAILED
    return int(status)


def _fail(message: str, hint: str) -> int:
    """Say in one line what is wrong, and below it what to do, whatever names and bytes of others are in them."""
    sys.stderr.write("catcherctl: %s\n" % shown(message, LINE_LIMIT))
    for line in report.hint(hint).split("\n") if hint else []:
        sys.stderr.write("  %s\n" % shown(line, LINE_LIMIT))
    return FAILED


def _print(lines: "Iterable[str]") -> None:
    for line in lines:
        sys.stdout.write(plain(line) + "\n")


def _print_json(fields: "Dict[str, Any]") -> None:
    _print(json_text(fields).split("\n"))


def _print_findings(found: "List[messages.Finding]") -> None:
    for one in found:
        _print(report.finding_lines(one))


# -- the command line --------------------------------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    """One line that says what is wrong and one with what to type, as everywhere."""

    def error(self, message: str) -> "NoReturn":
        """Say it, and end with USAGE."""
        _fail(message, "see: %s --help" % self.prog)
        raise SystemExit(USAGE)


def _name(text: str) -> str:
    """A host name or an IP address."""
    from ..cert.names import require_host

    try:
        require_host(text, "")
    except CatcherError as error:
        raise argparse.ArgumentTypeError(error.message) from error
    return text


def _target(text: str) -> str:
    """HOST[:PORT]."""
    from ..probe.target import parse

    try:
        parse(text)
    except CatcherError as error:
        raise argparse.ArgumentTypeError("%s; %s" % (error.message, error.hint)) from error
    return text


def _seconds(text: str) -> float:
    """A time limit."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise argparse.ArgumentTypeError("a time limit is between 0 and 3600 seconds, for example 10")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="catcherctl",
        description="Show and change the CCA TKE catcher: its mode, its key and certificate, its service.",
        epilog="Exit status: 0 success, 1 failure, 2 usage error, 3 it works and something needs attention. "
               "More about a verb: catcherctl VERB --help",
    )
    parser.add_argument("--dry-run", action="store_true",
                        help="show what mode, cert install, cert generate or apply would do, and change nothing")
    parser.set_defaults(run=lambda options: _usage(parser), changes=False)
    verbs = parser.add_subparsers(metavar="VERB")
    _add_status(verbs)
    _add_mode(verbs)
    _add_cert(verbs)
    _add_probe(verbs)
    _add_converge(verbs)
    return parser


def _verb(verbs: "Any", name: str, run: object, text: str, *examples: str) -> argparse.ArgumentParser:
    """Add a verb: what it does, and examples."""
    one: argparse.ArgumentParser = verbs.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".",
        epilog="examples:\n" + "\n".join("  " + example for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    one.set_defaults(run=run)
    return one


def _usage(parser: argparse.ArgumentParser) -> int:
    parser.print_help(sys.stderr)
    return USAGE


def _json_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _change_options(parser: argparse.ArgumentParser) -> None:
    """Of a verb that changes the running catcher."""
    parser.set_defaults(changes=True)
    parser.add_argument("--no-restart", action="store_true", help="do not restart the catcher")


def _name_option(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--name", action="append", default=[], type=_name, metavar="NAME", help=text)


def _add_status(verbs: "Any") -> None:
    status = _verb(verbs, "status", _status, "show mode, service, port, OpenSSL, pair, and what needs attention",
                   "catcherctl status", "catcherctl status --json")
    _json_option(status)


def _add_mode(verbs: "Any") -> None:
    mode = _verb(verbs, "mode", _mode, "show or change the mode: TLS or plain TCP",
                 "catcherctl mode         # what is set in " + paths.CONF,
                 "catcherctl mode tls     # make a pair if there is none, restart, verify",
                 "catcherctl mode tcp     # as in CCA 7.x")
    mode.add_argument("mode", nargs="?", choices=(config.TLS, config.TCP), help="the mode to change to")
    _change_options(mode)
    _json_option(mode)


def _add_cert(verbs: "Any") -> None:
    cert = _verb(verbs, "cert", None, "show, check and change the key and the certificate",
                 "catcherctl cert show", "catcherctl cert install my.key my.crt")
    cert.set_defaults(run=lambda options: _usage(cert))
    more = cert.add_subparsers(metavar="VERB")
    show = _verb(more, "show", _cert_show, "show the installed certificate: names, validity, hashes",
                 "catcherctl cert show")
    _json_option(show)
    check = _verb(more, "check", _cert_check, "check the installed pair: usable, valid, not expired, for this host",
                  "catcherctl cert check", "catcherctl cert check --name catcher.example.com")
    _json_option(check)
    _name_option(check, "a name or address that the certificate must contain; may be repeated")
    generate = _verb(more, "generate", _cert_generate, "make a key and a self-signed certificate, and use them",
                     "catcherctl cert generate", "catcherctl cert generate --force    # keeps a copy of the old pair")
    generate.add_argument("--force", action="store_true", help="replace an existing pair, and keep a copy of it")
    _change_options(generate)
    request = _verb(more, "request", _cert_request, "make a certificate request for a CA; the catcher keeps its pair",
                    "catcherctl cert request > catcher.csr",
                    "catcherctl cert request --out catcher.csr --name catcher.example.com")
    request.add_argument("--out", metavar="FILE", help="write the request to this new file instead of standard output")
    request.add_argument("--present-key", action="store_true", help="use the present key instead of a new key")
    _name_option(request, "another name or address for the certificate; may be repeated")
    install = _verb(
        more, "install", _cert_install, "check your own key and certificate, then use them",
        "catcherctl cert install my.key my.crt",
        "catcherctl cert install my.key my.crt --name catcher.example.com",
        "catcherctl cert install signed.crt     # for the key of the last 'cert request'",
    )
    install.add_argument("key", nargs="?", metavar="KEY", help="the private key, PEM, not encrypted")
    install.add_argument("crt", metavar="CRT", help="the certificate, PEM, followed by its chain")
    _name_option(install, "the name that the TKE uses, if it is not a name of this host; may be repeated")
    _change_options(install)
    export = _verb(more, "export", _cert_export, "write the certificate, never the key, and its hashes to a USB stick",
                   "catcherctl cert export /mnt/usb")
    export.add_argument("directory", metavar="DIR", help="a directory on the mounted stick")


def _add_probe(verbs: "Any") -> None:
    probe = _verb(verbs, "probe", _probe, "show what a TKE sees of a host: its certificate, or plain TCP",
                  "catcherctl probe catcher.example.com", "catcherctl probe 192.0.2.7:50003 --name catcher.example.com")
    probe.add_argument("target", metavar="HOST[:PORT]", type=_target, help="default port: %d" % paths.PORT)
    probe.add_argument("--name", type=_name, metavar="NAME", help="the Host Name/IP that you type on the TKE")
    probe.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="limit for the whole probe (default: 10)")
    _json_option(probe)
    guide = _verb(verbs, "tke-guide", _tke_guide, "show the steps at the TKE console for this host",
                  "catcherctl tke-guide", "catcherctl tke-guide tcp")
    guide.add_argument("mode", nargs="?", choices=(config.TLS, config.TCP), help="default: the configured mode")
    _json_option(guide)


def _add_converge(verbs: "Any") -> None:
    planned = _verb(verbs, "plan", _plan, "show what 'apply' would do, and why; changes nothing",
                    "catcherctl plan", "catcherctl plan --root /mnt/image --json")
    applied = _verb(verbs, "apply", _apply, "do what is left to do on this host",
                    "catcherctl apply", "catcherctl apply --root /mnt/image")
    applied.set_defaults(changes=True)
    for one in (planned, applied):
        one.add_argument("--root", default="/", metavar="DIR", help="use the installed system below this directory")
        _json_option(one)


# -- the verbs ---------------------------------------------------------------------------------------------------------


def _host(root: str) -> Host:
    """The system below a root directory, which has this package."""
    hint = "name the root directory of an installed system"
    try:
        host = Host(root or "/nonexistent")
    except OSError as error:
        raise CatcherError("%s is not a directory" % (shown(root) or "an empty name"), hint) from error
    if not host.is_dir(paths.LIBRARY):
        raise CatcherError("csulcca is not installed in %s" % shown(root), "install the package there first")
    return host


def _own_host() -> Host:
    """The running system, for a verb that changes it: only root may."""
    host = _host("/")
    if not host.is_ours():
        raise CatcherError("only root may change this host", AS_ROOT)
    return host


def _plan(options: argparse.Namespace) -> int:
    return _tell_plan(options, plan.plan(collect(_host(options.root)), transition.of(transition.APPLY)))


def _foresee(options: argparse.Namespace, asked: "Callable[[Host], transition.Transition]") -> int:
    """What a verb would do, for --dry-run. asked: the verb's transition on a host."""
    from . import change

    host = _own_host()
    return _tell_plan(options, change.foresee(host, asked(host)))


def _tell_plan(options: argparse.Namespace, planned: "actions.Plan") -> int:
    if getattr(options, "json", False):
        _print_json(_plan_fields(planned))
    else:
        _print(report.plan_lines(planned))
        _print_findings(planned.findings)
    return apply.exit_status(planned.findings)


def _plan_fields(planned: "actions.Plan") -> "Dict[str, Any]":
    """The fields of ``plan --json``: format_version; history ("fresh", "legacy upgrade", "8.x upgrade"); mode ("tls",
    "tcp", or null where undecided) that catcher.conf has afterwards; actions in order, each with kind, why and data
    (the new text of catcher.conf, or null); findings: id, severity, message, fix."""
    return {
        "format_version": JSON_FORMAT,
        "history": planned.history,
        "mode": planned.mode,
        "actions": [
            {"kind": action.kind, "why": action.why, "data": action.text()}
            for action in planned.actions
        ],
        "findings": [report.finding_fields(one) for one in planned.findings],
    }


def _apply(options: argparse.Namespace) -> int:
    if options.dry_run:
        return _plan(options)
    host = _host(options.root) if options.root != "/" else _own_host()
    outcome = apply.converge(host, transition.of(transition.APPLY))
    if options.json:
        _print_json(_done_fields(outcome.done, outcome.findings))
    else:
        _print(["done: " + kind for kind in outcome.done] or ["Nothing to do."])
        _print_findings(outcome.findings)
    return apply.exit_status(outcome.findings)


def _done_fields(done: "List[str]", found: "List[messages.Finding]") -> "Dict[str, Any]":
    """The fields of ``apply --json``: format_version; done: the kinds of actions that were carried out, in order;
    findings: id, severity, message, fix."""
    return {"format_version": JSON_FORMAT, "done": done,
            "findings": [report.finding_fields(one) for one in found]}


def _mode(options: argparse.Namespace) -> int:
    host = Host()
    lines: List[str] = []
    found: List[messages.Finding] = []
    if options.mode is None:
        conf = collect(host).config
        status = 0 if conf.state in (config.TLS, config.TCP) else ATTENTION
        names = {config.TLS: "tls", config.TCP: "tcp", config.UNSET: "not set", config.ABSENT: "not set"}
        told = [names.get(conf.state, "unusable: " + conf.problem)]
    else:
        from .mode import asked, set_mode

        if options.dry_run:
            return _foresee(options, lambda host: asked(options.mode))
        lines, found = set_mode(_own_host(), options.mode, restart=not options.no_restart)
        status = apply.exit_status(found)
        conf = collect(host).config
        told = lines
    if options.json:
        _print_json(_mode_fields(conf, lines, found))
    else:
        _print(told)
        _print_findings(found)
    return status


def _mode_fields(conf: "config.Config", lines: "List[str]", found: "List[messages.Finding]") -> "Dict[str, Any]":
    """The fields of ``mode --json``: format_version; configured: "tls", "tcp", or null where catcher.conf sets none;
    problem: why catcher.conf cannot be used, or null; done: lines on what was changed; findings: id, severity, message,
    fix."""
    return dict(_done_fields(lines, found), configured=conf.state if conf.state in (config.TLS, config.TCP) else None,
                problem=conf.problem or None)


def _report(lines: "List[str]", found: "List[messages.Finding]") -> int:
    _print(lines)
    _print_findings(found)
    return apply.exit_status(found)


def _status(options: argparse.Namespace) -> int:
    from . import status

    seen = status.collect_status(Host())
    if options.json:
        _print_json(seen)
    else:
        _print(status.lines(seen))
    return ATTENTION if any(one["severity"] != messages.INFO for one in seen["findings"]) else 0


def _cert_show(options: argparse.Namespace) -> int:
    from . import installed_pair

    shown = installed_pair.show(Host())
    if options.json:
        _print_json(shown)
    else:
        _print(installed_pair.show_lines(shown))
    return 0


def _cert_check(options: argparse.Namespace) -> int:
    from . import installed_pair

    shown, found = installed_pair.check(Host(), options.name)
    if options.json:
        _print_json(dict(shown, findings=[report.finding_fields(one) for one in found]))
    else:
        _print(installed_pair.show_lines(shown))
        _print_findings(found)
        if not found:
            _print(["Nothing needs attention."])
    failed = any(messages.severity(one) == messages.ERROR for one in found)
    return FAILED if failed else apply.exit_status(found)


def _cert_generate(options: argparse.Namespace) -> int:
    from . import cert_install

    if options.dry_run:
        return _foresee(options, lambda host: cert_install.asked_to_generate(options.force))
    return _report(*cert_install.generate(_own_host(), options.force, not options.no_restart))


def _cert_request(options: argparse.Namespace) -> int:
    from . import cert_request

    data, lines = cert_request.request(_own_host(), options.name, options.present_key, options.out)
    if options.out is None:
        # What is redirected into a file must be the request alone.
        _print(data.decode("ascii").splitlines())
        sys.stdout.flush()
        sys.stderr.write("".join(plain(line) + "\n" for line in lines))
    else:
        _print(lines)
    return 0


def _cert_install(options: argparse.Namespace) -> int:
    from . import cert_install

    files = [options.crt] if options.key is None else [options.key, options.crt]
    if options.dry_run:
        return _foresee(options, lambda host: cert_install.asked_to_install(host, files, options.name))
    return _report(*cert_install.install(_own_host(), files, options.name, not options.no_restart))


def _cert_export(options: argparse.Namespace) -> int:
    from . import cert_export

    _print(cert_export.export(Host(), options.directory))
    return 0


def _probe(options: argparse.Namespace) -> int:
    from ..probe import probe
    from ..probe import report as probe_report

    result = probe.probe(options.target, options.name, options.timeout or probe.TIMEOUT, Host())
    if options.json:
        _print_json(dict(probe_report.fields(result), format_version=JSON_FORMAT))
    else:
        _print(probe_report.lines(result))
    return probe_report.exit_status(result)


def _tke_guide(options: argparse.Namespace) -> int:
    from . import tke_guide

    facts = tke_guide.collect(Host())
    if options.json:
        _print_json(dict(tke_guide.fields(options.mode, facts), format_version=JSON_FORMAT))
    else:
        _print(tke_guide.guide(options.mode, facts))
    return 0
