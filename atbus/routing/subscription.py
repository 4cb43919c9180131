"""
What this node has asked a neighbor to tell, and how far it has come.

1. A snapshot is a number of batches with one id and rising index. The last one completes it: what
   it has not mentioned is gone.
2. Changes come after it. What belongs to an older snapshot is not looked at.
3. The teller may begin a snapshot of its own accord, with a new id and index 0: it does so when it
   could not keep up with the changes, or when digests show that something was lost.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import attrs

from atbus.errors import Status
from atbus.routing.batch import Batch


class Stage(enum.Enum):
    """How far a subscription is."""

    #: Nothing was asked.
    IDLE = "idle"
    #: Asked, not answered.
    ASKED = "asked"
    #: The neighbor does not tell; it will not be asked again on this link.
    REFUSED = "refused"
    #: A snapshot is under way.
    SYNCING = "syncing"
    #: Everything was told; changes follow.
    CURRENT = "current"


@attrs.define(eq=False)
class Subscription:
    """One direction of one link, seen by the one who is told."""

    stage: Stage = Stage.IDLE
    #: What the snapshot under way has not mentioned yet; None when none is.
    unmentioned: set[int] | None = attrs.field(default=None, repr=False)
    _snapshot_id: int = 0
    _index: int = 0
    # Whether the last batch counted; what is read in parts does so as a whole.
    _took: bool = False

    def ask(self) -> None:
        """Note that everything was asked for, also if it was before."""
        self.stage = Stage.ASKED
        self.unmentioned = None

    def answered(self, status: Status, snapshot_id: int) -> bool:
        """
        Take the answer.

        :param status: Whether anything will be told.
        :param snapshot_id: The id under which the snapshot comes.
        :returns: Whether it was awaited.
        """
        if self.stage is not Stage.ASKED:
            return False
        self.stage = Stage.SYNCING if status is Status.OK else Stage.REFUSED
        self._snapshot_id = snapshot_id
        self._index = 0
        return True

    def takes(self, batch: Batch, heard: Callable[[], set[int]]) -> bool:
        """
        Tell whether a batch counts.

        :param batch: What arrived.
        :param heard: Gives of whom was told until now; asked when a snapshot begins.
        :returns: Whether its words are to be taken.
        """
        if not batch.continues:
            self._took = self._begins_or_follows(batch, heard)
        return self._took

    def _begins_or_follows(self, batch: Batch, heard: Callable[[], set[int]]) -> bool:
        if self.stage not in (Stage.SYNCING, Stage.CURRENT):
            return False
        if not batch.is_snapshot:
            return True
        if batch.index == 0 and self._begins(batch):
            self.stage = Stage.SYNCING
            self._snapshot_id = batch.snapshot_id
            self._index = 0
            self.unmentioned = heard()
        if (batch.snapshot_id, batch.index) != (self._snapshot_id, self._index):
            return False
        self._index += 1
        return self.stage is Stage.SYNCING

    def _begins(self, batch: Batch) -> bool:
        """Tell whether this is the snapshot that was promised, or one behind it."""
        if batch.snapshot_id == self._snapshot_id:
            return self.stage is Stage.SYNCING and self._index == 0
        return batch.snapshot_id > self._snapshot_id

    def complete(self) -> set[int]:
        """
        Note the end of a snapshot.

        :returns: What it has not mentioned.
        """
        self.stage = Stage.CURRENT
        gone, self.unmentioned = self.unmentioned, None
        return gone or set()
