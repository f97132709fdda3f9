# What is different on SUSE's systems: rpm's database is where libzypp looks for it (Debian's rpm has one in the user's
# home), and in %post the macros of systemd-rpm-macros enable the units that were new in %pre, whatever $1 is.
set -eu
root=$1
mkdir -p "$root/etc/rpm"
echo '%_dbpath /var/lib/rpm' >"$root/etc/rpm/macros"

mkdir -p "$root/usr/lib/rpm/macros.d"
cat >"$root/usr/lib/rpm/macros.d/macros.systemd" <<'END'
%_unitdir /usr/lib/systemd/system
%_presetdir /usr/lib/systemd/system-preset
%_tmpfilesdir /usr/lib/tmpfiles.d
%_sysusersdir /usr/lib/sysusers.d
%systemd_ordering OrderWithRequires(post): systemd
%__unit_helper() [ ! -x /usr/lib/systemd/systemd-update-helper ] || /usr/lib/systemd/systemd-update-helper %{?*} || :
%service_add_pre() %{__unit_helper mark-install-system-units %{?*}}
%service_add_post() %{__unit_helper install-system-units %{?*}}
%service_del_preun() if [ "$1" -eq 0 ]; then %{__unit_helper remove-system-units %{?*}}; fi
%systemd_pre() %{service_add_pre %{?*}}
%systemd_post() %{service_add_post %{?*}}
%systemd_preun() %{service_del_preun %{?*}}
%systemd_postun() :
END

# install-system-units enables only units that had no file when mark-install-system-units ran.
cat >"$root/usr/lib/systemd/systemd-update-helper" <<'END'
#!/bin/sh
marks=/run/systemd/rpm/needs-preset
verb=$1
shift
for unit; do
    case $verb in
    mark-install-system-units)
        [ -e "/usr/lib/systemd/system/$unit" ] || { mkdir -p "$marks" && : >"$marks/$unit"; }
        ;;
    install-system-units)
        [ ! -e "$marks/$unit" ] || { rm "$marks/$unit" && systemctl --no-reload preset "$unit"; }
        ;;
    remove-system-units)
        systemctl --no-reload disable --now "$unit"
        ;;
    *)
        echo "systemd-update-helper: $verb" >&2
        exit 1
        ;;
    esac
done
END
chmod 755 "$root/usr/lib/systemd/systemd-update-helper"
