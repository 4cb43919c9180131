"""A bus with a relay, whose neighbors ask others by way of it and acknowledge next to nothing."""

from __future__ import annotations

from functools import partial

from atbus.errors import Status
from atbus.node import bounds
from atbus.node.node import Node
from atbus.wire import codec
from atbus.wire.messages import CommandRequest, LinkAck
from tests.node.mail import NORTH, ROOT, MailTests

OWED_BYTES = 2_000_000
#: As 25,000 are to what may be owed without this test.
LONG_BYTES = 3_000
ROUNDS, ROUND_SECONDS = 30, 0.3
#: A question of each neighbor in a round; together far more than may be kept.
QUESTIONS = 15


class CrowdCase(MailTests):
    """A root that answers at length, a relay, and below that a good one beside hostile ones."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(bounds, "OWED_BYTES_MAX", OWED_BYTES)
        self.patch(bounds, "OWED_WORDS_BYTES", OWED_BYTES // 512)
        self.sequence = 0
        self.hostile: list[Node] = []
        self.good: Node
        self.relay: Node
        self.above: Node

    def crowd(self, count: int, answer_bytes: int = LONG_BYTES) -> None:
        """Start them."""
        self.above, self.relay, _ = self.proxies()
        self.above.on_command(lambda source, words: [bytes(answer_bytes)])
        self.good = self.leaf(NORTH + 1)
        self.hostile = [self.leaf(NORTH + 2 + each) for each in range(count)]
        for each in self.hostile:
            self.network.freeze(each)

    def asked(
        self, *, one_by_one: bool = False, acknowledge: bool = False, question_bytes: int = 1
    ) -> list[object]:
        """
        Have all ask the root in rounds, the good one last and once.

        :param one_by_one: Whether another hostile one begins in each round, when those before it
            have what they may.
        :param acknowledge: Whether each acknowledges one frame in six rounds.
        :returns: The ends of what the good one has asked, in that order.
        """
        ends: dict[int, object] = {}
        for number in range(ROUNDS):
            active = self.hostile[: number + 1] if one_by_one else self.hostile
            for each in active:
                self.demand(each, question_bytes)
                if acknowledge and number % 6 == 5:
                    self.acknowledge(each)
            waiting = self.good.command(ROOT, b"x", timeout=5)
            waiting.addBoth(partial(ends.__setitem__, number))
            self.network.settle(ROUND_SECONDS)
            for node in (self.relay, self.above):
                self.assertLess(node._parts.context.owed.used_bytes, OWED_BYTES / 2)
        self.network.settle(6)
        return [ends.get(number) for number in range(ROUNDS)]

    def demand(self, node: Node, question_bytes: int) -> None:
        """Have a node ask, whose process does nothing more."""
        endpoint = node.endpoints.get(NORTH)
        link = None if endpoint is None else endpoint.control_link
        if link is None or link.connection.channel is None:
            return
        frames = []
        for _ in range(QUESTIONS):
            self.sequence += 1
            ask = CommandRequest(
                source=node.bus_id,
                destination=ROOT,
                sequence=self.sequence,
                arguments=(bytes(question_bytes),),
            )
            number = link.outgoing.sent + 1
            link.outgoing.sent = number
            frames.append(codec.patch(codec.encode(ask), hop_limit=8, frame_number=number, ack=0))
        link.connection.channel.send(frames)

    def acknowledge(self, node: Node) -> None:
        """Have a node acknowledge the next frame."""
        endpoint = self.relay.endpoints.get(node.bus_id)
        link = None if endpoint is None else endpoint.control_link
        if link is not None and len(link.outgoing):
            ack = LinkAck(source=node.bus_id)
            channel = self.control_channel(node, self.relay)
            channel.send([codec.encode(ack, ack=link.outgoing.acknowledged + 1)])

    def check(self, ends: list[object], answer_bytes: int = LONG_BYTES, *, late: int = 0) -> None:
        """
        Look whether the good one was answered, and stayed.

        :param late: How many may have failed in the beginning, when so much is asked in one moment
            that the root has not heard yet how little of it is taken.
        """
        unanswered = [place for place, end in enumerate(ends) if end != [bytes(answer_bytes)]]
        self.assertEqual([place for place in unanswered if place >= late], [])
        self.assertIn(self.good.bus_id, self.relay.endpoints)
        self.assertGreater(self.relay.statistics.refused[Status.OVERLOADED], 100)
        # What was kept because of them goes with them.
        for each in self.hostile:
            self.kill(each)
        self.network.settle(2)
        passing = [node._parts.context.passing.used_bytes for node in (self.relay, self.above)]
        self.assertEqual(passing, [0, 0])
