"""Which connections are admitted: the limits for one address, for an IPv6 network, and in all. The connections are
simulated."""

import pytest
from reference_catcher import server as server_module
from reference_catcher.connection import CLOSED, HANDSHAKE, RELAY
from reference_catcher.server import Server
from reference_catcher.settings import Settings


class Sock:
    closed = False

    def setblocking(self, on):
        pass

    def setsockopt(self, *option):
        pass

    def close(self):
        self.closed = True


class Peer:
    """A connection that stays in the state in which the test made it."""

    made_in = RELAY

    def __init__(self, server, client, peer, address, origin):
        self.server, self.address, self.origin = server, address, origin
        self.state = self.made_in

    def step(self):
        pass

    def fail(self, outcome):
        self.state = CLOSED
        self.server.forget(self)

    close = fail


class Said:
    def __init__(self):
        self.lines = []

    def noise(self, origin, priority, text):
        self.lines.append(text)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A simulated server. come(ADDRESS, ...) connects these peers, and returns how many of them are connected at the
    end."""
    monkeypatch.setattr(server_module, "Connection", Peer)
    monkeypatch.setattr(server_module, "PlainEnd", lambda sock: sock)

    def make(**settings):
        conf = tmp_path / "conf"
        conf.write_text("".join("%s=%d\n" % item for item in settings.items()))
        server = Server(Settings(str(conf)), Said(), [], [], None)

        def come(*addresses, state=RELAY):
            monkeypatch.setattr(Peer, "made_in", state)
            for number, address in enumerate(addresses):
                server.admit(Sock(), (address, 1024 + number))
            return sum(1 for one in server.connections if one.address in addresses)

        server.come = come
        return server

    return make


@pytest.mark.parametrize("mine,neighbour", [("fd00:1::1", "fd00:1::2"), ("fe80::1%eth0", "fe80::2%eth0"),
                                            ("2001:db8:0:7::1", "2001:db8:0:7:ffff::")])
def test_one_address_of_a_network_leaves_room_for_the_others(places, mine, neighbour):
    server = places()
    assert server.come(*[mine] * 256) == 128
    assert "one address may have" in server.log.lines[-1] and "max_connections_per_address=" in server.log.lines[-1]
    assert server.come(neighbour) == 1
    # All addresses of a network together have three quarters.
    assert server.come(*[neighbour] * 256) == 64
    assert "all 192 connections that one network may have" in server.log.lines[-1]
    for other in ("fd00:2::1", "10.1.2.3", "::1"):
        assert server.come(other) == 1


def test_a_network_of_many_addresses_cannot_have_all_places(places):
    server = places()
    assert server.come(*["fd00:1::%x" % number for number in range(1, 400)]) == 192
    assert server.come(*["10.1.2.%d" % number for number in range(1, 65)]) == 64
    assert server.come("10.1.3.1") == 0 and "all 256 connections are in use" in server.log.lines[-1]


def test_a_place_that_becomes_free_is_given_again(places):
    server = places()
    server.come(*["fd00:1::%x" % number for number in range(1, 200)])
    for one in list(server.connections):
        one.close("ended")
    assert server.connections == {} == server.peers
    assert server.come(*["fd00:1::1"] * 200) == 128


def test_who_has_the_most_in_a_network_loses_what_is_not_finished(places):
    server = places(max_connections=8, max_connections_per_address=4)
    assert server.come(*["fd00:1::1"] * 4, state=HANDSHAKE) == 4
    assert server.come("fd00:1::2", "fd00:1::3", state=HANDSHAKE) == 2
    assert server.come("fd00:1::4", state=HANDSHAKE) == 1
    assert [one.address for one in server.connections].count("fd00:1::1") == 3


def test_a_network_loses_before_the_largest_address_of_another(places):
    """If the limit in all is reached: otherwise a peer with many addresses would push out one with few connections."""
    server = places(max_connections=10, max_connections_per_address=6)
    assert server.come(*["10.1.2.3"] * 3, state=HANDSHAKE) == 3
    assert server.come(*["fd00:1::%d" % number for number in range(1, 8)], state=HANDSHAKE) == 7
    assert server.come("10.9.9.9", state=HANDSHAKE) == 1
    assert [one.address for one in server.connections].count("10.1.2.3") == 3


def test_a_full_server_does_not_sort_everybody_for_each_newcomer(places, monkeypatch):
    """A peer with many addresses could keep the server busy with sorting alone."""
    server = places(max_connections=60, max_connections_per_address=20)
    server.come(*["10.1.%d.1" % number for number in range(50)])
    server.come(*["10.2.0.1"] * 10, state=HANDSHAKE)
    sorts = []

    def watched(things, **options):
        things = list(things)
        sorts.append(len(things))
        return sorted(things, **options)

    monkeypatch.setattr(server_module, "sorted", watched, raising=False)
    assert server.come(*["10.3.%d.1" % number for number in range(9)]) == 9
    assert max(sorts) == 1 and [one.address for one in server.connections].count("10.2.0.1") == 1
    # If the largest has only finished connections, the next one loses one.
    server.come(*["10.2.0.1"] * 5)
    assert [one.state for one in server.connections if one.address == "10.2.0.1"] == [RELAY]
    assert server.come("10.4.0.1", state=HANDSHAKE) == 0


def test_the_count_of_each_origin_is_right(places):
    server = places(max_connections=30, max_connections_per_address=4)
    for turn in range(200):
        peers = ["10.1.0.%d" % (turn % 7), "fd00:%d::%x" % (turn % 3, turn + 1)]
        server.come(*peers, state=(RELAY, HANDSHAKE)[turn % 2])
        for one in list(server.connections)[::5][:turn % 3]:
            one.close("ended")
            server.forget(one)
        assert server.counts == {source: sum(len(pool) for pool in near.values())
                                 for source, near in server.peers.items()}
    for one in list(server.connections):
        one.close("ended")
    assert server.counts == server.peers == {}


@pytest.mark.parametrize("settings,network", [
    ({}, 192), ({"max_connections": 1}, 1), ({"max_connections": 2}, 1), ({"max_connections": 3}, 2),
    ({"max_connections_per_address": 256}, 256), ({"max_connections_per_address": 10}, 133),
    ({"max_connections": 4, "max_connections_per_address": 9}, 6)])
def test_the_bound_of_a_network_lies_between_the_others(places, settings, network):
    assert places(**settings).settings.max_connections_per_network == network
