"""Steps and questions that the tests of catcherctl cert share."""

import pytest
from cryptography import x509
from cryptography.hazmat.backends import default_backend

from catcher_install import facts, paths, plan, stamp, transition
from catcher_install.admin import cert_install
from catcher_install.cert import crypto
from catcher_install.errors import CatcherError

from .. import pem
from ..authority import issue
from ..support import ids, tree_of

NEW_KEY = pem.key_of("secp384r1")
NEW = (NEW_KEY, issue(NEW_KEY))
KEPT = ".20261123T211200Z"
MOMENT = 1795468320  # 2026-11-23 21:12:00 UTC


def put(machine, key, crt):
    machine.put("/root/my.key", key, 0o600)
    machine.put("/root/my.crt", crt)


def install(machine, key=NEW[0], crt=NEW[1], names=(), restart=True):
    put(machine, key, crt)
    return cert_install.install(machine, ["/root/my.key", "/root/my.crt"], list(names), restart)


def der(crt):
    return x509.load_pem_x509_certificate(crt, default_backend()).public_bytes(
        crypto.load().serialization.Encoding.DER)


def remembered(machine):
    return stamp.parse(machine.get(paths.STAMP))


def in_place(machine):
    return machine.get(paths.KEY), machine.get(paths.CERTIFICATE)


def bin_tree(machine):
    """Return the files in the directory of the pair, with inodes and times."""
    return {path: what for path, what in tree_of(machine, times=True).items() if path.startswith(paths.BIN + "/")}


def found(machine):
    return ids(plan.plan(facts.collect(machine), transition.of(transition.APPLY)).findings)


def refused(machine, daemon, call):
    """Return the error of a call. Assert that the call changes nothing."""
    before = tree_of(machine, times=True)
    restarts = daemon.restarts
    with pytest.raises(CatcherError) as caught:
        call()
    assert tree_of(machine, times=True) == before
    assert daemon.restarts == restarts
    assert caught.value.hint
    return caught.value
