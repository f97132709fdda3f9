# The Python 3.6 of this host's pyenv becomes the root's /usr/bin/python3, as on RHEL 8 and SLES 15.
#
# cryptography has the version that RHEL 8 has, and is from PyPI. Debian's package python3 stays installed, because
# other packages depend on it.
set -eu
root=$1
# Not below /opt, which tests move away.
place=/usr/local/python3.6

for python in "$HOME"/.pyenv/versions/3.6.*/bin/python3.6; do
    prefix=${python%/bin/python3.6}
done
mkdir -p "$root$place/bin" "$root$place/lib"
cp "$python" "$root$place/bin/"
cp -a "$prefix"/lib/libpython3.6m.so* "$root$place/lib/"
(cd "$prefix/lib" && tar --exclude=__pycache__ --exclude=python3.6/test --exclude=python3.6/site-packages -cf - python3.6) |
    tar -C "$root$place/lib" -xf -
"$python" -m pip -q --disable-pip-version-check install --target "$root$place/lib/python3.6/site-packages" \
    cryptography==3.2.1 cffi==1.15.1 pycparser==2.21 six==1.17.0 distro==1.6.0 packaging==21.3 pyparsing==3.1.4
# pyenv writes its own directory into the program, so the linker must be told the new one.
echo "$place/lib" >"$root/etc/ld.so.conf.d/python3.6.conf"
chroot "$root" ldconfig
chroot "$root" dpkg-divert --add --rename --divert /usr/bin/python3.distribution /usr/bin/python3
ln -s "$place/bin/python3.6" "$root/usr/bin/python3"
