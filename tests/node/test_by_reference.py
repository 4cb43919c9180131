"""Within a process a receiver gets the very objects that were sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from atbus.address import Scheme
from atbus.busid import BusId
from atbus.channels.memory import MemoryChannel
from atbus.errors import Status, Undeliverable
from atbus.node.node import Node
from atbus.node.publication import Publication
from atbus.wire.messages import Data, MessageType, Publish
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING
from tests.node.mail import MailTests, Receiving

MEMORY = "mem://root"


class Text(bytes):
    """Bytes of a program's own kind."""


class InMemoryTests(MailTests):
    """A root and a child of one process, which talk through its memory."""

    def pair(self, **options: Any) -> tuple[Node, Node]:
        """Start both; data between them takes memory."""
        root = self.root(listen=[ROOT_ADDRESS, MEMORY], **options)
        child = self.child(listen=["mem://auto"], **options)
        self.network.start(root, child)
        self.network.settle()
        for node, other in ((root, CHILD), (child, ROOT)):
            self.assertIs(self.memory(node, other).address.scheme, Scheme.MEM)
        return root, child

    def memory(self, node: Node, other: int) -> MemoryChannel:
        """Give the channel by which a node's data goes to another."""
        link = node.endpoints[BusId(other)].data_link
        assert link is not None
        channel = link.connection.channel
        assert isinstance(channel, MemoryChannel)
        return channel

    def assert_same(self, found: Sequence[bytes], sent: Sequence[bytes]) -> None:
        """Assert that objects are the same ones, and in the same order."""
        self.assertEqual(list(map(id, found)), list(map(id, sent)))


class ByReferenceTests(InMemoryTests):
    """Messages."""

    def test_a_message(self) -> None:
        """A message arrives as the object that was given to ``send``, short or long, both ways."""
        root, child = self.pair()
        for size in (0, 5, 9_000, 256 * 1024):
            payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
            child.send(ROOT, payload)
            root.send(CHILD, payload)
            self.network.settle(0.01)
            self.assertIs(self.mail[root].payloads[-1], payload)
            self.assertIs(self.mail[child].payloads[-1], payload)

    def test_a_run(self) -> None:
        """A thousand messages of one turn are the same thousand objects, each with its kind."""
        root, child = self.pair()
        sent = [b"%d" % number for number in range(1000)]
        sequences = [child.send(ROOT, each, place // 300 - 1) for place, each in enumerate(sent)]
        self.network.settle(0.01)
        letters = self.mail[root].letters
        self.assert_same([letter.payload for letter in letters], sent)
        self.assertEqual([letter.kind for letter in letters], [n // 300 - 1 for n in range(1000)])
        self.assertEqual([letter.sequence for letter in letters], sequences)
        self.assertEqual({letter.source for letter in letters}, {CHILD})
        self.assert_quiet(root, child)

    def test_what_waits(self) -> None:
        """What there is no room for yet waits as it is, and arrives so, in order."""
        root, child = self.pair()
        sent = [bytes(size) for size in range(1, 2_400)]
        for each in sent:
            child.send(ROOT, each)
        self.network.settle(1)
        self.assert_same(self.mail[root].payloads, sent)
        self.assert_quiet(root, child)

    def test_a_receiver_that_pauses(self) -> None:
        """What is held for a program that wants nothing for the moment is not copied either."""
        root, child = self.pair()
        root.pause()
        sent = [b"%d" % number for number in range(10)]
        self.send_all(child, ROOT, sent)
        self.network.settle(0.01)
        self.assertEqual(self.mail[root].payloads, [])
        root.resume()
        self.network.settle(0.01)
        self.assert_same(self.mail[root].payloads, sent)

    def test_questions_and_answers(self) -> None:
        """A question, its answer, and a message whose delivery is told, arrive as they are."""
        root, child = self.pair()
        questions: list[bytes] = []
        question, answer, told = b"what?" * 2_000, b"that" * 30_000, b"told" * 100

        def answered(_source: int, payload: bytes) -> bytes:
            questions.append(payload)
            return answer

        root.on_request(answered)
        reply = self.network.result_of(child.request(ROOT, question))
        self.assertIs(reply, answer)
        self.assert_same(questions, [question])
        self.network.result_of(child.deliver(ROOT, told))
        self.assertIs(self.mail[root].payloads[-1], told)

    def test_buffers_that_may_change(self) -> None:
        """
        A buffer that the program can change is copied in ``send``, once: what it does to it
        afterwards changes nothing. Bytes of a program's own class arrive as plain bytes.
        """
        root, child = self.pair()
        buffer = bytearray(b"before")
        child.send(ROOT, buffer)  # type: ignore[arg-type]  # is taken all the same
        child.send(ROOT, memoryview(buffer)[:3])  # type: ignore[arg-type]
        buffer[:] = b"after!"
        child.send(ROOT, Text(b"mine"))
        self.network.settle(0.01)
        self.assertEqual(self.mail[root].payloads, [b"before", b"bef", b"mine"])
        self.assertEqual({type(each) for each in self.mail[root].payloads}, {bytes})

    def test_longer_than_a_frame(self) -> None:
        """A message that is longer than a frame arrives as the same object, between others."""
        root, child = self.pair()
        long = bytes(range(251)) * 4_000
        sent = [b"first", long, b"between", long, b"last"]
        self.send_all(child, ROOT, sent)
        self.network.settle(1)
        self.assert_same(self.mail[root].payloads, sent)
        self.assert_quiet(root, child)

    def test_longer_than_the_receiver_takes(self) -> None:
        """A message that is longer than its receiver takes is refused by name, as elsewhere."""
        root = self.root(listen=[ROOT_ADDRESS, MEMORY], message_bytes_max=1000)
        child = self.child()
        self.network.start(root, child)
        self.network.settle()
        fits = bytes(1000)
        child.send(ROOT, fits)
        long = child.send(ROOT, bytes(1001))
        self.network.settle(0.1)
        self.assert_same(self.mail[root].payloads, [fits])
        self.assertEqual(self.mail[child].news, [(ROOT, long, 1, "MESSAGE_TOO_LARGE")])

    def test_on_the_way_to_another_process(self) -> None:
        """What goes on elsewhere is made a frame there, the one that any neighbor would send."""
        root, child = self.pair()
        far = self.node(SIBLING, upstream=ROOT_ADDRESS)
        self.network.start(far)
        self.network.settle()
        paths: list[tuple[int, ...]] = []

        def take(_source: int, payload: bytes) -> None:
            assert far.current is not None
            got.append(payload)
            paths.append(far.current.path)

        far.receiver = Receiving(take)
        got: list[bytes] = []
        far.on_request(lambda source, payload: payload[::-1])
        sent = [b"a", b"", b"c" * 20_000, bytes(range(251)) * 4_000]
        for kind, payload in enumerate(sent):
            child.send(SIBLING, payload, kind)
        child.send(SIBLING, b"traced", trace=True)
        self.network.settle(0.1)
        self.assertEqual(got, [*sent, b"traced"])
        self.assertEqual(paths, [(), (), (), (), (CHILD, ROOT)])
        self.assertEqual(self.network.result_of(child.request(SIBLING, b"abc")), b"cba")
        first, *_ = self.frames(self.data_channel(root, far), MessageType.DATA)
        assert isinstance(first, Data)
        self.assertEqual(first.messages, tuple(enumerate(sent[:3])))
        self.assertEqual((first.source, first.destination), (CHILD, SIBLING))
        self.assert_quiet(root, child, far)

    def test_a_channel_that_breaks(self) -> None:
        """
        What was on the way when the channel broke is uncertain, and nothing else; what had not
        left goes over the stream, in order.
        """
        root, child = self.pair()
        before = [b"%d" % number for number in range(5)]
        self.send_all(child, ROOT, before)
        self.network.settle(1)
        lost = [b"lost %d" % number for number in range(3)]
        first, *_ = self.send_all(child, ROOT, lost)
        link = child.endpoints[BusId(ROOT)].data_link
        assert link is not None
        link.flush()
        unsent = self.send_all(child, ROOT, [b"unsent"])
        link.connection.abort(Status.LINK_LOST, "broken")
        self.network.settle(0.1)
        self.assertEqual(self.mail[child].news, [(ROOT, first, 3, "UNCERTAIN")])
        self.assertEqual([letter.sequence for letter in self.mail[root].letters][-1:], unsent)
        self.assertEqual(self.mail[root].payloads[: len(before)], before)

    def test_bytes_are_counted(self) -> None:
        """The channel counts the bytes of the frames that there would have been."""
        root, child = self.pair()
        channel = self.memory(child, ROOT)
        written = channel.written_bytes
        self.send_all(child, ROOT, [bytes(100)] * 10)
        self.network.settle(0.01)
        self.assertEqual(channel.written_bytes - written, 48 + 10 * (8 + 100))
        self.assertEqual(channel.queued_bytes, 0)
        self.assertEqual(root.statistics.received_bytes, 1000)


class PublicationsByReferenceTests(InMemoryTests):
    """Publications."""

    def garden(self, **options: Any) -> tuple[Node, Node]:
        """Start both; the root listens to everything."""
        root, child = self.pair(**options)
        self.heard: list[Publication] = []
        root.subscribe(">", self.heard.append)
        self.network.settle()
        return root, child

    def assert_heard(self, sent: Sequence[bytes]) -> None:
        """Assert that the very objects were heard, in the order in which they were published."""
        self.assert_same([each.payload for each in self.heard], sent)

    def test_a_publication(self) -> None:
        """A publication arrives as the object that was published, whatever its length."""
        _, child = self.garden()
        sent = [bytes(range(256)) * count for count in (0, 1, 36, 1_000, 4_096)]
        numbers = [child.publish("a.b", each, 7, reply_to="r") for each in sent]
        self.network.settle(1)
        self.assert_heard(sent)
        self.assertEqual([each.sequence for each in self.heard], numbers)
        found = {(p.subject, p.reply_to, p.kind, p.source, p.headers) for p in self.heard}
        self.assertEqual(found, {("a.b", "r", 7, CHILD, ())})

    def test_with_headers(self) -> None:
        """
        Headers travel beside it, and arrive as they do elsewhere. What does not fit into a frame
        with them is copied behind them, and is the same bytes.
        """
        _, child = self.garden()
        short, long = b"payload" * 100, bytes(range(251)) * 4_000
        child.publish("a", short, headers={"K": "v", "L": "w"})
        child.publish("a", long, headers={"K": "v" * 10_000})
        child.publish("a", short)
        self.network.settle(1)
        first, second, third = self.heard
        self.assertEqual(first.headers, (("K", "v"), ("L", "w")))
        self.assertEqual((second.header("K"), third.headers), ("v" * 10_000, ()))
        self.assertEqual(second.payload, long)
        self.assert_same([first.payload, third.payload], [short, short])

    def test_many_at_once(self) -> None:
        """What is published at once is the same objects too, over several frames."""
        root, child = self.garden()
        sent = [b"%d" % number * (number % 700) for number in range(2_000)]
        sent[50] = bytes(700_000)
        first = child.publish_many("a", sent, 5)
        self.network.settle(1)
        self.assert_heard(sent)
        self.assertEqual([each.sequence for each in self.heard], list(range(first, first + 2_000)))
        self.assertEqual({each.kind for each in self.heard}, {5})
        self.assert_quiet(root, child)

    def test_among_messages(self) -> None:
        """
        Messages and publications of one turn come each in their order, and before those of the
        next turn.
        """
        root, child = self.garden()
        log: list[bytes] = []
        root.receiver = Receiving(lambda _source, payload: log.append(payload))
        root.subscribe("a", lambda publication: log.append(publication.payload))
        self.network.settle()
        link = child.endpoints[BusId(ROOT)].data_link
        assert link is not None
        sent = [b"%d" % number for number in range(60)]
        for number, each in enumerate(sent):
            if number // 3 % 2:
                child.publish("a", each)
            else:
                child.send(ROOT, each)
            if number % 3 == 2:
                link.flush()
        self.network.settle(1)
        self.assert_same(log, sent)
        self.assert_quiet(root, child)

    def test_bytes_are_counted(self) -> None:
        """The channel and the endpoint count the bytes of the frames that there would have been."""
        root, child = self.garden()
        channel = self.memory(child, ROOT)
        written = channel.written_bytes
        child.publish("a.b", bytes(100), reply_to="r", headers={"K": "v"})
        child.publish_many("a", [bytes(10)] * 3)
        self.network.settle(0.01)
        headers = self.heard[0].header_block
        one = 48 + 8 + 8 + 3 + 1 + 8 + len(headers) + 100
        self.assertEqual(channel.written_bytes - written, one + 48 + 8 + 1 + 3 * (8 + 10))
        self.assertEqual(channel.queued_bytes, 0)
        sent, got = child.endpoints[BusId(ROOT)], root.endpoints[BusId(CHILD)]
        self.assertEqual(sent.out_publication_bytes, channel.written_bytes - written)
        self.assertEqual(got.in_publication_bytes, channel.written_bytes - written)

    def test_a_neighbor_that_takes_nothing(self) -> None:
        """
        Who takes nothing is given no more than may be queued for it; the rest is refused, counted
        and named. What was taken arrives as it was when it goes on, in order.
        """
        _, child = self.garden(queued_bytes_hard=400_000, queued_bytes_soft=100_000)
        self.memory(child, ROOT).other.pause_reading()
        sent = [b"%05d" % number * 400 for number in range(600)]
        for each in sent:
            child.publish("a", each)
            self.network.settle(0.0001)
        dropped = child.statistics.publications_dropped[Status.BUFFER_LIMIT]
        link = child.endpoints[BusId(ROOT)].data_link
        assert link is not None
        self.assertLessEqual(link.queued_bytes, 400_000)
        named = {endpoint.bus_id for endpoint, *_ in self.diaries[child].of("on_slow_endpoint")}
        self.assertEqual(named, {ROOT})
        self.memory(child, ROOT).other.resume_reading()
        self.network.settle(1)
        taken = len(sent) - dropped
        self.assertTrue(200 < taken < 400, taken)
        self.assert_heard(sent[:taken])

    def test_on_the_way_to_another_process(self) -> None:
        """What goes on elsewhere is made a frame there, the one that any neighbor would send."""
        root, child = self.garden()
        far = self.node(SIBLING, upstream=ROOT_ADDRESS)
        self.network.start(far)
        self.network.settle()
        got: list[Publication] = []
        far.subscribe("a", got.append)
        self.network.settle()
        payloads = [b"x", b"", bytes(range(251)) * 4_000]
        for payload in payloads:
            child.publish("a", payload, headers={"K": "v"})
        child.publish_many("a", [b"1", b"2"])
        self.network.settle(1)
        self.assertEqual([each.payload for each in got], [*payloads, b"1", b"2"])
        self.assertEqual([each.header("K") for each in got], ["v"] * 3 + [None] * 2)
        first, *_ = self.frames(self.data_channel(root, far), MessageType.PUBLISH)
        assert isinstance(first, Publish)
        self.assertEqual((first.source, first.subject), (CHILD, "a"))
        self.assertEqual(first.messages, ((0, got[0].header_block + b"x"),))

    def test_to_neighbors_here_and_elsewhere(self) -> None:
        """Of two neighbors the one of this process has the object, and the other a frame."""
        root, child = self.pair()
        far = self.node(SIBLING, upstream=ROOT_ADDRESS)
        self.network.start(far)
        near_heard: list[bytes] = []
        far_heard: list[bytes] = []
        child.subscribe("a", lambda publication: near_heard.append(publication.payload))
        far.subscribe("a", lambda publication: far_heard.append(publication.payload))
        self.network.settle()
        sent = [b"one", bytes(range(251)) * 4_000]
        for each in sent:
            root.publish("a", each)
        many = [b"two", b"three"]
        root.publish_many("a", many)
        self.network.settle(1)
        self.assert_same(near_heard, [*sent, *many])
        self.assertEqual(far_heard, [*sent, *many])
        self.assertIsNot(far_heard[1], sent[1])

    def test_a_question_that_parts(self) -> None:
        """It goes on to one of this process and another, who have just left: its asker is told."""
        root, child = self.pair()
        others = self.child(SIBLING, listen=["mem://auto"]), self.child(SIBLING + 1)
        self.network.start(*others)
        gone = [each.subscribe("q", lambda _: b"") for each in others]
        self.network.settle()
        self.memory(root, SIBLING)
        began = self.network.clock.seconds()
        for each in others:
            # The word of it is on its way until then.
            each._parts.subjects.talk._flush_asked = True
        for subscription in gone:
            subscription.unsubscribe()
        error = self.failure_of(child.request_subject("q", b"?" * 200), Undeliverable)
        self.assertIs(error.status, Status.NO_RESPONDERS)
        self.assertLess(self.network.clock.seconds() - began, 0.5)
        for each in others:
            each._parts.subjects.talk._flush()

    def test_a_channel_that_breaks(self) -> None:
        """What was published when the channel breaks may be lost; the next one takes the stream."""
        _, child = self.garden()
        link = child.endpoints[BusId(ROOT)].data_link
        assert link is not None
        child.publish("a", b"perhaps")
        link.connection.abort(Status.LINK_LOST, "broken")
        child.publish("a", b"over the stream")
        self.network.settle(0.1)
        self.assertEqual(self.heard[-1].payload, b"over the stream")
        self.assertLessEqual(len(self.heard), 2)
