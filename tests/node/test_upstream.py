"""A node and its upstream: absent, lost, refusing, another one."""

from __future__ import annotations

from typing import Any

from atbus import limits
from atbus.errors import RegistrationRefused, Status, Undeliverable
from atbus.node.node import Node
from atbus.testing.conversation import make_terms
from tests.node.bus import CHILD, ROOT, ROOT_ADDRESS, SIBLING, BusTests, Keeper
from tests.node.stranger import Stranger

SPARE_ADDRESS = "ipv4://10.0.0.9:1"


class AbsentTests(BusTests):
    """An upstream that is not there yet."""

    def test_child_that_was_started_first(self) -> None:
        """
        It goes on trying and registers when the parent is there.

        Scenario: I3
        """
        child = self.child()
        started = child.start()
        self.assertEqual(self.diaries[child].states(), ["starting"])
        self.network.settle(60)
        self.assertFalse(started.called)
        self.assertEqual(child.state, "starting")
        root = self.root()
        self.network.start(root)
        self.network.result_of(started, limits.RECONNECT_SECONDS_MAX)
        self.assertEqual(self.ids(root), [CHILD])

    def test_an_upstream_that_does_not_answer(self) -> None:
        """
        A host that swallows dials, or a process that hangs, is an absent upstream, not a refusal.

        Scenario: I3
        """
        root, child = self.root(), self.child()
        self.network.start(root)
        self.network.freeze(root)
        started = child.start()
        self.network.settle(12)
        self.network.split(root, child)
        self.network.settle(12)
        self.assertFalse(started.called)
        self.network.thaw(root)
        self.network.heal(root, child)
        self.network.result_of(started)

    def test_links_that_break_during_the_registration(self) -> None:
        """
        A child whose connection is lost half-way tries again, whenever it happens.

        Scenario: I3
        """
        for step in range(20):
            root, child = self.root(), self.child()
            self.network.start(root)
            started = child.start()
            self.network.settle(step * 0.0005)
            self.network.cut(root, child)
            self.network.result_of(started)
            self.network.stop(child, root)

    def test_a_link_that_breaks_has_refused_nothing(self) -> None:
        """What is told of a registration whose connection is lost says so, on both sides."""
        root, child = self.root(), self.child()
        told: list[str] = []
        for node in (root, child):
            node.events.on_error.observe(lambda status, why: told.append(f"{status.name}: {why}"))
        self.network.start(root)
        started = child.start()
        self.network.settle(0.0015)
        self.network.cut(root, child)
        self.network.result_of(started)
        self.assertEqual(len(told), 2)
        for line in told:
            self.assertTrue(line.startswith("LINK_LOST: <Connection "), line)
            self.assertIn("it has come to nothing: the connection was lost", line)

    def test_an_upstream_that_is_killed_during_the_registration(self) -> None:
        """
        The next life of the parent takes the child in.

        Scenario: I3
        """
        for step in range(20):
            root, child = self.root(), self.child()
            self.network.start(root)
            started = child.start()
            self.network.settle(step * 0.0005)
            self.kill(root)
            again = self.root()
            self.network.start(again)
            self.network.result_of(started)
            self.network.stop(child, again)

    def test_an_upstream_that_is_leaving(self) -> None:
        """
        A parent that says that it is closing has refused nothing for ever.

        Scenario: I3
        """
        root, sibling = self.pair(drain_seconds=5)
        # A neighbor that does not answer keeps the root draining, with its listener closed.
        self.network.freeze(sibling)
        self.network.delay_seconds = 0.02
        child = self.child(SIBLING)
        started = child.start()
        self.network.settle(0.07)
        stopping = root.stop()
        self.network.settle(1)
        self.assertEqual(self.diaries[child].registrations(), [(ROOT, "CONTROL", "CLOSING")])
        self.assertEqual(child.state, "starting")
        self.network.result_of(stopping)
        self.network.thaw(sibling)
        self.network.start(root)
        self.network.result_of(started)

    def test_candidates_in_order(self) -> None:
        """Each is tried in turn; the first that takes the child in is its upstream."""
        addresses = [ROOT_ADDRESS, "ipv4://10.0.0.5:1", SPARE_ADDRESS]
        spare = self.root(listen=[SPARE_ADDRESS])
        child = self.node(CHILD, upstreams=addresses)
        self.network.start(spare, child)
        self.assertEqual([str(each) for each in self.network.dials[:3]], addresses)
        self.assertEqual(self.diaries[child].of("on_upstream_changed"), [(ROOT,)])


class LossTests(BusTests):
    """An upstream that was there."""

    def states_of(self, child: Node) -> set[str]:
        """Give the states that a child has been in since the page was turned."""
        return set(self.diaries[child].states()) | {child.state}

    def test_child_lives_without_its_parent(self) -> None:
        """
        Through more than sixteen failed attempts the child stays alive and goes on trying.

        Scenario: I1
        """
        root, child = self.pair()
        self.diaries[child].clear()
        self.network.stop(root)
        dials = len(self.network.dials)
        self.network.settle(600)
        self.assertGreaterEqual(len(self.network.dials) - dials, 16)
        self.assertEqual(self.states_of(child), {"lost_upstream"})
        self.assertEqual(self.diaries[child].of("on_upstream_changed"), [(None,)])
        self.assertEqual(self.diaries[child].of("on_node_down"), [])

    def test_parent_that_returns(self) -> None:
        """
        Parent and child are running again, each the other's endpoint; up is not told again.

        Scenario: I2
        """
        root, child = self.pair()
        self.network.stop(root)
        self.network.settle(60)
        self.network.start(root)
        self.network.settle(limits.RECONNECT_SECONDS_MAX + 1)
        self.assertEqual((root.state, child.state), ("running", "running"))
        self.assertEqual((self.ids(root), self.ids(child)), ([CHILD], [ROOT]))
        self.assertEqual(len(self.diaries[child].of("on_node_up")), 1)
        self.assertEqual(self.diaries[child].of("on_upstream_changed"), [(ROOT,), (None,), (ROOT,)])
        self.assertEqual(
            self.diaries[child].states(), ["starting", "running", "lost_upstream", "running"]
        )

    def test_parent_that_returns_as_another_process(self) -> None:
        """
        The same id in a new process is the same upstream.

        Scenario: I2
        """
        root, child = self.pair()
        self.kill(root)
        self.network.settle(5)
        again = self.root()
        self.network.start(again)
        self.network.settle(limits.RECONNECT_SECONDS_MAX + 1)
        self.assertEqual(self.ids(again), [CHILD])
        self.assertEqual(child.state, "running")
        child.on_request(lambda source, payload: payload)
        self.assertEqual(self.network.result_of(again.request(CHILD, b"!")), b"!")

    def test_another_node_at_the_address(self) -> None:
        """
        An upstream with another id at the same address is taken; the child says which it is now.

        Scenario: H31
        """
        root, child = self.pair()
        self.network.stop(root)
        other = self.node(0x1FF00, listen=[ROOT_ADDRESS], subnets=[(0, 16)])
        self.network.start(other)
        self.network.settle(5)
        self.assertEqual(child.state, "running")
        self.assertEqual(
            self.diaries[child].of("on_upstream_changed"), [(ROOT,), (None,), (0x1FF00,)]
        )
        self.assertEqual(self.ids(child), [0x1FF00])

    def test_another_candidate_at_once(self) -> None:
        """
        A child whose upstream dies is below the best of the other candidates at once, in the order
        of preference, and goes back to the first one only when it has lost that as well.

        Scenario: Z1, Z2
        """
        root, spare = self.root(), self.root(listen=[SPARE_ADDRESS])
        third_address = "ipv4://10.0.0.8:1"
        third = self.node(0x1FF00, listen=[third_address], subnets=[(0, 16)])
        child = self.node(CHILD, upstreams=[ROOT_ADDRESS, third_address, SPARE_ADDRESS])
        self.network.start(root, third, child)
        before = len(self.network.dials)
        self.kill(root)
        self.network.settle(0.1)
        self.assertEqual(str(self.network.dials[before]), third_address)
        self.assertEqual((child.state, self.ids(child)), ("running", [0x1FF00]))
        self.network.start(spare)
        before = len(self.network.dials)
        self.kill(third)
        self.network.settle(2)
        self.assertEqual(str(self.network.dials[before]), ROOT_ADDRESS)
        self.assertEqual((child.state, self.ids(child)), ("running", [ROOT]))

    def test_back_to_the_better_one(self) -> None:
        """
        A child that is below its second choice goes back to the first when somebody has listened
        there for a while, leaving in good order; one that flutters draws it nowhere.
        """
        root = self.root()
        child = self.node(
            CHILD, upstreams=[ROOT_ADDRESS, SPARE_ADDRESS], upstream_return_seconds=60
        )
        self.network.start(root, child)
        other = self.node(0x1FF00, listen=[SPARE_ADDRESS], subnets=[(0, 16)])
        self.network.start(other)
        self.kill(root)
        self.network.settle(100)
        self.assertEqual(self.ids(child), [0x1FF00])
        for _ in range(3):
            flutters = self.root()
            self.network.start(flutters)
            self.network.settle(32)
            self.assertEqual(self.ids(child), [0x1FF00])
            self.network.stop(flutters)
            self.network.settle(32)
        back = self.root()
        self.network.start(back)
        self.network.settle(62)
        self.assertEqual(self.ids(child), [ROOT])
        self.assertEqual(
            self.diaries[child].of("on_upstream_changed")[-2:], [(0x1FF00,), (ROOT,)]
        )
        self.network.settle(200)
        self.assertEqual(self.ids(child), [ROOT])

    def test_it_stays_unless_told_otherwise(self) -> None:
        """A child stays below its second choice until it loses it."""
        root = self.root()
        other = self.node(0x1FF00, listen=[SPARE_ADDRESS], subnets=[(0, 16)])
        child = self.node(CHILD, upstreams=[ROOT_ADDRESS, SPARE_ADDRESS])
        self.network.start(other, child)
        self.network.start(root)
        self.network.settle(300)
        self.assertEqual(self.ids(child), [0x1FF00])

    def test_the_first_attempt_comes_soon(self) -> None:
        """
        After a loss the child is back within a second when the parent is there.

        Scenario: I6
        """
        root, child = self.pair()
        for _ in range(10):
            self.network.cut(root, child)
            self.network.settle(1)
            self.assertEqual(child.state, "running")
        self.assertEqual(len(self.diaries[child].removed()), 10)

    def test_attempts_spread_and_slow_down(self) -> None:
        """
        The pauses grow to half a minute at most and are different for each child.

        Scenario: I6
        """
        children = [self.child(CHILD + place) for place in range(20)]
        for child in children:
            child.start().addErrback(lambda _: None)
        times: list[float] = []
        count = 0
        for _ in range(20_000):
            self.network.settle(0.02)
            times += [self.network.clock.seconds()] * (len(self.network.dials) - count)
            count = len(self.network.dials)
        self.assertGreater(len([at for at in times if at < 10]), 20 * 4)
        late = [at for at in times if at > 300]
        self.assertGreater(len(late), 20 * 100 / limits.RECONNECT_SECONDS_MAX)
        self.assertLess(len(late), 20 * 100 / (limits.RECONNECT_SECONDS_MAX / 4))
        # No crowd: never more than a third of them within one look.
        self.assertLess(max(late.count(at) for at in late), 7)

    def test_siblings_and_children_are_not_disturbed(self) -> None:
        """
        While the parent is away, direct neighbors still exchange data.

        Scenario: I7
        """
        root, child = self.pair()
        sibling = self.child(SIBLING, listen=["ipv4://10.0.0.3:1"])
        self.network.start(sibling)
        self.network.result_of(child.connect("ipv4://10.0.0.3:1"))
        self.network.settle()
        self.network.stop(root)
        self.network.settle(5)
        for near, far in ((child, sibling), (sibling, child)):
            far.on_request(lambda source, payload: payload)
            self.assertEqual(self.network.result_of(near.request(far.bus_id, b"hi")), b"hi")
        self.assertEqual(self.ids(child), [SIBLING])

    def test_losing_somebody_else(self) -> None:
        """
        A neighbor that is not the upstream may go without any consequence for the node's life.

        Scenario: I7
        """
        root = self.root()
        proxy = self.child(0x10100, listen=["ipv4://10.0.1.1:1"], subnets=[(0, 8)])
        leaf = self.node(0x10101, upstream="ipv4://10.0.1.1:1")
        peer = self.node(0x20000)
        self.network.start(root, proxy, leaf, peer)
        self.network.result_of(peer.connect("ipv4://10.0.1.1:1"))
        self.network.settle()
        self.network.stop(leaf)
        self.kill(peer)
        self.network.settle(1)
        self.assertEqual(self.ids(proxy), [ROOT])
        self.assertEqual(proxy.state, "running")
        self.assertEqual(self.diaries[proxy].states(), ["starting", "running"])
        self.assertEqual(self.diaries[proxy].of("on_upstream_changed"), [(ROOT,)])

    def test_children_of_a_proxy_stay(self) -> None:
        """
        A proxy that has lost its upstream still serves those below it.

        Scenario: I7
        """
        root = self.root()
        proxy = self.child(0x10100, listen=["ipv4://10.0.1.1:1"], subnets=[(0, 8)])
        leaf = self.node(0x10101, upstream="ipv4://10.0.1.1:1")
        self.network.start(root, proxy, leaf)
        self.network.settle()
        self.network.stop(root)
        self.network.settle(60)
        self.assertEqual(self.ids(proxy), [0x10101])
        self.assertEqual(leaf.state, "running")
        leaf.on_request(lambda source, payload: payload)
        self.assertEqual(self.network.result_of(proxy.request(0x10101, b"hi")), b"hi")

    def test_what_was_behind_the_parent_cannot_be_reached(self) -> None:
        """
        Sending to a node that only the parent knew is refused at once.

        Scenario: I8
        """
        root, child = self.pair()
        self.network.stop(root)
        self.network.settle()
        for target in (SIBLING, ROOT, 0x999999):
            error = self.assertRaises(Undeliverable, child.send, target, b"?")
            self.assertIn(error.status, (Status.NO_ROUTE, Status.NOT_CONNECTED))
            waiting = child.deliver(target, b"?")
            self.assertTrue(waiting.called)
            self.failure_of(waiting, Undeliverable)

    def test_a_transfer_that_is_cut(self) -> None:
        """
        What is not known to have arrived is reported; later messages are refused until it is back.

        Scenario: I10
        """
        root, child = self.pair()
        keeper = Keeper()
        root.receiver = keeper
        fates: list[Any] = []
        child.events.on_forward_response.observe(fates.append)
        for channel in self.network.between(child, root):
            channel.stall()
        sent = [child.send(ROOT, b"x" * 1000) for _ in range(100)]
        self.network.settle(0.1)
        self.network.cut(root, child)
        self.network.settle(0.01)
        told = {fate.first_sequence + i for fate in fates for i in range(fate.count)}
        self.assertEqual(told, set(sent))
        self.assertEqual(keeper.payloads, [])
        self.assertRaises(Undeliverable, child.send, ROOT, b"later")
        self.network.settle(2)
        child.send(ROOT, b"again")
        self.network.settle(0.1)
        self.assertEqual(keeper.payloads, [b"again"])


class RefusalTests(BusTests):
    """An upstream that says no."""

    def test_refusal_before_the_node_was_ever_up(self) -> None:
        """
        The node ends with that reason; it was never down, for it was never up.

        Scenario: I4, H5
        """
        root = self.root(access_tokens=["right"])
        child = self.child(access_tokens=["wrong"])
        self.network.start(root)
        self.assertEqual(self.refusal_of(child.start()), Status.ACCESS_DENIED)
        self.assertEqual(child.state, "stopped")
        self.assertIn("ACCESS_DENIED", self.diaries[child].errors())
        self.assertEqual(self.diaries[child].story("node_up", "node_down"), [])
        self.assertEqual(root.state, "running")

    def test_each_kind_of_refusal(self) -> None:
        """
        Version, conflict and ranges end a node that was never up as well.

        Scenario: I4
        """
        root, child = self.pair()
        double = self.child()
        self.assertEqual(self.refusal_of(double.start()), Status.ID_CONFLICT)
        wide = self.child(SIBLING, subnets=[(0x50000, 16)])
        self.assertEqual(self.refusal_of(wide.start()), Status.SUBNET_CONFLICT)
        self.network.stop(root, child)
        terms = make_terms(ROOT, versions=(7, 9))
        stranger = Stranger(self.network, terms).listen(ROOT_ADDRESS)
        old = self.child()
        self.assertEqual(self.refusal_of(old.start()), Status.UNSUPPORTED_VERSION)
        self.network.result_of(stranger.listener.stop())
        self.assertEqual([each.state for each in (double, wide, old)], ["stopped"] * 3)

    def test_refusal_after_the_node_was_up(self) -> None:
        """
        It is an error, and the node goes on asking.

        Scenario: I5
        """
        root, child = self.pair()
        self.network.stop(root)
        strict = self.root(access_tokens=["new"])
        self.network.start(strict)
        self.network.settle(100)
        self.assertEqual(child.state, "lost_upstream")
        refused = self.diaries[child].errors().count("ACCESS_DENIED")
        self.assertGreaterEqual(refused, 2)
        self.assertLessEqual(refused, 2 + 100 / limits.REFUSED_SECONDS)
        self.network.stop(strict)
        self.network.start(root)
        self.network.settle(limits.REFUSED_SECONDS + 10)
        self.assertEqual(child.state, "running")

    def test_refused_by_the_first_of_two(self) -> None:
        """After having been up, a candidate that refuses does not keep the next from its turn."""
        root = self.root()
        spare = self.root(listen=[SPARE_ADDRESS], access_tokens=["new"])
        child = self.node(CHILD, upstreams=[ROOT_ADDRESS, SPARE_ADDRESS])
        self.network.start(root, child)
        self.network.stop(root)
        self.network.start(spare)
        self.network.settle(50)
        self.network.start(root)
        self.network.settle(2 * limits.REFUSED_SECONDS)
        self.assertEqual(self.ids(child), [ROOT])

    def test_something_else_listens_there(self) -> None:
        """Bytes that are not atbus refuse nothing: the node asks again, not too often."""
        stranger = Stranger(self.network).listen(ROOT_ADDRESS)
        child = self.child()
        started = child.start()
        self.network.settle(0.1)
        stranger.say_raw(b"\x08\0\0\0HTTP")
        self.network.settle(10)
        self.assertFalse(started.called)
        self.assertEqual(len(self.network.dials), 1)
        self.network.result_of(stranger.listener.stop())
        self.network.stop(child)
        self.assertRaises(RegistrationRefused, self.network.result_of, started)
