"""A server is handed over while one of those who take part stands still for a moment."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from atbus.nats import bounds
from atbus.nats.handover import Giving, Taking
from atbus.nats.leaf import LeafLink
from atbus.nats.succession import Succession
from atbus.node.node import Node
from tests.nats.test_handover import HandoverCase

#: Longer than what a gateway waits with telling a server of a loop.
STALL_SECONDS = 1.2


class StallTests(HandoverCase):
    """Whoever stands still, whenever: nothing is lost, nothing comes twice, and all is in order."""

    pace_seconds = 0.005

    def test_the_giver(self) -> None:
        """The one that has served."""
        self.stalls(lambda: self.giver)

    def test_the_taker(self) -> None:
        """The one that takes over."""
        self.stalls(lambda: self.taker)

    def test_the_server(self) -> None:
        """The server itself."""
        self.stalls(lambda: self.hub)

    def stalls(self, who: Callable[[], Node]) -> None:
        """Hand over, again and again, with a stall at each of some moments."""
        moments: list[Callable[[], bool]] = [
            partial(self.has_begun, Giving),
            partial(self.has_begun, Taking),
            self.is_loop_seen,
            self.is_handed_over,
        ]
        for number, is_now in enumerate(moments):
            self.grow()
            self.subscribe()
            self.change()
            self.say_until(is_now)
            self.network.freeze(who())
            began = self.network.clock.seconds()
            self.say_until(partial(self.is_past, began + STALL_SECONDS))
            self.network.thaw(who())
            self.say_until(self.is_handed_over)
            for _ in range(20):
                self.say()
            for heard in self.listen():
                self.assertEqual(sorted(heard), [*range(self.said)], number)
                for client in self.clients:
                    numbers = [each for each in heard if self.said_by[each] is client]
                    self.assertEqual(numbers, sorted(numbers), number)
            super().end()

    def links(self, node: Node) -> list[LeafLink]:
        """Give a gateway's connections to servers."""
        return self.gateways[node].leafs.links

    def has_begun(self, kind: type) -> bool:
        """Tell whether one of the two does its part."""
        links = self.links(self.giver) + self.links(self.taker)
        return any(isinstance(link.handover, kind) for link in links)

    def is_loop_seen(self) -> bool:
        """Tell whether the giver has heard that there is another one at the server."""
        return any(link._loops.are_put_off for link in self.links(self.giver))


class UnreadTests(HandoverCase):
    """Whoever has stood still deals with what has come meanwhile as if it had read it in time."""

    def test_before_the_other_one_shares(self) -> None:
        """What has no mark yet is passed on by the giver: nobody else has it."""
        self.stalls_after(Succession, "_is_ready", "giver")
        self.comes_late(self.giver, b"LMSG said 6\r\n")
        self.assertEqual(self.heard_late(), [0, 1, 1, 1])
        super().end()

    def test_before_the_giver_hangs_up(self) -> None:
        """What it was drawn for is passed on by it."""
        succession = self.stalls_after(Succession, "_is_done", "giver")
        mark = succession._giving.mark.encode()
        self.comes_late(self.giver, b"LMSG said | %s 6\r\n" % mark)
        # The other one does not know that the server has it.
        self.assertEqual(self.heard_late(), [1, 1, 1, 1])
        super().end()

    def test_before_the_taker_is_alone(self) -> None:
        """What the other one was drawn for has been passed on by that one."""
        self.stalls_after(Taking, "_go_on", "taker")
        self.comes_late(self.taker, b"LMSG said 6\r\n")
        self.assertEqual(self.heard_late(), [0, 0, 0, 0])
        super().end()

    def stalls_after(self, kind: type, name: str, who: str) -> Any:
        """
        Hand over; let a node stand still as soon as it has done something.

        :returns: The part of it that has done that.
        """
        done: list[Any] = []
        original = getattr(kind, name)

        def does(it: Any, *arguments: object) -> None:
            original(it, *arguments)
            done.append(it)
            self.network.freeze(getattr(self, who))

        self.patch(kind, name, does)
        self.grow()
        self.subscribe()
        self.change()
        self.until(lambda: bool(done))
        return done[0]

    def comes_late(self, node: Node, line: bytes) -> None:
        """Let a message come that the server had matched before; read it when a grace is over."""
        self.ends[node][-1].arrived(line + b"654321\r\n")
        self.network.settle(bounds.HANDOVER_GRACE_SECONDS + 0.05)
        self.network.thaw(node)
        self.until(self.is_handed_over)

    def heard_late(self) -> list[int]:
        """Count for each client how often it has heard that."""
        return [heard.count(654321) for heard in self.listen()]


class ThreadTests(HandoverCase):
    """
    A server has threads: one that has drawn for a message stands still before it writes that.

    Meanwhile another one says that the server knows that the giver has left the mark.
    """

    #: What was drawn for the giver, and what anybody has said.
    drawn = rb"[LR]MSG [^\r]*%s[^\r]*\r\n\d{6}\r\n"
    said_line = rb"[LR]MSG (?:\S+ )?said [^\r]*\r\n\d{6}\r\n"

    def test_the_giver_gets_it_late(self) -> None:
        """It is in order, whether the taker would be through before that or not."""
        for seconds in (0.003, 0.03):
            self.stands_still("giver", self.drawn, seconds)
            self.assert_order()

    def test_the_taker_gets_it_late(self) -> None:
        """Likewise: the giver says that it has it when it is there as well."""
        self.stands_still("taker", self.said_line, 0.03)
        self.assert_order()

    def test_later_than_is_waited_for(self) -> None:
        """Nothing of it is lost."""
        self.stands_still("giver", self.drawn, bounds.HANDOVER_WRITTEN_SECONDS + 0.03)
        for heard in self.listen():
            self.assertEqual(set(heard), {*range(self.said)})
        super().end()

    def test_what_is_new_then(self) -> None:
        """What the bus begins to want meanwhile is drawn for the taker alone."""
        givings = self.stops()
        self.grow()
        self.change()
        self.until(lambda: bool(givings))
        self.clients[1].says(b"SUB new 5\r\n")
        self.network.settle(bounds.HANDOVER_WRITTEN_SECONDS / 2)
        links = self.links_of(self.hub).links
        for queue, count in (("", 2), (givings[0].mark, 1)):
            self.assertEqual(sum(("new", queue) in link.interests for link in links), count)
        super().end()

    def stops(self, and_then: Callable[[Giving], None] = lambda _: None) -> list[Giving]:
        """
        Watch givers.

        :param and_then: Called with one that has been told to stop.
        :returns: Those, in order.
        """
        givings: list[Giving] = []
        original = Giving.stop

        def stop(giving: Giving) -> None:
            original(giving)
            givings.append(giving)
            and_then(giving)

        self.patch(Giving, "stop", stop)
        return givings

    def stands_still(self, who: str, lines: bytes, seconds: float) -> None:
        """
        Hand over.

        :param who: Who gets something later when the giver leaves the mark,
        :param lines: and what; ``%s`` is the mark.
        """
        late: list[bytes] = []

        def holds(giving: Giving) -> None:
            pattern = re.compile(lines.replace(b"%s", giving.mark.encode()))
            until = self.network.clock.seconds() + seconds
            end = self.ends[getattr(self, who)][-1]
            arrived = end.arrived

            def arrives(data: bytes) -> None:
                if not self.is_past(until):
                    late.extend(pattern.findall(data))
                    data = pattern.sub(b"", data)
                arrived(data)

            self.patch(end, "arrived", arrives)
            self.network.clock.callLater(seconds, lambda: arrived(b"".join(late)))

        self.stops(holds)
        self.grow()
        self.subscribe()
        for _ in range(20):
            self.say()
        self.change()
        self.say_until(self.is_handed_over)
        self.assertNotEqual(late, [])
        for _ in range(20):
            self.say()

    def assert_order(self) -> None:
        """All came once, and in order."""
        for heard in self.listen():
            self.assertEqual(sorted(heard), [*range(self.said)])
            for client in self.clients:
                numbers = [each for each in heard if self.said_by[each] is client]
                self.assertEqual(numbers, sorted(numbers))
        super().end()
