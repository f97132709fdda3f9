"""cert generate and cert request: another pair of ours, and a request for an authority."""

import errno
import os
import shlex

import pytest
from cryptography import x509
from cryptography.hazmat.backends import default_backend

from catcher_install import apply, messages, pair, paths, transition
from catcher_install.admin import cert_install, cert_request, cli, installed_pair, tke_guide
from catcher_install.cert import crypto, generate
from catcher_install.errors import CatcherError, KeyRefused
from tests.unit import pem
from tests.unit.admin.hosts import KEPT, bin_tree, der, in_place, install, put, refused, remembered
from tests.unit.authority import DAY, Authority, issue
from tests.unit.daemon import shown
from tests.unit.support import ids, no_room_for_the_stamp, tree_of


def test_generate_refuses_to_replace(machine, daemon):
    error = refused(machine, daemon, lambda: cert_install.generate(machine, False, True))
    assert "there is a key and a certificate already" in error.message
    assert "catcherctl cert generate --force" in error.hint


def test_generate_with_force_keeps_the_old_pair_and_shows_the_new_one(machine, daemon, frozen):
    old = in_place(machine)
    lines, left = cert_install.generate(machine, True, True)
    now = in_place(machine)
    assert now[0] != old[0] and shown(daemon.port) == der(now[1])
    assert machine.get(paths.KEY + KEPT) == old[0] and machine.get(paths.CERTIFICATE + KEPT) == old[1]
    assert remembered(machine).generated_pair == pair.fingerprint(*now)
    assert left == []
    assert "Import the certificate into the TKE" in lines[-1]


def test_generate_that_fails_is_taken_back(machine, daemon):
    before, made = bin_tree(machine), remembered(machine).generated_pair
    daemon.behaviour = ["another certificate", "obey"]
    with pytest.raises(CatcherError):
        cert_install.generate(machine, True, True)
    assert bin_tree(machine) == before and remembered(machine).generated_pair == made


def test_a_generated_pair_that_could_not_be_noted_is_with_the_next_run(machine, daemon, frozen, monkeypatch):
    """Otherwise a purge would leave the key."""
    old = in_place(machine)
    with monkeypatch.context() as patched:
        no_room_for_the_stamp(machine, patched)
        _, found = cert_install.generate(machine, True, True)
    assert "write-failed" in ids(found) and shown(daemon.port) == der(in_place(machine)[1])
    apply.converge(machine, transition.of(transition.START))
    known = remembered(machine)
    assert known.generated_pair == pair.fingerprint(*in_place(machine))
    assert known.made_earlier == [pair.fingerprint(*old)]
    assert machine.get(paths.KEY + KEPT) == old[0] and not pair.look(machine).staged


def test_generate_where_there_is_none(machine, daemon):
    machine.put(paths.CONF, b"TLS_OFF\n")
    for path in (paths.KEY, paths.CERTIFICATE):
        os.unlink(machine.on_disk(path))
    lines, _ = cert_install.generate(machine, False, True)
    assert machine.names(paths.BIN) == ["catcher.crt", "catcher.exe", "catcher.key"]
    assert remembered(machine).generated_pair == pair.fingerprint(*in_place(machine))


@pytest.mark.parametrize("half", [paths.KEY, paths.CERTIFICATE])
def test_generate_needs_force_for_half_a_pair(machine, daemon, half):
    os.unlink(machine.on_disk(half))
    error = refused(machine, daemon, lambda: cert_install.generate(machine, False, True))
    assert ("a certificate" if half == paths.KEY else "a key") in error.message
    cert_install.generate(machine, True, True)
    assert shown(daemon.port) == der(machine.get(paths.CERTIFICATE))


@pytest.mark.parametrize("where", ["chroot", "image"])
def test_no_key_is_made_where_it_would_be_shared(machine, daemon, where):
    if where == "chroot":
        machine.chroot = True
    else:
        machine.booted = False
    for call in (lambda: cert_install.generate(machine, True, True),
                 lambda: cert_request.request(machine, [], False, None)):
        assert isinstance(refused(machine, daemon, call), KeyRefused)


def asked(data):
    request = x509.load_pem_x509_csr(data, default_backend())
    assert request.is_signature_valid
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = [str(one) for one in names.get_values_for_type(x509.IPAddress)]
    return request, names.get_values_for_type(x509.DNSName), addresses


def test_a_signed_request_is_installed_with_the_key_of_the_request(machine, daemon):
    """The administrator sends a request to a CA, and installs the one file that comes back."""
    before = in_place(machine)
    data, lines = cert_request.request(machine, [], False, None)
    assert in_place(machine) == before and daemon.restarts == 0
    assert machine.mode(paths.REQUEST_KEY) == 0o600
    request, dns, addresses = asked(data)
    assert dns == ["tke1", "tke1.example.com"] and addresses == ["192.0.2.10"]
    assert request.subject.rfc4514_string() == "CN=tke1.example.com"
    assert "catcherctl cert install" in lines[-1]
    # A second request is for the same key, so the first request, which a CA may have, stays useful.
    again, _ = cert_request.request(machine, ["service.example.com", "192.0.2.99"], False, None)
    assert asked(again)[0].public_key().public_numbers() == request.public_key().public_numbers()
    assert asked(again)[1:] == (["service.example.com", "tke1", "tke1.example.com"], ["192.0.2.10", "192.0.2.99"])
    assert asked(again)[0].subject.rfc4514_string() == "CN=service.example.com"
    authority = Authority()
    chain = authority.sign(data) + authority.certificate
    machine.put("/root/signed.crt", chain)
    key = machine.get(paths.REQUEST_KEY)
    cert_install.install(machine, ["/root/signed.crt"], [], True)
    assert in_place(machine) == (key, chain) and shown(daemon.port) == der(chain)
    assert machine.get(paths.REQUEST_KEY) is None


@pytest.mark.parametrize("ours", [True, False])
def test_a_request_asks_for_the_names_of_the_present_certificate(machine, daemon, ours):
    """The TKE may use one of these names, and would refuse a renewed certificate without it."""
    names = ["service.example.com", "198.51.100.7"]
    if ours:
        cert_install.generate(machine, True, True, generate.USUAL.replace(names=names))
    else:
        key = pem.key_of("prime256v1")
        put(machine, key, issue(key, names[0], names[:1], names[1:]))
        cert_install.install(machine, ["/root/my.key", "/root/my.crt"], names, True)
    data, lines = cert_request.request(machine, [], False, None)
    assert asked(data)[1:] == (["service.example.com", "tke1", "tke1.example.com"], ["192.0.2.10", "198.51.100.7"])
    assert "Asked for the names of the present certificate: --name service.example.com --name 198.51.100.7" in lines
    again, lines = cert_request.request(machine, ["tke1"], False, None)
    assert asked(again)[1:] == (["tke1", "tke1.example.com"], ["192.0.2.10"])
    assert "present certificate" not in str(lines)


@pytest.mark.parametrize("present_key", [False, True])
def test_a_signed_certificate_keeps_the_names_of_its_requests(machine, daemon, present_key):
    """The next request has these names, too, and those of an earlier request for the key. A CA may omit one."""
    cert_request.request(machine, ["198.51.100.7"], present_key, None)
    cert_request.request(machine, ["left.example.com", "service.example.com"], present_key, None)
    key = machine.get(paths.KEY if present_key else paths.REQUEST_KEY)
    machine.put("/root/signed.crt", issue(key, "tke1", ["service.example.com"], ["198.51.100.7"]))
    cert_install.install(machine, ["/root/signed.crt"], [], True)
    for _ in range(2):
        data, lines = cert_request.request(machine, [], False, None)
        assert asked(data)[1:] == (["service.example.com", "tke1", "tke1.example.com"], ["192.0.2.10", "198.51.100.7"])
        assert "Asked for the names of the present certificate: --name service.example.com --name 198.51.100.7" in lines
        machine.put("/root/renewed.crt", Authority().sign(data))
        cert_install.install(machine, ["/root/renewed.crt"], [], True)


@pytest.mark.parametrize("ours", [True, False])
def test_the_hint_of_a_missing_name_keeps_the_others(machine, daemon, ours):
    if ours:
        cert_install.generate(machine, True, True, generate.USUAL.replace(names=["a.example.com"]))
    else:
        key = pem.key_of("prime256v1")
        put(machine, key, issue(key, "a.example.com", ["a.example.com"]))
        cert_install.install(machine, ["/root/my.key", "/root/my.crt"], ["a.example.com"], True)
    one, = installed_pair.check(machine, ["b.example.com"])[1]
    verb = "generate --force" if ours else "request"
    assert messages.fix(one).endswith("\n  catcherctl cert %s --name a.example.com --name b.example.com" % verb)


def test_two_requests_at_once_are_for_one_key(machine, daemon, monkeypatch):
    """While this run waited for the lock, another run made the key."""
    other = []

    class Locked(cert_request.Locked):
        def __enter__(self):
            if not other:
                other.append(None)
                other.append(cert_request.request(machine, [], False, None)[0])
            return super().__enter__()

    monkeypatch.setattr(cert_request, "Locked", Locked)
    ours, _ = cert_request.request(machine, [], False, None)
    assert asked(ours)[0].public_key().public_numbers() == asked(other[1])[0].public_key().public_numbers()


def test_the_key_of_a_request_outlives_a_failed_install(machine, daemon):
    data, _ = cert_request.request(machine, [], False, None)
    machine.put("/root/signed.crt", Authority().sign(data))
    key = machine.get(paths.REQUEST_KEY)
    daemon.behaviour = ["nothing", "obey"]
    with pytest.raises(CatcherError):
        cert_install.install(machine, ["/root/signed.crt"], [], True)
    assert machine.get(paths.REQUEST_KEY) == key


@pytest.mark.parametrize("kind", ["rsa-2048", "prime256v1", "secp384r1", "secp521r1"])
def test_a_request_for_the_present_key_makes_no_key(machine, daemon, kind):
    key = pem.key_of(kind)
    machine.put(paths.KEY, key, 0o600)
    data, _ = cert_request.request(machine, [], True, None)
    assert asked(data)[0].public_key().public_numbers() == pem.load(key).public_key().public_numbers()
    assert machine.get(paths.REQUEST_KEY) is None


def test_a_request_is_written_into_a_new_file_only(machine, daemon):
    os.makedirs(machine.on_disk("/root"))
    data, _ = cert_request.request(machine, [], False, "/root/x.csr")
    assert machine.get("/root/x.csr") == data
    error = refused(machine, daemon, lambda: cert_request.request(machine, [], False, "/root/x.csr"))
    assert "/root/x.csr exists already" in error.message
    error = refused(machine, daemon, lambda: cert_request.request(machine, [], False, paths.KEY))
    assert "exists already" in error.message


class PanicException(BaseException):
    """What the Rust part of cryptography raises: it does not inherit from Exception."""


class Part:
    """A part of cryptography in which any name may be what breaks it."""

    def __init__(self, real, due):
        self._real, self._due = real, due

    def __getattr__(self, name):
        self._due()
        return getattr(self._real, name)


@pytest.mark.parametrize("present", [False, True], ids=["a new key", "the present key"])
@pytest.mark.parametrize("error", [PanicException("Python API call failed"), SystemExit(3), ValueError("x"),
                                   AttributeError("x")], ids=lambda error: type(error).__name__)
def test_a_cryptography_that_breaks_at_any_call_is_one_line(machine, daemon, monkeypatch, capsys, error, present):
    monkeypatch.setattr(cli, "Host", lambda *root: machine)
    real, asked_for, failing_at = crypto.Crypto, [], [0]

    def due():
        asked_for.append(1)
        if len(asked_for) == failing_at[0]:
            raise error

    class Fragile(real):
        def __init__(self):
            real.__init__(self)
            for name in ("x509", "hashes", "serialization", "ec", "rsa"):
                setattr(self, name, Part(getattr(self, name), due))

    monkeypatch.setattr(crypto, "Crypto", Fragile)
    before = tree_of(machine)
    for number in range(1, 100):
        del asked_for[:]
        failing_at[0] = number
        status = cli.main(["cert", "request"] + ["--present-key"] * present)
        said = capsys.readouterr().err
        if len(asked_for) < number:
            break
        assert status == 1 and "Traceback" not in said and "internal fault" not in said
        assert 2 <= len(said.splitlines()) <= 4 and type(error).__name__ in said, said
        # Meanwhile another request may have been made for that key.
        assert set(tree_of(machine)) - set(before) <= {paths.REQUEST_KEY, paths.STAMP, paths.LOCK}
    assert status == 0 and number > 10


def test_a_request_for_a_missing_present_key_is_refused(machine, daemon):
    os.unlink(machine.on_disk(paths.KEY))
    error = refused(machine, daemon, lambda: cert_request.request(machine, [], True, None))
    assert "there is no " + paths.KEY in error.message


# -- what an administrator wants of a new pair -------------------------------------------------------------------------


def test_names_type_and_validity_as_wished(machine, daemon):
    wish = generate.Wish(names=["service.example.com", "198.51.100.7"], key_type="rsa2048", days=90)
    _, left = cert_install.generate(machine, True, True, wish)
    told, found = installed_pair.check(machine, ["service.example.com", "198.51.100.7", "tke1"])
    assert (left, found, told["algorithm"]) == ([], [], "RSA 2048")
    own = told["certificates"][0]
    assert own["common_names"] == ["service.example.com"] and own["addresses"] == ["192.0.2.10", "198.51.100.7"]
    assert abs(own["not_after"] - machine.now() - 90 * DAY) < 600
    assert shown(daemon.port) == der(machine.get(paths.CERTIFICATE))


def test_a_wished_address_is_not_one_that_the_host_has_lost(machine, daemon):
    cert_install.generate(machine, True, True, generate.USUAL.replace(names=["198.51.100.7"]))
    machine.node = "tke2.example.com"
    stale, = installed_pair.check(machine, [])[1]
    assert stale["id"] == "pair-names-stale" and "198.51.100.7" not in stale["reason"]
    assert stale["hint"].endswith("catcherctl cert generate --force --name 198.51.100.7")


# -- a new pair like the old one ---------------------------------------------------------------------------------------

NAMES = ["service.example.com", "198.51.100.7", "2001:db8::7"]
LIKE = generate.Wish(names=NAMES, key_type="rsa2048", days=9)


@pytest.fixture
def on_machine(machine, daemon, monkeypatch):
    """catcherctl acts on the machine, whose catcher has a pair that was made with options, and that expires soon."""
    machine.put(paths.LIBRARY + "/run")
    monkeypatch.setattr(cli, "Host", lambda root="/": machine)
    cert_install.generate(machine, True, True, LIKE)
    return machine


def made(machine):
    """(key, common name, whether all of NAMES are there) of the pair in place."""
    told, found = installed_pair.check(machine, NAMES)
    return told["algorithm"], told["certificates"][0]["common_names"][0], "pair-name-missing" not in ids(found)


def type_hint(machine, hint):
    """Type the last command of a hint."""
    command = hint.splitlines()[-1].strip()
    assert command.startswith("catcherctl cert generate")
    assert cli.main(shlex.split(command)[1:]) == 0
    return command


LIKE_MADE = ("RSA 2048", "service.example.com", True)


def test_the_hint_of_an_expiry_makes_a_certificate_like_the_present_one(on_machine, capsys):
    for _ in range(2):
        # The second time, the certificate is one that the hint has made.
        found = installed_pair.check(on_machine, [])[1] or [messages.finding("pair-expires-soon", date="x",
                                                                             action="generate --force")]
        assert ids(found) == ["pair-expires-soon"]
        type_hint(on_machine, messages.fix(found[0]))
        assert made(on_machine) == LIKE_MADE
    assert "Made like the old pair: --name service.example.com --name 198.51.100.7 --name 2001:db8::7 --key-type" \
        " rsa2048" in capsys.readouterr().out


def test_the_hint_of_stale_names_makes_a_key_like_the_present_one(on_machine):
    on_machine.node = "tke2.example.com"
    stale = [one for one in installed_pair.check(on_machine, [])[1] if one["id"] == "pair-names-stale"]
    type_hint(on_machine, messages.fix(stale[0]))
    assert made(on_machine) == LIKE_MADE


def test_the_hint_of_the_guide_makes_a_certificate_like_the_present_one(on_machine):
    on_machine.time = on_machine.now() + 10 * DAY
    said = " ".join(" ".join(tke_guide.guide(None, tke_guide.collect(on_machine))).split())
    assert "has expired. To see how to renew it, on this host, type: catcherctl cert check" in said
    expired = [one for one in installed_pair.check(on_machine, [])[1] if one["id"] == "pair-expired"]
    on_machine.time = None
    type_hint(on_machine, messages.fix(expired[0]))
    assert made(on_machine) == LIKE_MADE


def test_the_hint_of_a_refusal_has_what_was_typed(machine, daemon, monkeypatch):
    machine.put(paths.LIBRARY + "/run")
    monkeypatch.setattr(cli, "Host", lambda root="/": machine)
    typed = refused(machine, daemon, lambda: cert_install.generate(machine, False, True, LIKE.replace(days=90)))
    command = type_hint(machine, typed.hint)
    assert command == ("catcherctl cert generate --force --name service.example.com --name 198.51.100.7"
                       " --name 2001:db8::7 --key-type rsa2048 --days 90")
    assert made(machine) == LIKE_MADE


def test_a_pair_that_came_back_keeps_what_it_was_made_for(on_machine):
    assert cli.main(["cert", "generate", "--force", "--name", "other.example.com", "--key-type", "secp384r1"]) == 0
    assert cli.main(["cert", "restore"]) in (0, 3)
    assert cli.main(["cert", "generate", "--force"]) == 0
    assert made(on_machine) == LIKE_MADE


@pytest.mark.parametrize("options, wanted", [
    (["--name", "other.example.com"], ("RSA 2048", "other.example.com", False)),
    (["--name", "tke1.example.com"], ("RSA 2048", "tke1.example.com", False)),
    (["--key-type", "secp384r1"], ("EC secp384r1", "service.example.com", True)),
])
def test_what_is_typed_takes_the_place_of_what_the_old_pair_has(on_machine, options, wanted):
    assert cli.main(["cert", "generate", "--force"] + options) == 0
    assert made(on_machine) == wanted


def test_a_pair_in_the_place_of_an_administrators_is_as_usual(machine, daemon):
    key = pem.key_of("rsa-2048")
    install(machine, key, issue(key, "service.example.com", NAMES[:1]), names=NAMES[:1])
    lines, _ = cert_install.generate(machine, True, True)
    assert made(machine) == ("EC secp521r1", "tke1.example.com", False)
    assert not any(line.startswith("Made like") for line in lines)


@pytest.mark.parametrize("act,said", [
    (lambda machine: cert_install.generate(machine, True, True), "%s cannot be read"),
    # A purge would have no proof that the key is ours.
    (lambda machine: cert_request.request(machine, ["x.example.com"], False, None), "no request was made: %s cannot"),
    # Names would be lost without a word.
    (lambda machine: cert_request.request(machine, [], True, None), "no request was made: %s cannot be read"),
    (lambda machine: cert_request.request(machine, ["x.example.com"], True, None), "no request was made: %s cannot"),
], ids=["generate", "request", "request for the present key", "request with names"])
def test_without_a_readable_stamp_nothing_is_made(on_machine, daemon, monkeypatch, act, said):
    real = on_machine.read_optional

    def read_optional(path, limit):
        if path == paths.STAMP:
            raise OSError(errno.EIO, "Input/output error")
        return real(path, limit)

    monkeypatch.setattr(on_machine, "read_optional", read_optional)
    error = refused(on_machine, daemon, lambda: act(on_machine))
    assert said % paths.STAMP in error.message


@pytest.mark.parametrize("code", [errno.EIO, errno.EMFILE])
@pytest.mark.parametrize("path", [paths.KEY, paths.CERTIFICATE])
def test_a_pair_that_cannot_be_read_for_now_is_not_replaced(on_machine, daemon, monkeypatch, path, code):
    """Otherwise its names would be lost without a word."""
    real = on_machine.read

    def read(asked, limit, *more, **named):
        if asked == path:
            raise OSError(code, os.strerror(code))
        return real(asked, limit, *more, **named)

    monkeypatch.setattr(on_machine, "read", read)
    error = refused(on_machine, daemon, lambda: cert_install.generate(on_machine, True, True))
    assert "the pair cannot be read (%s" % os.strerror(code).lower() in error.message.lower()
    assert "catcherctl cert generate --force --name NAME --key-type TYPE" in error.hint
    error = refused(on_machine, daemon, lambda: cert_request.request(on_machine, [], False, None))
    assert "no request was made: the pair cannot be read (%s" % os.strerror(code).lower() in error.message.lower()
    # The message says which names it has.
    cert_request.request(on_machine, ["x.example.com"], False, None)


def lost(path):
    return lambda machine: os.unlink(machine.on_disk(path))


def cut(path):
    return lambda machine: machine.put(path, machine.get(path)[:300], machine.mode(path))


def dangling(machine):
    os.unlink(machine.on_disk(paths.CERTIFICATE))
    machine.put_link(paths.CERTIFICATE, "/srv/nowhere")


def of_another_key(machine):
    machine.put(paths.KEY, pem.key_of("rsa-2048"), 0o600)


@pytest.mark.parametrize("spoil", [lost(paths.KEY), lost(paths.CERTIFICATE), cut(paths.KEY), cut(paths.CERTIFICATE),
                                   dangling, of_another_key],
                         ids=["no key", "no certificate", "half a key", "half a certificate", "dangling", "mismatch"])
def test_a_pair_of_ours_that_is_spoilt_is_made_again_as_it_was(on_machine, capsys, spoil):
    spoil(on_machine)
    assert cli.main(["cert", "generate", "--force"]) in (0, 3)
    assert "Made like the old pair: --name service.example.com" in capsys.readouterr().out
    assert made(on_machine) == LIKE_MADE


def test_a_pair_that_somebody_copied_over_ours_is_not_taken_for_ours(on_machine):
    key = pem.key_of("secp384r1")
    on_machine.put(paths.KEY, key, 0o600)
    on_machine.put(paths.CERTIFICATE, issue(key))
    assert cli.main(["cert", "generate", "--force"]) in (0, 3)
    assert made(on_machine) == ("EC secp521r1", "tke1.example.com", False)


def test_half_a_pair_is_made_as_usual_where_nothing_was_ours(machine, daemon):
    key = pem.key_of("rsa-2048")
    install(machine, key, issue(key, "service.example.com", NAMES[:1]), names=NAMES[:1])
    os.unlink(machine.on_disk(paths.CERTIFICATE))
    cert_install.generate(machine, True, True)
    assert made(machine) == ("EC secp521r1", "tke1.example.com", False)
