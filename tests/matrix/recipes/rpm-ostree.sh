# What is different on a host of rpm-ostree: /opt is a link into /var, and `rpm-ostree install FILE` installs an rpm
# into a tree in its own way. The rpm's files of /opt go to /usr/lib/opt, with a line of tmpfiles.d for the link in
# /var/opt. Scriptlets see a read-only /var, /usr/lib/opt as /opt, and /run/ostree-booted. Scriptlets of a removal never
# run.
set -eu
root=$1
rmdir "$root/opt"
ln -s var/opt "$root/opt"
echo 'd /var/opt 0755 root root -' >"$root/usr/lib/tmpfiles.d/opt.conf"
cat >"$root/usr/bin/rpm-ostree" <<'END_OF_PROGRAM'
#!/bin/sh
set -eu
[ "$1" = install ]
rpm=$2
stage=$(mktemp -d)

scriptlet() {
    rpm -qp --queryformat "%{$1}" "$rpm" >"$stage/scriptlet"
    case $(cat "$stage/scriptlet") in "(none)") return ;; esac
    unshare --mount sh -eu -c '
        mount --bind / /mnt
        mount --rbind /proc /mnt/proc
        mount --rbind /dev /mnt/dev
        mount -t tmpfs tmpfs /mnt/run
        : >/mnt/run/ostree-booted
        cat "$1" >/mnt/run/scriptlet
        # /opt is a link, so its target is replaced.
        mkdir -p /mnt/var/opt /usr/lib/opt
        mount --bind /usr/lib/opt /mnt/var/opt
        mount --bind /mnt/var /mnt/var
        mount --bind /usr/lib/opt /mnt/var/opt
        mount -o remount,bind,ro /mnt/var
        SYSTEMD_OFFLINE=1 exec chroot /mnt /bin/sh /run/scriptlet 1
    ' sh "$stage/scriptlet"
}

mkdir "$stage/files"
rpm2archive -n - <"$rpm" | tar -C "$stage/files" -xf -
scriptlet PREIN
mkdir -p "$stage/files/usr/lib/tmpfiles.d" /usr/lib/opt
for path in "$stage"/files/opt/*; do
    name=${path##*/}
    echo "L /var/opt/$name - - - - ../../usr/lib/opt/$name" >>"$stage/files/usr/lib/tmpfiles.d/pkg-opt.conf"
done
mv "$stage/files/opt" "$stage/files/usr/lib/opt"
chown -R 0:0 "$stage/files"
tar -C "$stage/files" -cf - . | tar -C / --keep-directory-symlink -xf -
rpm -i --justdb --noscripts --nodeps "$rpm"
scriptlet POSTIN
scriptlet POSTTRANS
rm -rf "$stage"
END_OF_PROGRAM
chmod 755 "$root/usr/bin/rpm-ostree"
