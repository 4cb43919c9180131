"""A gateway that serves a remote hands it over to one with a lower id."""

from __future__ import annotations

import gc
import itertools
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from atbus import limits
from atbus.errors import Status, SubjectError
from atbus.nats import bounds
from atbus.nats.handover_terms import Done, Ready
from atbus.nats.leaf import LeafLink
from atbus.nats.leaf_session import LOOP_SUBJECTS
from atbus.nats.succession import Succession
from atbus.node.node import Node
from atbus.subjects.pattern import INBOX
from atbus.testing.network import VirtualNetwork
from tests.nats.crossing import End, cross
from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.test_leafs_of_one_hub import HUB, PORT, REMOTE
from tests.nats.transcripts import QUIET
from tests.node.bus import CHILD, SIBLING

FAR = 0x10102


class HandoverCase(HarborTests):
    """A root, a gateway below it that serves, one that will take over, and a server."""

    #: How much time passes while each client says something.
    pace_seconds = 0.0005

    #: The ids of the two.
    servers = (SIBLING, CHILD)

    #: Where the server lets gateways in, what it is told of that, and what they are told of it.
    port = PORT
    hub_nats: ClassVar[dict[str, Any]] = {**DOOR, "leaf_listen": f"127.0.0.1:{PORT}"}
    nats: ClassVar[dict[str, Any]] = REMOTE

    def begin(self, network: Any) -> None:
        """Each test has a network of its own."""

    def end(self) -> None:
        """Nothing is left when a story has ended."""

    def grow(self, seed: int = 0) -> None:
        """Start all but the one that is to take over; clients are everywhere."""
        super().begin(VirtualNetwork(delay_seconds=0.0005, seed=seed, jitter_seconds=0.001))
        self.hub = self.node(HUB, nats=self.hub_nats)
        address = "ipv4://10.0.0.2:1"
        self.top = self.root(nats=DOOR)
        self.middle = self.child(0x10100, listen=[address], subnets=[(0, 8)], nats=DOOR)
        self.giver, self.taker = (self.child(each, nats=self.nats) for each in self.servers)
        self.far = self.node(FAR, upstream=address, nats=DOOR)
        for node in (self.hub, self.top, self.middle, self.giver, self.taker, self.far):
            self.gateway(node)
        self.door = next(
            each
            for each in self.quays[self.hub].ports
            if each.getHost().port == self.port  # type: ignore[attr-defined]  # of one on TCP
        )
        self.ends: dict[Node, list[End]] = {self.giver: [], self.taker: []}
        for node in self.ends:
            self.quays[node].dial = partial(self.dial, node, self.door.factory)
        self.network.start(self.hub, self.top, self.middle, self.giver, self.far)
        self.until(lambda: self.serving == [self.giver.bus_id])
        self.network.settle(2.0)
        self.places = (self.hub, self.top, self.giver, self.far)
        self.clients = [self.caller(self.gateways[node]) for node in self.places]
        self.said = 0
        self.said_by: list[Caller] = []
        self.heard = [b""] * len(self.clients)

    def dial(self, node: Node, door: Any, port: int, factory: Any) -> End:
        """Connect a gateway to the server."""
        processes = self.network.process_of(node), self.network.process_of(self.hub)
        self.ends[node].append(cross(self.network.clock, door, port, factory, processes))
        return self.ends[node][-1]

    def links_of(self, node: Node) -> Any:
        """Give what a node has to do with servers."""
        return self.gateways[node].leafs

    @property
    def serving(self) -> list[int]:
        """Which gateways are connected."""
        return [
            node.bus_id
            for node in self.ends
            if any(link.takes_part for link in self.links_of(node).links)
        ]

    def say(self, subject: bytes = b"said") -> None:
        """Let each client whose node does not stand still say something new, and time pass."""
        for client, node in zip(self.clients, self.places, strict=True):
            if self.network.process_of(node).frozen:
                continue
            client.says(b"PUB %s 6\r\n%06d\r\n" % (subject, self.said))
            self.said_by.append(client)
            self.said += 1
        self.network.settle(self.pace_seconds)

    def say_until(self, condition: Callable[[], bool], subject: bytes = b"said") -> None:
        """Let them go on until something is so."""
        began = self.network.clock.seconds()
        while not condition():
            self.say(subject)
            self.assertLess(self.network.clock.seconds() - began, 30.0)

    def listen(self) -> list[list[int]]:
        """Give what each of them has heard."""
        self.network.settle(1.0)
        heard: list[list[int]] = []
        for place, client in enumerate(self.clients):
            self.heard[place] += client.hears()
            heard.append([int(each) for each in re.findall(rb" 1 6\r\n(\d{6})", self.heard[place])])
        return heard

    def subscribe(self, line: bytes = b"SUB said 1\r\n") -> None:
        """Let all of them hear what all of them say."""
        for client in self.clients:
            client.says(QUIET + line)
        self.network.settle(0.5)

    def change(self) -> None:
        """Let the server be handed over."""
        self.network.start(self.taker)

    def is_handed_over(self) -> bool:
        """Tell whether the next one serves, alone."""
        return self.serving == [CHILD]

    def is_past(self, seconds: float) -> bool:
        """Tell whether it is so late."""
        return self.network.clock.seconds() >= seconds

    def goes_on(self) -> None:
        """From now on everything comes once."""
        self.network.settle(0.5)
        first = self.said
        for _ in range(20):
            self.say()
        for heard in self.listen():
            wanted = [*range(first, self.said)]
            self.assertEqual(sorted(number for number in heard if number >= first), wanted)


class OrderTests(HandoverCase):
    """In good order nothing is lost, nothing comes twice, and what one has said stays in order."""

    def test_plain_subscribers(self) -> None:
        """Whoever is where: each hears each other once, in order."""
        for seed in range(3):
            self.grow(seed)
            self.subscribe()
            for _ in range(20):
                self.say()
            self.change()
            self.say_until(self.is_handed_over)
            for _ in range(20):
                self.say()
            for heard in self.listen():
                self.assertEqual(sorted(heard), [*range(self.said)])
                for client in self.clients:
                    numbers = [each for each in heard if self.said_by[each] is client]
                    self.assertEqual(numbers, sorted(numbers))
            super().end()

    def test_groups(self) -> None:
        """One member of a group on both sides gets each message."""
        for seed in range(3):
            self.grow(seed)
            self.subscribe(b"SUB said workers 1\r\n")
            self.change()
            self.say_until(self.is_handed_over)
            for _ in range(20):
                self.say()
            heard = self.listen()
            self.assertEqual(sorted(itertools.chain(*heard)), [*range(self.said)])
            self.assertGreater(min(map(len, heard)), self.said / 10)
            super().end()

    def test_groups_and_plain_subscribers(self) -> None:
        """Each group gets each message once, also where somebody on the bus wants it plainly."""
        for seed in range(3):
            self.grow(seed)
            self.subscribe(b"SUB said workers 1\r\nSUB said others 2\r\n")
            self.clients[3].says(b"SUB said 3\r\n")
            self.network.settle(0.5)
            self.change()
            self.say_until(self.is_handed_over)
            for _ in range(20):
                self.say()
            self.assertEqual(sorted(itertools.chain(*self.listen())), [*range(self.said)])
            for sid in (2, 3):
                numbers = re.findall(rb" %d 6\r\n(\d{6})" % sid, b"".join(self.heard))
                self.assertEqual(sorted(map(int, numbers)), [*range(self.said)])
            super().end()

    def test_plain_subscribers_of_the_server(self) -> None:
        """A group gets on the bus what they have got already."""
        for seed in range(3):
            self.grow(seed)
            self.subscribe(b"SUB said workers 1\r\n")
            self.clients[0].says(b"SUB said 3\r\n")
            self.network.settle(0.5)
            self.change()
            self.say_until(self.is_handed_over)
            for _ in range(20):
                self.say()
            self.assertEqual(sorted(itertools.chain(*self.listen())), [*range(self.said)])
            numbers = set(map(int, re.findall(rb" 3 6\r\n(\d{6})", self.heard[0])))
            self.assertEqual(numbers, {*range(self.said)})
            super().end()

    def test_answers(self) -> None:
        """Questions find their answers, in both directions."""
        self.grow()
        asking = dict(zip((b"hub", b"far"), (self.clients[0], self.clients[3]), strict=True))
        for name, client in asking.items():
            client.says(QUIET + b"SUB ask.%s 8\r\nSUB _INBOX.%s.* 1\r\n" % (name, name))
        self.network.settle(0.5)
        self.change()
        answers = Counter[bytes]()
        ends = 0.0
        while not ends or self.network.clock.seconds() < ends:
            if self.is_handed_over() and not ends:
                ends = self.network.clock.seconds() + 1.0
            for other, (name, client) in zip((b"far", b"hub"), asking.items(), strict=True):
                heard = client.hears()
                answers.update(re.findall(rb"MSG (\S+) 1 1\r\n!", heard))
                for reply in re.findall(rb"MSG ask\.\S+ 8 (\S+) ", heard):
                    client.says(b"PUB %s 1\r\n!\r\n" % reply)
                if not ends:
                    client.says(b"PUB ask.%s _INBOX.%s.%d 1\r\n?\r\n" % (other, name, self.said))
            self.said += not ends
            self.network.settle(0.0005)
        wanted = (b"_INBOX.%s.%d" % (name, n) for name in asking for n in range(self.said))
        self.assertEqual(answers, Counter(wanted))
        super().end()


class AgainTests(HandoverCase):
    """A change leaves nothing behind that is in the way of the next one."""

    def test_a_server_that_counts(self) -> None:
        """nats-server tells others for ever of what it was asked for twice, so nothing is."""
        interested = LeafLink._interested
        stale: list[str] = []

        def counts(link: LeafLink, subject: str, queue: str, weight: int) -> None:
            is_server = link in self.gateways[self.hub].leafs.links
            if is_server and weight and not queue and (subject, "") in link.interests:
                stale.append(subject)
                self.hub.subscribe(subject, lambda _: None)
            interested(link, subject, queue, weight)

        self.patch(LeafLink, "_interested", counts)
        self.grow()
        self.subscribe(b"SUB said workers 1\r\n")
        self.change()
        self.say_until(self.is_handed_over)
        self.network.settle(1.0)
        gone = self.gateways[self.taker].stopService()
        self.say_until(lambda: self.serving == [SIBLING])
        self.network.result_of(gone)
        for _ in range(20):
            self.say()
        self.assertEqual(sorted(itertools.chain(*self.listen())), [*range(self.said)])
        self.assertEqual(stale, [])
        super().end()

    def test_nobody_takes_over(self) -> None:
        """What was asked for because of groups is not asked for any more when the taker is gone."""
        self.grow()
        self.subscribe(b"SUB said workers 1\r\n")
        self.network.start(self.taker)
        self.until(lambda: self.serving == [SIBLING, CHILD])
        [link] = [each for each in self.hub_links if ("said", "") in each.interests]
        self.links_of(self.taker).stop_at_once()
        self.until(lambda: self.serving == [SIBLING])
        self.network.settle(1.0)
        self.assertEqual(link, *self.hub_links)
        asked = {each for each in link.interests if not each[0].startswith(LOOP_SUBJECTS)}
        self.assertEqual(asked, {("said", "workers")})
        super().end()

    @property
    def hub_links(self) -> list[Any]:
        """The server's side of all connections."""
        return [*self.links_of(self.hub).links]


class FaultTests(HandoverCase):
    """Where it does not come to a good end the server is served again soon."""

    pace_seconds = 0.002

    def forget_how(self) -> None:
        """Let the taker be one that knows nothing of it."""
        [solicitor] = self.gateways[self.taker].leafs._solicitors
        solicitor._candidacy._mark = ""

    def serves_alone(self, seconds: float) -> None:
        """The next one serves, and everything comes once from then on."""
        self.until(self.is_handed_over, seconds)
        self.goes_on()
        super().end()

    def test_one_that_knows_nothing_of_it_serves(self) -> None:
        """It hangs up at once, and is not asked."""
        self.patch(Succession, "_serve", lambda *_: None)
        self.grow()
        self.subscribe()
        self.network.start(self.taker)
        self.until(lambda: self.serving == [], 0.1)
        self.serves_alone(0.1)

    def test_one_that_knows_nothing_of_it_takes_over(self) -> None:
        """For that one it hangs up at once."""
        self.grow()
        self.subscribe()
        self.forget_how()
        self.network.start(self.taker)
        self.until(lambda: self.serving == [], 0.1)
        self.serves_alone(0.1)

    def test_too_much_is_wanted(self) -> None:
        """Where it would take too long it is as with those."""
        self.patch(bounds, "HANDOVER_INTERESTS_MAX", 0)
        self.grow()
        self.subscribe()
        self.network.start(self.taker)
        self.until(lambda: self.serving == [], 0.1)
        self.serves_alone(0.1)

    def test_answers_that_are_too_long(self) -> None:
        """A giver that cannot say in a message what it has to say says so."""
        for kind in (Done, Ready):
            self.grow()
            self.subscribe()
            self.patch(kind, "write", lambda _: bytes(limits.MESSAGE_BYTES + 1))
            self.network.start(self.taker)
            self.say_until(self.is_handed_over)
            self.assertLess(self.network.clock.seconds(), 10.0)
            self.goes_on()
            super().end()

    def test_a_giver_that_can_say_nothing(self) -> None:
        """It hangs up, and is waited for no longer than one that does not answer."""
        self.grow()
        self.subscribe()
        publish = Node.publish

        def refuse(node: Node, subject: str, *rest: Any, **options: Any) -> object:
            if node is self.giver and subject.startswith(INBOX):
                raise SubjectError(subject, "it cannot")
            return publish(node, subject, *rest, **options)

        self.patch(Node, "publish", refuse)
        self.network.start(self.taker)
        self.until(lambda: self.serving == [], 2.0)
        self.serves_alone(bounds.HANDOVER_SECONDS + 2.0)
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_that_does_not_come(self) -> None:
        """Whose turn it is, and who does not take over, is waited for no longer than so."""
        self.grow()
        self.subscribe()
        self.patch(Succession, "asks", lambda _: True)
        self.network.start(self.taker)
        self.network.settle(bounds.HANDOVER_SECONDS - 0.1)
        self.assertEqual(self.serving, [SIBLING])
        self.until(lambda: self.serving == [], 0.2)
        super().end()

    def test_the_giver_dies(self) -> None:
        """Whenever it goes, the other one goes on without it."""
        for after in (0.1, 0.25, 0.26, 0.265, 0.27, 0.28, 0.4):
            self.grow()
            self.subscribe()
            self.network.start(self.taker)
            began = self.network.clock.seconds()
            self.say_until(partial(self.is_past, began + after))
            self.ends[self.giver][-1].abortConnection()
            self.serves_alone(10.0)

    def test_the_taker_dies(self) -> None:
        """Whenever it goes before the end, the other one goes on, and no mark is left."""
        for after in (0.1, 0.25, 0.26, 0.265, 0.27):
            self.grow()
            self.subscribe()
            self.network.start(self.taker)
            began = self.network.clock.seconds()
            self.say_until(partial(self.is_past, began + after))
            self.links_of(self.taker).stop_at_once()
            self.until(lambda: self.serving == [SIBLING], 10.0)
            self.goes_on()
            queues = {queue for _, queue in self.hub_link.interests}
            self.assertEqual(queues, {""})
            super().end()

    @property
    def hub_link(self) -> Any:
        """The server's side of the only connection."""
        [link] = self.links_of(self.hub).links
        return link


class BoundTests(HandoverCase):
    """What is kept has bounds."""

    def test_the_giver_keeps_no_more(self) -> None:
        """What it cannot keep for the other one it passes on itself: nothing is lost."""
        self.patch(bounds, "HANDOVER_GIVEN_BYTES", 0)
        self.grow()
        self.subscribe()
        self.network.start(self.taker)
        self.say_until(self.is_handed_over)
        for heard in self.listen():
            self.assertEqual(sorted(heard), [*range(self.said)])
        super().end()

    def test_the_taker_keeps_no_more(self) -> None:
        """What it cannot keep is lost, and counted."""
        self.patch(bounds, "HANDOVER_BYTES", 60)
        self.grow()
        self.subscribe()
        self.network.start(self.taker)
        self.say_until(self.is_handed_over)
        dropped = self.taker.statistics.publications_dropped[Status.NOT_CONNECTED]
        self.assertGreater(dropped, 0)
        self.goes_on()
        super().end()

    def test_what_was_matched_before_is_waited_for(self) -> None:
        """Nobody is drawn before everybody can know of the mark."""
        self.grow()
        self.subscribe()
        self.network.start(self.taker)
        self.network.settle(bounds.HANDOVER_GRACE_SECONDS)
        self.assertEqual(self.ends[self.taker], [])
        self.until(lambda: self.ends[self.taker] != [], 0.1)
        super().end()
