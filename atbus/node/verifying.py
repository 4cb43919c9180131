"""
Who is believed about the source of what it brings.

The rules are the table's; for a while after a node has moved, those that could speak for it before
still can (`atbus.routing.former_places`). What a neighbor brings in the name of others waits if
nobody knows that it may (`atbus.routing.unverified`):

1. As a rule a moment: word of them travels another connection, which can be the slower one.
2. Longer, and with more room, while the neighbor has not told its table. It is asked for that over
   the whole way and back, and by then all those behind it have sent. When much waits, no more is
   read of it for a while.
   What it says for itself is believed, but passed on only when it has told of itself: others
   would not know it.
3. News longer still, and apart from the rest: there is nobody to be told that they were not
   believed, and nothing waits behind them.

Where this process was held up, what has arrived meanwhile is read before the moment is over (see
`atbus.node.context.Alarm`). It cannot be longer for others that are held up: a FLUSH waits behind
what waits here, and that is given up after `atbus.limits.FLUSH_SECONDS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from atbus import limits
from atbus.busid import BusId
from atbus.errors import Status
from atbus.node.context import Alarm
from atbus.node.courier import NEWS
from atbus.routing import bounds
from atbus.routing.table import Position
from atbus.routing.unverified import Unverified
from atbus.wire.head import Head
from atbus.wire.loose import Frame, joined
from atbus.wire.messages import MessageType

if TYPE_CHECKING:
    from atbus.node.connection import Connection
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.floodgate import Floodgate
    from atbus.node.link import Link
    from atbus.node.readers import DataReader, FrameReader


class _Waiting(NamedTuple):
    """A frame, who takes it when its source is believed, and who answers it when it is not."""

    link: Link
    frame: Frame
    head: Head
    receive: DataReader
    refuse: DataReader


class Word(Protocol):
    """What neighbors tell each other of all nodes, as `atbus.node.route_table` knows it."""

    #: Called when somebody may have told the rest of a table.
    on_told: Callable[[], object]

    def hurry(self, bus_id: int) -> None:
        """Tell of a node now: a message in its name is about to pass."""

    def awaits(self, endpoint: Endpoint) -> bool:
        """Tell whether a neighbor has registered lately, and is still to tell its table."""

    def awaits_word(self, endpoint: Endpoint) -> bool:
        """Tell whether a neighbor has registered lately, and is still to tell of itself."""

    @property
    def floodgate(self) -> Floodgate:
        """Who does not read a connection for a while."""


class Verifier:
    """
    Believe neighbors, or not, or not yet.

    :param receive: Takes a frame of data whose source is believed.
    :param refuse: Answers one whose source is not.
    """

    def __init__(
        self,
        context: Context,
        endpoints: dict[int, Endpoint],
        receive: DataReader,
        refuse: Callable[[Link, Head, Status], None],
    ) -> None:
        self.word: Word
        self._context = context
        self._endpoints = endpoints
        self._receive = receive
        self._refuse = refuse
        self._waiting: Unverified[_Waiting] = Unverified(
            limits.UNVERIFIED_SECONDS,
            bounds.UNVERIFIED_BYTES,
            bounds.UNVERIFIED_SHARE_BYTES,
            limits.UNVERIFIED_RUNS_MAX,
            bounds.UNVERIFIED_SOURCES_MAX,
        )
        # What came before the table of its neighbor, and what came behind that.
        self._early: Unverified[_Waiting] = Unverified(
            bounds.EARLY_SECONDS,
            bounds.EARLY_BYTES,
            bounds.EARLY_SHARE_BYTES,
            bounds.EARLY_SHARE_BYTES // limits.WAITING_FRAME_BYTES,
            bounds.EARLY_SOURCES_MAX,
        )
        self._news: Unverified[_Waiting] = Unverified(
            bounds.UNVERIFIED_NEWS_SECONDS,
            bounds.UNVERIFIED_BYTES,
            bounds.UNVERIFIED_SHARE_BYTES,
            limits.UNVERIFIED_RUNS_MAX,
            bounds.UNVERIFIED_SOURCES_MAX,
        )
        self._stores = (self._early, self._waiting, self._news)
        # Those who have said something for themselves before that.
        self._ahead: set[int] = set()
        # Those of whom nothing more is read for a moment, because so much waits.
        self._held_back: dict[int, Connection] = {}
        self._alarm = Alarm(context.timers, self._expire)

    def listen(self, word: Word) -> None:
        """Ask the route table from now on, and hear when more of it is known."""
        self.word = word
        word.on_told = self._told

    def _told(self) -> None:
        """Pass on what those have said for themselves whose table has come, behind that."""
        for neighbor in list(self._ahead):
            endpoint = self._endpoints.get(neighbor)
            if endpoint is None or not self.word.awaits_word(endpoint):
                self._ahead.discard(neighbor)
                self._context.turn.at_end(self._look)

    def believes(self, endpoint: Endpoint, source: int, *, beyond: bool = False) -> bool:
        """
        Tell whether a neighbor may speak for a source; remembered, bounded.

        What it has brought in the name of the source, and waits, is received first.

        :param beyond: Whether others are to believe it as well: those above us and beside us know
            nothing of a neighbor that has not told of itself.
        """
        if source in endpoint.vouched:
            return True
        if not self._may_speak(endpoint.bus_id, source):
            return False
        if self._is_unknown(endpoint, source):
            return not beyond
        self._trust(endpoint, source)
        return True

    def _is_unknown(self, endpoint: Endpoint, source: int) -> bool:
        """Tell whether a neighbor speaks for itself before anybody else can know it."""
        if source != endpoint.bus_id or endpoint.position is Position.UPSTREAM:
            return False
        return self.word.awaits_word(endpoint)

    def _is_own(self, endpoint: Endpoint, source: int) -> bool:
        """Tell whether a neighbor speaks for itself, and may: that waits only for the others."""
        return source == endpoint.bus_id and self._may_speak(endpoint.bus_id, source)

    def lets_pass(self, endpoint: Endpoint, head: Head) -> bool:
        """Tell whether a neighbor is believed about the source of a frame, by all who get it."""
        return self.believes(endpoint, head[5], beyond=head[6] != self._context.bus_id)

    def _trust(self, endpoint: Endpoint, source: int) -> None:
        if len(endpoint.vouched) >= limits.VOUCHED_SOURCES_MAX:
            endpoint.vouched.clear()
        endpoint.vouched[source] = None
        # Others may not know it long.
        self.word.hurry(source)
        for store in self._stores:
            for each in store.take(endpoint.bus_id, source):
                each.receive(each.link, each.frame, each.head)

    def _may_speak(self, neighbor: int, source: int) -> bool:
        table = self._context.table
        if table.may_speak(BusId(neighbor), BusId(source)):
            return True
        known = table.get(BusId(neighbor))
        if source == self._context.bus_id or known is None or not known.is_certified(source):
            return False
        chain = (source, *table.registry.tree.chain_of(source))
        former = self._context.former_places.upstreams(chain, self._context.now)
        return any(each == neighbor or table.may_speak(neighbor, each) for each in former)

    def vouches(self, link: Link, source: int) -> bool:
        """Tell whether the neighbor at the other end may speak for *source*; refusals count."""
        endpoint = link.connection.endpoint
        if endpoint is None or endpoint.temporary:
            return False
        if self.believes(endpoint, source):
            return True
        self._context.statistics.refused[Status.SOURCE_REFUSED] += 1
        return False

    def doubt(self, endpoint: Endpoint, link: Link, frame: Frame, head: Head) -> None:
        """Let a frame of data wait for word of its source; refuse it when it cannot."""
        item = _Waiting(link, frame, head, self._receive, self._refuse_data)
        if not self._hold(endpoint, item):
            is_own = self._is_own(endpoint, head[5])
            (self._receive if is_own else self._refuse_data)(link, frame, head)

    def _refuse_data(self, link: Link, _: Frame, head: Head) -> None:
        self._refuse(link, head, Status.SOURCE_REFUSED)

    def before(self, reader: FrameReader) -> FrameReader:
        """
        Have frames wait for word of their source before they are read.

        :param reader: Reads them, and refuses those whose source it does not believe. It gets
            those for which word has not come as well, and those for which there is no room.
        :returns: Who reads them instead.
        """

        def read_later(link: Link, frame: Frame, head: Head) -> None:
            reader(link, joined(frame), head)

        def read(link: Link, frame: bytes, head: Head) -> None:
            if not self.lets_wait(link, frame, head, read_later, read_later):
                reader(link, frame, head)

        return read

    def before_all(self, readers: Mapping[int, FrameReader]) -> dict[int, FrameReader]:
        """
        Have commands and news wait for word of their source before they are read.

        :param readers: By type of frame.
        :returns: Who reads them instead, and the others as they are.
        """
        doubted = (MessageType.COMMAND_REQUEST, *NEWS)
        return {**readers, **{each: self.before(readers[each]) for each in doubted}}

    def lets_wait(
        self, link: Link, frame: Frame, head: Head, receive: DataReader, refuse: DataReader
    ) -> bool:
        """
        Let a frame wait for word of its source, if there is none and there is room.

        :param receive: Gets it when there is word.
        :param refuse: Gets it when there was none.
        """
        endpoint = link.connection.endpoint
        beyond = head[1] == MessageType.PUBLISH
        if endpoint is None or endpoint.temporary or (
            self.believes(endpoint, head[5], beyond=beyond)
        ):
            return False
        return self._hold(endpoint, _Waiting(link, frame, head, receive, refuse))

    def _hold(self, endpoint: Endpoint, item: _Waiting) -> bool:
        source, now = item.head[5], self._context.now
        if not source:
            return False
        size_bytes = len(item.frame) + limits.WAITING_FRAME_BYTES
        store = self._store_for(endpoint, item)
        is_own = self._is_own(endpoint, source)
        if not store.hold(endpoint.bus_id, source, item, size_bytes, now):
            if is_own:
                # It may go, behind what waits.
                self._trust(endpoint, source)
            return False
        if is_own:
            self._ahead.add(source)
        if store is self._early and store.held_of(endpoint.bus_id) > bounds.EARLY_ENOUGH_BYTES:
            self._held_back[endpoint.bus_id] = item.link.connection
            self.word.floodgate.hold(item.link.connection)
        self._set_alarm()
        return True

    def _store_for(self, endpoint: Endpoint, item: _Waiting) -> Unverified[_Waiting]:
        if item.head[1] in NEWS:
            return self._news
        # What comes later in the same name waits behind it.
        if self._early.has(endpoint.bus_id, item.head[5]):
            return self._early
        if self._waiting.has(endpoint.bus_id, item.head[5]) or not self.word.awaits(endpoint):
            return self._waiting
        return self._early

    def keeps_back(self, endpoint: Endpoint, link: Link, frame: Frame, head: Head) -> bool:
        """
        Let a flush wait behind what waits here for its destination: it may not overtake that.

        It waits behind publications as well, which may be for those behind its destination.
        """
        for store in (self._early, self._waiting):
            for neighbor, source in store.flows if store.held_bytes else ():
                if neighbor == endpoint.bus_id and any(
                    each.head[6] == head[6] or each.head[1] == MessageType.PUBLISH
                    for each in store.waiting(neighbor, source)
                ):
                    item = _Waiting(link, frame, head, self._receive, self._refuse_data)
                    return store.hold(neighbor, source, item, len(frame), self._context.now)
        return False

    def changed(self) -> None:
        """Look again at what waits: more is known now."""
        if self.waiting:
            self._context.turn.at_end(self._look)

    def _look(self) -> None:
        for neighbor, source in [flow for store in self._stores for flow in store.flows]:
            endpoint = self._endpoints.get(neighbor)
            if endpoint is not None:
                self.believes(endpoint, source)
        self._read_on()
        self._set_alarm()

    def _read_on(self) -> None:
        """Read those again of whom less waits now."""
        for neighbor, connection in list(self._held_back.items()):
            if self._early.held_of(neighbor) <= bounds.EARLY_ENOUGH_BYTES:
                del self._held_back[neighbor]
                self.word.floodgate.release(connection)

    def _expire(self) -> None:
        now = self._context.now
        for each in [late for store in self._stores for late in store.expire(now)]:
            link, head = each.link, each.head
            is_flush = head[1] == MessageType.FLUSH
            endpoint = link.connection.endpoint
            if endpoint is not None and self._is_own(endpoint, head[5]):
                # Others may know it by now, or not. What else it has said goes before.
                self._trust(endpoint, head[5])
                each.receive(link, each.frame, head)
            elif is_flush and self._may_speak(link.connection.bus_id, head[5]):
                # It has waited for others only.
                each.receive(link, each.frame, head)
            else:
                each.refuse(link, each.frame, head)
        self._read_on()
        self._set_alarm()

    def _set_alarm(self) -> None:
        deadlines = [store.deadline for store in self._stores]
        self._alarm.set(min((at for at in deadlines if at is not None), default=None))

    def forget(self, endpoint: Endpoint) -> None:
        """Drop what waits of a neighbor that is gone: its origin is told so by others."""
        for store in self._stores:
            store.drop(endpoint.bus_id)
        self._held_back.pop(endpoint.bus_id, None)
        self._ahead.discard(endpoint.bus_id)

    @property
    def has_news(self) -> bool:
        """Whether news wait of which messages may be ours."""
        return self._news.held_bytes > 0

    @property
    def waiting(self) -> int:
        """How many bytes wait."""
        return sum(store.held_bytes for store in self._stores)

    def close(self) -> None:
        """Wait for nothing any more: the node has stopped."""
        self._alarm.set(None)
