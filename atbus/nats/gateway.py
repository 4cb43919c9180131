"""
The gateway of one node: its listeners, its clients, and the bus behind them.

A client's subscription is one of the node, and what it publishes the node publishes: so clients of
all gateways and programs on all nodes are in one space of subjects, with the same queue groups.

Connections wait in the system until the node is up. When the service stops they are closed at once;
`Gateway.lame_duck` gives clients time to go somewhere else first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from atbus.errors import AtbusError, SubjectError
from atbus.nats import bounds
from atbus.nats.accounts import Names
from atbus.nats.authentication import Clock
from atbus.nats.client import Client, Wire
from atbus.nats.doors import MONITOR, Doors
from atbus.nats.effects import Counts, Terms
from atbus.nats.faults import Reason
from atbus.nats.grammar import Publish, PublishRun
from atbus.nats.hosts import hosts_at
from atbus.nats.info import info_line, make_identity
from atbus.nats.leafs import Leafs
from atbus.nats.logins import Logins
from atbus.nats.renewable import RenewableSession
from atbus.nats.renewal import Renewal, Review
from atbus.nats.routes import make_routes
from atbus.nats.settings import GatewaySettings, read_gateway
from atbus.nats.siblings import Place, Siblings
from atbus.nats.tcp import TcpClients
from atbus.nats.tls import NewestContext, listener_contexts
from atbus.nats.unpublished import complaint
from atbus.nats.write_deadline import taken_bytes
from atbus.node.config import NodeConfig
from atbus.node.life import LOST_UPSTREAM, RUNNING
from atbus.node.node import Node


def wall_seconds() -> float:
    """Give the time since 1970."""
    return datetime.now(UTC).timestamp()


class Gateway(Service):
    """
    Let clients of NATS take part in the bus.

    :param node: The node that they are behind.
    :param settings: What it is told.
    :param reactor: Where it listens.
    :param timers: Its clock; the reactor's by default.
    :param random: Spreads the first PINGs.
    :param wall: Gives the time since 1970, seconds.
    :param hosts: Gives the hosts to dial for one at which is listened.
    :param taken: Tells how much the other side of a transport has taken.
    :raises ConfigurationError: Certificates cannot be used.
    """

    name = "nats"
    #: The options of a node that are told to it.
    follows = frozenset({"nats"})

    def __init__(
        self,
        node: Node,
        settings: GatewaySettings,
        reactor: Any,
        *,
        timers: Any = None,
        random: Random | None = None,
        wall: Callable[[], float] = wall_seconds,
        hosts: Callable[[str], Sequence[str]] = hosts_at,
        taken: Callable[[Any], int] = taken_bytes,
    ) -> None:
        self.node = node
        self.settings = settings
        self.timers = reactor if timers is None else timers
        self.seconds: Callable[[], float] = self.timers.seconds
        self.wall_seconds = wall
        self.taken_bytes = taken
        #: What connections of others are encrypted with; None for nothing.
        self.tls = None if settings.tls is None else listener_contexts(settings.tls)
        self.clients: dict[int, Client] = {}
        #: Those that ended, the last ones.
        self.closed: deque[Client] = deque(maxlen=bounds.CLOSED_REMEMBERED)
        #: What has passed of those that are not connected any more.
        self.past = Counts()
        self.total_connections = 0
        self.slow_consumers = 0
        #: Whether somebody for whom much waits already got more in this turn.
        self.is_stalled = False
        #: Whether a client is being read, after which everything that waits is written.
        self.is_arriving = False
        self.stall_bytes = settings.stall_bytes
        self.is_leaving = False
        self.started_at = self.configured_at = wall()
        self.siblings = Siblings(node, self.timers, self.inform)
        self.identity = make_identity(settings, node.config.name)
        self.reactor = reactor
        everything = None if self.tls is None else NewestContext(lambda: self.tls_context)
        self._doors = Doors(reactor, everything)
        self._hosts = hosts
        self._own = Place(server_id=self.identity.server_id)
        self._random = random or Random()  # noqa: S311  # moments, not secrets
        self.leafs = Leafs(self, self._random)
        self.routes = make_routes(self, self._random)
        self.links = (self.leafs,) if self.routes is None else (self.leafs, self.routes)
        self._log = Logger(namespace="atbus.nats")
        self._dirty: list[Client] = []
        self._flushing: IDelayedCall | None = None
        self._names: dict[str, Names] = {}
        self._watching: Any = None
        self._leaving: IDelayedCall | None = None
        self._gone: Deferred[None] | None = None
        self.clock = Clock(seconds=self.timers.seconds, wall_seconds=wall)
        self.review = Review(self)
        self.logins = Logins(settings.authentication, self.clock, self.timers, self._log, reactor)

    # Life.

    def startService(self) -> None:  # Twisted's name
        """
        Listen; clients are served when the node is up.

        :raises ListenFailed: An address cannot be listened on; then none is.
        """
        super().startService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        self._listen()
        self.node.followers.append(self)
        if self.node.state in (RUNNING, LOST_UPSTREAM):
            self._serve()
        else:
            self._doors.hold()
            self._watching = self.node.events.on_node_up.observe(self._serve)

    def _listen(self) -> None:
        settings, doors = self.settings, self._doors
        if settings.listen is not None:
            doors.open("listen", settings.listen, TcpClients(self))
        if settings.leafs.listen is not None:
            doors.open("leaf_listen", settings.leafs.listen, self.leafs.door)
        if self.routes is not None:
            doors.open("cluster", self.routes.settings.listen, self.routes.door)
        if settings.websocket is not None:
            from atbus.nats.websocket import websocket_site  # noqa: PLC0415  # loads HTTP

            doors.open("websocket", settings.websocket, websocket_site(self), tls=True)
        if settings.monitor is not None:
            from atbus.nats.monitor import monitor_site  # noqa: PLC0415  # likewise

            doors.open(MONITOR, settings.monitor, monitor_site(self))

    def _serve(self) -> None:
        self._doors.admit()
        self._own = self._place()
        self.siblings.start(self._own)
        for links in self.links:
            links.start()

    def leave_servers(self) -> Deferred[None]:
        """
        Let other gateways of the bus take over the servers of which this one is a leaf or a member.

        `stopService` begins with it. Whoever stops the node as well waits for its end first: the
        node carries what the two tell each other. It takes half a second, and no time where no
        other gateway can take over.

        :returns: Fires when they have, or when that takes more than five seconds; never fails.
        """
        leaving = [each.leave() for each in self.links]
        return DeferredList(leaving).addCallback(lambda _: None)

    def stopService(self) -> Deferred[None]:  # Twisted's name
        """
        Close the listeners and all clients, and let other gateways take the servers over.

        The node is to stop after it.

        :returns: Fires when that is done; never fails.
        """
        super().stopService()  # type: ignore[no-untyped-call]  # untyped in Twisted
        if self in self.node.followers:
            self.node.followers.remove(self)
        self.review.stop()
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        if self._leaving is not None and self._leaving.active():
            self._leaving.cancel()
        waiting: list[Deferred[Any]] = [each.stop() for each in self.links]
        waiting.append(self._doors.close())
        self.siblings.stop()
        for client in list(self.clients.values()):
            client.close(Reason.SHUTDOWN)
        self.flush()
        if self.clients:
            self._gone = Deferred()
            waiting.append(self._gone)
        return DeferredList(waiting).addCallback(lambda _: None)

    def lame_duck(self) -> None:
        """
        Let clients go somewhere else: accept no more, tell them, and close them one by one.

        The node goes on; whoever stops it waits for `clients` to be empty, or does not.
        """
        if self.is_leaving:
            return
        self.is_leaving = True
        self._doors.close(but=MONITOR)
        self.siblings.leave()
        self.inform()
        self._leaving = self.timers.callLater(
            self.settings.lame_duck_grace_seconds, self._close_next, len(self.clients)
        )

    def _close_next(self, count: int) -> None:
        client = next(iter(self.clients.values()), None)
        if client is None:
            return
        client.close(Reason.SHUTDOWN)
        self.flush()
        wait = self.settings.lame_duck_seconds / max(count, 1)
        self._leaving = self.timers.callLater(wait, self._close_next, count)

    def prepare(self, config: NodeConfig) -> Callable[[], object]:
        """
        Get ready for what the node is told now.

        :param config: It.
        :returns: Changes over; it never fails, and nothing has changed before it is called.
        :raises ConfigurationError: Something cannot change, or cannot be used.
        """
        return Renewal(self, read_gateway(config)).apply

    def move(self) -> None:
        """Tell everybody what INFO says by now, and where clients can come in."""
        if not self.is_leaving and self.siblings.own is not None:
            self._own = self._place()
            self.siblings.move(self._own)
        self.inform()

    @property
    def tls_context(self) -> Any:
        """The newest of what connections of others are encrypted with; None for nothing."""
        return None if self.tls is None else self.tls.get()

    # What clients are told.

    def address(self, name: str = "listen") -> tuple[str, int] | None:
        """
        Say where we really listen.

        :param name: The option: "listen", "monitor" or "websocket".
        :returns: Host and port; None when we do not.
        """
        return self._doors.address(name)

    @property
    def told_address(self) -> tuple[str, int]:
        """Where we say that we are: the first one of ``advertise``, or where we listen."""
        if not self.settings.advertise:
            return self._doors.place("listen")
        host, _, port = self.settings.advertise[0].rpartition(":")
        return host.strip("[]"), int(port)

    def _place(self) -> Place:
        return Place(
            server_id=self.identity.server_id,
            urls=self._urls("listen"),
            websocket_urls=self._urls("websocket"),
        )

    @property
    def _places(self) -> tuple[Place, ...]:
        """The gateways of the bus that clients may go to."""
        own = () if self.is_leaving else (self._own,)
        return (*own, *self.siblings.others)

    @property
    def client_urls(self) -> tuple[str, ...]:
        """Where clients may come in, here and at the other gateways of the bus."""
        return tuple(url for place in self._places for url in place.urls)

    def _urls(self, name: str) -> tuple[str, ...]:
        settings = self.settings
        told = settings.advertise if name == "listen" else settings.websocket_advertise
        if told is not None:
            return told
        if settings.advertise is not None:
            # The host has another address outside, and nobody has said which.
            return ()
        address = self.address(name)
        if address is None:
            return ()
        listening, port = address
        hosts = self._hosts(listening)[: bounds.URLS_MAX]
        return tuple(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host in hosts)

    def info_for(self, client: Client) -> bytes:
        """
        Write the INFO line for a client.

        :param client: Whom it is for.
        """
        is_web = client.kind == "websocket"
        host, port = self._doors.place("websocket") if is_web else self.told_address
        members = () if self.routes is None else self.routes.client_urls
        is_alone = not (self.siblings.others or members)
        places = () if is_alone else self._places
        urls = [*(url for place in places for url in place.urls), *members]
        websocket_urls = [url for place in places for url in place.websocket_urls]
        return info_line(
            self.identity,
            host=host,
            port=port,
            client_id=client.number,
            client_ip=client.peer[0],
            nonce=self.logins.nonce_of(client.number),
            urls=websocket_urls if client.kind == "websocket" else urls,
            websocket_urls=() if client.kind == "websocket" else websocket_urls,
            leaving=self.is_leaving,
        )

    def inform(self) -> None:
        """Tell everybody where clients can go, if that has changed."""
        if self.routes is not None:
            self.routes.inform()
        for client in list(self.clients.values()):
            client.inform(self.info_for(client))
        self.flush()

    # Clients come and go.

    @property
    def is_full(self) -> bool:
        """Whether there are as many clients as there may be."""
        return len(self.clients) >= self.settings.connections_max

    def new_client(self, wire: Wire, peer: tuple[str, int], kind: str = "nats") -> Client:
        """
        Note that somebody has connected.

        :param wire: Carries its bytes.
        :param peer: Its host and port.
        :param kind: "nats" or "websocket".
        :returns: The client, not greeted yet.
        """
        self.total_connections += 1
        number = self.total_connections
        settings = self.settings
        self.logins.draw_nonce(number)
        client = Client(
            self,
            wire,
            RenewableSession(
                self.terms(),
                lambda options: self.logins.judge(client, options),
                lambda pattern: self._allows(client, pattern),
            ),
            number=number,
            peer=peer,
            kind=kind,
        )
        self.clients[number] = client
        if settings.authentication.nobody is not None:
            client.session.become(settings.authentication.nobody)
            client.take_account()
        return client

    def _allows(self, client: Client, pattern: str) -> bool:
        """Tell whether the node may subscribe to a pattern; one that is none is told otherwise."""
        try:
            return self.node.may_subscribe(client.names.prefix + pattern)
        except SubjectError:
            return True

    def terms(self) -> Terms:
        """Give what holds for clients."""
        settings = self.settings
        first = min(settings.ping_seconds, bounds.FIRST_PING_SECONDS)
        return Terms(
            needs_login=settings.authentication.needs_login,
            awaits_word=settings.authentication.nobody is not None,
            payload_bytes_max=settings.payload_bytes_max,
            line_bytes_max=settings.line_bytes_max,
            subscriptions_max=settings.subscriptions_max,
            ping_seconds=settings.ping_seconds,
            pings_max=settings.pings_max,
            first_ping_seconds=first * self._random.uniform(1.0, 1.2),
            login_seconds=settings.authentication_seconds,
        )

    def names_of(self, account: str) -> Names:
        """Give the names of subjects of an account; of none for an empty one."""
        return self._names.setdefault(account, Names(account))

    def note_gone(self, client: Client) -> None:
        """Note that a client is not connected any more."""
        if self.clients.pop(client.number, None) is None:
            return
        self.logins.gone(client.number)
        self.closed.append(client)
        counts = client.session.counts
        self.past.in_messages += counts.in_messages
        self.past.in_bytes += counts.in_bytes
        self.past.out_messages += counts.out_messages
        self.past.out_bytes += counts.out_bytes
        if self._gone is not None and not self.clients:
            gone, self._gone = self._gone, None
            gone.callback(None)

    def note_slow(self, client: Client) -> None:
        """Note that a client was closed because it is slow."""
        self.slow_consumers += 1
        self._log.warn(
            "client {number} of {host} is closed: {reason}",
            number=client.number,
            host=client.peer[0],
            reason=client.reason.value if client.reason is not None else "",
        )

    # What passes.

    @property
    def now(self) -> float:
        """The time on our clock, seconds."""
        return self.seconds()

    def publish(self, client: Client, message: Publish) -> None:
        """
        Publish what a client has sent.

        :param client: Who is told when nobody gets it, if an answer is wanted.
        """
        raw, reply, header, payload = message
        try:
            subject = client.names.read(raw)
            if not reply:
                self.node.publish(
                    subject, payload, headers=header or b"", origin=client, literal=True
                )
                return
            self.node.publish(
                subject,
                payload,
                reply_to=client.names.on_bus(reply.decode()),
                headers=header or b"",
                origin=client,
                unheard=lambda: client.unheard(reply),
                literal=True,
            )
        except (AtbusError, UnicodeDecodeError) as error:
            # No subject of the bus, or a node that is not up: nobody gets it.
            client.send(complaint(client.names, raw, reply, error))
            client.unheard(reply)

    def publish_run(self, client: Client, run: PublishRun) -> None:
        """
        Publish what a client has sent at once on one subject.

        :param client: Whose it is.
        """
        raw, payloads = run
        try:
            subject = client.names.read(raw)
            self.node.publish_many(subject, payloads, origin=client, literal=True)
        except (AtbusError, UnicodeDecodeError) as error:
            # As for one.
            client.send(complaint(client.names, raw, b"", error) * len(payloads))

    def note_dirty(self, client: Client) -> None:
        """Note that something waits to be written for a client."""
        self._dirty.append(client)
        if self._flushing is None and not self.is_arriving:
            self._flushing = self.timers.callLater(0, self._flush_later)

    def _flush_later(self) -> None:
        self._flushing = None
        self.flush()

    def flush(self) -> None:
        """Write what waits for clients."""
        while self._dirty:
            dirty, self._dirty = self._dirty, []
            for client in dirty:
                client.flush()
