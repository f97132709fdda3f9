# A root that boots by itself in qemu: DHCP and IPv6 router advertisements, the guest agent, and nothing that could
# disturb a test at a random moment.
set -eu
root=$1
units=$root/etc/systemd/system

cat >"$root/etc/fstab" <<'END'
/dev/vda / auto defaults 0 1
END
mkdir -p "$root/etc/systemd/network"
cat >"$root/etc/systemd/network/80-dhcp.network" <<'END'
[Match]
Name=e*

[Network]
DHCP=yes
IPv6AcceptRA=yes
END
mkdir -p "$units/multi-user.target.wants" "$units/network-online.target.wants" "$root/var/log/journal"
ln -s /lib/systemd/system/systemd-networkd.service "$units/multi-user.target.wants/"
ln -s /lib/systemd/system/systemd-networkd-wait-online.service "$units/network-online.target.wants/"
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer getty@tty1.service getty.target systemd-pstore.service; do
    ln -sf /dev/null "$units/$unit"
done
