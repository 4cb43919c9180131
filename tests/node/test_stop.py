"""Stopping: at any moment, in good order, and with nothing left."""

from __future__ import annotations

from atbus import limits
from atbus.errors import ChannelBroken, ConnectFailed, Status, Undeliverable
from atbus.node.node import Node
from atbus.testing.conversation import make_terms
from atbus.wire.messages import Hello
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING, BusTests, Keeper
from tests.node.stranger import Stranger

PEER = 0x20000
PEER_ADDRESS = "ipv4://10.0.0.2:1"


class OrderTests(BusTests):
    """A stop in good order."""

    def test_stopping_twice(self) -> None:
        """
        Both calls end; both sides lose the endpoint, each once.

        Scenario: M1
        """
        root, child = self.pair()
        first, second = root.stop(), root.stop()
        self.network.result_of(first)
        self.network.result_of(second)
        self.assertTrue(root.stop().called)
        self.network.settle(0.1)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "STOPPED")])
        self.assertEqual(len(self.diaries[child].removed()), 1)
        self.assertEqual(child.state, "lost_upstream")
        self.assertEqual(self.diaries[child].states()[-1], "lost_upstream")

    def test_down_is_told_once_with_the_reason(self) -> None:
        """
        A node that was up says that it is down when nothing of it is left.

        Scenario: M4
        """
        root, _ = self.pair()
        seen: list[tuple[list[int], int]] = []
        root.events.on_node_down.observe(
            lambda _: seen.append((self.ids(root), len(self.network.process_of(root).channels)))
        )
        self.network.stop(root)
        self.assertEqual(self.diaries[root].of("on_node_down"), [(Status.STOPPED,)])
        self.assertEqual(seen, [([], 0)])
        self.assertEqual(
            self.diaries[root].states(), ["starting", "running", "draining", "stopped"]
        )

    def test_both_stop_at_once(self) -> None:
        """
        Goodbyes that cross end both nodes, quickly.

        Scenario: M1
        """
        root, child = self.pair()
        begun = self.network.clock.seconds()
        stopping = [root.stop(), child.stop()]
        for each in stopping:
            self.network.result_of(each)
        self.assertLess(self.network.clock.seconds() - begun, 1)

    def test_a_whole_tree_stops_at_once(self) -> None:
        """Root, proxies and leaves may be stopped in any order, or all together."""
        root = self.root()
        proxies = [
            self.child(
                0x10100 + 0x100 * place,
                listen=[f"ipv4://10.0.1.{place}:1"],
                subnets=[(0, 8)],
            )
            for place in range(2)
        ]
        leaves = [
            self.child(proxy.bus_id + 1, upstream=str(f"ipv4://10.0.1.{place}:1"))
            for place, proxy in enumerate(proxies)
        ]
        self.network.start(root, *proxies, *leaves)
        self.network.settle()
        begun = self.network.clock.seconds()
        stopping = [node.stop() for node in (root, *proxies, *leaves)]
        for each in stopping:
            self.network.result_of(each)
        self.assertLess(self.network.clock.seconds() - begun, limits.DRAIN_SECONDS)

    def test_messages_that_were_accepted_arrive(self) -> None:
        """What was accepted before the stop is delivered, also what waited for its connection."""
        root, child = self.pair()
        keeper = Keeper()
        root.receiver = keeper
        for place in range(50):
            child.send(ROOT, b"%d" % place)
        self.network.stop(child)
        self.network.settle(0.1)
        self.assertEqual(len(keeper.payloads), 50)
        self.assertRaises(Undeliverable, child.send, ROOT, b"late")

    def test_messages_that_wait_for_a_data_connection_arrive(self) -> None:
        """A stop right after the registration still makes the data connection they wait for."""
        root = self.root()
        keeper = Keeper()
        root.receiver = keeper
        child = self.child()
        child.events.on_endpoint_added.observe(lambda _: child.send(ROOT, b"first words"))
        self.network.start(root)
        started = child.start()
        self.network.clock.run_until(lambda: ROOT in child.endpoints)
        self.network.stop(child)
        self.assertEqual(self.refusal_of(started), Status.STOPPED)
        self.network.settle(0.1)
        self.assertEqual(keeper.payloads, [b"first words"])

    def test_closing_is_what_late_messages_hear(self) -> None:
        """While it stops, a node refuses its own program's messages by name."""
        _, child = self.pair()
        stopping = child.stop()
        error = self.assertRaises(Undeliverable, child.send, ROOT, b"late")
        self.assertEqual(error.status, Status.CLOSING)
        self.failure_of(child.connect(PEER_ADDRESS), ConnectFailed)
        self.network.result_of(stopping)

    def test_no_new_registrations(self) -> None:
        """
        Who comes while a node stops finds nobody there, or is told that it is leaving.

        Scenario: A20
        """
        root, child = self.pair()
        # A neighbor that does not answer keeps the root draining.
        self.network.freeze(child)
        stranger = Stranger(self.network, make_terms(SIBLING))
        stranger.is_talking = False
        stranger.dial(ROOT_ADDRESS)
        stopping = root.stop()
        late = self.child(SIBLING)
        started = late.start()
        self.network.settle(3)
        self.assertEqual(late.state, "starting")
        self.assertEqual(self.ids(root), [CHILD])
        self.network.thaw(child)
        self.network.result_of(stopping)
        self.network.stop(late)
        self.assertEqual(self.refusal_of(started), Status.STOPPED)


class MomentTests(BusTests):
    """A stop at any moment of what goes on."""

    def test_at_every_moment_of_a_registration(self) -> None:
        """
        Whenever a child is stopped between its first dial and being up, nothing is left of it.

        Scenario: M6
        """
        root = self.root()
        self.network.start(root)
        for step in range(40):
            child = self.child()
            started = child.start()
            started.addErrback(lambda _: None)
            self.network.settle(step * 0.0005)
            self.network.stop(child)
            self.network.settle(0.01)
            self.assertEqual(root.endpoints, {})
            self.assertEqual(self.network.process_of(child).calls, set())
            self.assertEqual(self.network.channels, set())

    def test_listener_at_every_moment_of_a_registration(self) -> None:
        """
        The same for the upstream; the child goes on trying and has not ended.

        Scenario: M6
        """
        for step in range(40):
            root, child = self.root(), self.child()
            self.network.start(root)
            started = child.start()
            self.network.settle(step * 0.0005)
            self.network.stop(root)
            self.assertEqual(self.network.process_of(root).calls, set(), step)
            self.network.settle(2)
            self.assertIn(child.state, ("starting", "lost_upstream"), step)
            self.network.stop(child)
            if not started.called:
                self.refusal_of(started)
            self.flushLoggedErrors()

    def test_registrations_under_way_are_refused(self) -> None:
        """
        Who was about to register hears that the node is closing, and need not wait for a deadline.

        Scenario: M6
        """
        root = self.root()
        self.network.start(root)
        talker = Stranger(self.network, make_terms(CHILD))
        dialling = talker.dial
        talker.is_talking = True
        dialling_done = self.network.delay_seconds
        self.network.delay_seconds = 0.05
        dialling(ROOT_ADDRESS)
        self.network.settle(0.05)
        self.assertEqual(root.endpoints, {})
        self.network.stop(root)
        self.network.settle(1)
        self.network.delay_seconds = dialling_done
        assert talker.refused is not None
        self.assertEqual(talker.refused.status, Status.CLOSING)
        self.assertEqual(self.diaries[root].registrations(), [(CHILD, "CONTROL", "CLOSING")])

    def test_a_second_stream_of_a_neighbor(self) -> None:
        """
        A neighbor that is about to register once more is told that the node is leaving.

        Scenario: M6
        """
        root, child = self.pair()
        tool = self.node(0x20000)
        self.network.start(tool)
        self.network.result_of(tool.connect(ROOT_ADDRESS))
        self.network.settle()
        # Somebody who does not answer keeps the root draining meanwhile.
        self.network.freeze(child)
        self.network.delay_seconds = 0.05
        again = tool.connect(ROOT_ADDRESS)
        self.network.settle(0.17)
        stopping = root.stop()
        self.assertEqual(self.refusal_of(again), Status.CLOSING)
        self.assertIn((0x20000, "CONTROL", "CLOSING"), self.diaries[root].registrations())
        self.network.thaw(child)
        self.network.result_of(stopping)

    def test_silent_connections_do_not_keep_it(self) -> None:
        """
        Connections that have said nothing are ended at once.

        Scenario: M6
        """
        root = self.root()
        self.network.start(root)
        strangers = [Stranger(self.network).dial(ROOT_ADDRESS) for _ in range(3)]
        begun = self.network.clock.seconds()
        self.network.stop(root)
        self.assertLess(self.network.clock.seconds() - begun, 1)
        self.network.settle(0.1)
        self.assertNotIn(None, [stranger.ended for stranger in strangers])

    def test_connections_that_the_kernel_took(self) -> None:
        """
        Who was connected by the kernel and not yet seen by the node is closed, not registered.

        Scenario: M6
        """
        root = self.root()
        self.network.start(root)
        self.network.freeze(root)
        stranger = Stranger(self.network, make_terms(CHILD)).dial(ROOT_ADDRESS)
        stopping = root.stop()
        self.network.thaw(root)
        self.network.result_of(stopping)
        self.network.settle(0.1)
        self.assertIsNotNone(stranger.ended)
        self.assertEqual(self.diaries[root].of("on_new_connection"), [])

    def test_while_it_dials(self) -> None:
        """
        Dials that hang are cancelled, of the upstream, of the program and for data.

        Scenario: M6
        """
        root, child = self.pair()
        peer = self.node(PEER, listen=[PEER_ADDRESS])
        self.network.start(peer)
        self.network.split(child, peer)
        waiting = child.connect(PEER_ADDRESS)
        self.network.unreachable.add(root.addresses[0])
        child.endpoints[ROOT].data[0].abort(Status.LINK_LOST, "lost")
        self.network.settle(0.5)
        self.network.stop(child)
        self.assertEqual(self.network.process_of(child).calls, set())
        self.assertTrue(waiting.called)
        waiting.addErrback(lambda _: None)
        self.network.heal(child, peer)

    def test_while_it_asks_the_holder_of_an_id(self) -> None:
        """
        A challenge under way ends with the node that made it.

        Scenario: M6
        """
        root, child = self.pair(drain_seconds=0.1)
        self.network.freeze(child)
        double = self.child()
        started = double.start()
        self.network.settle(0.055)
        self.assertEqual(double.state, "starting")
        self.network.stop(root)
        self.assertEqual(self.network.process_of(root).calls, set())
        self.network.thaw(child)
        self.network.stop(double)
        self.refusal_of(started)

    def test_nobody_is_taken_in_for_a_dead_holder(self) -> None:
        """
        A challenge that ends while the node is leaving ends with a refusal.

        Scenario: M6, A20
        """
        root, child = self.pair()
        self.network.freeze(child)
        double = self.child()
        started = double.start()
        self.network.settle(0.5)
        stopping = root.stop()
        self.network.settle(limits.CHALLENGE_SECONDS)
        self.assertEqual(self.diaries[root].registrations()[-1], (CHILD, "CONTROL", "CLOSING"))
        self.assertEqual(self.diaries[root].added(), [CHILD])
        self.network.thaw(child)
        self.network.result_of(stopping)
        self.network.stop(double)
        self.refusal_of(started)

    def test_while_it_waits_to_try_again(self) -> None:
        """A child without upstream stops at once."""
        child = self.child()
        started = child.start()
        self.network.settle(20)
        begun = self.network.clock.seconds()
        self.network.stop(child)
        self.assertLess(self.network.clock.seconds() - begun, 0.1)
        self.refusal_of(started)


class SilenceTests(BusTests):
    """Neighbors that do not take part in the farewell."""

    def test_a_neighbor_that_is_gone(self) -> None:
        """
        A vanished host delays the stop by no more than the time that a drain may take.

        Scenario: M1
        """
        root, child = self.pair()
        self.power_off(child)
        self.stop_within(root, limits.DRAIN_SECONDS + 2 * limits.GOODBYE_SECONDS)

    def test_a_neighbor_that_hangs(self) -> None:
        """A process that does not run takes part when it runs again; nobody waits for it."""
        root, child = self.pair()
        self.network.freeze(child)
        self.stop_within(root, limits.DRAIN_SECONDS + 2 * limits.GOODBYE_SECONDS)
        self.network.thaw(child)
        self.network.settle(0.5)
        self.assertEqual(len(self.diaries[child].removed()), 1)

    def test_somebody_who_does_not_read(self) -> None:
        """A refusal that cannot be written does not keep the node."""
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network).dial(ROOT_ADDRESS)
        stranger.say(
            Hello(source=CHILD, version_min=1, version_max=1, nonce=b"n" * 16, frame_max=9999)
        )
        self.assertEqual(stranger.names, ["Hello"])
        for channel in self.network.process_of(root).channels:
            channel.stall()
        self.stop_within(root, limits.GOODBYE_SECONDS)
        self.network.settle(0.1)
        self.assertIsNotNone(stranger.ended)

    def test_a_neighbor_that_dies_meanwhile(self) -> None:
        """Nobody waits for the answer of somebody who is gone."""
        root, child = self.pair()
        self.network.freeze(child)
        begun = self.network.clock.seconds()
        stopping = root.stop()
        self.network.settle(1)
        self.kill(child)
        self.network.result_of(stopping)
        self.assertLess(self.network.clock.seconds() - begun, 1.5)

    def test_a_shorter_drain(self) -> None:
        """The time is configured."""
        root, child = self.pair(drain_seconds=2.0)
        self.network.freeze(child)
        self.stop_within(root, 2.0 + 2 * limits.GOODBYE_SECONDS)

    def test_a_neighbor_that_says_no_goodbye(self) -> None:
        """One that is registered and does not know how to leave is left."""
        root = self.root()
        self.network.start(root)
        stranger = Stranger(self.network, make_terms(CHILD)).dial(ROOT_ADDRESS)
        self.stop_within(root, 2 * limits.GOODBYE_SECONDS)
        self.assertIn("Goodbye", stranger.names)

    def stop_within(self, node: Node, seconds: float) -> None:
        """Stop a node and look at the clock."""
        begun = self.network.clock.seconds()
        self.network.stop(node)
        self.assertLessEqual(self.network.clock.seconds() - begun, seconds + 0.1)


class EndTests(BusTests):
    """Processes that end without a word."""

    def test_a_node_that_is_killed(self) -> None:
        """
        The others' endpoint vanishes with the process, and the reason is that the link was lost.

        Scenario: M2, H30
        """
        root, child = self.pair()
        self.kill(child)
        self.network.settle(0.1)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "LINK_LOST")])
        self.assertEqual(
            [status for _, status in self.diaries[root].of("on_close_connection")],
            [Status.LINK_LOST] * 2,
        )

    def test_closing_is_told_on_both_sides(self) -> None:
        """
        Each connection of a farewell is closed once on the active and once on the passive side.

        Scenario: H30
        """
        root, child = self.pair()
        self.network.result_of(child.disconnect(ROOT))
        self.network.settle(0.1)
        ends = [status.name for _, status in self.diaries[child].of("on_close_connection")]
        self.assertEqual(ends, ["DISCONNECTED"] * 2)
        ends = [status.name for _, status in self.diaries[root].of("on_close_connection")]
        self.assertEqual(ends, ["GOODBYE"] * 2)

    def test_an_endpoint_that_was_removed_is_inert(self) -> None:
        """
        A program that kept it can ask it and give it things; nothing comes of it.

        Scenario: M9
        """
        root, child = self.pair()
        kept = root.endpoints[CHILD]
        self.network.stop(child)
        self.network.settle(0.1)
        self.assertFalse(kept.available)
        self.assertEqual(kept.connections, [])
        self.assertIsNotNone(kept.removed)
        self.assertNotIn(CHILD, root.endpoints)

    def test_an_attempt_under_way_hears_of_it(self) -> None:
        """Who waits for a peer that is killed is told that the connection broke."""
        one = self.node(ROOT)
        two = self.node(PEER, listen=[PEER_ADDRESS])
        self.network.start(one, two)
        waiting = one.connect(PEER_ADDRESS)
        self.network.clock.run_until(lambda: PEER in one.endpoints)
        self.kill(two)
        self.failure_of(waiting, ChannelBroken)
