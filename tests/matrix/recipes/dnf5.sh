# dnf is dnf5, as on Fedora since version 41. Debian has it only under the name dnf5. Its plug-in `local`, which needs
# createrepo_c, is switched off.
set -eu
ln -s /usr/bin/dnf5 "$1/usr/local/bin/dnf"
sed -i 's/^enabled = host-only$/enabled = 0/' "$1/etc/dnf/libdnf5-plugins/local.conf"
