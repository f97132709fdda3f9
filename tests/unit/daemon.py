"""A stand-in for the service: a real server on a real port. systemctl restart starts it in the configured mode."""

import socket
import ssl
import sys
import threading
import time

from catcher_install import apply, paths, start, transition
from catcher_install.admin import daemon
from catcher_install.host import Host
from tests.ports import free_port

# The catcher's, as the machine's /proc shows it.
PID, INODE = 100, 7


class Daemon:
    """The catcher of a Machine.

    behaviour: what the next restarts bring up: "obey" (what CSUTKEcat start would exec), "nothing", "tcp" (whatever is
    configured), "another certificate" (other_pair's), "refuse" (systemctl itself fails) or "interrupt" (Ctrl-C).
    A list of them is used up one restart after the other, its last one staying.
    restarts: how many there were. speaks: "tls", "tcp" or None, as it is now.
    """

    def __init__(self, machine, monkeypatch, other_pair=None):
        self.machine = machine
        self.behaviour = ["obey"]
        self.other_pair = other_pair
        self.restarts = 0
        self.speaks = None
        self.listener = None
        self.port = free_port()
        monkeypatch.setattr(paths, "PORT", self.port)
        # Connections are real, so waits for them are real, too. But no test waits for a connection that never comes.
        monkeypatch.setattr(daemon, "ANSWER_SECONDS", 0.1)
        monkeypatch.setattr(daemon, "LOOK_SECONDS", 2)
        monkeypatch.setattr(type(machine), "wait_until", Host.wait_until)
        machine.systemctl(self.systemctl)

    def systemctl(self, argv, stdin):
        """What /usr/bin/systemctl answers."""
        if argv[1] == "is-failed":
            return (0 if self.speaks is None else 1), b""
        if argv[1] != "restart":
            return 0, b""
        self.restarts += 1
        how = self.behaviour[0] if len(self.behaviour) == 1 else self.behaviour.pop(0)
        if how == "refuse":
            return 1, b"Unit CSUTKEcat.service is not loaded properly.\n"
        self.stop()
        if how == "interrupt":
            raise KeyboardInterrupt()
        if how == "obey":
            decision = start.launch_decision(apply.converge(self.machine, transition.of(transition.START)).facts)
            if decision.mode is not None:
                self.start(self.machine.locate(paths.KEY, follow=True),
                           self.machine.locate(paths.CERTIFICATE, follow=True), tls=decision.mode == "tls")
        elif how == "another certificate":
            self.start(*self.other_pair, tls=True)
        elif how == "tcp":
            self.start(None, None, tls=False)
        return 0, b""

    def start(self, key, crt, tls):
        """Listen, in TLS with the pair in two files or in TCP."""
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.load_cert_chain(crt, key)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port))
        self.listener.listen(20)
        self.speaks = "tls" if tls else "tcp"
        self.show([paths.CATCHER] + ["-tls"] * tls)
        self.thread = threading.Thread(target=serve, args=(self.listener, context), daemon=True)
        self.thread.start()

    def stop(self):
        """Close the port, and end."""
        if self.listener is None:
            return
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)
        assert not self.thread.is_alive()
        self.listener = self.speaks = None
        self.show([])

    def show(self, words):
        """Have the machine's /proc say that the catcher runs with these words and has the port; [] if it does not."""
        self.machine.processes.pop(PID, None)
        lines = ["header"]
        if words:
            self.machine.processes[PID] = words
            self.machine.put("/proc/%d/comm" % PID, b"catcher.exe\n")
            if not self.machine.lexists("/proc/%d/fd/3" % PID):
                self.machine.put_link("/proc/%d/fd/3" % PID, "socket:[%d]" % INODE)
            address = "0100007F" if sys.byteorder == "little" else "7F000001"
            lines.append("   0: %s:%04X 00000000:0000 0A 0:0 0:0 0 0 0 %d 1" % (address, self.port, INODE))
        self.machine.put("/proc/net/tcp", "\n".join(lines).encode("ascii"))


def serve(listener, context):
    """Accept connections, one after another, until the listener is closed."""
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        sock.settimeout(5)
        try:
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
                sock.recv(1)
            else:
                # The reference catcher without a backend does this.
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1024):
                    pass
        except OSError:
            # A peer that only looks may end the connection in any way.
            pass
        finally:
            sock.close()


def shown(port):
    """What the port speaks just now: the certificate (DER) of a TLS server, "tcp", or None."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
                try:
                    with context.wrap_socket(sock) as tls:
                        return tls.getpeercert(True)
                except (ssl.SSLError, ConnectionError, OSError):
                    return "tcp"
        except ConnectionRefusedError:
            return None
    return None
