"""
All routes of one gateway: this node as a member of a cluster of NATS.

The gateway dials the members that it is told of, and accepts those that dial it; what one member
tells of others it dials as well, and it tells each of who has joined. So there is one route to
each, as between servers. Of the gateways of the bus that could join the same cluster only one does
(`atbus.nats.candidacy`): who dials another one is closed. When it is the turn of another one, that
takes over in order (`atbus.nats.membership`).

Of two routes to the same server one stays: when there is a second one, the first is asked whether
it is alive. If it answers, the second one is closed; if not, the first, which would otherwise hold
up a server whose connection was cut for as long as it takes to find out.
"""

from __future__ import annotations

import hmac
import re
from random import Random
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from atbus.nats import bounds
from atbus.nats.candidacy import Candidacy
from atbus.nats.candidate import Candidate
from atbus.nats.cluster_settings import ClusterSettings
from atbus.nats.doorstep import Doorstep
from atbus.nats.leafs import VERSION
from atbus.nats.membership import Membership
from atbus.nats.route import RouteDialer, RouteDoor, RouteLink
from atbus.nats.route_session import RouteSession, RouteTerms
from atbus.nats.server_grammar import write_object
from atbus.nats.server_link import ServerLinks
from atbus.nats.succession import TAKES_OVER, Apart, Succession
from atbus.nats.tls import RouteContexts, route_contexts
from atbus.subjects.pattern import OWN_SUBJECTS

if TYPE_CHECKING:
    from atbus.nats.files import Latest
    from atbus.nats.gateway import Gateway

#: Candidates for a cluster are known by the interest in this, its key, their id and server id.
CANDIDATES: Final = f"{OWN_SUBJECTS}.nats.clusters"

_URL: Final = re.compile(r"[a-z-]+://(?:[^@/]*@)?((?:[\w.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5})/?")
_LOOPBACK: Final = re.compile(r"(?:127\.[\d.]+|localhost|\[::1\]):\d+")


class Routes(Candidate, ServerLinks):
    """
    The routes of a gateway.

    :param gateway: Whose they are.
    :param settings: What it is told of the cluster.
    :param random: Spreads attempts.
    :raises ConfigurationError: Certificates cannot be used.
    """

    def __init__(self, gateway: Gateway, settings: ClusterSettings, random: Random) -> None:
        Candidate.__init__(self)
        ServerLinks.__init__(self, gateway, random)
        self.settings = settings
        #: What routes are encrypted with; None for nothing.
        self.contexts = route_contexts(settings) if settings.has_tls else None
        self.door = RouteDoor(self)
        #: Who dials us again and again, and is to wait.
        self.doorstep = Doorstep(self.timers, self.log, self.admit)
        #: Those that take part, by who is at the other end.
        self.members: dict[str, RouteLink] = {}
        self._own_id = gateway.identity.server_id
        # Second routes to members, and until when the first ones are to answer.
        self._seconds: dict[str, tuple[RouteLink, IDelayedCall]] = {}
        self._dialers: dict[str, RouteDialer] = {}
        self._told: bytes = b""
        self._has_left = False
        self._is_member = False
        node, timers = self.node, self.timers
        self._timers = timers
        mark = f"{TAKES_OVER}.{self._own_id}"
        self._candidacy = Candidacy(node, timers, CANDIDATES, settings.name, self.look, mark)
        self._succession = Succession(
            node, timers, self._candidacy, self._dial_in_turn, self._give_way, Apart()
        )
        self._membership = Membership(self)

    def leave(self) -> Deferred[None]:
        """
        Let another gateway be the member, if there is one.

        :returns: As for `stop`.
        """
        return self.stop()

    def stop(self) -> Deferred[None]:
        """
        Leave the cluster, when another gateway has taken over; at once where none does.

        :returns: Fires then; never fails.
        """
        left = super().stop()
        if not self.is_leaving:
            # Who was let wait since it had left.
            self.doorstep.clear()
        return left

    def stop_at_once(self) -> None:
        """Leave the cluster; another gateway takes over when it hears of that."""
        super().stop_at_once()
        self.doorstep.clear()

    def renew(self, settings: ClusterSettings, contexts: Latest[RouteContexts] | None) -> None:
        """
        Let other settings hold.

        Routes stay that could be made now: members that are configured no more are dialed no more,
        and who has dialed us has to show what is ours now.

        :param settings: They; name and address are as they were.
        :param contexts: What routes are encrypted with that are made from now on.
        """
        self.settings, self.contexts = settings, contexts
        for link in list(self.links):
            if link.dialer is None:
                link.judge_again()
        for place, dialer in list(self._dialers.items()):
            if place in settings.routes:
                dialer.is_configured = True
            elif dialer.is_configured:
                del self._dialers[place]
                dialer.stop("it is not configured any more")
        self.look()

    @property
    def serves(self) -> bool:
        """Whether it is our turn, all know it, and no other gateway has to be asked before."""
        may_begin = self._candidacy.is_standing and self._candidacy.may_begin
        return may_begin and self._is_member

    def look(self) -> None:
        """Dial or take over if it is our turn, let another one take over if it is not."""
        if self._gateway.is_leaving and not self.is_leaving and self._candidacy.has_rivals:
            # Clients of the servers are to go there, and servers learn where that is from a member.
            self.stop()
            return
        super().look()
        if self.serves:
            self._dial_all()

    def _dial(self) -> None:
        self._is_member = True
        self._succession.prepare(self._membership)
        self._succession.joined(self._membership)
        self._dial_all()

    def _dial_all(self) -> None:
        for place in self.settings.routes:
            if place not in self._dialers:
                self._dialers[place] = RouteDialer(self, place, is_configured=True)
                self._dialers[place].look()

    def _hang_up(self, reason: str) -> None:
        dialers, self._dialers = self._dialers, {}
        for dialer in dialers.values():
            dialer.stop(reason)
        for link in list(self.links):
            link.close(reason)
        if self._is_member:
            self.log.info("nats cluster: {reason}", reason=reason)
            self._is_member = False
            self._succession.ended()
            self._membership.ended()

    def _give_way(self) -> None:
        was_member = self._is_member
        super()._give_way()
        if self.is_leaving:
            self.stop_at_once()
        elif was_member:
            # It may be our turn again already, and the other one waits for us to take over.
            self._next = self.timers.callLater(0, self.look)

    @property
    def _party(self) -> Membership:
        return self._membership

    @property
    def _is_connected(self) -> bool:
        return self._is_member

    def is_full(self, host: str) -> bool:
        """
        Tell whether there are as many routes as there may be, those of strangers among them.

        :param host: Who is closed because of that, for the log.
        """
        if len(self.links) + len(self.doorstep) < bounds.ROUTES_MAX:
            return False
        self.doorstep.log_of(host).warn(
            "a route is closed: there are {count}", count=bounds.ROUTES_MAX
        )
        return True

    def admit(self, host: str) -> RouteLink | None:
        """
        Make our side of a route that somebody has dialed.

        :param host: From where.
        :returns: It; None, which closes it, when it is not our turn.
        """
        if not self.serves:
            self.doorstep.refused(host)
            return None
        context = None if self.contexts is None else self.contexts.get().accepting
        return RouteLink(self, self.accepting(), context)

    # Who takes part.

    def has(self, server_id: str) -> bool:
        """Tell whether nobody needs to be dialed to reach a server."""
        return server_id == self._own_id or server_id in self.members

    def opened(self, link: RouteLink) -> None:
        """Decide about a route whose other side is let in, and has let us in."""
        server_id = link.server_id
        if not self.serves:
            link.close("another gateway serves")
        elif server_id in self._candidacy.marks:
            link.close("it is a gateway of this bus")
        elif not self._membership.admits(server_id):
            link.close("first all others are taken over")
        elif server_id not in self.members:
            self._join(link)
        elif server_id in self._seconds:
            link.close("there is a route to it already")
        else:
            link.wait()
            patience = self.timers.callLater(
                bounds.ROUTE_ANSWER_SECONDS, self._is_dead, self.members[server_id]
            )
            self._seconds[server_id] = link, patience
            self.members[server_id].show_life()

    def _is_dead(self, link: RouteLink) -> None:
        link.give_up("it does not answer, and there is another route to it")

    def is_alive(self, link: RouteLink) -> None:
        """A route has answered: a second one to the same server is not needed."""
        if self.members.get(link.server_id) is link and link.server_id in self._seconds:
            second, patience = self._seconds.pop(link.server_id)
            patience.cancel()
            second.close("there is a route to it already")

    def _join(self, link: RouteLink) -> None:
        self.members[link.server_id] = link
        link.freed = self.look
        self._membership.joins(link)
        self._tell_of(link)
        self._gateway.inform()

    def left(self, link: RouteLink) -> None:
        """A route takes part no longer, if it did; a second one to the same server takes over."""
        server_id = link.server_id
        second, patience = self._seconds.get(server_id, (None, None))
        if second is link and patience is not None:
            del self._seconds[server_id]
            patience.cancel()
        if self.members.get(server_id) is not link:
            return
        del self.members[server_id]
        self._membership.left(link)
        if second is not None and patience is not None:
            del self._seconds[server_id]
            if patience.active():
                patience.cancel()
            if self.serves:
                self._join(second)
                return
            second.close("another gateway serves")
        self._gateway.inform()
        for dialer in self._dialers.values():
            if dialer.server_id == server_id:
                dialer.look_soon()

    # Who else there is.

    def _tell_of(self, newcomer: RouteLink) -> None:
        """Tell all others of who has joined, and where it can be dialed."""
        peer = newcomer.session.peer
        host = newcomer.transport.getPeer().host
        port = peer.get("port")
        if not isinstance(port, int):
            return
        url = f"nats-route://{f'[{host}]' if ':' in host else host}:{port}/"
        told = write_object("INFO", peer | {"ip": peer.get("ip") or url})
        for link in self.members.values():
            if link is not newcomer:
                link.send(told)

    def heard_of(self, server_id: str, url: str) -> None:
        """Dial a server that a member has told of, unless it is known."""
        found = _URL.fullmatch(url)
        if found is None or self.has(server_id) or server_id in self._candidacy.marks:
            return
        place, settings = found[1], self.settings
        is_safe = settings.has_tls or settings.allow_insecure or _LOOPBACK.fullmatch(place)
        if not self.serves or not is_safe or len(self._dialers) >= bounds.ROUTES_MAX:
            return
        if place not in self._dialers:
            self._dialers[place] = RouteDialer(self, place, is_configured=False)
        self._dialers[place].look()

    def forget(self, dialer: RouteDialer) -> None:
        """Give up a place that a member has told of, and where nobody is."""
        if self._dialers.get(dialer.place) is dialer:
            del self._dialers[dialer.place]

    # What we say of ourselves.

    @property
    def client_urls(self) -> tuple[str, ...]:
        """Where clients could go instead: what the members say of themselves."""
        urls: dict[str, None] = {}
        for link in self.members.values():
            listed = link.session.peer.get("connect_urls")
            if isinstance(listed, list) and not link.is_leaving:
                urls.update(dict.fromkeys(map(str, listed[: bounds.URLS_MAX])))
        return tuple(urls)

    def renewed(self, link: RouteLink) -> None:
        """A member says anew where clients can go."""
        if self.members.get(link.server_id) is link:
            self._gateway.inform()

    def inform(self) -> None:
        """Tell the members where clients can go, if that has changed, or that we are leaving."""
        if self._gateway.is_leaving:
            self._send_clients_away()
            return
        info = write_object("INFO", self._info())
        if info != self._told:
            self._told = info
            for link in self.members.values():
                link.send(info)

    def _send_clients_away(self) -> None:
        """Let servers send no clients to us, and another gateway be the member if there is one."""
        if self._has_left:
            return
        self._has_left = True
        leaving = write_object("INFO", self._info() | {"ldm": True})
        for link in self.members.values():
            link.send(leaving)
        self.look()

    def _info(self) -> dict[str, Any]:
        gateway, settings = self._gateway, self.settings
        host, port = gateway.address("cluster") or ("", 0)
        about: dict[str, Any] = {}
        if settings.advertise:
            host, _, text = settings.advertise.rpartition(":")
            port = int(text)
            about["ip"] = f"nats-route://{settings.advertise}/"
        about |= {
            "server_id": self._own_id,
            "server_name": gateway.identity.server_name,
            "version": VERSION,
            "proto": 1,
            "go": gateway.identity.software,
            "host": host.strip("[]"),
            "port": port,
            "headers": True,
            "max_payload": gateway.identity.payload_bytes_max,
            "cluster": settings.name,
            "connect_urls": list(gateway.client_urls),
        }
        if settings.user:
            about["auth_required"] = True
        if settings.has_tls:
            about["tls_required"] = about["tls_verify"] = True
        return about

    def dialing(self) -> RouteSession:
        """Make our side of a route that we dial."""
        settings = self.settings
        connect = {
            "echo": True,
            "verbose": False,
            "pedantic": False,
            "user": settings.user,
            "pass": settings.password,
            "tls_required": settings.has_tls,
            "headers": True,
            "name": self._own_id,
            "cluster": settings.name,
        }
        return RouteSession(self._terms(connect))

    def accepting(self) -> RouteSession:
        """Make our side of a route that somebody has dialed."""
        return RouteSession(self._terms(), self._shows)

    def _shows(self, fields: dict[str, Any]) -> bool:
        return _shows(fields, self.settings.user, self.settings.password)

    def _terms(self, connect: dict[str, Any] | None = None) -> RouteTerms:
        return RouteTerms(
            info=self._info(),
            connect=connect,
            tls=self.settings.has_tls,
            ping_seconds=self.ping_seconds,
            pings_max=self.pings_max,
        )


def make_routes(gateway: Gateway, random: Random) -> Routes | None:
    """
    Make what a gateway needs to join the cluster that it is told of.

    :param random: Spreads attempts.
    :returns: It; None when there is no cluster.
    :raises ConfigurationError: Certificates cannot be used.
    """
    settings = gateway.settings.cluster
    return None if settings is None else Routes(gateway, settings, random)


def _shows(fields: dict[str, Any], user: str, password: str) -> bool:
    """
    Compare the credentials in a CONNECT with ours, in a time that does not depend on them.

    :param user: Ours; empty when nothing has to be shown.
    """
    if not user:
        return True
    # JSON can hold half of a letter, which is in no name of ours.
    shown = [str(fields.get(key, "")).encode(errors="surrogatepass") for key in ("user", "pass")]
    wanted = [user.encode(), password.encode()]
    same = [hmac.compare_digest(*pair) for pair in zip(shown, wanted, strict=True)]
    return all(same)
