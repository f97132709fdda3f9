"""Hold many TCP connections to a TLS server open without a handshake, until killed: PORT COUNT.

Prints `ready` as soon as all are open. If the server closes a connection, it is opened again. They come from many
addresses, because the server may limit those from one address.
"""

import resource
import select
import socket
import sys

port, count = int(sys.argv[1]), int(sys.argv[2])
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
poll = select.epoll()
held: "dict[int, socket.socket]" = {}


def another(number: int) -> None:
    sock = socket.socket()
    sock.bind(("127.0.%d.%d" % (1 + number % 200, 1 + number // 200 % 200), 0))
    sock.setblocking(False)
    sock.connect_ex(("127.0.0.1", port))
    held[sock.fileno()] = sock
    poll.register(sock, select.EPOLLIN | select.EPOLLRDHUP)


for opened in range(count):
    another(opened)
print("ready", flush=True)
while True:
    for fd, _ in poll.poll():
        poll.unregister(fd)
        held.pop(fd).close()
        opened += 1
        another(opened)
