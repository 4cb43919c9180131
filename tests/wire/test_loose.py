"""Runs that are handed over as the objects they are."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.wire.extras import number_extra, pack_extras
from atbus.wire.head import peek
from atbus.wire.loose import (
    LooseFragment,
    LooseRun,
    is_first_part,
    joined,
    messages_of,
    part_of,
)
from atbus.wire.messages import ExtraType, Flags
from atbus.wire.runs import fragment_pieces, pack_run


class LooseRunTests(SynchronousTestCase):
    """A frame that was not made yet."""

    def test_it_is_the_frame_that_it_would_be(self) -> None:
        """A run that is joined is the frame that its sender would have made, and as long."""
        extras = pack_extras((number_extra(ExtraType.IN_REPLY_TO, 7),))
        for payloads, more in (
            ([b"one"], b""),
            ([b""], b""),
            ([b"one", b"", b"three" * 100], b""),
            ([b"%03d" % number for number in range(100)], b""),
            ([b"an answer"], extras),
        ):
            kinds = [-number for number in range(len(payloads))]
            frame = pack_run(
                1, 2, 3, 4, kinds, payloads, flags=int(Flags.REPLY), hop_limit=5, frame=6, ack=7,
                extras=more,
            )  # fmt: skip
            loose = LooseRun(peek(frame), more, kinds, payloads)
            self.assertEqual(len(loose), len(frame))
            self.assertEqual(loose.join(), frame)
            self.assertEqual(joined(loose), frame)
            for form in (loose, frame):
                self.assertEqual(tuple(map(list, messages_of(form))), (kinds, payloads))
            self.assertIs(messages_of(loose)[1], payloads)

    def test_a_part_of_a_message(self) -> None:
        """What is read of a part in an object, and of its frame, is the same."""
        extras = pack_extras((number_extra(ExtraType.IN_REPLY_TO, 7),))
        for offset in (0, 300):
            for more in (b"", extras):
                place, piece = (offset, 1_000, -3), memoryview(bytes(range(200)))[10:]
                frame = b"".join(
                    fragment_pieces(1, 2, 3, 4, piece, place, flags=int(Flags.REPLY), extras=more)
                )
                head = peek(frame)
                loose = LooseFragment(head, more, place, piece)
                self.assertEqual(len(loose), len(frame))
                self.assertEqual(joined(loose), frame)
                self.assertIs(part_of(loose, head)[3], piece)
                for form in (loose, frame):
                    self.assertEqual(part_of(form, head), (*place, piece))
                    self.assertEqual(is_first_part(form, head), not offset)

    def test_a_frame_stays_what_it_is(self) -> None:
        """A frame that is in one piece is not copied."""
        frame = pack_run(1, 2, 3, 4, [0], [b"x"])
        self.assertIs(joined(frame), frame)
