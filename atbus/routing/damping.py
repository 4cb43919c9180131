"""
A node that comes and goes all the time must not keep a whole bus busy.

Some changes of a node are told as they come; then each further one waits until `seconds` have
passed for it. Nothing is lost by waiting: what is told then is how things are at that moment, and
whoever changed twice meanwhile is not mentioned. A node that has been quiet has all its changes
back.
"""

from __future__ import annotations

import attrs


@attrs.define(eq=False)
class Damping:
    """
    Say when the next change of a node may be told.

    :param at_once: How many changes are told as they come.
    :param seconds: What each one costs; so long is the wait beyond them.
    """

    at_once: int = attrs.field(validator=attrs.validators.ge(1))
    seconds: float = attrs.field(validator=attrs.validators.gt(0))
    # For each node when all its changes will be paid for, the one that changed last behind.
    _paid_at: dict[int, float] = attrs.field(factory=dict, init=False, repr=False)
    # To look for the oldest costs as much as has gone from the front since the dict was made anew.
    _swept_at: float = attrs.field(default=float("-inf"), init=False)

    def __len__(self) -> int:
        return len(self._paid_at)

    def allowed_at(self, bus_id: int, now: float) -> float:
        """
        Say when a change may be told.

        :param bus_id: Whose change it is.
        :param now: The time, seconds.
        :returns: *now*, or later.
        """
        paid_at = self._paid_at.get(bus_id)
        if paid_at is None:
            return now
        return max(now, paid_at - (self.at_once - 1) * self.seconds)

    def spend(self, bus_id: int, now: float) -> None:
        """
        Note that a change is told now.

        :param bus_id: Whose change it is.
        :param now: The time, seconds.
        """
        paid_at = self._paid_at.pop(bus_id, now)
        self._paid_at[bus_id] = max(paid_at, now) + self.seconds
        if now > self._swept_at:
            self._swept_at = now
            self._sweep(now)

    def _sweep(self, now: float) -> None:
        """Forget who has all changes back; once for all that change at a time."""
        gone: list[int] = []
        for bus_id, paid_at in self._paid_at.items():
            if paid_at > now:
                break
            gone.append(bus_id)
        for bus_id in gone:
            del self._paid_at[bus_id]
