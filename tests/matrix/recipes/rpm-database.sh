# rpm's database at the system's place, where libzypp looks for it; Debian's rpm has one in the user's home.
set -eu
mkdir -p "$1/etc/rpm"
echo '%_dbpath /var/lib/rpm' >"$1/etc/rpm/macros"
