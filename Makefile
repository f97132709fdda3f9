# Every command that a person or CI runs. `make help` lists them.
#
# A target that needs tools first has tools/bootstrap.sh install what is missing; BOOTSTRAP=0 forbids that.

.DEFAULT_GOAL := help
SHELL = /bin/sh
PYTHON = .venv/bin/python

# What the package contains in addition to our own files: a tree as it is below /.
PAYLOAD ?= payload/reference
VERSION = $(shell sed -n 's/^version *= *//p' setup.cfg)

.PHONY: help
help:
	@sed -n 's/^#: //p' $(MAKEFILE_LIST)

#: make packages [PAYLOAD=csulcca-8.2.54.s390x.rpm|.deb|dir] [CCA_VERSION=8.0.0] [VENDOR='the Vendor tag of the rpm']
#:     build the .deb, the .rpm, their bill of materials (SPDX) and SHA256SUMS into dist/
.PHONY: packages
packages:
	@sh tools/bootstrap.sh packages
	@/usr/bin/python3 tools/build_packages.py $(if $(filter command line environment,$(origin PAYLOAD)),--payload '$(PAYLOAD)') \
	    $(if $(CCA_VERSION),--version '$(CCA_VERSION)') $(if $(VENDOR),--vendor '$(VENDOR)')

#: make repo KEY=fingerprint [URL=https://...]
#:     make signed repositories of the packages in dist/, for apt and for dnf and zypper, in dist/repo/; SHA256SUMS.asc
.PHONY: repo
repo:
	@sh tools/bootstrap.sh repo
	@/usr/bin/python3 tools/repository.py --key '$(KEY)' $(if $(URL),--url '$(URL)')

#: make demo
#:     build the packages and show them at work in containers: a first installation and an upgrade from CCA 7.3
.PHONY: demo
demo:
	@sh tools/bootstrap.sh demo
	@/usr/bin/python3 -m tools.demo

#: make check
#:     run the tests of CI's job `check`: unit tests, linters, packages, containers
.PHONY: check
check:
	@sh tools/bootstrap.sh check
	@sh tools/check.sh

#: make test TESTS='tests/packaging -k "debian-13 and purge"'
#:     run the tests that these arguments of pytest choose; -k may also name a system that make check leaves out
.PHONY: test
test:
	@sh tools/bootstrap.sh check
	@$(PYTHON) -m tests.matrix.engine -- $(PYTHON) -m pytest -q -rs $(TESTS) || { ended=$$?; [ $$ended != 5 ] || \
	    echo 'no test matches: make systems lists the systems, make scenarios what is tried on them' >&2; exit $$ended; }

#: make release-check [ONLY=repositories]
#:     run every command of docs/release.md, and say which of its claims are true
.PHONY: release-check
release-check:
	@sh tools/bootstrap.sh check
	@$(PYTHON) -m tools.release_check $(if $(ONLY),--only '$(ONLY)')

#: make piuparts
#:     run Debian's own test of the .deb: install, remove and purge in every order, and the upgrade from CCA 7.3
.PHONY: piuparts
piuparts:
	@sh tools/bootstrap.sh check
	@$(PYTHON) -m tests.matrix.engine -- $(PYTHON) -m pytest -q tests/packaging/test_piuparts.py

#: make lint
#:     run ruff, mypy, vermin, shellcheck, lintian, rpmlint, systemd-analyze
.PHONY: lint
lint:
	@sh tools/bootstrap.sh lint
	@$(PYTHON) -m pytest -q tests/test_linters.py

#: make matrix [CELL=system] [SCENARIO=name] [PULL=1] [KEEP_FAILED=1] [SHELL_IN=system]
#:     run every scenario on every system, and show a table; the same is in dist/matrix.html and dist/matrix.xml (JUnit).
#:     PULL fetches vendors' images, KEEP_FAILED keeps the machines of failed tests, SHELL_IN opens a shell in a system
.PHONY: matrix
matrix:
	@sh tools/bootstrap.sh matrix $(if $(SHELL_IN),$(SHELL_IN) fresh,$(CELL) $(SCENARIO))
	@$(PYTHON) -m tests.matrix.run $(foreach cell,$(CELL),--cell '$(cell)') \
	    $(foreach scenario,$(SCENARIO),--scenario '$(scenario)') $(if $(PULL),--pull) \
	    $(if $(KEEP_FAILED),--keep-failed) $(if $(SHELL_IN),--shell '$(SHELL_IN)')

#: make systems, make scenarios
#:     list the names that CELL= and SCENARIO= take
.PHONY: systems scenarios
systems:
	@/usr/bin/python3 -m tests.matrix.images systems
scenarios:
	@/usr/bin/python3 -m tests.matrix.scenarios

#: make matrix-proof
#:     break the packages on purpose, and say whether exactly the right scenarios fail
.PHONY: matrix-proof
matrix-proof:
	@sh tools/bootstrap.sh check
	@$(PYTHON) -m tests.matrix.proof

#: make bench [CELL=debian-12] [EFFORT=1] | MATRIX=1 | FLEET=1,2,4,8
#:     measure what hooks, starts, installations, upgrades and relayed connections cost, each beside a known command; the
#:     results are also in dist/bench.json. MATRIX: how the time grows with systems. FLEET: with hosts of the Ansible role
.PHONY: bench
bench:
	@sh tools/bootstrap.sh bench
	@$(if $(FLEET),sh tools/bootstrap.sh contrib)
	@$(PYTHON) -m tools.bench $(foreach cell,$(CELL),--cell '$(cell)') $(if $(EFFORT),--effort '$(EFFORT)') \
	    $(if $(MATRIX),--matrix) $(if $(FLEET),--fleet '$(FLEET)')

#: make faults [ALL=1] [FRESH=1]
#:     kill each program at each of its calls, let each call fail (ALL=1: also calls that only load Python), cut the power,
#:     run programs at the same time, kill package managers, take protections out. Shows one table of damage, in which
#:     every number must be 0. Needs root; continues an interrupted run, unless FRESH=1
.PHONY: faults
faults:
	@sh tools/bootstrap.sh check
	@$(PYTHON) -m tests.matrix.engine -- $(PYTHON) -m tests.faults.table $(if $(ALL),--all) $(if $(FRESH),--fresh)

#: make ci-files [CHECK=1]
#:     write the CI configuration for GitHub, GitLab, Packit, tmt, OBS and Salsa from tests/matrix/distros.toml
.PHONY: ci-files
ci-files:
	@/usr/bin/python3 -m tools.ci_files $(if $(CHECK),--check)

#: make contrib
#:     lint the Ansible role of contrib/, and try it and the container image on containers
.PHONY: contrib
contrib:
	@sh tools/bootstrap.sh contrib
	@$(PYTHON) -m tests.matrix.engine -- $(PYTHON) -m pytest -q tests/contrib

#: make clean
#:     remove what was built; .venv and cached container images stay
.PHONY: clean
clean:
	rm -rf dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# What follows is for debian/rules and rpm/csulcca.spec; install/files.table says which file goes where.

LIBDIR = /usr/lib/csulcca
SBINDIR = /usr/sbin
UNITDIR = /usr/lib/systemd/system
PRESETDIR = /usr/lib/systemd/system-preset
TMPFILESDIR = /usr/lib/tmpfiles.d
MANDIR = /usr/share/man
COMPLETIONSDIR = /usr/share/bash-completion/completions
FIREWALLDDIR = /usr/lib/firewalld/services

FILES = python3 -B install/files.py
DIRECTORIES = LIBDIR='$(LIBDIR)' SBINDIR='$(SBINDIR)' UNITDIR='$(UNITDIR)' PRESETDIR='$(PRESETDIR)' \
    TMPFILESDIR='$(TMPFILESDIR)' MANDIR='$(MANDIR)' COMPLETIONSDIR='$(COMPLETIONSDIR)' FIREWALLDDIR='$(FIREWALLDDIR)'

# The payload comes first, so that files of our table replace files of the payload.
.PHONY: install
install:
	umask 022; set -e; mkdir -p '$(DESTDIR)/opt/IBM/CCA/bin'; \
	cp -RP '$(PAYLOAD)/.' '$(DESTDIR)/'; \
	find '$(DESTDIR)' -name __pycache__ -prune -exec rm -rf {} +; \
	chmod -R u=rwX,go=rX '$(DESTDIR)'; \
	chmod 755 '$(DESTDIR)/opt/IBM/CCA/bin/catcher.exe'; \
	$(FILES) copy '$(DESTDIR)' $(DIRECTORIES); \
	echo '$(VERSION)' > '$(DESTDIR)$(LIBDIR)/version'

# For a distribution's build: tests of decisions, which need only pytest. An old pytest does not know all of addopts.
.PHONY: build-check
build-check:
	python3 -B -m pytest -q -p no:cacheprovider -o addopts= $(foreach name,config plan record stamp text transition,tests/unit/test_$(name).py)

# A maintainer script is a template with the text of a hook in it. Both families share the hooks.
.DELETE_ON_ERROR:
SCRIPTLET = python3 -B install/scriptlet.py
debian/csulcca.%: debian/csulcca.%.in hooks/%.sh install/scriptlet.py catcher_install/paths.py
	$(SCRIPTLET) deb $< hooks/$*.sh '$(PAYLOAD)' > $@

rpm/pre.scriptlet: HOOK = preinst
rpm/posttrans.scriptlet: HOOK = postinst
rpm/preun.scriptlet: HOOK = prerm
rpm/postun.scriptlet: HOOK = postrm
rpm/triggerpostun.scriptlet: HOOK = postrm
rpm/%.scriptlet: rpm/%.in $(wildcard hooks/*.sh) install/scriptlet.py catcher_install/paths.py
	$(SCRIPTLET) rpm $< hooks/$(HOOK).sh '$(PAYLOAD)' > $@

.PHONY: scriptlets-deb scriptlets-rpm
scriptlets-deb: $(patsubst %.in,%,$(wildcard debian/csulcca.*.in))
scriptlets-rpm: $(patsubst %.in,%.scriptlet,$(wildcard rpm/*.in))

# The %files lines of our own files and of the payload.
.PHONY: rpm-filelist
rpm-filelist:
	@$(FILES) list $(DIRECTORIES)
	@sh rpm/filelist.sh '$(PAYLOAD)'
