"""The guide says what this host needs: the tests check each name, hash and box in it."""

import os
import re

import pytest

from catcher_install import config, paths
from catcher_install.admin import tke_guide
from catcher_install.cert import details
from catcher_install.cert.host_names import HostNames

from ..schema import conforms

HOUR = 3600
NOW = 1800000000

# Windows, menus, links, fields and buttons of the TKE console (vendor text).
TLS_NAMES = [
    "Import Remote Certificate", "From Remote Server", "From Removable Media", "Manage Trusted Signing Certificates",
    "Certificate Management", "Service Management", "Configuration", "Confirm Import", "Format Media",
    "Trusted Key Entry data", "Select Media Device", "Specify File System", "Format Media Complete", "Import", "Yes",
]
HOST_NAMES = [
    "Launch the Trusted Key Entry Console", "Trusted Key Entry", "Change Host", "Create Host", "Hosts",
    "Enable SSL/TLS", "OK",
]


def a_certificate(**changes):
    fields = {
        "subject": "CN=tke1.example.com", "issuer": "CN=tke1.example.com", "self_issued": True,
        "common_names": ["tke1.example.com"], "dns_names": ["tke1", "tke1.example.com"],
        "addresses": ["192.0.2.10", "2001:db8::10"], "not_before": NOW - HOUR, "not_after": NOW + HOUR,
        "sha1": ":".join(["A1"] * 20), "sha256": ":".join(["B2"] * 32), "problem": "",
    }
    fields.update(changes)
    return details.Certificate(**fields)


def facts(**changes):
    fields = {
        "names": HostNames(short="tke1", full="tke1.example.com", addresses=["192.0.2.10", "2001:db8::10"]),
        "certificate": a_certificate(), "problem": "", "configured": "tls", "running": "tls",
        "hidden": False, "use": "in use", "port": 50003, "now": NOW, "without_pair": True, "conf_problem": "",
    }
    fields.update(changes)
    return tke_guide.GuideFacts(**fields)


def text(mode, **changes):
    lines = tke_guide.guide(mode, facts(**changes))
    for line in lines:
        assert re.match(r"\A[ -~]{0,115}\Z", line), line
        assert line == line.rstrip()
        assert "%" not in line
    return "\n".join(lines)


def flat(mode, **changes):
    """The guide without its line ends."""
    return " ".join(text(mode, **changes).split())


def quoted(said):
    return re.findall('"([^"]+)"', said)


def test_no_command_is_broken_by_a_line_end():
    for length in range(1, 40):
        name = "n" * length
        names = HostNames(short=name, full=name, addresses=[])
        said = [text("tls", problem=name, certificate=None, configured="tcp"), text("tcp", names=names),
                text("tcp", conf_problem=name), text("tls", names=names, use="doubtful")]  # fmt: skip
        assert not re.search(r"(catcherctl|systemctl)( cert| mode| probe| tke-guide| restart)?$", "\n".join(said),
                             re.MULTILINE)  # fmt: skip


# -- what is filled in -------------------------------------------------------------------------------------------------


def test_tls_has_names_port_and_hashes():
    said = flat("tls")
    assert "Host Name/IP tke1.example.com or: tke1, 192.0.2.10, 2001:db8::10 Port 50003" in said
    assert "SHA-1 " + ":".join(["A1"] * 20) in said
    assert "SHA-256 " + ":".join(["B2"] * 32) in said
    assert "Valid 2027-01-15 07:00 UTC to 2027-01-15 09:00 UTC" in said


def test_tls_has_both_ways_of_import_and_then_the_ticked_box():
    said = flat("tls")
    remote, stick, box = (said.index(part) for part in (
        'type IP/Host tke1.example.com and Port 50003, then press "OK"', "catcherctl cert export DIR",
        'Tick the box "Enable SSL/TLS"'))
    assert remote < stick < box
    assert said.count("Compare its hashes with those above") == 2
    assert "to clear it" not in said


def test_tcp_has_the_box_not_ticked_and_no_import():
    said = flat("tcp", configured="tcp", running="tcp")
    assert 'If the box "Enable SSL/TLS" is ticked, click it to clear it.' in said
    assert "Host Name/IP tke1.example.com and Port 50003" in said
    assert "Tick the box" not in said
    assert "Import" not in said
    assert "SHA-" not in said


@pytest.mark.parametrize("mode, names", [("tls", TLS_NAMES + HOST_NAMES), ("tcp", HOST_NAMES)])
def test_names_are_those_of_the_console(mode, names):
    said = quoted(flat(mode))
    assert set(names) <= set(said)
    assert set(said) - set(names) <= {"Privileged Mode Access", "Format"}


@pytest.mark.parametrize("mode", ["tls", "tcp"])
def test_the_guide_tells_how_to_change_and_how_to_create_a_host(mode):
    said = flat(mode)
    assert said.index('"Change Host"') < said.index('"Create Host"')


@pytest.mark.parametrize("mode, configured, title", [
    (None, "tls", "over TLS"), (None, "tcp", "over plain TCP"), (None, None, "over TLS"),
    ("tls", "tcp", "over TLS"), ("tcp", "tls", "over plain TCP"),
])
def test_mode_is_the_configured_one_unless_it_is_given(mode, configured, title):
    assert title in text(mode, configured=configured).splitlines()[0]


@pytest.mark.parametrize("mode, see", [("tls", "Speaks TLSv1.2 or TLSv1.3"), ("tcp", "Speaks plain TCP, not TLS")])
def test_ends_with_the_probe_that_shows_it(mode, see):
    assert "Type: catcherctl probe tke1.example.com It must show: %s" % see in flat(mode)


@pytest.mark.parametrize("address, typed", [
    ("tke1.example.com", "tke1.example.com:50004"), ("2001:db8::10", "[2001:db8::10]:50004")])
def test_another_port_is_typed_at_the_console_and_for_the_probe(address, typed):
    names = HostNames(short="localhost", full="localhost", addresses=[address])
    said = flat("tls", port=50004, names=names, certificate=a_certificate(common_names=[address], dns_names=[]))
    assert "50003" not in said and said.count("Port 50004") == 3
    assert "Type: catcherctl probe %s It must show" % typed in said
    assert tke_guide.fields("tls", facts(port=50004))["port"] == 50004


# -- what is left to do on this host -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode, configured, running, said", [
    ("tls", "tls", "tls", "You have nothing more to do on this host"),
    ("tcp", "tcp", "tcp", "You have nothing more to do on this host"),
    ("tls", "tcp", "tcp",
     "configured for TCP. When the TKE is about to change, too, type on this host: catcherctl mode tls."),
    ("tcp", "tls", "tls", "configured for TLS. On this host, type: catcherctl mode tcp"),
    ("tls", None, None, "has no mode configured. On this host, type: catcherctl mode tls"),
    ("tls", "tls", None, "configured for TLS and does not run. On this host, type: systemctl start CSUTKEcat"),
    ("tls", "tls", "tcp", "configured for TLS and runs in TCP mode. On this host, type: catcherctl status"),
])
def test_the_guide_says_what_the_catcher_still_needs(mode, configured, running, said):
    assert said in flat(mode, configured=configured, running=running)


def test_a_catcher_that_only_root_sees_is_not_said_to_be_stopped():
    """With hidepid=, /proc shows a user only the user's own processes."""
    said = flat("tls", running=None, hidden=True, use="not known")
    assert "only root can see in which mode it runs. On this host, type: sudo catcherctl status" in said
    assert "does not run" not in said


@pytest.mark.parametrize("mode", ["tls", "tcp"])
def test_a_configuration_that_cannot_be_used_is_fixed_first(mode):
    said = flat(mode, configured=None, conf_problem="it says both TLS_ON and TLS_OFF")
    assert "not known (catcher.conf: it says both TLS_ON and TLS_OFF). On this host, type: catcherctl status" in said
    assert "catcherctl mode" not in said


def test_a_pair_that_cannot_be_shown_is_not_made_again():
    said = flat("tls", certificate=None, problem="there is no /opt/IBM/CCA/bin/catcher.crt", without_pair=False)
    assert "type: catcherctl cert check" in said and "cert generate" not in said


def test_without_a_pair_it_says_which_command_makes_one():
    said = flat("tls", certificate=None, problem="there is no /opt/IBM/CCA/bin/catcher.crt yet")
    assert "there is no /opt/IBM/CCA/bin/catcher.crt yet" in said
    assert "catcherctl cert generate" in said
    assert "SHA-" not in said
    assert "IP/Host tke1.example.com" in said


def test_tcp_needs_no_pair():
    said = flat("tcp", certificate=None, problem="there is no /opt/IBM/CCA/bin/catcher.crt yet")
    assert "cert generate" not in said


@pytest.mark.parametrize("changes, said", [
    ({"not_after": NOW - 1}, "has expired. To see how to renew it, on this host, type: catcherctl cert check"),
    ({"not_after": NOW - 1, "self_issued": False},
     "has expired. To see how to renew it, on this host, type: catcherctl cert check"),
    ({"not_before": NOW + 1}, "not valid yet"),
    ({"self_issued": False, "issuer": "CN=Bank CA"}, "A CA signed the certificate (CN=Bank CA)"),
    ({"dns_names": ["alias.example.com"], "common_names": [], "addresses": []}, "does not contain the names and"),
    ({"dns_names": [], "common_names": [], "addresses": []}, "contains no name that you can type"),
    ({"dns_names": ["*.other.example"], "common_names": [], "addresses": []}, "contains no name that you can type"),
])
def test_certificate_that_needs_a_word(changes, said):
    assert said in flat("tls", certificate=a_certificate(**changes))
    assert said not in flat("tls")
    assert said not in flat("tcp", certificate=a_certificate(**changes))


# -- which name to type ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changes, typed", [
    ({}, ["tke1.example.com", "tke1", "192.0.2.10", "2001:db8::10"]),
    ({"dns_names": ["tke1"], "common_names": []}, ["tke1", "192.0.2.10", "2001:db8::10"]),
    ({"dns_names": [], "common_names": [], "addresses": ["2001:DB8:0::10"]}, ["2001:db8::10"]),
    ({"dns_names": ["*.example.com"], "common_names": [], "addresses": []}, ["tke1.example.com"]),
    ({"dns_names": ["alias.example.com"], "common_names": ["x"], "addresses": []}, ["alias.example.com", "x"]),
])
def test_only_what_the_certificate_has_is_offered(changes, typed):
    assert facts(certificate=a_certificate(**changes)).typed(config.TLS) == typed


def test_tcp_offers_every_name():
    one = facts(certificate=a_certificate(dns_names=[], common_names=[], addresses=[]))
    assert one.typed(config.TCP) == ["tke1.example.com", "tke1", "192.0.2.10", "2001:db8::10"]


@pytest.mark.parametrize("mode", ["tls", "tcp"])
def test_a_name_beyond_ascii_can_be_typed(mode):
    """Python's escapes mean nothing to a console. The certificate has the name in the form of DNS."""
    names = HostNames(short="b\u00fccher", full="b\u00fccher.de", addresses=[])
    certificate = a_certificate(dns_names=["xn--bcher-kva", "xn--bcher-kva.de"])
    assert facts(names=names, certificate=certificate).typed(mode) == ["xn--bcher-kva.de", "xn--bcher-kva"]
    assert "does not contain the names" not in flat(mode, names=names, certificate=certificate)


def test_localhost_is_no_name_for_others():
    names = HostNames(short="localhost", full="localhost.localdomain", addresses=["192.0.2.10"])
    assert facts(names=names).typed(config.TCP) == ["192.0.2.10"]


def test_host_without_any_name():
    names = HostNames(short="localhost", full="localhost", addresses=[])
    said = flat("tcp", names=names)
    assert "has no name or address that others can use" in said
    assert "Host Name/IP HOST and Port 50003" in said


def test_many_addresses_are_cut():
    addresses = ["192.0.2.%d" % n for n in range(100)]
    said = flat("tcp", names=HostNames(short="t", full="t", addresses=addresses))
    assert "192.0.2.6 ... Port" in said


def test_names_cannot_write_to_the_terminal():
    evil = "\x1b[2J\u202e\u00fc"
    names = HostNames(short=evil, full=evil, addresses=[])
    text("tls", names=names, certificate=a_certificate(dns_names=[evil], subject="CN=" + evil, issuer=evil,
                                                       self_issued=False))


# -- the facts of a host -----------------------------------------------------------------------------------------------


def test_the_facts_are_those_of_the_host(machine, a_pair):
    machine.put(paths.CERTIFICATE, a_pair[1])
    machine.put(paths.CONF, b"TLS_ON\n")
    machine.processes[4711] = [paths.CATCHER, "-tls"]
    machine.programs["/usr/bin/getent"] = (2, b"")
    found = tke_guide.collect(machine)
    assert found.names.full == "tke1.example.com"
    assert (found.configured, found.running, found.problem) == ("tls", "tls", "")
    assert found.certificate.dns_names == ["tke1", "tke1.example.com"]
    assert found.typed("tls")[0] == "tke1.example.com"


@pytest.mark.parametrize("conf, configured", [
    (None, None), (b"TLS_OFF\n", "tcp"), (b"# TLS_ON\n", None), (b"TLS_ON\nTLS_OFF\n", None), (b"\0" * 100000, None),
])
def test_a_conf_without_one_mode_has_no_configured_mode(machine, conf, configured):
    if conf is not None:
        machine.put(paths.CONF, conf)
    found = tke_guide.collect(machine)
    assert (found.configured, found.running) == (configured, None)


@pytest.mark.parametrize("target", ["/root/catcher.conf", "/tmp/catcher.conf"])
def test_a_mode_that_the_service_cannot_see_is_none(machine, target):
    machine.put(target, b"TLS_OFF\n")
    machine.put_link(paths.CONF, target)
    assert tke_guide.collect(machine).configured is None


@pytest.mark.parametrize("data, problem", [
    (None, "there is no /opt/IBM/CCA/bin/catcher.crt"),
    (b"", "holds no certificate"),
    (b"\0\xff" * 1000, "holds no certificate"),
    (b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n", "not a certificate"),
    (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "not a certificate"),
    (b"x" * (10 * 1024 * 1024), "cannot be read: larger than"),
], ids=["none", "empty", "binary", "not base64", "no certificate", "10 MB"])
def test_certificate_that_cannot_be_shown(machine, data, problem):
    machine.programs[paths.OPENSSL] = (1, b"unable to load certificate\n")
    if data is not None:
        machine.put(paths.CERTIFICATE, data)
    found = tke_guide.collect(machine)
    assert found.certificate is None
    assert problem in found.problem
    assert "This guide cannot show a certificate" in "\n".join(tke_guide.guide("tls", found))


def test_certificate_that_is_a_fifo_is_not_waited_for(machine):
    os.mkfifo(machine.on_disk(paths.CERTIFICATE))
    assert "cannot be read" in tke_guide.collect(machine).problem


def test_the_first_certificate_of_a_chain_with_text_and_crlf_is_used(machine, a_pair):
    data = b"subject=CN = tke1\r\n" + a_pair[1].replace(b"\n", b"\r\n") + b"-----BEGIN CERTIFICATE-----\r\nAAAA\r\n"
    machine.put(paths.CERTIFICATE, data)
    assert tke_guide.collect(machine).certificate.common_names == ["tke1.example.com"]


def test_collecting_changes_nothing(machine, a_pair):
    from ..support import tree_of

    machine.put(paths.CERTIFICATE, a_pair[1])
    before = tree_of(machine, times=True)
    tke_guide.guide(None, tke_guide.collect(machine))
    assert tree_of(machine, times=True) == before


def test_only_the_certificate_of_the_pair_is_read(machine, a_pair):
    machine.put(paths.KEY, a_pair[0])
    machine.put(paths.CERTIFICATE, a_pair[1])
    read, seen = machine.read, []

    def recording(path, *more, **others):
        seen.append(path)
        return read(path, *more, **others)

    machine.read = recording
    tke_guide.collect(machine)
    assert paths.CERTIFICATE in seen
    assert paths.KEY not in seen


# -- fields ------------------------------------------------------------------------------------------------------------


def test_fields_are_those_that_are_documented():
    fields = tke_guide.fields("tls", facts())
    conforms("tke-guide", dict(fields, format_version=1))
    for name in list(fields) + list(fields["certificate"]):
        assert name in tke_guide.fields.__doc__
    assert fields["enable_tls"] is True
    assert fields["steps"] == tke_guide.guide("tls", facts())
    fields = tke_guide.fields(None, facts(configured="tcp", certificate=None))
    conforms("tke-guide", dict(fields, format_version=1))
    assert fields["enable_tls"] is False
