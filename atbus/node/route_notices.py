"""
Batches on nodes for the control connections: one that goes to many neighbors is written once.

`atbus.routing.sharing` gives the same batch to all that are told the same. Of its frame only the
fields of the link's own differ.
"""

from __future__ import annotations

import attrs

from atbus import limits
from atbus.node.bounds import ROUTE_NOTICES_MAX
from atbus.node.outbox import Notice, SharedNotice
from atbus.routing.batch import BATCH_HEAD_BYTES, Batch, to_message, word_bytes


@attrs.define(eq=False)
class RouteNotices:
    """Remember how the last batches are written."""

    # By the identity of the batch, which is kept with it; the newest last.
    _last: dict[int, tuple[Batch, Notice]] = attrs.field(factory=dict, init=False, repr=False)

    def of(self, batch: Batch, source: int) -> Notice:
        """
        Give what is sent for a batch.

        :param batch: The batch.
        :param source: Our id.
        :returns: The same item for all neighbors that are told the same.
        """
        known = self._last.pop(id(batch), None)
        if known is None or known[1].message.source != source:
            size_bytes = limits.FRAME_HEAD_BYTES + BATCH_HEAD_BYTES
            size_bytes += sum(map(word_bytes, batch.words))
            known = (batch, SharedNotice(to_message(batch, source), size_bytes))
        self._last[id(batch)] = known
        if len(self._last) > ROUTE_NOTICES_MAX:
            del self._last[next(iter(self._last))]
        return known[1]

    def clear(self) -> None:
        """Forget them."""
        self._last.clear()
