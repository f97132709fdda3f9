"""The reference catcher; /opt/IBM/CCA/bin/catcher.exe starts it.

It accepts the TKE's connections on port 50003, in TCP, or in TLS 1.2 and newer with -tls, and relays the plain stream
to a configured backend. Without a backend it says so in the log and closes politely: the TKE's message protocol is not
public, so there is nothing else that it could answer.

One thread and one selector loop. Everything a peer can make grow is bounded: connections, time for the handshake, idle
time, and buffers. Python 3.6 or newer, standard library only; ssl is imported only with -tls, so that TCP starts fast.
"""
