"""
The door of a node: who may begin to register, and who gives way to others.

It is asked when a connection has come in. One of TLS is asked about twice: before its handshake,
which costs a millisecond of whoever answers it, when it is counted; and when that is done, when a
place is made for its registration.
"""

from __future__ import annotations

from atbus import limits
from atbus.address import Address
from atbus.errors import Status
from atbus.handshake.doorkeeper import Doorkeeper, origin_of
from atbus.node.connection import Connection
from atbus.node.context import Context


class Doorway:
    """Let strangers in, or not."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._doorkeeper = Doorkeeper()
        # Accepted, the oldest first, and where they come from; those that have registered or ended
        # are dropped in passing.
        self._registering: dict[Connection, str] = {}

    def lets_begin(self, address: Address, peer: str) -> bool:
        """
        Tell whether somebody may begin a handshake, and count him.

        :param address: Where we listen.
        :param peer: Who has come, as a channel says it.
        :returns: Whether he may; if not, that was told.
        """
        return self._passes(address, self._doorkeeper.refuses(origin_of(peer), self._context.now))

    def lets_in(self, address: Address, peer: str) -> bool:
        """
        Tell whether somebody may begin to register; who is silent may have to give way to him.

        :param address: Where we listen.
        :param peer: Who has come, as a channel says it.
        :returns: Whether he may; if not, that was told.
        """
        if not (address.is_tls or self.lets_begin(address, peer)):
            return False
        return self._passes(
            address, None if self._make_room(origin_of(peer)) else "too many handshakes"
        )

    def entered(self, connection: Connection, peer: str) -> None:
        """Keep a place for a connection that was let in, until it has registered."""
        self._registering[connection] = origin_of(peer)

    def breach(self, peer: str) -> None:
        """Note that somebody broke the protocol."""
        self._doorkeeper.breach(origin_of(peer), self._context.now)

    def bad_handshake(self, peer: str) -> None:
        """Note that somebody's TLS handshake was for nothing."""
        self._doorkeeper.bad_handshake(origin_of(peer), self._context.now)

    def _passes(self, address: Address, refusal: str | None) -> bool:
        if refusal is not None:
            self._context.events.on_error(Status.OVERLOADED, f"{address}: {refusal}")
        return refusal is None

    def _make_room(self, origin: str) -> bool:
        """Tell whether one more may begin to register; the oldest that is silent gives way."""
        self._registering = {c: o for c, o in self._registering.items() if c.is_registering}
        rivals = [c for c, other in self._registering.items() if origin and other == origin]
        if len(rivals) < limits.PENDING_HANDSHAKES_PER_ADDRESS_MAX:
            if len(self._registering) < self._context.config.pending_handshakes:
                return True
            rivals = list(self._registering)
        for connection in rivals:
            if not connection.has_spoken:
                connection.abort(Status.OVERLOADED, "others have come that may have more to say")
                return True
        return False
