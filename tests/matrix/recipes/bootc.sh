# A stand-in for bootc: a command that knows only `container lint`, and of its checks only the check of /var. In /var,
# an image may have only directories and links that tmpfiles.d also makes. Anything else in /var reaches a host only
# when the host is first installed, and never with an update.
set -eu
root=$1
cat >"$root/usr/bin/bootc" <<'END_OF_PROGRAM'
#!/usr/bin/python3 -I
import glob
import os
import sys

if sys.argv[1:] != ["container", "lint"]:
    sys.exit("bootc: only `bootc container lint` is there")
made = set()
for path in glob.glob("/usr/lib/tmpfiles.d/*.conf") + glob.glob("/etc/tmpfiles.d/*.conf"):
    with open(path) as lines:
        fields = [line.split() for line in lines if line.strip() and not line.startswith("#")]
    made.update(line[1].rstrip("/") for line in fields if line[0][0] in "dDvqQLCf")
said = []
for top, directories, files in os.walk("/var"):
    for name in directories + files:
        path = os.path.join(top, name)
        if os.path.islink(path) or os.path.isdir(path):
            if not any(one == path or one.startswith(path + "/") for one in made):
                said.append("Found content in /var missing systemd tmpfiles.d entries: " + path)
        else:
            said.append("Found non-directory/non-symlink files in /var: " + path)
print("\n".join("Lint warning: var-tmpfiles: " + one for one in said))
sys.exit(bool(said))
END_OF_PROGRAM
chmod 755 "$root/usr/bin/bootc"
