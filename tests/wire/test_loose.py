"""Runs that are handed over as the objects they are."""

from __future__ import annotations

from typing import cast

import attrs
from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import LocalProtocolError
from atbus.wire import codec
from atbus.wire.extras import header_size_extra, number_extra, pack_extras, piece_extra
from atbus.wire.head import peek
from atbus.wire.loose import (
    LooseFragment,
    LoosePublication,
    LooseRun,
    is_first_part,
    joined,
    messages_of,
    part_of,
)
from atbus.wire.messages import ExtraType, Flags, Publish
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

    def test_publications(self) -> None:
        """Publications that are joined are the frame that they would have been, and as long."""
        several = tuple((2, b"%d" % number * number) for number in range(100))
        view = cast("bytes", memoryview(b"a piece of it")[2:7])
        for bare, headers in (
            (Publish(subject="a", messages=((-1, b"x"),)), b""),
            (Publish(subject="a", messages=((-1, b""),)), b""),
            (Publish(subject="ä.b", messages=several, served=(3, 4), queues=("g", "höh")), b""),
            (Publish(subject="a", messages=((0, b"x"),), extras=(header_size_extra(4),)), b"head"),
            (Publish(subject="a", messages=((0, view),), extras=(piece_extra(2, 13),)), b""),
        ):
            message = attrs.evolve(
                bare, source=1, destination=2, sequence=3, epoch=4, hop_limit=5,
                flags=int(Flags.REQUEST), reply_to="r",
            )  # fmt: skip
            whole = message
            if headers:
                ((kind, payload),) = message.messages
                whole = attrs.evolve(message, messages=((kind, headers + payload),))
            frame = codec.encode(whole, 6, 7)
            loose = LoosePublication.of(message, headers).numbered(6, 7)
            self.assertEqual(loose.head, peek(frame))
            self.assertEqual((len(loose), joined(loose)), (len(frame), frame))
            self.assertIs(loose.message, message)
            self.assertEqual(loose.extras, frame[48 : 48 + loose.head[11]])

    def test_publications_that_are_none(self) -> None:
        """What a frame may not say is refused when it is handed over as well."""
        for message in (
            Publish(subject="a", messages=()),
            Publish(subject="a" * 10_000, messages=((0, b""),)),
            Publish(subject="\ud800", messages=((0, b""),)),
        ):
            for make in (codec.encode, LoosePublication.of):
                with self.assertRaises(LocalProtocolError):
                    make(message)

    def test_a_frame_stays_what_it_is(self) -> None:
        """A frame that is in one piece is not copied."""
        frame = pack_run(1, 2, 3, 4, [0], [b"x"])
        self.assertIs(joined(frame), frame)
