"""The catcher as a separate process."""

import functools
import os
import re
import resource
import signal
import socket
import subprocess
import threading
from pathlib import Path

PAYLOAD = Path(__file__).resolve().parents[2] / "payload/reference"
PROGRAM = "opt/IBM/CCA/bin/catcher.exe"
LIBRARY = "usr/lib/csulcca"
MEGABYTE = 1024 * 1024
PATIENCE = 60.0     # seconds after which a condition that should be true at once counts as never true


class Catcher:
    """A running catcher: its process, the lines that it has logged, and the port that it reports."""

    def __init__(self, argv, environment, **options):
        self.process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, **options)
        self.lines: list[str] = []
        self.changed = threading.Condition()
        self.ended = False
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stderr:
            with self.changed:
                self.lines.append(line.decode().rstrip("\n"))
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    @property
    def log(self):
        return "\n".join(self.lines)

    def wait_for(self, pattern, count=1):
        """Wait until COUNT lines match PATTERN. Returns the last of them."""
        def found():
            return [line for line in self.lines if re.search(pattern, line)]
        with self.changed:
            self.changed.wait_for(lambda: len(found()) >= count or self.ended, PATIENCE)
            assert len(found()) >= count, "no line matches %r:\n%s" % (pattern, self.log)
            return found()[-1]

    @functools.cached_property
    def port(self):
        return int(re.search(r"port (\d+)", self.wait_for("listening on port")).group(1))

    def exit_status(self):
        status = self.process.wait(PATIENCE)
        self.reader.join(PATIENCE)
        return status

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.exit_status()

    def resident(self):
        """Resident memory in bytes."""
        return int(Path("/proc/%d/statm" % self.process.pid).read_text().split()[1]) * resource.getpagesize()

    def cpu(self):
        """Seconds of processor time used."""
        fields = Path("/proc/%d/stat" % self.process.pid).read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def connect(self, host="127.0.0.1", source=""):
        sock = socket.create_connection((host, self.port), timeout=PATIENCE, source_address=(source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
