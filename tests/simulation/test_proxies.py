"""Proxies are drained, stopped, added and killed while leaves talk."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.checker import Verdict
from atbus.testing.virtual_bus import VirtualBus
from tests.simulation.case import seeds
from tests.simulation.proxies import LEAVES, PROXIES, ProxyBus


class PlannedTests(SynchronousTestCase):
    """What somebody does on purpose loses, duplicates and reorders nothing."""

    def check(self, proxies: ProxyBus) -> Verdict:
        """Every message was accepted, and has arrived in order."""
        verdict = proxies.bus.finish(calm_seconds=5.0)
        self.assertEqual(proxies.refused, [])
        self.assertEqual(proxies.bus.orders_given_up, 0)
        self.assertEqual((verdict.delivered, verdict.reordered), (verdict.sent, 0))
        self.assertTrue(verdict.sent > 1_000, verdict.sent)
        return verdict

    def test_two_to_four_to_one(self) -> None:
        """Two proxies become four, to which leaves move that prefer them, and then one."""
        for seed in seeds(900, 2):
            with VirtualBus(seed) as bus:
                proxies = ProxyBus(bus, mesh=bool(seed % 2))
                proxies.start(PROXIES[:2])
                proxies.talk(seconds=14)
                bus.run(1)
                for added in PROXIES[2:]:
                    proxies.add(added)
                bus.run(5)
                self.assertEqual(
                    [proxies.upstream_of(leaf) for leaf in LEAVES], [*PROXIES, *PROXIES[:2]]
                )
                for leaving in PROXIES[:3]:
                    drained = bus.result_of(bus[leaving].drain())
                    self.assertEqual(drained.stayed, ())
                    self.assertLess(drained.seconds, 5)
                self.assertEqual({proxies.upstream_of(leaf) for leaf in LEAVES}, {PROXIES[3]})
                self.check(proxies)

    def test_words_of_moves_come_late(self) -> None:
        """
        Leaves move below a proxy that has just come and connects to the others because of them.

        The one above hears of the moves when it has data of those who moved: that waits there,
        and nothing that takes a new connection between two proxies overtakes it.
        """
        policy = [{"name": "home", "action": "allow", "own_proxy": True}]
        for seed in seeds(933, 4):
            with VirtualBus(seed, delay_seconds=0.001) as bus:
                proxies = ProxyBus(
                    bus, direct_connections=True, policy=policy, upstream_return_seconds=1.0
                )
                proxies.start(PROXIES[:2])
                proxies.talk(seconds=6)
                bus.run(1)
                for added in PROXIES[2:]:
                    proxies.add(added)
                    proxies.late_words(added, seconds=2)
                    bus.run(2.5)
                    self.assertEqual(bus[added].endpoints[PROXIES[0]].position.value, "peer")
                self.check(proxies)

    def test_a_rolling_restart(self) -> None:
        """Each proxy is stopped and started again, one after the other."""
        for seed in seeds(920, 2):
            with VirtualBus(seed) as bus:
                proxies = ProxyBus(bus, mesh=bool(seed % 2))
                proxies.start()
                proxies.talk(seconds=20)
                bus.run(1)
                for proxy in PROXIES:
                    bus.result_of(bus[proxy].stop())
                    bus.start(bus[proxy])
                    proxies.join(proxy)
                    bus.run(3)
                bus.run(3)
                self.assertEqual(
                    [proxies.upstream_of(leaf) for leaf in LEAVES], [*PROXIES, *PROXIES[:2]]
                )
                self.check(proxies)


class UnplannedTests(SynchronousTestCase):
    """What nobody wants."""

    def test_a_proxy_is_killed(self) -> None:
        """Every message has a fate, and leaves talk on through another proxy."""
        for seed in seeds(940, 2):
            with VirtualBus(seed) as bus:
                proxies = ProxyBus(bus, mesh=bool(seed % 2))
                proxies.start()
                proxies.talk(seconds=8)
                bus.run(2)
                bus.kill(bus[PROXIES[0]])
                bus.run(3)
                bus.restart(PROXIES[0])
                bus.run(3)
                self.assertTrue(all(proxies.is_up(leaf) for leaf in LEAVES))

    def test_drains_in_bad_weather(self) -> None:
        """A proxy is drained while links break and processes die and freeze; promises are kept."""
        for seed in seeds(960, 4):
            with VirtualBus(seed) as bus:
                proxies = ProxyBus(bus, mesh=bool(seed % 2))
                proxies.start()
                proxies.talk(seconds=8)
                bus.weather(seconds=6, faults=4)
                bus.later(1.0, PROXIES[0], lambda node: node.drain())
                bus.later(3.0, PROXIES[1], lambda node: node.drain())
                bus.run(10)
