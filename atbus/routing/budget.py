"""
The bytes that a node may hold, and the part of it that each queue may have.

1. The budget is one for the node. Each queue has an account and says how much it holds.
2. A queue may hold as much as is still free for all. So a single one gets half of the budget, two
   get a third each, two hundred that are slow get the two-hundredth part - and as much is always
   left for the next one that comes. Nothing is reserved for those that need nothing.
3. A queue does not ask for each message. It may grow by a *grant* before it must say what it holds;
   all grants together are a fixed part of the budget, which is kept back for them. So the budget
   is never exceeded, not even between two looks.
"""

from __future__ import annotations

import attrs

# The part of the budget that is kept back for grants, and the fewest that it is divided by.
_GRANTS_PART = 8
_GRANTS_MIN = 8


@attrs.define(eq=False)
class Budget:
    """
    The bytes of one node.

    :param bytes_max: All that its queues may hold together.
    """

    bytes_max: int = attrs.field(validator=attrs.validators.ge(1))
    #: What they hold, as far as they have said.
    used_bytes: int = attrs.field(default=0, init=False)
    _accounts: int = attrs.field(default=0, init=False)

    def open(self) -> Account:
        """Open the account of one more queue; it is closed with the queue."""
        self._accounts += 1
        return Account(self)

    @property
    def free_bytes(self) -> int:
        """How many bytes are free for all; what is kept back for grants is not."""
        return max(0, self.bytes_max - self.bytes_max // _GRANTS_PART - self.used_bytes)

    @property
    def grant_bytes(self) -> int:
        """How much a queue may grow before it has to say what it holds."""
        return self.bytes_max // _GRANTS_PART // max(self._accounts, _GRANTS_MIN)


@attrs.define(eq=False)
class Account:
    """
    What one queue holds of a budget.

    :param budget: The node's.
    """

    budget: Budget
    #: What it holds, as it said last.
    held_bytes: int = attrs.field(default=0, init=False)
    _is_open: bool = attrs.field(default=True, init=False)

    def hold(self, held_bytes: int) -> None:
        """Say how many bytes the queue holds now; after `close` that is no matter."""
        if self._is_open:
            self.budget.used_bytes += held_bytes - self.held_bytes
            self.held_bytes = held_bytes

    @property
    def allowance(self) -> int:
        """How many bytes the queue may hold now."""
        return self.budget.free_bytes

    def has_room(self, size_bytes: int) -> bool:
        """
        Tell whether something fits that is longer than a queue may usually be.

        :returns: Whether the budget has room for it, or nothing else is held at all.
        """
        return size_bytes <= self.budget.free_bytes or not self.budget.used_bytes

    def close(self) -> None:
        """Give everything back; twice does no harm."""
        if self._is_open:
            self.hold(0)
            self._is_open = False
            self.budget._accounts -= 1  # noqa: SLF001  # one is a part of the other
