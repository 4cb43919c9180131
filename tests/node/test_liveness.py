"""Pings, deaths, and a node's own lag."""

from __future__ import annotations

from collections.abc import Callable

from atbus import limits
from atbus.errors import Status
from atbus.node.node import Node
from atbus.testing.conversation import make_terms
from atbus.wire.head import HEAD
from atbus.wire.messages import Goodbye, Message, MessageType, Ping, Pong
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING, BusTests
from tests.node.stranger import Stranger

INTERVAL = limits.HEARTBEAT_SECONDS
DETECTION = INTERVAL * (limits.HEARTBEAT_TOLERANCE + 1)


class PingTests(BusTests):
    """A bus at rest."""

    def test_pings_and_pongs(self) -> None:
        """
        With a second between pings, twenty seconds bring four a second for three nodes.

        Scenario: J1
        """
        root = self.root(heartbeat_seconds=1.0)
        children = [self.child(each, heartbeat_seconds=1.0) for each in (CHILD, SIBLING)]
        self.network.start(root, *children)
        for node in (root, *children):
            self.diaries[node].clear()
        self.network.settle(20)
        pings = {node: self.diaries[node].of("on_endpoint_ping") for node in self.nodes}
        pongs = {node: self.diaries[node].of("on_endpoint_pong") for node in self.nodes}
        total = sum(map(len, pongs.values()))
        self.assertGreaterEqual(total, 40)
        self.assertGreaterEqual(total, 4 * 20 * 0.85)
        self.assertLessEqual(total, 4 * 20 * 1.15)
        for node in self.nodes:
            self.assertLessEqual(len(pings[node]) - len(pongs[node]), len(node.endpoints))
            for endpoint in node.endpoints.values():
                assert endpoint.last_pong_at is not None
                self.assertGreater(endpoint.last_pong_at, 18)

    def test_round_trips_are_measured(self) -> None:
        """
        A pong tells how long the way there and back took.

        Scenario: J1
        """
        self.network.delay_seconds = 0.1
        root, child = self.pair()
        self.network.settle(2 * INTERVAL)
        for near, far in ((root, child), (child, root)):
            rtt = near.endpoints[far.bus_id].rtt_seconds
            assert rtt is not None
            self.assertAlmostEqual(rtt, 0.2, 2)

    def test_pings_do_not_march_in_step(self) -> None:
        """The pings of nodes that came at the same moment are apart after a while."""
        root = self.root()
        children = [self.child(CHILD + place) for place in range(8)]
        self.network.start(root)
        starting = [child.start() for child in children]
        for each in starting:
            self.network.result_of(each)
        times: dict[int, float] = {}

        def noting(bus_id: int) -> Callable[..., None]:
            def note(*_: object) -> None:
                times[bus_id] = self.network.clock.seconds()

            return note

        for child in children:
            child.events.on_endpoint_ping.observe(noting(child.bus_id))
        self.network.settle(10 * INTERVAL)
        self.assertEqual(len({round(at, 2) for at in times.values()}), len(children))


class DeathTests(BusTests):
    """Neighbors that do not answer."""

    def test_a_host_that_vanished(self) -> None:
        """
        It is known within twenty-four seconds, not earlier than after its tolerance, and once.

        Scenario: J2, J3
        """
        root, child = self.pair()
        for wait in range(9):
            self.network.settle(wait)
        begun = self.network.clock.seconds()
        self.power_off(child)
        self.network.clock.run_until(lambda: not root.endpoints, 60)
        took = self.network.clock.seconds() - begun
        self.assertLessEqual(took, DETECTION)
        self.assertGreater(took, DETECTION - INTERVAL)
        self.network.settle()
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "HEARTBEAT_LOST")])
        self.assertEqual(self.network.between(root, child), [])

    def test_whenever_it_vanishes(self) -> None:
        """
        The promise holds at any moment of the interval.

        Scenario: J2
        """
        root = self.root()
        self.network.start(root)
        for place in range(20):
            child = self.child(CHILD + place)
            self.network.start(child)
            self.network.settle(INTERVAL + place * INTERVAL / 20)
            begun = self.network.clock.seconds()
            self.power_off(child)
            self.network.clock.run_until(lambda: not root.endpoints, 60)
            self.assertLessEqual(self.network.clock.seconds() - begun, DETECTION)

    def test_the_fast_profile(self) -> None:
        """With the fast profile a vanished host is known within seven seconds."""
        root = self.root(profile="fast")
        child = self.child(profile="fast")
        self.network.start(root, child)
        self.network.settle(5)
        begun = self.network.clock.seconds()
        self.power_off(child)
        self.network.clock.run_until(lambda: not root.endpoints, 60)
        self.assertLessEqual(self.network.clock.seconds() - begun, 7)

    def test_a_network_that_splits(self) -> None:
        """
        Both sides lose each other by themselves; when it heals the child comes back.

        Scenario: J2
        """
        root, child = self.pair()
        self.network.split(root, child)
        self.network.settle(DETECTION + 0.5)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "HEARTBEAT_LOST")])
        self.assertEqual(self.diaries[child].removed(), [(ROOT, "HEARTBEAT_LOST")])
        self.assertEqual(child.state, "lost_upstream")
        self.network.settle(30)
        self.network.heal(root, child)
        self.network.settle(limits.RECONNECT_SECONDS_MAX + 5)
        self.assertEqual(child.state, "running")
        self.assertEqual(self.ids(root), [CHILD])

    def test_a_killed_process_is_known_at_once(self) -> None:
        """Nobody waits for pings when the socket has ended."""
        root, child = self.pair()
        self.kill(child)
        self.network.settle(0.01)
        self.assertEqual(root.endpoints, {})

    def test_short_silence_is_forgiven(self) -> None:
        """
        Two pings without an answer are not death, and one answer makes good for both.

        Scenario: J3
        """
        root, child = self.pair()
        for _ in range(5):
            self.network.split(root, child)
            self.network.settle(2 * INTERVAL)
            self.network.heal(root, child)
            self.network.settle(INTERVAL / 2)
        for node in (root, child):
            self.assertEqual(self.diaries[node].removed(), [])

    def test_a_long_quiet_life(self) -> None:
        """Over hours nobody is accused, whatever the lots say."""
        root, child = self.pair()
        self.network.settle(3 * 3600)
        for node in (root, child):
            self.assertEqual(self.diaries[node].removed(), [])
            self.assertEqual(self.diaries[node].of("on_lag"), [])


class LagTests(BusTests):
    """A node whose own loop does not run."""

    def test_a_node_that_lagged_accuses_nobody(self) -> None:
        """
        However long its own reactor was blocked, its peers are alive when it looks again.

        The peers' tolerance is large here: only the lagging node could accuse somebody.
        """
        for seconds in (3.0, 5.0, 9.0, 17.0, 25.0, 60.0, 600.0):
            root = self.root(heartbeat_tolerance=100)
            children = [self.child(CHILD + place, heartbeat_tolerance=2) for place in range(2)]
            self.network.start(root, *children)
            self.network.settle(20)
            for child in children:
                self.network.freeze(child)
            self.network.settle(seconds)
            for child in children:
                self.network.thaw(child)
            self.network.settle(60)
            for child in children:
                self.assertEqual(self.diaries[child].removed(), [], seconds)
            self.assertEqual(self.diaries[root].removed(), [], seconds)
            self.network.stop(*children, root)

    def test_lag_at_any_moment(self) -> None:
        """Wherever in the interval the lag begins and ends, nobody is accused."""
        root = self.root(heartbeat_tolerance=100)
        child = self.child()
        self.network.start(root, child)
        for step in range(60):
            self.network.settle(1 + step * 0.37)
            self.network.freeze(child)
            self.network.settle(20 + step * 0.29)
            self.network.thaw(child)
        self.network.settle(30)
        self.assertEqual(self.diaries[child].removed(), [])

    def test_lag_is_named(self) -> None:
        """A program that blocks the reactor hears for how long."""
        root, child = self.pair()
        self.network.freeze(child)
        self.network.settle(5)
        self.network.thaw(child)
        lags = self.diaries[child].of("on_lag")
        self.assertEqual(len(lags), 1)
        self.assertGreater(lags[0][0], 4)
        self.assertEqual(self.diaries[root].of("on_lag"), [])

    def test_a_dead_peer_is_found_out_after_the_lag(self) -> None:
        """Patience with oneself ends: who really is dead is declared so a little later."""
        root, child = self.pair()
        self.network.freeze(child)
        self.power_off(root)
        self.network.settle(30)
        self.network.thaw(child)
        self.network.settle(DETECTION + INTERVAL)
        self.assertEqual(self.diaries[child].removed(), [(ROOT, "HEARTBEAT_LOST")])


class ProtocolTests(BusTests):
    """Pings by hand."""

    def met(self, **options: float) -> tuple[Node, Stranger]:
        """Register a stranger with a root."""
        root = self.root(**options)
        self.network.start(root)
        stranger = Stranger(self.network, make_terms(CHILD)).dial(ROOT_ADDRESS)
        self.assertIsNotNone(stranger.peer)
        return root, stranger

    def pinged(self, stranger: Stranger) -> Ping:
        """Wait for the next ping."""
        seen = len(stranger.received)

        def pings() -> list[Message]:
            return [each for each in stranger.received[seen:] if isinstance(each, Ping)]

        self.network.clock.run_until(lambda: bool(pings()), 2 * INTERVAL)
        ping = pings()[0]
        assert isinstance(ping, Ping)
        return ping

    def test_the_answer_repeats_what_was_asked(self) -> None:
        """A ping is answered with its sequence and its time."""
        _, stranger = self.met()
        stranger.say(Ping(source=CHILD, sequence=77, sent_at_us=123_456))
        answer = next(each for each in stranger.received if isinstance(each, Pong))
        self.assertEqual((answer.sequence, answer.sent_at_us), (77, 123_456))
        stranger.leave()

    def test_an_old_pong_says_nothing_about_the_round_trip(self) -> None:
        """
        Only the answer to the last ping is measured; an old one is life all the same.

        Scenario: J4
        """
        root, stranger = self.met()
        first = self.pinged(stranger)
        self.pinged(stranger)
        stranger.say(Pong(source=CHILD, sequence=first.sequence, sent_at_us=first.sent_at_us))
        self.assertEqual(self.diaries[root].of("on_endpoint_pong"), [])
        self.assertIsNone(root.endpoints[CHILD].rtt_seconds)
        stranger.leave()

    def test_one_answer_clears_what_came_before(self) -> None:
        """
        After each success the count of unanswered pings begins anew.

        Scenario: J3
        """
        root, stranger = self.met()
        endpoint = root.endpoints[CHILD]
        # Nothing is sent on a data connection in this test; do not let that end it.
        endpoint.data_missing_since = None
        for _ in range(4):
            for _ in range(limits.HEARTBEAT_TOLERANCE):
                ping = self.pinged(stranger)
            stranger.say(Pong(source=CHILD, sequence=ping.sequence))
            self.assertEqual(endpoint.heartbeat.unanswered, 0)
        self.assertEqual(self.ids(root), [CHILD])
        self.network.settle(DETECTION)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "HEARTBEAT_LOST")])

    def test_any_frame_is_life(self) -> None:
        """
        A peer that talks and never answers a ping is alive.

        Scenario: J3
        """
        root, stranger = self.met()
        root.endpoints[CHILD].data_missing_since = None
        for _ in range(20):
            self.network.settle(INTERVAL - 1)
            stranger.say(Ping(source=CHILD, sequence=1))
        self.assertEqual(self.ids(root), [CHILD])
        stranger.leave()

    def test_bytes_that_make_no_sense(self) -> None:
        """
        The third ping that cannot be read ends the link, not the first; others are not concerned.

        Scenario: J9
        """
        root, stranger = self.met()
        child = self.child(SIBLING)
        self.network.start(child)
        # A ping with less in it than a ping has.
        frame = HEAD.pack(50, MessageType.PING, 0, 16, 0, CHILD, 0, 1, 0, 0, 0, 0, 0) + b"??"
        stranger.say_raw(frame)
        stranger.say_raw(frame)
        self.assertEqual(self.ids(root), [CHILD, SIBLING])
        stranger.say_raw(frame)
        self.assertIsNotNone(stranger.ended)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "MALFORMED_FRAME")])
        goodbyes = [each for each in stranger.received if isinstance(each, Goodbye)]
        self.assertTrue(goodbyes[0].status.is_breach)
        self.assertEqual(self.ids(root), [SIBLING])
        self.assertEqual(child.state, "running")

    def test_a_neighbor_that_does_not_read(self) -> None:
        """Pings that pile up in front of somebody who does not read end in its death."""
        root, child = self.pair()
        self.network.freeze(child)
        self.network.settle(DETECTION + 0.5)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, Status.HEARTBEAT_LOST.name)])
        self.network.thaw(child)
        self.network.settle(3)
        self.assertEqual(child.state, "running")
        self.assertEqual(self.ids(root), [CHILD])
