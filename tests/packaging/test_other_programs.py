"""What docs/ says about other programs, with those programs: certbot, certmonger, three firewalls, Prometheus.

The commands are those of the pages, from their blocks and tables. Only what a page calls an example is replaced:
the address of the TKE, the name of the CA, the URL of the ACME server.
"""

import json
import re
from collections.abc import Callable

import pytest

from tests import pages
from tests.matrix.machine import AnyMachine, Result

from .packages import Built
from .system import System

pytestmark = [
    pytest.mark.scenario("other-programs"),
    pytest.mark.only(lambda cell: "programs" in cell.roles, "these programs are not there"),
]

# A name as ACME servers want it, with a dot.
NAME = "zlinux1.example.com"
FIREWALL, RENEWAL = "open-the-firewall", "renew-through-an-enterprise-ca"


def rows(page: str, heading: str) -> dict[str, str]:
    """Return each command or option of the table below a heading, with the other cell of its row."""
    below = pages.text(page).split(f"\n## {heading}\n")[1].split("\n## ")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in below.splitlines() if line[:1] == "|"]
    code = [next(cell for cell in row if cell[:1] == "`") for row in cells if "`" in "".join(row)]
    words = [next((cell for cell in row if cell[:1] != "`"), "") for row in cells if "`" in "".join(row)]
    assert code, f"docs/{page}.md: no table of commands at {heading}"
    return dict(zip((one.strip("`") for one in code), words, strict=True))


def type_blocks(machine: AnyMachine, page: str, heading: str, count: int) -> None:
    """Type the first commands below a heading."""
    steps = [step for step in pages.steps(page) if step.heading == heading]
    for step in steps[:count]:
        machine.run(step.command)


@pytest.fixture
def host(boot: Callable[..., System], built: Built) -> System:
    """A host with the package, in TLS mode, and no firewall yet: Debian's firewalld starts at boot."""
    system = boot(NAME)
    system.machine.run("systemctl stop firewalld")
    system.package("apt", "install", built.new("deb"))
    return system


# -- programs that renew certificates ----------------------------------------------------------------------------------


def in_use(host: System) -> str:
    """The hash of the certificate that the catcher shows to the network, which must be the installed one, for NAME."""
    assert host.workstation is not None
    seen = host.workstation.probe(host.machine.ip4, NAME)
    assert seen["state"] == "tls" and seen["name_matches"], seen
    shown = json.loads(host.machine.run("catcherctl cert show --json").out)
    assert shown["certificates"][0]["sha256"] == seen["chain"][0]["sha256"]
    assert not shown["made_here"]
    assert len(seen["chain"]) > 1, "the TKE trusts the CA, so the chain must lead there"
    return seen["chain"][0]["sha256"]


def test_certmonger_hands_over_what_it_requests_and_what_it_renews(host: System) -> None:
    machine = host.machine
    type_blocks(machine, RENEWAL, "certmonger", 2)
    request = " ".join(rows(RENEWAL, "certmonger")).replace("-c IPA", "-c local").replace("zlinux1", NAME)
    machine.run(request)
    first = in_use(host)

    machine.run("getcert resubmit -w -f /etc/pki/csulcca/catcher.crt")
    assert in_use(host) != first


PEBBLE = {"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
                     "certificate": "/root/acme.crt", "privateKey": "/root/acme.key", "httpPort": 80, "tlsPort": 443,
                     "ocspResponderURL": "", "externalAccountBindingRequired": False}}  # fmt: skip


def start_acme_server(machine: AnyMachine) -> str:
    """Start pebble, with a certificate that the system trusts like that of a company's CA. Return its URL."""
    machine.run("openssl req -x509 -newkey rsa:2048 -nodes -keyout /root/acme.key -out /root/acme.crt -days 9 "
                "-subj /CN=localhost -addext subjectAltName=DNS:localhost")  # fmt: skip
    machine.run("cp /root/acme.crt /usr/local/share/ca-certificates/acme.crt && update-ca-certificates")
    machine.write("/root/pebble.json", json.dumps(PEBBLE))
    machine.run("systemd-run --unit=pebble --setenv=PEBBLE_VA_NOSLEEP=1 --setenv=PEBBLE_WFE_NONCEREJECT=0 "
                "pebble -config /root/pebble.json")  # fmt: skip
    machine.wait_for("pebble", lambda: ":14000 " in machine.run("ss -Hltn").out)
    return "https://localhost:14000/dir"


def test_certbot_hands_over_what_it_requests_and_what_it_renews(host: System) -> None:
    machine = host.machine
    url = start_acme_server(machine)
    type_blocks(machine, RENEWAL, "certbot", 1)
    request = " ".join(rows(RENEWAL, "certbot")).replace("https://acme.example.com/directory", url)
    # Answers to the questions that certbot asks a person.
    answers = "--non-interactive --agree-tos --register-unsafely-without-email"
    machine.run(f"{request.replace('zlinux1', NAME)} {answers}")
    type_blocks(machine, RENEWAL, "certbot", 2)
    first = in_use(host)

    renewal = re.search("`(certbot renew [^`]+)`", pages.text(RENEWAL))
    assert renewal
    machine.run(f"{renewal.group(1)} --no-random-sleep-on-renew")
    assert in_use(host) != first


# -- firewalls ---------------------------------------------------------------------------------------------------------


def connects(client: AnyMachine, host: System) -> bool:
    """Whether a machine reaches the catcher's port."""
    command = f"timeout 3 bash -c '</dev/tcp/{host.machine.ip4}/50003'"
    return client.run(command, check=False).rc == 0


# The state of each firewall before: it lets nothing in, like that of a hardened host.
CLOSED = {
    "firewalld": "systemctl start firewalld && firewall-cmd --permanent --zone=public --change-interface=eth0 && "
                 "firewall-cmd --reload",
    "ufw": "ufw --force enable",
    "nftables": "nft -f /etc/nftables.conf && nft add chain inet filter input '{ policy drop; }' && "
                "nft add rule inet filter input ct state established,related accept && "
                # The last rule of many rule sets. Rules after it have no effect.
                "nft add rule inet filter input reject",
}  # fmt: skip


@pytest.mark.parametrize("firewall", CLOSED)
def test_a_firewall_is_opened_as_the_page_says(host: System, boot: Callable[..., System], firewall: str) -> None:
    assert host.workstation is not None
    tke, another = boot("tke", network=host.workstation.network, boot=False).machine, host.workstation.machine
    table = rows(FIREWALL, "On this host")
    commands = {words: command for command, words in table.items() if words.startswith(firewall)}
    afterwards = commands.pop(f"{firewall}, afterwards", "true")
    assert commands
    assert connects(tke, host)
    host.machine.run(CLOSED[firewall])
    assert not connects(tke, host)
    for words, command in commands.items():
        host.machine.run(command.replace("192.0.2.40", tke.ip4))
        host.machine.run(afterwards)
        assert connects(tke, host), words
        assert connects(another, host) == ("the TKE alone" not in words), words


# -- Prometheus --------------------------------------------------------------------------------------------------------

# For `promtool test rules`: the samples of a host, one each minute, and which alerts there are at which time.
ALERTS = """
rule_files: [/usr/share/doc/csulcca/examples/csulcca-alerts.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'csulcca_up{instance="zlinux1"}', values: "1x9 0x20"}
      - {series: 'csulcca_up{instance="switched-off"}', values: "0x30"}
      - {series: 'csulcca_wanted{instance="zlinux1"}', values: "1x30"}
      - {series: 'csulcca_wanted{instance="switched-off"}', values: "0x30"}
      - {series: 'csulcca_finding{instance="zlinux1",id="pair-unusable",severity="error"}', values: "1x30"}
      - {series: 'csulcca_status_success{instance="zlinux1"}', values: "1x30"}
      - {series: 'csulcca_status_time_seconds{instance="zlinux1"}', values: "0+60x30"}
    alert_rule_test:
      - {eval_time: 9m, alertname: CatcherDown}
      - {eval_time: 20m, alertname: CatcherNotMonitored}
      - eval_time: 20m
        alertname: CatcherDown
        exp_alerts:
          - exp_labels: {severity: critical, instance: zlinux1}
            exp_annotations:
              summary: "zlinux1: the TKE catcher does not run, so the TKE cannot connect"
              action: "On that host, type: catcherctl status"
      - eval_time: 20m
        alertname: CatcherError
        exp_alerts:
          - exp_labels: {severity: critical, instance: zlinux1, id: pair-unusable}
            exp_annotations:
              summary: "zlinux1: pair-unusable: something about the TKE catcher does not work"
              action: "On that host, type: catcherctl status"
      # The last metrics came at 30 minutes.
      - {eval_time: 80m, alertname: CatcherNotMonitored}
      - eval_time: 30h
        alertname: CatcherNotMonitored
        exp_alerts:
          - exp_labels: {severity: warning, instance: zlinux1}
            exp_annotations:
              summary: "zlinux1: nothing is known of the TKE catcher"
              action: "On that host, type: csulcca-monitor prometheus"
"""


def promtool(machine: AnyMachine, words: str) -> Result:
    """Let Prometheus's own tool check something."""
    done = machine.run(f"promtool {words}", check=False)
    assert done.rc == 0, done.out + done.err
    return done


def test_prometheus_takes_the_metrics_and_the_alerts(host: System) -> None:
    machine = host.machine
    monitor = [step.command for step in pages.steps("monitor") if step.heading == "Prometheus"]
    machine.run("install -m 755 /usr/share/doc/csulcca/examples/csulcca-monitor /usr/local/sbin/")
    for command in monitor:
        machine.run(command)
    metrics = next(re.findall(r"\S+\.prom", command)[0] for command in monitor if ".prom" in command)
    promtool(machine, f"check metrics < {metrics}")
    assert "SUCCESS: 5 rules" in promtool(machine, "check rules /usr/share/doc/csulcca/examples/csulcca-alerts.yml").out
    machine.write("/root/alerts.test.yml", ALERTS)
    promtool(machine, "test rules /root/alerts.test.yml")
