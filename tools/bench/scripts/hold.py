"""Hold many TLS relays open until killed: PORT COUNT idle|stuck. Prints `ready` once all are there.

stuck: client and backend send without end, and neither of them reads.
"""

import contextlib
import signal
import socket
import ssl
import sys

port, count, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
held = []
for _ in range(count):
    sock = socket.create_connection(("127.0.0.1", port))
    # The kernel's buffers are not the subject.
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    held.append(context.wrap_socket(sock))
    if kind == "stuck":
        held[-1].sendall(b"GET /file HTTP/1.0\r\n\r\n")
        held[-1].settimeout(0.02)
        with contextlib.suppress(TimeoutError):
            while True:
                held[-1].sendall(bytes(65536))
print("ready", flush=True)
signal.pause()
