"""The benchmark of what an idle neighbor costs runs, and its aim holds."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import idle_peer


class IdlePeerTests(SynchronousTestCase):
    def test_what_python_allocates(self) -> None:
        """A neighbor that says nothing costs a node at most 16 KiB."""
        use = idle_peer.measure("unix", 50, is_traced=True)
        self.assertLessEqual(use.kibibytes, 16.0)
        self.assertEqual((use.channel, use.peers, use.counted), ("unix", 50, "traced"))
        self.assertAlmostEqual(use.part, use.kibibytes / 16)
