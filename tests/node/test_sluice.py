"""What leaves on a link now, and what waits."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.node.outbox import Custody, Item, Notice, Relayed, Routed, Run, Spread
from atbus.node.sluice import Sluice
from atbus.wire import codec
from atbus.wire.messages import (
    Data,
    DataResponse,
    DrainAck,
    Flags,
    Flush,
    LinkAck,
    MessageType,
)

ME, OTHER, NORTH, SOUTH, EAST = 1, 2, 100, 200, 300
ROOM = 10_000
NOBODY: Any = None


def run(target: int, payload: bytes = b"x", flags: int = 0) -> Run:
    """Make a message of our own."""
    return Run(
        source=ME,
        target=target,
        first_sequence=7,
        epoch=3,
        hop_limit=16,
        flags=flags,
        kinds=[5],
        payloads=[payload],
        size_bytes=len(payload) + 8,
        count=1,
    )


def relayed(target: int, source: int = OTHER, flags: int = 0) -> Relayed:
    """Make a frame of somebody else."""
    message = Data(source=source, destination=target, flags=flags, messages=((0, b"x"),))
    return Relayed(
        frame=codec.encode(message),
        source=source,
        target=target,
        first_sequence=1,
        epoch=1,
        count=1,
        hop_limit=9,
        custody=Custody(NOBODY, 1),
        size_bytes=57,
    )


def spread() -> Spread:
    return Spread(frame=b"", hop_limit=9, size_bytes=100)


def flush(target: int) -> Relayed:
    """Make a flush that passes through."""
    item = relayed(target)
    item.type = int(MessageType.FLUSH)
    return item


class SluiceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sluice = Sluice(EAST)
        self.backlog = self.sluice.backlog

    def through(self, *items: Item, room: int = ROOM) -> list[Item]:
        """Offer items; those that leave."""
        return self.sluice.let_through(items, room)

    def test_everything_leaves_while_there_is_room(self) -> None:
        """In the order in which it came, whatever it is for."""
        items: list[Item] = [run(NORTH), relayed(SOUTH), Notice(LinkAck(source=ME)), run(NORTH)]
        self.assertEqual(self.through(*items), items)
        self.assertFalse(self.backlog.busy)

    def test_what_exceeds_the_room_waits(self) -> None:
        """A full channel gets nothing more, and its destinations take turns afterwards."""
        items = [run(NORTH, bytes(6_000)), run(NORTH, bytes(6_000)), run(NORTH), run(SOUTH)]
        self.assertEqual(self.through(*items), items[:2])
        self.assertEqual(len(self.backlog), 2)
        self.assertEqual(self.through(run(SOUTH), room=0), [])
        self.assertEqual(len(self.through(room=ROOM)), 3)

    def test_what_has_waited_goes_before_what_is_new(self) -> None:
        """Nothing of a destination is overtaken by something of the same."""
        first, second = run(NORTH), run(NORTH)
        self.assertEqual(self.through(first, room=0), [])
        self.assertEqual(self.through(second), [first, second])

    def test_a_paused_destination_waits_alone(self) -> None:
        """The others leave, also those that come later."""
        self.backlog.pause(NORTH)
        held, free = run(NORTH), run(SOUTH)
        self.assertEqual(self.through(held, free), [free])
        self.backlog.resume(NORTH)
        self.assertEqual(self.through(), [held])

    def test_the_link_itself_is_never_held_up(self) -> None:
        """Acknowledgements and responses leave, whatever waits."""
        self.backlog.pause(NORTH)
        self.through(run(NORTH), room=0)
        answer = DataResponse(source=ME, destination=NORTH, target=ME, first_sequence=1, count=1)
        response = Routed.of(answer)
        ack = Notice(LinkAck(source=ME))
        self.assertEqual(self.through(response, ack, room=0), [response, ack])

    def test_last_words_wait_for_everything_before_them(self) -> None:
        """The neighbor's flush, and the word that nothing more comes, leave behind what is held."""
        self.backlog.pause(NORTH)
        held = run(NORTH)
        own_flush = Routed.of(Flush(source=ME, destination=EAST, token=1))
        passing, last = flush(EAST), Notice(DrainAck(source=ME))
        self.assertEqual(self.through(held, own_flush, passing, last), [])
        self.backlog.resume(NORTH)
        self.assertEqual(self.through(), [held, own_flush, passing, last])
        self.assertEqual(self.through(own_flush, last), [own_flush, last])

    def test_a_flush_waits_for_its_destination_only(self) -> None:
        """Own or passing, it is behind what is for its destination, and nothing else delays it."""
        self.backlog.pause(NORTH)
        held = run(NORTH)
        stuck = Routed.of(Flush(source=ME, destination=NORTH, token=1))
        free: list[Item] = [Routed.of(Flush(source=ME, destination=SOUTH, token=2)), flush(SOUTH)]
        self.assertEqual(self.through(held, stuck, flush(NORTH), *free), free)
        later = run(NORTH)
        self.assertEqual(self.through(later), [])
        self.backlog.resume(NORTH)
        left = self.through()
        self.assertEqual([left[0], left[1], left[-1]], [held, stuck, later])
        self.assertEqual(len(left), 4)

    def test_a_flush_does_not_overtake_publications(self) -> None:
        """They may be for those behind its destination; and what is stuck still keeps nobody."""
        self.backlog.pause(NORTH)
        held, publication = run(NORTH), spread()
        own_flush = Routed.of(Flush(source=ME, destination=SOUTH, token=1))
        waiting, passing = run(SOUTH), flush(SOUTH)
        self.assertEqual(
            self.through(held, publication, own_flush, waiting, passing, room=0), []
        )
        self.assertEqual(self.through(), [publication, own_flush, waiting, passing])

    def test_a_flush_of_what_waits_for_the_channel(self) -> None:
        """Where a destination waits because the channel is full its flush waits as well."""
        waiting, own_flush = run(SOUTH), Routed.of(Flush(source=ME, destination=SOUTH, token=1))
        self.assertEqual(self.through(waiting, own_flush, room=0), [])
        self.assertEqual(self.through(), [waiting, own_flush])

    def test_replies_are_not_paused(self) -> None:
        """Who asked waits for them; but they overtake nothing of the same sender."""
        self.backlog.pause(NORTH)
        reply = relayed(NORTH, flags=Flags.REPLY)
        own = run(NORTH, flags=Flags.REPLY)
        self.assertEqual(self.through(reply, own), [reply, own])
        self.through(relayed(NORTH, source=OTHER))
        self.assertEqual(self.through(reply, own), [own])

    def test_a_run_that_waits_is_packed(self) -> None:
        """What waits is one frame, and becomes the same bytes as one that left at once."""
        waiting, direct = run(NORTH, b"abc"), run(NORTH, b"abc")
        self.through(waiting, room=0)
        self.assertEqual(waiting.payloads, ())
        self.assertEqual(self.through(), [waiting])
        self.assertEqual(waiting.build(9, 4), direct.build(9, 4))

    def test_what_waits_for_a_channel_within_a_process(self) -> None:
        """Where messages go through the channel as they are, they wait so, short ones as well."""
        self.sluice = Sluice(EAST, takes_runs=True)
        payload = b"%d" % 1234
        waiting = run(NORTH, payload)
        self.assertEqual(self.sluice.let_through([waiting], 0), [])
        self.assertIs(waiting.payloads[0], payload)

    def test_a_long_payload_that_waits_is_not_copied(self) -> None:
        """A long payload waits as it is: as a frame it would cost no less memory."""
        waiting = run(NORTH, bytes(9_000))
        self.through(waiting, room=0)
        self.assertEqual(waiting.payloads, [bytes(9_000)])
