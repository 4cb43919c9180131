"""
What a gateway tells over HTTP, as nats-server does: ``/varz``, ``/connz``, ``/routez``, ``/leafz``,
``/subsz`` and ``/healthz``, and ``/`` with the way to them.

Counters are right at the moment of the question: what a client has got a PONG for is in them.
"""

from __future__ import annotations

import os
import resource as system
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.web.server import Request, Site

from atbus.nats import bounds
from atbus.nats.accounts import NO_ACCOUNT
from atbus.nats.browsers import refusal_of
from atbus.nats.client import Client
from atbus.nats.info import PROTOCOL, VERSION
from atbus.nats.monitor_links import (
    describe_cluster,
    describe_leaf,
    describe_leafs,
    describe_peer,
    describe_route,
)
from atbus.nats.pages import Chosen, Content, Index, Listed, Page
from atbus.nats.questions import (
    DETAIL,
    Arguments,
    BadArgument,
    read_flag,
    read_id,
    read_range,
    read_subscriptions,
)
from atbus.nats.raw_subjects import is_literal
from atbus.nats.sites import QuietSite
from atbus.nats.times import duration, uptime, write_time
from atbus.subjects.pattern import matches, parse_pattern, parse_subject

if TYPE_CHECKING:
    from atbus.nats.effects import Subscription
    from atbus.nats.gateway import Gateway
    from atbus.nats.leaf import LeafLink
    from atbus.nats.route import RouteLink

_NANOSECONDS: Final = 1_000_000_000
#: What of a server's health may be left out, all of which is not here.
_PARTS_OF_HEALTH: Final = ("js-enabled", "js-enabled-only", "js-server-only")
#: What nats-server calls its pages where it lists them.
_TITLES: Final = {
    "varz": "General",
    "connz": "Connections",
    "subsz": "Subscriptions",
    "routez": "Routes",
    "leafz": "LeafNodes",
    "healthz": "Health Probe",
}


def monitor_site(gateway: Gateway) -> Site:
    """
    Make the site.

    :param gateway: What it is about.
    """
    monitor = Monitor(gateway)
    pages: dict[bytes, Callable[[Arguments], Content]] = {
        b"varz": monitor.varz,
        b"connz": monitor.connz,
        b"routez": monitor.routez,
        b"leafz": monitor.leafz,
        b"subsz": monitor.subsz,
        b"subscriptionsz": monitor.subsz,
        b"healthz": monitor.healthz,
    }
    root = Index(monitor.refusal_of, partial(monitor.note_request, ""), _TITLES)
    for name, page in pages.items():
        note = partial(monitor.note_request, name.decode())
        given = (gateway.reactor, monitor.refusal_of, note, page)
        root.putChild(name, Page(*given, is_short=name == b"healthz"))
    return QuietSite(root, gateway.reactor)


class Monitor:
    """
    The content of the pages.

    :param gateway: What they are about.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._requests: dict[str, int] = {}

    def note_request(self, name: str) -> None:
        """Count a question."""
        self._requests[f"/{name}"] = self._requests.get(f"/{name}", 0) + 1

    def refusal_of(self, request: Request) -> str | None:
        """Tell why a question is not answered; None when it is."""
        host, _ = self._gateway.address("monitor") or ("", 0)
        return refusal_of(request, host)

    def varz(self, _: Arguments) -> dict[str, Any]:
        """The gateway as a whole."""
        gateway = self._gateway
        settings, identity, clients = gateway.settings, gateway.identity, gateway.clients
        host, port = gateway.told_address
        http_host, http_port = gateway.address("monitor") or ("", 0)
        counts = [gateway.past, *(client.session.counts for client in clients.values())]
        crossed = {
            "in_msgs": sum(each.in_messages for each in counts),
            "out_msgs": sum(each.out_messages for each in counts),
            "in_bytes": sum(each.in_bytes for each in counts),
            "out_bytes": sum(each.out_bytes for each in counts),
        }
        usage = system.getrusage(system.RUSAGE_SELF)
        now = gateway.wall_seconds()
        return {
            "server_id": identity.server_id,
            "server_name": identity.server_name,
            "version": VERSION,
            "proto": PROTOCOL,
            "go": identity.software,
            "host": host,
            "port": port,
            "connect_urls": [*gateway.client_urls],
            "auth_required": identity.needs_login,
            "tls_required": identity.tls_required,
            "tls_verify": identity.tls_verify,
            "max_connections": settings.connections_max,
            "max_subscriptions": settings.subscriptions_max,
            "ping_interval": int(settings.ping_seconds * _NANOSECONDS),
            "ping_max": settings.pings_max,
            "http_host": http_host,
            "http_port": http_port,
            "auth_timeout": settings.authentication_seconds,
            "tls_timeout": settings.tls_seconds,
            "max_control_line": settings.line_bytes_max,
            "max_payload": settings.payload_bytes_max,
            "max_pending": settings.pending_bytes_max,
            "write_deadline": int(settings.write_seconds * _NANOSECONDS),
            "start": write_time(gateway.started_at),
            "now": write_time(now),
            "uptime": uptime(now - gateway.started_at),
            "config_load_time": write_time(gateway.configured_at),
            "mem": usage.ru_maxrss * 1024,
            "cores": os.cpu_count(),
            "connections": len(clients),
            "total_connections": gateway.total_connections,
            "routes": len(gateway.node.endpoints) + len(self._members),
            "remotes": len(gateway.siblings.others),
            "leafnodes": len(self._leafs),
            **crossed,
            **{name.replace("_", "_client_"): count for name, count in crossed.items()},
            "slow_consumers": gateway.slow_consumers,
            "subscriptions": sum(len(client.attached) for client in clients.values()),
            "http_req_stats": self._requests,
            "cluster": describe_cluster(gateway),
            "leaf": describe_leafs(gateway),
        }

    @property
    def _members(self) -> list[RouteLink]:
        routes = self._gateway.routes
        return [] if routes is None else [*routes.members.values()]

    def connz(self, arguments: Arguments) -> dict[str, Any]:
        """The clients, those that ended among them if they are asked for."""
        gateway = self._gateway
        state = arguments.get("state", "").lower() or "open"
        subscriptions = read_subscriptions(arguments, has_details=True)
        # Whether users are told, which they always are here.
        read_flag(arguments, "auth")
        chosen: list[Client] = []
        if state not in ("open", "closed", "any", "all"):
            raise BadArgument(f"Error decoding state for {arguments['state']}")
        if state != "closed":
            chosen += gateway.clients.values()
        if state != "open":
            chosen += gateway.closed
        number = read_id(arguments, "cid")
        account, user = arguments.get("acc", ""), arguments.get("user", "")
        if account:
            chosen = [each for each in chosen if _account(each) == account]
        # Only the account and the state count for that, elsewhere as well.
        total = len(chosen)
        if number:
            chosen = [client for client in chosen if client.number == number]
        if user:
            chosen = [each for each in chosen if _user(each) == user]
        if arguments.get("mqtt_client", ""):
            chosen = []
        by = arguments.get("sort", "") or "cid"
        if by in ("stop", "reason") and state != "closed":
            raise BadArgument(f"sort by {by} only valid on closed connections")
        now = gateway.wall_seconds()
        chosen = _sorted(chosen, by, now)
        offset, limit = read_range(arguments)
        limit = 1 if number else limit
        page = chosen[offset : offset + limit]
        return {
            "server_id": gateway.identity.server_id,
            "now": write_time(now),
            "num_connections": len(page),
            "total": total,
            "offset": offset,
            "limit": limit,
            "connections": Listed(
                page,
                lambda client: _connection(client, now, subscriptions),
            ),
        }

    def routez(self, arguments: Arguments) -> dict[str, Any]:
        """The links to other nodes, which are what routes are elsewhere, and routes themselves."""
        gateway = self._gateway
        now = gateway.wall_seconds()
        subscriptions = read_subscriptions(arguments, has_details=True)
        routes: list[Callable[[], dict[str, Any]]] = [
            partial(describe_peer, each, now, gateway.node.wanted_by(each.id), subscriptions)
            for each in gateway.node.describe_peers()
        ]
        routes += [
            partial(describe_route, link, gateway.now, now, subscriptions)
            for link in self._members
        ]
        return {
            "server_id": gateway.identity.server_id,
            "server_name": gateway.identity.server_name,
            "now": write_time(now),
            "num_routes": len(routes),
            "routes": Listed(routes, lambda describe: describe()),
        }

    @property
    def _leafs(self) -> list[LeafLink]:
        return [link for link in self._gateway.leafs.links if link.takes_part]

    def leafz(self, arguments: Arguments) -> dict[str, Any]:
        """The connections between leafs that take part, whoever has dialed."""
        gateway = self._gateway
        subscriptions = read_subscriptions(arguments)
        leafs = self._leafs
        return {
            "server_id": gateway.identity.server_id,
            "now": write_time(gateway.wall_seconds()),
            "leafnodes": len(leafs),
            "leafs": Listed(leafs, lambda link: describe_leaf(link, subscriptions)),
        }

    def subsz(self, arguments: Arguments) -> Content:
        """The subscriptions; with ``test=SUBJECT`` those that would get something published."""
        (offset, limit), is_listed = read_range(arguments), read_subscriptions(arguments)
        subject = arguments.get("test", "")
        if subject and not is_literal(subject.encode(errors="replace")):
            raise BadArgument(f"invalid test subject, must be valid publish subject: {subject}")
        gateway = self._gateway
        content: dict[str, Any] = {
            "server_id": gateway.identity.server_id,
            "now": write_time(gateway.wall_seconds()),
            "num_subscriptions": sum(len(client.attached) for client in gateway.clients.values()),
        }
        if not subject and not is_listed:
            return content
        return self._list_subscriptions(content, subject, offset, limit)

    def _list_subscriptions(
        self, content: dict[str, Any], subject: str, offset: int, limit: int
    ) -> Chosen:
        """Choose those that are listed, in portions: there may be hundreds of thousands."""
        found: list[tuple[Client, Subscription]] = []
        is_wanted, looked_at = _selector(subject), 0
        for client in list(self._gateway.clients.values()):
            for each in list(client.attached):
                if looked_at == bounds.LOOKED_AT_PER_TURN:
                    looked_at = 0
                    yield
                looked_at += 1
                if is_wanted(each):
                    found.append((client, each))
        content |= {"total": len(found), "offset": offset, "limit": limit}
        listed = found[offset : offset + limit]
        if listed:
            content["subscriptions_list"] = Listed(listed, lambda pair: _subscription(*pair))
        return content

    def healthz(self, arguments: Arguments) -> dict[str, Any]:
        """Whether clients are served, and the node is up."""
        for name in _PARTS_OF_HEALTH:
            read_flag(arguments, name)
        gateway = self._gateway
        if gateway.node.state in ("running", "lost_upstream") and not gateway.is_leaving:
            return {"status": "ok"}
        why = "it is a lame duck" if gateway.is_leaving else f"the node is {gateway.node.state}"
        return {"status": "unavailable", "error": why}


def _selector(subject: str) -> Callable[[Subscription], bool]:
    """Tell those who would get what is published on a subject; all, if there is none."""
    if not subject:
        return lambda _: True
    try:
        tokens = parse_subject(subject)
    except ValueError:
        # What is no subject of the bus nobody gets.
        return lambda _: False
    return lambda each: matches(parse_pattern(each.pattern), tokens)


def _connection(client: Client, now: float, subscriptions: str) -> dict[str, Any]:
    session = client.session
    counts, options = session.counts, session.options
    ended = client.stopped if client.stopped is not None else now
    facts: dict[str, Any] = {
        "cid": client.number,
        "kind": "Client",
        "type": client.kind,
        "ip": client.peer[0],
        "port": client.peer[1],
        "start": write_time(client.started),
        "last_activity": write_time(client.active),
        "stop": None if client.stopped is None else write_time(client.stopped),
        "reason": None if client.stopped is None or not client.reason else client.reason.value,
        "rtt": duration(session.round_trip_seconds or 0.0),
        "uptime": uptime(ended - client.started),
        "idle": uptime(ended - client.active),
        "pending_bytes": client.pending_bytes,
        "in_msgs": counts.in_messages,
        "out_msgs": counts.out_messages,
        "in_bytes": counts.in_bytes,
        "out_bytes": counts.out_bytes,
        "subscriptions": len(client.attached),
        "name": options.name or None,
        "lang": options.lang or None,
        "version": options.version or None,
        "tls_version": client.tls[0] if client.tls else None,
        "tls_cipher_suite": client.tls[1] if client.tls else None,
        "authorized_user": _user(client) or None,
        "account": _account(client),
    }
    if subscriptions == DETAIL and client.attached:
        detail = partial(_subscription, client)
        facts["subscriptions_list_detail"] = Listed([*client.attached], detail)
    elif subscriptions and client.attached:
        facts["subscriptions_list"] = Listed([*client.attached], lambda each: each.pattern)
    return {name: value for name, value in facts.items() if value is not None}


def _subscription(client: Client, subscription: Any) -> dict[str, Any]:
    facts = {
        "account": _account(client),
        "subject": subscription.pattern,
        "qgroup": subscription.queue,
        "sid": subscription.sid.decode(errors="replace"),
        "msgs": subscription.delivered,
        "max": subscription.most,
        "cid": client.number,
    }
    return {name: value for name, value in facts.items() if value or name == "msgs"}


def _user(client: Client) -> str:
    return client.session.user.name if client.session.user is not None else ""


def _account(client: Client) -> str:
    return client.names.account or NO_ACCOUNT


def _sorted(clients: Iterable[Client], by: str, now: float) -> list[Client]:
    keys: dict[str, Callable[[Client], float | str]] = {
        "cid": lambda each: each.number,
        "start": lambda each: each.number,
        "subs": lambda each: -len(each.attached),
        "pending": lambda each: -each.pending_bytes,
        "msgs_to": lambda each: -each.session.counts.out_messages,
        "msgs_from": lambda each: -each.session.counts.in_messages,
        "bytes_to": lambda each: -each.session.counts.out_bytes,
        "bytes_from": lambda each: -each.session.counts.in_bytes,
        "last": lambda each: -each.active,
        "idle": lambda each: each.active,
        "uptime": lambda each: (each.stopped or now) - each.started,
        "stop": lambda each: -(each.stopped or 0.0),
        "reason": lambda each: each.reason.value if each.reason else "",
        "rtt": lambda each: -(each.session.round_trip_seconds or 0.0),
    }
    if by not in keys:
        raise BadArgument(f"invalid sorting option: {by}")
    return sorted(clients, key=keys[by])
