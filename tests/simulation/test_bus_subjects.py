"""
Subscribers on whole buses in bad weather, whose nodes move between upstreams and connect anywhere.

``ATBUS_SEEDS=7`` runs seed 7 only, ``ATBUS_SEEDS=1-500`` many.
"""

from __future__ import annotations

from collections import Counter
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import Undeliverable
from atbus.node.node import Node
from atbus.node.publication import Publication
from atbus.testing.bus_model import BusModel
from atbus.testing.bus_storm import BusStorm
from atbus.testing.virtual_bus import VirtualBus
from tests.simulation.case import ride_out, seeds
from tests.simulation.field import GROUPS, PATTERNS, SUBJECTS, is_for

# What was published and by whom, for one subscriber or one group: may come once.
_Seen = Counter[tuple[object, int, int, bytes]]


class _Reader:
    """A subscriber of a node's program, in one life of it."""

    def __init__(self, node: Node, pattern: str, queue: str, seen: _Seen) -> None:
        self.pattern = pattern
        self.queue = queue
        self.name = f"{node.config.id:#x} {pattern} {queue}"
        self.payloads: list[bytes] = []
        self._seen = seen
        node.subscribe(pattern, self._take, queue=queue)

    def _take(self, publication: Publication) -> None:
        self.payloads.append(publication.payload)
        who: object = self.queue or self
        self._seen[who, publication.source, publication.sequence, publication.payload] += 1


class SubjectStorm(BusStorm):
    """
    A storm over nodes that publish and subscribe as well.

    When it is quiet everybody publishes on everything: who wants it gets it once, and one of each
    group does. Nothing comes twice at any time.
    """

    def __init__(self, bus: VirtualBus, count: int) -> None:
        self.readers: dict[int, list[_Reader]] = {}
        self.seen: _Seen = Counter()
        super().__init__(bus, count)

    def _live(self, node: Node) -> None:
        super()._live(node)
        lot = Random(f"subscriptions of {node.config.id} with {self.bus.seed}")
        self.readers[node.config.id] = [
            _Reader(node, lot.choice(PATTERNS), lot.choice(GROUPS), self.seen)
            for _ in range(lot.choice((0, 1, 1, 2)))
        ]

    def _burst(self, node: Node) -> None:
        super()._burst(node)
        payload = b"%x %d" % (node.bus_id, self.random.getrandbits(62))
        try:
            node.publish(self.random.choice(SUBJECTS), payload)
        except Undeliverable:
            return

    def _send_samples(self, model: BusModel) -> None:
        self._wait_for_stragglers()
        readers = [each for some in self.readers.values() for each in some]
        for reader in readers:
            reader.payloads.clear()
        published = [
            (subject, b"%x %s" % (bus_id, subject.encode()))
            for bus_id in self.candidates
            for subject in SUBJECTS
        ]
        for bus_id in self.candidates:
            for subject in SUBJECTS:
                self.bus[bus_id].publish(subject, b"%x %s" % (bus_id, subject.encode()))
        self.bus.run(8.0)
        for reader in readers:
            if not reader.queue:
                self._compare(reader.name, [reader], published)
        for queue in filter(None, sorted(set(GROUPS))):
            members = [each for each in readers if each.queue == queue]
            self._compare(f"group {queue}", members, published)
        self.found += [f"{key} came {count} times" for key, count in self.seen.items() if count > 1]
        if not self.found:
            super()._send_samples(model)

    def _compare(
        self, who: str, readers: list[_Reader], published: list[tuple[str, bytes]]
    ) -> None:
        """Compare what some have got together with what they are to get."""
        wanted = sorted(
            payload
            for subject, payload in published
            if any(is_for(reader.pattern, subject) for reader in readers)
        )
        found = sorted(payload for reader in readers for payload in reader.payloads)
        if found != wanted:
            missing = sorted(set(wanted) - set(found))
            self.found.append(f"{who} got {len(found)} of {len(wanted)}, not {missing[:5]}")


class BusSubjectTests(SynchronousTestCase):
    """Regions of proxies and leaves, all of which publish and subscribe."""

    def test_storms(self) -> None:
        """
        Whatever has happened, afterwards each publication finds everybody it is for, once.

        With some of these seeds programs connect leaves past their upstreams, to somebody above.
        """
        for seed in seeds(1, 25):
            with self.subTest(seed):
                ride_out(seed, SubjectStorm)
