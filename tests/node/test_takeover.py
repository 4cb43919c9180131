"""Two processes with one id: the holder lives, is dead, or has been restarted."""

from __future__ import annotations

from atbus import limits
from atbus.errors import Status
from tests.node.bus import CHILD, ROOT, SIBLING, BusTests, Keeper


class TakeoverTests(BusTests):
    """A root with a child; another process comes with the child's id."""

    def test_a_living_holder_keeps_the_id(self) -> None:
        """
        The newcomer is refused on both sides by the same name; the holder works on.

        Scenario: H16, I4
        """
        root, child = self.pair()
        double = self.child()
        self.assertEqual(self.refusal_of(double.start()), Status.ID_CONFLICT)
        self.network.settle()
        self.assertIn((CHILD, "CONTROL", "ID_CONFLICT"), self.diaries[root].registrations())
        self.assertIn((ROOT, "CONTROL", "ID_CONFLICT"), self.diaries[double].registrations())
        self.assertEqual(self.diaries[root].removed(), [])
        self.assertEqual(child.state, "running")
        child.on_request(lambda source, payload: payload)
        self.assertEqual(self.network.result_of(root.request(CHILD, b"mine")), b"mine")

    def test_a_living_holder_is_found_out_quickly(self) -> None:
        """The newcomer need not wait for the whole challenge when the holder answers."""
        self.pair()
        begun = self.network.clock.seconds()
        self.refusal_of(self.child().start())
        self.assertLess(self.network.clock.seconds() - begun, 0.5)

    def test_a_dead_holder_loses_the_id(self) -> None:
        """
        A host that vanished does not answer the challenge; the newcomer takes its place then.

        Scenario: H16
        """
        root, child = self.pair()
        self.power_off(child)
        again = self.child()
        begun = self.network.clock.seconds()
        self.network.start(again)
        took = self.network.clock.seconds() - begun
        self.assertGreater(took, limits.CHALLENGE_SECONDS - 0.1)
        self.assertLess(took, limits.CHALLENGE_SECONDS + 0.5)
        self.network.settle()
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "REPLACED")])
        self.assertEqual(self.diaries[root].added(), [CHILD, CHILD])
        self.assertEqual(
            self.diaries[root].story("endpoint_added", "endpoint_removed"),
            ["endpoint_added 10001", "endpoint_removed 10001 REPLACED", "endpoint_added 10001"],
        )
        keeper = Keeper()
        again.receiver = keeper
        root.send(CHILD, b"to the new one")
        self.network.settle()
        self.assertEqual(keeper.payloads, [b"to the new one"])

    def test_a_restarted_process_is_back_at_once(self) -> None:
        """
        When the old socket has ended there is nobody to ask.

        Scenario: I2
        """
        root, child = self.pair()
        self.kill(child)
        again = self.child()
        begun = self.network.clock.seconds()
        self.network.start(again)
        self.assertLess(self.network.clock.seconds() - begun, 0.5)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "LINK_LOST")])

    def test_the_end_of_the_old_socket_during_the_challenge(self) -> None:
        """A restart that is quicker than the news of the end waits only for the news."""
        root, child = self.pair()
        self.network.freeze(child)
        again = self.child()
        started = again.start()
        self.network.settle(0.5)
        self.assertFalse(started.called)
        self.kill(child)
        self.network.result_of(started, 0.5)
        self.assertEqual(self.diaries[root].removed(), [(CHILD, "LINK_LOST")])

    def test_a_frozen_holder_that_wakes(self) -> None:
        """
        A holder that was frozen for longer than the challenge finds itself replaced; it does not
        fight: as long as the other one lives it is refused.
        """
        root, child = self.pair()
        self.network.freeze(child)
        again = self.child()
        self.network.start(again)
        self.network.thaw(child)
        self.network.settle(90)
        self.assertEqual(self.diaries[child].removed(), [(ROOT, "REPLACED")])
        self.assertEqual(child.state, "lost_upstream")
        self.assertEqual(again.state, "running")
        self.assertIn("ID_CONFLICT", self.diaries[child].errors())
        self.assertEqual(self.diaries[root].added(), [CHILD, CHILD])

    def test_own_lag_does_not_kill_the_holder(self) -> None:
        """A root that is blocked in the middle of a challenge hears the answer afterwards."""
        self.network.delay_seconds = 0.2
        root, child = self.pair()
        double = self.child()
        started = double.start()
        self.network.clock.run_until(lambda: bool(self.diaries[root].of("on_endpoint_ping")), 10)
        self.network.freeze(root)
        self.network.settle(3)
        self.network.thaw(root)
        self.assertEqual(self.refusal_of(started), Status.ID_CONFLICT)
        self.assertEqual(self.diaries[root].removed(), [])
        self.assertEqual(child.state, "running")

    def test_a_newcomer_that_leaves_during_the_challenge(self) -> None:
        """Nothing changes for the holder, and nothing is left of the newcomer."""
        root, child = self.pair()
        self.network.freeze(child)
        double = self.child()
        started = double.start()
        self.network.settle(0.5)
        self.network.stop(double)
        self.refusal_of(started)
        self.network.thaw(child)
        self.network.settle(5)
        self.assertEqual(self.ids(root), [CHILD])
        self.assertEqual(self.diaries[root].removed(), [])

    def test_two_newcomers_for_a_dead_holder(self) -> None:
        """One of them gets the id, the other one is refused; the root has one endpoint."""
        root, child = self.pair()
        self.power_off(child)
        doubles = [self.child(), self.child()]
        starting = [double.start() for double in doubles]
        outcomes: list[object] = []
        for each in starting:
            each.addBoth(outcomes.append)
        self.network.settle(10)
        self.assertEqual(len(outcomes), 2)
        self.assertEqual(sorted(double.state for double in doubles), ["running", "stopped"])
        self.assertEqual(self.ids(root), [CHILD])

    def test_a_peer_with_the_id_of_a_child(self) -> None:
        """
        Who dials a root under the id of its child is refused, whatever its position would be.

        Scenario: H16
        """
        root, _ = self.pair()
        double = self.node(CHILD)
        self.network.start(double)
        dialling = double.connect(root.addresses[0])
        self.assertEqual(self.refusal_of(dialling), Status.ID_CONFLICT)
        self.assertEqual(double.state, "running")

    def test_siblings_are_not_disturbed(self) -> None:
        """While an id changes hands, the others' traffic goes on."""
        root, child = self.pair()
        sibling = self.child(SIBLING)
        self.network.start(sibling)
        self.network.settle()
        self.power_off(child)
        again = self.child()
        started = again.start()
        sibling.on_request(lambda source, payload: payload)
        for _ in range(10):
            self.assertEqual(self.network.result_of(root.request(SIBLING, b"ok")), b"ok")
            self.network.settle(0.25)
        self.network.result_of(started)
        self.assertEqual(self.diaries[sibling].removed(), [])


class EpochTests(BusTests):
    """Incarnations of one id."""

    def test_the_next_life_counts_on(self) -> None:
        """A slow clock does not make a newer process an older incarnation."""
        root, child = self.pair()
        self.kill(child)
        again = self.network.node(id=CHILD, upstream=str(root.addresses[0]), epoch=5)
        self.network.start(again)
        self.assertGreater(again.epoch, child.epoch)
        self.network.stop(again)

    def test_coming_back_is_no_new_life(self) -> None:
        """A node that reconnects keeps its epoch, however often."""
        root, child = self.pair()
        before = (root.epoch, child.epoch)
        for _ in range(5):
            self.network.cut(root, child)
            self.network.settle(2)
        self.assertEqual((root.epoch, child.epoch), before)
