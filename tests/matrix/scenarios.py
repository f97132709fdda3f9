"""The scenarios of the matrix: what is done to a cell.

A test in tests/packaging belongs to one by `@pytest.mark.scenario("fresh")`, on itself or its module. A square of the
matrix is a cell and a scenario, and holds all tests of the scenario on that cell. A test that means nothing on some
cells says on which it does, and why not on the others:

    @pytest.mark.only(lambda cell: cell.family == "deb", "rpm has no purge")
"""

SCENARIOS = {
    "fresh": "a first installation, from which on TLS works, or the reason why not is told",
    "fresh-not-clean": "a first installation where half a pair or a configuration is, or where the port is held",
    "programs": "without OpenSSL TCP is spoken and it is said why; programs of somebody else are never called",
    "image-build": "an installation in an image build: no key in the image, the first boot of each copy makes its own",
    "other-root": "an installation into another root, or where systemd is offline: the first boot does the rest",
    "upgrade-7.3": "from CCA 7.3: the mode is kept, and TLS is one command away",
    "upgrade-7.3-edited": "from CCA 7.3: every byte is kept that an administrator edited or wrote",
    "upgrade-7.3-running": "from CCA 7.3, disabled or with an edited unit: what runs goes on, in its state",
    "upgrade-7.3-stopped": "from CCA 7.3, disabled or with an edited unit: what is stopped stays so",
    "upgrade-7.3-masked": "from CCA 7.3, masked: it stays so, and what is below the mask, too",
    "upgrade-7.3-by-hand": "from CCA 7.3, where links of the init script alone start the service, or do not",
    "upgrade-8": "from 8.0 to the next release, in each mode",
    "upgrade-8-running": "from 8.0, disabled or with an edited unit: what runs is restarted, in its state",
    "upgrade-8-stopped": "from 8.0, disabled or with an edited unit: what is stopped stays so",
    "upgrade-8-masked": "from 8.0, masked: it stays so, and what is below the mask, too",
    "erase-install": "removed or purged, then installed again: the mode is kept",
    "erase-install-7.3": "CCA 7.3 removed or purged, then 8.0 installed: the mode is kept",
    "downgrade": "back to CCA 7.3, and up again",
    "reinstall": "the same version again changes nothing",
    "remove": "removal and purge leave nothing but what is declared",
    "remove-upgraded": "the same of what had been upgraded from CCA 7.3",
    "noscripts": "installed without scriptlets; the first start makes it right",
    "shortage": "a full disk, or an /opt that leads nowhere until the first boot: told, and cured by the next run",
    "unwritable": "a read-only /var, or an immutable file: told, and cured by the next run",
    "no-python": "the hook cannot run: told, nothing is lost, and it is cured by running it again",
    "policy-rc.d": "an administrator's policy that forbids to start services is kept to",
    "repository": "installed and upgraded from a signed repository of packages",
    "unattended": "upgraded by Debian's own unattended-upgrade, which asks nobody",
    "repository-refused": "a repository that was tampered with, or signed by somebody else: nothing is installed",
    "vendor-payload": "a package of the vendor's own files, installed and removed",
    "vendor-replaced": "a vendor's package replaces a vendor's, the one without a library never does",
    "probe": "what a second machine sees of a host with catcherctl probe",
    "probe-certificates": "what it says of each kind of certificate and chain",
    "probe-ipv6": "over IPv6, and where one of a host's addresses is silent",
    "old-clients": "a client that speaks nothing newer than TLS 1.1 is refused",
    "rollback": "a change of the pair that does not work is taken back, and the old one is in use again",
    "rollback-mode": "a change of the mode that does not work is taken back, and the old one is in use again",
    "seen": "in what mode and state the old daemon was seen, and who is not believed",
    "port": "who else has the port is named, and what cannot be reached or does not come is not waited for",
    "sandbox": "what the service may reach, also after its start, and what it may not",
    "daily-check": "the daily look at the certificate",
    "docs-install": "docs/ typed as it stands there: from no catcher to one in each mode",
    "docs-upgrade": "docs/ typed as it stands there: from CCA 7.3 to TLS",
    "docs-certificates": "docs/ typed as it stands there: a CA's certificate, and a new one in time",
    "docs-tke": "docs/ typed as it stands there: the certificate on its way into the TKE",
    "docs-trouble": "docs/ typed as it stands there: each fault, how it shows and what ends it",
    "docs-json": "docs/ typed as it stands there: --json, and that what is printed conforms to the schemas",
    "native-build": "the rpm built on the system itself, with its own macros, instead of for all systems",
    "autopkgtest": "debian/tests, run by Debian's own autopkgtest",
}
"""What each shows, in the order of the report. A mark with another name is an error."""


if __name__ == "__main__":
    for name, meaning in SCENARIOS.items():
        print(f"{name:{max(map(len, SCENARIOS))}}  {meaning}")
