"""
Read what nodes wrote down, for the checker.

Files are described in `atbus.testing.record`, whose code is not used here. A line is an event or it
is *broken*; a broken line was cut off if its process ended there: if it is the last one and has no
end, or if the next thing in the file is a process that begins.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import attrs

from atbus.errors import Status

Run: TypeAlias = tuple[int, int]
"""A node's bus id and epoch."""

Key: TypeAlias = tuple[int, int, int, int]
"""A message: sender, sender's epoch, target, sequence."""


@attrs.define
class Sent:
    """
    One message as its sender wrote it down, and what was found out about it since.

    :param received: How many times its target received it.
    :param told: What its sender was told of it.
    :param dropped: The reason for which a node dropped it, if one did.
    """

    kind: int
    digest: str
    received: int = 0
    told: list[str] = attrs.field(factory=list)
    dropped: str | None = None


@attrs.frozen
class Receipt:
    """One message as it was received, and by which node."""

    file: str
    node: int
    source: int
    source_epoch: int
    sequence: int
    kind: int
    digest: str

    @property
    def key(self) -> Key:
        """The message that this is, if it was meant for the node that received it."""
        return self.source, self.source_epoch, self.node, self.sequence


@attrs.frozen
class News:
    """What was said of messages: of the one under the key and of those that follow it."""

    key: Key
    count: int
    status: str


@attrs.define
class History:
    """
    The events of all files, sorted by what they say.

    :param sent_twice: Keys under which more than one message was sent.
    :param refused: Sender, target and reason of messages that were not accepted.
    :param fates: What senders were told.
    :param dropped: What nodes dropped and could name.
    :param drops: For each reason how many messages nodes dropped.
    :param unordered: Targets towards which some node gave up the order of messages.
    :param runs: The nodes and epochs that wrote anything.
    :param unfinished: Those of them that did not write that they had stopped.
    :param truncated: How many lines were cut off by the end of their process.
    :param unreadable: The places of other lines that are no events.
    """

    sent: dict[Key, Sent] = attrs.field(factory=dict)
    sent_twice: list[Key] = attrs.field(factory=list)
    refused: list[tuple[int, int, str]] = attrs.field(factory=list)
    fates: list[News] = attrs.field(factory=list)
    dropped: list[News] = attrs.field(factory=list)
    receipts: list[Receipt] = attrs.field(factory=list)
    drops: Counter[str] = attrs.field(factory=Counter)
    unordered: set[int] = attrs.field(factory=set)
    runs: set[Run] = attrs.field(factory=set)
    unfinished: set[Run] = attrs.field(factory=set)
    truncated: int = 0
    unreadable: list[str] = attrs.field(factory=list)
    # What one process wrote into one file, from ``open`` to ``stop``.
    _session: set[Run] = attrs.field(factory=set)

    def read(self, name: str, lines: Iterable[bytes]) -> None:
        """
        Take in one file; several processes may have written into it, one after the other.

        :param name: Its name, for people.
        :param lines: Its lines, the last one perhaps without an end.
        """
        broken, complete = "", True
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            event = _parse(line)
            if event is None or not self._take(name, event):
                self.unreadable.extend([broken] if broken else [])
                broken, complete = f"{name}, line {number}", line.endswith(b"\n")
            elif broken:
                # Only a process that begins may follow on a line that was cut off.
                if event["event"] == "open":
                    self.truncated += 1
                else:
                    self.unreadable.append(broken)
                broken = ""
        if broken and complete:
            self.unreadable.append(broken)
        elif broken:
            self.truncated += 1
        self._end_session(stopped=False)

    def _take(self, file: str, event: Mapping[str, Any]) -> bool:
        try:
            self._sort(file, event, (_bus_id(event["node"]), int(event["epoch"])))
        except (ValueError, KeyError, TypeError, OverflowError):
            # JSON has infinities for Python, and they are no numbers of anything.
            return False
        return True

    def _sort(self, file: str, event: Mapping[str, Any], run: Run) -> None:
        match event["event"]:
            case "open":
                self._end_session(stopped=False)
            case "send":
                self._sort_send((*run, _bus_id(event["target"]), int(event["sequence"])), event)
            case "refuse":
                self.refused.append((run[0], _bus_id(event["target"]), _reason(event)))
            case "fate":
                self.fates.append(_news(event, run))
            case "receive":
                self.receipts.append(_receipt(event, run[0], file))
            case "drop":
                if "source" in event:
                    source = _bus_id(event["source"]), int(event["source_epoch"])
                    self.dropped.append(_news(event, source))
                self.drops[_reason(event)] += int(event["count"])
            case "unorder":
                self.unordered.add(_bus_id(event["target"]))
            case "up" | "down" | "stop":
                pass
            case unknown:
                raise ValueError(unknown)
        if run[0]:
            self._session.add(run)
        if event["event"] == "stop":
            self._end_session(stopped=True)

    def _sort_send(self, key: Key, event: Mapping[str, Any]) -> None:
        if key in self.sent:
            self.sent_twice.append(key)
        self.sent[key] = Sent(int(event["kind"]), str(event["digest"]))

    def _end_session(self, *, stopped: bool) -> None:
        # A node may get a new id or epoch on its way; they all end together.
        self.runs |= self._session
        if not stopped:
            self.unfinished |= self._session
        self._session.clear()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _bus_id(text: str) -> int:
    return int(text, 16)


def _reason(event: Mapping[str, Any]) -> str:
    # By way of the enum: an outcome that has no name is no event.
    return Status[event["status"]].name


def _news(event: Mapping[str, Any], run: Run) -> News:
    key = (*run, _bus_id(event["target"]), int(event["sequence"]))
    return News(key, int(event["count"]), _reason(event))


def _receipt(event: Mapping[str, Any], node: int, file: str) -> Receipt:
    return Receipt(
        file=file,
        node=node,
        source=_bus_id(event["source"]),
        source_epoch=int(event["source_epoch"]),
        sequence=int(event["sequence"]),
        kind=int(event["kind"]),
        digest=str(event["digest"]),
    )
