"""What a message costs that comes alone, and its answer: counted, for a clock says little."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType

from tests.node.mail import ROOT, MailTests, Receiving

TRIPS = 100
#: Calls of functions on each side, from the bytes of a message to those of its answer. Whoever
#: needs one more looks first which can be spared.
CALLS_MAX = 48
#: Where a node's code is: what the virtual network does is not counted.
PLACES = ("/atbus/node/", "/atbus/routing/", "/atbus/wire/")


class AloneTests(MailTests):
    """Two nodes that answer each other, one message at a time."""

    def test_what_a_round_trip_costs(self) -> None:
        """
        A message that comes alone and is answered takes at most 48 calls of a node's functions, and
        no frame that only acknowledges it.
        """
        root, child = self.pair()
        left = TRIPS

        def back(_source: int, payload: bytes) -> None:
            nonlocal left
            left -= 1
            if left:
                child.send(ROOT, payload)

        def answer(source: int, payload: bytes) -> None:
            root.send(source, payload)

        root.receiver, child.receiver = Receiving(answer), Receiving(back)
        channels = self.data_channel(child, root), self.data_channel(root, child)
        sent = sum(len(channel.sent) for channel in channels)
        counted: Counter[str] = Counter()

        def count(frame: FrameType, event: str, _argument: object) -> None:
            code = frame.f_code
            if event == "call" and any(place in code.co_filename for place in PLACES):
                counted[code.co_qualname] += 1

        child.send(ROOT, bytes(128))
        sys.setprofile(count)
        try:
            self.network.settle(5)
        finally:
            sys.setprofile(None)
        self.assertEqual(left, 0)
        # What is not called on each side of each trip is there for something else.
        each_time = {name: calls // (2 * TRIPS - 2) for name, calls in counted.items()}
        self.assertLessEqual(sum(each_time.values()), CALLS_MAX, each_time)
        # The last one has no answer to ride on.
        frames = sum(len(channel.sent) for channel in channels) - sent
        self.assertLessEqual(frames, 2 * TRIPS + 1)
