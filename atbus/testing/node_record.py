"""
Have a node write down what becomes of each of its messages, as ``record_events`` asks for.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Callable, Sequence

from twisted.logger import Logger

from atbus.errors import Status
from atbus.node.events import Fate
from atbus.node.life import STARTING, STOPPED
from atbus.node.node import Node
from atbus.node.observing import observe
from atbus.testing.record import EventRecorder


class NodeRecord:
    """
    The record of one node, from its start to its end in good order.

    A file that cannot be written any more ends the record, with a line in the log, and disturbs
    neither the node nor its messages; the checker then misses the ``stop``.

    :param node: The node; not started yet.
    :param path: The file, see `EventRecorder`.
    :raises OSError: When the file cannot be written.
    """

    _log = Logger()

    def __init__(self, node: Node, path: str | os.PathLike[str]) -> None:
        self._node = node
        self._path = path
        self._up = False
        #: Under which ids the node has written something: an id may be assigned, and given up.
        self.ids: set[int] = set()
        self._recorder: EventRecorder | None = EventRecorder(path, node.bus_id, node.epoch)
        # For each target the sequences from which on messages were sent in another epoch.
        self._epochs: dict[int, tuple[list[int], list[int]]] = {}
        observe(node, self)
        node.events.on_forward_response.observe(self._told)
        node.events.on_node_up.observe(self._went_up)
        node.events.on_node_down.observe(self._went_down)
        node.events.on_state_changed.observe(self._state_changed)

    def close(self) -> None:
        """End the record without a word, as that of a killed process ends."""
        recorder, self._recorder = self._recorder, None
        if recorder is not None:
            recorder.close()

    # What the node shows.

    def accepted(self, target: int, sequence: int, kind: int, payload: bytes) -> None:
        """Write down a message that is sent."""
        sequences, epochs = self._epochs.setdefault(target, ([], []))
        if not epochs or epochs[-1] != self._node.epoch:
            sequences.append(sequence)
            epochs.append(self._node.epoch)
        self._write(EventRecorder.send, target, sequence, kind, payload)

    def refused(self, target: int, status: Status) -> None:
        """Write down a message that is not accepted."""
        self._write(EventRecorder.refuse, target, status)

    def received(
        self,
        source: int,
        epoch: int,
        first_sequence: int,
        messages: Sequence[tuple[int, bytes]],
        hops: int,
    ) -> None:
        """Write down messages that the program is given, all at once."""

        def receive_all(recorder: EventRecorder) -> None:
            with recorder.batch():
                for sequence, (kind, payload) in enumerate(messages, first_sequence):
                    recorder.receive(source, epoch, sequence, kind, payload, hops)

        self._write(receive_all)

    def dropped(
        self, source: int, epoch: int, target: int, first_sequence: int, count: int, status: Status
    ) -> None:
        """Write down messages that end here."""

        def drop(recorder: EventRecorder) -> None:
            recorder.drop_run(
                status,
                source=source,
                source_epoch=epoch,
                target=target,
                first_sequence=first_sequence,
                count=count,
            )

        self._write(drop)

    def order_given_up(self, target: int) -> None:
        """Write down that messages to a target may overtake others."""
        self._write(EventRecorder.unorder, target)

    def _told(self, fate: Fate) -> None:
        sequences, epochs = self._epochs.get(fate.target, ([], []))
        place = bisect_right(sequences, fate.first_sequence) - 1
        epoch = epochs[place] if place >= 0 else self._node.epoch

        def tell(recorder: EventRecorder) -> None:
            recorder.fate(
                fate.target,
                fate.first_sequence,
                fate.count,
                fate.status,
                fate.gave_up_at,
                epoch=epoch,
            )

        self._write(tell)

    def _went_up(self) -> None:
        self._up = True
        self._write(EventRecorder.up)

    def _went_down(self, status: Status) -> None:
        self._up = False
        self._write(EventRecorder.down, status)
        self._end()

    def _end(self) -> None:
        self._write(EventRecorder.stop)
        self._recorder = None

    def _state_changed(self, state: str) -> None:
        if state == STOPPED and not self._up:
            # Of one that was up it is told afterwards why it went down.
            self._end()
        elif state == STARTING and self._recorder is None:
            self._recorder = EventRecorder(self._path, self._node.bus_id, self._node.epoch)

    def _write(self, event: Callable[..., None], *values: object) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        # An id may be assigned, and an epoch raised, while the node runs.
        recorder.node_id = self._node.bus_id
        recorder.epoch = self._node.epoch
        self.ids.add(recorder.node_id)
        try:
            event(recorder, *values)
        except OSError:
            self._log.failure("{path}: the record ends here", path=os.fspath(self._path))
            recorder.close()
            self._recorder = None
