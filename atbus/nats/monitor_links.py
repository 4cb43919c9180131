"""
What monitors are told of links: to other nodes and to servers of NATS, routes and leafs.

Fields are those of nats-server, as far as they can be told.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from atbus.nats import bounds
from atbus.nats.pages import Listed
from atbus.nats.questions import DETAIL
from atbus.nats.times import duration, uptime, write_time
from atbus.subjects.interest import Wanted

if TYPE_CHECKING:
    from atbus.nats.gateway import Gateway
    from atbus.nats.leaf import LeafLink
    from atbus.nats.route import RouteLink
    from atbus.node.report import PeerReport

#: TLS is part of a handshake, which may take so long in all.
_TIMEOUTS: Final = dict.fromkeys(("auth_timeout", "tls_timeout"), bounds.LEAF_LOGIN_SECONDS)


def describe_cluster(gateway: Gateway) -> dict[str, Any]:
    """
    Describe the cluster of NATS that a gateway is a member of, or waits to be.

    :param gateway: It.
    :returns: What is known of it; nothing for none.
    """
    routes = gateway.routes
    if routes is None:
        return {}
    host, port = gateway.address("cluster") or ("", 0)
    return {
        "name": routes.settings.name,
        "addr": host,
        "cluster_port": port,
        **_TIMEOUTS,
        "urls": [*routes.settings.routes],
    }


def describe_leafs(gateway: Gateway) -> dict[str, Any]:
    """
    Describe where servers come in as leafs, and of which servers a gateway is one.

    :param gateway: It.
    :returns: What is known of it; nothing for neither.
    """
    content: dict[str, Any] = {}
    address = gateway.address("leaf_listen")
    if address is not None:
        host, port = address
        content |= {"host": host, "port": port, **_TIMEOUTS}
    remotes = gateway.leafs.remotes
    if remotes:
        content["remotes"] = [
            {"local_account": "$G", "urls": [*each.places]} for each in remotes
        ]
    return content


def describe_peer(
    peer: PeerReport, now: float, wanted: Iterable[Wanted], subscriptions: str
) -> dict[str, Any]:
    """
    Describe a link to another node; its number is the bus id, which stays when it is made anew.

    :param peer: The link.
    :param now: The time, seconds since 1970.
    :param wanted: What is wanted behind it.
    :param subscriptions: How much of that is asked for, as in the question.
    """
    name = f"{peer.id:#x}"
    facts = {
        "rid": int(peer.id),
        "remote_id": name,
        "remote_name": name,
        "did_solicit": peer.dialled,
        "is_configured": peer.configured,
        "ip": peer.ip,
        "port": peer.port,
        "start": write_time(now - peer.age_seconds),
        "last_activity": write_time(now - peer.idle_seconds),
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
    found = {name: value for name, value in facts.items() if value is not None}
    return found | _wanted(wanted, subscriptions, int(peer.id))


def describe_route(
    link: RouteLink, now: float, wall_seconds: float, subscriptions: str
) -> dict[str, Any]:
    """
    Describe a route to a server of NATS.

    :param link: It.
    :param now: The time, on the clock of the link.
    :param wall_seconds: The same, since 1970.
    :param subscriptions: How much is asked for of what is wanted there, as in the question.
    """
    address = link.transport.getPeer()
    age_seconds = now - link.started
    idle_seconds, rtt_seconds = now - link.heard_at, link.session.round_trip_seconds
    wanted = (Wanted(subject, queue) for subject, queue in link.interests)
    facts = {
        "rid": link.number,
        "remote_id": link.server_id,
        "remote_name": link.peer_name,
        "did_solicit": link.dialer is not None,
        "is_configured": link.dialer is not None and link.dialer.is_configured,
        "ip": address.host,
        "port": address.port,
        "start": write_time(wall_seconds - age_seconds),
        "last_activity": write_time(wall_seconds - idle_seconds),
        "rtt": None if rtt_seconds is None else duration(rtt_seconds),
        "uptime": uptime(age_seconds),
        "idle": uptime(idle_seconds),
        "pending_size": link.waiting_bytes,
        "in_msgs": link.in_messages,
        "out_msgs": link.out_messages,
        "in_bytes": link.in_bytes,
        "out_bytes": link.out_bytes,
        "subscriptions": len(link.interests),
        "compression": "off",
    }
    found = {name: value for name, value in facts.items() if value is not None}
    return found | _wanted(wanted, subscriptions, link.number)


def _wanted(wanted: Iterable[Wanted], subscriptions: str, number: int) -> dict[str, Any]:
    """List what a neighbor wants, as far as it was asked for; nothing is written as nothing."""
    listed = [*wanted] if subscriptions else []
    if not listed:
        return {}
    if subscriptions == DETAIL:
        return {"subscriptions_list_detail": Listed(listed, partial(_detail, number))}
    return {"subscriptions_list": Listed(listed, lambda each: each.pattern)}


def _detail(number: int, wanted: Wanted) -> dict[str, Any]:
    group = {"qgroup": wanted.queue} if wanted.queue else {}
    return {"subject": wanted.pattern, "cid": number} | group


def describe_leaf(link: LeafLink, subscriptions: str) -> dict[str, Any]:
    """
    Describe a connection between leafs.

    :param link: It.
    :param subscriptions: Whether is asked for what is wanted there, as in the question.
    """
    peer = link.transport.getPeer()
    rtt_seconds = link.session.round_trip_seconds
    content: dict[str, Any] = {
        "id": link.number,
        "name": link.peer_name,
        "is_spoke": link.session.is_spoke,
        "account": "$G",
        "ip": peer.host,
        "port": peer.port,
        **({} if rtt_seconds is None else {"rtt": duration(rtt_seconds)}),
        "in_msgs": link.in_messages,
        "out_msgs": link.out_messages,
        "in_bytes": link.in_bytes,
        "out_bytes": link.out_bytes,
        "subscriptions": len(link.interests),
        "compression": "off",
    }
    if subscriptions and link.interests:
        content["subscriptions_list"] = Listed([*link.interests], lambda each: each[0])
    return content
