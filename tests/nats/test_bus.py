"""Clients of different gateways, with the bus between them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from atbus.errors import Status, Undeliverable
from atbus.nats import bounds
from atbus.nats.monitor import Monitor
from atbus.nats.siblings import SUBJECT, Place
from atbus.node.node import Node
from atbus.node.publication import Publication
from atbus.subjects.bounds import QUIET_SECONDS
from atbus.testing.network import VirtualNetwork
from tests.nats.harbor import Caller, HarborTests
from tests.nats.test_gateway import INFORMED, info_of
from tests.nats.transcripts import QUIET

# At how many a gateway dies: shortly before a power of two what is due is rounded most.
_MOMENTS = 14
WEST, EAST = "ipv4://10.0.0.2:1", "ipv4://10.0.0.3:1"


class ThreeHopTests(HarborTests):
    """Two gateways three links from each other: a node, its upstream, the root, a node below it."""

    def setUp(self) -> None:
        super().setUp()
        root = self.root()
        west = self.child(0x10100, listen=[WEST], subnets=[(0, 8)])
        far = self.node(0x10101, upstream=WEST, nats={"listen": "127.0.0.1:4222"})
        near = self.node(
            0x10002, upstream="ipv4://10.0.0.1:1", nats={"listen": "127.0.0.1:4223"}
        )
        self.middle: tuple[Node, Node] = root, west
        self.far_gateway, self.near_gateway = self.gateway(far), self.gateway(near)
        self.network.start(root, west, far, near)
        self.network.settle(2.0)
        self.far, self.near = self.enters(), self.caller(self.near_gateway)
        self.near.says(INFORMED + b"PING\r\n")
        self.near.hears()

    def enters(self) -> Caller:
        """Connect to the far gateway."""
        caller = self.caller(self.far_gateway)
        caller.says(INFORMED + b"PING\r\n")
        caller.hears()
        return caller

    def says(self, caller: Caller, data: bytes) -> None:
        """Let a client send, and all of the bus hear of it."""
        caller.says(data)
        self.network.settle(0.5)

    def crossings(self) -> int:
        """Count the links that publications have crossed, each as often as that."""
        nodes = (*self.middle, self.far_gateway.node, self.near_gateway.node)
        ends = [end for node in nodes for end in node._parts.registrar.endpoints.values()]
        return sum(end.out_publications for end in ends)

    def test_they_share_subjects(self) -> None:
        """What one client publishes the other gets, byte for byte, with reply and headers."""
        self.says(self.far, b"SUB a.* 7\r\n")
        self.says(self.near, b"PUB a.b r 2\r\nhi\r\n")
        self.says(self.near, b"HPUB a.c 19 21\r\nNATS/1.0\r\nA: bc\r\n\r\nhi\r\n")
        self.assertEqual(
            self.far.hears(),
            b"MSG a.b 7 r 2\r\nhi\r\nHMSG a.c 7 19 21\r\nNATS/1.0\r\nA: bc\r\n\r\nhi\r\n",
        )

    def test_requests_and_answers(self) -> None:
        """A request finds its answer over the whole bus, and the answer its asker."""
        self.says(self.far, b"SUB sum 1\r\n")
        self.says(self.near, b"SUB _INBOX.x.* 2\r\nPUB sum _INBOX.x.1 2\r\nhi\r\n")
        self.assertEqual(self.far.hears(), b"MSG sum 1 _INBOX.x.1 2\r\nhi\r\n")
        self.says(self.far, b"PUB _INBOX.x.1 5\r\nhello\r\n")
        self.assertEqual(self.near.hears(), b"MSG _INBOX.x.1 2 5\r\nhello\r\n")

    def test_nobody_answers(self) -> None:
        """Where nobody is, anywhere, a client is told so at once; also when somebody was."""
        self.says(self.near, b"SUB r 2\r\nPUB sum r 2\r\nhi\r\n")
        nobody = b"HMSG r 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
        self.assertEqual(self.near.hears(), nobody)
        self.says(self.far, b"SUB sum 1\r\n")
        self.says(self.far, b"UNSUB 1\r\n")
        self.says(self.near, b"PUB sum r 2\r\nhi\r\n")
        self.assertEqual(self.near.hears(), nobody)

    def test_queue_groups(self) -> None:
        """Of a group over two gateways just one member gets each message, each member some."""
        self.says(self.far, b"SUB w g 1\r\n")
        self.says(self.near, b"SUB w g 1\r\n")
        other = self.enters()
        self.says(other, b"PUB w 1\r\nx\r\n" * 200)
        far, near = (caller.hears().count(b"MSG w 1 1\r\n") for caller in (self.far, self.near))
        self.assertEqual(far + near, 200)
        self.assertTrue(min(far, near) > 20, (far, near))

    def test_nothing_comes_twice(self) -> None:
        """Several subscriptions at one gateway cost one message on the way, and get one each."""
        self.says(self.far, b"SUB a 1\r\nSUB * 2\r\n")
        other = self.enters()
        self.says(other, b"SUB > 3\r\n")
        before = self.crossings()
        self.says(self.near, b"PUB a 2\r\nhi\r\n")
        self.assertEqual(self.crossings() - before, 3)
        heard = self.far.hears()
        self.assertEqual(sorted(heard.split(b"\r\n")[::2]), [b"", b"MSG a 1 2", b"MSG a 2 2"])
        self.assertEqual(other.hears(), b"MSG a 3 2\r\nhi\r\n")

    def test_order(self) -> None:
        """What one client publishes arrives in that order."""
        self.says(self.far, b"SUB a 1\r\n")
        self.says(self.near, b"".join(b"PUB a 3\r\n%03d\r\n" % n for n in range(300)))
        payloads = self.far.hears().split(b"\r\n")[1::2]
        self.assertEqual(payloads, [b"%03d" % n for n in range(300)])

    def test_an_end_after_some(self) -> None:
        """A subscription that ends after two is gone from the whole bus then."""
        self.says(self.far, b"SUB a 1\r\nUNSUB 1 2\r\n")
        self.says(self.near, b"SUB r 9\r\n")
        for _ in range(3):
            self.says(self.near, b"PUB a r 1\r\nx\r\n")
        heard = self.far.hears().replace(b"PING\r\n", b"")
        self.assertEqual(heard, b"MSG a 1 r 1\r\nx\r\n" * 2)
        self.assertIn(b"NATS/1.0 503", self.near.hears())

    def test_a_client_that_goes(self) -> None:
        """Its interest is gone with it, on the whole bus."""
        self.says(self.far, b"SUB sum 1\r\n")
        self.far.hangs_up()
        self.network.settle(1.0)
        self.says(self.near, b"SUB r 2\r\nPUB sum r 2\r\nhi\r\n")
        self.assertIn(b"NATS/1.0 503", self.near.hears())


class ZoneTests(HarborTests):
    """Gateways in two zones, of which one prefers what is near."""

    def test_a_group_of_clients(self) -> None:
        """Clients at a gateway in the zone, three links away, get it before those of another."""
        nodes = [self.root(), self.child(0x10100, listen=[WEST], subnets=[(0, 8)])]
        for bus_id, zone, upstream in (
            (0x10101, "x", WEST),
            (0x10002, "y", "ipv4://10.0.0.1:1"),
            (0x10003, "x", "ipv4://10.0.0.1:1"),
        ):
            nodes.append(
                self.node(
                    bus_id,
                    upstream=upstream,
                    nats={"listen": f"127.0.0.1:{4222 + len(nodes)}"},
                    labels={"zone": zone},
                    queue_policy="nearest",
                )
            )
        gateways = [self.gateway(node) for node in nodes[2:]]
        self.network.start(*nodes)
        self.network.settle(2.0)
        far, other, near = (self.caller(gateway) for gateway in gateways)
        for caller in (far, other, near):
            caller.says(INFORMED + b"PING\r\n")
            caller.hears()
        for caller in (far, other):
            caller.says(b"SUB w g 1\r\n")
        self.network.settle(0.5)
        for ending, expected in ((b"", (100, 0)), (b"UNSUB 1\r\n", (0, 100))):
            far.says(ending)
            self.network.settle(0.5)
            near.says(b"PUB w 1\r\nx\r\n" * 100)
            self.network.settle(0.5)
            found = tuple(caller.hears().count(b"MSG w 1 1\r\n") for caller in (far, other))
            self.assertEqual(found, expected)


class SiblingTests(HarborTests):
    """Gateways know of each other, and clients of all."""

    def setUp(self) -> None:
        super().setUp()
        self.plant()

    def plant(self) -> None:
        """Start two gateways, of which one is up."""
        places = {0x10000: "127.0.0.1:4222", 0x10001: "127.0.0.1:4223"}
        root = self.root(nats={"listen": places[0x10000]})
        child = self.child(nats={"listen": places[0x10001]})
        self.root_gateway, self.child_gateway = self.gateway(root), self.gateway(child)
        self.network.start(root)
        self.network.settle(1.0)

    def urls(self, caller: Caller) -> list[str]:
        """Say where a client was told that it could go, last."""
        line = [each for each in caller.hears().split(b"\r\n") if each.startswith(b"INFO")][-1]
        return list(info_of(line + b"\r\n").get("connect_urls", []))

    def test_a_lone_gateway_names_nobody(self) -> None:
        """There is nowhere else to go."""
        caller = self.caller(self.root_gateway, greeted=False)
        self.assertEqual(self.urls(caller), [])

    def test_a_new_one_is_told_to_clients(self) -> None:
        """Clients that are connected learn of a gateway that comes, new ones at once."""
        caller = self.caller(self.root_gateway)
        caller.says(INFORMED + b"PING\r\n")
        caller.hears()
        old = self.caller(self.root_gateway)
        old.says(QUIET + b"PING\r\n")
        old.hears()
        self.network.start(self.child_gateway.node)
        self.network.settle(15.0)
        both = ["127.0.0.1:4222", "127.0.0.1:4223"]
        self.assertEqual(sorted(self.urls(caller)), both)
        self.assertNotIn(b"INFO", old.hears())
        for gateway in (self.root_gateway, self.child_gateway):
            self.assertEqual(sorted(self.urls(self.caller(gateway, greeted=False))), both)

    def test_one_that_leaves_is_told_at_once(self) -> None:
        """Clients of a lame duck learn where else to go; those of others forget it."""
        self.network.start(self.child_gateway.node)
        self.network.settle(15.0)
        here, there = self.caller(self.root_gateway), self.caller(self.child_gateway)
        for caller in (here, there):
            caller.says(INFORMED + b"PING\r\n")
            caller.hears()
        self.child_gateway.lame_duck()
        self.network.settle(1.0)
        self.assertEqual(self.urls(here), [])
        self.assertEqual(self.urls(there), ["127.0.0.1:4222"])
        standing = self.root_gateway.node.beyond.wanted_under(f"{SUBJECT}.")
        self.assertEqual(standing, [f"{SUBJECT}.{self.root_gateway.identity.server_id}"])

    def both(self) -> Caller:
        """Let the two gateways know of each other, and a client of the root hear of that."""
        self.network.start(self.child_gateway.node)
        self.network.settle(15.0)
        caller = self.caller(self.root_gateway)
        caller.says(INFORMED + b"PING\r\n")
        caller.hears()
        return caller

    def test_one_that_dies_is_forgotten(self) -> None:
        """A gateway that is killed is told of no longer than it may take to come back."""
        caller = self.both()
        self.kill(self.child_gateway.node)
        del self.gateways[self.child_gateway.node]
        noticed = bounds.SIBLINGS_LOOK_SECONDS + bounds.SIBLING_MISSED_SECONDS
        self.network.settle(noticed - 0.1)
        self.assertEqual(len(self.root_gateway.siblings.others), 1)
        self.network.settle(0.2)
        self.assertEqual(self.urls(caller), [])

    def test_who_is_missed_is_looked_for_once(self) -> None:
        """Whenever a gateway dies: when that is due it is forgotten, whatever is rounded."""
        for number in range(_MOMENTS):
            self.end()
            self.begin(VirtualNetwork())
            self.plant()
            self.both()
            self.network.clock.advance(30.0 + 0.1 * number - self.network.clock.seconds())
            self.kill(self.child_gateway.node)
            del self.gateways[self.child_gateway.node]
            siblings, looks = self.root_gateway.siblings, Counter[float]()
            self.patch(siblings, "_miss", partial(self.miss, siblings._miss, looks))
            self.network.settle(bounds.SIBLINGS_LOOK_SECONDS + bounds.SIBLING_MISSED_SECONDS + 1)
            self.assertEqual((siblings.others, looks.total()), ((), 1))

    def miss(self, forget: Callable[[], None], looks: Counter[float]) -> None:
        """Note that it is looked who is missed; not for ever."""
        looks[self.network.clock.seconds()] += 1
        assert looks.total() < 5, looks
        forget()

    def test_one_that_stands_nowhere_is_forgotten(self) -> None:
        """Of one that does not stand where others look all goes by its answers."""
        standing = self.child_gateway.node.subscribe

        def refuses(subject: str, *rest: Any, **options: Any) -> Any:
            if subject.startswith(f"{SUBJECT}."):
                raise Undeliverable(Status.NO_RIGHT, 0)
            return standing(subject, *rest, **options)

        self.patch(self.child_gateway.node, "subscribe", refuses)
        caller = self.both()
        self.kill(self.child_gateway.node)
        del self.gateways[self.child_gateway.node]
        self.network.settle(10.0)
        self.assertEqual(len(self.root_gateway.siblings.others), 1)
        for _ in range(10):
            self.network.settle(5.0)
            caller.says(b"PONG\r\n")
        self.assertEqual(self.urls(caller), [])

    def test_one_that_is_back_at_once_is_not_forgotten(self) -> None:
        """Clients hear nothing of a gateway whose node gets another way to the bus."""
        # Here a dial is given up after some seconds.
        self.patch(bounds, "SIBLING_MISSED_SECONDS", 20.0)
        caller = self.both()
        root, child = self.root_gateway.node, self.child_gateway.node
        self.network.cut(root, child)
        self.until(lambda: child.state != "running")
        self.network.split(root, child)
        self.network.settle(2 * bounds.SIBLINGS_LOOK_SECONDS)
        self.network.heal(root, child)
        self.until(lambda: child.state == "running", bounds.SIBLING_MISSED_SECONDS - 1)
        self.network.settle(bounds.SIBLING_MISSED_SECONDS)
        self.assertNotIn(b"INFO", caller.hears())

    def test_one_that_was_cut_off_is_known_at_once(self) -> None:
        """A gateway behind a cut is not told of; when that is over, it is within a moment."""
        caller = self.both()
        root, child = self.root_gateway.node, self.child_gateway.node
        self.network.split(root, child)
        self.until(lambda: not self.root_gateway.siblings.others)
        self.network.heal(root, child)
        self.until(lambda: child.state == "running")
        before = self.network.clock.seconds()
        self.until(lambda: bool(self.root_gateway.siblings.others))
        took_seconds = self.network.clock.seconds() - before
        self.assertLess(took_seconds, 2 * bounds.SIBLING_STRANGE_SECONDS + QUIET_SECONDS)
        self.assertEqual(len(self.urls(caller)), 2)

    def test_no_more_than_so_many_are_known(self) -> None:
        """Whoever tells of gateways without end is not believed; those that are known stay so."""
        self.patch(bounds, "URLS_MAX", 2)
        caller = self.caller(self.root_gateway, greeted=False)
        caller.hears()
        node = self.root_gateway.node
        for name, url in (("one", "a:1"), ("two", "b:1"), ("three", "c:1"), ("one", "a:2")):
            node.publish(SUBJECT, Place(server_id=name, urls=(url,)).write())
        others = self.root_gateway.siblings.others
        self.assertEqual([place.urls for place in others], [("a:2",), ("b:1",)])
        node.publish(SUBJECT, Place(server_id="one").write())
        node.publish(SUBJECT, Place(server_id="three", urls=("c:1",)).write())
        others = self.root_gateway.siblings.others
        self.assertEqual([place.server_id for place in others], ["three", "two"])

    def test_an_answer_that_is_late(self) -> None:
        """A gateway that does not answer in time is learned of when it asks itself."""
        asked: list[str] = []
        other = self.child(0x10002)
        self.network.start(other)
        other.subscribe(SUBJECT, lambda question: asked.append(question.reply_to))
        self.network.settle(bounds.SIBLINGS_SECONDS)
        self.network.settle(2 * QUIET_SECONDS)
        there = Place(server_id="one", urls=("a:1",)).write()
        other.publish(asked[0], there)
        self.network.settle(2.0)
        self.assertEqual(self.root_gateway.siblings.others, ())
        other.publish(SUBJECT, there)
        self.network.settle(0.1)
        self.assertEqual(len(self.root_gateway.siblings.others), 1)

    def test_an_answer_that_is_over(self) -> None:
        """Who says that it is gone while answers are collected is not learned of from its own."""
        there, gone = Place(server_id="one", urls=("a:1",)), Place(server_id="one")
        other = self.child(0x10002)
        self.network.start(other)
        asked: list[Publication] = []

        def answer(question: Publication) -> bytes:
            asked.append(question)
            return there.write()

        for last in (gone, there):
            answering = other.subscribe(SUBJECT, answer)
            self.network.clock.run_until(lambda: bool(asked), 2 * bounds.SIBLINGS_SECONDS)
            self.network.settle(QUIET_SECONDS / 4)
            self.assertEqual(self.root_gateway.siblings.others, ())
            answering.unsubscribe()
            for each in (gone, last):
                other.publish(SUBJECT, each.write())
            self.network.settle(2 * QUIET_SECONDS)
            self.assertEqual(self.root_gateway.siblings.others, (last,) if last is there else ())
            asked.clear()


class AddressTests(HarborTests):
    """Where clients of another gateway are told that they can go."""

    def urls(
        self, nats: dict[str, Any], field: str = "connect_urls", **options: Any
    ) -> list[str]:
        """Start a gateway, and one beside it; ask that one."""
        near = self.root(nats={"listen": "127.0.0.1:4222"})
        far = self.child(nats={"allow_insecure": True, **nats})
        asked = self.gateway(near)
        self.gateway(far, **options)
        self.network.start(near, far)
        self.network.settle(15.0)
        urls = info_of(self.caller(asked, greeted=False).hears()).get(field, [])
        return sorted({*urls} - {"127.0.0.1:4222"})

    def test_everywhere(self) -> None:
        """A gateway that listens everywhere is told of under each address of its host."""
        hosts = {"0.0.0.0": ("10.0.0.7", "10.1.0.7")}
        urls = self.urls({"listen": "0.0.0.0:4223"}, hosts=hosts.__getitem__)
        self.assertEqual(urls, ["10.0.0.7:4223", "10.1.0.7:4223"])

    def test_the_sixth_version(self) -> None:
        """An address of IPv6 stands in brackets."""
        urls = self.urls({"listen": "[::]:4223"}, hosts=lambda _: ("fd00::2",))
        self.assertEqual(urls, ["[fd00::2]:4223"])

    def test_as_it_is_called_outside(self) -> None:
        """Where it is said what clients are to be told, they are told that."""
        urls = self.urls({"listen": "0.0.0.0:4223", "advertise": ["bus.example:4222"]})
        self.assertEqual(urls, ["bus.example:4222"])

    def test_the_first_one_is_ours(self) -> None:
        """INFO and ``/varz`` have the first address that is advertised, or where we listen."""
        for advertise, wanted in (
            (["bus.example:4222", "b:2"], ("bus.example", 4222)),
            (["[fd00::2]:4222"], ("fd00::2", 4222)),
            ([], ("127.0.0.1", 4222)),
            (None, ("127.0.0.1", 4222)),
        ):
            gateway = self.alone(**({} if advertise is None else {"advertise": advertise}))
            info = info_of(self.caller(gateway, greeted=False).hears())
            varz = Monitor(gateway).varz({})
            self.assertEqual((info["host"], info["port"]), wanted)
            self.assertEqual((varz["host"], varz["port"]), wanted)

    def test_websocket_inside_only(self) -> None:
        """Where it is said only what clients over TCP are told, the others are told nothing."""
        nats = {"listen": "0.0.0.0:4223", "websocket": "0.0.0.0:8080", "advertise": ["b:4222"]}
        self.assertEqual(self.urls(nats, "ws_connect_urls"), [])

    def test_websocket_outside(self) -> None:
        """They are told what is said for them."""
        nats = {
            "listen": "0.0.0.0:4223",
            "websocket": "0.0.0.0:8080",
            "advertise": ["bus.example:4222"],
            "websocket_advertise": ["bus.example:443"],
        }
        self.assertEqual(self.urls(nats, "ws_connect_urls"), ["bus.example:443"])

    def test_not_at_all(self) -> None:
        """A gateway may keep to itself where it is."""
        self.assertEqual(self.urls({"listen": "127.0.0.1:4223", "advertise": []}), [])


class SeveralWaysTests(HarborTests):
    """A gateway between two nodes."""

    def test_all_who_answer_leave_at_once(self) -> None:
        """A client whose request goes to both, and finds both have left, hears 503 from them."""
        hub = self.root(nats={"listen": "127.0.0.1:4222"})
        others = [self.child(bus_id) for bus_id in (0x10100, 0x10200)]
        gateway = self.gateway(hub)
        self.network.start(hub, *others)
        self.network.settle(2.0)
        client = self.caller(gateway)
        client.says(INFORMED + b"SUB r 2\r\nPING\r\n")
        gone = [node.subscribe("sum", lambda _: b"") for node in others]
        self.network.settle(0.5)
        client.hears()
        for each in gone:
            each.unsubscribe()
        client.says(b"PUB sum r 2\r\nhi\r\n")
        self.assertEqual(client.hears(), b"")
        self.network.settle(0.5)
        self.assertEqual(client.hears(), b"HMSG r 2 16 16\r\nNATS/1.0 503\r\n\r\n\r\n")
