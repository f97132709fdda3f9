"""What ``catcherctl status`` shows: configuration, service, port, OpenSSL, pair and findings."""

from .. import (
    actions,
    config,
    messages,
    optional,
    pair,
    paths,
    plan,
    port,
    reference,
    report,
    service,
    start,
    systemd,
    transition,
)
from .. import facts as fact_collector
from ..cert import host_names
from ..messages import finding
from ..text import moment, shown
from . import backend, installed_pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from ..facts import HostFacts
    from ..host import Host
    from ..messages import Finding


def collect_status(host: "Host") -> "Dict[str, Any]":
    """Return the fields of ``status --json``.

    format_version: 1. complete: false if only root may see everything and this is another user.
    version: of the package. host: this host's full name. distribution: its name and version, "" if the package
    python3-distro is missing.
    mode: configured ("tls", "tcp", or null if catcher.conf cannot be used), running ("tls", "tcp", or null if no
    daemon runs or only root can see its mode), agree (running is configured).
    tls: possible (or null if that is not known), version and library (or null), reason (why it is not possible or not
    known, "" if it is possible).
    pair: state ("none", "key only", "certificate only", "both"), algorithm ("" if unknown), made_here (or null),
    not_before and not_after (seconds since the epoch, 0 if unknown), names, sha1 and sha256 ("" if unknown) of
    the certificate, problem ("" if the pair can be used, or was not checked because TLS is not configured).
    service: enabled, masked, wanted (whether the catcher should serve: systemd runs here and the service is enabled and
    not masked), pid (of the daemon, or null), serves (it runs, listens and is not suspended).
    listener: port (or null if only root may read the number), state ("catcher", "other", "unknown" if only root may see
    who has the port, "closing" if only closed connections are left, "none"), pid, program, addresses,
    listens (false if the port is taken by an outgoing connection).
    backend: see backend.look().
    tke: enable_tls: whether the box Enable SSL/TLS must be ticked there, or null.
    findings: id, severity ("info", "warning", "error"), message, fix.
    """
    hidden = reference.is_hidden(host)
    if not hidden:
        port.wait_for_start(host)
    facts = fact_collector.collect(host)
    unread = fact_collector.unreadable_by_us(host)
    complete = not unread and not hidden
    planned = plan.plan(facts, transition.of(transition.APPLY))
    pid = systemd.catcher(host)
    held = port.out_of_sight(pid) if hidden else port.holder(host)
    mode = systemd.running_mode(host, pid)
    seen = installed_pair.installed(host)
    hung = port.hung(host, held, pid)
    behind = backend.look(host, pid)
    of_settings = reference.findings(host, pid) if complete else []
    found = _findings(host, facts, planned, seen, held, pid, mode) + backend.findings(behind) + of_settings
    found += reference.absent(host, pid) + ([hung] if hung is not None else [])
    if of_settings:
        # A start would be refused, so the finding that says how to start is wrong.
        found = [one for one in found if one["id"] != "not-running"]
    if not complete:
        found = [one for one in found if not messages.is_marked(one, messages.ROOT)
                 and not (one["id"] == "conf-unusable" and paths.CONF in unread)]
    own = seen.chain[0] if seen.chain else None
    problem = str((facts.verdict or {}).get("problem", "")) if complete else ""
    return {
        "format_version": report.JSON_FORMAT,
        "complete": complete,
        "version": facts.version,
        "host": host_names.collect(host).full,
        "distribution": optional.distribution_name(),
        "mode": {"configured": planned.mode, "running": mode, "agree": mode == planned.mode},
        "tls": {
            "possible": facts.tls.possible,
            "version": facts.tls.version,
            "library": facts.tls.library,
            "reason": facts.tls.reason,
        },
        "pair": {
            "state": facts.pair.state,
            "algorithm": seen.algorithm,
            "made_here": installed_pair.made_here(host, facts) if complete else None,
            "not_before": own.not_before if own else 0,
            "not_after": own.not_after if own else 0,
            "names": own.names() if own else [],
            "sha1": own.sha1 if own else "",
            "sha256": own.sha256 if own else "",
            "problem": problem,
        },
        "service": {
            "enabled": facts.unit.enabled,
            "masked": facts.unit.masked,
            "wanted": service.may_start(facts),
            "pid": pid,
            # Only root can see who has the port.
            "serves": pid is not None and held.listens and held.state in (port.CATCHER, port.UNKNOWN)
                      and (hung is None or hung["id"] != "catcher-suspended"),
        },
        "listener": {
            "port": None if hidden else reference.port(host, pid),
            "state": held.state,
            "pid": held.pid,
            "program": held.program,
            "addresses": held.addresses,
            "listens": held.listens,
        },
        "backend": behind,
        "tke": {"enable_tls": planned.mode == config.TLS if planned.mode else None},
        "findings": [_if_masked(report.finding_fields(one), facts.unit.unmask) for one in found],
    }


def _if_masked(told: "Dict[str, str]", unmask: str) -> "Dict[str, str]":
    """Return finding_fields() for a service that may be masked: then its commands unmask the service first."""
    if unmask:
        for verb in ("restart", "start"):
            typed = "  systemctl %s CSUTKEcat" % verb
            told["fix"] = told["fix"].replace(typed, "  %s\n%s" % (unmask, typed))
    return told


def exit_status(seen: "Dict[str, Any]") -> int:
    """Return the exit status for the fields of status: 1 if the catcher should serve and does not, 3 if something needs
    attention, else 0."""
    if seen["service"]["wanted"] and not seen["service"]["serves"]:
        return 1
    return 3 if any(one["severity"] != messages.INFO for one in seen["findings"]) else 0


def _findings(
    host: "Host", facts: "HostFacts", planned: "actions.Plan", seen: "installed_pair.Installed", held: "port.Holder",
    pid: "Optional[int]", mode: "Optional[str]",
) -> "List[Finding]":
    """Return what ``catcherctl apply`` and a start would report, and what only the running system shows."""
    found = list(planned.findings)
    gone = _had_a_pair(facts, mode) and planned.mode == config.TLS and facts.pair.state == pair.NONE
    # It is known that no pair could be made only after an attempt: by a run of the package, which notes that in the
    # stamp, or by a start, if the service is enabled.
    noted = [one["id"] for one in facts.stamp.findings] if facts.stamp is not None else []
    tried = facts.stamp is not None and (facts.unit.enabled or "pair-not-generated" in noted)
    untried = gone or not tried
    decision = start.launch_decision(start.foresee(facts, planned) if untried else facts, planned.mode)
    found += [one for one in decision.findings if one["id"] not in [other["id"] for other in found]]
    if planned.mode == config.TLS and facts.pair.state == pair.BOTH and not (facts.verdict or {}).get("problem"):
        found += installed_pair.more_findings(host, facts, seen) + installed_pair.use_findings(host, facts, seen)
    if gone:
        found.append(finding("pair-gone"))
    if planned.mode == config.TCP and facts.tls.possible:
        found += _not_ready(host, facts)
    why_tcp = "tls-configured-tcp-running" in [one["id"] for one in found]
    found += _service_findings(host, facts, held, pid, startable=decision.mode is not None)
    storage = _unreached_storage(host, pid) if pid is not None else ""
    if storage:
        found.append(finding("key-storage-unreached", storage=paths.KEY_STORAGE, path=shown(storage)))
    if mode is not None and planned.mode is not None and mode != planned.mode and not why_tcp:
        found.append(finding("mode-not-running", configured=planned.mode.upper(), running=mode.upper()))
    return found


def _service_findings(
    host: "Host", facts: "HostFacts", held: "port.Holder", pid: "Optional[int]", startable: bool
) -> "List[Finding]":
    """Return the finding that the catcher does not run or does not have its port, if there is one.

    startable: a start would not be refused. If it would be, another finding says why.
    """
    taken = port.problem(host, held)
    if taken is not None:
        return [taken]
    if not facts.booted:
        return []
    nobody_listens = held.state in (port.NOBODY, port.CLOSING)
    if pid is not None:
        if nobody_listens and not facts.unit.masked:
            return [finding("not-listening", port=str(reference.port(host, pid)))]
        return []
    if facts.unit.masked:
        return [finding("masked-not-running", unmask=facts.unit.unmask)]
    if not facts.unit.enabled:
        return [finding("disabled-failed" if systemd.has_failed(host) else "disabled-not-running")]
    return [finding("not-running")] if nobody_listens and startable else []


def _had_a_pair(facts: "HostFacts", mode: "Optional[str]") -> bool:
    """Return whether there was a pair before: the running catcher uses one, or the stamp knows one."""
    known = facts.stamp
    return mode == config.TLS or known is not None and bool(known.generated_pair or known.checked_pair)


def _unreached_storage(host: "Host", pid: int) -> str:
    """Return where the key storage is, if this host can write there and the running catcher cannot; else "". That
    happens if it became a link after the start: the service's sandbox only knows earlier links."""
    if not host.lexists(paths.KEY_STORAGE):
        return ""
    try:
        real = host.real_path(paths.KEY_STORAGE)
        here, there = (_mount_options(host, who, real) for who in ("self", str(pid)))
    except OSError:
        return ""
    return real if "ro" in there and "ro" not in here else ""


def _mount_options(host: "Host", who: str, path: str) -> "List[str]":
    """Return the mount options that apply to a path, as a process sees it (proc(5), mountinfo). who: its PID, or
    "self". Raises OSError."""
    place, options = "", ""
    for line in host.read("/proc/%s/mountinfo" % who, 16 * 1024 * 1024).decode("utf-8", "surrogateescape").splitlines():
        words = line.split(" ")
        point = words[4].replace("\\040", " ")
        # Of two mounts at the same place, the later one counts.
        if len(point) >= len(place) and (path + "/").startswith(point.rstrip("/") + "/"):
            place, options = point, words[5]
    return options.split(",")


def _not_ready(host: "Host", facts: "HostFacts") -> "List[Finding]":
    """Return a finding for each problem of the pair in TCP mode: nobody would notice it until TLS is wanted."""
    return [finding("pair-not-ready", reason=messages.text(one), hint=messages.fix(one))
            for one in plan.pair_findings(fact_collector.judged(host, facts)) if messages.needs_attention(one)]


def lines(seen: "Dict[str, Any]") -> "List[str]":
    """Return the fields for a person: plain ASCII."""
    text = ["CCA TKE catcher %s on %s" % (seen["version"], shown(seen["host"]))]
    if seen["distribution"]:
        text.append("  System    %s" % shown(seen["distribution"]))
    text.append("  Mode      %s" % _mode_line(
        seen["mode"], [one["id"] for one in seen["findings"]], seen["service"]["pid"] is not None))
    text.append("  Service   %s" % _service_line(seen["service"]))
    text.append("  Port      %s" % _port_line(seen["listener"]))
    text.append("  OpenSSL   %s" % _openssl_line(seen["tls"]))
    text += _pair_lines(seen["pair"])
    if seen["backend"] is not None:
        text.append("  Backend   %s" % backend.line(seen["backend"]))
    if seen["tke"]["enable_tls"] is not None:
        box = "tick the box" if seen["tke"]["enable_tls"] else "do not tick the box"
        number = seen["listener"]["port"]
        text.append("  TKE       %s Enable SSL/TLS in this host's definition%s" % (
            box, "; port %d" % number if number else ""))
    for one in seen["findings"]:
        text += report.flagged_lines(one)
    if not seen["complete"]:
        text.append("  Only root sees everything: sudo catcherctl status")
    elif not seen["findings"]:
        text.append("  Nothing needs attention.")
    return text


def _mode_line(mode: "Dict[str, Any]", ids: "List[str]", runs: bool) -> str:
    """Return the line on the mode. ids: of the findings. runs: whether a daemon runs."""
    without = ", running, and only root can see in which mode" if runs else ", the catcher is not running"
    is_default = "conf-no-directive" in ids
    if mode["configured"] is None:
        is_default = is_default or "tls-unknown" in ids
        configured = "not decided yet" if is_default else "catcher.conf cannot be used"
        return configured + (", running %s" % mode["running"].upper() if mode["running"] else without)
    configured = mode["configured"].upper()
    if is_default:
        configured += " is the default"
    if mode["running"] is None:
        return configured + ("" if is_default else " configured") + without
    if mode["agree"]:
        return configured + (" and running" if is_default else ", configured and running")
    return ("%s, running %s" if is_default else "configured %s, running %s") % (configured, mode["running"].upper())


def _service_line(state: "Dict[str, Any]") -> str:
    how = "masked" if state["masked"] else "enabled" if state["enabled"] else "disabled"
    return "%s, %s" % (how, "running as PID %d" % state["pid"] if state["pid"] else "not running")


def _port_line(held: "Dict[str, Any]") -> str:
    if held["port"] is None:
        return "only root may read which port: it is in %s" % reference.CONF
    who = "%s (PID %s)" % (held["program"], held["pid"])
    does = "listens" if held["listens"] else "has an outgoing connection"
    where = "on " + " and ".join(held["addresses"])
    return "%d, %s" % (held["port"], {
        port.CATCHER: "the catcher listens %s" % where,
        port.CLOSING: "nobody listens; the kernel keeps closed connections for about a minute",
        port.OTHER: "not the catcher but %s %s %s" % (who, does, where),
        port.UNKNOWN: "somebody %s %s" % (does, where),
        port.NOBODY: "nobody listens",
    }[held["state"]])


def _openssl_line(tls: "Dict[str, Any]") -> str:
    able = "TLS is possible"
    if not tls["possible"]:
        answer = "it is not known whether TLS is possible" if tls["possible"] is None else "TLS is not possible"
        able = "%s: %s" % (answer, tls["reason"])
    return "%s, %s; %s" % (tls["version"] or "no version", tls["library"] or "no library", able)


def _pair_lines(files: "Dict[str, Any]") -> "List[str]":
    if files["state"] != pair.BOTH:
        return ["  Pair      %s" % {pair.NONE: "no key and no certificate"}.get(files["state"], files["state"])]
    if not files["sha256"]:
        return ["  Pair      %s" % (files["problem"] or "the certificate cannot be read")]
    made = {True: ", made by this package", False: ", your own", None: ""}[files["made_here"]]
    algorithm = files["algorithm"] or "key of unknown kind"
    return [
        "  Pair      %s%s, valid until %s" % (algorithm, made, moment(files["not_after"])),
        "  Names     %s" % ", ".join(shown(name, 80) for name in files["names"]),
        "  SHA-256   %s" % files["sha256"],
        "  SHA-1     %s" % files["sha1"],
    ]
