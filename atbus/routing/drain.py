"""
A proxy that is to be empty: nobody below it any more, and nothing on its way through it.

1. It says of itself that it is draining (`Announce`), and whoever wants to register from then on is
   refused. Everybody below it is asked to move (`Ask`).
2. Who is below moves to another upstream and leaves by itself, or answers that it cannot, which is
   its last word unless it moves all the same. Until then the proxy forwards as before.
3. When everybody has left or cannot, and nothing has passed for a moment, it is done (`Done`); at
   the latest when its time is over.

A node that has nobody below it is done at once: it forwards for nobody.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import attrs

from atbus.errors import Status


@attrs.frozen
class Announce:
    """Say of this node that it is draining."""


@attrs.frozen
class Ask:
    """
    Ask a downstream to move.

    :param bus_id: Whom.
    :param grace_seconds: How long this node goes on forwarding for it.
    """

    bus_id: int
    grace_seconds: float


@attrs.frozen
class Drained:
    """
    How it ended.

    :param moved: Those that were below this node and are registered here no more.
    :param stayed: Those that still are, each with the reason; `Status.TIMEOUT` of one that has said
        nothing in time.
    :param seconds: How long it took.
    """

    moved: tuple[int, ...]
    stayed: tuple[tuple[int, Status], ...]
    seconds: float


@attrs.frozen
class Done:
    """
    The node is empty, or its time is over.

    :param result: How it ended.
    """

    result: Drained


Effect: TypeAlias = Announce | Ask | Done


@attrs.define(eq=False)
class Drain:
    """
    One drain of one node.

    :param seconds: How long it may take in all.
    :param quiet_seconds: For how long nothing may have passed in the end.
    """

    seconds: float
    quiet_seconds: float
    #: Whether it has ended.
    is_over: bool = attrs.field(default=False, init=False)
    _began_at: float = attrs.field(default=0.0, init=False)
    # Who was asked and has neither left nor answered, and who was asked at all.
    _awaited: set[int] = attrs.field(factory=set, init=False)
    _asked: dict[int, None] = attrs.field(factory=dict, init=False)
    _gone: set[int] = attrs.field(factory=set, init=False)
    _stuck: dict[int, Status] = attrs.field(factory=dict, init=False)
    # What had passed when something last did, and when that was.
    _passed: int = attrs.field(default=0, init=False)
    _passed_at: float = attrs.field(default=0.0, init=False)
    _gone_at: float = attrs.field(default=0.0, init=False)

    def begin(self, downstreams: Iterable[int], passed: int, now: float) -> list[Effect]:
        """
        Begin.

        :param downstreams: Who is below this node.
        :param passed: How much has passed through this node up to now.
        :param now: The time, seconds.
        :returns: What is to be done.
        """
        self._began_at = now
        self._asked = dict.fromkeys(downstreams)
        self._awaited = set(self._asked)
        self._passed, self._passed_at = passed, now
        asks = [Ask(bus_id, self.seconds) for bus_id in self._asked]
        return [Announce(), *asks, *self._look(now)]

    def cannot_move(self, bus_id: int, status: Status, now: float) -> list[Effect]:
        """
        Take the answer of a downstream that has nowhere to go.

        :param bus_id: Whose.
        :param status: Why.
        :param now: The time, seconds.
        :returns: What is to be done.
        """
        if bus_id in self._awaited:
            self._stuck[bus_id] = status
            self._awaited.discard(bus_id)
        return self._look(now)

    def gone(self, bus_id: int, now: float) -> list[Effect]:
        """
        Take note that a node is registered here no more.

        :param bus_id: Which one.
        :param now: The time, seconds.
        :returns: What is to be done.
        """
        if bus_id in self._asked:
            self._awaited.discard(bus_id)
            self._stuck.pop(bus_id, None)
            self._gone.add(bus_id)
            self._gone_at = now
        return self._look(now)

    def tick(self, passed: int, now: float) -> list[Effect]:
        """
        Look whether it is over.

        :param passed: How much has passed through this node up to now.
        :param now: The time, seconds.
        :returns: What is to be done.
        """
        if passed != self._passed:
            self._passed, self._passed_at = passed, now
        return self._look(now)

    def _look(self, now: float) -> list[Effect]:
        if self.is_over:
            return []
        is_late = now >= self._began_at + self.seconds
        # What passes for those that cannot move never ends; it is no reason to wait.
        since = self._gone_at if self._stuck else self._passed_at
        is_quiet = not self._gone or now >= since + self.quiet_seconds
        if not is_late and (self._awaited or not is_quiet):
            return []
        self.is_over = True
        stayed = {**dict.fromkeys(sorted(self._awaited), Status.TIMEOUT), **self._stuck}
        moved = tuple(bus_id for bus_id in self._asked if bus_id in self._gone)
        return [Done(Drained(moved, tuple(sorted(stayed.items())), now - self._began_at))]
