# OpenSSL's FIPS provider, installed as its documentation says, and a configuration that lets programs use nothing else.
set -eu
root=$1
chroot "$root" sh -c 'openssl fipsinstall -quiet -module /usr/lib/*/ossl-modules/fips.so -out /etc/ssl/fipsmodule.cnf'
sed -i 's,^# *\.include fipsmodule\.cnf,.include /etc/ssl/fipsmodule.cnf,
s,^default = default_sect,fips = fips_sect\nbase = base_sect,
s,^providers = provider_sect,&\nalg_section = algorithm_sect,' "$root/etc/ssl/openssl.cnf"
cat >>"$root/etc/ssl/openssl.cnf" <<'END_OF_CONFIGURATION'

[base_sect]
activate = 1

[algorithm_sect]
default_properties = fips=yes
END_OF_CONFIGURATION
chroot "$root" openssl list -providers | grep -q FIPS
! chroot "$root" openssl md5 /etc/hostname 2>/dev/null
