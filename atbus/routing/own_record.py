"""
The record of this node, which nobody else may stamp.

1. The stamp rises with every change of the content, with every registration with an upstream and
   with every loss of one: whoever was above us will have reported us dead under the old stamp.
2. A short break is an exception: when the same upstream, in the same life, is back within a second,
   could have told us before that it took us for dead, and is asked to tell us now, nothing has
   changed, and nothing is told. It may have been short for us only, who stood still meanwhile; and
   another life of the upstream does not know whom the former one has reported dead.
3. Whoever claims that we are dead, or tells what we said in another life, is answered with a larger
   stamp, at most once a second.
4. Two processes with one id: the larger epoch is the newer one, between equal ones the larger
   process text. The older gives in: it keeps its connections and claims the id no more, until the
   newer is reported dead.
"""

from __future__ import annotations

import attrs

from atbus.routing.record import EPOCH_MAX, SEQ_MAX, UNSTAMPED, Record, Stamp


@attrs.define(eq=False)
class OwnRecord:
    """
    What is told of this node.

    :param record: Its content, under a stamp that is not used any more; its upstream does not
        count.
    """

    record: Record
    #: Which life of which upstream was lost last.
    lost: tuple[int, int] = attrs.field(default=(0, 0), init=False)
    #: The process that has our id now; empty while it is ours.
    lost_to: str = attrs.field(default="", init=False)
    # What our next stamp must be larger than.
    _floor: Stamp = attrs.field(default=UNSTAMPED, init=False)

    def __attrs_post_init__(self) -> None:
        epoch, seq = self.record.stamp
        self.record = attrs.evolve(self.record, stamp=Stamp(max(1, epoch), seq + 1), upstream_id=0)

    @property
    def stamp(self) -> Stamp:
        """The stamp that was made last."""
        return self.record.stamp

    @property
    def is_disputed(self) -> bool:
        """Whether a larger stamp must be made, for something else was said under this one."""
        return self._floor >= self.record.stamp and not self.lost_to

    def describe(self, content: Record) -> bool:
        """
        Take new content.

        :param content: As for the class; of its stamp only the epoch counts.
        :returns: Whether there is anything new to tell.
        """
        epoch = max(content.stamp.epoch, self.stamp.epoch)
        same = attrs.evolve(content, stamp=self.stamp, upstream_id=self.record.upstream_id)
        if same == self.record and epoch == self.stamp.epoch:
            return False
        self.record = attrs.evolve(same, stamp=Stamp(epoch, self.stamp.seq))
        self.rise()
        return True

    def move(self, upstream_id: int) -> None:
        """
        Be below another node, or below none, or below the same one anew.

        :param upstream_id: The upstream; 0 for none.
        """
        self.record = attrs.evolve(self.record, upstream_id=upstream_id)
        self.rise()

    def rise(self) -> None:
        """Make a stamp that is larger than the last one and than what is to be answered."""
        base = max(self.stamp, self._floor)
        if base.seq < SEQ_MAX:
            stamp = Stamp(base.epoch, base.seq + 1)
        else:
            # Only a liar goes so far. A new epoch is ours to begin; behind the last one is nothing.
            stamp = Stamp(min(base.epoch + 1, EPOCH_MAX), 1)
        self.record = attrs.evolve(self.record, stamp=stamp)

    def heard_dead(self, stamp: Stamp) -> None:
        """
        Take the word that this node, or who has its id, is dead.

        :param stamp: The last stamp that is said to be dead.
        """
        if stamp >= self.stamp:
            self.lost_to = ""
            self._floor = max(self._floor, stamp)

    def heard(self, record: Record) -> bool:
        """
        Take what somebody tells of this node.

        :param record: What is told.
        :returns: Whether somebody else has this id, and is the newer one, which was not known.
        """
        is_other = bool(record.process) and record.process != self.record.process
        mine = (self.stamp.epoch, self.record.process)
        if is_other and (record.stamp.epoch, record.process) > mine:
            is_news = record.process != self.lost_to
            self.lost_to = record.process
            return is_news
        if record.stamp > self.stamp or (is_other and record.stamp == self.stamp):
            self._floor = max(self._floor, record.stamp)
        return False
