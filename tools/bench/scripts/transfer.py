"""Move bytes over TLS and print the seconds from the request to the last byte: PORT GET|PUT BYTES."""

import socket
import ssl
import sys
import time

port, verb, size = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
with context.wrap_socket(socket.create_connection(("127.0.0.1", port))) as connection:
    begin = time.monotonic()
    connection.sendall(("%s /file HTTP/1.0\r\n\r\n" % verb).encode())
    got = 0
    if verb == "PUT":
        block = bytes(65536)
        for _ in range(size // len(block)):
            connection.sendall(block)
        size = 1
    while got < size:
        data = connection.recv(1 << 20)
        if not data:
            break
        got += len(data)
    seconds = time.monotonic() - begin
if got < size:
    sys.exit("the connection ended after %d of %d bytes" % (got, size))
print(seconds)
