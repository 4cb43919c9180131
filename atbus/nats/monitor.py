"""
What a gateway tells over HTTP, as nats-server does: ``/varz``, ``/connz``, ``/routez``, ``/leafz``,
``/subsz`` and ``/healthz``.

Counters are right at the moment of the question: what a client has got a PONG for is in them.
"""

from __future__ import annotations

import os
import resource as system
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from atbus.nats.accounts import NO_ACCOUNT
from atbus.nats.browsers import refusal_of
from atbus.nats.client import Client
from atbus.nats.info import PROTOCOL, VERSION
from atbus.nats.pages import Arguments, BadArgument, Listed, Page
from atbus.nats.sites import QuietSite
from atbus.subjects.interest import Wanted
from atbus.subjects.pattern import matches, parse_pattern, parse_subject

if TYPE_CHECKING:
    from atbus.nats.gateway import Gateway
    from atbus.nats.leaf import LeafLink
    from atbus.nats.route import RouteLink
    from atbus.node.report import PeerReport

_LIMIT: Final = 1_024
_NANOSECONDS: Final = 1_000_000_000


def monitor_site(gateway: Gateway) -> Site:
    """
    Make the site.

    :param gateway: What it is about.
    """
    monitor = Monitor(gateway)
    root = Resource()
    pages: dict[bytes, Callable[[Arguments], dict[str, Any]]] = {
        b"varz": monitor.varz,
        b"connz": monitor.connz,
        b"routez": monitor.routez,
        b"leafz": monitor.leafz,
        b"subsz": monitor.subsz,
        b"subscriptionsz": monitor.subsz,
        b"healthz": monitor.healthz,
    }
    for name, page in pages.items():
        note = partial(monitor.note_request, name.decode())
        root.putChild(name, Page(gateway.reactor, monitor.refusal_of, note, page))
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
        host, port = gateway.address() or ("", 0)
        http_host, http_port = gateway.address("monitor") or ("", 0)
        counts = [gateway.past, *(client.session.counts for client in clients.values())]
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
            "start": _time(gateway.started_at),
            "now": _time(now),
            "uptime": uptime(now - gateway.started_at),
            "config_load_time": _time(gateway.configured_at),
            "mem": usage.ru_maxrss * 1024,
            "cores": os.cpu_count(),
            "connections": len(clients),
            "total_connections": gateway.total_connections,
            "routes": len(gateway.node.endpoints) + len(self._members),
            "remotes": len(gateway.siblings.others),
            "leafnodes": len(self._leafs),
            "in_msgs": sum(each.in_messages for each in counts),
            "out_msgs": sum(each.out_messages for each in counts),
            "in_bytes": sum(each.in_bytes for each in counts),
            "out_bytes": sum(each.out_bytes for each in counts),
            "slow_consumers": gateway.slow_consumers,
            "subscriptions": sum(len(client.attached) for client in clients.values()),
            "http_req_stats": self._requests,
            "cluster": self._cluster(),
        }

    @property
    def _members(self) -> list[RouteLink]:
        routes = self._gateway.routes
        return [] if routes is None else [*routes.members.values()]

    def _cluster(self) -> dict[str, Any]:
        """The cluster of NATS that we are a member of, or wait to be; empty for none."""
        routes = self._gateway.routes
        if routes is None:
            return {}
        host, port = self._gateway.address("cluster") or ("", 0)
        return {
            "name": routes.settings.name,
            "addr": host,
            "cluster_port": port,
            "urls": [*routes.settings.routes],
        }

    def connz(self, arguments: Arguments) -> dict[str, Any]:
        """The clients, those that ended among them if they are asked for."""
        gateway = self._gateway
        state = arguments.get("state", "open")
        chosen: list[Client] = []
        if state not in ("open", "closed", "any", "all"):
            raise BadArgument(f"Invalid state {state!r}")
        if state != "closed":
            chosen += gateway.clients.values()
        if state != "open":
            chosen += gateway.closed
        if "cid" in arguments:
            number = _number(arguments, "cid", 0)
            chosen = [client for client in chosen if client.number == number]
        if "user" in arguments:
            chosen = [each for each in chosen if _user(each) == arguments["user"]]
        if "acc" in arguments:
            chosen = [each for each in chosen if _account(each) == arguments["acc"]]
        by = arguments.get("sort", "cid")
        if by in ("stop", "reason") and state != "closed":
            raise BadArgument(f"sort by {by} only valid on closed connections")
        chosen = _sorted(chosen, by)
        offset, limit = _number(arguments, "offset", 0), _number(arguments, "limit", _LIMIT)
        page = chosen[offset : offset + limit]
        now = gateway.wall_seconds()
        return {
            "server_id": gateway.identity.server_id,
            "now": _time(now),
            "num_connections": len(page),
            "total": len(chosen),
            "offset": offset,
            "limit": limit,
            "connections": Listed(
                page,
                lambda client: _connection(client, now, arguments.get("subs", "")),
            ),
        }

    def routez(self, arguments: Arguments) -> dict[str, Any]:
        """The links to other nodes, which are what routes are elsewhere, and routes themselves."""
        gateway = self._gateway
        now = gateway.wall_seconds()
        subscriptions = arguments.get("subs", "")
        routes = [
            _route(each, now) | _wanted(gateway.node.wanted_by(each.id), subscriptions)
            for each in gateway.node.describe_peers()
        ]
        routes += [_member(link, gateway.now, now, subscriptions) for link in self._members]
        return {
            "server_id": gateway.identity.server_id,
            "server_name": gateway.identity.server_name,
            "now": _time(now),
            "num_routes": len(routes),
            "routes": routes,
        }

    @property
    def _leafs(self) -> list[LeafLink]:
        return [link for link in self._gateway.leafs.links if link.takes_part]

    def leafz(self, arguments: Arguments) -> dict[str, Any]:
        """The connections between leafs that take part, whoever has dialed."""
        gateway = self._gateway
        leafs = [_leaf(link, arguments.get("subs", "")) for link in self._leafs]
        return {
            "server_id": gateway.identity.server_id,
            "now": _time(gateway.wall_seconds()),
            "leafnodes": len(leafs),
            "leafs": leafs,
        }

    def subsz(self, arguments: Arguments) -> dict[str, Any]:
        """The subscriptions; with ``test=SUBJECT`` those that would get something published."""
        gateway = self._gateway
        found = [
            (client, subscription)
            for client in gateway.clients.values()
            for subscription in client.attached
        ]
        content: dict[str, Any] = {
            "server_id": gateway.identity.server_id,
            "now": _time(gateway.wall_seconds()),
            "num_subscriptions": len(found),
        }
        subject = arguments.get("test")
        if subject is not None:
            try:
                tokens = parse_subject(subject, literal_wildcards=True)
            except ValueError as fault:
                raise BadArgument(f"Invalid test subject: {fault}") from fault
            found = [pair for pair in found if matches(parse_pattern(pair[1].pattern), tokens)]
        if subject is not None or arguments.get("subs"):
            offset, limit = _number(arguments, "offset", 0), _number(arguments, "limit", _LIMIT)
            content |= {
                "total": len(found),
                "offset": offset,
                "limit": limit,
                "subscriptions_list": Listed(
                    found[offset : offset + limit], lambda pair: _subscription(*pair)
                ),
            }
        return content

    def healthz(self, _: Arguments) -> dict[str, Any]:
        """Whether clients are served, and the node is up."""
        gateway = self._gateway
        if gateway.node.state in ("running", "lost_upstream") and not gateway.is_leaving:
            return {"status": "ok"}
        why = "it is a lame duck" if gateway.is_leaving else f"the node is {gateway.node.state}"
        return {"status": "unavailable", "error": why}


def _route(peer: PeerReport, now: float) -> dict[str, Any]:
    """Describe a link; its number is the bus id, which stays when it is made anew."""
    name = f"{peer.id:#x}"
    facts = {
        "rid": int(peer.id),
        "remote_id": name,
        "remote_name": name,
        "did_solicit": peer.dialled,
        "is_configured": peer.configured,
        "ip": peer.ip,
        "port": peer.port,
        "start": _time(now - peer.age_seconds),
        "last_activity": _time(now - peer.idle_seconds),
        "rtt": None if peer.rtt_seconds is None else duration(peer.rtt_seconds),
        "uptime": uptime(peer.age_seconds),
        "idle": uptime(peer.idle_seconds),
        "pending_size": peer.pending_bytes,
        "in_msgs": peer.in_publications,
        "out_msgs": peer.out_publications,
        "in_bytes": peer.in_bytes,
        "out_bytes": peer.out_bytes,
        "subscriptions": peer.subscriptions,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _member(link: RouteLink, now: float, wall_seconds: float, subs: str) -> dict[str, Any]:
    """Describe a route to a server of NATS."""
    address = link.transport.getPeer()
    age_seconds = now - link.started
    idle_seconds, rtt_seconds = now - link.heard_at, link.session.round_trip_seconds
    wanted = {Wanted(subject, queue): weight for (subject, queue), weight in link.interests.items()}
    facts = {
        "rid": link.number,
        "remote_id": link.server_id,
        "remote_name": link.peer_name,
        "did_solicit": link.dialer is not None,
        "is_configured": link.dialer is not None and link.dialer.is_configured,
        "ip": address.host,
        "port": address.port,
        "start": _time(wall_seconds - age_seconds),
        "last_activity": _time(wall_seconds - idle_seconds),
        "rtt": None if rtt_seconds is None else duration(rtt_seconds),
        "uptime": uptime(age_seconds),
        "idle": uptime(idle_seconds),
        "pending_size": link.waiting_bytes,
        "in_msgs": link.in_messages,
        "out_msgs": link.out_messages,
        "in_bytes": link.in_bytes,
        "out_bytes": link.out_bytes,
        "subscriptions": len(wanted),
    }
    return {name: value for name, value in facts.items() if value is not None} | _wanted(
        wanted, subs
    )


def _wanted(wanted: Mapping[Wanted, int], subscriptions: str) -> dict[str, Any]:
    """List what a neighbor wants, as far as it was asked for."""
    if subscriptions == "detail":
        details = [
            {"subject": each.pattern} | ({"qgroup": each.queue} if each.queue else {})
            for each in wanted
        ]
        return {"subscriptions_list_detail": details}
    if subscriptions:
        return {"subscriptions_list": [each.pattern for each in wanted]}
    return {}


def _leaf(link: LeafLink, subscriptions: str) -> dict[str, Any]:
    peer = link.transport.getPeer()
    content = {
        "name": link.peer_name,
        "is_spoke": link.session.is_spoke,
        "account": "$G",
        "ip": peer.host,
        "port": peer.port,
        "in_msgs": link.in_messages,
        "out_msgs": link.out_messages,
        "in_bytes": link.in_bytes,
        "out_bytes": link.out_bytes,
        "subscriptions": len(link.interests),
    }
    if subscriptions:
        content["subscriptions_list"] = [subject for subject, _ in link.interests]
    return content


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
        "start": _time(client.started),
        "last_activity": _time(client.active),
        "stop": None if client.stopped is None else _time(client.stopped),
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
    if subscriptions == "detail":
        facts["subscriptions_list_detail"] = [
            _subscription(client, each) for each in client.attached
        ]
    elif subscriptions:
        facts["subscriptions_list"] = [each.pattern for each in client.attached]
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


def _sorted(clients: Iterable[Client], by: str) -> list[Client]:
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
        "uptime": lambda each: each.started,
        "stop": lambda each: each.stopped or 0.0,
        "reason": lambda each: each.reason.value if each.reason else "",
        "rtt": lambda each: -(each.session.round_trip_seconds or 0.0),
    }
    if by not in keys:
        raise BadArgument(f'Invalid sorting option: "{by}"')
    return sorted(clients, key=keys[by])


def _number(arguments: Arguments, name: str, default: int) -> int:
    text = arguments.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise BadArgument(f"Error decoding {name}: {text!r}")
    return int(text)


def _time(wall_seconds: float) -> str:
    return datetime.fromtimestamp(wall_seconds, UTC).isoformat().replace("+00:00", "Z")


def uptime(seconds: float) -> str:
    """
    Write for how long something lasts, as nats-server does: whole seconds, no leading zeros.

    :param seconds: Not negative.
    """
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    years, days = divmod(days, 365)
    parts = [(years, "y"), (days, "d"), (hours, "h"), (minutes, "m"), (rest, "s")]
    while len(parts) > 1 and not parts[0][0]:
        del parts[0]
    return "".join(f"{number}{unit}" for number, unit in parts)


def duration(seconds: float) -> str:
    """
    Write how long something takes, as Go does; less than a millisecond in whole microseconds.

    :param seconds: Less than a minute, and not negative.
    """
    nanoseconds = round(seconds * 1_000_000_000)
    if nanoseconds < 1_000_000:
        microseconds = nanoseconds // 1000
        return f"{microseconds}µs" if microseconds else "0s"
    size, unit = (1_000_000, "ms") if nanoseconds < 1_000_000_000 else (1_000_000_000, "s")
    whole, rest = divmod(nanoseconds, size)
    digits = f"{rest:0{len(str(size)) - 1}}".rstrip("0")
    return f"{whole}.{digits}{unit}" if digits else f"{whole}{unit}"
