"""Real servers of NATS as leafs of a node, and a node as a leaf of theirs."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from itertools import islice, pairwise, takewhile
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import LoopingCall

from atbus.nats import bounds
from atbus.nats.gateway import Gateway
from tests.interop.nats_beside import ServerCase
from tests.interop.nats_server import NEWER_BINARY, NatsServer
from tests.nats.sockets import Talker

#: How many questions may wait for their answers: all is in one process, and where the machine is
#: slow, more is said in a second than it can take in two.
AHEAD_MAX = 200
HUB = """
server_name: {name}
leafnodes {{ host: 127.0.0.1, port: {port} }}
"""
LEAF = """
server_name: {name}
leafnodes {{ reconnect: 1, remotes: [ {{ url: "nats-leaf://{user}127.0.0.1:{port}" }} ] }}
"""


class LeafCase(ServerCase):
    """Clients of a node and of a server that are connected as leafs."""

    async def beside(self, gateway: Gateway, server: NatsServer) -> tuple[Talker, Talker]:
        """Connect a client to each when they are connected to each other."""
        await self.met(lambda: any(link.session.peer for link in gateway.leafs.links))
        address = gateway.address()
        assert address is not None
        return await self.client(address[1]), await self.client(server.port)

    async def hub(self, **nats: Any) -> tuple[Gateway, int]:
        """Start a node that takes leafs, and say on which port."""
        gateway = await self.gateway(leaf_listen="127.0.0.1:0", **nats)
        return gateway, leaf_port(gateway)


def has_ended(answer: Deferred[Any]) -> bool:
    """Say whether there is an answer, or none any more."""
    return bool(answer.called)


def leaf_port(gateway: Gateway) -> int:
    """Say where a gateway takes leafs."""
    address = gateway.address("leaf_listen")
    assert address is not None
    return address[1]


class LeafOfDebianTests(LeafCase):
    """A node as a leaf of nats-server 2.9."""

    def test_both_ways(self) -> Deferred[None]:
        """Interest, messages, headers, requests and 503 cross in both directions, once each."""
        return Deferred.fromCoroutine(self.both_ways())

    async def both_ways(self) -> None:
        server = self.server(HUB, name="hub", port=-1)
        gateway = await self.gateway(leaf_remotes=[{"urls": [f"127.0.0.1:{server.leaf_port}"]}])
        ours, theirs = await self.beside(gateway, server)
        await self.converse(ours, theirs)
        await self.share(ours, theirs)

    def test_killed_and_back(self) -> Deferred[None]:
        """A server that was killed leaves no ghost, and knows all interest when it is back."""
        return Deferred.fromCoroutine(self.killed_and_back())

    async def killed_and_back(self) -> None:
        server = self.server(HUB, name="hub", port=-1)
        place = server.leaf_port
        gateway = await self.gateway(leaf_remotes=[{"urls": [f"127.0.0.1:{place}"]}])
        ours, theirs = await self.beside(gateway, server)
        await self.want_before(ours, theirs)
        server.stop()
        await self.met(lambda: not gateway.leafs.links)
        await self.nothing_is_left(ours)
        await self.is_a_lone_member(ours)
        again = self.server(HUB, name="hub", port=place)
        _, theirs = await self.beside(gateway, again)
        await self.want_still(ours, theirs)


class LeafOfNewerTests(LeafOfDebianTests):
    """A node as a leaf of the newest nats-server."""

    binary = NEWER_BINARY


class HubOfDebianTests(LeafCase):
    """nats-server 2.9 as a leaf of a node."""

    def test_both_ways(self) -> Deferred[None]:
        """Interest, messages, headers, requests and 503 cross in both directions, once each."""
        return Deferred.fromCoroutine(self.both_ways())

    async def both_ways(self) -> None:
        gateway, port = await self.hub(leaf_user="site", leaf_password="secret")
        server = self.server(LEAF, name="leaf", port=port, user="site:secret@")
        ours, theirs = await self.beside(gateway, server)
        await self.converse(ours, theirs)
        await self.share(ours, theirs)

    def test_killed_and_back(self) -> Deferred[None]:
        """A server that was killed leaves no ghost, and knows all interest when it is back."""
        return Deferred.fromCoroutine(self.killed_and_back())

    async def killed_and_back(self) -> None:
        gateway, port = await self.hub()
        server = self.server(LEAF, name="leaf", port=port, user="")
        ours, theirs = await self.beside(gateway, server)
        ours.says(b"SUB still.* 7\r\nPING\r\n")
        await ours.hears(b"PONG\r\n")
        await self.want_before(ours, theirs)
        for number in range(3):
            await self.want_there(ours, theirs)
            await self.says_until_heard(theirs, ours, b"still.%d" % number)
            await self.converse(ours, theirs)
            server.stop()
            await self.met(lambda: not gateway.leafs.links)
            await self.nothing_is_left(ours)
            await self.is_a_lone_member(ours)
            server = self.server(LEAF, name="leaf", port=port, user="")
            _, theirs = await self.beside(gateway, server)
        await self.want_still(ours, theirs)

    def test_a_node_that_is_back(self) -> Deferred[None]:
        """A server that has lost its hub tells it all interest again when it is back."""
        return Deferred.fromCoroutine(self.back())

    async def back(self) -> None:
        gateway, port = await self.hub()
        server = self.server(LEAF, name="leaf", port=port, user="")
        ours, theirs = await self.beside(gateway, server)
        theirs.says(b"SUB still.* 7\r\nPING\r\n")
        await theirs.hears(b"PONG\r\n")
        for number in range(3):
            await self.says_until_heard(ours, theirs, b"still.%d" % number)
            await self.converse(ours, theirs)
            await gateway.stopService()
            await gateway.node.stop()
            gateway = await self.gateway(leaf_listen=f"127.0.0.1:{port}")
            ours, _ = await self.beside(gateway, server)


class HubOfNewerTests(HubOfDebianTests):
    """The newest nats-server as a leaf of a node."""

    binary = NEWER_BINARY


class TwoGatewaysDebianTests(LeafCase):
    """Two nodes of one bus that are told of the same server."""

    def test_one_serves_and_the_other_takes_over(self) -> Deferred[None]:
        """The lowest id serves, for clients three hops away as well; when it stops, the next."""
        return Deferred.fromCoroutine(self.takes_over())

    async def takes_over(self) -> None:
        server = self.server(HUB, name="hub", port=-1)
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        root = f"unix://{folder}/root.sock"
        await self.node(0x10000, listen=[root], subnets=[(0, 16)])
        nats = {
            "listen": "127.0.0.1:0",
            "leaf_remotes": [{"urls": [f"127.0.0.1:{server.leaf_port}"]}],
        }
        _, second = await self.node(0x10002, upstream=root, nats=nats)
        assert second is not None
        await self.beside(second, server)
        _, first = await self.node(0x10001, upstream=root, nats=nats)
        assert first is not None
        # The one that has the lower id takes it over, from one that serves.
        _, theirs = await self.beside(first, server)
        await self.met(lambda: not second.leafs.links)
        address = second.address()
        assert address is not None
        far = await self.client(address[1])
        await self.converse(far, theirs)
        first.leafs.stop()
        await self.beside(second, server)
        await self.converse(far, theirs)


class TwoGatewaysNewerTests(TwoGatewaysDebianTests):
    """The same at the newest nats-server."""

    binary = NEWER_BINARY


class HandoverCase(LeafCase):
    """A server that is handed over, while everybody talks."""

    def world(self) -> tuple[int, dict[str, Any]]:
        """
        Start the server.

        :returns: The port for a client there, and what gateways are told.
        """
        server = self.server(HUB, name="hub", port=-1)
        return server.port, {"leaf_remotes": [{"urls": [f"127.0.0.1:{server.leaf_port}"]}]}

    async def begin(self) -> None:
        """Start the server, a bus with clients at one node, and one gateway that serves."""
        # Many processes may want a processor: gateways and servers have more time.
        self.patch(bounds, "HANDOVER_SECONDS", 120.0)
        self.patch(bounds, "HANDOVER_ASKED_SECONDS", 20.0)
        self.patch(bounds, "HANDOVER_WRITTEN_SECONDS", 0.5)
        port, told = self.world()
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        root = f"unix://{folder}/root.sock"
        door: dict[str, Any] = {"listen": "127.0.0.1:0"}
        self.below: dict[str, Any] = {"upstream": root, "nats": {**door, **told}}
        await self.node(0x10000, listen=[root], subnets=[(0, 16)])
        self.asker, beside = await self.node(0x10100, upstream=root, nats=door)
        assert beside is not None
        address = beside.address()
        assert address is not None
        ours, theirs = await self.client(address[1]), await self.client(port)
        self.directions = ((ours, theirs, b"down"), (theirs, ours, b"up"))
        _, self.first = await self.node(0x10010, **self.below)
        await self.met(lambda: self.serves(self.first))
        ours.says(b"SUB tasks 6\r\n")
        theirs.says(b"SUB question 3\r\n")
        for hears, says, subject in self.directions:
            hears.says(b"SUB jobs workers 4\r\nSUB tasks workers 5\r\n")
            # Interest goes its way in order: when this has come all other has.
            hears.says(b"SUB %s 1\r\nSUB open.%s 2\r\nPING\r\n" % (subject, subject))
            await hears.hears(b"PONG\r\n")
            await self.says_until_heard(says, hears, b"open." + subject)
        self.count = self.answered = self.read = 0
        self.answers: list[Deferred[Any]] = []

    def start(self) -> None:
        """Let everybody talk."""
        self.talking = LoopingCall(self.talk_unless_ahead)
        self.talking.clock = self.reactor
        self.talking.start(0.001)
        self.addCleanup(self.end)

    def end(self) -> None:
        """Let nobody talk any more."""
        if self.talking.running:
            self.talking.stop()

    async def check(self) -> None:
        """Everything has come once, and in order; of a group one member has got it."""
        self.end()
        (_, theirs, _), _ = self.directions
        answered = gatherResults(self.answers)

        def is_answered() -> bool:
            self.answer(theirs)
            return bool(answered.called)

        await self.met(is_answered)
        answers = await answered
        self.assertEqual([answer.payload for answer in answers], [b"yes"] * self.count)
        numbers = [*range(1, self.count + 1)]
        shared = b""
        for hears, says, subject in self.directions:
            says.says(b"PUB open.%s 4\r\nlast\r\n" % subject)
            last = b"MSG open.%s 2 4\r\nlast\r\n" % subject
            await self.met(lambda talker=hears, last=last: last in talker.heard)
            heard = re.findall(rb"MSG %s 1 6\r\n(\d{6})" % subject, hears.heard)
            got = [int(each) for each in heard]
            wrong = [each for each, count in Counter([*numbers, *got]).items() if count != 2]
            self.assertEqual(wrong, [], subject)
            self.assertEqual(got, numbers, subject)
            shared += bytes(hears.heard)
        wanted = [b"%s %06d" % (name, each) for name in (b"down", b"up") for each in numbers]
        for place in (b"jobs 4", b"tasks 5", b"tasks 6"):
            found = re.findall(rb"MSG %s \d+\r\n(\w+ \d{6})" % place, shared)
            wrong_jobs = [each for each, n in Counter([*wanted, *found]).items() if n != 2]
            self.assertEqual(wrong_jobs, [], place)

    @staticmethod
    def serves(gateway: Gateway | None) -> bool:
        """Tell whether a gateway is connected."""
        return gateway is not None and any(link.takes_part for link in gateway.leafs.links)

    def talk_unless_ahead(self) -> None:
        """Talk, unless too many questions wait."""
        waiting = islice(self.answers, self.answered, None)
        self.answered += sum(1 for _ in takewhile(has_ended, waiting))
        if self.count - self.answered < AHEAD_MAX:
            self.talk()
        (_, theirs, _), _ = self.directions
        self.answer(theirs)

    def talk(self) -> None:
        """Let both clients say one thing more, and a node ask the one at the server."""
        self.count += 1
        for _, says, subject in self.directions:
            says.says(b"PUB %s 6\r\n%06d\r\n" % (subject, self.count))
            job = b"%s %06d" % (subject, self.count)
            for name in (b"jobs", b"tasks"):
                says.says(b"PUB %s %d\r\n%s\r\n" % (name, len(job), job))
        self.answers.append(self.asker.request_subject("question", b"?", timeout=180.0))

    def answer(self, theirs: Talker) -> None:
        """Let the client at the server answer what it has been asked."""
        questions = re.compile(rb"MSG question 3 (\S+) 1\r\n")
        for question in questions.finditer(theirs.heard, self.read):
            theirs.says(b"PUB %s 3\r\nyes\r\n" % question[1])
            self.read = question.end()

    async def lower_ones_join(self) -> None:
        """Let one after the other join, each with a lower id."""
        await self.begin()
        gateways = [self.first]
        self.start()
        for bus_id in range(0x1000F, 0x1000A, -1):
            _, lower = await self.node(bus_id, **self.below)
            gateways.append(lower)
            await self.met(lambda: self.serves(gateways[-1]) and not self.serves(gateways[-2]))
        await self.check()

    async def the_lowest_stop(self) -> None:
        """Let one after the other stop, the lowest first."""
        await self.begin()
        others = [await self.node(bus_id, **self.below) for bus_id in range(0x10011, 0x10016)]
        gateways = [self.first, *(gateway for _, gateway in others)]
        self.start()
        for stops, serves in pairwise(gateways):
            assert stops is not None
            await stops.stopService()
            self.assertEqual((self.serves(stops), self.serves(serves)), (False, True))
            await stops.node.stop()
        await self.check()


class HandoverOfDebianTests(HandoverCase):
    """Gateways join, each with a lower id than those before, or stop, the lowest first."""

    def test_lower_ones_join(self) -> Deferred[None]:
        """Each message comes once and in order, in both directions; each question is answered."""
        return Deferred.fromCoroutine(self.lower_ones_join())

    def test_the_lowest_stop(self) -> Deferred[None]:
        """Likewise, up to the last message, and whoever has stopped serves no more."""
        return Deferred.fromCoroutine(self.the_lowest_stop())


class HandoverOfNewerTests(HandoverOfDebianTests):
    """The same at the newest nats-server."""

    binary = NEWER_BINARY
