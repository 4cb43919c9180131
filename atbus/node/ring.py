"""
A one-way channel of an endpoint: a connection without a conversation of its own.

The endpoint it belongs to is registered over a stream; a ring begins where a registered connection
is after its registration, and ends with its channel or its endpoint. Nothing but data travels on
it, and what acknowledges that.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TYPE_CHECKING

from atbus.address import Address
from atbus.channels.interfaces import IChannel
from atbus.errors import OutOfTurn, RemoteProtocolError, Status
from atbus.node.connection import SETTLED, Connection
from atbus.node.link import Link
from atbus.wire.loose import Frame
from atbus.wire.messages import Goodbye, Role

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.registrar import Registrar


class Direction(enum.Enum):
    """Say which way data goes on a ring."""

    READING = "reading"
    WRITING = "writing"


class RingConnection(Connection):
    """
    One mem or shm channel of one endpoint, from its opening to its end.

    :param endpoint: Whose data it carries.
    :param direction: Whether we read or write it.
    """

    def __init__(
        self,
        context: Context,
        registrar: Registrar,
        endpoint: Endpoint,
        *,
        address: Address,
        direction: Direction,
    ) -> None:
        super().__init__(
            context,
            registrar,
            SETTLED,
            address=address,
            dialled=direction is Direction.WRITING,
            role=Role.RING,
        )
        self.endpoint = endpoint
        self.peer = endpoint.peer
        self.direction = direction
        self.retiring = False

    def __repr__(self) -> str:
        return f"<RingConnection {self.direction.value} {self.address}>"

    @property
    def is_registering(self) -> bool:
        """Tell that it never is: its endpoint was registered before."""
        return False

    @property
    def usable(self) -> bool:
        """Tell whether data may be written to it."""
        return (
            self.direction is Direction.WRITING
            and self.link is not None
            and self.closed is None
            and not self.leaving
        )

    def channel_opened(self, channel: IChannel) -> None:
        """Take note of the channel; who opened it attaches the ring."""
        self.channel = channel
        self.opened_at = self._context.now
        self._context.events.on_new_connection(self)

    def attach(self, link: Link) -> None:
        """
        Let data flow.

        :param link: Numbers its frames.
        """
        self.link = link
        if self.endpoint is not None:
            self.endpoint.rings.append(self)
            self._registrar.on_data(self.endpoint)

    def _register(self, frames: Sequence[Frame]) -> None:
        """
        Take frames for which there is no link, or none any more.

        :raises OutOfTurn: Those of a ring that is not attached are nobody's.
        """
        if self.link is None and self.closed is None:
            raise OutOfTurn("frames on a ring that was not attached")
        super()._register(frames)

    def register_with(self, frame: bytes) -> None:
        """
        Refuse frames of a registration.

        :raises OutOfTurn: Always: there is none on a ring.
        """
        raise OutOfTurn("a registration on a one-way channel")

    def goodbye_received(self, message: Goodbye) -> None:
        """
        Refuse a goodbye.

        :raises OutOfTurn: Always: it is said on the stream.
        """
        raise OutOfTurn("a goodbye on a one-way channel")

    def close(self, status: Status, detail: str = "") -> None:
        """Close after what is queued; when the endpoint is gone there is nobody to wait for."""
        if self.endpoint is not None and self.endpoint.removed is not None:
            self.abort(status, detail)
        else:
            super().close(status, detail)

    def abort(self, status: Status, detail: str = "") -> None:
        """
        End at once.

        As long as its endpoint stays, what was written here is settled before anybody sends more:
        that takes another channel from now on, and what waited here comes before it.
        """
        super().abort(status, detail)
        is_left = self.endpoint is not None and self.endpoint.removed is None
        if is_left and self.direction is Direction.WRITING and self.channel is not None:
            self.channel_closed(status, detail)

    def say_goodbye(self, status: Status, detail: str = "") -> None:
        """Close after what is queued: goodbyes are said on the stream."""
        self.close(status, detail)

    def breach(self, error: RemoteProtocolError) -> None:
        """Report that the other side broke the protocol, and end this channel; the stream stays."""
        self._context.events.on_error(error.status, f"{self}: {error}")
        self.abort(error.status, str(error))
