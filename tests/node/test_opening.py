"""What has waited for a new way, and how it takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atbus import limits
from atbus.errors import Status, Undeliverable
from atbus.node.endpoint import Endpoint
from atbus.node.node import Node
from atbus.routing import bounds
from atbus.wire.messages import Flow, FlowAction, FlowScope, MessageType
from tests.node.test_drain import NORTH, ONE, SOUTH, TOP, TWO, DrainBus, address_of

EAST = 0x13
SIZE = 1_000


class OpeningBus(DrainBus):
    """
    ONE sends to TWO, and moves from NORTH to SOUTH; the FLUSH for that is stuck for a moment::

        TOP 1 --+-- NORTH 11 -- ONE 101
                |-- SOUTH 12
                `-- TWO 102
    """

    def changing(self, **options: Any) -> None:
        """Bring ONE to where the way to TWO is being changed."""
        self.top, self.north, self.south = self.region(**options)
        self.two = self.leaf_of(TWO, TOP)
        self.one = self.leaf_of(ONE, NORTH, SOUTH, EAST, **options)
        self.number = 0
        self.stuck = self.data_channel(self.north, self.top)
        self.stuck.stall()
        self.send()
        self.north.drain()
        self.until(lambda: self.one.next_hop(TWO).id == SOUTH)
        self.send()
        self.assertEqual(self.held, {TWO})

    @property
    def held(self) -> set[int]:
        """For whom ONE holds everything."""
        return self.one._parts.context.ways.held

    @property
    def way(self) -> Endpoint:
        """The new way."""
        return self.one.endpoints[SOUTH]

    def until(self, happens: Callable[[], bool]) -> None:
        """Let time pass until something has happened."""
        self.assertTrue(self.network.clock.run_until(happens, 5), "it did not happen")

    def send(self, count: int = 1) -> None:
        """Send the next messages."""
        for _ in range(count):
            self.one.send(TWO, self.payload(self.number))
            self.number += 1

    def payload(self, number: int) -> bytes:
        """Make a message."""
        return b"%06d" % number + bytes(SIZE - 6)

    def send_all_that_is_taken(self) -> int:
        """Send until that is refused; how many were taken."""
        before = self.number
        try:
            self.send(10_000)
        except Undeliverable as error:
            self.assertIs(error.status, Status.BACKPRESSURE)
        return self.number - before

    def say_flow(self, node: Node, action: FlowAction) -> None:
        """Let a node say something about TWO to ONE."""
        word = Flow(
            source=node.bus_id, action=action, scope=FlowScope.DESTINATION, subject_id=TWO
        )
        self.say(node, self.one, word, data=False)

    def flushes(self, node: Node) -> int:
        """Count the flushes that ONE has written to a node."""
        return len(self.frames(self.data_channel(self.one, node), MessageType.FLUSH))

    def portions(self) -> list[int]:
        """Count the messages between the flushes that ONE has written to SOUTH."""
        counts = [0]
        channel = self.data_channel(self.one, self.south)
        for each in self.frames(channel, MessageType.DATA, MessageType.FLUSH):
            if each.message_type is MessageType.FLUSH:
                counts.append(0)
            else:
                counts[-1] += len(each.messages)
        return counts

    def fit(self, *times: int) -> list[int]:
        """Say how many messages are so many times the first portion."""
        return [bounds.PORTION_BYTES * each // (SIZE + 8) for each in times]

    def assert_arrived(self) -> None:
        """Assert that everything has arrived, in order, and nothing waits."""
        self.assertEqual(
            self.mail[self.two].payloads, [self.payload(n) for n in range(self.number)]
        )
        self.assertEqual(self.mail[self.one].statuses(), [])
        self.assertEqual(self.held, set())
        self.assertEqual(self.one.statistics.order_given_up, 0)


class HoldingTests(OpeningBus):
    """While the way is being changed."""

    def test_what_is_paused_stays_paused(self) -> None:
        """
        A pause of the old upstream counts until the new way is open, and no longer.

        The new upstream has never heard of it, and nobody says that ONE may go on.
        """
        self.changing()
        self.say_flow(self.north, FlowAction.PAUSE)
        self.assertEqual(self.refused(self.one, TWO), "BACKPRESSURE")
        waiting = self.one.writable(TWO)
        self.assertNoResult(waiting)
        self.stuck.resume()
        self.until(lambda: not self.held)
        self.network.settle(0)
        self.assertIsNone(self.successResultOf(waiting))
        self.assertTrue(self.one._parts.pressure.flow.is_paused(NORTH, TWO))
        self.send()
        self.network.settle(5)
        self.assert_arrived()

    def test_who_goes_on_meanwhile(self) -> None:
        """When the old upstream resumes ONE may send, although the way is not open yet."""
        self.changing()
        self.say_flow(self.north, FlowAction.PAUSE)
        waiting = self.one.writable(TWO)
        self.say_flow(self.north, FlowAction.RESUME)
        self.assertIsNone(self.ended(waiting, 0.1))
        self.assertEqual(self.held, {TWO})
        self.send()

    def test_a_program_is_told_to_wait(self) -> None:
        """It may write until half of what may wait does; then it waits until something left."""
        self.changing()
        count = limits.PENDING_BYTES // 2 // SIZE
        self.send(count - 100)
        self.assertIsNone(self.ended(self.one.writable(TWO), 0.1))
        self.send(200)
        waiting = self.one.writable(TWO)
        self.assertNoResult(waiting)
        self.send_all_that_is_taken()
        self.assertNoResult(waiting)
        self.stuck.resume()
        self.assertIsNone(self.ended(waiting, 1))
        self.network.settle(1)
        self.assert_arrived()

    def test_what_waits_is_counted(self) -> None:
        """It is part of what the node may hold, at once."""
        self.changing()
        self.send(100)
        context = self.one._parts.context
        self.assertEqual(context.ways_account.held_bytes, context.ways.held_bytes)
        self.assertGreater(context.ways.held_bytes, 100 * SIZE)

    def test_half_of_what_may_wait_is_long(self) -> None:
        """Those who feed a relay are told to pause at half of what may wait, or of the queue."""
        self.changing(pending_bytes_max=50_000)
        self.assertEqual(self.way.soft_bytes_of(TWO), 25_000)
        self.assertEqual(self.way.soft_bytes_of(TOP), limits.QUEUED_BYTES_SOFT)

    def test_a_node_that_stops(self) -> None:
        """What can go nowhere until its time is over is answered, each message once."""
        self.changing(drain_seconds=0.3)
        self.send(99)
        self.network.result_of(self.one.stop())
        statuses = self.mail[self.one].statuses()
        self.assertEqual(statuses.count("CLOSING"), 100)
        self.assertLessEqual(set(statuses), {"CLOSING", "UNCERTAIN"})


class OpeningTests(OpeningBus):
    """When the way opens."""

    def test_a_few_messages_go_at_once(self) -> None:
        """They become one frame, and no FLUSH is needed behind it."""
        self.changing()
        self.send(20)
        self.stuck.resume()
        self.network.settle(0.1)
        self.assertEqual(self.flushes(self.south), 0)
        frames = self.frames(self.data_channel(self.one, self.south), MessageType.DATA)
        self.assertEqual([len(each.messages) for each in frames], [21])
        self.assert_arrived()

    def test_many_go_by_portions(self) -> None:
        """Each is twice as long as the one before it, and leaves when that has arrived."""
        self.changing()
        self.send(500)
        self.stuck.resume()
        self.network.settle(1)
        self.assert_arrived()
        fit = self.fit(1, 2, 4, 8)
        self.assertEqual(self.portions(), [*fit, self.number - 1 - sum(fit)])
        frames = self.frames(self.data_channel(self.one, self.south), MessageType.DATA)
        self.assertLess(len(frames), 20)

    def test_the_new_upstream_takes_no_more(self) -> None:
        """Then nothing goes until it does, and then half as much as the last time."""
        self.changing()
        self.send(500)
        south = self.data_channel(self.south, self.top)
        south.stall()
        self.stuck.resume()
        self.until(lambda: self.flushes(self.south) == 1)
        self.say_flow(self.south, FlowAction.PAUSE)
        south.resume()
        self.network.settle(3)
        self.assertEqual((self.held, self.flushes(self.south)), ({TWO}, 1))
        self.assertEqual(self.refused(self.one, TWO), "BACKPRESSURE")
        waiting = self.one.writable(TWO)
        self.say_flow(self.south, FlowAction.RESUME)
        self.assertIsNone(self.ended(waiting, 1))
        self.network.settle(1)
        self.assert_arrived()
        fit = self.fit(1, 1, 2, 4)
        self.assertEqual(self.portions(), [*fit, self.number - 1 - sum(fit)])

    def test_the_word_to_go_on_is_lost(self) -> None:
        """With the connection over which a pause came it ends, and so it does here."""
        self.changing()
        self.send(500)
        south = self.data_channel(self.south, self.top)
        south.stall()
        self.stuck.resume()
        self.until(lambda: self.flushes(self.south) == 1)
        self.say_flow(self.south, FlowAction.PAUSE)
        south.resume()
        self.network.settle(1)
        self.one._parts.pressure.control_lost(self.way)
        self.network.settle(1)
        self.assert_arrived()

    def test_the_answers_are_lost(self) -> None:
        """A FLUSH that has arrived is acknowledged on each link, which is as good."""
        self.changing()
        self.patch(self.one._parts.paths, "_moves", Deaf(self.one._parts.traffic.moves))
        self.send(500)
        self.stuck.resume()
        self.network.settle(3)
        self.assert_arrived()

    def test_the_new_upstream_dies(self) -> None:
        """What has not left takes the way that there is then; nothing waits for ever."""
        self.changing()
        self.send(500)
        self.data_channel(self.south, self.top).stall()
        self.stuck.resume()
        self.until(lambda: self.flushes(self.south) == 1)
        sent = self.way.data_link
        assert sent is not None
        self.kill(self.south)
        self.network.start(self.proxy(EAST))
        self.network.settle(0.1)
        self.assertEqual(self.held, set())
        statuses = self.mail[self.one].statuses()
        self.assertEqual(statuses.count("UNCERTAIN"), 32)
        arrived = self.mail[self.two].payloads
        self.assertEqual(len(arrived) + len(statuses), self.number)
        self.assertEqual(arrived, sorted(arrived))

    def test_the_data_connection_breaks(self) -> None:
        """What has not left waits for the next one; what was on it is uncertain."""
        self.changing()
        self.send(500)
        self.data_channel(self.south, self.top).stall()
        self.stuck.resume()
        self.until(lambda: self.flushes(self.south) == 1)
        self.data_channel(self.one, self.south).abort("cut")
        self.network.settle(0.1)
        self.assertEqual(self.held, set())
        self.data_channel(self.south, self.top).resume()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        statuses = self.mail[self.one].statuses()
        self.assertEqual(statuses, ["UNCERTAIN"] * 32)
        arrived = self.mail[self.two].payloads
        self.assertEqual(arrived, [self.payload(n) for n in range(self.number)])

    def test_the_next_move_while_nothing_may_leave(self) -> None:
        """The new upstream takes nothing, and leaves as well: the third one gets it, in order."""
        self.changing()
        self.send(500)
        south = self.data_channel(self.south, self.top)
        south.stall()
        self.stuck.resume()
        self.until(lambda: self.flushes(self.south) == 1)
        self.say_flow(self.south, FlowAction.PAUSE)
        south.resume()
        self.network.settle(1)
        self.network.start(self.proxy(EAST))
        self.drained(self.south)
        self.assertEqual(self.one.next_hop(TWO).id, EAST)
        self.send()
        self.network.settle(1)
        self.assert_arrived()

    def test_what_waits_for_a_connection_becomes_runs(self) -> None:
        """Messages that were there before their connection are a few frames when it is up."""
        root = self.proxy(TOP)
        self.network.start(root)
        two = self.node(TWO, topology="records", upstream=address_of(TOP))
        two.start().addErrback(lambda _: None)
        self.until(lambda: TWO in root.endpoints)
        self.network.unreachable.add(root.addresses[0])
        for number in range(300):
            root.send(TWO, self.payload(number))
        self.assertEqual(len(root.endpoints[TWO].pending), 300)
        self.network.unreachable.clear()
        self.network.settle(limits.DATA_REDIAL_SECONDS + 1)
        self.assertEqual(self.mail[two].payloads, [self.payload(n) for n in range(300)])
        frames = self.frames(self.data_channel(root, two), MessageType.DATA)
        self.assertLess(len(frames), 8)


class RelayTests(DrainBus):
    """A relay that holds what is for a node that moves."""

    def test_what_is_compressed_is_restored_for_who_cannot(self) -> None:
        """What has waited suits the next hop that it goes to, as what does not wait does."""
        packs: dict[str, Any] = {"compression": ["deflate"]}
        top, north, south = self.proxy(TOP, **packs), self.proxy(NORTH, **packs), self.proxy(SOUTH)
        self.network.start(top, north, south)
        one, two = self.leaf_of(ONE, TOP, **packs), self.leaf_of(TWO, **packs)
        stuck = self.data_channel(north, two)
        stuck.stall()
        payloads = [bytes(5_000), b"x" * 5_000]
        one.send(TWO, payloads[0])
        self.network.settle(0.01)
        self.assertGreater(one.statistics.saved_bytes, 0)
        north.drain()
        self.assertTrue(self.network.clock.run_until(lambda: top.next_hop(TWO).id == SOUTH, 5))
        one.send(TWO, payloads[1])
        self.network.settle(0.02)
        self.assertEqual(top._parts.context.ways.held, {TWO})
        stuck.resume()
        self.network.settle(1)
        self.assertEqual(self.mail[two].payloads, payloads)
        self.assertEqual(self.mail[one].statuses(), [])


class Deaf:
    """Moves that are told of no answer to a FLUSH."""

    def __init__(self, moves: Any) -> None:
        self._moves = moves

    def answered(self, source: int, token: int) -> None:
        """Do not listen."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._moves, name)
