"""Change the mode by hand.

A change that does not work is taken back: the daemon is restarted only if the new mode can work, and if a real
connection then does not show that mode, the old catcher.conf is restored.
"""

from .. import actions, config, facts, paths, transition
from ..text import shown
from . import change, installed_pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

    from ..host import Host
    from ..messages import Finding


def read_mode(host: "Host") -> "config.Config":
    """Return what catcher.conf says. Raises CatcherError if only root may read it."""
    facts.require_readable(host, paths.CONF)
    return facts.read_config(host)


def asked(mode: str) -> "transition.Transition":
    """Return the transition to a mode: config.TLS or config.TCP."""
    return transition.of(transition.SET_MODE, request=transition.ModeRequest(mode=mode))


def set_mode(host: "Host", mode: str, restart: bool) -> "Tuple[List[str], List[Finding]]":
    """Set the mode in catcher.conf, make a pair if TLS needs one, restart the daemon, and verify.

    mode: config.TLS or config.TCP. Setting a mode, even the present one, ends the findings that wait for this decision
    (messages.LASTING). Returns lines that say what was done, and the findings that remain. Raises CatcherError; then
    nothing has changed, or the old mode is back.
    """
    outcome, used = change.carry_out(host, asked(mode), restart)
    if actions.WRITE_CONFIG in outcome.done:
        lines = ["Set the mode to %s in %s." % (mode.upper(), paths.CONF)]
    else:
        lines = ["The mode is %s already." % mode.upper()]
    seen = installed_pair.installed(host)
    found = list(outcome.findings)
    if mode == config.TLS:
        found += installed_pair.more_findings(host, outcome.facts, seen)
    return lines + [used] + _about_tke(mode, seen), found


def _about_tke(mode: str, seen: "installed_pair.Installed") -> "List[str]":
    """Return lines on what to do at the TKE now."""
    if mode == config.TCP:
        return ["On the TKE, clear the box Enable SSL/TLS of this host's definition.",
                "The steps there: catcherctl tke-guide tcp"]
    lines = []
    if seen.chain:
        lines = ["  names    %s" % ", ".join(shown(name, 80) for name in seen.chain[0].names()),
                 "  SHA-256  %s" % seen.chain[0].sha256, "  SHA-1    %s" % seen.chain[0].sha1]
    return lines + ["On the TKE, import this certificate if it is not there yet, and tick the box Enable SSL/TLS of "
                    "this host's definition.",
                    "The steps there: catcherctl tke-guide tls"]
