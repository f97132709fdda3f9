#!/bin/sh
# Usage: filelist.sh PAYLOAD. Prints a %files line for each file and directory of the payload, for `%files -f`.
# Directories of the system itself and those that the spec lists are left out.
set -eu
cd "$1"
find . -mindepth 1 | LC_ALL=C sort | while IFS= read -r path; do
    path=${path#.}
    case $path in
    /opt/ibm/cca | /opt/IBM/CEX3C) continue ;;
    esac
    if [ -d ".$path" ] && [ ! -L ".$path" ]; then
        case $path in
        /opt | /opt/IBM | /opt/ibm | /opt/IBM/CCA | /opt/IBM/CCA/bin) ;;
        /etc | /etc/profile.d | /etc/ld.so.conf.d | /etc/cca | /var | /var/lib | /usr | /usr/bin | /usr/sbin | /usr/lib | /usr/lib64) ;;
        /usr/include | /usr/share | /usr/share/doc | /usr/share/man | /usr/share/man/man?) ;;
        *) printf '%%dir "%s"\n' "$path" ;;
        esac
    else
        case $path in
        /etc/*) printf '%%config(noreplace) "%s"\n' "$path" ;;
        *) printf '"%s"\n' "$path" ;;
        esac
    fi
done
