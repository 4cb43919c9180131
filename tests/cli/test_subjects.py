"""``pub``, ``sub`` and ``req``, as real processes."""

from __future__ import annotations

import json

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from atbus.cli.outcome import ExitCode
from atbus.node.node import Node
from atbus.node.publication import Publication
from tests.cli.bus_case import BusTestCase


class SubjectTests(BusTestCase):
    """Commands about subjects, through one node, with subscribers at others."""

    async def test_publish(self) -> None:
        """What is published comes to subscribers at other nodes, with its headers."""
        await self.start_bus()
        came: Deferred[Publication] = Deferred()
        subscription = self.nodes[2].subscribe("news.>", came.callback)
        subscription.unsubscribe(after=1)
        await subscription.everywhere()
        ended = await self.atbus(
            "pub", "news.eu", "h\u00e9llo", "-H", "Lang: fr", "--reply-to", "r"
        )
        self.assertEqual((ended.code, ended.out), (ExitCode.DONE, ""))
        self.assertIn("published 1 on news.eu", ended.err)
        publication = await came
        self.assertEqual(publication.payload, "h\u00e9llo".encode())
        self.assertEqual((publication.headers, publication.reply_to), ((("Lang", "fr"),), "r"))

    async def test_what_is_no_subject(self) -> None:
        """A mistake is told, and so is a header that is none."""
        ended = await self.atbus("pub", "a..b", "x")
        self.assertEqual(ended.code, ExitCode.USAGE)
        self.assertIn("a token between dots must not be empty", ended.err)
        ended = await self.atbus("pub", "a", "x", "--reply-to", "b.*")
        self.assertEqual(ended.code, ExitCode.USAGE)
        self.assertIn("'--reply-to': 'b.*' cannot be used", ended.err)
        ended = await self.atbus("sub", "a", "--queue", "x y")
        self.assertEqual(ended.code, ExitCode.USAGE)
        self.assertIn("'--queue': 'x y' cannot be used", ended.err)
        ended = await self.atbus("pub", "a", "x", "-H", "none")
        self.assertEqual(ended.code, ExitCode.USAGE)
        ended = await self.atbus("pub", "a", "x", "-H", "Name: \udcff")
        self.assertEqual(ended.code, ExitCode.USAGE)
        self.assertIn("no UTF-8", ended.err)

    async def test_listen(self) -> None:
        """It prints what is published until it has enough."""
        await self.start_bus()
        words = ("sub", "news.*", "--count", "2", "-o", "json")
        listening = Deferred.fromCoroutine(self.atbus(*words))
        await self.wanted_at(self.nodes[2], "news.x")
        for payload in (b"1", b"2", b"3"):
            self.nodes[2].publish("news.x", payload, headers={"K": "v"})
        ended = await listening
        self.assertEqual(ended.code, ExitCode.DONE)
        lines = [json.loads(line) for line in ended.out.splitlines()]
        self.assertEqual([line["payload"] for line in lines], ["1", "2"])
        self.assertEqual((lines[0]["subject"], lines[0]["source"]), ("news.x", "0x10101"))
        self.assertEqual(lines[0]["headers"], [["K", "v"]])

    async def wanted_at(self, node: Node, subject: str) -> None:
        """Wait until a node knows that somebody wants what is published on a subject."""
        patience = self.reactor.seconds() + 180
        while node._parts.subjects.subscribers.way(subject).is_simple:
            self.assertLess(self.reactor.seconds(), patience, "nobody wants it")
            await deferLater(self.reactor, 0.02)

    async def test_listen_in_vain(self) -> None:
        """Who waits for a number and does not get it has failed; who just waits has not."""
        await self.start_bus()
        ended = await self.atbus("sub", "nothing", "--count", "1", "--wait", "0.2")
        self.assertEqual((ended.code, ended.out), (ExitCode.FAILED, ""))
        ended = await self.atbus("sub", "nothing", "--wait", "0.2", "--raw")
        self.assertEqual((ended.code, ended.out), (ExitCode.DONE, ""))

    async def test_ask(self) -> None:
        """The answer is on stdout; that nobody listens is told at once."""
        await self.start_bus()
        ended = await self.atbus("req", "shout", "hey")
        self.assertEqual(ended.code, ExitCode.REFUSED)
        self.assertIn("NO_RESPONDERS", ended.err)
        for node in self.nodes[1:3]:
            node.subscribe("shout", lambda question: question.payload.upper())
        await self.nodes[1].subscribe("other").everywhere()
        await self.nodes[2].subscribe("other").everywhere()
        ended = await self.atbus("req", "shout", "hey")
        self.assertEqual((ended.code, ended.out), (ExitCode.DONE, "HEY\n"))
        ended = await self.atbus("req", "shout", "--all", "--quiet", "5", "-o", "json", stdin=b"x")
        sources = sorted(answer["source"] for answer in ended.json)
        self.assertEqual(sources, ["0x10100", "0x10101"])
        self.assertEqual(ended.json[0]["payload"], "X")
