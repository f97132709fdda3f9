"""The key and certificate, and the TLS contexts that are made from them."""

import os

from .certificate import RSA_LARGEST, RSA_RECOMMENDED, RSA_SMALLEST, public_key
from .refusal import EX_CONFIG, NEW_PAIR, Refused, status_of
from .settings import read_file
from .streams import plain

PEM_LIMIT = 256 * 1024
SUPPORTED_KEYS = ("use RSA %d to %d, prime256v1, secp384r1 or secp521r1, for example from: catcherctl cert generate" % (
    RSA_RECOMMENDED, RSA_LARGEST))
# For TLS 1.2, only forward secrecy and authenticated encryption, which Java has had for ten years. TLS 1.3 has its own.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
# OpenSSL's errors if its security level refuses a certificate, and what to do then.
POLICY_REASONS = ("EE_KEY_TOO_SMALL", "CA_KEY_TOO_SMALL", "CA_MD_TOO_WEAK")
SEE_POLICY = "install a pair that the policy allows (openssl.cnf, update-crypto-policies --show), or change the policy"
OP_IGNORE_UNEXPECTED_EOF = 0x80     # ssl.h of OpenSSL 3; the module ssl has it from Python 3.10
OP_NO_RENEGOTIATION = 0x40000000    # OpenSSL has it from 1.1.0h; the module ssl has it from Python 3.7


def read_pem(path):
    """Return the bytes of one file of the pair. Raises Refused with the reason."""
    try:
        data = read_file(path, PEM_LIMIT)
    except OSError as error:
        raise Refused(status_of(error), "%s: cannot be read: %s" % (path, error.strerror), NEW_PAIR) from None
    except ValueError as error:
        raise Refused(EX_CONFIG, "%s: %s" % (path, error), NEW_PAIR) from None
    if b"-----BEGIN " not in data:
        raise Refused(EX_CONFIG, "%s: %s" % (path, "is not PEM" if data.strip() else "is empty"), NEW_PAIR)
    return data


class Pair:
    """The pair. It is read once, at the start: every TLS context is made from these bytes, even if the files change.

    kind: for the log, e.g. "RSA 2048" or "secp521r1". Raises Refused (EX_CONFIG) for a pair that cannot be used.
    """

    def __init__(self, directory):
        key_path, crt_path = (os.path.join(directory, "catcher." + end) for end in ("key", "crt"))
        there = [path for path in (key_path, crt_path) if os.path.lexists(path)]
        if not there:
            raise Refused(EX_CONFIG, "%s and catcher.crt are missing" % key_path,
                          "let the control script make them: systemctl restart CSUTKEcat")
        if len(there) == 1:
            lost = crt_path if there == [key_path] else key_path
            raise Refused(EX_CONFIG, "%s is missing, and %s is there" % (lost, there[0]),
                          "put the missing half back, or " + NEW_PAIR)
        self.key, self.crt = read_pem(key_path), read_pem(crt_path)
        self.key_path, self.crt_path = key_path, crt_path
        # OpenSSL uses the first key. Other text in the file does not matter.
        if b"ENCRYPTED" in from_line(self.key, b"-----BEGIN ", b"PRIVATE KEY-----").partition(b"-----END ")[0]:
            raise Refused(EX_CONFIG, "%s is encrypted, and the catcher cannot ask for its passphrase" % key_path,
                          "remove it with: openssl pkey -in KEY -out PLAIN; then " + NEW_PAIR)
        self.name, self.bits = self._public_key()
        self.kind = "RSA %d" % self.bits if self.name == "RSA" else self.name

    def _public_key(self):
        import binascii
        begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
        # The old PEM label of a certificate.
        self.crt = self.crt.replace(b" X509 CERTIFICATE-----", b" CERTIFICATE-----")
        try:
            # OpenSSL also reads certificates with other labels. What comes before this one is dropped, so it is
            # OpenSSL's first one, too.
            self.crt = from_line(self.crt, begin, begin)
            if end not in self.crt:
                raise ValueError("no whole certificate in PEM")
            name, bits = public_key(binascii.a2b_base64(self.crt[len(begin):].partition(end)[0]))
        except ValueError as error:
            raise Refused(EX_CONFIG, "%s: not a certificate: %s" % (self.crt_path, error), NEW_PAIR) from None
        if not name or (name == "RSA" and not RSA_SMALLEST <= bits <= RSA_LARGEST):
            what = "RSA of %d bits" % bits if name else bits
            raise Refused(EX_CONFIG, "%s: unsupported key: %s" % (self.crt_path, what), SUPPORTED_KEYS)
        return name, bits

    def is_small(self):
        """Return whether the key is smaller than recommended."""
        return self.name == "RSA" and self.bits < RSA_RECOMMENDED

    def context(self):
        """Return a new ssl.SSLContext for the server. Raises Refused if OpenSSL or the system refuses the pair."""
        try:
            import ssl
        except ImportError as error:
            raise Refused(EX_CONFIG, "this Python cannot do TLS: %s" % error,
                          "install its ssl module, or: catcherctl mode tcp") from None
        try:
            context = self._bare_context(ssl)
        except ssl.SSLError as error:
            raise Refused(EX_CONFIG, "OpenSSL of this system cannot do TLS 1.2 or newer: %s" % plain(error.reason),
                          SEE_POLICY) from None
        self._load_into(context)
        return context

    def _bare_context(self, ssl):
        """Return a context without the pair: the system's policy (openssl.cnf), made stricter and never weaker, except
        for an RSA key below 2048 bits.

        This holds for a Python that leaves the defaults to OpenSSL, as the Python of a distribution does.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        allowed = {cipher["name"] for cipher in context.get_ciphers()}
        context.set_ciphers(CIPHERS)
        ours = [name for name in (cipher["name"] for cipher in context.get_ciphers())
                if name in allowed and not name.startswith("TLS_")]
        if not ours:
            # The policy allows no cipher of CIPHERS, so TLS 1.2 is off. TLS 1.3 has a list of its own.
            context.options |= ssl.OP_NO_TLSv1_2
        if not hasattr(ssl, "TLSVersion"):
            context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
        elif context.minimum_version < ssl.TLSVersion.TLSv1_2:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
        # With security level 2, distributions refuse RSA keys below 2048 bits. The vendor allows 1024, which needs
        # level 1. It is set only for such a key, and only if nobody has set a level above 2.
        small = self.is_small() and getattr(context, "security_level", 2) <= 2
        if ours:
            context.set_ciphers(":".join(ours) + ":@SECLEVEL=1" * small)
        context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE | ssl.OP_SINGLE_ECDH_USE
        # Python 3.10 to 3.11.2 set this option. With it, OpenSSL 3 takes a truncated stream for a complete one.
        context.options &= ~OP_IGNORE_UNEXPECTED_EOF
        if ssl.OPENSSL_VERSION_INFO >= (1, 1, 0, 8):
            context.options |= OP_NO_RENEGOTIATION
        if hasattr(context, "num_tickets"):
            context.num_tickets = 0
            context.options |= ssl.OP_NO_TICKET     # without num_tickets, OpenSSL would cache TLS 1.3 sessions instead
        return context

    def _load_into(self, context):
        crt, key = in_memory(self.crt), in_memory(self.key)
        try:
            context.load_cert_chain("/proc/self/fd/%d" % crt, "/proc/self/fd/%d" % key, password=lambda: b"")
        except OSError as error:
            reason = getattr(error, "reason", None) or error.strerror or "UNKNOWN_REASON"
            if reason in ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):
                raise Refused(EX_CONFIG, "%s does not belong to %s" % (self.key_path, self.crt_path),
                              NEW_PAIR) from None
            if reason in POLICY_REASONS:
                raise Refused(EX_CONFIG, "the security policy of this system refuses %s: %s" % (
                    self.crt_path, plain(reason)), SEE_POLICY) from None
            raise Refused(EX_CONFIG, "OpenSSL refuses the pair %s, %s: %s" % (
                self.key_path, self.crt_path, plain(reason)), NEW_PAIR) from None
        finally:
            os.close(crt)
            os.close(key)

    def try_out(self, context):
        """Do a handshake with ourselves. Raises Refused if none works, because then no peer could use the pair."""
        import ssl
        why = ""
        for options in (0, getattr(ssl, "OP_NO_TLSv1_3", 0)):
            try:
                shake_hands(context, self._client_context(ssl, options))
                return
            except ssl.SSLError as error:
                why = plain(error.reason)
        raise Refused(EX_CONFIG, "no TLS handshake is possible with %s and the security policy of this system: %s" % (
            self.crt_path, why), SEE_POLICY)

    def _client_context(self, ssl, options):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.options |= options
        if self.is_small():
            context.set_ciphers("DEFAULT:@SECLEVEL=1")
        return context


def from_line(data, beginning, end):
    """Return DATA from the first line on that begins and ends so, as OpenSSL looks for PEM; b"" if there is none."""
    lines = data.replace(b"\xef\xbb\xbf", b"", 1).split(b"\n")
    for number, line in enumerate(lines):
        if line.startswith(beginning) and line.rstrip().endswith(end):
            return b"\n".join(lines[number:])
    return b""


def shake_hands(server_context, client_context):
    """Do a TLS handshake in memory. Raises ssl.SSLError if it fails."""
    import ssl
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client_context.wrap_bio(to_client, to_server), server_context.wrap_bio(to_server, to_client, True)]
    while ends:
        for end in list(ends):
            try:
                end.do_handshake()
                ends.remove(end)
            except ssl.SSLWantReadError:
                continue


def in_memory(data):
    """Return a descriptor of a file without a name that contains DATA: OpenSSL reads only files, and must read exactly
    the bytes that were checked."""
    if hasattr(os, "memfd_create"):     # from Python 3.8
        descriptor = os.memfd_create("catcher", os.MFD_CLOEXEC)
    else:
        descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    return descriptor
