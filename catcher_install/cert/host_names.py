"""The host's names and addresses, as its certificate must carry them.

Works with no network, no DNS and no /etc/hosts; never waits longer than LOOKUP_SECONDS.
"""

import ipaddress

from ..record import Record

MYPY = False
if MYPY:
    from typing import List, Optional

    from ..host import Host

LOOKUP_SECONDS = 3
# X.520: ub-common-name. Counted in bytes, as cryptography does.
COMMON_NAME_LIMIT = 64


class HostNames(Record):
    """short: host name up to its first dot; full: with domain, or the short one where none is known;
    addresses: every global IPv4 and IPv6 address, in the kernel's order."""

    __slots__ = ("short", "full", "addresses")
    short: str
    full: str
    addresses: "List[str]"

    def common_name(self) -> str:
        """The full name, or the short one where the full exceeds what a CN may hold."""
        if len(self.full.encode("utf-8")) <= COMMON_NAME_LIMIT:
            return self.full
        return self.short.encode("utf-8")[:COMMON_NAME_LIMIT].decode("utf-8", "ignore")

    def dns_names(self) -> "List[str]":
        """Short and full name, each once."""
        return [self.short] if self.full == self.short else [self.short, self.full]


def collect(host: "Host") -> HostNames:
    """The names and addresses of this host."""
    node = host.node_name().strip(".")
    if not node or node == "(none)":
        node = "localhost"
    short = node.split(".", 1)[0]
    full = node if "." in node else _from_hosts_file(host, node) or _from_resolver(host, node) or node
    return HostNames(short=short, full=full, addresses=_ipv4(host) + _ipv6(host))


def _from_hosts_file(host: "Host", node: str) -> "Optional[str]":
    """The dotted name beside *node* in /etc/hosts (hosts(5))."""
    try:
        data = host.read_optional("/etc/hosts", 1024 * 1024) or b""
    except OSError:
        return None
    for line in data.decode("utf-8", "replace").splitlines():
        words = line.split("#", 1)[0].split()[1:]
        if node in words:
            for word in words:
                if word.startswith(node + "."):
                    return word.rstrip(".")
    return None


def _from_resolver(host: "Host", node: str) -> "Optional[str]":
    """The canonical name that the system's resolver gives *node*, within LOOKUP_SECONDS."""
    if host.root != "/":
        return None
    try:
        status, output = host.run(["/usr/bin/getent", "ahosts", node], timeout=LOOKUP_SECONDS)
    except OSError:
        return None
    words = output.decode("utf-8", "replace").split()
    if status == 0 and len(words) > 2 and words[2].startswith(node + "."):
        return words[2].rstrip(".")
    return None


def _ipv4(host: "Host") -> "List[str]":
    if host.root != "/":
        return []
    try:
        found = host.ipv4_addresses()
    except OSError:
        # A kernel without IPv4.
        return []
    return [a for a in dict.fromkeys(found) if _is_global(ipaddress.ip_address(a))]


def _ipv6(host: "Host") -> "List[str]":
    """Addresses of global scope in /proc/net/if_inet6 (fourth field 00), but none that another host already has."""
    if host.root != "/":
        return []
    try:
        data = host.read_optional("/proc/net/if_inet6", 1024 * 1024) or b""
    except OSError:
        return []
    found = []
    for line in data.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) < 6 or words[3] != "00" or int(words[4], 16) & 0x08:
            continue
        address = ipaddress.ip_address(bytes.fromhex(words[0]))
        if _is_global(address):
            found.append(str(address))
    return found


def _is_global(address: "ipaddress._BaseAddress") -> bool:
    """Whether another host can use the address: private networks count, the host itself and its links do not."""
    return not (address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast)  # type: ignore[attr-defined]
