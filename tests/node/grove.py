"""Trees of nodes of any depth, whose subscribers come and go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from atbus.node.node import Node
from atbus.node.publication import Publication
from atbus.node.subscription import Subscription
from atbus.wire.messages import Capability
from tests.node.bus import BusTests

# Each level has four bits of the id, so a node has room for fifteen below it.
_DEPTH_MAX = 7


def id_of(path: str) -> int:
    """
    Give the id of a node.

    :param path: A digit for each level: "1" is the root, "12" is below it, "123" below that.
    """
    return int(path.ljust(_DEPTH_MAX, "0"), 16)


def address_of(path: str) -> str:
    """Say where a node listens."""
    number = id_of(path)
    return f"ipv4://10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}:{1 + len(path)}"


class GroveTests(BusTests):
    """Nodes that are named by their place in a tree, and who among them has got which question."""

    def setUp(self) -> None:
        super().setUp()
        self.at: dict[str, Node] = {}
        #: What somebody has got, and of what it was said that nobody has.
        self.taken: set[bytes] = set()
        self.missed: list[bytes] = []

    def plant(
        self,
        *paths: str,
        old: Sequence[str] = (),
        doors: Mapping[str, Any] | None = None,
        zones: Mapping[str, str] | None = None,
    ) -> None:
        """
        Start nodes, each below the one whose path is one digit shorter.

        :param old: Those that know of no tallies, as in earlier releases.
        :param doors: Those with a door for clients of NATS, and what is said of it.
        :param zones: Those that are in a zone, and prefer what is near.
        """
        for path in paths:
            options: dict[str, Any] = {
                "listen": [address_of(path)],
                "subnets": [(0, 4 * (_DEPTH_MAX - len(path)))],
                "direct_notice": False,
            }
            if len(path) > 1:
                options["upstream"] = address_of(path[:-1])
            if zones and path in zones:
                options |= {"labels": {"zone": zones[path]}, "queue_policy": "nearest"}
            if doors and path in doors:
                options["nats"] = doors[path]
            self.at[path] = self.node(id_of(path), **options)
            if path in old:
                self.at[path]._parts.dialer.capabilities &= ~Capability.TALLIES
        self.network.start(*self.at.values())
        self.network.settle()

    def listen(self, path: str, queue: str = "", *, late: bool = False) -> Subscription:
        """
        Listen on subject "q", and note what comes.

        :param late: Whether nothing is answered.
        """

        def take(question: Publication) -> bytes | Deferred[bytes]:
            self.taken.add(question.payload)
            return Deferred() if late else b"here"

        return self.at[path].subscribe("q", take, queue=queue)

    def leave(self, *places: str) -> None:
        """
        Let nodes listen, and leave when all know of it; nobody hears of that until `tell`.

        :param places: Paths; behind a colon the queue group.
        """
        gone = [self.listen(path, queue) for path, _, queue in (x.partition(":") for x in places)]
        self.network.settle()
        self.hush()
        for each in gone:
            each.unsubscribe()

    def hush(self) -> None:
        """Let no node tell of interest, as if the word were on its way."""
        for node in self.at.values():
            node._parts.subjects.talk._flush_asked = True

    def tell(self) -> None:
        """Let the nodes tell what has changed since."""
        for node in self.at.values():
            if node not in self.dead:
                node._parts.subjects.talk._flush()
        self.network.settle()

    def ask(self, path: str, question: bytes = b"?") -> None:
        """Ask, and note it when nobody has got it."""
        self.at[path].publish(
            "q", question, reply_to="box", unheard=partial(self.missed.append, question)
        )

    def tallies(self) -> dict[str, int]:
        """Give those that count for questions that have parted there, and for how many."""
        found = {
            path: len(node._parts.subjects.publishing.counting._parted)
            for path, node in self.at.items()
        }
        return {path: count for path, count in found.items() if count}

    def words(self) -> int:
        """Count what has been said so far, of anything."""
        return sum(node.statistics.responses_sent for node in self.at.values())
