"""Find the host's names and addresses for its certificate.

This works without network, DNS and /etc/hosts, and never waits longer than LOOKUP_SECONDS.
"""

import ipaddress

from ..messages import finding
from ..record import Record
from . import interfaces
from .names import names_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from ..host import Host
    from ..messages import Finding

LOOKUP_SECONDS = 3
# The largest number of bytes of addresses in a certificate: a handshake must carry it, and Java reads 32 KiB.
SAN_LIMIT = 24 * 1024
# Flags of an IPv6 address (if_addr.h).
TEMPORARY, DUPLICATE, DEPRECATED = 0x01, 0x08, 0x20
# Ranks of addresses, in the order in which they are listed. PASSING ones are never listed.
LASTING, DEPRECATED_LAST, OF_BRIDGE, PASSING = range(4)
# X.520: ub-common-name. Counted in bytes, as cryptography counts.
COMMON_NAME_LIMIT = 64


class HostNames(Record):
    """The names and addresses of a host.

    short: the host name up to its first dot. full: with its domain; the short name if no domain is known.
    addresses: the global IPv4 and IPv6 addresses for a certificate, see addresses().
    """

    __slots__ = ("short", "full", "addresses")
    short: str
    full: str
    addresses: "List[str]"

    def common_name(self) -> str:
        """Return the full name, or the short one if the full name is too long for a CN."""
        if len(self.full.encode("utf-8")) <= COMMON_NAME_LIMIT:
            return self.full
        return self.short.encode("utf-8")[:COMMON_NAME_LIMIT].decode("utf-8", "ignore")

    def dns_names(self) -> "List[str]":
        """Short and full name, each once."""
        return [self.short] if self.full == self.short else [self.short, self.full]

    def every(self) -> "List[str]":
        """Return the names and addresses by which a TKE may know this host, the full name first."""
        return self.dns_names()[::-1] + self.addresses


def collect(host: "Host") -> HostNames:
    """Return the names and addresses of this host."""
    node = host.node_name().strip(".")
    if not node or node == "(none)" or "*" in node:
        # A certificate for a name with an asterisk would be valid for many hosts.
        node = "localhost"
    short = node.split(".", 1)[0]
    full = node if "." in node else _from_hosts_file(host, node) or _from_resolver(host, node) or node
    return HostNames(short=short, full=full, addresses=addresses(host).listed)


def _from_hosts_file(host: "Host", node: str) -> "Optional[str]":
    """Return the name with a domain that stands beside *node* in /etc/hosts (hosts(5)), or None. Case is ignored."""
    try:
        data = host.read_optional("/etc/hosts", 1024 * 1024) or b""
    except OSError:
        return None
    for line in data.decode("utf-8", "replace").splitlines():
        words = line.split("#", 1)[0].split()[1:]
        if node.lower() in [word.lower() for word in words]:
            for word in words:
                if _is_full(word, node):
                    return word.rstrip(".")
    return None


def _is_full(name: str, node: str) -> bool:
    """Return whether a name is *node* with a domain."""
    return name.lower().startswith(node.lower() + ".") and "*" not in name and len(name.rstrip(".")) > len(node)


def _from_resolver(host: "Host", node: str) -> "Optional[str]":
    """Return the canonical name with a domain that the system's resolver gives to *node* within LOOKUP_SECONDS, or
    None."""
    if host.root != "/":
        return None
    try:
        status, output = host.run(["/usr/bin/getent", "ahosts", node], timeout=LOOKUP_SECONDS, only_output=True)
    except OSError:
        return None
    words = output.decode("utf-8", "replace").split()
    if status == 0 and len(words) > 2 and _is_full(words[2], node):
        return words[2].rstrip(".")
    return None


class Addresses(Record):
    """This host's addresses, each once.

    listed: those for a certificate, the lasting ones first. left_out: those for which a certificate has no room.
    passing: temporary addresses (RFC 8981), which no certificate lists.
    """

    __slots__ = ("listed", "left_out", "passing")
    listed: "List[str]"
    left_out: "List[str]"
    passing: "List[str]"


def addresses(host: "Host") -> Addresses:
    """Return the global addresses of this host; none if the host is another root directory."""
    found: Dict[str, int] = {}
    routed = interfaces.with_default_route(host)
    lasting: Dict[str, bool] = {}
    for address, rank, interface in _ipv4(host) + _ipv6(host):
        if interface not in lasting:
            lasting[interface] = interfaces.is_lasting(host, interface, routed)
        rank = rank if lasting[interface] else max(rank, OF_BRIDGE)
        found[address] = min(rank, found.get(address, rank))
    ordered = sorted((one for one in found if found[one] != PASSING), key=lambda one: found[one])
    room = SAN_LIMIT
    for number, address in enumerate(ordered):
        # The bytes of the address with a tag and a length in front (RFC 5280, 4.2.1.6).
        room -= 18 if ":" in address else 6
        if room < 0:
            return Addresses(listed=ordered[:number], left_out=ordered[number:], passing=_passing(found))
    return Addresses(listed=ordered, left_out=[], passing=_passing(found))


def address_findings(host: "Host") -> "List[Finding]":
    """Return findings about the addresses of this host that a new certificate would not list."""
    here = addresses(host)
    found = []
    if here.left_out:
        found.append(finding("pair-addresses-left-out", count=str(len(here.left_out)),
                             addresses=names_text(here.left_out)))
    if here.passing:
        found.append(finding("pair-addresses-temporary", addresses=names_text(here.passing)))
    return found


def _passing(found: "Dict[str, int]") -> "List[str]":
    return [one for one in found if found[one] == PASSING]


def _ipv4(host: "Host") -> "List[Tuple[str, int, str]]":
    if host.root != "/":
        return []
    try:
        found = host.ipv4_addresses()
    except OSError:
        # A kernel without IPv4.
        return []
    return [(address, LASTING, interface) for address, interface in found
            if _is_global(ipaddress.ip_address(address))]


def _ipv6(host: "Host") -> "List[Tuple[str, int, str]]":
    """Return (address, rank, interface) of the global addresses in /proc/net/if_inet6 (fourth field 00), except those
    that another host already has."""
    if host.root != "/":
        return []
    try:
        data = host.read_optional("/proc/net/if_inet6", 16 * 1024 * 1024) or b""
    except OSError:
        return []
    found = []
    for line in data.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) < 6 or words[3] != "00":
            continue
        flags = int(words[4], 16)
        address = ipaddress.ip_address(bytes.fromhex(words[0]))
        if flags & DUPLICATE or not _is_global(address):
            continue
        rank = DEPRECATED_LAST if flags & DEPRECATED else LASTING
        rank = PASSING if flags & TEMPORARY else rank
        found.append((str(address), rank, words[5]))
    return found


def _is_global(address: "ipaddress._BaseAddress") -> bool:
    """Return whether another host can use the address: those of private networks count, loopback and link-local ones do
    not."""
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)  # type: ignore[attr-defined]
