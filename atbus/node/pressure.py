"""
Flow control, performed: hears and says FLOW, and keeps what passes through within its bounds.

What is decided here is decided in `atbus.routing.flow_control`: who is to be told, and where
congestion begins. This knows the links on which words come and go, and counts what passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from atbus import limits
from atbus.errors import Status
from atbus.node.outbox import Notice
from atbus.node.passage import CALM_FRAMES, Passage
from atbus.routing.flow_control import FlowControl, Marks, Tell, frames_mark
from atbus.wire.messages import Flow, FlowAction, FlowScope

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.endpoint import Endpoint
    from atbus.node.link import Link
    from atbus.wire.head import Head


class Pressure:
    """
    What neighbors ask of each other so that no queue grows without end.

    :param endpoints: The registered remote nodes by id; shared with the registrar.
    """

    def __init__(self, context: Context, endpoints: dict[int, Endpoint]) -> None:
        self.flow = FlowControl()
        self._context = context
        self._endpoints = endpoints
        self.passages: dict[int, Passage] = {}
        self._watched: dict[int, Passage] = {}
        # Whether a neighbor has gone since it was looked at last which passages lead to.
        self._has_lost = False
        # Set by the node, which wires its parts.
        self.hop_to: Callable[[int], Endpoint | Status]
        self.on_paused: Callable[[int | None], None]
        self.on_resumed: Callable[[], None]

    # What passes through.

    def passage(self, destination: int) -> Passage:
        """Give the books of one destination; those of which nothing is open may be forgotten."""
        passage = self.passages.get(destination)
        if passage is None:
            if len(self.passages) >= limits.COMPILED_TARGETS_MAX:
                kept = {d: p for d, p in self.passages.items() if p.frames or p.watched}
                self.passages.clear()
                self.passages.update(kept)
            passage = self.passages[destination] = Passage(destination, self._left)
        return passage

    def is_full(self, passage: Passage, link: Link) -> bool:
        """Tell whether a congested destination has as many frames open as it may have at all."""
        most = frames_mark(link.window_free) * limits.DESTINATION_FRAMES_HARD_FACTOR
        return passage.frames >= most

    def arrived(self, passage: Passage, hop: Endpoint, link: Link) -> None:
        """
        Look whether a frame that has arrived is one too many, and ask its neighbor to pause.

        :param hop: Where it goes.
        :param link: Where it came from.
        """
        destination = passage.destination
        if not passage.watched:
            marks = Marks(hop.soft_bytes_of(destination), frames_mark(link.window_free))
            load = hop.load(destination, passage.frames)
            if not (self.is_paused(hop.bus_id, destination) or load.is_over(marks)):
                if passage.frames >= passage.mark:
                    passage.mark = passage.frames + CALM_FRAMES
                return
            passage.watched = True
            passage.mark = 0
            passage.frames_mark = marks.frames
            self._watched[destination] = passage
        self._tell(self.flow.congested(destination, link.connection.bus_id))

    def _left(self, passage: Passage) -> None:
        if passage.frames * 2 <= passage.frames_mark and self._is_relieved(passage):
            self._relieve(passage)

    def _is_relieved(self, passage: Passage) -> bool:
        hop = self.hop_to(passage.destination)
        if isinstance(hop, Status):
            # What comes is refused by name; there is nothing to wait for.
            return True
        if self.is_paused(hop.bus_id, passage.destination):
            return False
        marks = Marks(hop.soft_bytes_of(passage.destination), passage.frames_mark)
        return hop.load(passage.destination, passage.frames).is_low(marks)

    def _relieve(self, passage: Passage) -> None:
        passage.watched = False
        passage.mark = CALM_FRAMES
        self._watched.pop(passage.destination, None)
        self._tell(self.flow.relieved(passage.destination))

    def sweep(self) -> None:
        """Look at what is congested: the way may be another one, and nothing may come any more."""
        for passage in list(self._watched.values()):
            if self._is_relieved(passage):
                self._relieve(passage)
        if self._has_lost:
            self._forget_lost()
        for endpoint in self._endpoints.values():
            endpoint.reckon()

    def _forget_lost(self) -> None:
        """Forget ways over neighbors that have gone, who would be in memory as long as these."""
        self._has_lost = False
        for passage in self.passages.values():
            hop = passage.hop
            if hop is not None and self._endpoints.get(hop.bus_id) is not hop:
                passage.hop = None

    # What is for us.

    def fed(self, link: Link) -> None:
        """Ask the neighbor that feeds us to pause that, because our window is closed."""
        self._tell(self.flow.congested(self._context.bus_id, link.connection.bus_id))

    def window_opened(self) -> None:
        """Ask those who feed us to go on."""
        self._tell(self.flow.relieved(self._context.bus_id))

    # Words.

    def is_paused(self, next_hop: int, destination: int) -> bool:
        """
        Tell whether what goes to a destination through a neighbor has to wait.

        While the way there is being changed, what the last neighbor on it has said still counts.
        """
        ways = self._context.ways
        if destination in ways.held:
            last = ways.last(destination)
            if last is not None and self.flow.is_paused(last, destination):
                return True
        return self.flow.is_paused(next_hop, destination)

    def _tell(self, tells: Iterable[Tell]) -> None:
        for tell in tells:
            endpoint = self._endpoints.get(tell.neighbor)
            link = None if endpoint is None else endpoint.control_link
            if link is None:
                # With its connection it has forgotten, or will; `control_up` tells it again.
                continue
            word = Flow(
                source=self._context.bus_id,
                action=FlowAction.PAUSE if tell.pause else FlowAction.RESUME,
                scope=FlowScope.DESTINATION,
                subject_id=tell.destination,
            )
            link.put(Notice(word))
            if tell.pause:
                self._context.statistics.pauses_sent += 1

    def flow_received(self, link: Link, frame: bytes, head: Head) -> None:
        """Take a neighbor's word about what it wants to be sent."""
        message = link.read(frame, head)
        endpoint = link.connection.endpoint
        if not isinstance(message, Flow) or endpoint is None or endpoint.temporary:
            return
        neighbor, subject = endpoint.bus_id, message.subject_id
        if message.scope is FlowScope.NEXT_HOP and subject == neighbor:
            self._everything_received(endpoint, message.action)
        elif message.action is FlowAction.PAUSE:
            if self.flow.pause(neighbor, subject):
                self._paused(endpoint, subject)
        elif self.flow.resume(neighbor, subject):
            self._resumed(endpoint, subject)

    def _everything_received(self, endpoint: Endpoint, action: FlowAction) -> None:
        """Take the word that a neighbor can pass nothing on at all, or can again."""
        is_pause = action is FlowAction.PAUSE
        shutting = self.flow.shut if is_pause else self.flow.open
        if not shutting(endpoint.bus_id):
            return
        self._context.statistics.pauses_received += is_pause
        self._set_shut(endpoint, is_pause)

    def _set_shut(self, endpoint: Endpoint, shut: bool) -> None:
        for connection in endpoint.carriers:
            if connection.link is not None:
                backlog = connection.link.sluice.backlog
                (backlog.close if shut else backlog.open)()
                self._context.turn.at_end(connection.link.feed)
        if shut:
            self.on_paused(None)
        else:
            self.look_again()

    def _paused(self, endpoint: Endpoint, destination: int) -> None:
        self._context.statistics.pauses_received += 1
        for connection in endpoint.carriers:
            if connection.link is not None:
                connection.link.sluice.backlog.pause(destination)
        passage = self.passages.get(destination)
        if passage is not None:
            passage.mark = 0
        self.on_paused(destination)

    def _resumed(self, endpoint: Endpoint, destination: int) -> None:
        for connection in endpoint.carriers:
            link = connection.link
            if link is not None and link.sluice.backlog.resume(destination):
                self._context.turn.at_end(link.feed)
        self.look_again()

    def look_again(self) -> None:
        """Look who can go on: a neighbor takes a destination again, or there is another way."""
        self.sweep()
        self.on_resumed()

    # Connections.

    def data_up(self, endpoint: Endpoint) -> None:
        """Let a new data connection know what its other side has paused."""
        paused = self.flow.paused_by(endpoint.bus_id)
        for connection in endpoint.carriers:
            if connection.link is None:
                continue
            backlog = connection.link.sluice.backlog
            for destination in paused:
                backlog.pause(destination)
            if self.flow.is_shut(endpoint.bus_id):
                backlog.close()

    def control_up(self, endpoint: Endpoint) -> None:
        """Begin anew with a neighbor: over a new connection nothing was said yet."""
        self.control_lost(endpoint)
        self._tell(self.flow.renewed(endpoint.bus_id))

    def control_lost(self, endpoint: Endpoint) -> None:
        """Forget what a neighbor asked for over a connection that has ended."""
        if self.flow.open(endpoint.bus_id):
            self._set_shut(endpoint, False)
        for destination in self.flow.lost(endpoint.bus_id):
            self._resumed(endpoint, destination)

    def removed(self, endpoint: Endpoint) -> None:
        """Forget an endpoint that is gone."""
        self.control_lost(endpoint)
        self.flow.gone(endpoint.bus_id)
        endpoint.forget_account()
        self._has_lost = True
