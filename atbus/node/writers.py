"""
Who waits until a target takes messages again.

A target takes messages when nobody on the way has asked for a pause and the queue on our side is
not long, also that of what waits while the way to it is being changed. Between "no more" and "go
on" lies half a queue, so that a program which waits each time sends many messages in between. What
is waited for always ends: when the target is written to again, when it cannot be reached, or when
the node stops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, fail, succeed

from atbus import limits
from atbus.busid import check_bus_id
from atbus.errors import Status, Undeliverable

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.sending import Sender
    from atbus.node.traffic import Traffic
    from atbus.routing.window import Window


class Writers:
    """
    The targets of which a program was told to wait, and those who do.

    :param sender: Knows whether anything is accepted.
    :param traffic: Knows the next hop.
    :param window: Our own, for messages to ourselves.
    """

    def __init__(self, context: Context, sender: Sender, traffic: Traffic, window: Window) -> None:
        self._context = context
        self._window = window
        self._sender = sender
        self._traffic = traffic
        self._waiting: dict[int, list[Deferred[None]]] = {}
        # Targets for which something was refused since they were last known to take messages.
        self._refused: dict[int, None] = {}
        self._is_looking = False

    def wait(self, target: int) -> Deferred[None]:
        """
        Wait until a target takes messages.

        :returns: Fires then, at once if it does; fails with `Undeliverable`.
        :raises LocalProtocolError: The target is no bus id.
        """
        state = self._state_of(target)
        if isinstance(state, Status):
            return fail(self._undeliverable(state, target))
        if state:
            return succeed(None)
        waiting: Deferred[None] = Deferred(lambda each: self._forget(target, each))
        self._waiting.setdefault(target, []).append(waiting)
        return waiting

    def may_write(self, target: int) -> bool:
        """Tell whether a program that sends to a target need not wait."""
        return self._state_of(target) is True

    def _forget(self, target: int, waiting: Deferred[None]) -> None:
        others = self._waiting.get(target, [])
        if waiting in others:
            others.remove(waiting)
        if not others:
            self._waiting.pop(target, None)

    def refused(self, target: int) -> None:
        """Learn that a message was refused because its target does not take any."""
        if target in self._refused:
            return
        if len(self._refused) >= limits.FLOWS_MAX:
            self._refused.pop(next(iter(self._refused)))
        self._refused[target] = None
        self._context.events.on_backpressure(target)

    def _state_of(self, target: int) -> bool | Status:
        """Tell whether a target takes messages, or why it never will."""
        check_bus_id(target)
        if self._sender.refusal is not None:
            return self._sender.refusal
        hop = self._traffic.hop_to(target)
        if isinstance(hop, Status):
            return not self._window.closed if hop is Status.OK else hop
        if self._traffic.pressure.is_paused(hop.bus_id, target):
            return False
        ways = self._context.ways
        if target in ways.held:
            return not ways.is_long(target)
        if target in self._refused or target in self._waiting:
            return hop.takes_more
        return not hop.is_over

    def look_soon(self) -> None:
        """Look at the end of this turn who can go on."""
        if (self._waiting or self._refused) and not self._is_looking:
            self._is_looking = True
            self._context.turn.at_end(self._look_now)

    def _look_now(self) -> None:
        self._is_looking = False
        self.look()

    def look(self) -> None:
        """Tell those who wait for a target that takes messages again, or never will."""
        for target in [*self._refused, *(t for t in self._waiting if t not in self._refused)]:
            state = self._state_of(target)
            if state is False:
                continue
            was_refused = target in self._refused
            self._refused.pop(target, None)
            waiting = self._waiting.pop(target, [])
            if state is True and was_refused:
                self._context.events.on_writable(target)
            for each in waiting:
                if state is True:
                    each.callback(None)
                else:
                    each.errback(self._undeliverable(state, target))

    def close(self) -> None:
        """End all waiting: the node stops."""
        waiting, self._waiting = self._waiting, {}
        self._refused.clear()
        for target, each_waiting in waiting.items():
            for each in each_waiting:
                each.errback(self._undeliverable(Status.CLOSING, target))

    def _undeliverable(self, status: Status | bool, target: int) -> Undeliverable:
        return Undeliverable(Status(status), target, 0, self._context.bus_id)
