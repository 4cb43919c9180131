"""Nodes beside real servers of NATS, and what clients of both say to each other."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, permutations
from pathlib import Path
from typing import Any

from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import provider

from atbus.nats.gateway import Gateway
from atbus.nats.settings import read_gateway
from atbus.node.config import NodeConfig
from atbus.node.node import Node
from tests.interop.nats_server import BINARY, NatsServer, require_nats_server
from tests.nats.sockets import PATIENCE_SECONDS, SocketCase, Talker

HELLO = b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n'
NO_RESPONDERS = b"NATS/1.0 503"


class ServerCase(SocketCase):
    """What is the same for both versions, both directions, leafs and routes."""

    binary = BINARY

    def setUp(self) -> None:
        super().setUp()
        require_nats_server(self.binary)
        #: What nodes have logged.
        self.log: list[str] = []

        @provider(ILogObserver)
        def note(event: LogEvent) -> None:
            self.log.append(formatEvent(event))

        globalLogPublisher.addObserver(note)
        self.addCleanup(globalLogPublisher.removeObserver, note)
        self._servers: list[NatsServer] = []

    def server(self, config: str, *, takes_routes: bool = False, **values: Any) -> NatsServer:
        """Start a server; it is stopped after the test."""
        path = Path(self.mktemp())
        path.write_text(config.format(**values))
        server = NatsServer("-c", str(path), binary=self.binary, takes_routes=takes_routes)
        server.start()
        self._servers.append(server)
        self.addCleanup(server.stop)
        return server

    def _logs(self) -> str:
        """Write what the servers have said, for whoever has to find out why something failed."""
        return "\n\n".join(each.log() for each in self._servers)

    async def client(self, port: int) -> Talker:
        """Connect a client."""
        talker = await self.talker(port)
        await talker.hears(b" \r\n")
        talker.says(HELLO + b"PING\r\n")
        await talker.hears(b"PONG\r\n")
        return talker

    async def node(self, bus_id: int, **options: Any) -> tuple[Node, Gateway | None]:
        """Start a node, with a gateway if there is to be one; both stop after the test."""
        return await self.started(NodeConfig(id=bus_id, **options))

    async def started(self, config: NodeConfig) -> tuple[Node, Gateway | None]:
        """Start the node of a configuration, likewise."""
        node = Node(config, self.reactor)
        self.addCleanup(node.stop)
        await node.start()
        settings = read_gateway(config)
        if settings is None:
            return node, None
        gateway = Gateway(node, settings, self.reactor)
        gateway.startService()
        self.addCleanup(gateway.stopService)
        return node, gateway

    async def met(self, condition: Any) -> None:
        """Wait until something is so."""
        for _ in range(int(PATIENCE_SECONDS * 50)):
            if condition():
                return
            await deferLater(self.reactor, 0.02, lambda: None)
        self.fail(f"it has not come about\n{self._logs()}")

    async def logged(self, text: str) -> None:
        """Wait until a node has logged something."""
        await self.met(lambda: any(text in line for line in self.log))

    async def says_until_heard(self, says: Talker, hears: Talker, subject: bytes) -> None:
        """Publish until interest has come through, then until nothing is on its way."""
        try:
            await says.says_until(b"PUB " + subject + b" 5\r\nfirst\r\n", hears, subject)
        except AssertionError as fault:
            self.fail(f"{fault}\n{self._logs()}")
        says.says(b"PUB " + subject + b" 4\r\nlast\r\n")
        await hears.hears(b"4\r\nlast\r\n")

    async def converse(self, ours: Talker, theirs: Talker) -> None:
        """Everything that is to work in both directions."""
        for number, (left, right) in enumerate(((ours, theirs), (theirs, ours))):
            subject = b"talk.%d" % number
            right.says(b"SUB " + subject + b" 1\r\nSUB ask.%d 2\r\nPING\r\n" % number)
            await right.hears(b"PONG\r\n")
            await self.says_until_heard(left, right, subject)
            left.says(b"".join(b"PUB %s 3\r\n%03d\r\n" % (subject, each) for each in range(200)))
            left.says(b"HPUB %s 19 21\r\nNATS/1.0\r\nA: bc\r\n\r\nok\r\n" % subject)
            heard = await right.hears(b"ok\r\n")
            wanted = b"".join(b"MSG %s 1 3\r\n%03d\r\n" % (subject, n) for n in range(200))
            head = b"HMSG %s 1 19 21\r\nNATS/1.0\r\nA: bc\r\n\r\nok\r\n" % subject
            self.assertEqual(heard, wanted + head)
            await self.question(left, right, b"ask.%d" % number)
            right.says(b"UNSUB 1\r\nUNSUB 2\r\n")

    async def question(self, asks: Talker, answers: Talker, subject: bytes) -> None:
        """A request and its answer, and one that nobody can answer."""
        inbox = b"_INBOX.%s" % subject
        asks.says(b"SUB %s 9\r\nPUB %s %s 4\r\nwhat\r\n" % (inbox, subject, inbox))
        await answers.hears(b"what\r\n")
        answers.says(b"PUB %s 4\r\nthat\r\n" % inbox)
        heard = await asks.hears(b"that\r\n")
        self.assertEqual(heard, b"MSG %s 9 4\r\nthat\r\n" % inbox)
        asks.says(b"PUB nobody.there %s 4\r\nwhat\r\n" % inbox)
        self.assertIn(NO_RESPONDERS, await asks.hears(b"\r\n\r\n\r\n"))

    async def want_before(self, ours: Talker, theirs: Talker) -> None:
        """Let both want something, alone and in a group, before the server of one is killed."""
        ours.says(b"SUB still 3\r\nSUB jobs workers 5\r\nPING\r\n")
        await ours.hears(b"PONG\r\n")
        await self.want_there(ours, theirs)

    async def want_there(self, ours: Talker, theirs: Talker) -> None:
        """Let the one at a server want something that nobody else does, and be in the group."""
        theirs.says(b"SUB ghost 4\r\nSUB jobs workers 5\r\nSUB gone 6\r\nPING\r\n")
        await theirs.hears(b"PONG\r\n")
        await self.says_until_heard(theirs, ours, b"still")
        # The node has been told of all the server has been told of before this one.
        await self.says_until_heard(ours, theirs, b"gone")

    async def nothing_is_left(self, asks: Talker) -> None:
        """What only clients of a server wanted that is away is wanted by nobody, at once."""
        ask = b"SUB _INBOX.ghost 8\r\nPUB ghost _INBOX.ghost 4\r\nwhat\r\nUNSUB 8\r\nPING\r\n"
        asks.says(ask)
        nobody = b"HMSG _INBOX.ghost 8 16 16\r\n%s\r\n\r\n\r\nPONG\r\n" % NO_RESPONDERS
        self.assertEqual(await asks.hears(b"PONG\r\n"), nobody)

    async def is_a_lone_member(self, member: Talker) -> None:
        """Of a group that had a member at a server that is away, the other one gets it all."""
        jobs = [b"4\r\n%04d\r\n" % number for number in range(100)]
        member.says(b"".join(b"PUB jobs " + job for job in jobs) + b"PING\r\n")
        wanted = b"".join(b"MSG jobs 5 " + job for job in jobs)
        self.assertEqual(await member.hears(b"PONG\r\n"), wanted + b"PONG\r\n")

    async def want_still(self, ours: Talker, theirs: Talker) -> None:
        """What was wanted before is heard once from a server that is back, and all else works."""
        await self.says_until_heard(theirs, ours, b"still")
        told = [b"3\r\n%03d\r\n" % number for number in range(100)]
        theirs.says(b"".join(b"PUB still %sPUB jobs %s" % (each, each) for each in told))
        theirs.says(b"PUB still 3\r\nend\r\n")
        wanted = b"".join(b"MSG still 3 %sMSG jobs 5 %s" % (each, each) for each in told)
        self.assertEqual(await ours.hears(b"end\r\n"), wanted + b"MSG still 3 3\r\nend\r\n")
        # The server has told of all its interest by now.
        await self.nothing_is_left(ours)
        await self.converse(ours, theirs)
        await self.share(ours, theirs, earlier=[ours])

    async def share(self, *members: Talker, earlier: Sequence[Talker] = ()) -> None:
        """
        A queue group with a member at each place: each message once, and all get some.

        :param earlier: Which of them have been in it for some time.
        """
        # Each hears of the others only, not of itself.
        marks = {member: b"jobs.%d" % number for number, member in enumerate(members)}
        for member, mark in marks.items():
            if member not in earlier:
                member.says(b"SUB jobs workers 5\r\n")
            member.says(b"SUB %s 6\r\nPING\r\n" % mark)
            await member.hears(b"PONG\r\n")
        pairs = [*permutations(members, 2)]
        for says, hears in pairs:
            hears.heard = b""
            await self.says_until_heard(says, hears, marks[hears])
        count = 200
        jobs = [[b"%d%03d" % (who, n) for n in range(count)] for who in range(len(members))]
        for publisher, own in zip(members, jobs, strict=True):
            publisher.says(b"".join(b"PUB jobs 4\r\n%s\r\n" % job for job in own))
        wanted, head = count * len(members), b"MSG jobs 5 4\r\n"
        await self.met(lambda: sum(each.heard.count(head) for each in members) >= wanted)
        # What came twice would have come before this.
        for says, hears in pairs:
            says.says(b"PUB %s 4\r\ndone\r\n" % marks[hears])
        others = len(members) - 1
        await self.met(lambda: all(each.heard.count(b"done\r\n") == others for each in members))
        got = [re.findall(head + rb"(\d{4})\r\n", each.heard) for each in members]
        self.assertEqual(sorted(chain(*got)), sorted(chain(*jobs)))
        self.assertTrue(all(got), [len(each) for each in got])
