# SELinux enforces Debian's reference policy, and the audit daemon logs every denial. The labels are set when the disk
# is made. Commands run in the domain of an administrator who has logged in, not in the domain of the guest agent, which
# may do almost nothing.
set -eu
root=$1

cat >"$root/etc/selinux/config" <<'END'
SELINUX=enforcing
SELINUXTYPE=default
END
mkdir -p "$root/etc/systemd/system/qemu-guest-agent.service.d"
cat >"$root/etc/systemd/system/qemu-guest-agent.service.d/domain.conf" <<'END'
[Service]
SELinuxContext=unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023
ExecStart=
ExecStart=/bin/sh -c "exec /usr/sbin/qemu-ga"
END
