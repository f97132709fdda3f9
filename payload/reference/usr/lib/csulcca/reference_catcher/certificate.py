"""Find the public key in an X.509 certificate, which the standard library cannot do."""

RSA = bytes.fromhex("2a864886f70d010101")
EC = bytes.fromhex("2a8648ce3d0201")
CURVES = {
    bytes.fromhex("2a8648ce3d030107"): "prime256v1",
    bytes.fromhex("2b81040022"): "secp384r1",
    bytes.fromhex("2b81040023"): "secp521r1",
}
OTHERS = {
    bytes.fromhex("2a864886f70d01010a"): "RSA-PSS",
    bytes.fromhex("2a8648ce380401"): "DSA",
    bytes.fromhex("2b6570"): "Ed25519",
    bytes.fromhex("2b6571"): "Ed448",
}
OTHER_CURVES = {
    bytes.fromhex("2b8104000a"): "secp256k1",
    bytes.fromhex("2b81040021"): "secp224r1",
    bytes.fromhex("2a8648ce3d030101"): "prime192v1",
    bytes.fromhex("2b2403030208010107"): "brainpoolP256r1",
    bytes.fromhex("2b240303020801010b"): "brainpoolP384r1",
    bytes.fromhex("2b240303020801010d"): "brainpoolP512r1",
}
# In bits. A key that is smaller than recommended is used, with a warning.
RSA_SMALLEST, RSA_LARGEST, RSA_RECOMMENDED = 1024, 4096, 2048
# With the public exponent 1, a signature is what it signs, so anybody can make it.
RSA_EXPONENT = 3


def element(data, start, end, tag):
    """Return (start, end) of the contents of the DER element at START. It must have TAG and end before END.

    Raises ValueError for anything else. Only definite lengths are read: DER allows no others.
    """
    if end - start < 2 or data[start] != tag:
        raise ValueError("unexpected contents")
    length, start = data[start + 1], start + 2
    if length >= 0x80:
        size = length & 0x7f
        if not 1 <= size <= 4 or end - start < size:
            raise ValueError("unexpected length")
        length, start = int.from_bytes(data[start:start + size], "big"), start + size
    if length > end - start:
        raise ValueError("cut off")
    return start, start + length


def public_key(certificate):
    """Return ("RSA", bits) or (name of the curve, None) for a certificate in DER; ("", what it is) for other keys.

    The fields before the subjectPublicKeyInfo are skipped (RFC 5280, 4.1). Raises ValueError if this is not X.509.
    """
    start, end = element(certificate, 0, len(certificate), 0x30)
    start, end = element(certificate, start, end, 0x30)
    if certificate[start:start + 1] == b"\xa0":
        start = element(certificate, start, end, 0xa0)[1]       # version
    for tag in (0x02, 0x30, 0x30, 0x30, 0x30):                  # serial, signature, issuer, validity, subject
        start = element(certificate, start, end, tag)[1]
    start, end = element(certificate, start, end, 0x30)
    low, algorithm_end = element(certificate, start, end, 0x30)
    key_start, key_end = element(certificate, algorithm_end, end, 0x03)
    low, high = element(certificate, low, algorithm_end, 0x06)
    algorithm = certificate[low:high]
    if algorithm == RSA:
        low, end = element(certificate, key_start + 1, key_end, 0x30)   # after the count of unused bits
        low, high = element(certificate, low, end, 0x02)
        first, last = element(certificate, high, end, 0x02)
        exponent = int.from_bytes(certificate[first:last], "big")
        if exponent < RSA_EXPONENT:
            return "", "RSA with the public exponent %d" % exponent
        return "RSA", int.from_bytes(certificate[low:high], "big").bit_length()
    if algorithm == EC:
        if certificate[high:high + 1] != b"\x06":
            return "", "an EC key whose curve has no name"
        low, high = element(certificate, high, algorithm_end, 0x06)
        curve = certificate[low:high]
        name = CURVES.get(curve)
        return (name, None) if name else ("", OTHER_CURVES.get(curve, "an EC key on an unknown curve"))
    return "", OTHERS.get(algorithm, "a key of unknown type")
