"""Nodes that have their ids assigned."""

from __future__ import annotations

from atbus.busid import Subnet
from atbus.errors import RegistrationRefused, Status, Undeliverable
from atbus.routing.relation import Relation
from tests.node.bus import ROOT, ROOT_ADDRESS, BusTests, Keeper


class AutoIdTests(BusTests):
    """A root that has ids to give, and automatic children."""

    def test_an_id_of_the_upstreams_range(self) -> None:
        """The node is up under an id that the upstream chose, and both know it by that."""
        root, child = self.root(), self.child("auto")
        self.network.start(root, child)
        self.network.settle()
        self.assertTrue(Subnet(ROOT, 16).contains(child.bus_id))
        self.assertNotEqual(child.bus_id, ROOT)
        self.assertEqual(self.ids(root), [child.bus_id])
        self.assertIs(root.relation_to(child.bus_id), Relation.IMMEDIATE_DOWNSTREAM)
        self.assertIs(child.relation_to(ROOT), Relation.IMMEDIATE_UPSTREAM)
        child.on_request(lambda source, payload: payload)
        self.assertEqual(self.network.result_of(root.request(child.bus_id, b"?")), b"?")

    def test_a_range_below_it(self) -> None:
        """An automatic proxy gets a range, and its children are reached from everywhere."""
        root = self.root()
        proxy = self.child("auto", listen=["ipv4://10.0.0.7:1"], subnets=["0/4"])
        self.network.start(root, proxy)
        known = root.endpoints[proxy.bus_id].peer.request.subnets
        self.assertEqual(known, (Subnet(proxy.bus_id, 4),))
        leaf = self.child(proxy.bus_id ^ 1, upstream="ipv4://10.0.0.7:1")
        other = self.child("auto")
        self.network.start(leaf, other)
        self.network.settle()
        self.assertFalse(Subnet(proxy.bus_id, 4).contains(other.bus_id))
        leaf.on_request(lambda source, payload: b"%x" % source)
        answer = self.network.result_of(other.request(leaf.bus_id, b"who am I?"))
        self.assertEqual(answer, b"%x" % other.bus_id)
        self.assertIs(root.relation_to(leaf.bus_id), Relation.TRANSITIVE_DOWNSTREAM)

    def test_before_it_has_an_id(self) -> None:
        """It has none, takes nobody in and sends nothing."""
        child = self.child("auto", listen=["ipv4://10.0.0.7:1"])
        started = child.start()
        self.network.settle(1)
        self.assertEqual(child.bus_id, 0)
        self.assertRaises(Undeliverable, child.send, ROOT, b"?")
        peer = self.node(0x50000)
        self.network.start(peer)
        waiting = peer.connect("ipv4://10.0.0.7:1")
        error = self.failure_of(waiting, RegistrationRefused)
        self.assertEqual(error.status, Status.NOT_STARTED)
        self.network.stop(child)
        self.assertEqual(self.refusal_of(started), Status.STOPPED)

    def test_many_are_different(self) -> None:
        """Each gets an id of its own, also when all come at the same moment."""
        root = self.root()
        self.network.start(root)
        children = [self.child("auto") for _ in range(20)]
        for starting in [child.start() for child in children]:
            self.network.result_of(starting)
        self.network.settle()
        self.assertEqual(len({child.bus_id for child in children}), 20)
        self.assertEqual(self.ids(root), sorted(child.bus_id for child in children))
        for child in children:
            self.assertEqual(self.diaries[child].added(), [ROOT])

    def test_a_proxy_that_comes_back(self) -> None:
        """
        While it was away nobody has got an id of its range.

        One such id would keep it out for as long as somebody has it.
        """
        root = self.root(subnets=["0/4"])
        proxy = self.child(ROOT + 8, subnets=["0/3"])
        self.network.start(root, proxy)
        self.kill(proxy)
        self.network.settle()
        children = [self.child("auto") for _ in range(7)]
        self.network.start(*children)
        self.assertEqual(sorted(each.bus_id for each in children), list(range(ROOT + 1, ROOT + 8)))
        again = self.child(ROOT + 8, subnets=["0/3"])
        self.network.start(again)
        self.assertIn(ROOT + 8, self.ids(root))

    def test_an_automatic_proxy_that_has_gone(self) -> None:
        """It asks for any range when it comes back, so what it had is free at once."""
        root = self.root(subnets=["0/6"])
        proxy = self.child("auto", subnets=["0/5"])
        self.network.start(root, proxy)
        former = Subnet(proxy.bus_id, 5)
        self.network.stop(proxy)
        children = [self.child("auto") for _ in range(20)]
        self.network.start(*children)
        self.assertTrue(any(former.contains(each.bus_id) for each in children))

    def test_two_of_them_talk(self) -> None:
        """What one sends under its assigned id can be answered."""
        root = self.root()
        one, two = self.child("auto"), self.child("auto")
        self.network.start(root, one, two)
        self.network.settle()
        two.on_request(lambda source, payload: b"%x" % source)
        answer = self.network.result_of(one.request(two.bus_id, b"who am I?"))
        self.assertEqual(answer, b"%x" % one.bus_id)

    def test_the_id_is_kept_on_reconnection(self) -> None:
        """A link that was cut, and an upstream that was restarted, change nothing."""
        root, child = self.root(), self.child("auto")
        self.network.start(root, child)
        self.network.settle()
        mine = child.bus_id
        self.network.cut(root, child)
        self.network.settle(5)
        self.assertEqual((child.bus_id, child.state), (mine, "running"))
        self.kill(root)
        again = self.root()
        self.network.start(again)
        self.network.settle(10)
        self.assertEqual((child.bus_id, child.state), (mine, "running"))
        self.assertEqual(self.ids(again), [mine])

    def test_an_id_that_somebody_else_has_by_now(self) -> None:
        """
        When the upstream gave the id away meanwhile, the node takes another one, soon.

        It keeps running, and is known by its new id only.
        """
        root, child = self.root(), self.child("auto")
        self.network.start(root, child)
        self.network.settle()
        mine = child.bus_id
        self.network.split(root, child)
        self.network.settle(30)
        self.assertEqual(child.state, "lost_upstream")
        usurper = self.child(mine)
        self.network.start(usurper)
        self.network.heal(root, child)
        self.network.clock.run_until(lambda: "ID_CONFLICT" in self.diaries[child].errors(), 45)
        self.assertEqual(child.state, "lost_upstream")
        self.assertTrue(self.network.clock.run_until(lambda: child.state == "running", 20))
        self.network.settle()
        self.assertNotEqual(child.bus_id, mine)
        self.assertEqual(self.ids(root), sorted([mine, child.bus_id]))
        keepers = Keeper(), Keeper()
        child.receiver, usurper.receiver = keepers
        root.send(child.bus_id, b"child")
        root.send(mine, b"usurper")
        self.network.settle()
        self.assertEqual([keeper.payloads for keeper in keepers], [[b"child"], [b"usurper"]])
        usurper.on_request(lambda source, payload: b"%x" % source)
        answer = self.network.result_of(child.request(mine, b"who am I?"))
        self.assertEqual(answer, b"%x" % child.bus_id)

    def test_an_upstream_of_another_range(self) -> None:
        """An id of the former upstream's range is of no use under the next one, and is changed."""
        root, child = self.root(), self.child("auto")
        self.network.start(root, child)
        mine = child.bus_id
        self.network.stop(root)
        other = self.node(0x50000, listen=[ROOT_ADDRESS], subnets=[(0, 16)])
        self.network.start(other)
        self.network.settle(60)
        self.assertEqual(child.state, "running")
        self.assertTrue(Subnet(0x50000, 16).contains(child.bus_id))
        self.assertNotEqual(child.bus_id, mine)
        self.assertEqual(self.ids(other), [child.bus_id])

    def test_an_id_inside_somebody_elses_range(self) -> None:
        """
        An id that was given while its owner's range was not known: the owner's comes first, once
        the automatic node has to register again.
        """
        root = self.root(subnets=[(0, 8)])
        child = self.child("auto")
        self.network.start(root, child)
        mine = child.bus_id
        self.network.split(root, child)
        self.network.settle(30)
        owner = self.child(mine ^ 1, subnets=[(0, 4)])
        self.network.start(owner)
        self.network.heal(root, child)
        self.network.settle(60)
        self.assertEqual(child.state, "running")
        self.assertFalse(Subnet(mine, 4).contains(child.bus_id))
        self.assertEqual(self.ids(root), sorted([owner.bus_id, child.bus_id]))

    def test_those_who_knew_it_by_the_old_id(self) -> None:
        """Children and tools of an automatic node register anew when its id has changed."""
        root = self.root()
        proxy = self.child("auto", listen=["ipv4://10.0.0.7:1"])
        tool = self.node(0, upstream="ipv4://10.0.0.7:1")
        peer = self.node(0x50000)
        self.network.start(root, proxy, tool, peer)
        self.network.result_of(peer.connect("ipv4://10.0.0.7:1"))
        self.network.settle()
        mine = proxy.bus_id
        self.network.split(root, proxy)
        self.network.settle(30)
        usurper = self.child(mine)
        self.network.start(usurper)
        self.network.heal(root, proxy)
        self.network.settle(60)
        self.assertEqual(proxy.state, "running")
        self.assertNotEqual(proxy.bus_id, mine)
        self.assertEqual(tool.state, "running")
        self.assertEqual(self.ids(tool), [proxy.bus_id])
        self.assertEqual([who for who, _ in self.diaries[peer].removed()], [mine])
        self.network.result_of(peer.connect("ipv4://10.0.0.7:1"))
        self.assertEqual(self.ids(peer), [proxy.bus_id])

    def test_a_refusal_for_another_reason(self) -> None:
        """Only a conflict costs the id: who is refused for its token comes back under it."""
        root, child = self.root(), self.child("auto")
        self.network.start(root, child)
        mine = child.bus_id
        self.network.stop(root)
        strict = self.root(access_tokens=["new"])
        self.network.start(strict)
        self.network.settle(40)
        self.assertIn("ACCESS_DENIED", self.diaries[child].errors())
        self.network.stop(strict)
        other = self.root(subnets=[(0, 16)])
        self.network.start(other)
        self.network.settle(60)
        self.assertEqual(child.state, "running")
        self.assertEqual(child.bus_id, mine)

    def test_no_id_is_left(self) -> None:
        """An upstream without free ids says so, and a node that was never up ends."""
        root = self.root(subnets=[(0, 1)])
        first = self.child("auto")
        self.network.start(root, first)
        second = self.child("auto")
        self.assertEqual(self.refusal_of(second.start()), Status.NO_FREE_ID)
        self.assertEqual(second.state, "stopped")
        self.assertIn((0, "CONTROL", "NO_FREE_ID"), self.diaries[root].registrations())

    def test_an_id_that_was_given_back(self) -> None:
        """When its holder has left, the id is free for the next one."""
        root = self.root(subnets=[(0, 1)])
        first, second = self.child("auto"), self.child("auto")
        self.network.start(root, first)
        self.network.stop(first)
        self.network.start(second)
        self.assertEqual(second.bus_id, first.bus_id)

    def test_starting_again(self) -> None:
        """A node that is stopped and started again asks for the id that it had."""
        root = self.root()
        child = self.child("auto")
        self.network.start(root, child)
        mine = child.bus_id
        self.network.stop(child)
        self.network.start(child)
        self.network.settle()
        self.assertEqual(child.bus_id, mine)
        self.assertEqual(self.ids(root), [mine])

    def test_peers_do_not_assign(self) -> None:
        """Before it has an id an automatic node cannot dial anybody but its upstream."""
        peer = self.node(0x50000, listen=["ipv4://10.0.0.7:1"], subnets=[(0, 8)])
        child = self.child("auto")
        self.network.start(peer)
        started = child.start()
        self.network.settle(0.5)
        self.failure_of(child.connect("ipv4://10.0.0.7:1"), RegistrationRefused)
        self.network.settle()
        self.assertEqual(child.bus_id, 0)
        self.assertEqual(peer.endpoints, {})
        self.network.stop(child)
        self.refusal_of(started)
