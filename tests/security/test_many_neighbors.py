"""Attacks by many that are registered, none of which does more than one may."""

from __future__ import annotations

from typing import cast

from twisted.logger import ILogObserver, Logger, LogPublisher, formatEvent

from atbus import limits
from atbus.busid import format_bus_id
from atbus.channels.stream import READ_BYTES, READ_SECONDS
from atbus.errors import Status, Undeliverable
from atbus.node import bounds
from atbus.node.journal import Journal
from atbus.routing.batch import Batch, kept_bytes
from atbus.routing.flow_control import FlowControl
from atbus.routing.intake import Intake, Shelf
from atbus.routing.offers import Offers
from atbus.routing.sync_terms import Ignored
from atbus.routing.table import Position
from atbus.subjects import bounds as subject_bounds
from atbus.subjects.barrier import Answer, Barriers
from atbus.subjects.interest import Side
from atbus.testing.recording import RecordingReceiver, frame_of
from atbus.wire import bounds as wire_bounds
from atbus.wire.messages import CommandRequest, Publish, ServiceBatch, ServiceEntry
from tests.channels.test_stream import Connection
from tests.node.mail import NORTH, ROOT, MailTests
from tests.routing.route_talk import DOWN, Talk, record

MANY = 200


class ShareTests(MailTests):
    """What one may have is too much when all have it: they share."""

    def test_security_shared_waiting(self) -> None:
        """However many tell of nodes faster than they are read, what waits has a bound."""
        words = tuple(record(10 + each) for each in range(100))
        shelf = Shelf()
        for _ in range(10):
            intake = Intake(burst=1, rate=0.001, shelf=shelf)
            # Less than one may have that is alone.
            for _ in range(400):
                intake.put(Batch(words=words))
            self.assertLessEqual(shelf.held_bytes, shelf.bytes_max)

    def test_security_shared_table(self) -> None:
        """However long the records are, what is known of nodes has a bound."""
        talk = Talk()
        talk.machine._hearing.heard_bytes_max = 50 * kept_bytes(record(10))
        for neighbor in range(2, 5):
            first = neighbor * 100
            ids = range(first, first + 30)
            talk.neighbor(neighbor, DOWN, *[record(each, upstream_id=neighbor) for each in ids])
        # They themselves are known in any case.
        self.assertLessEqual(len(talk.ids), 50 + 3)
        self.assertIn(Ignored(4, Status.BUFFER_LIMIT, 1), talk.other)

    def test_security_shared_questions(self) -> None:
        """Questions that nobody answers have a bound for all who ask."""
        self.patch(subject_bounds, "QUESTIONS_BYTES", 1_000_000)
        barriers = Barriers()
        sides = dict.fromkeys(range(1, MANY), Side.BESIDE) | {0: Side.ABOVE}
        for by in range(1, MANY):
            for barrier in range(10):
                if barriers.may_ask(by, (), MANY):
                    barriers.asked(Answer(by, barrier), {**sides, by: Side.BELOW})
        self.assertLess(len(barriers), 1_000_000 / subject_bounds.QUESTION_BYTES)

    def test_security_shared_services(self) -> None:
        """So have the documents of services; who comes then has room for a few all the same."""
        self.patch(wire_bounds, "SERVICES_BYTES", 1_000_000)
        self.patch(wire_bounds, "SERVICE_COST_BYTES", 1_000)
        offers = Offers(1, lambda *_: True)
        for by in range(1, 101):
            offers.open(by, Position.DOWNSTREAM, 65_536)
            for number in range(1_000):
                self.tell(offers, by, number, 9_000)
        kept = len(offers)
        self.assertIn(kept, range(80, 100))
        offers.open(200, Position.DOWNSTREAM, 65_536)
        self.tell(offers, 200, 1, 500)
        self.assertEqual(len(offers), kept + 1)
        # What is gone leaves its room to others.
        for by in range(1, 101):
            offers.lost(by, 0.0, in_order=True)
        for number in range(1_000):
            self.tell(offers, 200, number, 9_000)
        self.assertIn(len(offers), range(45, 51))

    def tell(self, offers: Offers, by: int, number: int, size_bytes: int) -> None:
        """Have a neighbor tell of a service of its own."""
        entry = ServiceEntry(
            bus_id=by, epoch=1, seq=number + 1, key=f"{number}/{format_bus_id(by)}",
            value=bytes(size_bytes),
        )
        offers.heard(by, ServiceBatch(services=(entry,)))

    def test_security_shared_pauses(self) -> None:
        """So have the destinations that are to be paused."""
        flow = FlowControl(count_max=100, heard_max=1_000)
        heard = sum(flow.pause(by, each) for by in range(MANY) for each in range(200))
        self.assertLessEqual(heard, 1_000)

    def test_security_shared_windows(self) -> None:
        """What is sent to many that are slow has one, and each of them has a smaller window."""
        self.patch(bounds, "UNACKNOWLEDGED_ALL_MAX", 1_000)
        hub = self.root(direct_notice=False)
        self.network.start(hub)
        slow = [self.leaf(ROOT + 1 + number) for number in range(10)]
        for each in slow:
            self.network.freeze(each)
        sent = 0
        for _ in range(200):
            for each in slow:
                try:
                    hub.send(each.bus_id, b"x")
                except Undeliverable:
                    continue
                sent += 1
            self.network.settle(0.04)
        self.assertIn(sent, range(700, 1_100))

    def test_security_unacknowledged_answers(self) -> None:
        """
        So have answers: who asks without end and acknowledges none is refused, and in the end cut
        off; who asks now and then is answered meanwhile.
        """
        self.patch(bounds, "OWED_BYTES_MAX", 500_000)
        root = self.root()
        self.network.start(root)
        root.on_command(lambda source, words: [bytes(10_000)])
        good, owing = self.leaf(ROOT + 1), self.leaf(ROOT + 2)
        self.network.freeze(owing)
        most = 0
        for number in range(45):
            ask = CommandRequest(source=ROOT + 2, destination=ROOT, sequence=number + 1)
            self.say(owing, root, ask, data=False)
            most = max(most, root._parts.context.owed.used_bytes)
        self.assertEqual(self.ended(good.command(ROOT, b"x")), [bytes(10_000)])
        self.assertLess(most, 300_000)
        self.assertGreater(root.statistics.refused[Status.OVERLOADED], 15)
        self.network.settle(limits.SLOW_SECONDS + 2)
        ends = {status for _, status in self.diaries[root].of("on_close_connection")}
        self.assertEqual(ends, {Status.SLOW_CONSUMER})
        self.assertIn(good.bus_id, root.endpoints)

    def test_security_unacknowledged(self) -> None:
        """So have frames that are read and never acknowledged; who goes on so is cut off."""
        self.patch(bounds, "UNACKNOWLEDGED_ALL_MAX", 50)
        hub = self.root()
        self.network.start(hub)
        owing = self.leaf(ROOT + 1)
        self.network.freeze(owing)
        for _ in range(60):
            hub.send(owing.bus_id, b"x")
            self.network.settle(0.001)
        self.network.settle(limits.SLOW_SECONDS + 2)
        ends = [status for _, status in self.diaries[hub].of("on_close_connection")]
        self.assertEqual(ends, [Status.SLOW_CONSUMER])


class TurnTests(MailTests):
    """Time and lines of the log that somebody takes from all others."""

    def test_security_dear_reads(self) -> None:
        """Who says in few bytes what costs much is read in ever smaller pieces."""
        receiver = RecordingReceiver()
        connection = Connection(receiver)
        channel, transport, clock = connection.open(), connection.transport, connection.clock
        self.patch(receiver, "frames_received", lambda _: clock.advance(READ_SECONDS * 4))
        for _ in range(8):
            channel.dataReceived(frame_of(2_000))
        self.assertLess(transport.bufferSize, READ_BYTES / 1_000)

    def test_security_repeated_publications(self) -> None:
        """A publication that comes again is known by its number, and goes nowhere."""
        root, north, south = self.proxies()
        got: list[bytes] = []
        for node in (root, south):
            node.subscribe("a", lambda each: got.append(each.payload))
        self.network.settle(1)
        for _ in range(5):
            again = Publish(source=NORTH, sequence=1, subject="a", messages=((0, b"x"),))
            self.say(north, root, again)
        self.network.settle(1)
        self.assertEqual(got, [b"x"] * 2)
        self.assertEqual(root.statistics.publications_repeated, 4)

    def test_security_log_floods(self) -> None:
        """Of what happens without end there is a line now and then, with a count."""
        lines: list[str] = []
        keep = cast(ILogObserver, lambda event: lines.append(formatEvent(event)))
        log = Logger(observer=LogPublisher(keep))
        root = self.root()
        journal = Journal(root, root._parts.context.timers, log)
        for number in range(1_000):
            journal.write_seldom("breach", "192.0.2.1", f"breach {number}")
        self.network.settle(60)
        journal.close()
        self.assertEqual(len(lines), 2)
        self.assertIn("999", lines[-1])
