"""
Routes between this node and the servers of a cluster of NATS: one connection, who accepts, who
dials.

Which of them take part, and which gateway has them, is decided in `atbus.nats.routes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure

from atbus.nats import bounds
from atbus.nats.handed_link import HandedLink
from atbus.nats.route_grammar import Routed, write_routed
from atbus.nats.route_session import Gossip, Renewed, RouteSession
from atbus.nats.server_grammar import Interest, Message
from atbus.nats.server_session import Answered, Close, Opened, Write
from atbus.node.report import ServerReport
from atbus.subjects.interest import Side

if TYPE_CHECKING:
    from atbus.nats.routes import Routes

#: The account whose subjects are those of the bus: the one of clients that have none.
ACCOUNT: Final = "$G"

#: Barriers of the bus are numbered from 1, and a handover has some before 0; this one asks whether
#: the other side is alive.
_ALIVE: Final = -8


class RouteLink(HandedLink):
    """
    One route.

    :param dialer: Who has dialed; None where we have accepted.
    """

    kind = "route"
    side = Side.OUTSIDE

    def __init__(
        self,
        routes: Routes,
        session: RouteSession,
        tls_context: Any,
        ended: Callable[[str, bool], None] | None = None,
        dialer: RouteDialer | None = None,
    ) -> None:
        super().__init__(routes, session, tls_context, ended)
        self.session = session
        self.dialer = dialer
        self.number = routes.next_number()
        self.started = routes.now
        #: Whether it has ever taken part.
        self.has_taken_part = False
        #: Whether clients are to leave the server.
        self.is_leaving = False
        self._routes = routes
        # What has come while another route to the same server is asked whether it is alive.
        self._held: list[object] | None = None

    @property
    def server_id(self) -> str:
        """Who is at the other end; empty while that is not known."""
        return str(self.session.peer.get("server_id", ""))

    def _written(self, what: Interest | Message) -> bytes:
        return write_routed(Routed(ACCOUNT, what))

    def _perform_one(self, effect: object) -> None:
        if self._held is not None and not isinstance(effect, Write | Close):
            self._held.append(effect)
            return
        match effect:
            case Routed(account=account, what=what):
                if account == ACCOUNT:
                    super()._perform_one(what)
            case Opened():
                self._routes.opened(self)
            case Renewed():
                # It says so once, and not in what it says later.
                self.is_leaving = self.is_leaving or bool(self.session.peer.get("ldm"))
                self._routes.renewed(self)
            case Gossip(server_id=server_id, url=url):
                self._routes.heard_of(server_id, url)
            case Answered(barrier=barrier) if barrier == _ALIVE:
                self._routes.is_alive(self)
            case _:
                super()._perform_one(effect)

    def report(self) -> ServerReport:
        """Describe it."""
        place, now = self.transport.getPeer(), self._routes.now
        return ServerReport(
            id=self.server_id,
            hostname=self.peer_name,
            dialled=self.dialer is not None,
            configured=self.dialer is not None and self.dialer.is_configured,
            ip=place.host,
            port=place.port,
            age_seconds=round(now - self.started, 3),
            idle_seconds=round(now - self.heard_at, 3),
            rtt_seconds=self.session.round_trip_seconds,
            pending_bytes=self.waiting_bytes,
            in_publications=self.in_messages,
            out_publications=self.out_messages,
            in_bytes=self.in_bytes,
            out_bytes=self.out_bytes,
            subscriptions=len(self.interests),
        )

    @property
    def host(self) -> str:
        """Where the other side is."""
        return self.name.rpartition(":")[0]

    def join(self) -> None:
        """Take part."""
        self.has_taken_part = True
        self._take_part()
        held, self._held = self._held, None
        if held is not None:
            self._perform(held)
            self.transport.resumeProducing()

    def wait(self) -> None:
        """Neither take part nor read on: first another route has to show that it is alive."""
        self._held = []
        self.transport.pauseProducing()

    def show_life(self) -> None:
        """Let the other side answer, if it is alive."""
        self._perform(self.session.ask(_ALIVE, self._routes.now))

    def send(self, data: bytes) -> None:
        """Send what is no interest and no message."""
        self._send(data)

    def judge_again(self) -> None:
        """End the route if the other side, which has dialed, does not show what is ours now."""
        self._perform(self.session.judge_again())

    def give_up(self, reason: str) -> None:
        """Close at once."""
        self._give_up(reason)

    def close(self, reason: str) -> None:
        """Take part no longer, at once; close when everything is sent, or that takes too long."""
        if self._held is not None:
            self._held = None
            self.transport.resumeProducing()
        super().close(reason)

    def connectionLost(self, reason: Failure | None = None) -> None:
        """The connection has ended."""
        super().connectionLost(reason)
        if self._is_refused:
            self._routes.doorstep.refused(self.host)

    @property
    def _is_refused(self) -> bool:
        """Whether somebody has dialed who has come to nothing."""
        return self.dialer is None and not self.has_taken_part

    def _log_end(self, reason: str) -> None:
        if self._is_refused:
            self._routes.doorstep.log_of(self.host).warn(
                "route {name} is closed: {reason}", name=self.name, reason=reason
            )
        else:
            super()._log_end(reason)

    def _leave(self) -> None:
        super()._leave()
        self._routes.left(self)
        # Who is not there any more knows all that it will know.
        asked, self._asked = self._asked, {}
        for known in asked.values():
            known.callback(None)


class RouteDoor(Factory):
    """
    Accepts routes, while it is this node's turn.

    :param routes: Whose they are.
    """

    noisy = False

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        """Make our side of a route; None, which closes it, when it is not our turn or too many."""
        routes, host = self._routes, str(getattr(addr, "host", ""))
        if routes.is_full(host):
            return None
        return routes.doorstep.wait(host) or routes.admit(host)


class RouteDialer(ClientFactory):
    """
    Keeps a route to one place, unless the server there has dialed us.

    :param place: As ``host:port``.
    :param is_configured: Whether it is dialed for ever; otherwise another member has told of it.
    """

    noisy = False

    def __init__(self, routes: Routes, place: str, *, is_configured: bool) -> None:
        self.place = place
        self.is_configured = is_configured
        #: Who was there when it was dialed last; empty while that is not known.
        self.server_id = ""
        self._routes = routes
        self._link: RouteLink | None = None
        self._connector: Any = None
        self._next: IDelayedCall | None = None
        self._failures = 0
        self._reason = ""
        self._is_over = False

    def look(self) -> None:
        """Dial, unless there is a route already, or will be."""
        is_waiting = self._next is not None and self._next.active()
        if self._is_over or self._connector is not None or is_waiting:
            return
        if self._routes.has(self.server_id):
            return
        host, _, port = self.place.rpartition(":")
        self._connector = self._routes.reactor.connectTCP(
            host.strip("[]"), int(port), self, timeout=bounds.LEAF_LOGIN_SECONDS
        )

    def look_soon(self, seconds: float = bounds.LEAF_RETRY_SECONDS) -> None:
        """Dial after a pause, if it is still needed then."""
        if self._is_over or (self._next is not None and self._next.active()):
            return
        self._next = self._routes.timers.callLater(
            seconds * self._routes.random.uniform(1.0, 1.1), self.look
        )

    def stop(self, reason: str) -> None:
        """Dial no more, and end what was dialed."""
        self._is_over = True
        if self._next is not None and self._next.active():
            self._next.cancel()
        if self._link is not None:
            self._link.close(reason)
        elif self._connector is not None:
            self._connector.disconnect()

    def buildProtocol(self, addr: IAddress | None) -> RouteLink:
        """Make our side of the route."""
        routes, context = self._routes, None
        if routes.contexts is not None:
            context = routes.contexts.get().dialing(self.place, is_configured=self.is_configured)
        self._link = RouteLink(routes, routes.dialing(), context, self._ended, self)
        return self._link

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Nobody is there."""
        self._ended(reason.getErrorMessage(), False)

    def _ended(self, reason: str, is_lasting: bool) -> None:
        link, self._link, self._connector = self._link, None, None
        if link is not None and link.server_id:
            self.server_id = link.server_id
        if self._is_over:
            return
        if reason != self._reason:
            # Every second the same is of no use to anybody.
            self._reason = reason
            self._routes.log.info("nats route to {place}: {why}", place=self.place, why=reason)
        self._failures = 0 if link is not None and link.has_taken_part else self._failures + 1
        if not self.is_configured and self._failures >= bounds.ROUTE_ATTEMPTS_MAX:
            self._routes.forget(self)
            return
        self.look_soon(bounds.LEAF_LASTING_SECONDS if is_lasting else bounds.LEAF_RETRY_SECONDS)
