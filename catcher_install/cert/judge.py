"""Ask OpenSSL itself about a pair: with the loader that the reference catcher uses, and with handshakes.

This is a program of its own, which check.py runs as ``python3 -I -S judge.py``. So the caller need not import ``ssl``,
a key that crashes the loader crashes nothing else, and OpenSSL has the system's settings instead of the caller's.

Standard input: a line with five numbers, then the key file, the certificate file, the first certificate and the last
certificate, all PEM. The first four numbers are the sizes of these; the fifth is 1 for an RSA key below 2048 bits, else
0. Standard output: a line ``STEP<TAB>REASON`` for each step. REASON is empty if the step succeeded, else it is
OpenSSL's name of the error. The steps that depend on a failed step are left out.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

# The same as in the reference catcher.
CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
# Values of x509_vfy.h. The module ssl has the first one from Python 3.10.
X509_V_FLAG_PARTIAL_CHAIN = 0x80000
X509_V_FLAG_NO_CHECK_TIME = 0x200000
# OpenSSL's errors if it does not speak a version of TLS at all.
NOT_SPOKEN = ("UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE", "VERSION_TOO_LOW", "TLSV1_ALERT_PROTOCOL_VERSION",
              "WRONG_SSL_VERSION", "NO_SHARED_CIPHER_FOR_VERSION")  # fmt: skip


def main() -> int:
    """Judge the pair on standard input and print the answers. Returns 0. Any other end of this program is no answer."""
    data = sys.stdin.buffer.read()
    head, _, rest = data.partition(b"\n")
    sizes = [int(word) for word in head.split()]
    parts: List[bytes] = []
    for size in sizes[:4]:
        parts.append(rest[:size])
        rest = rest[size:]
    for step, reason in judge(parts[0], parts[1], parts[2], parts[3], bool(sizes[4])):
        print("%s\t%s" % (step, reason))
    return 0


def judge(key: bytes, crt: bytes, first: bytes, last: bytes, small: bool) -> "Any":
    """Yield (step, reason), as the module's docstring says."""
    try:
        import ssl
    except ImportError as error:
        yield "ssl", str(error)
        return
    try:
        server = server_context(ssl, small)
    except ssl.SSLError as error:
        yield "policy", _reason(error)
        return
    reason = _load(server, key, crt)
    yield "load", reason
    if reason:
        if _load_only(ssl, crt):
            yield "certificate", _load_only(ssl, crt)
        return
    spoken = []
    for version in ("TLSv1_2", "TLSv1_3"):
        client = _client(ssl, small)
        if not _pin(ssl, client, version):
            continue
        reason = _shake(ssl, server, client)
        if reason not in NOT_SPOKEN:
            spoken.append(version)
            yield version, reason
    if not spoken:
        yield "policy", "NO_PROTOCOLS_AVAILABLE"
        return
    alone = server_context(ssl, small)
    _load(alone, key, first)
    yield "leaf", _shake(ssl, alone, _client(ssl, small, first))
    if last != first:
        yield "chain", _shake(ssl, server, _client(ssl, small, last))


def server_context(ssl: "Any", small: bool) -> "Any":
    """Return a context as the reference catcher makes it: the system's policy, never made weaker, except that it allows
    a small RSA key (*small*).

    The code exists twice on purpose: each of the two runs without the other.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    allowed = {cipher["name"] for cipher in context.get_ciphers()}
    context.set_ciphers(CIPHERS)
    ours = [name for name in (cipher["name"] for cipher in context.get_ciphers())
            if name in allowed and not name.startswith("TLS_")]
    if not ours:
        context.options |= ssl.OP_NO_TLSv1_2
    if not hasattr(ssl, "TLSVersion"):
        context.options |= ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1
    elif context.minimum_version < ssl.TLSVersion.TLSv1_2:
        context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ours:
        small = small and getattr(context, "security_level", 2) <= 2
        context.set_ciphers(":".join(ours) + ":@SECLEVEL=1" * small)
    return context


def _client(ssl: "Any", small: bool, anchor: bytes = b"") -> "Any":
    """Return the context of a client. With an anchor (PEM) it verifies with that trust anchor alone, dates aside; else
    it verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if small:
        context.set_ciphers("DEFAULT:@SECLEVEL=1")
    if anchor:
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags = int(context.verify_flags) | X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_NO_CHECK_TIME
        context.load_verify_locations(cadata=anchor.decode("ascii"))
    return context


def _pin(ssl: "Any", context: "Any", version: str) -> bool:
    """Let a client speak only one version of TLS. Returns whether this Python can do that."""
    if hasattr(ssl, "TLSVersion"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        return True
    newest = getattr(ssl, "OP_NO_TLSv1_3", 0)
    if version == "TLSv1_2":
        context.options |= newest | ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1
        return True
    context.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_1 | ssl.OP_NO_TLSv1
    return bool(newest and getattr(ssl, "HAS_TLSv1_3", False))


def _load(context: "Any", key: bytes, crt: bytes) -> str:
    """Load a pair. Returns "" or the error. OpenSSL reads only files, so the pair is put into files without names."""
    crt_file, key_file = _in_memory(crt), _in_memory(key)
    try:
        context.load_cert_chain("/proc/self/fd/%d" % crt_file, "/proc/self/fd/%d" % key_file, password=lambda: b"")
    except OSError as error:
        return _reason(error)
    finally:
        os.close(crt_file)
        os.close(key_file)
    return ""


def _load_only(ssl: "Any", crt: bytes) -> str:
    """Return why OpenSSL does not read a file of certificates, or ""."""
    file = _in_memory(crt)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations("/proc/self/fd/%d" % file)
    except OSError as error:
        return _reason(error)
    finally:
        os.close(file)
    return ""


def _in_memory(data: bytes) -> int:
    if hasattr(os, "memfd_create"):  # from Python 3.8
        descriptor = os.memfd_create("pair", os.MFD_CLOEXEC)
    else:
        descriptor = os.open("/dev/shm", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb", closefd=False) as stream:
        stream.write(data)
    return descriptor


def _shake(ssl: "Any", server_side: "Any", client_side: "Any") -> str:
    """Try a handshake in memory. Returns "" or the error."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(to_client, to_server)
    server = server_side.wrap_bio(to_server, to_client, server_side=True)
    left = [client, server]
    try:
        for _ in range(20):
            for side in list(left):
                try:
                    side.do_handshake()
                    left.remove(side)
                except ssl.SSLWantReadError:
                    continue
            if not left:
                return ""
    except ssl.SSLError as error:
        return _reason(error)
    return "NO_END"


def _reason(error: "Any") -> str:
    """Return OpenSSL's name of an error, or its words if a certificate does not verify."""
    text = getattr(error, "verify_message", None) or getattr(error, "reason", None) or error.strerror or "UNKNOWN"
    return " ".join(str(text).split())


if __name__ == "__main__":
    sys.exit(main())
