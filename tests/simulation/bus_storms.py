"""Storms over buses of up to thirty nodes, for several test modules: two workers share them."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.trial.unittest import SynchronousTestCase

from atbus.testing.bus_storm import tell


class BusStormTests(SynchronousTestCase):
    """
    Regions of proxies and leaves, in bad weather and after it, or when nodes leave and come back.

    Every message has one fate, arrives once, whole, in order and at nobody else; nobody holds more
    than it may. In the end all links, tables and next hops are what a naive model says, messages
    pass the nodes that it names, who leaves changes the ways through it only, and nothing is left
    over.
    """

    def ride_out(self, which: Iterable[int]) -> None:
        """Let seeds happen; a failure shows all that failed, and how to have them again."""
        told = [text for seed in which if (text := tell(seed))]
        if told:
            self.fail("\n\n".join(told))
