"""
The membership of a cluster of NATS, as what one gateway hands over to another one.

Each server is handed over as by `atbus.nats.handover`, all of them at the same time and with one
mark: what a client of a server publishes comes from that server alone, so it is that one that draws
who passes it on. What one route has put on the bus is for no other one, for servers have it from
each other: the numbers of that are noted for all.

The giver tells the servers with which it has routes. The taker lets in these and no others until it
is through, and goes on as soon as it has a route to each, or after a while.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall

from atbus.nats import bounds
from atbus.nats.handover import Giving, Taking
from atbus.nats.handover_terms import Done, Ready, read_several, write_several

if TYPE_CHECKING:
    from atbus.nats.route import RouteLink
    from atbus.nats.routes import Routes


class GivingAll:
    """
    The side of the giver.

    :param links: The routes.
    :param mark: The group.
    :param is_ready: Called when the other one may join,
    :param is_done: and when it may go on alone.
    """

    def __init__(
        self,
        links: Collection[RouteLink],
        mark: str,
        is_ready: Callable[[], object],
        is_done: Callable[[], object],
    ) -> None:
        self.mark = mark
        self.is_shared = False
        self._is_done = is_done
        self._next: Callable[[], object] | None = is_ready
        self._parts: dict[str, Giving] = {}
        for link in links:
            passed = partial(self._passed, link.server_id)
            link.handover = self._parts[link.server_id] = Giving(link, mark, passed, passed)
        for part in self._parts.values():
            part.together = tuple(self._parts.values())
        # Who has not answered, and who is gone.
        self._waiting = set(self._parts)
        self._gone: set[str] = set()
        self._has_stopped = False

    @property
    def servers(self) -> tuple[str, ...]:
        """Which members are handed over."""
        return tuple(self._parts)

    @property
    def has_company(self) -> bool:
        """Whether the other one joins the mark: servers do not tell that."""
        return self.is_shared

    def begin(self) -> None:
        """Join the mark at all servers."""
        for part in self._parts.values():
            part.begin()

    def share(self) -> None:
        """From now on the other one passes on what is not marked here."""
        self.is_shared = True
        for part in self._parts.values():
            part.share()

    def stop(self) -> None:
        """Send no more, and leave the mark."""
        if self._has_stopped:
            return
        self._has_stopped = True
        self._next = self._is_done
        self._waiting = set(self._parts) - self._gone
        for key in tuple(self._waiting):
            self._parts[key].stop()
        self._look()

    def _passed(self, key: str) -> None:
        """A server knows what it was told, or is gone."""
        self._waiting.discard(key)
        self._look()

    def _look(self) -> None:
        if not self._waiting and self._next is not None:
            call, self._next = self._next, None
            call()

    def left(self, link: RouteLink) -> None:
        """Take note that a route has ended."""
        part = self._parts.get(link.server_id)
        if part is not None and part.link is link:
            self._gone.add(link.server_id)
            self._passed(link.server_id)

    def let_go(self) -> None:
        """Pass on what was kept: there is nobody else who does."""
        for part in self._parts.values():
            part.let_go()

    def end(self) -> None:
        """Serve on alone: nobody takes over any more."""
        for part in self._parts.values():
            part.end()

    def done(self, inboxes: tuple[str, ...]) -> bytes:
        """Write what the other one has to know in the end."""
        return write_several({key: each.result(inboxes) for key, each in self._parts.items()})

    def forget_kept(self) -> None:
        """Take note that the other one passes on what was kept."""
        for part in self._parts.values():
            part.forget_kept()


class TakingAll:
    """
    The side of the taker.

    :param terms: What the giver has said.
    :param joined: Called when there is a route to each of its servers, or after a while.
    :param later: Calls something after some seconds.
    """

    def __init__(
        self,
        terms: Ready,
        joined: Callable[[], object],
        later: Callable[[float, Callable[[], object]], object],
    ) -> None:
        self._terms = terms
        self._joined = joined
        self._later = later
        self._parts: dict[str, Taking] = {}
        self._waiting = set(terms.servers)
        self._has_joined = False
        #: Whether the giver is through.
        self.has_finished = False

    def begin(self) -> None:
        """Wait for the routes."""
        self._later(bounds.HANDOVER_ASKED_SECONDS, self._go_on)
        if not self._waiting:
            self._go_on()

    def admits(self, server_id: str) -> bool:
        """Tell whether a server may join now."""
        return self.has_finished or server_id in self._terms.servers

    def joins(self, link: RouteLink) -> Taking | None:
        """Let a route that joins take over from the giver's, if it is not too late."""
        if self.has_finished:
            return None
        part = Taking(
            link, self._terms.mark, self._terms.inboxes, partial(self._is_there, link.server_id)
        )
        link.handover = self._parts[link.server_id] = part
        return part

    def _is_there(self, server_id: str) -> None:
        self._waiting.discard(server_id)
        if not self._waiting:
            self._go_on()

    def _go_on(self) -> None:
        if not self._has_joined:
            self._has_joined = True
            self._joined()

    def finish(self, text: bytes) -> None:
        """
        Pass on what was kept, by what the giver has written.

        :raises ValueError: It is not readable.
        """
        results = read_several(text)
        self.has_finished = True
        for key, part in self._parts.items():
            part.release(results.get(key, Done()))

    def give_up(self) -> int:
        """Go on alone, for the giver is gone; tell how much is lost."""
        self.has_finished = True
        return sum(part.give_up() for part in self._parts.values())


class Membership:
    """
    What is handed over.

    :param routes: The routes of a gateway.
    """

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.taking: TakingAll | None = None
        self._giving: GivingAll | None = None
        self._later: list[IDelayedCall] = []

    @property
    def _links(self) -> list[RouteLink]:
        return [*self._routes.members.values()]

    @property
    def takes_part(self) -> bool:
        """Whether there is any route."""
        return bool(self._routes.members)

    @property
    def is_free(self) -> bool:
        """Whether a handover may begin."""
        is_through = self.taking is None or self.taking.has_finished
        return is_through and all(link.is_free for link in self._links)

    @property
    def is_taking(self) -> bool:
        """Whether it takes over, or has done so."""
        return self.taking is not None

    @property
    def expected(self) -> Collection[str]:
        """The inboxes to which answers are expected."""
        return dict.fromkeys(inbox for link in self._links for inbox in link.expected)

    def may_join(self, mark: str) -> bool:
        """Tell whether a mark can be joined."""
        return all(link.may_join(mark) for link in self._links)

    def give(
        self, mark: str, is_ready: Callable[[], object], is_done: Callable[[], object]
    ) -> GivingAll:
        """Hand all servers over."""
        self.taking = None
        self._giving = GivingAll(self._links, mark, is_ready, is_done)
        return self._giving

    def take_over(self, terms: Ready, joined: Callable[[], object]) -> None:
        """Take over whatever server joins."""
        self.taking = TakingAll(terms, joined, self.later)

    def admits(self, server_id: str) -> bool:
        """Tell whether a server may join now."""
        return self.taking is None or self.taking.admits(server_id)

    def joins(self, link: RouteLink) -> None:
        """Let a route take part, and take over if there is something to take over."""
        part = None if self.taking is None else self.taking.joins(link)
        link.join()
        if part is not None and link.takes_part:
            part.begin()

    def left(self, link: RouteLink) -> None:
        """Take note that a route has ended."""
        if self._giving is not None:
            self._giving.left(link)

    def ended(self) -> None:
        """Take note that we are no member any more."""
        later, self._later = self._later, []
        for call in later:
            if call.active():
                call.cancel()
        self.taking = self._giving = None

    def later(self, seconds: float, call: Callable[[], object]) -> None:
        """Call something, unless the membership ends before."""
        self._later = [each for each in self._later if each.active()]
        self._later.append(self._routes.timers.callLater(seconds, call))

    def settled(self) -> Deferred[None]:
        """Wait until all has come that the servers had matched."""
        waiting: Deferred[None] = Deferred()
        self.later(bounds.HANDOVER_GRACE_SECONDS, lambda: waiting.callback(None))
        return waiting.addCallback(lambda _: self._known())

    def _known(self) -> Deferred[None]:
        return DeferredList([link.known() for link in self._links]).addCallback(lambda _: None)

    def gave_up(self, count: int) -> None:
        """Count what is lost."""
        self._routes.beyond.gave_up(count)
