"""What others can make a node hold, added up, and what its control group has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus import limits
from atbus.node import bounds, footprint
from atbus.node.config import NodeConfig
from atbus.routing.fragments import Reassembly

ONE = 0x10001


def by_name(config: NodeConfig) -> dict[str, int]:
    """Give each kind with its bytes."""
    return {each.what: each.most_bytes for each in footprint.holdings(config)}


class HoldingsTests(SynchronousTestCase):
    """The sum of the bounds."""

    def test_what_options_change(self) -> None:
        """Each kind that names an option is as large as that option makes it, and no other is."""
        usual = by_name(NodeConfig(id=ONE))
        cases: tuple[tuple[dict[str, Any], dict[str, int], str], ...] = (
            (
                {"interest_bytes": 4_194_304},
                {"what neighbors want of subjects": 16_777_216},
                "limits.interest_bytes",
            ),
            (
                {"queued_bytes_node": 16_777_216},
                {
                    "queues": 16_777_216,
                    "fragments of messages": 8_388_608,
                    "fragments of publications": 8_388_608,
                },
                "limits.queued_bytes_node",
            ),
            (
                {"window_bytes": 1_000},
                {"messages that receivers have not taken": 4_000},
                "limits.window_bytes",
            ),
            ({"shm_lanes_max": 0}, {"lanes of shared memory": 0}, "shm.lanes_max"),
        )
        for option, less, changed in cases:
            config = NodeConfig(id=ONE, **option)
            now = by_name(config)
            self.assertEqual(now, usual | less)
            named = {each.what for each in footprint.holdings(config) if each.option == changed}
            self.assertEqual(named, set(less))

    def test_lanes(self) -> None:
        """Lanes have as much as their number and their bytes allow, whichever is less."""
        cases: tuple[tuple[dict[str, Any], int], ...] = (
            ({"shm_lanes_max": 8}, 8 * limits.LANE_BYTES),
            ({"shm_lanes_max": 8, "shm_bytes_max": 5_000_000}, 5_000_000),
            ({"shm_lanes_max": 2, "shm_lane_bytes": 65_536}, 131_072),
        )
        for option, most in cases:
            self.assertEqual(by_name(NodeConfig(id=ONE, **option))["lanes of shared memory"], most)

    def test_fragments(self) -> None:
        """What is reckoned for fragments is what there is room for, whatever is configured."""
        room = Reassembly(0, source_bytes_max=0, message_bytes_max=0, count_max=1, seconds=1.0)
        for longest, queued in ((1_000, 64_000), (8_388_608, 2**24), (67_108_864, 2**27)):
            config = NodeConfig(
                id=ONE,
                message_bytes_max=longest,
                queued_bytes_node=queued,
                queued_bytes_hard=queued,
                queued_bytes_soft=queued // 4,
            )
            room.resize(longest, queued)
            self.assertEqual(by_name(config)["fragments of messages"], room.bytes_max)

    def test_order_and_sum(self) -> None:
        """The largest stands first; with the limits of a small container it is half a gigabyte."""
        small = NodeConfig(id=ONE, interest_bytes=4_194_304, queued_bytes_node=16_777_216)
        sizes = [each.most_bytes for each in footprint.holdings(small)]
        self.assertEqual(sizes, sorted(sizes, reverse=True))
        self.assertLess(sum(sizes), 2**29)
        self.assertGreater(sum(sizes), 2**28)
        self.assertGreater(by_name(small)["answers and commands"], bounds.OWED_BYTES_MAX)


class MemoryLimitTests(SynchronousTestCase):
    """The bound that the kernel holds a process to."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        self.proc = self.root.parent / f"{self.root.name}.proc"

    def limit(self, groups: str, **files: str) -> int | None:
        """Ask with such groups, and files named by their folders, ``__`` for ``/``."""
        self.proc.write_text(groups, encoding="utf-8")
        for name, text in files.items():
            path = self.root / name.replace("__", "/").replace("-", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="ascii")
        return footprint.memory_limit(self.proc, self.root)

    def test_both_versions(self) -> None:
        """A group's own bound, or the least of those around it."""
        newer = {"a__b__memory-max": "900\n", "a__memory-max": "500\n", "memory-max": "max\n"}
        self.assertEqual(self.limit("0::/a/b\n", **newer), 500)
        self.assertEqual(self.limit("0::/a/b/c\n", a__b__c__memory__max="", **newer), 500)
        older = {"memory__a__memory-limit_in_bytes": "700\n"}
        self.assertEqual(self.limit("5:cpu:/\n4:memory,hugetlb:/a\n0::/\n", **older), 700)
        self.assertEqual(self.limit("4:memory:/a\n0::/a/b\n"), 500)

    def test_in_a_container(self) -> None:
        """The path is the host's, and the root is the container's group."""
        self.assertEqual(
            self.limit("0::/kubepods/pod1/c1\n", **{"memory-max": "268435456\n"}), 268_435_456
        )
        self.assertEqual(self.limit("0::/../../c1\n"), 268_435_456)

    def test_no_bound(self) -> None:
        """Where there is none, or none that can be read, there is nothing to say."""
        self.root.mkdir()
        self.assertIsNone(footprint.memory_limit(self.root / "none", self.root))
        for groups in ("", "0::/a\n", "nonsense\n", "4:memory\n", "::::\n", "0::/\0\n"):
            self.assertIsNone(self.limit(groups), groups)
        unbound = {
            "memory-max": "max\n",
            "memory__memory-limit_in_bytes": "9223372036854771712\n",
            "a__memory-max": "-1\n",
        }
        self.assertIsNone(self.limit("0::/a\n4:memory:/\n", **unbound))
        (self.root / "a" / "memory.max").write_bytes(b"\xff\xfe")
        self.assertIsNone(self.limit("0::/a\n"))
