"""Boards of several nodes, connected by links that carry frames."""

from __future__ import annotations

from collections import deque

from atbus.discovery.bus.board import Board
from atbus.routing.table import Position
from atbus.wire import codec
from atbus.wire.messages import ServiceBatch

FRAME_BYTES = 65_536
_OTHER_SIDE = {
    Position.UPSTREAM: Position.DOWNSTREAM,
    Position.DOWNSTREAM: Position.UPSTREAM,
    Position.PEER: Position.PEER,
}


class Village:
    """A few boards; what one has to tell arrives before the next thing happens."""

    def __init__(self) -> None:
        self.boards: dict[int, Board] = {}
        self.now = 0.0
        #: How many entries have travelled.
        self.entries = 0
        self._links: set[tuple[int, int]] = set()
        self._parcels: deque[tuple[int, int, bytes]] = deque()
        self._is_delivering = False

    def board(self, bus_id: int, epoch: int = 1) -> Board:
        """Make the board of a node."""
        made = self.boards[bus_id] = Board(epoch, lambda *_: True, self._deliver)
        return made

    def connect(self, lower: int, upper: int, position: Position = Position.UPSTREAM) -> None:
        """Connect two nodes, or connect them again."""
        self._links |= {(lower, upper), (upper, lower)}
        for one, other, where in (
            (lower, upper, position),
            (upper, lower, _OTHER_SIDE[position]),
        ):
            for batch in self.boards[one].open(other, where, FRAME_BYTES):
                self._send(one, other, batch)
        self._deliver()

    def cut(self, one: int, other: int, *, in_order: bool = False) -> None:
        """End the connection of two nodes."""
        self._links -= {(one, other), (other, one)}
        self.boards[one].lost(other, self.now, in_order=in_order)
        self.boards[other].lost(one, self.now, in_order=in_order)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        for board in self.boards.values():
            board.tick(self.now)

    def send(self, sender: int, receiver: int, batch: ServiceBatch) -> None:
        """Let a node tell something that it made up."""
        self._send(sender, receiver, batch)
        self._deliver()

    def _send(self, sender: int, receiver: int, batch: ServiceBatch) -> None:
        self.entries += len(batch.services)
        self._parcels.append((sender, receiver, bytes(codec.encode(batch))))

    def _deliver(self) -> None:
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._collect() or self._parcels:
                sender, receiver, frame = self._parcels.popleft()
                if (sender, receiver) in self._links:
                    message = codec.decode(frame)
                    assert isinstance(message, ServiceBatch)
                    assert len(frame) <= FRAME_BYTES
                    self.boards[receiver].heard(sender, message)
        finally:
            self._is_delivering = False

    def _collect(self) -> bool:
        """Put what boards have to tell on its way; gives whether something is on it."""
        for bus_id, board in self.boards.items():
            for neighbor, batch in list(board.changes()):
                self._send(bus_id, neighbor, batch)
        return bool(self._parcels)
