"""Messages that have waited one by one become runs again."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.node.joining import joined
from atbus.node.outbox import Kept, Routed, Run
from atbus.wire.messages import Flags, Flush

ME, NORTH, SOUTH = 1, 100, 200
FRAME_BYTES = 10_000
BESIDES_BYTES = limits.FRAME_HEAD_BYTES + limits.EXTRAS_BYTES


def run(sequence: int, payload: bytes = b"x", target: int = NORTH, **options: Any) -> Run:
    """Make one message, of a kind of its own."""
    return Run(
        source=ME,
        target=target,
        first_sequence=sequence,
        **{"epoch": 1, "hop_limit": 9, **options},
        kinds=[sequence],
        payloads=[payload],
        size_bytes=len(payload) + 8,
        count=1,
    )


class JoiningTests(SynchronousTestCase):
    def sequences(self, *items: Kept) -> list[tuple[int, int]]:
        """Join items; the first sequence and the count of each run."""
        runs = joined(items, FRAME_BYTES)
        return [(each.first_sequence, each.count) for each in runs if isinstance(each, Run)]

    def test_messages_of_a_flow_become_one_run(self) -> None:
        """As it would have been if they had not waited."""
        [one] = joined([run(5, b"a"), run(6, b"bc"), run(7, b"")], FRAME_BYTES)
        assert isinstance(one, Run)
        self.assertEqual((one.first_sequence, one.count, one.size_bytes), (5, 3, 27))
        self.assertEqual((one.kinds, one.payloads), ([5, 6, 7], [b"a", b"bc", b""]))

    def test_destinations_that_take_turns(self) -> None:
        """What is for others may stand between; each is where its first message was."""
        items = [run(1), run(7, target=SOUTH), run(2), run(8, target=SOUTH), run(3)]
        self.assertEqual(self.sequences(*items), [(1, 3), (7, 2)])

    def test_a_frame_has_an_end(self) -> None:
        """A run is no longer than a frame, nor has it more messages than a run may have."""
        most = (FRAME_BYTES - BESIDES_BYTES) // 2 - 8
        self.assertEqual(self.sequences(run(1, bytes(most)), run(2, bytes(most))), [(1, 2)])
        self.assertEqual(
            self.sequences(run(1, bytes(most)), run(2, bytes(most + 1))), [(1, 1), (2, 1)]
        )
        many = [run(n, b"") for n in range(1, limits.RUN_COUNT_MAX + 2)]
        runs = joined(many, 1 << 20)
        self.assertEqual([getattr(each, "count", 0) for each in runs], [limits.RUN_COUNT_MAX, 1])

    def test_what_does_not_belong_together(self) -> None:
        """Gaps, other epochs and hop limits, flags, exclusions, pieces and frames stay apart."""
        packed = run(2)
        packed.pack()
        packed.build(1, 0)
        for second in (
            run(3),
            run(2, epoch=2),
            run(2, hop_limit=8),
            run(2, flags=Flags.ANSWER),
            run(2, exclude=(SOUTH,)),
            run(2, fragment=(0, 9)),
            packed,
        ):
            self.assertEqual(self.sequences(run(1), second), [(1, 1), (second.first_sequence, 1)])

    def test_nothing_goes_before_a_flush(self) -> None:
        """What is no plain message parts those before it from those behind it."""
        flush = Routed.of(Flush(source=ME, destination=NORTH, token=1))
        items: list[Kept] = [run(1), run(2), flush, run(3), run(4)]
        together = joined(items, FRAME_BYTES)
        self.assertIs(together[1], flush)
        self.assertEqual(len(together), 3)
