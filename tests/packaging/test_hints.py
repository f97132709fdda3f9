"""The hint of every finding, typed in its situation: each command is understood, and does what the hint promises.

A situation is made on a host that was sound before. What a person does by hand ("stop that program, then type:") stands
in it, too; the commands are those that the finding itself gives.
"""

import json
import os
import re
from typing import NamedTuple

import pytest

from catcher_install import messages
from tests.unit import pem
from tests.unit.authority import DAY, Authority, issue

from .marks import needs_tls, one_of_each_family
from .system import CERTIFICATE, CONF, DAEMON, KEY, PORT_HOLDER, STAMP, System

pytestmark = [pytest.mark.scenario("docs-install"), one_of_each_family, needs_tls]

STATUS = "catcherctl status --json"
APPLY = "catcherctl apply --json"
# To try some: HINTS="port-taken busy" python -m pytest ...
HINTS = os.environ.get("HINTS", "").split()
PLACEHOLDERS = {"KEY CRT": "/root/new.key /root/new.crt", "CRT": "/root/signed.crt", "HOST": "zlinux1"}
NOTE = "/var/lib/csulcca/before-upgrade"
BACKEND_CONF = "/etc/cca/reference-catcher.conf"
RESTART = "systemctl restart CSUTKEcat"
FAILS = "systemctl restart CSUTKEcat || true"
OPENSSL_BACK = "mv /usr/bin/openssl.real /usr/bin/openssl"
LIBRARY = "/usr/lib/csulcca/catcher_install"
LIBRARY_BACK = f"tar -xpf /root/saved.tar -C / {LIBRARY[1:]}"
SERVER = "openssl s_server -accept 50009 -key /root/new.key -cert /root/new.crt -www"
NETWORK_OF_ITS_OWN = "2001:db8:2::5/64 dev eth0"


class Situation(NamedTuple):
    """make: what causes the finding. ask: the command that shows it, a verb with --json or the journal. by_hand: what
    the hint asks a person to do, before its commands. cured: whether the finding is gone after them."""

    make: str
    ask: str = STATUS
    by_hand: str = "true"
    cured: bool = True


def note(mode: str, active: str = "no") -> str:
    """Write the note that preinst writes about an older catcher that ran in this mode."""
    return (f"printf 'tree=yes\\nours=no\\ngroups=no\\nunit=enabled\\nmode={mode}\\nseen=process\\nactive={active}\\n'"
            f" >{NOTE}")  # fmt: skip


def openssl_is(script: str) -> str:
    """Replace the openssl command."""
    return (f"mv /usr/bin/openssl /usr/bin/openssl.real; printf '#!/bin/sh\\n{script}\\n' >/usr/bin/openssl;"
            " chmod 755 /usr/bin/openssl")  # fmt: skip


def pair_is(name: str) -> str:
    """Install one of the pairs in /root."""
    # A status waits until the catcher listens.
    return f"cp /root/{name}.key {KEY}; cp /root/{name}.crt {CERTIFICATE}; {FAILS}; catcherctl status"


def holds(port: int, address: str = "", then: str = "signal.pause()") -> str:
    """Start a service that listens on a port. It accepts no connection, unless *then* does."""
    code = PORT_HOLDER.replace('("", 50003)', f'("{address}", {port})')
    text = (code + "import signal\n" + then).strip().replace("\n", "; ")
    return f"""systemd-run --quiet --unit=holder python3 -c '{text}'; until ss -Hltn | grep -q :{port}; do :; done"""


def library_has(file: str, name: str, value: str) -> str:
    """Give a constant of our library another value."""
    return f"sed -i 's/^{name} = .*/{name} = {value}/' {LIBRARY}/{file}"


def serves(options: str) -> str:
    """Start a TLS server of OpenSSL, without the system's policy, on the port of PROBE_OTHER."""
    return (f"systemd-run --quiet --unit=holder env OPENSSL_CONF=/dev/null {SERVER} {options};"
            " until ss -Hltn | grep -q :50009; do :; done")  # fmt: skip


def daemon_only_on(address: str, port: int = 50003) -> str:
    """Replace the reference catcher by a daemon that listens on this address, without a setting that says so."""
    code = PORT_HOLDER.replace('("", 50003)', f'("{address}", {port})') + "import signal\nsignal.pause()"
    return f"printf '%s\\n' '#!/usr/bin/python3 -I' '{code}' >{DAEMON}"


OLD_OPENSSL = openssl_is("echo OpenSSL 1.0.2k 26 Jan 2017")
PROBE = "catcherctl probe zlinux1 --json"
PROBE_OTHER = "catcherctl probe 127.0.0.1:50009 --timeout 3 --json"
JOURNAL = "journalctl -b -q --no-pager -o cat"
BREAKS_OFF = ("c = port.accept()[0]; c.recv(9999); c.sendall(bytes([22, 3, 3, 0, 99, 2])); c.close(); signal.pause()")
CLOSES = "list(port.accept()[0].close() for _ in iter(int, 1))"
NO_SSL = "for f in $(find /usr/lib/python3* /usr/lib64/python3* -name \"_ssl*.so\" 2>/dev/null); do mv $f $f.away; done"
SSL_BACK = NO_SSL.replace("_ssl*.so\"", "_ssl*.so.away\"").replace("mv $f $f.away", "mv $f ${f%.away}")
AS_NEW = f"rm -f {CONF} {STAMP}"
GROUP_OF_7 = "echo cca_admin:x:990: >>/etc/group"

SITUATIONS = {
    # If a daemon ran and there was a key, the old catcher would count as one that spoke TLS.
    "upgraded-tcp-kept": Situation(f"systemctl stop CSUTKEcat; rm {KEY} {CERTIFICATE}; {AS_NEW};"
                                   f" {GROUP_OF_7}; {APPLY}; {RESTART}"),
    "mode-as-seen": Situation(f"{AS_NEW}; {note('tls')}", APPLY),
    "mode-not-seen": Situation(f"systemctl stop CSUTKEcat; {AS_NEW}; {GROUP_OF_7}; {APPLY}; {RESTART}"),
    "mode-changed-by-restart": Situation(f"echo TLS_OFF >{CONF}; {note('tls')}; {APPLY}"),
    "tls-not-possible": Situation(f"{AS_NEW}; {OLD_OPENSSL}; {APPLY}; {RESTART}", by_hand=OPENSSL_BACK),
    "tls-configured-tcp-running": Situation(f"{OLD_OPENSSL}; {RESTART}", by_hand=OPENSSL_BACK),
    "tls-required-not-possible": Situation(f"echo TLS_REQUIRED >>{CONF}; {OLD_OPENSSL}; {FAILS}", by_hand=OPENSSL_BACK),
    "tls-not-known": Situation(f"rm {STAMP}; {openssl_is('kill -9 $$')}; {FAILS}", by_hand=OPENSSL_BACK),
    "tls-unknown": Situation("mkdir -p /srv/root/usr/lib/csulcca", "catcherctl plan --root /srv/root --json",
                             cured=False),
    "conf-unusable": Situation(f"echo TLS_OFF >>{CONF}; {FAILS}", by_hand=f"echo TLS_ON >{CONF}"),
    "conf-no-directive": Situation(f"echo '# nothing' >{CONF}; {RESTART}"),
    "conf-was-missing": Situation(f"rm {CONF}", APPLY),
    "pair-half": Situation(f"mv {CERTIFICATE} /root/away; {FAILS}", by_hand=f"mv /root/away {CERTIFICATE}"),
    "pair-unusable": Situation(f"echo x >{CERTIFICATE}; {FAILS}"),
    "pair-unread": Situation(f"mv {KEY} /root/away; ln -s /srv/not-there {KEY}; {FAILS}",
                             by_hand=f"mv -f /root/away {KEY}"),
    "pair-expired": Situation(pair_is("expired")),
    "pair-expires-soon": Situation(pair_is("soon")),
    "pair-names-stale": Situation("hostname zlinux9"),
    "pair-name-missing": Situation("true", "catcherctl cert check --name a.example.com --json", cured=False),
    "pair-chain-broken": Situation(pair_is("broken")),
    "pair-issuer-expired": Situation(pair_is("issuer-expired")),
    "pair-issuer-expires-soon": Situation(pair_is("issuer-soon")),
    "pair-gone": Situation(f"rm {KEY} {CERTIFICATE}"),
    "pair-not-running": Situation(f"cp /root/new.key {KEY}; cp /root/new.crt {CERTIFICATE}"),
    "pair-not-yet-valid": Situation(pair_is("tomorrow"), cured=False),
    "pair-weak-key": Situation(pair_is("weak")),
    "pair-key-readable": Situation(f"chmod 644 {KEY}; {RESTART}"),
    "pair-key-in-certificate": Situation(
        f"cat {KEY} {CERTIFICATE} >/root/both; cp /root/both {CERTIFICATE}; {RESTART}"),
    "pair-not-ready": Situation(f"catcherctl mode tcp; mv {CERTIFICATE} /root/away",
                                by_hand=f"mv /root/away {CERTIFICATE}"),
    "pair-deferred": Situation(
        f"rm {KEY} {CERTIFICATE}; mkdir -p /mnt/c; mount --bind / /mnt/c; mount --bind /proc /mnt/c/proc",
        "chroot /mnt/c catcherctl plan --json", cured=False),
    "clock-unset": Situation(f"rm {KEY} {CERTIFICATE}; {library_has('messages.py', 'CLOCK_FLOOR', '1 << 40')}", APPLY,
                             by_hand=LIBRARY_BACK),
    "mode-undecided": Situation(f"rm {CONF} {STAMP}; ln -s /proc/self/mem {STAMP}", APPLY, by_hand=f"rm {STAMP}"),
    "pair-addresses-left-out": Situation(library_has("cert/host_names.py", "SAN_LIMIT", "6"), cured=False),
    "pair-addresses-temporary": Situation(
        f"echo 2 >/proc/sys/net/ipv6/conf/eth0/use_tempaddr; ip address add {NETWORK_OF_ITS_OWN} nodad mngtmpaddr;"
        " until ip -6 address show dev eth0 | grep -q ' temporary '; do :; done",
        "catcherctl cert generate --force --dry-run --json", cured=False),
    "pair-not-generated": Situation(
        f"rm {KEY} {CERTIFICATE}; "
        + openssl_is('case $1 in genpkey) exit 1;; esac\\nexec /usr/bin/openssl.real "$@"'), APPLY, OPENSSL_BACK),
    "service-state-unknown": Situation(note("tls", "unknown"), APPLY),
    "pair-unchecked": Situation(f"rm {STAMP}; {NO_SSL}", by_hand=SSL_BACK),
    "write-failed": Situation(f"rm {CONF}; mount --bind /etc/cca /etc/cca; mount -o remount,ro,bind /etc/cca", APPLY,
                              "umount /etc/cca"),
    # A catcher that runs would be left alone.
    "service-failed": Situation(f"echo TLS_OFF >>{CONF}; systemctl stop CSUTKEcat; {note('none', 'yes')}", APPLY),
    "not-running": Situation("systemctl stop CSUTKEcat"),
    # Otherwise the finding would be about connections of earlier situations, which are still closing.
    "disabled-failed": Situation(f"systemctl disable CSUTKEcat; echo TLS_OFF >>{CONF}; {FAILS};"
                                 " while ss -Htan | grep -q 'TIME-WAIT.*:50003 '; do sleep 1; done",
                                 by_hand=f"echo TLS_ON >{CONF}"),
    "disabled-not-running": Situation("systemctl disable --now CSUTKEcat"),
    "masked-not-running": Situation("systemctl mask --runtime --now CSUTKEcat"),
    "backend-unreachable": Situation(f"echo backend=127.0.0.1:9 >{BACKEND_CONF}", by_hand=f"rm {BACKEND_CONF}"),
    "settings-unusable": Situation(f"echo backnd=127.0.0.1:9 >{BACKEND_CONF}", by_hand=f"rm {BACKEND_CONF}"),
    "settings-not-running": Situation(f"echo idle_timeout=60 >{BACKEND_CONF}"),
    "listen-absent": Situation(f"echo listen=192.0.2.77 >{BACKEND_CONF}; {RESTART}", by_hand=f"rm {BACKEND_CONF}"),
    "not-listening": Situation(f"cp -a {DAEMON} /root/away; {daemon_only_on('127.0.0.1', 50004)}; {RESTART}",
                               by_hand=f"mv -f /root/away {DAEMON}"),
    "catcher-suspended": Situation("systemctl kill --signal=STOP CSUTKEcat"),
    # It listens, and accepts nothing.
    "connections-waiting": Situation(
        f"cp -a {DAEMON} /root/away; {daemon_only_on('127.0.0.1')}; {RESTART};"
        " timeout 1 bash -c '</dev/tcp/127.0.0.1/50003'", by_hand=f"mv -f /root/away {DAEMON}"),
    "port-taken": Situation(f"systemctl stop CSUTKEcat; {holds(50003)}; {FAILS}", by_hand="systemctl stop holder"),
    "port-waiting": Situation(f"systemctl stop CSUTKEcat; {holds(50003)}; {FAILS}", JOURNAL, "systemctl stop holder"),
    "port-shared": Situation(f"{daemon_only_on('127.0.0.1')}; {RESTART}; {holds(50003, '127.0.0.2')}", cured=False),
    "not-verified": Situation(
        "mkdir -p /etc/systemd/system/CSUTKEcat.service.d; printf '[Service]\\nPrivateNetwork=yes\\n'"
        " >/etc/systemd/system/CSUTKEcat.service.d/net.conf; systemctl daemon-reload", "catcherctl mode tcp --json",
        cured=False),
    "key-storage-unreached": Situation("mkdir -p /srv/keys; ln -s /srv/keys /opt/IBM/CCA/keys"),
    "mode-not-running": Situation(f"echo TLS_OFF >{CONF}"),
    "stamp-of-newer-version": Situation(
        f"sed -i 's/\"package_version\": \"[^\"]*\"/\"package_version\": \"99.0.0\"/' {STAMP}", APPLY),
    "unit-forking": Situation(
        "sed 's/^Type=simple/Type=forking/; /^Exec.*P/d' $(systemctl show -p FragmentPath --value CSUTKEcat)"
        " >/etc/systemd/system/CSUTKEcat.service; systemctl daemon-reload", cured=False),  # an editor wants a terminal
    "scriptlet-unknown": Situation("/usr/lib/csulcca/run scriptlet deb nonsense", JOURNAL),
    "busy": Situation(
        f"{library_has('apply.py', 'LOCK_SECONDS', '1')}; rm {CONF}; "
        "systemd-run --quiet --unit=holder flock /var/lib/csulcca/lock sleep 1000; "
        "while flock -n /var/lib/csulcca/lock true; do :; done", APPLY, "systemctl stop holder"),
    "probe-refused": Situation("true", "catcherctl probe 127.0.0.1:50009 --json", cured=False),
    "probe-timeout": Situation(holds(50009), PROBE_OTHER, cured=False),
    "probe-closed": Situation(holds(50009, then=CLOSES), PROBE_OTHER, cured=False),
    "probe-speaks-tcp": Situation("catcherctl mode tcp", PROBE),
    "probe-handshake-broken": Situation(holds(50009, then=BREAKS_OFF), PROBE_OTHER, cured=False),
    "probe-handshake-refused": Situation(serves("-Verify 1"), PROBE_OTHER, cured=False),
    "probe-tls-too-old": Situation(serves("-tls1_1 -cipher DEFAULT@SECLEVEL=0"), PROBE_OTHER, cured=False),
    "probe-name-mismatch": Situation("true", PROBE.replace("--json", "--name b.example.com --json"), cured=False),
    "probe-certificate-expired": Situation(pair_is("expired"), PROBE, cured=False),
    "probe-certificate-expires-soon": Situation(pair_is("soon"), PROBE, cured=False),
    "probe-certificate-not-yet-valid": Situation(pair_is("tomorrow"), PROBE, cured=False),
    "probe-self-signed": Situation("true", PROBE, cured=False),
    "probe-chain-unverified": Situation(pair_is("broken"), PROBE),
    "probe-cafile-unverified": Situation("true", f"{PROBE} --cafile /root/new.crt", cured=False),
}
# Findings with a command in their hint that are not produced here.
NOT_PRODUCED = {
    "internal-fault": "no report has it: the command fails with its text and its hint",
    "pair-not-replaced": "no report has it: the command fails with its text and its hint",
    "port-closing": "the kernel ends the state by itself within a minute; its command is typed for port-waiting",
}


def has_command(id: str) -> bool:
    """Whether the hint of a finding may have a command."""
    fix = messages.CATALOG[id][3]
    return "\n  " in fix or fix == "{hint}"


def test_every_finding_with_a_command_is_produced_or_has_its_reason():
    assert sorted({*SITUATIONS, *NOT_PRODUCED}) == sorted(filter(has_command, messages.CATALOG))
    assert not set(SITUATIONS) & set(NOT_PRODUCED)


def pairs() -> dict[str, tuple[bytes, bytes]]:
    """The pairs that the situations install, by name: (key, certificates)."""
    key, authority = pem.key_of("prime256v1"), Authority()

    def own(**more) -> tuple[bytes, bytes]:
        return key, issue(key, "zlinux1", ["zlinux1"], **more)

    def below(last: float) -> tuple[bytes, bytes]:
        middle = issue(authority.key, "Test CA", (), issuer=(authority.root_key, "Test Root"), ca=True,
                       first=-90 * DAY, last=last)  # fmt: skip
        return key, authority.issue(key, common_name="zlinux1", dns=["zlinux1"]) + middle

    weak = pem.key_of("rsa-1024")
    return {
        "new": own(), "expired": own(first=-9 * DAY, last=-DAY), "soon": own(last=9 * DAY), "tomorrow": own(first=DAY),
        "broken": (key, own()[1] + authority.root), "issuer-expired": below(-DAY), "issuer-soon": below(9 * DAY),
        "weak": (weak, issue(weak, "zlinux1", ["zlinux1"])),
    }  # fmt: skip


SAVED = f"/opt/IBM/CCA/bin /etc/cca /var/lib/csulcca {LIBRARY}"


class Typist:
    """A sound host, on which commands are typed."""

    def __init__(self, system: System) -> None:
        self.system = system
        for name, (key, crt) in pairs().items():
            system.machine.write(f"/root/{name}.key", key, mode=0o600)
            system.machine.write(f"/root/{name}.crt", crt)
        system.machine.run(f"hostname >/root/hostname; tar -cpf /root/saved.tar {SAVED} 2>/dev/null")

    def reset(self) -> None:
        """Make the host sound again."""
        self.system.machine.run(f"""
            exec >/dev/null 2>&1
            umount /mnt/c/proc; umount /mnt/c; umount /etc/cca; umount /srv/keys; hostname "$(cat /root/hostname)"
            systemctl stop holder; systemctl reset-failed
            systemctl unmask CSUTKEcat; systemctl unmask --runtime CSUTKEcat
            sed -i /^cca_admin:/d /etc/group
            [ ! -e /usr/bin/openssl.real ] || {OPENSSL_BACK}
            {SSL_BACK}
            ip address del {NETWORK_OF_ITS_OWN}; echo 0 >/proc/sys/net/ipv6/conf/eth0/use_tempaddr
            rm -rf /srv/root /etc/systemd/system/CSUTKEcat.service /etc/systemd/system/CSUTKEcat.service.d
            systemctl stop CSUTKEcat
            rm -rf /opt/IBM/CCA/keys /etc/cca/* /var/lib/csulcca/* {KEY}* {CERTIFICATE}*
            tar -xpf /root/saved.tar -C /
            systemctl daemon-reload; systemctl enable --now CSUTKEcat; true""")
        self.system.machine.wait_for("a listening catcher", lambda: self.findings(STATUS) == {}, 60)

    def type(self, command: str) -> str:
        """What a command prints, whatever its exit status, unless that says that it was not understood."""
        done = self.system.machine.run(command, check=False)
        said = done.out + done.err
        usage = re.search(r"(?i)^(usage:|.*: unrecognized|.*: invalid option|unknown command|.*not found)", done.err)
        assert done.rc not in (126, 127) and not usage, f"{command}: {said}"
        assert done.rc != 2 or not command.startswith("catcherctl"), f"{command}: {said}"
        return said if done.rc else done.out

    def findings(self, ask: str) -> dict[str, list[str]]:
        """{id: the commands of its hint} of what a command reports."""
        said = self.type(ask)
        if ask.startswith("journalctl"):
            ids = re.findall(r" \[([a-z-]+)\] -- ", said)
            return {id: commands(messages.CATALOG[id][3]) for id in ids}
        return {one["id"]: commands(one["fix"]) for one in json.loads(said)["findings"]}


def commands(fix: str) -> list[str]:
    """The commands in a hint."""
    return [line.strip() for line in fix.split("\n") if line.startswith("  ")]


def try_out(typist: Typist, id: str) -> str:
    """Return what is wrong with the hint of a finding, or ""."""
    situation = SITUATIONS[id]
    typist.reset()
    # Below, the findings are looked at.
    typist.system.machine.run(situation.make, check=False)
    found = typist.findings(situation.ask)
    if id not in found:
        return f"it is not found, but {sorted(found)}"
    if not found[id]:
        return "its hint has no command"
    typist.system.machine.run(situation.by_hand)
    for command in found[id]:
        for name, value in PLACEHOLDERS.items():
            command = re.sub(rf"\b{name}\b", value, command)
        said = typist.type(command)
        if command == "catcherctl cert request":
            request = re.search("-----BEGIN .*?-----END [A-Z ]+-----\n", said, re.DOTALL)
            assert request, said
            typist.system.machine.write("/root/signed.crt", Authority().sign(request[0].encode("ascii")))
    ask = STATUS if situation.ask == JOURNAL else situation.ask
    if situation.cured:
        typist.system.machine.wait_for(f"an end of the finding after {found[id]}",
                                       lambda: id not in typist.findings(ask), 20)  # fmt: skip
    return ""


def test_every_hint_works_when_typed(boot, built) -> None:
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    system.machine.wait_for("a listening catcher", lambda: ":50003" in system.show("ss -Hltn"))
    typist = Typist(system)
    wrong = {}
    for id in HINTS or SITUATIONS:
        try:
            problem = try_out(typist, id)
        except Exception as error:  # noqa: BLE001 - the other hints are tried, and then all are told
            problem = f"{type(error).__name__}: {error}"
        if problem:
            wrong[id] = problem
    assert not wrong, "\n".join(f"{id}: {problem}" for id, problem in wrong.items())
