# dnf is dnf5, as on Fedora from 41 on. Debian has it under its own name alone, and with a plug-in that needs createrepo_c.
set -eu
ln -s /usr/bin/dnf5 "$1/usr/local/bin/dnf"
sed -i 's/^enabled = host-only$/enabled = 0/' "$1/etc/dnf/libdnf5-plugins/local.conf"
