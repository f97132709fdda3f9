"""The generated certificate, served by the reference catcher, as trust anchor of OpenSSL, GnuTLS, Python and Java.

Each client connects over IPv4 and IPv6, and requires a name: each name of the host, and other names.
"""

import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import sys
import time

import pytest

from catcher_install.cert import generate
from tests.ports import free_port
from tests.unit.host_names import NAMES, names_of, names_to_verify
from tests.unit.support import TREE

PAYLOAD = os.path.join(TREE, "payload/reference")
JAVA_CLIENT = os.path.join(TREE, "tests/unit/data/Verify.java")
ENVIRONMENT = {"OPENSSL_CONF": "/dev/null", "PATH": "/usr/bin:/bin", "LC_ALL": "C"}
STRANGERS = ["another.example.com", "203.0.113.99"]
PATIENCE = 60


def not_looked_for(client, name):
    """Whether a client refuses to look for a name, whatever the certificate says; the address is what remains."""
    labels = name.split(".")
    if client == "java":
        # RFC 1123 knows no such name.
        return any(len(label) > 63 or not label.replace("-", "").isalnum() for label in labels)
    if client == "python":
        # Before 3.7, Python compares an A-label with the Unicode name that it encodes (bpo-28414).
        old = sys.version_info < (3, 7) and any(label.startswith("xn--") for label in labels)
        return old or any(len(label) > 63 for label in labels)
    # No host can have this name, and no SAN contains it.
    return client == "gnutls-cli" and "$" in name


class Served:
    """A pair that the reference catcher serves: port, and the path of the certificate."""

    def __init__(self, directory, key, crt):
        shutil.copytree(PAYLOAD, str(directory / "tree"))
        program = directory / "tree" / "opt/IBM/CCA/bin/catcher.exe"
        (program.parent / "catcher.key").write_bytes(key)
        (program.parent / "catcher.crt").write_bytes(crt)
        self.certificate = str(program.parent / "catcher.crt")
        self.port = free_port()
        (directory / "conf").write_text("port=%d\n" % self.port)
        self.log = open(str(directory / "log"), "w+b")  # noqa: SIM115 - closed by stop()
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(program), "-tls"], stdin=subprocess.DEVNULL, stderr=self.log,
            env=dict(ENVIRONMENT, REFERENCE_CATCHER_CONF=str(directory / "conf")))

    def wait(self):
        """Until it listens."""
        end = time.monotonic() + PATIENCE
        while self.process.poll() is None and time.monotonic() < end:
            with open(self.log.name, "rb") as stream:
                if b"listening" in stream.read():
                    return
            time.sleep(0.01)
        raise AssertionError("the catcher does not listen")

    def stop(self):
        """End it."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.log.close()


def is_address(name):
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def address_for(name):
    """Return the address to connect to: an IPv6 address if the name is one."""
    return "::1" if ":" in name and is_address(name) else "127.0.0.1"


def run(*command, **more):
    """Return what a client prints, and whether it accepted the certificate."""
    child = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, **more)
    output = child.communicate(timeout=PATIENCE)[0].decode("utf-8", "replace")
    return output, child.returncode == 0


# -- the clients: for each name, "" where it is accepted, else why not -------------------------------------------------


def by_openssl(served, wanted, tmp_path):
    found = {}
    for name in wanted:
        option = "-verify_ip" if is_address(name) else "-verify_hostname"
        target = "%s:%d" % (address_for(name).replace("::1", "[::1]"), served.port)
        output, fine = run("/usr/bin/openssl", "s_client", "-connect", target, "-CAfile", served.certificate,
                           "-x509_strict", "-verify_return_error", option, name)
        found[name] = "" if fine and "Verify return code: 0 (ok)" in output else output
    return found


def by_gnutls(served, wanted, tmp_path):
    found = {}
    for name in wanted:
        output, fine = run("/usr/bin/gnutls-cli", "--x509cafile", served.certificate, "-p", str(served.port),
                           "--verify-hostname=" + name, address_for(name))
        found[name] = "" if fine and "Status: The certificate is trusted." in output else output
    return found


def by_python(served, wanted, tmp_path):
    context = ssl.create_default_context(cafile=served.certificate)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    found = {}
    for name in wanted:
        try:
            with socket.create_connection((address_for(name), served.port), timeout=PATIENCE) as sock, \
                    context.wrap_socket(sock, server_hostname=name) as tls:
                found[name] = "" if tls.getpeercert() else "no certificate"
        except (ssl.SSLError, ssl.CertificateError, UnicodeError) as error:
            found[name] = str(error)
    return found


def by_java(served, wanted, tmp_path):
    """JSSE, with a key store that holds this certificate alone, by keytool."""
    store = str(tmp_path / "anchors.p12")
    if not os.path.exists(store):
        output, fine = run("/usr/bin/keytool", "-importcert", "-noprompt", "-alias", "catcher", "-file",
                           served.certificate, "-keystore", store, "-storepass", "changeit")
        assert fine, output
    output, fine = run("/usr/bin/java", "-XX:TieredStopAtLevel=1", JAVA_CLIENT, store, "changeit", str(served.port),
                       *wanted)
    assert fine, output
    found = {}
    for line in output.splitlines():
        name, _, outcome = line.partition(" ")
        found[name] = "" if outcome in ("TLSv1.2", "TLSv1.3") else outcome
    return found


CLIENTS = {"openssl": by_openssl, "gnutls-cli": by_gnutls, "python": by_python, "java": by_java}
# A start of Java takes as long as hundreds of handshakes: one host for each kind of name.
JAVA_HOSTS = ["short and full", "IPv6 only", "72-character name", "UTF-8", "underscore"]
HOSTS = {"java": JAVA_HOSTS, "openssl": sorted(NAMES), "gnutls-cli": sorted(NAMES), "python": sorted(NAMES)}


@pytest.fixture
def serve(machine, tmp_path):
    """serve(HOST) -> Served: the pair that the library makes for one of NAMES, valid today."""
    running = []

    def start(name):
        running.append(Served(tmp_path / "served", *generate.generate(machine, names_of(name))))
        running[-1].wait()
        return running[-1]

    yield start
    for one in running:
        one.stop()


@pytest.mark.parametrize("client,name", [(client, name) for client in sorted(CLIENTS) for name in HOSTS[client]])
def test_a_client_that_imported_the_certificate_accepts_each_name_and_address(serve, tmp_path, client, name):
    served = serve(name)
    good = names_to_verify(name) + NAMES[name][2][:4]
    found = CLIENTS[client](served, good + STRANGERS, tmp_path)
    assert set(found) == set(good + STRANGERS)
    refused = {one: why for one, why in found.items() if why}
    expected = {one for one in names_to_verify(name) if not_looked_for(client, one)} | set(STRANGERS)
    assert set(refused) == expected, refused


@pytest.mark.parametrize("client", sorted(CLIENTS))
def test_a_client_that_imported_another_certificate_refuses_this_one(serve, machine, tmp_path, client):
    """This proves that a client accepts the certificate because it was imported."""
    served = serve("short and full")
    other = tmp_path / "other.crt"
    other.write_bytes(generate.generate(machine, names_of("short and full"))[1])
    served.certificate = str(other)
    found = CLIENTS[client](served, ["tke1.example.com"], tmp_path)
    assert found["tke1.example.com"]
