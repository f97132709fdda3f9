# OpenSSL 4 from Debian's experimental, and no libssl of another version: libssl.so.3 is diverted.
set -eu
root=$1

# experimental comes from the same mirror as sid.
sed 's/ sid / experimental /' "$root/etc/apt/sources.list" >"$root/etc/apt/sources.list.d/experimental.list"
chroot "$root" apt-get -qq update
chroot "$root" apt-get -qq -y --no-install-recommends install -t experimental openssl
chroot "$root" apt-get -qq clean
rm -rf "$root"/var/lib/apt/lists/*

# libcrypto.so.3 stays, because apt and systemd need it.
library=$(cd "$root" && ls usr/lib/*/libssl.so.3)
chroot "$root" dpkg-divert --add --rename --divert "/${library%/*}/diverted-libssl.so.3" "/$library"
