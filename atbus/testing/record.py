"""
Write down what becomes of each message at one node, for the checker.

A node's events go to one file, one JSON object on a line, in the order in which they happened. Each
call is one write to the end of the file before it returns, so a process that is killed loses
nothing that it had done. The checker (`atbus.testing.checker`) reads the files of all nodes and
shares no code with this module: what connects them is the format.

Every line has ``event``, ``node`` (the bus id as text) and ``epoch``. The events:

``open``: pid
    A process begins to write.
``send``: target, sequence, kind, digest
    A message was accepted.
``refuse``: target, status
    A message was not accepted.
``fate``: target, sequence, count, status, gave_up_at
    What became of messages that had been accepted.
``receive``: source, source_epoch, sequence, kind, digest, hops
    The application was given a message.
``drop``: status, count; source, source_epoch, target, sequence where they are known
    Messages ended here and nobody could be told.
``unorder``: target
    Messages to the target, from whomever, may overtake others that came here before.
``up``; ``down``: status; ``stop``
    The node is up, is down, has stopped in good order.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

from atbus.busid import format_bus_id
from atbus.errors import Status

DIGEST_BYTES = 8
"""The length of a payload's digest; in a file it is hexadecimal text."""


def payload_digest(payload: bytes | bytearray | memoryview) -> str:
    """
    Give what stands for a payload in a file.

    :param payload: The bytes of a message.
    :returns: Sixteen hexadecimal digits.
    """
    return hashlib.blake2b(payload, digest_size=DIGEST_BYTES).hexdigest()


class EventRecorder:
    """
    Append the events of one node to its file.

    What a program learns only by waiting too long is no event: the message may still arrive.

    :param path: The file; made if it is not there. The checker looks for names that end in
        ``.events``.
    :param node_id: The node's bus id; 0 until an automatic one is assigned (see `node_id`).
    :param epoch: The node's epoch.
    :raises OSError: When the file cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], node_id: int, epoch: int) -> None:
        self.node_id = node_id
        """The node's bus id in the events that follow; set it when one is assigned."""
        self.epoch = epoch
        """The node's epoch in the events that follow; set it when it is raised."""
        self._held: list[bytes] | None = None
        self._descriptor: int | None = os.open(
            path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        if not self._ends_with_a_line():
            # A process died within a write, for example on a full disk.
            os.write(self._descriptor, b"\n")
        self._write("open", pid=os.getpid())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def send(
        self, target: int, sequence: int, kind: int, payload: bytes | bytearray | memoryview
    ) -> None:
        """
        Note that the node accepted a message.

        :param target: The bus id it is meant for.
        :param sequence: Its sequence, as ``send`` returned it.
        :param kind: The sender's number.
        :param payload: Its bytes; only their digest is written.
        """
        self._write(
            "send",
            target=format_bus_id(target),
            sequence=sequence,
            kind=kind,
            digest=payload_digest(payload),
        )

    def refuse(self, target: int, status: Status) -> None:
        """
        Note that the node did not accept a message.

        :param target: The bus id it was meant for.
        :param status: The reason.
        """
        self._write("refuse", target=format_bus_id(target), status=status.name)

    def fate(
        self,
        target: int,
        first_sequence: int,
        count: int,
        status: Status,
        gave_up_at: int = 0,
        *,
        epoch: int | None = None,
    ) -> None:
        """
        Note what the node was told of messages that it had accepted.

        :param target: The bus id they were meant for.
        :param first_sequence: The sequence of the first.
        :param count: How many, one sequence after the other.
        :param status: `Status.OK` if they were delivered, `Status.UNCERTAIN` if nobody knows, else
            the reason for which they were not.
        :param gave_up_at: The bus id of the node that gave up; 0 when this node did.
        :param epoch: The epoch in which they were sent; None: the present one.
        """
        self._write(
            "fate",
            target=format_bus_id(target),
            sequence=first_sequence,
            count=count,
            status=status.name,
            gave_up_at=format_bus_id(gave_up_at),
            **({} if epoch is None else {"epoch": epoch}),
        )

    def receive(
        self,
        source: int,
        source_epoch: int,
        sequence: int,
        kind: int,
        payload: bytes | bytearray | memoryview,
        hops: int = 0,
    ) -> None:
        """
        Note that the application was given a message.

        :param source: The bus id of its sender.
        :param source_epoch: The sender's epoch.
        :param sequence: Its sequence.
        :param kind: The sender's number.
        :param payload: Its bytes; only their digest is written.
        :param hops: How many nodes passed it on.
        """
        self._write(
            "receive",
            source=format_bus_id(source),
            source_epoch=source_epoch,
            sequence=sequence,
            kind=kind,
            digest=payload_digest(payload),
            hops=hops,
        )

    def drop(self, status: Status, count: int = 1) -> None:
        """
        Note that messages ended here and that nobody could be told.

        :param status: The reason.
        :param count: How many.
        """
        self._write("drop", status=status.name, count=count)

    def drop_run(
        self,
        status: Status,
        *,
        source: int,
        source_epoch: int,
        target: int,
        first_sequence: int,
        count: int = 1,
    ) -> None:
        """
        Note that known messages ended here and that their sender could not be told.

        :param status: The reason.
        :param source: The bus id of their sender.
        :param source_epoch: The sender's epoch.
        :param target: The bus id they were meant for.
        :param first_sequence: The sequence of the first.
        :param count: How many, one sequence after the other.
        """
        self._write(
            "drop",
            status=status.name,
            source=format_bus_id(source),
            source_epoch=source_epoch,
            target=format_bus_id(target),
            sequence=first_sequence,
            count=count,
        )

    def unorder(self, target: int) -> None:
        """
        Note that the node gave up the order of messages.

        :param target: The bus id of those that they are meant for.
        """
        self._write("unorder", target=format_bus_id(target))

    def up(self) -> None:
        """Note that the node is up."""
        self._write("up")

    def down(self, status: Status) -> None:
        """
        Note that the node is down.

        :param status: Why.
        """
        self._write("down", status=status.name)

    def stop(self) -> None:
        """Note that the node has stopped in good order, and close the file."""
        self._write("stop")
        self.close()

    def close(self) -> None:
        """Close the file without a word, as a killed process does; twice is harmless."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    @contextmanager
    def batch(self) -> Iterator[None]:
        """
        Write the events of a block together, when it ends: for runs of messages.

        :returns: A context in which the calls hold their lines back.
        """
        if self._held is not None:
            yield
            return
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            self._append(b"".join(held))

    def _write(self, event: str, **fields: object) -> None:
        line = {"event": event, "node": format_bus_id(self.node_id), "epoch": self.epoch} | fields
        text = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        if self._held is None:
            self._append(text)
        else:
            self._held.append(text)

    def _append(self, text: bytes) -> None:
        if self._descriptor is None:
            # An event after the end, for example of a link that closes late.
            return
        rest = memoryview(text)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _ends_with_a_line(self) -> bool:
        assert self._descriptor is not None
        size = os.fstat(self._descriptor).st_size
        return size == 0 or os.pread(self._descriptor, 1, size - 1) == b"\n"
