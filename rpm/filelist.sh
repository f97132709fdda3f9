#!/bin/sh
# Usage: filelist.sh PAYLOAD. Prints a %files line for each file and directory of the payload, for `%files -f`.
# Paths in PAYLOAD.attributes (MODE GROUP CAPABILITIES PATH, see tools/payload_layout.py) get these attributes.
# Directories of the system, and what the spec lists, are left out.
set -eu
attributes=$(cat "$1.attributes" 2>/dev/null || :)
cd "$1"

# attributes_of PATH: prints the %attr and %caps of a path in PAYLOAD.attributes, with a blank after each.
attributes_of() {
    printf '%s\n' "$attributes" | while read -r mode group capabilities listed; do
        [ "$listed" = "$1" ] || continue
        printf '%%attr(%s, root, %s) ' "$mode" "$group"
        [ "$capabilities" = - ] || printf '%%caps(%s) ' "$capabilities"
    done
}

find . -mindepth 1 -name __pycache__ -prune -o -mindepth 1 -print | LC_ALL=C sort | while IFS= read -r path; do
    path=${path#.}
    case $path in
    /opt/ibm/cca | /opt/IBM/CEX3C) continue ;;
    # Listed as a whole in install/files.table.
    /usr/lib/csulcca | /usr/lib/csulcca/* | /usr/share/csulcca | /usr/share/csulcca/*) continue ;;
    esac
    if [ -d ".$path" ] && [ ! -L ".$path" ]; then
        case $path in
        /opt | /opt/IBM | /opt/ibm | /opt/IBM/CCA | /opt/IBM/CCA/bin) ;;
        /etc | /etc/profile.d | /etc/ld.so.conf.d | /etc/cca | /var | /var/lib | /usr | /usr/bin | /usr/sbin | /usr/lib | /usr/lib64) ;;
        /usr/include | /usr/share | /usr/share/doc | /usr/share/man | /usr/share/man/man?) ;;
        *) printf '%s%%dir "%s"\n' "$(attributes_of "$path")" "$path" ;;
        esac
    else
        case $path in
        /etc/*) printf '%s%%config(noreplace) "%s"\n' "$(attributes_of "$path")" "$path" ;;
        # The spec compresses the page, so its name gets a "*", which rpm expands only without quotes.
        /usr/share/man/*) printf '%s%s*\n' "$(attributes_of "$path")" "$path" ;;
        *) printf '%s"%s"\n' "$(attributes_of "$path")" "$path" ;;
        esac
    fi
done
