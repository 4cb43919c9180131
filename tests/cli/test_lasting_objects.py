"""What is there for good, kept from the collector of cyclic garbage."""

from __future__ import annotations

import gc

from twisted.trial.unittest import SynchronousTestCase

from atbus.cli.lasting_objects import set_aside_lasting_objects


class LastingObjectsTests(SynchronousTestCase):
    """A process that has imported everything."""

    def test_passed_over(self) -> None:
        """The collector looks at what comes afterwards only."""
        self.addCleanup(gc.unfreeze)
        lasting = [object()]
        set_aside_lasting_objects()
        later: list[object] = []
        looked_at = {id(each) for each in gc.get_objects()}
        self.assertNotIn(id(lasting), looked_at)
        self.assertIn(id(later), looked_at)
        gc.unfreeze()
        self.assertIn(id(lasting), {id(each) for each in gc.get_objects()})
