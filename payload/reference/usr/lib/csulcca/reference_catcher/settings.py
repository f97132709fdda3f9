"""The settings in /etc/cca/reference-catcher.conf."""

import os
import socket
import stat

from .refusal import EDIT_CONF, EX_CONFIG, EX_FAILED, Refused, status_of

PORT = 50003
CONF = "/etc/cca/reference-catcher.conf"
# This variable names another configuration file, for tests. It adds no risk: whoever can set our environment can also
# start another program.
CONF_VARIABLE = "REFERENCE_CATCHER_CONF"
CONF_LIMIT = 64 * 1024
BLANKS = " \t\r"
MAPPED = bytes(10) + b"\xff\xff"     # the beginning of an IPv6 address that stands for an IPv4 address


def read_file(path, limit):
    """Return the content of a regular file of at most LIMIT bytes. Raises OSError; ValueError for any other file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not make us wait
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("is not a regular file")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError("is larger than %d bytes" % limit)
    return data


class Settings:
    """The settings in a file of ``key=value`` lines and ``#`` comments. A missing file or key means the default.

    backend: None, ("unix", PATH) or ("tcp", HOST, PORT). max_connections: in all; max_connections_per_address: from one
    address; max_connections_per_network: from one /64 network of IPv6. handshake_timeout, idle_timeout, stop_timeout:
    seconds. port. listen: numeric addresses as the kernel shows them; by default all. given: what the file sets,
    {key: text}.
    Raises Refused if the file cannot be read (EX_FAILED if that may soon go away) or says anything else (EX_CONFIG).
    """

    def __init__(self, path):
        self.path = path
        self.backend = None
        self.max_connections = 256
        self.max_connections_per_address = None     # half of max_connections
        self.handshake_timeout = 10.0
        self.idle_timeout = 300.0
        self.stop_timeout = 5.0     # how long a stop waits for relays that still move data
        self.port = PORT
        self.listen = ("0.0.0.0", "::")
        self.given = {}     # type: dict
        readers = {
            "backend": self._backend,
            "max_connections": lambda value: number(value, 1, 4096, int),
            "max_connections_per_address": lambda value: number(value, 1, 4096, int),
            "handshake_timeout": lambda value: number(value, 0.1, 120, float),
            "idle_timeout": lambda value: number(value, 0.1, 86400, float),
            "stop_timeout": lambda value: number(value, 0.1, 25, float),
            "port": lambda value: number(value, 1, 65535, int),
            "listen": self._listen,
        }
        for count, line in enumerate(self._lines(), 1):
            key, equals, value = (part.strip(BLANKS) for part in line.partition("="))
            if len(line.rstrip(BLANKS).splitlines()) > 1:
                self._refuse("line %d: has a line end that is neither LF nor CR LF" % count)
            if key.startswith("#") or not line.strip(BLANKS):
                continue
            if key in self.given:
                self._refuse("line %d: %s= is set a second time" % (count, key))
            if not equals or key not in readers:
                self._refuse("line %d: not one of %s" % (count, ", ".join(name + "=" for name in sorted(readers))))
            try:
                if "\0" in value:
                    raise ValueError("contains a NUL character")
                setattr(self, key, readers[key](value))
                self.given[key] = value
            except ValueError as error:
                self._refuse("line %d: %s= %s" % (count, key, error))
        if self.max_connections_per_address is None:
            self.max_connections_per_address = (self.max_connections + 1) // 2
        # A network may have what one address may have, and half of the rest. So one address cannot fill its network,
        # and one network cannot take all connections.
        self.max_connections_per_network = (self.max_connections + self.max_connections_per_address) // 2

    def _lines(self):
        try:
            # Not splitlines(): the shell that looks for the port (hooks/catcher-port) knows one line end.
            return read_file(self.path, CONF_LIMIT).decode("utf-8-sig").split("\n")
        except FileNotFoundError:
            if os.path.islink(self.path):
                self._refuse("is a link that leads nowhere", EX_FAILED)     # its file system may be mounted later
            return []
        except UnicodeDecodeError:
            return self._refuse("is not text in UTF-8")
        except OSError as error:
            return self._refuse("cannot be read: %s" % error.strerror, status_of(error))
        except ValueError as error:
            return self._refuse(str(error))

    def _refuse(self, problem, status=EX_CONFIG):
        raise Refused(status, "%s: %s" % (self.path, problem), EDIT_CONF % self.path)

    @staticmethod
    def _backend(value):
        path = value[5:] if value.startswith("unix:") else value
        if path.startswith("/"):
            if len(os.fsencode(path)) > 107:
                raise ValueError("is a longer path than a socket may have")
            return ("unix", path)
        host, _, port = path.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if value.startswith("unix:") or not bare or bare == host and ":" in host:
            raise ValueError("must be HOST:PORT, [ADDRESS]:PORT or the /PATH of a Unix socket")
        try:
            bare.encode("idna")     # getaddrinfo() does the same
        except UnicodeError:
            raise ValueError("is not a name that can be looked up") from None
        return ("tcp", bare, number(port, 1, 65535, int))

    @staticmethod
    def _listen(value):
        addresses = []
        for address in (part.strip() for part in value.split(",")):
            # A link-local address names an interface, which may appear later.
            numbers, percent, interface = address.partition("%") if ":" in address else (address, "", "")
            try:
                address.encode("idna")
                numbers = str(socket.getaddrinfo(numbers, 0, flags=socket.AI_NUMERICHOST)[0][4][0])
            except (OSError, UnicodeError):
                raise ValueError("must be numeric addresses with commas between them") from None
            addresses.append(unmapped(numbers + percent + interface))
        return tuple(addresses)


def unmapped(address):
    """Return the IPv4 address that a numeric IPv6 ADDRESS stands for (::ffff:10.1.2.3), else ADDRESS."""
    try:
        packed = socket.inet_pton(socket.AF_INET6, address)
    except (OSError, ValueError):
        return address
    return socket.inet_ntop(socket.AF_INET, packed[12:]) if packed[:12] == MAPPED else address


def number(text, low, high, kind):
    """Return TEXT as a number of type KIND from LOW to HIGH. Raises ValueError with the end of a sentence.

    An integer consists of digits. A zero before them is refused: the shell would take the number for an octal one.
    """
    try:
        value = kind(text)
    except ValueError:
        value = None
    if value is None or not low <= value <= high or kind is int and text != str(value):
        raise ValueError("must be a number from %s to %s" % (low, high))
    return value
