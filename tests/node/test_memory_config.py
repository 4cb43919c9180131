"""How much memory a node may share: what follows from what."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from atbus.errors import ConfigurationError
from atbus.node.config import NodeConfig, difference


class MemoryTests(SynchronousTestCase):
    """The options of shared memory."""

    def faults(self, **options: Any) -> list[str]:
        """Give the faults of a configuration."""
        error = self.assertRaises(ConfigurationError, NodeConfig, **options)
        return list(error.faults)

    def test_memory_follows_the_number_of_lanes(self) -> None:
        """More lanes have more memory, and larger ones, unless it was given itself."""
        config = NodeConfig(shm_lanes_max=32)
        self.assertEqual(config.shm_bytes_max, 32 * config.shm_lane_bytes)
        small = config.replace(shm_lane_bytes=65_536)
        self.assertEqual(small.shm_bytes_max, 32 * 65_536)
        self.assertEqual(NodeConfig().replace(shm_lanes_max=2).shm_bytes_max, 2 * 4_194_304)
        given = config.replace(shm_bytes_max=10_000_000)
        self.assertEqual(given.replace(shm_lanes_max=1).shm_bytes_max, 10_000_000)
        self.assertEqual(
            difference(NodeConfig(), config)[0], frozenset({"shm_lanes_max", "shm_bytes_max"})
        )

    def test_memory_for_less_than_one_lane(self) -> None:
        """A budget in which no lane would fit is a fault, unless there is to be none."""
        self.assertEqual(
            self.faults(shm_bytes_max=100_000),
            ["shm_bytes_max: 100000 bytes are less than one lane of 4194304 bytes"],
        )
        NodeConfig(shm_bytes_max=100_000, shm_lane_bytes=65_536)
        NodeConfig(shm_bytes_max=100_000, shm_lanes_max=0)
