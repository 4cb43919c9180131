"""Somebody who breaks the protocol again and again."""

from __future__ import annotations

from atbus import limits
from atbus.node import doorway
from tests.node.bus import CHILD, ROOT_ADDRESS, BusTests
from tests.node.stranger import Stranger

# A frame of 40 bytes of a type that there is not.
NONSENSE = (40).to_bytes(4, "little") + b"\xff" * 36


class BanTests(BusTests):
    """A node keeps him out."""

    def test_security_kept_out(self) -> None:
        """After some breaches his address is kept out for a minute, and nobody else."""
        origins = {"": "192.0.2.1"}
        self.patch(doorway, "origin_of", lambda _peer: origins[""])
        root = self.root()
        self.network.start(root)
        for number in range(limits.BREACHES_PER_MINUTE):
            stranger = Stranger(self.network).dial(ROOT_ADDRESS)
            self.assertIsNone(stranger.ended, number)
            stranger.say_raw(NONSENSE)
            self.assertIsNotNone(stranger.ended, number)
        self.assertIsNotNone(Stranger(self.network).dial(ROOT_ADDRESS).ended)
        origins[""] = "192.0.2.2"
        self.network.start(self.child())
        self.assertEqual(self.ids(root), [CHILD])
        origins[""] = "192.0.2.1"
        self.network.settle(limits.BAN_SECONDS - 5)
        self.assertIsNotNone(Stranger(self.network).dial(ROOT_ADDRESS).ended)
        self.network.settle(10)
        self.assertIsNone(Stranger(self.network).dial(ROOT_ADDRESS).ended)
