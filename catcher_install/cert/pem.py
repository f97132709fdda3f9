"""The only reader of PEM (RFC 7468). It finds the blocks in a file, whatever line ends and other text the file has."""

import binascii

from ..text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Tuple

CERTIFICATE = "CERTIFICATE"
# Only OpenSSL uses this label (openssl-x509(1), -trustout).
TRUSTED = "TRUSTED CERTIFICATE"
# PKCS#7 begins with its type, signedData. CAs of Windows deliver chains in this form, even under the label CERTIFICATE.
SIGNED_DATA = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02"


class PemFile:
    """A file and the PEM blocks in it.

    path: its name, safe to show. typed: its name for a command. data: all its bytes. blocks: (label, PEM) of each, with
    plain line ends. cut: whether the last one has no end.
    """

    def __init__(self, path: str, data: bytes) -> None:
        self.path = shown(path)
        self.typed = path
        self.data = data
        self.blocks, self.cut = _blocks(data)

    def labels(self) -> "List[str]":
        """Return the labels of all blocks."""
        return [label for label, _ in self.blocks]

    def keys(self) -> "List[Tuple[str, bytes]]":
        """Return the private keys of any format: (label, PEM)."""
        return [one for one in self.blocks if one[0].endswith("PRIVATE KEY")]

    def certificates(self) -> "List[bytes]":
        """Return the certificates, PEM."""
        return [block for label, block in self.blocks if label == CERTIFICATE]


    def is_pkcs7(self) -> bool:
        """Return whether the file is PKCS#7, in PEM or DER."""
        try:
            content = der(self.blocks[0][1]) if self.blocks else self.data
        except ValueError:
            return False
        return SIGNED_DATA in content[:32]


def is_encrypted(label: str, block: bytes) -> bool:
    """Return whether a private key needs a pass phrase, in PKCS#8 or in the older formats (RFC 1421, 4.6.1.1)."""
    return label.startswith("ENCRYPTED") or b"Proc-Type: 4,ENCRYPTED" in block


def der(block: bytes) -> bytes:
    """Return the content of a PEM block. Raises ValueError if it is not base64."""
    return binascii.a2b_base64(b"".join(block.split(b"\n")[1:-2]))


def _blocks(data: bytes) -> "Tuple[List[Tuple[str, bytes]], bool]":
    """Return (label, PEM) of each block in a text, and whether the last block has no end.

    Other text is dropped. The old label X509 CERTIFICATE becomes CERTIFICATE.
    """
    found: List[Tuple[str, bytes]] = []
    label = ""
    lines: List[bytes] = []
    for line in data.replace(b"\r", b"\n").replace(b"\xef\xbb\xbf", b"").split(b"\n"):
        line = line.strip()
        if line.startswith(b"-----BEGIN ") and line.endswith(b"-----") and len(line) > 16:
            line = line.replace(b" X509 CERTIFICATE-", b" CERTIFICATE-")
            label, lines = line[11:-5].decode("ascii", "replace"), [line]
        elif label and line.startswith(b"-----END "):
            lines.append(line.replace(b" X509 CERTIFICATE-", b" CERTIFICATE-"))
            found.append((label, b"\n".join(lines) + b"\n"))
            label = ""
        elif label and line:
            lines.append(line)
    return found, bool(label)
