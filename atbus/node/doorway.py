"""
The door of a node: who may begin to register, and who gives way to others.

It is asked when a connection has come in, before anything is made of it but a socket, so who is
turned away costs next to nothing. Others are counted when they begin - over TLS with the handshake,
which costs a millisecond of whoever answers it - and a place is made for their registration.
"""

from __future__ import annotations

from atbus import limits
from atbus.address import Address
from atbus.channels.tls_fault import TlsFault
from atbus.errors import Status
from atbus.handshake import bounds
from atbus.handshake.doorkeeper import Doorkeeper, account_of, of_the_most, origin_of
from atbus.node.connection import Connection
from atbus.node.context import Context


class Doorway:
    """Let strangers in, or not."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._doorkeeper = Doorkeeper()
        # Accepted, the oldest first, and to whose account; those that have registered or ended are
        # dropped in passing.
        self._registering: dict[Connection, str] = {}

    def turns_away(self, address: Address, peer: str) -> bool:
        """
        Tell whether somebody could not begin anyway; nobody is counted.

        :param address: Where we listen.
        :param peer: Who has come, as a channel says it.
        :returns: Whether he is to go at once; then that was told.
        """
        refusal = self._doorkeeper.refusal(_account(peer), self._context.now)
        return not self._passes(address, peer, refusal)

    def local_room(self) -> int:
        """
        Tell how many more may begin that have come to unix sockets; the others wait meanwhile.

        Who of those that have a place has said nothing for long gives it up when they come.
        """
        self._forget_registered()
        now = self._context.now
        latest = now - bounds.LOCAL_SILENT_SECONDS
        taken = [
            connection
            for connection, account in self._registering.items()
            if not account and (connection.has_spoken or connection.opened_at > latest)
        ]
        places = self._context.config.pending_handshakes - len(taken)
        return min(places, self._doorkeeper.local_room(now))

    def lets_begin(self, address: Address, peer: str) -> bool:
        """
        Tell whether somebody may begin a handshake, and count him.

        :param address: Where we listen.
        :param peer: Who has come, as a channel says it.
        :returns: Whether he may; if not, that was told.
        """
        refusal = self._doorkeeper.refuses(_account(peer), self._context.now)
        return self._passes(address, peer, refusal)

    def lets_in(self, address: Address, peer: str) -> bool:
        """
        Tell whether somebody may begin to register; who is silent may have to give way to him.

        :param address: Where we listen.
        :param peer: Who has come, as a channel says it.
        :returns: Whether he may; if not, that was told.
        """
        if not (address.is_tls or self.lets_begin(address, peer)):
            return False
        refusal = None if self._make_room(peer) else "too many handshakes"
        return self._passes(address, peer, refusal)

    def entered(self, connection: Connection, peer: str) -> None:
        """Keep a place for a connection that was let in, until it has registered."""
        self._registering[connection] = _account(peer)

    def registered(self, peer: str) -> None:
        """Note that a node has registered from there."""
        self._doorkeeper.registered(_account(peer))

    def breach(self, peer: str) -> None:
        """Note that somebody broke the protocol."""
        self._doorkeeper.breach(origin_of(peer), self._context.now)

    def bad_handshake(self, peer: str) -> None:
        """Note that somebody's TLS handshake was for nothing."""
        self._doorkeeper.bad_handshake(origin_of(peer), self._context.now)

    def tls_refused(self, address: Address, peer: str, fault: TlsFault, why: str) -> None:
        """Count a TLS connection, of either side, that is not used, and tell it."""
        self._context.statistics.tls_refused[fault] += 1
        self._context.events.on_tls_refused(address, peer, fault, why)

    def _passes(self, address: Address, peer: str, refusal: str | None) -> bool:
        if refusal is not None:
            self._context.statistics.turned_away += 1
            detail = f"nobody may begin from {peer or 'unix:'} at {address}: {refusal}"
            self._context.events.on_error(Status.OVERLOADED, detail)
        return refusal is None

    def _forget_registered(self) -> None:
        self._registering = {c: o for c, o in self._registering.items() if c.is_registering}

    def _make_room(self, peer: str) -> bool:
        """
        Tell whether one more may begin to register; the oldest that is silent may give way.

        Who comes over the network and who does not have places of their own. Of those without a
        bound for each address, as of this host, the account with the most places gives one up.
        """
        self._forget_registered()
        account = _account(peer)
        rivals = [c for c, other in self._registering.items() if other == account]
        if not origin_of(peer) or len(rivals) < limits.PENDING_HANDSHAKES_PER_ADDRESS_MAX:
            alike = {c: o for c, o in self._registering.items() if bool(o) == bool(account)}
            if len(alike) < self._context.config.pending_handshakes:
                return True
            silent = {c: o for c, o in alike.items() if not c.has_spoken}
            rivals = of_the_most(silent)
        for connection in rivals:
            if not connection.has_spoken:
                connection.abort(Status.OVERLOADED, "others have come that may have more to say")
                return True
        return False


def _account(peer: str) -> str:
    return origin_of(peer) or account_of(peer)
