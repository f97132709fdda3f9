"""On a real system all programs that judge a pair say the same, and none of them stops the running catcher."""

import pytest

from tests.slow import test_judge as judge
from tests.unit import pem

from .marks import needs_tls
from .soundness import assert_sound
from .system import CERTIFICATE, KEY

pytestmark = [pytest.mark.scenario("one-judge"), needs_tls]

# What `cert install` refuses and a daemon would serve with a warning.
CHAINS = {
    "a CA that may not sign": judge.BROKEN["a CA that may not sign"],
    "names that the CA may not give": judge.BROKEN["names that the CA may not give"],
    "a CA that has expired": (lambda: judge.chain(last=-2), "expired on"),
}
PID = "systemctl show -p MainPID --value CSUTKEcat"
# One script asks all programs, and prints a line before each answer, because a test has many pairs.
ASK = f"""
say() {{ echo "== $1"; shift; "$@" </dev/null 2>&1; echo "exit status $?"; }}
before=$({PID})
say install catcherctl cert install /root/my.key /root/my.crt --name tke1.example.com
cp -p {KEY} /root/was.key; cp -p {CERTIFICATE} /root/was.crt
cat /root/my.key >{KEY}; cat /root/my.crt >{CERTIFICATE}
say check catcherctl cert check
say start /opt/IBM/CCA/bin/CSUTKEcat check
say status catcherctl status
# On a fast machine these starts are more than systemd allows in ten seconds.
systemctl reset-failed csulcca-check.service
say timer systemctl start csulcca-check.service
cp -p /root/was.key {KEY}; cp -p /root/was.crt {CERTIFICATE}
say pid test "$before" = "$({PID})"
"""


def ask(system, make, why, is_installed=False):
    """Return {program: what it says of a pair, with the reason}. Only a pair that can be installed causes a restart."""
    key, crt = make()
    system.machine.run("journalctl --rotate && journalctl --vacuum-time=1s", check=False)
    system.machine.write("/root/my.key", key, mode=0o600)
    system.machine.write("/root/my.crt", crt)
    told = system.machine.run(ASK).out.replace("/root/my.", "/root/catcher.")
    said = dict(part.split("\n", 1) for part in told.split("== ")[1:])
    assert (said.pop("pid") == "exit status 0\n") != is_installed, "the daemon was restarted"
    assert "Traceback" not in "".join(said.values())
    if is_installed:
        # The pair can be installed, and is written with LF as line ends.
        assert not said.pop("install").endswith("exit status 1\n")
    said.pop("timer")
    assert {who: any(one in told for one in why) for who, told in said.items()} == dict.fromkeys(said, True), said
    system.machine.wait_for("the timer's line", lambda: any(
        one in line for one in why for line in system.show("journalctl -t csulcca -o cat").splitlines()
        if "[pair-" in line))
    return said


def test_everybody_says_the_same_and_the_daemon_runs_on(boot, built):
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    for name, (make, why) in sorted(judge.REFUSED.items()):
        said = ask(system, make, [why], is_installed=name.startswith("CR "))
        # It depends on OpenSSL's version whether OpenSSL refuses MD5, or loads it and only clients refuse the chain.
        if name != "MD5":
            assert said["check"].endswith("exit status 1\n"), (name, said)
            assert said["start"].endswith("exit status 78\n"), (name, said)
    for name, (make, why) in CHAINS.items():
        said = ask(system, make, [why])
        assert said["install"].endswith("exit status 1\n") and said["start"].endswith("exit status 0\n"), (name, said)


def test_another_key_of_the_same_size_and_time_is_seen(boot, built):
    """So is a signature with SHA-1, which some policies refuse and others allow with a warning."""
    system = boot()
    system.package(system.tools[1], "install", built.new(system.cell.family))
    key = pem.key_of("prime256v1")
    crt = pem.certificate_for(key)
    system.machine.write(KEY, key, mode=0o600)
    system.machine.write(CERTIFICATE, crt)
    system.machine.run("systemctl restart CSUTKEcat && catcherctl cert check", check=False)
    assert "pair-unusable" not in system.findings()
    other = pem.key_of("prime256v1")
    assert len(other) == len(key)
    system.machine.write("/root/other.key", other)
    system.machine.run(f"touch -r {KEY} /root/time && cat /root/other.key >{KEY} && touch -r /root/time {KEY}")
    for command, rc in (("catcherctl cert check", 1), ("/opt/IBM/CCA/bin/CSUTKEcat check", 78)):
        done = system.machine.run(command, check=False)
        assert done.rc == rc and "[pair-unusable]" in done.out
    assert "pair-unusable" in system.findings()
    system.machine.run("systemctl restart CSUTKEcat", check=False)
    system.machine.wait_for("the refusal", lambda: system.service()[1] == "failed")
    system.machine.write(KEY, key, mode=0o600)
    system.machine.run("systemctl restart CSUTKEcat")
    system.machine.wait_for("a start", lambda: system.argv() == system.fresh_argv)

    ask(system, lambda: judge.by_rsa(judge.hashes.SHA1), ["signed with SHA-1", "too weak", "SHA-1, "])
    system.machine.run(f"rm {KEY} {CERTIFICATE} && systemctl restart CSUTKEcat")
    assert_sound(system, "tls")
