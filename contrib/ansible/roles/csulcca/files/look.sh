# look.sh PACKAGE: all that the role asks of a host, as one JSON object. A single question is what makes a run with
# nothing to do fast. PACKAGE: the name of the package's file; empty if the package comes from a repository.
# What is printed between quotes is a command, a version or a hash, and has no quotes in it.

manager=
for one in apt-get zypper dnf; do
    if command -v "$one" >/dev/null; then
        manager=$one
        break
    fi
done
case "$1:$manager" in
*.deb:* | :apt-get)
    # A removed package that left its configuration has a version, too.
    # shellcheck disable=SC2016 # dpkg-query fills this in
    format='${db:Status-Status} ${Version} ${Package}_${Version}_${Architecture}.deb'
    installed=$(dpkg-query --show --showformat="$format" csulcca 2>/dev/null)
    case $installed in
    'installed '*) installed=${installed#installed } ;;
    *) installed= ;;
    esac
    ;;
*) installed=$(rpm -q --queryformat '%{VERSION} %{NAME}-%{VERSION}-%{RELEASE}.%{ARCH}.rpm' csulcca 2>/dev/null) || installed= ;;
esac
certificate=$(sha256sum /opt/IBM/CCA/bin/catcher.crt 2>/dev/null)
status=$(catcherctl status --json 2>/dev/null)
code=$?
printf '{"manager":"%s","version":"%s","package":"%s","certificate":"%s","code":%s,"status":%s}\n' \
    "$manager" "${installed% *}" "${installed#* }" "${certificate%% *}" "$code" "${status:-null}"
