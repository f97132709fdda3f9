#!/bin/sh
# Packit's create-archive: packs the source tree that tools/build_packages.py --stage left in .packit, and prints the
# archive's path, as Packit asks (its documentation, "Actions").
set -eu
version=$(sed -n 's/^version *= *//p' setup.cfg)
tar --transform "s,^\.packit,csulcca-$version," -czf ".packit/rpm/csulcca-$version.tar.gz" --exclude=.packit/debian \
    --exclude=.packit/rpm/csulcca-\*.tar.gz .packit
echo ".packit/rpm/csulcca-$version.tar.gz"
