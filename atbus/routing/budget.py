"""
The bytes that a node may hold, and the part of it that each queue may have.

1. The budget is one for the node. Each queue has an account and says how much it holds.
2. A queue may hold as much as is still free for all. So a single one gets half of the budget, two
   get a third each, two hundred that are slow get the two-hundredth part - and as much is always
   left for the next one that comes. Nothing is reserved for those that need nothing.
3. A queue does not ask for each message. It may grow by a *grant* before it must say what it holds;
   all grants together are a fixed part of the budget, which is kept back for them. So the budget
   is never exceeded, not even between two looks.
4. Queues that grow together may so take what was left for others. Whoever holds less than a grant
   may therefore hold that much, also when nothing is free: nobody else can use its grant up.
5. Among very many queues a grant is a few messages. One that has used it up may say at once that it
   holds more than it does, and need not look again soon. Until it says what it holds, which it
   does when it writes, others find as much less. Queues do so only while hardly anything is held,
   that included, so what others find less for it is never more than that, an eighth of the budget.
"""

from __future__ import annotations

# The part of the budget that is kept back for grants, and the fewest that it is divided by.
_GRANTS_PART = 8
_GRANTS_MIN = 8
# The part of the budget that is hardly anything.
_LITTLE_PART = 8
# What a queue may hold before it needs it: as much as a usual frame, and this part of what is left
# of hardly anything, so that many that grow in one turn find some.
_AHEAD_BYTES = 65_536
_AHEAD_PART = 8


class Budget:
    """
    The bytes of one node.

    What queues ask for often is kept ready, not computed: they look once per turn and link.

    :param bytes_max: All that its queues may hold together.
    """

    def __init__(self, bytes_max: int) -> None:
        #: What the queues hold, as far as they have said.
        self.used_bytes = 0
        #: How many bytes are free for all; what is kept back for grants is not.
        self.free_bytes = 0
        #: How much a queue may grow before it has to say what it holds.
        self.grant_bytes = 0
        #: How many bytes one queue may hold.
        self.allowed_bytes = 0
        self._accounts = 0
        self.resize(bytes_max)

    def resize(self, bytes_max: int) -> None:
        """Hold as much as *bytes_max* from now on."""
        self.bytes_max = bytes_max
        self._usable_bytes = bytes_max - bytes_max // _GRANTS_PART
        #: While no more than this is held, one message may be longer than what is free.
        self.little_bytes = bytes_max // _LITTLE_PART
        self.count(0)
        self.add(0)

    def open(self) -> Account:
        """Open the account of one more queue; it is closed with the queue."""
        self.count(1)
        return Account(self)

    def count(self, accounts: int) -> None:
        """Take note of so many accounts more, or less."""
        self._accounts += accounts
        self.grant_bytes = self.bytes_max // _GRANTS_PART // max(self._accounts, _GRANTS_MIN)
        self.allowed_bytes = max(self.free_bytes, self.grant_bytes)

    def add(self, held_bytes: int) -> None:
        """Take note of so many bytes more, or less, that are held."""
        self.used_bytes += held_bytes
        self.free_bytes = max(0, self._usable_bytes - self.used_bytes)
        self.allowed_bytes = max(self.free_bytes, self.grant_bytes)


class Account:
    """
    What one queue holds of a budget.

    :param budget: The node's.
    """

    __slots__ = ("_is_open", "budget", "held_bytes")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        #: What it holds, as it said last.
        self.held_bytes = 0
        self._is_open = True

    def hold(self, held_bytes: int) -> None:
        """Say how many bytes the queue holds now; after `close` that is no matter."""
        if held_bytes != self.held_bytes and self._is_open:
            self.budget.add(held_bytes - self.held_bytes)
            self.held_bytes = held_bytes

    def hold_ahead(self) -> int:
        """
        Hold more than there is, until `hold` says again how much that is.

        It is free for nobody else as long.

        :returns: How many bytes more; none where a grant is as many, or more than hardly anything
            would be held then.
        """
        budget = self.budget
        ahead = min(_AHEAD_BYTES, (budget.little_bytes - budget.used_bytes) // _AHEAD_PART)
        if ahead <= budget.grant_bytes or not self._is_open:
            return 0
        self.hold(self.held_bytes + ahead)
        return ahead

    def has_room(self, size_bytes: int) -> bool:
        """
        Tell whether something fits that is longer than a queue may usually be.

        :returns: Whether the budget has room for it, or hardly anything else is held: beside many
            that send a little there may never be a moment when nothing is.
        """
        budget = self.budget
        return size_bytes <= budget.free_bytes or budget.used_bytes <= budget.little_bytes

    def close(self) -> None:
        """Give everything back; twice does no harm."""
        if self._is_open:
            self.hold(0)
            self._is_open = False
            self.budget.count(-1)
