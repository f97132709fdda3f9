# The real libraries of OpenSSL 1.0.2q replace the root's libssl.
#
# No distribution that can still be installed has them, but a wheel of psycopg2 from that time contains them. The
# wheel has no command, so a few lines that ask the library replace the root's /usr/bin/openssl.
set -eu
root=$1
libraries=usr/lib/x86_64-linux-gnu
own=usr/lib/openssl-1.0.2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "psycopg2-binary==2.7.7 --hash=sha256:e63850d8c52ba2b502662bf3c02603175c2397a9acc756090e444ce49508d41e" >"$work/pin"
"$PYTHON" -m pip -q --disable-pip-version-check download --no-deps --only-binary=:all: --require-hashes \
    --platform manylinux1_x86_64 --python-version 36 --implementation cp --abi cp36m -d "$work" -r "$work/pin"
"$PYTHON" -m zipfile -e "$work"/psycopg2_binary-*.whl "$work/wheel"

mkdir -p "$root/$own"
cp "$work"/wheel/psycopg2/.libs/* "$root/$own/"
echo "/$own" >"$root/etc/ld.so.conf.d/openssl-1.0.2.conf"
chroot "$root" ldconfig
for name in ssl crypto; do
    found=$(cd "$root/$own" && ls "lib$name"-*.so.1.0.2q)
    ln -s "/$own/$found" "$root/$libraries/lib$name.so.1.0.2"
done

# libcrypto.so.3 stays, because systemd needs it.
chroot "$root" dpkg-divert --add --rename --divert "/$libraries/diverted-libssl.so.3" "/$libraries/libssl.so.3"

chroot "$root" dpkg-divert --add --rename --divert /usr/bin/openssl.distribution /usr/bin/openssl
cat >"$root/usr/bin/openssl" <<'END'
#!/usr/bin/python3 -IS
"""The version of the real library; nothing else is asked of OpenSSL 1.0.2 here."""
import ctypes
import sys

if sys.argv[1:] != ["version"]:
    sys.exit("openssl: only `openssl version` is there")
library = ctypes.CDLL("libcrypto.so.1.0.2")
library.SSLeay_version.restype = ctypes.c_char_p
print(library.SSLeay_version(0).decode())
END
chmod 755 "$root/usr/bin/openssl"
