# What an image for bootc has of it: the command, which knows `container lint` and of that what it says of /var. There an
# image may have directories and links, if tmpfiles.d makes them: the rest reaches only hosts that are set up with it.
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
