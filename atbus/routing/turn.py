"""
How much of the route table changes in one turn, so that nobody waits long for his own.

What is left over is done in the next turn, and that is the next ``tick``: until then the table says
what it said before.
"""

from __future__ import annotations

import attrs

from atbus.routing.bounds import ROUTE_WORDS_IN_TURN


@attrs.define(eq=False)
class Turn:
    """
    What one turn may still change.

    :param words: Words that are read, or forgotten, in one.
    """

    words: int = attrs.field(default=ROUTE_WORDS_IN_TURN, validator=attrs.validators.ge(1))
    #: How many it may still be; less than nothing when a part was longer than what was left.
    left: int = attrs.field(default=attrs.Factory(lambda self: self.words, True), init=False)

    @property
    def is_over(self) -> bool:
        """Whether what is left over waits for the next turn."""
        return self.left <= 0

    def spend(self, count: int) -> None:
        """
        Take note of work.

        :param count: Words that are read, or forgotten.
        """
        self.left -= count

    def begin(self) -> None:
        """Begin the next turn."""
        self.left = self.words
