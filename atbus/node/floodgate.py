"""
How fast announcements are read: what neighbors tell of nodes, of interest and of services.

To decode them costs a node more than it costs others to send them, and a neighbor may send as many
as its network carries. So each frame costs its bytes before anything is done with it, and a link
that owes some is not read for a while: what was sent waits with the sender. A while is shorter than
anybody's patience, so the neighbor is heard often enough to count as alive. What is on the same
connection, messages too, waits as well; who sends no more than a bus has to tell notices nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakSet

from atbus.errors import Status
from atbus.node import bounds
from atbus.node.context import Context
from atbus.routing.meter import Meter

if TYPE_CHECKING:
    from atbus.channels.interfaces import IChannel
    from atbus.node.connection import Connection
    from atbus.node.link import Link
    from atbus.node.readers import FrameReader
    from atbus.wire.head import Head


class Floodgate:
    """Hold the links of those who announce without end."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._meters: WeakKeyDictionary[Connection, Meter] = WeakKeyDictionary()
        # Those who were named and have not paid everything since.
        self._named: WeakSet[Connection] = WeakSet()
        # Channels that are not read, and until when.
        self._held: dict[IChannel, float] = {}

    def before(self, read: FrameReader) -> FrameReader:
        """
        Have frames counted before they are read.

        :param read: Reads announcements of one type.
        :returns: What counts them first.
        """

        def counted(link: Link, frame: bytes, head: Head) -> None:
            self._count(link.connection, len(frame))
            read(link, frame, head)

        return counted

    def _count(self, connection: Connection, cost_bytes: int) -> None:
        now = self._context.now
        meter = self._meters.get(connection)
        if meter is None:
            meter = self._meters[connection] = Meter(
                bounds.ANNOUNCED_BYTES_BURST, bounds.ANNOUNCED_BYTES_PER_SECOND
            )
        if meter.is_full(now):
            self._named.discard(connection)
        debt_seconds = meter.spend(cost_bytes, now)
        if debt_seconds <= 0 or not self.hold(connection, debt_seconds):
            return
        if connection not in self._named:
            self._named.add(connection)
            who = connection.endpoint or connection
            detail = f"{who} announces more than it may, and is read slowly"
            self._context.events.on_error(Status.OVERLOADED, detail)

    def hold(self, connection: Connection, seconds: float = bounds.HOLD_SECONDS) -> bool:
        """
        Read nothing of a connection for a while.

        :param seconds: How long; no longer than anybody may be held.
        :returns: Whether that is new.
        """
        channel = connection.channel
        if channel is None or channel in self._held:
            return False
        self._held[channel] = self._context.now + min(seconds, bounds.HOLD_SECONDS)
        channel.pause_reading()
        self._context.statistics.reading_held += 1
        return True

    def release(self, connection: Connection) -> None:
        """Read a connection again whose while is not over yet."""
        channel = connection.channel
        if channel is not None and self._held.pop(channel, None) is not None:
            channel.resume_reading()

    def hold_debtor(self, link: Link) -> None:
        """
        Read less of who asks for more than it acknowledges, and name it once.

        :param link: On which more is kept for it than may be.
        """
        connection = link.connection
        endpoint = connection.endpoint
        for each in (connection, *(() if endpoint is None else endpoint.data)):
            self.hold(each)
        if not link.owed.named:
            link.owed.named = True
            held_bytes = link.owed.held_bytes
            who = endpoint or connection
            detail = f"{who} does not acknowledge {held_bytes} bytes of answers, and gets no more"
            self._context.events.on_error(Status.OVERLOADED, detail)

    def sweep(self) -> None:
        """Read again where the time is over."""
        if not self._held:
            return
        now = self._context.now
        for channel in [each for each, until in self._held.items() if now >= until]:
            del self._held[channel]
            channel.resume_reading()
