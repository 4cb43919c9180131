"""
Keeping the order when a destination is reached through another neighbor than before.

What that means, and when anything has to wait, is said in `atbus.routing.ways`. This looks what is
still on its way, sends the FLUSHes, and gives what was held to the new way.

What waits for a way to a neighbor, and is for somebody beyond it who is now to be found elsewhere,
goes there before anything that comes later. So does what waits for a node that is being dialled,
when there is a way to it before that has ended.

The answer to a FLUSH may be lost, and a relay that has no way for one drops it. Both do no harm: a
frame is acknowledged when nobody answers for it any more, and when that is so of the FLUSH, and of
everything for its destination on the same link, nothing is left that could be overtaken.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from atbus import limits
from atbus.errors import Status
from atbus.node.context import Alarm
from atbus.node.endpoint import Endpoint, Gate
from atbus.node.joining import joined
from atbus.node.outbox import Kept, Relayed, Routed, Run
from atbus.routing.change import OpenPath, SendFlush
from atbus.routing.ways import WayEffect
from atbus.wire.messages import Flags, Flush

if TYPE_CHECKING:
    from atbus.node.context import Context
    from atbus.node.directs import Prospect
    from atbus.node.traffic import Traffic

#: Marks the tokens of the flushes that are sent from here.
MOVE = 1 << 62
# Where a frame has its flags.
_FLAGS_AT = 5
_FLOWING = (Gate.OPEN, Gate.CHANGING)


@attrs.define(eq=False)
class Flushed:
    """
    Wants to know that a FLUSH has arrived, or that nobody carries it any more.

    :param destination: Whom the FLUSH is for.
    :param token: Its token.
    :param told: Called with both.
    """

    destination: int
    token: int
    told: Callable[[int, int], None]

    def discharge(self) -> None:
        """Tell so."""
        self.told(self.destination, self.token)


class Moves:
    """
    Change the ways of destinations, one by one.

    :param endpoints: The registered remote nodes by id; shared with the registrar.
    """

    def __init__(
        self, context: Context, endpoints: dict[int, Endpoint], traffic: Traffic
    ) -> None:
        self._context = context
        self._ways = context.ways
        self._endpoints = endpoints
        self._traffic = traffic
        self._alarm = Alarm(context.timers, self._tick)
        # Destinations whose FLUSH is not under way any more, with its token.
        self._flushed: dict[int, int] = {}
        # Those whose next portion waits until their new way takes more, with the token answered.
        self._paused: dict[int, int] = {}
        # Which state of the ways was looked at last by those who wait.
        self._diverted_at = 0
        self._divert_asked = False
        #: Set by the node, which wires its parts: what waits for nodes that are being dialled.
        self.prospects: Callable[[], Iterable[Prospect]]

    def take(self, target: int, hop: Endpoint) -> None:
        """Note that messages to *target* are about to be given to *hop*, if it has a way."""
        if hop.gate in _FLOWING and self._ways.is_new(target, hop.bus_id):
            last = self._ways.last(target)
            is_held = target in self._ways.held
            owed = last is not None and not is_held and self.owes(last, target)
            self._obey(self._ways.take(target, hop.bus_id, self._context.now, owed=owed))
            if target in self._paused:
                # There may be another way by now.
                self._arrived(target, self._paused.pop(target))

    def divert(self, generation: int) -> None:
        """
        Let what waits for an endpoint go where its target is to be found now, before others do.

        So does what waits for a node that is being dialled, as soon as there is a way without that.

        :param generation: The state of the ways: in one that was looked at nothing is to be done.
        """
        if generation == self._diverted_at:
            return
        self._diverted_at = generation
        hops: list[Endpoint | Prospect] = [*self._endpoints.values(), *self.prospects()]
        for hop in hops:
            if hop.pending:
                items = hop.pending.pick(partial(self._is_elsewhere, hop))
                self._traffic.resubmit(
                    self._joined(items), Status.NOT_CONNECTED, insist=True
                )

    def divert_soon(self) -> None:
        """Do so at the end of this turn: nobody else need come for what waits to go its way."""
        if self._endpoints and not self._divert_asked:
            self._divert_asked = True
            self._context.turn.at_end(self._divert_now)

    def _divert_now(self) -> None:
        self._divert_asked = False
        self.divert(self._traffic.generation)

    def _is_elsewhere(self, waits_for: Endpoint | Prospect, item: Kept) -> bool:
        """Tell whether another endpoint is the way for something that waits for this one."""
        if not isinstance(item, Run | Relayed):
            return False
        came_from, exclude, no_upstream = conditions_of(item)
        hop = self._traffic.hop_to(
            item.target, came_from=came_from, exclude=exclude, no_upstream=no_upstream
        )
        return isinstance(hop, Endpoint) and hop is not waits_for

    def owes(self, neighbor: int, target: int) -> bool:
        """Tell whether anything for *target* that went through a neighbor is on its way."""
        endpoint = self._endpoints.get(neighbor)
        if endpoint is None:
            return False
        if endpoint.pending:
            return True
        links = [each.link for each in endpoint.carriers if each.link is not None]
        return any(link.owes(target) for link in links)

    def leave(self, endpoint: Endpoint) -> None:
        """Send the flushes that an endpoint is to have before it is told that nothing follows."""
        bus_id = endpoint.bus_id
        for target in self._ways.through(bus_id):
            if target == bus_id:
                continue
            hop = self._traffic.hop_to(target, exclude=(bus_id,))
            if isinstance(hop, Endpoint) and hop.gate in _FLOWING:
                self.take(target, hop)

    def is_leaving(self, endpoint: Endpoint) -> bool:
        """Tell whether what went through an endpoint is still being flushed."""
        return self._ways.is_leaving(endpoint.bus_id)

    def settle(self, endpoint: Endpoint, left: int | None) -> None:
        """
        Take note that what takes an endpoint from now on overtakes nothing that went another way.

        The way to the endpoint itself was flushed, and nothing else. A target beyond it may have
        come to be known there after the FLUSH had gone, or have moved there from a place to which
        the same neighbor leads: what is still on its way to it is flushed when the first message
        takes the endpoint.

        :param left: Where the way until now led through; None when nobody knows it any more.
        """
        for target in self._ways.destinations:
            if self._traffic.hop_to(target) is endpoint:
                last = self._ways.last(target)
                flushed = last == left and target == endpoint.bus_id
                if last is None or flushed or not self.owes(last, target):
                    self._ways.settle(target, endpoint.bus_id)

    def forget(self, endpoint: Endpoint) -> None:
        """Take note that all that went to an endpoint directly has arrived."""
        self._ways.forget(endpoint.bus_id)

    def lost(self, endpoint: Endpoint) -> None:
        """Open the ways that led to or away from an endpoint that has no data connection now."""
        self._obey(self._ways.lost(endpoint.bus_id))

    def answered(self, source: int, token: int) -> None:
        """Take the answer to a flush."""
        self._arrived(source, token & ~MOVE)

    def _arrived(self, destination: int, token: int) -> None:
        """Go on, unless the new way has had enough for the moment."""
        ways, path = self._ways, self._ways.last(destination)
        if not ways.awaits(destination, token):
            return
        pressure = self._traffic.pressure
        is_paused = path is not None and pressure.is_paused(path, destination)
        if is_paused and ways.goes_on(destination):
            self._paused[destination] = token
        else:
            self._obey(ways.acknowledged(destination, token))

    def paused(self, destination: int) -> None:
        """Take note that a neighbor takes a destination no more for the moment."""
        self._ways.slow_down(destination)

    def resumed(self) -> None:
        """Go on with what neighbors take again."""
        paused, self._paused = self._paused, {}
        for destination, token in paused.items():
            self._arrived(destination, token)

    def _discharged(self, destination: int, token: int) -> None:
        if self._ways.awaits(destination, token):
            self._flushed[destination] = token
            self._set_alarm()

    def _tick(self) -> None:
        for destination, token in list(self._flushed.items()):
            old = self._ways.last(destination)
            if destination not in self._ways.held or old is None:
                del self._flushed[destination]
            elif not self.owes(old, destination):
                del self._flushed[destination]
                self._arrived(destination, token)
        self._obey(self._ways.tick(self._context.now))

    def _set_alarm(self) -> None:
        deadline = self._ways.deadline
        if self._flushed:
            look_at = self._context.now + limits.LEAVING_POLL_SECONDS
            deadline = look_at if deadline is None else min(deadline, look_at)
        self._alarm.set(deadline)

    def give_up(self) -> None:
        """Answer for all that is held: the node leaves, and it can go nowhere any more."""
        self._traffic.lost(self._ways.give_up(), Status.CLOSING)
        self.sweep()

    def sweep(self) -> None:
        """Say how much is held."""
        self._context.ways_account.hold(self._ways.held_bytes)

    def close(self) -> None:
        """Wait for nothing any more."""
        self._alarm.set(None)

    def _obey(self, effects: list[WayEffect[Kept]]) -> None:
        opened = False
        for effect in effects:
            match effect:
                case SendFlush(destination=destination, path=path, token=token):
                    if destination in self._ways.held:
                        self._send_flush(destination, path, token)
                case OpenPath():
                    opened = True
                    if not effect.order_kept:
                        order_given_up(self._context, effect)
                    self._open(effect)
        if opened:
            # What the last neighbor on a way had paused counts no longer.
            self._traffic.pressure.look_again()
        self._set_alarm()
        self.sweep()

    def _open(self, effect: OpenPath[int, Kept]) -> None:
        """Let what was held take its new way, all of it or a portion."""
        held = [*effect.held]
        if not effect.is_whole:
            endpoint = self._endpoints.get(effect.path)
            if endpoint is not None and endpoint.takes_portions:
                for item in self._joined(held):
                    assert isinstance(item, Run | Relayed), "nothing else is held"
                    status = endpoint.insist(item, follows=True)
                    if status is not None:
                        self._traffic.lost((item,), status)
                return
            # It goes the way that the table has now, and so does what waits behind it.
            for rest in self._ways.broken(effect.destination):
                if isinstance(rest, OpenPath):
                    held += rest.held
        self._traffic.changed()
        self._traffic.resubmit(self._joined(held), Status.NOT_CONNECTED, insist=True)

    def _joined(self, items: Iterable[Kept]) -> list[Kept]:
        return joined(items, self._context.config.frame_bytes_far)

    def _send_flush(self, destination: int, path: int, token: int) -> None:
        context = self._context
        flush = Flush(
            source=context.bus_id,
            destination=destination,
            epoch=context.epoch,
            hop_limit=context.config.hops,
            token=token | MOVE,
        )
        old = self._endpoints.get(path)
        item = Routed.of(flush, Flushed(destination, token, self._discharged))
        link = None if old is None else old.open_link
        if link is not None:
            # Whatever waits there: what it goes behind has been taken.
            link.put(item)
        elif old is None or old.submit(item) is not None:
            self._obey(self._ways.broken(destination))


def conditions_of(item: Run | Relayed) -> tuple[int | None, Collection[int], bool]:
    """Say from whom something came, whom it may not take, and whether the upstream is closed."""
    if isinstance(item, Run):
        return None, item.exclude, bool(item.flags & Flags.NO_UPSTREAM)
    flags = item.frame[_FLAGS_AT]
    return item.custody.link.connection.bus_id, (), bool(flags & Flags.NO_UPSTREAM)


def order_given_up(context: Context, effect: OpenPath[Any, Any]) -> None:
    """Count, and tell, that messages may overtake others."""
    context.statistics.order_given_up += 1
    if context.observer is not None:
        context.observer.order_given_up(effect.destination)
    context.events.on_error(
        effect.status, f"order towards {effect.destination:#x} was given up"
    )
