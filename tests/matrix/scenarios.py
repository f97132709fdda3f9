"""The scenarios of the matrix: what is done to a cell.

A test in tests/packaging belongs to one by `@pytest.mark.scenario("fresh")`, on itself or its module. A square of the
matrix is a cell and a scenario, and holds all tests of the scenario on that cell. A test that means nothing on some
cells says on which it does, and why not on the others:

    @pytest.mark.only(lambda cell: cell.family == "deb", "rpm has no purge")
"""

SCENARIOS = {
    "fresh": "a first installation, from which on TLS works, or the reason why not is told",
    "image-build": "an installation in an image build: no systemd, no key in the image, the first boot makes it",
    "upgrade-7.3": "from CCA 7.3: the mode is kept, what an administrator edited too, and TLS is one command away",
    "upgrade-7.3-running": "from CCA 7.3, disabled, masked or with an edited unit: what runs goes on, in its state",
    "upgrade-7.3-stopped": "from CCA 7.3, disabled, masked or with an edited unit: what is stopped stays so",
    "upgrade-7.3-by-hand": "from CCA 7.3, where links of the init script alone start the service, or do not",
    "upgrade-8": "from 8.0 to the next release, in each mode",
    "erase-install": "removed or purged, then installed again: the mode is kept",
    "downgrade": "back to CCA 7.3, and up again",
    "reinstall": "the same version again changes nothing",
    "remove": "removal and purge leave nothing but what is declared",
    "noscripts": "installed without scriptlets; the first start makes it right",
    "shortage": "a full disk, a read-only /var, no Python: told, and cured by running it again",
    "policy-rc.d": "an administrator's policy that forbids to start services is kept to",
    "repository": "installed and upgraded from a repository of packages",
    "vendor-payload": "a package of the vendor's own files, and what may replace what",
    "probe": "what a second machine sees of a host with catcherctl probe",
    "old-clients": "a client that speaks nothing newer than TLS 1.1 is refused",
    "rollback": "a change of pair or mode that does not work is taken back, and the old one is in use again",
    "daily-check": "the daily look at the certificate",
    "docs": "every page of docs/, typed as it stands there",
    "autopkgtest": "debian/tests, run by Debian's own autopkgtest",
}
"""What each shows, in the order of the report. A mark with another name is an error."""
