"""Run a command and print the longest time, in seconds, in which nothing listened on a port: PORT COMMAND...

It reads the kernel's tables every 5 ms (proc(5), net/tcp). It does not connect, so the service has no additional
client. After the command it continues until the port has had a listener for half a second.
"""

import subprocess
import sys
import time

STEP = 0.005
SETTLED = 0.5
PATIENCE = 60


def is_listening(port):
    wanted = b":%04X" % port
    for table in ("/proc/net/tcp6", "/proc/net/tcp"):
        with open(table, "rb") as stream:
            for line in stream:
                fields = line.split(None, 4)
                if fields[3] == b"0A" and fields[1].endswith(wanted):
                    return True
    return False


def main(port, command):
    if not is_listening(port):
        sys.exit("nothing listens on port %d to begin with" % port)
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    longest = 0.0
    # When the port was first seen without a listener, and when it was first seen with a listener after the command had
    # ended.
    gone = settled = None
    deadline = time.monotonic() + PATIENCE
    while settled is None or time.monotonic() - settled < SETTLED:
        now = time.monotonic()
        if now > deadline:
            sys.exit("no end, or no listener, within %d seconds" % PATIENCE)
        if is_listening(port):
            if gone is not None:
                longest, gone = max(longest, now - gone), None
            if settled is None and process.poll() is not None:
                settled = now
        else:
            settled = None
            gone = now if gone is None else gone
        time.sleep(STEP)
    if process.returncode:
        sys.exit("exit status %d" % process.returncode)
    print(longest)


main(int(sys.argv[1]), sys.argv[2:])
