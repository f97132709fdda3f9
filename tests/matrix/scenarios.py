"""The scenarios of the matrix: what is done to a cell.

A test in tests/packaging belongs to one by `@pytest.mark.scenario("fresh")`, on itself or its module. A square of the
matrix is a cell and a scenario, and holds all tests of the scenario on that cell. A test that does not apply to some
cells says to which cells it applies, and why not to the others:

    @pytest.mark.only(lambda cell: cell.family == "deb", "rpm has no purge")
"""

SCENARIOS = {
    "fresh": "a first installation: TLS works, or the package says why not",
    "fresh-not-clean": "a first installation on a host with half a pair, a configuration, or a program on the port",
    "odd-hosts": "hosts with odd names and addresses, programs that fail, or an /opt of another system",
    "odd-file-systems": "programs on a file system without hard links, or without modes: a safe pair, or none",
    "programs": "without OpenSSL the catcher speaks TCP and says why; programs of other packages are never called",
    "image-build": "an installation in an image build: no key in the image, each copy makes its own at its first boot",
    "image-based": "a host that boots an image and can write only /var: first boot, updates, roll-back and removal",
    "other-root": "an installation into another root, or while systemd is offline: the first boot does the rest",
    "upgrade-7.3": "from CCA 7.3: the mode stays, and TLS is one command away",
    "upgrade-7.3-edited": "from CCA 7.3: every file that an administrator edited or wrote keeps its bytes",
    "upgrade-7.3-running": "from CCA 7.3, disabled or with an edited unit: what runs keeps running, in its state",
    "upgrade-7.3-stopped": "from CCA 7.3, disabled or with an edited unit: a stopped service stays stopped",
    "upgrade-7.3-masked": "from CCA 7.3, masked: the service stays masked, and after unmasking it is as it was before",
    "upgrade-7.3-by-hand": "from CCA 7.3: only links of the init script start the service, or nothing starts it",
    "upgrade-8": "from 8.0 to the next release, in each mode",
    "upgrade-8-running": "from 8.0, disabled or with an edited unit: a running service is restarted, in its state",
    "upgrade-8-stopped": "from 8.0, disabled or with an edited unit: a stopped service stays stopped",
    "upgrade-8-masked": "from 8.0, masked: the service stays masked, and after unmasking it is as it was before",
    "erase-install": "removed or purged, then installed again: the mode stays",
    "erase-install-7.3": "CCA 7.3 removed or purged, then 8.0 installed: the mode stays",
    "downgrade": "back to CCA 7.3, and up again",
    "reinstall": "the same version again changes nothing",
    "remove": "removal and purge leave only what is declared",
    "remove-upgraded": "removal and purge after an upgrade from CCA 7.3 leave only what is declared",
    "noscripts": "installed without scriptlets; the first start does their work",
    "shortage": "a full disk, or an /opt that leads nowhere until the first boot: reported, and fixed by the next run",
    "unwritable": "a read-only /var, or an immutable file: reported, and fixed by the next run",
    "no-python": "the hook cannot run: reported, nothing is lost, and running it again fixes it",
    "policy-rc.d": "an administrator's policy forbids starting services: the package obeys it",
    "repository": "installed and upgraded from a signed repository of packages",
    "unattended": "upgraded by Debian's own unattended-upgrade, which asks no question",
    "repository-refused": "a repository with changed files or another signature: nothing is installed",
    "vendor-payload": "a package with the vendor's own files, installed and removed",
    "vendor-replaced": "a package with the vendor's library is replaced only by a package that has this library, too",
    "one-judge": "a pair that cannot be used: every command says so, and no running catcher is stopped for it",
    "probe": "what a second machine sees of a host with catcherctl probe",
    "probe-certificates": "what catcherctl probe says about each kind of certificate and chain",
    "probe-ipv6": "catcherctl probe over IPv6, and if one address of a host does not answer",
    "old-clients": "a client that speaks only TLS 1.1 or older is refused",
    "crypto-policy": "a policy for OpenSSL, or FIPS mode: certificate, catcher and catcherctl obey it and say so",
    "rollback": "a new pair that does not work: the old pair is back and in use",
    "rollback-mode": "a new mode that does not work: the old mode is back and in use",
    "seen": "how an upgrade sees the mode and the state of the old daemon, and which evidence it does not believe",
    "port": "another program that has the port is named; nothing waits for a port that cannot be reached",
    "sandbox": "what the sandbox of the service allows and forbids, also after the start",
    "daily-check": "the daily check of the certificate",
    "docs-install": "the pages of docs/, typed: from no catcher to a catcher in each mode",
    "docs-upgrade": "the pages of docs/, typed: from CCA 7.3 to TLS, and back",
    "docs-certificates": "the pages of docs/, typed: certificates of a CA, renewal, old pairs",
    "docs-tke": "the pages of docs/, typed: the certificate on its way into the TKE",
    "docs-trouble": "the pages of docs/, typed: each fault, how it shows and what fixes it",
    "docs-json": "the pages of docs/, typed: --json, and that its output conforms to the schemas",
    "other-programs": "the pages of docs/ about other programs, typed: certbot, certmonger, firewalls, Prometheus",
    "native-build": "the rpm built on the system itself, with its own macros",
    "boot": "a first boot with a late network, without a network, and with a wrong date; a boot of a read-only disk",
    "reboot": "a boot after an installation, or an upgrade from CCA 7.3: the catcher serves in the same mode",
    "system-upgrade": "an upgrade to the next Debian release, interrupted in the middle: mode and pair stay",
    "selinux": "SELinux enforces its policy and denies nothing that the package does; every label is right",
    "review": "built with gbp from a commit, as Salsa's pipeline does, and judged by that release's own lintian",
    "autopkgtest": "debian/tests, run by Debian's own autopkgtest",
}
"""What each shows, in the order of the report. A mark with another name is an error."""


if __name__ == "__main__":
    for name, meaning in SCENARIOS.items():
        print(f"{name:{max(map(len, SCENARIOS))}}  {meaning}")
