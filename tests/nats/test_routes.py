"""This node as a member of a cluster, and who comes in at the port for routes."""

from __future__ import annotations

import json
from functools import partial
from random import Random
from typing import Any

import attrs
from twisted.internet.address import IPv4Address

from atbus.nats import bounds
from atbus.nats.gateway import Gateway
from atbus.nats.monitor import Monitor
from atbus.testing.route_fuzz import hostile_member
from tests.nats.harbor import DOOR, Caller, HarborTests, Port
from tests.nats.told import told

PORT = 6222
CLUSTER = {"name": "C1", "listen": f"127.0.0.1:{PORT}", "user": "u", "password": "p"}
CONNECT = b'CONNECT {"user":"u","pass":"p","cluster":"C1"}\r\n'
DUPLICATE = b"there is a route"


def _is_gone(caller: Caller) -> bool:
    return caller.is_gone


def info(server_id: str, **further: Any) -> bytes:
    """Write what a server says of itself."""
    fields = {"server_id": server_id, "cluster": "C1", "port": 6000, **further}
    return b"INFO " + json.dumps(fields).encode() + b"\r\n"


def told_of(heard: bytes) -> list[dict[str, Any]]:
    """List what INFO says of others."""
    lines = [json.loads(line[5:]) for line in heard.split(b"\r\n") if line.startswith(b"INFO ")]
    return [fields for fields in lines if "ip" in fields]


def _seconds(text: str) -> float:
    """Read a time as monitors write it."""
    units = {"µs": 1e-6, "ms": 1e-3, "s": 1.0}
    unit = next(each for each in units if text.endswith(each))
    return float(text.removesuffix(unit)) * units[unit]


def urls_in(heard: bytes) -> list[list[str]]:
    """List where clients can go by each INFO."""
    lines = [json.loads(line[5:]) for line in heard.split(b"\r\n") if line.startswith(b"INFO ")]
    return [fields["connect_urls"] for fields in lines]


class RouteCase(HarborTests):
    """Servers that dial a gateway."""

    def open(self, **cluster: Any) -> Gateway:
        """Start a node that is a member of a cluster."""
        gateway = self.alone(cluster=CLUSTER | cluster)
        self.until(lambda: gateway.routes is not None and gateway.routes.serves)
        return gateway

    def dials(self, gateway: Gateway) -> Caller:
        """Call at the port for routes."""
        [port] = [
            each
            for each in self.quays[gateway.node].ports
            if each.getHost().port == PORT  # type: ignore[attr-defined]  # of an address on TCP
        ]
        server = Caller(self.network.clock, port)
        self.assertTrue(server.hears().startswith(b"INFO {"))
        return server

    def joins(self, gateway: Gateway, server_id: str, **further: Any) -> Caller:
        """Let a server join."""
        server = self.dials(gateway)
        server.says(CONNECT + info(server_id, **further))
        return server

    def members(self, gateway: Gateway) -> set[str]:
        """Name the servers to which there are routes."""
        assert gateway.routes is not None
        return set(gateway.routes.members)


class DoorTests(RouteCase):
    """The port for routes."""

    def test_who_shows_the_password(self) -> None:
        """A server with the credentials of the cluster is a member, one with others is refused."""
        gateway = self.open()
        self.joins(gateway, "A")
        wrong = self.dials(gateway)
        wrong.says(CONNECT.replace(b'"p"', b'"q"') + info("B"))
        self.assertEqual(wrong.hears(), b"-ERR 'Authorization Violation'\r\n")
        self.until(partial(_is_gone, wrong))
        self.assertEqual(self.members(gateway), {"A"})

    def test_there_are_so_many(self) -> None:
        """One that comes when there are enough is closed."""
        gateway = self.open()
        self.patch(bounds, "ROUTES_MAX", 1)
        self.joins(gateway, "A")
        assert gateway.routes is not None
        self.assertIsNone(gateway.routes.door.buildProtocol(None))

    def test_what_passes(self) -> None:
        """Interest and messages pass; what is the bus's own, or another account's, does not."""
        gateway = self.open()
        server = self.joins(gateway, "A")
        client = self.caller(gateway)
        client.says(b'CONNECT {"verbose":false}\r\nSUB a 1\r\nSUB other 2\r\n')
        self.network.settle()
        self.assertIn(b"RS+ $G a\r\n", server.hears())
        client.hears()
        server.says(b"RMSG X a 5\r\nwrong\r\nRMSG $G $ATBUS.a 2\r\nno\r\nRS+ $G b\r\n")
        server.says(b"RMSG $G a 4\r\nthis\r\n")
        client.says(b"PUB b 4\r\nthat\r\n")
        self.network.settle()
        self.assertEqual(client.hears(), b"MSG a 1 4\r\nthis\r\n")
        self.assertEqual(server.hears(), b"RMSG $G b 4\r\nthat\r\n")

    def test_what_stays_here(self) -> None:
        """A server that wants everything does not get what is the bus's own."""
        gateway = self.open()
        server = self.joins(gateway, "A")
        server.says(b"RS+ $G >\r\n")
        self.network.settle()
        server.hears()
        for subject in ("$ATBUS.accounts.shop.a", "a"):
            gateway.node.publish(subject, b"")
        self.network.settle()
        self.assertEqual(server.hears(), b"RMSG $G a 0\r\n\r\n")

    def test_who_takes_little(self) -> None:
        """A server that takes a byte now and then is a member, until it takes none for as long."""
        gateway = self.open()
        server = self.joins(gateway, "A")
        client = self.caller(gateway)
        server.says(b"RS+ $G b\r\n")
        self.network.settle()
        server.is_deaf = True
        client.says(b"CONNECT {}\r\nPUB b 200\r\n%b\r\n" % bytes(200))
        self.network.settle(0.1)
        for _ in range(10):
            self.network.settle(bounds.WRITE_SECONDS - 1.0)
            server.says(b"PONG\r\n")
            server.takes(1)
        self.assertEqual(self.members(gateway), {"A"})
        self.network.settle(bounds.WRITE_SECONDS * 1.3)
        self.assertEqual((server.is_gone, self.members(gateway)), (True, set()))

    def test_hostile_servers(self) -> None:
        """Whatever a server says, nothing comes of it but its end, and clients are served on."""
        gateway = self.open()
        # They all come from one address, and need not wait for each other here.
        self.patch(bounds, "ROUTE_REFUSALS_FREE", 1_000)
        for number in range(300):
            server = self.dials(gateway)
            server.says(hostile_member(Random(number)))
            self.network.settle(0.1)
            if not server.is_gone:
                server.protocol.close("seen enough")
            self.until(partial(_is_gone, server))
        self.assertEqual(self.members(gateway), set())
        client = self.caller(gateway)
        client.says(b"CONNECT {}\r\nSUB a 1\r\nPUB a 2\r\nok\r\n")
        self.network.settle()
        self.assertIn(b"MSG a 1 2\r\nok\r\n", client.hears())

    def test_one_hop(self) -> None:
        """What one server wants and says is not for another one."""
        gateway = self.open()
        first, second = self.joins(gateway, "A"), self.joins(gateway, "B")
        first.says(b"RS+ $G a\r\n")
        self.network.settle()
        second.hears()
        second.says(b"RMSG $G a 2\r\nno\r\n")
        first.hears()
        self.network.settle()
        self.assertEqual((first.hears(), second.hears()), (b"", b""))

    def test_clients_are_told_of_the_members(self) -> None:
        """Where clients of a server come in is told to ours, as long as there is a route to it."""
        gateway = self.open()
        client = self.caller(gateway)
        client.says(b'CONNECT {"protocol":1}\r\nPING\r\n')
        self.network.settle()
        client.hears()
        server = self.joins(gateway, "A", connect_urls=["10.0.0.1:4222"])
        self.network.settle()
        self.assertIn(b'"connect_urls":["127.0.0.1:4222","10.0.0.1:4222"]', client.hears())
        server.says(info("A", connect_urls=["10.0.0.2:4222"]))
        self.network.settle()
        self.assertIn(b'"connect_urls":["127.0.0.1:4222","10.0.0.2:4222"]', client.hears())
        server.hangs_up()
        self.network.settle()
        self.assertNotIn(b"10.0.0.2", client.hears())

    def test_members_are_told_of_a_gateway_that_comes_later(self) -> None:
        """Where clients can go is told once more when it changes after the route was made."""
        root = self.root()
        first = self.child(0x10010, nats={**DOOR, "cluster": CLUSTER})
        second = self.child(0x10020, nats={"listen": "127.0.0.1:4223"})
        gateway = self.gateway(first)
        self.gateway(second)
        self.network.start(root, first)
        self.until(lambda: gateway.routes is not None and gateway.routes.serves)
        server = self.joins(gateway, "A")
        self.network.settle(15.0)
        self.assertEqual(urls_in(server.hears())[-1], ["127.0.0.1:4222"])
        self.network.start(second)
        self.network.settle(15.0)
        gateway.inform()
        self.network.settle()
        self.assertEqual(urls_in(server.hears()), [["127.0.0.1:4222", "127.0.0.1:4223"]])


class SecondTests(RouteCase):
    """Two routes to one server."""

    def test_the_first_one_is_alive(self) -> None:
        """The first stays when it answers; nothing comes twice, and the second is closed."""
        gateway = self.open()
        first = self.joins(gateway, "A")
        second = self.joins(gateway, "A")
        second.says(b"RS+ $G a\r\n")
        self.network.settle()
        self.assertIn(b"PING\r\n", first.hears())
        first.says(b"PONG\r\n")
        self.until(partial(_is_gone, second))
        self.assertFalse(first.is_gone)
        self.assertEqual(self.members(gateway), {"A"})

    def test_the_first_one_is_dead(self) -> None:
        """The second takes over when the first does not answer in time; what it told counts."""
        gateway = self.open()
        first = self.joins(gateway, "A")
        second = self.joins(gateway, "A")
        self.assertTrue(second.is_unread)
        self.until(partial(_is_gone, first), bounds.ROUTE_ANSWER_SECONDS + 1)
        self.assertFalse(second.is_unread)
        second.says(b"RS+ $G a\r\n")
        self.caller(gateway).says(b"CONNECT {}\r\nPUB a 2\r\nok\r\n")
        self.network.settle()
        self.assertIn(b"RMSG $G a 2\r\nok\r\n", second.hears())

    def test_the_first_one_ends(self) -> None:
        """The second takes over at once when the first ends; a third is not waited for."""
        gateway = self.open()
        first, second, third = (self.joins(gateway, "A") for _ in range(3))
        self.until(partial(_is_gone, third))
        first.hangs_up()
        self.assertFalse(second.is_unread)
        self.assertEqual(self.members(gateway), {"A"})

    def test_what_was_asked_of_one_that_ends(self) -> None:
        """Who is not there any more is waited for no longer, whatever it was asked."""
        gateway = self.open()
        server = self.joins(gateway, "A")
        assert gateway.routes is not None
        link = gateway.routes.members["A"]
        known = link.known()
        self.network.settle(1.0)
        self.assertNoResult(known)
        server.hangs_up()
        self.successResultOf(known)

    def test_the_one_that_a_server_has_dialed_ends(self) -> None:
        """A server of the configuration is not dialed while it has dialed us, and is after that."""
        gateway = self.open()
        theirs, ours = self.joins(gateway, "A"), list[Caller]()
        quay = self.quays[gateway.node]

        def dial(port: int, factory: Any) -> Caller:
            ours.append(Caller(self.network.clock, Port(quay, port, factory, "127.0.0.1")))
            ours[-1].says(info("A"))
            self.network.clock.callLater(0, ours[-1].says, b"PONG\r\n")
            return ours[-1]

        quay.dial = dial
        assert gateway.routes is not None
        gateway.routes.renew(attrs.evolve(gateway.routes.settings, routes=("127.0.0.1:3",)), None)
        self.network.settle()
        self.assertIn(b"PING\r\n", theirs.hears())
        theirs.says(b"PONG\r\n")
        self.network.settle(60.0)
        self.assertEqual((len(ours), self.members(gateway)), (1, {"A"}))
        theirs.hangs_up()
        self.until(lambda: self.members(gateway) == {"A"}, 2.0)
        self.assertEqual(len(ours), 2)

    def test_the_second_one_ends(self) -> None:
        """Nothing comes of it."""
        gateway = self.open()
        first, second = self.joins(gateway, "A"), self.joins(gateway, "A")
        second.hangs_up()
        self.network.settle(bounds.ROUTE_ANSWER_SECONDS + 1)
        self.assertFalse(first.is_gone)


class GossipTests(RouteCase):
    """Members that tell of others."""

    def test_a_newcomer_is_told_to_the_others(self) -> None:
        """Who is a member hears where the next one can be dialed, and the next one does not."""
        gateway = self.open()
        first = self.joins(gateway, "A")
        first.hears()
        second = self.joins(gateway, "B", port=6001)
        self.network.settle()
        [told] = told_of(first.hears())
        self.assertEqual((told["server_id"], told["ip"]), ("B", "nats-route://10.9.9.9:6001/"))
        self.assertEqual(told_of(second.hears()), [])

    def test_who_is_told_of_is_dialed(self) -> None:
        """Unless it is known, or in the clear off loopback; where nobody is it is given up."""
        gateway = self.open()
        dialed = self.quays[gateway.node].dialed
        server = self.joins(gateway, "A")
        server.says(info("A", ip="nats-route://127.0.0.1:1/"))
        server.says(info("B", ip="nats-route://10.0.0.1:1/"))
        server.says(info("B", ip="nonsense"))
        self.network.settle(1.0)
        self.assertEqual(dialed, [])
        server.says(info("B", ip="nats-route://127.0.0.1:2/"))
        self.network.settle(60.0)
        self.assertEqual(dialed, [("127.0.0.1", 2)] * bounds.ROUTE_ATTEMPTS_MAX)

    def test_who_is_configured_is_dialed_for_ever(self) -> None:
        """Every second, until it is there."""
        gateway = self.open(routes=["127.0.0.1:3"])
        self.network.settle(60.0)
        self.assertGreater(len(self.quays[gateway.node].dialed), 50)


class TurnTests(RouteCase):
    """Two gateways of one bus that could join the same cluster."""

    def test_one_of_them(self) -> None:
        """The lowest id takes routes, the other one lets nobody in until that one is gone."""
        nats = {**DOOR, "cluster": CLUSTER}
        root = self.root()
        first, second = self.child(0x10010, nats=nats), self.child(0x10020, nats=nats)
        serving, waiting = self.gateway(first), self.gateway(second)
        self.network.start(root, first, second)
        self.until(lambda: serving.routes is not None and serving.routes.serves)
        assert waiting.routes is not None
        self.network.settle(5.0)
        self.assertIsNone(waiting.routes.door.buildProtocol(None))
        own = self.joins(serving, waiting.identity.server_id)
        self.until(partial(_is_gone, own))
        self.joins(serving, "A")
        self.assertEqual(self.members(serving), {"A"})
        self.network.result_of(serving.stopService())
        self.until(lambda: waiting.routes is not None and waiting.routes.serves)
        self.joins(waiting, "A")
        self.assertEqual(self.members(waiting), {"A"})


    def test_nobody_waits_at_its_end(self) -> None:
        """Who dials a gateway that has left waits, but not when that stops."""
        gateway = self.open()
        self.network.result_of(gateway.leave_servers())
        routes = gateway.routes
        assert routes is not None
        [port] = [each for each in self.quays[gateway.node].ports if each.factory is routes.door]
        place = IPv4Address("TCP", "10.9.9.9", 999)
        for _ in range(bounds.ROUTE_REFUSALS_FREE):
            self.assertIsNone(port.factory.buildProtocol(place))
        Caller(self.network.clock, port)
        self.assertEqual(len(routes.doorstep), 1)
        self.network.result_of(gateway.stopService())
        self.assertEqual(len(routes.doorstep), 0)


class MonitorTests(RouteCase):
    """What is shown of routes."""

    def test_routes_are_shown(self) -> None:
        """Those that take part are counted and listed, with what crossed and what they want."""
        gateway = self.open(routes=["127.0.0.1:3"])
        monitor = Monitor(gateway)
        server = self.joins(gateway, "A", server_name="one")
        server.says(b"RS+ $G a\r\nRMSG $G b 2\r\nok\r\n")
        self.network.settle()
        [shown] = told(monitor.routez({"subs": "1"}))["routes"]
        names = ("remote_id", "remote_name", "did_solicit", "in_msgs", "in_bytes", "subscriptions")
        self.assertEqual([shown[each] for each in names], ["A", "one", False, 1, 2, 1])
        self.assertEqual(shown["subscriptions_list"], ["a"])
        about = monitor.varz({})
        self.assertEqual((about["routes"], about["cluster"]["name"]), (1, "C1"))
        # As of a route between servers; how long an answer takes is known when there was one.
        self.assertNotIn("rtt", shown)
        server.hears()
        self.until(lambda: bool(server.writes))
        self.assertEqual(server.hears(), b"PING\r\n")
        self.network.settle(0.25)
        server.says(b"PONG\r\n")
        self.network.settle(2.0)
        [shown] = told(monitor.routez({}))["routes"]
        self.assertAlmostEqual(_seconds(shown["rtt"]), 0.25, places=1)
        self.assertAlmostEqual(_seconds(shown["idle"]), 2.0, places=1)
        self.assertEqual(shown["pending_size"], 0)
        self.assertIn("last_activity", shown)
        self.assertEqual(about["cluster"]["urls"], ["127.0.0.1:3"])

    def test_clients_are_told_of_the_cluster(self) -> None:
        """INFO names it, for clients and for leafs."""
        gateway = self.open(routes=[])
        about = self.caller(gateway, greeted=False).hears()
        self.assertIn(b'"cluster":"C1"', about)
        self.assertEqual(gateway.leafs.accepted().session._terms.about["cluster"], "C1")

    def test_tools_are_told_of_routes(self) -> None:
        """What ``atbus routes --peers`` lists are nodes, and servers behind them."""
        root = self.root()
        child = self.child(0x10010, nats={**DOOR, "cluster": CLUSTER})
        gateway = self.gateway(child)
        self.network.start(root, child)
        self.until(lambda: gateway.routes is not None and gateway.routes.serves)
        server = self.joins(gateway, "A", server_name="one")
        server.says(b"RS+ $G a\r\nRMSG $G b 2\r\nok\r\n")
        self.network.settle(3.0)
        (line,) = self.network.result_of(root.command(0x10010, b"atbus.peers"))
        node, shown = json.loads(line)
        self.assertEqual((node["id"], shown["id"], shown["hostname"]), ("0x10000", "A", "one"))
        names = ("dialled", "configured", "ip", "port", "in_publications", "subscriptions")
        self.assertEqual([shown[each] for each in names], [False, False, "10.9.9.9", 999, 1, 1])
        self.assertGreaterEqual(shown["idle_seconds"], 3.0)
        self.assertEqual(shown["age_seconds"], shown["idle_seconds"])


class LameDuckTests(RouteCase):
    """Clients are to go elsewhere."""

    def test_a_server(self) -> None:
        """Our clients are told no more of a server that its own are to leave, whatever it says."""
        gateway = self.open()
        server = self.joins(gateway, "A", connect_urls=["10.0.0.1:4222"])
        client = self.caller(gateway, greeted=False)
        self.assertIn(b"10.0.0.1:4222", client.hears())
        server.says(info("A", connect_urls=["10.0.0.1:4222"], ldm=True))
        server.says(info("A", connect_urls=["10.0.0.1:4222"]))
        client = self.caller(gateway, greeted=False)
        self.assertNotIn(b"10.0.0.1:4222", client.hears())
        self.assertEqual(self.members(gateway), {"A"})

    def test_a_gateway_that_is_alone(self) -> None:
        """Servers are told once that its clients are to leave; it stays a member."""
        gateway = self.open()
        server = self.joins(gateway, "A")
        server.hears()
        gateway.lame_duck()
        gateway.inform()
        self.network.settle()
        self.assertEqual(server.hears().count(b'"ldm":true'), 1)
        self.assertEqual(self.members(gateway), {"A"})

    def test_a_gateway_that_is_not_alone(self) -> None:
        """Another one of the bus is the member from then on."""
        nats = {**DOOR, "cluster": CLUSTER}
        root = self.root()
        first, second = self.child(0x10010, nats=nats), self.child(0x10020, nats=nats)
        leaving, staying = self.gateway(first), self.gateway(second)
        self.network.start(root, first, second)
        self.until(lambda: leaving.routes is not None and leaving.routes.serves)
        server = self.joins(leaving, "A")
        server.hears()
        leaving.lame_duck()
        self.until(partial(_is_gone, server))
        self.assertIn(b'"ldm":true', server.hears())
        self.until(lambda: staying.routes is not None and staying.routes.serves)
        self.joins(staying, "A")
        self.assertEqual(self.members(staying), {"A"})
