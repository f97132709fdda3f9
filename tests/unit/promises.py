"""What each mark and each severity of a finding promises, and every id of which the promise is true.

Do not copy the catalog: answer for each id whether the sentence is true of it. test_promises.py tries what a mark
promises for all ids, and compares the catalog with this file.
"""

from catcher_install import messages

# mark -> [(why this is true of the ids, the ids)]
MARKED = {
    messages.LASTING: [
        ("An event has decided the mode, and nothing on the host shows that later. The stamp repeats it until an "
         "administrator sets the mode.",
         ["upgraded-tcp-kept", "mode-not-seen", "mode-changed-by-restart", "tls-not-possible"]),
    ],
    messages.TRANSIENT: [
        ("It says what this run did or saw: the next run sees the result, and must not tell it as its own.",
         ["mode-as-seen", "conf-was-missing", "service-state-unknown", "scriptlet-unknown", "stamp-of-newer-version",
          "pair-addresses-temporary", "not-verified", "port-waiting"]),
        ("It says what this run left for later, and the next run either does it or finds the reason again.",
         ["pair-deferred", "clock-unset", "busy"]),
        ("It says which change of an administrator did not work. The old state is back, so nothing is wrong with it.",
         ["pair-not-replaced", "internal-fault", "service-failed"]),
    ],
    messages.FAILURE: [
        ("Something was to be done and was not: catcherctl ends with 1, and a removal tells it, since no run follows.",
         ["pair-not-generated", "pair-not-replaced", "write-failed", "internal-fault", "service-failed", "busy"]),
    ],
    messages.ROOT: [
        ("It follows from the stamp or from what preinst noted, which only root may read. Without it a user would be "
         "told of events that did not happen.",
         ["upgraded-tcp-kept", "mode-as-seen", "mode-not-seen", "mode-changed-by-restart", "tls-not-possible",
          "conf-was-missing", "service-state-unknown", "stamp-of-newer-version"]),
        ("Only root sees that it is the catcher that has the port, and so whose certificate is shown.",
         ["pair-not-running"]),
        ("Whether there was a pair before, only the stamp remembers.", ["pair-gone"]),
        ("It follows from the key, or from a verdict on key and certificate together.",
         ["pair-unusable", "pair-unread", "pair-expired", "pair-issuer-expired", "pair-issuer-expires-soon",
          "pair-not-yet-valid", "pair-not-ready", "pair-unchecked", "pair-key-in-certificate"]),
        ("It speaks of a pair that we made or are about to make: only the stamp says whose a pair is.",
         ["pair-addresses-left-out", "pair-addresses-temporary", "pair-deferred", "clock-unset"]),
        ("Only a run of root's can meet it.", ["busy", "scriptlet-unknown"]),
        ("A user who may not read the settings sees nothing wrong with them.", ["settings-unusable"]),
    ],
}

# severity -> [(why this is true of the ids, the ids)]
SEVERITIES = {
    messages.ERROR: [
        ("The catcher does not serve, or its next start will be refused.",
         ["tls-required-not-possible", "tls-not-known", "conf-unusable", "pair-half", "pair-unusable", "pair-unread",
          "clock-unset", "not-running", "settings-unusable", "not-listening", "catcher-suspended",
          "port-taken", "port-taken-outgoing", "payload-missing"]),
        ("The catcher serves, and cannot do what it is there for.", ["key-storage-unreached"]),
        ("Something was to be done and was not.",
         ["pair-not-generated", "pair-not-replaced", "write-failed", "internal-fault", "service-failed"]),
        ("A probe did not come to an answer, or not to TLS where TLS is spoken.",
         ["probe-unknown-name", "probe-refused", "probe-unreachable", "probe-closed", "probe-timeout",
          "probe-tls-too-old", "probe-handshake-refused", "probe-handshake-broken", "probe-without-ssl"]),
    ],
    messages.WARNING: [
        ("The mode may be another one than the TKE expects.",
         ["upgraded-tcp-kept", "mode-not-seen", "mode-changed-by-restart", "tls-not-possible", "mode-undecided",
          "tls-configured-tcp-running", "conf-no-directive", "conf-was-missing", "mode-not-running"]),
        ("The TKE refuses the certificate, or will.",
         ["pair-expired", "pair-expires-soon", "pair-names-stale", "pair-name-missing", "pair-chain-broken",
          "pair-issuer-expired", "pair-issuer-expires-soon", "pair-not-yet-valid", "pair-not-running",
          "pair-gone", "probe-speaks-tcp",
          "probe-name-mismatch", "probe-certificate-expired", "probe-certificate-not-yet-valid",
          "probe-certificate-expires-soon", "probe-certificate-unreadable", "probe-chain-unverified",
          "probe-cafile-unverified"]),
        ("It works, and less safely than it could.", ["pair-weak-key", "pair-key-readable", "pair-key-in-certificate"]),
        ("The catcher may not be reached, and an administrator has to look.",
         ["service-state-unknown", "disabled-failed", "backend-unreachable", "port-closing", "port-waiting",
          "port-shared", "connections-waiting", "not-verified", "settings-not-running", "listen-absent"]),
        ("The package could not do its part, and lost nothing by it.",
         ["busy", "scriptlet-unknown", "stamp-of-newer-version", "unit-forking"]),
    ],
    messages.INFO: [
        ("Everything is as somebody wanted it, or comes about by itself: catcherctl ends with 0.",
         ["mode-as-seen", "tls-unknown", "pair-not-ready", "pair-addresses-left-out", "pair-addresses-temporary",
          "pair-deferred", "pair-unchecked", "disabled-not-running", "masked-not-running", "probe-name-only-cn",
          "probe-self-signed", "probe-chain-incomplete", "probe-address-failed"]),
    ],
}  # fmt: skip


def of(promises):
    """The ids of one mark or severity."""
    return {id for _, ids in promises for id in ids}


LASTING, TRANSIENT, FAILURE, ROOT = (
    of(MARKED[mark]) for mark in (messages.LASTING, messages.TRANSIENT, messages.FAILURE, messages.ROOT))
SEVERITY = {id: severity for severity, promises in SEVERITIES.items() for id in of(promises)}
