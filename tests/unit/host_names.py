"""Hosts of every kind of name and address that a certificate is made for."""

from catcher_install.cert.host_names import HostNames

LABEL_64 = "a123456789" * 6 + "1234"
FQDN_72 = "tke1-with-a-long-name.zone-one.datacenter-two.production.example.com.net"
assert (len(LABEL_64), len(FQDN_72)) == (64, 72)

# name: (short, full, addresses)
NAMES = {
    "short and full": ("tke1", "tke1.example.com", ["192.0.2.10", "2001:db8::10"]),
    "localhost": ("localhost", "localhost", ["192.0.2.10"]),
    "short only": ("tke1", "tke1", []),
    "IPv6 only": ("tke1", "tke1.example.com", ["2001:db8::10", "fd00:1::2"]),
    "IPv4 only": ("tke1", "tke1.example.com", ["10.0.0.1", "192.168.1.1"]),
    "many addresses": ("tke1", "tke1", ["10.0.%d.%d" % (n // 250, n % 250 + 1) for n in range(300)]),
    "underscore": ("tke_1", "tke_1.example.com", ["192.0.2.10"]),
    "comma": ("tke,1", "tke,1.example.com", ["192.0.2.10"]),
    "64-character label": (LABEL_64, LABEL_64, ["192.0.2.10"]),
    "72-character name": (FQDN_72.split(".")[0], FQDN_72, ["192.0.2.10"]),
    "UTF-8": ("h\xf6st", "h\xf6st.example.com", ["192.0.2.10"]),
    # As long as Linux allows, 64 bytes; with its domain more bytes than fit into a CN, though fewer characters.
    "UTF-8, 64 bytes": ("\xf6" * 32, "\xf6" * 32, ["192.0.2.10"]),
    "UTF-8, 64 bytes and a domain": ("\xf6" * 32, "\xf6" * 32 + ".example.com", ["192.0.2.10"]),
    "config syntax": ("$ENV::HOME", "#tke;1\\x\"y'=z", ["192.0.2.10"]),
    "upper case": ("TKE1", "TKE1.Example.COM", ["192.0.2.10"]),
}


def names_of(name):
    short, full, addresses = NAMES[name]
    return HostNames(short=short, full=full, addresses=addresses)


def names_to_verify(name):
    """The names by which a TKE may address the host, as far as they can be written in ASCII."""
    _, full, _ = NAMES[name]
    if name == "UTF-8":
        return ["xn--hst-sna", "xn--hst-sna.example.com"]
    if not all(ord(c) < 128 for c in full):
        return []
    return [NAMES[name][0], full]
