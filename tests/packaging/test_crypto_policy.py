"""All installed programs obey what crypto-policies or FIPS mode allow OpenSSL, and say so."""

import pytest

from tests.unit.authority import issue
from tests.unit.pem import key_of

from .marks import one_of_each_family
from .soundness import assert_sound, wait_until_it_listens
from .system import CERTIFICATE, KEY, PORT

pytestmark = pytest.mark.scenario("crypto-policy")
ordinary = pytest.mark.only(lambda cell: not cell.scenarios, "only OpenSSL's FIPS provider is there")
fips = pytest.mark.only(lambda cell: "crypto-policy" in cell.scenarios, "OpenSSL's FIPS provider is not there")

# crypto-policies writes this at its level FUTURE: 128 bits of security (no RSA 2048) and no AES-128.
FUTURE = """\
CipherString = @SECLEVEL=3:kEECDH:kRSA:kEDH:-aDSS:-3DES:!DES:!RC4:!eNULL:!aNULL:-SHA1:!MD5:-CAMELLIA:-ARIA:-AES128
Ciphersuites = TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256
TLS.MinProtocol = TLSv1.2
TLS.MaxProtocol = TLSv1.3
"""
BACK_END = "/etc/crypto-policies/back-ends/opensslcnf.config"
CONFIGURATION = f"""\
openssl_conf = openssl_init
[openssl_init]
ssl_conf = ssl_module
[ssl_module]
system_default = crypto_policy
[crypto_policy]
.include {BACK_END}
"""


def own(system, kind):
    """A pair of the administrator's in /root."""
    key = key_of(kind)
    system.machine.write(f"/root/{kind}.key", key, mode=0o600)
    system.machine.write(f"/root/{kind}.crt", issue(key, "zlinux1", ["zlinux1"], addresses=[system.machine.ip4]))
    return f"/root/{kind}.key /root/{kind}.crt"


def speaks(system, options):
    """Whether a client without this policy completes a handshake with the catcher."""
    client = system.workstation.machine
    target = f"{system.machine.ip4}:{PORT}"
    return client.run(f"openssl s_client -connect {target} {options} </dev/null", check=False).rc == 0


def assert_refused(system, pair, why):
    """Assert that cert install refuses the pair for this reason, and changes nothing."""
    before = system.tree("/opt/IBM/CCA/bin", "/etc/cca")
    done = system.machine.run(f"catcherctl cert install {pair}", check=False)
    assert done.rc == 1 and why in done.err, done.out + done.err
    assert system.tree("/opt/IBM/CCA/bin", "/etc/cca") == before


@ordinary
@one_of_each_family
def test_a_policy_without_rsa_2048_and_aes_128_is_obeyed(boot, built):
    system = boot()
    configuration = system.show("openssl version -d | cut -d '\"' -f 2") + "/openssl.cnf"
    without = system.machine.read(configuration)
    system.machine.write(BACK_END, FUTURE)
    system.machine.write(configuration, CONFIGURATION)
    system.package(system.tools[1], "first install", built.new(system.cell.family))
    assert_sound(system, "tls")
    assert speaks(system, "-tls1_3 -ciphersuites TLS_AES_256_GCM_SHA384")
    assert not speaks(system, "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256")
    assert speaks(system, "-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384")
    assert not speaks(system, "-tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256")

    pair = own(system, "rsa-2048")
    refusal = "the security policy of this system's OpenSSL refuses {}: ee key too small"
    assert_refused(system, pair, refusal.format("/root/rsa-2048.crt"))
    assert_sound(system, "tls")
    assert system.machine.run(f"catcherctl cert install {own(system, 'rsa-4096')}", check=False).rc in (0, 3)
    wait_until_it_listens(system)
    assert speaks(system, "-tls1_3")

    # A pair from before the policy: the start says why it is refused, and the next one works without the policy.
    why = refusal.format("catcher.crt")
    system.machine.run(f"cp /root/rsa-2048.key {KEY} && cp /root/rsa-2048.crt {CERTIFICATE}")
    system.machine.run("systemctl restart CSUTKEcat", check=False)
    system.machine.wait_for("a refusal", lambda: why in system.machine.journal("CSUTKEcat"))
    for verb in ("cert check", "status"):
        done = system.machine.run(f"catcherctl {verb}", check=False)
        assert done.rc and why in done.out + done.err, done.out + done.err
    system.machine.write(configuration, without)
    system.machine.run("systemctl reset-failed CSUTKEcat; systemctl restart CSUTKEcat")
    wait_until_it_listens(system)
    assert speaks(system, "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256")

    # The policy also applies to clients: the catcher has RSA 2048 now.
    system.machine.write(configuration, CONFIGURATION)
    said = system.machine.run("catcherctl probe localhost --name zlinux1", check=False)
    assert said.rc and "for the policy of this system's OpenSSL" in said.out + said.err, said.out + said.err


@fips
def test_fips_mode_is_obeyed(boot, built):
    system = boot()
    # This is the purpose of the policy: nothing else can be used.
    assert system.machine.run("openssl md5 /etc/hostname", check=False).rc
    system.package(system.tools[1], "install", built.new(system.cell.family))
    assert_sound(system, "tls")
    assert speaks(system, "-tls1_3 -ciphersuites TLS_AES_128_GCM_SHA256")
    assert not speaks(system, "-tls1_3 -ciphersuites TLS_CHACHA20_POLY1305_SHA256")
    assert "Traceback" not in system.machine.run("catcherctl probe localhost", check=False).err

    # CCA allows RSA 1024 with a warning; FIPS does not.
    why = "the security policy of this system's OpenSSL refuses an RSA key of 1024 bits"
    assert_refused(system, own(system, "rsa-1024"), why)
    assert_sound(system, "tls")
    assert system.machine.run(f"catcherctl cert install {own(system, 'rsa-2048')}", check=False).rc in (0, 3)
    wait_until_it_listens(system)
    assert speaks(system, "-tls1_3")
    system.machine.run("catcherctl cert generate --force")
    assert_sound(system, "tls")
