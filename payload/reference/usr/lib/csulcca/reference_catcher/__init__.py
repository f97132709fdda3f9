"""The reference catcher; /opt/IBM/CCA/bin/catcher.exe starts it.

It accepts the TKE's connections on port 50003, in plain TCP, or in TLS 1.2 and newer with -tls, and relays the plain
stream to a configured backend. Without a backend it logs that and closes the connection properly: the TKE's message
protocol is not public, so it cannot answer anything.

It has one thread and one selector loop. Everything that a peer could make grow has a limit: connections, the time for
a handshake, idle time, and buffers. Python 3.6 or newer, standard library only. ssl is imported only with -tls, so that
a start in TCP is fast.
"""
