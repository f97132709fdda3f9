"""The judgement on a pair: the same for ``cert check``, ``cert install``, ``status``, ``CSUTKEcat check`` and a start.

What the bytes show is checked here, so that the messages are exact. OpenSSL itself checks the rest, in a program of its
own (judge.py): with the loader that the reference catcher uses, and with handshakes, under the policy of this system.
"""

import sys

from ..errors import CatcherError, reason_of
from ..openssl import words
from ..record import Record
from ..text import shown
from . import keys, pem, x509
from .chain import chain_problem
from .details import name_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

    from ..host import Host

JUDGE = __file__.rpartition("/")[0] + "/judge.py"
# The time limit of judge.py.
SECONDS = 20
# The largest message of a handshake, in bytes, that Java reads, and so a TKE (jdk.tls.maxHandshakeMessageSize).
HANDSHAKE_LIMIT = 32 * 1024
SERVER_AUTH = "1.3.6.1.5.5.7.3.1"
NOT_ITS_OWN = "catcher.crt does not belong to catcher.key"
MISMATCH = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")
POLICY = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")


class Verdict(Record):
    """The judgement on a key file and a certificate file.

    problem: why the pair cannot be used, as the end of a sentence; "" if it can. unchecked: why OpenSSL could not be
    asked; "" if it was. chain: why a client that trusts the last certificate refuses the chain, as the end of a
    sentence; "" if it does not.
    rsa_bits: size of an RSA key, else 0. not_before, not_after: validity of the first certificate, seconds since the
    epoch; 0 if unknown.
    issuer, issuer_not_after: which of the other certificates expires first, and when; "" and 0 if there are no others.
    key_in_certificate: catcher.crt contains a private key.
    """

    __slots__ = ("problem", "unchecked", "chain", "rsa_bits", "not_before", "not_after", "issuer", "issuer_not_after",
                 "key_in_certificate")  # fmt: skip
    problem: str
    unchecked: str
    chain: str
    rsa_bits: int
    not_before: int
    not_after: int
    issuer: str
    issuer_not_after: int
    key_in_certificate: bool


def unusable(problem: str) -> Verdict:
    """Return the verdict on a pair that cannot be used."""
    return Verdict(problem=problem, unchecked="", chain="", rsa_bits=0, not_before=0, not_after=0, issuer="",
                   issuer_not_after=0, key_in_certificate=False)


def check(host: "Host", key_pem: bytes, certificate_pem: bytes) -> Verdict:
    """Return the verdict on the bytes of a key file and a certificate file. No bytes make this raise an error.

    The first certificate of the file is the server's own; its chain follows. Dates are reported and not judged: the
    daemon starts with an expired certificate, with a warning.
    """
    key_file, certificate_file = pem.PemFile("catcher.key", key_pem), pem.PemFile("catcher.crt", certificate_pem)
    problem = _key_file_problem(key_file) or _file_problem(certificate_file)
    if problem:
        return unusable(problem)
    if certificate_file.is_pkcs7():
        return unusable("catcher.crt is PKCS#7, and must be PEM")
    blocks = certificate_file.certificates()
    if not blocks:
        return unusable("catcher.crt holds no certificate")
    chain = []
    unread = ""
    size = 0
    for number, block in enumerate(blocks, 1):
        try:
            der = pem.der(block)
            size += len(der)
            chain.append(x509.read(der))
        except ValueError as error:
            if number == 1:
                return unusable("catcher.crt cannot be read as a certificate (%s)" % error)
            unread = unread or "certificate %d cannot be read (%s)" % (number, error)
    problem = _certificate_problem(chain[0], size, len(blocks))
    # OpenSSL would test the primes of a larger key when it reads it, for minutes.
    if not problem and any(len(block) > keys.PEM_LIMIT for _, block in key_file.keys()[:1]):
        problem = "catcher.key is larger than any key that the catcher supports"
    if problem:
        return unusable(problem)
    verdict = Verdict(
        problem="", unchecked="", chain=unread or chain_problem(chain), rsa_bits=chain[0].key.rsa_bits,
        not_before=chain[0].not_before, not_after=chain[0].not_after, issuer="", issuer_not_after=0,
        key_in_certificate=bool(certificate_file.keys()),
    )  # fmt: skip
    for number, one in enumerate(chain[1:], 2):
        if not verdict.issuer or one.not_after < verdict.issuer_not_after:
            verdict.issuer = "certificate %d of the chain (%s)" % (number, shown(name_text(one.subject), 60))
            verdict.issuer_not_after = one.not_after
    small = 0 < verdict.rsa_bits < keys.RSA_RECOMMENDED
    answers = _ask_openssl(host, key_pem, certificate_pem, blocks, small)
    return _with_answers(verdict, chain[0], answers, key_pem, certificate_pem)


def belongs(host: "Host", key_pem: bytes, certificate_pem: bytes) -> bool:
    """Return whether a key is that of a certificate; no, if either cannot be read. Raises CatcherError if OpenSSL
    could not be asked."""
    answers = _ask_openssl(host, key_pem, certificate_pem, [certificate_pem], True)
    if "unknown" in answers:
        raise not_tried(answers["unknown"])
    return answers.get("load") == ""


def not_tried(why: str) -> CatcherError:
    """Return the error that a pair could not be checked. why: the reason."""
    return CatcherError("the pair cannot be tried: %s" % why, "try again")


def _file_problem(given: pem.PemFile) -> str:
    if not given.data.strip():
        return "%s is empty" % given.path
    if not given.blocks:
        return "%s is %s" % (given.path, "truncated" if given.cut else "not PEM")
    return ""


def _key_file_problem(given: pem.PemFile) -> str:
    problem = _file_problem(given)
    if problem:
        return problem
    if not given.keys():
        return "catcher.key holds no private key"
    label, block = given.keys()[0]
    if pem.is_encrypted(label, block):
        return "catcher.key is encrypted, and a service cannot ask for its pass phrase"
    return ""


def _certificate_problem(own: x509.X509, size: int, count: int) -> str:
    """Return why no TLS handshake would work with a certificate, as the end of a sentence; "" if nothing shows that.

    count, size: how many certificates are sent, and their bytes in DER.
    """
    if own.key.problem:
        return "catcher.key is %s" % own.key.problem
    if not own.signs:
        return "catcher.crt is not for signing: its key usage has no digitalSignature, and a TLS handshake needs it"
    if own.usages is not None and SERVER_AUTH not in own.usages:
        # RFC 5280 (4.2.1.12) lets a client refuse anyExtendedKeyUsage alone, and OpenSSL does.
        return "catcher.crt is not for a TLS server: its extended key usage has no serverAuth"
    # RFC 8446, 4.4.2: each has three bytes of length and two of extensions, and there are eight around them all.
    if size + 5 * count + 8 > HANDSHAKE_LIMIT:
        return "catcher.crt is larger than a handshake carries: %d bytes, and a TKE reads %d" % (size, HANDSHAKE_LIMIT)
    return ""


def _ask_openssl(
    host: "Host", key_pem: bytes, certificate_pem: bytes, blocks: "List[bytes]", small: bool
) -> "Dict[str, str]":
    """Return judge.py's answers, {step: reason}; {"unknown": why} if it could not be asked. small: the key is RSA below
    2048 bits, or may be."""
    parts = [key_pem, certificate_pem, blocks[0], blocks[-1]]
    head = "%d %d %d %d %d\n" % (len(parts[0]), len(parts[1]), len(parts[2]), len(parts[3]), small)
    try:
        status, output = host.run([sys.executable, "-I", "-S", JUDGE], timeout=SECONDS,
                                  stdin=head.encode("ascii") + b"".join(parts), only_output=True)
    except OSError as error:
        return {"unknown": reason_of(error).lower()}
    if status != 0:
        return {"unknown": "Python ended with status %d" % status}
    answers = {}
    for line in output.decode("ascii", "replace").splitlines():
        step, tab, reason = line.partition("\t")
        if tab:
            answers[step] = reason
    if "ssl" in answers:
        return {"unknown": "the ssl module of Python cannot be loaded: %s" % shown(answers["ssl"])}
    return answers or {"unknown": "no answer"}


def _with_answers(
    verdict: Verdict, own: x509.X509, answers: "Dict[str, str]", key_pem: bytes, certificate_pem: bytes
) -> Verdict:
    """Return the verdict with OpenSSL's answers added."""
    if "unknown" in answers:
        return verdict.replace(unchecked=answers["unknown"])
    if answers.get("policy"):
        return unusable("the policy of this system's OpenSSL allows no TLS 1.2 or newer (%s)" % words(
            answers["policy"]))
    load = answers.get("load", "NO_ANSWER")
    if load:
        unread = verdict.chain if " cannot be read " in verdict.chain else ""
        of_certificate = answers.get("certificate", "") and (unread or words(answers["certificate"]))
        return unusable(_load_problem(load, of_certificate, own, key_pem, certificate_pem))
    for step, what in (("TLSv1_2", "TLS 1.2"), ("TLSv1_3", "TLS 1.3")):
        reason = answers.get(step)
        if reason:
            if reason == "BAD_SIGNATURE":
                return unusable("catcher.key is damaged: what it signs does not verify")
            if 0 < verdict.rsa_bits < keys.RSA_RECOMMENDED:
                # CCA allows the key, and OpenSSL has loaded it. FIPS mode or a list of signatures forbids it.
                return unusable("the security policy of this system's OpenSSL refuses an RSA key of %d bits: no %s "
                                "handshake works with it (%s)" % (verdict.rsa_bits, what, words(reason)))
            return unusable("no %s handshake works with them (%s)" % (what, words(reason)))
    if answers.get("leaf"):
        return unusable("every client refuses catcher.crt (%s)" % words(answers["leaf"]))
    if answers.get("chain") and not verdict.chain:
        if answers["chain"] == "certificate signature failure":
            return verdict.replace(chain="one of its certificates is not signed by the key of the next one")
        return verdict.replace(chain="a client that trusts its last certificate refuses it (%s)" % words(
            answers["chain"]))
    return verdict


def _load_problem(reason: str, of_certificate: str, own: x509.X509, key_pem: bytes, certificate_pem: bytes) -> str:
    """Return why OpenSSL did not load the pair, as the end of a sentence.

    reason: OpenSSL's name of the error. of_certificate: why it does not read catcher.crt alone, or "".
    """
    if reason in MISMATCH:
        return NOT_ITS_OWN
    if reason in POLICY:
        weak = " (%s)" % own.weak if own.weak and reason == "CA_MD_TOO_WEAK" else ""
        return "the security policy of this system's OpenSSL refuses catcher.crt: %s%s" % (words(reason), weak)
    for name, data in (("catcher.crt", certificate_pem), ("catcher.key", key_pem)):
        if b"\r" in data.replace(b"\r\n", b"\n").strip():
            return "%s has line ends that OpenSSL does not read (CR); write it with LF" % name
    if of_certificate or "CERTIFICATE" in reason:
        return "catcher.crt cannot be read as a certificate (%s)" % (of_certificate or words(reason))
    return "catcher.key cannot be read as a private key (%s)" % words(reason)
