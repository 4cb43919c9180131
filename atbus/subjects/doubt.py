"""
Whether a neighbor has heard what it was told (wire protocol, 7.18 and 7.19).

1. A *ping* has the digest of what the neighbor knows from us. One that differs may have crossed a
   message on its way; two in a row, with the same digest and nothing told between them, are a loss.
2. The answer to a *question* has the digest of what was known when the question came. Links keep
   their order, so what was told before it is exactly what that should be: one difference is a loss.
3. A loss is repaired by a replay, behind which a question goes: its answer shows whether that has
   helped. A neighbor that has no memory for everything differs as before. While replays are in
   vain, answers start none any more, and pings ever fewer: after the second one a difference is
   passed over, after the third one three are, and so on, up to a bound. When the neighbor says
   that it has room again it is told everything at once.
"""

from __future__ import annotations

from atbus.subjects import bounds


class Doubt:
    """What one neighbor has shown of what it knows from us."""

    def __init__(self) -> None:
        # The digest that its last ping had and should not have had.
        self._digest: int | None = None
        # The oldest question without an answer, and the digest that the answer should have.
        self._question: tuple[int, int] | None = None
        self._expected = 0
        # Replays since its digest was right, and differences to be passed over before the next.
        self._in_vain = 0
        self._passed_over = 0

    def told(self) -> None:
        """Take note that it was told of a change."""
        self._digest = None

    def replayed(self) -> None:
        """Take note that it was told everything anew."""
        self._digest = self._question = None

    def asked(self, generation: int, barrier: int, digest: int) -> None:
        """
        Take note of a question to it.

        :param digest: Of all that it was told before.
        """
        if self._question is None:
            self._question = generation, barrier
            self._expected = digest

    def answered(self, generation: int, barrier: int, digest: int) -> bool:
        """
        Look at the digest in an answer.

        :returns: Whether the neighbor has to be told everything anew.
        """
        if self._question != (generation, barrier):
            return False
        self._question = None
        if digest == self._expected:
            self._is_right()
            return False
        return not self._in_vain and self._is_due()

    def pinged(self, digest: int, told_digest: int) -> bool:
        """
        Look at the digest in a ping or pong.

        :param told_digest: Of all that it was told.
        :returns: Whether the neighbor has to be told everything anew.
        """
        if digest == told_digest:
            self._is_right()
            return False
        is_certain = self._digest == digest
        self._digest = digest
        return is_certain and self._is_due()

    def has_room(self) -> bool:
        """
        Take note that it has room for what it had none for.

        :returns: Whether it has to be told everything anew: it has missed something.
        """
        has_missed = self._in_vain > 0
        self._in_vain = self._passed_over = 0
        return has_missed

    def _is_right(self) -> None:
        self._digest = None
        self._in_vain = self._passed_over = 0

    def _is_due(self) -> bool:
        if self._passed_over:
            self._passed_over -= 1
            return False
        self._passed_over = min((1 << self._in_vain) - 1, bounds.REPLAYS_PASSED_OVER_MAX)
        self._in_vain += 1
        return True
