"""A bus that is cut and joined, with a gateway to one server in each half: one of them stays."""

from __future__ import annotations

import gc
import itertools
import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from atbus.errors import SubjectError
from atbus.nats import bounds
from atbus.nats.joining import Joining
from atbus.nats.reunion import Reunion
from atbus.node.endpoint import Endpoint
from atbus.node.gates import Gates
from atbus.node.interest_talk import InterestTalk
from atbus.node.node import Node
from atbus.subjects import bounds as subject_bounds
from atbus.subjects.gate import BRIDGES
from atbus.testing.network import VirtualNetwork
from atbus.wire.messages import Capability
from tests.nats.crossing import End, cross
from tests.nats.harbor import DOOR, Caller, HarborTests
from tests.nats.test_leafs_of_one_hub import HUB, PORT, REMOTE
from tests.nats.transcripts import QUIET
from tests.node.bus import CHILD, ROOT

#: The node at the lower end of the link that is cut, and a gateway below it.
FLOOR, BELOW = 0x10100, 0x10101
#: A gateway in the upper half with a higher id than that.
ABOVE = 0x10201
#: Waiting that has nothing to do with what is tested is short here.
_GRACE_SECONDS = 0.02


#: Of a join, which takes less than 0.15 s here, and behind it.
MOMENTS = (
    *(0.01, 0.02, 0.03, 0.05, 0.065, 0.07, 0.08, 0.09),
    *(0.1, 0.11, 0.13, 0.15, 0.1675, 0.185, 0.19, 0.2125),
)


class JoinCase(HarborTests):
    """A tree that is cut above a node with children: neither gateway is at an end of that link."""

    #: How long clients say nothing, seconds.
    pace = 0.0005

    def begin(self, network: Any) -> None:
        """Each test has a network of its own."""
        self.patch(bounds, "HANDOVER_GRACE_SECONDS", _GRACE_SECONDS)

    def end(self) -> None:
        """Nothing is left when a story has ended."""

    def grow(self, seed: int, upper: int) -> None:
        """
        Start the tree, and a client at each of its nodes and at the server's.

        :param upper: The gateway in the half of the root.
        """
        super().begin(VirtualNetwork(delay_seconds=0.0005, seed=seed, jitter_seconds=0.001))
        hub = self.node(HUB, nats={**DOOR, "leaf_listen": f"127.0.0.1:{PORT}"})
        self.top = self.root(nats=DOOR)
        address = "ipv4://10.0.0.2:1"
        self.floor = self.child(FLOOR, listen=[address], subnets=[(0, 8)], nats=DOOR)
        self.rivals = [
            self.child(upper, nats=REMOTE),
            self.node(BELOW, upstream=address, nats=REMOTE),
        ]
        last = self.node(BELOW + 1, upstream=address, nats=DOOR)
        self.places = [hub, self.top, self.floor, *self.rivals, last]
        for node in self.places:
            self.gateway(node)
        door = next(
            each
            for each in self.quays[hub].ports
            if each.getHost().port == PORT  # type: ignore[attr-defined]  # of an address on TCP
        )
        self.ends: dict[Node, list[End]] = {node: [] for node in self.rivals}
        for node in self.rivals:
            self.quays[node].dial = partial(self.dial, node, door.factory)
        self.network.start(*self.places)
        self.until(lambda: len(self.serving) == 1)
        self.clients = [self.caller(self.gateways[node]) for node in self.places]
        self.said = 0
        self.said_by: list[Caller] = []
        self.heard = [b""] * len(self.clients)

    def dial(self, node: Node, door: Any, port: int, factory: Any) -> End:
        """Connect a gateway to the server."""
        processes = self.network.process_of(node), self.network.process_of(self.places[0])
        self.ends[node].append(cross(self.network.clock, door, port, factory, processes))
        return self.ends[node][-1]

    @property
    def serving(self) -> list[Node]:
        """Which gateways serve."""
        return [
            node
            for node in self.rivals
            if any(link.takes_part for link in self.gateways[node].leafs.links)
        ]

    def say(self) -> None:
        """Let each client whose node does not stand still say something new, and a moment pass."""
        for client, node in zip(self.clients, self.places, strict=True):
            if self.network.process_of(node).frozen:
                continue
            client.says(b"PUB said 6\r\n%06d\r\n" % self.said)
            self.said_by.append(client)
            self.said += 1
        self.network.settle(self.pace)

    def say_until(self, condition: Callable[[], bool], seconds: float = 10.0) -> None:
        """Let them go on until something is so."""
        began = self.network.clock.seconds()
        while not condition():
            self.say()
            self.assertLess(self.network.clock.seconds() - began, seconds)

    def cut(self, seed: int = 0, upper: int = CHILD, line: bytes = b"SUB said 1\r\n") -> None:
        """
        Grow a tree, cut it, and let all of them talk.

        :param line: How they subscribe.
        """
        self.grow(seed, upper)
        for client in self.clients:
            client.says(QUIET + line)
        self.network.settle(0.5)
        self.split()

    def split(self) -> None:
        """Cut it where it was joined."""
        self.network.split(self.top, self.floor)
        self.until(lambda: len(self.serving) == 2, 200.0)
        self.network.settle(0.5)
        for _ in range(20):
            self.say()

    def join(self) -> None:
        """Join the halves again."""
        self.network.heal(self.top, self.floor)
        self.until(lambda: FLOOR in self.top.endpoints)

    def is_joined(self) -> bool:
        """Tell whether one gateway serves."""
        return len(self.serving) == 1

    def is_past(self, seconds: float) -> bool:
        """Tell whether it is so late."""
        return self.network.clock.seconds() >= seconds

    def is_joining(self) -> bool:
        """Tell whether it has begun."""
        return any(
            isinstance(link.handover, Joining)
            for node in self.rivals
            for link in self.gateways[node].leafs.links
        )

    def listen(self) -> list[list[int]]:
        """Give what each of them has heard."""
        self.network.settle(1.0)
        heard: list[list[int]] = []
        for place, client in enumerate(self.clients):
            self.heard[place] += client.hears()
            heard.append([int(each) for each in re.findall(rb" 1 6\r\n(\d{6})", self.heard[place])])
        return heard

    def goes_on(self) -> None:
        """From now on everything comes once, over one gateway."""
        self.until(self.is_joined, 10.0)
        self.network.settle(2.0)
        first = self.said
        for _ in range(20):
            self.say()
        for heard in self.listen():
            wanted = [*range(first, self.said)]
            self.assertEqual(sorted(number for number in heard if number >= first), wanted)
        for node in self.places:
            self.assertEqual(node._parts.subjects.gates._ends, {})
        super().end()

    def nothing_twice(self) -> None:
        """Whatever is lost, nothing has come twice."""
        for place, heard in enumerate(self.listen()):
            twice = [number for number, count in Counter(heard).items() if count > 1]
            self.assertEqual((place, twice), (place, []))


class OrderTests(JoinCase):
    """In good order nothing is lost, nothing comes twice, and what one has said stays in order."""

    def test_plain_subscribers(self) -> None:
        """Whichever gateway stays: each client hears each other once, in order."""
        for seed in range(2):
            self.cut(seed, (CHILD, ABOVE)[seed % 2])
            self.join()
            self.say_until(self.is_joined)
            self.assertEqual(self.serving, [min(self.rivals, key=lambda node: node.bus_id)])
            for _ in range(50):
                self.say()
            for heard in self.listen():
                self.assertEqual(sorted(heard), [*range(self.said)])
                for place in range(len(self.clients)):
                    numbers = [each for each in heard if each % len(self.clients) == place]
                    self.assertEqual(numbers, sorted(numbers))
            self.goes_on()

    def test_again(self) -> None:
        """What is cut once more is joined once more."""
        self.cut()
        self.join()
        self.say_until(self.is_joined)
        self.network.settle(1.0)
        self.split()
        self.join()
        self.say_until(self.is_joined)
        for heard in self.listen():
            self.assertEqual(sorted(heard), [*range(self.said)])
        super().end()

    def test_groups(self) -> None:
        """One member of a group, wherever they are, gets each message."""
        for seed in range(2):
            self.cut(seed, (CHILD, ABOVE)[seed % 2], b"SUB said workers 1\r\n")
            self.join()
            self.say_until(self.is_joined)
            for _ in range(50):
                self.say()
            heard = self.listen()
            self.assertEqual(sorted(itertools.chain(*heard)), [*range(self.said)])
            self.assertGreater(min(map(len, heard)), self.said / 20)
            super().end()

    def test_subscribers_and_a_group(self) -> None:
        """Where both want the same nothing comes twice, and plain subscribers miss nothing."""
        for seed in range(2):
            self.cut(seed, (CHILD, ABOVE)[seed % 2], b"SUB said 1\r\nSUB said workers 2\r\n")
            self.join()
            self.say_until(self.is_joined)
            for _ in range(50):
                self.say()
            for heard in self.listen():
                self.assertEqual(sorted(heard), [*range(self.said)])
            found = [re.findall(rb"MSG said 2 6\r\n(\d{6})", each) for each in self.heard]
            times = Counter(itertools.chain(*found))
            self.assertEqual(max(times.values()), 1)
            self.assertGreater(len(times), 0.99 * self.said)
            super().end()

    def test_answers(self) -> None:
        """Questions find their answers, each once, wherever both are."""
        self.cut()
        names = {b"%d" % place: client for place, client in enumerate(self.clients)}
        for name, client in names.items():
            client.says(QUIET + b"SUB ask.%s 8\r\nSUB _INBOX.%s.* 9\r\n" % (name, name))
        self.network.settle(0.5)
        self.join()
        answers = Counter[bytes]()
        asked, ends = 0, 0.0
        while not ends or self.network.clock.seconds() < ends:
            if self.is_joined() and not ends:
                ends = self.network.clock.seconds() + 1.0
            for name, client in names.items():
                heard = client.hears()
                answers.update(re.findall(rb"MSG (_INBOX\S+) 9 1\r\n!", heard))
                for reply in re.findall(rb"MSG ask\.\S+ 8 (\S+) ", heard):
                    client.says(b"PUB %s 1\r\n!\r\n" % reply)
                if not ends:
                    # Each asks each by turns.
                    other = (int(name) + 1 + asked % (len(names) - 1)) % len(names)
                    client.says(b"PUB ask.%d _INBOX.%s.%d 1\r\n?\r\n" % (other, name, asked))
            asked += not ends
            self.network.settle(0.0005)
        wanted = (b"_INBOX.%s.%d" % (name, n) for name in names for n in range(asked))
        self.assertEqual(answers, Counter(wanted))
        super().end()


class FaultTests(JoinCase):
    """Where it does not come to a good end it ends soon, and nothing comes twice."""

    pace = 0.001

    def test_one_that_knows_nothing_of_it(self) -> None:
        """Who has a gateway of an older version beyond the link hangs up at once, as that does."""
        serve = Reunion.serve
        for old in (CHILD, BELOW):
            self.patch(
                Reunion,
                "serve",
                lambda reunion, link, old=old: old == reunion._own or serve(reunion, link),
            )
            self.is_as_before()

    def test_a_neighbor_that_knows_nothing_of_it(self) -> None:
        """Where the one end of the link is of an older version the other one is not shut either."""
        begin = Gates.begin
        newest = vars(InterestTalk)["capability"].fget
        for old in (ROOT, FLOOR):

            def capability(talk: InterestTalk, old: int = old) -> Capability:
                is_old = talk._context.bus_id == old
                return Capability.SUBJECTS if is_old else newest(talk)

            def begin_new(gates: Gates, endpoint: Endpoint, old: int = old) -> None:
                if gates.context.bus_id != old:
                    begin(gates, endpoint)

            self.patch(InterestTalk, "capability", property(capability))
            self.patch(Gates, "begin", begin_new)
            self.is_as_before()

    def is_as_before(self) -> None:
        """The link is open from the first moment on, and one hangs up."""
        self.cut()
        self.join()
        while not self.is_joined():
            for node in self.places:
                self.assertEqual(node._parts.subjects.gates._ends, {})
            self.say()
            self.assertFalse(self.is_joining())
        self.goes_on()

    def test_one_that_does_not_ask(self) -> None:
        """Who leaves waits no longer than so, and nothing comes twice."""
        self.patch(Reunion, "_look", lambda _: None)
        self.patch(bounds, "JOINING_SECONDS", 0.1)
        self.cut()
        self.join()
        self.say_until(self.is_joined, 0.2)
        self.nothing_twice()
        self.goes_on()

    def test_gateways_that_do_not_end(self) -> None:
        """A link opens by itself when neither is gone in time."""
        self.patch(Reunion, "_look", lambda _: None)
        self.patch(subject_bounds, "GATE_SHUT_SECONDS", 0.1)
        self.cut()
        gates = [node._parts.subjects.gates for node in (self.top, self.floor)]
        self.join()
        self.until(lambda: all(each._ends for each in gates), 0.1)
        self.until(lambda: not any(each._ends for each in gates), 0.2)
        self.until(self.is_joined, bounds.JOINING_SECONDS)
        self.goes_on()

    def test_one_that_stays_goes(self) -> None:
        """Whenever it goes, the other one serves."""
        self.goes(0, 1)

    def test_one_that_leaves_goes(self) -> None:
        """Whenever it goes, the other one serves."""
        self.goes(1, 0)

    def goes(self, who: int, other: int) -> None:
        """Let a gateway go at different moments; the last one that is left serves."""
        for after in MOMENTS:
            self.cut()
            self.join()
            self.say_until(partial(self.is_past, self.network.clock.seconds() + after))
            self.gateways[self.rivals[who]].leafs.stop_at_once()
            self.say_until(lambda: self.serving == [self.rivals[other]])
            self.nothing_twice()
            self.goes_on()

    def test_the_connection_of_the_one_that_stays_ends(self) -> None:
        """The other one goes on at once, and hands the server over when the first one is back."""
        for after in (0.03, 0.06):
            self.cut()
            self.join()
            self.say_until(partial(self.is_past, self.network.clock.seconds() + after))
            self.assertTrue(self.is_joining())
            self.ends[self.rivals[0]][-1].loseConnection()
            self.network.settle(0.2)
            self.assertEqual(self.serving, [self.rivals[1]])
            first = self.said
            for _ in range(20):
                self.say()
            for heard in self.listen():
                wanted = [*range(first, self.said)]
                self.assertEqual([each for each in sorted(heard) if each >= first], wanted)
            self.nothing_twice()
            self.until(lambda: self.serving == [self.rivals[0]])
            self.goes_on()

    def test_one_that_gives_up(self) -> None:
        """Whatever it is that fails, the other one hangs up at once."""
        asked: list[bytes] = []

        async def ask(reunion: Reunion, subject: str, words: bytes) -> bytes:
            asked.append(words)
            if len(asked) == self.fails_at:
                raise ValueError("it has failed")
            return await honest(reunion, subject, words)

        honest = Reunion._ask
        self.patch(Reunion, "_ask", ask)
        for self.fails_at in range(1, 10):
            asked.clear()
            self.cut()
            self.join()
            self.say_until(lambda: len(asked) >= self.fails_at, 1.0)
            self.say_until(self.is_joined, 0.1)
            self.nothing_twice()
            self.goes_on()

    def test_one_that_can_say_nothing(self) -> None:
        """Not even that it fails: the other one hangs up when it has heard nothing for long."""
        self.patch(bounds, "JOINING_SECONDS", 0.5)

        async def ask(*_: object) -> bytes:
            raise ValueError("it has failed")

        publish = Node.publish

        def refuse(node: Node, subject: str, *rest: Any, **options: Any) -> object:
            if subject.startswith(BRIDGES):
                raise SubjectError(subject, "it cannot")
            return publish(node, subject, *rest, **options)

        self.patch(Reunion, "_ask", ask)
        self.patch(Node, "publish", refuse)
        self.cut()
        self.join()
        self.say_until(self.is_joined, 2.0)
        self.nothing_twice()
        self.goes_on()
        gc.collect()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_one_that_hangs_up_late(self) -> None:
        """Until then there is a loop over the server, of which that is not told."""
        self.patch(bounds, "LEAF_RIVAL_SECONDS", 0.1)
        self.hangs_up_late()

    def test_one_that_is_still_there(self) -> None:
        """Who has handed over is not asked again."""

        async def gone(*_: object) -> None:
            """Do not wait."""

        self.patch(Reunion, "_gone", gone)
        self.hangs_up_late()

    def hangs_up_late(self) -> None:
        """Nothing is lost, though the one that leaves is still there."""
        self.cut()
        [solicitor] = self.gateways[self.rivals[1]].leafs._solicitors
        reunion = solicitor._succession._reunion
        later = partial(self.network.clock.callLater, 0.3, solicitor._give_way)
        self.patch(reunion, "_hang_up", later)
        self.join()
        self.network.clock.callLater(0.25, self.top.subscribe, "other", lambda _: None)
        while not self.is_joined():
            self.assertIn(self.rivals[0], self.serving)
            self.say()
        for heard in self.listen():
            self.assertEqual(sorted(heard), [*range(self.said)])
        self.goes_on()
