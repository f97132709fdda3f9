"""The backend of a relay: PORT BYTES. It sends that many bytes to a client that says GET, and reads as many from one
that says PUT."""

import socket
import sys
import threading


def serve(connection, size):
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            data = connection.recv(65536)
            if not data:
                return
            request += data
        if request.startswith(b"GET"):
            block = bytes(65536)
            for _ in range(size // len(block)):
                connection.sendall(block)
            return
        left = size - len(request.partition(b"\r\n\r\n")[2])
        while left:
            data = connection.recv(min(left, 1 << 20))
            if not data:
                return
            left -= len(data)
        connection.sendall(b"k")


with socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096) as listener:
    while True:
        accepted, _ = listener.accept()
        threading.Thread(target=serve, args=(accepted, int(sys.argv[2])), daemon=True).start()
