"""
One route between servers of NATS 2, as values: bytes in, effects out.

Theory of operation. Where a cluster has TLS both sides begin it before anything is said, unlike
clients and leafs. Who accepts says INFO; who dials says CONNECT, INFO and PING. The acceptor takes
part when it has heard both, in whichever order they come; the dialer when it is answered, for who
is not wanted hears of it, or is closed, before that. From then on both tell their interest and send
messages.

We declare neither ``lnoc`` nor a pool nor compression: so a server of any version 2 keeps one
connection, and speaks the plain form. A server without a name for its cluster marks the one it has
as ``cluster_dynamic``, and takes ours.

A later INFO is either of the other side itself, or, with ``ip``, of a server that it tells of. What
``$SYS`` is told and asked is between servers of NATS, and nothing of it comes out of here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias

import attrs

from atbus.nats.route_grammar import Routed, RouteGrammar
from atbus.nats.server_grammar import (
    Broken,
    Common,
    Connect,
    Info,
    Ping,
    Pong,
    Refused,
    write_object,
)
from atbus.nats.server_session import (
    PING,
    PONG,
    Opened,
    Patience,
    ServerEffect,
    ServerSession,
    StartTls,
    State,
    Write,
)

#: The account in which servers of NATS talk to each other.
_SYSTEM_ACCOUNT: Final = "$SYS"

#: With what complaints it is of no use to come back soon.
_LASTING: Final = ("cluster name", "authorization", "attempted to connect")


class Renewed(NamedTuple):
    """The other side has said anew what is true of it: `RouteSession.peer`."""


class Gossip(NamedTuple):
    """The other side tells of a further server, and of the URL where that takes routes."""

    server_id: str
    url: str


Effect: TypeAlias = Routed | Renewed | Gossip | ServerEffect


@attrs.frozen(kw_only=True)
class RouteTerms(Patience):
    """
    What we say of ourselves, and how patient we are.

    :param info: The fields of our INFO; *server_id* and *cluster* are compared with theirs.
    :param connect: The fields of our CONNECT, credentials among them; None where we have accepted.
    :param tls: Whether TLS begins before anything is said.
    """

    info: dict[str, Any]
    connect: dict[str, Any] | None = None
    tls: bool = False


def _admit_all(_: dict[str, Any]) -> bool:
    return True


class RouteSession(ServerSession[Routed, Routed | Renewed | Gossip]):
    """
    One side of a route.

    :param judge: Tells by the CONNECT of the other side whether it may come in; acceptors only.
    """

    def __init__(
        self, terms: RouteTerms, judge: Callable[[dict[str, Any]], bool] = _admit_all
    ) -> None:
        super().__init__(RouteGrammar(), terms)
        self._terms = terms
        self._judge = judge
        self._is_admitted = False
        # The CONNECT of who has dialed.
        self._shown: dict[str, Any] = {}

    def _greet(self) -> list[Effect]:
        effects: list[Effect] = [StartTls()] if self._terms.tls else []
        if self._terms.connect is None:
            effects.append(Write(write_object("INFO", self._terms.info)))
        return effects

    def _take(self, operation: Routed | Common) -> list[Effect]:
        match operation:
            case Ping():
                return [Write(PONG)]
            case Pong():
                return [*self._answered(), *self._passed()]
            case Info(fields=fields):
                return self._informed(fields)
            case Connect(fields=fields):
                return self._connected(fields)
            case Refused(text=text):
                is_lasting = any(each in text.lower() for each in _LASTING)
                return self._end(f"the other side says: {text}", is_lasting=is_lasting)
            case Broken(line=line):
                return self._end(f"not understood: {line!r}", "Unknown Protocol Operation")
        effects = self._answered()
        if self.state is not State.OPEN:
            return self._end("it has not said who it is", "Authorization Violation")
        return effects if operation.account == _SYSTEM_ACCOUNT else [*effects, operation]

    def _answered(self) -> list[Effect]:
        """Whatever an acceptor says after our CONNECT, it has let us in."""
        return self._begin() if self.state is State.JOINING and self._terms.connect else []

    def _begin(self) -> list[Effect]:
        self.state = State.OPEN
        return [Opened()]

    def _informed(self, fields: dict[str, Any]) -> list[Effect]:
        """The other side says who it is, or later who else there is."""
        server_id = fields.get("server_id")
        if not isinstance(server_id, str) or not server_id or "client_id" in fields:
            return self._end("this is no port for routes", is_lasting=True)
        if self.peer and server_id != self.peer["server_id"]:
            return self._told_of(server_id, fields.get("ip"))
        is_first, self.peer = not self.peer, fields
        if not is_first:
            return [Renewed()] if self.state is State.OPEN else []
        if server_id == self._terms.info["server_id"]:
            return self._end("this is ourselves", is_lasting=True)
        if refused := self._compare_clusters(fields):
            return refused
        if self._terms.connect is not None:
            return self._join()
        return self._begin() if self._is_admitted else []

    def _told_of(self, server_id: str, url: object) -> list[Effect]:
        """The other side tells of a server; where a stranger sends us we do not go."""
        effects = self._answered()
        if self.state is State.OPEN and url and isinstance(url, str):
            effects.append(Gossip(server_id, url))
        return effects

    def _compare_clusters(self, fields: dict[str, Any]) -> list[Effect]:
        theirs, ours = fields.get("cluster"), self._terms.info["cluster"]
        if theirs == ours or fields.get("cluster_dynamic"):
            return []
        text = f'Rejecting connection, cluster name "{theirs}" does not match "{ours}"'
        return self._end(f"its cluster is {theirs!r}", text, is_lasting=True)

    def _join(self) -> list[Effect]:
        """A dialer says who it is."""
        self.state = State.JOINING
        self._asked.append((0, self._now))
        connect = write_object("CONNECT", self._terms.connect or {})
        return [Write(connect + write_object("INFO", self._terms.info) + PING)]

    def _connected(self, fields: dict[str, Any]) -> list[Effect]:
        """An acceptor hears who has dialed."""
        if self._terms.connect is not None or self._is_admitted:
            return self._end("CONNECT, where none belongs", "Unknown Protocol Operation")
        if fields.get("lang"):
            return self._end("a client", "attempted to connect to route port")
        if not self._judge(fields):
            return self._end("its credentials are not ours", "Authorization Violation")
        if refused := self._compare_clusters(fields):
            return refused
        self._is_admitted, self._shown = True, fields
        return self._begin() if self.peer else []

    def judge_again(self) -> list[Effect]:
        """Find out whether who has dialed us may stay; acceptors only."""
        if not self._is_admitted or self.state is State.CLOSED or self._judge(self._shown):
            return []
        return self._end("its credentials are not ours any more", "Authorization Violation")
