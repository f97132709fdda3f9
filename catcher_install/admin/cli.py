"""catcherctl: the administrator's command. The only module that prints reports and decides their exit statuses.

Exit status: 0 success, 1 failure (of status: the catcher should serve and does not), 2 usage error, 3 it works and a
finding needs attention.
"""

import sys
import warnings

from .. import actions, apply, config, journal, messages, paths, report, transition
from ..errors import AS_ROOT, CatcherError, reason_of
from ..facts import collect, require_all_seen, version_of
from ..host import Host, forget_openssl_settings
from ..text import json_text, plain, shown
from .arguments import USAGE, VERSION, parser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Namespace
    from typing import Any, Callable, Dict, Iterable, List, Optional

FAILED = 1
MISTYPED = 2
ATTENTION = 3
# The length of a line of an error. A longer line only repeats typed or received text.
LINE_LIMIT = 600
# If even root is refused, the usual cause is the immutable attribute, not permissions.
IMMUTABLE = "if it is immutable (lsattr %s), make it writable: chattr -i"


def main(arguments: "List[str]") -> int:
    """Run catcherctl and return the exit status. arguments: without the program's name.

    Like argparse, raises SystemExit: 2 for arguments that are not understood, 0 for --help.
    """
    forget_openssl_settings()
    # Warnings of libraries about this Python do not help an administrator.
    warnings.simplefilter("ignore")
    try:
        try:
            if arguments[:1] == ["help"]:
                arguments = arguments[1:] + ["--help"]
            options, unknown = parser(_fail).parse_known_args(arguments)
            if unknown:
                options.parser.error("unrecognized arguments: %s" % " ".join(unknown))
            if options.dry_run and not options.changes:
                options.parser.error("--dry-run works only with mode, cert install, cert generate, cert restore, apply")
            status = VERBS[options.run](options)
        finally:
            # A failure when the interpreter ends could not be caught.
            sys.stdout.flush()
    except CatcherError as error:
        return _fail(error.message, _with_arguments(error.hint, arguments))
    except BrokenPipeError:
        # The reader (head, a pager) has seen enough.
        return FAILED
    except OSError as error:
        # In a rename, the first name is that of the draft and the second one that of the file.
        name = shown(str(error.filename2 or error.filename or "system"))
        hint = "see what is wrong:\n  catcherctl status"
        if isinstance(error, PermissionError):
            hint = IMMUTABLE % name if Host().is_root() else _with_arguments(AS_ROOT, arguments)
        return _fail("%s: %s" % (name, reason_of(error)), hint)
    except KeyboardInterrupt:
        return _fail("interrupted", "see what is wrong:\n  catcherctl status")
    except Exception as error:  # noqa: BLE001 - a fault of ours: one line here, the traceback in the journal
        from ..journal import log_fault

        log_fault(error)
        return FAILED
    return int(status)


def _with_arguments(hint: str, arguments: "List[str]") -> str:
    """Return the hint; behind AS_ROOT it gets the arguments that were typed."""
    if AS_ROOT not in hint:
        return hint
    import shlex

    return hint.replace(AS_ROOT, " ".join([AS_ROOT] + [shlex.quote(one) for one in arguments]))


def _fail(message: str, hint: str) -> int:
    """Print one line that says what is wrong, and below it what to do. Returns FAILED. The texts may be untrusted."""
    sys.stderr.write("catcherctl: %s\n" % shown(message, LINE_LIMIT))
    for line in report.hint(hint).split("\n") if hint else []:
        sys.stderr.write("  %s\n" % shown(line, LINE_LIMIT))
    return FAILED


def _print(lines: "Iterable[str]") -> None:
    for line in lines:
        sys.stdout.write(plain(line) + "\n")


def _print_json(fields: "Dict[str, Any]") -> None:
    _print(json_text(fields).split("\n"))


def _tell(options: "Namespace", fields: "Dict[str, Any]", lines: "Callable[[Dict[str, Any]], Iterable[str]]") -> None:
    """Print the result of a verb, as JSON or as text. lines: makes the text from the fields."""
    if options.json:
        _print_json(fields)
    else:
        _print(lines(fields))


def _print_findings(found: "List[messages.Finding]", root: str = "/") -> None:
    if found and root != "/":
        _print(["The paths and commands below are those of the system in %s." % shown(root)])
    for one in found:
        _print(report.finding_lines(one))


# -- the verbs ---------------------------------------------------------------------------------------------------------


def _host(root: str) -> Host:
    """Return the system below a root directory. Raises CatcherError if this package is not installed in it."""
    hint = "name the root directory of an installed system"
    try:
        host = Host(root or "/nonexistent")
    except OSError as error:
        raise CatcherError("%s is not a directory" % (shown(root) or "an empty name"), hint) from error
    if not host.is_dir(paths.LIBRARY):
        raise CatcherError("csulcca is not installed in %s" % shown(root), "install the package there first")
    return host


def _own_host() -> Host:
    """Return the running system, for a verb that changes it. Raises CatcherError for anybody but root."""
    host = _host("/")
    if not host.is_root():
        raise CatcherError("only root may change this host", AS_ROOT)
    return host


def _plan(options: "Namespace") -> int:
    from .installed_pair import planned

    host = _host(options.root)
    require_all_seen(host, "a plan", AS_ROOT)
    return _tell_plan(options, host, planned(host, collect(host)))


def _foresee(options: "Namespace", asked: "Callable[[Host], transition.Transition]") -> int:
    """Print what a verb would do, for --dry-run. asked: returns the verb's transition on a host."""
    from . import change

    host = _host("/")
    require_all_seen(host, "a plan", AS_ROOT)
    wanted = asked(host)
    planned, use = change.foresee(host, wanted, not options.no_restart)
    status = _tell_plan(options, host, planned)
    if not options.json:
        _print([use])
    return status


def _tell_plan(options: "Namespace", host: Host, planned: "actions.Plan") -> int:
    if any(action.makes_pair() for action in planned.actions):
        from ..cert.host_names import address_findings

        planned = planned.replace(findings=planned.findings + address_findings(host))
    if getattr(options, "json", False):
        _print_json(report.plan_fields(planned))
    else:
        _print(report.plan_lines(planned))
        _print_findings(planned.findings, getattr(options, "root", "/"))
    return report.exit_status(planned.findings)


def _apply(options: "Namespace") -> int:
    if options.dry_run:
        return _plan(options)
    host = _host(options.root) if options.root != "/" else _own_host()
    outcome = apply.converge(host, transition.of(transition.APPLY))
    changed = report.change_line(outcome)
    if changed:
        journal.record(host, "apply: " + changed)
    if options.json:
        _print_json(report.done_fields(outcome.done, outcome.findings))
    else:
        _print(report.done_lines(outcome.plan, outcome.done))
        _print_findings(outcome.findings, options.root)
    return report.exit_status(outcome.findings)


def _mode(options: "Namespace") -> int:
    from .mode import asked, read_mode, set_mode

    host = Host()
    lines: List[str] = []
    found: List[messages.Finding] = []
    if options.mode is None:
        conf = read_mode(host)
        status = 0 if conf.mode else ATTENTION
        told = [conf.mode or ("unusable: " + conf.problem if conf.problem else "not set")]
    else:
        if options.dry_run:
            return _foresee(options, lambda host: asked(options.mode))
        lines, found = set_mode(_own_host(), options.mode, restart=not options.no_restart)
        status = _attention(found)
        conf = collect(host).config
        told = lines
    if options.json:
        _print_json(_mode_fields(conf, lines, found))
    else:
        _print(told)
        _print_findings(found)
    return status


def _mode_fields(conf: "config.Config", lines: "List[str]", found: "List[messages.Finding]") -> "Dict[str, Any]":
    """Return the fields of ``mode --json``: format_version; configured: "tls", "tcp", or null if catcher.conf sets
    none; problem: why catcher.conf cannot be used, or null; done: lines on what was changed; findings: id, severity,
    message, fix."""
    return dict(report.done_fields(lines, found), configured=conf.mode, problem=conf.problem or None)


def _attention(found: "List[messages.Finding]") -> int:
    """Return the exit status of a change that was made. Findings cannot make it a failure any more."""
    return ATTENTION if any(messages.needs_attention(one) for one in found) else 0


def _tell_change(
    options: "Namespace", lines: "List[str]", found: "List[messages.Finding]", request: "Optional[str]" = None
) -> int:
    """Print what a verb of cert did, and return its exit status. request: a certificate request, if it was not written
    to a file.

    The fields of its ``--json``: format_version; done: lines on what was done; sha256: of the certificate that is now
    in place, or null; request: see above, or null; findings: id, severity, message, fix.
    """
    if options.json:
        from . import installed_pair

        chain = installed_pair.installed(Host()).chain
        _print_json(dict(report.done_fields(lines, found), sha256=chain[0].sha256 if chain else None, request=request))
    else:
        _print(lines)
        _print_findings(found)
    return _attention(found)


def _status(options: "Namespace") -> int:
    from . import status

    seen = status.collect_status(Host())
    _tell(options, seen, status.lines)
    return status.exit_status(seen)


def _cert_show(options: "Namespace") -> int:
    from . import installed_pair

    _tell(options, installed_pair.show(Host()), installed_pair.show_lines)
    return 0


def _cert_list(options: "Namespace") -> int:
    from . import cert_list

    _tell(options, cert_list.collect(Host()), cert_list.lines)
    return 0


def _cert_check(options: "Namespace") -> int:
    from . import installed_pair

    told, found = installed_pair.check(Host(), options.name)
    if options.json:
        _print_json(dict(told, findings=[report.finding_fields(one) for one in found]))
    else:
        _print(installed_pair.show_lines(told))
        _print_findings(found)
        if not found:
            _print(["Nothing needs attention."])
    bad_or_unchecked = any(messages.severity(one) == messages.ERROR or one["id"] == "pair-unchecked" for one in found)
    return FAILED if bad_or_unchecked else report.exit_status(found)


def _cert_generate(options: "Namespace") -> int:
    from ..cert.generate import Wish
    from . import cert_install

    wish = Wish(names=options.name, key_type=options.key_type or "", days=options.days)
    if options.dry_run:
        return _foresee(options, lambda host: cert_install.asked_to_generate(host, options.force, wish))
    return _tell_change(options, *cert_install.generate(_own_host(), options.force, not options.no_restart, wish))


def _cert_request(options: "Namespace") -> int:
    from . import cert_request

    data, lines = cert_request.request(_own_host(), options.name, options.present_key, options.out)
    if options.json:
        return _tell_change(options, lines, [], data.decode("ascii") if options.out is None else None)
    if options.out is None:
        # Standard output may be redirected into a file, so it gets the request alone.
        _print(data.decode("ascii").splitlines())
        sys.stdout.flush()
        sys.stderr.write("".join(plain(line) + "\n" for line in lines))
    else:
        _print(lines)
    return 0


def _cert_install(options: "Namespace") -> int:
    from . import cert_install

    files = [options.crt] if options.key is None else [options.key, options.crt]
    if options.dry_run:
        return _foresee(options, lambda host: cert_install.asked_to_install(host, files, options.name))
    return _tell_change(options, *cert_install.install(_own_host(), files, options.name, not options.no_restart))


def _cert_restore(options: "Namespace") -> int:
    from . import cert_install

    if options.dry_run:
        return _foresee(options, lambda host: cert_install.asked_to_restore(host, options.name or ""))
    return _tell_change(options, *cert_install.restore(_own_host(), options.name or "", not options.no_restart))


def _cert_export(options: "Namespace") -> int:
    from . import cert_export

    return _tell_change(options, cert_export.export(Host(), options.directory), [])


def _probe(options: "Namespace") -> int:
    from ..probe import probe
    from ..probe import report as probe_report

    result = probe.probe(options.target, options.name, options.timeout or probe.TIMEOUT, Host(), options.cafile)
    if options.json:
        _print_json(dict(probe_report.fields(result), format_version=report.JSON_FORMAT))
    else:
        _print(probe_report.lines(result))
    return probe_report.exit_status(result)


def _tke_guide(options: "Namespace") -> int:
    from . import tke_guide

    facts = tke_guide.collect(Host())
    if options.json:
        _print_json(dict(tke_guide.fields(options.mode, facts), format_version=report.JSON_FORMAT))
    else:
        _print(tke_guide.guide(options.mode, facts))
    return 0


def _usage(options: "Namespace") -> int:
    options.parser.print_help(sys.stderr)
    return MISTYPED


def _version(options: "Namespace") -> int:
    _print(["catcherctl (csulcca) %s" % version_of(Host())])
    return 0


VERBS = {
    USAGE: _usage, VERSION: _version, "status": _status, "mode": _mode, "cert show": _cert_show,
    "cert list": _cert_list, "cert check": _cert_check, "cert generate": _cert_generate, "cert request": _cert_request,
    "cert install": _cert_install, "cert restore": _cert_restore, "cert export": _cert_export, "probe": _probe,
    "tke_guide": _tke_guide, "plan": _plan, "apply": _apply,
}  # fmt: skip
